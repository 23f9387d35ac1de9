/*
 * txn/link: the one connection that the engine keeps. In: "be connected". Out: a connection on
 * which the session's settings were made. It knows nothing of transactions; a broken connection is
 * replaced, never repaired. One that is dropped under a statement has it cancelled at the server.
 *
 *      CLOSING -> CONNECTING -> SETTING -> done
 *         ^ only when a broken one is in the way; nothing at all when the connection is good
 */

#include "txn/engine.h"

#include <limits.h>

#define LINK_STATES(X) X(LOOKING) X(CLOSING) X(CONNECTING) X(SETTING)
#define LINK_ENUM(name) LINK_##name,
enum link_state { LINK_STATES(LINK_ENUM) };
static const char *const link_state_names[] = {LINK_STATES(OP_STATE_NAME)};
static const uint32_t link_moves[] = {
    [LINK_LOOKING] = OP_MOVE(LINK_CLOSING) | OP_MOVE(LINK_CONNECTING),
    [LINK_CLOSING] = OP_MOVE(LINK_CONNECTING),
    [LINK_CONNECTING] = OP_MOVE(LINK_SETTING),
};

struct link_op {
    struct op op;
    struct txn *txn;
    bool drop_only;
    bool was_closed;
    struct buf sql; /* of the setting, while it runs */
    struct pgc_statement setting;
    struct op_reply reply;
    op_done_fn *done;
    void *ctx;
};

enum { SETTING_BYTES = 4096 };

static void conn_closed(void *ctx)
{
    struct link_op *self = ctx;
    self->was_closed = true;
    op_mark(&self->op);
}

static void start_closing(struct link_op *self)
{
    struct link *link = &self->txn->link;
    struct pgc_conn *conn = link->conn;

    link->conn = NULL;
    link->is_set_up = false;
    pgc_end(conn, conn_closed, self);
    op_set_state(&self->op, LINK_CLOSING);
}

static void start_connecting(struct link_op *self)
{
    struct link *link = &self->txn->link;

    link->conn = pgc_conn_new(self->txn->loop, self->txn->options.pg);
    op_reply_expect(&self->reply, &self->op);
    pgc_connect(link->conn, op_reply_done, &self->reply);
    op_set_state(&self->op, LINK_CONNECTING);
}

static void start_setting(struct link_op *self)
{
    struct pgc_batch batch = {.statements = &self->setting, .count = 1};

    rs_sql_truncate_strings(&self->sql);
    self->setting = (struct pgc_statement){
        .label = "making the session's settings", .sql = self->sql.data, .sync = true};
    op_reply_expect(&self->reply, &self->op);
    pgc_run(self->txn->link.conn, &batch, op_reply_done, &self->reply);
    op_set_state(&self->op, LINK_SETTING);
}

static void look(struct link_op *self)
{
    struct link *link = &self->txn->link;

    if (link->conn && (self->drop_only || !pgc_is_connected(link->conn) || !link->is_set_up)) {
        start_closing(self);
    } else if (self->drop_only || link->conn) {
        op_finish(&self->op);
    } else {
        start_connecting(self);
    }
}

static void link_step(struct op *op)
{
    struct link_op *self = CONTAINER_OF(op, struct link_op, op);
    struct error *err;

    switch ((enum link_state)op->state) {
    case LINK_LOOKING:
        look(self);
        break;
    case LINK_CLOSING:
        if (!self->was_closed) {
            return;
        }
        if (self->drop_only) {
            op_finish(op);
        } else {
            start_connecting(self);
        }
        break;
    case LINK_CONNECTING:
        if (!op_reply_take(&self->reply, &err)) {
            return;
        }
        if (err) {
            op_fail(op, err);
            op_finish(op);
        } else {
            start_setting(self);
        }
        break;
    case LINK_SETTING:
        if (!op_reply_take(&self->reply, &err)) {
            return;
        }
        self->txn->link.is_set_up = err == NULL;
        op_fail(op, err);
        op_finish(op);
        break;
    }
}

static const struct op_kind link_kind = {
    .name = "link",
    .state_names = link_state_names,
    .state_count = ARRAY_LEN(link_state_names),
    .moves = link_moves,
    .step = link_step,
};

static void link_ended(void *ctx, struct error *err)
{
    struct link_op *self = ctx;
    op_done_fn *done = self->done;
    void *done_ctx = self->ctx;

    buf_done(&self->sql);
    mem_free(self);
    done(done_ctx, err);
}

static void start(struct txn *txn, bool drop_only, op_done_fn *done, void *ctx)
{
    struct link_op *self = mem_alloc(sizeof *self);

    self->txn = txn;
    self->drop_only = drop_only;
    self->done = done;
    self->ctx = ctx;
    buf_init(&self->sql, SETTING_BYTES);
    op_init(&self->op, txn->loop, &link_kind, link_ended, self);
    op_mark(&self->op);
}

void link_connect(struct txn *txn, op_done_fn *done, void *ctx)
{
    start(txn, false, done, ctx);
}

void link_drop(struct txn *txn, op_done_fn *done, void *ctx)
{
    start(txn, true, done, ctx);
}

bool link_is_connected(const struct txn *txn)
{
    return txn->link.conn && pgc_is_connected(txn->link.conn);
}

unsigned link_last_failed(const struct txn *txn)
{
    return txn->link.conn ? pgc_last_failed(txn->link.conn) : UINT_MAX;
}
