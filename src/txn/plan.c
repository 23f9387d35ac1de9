/*
 * txn/plan: what is to be applied or looked up, as an ordered list of statements. In: facts. Out:
 * texts, parameters, and a note per statement that says what its answer must be. Sends nothing.
 */

#include "txn/plan.h"

#include "base/size.h"

#include <inttypes.h>

/* A statement's limit on Redshift. */
#define STATEMENT_MAX_BYTES (16 * MIB)

static void reserve(struct plan *plan)
{
    if (plan->count < plan->cap) {
        return;
    }
    unsigned cap = plan->cap ? plan->cap * 2 : 16;
    struct pgc_statement *statements = ARENA_ARRAY(plan->arena, cap, struct pgc_statement);
    struct plan_note *notes = ARENA_ARRAY(plan->arena, cap, struct plan_note);
    if (plan->count) {
        memcpy(statements, plan->statements, plan->count * sizeof *statements);
        memcpy(notes, plan->notes, plan->count * sizeof *notes);
    }
    plan->statements = statements;
    plan->notes = notes;
    plan->cap = cap;
}

/* Takes the text out of buf into the arena. */
static struct pgc_statement *
add(struct plan *plan, enum plan_step step, unsigned binding, const char *label, struct buf *sql)
{
    CHECK(!buf_is_full(sql));
    reserve(plan);
    struct pgc_statement *statement = &plan->statements[plan->count];
    plan->notes[plan->count] = (struct plan_note){.step = step, .binding = binding};
    plan->count++;
    *statement = (struct pgc_statement){
        .label = label,
        .sql = arena_strndup(plan->arena, buf_view(sql)),
    };
    secret_wipe(sql->data, sql->len);
    buf_clear(sql);
    return statement;
}

void plan_wipe(struct plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++) {
        char *sql = (char *)(uintptr_t)plan->statements[i].sql; /* ours, in the arena */
        secret_wipe(sql, strlen(sql));
    }
    plan->count = 0;
}

static struct pgc_statement *
add_text(struct plan *plan, enum plan_step step, const char *label, const char *text)
{
    struct buf sql;
    buf_init(&sql, KIB);
    buf_add_str(&sql, text);
    struct pgc_statement *statement = add(plan, step, 0, label, &sql);
    buf_done(&sql);
    return statement;
}

static void set_params(struct plan *plan,
                       struct pgc_statement *statement,
                       const char *const *params,
                       unsigned count)
{
    const char **copy = ARENA_ARRAY(plan->arena, count, const char *);
    for (unsigned i = 0; i < count; i++) {
        copy[i] = params[i] ? arena_strdup(plan->arena, params[i]) : NULL;
    }
    statement->params = copy;
    statement->param_count = count;
}

static const char *label(struct plan *plan, const char *what, const struct rs_table *table)
{
    return arena_printf(plan->arena, "%s %.*s", what, SPAN_FMT(table->identifier));
}

static struct rs_copy copy_options(struct plan *plan,
                                   const struct plan_copy *copy,
                                   struct span manifest,
                                   bool zstd,
                                   bool truncate_columns)
{
    const char *url = arena_printf(plan->arena, "s3://%s/%.*s", copy->bucket, SPAN_FMT(manifest));
    return (struct rs_copy){
        .manifest_url = span_of(url),
        .iam_role = copy->iam_role,
        .access_key_id = copy->access_key_id,
        .secret_access_key = copy->secret_access_key,
        .session_token = copy->session_token,
        .region = copy->region,
        .zstd = zstd,
        .case_sensitive = copy->case_sensitive,
        .truncate_columns = truncate_columns,
    };
}

static void add_count(struct plan *plan,
                      struct buf *sql,
                      unsigned binding,
                      const struct rs_table *table,
                      uint64_t rows)
{
    if (rows == PLAN_UNCOUNTED) {
        return;
    }
    rs_sql_copy_count(sql);
    add(plan, PLAN_COUNT, binding, label(plan, "counting rows copied for", table), sql);
    plan->notes[plan->count - 1].expected_rows = rows;
}

/* CREATE TEMP, COPY and count of one staged table. */
static void add_temp(struct plan *plan,
                     struct buf *sql,
                     const struct rs_table *table,
                     unsigned binding,
                     enum rs_temp kind,
                     uint32_t key_text_bytes,
                     struct rs_copy copy,
                     uint64_t rows)
{
    rs_sql_create_temp(sql, table, binding, kind, key_text_bytes);
    add(plan, PLAN_TEMP, binding, label(plan, "creating a temporary table for", table), sql);
    rs_sql_copy_temp(sql, table, binding, kind, &copy);
    add(plan, PLAN_COPY, binding, label(plan, "copying staged files for", table), sql);
    add_count(plan, sql, binding, table, rows);
}

/* ---------------------------------------------------------------- apply */

void plan_allow_widened(struct pgc_statement *widening)
{
    widening->ignore_sqlstate = "0A000";
    widening->ignore_message_part = "target column size should be different";
}

static void add_widenings(struct plan *plan, struct buf *sql, const struct plan_work *work)
{
    for (unsigned i = 0; i < work->widen_count; i++) {
        rs_sql_widen(sql, work->table, work->widen[i]);
        struct pgc_statement *statement = add(
            plan, PLAN_WIDEN, work->binding, label(plan, "widening a column of", work->table), sql);
        plan->notes[plan->count - 1].column = work->widen[i];
        statement->sync = true;
        plan_allow_widened(statement);
    }
}

static void
add_drop(struct plan *plan, struct buf *sql, const struct plan_work *work, enum rs_temp kind)
{
    rs_sql_drop_temp(sql, work->binding, kind);
    add(plan, PLAN_DROP, work->binding,
        label(plan, "dropping the temporary table for", work->table), sql);
}

static void add_deletes(struct plan *plan,
                        struct buf *sql,
                        const struct plan_work *work,
                        const struct plan_copy *copy)
{
    const struct plan_staged *staged = &work->staged[ENTRY_DELETE];

    add_temp(plan, sql, work->table, work->binding, RS_TEMP_DELETE, 0,
             copy_options(plan, copy, staged->manifest, work->zstd, false), staged->rows);
    rs_sql_delete(sql, work->table, work->binding);
    add(plan, PLAN_DELETE, work->binding, label(plan, "deleting from", work->table), sql);
    add_drop(plan, sql, work, RS_TEMP_DELETE);
}

static void add_merges(struct plan *plan,
                       struct buf *sql,
                       const struct plan_work *work,
                       const struct plan_copy *copy)
{
    const struct plan_staged *staged = &work->staged[ENTRY_MERGE];

    add_temp(plan, sql, work->table, work->binding, RS_TEMP_STORE, 0,
             copy_options(plan, copy, staged->manifest, work->zstd, true), staged->rows);
    rs_sql_merge(sql, work->table, work->binding);
    add(plan, PLAN_MERGE, work->binding, label(plan, "merging into", work->table), sql);
    add_drop(plan, sql, work, RS_TEMP_STORE);
}

static void add_stores(struct plan *plan,
                       struct buf *sql,
                       const struct plan_work *work,
                       const struct plan_copy *copy)
{
    const struct plan_staged *staged = &work->staged[ENTRY_STORE];
    struct rs_copy options = copy_options(plan, copy, staged->manifest, work->zstd, true);

    rs_sql_copy_target(sql, work->table, &options);
    add(plan, PLAN_COPY, work->binding, label(plan, "copying staged files into", work->table), sql);
    add_count(plan, sql, work->binding, work->table, staged->rows);
}

/* After the rows of this transaction, which may be older than that instant, too. */
static void add_expiry(struct plan *plan, struct buf *sql, const struct plan_work *work)
{
    const char *before = arena_strndup(plan->arena, work->delete_before);

    rs_sql_delete_before(sql, work->table, work->published_at->identifier);
    set_params(plan,
               add(plan, PLAN_EXPIRE, work->binding,
                   label(plan, "deleting what a backfill superseded from", work->table), sql),
               &before, 1);
}

static void add_work(struct plan *plan,
                     struct buf *sql,
                     const struct plan_work *work,
                     const struct plan_copy *copy)
{
    unsigned before = plan->count;

    if (work->staged[ENTRY_DELETE].manifest.len) {
        add_deletes(plan, sql, work, copy);
    }
    if (work->staged[ENTRY_MERGE].manifest.len) {
        add_merges(plan, sql, work, copy);
    }
    if (work->staged[ENTRY_STORE].manifest.len) {
        add_stores(plan, sql, work, copy);
    }
    if (work->delete_before.len) {
        add_expiry(plan, sql, work);
    }
    if (plan->count > before) {
        plan->notes[plan->count - 1].ends_binding = true;
    }
}

static void add_begin_lock_check(struct plan *plan, struct buf *sql, const struct plan_apply *facts)
{
    add_text(plan, PLAN_BEGIN, "beginning the transaction", "BEGIN")->sync = true;

    /* Alone in its flight: a lock sent together with other statements was seen not to take effect.
     */
    rs_sql_lock(sql, facts->metadata);
    add(plan, PLAN_LOCK, 0, label(plan, "locking", facts->metadata), sql)->sync = true;

    rs_sql_read_rows(sql, facts->metadata);
    struct pgc_statement *check =
        add(plan, PLAN_CHECK, 0, label(plan, "reading", facts->metadata), sql);
    set_params(plan, check, &facts->task, 1);
    check->sync = facts->must_check_first;
}

static void add_tokens(struct plan *plan, struct buf *sql, const struct plan_apply *facts)
{
    rs_sql_write_tokens(sql, facts->metadata);
    struct pgc_statement *write =
        add(plan, PLAN_TOKENS, 0, label(plan, "writing tokens into", facts->metadata), sql);
    const char *params[] = {
        arena_strndup(plan->arena, facts->tokens_json),
        facts->task,
        arena_printf(plan->arena, "%" PRIu32, facts->key_begin),
        arena_printf(plan->arena, "%" PRIu32, facts->key_end),
        arena_printf(plan->arena, "%" PRId64, facts->fence),
    };
    set_params(plan, write, params, ARRAY_LEN(params));
    write->sync = true; /* everything is looked at before COMMIT is sent */
}

void plan_apply(struct plan *plan, struct arena *arena, const struct plan_apply *facts)
{
    struct buf sql;

    *plan = (struct plan){.arena = arena};
    buf_init(&sql, STATEMENT_MAX_BYTES);
    for (unsigned i = 0; i < facts->work_count; i++) {
        add_widenings(plan, &sql, &facts->works[i]);
    }
    add_begin_lock_check(plan, &sql, facts);
    for (unsigned i = 0; i < facts->work_count; i++) {
        add_work(plan, &sql, &facts->works[i], &facts->copy);
    }
    add_tokens(plan, &sql, facts);
    add_text(plan, PLAN_COMMIT, "committing the transaction", "COMMIT")->sync = true;
    buf_done(&sql);
}

/* ---------------------------------------------------------------- load */

/* What Redshift takes in one statement is half of what the protocol could carry. */
#define PARAMS_MAX 32767

/* Adds the bounds of one lookup to the parameters; *bounded says of which key columns. */
static void add_bounds(struct plan *plan,
                       const struct plan_lookup *lookup,
                       const char **params,
                       unsigned *param_count,
                       bool *bounded)
{
    char least[BOUND_TEXT_ROOM], greatest[BOUND_TEXT_ROOM];

    for (unsigned i = 0; i < lookup->table->key_count; i++) {
        bounded[i] = lookup->bounds && *param_count + 2 <= PARAMS_MAX &&
                     bounds_take(&lookup->bounds[i], &lookup->table->columns[i], least, greatest);
        if (bounded[i]) {
            params[(*param_count)++] = arena_strdup(plan->arena, least);
            params[(*param_count)++] = arena_strdup(plan->arena, greatest);
        }
    }
}

/* The bounds are parameters, so that the text is the same each time. MERGE has none: its condition
 * takes equality alone. Nor has DELETE: whoever applies does not see the keys, and the state is no
 * place for them. */
static void
add_query(struct plan *plan, struct buf *sql, const struct plan_lookup *lookups, unsigned count)
{
    unsigned keys = 0, param_count = 0, param = 1;

    for (unsigned i = 0; i < count; i++) {
        keys += lookups[i].table->key_count;
    }
    const char **params = ARENA_ARRAY(plan->arena, 2 * (size_t)keys, const char *);
    bool *bounded = ARENA_ARRAY(plan->arena, keys, bool);
    for (unsigned i = 0; i < count; i++) {
        add_bounds(plan, &lookups[i], params, &param_count, bounded);
        rs_sql_load(sql, lookups[i].table, lookups[i].binding, i == 0, bounded, &param);
    }
    struct pgc_statement *query = add(plan, PLAN_QUERY, 0, "looking up documents", sql);
    query->params = params;
    query->param_count = param_count;
}

void plan_load(struct plan *plan,
               struct arena *arena,
               const struct plan_lookup *lookups,
               unsigned count,
               const struct plan_copy *copy)
{
    struct buf sql;

    *plan = (struct plan){.arena = arena};
    buf_init(&sql, STATEMENT_MAX_BYTES);
    add_text(plan, PLAN_BEGIN, "beginning the lookup of keys", "BEGIN");
    for (unsigned i = 0; i < count; i++) {
        const struct plan_lookup *lookup = &lookups[i];
        /* Never TRUNCATECOLUMNS here: cutting a key would make two long keys equal. */
        add_temp(plan, &sql, lookup->table, lookup->binding, RS_TEMP_LOAD, lookup->key_text_bytes,
                 copy_options(plan, copy, lookup->manifest, copy->zstd, false), lookup->rows);
    }
    add_query(plan, &sql, lookups, count);
    add_text(plan, PLAN_ROLLBACK, "ending the lookup of keys", "ROLLBACK")->sync = true;
    buf_done(&sql);
}
