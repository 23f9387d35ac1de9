/*
 * connector/validate: Validate as an operation. In: the request. Out: constraints for each field of
 * each binding, or what a person must change. The decisions themselves are in constraint.c; nothing
 * is created here.
 *
 *      BEGINNING -> TRYING -> READING -> CLOSING -> done
 *                      \--------------------^   (a failure or a cancel)
 */

#include "connector/validate.h"
#include "connector/prerequisite.h"

#include <stdlib.h>

#define VALIDATING_STATES(X) X(BEGINNING) X(TRYING) X(READING) X(CLOSING)
#define VALIDATING_ENUM(name) VALIDATING_##name,
enum validating_state { VALIDATING_STATES(VALIDATING_ENUM) };
static const char *const validating_state_names[] = {VALIDATING_STATES(OP_STATE_NAME)};
static const uint32_t validating_moves[] = {
    [VALIDATING_BEGINNING] = OP_MOVE(VALIDATING_TRYING),
    [VALIDATING_TRYING] = OP_MOVE(VALIDATING_READING) | OP_MOVE(VALIDATING_CLOSING),
    [VALIDATING_READING] = OP_MOVE(VALIDATING_CLOSING),
};

struct validating {
    struct op op;
    struct world *world;
    struct arena *arena;
    const struct proto_validate *request;
    struct validate_result *ret;
    struct resource *resources;
    struct catalog_reading reading;
    struct op *child; /* the trial or the reader, while under way */
    struct op_reply reply;
    bool conn_closed;
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- the request */

static struct error *check_request(const struct proto_validate *request)
{
    if (request->name.len == 0) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                         "validating request: the materialization has no name");
    }
    for (unsigned i = 0; i < request->binding_count; i++) {
        if (!request->bindings[i].collection) {
            return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                             "validating request: binding %u has no collection", i);
        }
        if (request->bindings[i].resource_config_json.len == 0) {
            return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                             "validating request: binding %u has no resource config", i);
        }
    }
    return NULL;
}

static struct error *read_resources(struct validating *self)
{
    const struct proto_validate *request = self->request;

    self->resources = ARENA_ARRAY(self->arena, request->binding_count, struct resource);
    for (unsigned i = 0; i < request->binding_count; i++) {
        struct error *err = resource_read(self->arena, request->bindings[i].resource_config_json,
                                          self->world->config, &self->resources[i]);
        if (err) {
            return error_wrap(err, "binding %u of collection \"%.*s\"", i,
                              SPAN_FMT(request->bindings[i].collection->name));
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- deciding */

/* Two bindings that would write to one table, by the names the warehouse makes of their paths. */
struct located {
    struct span schema, table;
    unsigned binding;
};

static int compare_located(const void *a, const void *b)
{
    const struct located *x = a;
    const struct located *y = b;
    int order = span_compare(x->schema, y->schema);
    order = order ? order : span_compare(x->table, y->table);
    return order ? order : (x->binding > y->binding) - (x->binding < y->binding);
}

static struct error *check_tables(struct validating *self)
{
    unsigned count = self->request->binding_count;
    struct located *located = ARENA_ARRAY(self->arena, count + 1, struct located);

    for (unsigned i = 0; i < count; i++) {
        rs_catalog_locate(self->reading.catalog, self->resources[i].path,
                          self->resources[i].path_count, &located[i].schema, &located[i].table);
        located[i].binding = i;
    }
    qsort(located, count, sizeof(*located), compare_located);
    for (unsigned i = 1; i < count; i++) {
        const struct located *a = &located[i - 1];
        const struct located *b = &located[i];
        if (span_equal(a->schema, b->schema) && span_equal(a->table, b->table)) {
            return error_new(
                ERROR_INPUT, ERROR_CONFIG,
                "collections \"%.*s\" and \"%.*s\" are bound to tables \"%s\" and \"%s\", which "
                "are one table \"%.*s\" in the warehouse",
                SPAN_FMT(self->request->bindings[a->binding].collection->name),
                SPAN_FMT(self->request->bindings[b->binding].collection->name),
                self->resources[a->binding].table, self->resources[b->binding].table,
                SPAN_FMT(b->table));
        }
    }
    return NULL;
}

static struct error *decide(struct validating *self)
{
    const struct proto_validate *request = self->request;
    unsigned count = request->binding_count;
    struct proto_validated_binding *bindings =
        ARENA_ARRAY(self->arena, count, struct proto_validated_binding);

    RETURN_IF_ERROR(check_tables(self));
    for (unsigned i = 0; i < count; i++) {
        RETURN_IF_ERROR(
            error_wrap(validate_binding(self->arena, self->world->config, self->reading.catalog,
                                        &request->bindings[i], &self->resources[i],
                                        request->last_materialization, &bindings[i]),
                       "validating binding"));
    }
    self->ret->bindings = bindings;
    self->ret->count = count;
    return NULL;
}

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct validating *self = ctx;
    self->conn_closed = true;
    op_mark(&self->op);
}

static void begin(struct validating *self)
{
    op_fail(&self->op, check_request(self->request));
    if (!op_must_stop(&self->op)) {
        op_fail(&self->op, read_resources(self));
    }
    if (op_must_stop(&self->op)) {
        op_finish(&self->op);
        return;
    }
    op_reply_expect(&self->reply, &self->op);
    self->child = prerequisite_start(self->world, self->arena, &self->reading.conn, op_reply_done,
                                     &self->reply);
    op_set_state(&self->op, VALIDATING_TRYING);
}

static void start_reading(struct validating *self)
{
    unsigned count = self->request->binding_count;
    struct catalog_path *paths = ARENA_ARRAY(self->arena, count, struct catalog_path);

    for (unsigned i = 0; i < count; i++) {
        paths[i] = (struct catalog_path){self->resources[i].path, self->resources[i].path_count};
    }
    op_reply_expect(&self->reply, &self->op);
    self->child = catalog_read(self->world, self->arena, paths, count, &self->reading,
                               op_reply_done, &self->reply);
    op_set_state(&self->op, VALIDATING_READING);
}

static void start_closing(struct validating *self)
{
    if (self->reading.conn) {
        pgc_close(self->reading.conn, conn_closed, self);
    } else {
        self->conn_closed = true;
    }
    op_set_state(&self->op, VALIDATING_CLOSING);
}

/* True when the child has answered. */
static bool take_answer(struct validating *self, const char *purpose)
{
    struct error *err;

    if (!op_reply_take(&self->reply, &err)) {
        if (self->op.cancel_asked) {
            op_cancel(self->child);
        }
        return false;
    }
    self->child = NULL;
    op_fail(&self->op, purpose ? error_wrap(err, "%s", purpose) : err);
    return true;
}

static void validating_step(struct op *op)
{
    struct validating *self = CONTAINER_OF(op, struct validating, op);

    switch ((enum validating_state)op->state) {
    case VALIDATING_BEGINNING:
        begin(self);
        break;
    case VALIDATING_TRYING:
        if (!take_answer(self, NULL)) {
            return;
        }
        if (op_must_stop(op)) {
            start_closing(self);
        } else {
            start_reading(self);
        }
        break;
    case VALIDATING_READING:
        if (take_answer(self, "reading what exists in the warehouse")) {
            start_closing(self);
        }
        break;
    case VALIDATING_CLOSING:
        if (!self->conn_closed) {
            return;
        }
        if (!op_must_stop(op)) {
            op_fail(op, decide(self));
        }
        op_finish(op);
        break;
    }
}

static const struct op_kind validating_kind = {
    .name = "validate",
    .state_names = validating_state_names,
    .state_count = ARRAY_LEN(validating_state_names),
    .moves = validating_moves,
    .step = validating_step,
};

static void validating_done(void *ctx, struct error *err)
{
    struct validating *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *validate_start(struct world *world,
                          struct arena *arena,
                          const struct proto_validate *request,
                          struct validate_result *ret,
                          op_done_fn *done,
                          void *ctx)
{
    struct validating *self = mem_alloc(sizeof *self);

    self->world = world;
    self->arena = arena;
    self->request = request;
    self->ret = ret;
    self->done = done;
    self->ctx = ctx;
    op_init(&self->op, world->loop, &validating_kind, validating_done, self);
    op_mark(&self->op);
    return &self->op;
}
