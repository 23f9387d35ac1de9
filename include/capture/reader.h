#ifndef CAPTURE_READER_H
#define CAPTURE_READER_H

/* Reads a capture back, record by record, over all files of one session. For replay and reports:
 * it blocks, so it is not for the loop. */

#include "base/error.h"
#include "capture/record.h"

struct capture_reader;

/* path is the first file. An ERROR_INPUT when it is no capture that we can read. */
struct error *capture_reader_open(const char *path, struct capture_reader **ret) MUST_CHECK;
/* The next record, or *ret_have false at the end. Its spans are valid until the next call. Damage
 * is an ERROR_INPUT that names file and offset; records before it were good. */
struct error *capture_reader_next(struct capture_reader *reader,
                                  struct capture_record *ret,
                                  bool *ret_have) MUST_CHECK;
/* Bytes of records that were cut off, as far as has been read. */
uint64_t capture_reader_torn_bytes(const struct capture_reader *reader);
void capture_reader_free(struct capture_reader *reader); /* NULL is fine */

#endif
