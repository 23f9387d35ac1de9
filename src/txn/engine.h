#ifndef TXN_ENGINE_H
#define TXN_ENGINE_H

/*
 * The inside of struct txn, for the files of this room only.
 *
 *   txn.c     life cycle, the calls of the door, what may run next
 *   link.c    the kept connection, made anew when it broke
 *   side.c    the side connection, for what must not wait for the kept one
 *   widen.c   columns widened on it while rows are staged
 *   holdup.c  what a long statement waits for, asked on it
 *   open.c    Open: rows, owner mark, what the state left pending
 *   load.c    keys to look up, and the query that answers them
 *   store.c   rows to write, entries at StartCommit
 *   early.c   manifests put before Acknowledge comes
 *   commit.c  Acknowledge: applying what is pending
 *   attempt.c a plan run until it succeeds or must not be tried again
 *   delay.c   an Acknowledged that the schedule holds back
 *   trash.c   objects nobody needs any more, deleted in the background
 *   settle.c  an engine for one acknowledge, outside of a session
 *   plan.c, bounds.c, fence.c, entry.c, strip.c   pure: statements, ownership, documents
 */

#include "base/arena.h"
#include "base/random.h"
#include "base/text.h"
#include "runtime/backoff.h"
#include "runtime/timer.h"
#include "stage/row.h"
#include "txn/entry.h"
#include "txn/fence.h"
#include "txn/plan.h"
#include "txn/schedule.h"
#include "txn/txn.h"

/* ---- link.c */

/* One connection for the life of the engine: opening, lookups and applies take turns on it, which
 * the protocol guarantees. */
struct link {
    struct txn *txn;
    struct pgc_conn *conn; /* NULL before the first use and after it was dropped */
    bool is_set_up;        /* the session's settings were made on it */
};

/* done(ctx, err): connected and set up. An operation of its own; call it again after each failure.
 */
void link_connect(struct txn *txn, op_done_fn *done, void *ctx);
/* Closes whatever there is; a running batch ends with an error first. */
void link_drop(struct txn *txn, op_done_fn *done, void *ctx);
/* False also when it was dropped under the caller. */
bool link_is_connected(const struct txn *txn);
/* Index of the statement that failed last; no statement's when the connection is gone. */
unsigned link_last_failed(const struct txn *txn);

/* ---- side.c */

/* Stands in its owner's struct, which stays until done. */
struct side_task {
    struct pgc_statement statement; /* lent until done */
    struct error *(*on_row)(void *ctx, unsigned index, const struct pgc_row *row); /* or NULL */
    uint64_t bound_ms; /* from side_run to the answer, connecting and queueing included */
    op_done_fn *done;
    void *ctx;
    /* the side's */
    struct list_node node;
    uint64_t began_ms;
    bool is_under_way, is_unwanted;
};

/* done(ctx, err) always comes, from the loop: ERROR_TIMEOUT when the time was over, ERROR_CANCELLED
 * after side_give_up or side_cancel. Tasks run one after another. Not when the engine closes. */
void side_run(struct txn *txn, struct side_task *task);
/* Hastens its end; what runs is cancelled at the server. Harmless when it is not under way. */
void side_give_up(struct txn *txn, struct side_task *task);
void side_cancel(struct txn *txn); /* the engine closes */

/* ---- what a binding has under way in the current transaction */

struct bound {
    const struct txn_binding *spec;
    struct rs_table table;     /* a copy whose columns' widths follow our widenings */
    struct rs_column *columns; /* the same columns, writable */
    bool *is_widened;          /* by column: it is VARCHAR(MAX) in the warehouse already */
    uint64_t *is_asked;        /* bitmap by column: nothing more to do before the apply */
    struct row_format *keys, *full;

    struct stage_writer *lookup; /* keys to look up, NULL until the first */
    struct row_facts lookup_facts;
    struct key_bounds *lookup_bounds; /* by key column, in the work arena */

    struct stage_writer *writers[ENTRY_ROLES]; /* NULL until the role's first row */
    struct row_facts facts[ENTRY_ROLES];
    struct span delete_before; /* a backfill ended, see struct entry; in the work arena */
};

/* ---- objects that are to go */

struct trash { /* a list of keys in the making; see trash.c */
    struct arena *arena;
    struct span *keys;
    size_t count, cap;
};

void trash_init(struct trash *trash);
void trash_add(struct trash *trash, struct span key); /* copies */
void trash_add_files(struct trash *trash,
                     const struct stage_writer *writer); /* after its success */
/* All of from to the end of to; from is empty then. */
void trash_move(struct trash *to, struct trash *from);
/* Deletes them in the background and empties the list; failures are logged as warnings. */
void trash_send(struct txn *txn, struct trash *trash);
/* Lists what earlier processes of this task left; Opened waits for that (see trash.c). */
void trash_look(struct txn *txn);
/* The engine is open: what was found and no entry names is removed. */
void trash_sweep(struct txn *txn);
/* The engine closes: only a removal goes on, and only when there is time. */
void trash_cancel(struct txn *txn, bool graceful);

/* ---- the engine */

/* Bound of each arena of this room: lists of file names and statements, never documents. */
#define TXN_ARENA_BYTES ((size_t)256 * 1024 * 1024)

enum phase { /* which call may come next */
             PHASE_NEW,
             PHASE_OPENING,
             PHASE_OPENED,  /* acknowledge */
             PHASE_LOADING, /* load, flush */
             PHASE_FLUSHING,
             PHASE_STORING, /* store, start_commit */
             PHASE_STARTING,
             PHASE_CLOSING
};

struct txn {
    struct loop *loop;
    struct txn_options options;
    struct txn_callbacks callbacks;
    struct arena *arena; /* for the life of the engine */
    struct random random;

    bool is_primary; /* the range begins at zero: this shard applies for all */
    char range[RANGE_TEXT_LEN + 1];
    char *task_prefix; /* "<bucket path>/<task digest>/" */
    char *prefix;      /* task_prefix and "<range>/<incarnation>/" */
    struct rs_table metadata;
    struct link link;
    struct bound *bounds;
    struct bound **bounds_by_key; /* by state key */

    enum phase phase;
    bool has_failed;
    bool is_owner;         /* the owner mark was raised, where that is ours to do */
    bool has_looked;       /* what earlier processes left is listed, where that is ours to do */
    bool is_acknowledging; /* an acknowledge is being worked on, or its answer is held back */
    bool is_hurried;       /* no answer is held back any more */
    bool wants_flush;      /* flush came; it waits for the acknowledge */
    uint64_t round;        /* transactions started by this process */
    uint64_t acknowledged_round;

    struct schedule_history history;

    int64_t fence;          /* our owner mark; 0 before Open is done */
    struct span checkpoint; /* that the runtime is to go on from; ptr NULL: its own */

    /* What the connector state names and nobody has applied yet, and what was applied last. */
    struct arena *pending_arena;
    struct entries pending;
    uint64_t pending_bytes; /* of those that this process staged */
    struct arena *tokens_arena;
    struct tokens own_tokens; /* of our row, as it was last written */
    struct tokens applied;    /* of all rows of the task, as read at Open */

    /* This shard's entries of the transaction that StartCommit began: the v2 echo must equal them.
     */
    struct entries own;
    struct arena *own_arena;

    struct arena *work_arena; /* of the current transaction: file names */
    unsigned store_binding;   /* the binding of the last Store */
    bool has_stored;
    uint64_t load_count, loaded_count, store_count;

    /* Operations under way; NULL when none. */
    struct open_op *open_op;
    struct load_op *load_op;
    struct staging *staging;
    struct early *early; /* also when it is done, until the apply has taken it */
    struct commit_op *commit_op;
    struct delay *delay;
    struct sweep *sweep;
    struct side *side;
    struct list widenings; /* on the side connection */
    struct holdup *holdup; /* made at the first question, freed with the engine */
    unsigned background;   /* trash and side connections under way */

    struct close_op *close_op;
};

/* The first failure goes to the callbacks, later ones are dropped. Consumes err. */
void txn_fail(struct txn *txn, struct error *err);
/* The owner mark was raised, or the listing ended: `opened` when both have. */
void txn_opened_so_far(struct txn *txn);
/* Something ended: the closing engine looks whether it was the last. */
void txn_background_ended(struct txn *txn);
/* The lookup is answered, or there was nothing to look up: `flushed`. */
void txn_loads_answered(struct txn *txn);
/* Every file is stored: `started_commit`. */
void txn_commit_started(struct txn *txn, struct span patch_json);
/* The pending work is settled, and there was some: `applied`; then `acknowledged`, when the
 * schedule permits it. */
void txn_commit_settled(struct txn *txn, bool had_work, struct span patch_json);
/* It does: `acknowledged`. now_ns: for the schedule. */
void txn_answer_acknowledged(struct txn *txn, struct span patch_json, int64_t now_ns);
/* Cancels a writer in the background, deleting what it stored; *writer is blanked. NULL is fine. */
void txn_discard_writer(struct txn *txn, struct stage_writer **writer);
/* The object keys that a writer stored, as names in arena. */
struct names writer_files(struct arena *arena, const struct stage_writer *writer);
struct plan_copy txn_copy_options(const struct txn *txn);
struct bound *txn_find_bound(struct txn *txn, struct span state_key);
/* The column that holds when a document was published, if it is one that can be compared with an
 * instant; else NULL. */
const struct rs_column *txn_published_at(const struct bound *bound);
/* There is none, so what was published before this instant cannot be deleted. */
void txn_warn_unpublished(const struct bound *bound, struct span before);

/* Retry policy of whole SQL transactions (serialization failures, broken connections). */
extern const struct backoff_policy txn_sql_backoff;

/* ---- open.c, load.c, store.c, commit.c: each starts its operation and answers through the engine
 */
void open_start(struct txn *txn);
void open_cancel(struct txn *txn);

struct error *load_add(struct txn *txn, struct bound *bound, const struct value *keys) MUST_CHECK;
void load_start(struct txn *txn);
void load_cancel(struct txn *txn);
void load_add_wait(const struct txn *txn, struct buf *out);

/* txn/altered.c: tells of values of a binding's rows that were cut or changed. Before its writers
 * are freed. */
void altered_report(struct txn *txn, const struct bound *bound);

struct error *store_add(struct txn *txn,
                        unsigned binding,
                        const struct value *keys,
                        const struct value *values,
                        struct span doc_json,
                        bool exists,
                        bool is_delete) MUST_CHECK;
struct error *
store_delete_before(struct txn *txn, unsigned binding, int64_t seconds, int32_t nanos) MUST_CHECK;
void store_start_commit(struct txn *txn);
void store_cancel(struct txn *txn);

struct error *commit_merge_patches(struct txn *txn, struct span patches_json) MUST_CHECK;
void commit_start(struct txn *txn);
void commit_look_again(struct txn *txn); /* the early manifests are done */
void commit_cancel(struct txn *txn);
void commit_add_wait(const struct txn *txn, struct buf *out);

/* ---- widen.c: a column that turns out to be too narrow is widened at once, so that the apply need
 * not wait for it. Only a hint: the entry names the column in any case. */
void widen_begin_binding(struct bound *bound);
/* After each row: did it ask for something new? */
void widen_look(struct txn *txn, struct bound *bound, const struct row_facts *facts);
/* The apply begins: what is not widened by now it does itself. */
void widen_give_up(struct txn *txn);

/* ---- holdup.c */
bool holdup_ask(struct txn *txn); /* false: there is nothing to ask, or nobody */
/* "a lock held by process 12 (user etl, since 40 s)", "its turn in a queue of the warehouse";
 * nothing when nothing was found. */
struct span holdup_words(const struct txn *txn);
void holdup_forget(struct txn *txn);
void holdup_free(struct txn *txn);

/* ---- delay.c: answers the acknowledge, now or at its instant */
void delay_start(struct txn *txn, struct span patch_json);
void delay_look_again(struct txn *txn); /* is_hurried was set */
void delay_cancel(struct txn *txn);

/* ---- manifests.c: the lists of files that COPY reads, put side by side */
struct manifests {
    struct txn *txn;
    struct op *parent; /* marked when the last answer came */
    struct s3_call **calls;
    unsigned count, cap, left;
    struct error *err; /* the first failure, until taken */
};

void manifests_init(struct manifests *manifests, struct txn *txn, struct op *parent);
/* Puts one manifest that names these object keys; the key of the manifest is noted in trash. */
void manifests_put(struct manifests *manifests,
                   struct span key,
                   const struct names *files,
                   struct trash *trash);
void manifests_cancel(struct manifests *manifests);
/* True once all have answered: *ret_err is the first failure. */
bool manifests_take(struct manifests *manifests, struct error **ret_err);
void manifests_done(struct manifests *manifests);

/* ---- early.c: manifests of what StartCommit promised, put at once */
void early_start(struct txn *txn);
bool early_is_under_way(const struct txn *txn);
/* The key of the manifest that names exactly these files; nothing when there is none. Not while it
 * is under way. */
struct span early_find(const struct txn *txn, const struct names *files);
/* Its manifests are the apply's affair from here on: their keys go to its trash. Not while it is
 * under way; harmless when there is none. */
void early_end(struct txn *txn, struct trash *trash);
void early_cancel(struct txn *txn, bool graceful); /* the engine closes */

/* ---- attempt.c: a plan, run until it succeeds or must not be tried again */
struct attempt_hooks {
    struct error *(*on_row)(void *ctx, unsigned index, const struct pgc_row *row);
    struct error *(*on_result)(void *ctx, unsigned index, int64_t tag_rows); /* may be NULL */
    /* Before each try (number 1 is the first): forgets what the last one taught, may change the
     * plan. */
    struct error *(*prepare)(void *ctx, unsigned number);
    /* May a failure that would pass by itself be followed by another try? */
    bool (*may_retry)(void *ctx);
    /* Did the failure say that an earlier try had done it all? NULL: that cannot be. */
    bool (*was_applied)(void *ctx);
    /* What the COPY for this binding read, for the explanation of its failure. */
    struct names (*copied_files)(void *ctx, unsigned binding);
    const char *retry_message; /* logged when another try follows */
    enum figure_retry retry;   /* and how it is counted */
    void *ctx;
};
/* plan is lent until done. The returned operation may be cancelled until done. */
struct op *attempt_start(struct txn *txn,
                         const struct plan *plan,
                         const struct attempt_hooks *hooks,
                         op_done_fn *done,
                         void *ctx);
/* What it waits for, in words: see txn_add_wait. */
void attempt_add_wait(const struct txn *txn, struct op *attempt, struct buf *out);

/* ---- explain.c: a COPY failed; what the server's table of load errors says becomes part of err.
 * Consumes err; done(ctx, err) always has an error. files: what was copied. The connection must be
 * out of the failed transaction. */
void explain_start(struct txn *txn,
                   struct error *err,
                   struct span table_identifier,
                   const struct names *files,
                   op_done_fn *done,
                   void *ctx);

#endif
