/* Proxies named by the environment: which requests go through them, what the proxy hears, what is
 * said when it refuses, and that its password is never said. The names of the targets are known to
 * no resolver (RFC 6761), so what reaches them came through the proxy. */

#include "http/client.h"

#include "support/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PASSWORD "proxy-Passw0rd-4711"
#define BASIC "Zmxvdzpwcm94eS1QYXNzdzByZC00NzEx" /* base64 of flow:PASSWORD */

static const char *const variables[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};

static int forget_variables(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        (void)unsetenv(variables[i]);
    }
    return 0;
}

/* ---------------------------------------------------------------- one request */

struct scene {
    struct loop *loop;
    struct http_client *client;
    struct http_exchange *exchange;
    struct error *err;
};

static void client_closed(void *ctx)
{
    (void)ctx;
}

static void exchange_done(void *ctx, struct error *err)
{
    struct scene *scene = ctx;

    scene->err = err;
    http_client_close(scene->client, client_closed, scene);
}

/* The environment is read when the request runs. */
static void get(struct scene *scene, const char *url, const char *ca_file, uint64_t timeout_ms)
{
    const struct http_client_options options = {.max_host_connections = 1, .ca_file = ca_file};
    const struct http_request request = {.method = "GET",
                                         .url = url,
                                         .connect_timeout_ms = timeout_ms,
                                         .stall_timeout_ms = 20000,
                                         .max_response_bytes = 1000};

    *scene = (struct scene){.loop = loop_new()};
    scene->client = http_client_new(scene->loop, &options);
    scene->exchange = http_start(scene->client, &request, exchange_done, scene);
    loop_run(scene->loop);
}

static void end(struct scene *scene)
{
    http_exchange_free(scene->exchange);
    error_free(scene->err);
    loop_free(scene->loop);
}

/* The text with the port where it has a $. */
static void put_port(const char *text, unsigned port, char *out, size_t room)
{
    size_t before = strcspn(text, "$");

    if (text[before] == '$') {
        (void)snprintf(out, room, "%.*s%u%s", (int)before, text, port, text + before + 1);
    } else {
        (void)snprintf(out, room, "%s", text);
    }
}

static void set(const char *name, const char *text, unsigned port)
{
    char value[256];

    put_port(text, port, value, sizeof(value));
    assert_int_equal(setenv(name, value, 1), 0);
}

/* ---------------------------------------------------------------- which requests go through it */

/* $: the port of the proxy, or of the target. */
static const struct way_row {
    const char *sentence;
    const char *name, *value; /* of a variable */
    const char *no_name, *no_value;
    const char *url;
    bool goes_through, arrives;
} way_rows[] = {
    {"https_proxy", "https_proxy", "http://flow:" PASSWORD "@127.0.0.1:$", NULL, NULL,
     "https://peer.test:$/k", true, true},
    {"HTTPS_PROXY", "HTTPS_PROXY", "http://flow:" PASSWORD "@127.0.0.1:$", NULL, NULL,
     "https://peer.test:$/k", true, true},
    {"all_proxy", "all_proxy", "http://flow:" PASSWORD "@127.0.0.1:$", NULL, NULL,
     "https://peer.test:$/k", true, true},
    {"a host that is named", "https_proxy", "http://127.0.0.1:$", "no_proxy", "peer.test",
     "https://peer.test:$/k", false, false},
    {"a domain that is named", "https_proxy", "http://127.0.0.1:$", "NO_PROXY", "example.com,.test",
     "https://peer.test:$/k", false, false},
    {"all hosts", "https_proxy", "http://127.0.0.1:$", "NO_PROXY", "*", "https://peer.test:$/k",
     false, false},
    {"another host that is named", "https_proxy", "http://flow:" PASSWORD "@127.0.0.1:$",
     "no_proxy", "example.com", "https://peer.test:$/k", true, true},
    {"a loopback address", "https_proxy", "http://127.0.0.1:$", NULL, NULL, "https://127.0.0.1:$/k",
     false, true},
    {"a loopback address, of all", "all_proxy", "http://127.0.0.1:$", NULL, NULL,
     "https://127.0.0.1:$/k", false, true},
    {"https goes not by http_proxy", "http_proxy", "http://127.0.0.1:$", NULL, NULL,
     "https://peer.test:$/k", false, false},
    {"http goes not by https_proxy", "https_proxy", "http://127.0.0.1:$", NULL, NULL,
     "http://peer.test:$/k", false, false},
    {"nor by HTTP_PROXY, which a web server's client can set", "HTTP_PROXY", "http://127.0.0.1:$",
     NULL, NULL, "http://peer.test:$/k", false, false},
};

static void check_way(const struct way_row *row)
{
    static const struct http_rule tunnel[] = {{.method = "CONNECT", .way = HTTP_PEER_TUNNEL}};
    static const struct http_rule hello[] = {{.method = "GET", .body = "hello"}};
    struct http_peer *proxy = http_peer_start(tunnel, 1);
    struct http_peer *target = http_peer_start_tls(hello, 1);
    struct http_peer_request seen;
    struct scene scene;
    char url[128], line[128];

    (void)forget_variables(NULL);
    set(row->name, row->value, http_peer_port(proxy));
    if (row->no_name) {
        set(row->no_name, row->no_value, 0);
    }
    put_port(row->url, http_peer_port(target), url, sizeof(url));
    get(&scene, url, http_peer_certificate(target), 20000);

    bool arrived = http_peer_count(target, "GET", "/k") == 1;
    bool was_asked = http_peer_count(proxy, NULL, NULL) > 0;
    if (arrived != row->arrives || was_asked != row->goes_through ||
        (scene.err == NULL) != arrived) {
        fail_msg("%s: asked %d, arrived %d, %s", row->sentence, was_asked, arrived,
                 scene.err ? error_text(scene.err) : "no error");
    }
    if (was_asked) {
        (void)snprintf(line, sizeof(line), "CONNECT peer.test:%u HTTP/1.1\r\n",
                       http_peer_port(target));
        assert_true(http_peer_request(proxy, "CONNECT", NULL, 0, &seen));
        assert_memory_equal(seen.headers, line, strlen(line));
        assert_non_null(strstr(seen.headers, "Proxy-Authorization: Basic " BASIC "\r\n"));
        /* The target hears nothing of it. */
        assert_true(http_peer_request(target, "GET", NULL, 0, &seen));
        assert_null(strstr(seen.headers, "Proxy-"));
        assert_true(span_is(http_response_body(scene.exchange), "hello"));
        assert_int_equal(http_response_status(scene.exchange), 200);
    }
    end(&scene);
    http_peer_stop(proxy);
    http_peer_stop(target);
}

static void the_environment_says_what_goes_through_a_proxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(way_rows); i++) {
        check_way(&way_rows[i]);
    }
}

static void plain_http_is_asked_of_the_proxy_of_http_proxy(void **state)
{
    static const struct http_rule rules[] = {{.method = "GET", .body = "from the proxy"}};
    struct http_peer *proxy = http_peer_start(rules, 1);
    struct http_peer_request seen;
    struct scene scene;

    (void)state;
    set("http_proxy", "http://127.0.0.1:$", http_peer_port(proxy));
    get(&scene, "http://peer.test/role", NULL, 20000);
    assert_null(scene.err);
    assert_true(http_peer_request(proxy, "GET", NULL, 0, &seen));
    assert_string_equal(seen.target, "http://peer.test/role");
    end(&scene);
    http_peer_stop(proxy);
}

/* Where a cloud gives a machine its own keys, a proxy would give its machine's. Nothing listens at
 * these ports, and what comes of that differs from machine to machine: only the proxy is looked at.
 */
static void addresses_of_this_link_are_never_asked_of_a_proxy(void **state)
{
    static const char *const urls[] = {"http://169.254.169.254:1/", "http://169.254.170.2:1/",
                                       "http://[fd00:ec2::254]:1/", "http://[fe80::1]:1/",
                                       "http://[::1]:1/",           "http://127.1.2.3:1/",
                                       "http://localhost:1/"};
    static const struct http_rule rules[] = {{.body = "keys of the proxy's machine"}};
    struct http_peer *proxy = http_peer_start(rules, 1);

    (void)state;
    set("all_proxy", "http://127.0.0.1:$", http_peer_port(proxy));
    set("http_proxy", "http://127.0.0.1:$", http_peer_port(proxy));
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct scene scene;

        get(&scene, urls[i], NULL, 300);
        if (http_peer_connections(proxy) != 0) {
            fail_msg("%s was asked of the proxy", urls[i]);
        }
        end(&scene);
    }
    http_peer_stop(proxy);
}

/* ---------------------------------------------------------------- what goes wrong there */

static const struct trouble_row {
    const char *sentence;
    struct http_rule rule; /* of the proxy */
    const char *value;     /* of https_proxy */
    enum error_class cls;
    const char *words, *hint;
} trouble_rows[] = {
    {"it wants another password",
     {.status = 407},
     "http://flow:" PASSWORD "@127.0.0.1:$",
     ERROR_CONFIG,
     "the proxy in front of peer.test:443 opened no connection (407)",
     "wants a user and a password"},
    {"it does not allow this host",
     {.status = 403},
     "http://flow:" PASSWORD "@127.0.0.1:$",
     ERROR_CONFIG,
     "opened no connection (403)",
     "no_proxy"},
    {"it cannot reach this host",
     {.status = 502},
     "http://flow:" PASSWORD "@127.0.0.1:$",
     ERROR_RETRY,
     "opened no connection (502)",
     ""},
    {"it hangs up",
     {.way = HTTP_PEER_RESET},
     "http://flow:" PASSWORD "@127.0.0.1:$",
     ERROR_RETRY,
     "exchange with peer.test:443",
     ""},
    {"it says nothing",
     {.way = HTTP_PEER_SILENCE},
     "http://flow:" PASSWORD "@127.0.0.1:$",
     ERROR_RETRY,
     "no connection to peer.test:443 within 1000 ms",
     ""},
    {"nobody listens there",
     {.status = 200},
     "http://flow:" PASSWORD "@127.0.0.1:1",
     ERROR_RETRY,
     "exchange with peer.test:443",
     ""},
    {"nobody knows its name",
     {.status = 200},
     "http://flow:" PASSWORD "@proxy.test:1",
     ERROR_RETRY,
     "exchange with peer.test:443: Could not resolve proxy: proxy.test",
     ""},
    {"it is of no known kind",
     {.status = 200},
     "gopher://flow:" PASSWORD "@127.0.0.1:$",
     ERROR_RETRY,
     "exchange with peer.test:443",
     ""},
    {"its port is none",
     {.status = 200},
     "http://flow:" PASSWORD "@127.0.0.1:port",
     ERROR_RETRY,
     "exchange with peer.test:443",
     ""},
    {"it is no URL at all",
     {.status = 200},
     "flow:" PASSWORD "@[:::",
     ERROR_RETRY,
     "exchange with peer.test:443",
     ""},
};

static void what_goes_wrong_at_a_proxy_is_told_without_its_password(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(trouble_rows); i++) {
        const struct trouble_row *row = &trouble_rows[i];
        struct http_peer *proxy = http_peer_start(&row->rule, 1);
        struct scene scene;

        set("https_proxy", row->value, http_peer_port(proxy));
        get(&scene, "https://peer.test/k", NULL, row->rule.way == HTTP_PEER_SILENCE ? 1000 : 20000);
        const char *text = scene.err ? error_text(scene.err) : "no error";
        if (!scene.err || error_class_of(scene.err) != row->cls || !strstr(text, row->words) ||
            !strstr(error_hint(scene.err), row->hint)) {
            fail_msg("%s: %s / %s", row->sentence, text, error_hint(scene.err));
        }
        if (strstr(text, PASSWORD) || strstr(error_hint(scene.err), PASSWORD) ||
            strstr(text, "flow:") || strstr(text, BASIC)) {
            fail_msg("%s: the password is told: %s", row->sentence, text);
        }
        end(&scene);
        http_peer_stop(proxy);
    }
}

/* In the middle of the handshake, and in the middle of the answer. */
static void a_proxy_that_hangs_up_later_is_a_broken_line(void **state)
{
    static const size_t moments[] = {100, 1200};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        const struct http_rule tunnel[] = {
            {.method = "CONNECT", .way = HTTP_PEER_TUNNEL, .after_bytes = moments[i]}};
        const struct http_rule answer[] = {{.headers = "Content-Length: 900\r\n", .body = "half"}};
        struct http_peer *proxy = http_peer_start(tunnel, 1);
        struct http_peer *target = http_peer_start_tls(answer, 1);
        struct scene scene;
        char url[64];

        set("https_proxy", "http://127.0.0.1:$", http_peer_port(proxy));
        (void)snprintf(url, sizeof(url), "https://peer.test:%u/k", http_peer_port(target));
        get(&scene, url, http_peer_certificate(target), 20000);
        assert_non_null(scene.err);
        assert_int_equal(error_class_of(scene.err), ERROR_RETRY);
        end(&scene);
        http_peer_stop(proxy);
        http_peer_stop(target);
    }
}

/* TLS is between the two ends: the proxy's own certificate, or another host's, would not do. */
static void the_certificate_is_checked_against_the_target_s_name(void **state)
{
    static const struct http_rule tunnel[] = {{.method = "CONNECT", .way = HTTP_PEER_TUNNEL}};
    static const struct http_rule hello[] = {{.body = "hello"}};
    struct http_peer *proxy = http_peer_start(tunnel, 1);
    struct http_peer *target = http_peer_start_tls(hello, 1);
    struct scene scene;
    char url[64];

    (void)state;
    set("https_proxy", "http://127.0.0.1:$", http_peer_port(proxy));
    (void)snprintf(url, sizeof(url), "https://other.test:%u/k", http_peer_port(target));
    get(&scene, url, http_peer_certificate(target), 20000);
    assert_non_null(scene.err);
    assert_int_equal(error_class_of(scene.err), ERROR_CONFIG);
    assert_int_equal(http_peer_count(target, NULL, NULL), 0);
    end(&scene);
    http_peer_stop(proxy);
    http_peer_stop(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_environment_says_what_goes_through_a_proxy, forget_variables),
        cmocka_unit_test_teardown(plain_http_is_asked_of_the_proxy_of_http_proxy, forget_variables),
        cmocka_unit_test_teardown(addresses_of_this_link_are_never_asked_of_a_proxy,
                                  forget_variables),
        cmocka_unit_test_teardown(what_goes_wrong_at_a_proxy_is_told_without_its_password,
                                  forget_variables),
        cmocka_unit_test_teardown(a_proxy_that_hangs_up_later_is_a_broken_line, forget_variables),
        cmocka_unit_test_teardown(the_certificate_is_checked_against_the_target_s_name,
                                  forget_variables),
    };
    return cmocka_run_group_tests(tests, forget_variables, NULL);
}
