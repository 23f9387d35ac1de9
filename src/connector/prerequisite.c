/*
 * connector/prerequisite: two small trials and a third. In: the world of a configuration. Out: a
 * connection to the warehouse, or the list of what is wrong. It knows no tables.
 *
 *      TRYING -> PROVING -> done
 *         \---------\-> CLOSING -> done
 *
 *   warehouse: connect            within the connection's own time limit
 *   bucket:    put, get, delete   one after the other, within a limit for all
 *   both:      COPY               when nothing is wrong with either: connector/proof
 */

#include "connector/prerequisite.h"

#include "base/random.h"
#include "base/text.h"
#include "connector/proof.h"
#include "runtime/timer.h"

#define TRIAL_STATES(X) X(BEGINNING) X(TRYING) X(PROVING) X(CLOSING)
#define TRIAL_ENUM(name) TRIAL_##name,
enum trial_state { TRIAL_STATES(TRIAL_ENUM) };
static const char *const trial_state_names[] = {TRIAL_STATES(OP_STATE_NAME)};
static const uint32_t trial_moves[] = {
    [TRIAL_BEGINNING] = OP_MOVE(TRIAL_TRYING),
    [TRIAL_TRYING] = OP_MOVE(TRIAL_PROVING) | OP_MOVE(TRIAL_CLOSING),
    [TRIAL_PROVING] = OP_MOVE(TRIAL_CLOSING),
};

/* A client that gets no answer would go on trying for minutes. */
#define BUCKET_LIMIT_MS 60000
#define PROBE_BODY "testing"

struct trial {
    struct op op;
    struct world *world;
    struct arena *arena;
    struct pgc_conn **ret_conn;

    struct pgc_conn *conn;
    struct op_reply conn_reply;
    bool conn_answered, conn_closed;
    const char *warehouse_problem; /* NULL: none so far */

    enum probe probe;
    struct s3_call *call; /* under way, or NULL: the probe is over */
    struct op_reply call_reply;
    struct span key;
    struct timer *limit;
    const char *bucket_problem;

    struct op *proof; /* under way, or NULL */
    struct op_reply proof_reply;
    const char *proof_problem;

    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- problems in words */

static const char *with_hint(struct arena *arena, const struct error *err)
{
    const char *hint = error_hint(err);
    return *hint ? arena_printf(arena, "%s. %s", error_text(err), hint)
                 : arena_strdup(arena, error_text(err));
}

/* 28000 is Redshift's code for a wrong user or password, 28P01 PostgreSQL's. Without a configured
 * database the server's own text names the one it chose. */
const char *prerequisite_warehouse_problem(struct arena *arena,
                                           const struct config *config,
                                           const struct error *err)
{
    const char *origin = error_origin(err);

    if (strcmp(origin, "28000") == 0 || strcmp(origin, "28P01") == 0) {
        return "incorrect username or password";
    }
    if (strcmp(origin, "3D000") == 0 && *config->database) {
        return arena_printf(arena, "database \"%s\" does not exist", config->database);
    }
    if (error_code_of(err) == ERROR_TIMEOUT) {
        return arena_printf(
            arena,
            "connecting to the host at address \"%s\" timed out. Possible causes:\n"
            "   * the endpoint is not publicly accessible\n"
            "   * no inbound rule of its security group admits the addresses of Estuary\n"
            "   * host or port are wrong\n"
            "   * the SSH bastion, if there is one, does not work or is not set up for this host",
            config->address);
    }
    return with_hint(arena, err);
}

const char *prerequisite_bucket_problem(struct arena *arena,
                                        const struct config *config,
                                        enum probe probe,
                                        const struct error *err)
{
    static const char *const verbs[] = {"write to", "read from", "delete from"};
    unsigned status = s3_error_status(err);

    if (status == 404 && probe == PROBE_PUT) {
        return arena_printf(arena, "bucket \"%s\" does not exist", config->bucket);
    }
    if (status == 403) {
        return arena_printf(
            arena, "not authorized to %s \"%s\"", verbs[probe],
            text_path_join(arena, span_of(config->bucket), span_of(config->bucket_path)));
    }
    return with_hint(arena, err);
}

/* ---------------------------------------------------------------- the warehouse */

static void start_warehouse(struct trial *self)
{
    self->conn = pgc_conn_new(self->world->loop, &self->world->pg);
    op_reply_expect(&self->conn_reply, &self->op);
    pgc_connect(self->conn, op_reply_done, &self->conn_reply);
}

static void look_at_warehouse(struct trial *self)
{
    struct error *err;

    if (self->conn_answered || !op_reply_take(&self->conn_reply, &err)) {
        return;
    }
    self->conn_answered = true;
    if (err) {
        self->warehouse_problem =
            prerequisite_warehouse_problem(self->arena, self->world->config, err);
        error_drop(err, "it is told in other words");
    }
}

/* ---------------------------------------------------------------- the bucket */

static void start_probe(struct trial *self, enum probe probe)
{
    struct s3 *s3 = self->world->s3;

    self->probe = probe;
    op_reply_expect(&self->call_reply, &self->op);
    switch (probe) {
    case PROBE_PUT:
        self->call = s3_put(s3, self->key, SPAN_LIT(PROBE_BODY), op_reply_done, &self->call_reply);
        break;
    case PROBE_GET:
        self->call = s3_get(s3, self->key, sizeof(PROBE_BODY), op_reply_done, &self->call_reply);
        break;
    case PROBE_DELETE:
        self->call = s3_delete_one(s3, self->key, op_reply_done, &self->call_reply);
        break;
    }
}

static void start_bucket(struct trial *self)
{
    unsigned char id[16];
    char name[TEXT_UUID_LEN + 1];

    random_uuid(id);
    text_uuid(name, id);
    self->key = span_of(
        text_path_join(self->arena, span_of(self->world->config->bucket_path), span_of(name)));
    timer_start(self->limit, BUCKET_LIMIT_MS);
    start_probe(self, PROBE_PUT);
}

static void judge_probe(struct trial *self, struct error *err)
{
    const struct config *config = self->world->config;

    if (err && timer_has_expired(self->limit)) {
        self->bucket_problem =
            arena_printf(self->arena, "bucket \"%s\" gave no answer within %d seconds",
                         config->bucket, BUCKET_LIMIT_MS / 1000);
    } else if (err) {
        self->bucket_problem = prerequisite_bucket_problem(self->arena, config, self->probe, err);
    }
    error_drop(err, "it is told in other words");
}

static void look_at_bucket(struct trial *self)
{
    struct error *err;

    if (!self->call) {
        return;
    }
    if (!op_reply_take(&self->call_reply, &err)) {
        if (self->op.cancel_asked || timer_has_expired(self->limit)) {
            s3_call_cancel(self->call);
        }
        return;
    }
    bool is_over = err || self->probe == PROBE_DELETE || self->op.cancel_asked;
    s3_call_free(self->call);
    self->call = NULL;
    judge_probe(self, err);
    if (is_over) {
        timer_close(&self->limit);
    } else {
        start_probe(self, self->probe + 1);
    }
}

/* ---------------------------------------------------------------- the end */

static void conn_closed(void *ctx)
{
    struct trial *self = ctx;
    self->conn_closed = true;
    op_mark(&self->op);
}

static struct error *verdict(const struct trial *self)
{
    if (self->proof_problem) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "the materialization cannot run because of the following:\n - %s",
                         self->proof_problem);
    }
    if (!self->warehouse_problem && !self->bucket_problem) {
        return NULL;
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG,
                     "the materialization cannot run because of the following:%s%s%s%s",
                     self->warehouse_problem ? "\n - " : "",
                     self->warehouse_problem ? self->warehouse_problem : "",
                     self->bucket_problem ? "\n - " : "",
                     self->bucket_problem ? self->bucket_problem : "");
}

/* Both trials are over. */
static void go_on(struct trial *self)
{
    if (!self->op.cancel_asked) {
        op_fail(&self->op, verdict(self));
    }
    if (op_must_stop(&self->op)) {
        pgc_close(self->conn, conn_closed, self);
        op_set_state(&self->op, TRIAL_CLOSING);
        return;
    }
    op_reply_expect(&self->proof_reply, &self->op);
    self->proof = proof_start(self->world, self->arena, &self->conn, &self->proof_problem,
                              op_reply_done, &self->proof_reply);
    op_set_state(&self->op, TRIAL_PROVING);
}

static void look_at_proof(struct trial *self)
{
    struct error *err;

    if (!op_reply_take(&self->proof_reply, &err)) {
        if (self->op.cancel_asked) {
            op_cancel(self->proof);
        }
        return;
    }
    error_drop(err, "it can only say that it was cancelled");
    if (!self->op.cancel_asked) {
        op_fail(&self->op, verdict(self));
    }
    if (op_must_stop(&self->op) && self->conn) {
        pgc_close(self->conn, conn_closed, self);
        op_set_state(&self->op, TRIAL_CLOSING);
        return;
    }
    *self->ret_conn = self->conn; /* NULL unless all is well */
    op_finish(&self->op);
}

static void trial_step(struct op *op)
{
    struct trial *self = CONTAINER_OF(op, struct trial, op);

    switch ((enum trial_state)op->state) {
    case TRIAL_BEGINNING:
        if (op->cancel_asked) {
            op_finish(op);
            return;
        }
        start_warehouse(self);
        start_bucket(self);
        op_set_state(op, TRIAL_TRYING);
        break;
    case TRIAL_TRYING:
        look_at_warehouse(self);
        look_at_bucket(self);
        if ((self->conn_answered || op->cancel_asked) && !self->call) {
            go_on(self);
        }
        break;
    case TRIAL_PROVING:
        look_at_proof(self);
        break;
    case TRIAL_CLOSING:
        look_at_warehouse(self); /* a connect that was interrupted answers too */
        if (self->conn_closed) {
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind trial_kind = {
    .name = "prerequisites",
    .state_names = trial_state_names,
    .state_count = ARRAY_LEN(trial_state_names),
    .moves = trial_moves,
    .step = trial_step,
};

static void trial_done(void *ctx, struct error *err)
{
    struct trial *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    mem_free(self);
    done(done_ctx, err);
}

struct op *prerequisite_start(struct world *world,
                              struct arena *arena,
                              struct pgc_conn **ret_conn,
                              op_done_fn *done,
                              void *ctx)
{
    struct trial *self = mem_alloc(sizeof *self);

    *ret_conn = NULL;
    self->world = world;
    self->arena = arena;
    self->ret_conn = ret_conn;
    self->done = done;
    self->ctx = ctx;
    op_init(&self->op, world->loop, &trial_kind, trial_done, self);
    self->limit = timer_new(&self->op);
    op_mark(&self->op);
    return &self->op;
}
