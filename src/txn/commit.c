/*
 * txn/commit: applying what is pending. In: entries, from this shard's StartCommit, from peers'
 * patches and from the opened state. Out: their rows in the tables and their tokens in the metadata
 * table, in one SQL transaction; then a patch that clears them from the state, and their files to
 * the trash.
 *
 *      LISTING (manifests that early.c has not put) -> ATTEMPTING -> done
 *         ^                                                |
 *         +------------------------------------------------+
 *                          some of the entries turned out to be applied: the rest is planned anew
 *
 * The statements between LOCK and COMMIT go out in one flight, the check of ownership and tokens
 * first among them. COMMIT is sent only after every answer was looked at, so what was done on a
 * wrong assumption (another owner, an entry applied already) is rolled back, whatever its files
 * still held.
 *
 * A lost answer to COMMIT is not an error of its own: the next attempt takes the lock, which waits
 * for that transaction to end, reads the tokens, and knows.
 */

#include "txn/engine.h"

#include "base/log.h"
#include "json/write.h"

#include <inttypes.h>
#include <limits.h>

#define COMMIT_STATES(X) X(BEGINNING) X(LISTING) X(ATTEMPTING)
#define COMMIT_ENUM(name) COMMIT_##name,
enum commit_state { COMMIT_STATES(COMMIT_ENUM) };
static const char *const commit_state_names[] = {COMMIT_STATES(OP_STATE_NAME)};
static const uint32_t commit_moves[] = {
    [COMMIT_BEGINNING] = OP_MOVE(COMMIT_LISTING),
    [COMMIT_LISTING] = OP_MOVE(COMMIT_ATTEMPTING),
    [COMMIT_ATTEMPTING] = OP_MOVE(COMMIT_LISTING),
};

/* What CHECK's rows said; decides what follows the failure. */
enum verdict {
    VERDICT_NONE,     /* nothing against committing */
    VERDICT_REPLACED, /* another instance is the owner now */
    VERDICT_APPLIED   /* some of the entries were applied before: they are taken off the list */
};

/* One binding's entries of all ranges together. */
struct commit_work {
    struct plan_work plan;
    struct names files[ENTRY_ROLES]; /* of all its entries: for manifests and the explanation */
};

#define NONE UINT_MAX
#define TOKENS_MAX_BYTES ((size_t)1024000) /* VARBYTE(1024000) */

struct commit_op {
    struct op op;
    struct txn *txn;
    struct arena *arena;     /* of this operation */
    struct entries selected; /* pending entries of live bindings; shares their strings */
    bool *is_applied;        /* by selected entry: its token was seen */
    bool *is_selected;       /* by pending entry */
    unsigned *first, *next;  /* selected entries by binding, and each one's next; NONE at the end */
    struct commit_work *works;
    unsigned work_count;
    struct manifests manifests;
    struct trash trash; /* manifests: gone however this ends, and with them what was applied */
    struct plan plan;
    struct arena *check_arena; /* of one attempt's rows */
    struct fence_rows rows;
    enum verdict verdict;
    unsigned listings;     /* so that manifests made anew have names of their own */
    bool must_check_first; /* an outcome is not known */
    uint64_t began_ms;
    uint64_t result_ms; /* when the work on the last table was done, or the first one's began */
    struct op *attempt; /* while under way */
    struct op_reply reply;
};

/* ---------------------------------------------------------------- peers' patches (v2) */

static struct error *compare_own(struct txn *txn, const struct entry *echo)
{
    const struct entry *own = entries_find(&txn->own, echo->state_key, echo->range);

    if (!own || !entry_is_same(own, echo)) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "the runtime's echo of this shard's staged work differs from what was "
                         "sent (state key \"%.*s\")",
                         SPAN_FMT(echo->state_key));
    }
    return NULL;
}

/* The same entry twice is one entry. One for a part of our own range would bring our documents a
 * second time: the ranges of shards that work at the same time have nothing in common. */
static struct error *take_peers(struct txn *txn, const struct entry *entry)
{
    const struct entry *known = entries_find(&txn->pending, entry->state_key, entry->range);

    if (range_overlaps(entry->range, span_of(txn->range))) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "a peer staged work for range %.*s, which overlaps with this shard's own, "
                         "%s",
                         SPAN_FMT(entry->range), txn->range);
    }
    if (!known) {
        entries_add(&txn->pending, txn->pending_arena, entry);
    } else if (!entry_is_same(known, entry)) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "a peer staged work for range %.*s over work that was not applied yet",
                         SPAN_FMT(entry->range));
    }
    return NULL;
}

/* Somebody else applies what we staged, and learns of it by these patches only. The v1 runtime has
 * none: there a second shard's documents would never reach a table. */
static struct error *check_passed_on(const struct txn *txn, const struct entries *echoed)
{
    for (unsigned i = 0; i < txn->own.count; i++) {
        const struct entry *own = &txn->own.items[i];
        if (!entries_find(echoed, own->state_key, own->range)) {
            struct error *err = error_new(ERROR_STATE, ERROR_FATAL,
                                          "the runtime did not pass on what shard %s staged (state "
                                          "key \"%.*s\"): nobody would apply it",
                                          txn->range, SPAN_FMT(own->state_key));
            error_set_hint(err, "Several shards need the v2 runtime. Use it, or one shard.");
            return err;
        }
    }
    return NULL;
}

struct error *commit_merge_patches(struct txn *txn, struct span patches_json)
{
    struct arena *scratch;
    struct entries echoed = {0};
    struct error *err;

    if (patches_json.len == 0 && txn->is_primary) {
        return NULL;
    }
    scratch = arena_new((size_t)256 * 1024 * 1024);
    err = error_wrap(entries_read_patches(&echoed, scratch, patches_json), "reading state patches");
    for (unsigned i = 0; !err && i < echoed.count; i++) {
        const struct entry *entry = &echoed.items[i];
        if (span_is(entry->range, txn->range)) {
            err = compare_own(txn, entry);
        } else if (txn->is_primary) {
            err = take_peers(txn, entry);
        }
    }
    if (!err && !txn->is_primary) {
        err = check_passed_on(txn, &echoed);
    }
    arena_free(scratch);
    return err;
}

/* ---------------------------------------------------------------- what is to be applied */

static void select_entries(struct commit_op *self)
{
    struct txn *txn = self->txn;

    self->selected.items = ARENA_ARRAY(self->arena, txn->pending.count, struct entry);
    self->is_selected = ARENA_ARRAY(self->arena, txn->pending.count, bool);
    self->next = ARENA_ARRAY(self->arena, txn->pending.count, unsigned);
    self->first = ARENA_ARRAY(self->arena, txn->options.binding_count, unsigned);
    for (unsigned i = 0; i < txn->options.binding_count; i++) {
        self->first[i] = NONE;
    }
    for (unsigned i = 0; i < txn->pending.count; i++) {
        const struct bound *bound = txn_find_bound(txn, txn->pending.items[i].state_key);
        if (bound) {
            unsigned *first = &self->first[bound - txn->bounds];
            self->is_selected[i] = true;
            self->next[self->selected.count] = *first;
            *first = self->selected.count;
            self->selected.items[self->selected.count++] = txn->pending.items[i];
        }
    }
    self->is_applied = ARENA_ARRAY(self->arena, self->selected.count, bool);
    for (unsigned i = 0; i < self->selected.count; i++) {
        const struct entry *entry = &self->selected.items[i];
        self->is_applied[i] = tokens_have(&txn->applied, entry->state_key, entry->range, entry->id);
    }
    if (self->selected.count < txn->pending.count) {
        log_event(
            LOG_WARN,
            "the state holds staged work of bindings that are not active; it is kept, not applied",
            LOG_INT("entries", txn->pending.count - self->selected.count), LOG_END);
    }
}

static void append_names(struct commit_op *self, struct names *to, const struct names *from)
{
    struct span *items = ARENA_ARRAY(self->arena, to->count + from->count, struct span);
    if (to->count) {
        memcpy(items, to->items, to->count * sizeof *items);
    }
    if (from->count) {
        memcpy(items + to->count, from->items, from->count * sizeof *items);
    }
    to->items = items;
    to->count += from->count;
}

static void append_widenings(struct commit_op *self,
                             struct commit_work *work,
                             struct bound *bound,
                             const struct names *fields)
{
    struct plan_work *plan = &work->plan;

    for (unsigned f = 0; f < fields->count; f++) {
        for (unsigned c = 0; c < bound->table.column_count; c++) {
            struct rs_column *column = &bound->columns[c];
            if (bound->is_widened[c] || !(span_equal(column->field, fields->items[f]) ||
                                          span_equal(column->identifier, fields->items[f]))) {
                continue;
            }
            bool listed = false;
            for (unsigned k = 0; k < plan->widen_count; k++) {
                listed |= plan->widen[k] == column;
            }
            if (!listed) {
                plan->widen[plan->widen_count++] = column;
                column->char_max_length =
                    ROW_MAX_TEXT; /* temp tables are made as wide as it will be */
            }
        }
    }
    (void)self;
}

/* One entry that nobody counted makes the sum one that nobody knows. */
static void count_rows(struct plan_staged *sum, const struct entry *entry, enum entry_role role)
{
    if (entry->is_uncounted || sum->rows == PLAN_UNCOUNTED) {
        sum->rows = PLAN_UNCOUNTED;
    } else {
        sum->rows += entry->staged[role].rows;
    }
}

/* By what was staged, not by what is configured now: that may have changed in between. */
static bool is_zstd(const struct names *files)
{
    static const char suffix[] = ".zst";
    size_t len = sizeof suffix - 1;

    return files->count > 0 && files->items[0].len > len &&
           memcmp(files->items[0].ptr + files->items[0].len - len, suffix, len) == 0;
}

/* The work of one binding, from its entries that were not applied yet. */
static void gather(struct commit_op *self, unsigned binding)
{
    struct bound *bound = &self->txn->bounds[binding];
    struct commit_work *work = &self->works[self->work_count];
    bool found = false;

    *work = (struct commit_work){
        .plan = {
            .binding = binding,
            .table = &bound->table,
            .widen = ARENA_ARRAY(self->arena, bound->table.column_count, const struct rs_column *),
            .published_at = txn_published_at(bound),
        }};
    for (unsigned i = self->first[binding]; i != NONE; i = self->next[i]) {
        const struct entry *entry = &self->selected.items[i];
        if (self->is_applied[i]) {
            continue;
        }
        found = true;
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            append_names(self, &work->files[role], &entry->staged[role].files);
            count_rows(&work->plan.staged[role], entry, role);
            work->plan.zstd |= is_zstd(&entry->staged[role].files);
        }
        append_widenings(self, work, bound, &entry->widen);
        if (span_compare(work->plan.delete_before, entry->delete_before) < 0) {
            work->plan.delete_before = entry->delete_before;
        }
    }
    if (work->plan.delete_before.len && !work->plan.published_at) {
        txn_warn_unpublished(bound, work->plan.delete_before); /* the spec changed since */
        work->plan.delete_before = SPAN_NONE;
    }
    self->work_count += found;
}

static void gather_all(struct commit_op *self)
{
    self->works = ARENA_ARRAY(self->arena, self->txn->options.binding_count, struct commit_work);
    self->work_count = 0;
    for (unsigned i = 0; i < self->txn->options.binding_count; i++) {
        gather(self, i);
    }
}

static struct span put_manifest(struct commit_op *self,
                                unsigned binding,
                                enum entry_role role,
                                const struct names *files)
{
    struct txn *txn = self->txn;

    if (files->count == 0) {
        return SPAN_NONE;
    }
    struct span early = early_find(txn, files);
    if (early.len > 0) {
        return early;
    }
    struct span key =
        span_of(arena_printf(self->arena, "%sr%06" PRIu64 "-a%u-b%04u-%s.manifest", txn->prefix,
                             txn->round, self->listings, binding, entry_role_name(role)));
    manifests_put(&self->manifests, key, files, &self->trash);
    return key;
}

/* Tokens as they will be: what this row had, and the ids applied now. Slots of state keys that
 * neither the spec nor the state know any more are left out, so that the text stays bounded. */
static struct error *tokens_text(struct commit_op *self, struct span *ret)
{
    struct txn *txn = self->txn;
    struct tokens next = {0};
    struct buf text;

    for (unsigned i = 0; i < txn->own_tokens.count; i++) {
        const struct token *token = &txn->own_tokens.items[i];
        if (txn_find_bound(txn, token->state_key) ||
            entries_find(&txn->pending, token->state_key, token->range)) {
            tokens_set(&next, self->arena, token->state_key, token->range, token->id);
        }
    }
    for (unsigned i = 0; i < self->selected.count; i++) {
        const struct entry *entry = &self->selected.items[i];
        tokens_set(&next, self->arena, entry->state_key, entry->range, entry->id);
    }
    buf_init(&text, TOKENS_MAX_BYTES);
    tokens_add_json(&text, &next);
    struct error *err = NULL;
    if (buf_is_full(&text)) {
        err = error_new(
            ERROR_STATE, ERROR_FATAL,
            "the tokens of %u bindings and ranges do not fit into the metadata table's column",
            next.count);
    } else {
        *ret = arena_span(self->arena, buf_view(&text));
    }
    buf_done(&text);
    return err;
}

static struct error *make_plan(struct commit_op *self)
{
    struct txn *txn = self->txn;
    struct plan_work *works = ARENA_ARRAY(self->arena, self->work_count, struct plan_work);
    struct span tokens;

    RETURN_IF_ERROR(tokens_text(self, &tokens));
    for (unsigned i = 0; i < self->work_count; i++) {
        works[i] = self->works[i].plan;
    }
    struct plan_apply facts = {
        .metadata = &txn->metadata,
        .task = txn->options.task,
        .key_begin = txn->options.key_begin,
        .key_end = txn->options.key_end,
        .fence = txn->fence,
        .tokens_json = tokens,
        .must_check_first = self->must_check_first,
        .works = works,
        .work_count = self->work_count,
        .copy = txn_copy_options(txn),
    };
    plan_apply(&self->plan, self->arena, &facts);
    return NULL;
}

/* Manifests of what is left to apply, as far as they are not there already; the plan over them is
 * made for each try (prepare). */
static void start_listing(struct commit_op *self)
{
    self->listings++;
    gather_all(self);
    manifests_init(&self->manifests, self->txn, &self->op);
    for (unsigned i = 0; i < self->work_count; i++) {
        struct commit_work *work = &self->works[i];
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            work->plan.staged[role].manifest =
                put_manifest(self, work->plan.binding, role, &work->files[role]);
        }
    }
    op_set_state(&self->op, COMMIT_LISTING);
    op_mark(&self->op);
}

/* ---------------------------------------------------------------- answers */

static struct error *judge_rows(struct commit_op *self)
{
    struct txn *txn = self->txn;
    unsigned applied = 0;

    if (!fence_is_owner(&self->rows, txn->fence)) {
        self->verdict = VERDICT_REPLACED;
        return error_new(
            ERROR_STATE, ERROR_FATAL,
            "another instance of this task has taken over: this one applies nothing any more");
    }
    for (unsigned i = 0; i < self->selected.count; i++) {
        const struct entry *entry = &self->selected.items[i];
        if (!self->is_applied[i] &&
            tokens_have(&self->rows.applied, entry->state_key, entry->range, entry->id)) {
            self->is_applied[i] = true;
            applied++;
        }
    }
    if (applied) {
        self->verdict = VERDICT_APPLIED;
        return error_new(ERROR_STATE, ERROR_ABORT, "%u staged transactions were applied before",
                         applied);
    }
    return NULL;
}

static struct error *take_count(const struct commit_op *self, unsigned index, struct span text)
{
    const struct plan_note *note = &self->plan.notes[index];
    int64_t copied;

    if (text_to_int64(text, &copied) && copied >= 0 && (uint64_t)copied == note->expected_rows) {
        return NULL;
    }
    struct error *err = error_new(
        ERROR_SQL, ERROR_FATAL,
        "COPY loaded %.*s rows for %.*s, but %" PRIu64 " were staged; nothing was committed",
        SPAN_FMT(text), SPAN_FMT(self->txn->bounds[note->binding].table.identifier),
        note->expected_rows);
    error_set_hint(err, "Look at sys_load_error_detail and at the staged files named in the "
                        "manifest. The staged work is kept and is tried again at the next start.");
    return err;
}

static struct error *take_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct commit_op *self = ctx;

    switch (self->plan.notes[index].step) {
    case PLAN_CHECK:
        return fence_rows_add(&self->rows, row);
    case PLAN_COUNT:
        return row->count == 1 ? take_count(self, index, row->values[0]) : NULL;
    default:
        return NULL;
    }
}

static void log_resource(struct commit_op *self, const struct plan_note *note)
{
    uint64_t now = loop_now_ms(self->txn->loop);
    const struct rs_table *table = &self->txn->bounds[note->binding].table;
    struct buf path;

    buf_init(&path, 4096);
    buf_add_byte(&path, '"');
    for (unsigned i = 0; i < table->path_count; i++) {
        json_add_escaped(&path, table->path[i]);
        buf_add_str(&path, i + 1 < table->path_count ? "\",\"" : "\"");
    }
    char *array = arena_printf(self->arena, "[%.*s]", SPAN_FMT(buf_view(&path)));
    buf_done(&path);
    log_event(LOG_INFO, "finished committing documents for resource",
              LOG_INT("round", self->txn->acknowledged_round),
              LOG_JSON("resourcePath", span_of(array)), LOG_MS("took", now - self->result_ms),
              LOG_END);
    self->result_ms = now;
}

static void log_expired(const struct commit_op *self, const struct plan_note *note, int64_t rows)
{
    for (unsigned i = 0; i < self->work_count; i++) {
        const struct plan_work *work = &self->works[i].plan;
        if (work->binding == note->binding) {
            log_event(LOG_INFO, "deleting what was published before a backfill",
                      LOG_SPAN("table", work->table->identifier),
                      LOG_SPAN("before", work->delete_before), LOG_INT("rows", rows), LOG_END);
        }
    }
}

static struct error *take_result(void *ctx, unsigned index, int64_t tag_rows)
{
    struct commit_op *self = ctx;
    const struct plan_note *note = &self->plan.notes[index];
    struct bound *bound = &self->txn->bounds[note->binding];

    if (note->ends_binding) {
        log_resource(self, note);
    }
    switch (note->step) {
    case PLAN_WIDEN:
        bound->is_widened[note->column - bound->columns] = true;
        break;
    case PLAN_CHECK:
        self->result_ms = loop_now_ms(self->txn->loop);
        return judge_rows(self);
    case PLAN_EXPIRE:
        log_expired(self, note, tag_rows);
        break;
    case PLAN_TOKENS:
        if (tag_rows != 1) {
            self->verdict = VERDICT_REPLACED;
            return error_new(ERROR_STATE, ERROR_FATAL,
                             "the row of this task in the metadata table is not ours any more");
        }
        break;
    default:
        break;
    }
    return NULL;
}

/* ---------------------------------------------------------------- tries */

/* The texts are made as late as this, since the keys in them are those of this moment. */
static struct error *prepare(void *ctx, unsigned number)
{
    struct commit_op *self = ctx;

    arena_reset(self->check_arena);
    fence_rows_init(&self->rows, self->check_arena, self->txn->options.key_begin,
                    self->txn->options.key_end);
    self->verdict = VERDICT_NONE;
    self->result_ms = loop_now_ms(self->txn->loop);
    self->must_check_first |= number > 1;
    plan_wipe(&self->plan);
    return make_plan(self);
}

static bool all_are_applied(const struct commit_op *self)
{
    for (unsigned i = 0; i < self->selected.count; i++) {
        if (!self->is_applied[i]) {
            return false;
        }
    }
    return true;
}

static bool may_retry(void *ctx)
{
    const struct commit_op *self = ctx;
    return self->verdict == VERDICT_NONE;
}

static bool was_applied(void *ctx)
{
    const struct commit_op *self = ctx;
    return self->verdict == VERDICT_APPLIED && all_are_applied(self);
}

static struct names copied_files(void *ctx, unsigned binding)
{
    struct commit_op *self = ctx;
    unsigned i = 0;

    while (i + 1 < self->work_count && self->works[i].plan.binding != binding) {
        i++;
    }
    struct names files = {0};
    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        append_names(self, &files, &self->works[i].files[role]);
    }
    return files;
}

static void start_attempt(struct commit_op *self)
{
    struct attempt_hooks hooks = {
        .on_row = take_row,
        .on_result = take_result,
        .prepare = prepare,
        .may_retry = may_retry,
        .was_applied = was_applied,
        .copied_files = copied_files,
        .retry_message = "applying staged work failed, trying again",
        .retry = FIGURE_RETRY_apply,
        .ctx = self,
    };
    op_reply_expect(&self->reply, &self->op);
    self->attempt = attempt_start(self->txn, &self->plan, &hooks, op_reply_done, &self->reply);
    op_set_state(&self->op, COMMIT_ATTEMPTING);
}

/* An earlier COMMIT of ours, or of the instance before us, reached the server although its answer
 * did not reach the client. */
static void drop_applied(struct commit_op *self)
{
    struct txn *txn = self->txn;

    log_event(LOG_INFO, "staged work was applied before and is not applied again",
              LOG_INT("round", txn->round), LOG_END);
    for (unsigned i = 0; i < self->rows.own.count; i++) {
        const struct token *token = &self->rows.own.items[i];
        tokens_set(&txn->own_tokens, txn->tokens_arena, token->state_key, token->range, token->id);
    }
    if (all_are_applied(self)) {
        op_finish(&self->op);
        return;
    }
    manifests_done(&self->manifests);
    plan_wipe(&self->plan);
    self->must_check_first = true;
    start_listing(self); /* what is left has other files */
}

static void after_attempt(struct commit_op *self, struct error *err)
{
    if (!err) {
        op_finish_won(&self->op);
    } else if (self->verdict == VERDICT_APPLIED) {
        error_drop(err, "the entries are settled, which is what was wanted");
        drop_applied(self);
    } else {
        op_fail(&self->op, err);
        op_finish(&self->op);
    }
}

/* ---------------------------------------------------------------- steps */

/* Recovered entries may all have been applied: the clearing patch was lost, nothing else. */
static void begin(struct commit_op *self)
{
    select_entries(self);
    if (all_are_applied(self) || op_must_stop(&self->op)) {
        op_finish(&self->op);
    } else {
        start_listing(self);
    }
}

static void commit_step(struct op *op)
{
    struct commit_op *self = CONTAINER_OF(op, struct commit_op, op);
    struct error *err = NULL;

    switch ((enum commit_state)op->state) {
    case COMMIT_BEGINNING:
        if (!early_is_under_way(self->txn)) {
            begin(self);
        }
        break;
    case COMMIT_LISTING:
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
    case COMMIT_ATTEMPTING:
        if (op_reply_take(&self->reply, &err)) {
            self->attempt = NULL;
            after_attempt(self, err);
        }
        break;
    }
}

static const struct op_kind commit_kind = {
    .name = "commit",
    .state_names = commit_state_names,
    .state_count = ARRAY_LEN(commit_state_names),
    .moves = commit_moves,
    .step = commit_step,
};

/* ---------------------------------------------------------------- settled */

/* Only what was not selected stays pending, in a new arena: the old one goes with what is settled.
 */
static void forget_settled(struct commit_op *self)
{
    struct txn *txn = self->txn;
    struct arena *arena = arena_new(TXN_ARENA_BYTES);
    struct entries left = {0};

    for (unsigned i = 0; i < txn->pending.count; i++) {
        if (!self->is_selected[i]) {
            entries_add(&left, arena, &txn->pending.items[i]);
        }
    }
    arena_free(txn->pending_arena);
    txn->pending_arena = arena;
    txn->pending = left;
}

static void settle(struct commit_op *self)
{
    struct txn *txn = self->txn;
    struct buf patch;

    for (unsigned i = 0; i < self->selected.count; i++) {
        const struct entry *entry = &self->selected.items[i];
        tokens_set(&txn->own_tokens, txn->tokens_arena, entry->state_key, entry->range, entry->id);
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            const struct names *staged = &entry->staged[role].files;
            for (unsigned k = 0; k < staged->count; k++) {
                trash_add(&self->trash, staged->items[k]);
            }
        }
    }
    buf_init(&patch, TXN_ARENA_BYTES);
    entries_add_clearing(&patch, &self->selected);
    forget_settled(self);
    txn->pending_bytes = 0;
    if (self->selected.count) {
        figures_add_phase(txn->options.figures, FIGURE_PHASE_apply,
                          loop_now_ms(txn->loop) - self->began_ms);
    }
    trash_send(txn, &self->trash);
    txn_commit_settled(txn, self->selected.count > 0, buf_view(&patch));
    buf_done(&patch);
}

static void commit_done(void *ctx, struct error *err)
{
    struct commit_op *self = ctx;
    struct txn *txn = self->txn;

    txn->commit_op = NULL;
    plan_wipe(&self->plan);
    manifests_done(&self->manifests);
    early_end(txn, &self->trash);
    if (err) {
        trash_send(txn, &self->trash);
        txn_fail(txn, error_wrap(err, "applying staged work"));
    } else {
        settle(self);
    }
    arena_free(self->arena);
    arena_free(self->check_arena);
    mem_free(self);
    txn_background_ended(txn);
}

void commit_start(struct txn *txn)
{
    struct commit_op *self = mem_alloc(sizeof *self);

    widen_give_up(txn);
    self->txn = txn;
    self->began_ms = loop_now_ms(txn->loop);
    self->arena = arena_new(TXN_ARENA_BYTES);
    self->check_arena = arena_new(TXN_ARENA_BYTES);
    trash_init(&self->trash);
    txn->commit_op = self;
    txn->background++;
    op_init(&self->op, txn->loop, &commit_kind, commit_done, self);
    op_mark(&self->op);
}

void commit_look_again(struct txn *txn)
{
    op_mark(&txn->commit_op->op);
}

void commit_add_wait(const struct txn *txn, struct buf *out)
{
    const struct commit_op *self = txn->commit_op;

    if (self && self->attempt) {
        attempt_add_wait(txn, self->attempt, out);
    } else if (self) {
        buf_add_str(out, "S3: the lists of staged files are stored");
    }
}

void commit_cancel(struct txn *txn)
{
    if (txn->commit_op) {
        op_cancel(&txn->commit_op->op);
        manifests_cancel(&txn->commit_op->manifests);
        if (txn->commit_op->attempt) {
            op_cancel(txn->commit_op->attempt);
        }
    }
}
