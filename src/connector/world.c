/*
 * connector/world: the outside as one configuration describes it. In: a configuration that was
 * read. Out: options for the warehouse's connections and a client for the bucket. It connects to
 * nothing by itself, but to the SSH server where there is one.
 */

#include "connector/world.h"

#include "base/log.h"
#include "base/text.h"

#define METADATA_TABLE "flow_checkpoints_v1"

/* A wrong address answers nothing at all; a cluster that wakes up answers within seconds. */
#define CONNECT_TIMEOUT_MS 20000

static enum pgc_tls tls_of(const struct config *config)
{
    switch (config->tls_mode) {
    case CONFIG_TLS_REQUIRE:
        return PGC_TLS_REQUIRE;
    case CONFIG_TLS_VERIFY_CA:
        return PGC_TLS_VERIFY_CA;
    case CONFIG_TLS_VERIFY_FULL:
        return PGC_TLS_VERIFY_FULL;
    case CONFIG_TLS_NOT_SET:
        break;
    }
    return *config->ssh_endpoint ? PGC_TLS_PREFER : PGC_TLS_REQUIRE;
}

/* Only temporary keys come and go. */
static void
tell_of_keys(void *ctx, const char *source, int64_t expires_unix, const struct error *err)
{
    char until[32] = "never";

    (void)ctx;
    if (expires_unix != INT64_MAX) {
        text_time(until, expires_unix);
    }
    if (err) {
        log_event(LOG_WARN, "keys for S3 could not be renewed, the old ones are used to their end",
                  LOG_STR("source", source), LOG_STR("expire", until),
                  LOG_STR("error", error_text(err)), LOG_END);
    } else {
        log_event(LOG_INFO, "new keys for S3", LOG_STR("source", source), LOG_STR("expire", until),
                  LOG_END);
    }
}

struct error *world_init(struct world *world,
                         struct loop *loop,
                         struct http_client *http,
                         struct arena *arena,
                         const struct config *config,
                         const char *s3_endpoint,
                         const struct s3_environment *environment,
                         uint64_t seed,
                         struct figures *figures)
{
    struct s3_credential_options credentials = {
        .source = config->key_source,
        .access_key_id = config->aws_access_key_id,
        .secret_access_key = config->aws_secret_access_key,
        .session_token = config->aws_session_token,
        .role_arn = config->aws_role_arn,
        .external_id = config->aws_external_id,
        .region = config->region,
    };
    struct s3_options options = {
        .tell = tell_of_keys,
        .kms_key_id = config->kms_key_id,
        .seed = seed,
        .figures = figures,
    };
    struct s3_endpoint_options where = {
        .bucket = config->bucket,
        .region = config->region,
        .endpoint = *config->s3_endpoint ? config->s3_endpoint : s3_endpoint,
        .dualstack = config->flags.s3_use_dualstack_endpoints,
        .path_style = config->s3_path_style,
    };

    struct way *way = NULL;

    RETURN_IF_ERROR(s3_endpoint_make(arena, &where, &options.endpoint));
    credentials.environment = environment ? *environment : (struct s3_environment){NULL, NULL};
    RETURN_IF_ERROR(s3_source_make(arena, &credentials, &options.source));
    if (*config->ssh_endpoint) {
        struct error *err = way_new(loop, config, &way);
        if (err) {
            s3_source_done(options.source);
            return err;
        }
    }
    *world = (struct world){
        .loop = loop,
        .config = config,
        .pg =
            {
                .host = config->host,
                .port = config->port,
                .user = config->user,
                .password = config->password,
                .database = config->database,
                .tls = tls_of(config),
                .root_certificate_text =
                    *config->tls_root_certificate ? config->tls_root_certificate : NULL,
                .application_name = "materialize-redshift",
                .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                .figures = figures,
            },
        .way = way,
        .s3 = s3_new(loop, http, &options),
        .figures = figures,
    };
    if (way) {
        way_direct(way, &world->pg);
    }
    return NULL;
}

void world_done(struct world *world)
{
    s3_free(world->s3);
    world->s3 = NULL;
}

void world_metadata_path(const struct world *world, struct span ret_path[2], unsigned *ret_count)
{
    unsigned count = 0;

    if (*world->config->schema) {
        ret_path[count++] = span_of(world->config->schema);
    }
    ret_path[count++] = SPAN_LIT(METADATA_TABLE);
    *ret_count = count;
}
