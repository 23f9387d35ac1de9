/* Generated documents: a stream of updates and deletions that fits what was stored before. */
#include "harness.h"

#include "generate.h"

struct made {
    struct fr_task task;
    struct fr_generator generator;
    struct fr_buf error;
};

static bool begin(struct made *made, const struct fr_part *parts, size_t count)
{
    memset(made, 0, sizeof(*made));
    assert_true(fr_task_load(&made->task, TEST_DATA "/flow-runtime/generated.json", NULL, NULL,
                             &made->error));
    return fr_generator_begin(&made->generator, &made->task.bindings[0], parts, count, FR_LETTERS,
                              &made->error);
}

static void end(struct made *made)
{
    fr_generator_done(&made->generator);
    fr_task_done(&made->task);
    fr_buf_done(&made->error);
}

static int64_t key_of(const struct fr_json *doc)
{
    int64_t key = 0;
    assert_true(fr_json_to_int(fr_json_get(doc, "id"), &key));
    return key;
}

static void keys_ascend_and_what_exists_was_stored(void **state)
{
    static const struct fr_part parts[] = {
        {1000, 128, 0, 0}, {1000, 256, 20, 10}, {500, 100, 50, 50}, {10, 4 << 20, 0, 100}};
    struct made made;
    bool is_there[3001] = {false};

    (void)state;
    assert_true(begin(&made, parts, 4));
    assert_int_equal(made.generator.key_count, 1700);
    for (size_t part = 0; part < 4; part++) {
        uint64_t updates = 0;
        uint64_t deletes = 0;
        int64_t before = 0;
        bool is_stored[3001];
        memcpy(is_stored, is_there, sizeof(is_stored));
        for (uint64_t at = made.generator.first[part]; at < made.generator.first[part + 1]; at++) {
            bool is_delete = false;
            bool exists = false;
            struct fr_buf text = {0};
            const struct fr_json *doc =
                fr_generator_document(&made.generator, at, &is_delete, &exists);
            const int64_t key = key_of(doc);
            assert_true(key > before);
            assert_true(key <= 1700);
            assert_int_equal(exists, is_there[key]);
            assert_int_equal(is_delete, fr_json_is_text(fr_json_at(doc, "/_meta/op"), "d"));
            fr_json_put(&text, doc);
            assert_int_equal(text.len, parts[part].bytes);
            fr_buf_done(&text);
            before = key;
            updates += (uint64_t)key <= made.generator.older[part] && !is_delete;
            deletes += is_delete;
            is_stored[key] = !is_delete;
        }
        assert_int_equal(updates, parts[part].count * parts[part].updates / 100);
        assert_int_equal(deletes, parts[part].count * parts[part].deletes / 100);
        memcpy(is_there, is_stored, sizeof(is_stored));
        fr_generator_commit(&made.generator, made.generator.first[part],
                            made.generator.first[part + 1], true);
        for (uint64_t key = 1; key <= 1700; key++) {
            const struct fr_json *doc = fr_generator_of_key(&made.generator, key);
            assert_int_equal(doc != NULL, is_there[key]);
            assert_true(doc == NULL || key_of(doc) == (int64_t)key);
        }
    }
    end(&made);
}

static void soft_deletions_leave_their_document(void **state)
{
    static const struct fr_part parts[] = {{10, 128, 0, 0}, {10, 128, 0, 100}};
    struct made made;

    (void)state;
    assert_true(begin(&made, parts, 2));
    fr_generator_commit(&made.generator, 0, 20, false);
    for (uint64_t key = 1; key <= 10; key++) {
        const struct fr_json *doc = fr_generator_of_key(&made.generator, key);
        assert_non_null(doc);
        assert_true(fr_json_is_text(fr_json_at(doc, "/_meta/op"), "d"));
    }
    assert_null(fr_generator_of_key(&made.generator, 0));
    assert_null(fr_generator_of_key(&made.generator, 11));
    end(&made);
}

static void parts_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *sentence;
        struct fr_part parts[2];
    } rows[] = {
        {"updates before anything is there", {{10, 128, 10, 0}, {10, 128, 0, 0}}},
        {"more updates than keys", {{10, 128, 0, 0}, {100, 128, 50, 0}}},
        {"more than all", {{10, 128, 0, 0}, {5, 128, 90, 90}}},
        {"documents of 5 MiB", {{10, 5 << 20, 0, 0}, {10, 128, 0, 0}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct made made;
        if (begin(&made, rows[i].parts, 2) || made.error.len == 0) {
            fail_msg("%s: taken", rows[i].sentence);
        }
        end(&made);
    }
}

/* Whatever they are made of, documents have the size that was asked for. */
static void texts_of_each_kind_have_their_size(void **state)
{
    static const enum fr_text texts[] = {FR_LETTERS, FR_WORDS, FR_RECORDS};
    static const struct fr_part parts[] = {{3, 200, 0, 0}, {3, 20000, 0, 0}, {3, 1000000, 0, 0}};
    const char *const catalog = TEST_DATA "/flow-runtime/generated-pages.json";

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct made made = {0};
        assert_true(fr_task_load(&made.task, catalog, NULL, NULL, &made.error));
        assert_true(fr_generator_begin(&made.generator, &made.task.bindings[0], parts, 3, texts[i],
                                       &made.error));
        for (uint64_t at = 0; at < 9; at++) {
            struct fr_buf text = {0};
            const struct fr_json *doc = fr_generator_document(&made.generator, at, NULL, NULL);
            const struct fr_json *page = fr_json_at(doc, "/pages/0");
            fr_json_put(&text, doc);
            assert_int_equal(text.len, parts[at / 3].bytes);
            if (at >= 3) {
                assert_int_equal(page->type, texts[i] == FR_RECORDS ? FR_OBJECT : FR_STRING);
            }
            fr_buf_done(&text);
        }
        end(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_ascend_and_what_exists_was_stored),
        cmocka_unit_test(soft_deletions_leave_their_document),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(texts_of_each_kind_have_their_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
