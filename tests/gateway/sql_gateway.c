/*
 * sql-gateway: stands between the connector and the warehouse. In: the PostgreSQL wire protocol
 * from the connector (TLS ends here, with a certificate made at start). Out: the same to the
 * warehouse, in plain text on loopback, with the faults of a rule file. Each statement leaves one
 * JSON line in the trace: step, its number, what was done. It knows statements by what they are for
 * and never by the data in them.
 *
 * A process per connection; counters of steps are shared between them. "after" needs the server's
 * answer inside a pipeline, so the gateway adds a Flush behind such a statement and holds the
 * answers back until it came.
 *
 * Options and trace are as in gateway.h.
 */

#include "gateway/gateway.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SSL_REQUEST 80877103
#define CANCEL_REQUEST 80877102
#define MAX_MESSAGE (64 * 1024 * 1024)
#define CHATTER_PAUSE_MS 1 /* so that the client reads what there is before more comes */

/* ---------------------------------------------------------------- bytes */

struct link {
    int client, server;
    SSL *tls; /* NULL: the client speaks plain text */
};

static bool read_client(struct link *link, void *to, size_t len)
{
    char *at = to;

    while (len > 0) {
        ssize_t got = link->tls ? SSL_read(link->tls, at, (int)len) : read(link->client, at, len);
        if (got <= 0) {
            return false;
        }
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static bool write_client(struct link *link, const void *from, size_t len)
{
    const char *at = from;

    while (len > 0) {
        ssize_t put = link->tls ? SSL_write(link->tls, at, (int)len) : write(link->client, at, len);
        if (put <= 0) {
            return false;
        }
        at += put;
        len -= (size_t)put;
    }
    return true;
}

static bool read_server(struct link *link, void *to, size_t len)
{
    return gateway_read(link->server, to, len);
}

static bool write_server(struct link *link, const void *from, size_t len)
{
    return gateway_write(link->server, from, len);
}

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void write_u32(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

struct message {
    unsigned char *bytes; /* type, length, body */
    size_t len, cap;
};

static bool read_message(struct link *link,
                         bool (*read_some)(struct link *, void *, size_t),
                         struct message *message)
{
    unsigned char head[5];

    if (!read_some(link, head, 5)) {
        return false;
    }
    size_t body = read_u32(head + 1);
    if (body < 4 || body > MAX_MESSAGE) {
        return false;
    }
    if (message->cap < body + 1) {
        message->cap = body + 1;
        message->bytes = realloc(message->bytes, message->cap);
        if (!message->bytes) {
            gateway_give_up("memory");
        }
    }
    memcpy(message->bytes, head, 5);
    message->len = body + 1;
    return read_some(link, message->bytes + 5, body - 4);
}

/* ---------------------------------------------------------------- start-up */

static SSL_CTX *tls;

static void make_tls(void)
{
    tls = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();

    if (!tls || !key || !cert) {
        gateway_give_up("TLS");
    }
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * 30);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    if (!X509_sign(cert, key, EVP_sha256()) || SSL_CTX_use_certificate(tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey(tls, key) != 1) {
        gateway_give_up("TLS certificate");
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* An ErrorResponse in the place of what is in message. */
static void make_error(struct message *message, const struct rule *rule)
{
    char body[RULE_TEXT_MAX + 64];
    size_t len = 0;

    len += (size_t)snprintf(body, sizeof body, "SERROR") + 1;
    len += (size_t)snprintf(body + len, sizeof body - len, "C%s", rule->code) + 1;
    len += (size_t)snprintf(body + len, sizeof body - len, "M%s", rule->text) + 1;
    body[len++] = '\0';
    free(message->bytes);
    message->len = message->cap = len + 5;
    message->bytes = malloc(message->len);
    if (!message->bytes) {
        gateway_give_up("memory");
    }
    message->bytes[0] = 'E';
    write_u32(message->bytes + 1, (uint32_t)(len + 4));
    memcpy(message->bytes + 5, body, len);
}

/* Everything that comes from the client is swallowed until it leaves. */
_Noreturn static void stay_silent(struct link *link)
{
    unsigned char byte;

    while (read_client(link, &byte, 1)) {
    }
    _exit(0);
}

/* Somebody wants in: the step "connect" before TLS, "auth" behind the start-up packet. False: no.
 */
static bool meet_guest(struct link *link, const char *step)
{
    struct gateway_met met = gateway_meet(step, "");
    const struct rule *rule = gateway_fault(&met, false, RULE_FAIL);
    const unsigned n = met.n;
    struct message message = {0};

    gateway_trace(step, n, "seen");
    if (!rule) {
        return true;
    }
    if (rule->action != RULE_FAIL && rule->action != RULE_STALL) {
        gateway_do_fault(rule, n, link->client, link->server);
        return true;
    }
    if (!rule_take(rule)) {
        return true;
    }
    gateway_trace(step, n, rule->action == RULE_FAIL ? "failed" : "stalled");
    if (rule->action == RULE_STALL) {
        stay_silent(link);
    }
    make_error(&message, rule);
    write_client(link, message.bytes, message.len);
    free(message.bytes);
    return false;
}

/* Passes the start-up packet on; the answer "S" to a TLS request is ours. A cancel request is
 * passed whole. */
static bool pass_startup(struct link *link)
{
    for (;;) {
        unsigned char head[8];
        if (!read_client(link, head, 8)) {
            return false;
        }
        uint32_t len = read_u32(head), code = read_u32(head + 4);
        if (code == SSL_REQUEST) {
            if (!write_client(link, "S", 1)) {
                return false;
            }
            link->tls = SSL_new(tls);
            SSL_set_fd(link->tls, link->client);
            if (SSL_accept(link->tls) != 1) {
                return false;
            }
            continue;
        }
        if (len < 8 || len > 64 * 1024 || (code != CANCEL_REQUEST && !meet_guest(link, "auth"))) {
            return false;
        }
        unsigned char *rest = malloc(len);
        bool passed = rest && read_client(link, rest, len - 8) && write_server(link, head, 8) &&
                      write_server(link, rest, len - 8);
        free(rest);
        return passed && code != CANCEL_REQUEST;
    }
}

/* ---------------------------------------------------------------- statements */

/* Statements that the server has not answered yet, and the rules that wait for an answer. */
struct pipeline {
    unsigned open;                /* Execute or Query sent, no end of it seen */
    bool is_failed;               /* an error came: the server skips what follows up to a Sync */
    const struct rule *waits_for; /* after-rule of the newest statement, or NULL */
    const struct rule
        *parsed; /* after-rule of the statement that was parsed and not executed yet */
    unsigned n, parsed_n;
    const struct rule *fails; /* the server's next error is to be this one */
    struct gateway_met met;   /* the newest statement, where its answer is to be changed */
    unsigned rows;            /* its rows so far */
    bool changes_answer;
    const struct rule *chatter; /* how the answers come, or NULL */
    const char *phase;          /* of what is being done: "load.", "apply." or "" */
};

static bool ends_statement(unsigned char type)
{
    return type == 'C' || type == 'E' || type == 'I';
}

/* Replaces bytes of a message; its length follows. */
static void
put_in_place(struct message *message, size_t at, size_t old_len, const char *text, size_t len)
{
    size_t all = message->len - old_len + len;
    unsigned char *bytes = malloc(all);

    if (!bytes) {
        gateway_give_up("memory");
    }
    memcpy(bytes, message->bytes, at);
    memcpy(bytes + at, text, len);
    memcpy(bytes + at + len, message->bytes + at + old_len, message->len - at - old_len);
    free(message->bytes);
    message->bytes = bytes;
    message->len = message->cap = all;
    write_u32(message->bytes + 1, (uint32_t)(all - 1));
}

static size_t find_bytes(const struct message *message, size_t at, const char *wanted)
{
    size_t len = strlen(wanted);

    while (at + len <= message->len && memcmp(message->bytes + at, wanted, len) != 0) {
        at++;
    }
    return at + len <= message->len ? at : 0;
}

/* Rows that a rule keeps from the client, tags and values that it changes. True: not to be passed.
 */
static bool change_answer(struct pipeline *pipeline, struct message *message)
{
    unsigned char type = message->bytes[0];
    const struct rule *cut = gateway_change(&pipeline->met, NULL, RULE_SHORT);
    const struct rule *rule = gateway_change(&pipeline->met, NULL, RULE_ANSWER);

    if (type == 'D' && cut && pipeline->rows++ >= cut->count) {
        gateway_trace(cut->step, pipeline->met.n, "left out");
        return true;
    }
    bool may_change = rule && (type == 'C' || type == 'D' || type == 'E');
    size_t at = may_change ? find_bytes(message, 5, rule->from) : 0;
    if (at > 0 && type != 'D') {
        put_in_place(message, at, strlen(rule->from), rule->to, strlen(rule->to));
        gateway_trace(rule->step, pipeline->met.n, "rewritten");
    } else if (at > 0 && strlen(rule->from) == strlen(rule->to)) {
        memcpy(message->bytes + at, rule->to, strlen(rule->to)); /* a row keeps its lengths */
        gateway_trace(rule->step, pipeline->met.n, "rewritten");
    }
    if (ends_statement(type)) {
        pipeline->changes_answer = false;
    }
    return false;
}

static bool send_own(
    struct link *link, unsigned char type, const char *first, const char *rest, size_t rest_len)
{
    unsigned char head[5] = {type};
    size_t len = first ? strlen(first) + 1 : 0;

    write_u32(head + 1, (uint32_t)(4 + len + 1 + rest_len - !first));
    return write_server(link, head, sizeof head) && (!first || write_server(link, "", 1)) &&
           (!first || write_server(link, first, len)) && write_server(link, rest, rest_len);
}

/* One statement by the extended protocol, without a Sync, as the client's own are sent: nothing of
 * the client's flight is ended by it. */
static bool send_statement(struct link *link, const char *sql)
{
    static const char no_types[2], bind[8], execute[5];

    return send_own(link, 'P', sql, no_types, sizeof no_types) &&
           send_own(link, 'B', NULL, bind, sizeof bind) &&
           send_own(link, 'E', NULL, execute, sizeof execute) && send_own(link, 'H', NULL, "", 0);
}

/* Statements of our own, divided by ";", in the client's session, when everything before them was
 * answered. An error is the client's: it ends its flight. */
static bool run_own(struct link *link, const struct rule *rule, unsigned n)
{
    struct message message = {0};
    char text[RULE_TEXT_MAX], *rest = text;
    bool alive = true, was_refused = false;

    snprintf(text, sizeof text, "%s", rule->text);
    for (char *sql = rest; alive && !was_refused && rest; sql = rest) {
        rest = strchr(sql, ';');
        if (rest) {
            *rest++ = '\0';
        }
        alive = send_statement(link, sql);
        do {
            alive = alive && read_message(link, read_server, &message);
        } while (alive && !ends_statement(message.bytes[0]));
        was_refused = alive && message.bytes[0] == 'E';
    }
    gateway_trace(rule->step, n, was_refused ? "ran, refused" : "ran");
    if (was_refused) {
        alive = write_client(link, message.bytes, message.len);
    }
    free(message.bytes);
    return alive;
}

/* What a server may say at any time and nobody has asked for. */
static bool send_chatter(struct link *link)
{
    static const char notice[] = "SWARNING\0C01000\0Mthe hub is on fire\0";
    static const char parameter[] = "TimeZone\0Mars/Olympus";
    unsigned char head[5] = {'N'};

    write_u32(head + 1, 4 + sizeof notice);
    if (!write_client(link, head, sizeof head) || !write_client(link, notice, sizeof notice)) {
        return false;
    }
    head[0] = 'S';
    write_u32(head + 1, 4 + sizeof parameter);
    return write_client(link, head, sizeof head) && write_client(link, parameter, sizeof parameter);
}

/* A message for the client. */
static bool tell(struct link *link, const struct pipeline *pipeline, const struct message *message)
{
    size_t slow = pipeline->chatter ? pipeline->chatter->count : 0, at = 0;

    if (pipeline->chatter && !send_chatter(link)) {
        return false;
    }
    for (; at < slow && at < message->len; at++) {
        if (!write_client(link, message->bytes + at, 1)) {
            return false;
        }
        poll(NULL, 0, CHATTER_PAUSE_MS);
    }
    return at == message->len || write_client(link, message->bytes + at, message->len - at);
}

/* One message from the server: to the client, unless a fault comes first. */
static bool pass_answer(struct link *link, struct pipeline *pipeline, struct message *message)
{
    if (!read_message(link, read_server, message)) {
        return false;
    }
    unsigned char type = message->bytes[0];
    if (type == 'E' && pipeline->fails) {
        make_error(message, pipeline->fails);
        pipeline->fails = NULL;
    }
    pipeline->is_failed |= type == 'E';
    /* Only the newest statement's answer is changed, so that a number is one statement's. */
    if (pipeline->changes_answer && pipeline->open <= 1 && change_answer(pipeline, message)) {
        return true;
    }
    if (ends_statement(type) && pipeline->open > 0) {
        pipeline->open--;
        if (pipeline->open == 0 && pipeline->waits_for && type != 'E') {
            const struct rule *rule = pipeline->waits_for;
            pipeline->waits_for = NULL;
            if (rule->action != RULE_RUN) {
                gateway_do_fault(rule, pipeline->n, link->client, link->server);
            } else if (!run_own(link, rule, pipeline->n)) {
                return false;
            }
        }
    }
    if (type == 'Z') {
        pipeline->open = 0; /* after an error the rest of a pipeline was skipped */
        pipeline->waits_for = pipeline->fails = NULL;
        pipeline->is_failed = false;
    }
    return tell(link, pipeline, message);
}

/* Answers of everything that was sent, so that what comes next comes right behind it. */
static bool drain(struct link *link, struct pipeline *pipeline)
{
    static const unsigned char flush[] = {'H', 0, 0, 0, 4};
    struct message message = {0};
    bool alive = write_server(link, flush, sizeof flush);

    while (alive && pipeline->open > 0 && !pipeline->is_failed) {
        alive = pass_answer(link, pipeline, &message);
    }
    free(message.bytes);
    return alive;
}

/* The text of a Query or Parse message, replaced where rules say so. */
static void rewrite(struct message *message, size_t sql_at, const struct gateway_met *met)
{
    const struct rule *rule = NULL;

    while ((rule = gateway_change(met, rule, RULE_REWRITE))) {
        const char *sql = (const char *)message->bytes + sql_at;
        const char *found = strstr(sql, rule->from);
        if (found) {
            put_in_place(message, (size_t)((const unsigned char *)found - message->bytes),
                         strlen(rule->from), rule->to, strlen(rule->to));
            gateway_trace(met->step, met->n, "rewritten");
        }
    }
}

/* The client hears nothing more of its connection, while the server sees it alive until the
 * statement, which has no parameters, was answered. */
_Noreturn static void
forward_late(struct link *link, const struct rule *rule, unsigned n, const char *sql)
{
    static const unsigned char end[] = {'X', 0, 0, 0, 4};
    size_t len = strlen(sql) + 1;
    unsigned char head[5] = {'Q'};
    char answer[512];

    if (!rule_take(rule)) {
        gateway_give_up(rule->marker);
    }
    gateway_trace(rule->step, n, "held");
    gateway_harden(link->client);
    close(link->client);
    gateway_wait_go(rule->marker);
    write_u32(head + 1, (uint32_t)(len + 4));
    if (write_server(link, head, sizeof head) && write_server(link, sql, len) &&
        write_server(link, end, sizeof end)) {
        gateway_trace(rule->step, n, "late");
        while (read(link->server, answer, sizeof answer) > 0) {
        }
    }
    _exit(0);
}

/* What comes before a statement. False: the connection is over. */
static bool do_before(struct link *link,
                      struct pipeline *pipeline,
                      struct message *message,
                      size_t sql_at,
                      const struct rule *rule,
                      unsigned n)
{
    static const char wrong[] = "SELECT refused_by_the_gateway";
    const char *sql = (const char *)message->bytes + sql_at;

    switch (rule->action) {
    case RULE_LATE:
        forward_late(link, rule, n, sql);
    case RULE_STALL:
        if (rule_take(rule)) {
            gateway_trace(rule->step, n, "stalled");
            stay_silent(link);
        }
        return true;
    case RULE_FAIL:
        /* The server's own error, so that it aborts the transaction, with another text. */
        if (rule_take(rule)) {
            gateway_trace(rule->step, n, "failed");
            put_in_place(message, sql_at, strlen(sql), wrong, strlen(wrong));
            pipeline->fails = rule;
        }
        return true;
    case RULE_KILL:
    case RULE_CUT:
    case RULE_STOP:
    case RULE_SILENCE:
    case RULE_HOLD:
    case RULE_RUN:
    case RULE_NEXT:
    case RULE_REWRITE:
    case RULE_ANSWER:
    case RULE_SHORT:
    case RULE_CHATTER:
        gateway_do_fault(rule, n, link->client, link->server);
        return true;
    }
    return true;
}

/* A transaction that locks is an apply or an Open, another one is a lookup. */
static void follow_phase(struct pipeline *pipeline, const char *step)
{
    if (strcmp(step, "begin") == 0) {
        pipeline->phase = "load.";
    } else if (strcmp(step, "lock") == 0) {
        pipeline->phase = "apply.";
    }
}

/* What the gateway does of its own in front of a statement. */
static bool run_before(struct link *link, struct pipeline *pipeline, const struct gateway_met *met)
{
    const struct rule *own = NULL;

    while ((own = gateway_change(met, own, RULE_RUN))) {
        if (!own->is_after &&
            !(drain(link, pipeline) && (pipeline->is_failed || run_own(link, own, met->n)))) {
            return false;
        }
    }
    while ((own = gateway_change(met, own, RULE_NEXT))) {
        if (!drain(link, pipeline) ||
            (!pipeline->is_failed && rule_take_next(own) && !run_own(link, own, met->n))) {
            return false;
        }
    }
    return true;
}

/* A statement's text came by: count it, do what comes before it, note what comes after it. */
static bool
meet_statement(struct link *link, struct pipeline *pipeline, struct message *message, size_t sql_at)
{
    const char *step = step_of((const char *)message->bytes + sql_at);
    follow_phase(pipeline, step);
    struct gateway_met met = gateway_meet(step, pipeline->phase);
    const struct rule *before = gateway_fault(&met, false, RULE_FAIL);
    const struct rule *own = NULL;

    if (strcmp(step, "commit") == 0 || strcmp(step, "rollback") == 0) {
        pipeline->phase = "";
    }
    gateway_trace(step, met.n, "seen");
    if (!pipeline->chatter && (pipeline->chatter = gateway_change(&met, NULL, RULE_CHATTER))) {
        gateway_trace(step, met.n, "chatters");
    }
    if (!run_before(link, pipeline, &met)) {
        return false;
    }
    if (before && !do_before(link, pipeline, message, sql_at, before, met.n)) {
        return false;
    }
    pipeline->parsed = gateway_fault(&met, true, RULE_FAIL);
    pipeline->parsed_n = met.n;
    for (own = NULL; !pipeline->parsed && (own = gateway_change(&met, own, RULE_RUN));) {
        pipeline->parsed = own->is_after ? own : NULL;
    }
    if (gateway_change(&met, NULL, RULE_ANSWER) || gateway_change(&met, NULL, RULE_SHORT)) {
        pipeline->met = met;
        pipeline->rows = 0;
        pipeline->changes_answer = drain(link, pipeline);
    }
    rewrite(message, sql_at, &met);
    return true;
}

static bool is_terminated(const struct message *message, size_t at)
{
    return at < message->len && memchr(message->bytes + at, 0, message->len - at) != NULL;
}

static bool pass_request(struct link *link, struct pipeline *pipeline, struct message *message)
{
    if (!read_message(link, read_client, message)) {
        return false;
    }
    unsigned char type = message->bytes[0];
    if (type == 'Q' && is_terminated(message, 5)) {
        if (!meet_statement(link, pipeline, message, 5)) {
            return false;
        }
    } else if (type == 'P' && is_terminated(message, 5)) {
        size_t sql_at = 5 + strlen((const char *)message->bytes + 5) + 1;
        if (!is_terminated(message, sql_at) || !meet_statement(link, pipeline, message, sql_at)) {
            return false;
        }
    }
    bool is_run = type == 'E' || type == 'Q';
    if (!write_server(link, message->bytes, message->len)) {
        return false;
    }
    if (is_run) {
        pipeline->open++;
        pipeline->waits_for = pipeline->parsed;
        pipeline->n = pipeline->parsed_n;
        pipeline->parsed = NULL;
        if ((pipeline->waits_for || pipeline->changes_answer) && type == 'E') {
            return drain(link, pipeline);
        }
    }
    return true;
}

static void pump(struct link *link)
{
    struct pipeline pipeline = {.phase = ""};
    struct message request = {0}, answer = {0};
    bool alive = true;

    while (alive) {
        struct pollfd fds[] = {{link->client, POLLIN, 0}, {link->server, POLLIN, 0}};
        bool client_ready = link->tls && SSL_pending(link->tls) > 0;
        if (poll(fds, 2, client_ready ? 0 : -1) < 0 && errno != EINTR) {
            gateway_give_up("poll");
        }
        if (fds[1].revents) {
            alive = pass_answer(link, &pipeline, &answer);
        } else if (client_ready || fds[0].revents) {
            alive = pass_request(link, &pipeline, &request);
        }
    }
    free(request.bytes);
    free(answer.bytes);
}

static void serve(int client)
{
    struct link link = {.client = client, .server = gateway_connect()};

    if (link.server < 0) {
        return;
    }
    if (meet_guest(&link, "connect") && pass_startup(&link)) {
        pump(&link);
    }
    if (link.tls) {
        SSL_free(link.tls);
    }
    close(link.server);
    close(client);
}

int main(int argc, char **argv)
{
    return gateway_main(argc, argv, "sql-gateway", step_names, make_tls, serve);
}
