#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

/*
 * What the gateways share: options, rules, counters, the trace, markers, and what may be done to
 * the two ends of a connection. A process per connection; counters of steps are shared between
 * them.
 *
 * usage: NAME --target HOST:PORT --ready-file FILE [--listen 127.0.0.1:0] [--rules FILE]
 *        [--trace FILE]
 *
 * The ready file holds HOST:PORT once connections are accepted. Each event is one JSON line of the
 * trace, written at once: "ms" (monotonic), "step", "n" (its number), "what", the process ids
 * "connection" (ours) and "client" (the other end's).
 */

#include "gateway/rules.h"

/* Runs until it is ended from outside. steps: the names that are known, ended by NULL. serve is
 * called in a process of its own for each connection; the other side is not connected yet. prepare
 * is called once before, or NULL. */
int gateway_main(int argc,
                 char **argv,
                 const char *name,
                 const char *const *steps,
                 void (*prepare)(void),
                 void (*serve)(int client));

/* Says what failed, with errno's words, and ends this process. */
_Noreturn void gateway_give_up(const char *what);

int gateway_connect(void); /* to the target; -1 when it does not answer */

const struct rules *gateway_rules(void);

/* A step that was met, and its numbers: of all, of those in the same phase, and both since the
 * rules are armed (0 while they sleep). */
struct gateway_met {
    const char *step;
    char in_phase[48]; /* "apply.commit"; "" without a phase */
    unsigned n, n_in_phase, armed_n, armed_n_in_phase;
    bool is_armed;
};

/* One more. phase: "" for none, or one of the list of steps, with its dot. */
struct gateway_met gateway_meet(const char *step, const char *phase);
/* The rule for it among those from kill to last, or NULL; NULL while the rules sleep. */
const struct rule *
gateway_fault(const struct gateway_met *met, bool is_after, enum rule_action last);
/* The next rule of a kind that never sleeps, behind previous; NULL: no more. */
const struct rule *
gateway_change(const struct gateway_met *met, const struct rule *previous, enum rule_action action);
/* Also tells which connection it was and whose, and more: further members with a leading comma. */
void gateway_trace(const char *step, unsigned n, const char *what);
void gateway_trace_more(const char *step, unsigned n, const char *what, const char *more);

/* Written under another name first: whoever waits for it finds it whole. */
void gateway_write_file(const char *path, const char *text);
/* The process id of the connection's other end, as a file. */
void gateway_write_client(const char *path);
/* Waits for the file PATH.go. */
void gateway_wait_go(const char *path);

/* SIGKILL for the process at the other end of a loopback connection. */
void gateway_kill(int client);
/* A reset instead of an orderly end, once the descriptor is closed. */
void gateway_harden(int fd);
/* Both ends lose the connection at once, as when a host dies. */
_Noreturn void gateway_cut(int client, int server);
/* The client is neither answered nor acknowledged from now on; nothing that it sends arrives. */
void gateway_silence(int client);
/* Kills, cuts, silences, stops or holds, unless another process has done it; only a stop and a hold
 * return then. */
void gateway_do_fault(const struct rule *rule, unsigned n, int client, int server);

/* False when the connection ended first. */
bool gateway_read(int fd, void *to, size_t len);
bool gateway_write(int fd, const void *from, size_t len);

#endif
