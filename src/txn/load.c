/*
 * txn/load: which documents exist. In: keys, one at a time, from Load requests. Out: the documents
 * that the warehouse has under them, after Flush. Until then keys are only staged: the query must
 * see the transaction that is still being applied.
 *
 *      ENDING (files) -> LISTING (manifests) -> ATTEMPTING (the query) -> done
 *
 * A query that broke before its first document came back is run again: it only reads. After that it
 * is not, since the runtime accepts each document once. When the last one is there, what happens to
 * the connection no longer matters.
 */

#include "txn/engine.h"
#include "txn/strip.h"

#include "base/log.h"

#include <inttypes.h>

#define LOAD_STATES(X) X(BEGINNING) X(ENDING) X(LISTING) X(ATTEMPTING)
#define LOAD_ENUM(name) LOAD_##name,
enum load_state { LOAD_STATES(LOAD_ENUM) };
static const char *const load_state_names[] = {LOAD_STATES(OP_STATE_NAME)};
static const uint32_t load_moves[] = {
    [LOAD_BEGINNING] = OP_MOVE(LOAD_ENDING),
    [LOAD_ENDING] = OP_MOVE(LOAD_LISTING),
    [LOAD_LISTING] = OP_MOVE(LOAD_ATTEMPTING),
};

/* A row is at most 16 MB in the warehouse, and its text not much longer. */
#define DOCUMENT_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct load_op {
    struct op op;
    struct txn *txn;
    unsigned writers_left; /* lookups whose files are not stored yet */
    struct manifests manifests;
    struct trash trash; /* key files and manifests: gone when this ends, however it ends */
    struct plan_lookup *lookups;
    unsigned lookup_count;
    struct names *files; /* of each lookup, for the explanation */
    struct plan plan;
    struct op *attempt; /* while under way */
    struct op_reply reply;
    struct buf document; /* one that is rebuilt from columns */
    bool is_answered;    /* every document that is there was handed on */
};

/* ---------------------------------------------------------------- keys */

static void lookup_failed(void *ctx)
{
    struct txn *txn = ctx;
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        const struct error *err =
            txn->bounds[i].lookup ? stage_writer_error(txn->bounds[i].lookup) : NULL;
        if (err) {
            txn_fail(txn, error_new(error_code_of(err), error_class_of(err),
                                    "staging keys to look up in %.*s: %s",
                                    SPAN_FMT(txn->bounds[i].table.identifier), error_text(err)));
            return;
        }
    }
}

static void begin_lookup(struct txn *txn, struct bound *bound)
{
    unsigned index = (unsigned)(bound - txn->bounds);
    char *prefix = arena_printf(txn->work_arena, "%sr%06" PRIu64 "-b%04u-load-", txn->prefix,
                                txn->round, index);

    bound->lookup = stage_writer_new(txn->options.stage, txn->work_arena, span_of(prefix));
    bound->lookup_facts = (struct row_facts){0};
    bound->lookup_bounds = ARENA_ARRAY(txn->work_arena, bound->table.key_count, struct key_bounds);
    stage_writer_on_failure(bound->lookup, lookup_failed, txn);
}

struct error *load_add(struct txn *txn, struct bound *bound, const struct value *keys)
{
    if (!bound->lookup) {
        begin_lookup(txn, bound);
    }
    struct buf *out = stage_writer_row_begin(bound->lookup);
    if (!out) {
        return NULL; /* the failure was reported by lookup_failed */
    }
    size_t before = out->len;
    struct error *err = row_encode(bound->keys, keys, NULL, SPAN_NONE, out, &bound->lookup_facts);
    if (err) {
        return error_wrap(err, "looking up a key in %.*s", SPAN_FMT(bound->table.identifier));
    }
    stage_writer_row_end(bound->lookup, out->len - before);
    for (unsigned i = 0; i < bound->table.key_count; i++) {
        bounds_note(&bound->lookup_bounds[i], &bound->table.columns[i], &keys[i]);
    }
    txn->load_count++;
    return NULL;
}

/* ---------------------------------------------------------------- steps */

static void writer_ended(void *ctx, struct error *err)
{
    struct load_op *self = ctx;

    self->writers_left--;
    op_fail(&self->op, err);
    op_mark(&self->op);
}

static void end_writers(struct load_op *self)
{
    struct txn *txn = self->txn;

    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        if (txn->bounds[i].lookup) {
            self->writers_left++;
            stage_writer_end(txn->bounds[i].lookup, writer_ended, self);
        }
    }
    op_set_state(&self->op, LOAD_ENDING);
}

static void add_lookup(struct load_op *self, unsigned binding)
{
    struct txn *txn = self->txn;
    struct bound *bound = &txn->bounds[binding];
    struct names *files = &self->files[self->lookup_count];
    struct span manifest = span_of(arena_printf(
        txn->work_arena, "%sr%06" PRIu64 "-b%04u-load.manifest", txn->prefix, txn->round, binding));

    *files = writer_files(txn->work_arena, bound->lookup);
    for (unsigned i = 0; i < files->count; i++) {
        trash_add(&self->trash, files->items[i]);
    }
    self->lookups[self->lookup_count++] = (struct plan_lookup){
        .binding = binding,
        .table = &bound->table,
        .manifest = manifest,
        .rows = stage_writer_rows(bound->lookup),
        .key_text_bytes = bound->lookup_facts.longest_key_text,
        .bounds = bound->lookup_bounds,
    };
    manifests_put(&self->manifests, manifest, files, &self->trash);
}

static void put_manifests(struct load_op *self)
{
    struct txn *txn = self->txn;

    self->lookups = ARENA_ARRAY(txn->work_arena, txn->options.binding_count, struct plan_lookup);
    self->files = ARENA_ARRAY(txn->work_arena, txn->options.binding_count, struct names);
    manifests_init(&self->manifests, txn, &self->op);
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        if (txn->bounds[i].lookup) {
            add_lookup(self, i);
        }
    }
    op_set_state(&self->op, LOAD_LISTING);
}

static struct error *take_count(const struct load_op *self, unsigned index, struct span text)
{
    const struct plan_note *note = &self->plan.notes[index];
    int64_t copied;

    if (!text_to_int64(text, &copied) || copied < 0 || (uint64_t)copied != note->expected_rows) {
        return error_new(ERROR_SQL, ERROR_ABORT, "COPY loaded %.*s of %" PRIu64 " keys for %.*s",
                         SPAN_FMT(text), note->expected_rows,
                         SPAN_FMT(self->txn->bounds[note->binding].table.identifier));
    }
    return NULL;
}

static struct error *take_document(struct load_op *self, const struct pgc_row *row)
{
    struct txn *txn = self->txn;
    uint64_t binding;

    if (row->count != 2 || !text_to_uint64(row->values[0], &binding) ||
        binding >= txn->options.binding_count) {
        return error_new(ERROR_SQL, ERROR_FATAL,
                         "the lookup of documents returned a row that is none of ours");
    }
    if (!row->values[1].ptr) {
        struct error *err =
            error_new(ERROR_SQL, ERROR_CONFIG, "a row of %.*s has no document under its key",
                      SPAN_FMT(txn->bounds[binding].table.identifier));
        error_set_hint(err,
                       "Rows written without a document cannot be updated. Backfill this binding.");
        return err;
    }
    const struct rs_table *table = &txn->bounds[binding].table;
    struct span document = row->values[1];
    if (!table->has_document) {
        buf_clear(&self->document);
        RETURN_IF_ERROR(error_wrap(strip_nulls(&self->document, document, table),
                                   "a document rebuilt from columns of %.*s",
                                   SPAN_FMT(table->identifier)));
        document = buf_view(&self->document);
    }
    txn->loaded_count++;
    txn->callbacks.loaded(txn->callbacks.ctx, (unsigned)binding, document);
    return NULL;
}

static struct error *take_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct load_op *self = ctx;

    switch (self->plan.notes[index].step) {
    case PLAN_COUNT:
        return row->count == 1 ? take_count(self, index, row->values[0]) : NULL;
    case PLAN_QUERY:
        return take_document(self, row);
    default:
        return NULL;
    }
}

static struct error *take_result(void *ctx, unsigned index, int64_t tag_rows)
{
    struct load_op *self = ctx;

    (void)tag_rows;
    self->is_answered |= self->plan.notes[index].step == PLAN_QUERY;
    return NULL;
}

/* The texts are made as late as this, since the keys in them are those of this moment. */
static struct error *prepare(void *ctx, unsigned number)
{
    struct load_op *self = ctx;
    const struct plan_copy copy = txn_copy_options(self->txn);

    (void)number;
    plan_wipe(&self->plan);
    plan_load(&self->plan, self->txn->work_arena, self->lookups, self->lookup_count, &copy);
    return NULL;
}

/* The runtime accepts each document once. */
static bool may_retry(void *ctx)
{
    const struct load_op *self = ctx;
    return self->txn->loaded_count == 0 && !self->is_answered;
}

static bool was_answered(void *ctx)
{
    const struct load_op *self = ctx;
    return self->is_answered;
}

static struct names copied_files(void *ctx, unsigned binding)
{
    const struct load_op *self = ctx;
    unsigned i = 0;

    while (i + 1 < self->lookup_count && self->lookups[i].binding != binding) {
        i++;
    }
    return self->files[i];
}

static void start_attempt(struct load_op *self)
{
    struct attempt_hooks hooks = {
        .on_row = take_row,
        .on_result = take_result,
        .prepare = prepare,
        .may_retry = may_retry,
        .was_applied = was_answered,
        .copied_files = copied_files,
        .retry_message = "looking up documents failed, trying again",
        .retry = FIGURE_RETRY_lookup,
        .ctx = self,
    };
    op_reply_expect(&self->reply, &self->op);
    self->attempt = attempt_start(self->txn, &self->plan, &hooks, op_reply_done, &self->reply);
    op_set_state(&self->op, LOAD_ATTEMPTING);
}

static void load_step(struct op *op)
{
    struct load_op *self = CONTAINER_OF(op, struct load_op, op);
    struct error *err = NULL;

    switch ((enum load_state)op->state) {
    case LOAD_BEGINNING:
        end_writers(self);
        break;
    case LOAD_ENDING:
        if (self->writers_left) {
            return;
        }
        if (op_must_stop(op)) {
            op_finish(op);
        } else {
            put_manifests(self);
        }
        break;
    case LOAD_LISTING:
        if (!manifests_take(&self->manifests, &err)) {
            return;
        }
        op_fail(op, error_wrap(err, "putting manifests"));
        if (op_must_stop(op)) {
            op_finish(op);
        } else {
            start_attempt(self);
        }
        break;
    case LOAD_ATTEMPTING:
        if (op_reply_take(&self->reply, &err)) {
            self->attempt = NULL;
            if (err && self->is_answered && error_class_of(err) == ERROR_RETRY) {
                error_drop(err, "the connection was lost behind the last document");
                err = NULL;
            }
            op_fail(op, err);
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind load_kind = {
    .name = "load",
    .state_names = load_state_names,
    .state_count = ARRAY_LEN(load_state_names),
    .moves = load_moves,
    .step = load_step,
};

static void load_done(void *ctx, struct error *err)
{
    struct load_op *self = ctx;
    struct txn *txn = self->txn;

    txn->load_op = NULL;
    buf_done(&self->document);
    plan_wipe(&self->plan);
    manifests_done(&self->manifests);
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        struct stage_writer **lookup = &txn->bounds[i].lookup;
        if (*lookup && !self->lookups && !stage_writer_error(*lookup)) {
            trash_add_files(&self->trash,
                            *lookup); /* another writer failed before the files were listed */
        }
        stage_writer_free(*lookup);
        *lookup = NULL;
    }
    trash_send(txn, &self->trash);
    mem_free(self);
    if (err) {
        txn_fail(txn, error_wrap(err, "looking up documents"));
    } else if (txn->phase == PHASE_FLUSHING) {
        txn_loads_answered(txn);
    }
    txn_background_ended(txn);
}

void load_start(struct txn *txn)
{
    struct load_op *self = mem_alloc(sizeof *self);

    self->txn = txn;
    trash_init(&self->trash);
    buf_init(&self->document, DOCUMENT_MAX_BYTES);
    txn->load_op = self;
    txn->background++;
    op_init(&self->op, txn->loop, &load_kind, load_done, self);
    op_mark(&self->op);
}

void load_add_wait(const struct txn *txn, struct buf *out)
{
    const struct load_op *self = txn->load_op;

    if (self && self->attempt) {
        attempt_add_wait(txn, self->attempt, out);
    } else if (self) {
        buf_add_str(out, "S3: the keys to look up are stored");
    }
}

void load_cancel(struct txn *txn)
{
    if (txn->load_op) {
        op_cancel(&txn->load_op->op);
        manifests_cancel(&txn->load_op->manifests);
        if (txn->load_op->attempt) {
            op_cancel(txn->load_op->attempt);
        }
        for (unsigned i = 0; txn->load_op->writers_left && i < txn->options.binding_count; i++) {
            if (txn->bounds[i].lookup) {
                stage_writer_cancel(txn->bounds[i].lookup, NULL,
                                    NULL); /* hastens the end that was asked */
            }
        }
        return;
    }
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        txn_discard_writer(txn, &txn->bounds[i].lookup);
    }
}
