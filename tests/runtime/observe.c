/* The observer's end of the run: a line out, a line in. Blocks, since that is its purpose. When the
   observer leaves, the run goes on without it. */
#include "observe.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum fr_end fr_observe_open(struct fr_run *run)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = run->options.observer;
    run->observer_fd = -1;
    if (path == NULL) {
        return FR_OK;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
        return fr_verdict(run, FR_USAGE, "%s: no socket", path);
    }
    memcpy(address.sun_path, path, strlen(path));
    run->observer_fd = fd;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return fr_verdict(run, FR_USAGE, "%s: nobody looks on there", path);
    }
    return FR_OK;
}

void fr_observe_done(struct fr_run *run)
{
    if (run->options.observer != NULL && run->observer_fd >= 0) {
        close(run->observer_fd);
        run->observer_fd = -1;
    }
}

enum fr_end fr_observe_tell(struct fr_run *run,
                            const char *at,
                            uint64_t position,
                            const struct fr_json *updates)
{
    struct fr_buf line = {0};
    char answer = 0;
    if (run->options.observer == NULL || run->observer_fd < 0) {
        return FR_OK;
    }
    fr_buf_printf(&line, "{\"at\":\"%s\",\"position\":%llu,\"patches\":", at,
                  (unsigned long long)position);
    if (updates != NULL) {
        fr_json_put(&line, updates);
    } else {
        fr_buf_puts(&line, "[]");
    }
    fr_buf_puts(&line, "}\n");
    size_t sent = 0;
    while (sent < line.len) {
        ssize_t put = send(run->observer_fd, line.data + sent, line.len - sent, MSG_NOSIGNAL);
        if (put <= 0) {
            break;
        }
        sent += (size_t)put;
    }
    fr_buf_done(&line);
    while (answer != '\n') {
        if (recv(run->observer_fd, &answer, 1, 0) != 1) {
            fr_observe_done(run);
            return FR_OK;
        }
    }
    return FR_OK;
}
