/*
 * SIGTERM and SIGINT in every phase: at each kind of statement, while rows are staged, while peers
 * say nothing. The connector ends soon and not with success, no upload stays open, and the next run
 * sets everything right, with nothing left in the bucket. The wait for a schedule is in
 * test_schedule.c.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/rules.h"
#include "support/sshd.h"
#include "support/story_ledger.h"

static void check_after(struct story *story, const struct story_drive *drive, struct ledger *ledger)
{
    struct story_drive again = *drive;

    /* The same recovery log, another report. */
    again.options = NULL;
    if (story_drive(story, &again)) {
        story_same(story, "the tables after the next run", ledger->wanted,
                   ledger_read(story, ledger));
        story_bucket_is_empty(story);
    }
}

/* The runtime tells that the connector exited by itself, with 1. That takes 20 s at most, where a
 * bucket says nothing; the rest is for busy machines. */
static void expect_own_end(struct story *story, struct story_process *process)
{
    if (!story_wait(story, process, 50)) {
        return;
    }
    const char *message = story_read(story, process->err, NULL);
    if (story_exit_code(process) != 2 || !strstr(message, "the connector exited with 1")) {
        story_complain(story, "the connector did not end by itself, not well: %.1000s", message);
    }
}

static void signal_connector(struct story *story, struct story_process *runtime, int number)
{
    pid_t pid = story_child(runtime);

    if (pid <= 1 || kill(pid, number) != 0) {
        story_complain(story, "there is no connector to stop");
    }
}

/* By itself, and before another process could clean up after it: staged files may stay, as they do
 * after a kill, unfinished uploads may not. */
static void expect_no_upload(struct story *story)
{
    const char *left = story_bucket(story, story_text(story, "%s/", story->prefix));

    if (strstr(left, "upload ")) {
        story_complain(story, "an upload was left open: %.1000s", left);
    }
}

/* ---------------------------------------------------------------- at each kind of statement */

#define MOMENTS_MAX 64

struct moment {
    char name[48]; /* "put.merge#3" */
    char complaint[1024];
};

/* Runs that go on side by side note their complaints; they are told in the end. */
static void note_end(struct story *story, char complaint[1024])
{
    (void)story_close(story);
    (void)snprintf(complaint, 1024, "%.1023s", story->complaint);
    free(story);
}

struct moments {
    struct moment rows[MOMENTS_MAX];
    unsigned count;
};

/* How often a step is in the trace. */
static unsigned count_step(const char *trace, const char *step)
{
    char part[64];
    unsigned count = 0;

    (void)snprintf(part, sizeof part, "\"step\":\"%s\",", step);
    for (const char *at = trace; (at = strstr(at, part)); at++) {
        count++;
    }
    return count;
}

static void add_moment(struct moments *moments, const char *step, unsigned n)
{
    assert_true(moments->count < MOMENTS_MAX);
    (void)snprintf(moments->rows[moments->count++].name, sizeof moments->rows[0].name, "%s#%u",
                   step, n);
}

/* An Apply that was stopped leaves tables that the next Validate finds. */
#define FLAGS "\"feature_flags\":\"allow_existing_tables_for_new_bindings\""

static const struct ledger_plan plan = {.transactions = 4, .events = 30, .hard_delete = true};

/* Is it said as often in every run? How many connections make tables side by side, and what each of
 * them says first, is a matter of timing. */
static bool is_steady(const char *step)
{
    static const char *const unsteady[] = {"connect", "auth",   "set",      "show",
                                           "catalog", "create", "rollback", "other"};

    for (unsigned i = 0; i < sizeof unsteady / sizeof unsteady[0]; i++) {
        if (strcmp(step, unsteady[i]) == 0) {
            return false;
        }
    }
    return true;
}

/* Which statements there are is read from an undisturbed run, so that a new one is a new moment:
 * the first of each kind and the middle one. Validate and Apply read the catalog and make tables,
 * Open takes the owner mark, Load has its temporary tables, Acknowledge the rest. */
static void find_moments(struct moments *moments)
{
    struct story *story = story_begin("undisturbed");
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    const struct story_config config = {.address = story_gateway(story, "gateway", NULL),
                                        .hard_delete = true};
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(story, "config.json", &config),
        .codec = "proto",
        .mode = "v1",
    };
    moments->count = 0;
    if (story_drive(story, &drive)) {
        const char *trace = story_read(story, story_path(story, "gateway.trace"), NULL);
        for (unsigned i = 0; step_names[i]; i++) {
            unsigned count = count_step(trace, step_names[i]);
            if (count > 0) {
                add_moment(moments, step_names[i], 1);
            }
            if (count > 2 && is_steady(step_names[i])) {
                add_moment(moments, step_names[i], (count + 1) / 2);
            }
        }
    }
    story_end(story);
}

/* Halted at the moment, so that the signal is the first thing that it sees when it goes on. */
static void stop_at(struct story *story, const char *moment, int number, const char *mode)
{
    const char *marker = story_path(story, "halted");
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    const char *address =
        story_gateway(story, "gateway", story_text(story, "%s before stop %s\n", moment, marker));
    const struct story_config config = {
        .address = address, .hard_delete = true, .extra = ",\"advanced\":{" FLAGS "}"};
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(story, "config.json", &config),
        .codec = "proto",
        .mode = mode,
    };
    struct story_process *process = story_drive_start(story, &drive);
    if (!address || !story_wait_file(story, marker, 180)) {
        return;
    }
    pid_t pid = (pid_t)strtol(story_read(story, marker, NULL), NULL, 10);
    if (pid > 1) {
        kill(pid, number);
        kill(pid, SIGCONT);
    }
    expect_own_end(story, process);
    if (story_is_well(story)) {
        expect_no_upload(story);
        check_after(story, &drive, &ledger);
    }
}

static void run_moment(void *ctx, unsigned index)
{
    struct moments *moments = ctx;
    struct moment *moment = &moments->rows[index];
    struct story *story = story_begin(moment->name);

    stop_at(story, moment->name, index % 2 ? SIGINT : SIGTERM, index % 3 ? "v1" : "v2");
    note_end(story, moment->complaint);
}

static void a_signal_at_any_statement_ends_it_and_the_next_run_sets_it_right(void **state)
{
    static const char *const needed[] = {"catalog#1",   "create#1",     "owner#1",
                                         "lock#1",      "load.query#1", "put.direct#1",
                                         "put.merge#1", "token#1",      "commit#1"};
    static struct moments moments;
    unsigned failed = 0;

    (void)state;
    find_moments(&moments);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        unsigned k = 0;
        while (k < moments.count && strcmp(moments.rows[k].name, needed[i]) != 0) {
            k++;
        }
        if (k == moments.count) {
            fail_msg("no run has the moment %s", needed[i]);
        }
    }
    story_side_by_side(moments.count, run_moment, &moments);
    for (unsigned i = 0; i < moments.count; i++) {
        const struct moment *moment = &moments.rows[i];
        failed += moment->complaint[0] != '\0';
        print_message("%s%s%s\n", moment->name, moment->complaint[0] ? ": " : "",
                      moment->complaint);
    }
    assert_int_equal(failed, 0);
}

/* ---------------------------------------------------------------- while staging */

struct staging {
    struct story *story;
};

static bool upload_is_open(void *ctx)
{
    struct staging *staging = ctx;
    const char *left =
        story_bucket(staging->story, story_text(staging->story, "%s/", staging->story->prefix));
    return strstr(left, "upload ") != NULL || !story_is_well(staging->story);
}

static void stop_while_staging(struct story *story, const char *extra, int number)
{
    const char *const options[] = {"--generate", "600000,400", NULL};
    const char *const less[] = {"--generate", "50,400", NULL};
    struct staging staging = {story};
    struct story_drive drive = {
        .label = "runtime",
        .catalog = story_catalog_of_many(story),
        .config = story_config(story, "config.json", &(struct story_config){.extra = extra}),
        .codec = "proto",
        .mode = "v1",
        .options = options,
    };
    struct story_process *process = story_drive_start(story, &drive);

    if (!story_wait_for(story, "an open upload", upload_is_open, &staging, 180)) {
        return;
    }
    signal_connector(story, process, number);
    expect_own_end(story, process);
    /* By itself, and before another process could clean up after it. */
    if (story_is_well(story)) {
        story_bucket_is_empty(story);
    }
    drive.options = less;
    if (story_is_well(story) && story_drive(story, &drive)) {
        story_same(
            story, "rows", "50\n",
            story_query(story, story_text(story, "SELECT COUNT(*) FROM %s.many", story->schema)));
        story_bucket_is_empty(story);
    }
}

static void a_signal_while_staging_leaves_no_upload_behind(void **state)
{
    static const int numbers[] = {SIGTERM, SIGINT};

    (void)state;
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct story *story = story_begin("while staging");

        stop_while_staging(story, NULL, numbers[i]);
        story_end(story);
    }
}

/* A new sshd with a key that may log in; whether it is started, and who listens at the port that is
 * configured, is the test's choice. */
static const char *make_tunnel(struct story *story, struct sshd *sshd, unsigned port)
{
    static const char *const ed25519[] = {"-t", "ed25519", NULL};

    sshd_make(sshd, NULL);
    char *key = sshd_key(sshd, "good", true, ed25519);
    char *quoted = story_text(story, "%*s", (int)(2 * strlen(key) + 1), ""), *at = quoted;
    for (const char *from = key; *from; from++) { /* line feeds as they stand in JSON */
        if (*from == '\n') {
            *at++ = '\\';
        }
        *at++ = *from == '\n' ? 'n' : *from;
    }
    *at = '\0';
    free(key);
    return story_text(story,
                      ",\"networkTunnel\":{\"sshForwarding\":{\"sshEndpoint\":"
                      "\"ssh://%s@127.0.0.1:%u\",\"privateKey\":\"%s\"}}",
                      sshd->user, port > 0 ? port : (unsigned)sshd->port, quoted);
}

static void with_a_tunnel_the_same(void **state)
{
    struct sshd sshd;
    struct story *story = story_begin("while staging behind a tunnel");
    const char *extra = make_tunnel(story, &sshd, 0);

    (void)state;
    sshd_start(&sshd);
    stop_while_staging(story, extra, SIGTERM);
    sshd_remove(&sshd);
    story_end(story);
}

/* ---------------------------------------------------------------- while a peer says nothing */

/* Where a gateway goes silent. The wait is for an answer that never comes, so the signal has to end
 * it, with all clean-up that asks the same peer. */
static const struct silence {
    const char *name, *sql, *s3; /* rules without their markers */
} silences[] = {
    {"Validate, at the bucket", NULL, "put#1"},
    {"Validate, at the catalog", "catalog#1", NULL},
    {"Apply", "create#1", NULL},
    {"Open", "owner#1", NULL},
    {"Load, at the query", "load.query#1", NULL},
    {"StartCommit, at the bucket", NULL, "put.data#3"},
    {"Acknowledge, at LOCK", "lock#2", NULL},
    {"Acknowledge, at COPY", "put.direct#2", NULL},
    {"Acknowledge, at MERGE", "put.merge#1", NULL},
    {"Acknowledge, at COMMIT", "commit#4", NULL},
    {"Acknowledge, at the deletion of files", NULL, "delete#1"},
};

static void stop_in_silence(struct story *story, const struct silence *silence, int number)
{
    const char *marker = story_path(story, "silent");
    const char *rule = story_text(story, "%s before stall %s\n",
                                  silence->sql ? silence->sql : silence->s3, marker);
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    const char *address = story_gateway(story, "gateway", silence->sql ? rule : NULL);
    const char *bucket = story_s3_gateway(story, "bucket", silence->s3 ? rule : NULL);
    if (!address || !bucket) {
        return;
    }
    const struct story_config config = {
        .address = address,
        .hard_delete = true,
        .extra = story_text(story, ",\"advanced\":{" FLAGS ",\"s3_endpoint\":\"%s\"}", bucket)};
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(story, "config.json", &config),
        .codec = "proto",
        .mode = "v1",
    };
    struct story_process *process = story_drive_start(story, &drive);
    if (story_wait_file(story, marker, 180)) {
        signal_connector(story, process, number);
        expect_own_end(story, process);
    }
    if (story_is_well(story)) {
        check_after(story, &drive, &ledger);
    }
}

static void run_silence(void *ctx, unsigned index)
{
    char(*complaints)[1024] = ctx;
    struct story *story = story_begin(silences[index].name);

    stop_in_silence(story, &silences[index], index % 2 ? SIGINT : SIGTERM);
    note_end(story, complaints[index]);
}

static void a_signal_ends_the_wait_for_a_peer_that_says_nothing(void **state)
{
    enum { COUNT = sizeof silences / sizeof silences[0] };
    static char complaints[COUNT][1024];
    unsigned failed = 0;

    (void)state;
    story_side_by_side(COUNT, run_silence, complaints);
    for (unsigned i = 0; i < COUNT; i++) {
        failed += complaints[i][0] != '\0';
        print_message("%s%s%s\n", silences[i].name, complaints[i][0] ? ": " : "", complaints[i]);
    }
    assert_int_equal(failed, 0);
}

/* ---------------------------------------------------------------- while connecting */

struct listener {
    int fd;
    unsigned port;
};

/* Accepts connections and never reads from them. */
static struct listener listen_silently(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    struct listener listener = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_true(listener.fd >= 0 && bind(listener.fd, (struct sockaddr *)&address, len) == 0);
    assert_true(listen(listener.fd, 8) == 0 &&
                getsockname(listener.fd, (struct sockaddr *)&address, &len) == 0);
    listener.port = ntohs(address.sin_port);
    return listener;
}

static void a_signal_ends_connecting(void **state)
{
    enum { WAREHOUSE, SSH_SERVER, BUCKET, PEERS };
    static const char *const names[PEERS] = {"the warehouse", "the SSH server", "the bucket"};

    (void)state;
    for (unsigned i = 0; i < PEERS; i++) {
        struct story *story = story_begin(names[i]);
        struct listener listener = listen_silently();
        struct ledger ledger;
        struct sshd sshd;
        const struct story_config configs[PEERS] = {
            {.address = story_text(story, "127.0.0.1:%u", listener.port)},
            {.extra = make_tunnel(story, &sshd, listener.port)},
            {.extra = story_text(story, ",\"advanced\":{\"s3_endpoint\":\"http://127.0.0.1:%u\"}",
                                 listener.port)},
        };

        ledger_make(story, &plan, &ledger);
        const struct story_drive drive = {
            .label = "runtime",
            .catalog = ledger.catalog,
            .fixture = ledger.fixture,
            .config = story_config(story, "config.json", &configs[i]),
            .codec = "proto",
            .mode = "v1",
        };
        struct story_process *process = story_drive_start(story, &drive);
        struct pollfd knock = {.fd = listener.fd, .events = POLLIN};
        if (poll(&knock, 1, 180000) == 1) {
            signal_connector(story, process, i % 2 ? SIGINT : SIGTERM);
            expect_own_end(story, process);
        } else {
            story_complain(story, "nobody came");
        }
        close(listener.fd);
        sshd_remove(&sshd);
        story_end(story);
    }
}

/* ---------------------------------------------------------------- before any work */

struct answered {
    struct story *story;
    const char *path;
};

static bool is_answered(void *ctx)
{
    struct answered *answered = ctx;
    return strchr(story_read(answered->story, answered->path, NULL), '\n') != NULL;
}

/* Nothing is told before a request was answered, so one is asked. */
static void a_signal_ends_a_process_that_waits_for_requests(void **state)
{
    static const int numbers[] = {SIGTERM, SIGINT};

    (void)state;
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct story *story = story_begin("idle");
        const char *fifo = story_path(story, "stdin");
        const char *const argv[] = {"materialize-redshift", NULL};
        const char *const environment[] = {"FLOW_RUNTIME_CODEC=json", NULL};
        static const char request[] = "{\"spec\":{}}\n";

        assert_int_equal(mkfifo(fifo, 0600), 0);
        int fd = open(fifo, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        struct story_process *process = story_start(story, "connector", argv, environment, fifo);
        assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
        struct answered answered = {story, process->out};
        if (story_wait_for(story, "the answer to Spec", is_answered, &answered, 30)) {
            kill(process->pid, numbers[i]);
            if (story_wait(story, process, 30) &&
                (story_exit_code(process) != 1 ||
                 !strstr(story_read(story, process->err, NULL), "stopped by a signal"))) {
                story_complain(story, "ended with %d: %s", story_exit_code(process),
                               story_read(story, process->err, NULL));
            }
        }
        close(fd);
        story_end(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_at_any_statement_ends_it_and_the_next_run_sets_it_right),
        cmocka_unit_test(a_signal_while_staging_leaves_no_upload_behind),
        cmocka_unit_test(with_a_tunnel_the_same),
        cmocka_unit_test(a_signal_ends_the_wait_for_a_peer_that_says_nothing),
        cmocka_unit_test(a_signal_ends_connecting),
        cmocka_unit_test(a_signal_ends_a_process_that_waits_for_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
