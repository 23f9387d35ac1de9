/*
 * harness/check_extras: the tables of extras.h. In: their rows, and which documents were committed.
 * Out: findings. What a value becomes in a column is written down here once more, by hand, and not
 * taken from the fixture nor from the connector.
 */

#include "harness/extras.h"
#include "harness/trial.h"

#include <libpq-fe.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_BYTES ((size_t)65535)
#define TEXT_ROOM ((size_t)128 * 1024)

/* The rows, or NULL with trouble. */
static PGresult *read_table(struct trial *trial, const char *sql)
{
    PGresult *result = story_result(trial->story, sql);

    if (!result) {
        trial_troubles(trial, "%s", trial->story->complaint);
        trial->story->complaint[0] = '\0';
    }
    return result;
}

/* NULL as it is written in findings. */
static const char *cell(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column) ? "(null)" : PQgetvalue(rows, row, column);
}

static void expect_cell(struct trial *trial,
                        const char *what,
                        const PGresult *rows,
                        int row,
                        int column,
                        const char *is)
{
    const char *value = cell(rows, row, column), *wanted = is ? is : "(null)";

    if (strcmp(value, wanted) != 0) {
        trial_finds(trial, 7, "%s: %s is %.40s (%zu bytes) and should be %.40s (%zu bytes)", what,
                    PQfname(rows, column), value, strlen(value), wanted, strlen(wanted));
    }
}

/* ---------------------------------------------------------------- accounts_nodoc */

/* What the account's events up to this one have left in the optional columns. */
static void
expect_optional(struct trial *trial, const PGresult *rows, int row, unsigned account, unsigned last)
{
    static const char *const fractions[] = {"",       ".1",      ".12",     ".123",    ".1234",
                                            ".12345", ".123456", ".123456", ".123456", ".123456"};
    char what[64], seen[64], hint[64] = "", maybe[32] = "", day[32] = "", digits[32] = "",
                             list[64] = "";

    for (unsigned seq = 1; seq <= last; seq++) {
        if (account % 2 == 1 && seq % 3 == 1) {
            snprintf(hint, sizeof hint, "h %u \"\\\xc3\xa9", seq);
        }
        if (seq % 4 <= 1) {
            maybe[0] = '\0';
        }
        if (seq % 4 == 1) {
            snprintf(maybe, sizeof maybe, "m%u", seq);
        }
        if (seq % 5 == 2) {
            snprintf(day, sizeof day, "2024-02-%02u", seq % 28 + 1);
        }
        if (seq % 2 == 1) {
            snprintf(digits, sizeof digits, "%u", seq);
        }
        if (seq % 3 == 0) {
            snprintf(list, sizeof list, "[%u,null,{\"x\":\"%u\"}]", seq, seq);
        }
    }
    snprintf(seen, sizeof seen, "2024-02-29 12:30:%02u%s+00", last % 60, fractions[last % 10]);
    snprintf(what, sizeof what, "accounts_nodoc: %s", trial->work.ids[account]);
    const char *const wanted[] = {seen, hint, maybe, day, digits, list};
    for (int i = 0; i < 6; i++) {
        expect_cell(trial, what, rows, row, 5 + i, wanted[i][0] ? wanted[i] : NULL);
    }
}

static void check_nodoc(struct trial *trial)
{
    struct account *accounts = calloc(WORKLOAD_ACCOUNTS, sizeof *accounts);
    bool is_there[WORKLOAD_ACCOUNTS] = {false};
    PGresult *rows = read_table(
        trial, story_text(trial->story,
                          "SELECT id, seq, balance_delta, n, fp, seen, hint, maybe, day, digits, "
                          "list FROM %s.accounts_nodoc ORDER BY id",
                          trial->story->schema));

    if (!accounts) {
        abort();
    }
    workload_accounts(&trial->work, trial->position, accounts);
    for (int i = 0; i < PQntuples(rows); i++) {
        int index = workload_find(&trial->work, PQgetvalue(rows, i, 0));
        if (index < 0 || accounts[index].seq == 0) {
            trial_finds(trial, 6, "accounts_nodoc: %s was never sent", PQgetvalue(rows, i, 0));
            continue;
        }
        const struct account *wanted = &accounts[index];
        if (is_there[index]) {
            trial_finds(trial, 5, "accounts_nodoc: more than one row of %s", wanted->id);
        }
        is_there[index] = true;
        if (strtoll(PQgetvalue(rows, i, 1), NULL, 10) != wanted->seq ||
            strtoll(PQgetvalue(rows, i, 2), NULL, 10) != wanted->balance ||
            strtoll(PQgetvalue(rows, i, 3), NULL, 10) != wanted->n ||
            strtoll(PQgetvalue(rows, i, 4), NULL, 10) != wanted->fp) {
            trial_finds(trial, 2,
                        "accounts_nodoc: %s has seq %s, balance %s, n %s, fp %s and should have "
                        "%u, %" PRId64 ", %" PRId64 ", %" PRId64,
                        wanted->id, PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2),
                        PQgetvalue(rows, i, 3), PQgetvalue(rows, i, 4), wanted->seq,
                        wanted->balance, wanted->n, wanted->fp);
            continue;
        }
        expect_optional(trial, rows, i, (unsigned)index, wanted->seq);
    }
    for (unsigned i = 0; rows && i < WORKLOAD_ACCOUNTS; i++) {
        if (accounts[i].seq > 0 && !is_there[i]) {
            trial_finds(trial, 3, "accounts_nodoc: %s is not there", accounts[i].id);
        }
    }
    PQclear(rows);
    free(accounts);
}

/* ---------------------------------------------------------------- shapes */

/* U+0000 ends a text; in front it gets a backslash, so that something is left. */
static const char *const odds[SHAPES] = {"",
                                         "plain",
                                         "\\",
                                         "in the",
                                         "at the end",
                                         "\"quotes\" and 'these'",
                                         "back\\slash \\N \\",
                                         "line\nfeed\r\n",
                                         "tab\there \x01\x1f",
                                         "bars | and , and ~",
                                         "\xe2\x80\xa8 \xf0\x9f\xa6\x89 \xc3\xa9",
                                         " blanks "};
static const char *const wholes[SHAPES] = {
    "0",  "9007199254740992",     "9007199254740993",     "-9007199254740993",
    "-1", "9223372036854775807",  "-9223372036854775808", "9223372036854775806",
    "42", "-9223372036854775807", "1000000000000000000",  "-9007199254740992"};
static const char *const huges[SHAPES] = {"9223372036854775808",
                                          "18446744073709551615",
                                          "100000000000000000000",
                                          "-20000000000000000000",
                                          "10000000000000000000000",
                                          "0",
                                          "1",
                                          "-1",
                                          "9007199254740993",
                                          "12345678901234567890",
                                          "5",
                                          "7"};
static const char *const decimals[SHAPES] = {
    "1.25", "-0.125", "1000", "0", "123456789.0625", "-7", "NaN", "2.5", "10", "0.001", "0.5", "3"};
static const char *const seens[SHAPES] = {
    "2024-02-29 00:00:00+00",        "2024-02-29 23:59:59.1+00",
    "2024-02-29 23:59:59.12+00",     "2024-02-29 23:59:59.123+00",
    "2024-03-01 00:59:59.1234+00",   "2024-02-29 18:29:59.12345+00",
    "2024-02-29 23:59:59.123456+00", "2024-02-29 23:59:59.123456+00",
    "2024-02-29 23:59:59.999999+00", "2024-02-29 23:59:59.123456+00",
    "0001-01-01 00:00:00+00",        "9999-12-31 23:59:59.5+00"};
static const char *const things[SHAPES] = {"{}",
                                           "[]",
                                           "{\"a\":null}",
                                           "[1,\"2\",{\"three\":3.5}]",
                                           "{\"a\":2,\"z\":1}",
                                           "[[[[]]]]",
                                           "{\"\":0}",
                                           "[true,false]",
                                           "{\"b\":\"c\xef\xbf\275d\"}",
                                           "{\"e\":1e21}",
                                           "[\"\"]",
                                           "{\"long\":[9007199254740993]}"};
static const size_t blob_bytes[] = {0, 1, 2, 3, 48, 300, 3000, 48 * 1024};

/* Whole characters, as many as a column takes. */
static void put_text(char *out, unsigned shape, unsigned group)
{
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe6\xbc\xa2", "\xf0\x9f\xa6\x89"};
    static const size_t lengths[] = {0, 255, 256, 257, 65534, 65535, 65536, 65537, 70000};
    size_t wanted = shape < 8 ? lengths[(group + shape) / 2 % 9] : shape;
    size_t width = strlen(characters[shape % 4]), len = 0;

    while (len < wanted % width) {
        out[len++] = 'x';
    }
    while (len + width <= wanted && len + width <= COLUMN_BYTES) {
        memcpy(out + len, characters[shape % 4], width);
        len += width;
    }
    out[len] = '\0';
}

/* Which shape has this key? What came in base64 is shown in hexadecimal digits. */
static unsigned find_shape(const PGresult *rows, int row)
{
    for (unsigned i = 0; i < SHAPES; i++) {
        const char *number = i < 2 ? "9223372036854775807" : i < 4 ? "-9223372036854775808" : "7";
        char day[32], moment[48], bytes[8];
        snprintf(day, sizeof day, "2024-0%u-0%u", i / 4 + 1, i / 2 + 1);
        snprintf(moment, sizeof moment, "2024-01-0%uT00:00:00.%uZ", i / 4 + 1, i % 4);
        snprintf(bytes, sizeof bytes, "0000%u0", i % 4);
        const char *const key[] = {number, i % 2 ? "t" : "f", day, moment, bytes};
        unsigned same = 0;
        while (same < 5 && strcmp(PQgetvalue(rows, row, (int)same), key[same]) == 0) {
            same++;
        }
        if (same == 5) {
            return i;
        }
    }
    return SHAPES;
}

/* How many documents of it there are up to the group, and the group of the last one. */
static unsigned count_groups(bool is_in(unsigned item, unsigned group),
                             unsigned item,
                             unsigned last_group,
                             unsigned *ret_group)
{
    unsigned count = 0;

    *ret_group = 0;
    for (unsigned group = 1; group <= last_group; group++) {
        if (is_in(item, group)) {
            *ret_group = group;
            count++;
        }
    }
    return count;
}

/* An absent member is left as it was. */
static const char *maybe_of(unsigned shape, unsigned group)
{
    for (; group > 0; group--) {
        unsigned at = (shape + group) % SHAPES;
        if (extras_is_shape_in(shape, group) && at % 3 != 2) {
            return at % 3 == 1 ? "yes" : NULL;
        }
    }
    return NULL;
}

static void
check_shape(struct trial *trial, const PGresult *rows, int row, unsigned shape, unsigned last_group)
{
    char *text = malloc(TEXT_ROOM), *blob = malloc(TEXT_ROOM);
    char what[32], number[16], count[16];
    unsigned group, n = count_groups(extras_is_shape_in, shape, last_group, &group);
    unsigned at = (shape + group) % SHAPES;

    if (!text || !blob) {
        abort();
    }
    snprintf(what, sizeof what, "shapes: number %u", shape);
    snprintf(number, sizeof number, "%u", group);
    snprintf(count, sizeof count, "%u", n);
    put_text(text, shape, group);
    memset(blob, '0', 2 * blob_bytes[at % 8]);
    blob[2 * blob_bytes[at % 8]] = '\0';
    const char *const wanted[] = {number,
                                  count,
                                  text,
                                  odds[at],
                                  wholes[at],
                                  huges[at],
                                  decimals[at],
                                  seens[at],
                                  blob[0] ? blob : NULL, /* no bytes are NULL to COPY */
                                  things[at],
                                  maybe_of(shape, group)};
    if (strtoul(PQgetvalue(rows, row, 6), NULL, 10) > n) {
        trial_finds(trial, 4, "%s counts %s documents of %u", what, PQgetvalue(rows, row, 6), n);
    }
    for (int i = 0; i < (int)(sizeof wanted / sizeof *wanted); i++) {
        expect_cell(trial, what, rows, row, 5 + i, wanted[i]);
    }
    free(text);
    free(blob);
}

static void check_shapes(struct trial *trial)
{
    unsigned seen[SHAPES] = {0}, last = workload_group(&trial->work, trial->position), group;
    PGresult *rows = read_table(
        trial, story_text(trial->story,
                          "SELECT number, flag, day, moment, bytes, \"group\", n, text, odd, "
                          "whole, huge, decimal, seen, blob, thing, maybe FROM %s.shapes",
                          trial->story->schema));

    for (int i = 0; i < PQntuples(rows); i++) {
        unsigned shape = find_shape(rows, i);
        if (shape == SHAPES) {
            trial_finds(trial, 6, "shapes: %s, %s, %s, %s, %s was never sent",
                        PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2),
                        PQgetvalue(rows, i, 3), PQgetvalue(rows, i, 4));
            continue;
        }
        if (seen[shape]++ > 0) {
            trial_finds(trial, 5, "shapes: more than one row of number %u", shape);
        }
        check_shape(trial, rows, i, shape, last);
    }
    for (unsigned i = 0; rows && i < SHAPES; i++) {
        if (seen[i] == 0 && count_groups(extras_is_shape_in, i, last, &group) > 0) {
            trial_finds(trial, 3, "shapes: number %u is not there", i);
        }
    }
    PQclear(rows);
}

/* ---------------------------------------------------------------- names */

static unsigned find_name(const char *text)
{
    static const size_t prefixes[] = {256, 1000, 65000};
    size_t len = strspn(text, "p");

    for (unsigned i = 0; i < NAMES; i++) {
        if (len == prefixes[i / 2] && strcmp(text + len, i % 2 ? "one" : "two") == 0) {
            return i;
        }
    }
    return NAMES;
}

static void check_names(struct trial *trial)
{
    unsigned seen[NAMES] = {0}, last = workload_group(&trial->work, trial->position), group;
    PGresult *rows =
        read_table(trial, story_text(trial->story, "SELECT name, \"group\", n FROM %s.names",
                                     trial->story->schema));

    for (int i = 0; i < PQntuples(rows); i++) {
        const char *text = PQgetvalue(rows, i, 0);
        unsigned name = find_name(text);
        if (name == NAMES) {
            trial_finds(trial, 6, "names: a key of %zu bytes was never sent", strlen(text));
            continue;
        }
        if (seen[name]++ > 0) {
            trial_finds(trial, 5, "names: more than one row of number %u, of %zu bytes", name,
                        strlen(text));
        }
        unsigned n = count_groups(extras_is_name_in, name, last, &group);
        unsigned long said = strtoul(PQgetvalue(rows, i, 2), NULL, 10);
        if (said != n || strtoul(PQgetvalue(rows, i, 1), NULL, 10) != group) {
            trial_finds(trial, said > n ? 4 : 3,
                        "names: number %u counts %s documents up to group %s, not %u up to %u",
                        name, PQgetvalue(rows, i, 2), PQgetvalue(rows, i, 1), n, group);
        }
    }
    for (unsigned i = 0; rows && i < NAMES; i++) {
        if (seen[i] == 0 && count_groups(extras_is_name_in, i, last, &group) > 0) {
            trial_finds(trial, 3, "names: number %u is not there", i);
        }
    }
    PQclear(rows);
}

/* ---------------------------------------------------------------- filled */

#define FILLED_IDS 1100

struct filled {
    unsigned n, group;
    uint64_t position; /* where it was published last */
};

/* One transaction: its documents, and then the ends of backfills that were told with it. */
static void
play_transaction(struct trial *trial, unsigned first_group, unsigned last_group, void *ctx)
{
    const struct workload *work = &trial->work;
    struct filled *filled = ctx;

    for (unsigned group = first_group; group <= last_group; group++) {
        unsigned ids[FILLED_DOCUMENTS];
        extras_filled_ids(group, ids);
        for (unsigned i = 0; i < FILLED_DOCUMENTS; i++) {
            filled[ids[i]].n++;
            filled[ids[i]].group = group;
            filled[ids[i]].position = work->filled_at[group] + i;
        }
    }
    for (unsigned group = first_group; group <= last_group; group++) {
        unsigned before = extras_filled_before(group);
        for (unsigned id = 0; before && id < FILLED_IDS; id++) {
            if (filled[id].position < work->filled_at[before]) {
                filled[id] = (struct filled){.n = 0};
            }
        }
    }
}

static void check_filled(struct trial *trial)
{
    struct filled *filled = calloc(FILLED_IDS, sizeof *filled);
    unsigned char *seen = calloc(FILLED_IDS, 1);
    PGresult *rows =
        read_table(trial, story_text(trial->story, "SELECT id, n, \"group\" FROM %s.filled",
                                     trial->story->schema));

    if (!filled || !seen) {
        abort();
    }
    trial_each_transaction(trial, play_transaction, filled);
    for (int i = 0; i < PQntuples(rows); i++) {
        unsigned long id = strtoul(PQgetvalue(rows, i, 0), NULL, 10);
        unsigned long n = strtoul(PQgetvalue(rows, i, 1), NULL, 10);
        if (id >= FILLED_IDS || filled[id].n == 0) {
            trial_finds(trial, 9, "filled: %lu was superseded and is there", id);
            continue;
        }
        if (seen[id]++ > 0) {
            trial_finds(trial, 5, "filled: more than one row of %lu", id);
        }
        if (n != filled[id].n || strtoul(PQgetvalue(rows, i, 2), NULL, 10) != filled[id].group) {
            trial_finds(trial, n > filled[id].n ? 4 : 3,
                        "filled: %lu counts %lu documents up to group %s, not %u up to %u", id, n,
                        PQgetvalue(rows, i, 2), filled[id].n, filled[id].group);
        }
    }
    for (unsigned i = 0; rows && i < FILLED_IDS; i++) {
        if (filled[i].n > 0 && !seen[i]) {
            trial_finds(trial, 3, "filled: %u is not there", i);
        }
    }
    PQclear(rows);
    free(filled);
    free(seen);
}

void check_extras(struct trial *trial)
{
    if (trial->work.extras & EXTRA_NODOC) {
        check_nodoc(trial);
    }
    if (trial->work.extras & EXTRA_SHAPES) {
        check_shapes(trial);
        check_names(trial);
    }
    if (trial->work.extras & EXTRA_FILLED) {
        check_filled(trial);
    }
}
