#ifndef RUNTIME_BACKOFF_H
#define RUNTIME_BACKOFF_H

/* Retry delays: pure. Exponential, capped, full jitter from an injected seed. */

#include "base/random.h"

#include <stdbool.h>
#include <stdint.h>

struct backoff_policy {
    unsigned max_attempts; /* the first try included */
    uint64_t first_ms, cap_ms;
};

/* May attempt number `attempt` (1 = the first try) be followed by another? */
bool backoff_may_retry(const struct backoff_policy *policy, unsigned attempt);
/* The wait after attempt number `attempt`: between half and all of min(cap, first * 2^(attempt-1)),
 * so that retries never come within one instant. */
uint64_t backoff_next(const struct backoff_policy *policy, unsigned attempt, struct random *random);

#endif
