/* harness/plays: see plays.h. */

#include "harness/plays.h"

#include "harness/bucket.h"
#include "harness/staged.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define WAIT_SECONDS 120

static const char *read_file(struct trial *trial, const char *name)
{
    return story_read(trial->story, story_path(trial->story, name), NULL);
}

static void arm_now(struct trial *trial)
{
    story_write(trial->story, "armed", "");
}

/* A complaint of the story becomes trouble of the trial. */
static bool is_going_well(struct trial *trial)
{
    if (!story_is_well(trial->story)) {
        trial_troubles(trial, "%s", trial->story->complaint);
        trial->story->complaint[0] = '\0';
    }
    return trial->trouble[0] == '\0';
}

static void copy_state(struct trial *trial, const char *from, const char *to)
{
    struct story *story = trial->story;
    const char *const argv[] = {"/bin/cp", "-r",
                                story_path(story, story_text(story, "%s.state", from)),
                                story_path(story, story_text(story, "%s.state", to)), NULL};
    story_wait(story, story_start(story, "copy", argv, NULL, NULL), 20);
}

/* The last run: nothing is done to it but what the rules for the bucket say, and it is looked at
 * while it goes. */
static void finish_with(struct trial *trial, const char *state, const char *s3)
{
    const struct run run = {
        .label = "runtime", .state = state, .has_no_faults = true, .s3 = s3, .is_observed = true};
    struct observer *observer = observer_start(trial, 1);

    trial_wait(trial, trial_start(trial, &run), run.label);
    observer_stop(observer);
}

static void finish(struct trial *trial, const char *state)
{
    finish_with(trial, state, NULL);
}

static void expect_failure(struct trial *trial, const char *label, int code, const char *says)
{
    const char *log = read_file(trial, story_text(trial->story, "%s.log", label));

    if (code != 2) {
        trial_finds(trial, 22, "%s ended with %d and not with its failure", label, code);
    }
    if (says && !strstr(log, says)) {
        trial_finds(trial, 21, "%s did not say \"%s\": %.200s", label, says,
                    strlen(log) > 200 ? log + strlen(log) - 200 : log);
    }
}

void play_stuck(struct trial *trial)
{
    const struct run first = {.label = "first", .is_observed = true};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));
    int code = trial_end(trial, trial_start(trial, &first));

    observer_stop(observer);
    expect_failure(trial, "first", code, trial->point->text);
    if (is_going_well(trial)) {
        unlink(story_path(trial->story, "observer"));
        finish(trial, "first");
    }
}

/* ---------------------------------------------------------------- damage */

static const char *with_schema(struct trial *trial, const char *text, size_t len)
{
    char sql[2048];
    size_t at = 0;

    for (size_t i = 0; i < len && at + 100 < sizeof sql; i++) {
        if (strncmp(text + i, "%S", 2) == 0) {
            at += (size_t)snprintf(sql + at, sizeof sql - at, "%s", trial->story->schema);
            i++;
        } else {
            sql[at++] = text[i];
        }
    }
    sql[at] = '\0';
    return story_text(trial->story, "%s", sql);
}

void play_damaged(struct trial *trial)
{
    const struct run first = {.label = "first",
                              .has_no_faults = true,
                              .options = {"--max-transactions", "2", "--ending", "not-drained"}};
    const struct run second = {.label = "second", .state = "first"};
    const char *text = trial->point->text, *arrow = strstr(text, "=>");
    const char *says = strchr(text, '|');
    int code = trial_end(trial, trial_start(trial, &first));

    if (code != 0 || !arrow || !says) {
        trial_troubles(trial, "the first run ended with %d", code);
        return;
    }
    story_query(trial->story, with_schema(trial, text, (size_t)(arrow - text)));
    code = trial_end(trial, trial_start(trial, &second));
    expect_failure(trial, "second", code, says + 1);
    story_query(trial->story, with_schema(trial, arrow + 2, (size_t)(says - arrow) - 2));
    if (is_going_well(trial)) {
        finish(trial, "first");
    }
}

/* ---------------------------------------------------------------- spoiled files */

#define ABOVE_4_MB ((size_t)4300000)
#define LONG_NAME ((size_t)70000)
#define GZIP_WINDOW (15 + 16)

struct bytes {
    FILE *out;
    char *at;
    size_t len;
};

static size_t keep_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    struct bytes *all = ctx;

    return fwrite(bytes, size, count, all->out) * size;
}

/* The key in the bucket that has this part; NULL with trouble. */
static const char *find_key(struct trial *trial, const char *part)
{
    struct story *story = trial->story;
    char *line = story_bucket(story, story_text(story, "%s/", story->prefix));

    for (char *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) {
            *next++ = '\0';
        }
        if (strncmp(line, "object ", 7) == 0 && strstr(line, part)) {
            return line + 7;
        }
    }
    trial_troubles(trial, "no object has %s in its key", part);
    return NULL;
}

static void put_letters(FILE *out, size_t count)
{
    for (; count > 0; count--) {
        putc('a', out);
    }
}

/* The file that takes the place, as a whole gzip member. */
static struct bytes make_file(const char *line, size_t len)
{
    struct bytes plain = {0}, file = {0};
    z_stream stream = {0};

    plain.out = open_memstream(&plain.at, &plain.len);
    for (size_t i = 0; plain.out && i < len; i++) {
        if (strncmp(line + i, "%L", 2) == 0 || strncmp(line + i, "%l", 2) == 0) {
            put_letters(plain.out, line[++i] == 'L' ? ABOVE_4_MB : LONG_NAME);
        } else {
            putc(line[i], plain.out);
        }
    }
    if (len > 0 && plain.out) {
        putc('\n', plain.out);
    }
    if (!plain.out || fclose(plain.out) != 0 ||
        deflateInit2(&stream, 1, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        abort();
    }
    size_t cap = deflateBound(&stream, plain.len);
    file.at = malloc(cap);
    stream.next_in = (unsigned char *)plain.at;
    stream.avail_in = (uInt)plain.len;
    stream.next_out = (unsigned char *)file.at;
    stream.avail_out = (uInt)cap;
    if (!file.at || deflate(&stream, Z_FINISH) != Z_STREAM_END) {
        abort();
    }
    file.len = stream.total_out;
    deflateEnd(&stream);
    free(plain.at);
    return file;
}

static unsigned count_lines(const struct bytes *file)
{
    z_stream stream = {.next_in = (unsigned char *)file->at, .avail_in = (uInt)file->len};
    unsigned char out[16 * 1024];
    unsigned lines = 0;
    int status = inflateInit2(&stream, GZIP_WINDOW);

    while (status == Z_OK) {
        stream.next_out = out;
        stream.avail_out = sizeof out;
        status = inflate(&stream, Z_NO_FLUSH);
        for (unsigned char *at = out; at < stream.next_out; at++) {
            lines += *at == '\n';
        }
    }
    inflateEnd(&stream);
    return lines;
}

static char *tables_of(struct trial *trial);

/* Two runs over the spoiled file. */
static void fail_twice(struct trial *trial, const char *says, unsigned lines)
{
    static const char *const labels[] = {"second", "third"};
    struct story *story = trial->story;
    const char *before = tables_of(trial);
    const char *rules = trial->defect ? trial->defect->sql : NULL;
    const char *mark = rules ? strstr(rules, "%L") : NULL;

    if (mark) {
        rules = story_text(story, "%.*s%u%s", (int)(mark - rules), rules, lines, mark + 2);
    }
    for (unsigned i = 0; i < 2; i++) {
        const char *address = story_gateway(story, story_text(story, "%s-sql", labels[i]), rules);
        const struct run run = {.label = labels[i],
                                .state = "first",
                                .has_no_faults = true,
                                .address = address ? address : ""};
        expect_failure(trial, labels[i], trial_end(trial, trial_start(trial, &run)), says);
        if (!trial->defect && strcmp(before, tables_of(trial)) != 0) {
            trial_finds(trial, 11, "an apply that failed has changed the tables");
        }
    }
}

void play_spoiled(struct trial *trial)
{
    const struct run first = {.label = "first",
                              .has_no_faults = true,
                              .options = {"--max-transactions", "2", "--ending", "not-drained"}};
    const char *text = trial->point->text, *how = strchr(text, '|') + 1, *says = strrchr(how, '|');
    int code = trial_end(trial, trial_start(trial, &first));
    const char *key =
        find_key(trial, story_text(trial->story, "%.*s", (int)(how - text) - 1, text));
    struct bytes kept = {0};

    kept.out = open_memstream(&kept.at, &kept.len);
    if (code != 0 || !key || !kept.out || bucket_get(key, keep_bytes, &kept) != 200 ||
        fclose(kept.out) != 0) {
        trial_troubles(trial, "the first run ended with %d", code);
        free(kept.at);
        return;
    }
    bool is_gone = strncmp(how, "gone|", 5) == 0 && !trial->defect;
    struct bytes other = make_file(how, trial->defect ? 0 : (size_t)(says - how));
    long status = is_gone ? bucket_delete(key) : bucket_put(key, other.at, other.len);
    trial->faults++;
    if (status / 100 == 2) {
        trial->hits++;
    } else {
        trial_troubles(trial, "spoiling %s gave %ld", key, status);
    }
    free(other.at);
    fail_twice(trial, says + 1, count_lines(&kept));
    status = bucket_put(key, kept.at, kept.len);
    free(kept.at);
    if (status / 100 != 2) {
        trial_troubles(trial, "mending %s gave %ld", key, status);
    }
    if (is_going_well(trial)) {
        finish(trial, "first");
    }
}

/* ---------------------------------------------------------------- two instances */

/* A process that nobody has waited for yet has no program any more. */
static bool has_ended(void *ctx)
{
    char program[8];

    return readlink(ctx, program, sizeof program) < 0;
}

struct halting {
    const char *marker;
    char *exe; /* of the older one's runtime */
};

/* Was the older one halted, or will it never be? */
static bool is_halted_or_gone(void *ctx)
{
    struct halting *halting = ctx;

    return access(halting->marker, F_OK) == 0 || has_ended(halting->exe);
}

void play_wait_halt(struct trial *trial, const struct story_process *process)
{
    struct halting halting = {trial_marker(trial, 1),
                              story_text(trial->story, "/proc/%ld/exe", (long)process->pid)};

    story_wait_for(trial->story, "the halt", is_halted_or_gone, &halting, WAIT_SECONDS);
}

/* Starts the older one and waits until it is halted, or held and then halted; its process, or 0. */
static pid_t halt_older(struct trial *trial, struct story_process **ret_older)
{
    const struct run older = {.label = "older", .is_observed = true};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));

    *ret_older = trial_start(trial, &older);
    if (*ret_older) {
        play_wait_halt(trial, *ret_older);
    }
    observer_stop(observer);
    unlink(story_path(trial->story, "observer"));
    pid_t pid = (pid_t)strtol(story_read(trial->story, trial_marker(trial, 1), NULL), NULL, 10);
    if (!is_going_well(trial) || pid <= 1) {
        trial_troubles(trial, "the older instance was not halted");
        return 0;
    }
    kill(pid, SIGSTOP); /* one whose request is held still runs */
    return pid;
}

/* What was halted goes on, and a request of its that is held does, too. */
static void go_on(struct trial *trial, pid_t pid)
{
    story_write(trial->story, "fault1.go", "");
    kill(pid, SIGCONT);
}

static char *tables_of(struct trial *trial)
{
    const char *s = trial->story->schema;

    return story_query(trial->story,
                       story_text(trial->story,
                                  "SELECT 'a', id, seq, n, fp FROM %s.accounts UNION ALL "
                                  "SELECT 'd', id, seq, n, fp FROM %s.accounts_delta UNION ALL "
                                  "SELECT 'e', id, seq, 0, 0 FROM %s.events UNION ALL "
                                  "SELECT 's', id, seq, 0, 0 FROM %s.events_std ORDER BY 1, 2, 3, "
                                  "4, 5",
                                  s, s, s, s));
}

/* The older instance went on and has ended. */
static void expect_unchanged(struct trial *trial, const char *before)
{
    trial_open_again(trial, "last");
    if (strcmp(before, tables_of(trial)) != 0) {
        trial_finds(trial, 4, "the tables changed when the older instance went on");
    }
    is_going_well(trial);
}

void play_halted(struct trial *trial)
{
    struct story_process *older = NULL;
    pid_t pid = halt_older(trial, &older);

    if (pid == 0) {
        return;
    }
    copy_state(trial, "older", "newer");
    finish_with(trial, "newer", trial->scenario->newer_s3);
    const char *before = tables_of(trial);
    go_on(trial, pid);
    int code = trial_end(trial, older);
    const char *log = read_file(trial, "older.log");
    if (code == 0 || (trial->point->text && !strstr(log, trial->point->text))) {
        trial_finds(trial, 22, "the older instance ended with %d and did not say \"%s\"", code,
                    trial->point->text);
    }
    expect_unchanged(trial, before);
}

void play_orphaned(struct trial *trial)
{
    struct story_process *older = NULL;
    pid_t pid = halt_older(trial, &older);

    if (pid == 0) {
        return;
    }
    copy_state(trial, "older", "newer");
    finish_with(trial, "newer", trial->scenario->newer_s3);
    const char *before = tables_of(trial);
    kill(older->pid, SIGKILL);
    go_on(trial, pid);
    trial_end(trial, older);
    char *exe = story_text(trial->story, "/proc/%ld/exe", (long)pid);
    story_wait_for(trial->story, "the end of the older process", has_ended, exe, WAIT_SECONDS);
    expect_unchanged(trial, before);
}

/* Was a deletion of the older one answered? */
static bool has_deleted(void *ctx)
{
    const char *trace = read_file(ctx, "older-s3.trace");

    for (const char *at = trace; (at = strstr(at, "\"step\":\"delete\",")); at++) {
        const char *answered = strstr(at, "\"what\":\"answered\"");
        if (answered && answered < at + strcspn(at, "\n")) {
            return true;
        }
    }
    return false;
}

/* Everything of the task goes, as if it were on the older one's list. */
static void delete_all(struct trial *trial)
{
    const char *list =
        story_bucket(trial->story, story_text(trial->story, "%s/", trial->story->prefix));

    for (const char *at = list; (at = strstr(at, "object ")); at++) {
        const char *key = at + strlen("object ");
        bucket_delete(story_text(trial->story, "%.*s", (int)strcspn(key, "\n"), key));
    }
}

/* An object as an instance of long ago would have left it, beside one that is there now: START is
 * what the names behind the range begin with (stage). */
static void leave_litter(struct trial *trial)
{
    static const char start[] = "000000000001";
    const char *list =
        story_bucket(trial->story, story_text(trial->story, "%s/", trial->story->prefix));
    const char *range = strstr(list, "/00000000-ffffffff/");
    const char *first = range;

    while (first && first > list && first[-1] != ' ') {
        first--;
    }
    if (!range || strlen(range) < 40) {
        trial_troubles(trial, "the successor has staged nothing: %.200s", list);
        return;
    }
    const char *name = range + strlen("/00000000-ffffffff/");
    const char *key = story_text(trial->story, "%.*s%s%.*s", (int)(name - first), first, start,
                                 (int)strcspn(name + strlen(start), "\n"), name + strlen(start));
    if (!staged_put(key, "", 0)) {
        trial_troubles(trial, "%s could not be written", key);
    }
}

void play_amid(struct trial *trial)
{
    const struct run newer = {.label = "newer",
                              .has_no_faults = true,
                              .options = {"--max-transactions", "1", "--ending", "not-drained"}};
    struct story_process *older = NULL;
    pid_t pid = halt_older(trial, &older);

    if (pid == 0) {
        return;
    }
    copy_state(trial, "older", "newer");
    int code = trial_end(trial, trial_start(trial, &newer));
    if (code != 0) {
        trial_troubles(trial, "the newer instance ended with %d", code);
        return;
    }
    leave_litter(trial);
    kill(older->pid, SIGSTOP); /* its runtime hears nothing, and does not hang up either */
    if (trial->defect && strcmp(trial->defect->name, "SWEEP-ALL") == 0) {
        delete_all(trial);
    }
    go_on(trial, pid);
    story_wait_for(trial->story, "the older instance's deletion", has_deleted, trial, WAIT_SECONDS);
    kill(older->pid, SIGKILL);
    trial_end(trial, older);
    char *exe = story_text(trial->story, "/proc/%ld/exe", (long)pid);
    story_wait_for(trial->story, "the end of the older process", has_ended, exe, WAIT_SECONDS);
    if (is_going_well(trial)) {
        finish(trial, "newer");
        trial_open_again(trial, "last");
    }
}

/* ---------------------------------------------------------------- files that are not what they
 * were */

/* In the order in which an apply copies them: tables, and within each what is deleted, what is
 * merged, what is new. */
static const char *const tables[] = {"accounts", "accounts_delta", "events", "events_std"};
static const char *const roles[] = {"deleteRows", "mergeRows", "storeRows"};

/* The last transaction of a log: what was promised in it. */
static const char *last_promise(struct trial *trial, const char *state)
{
    char *log = story_read(
        trial->story,
        story_path(trial->story, story_text(trial->story, "%s.state/recovery.jsonl", state)), NULL);
    char *last = NULL;

    for (char *line = log, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) {
            *next++ = '\0';
        }
        last = strstr(line, "\"storeRows\":") ? line : last;
    }
    return last ? last : "";
}

/* The rows that all shards have promised of one table. */
static unsigned long promised_rows(const char *promise, const char *table, const char *role)
{
    char begin[80], member[40];
    unsigned long rows = 0;

    snprintf(begin, sizeof begin, "%%2F%s\":{", table);
    snprintf(member, sizeof member, "\"%s\":\"", role);
    for (const char *at = promise; (at = strstr(at, begin)); at++) {
        const char *end = strstr(at + 1, "%2F");
        for (const char *row = at; (row = strstr(row, member)) && (!end || row < end); row++) {
            rows += strtoul(row + strlen(member), NULL, 10);
        }
    }
    return rows;
}

/* The mistake of not looking at COPY's count, from outside: each count is what is expected. */
static const char *agreeable_counts(struct trial *trial, const char *promise)
{
    char *rules = story_text(trial->story, "%s", "");
    unsigned n = 0;

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < 3; k++) {
            unsigned long rows = promised_rows(promise, tables[i], roles[k]);
            if (rows > 0) {
                rules = story_text(
                    trial->story,
                    "%sapply.count#%u rewrite SELECT pg_last_copy_count()=>SELECT %lu::BIGINT\n",
                    rules, ++n, rows);
            }
        }
    }
    return rules;
}

/* Without its last line. */
static void drop_line(struct object_bytes *packed)
{
    struct object_bytes plain, again;

    if (staged_unpack(packed, &plain) && plain.len > 1) {
        do {
            plain.len--;
        } while (plain.len > 0 && plain.at[plain.len - 1] != '\n');
    }
    staged_pack(&plain, &again);
    staged_release(&plain);
    staged_release(packed);
    *packed = again;
}

/* Without its last file: from the comma in front of it on. */
static bool drop_entry(struct object_bytes *manifest)
{
    char *last = NULL, *end = strstr(manifest->at, "]");

    for (char *at = manifest->at; end && (at = strstr(at, "},")) && at < end; at++) {
        last = at + 1;
    }
    if (!last) {
        return false;
    }
    size_t rest = manifest->len - (size_t)(end - manifest->at);
    memmove(last, end, rest + 1);
    manifest->len = (size_t)(last - manifest->at) + rest;
    return true;
}

static bool put_back(const char *key, const struct object_bytes *bytes)
{
    return !key || !*key || staged_put(key, bytes->at, bytes->len);
}

struct altered {
    const char *key, *other; /* other: "" when one file is altered alone */
    struct object_bytes was, other_was;
};

/* Altered by the words of the point; false: it could not be. */
static bool alter(struct trial *trial, const char *how, struct altered *file)
{
    const bool is_manifest = strcmp(how, "omitted") == 0, is_swap = strcmp(how, "swapped") == 0;
    struct object_bytes now;

    file->key = find_key(trial, is_manifest ? "-b0002-store.manifest" : "-b0002-store-0");
    file->other = is_swap ? find_key(trial, "-b0001-store-0") : "";
    if (!file->key || !file->other || !staged_get(file->key, &file->was) ||
        !staged_get(file->key, &now) || (is_swap && !staged_get(file->other, &file->other_was))) {
        return false;
    }
    bool is_done = true;
    if (is_manifest) {
        is_done = drop_entry(&now);
    } else if (strcmp(how, "cut short") == 0) {
        now.len /= 2;
    } else if (strcmp(how, "a line less") == 0) {
        drop_line(&now);
    } else if (strcmp(how, "a byte flipped") == 0) {
        now.at[now.len / 2] ^= 0x20;
    }
    if (is_swap) {
        is_done = staged_put(file->key, file->other_was.at, file->other_was.len) &&
                  staged_put(file->other, file->was.at, file->was.len);
    } else {
        is_done = is_done && staged_put(file->key, now.at, now.len);
    }
    staged_release(&now);
    return is_done;
}

/* Waits until the second run is halted (marker 1), alters, lets it go on; its exit code. */
static int alter_amid(struct trial *trial, struct story_process *second, struct altered *file)
{
    struct halting halting = {trial_marker(trial, 1), story_text(trial->story, "/proc/%ld/exe",
                                                                 second ? (long)second->pid : 0L)};

    story_wait_for(trial->story, "the halt", is_halted_or_gone, &halting, WAIT_SECONDS);
    pid_t pid = (pid_t)strtol(story_read(trial->story, halting.marker, NULL), NULL, 10);
    if (pid <= 1 || !alter(trial, trial->point->name, file)) {
        trial_troubles(trial, "nothing could be altered: %s", file->key ? file->key : "no halt");
    }
    if (pid > 1) {
        kill(pid, SIGCONT);
    }
    return trial_end(trial, second);
}

void play_altered(struct trial *trial)
{
    const char *const *own = trial->scenario->options;
    const struct run first = {.label = "first",
                              .has_no_faults = true,
                              .options = {"--max-transactions", "2", "--ending", "not-drained",
                                          own[0], own[0] ? own[1] : NULL}};
    struct altered file = {.key = NULL};
    int code = trial_end(trial, trial_start(trial, &first));

    if (code != 0) {
        trial_troubles(trial, "the first run ended with %d", code);
        return;
    }
    const bool is_unchecked = trial->defect && strcmp(trial->defect->name, "IGNORE-COUNT") == 0;
    const struct run second = {
        .label = "second",
        .state = "first",
        .sql = is_unchecked ? agreeable_counts(trial, last_promise(trial, "first")) : NULL};
    const char *before = tables_of(trial);
    arm_now(trial);
    code = alter_amid(trial, trial_start(trial, &second), &file);
    expect_failure(trial, "second", code, trial->point->text);
    if (!is_unchecked && strcmp(before, tables_of(trial)) != 0) {
        trial_finds(trial, 16, "what is not whole was committed");
    }
    const bool is_kept = file.key && !strstr(file.key, ".manifest"); /* those are made anew */
    if (is_kept && !(put_back(file.key, &file.was) && put_back(file.other, &file.other_was))) {
        trial_troubles(trial, "%s could not be put back", file.key);
    }
    staged_release(&file.was);
    staged_release(&file.other_was);
    if (is_going_well(trial)) {
        finish(trial, "first");
    }
}

/* ---------------------------------------------------------------- more of two instances */

struct waiting {
    struct trial *trial;
    const char *trace, *behind;
    char *exe; /* of the runtime, where its end counts, too */
};

/* Is a LOCK on its way behind the event? */
static bool lock_follows(void *ctx)
{
    struct waiting *waiting = ctx;
    const char *trace = read_file(waiting->trial, waiting->trace);
    const char *event = *waiting->behind ? strstr(trace, waiting->behind) : trace;

    return event && strstr(event, "\"step\":\"lock\"");
}

void play_holding(struct trial *trial)
{
    const struct run newer = {.label = "runtime", .state = "newer", .has_no_faults = true};
    struct story_process *older = NULL;
    pid_t pid = halt_older(trial, &older);

    if (pid == 0) {
        return;
    }
    copy_state(trial, "older", "newer");
    struct story_process *process = trial_start(trial, &newer);
    struct waiting waiting = {trial, "runtime-sql.trace", "", NULL};
    if (process) {
        story_wait_for(trial->story, "the newer instance's LOCK", lock_follows, &waiting,
                       WAIT_SECONDS);
    }
    kill(pid, SIGKILL);
    trial_wait(trial, process, "runtime");
    trial_end(trial, older);
    is_going_well(trial);
}

/* The client of the trace's event. */
static pid_t client_of(const char *trace, const char *event)
{
    const char *at = strstr(trace, event);

    return (pid_t)story_number(at ? at : "", "client");
}

void play_late(struct trial *trial)
{
    const struct run run = {.label = "runtime", .is_observed = true};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));
    struct story_process *process = trial_start(trial, &run);
    struct waiting waiting = {trial, "runtime-sql.trace", "\"held\"", NULL};

    if (process && story_wait_file(trial->story, trial_marker(trial, 1), WAIT_SECONDS)) {
        if (trial->point->text && strcmp(trial->point->text, "kill") == 0) {
            const char *trace = read_file(trial, "runtime-sql.trace");
            const char *killed = trial_marker(trial, 2);
            pid_t pid = client_of(trace, "\"held\"");
            story_write(trial->story, strrchr(killed, '/') + 1, "");
            if (pid > 1) {
                kill(pid, SIGKILL);
            }
        }
        story_wait_for(trial->story, "another attempt", lock_follows, &waiting, WAIT_SECONDS);
        story_write(trial->story, "fault1.go", "");
    }
    is_going_well(trial);
    trial_wait(trial, process, run.label);
    observer_stop(observer);
    if (!strstr(trial->sql_trace, "\"late\"")) {
        trial_troubles(trial, "the COMMIT was never sent");
    }
}

static void remove_staged(struct trial *trial)
{
    struct story *story = trial->story;
    char *save = NULL;
    char *objects = story_bucket(story, story_text(story, "%s/", story->prefix));

    for (char *line = strtok_r(objects, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "object ", 7) == 0) {
            story_bucket_remove(story, line + 7);
        }
    }
}

void play_early_deletion(struct trial *trial)
{
    const char *marker = trial_marker(trial, 9);
    const struct run run = {
        .label = "runtime", .is_observed = true, .options = {"--kill-file", marker}};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));
    struct story_process *process = trial_start(trial, &run);

    if (process && story_wait_file(trial->story, marker, WAIT_SECONDS)) {
        pid_t pid = (pid_t)strtol(story_read(trial->story, marker, NULL), NULL, 10);
        remove_staged(trial);
        if (pid > 1) {
            kill(pid, SIGKILL);
        }
    }
    is_going_well(trial);
    trial_wait(trial, process, run.label);
    observer_stop(observer);
}

/* The connector waits for a silent peer a sixtieth of the time that it asks for. */
#define HASTY "HASTY_FACTOR=60"

/* Another attempt, or no hope for one. */
static bool lock_follows_or_gone(void *ctx)
{
    struct waiting *waiting = ctx;

    return lock_follows(waiting) || has_ended(waiting->exe);
}

void play_silent(struct trial *trial)
{
    struct story *story = trial->story;
    const struct run run = {.label = "runtime",
                            .is_observed = true,
                            .environment = {story_text(story, "LD_PRELOAD=%s", HASTY_NETWORK),
                                            trial->defect && trial->defect->environment
                                                ? trial->defect->environment
                                                : HASTY,
                                            "ASAN_OPTIONS=verify_asan_link_order=0"}};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));
    struct story_process *process = trial_start(trial, &run);

    if (process) {
        struct waiting waiting = {trial, "runtime-sql.trace", "\"silent\"",
                                  story_text(story, "/proc/%ld/exe", (long)process->pid)};
        story_wait_for(story, "another attempt", lock_follows_or_gone, &waiting, WAIT_SECONDS);
        story_write(story, "fault1.go", "");
    }
    is_going_well(trial);
    trial_wait(trial, process, run.label);
    observer_stop(observer);
    if (trial->point->text && !strstr(trial->log, trial->point->text)) {
        trial_finds(trial, 21, "the log does not say \"%s\"", trial->point->text);
    }
}

/* Do two clients wait? */
static bool two_wait_or_gone(void *ctx)
{
    struct waiting *waiting = ctx;
    const char *trace = read_file(waiting->trial, waiting->trace);
    int64_t first = 0;

    for (const char *at = trace; (at = strstr(at, waiting->behind)); at++) {
        int64_t client = story_number(at, "client");
        if (first != 0 && client != first) {
            return true;
        }
        first = client;
    }
    return has_ended(waiting->exe);
}

void play_together(struct trial *trial)
{
    struct story *story = trial->story;
    const struct run run = {.label = "runtime", .is_observed = true};
    struct observer *observer = observer_start(trial, trial_arm(trial->scenario));
    struct story_process *process = trial_start(trial, &run);

    if (process) {
        struct waiting waiting = {trial, "runtime-sql.trace", "\"what\":\"waits\"",
                                  story_text(story, "/proc/%ld/exe", (long)process->pid)};
        story_wait_for(story, "two that wait", two_wait_or_gone, &waiting, WAIT_SECONDS);
        story_write(story, "fault1.go", "");
    }
    is_going_well(trial);
    trial_wait(trial, process, run.label);
    observer_stop(observer);
}

/* The fixture's first two transactions. */
static const char *short_fixture(struct trial *trial)
{
    static const char mark[] = "{\"commit\": true}\n";
    char *text = story_read(trial->story, trial->work.fixture, NULL);
    char *end = strstr(text, mark);

    end = end ? strstr(end + 1, mark) : NULL;
    if (end) {
        end[strlen(mark)] = '\0';
    }
    return story_write(trial->story, "short.jsonl", text);
}

void play_twins(struct trial *trial)
{
    const struct run first = {.label = "first",
                              .has_no_faults = true,
                              .options = {"--max-transactions", "2", "--ending", "not-drained"}};
    const char *fixture = short_fixture(trial);
    int code = trial_end(trial, trial_start(trial, &first));

    if (code != 0) {
        trial_troubles(trial, "the first run ended with %d", code);
        return;
    }
    arm_now(trial);
    copy_state(trial, "first", "older");
    copy_state(trial, "first", "newer");
    const struct run older = {.label = "older", .fixture = fixture};
    const struct run newer = {.label = "newer", .fixture = fixture};
    struct story_process *one = trial_start(trial, &older), *two = trial_start(trial, &newer);
    int code_one = trial_end(trial, one), code_two = trial_end(trial, two);
    if (code_one != 0 && code_two != 0) {
        trial_finds(trial, 22, "two instances ended with %d and %d", code_one, code_two);
    }
    if (is_going_well(trial)) {
        finish(trial, code_one == 0 ? "older" : "newer");
    }
}
