/* Names and literals as Redshift's parser wants them. */

#include "redshift/dialect.h"

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *sentence, *in, *want;
};

typedef void add_fn(struct buf *out, struct span text);

static void check_rows(const struct row *rows, size_t count, add_fn *add)
{
    unsigned bad = 0;

    for (size_t i = 0; i < count; i++) {
        struct buf out;
        buf_init(&out, 4096);
        add(&out, span_of(rows[i].in));
        if (!span_is(buf_view(&out), rows[i].want)) {
            print_error("%s: %s became %s, not %s\n", rows[i].sentence, rows[i].in,
                        out.data ? out.data : "", rows[i].want);
            bad++;
        }
        buf_done(&out);
    }
    assert_int_equal(bad, 0);
}

static void identifiers_are_quoted_only_when_they_must_be(void **state)
{
    static const struct row rows[] = {
        {"lower-case letters stand alone", "orders", "orders"},
        {"an underscore may be in front, a digit behind", "_x9", "_x9"},
        {"a digit in front is quoted", "9x", "\"9x\""},
        {"a capital is quoted", "Orders", "\"Orders\""},
        {"an undocumented keyword is quoted", "queryid", "\"queryid\""},
        {"a type name with a capital is quoted", "Date", "\"Date\""},
        {"a keyword in capitals is quoted", "DATE", "\"DATE\""},
        {"boolean is no keyword", "boolean", "boolean"},
        {"checkpoint is no keyword", "checkpoint", "checkpoint"},
        {"key_begin is no keyword", "key_begin", "key_begin"},
        {"array is a keyword", "array", "\"array\""},
        {"binary is a keyword", "binary", "\"binary\""},
        {"user is a keyword", "user", "\"user\""},
        {"tag is a keyword", "tag", "\"tag\""},
        {"the first keyword", "aes128", "\"aes128\""},
        {"the last keyword", "without", "\"without\""},
        {"the longest keyword", "current_timestamp", "\"current_timestamp\""},
        {"a keyword with a letter more is none", "withoutx", "withoutx"},
        {"an inner quote is doubled", "a\"b", "\"a\"\"b\""},
        {"a backslash in a name is a character like others", "a\\b", "\"a\\b\""},
        {"a dash is quoted", "a-schema", "\"a-schema\""},
        {"an exclamation mark is quoted", "key!binary", "\"key!binary\""},
        {"lower-case letters of other scripts stand alone", "straße", "straße"},
        {"a capital among them is quoted", "nonAsciiκόσμε", "\"nonAsciiκόσμε\""},
        {"a letter without case is quoted", "数", "\"数\""},
        {"a dollar sign is quoted", "$dollar", "\"$dollar\""},
        {"a blank is quoted", "a b", "\"a b\""},
        {"a dot is quoted", "a.b", "\"a.b\""},
        {"a slash is quoted", "_meta/op", "\"_meta/op\""},
        {"nothing is quoted", "", "\"\""},
    };
    (void)state;
    check_rows(rows, ARRAY_LEN(rows), rs_add_identifier);
}

static void paths_join_their_components(void **state)
{
    struct span path[] = {SPAN_LIT("a-schema"), SPAN_LIT("key_value")};
    struct buf out;
    (void)state;

    buf_init(&out, 100);
    rs_add_path(&out, path, 2);
    assert_string_equal(out.data, "\"a-schema\".key_value");
    buf_clear(&out);
    rs_add_path(&out, path + 1, 1);
    assert_string_equal(out.data, "key_value");
    buf_done(&out);
}

static void literals_double_quotes_and_backslashes(void **state)
{
    static const struct row rows[] = {
        {"a plain text", "hello", "'hello'"},
        {"nothing", "", "''"},
        {"a quote", "it's", "'it''s'"},
        {"a backslash, which would begin an escape", "a\\b", "'a\\\\b'"},
        {"a backslash at the end, which would swallow the quote", "a\\", "'a\\\\'"},
        {"a backslash and a quote", "\\'", "'\\\\'''"},
        {"line breaks stay", "a\nb", "'a\nb'"},
        {"double quotes stay", "\"a\"", "'\"a\"'"},
        {"other scripts stay", "κόσμε 😀", "'κόσμε 😀'"},
    };
    struct buf out;
    (void)state;

    check_rows(rows, ARRAY_LEN(rows), rs_add_literal);
    buf_init(&out, 100);
    rs_add_literal(&out, (struct span){"a\0b", 3});
    assert_string_equal(out.data, "'a\xef\xbf\xbd"
                                  "b'");
    buf_done(&out);
}

static void keywords_are_known_in_any_case(void **state)
{
    (void)state;
    assert_true(rs_is_reserved(span_of("select")));
    assert_true(rs_is_reserved(span_of("SeLeCt")));
    assert_false(rs_is_reserved(span_of("selects")));
    assert_false(rs_is_reserved(span_of("")));
    assert_false(rs_is_reserved(span_of("uuid")));
    assert_false(rs_is_reserved(span_of("a_name_longer_than_every_keyword")));
}

/* count times c, then tail */
static const char *run_of(char *out, char c, size_t count, const char *tail)
{
    memset(out, c, count);
    memcpy(out + count, tail, strlen(tail) + 1);
    return out;
}

static void long_names_are_cut_between_characters(void **state)
{
    char name[300];
    (void)state;

    assert_int_equal(rs_truncate(span_of("hello")), 5);
    assert_int_equal(rs_truncate(span_of("")), 0);
    assert_int_equal(rs_truncate(span_of(run_of(name, 'a', 127, ""))), 127);
    assert_int_equal(rs_truncate(span_of(run_of(name, 'a', 128, ""))), 127);
    assert_int_equal(rs_truncate(span_of(run_of(name, 'a', 125, "数"))), 125);
    assert_int_equal(rs_truncate(span_of(run_of(name, 'a', 124, "数"))), 127);
}

static void folding_lowers_unless_case_counts(void **state)
{
    char name[300], want[300];
    struct buf out;
    (void)state;

    buf_init(&out, 1000);
    rs_fold(&out, span_of("MyField"), false);
    assert_string_equal(out.data, "myfield");
    buf_clear(&out);
    rs_fold(&out, span_of("MyField"), true);
    assert_string_equal(out.data, "MyField");
    buf_clear(&out);
    rs_fold(&out, span_of("STRASSE Ä"), false);
    assert_string_equal(out.data, "strasse ä");
    buf_clear(&out);
    rs_fold(&out, span_of(run_of(name, 'A', 130, "")), false);
    assert_string_equal(out.data, run_of(want, 'a', 127, ""));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identifiers_are_quoted_only_when_they_must_be),
        cmocka_unit_test(paths_join_their_components),
        cmocka_unit_test(literals_double_quotes_and_backslashes),
        cmocka_unit_test(keywords_are_known_in_any_case),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(folding_lowers_unless_case_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
