/* A session is written down while it runs, without secrets, readable after kill -9; replayed into
 * another schema it makes the same tables. */

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/story.h"
#include "support/story_ledger.h"

#define CAPTURES_MAX 16

struct run {
    const char *codec, *mode;
    const char *const *options; /* of flow-runtime, ended by NULL */
};

/* Drives the ledger over the product with FLOW_CAPTURE set. */
static bool drive(struct story *story,
                  const struct ledger *ledger,
                  const char *config,
                  const struct run *run,
                  const char *label)
{
    const char *argv[40] = {"flow-runtime",
                            "--catalog",
                            ledger->catalog,
                            "--fixture",
                            ledger->fixture,
                            "--config",
                            config,
                            "--connector",
                            story_text(story, "%s/materialize-redshift", PROGRAM_DIR),
                            "--codec",
                            run->codec,
                            "--mode",
                            run->mode,
                            "--state",
                            story_path(story, "state"),
                            "--log",
                            story_path(story, story_text(story, "%s.log", label)),
                            "--max-restarts",
                            "0",
                            "--timeout",
                            "60"};
    const char *const environment[] = {
        story_text(story, "FLOW_CAPTURE=%s", story_path(story, "capture")), NULL};
    size_t count = 0;

    while (argv[count]) {
        count++;
    }
    for (size_t i = 0; run->options[i]; i++) {
        argv[count++] = run->options[i];
    }
    struct story_process *process = story_start(story, label, argv, environment, NULL);
    if (!story_wait(story, process, 200)) {
        return false;
    }
    return story_exit_code(process) == 0
               ? true
               : story_complain(story, "%s: flow-runtime exited with %d: %.1500s", label,
                                story_exit_code(process), story_read(story, process->err, NULL));
}

/* The captures of a story in their order, one per process of the connector. */
static unsigned captures(struct story *story, const char *ret[CAPTURES_MAX])
{
    unsigned count = 0;

    while (count < CAPTURES_MAX) {
        const char *path =
            story_path(story, count == 0 ? "capture" : story_text(story, "capture-%u", count + 1));
        FILE *file = fopen(path, "rb");
        if (!file) {
            break;
        }
        (void)fclose(file);
        ret[count++] = path;
    }
    return count;
}

static bool holds_no_secret(struct story *story, const char *path)
{
    static const char *const secrets[] = {"LOCAL_REDSHIFT_PASSWORD", "LOCAL_S3_SECRET"};
    size_t len;
    const char *bytes = story_read(story, path, &len);

    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        const char *secret = story_environment(secrets[i]);
        for (size_t at = 0; at + strlen(secret) <= len; at++) {
            if (memcmp(bytes + at, secret, strlen(secret)) == 0) {
                return story_complain(story, "\"%s\" has %s at byte %zu", path, secrets[i], at);
            }
        }
    }
    return len > 0 ? true : story_complain(story, "\"%s\" is empty", path);
}

/* What replay --dump prints; "" with a complaint when it fails. */
static const char *dump(struct story *story, const char *path, unsigned index)
{
    const char *const argv[] = {"replay", "--dump", path, NULL};
    struct story_process *process =
        story_start(story, story_text(story, "dump-%u", index), argv, NULL, NULL);

    if (!story_wait(story, process, 30)) {
        return "";
    }
    if (story_exit_code(process) != 0) {
        story_complain(story, "\"%s\" cannot be read: %.500s", path,
                       story_read(story, process->err, NULL));
        return "";
    }
    return story_read(story, process->out, NULL);
}

static bool
replay(struct story *story, const char *const *paths, unsigned count, const char *config)
{
    const char *argv[2 * CAPTURES_MAX + 8] = {
        "replay", "--connector", story_text(story, "%s/materialize-redshift", PROGRAM_DIR),
        "--config", config};
    unsigned at = 5;

    for (unsigned i = 0; i < count; i++) {
        argv[at++] = "--capture";
        argv[at++] = paths[i];
    }
    struct story_process *process = story_start(story, "replay", argv, NULL, NULL);
    if (!story_wait(story, process, 200)) {
        return false;
    }
    const char *report = story_read(story, process->out, NULL);
    if (story_exit_code(process) != 0) {
        return story_complain(story, "replay exited with %d: %.700s %.700s",
                              story_exit_code(process), report,
                              story_read(story, process->err, NULL));
    }
    return story_number(report, "documents") > 0
               ? true
               : story_complain(story, "nothing was replayed: %s", report);
}

/* ---------------------------------------------------------------- stories */

static void replay_into_another_schema(const char *codec, const char *mode)
{
    static const char *const first[] = {"--max-transactions", "3", NULL}, *const rest[] = {NULL};
    const char *name = strcmp(codec, "json") == 0 ? "capture_json" : "capture_proto";
    struct story *one = story_begin(name);
    struct story *two = story_begin(story_text(one, "%s_again", name));
    const struct ledger_plan plan = {.transactions = 6, .events = 30};
    const struct run runs[] = {{codec, mode, first}, {codec, mode, rest}};
    const char *paths[CAPTURES_MAX];
    const char *config = story_config(one, "one.json", &(struct story_config){0});
    struct ledger ledger;

    ledger_make(one, &plan, &ledger);
    /* Two sessions, so that the second one's state must be the replay's own. */
    if (drive(one, &ledger, config, &runs[0], "first") &&
        drive(one, &ledger, config, &runs[1], "rest")) {
        unsigned count = captures(one, paths);
        if (count < 3) { /* Spec and Validate, Apply, sessions */
            story_complain(one, "only %u captures", count);
        }
        for (unsigned i = 0; i < count; i++) {
            holds_no_secret(one, paths[i]);
            if (!strstr(dump(one, paths[i], i), " end\n")) {
                story_complain(one, "\"%s\" has no end", paths[i]);
            }
        }
        story_same(one, "tables", ledger.wanted, ledger_read(one, &ledger));
        if (replay(two, paths, count, story_config(two, "two.json", &(struct story_config){0}))) {
            story_same(two, "replayed tables", ledger.wanted, ledger_read(two, &ledger));
            story_bucket_is_empty(two);
        }
    }
    story_end(two);
    story_end(one);
}

static void a_replayed_session_makes_the_same_tables_json(void **state)
{
    (void)state;
    replay_into_another_schema("json", "v2");
}

static void a_replayed_session_makes_the_same_tables_proto(void **state)
{
    (void)state;
    replay_into_another_schema("proto", "v1");
}

static void a_capture_is_readable_after_kill_9(void **state)
{
    static const char *const kill[] = {"--kill-at", "store.sent#25",    "--kill-at", "flush.sent",
                                       "--kill-at", "acknowledge.sent", "--arm",     "1",
                                       NULL};
    struct story *story = story_begin("capture_killed");
    const struct ledger_plan plan = {.transactions = 6, .events = 30};
    const struct run run = {"proto", "v1", kill};
    const char *paths[CAPTURES_MAX];
    struct ledger ledger;

    (void)state;
    ledger_make(story, &plan, &ledger);
    if (drive(story, &ledger, story_config(story, "one.json", &(struct story_config){0}), &run,
              "killed")) {
        unsigned count = captures(story, paths), without_end = 0;
        for (unsigned i = 0; i < count; i++) {
            const char *text = dump(story, paths[i], i);
            if (!strstr(text, "> Spec ")) {
                story_complain(story, "\"%s\" does not begin with Spec: %.300s", paths[i], text);
            }
            without_end += strstr(text, " end") == NULL;
        }
        if (without_end != 3) {
            story_complain(story, "%u of %u captures have no end, 3 processes were killed",
                           without_end, count);
        }
        story_same(story, "tables", ledger.wanted, ledger_read(story, &ledger));
    }
    story_end(story);
}

static bool has_answered(void *ctx)
{
    const struct story_process *process = ((void **)ctx)[1];
    return strstr(story_read(((void **)ctx)[0], process->out, NULL), "\n") != NULL;
}

/* The writes of a worker that hangs cannot be taken back: the process ends without it, with the
 * status that it would have had. */
static void a_disk_that_hangs_does_not_keep_the_process_from_its_end(void **state)
{
    (void)state;
    for (int is_stopped = 0; is_stopped < 2; is_stopped++) {
        struct story *story = story_begin(is_stopped ? "capture_hangs_stopped" : "capture_hangs");
        const char *fifo = story_path(story, "requests");
        const char *const argv[] = {story_text(story, "%s/materialize-redshift", PROGRAM_DIR),
                                    NULL};
        const char *const environment[] = {
            "FLOW_RUNTIME_CODEC=json",
            "HANGING_FILE=the-capture",
            "ASAN_OPTIONS=verify_asan_link_order=0",
            story_text(story, "LD_PRELOAD=%s", HANGING_DISK),
            story_text(story, "FLOW_CAPTURE=%s", story_path(story, "the-capture")),
            NULL};
        static const char request[] = "{\"spec\":{}}\n";

        assert_int_equal(mkfifo(fifo, 0600), 0);
        int fd = open(fifo, O_RDWR | O_CLOEXEC); /* which neither waits nor is the only writer */
        assert_true(fd >= 0);
        struct story_process *process = story_start(story, "connector", argv, environment, fifo);
        void *fact[] = {story, process};
        assert_int_equal(write(fd, request, sizeof request - 1), (ssize_t)sizeof request - 1);
        if (story_wait_for(story, "the answer to Spec", has_answered, fact, 60)) {
            if (is_stopped) {
                (void)kill(process->pid, SIGTERM);
            } else {
                (void)close(fd);
                fd = -1;
            }
            if (story_wait(story, process, 60)) {
                const char *log = story_read(story, process->err, NULL);
                if (story_exit_code(process) != is_stopped ||
                    !strstr(log, "the capture of this session is incomplete")) {
                    story_complain(story, "it exited with %d: %.1000s", story_exit_code(process),
                                   log);
                }
            }
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        story_end(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replayed_session_makes_the_same_tables_json),
        cmocka_unit_test(a_replayed_session_makes_the_same_tables_proto),
        cmocka_unit_test(a_capture_is_readable_after_kill_9),
        cmocka_unit_test(a_disk_that_hangs_does_not_keep_the_process_from_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
