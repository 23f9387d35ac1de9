/*
 * harness/observe: a reader of the tables while the connector works. flow-runtime says when a
 * transaction is promised and when it is acknowledged, and waits for an answer each time; between,
 * snapshots are taken. A thread of its own with connections of its own.
 */

#include "harness/connect.h"
#include "harness/neighbours.h"
#include "harness/promise.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SNAPSHOT_MS 250
#define LINE_LEN (256 * 1024)

struct observer {
    struct trial *trial;
    pthread_t thread;
    int listener, stop[2];
    unsigned arm, acknowledged;
    unsigned last_group; /* that was acknowledged */
    PGconn *reader;      /* takes the snapshots; NULL: not connected */
    const char *armed;
};

/* One statement, so one snapshot: the sum of the balances, and each table's highest group. False:
 * the tables are not there yet. */
static bool
take_snapshot(const struct observer *observer, PGconn *conn, int64_t *ret_sum, int64_t ret[4])
{
    char sql[1024];
    const char *s = observer->trial->story->schema;

    snprintf(sql, sizeof sql,
             "SELECT (SELECT COALESCE(SUM(balance_delta), 0) FROM %s.accounts),"
             "(SELECT COALESCE(MAX(\"group\"), 0) FROM %s.accounts),"
             "(SELECT COALESCE(MAX(\"group\"), 0) FROM %s.accounts_delta),"
             "(SELECT COALESCE(MAX(\"group\"), 0) FROM %s.events),"
             "(SELECT COALESCE(MAX(\"group\"), 0) FROM %s.events_std)",
             s, s, s, s, s);
    PGresult *result = PQexec(conn, sql);
    bool is_there = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    if (is_there) {
        *ret_sum = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        for (int i = 0; i < 4; i++) {
            ret[i] = strtoll(PQgetvalue(result, 0, i + 1), NULL, 10);
        }
    }
    PQclear(result);
    return is_there;
}

static void look(struct observer *observer)
{
    int64_t sum, groups[4];

    if (!observer->reader) {
        observer->reader = connect_to(story_environment("LOCAL_REDSHIFT_ADDRESS"));
    }
    if (PQstatus(observer->reader) != CONNECTION_OK) {
        PQfinish(observer->reader);
        observer->reader = NULL;
        return;
    }
    /* PostgreSQL, which stands in for the warehouse, shows a table as empty to whoever began to
     * read before it was written anew for a wider column. The next reader sees it whole. */
    for (unsigned i = 0; i < 3; i++) {
        if (!take_snapshot(observer, observer->reader, &sum, groups)) {
            return;
        }
        if (groups[0] > 0 && groups[1] > 0 && groups[2] > 0 && groups[3] > 0) {
            break;
        }
    }
    if (sum != 0) {
        trial_finds(observer->trial, 11, "a reader saw balances that add up to %" PRId64, sum);
    }
    for (unsigned i = 1; i < 4; i++) {
        if (groups[i] != groups[0]) {
            trial_finds(observer->trial, 11,
                        "a reader saw the groups %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64,
                        groups[0], groups[1], groups[2], groups[3]);
        }
    }
}

/* With a connection that was opened just now. */
static bool look_afresh(struct observer *observer, int64_t groups[4])
{
    PGconn *conn = connect_to(story_environment("LOCAL_REDSHIFT_ADDRESS"));
    int64_t sum;
    bool is_there = PQstatus(conn) == CONNECTION_OK && take_snapshot(observer, conn, &sum, groups);

    PQfinish(conn);
    return is_there;
}

static void arm(struct observer *observer)
{
    FILE *file = fopen(observer->armed, "w");

    if (file) {
        fclose(file);
    }
}

static void hear(struct observer *observer, const char *line)
{
    struct trial *trial = observer->trial;
    int64_t position = story_number(line, "position"), groups[4];
    unsigned group = workload_group(&trial->work, position > 0 ? (uint64_t)position : 0);

    look(observer);
    if (strstr(line, "\"at\":\"acknowledged\"")) {
        if (group > 0 && !look_afresh(observer, groups)) {
            trial_finds(trial, 12, "group %u is acknowledged, and there are no tables", group);
        }
        for (unsigned i = 0; group > 0 && i < 4; i++) {
            if (groups[i] < (int64_t)group) {
                trial_finds(trial, 12, "group %u is acknowledged, and a new reader sees %" PRId64,
                            group, groups[i]);
            }
        }
        observer->last_group = group;
        if (group > 0 && observer->reader) {
            neighbours_plant(trial, observer->reader);
        }
        if (group > 0 && ++observer->acknowledged == observer->arm) {
            arm(observer);
        }
        return;
    }
    /* A transaction without documents promises nothing new. */
    if (group > observer->last_group && look_afresh(observer, groups)) {
        for (unsigned i = 0; i < 4; i++) {
            if (groups[i] >= (int64_t)group) {
                trial_finds(trial, 16, "group %u is not committed, and a reader sees it", group);
            }
        }
    }
    check_promise(trial, line);
}

/* Serves one flow-runtime until it leaves. */
static void serve(struct observer *observer, int fd)
{
    char *line = malloc(LINE_LEN);
    size_t len = 0;

    for (;;) {
        struct pollfd fds[] = {{fd, POLLIN, 0}, {observer->stop[0], POLLIN, 0}};
        int ready = line ? poll(fds, 2, SNAPSHOT_MS) : -1;
        if (ready == 0) {
            look(observer);
            continue;
        }
        if ((ready < 0 && errno != EINTR) || fds[1].revents) {
            break;
        }
        ssize_t got = fds[0].revents ? recv(fd, line + len, LINE_LEN - 1 - len, 0) : 0;
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        line[len] = '\0';
        if (line[len - 1] == '\n') {
            hear(observer, line);
            len = 0;
            if (send(fd, "\n", 1, MSG_NOSIGNAL) != 1) {
                break;
            }
        }
    }
    free(line);
}

static void *observe(void *ctx)
{
    struct observer *observer = ctx;

    for (;;) {
        struct pollfd fds[] = {{observer->listener, POLLIN, 0}, {observer->stop[0], POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents) {
            return NULL;
        }
        /* A program started meanwhile must not keep it open: its end is how the other side hears
         * that nobody looks on any more. */
        int fd = accept4(observer->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            serve(observer, fd);
            close(fd);
        }
    }
}

struct observer *observer_start(struct trial *trial, unsigned arm_at)
{
    struct observer *observer = calloc(1, sizeof *observer);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = story_path(trial->story, "observer");

    if (!observer || strlen(path) >= sizeof address.sun_path) {
        abort();
    }
    observer->trial = trial;
    observer->arm = arm_at;
    observer->armed = trial_armed(trial);
    observer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path));
    unlink(path); /* of an earlier run of the same trial */
    if (arm_at == 0) {
        arm(observer);
    }
    if (pipe2(observer->stop, O_CLOEXEC) != 0 ||
        bind(observer->listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(observer->listener, 4) != 0 ||
        pthread_create(&observer->thread, NULL, observe, observer) != 0) {
        trial_troubles(trial, "no observer: %s", strerror(errno));
        abort();
    }
    return observer;
}

void observer_stop(struct observer *observer)
{
    if (!observer) {
        return;
    }
    close(observer->stop[1]);
    pthread_join(observer->thread, NULL);
    close(observer->stop[0]);
    close(observer->listener);
    if (observer->reader) {
        PQfinish(observer->reader);
    }
    free(observer);
}
