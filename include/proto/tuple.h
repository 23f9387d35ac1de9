#ifndef PROTO_TUPLE_H
#define PROTO_TUPLE_H

/*
 * Keys and values of Load and Store, in either form, as struct value. Packed tuples are
 * FoundationDB's tuple layer (https://github.com/apple/foundationdb/blob/main/design/tuple.md):
 * type code, then bytes; 00 inside strings is written 00 ff, but not inside integers and doubles.
 */

#include "base/buf.h"
#include "base/error.h"
#include "base/value.h"
#include "proto/message.h"

/* Reads exactly count elements into ret (an array of count). Text that is not escaped points into
 * the tuple; the rest is decoded into scratch, which is cleared first and must outlive the values.
 * No allocation once scratch has grown; it needs at most three times the tuple's length. JSON text
 * in a packed tuple is not validated, in an array it is, and compacted. Too few, too many or
 * malformed elements are an ERROR_PROTOCOL that names the element's index, never its value. An
 * empty tuple has no elements.
 */
struct error *tuple_read(const struct proto_tuple *tuple,
                         struct value *ret,
                         unsigned count,
                         struct buf *scratch) MUST_CHECK;

/* The two forms by themselves. */
struct error *tuple_read_packed(struct span packed,
                                struct value *ret,
                                unsigned count,
                                struct buf *scratch) MUST_CHECK;
struct error *tuple_read_json(struct span json,
                              struct value *ret,
                              unsigned count,
                              struct buf *scratch) MUST_CHECK;

#endif
