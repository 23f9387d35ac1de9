/*
 * txn/holdup: what a statement on the kept connection waits for. In: a question, from somebody
 * whose patience ended. Out: words for a progress line, from the warehouse's own views, read on the
 * side connection. Whose lock it is comes first; only where there is none, whether the statement is
 * in a queue. What others run is not asked for, and never in the log.
 *
 * A view that the user may not read, or that the warehouse lacks, is asked once and never again.
 */

#include "txn/engine.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

/* On a busy warehouse the views are slow, too. A line that comes later than this is no better. */
#define HOLDUP_BOUND_MS 10000

enum { SQL_BYTES = 8192, WORDS_BYTES = 1024, PID_BYTES = 16 };

enum question { ASK_HOLDER, ASK_QUEUE, ASK_COUNT };

struct holdup {
    struct txn *txn;
    struct side_task task;
    enum question question; /* under way */
    bool is_refused[ASK_COUNT];
    char pid[PID_BYTES]; /* of the session that waits */
    const char *params[1];
    struct buf sql, words;
};

static void ask(struct holdup *self, enum question question);

static struct error *take_holder(struct holdup *self, const struct pgc_row *row)
{
    struct span pid = row->values[0], user = row->values[1], seconds = row->values[2];

    buf_printf(&self->words, "a lock held by process %.*s", SPAN_FMT(pid));
    if (user.ptr && seconds.ptr) {
        buf_printf(&self->words, " (user %.*s, since %.*s s)", SPAN_FMT(user), SPAN_FMT(seconds));
    }
    return NULL;
}

static struct error *take_row(void *ctx, unsigned index, const struct pgc_row *row)
{
    struct holdup *self = ctx;

    (void)index;
    if (self->question == ASK_HOLDER && row->count == 3 && row->values[0].ptr) {
        return take_holder(self, row);
    }
    if (self->question == ASK_QUEUE && row->count == 1 && !span_is(row->values[0], "0")) {
        buf_add_str(&self->words, "its turn in a queue of the warehouse");
    }
    return NULL;
}

static void note_failure(struct holdup *self, struct error *err)
{
    static const char *const messages[] = {
        [ASK_HOLDER] = "cannot ask who holds a lock",
        [ASK_QUEUE] = "cannot ask whether a statement is queued",
    };

    if (error_code_of(err) == ERROR_CANCELLED) {
        error_drop(err, "the engine closes");
        return;
    }
    self->is_refused[self->question] = error_code_of(err) == ERROR_SQL;
    log_event(LOG_INFO, messages[self->question], LOG_STR("error", error_text(err)), LOG_END);
    error_free(err);
}

static void answered(void *ctx, struct error *err)
{
    struct holdup *self = ctx;
    struct txn *txn = self->txn;
    bool may_go_on = !err || error_code_of(err) == ERROR_SQL;

    if (err) {
        note_failure(self, err);
    }
    if (txn->phase == PHASE_CLOSING) {
        return;
    }
    if (may_go_on && self->question == ASK_HOLDER && self->words.len == 0 &&
        !self->is_refused[ASK_QUEUE]) {
        ask(self, ASK_QUEUE);
    } else {
        txn->callbacks.wait_known(txn->callbacks.ctx);
    }
}

static void ask(struct holdup *self, enum question question)
{
    self->question = question;
    buf_clear(&self->sql);
    if (question == ASK_HOLDER) {
        rs_sql_lock_holder(&self->sql);
    } else {
        rs_sql_queued(&self->sql);
    }
    self->params[0] = self->pid;
    self->task = (struct side_task){
        .statement = {.label = question == ASK_HOLDER ? "asking who holds a lock"
                                                      : "asking whether a statement is queued",
                      .sql = self->sql.data,
                      .params = self->params,
                      .param_count = 1,
                      .sync = true},
        .on_row = take_row,
        .bound_ms = HOLDUP_BOUND_MS,
        .done = answered,
        .ctx = self,
    };
    side_run(self->txn, &self->task);
}

static struct holdup *holdup_of(struct txn *txn)
{
    if (!txn->holdup) {
        struct holdup *self = mem_alloc(sizeof *self);
        self->txn = txn;
        buf_init(&self->sql, SQL_BYTES);
        buf_init(&self->words, WORDS_BYTES);
        txn->holdup = self;
    }
    return txn->holdup;
}

bool holdup_ask(struct txn *txn)
{
    struct holdup *self = holdup_of(txn);
    int pid = link_is_connected(txn) ? pgc_server_pid(txn->link.conn) : 0;

    if (pid == 0 || self->task.is_under_way || txn->phase == PHASE_CLOSING ||
        (self->is_refused[ASK_HOLDER] && self->is_refused[ASK_QUEUE])) {
        return false;
    }
    (void)snprintf(self->pid, sizeof self->pid, "%d", pid);
    ask(self, self->is_refused[ASK_HOLDER] ? ASK_QUEUE : ASK_HOLDER);
    return true;
}

struct span holdup_words(const struct txn *txn)
{
    return txn->holdup ? buf_view(&txn->holdup->words) : SPAN_NONE;
}

void holdup_forget(struct txn *txn)
{
    if (txn->holdup && !txn->holdup->task.is_under_way) {
        buf_clear(&txn->holdup->words);
    }
}

void holdup_free(struct txn *txn)
{
    if (txn->holdup) {
        buf_done(&txn->holdup->sql);
        buf_done(&txn->holdup->words);
        mem_free(txn->holdup);
        txn->holdup = NULL;
    }
}
