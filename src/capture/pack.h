#ifndef SRC_CAPTURE_PACK_H
#define SRC_CAPTURE_PACK_H

/* Each appends one whole record to out, envelope included. */

#include "base/buf.h"
#include "capture/record.h"

/* What an envelope and the members around a frame need at most. */
#define PACK_FRAME_EXTRA 64

void pack_header(struct buf *out, const struct capture_header *header, uint64_t clock_us);
void pack_frame(struct buf *out,
                enum capture_direction direction,
                uint64_t clock_us,
                struct span frame);
void pack_withheld(struct buf *out,
                   enum capture_direction direction,
                   uint64_t clock_us,
                   uint64_t bytes);
void pack_end(struct buf *out, uint64_t clock_us, struct span reason);

#endif
