/* Exchanges against a scripted server: what goes over the line, every way it can fail, cancel, and
 * that nothing is left in the loop afterwards (loop_free checks it). */

#include "http/client.h"

#include "base/chain.h"
#include "support/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- the frame of each test */

struct world {
    struct loop *loop;
    struct http_client *client;
    struct http_peer *peer;
    unsigned running; /* exchanges without done; the client is closed after the last */
};

struct result {
    struct world *world;
    struct http_exchange *exchange;
    unsigned done_count;
    struct error *err;
};

static void client_closed(void *ctx)
{
    struct world *world = ctx;

    world->client = NULL;
}

static void exchange_done(void *ctx, struct error *err)
{
    struct result *result = ctx;

    result->done_count++;
    result->err = err;
    if (--result->world->running == 0) {
        http_client_close(result->world->client, client_closed, result->world);
    }
}

static void
set_up(struct world *world, const struct http_rule *rules, unsigned count, unsigned hosts)
{
    const struct http_client_options options = {.max_host_connections = hosts};

    *world = (struct world){.loop = loop_new()};
    world->client = http_client_new(world->loop, &options);
    world->peer = http_peer_start(rules, count);
}

static void tear_down(struct world *world)
{
    assert_null(world->client);
    loop_free(world->loop);
    http_peer_stop(world->peer);
}

static void
start(struct world *world, struct result *result, struct http_request request, const char *path)
{
    char url[256];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_peer_port(world->peer), path);
    request.url = url;
    request.method = request.method ? request.method : "GET";
    request.connect_timeout_ms = request.connect_timeout_ms ? request.connect_timeout_ms : 5000;
    request.stall_timeout_ms = request.stall_timeout_ms ? request.stall_timeout_ms : 20000;
    request.max_response_bytes = request.max_response_bytes ? request.max_response_bytes : 65536;
    *result = (struct result){.world = world};
    world->running++;
    result->exchange = http_start(world->client, &request, exchange_done, result);
    assert_int_equal(result->done_count, 0); /* never from inside start */
}

static void end(struct result *result)
{
    assert_int_equal(result->done_count, 1);
    http_exchange_free(result->exchange);
    error_free(result->err);
}

/* ---------------------------------------------------------------- answers */

static void an_answer_is_status_headers_and_body(void **state)
{
    static const struct http_rule rules[] = {
        {.status = 404, .headers = "ETag: \"abc\"\r\nX-Blank:   two words  \r\n", .body = "gone"}};
    struct world world;
    struct result result;

    (void)state;
    set_up(&world, rules, 1, 4);
    start(&world, &result, (struct http_request){0}, "/a?b=c");
    loop_run(world.loop);
    assert_null(result.err); /* a complete answer is no error, whatever its status */
    assert_int_equal(http_response_status(result.exchange), 404);
    assert_true(span_is(http_response_body(result.exchange), "gone"));
    assert_true(span_is(http_response_header(result.exchange, "etag"), "\"abc\""));
    assert_true(span_is(http_response_header(result.exchange, "X-BLANK"), "two words"));
    assert_null(http_response_header(result.exchange, "ETa").ptr);
    end(&result);
    tear_down(&world);
}

static void a_request_is_sent_as_it_is_described(void **state)
{
    static const struct http_rule rules[] = {{.status = 200}};
    const struct http_header headers[] = {{SPAN_LIT("X-One"), SPAN_LIT("1")},
                                          {SPAN_LIT("X-Empty"), SPAN_LIT("")}};
    struct http_peer_request seen;
    struct world world;
    struct result result;

    (void)state;
    set_up(&world, rules, 1, 4);
    start(&world, &result,
          (struct http_request){
              .method = "POST", .headers = headers, .header_count = 2, .body = SPAN_LIT("hello")},
          "/a/../b//c?x=%2F");
    loop_run(world.loop);
    assert_null(result.err);
    assert_true(http_peer_request(world.peer, "POST", NULL, 0, &seen));
    assert_string_equal(seen.target, "/a/../b//c?x=%2F"); /* signed as it is, so sent as it is */
    assert_string_equal(seen.body, "hello");
    assert_non_null(strstr(seen.headers, "HTTP/1.1\r\n"));
    assert_non_null(strstr(seen.headers, "\r\nX-One: 1\r\n"));
    assert_non_null(strstr(seen.headers, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(seen.headers, "\r\nContent-Length: 5\r\n"));
    assert_null(strstr(seen.headers, "Expect"));
    assert_null(strstr(seen.headers, "Accept"));
    assert_null(strstr(seen.headers, "Content-Type"));
    end(&result);
    tear_down(&world);
}

static void methods_have_the_bodies_that_belong_to_them(void **state)
{
    static const struct {
        const char *sentence, *method;
        bool has_length;
    } rows[] = {
        {"GET has no length", "GET", false},
        {"HEAD has no length", "HEAD", false},
        {"DELETE has no length", "DELETE", false},
        {"PUT without a body announces 0", "PUT", true},
        {"POST without a body announces 0", "POST", true},
    };
    static const struct http_rule rules[] = {{.status = 200, .body = "xyz"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_peer_request seen;
        struct world world;
        struct result result;

        set_up(&world, rules, 1, 4);
        start(&world, &result, (struct http_request){.method = rows[i].method}, "/");
        loop_run(world.loop);
        if (result.err) {
            fail_msg("%s: %s", rows[i].sentence, error_text(result.err));
        }
        if (!http_peer_request(world.peer, rows[i].method, NULL, 0, &seen) ||
            (strstr(seen.headers, "\r\nContent-Length: 0\r\n") != NULL) != rows[i].has_length) {
            fail_msg("%s: %s", rows[i].sentence, seen.headers);
        }
        end(&result);
        tear_down(&world);
    }
}

static void fill(struct chain *chain, size_t bytes, uint32_t *ret_sum)
{
    char block[4096];

    *ret_sum = 0;
    for (size_t done = 0; done < bytes;) {
        size_t len = bytes - done < sizeof(block) ? bytes - done : sizeof(block);

        for (size_t i = 0; i < len; i++) {
            block[i] = (char)((done + i) * 31 >> 3);
            *ret_sum += (unsigned char)block[i];
        }
        chain_add(chain, block, len);
        done += len;
    }
}

static void a_chain_arrives_whole(void **state)
{
    static const struct http_rule rules[] = {{.method = "PUT", .status = 200}};
    struct http_peer_request seen;
    struct chain_pool *pool = chain_pool_new(65536, 0);
    struct chain chain;
    uint32_t sum;
    struct world world;
    struct result result;

    (void)state;
    chain_init(&chain, pool);
    fill(&chain, 3000001, &sum);
    set_up(&world, rules, 1, 4);
    start(&world, &result, (struct http_request){.method = "PUT", .body_chain = &chain}, "/k");
    loop_run(world.loop);
    assert_null(result.err);
    assert_true(http_peer_request(world.peer, "PUT", "/k", 0, &seen));
    assert_int_equal(seen.body_bytes, 3000001);
    assert_int_equal(seen.body_sum, sum);
    end(&result);
    tear_down(&world);
    chain_release(&chain);
    chain_pool_free(pool);
}

/* The server closes after its first answer without saying so. When the second request finds out
 * while its answer is awaited, its body is read again from the start; when its bytes were still
 * being sent, libcurl gives up, and it is for the caller to try again. Which of the two is the
 * system's choice, so the first is waited for. */
static void a_body_is_read_again_when_a_kept_connection_was_closed(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "GET", .way = HTTP_PEER_ANSWER_END, .status = 200},
        {.method = "PUT", .status = 200}};
    bool was_read_again = false;

    (void)state;
    for (unsigned i = 0; i < 100 && !was_read_again; i++) {
        struct http_peer_request seen;
        struct world world;
        struct result first, second;

        set_up(&world, rules, 2, 1);
        start(&world, &first, (struct http_request){0}, "/");
        start(&world, &second, (struct http_request){.method = "PUT", .body = SPAN_LIT("again")},
              "/k");
        loop_run(world.loop);
        assert_null(first.err);
        if (second.err) {
            assert_int_equal(error_class_of(second.err), ERROR_RETRY);
        } else {
            assert_true(http_peer_request(world.peer, "PUT", "/k", 0, &seen));
            assert_string_equal(seen.body, "again");
            was_read_again = true;
        }
        end(&first);
        end(&second);
        tear_down(&world);
    }
    assert_true(was_read_again);
}

struct counted {
    size_t bytes;
    struct http_exchange *cancel;
};

static void count_bytes(void *ctx, struct span bytes)
{
    struct counted *counted = ctx;

    counted->bytes += bytes.len;
    if (counted->cancel) {
        http_cancel(counted->cancel);
    }
}

static void a_body_may_be_passed_on_as_it_comes(void **state)
{
    static const struct http_rule rules[] = {{.status = 200, .body = "0123456789"}};
    struct counted counted = {0};
    struct world world;
    struct result result;

    (void)state;
    set_up(&world, rules, 1, 4);
    start(&world, &result, (struct http_request){.on_body = count_bytes, .on_body_ctx = &counted},
          "/");
    loop_run(world.loop);
    assert_null(result.err);
    assert_int_equal(counted.bytes, 10);
    assert_int_equal(http_response_body(result.exchange).len, 0);
    end(&result);
    tear_down(&world);
}

static void connections_are_kept_and_bounded(void **state)
{
    enum { COUNT = 20 };
    static const struct http_rule rules[] = {{.status = 200, .body = "x"}};
    struct world world;
    struct result results[COUNT];

    (void)state;
    set_up(&world, rules, 1, 3);
    for (unsigned i = 0; i < COUNT; i++) {
        start(&world, &results[i], (struct http_request){0}, "/");
    }
    loop_run(world.loop);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_null(results[i].err);
        end(&results[i]);
    }
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), COUNT);
    assert_in_range(http_peer_connections(world.peer), 1, 3);
    tear_down(&world);
}

/* ---------------------------------------------------------------- failures */

struct failure_row {
    const char *sentence;
    struct http_rule rule;
    struct http_request request;
    enum error_code code;
    enum error_class cls;
    const char *origin; /* or NULL */
};

static void each_failure_has_a_class_and_names_the_peer(void **state)
{
    const struct failure_row rows[] = {
        {"the answer ends before its body does",
         {.way = HTTP_PEER_CUT, .status = 200, .body = "0123456789", .after_bytes = 50},
         {0},
         ERROR_HTTP,
         ERROR_RETRY,
         "CURLE_PARTIAL_FILE"},
        {"the connection ends without an answer",
         {.way = HTTP_PEER_CUT, .status = 200, .after_bytes = 0},
         {0},
         ERROR_HTTP,
         ERROR_RETRY,
         "CURLE_GOT_NOTHING"},
        {"the connection is reset",
         {.way = HTTP_PEER_RESET, .after_bytes = 0},
         {0},
         ERROR_HTTP,
         ERROR_RETRY,
         NULL},
        {"silence is a stall",
         {.way = HTTP_PEER_SILENCE},
         {.stall_timeout_ms = 60},
         ERROR_TIMEOUT,
         ERROR_RETRY,
         NULL},
        {"silence after a body is a stall",
         {.way = HTTP_PEER_SILENCE},
         {.method = "PUT", .body = SPAN_LIT("abc"), .stall_timeout_ms = 60},
         ERROR_TIMEOUT,
         ERROR_RETRY,
         NULL},
        {"an answer larger than allowed",
         {.status = 200, .body = "0123456789"},
         {.max_response_bytes = 9},
         ERROR_HTTP,
         ERROR_FATAL,
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct failure_row *row = &rows[i];
        char peer_name[32];
        struct world world;
        struct result result;

        set_up(&world, &row->rule, 1, 4);
        snprintf(peer_name, sizeof(peer_name), "127.0.0.1:%u", http_peer_port(world.peer));
        start(&world, &result, row->request, "/key?X-Secret=hunter2");
        loop_run(world.loop);
        if (!result.err) {
            fail_msg("%s: no error", row->sentence);
        }
        if (error_code_of(result.err) != row->code || error_class_of(result.err) != row->cls ||
            (row->origin && strcmp(error_origin(result.err), row->origin) != 0) ||
            !strstr(error_text(result.err), peer_name) ||
            strstr(error_text(result.err), "hunter2")) {
            fail_msg("%s: %s", row->sentence, error_text(result.err));
        }
        if (http_peer_rule_uses(world.peer, 0) == 0) {
            fail_msg("%s: the failure was not met", row->sentence);
        }
        end(&result);
        tear_down(&world);
    }
}

static void addresses_that_lead_nowhere_are_told_apart(void **state)
{
    static const struct {
        const char *sentence, *url;
        enum error_class cls;
    } rows[] = {
        {"nobody listens", "http://127.0.0.1:1/k?X-Secret=hunter2", ERROR_RETRY},
        {"no such scheme", "gopher://127.0.0.1/k?X-Secret=hunter2", ERROR_CONFIG},
        {"no URL at all", "http://127.0.0.1:port/k?X-Secret=hunter2", ERROR_CONFIG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct http_request request = {.method = "GET",
                                             .url = rows[i].url,
                                             .connect_timeout_ms = 5000,
                                             .stall_timeout_ms = 5000,
                                             .max_response_bytes = 100};
        struct world world;
        struct result result = {.world = &world};

        set_up(&world, NULL, 0, 4);
        world.running = 1;
        result.exchange = http_start(world.client, &request, exchange_done, &result);
        loop_run(world.loop);
        if (!result.err || error_class_of(result.err) != rows[i].cls ||
            strstr(error_text(result.err), "hunter2")) {
            fail_msg("%s: %s", rows[i].sentence, result.err ? error_text(result.err) : "no error");
        }
        end(&result);
        tear_down(&world);
    }
}

/* ---------------------------------------------------------------- TLS */

static void a_certificate_is_trusted_or_refused(void **state)
{
    static const struct {
        const char *sentence, *host;
        bool is_trusted, is_fine;
    } rows[] = {
        {"a trusted authority and the right name", "127.0.0.1", true, true},
        {"nobody knows the authority", "127.0.0.1", false, false},
        {"a trusted authority and another name", "localhost", true, false},
    };
    static const struct http_rule rules[] = {{.method = "PUT", .body = "stored"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct chain_pool *pool = chain_pool_new(65536, 0);
        struct chain chain;
        uint32_t sum;
        char url[64];
        struct world world = {.loop = loop_new(), .running = 1};
        struct http_client_options options = {.max_host_connections = 1};
        struct http_request request = {.method = "PUT",
                                       .url = url,
                                       .body_chain = &chain,
                                       .connect_timeout_ms = 5000,
                                       .stall_timeout_ms = 5000,
                                       .max_response_bytes = 100};
        struct result result = {.world = &world};

        chain_init(&chain, pool);
        fill(&chain, 1000000, &sum);
        world.peer = http_peer_start_tls(rules, 1);
        options.ca_file = rows[i].is_trusted ? http_peer_certificate(world.peer) : NULL;
        world.client = http_client_new(world.loop, &options);
        snprintf(url, sizeof(url), "https://%s:%u/k", rows[i].host, http_peer_port(world.peer));
        result.exchange = http_start(world.client, &request, exchange_done, &result);
        loop_run(world.loop);
        if (rows[i].is_fine) {
            struct http_peer_request seen;

            if (result.err || !http_peer_request(world.peer, "PUT", "/k", 0, &seen) ||
                seen.body_sum != sum) {
                fail_msg("%s: %s", rows[i].sentence, result.err ? error_text(result.err) : "body");
            }
        } else if (!result.err || error_class_of(result.err) != ERROR_CONFIG ||
                   *error_hint(result.err) == '\0' ||
                   http_peer_count(world.peer, NULL, NULL) != 0) {
            fail_msg("%s: %s", rows[i].sentence, result.err ? error_text(result.err) : "accepted");
        }
        end(&result);
        tear_down(&world);
        chain_release(&chain);
        chain_pool_free(pool);
    }
}

static void a_server_that_speaks_only_old_tls_is_refused(void **state)
{
    static const struct http_rule rules[] = {{.body = "hello"}};
    struct world world = {.loop = loop_new(), .running = 1};
    struct result result = {.world = &world};
    char url[64];

    (void)state;
    world.peer = http_peer_start_old_tls(rules, 1);
    const struct http_client_options options = {.max_host_connections = 1,
                                                .ca_file = http_peer_certificate(world.peer)};
    world.client = http_client_new(world.loop, &options);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/k", http_peer_port(world.peer));
    const struct http_request request = {.method = "GET",
                                         .url = url,
                                         .connect_timeout_ms = 5000,
                                         .stall_timeout_ms = 5000,
                                         .max_response_bytes = 100};
    result.exchange = http_start(world.client, &request, exchange_done, &result);
    loop_run(world.loop);
    assert_non_null(result.err);
    if (error_class_of(result.err) != ERROR_CONFIG ||
        !strstr(error_hint(result.err), "TLS 1.2 or later") ||
        http_peer_count(world.peer, NULL, NULL) != 0) {
        fail_msg("%s / %s", error_text(result.err), error_hint(result.err));
    }
    end(&result);
    tear_down(&world);
}

/* ---------------------------------------------------------------- cancel */

static void a_cancel_before_the_start_sends_nothing(void **state)
{
    static const struct http_rule rules[] = {{.status = 200}};
    struct world world;
    struct result result;

    (void)state;
    set_up(&world, rules, 1, 4);
    start(&world, &result, (struct http_request){0}, "/");
    http_cancel(result.exchange);
    http_cancel(result.exchange);
    loop_run(world.loop);
    assert_non_null(result.err);
    assert_int_equal(error_code_of(result.err), ERROR_CANCELLED);
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), 0);
    end(&result);
    tear_down(&world);
}

/* Cancels come from inside a callback of the library, in the middle of an answer. */
static void cancels_in_the_middle_of_answers_end_quietly(void **state)
{
    static const struct http_rule rules[] = {{.way = HTTP_PEER_SILENCE, .target = "/silent"},
                                             {.way = HTTP_PEER_CUT,
                                              .headers = "Content-Length: 100\r\n",
                                              .body = "only this",
                                              .after_bytes = 1000}};
    struct counted by_half = {0};
    struct world world;
    struct result silent, half, queued;

    (void)state;
    set_up(&world, rules, 2, 2);
    start(&world, &silent, (struct http_request){0}, "/silent");
    start(&world, &half, (struct http_request){.on_body = count_bytes, .on_body_ctx = &by_half},
          "/half");
    start(&world, &queued, (struct http_request){0}, "/queued");
    by_half.cancel = silent.exchange;
    http_cancel(queued.exchange);
    loop_run(world.loop);
    assert_int_equal(by_half.bytes, 9);
    assert_int_equal(error_code_of(silent.err), ERROR_CANCELLED);
    assert_int_equal(error_code_of(queued.err), ERROR_CANCELLED);
    assert_int_equal(http_peer_count(world.peer, NULL, "/queued"), 0);
    assert_string_equal(error_origin(half.err), "CURLE_PARTIAL_FILE");
    end(&silent);
    end(&half);
    end(&queued);
    tear_down(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_status_headers_and_body),
        cmocka_unit_test(a_request_is_sent_as_it_is_described),
        cmocka_unit_test(methods_have_the_bodies_that_belong_to_them),
        cmocka_unit_test(a_chain_arrives_whole),
        cmocka_unit_test(a_body_is_read_again_when_a_kept_connection_was_closed),
        cmocka_unit_test(a_body_may_be_passed_on_as_it_comes),
        cmocka_unit_test(connections_are_kept_and_bounded),
        cmocka_unit_test(each_failure_has_a_class_and_names_the_peer),
        cmocka_unit_test(addresses_that_lead_nowhere_are_told_apart),
        cmocka_unit_test(a_certificate_is_trusted_or_refused),
        cmocka_unit_test(a_server_that_speaks_only_old_tls_is_refused),
        cmocka_unit_test(a_cancel_before_the_start_sends_nothing),
        cmocka_unit_test(cancels_in_the_middle_of_answers_end_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
