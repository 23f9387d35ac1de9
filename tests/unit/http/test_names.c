/* Names of servers, with a resolver that is this file's: it stands in front of the C library's for
 * the whole program. */

#include "http/client.h"

#include "support/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#define DEADLINE_SECONDS 20

/* ---------------------------------------------------------------- the resolver */

/* Read by libcurl's threads. NULL: nobody answers. */
static const char *volatile address;
static unsigned asked;

struct found {
    struct addrinfo info;
    struct sockaddr_in where;
};

int getaddrinfo(const char *name,
                const char *service,
                const struct addrinfo *hints,
                struct addrinfo **ret)
{
    const char *now = __atomic_load_n(&address, __ATOMIC_SEQ_CST);
    struct found *found;

    (void)name;
    (void)hints;
    __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    if (!now) {
        return EAI_AGAIN;
    }
    found = calloc(1, sizeof(*found));
    if (!found) {
        return EAI_MEMORY;
    }
    found->where.sin_family = AF_INET;
    found->where.sin_port = htons((uint16_t)(service ? strtoul(service, NULL, 10) : 0));
    (void)inet_pton(AF_INET, now, &found->where.sin_addr);
    found->info.ai_family = AF_INET;
    found->info.ai_socktype = SOCK_STREAM;
    found->info.ai_addrlen = sizeof(found->where);
    found->info.ai_addr = (struct sockaddr *)&found->where;
    *ret = &found->info;
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    free(info); /* the first member of what was allocated */
}

/* ---------------------------------------------------------------- one client, many attempts */

struct scene {
    struct loop *loop;
    struct http_client *client;
    struct http_peer *peer;
    struct http_exchange *exchange;
    unsigned failures, attempts_before; /* that other address is told behind so many failures */
    const char *other;
    enum error_class cls; /* of the last failure */
    time_t end;
    bool was_answered;
};

static void client_closed(void *ctx)
{
    struct scene *scene = ctx;

    scene->client = NULL;
}

static void exchange_done(void *ctx, struct error *err);

static void attempt(struct scene *scene)
{
    struct http_request request = {.method = "GET",
                                   .connect_timeout_ms = 5000,
                                   .stall_timeout_ms = 20000,
                                   .max_response_bytes = 100};
    char url[64];

    (void)snprintf(url, sizeof(url), "http://bucket.test:%u/k", http_peer_port(scene->peer));
    request.url = url;
    scene->exchange = http_start(scene->client, &request, exchange_done, scene);
}

static void exchange_done(void *ctx, struct error *err)
{
    struct scene *scene = ctx;

    http_exchange_free(scene->exchange);
    if (err) {
        scene->cls = error_class_of(err);
        error_free(err);
        if (++scene->failures == scene->attempts_before) {
            __atomic_store_n(&address, scene->other, __ATOMIC_SEQ_CST);
        }
        if (time(NULL) < scene->end) {
            attempt(scene);
            return;
        }
    }
    scene->was_answered = !err;
    http_client_close(scene->client, client_closed, scene);
}

/* The name leads to `first` for two attempts, and to the server from then on. */
static void run(struct scene *scene, const char *first)
{
    static const struct http_rule rules[] = {{.status = 200}};
    const struct http_client_options options = {.max_host_connections = 1};

    *scene = (struct scene){.loop = loop_new(),
                            .attempts_before = 2,
                            .other = "127.0.0.1",
                            .end = time(NULL) + DEADLINE_SECONDS};
    asked = 0;
    address = first;
    scene->client = http_client_new(scene->loop, &options);
    scene->peer = http_peer_start(rules, 1);
    attempt(scene);
    loop_run(scene->loop);
    assert_null(scene->client);
    assert_true(scene->was_answered);
    assert_int_equal(scene->cls, ERROR_RETRY);
    loop_free(scene->loop);
    http_peer_stop(scene->peer);
}

/* ---------------------------------------------------------------- tests */

static void a_name_that_nobody_knows_is_asked_for_again(void **state)
{
    struct scene scene;

    (void)state;
    run(&scene, NULL);
    assert_int_equal(scene.failures, 2);
    assert_true(asked >= 3);
}

static void a_server_that_has_moved_is_found_within_seconds(void **state)
{
    struct scene scene;

    (void)state;
    run(&scene, "127.0.0.2"); /* nobody listens there */
    assert_true(scene.failures >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_nobody_knows_is_asked_for_again),
        cmocka_unit_test(a_server_that_has_moved_is_found_within_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
