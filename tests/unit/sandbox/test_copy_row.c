/* Keys and columns: which value goes where, and what is no row. */
#include "sandbox/copy_row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char name_id[] = "id", name_text[] = "text", name_upper[] = "Mixed", name_doc[] = "doc";

static const struct copy_column columns[] = {
    {.name = name_id, .type = COLUMN_BIGINT, .not_null = true},
    {.name = name_text, .type = COLUMN_VARCHAR, .length = 100},
    {.name = name_upper, .type = COLUMN_INTEGER},
};
static const struct copy_column document = {.name = name_doc, .type = COLUMN_SUPER};

enum mode { AUTO, IGNORECASE, NOSHRED };

struct fixture {
    struct copy_statement st;
    struct copy_convert convert;
    struct copy_rows rows;
    struct bytes out;
};

static void set_up(struct fixture *f, enum mode mode)
{
    *f = (struct fixture){0};
    f->convert.st = &f->st;
    f->rows.convert = &f->convert;
    f->rows.columns = mode == NOSHRED ? &document : columns;
    f->rows.column_count = mode == NOSHRED ? 1 : 3;
    f->rows.ignore_case = mode == IGNORECASE;
    f->rows.noshred = mode == NOSHRED;
    copy_rows_start(&f->rows);
}

static void tear_down(struct fixture *f)
{
    copy_rows_done(&f->rows);
    copy_convert_done(&f->convert);
    bytes_done(&f->out);
}

struct row {
    const char *sentence;
    enum mode mode;
    const char *object;
    const char *line; /* NULL when refused */
    int code, column;
};

static const struct row rows[] = {
    {"keys meet columns in any order", AUTO, "{\"text\":\"a\",\"Mixed\":2,\"id\":1}", "1\ta\t2\n",
     0, 0},
    {"unknown keys are passed over", AUTO, "{\"x\":{\"id\":9},\"id\":1}", "1\t\\N\t\\N\n", 0, 0},
    {"missing keys are NULL", AUTO, "{\"id\":1}", "1\t\\N\t\\N\n", 0, 0},
    {"auto tells cases apart", AUTO, "{\"id\":1,\"mixed\":2,\"TEXT\":\"a\"}", "1\t\\N\t\\N\n", 0,
     0},
    {"auto ignorecase does not", IGNORECASE, "{\"ID\":1,\"mixed\":2,\"TEXT\":\"a\"}", "1\ta\t2\n",
     0, 0},
    {"escapes in keys are decoded", AUTO, "{\"\\u0069d\":1}", "1\t\\N\t\\N\n", 0, 0},
    {"the last of two equal keys counts", AUTO, "{\"id\":1,\"id\":2}", "2\t\\N\t\\N\n", 0, 0},
    {"white space is fine everywhere", AUTO, "{ \n\"id\" : 1 ,\t\"text\" : \"b\" }", "1\tb\t\\N\n",
     0, 0},
    {"the prefix of a name is another name", AUTO, "{\"id\":1,\"tex\":\"a\",\"text2\":\"b\"}",
     "1\t\\N\t\\N\n", 0, 0},
    {"noshred takes the whole object", NOSHRED, "{ \"id\": 1 }", "{\"id\":1}\n", 0, 0},
    {"an empty object lacks the NOT NULL column", AUTO, "{}", NULL, 1213, 0},
    {"a bad value names its column", AUTO, "{\"id\":1,\"Mixed\":\"x\"}", NULL, 1207, 2},
    {"a bad unknown value is no JSON either", AUTO, "{\"id\":1,\"x\":nope}", NULL, 1216, -1},
    {"a missing colon is no JSON", AUTO, "{\"id\" 1}", NULL, 1216, -1},
    {"a comma at the end is no JSON", AUTO, "{\"id\":1,}", NULL, 1216, -1},
    {"brackets of two kinds do not pair", AUTO, "{\"id\":1]", NULL, 1216, -1},
    {"a bare key is no JSON", AUTO, "{id:1}", NULL, 1216, -1},
    {"noshred checks the object too", NOSHRED, "{\"id\":01}", NULL, 1216, -1},
};

static void objects_become_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        set_up(&f, rows[i].mode);
        bytes_put_text(&f.out, "before\n");
        int column = 77;
        bool ok = copy_rows_put(&f.rows, (struct piece){rows[i].object, strlen(rows[i].object)},
                                &f.out, &column);
        const char *got = bytes_text(&f.out) + strlen("before\n");
        if (rows[i].line != NULL) {
            if (!ok || strcmp(got, rows[i].line) != 0) {
                fail_msg("%s: got %s", rows[i].sentence, ok ? got : f.convert.fault.message);
            }
        } else if (ok || f.convert.fault.code != rows[i].code || column != rows[i].column ||
                   got[0] != '\0') {
            fail_msg("%s: got %d at column %d, %s", rows[i].sentence, f.convert.fault.code, column,
                     f.convert.fault.message);
        }
        tear_down(&f);
    }
}

static void the_order_of_keys_may_change_from_row_to_row(void **state)
{
    (void)state;
    static const char *const objects[] = {"{\"id\":1,\"text\":\"a\"}", "{\"text\":\"b\",\"id\":2}",
                                          "{\"x\":0,\"id\":3,\"text\":\"c\"}",
                                          "{\"id\":4,\"text\":\"d\"}"};
    struct fixture f;
    set_up(&f, AUTO);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        int column;
        assert_true(copy_rows_put(&f.rows, (struct piece){objects[i], strlen(objects[i])}, &f.out,
                                  &column));
    }
    assert_string_equal(bytes_text(&f.out), "1\ta\t\\N\n2\tb\t\\N\n3\tc\t\\N\n4\td\t\\N\n");
    tear_down(&f);
}

static void an_object_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"id\":12,\"text\":\"a\\u00e9\",\"x\":[1,{\"y\":null}],\"Mixed\":3}";
    struct fixture f;
    set_up(&f, AUTO);
    for (size_t len = 1; len < sizeof whole - 1; len++) {
        struct bytes part = {0};
        bytes_put(&part, whole, len);
        int column = 0;
        assert_false(copy_rows_put(&f.rows, (struct piece){part.at, len}, &f.out, &column));
        assert_int_equal(f.convert.fault.code, 1216);
        assert_int_equal(column, -1);
        assert_int_equal(f.out.len, 0);
        bytes_done(&part);
    }
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_become_rows),
        cmocka_unit_test(the_order_of_keys_may_change_from_row_to_row),
        cmocka_unit_test(an_object_cut_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
