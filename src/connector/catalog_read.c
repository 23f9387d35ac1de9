/*
 * connector/catalog_read: what exists, read by two flights of statements. In: the paths somebody
 * asks about. Out: an rs_catalog, and the connection that read it. It decides nothing.
 *
 *      BEGINNING -> CONNECTING -> ASKING -> LISTING -> done
 *             \-------------------^   |        |
 *                    any but the first, on cancel: -> CLOSING -> done
 *
 * ASKING is about the server and must be answered first: how it folds names decides which schemas
 * LISTING asks for.
 */

#include "connector/world.h"

#include "base/text.h"

#include <strings.h>

#define READING_STATES(X) X(BEGINNING) X(CONNECTING) X(ASKING) X(LISTING) X(CLOSING)
#define READING_ENUM(name) READING_##name,
enum reading_state { READING_STATES(READING_ENUM) };
static const char *const reading_state_names[] = {READING_STATES(OP_STATE_NAME)};
static const uint32_t reading_moves[] = {
    [READING_BEGINNING] = OP_MOVE(READING_CONNECTING) | OP_MOVE(READING_ASKING),
    [READING_CONNECTING] = OP_MOVE(READING_ASKING) | OP_MOVE(READING_CLOSING),
    [READING_ASKING] = OP_MOVE(READING_LISTING) | OP_MOVE(READING_CLOSING),
    [READING_LISTING] = OP_MOVE(READING_CLOSING),
};

/* The names of all schemas asked about, as literals, with room to spare. */
#define STATEMENT_BYTES ((size_t)4 * 1024 * 1024)

/* 128 nodes of 16 slices are the largest cluster; more is no number of slices. */
#define MAX_SLICES 4096

/* ASKING's statements and their order; the last only when no database is configured. */
enum { ASK_FOLDING, ASK_SCHEMAS, ASK_DATABASE, ASK_COUNT };
enum { LIST_TABLES, LIST_COLUMNS, LIST_SLICES, LIST_COUNT }; /* the last only when wanted */
/* Positions in a row of LIST_COLUMNS; LIST_TABLES has the first two. */
enum { AT_SCHEMA, AT_TABLE, AT_COLUMN, AT_TYPE, AT_NULLABLE, AT_WIDTH, AT_DEFAULT, AT_COUNT };

struct reading_op {
    struct op op;
    struct world *world;
    struct arena *arena;
    struct catalog_path *paths; /* the metadata table's is the last */
    unsigned path_count;
    struct catalog_reading *ret;
    struct span database; /* configured or asked */
    bool has_case_sensitivity, case_sensitive;
    struct pgc_statement *statements;
    struct op_reply reply;
    bool conn_closed;
    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- statements */

static const char *take_sql(struct reading_op *self, struct buf *sql)
{
    CHECK(!buf_is_full(sql));
    const char *text = arena_strndup(self->arena, buf_view(sql));
    buf_done(sql);
    return text;
}

static void
ask(struct reading_op *self, unsigned index, const char *label, void (*build)(struct buf *))
{
    struct buf sql;

    buf_init(&sql, STATEMENT_BYTES);
    build(&sql);
    self->statements[index] =
        (struct pgc_statement){.label = label, .sql = take_sql(self, &sql), .sync = false};
}

static void list(struct reading_op *self,
                 unsigned index,
                 const char *label,
                 void (*build)(struct buf *, struct span, const struct span *, unsigned),
                 const struct span *schemas)
{
    struct buf sql;

    buf_init(&sql, STATEMENT_BYTES);
    build(&sql, self->database, schemas, self->path_count);
    self->statements[index] =
        (struct pgc_statement){.label = label, .sql = take_sql(self, &sql), .sync = false};
}

static void run(struct reading_op *self,
                unsigned count,
                struct error *(*on_row)(void *, unsigned, const struct pgc_row *))
{
    struct pgc_batch batch = {
        .statements = self->statements, .count = count, .on_row = on_row, .ctx = self};

    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->ret->conn, &batch, op_reply_done, &self->reply);
}

/* ---------------------------------------------------------------- asking */

static struct error *take_asked(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct reading_op *self = ctx;

    if (row->count != 1 || !row->values[0].ptr) {
        return error_new(ERROR_SQL, ERROR_FATAL, "the answer is not one text");
    }
    switch (index) {
    case ASK_FOLDING:
        self->has_case_sensitivity = true;
        self->case_sensitive =
            row->values[0].len == 2 && strncasecmp(row->values[0].ptr, "on", 2) == 0;
        self->ret->catalog = rs_catalog_new(self->arena, self->case_sensitive);
        break;
    case ASK_SCHEMAS:
        if (self->ret->catalog) {
            rs_catalog_add_schema(self->ret->catalog, row->values[0]);
        }
        break;
    default:
        self->database = arena_span(self->arena, row->values[0]);
        break;
    }
    return NULL;
}

static void start_asking(struct reading_op *self)
{
    self->statements = ARENA_ARRAY(self->arena, ASK_COUNT, struct pgc_statement);
    ask(self, ASK_FOLDING, "querying enable_case_sensitive_identifier", rs_sql_show_case_sensitive);
    ask(self, ASK_SCHEMAS, "listing schemas", rs_sql_list_schemas);
    ask(self, ASK_DATABASE, "querying for connected database", rs_sql_current_database);
    run(self, self->database.len > 0 ? ASK_DATABASE : ASK_COUNT, take_asked);
    op_set_state(&self->op, READING_ASKING);
}

/* ---------------------------------------------------------------- listing */

/* Serverless has no slices to show, which may look like none. */
static void take_slices(struct reading_op *self, const struct pgc_row *row)
{
    uint64_t slices = 0;

    if (row->count == 1 && row->values[0].ptr && text_to_uint64(row->values[0], &slices) &&
        slices <= MAX_SLICES) {
        self->ret->slices = (unsigned)slices;
    }
}

static struct error *take_listed(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct reading_op *self = ctx;
    const struct span *values = row->values;
    uint64_t width = 0;

    if (index == LIST_SLICES) {
        take_slices(self, row);
        return NULL;
    }
    if (row->count != (index == LIST_TABLES ? AT_COLUMN : AT_COUNT)) {
        return error_new(ERROR_SQL, ERROR_FATAL, "a row has %u columns", row->count);
    }
    if (index == LIST_TABLES) {
        rs_catalog_add_table(self->ret->catalog, values[AT_SCHEMA], values[AT_TABLE]);
        return NULL;
    }
    if (values[AT_WIDTH].ptr && (!text_to_uint64(values[AT_WIDTH], &width) || width > UINT32_MAX)) {
        return error_new(ERROR_SQL, ERROR_FATAL,
                         "character_maximum_length of column \"%.*s\" is no length",
                         SPAN_FMT(values[AT_COLUMN]));
    }
    struct rs_existing_column column = {
        .name = values[AT_COLUMN],
        .data_type = values[AT_TYPE],
        .char_max_length = (uint32_t)width,
        .is_nullable =
            values[AT_NULLABLE].len == 3 && strncasecmp(values[AT_NULLABLE].ptr, "yes", 3) == 0,
        .has_default = values[AT_DEFAULT].ptr != NULL,
    };
    rs_catalog_add_column(self->ret->catalog, values[AT_SCHEMA], values[AT_TABLE], &column);
    return NULL;
}

static void start_listing(struct reading_op *self)
{
    struct span *schemas = ARENA_ARRAY(self->arena, self->path_count, struct span);
    struct span table;

    for (unsigned i = 0; i < self->path_count; i++) {
        rs_catalog_locate(self->ret->catalog, self->paths[i].path, self->paths[i].count,
                          &schemas[i], &table);
    }
    self->statements = ARENA_ARRAY(self->arena, LIST_COUNT, struct pgc_statement);
    list(self, LIST_TABLES, "listing tables", rs_sql_list_tables, schemas);
    list(self, LIST_COLUMNS, "listing columns", rs_sql_list_columns, schemas);
    ask(self, LIST_SLICES, "counting slices", rs_sql_count_slices);
    self->statements[LIST_SLICES].may_fail = true; /* not there, or not for this user */
    run(self, self->ret->wants_slices ? LIST_COUNT : LIST_SLICES, take_listed);
    op_set_state(&self->op, READING_LISTING);
}

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct reading_op *self = ctx;
    self->conn_closed = true;
    op_mark(&self->op);
}

/* What runs ends with an error first, which the reply keeps; the connection is gone afterwards. */
static void start_closing(struct reading_op *self)
{
    struct pgc_conn *conn = self->ret->conn;

    self->ret->conn = NULL;
    pgc_close(conn, conn_closed, self);
    op_set_state(&self->op, READING_CLOSING);
}

static struct error *check_paths(const struct reading_op *self)
{
    for (unsigned i = 0; i < self->path_count; i++) {
        if (self->paths[i].count < 1 || self->paths[i].count > 2) {
            return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                             "a resource path has %u components, not a table or a schema and a "
                             "table",
                             self->paths[i].count);
        }
    }
    return NULL;
}

static void begin(struct reading_op *self)
{
    op_fail(&self->op, check_paths(self));
    if (op_must_stop(&self->op)) {
        op_finish(&self->op);
    } else if (self->ret->conn) {
        start_asking(self);
    } else {
        self->ret->conn = pgc_conn_new(self->world->loop, &self->world->pg);
        op_reply_expect(&self->reply, &self->op);
        pgc_connect(self->ret->conn, op_reply_done, &self->reply);
        op_set_state(&self->op, READING_CONNECTING);
    }
}

static void reading_step(struct op *op)
{
    struct reading_op *self = CONTAINER_OF(op, struct reading_op, op);
    struct error *err = NULL;

    if (op->state == READING_BEGINNING) {
        begin(self);
        return;
    }
    if (op->state == READING_CLOSING) {
        if (self->conn_closed) {
            if (op_reply_take(&self->reply, &err)) {
                error_drop(err, "it was cancelled");
            }
            op_finish(op);
        }
        return;
    }
    if (op->cancel_asked) {
        start_closing(self);
        return;
    }
    if (!op_reply_take(&self->reply, &err)) {
        return;
    }
    op_fail(op, err);
    if (op_must_stop(op) || op->state == READING_LISTING) {
        op_finish(op);
    } else if (op->state == READING_CONNECTING) {
        start_asking(self);
    } else if (!self->has_case_sensitivity) {
        op_fail(op, error_new(ERROR_SQL, ERROR_FATAL,
                              "querying enable_case_sensitive_identifier: no row came"));
        op_finish(op);
    } else {
        start_listing(self);
    }
}

static const struct op_kind reading_kind = {
    .name = "catalog reading",
    .state_names = reading_state_names,
    .state_count = ARRAY_LEN(reading_state_names),
    .moves = reading_moves,
    .step = reading_step,
};

static void reading_done(void *ctx, struct error *err)
{
    struct reading_op *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *catalog_read(struct world *world,
                        struct arena *arena,
                        const struct catalog_path *paths,
                        unsigned path_count,
                        struct catalog_reading *ret,
                        op_done_fn *done,
                        void *ctx)
{
    struct reading_op *self = mem_alloc(sizeof *self);
    struct span *metadata_path = ARENA_ARRAY(arena, 2, struct span);

    self->world = world;
    self->arena = arena;
    self->paths = ARENA_ARRAY(arena, path_count + 1, struct catalog_path);
    self->path_count = path_count + 1;
    self->ret = ret;
    self->database = span_of(world->config->database);
    self->done = done;
    self->ctx = ctx;
    if (path_count > 0) {
        memcpy(self->paths, paths, path_count * sizeof(*paths));
    }
    self->paths[path_count].path = metadata_path;
    world_metadata_path(world, metadata_path, &self->paths[path_count].count);
    op_init(&self->op, world->loop, &reading_kind, reading_done, self);
    op_mark(&self->op);
    return &self->op;
}
