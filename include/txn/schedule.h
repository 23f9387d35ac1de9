#ifndef TXN_SCHEDULE_H
#define TXN_SCHEDULE_H

/*
 * When may a transaction be acknowledged? A warehouse that bills by activity should see few large
 * transactions, so once a task has caught up, the answer to Acknowledge is held back to instants
 * that all tasks of one warehouse share. Pure: time comes in as nanoseconds since 1970 (UTC) and
 * goes out as such. The behaviour is that of Estuary's own warehouse connectors, as their page
 * "Sync schedules" (docs.estuary.dev) tells users, with one defect less: days begin at midnight of
 * the configured zone and not of UTC.
 *
 *      fixed          |     |     |     |     |            every syncFrequency, shifted by the
 * jitter alternating    |           |  ||||||||||||    |     every 4 h; syncFrequency inside the
 * window ^ the window's start is never skipped over
 */

#include "base/arena.h"
#include "base/error.h"

/* 'syncSchedule' as a person wrote it; NULL or "" where it is not set. */
struct schedule_config {
    const char *sync_frequency; /* a duration, see schedule_parse_duration */
    const char *timezone;       /* IANA name, or offset as in "+05:30" */
    const char *fast_sync_start_time, *fast_sync_stop_time; /* "HH:MM" or "H:MM" */
    const char *fast_sync_enabled_days;                     /* "M-F", "Su,T-Th"; none: every day */
};

#define SCHEDULE_DEFAULT_FREQUENCY "30m"
#define SCHEDULE_ZONE_FOLDER "/usr/share/zoneinfo"

struct schedule; /* in the arena, immutable */

/* *ret is NULL when the configuration asks for no delay at all ("0s"). seed: the warehouse's
 * address as configured; all tasks with one seed share their instants. Absent (ptr NULL): no shift.
 * ERROR_CONFIG names the property. Nothing is kept of config. */
struct error *schedule_new(struct arena *arena,
                           const struct schedule_config *config,
                           struct span seed,
                           const char *zone_folder,
                           struct schedule **ret) MUST_CHECK;
bool schedule_is_alternating(const struct schedule *schedule);

/* The first instant of the schedule later than this one; the same where the window asks for no
 * delay. */
int64_t schedule_next(const struct schedule *schedule, int64_t after_ns);

/* ---- has the task caught up? */

#define SCHEDULE_HISTORY 5
/* A transaction of so many Store requests is part of a backfill. */
#define SCHEDULE_BACKFILL_STORES 1000000

/* What this process saw; zeroed to start. It is not kept across restarts: the instants are anchored
 * to the epoch, so their phase is not lost, and the connector state has no place for more, since
 * the original reads it strictly and a task must be able to go back to it. */
struct schedule_history {
    bool has_acknowledged;
    int64_t acknowledged_ns; /* when the last Acknowledged was sent */
    /* Store requests of the last transactions that had any, oldest first. */
    uint64_t stored[SCHEDULE_HISTORY];
    unsigned count;
};

/* At StartCommit, so that a transaction counts for its own acknowledgement. */
void schedule_note_stored(struct schedule_history *history, uint64_t stores);
void schedule_note_acknowledged(struct schedule_history *history, int64_t now_ns);

enum schedule_reason {
    SCHEDULE_RECOVERY,    /* the first answer of a process is never delayed */
    SCHEDULE_CATCHING_UP, /* too few transactions yet, or a large one among them */
    SCHEDULE_OVERDUE,     /* the instant is over */
    SCHEDULE_EARLY        /* wait */
};

struct schedule_decision {
    enum schedule_reason reason;
    int64_t next_ns;  /* the instant; 0 for SCHEDULE_RECOVERY */
    int64_t delay_ns; /* until then; 0 unless SCHEDULE_EARLY */
};

struct schedule_decision schedule_decide(const struct schedule *schedule,
                                         const struct schedule_history *history,
                                         int64_t now_ns);

/* ---- durations as Go writes them: "1h30m", "2.5s", "-1m", "0"; units ns us ms s m h. False when
 * it is none, or beyond 292 years. */
bool schedule_parse_duration(struct span text, int64_t *ret_ns);

#endif
