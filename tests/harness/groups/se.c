/*
 * Group SE: the bucket fails, is slow, loses answers and says what is not so. Files here are small
 * and single; uploads of several parts are in tests/integration/test_multipart.c.
 */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- did it happen? */

/* The word that a rule leaves in the trace; "" for one that has a marker. */
static const char *word_of(const char *line)
{
    static const struct {
        const char *rule, *word;
    } words[] = {
        {" fail - ", "failed"},     {" cut - ", "cut"},       {" run cut ", "cut"},
        {" run kill ", "killed"},   {" run fail ", "denied"}, {" run twice", "twice"},
        {" run slow", "slow"},      {" run etag", "etag"},    {" run no-etag", "no-etag"},
        {" run errors ", "errors"}, {" run short", "short"},  {" run blanks ", "blanks"},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(line, words[i].rule)) {
            return words[i].word;
        }
    }
    return "";
}

/* Each rule of the point without a marker is a fault; the trace tells whether it happened. */
static void check_happened(struct trial *trial)
{
    const char *at = trial->point->s3 ? trial->point->s3 : "";

    while (*at) {
        size_t len = strcspn(at, "\n");
        const char *line = story_text(trial->story, "%.*s", (int)len, at);
        const char *word = word_of(line);
        const char *step = story_text(trial->story, "%.*s", (int)strcspn(line, " #%"), line);
        at += len + (at[len] == '\n');
        if (!*word) {
            continue;
        }
        trial->faults++;
        bool happened = false;
        for (const char *event = trial->s3_trace; (event = strstr(event, "\"step\":\"")); event++) {
            const char *end = event + strcspn(event, "\n");
            const char *what = strstr(event, story_text(trial->story, "\"what\":\"%s\"", word));
            happened |= strncmp(event + strlen("\"step\":\""), step, strlen(step)) == 0 && what &&
                        what < end;
        }
        trial->hits += happened;
        if (!happened) {
            trial_troubles(trial, "it never happened: %s", line);
        }
    }
}

/* ---------------------------------------------------------------- points */

/* The names of requests are in gateway/s3_steps.h. Numbers count from the second commit on. */
#define ONCE(step, n)                                                                              \
    {                                                                                              \
        .name = step, .s3 = step "#" #n " before fail %1 500 InternalError\n"                      \
    }

static const struct point once[] = {
    ONCE("put.data", 3),
    ONCE("put.manifest", 2),
    ONCE("delete", 1),
    {.name = "list.uploads",
     .kills = {"commit.logged#2"},
     .s3 = "list.uploads#1 before fail %1 500 InternalError\n"},
    {.name = "list",
     .kills = {"commit.logged#2"},
     .s3 = "list#1 before fail %1 500 InternalError\n"},
    {.name = "done and denied",
     .s3 = "put.data#3 after run fail 500 InternalError\nput.manifest#2 after run fail 503 "
           "ServiceUnavailable\n"
           "delete#1 after run fail 500 InternalError\n"},
    {.name = "no words",
     .s3 = "put.data#3 before fail - 502 -\nput.manifest#2 before fail - 504 -\n"},
    {.name = "too slow", .s3 = "put.data#3 before fail %1 400 RequestTimeout\n"},
    {.name = "six times",
     .s3 = "put.data#3-8 before fail - 500 InternalError\nput.manifest#2-7 before fail - 500 "
           "InternalError\n"},
};
static const struct point for_good[] = {
    {.name = "put.data", .s3 = "put.data#3-70 before fail - 500 InternalError\n"},
};
/* Every third of them; "%3" would be a marker here. */
#define SLOW_AT(step, n) step "#" #n " before fail - 503 SlowDown\n"
#define SLOW(step)                                                                                 \
    SLOW_AT(step, 1)                                                                               \
    SLOW_AT(step, 4) SLOW_AT(step, 7) SLOW_AT(step, 10) SLOW_AT(step, 13) SLOW_AT(step, 16)
static const struct point slow_down[] = {
    {.name = "every third", .s3 = SLOW("put.data") SLOW("put.manifest") SLOW("delete")},
};
static const struct point broken[] = {
    {.name = "reset before",
     .s3 = "put.data#3 before cut %1\nput.manifest#2 before cut %2\ndelete#1 before cut %3\n"},
    {.name = "reset after a byte",
     .s3 = "put.data#3 before run cut 1\nput.manifest#2 before run cut 1\n"},
    {.name = "reset in the middle",
     .s3 = "put.data#3 before run cut 150\ndelete#1 before run cut 100\n"},
    {.name = "answer lost",
     .s3 = "put.data#3 after cut %1\nput.manifest#2 after cut %2\ndelete#1 after cut %3\n"},
    {.name = "answer cut short", .s3 = "delete#1 after run short\n"},
    {.name = "another tag", .s3 = "put.data#3 after run etag\nput.data#4 after run no-etag\n"},
    {.name = "twice",
     .s3 = "put.data#3 before run twice\nput.manifest#2 before run twice\ndelete#1 before run "
           "twice\n"},
    {.name = "slow bytes", .s3 = "put.data#3 before run slow\nput.manifest#2 after run slow\n"},
};
static const struct point manifest_denied[] = {
    {.name = "403",
     .s3 = "put.manifest#2 before fail %1 403 AccessDenied\n"
           "put.manifest#3+ before fail - 403 AccessDenied\n",
     .text = "AccessDenied"},
};
static const struct point delete_denied[] = {
    {.name = "403",
     .kills = {"acknowledged.received#3"},
     .s3 = "delete#1 before fail %1 403 AccessDenied\n"},
    {.name = "per key",
     .kills = {"acknowledged.received#3"},
     .s3 = "delete#1 before run errors AccessDenied\n"},
};
static const struct point expired[] = {
    {.name = "put.data",
     .s3 = "put.data#3 before fail %1 403 ExpiredToken The token has expired\n"},
};
static const struct point skewed[] = {
    {.name = "put.data", .s3 = "put.data#3 before fail %1 403 RequestTimeTooSkewed\n"},
};
static const struct point redirected[] = {
    {.name = "put.data",
     .s3 = "put.data#3 before fail %1 307 TemporaryRedirect http://127.0.0.1:9/\n"},
};

/* ---------------------------------------------------------------- what comes late */

static bool has_word(void *ctx)
{
    struct trial *trial = ctx;
    const char *trace =
        story_read(trial->story, story_path(trial->story, "runtime-s3.trace"), NULL);

    return strstr(trace, "\"what\":\"late\"") != NULL;
}

/* A request whose sender gave it up reaches the bucket when all is over: an object that nobody
 * names any more, until the next Open. */
static void play_tardy(struct trial *trial)
{
    trial_play(trial);
    story_write(trial->story, "fault1.go", "");
    if (!story_wait_for(trial->story, "the late request", has_word, trial, 30)) {
        trial_troubles(trial, "%s", trial->story->complaint);
        return;
    }
    struct story *story = trial->story;
    const char *endpoint = story_s3_gateway(
        story, "again-s3", trial->defect && trial->defect->s3 ? trial->defect->s3 : "");
    const struct run again = {
        .label = "again",
        .has_no_faults = true,
        .address = story_environment("LOCAL_REDSHIFT_ADDRESS"),
        .config = story_config(
            story, "newer.json",
            &(struct story_config){
                .hard_delete = trial->scenario->hard_delete,
                .extra = story_text(story, ",\"advanced\":{\"s3_endpoint\":\"%s\"}", endpoint)}),
    };
    const char *const argv[] = {"/bin/cp", "-r", story_path(story, "runtime.state"),
                                story_path(story, "again.state"), NULL};
    if (!endpoint || !story_wait(story, story_start(story, "copy", argv, NULL, NULL), 20)) {
        trial_troubles(trial, "%s", story->complaint);
        return;
    }
    struct story_process *process = trial_start(trial, &again);
    if (process) {
        trial_wait(trial, process, again.label);
    }
}

static const struct point late[] = {
    {.name = "put.data", .s3 = "put.data#3 before late %1\n"},
    {.name = "put.manifest", .s3 = "put.manifest#2 before late %1\n"},
};

static const struct scenario rows[] = {
    {.id = "SE1",
     .title = "500 at each request, once and six times",
     POINTS(once),
     .check = check_happened,
     .is_short = true,
     .defects = {{.name = "UPLOAD-UNCHECKED", .caught_by = "I15 I22", .s3 = S3_UPLOAD_UNCHECKED},
                 {.name = "GIVES-UP", .caught_by = "I22", .s3 = S3_GIVES_UP}}},
    {.id = "SE1b",
     .title = "500 for good: an end before StartedCommit, and another start when it is over",
     POINTS(for_good),
     .restarts = 4,
     .says = "after 7 attempts",
     .check = check_happened,
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_LEAK}}},
    {.id = "SE2",
     .title = "SlowDown for a third of all requests",
     POINTS(slow_down),
     .mode = "v2",
     .codec = "proto",
     .check = check_happened,
     .defects = {{.name = "UPLOAD-UNCHECKED", .caught_by = "I15 I22", .s3 = S3_UPLOAD_UNCHECKED}}},
    {.id = "SE7",
     .title = "requests and answers break, come twice or bear another tag",
     POINTS(broken),
     .mode = "v2",
     .hard_delete = true,
     .check = check_happened,
     .defects = {{.name = "UPLOAD-UNCHECKED", .caught_by = "I15 I22", .s3 = S3_UPLOAD_UNCHECKED},
                 {.name = "LEAK", .caught_by = "I18", .s3 = S3_LEAK}}},
    {.id = "SE7b",
     .title = "a request that was given up arrives when all is over",
     POINTS(late),
     .play = play_tardy,
     .defects = {{.name = "LEAK", .caught_by = "I18", .s3 = S3_LEAK}}},
    {.id = "SE9",
     .title = "manifests are denied: the apply fails and is made good by the next start",
     POINTS(manifest_denied),
     .play = play_stuck,
     .defects =
         {{.name = "SWALLOW-COPY", .caught_by = "I12 I13", .sql = LOST_COMMIT, .is_alone = true}}},
    {.id = "SE12",
     .title = "deletions are denied: a warning, and the next start deletes",
     POINTS(delete_denied),
     .says = "could not delete staged objects",
     .check = check_happened,
     .is_short = true,
     .defects = {{.name = "DELETE-FATAL", .caught_by = "I22", .s3 = S3_DELETE_FATAL},
                 {.name = "LEAK", .caught_by = "I18", .s3 = S3_LEAK}}},
    {.id = "SE13",
     .title = "credentials expire: the cause is told, nothing is lost",
     POINTS(expired),
     .restarts = 1,
     .says = "ExpiredToken",
     .defects = {{.name = "UPLOAD-UNCHECKED", .caught_by = "I15 I22", .s3 = S3_UPLOAD_UNCHECKED}}},
    {.id = "SE14",
     .title = "the server's clock is another: its own is taken",
     POINTS(skewed),
     .defects = {{.name = "GIVES-UP", .caught_by = "I22", .s3 = S3_GIVES_UP}}},
    {.id = "SE17",
     .title = "a redirect is not followed: the cause is told, nothing is lost",
     POINTS(redirected),
     .restarts = 1,
     .says = "TemporaryRedirect",
     .defects = {{.name = "UPLOAD-UNCHECKED", .caught_by = "I15 I22", .s3 = S3_UPLOAD_UNCHECKED}}},
};

GROUP(SE, rows);
