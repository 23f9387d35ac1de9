#ifndef CONNECTOR_SESSION_H
#define CONNECTOR_SESSION_H

/*
 * The inside of struct connector, for the files of this room only.
 *
 *   connector.c   life cycle: bytes in, bytes out, the end
 *   session.c     is this request legal now? hand it on; answers back
 *   opening.c     Open: configuration, catalog, engine
 *   progress.c    phases in the log; summary.c: a line per transaction; measure.c: metrics
 *   validate.c, apply.c, prerequisite.c, catalog_read.c   short requests, as operations
 *   apply_run.c   what Apply planned, done side by side
 *   config.c, spec.c, binding.c, constraint.c, apply_plan.c   pure
 */

#include "capture/capture.h"
#include "connector/connector.h"
#include "connector/progress.h"
#include "connector/summary.h"
#include "connector/validate.h"
#include "runtime/stdio.h"
#include "txn/txn.h"

enum session_state {
    SESSION_IDLE,      /* Spec, Validate, Apply, Open */
    SESSION_BUSY,      /* one of them is being answered; nothing is read meanwhile */
    SESSION_OPENED,    /* the first Acknowledge */
    SESSION_LOADING,   /* Load, Flush; an acknowledge may be under way */
    SESSION_FLUSHING,  /* nothing */
    SESSION_STORING,   /* Store, StartCommit */
    SESSION_STARTING,  /* nothing */
    SESSION_COMMITTED, /* Acknowledge */
    SESSION_ENDING     /* nothing is read any more */
};

struct session_binding { /* scratch for the tuples of one binding */
    struct value *keys, *values;
    unsigned key_count, value_count;
};

struct connector {
    struct loop *loop;
    struct connector_options options;
    int64_t started_ms; /* wall clock, at the start of this process */
    connector_ended_fn *ended;
    void *ctx;

    struct stdio *io;
    struct proto_decoder *decoder;
    struct buf out;          /* one encoded response at a time */
    struct capture *capture; /* NULL: the session is not written down */
    bool input_ended;
    enum session_state state;

    /* The request that is being answered, and the world it speaks of. */
    struct arena *arena;
    struct arena *message_arena; /* of one request of an open session: nothing outlives it */
    struct http_client *http;
    struct config *config;
    struct world world;
    bool has_world;
    struct figures figures;
    struct op *work; /* validate, apply or the opening, while under way */
    struct validate_result validated;
    struct apply_result applied;

    /* The opened session. */
    struct stage *stage;
    struct txn *txn;
    struct trigger *trigger; /* NULL: none is configured */
    struct op_reply trigger_reply;
    struct session_binding *bindings;
    unsigned binding_count;
    struct buf key_scratch, value_scratch;
    bool is_acknowledging; /* Acknowledge was read, Acknowledged not written */
    bool has_loads;        /* of the transaction that is being read */
    uint64_t round;        /* of the transaction that is being read, from 0 */
    struct progress progress;
    struct summary summary;

    /* The end. */
    struct op end;
    bool is_ending;
    struct error *last_words;
    struct op_reply engine_reply, io_reply;
    bool http_closed, capture_closed;
    struct timer *capture_timer; /* how long the last of the capture may take */
    unsigned open_ways;          /* tunnels that are being closed */
};

/* Reads requests from the decoder until it wants more bytes or the session must wait. */
void session_run(struct connector *self);
/* The input ended: cleanly, or where it must not. */
void session_input_ended(struct connector *self);
/* Begins the end; the first call wins. err NULL: a clean one. Consumes err. */
void connector_end(struct connector *self, struct error *err);
/* Sends what is in self->out. */
void connector_send(struct connector *self);

/* What a phase waits for, in words; ctx is the connector. */
progress_wait_fn session_add_wait;
progress_ask_fn session_ask_wait;
void session_wait_known(void *ctx);

/* The engine's answers; ctx is the connector. */
void session_applied(void *ctx);
void session_acknowledged(void *ctx, struct span patch_json);
void session_loaded(void *ctx, unsigned binding, struct span doc_json);
void session_flushed(void *ctx);
void session_started_commit(void *ctx, struct span patch_json);
void session_failed(void *ctx, struct error *err);

/* ---- opening.c */
void opening_start(struct connector *self, const struct proto_open *request);
/* From the request's config to self->config and self->world. */
struct error *opening_world(struct connector *self, struct span config_json) MUST_CHECK;
void opening_forget_world(struct connector *self);
/* The opening ended: engine open and Opened to be written, or an error. */
void session_opened(struct connector *self, struct error *err);

#endif
