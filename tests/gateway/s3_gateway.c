/*
 * s3-gateway: stands between whoever reads and writes a bucket and the bucket, and misbehaves as
 * told. In: HTTP/1.1 on loopback. Out: the same bytes to the bucket, so that signatures, which
 * cover the Host header, stay valid. Each request leaves one JSON line in the trace when it is seen
 * (its step, number, object, length) and one when it is answered (the status), and one for each
 * fault. It knows requests by what they are for (s3_steps.h) and never by the data in them.
 *
 * Options and trace are as in gateway.h, the language of rules as in rules.h, with these meanings:
 *
 *      fail <marker> <status> <code> [<text>]   an answer with this HTTP status and S3 code comes
 *                      instead of the bucket's, which is not asked; 200 gives an error document
 *                      with status 200; <text> is the message, or where a redirect leads; the code
 *                      "-" stands for a page that is no XML
 *      stall           the request is not read to its end, nothing is answered
 *      late            the whole request is read before the client is cut off
 *      hold            the whole request is read before it is held
 *      answer          replaces a part of the answer's body
 *
 * and these words behind "run", which sleeps like a fault here:
 *
 *      before run twice          the bucket gets the request twice, the second answer counts
 *      before run slow           the request's body trickles
 *      before run ignore         no answer, if it is the first request for this object
 *      before run cut <bytes>    so many bytes of the body are passed, then both lose the line
 *      before run kill <bytes>   the same, and the client is killed
 *      before run blanks <code>  200, blanks for half a second, then an error document
 *      before run swallow        the answer of success; the bucket is not asked
 *      before run errors <code>  the answer says so of each key of a deletion; none is deleted
 *      after run errors <code>   the same, and all are deleted
 *      after run fail <status> <code>   it is done, and the answer says that it is not
 *      after run etag            the answer bears the ETag of something else
 *      after run no-etag         ... none
 *      after run flip            a byte in the middle of the answer's body is another
 *      after run short           the connection ends in the middle of the answer's body
 *      after run slow            the answer trickles
 *      after run leave           the connection ends behind the answer, which does not say so
 *
 * What is run leaves its first word in the trace. A process per connection.
 */

#include "gateway/gateway.h"
#include "gateway/s3_steps.h"

#include <ctype.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_HEAD ((size_t)32 * 1024)
#define MAX_BODY ((size_t)1024 * 1024 * 1024)
#define BLOCK ((size_t)64 * 1024)
#define SLOW_PIECES 40 /* of what trickles */
#define SLOW_PAUSE_MS 10

/* ---------------------------------------------------------------- bytes */

struct bytes {
    char *at;
    size_t len, cap;
};

static void add(struct bytes *bytes, const void *more, size_t len)
{
    if (bytes->len + len + 1 > bytes->cap) {
        bytes->cap = (bytes->len + len + 1) * 2;
        bytes->at = realloc(bytes->at, bytes->cap);
        if (!bytes->at) {
            gateway_give_up("memory");
        }
    }
    if (len > 0) {
        memcpy(bytes->at + bytes->len, more, len);
    }
    bytes->len += len;
    bytes->at[bytes->len] = '\0';
}

static void add_text(struct bytes *bytes, const char *text)
{
    add(bytes, text, strlen(text));
}

static void release(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){0};
}

/* Puts other bytes in the place of some. */
static void replace(struct bytes *bytes, size_t at, size_t len, const char *with)
{
    struct bytes all = {0};

    add(&all, bytes->at, at);
    add_text(&all, with);
    add(&all, bytes->at + at + len, bytes->len - at - len);
    free(bytes->at);
    *bytes = all;
}

/* One end: what was read and not used yet lies in a block. */
struct end {
    int fd;
    char block[BLOCK];
    size_t at, len;
};

/* More bytes into an empty block; false at the end of the connection. */
static bool fill(struct end *end)
{
    ssize_t got = read(end->fd, end->block, sizeof end->block);

    end->at = 0;
    end->len = got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* Up to and with the next line feed. */
static bool read_line(struct end *end, struct bytes *to)
{
    for (;;) {
        if (end->at == end->len && !fill(end)) {
            return false;
        }
        const char *from = end->block + end->at;
        const char *feed = memchr(from, '\n', end->len - end->at);
        size_t len = feed ? (size_t)(feed - from) + 1 : end->len - end->at;
        add(to, from, len);
        end->at += len;
        if (feed) {
            return true;
        }
        if (to->len > MAX_HEAD) {
            return false;
        }
    }
}

static bool read_some(struct end *end, struct bytes *to, size_t len)
{
    while (len > 0) {
        if (end->at == end->len && !fill(end)) {
            return false;
        }
        size_t some = end->len - end->at < len ? end->len - end->at : len;
        add(to, end->block + end->at, some);
        end->at += some;
        len -= some;
    }
    return true;
}

/* ---------------------------------------------------------------- HTTP */

/* Lines up to and with the empty one. */
static bool read_head(struct end *end, struct bytes *head)
{
    size_t line;

    head->len = 0;
    do {
        line = head->len;
        if (!read_line(end, head) || head->len > MAX_HEAD) {
            return false;
        }
    } while (head->len - line > 2);
    return true;
}

/* The value of a header in a head; NULL when it is not there. */
static const char *header(const struct bytes *head, const char *name)
{
    const size_t len = strlen(name);

    for (const char *line = head->at; line && *line; line = strchr(line, '\n')) {
        line += line != head->at;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            return line + len + 1 + strspn(line + len + 1, " \t");
        }
    }
    return NULL;
}

static size_t body_length(const struct bytes *head)
{
    const char *value = header(head, "Content-Length");

    return value ? (size_t)strtoull(value, NULL, 10) : 0;
}

static void remove_header(struct bytes *head, const char *name)
{
    const char *value = header(head, name);

    if (value) {
        size_t at = (size_t)(value - head->at);
        while (at > 0 && head->at[at - 1] != '\n') {
            at--;
        }
        replace(head, at, strcspn(head->at + at, "\n") + 1, "");
    }
}

static void set_header(struct bytes *head, const char *name, const char *value)
{
    remove_header(head, name);
    struct bytes line = {0};
    add_text(&line, name);
    add_text(&line, ": ");
    add_text(&line, value);
    add_text(&line, "\r\n");
    replace(head, strcspn(head->at, "\n") + 1, 0, line.at);
    release(&line);
}

static bool read_chunks(struct end *end, struct bytes *body)
{
    struct bytes line = {0};
    bool alive = true, is_last = false;

    while (alive && !is_last) {
        line.len = 0;
        alive = read_line(end, &line);
        size_t len = alive ? (size_t)strtoull(line.at, NULL, 16) : 0;
        is_last = len == 0;
        line.len = 0;
        alive = alive && len <= MAX_BODY && read_some(end, body, len) && read_line(end, &line);
    }
    release(&line);
    return alive;
}

struct answer {
    struct bytes head, body;
    unsigned status;
    bool ends; /* the bucket closes the connection behind it */
};

static void release_answer(struct answer *answer)
{
    release(&answer->head);
    release(&answer->body);
}

/* What comes in chunks leaves in one piece, with its length. */
static bool read_answer(struct end *end, bool is_head, struct answer *answer)
{
    do {
        if (!read_head(end, &answer->head) ||
            sscanf(answer->head.at, "HTTP/1.%*c %u", &answer->status) != 1) {
            return false;
        }
    } while (answer->status < 200);
    const char *connection = header(&answer->head, "Connection");
    const char *coding = header(&answer->head, "Transfer-Encoding");
    answer->ends = connection && strncasecmp(connection, "close", 5) == 0;
    answer->body.len = 0;
    add(&answer->body, "", 0);
    if (is_head || answer->status == 204 || answer->status == 304) {
        return true;
    }
    if (coding && strncasecmp(coding, "chunked", 7) == 0) {
        char length[32];
        if (!read_chunks(end, &answer->body)) {
            return false;
        }
        snprintf(length, sizeof length, "%zu", answer->body.len);
        remove_header(&answer->head, "Transfer-Encoding");
        set_header(&answer->head, "Content-Length", length);
        return true;
    }
    size_t len = body_length(&answer->head);
    return len <= MAX_BODY && read_some(end, &answer->body, len);
}

/* ---------------------------------------------------------------- one exchange */

struct exchange {
    struct end *client, *server;
    struct bytes head; /* of the request, as it came */
    char method[16], target[8192];
    size_t length;           /* of the request's body */
    size_t passed;           /* of it, so far */
    struct bytes body;       /* of the request, when it had to be read whole */
    bool is_whole;           /* it was */
    const char *step, *part; /* part: "part:2", or NULL */
    struct gateway_met met, part_met;
};

static void trace(const struct exchange *x, const char *what)
{
    gateway_trace(x->part ? x->part : x->step, x->part ? x->part_met.n : x->met.n, what);
}

static void trace_seen(const struct exchange *x)
{
    char more[2200];
    char key[2000];
    size_t len = strcspn(x->target, "?");

    snprintf(key, sizeof key, "%.*s", len < sizeof key ? (int)len : (int)sizeof key - 1, x->target);
    for (char *c = key; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == '"' || *c == '\\') {
            *c = '?';
        }
    }
    snprintf(more, sizeof more, ",\"of\":%u,\"object\":\"%s\",\"bytes\":%zu", x->met.n, key,
             x->length);
    gateway_trace_more(x->part ? x->part : x->step, x->part ? x->part_met.n : x->met.n, "seen",
                       more);
}

static void trace_answered(const struct exchange *x, const struct answer *answer)
{
    char more[100];

    snprintf(more, sizeof more, ",\"status\":%u,\"bytes\":%zu", answer->status, answer->body.len);
    gateway_trace_more(x->part ? x->part : x->step, x->part ? x->part_met.n : x->met.n, "answered",
                       more);
}

/* A rule for the part with this number counts before one for parts. */
static const struct rule *rule_at(const struct exchange *x, bool is_after)
{
    const struct rule *rule = x->part ? gateway_fault(&x->part_met, is_after, RULE_RUN) : NULL;

    return rule ? rule : gateway_fault(&x->met, is_after, RULE_RUN);
}

/* Behind "run": is this the word, and what stands behind it? */
static bool is_word(const struct rule *rule, const char *word, const char **ret_rest)
{
    const size_t len = strlen(word);

    if (strncmp(rule->text, word, len) != 0 || strchr(" ", rule->text[len]) == NULL) {
        return false;
    }
    *ret_rest = rule->text + len + strspn(rule->text + len, " ");
    return true;
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* All at once, or in pieces with pauses between them. */
static bool write_paced(int fd, const char *at, size_t len, bool is_slow)
{
    size_t piece = is_slow ? len / SLOW_PIECES + 1 : len;

    while (len > 0) {
        size_t some = piece < len ? piece : len;
        if (!gateway_write(fd, at, some)) {
            return false;
        }
        at += some;
        len -= some;
        if (is_slow) {
            pause_ms(SLOW_PAUSE_MS);
        }
    }
    return true;
}

static bool read_whole(struct exchange *x)
{
    if (!x->is_whole) {
        x->is_whole = true;
        add(&x->body, "", 0);
        return read_some(x->client, &x->body, x->length);
    }
    return true;
}

/* The connection to the bucket, made anew when the bucket has closed it meanwhile. */
static bool reach_server(struct exchange *x)
{
    struct pollfd state = {x->server->fd, POLLIN, 0};

    if (x->server->fd >= 0 && poll(&state, 1, 0) != 0) {
        close(x->server->fd);
        x->server->fd = -1;
    }
    if (x->server->fd < 0) {
        x->server->fd = gateway_connect();
        x->server->at = x->server->len = 0;
    }
    return x->server->fd >= 0;
}

/* So many bytes of the body, as they come; all of it with SIZE_MAX. */
static bool pass_body(struct exchange *x, size_t limit, bool is_slow)
{
    if (x->is_whole) {
        size_t len = limit < x->body.len ? limit : x->body.len;
        return write_paced(x->server->fd, x->body.at, len, is_slow);
    }
    while (x->passed < x->length && x->passed < limit) {
        struct end *client = x->client;
        if (client->at == client->len && !fill(client)) {
            return false;
        }
        size_t some = client->len - client->at;
        some = some < x->length - x->passed ? some : x->length - x->passed;
        some = some < limit - x->passed ? some : limit - x->passed;
        if (!write_paced(x->server->fd, client->block + client->at, some, is_slow)) {
            return false;
        }
        client->at += some;
        x->passed += some;
    }
    return true;
}

static bool pass_request(struct exchange *x, bool is_slow)
{
    return reach_server(x) && gateway_write(x->server->fd, x->head.at, x->head.len) &&
           pass_body(x, SIZE_MAX, is_slow);
}

/* ---------------------------------------------------------------- answers of our own */

static void add_error_document(struct bytes *to, const char *code, const char *text)
{
    add_text(to, "<Error><Code>");
    add_text(to, code);
    add_text(to, "</Code><Message>");
    add_text(to, *text ? text : "as the gateway was told");
    add_text(to, "</Message><RequestId>GATEWAY</RequestId></Error>");
}

static void finish_own(struct answer *answer)
{
    char head[400], date[64];
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    snprintf(head, sizeof head,
             "HTTP/1.1 %u Told\r\nDate: %s\r\nContent-Type: application/xml\r\n"
             "x-amz-request-id: GATEWAY\r\nContent-Length: %zu\r\n\r\n",
             answer->status, date, answer->body.len);
    answer->head.len = 0;
    add_text(&answer->head, head);
}

/* words: "<code> [<text>]" */
static void make_error(struct answer *answer, unsigned status, const char *words)
{
    char code[80];
    size_t len = strcspn(words, " ");
    const char *text = words + len + strspn(words + len, " ");

    snprintf(code, sizeof code, "%.*s", (int)(len < sizeof code ? len : sizeof code - 1), words);
    answer->status = status;
    answer->body.len = 0;
    if (strcmp(code, "-") == 0) {
        add_text(&answer->body, "<html><body>Something is wrong here.</body></html>");
    } else {
        add_text(&answer->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        add_error_document(&answer->body, code, text);
    }
    finish_own(answer);
    if (status >= 300 && status <= 308 && *text) {
        set_header(&answer->head, "Location", text);
    }
}

/* What the bucket would say if it had written or deleted. */
static void make_success(const struct exchange *x, struct answer *answer)
{
    const bool is_gone = strcmp(x->method, "DELETE") == 0;
    const char *root =
        strcmp(x->step, "complete") == 0 ? "CompleteMultipartUploadResult" : "DeleteResult";

    answer->status = is_gone ? 204 : 200;
    answer->body.len = 0;
    add_text(&answer->body, "");
    if (strcmp(x->method, "POST") == 0) {
        add_text(&answer->body, "<");
        add_text(&answer->body, root);
        add_text(&answer->body, "><ETag>\"0123456789abcdef0123456789abcdef\"</ETag></");
        add_text(&answer->body, root);
        add_text(&answer->body, ">");
    }
    finish_own(answer);
    if (is_gone) {
        remove_header(&answer->head, "Content-Length");
    } else {
        set_header(&answer->head, "ETag", "\"0123456789abcdef0123456789abcdef\"");
    }
}

/* The answer to a deletion in which each key of the request failed. */
static void make_key_errors(const struct exchange *x, struct answer *answer, const char *code)
{
    answer->status = 200;
    answer->body.len = 0;
    add_text(&answer->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                            "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (const char *at = x->body.at; (at = strstr(at, "<Key>"));) {
        const char *end = strstr(at, "</Key>");
        if (!end) {
            break;
        }
        add_text(&answer->body, "<Error>");
        add(&answer->body, at, (size_t)(end - at) + strlen("</Key>"));
        add_text(&answer->body, "<Code>");
        add_text(&answer->body, code);
        add_text(&answer->body, "</Code><Message>as the gateway was told</Message></Error>");
        at = end;
    }
    add_text(&answer->body, "</DeleteResult>");
    finish_own(answer);
}

/* As S3 does while it assembles a large upload: the status is sent before the outcome is known. */
static bool send_blanks(struct exchange *x, const char *code)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n"
                               "28\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\r\n";
    struct bytes error = {0};
    char size[32];
    bool alive = gateway_write(x->client->fd, head, strlen(head));

    for (unsigned i = 0; alive && i < 50; i++) {
        pause_ms(SLOW_PAUSE_MS);
        alive = gateway_write(x->client->fd, "1\r\n \r\n", 6);
    }
    add_error_document(&error, code, "");
    snprintf(size, sizeof size, "%zx\r\n", error.len);
    alive = alive && gateway_write(x->client->fd, size, strlen(size)) &&
            gateway_write(x->client->fd, error.at, error.len) &&
            gateway_write(x->client->fd, "\r\n0\r\n\r\n", 7);
    release(&error);
    return alive;
}

static bool send_answer(struct exchange *x, const struct answer *answer, bool is_slow)
{
    const bool is_head = strcmp(x->method, "HEAD") == 0;

    return write_paced(x->client->fd, answer->head.at, answer->head.len, is_slow) &&
           (is_head || write_paced(x->client->fd, answer->body.at, answer->body.len, is_slow));
}

/* ---------------------------------------------------------------- faults before the bucket */

/* The rest of the request is not read, so the client notices as it would with a dead peer. */
_Noreturn static void stay_silent(struct exchange *x)
{
    struct pollfd gone = {x->client->fd, POLLRDHUP, 0};

    while (poll(&gone, 1, -1) < 0) {
    }
    trace(x, "given up");
    _exit(0);
}

/* The client hears nothing more; the bucket gets the request when it is told to. */
_Noreturn static void forward_late(struct exchange *x, const struct rule *rule)
{
    struct answer answer = {.status = 0};

    if (!read_whole(x)) {
        _exit(0);
    }
    trace(x, "held");
    gateway_harden(x->client->fd);
    close(x->client->fd);
    gateway_wait_go(rule->marker);
    if (pass_request(x, false) && read_answer(x->server, strcmp(x->method, "HEAD") == 0, &answer)) {
        trace_answered(x, &answer);
    }
    trace(x, "late");
    _exit(0);
}

_Noreturn static void cut_within(struct exchange *x, size_t bytes, bool kills)
{
    if (reach_server(x) && gateway_write(x->server->fd, x->head.at, x->head.len)) {
        pass_body(x, bytes, false);
    }
    trace(x, kills ? "killed" : "cut");
    if (kills) {
        gateway_kill(x->client->fd);
    }
    gateway_cut(x->client->fd, x->server->fd);
}

/* Was this object asked for before? By a hash of its name, in a table of all connections. */
#define OBJECTS_MAX 8192
static uint64_t *objects;

static void prepare(void)
{
    objects = mmap(NULL, OBJECTS_MAX * sizeof *objects, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (objects == MAP_FAILED) {
        gateway_give_up("memory");
    }
}

static bool is_first(const struct exchange *x)
{
    uint64_t hash = 1469598103934665603ULL;

    for (const char *c = x->target; *c && *c != '?'; c++) {
        hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    }
    for (unsigned i = 0; i < OBJECTS_MAX; i++) {
        uint64_t *slot = &objects[(hash + i) % OBJECTS_MAX], none = 0;
        if (__atomic_compare_exchange_n(slot, &none, hash, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            return true;
        }
        if (none == hash) {
            return false;
        }
    }
    gateway_give_up("too many objects");
}

enum course { PASS, PASS_SLOWLY, ANSWERED, OVER };

static enum course run_before(struct exchange *x, const struct rule *rule, struct answer *answer)
{
    const char *rest;

    if (is_word(rule, "cut", &rest) || is_word(rule, "kill", &rest)) {
        cut_within(x, (size_t)strtoull(rest, NULL, 10), rule->text[0] == 'k');
    }
    if (is_word(rule, "slow", &rest)) {
        trace(x, "slow");
        return PASS_SLOWLY;
    }
    if (!read_whole(x)) {
        return OVER;
    }
    if (is_word(rule, "ignore", &rest)) {
        if (is_first(x)) {
            trace(x, "ignored");
            stay_silent(x);
        }
        return PASS;
    }
    if (is_word(rule, "twice", &rest)) {
        trace(x, "twice");
        bool passed = pass_request(x, false) &&
                      read_answer(x->server, strcmp(x->method, "HEAD") == 0, answer);
        if (passed) {
            trace_answered(x, answer);
        }
        return passed ? PASS : OVER;
    }
    if (is_word(rule, "blanks", &rest)) {
        trace(x, "blanks");
        return send_blanks(x, rest) ? ANSWERED : OVER;
    }
    if (is_word(rule, "swallow", &rest)) {
        trace(x, "swallow");
        make_success(x, answer);
        return send_answer(x, answer, false) ? ANSWERED : OVER;
    }
    if (is_word(rule, "errors", &rest)) {
        trace(x, "errors");
        make_key_errors(x, answer, rest);
        return send_answer(x, answer, false) ? ANSWERED : OVER;
    }
    gateway_give_up(rule->text);
}

static enum course do_before(struct exchange *x, const struct rule *rule, struct answer *answer)
{
    switch (rule->action) {
    case RULE_KILL:
    case RULE_CUT:
    case RULE_STOP:
    case RULE_SILENCE:
        gateway_do_fault(rule, x->met.n, x->client->fd, x->server->fd);
        return PASS;
    case RULE_LATE:
        if (rule_take(rule)) {
            forward_late(x, rule);
        }
        return PASS;
    case RULE_STALL:
        if (rule_take(rule)) {
            trace(x, "stalled");
            stay_silent(x);
        }
        return PASS;
    case RULE_FAIL:
        if (!rule_take(rule)) {
            return PASS;
        }
        trace(x, "failed");
        if (!read_whole(x)) {
            return OVER;
        }
        make_error(answer, (unsigned)strtoul(rule->code, NULL, 10), rule->text);
        return send_answer(x, answer, false) ? ANSWERED : OVER;
    case RULE_HOLD:
        if (!read_whole(x)) {
            return OVER;
        }
        gateway_do_fault(rule, x->met.n, x->client->fd, x->server->fd);
        return PASS;
    case RULE_RUN:
        return run_before(x, rule, answer);
    case RULE_REWRITE:
    case RULE_ANSWER:
    case RULE_SHORT:
    case RULE_NEXT:
    case RULE_CHATTER:
        break;
    }
    return PASS;
}

/* ---------------------------------------------------------------- faults behind the bucket */

/* True: the answer trickles. */
static bool run_after(struct exchange *x, const struct rule *rule, struct answer *answer)
{
    char *end;
    const char *rest;

    if (is_word(rule, "slow", &rest)) {
        trace(x, "slow");
        return true;
    }
    if (is_word(rule, "fail", &rest)) {
        unsigned status = (unsigned)strtoul(rest, &end, 10);
        trace(x, "denied");
        make_error(answer, status, end + strspn(end, " "));
    } else if (is_word(rule, "errors", &rest)) {
        trace(x, "errors");
        make_key_errors(x, answer, rest);
    } else if (is_word(rule, "etag", &rest)) {
        trace(x, "etag");
        set_header(&answer->head, "ETag", "\"0123456789abcdef0123456789abcdef\"");
    } else if (is_word(rule, "no-etag", &rest)) {
        trace(x, "no-etag");
        remove_header(&answer->head, "ETag");
    } else if (is_word(rule, "flip", &rest) && answer->body.len > 0) {
        trace(x, "flip");
        answer->body.at[answer->body.len / 2] ^= 0x20;
    } else if (is_word(rule, "short", &rest)) {
        trace(x, "short");
        answer->body.len /= 2;
        answer->ends = true;
    } else if (is_word(rule, "leave", &rest)) {
        trace(x, "leave");
        answer->ends = true;
    } else {
        gateway_give_up(rule->text);
    }
    return false;
}

static void change_body(const struct exchange *x, struct answer *answer)
{
    const struct rule *rule = NULL;
    char length[32];

    while ((rule = gateway_change(&x->met, rule, RULE_ANSWER))) {
        char *found = strstr(answer->body.at, rule->from);
        if (found) {
            replace(&answer->body, (size_t)(found - answer->body.at), strlen(rule->from), rule->to);
            snprintf(length, sizeof length, "%zu", answer->body.len);
            set_header(&answer->head, "Content-Length", length);
            trace(x, "rewritten");
        }
    }
}

/* False: the connection ends here. */
static bool finish(struct exchange *x, struct answer *answer)
{
    const struct rule *rule = rule_at(x, true);
    bool is_slow = false;

    if (rule && rule->action == RULE_RUN) {
        is_slow = run_after(x, rule, answer);
    } else if (rule) {
        gateway_do_fault(rule, x->met.n, x->client->fd, x->server->fd);
    }
    change_body(x, answer);
    trace_answered(x, answer);
    return send_answer(x, answer, is_slow) && !answer->ends;
}

/* ---------------------------------------------------------------- a connection */

static bool read_request(struct exchange *x)
{
    if (!read_head(x->client, &x->head) ||
        sscanf(x->head.at, "%15s %8191s", x->method, x->target) != 2) {
        return false;
    }
    if (header(&x->head, "Transfer-Encoding")) {
        gateway_give_up("a request in chunks");
    }
    x->length = body_length(&x->head);
    x->step = s3_step_of(x->method, x->target);
    x->part = s3_part_step_of(x->method, x->target);
    x->met = gateway_meet(x->step, "");
    if (x->part) {
        x->part_met = gateway_meet(x->part, "");
    }
    return x->length <= MAX_BODY;
}

static bool serve_one(struct exchange *x)
{
    struct answer answer = {.status = 0};
    enum course course = PASS;
    bool goes_on;

    if (!read_request(x)) {
        return false;
    }
    trace_seen(x);
    const struct rule *before = rule_at(x, false), *after = rule_at(x, true);
    if (after && after->action == RULE_RUN && strncmp(after->text, "errors", 6) == 0 &&
        !read_whole(x)) {
        return false;
    }
    if (before) {
        course = do_before(x, before, &answer);
    }
    goes_on = course == ANSWERED;
    if (course == PASS || course == PASS_SLOWLY) {
        goes_on = pass_request(x, course == PASS_SLOWLY) &&
                  read_answer(x->server, strcmp(x->method, "HEAD") == 0, &answer) &&
                  finish(x, &answer);
    }
    release_answer(&answer);
    return goes_on;
}

static void serve(int fd)
{
    static struct end client, server;
    bool goes_on = true;

    client.fd = fd;
    server.fd = -1;
    while (goes_on) {
        struct exchange *x = calloc(1, sizeof *x);
        if (!x) {
            gateway_give_up("memory");
        }
        x->client = &client;
        x->server = &server;
        goes_on = serve_one(x);
        release(&x->head);
        release(&x->body);
        free(x);
    }
    close(server.fd);
    close(fd);
}

int main(int argc, char **argv)
{
    return gateway_main(argc, argv, "s3-gateway", s3_step_names, prepare, serve);
}
