/* The connector's process and its three pipes. */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, LINE_BYTES = 64 * 1024 };

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void set_nonblocking(int fd)
{
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void become_connector(const struct fr_launch *launch, int pipes[3][2])
{
    for (int i = 0; i < 3; i++) {
        (void)dup2(pipes[i][i == 0 ? 0 : 1], i);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    execve(launch->argv[0], launch->argv, launch->environment);
    static const char text[] = "{\"level\":\"fatal\",\"msg\":\"cannot start the connector\"}\n";
    ssize_t ignored = write(2, text, sizeof(text) - 1);
    (void)ignored;
    _exit(127);
}

bool fr_peer_start(struct fr_peer *peer, const struct fr_launch *launch, struct fr_buf *error)
{
    int pipes[3][2];
    for (int i = 0; i < 3; i++) {
        if (pipe(pipes[i]) != 0) {
            fr_buf_printf(error, "pipe: %s", strerror(errno));
            return false;
        }
    }
    pid_t pid = fork();
    if (pid < 0) {
        fr_buf_printf(error, "fork: %s", strerror(errno));
        return false;
    }
    if (pid == 0) {
        become_connector(launch, pipes);
    }
    close(pipes[0][0]);
    close(pipes[1][1]);
    close(pipes[2][1]);
    peer->pid = pid;
    peer->in_fd = pipes[0][1];
    peer->out_fd = pipes[1][0];
    peer->err_fd = pipes[2][0];
    set_nonblocking(peer->in_fd);
    set_nonblocking(peer->out_fd);
    set_nonblocking(peer->err_fd);
    peer->out.len = 0;
    peer->out_sent = 0;
    peer->in.len = 0;
    peer->in_used = 0;
    peer->err_line.len = 0;
    peer->last_line.len = 0;
    return true;
}

/* ---------------------------------------------------------------- moving bytes */

bool fr_peer_has_output(const struct fr_peer *peer)
{
    return peer->in_fd >= 0 && peer->out_sent < peer->out.len;
}

bool fr_peer_is_gone(const struct fr_peer *peer)
{
    return peer->out_fd < 0;
}

void fr_peer_close_input(struct fr_peer *peer)
{
    close_fd(&peer->in_fd);
}

static bool write_some(struct fr_peer *peer)
{
    ssize_t wrote =
        write(peer->in_fd, peer->out.data + peer->out_sent, peer->out.len - peer->out_sent);
    if (wrote < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            close_fd(&peer->in_fd); /* its end will be seen on stdout */
        }
        return false;
    }
    peer->out_sent += (size_t)wrote;
    /* A connector that is slower never takes all of it: what it took must not pile up. */
    if (peer->out_sent >= peer->out.len - peer->out_sent) {
        peer->out.len -= peer->out_sent;
        memmove(peer->out.data, peer->out.data + peer->out_sent, peer->out.len);
        peer->out_sent = 0;
    }
    return true;
}

static bool read_some(struct fr_peer *peer)
{
    if (peer->in_used > 0) {
        fr_buf_cut(&peer->in, peer->in_used);
        peer->in_used = 0;
    }
    fr_buf_reserve(&peer->in, READ_BYTES);
    ssize_t got = read(peer->out_fd, peer->in.data + peer->in.len, READ_BYTES);
    if (got < 0) {
        return false;
    }
    if (got == 0) {
        close_fd(&peer->out_fd);
        return true;
    }
    peer->in.len += (size_t)got;
    return true;
}

static void keep_line(struct fr_peer *peer)
{
    if (peer->err_line.len > 0) {
        peer->last_line.len = 0;
        fr_buf_put(&peer->last_line, peer->err_line.data, peer->err_line.len);
        peer->err_line.len = 0;
    }
}

static bool read_log(struct fr_peer *peer)
{
    char bytes[16384];
    ssize_t got = read(peer->err_fd, bytes, sizeof(bytes));
    if (got < 0) {
        return false;
    }
    if (got == 0) {
        close_fd(&peer->err_fd);
        return true;
    }
    ssize_t ignored = write(peer->log_fd, bytes, (size_t)got);
    (void)ignored;
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '\n') {
            keep_line(peer);
        } else if (peer->err_line.len < LINE_BYTES) {
            fr_buf_putc(&peer->err_line, bytes[i]);
        }
    }
    return true;
}

bool fr_peer_pump(struct fr_peer *peer, int timeout_ms)
{
    return fr_peer_pump_all(&peer, 1, timeout_ms);
}

bool fr_peer_pump_all(struct fr_peer *const *peers, size_t count, int timeout_ms)
{
    struct pollfd fds[3 * FR_MAX_PEERS];
    bool is_open = false;
    bool moved = false;

    for (size_t i = 0; i < count; i++) {
        const struct fr_peer *peer = peers[i];
        fds[3 * i] =
            (struct pollfd){.fd = fr_peer_has_output(peer) ? peer->in_fd : -1, .events = POLLOUT};
        fds[3 * i + 1] = (struct pollfd){.fd = peer->out_fd, .events = POLLIN};
        fds[3 * i + 2] = (struct pollfd){.fd = peer->err_fd, .events = POLLIN};
        is_open |= fds[3 * i].fd >= 0 || peer->out_fd >= 0 || peer->err_fd >= 0;
    }
    if (!is_open || poll(fds, (nfds_t)(3 * count), timeout_ms) <= 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (fds[3 * i + 2].revents != 0) {
            moved |= read_log(peers[i]);
        }
        if (fds[3 * i + 1].revents != 0) {
            moved |= read_some(peers[i]);
        }
        if (fds[3 * i].revents != 0) {
            moved |= write_some(peers[i]);
        }
    }
    return moved;
}

/* ---------------------------------------------------------------- messages */

bool fr_peer_has_fragment(const struct fr_peer *peer)
{
    return peer->in_used < peer->in.len;
}

static enum fr_got next_line(struct fr_peer *peer,
                             struct fr_arena *arena,
                             struct fr_json **ret_message,
                             struct fr_buf *error)
{
    const char *start = peer->in.data + peer->in_used;
    size_t left = peer->in.len - peer->in_used;
    const char *end = left == 0 ? NULL : memchr(start, '\n', left);
    const char *reason = NULL;
    if (end == NULL) {
        return FR_GOT_NONE;
    }
    size_t len = (size_t)(end - start);
    peer->in_used += len + 1;
    *ret_message = fr_json_parse(arena, start, len, &reason);
    if (*ret_message == NULL) {
        fr_buf_printf(error, "one JSON object per line, nothing else on stdout: %s: \"%.*s\"",
                      reason, (int)(len < 200 ? len : 200), start);
        return FR_GOT_BROKEN;
    }
    if (!fr_wire_check(&fr_response, *ret_message, error)) {
        return FR_GOT_BROKEN;
    }
    /* A raw tab can only stand between tokens: inside strings it is no JSON. */
    if (memchr(start, '\t', len) != NULL && (*ret_message)->count > 0 &&
        fr_json_get((*ret_message)->members[0].value, "state") != NULL) {
        fr_buf_puts(error, "no raw tab or newline inside a state update");
        return FR_GOT_BROKEN;
    }
    return FR_GOT_MESSAGE;
}

static enum fr_got next_frame(struct fr_peer *peer,
                              struct fr_arena *arena,
                              struct fr_json **ret_message,
                              struct fr_buf *error)
{
    const unsigned char *start = (const unsigned char *)peer->in.data + peer->in_used;
    size_t left = peer->in.len - peer->in_used;
    if (left < 4) {
        return FR_GOT_NONE;
    }
    size_t len =
        (size_t)start[0] | (size_t)start[1] << 8 | (size_t)start[2] << 16 | (size_t)start[3] << 24;
    if (len > (size_t)1 << 30) {
        fr_buf_printf(error, "a frame is a 4-byte little-endian length and a message (%zu bytes)",
                      len);
        return FR_GOT_BROKEN;
    }
    if (left - 4 < len) {
        return FR_GOT_NONE;
    }
    *ret_message = fr_wire_decode(arena, &fr_response, (const char *)start + 4, len, error);
    peer->in_used += len + 4;
    return *ret_message == NULL ? FR_GOT_BROKEN : FR_GOT_MESSAGE;
}

enum fr_got fr_peer_next(struct fr_peer *peer,
                         enum fr_codec codec,
                         struct fr_arena *arena,
                         struct fr_json **ret_message,
                         struct fr_buf *error)
{
    if (!fr_peer_has_fragment(peer)) {
        return FR_GOT_NONE;
    }
    enum fr_got got = codec == FR_CODEC_JSON ? next_line(peer, arena, ret_message, error)
                                             : next_frame(peer, arena, ret_message, error);
    if (got == FR_GOT_MESSAGE && (*ret_message)->count != 1) {
        fr_buf_printf(error, "exactly one kind per response; got %u", (*ret_message)->count);
        return FR_GOT_BROKEN;
    }
    return got;
}

/* ---------------------------------------------------------------- its end */

void fr_peer_sample(struct fr_peer *peer)
{
    char path[64];
    struct fr_buf text = {0};
    (void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)peer->pid);
    if (peer->pid > 0 && fr_file_read(path, &text)) {
        const char *peak = strstr(text.data, "VmHWM:");
        long kib = peak == NULL ? 0 : strtol(peak + 6, NULL, 10);
        peer->peak_rss_kib = kib > peer->peak_rss_kib ? kib : peer->peak_rss_kib;
    }
    fr_buf_done(&text);
}

double fr_peer_cpu(const struct fr_peer *peer)
{
    clockid_t clock;
    struct timespec used;
    if (peer->pid <= 0 || clock_getcpuclockid(peer->pid, &clock) != 0 ||
        clock_gettime(clock, &used) != 0) {
        return 0;
    }
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

void fr_peer_kill(struct fr_peer *peer, int signal)
{
    if (peer->pid > 0) {
        fr_peer_sample(peer);
        (void)kill(peer->pid, signal);
    }
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void fr_peer_wait(struct fr_peer *peer, int timeout_ms)
{
    struct rusage usage;
    int64_t deadline = now_ms() + timeout_ms;

    close_fd(&peer->in_fd);
    /* Its pipes end when it does; what it still writes is kept. */
    while ((peer->out_fd >= 0 || peer->err_fd >= 0) && now_ms() < deadline) {
        (void)fr_peer_pump(peer, 100);
    }
    if (peer->out_fd >= 0 || peer->err_fd >= 0) {
        (void)kill(peer->pid, SIGKILL);
    }
    while (wait4(peer->pid, &peer->status, 0, &usage) < 0 && errno == EINTR) {
    }
    while (peer->err_fd >= 0 && fr_peer_pump(peer, 0)) {
    }
    keep_line(peer);
    peer->cpu_seconds += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    close_fd(&peer->out_fd);
    close_fd(&peer->err_fd);
    peer->pid = 0;
}

void fr_peer_done(struct fr_peer *peer)
{
    if (peer->pid > 0) {
        fr_peer_kill(peer, SIGKILL);
        fr_peer_wait(peer, 1000);
    }
    fr_buf_done(&peer->out);
    fr_buf_done(&peer->in);
    fr_buf_done(&peer->err_line);
    fr_buf_done(&peer->last_line);
}
