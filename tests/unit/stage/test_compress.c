/* Compression by stream: what went in block by block comes out again, whatever the blocks were, as
 * one stream. */

#include "stage/compress.h"
#include "unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX ((size_t)64 * 1024 * 1024)

static const enum stage_compression kinds[] = {STAGE_GZIP, STAGE_ZSTD};

/* A small generator: the same blocks in each run. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void fill(struct buf *plain, size_t bytes, unsigned letters, uint32_t *state)
{
    char *to = buf_reserve(plain, bytes);

    for (size_t i = 0; i < bytes; i++) {
        to[i] = (char)(unsigned char)(next_random(state) % letters);
    }
    buf_commit(plain, bytes);
}

static void expect_round_trip(enum stage_compression kind, const struct buf *plain, struct buf *out)
{
    struct buf again;

    buf_init(&again, MAX);
    assert_true(unpack(kind, buf_view(out), &again));
    assert_int_equal(again.len, plain->len);
    if (plain->len) {
        assert_memory_equal(again.data, plain->data, plain->len);
    }
    buf_done(&again);
}

static void what_went_in_comes_out(void **state)
{
    static const struct {
        const char *sentence;
        size_t bytes, largest_block;
        unsigned letters; /* how many different bytes: 256 cannot be compressed */
        bool ends_alone;  /* the end comes without bytes */
    } rows[] = {
        {"small blocks of text", 300000, 300, 8, false},
        {"blocks as the writer makes them", 3000000, 262144, 16, false},
        {"blocks that cannot be compressed", 2000000, 400000, 256, true},
        {"one letter only", 5000000, 1000000, 1, true},
        {"single bytes", 2000, 1, 50, false},
    };
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        for (size_t k = 0; k < 2; k++) {
            struct compress *compress = compress_new(kinds[k]);
            struct buf plain, out;
            size_t at = 0;
            buf_init(&plain, MAX);
            buf_init(&out, MAX);
            fill(&plain, rows[i].bytes, rows[i].letters, &seed);
            while (at < plain.len) {
                size_t len = 1 + next_random(&seed) % rows[i].largest_block;
                len = len < plain.len - at ? len : plain.len - at;
                const bool ends = !rows[i].ends_alone && at + len == plain.len;
                compress_add(compress, (struct span){plain.data + at, len}, ends, &out);
                at += len;
                if (next_random(&seed) % 8 == 0 && !ends) {
                    compress_add(compress, SPAN_NONE, false, &out); /* an empty block */
                }
            }
            if (rows[i].ends_alone) {
                compress_add(compress, SPAN_NONE, true, &out);
            }
            print_message("%s: %zu -> %zu\n", rows[i].sentence, plain.len, out.len);
            expect_round_trip(kinds[k], &plain, &out);
            assert_true(rows[i].letters == 256 || out.len < plain.len);
            compress_free(compress);
            buf_done(&plain);
            buf_done(&out);
        }
    }
}

static void nothing_is_a_stream_too(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct compress *compress = compress_new(kinds[k]);
        struct buf plain, out;
        buf_init(&plain, MAX);
        buf_init(&out, MAX);
        compress_add(compress, SPAN_NONE, true, &out);
        assert_true(out.len > 0);
        expect_round_trip(kinds[k], &plain, &out);
        compress_free(compress);
        buf_done(&out);
    }
}

static void what_comes_out_is_appended(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct compress *compress = compress_new(kinds[k]);
        struct buf plain, out;
        buf_init(&plain, MAX);
        buf_init(&out, MAX);
        buf_add_str(&plain, "rows");
        buf_add_str(&out, "before");
        compress_add(compress, SPAN_LIT("rows"), true, &out);
        assert_memory_equal(out.data, "before", 6);
        memmove(out.data, out.data + 6, out.len - 6);
        out.len -= 6;
        expect_round_trip(kinds[k], &plain, &out);
        compress_free(compress);
        buf_done(&plain);
        buf_done(&out);
    }
}

static void a_stream_may_be_given_up(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct compress *compress = compress_new(kinds[k]);
        struct buf out;
        buf_init(&out, MAX);
        compress_add(compress, SPAN_LIT("half of a file"), false, &out);
        compress_free(compress);
        compress_free(NULL);
        buf_done(&out);
    }
}

static void files_end_in_what_they_are(void **state)
{
    (void)state;
    assert_string_equal(compress_suffix(STAGE_GZIP), ".gz");
    assert_string_equal(compress_suffix(STAGE_ZSTD), ".zst");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_went_in_comes_out),     cmocka_unit_test(nothing_is_a_stream_too),
        cmocka_unit_test(what_comes_out_is_appended), cmocka_unit_test(a_stream_may_be_given_up),
        cmocka_unit_test(files_end_in_what_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
