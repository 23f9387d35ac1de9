/* The sandbox's lexer: what one token is, and what Redshift has no notation for. */
#include "sandbox/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct cut {
    const char *sentence;
    const char *sql;
    const char *tokens; /* kinds and texts, joined by blanks */
};

static const char kinds[] = "wqsnpomc";

static const struct cut cuts[] = {
    {"words are folded for comparison", "SeLeCt", "w:SeLeCt"},
    {"words go on with digits and dollars", "a1$b", "w:a1$b"},
    {"letters beyond ASCII are letters", "gr\xc3\xbc\xc3\x9f", "w:gr\xc3\xbc\xc3\x9f"},
    {"a doubled quote stays inside a quoted name", "\"a\"\"b\"", "q:\"a\"\"b\""},
    {"a doubled quote stays inside a literal", "'a''b' c", "s:'a''b' w:c"},
    {"a backslash escapes a quote in every literal", "'a\\'b' c", "s:'a\\'b' w:c"},
    {"a backslash escapes itself", "'a\\\\' c", "s:'a\\\\' w:c"},
    {"a literal may hold a semicolon", "';'", "s:';'"},
    {"numbers", "1 2.5 .5 1e10 1.5E-3", "n:1 n:2.5 n:.5 n:1e10 n:1.5E-3"},
    {"a dot after a digit belongs to the number", "1.", "n:1."},
    {"parameters", "$1,$23", "p:$1 m:, p:$23"},
    {"a cast is one token", "a::int", "w:a c::: w:int"},
    {"line comments vanish", "a -- b\nc", "w:a w:c"},
    {"block comments nest", "a /* x /* y */ z */ b", "w:a w:b"},
    {"a comment ends an operator", "1+--x\n2", "n:1 o:+ n:2"},
    {"a sign after an operator stands alone", "a=-1", "w:a o:= o:- n:1"},
    {"an operator of JSON stays whole", "a->>'x'", "w:a o:->> s:'x'"},
    {"a sign may end an operator that holds a tilde", "a ~- b", "w:a o:~- w:b"},
    {"marks", "(a,b.c);[1]", "m:( w:a m:, w:b m:. w:c m:) m:; m:[ n:1 m:]"},
    {"nothing at all", " \n\t", ""},
};

static void join(const struct token_list *list, char *ret, size_t size)
{
    size_t used = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        const struct token *token = &list->at[i];
        used += (size_t)snprintf(ret + used, size - used, "%s%c:%.*s", i > 0 ? " " : "",
                                 kinds[token->kind], (int)token->size, token->at);
    }
}

static void test_text_is_cut_into_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        struct token_list list;
        char text[512];
        bool ok = token_list_read(&list, cuts[i].sql, strlen(cuts[i].sql));
        join(&list, text, sizeof text);
        if (!ok || strcmp(text, cuts[i].tokens) != 0) {
            fail_msg("%s: got \"%s\"", cuts[i].sentence, text);
        }
        token_list_done(&list);
    }
}

static const struct {
    const char *sentence;
    const char *sql;
} refusals[] = {
    {"an escape string is no notation of Redshift", "SELECT E'a'"},
    {"nor is a bit string", "SELECT b'101'"},
    {"nor a hex string", "SELECT x'ff'"},
    {"nor a national string", "SELECT n'a'"},
    {"nor a string with Unicode escapes", "SELECT U&'\\0041'"},
    {"nor a name with Unicode escapes", "SELECT U&\"a\""},
    {"dollar quotes are for function bodies", "SELECT $$a$$"},
    {"also with a tag", "DO $x$ BEGIN END $x$"},
    {"a literal must end", "SELECT 'a"},
    {"a backslash before the last quote leaves it open", "SELECT 'a\\'"},
    {"a quoted name must end", "SELECT \"a"},
    {"a quoted name is not empty", "SELECT \"\""},
    {"a comment must end", "SELECT /* a"},
    {"a number does not run into a name", "SELECT 1a"},
    {"a control character is nothing", "SELECT \x01"},
};

static void test_foreign_notations_are_syntax_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct token_list list;
        bool ok = token_list_read(&list, refusals[i].sql, strlen(refusals[i].sql));
        if (ok || strcmp(list.sqlstate, "42601") != 0) {
            fail_msg("%s", refusals[i].sentence);
        }
        token_list_done(&list);
    }
}

static void test_a_literal_over_a_line_break_is_marked(void **state)
{
    struct token_list list;
    const char *sql = "'a'\n'b' 'c'";

    (void)state;
    assert_true(token_list_read(&list, sql, strlen(sql)));
    assert_int_equal(list.count, 3);
    assert_true(list.at[1].after_newline);
    assert_false(list.at[2].after_newline);
    token_list_done(&list);
}

static void test_quoted_names_lose_their_quotes(void **state)
{
    struct token_list list;
    const char *sql = "\"A \"\"b\"\".c\"";

    (void)state;
    assert_true(token_list_read(&list, sql, strlen(sql)));
    assert_string_equal(list.at[0].name, "A \"b\".c");
    token_list_done(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_cut_into_tokens),
        cmocka_unit_test(test_foreign_notations_are_syntax_errors),
        cmocka_unit_test(test_a_literal_over_a_line_break_is_marked),
        cmocka_unit_test(test_quoted_names_lose_their_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
