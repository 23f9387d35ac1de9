#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/*
 * The one error type. A function that can fail returns struct error * (NULL is success) and is
 * MUST_CHECK. An error has one owner, who does one of three things with it: passes it up, wraps it
 * (error_wrap consumes and returns), or ends it with error_drop and the reason why that is safe.
 *
 * The place that knows the fact writes the sentence (lower case, no full stop, values quoted, no
 * names of our functions), the place that knows the purpose wraps it, so that the whole reads from
 * the outside in: committing transaction: merging into "a"."b": value too long (SQLSTATE 22001).
 * Never put a secret or a document's contents into an error.
 */

#include "base/check.h"

#include <stdbool.h>

/* What is to be done about it. Only this is switched on. */
enum error_class {
    ERROR_RETRY,  /* try this step again: the other side is busy or the line broke */
    ERROR_ABORT,  /* this transaction is lost, the process is sound; the runtime replays it */
    ERROR_CONFIG, /* a person must change something: shown to them as it is */
    ERROR_FATAL   /* we or our peers broke a rule; nothing that this process does can help */
};

/* Where it comes from; decides what origin means. */
enum error_code {
    ERROR_INTERNAL, /* none of the others */
    ERROR_CANCELLED,
    ERROR_PROTOCOL, /* the runtime sent what it may not send, or bytes that are no message */
    ERROR_INPUT,    /* a document, key or configuration that we cannot accept */
    ERROR_SYSTEM,   /* origin: errno or uv name */
    ERROR_TIMEOUT,
    ERROR_HTTP, /* origin: "<status> <S3 code>" or curl's name */
    ERROR_SQL,  /* origin: SQLSTATE */
    ERROR_STATE /* connector state or metadata rows that we do not understand */
};

struct error; /* opaque; freed by error_free or by one of the three ways above */

struct error *error_new(enum error_code code, enum error_class cls, const char *fmt, ...)
    PRINTF_LIKE(3, 4) MUST_CHECK;

/* Same, with the short origin text (SQLSTATE, HTTP status and S3 code, errno name), which is
 * copied and printed in parentheses behind the sentence. */
struct error *
error_new_from(enum error_code code, enum error_class cls, const char *origin, const char *fmt, ...)
    PRINTF_LIKE(4, 5) MUST_CHECK;

/* An ERROR_SYSTEM from an errno value: "<sentence>: <strerror> (ENAME)". */
struct error *error_from_errno(int errnum, enum error_class cls, const char *fmt, ...)
    PRINTF_LIKE(3, 4) MUST_CHECK;

/* Puts "<purpose>: " in front. Consumes err, returns it; NULL stays NULL. */
struct error *error_wrap(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/* Advice for the reader, in whole sentences; replaces an earlier hint. err may be NULL. */
void error_set_hint(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void error_set_class(struct error *err, enum error_class cls);

/* Joins a later error of the same operation to the first as a note. Consumes note; either may be
 * NULL; returns the first, or note when there was no first. */
struct error *error_join(struct error *first, struct error *note) MUST_CHECK;

enum error_code error_code_of(const struct error *err);
enum error_class error_class_of(const struct error *err);
const char *error_origin(const struct error *err); /* "" when there is none */
const char *error_hint(const struct error *err);   /* "" when there is none */
/* The whole sentence with wraps, origin in parentheses and notes. Lives as long as err. */
const char *error_text(const struct error *err);

/* Ends an error that must not go further; the reason is for the reader of the code and is written
 * to the debug log with the error. NULL is fine. */
void error_drop(struct error *err, const char *why_that_is_safe);
void error_free(struct error *err); /* after it was reported; NULL is fine */

/* if ((err = f())) return err; in one line, where no clean-up stands in between */
#define RETURN_IF_ERROR(expr)                                                                      \
    do {                                                                                           \
        struct error *return_if_error_ = (expr);                                                   \
        if (return_if_error_) {                                                                    \
            return return_if_error_;                                                               \
        }                                                                                          \
    } while (0)

#endif
