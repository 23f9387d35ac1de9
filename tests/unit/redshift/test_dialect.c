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
        {"I1 lower-case letters stand alone", "orders", "orders"},
        {"I2 an underscore may be in front, a digit behind", "_x9", "_x9"},
        {"I3 a digit in front is quoted", "9x", "\"9x\""},
        {"I4 a capital is quoted", "Orders", "\"Orders\""},
        {"I5 an undocumented keyword is quoted", "queryid", "\"queryid\""},
        {"I6 a type name with a capital is quoted", "Date", "\"Date\""},
        {"I7 a keyword in capitals is quoted", "DATE", "\"DATE\""},
        {"I8 boolean is no keyword", "boolean", "boolean"},
        {"checkpoint is no keyword", "checkpoint", "checkpoint"},
        {"key_begin is no keyword", "key_begin", "key_begin"},
        {"I9 array is a keyword", "array", "\"array\""},
        {"I9 binary is a keyword", "binary", "\"binary\""},
        {"I9 user is a keyword", "user", "\"user\""},
        {"I9 tag is a keyword", "tag", "\"tag\""},
        {"the first keyword", "aes128", "\"aes128\""},
        {"the last keyword", "without", "\"without\""},
        {"the longest keyword", "current_timestamp", "\"current_timestamp\""},
        {"a keyword with a letter more is none", "withoutx", "withoutx"},
        {"I10 an inner quote is doubled", "a\"b", "\"a\"\"b\""},
        {"a backslash in a name is a character like others", "a\\b", "\"a\\b\""},
        {"a dash is quoted", "a-schema", "\"a-schema\""},
        {"I12 an exclamation mark is quoted", "key!binary", "\"key!binary\""},
        {"I13 lower-case letters of other scripts stand alone", "straße", "straße"},
        {"I14 a capital among them is quoted", "nonAsciiκόσμε", "\"nonAsciiκόσμε\""},
        {"a letter without case is quoted", "数", "\"数\""},
        {"I15 a dollar sign is quoted", "$dollar", "\"$dollar\""},
        {"I15 a blank is quoted", "a b", "\"a b\""},
        {"I15 a dot is quoted", "a.b", "\"a.b\""},
        {"I15 a slash is quoted", "_meta/op", "\"_meta/op\""},
        {"I16 nothing is quoted", "", "\"\""},
    };
    (void)state;
    check_rows(rows, ARRAY_LEN(rows), rs_add_identifier);
}

/* I11 */
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
        {"I22 a quote", "it's", "'it''s'"},
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
    static const struct {
        const char *sentence;
        size_t count; /* of 'a', in front of the tail */
        const char *tail;
        size_t want;
    } rows[] = {
        {"I17 a short name stays", 0, "hello", 5},
        {"I17 so does none", 0, "", 0},
        {"the longest that stays", 127, "", 127},
        {"I18 a byte more goes", 128, "", 127},
        {"I19 a character that does not fit goes whole", 125, "数", 125},
        {"one that fits stays", 124, "数", 127},
    };
    char name[300];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = rs_truncate(span_of(run_of(name, 'a', rows[i].count, rows[i].tail)));
        if (len != rows[i].want) {
            fail_msg("%s: %zu", rows[i].sentence, len);
        }
    }
}

static void folding_lowers_unless_case_counts(void **state)
{
    char name[300], want[300];
    const struct {
        const char *sentence, *in;
        bool case_sensitive;
        const char *want;
    } rows[] = {
        {"I20 capitals are lowered", "MyField", false, "myfield"},
        {"I20 unless case counts", "MyField", true, "MyField"},
        {"so are those of other scripts", "STRASSE Ä", false, "strasse ä"},
        {"I21 what is folded is cut as well", run_of(name, 'A', 130, ""), false,
         run_of(want, 'a', 127, "")},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 1000);
        rs_fold(&out, span_of(rows[i].in), rows[i].case_sensitive);
        if (!span_is(buf_view(&out), rows[i].want)) {
            fail_msg("%s: %s", rows[i].sentence, out.data);
        }
        buf_done(&out);
    }
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
