/*
 * connector/trigger: starts a dbt job after new data arrived. In: signals of the session. Out: some
 * HTTP exchanges, one line in the log. It must never know a transaction, and nobody waits for it.
 *
 *      IDLE --signal--> WAITING --interval over--> LISTING -> CANCELLING -> STARTING -> IDLE
 *         '------------ interval over long ago ------^  '---------------------^
 *                                                 nothing runs, or nobody looks: straight on
 */

#include "connector/trigger.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/text.h"
#include "runtime/timer.h"
#include "json/scan.h"
#include "json/write.h"

#include <inttypes.h>
#include <stdio.h>

#define CONNECT_TIMEOUT_MS 10000
/* A page of runs, each described in some KiB. */
#define MAX_ANSWER_BYTES ((size_t)8 * 1024 * 1024)
#define CALL_ARENA_BYTES ((size_t)1024 * 1024)
#define MAX_KEY_BYTES 8192
#define MAX_RUNS 1000
#define MAX_MESSAGE_BYTES 300

#define TRIGGER_STATES(X) X(IDLE) X(WAITING) X(LISTING) X(CANCELLING) X(STARTING)
#define TRIGGER_ENUM(name) TRIGGER_##name,
enum trigger_state { TRIGGER_STATES(TRIGGER_ENUM) };
static const char *const state_names[] = {TRIGGER_STATES(OP_STATE_NAME)};
static const uint32_t moves[] = {
    [TRIGGER_IDLE] =
        OP_MOVE(TRIGGER_WAITING) | OP_MOVE(TRIGGER_LISTING) | OP_MOVE(TRIGGER_STARTING),
    [TRIGGER_WAITING] = OP_MOVE(TRIGGER_IDLE),
    [TRIGGER_LISTING] =
        OP_MOVE(TRIGGER_IDLE) | OP_MOVE(TRIGGER_CANCELLING) | OP_MOVE(TRIGGER_STARTING),
    [TRIGGER_CANCELLING] = OP_MOVE(TRIGGER_IDLE) | OP_MOVE(TRIGGER_STARTING),
    [TRIGGER_STARTING] = OP_MOVE(TRIGGER_IDLE),
};

/* What dbt calls queued, starting and running. A run goes through them in this order, and they are
 * asked for in this order, so none is missed because it moved meanwhile. */
static const int busy_statuses[] = {1, 2, 3};

struct trigger {
    struct op op;
    struct http_client *http;
    struct trigger_config config;
    struct timer *interval_timer, *total_timer;
    op_done_fn *done;
    void *ctx;

    bool is_signalled; /* fact: data arrived since the last beginning */
    bool has_begun;    /* began_ms holds */
    uint64_t began_ms;

    /* The attempt under way. */
    struct arena *arena; /* of one call */
    struct http_exchange *exchange;
    struct op_reply reply;
    unsigned status_index; /* LISTING: into busy_statuses */
    int64_t runs[MAX_RUNS];
    unsigned run_count, cancelled_count;
};

/* ---------------------------------------------------------------- one call */

/* Bytes that would end a header line, or that no key has. */
static bool is_key(struct span key)
{
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] <= ' ' || key.ptr[i] > '~') {
            return false;
        }
    }
    return key.len > 0 && key.len <= MAX_KEY_BYTES;
}

static void start_call(struct trigger *self, const char *method, const char *path, char *body)
{
    struct buf bearer;
    char *url = arena_printf(self->arena, "%s%s", self->config.base_url, path);

    buf_init(&bearer, 65536);
    buf_add_str(&bearer, "Bearer ");
    buf_add_span(&bearer, secret_view(self->config.api_key));
    const struct http_header headers[] = {
        {SPAN_LIT("Authorization"), buf_view(&bearer)},
        {SPAN_LIT("Accept"), SPAN_LIT("application/json;charset=UTF-8")},
        {SPAN_LIT("Content-Type"), SPAN_LIT("application/json;charset=UTF-8")},
        {SPAN_LIT("User-Agent"), SPAN_LIT("materialize-redshift/" PRODUCT_VERSION)},
    };
    const struct http_request request = {
        .method = method,
        .url = url,
        .headers = headers,
        .header_count = ARRAY_LEN(headers),
        .body = span_of(body),
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .stall_timeout_ms = self->config.total_timeout_ms,
        .max_response_bytes = MAX_ANSWER_BYTES,
    };
    op_reply_expect(&self->reply, &self->op);
    self->exchange = http_start(self->http, &request, op_reply_done, &self->reply);
    secret_wipe(bearer.data, bearer.len);
    buf_done(&bearer);
}

/* "/api/v2/accounts/<account>" and what follows; ids are a person's text. */
static char *
account_path(struct trigger *self, const char *before, const char *id, const char *after)
{
    struct buf path;

    buf_init(&path, 65536);
    buf_add_str(&path, "/api/v2/accounts/");
    text_add_percent(&path, span_of(self->config.account_id), false);
    buf_add_str(&path, before);
    text_add_percent(&path, span_of(id), false);
    buf_add_str(&path, after);
    char *text = arena_strndup(self->arena, buf_view(&path));
    buf_done(&path);
    return text;
}

static void start_listing(struct trigger *self)
{
    char status[32];

    (void)snprintf(status, sizeof status, "&status=%d", busy_statuses[self->status_index]);
    start_call(self, "GET",
               account_path(self, "/runs?job_definition_id=", self->config.job_id, status), NULL);
}

static void start_cancelling(struct trigger *self)
{
    char id[TEXT_INT_MAX + 1] = {0};

    text_int64(id, self->runs[self->cancelled_count]);
    start_call(self, "POST", account_path(self, "/runs/", id, "/cancel"), NULL);
}

static void start_job(struct trigger *self)
{
    struct json_writer writer;
    struct buf body;

    buf_init(&body, CALL_ARENA_BYTES / 2);
    json_writer_init(&writer, &body);
    json_object_begin(&writer);
    json_name(&writer, "cause");
    json_str(&writer, span_of(self->config.cause));
    json_object_end(&writer);
    char *text = arena_strndup(self->arena, buf_view(&body));
    buf_done(&body);
    start_call(self, "POST", account_path(self, "/jobs/", self->config.job_id, "/run"), text);
}

/* ---------------------------------------------------------------- its answer */

/* What we want to know of {"status": {"is_success", "user_message"}, "data": [{"id"}]}. */
struct answer {
    bool is_success;
    struct span message;
    struct buf scratch;
};

static struct error *read_status(struct json_item *item, struct answer *answer)
{
    struct json_reader reader;
    struct span name;
    struct json_item value;
    bool have;

    json_reader_init(&reader, item->raw);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(&reader, &name, &value, &have));
        if (!have) {
            return NULL;
        }
        if (json_name_is(name, "is_success")) {
            answer->is_success = value.kind == JSON_TRUE;
        } else if (json_name_is(name, "user_message") && value.kind == JSON_STRING) {
            RETURN_IF_ERROR(json_string(&value, &answer->scratch, &answer->message));
        }
    }
}

static void add_run(struct trigger *self, int64_t id)
{
    for (unsigned i = 0; i < self->run_count; i++) {
        if (self->runs[i] == id) {
            return; /* it moved on between two calls */
        }
    }
    if (self->run_count < MAX_RUNS) {
        self->runs[self->run_count++] = id;
    }
}

static struct error *read_run(struct trigger *self, struct json_item *item)
{
    struct json_reader reader;
    struct span name;
    struct json_item value;
    bool have = item->kind == JSON_OBJECT;
    int64_t id = -1;

    json_reader_init(&reader, item->raw);
    if (have) {
        RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    }
    while (have) {
        RETURN_IF_ERROR(json_member(&reader, &name, &value, &have));
        if (have && json_name_is(name, "id") && !json_to_int64(&value, &id)) {
            id = -1;
        }
    }
    if (id < 0) {
        return error_new(ERROR_HTTP, ERROR_ABORT, "a run has no number");
    }
    add_run(self, id);
    return NULL;
}

static struct error *read_runs(struct trigger *self, struct json_item *item)
{
    struct json_reader reader;
    struct json_item run;
    bool have;

    json_reader_init(&reader, item->raw);
    RETURN_IF_ERROR(json_enter(&reader, JSON_ARRAY));
    for (;;) {
        RETURN_IF_ERROR(json_element(&reader, &run, &have));
        if (!have) {
            return NULL;
        }
        RETURN_IF_ERROR(read_run(self, &run));
    }
}

static struct error *read_answer(struct trigger *self, struct span body, struct answer *answer)
{
    bool lists = (enum trigger_state)self->op.state == TRIGGER_LISTING;
    struct json_reader reader;
    struct json_item value;
    struct span name;
    bool have;

    json_reader_init(&reader, body);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(&reader, &name, &value, &have));
        if (!have) {
            return NULL;
        }
        if (json_name_is(name, "status") && value.kind == JSON_OBJECT) {
            RETURN_IF_ERROR(read_status(&value, answer));
        } else if (lists && json_name_is(name, "data") && value.kind == JSON_ARRAY) {
            RETURN_IF_ERROR(read_runs(self, &value));
        }
    }
}

static struct error *judge_answer(struct trigger *self)
{
    unsigned status = http_response_status(self->exchange);
    struct answer answer = {0};

    buf_init(&answer.scratch, MAX_ANSWER_BYTES);
    struct error *err = read_answer(self, http_response_body(self->exchange), &answer);
    if (err) {
        err = error_wrap(err, "the answer of HTTP status %u is not one of dbt", status);
    } else if (status < 200 || status > 299 || !answer.is_success) {
        answer.message.len = text_utf8_cut(answer.message, MAX_MESSAGE_BYTES);
        err =
            error_new(ERROR_HTTP, ERROR_ABORT, "HTTP status %u%s%.*s", status,
                      answer.message.len ? ": " : ", without a message", SPAN_FMT(answer.message));
    }
    buf_done(&answer.scratch);
    return err;
}

/* ---------------------------------------------------------------- an attempt */

static void forget_call(struct trigger *self)
{
    http_exchange_free(self->exchange);
    self->exchange = NULL;
    arena_reset(self->arena);
}

static void begin(struct trigger *self)
{
    self->is_signalled = false;
    self->has_begun = true;
    self->began_ms = loop_now_ms(self->op.loop);
    self->run_count = self->cancelled_count = self->status_index = 0;
    if (!is_key(secret_view(self->config.api_key))) {
        log_event(LOG_WARN, "dbt job trigger failed", LOG_STR("jobId", self->config.job_id),
                  LOG_STR("error", "the API key has characters that none has"), LOG_END);
        return;
    }
    timer_start(self->total_timer, self->config.total_timeout_ms);
    if (self->config.mode == TRIGGER_IGNORE) {
        start_job(self);
        op_set_state(&self->op, TRIGGER_STARTING);
    } else {
        start_listing(self);
        op_set_state(&self->op, TRIGGER_LISTING);
    }
}

static void end_attempt(struct trigger *self)
{
    timer_stop(self->total_timer);
    op_set_state(&self->op, TRIGGER_IDLE);
}

static void fail_attempt(struct trigger *self, struct error *err)
{
    static const char *const doing[] = {
        [TRIGGER_LISTING] = "listing the runs of the job",
        [TRIGGER_CANCELLING] = "cancelling a run of the job",
        [TRIGGER_STARTING] = "starting the job",
    };

    err = error_wrap(err, "%s", doing[self->op.state]);
    if (!self->op.cancel_asked) {
        log_event(LOG_WARN, "dbt job trigger failed", LOG_STR("jobId", self->config.job_id),
                  LOG_STR("error", error_text(err)), LOG_END);
    }
    error_drop(err, "no transaction depends on the job");
    end_attempt(self);
}

static void after_listing(struct trigger *self)
{
    bool is_busy = self->run_count > 0;

    if (is_busy && self->config.mode == TRIGGER_SKIP) {
        log_event(LOG_INFO, "dbt job is running already, it is not started",
                  LOG_STR("jobId", self->config.job_id), LOG_END);
        end_attempt(self);
    } else if (++self->status_index < ARRAY_LEN(busy_statuses)) {
        start_listing(self);
    } else if (is_busy) {
        start_cancelling(self);
        op_set_state(&self->op, TRIGGER_CANCELLING);
    } else {
        start_job(self);
        op_set_state(&self->op, TRIGGER_STARTING);
    }
}

static void after_cancelling(struct trigger *self)
{
    if (++self->cancelled_count < self->run_count) {
        start_cancelling(self);
    } else {
        start_job(self);
        op_set_state(&self->op, TRIGGER_STARTING);
    }
}

static void after_starting(struct trigger *self)
{
    log_event(LOG_INFO, "started dbt job", LOG_STR("jobId", self->config.job_id),
              LOG_INT("cancelledRuns", self->cancelled_count), LOG_END);
    end_attempt(self);
}

/* True when the call has answered well. */
static bool take_answer(struct trigger *self)
{
    struct error *err;

    if (self->op.cancel_asked || timer_has_expired(self->total_timer)) {
        http_cancel(self->exchange);
    }
    if (!op_reply_take(&self->reply, &err)) {
        return false;
    }
    if (err && timer_has_expired(self->total_timer) && !self->op.cancel_asked) {
        error_drop(err, "it was cancelled here, the reason follows");
        err = error_new(ERROR_TIMEOUT, ERROR_RETRY, "no end after %" PRIu64 " ms",
                        self->config.total_timeout_ms);
    } else if (!err) {
        err = judge_answer(self);
    }
    forget_call(self);
    if (err || self->op.cancel_asked) {
        fail_attempt(self, err ? err : error_new(ERROR_CANCELLED, ERROR_ABORT, "given up"));
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------- steps */

static void rest(struct trigger *self)
{
    uint64_t since = loop_now_ms(self->op.loop) - self->began_ms;

    if (self->op.cancel_asked) {
        op_finish_won(&self->op);
    } else if (self->is_signalled && (!self->has_begun || since >= self->config.interval_ms)) {
        begin(self);
    } else if (self->is_signalled) {
        timer_start(self->interval_timer, self->config.interval_ms - since);
        op_set_state(&self->op, TRIGGER_WAITING);
    }
}

static void trigger_step(struct op *op)
{
    struct trigger *self = CONTAINER_OF(op, struct trigger, op);

    switch ((enum trigger_state)op->state) {
    case TRIGGER_IDLE:
        rest(self);
        break;
    case TRIGGER_WAITING:
        if (op->cancel_asked || timer_has_expired(self->interval_timer)) {
            timer_stop(self->interval_timer);
            op_set_state(op, TRIGGER_IDLE);
        }
        break;
    case TRIGGER_LISTING:
        if (take_answer(self)) {
            after_listing(self);
        }
        break;
    case TRIGGER_CANCELLING:
        if (take_answer(self)) {
            after_cancelling(self);
        }
        break;
    case TRIGGER_STARTING:
        if (take_answer(self)) {
            after_starting(self);
        }
        break;
    }
}

static const struct op_kind trigger_kind = {
    .name = "trigger",
    .state_names = state_names,
    .state_count = ARRAY_LEN(state_names),
    .moves = moves,
    .step = trigger_step,
};

/* ---------------------------------------------------------------- life */

static void trigger_done(void *ctx, struct error *err)
{
    struct trigger *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    arena_free(self->arena);
    mem_free(self);
    done(done_ctx, err);
}

struct trigger *trigger_new(struct loop *loop,
                            struct http_client *http,
                            const struct trigger_config *config,
                            op_done_fn *done,
                            void *ctx)
{
    struct trigger *self = mem_alloc(sizeof *self);

    self->http = http;
    self->config = *config;
    self->done = done;
    self->ctx = ctx;
    self->arena = arena_new(CALL_ARENA_BYTES);
    op_init(&self->op, loop, &trigger_kind, trigger_done, self);
    self->interval_timer = timer_new(&self->op);
    self->total_timer = timer_new(&self->op);
    return self;
}

void trigger_signal(struct trigger *trigger)
{
    trigger->is_signalled = true;
    op_mark(&trigger->op);
}

void trigger_close(struct trigger *trigger)
{
    op_cancel(&trigger->op);
}
