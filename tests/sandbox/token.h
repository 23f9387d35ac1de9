#ifndef SANDBOX_TOKEN_H
#define SANDBOX_TOKEN_H

/*
 * SQL text cut into tokens as Redshift's lexer would cut it. Comments and white space vanish; only
 * "there was a line break before this token" is kept, because SQL joins two literals over one.
 */

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
    TOKEN_WORD,   /* unquoted identifier or keyword */
    TOKEN_QUOTED, /* "identifier" */
    TOKEN_STRING, /* 'literal', raw */
    TOKEN_NUMBER,
    TOKEN_PARAM,    /* $1 */
    TOKEN_OPERATOR, /* a whole run, split by the rules of section 4.1.3 of PostgreSQL's manual */
    TOKEN_MARK,     /* one of ( ) [ ] , ; . : */
    TOKEN_CAST,     /* :: */
};

struct token {
    enum token_kind kind;
    const char *at; /* inside the statement's text */
    size_t size;
    bool after_newline;
    /* WORD: lower case. QUOTED: without quotes, doubled quotes made single, case kept. Not cut.
     * Otherwise empty. Owned by the list. */
    char *name;
    size_t name_size;
};

struct token_list {
    struct token *at;
    size_t count;
    /* What the lexer refused, if anything: SQLSTATE and message. */
    char sqlstate[6];
    char message[256];
};

/* Cuts the text; false when the lexer refuses it. The text must outlive the list. */
bool token_list_read(struct token_list *list, const char *sql, size_t size);
void token_list_done(struct token_list *list);

/* Is this the unquoted word (given in lower case), this mark, this operator? NULL is never. */
bool token_is_word(const struct token *token, const char *word);
bool token_is_mark(const struct token *token, char mark);
bool token_is_operator(const struct token *token, const char *op);

#endif
