#ifndef TXN_PLAN_H
#define TXN_PLAN_H

/*
 * Deciding is pure: the facts of what is to be applied become the list of statements that apply it.
 * The texts and the list lie in one arena.
 *
 *   widenings, each in a flight of its own (refused inside a transaction)
 *   BEGIN | LOCK metadata | then in one flight:
 *     read the task's rows           who owns the task, what was applied already
 *     per binding, whichever of these there is work for
 *       documents that go:    CREATE TEMP, COPY, count, DELETE USING, DROP TEMP
 *       those that exist:     CREATE TEMP, COPY, count, MERGE, DROP TEMP
 *       those that are new:   COPY, count into the target itself
 *       a backfill's end:     DELETE of what was published before it
 *     write the tokens
 *   | COMMIT, sent only after every answer of that flight was looked at |
 *
 * New documents come last: DELETE and MERGE go over a table that is by so much smaller, and see
 * what the lookups saw. Redshift takes texts that differ in blanks at their end for equal; the
 * other way round, such a text that is new could be taken for one that is to be replaced or
 * deleted.
 *
 * A transaction of few rows goes through S3 like any other, and not as literals of an INSERT: its
 * rows would have to be kept in the connector state from StartedCommit on, and the same value would
 * not always become the same (COPY cuts decimals where INSERT rounds them, and cuts texts that
 * INSERT refuses). Nor was it seen to be faster: of 300 rows of 1 KB the INSERT alone took 60 to
 * 110 ms in the sandbox, where a whole apply with its COPY took 110 to 180.
 */

#include "base/arena.h"
#include "pg/conn.h"
#include "redshift/sql.h"
#include "txn/bounds.h"
#include "txn/entry.h"

enum plan_step {
    PLAN_WIDEN,
    PLAN_BEGIN,
    PLAN_LOCK,
    PLAN_CHECK,
    PLAN_TEMP,
    PLAN_COPY,
    PLAN_COUNT,
    PLAN_DELETE,
    PLAN_MERGE,
    PLAN_DROP,
    PLAN_EXPIRE,
    PLAN_TOKENS,
    PLAN_QUERY,
    PLAN_COMMIT,
    PLAN_ROLLBACK
};

/* Work that was staged without counting its rows: whatever COPY loads is right. */
#define PLAN_UNCOUNTED UINT64_MAX

struct plan_note {
    enum plan_step step;
    unsigned binding;               /* index, for all but BEGIN, LOCK, CHECK, TOKENS, COMMIT */
    uint64_t expected_rows;         /* PLAN_COUNT: what COPY must have loaded, or PLAN_UNCOUNTED */
    const struct rs_column *column; /* PLAN_WIDEN */
    bool ends_binding;              /* the last statement that works on this binding */
};

/* statements[i] does what notes[i] says. */
struct plan {
    struct arena *arena;
    struct pgc_statement *statements;
    struct plan_note *notes;
    unsigned count, cap;
};

/* The COPY options that are the same for all. */
struct plan_copy {
    const char *bucket;
    const char *iam_role; /* NULL or "": these keys */
    const char *access_key_id;
    const struct secret *secret_access_key, *session_token;
    const char *region;
    bool zstd; /* of lookups; each plan_work says it for itself */
    bool case_sensitive;
};

struct plan_staged {
    struct span manifest; /* object key; empty: there is no such work */
    uint64_t rows;        /* PLAN_UNCOUNTED: nobody knows */
};

/* One binding's staged work, of all shards together. */
struct plan_work {
    unsigned binding;
    const struct rs_table *table;
    struct plan_staged staged[ENTRY_ROLES];
    bool zstd; /* how its files are compressed */
    const struct rs_column **widen;
    unsigned widen_count;
    struct span delete_before;            /* an instant; empty: none */
    const struct rs_column *published_at; /* that is compared with it */
};

struct plan_apply {
    const struct rs_table *metadata;
    const char *task;
    uint32_t key_begin, key_end;
    int64_t fence;
    struct span tokens_json; /* as they will be */
    /* The check gets a flight of its own: after a failure whose outcome is not known the data is
     * not touched before the tokens were looked at. Otherwise it leads the flight of the data,
     * which saves a round trip. */
    bool must_check_first;
    const struct plan_work *works; /* in binding order: one global order of tables */
    unsigned work_count;
    struct plan_copy copy;
};

void plan_apply(struct plan *plan, struct arena *arena, const struct plan_apply *facts);

/* Overwrites the texts, which hold the credentials of COPY. Once nothing is sent from them any
 * more. */
void plan_wipe(struct plan *plan);

/* Another shard, or this one before it was killed, or the side connection, did it already. */
void plan_allow_widened(struct pgc_statement *widening);

/* One binding's keys to look up. */
struct plan_lookup {
    unsigned binding;
    const struct rs_table *table;
    struct span manifest;
    uint64_t rows;
    uint32_t key_text_bytes;         /* the longest string key */
    const struct key_bounds *bounds; /* by key column; NULL: none */
};

/* BEGIN, temp tables, COPY and counts, one query over all bindings, ROLLBACK (which takes the temp
 * tables away), in one flight. */
void plan_load(struct plan *plan,
               struct arena *arena,
               const struct plan_lookup *lookups,
               unsigned count,
               const struct plan_copy *copy);

#endif
