/*
 * A file of several parts on its way to a bucket that fails, loses answers, lies and is slow, at
 * each request of the upload. The table must hold what it holds without faults, or the run must end
 * with the cause, and nothing may be left in the bucket once the task was opened again.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

/* Long enough, compressed, for two parts. */
#define DOCUMENTS "130,1000000"

struct row {
    const char *name, *rules;
    const char *happened; /* in the gateway's trace, so many times at least */
    unsigned times;
    const char *says; /* the run fails with this in its log; NULL: it goes well */
    unsigned left;    /* lines that the bucket's lists have afterwards, before another Open */
    bool is_lost;     /* nobody can bring the file back */
};

static const struct row rows[] = {
    {"the upload is refused once", "create#1 before fail - 500 InternalError\n", "failed", 1, NULL,
     0, false},
    {"the answer with the upload's id is lost", "create#1 after cut -\n", "cut", 1, NULL, 1, false},
    {"a part is cut off on its way", "part:1#1 before run cut 1000000\n", "cut", 1, NULL, 0, false},
    {"all of a part but a byte", "part:2#1 before run cut 4000000\n", "cut", 1, NULL, 0, false},
    {"a part is stored and nobody hears of it", "part:1#1 after cut -\n", "cut", 1, NULL, 0, false},
    {"slow down, three times", "part:2#1-3 before fail - 503 SlowDown\n", "failed", 3, NULL, 0,
     false},
    {"the bytes came too slowly, it says", "part:1#1 before fail - 400 RequestTimeout\n", "failed",
     1, NULL, 0, false},
    {"a part gets the tag of something else", "part:1#1 after run etag\n", "etag", 1, "InvalidPart",
     0, false},
    {"a part without a tag", "part:1#1 after run no-etag\n", "no-etag", 1, NULL, 0, false},
    {"a part arrives twice", "part:1#1 before run twice\n", "twice", 1, NULL, 0, false},
    {"the completion fails behind a good status", "complete#1 before fail - 200 InternalError\n",
     "failed", 1, NULL, 0, false},
    {"the same, after blanks", "complete#1 before run blanks InternalError\n", "blanks", 1, NULL, 0,
     false},
    {"the completion is done and nobody hears of it", "complete#1 after cut -\n", "cut", 1, NULL, 0,
     false},
    {"the completion is done and said to have failed",
     "complete#1 after run fail 500 InternalError\n", "denied", 1, NULL, 0, false},
    {"the upload is gone when it is completed", "complete#1 before fail - 404 NoSuchUpload\n",
     "failed", 1, "NoSuchUpload", 0, false},
    {"credentials expire in the middle of the upload", "part:2#1 before fail - 403 ExpiredToken\n",
     "failed", 1, "ExpiredToken", 0, false},
    {"an upload is said to be complete and is not", "complete#1 before run swallow\n", "swallow", 1,
     "r000000", 1, true},
};

static unsigned count_lines(const char *text)
{
    unsigned count = 0;

    for (; *text; text++) {
        count += *text == '\n';
    }
    return count;
}

static unsigned count_in(const char *text, const char *part)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        count++;
    }
    return count;
}

/* Runs to an end; true when that is the end which is wanted. */
static bool drive(struct story *story, const char *label, const char *rules, const char *says)
{
    static const char *const options[] = {"--generate", DOCUMENTS, NULL};
    const char *endpoint = story_s3_gateway(story, story_text(story, "%s-s3", label), rules);
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = story_catalog_of_many(story),
        .config = story_config(
            story, "config.json",
            &(struct story_config){
                .extra =
                    story_text(story, ",\"advanced\":{\"s3_endpoint\":\"%s\",\"parallel_files\":1}",
                               endpoint)}),
        .codec = "proto",
        .mode = "v2",
        .options = options,
    };

    if (!endpoint) {
        return false;
    }
    struct story_process *process = story_drive_start(story, &drive);
    if (!story_wait(story, process, 240)) {
        return false;
    }
    const char *words = story_read(story, process->err, NULL);
    if (story_exit_code(process) != (says ? 2 : 0)) {
        return story_complain(story, "flow-runtime exited with %d: %.1500s",
                              story_exit_code(process), words);
    }
    return !says || strstr(words, says) ||
           story_complain(story, "not a word of \"%s\": %.1500s", says, words);
}

struct cast {
    char wanted[64 * 1024]; /* what the table holds without a fault */
    char complaints[sizeof rows / sizeof rows[0]][1024];
};

static const char *read_table(struct story *story)
{
    return story_query(
        story,
        story_text(story, "SELECT id, LENGTH(payload), MD5(payload) FROM %s.many ORDER BY id",
                   story->schema));
}

/* A run without faults goes on where the first one failed, or left something. */
static void check_row(struct story *story, const struct row *row, const struct cast *cast)
{
    if (!drive(story, "first", row->rules, row->says)) {
        return;
    }
    const char *trace = story_read(story, story_path(story, "first-s3.trace"), NULL);
    if (count_in(trace, row->happened) < row->times) {
        story_complain(story, "the fault did not happen");
    }
    const char *left = story_bucket(story, story_text(story, "%s/", story->prefix));
    if (count_lines(left) != row->left) {
        story_complain(story, "left in the bucket, wanted %u: %.500s", row->left, left);
    }
    if (!row->says) {
        story_same(story, "the table", cast->wanted, read_table(story));
    }
    if (row->is_lost || (!row->says && row->left == 0) || !drive(story, "second", "", NULL)) {
        return;
    }
    story_same(story, "the table after another start", cast->wanted, read_table(story));
    story_bucket_is_empty(story);
}

static void run_row(void *ctx, unsigned index)
{
    struct cast *cast = ctx;
    struct story *story = story_begin(rows[index].name);

    check_row(story, &rows[index], cast);
    story_close(story);
    memcpy(cast->complaints[index], story->complaint, sizeof cast->complaints[index] - 1);
    free(story);
}

static void a_file_of_several_parts_comes_through_whole_or_the_cause_is_told(void **state)
{
    static struct cast cast;
    struct story *story = story_begin("several parts");
    unsigned failed = 0;
    (void)state;

    if (drive(story, "first", "", NULL)) {
        const char *table = read_table(story);
        const char *trace = story_read(story, story_path(story, "first-s3.trace"), NULL);
        snprintf(cast.wanted, sizeof cast.wanted, "%s", table);
        if (!strstr(trace, "\"step\":\"part:2\"") || count_lines(table) != 130) {
            story_complain(story, "not two parts, or not all rows");
        }
        story_bucket_is_empty(story);
    }
    story_end(story);
    story_side_by_side(sizeof rows / sizeof rows[0], run_row, &cast);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        failed += cast.complaints[i][0] != '\0';
        print_message("%s: %s\n", rows[i].name, cast.complaints[i][0] ? cast.complaints[i] : "ok");
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_several_parts_comes_through_whole_or_the_cause_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
