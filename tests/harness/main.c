/*
 * consistency: runs scenarios, each clean and against its defects, and says what was found. In: the
 * tables of groups/ and the environment of the local parts (deploy/local/env). Out: a line per
 * scenario, evidence of what failed, and the closing line.
 */

#include "harness/neighbours.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TELL_LEN 8192

static const char usage[] =
    "usage: consistency --all | --short | --only ID[,ID...] | --list\n"
    "                   [--seed N] [--clean | --defects] [--keep]\n"
    "  --all      every scenario, clean and against its defects\n"
    "  --short    the set that runs with every test\n"
    "  --only     scenarios, or groups, by name; with a slash and a point's name one point\n"
    "  --seed N   of the workload and of the runtime's choices (default 1)\n"
    "  --clean    no defects\n"
    "  --defects  nothing but defects\n"
    "  --keep     evidence also of what is well\n"
    "exit: 0 all is well, 1 something is not, 2 usage\n";

struct choice {
    bool is_short, is_list, is_clean_only, is_defects_only, must_keep;
    const char *only;
    uint64_t seed;
};

struct outcome {
    const struct scenario *scenario;
    const struct point *point;
    const struct defect *defect;
    uint64_t seed;
    bool is_well, is_caught, must_keep;
    unsigned faults, hits;
    double seconds;
    char text[TELL_LEN];
};

static const struct point no_fault = {.name = "no fault"};

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------- one trial */

static void hide_secret(char *text, const char *secret)
{
    for (char *at = text; *secret && (at = strstr(at, secret));) {
        memset(at, '*', strlen(secret));
    }
}

/* What is kept as evidence tells no secret. */
static void hide_secrets(struct trial *trial)
{
    static const char *const names[] = {"runtime.json", "first.json", "second.json",
                                        "older.json",   "newer.json", "last.json"};

    for (unsigned i = 0; i < 6; i++) {
        const char *path = story_path(trial->story, names[i]);
        char *text = story_read(trial->story, path, NULL);
        if (text[0]) {
            hide_secret(text, story_environment("LOCAL_REDSHIFT_PASSWORD"));
            hide_secret(text, story_environment("LOCAL_S3_SECRET"));
            story_write(trial->story, names[i], text);
        }
    }
}

static void keep_evidence(struct trial *trial, const char *text)
{
    static const char *const tables[] = {"accounts", "accounts_delta", "events", "events_std"};
    struct story *story = trial->story;
    const unsigned count = trial->scenario->has_other_tables ? 0 : 4;

    hide_secrets(trial);
    story_write(story, "findings", text);
    for (unsigned i = 0; i < count; i++) {
        story_write(story, tables[i],
                    story_query(story, story_text(story, "SELECT * FROM %s.%s ORDER BY 1, 2",
                                                  story->schema, tables[i])));
    }
    story_write(story, "flow_checkpoints_v1",
                story_query(story, story_text(story, "SELECT * FROM %s.flow_checkpoints_v1",
                                              story->schema)));
    story_write(story, "bucket", story_bucket(story, story_text(story, "%s/", story->prefix)));
    story->complaint[0] = '\0';
}

static bool is_caught(const struct trial *trial)
{
    for (const char *at = trial->defect->caught_by; (at = strchr(at, 'I')); at++) {
        unsigned long number = strtoul(at + 1, NULL, 10);
        if (number < INVARIANTS && trial->findings[number][0]) {
            return true;
        }
    }
    return false;
}

static void (*play_of(const struct trial *trial))(struct trial *trial)
{
    if (trial->defect && trial->defect->play) {
        return trial->defect->play;
    }
    return trial->scenario->play ? trial->scenario->play : trial_play;
}

static void run_trial(struct outcome *outcome)
{
    const struct scenario *scenario = outcome->scenario;
    struct trial trial = {.scenario = scenario,
                          .point = outcome->point,
                          .defect = outcome->defect,
                          .seed = outcome->seed,
                          .report = "",
                          .sql_trace = "",
                          .s3_trace = "",
                          .flow_trace = "",
                          .log = ""};
    const struct workload_plan plan = {.transactions = scenario->transactions
                                                           ? scenario->transactions
                                                       : outcome->defect ? DEFECT_TRANSACTIONS
                                                                         : TRIAL_TRANSACTIONS,
                                       .extras = scenario->extras,
                                       .hard_delete = scenario->hard_delete,
                                       .seed = outcome->seed};
    double start = now_seconds();

    pthread_mutex_init(&trial.lock, NULL);
    trial.story = story_begin(scenario->id);
    workload_make(trial.story, &plan, &trial.work);
    play_of (&trial)(&trial);
    trial_count_faults(&trial);
    if (!trial.trouble[0]) {
        if (!scenario->has_other_tables) {
            check_tables(&trial);
            check_extras(&trial);
            check_figures(&trial);
        }
        check_trace(&trial);
        neighbours_check(&trial);
        check_remains(&trial);
        if (scenario->says && !strstr(trial.log, scenario->says)) {
            trial_finds(&trial, 21, "the log does not say \"%s\"", scenario->says);
        }
        if (scenario->check) {
            scenario->check(&trial);
        }
    }
    trial_tell(&trial, outcome->text, sizeof outcome->text);
    outcome->faults = trial.faults;
    outcome->hits = trial.hits;
    outcome->is_caught = outcome->defect && is_caught(&trial);
    outcome->is_well = outcome->defect ? outcome->is_caught : trial_is_well(&trial);
    if (!outcome->is_well || outcome->must_keep) {
        keep_evidence(&trial, outcome->text);
        story_drop_schema(trial.story);
        story_complain(trial.story, "%s",
                       outcome->text[0] ? outcome->text
                                        : "nothing was found"); /* keeps the folder */
    }
    workload_done(&trial.work);
    story_close(trial.story);
    free(trial.story);
    pthread_mutex_destroy(&trial.lock);
    outcome->seconds = now_seconds() - start;
}

/* ---------------------------------------------------------------- all of them */

static bool is_wanted(const struct choice *choice,
                      const struct group *group,
                      const struct scenario *scenario,
                      const struct point *point)
{
    if (choice->is_short && !scenario->is_short) {
        return false;
    }
    for (const char *at = choice->only; at && *at;) {
        size_t len = strcspn(at, ","), word = strcspn(at, ",/");
        bool is_scenario = strlen(scenario->id) == word && strncmp(scenario->id, at, word) == 0;
        bool is_group = strlen(group->name) == word && strncmp(group->name, at, word) == 0;
        bool is_point = word == len || (strlen(point->name) == len - word - 1 &&
                                        strncmp(point->name, at + word + 1, len - word - 1) == 0);
        if ((is_scenario || is_group) && is_point) {
            return true;
        }
        at += len + (at[len] == ',');
    }
    return !choice->only;
}

/* Is any point of it? */
static bool may_be_wanted(const struct choice *choice,
                          const struct group *group,
                          const struct scenario *scenario)
{
    char word[64];

    if (!choice->only) {
        return !choice->is_short || scenario->is_short;
    }
    for (const char *at = choice->only; *at;) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ",/"), at);
        if (strcmp(word, scenario->id) == 0 || strcmp(word, group->name) == 0) {
            return true;
        }
        at += strcspn(at, ",");
        at += *at == ',';
    }
    return false;
}

struct plan {
    struct outcome *items;
    unsigned count, cap;
};

static void add_outcome(struct plan *plan,
                        const struct choice *choice,
                        const struct scenario *scenario,
                        const struct point *point,
                        const struct defect *defect)
{
    if (plan->count == plan->cap) {
        plan->cap = plan->cap ? plan->cap * 2 : 64;
        plan->items = realloc(plan->items, plan->cap * sizeof *plan->items);
        if (!plan->items) {
            abort();
        }
    }
    plan->items[plan->count++] = (struct outcome){.scenario = scenario,
                                                  .point = point,
                                                  .defect = defect,
                                                  .seed = choice->seed,
                                                  .must_keep = choice->must_keep};
}

static void add_scenario(struct plan *plan,
                         const struct choice *choice,
                         const struct group *group,
                         const struct scenario *scenario)
{
    unsigned points = scenario->point_count ? scenario->point_count : 1;

    for (unsigned i = 0; i < points; i++) {
        const struct point *point = scenario->point_count ? &scenario->points[i] : &no_fault;
        if (!choice->is_defects_only && is_wanted(choice, group, scenario, point)) {
            add_outcome(plan, choice, scenario, point, NULL);
        }
    }
    for (unsigned i = 0;
         !choice->is_clean_only && i < SCENARIO_DEFECTS && scenario->defects[i].name; i++) {
        const struct defect *defect = &scenario->defects[i];
        const struct point *point =
            scenario->point_count ? &scenario->points[defect->point] : &no_fault;
        if (is_wanted(choice, group, scenario, point)) {
            add_outcome(plan, choice, scenario, point, defect);
        }
    }
}

static void report(const struct outcome *outcome)
{
    const struct defect *defect = outcome->defect;
    const char *verdict = defect             ? outcome->is_well ? "caught" : "ESCAPED"
                          : outcome->is_well ? "ok"
                                             : "VIOLATED";

    printf("%-8s %s, %s%s%s: %.1f s%s%s\n", verdict, outcome->scenario->id, outcome->point->name,
           defect ? ", with " : "", defect ? defect->name : "", outcome->seconds,
           outcome->text[0] ? ": " : "", outcome->text);
    fflush(stdout);
}

static void run_outcome(void *ctx, unsigned index)
{
    struct plan *plan = ctx;

    run_trial(&plan->items[index]);
    report(&plan->items[index]);
}

static void list(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++) {
        const struct outcome *outcome = &plan->items[i];
        printf("%s/%s%s%s: %s\n", outcome->scenario->id, outcome->point->name,
               outcome->defect ? " with " : "", outcome->defect ? outcome->defect->name : "",
               outcome->scenario->title);
    }
}

/* The closing line. A fault that did not happen in a clean run, a defect that nobody noticed and a
 * broken invariant are all failures. */
static bool close_plan(const struct plan *plan, double seconds)
{
    unsigned scenarios = 0, faults = 0, hits = 0, violations = 0, defects = 0, caught = 0;

    for (unsigned i = 0; i < plan->count; i++) {
        const struct outcome *outcome = &plan->items[i];
        scenarios += i == 0 || outcome->scenario != plan->items[i - 1].scenario;
        if (outcome->defect) {
            defects++;
            caught += outcome->is_caught;
        } else {
            violations += !outcome->is_well;
            faults += outcome->faults;
            hits += outcome->hits;
        }
    }
    if (hits != faults) {
        printf("points never hit: %u\n", faults - hits);
    }
    printf("seconds %.0f\n", seconds);
    printf("scenarios %u, points hit %u, violations %u, defects caught %u of %u\n", scenarios, hits,
           violations, caught, defects);
    return violations == 0 && caught == defects && hits == faults && plan->count > 0;
}

static bool parse(struct choice *choice, int argc, char **argv)
{
    bool has_set = false;

    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(word, "--all") == 0) {
            has_set = true;
        } else if (strcmp(word, "--short") == 0) {
            has_set = choice->is_short = true;
        } else if (strcmp(word, "--list") == 0) {
            has_set = choice->is_list = true;
        } else if (strcmp(word, "--clean") == 0) {
            choice->is_clean_only = true;
        } else if (strcmp(word, "--defects") == 0) {
            choice->is_defects_only = true;
        } else if (strcmp(word, "--keep") == 0) {
            choice->must_keep = true;
        } else if (strcmp(word, "--only") == 0 && value) {
            choice->only = value;
            has_set = true;
            i++;
        } else if (strcmp(word, "--seed") == 0 && value) {
            choice->seed = strtoull(value, NULL, 10);
            i++;
        } else {
            return false;
        }
    }
    return has_set;
}

int main(int argc, char **argv)
{
    struct choice choice = {.seed = 1};
    struct plan plan = {.count = 0};
    double start = now_seconds();

    if (!parse(&choice, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    for (unsigned i = 0; all_groups[i]; i++) {
        for (unsigned k = 0; k < all_groups[i]->count; k++) {
            const struct scenario *scenario = &all_groups[i]->scenarios[k];
            if (all_groups[i]->prepare && !choice.is_list &&
                may_be_wanted(&choice, all_groups[i], scenario)) {
                all_groups[i]->prepare(k, choice.seed);
            }
            add_scenario(&plan, &choice, all_groups[i], scenario);
        }
    }
    if (choice.is_list) {
        list(&plan);
        free(plan.items);
        return 0;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    printf("seed %llu, %u runs\n", (unsigned long long)choice.seed, plan.count);
    fflush(stdout);
    story_side_by_side(plan.count, run_outcome, &plan);
    bool is_well = close_plan(&plan, now_seconds() - start);
    free(plan.items);
    curl_global_cleanup();
    return is_well ? 0 : 1;
}
