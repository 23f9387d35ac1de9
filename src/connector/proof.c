/*
 * connector/proof: a COPY of one row. In: a world whose bucket takes files, and a connection. Out:
 * nothing, or the cause for which the cluster cannot read them. It knows no bindings.
 *
 *      PUTTING -> COPYING -> DELETING -> done, or -> CLOSING -> done
 *                   \-> STOPPING -/
 *
 * Each of them has a time limit. A COPY that hangs is cancelled at the server and waited for a
 * little; the files are deleted in any case.
 */

#include "connector/proof.h"

#include "base/random.h"
#include "base/text.h"
#include "connector/prerequisite.h"
#include "redshift/sql.h"
#include "runtime/timer.h"
#include "stage/manifest.h"

#define PROOF_STATES(X) X(BEGINNING) X(PUTTING) X(COPYING) X(STOPPING) X(DELETING) X(CLOSING)
#define PROOF_ENUM(name) PROOF_##name,
enum proof_state { PROOF_STATES(PROOF_ENUM) };
static const char *const proof_state_names[] = {PROOF_STATES(OP_STATE_NAME)};
static const uint32_t proof_moves[] = {
    [PROOF_BEGINNING] = OP_MOVE(PROOF_PUTTING),
    [PROOF_PUTTING] = OP_MOVE(PROOF_COPYING) | OP_MOVE(PROOF_DELETING),
    [PROOF_COPYING] = OP_MOVE(PROOF_STOPPING) | OP_MOVE(PROOF_DELETING),
    [PROOF_STOPPING] = OP_MOVE(PROOF_DELETING),
    [PROOF_DELETING] = OP_MOVE(PROOF_CLOSING),
};

/* COPY goes on trying to read for a quarter of an hour and more. */
#define COPY_LIMIT_MS 60000
#define PUT_LIMIT_MS 60000
#define STOP_LIMIT_MS 5000
#define DELETE_LIMIT_MS 20000

#define MAX_SQL_BYTES ((size_t)64 * 1024)
#define MAX_MANIFEST_BYTES ((size_t)8 * 1024)

/* {"n":1} and a newline, by gzip. */
static const char row_gz[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x53\xb2\x32\xac"
                             "\xe5\x02\x00\x93\x11\xbe\x85\x08\x00\x00\x00";

enum { FILE_ROW, FILE_MANIFEST, FILE_COUNT };

struct proof {
    struct op op;
    struct world *world;
    struct arena *arena;
    struct pgc_conn **conn;
    const char **ret_problem;

    struct span keys[FILE_COUNT];
    unsigned file; /* that is put or deleted */
    struct s3_call *call;
    struct op_reply call_reply;

    struct pgc_statement statements[3];
    struct buf sql; /* of COPY: has credentials */
    struct op_reply batch_reply;
    bool is_running;  /* the batch has not ended */
    bool is_complete; /* it ended well */
    bool conn_closed;
    struct timer *limit;
    uint64_t limit_ms;

    op_done_fn *done;
    void *ctx;
};

/* ---------------------------------------------------------------- causes in words */

/* What the server's texts name; the first row that fits counts. Texts of S3 as the Database
 * Developer Guide quotes them ("S3ServiceException errors"), codes as the Amazon S3 API Reference
 * lists them. */
static const struct cause {
    const char *parts[3]; /* any of them */
    const char *cause, *advice;
} causes[] = {
    {{"does not exist in our records", "InvalidAccessKeyId"},
     "S3 does not know the access key that the cluster was given",
     "Check the access key; a key of another AWS partition does not count"},
    {{"SignatureDoesNotMatch", "signature we calculated"},
     "S3 refuses the secret key that the cluster was given",
     "Check the secret key"},
    {{"ExpiredToken", "token has expired", "InvalidToken"},
     "S3 refuses the session token that the cluster was given",
     "Check where the keys come from, and the clocks"},
    {{"not authorized to assume IAM Role", "No default IAM role", "is not authorized to assume"},
     "the cluster may not take on the IAM role",
     "Attach the role to the cluster, and let redshift.amazonaws.com assume it"},
    {{"must be addressed using the specified endpoint", "PermanentRedirect",
      "AuthorizationHeaderMalformed"},
     "the bucket is in another region than the one configured",
     "Set the property region to that of the bucket"},
    {{"region '", "is wrong; expecting", "IllegalLocationConstraint"},
     "the bucket is in another region than the one configured",
     "Set the property region to that of the bucket"},
    {{"NoSuchBucket", "specified bucket does not exist"},
     "the cluster finds no bucket of this name",
     "Check that cluster and bucket are in the same AWS partition"},
    {{"AccessDenied", "Access Denied", "Status 403"},
     "the cluster is not permitted to read it",
     "The identity that COPY uses needs s3:ListBucket on the bucket and s3:GetObject on what is in "
     "it; look for denials in the bucket's policy and in that of a VPC endpoint"},
    {{"S3CurlException", "Connection timed out", "Could not resolve host"},
     "the cluster has no way to S3",
     "With enhanced VPC routing its subnets need a gateway endpoint for S3 or a NAT gateway, and "
     "its security group an outbound rule for port 443"},
    {{"onnection refused", "imeout was reached", "Could not connect"},
     "the cluster has no way to S3",
     "With enhanced VPC routing its subnets need a gateway endpoint for S3 or a NAT gateway, and "
     "its security group an outbound rule for port 443"},
    {{"permission denied", "TEMP"},
     "the user may not make temporary tables",
     "Grant TEMP on the database to the user"},
    {{"canceled on user's request", "canceling statement"},
     "the cluster's COPY was cancelled",
     "Look for a time limit of the user's or of the queue's, and for a way from the cluster to S3"},
};

static bool names(const struct cause *row, const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(row->parts); i++) {
        if (row->parts[i] && strstr(text, row->parts[i])) {
            return true;
        }
    }
    return false;
}

const char *proof_problem(struct arena *arena, const struct config *config, const struct error *err)
{
    const char *text = error_text(err);

    for (size_t i = 0; i < ARRAY_LEN(causes); i++) {
        if (names(&causes[i], text)) {
            return arena_printf(
                arena,
                "COPY cannot read bucket \"%s\" in region %s: %s. %s. The original error: %s",
                config->bucket, config->region, causes[i].cause, causes[i].advice, text);
        }
    }
    return arena_printf(arena, "COPY cannot read bucket \"%s\" in region %s: %s", config->bucket,
                        config->region, text);
}

/* The first problem is the cause of the others. */
static void note(struct proof *self, const char *problem)
{
    if (!*self->ret_problem && !self->op.cancel_asked) {
        *self->ret_problem = problem;
    }
}

static void note_limit(struct proof *self)
{
    note(self, arena_printf(
                   self->arena,
                   "COPY of one row from bucket \"%s\" in region %s did not end within %d seconds: "
                   "the cluster has no way to S3, or its queue has no free slot. With enhanced VPC "
                   "routing its subnets need a gateway endpoint for S3 or a NAT gateway, and its "
                   "security group an outbound rule for port 443",
                   self->world->config->bucket, self->world->config->region,
                   (int)((self->limit_ms + 999) / 1000)));
}

static bool must_give_up(const struct proof *self)
{
    return self->op.cancel_asked || timer_has_expired(self->limit);
}

/* ---------------------------------------------------------------- files */

static void put_file(struct proof *self, unsigned file)
{
    struct span body = {row_gz, sizeof(row_gz) - 1};
    struct buf manifest;

    buf_init(&manifest, MAX_MANIFEST_BYTES);
    if (file == FILE_MANIFEST) {
        manifest_add(&manifest, span_of(self->world->config->bucket), &self->keys[FILE_ROW], 1);
        body = buf_view(&manifest);
    }
    self->file = file;
    op_reply_expect(&self->call_reply, &self->op);
    self->call = s3_put(self->world->s3, self->keys[file], body, op_reply_done, &self->call_reply);
    buf_done(&manifest);
}

static void delete_file(struct proof *self, unsigned file)
{
    self->file = file;
    op_reply_expect(&self->call_reply, &self->op);
    self->call = s3_delete_one(self->world->s3, self->keys[file], op_reply_done, &self->call_reply);
}

static void start_deleting(struct proof *self)
{
    timer_start(self->limit, DELETE_LIMIT_MS);
    delete_file(self, FILE_ROW);
    op_set_state(&self->op, PROOF_DELETING);
}

/* False while the answer is out. */
static bool take_call(struct proof *self, enum probe probe, bool *ret_good)
{
    struct error *err;

    if (!op_reply_take(&self->call_reply, &err)) {
        return false;
    }
    s3_call_free(self->call);
    self->call = NULL;
    *ret_good = !err;
    if (err) {
        note(self, prerequisite_bucket_problem(self->arena, self->world->config, probe, err));
        error_drop(err, "it is told in other words");
    }
    return true;
}

/* ---------------------------------------------------------------- COPY */

static void add_statement(struct proof *self, unsigned index, const char *label, const char *sql)
{
    self->statements[index] = (struct pgc_statement){.label = label, .sql = sql, .sync = true};
}

static void start_copy(struct proof *self)
{
    const struct config *config = self->world->config;
    const struct s3_keys none = {.access_key_id = NULL};
    const struct s3_keys keys = *config->copy_iam_role ? none : s3_keys(self->world->s3, NULL);
    const struct rs_copy copy = {
        .iam_role = config->copy_iam_role,
        .manifest_url = span_of(arena_printf(self->arena, "s3://%s/%.*s", config->bucket,
                                             SPAN_FMT(self->keys[FILE_MANIFEST]))),
        .access_key_id = keys.access_key_id,
        .secret_access_key = keys.secret_access_key,
        .session_token = keys.session_token,
        .region = config->region,
    };
    struct buf sql;

    buf_init(&sql, MAX_SQL_BYTES);
    rs_sql_create_proof(&sql);
    add_statement(self, 0, "making a temporary table", arena_strndup(self->arena, buf_view(&sql)));
    rs_sql_copy_proof(&self->sql, &copy);
    add_statement(self, 1, "copying one row from the bucket", self->sql.data);
    buf_clear(&sql);
    rs_sql_drop_proof(&sql);
    add_statement(self, 2, "dropping a temporary table",
                  arena_strndup(self->arena, buf_view(&sql)));
    buf_done(&sql);
    op_reply_expect(&self->batch_reply, &self->op);
    self->is_running = true;
    timer_start(self->limit, self->limit_ms);
    pgc_run(
        *self->conn,
        &(struct pgc_batch){.statements = self->statements, .count = ARRAY_LEN(self->statements)},
        op_reply_done, &self->batch_reply);
    op_set_state(&self->op, PROOF_COPYING);
}

static void look_at_batch(struct proof *self)
{
    struct error *err;

    if (!self->is_running || !op_reply_take(&self->batch_reply, &err)) {
        return;
    }
    self->is_running = false;
    self->is_complete = !err;
    if (err) {
        note(self, proof_problem(self->arena, self->world->config, err));
        error_drop(err, "it is told in other words");
    }
}

/* ---------------------------------------------------------------- the end */

static void conn_closed(void *ctx)
{
    struct proof *self = ctx;

    self->conn_closed = true;
    op_mark(&self->op);
}

static void conclude(struct proof *self)
{
    timer_close(&self->limit);
    if (self->is_complete && !*self->ret_problem && !self->op.cancel_asked) {
        op_finish(&self->op);
        return;
    }
    pgc_close(*self->conn, conn_closed, self);
    *self->conn = NULL;
    op_set_state(&self->op, PROOF_CLOSING);
}

static void proof_step(struct op *op)
{
    struct proof *self = CONTAINER_OF(op, struct proof, op);
    bool is_good;

    look_at_batch(self);
    switch ((enum proof_state)op->state) {
    case PROOF_BEGINNING:
        timer_start(self->limit, PUT_LIMIT_MS);
        put_file(self, FILE_ROW);
        op_set_state(op, PROOF_PUTTING);
        break;
    case PROOF_PUTTING:
        if (!take_call(self, PROBE_PUT, &is_good)) {
            if (must_give_up(self)) {
                note(self,
                     arena_printf(self->arena, "bucket \"%s\" gave no answer within %d seconds",
                                  self->world->config->bucket, PUT_LIMIT_MS / 1000));
                s3_call_cancel(self->call);
            }
        } else if (!is_good || must_give_up(self)) {
            start_deleting(self);
        } else if (self->file == FILE_ROW) {
            put_file(self, FILE_MANIFEST);
        } else {
            start_copy(self);
        }
        break;
    case PROOF_COPYING:
        if (!self->is_running) {
            start_deleting(self);
        } else if (must_give_up(self)) {
            note_limit(self);
            pgc_cancel(*self->conn);
            timer_start(self->limit, STOP_LIMIT_MS);
            op_set_state(op, PROOF_STOPPING);
        }
        break;
    case PROOF_STOPPING:
        if (!self->is_running || timer_has_expired(self->limit)) {
            start_deleting(self);
        }
        break;
    case PROOF_DELETING:
        if (take_call(self, PROBE_DELETE, &is_good)) {
            if (self->file == FILE_ROW) {
                delete_file(self, FILE_MANIFEST);
            } else {
                conclude(self);
            }
        } else if (timer_has_expired(self->limit)) {
            s3_call_cancel(self->call);
        }
        break;
    case PROOF_CLOSING:
        if (self->conn_closed && !self->is_running) {
            op_finish(op);
        }
        break;
    }
}

static const struct op_kind proof_kind = {
    .name = "proof",
    .state_names = proof_state_names,
    .state_count = ARRAY_LEN(proof_state_names),
    .moves = proof_moves,
    .step = proof_step,
};

static void proof_done(void *ctx, struct error *err)
{
    struct proof *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    if (self->sql.data) {
        secret_wipe(self->sql.data, self->sql.len);
    }
    buf_done(&self->sql);
    mem_free(self);
    done(done_ctx, err);
}

struct op *proof_start(struct world *world,
                       struct arena *arena,
                       struct pgc_conn **conn,
                       const char **ret_problem,
                       op_done_fn *done,
                       void *ctx)
{
    static const char *const endings[FILE_COUNT] = {".json.gz", ".manifest"};
    struct proof *self = mem_alloc(sizeof *self);
    unsigned char id[16];
    char name[TEXT_UUID_LEN + 1];

    random_uuid(id);
    text_uuid(name, id);
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        self->keys[i] =
            span_of(text_path_join(arena, span_of(world->config->bucket_path),
                                   span_of(arena_printf(arena, "%s%s", name, endings[i]))));
    }
    buf_init(&self->sql, MAX_SQL_BYTES);
    self->world = world;
    self->limit_ms = world->proof_limit_ms ? world->proof_limit_ms : COPY_LIMIT_MS;
    self->arena = arena;
    self->conn = conn;
    self->ret_problem = ret_problem;
    self->done = done;
    self->ctx = ctx;
    op_init(&self->op, world->loop, &proof_kind, proof_done, self);
    self->limit = timer_new(&self->op);
    op_mark(&self->op);
    return &self->op;
}
