/*
 * connector/apply_plan: what Apply has to do. In: the materialization to be, the one that was, what
 * exists. Out: statements, grouped by what must follow what, and their texts as people see them.
 * Pure.
 *
 *   a table that          and its backfill counter      becomes
 *   does not exist        any                           created
 *   exists                is what it was                altered: columns added, types migrated
 *                         changed, the columns fit      truncated, then altered
 *                                                       (only altered when its rows are retained)
 *                         changed, they do not          dropped and created
 */

#include "connector/apply_plan.h"
#include "connector/binding.h"
#include "connector/validate.h"

#include "redshift/dialect.h"

/* Redshift takes statements of at most 16 MB. */
#define STATEMENT_BYTES ((size_t)16 * 1024 * 1024)
#define ACTION_BYTES ((size_t)256 * 1024 * 1024)

/* An action in the making. */
struct draft {
    struct pgc_statement *statements;
    unsigned count, room;
    struct buf text;
};

enum fate { FATE_CREATED, FATE_RECREATED, FATE_ALTERED };

/* A binding and what is known of its table. */
struct subject {
    const struct proto_binding *binding, *last; /* last: NULL for none */
    struct rs_table table;
    const struct rs_existing_table *existing; /* NULL: none */
    enum fate fate;
    bool is_truncated;
};

struct planning {
    struct arena *arena;
    const struct config *config;
    struct rs_catalog *catalog;
    const struct proto_apply *request;
    struct apply_plan *plan;
    struct subject *subjects; /* by binding */
    unsigned note_room;
    struct buf sql; /* the statement that is being written */
    struct draft draft;
    struct buf action; /* what was planned so far */
};

/* ---------------------------------------------------------------- drafts */

/* Moves what is in self->sql to the end of the draft. A text of several statements goes by the
 * simple protocol, which runs it as one transaction. */
static struct error *add_statement(struct planning *self, const char *label, bool is_simple)
{
    struct draft *draft = &self->draft;

    if (buf_is_full(&self->sql)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "%s: the statement is longer than %zu bytes",
                         label, STATEMENT_BYTES);
    }
    if (draft->count == draft->room) {
        unsigned room = draft->room ? 2 * draft->room : 4;
        struct pgc_statement *statements = ARENA_ARRAY(self->arena, room, struct pgc_statement);
        if (draft->count > 0) {
            memcpy(statements, draft->statements, draft->count * sizeof(*statements));
        }
        draft->statements = statements;
        draft->room = room;
    }
    draft->statements[draft->count++] = (struct pgc_statement){
        .label = label,
        .sql = arena_strndup(self->arena, buf_view(&self->sql)),
        .sync = true,
        .is_simple = is_simple,
    };
    if (draft->text.len > 0) {
        buf_add_byte(&draft->text, '\n');
    }
    buf_add_span(&draft->text, buf_view(&self->sql));
    buf_clear(&self->sql);
    return NULL;
}

/* The draft becomes an action, told below what was planned before. */
static struct error *take_draft(struct planning *self, struct apply_action *ret)
{
    struct draft *draft = &self->draft;

    if (self->action.len > 0) {
        buf_add_byte(&self->action, '\n');
    }
    buf_add_span(&self->action, buf_view(&draft->text));
    if (buf_is_full(&draft->text) || buf_is_full(&self->action)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "the statements of all tables are longer than %zu bytes", ACTION_BYTES);
    }
    *ret = (struct apply_action){draft->statements, draft->count,
                                 arena_span(self->arena, buf_view(&draft->text))};
    buf_clear(&draft->text);
    draft->statements = NULL;
    draft->count = draft->room = 0;
    return NULL;
}

static void note(struct planning *self, struct apply_note note)
{
    struct apply_plan *plan = self->plan;

    if (plan->note_count == self->note_room) {
        unsigned room = self->note_room ? 2 * self->note_room : 16;
        struct apply_note *notes = ARENA_ARRAY(self->arena, room, struct apply_note);
        if (plan->note_count > 0) {
            memcpy(notes, plan->notes, plan->note_count * sizeof(*notes));
        }
        plan->notes = notes;
        self->note_room = room;
    }
    plan->notes[plan->note_count++] = note;
}

static struct span dotted_path(struct planning *self, const struct rs_table *table)
{
    if (table->path_count == 1) {
        return table->path[0];
    }
    return span_of(
        arena_printf(self->arena, "%.*s.%.*s", SPAN_FMT(table->path[0]), SPAN_FMT(table->path[1])));
}

static const char *label_column(struct planning *self,
                                const char *what,
                                const struct rs_table *table,
                                const struct rs_column *column)
{
    return arena_printf(self->arena, "%s column %.*s of table %.*s", what,
                        SPAN_FMT(column->identifier), SPAN_FMT(table->identifier));
}

static const char *
label_table(struct planning *self, const char *what, const struct rs_table *table)
{
    return arena_printf(self->arena, "%s table \"%.*s\"", what, SPAN_FMT(table->identifier));
}

/* ---------------------------------------------------------------- preparation */

/* A schema that is planned exists from then on: two spellings of one name make one schema. */
static struct error *prepare_schema(struct planning *self, struct span schema)
{
    if (schema.len == 0 || rs_catalog_has_schema(self->catalog, schema)) {
        return NULL;
    }
    rs_fold(&self->sql, schema, rs_catalog_is_case_sensitive(self->catalog));
    rs_catalog_add_schema(self->catalog, buf_view(&self->sql));
    buf_clear(&self->sql);
    rs_sql_create_schema(&self->sql, schema);
    return add_statement(
        self, arena_printf(self->arena, "creating schema \"%.*s\"", SPAN_FMT(schema)), false);
}

static struct error *prepare_metadata(struct planning *self)
{
    struct rs_table table;

    rs_metadata_table(self->arena, span_of(self->config->schema), &table);
    if (rs_catalog_find(self->catalog, table.path, table.path_count)) {
        return NULL;
    }
    rs_sql_create_table(&self->sql, &table);
    return add_statement(self, "running setup: creating checkpoints table", true);
}

static struct error *prepare(struct planning *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    RETURN_IF_ERROR(prepare_schema(self, span_of(self->config->schema)));
    for (unsigned i = 0; i < spec->binding_count; i++) {
        if (spec->bindings[i].resource_path_count == 2) {
            RETURN_IF_ERROR(prepare_schema(self, spec->bindings[i].resource_path[0]));
        }
    }
    RETURN_IF_ERROR(prepare_metadata(self));
    return self->draft.count > 0 ? take_draft(self, &self->plan->preparation) : NULL;
}

/* ---------------------------------------------------------------- backfills */

/* Would Validate accept the binding if its counter had not changed? Only what it refuses counts:
 * constraints are about the selection, which was made. */
static bool is_acceptable(struct planning *self, const struct subject *subject)
{
    const struct proto_binding *binding = subject->binding;
    struct proto_validate_binding request = {
        .collection = binding->collection,
        .options = binding->selection.options,
        .option_count = binding->selection.option_count,
        .backfill = subject->last->backfill,
    };
    struct resource resource = {
        .delta_updates = binding->delta_updates,
        .path = {subject->table.path[0], subject->table.path[1]},
        .path_count = subject->table.path_count,
    };
    struct proto_validated_binding ignored;
    struct error *err = validate_binding(self->arena, self->config, self->catalog, &request,
                                         &resource, self->request->last_materialization, &ignored);

    if (err) {
        error_drop(err, "the table is made anew, for which it does not matter");
        return false;
    }
    return true;
}

/* The server cuts long names. Of the longest ones it would leave nothing of what makes a temporary
 * column another one. */
static bool has_temporary(const struct rs_column *column)
{
    struct buf name;

    buf_init(&name, column->field.len + 16);
    rs_add_temporary_name(&name, column->field);
    bool is_other = rs_truncate(buf_view(&name)) > rs_truncate(column->field);
    buf_done(&name);
    return is_other;
}

static bool columns_fit(struct planning *self, const struct subject *subject)
{
    for (unsigned i = 0; i < subject->table.column_count; i++) {
        const struct rs_column *column = &subject->table.columns[i];
        const struct rs_existing_column *actual =
            rs_catalog_find_column(self->catalog, subject->existing, column->field);

        if (actual && !rs_type_is_compatible(&column->type, actual->data_type) &&
            (column->is_key || !has_temporary(column) ||
             !rs_type_can_migrate(&column->type, actual->data_type))) {
            return false;
        }
    }
    return true;
}

static bool has_same_keys(const struct proto_collection *a, const struct proto_collection *b)
{
    if (!a || !b || a->key_count != b->key_count) {
        return false;
    }
    for (unsigned i = 0; i < a->key_count; i++) {
        if (!span_equal(a->key[i], b->key[i])) {
            return false;
        }
    }
    return true;
}

static struct error *judge_backfill(struct planning *self, struct subject *subject)
{
    const struct config_flags *flags = &self->config->flags;

    note(self, (struct apply_note){.kind = APPLY_NOTE_BACKFILL,
                                   .path = dotted_path(self, &subject->table),
                                   .backfill = subject->binding->backfill});
    if (!flags->always_drop_tables_on_backfill && is_acceptable(self, subject) &&
        columns_fit(self, subject) &&
        has_same_keys(subject->binding->collection, subject->last->collection)) {
        subject->fate = FATE_ALTERED;
        subject->is_truncated = !flags->retain_existing_data_on_backfill;
        return NULL;
    }
    if (flags->retain_existing_data_on_backfill) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "table \"%.*s\" cannot be backfilled with its data retained: it has to be "
                         "dropped and created again. Remove the flag "
                         "'retain_existing_data_on_backfill' from advanced.feature_flags to allow "
                         "that",
                         SPAN_FMT(dotted_path(self, &subject->table)));
    }
    subject->fate = FATE_RECREATED;
    return NULL;
}

/* ---------------------------------------------------------------- altering */

/* Redshift cannot take a NOT NULL away. Only tables that others made have one. */
static struct error *check_not_null(struct planning *self, const struct subject *subject)
{
    const struct rs_catalog *catalog = self->catalog;
    const struct rs_table *table = &subject->table;
    const struct rs_existing_table *existing = subject->existing;
    unsigned count = existing->column_count;
    bool *is_filled = ARENA_ARRAY(self->arena, count + 1, bool);
    unsigned bad = 0;

    for (unsigned i = 0; i < table->column_count; i++) {
        struct span name = table->columns[i].field;
        const struct rs_existing_column *column = rs_catalog_find_column(catalog, existing, name);
        const struct proto_projection *projection =
            binding_projection(subject->binding->collection, name);
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

/* Rows without a document would not be found by a lookup, and be inserted once more. Validate asked
 * for a backfill; this is for who did not listen. */
static struct error *check_document(const struct subject *subject)
{
    if (!subject->last || subject->is_truncated || subject->last->delta_updates ||
        subject->binding->delta_updates || subject->last->selection.document.len > 0 ||
        subject->binding->selection.document.len == 0) {
        return NULL;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "table %.*s holds rows without the root document, which is materialized from "
                     "now on: it needs a backfill",
                     SPAN_FMT(subject->table.identifier));
}

/* Migrations of one table by the statement that comes next. A column may be in two lists: what an
 * interrupted migration left is renamed, and then is of yet another type than is wanted now. */
struct migrating {
    struct rs_migration *whole, *filling; /* add, fill, drop, rename; the same without add */
    const struct rs_column **renaming, **stale;
    unsigned whole_count, filling_count, renaming_count, stale_count;
};

static const struct rs_existing_column *
find_temporary(struct planning *self, const struct subject *subject, const struct rs_column *column)
{
    struct buf name;

    if (!has_temporary(column)) {
        return NULL;
    }
    buf_init(&name, column->field.len + 16);
    rs_add_temporary_name(&name, column->field);
    const struct rs_existing_column *found =
        rs_catalog_find_column(self->catalog, subject->existing, buf_view(&name));
    buf_done(&name);
    return found;
}

static void note_type(struct planning *self,
                      enum apply_note_kind kind,
                      const struct subject *subject,
                      const struct rs_column *column,
                      struct span from)
{
    note(self, (struct apply_note){.kind = kind,
                                   .path = dotted_path(self, &subject->table),
                                   .field = column->field,
                                   .from_type = from,
                                   .to_type = column->type.ddl});
}

/* A column of this type is there; keys are never migrated, Validate saw to that. */
static struct error *classify_type(struct planning *self,
                                   const struct subject *subject,
                                   const struct rs_column *column,
                                   struct span data_type,
                                   const struct rs_existing_column *temporary,
                                   struct migrating *migrating)
{
    if (rs_type_is_compatible(&column->type, data_type)) {
        return NULL;
    }
    if (column->is_key || !rs_type_can_migrate(&column->type, data_type)) {
        note_type(self, APPLY_NOTE_MISFIT, subject, column, data_type);
        return NULL;
    }
    if (!has_temporary(column)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "column %.*s of table %.*s would have to become %.*s, and its name is too "
                         "long for a temporary column beside it: it needs a backfill",
                         SPAN_FMT(column->identifier), SPAN_FMT(subject->table.identifier),
                         SPAN_FMT(column->type.ddl));
    }
    note_type(self, APPLY_NOTE_MIGRATION, subject, column, data_type);
    if (temporary && rs_type_is_compatible(&column->type, temporary->data_type)) {
        migrating->filling[migrating->filling_count++] = (struct rs_migration){column, data_type};
        return NULL;
    }
    if (temporary) { /* of a migration to what is not wanted any more */
        migrating->stale[migrating->stale_count++] = column;
    }
    migrating->whole[migrating->whole_count++] = (struct rs_migration){column, data_type};
    return NULL;
}

static struct error *
add_missing(struct planning *self, const struct subject *subject, struct migrating *migrating)
{
    const struct rs_table *table = &subject->table;

    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        const struct rs_existing_column *actual =
            rs_catalog_find_column(self->catalog, subject->existing, column->field);
        const struct rs_existing_column *temporary = find_temporary(self, subject, column);

        if (actual) {
            RETURN_IF_ERROR(
                classify_type(self, subject, column, actual->data_type, temporary, migrating));
        } else if (temporary) {
            migrating->renaming[migrating->renaming_count++] = column;
            RETURN_IF_ERROR(
                classify_type(self, subject, column, temporary->data_type, NULL, migrating));
        } else {
            rs_sql_add_column(&self->sql, table, column);
            RETURN_IF_ERROR(
                add_statement(self, label_column(self, "adding", table, column), false));
        }
    }
    return NULL;
}

typedef void
column_sql(struct buf *out, const struct rs_table *table, const struct rs_column *column);

static struct error *each(struct planning *self,
                          const struct rs_table *table,
                          const struct rs_migration *migrations,
                          unsigned count,
                          column_sql *sql,
                          const char *what)
{
    for (unsigned i = 0; i < count; i++) {
        const struct rs_column *column = migrations[i].column;
        sql(&self->sql, table, column);
        RETURN_IF_ERROR(add_statement(self, label_column(self, what, table, column), false));
    }
    return NULL;
}

static struct error *fill_and_replace(struct planning *self,
                                      const struct rs_table *table,
                                      const struct rs_migration *migrations,
                                      unsigned count)
{
    if (count == 0) {
        return NULL;
    }
    rs_sql_fill_temporaries(&self->sql, table, migrations, count);
    RETURN_IF_ERROR(add_statement(self, label_table(self, "filling new columns of", table), false));
    RETURN_IF_ERROR(
        each(self, table, migrations, count, rs_sql_drop_column, "dropping the former"));
    return each(self, table, migrations, count, rs_sql_rename_temporary, "renaming the new");
}

/* What an earlier Apply left half done first. Each step is done for all columns before the next,
 * and leaves a table from which the next Apply knows what is missing. */
static struct error *
migrate(struct planning *self, const struct rs_table *table, const struct migrating *migrating)
{
    for (unsigned i = 0; i < migrating->renaming_count; i++) {
        const struct rs_column *column = migrating->renaming[i];
        rs_sql_rename_temporary(&self->sql, table, column);
        RETURN_IF_ERROR(
            add_statement(self, label_column(self, "renaming the new", table, column), false));
    }
    RETURN_IF_ERROR(fill_and_replace(self, table, migrating->filling, migrating->filling_count));
    for (unsigned i = 0; i < migrating->stale_count; i++) {
        const struct rs_column *column = migrating->stale[i];
        rs_sql_drop_temporary(&self->sql, table, column);
        RETURN_IF_ERROR(add_statement(
            self, label_column(self, "dropping the temporary", table, column), false));
    }
    RETURN_IF_ERROR(each(self, table, migrating->whole, migrating->whole_count,
                         rs_sql_add_temporary, "adding the new"));
    return fill_and_replace(self, table, migrating->whole, migrating->whole_count);
}

static struct error *alter(struct planning *self, const struct subject *subject)
{
    unsigned count = subject->table.column_count;
    struct migrating migrating = {
        .whole = ARENA_ARRAY(self->arena, count, struct rs_migration),
        .filling = ARENA_ARRAY(self->arena, count, struct rs_migration),
        .renaming = ARENA_ARRAY(self->arena, count, const struct rs_column *),
        .stale = ARENA_ARRAY(self->arena, count, const struct rs_column *),
    };

    RETURN_IF_ERROR(check_document(subject));
    RETURN_IF_ERROR(check_not_null(self, subject));
    RETURN_IF_ERROR(add_missing(self, subject, &migrating));
    return migrate(self, &subject->table, &migrating);
}

/* ---------------------------------------------------------------- bindings */

/* Whether there is a last binding does not matter for a table that exists with the same counter:
 * an Apply that died half way is repeated without one. */
static struct error *classify(struct planning *self, unsigned index)
{
    struct subject *subject = &self->subjects[index];
    const struct proto_materialization *spec = self->request->materialization;
    const struct proto_binding *binding = &spec->bindings[index];

    subject->binding = binding;
    subject->last = binding_last(self->request->last_materialization, binding->resource_path,
                                 binding->resource_path_count);
    RETURN_IF_ERROR(
        binding_table(self->arena, self->config, spec, binding, self->catalog, &subject->table));
    subject->existing =
        rs_catalog_find(self->catalog, subject->table.path, subject->table.path_count);
    if (!subject->existing) {
        subject->fate = FATE_CREATED;
        return NULL;
    }
    if (subject->last && subject->last->backfill != binding->backfill) {
        return judge_backfill(self, subject);
    }
    subject->fate = FATE_ALTERED;
    return NULL;
}

static struct error *truncate_tables(struct planning *self)
{
    struct apply_actions *truncations = &self->plan->truncations;

    for (unsigned i = 0; i < self->request->materialization->binding_count; i++) {
        const struct rs_table *table = &self->subjects[i].table;
        if (self->subjects[i].is_truncated) {
            rs_sql_truncate(&self->sql, table);
            RETURN_IF_ERROR(add_statement(self, label_table(self, "truncating", table), false));
            RETURN_IF_ERROR(take_draft(self, &truncations->items[truncations->count++]));
        }
    }
    return NULL;
}

static struct error *draft_table(struct planning *self, const struct subject *subject)
{
    const struct rs_table *table = &subject->table;

    switch (subject->fate) {
    case FATE_ALTERED:
        return alter(self, subject);
    case FATE_RECREATED:
        rs_sql_drop_table(&self->sql, table);
        buf_add_str(&self->draft.text, "\n"); /* and one more from add_statement */
        RETURN_IF_ERROR(add_statement(self, label_table(self, "failed to drop", table), false));
        break;
    case FATE_CREATED:
        break;
    }
    rs_sql_create_table(&self->sql, table);
    return add_statement(self, label_table(self, "failed to create", table), true);
}

static struct error *plan_tables(struct planning *self, enum fate fate)
{
    struct apply_actions *tables = &self->plan->tables;

    for (unsigned i = 0; i < self->request->materialization->binding_count; i++) {
        const struct subject *subject = &self->subjects[i];
        if (subject->fate != fate) {
            continue;
        }
        RETURN_IF_ERROR(error_wrap(draft_table(self, subject), "binding %u", i));
        bool has_work = self->draft.count > 0;
        bool changes_in_place = subject->fate == FATE_ALTERED && !subject->is_truncated;
        bool is_other =
            subject->last && (subject->last->backfill != subject->binding->backfill ||
                              subject->last->delta_updates != subject->binding->delta_updates);
        if (changes_in_place && subject->last && (has_work || is_other)) {
            self->plan->settled[self->plan->settled_count++] = subject->last;
        }
        if (has_work) {
            RETURN_IF_ERROR(take_draft(self, &tables->items[tables->count++]));
        }
    }
    return NULL;
}

static struct error *plan_all(struct planning *self)
{
    const struct proto_materialization *spec = self->request->materialization;

    RETURN_IF_ERROR(prepare(self));
    for (unsigned i = 0; i < spec->binding_count; i++) {
        RETURN_IF_ERROR(error_wrap(classify(self, i), "binding %u", i));
    }
    RETURN_IF_ERROR(truncate_tables(self));
    RETURN_IF_ERROR(plan_tables(self, FATE_CREATED));
    RETURN_IF_ERROR(plan_tables(self, FATE_RECREATED));
    return plan_tables(self, FATE_ALTERED);
}

struct error *apply_plan(struct arena *arena,
                         const struct config *config,
                         struct rs_catalog *catalog,
                         const struct proto_apply *request,
                         struct apply_plan *ret)
{
    unsigned count = request->materialization->binding_count;
    struct apply_plan plan = {
        .truncations.items = ARENA_ARRAY(arena, count, struct apply_action),
        .tables.items = ARENA_ARRAY(arena, count, struct apply_action),
        .settled = ARENA_ARRAY(arena, count, const struct proto_binding *),
    };
    struct planning planning = {
        .arena = arena,
        .config = config,
        .catalog = catalog,
        .request = request,
        .plan = &plan,
        .subjects = ARENA_ARRAY(arena, count, struct subject),
    };

    buf_init(&planning.sql, STATEMENT_BYTES);
    buf_init(&planning.draft.text, ACTION_BYTES);
    buf_init(&planning.action, ACTION_BYTES);
    struct error *err = plan_all(&planning);
    if (!err) {
        plan.action = arena_span(arena, buf_view(&planning.action));
        *ret = plan;
    }
    buf_done(&planning.sql);
    buf_done(&planning.draft.text);
    buf_done(&planning.action);
    return err;
}
