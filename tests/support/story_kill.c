/* support/story_kill: see story_kill.h. */

#include "support/story_kill.h"

#include <string.h>
#include <unistd.h>

bool kill_run(struct story *story, const struct kill_case *row, struct kill_world *ret)
{
    const struct ledger_plan plan = {
        .transactions = 4, .events = 36, .hard_delete = row->hard_delete};
    const char *marker = story_path(story, "fault");
    const char *percent = strstr(row->rule, "%s");
    const char *rule = percent ? story_text(story, "%.*s%s%s\n", (int)(percent - row->rule),
                                            row->rule, marker, percent + 2)
                               : row->rule;
    const char *arm = story_text(story, "%d", KILL_ARM);
    const char *options[16] = {"--arm", arm, "--same-boundaries"};
    unsigned count = row->defect ? 3 : 2;

    ledger_make(story, &plan, &ret->ledger);
    const char *address = story_gateway(
        story, "gateway", story_text(story, "%s%s", rule, row->defect ? row->defect : ""));
    if (!address) {
        return false;
    }
    if (percent) {
        options[count++] = "--kill-file";
        options[count++] = marker;
    }
    for (unsigned i = 0; row->at[i]; i++) {
        options[count++] = "--kill-at";
        options[count++] = row->at[i];
    }
    options[count] = NULL;
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ret->ledger.catalog,
        .fixture = ret->ledger.fixture,
        .config = story_config(
            story, "config.json",
            &(struct story_config){.address = address, .hard_delete = row->hard_delete}),
        .codec = row->codec,
        .mode = row->mode,
        .options = options,
    };
    bool is_well = story_drive(story, &drive);
    ret->trace = story_read(story, story_path(story, "gateway.trace"), NULL);
    if (is_well && percent && access(marker, F_OK) != 0) {
        return story_complain(story, "the fault never happened: %s", rule);
    }
    return is_well;
}

static const char *last_of(const char *text, const char *part)
{
    const char *last = NULL;

    for (const char *at = text; (at = strstr(at, part)); at++) {
        last = at;
    }
    return last;
}

bool kill_check(struct story *story, const struct kill_case *row, const struct kill_world *world)
{
    unsigned kills = strstr(row->rule, "%s") ? 1 : 0;
    const char *report = story_report(story, "runtime");
    const char *owner = last_of(world->trace, "\"step\":\"owner\"");

    for (unsigned i = 0; row->at[i]; i++) {
        kills++;
    }
    if (story_number(report, "kills") != (int64_t)kills ||
        story_number(report, "position") != (int64_t)world->ledger.documents ||
        !strstr(report, "\"drained\":true")) {
        return story_complain(story, "not the report of a whole run with %u kills: %s", kills,
                              report);
    }
    if (!owner || !strstr(owner, "\"step\":\"token\"")) {
        return story_complain(story, "nothing was applied after the last start");
    }
    return story_same(story, "the tables", world->ledger.wanted,
                      ledger_read(story, &world->ledger));
}
