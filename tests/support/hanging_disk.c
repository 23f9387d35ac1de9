/*
 * A disk that hangs: loaded into a process (LD_PRELOAD), it lets all but the first write to the
 * file that HANGING_FILE names in part wait for ever. Everything else is written as usual.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned writes;

ssize_t write(int fd, const void *bytes, size_t len)
{
    const char *hanging = getenv("HANGING_FILE");
    char link[64], path[4096];

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, sizeof path - 1);
    path[got > 0 ? got : 0] = '\0';
    if (hanging && strstr(path, hanging) && __atomic_fetch_add(&writes, 1, __ATOMIC_SEQ_CST) > 0) {
        for (;;) {
            (void)pause();
        }
    }
    return syscall(SYS_write, fd, bytes, len);
}
