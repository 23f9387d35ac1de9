/*
 * The reading head: names, queries and expressions. In come a statement's tokens, out goes the text
 * for PostgreSQL with names mapped, types and functions replaced. PostgreSQL still checks the
 * grammar, so what matters here is that nothing which only PostgreSQL knows gets through:
 * functions, types and operators must be on a list, and its own clauses are refused by their words.
 * Pure.
 */
#include "sandbox/rewrite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 500, /* parentheses within parentheses; reading them is recursive */
};

/* ------------------------------------------------------------------------------- looking */

const struct token *rewrite_peek(const struct rewriter *w, size_t ahead)
{
    return w->at + ahead < w->count ? &w->tokens[w->at + ahead] : NULL;
}

static const struct token *previous(const struct rewriter *w)
{
    return w->at > 0 ? &w->tokens[w->at - 1] : NULL;
}

bool rewrite_is_word(const struct rewriter *w, size_t ahead, const char *word)
{
    return token_is_word(rewrite_peek(w, ahead), word);
}

bool rewrite_is_mark(const struct rewriter *w, size_t ahead, char mark)
{
    return token_is_mark(rewrite_peek(w, ahead), mark);
}

bool rewrite_at_end(const struct rewriter *w)
{
    return w->at >= w->count;
}

bool rewrite_take_word(struct rewriter *w, const char *word)
{
    if (!rewrite_is_word(w, 0, word)) {
        return false;
    }
    w->at++;
    return true;
}

bool rewrite_take_mark(struct rewriter *w, char mark)
{
    if (!rewrite_is_mark(w, 0, mark)) {
        return false;
    }
    w->at++;
    return true;
}

size_t rewrite_closing(const struct rewriter *w, size_t open)
{
    size_t depth = 0;

    for (size_t i = open; i < w->count; i++) {
        if (token_is_mark(&w->tokens[i], '(')) {
            depth++;
        } else if (token_is_mark(&w->tokens[i], ')') && --depth == 0) {
            return i;
        }
    }
    return w->count;
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(word, *list) == 0) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------- refusing */

bool rewrite_refuse(struct rewriter *w, const char *sqlstate, const char *format, ...)
{
    if (w->st->sqlstate[0] == '\0') {
        va_list args;
        text_format(w->st->sqlstate, sizeof w->st->sqlstate, "%s", sqlstate);
        va_start(args, format);
        (void)vsnprintf(w->st->message, sizeof w->st->message, format, args);
        va_end(args);
    }
    return false;
}

bool rewrite_refuse_here(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);

    if (token == NULL) {
        return rewrite_refuse(w, "42601", "syntax error at end of input");
    }
    /* Literals may hold secrets or documents: their text stays out of messages. */
    if (token->kind == TOKEN_STRING) {
        return rewrite_refuse(w, "42601", "syntax error at or near a literal");
    }
    return rewrite_refuse(w, "42601", "syntax error at or near \"%.*s\"",
                          (int)(token->size > 120 ? 120 : token->size), token->at);
}

bool rewrite_expect_word(struct rewriter *w, const char *word)
{
    return rewrite_take_word(w, word) ? true : rewrite_refuse_here(w);
}

bool rewrite_expect_mark(struct rewriter *w, char mark)
{
    return rewrite_take_mark(w, mark) ? true : rewrite_refuse_here(w);
}

bool rewrite_expect_end(struct rewriter *w)
{
    return rewrite_at_end(w) ? true : rewrite_refuse_here(w);
}

/* ------------------------------------------------------------------------------- writing */

static bool is_tight(char c)
{
    return c == ',' || c == ')' || c == '.' || c == ';';
}

static void put_piece(struct rewriter *w, const char *at, size_t size)
{
    if (size == 0) {
        return;
    }
    bool tight = w->out->len == 0 || w->after_open || (size == 1 && is_tight(*at)) ||
                 (size == 2 && memcmp(at, "::", 2) == 0);
    if (!tight) {
        bytes_put_char(w->out, ' ');
    }
    bytes_put(w->out, at, size);
    w->after_open =
        at[size - 1] == '(' || at[size - 1] == '.' || (size == 2 && memcmp(at, "::", 2) == 0);
}

void rewrite_put(struct rewriter *w, const char *text)
{
    put_piece(w, text, strlen(text));
}

/* Where the next piece's first byte will be, for operands. */
static size_t next_position(const struct rewriter *w)
{
    return w->out->len == 0 || w->after_open ? w->out->len : w->out->len + 1;
}

static void remember_long_name(struct rewriter *w, const char *full)
{
    struct statement *st = w->st;

    for (size_t i = 0; i < st->long_name_count; i++) {
        if (strcmp(st->long_names[i], full) == 0) {
            return;
        }
    }
    void *grown = realloc(st->long_names, (st->long_name_count + 1) * sizeof *st->long_names);
    if (grown == NULL) {
        abort();
    }
    st->long_names = grown;
    memcpy(st->long_names[st->long_name_count++], full, strlen(full) + 1);
}

void rewrite_need_type(struct rewriter *w, const struct type *type)
{
    struct statement *st = w->st;

    if (type->kind == TYPE_PLAIN || type->kind == TYPE_SUPER) {
        return;
    }
    for (size_t i = 0; i < st->type_count; i++) {
        if (strcmp(st->types[i].sql, type->sql) == 0) {
            return;
        }
    }
    struct type *grown = realloc(st->types, (st->type_count + 1) * sizeof *grown);
    if (grown == NULL) {
        abort();
    }
    st->types = grown;
    st->types[st->type_count++] = *type;
}

/* Words that Redshift reserves and PostgreSQL does not (page r_pg_keywords), less those that have a
 * place in its queries. As unquoted names they are syntax errors. */
static const char *const reserved_words[] = {
    "aes128",
    "aes256",
    "allowoverwrite",
    "backup",
    "blanksasnull",
    "bytedict",
    "bzip2",
    "credentials",
    "cube",
    "current_user_id",
    "deflate",
    "defrag",
    "delta",
    "delta32k",
    "disable",
    "emptyasnull",
    "enable",
    "encode",
    "encrypt",
    "encryption",
    "explicit",
    "globaldict256",
    "globaldict64k",
    "gzip",
    "identity",
    "ignore",
    "language",
    "lun",
    "luns",
    "lzo",
    "lzop",
    "minus",
    "mostly16",
    "mostly32",
    "mostly8",
    "new",
    "off",
    "offline",
    "offset",
    "oid",
    "old",
    "open",
    "parallel",
    "partition",
    "percent",
    "permissions",
    "queryid",
    "raw",
    "readratio",
    "recover",
    "rejectlog",
    "resort",
    "respect",
    "restore",
    "snapshot",
    "sysdate",
    "system",
    "tag",
    "tdes",
    "text255",
    "text32k",
    "top",
    "truncatecolumns",
    "wallet",
    "without",
    NULL,
};

bool rewrite_read_name(struct rewriter *w, char full[IDENT_FULL_MAX + 1])
{
    const struct token *token = rewrite_peek(w, 0);

    if (token == NULL || (token->kind != TOKEN_WORD && token->kind != TOKEN_QUOTED)) {
        return rewrite_refuse_here(w);
    }
    if (token->kind == TOKEN_WORD && is_one_of(token->name, reserved_words)) {
        return rewrite_refuse_here(w);
    }
    ident_fold(token->name, token->name_size, token->kind == TOKEN_WORD || w->fold_quoted, full);
    w->at++;
    return true;
}

bool rewrite_name(struct rewriter *w, char full[IDENT_FULL_MAX + 1])
{
    char own[IDENT_FULL_MAX + 1];
    char quoted[IDENT_QUOTED_SIZE];
    char *name = full != NULL ? full : own;
    const struct token *token = rewrite_peek(w, 0);

    if (!rewrite_read_name(w, name)) {
        return false;
    }
    if (ident_is_long(name)) {
        remember_long_name(w, name);
    }
    if (token->kind == TOKEN_WORD && !ident_is_long(name)) {
        rewrite_put(w, name); /* a keyword of PostgreSQL must stay one */
    } else {
        ident_quote_backend(name, quoted);
        rewrite_put(w, quoted);
    }
    return true;
}

static bool is_hidden_schema(const char *name)
{
    return strcmp(name, "redshift_sys") == 0 || strcmp(name, "redshift_information_schema") == 0;
}

bool rewrite_relation(struct rewriter *w, char full[IDENT_FULL_MAX + 1])
{
    char last[IDENT_FULL_MAX + 1];
    char *name = full != NULL ? full : last;

    if (!rewrite_name(w, name)) {
        return false;
    }
    if (rewrite_is_mark(w, 0, '.')) {
        if (is_hidden_schema(name)) {
            return rewrite_refuse(w, "3F000", "schema \"%s\" does not exist", name);
        }
        w->at++;
        rewrite_put(w, ".");
        if (!rewrite_name(w, name)) {
            return false;
        }
    }
    if (rewrite_is_mark(w, 0, '.')) {
        return rewrite_refuse(w, "0A000", "cross-database references are not supported here");
    }
    return true;
}

bool rewrite_name_list(struct rewriter *w)
{
    if (!rewrite_expect_mark(w, '(')) {
        return false;
    }
    rewrite_put(w, "(");
    do {
        if (!rewrite_name(w, NULL)) {
            return false;
        }
        if (rewrite_is_mark(w, 0, ',')) {
            rewrite_put(w, ",");
        }
    } while (rewrite_take_mark(w, ','));
    rewrite_put(w, ")");
    return rewrite_expect_mark(w, ')');
}

/* ------------------------------------------------------------------------------- casts */

static void insert_at(struct bytes *out, size_t where, const char *text)
{
    size_t size = strlen(text);

    bytes_reserve(out, size);
    memmove(out->at + where + size, out->at + where, out->len - where);
    memcpy(out->at + where, text, size);
    out->len += size;
}

/* The operand stands complete in the output; `bare` says that it is a lone literal or parameter,
 * which a cast to SUPER or VARBYTE takes as text and not as that type's own input form. */
static void apply_cast(struct rewriter *w, const struct type *type, bool bare)
{
    size_t start = w->operand;

    switch (type->kind) {
    case TYPE_VARCHAR:
        insert_at(w->out, start, "redshift_sys.varchar_cut((");
        bytes_printf(w->out, ")::bpchar, %d)", type->length);
        break;
    case TYPE_CHAR:
        bytes_printf(w->out, "::bpchar(%d)", type->length);
        break;
    case TYPE_VARBYTE:
        bytes_put_text(w->out, bare ? "::bpchar::varbyte" : "::varbyte");
        break;
    case TYPE_SUPER:
        bytes_put_text(w->out, bare ? "::bpchar::super" : "::super");
        break;
    case TYPE_PLAIN:
        bytes_printf(w->out, "::%s", type->sql);
        break;
    }
    w->after_open = false;
}

static bool is_bare(const struct token *token)
{
    return token != NULL && (token->kind == TOKEN_STRING || token->kind == TOKEN_PARAM);
}

/* expr::type; the head stands on the `::`. */
static bool emit_short_cast(struct rewriter *w)
{
    bool bare = is_bare(previous(w));
    struct type type;

    w->at++;
    if (!rewrite_read_type(w, &type, false)) {
        return false;
    }
    apply_cast(w, &type, bare);
    return true;
}

/* CAST(expr AS type); the head stands on CAST. */
static bool emit_long_cast(struct rewriter *w)
{
    size_t open = w->at + 1;
    size_t close = rewrite_closing(w, open);
    size_t as = close;
    size_t depth = 0;
    struct type type;

    for (size_t i = open; i < close; i++) {
        if (token_is_mark(&w->tokens[i], '(')) {
            depth++;
        } else if (token_is_mark(&w->tokens[i], ')')) {
            depth--;
        } else if (depth == 1 && token_is_word(&w->tokens[i], "as")) {
            as = i;
        }
    }
    if (close == w->count || as == close) {
        return rewrite_refuse_here(w);
    }
    bool bare = as == open + 2 && is_bare(&w->tokens[open + 1]);
    size_t start = next_position(w);
    rewrite_put(w, "(");
    w->at = open + 1;
    if (w->depth >= DEPTH_MAX) {
        return rewrite_refuse(w, "54001", "stack depth limit exceeded");
    }
    w->depth++;
    if (!rewrite_expression(w, as)) {
        return false;
    }
    w->depth--;
    rewrite_put(w, ")");
    w->at = as + 1;
    if (!rewrite_read_type(w, &type, false)) {
        return false;
    }
    if (w->at != close) {
        return rewrite_refuse_here(w);
    }
    w->at = close + 1;
    w->operand = start;
    apply_cast(w, &type, bare);
    return true;
}

/* ------------------------------------------------------------------------------- functions */

/* LISTAGG(x [, separator]) WITHIN GROUP (ORDER BY ...); the head stands on LISTAGG. */
static bool emit_listagg(struct rewriter *w)
{
    size_t open = w->at + 1;
    size_t close = rewrite_closing(w, open);
    size_t comma = close;
    size_t depth = 0;
    size_t start = next_position(w);

    for (size_t i = open; i < close; i++) {
        if (token_is_mark(&w->tokens[i], '(')) {
            depth++;
        } else if (token_is_mark(&w->tokens[i], ')')) {
            depth--;
        } else if (depth == 1 && comma == close && token_is_mark(&w->tokens[i], ',')) {
            comma = i;
        }
    }
    rewrite_put(w, "string_agg((");
    w->at = open + 1;
    if (w->depth >= DEPTH_MAX) {
        return rewrite_refuse(w, "54001", "stack depth limit exceeded");
    }
    w->depth++;
    if (!rewrite_expression(w, comma)) {
        return false;
    }
    w->depth--;
    rewrite_put(w, ")");
    bytes_put_text(w->out, "::text,");
    w->at = comma + 1;
    if (comma == close) {
        rewrite_put(w, "''");
    } else if (!rewrite_expression(w, close)) {
        return false;
    }
    w->at = close + 1;
    if (rewrite_take_word(w, "within")) {
        size_t end = rewrite_closing(w, w->at + 1);
        if (!rewrite_expect_word(w, "group") || !rewrite_expect_mark(w, '(') ||
            !rewrite_expression(w, end) || !rewrite_expect_mark(w, ')')) {
            return false;
        }
    }
    rewrite_put(w, ")");
    w->operand = start;
    return true;
}

/* Parentheses and what is in them; the head stands on the opening one. */
static bool emit_parentheses(struct rewriter *w, bool is_call)
{
    if (w->depth >= DEPTH_MAX) {
        return rewrite_refuse(w, "54001", "stack depth limit exceeded");
    }
    size_t close = rewrite_closing(w, w->at);
    if (close == w->count) {
        return rewrite_refuse(w, "42601", "syntax error at end of input");
    }
    if (is_call) {
        bytes_put_char(w->out, '(');
        w->after_open = true;
    } else {
        rewrite_put(w, "(");
    }
    w->at++;
    static const char *const changes[] = {"insert", "update", "delete", "merge", "values", NULL};
    const struct token *first = rewrite_peek(w, 0);
    if (first != NULL && first->kind == TOKEN_WORD && is_one_of(first->name, changes) && !is_call &&
        !(w->allows_values && token_is_word(first, "values"))) {
        return rewrite_refuse_here(w);
    }
    w->depth++;
    if (!rewrite_expression(w, close)) {
        return false;
    }
    w->depth--;
    rewrite_put(w, ")");
    w->at = close + 1;
    return true;
}

static bool emit_call(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);
    char name[IDENT_FULL_MAX + 1];
    ident_fold(token->name, token->name_size, true, name);
    const struct function *function = function_find(name);
    size_t start = next_position(w);

    if (function == NULL) {
        return rewrite_refuse(w, "42883", "function %s() does not exist", name);
    }
    if (token_is_mark(previous(w), '.')) {
        /* pg_catalog.name(): the schema has been written already and only fits names that are the
         * same on both sides. */
        if (w->at < 2 || !token_is_word(&w->tokens[w->at - 2], "pg_catalog") ||
            function->backend != NULL) {
            return rewrite_refuse(w, "42883", "function %s() does not exist", name);
        }
        start = w->operand;
    }
    w->leader_only_function |= function->leader_only;
    rewrite_put(w, function->backend != NULL ? function->backend : name);
    w->at++;
    if (!emit_parentheses(w, true)) {
        return false;
    }
    w->operand = start;
    return true;
}

/* ------------------------------------------------------------------------------- words */

/* Keywords that a parenthesis may follow without making a call. */
static const char *const before_parenthesis[] = {
    "all",    "and",    "any",     "as",    "between", "by",     "case",  "distinct",  "else",
    "except", "exists", "from",    "group", "having",  "ilike",  "in",    "intersect", "into",
    "join",   "like",   "limit",   "not",   "offset",  "on",     "or",    "over",      "partition",
    "select", "set",    "similar", "some",  "then",    "union",  "using", "values",    "when",
    "where",  "is",     "to",      "for",   "minus",   "escape", "order", NULL,
};

/* Clauses of PostgreSQL that Redshift's grammar does not have. */
static const char *const foreign_words[] = {
    "returning",  "lateral", "tablesample",  "fetch",        "within",    "ordinality",
    "overriding", "window",  "concurrently", "materialized", "symmetric", NULL,
};

/* Types whose `type 'literal'` form would otherwise slip through as "name literal". */
static const char *const literal_types[] = {"date",   "time",     "timestamp", "timestamptz",
                                            "timetz", "interval", NULL};

/* Words that may stand directly before a literal in Redshift's grammar. */
static const char *const before_literal[] = {
    "all",    "and",    "as",     "between", "by",       "case", "distinct", "else",
    "escape", "having", "ilike",  "in",      "is",       "like", "limit",    "not",
    "on",     "or",     "select", "similar", "then",     "to",   "when",     "where",
    "from",   "for",    "both",   "leading", "trailing", "zone", "default",  NULL,
};

static bool refuse_foreign_word(struct rewriter *w, const struct token *token)
{
    const struct token *next = rewrite_peek(w, 1);
    const struct token *before = previous(w);

    if (is_one_of(token->name, foreign_words)) {
        return true;
    }
    if (token_is_word(token, "distinct")) {
        /* DISTINCT ON (...), IS [NOT] DISTINCT FROM */
        return token_is_word(next, "on") ||
               (token_is_word(next, "from") &&
                (token_is_word(before, "is") || token_is_word(before, "not")));
    }
    if (token_is_word(token, "for")) {
        return token_is_word(next, "update") || token_is_word(next, "share") ||
               token_is_word(next, "no") || token_is_word(next, "key");
    }
    if (token_is_word(token, "conflict")) {
        return token_is_word(before, "on");
    }
    if (token_is_word(token, "only")) {
        return token_is_word(before, "from") || token_is_word(before, "join");
    }
    if (token_is_word(token, "values")) {
        return !w->allows_values && !token_is_mark(before, '.');
    }
    if (token_is_word(token, "array")) {
        return token_is_mark(next, '[');
    }
    return token_is_word(token, "into");
}

/* After FROM or JOIN stands a relation: is it one that compute nodes hold? */
static void note_relation(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);

    if (token == NULL || token->name == NULL) {
        return;
    }
    w->user_table |= strncmp(token->name, "pg_", 3) != 0 && strncmp(token->name, "svv_", 4) != 0 &&
                     strncmp(token->name, "stv_", 4) != 0 &&
                     strcmp(token->name, "information_schema") != 0;
}

static bool emit_plain_word(struct rewriter *w, const struct token *token)
{
    const struct token *next = rewrite_peek(w, 1);

    if (token_is_word(token, "minus")) {
        rewrite_put(w, "except");
        w->at++;
        return true;
    }
    if (token_is_word(token, "sysdate")) {
        rewrite_put(w, "redshift_sys.sysdate()");
        w->at++;
        return true;
    }
    if (token_is_word(token, "offset") ||
        (token_is_word(token, "partition") && token_is_word(next, "by"))) {
        rewrite_put(w, token->name);
        w->at++;
        return true;
    }
    w->leader_only_function |=
        token_is_word(token, "current_timestamp") || token_is_word(token, "current_time") ||
        token_is_word(token, "localtime") || token_is_word(token, "localtimestamp");
    return rewrite_name(w, NULL);
}

static bool emit_word(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);
    const struct token *next = rewrite_peek(w, 1);
    bool after_dot = token_is_mark(previous(w), '.');

    if (!after_dot) {
        w->operand = next_position(w);
    }
    if (token_is_mark(next, '.') && !after_dot) {
        if (is_hidden_schema(token->name)) {
            return rewrite_refuse(w, "3F000", "schema \"%s\" does not exist", token->name);
        }
        if (token_is_word(token, "information_schema")) {
            rewrite_put(w, "redshift_information_schema");
            w->at++;
            return true;
        }
    }
    if (!after_dot && refuse_foreign_word(w, token)) {
        return rewrite_refuse_here(w);
    }
    if (token_is_mark(next, '(') && !token_is_word(previous(w), "as") &&
        (after_dot || !is_one_of(token->name, before_parenthesis))) {
        if (token_is_word(token, "cast")) {
            return emit_long_cast(w);
        }
        if (token_is_word(token, "listagg")) {
            return emit_listagg(w);
        }
        return emit_call(w);
    }
    if (next != NULL && next->kind == TOKEN_STRING && !is_one_of(token->name, before_literal)) {
        if (!is_one_of(token->name, literal_types)) {
            return rewrite_refuse(w, "42704", "type \"%.80s\" does not exist", token->name);
        }
        rewrite_put(w, token->name);
        w->at++;
        return true;
    }
    if (after_dot) {
        return rewrite_name(w, NULL);
    }
    return emit_plain_word(w, token);
}

/* ------------------------------------------------------------------------------- expressions */

static const char *const operators[] = {"+", "-",  "*",  "/",  "%",  "^",   "=",  "<>",  "!=", "<",
                                        ">", "<=", ">=", "||", "~",  "!~",  "~*", "!~*", "&",  "|",
                                        "#", "<<", ">>", "@",  "|/", "||/", "~~", "!~~", NULL};

static bool emit_operator(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);

    for (const char *const *op = operators; *op != NULL; op++) {
        if (token_is_operator(token, *op)) {
            put_piece(w, token->at, token->size);
            w->at++;
            return true;
        }
    }
    return rewrite_refuse(w, "42883", "operator does not exist: %.*s",
                          (int)(token->size > 16 ? 16 : token->size), token->at);
}

static bool emit_string(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);
    const struct token *before = previous(w);

    if (before != NULL && before->kind == TOKEN_STRING && token->after_newline) {
        bytes_put_char(w->out, '\n'); /* two literals over a line break are one */
    } else {
        w->operand = next_position(w);
    }
    put_piece(w, token->at, token->size);
    w->at++;
    return true;
}

static bool emit_mark(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);
    char text[2] = {*token->at, '\0'};

    switch (*token->at) {
    case '(': {
        size_t start = next_position(w);
        if (!emit_parentheses(w, false)) {
            return false;
        }
        w->operand = start;
        return true;
    }
    case ',':
    case '.':
        rewrite_put(w, text);
        w->at++;
        return true;
    case '[':
        return rewrite_refuse(w, "0A000", "subscripts are supported on SUPER only, and not here");
    default:
        return rewrite_refuse_here(w);
    }
}

static bool emit_one(struct rewriter *w)
{
    const struct token *token = rewrite_peek(w, 0);

    switch (token->kind) {
    case TOKEN_WORD:
        return emit_word(w);
    case TOKEN_QUOTED:
        if (!token_is_mark(previous(w), '.')) {
            w->operand = next_position(w);
        }
        if (rewrite_is_mark(w, 1, '(') && !token_is_word(previous(w), "as")) {
            return emit_call(w);
        }
        return rewrite_name(w, NULL);
    case TOKEN_STRING:
        return emit_string(w);
    case TOKEN_NUMBER:
    case TOKEN_PARAM:
        w->operand = next_position(w);
        put_piece(w, token->at, token->size);
        w->at++;
        return true;
    case TOKEN_OPERATOR:
        return emit_operator(w);
    case TOKEN_CAST:
        return emit_short_cast(w);
    case TOKEN_MARK:
        return emit_mark(w);
    }
    return rewrite_refuse_here(w);
}

bool rewrite_expression(struct rewriter *w, size_t end)
{
    enum {
        CASE_DEPTH = 64,
    };
    size_t cases[CASE_DEPTH]; /* where in the output each open CASE began */
    size_t depth = 0;

    while (w->at < end) {
        bool is_relation_next = rewrite_is_word(w, 0, "from") || rewrite_is_word(w, 0, "join") ||
                                rewrite_is_word(w, 0, "using");
        bool is_case = rewrite_is_word(w, 0, "case");
        bool is_end = rewrite_is_word(w, 0, "end");
        if (!emit_one(w)) {
            return false;
        }
        if (is_case && depth < CASE_DEPTH) {
            cases[depth++] = w->operand;
        } else if (is_end && depth > 0) {
            w->operand = cases[--depth];
        }
        if (is_relation_next && w->at < end) {
            note_relation(w);
        }
    }
    return w->at == end ? true : rewrite_refuse_here(w);
}
