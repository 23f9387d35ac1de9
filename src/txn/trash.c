/*
 * txn/trash: objects nobody needs any more. In: keys of files that were applied, looked up or given
 * up, and at Open whatever earlier processes of this range left behind. Out: DeleteObjects and
 * AbortMultipartUpload in the background. A failure is a warning, never the end of a transaction:
 * the next Open sweeps again.
 *
 * Why the sweep may delete at once, without a time of grace: the runtime gave us this range, so the
 * recovery log accepts nothing from its earlier holders any more, and under the metadata table's
 * lock the owner mark was raised, so none of them applies anything either. What the state names is
 * kept. Our own process's files are told apart by the incarnation in their names.
 */

#include "txn/engine.h"

#include "base/log.h"

#define TRASH_MAX_BYTES ((size_t)256 * 1024 * 1024)

void trash_init(struct trash *trash)
{
    *trash = (struct trash){0};
}

void trash_add(struct trash *trash, struct span key)
{
    if (!trash->arena) {
        trash->arena = arena_new(TRASH_MAX_BYTES);
    }
    if (trash->count == trash->cap) {
        trash->cap = trash->cap ? trash->cap * 2 : 16;
        trash->keys = mem_realloc(trash->keys, trash->cap * sizeof *trash->keys);
    }
    trash->keys[trash->count++] = arena_span(trash->arena, key);
}

void trash_add_files(struct trash *trash, const struct stage_writer *writer)
{
    unsigned count;
    const struct stage_file *files = stage_writer_files(writer, &count);
    for (unsigned i = 0; i < count; i++) {
        trash_add(trash, files[i].key);
    }
}

static void trash_done(struct trash *trash)
{
    arena_free(trash->arena);
    mem_free(trash->keys);
    *trash = (struct trash){0};
}

/* ---------------------------------------------------------------- deleting */

struct deletion {
    struct txn *txn;
    size_t count;
    struct s3_call *call;
};

static void deletion_done(void *ctx, struct error *err)
{
    struct deletion *self = ctx;
    struct txn *txn = self->txn;

    if (err) {
        log_event(LOG_WARN,
                  "could not delete staged objects; the next start of this task deletes them",
                  LOG_INT("count", self->count), LOG_STR("error", error_text(err)), LOG_END);
        error_free(err);
    }
    s3_call_free(self->call);
    mem_free(self);
    txn_background_ended(txn);
}

void trash_send(struct txn *txn, struct trash *trash)
{
    if (trash->count) {
        struct deletion *self = mem_alloc(sizeof *self);
        self->txn = txn;
        self->count = trash->count;
        txn->background++;
        self->call = s3_delete(txn->options.s3, trash->keys, trash->count, deletion_done, self);
    }
    trash_done(trash);
}

/* ---------------------------------------------------------------- sweeping */

/*      LISTING_UPLOADS -> ABORTING_UPLOADS -> LISTING_OBJECTS -> done (deletion goes on by itself)
 */
#define SWEEP_STATES(X) X(BEGINNING) X(LISTING_UPLOADS) X(ABORTING_UPLOADS) X(LISTING_OBJECTS)
#define SWEEP_ENUM(name) SWEEP_##name,
enum sweep_state { SWEEP_STATES(SWEEP_ENUM) };
static const char *const sweep_state_names[] = {SWEEP_STATES(OP_STATE_NAME)};
static const uint32_t sweep_moves[] = {
    [SWEEP_BEGINNING] = OP_MOVE(SWEEP_LISTING_UPLOADS),
    [SWEEP_LISTING_UPLOADS] = OP_MOVE(SWEEP_ABORTING_UPLOADS),
    [SWEEP_ABORTING_UPLOADS] = OP_MOVE(SWEEP_LISTING_OBJECTS),
};

struct open_upload {
    struct span key, id;
};

struct sweep {
    struct op op;
    struct txn *txn;
    struct arena *arena;
    struct names kept; /* keys that the state named when the sweep began */
    struct open_upload *uploads;
    size_t upload_count, upload_cap, aborted_count;
    struct trash found;
    struct s3_call *call;
    struct op_reply reply;
};

static bool is_own(const struct sweep *self, struct span key)
{
    return span_starts_with(key, span_of(self->txn->prefix));
}

static bool is_kept(const struct sweep *self, struct span key)
{
    for (unsigned i = 0; i < self->kept.count; i++) {
        if (span_equal(self->kept.items[i], key)) {
            return true;
        }
    }
    return false;
}

static void found_upload(void *ctx, struct span key, struct span upload_id, int64_t initiated)
{
    struct sweep *self = ctx;

    (void)initiated;
    if (is_own(self, key)) {
        return;
    }
    if (self->upload_count == self->upload_cap) {
        self->upload_cap = self->upload_cap ? self->upload_cap * 2 : 16;
        self->uploads = mem_realloc(self->uploads, self->upload_cap * sizeof *self->uploads);
    }
    self->uploads[self->upload_count++] =
        (struct open_upload){arena_span(self->arena, key), arena_span(self->arena, upload_id)};
}

static void found_object(void *ctx, struct span key, uint64_t size, int64_t modified)
{
    struct sweep *self = ctx;

    (void)size;
    (void)modified;
    if (!is_own(self, key) && !is_kept(self, key)) {
        trash_add(&self->found, key);
    }
}

/* A listing has one context, for what it finds and for its end. */
static void listing_ended(void *ctx, struct error *err)
{
    struct sweep *self = ctx;
    op_reply_done(&self->reply, err);
}

static void abort_next(struct sweep *self)
{
    if (self->aborted_count < self->upload_count) {
        const struct open_upload *upload = &self->uploads[self->aborted_count++];
        op_reply_expect(&self->reply, &self->op);
        self->call = s3_abort_upload(self->txn->options.s3, upload->key, upload->id, op_reply_done,
                                     &self->reply);
        return;
    }
    op_reply_expect(&self->reply, &self->op);
    self->call = s3_list(self->txn->options.s3, span_of(self->txn->range_prefix), found_object,
                         listing_ended, self);
    op_set_state(&self->op, SWEEP_LISTING_OBJECTS);
}

/* The answer of the call under way; a failure ends the sweep. */
static bool take_answer(struct sweep *self)
{
    struct error *err;

    if (!op_reply_take(&self->reply, &err)) {
        return false;
    }
    s3_call_free(self->call);
    self->call = NULL;
    op_fail(&self->op, err);
    return true;
}

static void sweep_step(struct op *op)
{
    struct sweep *self = CONTAINER_OF(op, struct sweep, op);

    if (op->state != SWEEP_BEGINNING && !take_answer(self)) {
        return;
    }
    if (op_must_stop(op)) {
        op_finish(op);
        return;
    }
    switch ((enum sweep_state)op->state) {
    case SWEEP_BEGINNING:
        op_reply_expect(&self->reply, op);
        self->call = s3_list_uploads(self->txn->options.s3, span_of(self->txn->range_prefix),
                                     found_upload, listing_ended, self);
        op_set_state(op, SWEEP_LISTING_UPLOADS);
        break;
    case SWEEP_LISTING_UPLOADS:
        op_set_state(op, SWEEP_ABORTING_UPLOADS);
        abort_next(self);
        break;
    case SWEEP_ABORTING_UPLOADS:
        abort_next(self);
        break;
    case SWEEP_LISTING_OBJECTS:
        op_finish(op);
        break;
    }
}

static const struct op_kind sweep_kind = {
    .name = "sweep",
    .state_names = sweep_state_names,
    .state_count = ARRAY_LEN(sweep_state_names),
    .moves = sweep_moves,
    .step = sweep_step,
};

static void sweep_done(void *ctx, struct error *err)
{
    struct sweep *self = ctx;
    struct txn *txn = self->txn;

    if (err) {
        log_event(LOG_WARN, "could not look for objects that earlier runs left in the bucket",
                  LOG_STR("prefix", txn->range_prefix), LOG_STR("error", error_text(err)), LOG_END);
        error_free(err);
    } else if (self->found.count + self->upload_count) {
        log_event(LOG_INFO, "deleting what earlier runs left in the bucket",
                  LOG_INT("objects", self->found.count), LOG_INT("uploads", self->upload_count),
                  LOG_END);
    }
    trash_send(txn, &self->found);
    arena_free(self->arena);
    mem_free(self->uploads);
    mem_free(self);
    txn_background_ended(txn);
}

static void keep_names(struct sweep *self, const struct names *names, unsigned *cap)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (self->kept.count == *cap) {
            unsigned larger = *cap ? *cap * 2 : 16;
            struct span *items = ARENA_ARRAY(self->arena, larger, struct span);
            if (self->kept.count) {
                memcpy(items, self->kept.items, self->kept.count * sizeof *items);
            }
            self->kept.items = items;
            *cap = larger;
        }
        self->kept.items[self->kept.count++] = arena_span(self->arena, names->items[i]);
    }
}

void trash_sweep(struct txn *txn)
{
    struct sweep *self = mem_alloc(sizeof *self);
    unsigned cap = 0;

    self->txn = txn;
    self->arena = arena_new(TRASH_MAX_BYTES);
    trash_init(&self->found);
    for (unsigned i = 0; i < txn->pending.count; i++) {
        keep_names(self, &txn->pending.items[i].store_files, &cap);
        keep_names(self, &txn->pending.items[i].delete_files, &cap);
    }
    txn->background++;
    op_init(&self->op, txn->loop, &sweep_kind, sweep_done, self);
    op_mark(&self->op);
}
