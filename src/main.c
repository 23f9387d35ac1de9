/*
 * The composition root: environment, loop, ledger, connector, exit code. A connector is started
 * without arguments and speaks Flow's protocol on its standard streams; see README.md.
 */

#include "base/log.h"
#include "base/random.h"
#include "base/size.h"
#include "base/text.h"
#include "connector/connector.h"

#include <stdlib.h>
#include <unistd.h>

/* What documents on their way may cost; the rest of the process needs some 20 MiB. */
#define CREDIT_BYTES (48 * MIB)

struct program {
    struct loop *loop;
    struct connector *connector;
    struct error *err;
    bool has_ended;
};

static void ended(void *ctx, struct error *err)
{
    struct program *program = ctx;

    program->err = err;
    program->has_ended = true;
    loop_ignore_signals(program->loop);
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
    };

    RETURN_IF_ERROR(log_init(getenv("LOG_LEVEL"), getenv("LOG_FORMAT")));
    RETURN_IF_ERROR(proto_codec_from_name(getenv("FLOW_RUNTIME_CODEC"), &options.codec));
    RETURN_IF_ERROR(read_limit(getenv("FLOW_CAPTURE_LIMIT"), &options.capture_limit_bytes));
    random_bytes(&options.seed, sizeof options.seed);
    return connector_new(program->loop, &options, ended, program, &program->connector);
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
