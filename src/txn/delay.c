/*
 * txn/delay: an Acknowledged that the schedule holds back. In: the answer that is ready, and the
 * decision of schedule.c. Out: the same answer at its instant, or at once when nobody can gain from
 * waiting. What it stands for is done: the data are committed, no transaction is open, keys of the
 * next transaction are being staged. Only the answer waits.
 *
 *      WAITING --instant reached, or cut short--> answer, done
 */

#include "txn/engine.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define NS_PER_MS 1000000
#define NS_PER_SECOND 1000000000
/* The wall clock is looked at so often at least: it may be set, or go on while the machine slept.
 */
#define LOOK_MS 60000
#define REPORT_MS 300000
/* A timer may be early by this much of the wall clock, which is slewed. */
#define SLEW_NS NS_PER_SECOND

#define DELAY_STATES(X) X(WAITING)
#define DELAY_ENUM(name) DELAY_##name,
enum delay_state { DELAY_STATES(DELAY_ENUM) };
static const char *const delay_state_names[] = {DELAY_STATES(OP_STATE_NAME)};
static const uint32_t delay_moves[] = {[DELAY_WAITING] = 0};

struct delay {
    struct op op;
    struct txn *txn;
    struct timer *timer;
    struct buf patch;   /* of the answer */
    int64_t instant_ns; /* wall clock */
    uint64_t began_ms, delay_ms, reported_ms;
};

/* ---------------------------------------------------------------- what is logged */

#define TIME_LEN 48

/* "2026-10-06T12:20:18.191475840Z" */
static const char *time_text(char out[TIME_LEN], int64_t ns)
{
    char whole[32];

    text_time(whole, ns / NS_PER_SECOND);
    (void)snprintf(out, TIME_LEN, "%.19s.%09" PRId64 "Z", whole, ns % NS_PER_SECOND);
    return out;
}

static void log_decision(const struct txn *txn, const struct schedule_decision *decision)
{
    static const char *const messages[] = {
        [SCHEDULE_CATCHING_UP] = "not delaying commit acknowledgement based on stored history",
        [SCHEDULE_OVERDUE] = "not delaying commit acknowledgement since its scheduled time is over",
        [SCHEDULE_EARLY] = "delaying before acknowledging commit",
    };
    const struct schedule_history *history = &txn->history;
    bool is_early = decision->reason == SCHEDULE_EARLY;
    char last[TIME_LEN], next[TIME_LEN];
    struct buf stored;

    buf_init(&stored, 1024);
    for (unsigned i = 0; i < history->count; i++) {
        buf_add_byte(&stored, i ? ',' : '[');
        buf_add_uint(&stored, history->stored[i]);
    }
    buf_add_str(&stored, history->count ? "]" : "[]");
    const struct log_field delay =
        is_early ? LOG_MS("delay", decision->delay_ns / NS_PER_MS) : LOG_END;
    log_event(LOG_INFO, messages[decision->reason], LOG_INT("round", txn->acknowledged_round),
              LOG_STR("lastAckTime", time_text(last, history->acknowledged_ns)),
              LOG_STR("nextScheduledAck", time_text(next, decision->next_ns)),
              LOG_JSON("storedHistory", buf_view(&stored)), delay, LOG_END);
    buf_done(&stored);
}

static void log_progress(struct delay *self, const char *message)
{
    uint64_t now = loop_now_ms(self->op.loop);

    log_event(LOG_INFO, message, LOG_INT("round", self->txn->acknowledged_round),
              LOG_MS("took", now - self->began_ms), LOG_END);
    self->reported_ms = now;
}

/* ---------------------------------------------------------------- the wait */

/* By the wall clock; or by the monotonic one, if the wall clock was set back meanwhile. */
static bool is_over(const struct delay *self)
{
    return loop_unix_nanos(self->op.loop) >= self->instant_ns ||
           loop_now_ms(self->op.loop) - self->began_ms >= self->delay_ms;
}

static void wait_more(struct delay *self)
{
    uint64_t now = loop_now_ms(self->op.loop);
    uint64_t left = self->delay_ms - (now - self->began_ms);

    if (now - self->reported_ms >= REPORT_MS) {
        log_progress(self, "waiting to acknowledge materialization commit");
    }
    timer_start(self->timer, left < LOOK_MS ? left : LOOK_MS);
}

static void delay_step(struct op *op)
{
    struct delay *self = CONTAINER_OF(op, struct delay, op);

    if (op->cancel_asked) {
        op_finish(op);
    } else if (self->txn->is_hurried || is_over(self)) {
        op_finish_won(op);
    } else if (!timer_is_running(self->timer)) {
        wait_more(self);
    }
}

static const struct op_kind delay_kind = {
    .name = "delay",
    .state_names = delay_state_names,
    .state_count = ARRAY_LEN(delay_state_names),
    .moves = delay_moves,
    .step = delay_step,
};

static void delay_done(void *ctx, struct error *err)
{
    struct delay *self = ctx;
    struct txn *txn = self->txn;
    int64_t now_ns = loop_unix_nanos(txn->loop);

    txn->delay = NULL;
    if (err) {
        error_drop(err, "the engine is closing: nothing is answered any more");
    } else {
        log_progress(self, "acknowledged materialization commit after configured delay");
        /* An instant that was all but reached counts as reached, else it would come once more. */
        bool is_slewed = self->instant_ns > now_ns && self->instant_ns - now_ns < SLEW_NS;
        txn_answer_acknowledged(txn, buf_view(&self->patch), is_slewed ? self->instant_ns : now_ns);
    }
    buf_done(&self->patch);
    mem_free(self);
    txn_background_ended(txn);
}

/* ---------------------------------------------------------------- doors */

void delay_start(struct txn *txn, struct span patch_json)
{
    int64_t now_ns = loop_unix_nanos(txn->loop);
    struct schedule_decision decision = {SCHEDULE_RECOVERY, 0, 0};

    if (txn->options.schedule) {
        decision = schedule_decide(txn->options.schedule, &txn->history, now_ns);
    }
    if (decision.reason != SCHEDULE_RECOVERY && !txn->is_hurried) {
        log_decision(txn, &decision);
    }
    if (decision.reason != SCHEDULE_EARLY || txn->is_hurried) {
        txn_answer_acknowledged(txn, patch_json, now_ns);
        return;
    }
    struct delay *self = mem_alloc(sizeof *self);
    self->txn = txn;
    buf_init(&self->patch, TXN_ARENA_BYTES);
    buf_add_span(&self->patch, patch_json);
    self->instant_ns = decision.next_ns;
    self->delay_ms = (uint64_t)decision.delay_ns / NS_PER_MS + 1;
    self->began_ms = self->reported_ms = loop_now_ms(txn->loop);
    txn->delay = self;
    txn->background++;
    op_init(&self->op, txn->loop, &delay_kind, delay_done, self);
    self->timer = timer_new(&self->op);
    op_mark(&self->op);
}

void delay_look_again(struct txn *txn)
{
    if (txn->delay) {
        op_mark(&txn->delay->op);
    }
}

void delay_cancel(struct txn *txn)
{
    if (txn->delay) {
        op_cancel(&txn->delay->op);
    }
}
