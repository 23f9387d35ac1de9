/* Fixture and generator. */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 2026-01-01T00:00:00Z in 100 ns steps since 1582-10-15; a document is 1.0007 ms after the one
   before, so that fractions of all lengths occur. */
static const uint64_t first_time = UINT64_C(0x01b21dd213814000) + UINT64_C(1767225600) * 10000000;
enum { TIME_STEP = 10007 };

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

static bool add_signal(struct fr_source *source,
                       uint64_t *room,
                       const struct fr_task *task,
                       const struct fr_json *value)
{
    struct fr_signal signal = {.position = source->document_count};
    int64_t before = -1;

    if (!find_collection(task, fr_json_get(value, "backfillComplete"), &signal.binding) ||
        !fr_json_to_int(fr_json_get(value, "before"), &before) || before < 0 ||
        signal.position == 0) {
        return false;
    }
    signal.before = (uint64_t)before;
    if (source->signal_count == *room) {
        *room = *room == 0 ? 8 : *room * 2;
        source->signals = fr_realloc(source->signals, *room * sizeof(*source->signals));
    }
    source->signals[source->signal_count++] = signal;
    return true;
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
    uint64_t signal_room = 0;
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
        } else if (fr_json_get(value, "backfillComplete") != NULL) {
            fine = add_signal(source, &signal_room, task, value) ||
                   refuse(error, path, number, "not a signal of a collection after a document");
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

/* ---------------------------------------------------------------- generated documents */

void fr_source_uuid(uint64_t position, char ret[static 40])
{
    fr_uuid_text(first_time + position * TIME_STEP, ret);
}

bool fr_source_generate(struct fr_source *source,
                        const struct fr_task *task,
                        const struct fr_part *parts,
                        size_t part_count,
                        uint64_t transaction,
                        enum fr_text text,
                        struct fr_buf *error)
{
    struct fr_generator *generator = &source->generator;
    uint64_t room = 0;

    if (!fr_generator_begin(generator, &task->bindings[0], parts, part_count, text, error)) {
        return false;
    }
    join_bindings(source, task);
    source->generates = true;
    for (size_t i = 0; i < part_count; i++) {
        uint64_t left = parts[i].count;
        while (left > 0) {
            uint64_t step = transaction > 0 && transaction < left ? transaction : left;
            source->document_count += step;
            left -= step;
            add_mark(source, &room);
        }
    }
    return true;
}

struct fr_json *
fr_source_document(struct fr_source *source, struct fr_arena *arena, uint64_t position)
{
    if (source->generates) {
        return fr_generator_document(&source->generator, position, NULL, NULL);
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
    fr_generator_done(&source->generator);
    fr_realloc(source->lines, 0);
    fr_realloc(source->marks, 0);
    fr_realloc(source->signals, 0);
    fr_arena_done(&source->arena);
}
