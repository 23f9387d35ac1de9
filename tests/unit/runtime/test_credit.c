/* runtime/credit and backoff. */

#include "runtime/credit.h"

#include "base/check.h"
#include "runtime/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Writes down who was called, and may do something then. */
struct listener {
    struct credit *credit;
    struct credit_waiter waiter;
    struct credit_saver saver;
    char name;
    char *calls; /* shared; a text */
    size_t take, give;
    struct listener *remove;
};

static void on_call(void *ctx)
{
    struct listener *listener = ctx;
    size_t at = 0;

    while (listener->calls[at]) {
        at++;
    }
    listener->calls[at] = listener->name;
    listener->calls[at + 1] = '\0';
    if (listener->remove) {
        credit_remove_waiter(&listener->remove->waiter);
        credit_remove_saver(&listener->remove->saver);
    }
    size_t take = listener->take;
    size_t give = listener->give;
    listener->take = listener->give = 0;
    if (take) {
        credit_take(listener->credit, take);
    }
    if (give) {
        credit_give(listener->credit, give);
    }
}

static struct listener make_listener(struct credit *credit, char name, char *calls)
{
    return (struct listener){.credit = credit, .name = name, .calls = calls};
}

static void start_listening(struct listener *listener, bool waits, bool saves)
{
    list_node_init(&listener->waiter.node);
    list_node_init(&listener->saver.node);
    listener->waiter.fn = on_call;
    listener->waiter.ctx = listener;
    listener->saver.fn = on_call;
    listener->saver.ctx = listener;
    if (waits) {
        credit_add_waiter(listener->credit, &listener->waiter);
    }
    if (saves) {
        credit_add_saver(listener->credit, &listener->saver);
    }
}

static void it_closes_at_the_budget_and_opens_at_three_quarters(void **state)
{
    static const struct {
        int change;
        size_t used;
        bool open;
    } rows[] = {
        {99, 99, true},   {1, 100, false},   {50, 150, false}, {-60, 90, false},
        {-14, 76, false}, {-1, 75, true},    {24, 99, true},   {1, 100, false},
        {-100, 0, true},  {100, 100, false}, {-100, 0, true},
    };
    struct credit *credit = credit_new(100);

    (void)state;
    assert_true(credit_is_open(credit));
    assert_int_equal(credit_budget(credit), 100);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].change > 0) {
            credit_take(credit, (size_t)rows[i].change);
        } else {
            credit_give(credit, (size_t)-rows[i].change);
        }
        if (credit_used(credit) != rows[i].used || credit_is_open(credit) != rows[i].open) {
            fail_msg("row %zu: %zu", i, credit_used(credit));
        }
    }
    assert_int_equal(credit_peak(credit), 150);
    credit_free(credit);
    credit_free(NULL);
}

static void waiters_are_called_in_order_at_each_opening(void **state)
{
    char calls[40] = "";
    struct credit *credit = credit_new(100);
    struct listener a = make_listener(credit, 'a', calls);
    struct listener b = make_listener(credit, 'b', calls);
    struct listener c = make_listener(credit, 'c', calls);

    (void)state;
    start_listening(&a, true, false);
    start_listening(&b, true, false);
    start_listening(&c, true, false);
    credit_take(credit, 100);
    credit_give(credit, 10);
    assert_string_equal(calls, "");
    credit_give(credit, 15);
    assert_string_equal(calls, "abc");
    credit_give(credit, 75);
    assert_string_equal(calls, "abc");
    credit_take(credit, 100);
    credit_remove_waiter(&b.waiter);
    credit_give(credit, 100);
    assert_string_equal(calls, "abcac");
    credit_free(credit);
}

static void a_waiter_that_closes_the_ledger_keeps_the_others_waiting(void **state)
{
    char calls[40] = "";
    struct credit *credit = credit_new(100);
    struct listener a = make_listener(credit, 'a', calls);
    struct listener b = make_listener(credit, 'b', calls);

    (void)state;
    start_listening(&a, true, false);
    start_listening(&b, true, false);
    a.take = 100;
    credit_take(credit, 100);
    credit_give(credit, 100);
    assert_string_equal(calls, "a");
    assert_false(credit_is_open(credit));
    credit_give(credit, 100); /* b was not reached: it is first now */
    assert_string_equal(calls, "aba");
    credit_free(credit);
}

static void a_waiter_may_take_others_out(void **state)
{
    char calls[40] = "";
    struct credit *credit = credit_new(100);
    struct listener a = make_listener(credit, 'a', calls);
    struct listener b = make_listener(credit, 'b', calls);
    struct listener c = make_listener(credit, 'c', calls);

    (void)state;
    start_listening(&a, true, false);
    start_listening(&b, true, false);
    start_listening(&c, true, false);
    a.remove = &b;
    c.remove = &c;
    credit_take(credit, 100);
    credit_give(credit, 100);
    assert_string_equal(calls, "ac");
    a.remove = NULL;
    credit_take(credit, 100);
    credit_give(credit, 100);
    assert_string_equal(calls, "aca");
    credit_free(credit);
}

static void savers_are_asked_in_order_while_it_is_closed(void **state)
{
    char calls[40] = "";
    struct credit *credit = credit_new(100);
    struct listener a = make_listener(credit, 'a', calls);
    struct listener b = make_listener(credit, 'b', calls);

    (void)state;
    start_listening(&a, false, true);
    start_listening(&b, false, true);
    credit_take(credit, 99);
    assert_string_equal(calls, "");
    credit_take(credit, 1);
    assert_string_equal(calls, "ab");
    credit_take(credit, 0); /* nothing was taken */
    assert_string_equal(calls, "ab");
    credit_take(credit, 1);
    assert_string_equal(calls, "abab");
    a.take = 5; /* a compressor's last block, say: asks nobody again */
    credit_take(credit, 1);
    assert_string_equal(calls, "ababab");
    assert_int_equal(credit_used(credit), 107);
    a.give = 107; /* lets go at once: nobody else has to */
    credit_take(credit, 1);
    assert_string_equal(calls, "abababa");
    assert_true(credit_is_open(credit));
    credit_give(credit, 1);
    credit_take(credit, 100); /* who was not reached is first now */
    assert_string_equal(calls, "ababababa");
    credit_give(credit, 100);
    credit_free(credit);
}

static void a_tiny_budget_opens_again(void **state)
{
    struct credit *credit = credit_new(1);

    (void)state;
    credit_take(credit, 1);
    assert_false(credit_is_open(credit));
    credit_give(credit, 1);
    assert_true(credit_is_open(credit));
    credit_free(credit);
}

/* ---------------------------------------------------------------- backoff */

static void waits_grow_between_half_and_all_up_to_the_cap(void **state)
{
    static const struct backoff_policy policy = {
        .max_attempts = 5, .first_ms = 100, .cap_ms = 1000};
    static const struct {
        unsigned attempt;
        uint64_t most;
        bool again;
    } rows[] = {
        {1, 100, true},
        {2, 200, true},
        {3, 400, true},
        {4, 800, true},
        {5, 1000, false},
        {6, 1000, false},
        {4000000000U, 1000, false},
    };
    struct random random = {1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t smallest = UINT64_MAX;
        uint64_t largest = 0;
        assert_int_equal(backoff_may_retry(&policy, rows[i].attempt), rows[i].again);
        for (unsigned round = 0; round < 3000; round++) {
            uint64_t wait = backoff_next(&policy, rows[i].attempt, &random);
            smallest = wait < smallest ? wait : smallest;
            largest = wait > largest ? wait : largest;
        }
        if (smallest < rows[i].most / 2 || largest > rows[i].most) {
            fail_msg("attempt %u: %llu to %llu", rows[i].attempt, (unsigned long long)smallest,
                     (unsigned long long)largest);
        }
        assert_true(largest - smallest > rows[i].most / 4); /* there is jitter */
    }
}

static void extreme_policies_do_not_overflow(void **state)
{
    static const struct backoff_policy huge = {10, UINT64_MAX / 2 + 5, UINT64_MAX - 1};
    static const struct backoff_policy none = {10, 0, 1000};
    static const struct backoff_policy capped = {10, 5000, 1000};
    struct random random = {1};

    (void)state;
    assert_true(backoff_next(&huge, 9, &random) >= (UINT64_MAX - 1) / 2);
    assert_int_equal(backoff_next(&none, 4000000000U, &random), 0);
    assert_true(backoff_next(&capped, 1, &random) <= 1000);
}

/* Whatever is used, it stays closed as long as anybody holds it, and tells waiters once. */
static void holds_keep_it_closed(void **state)
{
    static const struct {
        char act; /* hold, release, take, give */
        size_t bytes;
        bool open;
        const char *calls; /* since the beginning */
    } rows[] = {
        {'h', 0, false, ""},       {'t', 10, false, ""},     {'h', 0, false, ""},
        {'r', 0, false, ""},       {'r', 0, true, "w"},      {'t', 90, false, "ws"},
        {'h', 0, false, "ws"},     {'g', 50, false, "ws"},   {'r', 0, true, "wsw"},
        {'h', 0, false, "wsw"},    {'t', 60, false, "wsws"}, {'r', 0, false, "wsws"},
        {'g', 110, true, "wswsw"},
    };
    char calls[40] = "";
    struct credit *credit = credit_new(100);
    struct listener waiter = make_listener(credit, 'w', calls);
    struct listener saver = make_listener(credit, 's', calls);

    (void)state;
    start_listening(&waiter, true, false);
    start_listening(&saver, false, true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        switch (rows[i].act) {
        case 'h':
            credit_hold(credit);
            break;
        case 'r':
            credit_release(credit);
            break;
        case 't':
            credit_take(credit, rows[i].bytes);
            break;
        default:
            credit_give(credit, rows[i].bytes);
            break;
        }
        if (credit_is_open(credit) != rows[i].open || strcmp(calls, rows[i].calls) != 0) {
            fail_msg("row %zu: \"%s\"", i, calls);
        }
    }
    credit_free(credit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_closes_at_the_budget_and_opens_at_three_quarters),
        cmocka_unit_test(holds_keep_it_closed),
        cmocka_unit_test(waiters_are_called_in_order_at_each_opening),
        cmocka_unit_test(a_waiter_that_closes_the_ledger_keeps_the_others_waiting),
        cmocka_unit_test(a_waiter_may_take_others_out),
        cmocka_unit_test(savers_are_asked_in_order_while_it_is_closed),
        cmocka_unit_test(a_tiny_budget_opens_again),
        cmocka_unit_test(waits_grow_between_half_and_all_up_to_the_cap),
        cmocka_unit_test(extreme_policies_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
