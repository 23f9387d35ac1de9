/* base/arena, buf, chain, list and size: where bytes live. */

#include "base/arena.h"
#include "base/buf.h"
#include "base/chain.h"
#include "base/list.h"
#include "base/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- arena */

static void an_arena_gives_zeroed_aligned_memory(void **state)
{
    struct arena *arena = arena_new(1 * MIB);

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (size_t size = 0; size < 5000; size += 7) {
            unsigned char *ptr = arena_alloc(arena, size);
            assert_int_equal((uintptr_t)ptr % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(ptr[i], 0);
                ptr[i] = 0xa5; /* found by the next round, were it not zeroed */
            }
            if (arena_used(arena) > 900 * KIB) {
                break;
            }
        }
        arena_reset(arena);
        assert_int_equal(arena_used(arena), 0);
    }
    arena_free(arena);
}

static void pieces_of_an_arena_do_not_overlap(void **state)
{
    struct arena *arena = arena_new(8 * MIB);
    char *pieces[400];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t size = i % 50 == 0 ? 100 * KIB : i * 5 + 1; /* some get a block of their own */
        pieces[i] = arena_alloc(arena, size);
        memset(pieces[i], (int)(i % 251) + 1, size);
    }
    for (unsigned i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t size = i % 50 == 0 ? 100 * KIB : i * 5 + 1;
        assert_int_equal((unsigned char)pieces[i][0], i % 251 + 1);
        assert_int_equal((unsigned char)pieces[i][size - 1], i % 251 + 1);
    }
    arena_free(arena);
}

static void an_arena_copies_and_formats_text(void **state)
{
    struct arena *arena = arena_new(10000);
    const int *numbers;

    (void)state;
    assert_string_equal(arena_strdup(arena, "text"), "text");
    assert_string_equal(arena_strndup(arena, (struct span){"textual", 4}), "text");
    assert_string_equal(arena_strndup(arena, SPAN_NONE), "");
    struct span copy = arena_span(arena, SPAN_LIT("span"));
    assert_int_equal(copy.len, 4);
    assert_string_equal(copy.ptr, "span");
    assert_string_equal(arena_printf(arena, "%d of %s", 3, "four"), "3 of four");
    numbers = ARENA_ARRAY(arena, 10, int);
    assert_int_equal(numbers[9], 0);
    arena_free(arena);
    arena_free(NULL);
}

/* ---------------------------------------------------------------- buf */

static void a_full_buffer_drops_whole_values_and_says_so(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 10);
    assert_string_equal(buf.data, "");
    assert_non_null(buf_view(&buf).ptr);
    buf_add_str(&buf, "12345");
    buf_add_str(&buf, "678901");
    assert_true(buf_is_full(&buf));
    assert_string_equal(buf.data, "12345");
    buf_add_byte(&buf, 'x'); /* would fit, but comes behind what was dropped */
    assert_string_equal(buf.data, "12345");
    assert_null(buf_reserve(&buf, 1));
    buf_clear(&buf);
    assert_false(buf_is_full(&buf));
    assert_string_equal(buf.data, "");
    buf_add_str(&buf, "1234567890");
    assert_false(buf_is_full(&buf));
    buf_add_byte(&buf, '1');
    assert_true(buf_is_full(&buf));
    assert_string_equal(buf.data, "1234567890");
    buf_done(&buf);
}

static void a_buffer_grows_to_exactly_its_maximum(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        buf_add_byte(&buf, (char)('a' + i % 26));
    }
    assert_false(buf_is_full(&buf));
    assert_int_equal(buf.len, 1000);
    assert_int_equal(buf.cap, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(buf.data[i], 'a' + i % 26);
    }
    assert_int_equal(buf.data[1000], 0);
    buf_done(&buf);
}

static void a_buffer_formats(void **state)
{
    struct buf buf;
    size_t len = 0;

    (void)state;
    buf_init(&buf, 100);
    buf_add_int(&buf, INT64_MIN);
    buf_add_byte(&buf, ' ');
    buf_add_int(&buf, 0);
    buf_add_byte(&buf, ' ');
    buf_add_uint(&buf, UINT64_MAX);
    buf_printf(&buf, " %s=%d", "a", 7);
    buf_printf(&buf, "%s", "");
    assert_string_equal(buf.data, "-9223372036854775808 0 18446744073709551615 a=7");
    buf_printf(&buf, "%100s", "too wide");
    assert_true(buf_is_full(&buf));
    char *taken = buf_take(&buf, &len);
    assert_int_equal(len, strlen(taken));
    assert_int_equal(buf.len, 0);
    assert_false(buf_is_full(&buf));
    mem_free(taken);
    taken = buf_take(&buf, NULL); /* an empty one is a text as well */
    assert_string_equal(taken, "");
    mem_free(taken);
    buf_done(&buf);
}

static void reserved_room_is_committed(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 300);
    char *to = buf_reserve(&buf, 200);
    assert_non_null(to);
    memcpy(to, "abc", 3);
    buf_commit(&buf, 3);
    assert_string_equal(buf.data, "abc");
    assert_non_null(buf_reserve(&buf, 297));
    assert_null(buf_reserve(&buf, 298));
    buf_done(&buf);
}

/* ---------------------------------------------------------------- chain */

static void read_whole(const struct chain *chain, size_t max, struct buf *out)
{
    struct chain_cursor cursor = chain_begin(chain);
    struct span run;

    buf_clear(out);
    while ((run = chain_next(&cursor, max)).len > 0) {
        assert_true(run.len <= max);
        buf_add_span(out, run);
    }
    assert_int_equal(chain_next(&cursor, max).len, 0);
}

static void a_chain_gives_back_what_was_added(void **state)
{
    static const size_t maxima[] = {1, 3, 7, 8, 100};
    struct chain_pool *pool = chain_pool_new(8, 16);
    struct chain chain;
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    chain_init(&chain, pool);
    for (size_t i = 0; i < ARRAY_LEN(maxima); i++) {
        read_whole(&chain, maxima[i], &out);
        assert_int_equal(out.len, 0);
        chain_add(&chain, "", 0);
        chain_add(&chain, "abcde", 5);
        chain_add(&chain, "fgh", 3);                 /* fills the first chunk */
        chain_add(&chain, "ijklmnopqrstuvwxyz", 18); /* over several */
        assert_int_equal(chain.bytes, 26);
        assert_int_equal(chain_pool_used(pool), 32); /* four chunks of eight */
        read_whole(&chain, maxima[i], &out);
        assert_string_equal(out.data, "abcdefghijklmnopqrstuvwxyz");
        chain_release(&chain);
        assert_int_equal(chain.bytes, 0);
        assert_int_equal(chain_pool_used(pool), 0);
    }
    buf_done(&out);
    chain_pool_free(pool);
}

static void a_reader_goes_on_when_bytes_are_added(void **state)
{
    struct chain_pool *pool = chain_pool_new(4, 0);
    struct chain chain;

    (void)state;
    chain_init(&chain, pool);
    struct chain_cursor cursor = chain_begin(&chain);
    assert_int_equal(chain_next(&cursor, 10).len, 0);
    chain_add(&chain, "abc", 3);
    assert_true(span_is(chain_next(&cursor, 10), "abc"));
    struct chain_cursor before = cursor;
    chain_add(&chain, "defgh", 5);
    assert_true(span_is(chain_next(&cursor, 10), "d"));
    assert_true(span_is(chain_next(&cursor, 10), "efgh"));
    assert_int_equal(chain_next(&cursor, 10).len, 0);
    assert_true(span_is(chain_next(&before, 10), "d")); /* rewound */
    chain_release(&chain);
    chain_pool_free(pool);
}

static void a_moved_chain_leaves_an_empty_one(void **state)
{
    struct chain_pool *pool = chain_pool_new(4, 1000);
    struct chain from;
    struct chain to;
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    chain_init(&from, pool);
    chain_init(&to, pool);
    chain_add(&to, "old bytes", 9);
    chain_add(&from, "new bytes", 9);
    chain_move(&to, &from);
    assert_int_equal(from.bytes, 0);
    assert_int_equal(chain_pool_used(pool), 12);
    read_whole(&to, 100, &out);
    assert_string_equal(out.data, "new bytes");
    chain_add(&from, "x", 1); /* usable again */
    chain_release(&from);
    chain_release(&to);
    chain_pool_free(pool);
    buf_done(&out);
}

/* ---------------------------------------------------------------- list, size, span */

struct item {
    struct list_node node;
    int number;
};

static void a_list_keeps_order_and_lets_go(void **state)
{
    struct list list;
    struct item items[4];
    int sum = 0;

    (void)state;
    list_init(&list);
    assert_null(list_pop(&list));
    for (int i = 0; i < 4; i++) {
        list_node_init(&items[i].node);
        items[i].number = i;
        assert_false(list_is_linked(&items[i].node));
        list_push(&list, &items[i].node);
    }
    list_remove(&items[1].node);
    list_remove(&items[1].node); /* harmless */
    LIST_FOR_EACH(node, &list)
    {
        struct item *item = CONTAINER_OF(node, struct item, node);
        sum = sum * 10 + item->number;
        if (item->number == 2) {
            list_remove(node); /* of the current one: allowed */
        }
    }
    assert_int_equal(sum, 23); /* 0, 2, 3 */
    assert_ptr_equal(list_pop(&list), &items[0].node);
    assert_ptr_equal(list_pop(&list), &items[3].node);
    assert_true(list_is_empty(&list));
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    size_t result = 0;

    (void)state;
    assert_true(size_add(SIZE_MAX - 1, 1, &result));
    assert_int_equal(result, SIZE_MAX);
    assert_false(size_add(SIZE_MAX, 1, &result));
    assert_true(size_mul(SIZE_MAX / 2, 2, &result));
    assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &result));
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void spans_are_ordered_by_bytes(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } rows[] = {
        {"", "", 0},     {"", "a", -1},     {"a", "ab", -1},
        {"ab", "b", -1}, {"a", "\xff", -1}, {"a", "A", 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span a = span_of(rows[i].a);
        struct span b = span_of(rows[i].b);
        if (sign(span_compare(a, b)) != rows[i].order ||
            sign(span_compare(b, a)) != -rows[i].order) {
            fail_msg("'%s' and '%s'", rows[i].a, rows[i].b);
        }
    }
    assert_int_equal(span_compare(SPAN_NONE, SPAN_LIT("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(pieces_of_an_arena_do_not_overlap),
        cmocka_unit_test(an_arena_copies_and_formats_text),
        cmocka_unit_test(a_full_buffer_drops_whole_values_and_says_so),
        cmocka_unit_test(a_buffer_grows_to_exactly_its_maximum),
        cmocka_unit_test(a_buffer_formats),
        cmocka_unit_test(reserved_room_is_committed),
        cmocka_unit_test(a_chain_gives_back_what_was_added),
        cmocka_unit_test(a_reader_goes_on_when_bytes_are_added),
        cmocka_unit_test(a_moved_chain_leaves_an_empty_one),
        cmocka_unit_test(a_list_keeps_order_and_lets_go),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(spans_are_ordered_by_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
