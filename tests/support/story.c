/*
 * support/story: see story.h. Starts programs, waits with a deadline, looks into bucket and
 * warehouse. In: the environment of the local parts. Out: facts as texts, and complaints.
 */

#include "support/story.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIDE_BY_SIDE 3
#define DRIVE_SECONDS 120

struct story_text {
    struct story_text *next;
    char bytes[];
};

extern char **environ;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

_Noreturn static void give_up(const char *what)
{
    fprintf(stderr, "story: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---------------------------------------------------------------- complaints, texts, files */

bool story_complain(struct story *story, const char *format, ...)
{
    va_list args;

    if (!story->complaint[0]) {
        va_start(args, format);
        vsnprintf(story->complaint, sizeof story->complaint, format, args);
        va_end(args);
    }
    return false;
}

bool story_is_well(const struct story *story)
{
    return story->complaint[0] == '\0';
}

static char *room_for(struct story *story, size_t len)
{
    struct story_text *text = malloc(sizeof *text + len + 1);

    if (!text) {
        give_up("memory");
    }
    text->next = story->texts;
    story->texts = text;
    text->bytes[len] = '\0';
    return text->bytes;
}

char *story_text(struct story *story, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = room_for(story, (size_t)len);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

const char *story_path(struct story *story, const char *name)
{
    return story_text(story, "%s/%s", story->dir, name);
}

const char *story_given(struct story *story, const char *name)
{
    if (mkdir(story_path(story, "given"), 0700) != 0 && errno != EEXIST) {
        give_up("given");
    }
    return story_path(story, story_text(story, "given/%s", name));
}

const char *story_write(struct story *story, const char *name, const char *text)
{
    const char *path = story_path(story, name);
    FILE *file = fopen(path, "w");

    if (!file || fputs(text, file) == EOF || fclose(file) != 0) {
        give_up(path);
    }
    return path;
}

const char *story_catalog_of_many(struct story *story)
{
    return story_write(
        story, "catalog.json",
        "{\"collections\":{\"acme/many\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
        "\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
        "\"payload\":{\"type\":\"string\"}}}}},"
        "\"materializations\":{\"acme/warehouse\":{"
        "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
        "\"bindings\":[{\"source\":\"acme/many\",\"resource\":{\"table\":\"many\"},"
        "\"fields\":{\"recommended\":true}}]}}}\n");
}

char *story_read(struct story *story, const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "r");
    struct stat stat;
    size_t len = 0;
    char *text;

    if (!file || fstat(fileno(file), &stat) != 0) {
        text = room_for(story, 0);
    } else {
        text = room_for(story, (size_t)stat.st_size);
        len = fread(text, 1, (size_t)stat.st_size, file);
        text[len] = '\0';
    }
    if (file) {
        fclose(file);
    }
    if (ret_len) {
        *ret_len = len;
    }
    return text;
}

int64_t story_number(const char *json, const char *name)
{
    char wanted[64];

    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *found = strstr(json, wanted);
    return found ? strtoll(found + strlen(wanted), NULL, 10) : -1;
}

const char *story_programs(void)
{
    return PROGRAM_DIR;
}

const char *story_environment(const char *name)
{
    const char *value = getenv(name);

    if (!value || !*value) {
        fprintf(stderr, "story: %s is not set; see deploy/local/env\n", name);
        exit(1);
    }
    return value;
}

bool story_same(struct story *story, const char *what, const char *wanted, const char *got)
{
    unsigned line = 1;
    size_t at = 0, start = 0;

    if (strcmp(wanted, got) == 0) {
        return true;
    }
    for (; wanted[at] && wanted[at] == got[at]; at++) {
        if (wanted[at] == '\n') {
            line++;
            start = at + 1;
        }
    }
    story_write(story, "differs.wanted", wanted);
    story_write(story, "differs.got", got);
    return story_complain(story, "%s: line %u differs: wanted \"%.*s\", got \"%.*s\"", what, line,
                          (int)strcspn(wanted + start, "\n"), wanted + start,
                          (int)strcspn(got + start, "\n"), got + start);
}

/* ---------------------------------------------------------------- beginning and end */

struct story *story_begin(const char *name)
{
    static unsigned number;
    struct story *story = calloc(1, sizeof *story);
    const char *place = getenv("TMPDIR");

    if (!story) {
        give_up("memory");
    }
    unsigned mine = __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST);
    story->name = name;
    char *dir = story_text(story, "%s/story-XXXXXX", place && *place ? place : "/tmp");
    if (!mkdtemp(dir)) {
        give_up(dir);
    }
    story->dir = dir;
    story->schema = story_text(story, "story_%ld_%u", (long)getpid(), mine);
    story->prefix = story_text(story, "stories/%s", story->schema);
    return story;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void end_process(struct story_process *process)
{
    if (process->pid) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, &process->status, 0);
        process->pid = 0;
    }
}

/* Evidence is kept for tests/run, which searches all of it for secrets in the end. */
static void keep_or_remove(struct story *story)
{
    const char *place = getenv("TEST_EVIDENCE");

    if (!place || !*place) {
        nftw(story->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    } else if (rename(story->dir, story_text(story, "%s%s", place, strrchr(story->dir, '/'))) !=
               0) {
        give_up("keeping evidence");
    }
}

bool story_close(struct story *story)
{
    for (struct story_process *process = story->processes; process;) {
        struct story_process *next = process->next;
        end_process(process);
        free(process);
        process = next;
    }
    story->processes = NULL;
    bool is_well = story_is_well(story);
    if (is_well) {
        story_drop_schema(story);
        is_well = story_is_well(story);
    }
    if (is_well) {
        keep_or_remove(story);
    } else {
        fprintf(stderr, "story %s: evidence is in %s\n", story->name, story->dir);
    }
    while (story->texts) {
        struct story_text *next = story->texts->next;
        free(story->texts);
        story->texts = next;
    }
    return is_well;
}

void story_end(struct story *story)
{
    char complaint[sizeof story->complaint];
    const bool is_well = story_close(story);

    memcpy(complaint, story->complaint, sizeof complaint);
    free(story);
    if (!is_well) {
        fail_msg("%s", complaint);
    }
}

/* ---------------------------------------------------------------- processes */

/* Between fork and exec: only what is safe there. */
_Noreturn static void
become(const char *program, char *const *argv, char *const *environment, const int fds[3])
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 3; i++) {
        dup2(fds[i], i);
    }
    execve(program, argv, environment);
    _exit(127);
}

static int open_file(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0) {
        give_up(path);
    }
    return fd;
}

static size_t count_words(const char *const *words)
{
    size_t count = 0;

    while (words && words[count]) {
        count++;
    }
    return count;
}

struct story_process *story_start(struct story *story,
                                  const char *label,
                                  const char *const *argv,
                                  const char *const *environment,
                                  const char *input)
{
    struct story_process *process = calloc(1, sizeof *process);
    size_t words = count_words(argv), extra = count_words(environment);
    size_t inherited = count_words((const char *const *)environ);
    char **copy = calloc(words + 1, sizeof *copy);
    char **all = calloc(inherited + extra + 1, sizeof *all);

    if (!process || !copy || !all) {
        give_up("memory");
    }
    for (size_t i = 0; i < words; i++) {
        copy[i] = story_text(story, "%s", argv[i]);
    }
    /* The first of two variables of one name counts, so what is extra stands in front. */
    for (size_t i = 0; i < extra; i++) {
        all[i] = story_text(story, "%s", environment[i]);
    }
    memcpy(all + extra, environ, inherited * sizeof *all);
    process->out = story_path(story, story_text(story, "%s.out", label));
    process->err = story_path(story, story_text(story, "%s.err", label));
    const char *program =
        strchr(argv[0], '/') ? argv[0] : story_text(story, "%s/%s", PROGRAM_DIR, argv[0]);
    int fds[3] = {open_file(input ? input : "/dev/null", O_RDONLY),
                  open_file(process->out, O_WRONLY | O_CREAT | O_TRUNC),
                  open_file(process->err, O_WRONLY | O_CREAT | O_TRUNC)};
    process->pid = fork();
    if (process->pid == 0) {
        become(program, copy, all, fds);
    }
    if (process->pid < 0) {
        give_up("fork");
    }
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    free(copy);
    free(all);
    process->next = story->processes;
    story->processes = process;
    return process;
}

bool story_wait(struct story *story, struct story_process *process, unsigned seconds)
{
    int fd = process->pid ? (int)syscall(SYS_pidfd_open, process->pid, 0) : -1;
    struct pollfd end = {fd, POLLIN, 0};
    int64_t deadline = now_ms() + (int64_t)seconds * 1000;
    int ready = 0;

    if (process->pid == 0) {
        return true;
    }
    if (fd < 0) {
        give_up("pidfd_open");
    }
    do {
        int64_t left = deadline - now_ms();
        ready = poll(&end, 1, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    close(fd);
    if (ready <= 0) {
        end_process(process);
        return story_complain(story, "a process still ran after %u s (its messages: %s)", seconds,
                              process->err);
    }
    waitpid(process->pid, &process->status, 0);
    process->pid = 0;
    return true;
}

int story_exit_code(const struct story_process *process)
{
    return WIFEXITED(process->status) ? WEXITSTATUS(process->status) : -1;
}

pid_t story_child(const struct story_process *process)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    for (struct dirent *entry; proc && !found && (entry = readdir(proc));) {
        char path[300];
        long pid, ppid;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%ld (%*[^)]) %*c %ld", &pid, &ppid) == 2 &&
            ppid == process->pid) {
            found = (pid_t)pid;
        }
        if (file) {
            fclose(file);
        }
    }
    if (proc) {
        closedir(proc);
    }
    return found;
}

bool story_wait_for(
    struct story *story, const char *what, bool (*fact)(void *ctx), void *ctx, unsigned seconds)
{
    int64_t deadline = now_ms() + (int64_t)seconds * 1000;

    while (!fact(ctx)) {
        if (now_ms() >= deadline) {
            return story_complain(story, "%s did not happen within %u s", what, seconds);
        }
        poll(NULL, 0, 5);
    }
    return true;
}

static bool file_is_there(void *ctx)
{
    return access(ctx, F_OK) == 0;
}

bool story_wait_file(struct story *story, const char *path, unsigned seconds)
{
    char *copy = story_text(story, "%s", path);
    return story_wait_for(story, copy, file_is_there, copy, seconds);
}

/* ---------------------------------------------------------------- configuration, gateway */

static const char *or_local(const char *given, const char *variable)
{
    return given ? given : story_environment(variable);
}

const char *story_config(struct story *story, const char *name, const struct story_config *config)
{
    (void)story_given(story, name);
    return story_write(
        story, story_text(story, "given/%s", name),
        story_text(
            story,
            "{\"address\":\"%s\",\"user\":\"%s\",\"password\":\"%s\",\"database\":\"%s\","
            "\"schema\":\"%s\",\"bucket\":\"%s\",\"awsAccessKeyId\":\"%s\","
            "\"awsSecretAccessKey\":\"%s\",\"region\":\"%s\",\"bucketPath\":\"%s\","
            "\"hardDelete\":%s,\"syncSchedule\":%s%s}\n",
            or_local(config->address, "LOCAL_REDSHIFT_ADDRESS"),
            story_environment("LOCAL_REDSHIFT_USER"),
            or_local(config->password, "LOCAL_REDSHIFT_PASSWORD"),
            or_local(config->database, "LOCAL_REDSHIFT_DATABASE"), story->schema,
            or_local(config->bucket, "LOCAL_S3_BUCKET"), or_local(config->key, "LOCAL_S3_KEY"),
            or_local(config->secret, "LOCAL_S3_SECRET"), story_environment("LOCAL_S3_REGION"),
            story->prefix, config->hard_delete ? "true" : "false",
            config->sync_schedule ? config->sync_schedule : "{\"syncFrequency\":\"0s\"}",
            config->extra ? config->extra : ""));
}

static const char *start_gateway(struct story *story,
                                 const char *program,
                                 const char *target,
                                 const char *label,
                                 const char *rules)
{
    const char *ready = story_path(story, story_text(story, "%s.ready", label));
    const char *file = story_write(story, story_text(story, "%s.rules", label), rules ? rules : "");
    const char *trace = story_path(story, story_text(story, "%s.trace", label));
    const char *const argv[] = {program,   "--target", target,         "--rules", file,
                                "--trace", trace,      "--ready-file", ready,     NULL};

    story_start(story, label, argv, NULL, NULL);
    if (!story_wait_file(story, ready, 20)) {
        return NULL;
    }
    char *address = story_read(story, ready, NULL);
    address[strcspn(address, "\n")] = '\0';
    return address;
}

const char *story_gateway(struct story *story, const char *label, const char *rules)
{
    return story_gateway_to(story, story_environment("LOCAL_REDSHIFT_ADDRESS"), label, rules);
}

const char *
story_gateway_to(struct story *story, const char *address, const char *label, const char *rules)
{
    return start_gateway(story, "sql-gateway", address, label, rules);
}

const char *story_s3_gateway(struct story *story, const char *label, const char *rules)
{
    const char *endpoint = story_environment("AWS_ENDPOINT_URL_S3");
    const char *host = strstr(endpoint, "://");
    const char *address =
        start_gateway(story, "s3-gateway", host ? host + 3 : endpoint, label, rules);

    return address ? story_text(story, "http://%s", address) : NULL;
}

/* ---------------------------------------------------------------- the runtime */

struct story_process *story_drive_start(struct story *story, const struct story_drive *drive)
{
    const char *product = story_text(story, "%s/materialize-redshift", PROGRAM_DIR);
    const char *argv[64] = {"flow-runtime",
                            "--catalog",
                            drive->catalog,
                            "--config",
                            drive->config,
                            "--connector",
                            product,
                            "--codec",
                            drive->codec,
                            "--mode",
                            drive->mode,
                            "--state",
                            story_path(story, story_text(story, "%s.state", drive->label)),
                            "--report",
                            story_path(story, story_text(story, "%s.report", drive->label)),
                            "--log",
                            story_path(story, story_text(story, "%s.log", drive->label)),
                            "--max-restarts",
                            "0",
                            "--timeout",
                            "60"};
    size_t count = count_words(argv);

    if (drive->fixture) {
        argv[count++] = "--fixture";
        argv[count++] = drive->fixture;
    }
    for (size_t i = 0; drive->options && drive->options[i]; i++) {
        argv[count++] = drive->options[i];
    }
    return story_start(story, drive->label, argv, NULL, NULL);
}

bool story_drive(struct story *story, const struct story_drive *drive)
{
    return story_drive_within(story, drive, DRIVE_SECONDS);
}

bool story_drive_within(struct story *story, const struct story_drive *drive, unsigned seconds)
{
    struct story_process *process = story_drive_start(story, drive);

    if (!story_wait(story, process, seconds)) {
        return false;
    }
    if (story_exit_code(process) != 0) {
        return story_complain(story, "%s: flow-runtime exited with %d: %.2000s", drive->label,
                              story_exit_code(process), story_read(story, process->err, NULL));
    }
    return true;
}

const char *story_report(struct story *story, const char *label)
{
    return story_read(story, story_path(story, story_text(story, "%s.report", label)), NULL);
}

/* ---------------------------------------------------------------- warehouse and bucket */

char *story_rows(struct story *story, const void *of)
{
    const PGresult *result = of;
    size_t size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (!out) {
        give_up("memory");
    }
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result); column++) {
            const char *value =
                PQgetisnull(result, row, column) ? "~" : PQgetvalue(result, row, column);
            fprintf(out, column ? "|%s" : "%s", value);
        }
        fputc('\n', out);
    }
    fclose(out);
    char *copy = room_for(story, size);
    memcpy(copy, text, size);
    free(text);
    return copy;
}

static void drop_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

void *story_result(struct story *story, const char *sql)
{
    const char *address = story_environment("LOCAL_REDSHIFT_ADDRESS");
    const char *colon = strrchr(address, ':');
    const char *const names[] = {"host",
                                 "port",
                                 "user",
                                 "password",
                                 "dbname",
                                 "sslmode",
                                 "client_encoding",
                                 "connect_timeout",
                                 NULL};
    const char *const values[] = {
        story_text(story, "%.*s", colon ? (int)(colon - address) : (int)strlen(address), address),
        colon ? colon + 1 : "5439",
        story_environment("LOCAL_REDSHIFT_USER"),
        story_environment("LOCAL_REDSHIFT_PASSWORD"),
        story_environment("LOCAL_REDSHIFT_DATABASE"),
        "require",
        "UTF8",
        "20",
        NULL};
    PGconn *conn = PQconnectdbParams(names, values, 0);
    PQsetNoticeProcessor(conn, drop_notice, NULL);
    PGresult *result = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, sql) : NULL;
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        story_complain(story, "%.200s: %s", sql, PQerrorMessage(conn));
        PQclear(result);
        result = NULL;
    }
    PQfinish(conn);
    return result;
}

char *story_query(struct story *story, const char *sql)
{
    PGresult *result = story_result(story, sql);
    char *text = PQresultStatus(result) == PGRES_TUPLES_OK ? story_rows(story, result)
                                                           : story_text(story, "%s", "");

    PQclear(result);
    return text;
}

void story_drop_schema(struct story *story)
{
    story_query(story, story_text(story, "DROP SCHEMA IF EXISTS %s CASCADE", story->schema));
}

/* The texts of all elements of one name, a line each, with a word in front. */
static void
put_elements(FILE *out, const char *word, const char *xml, const char *open, const char *close)
{
    for (const char *at = xml; (at = strstr(at, open));) {
        at += strlen(open);
        const char *end = strstr(at, close);
        if (!end) {
            return;
        }
        fprintf(out, "%s %.*s\n", word, (int)(end - at), at);
        at = end;
    }
}

/* One request to the bucket, by nobody's gateway; its answer's body. */
static const char *
ask_bucket(struct story *story, const char *label, const char *method, const char *target)
{
    const char *const argv[] = {
        "/usr/bin/python3", "-I", SOURCE_DIR "/deploy/local/s3.py", method, target, NULL};
    struct story_process *process = story_start(story, label, argv, NULL, NULL);

    if (story_wait(story, process, 60) && story_exit_code(process) != 0) {
        story_complain(story, "%s %s: %.500s", method, target,
                       story_read(story, process->err, NULL));
    }
    return story_read(story, process->out, NULL);
}

static const char *list_bucket(struct story *story, const char *what, const char *prefix)
{
    const char *target =
        story_text(story, "/%s?%s&prefix=%s", story_environment("LOCAL_S3_BUCKET"), what, prefix);

    return ask_bucket(story, story_text(story, "bucket-%.4s", what), "GET", target);
}

bool story_bucket_remove(struct story *story, const char *key)
{
    ask_bucket(story, "bucket-remove", "DELETE",
               story_text(story, "/%s/%s", story_environment("LOCAL_S3_BUCKET"), key));
    return story_is_well(story);
}

char *story_bucket(struct story *story, const char *prefix)
{
    const char *objects = list_bucket(story, "list-type=2", prefix);
    const char *uploads = list_bucket(story, "uploads", prefix);
    size_t size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (!out) {
        give_up("memory");
    }
    if (!strstr(objects, "<ListBucketResult") || !strstr(uploads, "<ListMultipartUploadsResult")) {
        story_complain(story, "the bucket's lists are no lists");
    }
    put_elements(out, "object", objects, "<Key>", "</Key>");
    put_elements(out, "upload", uploads, "<Key>", "</Key>");
    fclose(out);
    char *copy = story_text(story, "%s", text);
    free(text);
    return copy;
}

bool story_bucket_is_empty(struct story *story)
{
    const char *left = story_bucket(story, story_text(story, "%s/", story->prefix));
    return left[0] == '\0' || story_complain(story, "left in the bucket: %.1000s", left);
}

/* ---------------------------------------------------------------- many at once */

struct crew {
    unsigned count, next;
    void (*task)(void *ctx, unsigned index);
    void *ctx;
};

static void *work(void *ctx)
{
    struct crew *crew = ctx;

    for (;;) {
        unsigned index = __atomic_fetch_add(&crew->next, 1, __ATOMIC_SEQ_CST);
        if (index >= crew->count) {
            return NULL;
        }
        crew->task(crew->ctx, index);
    }
}

void story_side_by_side(unsigned count, void (*task)(void *ctx, unsigned index), void *ctx)
{
    struct crew crew = {.count = count, .task = task, .ctx = ctx};
    pthread_t threads[SIDE_BY_SIDE];

    for (unsigned i = 0; i < SIDE_BY_SIDE; i++) {
        if (pthread_create(&threads[i], NULL, work, &crew) != 0) {
            give_up("pthread_create");
        }
    }
    for (unsigned i = 0; i < SIDE_BY_SIDE; i++) {
        pthread_join(threads[i], NULL);
    }
}
