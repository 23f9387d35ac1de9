/*
 * connector/apply_plan: what Apply has to do. In: the materialization to be, the one that was, what
 * exists. Out: statements in order, and their texts one below the other as people see them. Pure.
 */

#include "connector/apply_plan.h"
#include "connector/binding.h"

#include "redshift/dialect.h"

/* Redshift takes statements of at most 16 MB. */
#define STATEMENT_BYTES ((size_t)16 * 1024 * 1024)
#define ACTION_BYTES ((size_t)256 * 1024 * 1024)

struct planning {
    struct arena *arena;
    const struct config *config;
    struct rs_catalog *catalog;
    const struct proto_apply *request;
    struct pgc_statement *statements;
    unsigned statement_count, statement_room;
    struct buf sql;    /* the statement that is being written */
    struct buf action; /* what was planned, one below the other */
};

/* ---------------------------------------------------------------- statements */

/* Moves what is in self->sql to the end of the plan. A text of several statements goes by the
 * simple protocol, which runs it as one transaction. */
static struct error *plan(struct planning *self, const char *label, bool is_simple)
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
static struct error *plan_schema(struct planning *self, struct span schema)
{
    if (schema.len == 0 || rs_catalog_has_schema(self->catalog, schema)) {
        return NULL;
    }
    rs_fold(&self->sql, schema, rs_catalog_is_case_sensitive(self->catalog));
    rs_catalog_add_schema(self->catalog, buf_view(&self->sql));
    buf_clear(&self->sql);
    rs_sql_create_schema(&self->sql, schema);
    return plan(self, arena_printf(self->arena, "creating schema \"%.*s\"", SPAN_FMT(schema)),
                false);
}

static struct error *plan_schemas(struct planning *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    RETURN_IF_ERROR(plan_schema(self, span_of(self->config->schema)));
    for (unsigned i = 0; i < spec->binding_count; i++) {
        if (spec->bindings[i].resource_path_count == 2) {
            RETURN_IF_ERROR(plan_schema(self, spec->bindings[i].resource_path[0]));
        }
    }
    return NULL;
}

static struct error *plan_metadata(struct planning *self)
{
    struct rs_table table;

    rs_metadata_table(self->arena, span_of(self->config->schema), &table);
    if (rs_catalog_find(self->catalog, table.path, table.path_count)) {
        return NULL;
    }
    rs_sql_create_table(&self->sql, &table);
    return plan(self, "running setup: creating checkpoints table", true);
}

/* ---------------------------------------------------------------- a table that exists */

/* Redshift cannot take a NOT NULL away. Only tables that others made have one. */
static struct error *check_not_null(struct planning *self,
                                    const struct proto_binding *binding,
                                    const struct rs_existing_table *existing,
                                    const struct rs_table *table)
{
    const struct rs_catalog *catalog = self->catalog;
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

static struct error *plan_update(struct planning *self,
                                 const struct proto_binding *binding,
                                 const struct rs_existing_table *existing,
                                 const struct rs_table *table)
{
    RETURN_IF_ERROR(check_not_null(self, binding, existing, table));
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        const struct rs_existing_column *actual =
            rs_catalog_find_column(self->catalog, existing, column->field);

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
static struct error *plan_binding(struct planning *self, const struct proto_binding *binding)
{
    const struct proto_materialization *spec = self->request->materialization;
    const struct proto_binding *last = binding_last(
        self->request->last_materialization, binding->resource_path, binding->resource_path_count);
    struct rs_table table;

    RETURN_IF_ERROR(binding_table(self->arena, self->config, spec, binding, self->catalog, &table));
    const struct rs_existing_table *existing =
        rs_catalog_find(self->catalog, table.path, table.path_count);
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

static struct error *plan_all(struct planning *self)
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

struct error *apply_plan(struct arena *arena,
                         const struct config *config,
                         struct rs_catalog *catalog,
                         const struct proto_apply *request,
                         struct apply_plan *ret)
{
    struct planning planning = {
        .arena = arena, .config = config, .catalog = catalog, .request = request};

    buf_init(&planning.sql, STATEMENT_BYTES);
    buf_init(&planning.action, ACTION_BYTES);
    struct error *err = plan_all(&planning);
    if (!err) {
        *ret = (struct apply_plan){
            .statements = planning.statements,
            .count = planning.statement_count,
            .action = arena_span(arena, buf_view(&planning.action)),
        };
    }
    buf_done(&planning.sql);
    buf_done(&planning.action);
    return err;
}
