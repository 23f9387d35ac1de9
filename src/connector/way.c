/*
 * connector/way: the tunnel, as a configuration asks for it. In: endpoint, key, fingerprint. Out:
 * where the warehouse's connections are to be made, and why one failed. It writes to the log what
 * the tunnel reports.
 */

#include "connector/way.h"

#include "base/log.h"
#include "tunnel/forward.h"

#include <stdio.h>

/* For the login, and again for the server to reach the warehouse. */
#define TUNNEL_TIMEOUT_MS 15000

#define PORT_BYTES 8

struct way {
    struct tunnel *tunnel;
    struct error *err; /* why it could not be opened; NULL: it was, or will be */
    char *endpoint;
    bool is_pinned;
    bool is_closing;
    char *host_key; /* as last seen; NULL: none yet */
    char port[PORT_BYTES];
    way_closed_fn *closed;
    void *ctx;
};

/* ---------------------------------------------------------------- reports */

static void host_key_seen(void *ctx, const char *fingerprint)
{
    struct way *way = ctx;

    mem_free(way->host_key);
    way->host_key = mem_strdup(fingerprint);
    log_event(LOG_INFO,
              way->is_pinned ? "the SSH server has the host key that is configured"
                             : "the SSH server's host key is not checked, as none is configured",
              LOG_STR("sshEndpoint", way->endpoint), LOG_STR("hostKey", fingerprint), LOG_END);
}

static void trouble_came(void *ctx, const struct error *err)
{
    (void)ctx;
    log_event(LOG_WARN, "the network tunnel is in trouble", LOG_STR("error", error_text(err)),
              LOG_STR("hint", error_hint(err)), LOG_END);
}

static void opened(void *ctx, struct error *err)
{
    struct way *way = ctx;

    way->err = err;
    if (!err) {
        log_event(LOG_INFO, "the network tunnel is open", LOG_STR("sshEndpoint", way->endpoint),
                  LOG_END);
    } else if (!way->is_closing) {
        log_event(LOG_WARN, "the network tunnel cannot be opened",
                  LOG_STR("error", error_text(err)), LOG_END);
    }
}

/* A server that answered in SQL was reached, and the tunnel is not to blame. */
static struct error *explain(void *ctx, struct error *err)
{
    const struct way *way = ctx;
    const struct error *cause = way->err ? way->err : tunnel_trouble(way->tunnel);

    if (!cause || error_code_of(err) == ERROR_SQL) {
        return err;
    }
    struct error *told = error_new(ERROR_SYSTEM, error_class_of(cause), "%snetwork tunnel: %s",
                                   way->err ? "starting " : "", error_text(cause));
    error_set_hint(told, "%s", error_hint(cause));
    error_drop(err, "it only says that the tunnel hung up");
    return told;
}

/* ---------------------------------------------------------------- doors */

static void free_way(struct way *way)
{
    error_drop(way->err, "each connection that wanted to go this way was told");
    mem_free(way->endpoint);
    mem_free(way->host_key);
    mem_free(way);
}

struct error *way_new(struct loop *loop, const struct config *config, struct way **ret)
{
    struct way *way = mem_alloc(sizeof(*way));
    struct tunnel_options options = {
        .endpoint = config->ssh_endpoint,
        .private_key = config->ssh_private_key,
        .target_host = config->host,
        .target_port = config->has_port ? config->port : "",
        .host_key = *config->ssh_host_key ? config->ssh_host_key : NULL,
        .connect_timeout_ms = TUNNEL_TIMEOUT_MS,
        .on_host_key = host_key_seen,
        .on_trouble = trouble_came,
        .ctx = way,
    };

    way->endpoint = mem_strdup(config->ssh_endpoint);
    way->is_pinned = options.host_key != NULL;
    struct error *err =
        error_wrap(tunnel_new(loop, &options, &way->tunnel), "starting network tunnel");
    if (err) {
        free_way(way);
        return err;
    }
    (void)snprintf(way->port, sizeof(way->port), "%u", tunnel_port(way->tunnel));
    tunnel_open(way->tunnel, opened, way);
    *ret = way;
    return NULL;
}

const char *way_host_key(const struct way *way)
{
    return way->host_key;
}

void way_direct(struct way *way, struct pgc_options *pg)
{
    pg->via_address = "127.0.0.1";
    pg->via_port = way->port;
    pg->explain = explain;
    pg->explain_ctx = way;
    /* What stands in between has its own limits, and shall be the first to complain. */
    pg->connect_timeout_ms += 2 * TUNNEL_TIMEOUT_MS;
}

static void tunnel_closed(void *ctx)
{
    struct way *way = ctx;
    way_closed_fn *closed = way->closed;
    void *closed_ctx = way->ctx;

    free_way(way);
    closed(closed_ctx);
}

void way_close(struct way *way, way_closed_fn *closed, void *ctx)
{
    way->is_closing = true;
    way->closed = closed;
    way->ctx = ctx;
    tunnel_close(way->tunnel, tunnel_closed, way);
}
