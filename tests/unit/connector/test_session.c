/*
 * The whole connector on two pipes: what it answers without any server, what it refuses and in
 * which words, and that it ends at once when it is told to while a server is silent.
 */

#include "connector/session.h"

#include "base/log.h"
#include "runtime/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---------------------------------------------------------------- one life of a connector */

struct life {
    struct loop *loop;
    struct credit *credit;
    struct connector *connector;
    int in[2], out[2];
    unsigned ended_count;
    struct error *err; /* its last word */
    struct buf answer; /* all of its stdout, after the end */
};

static void ended(void *ctx, struct error *err)
{
    struct life *life = ctx;

    life->ended_count++;
    life->err = err;
}

static void begin(struct life *life, enum proto_codec codec, const char *url)
{
    memset(life, 0, sizeof *life);
    life->loop = loop_new();
    life->credit = credit_new((size_t)1024 * 1024);
    assert_int_equal(pipe(life->in), 0);
    assert_int_equal(pipe(life->out), 0);
    struct connector_options options = {
        .codec = codec,
        .in_fd = life->in[0],
        .out_fd = life->out[1],
        .credit = life->credit,
        .documentation_url = url,
        .s3_endpoint = "http://127.0.0.1:1", /* nobody listens there */
    };
    assert_null(connector_new(life->loop, &options, ended, life, &life->connector));
    buf_init(&life->answer, (size_t)1024 * 1024);
}

static void feed(struct life *life, struct span bytes)
{
    assert_int_equal(write(life->in[1], bytes.ptr, bytes.len), (ssize_t)bytes.len);
}

static void end_input(struct life *life)
{
    assert_int_equal(close(life->in[1]), 0);
    life->in[1] = -1;
}

/* Answers are smaller than a pipe holds, so they can be read after the end. */
static void run(struct life *life)
{
    ssize_t len;

    loop_run(life->loop);
    assert_int_equal(life->ended_count, 1);
    assert_int_equal(close(life->out[1]), 0);
    do {
        char *room = buf_reserve(&life->answer, 65536);
        assert_non_null(room);
        len = read(life->out[0], room, 65536);
        assert_true(len >= 0);
        buf_commit(&life->answer, (size_t)len);
    } while (len > 0);
}

static void finish(struct life *life)
{
    connector_free(life->connector);
    credit_free(life->credit);
    loop_free(life->loop);
    error_free(life->err);
    buf_done(&life->answer);
    assert_int_equal(close(life->in[0]), 0);
    assert_int_equal(close(life->out[0]), 0);
    if (life->in[1] >= 0) {
        assert_int_equal(close(life->in[1]), 0);
    }
}

static const char *words(const struct life *life)
{
    return life->err ? error_text(life->err) : "a clean end";
}

/* ---------------------------------------------------------------- Spec */

static unsigned count(struct span text, const char *part)
{
    unsigned found = 0;
    size_t len = strlen(part);

    for (size_t i = 0; i + len <= text.len; i++) {
        found += memcmp(text.ptr + i, part, len) == 0;
    }
    return found;
}

static void spec_is_one_line_of_json(void **state)
{
    struct life life;

    (void)state;
    begin(&life, PROTO_CODEC_JSON, NULL);
    feed(&life, SPAN_LIT("{\"spec\":{\"connectorType\":\"IMAGE\",\"config\":{}}}\n"));
    end_input(&life);
    run(&life);
    assert_null(life.err);
    struct span answer = buf_view(&life.answer);
    assert_int_equal(count(answer, "\n"), 1);
    assert_true(answer.ptr[answer.len - 1] == '\n');
    assert_true(span_starts_with(answer, SPAN_LIT("{\"spec\":{\"protocol\":3032023,")));
    assert_int_equal(count(answer, "\"configSchema\":{\"$schema\":"), 1);
    assert_int_equal(count(answer, "\"resourceConfigSchema\":{\"$schema\":"), 1);
    assert_int_equal(
        count(answer, "\"documentationUrl\":\"https://go.estuary.dev/materialize-redshift\""), 1);
    finish(&life);
}

static void spec_is_one_frame_of_protobuf(void **state)
{
    /* Response.spec = 1, Spec.protocol = 1 with 3032023 as a varint */
    static const char protocol[] = "\x08\xd7\x87\xb9\x01";
    struct life life;
    uint32_t len = 0;

    (void)state;
    begin(&life, PROTO_CODEC_PROTOBUF, NULL);
    feed(&life, SPAN_LIT("\x02\x00\x00\x00\x0a\x00"));
    end_input(&life);
    run(&life);
    assert_null(life.err);
    struct span answer = buf_view(&life.answer);
    assert_true(answer.len > 16);
    for (unsigned i = 0; i < 4; i++) {
        len |= (uint32_t)(unsigned char)answer.ptr[i] << (8 * i);
    }
    assert_int_equal(len, answer.len - 4);
    assert_int_equal(answer.ptr[4], 0x0a);
    assert_int_equal(count((struct span){answer.ptr, 16}, protocol), 1);
    assert_int_equal(count(answer, "materialize-redshift/config"), 1);
    assert_int_equal(count(answer, "materialize-redshift/table-config"), 1);
    finish(&life);
}

/* C28 */
static void another_documentation_url_can_be_given(void **state)
{
    struct life life;

    (void)state;
    begin(&life, PROTO_CODEC_JSON, "https://example.org/x");
    feed(&life, SPAN_LIT("{\"spec\":{}}{\"spec\":{}}"));
    end_input(&life);
    run(&life);
    assert_null(life.err);
    assert_int_equal(
        count(buf_view(&life.answer), "\"documentationUrl\":\"https://example.org/x\""), 2);
    finish(&life);
}

static void no_request_at_all_is_a_clean_end(void **state)
{
    struct life life;

    (void)state;
    begin(&life, PROTO_CODEC_PROTOBUF, NULL);
    end_input(&life);
    run(&life);
    assert_null(life.err);
    assert_int_equal(life.answer.len, 0);
    finish(&life);
}

/* ---------------------------------------------------------------- what is refused */

#define CONFIG                                                                                     \
    "{\"address\":\"127.0.0.1:1\",\"user\":\"u\",\"password\":\"very-secret\",\"bucket\":"         \
    "\"bucket\","                                                                                  \
    "\"awsAccessKeyId\":\"k\",\"awsSecretAccessKey\":\"very-secret\",\"region\":\"us-east-1\"}"
#define COLLECTION "\"collection\":{\"name\":\"acme/things\",\"key\":[\"/id\"],\"projections\":[]}"

struct refusal {
    const char *sentence;
    enum proto_codec codec;
    enum session_state state; /* in which the connector is put before it reads */
    struct span bytes;
    const char *parts[3]; /* of its last word */
};

#define JSON(text) .codec = PROTO_CODEC_JSON, .bytes = {text, sizeof(text) - 1}
#define PROTOBUF(text) .codec = PROTO_CODEC_PROTOBUF, .bytes = {text, sizeof(text) - 1}

static const struct refusal refusals[] = {
    {"Load as the first request", JSON("{\"load\":{\"keyPacked\":\"\",\"keyJson\":[]}}"),
     .parts = {"the runtime sent Load where this connector expects Spec, Validate, Apply or Open"}},
    {"Flush as the first request, by protobuf", PROTOBUF("\x02\x00\x00\x00\x32\x00"),
     .parts = {"the runtime sent Flush where"}},
    {"Store as the first request", JSON("{\"store\":{}}"), .parts = {"the runtime sent Store"}},
    {"Acknowledge as the first request", JSON("{\"acknowledge\":{}}"),
     .parts = {"the runtime sent Acknowledge"}},
    {"Load before the first Acknowledge", JSON("{\"load\":{}}"), .state = SESSION_OPENED,
     .parts = {"sent Load where this connector expects Acknowledge after Opened"}},
    {"Store while keys are looked up", JSON("{\"store\":{}}"), .state = SESSION_LOADING,
     .parts = {"sent Store where this connector expects Load or Flush"}},
    {"Acknowledge while keys are looked up", JSON("{\"acknowledge\":{}}"), .state = SESSION_LOADING,
     .parts = {"sent Acknowledge where this connector expects Load or Flush"}},
    {"StartCommit before Flushed", JSON("{\"startCommit\":{}}"), .state = SESSION_FLUSHING,
     .parts = {"sent StartCommit where this connector expects nothing before Flushed"}},
    {"Load while rows are stored", JSON("{\"load\":{}}"), .state = SESSION_STORING,
     .parts = {"sent Load where this connector expects Store or StartCommit"}},
    {"Flush while rows are stored", JSON("{\"flush\":{}}"), .state = SESSION_STORING,
     .parts = {"sent Flush where this connector expects Store or StartCommit"}},
    {"Acknowledge before StartedCommit", JSON("{\"acknowledge\":{}}"), .state = SESSION_STARTING,
     .parts = {"sent Acknowledge where this connector expects nothing before StartedCommit"}},
    {"Store after StartedCommit", JSON("{\"store\":{}}"), .state = SESSION_COMMITTED,
     .parts = {"sent Store where this connector expects Acknowledge after StartedCommit"}},
    {"Spec in an open session", JSON("{\"spec\":{}}"), .state = SESSION_LOADING,
     .parts = {"sent Spec where this connector expects Load or Flush"}},
    {"a Load for a binding that is not there", JSON("{\"load\":{\"binding\":3}}"),
     .state = SESSION_LOADING, .parts = {"Load names binding 3 of 0"}},
    {"a Store for a binding that is not there", JSON("{\"store\":{\"binding\":1}}"),
     .state = SESSION_STORING, .parts = {"Store names binding 1 of 0"}},
    {"the input ends while rows are stored", JSON(""), .state = SESSION_STORING,
     .parts = {"the input ended inside a transaction"}},
    {"the input ends before the first Acknowledge", JSON(""), .state = SESSION_OPENED,
     .parts = {"the input ended"}},

    {"a frame that is cut in its length", PROTOBUF("\x02\x00"),
     .parts = {"the input ends inside of a request that began at byte 0"}},
    {"a frame that is cut in its message", PROTOBUF("\x09\x00\x00\x00\x0a\x07"),
     .parts = {"the input ends inside of a request that began at byte 0"}},
    {"the second frame is cut", PROTOBUF("\x02\x00\x00\x00\x0a\x00\x02\x00\x00\x00\x0a"),
     .parts = {"the input ends inside of a request that began at byte 6"}},
    {"JSON that is cut", JSON("{\"spec\":{"),
     .parts = {"the input ends inside of a request that began at byte 0"}},
    {"a frame longer than any", PROTOBUF("\xff\xff\xff\xff"),
     .parts = {"reading a request", "larger than the limit"}},
    {"bytes that are no JSON", JSON("hello\n"), .parts = {"expected an object, found byte 68"}},
    {"an array", JSON("[1]"), .parts = {"expected an object"}},
    {"JSON with an error in it", JSON("{\"spec\":{]}}"), .parts = {"reading a request"}},
    {"bytes that are no protobuf", PROTOBUF("\x03\x00\x00\x00\xff\xff\xff"),
     .parts = {"reading a request"}},
    {"an empty request", JSON("{}"), .parts = {"holds no request"}},
    {"an empty frame", PROTOBUF("\x00\x00\x00\x00"), .parts = {"holds no request"}},
    {"two kinds in one request", JSON("{\"spec\":{},\"apply\":{}}"),
     .parts = {"holds both Spec and Apply"}},
    {"two kinds in one frame", PROTOBUF("\x04\x00\x00\x00\x0a\x00\x32\x00"),
     .parts = {"holds both Spec and Flush"}},

    {"Apply of nothing", JSON("{\"apply\":{}}"),
     .parts = {"Apply: the materialization is missing"}},
    {"Open of nothing", JSON("{\"open\":{}}"), .parts = {"Open: the materialization is missing"}},
    {"Validate with half a configuration",
     JSON("{\"validate\":{\"name\":\"acme/dw\",\"config\":{\"address\":\"h\"}}}"),
     .parts = {"endpoint config", "missing 'user'", "missing 'region'"}},
    {"Validate without a configuration", JSON("{\"validate\":{\"name\":\"acme/dw\"}}"),
     .parts = {"endpoint config"}},
    {"Validate without a name", JSON("{\"validate\":{\"config\":" CONFIG "}}"),
     .parts = {"validating request: the materialization has no name"}},
    {"Validate of a binding without a collection",
     JSON("{\"validate\":{\"name\":\"acme/dw\",\"config\":" CONFIG
          ",\"bindings\":[{\"resourceConfig\":{\"table\":\"t\"}}]}}"),
     .parts = {"Validate: binding 0: the collection is missing"}},
    {"Validate of a binding without a table",
     JSON("{\"validate\":{\"name\":\"acme/dw\",\"config\":" CONFIG
          ",\"bindings\":[{\"resourceConfig\":{}," COLLECTION "}]}}"),
     .parts = {"collection \"acme/things\"", "parsing resource config: missing 'table'"}},
    {"Apply with a path of three components",
     JSON("{\"apply\":{\"materialization\":{\"name\":\"acme/dw\",\"config\":" CONFIG
          ",\"bindings\":[{\"resourcePath\":[\"a\",\"b\",\"c\"]," COLLECTION "}]}}}"),
     .parts = {"a resource path has 3 components"}},
    {"Open with a path of none",
     JSON("{\"open\":{\"range\":{\"keyBegin\":0,\"keyEnd\":4294967295},\"materialization\":{"
          "\"name\":\"acme/dw\",\"config\":" CONFIG ",\"bindings\":[{" COLLECTION "}]}}}"),
     .parts = {"a resource path has 0 components"}},
    {"Apply to a warehouse where nobody listens",
     JSON("{\"apply\":{\"materialization\":{\"name\":\"acme/dw\",\"config\":" CONFIG "}}}"),
     .parts = {"reading what exists in the warehouse: connecting to 127.0.0.1 port 1"}},
};

static bool is_refused(const struct refusal *row)
{
    struct life life;

    begin(&life, row->codec, NULL);
    life.connector->state = row->state;
    if (row->bytes.len > 0) {
        feed(&life, row->bytes);
    }
    end_input(&life);
    run(&life);
    bool good = life.err != NULL;
    for (size_t i = 0; i < ARRAY_LEN(row->parts) && row->parts[i]; i++) {
        good = good && strstr(words(&life), row->parts[i]);
    }
    good = good && !strstr(words(&life), "very-secret");
    if (!good) {
        print_error("%s: %s\n", row->sentence, words(&life));
    }
    finish(&life);
    return good;
}

static void what_the_runtime_may_not_send_ends_with_a_clear_error(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        wrong += !is_refused(&refusals[i]);
    }
    assert_int_equal(wrong, 0);
}

static void what_was_answered_before_an_error_is_still_written(void **state)
{
    struct life life;

    (void)state;
    begin(&life, PROTO_CODEC_JSON, NULL);
    feed(&life, SPAN_LIT("{\"spec\":{}}\n{\"load\":{}}\n"));
    end_input(&life);
    run(&life);
    assert_non_null(life.err);
    assert_int_equal(count(buf_view(&life.answer), "\"protocol\":3032023"), 1);
    finish(&life);
}

/* ---------------------------------------------------------------- a silent warehouse */

/* A server that takes connections and never says a word. When the first one is there the connector
 * is told to stop. */
struct silence {
    struct op op;
    struct life *life;
    struct watch *watch;
    int fd;
};

static void silence_step(struct op *op)
{
    struct silence *silence = CONTAINER_OF(op, struct silence, op);

    if (!silence->watch) {
        assert_null(watch_new(op, silence->fd, &silence->watch));
        assert_null(watch_set(silence->watch, WATCH_READ));
    } else if (watch_take(silence->watch)) {
        connector_stop(silence->life->connector);
        op_finish(op);
    }
}

static void silence_done(void *ctx, struct error *err)
{
    (void)ctx;
    assert_null(err);
}

static const char *const silence_states[] = {"LISTENING"};
static const uint32_t silence_moves[] = {0};
static const struct op_kind silence_kind = {
    .name = "silence",
    .state_names = silence_states,
    .state_count = 1,
    .moves = silence_moves,
    .step = silence_step,
};

static int listen_silently(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void a_stop_ends_each_request_while_the_warehouse_is_silent(void **state)
{
    static const char validate[] = "{\"validate\":{\"name\":\"acme/dw\",\"config\":%s}}";
    static const char apply[] =
        "{\"apply\":{\"materialization\":{\"name\":\"acme/dw\",\"config\":%s}}}";
    static const char open[] =
        "{\"open\":{\"range\":{\"keyBegin\":0,\"keyEnd\":4294967295},\"materialization\":{\"name\":"
        "\"acme/dw\",\"config\":%s}}}";
    static const char *const requests[] = {validate, apply, open};
    char config[512], text[1024];
    unsigned port;

    (void)state;
    /* A deadline, not a measure: by itself the connector would give up after 20 s. */
    (void)alarm(15);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct life life;
        struct silence silence = {.life = &life, .fd = listen_silently(&port)};

        (void)snprintf(config, sizeof config,
                       "{\"address\":\"127.0.0.1:%u\",\"user\":\"u\",\"password\":\"p\",\"bucket\":"
                       "\"bucket\",\"awsAccessKeyId\":\"k\",\"awsSecretAccessKey\":\"s\","
                       "\"region\":\"us-east-1\"}",
                       port);
        /* The format is one of the three above. */
        char *at = strstr(requests[i], "%s");
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - requests[i]), requests[i], config,
                       at + 2);
        begin(&life, PROTO_CODEC_JSON, NULL);
        op_init(&silence.op, life.loop, &silence_kind, silence_done, &silence);
        op_mark(&silence.op);
        feed(&life, span_of(text));
        run(&life);
        assert_non_null(life.err);
        assert_int_equal(error_code_of(life.err), ERROR_CANCELLED);
        finish(&life);
        assert_int_equal(close(silence.fd), 0);
    }
    (void)alarm(0);
}

static int be_quiet(void **state)
{
    (void)state;
    return log_init("fatal", "json") ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_is_one_line_of_json),
        cmocka_unit_test(spec_is_one_frame_of_protobuf),
        cmocka_unit_test(another_documentation_url_can_be_given),
        cmocka_unit_test(no_request_at_all_is_a_clean_end),
        cmocka_unit_test(what_the_runtime_may_not_send_ends_with_a_clear_error),
        cmocka_unit_test(what_was_answered_before_an_error_is_still_written),
        cmocka_unit_test(a_stop_ends_each_request_while_the_warehouse_is_silent),
    };
    return cmocka_run_group_tests(tests, be_quiet, NULL);
}
