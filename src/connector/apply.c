/*
 * connector/apply: Apply as an operation. In: the materialization to be, and the one that was. Out:
 * schemas, the metadata table and a table per binding with all its columns; and the text of what
 * was done, as it is shown to people. What exists already is left alone, so Apply may be repeated
 * after it stopped anywhere.
 *
 *      BEGINNING -> READING -> CREATING -> CLOSING -> done
 *                      \----------------------^   (nothing to do, a failure or a cancel)
 */

#include "connector/binding.h"
#include "connector/validate.h"

#include "base/text.h"
#include "redshift/dialect.h"

#define APPLYING_STATES(X) X(BEGINNING) X(READING) X(CREATING) X(CLOSING)
#define APPLYING_ENUM(name) APPLYING_##name,
enum applying_state { APPLYING_STATES(APPLYING_ENUM) };
static const char *const applying_state_names[] = {APPLYING_STATES(OP_STATE_NAME)};
static const uint32_t applying_moves[] = {
    [APPLYING_BEGINNING] = OP_MOVE(APPLYING_READING),
    [APPLYING_READING] = OP_MOVE(APPLYING_CREATING) | OP_MOVE(APPLYING_CLOSING),
    [APPLYING_CREATING] = OP_MOVE(APPLYING_CLOSING),
};

/* Redshift takes statements of at most 16 MB. */
#define STATEMENT_BYTES ((size_t)16 * 1024 * 1024)
#define ACTION_BYTES ((size_t)256 * 1024 * 1024)

struct applying {
    struct op op;
    struct world *world;
    struct arena *arena;
    const struct proto_apply *request;
    struct apply_result *ret;
    struct catalog_reading reading;
    struct op *child; /* the reader, while under way */
    struct pgc_statement *statements;
    unsigned statement_count, statement_room;
    struct buf sql;    /* the statement that is being written */
    struct buf action; /* what was planned, one below the other */
    struct op_reply reply;
    bool conn_closed;
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- the plan */

/* Moves what is in self->sql to the end of the plan. A text of several statements goes by the
 * simple protocol, which runs it as one transaction. */
static struct error *plan(struct applying *self, const char *label, bool is_simple)
{
    if (buf_is_full(&self->sql)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "%s: the statement is longer than %zu bytes",
                         label, STATEMENT_BYTES);
    }
    if (self->statement_count == self->statement_room) {
        unsigned room = self->statement_room ? 2 * self->statement_room : 16;
        struct pgc_statement *statements = ARENA_ARRAY(self->arena, room, struct pgc_statement);
        if (self->statement_count > 0) {
            memcpy(statements, self->statements, self->statement_count * sizeof(*statements));
        }
        self->statements = statements;
        self->statement_room = room;
    }
    self->statements[self->statement_count++] = (struct pgc_statement){
        .label = label,
        .sql = arena_strndup(self->arena, buf_view(&self->sql)),
        .sync = true,
        .is_simple = is_simple,
    };
    if (self->action.len > 0) {
        buf_add_byte(&self->action, '\n');
    }
    buf_add_span(&self->action, buf_view(&self->sql));
    buf_clear(&self->sql);
    return NULL;
}

/* A schema that is planned exists from then on: two spellings of one name make one schema. */
static struct error *plan_schema(struct applying *self, struct span schema)
{
    if (schema.len == 0 || rs_catalog_has_schema(self->reading.catalog, schema)) {
        return NULL;
    }
    rs_fold(&self->sql, schema, rs_catalog_is_case_sensitive(self->reading.catalog));
    rs_catalog_add_schema(self->reading.catalog, buf_view(&self->sql));
    buf_clear(&self->sql);
    rs_sql_create_schema(&self->sql, schema);
    return plan(self, arena_printf(self->arena, "creating schema \"%.*s\"", SPAN_FMT(schema)),
                false);
}

static struct error *plan_schemas(struct applying *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    RETURN_IF_ERROR(plan_schema(self, span_of(self->world->config->schema)));
    for (unsigned i = 0; i < spec->binding_count; i++) {
        if (spec->bindings[i].resource_path_count == 2) {
            RETURN_IF_ERROR(plan_schema(self, spec->bindings[i].resource_path[0]));
        }
    }
    return NULL;
}

static struct error *plan_metadata(struct applying *self)
{
    struct rs_table table;

    rs_metadata_table(self->arena, span_of(self->world->config->schema), &table);
    if (rs_catalog_find(self->reading.catalog, table.path, table.path_count)) {
        return NULL;
    }
    rs_sql_create_table(&self->sql, &table);
    return plan(self, "running setup: creating checkpoints table", true);
}

/* ---------------------------------------------------------------- a table that exists */

/* Redshift cannot take a NOT NULL away. Only tables that others made have one. */
static struct error *check_not_null(struct applying *self,
                                    const struct proto_binding *binding,
                                    const struct rs_existing_table *existing,
                                    const struct rs_table *table)
{
    const struct rs_catalog *catalog = self->reading.catalog;
    unsigned count = existing->column_count;
    bool *is_filled = ARENA_ARRAY(self->arena, count + 1, bool);
    unsigned bad = 0;

    for (unsigned i = 0; i < table->column_count; i++) {
        struct span name = table->columns[i].field;
        const struct rs_existing_column *column = rs_catalog_find_column(catalog, existing, name);
        const struct proto_projection *projection = binding_projection(binding->collection, name);
        if (column) {
            struct rs_field field;
            binding_field(projection, &field);
            is_filled[column - existing->columns] =
                field.must_exist || column->has_default || field.default_json.ptr;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        bad += !existing->columns[i].is_nullable && !is_filled[i];
    }
    if (bad == 0) {
        return NULL;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "table %.*s has columns (%u) that are NOT NULL and are no longer given a "
                     "value: Redshift cannot drop that constraint",
                     SPAN_FMT(table->identifier), bad);
}

static struct error *plan_update(struct applying *self,
                                 const struct proto_binding *binding,
                                 const struct rs_existing_table *existing,
                                 const struct rs_table *table)
{
    RETURN_IF_ERROR(check_not_null(self, binding, existing, table));
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        const struct rs_existing_column *actual =
            rs_catalog_find_column(self->reading.catalog, existing, column->field);

        if (!actual) {
            rs_sql_add_column(&self->sql, table, column);
            RETURN_IF_ERROR(
                plan(self,
                     arena_printf(self->arena, "adding column %.*s to table %.*s",
                                  SPAN_FMT(column->identifier), SPAN_FMT(table->identifier)),
                     false));
        } else if (!column->type.is_user_ddl &&
                   !rs_type_is_compatible(&column->type, actual->data_type)) {
            return error_new(ERROR_INPUT, ERROR_CONFIG,
                             "column %.*s of table %.*s is of type %.*s and would have to become "
                             "%.*s: changing the type of a column is not supported by this version "
                             "of the connector",
                             SPAN_FMT(column->identifier), SPAN_FMT(table->identifier),
                             SPAN_FMT(actual->data_type), SPAN_FMT(column->type.ddl));
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- bindings */

/* Whether there is a last binding does not matter for a table that exists with the same counter:
 * an Apply that died half way is repeated without one. */
static struct error *plan_binding(struct applying *self, const struct proto_binding *binding)
{
    const struct proto_materialization *spec = self->request->materialization;
    const struct proto_binding *last = binding_last(
        self->request->last_materialization, binding->resource_path, binding->resource_path_count);
    struct rs_table table;

    RETURN_IF_ERROR(binding_table(self->arena, self->world->config, spec, binding,
                                  self->reading.catalog, &table));
    const struct rs_existing_table *existing =
        rs_catalog_find(self->reading.catalog, table.path, table.path_count);
    if (!existing) {
        rs_sql_create_table(&self->sql, &table);
        return plan(self,
                    arena_printf(self->arena, "failed to create table \"%.*s\"",
                                 SPAN_FMT(table.identifier)),
                    true);
    }
    if (last && last->backfill != binding->backfill) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "table %.*s is to be backfilled (counter %u, was %u): backfilling a table "
                         "that exists is not supported by this version of the connector",
                         SPAN_FMT(table.identifier), binding->backfill, last->backfill);
    }
    return plan_update(self, binding, existing, &table);
}

static struct error *plan_all(struct applying *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    RETURN_IF_ERROR(plan_schemas(self));
    RETURN_IF_ERROR(plan_metadata(self));
    for (unsigned i = 0; i < spec->binding_count; i++) {
        RETURN_IF_ERROR(error_wrap(plan_binding(self, &spec->bindings[i]), "binding %u", i));
    }
    if (buf_is_full(&self->action)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "the statements of all tables are longer than %zu bytes", ACTION_BYTES);
    }
    return NULL;
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

static void start_creating(struct applying *self)
{
    op_fail(&self->op, plan_all(self));
    if (op_must_stop(&self->op) || self->statement_count == 0) {
        start_closing(self);
        return;
    }
    struct pgc_batch batch = {.statements = self->statements, .count = self->statement_count};
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->reading.conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, APPLYING_CREATING);
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
        if (!op_reply_take(&self->reply, &err)) {
            if (op->cancel_asked) {
                op_cancel(self->child);
            }
            return;
        }
        self->child = NULL;
        op_fail(op, error_wrap(err, "reading what exists in the warehouse"));
        if (op_must_stop(op)) {
            start_closing(self);
        } else {
            start_creating(self);
        }
        break;
    case APPLYING_CREATING:
        if (op_reply_take(&self->reply, &err)) {
            op_fail(op, err);
            start_closing(self);
        } else if (op->cancel_asked) {
            start_closing(self); /* the batch then ends with an error */
        }
        break;
    case APPLYING_CLOSING:
        if (op_reply_take(&self->reply, &err)) {
            error_drop(err, "it was cancelled");
        }
        if (self->conn_closed) {
            self->ret->action = arena_span(self->arena, buf_view(&self->action));
            op_finish(op);
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

    buf_done(&self->sql);
    buf_done(&self->action);
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
    buf_init(&self->sql, STATEMENT_BYTES);
    buf_init(&self->action, ACTION_BYTES);
    op_init(&self->op, world->loop, &applying_kind, applying_done, self);
    op_mark(&self->op);
    return &self->op;
}
