/* Group QE: errors and breaks in the warehouse's session. */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stddef.h>
#include <string.h>

#define CUT(step)                                                                                  \
    {                                                                                              \
        .name = "before " step, .sql = step "#1 before cut %1\n"                                   \
    }
#define ONCE(step, code, message)                                                                  \
    {                                                                                              \
        .name = step ", " code " once", .sql = step "#1 before fail %1 " code " " message "\n"     \
    }

static const struct point qe1[] = {{.name = "three times",
                                    .sql = "connect#1 before cut %1\nconnect#2 before cut %2\n"
                                           "connect#3 before cut %3\n"}};
/* The connection that widens ahead may take some of these for itself. */
static const struct point qe1_warm[] = {
    {.name = "at an apply",
     .sql = "apply.lock#1 before cut %1\nconnect#1 before cut %2\nconnect#2 before cut %3\n"
            "connect#3 before cut %4\n"},
    {.name = "at Open",
     .kills = {"commit.logged#2"},
     .sql = "connect#1 before cut %1\nconnect#2 before cut %2\nconnect#3 before cut %3\n"
            "connect#4 before cut %4\n"}};
static const struct point qe1_always[] = {{.name = "at Open",
                                           .kills = {"commit.logged#2"},
                                           .sql = "connect before cut -\n",
                                           .text = "server closed the connection"}};
static const struct point qe2[] = {
    {.name = "at a new connection",
     .sql = "apply.lock#1 before cut %1\n"
            "auth#1 before fail %2 28000 password authentication failed for user \"loader\"\n"}};
static const struct point qe3[] = {CUT("load.query")};
static const struct point qe4[] = {
    {.name = "in the rows", .sql = "load.query#2 short 3\nload.query#1 after cut %1\n"}};
static const struct point qe5[] = {
    {.name = "behind the rows", .sql = "load.query#1 after cut %1\n"}};
static const struct point qe6[] = {
    CUT("apply.lock"),  CUT("apply.check"),     CUT("apply.temp"),       CUT("apply.temp.copy"),
    CUT("apply.count"), CUT("apply.put.merge"), CUT("apply.put.direct"), CUT("token")};
static const struct point qe7[] = {CUT("apply.commit")};
static const struct point qe8[] = {
    {.name = "after apply.commit", .sql = "apply.commit#1 after cut %1\n"}};
static const struct point qe9[] = {
    {.name = "COMMIT comes late", .sql = "apply.commit#1 before late %1\n"}};
/* Whether the server has done it or not, it takes the connection for alive until the next attempt
 * waits for its lock. */
static const struct point qe10[] = {
    {.name = "before put.merge",
     .sql = "apply.put.merge#1 before silence %1\n",
     .text = "Connection timed out"},
    {.name = "after put.merge",
     .sql = "apply.put.merge#1 after silence %1\n",
     .text = "Connection timed out"},
    {.name = "before apply.commit",
     .sql = "apply.commit#1 before silence %1\n",
     .text = "Connection timed out"},
    {.name = "after apply.commit",
     .sql = "apply.commit#1 after silence %1\n",
     .text = "Connection timed out"},
};
static const struct point qe11[] = {ONCE("token", "XX000", "1023"),
                                    {.name = "token, four times",
                                     .sql = "token#1 before fail %1 XX000 1023\n"
                                            "token#2 before fail %2 XX000 1023\n"
                                            "token#3 before fail %3 XX000 1023\n"
                                            "token#4 before fail %4 XX000 1023\n"}};
static const struct point qe11_always[] = {
    {.name = "token, always", .sql = "token before fail - XX000 1023\n", .text = "1023"}};
static const struct point qe12[] = {ONCE("put.merge", "XX000", "1023"),
                                    ONCE("del.exec", "XX000", "1023"),
                                    ONCE("apply.commit", "XX000", "1023")};
static const struct point qe13[] = {
    ONCE("apply.lock", "40P01", "deadlock detected"),
    ONCE("apply.put.direct",
         "XX000",
         "could not complete because of conflict with concurrent transaction")};
static const struct point qe14[] = {{.name = "token",
                                     .sql = "token before fail - XX000 the hub is on fire\n",
                                     .text = "the hub is on fire"}};
static const struct point qe15[] = {{.name = "snapshot", .text = "snapshot"},
                                    {.name = "serializable", .text = "serializable"}};
static const struct point qe16[] = {{.name = "too much for the column",
                                     .sql = "apply.temp rewrite fp BIGINT=>fp SMALLINT\n",
                                     .text = "fp"},
                                    {.name = "too long for the column",
                                     .sql = "load.temp rewrite VARCHAR(256)=>VARCHAR(4)\n",
                                     .text = "load error 1204"}};
static const struct point qe16_files[] = {
    {.name = "a line above 4 MB", .text = "-b0003-store-|{\"id\":\"%L\"}|(load error 1216"},
    {.name = "a value that no SUPER holds",
     .text = "-b0003-store-|{\"id\":\"a\",\"flow_document\":{\"%l\":1}}|(load error 1224"},
    {.name = "a code without advice",
     .text = "-b0003-store-|{\"id\":\"a\",\"seq\":\"x\"}|(load error 1207"},
};
static const struct point qe18[] = {
    {.name = "removed", .text = "-b0003-store-|gone|-b0003-store-"},
};
static const struct point qe17[] = {
    {.name = "denied",
     .sql = "apply.put.direct before fail - XX000 Load into table t failed for no reason\n"
            "explain before fail - 42501 permission denied for sys_load_error_detail\n",
     .text = "Load into table t failed for no reason"},
    {.name = "empty",
     .sql = "apply.put.direct before fail - XX000 Load into table t failed for no reason\n",
     .text = "Load into table t failed for no reason"},
    {.name = "lost",
     .sql = "apply.put.direct before fail - XX000 Load into table t failed for no reason\n"
            "explain#1 before cut %1\n",
     .text = "Load into table t failed for no reason"}};
static const struct point qe19[] = {{.name = "one row",
                                     .sql = "apply.count rewrite pg_last_copy_count()=>1\n",
                                     .text = "nothing was committed"}};
static const struct point qe20[] = {
    ONCE("token", "57P01", "terminating connection due to administrator command"),
    {.name = "connect, too many sessions",
     .sql = "apply.lock#1 before cut %1\nauth#1 before fail %2 53300 too many connections\n"},
    ONCE("put.merge", "XX000", "Cannot execute write query because system is in resize mode"),
    ONCE("apply.put.direct", "XX000", "cluster is resizing")};
static const struct point qe20_ends[] = {
    {.name = "put.merge, denied",
     .sql = "put.merge#1 before fail %1 42501 permission denied for relation accounts\n",
     .text = "permission denied for relation accounts"},
    {.name = "COPY, disk full",
     .sql = "apply.put.direct#1 before fail %1 53100 Disk Full\n",
     .text = "Disk Full"},
    {.name = "COPY, its keys are denied",
     .sql = "apply.put.direct#1 before fail %1 XX000 S3ServiceException:Access Denied,Status "
            "403,Error AccessDenied\n",
     .text = "S3ServiceException:Access Denied"}};
static const struct point qe21[] = {
    ONCE("widen", "0A000", "target column size should be different"),
    ONCE("widen", "42501", "must be owner of relation accounts")};
static const struct point qe21_shards[] = {{.name = "both wait", .sql = "widen before hold %1\n"}};
static const struct point qe22[] = {
    ONCE("put.merge", "57014", "canceling statement due to statement timeout")};
static const struct point qe23[] = {
    {.name = "two rows",
     .text =
         "INSERT INTO %S.flow_checkpoints_v1 (materialization, key_begin, key_end, fence, "
         "checkpoint, checkpoint_tokens) SELECT materialization, key_begin, key_end, fence + 1, "
         "checkpoint, checkpoint_tokens FROM %S.flow_checkpoints_v1=>"
         "DELETE FROM %S.flow_checkpoints_v1 WHERE fence > (SELECT MIN(fence) FROM "
         "%S.flow_checkpoints_v1)|two rows"},
    {.name = "tokens that are none",
     .text =
         "UPDATE %S.flow_checkpoints_v1 SET checkpoint = checkpoint_tokens, checkpoint_tokens = "
         "'zz'=>UPDATE %S.flow_checkpoints_v1 SET checkpoint_tokens = checkpoint, checkpoint = "
         "NULL|tokens"}};

/* A COPY without rows is taken for the one that was wanted. */
#define COUNT_WHAT_WAS                                                                             \
    "apply.count rewrite pg_last_copy_count()=>COALESCE(NULLIF(pg_last_copy_count(), 0), %L)\n"

/* A failure that no second attempt mends is tried once. */
static void it_was_tried_once(struct trial *trial)
{
    const char *trace = story_read(trial->story, story_path(trial->story, "first-sql.trace"), NULL);
    const char *failed = strstr(trace, "\"what\":\"failed\"");

    if (!failed || strstr(failed + 1, "\"what\":\"failed\"")) {
        trial_finds(trial, 22, "the statement was not tried once");
    }
}

static unsigned count_words(const char *text, const char *word)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, word)); at++) {
        count++;
    }
    return count;
}

/* As often as is specified, and no more. */
static void expect_five(struct trial *trial, unsigned count)
{
    if (count != 5) {
        trial_finds(trial, 22, "it was tried %u times", count);
    }
}

static void it_was_tried_five_times(struct trial *trial)
{
    const char *trace = story_read(trial->story, story_path(trial->story, "first-sql.trace"), NULL);

    expect_five(trial, count_words(trace, "\"what\":\"failed\""));
}

/* By the process that came last. */
static void it_connected_five_times(struct trial *trial)
{
    const char *trace = story_read(trial->story, story_path(trial->story, "first-sql.trace"), NULL);
    unsigned count = 0;
    int64_t last = 0;

    for (const char *at = trace; (at = strstr(at, "\"what\":\"cut\"")); at++) {
        int64_t client = story_number(at, "client");
        count = client == last ? count + 1 : 1;
        last = client;
    }
    expect_five(trial, count);
}

/* Two columns in each of two shards; the later of each pair finds it wide, which is no failure. */
static void both_have_widened(struct trial *trial)
{
    if (count_words(trial->sql_trace, "\"step\":\"widen\"") < 4) {
        trial_troubles(trial, "the shards did not both widen");
    }
}

/* What is to be done again is all of the transaction. */
#define REDO                                                                                       \
    {                                                                                              \
        {                                                                                          \
            .name = "RETRY-STATEMENT", .caught_by = "I12", .sql = RETRY_STATEMENT                  \
        }                                                                                          \
    }
/* ... and nothing of it may be kept by a COMMIT in the middle: at this point. */
#define REDO_ALL(at)                                                                               \
    {                                                                                              \
        {.name = "RETRY-STATEMENT", .caught_by = "I12", .sql = RETRY_STATEMENT, .point = at},      \
        {                                                                                          \
            .name = "COMMIT-PER-BINDING", .caught_by = "I4", .sql = COMMIT_PER_BINDING,            \
            .point = at                                                                            \
        }                                                                                          \
    }

/* From each connection's first statement on. */
static const struct point qe24[] = {
    {.name = "all the time",
     .sql = "show chatter 4\ncatalog chatter 4\nset chatter 4\nbegin chatter 4\n"}};

/* Nobody has tried anything again, and nobody has told of what was said. */
static void nothing_has_changed(struct trial *trial)
{
    trial->faults++;
    if (strstr(trial->sql_trace, "\"what\":\"chatters\"")) {
        trial->hits++;
    } else {
        trial_troubles(trial, "the server never chattered");
    }
    if (strstr(trial->log, "trying again") || strstr(trial->log, "hub is on fire")) {
        trial_finds(trial, 22, "what the server said beside its answers has changed something");
    }
}

static const struct scenario rows[] = {
    {.id = "QE1",
     .title = "connections are refused at first",
     .is_cold = true,
     .restarts = 3,
     POINTS(qe1),
     .defects = {{.name = "NO-RETRY",
                  .caught_by = "I22",
                  .sql = "connect before cut -\n",
                  .is_alone = true}}},
    {.id = "QE1W",
     .title = "connections are refused to a task that runs, and at Open",
     POINTS(qe1_warm),
     .defects = {{.name = "NO-RETRY",
                  .caught_by = "I22",
                  .sql = "apply.lock#1 before cut %1\nauth#1-2 before fail - 28000 refused\n",
                  .is_alone = true},
                 {.name = "RETRY-STATEMENT", .caught_by = "I12", .sql = RETRY_STATEMENT}}},
    {.id = "QE1A",
     .title = "connections are refused always",
     POINTS(qe1_always),
     .play = play_stuck,
     .check = it_connected_five_times,
     .defects = {{.name = "RETRY-FOREVER",
                  .caught_by = "I22",
                  .sql = "connect#1-3 before cut -\n",
                  .is_alone = true}}},
    {.id = "QE2",
     .title = "the password is refused once",
     .restarts = 1,
     .says = "loader",
     POINTS(qe2),
     .defects = {{.name = "NO-RETRY",
                  .caught_by = "I22",
                  .sql = "apply.lock#1 before cut %1\nauth before fail - 28000 password "
                         "authentication failed\n",
                  .is_alone = true}}},
    {.id = "QE3",
     .title = "reset before the first row of a lookup",
     POINTS(qe3),
     .defects = {{.name = "READ-SHORT",
                  .caught_by = "I13",
                  .sql = "load.query short 0\n",
                  .is_alone = true}}},
    {.id = "QE4",
     .title = "reset in the rows of a lookup",
     .restarts = 1,
     POINTS(qe4),
     .defects = {{.name = "READ-SHORT", .caught_by = "I13", .sql = READ_SHORT, .is_alone = true}}},
    {.id = "QE5",
     .title = "reset behind the last row, before it is told that it was",
     .restarts = 1,
     .mode = "v2",
     POINTS(qe5),
     .defects = {{.name = "READ-SHORT", .caught_by = "I13", .sql = READ_SHORT, .is_alone = true}}},
    {.id = "QE6", .title = "reset at each step of an apply", POINTS(qe6), .defects = REDO_ALL(7)},
    {.id = "QE7",
     .title = "reset at COMMIT, which was not done",
     .mode = "v2",
     POINTS(qe7),
     .defects = {{.name = "CLEAR-EARLY", .caught_by = "I3 I12", .sql = LOST_COMMIT}}},
    {.id = "QE8",
     .title = "reset at COMMIT, which was done",
     POINTS(qe8),
     .is_short = true,
     .defects = {{.name = "RETRY-COMMIT", .caught_by = "I4", .sql = SKIP_TOKEN}}},
    {.id = "QE9",
     .title = "reset at COMMIT, which is done later",
     POINTS(qe9),
     .play = play_late,
     .defects = {{.name = "CHECK-BEFORE-LOCK", .caught_by = "I4", .sql = BLIND_CHECK}}},
    {.id = "QE10",
     .title = "what lies between forgets the connection, and nothing arrives any more",
     POINTS(qe10),
     .play = play_silent,
     .defects = {{.name = "NO-TIMEOUT",
                  .caught_by = "I22",
                  .environment = "HASTY_FACTOR=0",
                  .options = {"--timeout", "25"}},
                 {.name = "RETRY-COMMIT", .caught_by = "I4", .sql = SKIP_TOKEN, .point = 3}}},
    {.id = "QE11",
     .title = "1023 at the tokens, once and four times",
     POINTS(qe11),
     .defects = REDO_ALL(0)},
    {.id = "QE11A",
     .title = "1023 at the tokens, always",
     POINTS(qe11_always),
     .play = play_stuck,
     .check = it_was_tried_five_times,
     .defects = {{.name = "RETRY-FOREVER",
                  .caught_by = "I22",
                  .sql = "token#4 before run SELECT 1\ntoken#1-3 before fail - XX000 1023\n",
                  .is_alone = true}}},
    {.id = "QE12",
     .title = "1023 at other steps",
     .mode = "v2",
     .hard_delete = true,
     POINTS(qe12),
     .defects = REDO_ALL(2)},
    {.id = "QE13",
     .title = "deadlock; conflict of a COPY",
     POINTS(qe13),
     .defects =
         {{.name = "NO-RETRY",
           .caught_by = "I22",
           .sql = "apply.lock#1 before fail %1 55P03 deadlock detected\n",
           .is_alone = true},
          {.name = "RETRY-STATEMENT", .caught_by = "I12", .sql = RETRY_STATEMENT, .point = 1}}},
    {.id = "QE14",
     .title = "XX000 that is no conflict",
     POINTS(qe14),
     .play = play_stuck,
     .check = it_was_tried_once,
     .defects = {{.name = "RETRY-ALL-XX000",
                  .caught_by = "I22",
                  .sql = "token before fail - XX000 1023\n",
                  .is_alone = true}}},
    {.id = "QE15",
     .title = "another writer of the same tables, in both isolations",
     POINTS(qe15),
     .play = play_contended,
     .defects = {{.name = "RETRY-STATEMENT", .caught_by = "I12", .sql = RETRY_STATEMENT},
                 {.name = "NO-RETRY",
                  .caught_by = "I22",
                  .sql = "apply.put.merge answer M1023=>M1024\n",
                  .point = 1}}},
    {.id = "QE16",
     .title = "COPY finds a number that does not fit",
     POINTS(qe16),
     .play = play_stuck,
     .defects = {{.name = "SWALLOW-COPY", .caught_by = "I3", .sql = DROP_NTH, .is_alone = true}}},
    {.id = "QE16F",
     .title = "COPY finds what no column takes, each time again",
     POINTS(qe16_files),
     .play = play_spoiled,
     .defects = {{.name = "SWALLOW-COPY", .caught_by = "I3", .sql = COUNT_WHAT_WAS}}},
    {.id = "QE17",
     .title = "COPY fails and nobody can say why",
     POINTS(qe17),
     .play = play_stuck,
     .defects = {{.name = "EXPLAIN-MASKS",
                  .caught_by = "I21",
                  .sql = "apply.put.direct before fail - XX000 permission denied\n",
                  .is_alone = true}}},
    {.id = "QE18",
     .title = "a staged file is gone: stuck until it is there again, never skipped",
     POINTS(qe18),
     .play = play_spoiled,
     .defects = {{.name = "OPTIONAL-FILES, IGNORE-COUNT",
                  .caught_by = "I3",
                  .sql = COUNT_WHAT_WAS}}},
    {.id = "QE19",
     .title = "COPY counts fewer rows than were staged",
     POINTS(qe19),
     .play = play_stuck,
     .defects = {{.name = "IGNORE-COUNT", .caught_by = "I3", .sql = DROP_NTH, .is_alone = true}}},
    {.id = "QE20",
     .title = "shut down, too many sessions, a resize: it passes",
     POINTS(qe20),
     .defects = REDO},
    {.id = "QE20E",
     .title = "denied, full, keys denied: an end with its cause, and another start",
     POINTS(qe20_ends),
     .play = play_stuck,
     .defects = {{.name = "RETRY-ALL",
                  .caught_by = "I22",
                  .sql = "put.merge#1 before fail %1 40001 permission denied\n",
                  .is_alone = true}}},
    {.id = "QE21",
     .title = "a widening that is there already; that is denied",
     .restarts = 1,
     POINTS(qe21),
     .defects = {{.name = "WIDEN-SHORT", .caught_by = "I7 I22", .sql = WIDEN_SHORT},
                 {.name = "WIDEN-FATAL",
                  .caught_by = "I22",
                  .sql = "widen before fail - 42501 target column size should be different\n",
                  .is_alone = true}}},
    {.id = "QE21S",
     .title = "two shards widen the same columns at the same instant",
     .mode = "v2",
     .options = {"--shards", "2"},
     POINTS(qe21_shards),
     .play = play_together,
     .check = both_have_widened,
     .defects = {{.name = "WIDEN-FATAL",
                  .caught_by = "I22",
                  .sql = "widen before fail - 42501 target column size should be different\n",
                  .is_alone = true}}},
    {.id = "QE22",
     .title = "a MERGE runs out of time",
     .restarts = 1,
     POINTS(qe22),
     .defects = {{.name = "SWALLOW-MERGE", .caught_by = "I1 I13", .sql = SWALLOW_MERGE},
                 {.name = "RETRY-STATEMENT", .caught_by = "I12", .sql = RETRY_STATEMENT}}},
    {.id = "QE23",
     .title = "the metadata table is not what it was",
     POINTS(qe23),
     .play = play_damaged,
     .defects = {{.name = "LENIENT-STATE",
                  .caught_by = "I21 I22",
                  .sql = "check rewrite ORDER BY=>AND FALSE ORDER BY\n"}}},
    {.id = "QE24",
     .title = "notices, changed parameters and single bytes between the answers",
     POINTS(qe24),
     .check = nothing_has_changed,
     .defects = {{.name = "NOTICE-IS-END", .caught_by = "I13", .sql = READ_SHORT},
                 {.name = "NOTICE-IS-ERROR",
                  .caught_by = "I22",
                  .sql = "put.merge#1 before fail %1 01000 the hub is on fire\n"}}},
};

GROUP(QE, rows);
