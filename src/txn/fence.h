#ifndef TXN_FENCE_H
#define TXN_FENCE_H

/*
 * What the rows of the metadata table say about who owns the task and what was applied. Pure: rows
 * in, verdicts out. Used at Open, under the lock, and again in every apply, under the lock.
 */

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"
#include "txn/entry.h"

struct fence_row {
    uint32_t key_begin, key_end;
    int64_t fence;
    bool has_checkpoint, has_tokens;
    /* As it came, hex; only of the row of exactly our range, and only while that was never written
     * by this version (no tokens): then the checkpoint is still the truth. */
    struct span checkpoint_hex;
};

struct fence_rows {
    struct arena *arena; /* of the lists */
    struct fence_row *items;
    unsigned count, cap;
    struct tokens applied;       /* of all rows together: an earlier topology wrote another row */
    struct tokens own;           /* of the row of exactly our range */
    uint32_t key_begin, key_end; /* our range */
};

void fence_rows_init(struct fence_rows *rows,
                     struct arena *arena,
                     uint32_t key_begin,
                     uint32_t key_end);

/* A row of rs_sql_read_rows. ERROR_STATE when it cannot be understood. */
struct error *fence_rows_add(struct fence_rows *rows, const struct pgc_row *row) MUST_CHECK;

/* The row of exactly our range, or NULL. Two of them are an ERROR_STATE at fence_rows_add. */
const struct fence_row *fence_rows_own(const struct fence_rows *rows);

/* The checkpoint that the original left in a row, as protobuf bytes in arena: hex of base64 of
 * gzip, or of the bytes themselves in old rows. ERROR_STATE when it is neither. */
struct error *
fence_read_checkpoint(struct arena *arena, struct span hex, struct span *ret) MUST_CHECK;

/* The mark that a new owner takes: above every row's. */
int64_t fence_next(const struct fence_rows *rows);

/* Is the instance that took this mark still the newest owner? */
bool fence_is_owner(const struct fence_rows *rows, int64_t mark);

#endif
