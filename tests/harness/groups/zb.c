/* Group ZB: zombies and duplicate instances. */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stdlib.h>
#include <string.h>

#define TAKEN_OVER "another instance of this task has taken over"

static const struct point zb1[] = {
    {.name = "at StartCommit", .flow = "startCommit#1 before stop %1\n"}};
/* Both halves of the owner mark are enough alone. */
static const struct point zb2[] = {
    {.name = "at StartCommit", .flow = "startCommit#1 before stop %1\n", .text = TAKEN_OVER},
    {.name = "the rows are read in vain",
     .sql = NO_OWNER_CHECK,
     .flow = "startCommit#1 before stop %1\n",
     .text = "is not ours any more"},
};
static const struct point zb3[] = {
    {.name = "before LOCK", .sql = "begin#2 before stop %1\n", .text = TAKEN_OVER}};
static const struct point zb5[] = {
    {.name = "behind LOCK", .sql = "apply.check#1 before stop %1\n"}};
static const struct point zb6[] = {
    {.name = "before the deletions", .s3 = "delete#1 before hold %1\n"}};
/* Something must be there to collect: files of a transaction that was not committed. */
static const struct point zb7[] = {
    {.name = "with an old list",
     .kills = {"startedCommit.received#3"},
     .s3 = "list#1 after hold %1\n"},
    {.name = "before the list",
     .kills = {"startedCommit.received#3"},
     .s3 = "list#1 before hold %1\n"},
};
static const struct point zb9[] = {{.name = "in an upload", .s3 = "put.data#2 before hold %1\n"}};
static const struct point zb10[] = {{.name = "three times",
                                     .flow = "acknowledge#4 before run repeat 3\n",
                                     .text = "sent Acknowledge where"}};
static const struct point zb11[] = {
    {.name = "before widen", .sql = "load.rollback#2 before stop %1\n", .text = TAKEN_OVER}};

/* The successor's columns are wide, and it has wide values in them. */
static void check_width(struct trial *trial)
{
    const char *width = story_query(
        trial->story,
        story_text(trial->story,
                   "SELECT character_maximum_length FROM information_schema.columns WHERE "
                   "table_schema = '%s' AND table_name = 'accounts' AND column_name = 'note'",
                   trial->story->schema));

    if (strcmp(width, "65535\n") != 0) {
        trial_finds(trial, 7, "accounts: note is %.*s bytes wide", (int)strcspn(width, "\n"),
                    width);
    }
    if (!strstr(story_read(trial->story, story_path(trial->story, "older-sql.trace"), NULL),
                "\"step\":\"widen\"")) {
        trial_troubles(trial, "the older instance has not widened");
    }
}

static const struct scenario rows[] = {
    {.id = "ZB1",
     .title = "halted at StartCommit; its runtime's commit is refused",
     POINTS(zb1),
     .play = play_orphaned,
     .defects = {{.name = "EARLY-APPLY", .caught_by = "I16", .flow = FLOW_EARLY_APPLY}}},
    {.id = "ZB2",
     .title = "halted at StartCommit; its runtime commits all the same, and its work is no token's",
     .mode = "v2",
     .newer_s3 = S3_LEAK,
     POINTS(zb2),
     .play = play_halted,
     .defects = {{.name = "SKIP-FENCE", .caught_by = "I4", .sql = SKIP_FENCE}}},
    {.id = "ZB3",
     .title = "halted before it locks; the successor applies the same work",
     .newer_s3 = S3_LEAK,
     POINTS(zb3),
     .is_short = true,
     .play = play_halted,
     .defects = {{.name = "BLIND-CHECK, SKIP-FENCE",
                  .caught_by = "I4",
                  .sql = BLIND_CHECK SKIP_FENCE}}},
    {.id = "ZB4",
     .title = "the same, second runtime; the successor goes on, and its deletions come to nothing",
     .mode = "v2",
     .newer_s3 = S3_LEAK,
     POINTS(zb3),
     .play = play_halted,
     .defects = {{.name = "LAST-ID-ONLY", .caught_by = "I4", .sql = BLIND_CHECK SKIP_FENCE}}},
    {.id = "ZB5",
     .title = "halted with the lock; the successor waits until it is dead",
     POINTS(zb5),
     .play = play_holding,
     .defects = {{.name = "TOKEN-FIRST", .caught_by = "I3 I12", .sql = TOKEN_FIRST}}},
    {.id = "ZB6",
     .title = "halted before it deletes; the successor has staged other work",
     POINTS(zb6),
     .play = play_amid,
     .defects = {{.name = "SWEEP-ALL", .caught_by = "I3 I22"}}},
    {.id = "ZB7",
     .title = "halted while it collects at Open; the successor has staged work",
     .restarts = 1,
     POINTS(zb7),
     .play = play_amid,
     .defects = {{.name = "SWEEP-ALL", .caught_by = "I3 I22"}}},
    {.id = "ZB8",
     .title = "two instances opened at once with the same work",
     .play = play_twins,
     .defects = {{.name = "SKIP-TOKEN, NO-OWNER",
                  .caught_by = "I4 I22",
                  .sql = SKIP_TOKEN NO_OWNER_CHECK}}},
    {.id = "ZB9",
     .title = "a peer halted in an upload; its session is over when it goes on",
     .mode = "v2",
     .options = {"--shards", "2"},
     POINTS(zb9),
     .play = play_orphaned,
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_LEAK S3_NO_SWEEP}}},
    {.id = "ZB10",
     .title = "the same Acknowledge three times: the second is refused",
     POINTS(zb10),
     .play = play_stuck,
     .defects = {{.name = "KEEP-ENTRY", .caught_by = "I4", .sql = KEEP_ENTRY}}},
    {.id = "ZB11",
     .title = "halted before it widens; the successor has widened",
     .arm = 3,
     POINTS(zb11),
     .play = play_halted,
     .check = check_width,
     .defects = {{.name = "WIDEN-SHRINK", .caught_by = "I7", .sql = WIDEN_SHRINK}}},
};

GROUP(ZB, rows);
