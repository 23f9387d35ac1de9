/*
 * base/error: what went wrong, in one sentence for a person and one class for the program. Comes
 * in: sentences from the places that know the facts, purposes from the places that know them; goes
 * out: the text
 *
 *      <purpose>: <purpose>: <sentence> (<origin>); then: <note>; then: <note>
 *
 * It never knows what is done about an error.
 */

#include "base/error.h"

#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An operation that is retried for hours must not collect notes for hours. */
#define NOTES_MAX 8

struct error {
    enum error_code code;
    enum error_class cls;
    char *sentence; /* wraps included */
    char *origin;   /* NULL when there is none */
    char *hint;     /* NULL when there is none */
    char *notes;    /* NULL when there is none; each with its leading "; then: " */
    unsigned note_count, lost_note_count;
    char *text; /* all but the hint; made anew by each change */
};

static char *format(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));

static char *format(const char *fmt, va_list args)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    CHECK(len >= 0);
    char *text = mem_alloc((size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    return text;
}

static char *format_args(const char *fmt, ...) PRINTF_LIKE(1, 2);

static char *format_args(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *text = format(fmt, args);
    va_end(args);
    return text;
}

static void compose(struct error *err)
{
    bool has_origin = err->origin && err->origin[0];
    char lost[48] = "";

    if (err->lost_note_count > 0) {
        (void)snprintf(lost, sizeof(lost), "; and %u more", err->lost_note_count);
    }
    mem_free(err->text);
    err->text = format_args("%s%s%s%s%s%s", err->sentence, has_origin ? " (" : "",
                            has_origin ? err->origin : "", has_origin ? ")" : "",
                            err->notes ? err->notes : "", lost);
}

/* Takes sentence. */
static struct error *
new_error(enum error_code code, enum error_class cls, const char *origin, char *sentence)
{
    struct error *err = mem_alloc(sizeof(*err));

    err->code = code;
    err->cls = cls;
    err->sentence = sentence;
    err->origin = origin ? mem_strdup(origin) : NULL;
    compose(err);
    return err;
}

struct error *error_new(enum error_code code, enum error_class cls, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *sentence = format(fmt, args);
    va_end(args);
    return new_error(code, cls, NULL, sentence);
}

struct error *
error_new_from(enum error_code code, enum error_class cls, const char *origin, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *sentence = format(fmt, args);
    va_end(args);
    return new_error(code, cls, origin, sentence);
}

/* The errors that files, sockets and memory can give. */
#define ERRNO_NAMES(X)                                                                             \
    X(E2BIG)                                                                                       \
    X(EACCES)                                                                                      \
    X(EADDRINUSE)                                                                                  \
    X(EADDRNOTAVAIL) X(EAFNOSUPPORT) X(EAGAIN) X(EALREADY) X(EBADF) X(EBUSY) X(ECANCELED)          \
        X(ECONNABORTED) X(ECONNREFUSED) X(ECONNRESET) X(EDESTADDRREQ) X(EDOM) X(EDQUOT) X(EEXIST)  \
            X(EFAULT) X(EFBIG) X(EHOSTUNREACH) X(EINPROGRESS) X(EINTR) X(EINVAL) X(EIO) X(EISCONN) \
                X(EISDIR) X(ELOOP) X(EMFILE) X(EMLINK) X(EMSGSIZE) X(ENAMETOOLONG) X(ENETDOWN)     \
                    X(ENETRESET) X(ENETUNREACH) X(ENFILE) X(ENOBUFS) X(ENODEV) X(ENOENT)           \
                        X(ENOEXEC) X(ENOMEM) X(ENOPROTOOPT) X(ENOSPC) X(ENOSYS) X(ENOTCONN)        \
                            X(ENOTDIR) X(ENOTEMPTY) X(ENOTSOCK) X(ENOTSUP) X(ENOTTY) X(ENXIO)      \
                                X(EOVERFLOW) X(EPERM) X(EPIPE) X(EPROTO) X(EPROTONOSUPPORT)        \
                                    X(EPROTOTYPE) X(ERANGE) X(EROFS) X(ESPIPE) X(ESRCH)            \
                                        X(ETIMEDOUT) X(ETXTBSY) X(EXDEV)

static const char *errno_name(int errnum)
{
    switch (errnum) {
#define ERRNO_CASE(name)                                                                           \
    case name:                                                                                     \
        return #name;
        ERRNO_NAMES(ERRNO_CASE)
#undef ERRNO_CASE
    default:
        return NULL;
    }
}

struct error *error_from_errno(int errnum, enum error_class cls, const char *fmt, ...)
{
    char reason[128];
    char number[24];
    const char *name = errno_name(errnum);
    va_list args;

    if (strerror_r(errnum, reason, sizeof(reason)) != 0) {
        (void)snprintf(reason, sizeof(reason), "unknown error");
    }
    if (!name) {
        (void)snprintf(number, sizeof(number), "errno %d", errnum);
        name = number;
    }
    va_start(args, fmt);
    char *sentence = format(fmt, args);
    va_end(args);
    char *whole = format_args("%s: %s", sentence, reason);
    mem_free(sentence);
    return new_error(ERROR_SYSTEM, cls, name, whole);
}

struct error *error_wrap(struct error *err, const char *fmt, ...)
{
    va_list args;

    if (!err) {
        return NULL;
    }
    va_start(args, fmt);
    char *purpose = format(fmt, args);
    va_end(args);
    char *sentence = format_args("%s: %s", purpose, err->sentence);
    mem_free(purpose);
    mem_free(err->sentence);
    err->sentence = sentence;
    compose(err);
    return err;
}

void error_set_hint(struct error *err, const char *fmt, ...)
{
    va_list args;

    if (!err) {
        return;
    }
    mem_free(err->hint);
    va_start(args, fmt);
    err->hint = format(fmt, args);
    va_end(args);
}

void error_set_class(struct error *err, enum error_class cls)
{
    if (err) {
        err->cls = cls;
    }
}

struct error *error_join(struct error *first, struct error *note)
{
    if (!first || !note) {
        return first ? first : note;
    }
    CHECK(first != note);
    if (first->note_count < NOTES_MAX) {
        char *notes = format_args("%s; then: %s", first->notes ? first->notes : "", note->text);
        mem_free(first->notes);
        first->notes = notes;
        first->note_count++;
    } else {
        first->lost_note_count++;
    }
    compose(first);
    error_free(note);
    return first;
}

enum error_code error_code_of(const struct error *err)
{
    return err->code;
}

enum error_class error_class_of(const struct error *err)
{
    return err->cls;
}

const char *error_origin(const struct error *err)
{
    return err->origin ? err->origin : "";
}

const char *error_hint(const struct error *err)
{
    return err->hint ? err->hint : "";
}

const char *error_text(const struct error *err)
{
    return err->text;
}

void error_drop(struct error *err, const char *why_that_is_safe)
{
    if (err) {
        log_debug("error dropped, %s: %s", why_that_is_safe, err->text);
        error_free(err);
    }
}

void error_free(struct error *err)
{
    if (!err) {
        return;
    }
    mem_free(err->sentence);
    mem_free(err->origin);
    mem_free(err->hint);
    mem_free(err->notes);
    mem_free(err->text);
    mem_free(err);
}
