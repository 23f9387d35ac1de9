/*
 * kill -9 at every statement of a lookup, an apply and an Open, and at the messages of the
 * protocol: after the restart the tables hold what the documents say, and the bucket is empty.
 * Which statements there are is read from the trace of an undisturbed run, so a new statement is a
 * new point by itself.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story_kill.h"

#define POINTS_MAX 160

struct point {
    struct kill_case row;
    char name[80], rule[80], prefix[80];
    char complaint[1024];
};

struct sweep {
    const char *codec, *mode;
    bool hard_delete;
    struct point points[POINTS_MAX];
    unsigned count;
};

static void run_point(void *ctx, unsigned index)
{
    struct sweep *sweep = ctx;
    struct point *point = &sweep->points[index];
    struct story *story = story_begin(point->name);
    struct kill_world world;

    if (kill_run(story, &point->row, &world)) {
        kill_check(story, &point->row, &world);
    }
    snprintf(point->prefix, sizeof point->prefix, "%s/", story->prefix);
    story_close(story);
    memcpy(point->complaint, story->complaint, sizeof point->complaint);
    point->complaint[sizeof point->complaint - 1] = '\0';
    free(story);
}

static struct point *add(struct sweep *sweep, const char *name)
{
    if (sweep->count == POINTS_MAX) {
        fail_msg("more than %d points", POINTS_MAX);
    }
    struct point *point = &sweep->points[sweep->count++];
    memset(point, 0, sizeof *point);
    snprintf(point->name, sizeof point->name, "%s", name);
    point->row = (struct kill_case){.name = point->name,
                                    .codec = sweep->codec,
                                    .mode = sweep->mode,
                                    .hard_delete = sweep->hard_delete,
                                    .rule = point->rule};
    return point;
}

/* ---------------------------------------------------------------- messages of the protocol */

static void add_messages(struct sweep *sweep)
{
    static const char *const rows[][3] = {
        /* the second Open comes after a death of its own */
        {"acknowledged.received", "open.sent"},
        {"commit.logged", "open.sent"},
        {"commit.logged", "opened.received"},
        {"acknowledge.sent"},
        {"acknowledged.received"},
        {"load.sent"},
        {"load.sent#25"},
        {"flush.sent"},
        {"loaded.received"},
        {"flushed.received"},
        {"store.sent"},
        {"store.sent#25"},
        {"startCommit.sent"},
        {"startedCommit.received"},
        {"commit.logged"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s%s%s", rows[i][0], rows[i][1] ? ", then " : "",
                 rows[i][1] ? rows[i][1] : "");
        struct point *point = add(sweep, name);
        point->row.at[0] = rows[i][0];
        point->row.at[1] = rows[i][1];
    }
}

/* ---------------------------------------------------------------- statements */

struct statement {
    char step[32];
    unsigned n;
};

struct transaction {
    unsigned first, count; /* of the trace's statements */
    enum { OTHER, OPEN, LOAD, APPLY } kind;
};

struct trace {
    struct statement statements[2048];
    unsigned count;
    struct transaction transactions[256];
    unsigned transaction_count;
};

static bool is_step(const struct statement *statement, const char *step)
{
    return strcmp(statement->step, step) == 0;
}

static void note_transaction(struct trace *trace, unsigned first, unsigned count)
{
    struct transaction *transaction = &trace->transactions[trace->transaction_count];

    if (trace->transaction_count == sizeof trace->transactions / sizeof *transaction) {
        fail_msg("the trace has too many transactions");
    }
    *transaction = (struct transaction){first, count, OTHER};
    for (unsigned i = first; i < first + count; i++) {
        const struct statement *statement = &trace->statements[i];
        transaction->kind = is_step(statement, "owner")        ? OPEN
                            : is_step(statement, "load.query") ? LOAD
                            : is_step(statement, "token")      ? APPLY
                                                               : transaction->kind;
    }
    trace->transaction_count++;
}

static void read_trace(const char *text, struct trace *trace)
{
    unsigned begin = 0;

    trace->count = trace->transaction_count = 0;
    for (const char *at = text; (at = strstr(at, "\"step\":\"")); at++) {
        struct statement *statement = &trace->statements[trace->count];
        if (trace->count == sizeof trace->statements / sizeof *statement ||
            sscanf(at, "\"step\":\"%31[^\"]\",\"n\":%u", statement->step, &statement->n) != 2) {
            fail_msg("not the trace of a small run");
        }
        if (strncmp(strstr(at, "\"what\":"), "\"what\":\"seen\"", 13) != 0) {
            continue;
        }
        /* widenings stand before the transaction that needs them */
        if (is_step(statement, "begin")) {
            begin = trace->count;
            while (begin > 0 && is_step(&trace->statements[begin - 1], "widen")) {
                begin--;
            }
        }
        trace->count++;
        if (is_step(statement, "commit") || is_step(statement, "rollback")) {
            note_transaction(trace, begin, trace->count - begin);
        }
    }
}

/* Of one kind, behind the statement number after: the one with the most statements. */
static const struct transaction *find_longest(const struct trace *trace, int kind, unsigned after)
{
    const struct transaction *longest = NULL;

    for (unsigned i = 0; i < trace->transaction_count; i++) {
        const struct transaction *transaction = &trace->transactions[i];
        if ((int)transaction->kind == kind && transaction->first > after &&
            (!longest || transaction->count > longest->count)) {
            longest = transaction;
        }
    }
    if (!longest) {
        fail_msg("the trace lacks a transaction of kind %d", kind);
    }
    return longest;
}

/* Where the n-th transaction with an owner mark ends. */
static unsigned end_of_open(const struct trace *trace, unsigned n)
{
    for (unsigned i = 0; i < trace->transaction_count; i++) {
        const struct transaction *transaction = &trace->transactions[i];
        if (transaction->kind == OPEN && --n == 0) {
            return transaction->first + transaction->count - 1;
        }
    }
    fail_msg("the trace lacks an Open");
    return 0;
}

static bool was_there(const struct statement *statements, unsigned count, const char *step)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_step(&statements[i], step)) {
            return true;
        }
    }
    return false;
}

/* Between two statements that only look or prepare, "after" the first is "before" the second, so
 * few of all moments are different. The environment variable KILL_POINTS=all asks for every one. */
static bool is_moment(const struct statement *statement, bool is_after)
{
    static const char *const before[] = {"widen", "owner", "put.merge", "token", "commit", NULL};
    static const char *const after[] = {"widen",    "lock",       "check",     "owner",
                                        "del.exec", "temp.copy",  "put.merge", "put.direct",
                                        "token",    "load.query", "commit",    NULL};
    const char *const *steps = is_after ? after : before;
    const char *wish = getenv("KILL_POINTS");

    if (wish && strcmp(wish, "all") == 0) {
        return true;
    }
    while (*steps && !is_step(statement, *steps)) {
        steps++;
    }
    return *steps != NULL;
}

/* A column is widened ahead, and again by the apply if that came first: only that there is a first
 * time is sure of every run. */
static bool is_second_widening(const struct statement *statement)
{
    return is_step(statement, "widen") && statement->n > 1;
}

static void add_statements(struct sweep *sweep,
                           const struct trace *trace,
                           const struct transaction *transaction,
                           const char *where,
                           const char *first_kill)
{
    for (unsigned i = 0; i < transaction->count; i++) {
        const struct statement *statement = &trace->statements[transaction->first + i];
        if (was_there(&trace->statements[transaction->first], i, statement->step)) {
            continue;
        }
        for (int after = 0; after < 2; after++) {
            if (!is_moment(statement, after) || is_second_widening(statement)) {
                continue;
            }
            char name[80];
            snprintf(name, sizeof name, "%s, %s %s#%u", where, after ? "after" : "before",
                     statement->step, statement->n);
            struct point *point = add(sweep, name);
            snprintf(point->rule, sizeof point->rule, "%s#%u %s kill %%s", statement->step,
                     statement->n, after ? "after" : "before");
            point->row.at[0] = first_kill;
        }
    }
}

/* A run without faults of the gateway, whose trace says which statements there are. */
static void trace_of(struct sweep *sweep, const char *kill_at, struct trace *ret)
{
    struct story *story = story_begin("the run to compare with");
    const struct kill_case row = {.name = story->name,
                                  .codec = sweep->codec,
                                  .mode = sweep->mode,
                                  .hard_delete = sweep->hard_delete,
                                  .at = {kill_at},
                                  .rule = ""};
    struct kill_world world;

    if (kill_run(story, &row, &world) && kill_check(story, &row, &world)) {
        read_trace(world.trace, ret);
    }
    story_end(story);
}

static void add_sql(struct sweep *sweep)
{
    static struct trace trace;

    trace_of(sweep, NULL, &trace);
    unsigned warm = end_of_open(&trace, 1);
    add_statements(sweep, &trace, find_longest(&trace, APPLY, warm), "apply", NULL);
    add_statements(sweep, &trace, find_longest(&trace, LOAD, warm), "lookup", NULL);

    /* Killed with work that is promised and not applied: the next Open and its apply. */
    trace_of(sweep, "commit.logged", &trace);
    unsigned second = end_of_open(&trace, 2);
    for (unsigned i = 0; i < trace.transaction_count; i++) {
        const struct transaction *transaction = &trace.transactions[i];
        if (transaction->first + transaction->count - 1 == second) {
            add_statements(sweep, &trace, transaction, "second Open", "commit.logged");
        } else if (transaction->kind == APPLY && transaction->first > second) {
            add_statements(sweep, &trace, transaction, "recovery", "commit.logged");
            break;
        }
    }
}

/* What is left in the bucket is the fault of the point whose prefix it has. */
static void check_bucket(struct sweep *sweep)
{
    struct story *story = story_begin("the bucket after all points");
    const char *all = story_text(story, "%.*s", (int)(strrchr(story->prefix, '_') - story->prefix),
                                 story->prefix);
    const char *left = story_bucket(story, story_text(story, "%s_", all));

    for (unsigned i = 0; i < sweep->count; i++) {
        struct point *point = &sweep->points[i];
        const char *found = strstr(left, point->prefix);
        if (found && !point->complaint[0]) {
            snprintf(point->complaint, sizeof point->complaint, "left in the bucket: %.*s",
                     (int)strcspn(found, "\n"), found);
        }
    }
    story_end(story);
}

static void sweep_all(struct sweep *sweep)
{
    unsigned failed = 0;

    sweep->count = 0;
    add_messages(sweep);
    add_sql(sweep);
    story_side_by_side(sweep->count, run_point, sweep);
    check_bucket(sweep);
    for (unsigned i = 0; i < sweep->count; i++) {
        const struct point *point = &sweep->points[i];
        failed += point->complaint[0] != '\0';
        print_message("%s %s: %s%s%s\n", sweep->mode, sweep->codec, point->name,
                      point->complaint[0] ? ": " : "", point->complaint);
    }
    print_message("%s %s: %u points, %u failed\n", sweep->mode, sweep->codec, sweep->count, failed);
    assert_true(sweep->count >= 20);
    assert_int_equal(failed, 0);
}

/* ---------------------------------------------------------------- stories */

static void a_killed_connector_of_the_first_runtime_applies_everything_once(void **state)
{
    static struct sweep sweep = {.codec = "json", .mode = "v1"};
    (void)state;

    sweep_all(&sweep);
}

static void a_killed_connector_of_the_second_runtime_applies_and_deletes_once(void **state)
{
    static struct sweep sweep = {.codec = "proto", .mode = "v2", .hard_delete = true};
    (void)state;

    sweep_all(&sweep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_connector_of_the_first_runtime_applies_everything_once),
        cmocka_unit_test(a_killed_connector_of_the_second_runtime_applies_and_deletes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
