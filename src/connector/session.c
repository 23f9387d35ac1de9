/*
 * connector/session: the one room that knows both the wire and the engine. In: decoded requests, in
 * whatever order the runtime sends them. Out: calls of the engine where the request is legal now,
 * an error that says what was expected where it is not; and the engine's answers as responses.
 *
 *      IDLE -> BUSY -> IDLE                          Spec, Validate, Apply
 *        \-> BUSY -> OPENED -> LOADING -> FLUSHING -> STORING -> STARTING -> COMMITTED -> LOADING
 * ... Acknowledge   Flush    Flushed   StartCommit  StartedCommit  Acknowledge
 */

#include "connector/session.h"

#include "base/log.h"
#include "proto/tuple.h"
#include "json/write.h"

static const char *const state_names[] = {
    [SESSION_IDLE] = "Spec, Validate, Apply or Open",
    [SESSION_BUSY] = "nothing before the last request is answered",
    [SESSION_OPENED] = "Acknowledge after Opened",
    [SESSION_LOADING] = "Load or Flush",
    [SESSION_FLUSHING] = "nothing before Flushed",
    [SESSION_STORING] = "Store or StartCommit",
    [SESSION_STARTING] = "nothing before StartedCommit",
    [SESSION_COMMITTED] = "Acknowledge after StartedCommit",
    [SESSION_ENDING] = "nothing",
};

static void send_or_end(struct connector *self, struct error *err)
{
    if (err) {
        connector_end(self, error_wrap(err, "encoding a response"));
    } else {
        connector_send(self);
    }
}

/* ---------------------------------------------------------------- Spec, Validate, Apply */

static void answer_spec(struct connector *self)
{
    const char *url = self->options.documentation_url;
    struct proto_spec_answer answer = {
        .config_schema_json = spec_config_schema(),
        .resource_config_schema_json = spec_resource_schema(),
        .documentation_url = span_of(url && *url ? url : spec_documentation_url()),
    };
    send_or_end(self, proto_encode_spec(self->options.codec, &self->out, &answer));
}

/* The answer to a short request was written: its world goes, the next request may be read. */
static void become_idle(struct connector *self)
{
    opening_forget_world(self);
    if (self->state == SESSION_BUSY) {
        self->state = SESSION_IDLE;
        stdio_resume(self->io);
        session_run(self);
    }
}

/* The end may be waiting for just this. */
static void work_ended(struct connector *self)
{
    self->work = NULL;
    op_mark(&self->end);
}

static void validate_done(void *ctx, struct error *err)
{
    struct connector *self = ctx;

    work_ended(self);
    if (err) {
        connector_end(self, err);
        return;
    }
    proto_encode_validated(self->options.codec, &self->out, self->validated.bindings,
                           self->validated.count);
    connector_send(self);
    become_idle(self);
}

static void apply_done(void *ctx, struct error *err)
{
    struct connector *self = ctx;

    work_ended(self);
    if (err) {
        connector_end(self, err);
        return;
    }
    send_or_end(self, proto_encode_applied(self->options.codec, &self->out, self->applied.action,
                                           self->applied.patch_json));
    become_idle(self);
}

static struct error *start_validate(struct connector *self, const struct proto_validate *request)
{
    RETURN_IF_ERROR(opening_world(self, request->config_json));
    self->work =
        validate_start(&self->world, self->arena, request, &self->validated, validate_done, self);
    return NULL;
}

static struct error *start_apply(struct connector *self, const struct proto_apply *request)
{
    if (!request->materialization) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "Apply has no materialization");
    }
    RETURN_IF_ERROR(opening_world(self, request->materialization->config_json));
    self->work = apply_start(&self->world, self->arena, request, &self->applied, apply_done, self);
    return NULL;
}

/* Until it is answered nothing more is read. */
static void become_busy(struct connector *self)
{
    self->state = SESSION_BUSY;
    stdio_pause(self->io);
}

/* ---------------------------------------------------------------- the engine's answers */

void session_opened(struct connector *self, struct error *err)
{
    work_ended(self);
    if (err) {
        connector_end(self, err);
        return;
    }
    bool disable_optimization = self->config->flags.allow_existing_tables_for_new_bindings ||
                                self->config->flags.retain_existing_data_on_backfill;
    send_or_end(self, proto_encode_opened(self->options.codec, &self->out,
                                          txn_checkpoint(self->txn), true, disable_optimization));
    if (self->state == SESSION_BUSY) {
        self->summary.began_ms = loop_now_ms(self->loop);
        progress_enter(&self->progress, PROGRESS_READING, PROGRESS_NONE, 0);
        log_event(LOG_INFO, "Running", LOG_STR("eventType", "connectorStatus"), LOG_END);
        self->state = SESSION_OPENED;
        stdio_resume(self->io);
        session_run(self);
    }
}

/* What follows, if anything, is the schedule's delay. */
void session_applied(void *ctx)
{
    struct connector *self = ctx;

    progress_enter(&self->progress, PROGRESS_APPLYING, PROGRESS_NONE,
                   self->progress.tracks[PROGRESS_APPLYING].round);
    if (self->trigger) {
        trigger_signal(self->trigger);
    }
}

/* Keys were read and nothing stands before their lookup any more. */
static void note_lookup(struct connector *self)
{
    if (self->state == SESSION_FLUSHING && !self->is_acknowledging && self->has_loads) {
        progress_enter(&self->progress, PROGRESS_READING, PROGRESS_EVALUATING, self->round);
    }
}

/* The first acknowledgement is that of the recovery, before any transaction. */
static void note_acknowledged(struct connector *self)
{
    uint64_t round = self->progress.tracks[PROGRESS_APPLYING].round;

    self->figures.acknowledged_at = loop_unix_seconds(self->loop);
    progress_enter(&self->progress, PROGRESS_APPLYING, PROGRESS_NONE, 0);
    summary_say(&self->summary, &self->figures, round, loop_now_ms(self->loop));
    if (self->state == SESSION_LOADING && !self->has_loads && !self->input_ended) {
        progress_enter(&self->progress, PROGRESS_READING, PROGRESS_WAITING, self->round);
    }
    note_lookup(self);
}

void session_acknowledged(void *ctx, struct span patch_json)
{
    struct connector *self = ctx;

    self->is_acknowledging = false;
    send_or_end(self, proto_encode_acknowledged(self->options.codec, &self->out, patch_json));
    note_acknowledged(self);
    if (self->input_ended && self->state == SESSION_LOADING) {
        session_input_ended(self);
    }
}

void session_loaded(void *ctx, unsigned binding, struct span doc_json)
{
    struct connector *self = ctx;

    progress_need(&self->progress, PROGRESS_READING, PROGRESS_LOADED, self->round);
    self->figures.loaded++;
    send_or_end(self, proto_encode_loaded(self->options.codec, &self->out, binding, doc_json));
    if (stdio_is_backed_up(self->io)) {
        txn_pause_loaded(self->txn);
    }
}

void session_flushed(void *ctx)
{
    struct connector *self = ctx;

    if (self->state == SESSION_FLUSHING) {
        self->state = SESSION_STORING;
        progress_enter(&self->progress, PROGRESS_READING, PROGRESS_NONE, 0);
        send_or_end(self, proto_encode_flushed(self->options.codec, &self->out, SPAN_NONE));
    }
}

void session_started_commit(void *ctx, struct span patch_json)
{
    struct connector *self = ctx;

    if (self->state == SESSION_STARTING) {
        self->state = SESSION_COMMITTED;
        send_or_end(self, proto_encode_started_commit(self->options.codec, &self->out, patch_json));
        progress_enter(&self->progress, PROGRESS_READING, PROGRESS_NONE, 0);
        progress_enter(&self->progress, PROGRESS_APPLYING, PROGRESS_COMMIT, self->round);
        summary_stage(&self->summary, &self->figures);
        self->round++;
    }
}

void session_failed(void *ctx, struct error *err)
{
    connector_end(ctx, err);
}

/* ---------------------------------------------------------------- the engine's calls */

static struct error *take_load(struct connector *self, const struct proto_load *load)
{
    if (load->binding >= self->binding_count) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "Load names binding %u of %u", load->binding,
                         self->binding_count);
    }
    struct session_binding *binding = &self->bindings[load->binding];
    RETURN_IF_ERROR(
        error_wrap(tuple_read(&load->key, binding->keys, binding->key_count, &self->key_scratch),
                   "key of a Load for binding %u", load->binding));
    self->has_loads = true;
    progress_need(&self->progress, PROGRESS_READING, PROGRESS_LOADS, self->round);
    self->figures.loads++;
    return txn_load(self->txn, load->binding, binding->keys);
}

static struct error *take_store(struct connector *self, const struct proto_store *store)
{
    if (store->binding >= self->binding_count) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "Store names binding %u of %u",
                         store->binding, self->binding_count);
    }
    struct session_binding *binding = &self->bindings[store->binding];
    RETURN_IF_ERROR(
        error_wrap(tuple_read(&store->key, binding->keys, binding->key_count, &self->key_scratch),
                   "key of a Store for binding %u", store->binding));
    RETURN_IF_ERROR(error_wrap(
        tuple_read(&store->values, binding->values, binding->value_count, &self->value_scratch),
        "values of a Store for binding %u", store->binding));
    progress_need(&self->progress, PROGRESS_READING, PROGRESS_STORES, self->round);
    self->figures.stores++;
    return txn_store(self->txn, store->binding, binding->keys, binding->values, store->doc_json,
                     store->exists, store->is_delete);
}

/* The signals of source backfills. Of a beginning nothing is to be done: the runtime itself sends
 * no document any more that is older. At the end the tables can follow. */
static struct error *take_flush(struct connector *self, const struct proto_flush *flush)
{
    const struct config_flags *flags = &self->config->flags;

    for (unsigned i = 0; i < flush->complete_count; i++) {
        const struct proto_backfill *ended = &flush->completes[i];
        if (flags->truncate_after_backfill && !flags->retain_existing_data_on_backfill) {
            RETURN_IF_ERROR(
                txn_delete_before(self->txn, ended->binding, ended->seconds, ended->nanos));
        }
    }
    self->state = SESSION_FLUSHING;
    progress_enter(&self->progress, PROGRESS_READING, PROGRESS_NONE, 0);
    note_lookup(self);
    txn_flush(self->txn);
    return NULL;
}

static void take_acknowledge(struct connector *self, const struct proto_acknowledge *acknowledge)
{
    if (self->state == SESSION_OPENED) {
        progress_enter(&self->progress, PROGRESS_APPLYING, PROGRESS_RECOVERY, 0);
    }
    self->state = SESSION_LOADING;
    self->is_acknowledging = true;
    self->has_loads = false;
    txn_acknowledge(self->txn, acknowledge->state_patches_json);
}

/* ---------------------------------------------------------------- dispatch */

static struct error *unexpected(const struct connector *self, const struct proto_request *request)
{
    return error_new(ERROR_PROTOCOL, ERROR_FATAL,
                     "the runtime sent %s where this connector expects %s",
                     proto_request_name(request->kind), state_names[self->state]);
}

static struct error *take_when_idle(struct connector *self, const struct proto_request *request)
{
    switch (request->kind) {
    case PROTO_SPEC:
        answer_spec(self);
        return NULL;
    case PROTO_VALIDATE:
        become_busy(self);
        return start_validate(self, request->u.validate);
    case PROTO_APPLY:
        become_busy(self);
        return start_apply(self, request->u.apply);
    case PROTO_OPEN:
        become_busy(self);
        opening_start(self, request->u.open);
        return NULL;
    default:
        return unexpected(self, request);
    }
}

static struct error *take(struct connector *self, const struct proto_request *request)
{
    switch (self->state) {
    case SESSION_IDLE:
        return take_when_idle(self, request);
    case SESSION_OPENED:
    case SESSION_COMMITTED:
        if (request->kind == PROTO_ACKNOWLEDGE) {
            take_acknowledge(self, &request->u.acknowledge);
            return NULL;
        }
        break;
    case SESSION_LOADING:
        if (request->kind == PROTO_LOAD) {
            return take_load(self, &request->u.load);
        } else if (request->kind == PROTO_FLUSH) {
            return take_flush(self, &request->u.flush);
        }
        break;
    case SESSION_STORING:
        if (request->kind == PROTO_STORE) {
            return take_store(self, &request->u.store);
        } else if (request->kind == PROTO_START_COMMIT) {
            self->state = SESSION_STARTING;
            progress_enter(&self->progress, PROGRESS_READING,
                           self->progress.tracks[PROGRESS_READING].step == PROGRESS_STORES
                               ? PROGRESS_STAGING
                               : PROGRESS_NONE,
                           self->round);
            txn_start_commit(self->txn);
            return NULL;
        }
        break;
    case SESSION_BUSY:
    case SESSION_FLUSHING:
    case SESSION_STARTING:
    case SESSION_ENDING:
        break;
    }
    return unexpected(self, request);
}

/* Requests before the session come one at a time and own their arena until they are answered; Open
 * owns it for the length of the session. */
static struct arena *request_arena(struct connector *self)
{
    struct arena *arena = self->state == SESSION_IDLE ? self->arena : self->message_arena;
    arena_reset(arena);
    return arena;
}

void session_run(struct connector *self)
{
    struct proto_request request;
    bool have = true;

    while (self->state != SESSION_BUSY && self->state != SESSION_ENDING) {
        struct error *err = proto_decoder_next(self->decoder, request_arena(self), &request, &have);
        if (err) {
            connector_end(self, error_wrap(err, "reading a request"));
            return;
        }
        if (!have) {
            break;
        }
        err = take(self, &request);
        if (err) {
            connector_end(self, err);
            return;
        }
    }
    if (self->input_ended && self->state != SESSION_BUSY) {
        session_input_ended(self);
    }
}

/* ---------------------------------------------------------------- what is waited for */

static void add_wait_for_input(const struct connector *self, struct buf *out)
{
    buf_add_str(out, credit_is_open(self->options.credit)
                         ? "the runtime"
                         : "S3, which has to take rows before more are read");
}

void session_add_wait(void *ctx, enum progress_step step, struct buf *out)
{
    const struct connector *self = ctx;

    switch (step) {
    case PROGRESS_OPEN:
        if (self->txn) {
            txn_add_wait(self->txn, TXN_OPENING, out);
        } else {
            buf_add_str(out, "the warehouse: what exists is read");
        }
        break;
    case PROGRESS_LOADS:
    case PROGRESS_STORES:
        add_wait_for_input(self, out);
        break;
    case PROGRESS_EVALUATING:
        txn_add_wait(self->txn, TXN_LOOKING_UP, out);
        break;
    case PROGRESS_LOADED:
        if (stdio_is_backed_up(self->io)) {
            buf_add_str(out, "the runtime, which does not read its documents");
        } else {
            txn_add_wait(self->txn, TXN_LOOKING_UP, out);
        }
        break;
    case PROGRESS_STAGING:
        buf_add_str(out, "S3");
        break;
    case PROGRESS_RECOVERY:
    case PROGRESS_COMMIT:
        if (self->is_acknowledging) {
            txn_add_wait(self->txn, TXN_APPLYING, out);
        } else {
            buf_add_str(out, "the runtime");
        }
        break;
    case PROGRESS_NONE:
    case PROGRESS_WAITING:
    case PROGRESS_COUNT:
        break;
    }
}

/* Only a statement waits for locks and queues. */
bool session_ask_wait(void *ctx, enum progress_step step)
{
    struct connector *self = ctx;

    switch (step) {
    case PROGRESS_OPEN:
        return self->txn && txn_ask_wait(self->txn);
    case PROGRESS_EVALUATING:
        return txn_ask_wait(self->txn);
    case PROGRESS_RECOVERY:
    case PROGRESS_COMMIT:
        return self->is_acknowledging && txn_ask_wait(self->txn);
    case PROGRESS_NONE:
    case PROGRESS_WAITING:
    case PROGRESS_LOADS:
    case PROGRESS_LOADED:
    case PROGRESS_STORES:
    case PROGRESS_STAGING:
    case PROGRESS_COUNT:
        break;
    }
    return false;
}

void session_wait_known(void *ctx)
{
    struct connector *self = ctx;
    progress_answered(&self->progress);
}

/* ---------------------------------------------------------------- the end of input */

void session_input_ended(struct connector *self)
{
    struct error *err = proto_decoder_end(self->decoder);

    if (err) {
        connector_end(self, err);
        return;
    }
    switch (self->state) {
    case SESSION_IDLE:
    case SESSION_COMMITTED: /* what was staged is applied by the next session's first Acknowledge */
        connector_end(self, NULL);
        return;
    case SESSION_LOADING:
        if (self->has_loads) {
            break;
        }
        if (self->is_acknowledging) { /* Acknowledged is still to be written, but at once */
            txn_hurry(self->txn);
        } else {
            connector_end(self, NULL);
        }
        return;
    case SESSION_BUSY:
    case SESSION_ENDING:
        return;
    case SESSION_OPENED:
    case SESSION_FLUSHING:
    case SESSION_STORING:
    case SESSION_STARTING:
        break;
    }
    connector_end(self,
                  error_new(ERROR_PROTOCOL, ERROR_ABORT,
                            "the input ended inside a transaction, where this connector expects %s",
                            state_names[self->state]));
}
