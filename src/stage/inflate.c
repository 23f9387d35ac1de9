/*
 * stage/inflate: the way back from gzip, for what other versions of this connector left behind. In:
 * bytes from outside. Out: what they hold, or what is wrong with them. Whole texts only: they are
 * small.
 */

#include "stage/inflate.h"

#include "base/size.h"

#include <isa-l/igzip_lib.h>

#define STEP_BYTES (64 * KIB)

static struct error *damaged(const char *what)
{
    return error_new(ERROR_STATE, ERROR_FATAL, "the gzip data %s", what);
}

static struct error *inflate_all(struct inflate_state *state, struct buf *out)
{
    while (state->block_state != ISAL_BLOCK_FINISH) {
        char *room = buf_reserve(out, STEP_BYTES);
        if (!room) {
            return damaged("holds more than there is room for");
        }
        state->next_out = (uint8_t *)room;
        state->avail_out = (uint32_t)STEP_BYTES;
        if (isal_inflate(state) != ISAL_DECOMP_OK) {
            return damaged("is damaged");
        }
        size_t came = STEP_BYTES - state->avail_out;
        buf_commit(out, came);
        if (came == 0 && state->avail_in == 0 && state->block_state != ISAL_BLOCK_FINISH) {
            return damaged("is cut short");
        }
    }
    return NULL;
}

struct error *stage_inflate(struct span gzip, struct buf *out)
{
    struct inflate_state *state = mem_alloc(sizeof *state);

    CHECK(gzip.len <= UINT32_MAX);
    isal_inflate_init(state);
    state->crc_flag = ISAL_GZIP; /* header and checksum are read and checked */
    /* ISA-L only reads through next_in; its type lacks the const */
    state->next_in = (uint8_t *)(uintptr_t)gzip.ptr;
    state->avail_in = (uint32_t)gzip.len;
    struct error *err = inflate_all(state, out);
    mem_free(state);
    return err;
}
