/* Somebody who looks on: at each moment that matters to readers of the tables, the run says where
   it stands and waits until it may go on. */
#ifndef FLOW_RUNTIME_OBSERVE_H
#define FLOW_RUNTIME_OBSERVE_H

#include "run.h"

/* Connects to the socket of --observer, if there is one. */
enum fr_end fr_observe_open(struct fr_run *run);
void fr_observe_done(struct fr_run *run);

/* One line {"at":"acknowledged","position":N,"patches":[...]} and the answer to it. position:
   documents of the source up to which this holds. updates: an array, or NULL. */
enum fr_end fr_observe_tell(struct fr_run *run,
                            const char *at,
                            uint64_t position,
                            const struct fr_json *updates);

#endif
