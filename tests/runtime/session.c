/* The transactions session: Open, then Acknowledge, Load, Flush, Store and StartCommit until the
   source is drained. All shards go through each step together: the next one begins when all have
   answered. Documents are held against the model in traffic.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exchange.h"
#include "observe.h"

enum { OUT_BYTES = 256 * 1024 };

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

/* What is committed by the recovery log. */
static uint64_t restored_position(const struct fr_run *run)
{
    const struct fr_reclog *log = &run->log;
    return log->commit_count > 0 ? log->commits[log->commit_count - 1].to : 0;
}

static void restore_position(struct fr_run *run)
{
    const struct fr_reclog *log = &run->log;
    run->position = restored_position(run);
    run->marks = log->commit_count > 0 ? log->commits[log->commit_count - 1].marks : 0;
}

/* The shards of this session divide the 32 bits of the hash evenly. */
static void lay_out(struct fr_run *run)
{
    const struct fr_options *options = &run->options;
    unsigned at =
        run->sessions < options->topology_count ? run->sessions : options->topology_count - 1;
    run->shard_count = options->topology_count > 0 ? options->topology[at] : 1;
    run->sessions++;
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        shard->key_begin = (uint32_t)(((uint64_t)i << 32) / run->shard_count);
        shard->key_end = (uint32_t)((((uint64_t)i + 1) << 32) / run->shard_count - 1);
    }
}

static enum fr_end send_open(struct fr_shard *shard)
{
    struct fr_run *run = shard->run;
    struct fr_arena *arena = &run->message_arena;
    const char *reason = NULL;
    struct fr_json *body = fr_json_new(arena, FR_OBJECT);
    struct fr_json *range = fr_json_new(arena, FR_OBJECT);
    if (shard->key_begin > 0) {
        fr_json_set(arena, range, "keyBegin", fr_json_int(arena, shard->key_begin));
    }
    fr_json_set(arena, range, "keyEnd", fr_json_int(arena, shard->key_end));
    fr_json_set(arena, range, "rClockEnd", fr_json_int(arena, UINT32_MAX));
    fr_json_set(arena, body, "materialization", run->task.spec);
    fr_json_set(arena, body, "version", fr_json_string(arena, run->task.version));
    fr_json_set(arena, body, "range", range);
    if (run->log.state.len > 0) {
        fr_json_set(arena, body, "state",
                    fr_json_parse(arena, run->log.state.data, run->log.state.len, &reason));
    }
    SENDING(shard, "open", fr_exchange_put(shard, "open", body));
    return FR_OK;
}

static enum fr_end take_opened(struct fr_shard *shard)
{
    struct fr_run *run = shard->run;
    struct fr_json *opened = NULL;
    enum fr_end end = fr_exchange_expect(shard, "opened", &opened);
    if (end != FR_OK) {
        return end;
    }
    run->disable_load_optimization |= fr_json_true(fr_json_get(opened, "disableLoadOptimization"));
    const struct fr_json *checkpoint = fr_json_get(opened, "runtimeCheckpoint");
    if (checkpoint != NULL && shard->index > 0) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: only shard zero returns a checkpoint in Opened; shard %u did",
                          shard->index);
    }
    return checkpoint != NULL ? take_checkpoint(run, checkpoint) : FR_OK;
}

static enum fr_end open_session(struct fr_run *run)
{
    enum fr_end end = FR_OK;
    lay_out(run);
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = fr_exchange_begin(&run->shards[i]);
    }
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = send_open(&run->shards[i]);
    }
    run->disable_load_optimization = false;
    restore_position(run);
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = take_opened(&run->shards[i]);
    }
    return end;
}

/* ---------------------------------------------------------------- the clock */

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The phase that begins now is told when it ends. */
static void mark_phase(struct fr_run *run)
{
    run->mark_seconds = now_seconds();
    run->mark_cpu = 0;
    for (unsigned i = 0; i < run->shard_count; i++) {
        run->mark_cpu += fr_peer_cpu(&run->shards[i].peer);
    }
}

static void end_phase(struct fr_run *run, enum fr_phase phase)
{
    const double seconds = run->mark_seconds;
    const double cpu = run->mark_cpu;
    mark_phase(run);
    run->phase_seconds[phase] += run->mark_seconds - seconds;
    run->phase_cpu[phase] += run->mark_cpu - cpu;
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
    fr_arena_reset(&run->phase_arena);
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        shard->acknowledged = shard->flush_sent = shard->flushed = false;
        shard->update = NULL;
        SENDING(
            shard, "acknowledge",
            fr_exchange_put_patched(shard, "acknowledge", 9, 1, NULL, &run->started_patches, NULL));
    }
    run->started_patches.len = 0;
    return FR_OK;
}

/* Keeps the state update of an answer until all shards have answered. */
static enum fr_end
keep_update(struct fr_shard *shard, const char *title, const struct fr_json *body)
{
    struct fr_json *state = NULL;
    enum fr_end end = fr_exchange_state(shard, title, body, &state);
    shard->update =
        end == FR_OK && state != NULL ? fr_json_deep(&shard->run->phase_arena, state) : NULL;
    return end;
}

/* The updates of all shards in order, framed for the next request; they are taken. */
static struct fr_json *take_updates(struct fr_run *run, struct fr_buf *framed)
{
    struct fr_json *updates = fr_json_new(&run->phase_arena, FR_ARRAY);
    framed->len = 0;
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        if (shard->update != NULL) {
            fr_exchange_add_patch(framed, shard->update);
            fr_json_push(&run->phase_arena, updates,
                         fr_json_deep(&run->phase_arena, shard->update));
            shard->update = NULL;
        }
    }
    return updates;
}

static enum fr_end take_acknowledged(struct fr_shard *shard, const struct fr_json *body)
{
    struct fr_run *run = shard->run;
    if (shard->acknowledged) {
        return fr_verdict(run, FR_VIOLATION, "rule: Acknowledged exactly once per cycle");
    }
    shard->acknowledged = true;
    enum fr_end end = keep_update(shard, "Acknowledged", body);
    for (unsigned i = 0; i < run->shard_count; i++) {
        if (!run->shards[i].acknowledged) {
            return end;
        }
    }
    if (end != FR_OK) {
        return end;
    }
    run->acknowledged = true;
    struct fr_json *updates = take_updates(run, &run->acknowledged_patches);
    if (updates->count > 0) {
        end = fr_exchange_log(run, "acknowledged", NULL, updates, NULL);
    }
    if (end == FR_OK) {
        end = fr_observe_tell(run, "acknowledged", restored_position(run), NULL);
    }
    return end == FR_OK ? fr_exchange_logged(run, "acknowledged.logged") : end;
}

/* A message between Acknowledge and Flushed. */
static enum fr_end take_load_phase(struct fr_shard *shard, const struct fr_json *message)
{
    struct fr_run *run = shard->run;
    const char *kind = fr_exchange_kind(message);
    if (strcmp(kind, "acknowledged") == 0) {
        return take_acknowledged(shard, fr_exchange_body(message));
    }
    if (strcmp(kind, "loaded") == 0) {
        if (!shard->acknowledged) {
            return fr_verdict(run, FR_VIOLATION, "rule: no Loaded before Acknowledged");
        }
        run->txn_loads_answered++;
        return fr_traffic_loaded(shard, fr_exchange_body(message));
    }
    if (strcmp(kind, "flushed") == 0) {
        if (!shard->acknowledged) {
            return fr_verdict(run, FR_VIOLATION, "rule: no Flushed before Acknowledged");
        }
        if (!shard->flush_sent) {
            return fr_verdict(run, FR_VIOLATION, "rule: no Flushed before Flush");
        }
        if (shard->flushed) {
            return fr_verdict(run, FR_VIOLATION, "rule: Flushed exactly once per Flush");
        }
        shard->flushed = true;
        return keep_update(shard, "Flushed", fr_exchange_body(message));
    }
    return fr_verdict(run, FR_VIOLATION,
                      "rule: only Acknowledged, Loaded and Flushed in the Load phase; got %s",
                      fr_exchange_title(kind));
}

/* Takes all messages that are there. */
static enum fr_end drain_load_phase(struct fr_run *run)
{
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        /* After Flushed nothing of it is due in this phase. */
        while (!shard->flushed) {
            struct fr_json *message = NULL;
            enum fr_end end = fr_exchange_take(shard, &message);
            if (end == FR_OK && message != NULL) {
                end = take_load_phase(shard, message);
            }
            if (end != FR_OK) {
                return end;
            }
            if (message == NULL) {
                break;
            }
        }
    }
    return FR_OK;
}

/* Keeps what waits to be written below a bound, reading meanwhile. */
static enum fr_end relieve(struct fr_shard *shard, bool in_load_phase)
{
    struct fr_run *run = shard->run;
    struct fr_peer *peer = &shard->peer;
    int64_t deadline = fr_exchange_deadline(run);
    while (peer->out.len - peer->out_sent > OUT_BYTES) {
        size_t before = peer->out.len - peer->out_sent;
        if (fr_peer_is_gone(peer) || peer->in_fd < 0) {
            return fr_exchange_flush(shard);
        }
        enum fr_end end = fr_exchange_turn(run, shard, deadline);
        if (end == FR_OK && in_load_phase) {
            end = drain_load_phase(run);
        }
        if (end != FR_OK) {
            return end;
        }
        if (peer->out.len - peer->out_sent < before) {
            deadline = fr_exchange_deadline(run);
        }
    }
    return FR_OK;
}

/* The first shard of which this answer is missing, or NULL. */
static struct fr_shard *find_missing(struct fr_run *run, bool flushed)
{
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        if (!(flushed ? shard->flushed : shard->acknowledged)) {
            return shard;
        }
    }
    return NULL;
}

/* Until all shards have answered Acknowledge, or Flush. */
static enum fr_end wait_load_phase(struct fr_run *run, bool flushed)
{
    struct fr_shard *missing = NULL;
    while ((missing = find_missing(run, flushed)) != NULL) {
        struct fr_json *message = NULL;
        enum fr_end end =
            fr_exchange_receive(missing, flushed ? "Flushed" : "Acknowledged", &message);
        end = end == FR_OK ? take_load_phase(missing, message) : end;
        end = end == FR_OK ? drain_load_phase(run) : end;
        if (end != FR_OK) {
            return end;
        }
    }
    return FR_OK;
}

static enum fr_end wait_acknowledged(struct fr_run *run)
{
    return wait_load_phase(run, false);
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
    struct fr_shard *shard = fr_traffic_route(run, key, len);
    SENDING(shard, "load", fr_traffic_put_load(shard, binding, key, len));
    run->loads++;
    run->txn_loads_sent++;
    return relieve(shard, true);
}

/* The keys of a generated transaction, straight from the generator. */
static enum fr_end send_generated_loads(struct fr_run *run, const struct plan *plan)
{
    struct fr_buf key = {0};
    enum fr_end end = FR_OK;
    for (uint64_t at = plan->from; end == FR_OK && at < plan->to; at++) {
        bool exists = false;
        const struct fr_json *doc =
            fr_generator_document(&run->source.generator, at, NULL, &exists);
        exists = exists && !run->options.finds_nothing;
        for (uint32_t i = 0; end == FR_OK && i < run->task.binding_count; i++) {
            key.len = 0;
            if (fr_source_feeds(&run->source, at, i) &&
                fr_binding_pack_key(&run->task.bindings[i], doc, &key) &&
                needs_load(run, i, key.data, key.len)) {
                run->txn_loads_found += exists;
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
    if (run->source.generates && run->txn_loads_answered != run->txn_loads_found) {
        return fr_verdict(
            run, FR_MISMATCH, "mismatch: of the keys asked for %llu are stored, %llu were loaded",
            (unsigned long long)run->txn_loads_found, (unsigned long long)run->txn_loads_answered);
    }
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

/* A Flushed that is already there was written before Flush. */
static enum fr_end settle_all(struct fr_run *run)
{
    enum fr_end end = FR_OK;
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = fr_exchange_flush(&run->shards[i]);
    }
    if (end == FR_OK) {
        fr_exchange_settle(run);
    }
    return end;
}

static enum fr_end send_flush(struct fr_shard *shard, const struct fr_buf *signals)
{
    SENDING(shard, "flush",
            fr_exchange_put_patched(shard, "flush", 6, 1, NULL, &shard->run->acknowledged_patches,
                                    signals));
    shard->flush_sent = true;
    return FR_OK;
}

/* Every shard hears of every signal. */
static enum fr_end send_flushes(struct fr_run *run, const struct plan *plan)
{
    struct fr_buf signals = {0};
    enum fr_end end = FR_OK;
    fr_backfill_put(run, plan->from, plan->to, &signals);
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = send_flush(&run->shards[i], &signals);
    }
    fr_buf_done(&signals);
    return end;
}

static enum fr_end flush_loads(struct fr_run *run, const struct plan *plan)
{
    enum fr_end end = settle_all(run);
    end = end == FR_OK ? drain_load_phase(run) : end;
    if (end != FR_OK) {
        return end;
    }
    end = send_flushes(run, plan);
    end = end == FR_OK ? wait_load_phase(run, true) : end;
    if (end != FR_OK) {
        return end;
    }
    struct fr_json *updates = take_updates(run, &run->flushed_patches);
    if (updates->count > 0) {
        end = fr_exchange_log(run, "flushed", NULL, updates, NULL);
        end = end == FR_OK ? fr_exchange_logged(run, "flushed.logged") : end;
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
    struct fr_shard *shard = fr_traffic_route(run, key, len);
    SENDING(shard, "store", fr_traffic_put_store(shard, binding, key, len, stored));
    run->stores++;
    run->deletes += stored->deleted;
    run->updates += stored->exists;
    note_max_key(run, binding, key, len);
    return relieve(shard, false);
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
            stored.doc =
                fr_generator_document(&run->source.generator, at, &stored.deleted, &stored.exists);
            stored.exists = stored.exists && !run->options.finds_nothing && !binding->delta;
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
    enum fr_end end = settle_all(run);
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        struct fr_json *message = NULL;
        end = fr_exchange_take(&run->shards[i], &message);
        if (end == FR_OK && message != NULL) {
            return fr_verdict(run, FR_VIOLATION, "rule: no response during the Store phase; got %s",
                              fr_exchange_title(fr_exchange_kind(message)));
        }
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
        struct fr_json *close = NULL;
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

static enum fr_end take_started(struct fr_shard *shard)
{
    struct fr_json *message = NULL;
    enum fr_end end = fr_exchange_receive(shard, "StartedCommit", &message);
    if (end == FR_OK && strcmp(fr_exchange_kind(message), "startedCommit") != 0) {
        return fr_verdict(shard->run, FR_VIOLATION,
                          "rule: only StartedCommit answers StartCommit, and nothing during the "
                          "Store phase; got %s",
                          fr_exchange_title(fr_exchange_kind(message)));
    }
    return end == FR_OK ? keep_update(shard, "StartedCommit", fr_exchange_body(message)) : end;
}

static enum fr_end start_commit(struct fr_run *run, const struct plan *plan)
{
    enum fr_end end = FR_OK;
    struct fr_json *checkpoint = make_checkpoint(run, plan);
    fr_arena_reset(&run->phase_arena);
    for (unsigned i = 0; i < run->shard_count; i++) {
        struct fr_shard *shard = &run->shards[i];
        shard->update = NULL;
        SENDING(shard, "startCommit",
                fr_exchange_put_patched(shard, "startCommit", 8, 2, checkpoint,
                                        &run->flushed_patches, NULL));
    }
    for (unsigned i = 0; end == FR_OK && i < run->shard_count; i++) {
        end = take_started(&run->shards[i]);
    }
    return end;
}

static enum fr_end commit(struct fr_run *run, const struct plan *plan)
{
    enum fr_end end = check_silence(run);
    end = end == FR_OK ? start_commit(run, plan) : end;
    end_phase(run, FR_PHASE_STORE);
    if (end != FR_OK) {
        return end;
    }
    struct fr_json *updates = take_updates(run, &run->started_patches);
    struct fr_commit record = {plan->from, plan->to, plan->marks};
    end = fr_observe_tell(run, "startedCommit", plan->to, updates);
    if (end != FR_OK) {
        return end;
    }
    end = fr_exchange_log(run, "commit", &record, updates, list_max_keys(run));
    if (end != FR_OK) {
        return end;
    }
    if (!run->source.generates) {
        fr_traffic_commit(run, plan->from, plan->to);
    } else {
        fr_generator_commit(&run->source.generator, plan->from, plan->to, run->task.hard_delete);
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
    for (unsigned i = 0; i < run->shard_count; i++) {
        fr_peer_sample(&run->shards[i].peer);
    }
    return fr_exchange_logged(run, "commit.logged");
}

/* ---------------------------------------------------------------- the session */

/* From Load to the log commit; Acknowledge was sent. */
static enum fr_end transact(struct fr_run *run, const struct plan *plan)
{
    enum fr_end end = FR_OK;
    fr_traffic_clear(run);
    fr_exchange_reset_points(run);
    run->high_water = plan->to > run->high_water ? plan->to : run->high_water;
    if (run->options.early == FR_EARLY_NONE) {
        end = wait_acknowledged(run);
        end_phase(run, FR_PHASE_APPLY);
    }
    if (end == FR_OK && run->source.generates) {
        end = send_generated_loads(run, plan);
    } else if (end == FR_OK) {
        end = fr_traffic_collect(run, plan->from, plan->to);
        end = end == FR_OK ? send_loads(run) : end;
    }
    end = end == FR_OK ? wait_acknowledged(run) : end;
    if (run->options.early != FR_EARLY_NONE) {
        end_phase(run, FR_PHASE_APPLY);
    }
    end = end == FR_OK ? flush_loads(run, plan) : end;
    end_phase(run, FR_PHASE_LOAD);
    if (end == FR_OK) {
        end = run->source.generates ? send_generated_stores(run, plan) : send_stores(run);
    }
    return end == FR_OK ? commit(run, plan) : end;
}

bool fr_session_must_stop(const struct fr_run *run)
{
    return fr_session_is_drained(run) || (run->options.max_transactions > 0 &&
                                          run->transactions >= run->options.max_transactions);
}

/* v1 ends a session with end of input right after an Acknowledge, and wants its answer. */
static enum fr_end end_after_acknowledge(struct fr_shard *shard)
{
    struct fr_json *body = NULL;
    enum fr_end end = fr_exchange_flush(shard);
    if (end == FR_OK) {
        fr_peer_sample(&shard->peer);
        shard->is_ending = true;
        fr_peer_close_input(&shard->peer);
        end = fr_exchange_expect(shard, "acknowledged", &body);
    }
    end = end == FR_OK ? take_acknowledged(shard, body) : end;
    end_phase(shard->run, FR_PHASE_APPLY);
    return end == FR_OK ? fr_exchange_expect_end(shard, false) : end;
}

/* The session is over, whether another one follows or not. */
static bool is_over(const struct fr_run *run)
{
    return fr_session_must_stop(run) || (run->options.session_commits > 0 &&
                                         run->session_commits >= run->options.session_commits);
}

/* Is it to end with work that the log has and nobody has applied? */
static bool is_left_undrained(const struct fr_run *run)
{
    if (fr_session_must_stop(run)) {
        return run->options.not_drained && run->session_commits > 0;
    }
    return run->options.turn == FR_TURN_NOT_DRAINED ||
           (run->options.turn == FR_TURN_ALTERNATE && run->sessions % 2 == 1);
}

enum fr_end fr_session_transactions(struct fr_run *run)
{
    bool trailed = false; /* v2: the transaction after the last one was made */
    run->session_commits = 0;
    run->started_patches.len = 0;
    run->acknowledged_patches.len = 0;
    run->flushed_patches.len = 0;
    run->mark_seconds = now_seconds();
    run->mark_cpu = 0;
    enum fr_end end = open_session(run);
    end_phase(run, FR_PHASE_OPEN);
    while (end == FR_OK) {
        bool stop = is_over(run);
        if (stop && (trailed || is_left_undrained(run))) {
            end = settle_all(run);
            return end == FR_OK ? fr_exchange_expect_all_ends(run, true) : end;
        }
        end = send_acknowledge(run);
        if (end != FR_OK) {
            return end;
        }
        if (stop && !run->options.is_v2) {
            return end_after_acknowledge(&run->shards[0]);
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
