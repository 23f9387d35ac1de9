/* Bounds of keys: they are right, or there are none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "txn/bounds.h"

enum kind { BIGINT, WIDE, TEXT, CAST, DATE, FLAG, BYTES, OWN, KIND_COUNT };

static struct rs_column column_of(enum kind kind)
{
    const struct rs_type types[KIND_COUNT] = {
        [BIGINT] = {.flat = RS_FLAT_INTEGER, .ddl = SPAN_LIT("BIGINT"), .converter = RS_AS_IS},
        [WIDE] = {.flat = RS_FLAT_INTEGER, .ddl = SPAN_LIT("NUMERIC(38,0)"), .converter = RS_AS_IS},
        [TEXT] = {.flat = RS_FLAT_STRING,
                  .ddl = SPAN_LIT("TEXT"),
                  .converter = RS_TEXT,
                  .is_text = true},
        [CAST] = {.flat = RS_FLAT_INTEGER,
                  .ddl = SPAN_LIT("TEXT"),
                  .converter = RS_TO_STRING,
                  .is_text = true},
        [DATE] = {.flat = RS_FLAT_STRING, .ddl = SPAN_LIT("DATE"), .converter = RS_DATE},
        [FLAG] = {.flat = RS_FLAT_BOOLEAN, .ddl = SPAN_LIT("BOOLEAN"), .converter = RS_AS_IS},
        [BYTES] = {.flat = RS_FLAT_BINARY,
                   .ddl = SPAN_LIT("VARBYTE(1024000)"),
                   .converter = RS_HEX},
        [OWN] = {.flat = RS_FLAT_INTEGER,
                 .ddl = SPAN_LIT("BIGINT"),
                 .converter = RS_AS_IS,
                 .is_user_ddl = true},
    };
    return (struct rs_column){.type = types[kind], .is_key = true};
}

#define I(n)                                                                                       \
    {                                                                                              \
        .kind = VALUE_INT, .number.i = (n)                                                         \
    }
#define U(n)                                                                                       \
    {                                                                                              \
        .kind = VALUE_UINT, .number.u = (n)                                                        \
    }
#define S(s)                                                                                       \
    {                                                                                              \
        .kind = VALUE_STRING, .text = { s, sizeof(s) - 1 }                                         \
    }

static void bounds_are_right_or_there_are_none(void **state)
{
    static const char longest[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    static const struct {
        const char *sentence;
        enum kind kind;
        unsigned count;
        struct value keys[3];
        const char *least, *greatest; /* NULL: there are none */
    } rows[] = {
        {"one integer", BIGINT, 1, {I(7)}, "7", "7"},
        {"integers in any order", BIGINT, 3, {I(10), I(-9), I(9)}, "-9", "10"},
        {"the ends of 64 bits",
         BIGINT,
         2,
         {I(INT64_MAX), I(INT64_MIN)},
         "-9223372036854775808",
         "9223372036854775807"},
        {"small integers of a wide column", WIDE, 2, {I(3), I(-3)}, "-3", "3"},
        {"an integer above 64 bits", WIDE, 2, {I(3), U(UINT64_MAX)}, NULL, NULL},
        {"a number that is no integer of 64 bits",
         WIDE,
         1,
         {{.kind = VALUE_NUMBER, .text = {"1e30", 4}}},
         NULL,
         NULL},
        {"texts in the order of bytes", TEXT, 3, {S("b"), S("a~"), S("a1")}, "a1", "b"},
        {"digits are compared as text", TEXT, 2, {S("10"), S("9")}, "10", "9"},
        {"a text that begins another", TEXT, 2, {S("ab"), S("a")}, "a", "ab"},
        {"upper case alone", TEXT, 2, {S("ID-2"), S("ID-10")}, "ID-10", "ID-2"},
        {"both cases in two texts", TEXT, 2, {S("A"), S("b")}, NULL, NULL},
        {"both cases in one", TEXT, 1, {S("aB")}, NULL, NULL},
        {"a blank", TEXT, 1, {S("a b")}, NULL, NULL},
        {"a blank at the end", TEXT, 2, {S("a "), S("b")}, NULL, NULL},
        {"a tab, which is below a blank", TEXT, 2, {S("a\t"), S("a")}, NULL, NULL},
        {"an underline, which is between the cases", TEXT, 1, {S("a_b")}, NULL, NULL},
        {"a letter beyond ASCII", TEXT, 1, {S("\303\244")}, NULL, NULL},
        {"an empty text", TEXT, 2, {S("a"), S("")}, NULL, NULL},
        {"the character U+0000", TEXT, 1, {S("a\0")}, NULL, NULL},
        {"one in doubt before those that are not",
         TEXT,
         3,
         {S("\177"), S("a"), S("b")},
         NULL,
         NULL},
        {"no text", TEXT, 1, {I(3)}, NULL, NULL},
        {"integers kept as text", CAST, 1, {I(3)}, NULL, NULL},
        {"a date", DATE, 1, {S("2024-02-29")}, NULL, NULL},
        {"a boolean", FLAG, 1, {{.kind = VALUE_TRUE}}, NULL, NULL},
        {"bytes", BYTES, 1, {S("AAEC")}, NULL, NULL},
        {"a type that the user wrote", OWN, 1, {I(3)}, NULL, NULL},
        {"no key at all", BIGINT, 0, {I(0)}, NULL, NULL},
    };
    unsigned wrong = 0;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct key_bounds bounds = {0};
        struct rs_column column = column_of(rows[i].kind);
        char least[BOUND_TEXT_ROOM] = "", greatest[BOUND_TEXT_ROOM] = "";
        for (unsigned k = 0; k < rows[i].count; k++) {
            bounds_note(&bounds, &column, &rows[i].keys[k]);
        }
        bool has = bounds_take(&bounds, &column, least, greatest);
        if (has != (rows[i].least != NULL) || (has && (strcmp(least, rows[i].least) != 0 ||
                                                       strcmp(greatest, rows[i].greatest) != 0))) {
            print_error("%s: %s %s\n", rows[i].sentence, least, greatest);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);

    struct key_bounds bounds = {0};
    struct rs_column column = column_of(TEXT);
    char least[BOUND_TEXT_ROOM], greatest[BOUND_TEXT_ROOM];
    const struct value fits = {.kind = VALUE_STRING, .text = {longest, BOUND_TEXT_MAX}};
    bounds_note(&bounds, &column, &fits);
    assert_true(bounds_take(&bounds, &column, least, greatest));
    assert_string_equal(greatest, longest);
    const char longer[] = "01234567890123456789012345678901234567890123456789012345678901234";
    const struct value too_long = {.kind = VALUE_STRING, .text = {longer, BOUND_TEXT_MAX + 1}};
    bounds_note(&bounds, &column, &too_long);
    assert_false(bounds_take(&bounds, &column, least, greatest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_right_or_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
