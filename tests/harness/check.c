/*
 * harness/check: what must hold when nothing moves any more. In: tables, trace, log, bucket of a
 * trial. Out: findings by the number of the invariant. What is wanted comes from the source's list
 * of events alone.
 */

#include "harness/trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 12
#define ROOM_FOR_SEQ 4096
#define REST_SECONDS 20 /* for sessions to end and locks to go */

/* ---------------------------------------------------------------- rows */

/* The columns of one line, in place. */
static unsigned split(char *line, char *columns[COLUMNS])
{
    unsigned count = 0;

    for (char *at = line; at && count < COLUMNS; count++) {
        columns[count] = at;
        at = count + 1 < COLUMNS ? strchr(at, '|') : NULL;
        if (at) {
            *at++ = '\0';
        }
    }
    return count;
}

static int64_t number(const char *text)
{
    return strtoll(text, NULL, 10);
}

/* Calls visit for each row; "" and a finding when the table cannot be read. */
static void each_row(struct trial *trial,
                     const char *sql,
                     void (*visit)(struct trial *trial, char **columns, void *ctx),
                     void *ctx)
{
    char *rows = story_query(trial->story, sql);

    if (!story_is_well(trial->story)) {
        trial_troubles(trial, "%s", trial->story->complaint);
        trial->story->complaint[0] = '\0';
        return;
    }
    for (char *line = rows, *next; *line; line = next) {
        char *columns[COLUMNS];
        next = line + strcspn(line, "\n");
        if (*next) {
            *next++ = '\0';
        }
        split(line, columns);
        visit(trial, columns, ctx);
    }
}

/* ---------------------------------------------------------------- accounts */

struct accounts {
    struct account wanted[WORKLOAD_ACCOUNTS];
    unsigned rows[WORKLOAD_ACCOUNTS];
    int64_t balance;
    bool hard_delete;
};

/* The value of a member of a flat document, as text; "" when it is not there. */
static void member(const char *json, const char *name, char *ret, size_t size)
{
    char wanted[40];
    size_t len = 0;

    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(json, wanted);
    for (at = at ? at + strlen(wanted) : ""; *at && !strchr(",}", *at) && len + 1 < size; at++) {
        if (!strchr(" \"", *at)) {
            ret[len++] = *at;
        }
    }
    ret[len] = '\0';
}

/* Does the document say what the columns say? */
static void check_document(struct trial *trial, char **columns, const struct account *wanted)
{
    static const char *const names[] = {"id", "seq", "balance_delta", "n", "fp", "group"};
    const char *const values[] = {columns[0], columns[1], columns[2],
                                  columns[3], columns[4], columns[8]};
    char value[64];

    for (unsigned i = 0; i < 6; i++) {
        member(columns[11], names[i], value, sizeof value);
        if (strcmp(value, values[i]) != 0) {
            trial_finds(trial, 7, "%s: the document's %s is %s, the column's %s", wanted->id,
                        names[i], value, values[i]);
        }
    }
}

static void check_account(struct trial *trial, char **columns, void *ctx)
{
    struct accounts *accounts = ctx;
    int index = workload_find(&trial->work, columns[0]);
    int64_t balance = number(columns[2]), n = number(columns[3]), fp = number(columns[4]);

    accounts->balance += balance;
    if (index < 0 || accounts->wanted[index].seq == 0) {
        trial_finds(trial, 6, "accounts: %s was never sent", columns[0]);
        return;
    }
    const struct account *wanted = &accounts->wanted[index];
    if (++accounts->rows[index] > 1) {
        trial_finds(trial, 5, "accounts: more than one row of %s", wanted->id);
        return;
    }
    if (accounts->hard_delete && wanted->is_closed) {
        trial_finds(trial, wanted->is_ghost ? 10 : 9, "accounts: %s was deleted and is there",
                    wanted->id);
        return;
    }
    if (balance != number(columns[5]) || n != number(columns[6]) || fp != number(columns[7])) {
        trial_finds(trial, 2,
                    "accounts: %s has balance %s of %s, n %s of %s, fp %s of %s by its own oracle",
                    wanted->id, columns[2], columns[5], columns[3], columns[6], columns[4],
                    columns[7]);
    }
    if (n > wanted->n) {
        trial_finds(trial, 4, "accounts: %s counts %" PRId64 " documents of %" PRId64, wanted->id,
                    n, wanted->n);
    } else if (n < wanted->n || number(columns[1]) < (int64_t)wanted->seq) {
        trial_finds(trial, 3,
                    "accounts: %s counts %" PRId64 " documents of %" PRId64
                    ", up to event %s of %u",
                    wanted->id, n, wanted->n, columns[1], wanted->seq);
    } else if (balance != wanted->balance || fp != wanted->fp) {
        trial_finds(trial, 2,
                    "accounts: %s has balance %" PRId64 " of %" PRId64 ", fp %" PRId64
                    " of %" PRId64,
                    wanted->id, balance, wanted->balance, fp, wanted->fp);
    }
    if (wanted->is_closed != (strcmp(columns[9], "d") == 0)) {
        trial_finds(trial, 9, "accounts: %s has op %s", wanted->id, columns[9]);
    }
    if (number(columns[8]) != (int64_t)wanted->group ||
        number(columns[1]) != (int64_t)wanted->seq ||
        number(columns[10]) != (int64_t)wanted->note_len) {
        trial_finds(trial, 7,
                    "accounts: %s has seq %s, group %s, a note of %s characters; wanted "
                    "%u, %u, %u",
                    wanted->id, columns[1], columns[8], columns[10], wanted->seq, wanted->group,
                    wanted->note_len);
    }
    check_document(trial, columns, wanted);
}

static void check_accounts(struct trial *trial, struct accounts *accounts)
{
    struct story *story = trial->story;

    each_row(trial,
             story_text(story,
                        "SELECT id, seq, balance_delta, n, fp, oracle_balance, oracle_n, "
                        "oracle_fp, \"group\", \"_meta/op\", LENGTH(note), flow_document FROM "
                        "%s.accounts ORDER BY id",
                        story->schema),
             check_account, accounts);
    for (unsigned i = 0; i < WORKLOAD_ACCOUNTS; i++) {
        const struct account *wanted = &accounts->wanted[i];
        bool must_be = wanted->seq > 0 && !(accounts->hard_delete && wanted->is_closed);
        if (must_be && accounts->rows[i] == 0) {
            trial_finds(trial, 3, "accounts: %s is not there", wanted->id);
        }
    }
    if (accounts->balance != 0) {
        trial_finds(trial, 1, "accounts: the balances add up to %" PRId64, accounts->balance);
    }
}

/* ---------------------------------------------------------------- changes */

/* The rows of an account in the delta table: one for each transaction with events of it. */
struct changes {
    int64_t balance, n, fp;
    unsigned rows, seen;
};

struct changes_of_all {
    struct changes accounts[WORKLOAD_ACCOUNTS];
};

/* One transaction: what each account's events add up to. Under hard deletes a tombstone at the end
 * takes what the transaction has said of the account with it. */
static void
add_transaction(struct trial *trial, unsigned first_group, unsigned last_group, void *ctx)
{
    const struct workload *work = &trial->work;
    struct changes_of_all *all = ctx;
    struct changes_of_all *these = calloc(1, sizeof *these);

    if (!these) {
        abort();
    }
    for (unsigned i = 0; i < work->event_count; i++) {
        const struct event *event = &work->events[i];
        struct changes *changes = &these->accounts[event->account];
        if (event->group < first_group || event->group > last_group) {
            continue;
        }
        changes->balance += event->change;
        changes->n += event->n;
        changes->fp += event->fp;
        changes->rows = event->closes && work->hard_delete ? 0 : 1;
    }
    for (unsigned i = 0; i < WORKLOAD_ACCOUNTS; i++) {
        const struct changes *from = &these->accounts[i];
        struct changes *to = &all->accounts[i];
        if (from->rows > 0) {
            to->balance += from->balance;
            to->n += from->n;
            to->fp += from->fp;
            to->rows++;
        }
    }
    free(these);
}

static void check_change(struct trial *trial, char **columns, void *ctx)
{
    struct changes_of_all *all = ctx;
    int index = workload_find(&trial->work, columns[0]);

    if (index < 0 || all->accounts[index].rows == 0) {
        trial_finds(trial, 6, "accounts_delta: %s was never sent", columns[0]);
        return;
    }
    struct changes *wanted = &all->accounts[index];
    wanted->seen = (unsigned)number(columns[4]);
    if (number(columns[1]) != wanted->balance || number(columns[2]) != wanted->n ||
        number(columns[3]) != wanted->fp || wanted->seen != wanted->rows) {
        trial_finds(trial, 8,
                    "accounts_delta: the %s rows of %s add up to %s, %s, %s and not %u rows to "
                    "%" PRId64 ", %" PRId64 ", %" PRId64,
                    columns[4], columns[0], columns[1], columns[2], columns[3], wanted->rows,
                    wanted->balance, wanted->n, wanted->fp);
    }
}

static void check_delta(struct trial *trial)
{
    struct changes_of_all *all = calloc(1, sizeof *all);

    if (!all) {
        abort();
    }
    trial_each_transaction(trial, add_transaction, all);
    each_row(trial,
             story_text(trial->story,
                        "SELECT id, SUM(balance_delta), SUM(n), SUM(fp), COUNT(*) FROM "
                        "%s.accounts_delta GROUP BY id ORDER BY id",
                        trial->story->schema),
             check_change, all);
    for (unsigned i = 0; i < WORKLOAD_ACCOUNTS; i++) {
        if (all->accounts[i].rows > 0 && all->accounts[i].seen == 0) {
            trial_finds(trial, 8, "accounts_delta: %s is not there", trial->work.ids[i]);
        }
    }
    free(all);
}

/* ---------------------------------------------------------------- events */

struct events {
    const char *table;
    bool is_unique;      /* one row per key is the table's promise */
    unsigned char *rows; /* by index in the workload's list */
    unsigned last_group;
};

static void check_event(struct trial *trial, char **columns, void *ctx)
{
    struct events *events = ctx;
    const struct workload *work = &trial->work;
    int account = workload_find(work, columns[0]);

    for (unsigned i = 0; i < work->event_count; i++) {
        const struct event *event = &work->events[i];
        if ((int)event->account != account || (int64_t)event->seq != number(columns[1]) ||
            event->group > events->last_group) {
            continue;
        }
        if (++events->rows[i] == 2) {
            trial_finds(trial, 4, "%s: %s has event %s more than once", events->table, columns[0],
                        columns[1]);
            if (events->is_unique) {
                trial_finds(trial, 5, "%s: more than one row of %s, %s", events->table, columns[0],
                            columns[1]);
            }
        }
        if (event->change != number(columns[2]) || (int64_t)event->group != number(columns[3])) {
            trial_finds(trial, 7, "%s: event %s of %s is %s in group %s", events->table, columns[1],
                        columns[0], columns[2], columns[3]);
        }
        return;
    }
    trial_finds(trial, 6, "%s: event %s of %s was never sent or is not committed", events->table,
                columns[1], columns[0]);
}

static void check_events(struct trial *trial, const char *table, bool is_unique)
{
    const struct workload *work = &trial->work;
    struct events events = {.table = table,
                            .is_unique = is_unique,
                            .rows = calloc(work->event_count + 1, 1),
                            .last_group = workload_group(work, trial->position)};

    if (!events.rows) {
        abort();
    }
    each_row(trial,
             story_text(trial->story, "SELECT id, seq, balance_delta, \"group\" FROM %s.%s",
                        trial->story->schema, table),
             check_event, &events);
    for (unsigned i = 0; i < work->event_count; i++) {
        const struct event *event = &work->events[i];
        if (event->group <= events.last_group && events.rows[i] == 0) {
            trial_finds(trial, 3, "%s: event %u of %s is not there", table, event->seq,
                        work->ids[event->account]);
        }
    }
    free(events.rows);
}

static void check_marker(struct trial *trial, char **columns, void *ctx)
{
    const unsigned *wanted = ctx;

    if (number(columns[1]) != (int64_t)*wanted) {
        trial_finds(trial, 11, "%s shows group %s, and %u is committed", columns[0], columns[1],
                    *wanted);
    }
}

static void check_markers(struct trial *trial)
{
    const char *s = trial->story->schema;
    unsigned wanted = workload_group(&trial->work, trial->position);

    each_row(trial,
             story_text(trial->story,
                        "SELECT 'accounts', MAX(\"group\") FROM %s.accounts UNION ALL "
                        "SELECT 'accounts_delta', MAX(\"group\") FROM %s.accounts_delta UNION ALL "
                        "SELECT 'events', MAX(\"group\") FROM %s.events UNION ALL "
                        "SELECT 'events_std', MAX(\"group\") FROM %s.events_std",
                        s, s, s, s),
             check_marker, &wanted);
}

void check_tables(struct trial *trial)
{
    struct accounts *accounts = calloc(1, sizeof *accounts);

    if (!accounts) {
        abort();
    }
    workload_accounts(&trial->work, trial->position, accounts->wanted);
    accounts->hard_delete = trial->scenario->hard_delete;
    check_accounts(trial, accounts);
    check_delta(trial);
    check_events(trial, "events", false);
    check_events(trial, "events_std", true);
    check_markers(trial);
    free(accounts);
}

/* ---------------------------------------------------------------- trace */

#define CLIENTS 256

/* Who took the task over, in order, and who was the last. */
struct owners {
    long ids[CLIENTS];
    unsigned count;
};

static bool is_former(const struct owners *owners, long client)
{
    for (unsigned i = 0; i + 1 < owners->count; i++) {
        if (owners->ids[i] == client && owners->ids[owners->count - 1] != client) {
            return true;
        }
    }
    return false;
}

/* A standard table may get one COPY for what is new and one for what is not. */
static unsigned most_copies(const struct trial *trial)
{
    unsigned extras = trial->work.extras, standard = 2, delta = 2;

    standard += (extras & EXTRA_NODOC) != 0;
    standard += extras & EXTRA_SHAPES ? 2 : 0;
    standard += (extras & EXTRA_FILLED) != 0;
    return 2 * standard + delta;
}

void check_trace(struct trial *trial)
{
    struct owners owners = {.count = 0};
    long wrote_tokens[CLIENTS];
    unsigned writers = 0, copies = 0;

    for (const char *at = trial->sql_trace; (at = strstr(at, "\"step\":\"")); at++) {
        char step[32], what[32];
        unsigned n;
        long connection, client;
        if (sscanf(at,
                   "\"step\":\"%31[^\"]\",\"n\":%u,\"what\":\"%31[^\"]\",\"connection\":%ld,"
                   "\"client\":%ld",
                   step, &n, what, &connection, &client) != 5 ||
            strcmp(what, "seen") != 0) {
            continue;
        }
        if (strcmp(step, "owner") == 0 && owners.count < CLIENTS) {
            owners.ids[owners.count++] = client;
        } else if (strcmp(step, "lock") == 0) {
            copies = 0;
        } else if (strcmp(step, "put.direct") == 0 || strcmp(step, "temp.copy") == 0) {
            copies++;
        } else if (strcmp(step, "token") == 0 && writers < CLIENTS) {
            wrote_tokens[writers++] = connection;
            if (copies > most_copies(trial)) {
                trial_finds(trial, 25, "an apply has %u COPY", copies);
            }
        } else if (strcmp(step, "commit") == 0 && is_former(&owners, client)) {
            for (unsigned i = 0; i < writers; i++) {
                if (wrote_tokens[i] == connection) {
                    trial_finds(trial, 17, "process %ld applied after another had taken over",
                                client);
                }
            }
        }
        if (strcmp(step, "commit") == 0 || strcmp(step, "rollback") == 0) {
            for (unsigned i = 0; i < writers; i++) {
                wrote_tokens[i] = wrote_tokens[i] == connection ? 0 : wrote_tokens[i];
            }
        }
    }
}

/* ---------------------------------------------------------------- what is left */

static bool no_lock_is_held(void *ctx)
{
    struct trial *trial = ctx;
    const char *count = story_query(
        trial->story,
        story_text(trial->story,
                   "SELECT COUNT(*) FROM pg_catalog.pg_locks WHERE relation IN (SELECT \"oid\" "
                   "FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT \"oid\" FROM "
                   "pg_catalog.pg_namespace WHERE nspname = '%s'))",
                   trial->story->schema));

    return strcmp(count, "0\n") == 0;
}

static void check_secrets(struct trial *trial, const char *name)
{
    const char *secrets[] = {story_environment("LOCAL_REDSHIFT_PASSWORD"),
                             story_environment("LOCAL_S3_SECRET"), "X-Amz-Signature="};
    const char *text = story_read(trial->story, story_path(trial->story, name), NULL);

    for (unsigned i = 0; i < 3; i++) {
        if (strstr(text, secrets[i])) {
            trial_finds(trial, 21, "%s tells secret number %u", name, i + 1);
        }
    }
}

static const char *left_in_bucket(struct trial *trial)
{
    return story_bucket(trial->story, story_text(trial->story, "%s/", trial->story->prefix));
}

/* Did a connector die, or end by itself and was started again? */
static bool had_successors(const struct trial *trial)
{
    return trial->has_past || story_number(trial->report, "kills") > 0 ||
           story_number(trial->report, "restarts") > 0;
}

void check_remains(struct trial *trial)
{
    struct story *story = trial->story;

    if (!story_wait_for(story, "the end of all locks", no_lock_is_held, trial, REST_SECONDS)) {
        trial_finds(trial, 19, "%s", story->complaint);
        story->complaint[0] = '\0';
    }
    const char *left = left_in_bucket(trial);
    if (left[0] && !trial->defect && had_successors(trial)) {
        trial_open_again(trial, "collecting");
        left = left_in_bucket(trial);
    }
    if (!story_is_well(story)) {
        trial_troubles(trial, "%s", story->complaint);
        story->complaint[0] = '\0';
    } else if (left[0]) {
        trial_finds(trial, 18, "left in the bucket: %.300s", left);
    }
    check_secrets(trial, "runtime.log");
    check_secrets(trial, "runtime.err");
}
