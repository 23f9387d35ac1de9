/* Spec, Validate and Apply: short RPCs, each in a process of its own. */
#include <errno.h>
#include <string.h>

#include "exchange.h"

enum { MAX_APPLIES = 3 };

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
    struct fr_shard *shard = &run->shards[0];
    struct fr_json *validated = NULL;
    struct fr_buf error = {0};
    enum fr_end end = fr_exchange_begin(shard);
    if (end != FR_OK) {
        return end;
    }
    struct fr_json *body = fr_task_validate(&run->task, last, last_version);
    SENDING(shard, "validate", fr_exchange_put(shard, "validate", body));
    end = fr_exchange_flush(shard);
    if (end == FR_OK) {
        fr_peer_close_input(&shard->peer);
        end = fr_exchange_expect(shard, "validated", &validated);
    }
    if (end == FR_OK && !fr_task_check_validated(&run->task, validated, &error)) {
        end = fr_exchange_broken(run, &error);
    }
    if (end == FR_OK) {
        validated = fr_json_deep(&run->task.arena, validated);
        end = fr_exchange_expect_end(shard, false);
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
    struct fr_shard *shard = &run->shards[0];
    struct fr_json *applied = NULL;
    struct fr_json *state = NULL;
    const char *reason = NULL;
    enum fr_end end = fr_exchange_begin(shard);
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
    SENDING(shard, "apply", fr_exchange_put(shard, "apply", body));
    end = fr_exchange_flush(shard);
    if (end == FR_OK) {
        fr_peer_close_input(&shard->peer);
        end = fr_exchange_expect(shard, "applied", &applied);
    }
    if (end == FR_OK) {
        end = fr_exchange_state(shard, "Applied", applied, &state);
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
    end = end == FR_OK ? fr_exchange_expect_end(shard, false) : end;
    if (end == FR_OK && state != NULL) {
        struct fr_json *updates = fr_json_new(arena, FR_ARRAY);
        fr_json_push(arena, updates, state);
        end = fr_exchange_log(run, "applied", NULL, updates, NULL);
        end = end == FR_OK ? fr_exchange_logged(run, "applied.logged") : end;
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

    run->shard_count = 1;
    if (run->options.until == FR_UNTIL_SPEC) {
        end = fr_exchange_begin(&run->shards[0]);
        return end == FR_OK ? fr_exchange_expect_end(&run->shards[0], false) : end;
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
