/* Fixture and generator. */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 2026-01-01T00:00:00Z in 100 ns steps since 1582-10-15; a document is 1.0007 ms after the one
   before, so that fractions of all lengths occur. */
static const uint64_t first_time = UINT64_C(0x01b21dd213814000) + UINT64_C(1767225600) * 10000000;
enum { TIME_STEP = 10007, NOISE_BYTES = 1 << 16 };

struct fr_line {
    uint64_t offset;
    uint32_t len;
    uint32_t binding; /* the first binding of its collection */
};

/* ---------------------------------------------------------------- fixture */

static bool refuse(struct fr_buf *error, const char *path, uint64_t line, const char *what)
{
    fr_buf_printf(error, "%s:%llu: %s", path, (unsigned long long)line, what);
    return false;
}

static void add_mark(struct fr_source *source, uint64_t *room)
{
    if (source->mark_count == *room) {
        *room = *room == 0 ? 64 : *room * 2;
        source->marks = fr_realloc(source->marks, *room * sizeof(*source->marks));
    }
    source->marks[source->mark_count++] = source->document_count;
}

static void add_line(struct fr_source *source, uint64_t *room, struct fr_line line)
{
    if (source->document_count == *room) {
        *room = *room == 0 ? 1024 : *room * 2;
        source->lines = fr_realloc(source->lines, *room * sizeof(*source->lines));
    }
    source->lines[source->document_count++] = line;
}

static bool find_collection(const struct fr_task *task, const struct fr_json *name, uint32_t *ret)
{
    for (uint32_t i = 0; i < task->binding_count; i++) {
        if (fr_json_is_text(name, task->bindings[i].source)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* Which bindings read the same collection as which. */
static void join_bindings(struct fr_source *source, const struct fr_task *task)
{
    size_t count = task->binding_count;
    source->binding_count = count;
    source->feeds = fr_arena_get(&source->arena, count * count * sizeof(bool));
    for (size_t i = 0; i < count * count; i++) {
        source->feeds[i] =
            strcmp(task->bindings[i / count].source, task->bindings[i % count].source) == 0;
    }
}

bool fr_source_open(struct fr_source *source,
                    const struct fr_task *task,
                    const char *path,
                    struct fr_buf *error)
{
    join_bindings(source, task);
    struct fr_arena arena = {0};
    uint64_t line_room = 0;
    uint64_t mark_room = 0;
    uint64_t number = 0;
    bool fine = true;

    if (!fr_file_read(path, &source->text)) {
        fr_buf_printf(error, "%s: %s", path, strerror(errno));
        return false;
    }
    for (size_t at = 0; fine && at < source->text.len;) {
        const char *start = source->text.data + at;
        const char *end = memchr(start, '\n', source->text.len - at);
        size_t len = end == NULL ? source->text.len - at : (size_t)(end - start);
        const char *reason = NULL;
        struct fr_line line = {at, (uint32_t)len, 0};
        at += len + 1;
        number++;
        if (strspn(start, " \r\t") >= len) {
            continue;
        }
        fr_arena_reset(&arena);
        struct fr_json *value = fr_json_parse(&arena, start, len, &reason);
        if (value == NULL) {
            fine = refuse(error, path, number, reason);
        } else if (fr_json_true(fr_json_get(value, "commit"))) {
            add_mark(source, &mark_room);
        } else if (value->type != FR_ARRAY || value->count != 2 ||
                   value->items[0]->type != FR_STRING || value->items[1]->type != FR_OBJECT) {
            fine = refuse(error, path, number, "neither [\"collection\", {document}] nor a commit");
        } else if (find_collection(task, value->items[0], &line.binding)) {
            add_line(source, &line_room, line);
        }
    }
    if (source->mark_count == 0 || source->marks[source->mark_count - 1] < source->document_count) {
        add_mark(source, &mark_room);
    }
    fr_arena_done(&arena);
    return fine;
}

static void ensure_uuid(struct fr_arena *arena, struct fr_json *doc, uint64_t position)
{
    char text[40];
    struct fr_json *meta = fr_json_get(doc, "_meta");
    if (!fr_json_is(meta, FR_OBJECT)) {
        meta = fr_json_new(arena, FR_OBJECT);
        fr_json_set(arena, doc, "_meta", meta);
    }
    if (fr_json_get(meta, "uuid") == NULL) {
        fr_uuid_text(first_time + position * TIME_STEP, text);
        fr_json_set(arena, meta, "uuid", fr_json_string(arena, text));
    }
}

bool fr_source_feeds(const struct fr_source *source, uint64_t position, size_t binding)
{
    size_t first = source->generates ? 0 : source->lines[position].binding;
    return source->feeds[first * source->binding_count + binding];
}

/* ---------------------------------------------------------------- generator */

/* The first top-level property that holds strings without a format and is no key. */
static const char *payload_field(const struct fr_binding *binding)
{
    for (size_t i = 0; i < binding->projections.count; i++) {
        const struct fr_projection *projection = &binding->projections.list[i];
        const struct fr_json *types = fr_json_get(projection->inference, "types");
        if (!projection->is_key && projection->ptr[0] == '/' &&
            strchr(projection->ptr + 1, '/') == NULL && !fr_json_is(types, FR_NULL) &&
            types->count == 1 && fr_json_is_text(types->items[0], "string") &&
            fr_json_at(projection->inference, "/string/format") == NULL) {
            return projection->ptr + 1;
        }
    }
    return NULL;
}

static const char *number_field(const struct fr_binding *binding)
{
    const char *field = fr_json_text(binding->group_by->items[0]);
    const struct fr_projection *key = fr_projections_find(&binding->projections, field);
    if (binding->group_by->count != 1 || key == NULL || strchr(key->ptr + 1, '/') != NULL ||
        !fr_json_is_text(fr_json_at(key->inference, "/types/0"), "integer")) {
        return NULL;
    }
    return key->ptr + 1;
}

bool fr_source_generate(struct fr_source *source,
                        const struct fr_task *task,
                        uint64_t count,
                        uint64_t bytes,
                        uint64_t transaction,
                        struct fr_buf *error)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
    const struct fr_binding *binding = &task->bindings[0];
    const char *number = number_field(binding);
    const char *payload = payload_field(binding);
    struct fr_arena *arena = &source->arena;
    struct fr_random random = {1};
    struct fr_buf text = {0};

    if (number == NULL || payload == NULL || bytes > NOISE_BYTES / 2) {
        fr_buf_puts(error, "--generate needs a top-level integer key, a top-level string and "
                           "documents of at most 32 KiB");
        return false;
    }
    join_bindings(source, task);
    source->generates = true;
    source->document_count = count;
    source->document_bytes = bytes;
    source->mark_count = (count + transaction - 1) / transaction;
    source->marks = fr_realloc(NULL, (source->mark_count + 1) * sizeof(*source->marks));
    for (uint64_t i = 0; i < source->mark_count; i++) {
        uint64_t end = (i + 1) * transaction;
        source->marks[i] = end < count ? end : count;
    }
    source->shape = fr_json_new(arena, FR_OBJECT);
    struct fr_json *meta = fr_json_new(arena, FR_OBJECT);
    source->uuid = fr_json_string(arena, "00000000-0000-1000-8000-000000000000");
    source->number = fr_json_new(arena, FR_NUMBER);
    source->number->text = "";
    source->payload = fr_json_string(arena, "");
    fr_json_set(arena, meta, "uuid", source->uuid);
    fr_json_set(arena, source->shape, "_meta", meta);
    fr_json_set(arena, source->shape, number, source->number);
    fr_json_set(arena, source->shape, payload, source->payload);
    fr_json_put(&text, source->shape);
    source->shape_bytes = text.len;
    fr_buf_done(&text);
    for (size_t i = 0; i < NOISE_BYTES; i++) {
        fr_buf_putc(&source->noise, letters[fr_random_below(&random, sizeof(letters) - 1)]);
    }
    return true;
}

static struct fr_json *generate(struct fr_source *source, uint64_t position)
{
    uint64_t value = position + 1;
    char *at = source->number_text + sizeof(source->number_text) - 1;
    *at = '\0';
    while (value > 0) {
        *--at = (char)('0' + value % 10);
        value /= 10;
    }
    source->number->text = at;
    source->number->count = (uint32_t)strlen(at);
    fr_uuid_text(first_time + position * TIME_STEP, source->uuid_text);
    source->uuid->text = source->uuid_text;
    size_t fixed = source->shape_bytes + source->number->count;
    size_t len = source->document_bytes > fixed ? source->document_bytes - fixed : 1;
    source->payload->text = source->noise.data + position * 7919 % (NOISE_BYTES - len);
    source->payload->count = (uint32_t)len;
    return source->shape;
}

struct fr_json *
fr_source_document(struct fr_source *source, struct fr_arena *arena, uint64_t position)
{
    if (source->generates) {
        return generate(source, position);
    }
    const struct fr_line *line = &source->lines[position];
    const char *error = NULL;
    struct fr_json *value =
        fr_json_parse(arena, source->text.data + line->offset, line->len, &error);
    ensure_uuid(arena, value->items[1], position);
    return value->items[1];
}

void fr_source_done(struct fr_source *source)
{
    fr_buf_done(&source->text);
    fr_buf_done(&source->noise);
    fr_realloc(source->lines, 0);
    fr_realloc(source->marks, 0);
    fr_arena_done(&source->arena);
}
