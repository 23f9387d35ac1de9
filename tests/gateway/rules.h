#ifndef GATEWAY_RULES_H
#define GATEWAY_RULES_H

/*
 * What a statement is for, by its text, and what is to happen to it. A rule file has one rule per
 * line:
 *
 *      <step>[#<n>] before|after kill|cut <marker file>
 *      <step>[#<n>] before stop|late <marker file>
 *      <step>[#<n>] rewrite <from>=><to>
 *
 * Steps are counted over all connections of the gateway, from 1; without #n the rule holds for each
 * of them. kill and cut fire once: they make the marker file exclusively, so that a replaced
 * process is not killed again and the test can tell that the fault happened. before: the statement
 * was not forwarded; after: the server has answered it, the answer is held back. stop halts the
 * client (SIGSTOP) and forwards the statement; the marker holds the client's process id. late cuts
 * the client off at once and forwards the statement when a file named like the marker with ".go"
 * behind it appears; nobody hears the answer.
 */

#include <stdbool.h>
#include <stddef.h>

#define RULE_TEXT_MAX 512
#define RULES_MAX 64

enum rule_action { RULE_KILL, RULE_CUT, RULE_STOP, RULE_LATE, RULE_REWRITE };

struct rule {
    char step[32];
    unsigned n; /* 0: every time */
    bool is_after;
    enum rule_action action;
    char marker[RULE_TEXT_MAX];
    char from[RULE_TEXT_MAX], to[RULE_TEXT_MAX];
};

struct rules {
    struct rule items[RULES_MAX];
    unsigned count;
};

/* False with a sentence in why when the text is no rule file. */
bool rules_read(const char *text, struct rules *ret, char why[RULE_TEXT_MAX]);

/* "open.lock", "put.merge", ... or "other". One name for each statement that the connector sends.
 */
const char *step_of(const char *sql);

/* All names that step_of gives, ended by NULL. */
extern const char *const step_names[];

#endif
