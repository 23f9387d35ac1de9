/* Does a state hold work that Apply has to put into its tables first? */

#include "txn/settle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY "{\"id\":\"x\",\"storeFiles\":[\"p/a\"],\"mustMerge\":false}"

static void only_entries_of_the_named_bindings_count(void **state)
{
    static const struct {
        const char *sentence, *json;
        bool has;
        const char *refusal;
    } rows[] = {
        {"no state", "", false, NULL},
        {"A40 an empty state", "{}", false, NULL},
        {"a state that is null", "null", false, NULL},
        {"work of a named binding", "{\"b.v1\":{\"00000000-ffffffff\":" ENTRY "}}", true, NULL},
        {"work of another shard's range", "{\"b.v1\":{\"80000000-ffffffff\":" ENTRY "}}", true,
         NULL},
        {"work of another binding", "{\"c.v1\":{\"00000000-ffffffff\":" ENTRY "}}", false, NULL},
        {"work of another counter", "{\"b.v2\":{\"00000000-ffffffff\":" ENTRY "}}", false, NULL},
        {"work that was cleared", "{\"b.v1\":{\"00000000-ffffffff\":null}}", false, NULL},
        {"a slot that is no range", "{\"b.v1\":{\"all\":" ENTRY "}}", false,
         "range \"all\" is not understood"},
        {"no object", "[]", false, "reading the connector state"},
    };
    const struct span keys[] = {SPAN_LIT("a.v1"), SPAN_LIT("b.v1")};
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool has = !rows[i].has;
        struct error *err = txn_has_staged(span_of(rows[i].json), keys, 2, &has);
        bool good = rows[i].refusal ? err && strstr(error_text(err), rows[i].refusal)
                                    : !err && has == rows[i].has;
        if (!good) {
            print_error("%s: %s\n", rows[i].sentence, err ? error_text(err) : "the other answer");
            wrong++;
        }
        error_free(err);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_entries_of_the_named_bindings_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
