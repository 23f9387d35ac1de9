/*
 * txn/txn: the engine's door. In: the calls of connector/session, in the protocol's order. Out: one
 * answer to each, and the one failure. The work is done next door (open, load, store, commit,
 * trash); here stands what may follow what, what the operations share, and how it all ends.
 *
 *      OPENING -> OPENED -> LOADING -> FLUSHING -> STORING -> STARTING -> OPENED ...        any ->
 * CLOSING
 *
 * An acknowledge runs beside LOADING: keys of the next transaction are staged while the last one is
 * applied. Only the lookup waits for it.
 */

#include "txn/engine.h"

#include "base/digest.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>

const struct backoff_policy txn_sql_backoff = {
    .max_attempts = 5, .first_ms = 1000, .cap_ms = 20000};

/* ---------------------------------------------------------------- life cycle */

static void bind(struct txn *txn, unsigned index)
{
    struct bound *bound = &txn->bounds[index];
    const struct rs_table *table = &txn->options.bindings[index].table;
    struct row_column *columns = ARENA_ARRAY(txn->arena, table->column_count, struct row_column);

    bound->spec = &txn->options.bindings[index];
    bound->table = *table;
    bound->columns = ARENA_ARRAY(txn->arena, table->column_count, struct rs_column);
    bound->is_widened = ARENA_ARRAY(txn->arena, table->column_count, bool);
    bound->is_asked = ARENA_ARRAY(txn->arena, table->column_count / 64 + 1, uint64_t);
    memcpy(bound->columns, table->columns, table->column_count * sizeof *bound->columns);
    bound->table.columns = bound->columns;
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        bound->is_widened[i] = column->char_max_length >= ROW_MAX_TEXT;
        columns[i] = (struct row_column){
            .field = column->field,
            .converter = column->type.converter,
            .is_text = column->type.is_text,
            .is_key = column->is_key,
            .text_width = column->char_max_length,
            .domain = column->domain,
        };
    }
    unsigned values = table->column_count - table->key_count - table->has_document;
    bound->keys = row_format_new(txn->arena, columns, table->key_count, values, table->has_document,
                                 ROW_KEYS);
    bound->full = row_format_new(txn->arena, columns, table->key_count, values, table->has_document,
                                 ROW_FULL);
}

/* "<bucket path>/<16 hex digits of the task's name>/<range>/<incarnation>/", where the incarnation
 * begins with the start of the process: a later process can tell whose object it is, and that its
 * maker is older, without any list. */
static void name_objects(struct txn *txn)
{
    unsigned char digest[DIGEST_SHA256_BYTES], uuid[16];
    char hex[17] = {0}, id[TEXT_UUID_LEN + 1];
    const char *path = txn->options.bucket_path;

    digest_sha256(span_of(txn->options.task), digest);
    text_hex(hex, digest, 8);
    random_uuid(uuid);
    text_uuid(id, uuid);
    range_text(txn->range, txn->options.key_begin, txn->options.key_end);
    txn->task_prefix = arena_printf(txn->arena, "%s%s%s/", path, path[0] ? "/" : "", hex);
    txn->prefix = arena_printf(txn->arena, "%s%s/%012" PRIx64 "-%s/", txn->task_prefix, txn->range,
                               (uint64_t)txn->options.started_ms, id);
}

static int compare_bounds(const void *a, const void *b)
{
    const struct bound *const *left = a, *const *right = b;
    return span_compare((*left)->spec->state_key, (*right)->spec->state_key);
}

struct txn *
txn_new(struct loop *loop, const struct txn_options *options, const struct txn_callbacks *callbacks)
{
    struct txn *txn = mem_alloc(sizeof *txn);

    txn->loop = loop;
    txn->options = *options;
    txn->callbacks = *callbacks;
    txn->arena = arena_new(TXN_ARENA_BYTES);
    txn->pending_arena = arena_new(TXN_ARENA_BYTES);
    txn->tokens_arena = arena_new(TXN_ARENA_BYTES);
    txn->own_arena = arena_new(TXN_ARENA_BYTES);
    txn->work_arena = arena_new(TXN_ARENA_BYTES);
    txn->random.state = options->seed;
    txn->link.txn = txn;
    list_init(&txn->widenings);
    txn->is_primary = options->key_begin == 0;
    txn->options.task = arena_strdup(txn->arena, options->task);
    txn->options.bucket_path = arena_strdup(txn->arena, options->bucket_path);
    txn->options.state_json = arena_span(txn->arena, options->state_json);
    rs_metadata_table(txn->arena, options->metadata_schema, &txn->metadata);
    name_objects(txn);
    if (options->stage) {
        stage_set_files(options->stage, options->files_per_binding);
    }
    txn->bounds = ARENA_ARRAY(txn->arena, options->binding_count, struct bound);
    txn->bounds_by_key = ARENA_ARRAY(txn->arena, options->binding_count, struct bound *);
    for (unsigned i = 0; i < options->binding_count; i++) {
        bind(txn, i);
        txn->bounds_by_key[i] = &txn->bounds[i];
    }
    if (options->binding_count) {
        qsort(txn->bounds_by_key, options->binding_count, sizeof(struct bound *), compare_bounds);
    }
    return txn;
}

void txn_free(struct txn *txn)
{
    if (!txn) {
        return;
    }
    CHECK(txn->background == 0 && !txn->link.conn);
    holdup_free(txn);
    arena_free(txn->work_arena);
    arena_free(txn->own_arena);
    arena_free(txn->tokens_arena);
    arena_free(txn->pending_arena);
    arena_free(txn->arena);
    mem_free(txn);
}

/* ---------------------------------------------------------------- shared by the operations */

void txn_fail(struct txn *txn, struct error *err)
{
    if (txn->has_failed || txn->phase == PHASE_CLOSING) {
        error_drop(err,
                   txn->has_failed ? "the first failure is reported" : "the engine is closing");
        return;
    }
    txn->has_failed = true;
    txn->callbacks.failed(txn->callbacks.ctx, err);
}

struct plan_copy txn_copy_options(const struct txn *txn)
{
    const bool has_role = txn->options.iam_role && *txn->options.iam_role;
    const struct s3_keys none = {.access_key_id = NULL};
    const struct s3_keys keys = has_role ? none : s3_keys(txn->options.s3, NULL);

    return (struct plan_copy){
        .bucket = s3_bucket(txn->options.s3),
        .iam_role = txn->options.iam_role,
        .access_key_id = keys.access_key_id,
        .secret_access_key = keys.secret_access_key,
        .session_token = keys.session_token,
        .region = s3_region(txn->options.s3),
        .zstd = txn->options.stage && stage_compression(txn->options.stage) == STAGE_ZSTD,
        .case_sensitive = txn->options.case_sensitive,
    };
}

struct bound *txn_find_bound(struct txn *txn, struct span state_key)
{
    const struct txn_binding spec = {.state_key = state_key};
    const struct bound key = {.spec = &spec};
    const struct bound *wanted = &key;
    unsigned count = txn->options.binding_count;
    struct bound **found =
        count ? bsearch(&wanted, txn->bounds_by_key, count, sizeof(struct bound *), compare_bounds)
              : NULL;

    return found ? *found : NULL;
}

const struct rs_column *txn_published_at(const struct bound *bound)
{
    for (unsigned i = bound->table.key_count; i < bound->table.column_count; i++) {
        const struct rs_column *column = &bound->table.columns[i];
        if (span_is(column->field, "flow_published_at")) {
            return !column->type.is_user_ddl && span_is(column->type.ddl, "TIMESTAMPTZ") ? column
                                                                                         : NULL;
        }
    }
    return NULL;
}

void txn_warn_unpublished(const struct bound *bound, struct span before)
{
    log_event(LOG_WARN,
              "a backfill ended, but the table has no time of publication: older rows stay",
              LOG_SPAN("table", bound->table.identifier), LOG_SPAN("before", before), LOG_END);
}

struct names writer_files(struct arena *arena, const struct stage_writer *writer)
{
    unsigned count;
    const struct stage_file *files = stage_writer_files(writer, &count);
    struct names names = {ARENA_ARRAY(arena, count, struct span), count};

    for (unsigned i = 0; i < count; i++) {
        names.items[i] = files[i].key;
    }
    return names;
}

struct discarded {
    struct txn *txn;
    struct stage_writer *writer;
};

static void writer_discarded(void *ctx, struct error *err)
{
    struct discarded *self = ctx;
    struct txn *txn = self->txn;

    error_drop(err, "the writer was given up");
    stage_writer_free(self->writer);
    mem_free(self);
    txn_background_ended(txn);
}

void txn_discard_writer(struct txn *txn, struct stage_writer **writer)
{
    if (*writer) {
        struct discarded *self = mem_alloc(sizeof *self);
        self->txn = txn;
        self->writer = *writer;
        *writer = NULL;
        txn->background++;
        stage_writer_cancel(self->writer, writer_discarded, self);
    }
}

/* ---------------------------------------------------------------- phases */

void txn_open(struct txn *txn)
{
    struct error *err = NULL;

    CHECK(txn->phase == PHASE_NEW);
    txn->phase = PHASE_OPENING;
    if (txn->is_primary) {
        err = entries_read(&txn->pending, txn->pending_arena, txn->options.state_json);
    }
    if (err) {
        err = error_wrap(err, "reading the connector state");
        error_set_hint(err, "The state was written by another version of this connector. Run that "
                            "version, or backfill.");
    }
    open_start(txn);
    trash_look(txn);
    if (err) {
        open_cancel(txn);
        txn_fail(txn, err);
    }
}

void txn_opened_so_far(struct txn *txn)
{
    if (txn->phase == PHASE_OPENING && txn->is_owner && txn->has_looked && !txn->has_failed) {
        txn->phase = PHASE_OPENED;
        trash_sweep(txn);
        txn->callbacks.opened(txn->callbacks.ctx);
    }
}

struct span txn_checkpoint(const struct txn *txn)
{
    return txn->checkpoint;
}

void txn_acknowledge(struct txn *txn, struct span patches_json)
{
    CHECK(txn->phase == PHASE_OPENED && !txn->is_acknowledging);
    txn->phase = PHASE_LOADING;
    txn->is_acknowledging = true;
    struct error *err = commit_merge_patches(txn, patches_json);
    if (err) {
        txn_fail(txn, err);
    } else {
        commit_start(txn);
    }
}

static void flush_if_ready(struct txn *txn)
{
    if (txn->wants_flush && !txn->is_acknowledging && !txn->has_failed) {
        txn->wants_flush = false;
        if (txn->load_count) {
            load_start(txn);
        } else {
            txn_loads_answered(txn);
        }
    }
}

void txn_commit_settled(struct txn *txn, bool had_work, struct span patch_json)
{
    if (txn->phase == PHASE_CLOSING) {
        txn->is_acknowledging = false;
        return;
    }
    if (had_work && txn->callbacks.applied) {
        txn->callbacks.applied(txn->callbacks.ctx);
    }
    delay_start(txn, patch_json);
}

void txn_answer_acknowledged(struct txn *txn, struct span patch_json, int64_t now_ns)
{
    txn->is_acknowledging = false;
    txn->acknowledged_round = txn->round;
    schedule_note_acknowledged(&txn->history, now_ns);
    txn->callbacks.acknowledged(txn->callbacks.ctx, patch_json);
    flush_if_ready(txn);
}

void txn_hurry(struct txn *txn)
{
    txn->is_hurried = true;
    delay_look_again(txn);
}

int64_t txn_next_acknowledgement_ns(const struct txn *txn)
{
    if (!txn->options.schedule || !txn->history.has_acknowledged) {
        return 0;
    }
    return schedule_next(txn->options.schedule, txn->history.acknowledged_ns);
}

struct error *txn_load(struct txn *txn, unsigned binding, const struct value *keys)
{
    CHECK(txn->phase == PHASE_LOADING);
    if (txn->has_failed) {
        return NULL;
    }
    if (binding >= txn->options.binding_count) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "Load names binding %u of %u", binding,
                         txn->options.binding_count);
    }
    if (txn->bounds[binding].table.delta_updates) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "Load names binding %u, which is of delta updates", binding);
    }
    return load_add(txn, &txn->bounds[binding], keys);
}

struct error *txn_delete_before(struct txn *txn, unsigned binding, int64_t seconds, int32_t nanos)
{
    CHECK(txn->phase == PHASE_LOADING);
    if (txn->has_failed) {
        return NULL;
    }
    if (binding >= txn->options.binding_count) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "Flush names binding %u of %u", binding,
                         txn->options.binding_count);
    }
    return store_delete_before(txn, binding, seconds, nanos);
}

void txn_flush(struct txn *txn)
{
    CHECK(txn->phase == PHASE_LOADING);
    txn->phase = PHASE_FLUSHING;
    txn->wants_flush = true;
    flush_if_ready(txn);
}

void txn_loads_answered(struct txn *txn)
{
    txn->phase = PHASE_STORING;
    txn->callbacks.flushed(txn->callbacks.ctx);
}

struct error *txn_store(struct txn *txn,
                        unsigned binding,
                        const struct value *keys,
                        const struct value *values,
                        struct span doc_json,
                        bool exists,
                        bool is_delete)
{
    CHECK(txn->phase == PHASE_STORING);
    if (txn->has_failed) {
        return NULL;
    }
    if (binding >= txn->options.binding_count) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "Store names binding %u of %u", binding,
                         txn->options.binding_count);
    }
    return store_add(txn, binding, keys, values, doc_json, exists, is_delete);
}

void txn_start_commit(struct txn *txn)
{
    CHECK(txn->phase == PHASE_STORING);
    txn->phase = PHASE_STARTING;
    schedule_note_stored(&txn->history, txn->store_count);
    store_start_commit(txn);
}

void txn_commit_started(struct txn *txn, struct span patch_json)
{
    txn->phase = PHASE_OPENED;
    txn->round++;
    txn->load_count = txn->loaded_count = txn->store_count = 0;
    txn->callbacks.started_commit(txn->callbacks.ctx, patch_json);
    arena_reset(txn->work_arena);
}

void txn_pause_loaded(struct txn *txn)
{
    if (txn->load_op && txn->link.conn) {
        pgc_pause(txn->link.conn);
    }
}

void txn_resume_loaded(struct txn *txn)
{
    if (txn->load_op && txn->link.conn) {
        pgc_resume(txn->link.conn);
    }
}

/* ---------------------------------------------------------------- what is known of it */

void txn_backlog(const struct txn *txn, uint64_t *ret_entries, uint64_t *ret_bytes)
{
    *ret_entries = txn->pending.count;
    *ret_bytes = txn->pending_bytes;
}

static void add_opening_wait(const struct txn *txn, struct buf *out)
{
    struct span words = holdup_words(txn);

    if (words.len > 0) {
        buf_add_span(out, words);
        buf_add_str(out, ", for ");
    } else {
        buf_add_str(out, "the warehouse: ");
    }
    buf_add_str(out, "taking over the task");
}

bool txn_ask_wait(struct txn *txn)
{
    holdup_forget(txn);
    return holdup_ask(txn);
}

void txn_add_wait(const struct txn *txn, enum txn_work work, struct buf *out)
{
    switch (work) {
    case TXN_OPENING:
        add_opening_wait(txn, out);
        break;
    case TXN_LOOKING_UP:
        load_add_wait(txn, out);
        break;
    case TXN_APPLYING:
        commit_add_wait(txn, out);
        break;
    }
}

/* ---------------------------------------------------------------- the end */

/*      WAITING (operations and background work end) -> DROPPING (the connection) -> done */
#define CLOSE_STATES(X) X(WAITING) X(DROPPING)
#define CLOSE_ENUM(name) CLOSE_##name,
enum close_state { CLOSE_STATES(CLOSE_ENUM) };
static const char *const close_state_names[] = {CLOSE_STATES(OP_STATE_NAME)};
static const uint32_t close_moves[] = {
    [CLOSE_WAITING] = OP_MOVE(CLOSE_DROPPING),
};

/* For deleting and aborting at a bucket that does not answer. Whoever stops processes waits half a
 * minute as a rule before he kills them (Kubernetes; systemd as in deploy/). */
#define CLOSE_LIMIT_MS 20000

struct close_op {
    struct op op;
    struct txn *txn;
    bool graceful;
    struct op_reply cut;  /* the connection is dropped under whatever runs on it */
    struct op_reply drop; /* and once more, when nothing uses it any longer */
    op_done_fn *done;
    void *ctx;
};

void txn_background_ended(struct txn *txn)
{
    CHECK(txn->background > 0);
    txn->background--;
    if (txn->close_op) {
        op_mark(&txn->close_op->op);
    }
}

static void close_step(struct op *op)
{
    struct close_op *self = CONTAINER_OF(op, struct close_op, op);
    struct txn *txn = self->txn;
    struct error *err = NULL;

    switch ((enum close_state)op->state) {
    case CLOSE_WAITING:
        if (op_reply_take(&self->cut, &err)) {
            error_drop(err, "closing a connection cannot fail");
        }
        if (txn->background == 0 && !self->cut.awaited) {
            op_reply_expect(&self->drop, op);
            link_drop(txn, op_reply_done, &self->drop);
            op_set_state(op, CLOSE_DROPPING);
        }
        break;
    case CLOSE_DROPPING:
        if (op_reply_take(&self->drop, &err)) {
            error_drop(err, "closing a connection cannot fail");
            op_finish_won(op);
        }
        break;
    }
}

static const struct op_kind close_kind = {
    .name = "close",
    .state_names = close_state_names,
    .state_count = ARRAY_LEN(close_state_names),
    .moves = close_moves,
    .step = close_step,
};

static void close_done(void *ctx, struct error *err)
{
    struct close_op *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    self->txn->close_op = NULL;
    mem_free(self);
    done(done_ctx, err);
}

/* Whatever is under way is told to stop; a running statement is cancelled and loses its connection,
 * and its transaction with it. What was staged and is named by no entry is deleted. */
static void cancel_all(struct txn *txn, struct close_op *self)
{
    open_cancel(txn);
    load_cancel(txn);
    store_cancel(txn);
    early_cancel(txn, self->graceful);
    trash_cancel(txn, self->graceful);
    delay_cancel(txn);
    side_cancel(txn);
    if (!self->graceful) {
        s3_give_up_within(txn->options.s3, CLOSE_LIMIT_MS);
        commit_cancel(txn);
        op_reply_expect(&self->cut, &self->op);
        link_drop(txn, op_reply_done, &self->cut);
    }
}

void txn_close(struct txn *txn, bool graceful, op_done_fn *done, void *ctx)
{
    struct close_op *self = mem_alloc(sizeof *self);

    CHECK(!txn->close_op);
    self->txn = txn;
    self->graceful = graceful;
    self->done = done;
    self->ctx = ctx;
    txn->close_op = self;
    txn->phase = PHASE_CLOSING;
    op_init(&self->op, txn->loop, &close_kind, close_done, self);
    cancel_all(txn, self);
    op_mark(&self->op);
}
