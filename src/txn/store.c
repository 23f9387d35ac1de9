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

static bool has_work(const struct bound *bound)
{
    bool has = bound->delete_before.len > 0;
    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        has |= bound->writers[role] != NULL;
    }
    return has;
}

static bool must_widen(const struct bound *bound, unsigned column)
{
    uint64_t bits = 0;
    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        bits |= bound->writers[role] ? bound->facts[role].widen[column / 64] : 0;
    }
    return bits >> (column % 64) & 1;
}

static struct entry make_entry(struct txn *txn, const struct bound *bound)
{
    unsigned char uuid[16];
    char id[TEXT_UUID_LEN + 1];

    random_uuid(uuid);
    text_uuid(id, uuid);
    struct entry entry = {
        .state_key = bound->spec->state_key,
        .range = span_of(txn->range),
        .id = arena_span(txn->work_arena, span_of(id)),
        .delete_before = bound->delete_before,
    };
    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        if (bound->writers[role]) {
            entry.staged[role].files = writer_files(txn->work_arena, bound->writers[role]);
            entry.staged[role].rows = stage_writer_rows(bound->writers[role]);
        }
    }
    entry.widen.items = ARENA_ARRAY(txn->work_arena, bound->table.column_count, struct span);
    for (unsigned i = 0; i < bound->table.column_count; i++) {
        if (must_widen(bound, i)) {
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
        txn->options.figures->stored_rows +=
            entry->staged[ENTRY_STORE].rows + entry->staged[ENTRY_MERGE].rows;
        txn->options.figures->deleted_rows += entry->staged[ENTRY_DELETE].rows;
    }
}

/* The primary remembers its own entries here and not from v2's echo: in v1 there is none. */
static struct error *record_entries(struct txn *txn)
{
    arena_reset(txn->own_arena);
    txn->own = (struct entries){0};
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        struct bound *bound = &txn->bounds[i];
        if (!has_work(bound)) {
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
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            txn->pending_bytes += file_bytes(bound->writers[role]);
        }
    }
    return NULL;
}

/* What the bindings had under way. */
static void free_work(struct txn *txn)
{
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            stage_writer_free(txn->bounds[i].writers[role]);
            txn->bounds[i].writers[role] = NULL;
        }
        txn->bounds[i].delete_before = SPAN_NONE;
    }
    txn->has_stored = false;
}

static void answer(struct txn *txn)
{
    struct buf patch;
    struct error *err = record_entries(txn);

    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        altered_report(txn, &txn->bounds[i]);
    }
    free_work(txn);
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
        early_start(txn);
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
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            const struct stage_writer *writer = txn->bounds[i].writers[role];
            if (writer && !stage_writer_error(writer)) {
                trash_add_files(&trash, writer);
            }
        }
    }
    trash_send(txn, &trash);
    free_work(txn);
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

/* Stores come grouped by binding: the files of the one before can be ended. */
static void end_binding(struct txn *txn)
{
    struct bound *bound = &txn->bounds[txn->store_binding];

    for (unsigned role = 0; txn->has_stored && role < ENTRY_ROLES; role++) {
        if (bound->writers[role]) {
            txn->staging->writers_left++;
            stage_writer_end(bound->writers[role], writer_ended, txn->staging);
        }
    }
}

/* A failed upload ends the transaction at once, not at StartCommit. */
static void upload_failed(void *ctx)
{
    struct txn *txn = ctx;
    const struct bound *bound = &txn->bounds[txn->store_binding];
    const struct error *err = NULL;

    for (unsigned role = 0; !err && role < ENTRY_ROLES; role++) {
        err = bound->writers[role] ? stage_writer_error(bound->writers[role]) : NULL;
    }
    if (err) {
        txn_fail(txn, error_new(error_code_of(err), error_class_of(err),
                                "staging documents for %.*s: %s", SPAN_FMT(bound->table.identifier),
                                error_text(err)));
    }
}

static struct stage_writer *begin_writer(struct txn *txn, unsigned binding, enum entry_role role)
{
    char *prefix = arena_printf(txn->work_arena, "%sr%06" PRIu64 "-b%04u-%s-", txn->prefix,
                                txn->round, binding, entry_role_name(role));
    struct stage_writer *writer =
        stage_writer_new(txn->options.stage, txn->work_arena, span_of(prefix));
    stage_writer_on_failure(writer, upload_failed, txn);
    return writer;
}

static void reset_facts(struct txn *txn, struct bound *bound, struct row_facts *facts)
{
    *facts = (struct row_facts){
        .widen = ARENA_ARRAY(txn->work_arena, bound->table.column_count / 64 + 1, uint64_t),
        .columns =
            ARENA_ARRAY(txn->work_arena, bound->table.column_count, struct row_column_facts)};
}

static struct error *begin_binding(struct txn *txn, unsigned binding)
{
    struct bound *bound = &txn->bounds[binding];

    if (txn->has_stored && binding < txn->store_binding) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "documents of binding %u were stored after those of binding %u", binding,
                         txn->store_binding);
    }
    staging_of(txn);
    end_binding(txn);
    txn->store_binding = binding;
    txn->has_stored = true;
    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        reset_facts(txn, bound, &bound->facts[role]);
    }
    widen_begin_binding(bound);
    return NULL;
}

static void count_skipped(struct txn *txn)
{
    if (txn->options.figures) {
        txn->options.figures->skipped_deletes++;
    }
}

static struct error *add_row(struct txn *txn,
                             unsigned binding,
                             enum entry_role role,
                             const struct value *keys,
                             const struct value *values,
                             struct span doc_json)
{
    struct bound *bound = &txn->bounds[binding];

    if (!bound->writers[role]) {
        bound->writers[role] = begin_writer(txn, binding, role);
    }
    struct buf *out = stage_writer_row_begin(bound->writers[role]);
    if (!out) {
        return NULL; /* the failure was reported by upload_failed */
    }
    size_t before = out->len;
    RETURN_IF_ERROR(row_encode(role == ENTRY_DELETE ? bound->keys : bound->full, keys, values,
                               doc_json, out, &bound->facts[role]));
    stage_writer_row_end_repeats(bound->writers[role], out->len - before,
                                 &bound->facts[role].repeats);
    widen_look(txn, bound, &bound->facts[role]);
    return NULL;
}

/* The runtime stores a key at most once in a transaction, and `exists` says whether its document
 * was loaded, so that a row which is new to the table can neither match one there nor another
 * staged one. Rows of delta updates are facts of their own: nothing there is theirs to replace. */
static enum entry_role
role_of(const struct txn *txn, const struct bound *bound, bool exists, bool is_delete)
{
    if (is_delete && txn->options.hard_delete) {
        return ENTRY_DELETE;
    }
    return exists && !bound->table.delta_updates ? ENTRY_MERGE : ENTRY_STORE;
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
    enum entry_role role = role_of(txn, bound, exists, is_delete);

    if (txn->staging && txn->staging->commit_started) {
        return NULL; /* winding down: the failure is about to be reported */
    }
    if (!txn->has_stored || binding != txn->store_binding) {
        RETURN_IF_ERROR(begin_binding(txn, binding));
    }
    txn->store_count++;
    if (role == ENTRY_DELETE && !exists) {
        count_skipped(txn); /* created and deleted within the transaction */
        return NULL;
    }
    return error_wrap(add_row(txn, binding, role, keys, role == ENTRY_DELETE ? NULL : values,
                              role == ENTRY_DELETE ? SPAN_NONE : doc_json),
                      "storing a document into %.*s", SPAN_FMT(bound->table.identifier));
}

/* Every shard hears of the end of a backfill; the one that applies for all has it done, once. Rows
 * of delta updates are a log: nothing in it is superseded. */
struct error *store_delete_before(struct txn *txn, unsigned binding, int64_t seconds, int32_t nanos)
{
    struct bound *bound = &txn->bounds[binding];
    char instant[ENTRY_INSTANT_LEN + 1];

    if (!entry_instant(instant, seconds, nanos)) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "Flush names the end of a backfill of binding %u at %" PRId64
                         " seconds and %d nanoseconds, which is no time",
                         binding, seconds, (int)nanos);
    }
    if (!txn->is_primary || bound->table.delta_updates) {
        return NULL;
    }
    if (!txn_published_at(bound)) {
        txn_warn_unpublished(bound, span_of(instant));
        return NULL;
    }
    if (span_compare(bound->delete_before, span_of(instant)) < 0) {
        bound->delete_before = arena_span(txn->work_arena, span_of(instant));
    }
    return NULL;
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
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            if (txn->bounds[i].writers[role]) {
                stage_writer_cancel(txn->bounds[i].writers[role], NULL, NULL);
            }
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
