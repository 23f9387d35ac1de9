#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * One JSON object per line on stderr: level, msg, time, and lower-case fields (camelCase where Flow
 * parses them). A function either logs or reports, not both; rooms below txn only report, except at
 * debug and trace. No document contents, no keys, no credentials, at any level.
 *
 * stderr may be a pipe that nobody reads: writing never blocks the loop for lines below warn, they
 * are dropped and counted instead (the next line that gets through says how many). The last line of
 * a failing process is its error message for people, so fatal lines are always written.
 *
 *      log_event(LOG_INFO, "finished reading store requests",
 *                LOG_INT("round", round), LOG_INT("count", count), LOG_MS("took", ms), LOG_END);
 */

#include "base/span.h"

#include <stdint.h>

struct error;

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

enum log_field_kind {
    LOG_FIELD_END,
    LOG_FIELD_STR,
    LOG_FIELD_SPAN,
    LOG_FIELD_INT,
    LOG_FIELD_BOOL,
    LOG_FIELD_MS,  /* printed as a duration text like "1.25s" */
    LOG_FIELD_JSON /* already JSON, copied as it is */
};

struct log_field {
    enum log_field_kind kind;
    const char *name;
    struct span text;
    int64_t number;
};

#define LOG_STR(n, v) ((struct log_field){LOG_FIELD_STR, (n), span_of(v), 0})
#define LOG_SPAN(n, v) ((struct log_field){LOG_FIELD_SPAN, (n), (v), 0})
#define LOG_INT(n, v) ((struct log_field){LOG_FIELD_INT, (n), SPAN_NONE, (int64_t)(v)})
#define LOG_BOOL(n, v) ((struct log_field){LOG_FIELD_BOOL, (n), SPAN_NONE, (v)})
#define LOG_MS(n, v) ((struct log_field){LOG_FIELD_MS, (n), SPAN_NONE, (int64_t)(v)})
#define LOG_JSON(n, v) ((struct log_field){LOG_FIELD_JSON, (n), (v), 0})
#define LOG_END ((struct log_field){LOG_FIELD_END, NULL, {NULL, 0}, 0})

/* From LOG_LEVEL and LOG_FORMAT (any case; empty counts as unset). The threshold is the house's one
 * global. Returns an ERROR_CONFIG for an unknown value. Default: info, json. */
struct error *log_init(const char *level, const char *format) __attribute__((warn_unused_result));
bool log_is_on(enum log_level level);

#define log_event(level, msg, ...)                                                                 \
    (log_is_on(level) ? log_write((level), (msg), (const struct log_field[]){__VA_ARGS__})         \
                      : (void)0)
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

/* The process's last words: one fatal line with the error's text, hint and origin. */
void log_fatal(const struct error *err);

/* A trace of a step below txn; needs no fields. */
void log_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Same at debug level. */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t log_dropped(void);

#endif
