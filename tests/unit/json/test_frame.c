/* json/scan's framer: where values end, however the stream is cut. */

#include "json/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *why, *text;
    unsigned count;
    size_t ends[6]; /* offsets behind the values */
};

static const struct row rows[] = {
    {"one object", "{\"a\":1}", 1, {7}},
    {"space in front belongs to it", "\n {}", 1, {4}},
    {"two without anything between", "{}{}", 2, {2, 4}},
    {"two with a line between", "{\"a\":[1,2]}\n{\"b\":{}}\n", 2, {11, 20}},
    {"brackets inside of strings", "{\"}\":\"]{[\"}{}", 2, {11, 13}},
    {"escaped quotes", "{\"a\":\"\\\"}\"}[]", 2, {11, 13}},
    {"a backslash that is escaped", "{\"a\":\"\\\\\"}[]", 2, {10, 12}},
    {"three backslashes and a quote", "[\"\\\\\\\"]\"]{}", 2, {9, 11}},
    {"a string by itself", "\"a]b\" {}", 2, {5, 8}},
    {"numbers end at what follows", "12 34,", 3, {2, 5, 6}},
    {"a number before a bracket", "12[3]", 2, {2, 5}},
    {"words", "true\nnull{}", 3, {4, 9, 11}},
    {"a closing bracket is a value that is none", "]{}", 2, {1, 3}},
    {"mismatched brackets end by count", "{]{}", 2, {2, 4}},
    {"an unfinished object", "{\"a\":{}", 0, {0}},
    {"an unfinished string", "\"abc\\\"", 0, {0}},
    {"an unfinished number", "123", 0, {0}},
    {"only space", " \n\t ", 0, {0}},
    {"blocks of plain bytes, nested",
     "{\"a\":[{\"key\":\"0123456789 ]}\",\"list\":[1,2,3,[4,[5]]],\"long\":\"0123456789abcdef"
     "0123456789abcdef{{[[0123456789abcdef\"}],\"b\":\"0123456789abcdef0123456789abcdef\"}{}[]",
     3,
     {155, 157, 159}},
    {"a backslash in the second block",
     "[\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\\\"]\",[\"0123456789"
     "abcdef0123456789abcdef0123456789abcdef0123456789abcdef]\"]] {}",
     2,
     {141, 144}},
    {"a backslash outside of a string escapes nothing", "{\\\"}\"}[]", 2, {6, 8}},
    {"a long string", "[\"0123456789abcdef0123456789abcdef\\\\0123456789abcdef\"] []", 2, {54, 57}},
};

/* Feeds text in pieces of step bytes and compares each end with the row's. */
static void check_row(const struct row *row, size_t step)
{
    struct json_framer framer = {0};
    const size_t len = strlen(row->text);
    size_t at = 0;
    unsigned found = 0;

    while (at < len) {
        size_t piece = len - at < step ? len - at : step;
        size_t used = 0;
        if (!json_frame(&framer, row->text + at, piece, &used)) {
            at += piece;
            continue;
        }
        at += used;
        if (found >= row->count || at != row->ends[found]) {
            fail_msg("%s, by %zu: value %u ends at %zu", row->why, step, found, at);
        }
        found++;
    }
    if (found != row->count) {
        fail_msg("%s, by %zu: %u values", row->why, step, found);
    }
}

static void finds_the_ends_whatever_the_pieces_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step <= 200; step++) {
            check_row(&rows[i], step);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_ends_whatever_the_pieces_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
