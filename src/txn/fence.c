/*
 * txn/fence: who owns the task. In: rows of flow_checkpoints_v1, read under its lock. Out: the next
 * owner mark, whether ours still is the newest, and which entries were applied. Knows no S3, sends
 * nothing.
 */

#include "txn/fence.h"

#include "base/buf.h"
#include "base/size.h"
#include "base/text.h"
#include "stage/inflate.h"

enum { COL_FENCE, COL_KEY_BEGIN, COL_KEY_END, COL_CHECKPOINT, COL_TOKENS, COL_COUNT };

/* What a VARBYTE(1024000) column can hold. */
#define TOKENS_MAX_BYTES 1024000
#define CHECKPOINT_MAX_BYTES 1024000
/* A checkpoint is a list of journals and offsets; gzip makes little of it, but not that little. */
#define INFLATED_MAX_BYTES (64 * MIB)

void fence_rows_init(struct fence_rows *rows,
                     struct arena *arena,
                     uint32_t key_begin,
                     uint32_t key_end)
{
    *rows = (struct fence_rows){.arena = arena, .key_begin = key_begin, .key_end = key_end};
}

static struct error *read_number(struct span text, const char *column, int64_t *ret)
{
    if (!text_to_int64(text, ret)) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "column %s of the metadata table holds no integer", column);
    }
    return NULL;
}

static struct error *read_tokens(struct fence_rows *rows, struct span hex, bool is_own)
{
    struct buf text;
    struct error *err = NULL;

    buf_init(&text, TOKENS_MAX_BYTES + 1);
    if (!text_from_hex(&text, hex) || buf_is_full(&text)) {
        err = error_new(ERROR_STATE, ERROR_FATAL, "the tokens are not hex text");
    }
    if (!err) {
        err = tokens_read(&rows->applied, rows->arena, buf_view(&text));
    }
    if (!err && is_own) {
        err = tokens_read(&rows->own, rows->arena, buf_view(&text));
    }
    buf_done(&text);
    return error_wrap(err, "reading the tokens of applied transactions (column checkpoint_tokens)");
}

static struct error *read_bounds(const struct pgc_row *row, struct fence_row *ret)
{
    int64_t begin, end;

    RETURN_IF_ERROR(read_number(row->values[COL_FENCE], "fence", &ret->fence));
    RETURN_IF_ERROR(read_number(row->values[COL_KEY_BEGIN], "key_begin", &begin));
    RETURN_IF_ERROR(read_number(row->values[COL_KEY_END], "key_end", &end));
    if (begin < 0 || begin > UINT32_MAX || end < 0 || end > UINT32_MAX) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "the metadata table holds a key range outside of 32 bits");
    }
    ret->key_begin = (uint32_t)begin;
    ret->key_end = (uint32_t)end;
    return NULL;
}

struct error *fence_rows_add(struct fence_rows *rows, const struct pgc_row *row)
{
    struct fence_row item = {0};

    if (row->count != COL_COUNT) {
        return error_new(ERROR_STATE, ERROR_FATAL, "a metadata row has %u columns, expected %d",
                         row->count, COL_COUNT);
    }
    RETURN_IF_ERROR(read_bounds(row, &item));
    item.has_checkpoint = row->values[COL_CHECKPOINT].ptr != NULL;
    item.has_tokens = row->values[COL_TOKENS].ptr != NULL;

    bool is_own = item.key_begin == rows->key_begin && item.key_end == rows->key_end;
    if (is_own && fence_rows_own(rows)) {
        return error_new(ERROR_STATE, ERROR_FATAL,
                         "the metadata table has two rows for the key range %08x-%08x of this task",
                         rows->key_begin, rows->key_end);
    }
    if (is_own && item.has_checkpoint && !item.has_tokens) {
        item.checkpoint_hex = arena_span(rows->arena, row->values[COL_CHECKPOINT]);
    }
    if (item.has_tokens) {
        RETURN_IF_ERROR(read_tokens(rows, row->values[COL_TOKENS], is_own));
    }
    if (rows->count == rows->cap) {
        unsigned cap = rows->cap ? rows->cap * 2 : 4;
        struct fence_row *items = ARENA_ARRAY(rows->arena, cap, struct fence_row);
        if (rows->count) {
            memcpy(items, rows->items, rows->count * sizeof *items);
        }
        rows->items = items;
        rows->cap = cap;
    }
    rows->items[rows->count++] = item;
    return NULL;
}

/* ---------------------------------------------------------------- the original's checkpoint */

static struct error *no_checkpoint(const char *what)
{
    return error_new(ERROR_STATE, ERROR_FATAL, "the checkpoint is not %s", what);
}

static struct error *unpack_checkpoint(struct span hex, struct buf *text, struct buf *packed)
{
    if (!text_from_hex(text, hex) || buf_is_full(text)) {
        return no_checkpoint("hex text");
    }
    if (!text_from_base64(packed, buf_view(text)) || buf_is_full(packed)) {
        return no_checkpoint("base64 text");
    }
    return NULL;
}

static bool is_gzip(struct span bytes)
{
    return bytes.len >= 2 && (unsigned char)bytes.ptr[0] == 0x1f &&
           (unsigned char)bytes.ptr[1] == 0x8b;
}

struct error *fence_read_checkpoint(struct arena *arena, struct span hex, struct span *ret)
{
    struct buf text, packed, bytes;

    buf_init(&text, CHECKPOINT_MAX_BYTES + 1);
    buf_init(&packed, CHECKPOINT_MAX_BYTES);
    buf_init(&bytes, INFLATED_MAX_BYTES);
    struct error *err = unpack_checkpoint(hex, &text, &packed);
    if (!err && is_gzip(buf_view(&packed))) {
        err = stage_inflate(buf_view(&packed), &bytes);
    } else if (!err) {
        buf_add_span(&bytes, buf_view(&packed));
    }
    if (!err) {
        *ret = arena_span(arena, buf_view(&bytes));
    }
    buf_done(&bytes);
    buf_done(&packed);
    buf_done(&text);
    return error_wrap(err, "reading the checkpoint of another version of this connector");
}

/* ---------------------------------------------------------------- verdicts */

const struct fence_row *fence_rows_own(const struct fence_rows *rows)
{
    for (unsigned i = 0; i < rows->count; i++) {
        if (rows->items[i].key_begin == rows->key_begin &&
            rows->items[i].key_end == rows->key_end) {
            return &rows->items[i];
        }
    }
    return NULL;
}

int64_t fence_next(const struct fence_rows *rows)
{
    int64_t highest = 0;
    for (unsigned i = 0; i < rows->count; i++) {
        if (rows->items[i].fence > highest) {
            highest = rows->items[i].fence;
        }
    }
    return highest + 1;
}

bool fence_is_owner(const struct fence_rows *rows, int64_t mark)
{
    const struct fence_row *own = fence_rows_own(rows);
    return own && own->fence == mark && fence_next(rows) == mark + 1;
}
