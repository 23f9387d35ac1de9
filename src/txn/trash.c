/*
 * txn/trash: objects nobody needs any more. In: keys of files that were applied, looked up or given
 * up, and at Open whatever earlier processes of this task left behind. Out: DeleteObjects and
 * AbortMultipartUpload in the background. A failure is a warning, never the end of a transaction:
 * the next Open sweeps again.
 *
 * The shard whose range begins at zero sweeps for all: ranges change with each split and join, and
 * nobody else would ever look under a range that is no more. An object of a process that still
 * counts must never go, or what the recovery log names could not be applied any more. So only what
 * passes all of these is removed:
 *
 *   - It bears a name of our making under this task's prefix, and the state does not name it. The
 *     state is the recovery log's: an earlier process can add nothing to it any more.
 *   - It was listed before we answered Opened. The runtime begins a session's first transaction
 *     when every shard has answered Opened, so no peer of ours has made an object by then. What
 *     peers make later is not on the list, however old the processes are.
 *   - Its maker started before we did. This guards against ourselves: should this process be
 *     stopped before its listing, and replaced, then it finds the objects of its successor, whose
 *     start is later. Starts are told by the machines' clocks; to do harm they would have to
 *     disagree by more than the time between the two starts. What a clock that runs ahead has made
 *     just stays for a later Open.
 *   - We have raised the owner mark, so whoever had it before applies nothing.
 *
 * No time of grace is needed then, and the bucket is clean soon after a restart. What a stopped
 * process uploads after its successor's listing stays until the Open after that.
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

void trash_move(struct trash *to, struct trash *from)
{
    for (size_t i = 0; i < from->count; i++) {
        trash_add(to, from->keys[i]);
    }
    trash_done(from);
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

/*      LISTING_UPLOADS -> LISTING_OBJECTS -> WAITING (for Opened) -> ABORTING_UPLOADS -> done
 *      (the deletion of objects goes on by itself)
 */
#define SWEEP_STATES(X)                                                                            \
    X(BEGINNING) X(LISTING_UPLOADS) X(LISTING_OBJECTS) X(WAITING) X(ABORTING_UPLOADS)
#define SWEEP_ENUM(name) SWEEP_##name,
enum sweep_state { SWEEP_STATES(SWEEP_ENUM) };
static const char *const sweep_state_names[] = {SWEEP_STATES(OP_STATE_NAME)};
static const uint32_t sweep_moves[] = {
    [SWEEP_BEGINNING] = OP_MOVE(SWEEP_LISTING_UPLOADS),
    [SWEEP_LISTING_UPLOADS] = OP_MOVE(SWEEP_LISTING_OBJECTS),
    [SWEEP_LISTING_OBJECTS] = OP_MOVE(SWEEP_WAITING),
    [SWEEP_WAITING] = OP_MOVE(SWEEP_ABORTING_UPLOADS),
};

struct open_upload {
    struct span key, id;
};

struct sweep {
    struct op op;
    struct txn *txn;
    struct arena *arena;
    bool is_permitted; /* fact: the engine is open */
    struct names kept; /* keys that the state names */
    struct open_upload *uploads;
    size_t upload_count, upload_cap, aborted_count;
    struct trash found;
    struct s3_call *call;
    struct op_reply reply;
};

#define START_DIGITS 12

/* When the process started that made this object: the hex digits behind "<task prefix><range>/".
 * False: no name of ours. */
static bool read_start(const struct sweep *self, struct span key, int64_t *ret_ms)
{
    struct span prefix = span_of(self->txn->task_prefix);
    size_t at = prefix.len + RANGE_TEXT_LEN + 1;
    uint64_t start = 0;

    if (!span_starts_with(key, prefix) || key.len <= at + START_DIGITS || key.ptr[at - 1] != '/' ||
        key.ptr[at + START_DIGITS] != '-') {
        return false;
    }
    for (size_t i = at; i < at + START_DIGITS; i++) {
        const char *digit = strchr("0123456789abcdef", key.ptr[i]);
        if (!digit || key.ptr[i] == '\0') {
            return false;
        }
        unsigned value =
            key.ptr[i] <= '9' ? (unsigned)(key.ptr[i] - '0') : (unsigned)(key.ptr[i] - 'a') + 10;
        start = start << 4 | value;
    }
    *ret_ms = (int64_t)start;
    return true;
}

static bool is_left_behind(const struct sweep *self, struct span key)
{
    int64_t start_ms;

    if (!read_start(self, key, &start_ms) || start_ms >= self->txn->options.started_ms) {
        return false;
    }
    for (unsigned i = 0; i < self->kept.count; i++) {
        if (span_equal(self->kept.items[i], key)) {
            return false;
        }
    }
    return true;
}

static void found_upload(void *ctx, struct span key, struct span upload_id, int64_t initiated)
{
    struct sweep *self = ctx;

    (void)initiated;
    if (!is_left_behind(self, key)) {
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
    if (is_left_behind(self, key)) {
        trash_add(&self->found, key);
    }
}

/* A listing has one context, for what it finds and for its end. */
static void listing_ended(void *ctx, struct error *err)
{
    struct sweep *self = ctx;
    op_reply_done(&self->reply, err);
}

static void list_uploads(struct sweep *self)
{
    op_reply_expect(&self->reply, &self->op);
    self->call = s3_list_uploads(self->txn->options.s3, span_of(self->txn->task_prefix),
                                 found_upload, listing_ended, self);
    op_set_state(&self->op, SWEEP_LISTING_UPLOADS);
}

static void list_objects(struct sweep *self)
{
    op_reply_expect(&self->reply, &self->op);
    self->call = s3_list(self->txn->options.s3, span_of(self->txn->task_prefix), found_object,
                         listing_ended, self);
    op_set_state(&self->op, SWEEP_LISTING_OBJECTS);
}

static void abort_next(struct sweep *self)
{
    if (self->aborted_count == self->upload_count) {
        op_finish(&self->op);
        return;
    }
    const struct open_upload *upload = &self->uploads[self->aborted_count++];
    op_reply_expect(&self->reply, &self->op);
    self->call = s3_abort_upload(self->txn->options.s3, upload->key, upload->id, op_reply_done,
                                 &self->reply);
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

    if (op->state != SWEEP_BEGINNING && op->state != SWEEP_WAITING && !take_answer(self)) {
        return;
    }
    if (op_must_stop(op)) {
        op_finish(op);
        return;
    }
    switch ((enum sweep_state)op->state) {
    case SWEEP_BEGINNING:
        list_uploads(self);
        break;
    case SWEEP_LISTING_UPLOADS:
        list_objects(self);
        break;
    case SWEEP_LISTING_OBJECTS:
        op_set_state(op, SWEEP_WAITING);
        self->txn->has_looked = true;
        txn_opened_so_far(self->txn); /* may permit what follows at once */
        break;
    case SWEEP_WAITING:
        if (self->is_permitted) {
            op_set_state(op, SWEEP_ABORTING_UPLOADS);
            abort_next(self);
        }
        break;
    case SWEEP_ABORTING_UPLOADS:
        abort_next(self);
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

static void report(const struct sweep *self, const struct error *err)
{
    if (err && error_code_of(err) != ERROR_CANCELLED) {
        log_event(LOG_WARN, "could not look for objects that earlier runs left in the bucket",
                  LOG_STR("prefix", self->txn->task_prefix), LOG_STR("error", error_text(err)),
                  LOG_END);
    } else if (self->is_permitted && self->found.count + self->upload_count) {
        log_event(LOG_INFO, "deleting what earlier runs left in the bucket",
                  LOG_INT("objects", self->found.count), LOG_INT("uploads", self->upload_count),
                  LOG_END);
    }
}

static void sweep_done(void *ctx, struct error *err)
{
    struct sweep *self = ctx;
    struct txn *txn = self->txn;

    txn->sweep = NULL;
    report(self, err);
    error_free(err);
    if (self->is_permitted) {
        trash_send(txn, &self->found);
    }
    trash_done(&self->found);
    arena_free(self->arena);
    mem_free(self->uploads);
    mem_free(self);
    txn->has_looked = true; /* a listing that failed is no reason not to open */
    txn_opened_so_far(txn);
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

void trash_look(struct txn *txn)
{
    struct sweep *self;
    unsigned cap = 0;

    if (!txn->is_primary) {
        txn->has_looked = true;
        return;
    }
    self = mem_alloc(sizeof *self);
    self->txn = txn;
    self->arena = arena_new(TRASH_MAX_BYTES);
    trash_init(&self->found);
    for (unsigned i = 0; i < txn->pending.count; i++) {
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            keep_names(self, &txn->pending.items[i].staged[role].files, &cap);
        }
    }
    txn->sweep = self;
    txn->background++;
    op_init(&self->op, txn->loop, &sweep_kind, sweep_done, self);
    op_mark(&self->op);
}

void trash_sweep(struct txn *txn)
{
    if (txn->sweep) {
        txn->sweep->is_permitted = true;
        op_mark(&txn->sweep->op);
    }
}

void trash_cancel(struct txn *txn, bool graceful)
{
    struct sweep *self = txn->sweep;

    if (self && !(graceful && self->is_permitted)) {
        op_cancel(&self->op);
        if (self->call) {
            s3_call_cancel(self->call);
        }
    }
}
