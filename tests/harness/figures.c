/*
 * harness/figures: what the connector says of its own work, against what flow-runtime counted. In:
 * the log and the report of the last run. Out: findings of I20 and I24.
 */

#include "harness/trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The goal for small tasks. The ledger is far below it, or something grows. */
#define PEAK_KIB ((int64_t)96 * 1024)

#define SUMMARY "\"msg\":\"transaction summary\""

static const char *const names[] = {"loads",        "loaded",          "stores",      "stored_rows",
                                    "deleted_rows", "skipped_deletes", "checked_rows"};

enum { LOADS, LOADED, STORES, STORED_ROWS, DELETED_ROWS, SKIPPED, CHECKED_ROWS, NAMES };

struct sums {
    int64_t of[NAMES];
};

/* What one line says; a figure that it does not name is none. */
static struct sums read_line(const char *line, size_t len)
{
    struct sums sums;

    for (unsigned i = 0; i < NAMES; i++) {
        char name[40];
        snprintf(name, sizeof name, "\"%s\":", names[i]);
        const char *at = strstr(line, name);
        sums.of[i] = at && at < line + len ? story_number(at, names[i]) : 0;
    }
    return sums;
}

/* Each document that is stored becomes a row, a deletion, or nothing where there was nothing. */
static void check_line(struct trial *trial, const struct sums *line)
{
    if (line->of[STORES] != line->of[STORED_ROWS] + line->of[DELETED_ROWS] + line->of[SKIPPED]) {
        trial_finds(trial, 24,
                    "of %" PRId64 " documents %" PRId64 " are said to be rows, %" PRId64
                    " to be deleted, %" PRId64 " to be skipped",
                    line->of[STORES], line->of[STORED_ROWS], line->of[DELETED_ROWS],
                    line->of[SKIPPED]);
    }
}

static void expect(struct trial *trial, const struct sums *said, unsigned index, int64_t wanted)
{
    if (said->of[index] != wanted) {
        trial_finds(trial, 24, "%s add up to %" PRId64 " in the log, and there were %" PRId64,
                    names[index], said->of[index], wanted);
    }
}

/* One session from the beginning to the end: nobody has told what a process did that was killed,
 * nor who staged what this one applied. */
static bool is_one_session(const struct trial *trial)
{
    return trial->is_drained && !trial->has_past && story_number(trial->report, "sessions") == 1 &&
           story_number(trial->report, "kills") == 0 &&
           story_number(trial->report, "restarts") == 0;
}

static void check_sums(struct trial *trial, const struct sums *said)
{
    const char *report = trial->report;
    int64_t stores = story_number(report, "stores"), deletes = story_number(report, "deletes");

    if (!trial->scenario->hard_delete) {
        deletes = 0; /* they are rows like others */
    }
    expect(trial, said, LOADS, story_number(report, "loads"));
    expect(trial, said, LOADED, story_number(report, "loaded"));
    expect(trial, said, STORES, stores);
    expect(trial, said, STORED_ROWS, stores - deletes);
    if (said->of[DELETED_ROWS] + said->of[SKIPPED] != deletes) {
        trial_finds(trial, 24,
                    "%" PRId64 " documents are said to be deleted or skipped, and there were "
                    "%" PRId64 " tombstones",
                    said->of[DELETED_ROWS] + said->of[SKIPPED], deletes);
    }
    /* Keys to look up, rows, keys to delete: each is copied once. */
    expect(trial, said, CHECKED_ROWS,
           said->of[LOADS] + said->of[STORED_ROWS] + said->of[DELETED_ROWS]);
}

void check_figures(struct trial *trial)
{
    struct sums said = {.of = {0}};
    int64_t peak = story_number(trial->report, "connectorPeakRssKiB");

    for (const char *at = trial->log; (at = strstr(at, SUMMARY)); at += strlen(SUMMARY)) {
        struct sums line = read_line(at, strcspn(at, "\n"));
        check_line(trial, &line);
        for (unsigned i = 0; i < NAMES; i++) {
            said.of[i] += line.of[i];
        }
    }
    if (is_one_session(trial)) {
        check_sums(trial, &said);
    }
    if (!STORY_SANITIZED && peak > PEAK_KIB) {
        trial_finds(trial, 20, "the connector took %" PRId64 " KiB of memory", peak);
    }
}
