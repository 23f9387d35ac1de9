#ifndef TESTS_UNIT_BASE_ABORTS_H
#define TESTS_UNIT_BASE_ABORTS_H

/*
 * What a CHECK does can only be seen from outside: run_in_child runs a function in a process of
 * its own, tells whether that was aborted, and brings back what it said on stderr.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns true when fn ended in abort(3). said is terminated. */
static inline bool run_in_child(void (*fn)(void), char *said, size_t size)
{
    int ends[2];
    int status = 0;
    size_t len = 0;
    ssize_t count;

    said[0] = '\0';
    if (pipe(ends) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    (void)close(ends[1]);
    while (len + 1 < size && (count = read(ends[0], said + len, size - 1 - len)) > 0) {
        len += (size_t)count;
    }
    said[len] = '\0';
    (void)close(ends[0]);
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif
