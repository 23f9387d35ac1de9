/* runtime/backoff: how long to wait before the next try. Pure; knows neither loop nor timer. */

#include "runtime/backoff.h"

bool backoff_may_retry(const struct backoff_policy *policy, unsigned attempt)
{
    return attempt < policy->max_attempts;
}

uint64_t backoff_next(const struct backoff_policy *policy, unsigned attempt, struct random *random)
{
    uint64_t delay = policy->first_ms < policy->cap_ms ? policy->first_ms : policy->cap_ms;

    for (unsigned doublings = 1; doublings < attempt && delay < policy->cap_ms; doublings++) {
        /* A first wait of zero stays zero, so a large attempt number must not turn in vain. */
        if (delay == 0) {
            break;
        }
        delay = delay > policy->cap_ms / 2 ? policy->cap_ms : 2 * delay;
    }
    uint64_t half = delay / 2;
    return half + random_below(random, delay - half + 1);
}
