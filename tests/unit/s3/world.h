#ifndef TESTS_S3_WORLD_H
#define TESTS_S3_WORLD_H

/* What the tests of calls and uploads share: a loop, a bucket that a script plays, a ledger. At the
 * end everything is closed and the ledger must be empty. */

#include "base/chain.h"
#include "s3/upload.h"
#include "support/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORLD_SECRET "wJalrXUtnFEMIsecret"

struct world {
    struct loop *loop;
    struct http_peer *peer;
    struct http_client *http;
    struct s3 *s3;
    struct arena *arena;
    struct secret *secret, *token;
    struct credit *credit;
    struct chain_pool *pool;
    struct figures figures;
    unsigned running; /* operations without done */
};

/* Stands in the place of an operation's owner. */
struct outcome {
    struct world *world;
    unsigned done_count;
    struct error *err;
};

static inline void world_closed(void *ctx)
{
    struct world *world = ctx;

    world->http = NULL;
}

static inline void world_done(void *ctx, struct error *err)
{
    struct outcome *outcome = ctx;

    outcome->done_count++;
    outcome->err = err;
    if (--outcome->world->running == 0) {
        http_client_close(outcome->world->http, world_closed, outcome->world);
    }
}

/* token: a session token, or NULL. */
static inline void world_set_up_with(struct world *world,
                                     const struct http_rule *rules,
                                     unsigned count,
                                     uint64_t stall_ms,
                                     bool with_tls,
                                     const char *token)
{
    struct http_client_options http = {.max_host_connections = 8};
    struct s3_options options = {.access_key_id = "AKIATEST",
                                 .seed = 1,
                                 .figures = &world->figures,
                                 .stall_timeout_ms = stall_ms,
                                 .retry_first_ms = 1};
    char address[64];
    struct s3_endpoint_options where = {
        .bucket = "docs", .region = "us-east-1", .endpoint = address};

    memset(world, 0, sizeof(*world));
    world->loop = loop_new();
    world->peer = with_tls ? http_peer_start_tls(rules, count) : http_peer_start(rules, count);
    http.ca_file = with_tls ? http_peer_certificate(world->peer) : NULL;
    world->http = http_client_new(world->loop, &http);
    world->arena = arena_new(65536);
    world->secret = secret_new(SPAN_LIT(WORLD_SECRET));
    world->token = token ? secret_new(span_of(token)) : NULL;
    snprintf(address, sizeof(address), "%s://127.0.0.1:%u", with_tls ? "https" : "http",
             http_peer_port(world->peer));
    assert_null(s3_endpoint_make(world->arena, &where, &options.endpoint));
    options.secret_access_key = world->secret;
    options.session_token = world->token;
    world->s3 = s3_new(world->loop, world->http, &options);
    world->credit = credit_new((size_t)64 << 20);
    world->pool = chain_pool_new(65536, 0);
}

static inline void
world_set_up(struct world *world, const struct http_rule *rules, unsigned count, uint64_t stall_ms)
{
    world_set_up_with(world, rules, count, stall_ms, false, NULL);
}

/* Also checks what must hold at the end of every story. */
static inline void world_tear_down(struct world *world)
{
    assert_null(world->http);
    assert_int_equal(credit_used(world->credit), 0);
    assert_int_equal(chain_pool_used(world->pool), 0);
    s3_free(world->s3);
    loop_free(world->loop);
    http_peer_stop(world->peer);
    credit_free(world->credit);
    chain_pool_free(world->pool);
    secret_free(world->secret);
    secret_free(world->token);
    arena_free(world->arena);
}

static inline void world_begin(struct world *world, struct outcome *outcome)
{
    *outcome = (struct outcome){.world = world};
    world->running++;
}

/* Runs to the end; done must have come exactly once. */
static inline void world_run(struct world *world, const struct outcome *outcome)
{
    loop_run(world->loop);
    assert_int_equal(outcome->done_count, 1);
    if (outcome->err) {
        assert_null(strstr(error_text(outcome->err), WORLD_SECRET));
        assert_null(strstr(error_text(outcome->err), "Signature="));
    }
}

/* A part of so many bytes, with its credit taken. */
static inline void world_fill(struct world *world, struct chain *chain, size_t bytes)
{
    static char block[65536];

    chain_init(chain, world->pool);
    credit_take(world->credit, bytes);
    memset(block, 'x', sizeof(block));
    while (bytes > 0) {
        size_t len = bytes < sizeof(block) ? bytes : sizeof(block);

        chain_add(chain, block, len);
        bytes -= len;
    }
}

#endif
