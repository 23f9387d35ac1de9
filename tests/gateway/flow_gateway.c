/*
 * flow-gateway: stands between Flow's runtime and the connector. It is started in the connector's
 * place and starts the connector itself; in and out is Flow's protocol in JSON, a message a line,
 * with the faults of a rule file. The steps are the names of the messages, counted in each process;
 * a step's other side is who gets the message. Here kill passes the first half of the message and
 * kills the connector, stop halts the connector when the message was passed, stall keeps the
 * message back for ever, and run knows:
 *
 *      strip <member>      the message goes on without this member, wherever it is in it
 *      patches <how>       the elements of statePatches: "double" (each twice), "turn" (in the
 * other order), "occupy" (the last one once more, with another id) drop                it goes
 * nowhere say <json>          another message in the same direction, in front of it or behind it
 *      repeat <count>      it is sent so often; the answers to all but the first are swallowed
 *      apply-early         (startedCommit, first runtime) the connector is told to apply before the
 *                          runtime hears that anything was promised
 *      acknowledge-early   (acknowledge) the runtime is told that all is applied; the connector
 *                          hears of it when the runtime sends its next message
 *      at-zero <these>     any of these, but only for the shard whose range begins at zero
 *
 * Dies when the connector dies, and in the same way.
 *
 * environment: FLOW_GATEWAY_PROGRAM, FLOW_GATEWAY_RULES, FLOW_GATEWAY_TRACE (files)
 */

#include "gateway/rules.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const messages[] = {
    "spec",        "validate",      "validated",   "apply",        "applied", "open",
    "opened",      "load",          "loaded",      "flush",        "flushed", "store",
    "startCommit", "startedCommit", "acknowledge", "acknowledged", NULL};

#define MESSAGES 17

struct text {
    char *bytes;
    size_t len, cap;
};

struct way {
    int from, to;
    struct text in;
};

static struct rules rules;
static unsigned counts[MESSAGES], armed_counts[MESSAGES];
static int trace_fd = -1;
static pid_t child;
static struct way to_connector = {.from = 0}, to_runtime = {.to = 1};

/* What a rule keeps back. */
static struct text held_request; /* acknowledge-early: sent with the next one */
static struct text kept_answer;  /* apply-early: acknowledged, given out when it is asked for */
static struct text held_answer;  /* apply-early: startedCommit, until the apply is done */
static bool awaits_early;        /* apply-early: the next acknowledged is not the runtime's */
static unsigned swallow;         /* so many acknowledged are not the runtime's */
static bool begins_at_zero;      /* the range that Open gave */

_Noreturn static void give_up(const char *what)
{
    fprintf(stderr, "flow-gateway: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---------------------------------------------------------------- texts */

static void put(struct text *text, const char *bytes, size_t len)
{
    if (text->cap < text->len + len + 1) {
        text->cap = (text->len + len + 1) * 2;
        text->bytes = realloc(text->bytes, text->cap);
        if (!text->bytes) {
            give_up("memory");
        }
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

static void clear(struct text *text)
{
    text->len = 0;
}

static void replace(struct text *text, size_t at, size_t len, const char *with)
{
    struct text changed = {0};

    put(&changed, text->bytes, at);
    put(&changed, with, strlen(with));
    put(&changed, text->bytes + at + len, text->len - at - len);
    free(text->bytes);
    *text = changed;
}

/* Behind the value that begins at `at`. */
static size_t end_of_value(const char *json, size_t at)
{
    unsigned depth = 0;

    for (;; at++) {
        switch (json[at]) {
        case '\0':
            return at;
        case '"':
            for (at++; json[at] && json[at] != '"'; at++) {
                at += json[at] == '\\' && json[at + 1];
            }
            break;
        case '{':
        case '[':
            depth++;
            continue;
        case '}':
        case ']':
        case ',':
            if (depth == 0) {
                return at;
            }
            depth -= json[at] != ',';
            break;
        default:
            continue;
        }
        if (depth == 0 && json[at]) {
            return json[at] == ',' ? at : at + 1;
        }
    }
}

/* The member's name, colon and value go, and one comma with them. */
static void strip(struct text *line, const char *member)
{
    char name[64];

    snprintf(name, sizeof name, "\"%s\":", member);
    const char *found = strstr(line->bytes, name);
    if (!found) {
        return;
    }
    size_t at = (size_t)(found - line->bytes), end = at + strlen(name);
    while (isspace((unsigned char)line->bytes[end])) {
        end++;
    }
    end = end_of_value(line->bytes, end);
    while (isspace((unsigned char)line->bytes[end])) {
        end++;
    }
    if (line->bytes[end] == ',') {
        end++;
    } else if (at > 0 && line->bytes[at - 1] == ',') {
        at--;
    }
    replace(line, at, end - at, "");
}

/* ---------------------------------------------------------------- trace, patches */

static void trace(const char *step, unsigned n, const char *what)
{
    char line[256];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int len =
        snprintf(line, sizeof line,
                 "{\"ms\":%lld,\"step\":\"%s\",\"n\":%u,\"what\":\"%s\",\"client\":%ld}\n",
                 (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, step, n, what, (long)child);
    if (trace_fd >= 0 && write(trace_fd, line, (size_t)len) != len) {
        give_up("trace");
    }
}

#define PATCHES_MAX 64

/* The elements of statePatches, put together otherwise. */
static void rearrange(struct text *line, const char *how)
{
    static const char name[] = "\"statePatches\":[";
    const char *found = strstr(line->bytes, name);
    struct {
        const char *at;
        size_t len;
    } items[PATCHES_MAX];
    struct text list = {0};
    unsigned count = 0;

    if (!found) {
        return;
    }
    size_t from = (size_t)(found - line->bytes) + sizeof name - 1, end = from;
    while (line->bytes[end] && line->bytes[end] != ']' && count < PATCHES_MAX) {
        items[count].at = line->bytes + end;
        end = end_of_value(line->bytes, end);
        items[count].len = (size_t)(line->bytes + end - items[count].at);
        count += items[count].len > 0;
        end += strspn(line->bytes + end, " \t,");
    }
    const bool doubles = strcmp(how, "double") == 0, turns = strcmp(how, "turn") == 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned which = turns ? count - 1 - i : i;
        for (unsigned k = 0; k < (doubles ? 2 : 1); k++) {
            put(&list, items[which].at, items[which].len);
            put(&list, "\t,", 2);
        }
    }
    if (strcmp(how, "occupy") == 0 && count > 0) {
        size_t at = list.len;
        put(&list, items[count - 1].at, items[count - 1].len);
        put(&list, "\t,", 2);
        char *id = strstr(list.bytes + at, "\"id\":\"");
        if (id) {
            id[6] = id[6] == '0' ? '1' : '0';
        }
    }
    if (list.len > 0) {
        list.bytes[--list.len] = '\0'; /* no comma behind the last */
        replace(line, from, end - from, list.bytes);
    }
    free(list.bytes);
    if (count > 1) {
        trace("acknowledge", count, "rearranged");
    }
}

/* ---------------------------------------------------------------- sending */

static void leave_with_child(void);

static void send_bytes(const struct way *way, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = write(way->to, bytes, len);
        if (sent <= 0) {
            if (way == &to_connector) {
                leave_with_child();
            }
            exit(0); /* the runtime has gone; so does the connector, by its input's end */
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void send_text(const struct way *way, const struct text *text)
{
    send_bytes(way, text->bytes, text->len);
}

/* ---------------------------------------------------------------- the connector's end */

static void pass_signal(int number)
{
    kill(child, number);
}

/* As it ended, so do we. */
static void leave_with_child(void)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void start_connector(const char *program)
{
    int in[2], out[2];
    char *argv[] = {(char[]){"materialize-redshift"}, NULL};

    if (pipe(in) != 0 || pipe(out) != 0) {
        give_up("pipe");
    }
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        execv(program, argv);
        _exit(127);
    }
    if (child < 0) {
        give_up(program);
    }
    close(in[0]);
    close(out[1]);
    to_connector.to = in[1];
    to_runtime.from = out[0];
}

/* ---------------------------------------------------------------- one message */

/* Its index in messages: the name of the object's one member that is a message. */
static unsigned kind_of(const char *line)
{
    for (unsigned i = 0; messages[i]; i++) {
        char name[32];
        snprintf(name, sizeof name, "\"%s\"", messages[i]);
        const char *found = strstr(line, name);
        if (found && found - line < 8) {
            return i;
        }
    }
    return MESSAGES - 1;
}

static void write_pid(const struct rule *rule)
{
    char draft[RULE_TEXT_MAX + 8];

    snprintf(draft, sizeof draft, "%s.new", rule->marker);
    FILE *file = fopen(draft, "w");
    if (!file) {
        give_up(draft);
    }
    fprintf(file, "%ld\n", (long)child);
    fclose(file);
    if (rename(draft, rule->marker) != 0) {
        give_up(rule->marker);
    }
}

/* True: the message is not to be passed on. */
static bool do_own(const struct way *way, const struct rule *rule, struct text *line)
{
    const char *text = rule->text;

    if (strncmp(text, "at-zero ", 8) == 0) {
        if (!begins_at_zero) {
            return false;
        }
        text += 8;
    }
    if (strncmp(text, "strip ", 6) == 0) {
        strip(line, text + 6);
        return false;
    }
    if (strncmp(text, "patches ", 8) == 0) {
        rearrange(line, text + 8);
        return false;
    }
    if (strncmp(text, "say ", 4) == 0) {
        send_bytes(way, text + 4, strlen(text + 4));
        send_bytes(way, "\n", 1);
        return false;
    }
    if (strncmp(text, "repeat ", 7) == 0) {
        for (unsigned more = (unsigned)strtoul(text + 7, NULL, 10); more > 1; more--) {
            send_text(way, line);
            swallow++;
        }
        return false;
    }
    if (strcmp(text, "apply-early") == 0 && kept_answer.len == 0) {
        static const char request[] = "{\"acknowledge\":{}}\n";
        put(&held_answer, line->bytes, line->len);
        awaits_early = true;
        send_bytes(&to_connector, request, sizeof request - 1);
        return true;
    }
    if (strcmp(text, "acknowledge-early") == 0) {
        static const char answer[] = "{\"acknowledged\":{}}\n";
        put(&held_request, line->bytes, line->len);
        swallow++;
        send_bytes(&to_runtime, answer, sizeof answer - 1);
        return true;
    }
    return strcmp(text, "drop") == 0;
}

/* Those messages that an earlier rule speaks for. True: done with it. */
static bool is_spoken_for(const char *step, struct text *line)
{
    if (held_request.len > 0) {
        struct text request = held_request;
        held_request = (struct text){0};
        send_text(&to_connector, &request);
        free(request.bytes);
    }
    if (strcmp(step, "acknowledged") == 0 && awaits_early) {
        awaits_early = false;
        put(&kept_answer, line->bytes, line->len);
        send_text(&to_runtime, &held_answer);
        clear(&held_answer);
        return true;
    }
    if (strcmp(step, "acknowledged") == 0 && swallow > 0) {
        swallow--;
        return true;
    }
    if (strcmp(step, "acknowledge") == 0 && kept_answer.len > 0) {
        send_text(&to_runtime, &kept_answer);
        clear(&kept_answer);
        return true;
    }
    return false;
}

/* Zero may be left out. */
static bool is_range_at_zero(const char *open)
{
    const char *begin = strstr(open, "\"keyBegin\":");

    return !begin || strtoul(begin + strlen("\"keyBegin\":"), NULL, 10) == 0;
}

static void pass_line(const struct way *way, struct text *line)
{
    unsigned kind = kind_of(line->bytes);
    const char *step = messages[kind];
    bool is_dropped = false;

    if (!step) {
        send_text(way, line);
        return;
    }
    unsigned n = ++counts[kind];
    const struct rule *rule = NULL;
    const struct rule *before = NULL;
    if (rules_are_armed(&rules)) {
        before = rules_at(&rules, step, ++armed_counts[kind], false, RULE_FAIL);
    }
    trace(step, n, "seen");
    if (strcmp(step, "open") == 0) {
        begins_at_zero = is_range_at_zero(line->bytes);
    }
    if (is_spoken_for(step, line)) {
        trace(step, n, "kept");
        return;
    }
    while ((rule = rules_next(&rules, rule, step, n, RULE_REWRITE))) {
        const char *found = strstr(line->bytes, rule->from);
        if (found) {
            replace(line, (size_t)(found - line->bytes), strlen(rule->from), rule->to);
            trace(step, n, "rewritten");
        }
    }
    if (before && before->action == RULE_KILL && rule_take(before)) {
        trace(step, n, "killed");
        send_bytes(way, line->bytes, line->len / 2);
        kill(child, SIGKILL);
        leave_with_child();
    }
    if (before && before->action == RULE_STALL && rule_take(before)) {
        trace(step, n, "stalled");
        return;
    }
    rule = NULL;
    while ((rule = rules_next(&rules, rule, step, n, RULE_RUN))) {
        if (!rule->is_after) {
            trace(step, n, "ran");
            is_dropped |= do_own(way, rule, line);
        }
    }
    if (is_dropped) {
        return;
    }
    send_text(way, line);
    if (before && before->action == RULE_STOP) {
        trace(step, n, "stopped");
        kill(child, SIGSTOP);
        write_pid(before);
    }
    while ((rule = rules_next(&rules, rule, step, n, RULE_RUN))) {
        if (rule->is_after) {
            trace(step, n, "ran");
            do_own(way, rule, line);
        }
    }
}

/* False: this side has ended. */
static bool pass_some(struct way *way)
{
    char bytes[64 * 1024];
    ssize_t got = read(way->from, bytes, sizeof bytes);

    if (got < 0 && errno == EINTR) {
        return true;
    }
    if (got <= 0) {
        send_bytes(way, way->in.len ? way->in.bytes : "", way->in.len);
        return false;
    }
    put(&way->in, bytes, (size_t)got);
    for (char *end; (end = memchr(way->in.bytes, '\n', way->in.len));) {
        struct text line = {0};
        size_t len = (size_t)(end - way->in.bytes) + 1;
        put(&line, way->in.bytes, len);
        memmove(way->in.bytes, way->in.bytes + len, way->in.len - len);
        way->in.len -= len;
        pass_line(way, &line);
        free(line.bytes);
    }
    return true;
}

int main(void)
{
    const char *program = getenv("FLOW_GATEWAY_PROGRAM"), *file = getenv("FLOW_GATEWAY_RULES");
    const char *trace_file = getenv("FLOW_GATEWAY_TRACE");
    char why[RULE_TEXT_MAX], *text = calloc(1, 64 * 1024);
    FILE *in = file ? fopen(file, "r") : NULL;

    if (!program || !text || (file && !in)) {
        give_up("FLOW_GATEWAY_PROGRAM and FLOW_GATEWAY_RULES");
    }
    if (in) {
        (void)!fread(text, 1, 64 * 1024 - 1, in);
        fclose(in);
    }
    if (!rules_read(text, messages, &rules, why)) {
        fprintf(stderr, "flow-gateway: %s\n", why);
        return 1;
    }
    free(text);
    if (trace_file && (trace_fd = open(trace_file, O_CREAT | O_APPEND | O_WRONLY, 0644)) < 0) {
        give_up(trace_file);
    }
    signal(SIGPIPE, SIG_IGN);
    start_connector(program);
    signal(SIGTERM, pass_signal);
    signal(SIGINT, pass_signal);
    for (bool is_open = true;;) {
        struct pollfd fds[] = {{to_runtime.from, POLLIN, 0}, {is_open ? 0 : -1, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            give_up("poll");
        }
        if (fds[0].revents && !pass_some(&to_runtime)) {
            leave_with_child();
        }
        if (is_open && fds[1].revents && !pass_some(&to_connector)) {
            is_open = false;
            close(to_connector.to);
        }
    }
}
