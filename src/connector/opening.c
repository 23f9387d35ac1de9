/*
 * connector/opening: from an Open request to an open engine. In: the materialization, its range and
 * its state. Out: the engine, opened, with every binding's columns as wide as the warehouse has
 * them.
 *
 *      READING (the catalog) -> CLOSING (the connection that read it) -> ENGINE -> done
 *         ^                        |
 *         '------- WAITING <-------'  what failed may pass
 */

#include "connector/binding.h"
#include "connector/session.h"

#include "base/log.h"
#include "runtime/backoff.h"
#include "runtime/timer.h"

/* A warehouse that restarts or is paused for a moment refuses connections for some seconds; who
 * asks the runtime for another process waits longer than that. */
static const struct backoff_policy reading_backoff = {
    .max_attempts = 5, .first_ms = 1000, .cap_ms = 20000};

#define OPENING_STATES(X) X(BEGINNING) X(READING) X(CLOSING) X(WAITING) X(ENGINE)
#define OPENING_ENUM(name) OPENING_##name,
enum opening_state { OPENING_STATES(OPENING_ENUM) };
static const char *const opening_state_names[] = {OPENING_STATES(OP_STATE_NAME)};
static const uint32_t opening_moves[] = {
    [OPENING_BEGINNING] = OP_MOVE(OPENING_READING),
    [OPENING_READING] = OP_MOVE(OPENING_CLOSING),
    [OPENING_CLOSING] = OP_MOVE(OPENING_WAITING) | OP_MOVE(OPENING_ENGINE),
    [OPENING_WAITING] = OP_MOVE(OPENING_READING),
};

struct opening {
    struct op op;
    struct connector *self;
    const struct proto_open *request;
    struct catalog_reading reading;
    struct op *reader;
    unsigned attempt;      /* of reading, from 1 */
    struct error *failure; /* of this attempt, while its connection closes */
    struct timer *timer;
    struct random random; /* of the waits */
    bool conn_closed;
    bool engine_opened, engine_failed; /* facts, from the engine's callbacks */
    struct op_reply reply;
};

/* ---------------------------------------------------------------- the world of a request */

struct error *opening_world(struct connector *self, struct span config_json)
{
    const struct s3_environment environment = {self->options.environment,
                                               self->options.environment_ctx};

    RETURN_IF_ERROR(config_read(self->arena, config_json, &environment, &self->config));
    struct error *err =
        world_init(&self->world, self->loop, self->http, self->arena, self->config,
                   self->options.s3_endpoint, &environment, self->options.seed, &self->figures);
    self->has_world = err == NULL;
    return err;
}

static void way_closed(void *ctx)
{
    struct connector *self = ctx;

    self->open_ways--;
    op_mark(&self->end);
}

void opening_forget_world(struct connector *self)
{
    if (self->has_world) {
        if (self->world.way) {
            self->open_ways++;
            way_close(self->world.way, way_closed, self);
        }
        world_done(&self->world);
        self->has_world = false;
    }
    config_done(self->config);
    self->config = NULL;
}

/* ---------------------------------------------------------------- bindings */

static struct error *read_bindings(struct opening *opening, struct txn_binding *ret)
{
    struct connector *self = opening->self;
    const struct proto_materialization *spec = opening->request->materialization;

    self->bindings = ARENA_ARRAY(self->arena, spec->binding_count, struct session_binding);
    self->binding_count = spec->binding_count;
    for (unsigned i = 0; i < spec->binding_count; i++) {
        const struct proto_binding *binding = &spec->bindings[i];
        const struct rs_catalog *catalog = opening->reading.catalog;
        struct rs_table *table = &ret[i].table;

        if (!rs_catalog_find(catalog, binding->resource_path, binding->resource_path_count)) {
            struct error *err = error_new(
                ERROR_SQL, ERROR_CONFIG, "the table of collection \"%.*s\" does not exist",
                binding->collection ? (int)binding->collection->name.len : 0,
                binding->collection ? binding->collection->name.ptr : "");
            error_set_hint(err, "It was dropped after it had been created. Backfill this binding "
                                "to have it made again.");
            return err;
        }
        RETURN_IF_ERROR(
            error_wrap(binding_table(self->arena, self->config, spec, binding, catalog, table),
                       "binding %u", i));
        ret[i].state_key = binding->state_key;
        self->bindings[i] = (struct session_binding){
            .keys = ARENA_ARRAY(self->arena, table->key_count, struct value),
            .values = ARENA_ARRAY(self->arena, table->column_count, struct value),
            .key_count = table->key_count,
            .value_count = table->column_count - table->key_count - table->has_document,
        };
    }
    return NULL;
}

static bool has_tokens_column(const struct opening *opening)
{
    struct span path[2];
    unsigned count;

    world_metadata_path(&opening->self->world, path, &count);
    const struct rs_existing_table *table = rs_catalog_find(opening->reading.catalog, path, count);
    return table &&
           rs_catalog_find_column(opening->reading.catalog, table, SPAN_LIT("checkpoint_tokens"));
}

static void engine_opened(void *ctx)
{
    struct connector *self = ctx;
    struct opening *opening = CONTAINER_OF(self->work, struct opening, op);

    opening->engine_opened = true;
    op_mark(&opening->op);
}

/* While the opening is under way a failure is its own; later it is the session's. */
static void engine_failed(void *ctx, struct error *err)
{
    struct connector *self = ctx;

    if (self->work) {
        struct opening *opening = CONTAINER_OF(self->work, struct opening, op);
        opening->engine_failed = true;
        op_fail(&opening->op, err);
    } else {
        session_failed(self, err);
    }
}

static struct error *make_engine(struct opening *opening)
{
    struct connector *self = opening->self;
    const struct proto_open *request = opening->request;
    const struct config *config = self->config;
    struct txn_binding *bindings =
        ARENA_ARRAY(self->arena, request->materialization->binding_count, struct txn_binding);

    RETURN_IF_ERROR(read_bindings(opening, bindings));
    self->stage =
        stage_new(self->loop, &(struct stage_options){
                                  .s3 = self->world.s3,
                                  .credit = self->options.credit,
                                  .compression = config->staging_zstd ? STAGE_ZSTD : STAGE_GZIP,
                                  .figures = &self->figures,
                              });
    struct txn_options options = {
        .task = arena_strndup(self->arena, request->materialization->name),
        .key_begin = request->key_begin,
        .key_end = request->key_end,
        .state_json = request->state_json,
        .bindings = bindings,
        .binding_count = request->materialization->binding_count,
        .metadata_schema = span_of(config->schema),
        .has_tokens_column = has_tokens_column(opening),
        .hard_delete = config->hard_delete,
        .case_sensitive = rs_catalog_is_case_sensitive(opening->reading.catalog),
        .bucket_path = config->bucket_path,
        .files_per_binding =
            config->parallel_files ? config->parallel_files : opening->reading.slices,
        .pg = &self->world.pg,
        .s3 = self->world.s3,
        .stage = self->stage,
        .iam_role = config->copy_iam_role,
        .schedule = config->schedule,
        .figures = &self->figures,
        .seed = self->options.seed,
        .started_ms = self->started_ms,
    };
    struct txn_callbacks callbacks = {
        .opened = engine_opened,
        .applied = session_applied,
        .acknowledged = session_acknowledged,
        .loaded = session_loaded,
        .flushed = session_flushed,
        .started_commit = session_started_commit,
        .wait_known = session_wait_known,
        .failed = engine_failed,
        .ctx = self,
    };
    self->txn = txn_new(self->loop, &options, &callbacks);
    if (config->has_trigger) {
        op_reply_expect(&self->trigger_reply, &self->end);
        self->trigger = trigger_new(self->loop, self->http, &config->trigger, op_reply_done,
                                    &self->trigger_reply);
    }
    return NULL;
}

/* ---------------------------------------------------------------- steps */

static void conn_closed(void *ctx)
{
    struct opening *opening = ctx;
    opening->conn_closed = true;
    op_mark(&opening->op);
}

static void start_reading(struct opening *opening)
{
    struct connector *self = opening->self;
    const struct proto_materialization *spec = opening->request->materialization;
    struct catalog_path *paths = ARENA_ARRAY(self->arena, spec->binding_count, struct catalog_path);

    for (unsigned i = 0; i < spec->binding_count; i++) {
        paths[i] = (struct catalog_path){spec->bindings[i].resource_path,
                                         spec->bindings[i].resource_path_count};
    }
    opening->attempt++;
    opening->conn_closed = false;
    opening->reading = (struct catalog_reading){.wants_slices = self->config->parallel_files == 0};
    op_reply_expect(&opening->reply, &opening->op);
    opening->reader = catalog_read(&self->world, self->arena, paths, spec->binding_count,
                                   &opening->reading, op_reply_done, &opening->reply);
    op_set_state(&opening->op, OPENING_READING);
}

static void start_closing(struct opening *opening)
{
    if (opening->reading.conn) {
        pgc_close(opening->reading.conn, conn_closed, opening);
    } else {
        opening->conn_closed = true;
        op_mark(&opening->op);
    }
    op_set_state(&opening->op, OPENING_CLOSING);
}

/* Nothing was begun that another attempt could disturb. A time-out has waited long enough. */
static bool may_read_again(const struct opening *opening)
{
    const struct error *err = opening->failure;

    return error_class_of(err) == ERROR_RETRY && error_code_of(err) != ERROR_TIMEOUT &&
           !op_must_stop(&opening->op) && backoff_may_retry(&reading_backoff, opening->attempt);
}

static void start_waiting(struct opening *opening)
{
    log_event(LOG_WARN, "reading what exists in the warehouse failed, trying again",
              LOG_INT("attempt", opening->attempt), LOG_STR("error", error_text(opening->failure)),
              LOG_END);
    error_free(opening->failure);
    opening->failure = NULL;
    timer_start(opening->timer, backoff_next(&reading_backoff, opening->attempt, &opening->random));
    op_set_state(&opening->op, OPENING_WAITING);
}

static void start_engine(struct opening *opening)
{
    struct error *err = make_engine(opening);

    if (err) {
        op_fail(&opening->op, err);
        op_finish(&opening->op);
        return;
    }
    op_set_state(&opening->op, OPENING_ENGINE);
    txn_open(opening->self->txn);
}

static void log_schedule(const struct config *config)
{
    const struct schedule_config *schedule = &config->schedule_config;
    const char *frequency = schedule->sync_frequency;

    if (!config->schedule) {
        return;
    }
    if (!schedule_is_alternating(config->schedule)) {
        log_event(LOG_INFO, "created fixed schedule for acknowledgements",
                  LOG_STR("syncFrequency", *frequency ? frequency : SCHEDULE_DEFAULT_FREQUENCY),
                  LOG_END);
        return;
    }
    log_event(LOG_INFO, "created alternating schedule for acknowledgements",
              LOG_STR("syncFrequency", frequency), LOG_STR("timezone", schedule->timezone),
              LOG_STR("fastSyncStartTime", schedule->fast_sync_start_time),
              LOG_STR("fastSyncStopTime", schedule->fast_sync_stop_time),
              LOG_STR("fastSyncEnabledDays", schedule->fast_sync_enabled_days), LOG_END);
}

static void serve_metrics(const struct connector *self)
{
    if (*self->config->metrics_address && self->options.serve_metrics) {
        self->options.serve_metrics(self->options.serve_ctx, self->config->metrics_address);
    }
}

static void begin(struct opening *opening)
{
    const struct proto_open *request = opening->request;

    if (!request->materialization) {
        op_fail(&opening->op,
                error_new(ERROR_PROTOCOL, ERROR_FATAL, "Open has no materialization"));
    } else {
        op_fail(&opening->op, opening_world(opening->self, request->materialization->config_json));
    }
    if (op_must_stop(&opening->op)) {
        op_finish(&opening->op);
    } else {
        serve_metrics(opening->self);
        log_schedule(opening->self->config);
        start_reading(opening);
    }
}

static void after_closing(struct opening *opening)
{
    struct op *op = &opening->op;

    if (opening->failure && may_read_again(opening)) {
        start_waiting(opening);
        return;
    }
    op_fail(op, opening->failure);
    opening->failure = NULL;
    if (op_must_stop(op)) {
        op_finish(op);
    } else {
        start_engine(opening);
    }
}

static void opening_step(struct op *op)
{
    struct opening *opening = CONTAINER_OF(op, struct opening, op);
    struct error *err;

    switch ((enum opening_state)op->state) {
    case OPENING_BEGINNING:
        begin(opening);
        break;
    case OPENING_READING:
        if (op_reply_take(&opening->reply, &err)) {
            opening->reader = NULL;
            opening->failure = error_wrap(err, "reading what exists in the warehouse");
            start_closing(opening);
        } else if (op->cancel_asked) {
            op_cancel(opening->reader);
        }
        break;
    case OPENING_CLOSING:
        if (opening->conn_closed) {
            after_closing(opening);
        }
        break;
    case OPENING_WAITING:
        if (op_must_stop(op)) {
            op_finish(op);
        } else if (timer_has_expired(opening->timer)) {
            timer_stop(opening->timer);
            start_reading(opening);
        }
        break;
    case OPENING_ENGINE:
        if (opening->engine_opened || op_must_stop(op)) {
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind opening_kind = {
    .name = "opening",
    .state_names = opening_state_names,
    .state_count = ARRAY_LEN(opening_state_names),
    .moves = opening_moves,
    .step = opening_step,
};

static void opening_done(void *ctx, struct error *err)
{
    struct opening *opening = ctx;
    struct connector *self = opening->self;

    mem_free(opening);
    session_opened(self, err);
}

void opening_start(struct connector *self, const struct proto_open *request)
{
    struct opening *opening = mem_alloc(sizeof *opening);

    opening->self = self;
    opening->request = request;
    self->work = &opening->op;
    progress_enter(&self->progress, PROGRESS_READING, PROGRESS_OPEN, 0);
    op_init(&opening->op, self->loop, &opening_kind, opening_done, opening);
    opening->timer = timer_new(&opening->op);
    opening->random.state = self->options.seed;
    op_mark(&opening->op);
}
