/* gateway/rules: the steps' names and the rule file. Pure. */

#include "gateway/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- steps */

/* The first row whose parts are all in the text counts; a part that begins with ^ must stand at its
 * start. */
static const struct {
    const char *step, *first, *second;
} patterns[] = {
    {"set", "^SET ", NULL},
    {"show", "^SHOW ", NULL},
    {"catalog", "information_schema", NULL},
    {"catalog", "svv_all_schemas", NULL},
    {"catalog", "current_database()", NULL},
    {"create", "^CREATE SCHEMA", NULL},
    {"create", "\nCREATE TABLE", NULL},
    {"create", "^CREATE TABLE", NULL},
    {"column", "^ALTER TABLE", "ADD COLUMN"},
    {"widen", "^ALTER TABLE", "ALTER COLUMN"},
    {"begin", "^BEGIN", NULL},
    {"lock", "^LOCK ", NULL},
    {"check", "^SELECT fence", NULL},
    {"owner", "^UPDATE ", "SET fence"},
    {"owner", "^INSERT INTO ", "flow_checkpoints_v1"},
    {"del.temp", "^CREATE TEMP", "_deleted"},
    {"temp", "^CREATE TEMP", NULL},
    {"del.copy", "^COPY flow_temp_table", "_deleted "},
    {"temp.copy", "^COPY flow_temp_table", NULL},
    {"put.direct", "^COPY ", NULL},
    {"count", "pg_last_copy_count", NULL},
    {"del.exec", "^DELETE FROM ", "flow_temp_table"},
    {"put.merge", "^MERGE INTO ", NULL},
    {"drop", "^DROP TABLE flow_temp_table", NULL},
    {"load.query", "^SELECT ", "flow_temp_table"},
    {"token", "^UPDATE ", "checkpoint_tokens = "},
    {"commit", "^COMMIT", NULL},
    {"rollback", "^ROLLBACK", NULL},
    {"explain", "sys_load_error_detail", NULL},
};

const char *const step_names[] = {
    "set",        "show",     "catalog",  "create",    "column", "widen",      "begin",
    "lock",       "check",    "owner",    "del.temp",  "temp",   "del.copy",   "temp.copy",
    "put.direct", "count",    "del.exec", "put.merge", "drop",   "load.query", "token",
    "commit",     "rollback", "explain",  "other",     NULL};

static bool matches(const char *sql, const char *part)
{
    if (!part) {
        return true;
    }
    return part[0] == '^' ? strncmp(sql, part + 1, strlen(part) - 1) == 0
                          : strstr(sql, part) != NULL;
}

const char *step_of(const char *sql)
{
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (matches(sql, patterns[i].first) && matches(sql, patterns[i].second)) {
            return patterns[i].step;
        }
    }
    return "other";
}

/* ---------------------------------------------------------------- rule file */

static bool is_step(const char *name)
{
    for (unsigned i = 0; step_names[i]; i++) {
        if (strcmp(step_names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_step(const char *word, struct rule *rule)
{
    const char *hash = strchr(word, '#');
    size_t len = hash ? (size_t)(hash - word) : strlen(word);

    if (len == 0 || len >= sizeof rule->step) {
        return false;
    }
    memcpy(rule->step, word, len);
    rule->step[len] = '\0';
    rule->n = hash ? (unsigned)strtoul(hash + 1, NULL, 10) : 0;
    return is_step(rule->step) && (!hash || rule->n > 0);
}

static bool read_rewrite(const char *text, struct rule *rule)
{
    const char *arrow = strstr(text, "=>");

    if (!arrow || arrow == text || strlen(text) >= RULE_TEXT_MAX) {
        return false;
    }
    rule->action = RULE_REWRITE;
    memcpy(rule->from, text, (size_t)(arrow - text));
    rule->from[arrow - text] = '\0';
    snprintf(rule->to, sizeof rule->to, "%s", arrow + 2);
    return true;
}

static bool read_line(char *line, struct rule *rule)
{
    char step[64], when[16];
    int used = 0;

    if (sscanf(line, "%63s %15s %n", step, when, &used) != 2 || used == 0 ||
        !read_step(step, rule)) {
        return false;
    }
    if (strcmp(when, "rewrite") == 0) {
        return read_rewrite(line + used, rule);
    }
    char action[16];
    if (sscanf(line + used, "%15s %511s", action, rule->marker) != 2) {
        return false;
    }
    static const struct {
        const char *name;
        enum rule_action action;
        bool may_be_after;
    } actions[] = {{"kill", RULE_KILL, true},
                   {"cut", RULE_CUT, true},
                   {"stop", RULE_STOP, false},
                   {"late", RULE_LATE, false}};
    rule->is_after = strcmp(when, "after") == 0;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(action, actions[i].name) == 0) {
            rule->action = actions[i].action;
            return rule->is_after ? actions[i].may_be_after : strcmp(when, "before") == 0;
        }
    }
    return false;
}

bool rules_read(const char *text, struct rules *ret, char why[RULE_TEXT_MAX])
{
    ret->count = 0;
    while (*text) {
        char line[RULE_TEXT_MAX * 2];
        size_t len = strcspn(text, "\n");
        if (len >= sizeof line || ret->count == RULES_MAX) {
            snprintf(why, RULE_TEXT_MAX, "too many rules, or too long a line");
            return false;
        }
        memcpy(line, text, len);
        line[len] = '\0';
        text += len + (text[len] == '\n');
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        struct rule *rule = &ret->items[ret->count];
        memset(rule, 0, sizeof *rule);
        if (!read_line(line, rule)) {
            snprintf(why, RULE_TEXT_MAX, "not a rule: %.200s", line);
            return false;
        }
        ret->count++;
    }
    return true;
}
