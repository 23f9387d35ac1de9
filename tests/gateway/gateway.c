/* gateway: see gateway.h. */

#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_STEPS 64
#define MAX_PHASES 4 /* the first is none */

struct tallies {
    unsigned all[MAX_STEPS], in_phase[MAX_PHASES][MAX_STEPS]; /* by index in the list of steps */
};

static struct {
    const char *name;
    const char *const *steps;
    struct rules rules;
    struct tallies *ever, *armed; /* shared between processes */
    int trace_fd;
    pid_t client; /* of this process's connection; 0: not known */
    struct sockaddr_in target;
} self = {.trace_fd = -1};

_Noreturn void gateway_give_up(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", self.name, what, strerror(errno));
    exit(1);
}

/* ---------------------------------------------------------------- counters, trace, rules */

const struct rules *gateway_rules(void)
{
    return &self.rules;
}

/* Which of the names that end with a dot; 0 is none. */
static unsigned find_phase(const char *phase)
{
    unsigned index = 0;

    for (unsigned i = 0; *phase && self.steps[i]; i++) {
        index += self.steps[i][strlen(self.steps[i]) - 1] == '.';
        if (strcmp(self.steps[i], phase) == 0) {
            return index;
        }
    }
    return 0;
}

static unsigned one_more(unsigned *count)
{
    return __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

struct gateway_met gateway_meet(const char *step, const char *phase)
{
    struct gateway_met met = {.step = step, .is_armed = rules_are_armed(&self.rules)};
    unsigned at = find_phase(phase), i = 0;

    while (self.steps[i] && strcmp(self.steps[i], step) != 0) {
        i++;
    }
    if (!self.steps[i]) {
        return met;
    }
    met.n = one_more(&self.ever->all[i]);
    met.n_in_phase = one_more(&self.ever->in_phase[at][i]);
    if (met.is_armed) {
        met.armed_n = one_more(&self.armed->all[i]);
        met.armed_n_in_phase = one_more(&self.armed->in_phase[at][i]);
    }
    if (at > 0) {
        snprintf(met.in_phase, sizeof met.in_phase, "%s%s", phase, step);
    }
    return met;
}

const struct rule *
gateway_fault(const struct gateway_met *met, bool is_after, enum rule_action last)
{
    const struct rule *rule = NULL;

    if (met->is_armed) {
        rule = rules_at(&self.rules, met->step, met->armed_n, is_after, last);
        rule = rule ? rule
                    : rules_at(&self.rules, met->in_phase, met->armed_n_in_phase, is_after, last);
    }
    return rule;
}

const struct rule *
gateway_change(const struct gateway_met *met, const struct rule *previous, enum rule_action action)
{
    const struct rule *plain = rules_next(&self.rules, previous, met->step, met->n, action);
    const struct rule *own =
        rules_next(&self.rules, previous, met->in_phase, met->n_in_phase, action);

    return !plain || (own && own < plain) ? own : plain;
}

void gateway_trace_more(const char *step, unsigned n, const char *what, const char *more)
{
    char line[4096];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int len = snprintf(line, sizeof line,
                       "{\"ms\":%lld,\"step\":\"%s\",\"n\":%u,\"what\":\"%s\",\"connection\":%ld,"
                       "\"client\":%ld%s}\n",
                       (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, step, n, what,
                       (long)getpid(), (long)self.client, more);
    if (len >= (int)sizeof line ||
        (self.trace_fd >= 0 && write(self.trace_fd, line, (size_t)len) != len)) {
        gateway_give_up("trace");
    }
}

void gateway_trace(const char *step, unsigned n, const char *what)
{
    gateway_trace_more(step, n, what, "");
}

/* ---------------------------------------------------------------- files */

void gateway_write_file(const char *path, const char *text)
{
    char draft[RULE_TEXT_MAX + 8];

    snprintf(draft, sizeof draft, "%s.new", path);
    FILE *file = fopen(draft, "w");
    if (!file || fputs(text, file) == EOF || fclose(file) != 0 || rename(draft, path) != 0) {
        gateway_give_up(path);
    }
}

void gateway_write_client(const char *path)
{
    char text[32];

    snprintf(text, sizeof text, "%ld\n", (long)self.client);
    gateway_write_file(path, text);
}

void gateway_wait_go(const char *path)
{
    char go[RULE_TEXT_MAX + 8];

    snprintf(go, sizeof go, "%s.go", path);
    while (access(go, F_OK) != 0) {
        poll(NULL, 0, 5);
    }
}

/* ---------------------------------------------------------------- the two ends */

/* The process that holds this socket, by the kernel's tables. */
static pid_t owner_of_socket(unsigned long inode)
{
    char wanted[64];
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    for (struct dirent *entry; proc && !found && (entry = readdir(proc));) {
        char path[300];
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        snprintf(path, sizeof path, "/proc/%s/fd", entry->d_name);
        DIR *fds = opendir(path);
        for (struct dirent *fd; fds && !found && (fd = readdir(fds));) {
            char link[600], to[64];
            snprintf(link, sizeof link, "%s/%s", path, fd->d_name);
            ssize_t len = readlink(link, to, sizeof to - 1);
            if (len > 0) {
                to[len] = '\0';
                if (strcmp(to, wanted) == 0) {
                    found = (pid_t)strtol(entry->d_name, NULL, 10);
                }
            }
        }
        if (fds) {
            closedir(fds);
        }
    }
    if (proc) {
        closedir(proc);
    }
    return found;
}

/* Both ends must agree: one local port may serve several connections at once, to other remote
 * ports, and it is a process that is killed by what is found here. */
static pid_t pid_of_peer(int fd)
{
    struct sockaddr_in peer, own;
    socklen_t len = sizeof peer;
    char line[512];
    unsigned long inode = 0;
    FILE *table = fopen("/proc/net/tcp", "r");

    if (!table || getpeername(fd, (struct sockaddr *)&peer, &len) != 0 ||
        getsockname(fd, (struct sockaddr *)&own, &len) != 0) {
        gateway_give_up("peer of the connection");
    }
    while (fgets(line, sizeof line, table) && !inode) {
        unsigned local, local_port, remote, remote_port;
        unsigned long line_inode;
        if (sscanf(line, " %*d: %8x:%4x %8x:%4x %*x %*x:%*x %*x:%*x %*x %*u %*u %lu", &local,
                   &local_port, &remote, &remote_port, &line_inode) == 5 &&
            local == peer.sin_addr.s_addr && local_port == ntohs(peer.sin_port) &&
            remote == own.sin_addr.s_addr && remote_port == ntohs(own.sin_port) && line_inode) {
            inode = line_inode;
        }
    }
    fclose(table);
    return inode ? owner_of_socket(inode) : 0;
}

void gateway_kill(int client)
{
    pid_t pid = pid_of_peer(client);

    if (pid <= 1 || kill(pid, SIGKILL) != 0) {
        gateway_give_up("killing the client");
    }
}

/* The client halts where it is. */
static void stop_client(const struct rule *rule, unsigned n, int client)
{
    pid_t pid = pid_of_peer(client);
    char text[32];

    if (pid <= 1 || kill(pid, SIGSTOP) != 0) {
        gateway_give_up("stopping the client");
    }
    snprintf(text, sizeof text, "%ld\n", (long)pid);
    gateway_trace(rule->step, n, "stopped");
    gateway_write_file(rule->marker, text);
}

void gateway_harden(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

_Noreturn void gateway_cut(int client, int server)
{
    gateway_harden(client);
    gateway_harden(server);
    _exit(0);
}

/* A filter that accepts nothing: what comes for this socket is thrown away before TCP has seen it,
 * so that the other end hears no acknowledgement either (socket(7), SO_ATTACH_FILTER). */
void gateway_silence(int client)
{
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog filter = {.len = 1, .filter = nothing};

    if (setsockopt(client, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
        gateway_give_up("silencing the client");
    }
}

/* The client is left to find out by itself; the server loses its end when that is told. */
_Noreturn static void fall_silent(const struct rule *rule, unsigned n, int client, int server)
{
    gateway_silence(client);
    gateway_trace(rule->step, n, "silent");
    gateway_wait_go(rule->marker);
    gateway_cut(client, server);
}

void gateway_do_fault(const struct rule *rule, unsigned n, int client, int server)
{
    if (rule->action == RULE_STOP) {
        stop_client(rule, n, client);
        return;
    }
    if (rule->action == RULE_HOLD) {
        gateway_write_client(rule->marker);
        gateway_trace(rule->step, n, "waits");
        gateway_wait_go(rule->marker);
        return;
    }
    if (!rule_take(rule)) {
        return;
    }
    if (rule->action == RULE_SILENCE) {
        fall_silent(rule, n, client, server);
    }
    gateway_trace(rule->step, n, rule->action == RULE_KILL ? "killed" : "cut");
    if (rule->action == RULE_KILL) {
        gateway_kill(client);
    }
    gateway_cut(client, server);
}

bool gateway_read(int fd, void *to, size_t len)
{
    char *at = to;

    while (len > 0) {
        ssize_t got = read(fd, at, len);
        if (got <= 0) {
            return false;
        }
        at += got;
        len -= (size_t)got;
    }
    return true;
}

bool gateway_write(int fd, const void *from, size_t len)
{
    const char *at = from;

    while (len > 0) {
        ssize_t put = write(fd, at, len);
        if (put <= 0) {
            return false;
        }
        at += put;
        len -= (size_t)put;
    }
    return true;
}

int gateway_connect(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (fd < 0) {
        gateway_give_up("socket");
    }
    if (connect(fd, (struct sockaddr *)&self.target, sizeof self.target) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* ---------------------------------------------------------------- main */

static struct sockaddr_in parse_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');

    if (!colon || (size_t)(colon - text) >= sizeof host) {
        fprintf(stderr, "%s: %s is not HOST:PORT\n", self.name, text);
        exit(1);
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                  &address.sin_addr) != 1) {
        fprintf(stderr, "%s: %s is not an IPv4 address\n", self.name, host);
        exit(1);
    }
    return address;
}

static void read_rules(const char *path)
{
    char why[RULE_TEXT_MAX];
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 64 * 1024);

    if (!file || !text) {
        gateway_give_up(path);
    }
    (void)!fread(text, 1, 64 * 1024 - 1, file);
    fclose(file);
    if (!rules_read(text, self.steps, &self.rules, why)) {
        fprintf(stderr, "%s: %s\n", self.name, why);
        exit(1);
    }
    free(text);
}

/* Written under another name first: whoever waits for it finds it whole. */
static void write_ready(const char *path, int listener)
{
    struct sockaddr_in bound;
    socklen_t len = sizeof bound;
    char text[64];

    getsockname(listener, (struct sockaddr *)&bound, &len);
    snprintf(text, sizeof text, "127.0.0.1:%u\n", ntohs(bound.sin_port));
    gateway_write_file(path, text);
}

static int listen_at(const char *where)
{
    struct sockaddr_in address = parse_address(where);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 64) != 0) {
        gateway_give_up("listen");
    }
    return listener;
}

int gateway_main(int argc,
                 char **argv,
                 const char *name,
                 const char *const *steps,
                 void (*prepare)(void),
                 void (*serve)(int client))
{
    const char *where = "127.0.0.1:0", *rules = NULL, *trace = NULL, *ready = NULL;
    int on = 1;

    self.name = name;
    self.steps = steps;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--listen") == 0) {
            where = argv[i + 1];
        } else if (strcmp(argv[i], "--target") == 0) {
            self.target = parse_address(argv[i + 1]);
        } else if (strcmp(argv[i], "--rules") == 0) {
            rules = argv[i + 1];
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = argv[i + 1];
        } else if (strcmp(argv[i], "--ready-file") == 0) {
            ready = argv[i + 1];
        }
    }
    if (!self.target.sin_port || !ready) {
        fprintf(stderr,
                "usage: %s --target A --ready-file F [--listen A] [--rules F] [--trace F]\n", name);
        return 1;
    }
    if (rules) {
        read_rules(rules);
    }
    if (trace && (self.trace_fd = open(trace, O_CREAT | O_APPEND | O_WRONLY, 0644)) < 0) {
        gateway_give_up(trace);
    }
    self.ever = mmap(NULL, 2 * sizeof *self.ever, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    self.armed = self.ever + 1;
    if (self.ever == MAP_FAILED) {
        gateway_give_up("memory");
    }
    int listener = listen_at(where);
    if (prepare) {
        prepare();
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    write_ready(ready, listener);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            continue;
        }
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* without the gateway there are no connections */
            close(listener);
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            self.client = pid_of_peer(client);
            serve(client);
            _exit(0);
        }
        close(client);
    }
}
