#ifndef STAGE_INFLATE_H
#define STAGE_INFLATE_H

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"

/* Appends what one gzip member holds. ERROR_STATE when it is none, is damaged or cut short, or when
 * out is full before its end. */
struct error *stage_inflate(struct span gzip, struct buf *out) MUST_CHECK;

#endif
