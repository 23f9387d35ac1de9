/*
 * redshift-sandbox: Amazon Redshift, played in front of PostgreSQL 15. This file reads the
 * arguments, prepares database and certificate, listens, and gives each connection a process of its
 * own. SIGTERM or SIGINT ends it and its children.
 */
#include "sandbox/gateway.h"

#include "sandbox/copy_bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    CONNECTIONS_MAX = 500,
    SLICES_DEFAULT = 2,
    SLICES_MAX = 1024,
};

struct arguments {
    const char *listen;
    const char *ready_file;
    const char *certificate_out;
    const char *password_file;
    bool is_set_up; /* the database, by another sandbox */
    struct gateway gateway;
};

static volatile sig_atomic_t stopping;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

/* ------------------------------------------------------------------------------- arguments */

static void print_usage(void)
{
    (void)fputs(
        "usage: redshift-sandbox --listen ADDRESS:PORT --backend-host HOST --backend-port N\n"
        "         --backend-user NAME --database NAME --user NAME --password-file FILE\n"
        "         [--isolation snapshot|serializable] [--require-tls] [--auth md5|digest]\n"
        "         [--case-sensitive] [--slices N] [--discard-rows] [--is-set-up] "
        "[--ready-file FILE] "
        "[--certificate-out "
        "FILE]\n"
        "         [--role NAME=ACCESS_KEY_ID:SECRET_FILE]...\n"
        "With --discard-rows COPY counts lines and keeps none: a warehouse that costs next to "
        "nothing,\n"
        "for benches. With --is-set-up another sandbox serves the database already. COPY reads "
        "from the endpoint in AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL.\n",
        stderr);
}

static bool choose(const char *value, const char *off, const char *on, bool *ret)
{
    *ret = strcmp(value, on) == 0;
    return *ret || strcmp(value, off) == 0;
}

/* The first line of the file. */
static char *read_password(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        return NULL;
    }
    bool ok = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    if (!ok) {
        return NULL;
    }
    line[strcspn(line, "\r\n")] = '\0';
    return strdup(line);
}

/* NAME=ACCESS_KEY_ID:SECRET_FILE; a name has colons (and no equals sign), a key has none. */
static bool take_role(struct gateway *g, const char *value)
{
    const char *equals = strchr(value, '=');
    const char *colon = equals != NULL ? strchr(equals, ':') : NULL;
    struct copy_role *role = &g->roles[g->role_count];

    if (colon == NULL || g->role_count == GATEWAY_ROLES_MAX) {
        return false;
    }
    role->name = strndup(value, (size_t)(equals - value));
    role->access_key_id = strndup(equals + 1, (size_t)(colon - equals) - 1);
    role->secret_access_key = read_password(colon + 1);
    g->role_count++;
    return role->secret_access_key != NULL;
}

static bool take_argument(struct arguments *a, int option, const char *value)
{
    struct gateway *g = &a->gateway;
    char *end;

    switch (option) {
    case 'l':
        a->listen = value;
        return true;
    case 'h':
        g->superuser.host = value;
        return true;
    case 'p':
        g->superuser.port = (int)strtol(value, &end, 10);
        return *end == '\0' && g->superuser.port > 0 && g->superuser.port < 65536;
    case 'b':
        g->superuser.user = value;
        return true;
    case 'd':
        g->database = value;
        return true;
    case 'u':
        g->user = value;
        return true;
    case 'w':
        a->password_file = value;
        return true;
    case 'i':
        return choose(value, "snapshot", "serializable", &g->serializable);
    case 't':
        g->require_tls = true;
        return true;
    case 'a':
        return choose(value, "md5", "digest", &g->digest);
    case 'c':
        g->case_sensitive = true;
        return true;
    case 'n':
        g->discards_rows = true;
        return true;
    case 'S':
        a->is_set_up = true;
        return true;
    case 'r':
        a->ready_file = value;
        return true;
    case 'R':
        return take_role(g, value);
    case 's':
        g->slices = (int)strtol(value, &end, 10);
        return *end == '\0' && g->slices >= 0 && g->slices <= SLICES_MAX;
    case 'o':
        a->certificate_out = value;
        return true;
    default:
        return false;
    }
}

static bool read_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"backend-host", required_argument, NULL, 'h'},
        {"backend-port", required_argument, NULL, 'p'},
        {"backend-user", required_argument, NULL, 'b'},
        {"database", required_argument, NULL, 'd'},
        {"user", required_argument, NULL, 'u'},
        {"password-file", required_argument, NULL, 'w'},
        {"isolation", required_argument, NULL, 'i'},
        {"require-tls", no_argument, NULL, 't'},
        {"auth", required_argument, NULL, 'a'},
        {"case-sensitive", no_argument, NULL, 'c'},
        {"discard-rows", no_argument, NULL, 'n'},
        {"is-set-up", no_argument, NULL, 'S'},
        {"ready-file", required_argument, NULL, 'r'},
        {"role", required_argument, NULL, 'R'},
        {"certificate-out", required_argument, NULL, 'o'},
        {"slices", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_argument(a, option, optarg)) {
            return false;
        }
    }
    return optind == argc && a->listen != NULL && a->gateway.superuser.host != NULL &&
           a->gateway.superuser.port != 0 && a->gateway.superuser.user != NULL &&
           a->gateway.database != NULL && a->gateway.user != NULL && a->password_file != NULL &&
           strcmp(a->gateway.user, a->gateway.superuser.user) != 0;
}

/* ------------------------------------------------------------------------------- listening */

static int open_listener(const char *where, char *ret_bound, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    char host[64];
    char text[INET_ADDRSTRLEN];
    const char *colon = strrchr(where, ':');
    int on = 1;

    if (colon == NULL || (size_t)(colon - where) >= sizeof host) {
        return -1;
    }
    memcpy(host, where, (size_t)(colon - where));
    host[colon - where] = '\0';
    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        return -1;
    }
    (void)inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    text_format(ret_bound, size, "%s:%d", text, ntohs(address.sin_port));
    return fd;
}

/* Written beside and renamed, so that whoever waits for the file finds it whole. */
static bool write_ready(const char *path, const char *bound)
{
    struct bytes beside = {0};
    bytes_printf(&beside, "%s.new", path);
    FILE *file = fopen(bytes_text(&beside), "w");
    bool ok = file != NULL && fprintf(file, "%s\n", bound) > 0;

    if (file != NULL) {
        ok = fclose(file) == 0 && ok;
    }
    ok = ok && rename(beside.at, path) == 0;
    bytes_done(&beside);
    return ok;
}

static void serve(const struct gateway *gateway, int fd, pid_t parent, const sigset_t *unblocked)
{
    int on = 1;

    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, unblocked, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(0); /* the parent went before the line above */
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    session_run(gateway, fd);
}

static void reap(pid_t *children, size_t *count)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (size_t i = 0; i < *count; i++) {
            if (children[i] == pid) {
                children[i] = children[--*count];
                break;
            }
        }
    }
}

/* Accepts until a signal says stop; in a child, returns when its connection has ended. */
static void accept_all(const struct gateway *gateway, int listener, const sigset_t *unblocked)
{
    static pid_t children[CONNECTIONS_MAX];
    size_t count = 0;
    pid_t own = getpid();

    while (!stopping) {
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(listener, &readable);
        /* Signals arrive in here only, so none can slip in between the test and the wait. */
        int ready = pselect(listener + 1, &readable, NULL, NULL, NULL, unblocked);
        reap(children, &count);
        int fd = ready > 0 ? accept(listener, NULL, NULL) : -1;
        if (fd < 0) {
            continue; /* a signal came, or the client has gone already */
        }
        pid_t pid = count < CONNECTIONS_MAX ? fork() : -1;
        if (pid == 0) {
            (void)close(listener);
            serve(gateway, fd, own, unblocked);
            return;
        }
        if (pid > 0) {
            children[count++] = pid;
        }
        (void)close(fd);
    }
    for (size_t i = 0; i < count; i++) {
        (void)kill(children[i], SIGTERM);
    }
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

/* Ends the wait for clients so that ended children are collected. */
static void on_child(int signal_number)
{
    (void)signal_number;
}

/* Handlers, and the three signals blocked; *unblocked is the mask to wait with. */
static void install_signals(sigset_t *unblocked)
{
    sigset_t blocked;
    struct sigaction stop = {.sa_handler = on_stop};
    struct sigaction child = {.sa_handler = on_child};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGCHLD, &child, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigaddset(&blocked, SIGINT);
    (void)sigaddset(&blocked, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &blocked, unblocked);
}

static int fail(const char *message, const char *what)
{
    gateway_log("error", message, "what", what, "errno", strerror(errno), NULL);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct arguments a = {.gateway.slices = SLICES_DEFAULT};
    char bound[64];
    sigset_t unblocked;

    if (!read_arguments(argc, argv, &a)) {
        print_usage();
        return EXIT_USAGE;
    }
    a.gateway.superuser.database = a.gateway.database;
    a.gateway.password = read_password(a.password_file);
    if (a.gateway.password == NULL) {
        return fail("cannot read the password", a.password_file);
    }
    a.gateway.tls = gateway_make_tls(a.certificate_out);
    if (a.gateway.tls == NULL) {
        return fail("cannot make a certificate",
                    a.certificate_out != NULL ? a.certificate_out : "");
    }
    if (!a.is_set_up && !gateway_setup(&a.gateway)) {
        return EXIT_FAILURE;
    }
    install_signals(&unblocked);
    int listener = open_listener(a.listen, bound, sizeof bound);
    if (listener < 0) {
        return fail("cannot listen", a.listen);
    }
    if (a.ready_file != NULL && !write_ready(a.ready_file, bound)) {
        return fail("cannot write the ready file", a.ready_file);
    }
    gateway_log("info", "accepting connections", "address", bound, NULL);
    accept_all(&a.gateway, listener, &unblocked);
    SSL_CTX_free(a.gateway.tls);
    free(a.gateway.password);
    for (int i = 0; i < a.gateway.role_count; i++) {
        free(a.gateway.roles[i].name);
        free(a.gateway.roles[i].access_key_id);
        free(a.gateway.roles[i].secret_access_key);
    }
    return EXIT_SUCCESS;
}
