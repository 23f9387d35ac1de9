/* Entries and tokens as they travel through the connector state and the metadata table. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "txn/entry.h"

#include <stdio.h>

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)64 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static char *text_of(const struct buf *buf)
{
    return arena_strndup(arena, buf_view(buf));
}

#define ID "4b1e1f80-1c1d-4a7e-9d51-9f5a5d7f3b10"
#define ENTRY                                                                                      \
    "{\"id\":\"" ID "\",\"storeFiles\":[\"p/a\",\"p/b\"],\"deleteFiles\":null,"                    \
    "\"mergeFiles\":[\"p/c\"],\"mustMerge\":false,\"widen\":[\"note\"],"                           \
    "\"deleteBefore\":\"2026-01-02T03:04:05.000006Z\","                                            \
    "\"storeRows\":\"9007199254740993\",\"deleteRows\":\"0\",\"mergeRows\":\"7\"}"

static void an_entry_survives_writing_and_reading(void **state)
{
    struct entries list = {0}, again = {0};
    struct buf text;
    (void)state;

    buf_init(&text, 4096);
    assert_null(
        entries_read(&list, arena, SPAN_LIT("{\"t.v1\":{\"00000000-ffffffff\":" ENTRY "}}")));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].staged[ENTRY_STORE].rows, 9007199254740993u);
    assert_int_equal(list.items[0].staged[ENTRY_STORE].files.count, 2);
    assert_int_equal(list.items[0].staged[ENTRY_DELETE].files.count, 0);
    assert_int_equal(list.items[0].staged[ENTRY_MERGE].rows, 7);
    assert_int_equal(list.items[0].staged[ENTRY_MERGE].files.count, 1);
    assert_true(span_is(list.items[0].staged[ENTRY_MERGE].files.items[0], "p/c"));
    assert_true(span_is(list.items[0].delete_before, "2026-01-02T03:04:05.000006Z"));
    entries_add_patch(&text, &list);
    assert_string_equal(text_of(&text), "{\"t.v1\":{\"00000000-ffffffff\":" ENTRY "}}");
    assert_null(entries_read(&again, arena, buf_view(&text)));
    assert_true(entry_is_same(&list.items[0], &again.items[0]));
    buf_done(&text);
}

/* A patch laid over an older entry of the slot must leave nothing of it. */
static void every_member_is_written_even_when_it_is_empty(void **state)
{
    struct entries list = {0};
    struct entry entry = {
        .state_key = SPAN_LIT("t"), .range = SPAN_LIT("00000000-ffffffff"), .id = SPAN_LIT("x")};
    struct buf text;
    (void)state;

    buf_init(&text, 4096);
    entries_add(&list, arena, &entry);
    entries_add_patch(&text, &list);
    assert_string_equal(text_of(&text),
                        "{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeFiles\":null,"
                        "\"deleteFiles\":null,\"mergeFiles\":null,\"mustMerge\":false,"
                        "\"widen\":null,\"deleteBefore\":null,\"storeRows\":\"0\","
                        "\"deleteRows\":\"0\",\"mergeRows\":\"0\"}}}");
    buf_done(&text);
}

/* What RFC 7396 makes of the patch above. */
static void a_merged_entry_has_no_empty_lists(void **state)
{
    struct entries list = {0};
    (void)state;

    assert_null(entries_read(&list, arena,
                             SPAN_LIT("{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeFiles\":["
                                      "\"a\"],\"mustMerge\":false,\"storeRows\":\"1\","
                                      "\"deleteRows\":\"0\",\"mergeRows\":\"0\"}}}")));
    assert_int_equal(list.items[0].staged[ENTRY_STORE].files.count, 1);
    assert_int_equal(list.items[0].staged[ENTRY_DELETE].files.count, 0);
    assert_int_equal(list.items[0].staged[ENTRY_MERGE].files.count, 0);
    assert_int_equal(list.items[0].widen.count, 0);
}

static void ranges_of_one_state_key_share_its_member(void **state)
{
    struct entries list = {0};
    const char *ranges[] = {"00000000-7fffffff", "80000000-ffffffff"};
    struct buf text;
    (void)state;

    buf_init(&text, 4096);
    for (unsigned i = 0; i < 2; i++) {
        struct entry a = {
            .state_key = SPAN_LIT("a"), .range = span_of(ranges[i]), .id = SPAN_LIT("x")};
        struct entry b = {
            .state_key = SPAN_LIT("b"), .range = span_of(ranges[i]), .id = SPAN_LIT("y")};
        entries_add(&list, arena, &a);
        entries_add(&list, arena, &b);
    }
    entries_add_clearing(&text, &list);
    assert_string_equal(text_of(&text),
                        "{\"a\":{\"00000000-7fffffff\":null,\"80000000-ffffffff\":null},"
                        "\"b\":{\"00000000-7fffffff\":null,\"80000000-ffffffff\":null}}");
    buf_done(&text);
}

static void what_is_not_understood_is_refused(void **state)
{
    static const struct {
        const char *json, *why;
    } rows[] = {
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\"}}}", "members are missing"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeFiles\":null,\"deleteFiles\":null,"
         "\"mustMerge\":false,"
         "\"widen\":null,\"storeRows\":\"0\",\"deleteRows\":\"0\",\"truncate\":1}}}",
         "an unknown member may be work"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"\",\"storeFiles\":null,\"deleteFiles\":null,"
         "\"mustMerge\":false,"
         "\"widen\":null,\"storeRows\":\"0\",\"deleteRows\":\"0\"}}}",
         "an empty id"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeFiles\":null,\"deleteFiles\":null,"
         "\"mustMerge\":false,"
         "\"widen\":null,\"storeRows\":\"1.5\",\"deleteRows\":\"0\"}}}",
         "a row count that is none"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeFiles\":[\"a\"],\"mustMerge\":true,"
         "\"storeRows\":\"1\",\"deleteRows\":\"0\",\"mergeRows\":\"0\"}}}",
         "files that are both new and merged"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"mergeFiles\":[\"a\"],\"mustMerge\":false,"
         "\"storeRows\":\"1\",\"deleteRows\":\"0\"}}}",
         "files to merge without their count"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"mustMerge\":false,"
         "\"storeRows\":\"1\",\"mergeRows\":\"0\"}}}",
         "one count is missing"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeRows\":\"1\",\"deleteRows\":\"0\","
         "\"mergeRows\":\"0\"}}}",
         "mustMerge is missing"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"mustMerge\":false,\"storeRows\":\"1\","
         "\"deleteRows\":\"0\",\"mergeRows\":\"0\",\"deleteBefore\":\"yesterday\"}}}",
         "an instant that is none"},
        {"{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"mustMerge\":false,\"storeRows\":\"1\","
         "\"deleteRows\":\"0\",\"mergeRows\":\"0\",\"deleteBefore\":\"2026-01-02T03:04:05Z\"}}}",
         "an instant that does not compare as text"},
        {"{\"t\":{\"0-f\":" ENTRY "}}", "a range of another form"},
        {"{\"t\":[]}", "a list of ranges"},
        {"{\"version\":2}", "a state of another form"},
        {"[]", "a list"},
        {"{\"t\":{\"00000000-ffffffff\":" ENTRY "}", "cut off"},
        {"{} {}", "two documents"},
    };
    (void)state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct entries list = {0};
        struct error *err = entries_read(&list, arena, span_of(rows[i].json));
        if (!err) {
            print_error("accepted: %s\n", rows[i].why);
        }
        assert_non_null(err);
        error_free(err);
    }
}

static void settled_slots_are_passed_over(void **state)
{
    struct entries list = {0};
    (void)state;

    assert_null(entries_read(&list, arena,
                             SPAN_LIT("{\"a\":null,\"b\":{\"00000000-ffffffff\":null},\"c\":{}}")));
    assert_int_equal(list.count, 0);
    assert_null(entries_read(&list, arena, SPAN_NONE));
    assert_null(entries_read(&list, arena, SPAN_LIT("{}")));
    assert_int_equal(list.count, 0);
}

static void patches_of_all_shards_are_read_in_order(void **state)
{
    struct entries list = {0};
    (void)state;

    assert_null(
        entries_read_patches(&list, arena,
                             SPAN_LIT("[{\"t\":{\"00000000-7fffffff\":" ENTRY
                                      "}}\t,{\"t\":{\"80000000-ffffffff\":" ENTRY "}}\t]")));
    assert_int_equal(list.count, 2);
    assert_null(entries_read_patches(&list, arena, SPAN_LIT("[]")));
    assert_null(entries_read_patches(&list, arena, SPAN_NONE));
}

static void a_shard_that_replaced_the_state_is_an_error(void **state)
{
    struct entries list = {0};
    struct error *err = entries_read_patches(&list, arena, SPAN_LIT("[null\t,{}\t]"));
    (void)state;

    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "replaced the whole connector state"));
    error_free(err);
}

static void instants_are_cut_to_microseconds(void **state)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
        const char *text; /* NULL: refused */
    } rows[] = {
        {0, 0, "1970-01-01T00:00:00.000000Z"},
        {1767323045, 6999, "2026-01-02T03:04:05.000006Z"},
        {1767323045, 999999999, "2026-01-02T03:04:05.999999Z"},
        {253402300799, 0, "9999-12-31T23:59:59.000000Z"},
        {253402300800, 0, NULL},
        {-1, 0, NULL},
        {0, -1, NULL},
        {0, 1000000000, NULL},
    };
    (void)state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char text[ENTRY_INSTANT_LEN + 1] = "";
        assert_int_equal(entry_instant(text, rows[i].seconds, rows[i].nanos), rows[i].text != NULL);
        assert_string_equal(text, rows[i].text ? rows[i].text : "");
    }
}

static void tokens_keep_the_last_id_of_a_slot(void **state)
{
    struct tokens list = {0}, again = {0};
    struct buf text;
    (void)state;

    buf_init(&text, 4096);
    tokens_set(&list, arena, SPAN_LIT("t"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("1"));
    tokens_set(&list, arena, SPAN_LIT("t\"x"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("2"));
    tokens_set(&list, arena, SPAN_LIT("t"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("3"));
    tokens_add_json(&text, &list);
    assert_string_equal(
        text_of(&text),
        "{\"t\":{\"00000000-ffffffff\":\"3\"},\"t\\\"x\":{\"00000000-ffffffff\":\"2\"}}");
    assert_null(tokens_read(&again, arena, buf_view(&text)));
    assert_true(tokens_have(&again, SPAN_LIT("t"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("3")));
    assert_false(tokens_have(&again, SPAN_LIT("t"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("1")));
    assert_true(
        tokens_have(&again, SPAN_LIT("t\"x"), SPAN_LIT("00000000-ffffffff"), SPAN_LIT("2")));
    assert_false(tokens_have(&again, SPAN_LIT("t"), SPAN_LIT("00000000-7fffffff"), SPAN_LIT("3")));
    buf_done(&text);
}

#define MANY_KEYS 1000
#define MANY_RANGES 4

static struct span many_key(unsigned i)
{
    return span_of(arena_printf(arena, "binding%u.v%u", i * 7919 % MANY_KEYS, i % 3));
}

static struct span many_range(unsigned i)
{
    char text[RANGE_TEXT_LEN + 1];
    range_text(text, i << 30, (i << 30) + 0x3fffffff);
    return span_of(arena_strdup(arena, text));
}

/* Every slot is found, nothing else is, and writing keeps the members of one state key together. */
static void a_thousand_bindings_of_many_shards_keep_their_slots(void **state)
{
    struct entries entries = {0}, again = {0};
    struct tokens tokens = {0}, tokens_again = {0};
    struct buf text;
    (void)state;

    for (unsigned range = 0; range < MANY_RANGES; range++) {
        for (unsigned i = 0; i < MANY_KEYS; i++) {
            struct span id = span_of(arena_printf(arena, "%u-%u", i, range));
            struct entry entry = {.state_key = many_key(i), .range = many_range(range), .id = id};
            assert_null(entries_find(&entries, entry.state_key, entry.range));
            assert_false(tokens_have(&tokens, entry.state_key, entry.range, id));
            entries_add(&entries, arena, &entry);
            tokens_set(&tokens, arena, entry.state_key, entry.range, SPAN_LIT("older"));
            tokens_set(&tokens, arena, entry.state_key, entry.range, id);
        }
    }
    assert_int_equal(tokens.count, MANY_KEYS * MANY_RANGES);
    buf_init(&text, (size_t)16 * 1024 * 1024);
    entries_add_patch(&text, &entries);
    assert_null(entries_read(&again, arena, buf_view(&text)));
    assert_int_equal(again.count, MANY_KEYS * MANY_RANGES);
    buf_clear(&text);
    tokens_add_json(&text, &tokens);
    assert_null(tokens_read(&tokens_again, arena, buf_view(&text)));
    assert_int_equal(tokens_again.count, MANY_KEYS * MANY_RANGES);
    for (unsigned range = 0; range < MANY_RANGES; range++) {
        for (unsigned i = 0; i < MANY_KEYS; i++) {
            struct span id = span_of(arena_printf(arena, "%u-%u", i, range));
            const struct entry *entry = entries_find(&again, many_key(i), many_range(range));
            assert_true(entry && span_equal(entry->id, id));
            assert_true(tokens_have(&tokens_again, many_key(i), many_range(range), id));
            assert_false(
                tokens_have(&tokens_again, many_key(i), many_range(range), SPAN_LIT("older")));
        }
    }
    assert_null(entries_find(&again, SPAN_LIT("binding1000.v0"), many_range(0)));
    buf_done(&text);
}

static void damaged_tokens_are_refused(void **state)
{
    static const char *const rows[] = {"", "[]", "{\"t\":{\"00000000-ffffffff\":1}}",
                                       "{\"t\":\"x\"}", "{\"t\":"};
    (void)state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct tokens list = {0};
        struct error *err = tokens_read(&list, arena, span_of(rows[i]));
        if (!err) {
            print_error("accepted: %s\n", rows[i]);
        }
        assert_non_null(err);
        error_free(err);
    }
}

static void ranges_are_written_with_eight_digits_a_side(void **state)
{
    char text[RANGE_TEXT_LEN + 1];
    (void)state;

    range_text(text, 0, UINT32_MAX);
    assert_string_equal(text, "00000000-ffffffff");
    range_text(text, 0x1234, 0x7fffffff);
    assert_string_equal(text, "00001234-7fffffff");
}

static void ranges_overlap_when_they_have_a_key_in_common(void **state)
{
    static const struct {
        const char *a, *b;
        bool wanted;
    } rows[] = {
        {"00000000-7fffffff", "80000000-ffffffff", false},
        {"00000000-7fffffff", "00000000-7fffffff", true},
        {"00000000-7fffffff", "00000000-3fffffff", true},
        {"00000000-7fffffff", "7fffffff-ffffffff", true},
        {"00000000-ffffffff", "9abcdef0-9abcdef0", true},
        {"40000000-7fffffff", "00000000-3fffffff", false},
        {"0a000000-0affffff", "09000000-09ffffff", false},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span a = span_of(rows[i].a), b = span_of(rows[i].b);
        if (range_overlaps(a, b) != rows[i].wanted || range_overlaps(b, a) != rows[i].wanted) {
            fail_msg("%s and %s: wanted %d", rows[i].a, rows[i].b, rows[i].wanted);
        }
    }
}

static void an_entry_of_the_original_has_no_row_counts(void **state)
{
    static const char given[] = "{\"id\":\"" ID "\",\"storeFiles\":[\"p/a\"],\"deleteFiles\":null,"
                                "\"mustMerge\":false,\"widen\":[\"\\\"No te\\\"\"]}";
    struct entries list = {0};
    struct error *err;
    (void)state;

    assert_null(entries_read(
        &list, arena, span_of(arena_printf(arena, "{\"t\":{\"00000000-ffffffff\":%s}}", given))));
    assert_int_equal(list.count, 1);
    assert_true(list.items[0].is_uncounted);
    assert_int_equal(list.items[0].staged[ENTRY_STORE].rows, 0);
    assert_int_equal(list.items[0].staged[ENTRY_STORE].files.count, 1);
    assert_true(span_is(list.items[0].widen.items[0], "\"No te\""));

    /* one count alone is no entry of anybody's */
    err = entries_read(&list, arena,
                       SPAN_LIT("{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"mustMerge\":true,"
                                "\"storeRows\":\"1\"}}}"));
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "not whole"));
    error_free(err);
}

/* They had one list for what is merged and what is copied, and one flag for which of the two. */
static void entries_of_earlier_versions_say_once_for_all_rows_whether_to_merge(void **state)
{
    static const struct {
        const char *json;
        enum entry_role role;
        bool is_uncounted;
    } rows[] = {
        {"\"mustMerge\":true,\"storeRows\":\"5\",\"deleteRows\":\"0\"", ENTRY_MERGE, false},
        {"\"mustMerge\":false,\"storeRows\":\"5\",\"deleteRows\":\"0\"", ENTRY_STORE, false},
        {"\"mustMerge\":true", ENTRY_MERGE, true},
        {"\"mustMerge\":false", ENTRY_STORE, true},
    };
    (void)state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct entries list = {0};
        const char *json = arena_printf(
            arena, "{\"t\":{\"00000000-ffffffff\":{\"id\":\"x\",\"storeFiles\":[\"p/a\"],%s}}}",
            rows[i].json);
        assert_null(entries_read(&list, arena, span_of(json)));
        const struct entry *entry = &list.items[0];
        assert_int_equal(entry->is_uncounted, rows[i].is_uncounted);
        for (unsigned role = 0; role < ENTRY_ROLES; role++) {
            bool has = role == rows[i].role;
            assert_int_equal(entry->staged[role].files.count, has);
            assert_int_equal(entry->staged[role].rows, has && !rows[i].is_uncounted ? 5 : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thousand_bindings_of_many_shards_keep_their_slots, set_up,
                                        tear_down),
        cmocka_unit_test(instants_are_cut_to_microseconds),
        cmocka_unit_test(ranges_overlap_when_they_have_a_key_in_common),
        cmocka_unit_test_setup_teardown(
            entries_of_earlier_versions_say_once_for_all_rows_whether_to_merge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_of_the_original_has_no_row_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_entry_survives_writing_and_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_member_is_written_even_when_it_is_empty, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_merged_entry_has_no_empty_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ranges_of_one_state_key_share_its_member, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_understood_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(settled_slots_are_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(patches_of_all_shards_are_read_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shard_that_replaced_the_state_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(tokens_keep_the_last_id_of_a_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_tokens_are_refused, set_up, tear_down),
        cmocka_unit_test(ranges_are_written_with_eight_digits_a_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
