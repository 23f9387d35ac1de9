/* The gateway before the bucket, between a client that writes bytes and a scripted bucket. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/http_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000

/* ---------------------------------------------------------------- frame */

struct world {
    struct http_peer *bucket;
    char dir[64];
    pid_t gateway;
    unsigned port;
};

static char *path_in(const struct world *world, const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", world->dir, name);
    return path;
}

static char *read_text(const struct world *world, const char *name)
{
    static char text[65536];
    FILE *file = fopen(path_in(world, name), "r");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;

    text[len] = '\0';
    if (file) {
        fclose(file);
    }
    return text;
}

static void write_text(const struct world *world, const char *name, const char *text)
{
    FILE *file = fopen(path_in(world, name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Waits until a file of the world has this text. */
static void wait_text(const struct world *world, const char *name, const char *text)
{
    unsigned waited = 0;

    while (!strstr(read_text(world, name), text)) {
        if (waited++ > WAIT_MS / 5) {
            fail_msg("\"%s\" is not in %s: %s", text, name, read_text(world, name));
        }
        poll(NULL, 0, 5);
    }
}

/* rules: "%s" stands for the world's folder. */
static void
open_world(struct world *world, const char *rules, const struct http_rule *answers, unsigned count)
{
    char text[1024], target[64];

    snprintf(world->dir, sizeof world->dir, "/tmp/s3-gateway-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world->bucket = http_peer_start(answers, count);
    const char *at = strstr(rules, "%s");
    snprintf(text, sizeof text, "%.*s%s%s", at ? (int)(at - rules) : (int)strlen(rules), rules,
             at ? world->dir : "", at ? at + 2 : "");
    write_text(world, "rules", text);
    snprintf(target, sizeof target, "127.0.0.1:%u", http_peer_port(world->bucket));
    world->gateway = fork();
    if (world->gateway == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        execl(PROGRAM_DIR "/s3-gateway", "s3-gateway", "--target", target, "--rules",
              path_in(world, "rules"), "--trace", path_in(world, "trace"), "--ready-file",
              path_in(world, "ready"), (char *)NULL);
        _exit(127);
    }
    wait_text(world, "ready", "\n");
    world->port = (unsigned)strtoul(strrchr(read_text(world, "ready"), ':') + 1, NULL, 10);
}

static void close_world(struct world *world)
{
    static const char *const names[] = {"rules", "trace", "ready", "marker", "marker.go"};

    kill(-world->gateway, SIGKILL); /* and the processes of its connections */
    kill(world->gateway, SIGKILL);
    waitpid(world->gateway, NULL, 0);
    http_peer_stop(world->bucket);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unlink(path_in(world, names[i]));
    }
    rmdir(world->dir);
}

static int dial(const struct world *world)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)world->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail_msg("connecting to the gateway: %s", strerror(errno));
    }
    return fd;
}

static void say(int fd, const char *method, const char *target, const char *body)
{
    char text[4096];
    int len = snprintf(text, sizeof text,
                       "%s %s HTTP/1.1\r\nhost: signed.example\r\nx-amz-date: 20261122T000000Z\r\n"
                       "authorization: AWS4-HMAC-SHA256 nobody\r\ncontent-length: %zu\r\n\r\n%s",
                       method, target, strlen(body), body);

    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
}

/* One answer, as far as it comes: head and body in ret. */
static void hear(int fd, char ret[8192], bool is_head)
{
    size_t len = 0;
    char *end;

    ret[0] = '\0';
    for (;;) {
        end = strstr(ret, "\r\n\r\n");
        if (end) {
            const char *length = strcasestr(ret, "\r\nContent-Length:");
            size_t whole =
                (size_t)(end - ret) + 4 + (length && !is_head ? strtoul(length + 17, NULL, 10) : 0);
            bool in_chunks = strcasestr(ret, "\r\nTransfer-Encoding: chunked") != NULL;
            if (in_chunks ? strstr(end + 2, "\r\n0\r\n\r\n") != NULL : len >= whole) {
                return;
            }
        }
        ssize_t got = recv(fd, ret + len, 8191 - len, 0);
        if (got <= 0) {
            return;
        }
        len += (size_t)got;
        ret[len] = '\0';
    }
}

/* How many requests have reached the bucket whole? */
static unsigned count_whole(const struct world *world, const char *body)
{
    struct http_peer_request request;
    unsigned whole = 0;

    for (unsigned i = 0; http_peer_request(world->bucket, NULL, NULL, i, &request); i++) {
        whole += request.body_bytes == strlen(body);
    }
    return whole;
}

/* ---------------------------------------------------------------- nothing is changed */

static void without_rules_no_byte_is_changed(void **state)
{
    static const struct http_rule answers[] = {
        {.method = "PUT", .headers = "ETag: \"abc\"\r\nX-Odd:  two  blanks \r\n", .body = ""},
        {.method = "GET", .body = "some\r\nbytes"},
        {.method = "HEAD", .headers = "Content-Length: 5000\r\n"},
        {.method = "DELETE", .status = 204, .headers = "Content-Length: 0\r\n"},
        {.method = "POST",
         .headers = "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
         .body = "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n",
         .way = HTTP_PEER_ANSWER_END},
    };
    struct world world;
    struct http_peer_request request;
    char answer[8192];
    (void)state;

    open_world(&world, "", answers, sizeof answers / sizeof answers[0]);
    int fd = dial(&world);
    say(fd, "PUT", "/b/a%20b.json?x=%2F", "the body");
    hear(fd, answer, false);
    assert_string_equal(answer, "HTTP/1.1 200 Scripted\r\nETag: \"abc\"\r\nX-Odd:  two  blanks \r\n"
                                "Content-Length: 0\r\n\r\n");
    assert_true(http_peer_request(world.bucket, "PUT", NULL, 0, &request));
    assert_string_equal(request.target, "/b/a%20b.json?x=%2F");
    assert_non_null(strstr(request.headers,
                           "host: signed.example\r\nx-amz-date: 20261122T000000Z\r\n"
                           "authorization: AWS4-HMAC-SHA256 nobody\r\ncontent-length: 8\r\n"));
    assert_string_equal(request.body, "the body");
    say(fd, "GET", "/b/k.json", "");
    hear(fd, answer, false);
    assert_non_null(strstr(answer, "\r\n\r\nsome\r\nbytes"));
    say(fd, "HEAD", "/b/k.json", "");
    hear(fd, answer, true);
    assert_non_null(strstr(answer, "Content-Length: 5000\r\n"));
    say(fd, "DELETE", "/b/k.json", "");
    hear(fd, answer, false);
    assert_non_null(strstr(answer, " 204 "));
    say(fd, "POST", "/b/k.json?uploadId=1", "");
    hear(fd, answer, false);
    assert_non_null(strstr(answer, "Content-Length: 11\r\n"));
    assert_non_null(strstr(answer, "\r\n\r\nhello world"));
    close(fd);
    const char *trace = read_text(&world, "trace");
    assert_non_null(strstr(trace, "\"step\":\"put.data\",\"n\":1,\"what\":\"seen\""));
    assert_non_null(strstr(trace, "\"object\":\"/b/a%20b.json\",\"bytes\":8}"));
    assert_non_null(strstr(trace, "\"step\":\"delete.one\",\"n\":1,\"what\":\"answered\""));
    assert_null(strstr(trace, "nobody")); /* no signature */
    close_world(&world);
}

/* ---------------------------------------------------------------- faults, one row each */

#define DATA "/b/k.json.gz"
#define KEYS "<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key></Object></Delete>"

static const struct fault_row {
    const char *rule, *method, *target, *body;
    const char *has, *has_not; /* the answer; "" for none at all */
    unsigned asked;            /* whole requests that reach the bucket */
    const char *what;          /* in the trace */
} fault_rows[] = {
    {"put.data before fail - 503 SlowDown", "PUT", DATA, "x", "HTTP/1.1 503 ", NULL, 0, "failed"},
    {"put.data before fail - 503 SlowDown be calm", "PUT", DATA, "x",
     "<Code>SlowDown</Code><Message>be calm<", NULL, 0, "failed"},
    {"put.data before fail - 502 -", "PUT", DATA, "x", "<html>", "<Code>", 0, "failed"},
    {"put.data before fail - 307 Moved http://other.example/", "PUT", DATA, "x",
     "Location: http://other.example/\r\n", NULL, 0, "failed"},
    {"complete before fail - 200 InternalError", "POST", DATA "?uploadId=1", "<x/>",
     "<Error><Code>InternalError</Code>", NULL, 0, "failed"},
    {"complete before run blanks InternalError", "POST", DATA "?uploadId=1", "<x/>",
     "\r\n1\r\n \r\n", NULL, 0, "blanks"},
    {"put.data after run fail 500 InternalError", "PUT", DATA, "x", "HTTP/1.1 500 ", NULL, 1,
     "denied"},
    {"put.data before run twice", "PUT", DATA, "x", "HTTP/1.1 200 ", NULL, 2, "twice"},
    {"put.data before run slow", "PUT", DATA, "slowly", "HTTP/1.1 200 ", NULL, 1, "slow"},
    {"put.data after run slow", "PUT", DATA, "x", "\r\n\r\nfine", NULL, 1, "slow"},
    {"put.data after run etag", "PUT", DATA, "x", "ETag: \"0123", "ETag: \"right\"", 1, "etag"},
    {"put.data after run no-etag", "PUT", DATA, "x", "HTTP/1.1 200 ", "ETag:", 1, "no-etag"},
    {"get.data after run flip", "GET", DATA, "", "\r\n\r\nfiNe", NULL, 1, "flip"},
    {"get.data after run short", "GET", DATA, "", "Content-Length: 4\r\n\r\nfi", "fine", 1,
     "short"},
    {"put.data after run leave", "PUT", DATA, "x", "\r\n\r\nfine", NULL, 1, "leave"},
    {"get.data answer fin=>lone pi", "GET", DATA, "", "\r\n\r\nlone pie", NULL, 1, "rewritten"},
    {"part:2 before fail - 500 InternalError", "PUT", DATA "?partNumber=2&uploadId=1", "x", " 500 ",
     NULL, 0, "failed"},
    {"part:2 before fail - 500 InternalError", "PUT", DATA "?partNumber=3&uploadId=1", "x", " 200 ",
     NULL, 1, "answered"},
    {"part before fail - 500 InternalError", "PUT", DATA "?partNumber=3&uploadId=1", "x", " 500 ",
     NULL, 0, "failed"},
    {"put.data before run swallow", "PUT", DATA, "x", "ETag: \"0123", NULL, 0, "swallow"},
    {"complete before run swallow", "POST", DATA "?uploadId=1", "<x/>",
     "<CompleteMultipartUploadResult>", "<Error>", 0, "swallow"},
    {"abort before run swallow", "DELETE", DATA "?uploadId=1", "", "HTTP/1.1 204 ", NULL, 0,
     "swallow"},
    {"delete before run errors AccessDenied", "POST", "/b?delete", KEYS,
     "<Error><Key>a&amp;b</Key><Code>AccessDenied</Code>", NULL, 0, "errors"},
    {"delete after run errors AccessDenied", "POST", "/b?delete", KEYS,
     "<Error><Key>c</Key><Code>AccessDenied</Code>", NULL, 1, "errors"},
    {"put.data before cut -", "PUT", DATA, "x", "", NULL, 0, "cut"},
    {"put.data after cut -", "PUT", DATA, "x", "", NULL, 1, "cut"},
    {"put.data before run cut 3", "PUT", DATA, "123456", "", NULL, 0, "cut"},
};

static void each_fault_does_what_it_says(void **state)
{
    static const struct http_rule answers[] = {
        {.headers = "ETag: \"right\"\r\n", .body = "fine"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof fault_rows / sizeof fault_rows[0]; i++) {
        const struct fault_row *row = &fault_rows[i];
        struct world world;
        char answer[8192], what[64];

        open_world(&world, row->rule, answers, 1);
        int fd = dial(&world);
        say(fd, row->method, row->target, row->body);
        hear(fd, answer, false);
        close(fd);
        snprintf(what, sizeof what, "\"what\":\"%s\"", row->what);
        wait_text(&world, "trace", what);
        if ((row->has[0] ? !strstr(answer, row->has) : answer[0] != '\0') ||
            (row->has_not && strstr(answer, row->has_not)) ||
            count_whole(&world, row->body) != row->asked) {
            fail_msg("%s: asked %u times, answered: %s", row->rule, count_whole(&world, row->body),
                     answer);
        }
        close_world(&world);
    }
}

static void a_marker_makes_a_fault_happen_once(void **state)
{
    static const struct http_rule answers[] = {{.body = "fine"}};
    struct world world;
    char answer[8192];
    (void)state;

    open_world(&world, "put.data before fail %s/marker 500 InternalError", answers, 1);
    int fd = dial(&world);
    say(fd, "PUT", DATA, "x");
    hear(fd, answer, false);
    assert_non_null(strstr(answer, " 500 "));
    say(fd, "PUT", DATA, "x"); /* on the same connection */
    hear(fd, answer, false);
    assert_non_null(strstr(answer, " 200 "));
    close(fd);
    close_world(&world);
}

static void a_late_request_is_sent_when_it_is_told_to(void **state)
{
    static const struct http_rule answers[] = {{.body = "fine"}};
    struct world world;
    char answer[8192];
    (void)state;

    open_world(&world, "put.data before late %s/marker", answers, 1);
    int fd = dial(&world), second = dial(&world);
    say(fd, "PUT", DATA, "first");
    hear(fd, answer, false);
    assert_string_equal(answer, "");
    say(second, "PUT", DATA, "second");
    hear(second, answer, false);
    assert_non_null(strstr(answer, "fine"));
    assert_int_equal(http_peer_count(world.bucket, "PUT", NULL), 1);
    write_text(&world, "marker.go", "");
    wait_text(&world, "trace", "\"late\"");
    struct http_peer_request request;
    assert_true(http_peer_request(world.bucket, "PUT", NULL, 1, &request));
    assert_string_equal(request.body, "first");
    close(fd);
    close(second);
    close_world(&world);
}

/* Before the bucket has it, or when it has answered. */
static void a_held_request_goes_on_when_it_is_told_to(void **state)
{
    static const struct http_rule answers[] = {{.body = "fine"}};
    (void)state;

    for (unsigned is_after = 0; is_after < 2; is_after++) {
        struct world world;
        char answer[8192], pid[32];
        open_world(&world,
                   is_after ? "put.data after hold %s/marker" : "put.data before hold %s/marker",
                   answers, 1);
        int fd = dial(&world);
        say(fd, "PUT", DATA, "x");
        wait_text(&world, "trace", "\"waits\"");
        assert_int_equal(http_peer_count(world.bucket, NULL, NULL), is_after);
        snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        assert_string_equal(read_text(&world, "marker"), pid);
        write_text(&world, "marker.go", "");
        hear(fd, answer, false);
        assert_non_null(strstr(answer, "fine"));
        assert_int_equal(http_peer_count(world.bucket, NULL, NULL), 1);
        close(fd);
        close_world(&world);
    }
}

static void only_the_first_request_for_an_object_is_ignored(void **state)
{
    static const struct http_rule answers[] = {{.body = "fine"}};
    struct world world;
    char answer[8192];
    (void)state;

    open_world(&world, "put.data before run ignore", answers, 1);
    int first = dial(&world), second = dial(&world), third = dial(&world);
    say(first, "PUT", DATA, "x");
    wait_text(&world, "trace", "\"n\":1,\"what\":\"ignored\"");
    say(second, "PUT", DATA, "x");
    hear(second, answer, false);
    assert_non_null(strstr(answer, "fine"));
    say(third, "PUT", "/b/other.json.gz", "x");
    wait_text(&world, "trace", "\"n\":3,\"what\":\"ignored\"");
    assert_int_equal(http_peer_count(world.bucket, NULL, NULL), 1);
    close(first);
    close(second);
    close(third);
    close_world(&world);
}

static void a_stalled_request_reaches_nobody(void **state)
{
    static const struct http_rule answers[] = {{.body = "fine"}};
    struct world world;
    (void)state;

    open_world(&world, "put.data before stall %s/marker", answers, 1);
    int fd = dial(&world);
    say(fd, "PUT", DATA, "x");
    wait_text(&world, "trace", "\"stalled\"");
    assert_int_equal(http_peer_count(world.bucket, NULL, NULL), 0);
    close(fd);
    close_world(&world);
}

/* A client in a process of its own, exits 0 when it heard an answer. */
static pid_t start_client(const struct world *world)
{
    pid_t pid = fork();

    if (pid == 0) {
        char answer[8192];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = dial(world);
        say(fd, "PUT", DATA, "123456");
        hear(fd, answer, false);
        _exit(strstr(answer, "fine") ? 0 : 1);
    }
    return pid;
}

static void the_client_is_killed(void **state)
{
    static const char *const rules[] = {"put.data before kill %s/marker",
                                        "put.data after kill %s/marker",
                                        "put.data before run kill 3"};
    static const struct http_rule answers[] = {{.body = "fine"}};
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        struct world world;
        int status;

        open_world(&world, rules[i], answers, 1);
        pid_t pid = start_client(&world);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(count_whole(&world, "123456"), i == 1);
        close_world(&world);
    }
}

static void the_client_is_halted_and_its_request_goes_on(void **state)
{
    static const struct http_rule answers[] = {{.body = "fine"}};
    struct world world;
    char pid_text[32];
    int status;
    (void)state;

    open_world(&world, "put.data before stop %s/marker", answers, 1);
    pid_t pid = start_client(&world);
    snprintf(pid_text, sizeof pid_text, "%ld\n", (long)pid);
    wait_text(&world, "marker", pid_text);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    wait_text(&world, "trace", "\"answered\"");
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_no_byte_is_changed),
        cmocka_unit_test(each_fault_does_what_it_says),
        cmocka_unit_test(a_marker_makes_a_fault_happen_once),
        cmocka_unit_test(a_late_request_is_sent_when_it_is_told_to),
        cmocka_unit_test(a_held_request_goes_on_when_it_is_told_to),
        cmocka_unit_test(only_the_first_request_for_an_object_is_ignored),
        cmocka_unit_test(a_stalled_request_reaches_nobody),
        cmocka_unit_test(the_client_is_killed),
        cmocka_unit_test(the_client_is_halted_and_its_request_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
