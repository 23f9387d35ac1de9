/*
 * runtime/reply: a child's done as a fact of its parent. In: the child's one answer. Out: a mark on
 * the parent, whose step takes the answer when it gets there.
 */

#include "runtime/op.h"

void op_reply_expect(struct op_reply *reply, struct op *parent)
{
    CHECK(!reply->awaited && !reply->came);
    reply->parent = parent;
    reply->awaited = true;
}

void op_reply_done(void *ctx, struct error *err)
{
    struct op_reply *reply = ctx;

    CHECK(reply->awaited);
    reply->awaited = false;
    reply->came = true;
    reply->err = err;
    op_mark(reply->parent);
}

bool op_reply_take(struct op_reply *reply, struct error **ret_err)
{
    if (!reply->came) {
        return false;
    }
    *ret_err = reply->err;
    reply->came = false;
    reply->err = NULL;
    return true;
}
