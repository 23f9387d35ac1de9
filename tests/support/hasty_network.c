/*
 * A network whose patience is short: loaded into a process (LD_PRELOAD), it divides the times after
 * which TCP takes a silent peer for dead, as the process asks for them, by HASTY_FACTOR. With the
 * factor 0 the process may ask for what it wants, and TCP waits as long as it would by itself.
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_patience(int level, int name)
{
    return (level == SOL_SOCKET && name == SO_KEEPALIVE) ||
           (level == IPPROTO_TCP &&
            (name == TCP_KEEPIDLE || name == TCP_KEEPINTVL || name == TCP_USER_TIMEOUT));
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    const char *text = getenv("HASTY_FACTOR");
    int factor = text ? atoi(text) : 1, shorter = 1;

    if (!is_patience(level, name) || len != sizeof shorter) {
        return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
    }
    if (factor == 0) {
        return 0;
    }
    if (level == IPPROTO_TCP) {
        shorter = *(const int *)value / factor > 1 ? *(const int *)value / factor : 1;
    }
    return (int)syscall(SYS_setsockopt, fd, level, name, &shorter, sizeof shorter);
}
