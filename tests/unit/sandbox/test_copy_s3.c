/* Reading a bucket over HTTP from a scripted server: what is asked, how answers are understood,
 * what is tried again. */
#include "sandbox/copy_bytes.h"
#include "sandbox/s3_read.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ the scripted server */

enum { EXCHANGES_MAX = 8, REQUEST_MAX = 4096 };

/* Answers each connection with the next text and closes it. */
struct server {
    int listener;
    int port;
    pthread_t thread;
    const char *const *answers; /* ends with NULL */
    int count;                  /* of connections answered */
    char requests[EXCHANGES_MAX][REQUEST_MAX];
};

static void serve(struct server *s, int peer, const char *answer)
{
    char *request = s->requests[s->count];
    size_t len = 0;
    while (len + 1 < REQUEST_MAX) {
        ssize_t got = read(peer, request + len, REQUEST_MAX - 1 - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n") != NULL) {
            break;
        }
    }
    for (size_t left = strlen(answer); left > 0;) {
        ssize_t got = send(peer, answer, left, MSG_NOSIGNAL);
        if (got <= 0) {
            break;
        }
        answer += got;
        left -= (size_t)got;
    }
    s->count++;
}

static void *run_server(void *ctx)
{
    struct server *s = ctx;
    for (int i = 0; s->answers[i] != NULL; i++) {
        int peer = accept(s->listener, NULL, NULL);
        if (peer < 0) {
            break;
        }
        serve(s, peer, s->answers[i]);
        close(peer);
    }
    return NULL;
}

static void start(struct server *s, const char *const *answers)
{
    *s = (struct server){.answers = answers};
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static void stop(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    close(s->listener);
    pthread_join(s->thread, NULL);
}

static struct s3_reader *reader_of(const struct server *s, const char *token)
{
    char endpoint[64];
    text_format(endpoint, sizeof endpoint, "http://127.0.0.1:%d", s->port);
    struct s3_access access = {.access_key_id = "AKIDTEST",
                               .secret_access_key = "hushhush",
                               .session_token = token,
                               .region = "eu-west-1",
                               .endpoint = endpoint};
    return s3_reader_new(&access);
}

static bool gather(void *ctx, const char *at, size_t len)
{
    bytes_put(ctx, at, len);
    return true;
}

static bool stop_at_once(void *ctx, const char *at, size_t len)
{
    (void)ctx;
    (void)at;
    (void)len;
    return false;
}

static bool list_key(void *ctx, const char *key, int64_t size)
{
    bytes_printf(ctx, "%s=%d ", key, (int)size);
    return true;
}

static void assert_asked(const struct server *s, int exchange, const char *words)
{
    if (strstr(s->requests[exchange], words) == NULL) {
        fail_msg("request %d lacks %s: %s", exchange, words, s->requests[exchange]);
    }
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nETag: \"abc\"\r\n"
#define BROKEN_503 "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"

/* ------------------------------------------------------------------ objects */

static void an_object_is_asked_for_signed_and_by_its_exact_key(void **state)
{
    (void)state;
    static const char *const answers[] = {OK_HEAD "Content-Length: 5\r\n\r\nhello", NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, "to+ken");
    struct bytes body = {0};
    struct s3_failure failure;
    assert_int_equal(s3_get(r, "bucket", "a b//../\xC3\xA9+&.json", gather, &body, &failure),
                     S3_DONE);
    stop(&s);
    assert_string_equal(bytes_text(&body), "hello");
    assert_asked(&s, 0, "GET /bucket/a%20b//../%C3%A9%2B%26.json HTTP/1.1\r\n");
    assert_asked(&s, 0, "AWS4-HMAC-SHA256 Credential=AKIDTEST/");
    assert_asked(&s, 0, "/eu-west-1/s3/aws4_request");
    assert_asked(&s, 0, "x-amz-security-token: to+ken\r\n");
    assert_asked(&s, 0, "x-amz-content-sha256: e3b0c442");
    assert_null(strstr(s.requests[0], "hush"));
    s3_reader_free(r);
    bytes_done(&body);
}

static void an_error_answer_is_told_in_s3s_words(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 403 Forbidden\r\nx-amz-request-id: REQ1\r\nx-amz-id-2: HOST1\r\n"
        "Content-Length: 101\r\n\r\n<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>"
        "<Message>Access &lt;Denied&gt;</Message></Error>",
        NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, NULL);
    struct bytes body = {0};
    struct s3_failure failure;
    assert_int_equal(s3_get(r, "b", "k", gather, &body, &failure), S3_FAILED);
    stop(&s);
    assert_int_equal(failure.status, 403);
    assert_string_equal(failure.code, "AccessDenied");
    assert_string_equal(failure.message, "Access <Denied>");
    assert_string_equal(failure.request_id, "REQ1");
    assert_string_equal(failure.host_id, "HOST1");
    assert_int_equal(body.len, 0);
    assert_int_equal(s.count, 1);
    s3_reader_free(r);
}

static void a_busy_server_is_asked_again(void **state)
{
    (void)state;
    static const char *const answers[] = {BROKEN_503, BROKEN_503,
                                          OK_HEAD "Content-Length: 2\r\n\r\nok", NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, NULL);
    struct bytes body = {0};
    struct s3_failure failure;
    assert_int_equal(s3_get(r, "b", "k", gather, &body, &failure), S3_DONE);
    stop(&s);
    assert_string_equal(bytes_text(&body), "ok");
    assert_int_equal(s.count, 3);
    s3_reader_free(r);
    bytes_done(&body);
}

static void a_broken_transfer_goes_on_where_it_broke(void **state)
{
    (void)state;
    static const char *const answers[] = {
        OK_HEAD "Content-Length: 10\r\n\r\nhello",
        "HTTP/1.1 206 Partial Content\r\nETag: \"abc\"\r\nContent-Range: bytes 5-9/10\r\n"
        "Content-Length: 5\r\n\r\nworld",
        NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, NULL);
    struct bytes body = {0};
    struct s3_failure failure;
    assert_int_equal(s3_get(r, "b", "k", gather, &body, &failure), S3_DONE);
    stop(&s);
    assert_string_equal(bytes_text(&body), "helloworld");
    assert_asked(&s, 1, "Range: bytes=5-");
    assert_asked(&s, 1, "if-match: \"abc\"\r\n");
    s3_reader_free(r);
    bytes_done(&body);
}

static void a_server_that_stays_broken_is_given_up(void **state)
{
    (void)state;
    static const char *const answers[] = {BROKEN_503, BROKEN_503, BROKEN_503, BROKEN_503, NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, NULL);
    struct bytes body = {0};
    struct s3_failure failure;
    assert_int_equal(s3_get(r, "b", "k", gather, &body, &failure), S3_FAILED);
    stop(&s);
    assert_int_equal(failure.status, 503);
    assert_int_equal(s.count, 4);
    assert_int_equal(s3_get(r, "b", "k", gather, &body, &failure), S3_FAILED);
    assert_int_equal(failure.status, 0); /* nobody listens any more */
    assert_true(failure.message[0] != '\0');
    s3_reader_free(r);
}

static void the_reader_of_the_bytes_can_stop(void **state)
{
    (void)state;
    static const char *const answers[] = {OK_HEAD "Content-Length: 2\r\n\r\nok", NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, NULL);
    struct s3_failure failure;
    assert_int_equal(s3_get(r, "b", "k", stop_at_once, NULL, &failure), S3_STOPPED);
    stop(&s);
    assert_int_equal(s.count, 1);
    s3_reader_free(r);
}

/* ------------------------------------------------------------------ listings */

static void a_listing_has_pages(void **state)
{
    (void)state;
    static const char *const answers[] = {
        OK_HEAD "Connection: close\r\n\r\n"
                "<ListBucketResult><IsTruncated>true</IsTruncated>"
                "<Contents><Key>p/a&amp;b</Key><Size>12</Size></Contents>"
                "<Contents><Size>0</Size><Key>p/c&#x27;</Key></Contents>"
                "<NextContinuationToken>t/1=</NextContinuationToken></ListBucketResult>",
        OK_HEAD "Connection: close\r\n\r\n"
                "<ListBucketResult><IsTruncated>false</IsTruncated>"
                "<Contents><Key>p/d</Key><Size>7</Size></Contents></ListBucketResult>",
        NULL};
    struct server s;
    start(&s, answers);
    struct s3_reader *r = reader_of(&s, NULL);
    struct bytes keys = {0};
    struct s3_failure failure;
    assert_int_equal(s3_list(r, "b", "p/ &", list_key, &keys, &failure), S3_DONE);
    stop(&s);
    assert_string_equal(bytes_text(&keys), "p/a&b=12 p/c'=0 p/d=7 ");
    assert_asked(&s, 0, "GET /b?list-type=2&prefix=p%2F%20%26 HTTP/1.1\r\n");
    assert_asked(&s, 1, "GET /b?continuation-token=t%2F1%3D&list-type=2&prefix=p%2F%20%26 ");
    s3_reader_free(r);
    bytes_done(&keys);
}

static void a_listing_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    static const char page[] = "<ListBucketResult><IsTruncated>false</IsTruncated>"
                               "<Contents><Key>p/d&#3;&#x;&</Key><Size>7</Size></Contents>";
    for (size_t len = 0; len < sizeof page; len += 7) {
        char answer[400];
        text_format(answer, sizeof answer, OK_HEAD "Connection: close\r\n\r\n%.*s", (int)len, page);
        const char *const answers[] = {answer, NULL};
        struct server s;
        start(&s, answers);
        struct s3_reader *r = reader_of(&s, NULL);
        struct bytes keys = {0};
        struct s3_failure failure;
        assert_int_equal(s3_list(r, "b", "p", list_key, &keys, &failure), S3_FAILED);
        stop(&s);
        assert_string_equal(failure.message, "the listing is cut off");
        assert_int_equal(keys.len, 0);
        s3_reader_free(r);
        bytes_done(&keys);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_asked_for_signed_and_by_its_exact_key),
        cmocka_unit_test(an_error_answer_is_told_in_s3s_words),
        cmocka_unit_test(a_busy_server_is_asked_again),
        cmocka_unit_test(a_broken_transfer_goes_on_where_it_broke),
        cmocka_unit_test(a_server_that_stays_broken_is_given_up),
        cmocka_unit_test(the_reader_of_the_bytes_can_stop),
        cmocka_unit_test(a_listing_has_pages),
        cmocka_unit_test(a_listing_cut_off_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
