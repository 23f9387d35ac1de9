/*
 * What the connector asks of a warehouse and a bucket, and makes of the answers; both are played by
 * a script (support/). The statements' texts are tested in unit/redshift, the sentences for people
 * in test_prerequisite.c: here is what comes over the wires.
 */

#include "connector/validate.h"

#include "collection.h"
#include "connector/apply_run.h"
#include "connector/prerequisite.h"
#include "support/http_peer.h"
#include "support/pg_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- the world of one test */

struct stage {
    struct loop *loop;
    struct arena *arena;
    struct pg_peer *warehouse;
    struct http_peer *bucket;
    struct http_client *http;
    struct config *config;
    struct world world;
    struct pgc_conn **conn; /* that an operation leaves to its owner, or NULL */
    unsigned done_count;
    struct error *err;
};

/* more: properties of the configuration, each with a comma in front. */
static void set_up(struct stage *stage,
                   const char *const *script,
                   const struct http_rule *rules,
                   unsigned rule_count,
                   const char *more)
{
    const struct http_client_options options = {.max_host_connections = 2};
    char json[1024], endpoint[64];

    *stage = (struct stage){.loop = loop_new(), .arena = arena_new((size_t)16 * 1024 * 1024)};
    stage->warehouse = pg_peer_new(script, SIZE_MAX);
    stage->bucket = http_peer_start(rules, rule_count);
    stage->http = http_client_new(stage->loop, &options);
    (void)snprintf(json, sizeof json,
                   "{\"address\":\"127.0.0.1:%s\",\"user\":\"loader\",\"password\":\"p\","
                   "\"bucket\":\"docs\",\"awsAccessKeyId\":\"AKIA\",\"awsSecretAccessKey\":\"s\","
                   "\"region\":\"us-east-1\"%s}",
                   pg_peer_port(stage->warehouse), more);
    (void)snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", http_peer_port(stage->bucket));
    assert_null(config_read(stage->arena, span_of(json), NULL, &stage->config));
    assert_null(world_init(&stage->world, stage->loop, stage->http, stage->arena, stage->config,
                           endpoint, NULL, 1, NULL));
    stage->world.pg.tls = PGC_TLS_PREFER; /* the played server has no certificate */
}

static void conn_closed(void *ctx)
{
    struct stage *stage = ctx;
    *stage->conn = NULL;
}

static void done(void *ctx, struct error *err)
{
    struct stage *stage = ctx;

    stage->done_count++;
    stage->err = err;
    if (stage->conn && *stage->conn) {
        pgc_close(*stage->conn, conn_closed, stage);
    }
}

/* To the operation's end; then all that was said to the warehouse can be read. */
static void play(struct stage *stage)
{
    loop_run(stage->loop);
    assert_int_equal(stage->done_count, 1);
    pg_peer_wait_end(stage->warehouse);
}

static void client_closed(void *ctx)
{
    struct stage *stage = ctx;
    stage->http = NULL;
}

static void tear_down(struct stage *stage)
{
    world_done(&stage->world);
    http_client_close(stage->http, client_closed, stage);
    loop_run(stage->loop);
    assert_null(stage->http);
    config_done(stage->config);
    error_free(stage->err);
    http_peer_stop(stage->bucket);
    pg_peer_free(stage->warehouse);
    arena_free(stage->arena);
    loop_free(stage->loop);
}

static bool heard(const struct stage *stage, const char *part)
{
    return strstr(pg_peer_heard(stage->warehouse), part) != NULL;
}

/* ---------------------------------------------------------------- the way there */

/* C21 */
static void a_tunnel_needs_the_port_of_the_warehouse(void **state)
{
    static const char json[] =
        "{\"address\":\"cluster.example\",\"user\":\"loader\",\"password\":\"p\","
        "\"bucket\":\"docs\",\"awsAccessKeyId\":\"AKIA\",\"awsSecretAccessKey\":\"s\","
        "\"region\":\"us-east-1\",\"networkTunnel\":{\"sshForwarding\":{"
        "\"sshEndpoint\":\"ssh://u@127.0.0.1:1\",\"privateKey\":\"k\"}}}";
    struct arena *arena = arena_new((size_t)1024 * 1024);
    struct loop *loop = loop_new();
    struct config *config = NULL;
    struct world world;

    (void)state;
    assert_null(config_read(arena, SPAN_LIT(json), NULL, &config));
    struct error *err = world_init(&world, loop, NULL, arena, config, NULL, NULL, 1, NULL);
    assert_non_null(err);
    assert_int_equal(error_class_of(err), ERROR_CONFIG);
    assert_ptr_equal(strstr(error_text(err), "starting network tunnel: the address must be a host "
                                             "and a port"),
                     error_text(err));
    error_free(err);
    config_done(config);
    arena_free(arena);
    loop_run(loop);
    loop_free(loop);
}

/* ---------------------------------------------------------------- may this task run? */

#define HEADER "the materialization cannot run because of the following:"
#define LETS_IN                                                                                    \
    {                                                                                              \
        "startup", "ok", NULL                                                                      \
    }
#define PUTS                                                                                       \
    {                                                                                              \
        .method = "PUT"                                                                            \
    }
#define GETS                                                                                       \
    {                                                                                              \
        .method = "GET", .body = "testing"                                                         \
    }
#define DELETES                                                                                    \
    {                                                                                              \
        .method = "DELETE", .status = 204                                                          \
    }
#define FORBIDS(verb)                                                                              \
    {                                                                                              \
        .method = verb, .status = 403, .body = "<Error><Code>AccessDenied</Code></Error>"          \
    }
#define NO_BUCKET                                                                                  \
    {                                                                                              \
        .status = 404, .body = "<Error><Code>NoSuchBucket</Code></Error>"                          \
    }

/* One row was copied. */
#define SAYS(tag, status) "expect S", "done " tag, "ready " status
#define MADE SAYS("CREATE TABLE", "I")
#define PROVED MADE, SAYS("COPY", "I"), SAYS("DROP TABLE", "I")

struct trial_row {
    const char *sentence;
    const char *script[20];
    struct http_rule rules[3];
    bool by_validate;
    const char *want; /* the whole text; NULL: it may run */
};

static const struct trial_row trial_rows[] = {
    {"P1 all is well", {"startup", "ok", PROVED, NULL}, {PUTS, GETS, DELETES}, false, NULL},
    {"P2 a wrong user, and nothing else",
     {"startup", "fatal 28000 no entry for this user", NULL},
     {PUTS, GETS, DELETES},
     false,
     HEADER "\n - incorrect username or password"},
    {"P3 a wrong password, and nothing else",
     {"startup", "auth 5", "password", "fatal 28000 it does not match", NULL},
     {PUTS, GETS, DELETES},
     false,
     HEADER "\n - incorrect username or password"},
    {"P4 a database that does not exist, and nothing else",
     {"startup", "fatal 3D000 no such database", NULL},
     {PUTS, GETS, DELETES},
     false,
     HEADER "\n - database \"nope\" does not exist"},
    {"P6 no such bucket, and nothing else",
     LETS_IN,
     {NO_BUCKET},
     false,
     HEADER "\n - bucket \"docs\" does not exist"},
    {"P7 writing is forbidden, and nothing else",
     LETS_IN,
     {FORBIDS("PUT")},
     false,
     HEADER "\n - not authorized to write to \"docs/x\""},
    {"P8 reading is forbidden, and nothing else",
     LETS_IN,
     {PUTS, FORBIDS("GET")},
     false,
     HEADER "\n - not authorized to read from \"docs/x\""},
    {"P9 deleting is forbidden, and nothing else",
     LETS_IN,
     {PUTS, GETS, FORBIDS("DELETE")},
     false,
     HEADER "\n - not authorized to delete from \"docs/x\""},
    {"P10 neither database nor bucket: the database is told first",
     {"startup", "fatal 3D000 no such database", NULL},
     {NO_BUCKET},
     false,
     HEADER "\n - database \"nope\" does not exist\n - bucket \"docs\" does not exist"},
    {"P11 Validate tells both as they are",
     {"startup", "fatal 3D000 no such database", NULL},
     {NO_BUCKET},
     true,
     HEADER "\n - database \"nope\" does not exist\n - bucket \"docs\" does not exist"},
};

static void all_that_is_wrong_is_told_at_once(void **state)
{
    const struct proto_validate nothing = {.name = SPAN_LIT("acme/dw")};
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(trial_rows); i++) {
        const struct trial_row *row = &trial_rows[i];
        struct validate_result result = {0};
        struct pgc_conn *conn = NULL;
        struct stage stage;

        set_up(&stage, row->script, row->rules, ARRAY_LEN(row->rules),
               ",\"database\":\"nope\",\"bucketPath\":\"x\"");
        stage.conn = &conn;
        if (row->by_validate) {
            (void)validate_start(&stage.world, stage.arena, &nothing, &result, done, &stage);
        } else {
            (void)prerequisite_start(&stage.world, stage.arena, &conn, done, &stage);
        }
        play(&stage);
        const char *text = stage.err ? error_text(stage.err) : "";
        if (strcmp(text, row->want ? row->want : "") != 0 ||
            (stage.err && error_class_of(stage.err) != ERROR_CONFIG)) {
            print_error("%s: %s\n", row->sentence, text);
            wrong++;
        }
        tear_down(&stage);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- what the cluster can read */

struct proof_row {
    const char *sentence;
    const char *script[20];
    struct http_rule rules[4];
    const char *parts[3];
};

#define GOOD_BUCKET PUTS, GETS, DELETES
#define FAILS(code_and_text) "expect S", "error " code_and_text, "ready I", NULL

static const struct proof_row proof_rows[] = {
    {"the cluster's keys may not read",
     {"startup", "ok", MADE,
      FAILS("XX000 S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 1")},
     {GOOD_BUCKET},
     {"COPY cannot read bucket \"docs\" in region us-east-1: the cluster is not permitted",
      "s3:GetObject", "The original error: copying one row from the bucket: S3ServiceException"}},
    {"the bucket is elsewhere",
     {"startup", "ok", MADE,
      FAILS("XX000 S3ServiceException:The bucket you are attempting to access must be addressed "
            "using the specified endpoint.,Status 301,Error PermanentRedirect")},
     {GOOD_BUCKET},
     {"another region than the one configured", "property region", "PermanentRedirect"}},
    {"the cluster has no network",
     {"startup", "ok", MADE, FAILS("XX000 S3CurlException: Connection timed out after 50001 ms")},
     {GOOD_BUCKET},
     {"no way to S3", "gateway endpoint", "50001 ms"}},
    {"the user may make no temporary table",
     {"startup", "ok",
      FAILS("42501 permission denied to create temporary tables in database \"dev\"")},
     {GOOD_BUCKET},
     {"may not make temporary tables", "Grant TEMP", NULL}},
    {"a cause that nobody foresaw",
     {"startup", "ok", MADE, FAILS("XX000 something else")},
     {GOOD_BUCKET},
     {"COPY cannot read bucket \"docs\"", "something else", NULL}},
    {"a COPY that hangs is cancelled, and the server says so",
     {"startup", "ok", MADE, "expect S", "cancel", "error 57014 Query cancelled on user's request",
      "ready I", NULL},
     {GOOD_BUCKET},
     {"did not end within", "no way to S3", NULL}},
};

static void a_cluster_that_cannot_read_is_told_why_and_nothing_is_left(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(proof_rows); i++) {
        const struct proof_row *row = &proof_rows[i];
        struct pgc_conn *conn = NULL;
        struct stage stage;

        set_up(&stage, row->script, row->rules, ARRAY_LEN(row->rules), ",\"database\":\"dev\"");
        stage.world.proof_limit_ms = strstr(row->sentence, "hangs") ? 300 : 0;
        stage.conn = &conn;
        (void)prerequisite_start(&stage.world, stage.arena, &conn, done, &stage);
        play(&stage);
        bool good = stage.err && error_class_of(stage.err) == ERROR_CONFIG && !conn;
        for (size_t k = 0; good && k < ARRAY_LEN(row->parts) && row->parts[k]; k++) {
            good = strstr(error_text(stage.err), row->parts[k]) != NULL;
        }
        /* What was put: the probe, the row, its manifest. */
        good = good && http_peer_count(stage.bucket, "PUT", NULL) == 3 &&
               http_peer_count(stage.bucket, "DELETE", NULL) == 3;
        if (!good) {
            print_error("%s: %s\n", row->sentence, stage.err ? error_text(stage.err) : "all well");
            wrong++;
        }
        tear_down(&stage);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- what exists */

/* Answers to the questions about the server and to the two lists. */
#define ASKED(folding)                                                                             \
    "startup", "ok", "expect S", "cells " folding, "cells public;sales", "ready I"
#define PROVED_AND_ASKED(folding)                                                                  \
    "startup", "ok", PROVED, "expect S", "cells " folding, "cells public;sales", "ready I"
#define LISTED(columns) "expect S", "cells public|things", columns, "ready I", NULL
#define NO_COLUMNS "rows 0", "tag SELECT"
#define COLUMN(nullable) "cells public|things|a|character varying|" nullable "|12|"

struct catalog_row {
    const char *sentence;
    const char *script[16];
    const char *more; /* of the configuration */
    bool case_sensitive;
    unsigned columns;
    bool is_nullable;
    const char *heard, *unheard;
};

#define DATABASE ",\"database\":\"dev\""

static const struct catalog_row catalog_rows[] = {
    {.sentence = "Q2 without bindings and schema the default one is looked at",
     .script = {ASKED("off"), LISTED(COLUMN("YES"))},
     .more = DATABASE,
     .columns = 1,
     .is_nullable = true,
     .heard = "table_schema IN ('public')",
     .unheard = "current_database"},
    {.sentence = "Q3 a database that is not set is asked for",
     .script = {"startup", "ok", "expect S", "cells off", "cells public", "cells chosen", "ready I",
                LISTED(COLUMN("YES"))},
     .more = "",
     .columns = 1,
     .is_nullable = true,
     .heard = "table_catalog = 'chosen'"},
    {.sentence = "Q3 by a statement of its own",
     .script = {"startup", "ok", "expect S", "cells off", "cells public", "cells chosen", "ready I",
                LISTED(COLUMN("YES"))},
     .more = "",
     .columns = 1,
     .is_nullable = true,
     .heard = "P SELECT current_database()"},
    {.sentence = "Q5 a table without columns exists",
     .script = {ASKED("off"), LISTED(NO_COLUMNS)},
     .more = DATABASE},
    {.sentence = "Q6 a column that may be null",
     .script = {ASKED("off"), LISTED(COLUMN("YES"))},
     .more = DATABASE,
     .columns = 1,
     .is_nullable = true},
    {.sentence = "Q6 a column that may not",
     .script = {ASKED("off"), LISTED(COLUMN("NO"))},
     .more = DATABASE,
     .columns = 1},
    {.sentence = "Q7 on: case counts",
     .script = {ASKED("on"), LISTED(NO_COLUMNS)},
     .more = DATABASE,
     .case_sensitive = true},
    {.sentence = "Q7 ON: case counts",
     .script = {ASKED("ON"), LISTED(NO_COLUMNS)},
     .more = DATABASE,
     .case_sensitive = true},
    {.sentence = "Q7 off: it does not",
     .script = {ASKED("off"), LISTED(NO_COLUMNS)},
     .more = DATABASE},
    {.sentence = "Q7 any other word: it does not",
     .script = {ASKED("true"), LISTED(NO_COLUMNS)},
     .more = DATABASE},
};

static bool is_read(const struct catalog_row *row, const struct rs_catalog *catalog)
{
    const struct span path[] = {SPAN_LIT("things")};
    const struct rs_existing_table *table = rs_catalog_find(catalog, path, 1);

    if (!table || table->column_count != row->columns ||
        rs_catalog_is_case_sensitive(catalog) != row->case_sensitive) {
        return false;
    }
    return row->columns == 0 ||
           (table->columns[0].is_nullable == row->is_nullable &&
            table->columns[0].char_max_length == 12 && !table->columns[0].has_default);
}

static void what_exists_is_read_in_two_flights(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(catalog_rows); i++) {
        const struct catalog_row *row = &catalog_rows[i];
        struct catalog_reading reading = {0};
        struct stage stage;

        set_up(&stage, row->script, NULL, 0, row->more);
        stage.conn = &reading.conn;
        (void)catalog_read(&stage.world, stage.arena, NULL, 0, &reading, done, &stage);
        play(&stage);
        if (stage.err || !is_read(row, reading.catalog) ||
            (row->heard && !heard(&stage, row->heard)) ||
            (row->unheard && heard(&stage, row->unheard))) {
            print_error("%s: %s\n%s", row->sentence, stage.err ? error_text(stage.err) : "",
                        pg_peer_heard(stage.warehouse));
            wrong++;
        }
        tear_down(&stage);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- Validate */

static struct proto_collection *make_things(struct arena *arena)
{
    static const struct field_row rows[] = {
        {.field = "id", .ptr = "/id", .types = "integer", .is_key = true},
        {.field = "qty", .ptr = "/qty", .types = "number"},
        {.field = "flow_document", .ptr = "", .types = "object"},
    };

    return make_collection(arena, rows, ARRAY_LEN(rows));
}

struct validate_row {
    const char *sentence;
    const char *script[32];
    const char *resources[2];
    const char *option;   /* of field "id" in the first binding, or NULL */
    const char *parts[3]; /* of the error; none: accepted */
};

static const struct validate_row validate_rows[] = {
    {"two bindings with tables of their own",
     {PROVED_AND_ASKED("off"), LISTED(NO_COLUMNS)},
     {"{\"table\":\"Orders\"}", "{\"table\":\"Items\"}"},
     NULL,
     {NULL}},
    {"A36 two spellings of a table are refused, for both would write to one",
     {PROVED_AND_ASKED("off"), LISTED(NO_COLUMNS)},
     {"{\"table\":\"Orders\"}", "{\"table\":\"orders\"}"},
     NULL,
     {"\"Orders\"", "\"orders\"", "one table"}},
    {"they are two tables where case counts",
     {PROVED_AND_ASKED("on"), LISTED(NO_COLUMNS)},
     {"{\"table\":\"Orders\"}", "{\"table\":\"orders\"}"},
     NULL,
     {NULL}},
    {"no schema is schema public",
     {PROVED_AND_ASKED("off"), LISTED(NO_COLUMNS)},
     {"{\"table\":\"orders\"}", "{\"table\":\"orders\",\"schema\":\"public\"}"},
     NULL,
     {"one table"}},
    {"N18 an unknown field option, and whose it is",
     {PROVED_AND_ASKED("off"), LISTED(NO_COLUMNS)},
     {"{\"table\":\"Orders\"}", "{\"table\":\"Items\"}"},
     "{\"foo\":1}",
     {"validating binding: ", "\"id\"", "\"foo\""}},
};

static bool is_refused_so(const struct error *err, const char *const parts[3])
{
    bool good = parts[0] ? err && error_class_of(err) == ERROR_CONFIG : !err;

    for (size_t i = 0; good && i < 3 && parts[i]; i++) {
        good = strstr(error_text(err), parts[i]) != NULL;
    }
    return good;
}

static void bindings_are_validated_together(void **state)
{
    static const struct http_rule rules[] = {PUTS, GETS, DELETES};
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(validate_rows); i++) {
        const struct validate_row *row = &validate_rows[i];
        struct proto_field_option option = {SPAN_LIT("id"), span_of(row->option)};
        struct proto_validate_binding bindings[2] = {0};
        const struct proto_validate request = {
            .name = SPAN_LIT("acme/dw"), .bindings = bindings, .binding_count = 2};
        struct validate_result result = {0};
        struct stage stage;

        set_up(&stage, row->script, rules, ARRAY_LEN(rules), DATABASE);
        for (unsigned k = 0; k < 2; k++) {
            bindings[k].collection = make_things(stage.arena);
            bindings[k].resource_config_json = span_of(row->resources[k]);
        }
        bindings[0].options = &option;
        bindings[0].option_count = row->option ? 1 : 0;
        (void)validate_start(&stage.world, stage.arena, &request, &result, done, &stage);
        play(&stage);
        if (!is_refused_so(stage.err, row->parts) || (!stage.err && result.count != 2)) {
            print_error("%s: %s\n", row->sentence, stage.err ? error_text(stage.err) : "accepted");
            wrong++;
        }
        tear_down(&stage);
    }
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- Apply */

static struct proto_materialization *make_spec(struct arena *arena, const char *values)
{
    struct proto_materialization *spec = ARENA_NEW(arena, struct proto_materialization);
    struct proto_binding *binding = ARENA_NEW(arena, struct proto_binding);

    binding->collection = make_things(arena);
    binding->resource_path = make_names(arena, "things", &binding->resource_path_count);
    binding->state_key = SPAN_LIT("things.v0");
    binding->selection.keys = make_names(arena, "id", &binding->selection.key_count);
    binding->selection.values = make_names(arena, values, &binding->selection.value_count);
    binding->selection.document = SPAN_LIT("flow_document");
    spec->name = SPAN_LIT("acme/dw");
    spec->bindings = binding;
    spec->binding_count = 1;
    return spec;
}

/* A40 */
static void with_an_empty_state_a_column_is_added_at_once(void **state)
{
    static const char *const script[] = {
        ASKED("off"),
        "expect S",
        "cells public|things;public|flow_checkpoints_v1",
        "cells public|things|id|bigint|YES||;public|things|flow_document|super|YES||",
        "ready I",
        "expect S",
        "done ALTER TABLE",
        "ready I",
        NULL};
    struct apply_result result = {0};
    struct stage stage;

    (void)state;
    set_up(&stage, script, NULL, 0, DATABASE);
    const struct proto_apply request = {.materialization = make_spec(stage.arena, "qty"),
                                        .last_materialization = make_spec(stage.arena, ""),
                                        .state_json = SPAN_LIT("{}")};
    (void)apply_start(&stage.world, stage.arena, &request, &result, done, &stage);
    play(&stage);
    if (stage.err) {
        fail_msg("%s", error_text(stage.err));
    }
    assert_true(span_is(result.action, "ALTER TABLE things ADD COLUMN qty DOUBLE PRECISION;"));
    assert_int_equal(result.patch_json.len, 0);
    assert_true(heard(&stage, "P ALTER TABLE things ADD COLUMN qty DOUBLE PRECISION;\n"));
    tear_down(&stage);
}

/* The server answers one connection after the other: the first has done all actions before the
 * others are let in. */
#define ACTION "expect S", "done ALTER TABLE", "ready I"
#define ONE_MORE "beside", "startup", "ok"

struct run_row {
    const char *sentence;
    const char *script[40];
    const char *refusal; /* NULL: all are done */
};

static const struct run_row run_rows[] = {
    {"A38 six actions need five connections, a sixth would wait for ever",
     {"startup", "ok", ACTION, ACTION, ACTION, ACTION, ACTION, ACTION, ONE_MORE, ONE_MORE, ONE_MORE,
      ONE_MORE, NULL},
     NULL},
    {"A38 one of six fails: so does the whole, at once",
     {"startup", "ok", ACTION, ACTION, "expect S", "error 42601 syntax error", "ready I", NULL},
     "executing concurrent apply actions: altering c: syntax error (42601)"},
};

struct run {
    struct stage *stage;
    const struct apply_actions *actions;
    struct pgc_conn *conn;
};

static void connected(void *ctx, struct error *err)
{
    struct run *run = ctx;

    assert_null(err);
    (void)apply_run(&run->stage->world, &run->conn, run->actions, done, run->stage);
}

static void actions_run_side_by_side(void **state)
{
    static struct pgc_statement statements[] = {
        {.label = "altering a", .sql = "ALTER TABLE a", .sync = true},
        {.label = "altering b", .sql = "ALTER TABLE b", .sync = true},
        {.label = "altering c", .sql = "ALTER TABLE c", .sync = true},
        {.label = "altering d", .sql = "ALTER TABLE d", .sync = true},
        {.label = "altering e", .sql = "ALTER TABLE e", .sync = true},
        {.label = "altering f", .sql = "ALTER TABLE f", .sync = true},
    };
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(run_rows); i++) {
        const struct run_row *row = &run_rows[i];
        struct apply_action items[ARRAY_LEN(statements)] = {0};
        const struct apply_actions actions = {items, ARRAY_LEN(items)};
        struct stage stage;
        struct run run = {.stage = &stage, .actions = &actions};

        for (size_t k = 0; k < ARRAY_LEN(items); k++) {
            items[k].statements = &statements[k];
            items[k].count = 1;
        }
        set_up(&stage, row->script, NULL, 0, DATABASE);
        stage.conn = &run.conn;
        run.conn = pgc_conn_new(stage.loop, &stage.world.pg);
        pgc_connect(run.conn, connected, &run);
        play(&stage);
        const char *text = stage.err ? error_text(stage.err) : "";
        if (strcmp(text, row->refusal ? row->refusal : "") != 0 ||
            heard(&stage, "P ALTER TABLE f\n") == (row->refusal != NULL)) {
            print_error("%s: %s\n%s", row->sentence, text, pg_peer_heard(stage.warehouse));
            wrong++;
        }
        tear_down(&stage);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tunnel_needs_the_port_of_the_warehouse),
        cmocka_unit_test(all_that_is_wrong_is_told_at_once),
        cmocka_unit_test(a_cluster_that_cannot_read_is_told_why_and_nothing_is_left),
        cmocka_unit_test(what_exists_is_read_in_two_flights),
        cmocka_unit_test(bindings_are_validated_together),
        cmocka_unit_test(with_an_empty_state_a_column_is_added_at_once),
        cmocka_unit_test(actions_run_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
