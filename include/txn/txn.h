#ifndef TXN_TXN_H
#define TXN_TXN_H

/*
 * The engine: what a transaction is, and in which order it commits. It does not know the wire; it
 * gets plain calls and answers through one small table of functions, so tests and benches drive it
 * without a protocol.
 *
 * The pattern. The runtime's recovery log is authoritative. Store stages rows in S3; StartCommit
 * answers with a merge patch of the connector state that names the staged files (entries), and the
 * runtime commits it together with its checkpoint. Acknowledge applies what the state names in one
 * SQL transaction: LOCK the metadata table first, then read the task's rows under the lock, then
 * the data, then the tokens, then COMMIT. Two facts in those rows make this exactly once:
 *
 *   fence   the owner mark: raised under the lock by each Open of the shard whose range begins at
 * zero. An apply of an instance that is not the newest owner finds another mark and stops. tokens
 * {state key: {range: id}} of the entries applied last. An entry whose id is there was applied by a
 * COMMIT whose reply was lost: it is skipped, never applied again.
 *
 * Calls come in the protocol's order (connector/session sees to it):
 *      open -> { acknowledge, load*, flush, store*, start_commit }*  -> close
 * load may come before `acknowledged` was answered; its keys are only staged until flush.
 */

#include "base/buf.h"
#include "base/error.h"
#include "base/figures.h"
#include "base/value.h"
#include "pg/conn.h"
#include "redshift/sql.h"
#include "runtime/credit.h"
#include "stage/writer.h"
#include "txn/schedule.h"

struct txn;

/* Answers. Each comes from the loop, never from inside a call, except `failed`, which may come from
 * anywhere. Spans are lent for the call. */
struct txn_callbacks {
    void (*opened)(void *ctx);
    /* New data are in the tables; `acknowledged` follows, now or when the schedule permits it. May
     * be NULL. */
    void (*applied)(void *ctx);
    void (*acknowledged)(void *ctx, struct span patch_json); /* empty: nothing changed */
    void (*loaded)(void *ctx, unsigned binding, struct span doc_json);
    void (*flushed)(void *ctx);
    void (*started_commit)(void *ctx, struct span patch_json);
    /* The answer to txn_ask_wait. May be NULL when that is not called. */
    void (*wait_known)(void *ctx);
    /* The engine is lost: nothing follows but the end of txn_close. Owns err. */
    void (*failed)(void *ctx, struct error *err);
    void *ctx;
};

struct txn_binding {
    struct rs_table table; /* columns with their actual widths as read at Open */
    struct span state_key;
};

/* Everything is copied or outlives the engine as said. */
struct txn_options {
    const char *task; /* materialization name */
    uint32_t key_begin, key_end;
    struct span state_json;             /* the opened connector state; empty: none */
    const struct txn_binding *bindings; /* lent until txn_close is done */
    unsigned binding_count;
    struct span metadata_schema; /* of flow_checkpoints_v1; empty: the default one */
    bool has_tokens_column;      /* the metadata table has checkpoint_tokens already */
    bool hard_delete;
    bool case_sensitive;     /* enable_case_sensitive_identifier */
    const char *bucket_path; /* cleaned; "" for none */
    /* How many files the rows of a binding are spread over. 0: as many as COPY reads side by side.
     */
    unsigned files_per_binding;

    const struct pgc_options *pg;    /* lent until done */
    struct s3 *s3;                   /* lent until done */
    struct stage *stage;             /* lent until done */
    const char *iam_role;            /* for COPY; NULL or "": the keys of s3; lent until done */
    const struct schedule *schedule; /* lent until done; NULL: answers are never held back */
    struct figures *figures;         /* lent until done */
    uint64_t seed;                   /* jitter */
    int64_t started_ms; /* wall clock when this process started; part of object names */
};

struct txn *txn_new(struct loop *loop,
                    const struct txn_options *options,
                    const struct txn_callbacks *callbacks);

/* The shard whose range begins at zero parses the state (strictly: what it does not know it
 * refuses), connects, reads the task's rows, raises the owner mark, and lists the task's objects;
 * then `opened`. What earlier processes left behind, of whatever range, and the state does not name
 * is deleted in the background. The other shards do nothing of this: they use the warehouse only to
 * look up documents. */
void txn_open(struct txn *txn);

/* After `opened`: the checkpoint, as protobuf bytes, that the runtime is to go on from instead of
 * its own, because another version of this connector kept it in the warehouse; ptr NULL for none.
 * Lent until the engine is freed. */
struct span txn_checkpoint(const struct txn *txn);

/* patches_json: v2's array of every shard's StartedCommit patches; empty in v1 and at the first
 * acknowledge of a session. Applies all pending entries, then `acknowledged`. */
void txn_acknowledge(struct txn *txn, struct span patches_json);
/* From now on no answer is held back for the schedule: the one that is comes at once. */
void txn_hurry(struct txn *txn);
/* The instant of the schedule before which no further answer comes once the task has caught up, in
 * nanoseconds since 1970. 0: there is no schedule, or nothing was acknowledged yet. */
int64_t txn_next_acknowledgement_ns(const struct txn *txn);

/* keys: table.key_count values. The error is the transaction's end. */
struct error *txn_load(struct txn *txn, unsigned binding, const struct value *keys) MUST_CHECK;
/* Before flush: a backfill of the binding's source ended, and what was published before this time
 * (seconds since 1970) is superseded. It is deleted when this transaction is applied, after its
 * rows are in the table. Nothing is done for delta updates, nor for a table without the time of
 * publication, which is logged. */
struct error *
txn_delete_before(struct txn *txn, unsigned binding, int64_t seconds, int32_t nanos) MUST_CHECK;
void txn_flush(struct txn *txn);
struct error *txn_store(struct txn *txn,
                        unsigned binding,
                        const struct value *keys,
                        const struct value *values,
                        struct span doc_json,
                        bool exists,
                        bool is_delete) MUST_CHECK;
void txn_start_commit(struct txn *txn);

/* While stdout is backed up no further rows are read from the warehouse. */
void txn_pause_loaded(struct txn *txn);
void txn_resume_loaded(struct txn *txn);

/* What is staged and not applied yet: entries that the state names, and the bytes that this process
 * uploaded for them. Zero entries in a shard that does not apply. */
void txn_backlog(const struct txn *txn, uint64_t *ret_entries, uint64_t *ret_bytes);
/* What a piece of work waits for, in words for a progress line: "the warehouse: merging into
 * public.orders". Adds nothing when that work is not under way. */
enum txn_work { TXN_OPENING, TXN_LOOKING_UP, TXN_APPLYING };
void txn_add_wait(const struct txn *txn, enum txn_work work, struct buf *out);
/* Asks the warehouse, on a connection of its own, what the statement that runs waits for: whose
 * lock, or a queue. When true, wait_known comes within seconds, and txn_add_wait says what was
 * found until the next question. False: nothing runs, or the user may not ask. A failure is a log
 * line and nothing else. */
bool txn_ask_wait(struct txn *txn);

/* Winds down from any state: an apply that runs is finished when graceful, else abandoned (it rolls
 * back or is settled by the next Open); files that no entry names are deleted. done comes once; the
 * engine is freed by its owner in or after it. */
void txn_close(struct txn *txn, bool graceful, op_done_fn *done, void *ctx);
void txn_free(struct txn *txn);

#endif
