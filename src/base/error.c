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

#define ERRNO_ROW(name)                                                                            \
    {                                                                                              \
        name, #name                                                                                \
    }

/* The errors that files, sockets and memory can give. */
static const struct {
    int number;
    const char *name;
} errno_names[] = {ERRNO_ROW(E2BIG),           ERRNO_ROW(EACCES),       ERRNO_ROW(EADDRINUSE),
                   ERRNO_ROW(EADDRNOTAVAIL),   ERRNO_ROW(EAFNOSUPPORT), ERRNO_ROW(EAGAIN),
                   ERRNO_ROW(EALREADY),        ERRNO_ROW(EBADF),        ERRNO_ROW(EBUSY),
                   ERRNO_ROW(ECANCELED),       ERRNO_ROW(ECONNABORTED), ERRNO_ROW(ECONNREFUSED),
                   ERRNO_ROW(ECONNRESET),      ERRNO_ROW(EDESTADDRREQ), ERRNO_ROW(EDOM),
                   ERRNO_ROW(EDQUOT),          ERRNO_ROW(EEXIST),       ERRNO_ROW(EFAULT),
                   ERRNO_ROW(EFBIG),           ERRNO_ROW(EHOSTUNREACH), ERRNO_ROW(EINPROGRESS),
                   ERRNO_ROW(EINTR),           ERRNO_ROW(EINVAL),       ERRNO_ROW(EIO),
                   ERRNO_ROW(EISCONN),         ERRNO_ROW(EISDIR),       ERRNO_ROW(ELOOP),
                   ERRNO_ROW(EMFILE),          ERRNO_ROW(EMLINK),       ERRNO_ROW(EMSGSIZE),
                   ERRNO_ROW(ENAMETOOLONG),    ERRNO_ROW(ENETDOWN),     ERRNO_ROW(ENETRESET),
                   ERRNO_ROW(ENETUNREACH),     ERRNO_ROW(ENFILE),       ERRNO_ROW(ENOBUFS),
                   ERRNO_ROW(ENODEV),          ERRNO_ROW(ENOENT),       ERRNO_ROW(ENOEXEC),
                   ERRNO_ROW(ENOMEM),          ERRNO_ROW(ENOPROTOOPT),  ERRNO_ROW(ENOSPC),
                   ERRNO_ROW(ENOSYS),          ERRNO_ROW(ENOTCONN),     ERRNO_ROW(ENOTDIR),
                   ERRNO_ROW(ENOTEMPTY),       ERRNO_ROW(ENOTSOCK),     ERRNO_ROW(ENOTSUP),
                   ERRNO_ROW(ENOTTY),          ERRNO_ROW(ENXIO),        ERRNO_ROW(EOVERFLOW),
                   ERRNO_ROW(EPERM),           ERRNO_ROW(EPIPE),        ERRNO_ROW(EPROTO),
                   ERRNO_ROW(EPROTONOSUPPORT), ERRNO_ROW(EPROTOTYPE),   ERRNO_ROW(ERANGE),
                   ERRNO_ROW(EROFS),           ERRNO_ROW(ESPIPE),       ERRNO_ROW(ESRCH),
                   ERRNO_ROW(ETIMEDOUT),       ERRNO_ROW(ETXTBSY),      ERRNO_ROW(EXDEV)};

static const char *errno_name(int errnum)
{
    for (size_t i = 0; i < ARRAY_LEN(errno_names); i++) {
        if (errno_names[i].number == errnum) {
            return errno_names[i].name;
        }
    }
    return NULL;
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
    va_start(args, fmt);
    char *hint = format(fmt, args); /* may quote the old one */
    va_end(args);
    mem_free(err->hint);
    err->hint = hint;
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
