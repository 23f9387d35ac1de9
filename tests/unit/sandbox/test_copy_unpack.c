/* Compressed files: whole, in members, in pieces of any size, cut off, and not compressed at all.
 */
#include "sandbox/copy_unpack.h"

#include "sandbox/copy_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

static const char content[] = "{\"id\":1,\"text\":\"the quick brown fox\"}\n"
                              "{\"id\":2,\"text\":\"the quick brown fox again\"}\n";

static bool gather(void *ctx, const char *at, size_t len)
{
    bytes_put(ctx, at, len);
    return true;
}

static bool refuse(void *ctx, const char *at, size_t len)
{
    (void)ctx;
    (void)at;
    (void)len;
    return false;
}

static void put_gzip(struct bytes *to, const char *text, size_t len)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    Bytef in[sizeof content];
    memcpy(in, text, len);
    z.next_in = in;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)bytes_reserve(to, 1000);
    z.avail_out = 1000;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    to->len += 1000 - z.avail_out;
    deflateEnd(&z);
}

static void put_zstd(struct bytes *to, const char *text, size_t len)
{
    size_t got = ZSTD_compress(bytes_reserve(to, 1000), 1000, text, len, 3);
    assert_false(ZSTD_isError(got));
    to->len += got;
}

static void put(enum copy_compression how, struct bytes *to, const char *text, size_t len)
{
    if (how == COPY_GZIP) {
        put_gzip(to, text, len);
    } else if (how == COPY_ZSTD) {
        put_zstd(to, text, len);
    } else {
        bytes_put(to, text, len);
    }
}

/* Feeds `len` bytes in pieces of `step`; the result of the first call that is not OK. */
static enum unpack_result
unpack(enum copy_compression how, const char *at, size_t len, size_t step, struct bytes *to)
{
    struct unpack *u = unpack_new(how, gather, to);
    enum unpack_result result = UNPACK_OK;
    for (size_t done = 0; done < len && result == UNPACK_OK; done += step) {
        result = unpack_feed(u, at + done, len - done < step ? len - done : step);
    }
    if (result == UNPACK_OK) {
        result = unpack_end(u);
    }
    if (result == UNPACK_BROKEN) {
        assert_true(strstr(unpack_why(u), how == COPY_GZIP ? "GZIP" : "ZSTD") != NULL);
    }
    unpack_free(u);
    return result;
}

static const enum copy_compression all[] = {COPY_PLAIN, COPY_GZIP, COPY_ZSTD};

static void pieces_of_any_size_give_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct bytes packed = {0};
        put(all[i], &packed, content, sizeof content - 1);
        for (size_t step = 1; step <= packed.len; step++) {
            struct bytes out = {0};
            assert_int_equal(unpack(all[i], packed.at, packed.len, step, &out), UNPACK_OK);
            assert_string_equal(bytes_text(&out), content);
            bytes_done(&out);
        }
        bytes_done(&packed);
    }
}

static void members_in_a_row_are_one_file(void **state)
{
    (void)state;
    for (size_t i = 1; i < sizeof all / sizeof *all; i++) {
        struct bytes packed = {0};
        put(all[i], &packed, content, 10);
        put(all[i], &packed, content + 10, 0);
        put(all[i], &packed, content + 10, sizeof content - 11);
        for (size_t step = 1; step <= packed.len; step++) {
            struct bytes out = {0};
            assert_int_equal(unpack(all[i], packed.at, packed.len, step, &out), UNPACK_OK);
            assert_string_equal(bytes_text(&out), content);
            bytes_done(&out);
        }
        bytes_done(&packed);
    }
}

static void a_file_cut_off_anywhere_is_broken(void **state)
{
    (void)state;
    for (size_t i = 1; i < sizeof all / sizeof *all; i++) {
        struct bytes packed = {0};
        put(all[i], &packed, content, sizeof content - 1);
        for (size_t len = 1; len < packed.len; len++) {
            struct bytes out = {0};
            assert_int_equal(unpack(all[i], packed.at, len, len, &out), UNPACK_BROKEN);
            bytes_done(&out);
        }
        bytes_done(&packed);
    }
}

static void a_changed_byte_does_not_pass_gzip(void **state)
{
    (void)state;
    struct bytes packed = {0};
    put_gzip(&packed, content, sizeof content - 1);
    int passed = 0;
    /* The ten bytes of header hold a time and a system that nobody checks. */
    for (size_t i = 10; i < packed.len; i++) {
        struct bytes out = {0};
        packed.at[i] = (char)(packed.at[i] ^ 0x10);
        /* Bits between the last block and the checksum mean nothing; all others are noticed. */
        if (unpack(COPY_GZIP, packed.at, packed.len, packed.len, &out) != UNPACK_BROKEN) {
            assert_string_equal(bytes_text(&out), content);
            passed++;
        }
        packed.at[i] = (char)(packed.at[i] ^ 0x10);
        bytes_done(&out);
    }
    bytes_done(&packed);
    assert_true(passed <= 1);
}

static void plain_text_is_no_compressed_file(void **state)
{
    (void)state;
    for (size_t i = 1; i < sizeof all / sizeof *all; i++) {
        struct bytes out = {0};
        assert_int_equal(unpack(all[i], content, sizeof content - 1, 100, &out), UNPACK_BROKEN);
        assert_int_equal(out.len, 0);
        bytes_done(&out);
    }
}

static void zeros_behind_a_gzip_file_are_padding_and_words_are_not(void **state)
{
    (void)state;
    struct bytes packed = {0}, out = {0};
    put_gzip(&packed, content, sizeof content - 1);
    bytes_put(&packed, "\0\0\0\0", 4);
    assert_int_equal(unpack(COPY_GZIP, packed.at, packed.len, 3, &out), UNPACK_OK);
    assert_string_equal(bytes_text(&out), content);
    packed.len -= 4;
    bytes_put(&packed, "more", 4);
    assert_int_equal(unpack(COPY_GZIP, packed.at, packed.len, 3, &out), UNPACK_BROKEN);
    bytes_done(&packed);
    bytes_done(&out);
}

static void an_empty_file_has_no_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct bytes out = {0};
        assert_int_equal(unpack(all[i], "", 0, 1, &out), UNPACK_OK);
        assert_int_equal(out.len, 0);
    }
}

static void a_sink_can_stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct bytes packed = {0};
        put(all[i], &packed, content, sizeof content - 1);
        struct unpack *u = unpack_new(all[i], refuse, NULL);
        assert_int_equal(unpack_feed(u, packed.at, packed.len), UNPACK_STOPPED);
        unpack_free(u);
        bytes_done(&packed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_give_the_same),
        cmocka_unit_test(members_in_a_row_are_one_file),
        cmocka_unit_test(a_file_cut_off_anywhere_is_broken),
        cmocka_unit_test(a_changed_byte_does_not_pass_gzip),
        cmocka_unit_test(plain_text_is_no_compressed_file),
        cmocka_unit_test(zeros_behind_a_gzip_file_are_padding_and_words_are_not),
        cmocka_unit_test(an_empty_file_has_no_bytes),
        cmocka_unit_test(a_sink_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
