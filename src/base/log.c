/*
 * base/log: what the process tells people. Comes in: an event with its fields; goes out: one line
 * on stderr by one write. The reader (the Flow runtime) takes a line as structured only when it is
 * one JSON object whose level and time it understands.
 */

#include "base/log.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/last_words.h"
#include "base/size.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A line may carry a whole configuration (the configUpdate event), but no more. */
#define LINE_MAX_BYTES (4 * MIB)
/* The usual capacity of an empty pipe, see pipe(7). */
#define PIPE_BYTES (64 * KIB)

/* The house's one global: how much is said, how, and how many lines nobody took. Levels are
 * written once at the start; the counters are touched by pool threads too. */
static struct {
    enum log_level threshold;
    enum log_format format;
    atomic_uint_fast64_t dropped_total, dropped_unsaid;
} log_state = {.threshold = LOG_INFO, .format = LOG_FORMAT_JSON};

static const char *const level_names[] = {
    [LOG_TRACE] = "trace", [LOG_DEBUG] = "debug", [LOG_INFO] = "info",
    [LOG_WARN] = "warn",   [LOG_ERROR] = "error", [LOG_FATAL] = "fatal",
};

/* ---------------------------------------------------------------- what is said */

static bool find_level(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    if (strcasecmp(name, "warning") == 0) {
        *ret = LOG_WARN;
        return true;
    }
    if (strcasecmp(name, "panic") == 0) {
        *ret = LOG_FATAL;
        return true;
    }
    return false;
}

struct error *log_init(const char *level, const char *format)
{
    enum log_level threshold = LOG_INFO;
    enum log_format form = LOG_FORMAT_JSON;

    if (level && level[0] && !find_level(level, &threshold)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "LOG_LEVEL is '%.40s', which is none of trace, debug, info, warn, error, "
                         "fatal and panic",
                         level);
    }
    if (format && format[0]) {
        if (strcasecmp(format, "text") == 0 || strcasecmp(format, "color") == 0) {
            form = LOG_FORMAT_TEXT;
        } else if (strcasecmp(format, "json") != 0) {
            return error_new(ERROR_INPUT, ERROR_CONFIG,
                             "LOG_FORMAT is '%.40s', which is none of json, text and color",
                             format);
        }
    }
    log_state.threshold = threshold;
    log_state.format = form;
    return NULL;
}

bool log_is_on(enum log_level level)
{
    return level >= log_state.threshold;
}

uint64_t log_dropped(void)
{
    return atomic_load(&log_state.dropped_total);
}

/* ---------------------------------------------------------------- making the line */

/* The reader's own keys and their aliases. A field of ours with such a name would make the line
 * ambiguous, and with that unstructured. */
static bool is_reserved(const char *name)
{
    static const char *const reserved[] = {"level", "lvl",       "msg",    "message", "time",
                                           "ts",    "timestamp", "fields", "shard",   "spans"};

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (strcmp(name, reserved[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void add_escape(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        buf_add_str(out, "\\\"");
        break;
    case '\\':
        buf_add_str(out, "\\\\");
        break;
    case '\n':
        buf_add_str(out, "\\n");
        break;
    case '\r':
        buf_add_str(out, "\\r");
        break;
    case '\t':
        buf_add_str(out, "\\t");
        break;
    default:
        buf_printf(out, "\\u%04x", c);
        break;
    }
}

static void add_json_text(struct buf *out, struct span text)
{
    buf_add_byte(out, '"');
    while (text.len > 0) {
        unsigned char c = (unsigned char)text.ptr[0];
        uint32_t code_point;
        size_t len = text_decode(text, &code_point);
        if (len == 0) {
            buf_add_str(out, "\xef\xbf\xbd"); /* U+FFFD for a byte that is no character */
            len = 1;
        } else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) {
            add_escape(out, c);
        } else {
            buf_add(out, text.ptr, len);
        }
        text = (struct span){text.ptr + len, text.len - len};
    }
    buf_add_byte(out, '"');
}

/* "250ms", "1.25s", "1m2.5s", "3h0m1s" */
static void add_duration(struct buf *out, int64_t ms)
{
    char text[64];
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    int len = 0;

    if (left < 1000) {
        len = snprintf(text, sizeof(text), left ? "%ums" : "%us", (unsigned)left);
    } else {
        unsigned long long hours = left / 3600000;
        unsigned minutes = (unsigned)(left / 60000 % 60);
        if (hours > 0) {
            len = snprintf(text, sizeof(text), "%lluh%um", hours, minutes);
        } else if (minutes > 0) {
            len = snprintf(text, sizeof(text), "%um", minutes);
        }
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%u.%03u",
                        (unsigned)(left / 1000 % 60), (unsigned)(left % 1000));
        while (text[len - 1] == '0') {
            len--;
        }
        if (text[len - 1] == '.') {
            len--;
        }
        text[len++] = 's';
    }
    buf_add_str(out, ms < 0 ? "-" : "");
    buf_add(out, text, (size_t)len);
}

static void add_value(struct buf *out, const struct log_field *field)
{
    switch (field->kind) {
    case LOG_FIELD_STR:
    case LOG_FIELD_SPAN:
        if (field->text.ptr) {
            add_json_text(out, field->text);
        } else {
            buf_add_str(out, "null");
        }
        break;
    case LOG_FIELD_INT:
        buf_add_int(out, field->number);
        break;
    case LOG_FIELD_BOOL:
        buf_add_str(out, field->number ? "true" : "false");
        break;
    case LOG_FIELD_MS:
        buf_add_byte(out, '"');
        add_duration(out, field->number);
        buf_add_byte(out, '"');
        break;
    case LOG_FIELD_JSON:
        if (field->text.len == 0) {
            buf_add_str(out, "null");
        }
        for (size_t i = 0; i < field->text.len; i++) {
            bool ends_line = field->text.ptr[i] == '\n' || field->text.ptr[i] == '\r';
            buf_add(out, ends_line ? " " : field->text.ptr + i, 1); /* one line stays one line */
        }
        break;
    case LOG_FIELD_END:
        break;
    }
}

static void format_now(char out[48])
{
    struct timespec now;
    char whole[32];

    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    text_time(whole, now.tv_sec);
    /* The seconds' 'Z' makes room for the milliseconds. */
    (void)snprintf(out, 48, "%.*s.%03uZ", (int)strlen(whole) - 1, whole,
                   (unsigned)(now.tv_nsec / 1000000));
}

static void add_json_line(struct buf *out,
                          enum log_level level,
                          struct span msg,
                          const struct log_field *fields,
                          uint64_t dropped)
{
    char now[48];

    format_now(now);
    buf_printf(out, "{\"level\":\"%s\",\"msg\":", level_names[level]);
    add_json_text(out, msg);
    for (const struct log_field *field = fields; field && field->kind != LOG_FIELD_END; field++) {
        buf_add_byte(out, ',');
        buf_add_byte(out, '"');
        buf_add_str(out, field->name);
        buf_add_str(out, is_reserved(field->name) ? "_\":" : "\":");
        add_value(out, field);
    }
    if (dropped > 0) {
        buf_printf(out, ",\"droppedLines\":%llu", (unsigned long long)dropped);
    }
    buf_printf(out, ",\"time\":\"%s\"}\n", now);
}

/* For a person at a terminal. */
static void add_text_line(struct buf *out,
                          enum log_level level,
                          struct span msg,
                          const struct log_field *fields,
                          uint64_t dropped)
{
    char now[48];

    format_now(now);
    buf_printf(out, "%s %-5s ", now, level_names[level]);
    buf_add_span(out, msg);
    for (const struct log_field *field = fields; field && field->kind != LOG_FIELD_END; field++) {
        buf_printf(out, " %s=", field->name);
        add_value(out, field);
    }
    if (dropped > 0) {
        buf_printf(out, " droppedLines=%llu", (unsigned long long)dropped);
    }
    buf_add_byte(out, '\n');
}

static void add_line(struct buf *out,
                     enum log_level level,
                     struct span msg,
                     const struct log_field *fields,
                     uint64_t dropped)
{
    if (log_state.format == LOG_FORMAT_TEXT) {
        add_text_line(out, level, msg, fields, dropped);
    } else {
        add_json_line(out, level, msg, fields, dropped);
    }
}

/* ---------------------------------------------------------------- writing it */

/* True when a write of this length cannot make us wait. A pipe that polls writable has room for
 * PIPE_BUF bytes; how much more is known only of an empty one. O_NONBLOCK is no way out: the flag
 * belongs to the open file, which other processes share. */
static bool has_room(int fd, size_t len)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    struct stat stat;
    int unread;

    if (poll(&poll_fd, 1, 0) != 1 || !(poll_fd.revents & POLLOUT)) {
        return false;
    }
    if (len <= PIPE_BUF || fstat(fd, &stat) != 0 ||
        !(S_ISFIFO(stat.st_mode) || S_ISSOCK(stat.st_mode))) {
        return true;
    }
    return len <= PIPE_BYTES && ioctl(fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* The whole line, if need be in several writes: half a line would spoil the next one. */
static bool write_line(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, ptr, len);
        if (count >= 0) {
            ptr += count;
            len -= (size_t)count;
        } else if (errno == EAGAIN) {
            struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
            (void)poll(&poll_fd, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void count_dropped(uint64_t unsaid)
{
    atomic_fetch_add(&log_state.dropped_total, 1);
    atomic_fetch_add(&log_state.dropped_unsaid, unsaid + 1);
}

static void write_event(enum log_level level, struct span msg, const struct log_field *fields)
{
    uint64_t unsaid = atomic_exchange(&log_state.dropped_unsaid, 0);
    struct buf line;

    buf_init(&line, LINE_MAX_BYTES);
    add_line(&line, level, msg, fields, unsaid);
    if (buf_is_full(&line)) {
        const struct log_field too_long[] = {LOG_BOOL("fieldsTooLong", true), LOG_END};
        buf_clear(&line);
        msg.len = text_utf8_cut(msg, 64 * KIB);
        add_line(&line, level, msg, too_long, unsaid);
    }
    if ((level < LOG_WARN && !has_room(STDERR_FILENO, line.len)) ||
        !write_line(STDERR_FILENO, line.data, line.len)) {
        count_dropped(unsaid);
    }
    buf_done(&line);
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    if (log_is_on(level)) {
        write_event(level, span_of(msg), fields);
    }
}

void log_fatal(const struct error *err)
{
    const char *hint = error_hint(err);
    const char *origin = error_origin(err);
    struct log_field fields[3] = {LOG_END, LOG_END, LOG_END};
    size_t count = 0;

    if (hint[0]) {
        fields[count++] = LOG_STR("hint", hint);
    }
    if (origin[0]) {
        fields[count++] = LOG_STR("origin", origin);
    }
    write_event(LOG_FATAL, span_of(error_text(err)), fields);
}

static void write_formatted(enum log_level level, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

static void write_formatted(enum log_level level, const char *fmt, va_list args)
{
    char text[1024];
    int len = vsnprintf(text, sizeof(text), fmt, args);

    CHECK(len >= 0);
    struct span msg = {text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1};
    msg.len = text_utf8_cut(msg, msg.len);
    write_event(level, msg, NULL);
}

void log_trace(const char *fmt, ...)
{
    va_list args;

    if (log_is_on(LOG_TRACE)) {
        va_start(args, fmt);
        write_formatted(LOG_TRACE, fmt, args);
        va_end(args);
    }
}

void log_debug(const char *fmt, ...)
{
    va_list args;

    if (log_is_on(LOG_DEBUG)) {
        va_start(args, fmt);
        write_formatted(LOG_DEBUG, fmt, args);
        va_end(args);
    }
}

/* ---------------------------------------------------------------- without memory */

void log_last_words(const char *text)
{
    char storage[2048];
    char now[48];
    /* Has its memory already and never asks for more: the text is cut well before that. */
    struct buf line = {.data = storage, .cap = sizeof(storage) - 1, .max = sizeof(storage) - 1};
    size_t len = strlen(text);

    storage[0] = '\0';
    if (len > 700) {
        len = 700;
    }
    format_now(now);
    if (log_state.format == LOG_FORMAT_TEXT) {
        buf_printf(&line, "%s fatal %.*s\n", now, (int)len, text);
    } else {
        buf_add_str(&line, "{\"level\":\"fatal\",\"msg\":\"");
        for (size_t i = 0; i < len; i++) {
            unsigned char c = (unsigned char)text[i];
            if (c < 0x20 || c >= 0x7f) {
                buf_add_byte(&line, '?');
            } else {
                buf_add_str(&line, c == '"' || c == '\\' ? "\\" : "");
                buf_add_byte(&line, (char)c);
            }
        }
        buf_printf(&line, "\",\"time\":\"%s\"}\n", now);
    }
    (void)write_line(STDERR_FILENO, line.data, line.len);
}
