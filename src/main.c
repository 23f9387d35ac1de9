/*
 * The composition root: environment, loop, ledger, connector, metrics, exit code. A connector is
 * started without arguments and speaks Flow's protocol on its standard streams; see README.md.
 */

#include "base/log.h"
#include "base/random.h"
#include "base/size.h"
#include "base/text.h"
#include "connector/connector.h"
#include "metrics/server.h"

#include <stdlib.h>
#include <unistd.h>

/* What documents on their way may cost; the rest of the process needs some 20 MiB. */
#define CREDIT_BYTES (48 * MIB)

struct program {
    struct loop *loop;
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

/* FLOW_CAPTURE_LIMIT: bytes. */
static struct error *read_limit(const char *text, uint64_t *ret)
{
    if (text && *text && (!text_to_uint64(span_of(text), ret) || *ret == 0)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "FLOW_CAPTURE_LIMIT is \"%s\": expected a number of bytes", text);
    }
    return NULL;
}

static struct error *start(struct program *program, struct credit *credit)
{
    struct connector_options options = {
        .in_fd = STDIN_FILENO,
        .out_fd = STDOUT_FILENO,
        .credit = credit,
        .documentation_url = getenv("DOCS_URL"),
        .s3_endpoint = first_set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        .capture_path = getenv("FLOW_CAPTURE"),
        .serve_metrics = serve_metrics,
        .serve_ctx = program,
    };

    RETURN_IF_ERROR(log_init(getenv("LOG_LEVEL"), getenv("LOG_FORMAT")));
    RETURN_IF_ERROR(proto_codec_from_name(getenv("FLOW_RUNTIME_CODEC"), &options.codec));
    RETURN_IF_ERROR(read_limit(getenv("FLOW_CAPTURE_LIMIT"), &options.capture_limit_bytes));
    random_bytes(&options.seed, sizeof options.seed);
    RETURN_IF_ERROR(connector_new(program->loop, &options, ended, program, &program->connector));
    serve_metrics(program, getenv("METRICS_ADDRESS"));
    return NULL;
}

int main(void)
{
    struct program program = {.loop = loop_new()};
    struct credit *credit = credit_new(CREDIT_BYTES);

    program.err = start(&program, credit);
    if (!program.err) {
        loop_on_signal(program.loop, signalled, &program);
        loop_run(program.loop);
        CHECK(program.has_ended);
    }
    connector_free(program.connector);
    credit_free(credit);
    loop_free(program.loop);

    int status = program.err ? EXIT_FAILURE : EXIT_SUCCESS;
    if (program.err) {
        log_fatal(program.err);
        error_free(program.err);
    }
    return status;
}
