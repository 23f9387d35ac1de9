#ifndef RUNTIME_TIMER_H
#define RUNTIME_TIMER_H

/* A one-shot timer that belongs to one operation. Expiry is a fact: it sets `expired` and marks. */

#include "runtime/op.h"

struct timer; /* made and closed with its operation */

struct timer *timer_new(struct op *op);                   /* closed by op_finish at the latest */
void timer_start(struct timer *timer, uint64_t delay_ms); /* restarts when running */
void timer_stop(struct timer *timer);                     /* also clears expired */
bool timer_has_expired(const struct timer *timer);
bool timer_is_running(const struct timer *timer);
/* Closes early, while the operation goes on. *timer is blanked. */
void timer_close(struct timer **timer);

#endif
