/* See sshd.h. */

#include "support/sshd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32
#define START_LIMIT_MS 20000

static void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fprintf(stderr, "sshd for tests: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static void write_file(const char *path, const char *mode, const char *text)
{
    FILE *file = fopen(path, mode);

    if (!file || fputs(text, file) == EOF || fclose(file) != 0) {
        give_up("writing %s: %s", path, strerror(errno));
    }
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 65536);

    if (!file || !text) {
        give_up("reading %s: %s", path, strerror(errno));
    }
    text[fread(text, 1, 65535, file)] = '\0';
    (void)fclose(file);
    return text;
}

/* ---------------------------------------------------------------- programs */

static pid_t start(const char *const *argv, const char *out)
{
    pid_t pid = fork();

    if (pid < 0) {
        give_up("fork: %s", strerror(errno));
    }
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        int log = open(out, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
            _exit(126);
        }
        char *words[ARGUMENTS_MAX] = {NULL}; /* execv wants them writable */
        for (unsigned i = 0; argv[i]; i++) {
            words[i] = strdup(argv[i]);
        }
        (void)execv(words[0], words);
        _exit(127);
    }
    return pid;
}

static void run(const struct sshd *sshd, const char *const *argv, const char *out_name)
{
    char out[512];
    int status;

    (void)snprintf(out, sizeof(out), "%s/%s", sshd->dir, out_name);
    pid_t pid = start(argv, out);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        give_up("%s failed; see %s", argv[0], out);
    }
}

/* ---------------------------------------------------------------- keys */

char *sshd_key(const struct sshd *sshd, const char *name, bool may_log_in, const char *const *more)
{
    const char *argv[ARGUMENTS_MAX] = {"/usr/bin/ssh-keygen", "-q", "-C", name, "-f"};
    unsigned count = 5;
    bool has_passphrase = false;
    char path[512], public_path[520], all_path[512];

    (void)snprintf(path, sizeof(path), "%s/key_%s", sshd->dir, name);
    (void)snprintf(public_path, sizeof(public_path), "%s.pub", path);
    (void)snprintf(all_path, sizeof(all_path), "%s/authorized_keys", sshd->dir);
    argv[count++] = path;
    for (; *more; more++) {
        has_passphrase |= strcmp(*more, "-N") == 0;
        argv[count++] = *more;
    }
    if (!has_passphrase) {
        argv[count++] = "-N";
        argv[count++] = "";
    }
    run(sshd, argv, "keygen.log");
    if (may_log_in) {
        char *public_key = read_file(public_path);
        write_file(all_path, "a", public_key);
        free(public_key);
    }
    return read_file(path);
}

char *sshd_host_key(const struct sshd *sshd, const char *type)
{
    char path[512], out[512];
    const char *const argv[] = {"/usr/bin/ssh-keygen", "-l", "-E", "sha256", "-f", path, NULL};

    (void)snprintf(path, sizeof(path), "%s/key_host_%s.pub", sshd->dir, type);
    (void)snprintf(out, sizeof(out), "%s/fingerprint_%s", sshd->dir, type);
    (void)unlink(out);
    run(sshd, argv, strrchr(out, '/') + 1);
    char *text = read_file(out);
    char *begin = strstr(text, "SHA256:"), *end = begin ? strchr(begin, ' ') : NULL;
    char *print = end ? strndup(begin, (size_t)(end - begin)) : NULL;
    free(text);
    if (!print) {
        give_up("no fingerprint in %s", out);
    }
    return print;
}

/* ---------------------------------------------------------------- the server */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        give_up("no free port: %s", strerror(errno));
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

void sshd_make(struct sshd *sshd, const char *extra)
{
    static const char *const ed25519[] = {"-t", "ed25519", NULL};
    static const char *const ecdsa[] = {"-t", "ecdsa", NULL};
    const struct passwd *self = getpwuid(getuid());
    const char *place = getenv("TMPDIR");
    char text[4096], path[512];

    memset(sshd, 0, sizeof(*sshd));
    (void)snprintf(sshd->dir, sizeof(sshd->dir), "%s/sshd-XXXXXX", place ? place : "/tmp");
    if (!self || !mkdtemp(sshd->dir)) {
        give_up("no folder for sshd: %s", strerror(errno));
    }
    (void)snprintf(sshd->user, sizeof(sshd->user), "%s", self->pw_name);
    sshd->port = free_port();
    free(sshd_key(sshd, "host_ed25519", false, ed25519));
    free(sshd_key(sshd, "host_ecdsa", false, ecdsa));
    (void)snprintf(text, sizeof(text),
                   "%s\nListenAddress 127.0.0.1\nPort %d\nHostKey %s/key_host_ed25519\n"
                   "HostKey %s/key_host_ecdsa\nAuthorizedKeysFile %s/authorized_keys\n"
                   "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
                   "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
                   "MaxStartups 100\nUseDNS no\nLogLevel VERBOSE\n",
                   extra ? extra : "", sshd->port, sshd->dir, sshd->dir, sshd->dir);
    (void)snprintf(path, sizeof(path), "%s/sshd_config", sshd->dir);
    write_file(path, "w", text);
    (void)snprintf(path, sizeof(path), "%s/authorized_keys", sshd->dir);
    write_file(path, "w", "");
    if (getuid() == 0) {
        (void)mkdir("/run/sshd", 0755); /* where it is made at boot by others, and sshd insists */
    }
}

static bool is_listening(const struct sshd *sshd)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((unsigned short)sshd->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool is_open = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    (void)close(fd);
    return is_open;
}

void sshd_start(struct sshd *sshd)
{
    char config[512], out[512];
    const char *const argv[] = {"/usr/sbin/sshd", "-D", "-e", "-f", config, NULL};

    (void)snprintf(config, sizeof(config), "%s/sshd_config", sshd->dir);
    (void)snprintf(out, sizeof(out), "%s/sshd.log", sshd->dir);
    sshd->pid = start(argv, out);
    for (unsigned ms = 0; !is_listening(sshd); ms += 10) {
        if (ms > START_LIMIT_MS || waitpid(sshd->pid, NULL, WNOHANG) == sshd->pid) {
            give_up("sshd does not start; see %s", out);
        }
        (void)poll(NULL, 0, 10);
    }
}

/* The parent's id is the second number behind the name, which is in parentheses (proc(5)). */
static pid_t parent_of(pid_t pid)
{
    char path[64], text[1024] = "";
    int parent = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file) {
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        (void)fclose(file);
    }
    const char *end = strrchr(text, ')');
    return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : 0;
}

static bool descends(pid_t pid, pid_t from)
{
    for (unsigned depth = 0; depth < 5 && pid > 1; depth++) {
        pid = parent_of(pid);
        if (pid == from) {
            return true;
        }
    }
    return false;
}

/* Signal 0 only counts. */
static unsigned signal_sessions(const struct sshd *sshd, int number)
{
    DIR *all = sshd->pid > 0 ? opendir("/proc") : NULL;
    struct dirent *entry;
    unsigned count = 0;

    while (all && (entry = readdir(all))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 1 && descends(pid, sshd->pid) && kill(pid, number) == 0) {
            count++;
        }
    }
    if (all) {
        (void)closedir(all);
    }
    return count;
}

unsigned sshd_sessions(const struct sshd *sshd)
{
    return signal_sessions(sshd, 0);
}

void sshd_kill_sessions(const struct sshd *sshd)
{
    (void)signal_sessions(sshd, SIGKILL);
}

void sshd_freeze(const struct sshd *sshd, bool freeze)
{
    (void)kill(sshd->pid, freeze ? SIGSTOP : SIGCONT);
    (void)signal_sessions(sshd, freeze ? SIGSTOP : SIGCONT);
}

void sshd_stop(struct sshd *sshd)
{
    if (sshd->pid > 0) {
        (void)kill(sshd->pid, SIGSTOP); /* no new session while the old ones are ended */
        sshd_kill_sessions(sshd);
        (void)kill(sshd->pid, SIGKILL);
        (void)waitpid(sshd->pid, NULL, 0);
        sshd->pid = 0;
    }
}

/* sshd's own words are evidence, too, like a story's; its keys are not. */
static void keep_log(const struct sshd *sshd)
{
    const char *place = getenv("TEST_EVIDENCE");
    char from[512], to[1024];

    if (place && *place) {
        (void)snprintf(from, sizeof(from), "%s/sshd.log", sshd->dir);
        (void)snprintf(to, sizeof(to), "%s%s.log", place, strrchr(sshd->dir, '/'));
        if (rename(from, to) != 0 && errno != ENOENT) { /* it was never started */
            give_up("keeping %s: %s", from, strerror(errno));
        }
    }
}

void sshd_remove(struct sshd *sshd)
{
    sshd_stop(sshd);
    keep_log(sshd);
    DIR *all = opendir(sshd->dir);
    struct dirent *entry;
    while (all && (entry = readdir(all))) {
        char path[600];
        (void)snprintf(path, sizeof(path), "%s/%s", sshd->dir, entry->d_name);
        (void)unlink(path);
    }
    if (all) {
        (void)closedir(all);
    }
    (void)rmdir(sshd->dir);
}
