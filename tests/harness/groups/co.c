/*
 * Group CO: every exchange of a transaction, SQL and S3, fails in turn: the connector is killed
 * there (CO1), or the connection breaks (CO3), before the other side has heard of it and after it
 * was done. Which exchanges there are is read from the traces of a run without faults, so one that
 * is added to the connector is a new point by itself.
 */

#include "harness/defects.h"
#include "harness/plays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 320
#define EXCHANGES_MAX 4096
#define WARM_APPLIES 3 /* before the transaction that is looked at: then there are old rows */

struct exchange {
    long long ms;
    char step[32];
    unsigned n;
    bool is_repeated; /* the same step stood before it in the window */
};

struct sweep {
    const char *verb;  /* kill, cut */
    bool has_partners; /* several shards */
    struct point points[POINTS_MAX];
    char names[POINTS_MAX][64], rules[POINTS_MAX][80];
    char token_first[64], delete_early[64]; /* rules for the apply that is looked at */
    unsigned count;
};

static unsigned read_trace(const char *text, struct exchange *ret)
{
    unsigned count = 0;

    for (const char *at = text; *at && count < EXCHANGES_MAX;
         at += strcspn(at, "\n"), at += *at != '\0') {
        struct exchange *exchange = &ret[count];
        char what[32];
        memset(exchange, 0, sizeof *exchange);
        if (sscanf(at, "{\"ms\":%lld,\"step\":\"%31[^\"]\",\"n\":%u,\"what\":\"%31[^\"]\"",
                   &exchange->ms, exchange->step, &exchange->n, what) == 4 &&
            strcmp(what, "seen") == 0) {
            count++;
        }
    }
    return count;
}

/* Behind the commit of apply number `applies`; count when there are not so many. */
static unsigned end_of_apply(const struct exchange *exchanges, unsigned count, unsigned applies)
{
    bool has_token = false;

    for (unsigned i = 0; i < count; i++) {
        has_token |= strcmp(exchanges[i].step, "token") == 0;
        if (has_token && strcmp(exchanges[i].step, "commit") == 0) {
            has_token = false;
            if (--applies == 0) {
                return i + 1;
            }
        }
    }
    return count;
}

static void
add_point(struct sweep *sweep, const struct exchange *exchange, const char *seam, bool is_after)
{
    if (sweep->count == POINTS_MAX) {
        return;
    }
    unsigned at = sweep->count++;
    const char *where = is_after ? "after" : "before";
    snprintf(sweep->names[at], sizeof sweep->names[at], "%s %s#%u", where, exchange->step,
             exchange->n);
    snprintf(sweep->rules[at], sizeof sweep->rules[at], "%s#%u %s %s %%1\n", exchange->step,
             exchange->n, where, sweep->verb);
    /* Documents that were loaded in part cannot be loaded again by the same process. */
    bool is_torn = is_after && strcmp(exchange->step, "load.query") == 0;
    bool is_cut = strcmp(sweep->verb, "cut") == 0;
    sweep->points[at] =
        (struct point){.name = sweep->names[at], .restarts = is_torn && is_cut ? 1 : 0};
    if (strcmp(seam, "sql") == 0) {
        sweep->points[at].sql = sweep->rules[at];
    } else {
        sweep->points[at].s3 = sweep->rules[at];
    }
}

/* A connection is one exchange of many messages: the gateway knows where it begins. */
static bool has_other_side(const char *step)
{
    return strcmp(step, "connect") != 0 && strcmp(step, "auth") != 0;
}

/* What widens columns while rows are staged, on a connection of its own. With several shards who
 * does so first, and how often it is done, is a matter of time; QE21S has them do it at once. */
static bool is_aside(const char *step)
{
    static const char *const steps[] = {"connect", "auth", "set", "widen"};
    bool is_aside = false;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        is_aside |= strcmp(step, steps[i]) == 0;
    }
    return is_aside;
}

/* Both sides of each; of steps that are repeated the side behind them, since what is before one is
 * what is behind another. */
static void
add_window(struct sweep *sweep, struct exchange *exchanges, unsigned count, const char *seam)
{
    for (unsigned i = 0; i < count; i++) {
        if (sweep->has_partners && is_aside(exchanges[i].step)) {
            continue;
        }
        for (unsigned k = 0; k < i; k++) {
            exchanges[i].is_repeated |= strcmp(exchanges[k].step, exchanges[i].step) == 0;
        }
        if (!exchanges[i].is_repeated) {
            add_point(sweep, &exchanges[i], seam, false);
        }
        if (has_other_side(exchanges[i].step)) {
            add_point(sweep, &exchanges[i], seam, true);
        }
    }
}

/* The first points are those that the defects are shown at: behind the commit of the apply, behind
 * its tokens, and before it begins. */
static void add_defect_points(struct sweep *sweep, const struct exchange *exchanges, unsigned count)
{
    const struct exchange *begin = NULL, *token = NULL;

    for (unsigned i = 0; i < count; i++) {
        begin = strcmp(exchanges[i].step, "begin") == 0 ? &exchanges[i] : begin;
        token = strcmp(exchanges[i].step, "token") == 0 ? &exchanges[i] : token;
    }
    if (count > 0 && begin && token) {
        add_point(sweep, &exchanges[count - 1], "sql", true);
        add_point(sweep, token, "sql", true);
        add_point(sweep, begin, "sql", false);
        snprintf(sweep->token_first, sizeof sweep->token_first,
                 "token#%u before run ROLLBACK; BEGIN\n", token->n);
        snprintf(sweep->delete_early, sizeof sweep->delete_early, "token#%u before stop %%9\n",
                 token->n);
    }
}

static void read_window(struct sweep *sweep, struct trial *trial)
{
    struct exchange *sql = calloc(EXCHANGES_MAX, sizeof *sql);
    struct exchange *s3 = calloc(EXCHANGES_MAX, sizeof *s3);

    if (!sql || !s3) {
        abort();
    }
    unsigned count = read_trace(trial->sql_trace, sql), requests = read_trace(trial->s3_trace, s3);
    unsigned first = end_of_apply(sql, count, WARM_APPLIES),
             end = end_of_apply(sql, count, WARM_APPLIES + 1);
    if (first < end && end < count) {
        add_defect_points(sweep, sql + first, end - first);
        add_window(sweep, sql + first, end - first, "sql");
        /* From the end of one apply to the first file of the transaction after the next. */
        unsigned from = 0;
        while (from < requests && s3[from].ms < sql[first - 1].ms) {
            from++;
        }
        unsigned to = from;
        while (to < requests &&
               (s3[to].ms <= sql[end - 1].ms || strcmp(s3[to].step, "put.data") != 0)) {
            to++;
        }
        add_window(sweep, s3 + from, to - from, "s3");
    }
    free(sql);
    free(s3);
}

/* A run without faults, and the points that it shows. */
static void survey(const struct scenario *scenario, uint64_t seed, struct sweep *sweep)
{
    /* A rule that never holds, so that the gateway stands before the bucket, too. */
    static const struct point nothing = {.name = "the run to compare with",
                                         .s3 = "other#1000000 before cut -\n"};
    struct trial trial = {.scenario = scenario,
                          .point = &nothing,
                          .seed = seed,
                          .report = "",
                          .sql_trace = "",
                          .s3_trace = "",
                          .flow_trace = "",
                          .log = ""};
    const struct workload_plan plan = {
        .transactions = TRIAL_TRANSACTIONS, .hard_delete = scenario->hard_delete, .seed = seed};
    char text[2048];

    pthread_mutex_init(&trial.lock, NULL);
    trial.story = story_begin(scenario->id);
    workload_make(trial.story, &plan, &trial.work);
    trial_play(&trial);
    if (trial_is_well(&trial)) {
        read_window(sweep, &trial);
    } else {
        trial_tell(&trial, text, sizeof text);
        story_complain(trial.story, "%s", text);
        printf("%s: the run to compare with failed: %s\n", scenario->id, text);
    }
    workload_done(&trial.work);
    story_close(trial.story);
    free(trial.story);
    pthread_mutex_destroy(&trial.lock);
}

/* Names until the exchanges are known. If none are found, faults that cannot happen say so. */
static const struct point no_points[] = {
    {.name = "behind the commit of an apply", .s3 = "other#1000000 before cut %1\n"},
    {.name = "behind its tokens", .s3 = "other#1000000 before cut %1\n"},
    {.name = "before it begins", .s3 = "other#1000000 before cut %1\n"},
};

#define KILLED                                                                                     \
    {                                                                                              \
        {.name = "SKIP-TOKEN", .caught_by = "I4 I22", .sql = SKIP_TOKEN, .point = 0},              \
            {.name = "TOKEN-APART", .caught_by = "I4 I11", .sql = TOKEN_APART, .point = 1},        \
            {.name = "CLEAR-AT-OPEN", .caught_by = "I3", .flow = FLOW_CLEAR_AT_OPEN, .point = 2},  \
            {.name = TOKENS_WITHOUT_DATA, .caught_by = "I3", .point = 0},                          \
            {.name = EARLY_DELETION,                                                               \
             .caught_by = "I3 I22",                                                                \
             .is_alone = true,                                                                     \
             .play = play_early_deletion},                                                         \
    }
/* Their rules are known when the exchanges are. */
#define TOKENS_WITHOUT_DATA "TOKEN-FIRST"
#define EARLY_DELETION "DELETE-EARLY"

static struct sweep sweeps[] = {
    {.verb = "kill"}, {.verb = "kill", .has_partners = true}, {.verb = "cut"}};

static struct scenario rows[] = {
    {.id = "CO1",
     .title = "killed at each exchange of a transaction",
     .hard_delete = true,
     .is_cold = true,
     POINTS(no_points),
     .defects = KILLED},
    {.id = "CO1S",
     .title = "the same, two shards",
     .mode = "v2",
     .hard_delete = true,
     .is_cold = true,
     .options = {"--shards", "2"},
     POINTS(no_points),
     .defects = KILLED},
    {.id = "CO3",
     .title = "the connection breaks at each exchange of a transaction",
     .mode = "v2",
     .codec = "proto",
     .hard_delete = true,
     .is_cold = true,
     POINTS(no_points),
     .defects = {{.name = "RETRY-COMMIT", .caught_by = "I4 I22", .sql = SKIP_TOKEN, .point = 0}}},
};

static void prepare(unsigned index, uint64_t seed)
{
    struct sweep *sweep = &sweeps[index];

    survey(&rows[index], seed, sweep);
    if (sweep->count <= 3) {
        return;
    }
    rows[index].points = sweep->points;
    rows[index].point_count = sweep->count;
    for (unsigned i = 0; i < SCENARIO_DEFECTS && rows[index].defects[i].name; i++) {
        struct defect *defect = &rows[index].defects[i];
        if (strcmp(defect->name, TOKENS_WITHOUT_DATA) == 0) {
            defect->sql = sweep->token_first;
        } else if (strcmp(defect->name, EARLY_DELETION) == 0) {
            defect->sql = sweep->delete_early;
        }
    }
}

const struct group group_CO = {"CO", rows, sizeof rows / sizeof rows[0], prepare};
