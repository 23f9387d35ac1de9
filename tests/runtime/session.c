/* The protocol, driven: short RPCs, then the transactions session. What the connector answers is
   held against the rules of the protocol here; documents are held against the model in traffic.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

enum { PROTOCOL = 3032023, OUT_BYTES = 256 * 1024, END_TIMEOUT_MS = 60000, MAX_APPLIES = 3 };

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum fr_end broken(struct fr_run *run, const struct fr_buf *rule)
{
    return fr_verdict(run, FR_VIOLATION, "rule: %s", rule->data);
}

/* ---------------------------------------------------------------- kill points */

struct fr_counter {
    char point[40];
    unsigned count;
};

static unsigned count_point(struct fr_run *run, const char *point)
{
    for (size_t i = 0; i < run->counter_count; i++) {
        if (strcmp(run->counters[i].point, point) == 0) {
            return ++run->counters[i].count;
        }
    }
    run->counters = fr_realloc(run->counters, (run->counter_count + 1) * sizeof(*run->counters));
    struct fr_counter *added = &run->counters[run->counter_count++];
    (void)snprintf(added->point, sizeof(added->point), "%s", point);
    added->count = 1;
    return 1;
}

/* Loads, Stores and Loadeds are counted anew in each transaction. */
static void reset_points(struct fr_run *run)
{
    static const char *const names[] = {"load.", "store.", "loaded."};
    for (size_t i = 0; i < run->counter_count; i++) {
        for (int k = 0; k < 3; k++) {
            if (strncmp(run->counters[i].point, names[k], strlen(names[k])) == 0) {
                run->counters[i].count = 0;
            }
        }
    }
}

static enum fr_end kill_now(struct fr_run *run, unsigned index)
{
    run->options.kills[index].fired = true;
    run->in_flight_kill = 0;
    run->kills++;
    run->expected_death = true;
    fr_peer_kill(&run->peer, SIGKILL);
    return fr_verdict(run, FR_DIED, "killed at %s", run->options.kills[index].point);
}

static enum fr_end flush(struct fr_run *run);

/* A named moment. "before" a request nothing of it may be written, after ".sent" all of it is. */
static enum fr_end at_point(struct fr_run *run, const char *point)
{
    bool named = false;
    for (unsigned i = 0; i < run->options.kill_count; i++) {
        named = named || strcmp(run->options.kills[i].point, point) == 0;
    }
    if (!named || run->transactions < run->options.arm) {
        return FR_OK;
    }
    unsigned count = count_point(run, point);
    for (unsigned i = 0; i < run->options.kill_count; i++) {
        struct fr_kill *rule = &run->options.kills[i];
        if (rule->fired || rule->count != count || strcmp(rule->point, point) != 0 ||
            run->in_flight_kill > 0) {
            continue;
        }
        if (fr_peer_has_output(&run->peer)) {
            enum fr_end end = flush(run);
            if (end != FR_OK) {
                return end;
            }
        }
        if (rule->delay_ms == 0) {
            return kill_now(run, i);
        }
        run->in_flight_kill = i + 1;
        run->kill_time_ms = now_ms() + rule->delay_ms;
        return FR_OK;
    }
    return FR_OK;
}

/* ---------------------------------------------------------------- bytes */

static int wait_ms(const struct fr_run *run, int64_t deadline)
{
    int64_t until = deadline;
    if (run->in_flight_kill > 0 && run->kill_time_ms < until) {
        until = run->kill_time_ms;
    }
    int64_t left = until - now_ms();
    return left < 0 ? 0 : left > 1000 ? 1000 : (int)left;
}

/* Lets bytes move once. */
static enum fr_end turn(struct fr_run *run, int64_t deadline)
{
    bool moved = fr_peer_pump(&run->peer, wait_ms(run, deadline));
    if (run->in_flight_kill > 0 && now_ms() >= run->kill_time_ms) {
        return kill_now(run, run->in_flight_kill - 1);
    }
    if (!moved && now_ms() >= deadline) {
        return fr_verdict(run, FR_FAILED, "the connector did nothing for %u s",
                          run->options.timeout_s);
    }
    return FR_OK;
}

static int64_t new_deadline(const struct fr_run *run)
{
    return now_ms() + (int64_t)run->options.timeout_s * 1000;
}

/* The process has closed its stdout: is that a crash or a broken rule? */
static enum fr_end judge_end(struct fr_run *run, const char *where)
{
    fr_peer_wait(&run->peer, END_TIMEOUT_MS);
    if (WIFEXITED(run->peer.status) && WEXITSTATUS(run->peer.status) == 0) {
        if (fr_peer_has_fragment(&run->peer)) {
            return fr_verdict(run, FR_VIOLATION, "rule: no partial message at the end of stdout");
        }
        return fr_verdict(run, FR_VIOLATION,
                          "rule: a process that exits 0 has answered; stdout ended while waiting "
                          "for %s",
                          where);
    }
    if (WIFEXITED(run->peer.status)) {
        return fr_verdict(run, FR_DIED,
                          "the connector exited with %d while the runtime waited "
                          "for %s; last log line: %s",
                          WEXITSTATUS(run->peer.status), where,
                          run->peer.last_line.len > 0 ? run->peer.last_line.data : "(none)");
    }
    return fr_verdict(run, FR_DIED,
                      "the connector died of signal %d while the runtime waited for %s; last log "
                      "line: %s",
                      WTERMSIG(run->peer.status), where,
                      run->peer.last_line.len > 0 ? run->peer.last_line.data : "(none)");
}

/* Writes everything out. What comes in meanwhile is kept for later. */
static enum fr_end flush(struct fr_run *run)
{
    int64_t deadline = new_deadline(run);
    while (fr_peer_has_output(&run->peer)) {
        size_t before = run->peer.out.len - run->peer.out_sent;
        if (fr_peer_is_gone(&run->peer)) {
            return judge_end(run, "the connector to read");
        }
        enum fr_end end = turn(run, deadline);
        if (end != FR_OK) {
            return end;
        }
        if (run->peer.out.len - run->peer.out_sent != before) {
            deadline = new_deadline(run);
        }
    }
    if (run->peer.in_fd < 0) {
        while (!fr_peer_is_gone(&run->peer)) {
            enum fr_end end = turn(run, deadline);
            if (end != FR_OK) {
                return end;
            }
        }
        return judge_end(run, "the connector to read");
    }
    return FR_OK;
}

/* ---------------------------------------------------------------- messages */

static void put_frame(struct fr_buf *out, const struct fr_buf *message)
{
    for (int i = 0; i < 4; i++) {
        fr_buf_putc(out, (char)(unsigned char)(message->len >> 8 * i & 0xff));
    }
    fr_buf_put(out, message->data, message->len);
}

static void put_request(struct fr_run *run, const char *kind, struct fr_json *body)
{
    struct fr_json *request = fr_json_new(&run->message_arena, FR_OBJECT);
    fr_json_set(&run->message_arena, request, kind, body);
    if (run->options.codec == FR_CODEC_JSON) {
        fr_wire_put_json(&run->peer.out, &fr_request, request, run->options.pretty);
        fr_buf_putc(&run->peer.out, '\n');
        return;
    }
    struct fr_buf message = {0};
    fr_buf_reserve(&message, 1);
    fr_wire_encode(&message, &fr_request, request);
    put_frame(&run->peer.out, &message);
    fr_buf_done(&message);
}

/* Flush, StartCommit and Acknowledge carry the peers' patches byte for byte. */
static void put_with_patches(struct fr_run *run,
                             const char *kind,
                             unsigned kind_number,
                             unsigned patches_number,
                             const struct fr_json *checkpoint,
                             const struct fr_buf *patches)
{
    bool has_patches = run->options.is_v2 && patches != NULL && patches->len > 0;
    struct fr_buf *out = &run->peer.out;
    if (run->options.codec == FR_CODEC_JSON) {
        fr_buf_printf(out, "{\"%s\":{", kind);
        if (checkpoint != NULL) {
            fr_buf_puts(out, "\"runtimeCheckpoint\":");
            fr_wire_put_json(out, &fr_checkpoint, checkpoint, false);
        }
        if (has_patches) {
            fr_buf_puts(out, checkpoint != NULL ? ",\"statePatches\":[" : "\"statePatches\":[");
            fr_buf_put(out, patches->data, patches->len);
            fr_buf_putc(out, ']');
        }
        fr_buf_puts(out, "}}\n");
        return;
    }
    struct fr_buf body = {0};
    struct fr_buf message = {0};
    struct fr_buf inner = {0};
    fr_buf_reserve(&body, 1);
    fr_buf_reserve(&inner, 1);
    if (checkpoint != NULL) {
        fr_wire_encode(&inner, &fr_checkpoint, checkpoint);
        fr_wire_put_bytes(&body, 1, inner.data, inner.len);
    }
    if (has_patches) {
        inner.len = 0;
        fr_buf_putc(&inner, '[');
        fr_buf_put(&inner, patches->data, patches->len);
        fr_buf_putc(&inner, ']');
        fr_wire_put_bytes(&body, patches_number, inner.data, inner.len);
    }
    fr_wire_put_bytes(&message, kind_number, body.data, body.len);
    put_frame(out, &message);
    fr_buf_done(&body);
    fr_buf_done(&message);
    fr_buf_done(&inner);
}

/* Sends with its two kill points. */
#define SENDING(run, name, put)                                                                    \
    do {                                                                                           \
        enum fr_end sending_end = at_point(run, name ".before");                                   \
        if (sending_end != FR_OK) {                                                                \
            return sending_end;                                                                    \
        }                                                                                          \
        put;                                                                                       \
        sending_end = at_point(run, name ".sent");                                                 \
        if (sending_end != FR_OK) {                                                                \
            return sending_end;                                                                    \
        }                                                                                          \
    } while (0)

static const char *kind_of(const struct fr_json *message)
{
    return message->members[0].name;
}

static struct fr_json *body_of(const struct fr_json *message)
{
    return message->members[0].value;
}

/* Responses as people know them. */
static const char *title_of(const char *kind)
{
    static const char *const titles[][2] = {{"spec", "Spec"},
                                            {"validated", "Validated"},
                                            {"applied", "Applied"},
                                            {"opened", "Opened"},
                                            {"loaded", "Loaded"},
                                            {"flushed", "Flushed"},
                                            {"startedCommit", "StartedCommit"},
                                            {"acknowledged", "Acknowledged"}};
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        if (strcmp(titles[i][0], kind) == 0) {
            return titles[i][1];
        }
    }
    return kind;
}

/* The next message if one is there. FR_OK with *ret_message NULL: not yet. */
static enum fr_end take(struct fr_run *run, struct fr_json **ret_message)
{
    struct fr_buf rule = {0};
    enum fr_end end = FR_OK;
    char point[64];

    fr_arena_reset(&run->message_arena);
    *ret_message = NULL;
    enum fr_got got =
        fr_peer_next(&run->peer, run->options.codec, &run->message_arena, ret_message, &rule);
    if (got == FR_GOT_BROKEN) {
        end = broken(run, &rule);
        *ret_message = NULL;
    } else if (got == FR_GOT_NONE) {
        *ret_message = NULL;
    } else {
        (void)snprintf(point, sizeof(point), "%s.received", kind_of(*ret_message));
        end = at_point(run, point);
    }
    fr_buf_done(&rule);
    return end;
}

/* Waits for any message. */
static enum fr_end receive(struct fr_run *run, const char *awaited, struct fr_json **ret_message)
{
    int64_t deadline = new_deadline(run);
    for (;;) {
        enum fr_end end = take(run, ret_message);
        if (end != FR_OK || *ret_message != NULL) {
            return end;
        }
        if (fr_peer_is_gone(&run->peer)) {
            return judge_end(run, awaited);
        }
        end = turn(run, deadline);
        if (end != FR_OK) {
            return end;
        }
    }
}

static enum fr_end expect(struct fr_run *run, const char *kind, struct fr_json **ret_body)
{
    struct fr_json *message = NULL;
    enum fr_end end = receive(run, title_of(kind), &message);
    if (end == FR_OK && strcmp(kind_of(message), kind) != 0) {
        end = fr_verdict(run, FR_VIOLATION, "rule: the answer must be %s; got %s", title_of(kind),
                         title_of(kind_of(message)));
    }
    if (end == FR_OK) {
        *ret_body = body_of(message);
    }
    return end;
}

/* Input is closed (or not: the connector may be asked to end by itself): nothing more may come but
   the end, with a good exit code. */
static enum fr_end expect_end(struct fr_run *run, bool may_fail)
{
    struct fr_json *message = NULL;
    int64_t deadline = new_deadline(run);

    fr_peer_sample(&run->peer);
    fr_peer_close_input(&run->peer);
    while (!fr_peer_is_gone(&run->peer)) {
        enum fr_end end = turn(run, deadline);
        if (end != FR_OK) {
            return end;
        }
    }
    fr_peer_wait(&run->peer, END_TIMEOUT_MS);
    enum fr_end end = take(run, &message);
    if (end != FR_OK) {
        return end;
    }
    if (message != NULL) {
        return fr_verdict(run, FR_VIOLATION, "rule: no output after the last answer; got %s",
                          title_of(kind_of(message)));
    }
    if (WIFSIGNALED(run->peer.status)) {
        return fr_verdict(run, FR_DIED, "the connector died of signal %d after its last answer",
                          WTERMSIG(run->peer.status));
    }
    if (fr_peer_has_fragment(&run->peer)) {
        return fr_verdict(run, FR_VIOLATION, "rule: no partial message at the end of stdout");
    }
    int code = WEXITSTATUS(run->peer.status);
    if (code != 0 && !(may_fail && code == 1)) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: exit 0 at a clean end; got %d; last log line: %s", code,
                          run->peer.last_line.len > 0 ? run->peer.last_line.data : "(none)");
    }
    return FR_OK;
}

/* ---------------------------------------------------------------- state updates */

/* Checks a ConnectorState; *ret_state NULL when the body has none. */
static enum fr_end state_of(struct fr_run *run,
                            const char *title,
                            const struct fr_json *body,
                            struct fr_json **ret_state)
{
    *ret_state = fr_json_get(body, "state");
    if (*ret_state == NULL) {
        return FR_OK;
    }
    const struct fr_json *updated = fr_json_get(*ret_state, "updated");
    if (updated == NULL) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: a state update is not empty; %s carries a state without updated",
                          title);
    }
    if (updated->type != FR_OBJECT) {
        return fr_verdict(run, FR_VIOLATION, "rule: a connector state is a JSON object (%s)",
                          title);
    }
    return FR_OK;
}

/* The framing of v2: each patch is followed by a tab; a replacement is null and the new state. */
static void add_patch(struct fr_buf *patches, const struct fr_json *state)
{
    if (!fr_json_true(fr_json_get(state, "mergePatch"))) {
        fr_buf_puts(patches, patches->len > 0 ? ",null\t" : "null\t");
    }
    if (patches->len > 0) {
        fr_buf_putc(patches, ',');
    }
    fr_json_put(patches, fr_json_get(state, "updated"));
    fr_buf_putc(patches, '\t');
}

static enum fr_end log_state(struct fr_run *run,
                             const char *why,
                             const struct fr_commit *commit,
                             struct fr_json *state,
                             const struct fr_json *max_keys)
{
    struct fr_buf error = {0};
    struct fr_json *patches = fr_json_new(&run->message_arena, FR_ARRAY);
    enum fr_end end = FR_OK;
    if (state != NULL) {
        fr_json_push(&run->message_arena, patches, state);
    }
    if (!fr_reclog_write(&run->log, why, commit, patches, max_keys, &error)) {
        end = fr_verdict(run, FR_USAGE, "%s", error.data);
    }
    fr_buf_done(&error);
    return end;
}

/* ---------------------------------------------------------------- Spec */

static bool has_annotation(const struct fr_json *schema, const char *name)
{
    const struct fr_json *properties = fr_json_get(schema, "properties");
    for (uint32_t i = 0; properties != NULL && i < properties->count; i++) {
        if (fr_json_true(fr_json_get(properties->members[i].value, name))) {
            return true;
        }
    }
    return false;
}

static enum fr_end check_spec(struct fr_run *run, const struct fr_json *spec)
{
    int64_t protocol = 0;
    (void)fr_json_to_int(fr_json_get(spec, "protocol"), &protocol);
    if (protocol != PROTOCOL) {
        return fr_verdict(run, FR_VIOLATION, "rule: protocol is %d; got %lld", PROTOCOL,
                          (long long)protocol);
    }
    const char *const schemas[] = {"configSchema", "resourceConfigSchema"};
    for (int i = 0; i < 2; i++) {
        const struct fr_json *schema = fr_json_get(spec, schemas[i]);
        if (!fr_json_is(schema, FR_OBJECT) || schema->count == 0) {
            return fr_verdict(run, FR_VIOLATION, "rule: Spec has a non-empty %s", schemas[i]);
        }
    }
    const char *url = fr_json_text(fr_json_get(spec, "documentationUrl"));
    if (url == NULL || url[0] == '\0') {
        return fr_verdict(run, FR_VIOLATION, "rule: Spec has a non-empty documentationUrl");
    }
    if (!has_annotation(fr_json_get(spec, "resourceConfigSchema"), "x-collection-name")) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: one property of the resource schema has x-collection-name");
    }
    return FR_OK;
}

/* Starts a process and exchanges the Spec that comes first on every stream. */
static enum fr_end begin_stream(struct fr_run *run)
{
    struct fr_buf error = {0};
    struct fr_json *spec = NULL;
    fr_arena_reset(&run->message_arena);
    if (!fr_peer_start(&run->peer, &run->launch, &error)) {
        enum fr_end failed = fr_verdict(run, FR_USAGE, "%s", error.data);
        fr_buf_done(&error);
        return failed;
    }
    struct fr_json *body = fr_json_new(&run->message_arena, FR_OBJECT);
    fr_json_set(&run->message_arena, body, "connectorType",
                fr_json_string(&run->message_arena, "IMAGE"));
    fr_json_set(&run->message_arena, body, "config", fr_json_new(&run->message_arena, FR_OBJECT));
    SENDING(run, "spec", put_request(run, "spec", body));
    enum fr_end end = expect(run, "spec", &spec);
    return end == FR_OK ? check_spec(run, spec) : end;
}

/* ---------------------------------------------------------------- Validate and Apply */

static struct fr_json *read_stored(struct fr_run *run, const char *name)
{
    struct fr_buf path = {0};
    struct fr_buf text = {0};
    const char *reason = NULL;
    struct fr_json *tree = NULL;
    fr_buf_printf(&path, "%s/%s", run->options.state_dir, name);
    if (fr_file_read(path.data, &text)) {
        tree = fr_json_parse(&run->task.arena, text.data, text.len, &reason);
    }
    fr_buf_done(&path);
    fr_buf_done(&text);
    return tree;
}

static enum fr_end write_stored(struct fr_run *run, const char *name)
{
    struct fr_arena *arena = &run->task.arena;
    struct fr_buf path = {0};
    struct fr_buf text = {0};
    struct fr_json *tree = fr_json_new(arena, FR_OBJECT);
    fr_json_set(arena, tree, "version", fr_json_string(arena, run->task.version));
    fr_json_set(arena, tree, "spec", fr_task_stored_spec(&run->task));
    fr_json_put(&text, tree);
    fr_buf_printf(&path, "%s/%s", run->options.state_dir, name);
    enum fr_end end = FR_OK;
    if (!fr_file_replace(path.data, text.data, text.len)) {
        end = fr_verdict(run, FR_USAGE, "%s: %s", path.data, strerror(errno));
    }
    fr_buf_done(&path);
    fr_buf_done(&text);
    return end;
}

static enum fr_end validate(struct fr_run *run, struct fr_json *last, const char *last_version)
{
    struct fr_json *validated = NULL;
    struct fr_buf error = {0};
    enum fr_end end = begin_stream(run);
    if (end != FR_OK) {
        return end;
    }
    struct fr_json *body = fr_task_validate(&run->task, last, last_version);
    SENDING(run, "validate", put_request(run, "validate", body));
    end = flush(run);
    if (end == FR_OK) {
        fr_peer_close_input(&run->peer);
        end = expect(run, "validated", &validated);
    }
    if (end == FR_OK && !fr_task_check_validated(&run->task, validated, &error)) {
        end = broken(run, &error);
    }
    if (end == FR_OK) {
        validated = fr_json_deep(&run->task.arena, validated);
        end = expect_end(run, false);
    }
    if (end == FR_OK && !fr_task_build(&run->task, validated, last, &error)) {
        end = fr_verdict(run, FR_FAILED, "%s", error.data);
    }
    fr_buf_done(&error);
    return end;
}

static enum fr_end
apply_once(struct fr_run *run, struct fr_json *last, const char *last_version, bool *ret_again)
{
    struct fr_arena *arena = &run->task.arena;
    struct fr_json *applied = NULL;
    struct fr_json *state = NULL;
    const char *reason = NULL;
    enum fr_end end = begin_stream(run);
    if (end != FR_OK) {
        return end;
    }
    struct fr_json *body = fr_json_new(arena, FR_OBJECT);
    fr_json_set(arena, body, "materialization", run->task.spec);
    fr_json_set(arena, body, "version", fr_json_string(arena, run->task.version));
    if (last != NULL) {
        fr_json_set(arena, body, "lastMaterialization", last);
        fr_json_set(arena, body, "lastVersion", fr_json_string(arena, last_version));
    }
    if (run->log.state.len > 0) {
        fr_json_set(arena, body, "state",
                    fr_json_parse(arena, run->log.state.data, run->log.state.len, &reason));
    }
    SENDING(run, "apply", put_request(run, "apply", body));
    end = flush(run);
    if (end == FR_OK) {
        fr_peer_close_input(&run->peer);
        end = expect(run, "applied", &applied);
    }
    if (end == FR_OK) {
        end = state_of(run, "Applied", applied, &state);
    }
    *ret_again = state != NULL;
    if (end == FR_OK && state != NULL) {
        if (fr_reclog_is_noop(&run->log, state)) {
            end = fr_verdict(run, FR_VIOLATION,
                             "rule: Applied never returns a state update that changes nothing");
        }
        /* Kept over the end of the stream: the message is reused there. */
        state = fr_json_deep(arena, state);
    }
    end = end == FR_OK ? expect_end(run, false) : end;
    if (end == FR_OK && state != NULL) {
        end = log_state(run, "applied", NULL, state, NULL);
        end = end == FR_OK ? at_point(run, "applied.logged") : end;
    }
    return end;
}

static enum fr_end apply(struct fr_run *run, struct fr_json *last, const char *last_version)
{
    bool again = true;
    for (int i = 0; again && i < MAX_APPLIES; i++) {
        enum fr_end end = apply_once(run, last, last_version, &again);
        if (end != FR_OK) {
            return end;
        }
    }
    if (again) {
        return fr_verdict(run, FR_VIOLATION, "rule: Apply converges within %d calls", MAX_APPLIES);
    }
    return write_stored(run, "applied.json");
}

enum fr_end fr_session_prepare(struct fr_run *run)
{
    struct fr_buf error = {0};
    enum fr_end end = FR_OK;

    if (run->options.until == FR_UNTIL_SPEC) {
        end = begin_stream(run);
        return end == FR_OK ? expect_end(run, false) : end;
    }
    struct fr_json *stored = read_stored(run, "applied.json");
    struct fr_json *last = fr_json_get(stored, "spec");
    const char *last_version = fr_json_text(fr_json_get(stored, "version"));
    bool same = last_version != NULL && strcmp(last_version, run->task.version) == 0;
    if (same && run->options.until == FR_UNTIL_ALL && !run->options.apply_again) {
        if (!fr_task_adopt(&run->task, last, &error)) {
            end = fr_verdict(run, FR_USAGE, "%s", error.data);
        }
        fr_buf_done(&error);
        return end;
    }
    end = validate(run, last, last_version);
    if (end != FR_OK || run->options.until == FR_UNTIL_VALIDATE) {
        return end;
    }
    return apply(run, last, last_version);
}

/* ---------------------------------------------------------------- Open */

/* A checkpoint of the destination moves the source; positions are its readThrough. */
static enum fr_end take_checkpoint(struct fr_run *run, const struct fr_json *checkpoint)
{
    const struct fr_json *sources = fr_json_get(checkpoint, "sources");
    int64_t position = 0;
    if (sources == NULL || sources->count == 0) {
        if (!run->options.is_v2) {
            run->position = 0; /* explicit zero: everything is read again */
            run->marks = 0;
        }
        return FR_OK;
    }
    for (uint32_t i = 0; i < sources->count; i++) {
        int64_t read_through = 0;
        (void)fr_json_to_int(fr_json_get(sources->members[i].value, "readThrough"), &read_through);
        position = read_through > position ? read_through : position;
    }
    if ((uint64_t)position > run->source.document_count) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: a checkpoint in Opened is one that StartCommit carried; "
                          "readThrough %lld was never sent",
                          (long long)position);
    }
    run->position = (uint64_t)position;
    run->marks = 0;
    while (run->marks < run->source.mark_count && run->source.marks[run->marks] <= run->position) {
        run->marks++;
    }
    return fr_traffic_rebuild(run);
}

static void restore_position(struct fr_run *run)
{
    const struct fr_reclog *log = &run->log;
    run->position = log->commit_count > 0 ? log->commits[log->commit_count - 1].to : 0;
    run->marks = log->commit_count > 0 ? log->commits[log->commit_count - 1].marks : 0;
}

static enum fr_end open_session(struct fr_run *run)
{
    struct fr_json *opened = NULL;
    const char *reason = NULL;
    enum fr_end end = begin_stream(run);
    if (end != FR_OK) {
        return end;
    }
    struct fr_arena *arena = &run->message_arena;
    struct fr_json *body = fr_json_new(arena, FR_OBJECT);
    struct fr_json *range = fr_json_new(arena, FR_OBJECT);
    fr_json_set(arena, range, "keyEnd", fr_json_int(arena, UINT32_MAX));
    fr_json_set(arena, range, "rClockEnd", fr_json_int(arena, UINT32_MAX));
    fr_json_set(arena, body, "materialization", run->task.spec);
    fr_json_set(arena, body, "version", fr_json_string(arena, run->task.version));
    fr_json_set(arena, body, "range", range);
    if (run->log.state.len > 0) {
        fr_json_set(arena, body, "state",
                    fr_json_parse(arena, run->log.state.data, run->log.state.len, &reason));
    }
    SENDING(run, "open", put_request(run, "open", body));
    end = expect(run, "opened", &opened);
    if (end != FR_OK) {
        return end;
    }
    run->disable_load_optimization = fr_json_true(fr_json_get(opened, "disableLoadOptimization"));
    restore_position(run);
    const struct fr_json *checkpoint = fr_json_get(opened, "runtimeCheckpoint");
    return checkpoint != NULL ? take_checkpoint(run, checkpoint) : FR_OK;
}

/* ---------------------------------------------------------------- planning */

struct plan {
    uint64_t from, to, marks;
    bool empty; /* a trailing transaction without documents */
};

bool fr_session_is_drained(const struct fr_run *run)
{
    return run->marks >= run->source.mark_count && run->position >= run->source.document_count;
}

static bool is_within_group(struct fr_run *run, uint64_t position)
{
    struct fr_arena arena = {0};
    if (run->options.group == NULL || position == 0 || position >= run->source.document_count) {
        return false;
    }
    const struct fr_json *left =
        fr_json_at(fr_source_document(&run->source, &arena, position - 1), run->options.group);
    const struct fr_json *right =
        fr_json_at(fr_source_document(&run->source, &arena, position), run->options.group);
    bool same = left != NULL && right != NULL && fr_json_equal(left, right);
    fr_arena_done(&arena);
    return same;
}

/* Documents that were read before a crash come again in other transactions. */
static void plan_transaction(struct fr_run *run, struct plan *plan)
{
    const struct fr_source *source = &run->source;
    plan->from = run->position;
    plan->marks = run->marks;
    plan->to = run->position;
    if (run->position < run->high_water && !run->options.same_boundaries) {
        uint64_t left = source->document_count - run->position;
        uint64_t again = run->high_water - run->position;
        uint64_t span = 1 + fr_random_below(&run->random, again + again / 4 + 1);
        plan->to += span < left ? span : left;
        while (is_within_group(run, plan->to)) {
            plan->to++;
        }
    } else {
        uint64_t merge = run->options.merge_commits;
        for (uint64_t i = 0; i < merge && plan->marks < source->mark_count; i++) {
            plan->to = source->marks[plan->marks++];
        }
    }
    while (plan->marks < source->mark_count && source->marks[plan->marks] < plan->to) {
        plan->marks++;
    }
    /* The mark at the very end belongs to the transaction that reaches it. */
    if (plan->to > plan->from && plan->marks < source->mark_count &&
        source->marks[plan->marks] == plan->to) {
        plan->marks++;
    }
}

/* ---------------------------------------------------------------- Acknowledge and Load */

static enum fr_end send_acknowledge(struct fr_run *run)
{
    run->acknowledged = false;
    SENDING(run, "acknowledge",
            put_with_patches(run, "acknowledge", 9, 1, NULL, &run->started_patches));
    run->started_patches.len = 0;
    return FR_OK;
}

static enum fr_end take_acknowledged(struct fr_run *run, const struct fr_json *body)
{
    struct fr_json *state = NULL;
    if (run->acknowledged) {
        return fr_verdict(run, FR_VIOLATION, "rule: Acknowledged exactly once per cycle");
    }
    run->acknowledged = true;
    run->acknowledged_patches.len = 0;
    enum fr_end end = state_of(run, "Acknowledged", body, &state);
    if (end == FR_OK && state != NULL) {
        add_patch(&run->acknowledged_patches, state);
        end = log_state(run, "acknowledged", NULL, state, NULL);
    }
    return end == FR_OK ? at_point(run, "acknowledged.logged") : end;
}

/* A message between Acknowledge and Flushed. */
static enum fr_end take_load_phase(struct fr_run *run,
                                   const struct fr_json *message,
                                   bool flush_sent,
                                   bool *ret_flushed)
{
    const char *kind = kind_of(message);
    if (strcmp(kind, "acknowledged") == 0) {
        return take_acknowledged(run, body_of(message));
    }
    if (strcmp(kind, "loaded") == 0) {
        if (!run->acknowledged) {
            return fr_verdict(run, FR_VIOLATION, "rule: no Loaded before Acknowledged");
        }
        run->txn_loads_answered++;
        return fr_traffic_loaded(run, body_of(message));
    }
    if (strcmp(kind, "flushed") == 0) {
        if (!run->acknowledged) {
            return fr_verdict(run, FR_VIOLATION, "rule: no Flushed before Acknowledged");
        }
        if (!flush_sent) {
            return fr_verdict(run, FR_VIOLATION, "rule: no Flushed before Flush");
        }
        *ret_flushed = true;
        return FR_OK;
    }
    return fr_verdict(run, FR_VIOLATION,
                      "rule: only Acknowledged, Loaded and Flushed in the Load phase; got %s",
                      title_of(kind));
}

/* Takes all messages that are there. */
static enum fr_end drain_load_phase(struct fr_run *run)
{
    for (;;) {
        struct fr_json *message = NULL;
        bool flushed = false;
        enum fr_end end = take(run, &message);
        if (end != FR_OK || message == NULL) {
            return end;
        }
        end = take_load_phase(run, message, false, &flushed);
        if (end != FR_OK) {
            return end;
        }
    }
}

/* Keeps what waits to be written below a bound, reading meanwhile. */
static enum fr_end relieve(struct fr_run *run, bool in_load_phase)
{
    int64_t deadline = new_deadline(run);
    while (run->peer.out.len - run->peer.out_sent > OUT_BYTES) {
        size_t before = run->peer.out.len - run->peer.out_sent;
        if (fr_peer_is_gone(&run->peer) || run->peer.in_fd < 0) {
            return flush(run);
        }
        enum fr_end end = turn(run, deadline);
        if (end == FR_OK && in_load_phase) {
            end = drain_load_phase(run);
        }
        if (end != FR_OK) {
            return end;
        }
        if (run->peer.out.len - run->peer.out_sent < before) {
            deadline = new_deadline(run);
        }
    }
    return FR_OK;
}

static enum fr_end wait_acknowledged(struct fr_run *run)
{
    while (!run->acknowledged) {
        struct fr_json *message = NULL;
        bool flushed = false;
        enum fr_end end = receive(run, "Acknowledged", &message);
        end = end == FR_OK ? take_load_phase(run, message, false, &flushed) : end;
        if (end != FR_OK) {
            return end;
        }
    }
    return FR_OK;
}

static bool needs_load(const struct fr_run *run, uint32_t binding, const char *key, size_t len)
{
    const struct fr_buf *max = &run->max_keys[binding];
    if (run->task.bindings[binding].delta) {
        return false;
    }
    if (run->options.force_loads || run->disable_load_optimization) {
        return true;
    }
    size_t least = len < max->len ? len : max->len;
    int order = least == 0 ? 0 : memcmp(key, max->data, least);
    return max->len > 0 && (order < 0 || (order == 0 && len <= max->len));
}

static enum fr_end send_load(struct fr_run *run, uint32_t binding, const char *key, size_t len)
{
    SENDING(run, "load", fr_traffic_put_load(run, binding, key, len));
    run->loads++;
    run->txn_loads_sent++;
    return relieve(run, true);
}

/* The keys of a generated transaction, straight from the generator. */
static enum fr_end send_generated_loads(struct fr_run *run, const struct plan *plan)
{
    struct fr_buf key = {0};
    enum fr_end end = FR_OK;
    for (uint64_t at = plan->from; end == FR_OK && at < plan->to; at++) {
        const struct fr_json *doc = fr_source_document(&run->source, NULL, at);
        for (uint32_t i = 0; end == FR_OK && i < run->task.binding_count; i++) {
            key.len = 0;
            if (fr_source_feeds(&run->source, at, i) &&
                fr_binding_pack_key(&run->task.bindings[i], doc, &key) &&
                needs_load(run, i, key.data, key.len)) {
                end = send_load(run, i, key.data, key.len);
            }
        }
    }
    fr_buf_done(&key);
    return end;
}

static size_t pick_loads(struct fr_run *run, uint32_t *order)
{
    size_t count = 0;
    for (size_t i = 0; i < run->txn.count; i++) {
        const struct fr_entry *entry = &run->txn.entries[i];
        if (needs_load(run, entry->binding, entry->key, entry->key_len)) {
            order[count++] = (uint32_t)i;
        }
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = fr_random_below(&run->random, i);
        uint32_t swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
    return count;
}

static enum fr_end send_loads(struct fr_run *run)
{
    uint32_t *order = fr_realloc(NULL, (run->txn.count + 1) * sizeof(*order));
    size_t count = pick_loads(run, order);
    size_t early = run->options.early == FR_EARLY_NONE ? 0 : count;
    enum fr_end end = FR_OK;

    if (run->options.early == FR_EARLY_SOME) {
        early = fr_random_below(&run->random, count + 1);
    }
    for (size_t i = 0; end == FR_OK && i < count; i++) {
        if (i == early) {
            end = wait_acknowledged(run);
        }
        struct fr_entry *entry = &run->txn.entries[order[i]];
        entry->load_sent = true;
        end = end == FR_OK ? send_load(run, entry->binding, entry->key, entry->key_len) : end;
    }
    fr_realloc(order, 0);
    return end;
}

/* Every key that is stored must have been found. */
static enum fr_end check_found(struct fr_run *run)
{
    for (size_t i = 0; i < run->txn.count; i++) {
        const struct fr_entry *entry = &run->txn.entries[i];
        if (!entry->load_sent || entry->loaded) {
            continue;
        }
        const struct fr_entry *model =
            fr_keymap_find(&run->model, entry->binding, entry->key, entry->key_len);
        if (model != NULL && (model->text != NULL || model->position >= 0)) {
            struct fr_arena arena = {0};
            struct fr_buf text = {0};
            fr_json_put(&text, fr_traffic_model_document(run, &arena, model));
            enum fr_end end = fr_verdict(run, FR_MISMATCH,
                                         "mismatch: a stored document was not loaded: binding "
                                         "%u, stored %.1500s",
                                         entry->binding, text.data);
            fr_buf_done(&text);
            fr_arena_done(&arena);
            return end;
        }
    }
    return FR_OK;
}

static enum fr_end flush_loads(struct fr_run *run)
{
    struct fr_json *message = NULL;
    struct fr_json *state = NULL;
    bool flushed = false;

    /* A Flushed that is already there was written before Flush. */
    enum fr_end end = flush(run);
    while (end == FR_OK && fr_peer_pump(&run->peer, 0)) {
    }
    end = end == FR_OK ? drain_load_phase(run) : end;
    if (end != FR_OK) {
        return end;
    }
    SENDING(run, "flush", put_with_patches(run, "flush", 6, 1, NULL, &run->acknowledged_patches));
    run->flushed_patches.len = 0;
    while (!flushed) {
        end = receive(run, "Flushed", &message);
        end = end == FR_OK ? take_load_phase(run, message, true, &flushed) : end;
        if (end != FR_OK) {
            return end;
        }
    }
    end = state_of(run, "Flushed", body_of(message), &state);
    if (end == FR_OK && state != NULL) {
        add_patch(&run->flushed_patches, state);
        end = log_state(run, "flushed", NULL, state, NULL);
        end = end == FR_OK ? at_point(run, "flushed.logged") : end;
    }
    return end == FR_OK ? check_found(run) : end;
}

/* ---------------------------------------------------------------- Store and commit */

static void note_max_key(struct fr_run *run, uint32_t binding, const char *key, size_t len)
{
    struct fr_buf *max = &run->txn_max_keys[binding];
    const struct fr_buf *old = &run->max_keys[binding];
    size_t least = len < old->len ? len : old->len;
    int order = least == 0 ? 0 : memcmp(key, old->data, least);
    if (old->len > 0 && (order < 0 || (order == 0 && len <= old->len))) {
        return;
    }
    max->len = 0;
    fr_buf_put(max, key, len);
}

static enum fr_end send_store(struct fr_run *run,
                              uint32_t binding,
                              const char *key,
                              size_t len,
                              const struct fr_stored *stored)
{
    SENDING(run, "store", fr_traffic_put_store(run, binding, key, len, stored));
    run->stores++;
    run->deletes += stored->deleted;
    run->updates += stored->exists;
    note_max_key(run, binding, key, len);
    return relieve(run, false);
}

/* Generated keys ascend, so they can be stored as they are made, binding after binding. */
static enum fr_end send_generated_stores(struct fr_run *run, const struct plan *plan)
{
    struct fr_buf key = {0};
    struct fr_buf values = {0};
    struct fr_buf text = {0};
    enum fr_end end = FR_OK;
    bool as_json = run->options.codec == FR_CODEC_JSON && run->options.is_v2;

    for (uint32_t i = 0; end == FR_OK && i < run->task.binding_count; i++) {
        const struct fr_binding *binding = &run->task.bindings[i];
        for (uint64_t at = plan->from; end == FR_OK && at < plan->to; at++) {
            if (!fr_source_feeds(&run->source, at, i)) {
                continue;
            }
            struct fr_stored stored = {.values = &values, .text = &text};
            stored.doc = fr_source_document(&run->source, NULL, at);
            key.len = 0;
            values.len = 0;
            text.len = 0;
            (void)fr_binding_pack_key(binding, stored.doc, &key);
            bool truncated = fr_json_put_policy(&text, stored.doc, &binding->policy, 0);
            (void)fr_binding_put_values(binding, stored.doc, truncated, as_json, &values);
            end = send_store(run, i, key.data, key.len, &stored);
        }
    }
    fr_buf_done(&key);
    fr_buf_done(&values);
    fr_buf_done(&text);
    return end;
}

static int compare_entries(const void *left, const void *right)
{
    const struct fr_entry *const *l = left;
    const struct fr_entry *const *r = right;
    return fr_entry_compare(*l, *r);
}

static enum fr_end send_stores(struct fr_run *run)
{
    struct fr_entry **order = fr_realloc(NULL, (run->txn.count + 1) * sizeof(*order));
    struct fr_arena arena = {0};
    struct fr_buf values = {0};
    struct fr_buf text = {0};
    enum fr_end end = FR_OK;

    for (size_t i = 0; i < run->txn.count; i++) {
        order[i] = &run->txn.entries[i];
    }
    qsort(order, run->txn.count, sizeof(*order), compare_entries);
    for (size_t i = 0; end == FR_OK && i < run->txn.count; i++) {
        struct fr_entry *entry = order[i];
        struct fr_stored stored = {.values = &values, .text = &text};
        fr_arena_reset(&arena);
        end = fr_traffic_reduce(run, entry, &arena, &stored);
        if (end != FR_OK) {
            break;
        }
        entry->removed = stored.removed;
        entry->text = NULL;
        if (stored.plain) {
            entry->position = (int64_t)run->links[entry->first].position;
        } else {
            entry->text = fr_arena_copy(&run->txn_arena, text.data, text.len);
            entry->text_len = text.len;
        }
        end = send_store(run, entry->binding, entry->key, entry->key_len, &stored);
    }
    fr_realloc(order, 0);
    fr_arena_done(&arena);
    fr_buf_done(&values);
    fr_buf_done(&text);
    return end;
}

/* Nothing may have been written in the Store phase. */
static enum fr_end check_silence(struct fr_run *run)
{
    struct fr_json *message = NULL;
    enum fr_end end = flush(run);
    while (end == FR_OK && fr_peer_pump(&run->peer, 0)) {
    }
    end = end == FR_OK ? take(run, &message) : end;
    if (end == FR_OK && message != NULL) {
        return fr_verdict(run, FR_VIOLATION, "rule: no response during the Store phase; got %s",
                          title_of(kind_of(message)));
    }
    return end;
}

static struct fr_json *make_checkpoint(struct fr_run *run, const struct plan *plan)
{
    struct fr_arena *arena = &run->message_arena;
    struct fr_json *checkpoint = fr_json_new(arena, FR_OBJECT);
    struct fr_json *sources = fr_json_new(arena, FR_OBJECT);
    struct fr_json *intents = fr_json_new(arena, FR_OBJECT);
    struct fr_buf name = {0};

    for (size_t i = 0; i < run->task.binding_count; i++) {
        const struct fr_binding *binding = &run->task.bindings[i];
        struct fr_json *source = fr_json_new(arena, FR_OBJECT);
        struct fr_json *producers = fr_json_new(arena, FR_ARRAY);
        struct fr_json *producer = fr_json_new(arena, FR_OBJECT);
        struct fr_json *state = fr_json_new(arena, FR_OBJECT);
        fr_json_set(arena, state, "lastAck",
                    fr_json_int_text(arena, (int64_t)(plan->to * 16 + 309)));
        fr_json_set(arena, state, "begin", fr_json_string(arena, "-1"));
        fr_json_set(arena, producer, "id", fr_json_string(arena, "BwxmKx0J"));
        fr_json_set(arena, producer, "state", state);
        fr_json_push(arena, producers, producer);
        if (plan->to > 0) {
            fr_json_set(arena, source, "readThrough", fr_json_int_text(arena, (int64_t)plan->to));
        }
        fr_json_set(arena, source, "producers", producers);
        name.len = 0;
        fr_buf_printf(&name, "%s/pivot=00;materialize/%s/%s", binding->source, run->task.name,
                      binding->state_key);
        fr_json_set(arena, sources, name.data, source);
    }
    fr_json_set(arena, intents, "acmeCo/ops/stats", fr_json_string(arena, "eyJhIjoxfQo="));
    fr_json_set(arena, checkpoint, "sources", sources);
    fr_json_set(arena, checkpoint, "ackIntents", intents);
    if (run->options.is_v2) {
        struct fr_json *close = fr_json_new(arena, FR_OBJECT);
        const char *reason = NULL;
        static const char text[] =
            "{\"producers\":[{\"id\":\"AQAAAAAA\",\"state\":{\"lastAck\":\"77\"}}]}";
        close = fr_json_parse(arena, text, sizeof(text) - 1, &reason);
        fr_json_set(arena, sources, "committed-close", close);
    }
    fr_buf_done(&name);
    return checkpoint;
}

static struct fr_json *list_max_keys(struct fr_run *run)
{
    struct fr_arena *arena = &run->message_arena;
    struct fr_json *object = fr_json_new(arena, FR_OBJECT);
    struct fr_buf text = {0};
    for (size_t i = 0; i < run->task.binding_count; i++) {
        const struct fr_buf *key =
            run->txn_max_keys[i].len > 0 ? &run->txn_max_keys[i] : &run->max_keys[i];
        if (key->len > 0) {
            text.len = 0;
            fr_base64_put(&text, key->data, key->len);
            fr_json_set(arena, object, run->task.bindings[i].state_key,
                        fr_json_string(arena, text.data));
        }
    }
    fr_buf_done(&text);
    return object;
}

static enum fr_end commit(struct fr_run *run, const struct plan *plan)
{
    struct fr_json *message = NULL;
    struct fr_json *state = NULL;
    enum fr_end end = check_silence(run);
    if (end != FR_OK) {
        return end;
    }
    SENDING(run, "startCommit",
            put_with_patches(run, "startCommit", 8, 2, make_checkpoint(run, plan),
                             &run->flushed_patches));
    end = receive(run, "StartedCommit", &message);
    if (end == FR_OK && strcmp(kind_of(message), "startedCommit") != 0) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: only StartedCommit answers StartCommit, and nothing during the "
                          "Store phase; got %s",
                          title_of(kind_of(message)));
    }
    end = end == FR_OK ? state_of(run, "StartedCommit", body_of(message), &state) : end;
    if (end != FR_OK) {
        return end;
    }
    run->started_patches.len = 0;
    if (state != NULL) {
        add_patch(&run->started_patches, state);
    }
    struct fr_commit record = {plan->from, plan->to, plan->marks};
    end = log_state(run, "commit", &record, state, list_max_keys(run));
    if (end != FR_OK) {
        return end;
    }
    if (!run->source.generates) {
        fr_traffic_commit(run);
    } else {
        for (size_t i = 0; i < run->task.binding_count; i++) {
            if (run->txn_max_keys[i].len > 0) {
                run->max_keys[i].len = 0;
                fr_buf_put(&run->max_keys[i], run->txn_max_keys[i].data, run->txn_max_keys[i].len);
            }
        }
    }
    run->position = plan->to;
    run->marks = plan->marks;
    run->documents += plan->to - plan->from;
    run->transactions++;
    run->session_commits++;
    fr_peer_sample(&run->peer);
    return at_point(run, "commit.logged");
}

/* ---------------------------------------------------------------- the session */

/* From Load to the log commit; Acknowledge was sent. */
static enum fr_end transact(struct fr_run *run, const struct plan *plan)
{
    enum fr_end end = FR_OK;
    fr_traffic_clear(run);
    reset_points(run);
    run->high_water = plan->to > run->high_water ? plan->to : run->high_water;
    if (run->options.early == FR_EARLY_NONE) {
        end = wait_acknowledged(run);
    }
    if (end == FR_OK && run->source.generates) {
        end = send_generated_loads(run, plan);
    } else if (end == FR_OK) {
        end = fr_traffic_collect(run, plan->from, plan->to);
        end = end == FR_OK ? send_loads(run) : end;
    }
    end = end == FR_OK ? wait_acknowledged(run) : end;
    end = end == FR_OK ? flush_loads(run) : end;
    if (end == FR_OK) {
        end = run->source.generates ? send_generated_stores(run, plan) : send_stores(run);
    }
    return end == FR_OK ? commit(run, plan) : end;
}

static bool must_stop(const struct fr_run *run)
{
    return fr_session_is_drained(run) || (run->options.max_transactions > 0 &&
                                          run->transactions >= run->options.max_transactions);
}

/* v1 ends a session with end of input right after an Acknowledge, and wants its answer. */
static enum fr_end end_after_acknowledge(struct fr_run *run)
{
    struct fr_json *body = NULL;
    enum fr_end end = flush(run);
    if (end == FR_OK) {
        fr_peer_sample(&run->peer);
        fr_peer_close_input(&run->peer);
        end = expect(run, "acknowledged", &body);
    }
    end = end == FR_OK ? take_acknowledged(run, body) : end;
    return end == FR_OK ? expect_end(run, false) : end;
}

enum fr_end fr_session_transactions(struct fr_run *run)
{
    bool trailed = false; /* v2: the transaction after the last one was made */
    run->session_commits = 0;
    run->started_patches.len = 0;
    run->acknowledged_patches.len = 0;
    run->flushed_patches.len = 0;
    enum fr_end end = open_session(run);
    while (end == FR_OK) {
        bool stop = must_stop(run);
        bool undrained = run->options.not_drained && run->session_commits > 0;
        if (stop && (undrained || trailed)) {
            end = flush(run);
            return end == FR_OK ? expect_end(run, true) : end;
        }
        end = send_acknowledge(run);
        if (end != FR_OK) {
            return end;
        }
        if (stop && !run->options.is_v2) {
            return end_after_acknowledge(run);
        }
        struct plan plan = {run->position, run->position, run->marks, true};
        if (stop) {
            trailed = true;
        } else {
            plan_transaction(run, &plan);
        }
        end = transact(run, &plan);
    }
    return end;
}
