/*
 * connector/connector: life cycle. In: bytes of stdin, lent to the decoder without a copy. Out:
 * encoded responses to stdout, and the end: first the engine, then the HTTP client, then stdio.
 *
 *      RUNNING -> CLOSING_WORK -> CLOSING_ENGINE -> CLOSING_HTTP -> CLOSING_IO ->
 *      CLOSING_CAPTURE -> ended
 */

#include "connector/session.h"

#include "base/log.h"
#include "proto/rewrite.h"

#define END_STATES(X)                                                                              \
    X(RUNNING) X(CLOSING_WORK) X(CLOSING_ENGINE) X(CLOSING_HTTP) X(CLOSING_IO) X(CLOSING_CAPTURE)
#define END_ENUM(name) END_##name,
enum end_state { END_STATES(END_ENUM) };
static const char *const end_state_names[] = {END_STATES(OP_STATE_NAME)};
static const uint32_t end_moves[] = {
    [END_RUNNING] = OP_MOVE(END_CLOSING_WORK),
    [END_CLOSING_WORK] = OP_MOVE(END_CLOSING_ENGINE),
    [END_CLOSING_ENGINE] = OP_MOVE(END_CLOSING_HTTP),
    [END_CLOSING_HTTP] = OP_MOVE(END_CLOSING_IO),
    [END_CLOSING_IO] = OP_MOVE(END_CLOSING_CAPTURE),
};

/* What is queued for the capture is written when there is nothing else to do any more. Less than
 * the time that a container gets to end. */
#define CAPTURE_END_MS 10000

/* Requests that are trees: a spec of thousands of bindings. */
#define REQUEST_ARENA_BYTES ((size_t)1024 * 1024 * 1024)

/* ---------------------------------------------------------------- bytes */

static void io_alloc(void *ctx, char **ret_ptr, size_t *ret_len)
{
    struct connector *self = ctx;
    proto_decoder_reserve(self->decoder, ret_ptr, ret_len);
}

static void io_read(void *ctx, size_t len)
{
    struct connector *self = ctx;

    if (len == 0) {
        self->input_ended = true;
    } else {
        proto_decoder_commit(self->decoder, len);
    }
    session_run(self);
}

static void io_error(void *ctx, struct error *err)
{
    connector_end(ctx, err);
}

static void io_drained(void *ctx)
{
    struct connector *self = ctx;
    if (self->txn) {
        txn_resume_loaded(self->txn);
    }
}

/* ---------------------------------------------------------------- capture */

/* Requests that carry configurations are written without their secrets; one that cannot be read
 * cannot be searched for them, so only its length is written. */
static void capture_request(void *ctx, unsigned kind, struct span frame)
{
    struct connector *self = ctx;
    struct buf redacted;
    struct error *err;

    if (kind >= PROTO_LOAD) {
        capture_add(self->capture, CAPTURE_REQUEST, frame);
        return;
    }
    buf_init(&redacted, 2 * PROTO_MAX_FRAME);
    err = proto_redact(self->options.codec, frame, &redacted);
    if (kind == 0 || err || buf_is_full(&redacted)) {
        error_drop(err, "the request itself tells what is wrong with it");
        capture_add_withheld(self->capture, CAPTURE_REQUEST, frame.len);
    } else {
        capture_add(self->capture, CAPTURE_REQUEST, buf_view(&redacted));
    }
    buf_done(&redacted);
}

/* One message as it was encoded: behind its length, or in front of its newline. */
static void capture_response(struct connector *self)
{
    struct span frame = buf_view(&self->out);
    const bool is_json = self->options.codec == PROTO_CODEC_JSON;

    if (self->capture) {
        frame.ptr += is_json ? 0 : 4;
        frame.len -= is_json ? 1 : 4;
        capture_add(self->capture, CAPTURE_RESPONSE, frame);
    }
}

static void capture_stopped(void *ctx, struct error *err)
{
    struct connector *self = ctx;

    log_event(LOG_WARN, "the capture of this session ends here",
              LOG_STR("path", capture_path(self->capture)), LOG_STR("error", error_text(err)),
              LOG_END);
    error_free(err);
}

static void capture_closed(void *ctx)
{
    struct connector *self = ctx;

    self->capture_closed = true;
    op_mark(&self->end);
}

/* A capture that cannot begin is no reason to refuse the work. */
static void start_capture(struct connector *self)
{
    const struct capture_options options = {
        .path = self->options.capture_path,
        .limit_bytes = self->options.capture_limit_bytes,
        .version = PRODUCT_VERSION,
        .codec = self->options.codec == PROTO_CODEC_JSON ? "json" : "proto",
        .unix_seconds = loop_unix_seconds(self->loop),
    };

    if (!options.path || !*options.path) {
        return;
    }
    struct error *err = capture_new(self->loop, &options, capture_stopped, self, &self->capture);
    if (err) {
        log_event(LOG_WARN, "this session is not captured", LOG_STR("error", error_text(err)),
                  LOG_END);
        error_free(err);
        return;
    }
    log_event(LOG_INFO, "this session is captured", LOG_STR("path", capture_path(self->capture)),
              LOG_END);
    proto_decoder_observe(self->decoder, capture_request, self);
}

/* ---------------------------------------------------------------- responses */

void connector_send(struct connector *self)
{
    CHECK(!buf_is_full(&self->out));
    if (!self->is_ending) {
        capture_response(self);
        stdio_write(self->io, buf_view(&self->out));
    }
    buf_clear(&self->out);
}

/* ---------------------------------------------------------------- the end */

static void http_closed(void *ctx)
{
    struct connector *self = ctx;
    self->http_closed = true;
    op_mark(&self->end);
}

static void close_engine(struct connector *self)
{
    if (self->txn) {
        op_reply_expect(&self->engine_reply, &self->end);
        txn_close(self->txn, self->last_words == NULL, op_reply_done, &self->engine_reply);
    }
    if (self->trigger) {
        trigger_close(self->trigger);
    }
    op_set_state(&self->end, END_CLOSING_ENGINE);
}

static void close_http(struct connector *self)
{
    txn_free(self->txn);
    self->txn = NULL;
    stage_free(self->stage);
    self->stage = NULL;
    opening_forget_world(self);
    http_client_close(self->http, http_closed, self);
    op_set_state(&self->end, END_CLOSING_HTTP);
}

static void close_capture(struct connector *self)
{
    if (self->capture) {
        capture_close(self->capture, self->last_words == NULL, capture_closed, self);
        self->capture_timer = timer_new(&self->end);
        timer_start(self->capture_timer, CAPTURE_END_MS);
    }
    op_set_state(&self->end, END_CLOSING_CAPTURE);
}

/* Its disk hangs. The worker still has the capture, which therefore stays where it is. */
static void leave_capture(const struct connector *self)
{
    log_event(LOG_WARN, "the capture of this session is incomplete: the disk does not take it",
              LOG_STR("path", capture_path(self->capture)), LOG_END);
}

static void end_step(struct op *op)
{
    struct connector *self = CONTAINER_OF(op, struct connector, end);
    struct error *err;

    switch ((enum end_state)op->state) {
    case END_RUNNING:
        if (self->is_ending) {
            op_set_state(op, END_CLOSING_WORK);
        } else {
            progress_look(&self->progress);
        }
        break;
    case END_CLOSING_WORK:
        if (!self->work) {
            close_engine(self);
        }
        break;
    case END_CLOSING_ENGINE:
        if (op_reply_take(&self->engine_reply, &err)) {
            error_drop(err, "the reason to close is reported");
        }
        if (op_reply_take(&self->trigger_reply, &err)) {
            error_drop(err, "nothing depends on the trigger");
            self->trigger = NULL;
        }
        if (!self->engine_reply.awaited && !self->trigger_reply.awaited) {
            close_http(self);
        }
        break;
    case END_CLOSING_HTTP:
        if (self->http_closed && self->open_ways == 0) {
            op_reply_expect(&self->io_reply, op);
            stdio_close(self->io, op_reply_done, &self->io_reply);
            op_set_state(op, END_CLOSING_IO);
        }
        break;
    case END_CLOSING_IO:
        if (op_reply_take(&self->io_reply, &err)) {
            self->last_words = error_join(self->last_words, err);
            close_capture(self);
        }
        break;
    case END_CLOSING_CAPTURE:
        if (!self->capture || self->capture_closed) {
            op_finish_won(op);
        } else if (timer_has_expired(self->capture_timer)) {
            leave_capture(self);
            op_finish_won(op);
        }
        break;
    }
}

static const struct op_kind end_kind = {
    .name = "connector",
    .state_names = end_state_names,
    .state_count = ARRAY_LEN(end_state_names),
    .moves = end_moves,
    .step = end_step,
};

static void end_done(void *ctx, struct error *err)
{
    struct connector *self = ctx;
    struct error *last_words = self->last_words;

    error_drop(err, "ending cannot fail");
    self->last_words = NULL;
    self->ended(self->ctx, last_words);
}

void connector_end(struct connector *self, struct error *err)
{
    if (self->is_ending) {
        error_drop(err, "the first reason to end is reported");
        return;
    }
    self->is_ending = true;
    self->last_words = err;
    self->state = SESSION_ENDING;
    stdio_pause(self->io);
    if (self->work) {
        op_cancel(self->work);
    }
    op_mark(&self->end);
}

void connector_stop(struct connector *self)
{
    connector_end(self, error_new(ERROR_CANCELLED, ERROR_ABORT, "stopped by a signal"));
}

/* ---------------------------------------------------------------- life cycle */

struct error *connector_new(struct loop *loop,
                            const struct connector_options *options,
                            connector_ended_fn *ended,
                            void *ctx,
                            struct connector **ret)
{
    struct connector *self = mem_alloc(sizeof *self);
    struct stdio_callbacks callbacks = {io_alloc, io_read, io_error, io_drained, self};

    self->loop = loop;
    self->options = *options;
    self->started_ms = loop_unix_nanos(loop) / 1000000;
    self->ended = ended;
    self->ctx = ctx;
    struct error *err =
        stdio_new(loop, options->in_fd, options->out_fd, options->credit, &callbacks, &self->io);
    if (err) {
        mem_free(self);
        return err;
    }
    self->decoder = proto_decoder_new(options->codec);
    self->arena = arena_new(REQUEST_ARENA_BYTES);
    self->message_arena = arena_new(REQUEST_ARENA_BYTES);
    buf_init(&self->out, PROTO_MAX_FRAME * 2);
    buf_init(&self->key_scratch, PROTO_MAX_FRAME);
    buf_init(&self->value_scratch, PROTO_MAX_FRAME);
    self->http = http_client_new(loop, &(struct http_client_options){.max_host_connections = 8});
    op_init(&self->end, loop, &end_kind, end_done, self);
    progress_init(&self->progress, &self->end, &self->figures, options->progress_ms,
                  session_add_wait, session_ask_wait, self);
    start_capture(self);
    stdio_start_reading(self->io);
    *ret = self;
    return NULL;
}

void connector_free(struct connector *self)
{
    if (!self) {
        return;
    }
    stdio_free(self->io);
    capture_free(self->capture);
    proto_decoder_free(self->decoder);
    arena_free(self->arena);
    arena_free(self->message_arena);
    buf_done(&self->out);
    buf_done(&self->key_scratch);
    buf_done(&self->value_scratch);
    mem_free(self);
}
