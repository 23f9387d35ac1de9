/*
 * Redshift's statements. In come the tokens of one statement, out goes a plan: what PostgreSQL is
 * to run, what the session has to do around it, or the refusal. Each statement is read by its
 * grammar in the Database Developer Guide, so a clause that is not there ends as a syntax error.
 * Pure.
 */
#include "sandbox/statement.h"

#include "sandbox/rewrite.h"
#include "sandbox/setting.h"

#include <stdlib.h>
#include <string.h>

typedef bool read_fn(struct rewriter *w);

static void set_tag(struct rewriter *w, const char *tag)
{
    text_format(w->st->tag, sizeof w->st->tag, "%s", tag);
}

static bool refuse_feature(struct rewriter *w, const char *what)
{
    return rewrite_refuse(w, "0A000", "%s is not supported", what);
}

/* ------------------------------------------------------------------------------- queries */

/* The leader's functions cannot be evaluated where tables lie. */
static bool check_leader(struct rewriter *w)
{
    if (w->leader_only_function && w->user_table) {
        return rewrite_refuse(w, "0A000",
                              "Specified types or functions (one per INFO message) not supported "
                              "on Amazon Redshift tables.");
    }
    return true;
}

static bool read_query(struct rewriter *w)
{
    w->st->kind = STATEMENT_QUERY;
    return rewrite_expression(w, w->count) && check_leader(w);
}

/* WITH ... before a SELECT, UPDATE or DELETE: the word after the last common table expression. */
static const char *word_after_with(const struct rewriter *w)
{
    size_t i = w->at + 1;

    while (i < w->count) {
        if (token_is_mark(&w->tokens[i], '(')) {
            i = rewrite_closing(w, i) + 1;
            if (i < w->count && w->tokens[i].kind == TOKEN_WORD &&
                !token_is_word(&w->tokens[i], "as")) {
                return w->tokens[i].name;
            }
        } else {
            i++;
        }
    }
    return "";
}

static bool read_with(struct rewriter *w)
{
    const char *word = word_after_with(w);

    if (strcmp(word, "select") == 0 || strcmp(word, "") == 0) {
        return read_query(w);
    }
    return rewrite_refuse(w, "42601", "syntax error at or near \"%s\"", word);
}

static bool read_explain(struct rewriter *w)
{
    w->at++;
    rewrite_put(w, "EXPLAIN");
    if (rewrite_take_word(w, "verbose")) {
        rewrite_put(w, "VERBOSE");
    }
    if (!rewrite_is_word(w, 0, "select") && !rewrite_is_word(w, 0, "with")) {
        return rewrite_refuse_here(w);
    }
    return read_query(w);
}

/* ------------------------------------------------------------------------------- changes */

/* Reads the changed table, writes it, and keeps its SQL for the lock. */
static bool read_target(struct rewriter *w, char full[IDENT_FULL_MAX + 1])
{
    size_t start = w->out->len;

    w->st->kind = STATEMENT_CHANGE;
    w->user_table = true;
    if (!rewrite_relation(w, full)) {
        return false;
    }
    bytes_put(&w->st->target, w->out->at + start, w->out->len - start);
    return true;
}

/* VALUES (...), (...): several rows must not hold subqueries. */
static bool check_values(struct rewriter *w)
{
    size_t rows = 0;
    bool has_query = false;

    for (size_t i = w->at + 1; i < w->count; i++) {
        if (token_is_mark(&w->tokens[i], '(')) {
            size_t close = rewrite_closing(w, i);
            for (size_t k = i; k < close; k++) {
                has_query |= token_is_word(&w->tokens[k], "select");
            }
            rows++;
            i = close;
        } else if (!token_is_mark(&w->tokens[i], ',')) {
            w->at = i;
            return rewrite_refuse_here(w);
        }
    }
    return rows > 1 && has_query
               ? rewrite_refuse(w, "0A000", "subqueries are not supported in multi-row VALUES")
               : true;
}

static bool read_insert(struct rewriter *w)
{
    w->at++;
    rewrite_put(w, "INSERT INTO");
    if (!rewrite_expect_word(w, "into") || !read_target(w, NULL)) {
        return false;
    }
    if (rewrite_is_mark(w, 0, '(') && !rewrite_is_word(w, 1, "select") &&
        !rewrite_is_word(w, 1, "with") && !rewrite_name_list(w)) {
        return false;
    }
    if (rewrite_is_word(w, 0, "default") && rewrite_is_word(w, 1, "values")) {
        rewrite_put(w, "DEFAULT VALUES");
        w->at += 2;
        return rewrite_expect_end(w);
    }
    if (rewrite_is_word(w, 0, "values")) {
        if (!check_values(w)) {
            return false;
        }
        w->allows_values = true;
        rewrite_put(w, "VALUES");
        w->at++;
    } else if (!rewrite_is_word(w, 0, "select") && !rewrite_is_word(w, 0, "with") &&
               !rewrite_is_mark(w, 0, '(')) {
        return rewrite_refuse_here(w);
    }
    return rewrite_expression(w, w->count) && check_leader(w);
}

/* UPDATE t [[AS] alias] SET column = expression, ... [FROM ...] [WHERE ...] */
static bool read_update(struct rewriter *w)
{
    w->at++;
    rewrite_put(w, "UPDATE");
    if (!read_target(w, NULL)) {
        return false;
    }
    if (rewrite_take_word(w, "as") || !rewrite_is_word(w, 0, "set")) {
        rewrite_put(w, "AS");
        if (!rewrite_name(w, NULL)) {
            return false;
        }
    }
    if (!rewrite_expect_word(w, "set")) {
        return false;
    }
    rewrite_put(w, "SET");
    if (rewrite_is_mark(w, 0, '(')) {
        return rewrite_refuse_here(w);
    }
    return rewrite_expression(w, w->count) && check_leader(w);
}

/* DELETE [FROM] t [USING ...] [WHERE ...]; FROM may not be left out when USING is there. */
static bool read_delete(struct rewriter *w)
{
    w->at++;
    bool has_from = rewrite_take_word(w, "from");
    rewrite_put(w, "DELETE FROM");
    if (!read_target(w, NULL)) {
        return false;
    }
    bool is_using = rewrite_is_word(w, 0, "using");
    if ((is_using && !has_from) ||
        (!rewrite_at_end(w) && !is_using && !rewrite_is_word(w, 0, "where"))) {
        return rewrite_refuse_here(w);
    }
    return rewrite_expression(w, w->count) && check_leader(w);
}

/* ------------------------------------------------------------------------------- MERGE */

/* The end of a condition or list: the next WHEN (or REMOVE) outside parentheses and CASE. */
static size_t find_when(const struct rewriter *w)
{
    size_t depth = 0;

    for (size_t i = w->at; i < w->count; i++) {
        const struct token *token = &w->tokens[i];
        if (token_is_mark(token, '(') || token_is_word(token, "case")) {
            depth++;
        } else if (token_is_mark(token, ')') || token_is_word(token, "end")) {
            depth -= depth > 0 ? 1 : 0;
        } else if (depth == 0 && (token_is_word(token, "when") || token_is_word(token, "remove"))) {
            return i;
        }
    }
    return w->count;
}

/* Equality predicates joined by AND, nothing else. */
static bool check_merge_condition(struct rewriter *w, size_t end)
{
    bool has_equality = false;
    static const char *const words[] = {"or",      "not",  "in",     "is",   "like", "between",
                                        "similar", "case", "select", "true", "false"};

    for (size_t i = w->at; i < end; i++) {
        const struct token *token = &w->tokens[i];
        bool refused = token->kind == TOKEN_OPERATOR && !token_is_operator(token, "=");
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
            refused |= token_is_word(token, words[k]);
        }
        if (refused) {
            return rewrite_refuse(w, "0A000",
                                  "MERGE condition must consist of equality predicates");
        }
        has_equality |= token_is_operator(token, "=");
    }
    return has_equality
               ? true
               : rewrite_refuse(w, "0A000", "MERGE condition must have an equality predicate");
}

/* WHEN MATCHED THEN { UPDATE SET ... | DELETE } */
static bool read_when_matched(struct rewriter *w)
{
    if (!rewrite_expect_word(w, "when") || !rewrite_expect_word(w, "matched") ||
        !rewrite_expect_word(w, "then")) {
        return false;
    }
    rewrite_put(w, "WHEN MATCHED THEN");
    if (rewrite_take_word(w, "delete")) {
        rewrite_put(w, "DELETE");
        return rewrite_is_word(w, 0, "when") ? true : rewrite_refuse_here(w);
    }
    if (!rewrite_expect_word(w, "update") || !rewrite_expect_word(w, "set")) {
        return false;
    }
    rewrite_put(w, "UPDATE SET");
    if (rewrite_is_mark(w, 0, '(')) {
        return rewrite_refuse_here(w);
    }
    return rewrite_expression(w, find_when(w));
}

/* WHEN NOT MATCHED THEN INSERT [(columns)] VALUES (...) */
static bool read_when_not_matched(struct rewriter *w)
{
    static const char *const words[] = {"when", "not", "matched", "then", "insert"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!rewrite_expect_word(w, words[i])) {
            return false;
        }
    }
    rewrite_put(w, "WHEN NOT MATCHED THEN INSERT");
    if (rewrite_is_mark(w, 0, '(') && !rewrite_name_list(w)) {
        return false;
    }
    if (!rewrite_expect_word(w, "values") || !rewrite_is_mark(w, 0, '(')) {
        return rewrite_refuse_here(w);
    }
    rewrite_put(w, "VALUES");
    size_t end = rewrite_closing(w, w->at) + 1;
    return rewrite_expression(w, end < w->count ? end : w->count) && rewrite_expect_end(w);
}

/* REMOVE DUPLICATES: matched rows of the target give way to those of the source. PostgreSQL gets a
 * DELETE and, as the second statement, an INSERT of all source rows. */
static bool read_remove_duplicates(struct rewriter *w, size_t using_start, size_t using_end)
{
    struct bytes statement = {0};
    struct statement *st = w->st;
    const char *rest = "USING";

    if (!rewrite_expect_word(w, "remove") || !rewrite_expect_word(w, "duplicates") ||
        !rewrite_expect_end(w)) {
        return false;
    }
    bytes_text(&st->sql);
    bytes_put_text(&statement, "DELETE FROM");
    bytes_put(&statement, st->target.at, st->target.len);
    bytes_printf(&statement, " %s", rest);
    const char *on = strstr(st->sql.at + using_end, " ON ");
    bytes_put(&statement, st->sql.at + using_start, using_end - using_start);
    bytes_printf(&statement, " WHERE %s", on != NULL ? on + 4 : "true");
    bytes_put_text(&st->after, "INSERT INTO");
    bytes_put(&st->after, st->target.at, st->target.len);
    bytes_put_text(&st->after, " SELECT * FROM");
    bytes_put(&st->after, st->sql.at + using_start, using_end - using_start);
    bytes_done(&st->sql);
    st->sql = statement;
    return true;
}

static bool read_merge(struct rewriter *w)
{
    char target[IDENT_FULL_MAX + 1];
    char source[IDENT_FULL_MAX + 1];

    w->at++;
    set_tag(w, "MERGE");
    rewrite_put(w, "MERGE INTO");
    if (!rewrite_expect_word(w, "into") || !read_target(w, target)) {
        return false;
    }
    if (!rewrite_expect_word(w, "using")) { /* an alias of the target ends here */
        return false;
    }
    rewrite_put(w, "USING");
    size_t using_start = w->out->len;
    if (rewrite_is_mark(w, 0, '(')) {
        size_t end = rewrite_closing(w, w->at) + 1;
        if (!rewrite_is_word(w, 1, "select") || end > w->count) {
            return rewrite_refuse_here(w);
        }
        for (size_t i = w->at; i < end; i++) {
            if (w->tokens[i].name != NULL && strcmp(w->tokens[i].name, target) == 0 &&
                (token_is_word(&w->tokens[i - 1], "from") ||
                 token_is_word(&w->tokens[i - 1], "join") ||
                 token_is_mark(&w->tokens[i - 1], '.'))) {
                return rewrite_refuse(w, "0A000",
                                      "Source view/subquery in Merge statement cannot "
                                      "reference target table.");
            }
        }
        if (!rewrite_expression(w, end)) {
            return false;
        }
    } else if (!rewrite_relation(w, source)) {
        return false;
    }
    if (!rewrite_is_word(w, 0, "on")) {
        (void)rewrite_take_word(w, "as");
        rewrite_put(w, "AS");
        if (!rewrite_name(w, NULL)) {
            return false;
        }
    }
    size_t using_end = w->out->len;
    if (!rewrite_expect_word(w, "on")) {
        return false;
    }
    rewrite_put(w, "ON");
    size_t end = find_when(w);
    if (!check_merge_condition(w, end) || !rewrite_expression(w, end)) {
        return false;
    }
    if (rewrite_is_word(w, 0, "remove")) {
        return read_remove_duplicates(w, using_start, using_end);
    }
    return read_when_matched(w) && read_when_not_matched(w) && check_leader(w);
}

/* ------------------------------------------------------------------------------- CREATE TABLE */

static const char *const system_columns[] = {"oid",  "tableoid", "xmin", "cmin",
                                             "xmax", "cmax",     "ctid"};

static bool check_column_name(struct rewriter *w, const char *name)
{
    for (size_t i = 0; i < sizeof system_columns / sizeof system_columns[0]; i++) {
        if (strcmp(name, system_columns[i]) == 0) {
            return rewrite_refuse(w, "42701",
                                  "column name \"%s\" conflicts with a system column name", name);
        }
    }
    return true;
}

/* Writes the column's name and type. */
static bool read_column_head(struct rewriter *w, char name[IDENT_FULL_MAX + 1], struct type *type)
{
    if (!rewrite_name(w, name) || !check_column_name(w, name) ||
        !rewrite_read_type(w, type, true)) {
        return false;
    }
    rewrite_need_type(w, type);
    rewrite_put(w, type->sql);
    return true;
}

/* The end of a DEFAULT expression: a comma or closing parenthesis outside parentheses, or the word
 * that begins the next attribute. */
static size_t find_default_end(const struct rewriter *w)
{
    static const char *const attributes[] = {
        "encode",  "distkey", "sortkey",  "not",       "null",    "unique",    "references",
        "primary", "check",   "identity", "generated", "collate", "constraint"};
    size_t depth = 0;

    for (size_t i = w->at; i < w->count; i++) {
        const struct token *token = &w->tokens[i];
        if (token_is_mark(token, '(')) {
            depth++;
        } else if (token_is_mark(token, ')')) {
            if (depth == 0) {
                return i;
            }
            depth--;
        } else if (depth == 0 && token_is_mark(token, ',')) {
            return i;
        } else if (depth == 0 && i > w->at) {
            for (size_t k = 0; k < sizeof attributes / sizeof attributes[0]; k++) {
                if (token_is_word(token, attributes[k])) {
                    return i;
                }
            }
        }
    }
    return w->count;
}

/* (seed, step) of an identity column. */
static bool read_identity(struct rewriter *w)
{
    const struct token *seed = rewrite_peek(w, 1);
    const struct token *step = rewrite_peek(w, 3);

    if (!rewrite_is_mark(w, 0, '(') || seed == NULL || seed->kind != TOKEN_NUMBER ||
        !rewrite_is_mark(w, 2, ',') || step == NULL || step->kind != TOKEN_NUMBER ||
        !rewrite_is_mark(w, 4, ')')) {
        return rewrite_refuse_here(w);
    }
    bytes_printf(w->out, " GENERATED BY DEFAULT AS IDENTITY (START %.*s INCREMENT %.*s)",
                 (int)seed->size, seed->at, (int)step->size, step->at);
    w->at += 5;
    return true;
}

/* REFERENCES t [(c)], read and dropped. */
static bool skip_references(struct rewriter *w)
{
    char name[IDENT_FULL_MAX + 1];

    do {
        if (!rewrite_read_name(w, name)) {
            return false;
        }
    } while (rewrite_take_mark(w, '.'));
    if (rewrite_is_mark(w, 0, '(')) {
        w->at = rewrite_closing(w, w->at);
        return rewrite_expect_mark(w, ')');
    }
    return true;
}

static void put_mark_row(struct bytes *marks, const char *column, const char *mark)
{
    char backend[IDENT_BACKEND_MAX + 1];

    ident_backend(column, backend);
    if (marks->len > 0) {
        bytes_put_text(marks, ", ");
    }
    bytes_put_char(marks, '(');
    bytes_put_literal(marks, backend);
    bytes_printf(marks, ", '%s')", mark);
}

/* One attribute behind a column's type; *found tells whether there was one. */
static bool read_attribute(struct rewriter *w, const char *column, struct bytes *marks, bool *found)
{
    *found = true;
    if (rewrite_take_word(w, "default")) {
        rewrite_put(w, "DEFAULT");
        return rewrite_expression(w, find_default_end(w));
    }
    if (rewrite_take_word(w, "encode")) {
        if (rewrite_peek(w, 0) == NULL || rewrite_peek(w, 0)->kind != TOKEN_WORD) {
            return rewrite_refuse_here(w);
        }
        w->at++;
        return true;
    }
    if (rewrite_take_word(w, "distkey")) {
        put_mark_row(marks, column, "distkey");
        return true;
    }
    if (rewrite_take_word(w, "sortkey")) {
        put_mark_row(marks, column, "sortkey");
        return true;
    }
    if (rewrite_take_word(w, "not")) {
        rewrite_put(w, "NOT NULL");
        return rewrite_expect_word(w, "null");
    }
    if (rewrite_take_word(w, "null")) {
        return true;
    }
    if (rewrite_take_word(w, "unique")) {
        put_mark_row(marks, column, "key");
        return true;
    }
    if (rewrite_take_word(w, "primary")) {
        put_mark_row(marks, column, "key");
        rewrite_put(w, "NOT NULL");
        return rewrite_expect_word(w, "key");
    }
    if (rewrite_take_word(w, "references")) {
        put_mark_row(marks, column, "key");
        return skip_references(w);
    }
    if (rewrite_take_word(w, "identity")) {
        return read_identity(w);
    }
    if (rewrite_take_word(w, "generated")) {
        return rewrite_expect_word(w, "by") && rewrite_expect_word(w, "default") &&
               rewrite_expect_word(w, "as") && rewrite_expect_word(w, "identity") &&
               read_identity(w);
    }
    if (rewrite_is_word(w, 0, "check") || rewrite_is_word(w, 0, "exclude")) {
        return refuse_feature(w, "this kind of constraint");
    }
    *found = false;
    return true;
}

/* Names in parentheses, each of which gets the mark. */
static bool read_marked_names(struct rewriter *w, struct bytes *marks, const char *mark)
{
    char name[IDENT_FULL_MAX + 1];

    if (!rewrite_expect_mark(w, '(')) {
        return false;
    }
    do {
        if (!rewrite_read_name(w, name)) {
            return false;
        }
        put_mark_row(marks, name, mark);
    } while (rewrite_take_mark(w, ','));
    return rewrite_expect_mark(w, ')');
}

static bool is_table_constraint(const struct rewriter *w)
{
    return rewrite_is_word(w, 0, "constraint") ||
           (rewrite_is_word(w, 0, "primary") && rewrite_is_word(w, 1, "key")) ||
           (rewrite_is_word(w, 0, "unique") && rewrite_is_mark(w, 1, '(')) ||
           (rewrite_is_word(w, 0, "foreign") && rewrite_is_word(w, 1, "key")) ||
           (rewrite_is_word(w, 0, "check") && rewrite_is_mark(w, 1, '(')) ||
           rewrite_is_word(w, 0, "exclude");
}

/* [CONSTRAINT name] PRIMARY KEY (...) | UNIQUE (...) | FOREIGN KEY (...) REFERENCES ...: for the
 * planner only, so nothing is written. */
static bool read_table_constraint(struct rewriter *w, struct bytes *marks)
{
    char name[IDENT_FULL_MAX + 1];

    if (rewrite_take_word(w, "constraint") && !rewrite_read_name(w, name)) {
        return false;
    }
    if (rewrite_take_word(w, "primary")) {
        return rewrite_expect_word(w, "key") && read_marked_names(w, marks, "key");
    }
    if (rewrite_take_word(w, "unique")) {
        return read_marked_names(w, marks, "key");
    }
    if (rewrite_take_word(w, "foreign")) {
        return rewrite_expect_word(w, "key") && read_marked_names(w, marks, "key") &&
               rewrite_expect_word(w, "references") && skip_references(w);
    }
    return refuse_feature(w, "this kind of constraint");
}

static bool read_like(struct rewriter *w)
{
    rewrite_put(w, "LIKE");
    if (!rewrite_relation(w, NULL)) {
        return false;
    }
    if (rewrite_is_word(w, 0, "including") || rewrite_is_word(w, 0, "excluding")) {
        bool including = rewrite_is_word(w, 0, "including");
        w->at++;
        if (!rewrite_expect_word(w, "defaults")) {
            return false;
        }
        rewrite_put(w, including ? "INCLUDING DEFAULTS" : "EXCLUDING DEFAULTS");
    }
    return true;
}

static bool read_column(struct rewriter *w, struct bytes *marks)
{
    char name[IDENT_FULL_MAX + 1];
    struct type type;
    bool found = true;

    if (!read_column_head(w, name, &type)) {
        return false;
    }
    while (found) {
        if (!read_attribute(w, name, marks, &found)) {
            return false;
        }
    }
    return true;
}

static bool read_table_elements(struct rewriter *w, struct bytes *marks, bool *is_like)
{
    bool is_first = true;

    if (!rewrite_expect_mark(w, '(')) {
        return false;
    }
    rewrite_put(w, "(");
    do {
        if (is_table_constraint(w)) {
            if (is_first || !read_table_constraint(w, marks)) {
                return rewrite_refuse_here(w);
            }
            continue;
        }
        if (!is_first) {
            rewrite_put(w, ",");
        }
        is_first = false;
        if (rewrite_take_word(w, "like")) {
            *is_like = true;
            if (!read_like(w)) {
                return false;
            }
        } else if (!read_column(w, marks)) {
            return false;
        }
    } while (rewrite_take_mark(w, ','));
    rewrite_put(w, ")");
    return rewrite_expect_mark(w, ')');
}

/* DISTSTYLE, DISTKEY, SORTKEY, ENCODE AUTO, BACKUP: about the cluster, so read and dropped. */
static bool read_table_attribute(struct rewriter *w, struct bytes *marks, bool *found)
{
    *found = true;
    if (rewrite_take_word(w, "backup")) {
        return rewrite_take_word(w, "yes") || rewrite_take_word(w, "no") || rewrite_refuse_here(w);
    }
    if (rewrite_take_word(w, "diststyle")) {
        return rewrite_take_word(w, "auto") || rewrite_take_word(w, "even") ||
               rewrite_take_word(w, "key") || rewrite_take_word(w, "all") || rewrite_refuse_here(w);
    }
    if (rewrite_take_word(w, "distkey")) {
        return read_marked_names(w, marks, "distkey");
    }
    if (rewrite_take_word(w, "compound") || rewrite_take_word(w, "interleaved")) {
        return rewrite_expect_word(w, "sortkey") && read_marked_names(w, marks, "sortkey");
    }
    if (rewrite_take_word(w, "sortkey")) {
        return rewrite_take_word(w, "auto") || read_marked_names(w, marks, "sortkey");
    }
    if (rewrite_take_word(w, "encode")) {
        return rewrite_expect_word(w, "auto");
    }
    *found = false;
    return true;
}

/* The statement that records keys, run after the table is there. */
static void put_marks_statement(struct rewriter *w, const struct bytes *table, struct bytes *marks)
{
    if (marks->len == 0) {
        return;
    }
    struct bytes name = {0};
    bytes_put(&name, table->at, table->len);
    bytes_text(&name);
    bytes_put_text(&w->st->after,
                   "INSERT INTO redshift_sys.column_marks SELECT a.attrelid, "
                   "a.attnum, m.mark FROM pg_catalog.pg_attribute AS a JOIN (VALUES ");
    bytes_put(&w->st->after, marks->at, marks->len);
    bytes_put_text(&w->st->after, ") AS m (name, mark) ON a.attname = m.name WHERE a.attrelid = ");
    bytes_put_literal(&w->st->after, name.at + (name.at[0] == ' '));
    bytes_put_text(&w->st->after, "::regclass");
    bytes_done(&name);
}

static bool read_table_body(struct rewriter *w, struct bytes *marks)
{
    bool is_like = false;
    bool found = true;

    if (rewrite_is_mark(w, 0, '(') && !rewrite_is_word(w, 1, "select")) {
        if (!read_table_elements(w, marks, &is_like)) {
            return false;
        }
    }
    while (found) {
        size_t before = marks->len;
        if (!read_table_attribute(w, marks, &found)) {
            return false;
        }
        if (is_like && marks->len > before) {
            return refuse_feature(w, "LIKE with distribution or sort keys");
        }
    }
    if (rewrite_take_word(w, "as")) {
        rewrite_put(w, "AS");
        bool ok = rewrite_expression(w, w->count) && check_leader(w);
        set_tag(w, "SELECT");
        return ok;
    }
    return rewrite_expect_end(w);
}

static bool read_create_table(struct rewriter *w, bool temporary)
{
    struct bytes marks = {0};

    set_tag(w, "CREATE TABLE");
    rewrite_put(w, temporary ? "CREATE TEMPORARY TABLE" : "CREATE TABLE");
    if (rewrite_take_word(w, "if")) {
        if (!rewrite_expect_word(w, "not") || !rewrite_expect_word(w, "exists")) {
            return false;
        }
        rewrite_put(w, "IF NOT EXISTS");
    }
    if (temporary && rewrite_is_mark(w, 1, '.')) {
        return rewrite_refuse(w, "42P16", "cannot create temporary relation in a schema");
    }
    size_t start = w->out->len;
    struct bytes table = {0};
    bool ok = rewrite_relation(w, NULL);
    if (ok) {
        bytes_put(&table, w->out->at + start, w->out->len - start);
        ok = read_table_body(w, &marks);
    }
    if (ok && !temporary) { /* a staging table is not altered, and there are many of them */
        put_marks_statement(w, &table, &marks);
    }
    bytes_done(&table);
    bytes_done(&marks);
    return ok;
}

/* ------------------------------------------------------------------------------- CREATE, DROP */

static bool read_create_schema(struct rewriter *w)
{
    set_tag(w, "CREATE SCHEMA");
    rewrite_put(w, "CREATE SCHEMA");
    if (rewrite_take_word(w, "if")) {
        if (!rewrite_expect_word(w, "not") || !rewrite_expect_word(w, "exists")) {
            return false;
        }
        rewrite_put(w, "IF NOT EXISTS");
    }
    if (!rewrite_name(w, NULL)) {
        return false;
    }
    if (rewrite_take_word(w, "authorization")) {
        rewrite_put(w, "AUTHORIZATION");
        if (!rewrite_name(w, NULL)) {
            return false;
        }
    }
    return rewrite_expect_end(w);
}

static bool read_create_view(struct rewriter *w, bool replace)
{
    set_tag(w, "CREATE VIEW");
    rewrite_put(w, replace ? "CREATE OR REPLACE VIEW" : "CREATE VIEW");
    if (!rewrite_relation(w, NULL) || (rewrite_is_mark(w, 0, '(') && !rewrite_name_list(w)) ||
        !rewrite_expect_word(w, "as")) {
        return false;
    }
    rewrite_put(w, "AS");
    return rewrite_expression(w, w->count) && check_leader(w);
}

static bool read_create(struct rewriter *w)
{
    w->at++;
    w->st->kind = STATEMENT_DEFINE;
    if (rewrite_take_word(w, "schema")) {
        return read_create_schema(w);
    }
    if (rewrite_is_word(w, 0, "or") && rewrite_is_word(w, 1, "replace") &&
        rewrite_is_word(w, 2, "view")) {
        w->at += 3;
        return read_create_view(w, true);
    }
    if (rewrite_take_word(w, "view")) {
        return read_create_view(w, false);
    }
    bool local = rewrite_take_word(w, "local");
    bool temporary = rewrite_take_word(w, "temp") || rewrite_take_word(w, "temporary");
    if ((local && !temporary) || !rewrite_take_word(w, "table")) {
        return rewrite_refuse_here(w);
    }
    return read_create_table(w, temporary);
}

static bool read_drop(struct rewriter *w)
{
    static const char *const kinds[] = {"table", "schema", "view"};
    static const char *const tags[] = {"DROP TABLE", "DROP SCHEMA", "DROP VIEW"};
    size_t kind = 0;

    w->at++;
    w->st->kind = STATEMENT_DEFINE;
    while (kind < 3 && !rewrite_take_word(w, kinds[kind])) {
        kind++;
    }
    if (kind == 3) {
        return rewrite_refuse_here(w);
    }
    set_tag(w, tags[kind]);
    rewrite_put(w, tags[kind]);
    if (rewrite_take_word(w, "if")) {
        if (!rewrite_expect_word(w, "exists")) {
            return false;
        }
        rewrite_put(w, "IF EXISTS");
    }
    do {
        if (!rewrite_relation(w, NULL)) {
            return false;
        }
        if (rewrite_is_mark(w, 0, ',')) {
            rewrite_put(w, ",");
        }
    } while (rewrite_take_mark(w, ','));
    if (rewrite_take_word(w, "cascade")) {
        rewrite_put(w, "CASCADE");
    } else {
        (void)rewrite_take_word(w, "restrict");
    }
    return rewrite_expect_end(w);
}

/* ------------------------------------------------------------------------------- ALTER TABLE */

static bool read_add_column(struct rewriter *w)
{
    struct bytes marks = {0};

    (void)rewrite_take_word(w, "column");
    if (rewrite_is_word(w, 0, "if")) {
        return rewrite_refuse_here(w);
    }
    rewrite_put(w, "ADD COLUMN");
    bool ok = read_column(w, &marks);
    if (ok && marks.len > 0) {
        ok = refuse_feature(w, "ALTER TABLE ADD COLUMN with a key or constraint");
    }
    bytes_done(&marks);
    if (ok && rewrite_is_mark(w, 0, ',')) {
        return rewrite_refuse_here(w); /* one column per statement */
    }
    return ok && rewrite_expect_end(w);
}

static bool read_drop_column(struct rewriter *w)
{
    (void)rewrite_take_word(w, "column");
    if (rewrite_is_word(w, 0, "if") || rewrite_is_word(w, 0, "constraint")) {
        return rewrite_refuse_here(w);
    }
    rewrite_put(w, "DROP COLUMN");
    if (!rewrite_name(w, w->st->column)) {
        return false;
    }
    if (rewrite_take_word(w, "cascade")) {
        rewrite_put(w, "CASCADE");
    } else {
        (void)rewrite_take_word(w, "restrict");
    }
    return rewrite_expect_end(w);
}

static bool read_rename(struct rewriter *w)
{
    char name[IDENT_FULL_MAX + 1];

    if (rewrite_take_word(w, "to")) {
        rewrite_put(w, "RENAME TO");
        return rewrite_name(w, NULL) && rewrite_expect_end(w);
    }
    (void)rewrite_take_word(w, "column");
    rewrite_put(w, "RENAME COLUMN");
    if (!rewrite_name(w, NULL) || !rewrite_expect_word(w, "to")) {
        return false;
    }
    rewrite_put(w, "TO");
    return rewrite_name(w, name) && check_column_name(w, name) && rewrite_expect_end(w);
}

/* ALTER COLUMN c TYPE VARCHAR(n): only the size of a VARCHAR. */
static bool read_alter_column(struct rewriter *w)
{
    struct type type;

    (void)rewrite_take_word(w, "column");
    rewrite_put(w, "ALTER COLUMN");
    if (!rewrite_name(w, w->st->column)) {
        return false;
    }
    if (!rewrite_expect_word(w, "type") || !rewrite_read_type(w, &type, true) ||
        !rewrite_expect_end(w)) {
        return false;
    }
    if (type.kind != TYPE_VARCHAR) {
        return rewrite_refuse(w, "0A000",
                              "ALTER COLUMN TYPE is only supported for the size of VARCHAR");
    }
    rewrite_need_type(w, &type);
    rewrite_put(w, "TYPE");
    rewrite_put(w, type.sql);
    w->st->kind = STATEMENT_ALTER_TYPE;
    w->st->length = type.length;
    w->st->alone = true;
    return true;
}

/* ADD [CONSTRAINT name] ...: accepted, not enforced. */
static bool read_add_constraint(struct rewriter *w)
{
    struct bytes marks = {0};
    bool ok = read_table_constraint(w, &marks) && rewrite_expect_end(w);

    bytes_done(&marks);
    w->st->kind = STATEMENT_NOTHING;
    return ok;
}

static bool read_alter(struct rewriter *w)
{
    w->at++;
    w->st->kind = STATEMENT_DEFINE;
    set_tag(w, "ALTER TABLE");
    rewrite_put(w, "ALTER TABLE");
    if (!rewrite_expect_word(w, "table") || rewrite_is_word(w, 0, "if") ||
        rewrite_is_word(w, 0, "only")) {
        return rewrite_refuse_here(w);
    }
    size_t start = w->out->len;
    if (!rewrite_relation(w, NULL)) {
        return false;
    }
    bytes_put(&w->st->target, w->out->at + start, w->out->len - start);
    if (rewrite_take_word(w, "add")) {
        return is_table_constraint(w) ? read_add_constraint(w) : read_add_column(w);
    }
    if (rewrite_take_word(w, "drop")) {
        return read_drop_column(w);
    }
    if (rewrite_take_word(w, "rename")) {
        return read_rename(w);
    }
    if (rewrite_take_word(w, "alter")) {
        return read_alter_column(w);
    }
    if (rewrite_is_word(w, 0, "owner") && rewrite_is_word(w, 1, "to")) {
        w->at += 2;
        rewrite_put(w, "OWNER TO");
        return rewrite_name(w, NULL) && rewrite_expect_end(w);
    }
    return rewrite_refuse_here(w);
}

/* ------------------------------------------------------------------------------- other DDL */

static bool read_comment(struct rewriter *w)
{
    static const char *const kinds[] = {"table", "column", "view", "database", "constraint"};
    static const char *const words[] = {"TABLE", "COLUMN", "VIEW", "DATABASE", "CONSTRAINT"};
    size_t kind = 0;

    w->at++;
    w->st->kind = STATEMENT_OTHER;
    set_tag(w, "COMMENT");
    rewrite_put(w, "COMMENT ON");
    if (!rewrite_expect_word(w, "on")) {
        return false;
    }
    while (kind < 5 && !rewrite_take_word(w, kinds[kind])) {
        kind++;
    }
    if (kind == 5) {
        return rewrite_refuse_here(w);
    }
    if (kind == 4) {
        w->st->kind = STATEMENT_NOTHING; /* there are no constraints to comment on */
        return true;
    }
    rewrite_put(w, words[kind]);
    if (!rewrite_name(w, NULL)) {
        return false;
    }
    while (rewrite_take_mark(w, '.')) {
        rewrite_put(w, ".");
        if (!rewrite_name(w, NULL)) {
            return false;
        }
    }
    if (!rewrite_expect_word(w, "is")) {
        return false;
    }
    rewrite_put(w, "IS");
    const struct token *text = rewrite_peek(w, 0);
    if (text == NULL || (text->kind != TOKEN_STRING && !token_is_word(text, "null"))) {
        return rewrite_refuse_here(w);
    }
    return rewrite_expression(w, w->count);
}

static bool read_grant(struct rewriter *w)
{
    bool is_grant = rewrite_is_word(w, 0, "grant");
    const struct token *name;

    w->st->kind = STATEMENT_OTHER;
    set_tag(w, is_grant ? "GRANT" : "REVOKE");
    for (size_t i = 1; (name = rewrite_peek(w, i)) != NULL; i++) {
        if (name->kind != TOKEN_WORD && name->kind != TOKEN_QUOTED && !token_is_mark(name, ',') &&
            !token_is_mark(name, '.')) {
            w->at += i;
            return rewrite_refuse_here(w);
        }
    }
    while (!rewrite_at_end(w)) {
        if (rewrite_is_mark(w, 0, ',') || rewrite_is_mark(w, 0, '.')) {
            rewrite_put(w, rewrite_is_mark(w, 0, ',') ? "," : ".");
            w->at++;
        } else if (!rewrite_name(w, NULL)) {
            return false;
        }
    }
    return true;
}

static bool read_truncate(struct rewriter *w)
{
    w->at++;
    (void)rewrite_take_word(w, "table");
    w->st->kind = STATEMENT_TRUNCATE;
    set_tag(w, "TRUNCATE TABLE");
    rewrite_put(w, "TRUNCATE TABLE");
    return rewrite_relation(w, NULL) && rewrite_expect_end(w);
}

static bool read_lock(struct rewriter *w)
{
    w->at++;
    (void)rewrite_take_word(w, "table");
    w->st->kind = STATEMENT_LOCK;
    set_tag(w, "LOCK TABLE");
    rewrite_put(w, "LOCK TABLE");
    do {
        if (!rewrite_relation(w, NULL)) {
            return false;
        }
        if (rewrite_is_mark(w, 0, ',')) {
            rewrite_put(w, ",");
        }
    } while (rewrite_take_mark(w, ','));
    rewrite_put(w, "IN ACCESS EXCLUSIVE MODE");
    return rewrite_expect_end(w);
}

/* ANALYZE and VACUUM do nothing for us, but their grammar and place are checked. */
static bool read_maintenance(struct rewriter *w)
{
    static const char *const modes[] = {"full", "recluster", "reindex"};
    char name[IDENT_FULL_MAX + 1];
    bool is_vacuum = rewrite_is_word(w, 0, "vacuum");

    w->at++;
    w->st->kind = STATEMENT_NOTHING;
    w->st->alone = is_vacuum;
    set_tag(w, is_vacuum ? "VACUUM" : "ANALYZE");
    if (is_vacuum) {
        if ((rewrite_is_word(w, 0, "sort") || rewrite_is_word(w, 0, "delete")) &&
            rewrite_is_word(w, 1, "only")) {
            w->at += 2;
        }
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            if (rewrite_take_word(w, modes[i])) {
                break;
            }
        }
    }
    if (rewrite_at_end(w)) {
        return true;
    }
    do {
        if (!rewrite_read_name(w, name)) {
            return false;
        }
    } while (rewrite_take_mark(w, '.'));
    return rewrite_expect_end(w);
}

/* ------------------------------------------------------------------------------- transactions */

static void skip_transaction_word(struct rewriter *w)
{
    if (!rewrite_take_word(w, "work")) {
        (void)rewrite_take_word(w, "transaction");
    }
}

static bool skip_isolation_level(struct rewriter *w)
{
    if (!rewrite_expect_word(w, "level")) {
        return false;
    }
    if (rewrite_take_word(w, "serializable") || rewrite_take_word(w, "snapshot")) {
        return true;
    }
    if (rewrite_take_word(w, "read")) {
        return rewrite_take_word(w, "committed") || rewrite_expect_word(w, "uncommitted");
    }
    return rewrite_expect_word(w, "repeatable") && rewrite_expect_word(w, "read");
}

/* BEGIN [ISOLATION LEVEL ...] [READ WRITE | READ ONLY]: the level is accepted and has no effect. */
static bool read_begin(struct rewriter *w)
{
    bool is_start = rewrite_is_word(w, 0, "start");

    w->at++;
    w->st->kind = STATEMENT_BEGIN;
    set_tag(w, is_start ? "START TRANSACTION" : "BEGIN");
    if (is_start && !rewrite_is_word(w, 0, "transaction")) {
        return rewrite_refuse_here(w);
    }
    skip_transaction_word(w);
    rewrite_put(w, "BEGIN");
    while (!rewrite_at_end(w)) {
        if (rewrite_take_word(w, "isolation")) {
            if (!skip_isolation_level(w)) {
                return false;
            }
        } else if (rewrite_take_word(w, "read")) {
            if (rewrite_take_word(w, "only")) {
                rewrite_put(w, "READ ONLY");
            } else if (!rewrite_expect_word(w, "write")) {
                return false;
            }
        } else if (!rewrite_take_mark(w, ',')) {
            return rewrite_refuse_here(w);
        }
    }
    return true;
}

static bool read_end(struct rewriter *w)
{
    bool is_rollback = rewrite_is_word(w, 0, "rollback") || rewrite_is_word(w, 0, "abort");

    w->at++;
    w->st->kind = is_rollback ? STATEMENT_ROLLBACK : STATEMENT_COMMIT;
    set_tag(w, is_rollback ? "ROLLBACK" : "COMMIT");
    skip_transaction_word(w);
    return rewrite_expect_end(w);
}

/* ------------------------------------------------------------------------------- settings */

static char *copy_text(const char *at, size_t size)
{
    char *text = malloc(size + 1);

    if (text == NULL) {
        abort();
    }
    memcpy(text, at, size);
    text[size] = '\0';
    return text;
}

static bool read_setting_name(struct rewriter *w)
{
    char name[IDENT_FULL_MAX + 1];
    const struct token *token = rewrite_peek(w, 0);

    if (token == NULL || (token->kind != TOKEN_WORD && token->kind != TOKEN_QUOTED)) {
        return rewrite_refuse_here(w);
    }
    ident_fold(token->name, token->name_size, true, name);
    w->at++;
    if (strcmp(name, "time") == 0 && rewrite_take_word(w, "zone")) {
        memcpy(name, "timezone", sizeof "timezone");
    }
    if (setting_find(name) == NULL) {
        return rewrite_refuse(w, "42704", "unrecognized configuration parameter \"%s\"", name);
    }
    w->st->setting = copy_text(name, strlen(name));
    return true;
}

/* A literal's content: quotes off, doubled quotes and backslashes undone. */
static void put_literal_content(const struct token *token, struct bytes *out)
{
    for (size_t i = 1; i + 1 < token->size; i++) {
        if ((token->at[i] == '\'' || token->at[i] == '\\') && i + 2 < token->size) {
            i++;
        }
        bytes_put_char(out, token->at[i]);
    }
}

static bool read_setting_value(struct rewriter *w)
{
    struct bytes value = {0};
    const struct token *token;

    if (rewrite_at_end(w)) {
        return rewrite_refuse_here(w);
    }
    if (rewrite_is_word(w, 0, "default") && rewrite_peek(w, 1) == NULL) {
        w->at++;
        return true;
    }
    for (; (token = rewrite_peek(w, 0)) != NULL; w->at++) {
        if (token_is_mark(token, ',')) {
            bytes_put_text(&value, ", ");
        } else if (token->kind == TOKEN_STRING) {
            put_literal_content(token, &value);
        } else if (token->kind == TOKEN_WORD || token->kind == TOKEN_QUOTED) {
            bytes_put(&value, token->name, token->name_size);
        } else if (token->kind == TOKEN_NUMBER || token_is_operator(token, "-") ||
                   token_is_operator(token, "+")) {
            bytes_put(&value, token->at, token->size);
        } else {
            bytes_done(&value);
            return rewrite_refuse_here(w);
        }
    }
    bytes_text(&value);
    w->st->value = value.at;
    return true;
}

static bool read_set(struct rewriter *w)
{
    w->at++;
    w->st->kind = STATEMENT_SET;
    set_tag(w, "SET");
    if (rewrite_is_word(w, 0, "transaction") || rewrite_is_word(w, 0, "constraints")) {
        return rewrite_refuse_here(w);
    }
    if (rewrite_is_word(w, 0, "session") && rewrite_is_word(w, 1, "authorization")) {
        return refuse_feature(w, "SET SESSION AUTHORIZATION");
    }
    if (!rewrite_take_word(w, "session")) {
        (void)rewrite_take_word(w, "local");
    }
    if (!read_setting_name(w)) {
        return false;
    }
    if (strcmp(w->st->setting, "timezone") == 0 && !rewrite_is_word(w, 0, "to") &&
        token_is_operator(rewrite_peek(w, 0), "=") == false) {
        return read_setting_value(w); /* SET TIME ZONE 'UTC' */
    }
    if (!rewrite_take_word(w, "to")) {
        if (!token_is_operator(rewrite_peek(w, 0), "=")) {
            return rewrite_refuse_here(w);
        }
        w->at++;
    }
    if (!read_setting_value(w)) {
        return false;
    }
    char message[256];
    if (w->st->value != NULL &&
        !setting_check(setting_find(w->st->setting), w->st->value, message, sizeof message)) {
        return rewrite_refuse(w, "22023", "%s", message);
    }
    return true;
}

static bool read_show(struct rewriter *w)
{
    w->at++;
    w->st->kind = STATEMENT_SHOW;
    set_tag(w, "SHOW");
    return read_setting_name(w) && rewrite_expect_end(w);
}

static bool read_reset(struct rewriter *w)
{
    w->at++;
    w->st->kind = STATEMENT_SET;
    set_tag(w, "RESET");
    if (rewrite_is_word(w, 0, "all")) {
        return refuse_feature(w, "RESET ALL");
    }
    return read_setting_name(w) && rewrite_expect_end(w);
}

static bool read_deallocate(struct rewriter *w)
{
    char name[IDENT_FULL_MAX + 1];

    w->at++;
    (void)rewrite_take_word(w, "prepare");
    w->st->kind = STATEMENT_DEALLOCATE;
    set_tag(w, "DEALLOCATE");
    if (rewrite_is_word(w, 0, "all") || !rewrite_read_name(w, name)) {
        return rewrite_refuse_here(w);
    }
    w->st->setting = copy_text(name, strlen(name));
    return rewrite_expect_end(w);
}

static bool read_copy(struct rewriter *w)
{
    w->st->kind = STATEMENT_COPY;
    set_tag(w, "COPY");
    w->at = w->count;
    return true;
}

/* ------------------------------------------------------------------------------- entry */

static const struct {
    const char *word;
    read_fn *read;
} statements[] = {
    {"select", read_query},        {"with", read_with},          {"explain", read_explain},
    {"insert", read_insert},       {"update", read_update},      {"delete", read_delete},
    {"merge", read_merge},         {"create", read_create},      {"drop", read_drop},
    {"alter", read_alter},         {"comment", read_comment},    {"grant", read_grant},
    {"revoke", read_grant},        {"truncate", read_truncate},  {"lock", read_lock},
    {"analyze", read_maintenance}, {"vacuum", read_maintenance}, {"begin", read_begin},
    {"start", read_begin},         {"commit", read_end},         {"end", read_end},
    {"rollback", read_end},        {"abort", read_end},          {"set", read_set},
    {"show", read_show},           {"reset", read_reset},        {"deallocate", read_deallocate},
    {"copy", read_copy},
};

static bool dispatch(struct rewriter *w)
{
    const struct token *first = rewrite_peek(w, 0);

    if (token_is_mark(first, '(')) {
        return read_query(w);
    }
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (token_is_word(first, statements[i].word)) {
            return statements[i].read(w);
        }
    }
    return rewrite_refuse_here(w);
}

bool statement_read(struct statement *st,
                    const struct token *tokens,
                    size_t count,
                    const struct statement_options *options)
{
    struct rewriter w = {
        .tokens = tokens,
        .count = count,
        .st = st,
        .out = &st->sql,
        .fold_quoted = !options->case_sensitive,
    };

    memset(st, 0, sizeof *st);
    if (count == 0) {
        st->kind = STATEMENT_EMPTY;
        return true;
    }
    bool ok = dispatch(&w);
    bytes_text(&st->sql);
    bytes_text(&st->after);
    bytes_text(&st->target);
    return ok && st->sqlstate[0] == '\0';
}

void statement_done(struct statement *st)
{
    bytes_done(&st->sql);
    bytes_done(&st->after);
    bytes_done(&st->target);
    free(st->setting);
    free(st->value);
    free(st->types);
    free(st->long_names);
    memset(st, 0, sizeof *st);
}
