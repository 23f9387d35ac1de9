/* Bytes, messages and moments of each process; the Spec that opens each stream. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"

enum { PROTOCOL = 3032023, END_TIMEOUT_MS = 60000 };

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum fr_end fr_exchange_broken(struct fr_run *run, const struct fr_buf *rule)
{
    return fr_verdict(run, FR_VIOLATION, "rule: %s", rule->data);
}

/* ---------------------------------------------------------------- kill points */

struct fr_counter {
    char point[40];
    unsigned shard; /* index + 1; 0: of all together */
    unsigned count;
};

static unsigned count_point(struct fr_run *run, const char *point, unsigned shard)
{
    for (size_t i = 0; i < run->counter_count; i++) {
        if (run->counters[i].shard == shard && strcmp(run->counters[i].point, point) == 0) {
            return ++run->counters[i].count;
        }
    }
    run->counters = fr_realloc(run->counters, (run->counter_count + 1) * sizeof(*run->counters));
    struct fr_counter *added = &run->counters[run->counter_count++];
    (void)snprintf(added->point, sizeof(added->point), "%s", point);
    added->shard = shard;
    added->count = 1;
    return 1;
}

/* Loads, Stores and Loadeds are counted anew in each transaction. */
void fr_exchange_reset_points(struct fr_run *run)
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

static enum fr_end kill_now(struct fr_run *run, unsigned index, struct fr_shard *victim)
{
    run->options.kills[index].fired = true;
    run->in_flight_kill = 0;
    run->kills++;
    run->expected_death = true;
    fr_peer_kill(&victim->peer, SIGKILL);
    return fr_verdict(run, FR_DIED, "shard %u was killed at %s", victim->index,
                      run->options.kills[index].point);
}

/* Is this point to be counted now? */
static bool is_counted(const struct fr_run *run, const char *point)
{
    for (unsigned i = 0; i < run->options.kill_count; i++) {
        if (strcmp(run->options.kills[i].point, point) == 0) {
            return run->transactions >= run->options.arm;
        }
    }
    return false;
}

static enum fr_end kill_soon(struct fr_run *run, unsigned index, struct fr_shard *victim)
{
    const struct fr_kill *rule = &run->options.kills[index];
    if (fr_peer_has_output(&victim->peer)) {
        enum fr_end end = fr_exchange_flush(victim);
        if (end != FR_OK) {
            return end;
        }
    }
    if (rule->delay_ms == 0) {
        return kill_now(run, index, victim);
    }
    run->in_flight_kill = index + 1;
    run->kill_victim = victim;
    run->kill_time_ms = now_ms() + rule->delay_ms;
    return FR_OK;
}

/* The rule whose turn it is, or kill_count. own: occurrences at this shard, all: anywhere. */
static unsigned
find_rule(const struct fr_run *run, const char *point, unsigned shard, unsigned own, unsigned all)
{
    for (unsigned i = 0; run->in_flight_kill == 0 && i < run->options.kill_count; i++) {
        const struct fr_kill *rule = &run->options.kills[i];
        bool is_due =
            rule->shard == 0 ? rule->count == all : rule->shard == shard && rule->count == own;
        if (!rule->fired && is_due && strcmp(rule->point, point) == 0) {
            return i;
        }
    }
    return run->options.kill_count;
}

/* A named moment. "before" a request nothing of it may be written, after ".sent" all of it is. */
enum fr_end fr_exchange_point(struct fr_shard *shard, const char *point)
{
    struct fr_run *run = shard->run;
    if (!is_counted(run, point)) {
        return FR_OK;
    }
    unsigned own = count_point(run, point, shard->index + 1);
    unsigned all = count_point(run, point, 0);
    unsigned rule = find_rule(run, point, shard->index + 1, own, all);
    return rule < run->options.kill_count ? kill_soon(run, rule, shard) : FR_OK;
}

/* It happens to all shards at once: the one that is named dies, or the first. */
enum fr_end fr_exchange_logged(struct fr_run *run, const char *point)
{
    if (!is_counted(run, point)) {
        return FR_OK;
    }
    unsigned count = count_point(run, point, 0);
    for (unsigned i = 0; i < run->shard_count; i++) {
        unsigned rule = find_rule(run, point, i + 1, count, i == 0 ? count : 0);
        if (rule < run->options.kill_count) {
            return kill_soon(run, rule, &run->shards[i]);
        }
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

static bool pump(struct fr_run *run, int timeout_ms)
{
    struct fr_peer *peers[FR_MAX_SHARDS];
    size_t count = 0;
    for (unsigned i = 0; i < run->shard_count; i++) {
        peers[count++] = &run->shards[i].peer;
    }
    return fr_peer_pump_all(peers, count, timeout_ms);
}

void fr_exchange_settle(struct fr_run *run)
{
    while (pump(run, 0)) {
    }
}

/* What it wrote before its end is looked at first, when its turn comes. */
static struct fr_shard *find_lost(struct fr_run *run, const struct fr_shard *awaited)
{
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        if (shard != awaited && !shard->is_ending && shard->peer.pid > 0 &&
            fr_peer_is_gone(&shard->peer) && !fr_peer_has_fragment(&shard->peer)) {
            return shard;
        }
    }
    return NULL;
}

enum fr_end fr_exchange_turn(struct fr_run *run, const struct fr_shard *awaited, int64_t deadline)
{
    bool moved = pump(run, wait_ms(run, deadline));
    if (run->in_flight_kill > 0 && now_ms() >= run->kill_time_ms) {
        return kill_now(run, run->in_flight_kill - 1, run->kill_victim);
    }
    struct fr_shard *lost = find_lost(run, awaited);
    if (lost != NULL) {
        return fr_exchange_judge_end(lost, "its peers");
    }
    if (!moved && now_ms() >= deadline) {
        return fr_verdict(run, FR_FAILED, "the connector did nothing for %u s",
                          run->options.timeout_s);
    }
    return FR_OK;
}

int64_t fr_exchange_deadline(const struct fr_run *run)
{
    return now_ms() + (int64_t)run->options.timeout_s * 1000;
}

enum fr_end fr_exchange_judge_end(struct fr_shard *shard, const char *where)
{
    struct fr_run *run = shard->run;
    fr_peer_wait(&shard->peer, END_TIMEOUT_MS);
    if (WIFEXITED(shard->peer.status) && WEXITSTATUS(shard->peer.status) == 0) {
        if (fr_peer_has_fragment(&shard->peer)) {
            return fr_verdict(run, FR_VIOLATION, "rule: no partial message at the end of stdout");
        }
        return fr_verdict(run, FR_VIOLATION,
                          "rule: a process that exits 0 has answered; stdout ended while waiting "
                          "for %s",
                          where);
    }
    if (WIFEXITED(shard->peer.status)) {
        return fr_verdict(run, FR_DIED,
                          "the connector exited with %d while the runtime waited "
                          "for %s (shard %u); last log line: %s",
                          WEXITSTATUS(shard->peer.status), where, shard->index,
                          shard->peer.last_line.len > 0 ? shard->peer.last_line.data : "(none)");
    }
    return fr_verdict(run, FR_DIED,
                      "the connector died of signal %d while the runtime waited for %s (shard %u); "
                      "last log line: %s",
                      WTERMSIG(shard->peer.status), where, shard->index,
                      shard->peer.last_line.len > 0 ? shard->peer.last_line.data : "(none)");
}

/* Writes everything out. What comes in meanwhile is kept for later. */
enum fr_end fr_exchange_flush(struct fr_shard *shard)
{
    struct fr_run *run = shard->run;
    int64_t deadline = fr_exchange_deadline(run);
    while (fr_peer_has_output(&shard->peer)) {
        size_t before = shard->peer.out.len - shard->peer.out_sent;
        if (fr_peer_is_gone(&shard->peer)) {
            return fr_exchange_judge_end(shard, "the connector to read");
        }
        enum fr_end end = fr_exchange_turn(run, shard, deadline);
        if (end != FR_OK) {
            return end;
        }
        if (shard->peer.out.len - shard->peer.out_sent != before) {
            deadline = fr_exchange_deadline(run);
        }
    }
    if (shard->peer.in_fd < 0) {
        while (!fr_peer_is_gone(&shard->peer)) {
            enum fr_end end = fr_exchange_turn(run, shard, deadline);
            if (end != FR_OK) {
                return end;
            }
        }
        return fr_exchange_judge_end(shard, "the connector to read");
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

void fr_exchange_put(struct fr_shard *shard, const char *kind, struct fr_json *body)
{
    struct fr_run *run = shard->run;
    struct fr_json *request = fr_json_new(&run->message_arena, FR_OBJECT);
    fr_json_set(&run->message_arena, request, kind, body);
    if (run->options.codec == FR_CODEC_JSON) {
        fr_wire_put_json(&shard->peer.out, &fr_request, request, run->options.pretty);
        fr_buf_putc(&shard->peer.out, '\n');
        return;
    }
    struct fr_buf message = {0};
    fr_buf_reserve(&message, 1);
    fr_wire_encode(&message, &fr_request, request);
    put_frame(&shard->peer.out, &message);
    fr_buf_done(&message);
}

/* Flush, StartCommit and Acknowledge carry the peers' patches byte for byte. */
void fr_exchange_put_patched(struct fr_shard *shard,
                             const char *kind,
                             unsigned kind_number,
                             unsigned patches_number,
                             const struct fr_json *checkpoint,
                             const struct fr_buf *patches,
                             const struct fr_buf *more)
{
    struct fr_run *run = shard->run;
    bool has_patches = run->options.is_v2 && patches != NULL && patches->len > 0;
    bool has_more = more != NULL && more->len > 0;
    struct fr_buf *out = &shard->peer.out;
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
        if (has_more) {
            fr_buf_puts(out, checkpoint != NULL || has_patches ? "," : "");
            fr_buf_put(out, more->data, more->len);
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
    if (has_more) {
        fr_buf_put(&body, more->data, more->len);
    }
    fr_wire_put_bytes(&message, kind_number, body.data, body.len);
    put_frame(out, &message);
    fr_buf_done(&body);
    fr_buf_done(&message);
    fr_buf_done(&inner);
}

const char *fr_exchange_kind(const struct fr_json *message)
{
    return message->members[0].name;
}

struct fr_json *fr_exchange_body(const struct fr_json *message)
{
    return message->members[0].value;
}

/* Responses as people know them. */
const char *fr_exchange_title(const char *kind)
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
enum fr_end fr_exchange_take(struct fr_shard *shard, struct fr_json **ret_message)
{
    struct fr_run *run = shard->run;
    struct fr_buf rule = {0};
    enum fr_end end = FR_OK;
    char point[64];

    fr_arena_reset(&run->message_arena);
    *ret_message = NULL;
    enum fr_got got =
        fr_peer_next(&shard->peer, run->options.codec, &run->message_arena, ret_message, &rule);
    if (got == FR_GOT_BROKEN) {
        end = fr_exchange_broken(run, &rule);
        *ret_message = NULL;
    } else if (got == FR_GOT_NONE) {
        *ret_message = NULL;
    } else {
        (void)snprintf(point, sizeof(point), "%s.received", fr_exchange_kind(*ret_message));
        end = fr_exchange_point(shard, point);
    }
    fr_buf_done(&rule);
    return end;
}

/* Waits for any message. */
enum fr_end
fr_exchange_receive(struct fr_shard *shard, const char *awaited, struct fr_json **ret_message)
{
    struct fr_run *run = shard->run;
    int64_t deadline = fr_exchange_deadline(run);
    for (;;) {
        enum fr_end end = fr_exchange_take(shard, ret_message);
        if (end != FR_OK || *ret_message != NULL) {
            return end;
        }
        if (fr_peer_is_gone(&shard->peer)) {
            return fr_exchange_judge_end(shard, awaited);
        }
        end = fr_exchange_turn(run, shard, deadline);
        if (end != FR_OK) {
            return end;
        }
    }
}

enum fr_end fr_exchange_expect(struct fr_shard *shard, const char *kind, struct fr_json **ret_body)
{
    struct fr_run *run = shard->run;
    struct fr_json *message = NULL;
    enum fr_end end = fr_exchange_receive(shard, fr_exchange_title(kind), &message);
    if (end == FR_OK && strcmp(fr_exchange_kind(message), kind) != 0) {
        end = fr_verdict(run, FR_VIOLATION, "rule: the answer must be %s; got %s",
                         fr_exchange_title(kind), fr_exchange_title(fr_exchange_kind(message)));
    }
    if (end == FR_OK) {
        *ret_body = fr_exchange_body(message);
    }
    return end;
}

/* Its stdout has ended: was that a clean end? */
static enum fr_end check_end(struct fr_shard *shard, bool may_fail)
{
    struct fr_run *run = shard->run;
    struct fr_json *message = NULL;

    fr_peer_wait(&shard->peer, END_TIMEOUT_MS);
    enum fr_end end = fr_exchange_take(shard, &message);
    if (end != FR_OK) {
        return end;
    }
    if (message != NULL) {
        return fr_verdict(run, FR_VIOLATION, "rule: no output after the last answer; got %s",
                          fr_exchange_title(fr_exchange_kind(message)));
    }
    if (WIFSIGNALED(shard->peer.status)) {
        return fr_verdict(run, FR_DIED, "the connector died of signal %d after its last answer",
                          WTERMSIG(shard->peer.status));
    }
    if (fr_peer_has_fragment(&shard->peer)) {
        return fr_verdict(run, FR_VIOLATION, "rule: no partial message at the end of stdout");
    }
    int code = WEXITSTATUS(shard->peer.status);
    if (code != 0 && !(may_fail && code == 1)) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: exit 0 at a clean end; got %d; last log line: %s", code,
                          shard->peer.last_line.len > 0 ? shard->peer.last_line.data : "(none)");
    }
    return FR_OK;
}

static enum fr_end await_end(struct fr_shard *shard, bool may_fail)
{
    int64_t deadline = fr_exchange_deadline(shard->run);
    while (!fr_peer_is_gone(&shard->peer)) {
        enum fr_end end = fr_exchange_turn(shard->run, shard, deadline);
        if (end != FR_OK) {
            return end;
        }
    }
    return check_end(shard, may_fail);
}

static void close_input(struct fr_shard *shard)
{
    fr_peer_sample(&shard->peer);
    shard->is_ending = true;
    fr_peer_close_input(&shard->peer);
}

enum fr_end fr_exchange_expect_end(struct fr_shard *shard, bool may_fail)
{
    close_input(shard);
    return await_end(shard, may_fail);
}

enum fr_end fr_exchange_expect_all_ends(struct fr_run *run, bool may_fail)
{
    enum fr_end end = FR_OK;
    for (unsigned i = 0; i < run->shard_count; i++) {
        close_input(&run->shards[i]);
    }
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = await_end(&run->shards[i], may_fail);
    }
    return end;
}

/* ---------------------------------------------------------------- state updates */

/* Checks a ConnectorState; *ret_state NULL when the body has none. */
enum fr_end fr_exchange_state(struct fr_shard *shard,
                              const char *title,
                              const struct fr_json *body,
                              struct fr_json **ret_state)
{
    struct fr_run *run = shard->run;
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
void fr_exchange_add_patch(struct fr_buf *patches, const struct fr_json *state)
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

enum fr_end fr_exchange_log(struct fr_run *run,
                            const char *why,
                            const struct fr_commit *commit,
                            const struct fr_json *updates,
                            const struct fr_json *max_keys)
{
    struct fr_buf error = {0};
    enum fr_end end = FR_OK;
    if (updates == NULL) {
        updates = fr_json_new(&run->message_arena, FR_ARRAY);
    }
    if (!fr_reclog_write(&run->log, why, commit, updates, max_keys, &error)) {
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
enum fr_end fr_exchange_begin(struct fr_shard *shard)
{
    struct fr_run *run = shard->run;
    struct fr_buf error = {0};
    struct fr_json *spec = NULL;
    fr_arena_reset(&run->message_arena);
    shard->is_ending = false;
    if (!fr_peer_start(&shard->peer, &run->launch, &error)) {
        enum fr_end failed = fr_verdict(run, FR_USAGE, "%s", error.data);
        fr_buf_done(&error);
        return failed;
    }
    struct fr_json *body = fr_json_new(&run->message_arena, FR_OBJECT);
    fr_json_set(&run->message_arena, body, "connectorType",
                fr_json_string(&run->message_arena, "IMAGE"));
    fr_json_set(&run->message_arena, body, "config", fr_json_new(&run->message_arena, FR_OBJECT));
    SENDING(shard, "spec", fr_exchange_put(shard, "spec", body));
    enum fr_end end = fr_exchange_expect(shard, "spec", &spec);
    return end == FR_OK ? check_spec(run, spec) : end;
}
