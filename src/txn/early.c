/*
 * txn/early: the lists of files that COPY reads, written while the runtime writes its log, so that
 * the apply need not wait for them. In: the entries of StartCommit. Out: manifests with their keys,
 * for commit.c to find by the files they name. Only a hint: what is not here, or failed, or names
 * other files, commit.c lists itself.
 *
 *      PUTTING -> done; then kept until the apply takes it
 *
 * Only for a shard that has the whole key range: what peers stage comes with Acknowledge, and one
 * list per table names the files of all.
 */

#include "txn/engine.h"

#include <inttypes.h>

#define EARLY_STATES(X) X(BEGINNING) X(PUTTING)
#define EARLY_ENUM(name) EARLY_##name,
enum early_state { EARLY_STATES(EARLY_ENUM) };
static const char *const early_state_names[] = {EARLY_STATES(OP_STATE_NAME)};
static const uint32_t early_moves[] = {
    [EARLY_BEGINNING] = OP_MOVE(EARLY_PUTTING),
};

struct early_list {
    struct span manifest;
    struct names files; /* of the entry, in the arena of pending ones */
};

struct early {
    struct op op;
    struct txn *txn;
    struct arena *arena;
    struct manifests manifests;
    struct trash trash; /* all of the manifests */
    struct early_list *lists;
    unsigned count;
    bool is_done, has_failed;
};

static void early_step(struct op *op)
{
    struct early *self = CONTAINER_OF(op, struct early, op);
    struct error *err = NULL;

    switch ((enum early_state)op->state) {
    case EARLY_BEGINNING:
        op_set_state(op, EARLY_PUTTING);
        break;
    case EARLY_PUTTING:
        if (manifests_take(&self->manifests, &err)) {
            op_fail(op, err);
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind early_kind = {
    .name = "early",
    .state_names = early_state_names,
    .state_count = ARRAY_LEN(early_state_names),
    .moves = early_moves,
    .step = early_step,
};

static void early_free(struct early *self)
{
    manifests_done(&self->manifests);
    trash_send(self->txn, &self->trash); /* what the apply has not taken over */
    arena_free(self->arena);
    self->txn->early = NULL;
    mem_free(self);
}

static void early_done(void *ctx, struct error *err)
{
    struct early *self = ctx;
    struct txn *txn = self->txn;

    self->is_done = true;
    self->has_failed = err != NULL;
    error_drop(err, "the apply puts the manifests again, and fails when that fails");
    if (txn->commit_op) {
        commit_look_again(txn);
    } else if (txn->phase == PHASE_CLOSING) {
        early_free(self);
    }
    txn_background_ended(txn);
}

static void add_list(struct early *self, const struct entry *entry, enum entry_role role)
{
    struct txn *txn = self->txn;
    const struct bound *bound = txn_find_bound(txn, entry->state_key);
    const struct names *files = &entry->staged[role].files;

    if (files->count == 0 || !bound) {
        return;
    }
    struct span key =
        span_of(arena_printf(self->arena, "%sr%06" PRIu64 "-a0-b%04u-%s.manifest", txn->prefix,
                             txn->round, (unsigned)(bound - txn->bounds), entry_role_name(role)));
    self->lists[self->count++] = (struct early_list){key, *files};
    manifests_put(&self->manifests, key, files, &self->trash);
}

void early_start(struct txn *txn)
{
    struct early *self;

    CHECK(!txn->early);
    if (txn->options.key_begin != 0 || txn->options.key_end != UINT32_MAX ||
        txn->pending.count == 0) {
        return;
    }
    self = mem_alloc(sizeof *self);
    self->txn = txn;
    self->arena = arena_new(TXN_ARENA_BYTES);
    self->lists =
        ARENA_ARRAY(self->arena, (size_t)txn->pending.count * ENTRY_ROLES, struct early_list);
    trash_init(&self->trash);
    txn->early = self;
    txn->background++;
    op_init(&self->op, txn->loop, &early_kind, early_done, self);
    manifests_init(&self->manifests, txn, &self->op);
    for (unsigned i = 0; i < txn->pending.count; i++) {
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            add_list(self, &txn->pending.items[i], role);
        }
    }
    op_mark(&self->op);
}

bool early_is_under_way(const struct txn *txn)
{
    return txn->early && !txn->early->is_done;
}

static bool is_same(const struct names *a, const struct names *b)
{
    bool is_same = a->count == b->count;

    for (unsigned i = 0; is_same && i < a->count; i++) {
        is_same = span_equal(a->items[i], b->items[i]);
    }
    return is_same;
}

struct span early_find(const struct txn *txn, const struct names *files)
{
    const struct early *self = txn->early;

    for (unsigned i = 0; self && !self->has_failed && i < self->count; i++) {
        if (is_same(&self->lists[i].files, files)) {
            return self->lists[i].manifest;
        }
    }
    return SPAN_NONE;
}

void early_end(struct txn *txn, struct trash *trash)
{
    struct early *self = txn->early;

    if (self) {
        CHECK(self->is_done);
        trash_move(trash, &self->trash);
        early_free(self);
    }
}

void early_cancel(struct txn *txn, bool graceful)
{
    struct early *self = txn->early;

    if (!self || (graceful && txn->commit_op)) {
        return;
    }
    if (!self->is_done) {
        manifests_cancel(&self->manifests);
    } else if (!txn->commit_op) {
        early_free(self);
    } /* else the apply ends it */
}
