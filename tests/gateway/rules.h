#ifndef GATEWAY_RULES_H
#define GATEWAY_RULES_H

/*
 * What a statement is for, by its text, and what is to happen at a step. A rule file has one rule
 * per line:
 *
 *      <step>[<which>] before|after kill|cut <marker>
 *      <step>[<which>] before|after silence|hold <marker>
 *      <step>[<which>] before stop|late|stall <marker>
 *      <step>[<which>] before fail <marker> <code> <message to the end of the line>
 *      <step>[<which>] before|after run <text to the end of the line>
 *      <step>[<which>] before next <marker> <text to the end of the line>
 *      <step>[<which>] rewrite|answer <from>=><to>
 *      <step>[<which>] short|chatter <count>
 *
 * Each gateway has its own steps; those of the SQL gateway are step_names. Steps are counted over
 * all connections of the gateway, from 1. <which> is #3 (the third), #3-8, #3+ (and all after it)
 * or %3 (every third); without it the rule holds for each of them.
 *
 * A marker is a file. kill, cut, silence, late, stall and fail fire once: they make the marker file
 * exclusively, so that a replaced process is not killed again and the test can tell that the fault
 * happened. With "-" for a marker, cut, stall and fail fire every time. before: the step was not
 * forwarded; after: the other side has answered it, the answer is held back.
 *
 *      kill     SIGKILL to the client
 *      cut      both sides lose the connection
 *      stop     halts the client (SIGSTOP) and forwards the step; the marker holds the process id
 *      silence  the client hears nothing any more, not even that its packets arrive, as when what
 *               lies between forgets the connection; the other side keeps its end until a file
 *               named like the marker with ".go" behind it appears
 *      late     cuts the client off at once and forwards the step when a file named like the marker
 *               with ".go" behind it appears; nobody hears the answer
 *      stall    nothing is forwarded any more, and nobody is told
 *      fail     the step fails with this code and message, and what it would have done is not done
 *      hold     every such step waits, or its answer, until a file named like the marker with ".go"
 *               behind it appears; the marker is there as soon as one waits, and holds the client's
 *               process id
 *      run      does something of the gateway's own there; the client does not notice
 *      next     the same, once, at the first such step behind the fault that made the marker
 *      rewrite  replaces a part of the request, the first found
 *      answer   replaces a part of the answer
 *      short    of the answer's rows only the first <count> are passed on
 *      chatter  from here on the connection's answers come with notices and changed parameters
 *               between them, and the first <count> bytes of each by themselves
 *
 * A line "arm <file>" says that kill, cut, silence, stop, late, stall, hold and fail are asleep,
 * and what they count is not counted, before that file exists.
 *
 * A gateway may know phases: names in its list that end with a dot. Put in front of a step they ask
 * for that step in this phase, counted apart ("apply.commit").
 */

#include <stdbool.h>
#include <stddef.h>

#define RULE_TEXT_MAX 512
#define RULES_MAX 64

enum rule_action {
    RULE_KILL,
    RULE_CUT,
    RULE_STOP,
    RULE_LATE,
    RULE_STALL,
    RULE_SILENCE,
    RULE_HOLD,
    RULE_FAIL,
    RULE_RUN,
    RULE_NEXT,
    RULE_REWRITE,
    RULE_ANSWER,
    RULE_SHORT,
    RULE_CHATTER
};

struct rule {
    char step[32];
    unsigned n, last; /* numbers it holds for; both 0: every one */
    unsigned every;   /* and of these only multiples of this; 0: all */
    bool is_after;
    enum rule_action action;
    char marker[RULE_TEXT_MAX]; /* "-": none, the rule fires every time */
    char code[16];              /* of fail */
    char text[RULE_TEXT_MAX];   /* of fail, run and next */
    char from[RULE_TEXT_MAX], to[RULE_TEXT_MAX];
    unsigned count; /* of short and chatter */
};

struct rules {
    struct rule items[RULES_MAX];
    unsigned count;
    char arm[RULE_TEXT_MAX]; /* a file, or "" */
};

/* Is the file of arm there, if there is one? */
bool rules_are_armed(const struct rules *rules);

/* steps: the names that are known, ended by NULL. False with a sentence in why when the text is no
 * rule file. */
bool rules_read(const char *text,
                const char *const *steps,
                struct rules *ret,
                char why[RULE_TEXT_MAX]);

/* The rule among those from kill to last for the n-th of this step: the first
 * whose marker is not there yet. NULL: none. */
const struct rule *rules_at(
    const struct rules *rules, const char *step, unsigned n, bool is_after, enum rule_action last);

/* The rule of this kind for the n-th of this step, beginning behind previous (NULL: the first). */
const struct rule *rules_next(const struct rules *rules,
                              const struct rule *previous,
                              const char *step,
                              unsigned n,
                              enum rule_action action);

/* True when the fault is ours to do: this call made the marker, or there is none. */
bool rule_take(const struct rule *rule);
/* The same for a rule of what comes next behind its marker's fault: false before that happened. */
bool rule_take_next(const struct rule *rule);

/* "open.lock", "put.merge", ... or "other". One name for each statement that the connector sends.
 */
const char *step_of(const char *sql);

/* All names that step_of gives, ended by NULL. */
extern const char *const step_names[];

#endif
