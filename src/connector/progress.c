/*
 * connector/progress: the phases of a session, in words. In: which phase begins. Out: log lines and
 * durations. Why a phase begins it does not know.
 */

#include "connector/progress.h"

#include "base/log.h"

#include <stddef.h>

#define NO_PHASE (-1)
#define NO_COUNT ((size_t)-1)

/* Tools that read these logs know the texts. */
struct step_row {
    const char *started, *running, *finished;
    const char *starved; /* instead of running, when nothing new was counted */
    int phase;           /* enum figure_phase, or NO_PHASE */
    size_t count_at;     /* the field of struct figures that is counted, or NO_COUNT */
    bool is_idle;        /* may last for ever: no line while it does */
    bool has_round;
};

#define COUNTED(field) offsetof(struct figures, field)

static const struct step_row rows[PROGRESS_COUNT] = {
    [PROGRESS_OPEN] = {"requesting materialization Open", "materialization Open in progress",
                       "finished waiting for materialization Open", NULL, NO_PHASE, NO_COUNT, false,
                       false},
    [PROGRESS_WAITING] = {"started waiting for documents", "waiting for documents",
                          "finished waiting for documents", NULL, NO_PHASE, NO_COUNT, true, true},
    [PROGRESS_LOADS] = {"started reading load requests", "reading load requests",
                        "finished reading load requests", "waiting for more load requests",
                        FIGURE_PHASE_load_reading, COUNTED(loads), false, true},
    [PROGRESS_EVALUATING] = {"started evaluating loads", "evaluating loads",
                             "finished evaluating loads", NULL, FIGURE_PHASE_load_query, NO_COUNT,
                             false, true},
    [PROGRESS_LOADED] = {"started processing loaded documents", "processing loaded documents",
                         "finished processing loaded documents", NULL, FIGURE_PHASE_load_sending,
                         COUNTED(loaded), false, true},
    [PROGRESS_STORES] = {"started reading store requests", "reading store requests",
                         "finished reading store requests", "waiting for more store requests",
                         FIGURE_PHASE_store_reading, COUNTED(stores), false, true},
    [PROGRESS_STAGING] = {"started storing the last files", "storing the last files",
                          "finished storing the last files", NULL, FIGURE_PHASE_staging_end,
                          NO_COUNT, false, true},
    [PROGRESS_RECOVERY] = {"started materialization recovery commit",
                           "materialization recovery commit in progress",
                           "finished materialization recovery commit", NULL, NO_PHASE, NO_COUNT,
                           false, true},
    [PROGRESS_COMMIT] = {"started materialization commit", "materialization commit in progress",
                         "finished materialization commit", NULL, NO_PHASE, NO_COUNT, false, true},
};

static uint64_t counted(const struct progress *progress, const struct step_row *row)
{
    uint64_t value = 0;

    if (row->count_at != NO_COUNT) {
        memcpy(&value, (const char *)progress->figures + row->count_at, sizeof(value));
    }
    return value;
}

void progress_init(struct progress *progress,
                   struct op *op,
                   struct figures *figures,
                   uint64_t every_ms,
                   progress_wait_fn *wait,
                   progress_ask_fn *ask,
                   void *ctx)
{
    *progress = (struct progress){
        .loop = op->loop,
        .figures = figures,
        .timer = timer_new(op),
        .every_ms = every_ms ? every_ms : PROGRESS_EVERY_MS,
        .wait = wait,
        .ask = ask,
        .ctx = ctx,
    };
}

/* ---------------------------------------------------------------- begin and end */

static void end_step(struct progress *progress, struct progress_state *state)
{
    const struct step_row *row = &rows[state->step];
    uint64_t took = loop_now_ms(progress->loop) - state->began_ms;
    struct log_field fields[4];
    unsigned count = 0;

    if (row->has_round) {
        fields[count++] = LOG_INT("round", state->round);
    }
    fields[count++] = LOG_MS("took", took);
    if (row->count_at != NO_COUNT) {
        fields[count++] = LOG_INT("count", counted(progress, row) - state->count_before);
    }
    fields[count] = LOG_END;
    log_write(LOG_INFO, row->finished, fields);
    if (row->phase != NO_PHASE) {
        figures_add_phase(progress->figures, (enum figure_phase)row->phase, took);
    }
}

static void begin_step(struct progress *progress, struct progress_state *state)
{
    const struct step_row *row = &rows[state->step];

    state->began_ms = state->said_ms = loop_now_ms(progress->loop);
    state->count_before = state->count_said = counted(progress, row);
    state->due_ms = row->is_idle ? 0 : state->began_ms + progress->every_ms;
    log_event(LOG_INFO, row->started, row->has_round ? LOG_INT("round", state->round) : LOG_END,
              LOG_END);
    /* A timer that runs already expires earlier, and is started anew by progress_look. */
    if (state->due_ms && !timer_is_running(progress->timer)) {
        timer_start(progress->timer, progress->every_ms);
    }
}

void progress_enter(struct progress *progress,
                    enum progress_track track,
                    enum progress_step step,
                    uint64_t round)
{
    struct progress_state *state = &progress->tracks[track];

    if (state->step != PROGRESS_NONE) {
        end_step(progress, state);
    }
    *state = (struct progress_state){.step = step, .round = round};
    if (step != PROGRESS_NONE) {
        begin_step(progress, state);
    }
}

/* ---------------------------------------------------------------- while it lasts */

static void say(struct progress *progress, struct progress_state *state)
{
    const struct step_row *row = &rows[state->step];
    uint64_t now = loop_now_ms(progress->loop);
    uint64_t total = counted(progress, row);
    uint64_t more = total - state->count_said;
    uint64_t ms = now > state->said_ms ? now - state->said_ms : 1;
    struct log_field fields[6];
    unsigned count = 0;
    struct buf waiting;

    buf_init(&waiting, 1024);
    progress->wait(progress->ctx, state->step, &waiting);
    if (row->has_round) {
        fields[count++] = LOG_INT("round", state->round);
    }
    if (row->count_at != NO_COUNT) {
        fields[count++] = LOG_INT("count", total - state->count_before);
        fields[count++] = LOG_INT("perSecond", more * 1000 / ms);
    }
    fields[count++] = LOG_MS("sofar", now - state->began_ms);
    if (waiting.len > 0) {
        fields[count++] = LOG_SPAN("waitingFor", buf_view(&waiting));
    }
    fields[count] = LOG_END;
    log_write(LOG_INFO, row->starved && more == 0 ? row->starved : row->running, fields);
    buf_done(&waiting);
    state->count_said = total;
    state->said_ms = now;
}

static void take_due(struct progress *progress, struct progress_state *state, uint64_t now)
{
    if (!state->is_asking && progress->ask && progress->ask(progress->ctx, state->step)) {
        state->is_asking = true;
        state->due_ms = now + PROGRESS_ASK_MS;
    } else {
        say(progress, state);
        state->is_asking = false;
        state->due_ms = now + progress->every_ms;
    }
}

void progress_answered(struct progress *progress)
{
    for (unsigned i = 0; i < PROGRESS_TRACKS; i++) {
        struct progress_state *state = &progress->tracks[i];
        if (state->is_asking) {
            state->due_ms = loop_now_ms(progress->loop);
            timer_start(progress->timer, 0);
        }
    }
}

void progress_look(struct progress *progress)
{
    uint64_t now = loop_now_ms(progress->loop);
    uint64_t next = UINT64_MAX;

    if (!timer_has_expired(progress->timer)) {
        return;
    }
    timer_stop(progress->timer);
    for (unsigned i = 0; i < PROGRESS_TRACKS; i++) {
        struct progress_state *state = &progress->tracks[i];
        if (state->due_ms && state->due_ms <= now) {
            take_due(progress, state, now);
        }
        if (state->due_ms && state->due_ms < next) {
            next = state->due_ms;
        }
    }
    if (next != UINT64_MAX) {
        timer_start(progress->timer, next - now);
    }
}
