/*
 * Apply is killed before and after each of its statements: the next one goes on from there, and the
 * tables are in the end what they are without a death. Which statements there are is read from the
 * trace of the run without one. The changed catalog has a new table, new columns, three columns of
 * another type, a backfill, and finds work of the last session that was staged and not applied.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

#include <unistd.h>

#define POINTS_MAX 160

/* ---------------------------------------------------------------- the two catalogs */

#define THINGS(properties)                                                                         \
    "\"acme/things\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\",\"required\":[\"id\"],"    \
    "\"properties\":{\"id\":{\"type\":\"integer\"}," properties "}}}"
#define MORE                                                                                       \
    "\"acme/more\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\",\"required\":[\"id\"],"      \
    "\"properties\":{\"id\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}}}}"
#define CATALOG(things, bindings)                                                                  \
    "{\"collections\":{" things "," MORE "},\"materializations\":{\"acme/changing\":{"             \
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"             \
    "\"bindings\":[" bindings "]}}}\n"
#define BINDING(source, table, more)                                                               \
    "{\"source\":\"" source "\",\"resource\":{\"table\":\"" table "\"}," more                      \
    "\"fields\":{\"recommended\":true}}"

static const char before[] =
    CATALOG(THINGS("\"count\":{\"type\":\"integer\"},\"Share\":{\"type\":\"number\"},"
                   "\"seen at\":{\"type\":\"string\",\"format\":\"date-time\"},"
                   "\"note\":{\"type\":\"string\"}"),
            BINDING("acme/things", "things", "") "," BINDING("acme/more", "more", ""));

static const char after[] =
    CATALOG(THINGS("\"count\":{\"type\":\"string\"},\"Share\":{\"type\":\"string\"},"
                   "\"seen at\":{\"type\":\"string\"},\"note\":{\"type\":\"string\"},"
                   "\"new\":{\"type\":\"integer\"},\"other\":{\"type\":\"boolean\"}"),
            BINDING("acme/things", "things", "") "," BINDING(
                "acme/more", "more", "\"backfill\":1,") "," BINDING("acme/more", "fresh", ""));

static const char documents[] = "[\"acme/things\",{\"id\":1,\"count\":10,\"Share\":0.5,"
                                "\"seen at\":\"2024-02-29T12:00:00Z\",\"note\":\"first\"}]\n"
                                "[\"acme/things\",{\"id\":2,\"count\":-3}]\n"
                                "[\"acme/more\",{\"id\":\"a\",\"n\":1}]\n"
                                "{\"commit\":true}\n"
                                "[\"acme/things\",{\"id\":3,\"count\":7,\"Share\":1e300}]\n"
                                "[\"acme/more\",{\"id\":\"b\",\"n\":2}]\n"
                                "{\"commit\":true}\n";

static const char further[] =
    "[\"acme/things\",{\"id\":4,\"count\":\"many\",\"Share\":\"half\",\"seen at\":\"today\","
    "\"new\":1,\"other\":true}]\n"
    "[\"acme/more\",{\"id\":\"c\",\"n\":3}]\n"
    "{\"commit\":true}\n";

/* The runtime that is played here validates again after a death, when the table of a new binding is
 * there already. */
static const char existing_are_allowed[] =
    ",\"advanced\":{\"feature_flags\":\"allow_existing_tables_for_new_bindings\"}";

/* ---------------------------------------------------------------- one run */

enum { APPLY_FIRST, APPLY_SECOND, APPLY_COUNT };

struct point {
    char name[80], rule[80];
    int apply; /* which of the two has the fault */
    char complaint[1024];
};

struct world {
    const char *traces[APPLY_COUNT];
    const char *tables; /* columns and rows, as they are in the end */
};

static bool drive(struct story *story, const struct point *point, int apply, struct world *ret)
{
    static const char *const labels[APPLY_COUNT] = {"first", "second"};
    const char *label = labels[apply];
    const char *marker = story_path(story, "fault");
    bool is_faulty = point && point->apply == apply;
    const char *percent = is_faulty ? strstr(point->rule, "%s") : NULL;
    const char *rule =
        percent ? story_text(story, "%.*s%s\n", (int)(percent - point->rule), point->rule, marker)
                : "";
    const char *address = story_gateway(story, story_text(story, "%s-gateway", label), rule);
    const char *faulty[] = {"--ending", apply == APPLY_FIRST ? "not-drained" : "drained",
                            "--kill-file", marker, NULL};

    if (!address) {
        return false;
    }
    if (!is_faulty) {
        faulty[2] = NULL;
    }
    const struct story_drive run = {
        .label = "runtime",
        .catalog = story_write(story, story_text(story, "%s.json", label),
                               apply == APPLY_FIRST ? before : after),
        .fixture = story_write(
            story, story_text(story, "%s.jsonl", label),
            apply == APPLY_FIRST ? documents : story_text(story, "%s%s", documents, further)),
        .config =
            story_config(story, story_text(story, "%s.config", label),
                         &(struct story_config){.address = address, .extra = existing_are_allowed}),
        .codec = "json",
        .mode = "v2",
        .options = faulty,
    };
    if (!story_drive(story, &run)) {
        return false;
    }
    if (percent && access(marker, F_OK) != 0) {
        return story_complain(story, "the fault never happened: %s", rule);
    }
    ret->traces[apply] =
        story_read(story, story_path(story, story_text(story, "%s-gateway.trace", label)), NULL);
    return true;
}

static const char *read_tables(struct story *story)
{
    return story_text(
        story, "%s%s%s%s%s",
        story_query(story, story_text(story,
                                      "SELECT table_name, column_name, data_type, is_nullable "
                                      "FROM information_schema.columns WHERE table_schema = '%s' "
                                      "ORDER BY table_name, column_name",
                                      story->schema)),
        story_query(story, story_text(story,
                                      "SELECT id, count, share, \"seen at\", note, \"new\", other "
                                      "FROM %s.things ORDER BY id",
                                      story->schema)),
        story_query(story,
                    story_text(story, "SELECT id, n FROM %s.more ORDER BY id", story->schema)),
        story_query(story,
                    story_text(story, "SELECT id, n FROM %s.fresh ORDER BY id", story->schema)),
        story_query(story, story_text(story, "SELECT count(*) FROM %s.flow_checkpoints_v1",
                                      story->schema)));
}

/* The rows that were staged for the binding which was then backfilled are in a state that nobody
 * reads any more, and their file with them: that one is left. */
static bool check_bucket(struct story *story)
{
    const char *left = story_bucket(story, story_text(story, "%s/", story->prefix));
    const char *line = strchr(left, '\n');

    return (line && !line[1] && strstr(left, "-b0001-store-")) ||
           story_complain(story, "left in the bucket: %.1000s", left);
}

static bool run_both(struct story *story, const struct point *point, struct world *ret)
{
    if (!drive(story, point, APPLY_FIRST, ret) || !drive(story, point, APPLY_SECOND, ret)) {
        return false;
    }
    ret->tables = read_tables(story);
    return story_is_well(story) && check_bucket(story);
}

/* ---------------------------------------------------------------- points */

struct sweep {
    struct point points[POINTS_MAX];
    unsigned count;
    char *wanted;
};

static void run_point(void *ctx, unsigned index)
{
    struct sweep *sweep = ctx;
    struct point *point = &sweep->points[index];
    struct story *story = story_begin(point->name);
    struct world world;

    if (run_both(story, point, &world)) {
        story_same(story, "the end state", sweep->wanted, world.tables);
    }
    story_close(story);
    memcpy(point->complaint, story->complaint, sizeof point->complaint);
    point->complaint[sizeof point->complaint - 1] = '\0';
    free(story);
}

static void add_point(struct sweep *sweep, int apply, const char *step, unsigned n, bool is_after)
{
    if (sweep->count == POINTS_MAX) {
        fail_msg("more than %d points", POINTS_MAX);
    }
    struct point *point = &sweep->points[sweep->count++];
    memset(point, 0, sizeof *point);
    point->apply = apply;
    snprintf(point->name, sizeof point->name, "%s Apply, %s %s#%u",
             apply == APPLY_FIRST ? "first" : "second", is_after ? "after" : "before", step, n);
    snprintf(point->rule, sizeof point->rule, "%s#%u %s kill %%s", step, n,
             is_after ? "after" : "before");
}

static bool is_ddl(const char *step)
{
    return strcmp(step, "create") == 0 || strcmp(step, "column") == 0 || strcmp(step, "other") == 0;
}

/* Everything that changes a table by its shape, and in the second Apply what applies staged work
 * before that: all statements from the first lock on. */
static void add_points(struct sweep *sweep, int apply, const char *trace)
{
    /* How many connections there are side by side depends on how soon each has nothing left to do.
     */
    static const char *const passed_over[] = {"catalog",  "show",    "set",
                                              "rollback", "connect", "auth"};
    const char *end = trace;
    bool is_changing = false;
    char step[32];
    unsigned n;

    for (const char *at = trace; (at = strstr(at, "\"step\":\"")); at++) {
        if (sscanf(at, "\"step\":\"%31[^\"]\",\"n\":%u", step, &n) == 2 && is_ddl(step)) {
            end = at + 1;
        }
    }
    for (const char *at = trace; (at = strstr(at, "\"step\":\"")) && at < end; at++) {
        if (sscanf(at, "\"step\":\"%31[^\"]\",\"n\":%u", step, &n) != 2 ||
            strncmp(strstr(at, "\"what\":"), "\"what\":\"seen\"", 13) != 0) {
            continue;
        }
        is_changing = is_changing || is_ddl(step) || strcmp(step, "lock") == 0;
        bool is_wanted = is_changing;
        for (size_t i = 0; i < sizeof passed_over / sizeof passed_over[0]; i++) {
            is_wanted = is_wanted && strcmp(step, passed_over[i]) != 0;
        }
        if (is_wanted) {
            add_point(sweep, apply, step, n, false);
            add_point(sweep, apply, step, n, true);
        }
    }
}

static void apply_survives_a_kill_at_each_of_its_statements(void **state)
{
    static struct sweep sweep;
    struct story *story = story_begin("the run to compare with");
    struct world world;
    unsigned wrong = 0;

    (void)state;
    if (run_both(story, NULL, &world)) {
        add_points(&sweep, APPLY_FIRST, world.traces[APPLY_FIRST]);
        add_points(&sweep, APPLY_SECOND, world.traces[APPLY_SECOND]);
        sweep.wanted = strdup(world.tables);
        print_message("%s", world.tables);
    }
    story_end(story);
    story_side_by_side(sweep.count, run_point, &sweep);
    for (unsigned i = 0; i < sweep.count; i++) {
        if (sweep.points[i].complaint[0]) {
            print_message("%s: %s\n", sweep.points[i].name, sweep.points[i].complaint);
            wrong++;
        }
    }
    print_message("points killed: %u, wrong end states: %u\n", sweep.count, wrong);
    free(sweep.wanted);
    assert_true(sweep.count >= 40);
    assert_int_equal(wrong, 0);
}

/* ---------------------------------------------------------------- one of several actions fails */

static struct story_drive six_tables(struct story *story, const char *address)
{
    static const char *const options[] = {"--until", "apply", NULL};
    static const char six[] =
        CATALOG(THINGS("\"n\":{\"type\":\"integer\"}"),
                BINDING("acme/more", "a", "") "," BINDING("acme/more", "b", "") "," BINDING(
                    "acme/more", "c", "") "," BINDING("acme/more", "d",
                                                      "") "," BINDING("acme/more", "e",
                                                                      "") "," BINDING("acme/more",
                                                                                      "f", ""));

    return (struct story_drive){
        .label = "runtime",
        .catalog = story_write(story, "six.json", six),
        .fixture = story_write(story, "none.jsonl", ""),
        .config =
            story_config(story, "config",
                         &(struct story_config){.address = address, .extra = existing_are_allowed}),
        .codec = "proto",
        .mode = "v1",
        .options = options,
    };
}

/* A38 */
static void an_action_that_fails_is_named_and_the_next_apply_goes_on(void **state)
{
    struct story *story = story_begin("one of six tables cannot be made");
    const char *address = story_gateway(story, "gateway", "create rewrite .d (=>.d ((\n");

    (void)state;
    const struct story_drive failing = six_tables(story, address);
    struct story_process *process = story_drive_start(story, &failing);
    if (address && story_wait(story, process, 60)) {
        const char *messages = story_read(story, process->err, NULL);
        const char *log = story_read(story, story_path(story, "runtime.log"), NULL);
        if (story_exit_code(process) != 2 ||
            !strstr(messages, "executing concurrent apply actions: failed to create table")) {
            story_complain(story, "%d: %s", story_exit_code(process), messages);
        } else if (!strstr(log, "an action of Apply failed") ||
                   story_number(log, "actionCount") != 6) {
            story_complain(story, "the failed action is not in the log");
        }
    }
    const struct story_drive whole = six_tables(story, NULL);
    story_drive(story, &whole);
    if (story_is_well(story)) {
        story_same(story, "the tables", "a\nb\nc\nd\ne\nf\nflow_checkpoints_v1\n",
                   story_query(story, story_text(story,
                                                 "SELECT table_name FROM information_schema.tables "
                                                 "WHERE table_schema = '%s' ORDER BY table_name",
                                                 story->schema)));
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_action_that_fails_is_named_and_the_next_apply_goes_on),
        cmocka_unit_test(apply_survives_a_kill_at_each_of_its_statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
