/* base/check: our own mistakes end the process with one line that can be read by people and by the
 * runtime. */

#include "base/check.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/chain.h"
#include "base/log.h"
#include "unit/base/aborts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void nothing_is_wrong(void)
{
    CHECK(1 + 1 == 2);
}

static void say_something_false(void)
{
    const char *text = "a";

    CHECK(text[0] == '"' || text[0] == '\\');
}

static void say_it_as_text(void)
{
    if (!log_init("fatal", "text")) {
        CHECK(sizeof(char) == 2);
    }
}

/* The sanitizer ends such a request itself. gcc and clang tell of it in different ways. */
#ifdef __SANITIZE_ADDRESS__
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif

static void ask_for_all_memory(void)
{
    (void)mem_alloc(SIZE_MAX / 2);
}

static void overfill_an_arena(void)
{
    struct arena *arena = arena_new(1000);

    for (unsigned i = 0; i < 100; i++) {
        (void)arena_alloc(arena, 100);
    }
}

static void overflow_an_array(void)
{
    (void)arena_array(arena_new(1000), SIZE_MAX / 2, 3);
}

static void commit_more_than_reserved(void)
{
    struct buf buf;

    buf_init(&buf, 1000);
    (void)buf_reserve(&buf, 10);
    buf_commit(&buf, 500);
}

static void free_a_pool_in_use(void)
{
    struct chain_pool *pool = chain_pool_new(10, 10);
    struct chain chain;

    chain_init(&chain, pool);
    chain_add(&chain, "x", 1);
    chain_pool_free(pool);
}

static void mistakes_end_the_process_with_one_line(void **state)
{
    static const struct {
        const char *what;
        void (*fn)(void);
        const char *said; /* NULL: does not abort */
    } rows[] = {
        {"a check that holds", nothing_is_wrong, NULL},
        {"a check that fails, with signs that JSON escapes", say_something_false,
         "{\"level\":\"fatal\",\"msg\":\"internal check failed: text[0] == '\\\"' || text[0] == "
         "'\\\\\\\\' (test_check.c:"},
        {"the same for people", say_it_as_text, "Z fatal internal check failed: sizeof(char) == 2"},
        {"an arena beyond its maximum", overfill_an_arena, "arena->max"},
        {"an array whose size does not fit", overflow_an_array, "size_mul"},
        {"a commit beyond the reserve", commit_more_than_reserved, "buf->cap"},
        {"a pool that is still used", free_a_pool_in_use, "pool->used_count == 0"},
#ifndef HAS_ADDRESS_SANITIZER
        {"more memory than there is", ask_for_all_memory, "out of memory: the system refused"},
#endif
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char said[4096];
        bool aborted = run_in_child(rows[i].fn, said, sizeof(said));
        if (aborted != (rows[i].said != NULL) || (rows[i].said && !strstr(said, rows[i].said))) {
            fail_msg("%s: %s", rows[i].what, said);
        }
        if (rows[i].said && strchr(said, '\n') != said + strlen(said) - 1) {
            fail_msg("%s: not one line: %s", rows[i].what, said);
        }
    }
    (void)ask_for_all_memory;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_end_the_process_with_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
