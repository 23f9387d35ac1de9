/* Compression by blocks: what went in block by block comes out again, whatever the blocks were, as
 * one gzip member or one zstd frame. */

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

/* A file in the making, and what a job would have. */
struct making {
    enum stage_compression kind;
    struct compress *compress;
    struct compress_tool *tool;
    struct buf out;
};

static void begin(struct making *making, enum stage_compression kind)
{
    *making = (struct making){kind, compress_new(kind), compress_tool_new(kind), {0}};
    buf_init(&making->out, MAX);
    compress_begin(making->compress, &making->out);
}

static void add_with(struct making *making, struct span rows, const struct stage_repeats *repeats)
{
    struct compress_piece piece;

    compress_block(making->tool, compress_is_stream(making->kind) ? making->compress : NULL, rows,
                   repeats, &making->out, &piece);
    assert_int_equal(piece.plain_bytes, rows.len);
    compress_join(making->compress, &piece);
}

static void add(struct making *making, struct span rows)
{
    add_with(making, rows, NULL);
}

static void end(struct making *making)
{
    compress_end(making->compress, &making->out);
}

static void discard(struct making *making)
{
    compress_free(making->compress);
    compress_tool_free(making->tool);
    buf_done(&making->out);
}

static void what_went_in_comes_out(void **state)
{
    static const struct {
        const char *sentence;
        size_t bytes, largest_block;
        unsigned letters; /* how many different bytes: 256 cannot be compressed */
    } rows[] = {
        {"small blocks of text", 300000, 300, 8},
        {"blocks as the writer makes them", 3000000, 262144, 16},
        {"blocks that cannot be compressed", 2000000, 400000, 256},
        {"one letter only", 5000000, 1000000, 1},
        {"single bytes", 2000, 1, 50},
    };
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        for (size_t k = 0; k < 2; k++) {
            struct making making;
            struct buf plain;
            size_t at = 0;
            begin(&making, kinds[k]);
            buf_init(&plain, MAX);
            fill(&plain, rows[i].bytes, rows[i].letters, &seed);
            while (at < plain.len) {
                size_t len = 1 + next_random(&seed) % rows[i].largest_block;
                len = len < plain.len - at ? len : plain.len - at;
                add(&making, (struct span){plain.data + at, len});
                at += len;
                if (next_random(&seed) % 8 == 0) {
                    add(&making, SPAN_NONE); /* an empty block */
                }
            }
            end(&making);
            print_message("%s: %zu -> %zu\n", rows[i].sentence, plain.len, making.out.len);
            expect_round_trip(kinds[k], &plain, &making.out);
            assert_true(rows[i].letters == 256 || rows[i].largest_block < 1000 ||
                        making.out.len < plain.len);
            discard(&making);
            buf_done(&plain);
        }
    }
}

/* Blocks are compressed one by one, with a tool each or the same, and stand in the file in any
 * order: the checksum is that of the file and not of the rows as they came. */
static void blocks_of_gzip_stand_in_any_order(void **state)
{
    static const unsigned orders[][5] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}};
    static const size_t sizes[] = {1, 300000, 65536, 77, 131071};
    struct compress_tool *tools[] = {compress_tool_new(STAGE_GZIP), compress_tool_new(STAGE_GZIP)};
    struct compress_piece pieces[5];
    struct buf plain[5], packed[5];
    uint32_t seed = 7;

    (void)state;
    assert_false(compress_is_stream(STAGE_GZIP));
    assert_int_equal(compress_state_bytes(STAGE_GZIP), 0);
    for (unsigned i = 0; i < 5; i++) {
        buf_init(&plain[i], MAX);
        buf_init(&packed[i], MAX);
        fill(&plain[i], sizes[i], 3 + i, &seed);
        compress_block(tools[i % 2], NULL, buf_view(&plain[i]), NULL, &packed[i], &pieces[i]);
    }
    for (size_t k = 0; k < sizeof(orders) / sizeof(*orders); k++) {
        struct compress *compress = compress_new(STAGE_GZIP);
        struct buf all, out;
        buf_init(&all, MAX);
        buf_init(&out, MAX);
        compress_begin(compress, &out);
        for (unsigned i = 0; i < 5; i++) {
            const unsigned n = orders[k][i];
            buf_add_span(&all, buf_view(&plain[n]));
            buf_add_span(&out, buf_view(&packed[n]));
            compress_join(compress, &pieces[n]);
        }
        compress_end(compress, &out);
        expect_round_trip(STAGE_GZIP, &all, &out);
        compress_free(compress);
        buf_done(&all);
        buf_done(&out);
    }
    for (unsigned i = 0; i < 5; i++) {
        buf_done(&plain[i]);
        buf_done(&packed[i]);
    }
    compress_tool_free(tools[0]);
    compress_tool_free(tools[1]);
}

/* A damaged checksum is noticed by who reads the file: it is the right one that we write. */
static void a_wrong_checksum_would_be_noticed(void **state)
{
    struct making making;
    struct buf again;

    (void)state;
    begin(&making, STAGE_GZIP);
    add(&making, SPAN_LIT("rows"));
    add(&making, SPAN_LIT("more rows"));
    end(&making);
    making.out.data[making.out.len - 8] ^= 1;
    buf_init(&again, MAX);
    assert_false(unpack(STAGE_GZIP, buf_view(&making.out), &again));
    buf_done(&again);
    discard(&making);
}

/* What blocks lose because they do not know one another. */
static void blocks_cost_little(void **state)
{
    struct making whole, blocks;
    struct buf plain;
    uint32_t seed = 5;

    (void)state;
    buf_init(&plain, MAX);
    while (plain.len < 4000000) {
        buf_printf(&plain, "{\"id\":%zu,\"payload\":\"customer %u of %u parts\"}\n", plain.len,
                   next_random(&seed) % 4096, next_random(&seed) % 64);
    }
    begin(&whole, STAGE_GZIP);
    add(&whole, buf_view(&plain));
    end(&whole);
    begin(&blocks, STAGE_GZIP);
    for (size_t at = 0; at < plain.len; at += 262144) {
        const size_t len = plain.len - at < 262144 ? plain.len - at : 262144;
        add(&blocks, (struct span){plain.data + at, len});
    }
    end(&blocks);
    print_message("%zu -> %zu whole, %zu in blocks\n", plain.len, whole.out.len, blocks.out.len);
    assert_true(blocks.out.len < whole.out.len + whole.out.len / 50);
    expect_round_trip(STAGE_GZIP, &plain, &blocks.out);
    discard(&whole);
    discard(&blocks);
    buf_done(&plain);
}

static void nothing_is_a_stream_too(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct making making;
        struct buf plain;
        buf_init(&plain, MAX);
        begin(&making, kinds[k]);
        end(&making);
        assert_true(making.out.len > 0);
        expect_round_trip(kinds[k], &plain, &making.out);
        discard(&making);
    }
}

static void a_file_may_be_given_up(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct making making;
        begin(&making, kinds[k]);
        add(&making, SPAN_LIT("half of a file"));
        discard(&making);
        compress_free(NULL);
        compress_tool_free(NULL);
    }
}

/* What stands twice is told; the file has it twice, and its second time looks like its first. */
static void what_stands_twice_comes_out_twice(void **state)
{
    static const struct {
        const char *sentence;
        size_t bytes; /* of the block */
        struct stage_repeats repeats;
    } rows[] = {
        {"nothing", 300000, {.count = 0}},
        {"one, with bytes around it", 300000, {{{1000, 150000, 100000}}, 1}},
        {"all of the block", 200000, {{{0, 100000, 100000}}, 1}},
        {"two, one after the other", 500000, {{{10, 200000, 70000}, {80000, 300000, 90000}}, 2}},
        {"two that cross", 500000, {{{10, 300000, 70000}, {80000, 200000, 90000}}, 2}},
        {"in a block that is told in another order",
         500000,
         {{{80000, 300000, 90000}, {10, 200000, 70000}}, 2}},
    };
    uint32_t seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        for (size_t k = 0; k < 2; k++) {
            const struct stage_repeats *repeats = &rows[i].repeats;
            struct making making;
            struct buf plain;
            begin(&making, kinds[k]);
            buf_init(&plain, MAX);
            fill(&plain, rows[i].bytes, 64, &seed);
            for (unsigned j = 0; j < repeats->count; j++) {
                const struct stage_repeat *repeat = &repeats->items[j];
                memcpy(plain.data + repeat->second, plain.data + repeat->first, repeat->bytes);
            }
            add(&making, SPAN_LIT("a block before\n"));
            add_with(&making, buf_view(&plain), repeats);
            add(&making, SPAN_LIT("a block after\n"));
            end(&making);
            struct buf all;
            buf_init(&all, MAX);
            buf_add_str(&all, "a block before\n");
            buf_add_span(&all, buf_view(&plain));
            buf_add_str(&all, "a block after\n");
            expect_round_trip(kinds[k], &all, &making.out);
            buf_done(&all);
            buf_done(&plain);
            discard(&making);
        }
    }
}

/* What the second place of a repeat has is not looked at: the first one's result is used. */
static void what_stands_twice_is_compressed_once(void **state)
{
    static const struct stage_repeats repeats = {{{0, 100000, 100000}}, 1};
    struct making making;
    struct buf plain, again;
    uint32_t seed = 3;

    (void)state;
    begin(&making, STAGE_GZIP);
    buf_init(&plain, MAX);
    buf_init(&again, MAX);
    fill(&plain, 200000, 64, &seed);
    add_with(&making, buf_view(&plain), &repeats);
    end(&making);
    assert_true(unpack(STAGE_GZIP, buf_view(&making.out), &again));
    assert_int_equal(again.len, 200000);
    assert_memory_equal(again.data, plain.data, 100000);
    assert_memory_equal(again.data + 100000, plain.data, 100000);
    buf_done(&plain);
    buf_done(&again);
    discard(&making);
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
        cmocka_unit_test(what_went_in_comes_out),
        cmocka_unit_test(blocks_of_gzip_stand_in_any_order),
        cmocka_unit_test(a_wrong_checksum_would_be_noticed),
        cmocka_unit_test(blocks_cost_little),
        cmocka_unit_test(nothing_is_a_stream_too),
        cmocka_unit_test(a_file_may_be_given_up),
        cmocka_unit_test(what_stands_twice_comes_out_twice),
        cmocka_unit_test(what_stands_twice_is_compressed_once),
        cmocka_unit_test(files_end_in_what_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
