/*
 * txn/store: what is to be written. In: documents, grouped by binding, from Store requests. Out, at
 * StartCommit, when every file is stored: this shard's entries as one merge patch for the connector
 * state. Nothing that happens here is visible in a table.
 *
 *      COLLECTING (from the first Store) -> ENDING (StartCommit came) -> done
 */

#include "txn/engine.h"

#include "base/log.h"

#include <inttypes.h>

#define STAGING_STATES(X) X(COLLECTING) X(ENDING)
#define STAGING_ENUM(name) STAGING_##name,
enum staging_state { STAGING_STATES(STAGING_ENUM) };
static const char *const staging_state_names[] = {STAGING_STATES(OP_STATE_NAME)};
static const uint32_t staging_moves[] = {
    [STAGING_COLLECTING] = OP_MOVE(STAGING_ENDING),
};

/* One shard's patch: thousands of file names fit. */
#define PATCH_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct staging {
    struct op op;
    struct txn *txn;
    unsigned writers_left; /* ended, but not stored yet */
    bool commit_started;   /* fact: no more rows; every writer was ended */
};

static void wind_down(struct staging *self);

static void staging_step(struct op *op)
{
    struct staging *self = CONTAINER_OF(op, struct staging, op);

    switch ((enum staging_state)op->state) {
    case STAGING_COLLECTING:
        if (op_must_stop(op)) {
            wind_down(self);
        }
        if (self->commit_started) {
            op_set_state(op, STAGING_ENDING);
        }
        break;
    case STAGING_ENDING:
        if (self->writers_left == 0) {
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind staging_kind = {
    .name = "staging",
    .state_names = staging_state_names,
    .state_count = ARRAY_LEN(staging_state_names),
    .moves = staging_moves,
    .step = staging_step,
};

/* ---------------------------------------------------------------- entries */

static struct entry make_entry(struct txn *txn, const struct bound *bound)
{
    struct entry entry = {
        .state_key = bound->spec->state_key,
        .range = span_of(txn->range),
        .id = span_of(bound->id),
        .must_merge = bound->must_merge,
    };

    if (bound->put) {
        entry.store_files = writer_files(txn->work_arena, bound->put);
        entry.store_rows = stage_writer_rows(bound->put);
    }
    if (bound->del) {
        entry.delete_files = writer_files(txn->work_arena, bound->del);
        entry.delete_rows = stage_writer_rows(bound->del);
    }
    entry.widen.items = ARENA_ARRAY(txn->work_arena, bound->table.column_count, struct span);
    for (unsigned i = 0; i < bound->table.column_count; i++) {
        uint64_t bits = bound->put_facts.widen[i / 64] | bound->del_facts.widen[i / 64];
        if (bits >> (i % 64) & 1) {
            entry.widen.items[entry.widen.count++] = bound->columns[i].field;
        }
    }
    return entry;
}

static uint64_t file_bytes(const struct stage_writer *writer)
{
    unsigned count = 0;
    const struct stage_file *files = writer ? stage_writer_files(writer, &count) : NULL;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        bytes += files[i].bytes;
    }
    return bytes;
}

static void count_rows(struct txn *txn, const struct entry *entry)
{
    if (txn->options.figures) {
        txn->options.figures->stored_rows += entry->store_rows;
        txn->options.figures->deleted_rows += entry->delete_rows;
    }
}

/* The primary remembers its own entries here and not from v2's echo: in v1 there is none. */
static struct error *record_entries(struct txn *txn)
{
    arena_reset(txn->own_arena);
    txn->own = (struct entries){0};
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        struct bound *bound = &txn->bounds[i];
        if (!bound->put && !bound->del) {
            continue;
        }
        struct entry entry = make_entry(txn, bound);
        entries_add(&txn->own, txn->own_arena, &entry);
        count_rows(txn, &entry);
        if (!txn->is_primary) {
            continue;
        }
        if (entries_find(&txn->pending, entry.state_key, entry.range)) {
            return error_new(ERROR_STATE, ERROR_FATAL,
                             "staged work of an earlier transaction of %.*s was not applied yet",
                             SPAN_FMT(bound->table.identifier));
        }
        entries_add(&txn->pending, txn->pending_arena, &entry);
        txn->pending_bytes += file_bytes(bound->put) + file_bytes(bound->del);
    }
    return NULL;
}

static void count_truncated(struct txn *txn)
{
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        const struct bound *bound = &txn->bounds[i];
        if (bound->put && bound->put_facts.truncated_values) {
            if (txn->options.figures) {
                txn->options.figures->truncated_values += bound->put_facts.truncated_values;
            }
            log_event(LOG_WARN, "strings were cut at 65,535 bytes, the most that a column can hold",
                      LOG_INT("round", txn->round), LOG_SPAN("table", bound->table.identifier),
                      LOG_INT("values", bound->put_facts.truncated_values), LOG_END);
        }
    }
}

static void free_writers(struct txn *txn)
{
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        stage_writer_free(txn->bounds[i].put);
        stage_writer_free(txn->bounds[i].del);
        txn->bounds[i].put = txn->bounds[i].del = NULL;
    }
    txn->has_stored = false;
}

static void answer(struct txn *txn)
{
    struct buf patch;
    struct error *err = record_entries(txn);

    count_truncated(txn);
    free_writers(txn);
    if (err) {
        txn_fail(txn, err);
        return;
    }
    buf_init(&patch, PATCH_MAX_BYTES);
    entries_add_patch(&patch, &txn->own);
    if (buf_is_full(&patch)) {
        txn_fail(txn,
                 error_new(ERROR_STATE, ERROR_FATAL,
                           "the transaction staged more files than the connector state can name"));
    } else {
        txn_commit_started(txn, buf_view(&patch));
    }
    buf_done(&patch);
}

/* What this transaction stored is garbage: nothing names it. */
static void discard_files(struct txn *txn)
{
    struct trash trash;

    trash_init(&trash);
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        struct stage_writer *writers[] = {txn->bounds[i].put, txn->bounds[i].del};
        for (unsigned k = 0; k < ARRAY_LEN(writers); k++) {
            if (writers[k] && !stage_writer_error(writers[k])) {
                trash_add_files(&trash, writers[k]);
            }
        }
    }
    trash_send(txn, &trash);
    free_writers(txn);
}

static void staging_done(void *ctx, struct error *err)
{
    struct staging *self = ctx;
    struct txn *txn = self->txn;

    txn->staging = NULL;
    mem_free(self);
    if (err || txn->phase != PHASE_STARTING) {
        discard_files(txn);
        if (err) {
            txn_fail(txn, error_wrap(err, "staging documents"));
        }
    } else {
        answer(txn);
    }
    txn_background_ended(txn);
}

/* ---------------------------------------------------------------- rows */

static struct staging *staging_of(struct txn *txn)
{
    if (!txn->staging) {
        struct staging *self = mem_alloc(sizeof *self);
        self->txn = txn;
        txn->staging = self;
        txn->background++;
        op_init(&self->op, txn->loop, &staging_kind, staging_done, self);
        op_mark(&self->op);
    }
    return txn->staging;
}

static void writer_ended(void *ctx, struct error *err)
{
    struct staging *self = ctx;

    self->writers_left--;
    op_fail(&self->op, err);
    op_mark(&self->op);
}

static void end_writer(struct staging *self, struct stage_writer *writer)
{
    if (writer) {
        self->writers_left++;
        stage_writer_end(writer, writer_ended, self);
    }
}

/* Stores come grouped by binding: the files of the one before can be ended. */
static void end_binding(struct txn *txn)
{
    if (txn->has_stored) {
        struct bound *bound = &txn->bounds[txn->store_binding];
        end_writer(txn->staging, bound->put);
        end_writer(txn->staging, bound->del);
    }
}

/* A failed upload ends the transaction at once, not at StartCommit. */
static void upload_failed(void *ctx)
{
    struct txn *txn = ctx;
    const struct bound *bound = &txn->bounds[txn->store_binding];
    const struct error *err = bound->put ? stage_writer_error(bound->put) : NULL;

    if (!err && bound->del) {
        err = stage_writer_error(bound->del);
    }
    if (err) {
        txn_fail(txn, error_new(error_code_of(err), error_class_of(err),
                                "staging documents for %.*s: %s", SPAN_FMT(bound->table.identifier),
                                error_text(err)));
    }
}

static struct stage_writer *begin_writer(struct txn *txn, unsigned binding, const char *role)
{
    char *prefix = arena_printf(txn->work_arena, "%sr%06" PRIu64 "-b%04u-%s-", txn->prefix,
                                txn->round, binding, role);
    struct stage_writer *writer =
        stage_writer_new(txn->options.stage, txn->work_arena, span_of(prefix));
    stage_writer_on_failure(writer, upload_failed, txn);
    return writer;
}

static void reset_facts(struct txn *txn, struct bound *bound, struct row_facts *facts)
{
    *facts = (struct row_facts){
        .widen = ARENA_ARRAY(txn->work_arena, bound->table.column_count / 64 + 1, uint64_t)};
}

static struct error *begin_binding(struct txn *txn, unsigned binding)
{
    struct bound *bound = &txn->bounds[binding];
    unsigned char uuid[16];

    if (txn->has_stored && binding < txn->store_binding) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "documents of binding %u were stored after those of binding %u", binding,
                         txn->store_binding);
    }
    staging_of(txn);
    end_binding(txn);
    txn->store_binding = binding;
    txn->has_stored = true;
    random_uuid(uuid);
    text_uuid(bound->id, uuid);
    bound->must_merge = false;
    reset_facts(txn, bound, &bound->put_facts);
    reset_facts(txn, bound, &bound->del_facts);
    return NULL;
}

static void count_skipped(struct txn *txn)
{
    if (txn->options.figures) {
        txn->options.figures->skipped_deletes++;
    }
}

static struct error *add_row(struct stage_writer *writer,
                             const struct row_format *format,
                             struct row_facts *facts,
                             const struct value *keys,
                             const struct value *values,
                             struct span doc_json)
{
    struct buf *out = stage_writer_row_begin(writer);
    if (!out) {
        return NULL; /* the failure was reported by upload_failed */
    }
    size_t before = out->len;
    RETURN_IF_ERROR(row_encode(format, keys, values, doc_json, out, facts));
    stage_writer_row_end(writer, out->len - before);
    return NULL;
}

struct error *store_add(struct txn *txn,
                        unsigned binding,
                        const struct value *keys,
                        const struct value *values,
                        struct span doc_json,
                        bool exists,
                        bool is_delete)
{
    struct bound *bound = &txn->bounds[binding];
    struct error *err;

    if (txn->staging && txn->staging->commit_started) {
        return NULL; /* winding down: the failure is about to be reported */
    }
    if (!txn->has_stored || binding != txn->store_binding) {
        RETURN_IF_ERROR(begin_binding(txn, binding));
    }
    txn->store_count++;
    if (is_delete && txn->options.hard_delete) {
        if (!exists) {
            count_skipped(txn); /* created and deleted within the transaction */
            return NULL;
        }
        if (!bound->del) {
            bound->del = begin_writer(txn, binding, "delete");
        }
        err = add_row(bound->del, bound->keys, &bound->del_facts, keys, NULL, SPAN_NONE);
    } else {
        bound->must_merge |= exists && !bound->table.delta_updates;
        if (!bound->put) {
            bound->put = begin_writer(txn, binding, "store");
        }
        err = add_row(bound->put, bound->full, &bound->put_facts, keys, values, doc_json);
    }
    return error_wrap(err, "storing a document into %.*s", SPAN_FMT(bound->table.identifier));
}

void store_start_commit(struct txn *txn)
{
    struct staging *self = staging_of(txn);

    end_binding(txn);
    self->commit_started = true;
    op_mark(&self->op);
}

/* Ends what is open, since only ended writers answer, and hastens the end. */
static void wind_down(struct staging *self)
{
    struct txn *txn = self->txn;

    if (!self->commit_started) {
        end_binding(txn);
        self->commit_started = true;
    }
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        if (txn->bounds[i].put) {
            stage_writer_cancel(txn->bounds[i].put, NULL, NULL);
        }
        if (txn->bounds[i].del) {
            stage_writer_cancel(txn->bounds[i].del, NULL, NULL);
        }
    }
}

void store_cancel(struct txn *txn)
{
    if (txn->staging) {
        wind_down(txn->staging);
        op_cancel(&txn->staging->op);
    }
}
