/*
 * harness/trial: see trial.h. Puts gateways, runtime, connector and observer together, and says
 * what came of it. In: a scenario's row. Out: findings.
 */

#include "harness/trial.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULES_LEN 8192

/* ---------------------------------------------------------------- findings */

/* On one line. */
__attribute__((format(printf, 2, 0))) static void
keep(char *finding, const char *format, va_list args)
{
    if (!finding[0]) {
        vsnprintf(finding, FINDING_LEN, format, args);
        for (char *at = finding; (at = strchr(at, '\n'));) {
            *at = ' ';
        }
    }
}

void trial_finds(struct trial *trial, unsigned number, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&trial->lock);
    va_start(args, format);
    keep(trial->findings[number], format, args);
    va_end(args);
    pthread_mutex_unlock(&trial->lock);
}

void trial_troubles(struct trial *trial, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&trial->lock);
    va_start(args, format);
    keep(trial->trouble, format, args);
    va_end(args);
    pthread_mutex_unlock(&trial->lock);
}

bool trial_is_well(struct trial *trial)
{
    bool is_well = trial->trouble[0] == '\0';

    for (unsigned i = 0; i < INVARIANTS; i++) {
        is_well &= trial->findings[i][0] == '\0';
    }
    return is_well;
}

void trial_tell(const struct trial *trial, char *text, size_t size)
{
    size_t len = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < INVARIANTS && len + FINDING_LEN + 8 < size; i++) {
        if (trial->findings[i][0]) {
            len += (size_t)snprintf(text + len, size - len, "%sI%u: %s", len ? "; " : "", i,
                                    trial->findings[i]);
        }
    }
    if (trial->trouble[0] && len + FINDING_LEN + 8 < size) {
        snprintf(text + len, size - len, "%s%s", len ? "; " : "", trial->trouble);
    }
}

/* ---------------------------------------------------------------- rules */

const char *trial_marker(struct trial *trial, unsigned number)
{
    return story_path(trial->story, story_text(trial->story, "fault%u", number));
}

const char *trial_armed(struct trial *trial)
{
    return story_path(trial->story, "armed");
}

/* "%1" to "%9" as a word: behind a step it would be "every third". */
static bool is_marker(const char *rules, const char *at)
{
    return at[0] == '%' && at[1] >= '1' && at[1] <= '9' && at > rules && at[-1] == ' ';
}

static const char *put_markers(struct trial *trial, const char *rules)
{
    const char *schema = trial->story->schema;
    char text[RULES_LEN];
    size_t len = 0;

    for (const char *at = rules; *at && len + 300 < sizeof text; at++) {
        if (is_marker(rules, at)) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%s",
                                    trial_marker(trial, (unsigned)(at[1] - '0')));
            at++;
        } else if (strncmp(at, "%S", 2) == 0) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%s", schema);
            at++;
        } else {
            text[len++] = *at;
        }
    }
    text[len] = '\0';
    return story_text(trial->story, "%s", text);
}

static const char *pick_rules(const char *seam, const char *sql, const char *s3, const char *flow)
{
    const char *rules = strcmp(seam, "sql") == 0 ? sql : strcmp(seam, "s3") == 0 ? s3 : flow;
    return rules ? rules : "";
}

const char *trial_rules(struct trial *trial, const char *seam)
{
    const struct point *point = trial->point;
    const struct defect *defect = trial->defect;
    const char *own =
        defect && defect->is_alone ? "" : pick_rules(seam, point->sql, point->s3, point->flow);
    const char *added = defect ? pick_rules(seam, defect->sql, defect->s3, defect->flow) : "";

    if (!own[0] && !added[0]) {
        return NULL;
    }
    return put_markers(
        trial, story_text(trial->story, "arm %s\n%s\n%s\n", trial_armed(trial), own, added));
}

/* Calls visit for each marker of the point's rules, with the word in front of it. */
static void each_marker(struct trial *trial,
                        void (*visit)(struct trial *trial, unsigned number, bool kills, void *ctx),
                        void *ctx)
{
    static const char *const seams[] = {"sql", "s3", "flow"};

    for (unsigned i = 0; i < 3; i++) {
        const char *rules =
            pick_rules(seams[i], trial->point->sql, trial->point->s3, trial->point->flow);
        for (const char *at = rules; (at = strchr(at, '%')); at++) {
            if (is_marker(rules, at)) {
                visit(trial, (unsigned)(at[1] - '0'),
                      at - rules >= 5 && strncmp(at - 5, "kill ", 5) == 0, ctx);
            }
        }
    }
}

/* ---------------------------------------------------------------- a run */

struct options {
    const char *words[64];
    unsigned count;
};

static void add(struct options *options, const char *name, const char *value)
{
    if (options->count + 2 < sizeof options->words / sizeof *options->words) {
        options->words[options->count++] = name;
        if (value) {
            options->words[options->count++] = value;
        }
    }
}

static void add_list(struct options *options, const char *const *words, unsigned most)
{
    for (unsigned i = 0; i < most && words[i]; i++) {
        add(options, words[i], NULL);
    }
}

static void add_kill_file(struct trial *trial, unsigned number, bool kills, void *ctx)
{
    if (kills) {
        add(ctx, "--kill-file", trial_marker(trial, number));
    }
}

unsigned trial_arm(const struct scenario *scenario)
{
    return scenario->is_cold ? 0 : scenario->arm ? scenario->arm : TRIAL_ARM;
}

/* The rules of one seam that hold in a run; NULL: none. */
static const char *
rules_of(struct trial *trial, const struct run *run, const char *seam, const char *added)
{
    const char *rules = run->has_no_faults ? NULL : trial_rules(trial, seam);

    if (!added) {
        return rules;
    }
    return story_text(trial->story, "%s%s", rules ? rules : "", put_markers(trial, added));
}

static const char *gateway_of(struct trial *trial, const struct run *run)
{
    return story_gateway(trial->story, story_text(trial->story, "%s-sql", run->label),
                         rules_of(trial, run, "sql", run->sql));
}

static const char *config_of(struct trial *trial, const struct run *run, const char *address)
{
    return story_config(trial->story, story_text(trial->story, "%s.json", run->label),
                        &(struct story_config){.address = address,
                                               .hard_delete = trial->scenario->hard_delete,
                                               .sync_schedule = trial->scenario->sync_schedule,
                                               .extra = trial->scenario->extra});
}

struct story_process *trial_start(struct trial *trial, const struct run *run)
{
    struct story *story = trial->story;
    const struct scenario *scenario = trial->scenario;
    const char *address = run->address ? run->address : gateway_of(trial, run);
    const char *flow = run->has_no_faults ? NULL : trial_rules(trial, "flow");
    const char *product = story_text(story, "%s/materialize-redshift", story_programs());
    const char *s3_rules = rules_of(trial, run, "s3", run->s3);
    const char *environment[4 + sizeof run->environment / sizeof *run->environment + 1] = {NULL};
    unsigned variables = 0;
    struct options options = {.words = {"flow-runtime"}, .count = 1};

    trial->state = run->state ? run->state : run->label;
    trial->has_past = run->state != NULL;
    if (!address) {
        trial_troubles(trial, "%s", story->complaint);
        return NULL;
    }
    if (s3_rules) {
        const char *endpoint =
            story_s3_gateway(story, story_text(story, "%s-s3", run->label), s3_rules);
        if (!endpoint) {
            trial_troubles(trial, "%s", story->complaint);
            return NULL;
        }
        environment[variables++] = story_text(story, "AWS_ENDPOINT_URL_S3=%s", endpoint);
    }
    if (flow) {
        const char *rules =
            story_write(story, story_text(story, "%s-flow.rules", run->label), flow);
        const char *trace = story_path(story, story_text(story, "%s-flow.trace", run->label));
        environment[variables++] = story_text(story, "FLOW_GATEWAY_PROGRAM=%s", product);
        environment[variables++] = story_text(story, "FLOW_GATEWAY_RULES=%s", rules);
        environment[variables++] = story_text(story, "FLOW_GATEWAY_TRACE=%s", trace);
        add(&options, "--compact", NULL);
        product = story_text(story, "%s/flow-gateway", story_programs());
    }
    for (unsigned i = 0; i < sizeof run->environment / sizeof *run->environment; i++) {
        if (run->environment[i]) {
            environment[variables++] = run->environment[i];
        }
    }
    add(&options, "--catalog", run->catalog ? run->catalog : trial->work.catalog);
    if (!run->fixture || *run->fixture) {
        add(&options, "--fixture", run->fixture ? run->fixture : trial->work.fixture);
    }
    add(&options, "--connector", product);
    add(&options, "--config", run->config ? run->config : config_of(trial, run, address));
    add(&options, "--mode", scenario->mode ? scenario->mode : "v1");
    add(&options, "--codec", scenario->codec && !flow ? scenario->codec : "json");
    add(&options, "--group", "/group");
    add(&options, "--seed", story_text(story, "%llu", (unsigned long long)trial->seed));
    add(&options, "--arm", story_text(story, "%u", trial_arm(scenario)));
    add(&options, "--max-restarts",
        story_text(story, "%u", scenario->restarts + trial->point->restarts));
    add(&options, "--timeout", "90");
    add(&options, "--state", story_path(story, story_text(story, "%s.state", trial->state)));
    static const char *const outputs[][2] = {{"--report", "report"}, {"--log", "log"}};
    for (unsigned i = 0; i < 2; i++) {
        add(&options, outputs[i][0],
            story_path(story, story_text(story, "%s.%s", run->label, outputs[i][1])));
    }
    if (run->is_observed) {
        add(&options, "--observer", story_path(story, "observer"));
    }
    if (!run->has_no_faults) {
        for (unsigned i = 0; i < SCENARIO_KILLS && trial->point->kills[i]; i++) {
            add(&options, "--kill-at", trial->point->kills[i]);
        }
        each_marker(trial, add_kill_file, &options);
        add_list(&options, scenario->options, SCENARIO_OPTIONS);
    }
    add_list(&options, run->options, SCENARIO_OPTIONS);
    if (trial->defect && !run->has_no_faults) {
        add_list(&options, trial->defect->options, 4);
    }
    return story_start(story, run->label, options.words, environment, NULL);
}

static char *file_of(struct trial *trial, const char *label, const char *ending)
{
    return story_read(trial->story,
                      story_path(trial->story, story_text(trial->story, "%s%s", label, ending)),
                      NULL);
}

int trial_end(struct trial *trial, struct story_process *process)
{
    if (!process) {
        return -1;
    }
    if (!story_wait(trial->story, process, TRIAL_SECONDS)) {
        trial_finds(trial, 22, "a run did not end within %u s", TRIAL_SECONDS);
        trial->story->complaint[0] = '\0';
    }
    return story_exit_code(process);
}

void trial_wait(struct trial *trial, struct story_process *process, const char *label)
{
    struct story *story = trial->story;

    trial->exit_code = trial_end(trial, process);
    if (!process) {
        return;
    }
    trial->report = story_report(story, label);
    int64_t position = story_number(trial->report, "position");
    trial->position = position > 0 ? (uint64_t)position : 0;
    trial->is_drained = trial->exit_code == 0 && strstr(trial->report, "\"drained\":true");
    trial->sql_trace = file_of(trial, label, "-sql.trace");
    trial->s3_trace = file_of(trial, label, "-s3.trace");
    trial->flow_trace = file_of(trial, label, "-flow.trace");
    trial->log = file_of(trial, label, ".log");
    const char *words = story_read(story, process->err, NULL);
    switch (trial->exit_code) {
    case 0:
        break;
    case 1:
        trial_troubles(trial, "%.300s", words);
        break;
    case 3:
        trial_finds(trial, 14, "%.300s", words);
        break;
    case 4:
        trial_finds(trial, 13, "%.300s", words);
        break;
    default:
        trial_finds(trial, 22, "%.300s", words);
    }
    if (trial->exit_code == 0 && !trial->is_drained) {
        trial_finds(trial, 22, "the run ended before everything was committed");
    }
}

static void count_marker(struct trial *trial, unsigned number, bool kills, void *ctx)
{
    (void)kills;
    (void)ctx;
    trial->faults++;
    if (access(trial_marker(trial, number), F_OK) == 0) {
        trial->hits++;
    } else {
        trial_troubles(trial, "fault %u of the rules never happened", number);
    }
}

void trial_count_faults(struct trial *trial)
{
    for (unsigned i = 0; i < SCENARIO_KILLS && trial->point->kills[i]; i++) {
        trial->faults++;
        trial->hits += trial->exit_code != 1; /* else one was never reached */
    }
    each_marker(trial, count_marker, NULL);
}

void trial_play(struct trial *trial)
{
    const struct run run = {.label = "runtime", .is_observed = true};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));

    trial_wait(trial, trial_start(trial, &run), run.label);
    observer_stop(observer);
}

/* ---------------------------------------------------------------- what was committed */

void trial_each_transaction(
    struct trial *trial,
    void (*visit)(struct trial *trial, unsigned first_group, unsigned last_group, void *ctx),
    void *ctx)
{
    char *log = file_of(trial, trial->state, ".state/recovery.jsonl");

    for (char *line = log, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) {
            *next++ = '\0';
        }
        int64_t from = story_number(line, "from"), to = story_number(line, "to");
        if (from >= 0 && to > from) {
            visit(trial, workload_group(&trial->work, (uint64_t)from) + 1,
                  workload_group(&trial->work, (uint64_t)to), ctx);
        }
    }
}

void trial_open_again(struct trial *trial, const char *label)
{
    const bool has_past = trial->has_past;
    const struct run run = {.label = label,
                            .state = trial->state,
                            .has_no_faults = true,
                            .s3 = trial->defect ? trial->defect->s3 : NULL};

    if (trial_end(trial, trial_start(trial, &run)) != 0) {
        trial_finds(trial, 22, "the run that sweeps failed");
    }
    trial->has_past = has_past;
}
