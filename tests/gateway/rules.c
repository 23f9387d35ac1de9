/* gateway/rules: the steps' names, the rule file, and which rule holds. Knows no connection. */

#include "gateway/rules.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- steps */

/* The first row whose parts are all in the text counts; a part that begins with ^ must stand at its
 * start. */
static const struct {
    const char *step, *first, *second;
} patterns[] = {
    {"proof.copy", "^COPY flow_temp_proof ", NULL}, /* what Validate tries */
    {"proof", "flow_temp_proof", NULL},
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
    {"trunc", "^DELETE FROM ", " < $1"},
    {"put.merge", "^MERGE INTO ", NULL},
    {"drop", "^DROP TABLE flow_temp_table", NULL},
    {"load.query", "^SELECT ", "flow_temp_table"},
    {"token", "^UPDATE ", "checkpoint_tokens = "},
    {"commit", "^COMMIT", NULL},
    {"rollback", "^ROLLBACK", NULL},
    {"explain", "sys_load_error_detail", NULL},
    {"slices", "stv_slices", NULL},
    {"holder", "svv_transactions", NULL},
    {"queue", "sys_query_history", NULL},
};

const char *const step_names[] = {
    "load.",      "apply.", "connect",  "auth",      "set",      "show",
    "catalog",    "create", "column",   "widen",     "begin",    "lock",
    "check",      "owner",  "del.temp", "temp",      "del.copy", "temp.copy",
    "put.direct", "count",  "del.exec", "put.merge", "drop",     "load.query",
    "token",      "commit", "rollback", "explain",   "trunc",    "proof",
    "proof.copy", "slices", "holder",   "queue",     "other",    NULL};

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

static bool is_step(const char *const *steps, const char *name)
{
    for (unsigned i = 0; steps[i]; i++) {
        size_t len = strlen(steps[i]);
        bool is_phase = steps[i][len - 1] == '.';
        if (strcmp(steps[i], name) == 0
                ? !is_phase
                : is_phase && strncmp(steps[i], name, len) == 0 && is_step(steps, name + len)) {
            return true;
        }
    }
    return false;
}

/* A number from 1 at *at, which moves behind it. */
static bool read_number(const char **at, unsigned *ret)
{
    char *end;
    unsigned long value = strtoul(*at, &end, 10);

    if (**at < '0' || **at > '9' || value == 0 || value > UINT_MAX) {
        return false;
    }
    *at = end;
    *ret = (unsigned)value;
    return true;
}

/* What stands behind a step's name. */
static bool read_which(const char *at, struct rule *rule)
{
    if (*at == '\0') {
        return true;
    }
    if (*at++ == '%') {
        return read_number(&at, &rule->every) && *at == '\0';
    }
    if (!read_number(&at, &rule->n)) {
        return false;
    }
    rule->last = strcmp(at, "+") == 0 ? UINT_MAX : rule->n;
    if (*at == '-') {
        at++;
        return read_number(&at, &rule->last) && *at == '\0' && rule->last >= rule->n;
    }
    return *at == '\0' || strcmp(at, "+") == 0;
}

static bool read_step(const char *word, const char *const *steps, struct rule *rule)
{
    size_t len = strcspn(word, "#%");

    if (len == 0 || len >= sizeof rule->step) {
        return false;
    }
    memcpy(rule->step, word, len);
    rule->step[len] = '\0';
    return is_step(steps, rule->step) && read_which(word + len, rule);
}

static bool read_change(const char *text, enum rule_action action, struct rule *rule)
{
    const char *arrow = strstr(text, "=>");

    if (!arrow || arrow == text || strlen(text) >= RULE_TEXT_MAX) {
        return false;
    }
    rule->action = action;
    memcpy(rule->from, text, (size_t)(arrow - text));
    rule->from[arrow - text] = '\0';
    snprintf(rule->to, sizeof rule->to, "%s", arrow + 2);
    return true;
}

/* <count> */
static bool read_count(const char *text, enum rule_action action, struct rule *rule)
{
    char *end;

    rule->action = action;
    rule->count = (unsigned)strtoul(text, &end, 10);
    return end != text && *end == '\0';
}

/* <marker> <code> <message> */
static bool read_fail(const char *text, struct rule *rule)
{
    int used = 0;

    if (sscanf(text, "%511s %15s %n", rule->marker, rule->code, &used) != 2 || used == 0) {
        return false;
    }
    snprintf(rule->text, sizeof rule->text, "%s", text + used);
    return rule->text[0] != '\0';
}

/* <marker> <text> */
static bool read_next(const char *text, struct rule *rule)
{
    int used = 0;

    if (sscanf(text, "%511s %n", rule->marker, &used) != 1 || used == 0) {
        return false;
    }
    snprintf(rule->text, sizeof rule->text, "%s", text + used);
    return rule->text[0] != '\0';
}

/* <action> <rest>, behind "before" or "after" */
static bool read_action(const char *text, struct rule *rule)
{
    static const struct {
        const char *name;
        enum rule_action action;
        bool may_be_after, may_repeat;
    } actions[] = {{"kill", RULE_KILL, true, false},   {"cut", RULE_CUT, true, true},
                   {"stop", RULE_STOP, false, false},  {"late", RULE_LATE, false, false},
                   {"stall", RULE_STALL, false, true}, {"silence", RULE_SILENCE, true, false},
                   {"fail", RULE_FAIL, false, true},   {"run", RULE_RUN, true, true},
                   {"next", RULE_NEXT, false, false},  {"hold", RULE_HOLD, true, false}};
    char action[16];
    int used = 0;

    if (sscanf(text, "%15s %n", action, &used) != 1 || text[used] == '\0') {
        return false;
    }
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(action, actions[i].name) != 0) {
            continue;
        }
        rule->action = actions[i].action;
        if (rule->is_after && !actions[i].may_be_after) {
            return false;
        }
        if (rule->action == RULE_RUN) {
            snprintf(rule->marker, sizeof rule->marker, "-");
            snprintf(rule->text, sizeof rule->text, "%s", text + used);
            return true;
        }
        return (rule->action == RULE_FAIL   ? read_fail(text + used, rule)
                : rule->action == RULE_NEXT ? read_next(text + used, rule)
                                            : sscanf(text + used, "%511s", rule->marker) == 1) &&
               (actions[i].may_repeat || strcmp(rule->marker, "-") != 0);
    }
    return false;
}

static bool read_line(const char *line, const char *const *steps, struct rule *rule)
{
    char step[64], when[16];
    int used = 0;

    if (sscanf(line, "%63s %15s %n", step, when, &used) != 2 || used == 0 ||
        !read_step(step, steps, rule)) {
        return false;
    }
    const char *rest = line + used;
    if (strcmp(when, "rewrite") == 0) {
        return read_change(rest, RULE_REWRITE, rule);
    }
    if (strcmp(when, "answer") == 0) {
        return read_change(rest, RULE_ANSWER, rule);
    }
    if (strcmp(when, "short") == 0) {
        return read_count(rest, RULE_SHORT, rule);
    }
    if (strcmp(when, "chatter") == 0) {
        return read_count(rest, RULE_CHATTER, rule);
    }
    rule->is_after = strcmp(when, "after") == 0;
    return (rule->is_after || strcmp(when, "before") == 0) && read_action(rest, rule);
}

bool rules_read(const char *text,
                const char *const *steps,
                struct rules *ret,
                char why[RULE_TEXT_MAX])
{
    ret->count = 0;
    ret->arm[0] = '\0';
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
        if (sscanf(line, "arm %511s", ret->arm) == 1) {
            continue;
        }
        struct rule *rule = &ret->items[ret->count];
        memset(rule, 0, sizeof *rule);
        if (!read_line(line, steps, rule)) {
            snprintf(why, RULE_TEXT_MAX, "not a rule: %.200s", line);
            return false;
        }
        ret->count++;
    }
    return true;
}

/* ---------------------------------------------------------------- which rule */

static bool is_for(const struct rule *rule, const char *step, unsigned n)
{
    return strcmp(rule->step, step) == 0 && (rule->n == 0 || (n >= rule->n && n <= rule->last)) &&
           (rule->every == 0 || n % rule->every == 0);
}

bool rules_are_armed(const struct rules *rules)
{
    return rules->arm[0] == '\0' || access(rules->arm, F_OK) == 0;
}

static bool is_spent(const struct rule *rule)
{
    return rule->action != RULE_HOLD && strcmp(rule->marker, "-") != 0 &&
           access(rule->marker, F_OK) == 0;
}

const struct rule *rules_at(
    const struct rules *rules, const char *step, unsigned n, bool is_after, enum rule_action last)
{
    for (unsigned i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->items[i];
        if (rule->action <= last && rule->is_after == is_after && is_for(rule, step, n) &&
            !is_spent(rule)) {
            return rule;
        }
    }
    return NULL;
}

const struct rule *rules_next(const struct rules *rules,
                              const struct rule *previous,
                              const char *step,
                              unsigned n,
                              enum rule_action action)
{
    for (const struct rule *rule = previous ? previous + 1 : rules->items;
         rule < rules->items + rules->count; rule++) {
        if (rule->action == action && is_for(rule, step, n)) {
            return rule;
        }
    }
    return NULL;
}

static bool make_alone(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

bool rule_take(const struct rule *rule)
{
    return strcmp(rule->marker, "-") == 0 || make_alone(rule->marker);
}

bool rule_take_next(const struct rule *rule)
{
    char path[RULE_TEXT_MAX + 8];

    snprintf(path, sizeof path, "%s.next", rule->marker);
    return access(rule->marker, F_OK) == 0 && make_alone(path);
}
