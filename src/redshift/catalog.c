/*
 * redshift/catalog: what exists in the warehouse. Comes in: rows of the catalog statements below;
 * goes out: tables and columns found by Flow's names. It never knows how the statements are run or
 * what is made of the answer.
 *
 * A schema may hold hundreds of thousands of tables, a table 1,600 columns, so both are found
 * through a hash of their name; schemas are few.
 *
 *      buckets[hash & mask] -> entry -> entry           entry: table, room for columns, next
 */

#include "redshift/catalog.h"

#include "base/check.h"
#include "base/digest.h"
#include "base/text.h"
#include "redshift/dialect.h"

#include <string.h>

#define FIRST_BUCKETS 64U
#define FIRST_COLUMNS 16U
#define FIRST_SLOTS 32U /* a power of two, above FIRST_COLUMNS */

/* A path of one component is created through the search path and found here. */
#define DEFAULT_SCHEMA "public"

struct entry {
    struct rs_existing_table table; /* the first: tables that were given out are found back */
    unsigned column_room;
    unsigned *slots; /* by folded name: index of a column and one, 0 for none; see find_column */
    unsigned slot_count;
    struct entry *next;
};

struct schema {
    struct span name;
    struct schema *next;
};

struct rs_catalog {
    struct arena *arena;
    bool case_sensitive;
    struct schema *schemas;
    struct entry **buckets;
    unsigned bucket_count, table_count; /* buckets: a power of two */
};

static uint64_t hash_name(struct span schema, struct span table);
static struct entry *
find_entry(const struct rs_catalog *catalog, struct span schema, struct span table);
static struct entry *add_entry(struct rs_catalog *catalog, struct span schema, struct span name);
static void put_slot(struct entry *entry, unsigned column);
static void grow_slots(struct rs_catalog *catalog, struct entry *entry);
static const struct rs_existing_column *find_column(const struct entry *entry, struct span name);
static void
add_filter(struct buf *out, struct span database, const struct span *schemas, unsigned count);
static const struct span *
next_in_order(const struct span *schemas, unsigned count, const struct span *last);
static struct span fold(const struct rs_catalog *catalog, struct span name);

/* ---------------------------------------------------------------- life */

struct rs_catalog *rs_catalog_new(struct arena *arena, bool case_sensitive)
{
    struct rs_catalog *catalog = ARENA_NEW(arena, struct rs_catalog);

    catalog->arena = arena;
    catalog->case_sensitive = case_sensitive;
    catalog->bucket_count = FIRST_BUCKETS;
    catalog->buckets = ARENA_ARRAY(arena, FIRST_BUCKETS, struct entry *);
    return catalog;
}

bool rs_catalog_is_case_sensitive(const struct rs_catalog *catalog)
{
    return catalog->case_sensitive;
}

/* ---------------------------------------------------------------- statements */

void rs_sql_show_case_sensitive(struct buf *out)
{
    buf_add_str(out, "SHOW enable_case_sensitive_identifier");
}

void rs_sql_list_schemas(struct buf *out)
{
    buf_add_str(out, "SELECT schema_name FROM svv_all_schemas");
}

void rs_sql_current_database(struct buf *out)
{
    buf_add_str(out, "SELECT current_database()");
}

void rs_sql_count_slices(struct buf *out)
{
    buf_add_str(out, "SELECT COUNT(*) FROM stv_slices");
}

void rs_sql_list_tables(struct buf *out,
                        struct span database,
                        const struct span *schemas,
                        unsigned count)
{
    buf_add_str(out, "SELECT table_schema, table_name FROM information_schema.tables");
    add_filter(out, database, schemas, count);
}

void rs_sql_list_columns(struct buf *out,
                         struct span database,
                         const struct span *schemas,
                         unsigned count)
{
    buf_add_str(out, "SELECT table_schema, table_name, column_name, data_type, is_nullable, "
                     "character_maximum_length, column_default FROM information_schema.columns");
    add_filter(out, database, schemas, count);
}

static void
add_filter(struct buf *out, struct span database, const struct span *schemas, unsigned count)
{
    const struct span *schema = NULL;

    CHECK(count > 0);
    buf_add_str(out, " WHERE table_catalog = ");
    rs_add_literal(out, database);
    buf_add_str(out, " AND table_schema IN (");
    for (;;) {
        const struct span *next = next_in_order(schemas, count, schema);
        if (!next) {
            break;
        }
        if (schema) {
            buf_add_byte(out, ',');
        }
        rs_add_literal(out, *next);
        schema = next;
    }
    buf_add_byte(out, ')');
}

/* The smallest schema above last: sorts and drops repetitions, however the caller's list is. */
static const struct span *
next_in_order(const struct span *schemas, unsigned count, const struct span *last)
{
    const struct span *next = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (last && span_compare(schemas[i], *last) <= 0) {
            continue;
        }
        if (!next || span_compare(schemas[i], *next) < 0) {
            next = &schemas[i];
        }
    }
    return next;
}

/* ---------------------------------------------------------------- rows in */

void rs_catalog_add_schema(struct rs_catalog *catalog, struct span name)
{
    struct schema *schema = ARENA_NEW(catalog->arena, struct schema);

    schema->name = arena_span(catalog->arena, name);
    schema->next = catalog->schemas;
    catalog->schemas = schema;
}

void rs_catalog_add_table(struct rs_catalog *catalog, struct span schema, struct span name)
{
    if (!find_entry(catalog, schema, name)) {
        (void)add_entry(catalog, schema, name);
    }
}

/* A table that was created between the two statements is known by its columns alone. */
void rs_catalog_add_column(struct rs_catalog *catalog,
                           struct span schema,
                           struct span table,
                           const struct rs_existing_column *column)
{
    struct entry *entry = find_entry(catalog, schema, table);

    if (!entry) {
        entry = add_entry(catalog, schema, table);
    }
    struct rs_existing_table *existing = &entry->table;
    if (existing->column_count == entry->column_room) {
        unsigned room = entry->column_room ? 2 * entry->column_room : FIRST_COLUMNS;
        struct rs_existing_column *columns =
            ARENA_ARRAY(catalog->arena, room, struct rs_existing_column);
        if (existing->column_count > 0) {
            memcpy(columns, existing->columns, existing->column_count * sizeof(*columns));
        }
        existing->columns = columns;
        entry->column_room = room;
    }
    struct rs_existing_column *copy = &existing->columns[existing->column_count++];
    *copy = *column;
    copy->name = arena_span(catalog->arena, column->name);
    copy->data_type = arena_span(catalog->arena, column->data_type);
    if (2 * existing->column_count > entry->slot_count) {
        grow_slots(catalog, entry);
    } else {
        put_slot(entry, existing->column_count - 1);
    }
}

/* ---------------------------------------------------------------- answers out */

bool rs_catalog_has_schema(const struct rs_catalog *catalog, struct span name)
{
    struct span folded = fold(catalog, name);

    for (const struct schema *schema = catalog->schemas; schema; schema = schema->next) {
        if (span_equal(schema->name, folded)) {
            return true;
        }
    }
    return false;
}

const struct rs_existing_table *
rs_catalog_find(const struct rs_catalog *catalog, const struct span *path, unsigned path_count)
{
    struct span schema, table;

    rs_catalog_locate(catalog, path, path_count, &schema, &table);
    struct entry *entry = find_entry(catalog, schema, table);
    return entry ? &entry->table : NULL;
}

/* Case never matters for columns: case-sensitive or not, Flow knows fields that differ in case only
 * as one (foldedField). */
const struct rs_existing_column *rs_catalog_find_column(const struct rs_catalog *catalog,
                                                        const struct rs_existing_table *table,
                                                        struct span field)
{
    const struct entry *entry = (const void *)table;
    struct buf folded;

    buf_init(&folded, RS_MAX_IDENTIFIER);
    rs_fold(&folded, field, catalog->case_sensitive);
    const struct rs_existing_column *found = find_column(entry, buf_view(&folded));
    buf_done(&folded);
    return found;
}

void rs_catalog_locate(const struct rs_catalog *catalog,
                       const struct span *path,
                       unsigned path_count,
                       struct span *ret_schema,
                       struct span *ret_table)
{
    CHECK(path_count == 1 || path_count == 2);
    *ret_schema = path_count == 2 ? fold(catalog, path[0]) : SPAN_LIT(DEFAULT_SCHEMA);
    *ret_table = fold(catalog, path[path_count - 1]);
}

static struct span fold(const struct rs_catalog *catalog, struct span name)
{
    struct buf folded;

    buf_init(&folded, RS_MAX_IDENTIFIER);
    rs_fold(&folded, name, catalog->case_sensitive);
    struct span copy = arena_span(catalog->arena, buf_view(&folded));
    buf_done(&folded);
    return copy;
}

/* ---------------------------------------------------------------- the hash */

static struct entry *
find_entry(const struct rs_catalog *catalog, struct span schema, struct span table)
{
    uint64_t bucket = hash_name(schema, table) & (catalog->bucket_count - 1);

    for (struct entry *entry = catalog->buckets[bucket]; entry; entry = entry->next) {
        if (span_equal(entry->table.name, table) && span_equal(entry->table.schema, schema)) {
            return entry;
        }
    }
    return NULL;
}

static struct entry *add_entry(struct rs_catalog *catalog, struct span schema, struct span name)
{
    if (catalog->table_count == catalog->bucket_count) {
        unsigned count = 2 * catalog->bucket_count;
        struct entry **buckets = ARENA_ARRAY(catalog->arena, count, struct entry *);
        for (unsigned i = 0; i < catalog->bucket_count; i++) {
            for (struct entry *entry = catalog->buckets[i], *next; entry; entry = next) {
                uint64_t to = hash_name(entry->table.schema, entry->table.name) & (count - 1);
                next = entry->next;
                entry->next = buckets[to];
                buckets[to] = entry;
            }
        }
        catalog->buckets = buckets;
        catalog->bucket_count = count;
    }
    struct entry *entry = ARENA_NEW(catalog->arena, struct entry);
    uint64_t bucket = hash_name(schema, name) & (catalog->bucket_count - 1);

    entry->table.schema = arena_span(catalog->arena, schema);
    entry->table.name = arena_span(catalog->arena, name);
    entry->next = catalog->buckets[bucket];
    catalog->buckets[bucket] = entry;
    catalog->table_count++;
    return entry;
}

/* ---------------------------------------------------------------- columns of one table */

/* The first free place behind the one that the name's hash says: a column that is only another
 * spelling of an earlier one stands behind it and is not found. */
static void put_slot(struct entry *entry, unsigned column)
{
    uint64_t mask = entry->slot_count - 1;
    uint64_t at = text_hash_folded(entry->table.columns[column].name) & mask;

    while (entry->slots[at]) {
        at = (at + 1) & mask;
    }
    entry->slots[at] = column + 1;
}

static void grow_slots(struct rs_catalog *catalog, struct entry *entry)
{
    entry->slot_count = entry->slot_count ? 2 * entry->slot_count : FIRST_SLOTS;
    entry->slots = ARENA_ARRAY(catalog->arena, entry->slot_count, unsigned);
    for (unsigned i = 0; i < entry->table.column_count; i++) {
        put_slot(entry, i);
    }
}

static const struct rs_existing_column *find_column(const struct entry *entry, struct span name)
{
    uint64_t mask = entry->slot_count - 1;

    if (entry->slot_count == 0) {
        return NULL;
    }
    for (uint64_t at = text_hash_folded(name) & mask; entry->slots[at]; at = (at + 1) & mask) {
        const struct rs_existing_column *column = &entry->table.columns[entry->slots[at] - 1];
        if (text_equal_folded(column->name, name)) {
            return column;
        }
    }
    return NULL;
}

static uint64_t hash_name(struct span schema, struct span table)
{
    return digest_xxh64(table, digest_xxh64(schema, 0));
}
