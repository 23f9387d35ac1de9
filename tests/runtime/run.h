/* One run of the played runtime: options in, a driven connector, a verdict out. */
#ifndef FLOW_RUNTIME_RUN_H
#define FLOW_RUNTIME_RUN_H

#include "keymap.h"
#include "peer.h"
#include "reclog.h"
#include "source.h"
#include "task.h"

/* How a step or the run ended; the first five are the program's exit codes. */
enum fr_end {
    FR_OK = 0,
    FR_USAGE = 1,
    FR_FAILED = 2,    /* the connector failed for good */
    FR_VIOLATION = 3, /* the connector broke a rule of the protocol */
    FR_MISMATCH = 4,  /* a document is not what was stored */
    FR_DIED = 5       /* the process ended; the run may start another */
};

enum fr_until { FR_UNTIL_SPEC, FR_UNTIL_VALIDATE, FR_UNTIL_APPLY, FR_UNTIL_ALL };
enum fr_early { FR_EARLY_NONE, FR_EARLY_SOME, FR_EARLY_ALL };

enum { FR_MAX_KILLS = 64, FR_MAX_SHARDS = 64, FR_MAX_SESSIONS = 64 };

/* --kill-at POINT[#n][+ms][@shard] */
struct fr_kill {
    char point[40];
    unsigned count; /* at which occurrence: of this shard, or of all when none is named */
    unsigned delay_ms;
    unsigned shard; /* index + 1; 0: whichever reaches it */
    bool fired;
};

/* How a session ends that is stopped because of its number of commits. */
enum fr_turn { FR_TURN_NOT_DRAINED, FR_TURN_DRAINED, FR_TURN_ALTERNATE };

struct fr_options {
    const char *catalog, *fixture, *state_dir, *connector, *materialization, *config, *log;
    const char *report, *dump, *group, *log_level;
    const char *observer; /* a socket's path, or NULL */
    enum fr_codec codec;
    bool codec_given, pretty;
    enum fr_until until;
    enum fr_early early;
    bool is_v2, force_loads, same_boundaries, not_drained, apply_again;
    bool finds_nothing; /* no Load is answered: the destination is one that forgets */
    uint64_t seed, max_transactions, merge_commits, per_transaction;
    struct fr_part parts[FR_MAX_PARTS]; /* what is generated */
    size_t part_count;
    enum fr_text text;
    unsigned max_restarts, timeout_s, arm;
    unsigned topology[FR_MAX_SESSIONS]; /* shards of each session, the last for all that follow */
    unsigned topology_count;            /* 0: one shard always */
    unsigned session_commits;           /* 0: sessions end by deaths and with the run only */
    enum fr_turn turn;
    struct fr_kill kills[FR_MAX_KILLS];
    unsigned kill_count;
    const char *kill_files[FR_MAX_KILLS];
    bool kill_file_used[FR_MAX_KILLS];
    unsigned kill_file_count;
    const char *hard_delete; /* "yes", "no" or NULL: as the configuration says */
};

/* Where the seconds of a session go: until Opened, until Acknowledged, Flushed, StartedCommit.
   Loads that are sent before Acknowledged count as apply. */
enum fr_phase { FR_PHASE_OPEN, FR_PHASE_APPLY, FR_PHASE_LOAD, FR_PHASE_STORE, FR_PHASE_COUNT };

/* One process of the session and the keys it owns. */
struct fr_shard {
    struct fr_run *run;
    unsigned index;
    uint32_t key_begin, key_end; /* hashes of packed keys, both inclusive */
    struct fr_peer peer;
    bool acknowledged, flush_sent, flushed;
    bool is_ending;               /* its input was closed: its end is no crash */
    const struct fr_json *update; /* state update of the phase, kept in run->phase_arena */
};

struct fr_run {
    struct fr_options options;
    struct fr_task task;
    struct fr_source source;
    struct fr_reclog log;
    struct fr_shard shards[FR_MAX_SHARDS]; /* the first one also does Spec, Validate, Apply */
    unsigned shard_count;                  /* of the current session */
    struct fr_launch launch;
    int observer_fd;
    struct fr_random random;
    struct fr_keymap model; /* what is committed, standard bindings */

    /* Where the source stands, and how far it was ever read. */
    uint64_t position, marks, high_water;

    /* The current session. */
    struct fr_arena message_arena;
    struct fr_arena phase_arena; /* of the updates that shards returned in one phase */
    bool acknowledged;           /* all shards have, and it is in the log */
    bool disable_load_optimization;
    unsigned in_flight_kill; /* index + 1 of a kill that waits for its delay */
    struct fr_shard *kill_victim;
    int64_t kill_time_ms;
    bool expected_death;
    unsigned session_commits, sessions;
    struct fr_buf started_patches, flushed_patches, acknowledged_patches; /* v2, framed */

    /* The current transaction. */
    struct fr_keymap txn;
    struct fr_arena txn_arena;
    struct fr_link *links; /* documents of keys */
    size_t link_count, link_room;
    struct fr_buf *max_keys; /* per binding, committed */
    struct fr_buf *txn_max_keys;
    uint64_t txn_loads_sent, txn_loads_answered;
    uint64_t txn_loads_found; /* of generated documents: sent for keys that are stored */

    /* Message counters for --kill-at. */
    struct fr_counter *counters;
    size_t counter_count;

    /* The report. */
    uint64_t documents, transactions, loads, loaded, stores, deletes, updates;
    unsigned kills, restarts;
    double seconds;
    double phase_seconds[FR_PHASE_COUNT], phase_cpu[FR_PHASE_COUNT];
    double mark_seconds, mark_cpu; /* when the phase began */

    struct fr_buf verdict; /* one line: the rule, the failure or the mismatch */
};

/* Everything from reading the catalog to the summary; the summary is written to summary. */
enum fr_end fr_run(struct fr_run *run, struct fr_buf *summary);
void fr_run_done(struct fr_run *run);

/* ---- steps, in prepare.c and session.c */

enum fr_end fr_session_prepare(struct fr_run *run); /* Spec, Validate, Apply as far as needed */
/* One session, until the run is over, the topology changes or a process dies. */
enum fr_end fr_session_transactions(struct fr_run *run);
bool fr_session_is_drained(const struct fr_run *run);
bool fr_session_must_stop(const struct fr_run *run); /* the run is over */

/* ---- one transaction's documents, in traffic.c */

struct fr_link {
    uint64_t position;
    uint32_t next; /* FR_NOWHERE at the end */
};

struct fr_stored {
    struct fr_json *doc;
    struct fr_buf *values; /* packed or JSON, by codec and mode */
    struct fr_buf *text;   /* the document as it is sent and kept */
    bool exists, deleted;
    bool removed; /* a hard delete: the destination holds nothing afterwards */
    bool plain;   /* just the one document of the source, unreduced */
};

/* The shard that owns a packed key. */
struct fr_shard *fr_traffic_route(struct fr_run *run, const char *key, size_t len);
/* Reads the documents of [from, to) into the transaction. */
enum fr_end fr_traffic_collect(struct fr_run *run, uint64_t from, uint64_t to);
void fr_traffic_clear(struct fr_run *run);
/* Reduces an entry's documents into its Loaded document and renders the row. */
enum fr_end fr_traffic_reduce(struct fr_run *run,
                              struct fr_entry *entry,
                              struct fr_arena *arena,
                              struct fr_stored *ret);
void fr_traffic_put_load(struct fr_shard *shard, uint32_t binding, const char *key, size_t len);
void fr_traffic_put_store(struct fr_shard *shard,
                          uint32_t binding,
                          const char *key,
                          size_t len,
                          const struct fr_stored *stored);
/* rebuilt.c: is it what can be made of the columns of this document? */
bool fr_rebuilt_is(const struct fr_binding *binding,
                   const struct fr_json *stored,
                   const struct fr_json *loaded);
/* Is the Loaded document right? Marks the entry. */
enum fr_end fr_traffic_loaded(struct fr_shard *shard, const struct fr_json *loaded);
/* The committed document of an entry of the model, or NULL. */
struct fr_json *
fr_traffic_model_document(struct fr_run *run, struct fr_arena *arena, const struct fr_entry *entry);
/* Moves the transaction of [from, to) into the model and the largest keys. */
void fr_traffic_commit(struct fr_run *run, uint64_t from, uint64_t to);
/* Builds the model from the source up to the committed position. */
enum fr_end fr_traffic_rebuild(struct fr_run *run);
enum fr_end fr_traffic_dump(struct fr_run *run, const char *dir);

/* ---- signals of source backfills (v2), in backfill.c */

/* Appends what Flush says of them in the transaction of [from, to): members of its JSON form
   without a comma around them, or fields. Nothing when there is nothing to say. */
void fr_backfill_put(struct fr_run *run, uint64_t from, uint64_t to, struct fr_buf *out);
/* What they supersede is no longer in the model. */
void fr_backfill_commit(struct fr_run *run, uint64_t from, uint64_t to);

/* Sets the verdict and returns end. */
enum fr_end fr_verdict(struct fr_run *run, enum fr_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
