/* What exists, found by Flow's names. */

#include "redshift/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void statements_filter_by_sorted_schemas(void **state)
{
    static const struct {
        const char *sentence;
        const char *schemas[4];
        const char *want;
    } rows[] = {
        {"Q1 sorted, once each", {"b", "a", "a"}, "table_schema IN ('a','b')"},
        {"Q2 one", {"public"}, "table_schema IN ('public')"},
        {"Q4 a quote is doubled", {"o'x"}, "table_schema IN ('o''x')"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span schemas[4];
        unsigned count = 0;
        struct buf tables, columns;
        while (count < 4 && rows[i].schemas[count]) {
            schemas[count] = span_of(rows[i].schemas[count]);
            count++;
        }
        buf_init(&tables, 4096);
        buf_init(&columns, 4096);
        rs_sql_list_tables(&tables, span_of("D'b"), schemas, count);
        rs_sql_list_columns(&columns, span_of("D'b"), schemas, count);
        if (!strstr(tables.data, rows[i].want) || !strstr(columns.data, rows[i].want) ||
            !strstr(tables.data, "table_catalog = 'D''b'")) {
            fail_msg("%s: %s", rows[i].sentence, tables.data);
        }
        buf_done(&tables);
        buf_done(&columns);
    }
}

static struct rs_catalog *small_catalog(struct arena *arena, bool case_sensitive)
{
    struct rs_catalog *catalog = rs_catalog_new(arena, case_sensitive);

    rs_catalog_add_schema(catalog, span_of("hello"));
    rs_catalog_add_schema(catalog, span_of("public"));
    rs_catalog_add_table(catalog, span_of("public"), span_of("t"));
    rs_catalog_add_table(catalog, span_of("S"), span_of("T"));
    rs_catalog_add_table(catalog, span_of("public"), span_of("empty"));
    rs_catalog_add_column(catalog, span_of("public"), span_of("t"),
                          &(struct rs_existing_column){.name = span_of("userid"),
                                                       .data_type = span_of("character varying"),
                                                       .char_max_length = 256,
                                                       .is_nullable = true});
    rs_catalog_add_column(
        catalog, span_of("public"), span_of("t"),
        &(struct rs_existing_column){.name = span_of("a"), .data_type = span_of("bigint")});
    rs_catalog_add_column(
        catalog, span_of("public"), span_of("made_between"),
        &(struct rs_existing_column){.name = span_of("x"), .data_type = span_of("bigint")});
    return catalog;
}

static void tables_are_found_as_the_server_names_them(void **state)
{
    struct span one[] = {SPAN_LIT("T")}, two[] = {SPAN_LIT("S"), SPAN_LIT("T")};
    struct span between[] = {SPAN_LIT("made_between")}, empty[] = {SPAN_LIT("Empty")};
    struct span schema, table;
    struct arena *arena = arena_new(1 << 20);
    (void)state;

    struct rs_catalog *catalog = small_catalog(arena, false);
    assert_false(rs_catalog_is_case_sensitive(catalog));
    assert_non_null(rs_catalog_find(catalog, one, 1));
    assert_null(rs_catalog_find(catalog, two, 2)); /* looks for s.t */
    assert_non_null(rs_catalog_find(catalog, between, 1));
    const struct rs_existing_table *found = rs_catalog_find(catalog, empty, 1); /* Q5 */
    assert_non_null(found);
    assert_int_equal(found->column_count, 0);
    rs_catalog_locate(catalog, one, 1, &schema, &table); /* I23 */
    assert_true(span_is(schema, "public") && span_is(table, "t"));

    catalog = small_catalog(arena, true);
    assert_null(rs_catalog_find(catalog, one, 1));
    assert_non_null(rs_catalog_find(catalog, two, 2));
    rs_catalog_locate(catalog, two, 2, &schema, &table); /* I24 */
    assert_true(span_is(schema, "S") && span_is(table, "T"));
    arena_free(arena);
}

static void schemas_are_folded_unless_case_counts(void **state)
{
    struct arena *arena = arena_new(1 << 20);
    (void)state;

    struct rs_catalog *catalog = small_catalog(arena, false);
    assert_true(rs_catalog_has_schema(catalog, span_of("Hello")));        /* I25 */
    assert_false(rs_catalog_has_schema(catalog, span_of("Hello_Other"))); /* I26 */
    catalog = small_catalog(arena, true);
    assert_false(rs_catalog_has_schema(catalog, span_of("Hello")));
    assert_true(rs_catalog_has_schema(catalog, span_of("hello")));
    arena_free(arena);
}

static void columns_are_found_whatever_the_case(void **state)
{
    struct span path[] = {SPAN_LIT("t")};
    struct arena *arena = arena_new(1 << 20);
    (void)state;

    for (int sensitive = 0; sensitive < 2; sensitive++) {
        struct rs_catalog *catalog = small_catalog(arena, sensitive);
        const struct rs_existing_table *table = rs_catalog_find(catalog, path, 1);
        const struct rs_existing_column *column =
            rs_catalog_find_column(catalog, table, span_of("userId")); /* I27 */
        assert_non_null(column);
        assert_int_equal(column->char_max_length, 256);
        assert_true(column->is_nullable);
        assert_non_null(rs_catalog_find_column(catalog, table, span_of("A"))); /* I28 */
        assert_null(rs_catalog_find_column(catalog, table, span_of("b")));
    }
    arena_free(arena);
}

static void long_field_names_are_found_by_what_the_server_kept(void **state)
{
    char field[200], column[128];
    struct span path[] = {SPAN_LIT("t")};
    struct arena *arena = arena_new(1 << 20);
    struct rs_catalog *catalog = rs_catalog_new(arena, false);
    (void)state;

    memset(field, 'F', 150);
    field[150] = '\0';
    memset(column, 'f', 127);
    column[127] = '\0';
    rs_catalog_add_column(catalog, span_of("public"), span_of("t"),
                          &(struct rs_existing_column){.name = span_of(column)});
    const struct rs_existing_table *table = rs_catalog_find(catalog, path, 1);
    assert_non_null(rs_catalog_find_column(catalog, table, span_of(field)));
    arena_free(arena);
}

/* As many as a table may have, and names that are equal only by how Unicode folds them. */
static void hundreds_of_columns_are_all_found(void **state)
{
    enum { COUNT = 1600 };
    static const char *const pairs[][2] = {
        {"\xc3\x84RGER", "\xc3\xa4rger"}, {"\xc5\xbfo", "SO"}, {"\xe2\x84\xaa", "k"}};
    struct arena *arena = arena_new((size_t)16 * 1024 * 1024);
    struct rs_catalog *catalog = rs_catalog_new(arena, true);
    const struct span path[] = {SPAN_LIT("s"), SPAN_LIT("t")};
    char name[32];

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        struct rs_existing_column column = {.char_max_length = i};
        snprintf(name, sizeof name, "Column%u", i);
        column.name = span_of(name);
        rs_catalog_add_column(catalog, path[0], path[1], &column);
    }
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct rs_existing_column column = {.name = span_of(pairs[i][0])};
        rs_catalog_add_column(catalog, path[0], path[1], &column);
    }
    const struct rs_existing_table *table = rs_catalog_find(catalog, path, 2);
    assert_int_equal(table->column_count, COUNT + ARRAY_LEN(pairs));
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "cOLUMN%u", i);
        const struct rs_existing_column *found =
            rs_catalog_find_column(catalog, table, span_of(name));
        assert_non_null(found);
        assert_int_equal(found->char_max_length, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (rs_catalog_find_column(catalog, table, span_of(pairs[i][1])) !=
            &table->columns[COUNT + i]) {
            fail_msg("%s is not found as %s", pairs[i][0], pairs[i][1]);
        }
    }
    assert_null(rs_catalog_find_column(catalog, table, SPAN_LIT("column")));
    arena_free(arena);
}

static void thousands_of_tables_are_all_found(void **state)
{
    struct arena *arena = arena_new((size_t)64 << 20);
    struct rs_catalog *catalog = rs_catalog_new(arena, false);
    char name[32];
    (void)state;

    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof(name), "table_%d", i);
        rs_catalog_add_table(catalog, span_of("public"), span_of(name));
        rs_catalog_add_table(catalog, span_of("public"), span_of(name)); /* harmless */
    }
    for (int c = 0; c < 100; c++) {
        (void)snprintf(name, sizeof(name), "c%d", c);
        rs_catalog_add_column(catalog, span_of("public"), span_of("table_17"),
                              &(struct rs_existing_column){.name = span_of(name)});
    }
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof(name), "table_%d", i);
        struct span path[] = {span_of(name)};
        const struct rs_existing_table *table = rs_catalog_find(catalog, path, 1);
        assert_non_null(table);
        assert_int_equal(table->column_count, i == 17 ? 100 : 0);
        if (i == 17) {
            assert_true(span_is(table->columns[99].name, "c99"));
        }
    }
    struct span path[] = {SPAN_LIT("table_5000")};
    assert_null(rs_catalog_find(catalog, path, 1));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_filter_by_sorted_schemas),
        cmocka_unit_test(tables_are_found_as_the_server_names_them),
        cmocka_unit_test(schemas_are_folded_unless_case_counts),
        cmocka_unit_test(columns_are_found_whatever_the_case),
        cmocka_unit_test(long_field_names_are_found_by_what_the_server_kept),
        cmocka_unit_test(hundreds_of_columns_are_all_found),
        cmocka_unit_test(thousands_of_tables_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
