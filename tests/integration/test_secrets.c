/*
 * Everything that runs write is searched for the secrets they were given: logs at trace level in
 * both formats, what the runtime keeps (state, answers), metrics, captures; of runs that go well
 * and of runs that end with an error about just those secrets.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "support/story.h"
#include "support/story_ledger.h"

#define SECRETS_MAX 32

/* Each in the forms in which it may slip out. */
struct secrets {
    struct buf forms[SECRETS_MAX];
    const char *whose[SECRETS_MAX];
    unsigned count;
};

static struct buf *add_form(struct secrets *secrets, const char *whose)
{
    struct buf *form = &secrets->forms[secrets->count];

    assert_true(secrets->count < SECRETS_MAX);
    secrets->whose[secrets->count++] = whose;
    buf_init(form, 1 << 16);
    return form;
}

static void add_secret(struct secrets *secrets, const char *whose, const char *text)
{
    buf_add_str(add_form(secrets, whose), text);
    text_add_base64(add_form(secrets, whose), span_of(text));
    text_add_hex(add_form(secrets, whose), span_of(text));
}

static void free_secrets(struct secrets *secrets)
{
    for (unsigned i = 0; i < secrets->count; i++) {
        buf_done(&secrets->forms[i]);
    }
}

static bool contains(const char *bytes, size_t len, const struct buf *form)
{
    const char *end = bytes + len;

    while (form->len <= (size_t)(end - bytes)) {
        const char *at = memchr(bytes, form->data[0], (size_t)(end - bytes) - form->len + 1);
        if (!at) {
            return false;
        }
        if (memcmp(at, form->data, form->len) == 0) {
            return true;
        }
        bytes = at + 1;
    }
    return false;
}

/* Whose secret is in the file; NULL: nobody's. */
static const char *search_file(struct story *story, const struct secrets *secrets, const char *path)
{
    size_t len = 0;
    const char *bytes = story_read(story, path, &len);

    for (unsigned i = 0; i < secrets->count; i++) {
        if (contains(bytes, len, &secrets->forms[i])) {
            return secrets->whose[i];
        }
    }
    return NULL;
}

/* Everything in the folder but what was given to programs. Counts the files. */
static unsigned search_folder(struct story *story, const struct secrets *secrets, const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        const char *inner = story_text(story, "%s/%s", path, name);
        struct stat info;
        if (name[0] == '.' || strcmp(name, "given") == 0 || stat(inner, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            count += search_folder(story, secrets, inner);
        } else if (S_ISREG(info.st_mode)) {
            const char *whose = search_file(story, secrets, inner);
            if (whose) {
                story_complain(story, "%s is in %s", whose, inner);
            }
            count++;
        }
    }
    (void)closedir(dir);
    return count;
}

/* ---------------------------------------------------------------- runs */

struct run {
    const char *what;
    const char *codec, *mode, *format;
    struct story_config config; /* with a wrong secret, say */
    bool must_fail;
    const char *last_words; /* part of the log, so that the run did what it was meant to */
};

#define WRONG_PASSWORD "wrong-Passw0rd-4711"
#define WRONG_SECRET "wrongS3secret+/4711abcdefghijklmnopqrstu"
#define DBT_KEY "dbt-api-key-4711-secret"
#define DBT                                                                                        \
    ",\"dbt_job_trigger\":{\"job_id\":\"1\",\"account_id\":\"2\",\"api_key\":\"" DBT_KEY "\","     \
    "\"access_url\":\"http://127.0.0.1:1\"}"

#define SESSION_TOKEN "session-token-4711+/abcdefghijklmnop=="
#define SESSION_TOKEN_OPTION(more)                                                                 \
    ",\"advanced\":{\"aws_session_token\":\"" SESSION_TOKEN "\"" more "}"

static const struct run runs[] = {
    {.what = "a good run",
     .codec = "proto",
     .mode = "v2",
     .format = "json",
     .config = {.extra = DBT},
     .last_words = "transaction summary"},
    {.what = "a good run with text",
     .codec = "json",
     .mode = "v1",
     .format = "text",
     .config = {.hard_delete = true},
     .last_words = " info  transaction summary round=0 took="},
    {.what = "a session token, in COPY as well",
     .codec = "json",
     .mode = "v2",
     .format = "json",
     .config = {.extra = SESSION_TOKEN_OPTION("")},
     .last_words = "transaction summary"},
    {.what = "a role of nobody, and STS out of reach",
     .codec = "proto",
     .mode = "v1",
     .format = "text",
     .config = {.extra = SESSION_TOKEN_OPTION(
                    ",\"aws_role_arn\":\"arn:aws:iam::1:role/r\",\"aws_external_id\":\"e\"")},
     .must_fail = true,
     .last_words = "the role arn:aws:iam::1:role/r, with keys from the configuration"},
    {.what = "a wrong password",
     .codec = "proto",
     .mode = "v1",
     .format = "json",
     .config = {.password = WRONG_PASSWORD},
     .must_fail = true,
     .last_words = "28"},
    {.what = "a wrong S3 secret",
     .codec = "json",
     .mode = "v2",
     .format = "json",
     .config = {.secret = WRONG_SECRET},
     .must_fail = true,
     .last_words = "SignatureDoesNotMatch"},
    {.what = "a database that is not there",
     .codec = "proto",
     .mode = "v2",
     .format = "json",
     .config = {.database = "nowhere"},
     .must_fail = true,
     .last_words = "nowhere"},
    {.what = "a bucket that is not there",
     .codec = "proto",
     .mode = "v2",
     .format = "json",
     .config = {.bucket = "nowhere-at-all"},
     .must_fail = true,
     .last_words = "NoSuchBucket"},
};

/* The played runtime always asks for JSON; this program asks for something else in its place. */
static const char *write_connector(struct story *story, const char *format)
{
    char path[4096] = "";
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

    assert_true(len > 0); /* .../tests/integration_secrets, beside the programs' folder */
    *strrchr(path, '/') = '\0';
    const char *script = story_write(
        story, "connector",
        story_text(story, "#!/bin/sh\nLOG_FORMAT=%s exec '%s/../materialize-redshift'\n", format,
                   path));
    assert_int_equal(chmod(script, 0700), 0);
    return script;
}

static void drive(struct story *story, const struct run *run)
{
    const char *const options[] = {"--log-level", "trace", "--connector",
                                   write_connector(story, run->format), NULL};
    const struct ledger_plan plan = {
        .transactions = 3, .events = 20, .hard_delete = run->config.hard_delete};
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    assert_int_equal(setenv("METRICS_ADDRESS", "127.0.0.1:0", 1), 0);
    assert_int_equal(setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("FLOW_CAPTURE", story_path(story, "capture"), 1), 0);
    const struct story_drive how = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(story, "config.json", &run->config),
        .codec = run->codec,
        .mode = run->mode,
        .options = options,
    };
    struct story_process *process = story_drive_start(story, &how);
    if (!story_wait(story, process, 120)) {
        return;
    }
    const char *log = story_read(story, story_path(story, "runtime.log"), NULL);
    if ((story_exit_code(process) == 0) == run->must_fail) {
        story_complain(story, "flow-runtime exited with %d: %.2000s", story_exit_code(process),
                       story_read(story, process->err, NULL));
    } else if (!strstr(log, run->last_words) || !strstr(log, "trace")) {
        story_complain(story, "the log says nothing of \"%s\", or is no trace", run->last_words);
    }
}

static void no_secret_is_in_anything_that_a_run_writes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct story *story = story_begin("secrets");
        struct secrets secrets = {.count = 0};
        add_secret(&secrets, "the password", story_environment("LOCAL_REDSHIFT_PASSWORD"));
        add_secret(&secrets, "the S3 secret", story_environment("LOCAL_S3_SECRET"));
        add_secret(&secrets, "the wrong password", WRONG_PASSWORD);
        add_secret(&secrets, "the wrong S3 secret", WRONG_SECRET);
        add_secret(&secrets, "the dbt key", DBT_KEY);
        add_secret(&secrets, "the session token", SESSION_TOKEN);
        print_message("%s\n", runs[i].what);
        drive(story, &runs[i]);
        if (search_folder(story, &secrets, story->dir) < 3) {
            story_complain(story, "there was nothing to search");
        }
        /* The search itself finds what is there. */
        if (!search_file(story, &secrets, story_path(story, "given/config.json"))) {
            story_complain(story, "the search is blind");
        }
        free_secrets(&secrets);
        story_end(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_secret_is_in_anything_that_a_run_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
