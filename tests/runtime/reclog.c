/* The recovery log on disk. */
#include "reclog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fr_json *
apply_update(struct fr_arena *arena, struct fr_json *state, const struct fr_json *update)
{
    struct fr_json *updated = fr_json_get(update, "updated");
    if (!fr_json_true(fr_json_get(update, "mergePatch"))) {
        return updated;
    }
    return fr_json_merge_patch(arena, state, updated);
}

static struct fr_json *current_state(const struct fr_reclog *log, struct fr_arena *arena)
{
    const char *error = NULL;
    return log->state.len == 0 ? NULL
                               : fr_json_parse(arena, log->state.data, log->state.len, &error);
}

static void replay(struct fr_reclog *log, const struct fr_json *record)
{
    struct fr_arena arena = {0};
    const struct fr_json *patches = fr_json_get(record, "patches");
    const struct fr_json *max_keys = fr_json_get(record, "maxKeys");
    int64_t from = 0;
    int64_t to = 0;
    int64_t marks = 0;

    if (fr_json_is(patches, FR_ARRAY) && patches->count > 0) {
        struct fr_json *state = current_state(log, &arena);
        for (uint32_t i = 0; i < patches->count; i++) {
            state = apply_update(&arena, state, patches->items[i]);
        }
        log->state.len = 0;
        fr_json_put(&log->state, state);
    }
    if (max_keys != NULL) {
        log->max_keys.len = 0;
        fr_json_put(&log->max_keys, max_keys);
    }
    if (fr_json_to_int(fr_json_get(record, "from"), &from) &&
        fr_json_to_int(fr_json_get(record, "to"), &to) &&
        fr_json_to_int(fr_json_get(record, "marks"), &marks)) {
        if (log->commit_count == log->commit_room) {
            log->commit_room = log->commit_room == 0 ? 64 : log->commit_room * 2;
            log->commits = fr_realloc(log->commits, log->commit_room * sizeof(*log->commits));
        }
        log->commits[log->commit_count++] =
            (struct fr_commit){(uint64_t)from, (uint64_t)to, (uint64_t)marks};
    }
    fr_arena_done(&arena);
}

/* Returns the bytes of whole records. */
static size_t replay_all(struct fr_reclog *log, const struct fr_buf *text)
{
    struct fr_arena arena = {0};
    size_t at = 0;
    while (at < text->len) {
        const char *start = text->data + at;
        const char *end = memchr(start, '\n', text->len - at);
        const char *error = NULL;
        fr_arena_reset(&arena);
        struct fr_json *record =
            end == NULL ? NULL : fr_json_parse(&arena, start, (size_t)(end - start), &error);
        if (record == NULL) {
            break;
        }
        replay(log, record);
        at += (size_t)(end - start) + 1;
    }
    fr_arena_done(&arena);
    return at;
}

bool fr_reclog_open(struct fr_reclog *log, const char *dir, struct fr_buf *error)
{
    struct fr_buf path = {0};
    struct fr_buf text = {0};
    bool opened = false;

    (void)mkdir(dir, 0700);
    fr_buf_printf(&path, "%s/recovery.jsonl", dir);
    log->fd = open(path.data, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log->fd >= 0 && fr_file_read(path.data, &text)) {
        size_t whole = replay_all(log, &text);
        opened = whole == text.len || ftruncate(log->fd, (off_t)whole) == 0;
    }
    if (!opened) {
        fr_buf_printf(error, "%s: %s", path.data, strerror(errno));
    }
    fr_buf_done(&text);
    fr_buf_done(&path);
    return opened;
}

void fr_reclog_done(struct fr_reclog *log)
{
    if (log->fd > 0) {
        close(log->fd);
    }
    fr_realloc(log->commits, 0);
    fr_buf_done(&log->state);
    fr_buf_done(&log->max_keys);
}

bool fr_reclog_write(struct fr_reclog *log,
                     const char *why,
                     const struct fr_commit *commit,
                     const struct fr_json *patches,
                     const struct fr_json *max_keys,
                     struct fr_buf *error)
{
    struct fr_arena arena = {0};
    struct fr_json *record = fr_json_new(&arena, FR_OBJECT);
    struct fr_buf line = {0};

    fr_json_set(&arena, record, "why", fr_json_string(&arena, why));
    if (commit != NULL) {
        fr_json_set(&arena, record, "from", fr_json_int(&arena, (int64_t)commit->from));
        fr_json_set(&arena, record, "to", fr_json_int(&arena, (int64_t)commit->to));
        fr_json_set(&arena, record, "marks", fr_json_int(&arena, (int64_t)commit->marks));
    }
    fr_json_set(&arena, record, "patches", fr_json_deep(&arena, patches));
    if (max_keys != NULL) {
        fr_json_set(&arena, record, "maxKeys", fr_json_deep(&arena, max_keys));
    }
    fr_json_put(&line, record);
    fr_buf_putc(&line, '\n');
    bool written =
        write(log->fd, line.data, line.len) == (ssize_t)line.len && fdatasync(log->fd) == 0;
    if (written) {
        replay(log, record);
    } else {
        fr_buf_printf(error, "recovery log: %s", strerror(errno));
    }
    fr_buf_done(&line);
    fr_arena_done(&arena);
    return written;
}

bool fr_reclog_is_noop(const struct fr_reclog *log, const struct fr_json *update)
{
    struct fr_arena arena = {0};
    struct fr_json *before = current_state(log, &arena);
    struct fr_json *after = apply_update(&arena, before, update);
    struct fr_json *start = before != NULL ? before : fr_json_new(&arena, FR_OBJECT);
    bool same = fr_json_equal(start, after);
    fr_arena_done(&arena);
    return same;
}
