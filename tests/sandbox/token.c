/*
 * The sandbox's lexer. In comes the text of a simple query or of a Parse, out goes a list of
 * tokens, or the refusal of what Redshift has no notation for (dollar quotes, E'' and its kin,
 * U&""). It does not know statements. Pure.
 */
#include "sandbox/token.h"

#include "sandbox/copy_bytes.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct token_list *list;
    size_t capacity;
    const char *at, *end;
    bool newline;
};

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           ((unsigned char)c & 0x80) != 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_part(char c)
{
    return is_name_start(c) || is_digit(c) || c == '$';
}

static bool is_operator(char c)
{
    return c != '\0' && strchr("+-*/<>=~!@#%^&|`?", c) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool refuse(struct reader *r, const char *message, const char *at, size_t size)
{
    if (r->list->sqlstate[0] == '\0') {
        text_format(r->list->sqlstate, sizeof r->list->sqlstate, "%s", "42601");
        text_format(r->list->message, sizeof r->list->message, "%s \"%.*s\"", message,
                    (int)(size > 64 ? 64 : size), at);
    }
    return false;
}

static struct token *add(struct reader *r, enum token_kind kind, const char *at, size_t size)
{
    struct token_list *list = r->list;
    if (list->count == r->capacity) {
        r->capacity = r->capacity == 0 ? 64 : r->capacity * 2;
        struct token *grown = realloc(list->at, r->capacity * sizeof *grown);
        if (grown == NULL) {
            abort();
        }
        list->at = grown;
    }
    struct token *token = &list->at[list->count++];
    *token = (struct token){.kind = kind, .at = at, .size = size, .after_newline = r->newline};
    r->newline = false;
    return token;
}

/* ------------------------------------------------------------------------------- blanks */

/* Comments nest, as in PostgreSQL. */
static bool skip_block_comment(struct reader *r)
{
    const char *start = r->at;
    int depth = 0;

    do {
        if (r->end - r->at < 2) {
            return refuse(r, "unterminated /* comment at or near", start, (size_t)(r->end - start));
        }
        if (r->at[0] == '/' && r->at[1] == '*') {
            depth++;
            r->at += 2;
        } else if (r->at[0] == '*' && r->at[1] == '/') {
            depth--;
            r->at += 2;
        } else {
            r->at++;
        }
    } while (depth > 0);
    return true;
}

static bool skip_blanks(struct reader *r)
{
    while (r->at < r->end) {
        if (is_space(*r->at)) {
            r->newline |= *r->at == '\n';
            r->at++;
        } else if (r->end - r->at >= 2 && r->at[0] == '-' && r->at[1] == '-') {
            while (r->at < r->end && *r->at != '\n') {
                r->at++;
            }
        } else if (r->end - r->at >= 2 && r->at[0] == '/' && r->at[1] == '*') {
            if (!skip_block_comment(r)) {
                return false;
            }
        } else {
            break;
        }
    }
    return true;
}

/* ------------------------------------------------------------------------------- tokens */

/* A backslash escapes the next byte in every literal: standard_conforming_strings is unknown to
 * Redshift and its lexer behaves as if it were off. */
static bool read_string(struct reader *r)
{
    const char *start = r->at++;

    while (r->at < r->end) {
        if (*r->at == '\\' && r->end - r->at >= 2) {
            r->at += 2;
        } else if (*r->at == '\'' && r->end - r->at >= 2 && r->at[1] == '\'') {
            r->at += 2;
        } else if (*r->at == '\'') {
            r->at++;
            add(r, TOKEN_STRING, start, (size_t)(r->at - start));
            return true;
        } else {
            r->at++;
        }
    }
    return refuse(r, "unterminated quoted string at or near", start, (size_t)(r->end - start));
}

static bool read_quoted(struct reader *r)
{
    const char *start = r->at++;
    struct bytes name = {0};

    while (r->at < r->end) {
        if (*r->at == '"' && r->end - r->at >= 2 && r->at[1] == '"') {
            r->at++;
        } else if (*r->at == '"') {
            break;
        }
        bytes_put_char(&name, *r->at++);
    }
    if (r->at == r->end) {
        bytes_done(&name);
        return refuse(r, "unterminated quoted identifier at or near", start,
                      (size_t)(r->end - start));
    }
    r->at++;
    if (name.len == 0) {
        bytes_done(&name);
        return refuse(r, "zero-length delimited identifier at or near", "\"\"", 2);
    }
    struct token *token = add(r, TOKEN_QUOTED, start, (size_t)(r->at - start));
    bytes_text(&name);
    token->name = name.at;
    token->name_size = name.len;
    return true;
}

static bool read_word(struct reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && is_name_part(*r->at)) {
        r->at++;
    }
    size_t size = (size_t)(r->at - start);
    /* E'..', B'..', X'..', N'..' and U&'..', U&"..": not known to be notations of Redshift. */
    if (size == 1 && r->at < r->end && *r->at == '\'' && strchr("eEbBxXnN", *start) != NULL) {
        return refuse(r, "syntax error at or near", start, size + 1);
    }
    if (size == 1 && (*start == 'u' || *start == 'U') && r->end - r->at >= 2 && r->at[0] == '&' &&
        (r->at[1] == '\'' || r->at[1] == '"')) {
        return refuse(r, "syntax error at or near", start, 2);
    }
    struct token *token = add(r, TOKEN_WORD, start, size);
    token->name = malloc(size + 1);
    if (token->name == NULL) {
        abort();
    }
    for (size_t i = 0; i < size; i++) {
        char c = start[i];
        token->name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    token->name[size] = '\0';
    token->name_size = size;
    return true;
}

static void skip_digits(struct reader *r)
{
    while (r->at < r->end && is_digit(*r->at)) {
        r->at++;
    }
}

static bool read_number(struct reader *r)
{
    const char *start = r->at;

    skip_digits(r);
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        skip_digits(r);
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        const char *mantissa_end = r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-')) {
            r->at++;
        }
        if (r->at == r->end || !is_digit(*r->at)) {
            r->at = mantissa_end;
        }
        skip_digits(r);
    }
    if (r->at < r->end && is_name_start(*r->at)) {
        return refuse(r, "syntax error at or near", r->at, 1);
    }
    add(r, TOKEN_NUMBER, start, (size_t)(r->at - start));
    return true;
}

static bool read_dollar(struct reader *r)
{
    const char *start = r->at++;

    skip_digits(r);
    if (r->at == start + 1 || (r->at < r->end && is_name_start(*r->at))) {
        return refuse(r, "syntax error at or near", start, 1);
    }
    add(r, TOKEN_PARAM, start, (size_t)(r->at - start));
    return true;
}

/* The longest run of operator characters, ended by a comment; a run of several characters may end
 * in + or - only when it holds one of ~ ! @ # % ^ & | ` ? */
static bool read_operator(struct reader *r)
{
    const char *start = r->at;
    bool may_end_in_sign = false;

    while (r->at < r->end && is_operator(*r->at)) {
        if (r->at > start && r->end - r->at >= 2 &&
            ((r->at[0] == '-' && r->at[1] == '-') || (r->at[0] == '/' && r->at[1] == '*'))) {
            break;
        }
        may_end_in_sign |= strchr("~!@#%^&|`?", *r->at) != NULL;
        r->at++;
    }
    while (r->at - start > 1 && !may_end_in_sign && (r->at[-1] == '+' || r->at[-1] == '-')) {
        r->at--;
    }
    add(r, TOKEN_OPERATOR, start, (size_t)(r->at - start));
    return true;
}

static bool read_token(struct reader *r)
{
    char c = *r->at;

    if (c == '\'') {
        return read_string(r);
    }
    if (c == '"') {
        return read_quoted(r);
    }
    if (is_name_start(c)) {
        return read_word(r);
    }
    if (is_digit(c) || (c == '.' && r->end - r->at >= 2 && is_digit(r->at[1]))) {
        return read_number(r);
    }
    if (c == '$') {
        return read_dollar(r);
    }
    if (c == ':' && r->end - r->at >= 2 && r->at[1] == ':') {
        add(r, TOKEN_CAST, r->at, 2);
        r->at += 2;
        return true;
    }
    if (c != '\0' && strchr("()[],;.:", c) != NULL) {
        add(r, TOKEN_MARK, r->at, 1);
        r->at++;
        return true;
    }
    if (is_operator(c)) {
        return read_operator(r);
    }
    return refuse(r, "syntax error at or near", r->at, 1);
}

bool token_list_read(struct token_list *list, const char *sql, size_t size)
{
    struct reader r = {.list = list, .at = sql, .end = sql + size};

    memset(list, 0, sizeof *list);
    while (skip_blanks(&r) && r.at < r.end) {
        if (!read_token(&r)) {
            break;
        }
    }
    return list->sqlstate[0] == '\0';
}

void token_list_done(struct token_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->at[i].name);
    }
    free(list->at);
    memset(list, 0, sizeof *list);
}

bool token_is_word(const struct token *token, const char *word)
{
    return token != NULL && token->kind == TOKEN_WORD && strcmp(token->name, word) == 0;
}

bool token_is_mark(const struct token *token, char mark)
{
    return token != NULL && token->kind == TOKEN_MARK && *token->at == mark;
}

bool token_is_operator(const struct token *token, const char *op)
{
    return token != NULL && token->kind == TOKEN_OPERATOR && token->size == strlen(op) &&
           memcmp(token->at, op, token->size) == 0;
}
