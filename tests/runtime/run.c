/* One run: catalog, source and log are opened, the connector is driven and started again after a
   death, the summary is written. */
#include "run.h"
#include "observe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------- what is started */

struct environment {
    char **list;
    size_t count;
};

static void set_variable(struct fr_arena *arena,
                         struct environment *environment,
                         const char *name,
                         const char *value)
{
    struct fr_buf text = {0};
    size_t len = strlen(name);
    fr_buf_printf(&text, "%s=%s", name, value);
    char *entry = fr_arena_copy(arena, text.data, text.len);
    fr_buf_done(&text);
    for (size_t i = 0; i < environment->count; i++) {
        if (strncmp(environment->list[i], name, len) == 0 && environment->list[i][len] == '=') {
            environment->list[i] = entry;
            return;
        }
    }
    environment->list[environment->count++] = entry;
}

static bool prepare_launch(struct fr_run *run)
{
    struct fr_arena *arena = &run->task.arena;
    const struct fr_json *command = fr_json_get(run->task.endpoint, "command");
    const struct fr_json *extra = fr_json_get(run->task.endpoint, "env");
    size_t words = fr_json_is(command, FR_ARRAY) ? command->count : 0;
    char **argv = fr_arena_get(arena, (words + 2) * sizeof(char *));
    size_t inherited = 0;

    if (run->options.connector != NULL) {
        argv[0] = fr_arena_copy(arena, run->options.connector, strlen(run->options.connector));
    } else {
        for (size_t i = 0; i < words; i++) {
            const struct fr_json *word = command->items[i];
            argv[i] = fr_arena_copy(arena, word->count > 0 ? word->text : "", word->count);
        }
    }
    if (argv[0] == NULL) {
        return false;
    }
    while (environ[inherited] != NULL) {
        inherited++;
    }
    size_t added = fr_json_is(extra, FR_OBJECT) ? extra->count : 0;
    struct environment environment = {fr_arena_get(arena, (inherited + added + 4) * sizeof(char *)),
                                      0};
    for (size_t i = 0; i < inherited; i++) {
        environment.list[environment.count++] = environ[i];
    }
    for (size_t i = 0; i < added; i++) {
        const char *value = fr_json_text(extra->members[i].value);
        set_variable(arena, &environment, extra->members[i].name, value != NULL ? value : "");
    }
    set_variable(arena, &environment, "FLOW_RUNTIME_CODEC",
                 run->options.codec == FR_CODEC_JSON ? "json" : "proto");
    set_variable(arena, &environment, "LOG_FORMAT", "json");
    set_variable(arena, &environment, "LOG_LEVEL", run->options.log_level);
    run->launch.argv = argv;
    run->launch.environment = environment.list;
    return true;
}

/* ---------------------------------------------------------------- deaths */

/* A marker file of an outside gateway explains one death. */
static bool is_explained(struct fr_run *run)
{
    for (unsigned i = 0; i < run->options.kill_file_count; i++) {
        if (!run->options.kill_file_used[i] && access(run->options.kill_files[i], F_OK) == 0) {
            run->options.kill_file_used[i] = true;
            run->kills++;
            return true;
        }
    }
    return false;
}

/* When one process is lost, the others get the end of their input, SIGTERM or SIGKILL: any of them
   may happen to a session that falls apart. */
static void end_session(struct fr_run *run)
{
    uint64_t way = run->shard_count > 1 ? fr_random_below(&run->random, 3) : 2;
    for (unsigned i = 0; i < FR_MAX_SHARDS; i++) {
        struct fr_peer *peer = &run->shards[i].peer;
        run->shards[i].is_ending = true;
        if (peer->pid > 0 && way > 0) {
            fr_peer_kill(peer, way == 1 ? SIGTERM : SIGKILL);
        }
        fr_peer_close_input(peer);
    }
    for (unsigned i = 0; i < FR_MAX_SHARDS; i++) {
        if (run->shards[i].peer.pid > 0) {
            fr_peer_wait(&run->shards[i].peer, 30000);
        }
    }
}

/* Another session may be started: FR_OK. */
static enum fr_end judge_death(struct fr_run *run)
{
    end_session(run);
    run->in_flight_kill = 0;
    bool expected = run->expected_death || is_explained(run);
    run->expected_death = false;
    if (expected) {
        return FR_OK;
    }
    if (run->restarts >= run->options.max_restarts) {
        return FR_FAILED;
    }
    run->restarts++;
    fprintf(stderr, "flow-runtime: restart %u: %s\n", run->restarts, run->verdict.data);
    return FR_OK;
}

static void restore_max_keys(struct fr_run *run)
{
    struct fr_arena arena = {0};
    const char *reason = NULL;
    const struct fr_json *object =
        run->log.max_keys.len > 0
            ? fr_json_parse(&arena, run->log.max_keys.data, run->log.max_keys.len, &reason)
            : NULL;
    for (size_t i = 0; object != NULL && i < object->count; i++) {
        for (size_t k = 0; k < run->task.binding_count; k++) {
            const char *state_key = run->task.bindings[k].state_key;
            const struct fr_json *value = object->members[i].value;
            if (state_key != NULL && strcmp(state_key, object->members[i].name) == 0 &&
                value->type == FR_STRING) {
                (void)fr_base64_get(&run->max_keys[k], value->text, value->count);
            }
        }
    }
    fr_arena_done(&arena);
}

static enum fr_end drive(struct fr_run *run)
{
    enum fr_end end = FR_OK;
    do {
        end = fr_session_prepare(run);
        if (end == FR_DIED) {
            enum fr_end judged = judge_death(run);
            end = judged == FR_OK ? FR_DIED : judged;
        }
    } while (end == FR_DIED);
    if (end != FR_OK || run->options.until != FR_UNTIL_ALL) {
        return end;
    }
    const struct fr_reclog *log = &run->log;
    run->position = log->commit_count > 0 ? log->commits[log->commit_count - 1].to : 0;
    /* A run that takes over a log does not know how far its predecessor read: everything up to the
       next transaction end counts as read before. */
    run->high_water = run->position;
    if (log->commit_count > 0 &&
        log->commits[log->commit_count - 1].marks < run->source.mark_count) {
        run->high_water = run->source.marks[log->commits[log->commit_count - 1].marks];
    }
    restore_max_keys(run);
    end = fr_traffic_rebuild(run);
    bool is_over = false;
    while (end == FR_OK && !is_over) {
        end = fr_session_transactions(run);
        is_over = end == FR_OK && fr_session_must_stop(run);
        end = end == FR_DIED ? judge_death(run) : end;
    }
    return end;
}

/* ---------------------------------------------------------------- the whole */

static enum fr_end open_all(struct fr_run *run)
{
    const struct fr_options *options = &run->options;
    struct fr_buf error = {0};
    run->observer_fd = -1;
    run->task.is_v2 = options->is_v2;
    for (unsigned i = 0; i < options->topology_count; i++) {
        if (options->topology[i] > 1 && !options->is_v2) {
            return fr_verdict(run, FR_USAGE, "only the v2 runtime has several shards");
        }
    }
    run->random.state = options->seed;
    int log_fd = 2;
    if (options->log != NULL) {
        log_fd = open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) {
            return fr_verdict(run, FR_USAGE, "%s: cannot write", options->log);
        }
    }
    for (unsigned i = 0; i < FR_MAX_SHARDS; i++) {
        run->shards[i].run = run;
        run->shards[i].index = i;
        run->shards[i].peer =
            (struct fr_peer){.in_fd = -1, .out_fd = -1, .err_fd = -1, .log_fd = log_fd};
    }
    bool opened = fr_task_load(&run->task, options->catalog, options->materialization,
                               options->config, &error) &&
                  fr_reclog_open(&run->log, options->state_dir, &error);
    if (opened && options->hard_delete != NULL) {
        run->task.hard_delete = strcmp(options->hard_delete, "yes") == 0;
    }
    if (opened && options->part_count > 0) {
        opened = fr_source_generate(&run->source, &run->task, options->parts, options->part_count,
                                    options->per_transaction, options->text, &error);
    } else if (opened && options->fixture != NULL) {
        opened = fr_source_open(&run->source, &run->task, options->fixture, &error);
    }
    if (!opened) {
        enum fr_end end = fr_verdict(run, FR_USAGE, "%s", error.data);
        fr_buf_done(&error);
        return end;
    }
    if (!options->codec_given && run->task.endpoint != NULL) {
        run->options.codec = fr_json_true(fr_json_get(run->task.endpoint, "protobuf"))
                                 ? FR_CODEC_PROTO
                                 : FR_CODEC_JSON;
    }
    run->max_keys = fr_arena_get(&run->task.arena, run->task.binding_count * sizeof(struct fr_buf));
    run->txn_max_keys =
        fr_arena_get(&run->task.arena, run->task.binding_count * sizeof(struct fr_buf));
    if (!prepare_launch(run)) {
        return fr_verdict(run, FR_USAGE, "no connector: neither --connector nor a local command");
    }
    return fr_observe_open(run);
}

static const char *end_name(enum fr_end end)
{
    static const char *const names[] = {"ok", "usage", "failed", "violation", "mismatch", "died"};
    return names[end];
}

static void put_summary(const struct fr_run *run, enum fr_end end, struct fr_buf *summary)
{
    long peak_rss_kib = 0;
    double cpu_seconds = 0;
    for (unsigned i = 0; i < FR_MAX_SHARDS; i++) {
        const struct fr_peer *peer = &run->shards[i].peer;
        peak_rss_kib = peer->peak_rss_kib > peak_rss_kib ? peer->peak_rss_kib : peak_rss_kib;
        cpu_seconds += peer->cpu_seconds;
    }
    double seconds = run->seconds > 0 ? run->seconds : 1e-9;
    fr_buf_printf(summary, "{\"result\":\"%s\",", end_name(end));
    if (end != FR_OK) {
        fr_buf_puts(summary, "\"message\":");
        fr_json_put_string(summary, run->verdict.data, run->verdict.len);
        fr_buf_putc(summary, ',');
    }
    fr_buf_printf(summary,
                  "\"documents\":%llu,\"transactions\":%llu,\"loads\":%llu,\"loaded\":%llu,"
                  "\"stores\":%llu,\"updates\":%llu,\"deletes\":%llu,\"seconds\":%.3f,"
                  "\"documentsPerSecond\":%.0f,\"connectorPeakRssKiB\":%ld,"
                  "\"connectorCpuSeconds\":%.3f,\"kills\":%u,\"restarts\":%u,\"sessions\":%u,"
                  "\"position\":%llu,"
                  "\"drained\":%s,"
                  "\"phaseSeconds\":{\"open\":%.4f,\"apply\":%.4f,\"load\":%.4f,\"store\":%.4f},"
                  "\"phaseCpuSeconds\":{\"open\":%.4f,\"apply\":%.4f,\"load\":%.4f,"
                  "\"store\":%.4f}}\n",
                  (unsigned long long)run->documents, (unsigned long long)run->transactions,
                  (unsigned long long)run->loads, (unsigned long long)run->loaded,
                  (unsigned long long)run->stores, (unsigned long long)run->updates,
                  (unsigned long long)run->deletes, run->seconds, (double)run->documents / seconds,
                  peak_rss_kib, cpu_seconds, run->kills, run->restarts, run->sessions,
                  (unsigned long long)run->position, fr_session_is_drained(run) ? "true" : "false",
                  run->phase_seconds[0], run->phase_seconds[1], run->phase_seconds[2],
                  run->phase_seconds[3], run->phase_cpu[0], run->phase_cpu[1], run->phase_cpu[2],
                  run->phase_cpu[3]);
}

/* Kills that never fired make a kill test prove nothing: they are told. A delayed one may lose
   against the end of the run. */
static enum fr_end check_kills(struct fr_run *run)
{
    for (unsigned i = 0; i < run->options.kill_count; i++) {
        if (!run->options.kills[i].fired && run->options.kills[i].delay_ms == 0) {
            return fr_verdict(run, FR_USAGE, "--kill-at %s#%u was never reached",
                              run->options.kills[i].point, run->options.kills[i].count);
        }
    }
    return FR_OK;
}

enum fr_end fr_run(struct fr_run *run, struct fr_buf *summary)
{
    (void)signal(SIGPIPE, SIG_IGN);
    enum fr_end end = open_all(run);
    double start = now_seconds();
    if (end == FR_OK) {
        end = drive(run);
    }
    run->seconds = now_seconds() - start;
    for (unsigned i = 0; end != FR_OK && i < FR_MAX_SHARDS; i++) {
        if (run->shards[i].peer.pid > 0) {
            fr_peer_kill(&run->shards[i].peer, SIGKILL);
            fr_peer_wait(&run->shards[i].peer, 10000);
        }
    }
    if (end == FR_OK && run->options.until == FR_UNTIL_ALL) {
        end = check_kills(run);
    }
    if (end == FR_OK && run->options.dump != NULL && run->options.until == FR_UNTIL_ALL) {
        end = fr_traffic_dump(run, run->options.dump);
    }
    put_summary(run, end, summary);
    if (run->options.report != NULL &&
        !fr_file_replace(run->options.report, summary->data, summary->len)) {
        end = fr_verdict(run, FR_USAGE, "%s: cannot write", run->options.report);
    }
    return end;
}

void fr_run_done(struct fr_run *run)
{
    for (size_t i = 0; i < run->model.count; i++) {
        fr_realloc(run->model.entries[i].text, 0);
    }
    for (size_t i = 0; run->max_keys != NULL && i < run->task.binding_count; i++) {
        fr_buf_done(&run->max_keys[i]);
        fr_buf_done(&run->txn_max_keys[i]);
    }
    fr_keymap_done(&run->model);
    fr_keymap_done(&run->txn);
    fr_arena_done(&run->txn_arena);
    fr_arena_done(&run->message_arena);
    fr_arena_done(&run->phase_arena);
    fr_realloc(run->links, 0);
    fr_realloc(run->counters, 0);
    fr_observe_done(run);
    fr_reclog_done(&run->log);
    fr_source_done(&run->source);
    fr_buf_done(&run->started_patches);
    fr_buf_done(&run->flushed_patches);
    fr_buf_done(&run->acknowledged_patches);
    fr_buf_done(&run->verdict);
    int log_fd = run->shards[0].peer.log_fd;
    for (unsigned i = 0; i < FR_MAX_SHARDS; i++) {
        fr_peer_done(&run->shards[i].peer);
    }
    if (log_fd > 2) {
        close(log_fd);
    }
    fr_task_done(&run->task);
}
