#ifndef SUPPORT_SSHD_H
#define SUPPORT_SSHD_H

/*
 * A real SSH server for tests: Debian's sshd with a configuration, host keys and authorized keys of
 * its own in a folder of its own, on a free port of 127.0.0.1, run by whoever runs the test (root
 * needs no more than any other user; PAM is off). Everything ends the program with a sentence when
 * it cannot be had: without it no test here means anything.
 */

#include <stdbool.h>
#include <sys/types.h>

struct sshd {
    char dir[256];
    char user[64]; /* who may log in: who runs the test */
    int port;
    pid_t pid; /* of the listener; 0: not running */
};

/* Makes the folder, the host keys and the configuration. extra: lines of sshd_config(5) that
 * have precedence, or NULL. */
void sshd_make(struct sshd *sshd, const char *extra);
void sshd_start(struct sshd *sshd); /* returns when it listens */
void sshd_stop(struct sshd *sshd);  /* listener and sessions, at once; harmless twice */
unsigned sshd_sessions(const struct sshd *sshd); /* processes that serve connections */
void sshd_kill_sessions(const struct sshd *sshd);
void sshd_freeze(const struct sshd *sshd, bool freeze); /* SIGSTOP or SIGCONT, sessions too */
void sshd_remove(struct sshd *sshd);                    /* stops, and removes the folder */

/* Runs ssh-keygen for a key "name" with these further arguments, ended by NULL. may_log_in: puts it
 * into authorized_keys. The private key as text; the caller frees it. */
char *sshd_key(const struct sshd *sshd, const char *name, bool may_log_in, const char *const *more);
/* "SHA256:..." of the host key of a type: "ed25519", "ecdsa". The caller frees it. */
char *sshd_host_key(const struct sshd *sshd, const char *type);

#endif
