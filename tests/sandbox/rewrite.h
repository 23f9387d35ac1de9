#ifndef SANDBOX_REWRITE_H
#define SANDBOX_REWRITE_H

/*
 * The reading head over a statement's tokens and the text that PostgreSQL is to get. Every `emit_`
 * and `read_` function returns false when the statement is refused; the refusal is in the
 * statement. Private to statement.c and rewrite.c.
 */

#include "sandbox/statement.h"

struct rewriter {
    const struct token *tokens;
    size_t count;
    size_t at; /* the next token */
    struct statement *st;
    struct bytes *out; /* &st->sql, or another text of the statement */
    bool fold_quoted;
    bool after_open; /* nothing must stand between the last output and the next */
    /* Where in `out` the last operand began: `::` takes what comes before it. */
    size_t operand;
    int depth;                 /* open parentheses */
    bool allows_values;        /* VALUES is legal at this place (INSERT) */
    bool leader_only_function; /* a function that only the leader node has was called */
    bool user_table;           /* a table that lies on compute nodes was named */
};

/* ---- looking */
const struct token *rewrite_peek(const struct rewriter *w, size_t ahead); /* NULL past the end */
bool rewrite_is_word(const struct rewriter *w, size_t ahead, const char *word);
bool rewrite_is_mark(const struct rewriter *w, size_t ahead, char mark);
bool rewrite_at_end(const struct rewriter *w);
/* Takes the word or mark when it is the next token. */
bool rewrite_take_word(struct rewriter *w, const char *word);
bool rewrite_take_mark(struct rewriter *w, char mark);
/* The index of the parenthesis that closes the one at `open`, or `count` when there is none. */
size_t rewrite_closing(const struct rewriter *w, size_t open);

/* ---- refusing (all return false) */
bool rewrite_refuse(struct rewriter *w, const char *sqlstate, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));
bool rewrite_refuse_here(struct rewriter *w); /* syntax error at or near the next token */
bool rewrite_expect_word(struct rewriter *w, const char *word);
bool rewrite_expect_mark(struct rewriter *w, char mark);
bool rewrite_expect_end(struct rewriter *w);

/* ---- writing */
void rewrite_put(struct rewriter *w, const char *text); /* with a blank before it where needed */
/* One name: folded, cut, mapped. `full` may be NULL. */
bool rewrite_name(struct rewriter *w, char full[IDENT_FULL_MAX + 1]);
/* table or schema.table; `full` gets the last part. */
bool rewrite_relation(struct rewriter *w, char full[IDENT_FULL_MAX + 1]);
/* Reads a name without writing it. */
bool rewrite_read_name(struct rewriter *w, char full[IDENT_FULL_MAX + 1]);
/* A parenthesised list of names. */
bool rewrite_name_list(struct rewriter *w);
/* Any run of query or expression tokens up to index `end`. */
bool rewrite_expression(struct rewriter *w, size_t end);
/* A column type at the reading head; column types are stricter than types of casts. */
bool rewrite_read_type(struct rewriter *w, struct type *type, bool for_column);
/* Remembers that the statement needs the type's domain. */
void rewrite_need_type(struct rewriter *w, const struct type *type);

/* What PostgreSQL calls a function of Redshift: NULL when Redshift has none of that name, the same
 * name when both agree. */
struct function {
    const char *name;
    const char *backend; /* NULL: the same */
    bool leader_only;
};
const struct function *function_find(const char *name);

#endif
