#ifndef CONNECTOR_TRIGGER_H
#define CONNECTOR_TRIGGER_H

/*
 * A job of dbt Cloud that is started when new data are in the tables. It is a courtesy: whatever
 * goes wrong is one warning in the log, and no transaction waits for it or fails with it. The calls
 * are those of dbt's Administrative API v2 (docs.getdbt.com): list the runs of a job, cancel a run,
 * start a job. Each answer has "status": {"is_success": ..., "user_message": ...}, and only that
 * tells success.
 */

#include "base/secret.h"
#include "http/client.h"

enum trigger_mode {
    TRIGGER_SKIP,    /* a job that runs is left alone, and none is started */
    TRIGGER_REPLACE, /* it is cancelled first */
    TRIGGER_IGNORE   /* nobody looks */
};

/* All texts are lent; together they are shorter than TRIGGER_MAX_TEXT. */
#define TRIGGER_MAX_TEXT 16384
struct trigger_config {
    const char *base_url; /* without a slash at its end; https, or a loopback address */
    const char *account_id, *job_id;
    const char *cause;
    const struct secret *api_key;
    enum trigger_mode mode;
    uint64_t interval_ms;      /* between two beginnings */
    uint64_t total_timeout_ms; /* of all calls of one beginning together */
};

struct trigger;

/* config is lent until done, and so is http. done(ctx, NULL) comes after trigger_close, when
 * nothing is left in the loop; the trigger is freed by then. */
struct trigger *trigger_new(struct loop *loop,
                            struct http_client *http,
                            const struct trigger_config *config,
                            op_done_fn *done,
                            void *ctx);
/* New data arrived. Begins now if the last beginning is an interval ago, else once it will be;
 * signals until then are one. A signal while the job is being started counts for the next time. */
void trigger_signal(struct trigger *trigger);
/* A call that is under way is given up, a run that waits for its interval does not come. */
void trigger_close(struct trigger *trigger);

#endif
