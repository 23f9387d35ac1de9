/*
 * The composition root: environment, loop, ledger, connector, metrics, exit code. A connector is
 * started without arguments and speaks Flow's protocol on its standard streams; see README.md.
 */

#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "connector/connector.h"
#include "metrics/server.h"
#include "runtime/memory.h"

#include <stdlib.h>
#include <unistd.h>

/* What hangs on the thread pool when everything else has ended is not waited for any longer. */
#define LEFTOVERS_MS 2000

#define MAX_PROGRESS_S 86400

struct program {
    struct loop *loop;
    struct credit *credit;
    struct connector *connector;
    struct metrics_server *metrics; /* NULL: nobody asked for it */
    struct error *err;
    bool has_ended;
};

/* ---------------------------------------------------------------- metrics */

static void measure(void *ctx, metric_emit_fn *emit, void *to)
{
    const struct program *program = ctx;
    connector_measure(program->connector, emit, to);
}

static bool is_ready(void *ctx)
{
    const struct program *program = ctx;
    return connector_is_ready(program->connector);
}

/* The environment comes first; what the configuration says later is for those without one. A server
 * that cannot listen is no reason to refuse the work. */
static void serve_metrics(void *ctx, const char *address)
{
    struct program *program = ctx;
    struct metrics_options options = {address, measure, is_ready, program};

    if (program->metrics || !address || !*address) {
        return;
    }
    struct error *err = metrics_server_start(program->loop, &options, &program->metrics);
    if (err) {
        log_event(LOG_WARN, "metrics are not served", LOG_STR("error", error_text(err)), LOG_END);
        error_free(err);
        return;
    }
    log_event(LOG_INFO, "metrics are served",
              LOG_STR("address", metrics_server_address(program->metrics)), LOG_END);
}

static void metrics_stopped(void *ctx, struct error *err)
{
    (void)ctx;
    error_drop(err, "the server ends without errors");
}

/* ---------------------------------------------------------------- the connector */

static void ended(void *ctx, struct error *err)
{
    struct program *program = ctx;

    program->err = err;
    program->has_ended = true;
    loop_ignore_signals(program->loop);
    loop_end_within(program->loop, LEFTOVERS_MS);
    if (program->metrics) {
        metrics_server_stop(program->metrics, metrics_stopped, NULL);
    }
}

static void signalled(void *ctx, int signal_number)
{
    struct program *program = ctx;

    (void)signal_number;
    connector_stop(program->connector);
}

static const char *first_set(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : getenv(otherwise);
}

static const char *environment(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

/* A variable in bytes; *ret stays as it is when it is not set. */
static struct error *read_bytes(const char *name, uint64_t *ret)
{
    const char *text = getenv(name);

    if (text && *text && (!text_to_uint64(span_of(text), ret) || *ret == 0)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "%s is \"%s\": expected a number of bytes",
                         name, text);
    }
    return NULL;
}

/* PROGRESS_SECONDS: for looking into a task that is slow now. */
static struct error *read_progress(const char *text, uint64_t *ret_ms)
{
    uint64_t seconds = 0;

    if (text && *text &&
        (!text_to_uint64(span_of(text), &seconds) || seconds == 0 || seconds > MAX_PROGRESS_S)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "PROGRESS_SECONDS is \"%s\": expected a number from 1 to %d", text,
                         MAX_PROGRESS_S);
    }
    *ret_ms = seconds * 1000;
    return NULL;
}

static struct error *start(struct program *program)
{
    struct connector_options options = {
        .in_fd = STDIN_FILENO,
        .out_fd = STDOUT_FILENO,
        .documentation_url = getenv("DOCS_URL"),
        .s3_endpoint = first_set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        .environment = environment,
        .capture_path = getenv("FLOW_CAPTURE"),
        .serve_metrics = serve_metrics,
        .serve_ctx = program,
    };

    uint64_t memory_limit = 0;

    RETURN_IF_ERROR(log_init(getenv("LOG_LEVEL"), getenv("LOG_FORMAT")));
    RETURN_IF_ERROR(proto_codec_from_name(getenv("FLOW_RUNTIME_CODEC"), &options.codec));
    RETURN_IF_ERROR(read_bytes("FLOW_CAPTURE_LIMIT", &options.capture_limit_bytes));
    RETURN_IF_ERROR(read_bytes("MEMORY_LIMIT", &memory_limit));
    program->credit = credit_new(memory_budget(memory_limit, memory_group_limit("")));
    options.credit = program->credit;
    RETURN_IF_ERROR(read_progress(getenv("PROGRESS_SECONDS"), &options.progress_ms));
    random_bytes(&options.seed, sizeof options.seed);
    RETURN_IF_ERROR(connector_new(program->loop, &options, ended, program, &program->connector));
    serve_metrics(program, getenv("METRICS_ADDRESS"));
    return NULL;
}

int main(void)
{
    struct program program = {.loop = loop_new()};

    program.err = start(&program);
    if (!program.err) {
        loop_on_signal(program.loop, signalled, &program);
        loop_run(program.loop);
        CHECK(program.has_ended);
    }

    int status = program.err ? EXIT_FAILURE : EXIT_SUCCESS;
    if (program.err) {
        log_fatal(program.err);
        error_free(program.err);
    }
    if (loop_was_left(program.loop)) {
        _exit(status);
    }
    connector_free(program.connector);
    credit_free(program.credit);
    loop_free(program.loop);
    return status;
}
