/* See session.h. In: records of a capture, bytes from the connector's stdout. Out: bytes to its
   stdin. It waits where the protocol says that the runtime waits, and nowhere else:

        Acknowledge   Opened, or StartedCommit of the transaction before
        Load          nothing
        Flush         Acknowledged
        Store, StartCommit   Flushed
        Spec, Validate, Apply, Open   every answer before
*/
#include "replay/session.h"

#include "base/size.h"
#include "json/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUT_BYTES (2 * MIB) /* waiting to be written before the next request is read */
#define IN_BYTES (256 * KIB)

struct step {
    unsigned kind;
    uint64_t count;
};

/* Kinds of answers in their order, equal ones next to each other counted. */
struct course {
    struct step *steps;
    size_t count, room;
};

struct session {
    const struct session_options *options;
    struct rework *rework;
    struct tally *tally;
    struct capture_reader *reader;
    enum proto_codec codec;

    pid_t pid;
    int in_fd, out_fd; /* its stdin, its stdout; -1: closed */
    struct buf out, in;
    size_t out_sent, in_used;
    struct json_framer framer; /* JSON: of the answer that begins at in_used */
    size_t framed;

    uint64_t requests[KIND_MAX], responses[KIND_MAX];
    struct course recorded, replayed;
    bool is_orderly; /* the capture has an end */
    double began, first_acknowledge, last_answer;
    uint64_t began_us; /* in the capture */
};

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void note_problem(struct tally *tally, const char *format, ...) PRINTF_LIKE(2, 3);

static void note_problem(struct tally *tally, const char *format, ...)
{
    va_list args;

    if (tally->problem[0] == '\0') { /* the first one counts */
        va_start(args, format);
        (void)vsnprintf(tally->problem, sizeof tally->problem, format, args);
        va_end(args);
    }
}

static void add_step(struct course *course, unsigned kind)
{
    if (course->count > 0 && course->steps[course->count - 1].kind == kind) {
        course->steps[course->count - 1].count++;
        return;
    }
    if (course->count == course->room) {
        course->room = course->room ? 2 * course->room : 64;
        course->steps = mem_realloc(course->steps, course->room * sizeof *course->steps);
    }
    course->steps[course->count++] = (struct step){kind, 1};
}

/* ---------------------------------------------------------------- the process */

static struct error *start_connector(struct session *session)
{
    int to[2], from[2];

    if (pipe(to) != 0 || pipe(from) != 0) {
        return error_from_errno(errno, ERROR_FATAL, "making pipes");
    }
    session->pid = fork();
    if (session->pid < 0) {
        return error_from_errno(errno, ERROR_FATAL, "starting the connector");
    }
    if (session->pid == 0) {
        (void)dup2(to[0], STDIN_FILENO);
        (void)dup2(from[1], STDOUT_FILENO);
        (void)close(to[1]);
        (void)close(from[0]);
        (void)setenv("FLOW_RUNTIME_CODEC", session->codec == PROTO_CODEC_JSON ? "json" : "proto",
                     1);
        (void)unsetenv("FLOW_CAPTURE");
        (void)execl(session->options->connector, session->options->connector, (char *)NULL);
        perror(session->options->connector);
        _exit(127);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    session->in_fd = to[1];
    session->out_fd = from[0];
    (void)fcntl(session->in_fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(session->out_fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(session->in_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(session->out_fd, F_SETFL, O_NONBLOCK);
    return NULL;
}

static void close_input(struct session *session)
{
    if (session->in_fd >= 0) {
        (void)close(session->in_fd);
        session->in_fd = -1;
    }
}

static void send_bytes(struct session *session)
{
    const size_t left = session->out.len - session->out_sent;
    ssize_t sent = write(session->in_fd, session->out.data + session->out_sent, left);

    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (sent < 0) { /* its end is told by its stdout */
        close_input(session);
        sent = (ssize_t)left;
    }
    session->out_sent += (size_t)sent;
    if (session->out_sent == session->out.len) {
        buf_clear(&session->out);
        session->out_sent = 0;
    }
}

/* The next whole answer in what was read. */
static bool next_answer(struct session *session, struct span *ret)
{
    const char *at = session->in.data + session->in_used;
    const size_t rest = session->in.len - session->in_used;

    if (session->codec == PROTO_CODEC_JSON) {
        size_t used;
        if (!json_frame(&session->framer, at + session->framed, rest - session->framed, &used)) {
            session->framed = rest;
            return false;
        }
        *ret = (struct span){at, session->framed + used};
        session->in_used += ret->len;
        session->framed = 0;
        while (ret->len > 0 && (*ret->ptr == '\n' || *ret->ptr == ' ')) {
            *ret = (struct span){ret->ptr + 1, ret->len - 1};
        }
        return true;
    }
    if (rest < 4) {
        return false;
    }
    const unsigned char *head = (const unsigned char *)at;
    const size_t len =
        (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (rest - 4 < len) {
        return false;
    }
    *ret = (struct span){at + 4, len};
    session->in_used += 4 + len;
    return true;
}

static struct error *take_answers(struct session *session)
{
    struct span answer;

    while (next_answer(session, &answer)) {
        const unsigned kind = proto_frame_kind(session->codec, true, answer);
        session->responses[kind]++;
        add_step(&session->replayed, kind);
        session->last_answer = now();
        RETURN_IF_ERROR(rework_take_response(session->rework, kind, answer));
    }
    memmove(session->in.data, session->in.data + session->in_used,
            session->in.len - session->in_used);
    session->in.len -= session->in_used;
    session->in_used = 0;
    return NULL;
}

static struct error *receive_bytes(struct session *session)
{
    char *to = buf_reserve(&session->in, IN_BYTES);
    CHECK(to);
    ssize_t got = read(session->out_fd, to, IN_BYTES);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return NULL;
    }
    if (got <= 0) {
        (void)close(session->out_fd);
        session->out_fd = -1;
        return NULL;
    }
    buf_commit(&session->in, (size_t)got);
    return take_answers(session);
}

/* Moves bytes both ways, waiting for at most timeout_ms for the first of them. */
static struct error *pump(struct session *session, int timeout_ms, bool *ret_moved)
{
    struct pollfd fds[2] = {{.fd = session->out_fd, .events = POLLIN},
                            {.fd = session->out.len > 0 ? session->in_fd : -1, .events = POLLOUT}};

    *ret_moved = false;
    int ready = poll(fds, 2, timeout_ms);
    if (ready < 0 && errno != EINTR) {
        return error_from_errno(errno, ERROR_FATAL, "waiting for the connector");
    }
    if (ready <= 0) {
        return NULL;
    }
    *ret_moved = true;
    if (fds[1].revents) {
        send_bytes(session);
    }
    return fds[0].revents ? receive_bytes(session) : NULL;
}

static bool is_gone(const struct session *session)
{
    return session->out_fd < 0;
}

/* One more turn while something is waited for. */
static struct error *pump_or_complain(struct session *session, const char *what)
{
    bool moved;

    RETURN_IF_ERROR(pump(session, (int)session->options->silence_s * 1000, &moved));
    if (!moved) {
        return error_new(ERROR_TIMEOUT, ERROR_FATAL,
                         "the connector was silent for %u s; waiting for %s",
                         session->options->silence_s, what);
    }
    return NULL;
}

/* ---------------------------------------------------------------- when a request may be sent */

enum { SPEC = 1, VALIDATED, APPLIED, OPENED, LOADED, FLUSHED, STARTED_COMMIT, ACKNOWLEDGED };

static const char *missing_before(const struct session *session, unsigned kind)
{
    const uint64_t *sent = session->requests, *came = session->responses;

    switch ((enum proto_request_kind)kind) {
    case PROTO_SPEC:
    case PROTO_VALIDATE:
    case PROTO_APPLY:
    case PROTO_OPEN:
        return came[SPEC] < sent[PROTO_SPEC]            ? "Spec"
               : came[VALIDATED] < sent[PROTO_VALIDATE] ? "Validated"
               : came[APPLIED] < sent[PROTO_APPLY]      ? "Applied"
                                                        : NULL;
    case PROTO_ACKNOWLEDGE:
        return came[OPENED] < sent[PROTO_OPEN]                   ? "Opened"
               : came[STARTED_COMMIT] < sent[PROTO_START_COMMIT] ? "StartedCommit"
                                                                 : NULL;
    case PROTO_FLUSH:
        return came[ACKNOWLEDGED] < sent[PROTO_ACKNOWLEDGE] ? "Acknowledged" : NULL;
    case PROTO_STORE:
    case PROTO_START_COMMIT:
        return came[FLUSHED] < sent[PROTO_FLUSH] ? "Flushed" : NULL;
    case PROTO_LOAD:
        break;
    }
    return NULL;
}

static struct error *wait_for_time(struct session *session, uint64_t clock_us)
{
    const double due = session->began + (double)(clock_us - session->began_us) / 1e6;
    double left;
    bool moved;

    while (session->options->recorded_speed && clock_us > session->began_us &&
           (left = due - now()) > 0 && !is_gone(session)) {
        RETURN_IF_ERROR(pump(session, left > 0.001 ? (int)(left * 1000) : 1, &moved));
    }
    return NULL;
}

static void add_prefix(struct session *session, size_t at)
{
    const size_t len = session->out.len - at - 4;

    for (unsigned i = 0; i < 4; i++) {
        session->out.data[at + i] = (char)(unsigned char)(len >> (8 * i));
    }
}

static struct error *send_request(struct session *session, const struct capture_record *record)
{
    const unsigned kind = proto_frame_kind(session->codec, false, record->frame);
    const char *missing;

    while ((missing = missing_before(session, kind)) && !is_gone(session)) {
        RETURN_IF_ERROR(pump_or_complain(session, missing));
    }
    while (session->out.len > OUT_BYTES && !is_gone(session)) {
        RETURN_IF_ERROR(pump_or_complain(session, "room in its stdin"));
    }
    RETURN_IF_ERROR(wait_for_time(session, record->clock_us));
    if (is_gone(session)) {
        return NULL;
    }
    const size_t at = session->out.len;
    if (session->codec == PROTO_CODEC_PROTOBUF) {
        buf_add(&session->out, "\0\0\0\0", 4);
    }
    RETURN_IF_ERROR(error_wrap(rework_request(session->rework, kind, record->frame, &session->out),
                               "preparing %s", proto_request_name((enum proto_request_kind)kind)));
    if (session->codec == PROTO_CODEC_PROTOBUF) {
        add_prefix(session, at);
    } else {
        buf_add_byte(&session->out, '\n');
    }
    CHECK(!buf_is_full(&session->out));
    session->requests[kind]++;
    session->tally->bytes += session->out.len - at;
    if (kind == PROTO_ACKNOWLEDGE && session->requests[kind] == 1) {
        session->first_acknowledge = now();
    }
    return NULL;
}

/* ---------------------------------------------------------------- records */

static struct error *
begin(struct session *session, const struct capture_record *record, const char *path)
{
    const struct capture_header *header = &record->header;

    if (header->segment != 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "\"%s\" is not the first file of its capture",
                         path);
    }
    if (!span_is(header->codec, "json") && !span_is(header->codec, "proto")) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "\"%s\" has an unknown codec", path);
    }
    session->codec = span_is(header->codec, "json") ? PROTO_CODEC_JSON : PROTO_CODEC_PROTOBUF;
    session->rework->codec = session->codec;
    session->began_us = record->clock_us;
    session->began = now();
    return start_connector(session);
}

/* *ret_goes_on false: what follows in the capture cannot be sent. */
static struct error *
take_record(struct session *session, const struct capture_record *record, bool *ret_goes_on)
{
    struct tally *tally = session->tally;

    switch (record->kind) {
    case CAPTURE_HEADER:
        if (record->header.segment != 1) {
            note_problem(tally, "the capture has a gap: its size limit was reached");
            *ret_goes_on = false;
        }
        return NULL;
    case CAPTURE_FRAME:
        if (record->direction == CAPTURE_REQUEST) {
            RETURN_IF_ERROR(send_request(session, record));
            *ret_goes_on = !is_gone(session);
        } else {
            add_step(&session->recorded, proto_frame_kind(session->codec, true, record->frame));
        }
        return NULL;
    case CAPTURE_WITHHELD:
        note_problem(tally, "the capture has a request that could not be read");
        *ret_goes_on = false;
        return NULL;
    case CAPTURE_END:
        session->is_orderly = record->reason.len == 0;
        if (!session->is_orderly && !span_is(record->reason, CAPTURE_FAILED)) {
            note_problem(tally, "the capture ended itself: %.*s", SPAN_FMT(record->reason));
        }
        return NULL;
    }
    return NULL;
}

static struct error *play(struct session *session, const char *path)
{
    struct capture_record record;
    bool have, goes_on = true;

    RETURN_IF_ERROR(capture_reader_next(session->reader, &record, &have));
    if (!have) {
        note_problem(session->tally, "\"%s\" has nothing in it", path);
        return NULL;
    }
    RETURN_IF_ERROR(begin(session, &record, path));
    /* Answers do not wait for requests: they are taken whenever they are there. */
    while (goes_on) {
        RETURN_IF_ERROR(capture_reader_next(session->reader, &record, &have));
        if (!have) {
            break;
        }
        RETURN_IF_ERROR(take_record(session, &record, &goes_on));
        if (record.kind != CAPTURE_FRAME || record.direction == CAPTURE_RESPONSE) {
            continue;
        }
        if (session->out.len > 64 * KIB) {
            bool moved;
            RETURN_IF_ERROR(pump(session, 0, &moved));
        }
    }
    return NULL;
}

/* Everything was sent: the rest of the answers, the end of the process. */
static struct error *finish(struct session *session)
{
    int status = 0;

    while (session->out.len > 0 && !is_gone(session)) {
        RETURN_IF_ERROR(pump_or_complain(session, "room in its stdin"));
    }
    /* A session that was cut off is ended after the answers that are due, so that the connector
       is not asked to end in the middle of what it does. */
    const char *missing;
    while (!is_gone(session) && ((missing = missing_before(session, PROTO_SPEC)) ||
                                 (missing = missing_before(session, PROTO_ACKNOWLEDGE)) ||
                                 (missing = missing_before(session, PROTO_FLUSH)) ||
                                 (missing = missing_before(session, PROTO_STORE)))) {
        RETURN_IF_ERROR(pump_or_complain(session, missing));
    }
    close_input(session);
    while (!is_gone(session)) {
        RETURN_IF_ERROR(pump_or_complain(session, "its end"));
    }
    (void)waitpid(session->pid, &status, 0);
    session->pid = 0;
    if (session->is_orderly && status != 0) {
        note_problem(session->tally, "the connector ended with status %d",
                     WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }
    return NULL;
}

/* A capture that was cut off may lack answers; what it has must be the same. */
static void compare(struct session *session)
{
    const struct course *recorded = &session->recorded, *replayed = &session->replayed;

    for (size_t i = 0; i < recorded->count; i++) {
        const struct step *want = &recorded->steps[i];
        const struct step none = {0, 0}, *got = i < replayed->count ? &replayed->steps[i] : &none;
        const bool may_have_more = !session->is_orderly && i + 1 == recorded->count;
        if (want->kind != got->kind ||
            (may_have_more ? got->count < want->count : got->count != want->count)) {
            note_problem(session->tally,
                         "answer %zu differs: %s %" PRIu64 " times in the capture, %s %" PRIu64
                         " times now",
                         i + 1, proto_response_name(want->kind), want->count,
                         proto_response_name(got->kind), got->count);
            return;
        }
    }
    if (session->is_orderly && replayed->count > recorded->count) {
        note_problem(session->tally, "there are more answers than in the capture");
    }
}

struct error *session_replay(const struct session_options *options,
                             const char *capture,
                             struct rework *rework,
                             struct tally *tally)
{
    struct session session = {
        .options = options, .rework = rework, .tally = tally, .in_fd = -1, .out_fd = -1};

    buf_init(&session.out, 2 * PROTO_MAX_FRAME + OUT_BYTES);
    buf_init(&session.in, 2 * PROTO_MAX_FRAME);
    struct error *err = capture_reader_open(capture, &session.reader);
    if (!err) {
        err = play(&session, capture);
    }
    if (!err && session.pid > 0) {
        err = finish(&session);
    }
    if (session.pid > 0) {
        (void)kill(session.pid, SIGKILL);
        (void)waitpid(session.pid, NULL, 0);
    }
    if (!err) {
        compare(&session);
        tally->torn += capture_reader_torn_bytes(session.reader);
    }
    for (unsigned i = 0; i < KIND_MAX; i++) {
        tally->requests[i] += session.requests[i];
        tally->responses[i] += session.responses[i];
    }
    if (session.first_acknowledge > 0) {
        tally->seconds += session.last_answer - session.first_acknowledge;
    }
    close_input(&session);
    if (session.out_fd >= 0) {
        (void)close(session.out_fd);
    }
    capture_reader_free(session.reader);
    buf_done(&session.out);
    buf_done(&session.in);
    mem_free(session.recorded.steps);
    mem_free(session.replayed.steps);
    return err;
}
