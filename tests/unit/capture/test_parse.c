/* capture/pack and capture/parse: records as bytes and back, cut, damaged, hostile. */

#include "capture/pack.h"

#include "base/buf.h"
#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct capture_header header = {
    .format = CAPTURE_FORMAT,
    .product = {"materialize-redshift", 20},
    .version = {"1.2.3", 5},
    .codec = {"json", 4},
    .unix_us = UINT64_C(1790000000000000),
    .segment = 3,
};

/* One record of each kind, with frames around the sizes where MessagePack's lengths grow. */
static void write_all(struct buf *out, size_t *ends, size_t *ret_count)
{
    static const size_t sizes[] = {0, 1, 220, 255, 256, 300};
    char frame[300];
    size_t count = 0;

    memset(frame, 0xc6, sizeof frame);
    pack_header(out, &header, 5);
    ends[count++] = out->len;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        pack_frame(out, i % 2 ? CAPTURE_RESPONSE : CAPTURE_REQUEST, 1000 + i,
                   (struct span){frame, sizes[i]});
        ends[count++] = out->len;
    }
    pack_withheld(out, CAPTURE_REQUEST, UINT64_C(1) << 40, UINT64_C(1) << 33);
    ends[count++] = out->len;
    pack_end(out, 9, SPAN_LIT("the disk was too slow"));
    ends[count++] = out->len;
    *ret_count = count;
}

static void records_come_back_as_they_were_written(void **state)
{
    struct buf bytes;
    size_t ends[16], count, used, at = 0;
    struct capture_record record;

    (void)state;
    buf_init(&bytes, 65536);
    write_all(&bytes, ends, &count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(
            capture_parse((struct span){bytes.data + at, bytes.len - at}, &record, &used),
            CAPTURE_WHOLE);
        at += used;
        assert_int_equal(at, ends[i]);
        switch (record.kind) {
        case CAPTURE_HEADER:
            assert_int_equal(i, 0);
            assert_int_equal(record.clock_us, 5);
            assert_int_equal(record.header.format, CAPTURE_FORMAT);
            assert_int_equal(record.header.unix_us, header.unix_us);
            assert_int_equal(record.header.segment, 3);
            assert_true(span_equal(record.header.product, header.product));
            assert_true(span_equal(record.header.version, header.version));
            assert_true(span_equal(record.header.codec, header.codec));
            break;
        case CAPTURE_FRAME:
            assert_int_equal(record.clock_us, 1000 + i - 1);
            assert_int_equal(record.direction, (i - 1) % 2);
            for (size_t b = 0; b < record.frame.len; b++) {
                assert_int_equal((unsigned char)record.frame.ptr[b], 0xc6);
            }
            break;
        case CAPTURE_WITHHELD:
            assert_int_equal(i, count - 2);
            assert_int_equal(record.direction, CAPTURE_REQUEST);
            assert_true(record.clock_us == UINT64_C(1) << 40);
            assert_true(record.withheld_bytes == UINT64_C(1) << 33);
            break;
        case CAPTURE_END:
            assert_int_equal(i, count - 1);
            assert_true(span_is(record.reason, "the disk was too slow"));
            break;
        }
    }
    assert_int_equal(at, bytes.len);
    buf_done(&bytes);
}

/* Walks bytes; gives how many records were whole and what ended the walk. */
static enum capture_found walk(struct span bytes, size_t *ret_count)
{
    struct capture_record record;
    size_t used;

    for (*ret_count = 0;; ++*ret_count) {
        enum capture_found found = capture_parse(bytes, &record, &used);
        if (found != CAPTURE_WHOLE) {
            return found;
        }
        bytes = (struct span){bytes.ptr + used, bytes.len - used};
    }
}

static void a_cut_at_any_byte_leaves_what_was_before_it(void **state)
{
    struct buf bytes;
    size_t ends[16], count, got;

    (void)state;
    buf_init(&bytes, 65536);
    write_all(&bytes, ends, &count);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        size_t whole = 0;
        while (whole < count && ends[whole] <= cut) {
            whole++;
        }
        char *copy = mem_alloc(cut + 1); /* of the exact size, so that reading beyond is seen */
        memcpy(copy, bytes.data, cut);
        enum capture_found found = walk((struct span){copy, cut}, &got);
        mem_free(copy);
        if (found != CAPTURE_TORN || got != whole) {
            fail_msg("cut at %zu: %zu records instead of %zu, then %d", cut, got, whole,
                     (int)found);
        }
    }
    buf_done(&bytes);
}

static void a_changed_byte_is_never_a_record(void **state)
{
    struct buf bytes;
    size_t ends[16], count, got;

    (void)state;
    buf_init(&bytes, 65536);
    write_all(&bytes, ends, &count);
    for (size_t at = 0; at < bytes.len; at++) {
        size_t before = 0;
        while (ends[before] <= at) {
            before++;
        }
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes.data[at] = (char)(bytes.data[at] ^ (1 << bit));
            /* A length that claims more may look torn; a record it is not. */
            enum capture_found found = walk(buf_view(&bytes), &got);
            if (got != before || found == CAPTURE_WHOLE) {
                fail_msg("bit %u of byte %zu: %zu records instead of %zu", bit, at, got, before);
            }
            bytes.data[at] = (char)(bytes.data[at] ^ (1 << bit));
        }
    }
    buf_done(&bytes);
}

/* The checksum is right, what it covers is not. */
static void envelope(struct buf *out, struct span payload)
{
    uint64_t checksum = digest_xxh64(payload, 0);

    buf_add(out, "\x92\xcf", 2);
    for (unsigned i = 0; i < 8; i++) {
        buf_add_byte(out, (char)(unsigned char)(checksum >> (56 - 8 * i)));
    }
    buf_add_byte(out, (char)0xc4);
    buf_add_byte(out, (char)(unsigned char)payload.len);
    buf_add_span(out, payload);
}

static void payloads_that_are_no_records_are_damage(void **state)
{
#define ROW(why, payload)                                                                          \
    {                                                                                              \
        why, payload, sizeof(payload) - 1                                                          \
    }
    static const struct {
        const char *why, *payload;
        size_t len;
    } rows[] = {
        ROW("nothing", ""),
        ROW("an array without members", "\x90"),
        ROW("a number alone", "\x01"),
        ROW("an unknown kind", "\x94\x04\x00\x01\xc4\x00"),
        ROW("a member too few", "\x93\x01\x00\x01"),
        ROW("a member too many", "\x95\x01\x00\x01\xc4\x00\x00"),
        ROW("bytes behind the members", "\x94\x01\x00\x01\xc4\x00\x00"),
        ROW("an unknown direction", "\x94\x01\x02\x01\xc4\x00"),
        ROW("a text for a time", "\x94\x01\x00\xa1x\xc4\x00"),
        ROW("a negative time", "\x94\x01\x00\xff\xc4\x00"),
        ROW("a text for a frame", "\x94\x01\x00\x01\xa1x"),
        ROW("a frame longer than the payload", "\x94\x01\x00\x01\xc4\x05x"),
        ROW("a frame much longer than the payload", "\x94\x01\x00\x01\xc6\xff\xff\xff\xff"),
        ROW("an array of four billion", "\x94\x01\x00\x01\xdd\xff\xff\xff\xff"),
        ROW("a map of four billion", "\x94\x01\xdf\xff\xff\xff\xff\x01\xc4\x00"),
        ROW("a number for the codec", "\x98\x00\x01\xa0\xa0\x01\x01\x01\x00"),
        ROW("the byte that MessagePack never uses", "\x94\x01\xc1\x01\xc4\x00"),
    };
#undef ROW
    struct capture_record record;
    struct buf bytes;
    size_t used;

    (void)state;
    buf_init(&bytes, 4096);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&bytes);
        envelope(&bytes, (struct span){rows[i].payload, rows[i].len});
        if (capture_parse(buf_view(&bytes), &record, &used) != CAPTURE_DAMAGED) {
            fail_msg("accepted: %s", rows[i].why);
        }
    }
    /* The helper above makes good records of good payloads. */
    buf_clear(&bytes);
    envelope(&bytes, (struct span){"\x94\x01\x00\x01\xc4\x00", 6});
    assert_int_equal(capture_parse(buf_view(&bytes), &record, &used), CAPTURE_WHOLE);
    buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_as_they_were_written),
        cmocka_unit_test(a_cut_at_any_byte_leaves_what_was_before_it),
        cmocka_unit_test(a_changed_byte_is_never_a_record),
        cmocka_unit_test(payloads_that_are_no_records_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
