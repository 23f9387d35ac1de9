/*
 * While one transaction is applied, the next one's keys are read and staged; what they find is the
 * table with the transaction before in it. Somebody else's lock holds the apply for as long as it
 * takes to see that. And while the runtime commits a transaction, the lists of its files are put:
 * an observer holds the runtime there.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <libpq-fe.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/story.h"

static const char catalog[] =
    "{\"collections\":{\"acme/items\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"integer\"},\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}}}"
    "}}},"
    "\"materializations\":{\"acme/overlap\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/items\",\"resource\":{\"table\":\"items\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

#define ITEM(id, n) "[\"acme/items\",{\"id\":" #id ",\"n\":" #n "}]\n"
#define COMMIT "{\"commit\":true}\n"
#define FIRST ITEM(1, 1) COMMIT
/* New to the table, so that nothing has to be looked up there while it is locked. */
#define HELD ITEM(2, 20) COMMIT
#define NEXT ITEM(1, 100) ITEM(2, 200) COMMIT

static struct story_drive
a_drive(struct story *story, const char *documents, const char *const *options)
{
    return (struct story_drive){
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", catalog),
        .fixture = story_write(story, "documents.jsonl", documents),
        .config = story_config(story, "config.json", &(struct story_config){0}),
        .codec = "proto",
        .mode = "v2",
        .options = options,
    };
}

static PGconn *connect_to_warehouse(struct story *story)
{
    static const char *const names[] = {
        "host", "port", "user", "password", "dbname", "sslmode", "connect_timeout", NULL};
    const char *address = story_environment("LOCAL_REDSHIFT_ADDRESS");
    const char *colon = strrchr(address, ':');
    const char *const values[] = {story_text(story, "%.*s", (int)(colon - address), address),
                                  colon + 1,
                                  story_environment("LOCAL_REDSHIFT_USER"),
                                  story_environment("LOCAL_REDSHIFT_PASSWORD"),
                                  story_environment("LOCAL_REDSHIFT_DATABASE"),
                                  "require",
                                  "20",
                                  NULL};

    return PQconnectdbParams(names, values, 0);
}

static const char *ask(struct story *story, PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    const char *rows = PQresultStatus(result) == PGRES_TUPLES_OK ? story_rows(story, result) : "";

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        story_complain(story, "%s: %s", sql, PQerrorMessage(conn));
    }
    PQclear(result);
    return rows;
}

/* In the second run the held transaction is its first, round 0. */
static bool next_keys_are_read(void *ctx)
{
    struct story *story = ctx;
    const char *log = story_read(story, story_path(story, "runtime.log"), NULL);

    for (const char *at = log; (at = strstr(at, "started reading load requests")); at++) {
        const char *end = strchr(at, '\n');
        const char *round = strstr(at, "\"round\":1,");
        if (round && end && round < end) {
            return true;
        }
    }
    return false;
}

static void keys_are_read_while_the_transaction_before_is_applied(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const early[] = {"--early-loads", "all", "--same-boundaries", NULL};
    struct story *story = story_begin("keys are read while the transaction before is applied");
    struct story_drive run = a_drive(story, FIRST, none);
    (void)state;

    if (story_drive(story, &run)) {
        PGconn *conn = connect_to_warehouse(story);
        ask(story, conn, "BEGIN");
        ask(story, conn, story_text(story, "LOCK %s.items", story->schema));
        run = a_drive(story, FIRST HELD NEXT, early);
        struct story_process *process = story_drive_start(story, &run);
        (void)story_wait_for(story, "keys of the next transaction", next_keys_are_read, story, 60);
        /* The holder of the lock may look: nothing of the transaction is there. */
        story_same(
            story, "the table meanwhile", "1|1\n",
            ask(story, conn, story_text(story, "SELECT id, n FROM %s.items", story->schema)));
        ask(story, conn, "ROLLBACK");
        PQfinish(conn);
        if (story_wait(story, process, 60) && story_exit_code(process) != 0) {
            story_complain(story, "%.2000s", story_read(story, process->err, NULL));
        }
        story_same(story, "the table", "1|101\n2|220\n",
                   story_query(story, story_text(story, "SELECT id, n FROM %s.items ORDER BY id",
                                                 story->schema)));
        story_bucket_is_empty(story);
    }
    story_end(story);
}

/* ---------------------------------------------------------------- lists of files */

#define HELLO_MS 60000

/* The runtime's connection to the observer that its option names. */
static int accept_runtime(struct story *story, const char *path, struct story_process **ret_process)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;

    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) == 0 &&
        listen(listener, 1) == 0) {
        const char *const options[] = {"--observer", path, "--same-boundaries", NULL};
        struct story_drive run = a_drive(story, FIRST HELD, options);
        struct pollfd fds = {.fd = listener, .events = POLLIN};
        *ret_process = story_drive_start(story, &run);
        fd = poll(&fds, 1, HELLO_MS) == 1 ? accept(listener, NULL, NULL) : -1;
    }
    close(listener);
    return fd;
}

/* The next line, which the runtime wants answered; false at its end. */
static bool hear(int fd, char *line, size_t size)
{
    size_t len = 0;

    while (len + 1 < size) {
        struct pollfd fds = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&fds, 1, HELLO_MS) == 1 ? recv(fd, line + len, size - 1 - len, 0) : 0;
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        line[len] = '\0';
        if (line[len - 1] == '\n') {
            return true;
        }
    }
    return false;
}

struct wanted {
    struct story *story;
    unsigned round;
};

static bool its_list_is_there(void *ctx)
{
    const struct wanted *wanted = ctx;
    struct story *story = wanted->story;
    const char *objects = story_bucket(story, story_text(story, "%s/", story->prefix));

    return strstr(objects, story_text(story, "/r%06u-a0-b0000-store.manifest", wanted->round));
}

static void lists_of_files_are_put_while_the_runtime_commits(void **state)
{
    struct story *story = story_begin("lists of files are put while the runtime commits");
    const char *path = story_path(story, "observer");
    char line[64 * 1024];
    struct wanted wanted = {story, 0};
    struct story_process *process = NULL;
    int fd = accept_runtime(story, path, &process);
    (void)state;

    while (fd >= 0 && hear(fd, line, sizeof line)) {
        if (strstr(line, "\"at\":\"startedCommit\"") && strstr(line, "storeFiles")) {
            /* Nothing can have been acknowledged: the runtime waits for the answer below. */
            story_wait_for(story, "a list of files", its_list_is_there, &wanted, 60);
            wanted.round++;
        }
        if (send(fd, "\n", 1, MSG_NOSIGNAL) != 1) {
            break;
        }
    }
    close(fd);
    if (wanted.round != 2) {
        story_complain(story, "%u transactions were promised", wanted.round);
    }
    if (process && story_wait(story, process, 60)) {
        story_same(story, "the table", "1|1\n2|20\n",
                   story_query(story, story_text(story, "SELECT id, n FROM %s.items ORDER BY id",
                                                 story->schema)));
        story_bucket_is_empty(story);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_files_are_put_while_the_runtime_commits),
        cmocka_unit_test(keys_are_read_while_the_transaction_before_is_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
