/*
 * txn/widen: columns that turn out to be too narrow while rows are staged. In: what the rows asked
 * for. Out: ALTER TABLE on the side connection, at once, so that the apply finds the column wide
 * and does not wait. The entry records the column all the same, and the apply widens whatever is
 * not known to be wide when it begins: a kill, a lost answer or a refusal here changes nothing.
 *
 * Any shard does it, the newest owner or not. An instance that was replaced and does not know it
 * yet can only make a VARCHAR wider, to the one width that every instance would choose; no value
 * changes, no row appears, and what a later instance stages fits all the better. So there is
 * nothing for the owner mark to guard, and asking for it would need the lock that this is to stay
 * clear of.
 *
 * It cannot deadlock with an apply, ours or another's: the statement is a transaction of its own
 * which takes one lock and holds none while it waits. And the apply never waits for its answer.
 */

#include "txn/engine.h"

#include "base/log.h"

/* Behind readers that take longer than this the apply may as well wait by itself: an ALTER that
 * waits makes every later reader wait behind it. */
#define WIDEN_BOUND_MS 20000

enum { STATEMENT_BYTES = 64 * 1024 };

struct widening {
    struct side_task task;
    struct list_node node; /* in txn->widenings */
    struct txn *txn;
    struct bound *bound;
    unsigned column;
    struct buf sql;
};

static bool has_bit(const uint64_t *bits, unsigned index)
{
    return bits[index / 64] >> (index % 64) & 1;
}

static void set_bit(uint64_t *bits, unsigned index)
{
    bits[index / 64] |= (uint64_t)1 << (index % 64);
}

/* What this process knows to be wide needs nothing; what failed in the last transaction may succeed
 * in this one. */
void widen_begin_binding(struct bound *bound)
{
    memset(bound->is_asked, 0, (bound->table.column_count / 64 + 1) * sizeof *bound->is_asked);
    for (unsigned i = 0; i < bound->table.column_count; i++) {
        if (bound->is_widened[i]) {
            set_bit(bound->is_asked, i);
        }
    }
}

static void widened(void *ctx, struct error *err)
{
    struct widening *self = ctx;
    struct bound *bound = self->bound;
    struct rs_column *column = &bound->columns[self->column];

    if (err) {
        log_event(LOG_INFO, "a column could not be widened ahead, the apply will do it",
                  LOG_SPAN("table", bound->table.identifier), LOG_SPAN("column", column->field),
                  LOG_STR("error", error_text(err)), LOG_END);
        error_free(err);
    } else {
        bound->is_widened[self->column] = true;
        column->char_max_length = ROW_MAX_TEXT;
        log_event(LOG_INFO, "widened a column ahead of its rows",
                  LOG_SPAN("table", bound->table.identifier), LOG_SPAN("column", column->field),
                  LOG_END);
    }
    list_remove(&self->node);
    buf_done(&self->sql);
    mem_free(self);
}

static void start(struct txn *txn, struct bound *bound, unsigned column)
{
    struct widening *self = mem_alloc(sizeof *self);

    self->txn = txn;
    self->bound = bound;
    self->column = column;
    buf_init(&self->sql, STATEMENT_BYTES);
    rs_sql_widen(&self->sql, &bound->table, &bound->columns[column]);
    CHECK(!buf_is_full(&self->sql));
    self->task = (struct side_task){
        .statement = {.label = "widening a column ahead", .sql = self->sql.data, .sync = true},
        .bound_ms = WIDEN_BOUND_MS,
        .done = widened,
        .ctx = self,
    };
    plan_allow_widened(&self->task.statement);
    list_push(&txn->widenings, &self->node);
    side_run(txn, &self->task);
}

/* After every row, so it is a comparison of words and nothing else where there is nothing new. */
void widen_look(struct txn *txn, struct bound *bound, const struct row_facts *facts)
{
    for (unsigned word = 0; word <= bound->table.column_count / 64; word++) {
        if (!(facts->widen[word] & ~bound->is_asked[word])) {
            continue;
        }
        for (unsigned i = word * 64; i < bound->table.column_count && i < (word + 1) * 64; i++) {
            if (has_bit(facts->widen, i) && !has_bit(bound->is_asked, i)) {
                set_bit(bound->is_asked, i);
                start(txn, bound, i);
            }
        }
    }
}

void widen_give_up(struct txn *txn)
{
    LIST_FOR_EACH(node, &txn->widenings)
    {
        side_give_up(txn, &CONTAINER_OF(node, struct widening, node)->task);
    }
}
