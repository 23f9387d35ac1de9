/*
 * Configurations as people write them: of an endpoint when the first byte is even, of a binding
 * when it is odd. Promises: one is read whole, with no text missing, or refused as one error of the
 * class that a person must mend; and an address that was taken can be made an endpoint of.
 */

#include "fuzz.h"

#include "base/check.h"
#include "connector/config.h"
#include "s3/endpoint.h"

static unsigned char sink;

static void touch(const char *text)
{
    CHECK(text);
    for (; *text; text++) {
        sink ^= (unsigned char)*text;
    }
}

/* The bucket's name is judged there, too, and may be refused. */
static void make_endpoint(struct arena *arena, const struct config *config)
{
    const struct s3_endpoint_options options = {
        .bucket = "bucket",
        .region = "us-east-1",
        .endpoint = config->s3_endpoint,
        .path_style = config->s3_path_style,
    };
    struct s3_endpoint endpoint;
    struct error *err = s3_endpoint_make(arena, &options, &endpoint);

    CHECK(!err);
    touch(endpoint.base_url);
}

static void read_endpoint(struct arena *arena, struct span text)
{
    struct config *config = NULL;
    struct error *err = config_read(arena, text, NULL, &config);

    if (err) {
        CHECK(!config && error_class_of(err) == ERROR_CONFIG && *error_text(err));
        error_free(err);
        return;
    }
    touch(config->address);
    touch(config->host);
    touch(config->port);
    touch(config->user);
    touch(config->database);
    touch(config->schema);
    touch(config->bucket);
    touch(config->region);
    touch(config->bucket_path);
    touch(config->ssh_endpoint);
    touch(config->ssh_host_key);
    touch(config->metrics_address);
    touch(config->tls_root_certificate);
    CHECK(*config->address && *config->user && config->password);
    CHECK(config->parallel_files <= CONFIG_MAX_PARALLEL_FILES);
    make_endpoint(arena, config);
    config_done(config);
}

static void read_resource(struct arena *arena, struct span text)
{
    const struct config config = {.schema = "public"};
    struct resource resource = {0};
    struct error *err = resource_read(arena, text, &config, &resource);

    if (err) {
        CHECK(error_class_of(err) == ERROR_CONFIG && *error_text(err));
        error_free(err);
        return;
    }
    CHECK(*resource.table && resource.path_count == 2);
    touch(resource.schema);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new((size_t)64 << 20);
    const struct span text = {(const char *)data + (size > 0), size > 0 ? size - 1 : 0};

    if (size > 0 && data[0] % 2) {
        read_resource(arena, text);
    } else {
        read_endpoint(arena, text);
    }
    arena_free(arena);
    return 0;
}
