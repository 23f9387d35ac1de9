#ifndef CONNECTOR_PROGRESS_H
#define CONNECTOR_PROGRESS_H

/*
 * Which phase a session is in: a line when one begins, a line when it ends, and while it is long a
 * line every few minutes that says how far it is and what it waits for. How long each took goes
 * into the figures.
 *
 * Two phases can be under way at once: an apply runs beside the waiting for, and the reading of,
 * the next transaction. So there are two tracks.
 *
 *      reading   OPEN, WAITING -> LOADS -> EVALUATING -> LOADED -> STORES -> STAGING -> WAITING ...
 *      applying  RECOVERY, COMMIT (from StartedCommit to Acknowledged) ...
 */

#include "base/buf.h"
#include "base/figures.h"
#include "runtime/timer.h"

#define PROGRESS_STEPS(X)                                                                          \
    X(OPEN) X(WAITING) X(LOADS) X(EVALUATING) X(LOADED) X(STORES) X(STAGING) X(RECOVERY) X(COMMIT)

#define PROGRESS_ENUM(name) PROGRESS_##name,
enum progress_step { PROGRESS_NONE, PROGRESS_STEPS(PROGRESS_ENUM) PROGRESS_COUNT };
#undef PROGRESS_ENUM

enum progress_track { PROGRESS_READING, PROGRESS_APPLYING, PROGRESS_TRACKS };

/* Appends what the step waits for, in words. */
typedef void progress_wait_fn(void *ctx, enum progress_step step, struct buf *out);
/* A line of the step is due. True: more will be known soon, and the line waits for
 * progress_answered, or PROGRESS_ASK_MS. */
typedef bool progress_ask_fn(void *ctx, enum progress_step step);

struct progress_state {
    enum progress_step step;
    uint64_t round;
    uint64_t began_ms, said_ms, due_ms; /* due: of the next line; 0 when idle */
    uint64_t count_before, count_said;  /* of what the step counts */
    bool is_asking;                     /* its line waits for an answer */
};

struct progress {
    struct loop *loop;
    struct figures *figures;
    struct timer *timer; /* runs only while a phase is under way that may get long */
    uint64_t every_ms;
    progress_wait_fn *wait;
    progress_ask_fn *ask; /* or NULL */
    void *ctx;
    struct progress_state tracks[PROGRESS_TRACKS];
};

#define PROGRESS_EVERY_MS ((uint64_t)300000)
#define PROGRESS_ASK_MS ((uint64_t)25000)

/* The timer is op's, whose step calls progress_look. every_ms 0: five minutes. */
void progress_init(struct progress *progress,
                   struct op *op,
                   struct figures *figures,
                   uint64_t every_ms,
                   progress_wait_fn *wait,
                   progress_ask_fn *ask,
                   void *ctx);

/* The track's step ends with its line and its figure, the next one begins. NONE: none begins. */
void progress_enter(struct progress *progress,
                    enum progress_track track,
                    enum progress_step step,
                    uint64_t round);
/* Does nothing when the track is in that step already; for calls per document. */
static inline void progress_need(struct progress *progress,
                                 enum progress_track track,
                                 enum progress_step step,
                                 uint64_t round)
{
    if (progress->tracks[track].step != step) {
        progress_enter(progress, track, step, round);
    }
}
/* The answer came: the line that waits for it is due. */
void progress_answered(struct progress *progress);
/* Says what is due. */
void progress_look(struct progress *progress);

#endif
