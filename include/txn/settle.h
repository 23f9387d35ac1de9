#ifndef TXN_SETTLE_H
#define TXN_SETTLE_H

/*
 * Staged work applied outside of a session: before Apply changes a table in place, what the
 * connector state names for it is put into it, as the table was when the work was staged.
 */

#include "txn/txn.h"

/* Does the state name work under any of these state keys? ERROR_STATE when it is not understood. */
struct error *txn_has_staged(struct span state_json,
                             const struct span *state_keys,
                             unsigned count,
                             bool *ret) MUST_CHECK;

/* Takes the task over for the range of options (another instance that still runs is replaced),
 * applies the entries of options' bindings, deletes their files. *ret_patch, in arena, clears the
 * entries from the state; entries of other bindings stay. options as for txn_new; no stage and no
 * schedule is needed. The returned operation may be cancelled until done. */
struct op *txn_settle(struct loop *loop,
                      const struct txn_options *options,
                      struct arena *arena,
                      struct span *ret_patch,
                      op_done_fn *done,
                      void *ctx);

#endif
