/*
 * capture/parse over any bytes, as a row of records. Since no fuzzer guesses a checksum, the bytes
 * are also taken as one payload, in an envelope that is right. Promises: a record lies within its
 * bytes and has at least the size of an envelope, and what was whole stays whole when more follows.
 */

#include "fuzz.h"

#include "base/buf.h"
#include "base/digest.h"
#include "capture/record.h"

#define ENVELOPE_MIN 12

static bool lies_in(struct span text, struct span bytes)
{
    return text.len == 0 || (text.ptr >= bytes.ptr && text.ptr + text.len <= bytes.ptr + bytes.len);
}

static void check_record(const struct capture_record *record, struct span bytes)
{
    CHECK(record->kind <= CAPTURE_END && record->direction <= CAPTURE_RESPONSE);
    CHECK(lies_in(record->frame, bytes) && lies_in(record->reason, bytes));
    CHECK(lies_in(record->header.product, bytes) && lies_in(record->header.version, bytes) &&
          lies_in(record->header.codec, bytes));
}

static void walk(struct span bytes)
{
    struct capture_record record;
    size_t used;

    while (capture_parse(bytes, &record, &used) == CAPTURE_WHOLE) {
        CHECK(used >= ENVELOPE_MIN && used <= bytes.len);
        check_record(&record, (struct span){bytes.ptr, used});
        struct capture_record again;
        size_t used_again;
        CHECK(capture_parse((struct span){bytes.ptr, used}, &again, &used_again) == CAPTURE_WHOLE);
        CHECK(used_again == used && again.clock_us == record.clock_us);
        CHECK(capture_parse((struct span){bytes.ptr, used - 1}, &again, &used_again) ==
              CAPTURE_TORN);
        bytes = (struct span){bytes.ptr + used, bytes.len - used};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span bytes = {(const char *)data, size};
    const uint64_t checksum = digest_xxh64(bytes, 0);
    struct buf envelope;

    walk(bytes);
    buf_init(&envelope, size + 64);
    buf_add(&envelope, "\x92\xcf", 2);
    for (unsigned i = 0; i < 8; i++) {
        buf_add_byte(&envelope, (char)(unsigned char)(checksum >> (56 - 8 * i)));
    }
    buf_add_byte(&envelope, (char)0xc6);
    for (unsigned i = 0; i < 4; i++) {
        buf_add_byte(&envelope, (char)(unsigned char)((uint64_t)size >> (24 - 8 * i)));
    }
    buf_add_span(&envelope, bytes);
    walk(buf_view(&envelope));
    buf_done(&envelope);
    return 0;
}
