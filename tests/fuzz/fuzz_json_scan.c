/*
 * json/scan over any bytes. Promises: a text that the whole reader accepts is accepted by walking
 * it, compacting keeps it valid, unescaping fits into the text's own length, and the framer finds
 * the same end whole and byte by byte.
 */

#include "fuzz.h"

#include "json/scan.h"
#include "json/write.h"

/* Walks everything below the value in place, as the codec does. */
static void walk(struct json_reader *reader, struct buf *scratch)
{
    struct json_item item;
    struct span name, text;
    enum json_kind kind;
    bool have = true;

    CHECK(json_peek(reader, &kind));
    if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
        CHECK(!json_enter(reader, kind));
        for (;;) {
            CHECK(!(kind == JSON_OBJECT ? json_member_name(reader, &name, &have)
                                        : json_element_start(reader, &have)));
            if (!have) {
                return;
            }
            if (kind == JSON_OBJECT) {
                buf_clear(scratch);
                CHECK(!json_unescape(name, scratch, &text) && text.len <= name.len);
                CHECK(json_name_is(name, "x") == span_is(text, "x"));
            }
            walk(reader, scratch); /* as deep as JSON_MAX_DEPTH: the text is valid */
        }
    }
    CHECK(!json_next(reader, &item));
    int64_t i;
    uint64_t u;
    double d;
    if (item.kind == JSON_STRING) {
        buf_clear(scratch);
        CHECK(!json_string(&item, scratch, &text) && text.len <= item.raw.len - 2);
    } else if (item.kind == JSON_NUMBER && json_to_int64(&item, &i)) {
        CHECK(json_to_double(&item, &d));
        CHECK(json_to_uint64(&item, &u) == (i >= 0 && item.raw.ptr[0] != '-'));
    }
}

static void check_frames(struct span text)
{
    struct json_framer whole = {0}, piecewise = {0};
    size_t at = 0, used = 0, fed = 0;

    while (at < text.len && json_frame(&whole, text.ptr + at, text.len - at, &used)) {
        CHECK(used > 0 && used <= text.len - at);
        at += used;
        for (;;) {
            CHECK(fed < text.len);
            size_t step = 0;
            const bool ended = json_frame(&piecewise, text.ptr + fed, 1, &step);
            if (ended && fed + step == at) {
                fed += step;
                break;
            }
            CHECK(!ended);
            fed++;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span text = {(const char *)data, size};
    struct json_reader reader;
    struct json_item item;
    struct buf scratch, compact;

    check_frames(text);
    buf_init(&scratch, size + 16);
    buf_init(&compact, size + 16);
    json_reader_init(&reader, text);
    struct error *err = json_next(&reader, &item);
    if (!err) {
        struct json_reader again;
        json_reader_init(&again, item.raw);
        walk(&again, &scratch);
        CHECK(!json_end(&again));
        CHECK(!json_add_compact(&compact, item.raw));
        CHECK(!buf_is_full(&compact));
        CHECK(item.is_compact == (compact.len == item.raw.len));
        json_reader_init(&again, buf_view(&compact));
        CHECK(!json_next(&again, &item) && item.is_compact);
        err = json_end(&reader);
    }
    error_free(err);
    buf_clear(&scratch);
    err = json_unescape(text, &scratch, &(struct span){0});
    error_free(err);
    buf_done(&scratch);
    buf_done(&compact);
    return 0;
}
