/*
 * connector/apply: Apply as an operation. In: the materialization to be, the one that was, the
 * connector state. Out: schemas, the metadata table and a table per binding with all its columns;
 * and the text of what was done, as it is shown to people. What has to be done is decided by
 * apply_plan.c, from what exists each time: so Apply may be repeated after it stopped anywhere.
 *
 *      BEGINNING -> READING -> PREPARING -> TRUNCATING -> ALTERING -> CLOSING -> done
 *                                   \-> SETTLING ----------------------^
 *                 (any may be passed over; a failure or a cancel leads to CLOSING)
 *
 * A table that is changed in place must first get the work that was staged for its former columns.
 * If there is any, that is all that is done: the runtime stores the patch that clears it from the
 * state and sends Apply again.
 */

#include "connector/apply_plan.h"
#include "connector/apply_run.h"
#include "connector/binding.h"
#include "connector/validate.h"

#include "base/log.h"
#include "txn/settle.h"

#define APPLYING_STATES(X)                                                                         \
    X(BEGINNING) X(READING) X(PREPARING) X(SETTLING) X(TRUNCATING) X(ALTERING) X(CLOSING)
#define APPLYING_ENUM(name) APPLYING_##name,
enum applying_state { APPLYING_STATES(APPLYING_ENUM) };
static const char *const applying_state_names[] = {APPLYING_STATES(OP_STATE_NAME)};
static const uint32_t applying_moves[] = {
    [APPLYING_BEGINNING] = OP_MOVE(APPLYING_READING),
    [APPLYING_READING] = OP_MOVE(APPLYING_PREPARING) | OP_MOVE(APPLYING_CLOSING),
    [APPLYING_PREPARING] =
        OP_MOVE(APPLYING_SETTLING) | OP_MOVE(APPLYING_TRUNCATING) | OP_MOVE(APPLYING_CLOSING),
    [APPLYING_SETTLING] = OP_MOVE(APPLYING_CLOSING),
    [APPLYING_TRUNCATING] = OP_MOVE(APPLYING_ALTERING) | OP_MOVE(APPLYING_CLOSING),
    [APPLYING_ALTERING] = OP_MOVE(APPLYING_CLOSING),
};

struct applying {
    struct op op;
    struct world *world;
    struct arena *arena;
    const struct proto_apply *request;
    struct apply_result *ret;
    struct catalog_reading reading;
    struct op *child; /* what is under way and can be cancelled */
    struct apply_plan plan;
    struct span action, patch;
    struct op_reply reply;
    bool conn_closed;
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- staged work */

static const struct proto_materialization *last_of(const struct applying *self)
{
    return self->request->last_materialization;
}

static struct error *has_staged(struct applying *self, bool *ret)
{
    const struct apply_plan *plan = &self->plan;
    struct span *keys = ARENA_ARRAY(self->arena, plan->settled_count, struct span);

    *ret = false;
    for (unsigned i = 0; i < plan->settled_count; i++) {
        keys[i] = plan->settled[i]->state_key;
    }
    return plan->settled_count > 0
               ? txn_has_staged(self->request->state_json, keys, plan->settled_count, ret)
               : NULL;
}

static bool has_tokens_column(const struct applying *self)
{
    struct span path[2];
    unsigned count;

    world_metadata_path(self->world, path, &count);
    const struct rs_existing_table *table = rs_catalog_find(self->reading.catalog, path, count);
    return table &&
           rs_catalog_find_column(self->reading.catalog, table, SPAN_LIT("checkpoint_tokens"));
}

/* The bindings as they were; the configuration as it is, since the former one may be sealed. */
static struct error *start_settling(struct applying *self)
{
    const struct config *config = self->world->config;
    unsigned count = self->plan.settled_count;
    struct txn_binding *bindings = ARENA_ARRAY(self->arena, count, struct txn_binding);

    for (unsigned i = 0; i < count; i++) {
        RETURN_IF_ERROR(
            error_wrap(binding_table(self->arena, config, last_of(self), self->plan.settled[i],
                                     self->reading.catalog, &bindings[i].table),
                       "a binding as it was last applied"));
        bindings[i].state_key = self->plan.settled[i]->state_key;
    }
    struct txn_options options = {
        .task = arena_strndup(self->arena, self->request->materialization->name),
        .key_begin = 0,
        .key_end = UINT32_MAX,
        .state_json = self->request->state_json,
        .bindings = bindings,
        .binding_count = count,
        .metadata_schema = span_of(config->schema),
        .has_tokens_column = has_tokens_column(self),
        .hard_delete = config->hard_delete,
        .case_sensitive = rs_catalog_is_case_sensitive(self->reading.catalog),
        .bucket_path = config->bucket_path,
        .pg = &self->world->pg,
        .s3 = self->world->s3,
        .iam_role = config->copy_iam_role,
        .figures = self->world->figures,
    };
    log_event(LOG_INFO, "applying staged work before tables are changed",
              LOG_INT("bindings", count), LOG_END);
    op_reply_expect(&self->reply, &self->op);
    self->child = txn_settle(self->world->loop, &options, self->arena, &self->patch, op_reply_done,
                             &self->reply);
    op_set_state(&self->op, APPLYING_SETTLING);
    return NULL;
}

/* ---------------------------------------------------------------- what is told */

static void log_notes(const struct applying *self)
{
    struct span task = self->request->materialization->name;

    for (unsigned i = 0; i < self->plan.note_count; i++) {
        const struct apply_note *note = &self->plan.notes[i];
        switch (note->kind) {
        case APPLY_NOTE_BACKFILL:
            log_event(LOG_INFO, "backfilling a binding", LOG_BOOL("observable", true),
                      LOG_SPAN("catalog_task_name", task), LOG_SPAN("resource_path", note->path),
                      LOG_INT("backfill", note->backfill), LOG_END);
            break;
        case APPLY_NOTE_MIGRATION:
            log_event(LOG_INFO, "migrating a column to another type", LOG_BOOL("observable", true),
                      LOG_SPAN("catalog_task_name", task), LOG_SPAN("resource_path", note->path),
                      LOG_SPAN("field", note->field), LOG_SPAN("fromType", note->from_type),
                      LOG_SPAN("toType", note->to_type), LOG_END);
            break;
        case APPLY_NOTE_MISFIT:
            log_event(LOG_WARN, "a column has a type that values of its field do not fit",
                      LOG_SPAN("resourcePath", note->path), LOG_SPAN("field", note->field),
                      LOG_SPAN("existingType", note->from_type),
                      LOG_SPAN("mappedType", note->to_type), LOG_END);
            break;
        }
    }
}

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct applying *self = ctx;
    self->conn_closed = true;
    op_mark(&self->op);
}

static void begin(struct applying *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    if (self->op.cancel_asked) {
        op_finish(&self->op);
        return;
    }
    struct catalog_path *paths = ARENA_ARRAY(self->arena, spec->binding_count, struct catalog_path);
    for (unsigned i = 0; i < spec->binding_count; i++) {
        paths[i] = (struct catalog_path){spec->bindings[i].resource_path,
                                         spec->bindings[i].resource_path_count};
    }
    op_reply_expect(&self->reply, &self->op);
    self->child = catalog_read(self->world, self->arena, paths, spec->binding_count, &self->reading,
                               op_reply_done, &self->reply);
    op_set_state(&self->op, APPLYING_READING);
}

static void start_closing(struct applying *self)
{
    if (self->reading.conn) {
        pgc_close(self->reading.conn, conn_closed, self);
    } else {
        self->conn_closed = true;
    }
    op_set_state(&self->op, APPLYING_CLOSING);
}

static void start_preparing(struct applying *self)
{
    op_fail(&self->op, apply_plan(self->arena, self->world->config, self->reading.catalog,
                                  self->request, &self->plan));
    if (op_must_stop(&self->op)) {
        start_closing(self);
        return;
    }
    struct pgc_batch batch = {.statements = self->plan.preparation.statements,
                              .count = self->plan.preparation.count};
    op_reply_expect(&self->reply, &self->op);
    if (batch.count > 0) {
        pgc_run(self->reading.conn, &batch, op_reply_done, &self->reply);
    } else {
        op_reply_done(&self->reply, NULL);
    }
    op_set_state(&self->op, APPLYING_PREPARING);
}

static void start_actions(struct applying *self, const struct apply_actions *actions)
{
    op_reply_expect(&self->reply, &self->op);
    if (actions->count > 0) {
        self->child =
            apply_run(self->world, &self->reading.conn, actions, op_reply_done, &self->reply);
    } else {
        op_reply_done(&self->reply, NULL);
    }
}

/* Schemas and the metadata table are there. */
static void after_preparing(struct applying *self)
{
    bool must_settle = false;

    op_fail(&self->op, has_staged(self, &must_settle));
    if (!op_must_stop(&self->op) && must_settle) {
        self->action = self->plan.preparation.text;
        op_fail(&self->op, start_settling(self));
        if (self->op.state == APPLYING_SETTLING) {
            return;
        }
    }
    if (op_must_stop(&self->op)) {
        start_closing(self);
        return;
    }
    log_notes(self);
    self->action = self->plan.action;
    start_actions(self, &self->plan.truncations);
    op_set_state(&self->op, APPLYING_TRUNCATING);
}

/* True when what is under way has answered; it is hastened after a cancel. */
static bool take_answer(struct applying *self, const char *purpose)
{
    struct error *err;

    if (!op_reply_take(&self->reply, &err)) {
        if (self->op.cancel_asked && self->child) {
            op_cancel(self->child);
        }
        return false;
    }
    self->child = NULL;
    op_fail(&self->op, purpose ? error_wrap(err, "%s", purpose) : err);
    return true;
}

static void end(struct applying *self)
{
    self->ret->action = self->action;
    self->ret->patch_json = self->patch;
    op_finish(&self->op);
}

static void applying_step(struct op *op)
{
    struct applying *self = CONTAINER_OF(op, struct applying, op);
    struct error *err;

    switch ((enum applying_state)op->state) {
    case APPLYING_BEGINNING:
        begin(self);
        break;
    case APPLYING_READING:
        if (!take_answer(self, "reading what exists in the warehouse")) {
            return;
        }
        if (op_must_stop(op)) {
            start_closing(self);
        } else {
            start_preparing(self);
        }
        break;
    case APPLYING_PREPARING:
        if (take_answer(self, NULL) && !op_must_stop(op)) {
            after_preparing(self);
        } else if (op_must_stop(op)) {
            start_closing(self); /* what still runs then ends with an error */
        }
        break;
    case APPLYING_SETTLING:
        if (take_answer(self, "applying staged work before its table is changed")) {
            start_closing(self);
        }
        break;
    case APPLYING_TRUNCATING:
        if (!take_answer(self, NULL)) {
            return;
        }
        if (op_must_stop(op)) {
            start_closing(self);
        } else {
            start_actions(self, &self->plan.tables);
            op_set_state(op, APPLYING_ALTERING);
        }
        break;
    case APPLYING_ALTERING:
        if (take_answer(self, NULL)) {
            start_closing(self);
        }
        break;
    case APPLYING_CLOSING:
        if (op_reply_take(&self->reply, &err)) {
            error_drop(err, "it was cancelled");
        }
        if (self->conn_closed) {
            end(self);
        }
        break;
    }
}

static const struct op_kind applying_kind = {
    .name = "apply",
    .state_names = applying_state_names,
    .state_count = ARRAY_LEN(applying_state_names),
    .moves = applying_moves,
    .step = applying_step,
};

static void applying_done(void *ctx, struct error *err)
{
    struct applying *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *apply_start(struct world *world,
                       struct arena *arena,
                       const struct proto_apply *request,
                       struct apply_result *ret,
                       op_done_fn *done,
                       void *ctx)
{
    struct applying *self = mem_alloc(sizeof *self);

    self->world = world;
    self->arena = arena;
    self->request = request;
    self->ret = ret;
    self->done = done;
    self->ctx = ctx;
    op_init(&self->op, world->loop, &applying_kind, applying_done, self);
    op_mark(&self->op);
    return &self->op;
}
