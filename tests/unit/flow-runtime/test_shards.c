/* Sessions of many processes: their tables are those of one, whatever dies and however the keys are
   divided; and what a wrong connector does with its peers is seen. */
#include "whole.h"

static void set_topology(struct whole *whole, const unsigned *topology, unsigned count)
{
    whole->options.is_v2 = true;
    whole->options.topology_count = count;
    memcpy(whole->options.topology, topology, count * sizeof(*topology));
}

static void shards_leave_the_tables_of_one(void **state)
{
    static const unsigned counts[] = {1, 2, 4, 7};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(counts) / sizeof(counts[0]); i++) {
        struct whole whole;
        whole_begin(&whole, "");
        whole.options.codec = i % 2 == 0 ? FR_CODEC_JSON : FR_CODEC_PROTO;
        set_topology(&whole, &counts[i / 2], 1);
        enum fr_end end = whole_run(&whole);
        if (end != FR_OK) {
            fail_msg("%u shards: ended with %d: %s", counts[i / 2], (int)end, whole.verdict);
        }
        whole_expect_tables(&whole, "shards");
        whole_end(&whole);
    }
}

static void the_shard_that_is_named_is_killed(void **state)
{
    static const struct {
        const char *point;
        unsigned count, shard;
    } rows[] = {
        {"open.sent", 1, 2},           {"opened.received", 1, 0},
        {"acknowledge.sent", 2, 1},    {"acknowledged.received", 2, 0},
        {"acknowledged.logged", 1, 1}, {"load.sent", 1, 0},
        {"flush.sent", 2, 2},          {"flushed.received", 2, 1},
        {"store.sent", 1, 1},          {"startCommit.before", 2, 2},
        {"startCommit.sent", 2, 0},    {"startedCommit.received", 2, 1},
        {"commit.logged", 2, 2},       {"commit.logged", 3, 0},
    };
    static const unsigned topology[] = {3};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct whole whole;
        char wanted[80];
        whole_begin(&whole, "");
        set_topology(&whole, topology, 1);
        whole.options.seed = i + 1;
        whole_kill_at(&whole, rows[i].point, rows[i].count);
        whole.options.kills[0].shard = rows[i].shard + 1;
        enum fr_end end = whole_run(&whole);
        (void)snprintf(wanted, sizeof(wanted), "shard %u was killed at %s", rows[i].shard,
                       rows[i].point);
        if (end != FR_OK || whole.kills != 1 || whole.restarts != 0 ||
            strcmp(whole.verdict, wanted) != 0) {
            fail_msg("%s@%u: ended with %d: %s", rows[i].point, rows[i].shard, (int)end,
                     whole.verdict);
        }
        whole_expect_tables(&whole, rows[i].point);
        whole_end(&whole);
    }
}

static void splits_and_joins_lose_and_repeat_nothing(void **state)
{
    static const unsigned topology[] = {1, 4, 2, 7, 1};
    static const enum fr_turn turns[] = {FR_TURN_NOT_DRAINED, FR_TURN_DRAINED, FR_TURN_ALTERNATE};
    (void)state;
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
        struct whole whole;
        whole_begin(&whole, "");
        set_topology(&whole, topology, 5);
        whole.options.session_commits = 1;
        whole.options.turn = turns[i];
        enum fr_end end = whole_run(&whole);
        if (end != FR_OK || whole.sessions < 5) {
            fail_msg("ending %zu: ended with %d after %u sessions: %s", i, (int)end, whole.sessions,
                     whole.verdict);
        }
        whole_expect_tables(&whole, "splits and joins");
        whole_end(&whole);
    }
}

static void a_session_after_a_death_has_the_next_topology(void **state)
{
    static const unsigned topology[] = {1, 4, 1};
    struct whole whole;
    (void)state;
    whole_begin(&whole, "");
    set_topology(&whole, topology, 3);
    whole_kill_at(&whole, "commit.logged", 2);
    whole_kill_at(&whole, "commit.logged", 3);
    whole.options.kills[1].shard = 3;
    if (whole_run(&whole) != FR_OK || whole.sessions != 3) {
        fail_msg("%u sessions: %s", whole.sessions, whole.verdict);
    }
    whole_expect_tables(&whole, "split and join after deaths");
    whole_end(&whole);
}

static void what_is_wrong_among_peers_is_seen(void **state)
{
    static const struct {
        const char *flaw;
        enum fr_end end;
        const char *words;
    } rows[] = {
        {"peer-checkpoint", FR_VIOLATION, "only shard zero returns a checkpoint"},
        {"replace-state", FR_FAILED, "a peer replaced the state"},
        {"drop-peer", FR_MISMATCH, "was not loaded"},
        {"forget-ranges", FR_MISMATCH, "was not loaded"},
        {"read-early", FR_MISMATCH, "mismatch"},
        {"silent-exit-on-store", FR_VIOLATION, "a process that exits 0 has answered"},
        {"loaded-in-store", FR_VIOLATION, "during the Store phase"},
    };
    static const unsigned topology[] = {3, 4};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct whole whole;
        whole_begin(&whole, rows[i].flaw);
        set_topology(&whole, topology, 2);
        whole.options.session_commits = 3;
        whole.options.force_loads = true;
        enum fr_end end = whole_run(&whole);
        if (end != rows[i].end || strstr(whole.verdict, rows[i].words) == NULL) {
            fail_msg("%s: ended with %d: %s", rows[i].flaw, (int)end, whole.verdict);
        }
        whole_end(&whole);
    }
}

static void the_first_runtime_has_one_shard(void **state)
{
    static const unsigned topology[] = {2};
    struct whole whole;
    (void)state;
    whole_begin(&whole, "");
    set_topology(&whole, topology, 1);
    whole.options.is_v2 = false;
    assert_int_equal(whole_run(&whole), FR_USAGE);
    assert_non_null(strstr(whole.verdict, "only the v2 runtime"));
    whole_end(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_leave_the_tables_of_one),
        cmocka_unit_test(the_shard_that_is_named_is_killed),
        cmocka_unit_test(splits_and_joins_lose_and_repeat_nothing),
        cmocka_unit_test(a_session_after_a_death_has_the_next_topology),
        cmocka_unit_test(what_is_wrong_among_peers_is_seen),
        cmocka_unit_test(the_first_runtime_has_one_shard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
