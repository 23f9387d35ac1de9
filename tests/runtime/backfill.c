/* Signals of source backfills: told with Flush, and followed in the model of the tables. */
#include <string.h>

#include "run.h"

enum { STEPS_PER_SECOND = 10000000, NANOS_PER_STEP = 100 };

static bool is_due(const struct fr_signal *signal, uint64_t from, uint64_t to)
{
    return signal->position > from && signal->position <= to;
}

static uint64_t clock_of(struct fr_arena *arena, uint64_t position, struct fr_json **ret_uuid)
{
    char text[40];
    uint64_t clock = 0;
    fr_source_uuid(position, text);
    *ret_uuid = fr_json_string(arena, text);
    (void)fr_uuid_clock(*ret_uuid, &clock);
    return clock;
}

static void put_json(struct fr_buf *out, uint32_t binding, const struct fr_json *uuid)
{
    char time[40];
    (void)fr_uuid_time(uuid, time);
    fr_buf_puts(out, out->len == 0 ? "\"backfillCompletes\":[{" : ",{");
    if (binding > 0) {
        fr_buf_printf(out, "\"binding\":%u,", binding);
    }
    fr_buf_printf(out, "\"timestamp\":\"%s\"}", time);
}

static void put_proto(struct fr_buf *out, uint32_t binding, uint64_t clock)
{
    struct fr_buf stamp = {0};
    struct fr_buf body = {0};
    fr_wire_put_tag(&stamp, 1, 0);
    fr_wire_put_varint(&stamp, clock / STEPS_PER_SECOND);
    fr_wire_put_tag(&stamp, 2, 0);
    fr_wire_put_varint(&stamp, clock % STEPS_PER_SECOND * NANOS_PER_STEP);
    if (binding > 0) {
        fr_wire_put_tag(&body, 1, 0);
        fr_wire_put_varint(&body, binding);
    }
    fr_wire_put_bytes(&body, 2, stamp.data, stamp.len);
    fr_wire_put_bytes(out, 3, body.data, body.len);
    fr_buf_done(&stamp);
    fr_buf_done(&body);
}

void fr_backfill_put(struct fr_run *run, uint64_t from, uint64_t to, struct fr_buf *out)
{
    struct fr_arena arena = {0};
    bool is_json = run->options.codec == FR_CODEC_JSON;

    for (size_t i = 0; run->options.is_v2 && i < run->source.signal_count; i++) {
        const struct fr_signal *signal = &run->source.signals[i];
        struct fr_json *uuid = NULL;
        uint64_t clock = clock_of(&arena, signal->before, &uuid);
        for (uint32_t k = 0; is_due(signal, from, to) && k < run->task.binding_count; k++) {
            if (!run->source.feeds[signal->binding * run->source.binding_count + k]) {
                continue;
            }
            if (is_json) {
                put_json(out, k, uuid);
            } else {
                put_proto(out, k, clock);
            }
        }
    }
    if (is_json && out->len > 0) {
        fr_buf_putc(out, ']');
    }
    fr_arena_done(&arena);
}

static void forget_older(struct fr_run *run, const struct fr_signal *signal)
{
    struct fr_arena arena = {0};
    struct fr_json *uuid = NULL;
    uint64_t before = clock_of(&arena, signal->before, &uuid);

    for (size_t i = 0; i < run->model.count; i++) {
        struct fr_entry *entry = &run->model.entries[i];
        uint64_t clock = 0;
        if (!run->source.feeds[signal->binding * run->source.binding_count + entry->binding]) {
            continue;
        }
        const struct fr_json *doc = fr_traffic_model_document(run, &arena, entry);
        if (doc != NULL && fr_uuid_clock(fr_json_at(doc, "/_meta/uuid"), &clock) &&
            clock < before) {
            entry->text = fr_realloc(entry->text, 0);
            entry->position = -1;
        }
    }
    fr_arena_done(&arena);
}

void fr_backfill_commit(struct fr_run *run, uint64_t from, uint64_t to)
{
    for (size_t i = 0; run->options.is_v2 && i < run->source.signal_count; i++) {
        if (is_due(&run->source.signals[i], from, to)) {
            forget_older(run, &run->source.signals[i]);
        }
    }
}
