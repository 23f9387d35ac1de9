/*
 * What outsiders may get wrong: bytes that are no request, requests that end too early,
 * configurations that cannot work. Each ends with exit code 1 and one clear last line on stderr, in
 * bounded time, and no secret stands anywhere.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

static struct story_process *
run_connector(struct story *story, const char *label, const char *codec, const char *input)
{
    const char *const argv[] = {"materialize-redshift", NULL};
    const char *const environment[] = {story_text(story, "FLOW_RUNTIME_CODEC=%s", codec),
                                       "LOG_FORMAT=json", "LOG_LEVEL=debug", NULL};
    return story_start(story, label, argv, environment, input);
}

static const char *last_line(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == '\n') {
        text[--len] = '\0';
    }
    const char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

static bool
check_secrets(struct story *story, const char *label, const char *what, const char *const *secrets)
{
    const char *const endings[] = {"out", "err"};

    for (unsigned e = 0; e < 2; e++) {
        const char *text = story_read(
            story, story_path(story, story_text(story, "%s.%s", label, endings[e])), NULL);
        for (unsigned i = 0; secrets[i]; i++) {
            if (strstr(text, secrets[i])) {
                return story_complain(story, "%s: a secret stands in its std%s", what, endings[e]);
            }
        }
    }
    return true;
}

/* part: of the message; NULL: any. */
static bool expect_failure_of(struct story *story,
                              const char *label,
                              const char *what,
                              struct story_process *process,
                              const char *part,
                              unsigned seconds)
{
    const char *const secrets[] = {story_environment("LOCAL_REDSHIFT_PASSWORD"),
                                   story_environment("LOCAL_S3_SECRET"), "wrong-pass-4711",
                                   "wrong-key-0815", NULL};

    if (!story_wait(story, process, seconds)) {
        return false;
    }
    const char *line = last_line(story_read(story, process->err, NULL));
    if (story_exit_code(process) != 1) {
        return story_complain(story, "%s: ended with %d (status %x): %.500s", what,
                              story_exit_code(process), (unsigned)process->status, line);
    }
    if (line[0] != '{' || line[strlen(line) - 1] != '}' || !strstr(line, "\"level\":\"fatal\"") ||
        (part && !strstr(line, part))) {
        return story_complain(story, "%s: the last line is no fatal one with \"%s\": %.500s", what,
                              part ? part : "", line);
    }
    return check_secrets(story, label, what, secrets);
}

static bool expect_failure(struct story *story,
                           const char *what,
                           struct story_process *process,
                           const char *part,
                           unsigned seconds)
{
    return expect_failure_of(story, "case", what, process, part, seconds);
}

/* ---------------------------------------------------------------- bytes */

static void bytes_that_are_no_request_are_refused(void **state)
{
    static const struct {
        const char *what, *codec, *bytes, *part;
        size_t len;
    } rows[] = {
#define BYTES(text) text, NULL, sizeof text - 1
        {"noise by JSON", "json", BYTES("\x80\x81\xff\x00\x01garbage\n")},
        {"a shell prompt", "json", BYTES("login: root\n")},
        {"a list", "json", BYTES("[1,2,3]\n")},
        {"two kinds at once", "json", BYTES("{\"spec\":{},\"flush\":{}}\n")},
        {"an unknown kind", "json", BYTES("{\"frobnicate\":{}}\n")},
        {"a wrong type", "json", BYTES("{\"validate\":{\"name\":17}}\n")},
        {"deep nesting", "json",
         BYTES("{\"validate\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
               "\n")},
        {"out of order", "json", BYTES("{\"flush\":{}}\n")},
        {"noise by protobuf", "proto", BYTES("\x04\x00\x00\x00\xff\xff\xff\xff")},
        {"a frame of 4 GiB", "proto", BYTES("\xff\xff\xff\xff\x0a\x00")},
        {"JSON to the protobuf decoder", "proto", BYTES("{\"spec\":{}}\n")},
        {"out of order by protobuf", "proto", BYTES("\x02\x00\x00\x00\x32\x00")},
        {"an endless varint", "proto",
         BYTES("\x0c\x00\x00\x00\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")},
        {"an unknown codec", "xml", BYTES("{\"spec\":{}}\n")},
    };
    struct story *story = story_begin("garbage");
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && story_is_well(story); i++) {
        const char *path = story_path(story, "garbage");
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(rows[i].bytes, 1, rows[i].len, file);
        fclose(file);
        expect_failure(story, rows[i].what, run_connector(story, "case", rows[i].codec, path),
                       rows[i].part, 10);
    }
    story_end(story);
}

/* ---------------------------------------------------------------- cut short */

static const char catalog[] =
    "{\"collections\":{\"acme/one\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"}}}}},"
    "\"materializations\":{\"acme/warehouse\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/one\",\"resource\":{\"table\":\"one\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

/* What a runtime writes on the connector's stdin until it has opened the session: kept by a shell
 * that stands between them. Every process appends, so only the last stream is a session. */
static const char *record(struct story *story, const char *codec)
{
    const char *recorded = story_given(story, story_text(story, "%s.recorded", codec));
    const char *script =
        story_write(story, story_text(story, "%s.sh", codec),
                    story_text(story, "#!/bin/sh\nexec /usr/bin/tee %s | %s/materialize-redshift\n",
                               recorded, story_programs()));
    const char *const options[] = {"--connector", script, "--compact", NULL};
    const struct story_drive drive = {
        .label = story_text(story, "recorder_%s", codec),
        .catalog = story_write(story, "catalog.json", catalog),
        .fixture =
            story_write(story, "fixture.jsonl", "[\"acme/one\",{\"id\":1}]\n{\"commit\": true}\n"),
        .config = story_config(story, "config.json", &(struct story_config){.address = NULL}),
        .codec = codec,
        .mode = "v1",
        .options = options,
    };
    const char *const chmod[] = {"/bin/chmod", "+x", script, NULL};
    story_wait(story, story_start(story, "chmod", chmod, NULL, NULL), 10);
    return story_drive(story, &drive) ? recorded : NULL;
}

/* Where the message that opens the session ends: the second message of the stream. */
static size_t end_of_open(const char *codec, const unsigned char *bytes, size_t len)
{
    size_t at = 0;

    for (unsigned i = 0; i < 2; i++) {
        if (strcmp(codec, "json") == 0) {
            const unsigned char *newline = memchr(bytes + at, '\n', len - at);
            at = newline ? (size_t)(newline - bytes) + 1 : len;
        } else {
            at += 4 + ((size_t)bytes[at] | (size_t)bytes[at + 1] << 8);
        }
    }
    return at;
}

static size_t end_of_spec(const char *codec, const unsigned char *bytes, size_t len)
{
    return strcmp(codec, "json") == 0
               ? (size_t)((const unsigned char *)memchr(bytes, '\n', len) - bytes) + 1
               : 4 + (size_t)bytes[0];
}

static void a_session_start_that_is_cut_anywhere_is_an_error(void **state)
{
    static const char *const codecs[] = {"json", "proto"};
    (void)state;

    for (unsigned c = 0; c < 2; c++) {
        struct story *story = story_begin("cut short");
        const char *recorded = record(story, codecs[c]);
        size_t len = 0;
        const char *bytes = recorded ? story_read(story, recorded, &len) : "";
        size_t whole = recorded ? end_of_open(codecs[c], (const unsigned char *)bytes, len) : 0;
        size_t spec = recorded ? end_of_spec(codecs[c], (const unsigned char *)bytes, len) : 0;
        /* Every length around the messages' ends, and in between ever longer steps. */
        for (size_t cut = 1; cut < whole && story_is_well(story);
             cut += cut < spec + 24 || cut + 24 > whole ? 1 : 131) {
            const char *path = story_given(story, "cut");
            FILE *file = fopen(path, "w");
            assert_non_null(file);
            fwrite(bytes, 1, cut, file);
            fclose(file);
            struct story_process *process = run_connector(story, "case", codecs[c], path);
            if (cut == spec || (strcmp(codecs[c], "json") == 0 && cut + 1 == spec)) {
                /* whole messages, then the end: nothing is wrong (a last line may lack its end) */
                story_wait(story, process, 10);
                continue;
            }
            if (strcmp(codecs[c], "json") == 0 && cut + 1 == whole) {
                break; /* a whole Open without its line end would open the session */
            }
            expect_failure(story, story_text(story, "%s, %zu of %zu bytes", codecs[c], cut, whole),
                           process, NULL, 10);
        }
        if (whole < 200) {
            story_complain(story, "no session was recorded");
        }
        story_bucket_is_empty(story);
        story_end(story);
    }
}

/* ---------------------------------------------------------------- configurations */

static void a_configuration_that_cannot_work_says_why(void **state)
{
    static const struct {
        const char *what;
        struct story_config config;
        const char *part;
    } rows[] = {
        {"an unknown property", {.extra = ",\"adress\":\"x\""}, "adress"},
        {"a property of a wrong type", {.extra = ",\"advanced\":\"yes\""}, "advanced"},
        {"an unreachable warehouse", {.address = "127.0.0.1:1"}, "127.0.0.1"},
        {"a warehouse that does not exist",
         {.address = "warehouse.invalid:5439"},
         "warehouse.invalid"},
        {"a wrong password", {.password = "wrong-pass-4711"}, "password"},
        {"an unknown database", {.database = "nowhere"}, "nowhere"},
        {"a missing bucket", {.bucket = "no-such-bucket-here"}, "no-such-bucket-here"},
        {"a wrong S3 secret", {.secret = "wrong-key-0815"}, "not authorized to write"},
    };
    struct story *story = story_begin("configurations");
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && story_is_well(story); i++) {
        const char *config =
            story_read(story, story_config(story, "config.json", &rows[i].config), NULL);
        const char *request = story_write(
            story, "given/request", /* story_config has made the folder */
            story_text(story,
                       "{\"validate\":{\"name\":\"acme/warehouse\",\"connectorType\":\"IMAGE\","
                       "\"config\":%.*s,\"bindings\":[]}}\n",
                       (int)strcspn(config, "\n"), config));
        expect_failure(story, rows[i].what, run_connector(story, "case", "json", request),
                       rows[i].part, 60);
    }
    story_end(story);
}

/* ---------------------------------------------------------------- what the cluster can read */

static struct story_process *
start_validate(struct story *story, const char *label, const char *rules)
{
    const char *address = story_gateway(story, story_text(story, "%s-gateway", label), rules);
    const struct story_config how = {.address = address};

    if (!address) {
        return NULL;
    }
    const char *config =
        story_read(story, story_config(story, story_text(story, "%s.json", label), &how), NULL);
    const char *request = story_write(
        story, story_text(story, "given/%s.request", label), /* beside its configuration */
        story_text(story,
                   "{\"validate\":{\"name\":\"acme/warehouse\",\"connectorType\":\"IMAGE\","
                   "\"config\":%.*s,\"bindings\":[]}}\n",
                   (int)strcspn(config, "\n"), config));
    return run_connector(story, label, "json", request);
}

/* Our own requests to the bucket are good in all of them; the COPY that the cluster is sent is
 * changed on its way, so that what S3 says to it is real. */
static void a_cluster_that_cannot_read_the_bucket_is_told_why(void **state)
{
    static const struct {
        const char *label, *rule, *part;
    } rows[] = {
        {"wrongkey", "proof.copy rewrite aws_secret_access_key==>aws_secret_access_key=x\n",
         "S3 refuses the secret key that the cluster was given"},
        {"nobucket", "proof.copy rewrite FROM 's3://=>FROM 's3://no-such-\n",
         "COPY cannot read bucket"},
        {"region",
         "proof.copy before fail - XX000 S3ServiceException:The bucket you are attempting "
         "to access must be addressed using the specified endpoint.,Status 301\n",
         "in another region than the one configured"},
        {"role",
         "proof.copy before fail - XX000 User arn:aws:redshift is not authorized to assume "
         "IAM Role arn:aws:iam::1:role/r\n",
         "may not take on the IAM role"},
        {"hangs", "proof.copy before stall -\n", "did not end within 60 seconds"},
    };
    struct story *story = story_begin("a cluster that cannot read");
    struct story_process *processes[sizeof rows / sizeof rows[0]];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        processes[i] = start_validate(story, rows[i].label, rows[i].rule);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && story_is_well(story); i++) {
        expect_failure_of(story, rows[i].label, rows[i].label, processes[i], rows[i].part, 150);
    }
    struct story_process *good = start_validate(story, "good", "");
    if (good && story_wait(story, good, 60) && story_exit_code(good) != 0) {
        story_complain(story, "a good configuration is refused: %.1000s",
                       story_read(story, good->err, NULL));
    }
    story_bucket_is_empty(story);
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_request_are_refused),
        cmocka_unit_test(a_session_start_that_is_cut_anywhere_is_an_error),
        cmocka_unit_test(a_configuration_that_cannot_work_says_why),
        cmocka_unit_test(a_cluster_that_cannot_read_the_bucket_is_told_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
