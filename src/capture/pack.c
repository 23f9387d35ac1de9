/*
 * capture/pack: records as bytes. In: the members of a record. Out: one envelope, appended to the
 * owner's buffer. MessagePack is msgpack-c's affair; the envelope's checksum is filled in behind
 * it.
 */

#include "capture/pack.h"

#include "base/digest.h"

#include <msgpack.h>

static int append(void *out, const char *ptr, size_t len)
{
    buf_add(out, ptr, len);
    return 0; /* a buf that is full remembers it by itself */
}

static void pack_text(msgpack_packer *packer, struct span text)
{
    msgpack_pack_str(packer, text.len);
    msgpack_pack_str_body(packer, text.ptr, text.len);
}

/* head: the payload's members but the frame, which is copied straight to its place. */
static void seal(struct buf *out, const struct buf *head, struct span frame)
{
    msgpack_packer packer;
    const size_t start = out->len;
    uint64_t checksum = 0;

    msgpack_packer_init(&packer, out, append);
    msgpack_pack_array(&packer, 2);
    msgpack_pack_fix_uint64(&packer, checksum);
    msgpack_pack_bin(&packer, head->len + frame.len);
    const size_t payload = out->len;
    buf_add_span(out, buf_view(head));
    buf_add_span(out, frame);
    CHECK(!buf_is_full(out) && !buf_is_full(head));
    checksum = digest_xxh64((struct span){out->data + payload, out->len - payload}, 0);
    for (unsigned i = 0; i < 8; i++) {
        out->data[start + 2 + i] = (char)(unsigned char)(checksum >> (8 * (7 - i)));
    }
}

void pack_header(struct buf *out, const struct capture_header *header, uint64_t clock_us)
{
    msgpack_packer packer;
    struct buf head;

    buf_init(&head, 4096);
    msgpack_packer_init(&packer, &head, append);
    msgpack_pack_array(&packer, 8);
    msgpack_pack_uint64(&packer, CAPTURE_HEADER);
    msgpack_pack_uint64(&packer, header->format);
    pack_text(&packer, header->product);
    pack_text(&packer, header->version);
    pack_text(&packer, header->codec);
    msgpack_pack_uint64(&packer, header->unix_us);
    msgpack_pack_uint64(&packer, clock_us);
    msgpack_pack_uint64(&packer, header->segment);
    seal(out, &head, SPAN_NONE);
    buf_done(&head);
}

/* The small members of a frame's payload need no memory of their own. */
static void pack_four(struct buf *out,
                      enum capture_kind kind,
                      enum capture_direction direction,
                      uint64_t clock_us,
                      uint64_t bytes,
                      struct span frame)
{
    msgpack_packer packer;
    char memory[PACK_FRAME_EXTRA];
    struct buf head = {memory, 0, sizeof memory - 1, sizeof memory - 1, false}; /* never grows */

    msgpack_packer_init(&packer, &head, append);
    msgpack_pack_array(&packer, 4);
    msgpack_pack_uint64(&packer, kind);
    msgpack_pack_uint64(&packer, direction);
    msgpack_pack_uint64(&packer, clock_us);
    if (kind == CAPTURE_FRAME) {
        msgpack_pack_bin(&packer, frame.len);
    } else {
        msgpack_pack_uint64(&packer, bytes);
    }
    seal(out, &head, frame);
}

void pack_frame(struct buf *out,
                enum capture_direction direction,
                uint64_t clock_us,
                struct span frame)
{
    pack_four(out, CAPTURE_FRAME, direction, clock_us, 0, frame);
}

void pack_withheld(struct buf *out,
                   enum capture_direction direction,
                   uint64_t clock_us,
                   uint64_t bytes)
{
    pack_four(out, CAPTURE_WITHHELD, direction, clock_us, bytes, SPAN_NONE);
}

void pack_end(struct buf *out, uint64_t clock_us, struct span reason)
{
    msgpack_packer packer;
    struct buf head;

    buf_init(&head, 4096);
    msgpack_packer_init(&packer, &head, append);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_uint64(&packer, CAPTURE_END);
    msgpack_pack_uint64(&packer, clock_us);
    pack_text(&packer, reason);
    seal(out, &head, SPAN_NONE);
    buf_done(&head);
}
