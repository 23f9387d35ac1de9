/* The documents of a transaction: collected by key, loaded, reduced, stored, and kept in a model of
   what the destination holds. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run.h"
#include "tuple.h"

enum fr_end fr_verdict(struct fr_run *run, enum fr_end end, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    run->verdict.len = 0;
    fr_buf_puts(&run->verdict, text);
    return end;
}

static void put_key_text(struct fr_buf *text, const char *key, size_t len)
{
    if (!fr_tuple_put_json(text, key, len)) {
        fr_buf_puts(text, "?");
    }
}

/* ---------------------------------------------------------------- routing */

/* Any hash that spreads well will do; the real runtime's is another (README). */
static uint32_t hash_key(const char *key, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)key[i]) * 0x100000001b3U;
    }
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdU;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53U;
    return (uint32_t)((hash ^ hash >> 33) >> 32);
}

struct fr_shard *fr_traffic_route(struct fr_run *run, const char *key, size_t len)
{
    uint32_t hash = hash_key(key, len);
    unsigned at = 0;
    while (hash > run->shards[at].key_end) {
        at++;
    }
    return &run->shards[at];
}

/* ---------------------------------------------------------------- collecting */

static void add_link(struct fr_run *run, struct fr_entry *entry, uint64_t position)
{
    if (run->link_count == run->link_room) {
        run->link_room = run->link_room == 0 ? 4096 : run->link_room * 2;
        run->links = fr_realloc(run->links, run->link_room * sizeof(*run->links));
    }
    uint32_t at = (uint32_t)run->link_count++;
    run->links[at] = (struct fr_link){position, FR_NOWHERE};
    if (entry->first == FR_NOWHERE) {
        entry->first = at;
    } else {
        run->links[entry->last].next = at;
    }
    entry->last = at;
}

enum fr_end fr_traffic_collect(struct fr_run *run, uint64_t from, uint64_t to)
{
    struct fr_arena arena = {0};
    struct fr_buf key = {0};
    enum fr_end end = FR_OK;

    for (uint64_t at = from; end == FR_OK && at < to; at++) {
        fr_arena_reset(&arena);
        const struct fr_json *doc = fr_source_document(&run->source, &arena, at);
        for (uint32_t i = 0; i < run->task.binding_count; i++) {
            if (!fr_source_feeds(&run->source, at, i)) {
                continue;
            }
            key.len = 0;
            if (!fr_binding_pack_key(&run->task.bindings[i], doc, &key)) {
                end = fr_verdict(run, FR_USAGE, "document %llu has no usable key for binding %u",
                                 (unsigned long long)at, i);
                break;
            }
            add_link(run, fr_keymap_add(&run->txn, i, key.data, key.len), at);
        }
    }
    fr_buf_done(&key);
    fr_arena_done(&arena);
    return end;
}

void fr_traffic_clear(struct fr_run *run)
{
    fr_keymap_clear(&run->txn);
    fr_arena_reset(&run->txn_arena);
    run->link_count = 0;
    run->txn_loads_sent = 0;
    run->txn_loads_answered = 0;
    run->txn_loads_found = 0;
    for (size_t i = 0; i < run->task.binding_count; i++) {
        run->txn_max_keys[i].len = 0;
    }
}

/* ---------------------------------------------------------------- reducing */

enum fr_end fr_traffic_reduce(struct fr_run *run,
                              struct fr_entry *entry,
                              struct fr_arena *arena,
                              struct fr_stored *ret)
{
    const struct fr_binding *binding = &run->task.bindings[entry->binding];
    const char *reason = NULL;
    struct fr_json *state = NULL;

    if (entry->loaded) {
        state = fr_json_parse(arena, entry->text, entry->text_len, &reason);
    }
    ret->exists = entry->loaded;
    for (uint32_t at = entry->first; at != FR_NOWHERE; at = run->links[at].next) {
        struct fr_json *doc = fr_source_document(&run->source, arena, run->links[at].position);
        struct fr_reduced reduced = fr_reduce(arena, binding->schema, state, doc, !binding->delta);
        if (reduced.error != NULL) {
            return fr_verdict(run, FR_USAGE, "document %llu: %s",
                              (unsigned long long)run->links[at].position, reduced.error);
        }
        ret->doc = reduced.doc;
        ret->deleted = reduced.deleted;
        ret->removed = reduced.deleted && run->task.hard_delete;
        ret->plain = entry->first == entry->last && !entry->loaded &&
                     (reduced.doc == doc || fr_json_equal(reduced.doc, doc));
        /* Under hard deletes the next document of the key begins anew, as it would if the
           transaction had ended here: tables must not depend on boundaries. */
        state = ret->removed && !binding->delta ? NULL : reduced.doc;
    }
    ret->text->len = 0;
    ret->values->len = 0;
    bool truncated = fr_json_put_policy(ret->text, ret->doc, &binding->policy, 0);
    bool as_json = run->options.codec == FR_CODEC_JSON && run->options.is_v2;
    (void)fr_binding_put_values(binding, ret->doc, truncated, as_json, ret->values);
    return FR_OK;
}

/* ---------------------------------------------------------------- messages */

/* Frames a protobuf message that is written behind this position once its length is known. */
static size_t begin_frame(struct fr_buf *out)
{
    fr_buf_put(out, "\0\0\0\0", 4);
    return out->len;
}

static void end_frame(struct fr_buf *out, size_t start)
{
    size_t len = out->len - start;
    for (int i = 0; i < 4; i++) {
        out->data[start - 4 + (size_t)i] = (char)(unsigned char)(len >> 8 * i & 0xff);
    }
}

static void put_binding_json(struct fr_buf *out, const char *kind, uint32_t binding)
{
    fr_buf_puts(out, "{\"");
    fr_buf_puts(out, kind);
    fr_buf_puts(out, "\":{");
    if (binding > 0) {
        fr_buf_printf(out, "\"binding\":%u,", binding);
    }
}

static void put_packed_json(struct fr_buf *out, const char *name, const char *bytes, size_t len)
{
    fr_buf_puts(out, name);
    fr_buf_putc(out, '"');
    fr_base64_put(out, bytes, len);
    fr_buf_putc(out, '"');
}

static void put_key_json(struct fr_shard *shard, const char *key, size_t len)
{
    struct fr_buf *out = &shard->peer.out;
    if (shard->run->options.is_v2) {
        fr_buf_puts(out, "\"key\":");
        (void)fr_tuple_put_json(out, key, len);
    } else {
        put_packed_json(out, "\"keyPacked\":", key, len);
    }
}

/* Bytes of a varint. */
static size_t varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    while (value >= 0x80) {
        value >>= 7;
        bytes++;
    }
    return bytes;
}

static size_t field_bytes(size_t len)
{
    return 1 + varint_bytes(len) + len;
}

void fr_traffic_put_load(struct fr_shard *shard, uint32_t binding, const char *key, size_t len)
{
    struct fr_buf *out = &shard->peer.out;
    if (shard->run->options.codec == FR_CODEC_JSON) {
        put_binding_json(out, "load", binding);
        put_key_json(shard, key, len);
        fr_buf_puts(out, "}}\n");
        return;
    }
    size_t start = begin_frame(out);
    fr_wire_put_tag(out, 5, 2);
    fr_wire_put_varint(out, (binding > 0 ? 1 + varint_bytes(binding) : 0) + field_bytes(len));
    if (binding > 0) {
        fr_wire_put_tag(out, 1, 0);
        fr_wire_put_varint(out, binding);
    }
    fr_wire_put_bytes(out, 3, key, len);
    end_frame(out, start);
}

static void put_store_json(struct fr_shard *shard,
                           uint32_t binding,
                           const char *key,
                           size_t len,
                           const struct fr_stored *stored)
{
    struct fr_run *run = shard->run;
    struct fr_buf *out = &shard->peer.out;
    const struct fr_binding *to = &run->task.bindings[binding];
    put_binding_json(out, "store", binding);
    put_key_json(shard, key, len);
    if (run->options.is_v2) {
        fr_buf_puts(out, ",\"values\":");
        fr_buf_put(out, stored->values->data, stored->values->len);
    } else if (to->value_count > 0) {
        put_packed_json(out, ",\"valuesPacked\":", stored->values->data, stored->values->len);
    }
    if (to->document != NULL) {
        fr_buf_puts(out, ",\"doc\":");
        fr_buf_put(out, stored->text->data, stored->text->len);
    }
    fr_buf_puts(out, stored->exists ? ",\"exists\":true" : "");
    fr_buf_puts(out, stored->deleted ? ",\"delete\":true" : "");
    fr_buf_puts(out, "}}\n");
}

void fr_traffic_put_store(struct fr_shard *shard,
                          uint32_t binding,
                          const char *key,
                          size_t len,
                          const struct fr_stored *stored)
{
    struct fr_run *run = shard->run;
    struct fr_buf *out = &shard->peer.out;
    const struct fr_binding *to = &run->task.bindings[binding];
    if (run->options.codec == FR_CODEC_JSON) {
        put_store_json(shard, binding, key, len, stored);
        return;
    }
    size_t inner = field_bytes(len) + (binding > 0 ? 1 + varint_bytes(binding) : 0);
    inner += to->value_count > 0 ? field_bytes(stored->values->len) : 0;
    inner += to->document != NULL ? field_bytes(stored->text->len) : 0;
    inner += (stored->exists ? 2U : 0U) + (stored->deleted ? 2U : 0U);
    size_t start = begin_frame(out);
    fr_wire_put_tag(out, 7, 2);
    fr_wire_put_varint(out, inner);
    if (binding > 0) {
        fr_wire_put_tag(out, 1, 0);
        fr_wire_put_varint(out, binding);
    }
    fr_wire_put_bytes(out, 3, key, len);
    if (to->value_count > 0) {
        fr_wire_put_bytes(out, 5, stored->values->data, stored->values->len);
    }
    if (to->document != NULL) {
        fr_wire_put_bytes(out, 6, stored->text->data, stored->text->len);
    }
    if (stored->exists) {
        fr_buf_put(out, "\x38\x01", 2);
    }
    if (stored->deleted) {
        fr_buf_put(out, "\x40\x01", 2);
    }
    end_frame(out, start);
}

/* ---------------------------------------------------------------- loaded documents */

struct fr_json *
fr_traffic_model_document(struct fr_run *run, struct fr_arena *arena, const struct fr_entry *entry)
{
    const char *reason = NULL;
    if (entry == NULL || entry->removed) {
        return NULL;
    }
    if (entry->text != NULL) {
        return fr_json_parse(arena, entry->text, entry->text_len, &reason);
    }
    if (entry->position < 0) {
        return NULL;
    }
    struct fr_buf text = {0};
    const struct fr_json *doc = fr_source_document(&run->source, arena, (uint64_t)entry->position);
    (void)fr_json_put_policy(&text, doc, &run->task.bindings[entry->binding].policy, 0);
    struct fr_json *stored = fr_json_parse(arena, text.data, text.len, &reason);
    fr_buf_done(&text);
    return stored;
}

static enum fr_end
compare_with_model(struct fr_run *run, const struct fr_entry *entry, const struct fr_json *doc)
{
    struct fr_arena arena = {0};
    struct fr_buf key = {0};
    enum fr_end end = FR_OK;
    const struct fr_json *expected = fr_traffic_model_document(
        run, &arena, fr_keymap_find(&run->model, entry->binding, entry->key, entry->key_len));

    put_key_text(&key, entry->key, entry->key_len);
    if (expected == NULL) {
        end = fr_verdict(run, FR_MISMATCH,
                         "mismatch: Loaded returned a document that is not stored: binding %u, "
                         "key %s",
                         entry->binding, key.data);
    } else if (run->task.bindings[entry->binding].document != NULL
                   ? !fr_json_equal_stored(expected, doc)
                   : !fr_rebuilt_is(&run->task.bindings[entry->binding], expected, doc)) {
        struct fr_buf left = {0};
        struct fr_buf right = {0};
        fr_json_put(&left, expected);
        fr_json_put(&right, doc);
        end = fr_verdict(run, FR_MISMATCH,
                         "mismatch: Loaded differs from what was stored: binding %u, key %s: "
                         "stored %.1200s loaded %.1200s",
                         entry->binding, key.data, left.data, right.data);
        fr_buf_done(&left);
        fr_buf_done(&right);
    }
    fr_buf_done(&key);
    fr_arena_done(&arena);
    return end;
}

/* Their number is checked when all are there. */
static enum fr_end compare_with_generated(struct fr_run *run,
                                          const struct fr_binding *binding,
                                          const struct fr_json *doc)
{
    struct fr_buf left = {0};
    struct fr_buf right = {0};
    enum fr_end end = FR_OK;
    const struct fr_json *expected = fr_generator_stored(&run->source.generator, doc);

    run->loaded++;
    if (expected == NULL || (binding->document != NULL && !fr_json_equal_stored(expected, doc))) {
        if (expected != NULL) {
            fr_json_put(&left, expected);
        }
        fr_json_put(&right, doc);
        end = fr_verdict(run, FR_MISMATCH,
                         "mismatch: Loaded differs from what was stored: stored %.1200s loaded "
                         "%.1200s",
                         expected != NULL ? left.data : "nothing", right.data);
    }
    fr_buf_done(&left);
    fr_buf_done(&right);
    return end;
}

enum fr_end fr_traffic_loaded(struct fr_shard *shard, const struct fr_json *loaded)
{
    struct fr_run *run = shard->run;
    int64_t index = 0;
    const struct fr_json *doc = fr_json_get(loaded, "doc");
    struct fr_buf key = {0};
    struct fr_buf text = {0};

    (void)fr_json_to_int(fr_json_get(loaded, "binding"), &index);
    if ((uint64_t)index >= run->task.binding_count) {
        return fr_verdict(run, FR_VIOLATION, "rule: Loaded names a binding of Open; got index %lld",
                          (long long)index);
    }
    const struct fr_binding *binding = &run->task.bindings[index];
    if (binding->delta) {
        return fr_verdict(run, FR_VIOLATION,
                          "rule: no Loaded for a delta-updates binding; got binding %lld",
                          (long long)index);
    }
    if (!fr_json_is(doc, FR_OBJECT)) {
        return fr_verdict(run, FR_VIOLATION, "rule: Loaded carries a document (binding %lld)",
                          (long long)index);
    }
    if (run->source.generates) {
        return compare_with_generated(run, binding, doc);
    }
    enum fr_end end = FR_OK;
    bool has_key = fr_binding_pack_key(binding, doc, &key);
    struct fr_entry *entry =
        has_key ? fr_keymap_find(&run->txn, (uint32_t)index, key.data, key.len) : NULL;
    if (entry == NULL || !entry->load_sent || fr_traffic_route(run, key.data, key.len) != shard) {
        fr_json_put(&text, doc);
        end = fr_verdict(run, FR_MISMATCH,
                         "mismatch: Loaded returned a document that was not asked for: "
                         "binding %lld: %.1500s",
                         (long long)index, text.data);
    } else if (entry->loaded) {
        put_key_text(&text, key.data, key.len);
        end = fr_verdict(run, FR_VIOLATION,
                         "rule: each found document is returned once; binding %lld, key %s came "
                         "again",
                         (long long)index, text.data);
    } else {
        fr_json_put(&text, doc);
        entry->loaded = true;
        entry->text = fr_arena_copy(&run->txn_arena, text.data, text.len);
        entry->text_len = text.len;
        run->loaded++;
        end = compare_with_model(run, entry, doc);
    }
    fr_buf_done(&key);
    fr_buf_done(&text);
    return end;
}

/* ---------------------------------------------------------------- the model */

static void set_model(struct fr_run *run, const struct fr_entry *entry)
{
    struct fr_entry *model = fr_keymap_add(&run->model, entry->binding, entry->key, entry->key_len);
    if (model->text != NULL) {
        model->text = fr_realloc(model->text, 0);
    }
    model->position = -1;
    if (entry->removed) {
        return;
    }
    if (entry->text == NULL) {
        model->position = entry->position;
        return;
    }
    model->text = fr_realloc(NULL, entry->text_len + 1);
    memcpy(model->text, entry->text, entry->text_len + 1);
    model->text_len = entry->text_len;
}

void fr_traffic_commit(struct fr_run *run, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < run->txn.count; i++) {
        const struct fr_entry *entry = &run->txn.entries[i];
        if (!run->task.bindings[entry->binding].delta) {
            set_model(run, entry);
        }
    }
    fr_backfill_commit(run, from, to);
    for (size_t i = 0; i < run->task.binding_count; i++) {
        const struct fr_buf *key = &run->txn_max_keys[i];
        if (key->len > 0) {
            run->max_keys[i].len = 0;
            fr_buf_put(&run->max_keys[i], key->data, key->len);
        }
    }
}

/* Reduces the transaction without loads on the wire: the model stands for the destination. */
static enum fr_end settle(struct fr_run *run)
{
    struct fr_arena arena = {0};
    struct fr_buf values = {0};
    struct fr_buf text = {0};
    enum fr_end end = FR_OK;

    for (size_t i = 0; end == FR_OK && i < run->txn.count; i++) {
        struct fr_entry *entry = &run->txn.entries[i];
        struct fr_stored stored = {.values = &values, .text = &text};
        const struct fr_entry *known =
            fr_keymap_find(&run->model, entry->binding, entry->key, entry->key_len);
        fr_arena_reset(&arena);
        const struct fr_json *old = fr_traffic_model_document(run, &arena, known);
        if (old != NULL && !run->task.bindings[entry->binding].delta) {
            text.len = 0;
            fr_json_put(&text, old);
            entry->loaded = true;
            entry->text = fr_arena_copy(&run->txn_arena, text.data, text.len);
            entry->text_len = text.len;
        }
        end = fr_traffic_reduce(run, entry, &arena, &stored);
        entry->removed = stored.removed;
        entry->text = fr_arena_copy(&run->txn_arena, text.data, text.len);
        entry->text_len = text.len;
    }
    fr_arena_done(&arena);
    fr_buf_done(&values);
    fr_buf_done(&text);
    return end;
}

/* Any steps will do, but with signals: documents of one key are then reduced together or not,
   depending on the transaction that they were in. */
static uint64_t end_of_step(const struct fr_run *run, uint64_t at)
{
    enum { STEP = 20000 };
    uint64_t to = at + STEP < run->position ? at + STEP : run->position;
    for (size_t i = 0; run->source.signal_count > 0 && i < run->log.commit_count; i++) {
        if (run->log.commits[i].from <= at && at < run->log.commits[i].to) {
            to = run->log.commits[i].to;
        }
    }
    return to;
}

enum fr_end fr_traffic_rebuild(struct fr_run *run)
{
    enum fr_end end = FR_OK;
    if (run->source.generates) {
        fr_generator_commit(&run->source.generator, 0, run->position, run->task.hard_delete);
        return FR_OK;
    }
    for (uint64_t at = 0; end == FR_OK && at < run->position;) {
        uint64_t to = end_of_step(run, at);
        fr_traffic_clear(run);
        end = fr_traffic_collect(run, at, to);
        end = end == FR_OK ? settle(run) : end;
        fr_traffic_commit(run, at, to);
        at = to;
    }
    fr_traffic_clear(run);
    return end;
}

/* ---------------------------------------------------------------- dumping what is expected */

static int compare_entry_pointers(const void *left, const void *right)
{
    const struct fr_entry *const *l = left;
    const struct fr_entry *const *r = right;
    return fr_entry_compare(*l, *r);
}

static void
dump_entries(struct fr_run *run, const struct fr_keymap *map, uint32_t binding, FILE *file)
{
    const struct fr_entry **sorted = fr_realloc(NULL, (map->count + 1) * sizeof(*sorted));
    struct fr_arena arena = {0};
    struct fr_buf row = {0};
    size_t count = 0;

    for (size_t i = 0; i < map->count; i++) {
        if (map->entries[i].binding == binding) {
            sorted[count++] = &map->entries[i];
        }
    }
    qsort(sorted, count, sizeof(*sorted), compare_entry_pointers);
    for (size_t i = 0; i < count; i++) {
        fr_arena_reset(&arena);
        const struct fr_json *doc = fr_traffic_model_document(run, &arena, sorted[i]);
        if (doc != NULL) {
            row.len = 0;
            fr_binding_put_row(&run->task.bindings[binding], &arena, doc, &row);
            (void)fwrite(row.data, 1, row.len, file);
        }
    }
    fr_buf_done(&row);
    fr_arena_done(&arena);
    fr_realloc(sorted, 0);
}

/* A delta-updates binding got one row per key and transaction: the transactions are in the log. */
static enum fr_end dump_delta(struct fr_run *run, uint32_t binding, FILE *file)
{
    enum fr_end end = FR_OK;
    for (size_t i = 0; end == FR_OK && i < run->log.commit_count; i++) {
        fr_traffic_clear(run);
        end = fr_traffic_collect(run, run->log.commits[i].from, run->log.commits[i].to);
        end = end == FR_OK ? settle(run) : end;
        if (end == FR_OK) {
            dump_entries(run, &run->txn, binding, file);
        }
    }
    fr_traffic_clear(run);
    return end;
}

/* What is stored under each key; of a delta-updates binding everything that was stored. */
static enum fr_end dump_generated(struct fr_run *run, const struct fr_binding *binding, FILE *file)
{
    struct fr_generator *generator = &run->source.generator;
    const uint64_t end = binding->delta ? run->position : generator->key_count;
    struct fr_arena arena = {0};
    struct fr_buf row = {0};
    for (uint64_t at = 0; at < end; at++) {
        fr_arena_reset(&arena);
        row.len = 0;
        const struct fr_json *doc = binding->delta ? fr_source_document(&run->source, &arena, at)
                                                   : fr_generator_of_key(generator, at + 1);
        if (doc != NULL) {
            fr_binding_put_row(binding, &arena, doc, &row);
            (void)fwrite(row.data, 1, row.len, file);
        }
    }
    fr_buf_done(&row);
    fr_arena_done(&arena);
    return FR_OK;
}

enum fr_end fr_traffic_dump(struct fr_run *run, const char *dir)
{
    enum fr_end end = FR_OK;
    (void)mkdir(dir, 0700);
    for (uint32_t i = 0; end == FR_OK && i < run->task.binding_count; i++) {
        struct fr_buf path = {0};
        fr_buf_printf(&path, "%s/%u.jsonl", dir, i);
        FILE *file = fopen(path.data, "w");
        fr_buf_done(&path);
        if (file == NULL) {
            return fr_verdict(run, FR_USAGE, "%s: cannot write", dir);
        }
        if (run->source.generates) {
            end = fr_source_feeds(&run->source, 0, i)
                      ? dump_generated(run, &run->task.bindings[i], file)
                      : FR_OK;
        } else if (run->task.bindings[i].delta) {
            end = dump_delta(run, i, file);
        } else {
            dump_entries(run, &run->model, i, file);
        }
        if (fclose(file) != 0) {
            end = fr_verdict(run, FR_USAGE, "%s: cannot write", dir);
        }
    }
    return end;
}
