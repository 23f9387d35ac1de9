/* base/figures: the tables of what is counted, made from the lists in the header. */

#include "base/figures.h"

#include <stddef.h>
#include <string.h>

const struct figure_row figure_rows[] = {
#define FIGURES_ROW(name, part, unit, meaning)                                                     \
    {#name, unit, meaning, FIGURE_##part, offsetof(struct figures, name)},
    FIGURES(FIGURES_ROW)
#undef FIGURES_ROW
};

const unsigned figure_row_count = sizeof(figure_rows) / sizeof(figure_rows[0]);

const struct figure_phase_row figure_phase_rows[FIGURE_PHASE_COUNT] = {
#define FIGURE_PHASE_ROW(name, part, meaning) {#name, meaning, FIGURE_##part},
    FIGURE_PHASES(FIGURE_PHASE_ROW)
#undef FIGURE_PHASE_ROW
};

#define FIGURE_NAME(name) #name,
const char *const figure_retry_names[FIGURE_RETRY_COUNT] = {FIGURE_RETRIES(FIGURE_NAME)};
const char *const figure_cause_names[FIGURE_CAUSE_COUNT] = {FIGURE_CAUSES(FIGURE_NAME)};
#undef FIGURE_NAME

uint64_t figure_value(const struct figures *figures, const struct figure_row *row)
{
    uint64_t value;

    memcpy(&value, (const char *)figures + row->offset, sizeof(value));
    return value;
}

void figures_add(struct figures *total, const struct figures *more)
{
#define FIGURES_ADD(name, part, unit, meaning) total->name += more->name;
    FIGURES(FIGURES_ADD)
#undef FIGURES_ADD
    for (unsigned i = 0; i < FIGURE_PHASE_COUNT; i++) {
        histogram_merge(&total->phases[i], &more->phases[i]);
    }
    for (unsigned i = 0; i < FIGURE_RETRY_COUNT; i++) {
        for (unsigned k = 0; k < FIGURE_CAUSE_COUNT; k++) {
            total->retries[i][k] += more->retries[i][k];
        }
    }
}

void figures_add_phase(struct figures *figures, enum figure_phase phase, uint64_t ms)
{
    if (figures) {
        histogram_add(&figures->phases[phase], ms);
    }
}

/* ---------------------------------------------------------------- tables */

struct figure_table *figures_table(struct figures *figures, struct span name)
{
    struct figure_tables *tables;

    if (!figures) {
        return NULL;
    }
    tables = &figures->tables;
    for (unsigned i = 0; i < tables->count; i++) {
        if (span_is(name, tables->items[i].name)) {
            return &tables->items[i];
        }
    }
    /* A name that does not fit is not cut: two tables could become one. */
    if (tables->count < FIGURE_TABLES && name.len > 0 && name.len < FIGURE_TABLE_NAME &&
        !span_is(name, "other")) {
        struct figure_table *table = &tables->items[tables->count++];
        memcpy(table->name, name.ptr, name.len);
        return table;
    }
    tables->has_other = true;
    memcpy(tables->items[FIGURE_TABLES].name, "other", sizeof("other"));
    return &tables->items[FIGURE_TABLES];
}

/* ---------------------------------------------------------------- columns */

static struct figure_column *
find_column(struct figure_columns *columns, struct span table, struct span column)
{
    for (unsigned i = 0; i < columns->count; i++) {
        if (span_is(table, columns->items[i].table) && span_is(column, columns->items[i].column)) {
            return &columns->items[i];
        }
    }
    if (columns->count < FIGURE_COLUMNS && table.len < FIGURE_TABLE_NAME &&
        column.len < FIGURE_COLUMN_NAME && !memchr(column.ptr, '\0', column.len)) {
        struct figure_column *item = &columns->items[columns->count++];
        memcpy(item->table, table.ptr, table.len);
        memcpy(item->column, column.ptr, column.len);
        return item;
    }
    struct figure_column *other = &columns->items[FIGURE_COLUMNS];
    columns->has_other = true;
    memcpy(other->table, "other", sizeof("other"));
    memcpy(other->column, "other", sizeof("other"));
    return other;
}

void figures_add_altered(struct figures *figures,
                         struct span table,
                         struct span column,
                         uint64_t truncated,
                         uint64_t replaced)
{
    if (figures && table.len > 0 && column.len > 0) {
        struct figure_column *item = find_column(&figures->columns, table, column);
        item->truncated += truncated;
        item->replaced += replaced;
        figures->truncated_values += truncated;
        figures->replaced_values += replaced;
    }
}

/* ---------------------------------------------------------------- causes */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* "<status> <S3 code>", or libcurl's name of a result. */
static enum figure_cause cause_of_http(const char *origin)
{
    if (strstr(origin, "SlowDown") || begins(origin, "429")) {
        return FIGURE_CAUSE_throttled;
    }
    if (strstr(origin, "RequestTimeout") || strstr(origin, "TIMEDOUT")) {
        return FIGURE_CAUSE_timeout;
    }
    if (begins(origin, "CURLE_")) {
        return FIGURE_CAUSE_connection;
    }
    return origin[0] == '5' ? FIGURE_CAUSE_server : FIGURE_CAUSE_other;
}

/* SQLSTATE. Redshift reports a serialization failure as XX000 with "1023" in the text. */
static enum figure_cause cause_of_sql(const char *origin)
{
    if (begins(origin, "40") || begins(origin, "XX000") || begins(origin, "55P03")) {
        return FIGURE_CAUSE_conflict;
    }
    if (begins(origin, "08") || begins(origin, "57P")) {
        return FIGURE_CAUSE_connection;
    }
    return begins(origin, "53") ? FIGURE_CAUSE_throttled : FIGURE_CAUSE_other;
}

enum figure_cause figure_cause_of(const struct error *err)
{
    switch (error_code_of(err)) {
    case ERROR_TIMEOUT:
        return FIGURE_CAUSE_timeout;
    case ERROR_SYSTEM:
        return FIGURE_CAUSE_connection;
    case ERROR_HTTP:
        return cause_of_http(error_origin(err));
    case ERROR_SQL:
        return cause_of_sql(error_origin(err));
    default:
        return FIGURE_CAUSE_other;
    }
}

void figures_add_retry(struct figures *figures, enum figure_retry retry, const struct error *err)
{
    if (figures) {
        figures->retries[retry][figure_cause_of(err)]++;
    }
}
