#ifndef REDSHIFT_CATALOG_H
#define REDSHIFT_CATALOG_H

/*
 * What exists in the warehouse, read in as few statements as possible, and where Flow's names are
 * found in it (folded and cut as Redshift does). Pure: rows in, answers out.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"

#include <stdint.h>

struct rs_existing_column {
    struct span name;
    struct span data_type; /* as information_schema says it */
    uint32_t char_max_length;
    bool is_nullable, has_default;
};

struct rs_existing_table {
    struct span schema, name;
    struct rs_existing_column *columns;
    unsigned column_count;
};

struct rs_catalog;

struct rs_catalog *rs_catalog_new(struct arena *arena, bool case_sensitive);
bool rs_catalog_is_case_sensitive(const struct rs_catalog *catalog);

/* Statements to run, and what to do with their rows. database empty: current_database() is asked
 * first. */
void rs_sql_show_case_sensitive(struct buf *out);
void rs_sql_list_schemas(struct buf *out);
void rs_sql_current_database(struct buf *out);
/* How many files COPY reads side by side. Serverless and users without rights have no such table.
 */
void rs_sql_count_slices(struct buf *out);
/* Schemas are those a path is located in, sorted and without repetition. */
void rs_sql_list_tables(struct buf *out,
                        struct span database,
                        const struct span *schemas,
                        unsigned count);
void rs_sql_list_columns(struct buf *out,
                         struct span database,
                         const struct span *schemas,
                         unsigned count);

void rs_catalog_add_schema(struct rs_catalog *catalog, struct span name);
void rs_catalog_add_table(struct rs_catalog *catalog, struct span schema, struct span name);
void rs_catalog_add_column(struct rs_catalog *catalog,
                           struct span schema,
                           struct span table,
                           const struct rs_existing_column *column);

bool rs_catalog_has_schema(const struct rs_catalog *catalog, struct span name);
/* path: [table] is looked for in schema public, [schema, table] as it says. NULL when absent. */
const struct rs_existing_table *
rs_catalog_find(const struct rs_catalog *catalog, const struct span *path, unsigned path_count);
const struct rs_existing_column *rs_catalog_find_column(const struct rs_catalog *catalog,
                                                        const struct rs_existing_table *table,
                                                        struct span field);
/* Where a path is located, in arena memory. */
void rs_catalog_locate(const struct rs_catalog *catalog,
                       const struct span *path,
                       unsigned path_count,
                       struct span *ret_schema,
                       struct span *ret_table);

#endif
