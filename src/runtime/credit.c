/*
 * runtime/credit: the ledger of bytes. Comes in: bytes taken and given; goes out: "closed" to the
 * savers and "open" to the waiters, once per change. It never knows whose bytes they are.
 */

#include "runtime/credit.h"

#include "base/check.h"

struct credit {
    size_t budget, low; /* closes at budget, reopens at low */
    size_t used, peak;
    bool closed; /* by its bytes */
    unsigned holds;
    bool tells_savers;  /* we are inside their calls: what these take asks nobody again */
    bool tells_waiters; /* we are inside their calls */
    bool opened_again;  /* while telling waiters it closed and opened once more */
    struct list waiters, savers;
};

struct credit *credit_new(size_t budget_bytes)
{
    struct credit *credit = mem_alloc(sizeof(*credit));

    CHECK(budget_bytes > 0);
    credit->budget = budget_bytes;
    credit->low = budget_bytes - budget_bytes / 4;
    if (credit->low == budget_bytes) {
        credit->low--; /* tiny budgets too must fall before they reopen */
    }
    list_init(&credit->waiters);
    list_init(&credit->savers);
    return credit;
}

void credit_free(struct credit *credit)
{
    if (!credit) {
        return;
    }
    CHECK(credit->used == 0 && credit->holds == 0);
    /* Who is still registered may take himself out later, without us. */
    while (list_pop(&credit->waiters) || list_pop(&credit->savers)) {
    }
    mem_free(credit);
}

/* Moves all nodes of from, in their order, to the front of to. */
static void move_to_front(struct list *to, struct list *from)
{
    struct list_node *first = list_first(to);
    struct list_node *where = first ? first : &to->head;
    struct list_node *node;

    while ((node = list_pop(from))) {
        list_insert_before(where, node);
    }
}

/*
 * Calling a list whose nodes may come and go meanwhile: those not called yet wait in a list of
 * their own, from which their owners can take them out as from the first. Who was not called
 * because the ledger changed again stands in front the next time.
 */
static void tell_savers(struct credit *credit)
{
    struct list pending;
    struct list_node *node;

    if (credit->tells_savers) {
        return;
    }
    credit->tells_savers = true;
    list_init(&pending);
    move_to_front(&pending, &credit->savers);
    while (credit->closed && (node = list_pop(&pending))) {
        struct credit_saver *saver = CONTAINER_OF(node, struct credit_saver, node);
        list_push(&credit->savers, node);
        saver->fn(saver->ctx);
    }
    move_to_front(&credit->savers, &pending);
    credit->tells_savers = false;
}

static void tell_waiters(struct credit *credit)
{
    struct list pending;
    struct list_node *node;

    if (credit->tells_waiters) {
        credit->opened_again = true;
        return;
    }
    credit->tells_waiters = true;
    do {
        credit->opened_again = false;
        list_init(&pending);
        move_to_front(&pending, &credit->waiters);
        while (credit_is_open(credit) && (node = list_pop(&pending))) {
            struct credit_waiter *waiter = CONTAINER_OF(node, struct credit_waiter, node);
            list_push(&credit->waiters, node);
            waiter->fn(waiter->ctx);
        }
        move_to_front(&credit->waiters, &pending);
    } while (credit->opened_again && credit_is_open(credit));
    credit->tells_waiters = false;
}

void credit_take(struct credit *credit, size_t bytes)
{
    CHECK(!__builtin_add_overflow(credit->used, bytes, &credit->used));
    if (credit->used > credit->peak) {
        credit->peak = credit->used;
    }
    if (credit->used >= credit->budget) {
        credit->closed = true;
    }
    if (credit->closed && bytes > 0) {
        tell_savers(credit);
    }
}

void credit_give(struct credit *credit, size_t bytes)
{
    CHECK(bytes <= credit->used);
    credit->used -= bytes;
    if (credit->closed && credit->used <= credit->low) {
        credit->closed = false;
        if (credit->holds == 0) {
            tell_waiters(credit);
        }
    }
}

void credit_hold(struct credit *credit)
{
    credit->holds++;
}

void credit_release(struct credit *credit)
{
    CHECK(credit->holds > 0);
    credit->holds--;
    if (credit_is_open(credit)) {
        tell_waiters(credit);
    }
}

bool credit_is_open(const struct credit *credit)
{
    return !credit->closed && credit->holds == 0;
}

size_t credit_used(const struct credit *credit)
{
    return credit->used;
}

size_t credit_peak(const struct credit *credit)
{
    return credit->peak;
}

size_t credit_budget(const struct credit *credit)
{
    return credit->budget;
}

void credit_add_waiter(struct credit *credit, struct credit_waiter *waiter)
{
    list_push(&credit->waiters, &waiter->node);
}

void credit_remove_waiter(struct credit_waiter *waiter)
{
    list_remove(&waiter->node);
}

void credit_add_saver(struct credit *credit, struct credit_saver *saver)
{
    list_push(&credit->savers, &saver->node);
}

void credit_remove_saver(struct credit_saver *saver)
{
    list_remove(&saver->node);
}
