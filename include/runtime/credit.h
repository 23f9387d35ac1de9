#ifndef RUNTIME_CREDIT_H
#define RUNTIME_CREDIT_H

/*
 * The one ledger of bytes. Whoever holds bytes of documents (rows waiting to be compressed, parts
 * waiting to be stored) has taken that much credit and gives it back when they are gone.
 *
 *      0 ........ low ........ budget ........          used
 *      open ------------------>| closed
 *      open <------| (reopens at low, so that the loop does not flutter)
 *
 * Taking never fails and never waits: the brake is at the front door alone. While the ledger is
 * closed stdin is not read (runtime/stdio.c asks credit_is_open); what is already inside can always
 * finish without more. Owners that hold bytes which wait for more bytes (half-full parts) register
 * as savers and are asked, in order, to let go when the ledger closes.
 */

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>

struct credit;
struct op;

struct credit *credit_new(size_t budget_bytes); /* low-water mark at three quarters */
void credit_free(struct credit *credit);        /* CHECK: used is zero. NULL is fine */

void credit_take(struct credit *credit, size_t bytes);
void credit_give(struct credit *credit, size_t bytes);
bool credit_is_open(const struct credit *credit);
size_t credit_used(const struct credit *credit);
size_t credit_peak(const struct credit *credit);
size_t credit_budget(const struct credit *credit);

/* Keeps the ledger closed whatever is used, until each hold was released: for whoever has as much
 * as it can work on for now, and gets rid of it without anybody's help. Savers are not asked. */
void credit_hold(struct credit *credit);
void credit_release(struct credit *credit);

/* Called each time the ledger opens again; several are called in the order they were added. Who was
 * not reached, because an earlier one closed the ledger once more, comes first the next time. */
typedef void credit_open_fn(void *ctx);
struct credit_waiter {
    struct list_node node;
    credit_open_fn *fn;
    void *ctx;
};
void credit_add_waiter(struct credit *credit, struct credit_waiter *waiter);
void credit_remove_waiter(struct credit_waiter *waiter);

/* Called when the ledger closes, and again for each further take while it is closed: close the
 * fullest open file early, say, so that its bytes can leave. Not called for what savers take while
 * they are asked. */
typedef void credit_close_fn(void *ctx);
struct credit_saver {
    struct list_node node;
    credit_close_fn *fn;
    void *ctx;
};
void credit_add_saver(struct credit *credit, struct credit_saver *saver);
void credit_remove_saver(struct credit_saver *saver);

#endif
