/* The command line of replay. Exit codes: 0 the answers were the same, 1 usage or a capture that
   cannot be read, 2 the connector failed or fell silent, 4 the answers differ or the capture was
   not whole. */
#include "replay/session.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CAPTURES_MAX 1000

static const char usage[] =
    "usage: replay --capture F [--capture F ...] --connector PATH [options]\n"
    "       replay --dump F\n"
    "  --capture F             a file that FLOW_CAPTURE made; several are sessions in their order\n"
    "  --connector PATH        the program that is given them\n"
    "  --config F              endpoint configuration in place of the captured one, from which\n"
    "                          the secrets were taken; its schema takes the place of the other's\n"
    "  --speed full|recorded   as fast as the connector reads (default), or with the same pauses\n"
    "  --silence S             longest silence of the connector (default 300)\n"
    "  --report F              the last line of the output, as a file\n"
    "  --dump F                prints what is in a capture, without any contents\n"
    "exit: 0 same answers, 1 usage, 2 connector failed, 4 answers differ or capture not whole\n";

struct options {
    const char *captures[CAPTURES_MAX];
    unsigned capture_count;
    const char *config, *report, *dump;
    struct session_options session;
};

/* ---------------------------------------------------------------- dump */

static void print_header(const struct capture_record *record)
{
    const struct capture_header *header = &record->header;
    time_t seconds = (time_t)(header->unix_us / 1000000);
    struct tm tm;
    char text[40];

    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%.*s %.*s, codec %.*s, began %s, part %" PRIu64 "\n", SPAN_FMT(header->product),
           SPAN_FMT(header->version), SPAN_FMT(header->codec), text, header->segment);
}

static void
print_record(const struct capture_record *record, uint64_t began_us, enum proto_codec codec)
{
    const bool is_response = record->direction == CAPTURE_RESPONSE;
    const double at = (double)(record->clock_us - began_us) / 1e6;
    unsigned kind;

    switch (record->kind) {
    case CAPTURE_HEADER:
        print_header(record);
        return;
    case CAPTURE_FRAME:
        kind = proto_frame_kind(codec, is_response, record->frame);
        printf("%12.6f %s %-13s %zu bytes\n", at, is_response ? "<" : ">",
               is_response ? proto_response_name(kind)
                           : proto_request_name((enum proto_request_kind)kind),
               record->frame.len);
        return;
    case CAPTURE_WITHHELD:
        printf("%12.6f %s not written: %" PRIu64 " bytes that could not be read\n", at,
               is_response ? "<" : ">", record->withheld_bytes);
        return;
    case CAPTURE_END:
        printf("%12.6f end%s%.*s\n", at, record->reason.len ? ": " : "", SPAN_FMT(record->reason));
        return;
    }
}

static struct error *dump(const char *path)
{
    struct capture_reader *reader;
    struct capture_record record;
    enum proto_codec codec = PROTO_CODEC_PROTOBUF;
    uint64_t began_us = 0;
    bool have = true;

    RETURN_IF_ERROR(capture_reader_open(path, &reader));
    struct error *err = capture_reader_next(reader, &record, &have);
    while (!err && have) {
        if (record.kind == CAPTURE_HEADER) {
            codec = span_is(record.header.codec, "json") ? PROTO_CODEC_JSON : PROTO_CODEC_PROTOBUF;
            began_us = record.clock_us;
        }
        print_record(&record, began_us, codec);
        err = capture_reader_next(reader, &record, &have);
    }
    if (!err && capture_reader_torn_bytes(reader) > 0) {
        printf("cut off: %" PRIu64 " bytes of one more record\n",
               capture_reader_torn_bytes(reader));
    }
    capture_reader_free(reader);
    return err;
}

/* ---------------------------------------------------------------- replay */

static struct error *read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    size_t got = 1;

    if (!file) {
        return error_from_errno(errno, ERROR_CONFIG, "opening \"%s\"", path);
    }
    while (got > 0) {
        char *to = buf_reserve(out, 65536);
        CHECK(to);
        got = fread(to, 1, 65536, file);
        buf_commit(out, got);
    }
    (void)fclose(file);
    return NULL;
}

static int print_report(const struct options *options, const struct tally *tally)
{
    const uint64_t documents = tally->requests[PROTO_LOAD] + tally->requests[PROTO_STORE];
    struct buf line;

    buf_init(&line, 65536);
    buf_printf(&line,
               "{\"result\":\"%s\",\"message\":\"%s\",\"documents\":%" PRIu64 ",\"loads\":%" PRIu64
               ",\"stores\":%" PRIu64 ",\"loaded\":%" PRIu64 ",\"transactions\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"seconds\":%.3f,\"documentsPerSecond\":%.0f,"
               "\"tornBytes\":%" PRIu64 "}\n",
               tally->problem[0] ? "differs" : "same", tally->problem, documents,
               tally->requests[PROTO_LOAD], tally->requests[PROTO_STORE], tally->responses[5],
               tally->responses[7], tally->bytes, tally->seconds,
               tally->seconds > 0 ? (double)documents / tally->seconds : 0.0, tally->torn);
    (void)fputs(line.data, stdout);
    if (options->report) {
        FILE *file = fopen(options->report, "w");
        if (file) {
            (void)fputs(line.data, file);
            (void)fclose(file);
        }
    }
    buf_done(&line);
    return tally->problem[0] || tally->torn > 0 ? 4 : 0;
}

static struct error *replay(const struct options *options, struct tally *tally)
{
    struct buf config;
    struct rework rework;
    struct error *err = NULL;

    buf_init(&config, 1 << 24);
    if (options->config) {
        err = read_file(options->config, &config);
    }
    rework_init(&rework, buf_view(&config));
    for (unsigned i = 0; i < options->capture_count && !err; i++) {
        err = error_wrap(session_replay(&options->session, options->captures[i], &rework, tally),
                         "replaying \"%s\"", options->captures[i]);
    }
    rework_done(&rework);
    buf_done(&config);
    return err;
}

/* ---------------------------------------------------------------- options */

static bool read_option(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--capture") == 0 && options->capture_count < CAPTURES_MAX) {
        options->captures[options->capture_count++] = value;
    } else if (strcmp(name, "--connector") == 0) {
        options->session.connector = value;
    } else if (strcmp(name, "--config") == 0) {
        options->config = value;
    } else if (strcmp(name, "--report") == 0) {
        options->report = value;
    } else if (strcmp(name, "--dump") == 0) {
        options->dump = value;
    } else if (strcmp(name, "--silence") == 0) {
        options->session.silence_s = (unsigned)strtoul(value, NULL, 10);
        return options->session.silence_s > 0 && options->session.silence_s < 1000000;
    } else if (strcmp(name, "--speed") == 0) {
        options->session.recorded_speed = strcmp(value, "recorded") == 0;
        return options->session.recorded_speed || strcmp(value, "full") == 0;
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct options options = {.session = {.silence_s = 300}};
    struct tally tally = {0};
    bool good = true;

    for (int i = 1; i < argc && good; i += 2) {
        good = i + 1 < argc && read_option(&options, argv[i], argv[i + 1]);
    }
    if (!good || (!options.dump && (options.capture_count == 0 || !options.session.connector))) {
        (void)fputs(usage, stderr);
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct error *err = options.dump ? dump(options.dump) : replay(&options, &tally);
    if (err) {
        int code = error_class_of(err) == ERROR_CONFIG ? 1 : 2;
        (void)fflush(stdout);
        (void)fprintf(stderr, "replay: %s\n", error_text(err));
        error_free(err);
        return code;
    }
    return options.dump ? 0 : print_report(&options, &tally);
}
