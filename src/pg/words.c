/*
 * pg/words: what went wrong, in our terms. Comes in: SQLSTATE and texts from the server, or the
 * text that libpq made of a failed connection; goes out: errors with the class that decides what
 * happens next. It never knows the connection, and never lets a credential through: some errors
 * quote a part of the statement, and a COPY's text holds keys.
 */

#include "words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* SQLSTATEs by their beginning; the first row that fits counts. */
static const struct state_row {
    const char *prefix;
    enum error_class cls;
} state_rows[] = {
    {"08", ERROR_RETRY},     /* connection exceptions */
    {"28", ERROR_CONFIG},    /* wrong user or password */
    {"3D000", ERROR_CONFIG}, /* no such database */
    {"40P01", ERROR_RETRY},  /* deadlock */
    {"40001", ERROR_RETRY},  /* PostgreSQL's name for 1023 */
    {"42501", ERROR_CONFIG}, /* a grant is missing */
    {"53100", ERROR_CONFIG}, /* disk full */
    {"53300", ERROR_RETRY},  /* too many connections */
    {"57P01", ERROR_RETRY},  /* the server shuts down, has crashed, or starts */
    {"57P02", ERROR_RETRY},  {"57P03", ERROR_RETRY},
};

/* Parts of messages whose SQLSTATEs are not documented. A cluster that is being resized takes reads
 * only, for minutes or, by a classic resize, for hours. */
static const char *const passing_words[] = {
    "conflict with concurrent transaction",
    "system is in resize mode",
    "cluster is resizing",
};

/* Words of libpq about a connection that no second attempt will mend. */
static const char *const config_words[] = {
    "authentication method", "does not support SSL",     "certificate verify failed",
    "root certificate file", "does not match host name", "could not read root certificate file",
    "password supplied", /* fe_sendauth: no password supplied */
};

/* Where a COPY's keys can begin, in any case. */
static const char *const secret_words[] = {
    "aws_access_key_id", "aws_secret_access_key", "access_key_id",
    "secret_access_key", "session_token",         "token=",
};

static void add_one_line(struct buf *out, const char *text, const char *end);
static const char *find_word(const char *text, const char *word);
static const char *find_sqlstate(const char *line, size_t len);
static struct error *explain_method(const char *text);

/* ---------------------------------------------------------------- errors of statements */

enum error_class words_class(const char *sqlstate, const char *message)
{
    /* A serialization failure comes as XX000, "internal error", with nothing but this number for a
     * text; all other XX000 must not be tried again. */
    if (strcmp(sqlstate, "XX000") == 0 && strcmp(message, "1023") == 0) {
        return ERROR_RETRY;
    }
    for (size_t i = 0; i < ARRAY_LEN(passing_words); i++) {
        if (find_word(message, passing_words[i])) {
            return ERROR_RETRY;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(state_rows); i++) {
        if (strncmp(sqlstate, state_rows[i].prefix, strlen(state_rows[i].prefix)) == 0) {
            return state_rows[i].cls;
        }
    }
    return ERROR_ABORT;
}

void words_add_scrubbed(struct buf *out, const char *text)
{
    const char *end = text + strlen(text);
    bool is_cut = false;

    for (size_t i = 0; i < ARRAY_LEN(secret_words); i++) {
        const char *at = find_word(text, secret_words[i]);
        if (at && at < end) {
            end = at;
            is_cut = true;
        }
    }
    if ((size_t)(end - text) > WORDS_MAX_BYTES) {
        end = text + WORDS_MAX_BYTES;
        is_cut = true;
    }
    add_one_line(out, text, end);
    if (is_cut) {
        buf_add_str(out, " [...]");
    }
}

/* Details of Redshift are little tables between rules of dashes; an error is one line. */
static void add_one_line(struct buf *out, const char *text, const char *end)
{
    bool is_first = true;

    while (text < end) {
        const char *word = text;
        bool is_rule = true;
        while (text < end && !isspace((unsigned char)*text)) {
            is_rule = is_rule && *text == '-';
            text++;
        }
        if (text > word && (!is_rule || text - word < 4)) {
            if (!is_first) {
                buf_add_byte(out, ' ');
            }
            buf_add(out, word, (size_t)(text - word));
            is_first = false;
        }
        text++;
    }
}

struct error *words_sql_error(const char *sqlstate, const char *message, const char *detail)
{
    struct buf text;

    buf_init(&text, 4 * WORDS_MAX_BYTES);
    words_add_scrubbed(&text, message);
    enum error_class cls = words_class(sqlstate, text.data ? text.data : "");
    if (detail && detail[0]) {
        buf_add_str(&text, ": ");
        words_add_scrubbed(&text, detail);
    }
    struct error *err = error_new_from(ERROR_SQL, cls, sqlstate, "%.*s", SPAN_FMT(buf_view(&text)));
    buf_done(&text);
    return err;
}

/* ---------------------------------------------------------------- errors of connections */

/*
 * One line per address tried, each followed by the server's other fields:
 *
 *      connection to server at "10.0.0.1", port 5439 failed: Connection refused
 *              Is the server running on that host and accepting TCP/IP connections?
 *      connection to server at "10.0.0.2", port 5439 failed: FATAL:  28000: password ... failed
 *      LOCATION:  auth_failed, auth.c:326
 *
 * A server that answered knows best, so the last line with a SQLSTATE wins.
 */
struct error *words_connect_error(const char *text)
{
    struct error *err = explain_method(text);
    struct buf all;

    if (err) {
        return err;
    }
    buf_init(&all, 4 * WORDS_MAX_BYTES);
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        const char *message = find_sqlstate(line, len);
        if (message) {
            char sqlstate[6] = {0}, said[512];
            size_t said_len = len - (size_t)(message - line);
            memcpy(sqlstate, message - 7, 5);
            if (said_len >= sizeof(said)) {
                said_len = sizeof(said) - 1;
            }
            memcpy(said, message, said_len);
            said[said_len] = '\0';
            error_drop(err, "a later address was answered too");
            err = words_sql_error(sqlstate, said, NULL);
        } else if (len > 0 && line[0] != '\t' && all.len < WORDS_MAX_BYTES &&
                   strncmp(line, "LOCATION:", 9) != 0) {
            if (all.len > 0) {
                buf_add_str(&all, "; ");
            }
            buf_add(&all, line, len);
        }
        line += len + (line[len] == '\n' ? 1 : 0);
    }
    if (!err) {
        enum error_class cls = ERROR_RETRY;
        for (size_t i = 0; i < ARRAY_LEN(config_words); i++) {
            if (find_word(text, config_words[i])) {
                cls = ERROR_CONFIG;
            }
        }
        err = error_new(ERROR_SYSTEM, cls, "%s", all.len > 0 ? all.data : "no reason given");
    }
    buf_done(&all);
    return err;
}

/* Redshift's own ways to log in (13: a SHA-256 digest, 14: a token) are not libpq's. */
static struct error *explain_method(const char *text)
{
    const char *at = find_word(text, "authentication method ");

    if (!at) {
        return NULL;
    }
    const char *number = at + strlen("authentication method ");
    if (strncmp(number, "13 ", 3) == 0) {
        struct error *err =
            error_new(ERROR_SYSTEM, ERROR_CONFIG,
                      "authentication method 13: the server asks for Redshift's own SHA-256 login, "
                      "which only Amazon's drivers speak");
        error_set_hint(err, "The password of this user is stored as SHA-256. Set it anew as MD5: "
                            "ALTER USER ... PASSWORD with the plain password or 'md5...', or use "
                            "another user.");
        return err;
    }
    if (strncmp(number, "14 ", 3) == 0) {
        return error_new(ERROR_SYSTEM, ERROR_CONFIG,
                         "authentication method 14: the server asks for a token of an identity "
                         "provider; use a user with a password");
    }
    return NULL;
}

/* "...:  28000: text" gives text; NULL when the line has no SQLSTATE. */
static const char *find_sqlstate(const char *line, size_t len)
{
    for (size_t i = 0; i + 10 <= len; i++) {
        if (memcmp(line + i, ":  ", 3) != 0 || memcmp(line + i + 8, ": ", 2) != 0) {
            continue;
        }
        bool is_state = true;
        for (size_t k = i + 3; k < i + 8; k++) {
            unsigned char c = (unsigned char)line[k];
            is_state = is_state && (isdigit(c) || isupper(c));
        }
        if (is_state) {
            return line + i + 10;
        }
    }
    return NULL;
}

static const char *find_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (; *text; text++) {
        if (strncasecmp(text, word, len) == 0) {
            return text;
        }
    }
    return NULL;
}
