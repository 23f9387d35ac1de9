/* From fields to columns, and what existing columns may stay or become. */

#include "redshift/type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define INT RS_JSON_INTEGER
#define NUM RS_JSON_NUMBER
#define BOOL RS_JSON_BOOLEAN
#define STR RS_JSON_STRING
#define NIL RS_JSON_NULL
#define ARR RS_JSON_ARRAY
#define OBJ RS_JSON_OBJECT

struct row {
    const char *sentence;
    unsigned types;
    const char *format, *encoding, *content, *options;
    uint32_t max_length;
    double minimum, maximum; /* 0: none */
    bool as_key, plain_dates, no_binary;
    enum rs_flat flat;
    const char *ddl;
    enum rs_converter converter;
};

#define PROTO_CHECKPOINT "application/x-protobuf; proto=consumer.Checkpoint"

static const struct row rows[] = {
    {.sentence = "T1 an integer", .types = INT, .flat = RS_FLAT_INTEGER, .ddl = "BIGINT"},
    {.sentence = "T2 an integer up to 1e19",
     .types = INT,
     .maximum = 1e19,
     .flat = RS_FLAT_INTEGER,
     .ddl = "NUMERIC(38,0)"},
    {.sentence = "T3 an integer up to 1e39",
     .types = INT,
     .maximum = 1e39,
     .flat = RS_FLAT_INTEGER,
     .ddl = "NUMERIC(38,0)"},
    {.sentence = "T4 an integer up to 1e77",
     .types = INT,
     .maximum = 1e77,
     .flat = RS_FLAT_INTEGER,
     .ddl = "NUMERIC(38,0)"},
    {.sentence = "T5 the bounds of BIGINT themselves, rounded to doubles",
     .types = INT,
     .minimum = -9223372036854775808.0,
     .maximum = 9223372036854775807.0,
     .flat = RS_FLAT_INTEGER,
     .ddl = "BIGINT"},
    {.sentence = "T6 an integer down to -1.8e19",
     .types = INT,
     .minimum = -1.8e19,
     .flat = RS_FLAT_INTEGER,
     .ddl = "NUMERIC(38,0)"},
    {.sentence = "T7 an integer up to 2^32-1",
     .types = INT,
     .maximum = 4294967295.0,
     .flat = RS_FLAT_INTEGER,
     .ddl = "BIGINT"},
    {.sentence = "T8 a nullable integer",
     .types = INT | NIL,
     .flat = RS_FLAT_INTEGER,
     .ddl = "BIGINT"},
    {.sentence = "T9 a number", .types = NUM, .flat = RS_FLAT_NUMBER, .ddl = "DOUBLE PRECISION"},
    {.sentence = "T10 a boolean", .types = BOOL, .flat = RS_FLAT_BOOLEAN, .ddl = "BOOLEAN"},
    {.sentence = "T11 an object",
     .types = OBJ,
     .flat = RS_FLAT_OBJECT,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T12 an array",
     .types = ARR,
     .flat = RS_FLAT_ARRAY,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T13 boolean, integer or object",
     .types = BOOL | INT | OBJ,
     .flat = RS_FLAT_MULTIPLE,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T14 integer or number",
     .types = INT | NUM,
     .flat = RS_FLAT_MULTIPLE,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T15 a string",
     .types = STR,
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T16 a short string",
     .types = STR,
     .max_length = 10,
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T17 a date",
     .types = STR,
     .format = "date",
     .flat = RS_FLAT_STRING,
     .ddl = "DATE",
     .converter = RS_DATE},
    {.sentence = "T18 a date-time",
     .types = STR,
     .format = "date-time",
     .flat = RS_FLAT_STRING,
     .ddl = "TIMESTAMPTZ",
     .converter = RS_TIMESTAMP},
    {.sentence = "T19 flow_published_at, a date-time with an encoding",
     .types = STR,
     .format = "date-time",
     .encoding = "uuid",
     .flat = RS_FLAT_STRING,
     .ddl = "TIMESTAMPTZ",
     .converter = RS_TIMESTAMP},
    {.sentence = "T20 a time, which COPY cannot read from JSON",
     .types = STR,
     .format = "time",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T21 a uuid",
     .types = STR,
     .format = "uuid",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T21 an address of the network",
     .types = STR,
     .format = "ipv4",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T21 a duration",
     .types = STR,
     .format = "duration",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T22 digits in a string",
     .types = STR,
     .format = "integer",
     .flat = RS_FLAT_STRING_INTEGER,
     .ddl = "NUMERIC(38,0)",
     .converter = RS_STR_TO_INT},
    {.sentence = "T23 digits as string or integer",
     .types = INT | STR,
     .format = "integer",
     .max_length = 18,
     .flat = RS_FLAT_STRING_INTEGER,
     .ddl = "NUMERIC(38,0)",
     .converter = RS_STR_TO_INT},
    {.sentence = "T24 up to 38 digits",
     .types = INT | STR,
     .format = "integer",
     .max_length = 38,
     .flat = RS_FLAT_STRING_INTEGER,
     .ddl = "NUMERIC(38,0)",
     .converter = RS_STR_TO_INT},
    {.sentence = "T25 39 digits, one more than NUMERIC has",
     .types = INT | STR,
     .format = "integer",
     .max_length = 39,
     .flat = RS_FLAT_STRING_INTEGER,
     .ddl = "TEXT",
     .converter = RS_TO_STRING},
    {.sentence = "T25 many more digits",
     .types = INT | STR,
     .format = "integer",
     .max_length = 66,
     .flat = RS_FLAT_STRING_INTEGER,
     .ddl = "TEXT",
     .converter = RS_TO_STRING},
    {.sentence = "T25 even more",
     .types = INT | STR,
     .format = "integer",
     .max_length = 77,
     .flat = RS_FLAT_STRING_INTEGER,
     .ddl = "TEXT",
     .converter = RS_TO_STRING},
    {.sentence = "T26 a number as string or number or null",
     .types = NUM | STR | NIL,
     .format = "number",
     .flat = RS_FLAT_STRING_NUMBER,
     .ddl = "DOUBLE PRECISION",
     .converter = RS_STR_TO_FLOAT},
    {.sentence = "T27 an integer beside a string with format number",
     .types = INT | STR,
     .format = "number",
     .flat = RS_FLAT_MULTIPLE,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T28 a number beside a string with format integer",
     .types = NUM | STR,
     .format = "integer",
     .flat = RS_FLAT_MULTIPLE,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T29 an object beside a string with format integer",
     .types = STR | OBJ,
     .format = "integer",
     .flat = RS_FLAT_MULTIPLE,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T30 a number beside a string with another format",
     .types = NUM | STR | NIL,
     .format = "base64",
     .flat = RS_FLAT_MULTIPLE,
     .ddl = "SUPER",
     .converter = RS_JSON},
    {.sentence = "T31 base64 without a content type",
     .types = STR,
     .encoding = "base64",
     .flat = RS_FLAT_BINARY,
     .ddl = "VARBYTE(1024000)",
     .converter = RS_HEX},
    {.sentence = "T32 base64 of octets",
     .types = STR,
     .encoding = "base64",
     .content = "application/octet-stream",
     .flat = RS_FLAT_BINARY,
     .ddl = "VARBYTE(1024000)",
     .converter = RS_HEX},
    {.sentence = "T33 base64 of a picture",
     .types = STR,
     .encoding = "base64",
     .content = "image/png",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T34 octets without base64",
     .types = STR,
     .content = "application/octet-stream",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T35 base64 where VARBYTE is not wanted",
     .types = STR,
     .encoding = "base64",
     .no_binary = true,
     .flat = RS_FLAT_BINARY,
     .ddl = "TEXT",
     .converter = RS_AS_IS},
    {.sentence = "T36 a checkpoint of older connectors",
     .types = STR,
     .content = PROTO_CHECKPOINT,
     .flat = RS_FLAT_STRING,
     .ddl = "VARBYTE(1024000)",
     .converter = RS_AS_IS},
    {.sentence = "T37 a date-time key",
     .types = STR,
     .format = "date-time",
     .as_key = true,
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T38 a date key where keys keep their types",
     .types = STR,
     .format = "date",
     .as_key = true,
     .plain_dates = true,
     .flat = RS_FLAT_STRING,
     .ddl = "DATE",
     .converter = RS_DATE},
    {.sentence = "T39 a key of digits in a string",
     .types = STR,
     .format = "integer",
     .as_key = true,
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
    {.sentence = "T40 a base64 key",
     .types = STR,
     .encoding = "base64",
     .as_key = true,
     .flat = RS_FLAT_BINARY,
     .ddl = "VARBYTE(1024000)",
     .converter = RS_HEX},
    {.sentence = "T41 castToString on a numeric string",
     .types = NUM | STR,
     .format = "number",
     .options = "{\"castToString\": true}",
     .flat = RS_FLAT_STRING_NUMBER,
     .ddl = "TEXT",
     .converter = RS_TO_STRING},
    {.sentence = "T42 the older name of castToString",
     .types = STR,
     .format = "date-time",
     .options = "{\"ignoreStringFormat\": true}",
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TO_STRING},
    {.sentence = "castToString false is no option",
     .types = INT,
     .options = "{\"castToString\": false}",
     .flat = RS_FLAT_INTEGER,
     .ddl = "BIGINT"},
    {.sentence = "T43 a type of the user's own",
     .types = INT,
     .options = "{\"DDL\": \"DECIMAL(20)\"}",
     .flat = RS_FLAT_INTEGER,
     .ddl = "DECIMAL(20)"},
    {.sentence = "a type of the user's own with castToString",
     .types = INT,
     .options = "{\"DDL\": \"VARCHAR(30)\", \"castToString\": true}",
     .flat = RS_FLAT_INTEGER,
     .ddl = "VARCHAR(30)",
     .converter = RS_TO_STRING},
    {.sentence = "an empty configuration",
     .types = INT,
     .options = "{}",
     .flat = RS_FLAT_INTEGER,
     .ddl = "BIGINT"},
    {.sentence = "an empty DDL is none",
     .types = INT,
     .options = "{\"DDL\": \"\"}",
     .flat = RS_FLAT_INTEGER,
     .ddl = "BIGINT"},
    {.sentence = "T45 only null", .types = NIL, .flat = RS_FLAT_NEVER, .ddl = ""},
    {.sentence = "T45 nothing", .types = 0, .flat = RS_FLAT_NEVER, .ddl = ""},
    {.sentence = "T46 a nullable string",
     .types = STR | NIL,
     .flat = RS_FLAT_STRING,
     .ddl = "TEXT",
     .converter = RS_TEXT},
};

static struct error *map_row(struct arena *arena, const struct row *row, struct rs_type *ret)
{
    struct rs_field field = {
        .name = SPAN_LIT("f"),
        .types = row->types,
        .has_string = (row->types & STR) != 0,
        .format = span_of(row->format),
        .content_type = span_of(row->content),
        .content_encoding = span_of(row->encoding),
        .max_length = row->max_length,
        .has_minimum = row->minimum < 0 || row->minimum > 0,
        .has_maximum = row->maximum < 0 || row->maximum > 0,
        .minimum = row->minimum,
        .maximum = row->maximum,
    };
    struct rs_type_flags flags = {!row->plain_dates, !row->no_binary};

    return rs_type_map(arena, &field, row->as_key, span_of(row->options), &flags, ret);
}

static void fields_become_columns(void **state)
{
    struct arena *arena = arena_new(1 << 20);
    unsigned bad = 0;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rs_type type;
        struct error *err = map_row(arena, &rows[i], &type);
        if (err) {
            print_error("%s: %s\n", rows[i].sentence, error_text(err));
            error_free(err);
            bad++;
        } else if (type.flat != rows[i].flat || !span_is(type.ddl, rows[i].ddl) ||
                   type.converter != rows[i].converter) {
            print_error("%s: flat %d, type %.*s, converter %d\n", rows[i].sentence, (int)type.flat,
                        SPAN_FMT(type.ddl), (int)type.converter);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
    arena_free(arena);
}

static void bad_configuration_names_field_and_key(void **state)
{
    static const struct {
        const char *sentence, *options, *part;
    } bad_rows[] = {
        {"an unknown key", "{\"castToSting\": true}", "castToSting"},
        {"a wrong type", "{\"castToString\": \"yes\"}", "castToString"},
        {"a DDL that is no text", "{\"DDL\": 5}", "DDL"},
        {"not an object", "[1]", "f"},
        {"cut off", "{\"DDL\": \"BIG", "f"},
    };
    struct arena *arena = arena_new(1 << 20);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        struct row row = {.types = INT, .options = bad_rows[i].options};
        struct rs_type type;
        struct error *err = map_row(arena, &row, &type);
        if (!err || error_class_of(err) != ERROR_CONFIG ||
            !strstr(error_text(err), bad_rows[i].part) || !strstr(error_text(err), "\"f\"")) {
            fail_msg("%s: %s", bad_rows[i].sentence, err ? error_text(err) : "accepted");
        }
        error_free(err);
    }
    arena_free(arena);
}

/* ---------------------------------------------------------------- existing columns */

static struct rs_type type_of(const char *ddl)
{
    static const struct {
        const char *ddl;
        enum rs_flat flat;
    } flats[] = {
        {"BIGINT", RS_FLAT_INTEGER},
        {"NUMERIC(38,0)", RS_FLAT_INTEGER},
        {"DOUBLE PRECISION", RS_FLAT_NUMBER},
        {"BOOLEAN", RS_FLAT_BOOLEAN},
        {"SUPER", RS_FLAT_OBJECT},
        {"VARBYTE(1024000)", RS_FLAT_BINARY},
        {"TEXT", RS_FLAT_STRING},
        {"DATE", RS_FLAT_STRING},
        {"TIMESTAMPTZ", RS_FLAT_STRING},
    };

    for (size_t i = 0; i < ARRAY_LEN(flats); i++) {
        if (strcmp(flats[i].ddl, ddl) == 0) {
            return (struct rs_type){.flat = flats[i].flat, .ddl = span_of(ddl)};
        }
    }
    fail_msg("no such type: %s", ddl);
    return (struct rs_type){0};
}

#define COMPATIBLE "stays"
#define NEITHER NULL
#define UTC_TEXT "to_char(c AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

static void existing_columns_stay_or_migrate_or_neither(void **state)
{
    static const struct {
        const char *sentence, *existing, *mapped, *want;
    } cases[] = {
        {"M1 a whole number", "bigint", "BIGINT", COMPATIBLE},
        {"M2 in capitals", "BIGINT", "BIGINT", COMPATIBLE},
        {"M3 of any length", "character varying", "TEXT", COMPATIBLE},
        {"M4 of any precision", "numeric", "NUMERIC(38,0)", COMPATIBLE},
        {"M5 a time", "timestamp with time zone", "TIMESTAMPTZ", COMPATIBLE},
        {"M6 bytes, by their other name", "binary varying", "VARBYTE(1024000)", COMPATIBLE},
        {"varbyte by its own name", "varbyte", "VARBYTE(1024000)", COMPATIBLE},
        {"super", "super", "SUPER", COMPATIBLE},
        {"boolean", "boolean", "BOOLEAN", COMPATIBLE},
        {"date", "date", "DATE", COMPATIBLE},
        {"double", "double precision", "DOUBLE PRECISION", COMPATIBLE},
        {"M7 narrower", "integer", "BIGINT", NEITHER},
        {"M8 more digits", "bigint", "NUMERIC(38,0)", "CAST(c AS NUMERIC(38,0))"},
        {"M9 a whole number to a double", "bigint", "DOUBLE PRECISION",
         "CAST(c AS DOUBLE PRECISION)"},
        {"M10 a whole number to text", "bigint", "TEXT", "CAST(c AS TEXT)"},
        {"M11 digits to a whole number", "numeric", "BIGINT", NEITHER},
        {"M12 digits to a double", "numeric", "DOUBLE PRECISION", "CAST(c AS DOUBLE PRECISION)"},
        {"numeric to text", "numeric", "TEXT", "CAST(c AS TEXT)"},
        {"M13 a double to digits", "double precision", "NUMERIC(38,0)", NEITHER},
        {"double to text", "double precision", "TEXT", "CAST(c AS TEXT)"},
        {"M14 a truth to text", "boolean", "TEXT", NEITHER},
        {"M15 a truth to anything", "boolean", "SUPER", "CAST(c as SUPER)"},
        {"M16 a day to text", "date", "TEXT", "CAST(c AS TEXT)"},
        {"M17 a time to text", "timestamp with time zone", "TEXT", UTC_TEXT},
        {"M18 by its own row", "timestamp with time zone", "SUPER", "CAST(" UTC_TEXT " as SUPER)"},
        {"M19 text to a whole number", "character varying", "BIGINT", NEITHER},
        {"M20 text to bytes", "character varying", "VARBYTE(1024000)", "TO_VARBYTE(c, 'base64')"},
        {"M21 bytes to text", "binary varying", "TEXT", "FROM_VARBYTE(c, 'base64')"},
        {"M22 bytes to anything", "binary varying", "SUPER",
         "CAST(FROM_VARBYTE(c, 'base64') AS SUPER)"},
        {"M23 anything to text", "super", "TEXT", "JSON_SERIALIZE(c)"},
        {"M24 anything to a truth", "super", "BOOLEAN", NEITHER},
        {"M25 by the wildcard", "geometry", "SUPER", "CAST(c as SUPER)"},
        {"M27 text to anything, as a document is", "character varying", "SUPER",
         "CAST(c as SUPER)"},
        {"M28 a time of day to text", "time without time zone", "TEXT", "CAST(c AS TEXT)"},
        {"the existing name in capitals", "BIGINT", "TEXT", "CAST(c AS TEXT)"},
        {"bigint to boolean", "bigint", "BOOLEAN", NEITHER},
        {"date to timestamp", "date", "TIMESTAMPTZ", NEITHER},
        {"a timestamp without zone", "timestamp without time zone", "TIMESTAMPTZ", NEITHER},
        {"blank-padded text", "character", "TEXT", NEITHER},
    };
    unsigned bad = 0;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rs_type type = type_of(cases[i].mapped);
        struct span existing = span_of(cases[i].existing);
        bool stays = rs_type_is_compatible(&type, existing);
        bool want_stay = cases[i].want && strcmp(cases[i].want, COMPATIBLE) == 0;
        struct buf out;

        buf_init(&out, 1000);
        if (stays != want_stay) {
            print_error("%s: %s for %s: compatible is %d\n", cases[i].sentence, cases[i].existing,
                        cases[i].mapped, stays);
            bad++;
        }
        if (!want_stay) {
            bool can = rs_type_add_migration(&out, &type, existing, SPAN_LIT("c"));
            if (can != (cases[i].want != NULL) || can != rs_type_can_migrate(&type, existing) ||
                (can && strcmp(out.data, cases[i].want) != 0)) {
                print_error("%s: %s to %s: %s\n", cases[i].sentence, cases[i].existing,
                            cases[i].mapped, can ? out.data : "no migration");
                bad++;
            }
        }
        buf_done(&out);
    }
    assert_int_equal(bad, 0);
}

/* T44 */
static void a_type_of_the_users_own_takes_any_column(void **state)
{
    struct rs_type type = {
        .flat = RS_FLAT_INTEGER, .ddl = SPAN_LIT("DECIMAL(20)"), .is_user_ddl = true};
    (void)state;

    assert_true(rs_type_is_compatible(&type, span_of("super")));
    assert_true(rs_type_is_compatible(&type, span_of("bigint")));
    type.ddl = SPAN_LIT("SUPER");
    assert_false(rs_type_can_migrate(&type, span_of("bigint")));
}

static void what_was_cast_to_text_stays_text(void **state)
{
    struct arena *arena = arena_new(1 << 16);
    struct row row = {.types = INT, .options = "{\"castToString\":true}"};
    struct rs_type type;
    (void)state;

    assert_null(map_row(arena, &row, &type));
    assert_true(type.is_text);
    assert_true(rs_type_is_compatible(&type, span_of("character varying")));
    assert_false(rs_type_is_compatible(&type, span_of("bigint")));
    assert_true(rs_type_can_migrate(&type, span_of("bigint")));
    arena_free(arena);
}

static void a_field_without_type_fits_nothing(void **state)
{
    struct rs_type type = {.flat = RS_FLAT_NEVER, .ddl = SPAN_LIT("")};
    (void)state;

    assert_false(rs_type_is_compatible(&type, span_of("")));
    assert_false(rs_type_is_compatible(&type, span_of("super")));
    assert_false(rs_type_can_migrate(&type, span_of("super")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_become_columns),
        cmocka_unit_test(bad_configuration_names_field_and_key),
        cmocka_unit_test(existing_columns_stay_or_migrate_or_neither),
        cmocka_unit_test(a_type_of_the_users_own_takes_any_column),
        cmocka_unit_test(what_was_cast_to_text_stays_text),
        cmocka_unit_test(a_field_without_type_fits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
