/* Every SQL text against its golden file: tests/data/golden/<name>.sql is the text and a line
 * break. */

#include "redshift/sql.h"

#include "redshift/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* SPAN_LIT for static tables. */
#define LIT(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define C(n, id, d, ...)                                                                           \
    {                                                                                              \
        .field = LIT(n), .identifier = LIT(id), .type = {.ddl = LIT(d), __VA_ARGS__ }              \
    }
#define TEXT .is_text = true

/* The example of the reference: sales."Orders". */
static struct rs_column order_columns[] = {
    C("id", "id", "BIGINT", .flat = RS_FLAT_INTEGER),
    C("_meta/op", "\"_meta/op\"", "TEXT", TEXT),
    C("flow_published_at", "flow_published_at", "TIMESTAMPTZ", .flat = RS_FLAT_STRING),
    C("lineItems", "\"lineItems\"", "SUPER", .flat = RS_FLAT_ARRAY),
    C("note", "note", "TEXT", TEXT),
    C("placedAt", "\"placedAt\"", "TIMESTAMPTZ", .flat = RS_FLAT_STRING),
    C("qty", "qty", "NUMERIC(38,0)", .flat = RS_FLAT_INTEGER),
    C("flow_document", "flow_document", "SUPER", .flat = RS_FLAT_OBJECT),
};
static struct rs_table orders = {
    .path = {LIT("sales"), LIT("Orders")},
    .path_count = 2,
    .identifier = LIT("sales.\"Orders\""),
    .columns = order_columns,
    .column_count = ARRAY_LEN(order_columns),
    .key_count = 1,
    .has_document = true,
};

/* Two keys, text and bytes; no value, no document. */
static struct rs_column pair_columns[] = {
    C("name", "name", "TEXT", TEXT),
    C("hash", "hash", "VARBYTE(1024000)", .flat = RS_FLAT_BINARY),
};
static struct rs_table pairs = {
    .path = {LIT("pairs")},
    .path_count = 1,
    .identifier = LIT("pairs"),
    .columns = pair_columns,
    .column_count = ARRAY_LEN(pair_columns),
    .key_count = 2,
};

static struct rs_table metadata, default_metadata;
static struct secret *secret_key, *token;
static struct rs_copy copy = {
    .manifest_url = LIT("s3://bucket/pa'th/files.manifest"),
    .access_key_id = "AKEXAMPLE",
    .region = "eu-west-1",
};

static struct rs_table with_widths(const struct rs_table *table, struct rs_column *columns)
{
    struct rs_table copy_of = *table;

    memcpy(columns, table->columns, table->column_count * sizeof(*columns));
    for (unsigned i = 0; i < table->column_count; i++) {
        columns[i].char_max_length = columns[i].type.is_text ? (i == 0 ? 512 : 65535) : 0;
    }
    copy_of.columns = columns;
    return copy_of;
}

/* ---------------------------------------------------------------- one function per golden file */

static void create_schema(struct buf *out)
{
    rs_sql_create_schema(out, SPAN_LIT("Sales \"x\""));
}

static void create_table(struct buf *out)
{
    rs_sql_create_table(out, &orders);
}

static void create_metadata(struct buf *out)
{
    rs_sql_create_table(out, &metadata);
}

static void create_default_metadata(struct buf *out)
{
    rs_sql_create_table(out, &default_metadata);
}

static void add_column(struct buf *out)
{
    rs_sql_add_column(out, &orders, &order_columns[3]);
}

static void add_temporary(struct buf *out)
{
    static const struct rs_column column = C("placedAt", "\"placedAt\"", "TEXT", TEXT);
    rs_sql_add_temporary(out, &orders, &column);
}

/* The example of the reference: two columns become texts. */
static void fill_temporaries(struct buf *out)
{
    static const struct rs_column columns[] = {
        C("placedAt", "\"placedAt\"", "TEXT", .flat = RS_FLAT_STRING, TEXT),
        C("qty", "qty", "TEXT", .flat = RS_FLAT_STRING, TEXT),
    };
    const struct rs_migration migrations[] = {
        {&columns[0], SPAN_LIT("timestamp with time zone")},
        {&columns[1], SPAN_LIT("numeric")},
    };
    rs_sql_fill_temporaries(out, &orders, migrations, 2);
}

static void drop_column(struct buf *out)
{
    rs_sql_drop_column(out, &orders, &order_columns[5]);
}

static void drop_temporary(struct buf *out)
{
    rs_sql_drop_temporary(out, &orders, &order_columns[5]);
}

static void rename_temporary(struct buf *out)
{
    rs_sql_rename_temporary(out, &orders, &order_columns[5]);
}

static void drop_table(struct buf *out)
{
    rs_sql_drop_table(out, &orders);
}

static void truncate_table(struct buf *out)
{
    rs_sql_truncate(out, &orders);
}

static void add_tokens_column(struct buf *out)
{
    rs_sql_add_tokens_column(out, &metadata);
}

static void read_rows(struct buf *out)
{
    rs_sql_read_rows(out, &metadata);
}

static void update_fence(struct buf *out)
{
    rs_sql_update_fence(out, &metadata);
}

static void insert_row(struct buf *out)
{
    rs_sql_insert_row(out, &metadata);
}

static void write_tokens(struct buf *out)
{
    rs_sql_write_tokens(out, &metadata);
}

static void lock(struct buf *out)
{
    rs_sql_lock(out, &metadata);
}

static void truncate_strings(struct buf *out)
{
    rs_sql_truncate_strings(out);
}

static void temp_load(struct buf *out)
{
    rs_sql_create_temp(out, &orders, 3, RS_TEMP_LOAD, 0);
}

static void temp_load_long_keys(struct buf *out)
{
    rs_sql_create_temp(out, &pairs, 4, RS_TEMP_LOAD, 1000);
}

static void temp_delete(struct buf *out)
{
    struct rs_column columns[ARRAY_LEN(pair_columns)];
    struct rs_table wide = with_widths(&pairs, columns);
    rs_sql_create_temp(out, &wide, 4, RS_TEMP_DELETE, 300);
}

static void temp_store(struct buf *out)
{
    rs_sql_create_temp(out, &orders, 3, RS_TEMP_STORE, 0);
}

static void temp_store_wide(struct buf *out)
{
    struct rs_column columns[ARRAY_LEN(order_columns)];
    struct rs_table wide = with_widths(&orders, columns);
    rs_sql_create_temp(out, &wide, 3, RS_TEMP_STORE, 0);
}

static void drop_temp(struct buf *out)
{
    rs_sql_drop_temp(out, 4, RS_TEMP_DELETE);
}

static void copy_temp(struct buf *out)
{
    rs_sql_copy_temp(out, &orders, 3, RS_TEMP_STORE, &copy);
}

static void copy_temp_deleted(struct buf *out)
{
    struct rs_copy other = copy;
    other.session_token = token;
    other.zstd = true;
    other.case_sensitive = true;
    rs_sql_copy_temp(out, &orders, 3, RS_TEMP_DELETE, &other);
}

/* The keys are there all the same, and stay out of the text. */
static void copy_temp_default_role(struct buf *out)
{
    struct rs_copy other = copy;
    other.iam_role = "default";
    rs_sql_copy_temp(out, &orders, 3, RS_TEMP_STORE, &other);
}

static void copy_target_role_chain(struct buf *out)
{
    struct rs_copy other = copy;
    other.access_key_id = NULL;
    other.secret_access_key = NULL;
    other.iam_role = "arn:aws:iam::1:role/a,arn:aws:iam::2:role/b";
    rs_sql_copy_target(out, &orders, &other);
}

static void copy_target(struct buf *out)
{
    struct rs_copy other = copy;
    other.truncate_columns = true;
    rs_sql_copy_target(out, &orders, &other);
}

static void create_proof(struct buf *out)
{
    rs_sql_create_proof(out);
}

static void drop_proof(struct buf *out)
{
    rs_sql_drop_proof(out);
}

static void copy_proof(struct buf *out)
{
    rs_sql_copy_proof(out, &copy);
}

static void copy_count(struct buf *out)
{
    rs_sql_copy_count(out);
}

static void merge(struct buf *out)
{
    rs_sql_merge(out, &orders, 3);
}

static void merge_keys_only(struct buf *out)
{
    rs_sql_merge(out, &pairs, 4);
}

static void delete (struct buf *out)
{
    rs_sql_delete(out, &pairs, 4);
}

static void delete_before(struct buf *out)
{
    rs_sql_delete_before(out, &orders, order_columns[2].identifier);
}

static void statement_timeout(struct buf *out)
{
    rs_sql_statement_timeout(out, 30000);
}

static void lock_holder(struct buf *out)
{
    rs_sql_lock_holder(out);
}

static void queued(struct buf *out)
{
    rs_sql_queued(out);
}

static void widen(struct buf *out)
{
    rs_sql_widen(out, &orders, &order_columns[4]);
}

static void load(struct buf *out)
{
    struct rs_table two_keys = orders;
    two_keys.key_count = 2;
    rs_sql_load(out, &orders, 3, true, NULL, NULL);
    rs_sql_load(out, &two_keys, 5, false, NULL, NULL);
}

/* One property of each kind; the last two are no properties of the root. */
static void load_rebuilt(struct buf *out)
{
    static struct rs_column columns[] = {
        C("id", "id", "BIGINT", .flat = RS_FLAT_INTEGER),
        C("day", "day", "DATE", .flat = RS_FLAT_STRING),
        C("seen", "seen", "TIMESTAMPTZ", .flat = RS_FLAT_STRING),
        C("hash", "hash", "VARBYTE(1024000)", .flat = RS_FLAT_BINARY),
        C("total", "total", "NUMERIC(38,0)", .flat = RS_FLAT_STRING_INTEGER),
        C("it's", "\"it's\"", "TEXT", .flat = RS_FLAT_STRING, TEXT),
        C("list", "list", "SUPER", .flat = RS_FLAT_ARRAY),
        C("own", "own", "DATE", .flat = RS_FLAT_STRING, .is_user_ddl = true),
        C("_meta/op", "\"_meta/op\"", "TEXT", .flat = RS_FLAT_STRING, TEXT),
    };
    const struct rs_table table = {
        .path = {LIT("t")},
        .path_count = 1,
        .identifier = LIT("t"),
        .columns = columns,
        .column_count = ARRAY_LEN(columns),
        .key_count = 1,
    };
    for (size_t i = 0; i + 1 < ARRAY_LEN(columns); i++) {
        columns[i].property = columns[i].field;
    }
    rs_sql_load(out, &table, 3, true, NULL, NULL);
    rs_sql_load(out, &orders, 4, false, NULL, NULL);
}

/* Parameters are numbered over all tables of the statement. */
static void load_bounded(struct buf *out)
{
    const bool first[] = {true}, second[] = {false, true}, none[] = {false};
    struct rs_table two_keys = orders;
    unsigned param = 1;
    two_keys.key_count = 2;
    rs_sql_load(out, &orders, 3, true, first, &param);
    rs_sql_load(out, &orders, 4, false, none, &param);
    rs_sql_load(out, &two_keys, 5, false, second, &param);
    CHECK(param == 5);
}

static void load_errors(struct buf *out)
{
    struct span prefixes[] = {SPAN_LIT("s3://b/100%_x/"), SPAN_LIT("s3://b/it's^/")};
    rs_sql_load_errors(out, prefixes, 2);
}

/* ---------------------------------------------------------------- */

typedef void golden_fn(struct buf *out);

static const struct golden {
    const char *name;
    golden_fn *fn;
} goldens[] = {
#define GOLDEN(name)                                                                               \
    {                                                                                              \
#name, name                                                                                \
    }
    GOLDEN(create_schema),
    GOLDEN(create_table),
    GOLDEN(create_metadata),
    GOLDEN(create_default_metadata),
    GOLDEN(add_column),
    GOLDEN(drop_table),
    GOLDEN(add_temporary),
    GOLDEN(fill_temporaries),
    GOLDEN(drop_column),
    GOLDEN(drop_temporary),
    GOLDEN(rename_temporary),
    GOLDEN(truncate_table),
    GOLDEN(add_tokens_column),
    GOLDEN(read_rows),
    GOLDEN(update_fence),
    GOLDEN(insert_row),
    GOLDEN(write_tokens),
    GOLDEN(lock),
    GOLDEN(truncate_strings),
    GOLDEN(temp_load),
    GOLDEN(temp_load_long_keys),
    GOLDEN(temp_delete),
    GOLDEN(temp_store),
    GOLDEN(temp_store_wide),
    GOLDEN(drop_temp),
    GOLDEN(copy_temp),
    GOLDEN(copy_temp_deleted),
    GOLDEN(copy_temp_default_role),
    GOLDEN(copy_target_role_chain),
    GOLDEN(copy_target),
    GOLDEN(create_proof),
    GOLDEN(copy_proof),
    GOLDEN(drop_proof),
    GOLDEN(copy_count),
    GOLDEN(merge),
    GOLDEN(merge_keys_only),
    GOLDEN(delete),
    GOLDEN(delete_before),
    GOLDEN(widen),
    GOLDEN(load),
    GOLDEN(load_rebuilt),
    GOLDEN(load_bounded),
    GOLDEN(load_errors),
    GOLDEN(statement_timeout),
    GOLDEN(lock_holder),
    GOLDEN(queued),
};

static bool read_golden(const char *name, struct buf *out)
{
    char path[1024];

    (void)snprintf(path, sizeof(path), "%s/golden/%s.sql", TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        return false;
    }
    char chunk[4096];
    for (size_t got; (got = fread(chunk, 1, sizeof(chunk), file)) > 0;) {
        buf_add(out, chunk, got);
    }
    (void)fclose(file);
    return true;
}

static void every_text_equals_its_golden_file(void **state)
{
    unsigned bad = 0;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        struct buf got, want;
        buf_init(&got, 1 << 20);
        buf_init(&want, 1 << 20);
        goldens[i].fn(&got);
        buf_add_byte(&got, '\n');
        assert_false(buf_is_full(&got));
        if (!read_golden(goldens[i].name, &want) || !span_equal(buf_view(&got), buf_view(&want))) {
            print_error("%s.sql differs; the text is now\n%s", goldens[i].name, got.data);
            bad++;
        }
        buf_done(&got);
        buf_done(&want);
    }
    assert_int_equal(bad, 0);
}

static void comments_say_where_a_column_comes_from(void **state)
{
    struct span types[] = {SPAN_LIT("integer"), SPAN_LIT("null")};
    struct rs_field field = {.ptr = SPAN_LIT("/a/b"), .type_names = types, .type_name_count = 2};
    struct buf out;
    (void)state;

    buf_init(&out, 1000);
    rs_add_column_comment(&out, &field);
    assert_string_equal(
        out.data, "auto-generated projection of JSON at: /a/b with inferred types: [integer null]");
    buf_clear(&out);
    field.title = SPAN_LIT("Title");
    field.description = SPAN_LIT("It's described");
    field.is_explicit = true;
    field.ptr = SPAN_LIT("");
    field.type_name_count = 1;
    rs_add_column_comment(&out, &field);
    assert_string_equal(out.data, "Title\nIt's described\nuser-provided projection of JSON at:  "
                                  "with inferred types: [integer]");
    buf_clear(&out);
    rs_add_table_comment(&out, SPAN_LIT("acme/dw"), SPAN_LIT("acme/orders"));
    assert_string_equal(out.data,
                        "Generated for materialization acme/dw of collection acme/orders");
    buf_done(&out);
}

static void a_full_buffer_holds_no_half_of_a_copy(void **state)
{
    struct buf out;
    (void)state;

    buf_init(&out, 100);
    rs_sql_copy_temp(&out, &orders, 3, RS_TEMP_STORE, &copy);
    assert_true(buf_is_full(&out));
    assert_null(strstr(out.data, "aws_secret"));
    buf_done(&out);
}

static int set_up(void **state)
{
    struct arena *arena = arena_new(1 << 16);

    order_columns[0].is_key = true;
    order_columns[7].is_document = true;
    pair_columns[0].is_key = pair_columns[1].is_key = true;
    orders.comment = SPAN_LIT("Generated for materialization acme/dw of collection acme/orders");
    order_columns[4].comment = SPAN_LIT("It's a note\nwith a back\\slash\nuser-provided");
    rs_metadata_table(arena, SPAN_LIT("Ops"), &metadata);
    rs_metadata_table(arena, SPAN_LIT(""), &default_metadata);
    secret_key = secret_new(SPAN_LIT("s3cr/et+key"));
    token = secret_new(SPAN_LIT("to'ken"));
    copy.secret_access_key = secret_key;
    *state = arena;
    return 0;
}

static int tear_down(void **state)
{
    arena_free(*state);
    secret_free(secret_key);
    secret_free(token);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_equals_its_golden_file),
        cmocka_unit_test(comments_say_where_a_column_comes_from),
        cmocka_unit_test(a_full_buffer_holds_no_half_of_a_copy),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
