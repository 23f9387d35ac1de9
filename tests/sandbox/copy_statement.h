#ifndef SANDBOX_COPY_STATEMENT_H
#define SANDBOX_COPY_STATEMENT_H

#include "sandbox/copy.h"
#include "sandbox/copy_bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum copy_json {
    COPY_JSON_AUTO,
    COPY_JSON_AUTO_IGNORECASE,
    COPY_JSON_NOSHRED,
};

enum copy_compression {
    COPY_PLAIN,
    COPY_GZIP,
    COPY_ZSTD,
};

/* How text becomes a date or a timestamp. DEFAULT is the absence of the option: strict
 * YYYY-MM-DD, and YYYY-MM-DD HH:MI:SS for timestamps. */
enum copy_time_format {
    COPY_TIME_DEFAULT,
    COPY_TIME_AUTO,
    COPY_TIME_EPOCH_SECONDS,
    COPY_TIME_EPOCH_MILLISECONDS,
};

/* A name as written: quoted names have their quotes removed, nothing is folded yet. */
struct copy_name {
    char *text;
    bool quoted;
};

struct copy_statement {
    struct copy_name schema; /* text NULL when the table stands alone */
    struct copy_name table;
    struct copy_name *columns; /* NULL without a column list */
    int column_count;

    char *source; /* s3://bucket/prefix */
    bool manifest;
    char *region; /* NULL without REGION */
    char *iam_role;
    char *access_key_id, *secret_access_key, *session_token;

    enum copy_json json;
    enum copy_compression compression;
    enum copy_time_format date_format, time_format;
    bool truncate_columns, empty_as_null, blanks_as_null, trim_blanks, round_decimals;
    bool accept_any_date, no_load, stat_update_named;
    char accept_invalid_char; /* '\0': invalid UTF-8 is an error */
    int64_t max_error;        /* the load fails at this many bad records; at least 1 */
};

/* Reads the text of a COPY. On failure returns false with `ret` filled (ok, sqlstate, message,
 * detail). `st` is owned by the caller either way and ended by copy_statement_done, which wipes
 * the secrets in it. */
bool copy_statement_parse(const char *sql, struct copy_statement *st, struct copy_outcome *ret);
void copy_statement_done(struct copy_statement *st);

/* Fills a failed outcome. */
void copy_fail(struct copy_outcome *ret, const char *sqlstate, const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));

#endif
