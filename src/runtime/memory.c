/*
 * runtime/memory: what the process may take. Comes in: the limits of control groups, as files; goes
 * out: one number of bytes. It reads once, at the start: who lowers a limit later starts the
 * container anew.
 */

#include "runtime/memory.h"

#include "base/buf.h"
#include "base/size.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* /proc/self/cgroup has a line per hierarchy, of paths of at most 4,096 bytes each. */
#define MAX_TEXT (128 * KIB)
#define MAX_PATH_BYTES ((size_t)8192)
/* Version 1 says "no limit" with the largest number of whole pages. */
#define NO_LIMIT ((uint64_t)1 << 60)

/* What is not documents: code, libraries, connections, tables of the compressors, what was freed
 * and is not given back. */
#define RESERVE (32 * MIB)
#define USUAL_BUDGET (48 * MIB)
#define LEAST_BUDGET (8 * MIB)

/* All of the file, or nothing. */
static struct span read_file(const char *path, struct buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : 1;

    buf_clear(text);
    while (count > 0) {
        char *to = buf_reserve(text, 4096);
        count = to ? read(fd, to, 4096) : -1;
        buf_commit(text, count > 0 ? (size_t)count : 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    return count == 0 ? buf_view(text) : SPAN_NONE;
}

/* The text up to the next `end`, taken off its front; all of it when there is none. */
static struct span take_until(struct span *text, char end)
{
    const char *at = text->len ? memchr(text->ptr, end, text->len) : NULL;
    struct span head = *text;

    if (at) {
        head.len = (size_t)(at - text->ptr);
        text->ptr = at + 1;
        text->len -= head.len + 1;
    } else {
        *text = SPAN_NONE;
    }
    return head;
}

static bool has_word(struct span list, const char *word)
{
    while (list.len) {
        if (span_is(take_until(&list, ','), word)) {
            return true;
        }
    }
    return false;
}

/* NO_LIMIT when the file is missing or has "max". */
static uint64_t read_limit(const char *path, struct buf *text)
{
    struct span all = read_file(path, text);
    uint64_t limit;

    return text_to_uint64(take_until(&all, '\n'), &limit) && limit < NO_LIMIT ? limit : NO_LIMIT;
}

/* The least of a group and those above it. Inside of a container the path may be the host's, which
 * cannot be seen there; what is mounted at the top is the container's own then. */
static uint64_t
least_limit(const char *root, const char *mount, struct span group, const char *file)
{
    uint64_t least = NO_LIMIT;
    struct buf path, text;

    buf_init(&path, MAX_PATH_BYTES);
    buf_init(&text, MAX_TEXT);
    for (bool is_top = false; !is_top;) {
        while (group.len && group.ptr[group.len - 1] == '/') {
            group.len--;
        }
        is_top = group.len == 0;
        buf_clear(&path);
        buf_printf(&path, "%s%s%.*s/%s", root, mount, SPAN_FMT(group), file);
        uint64_t limit = buf_is_full(&path) ? NO_LIMIT : read_limit(path.data, &text);
        least = limit < least ? limit : least;
        while (group.len && group.ptr[group.len - 1] != '/') {
            group.len--;
        }
    }
    buf_done(&path);
    buf_done(&text);
    return least;
}

uint64_t memory_group_limit(const char *root)
{
    uint64_t least = NO_LIMIT;
    struct buf path, text;

    buf_init(&path, MAX_PATH_BYTES);
    buf_init(&text, MAX_TEXT);
    buf_printf(&path, "%s/proc/self/cgroup", root);
    struct span lines = buf_is_full(&path) ? SPAN_NONE : read_file(path.data, &text);
    while (lines.len) {
        /* "0::/path" in version 2, "4:cpu,memory:/path" in version 1 */
        struct span group = take_until(&lines, '\n');
        struct span number = take_until(&group, ':');
        struct span controllers = take_until(&group, ':');
        uint64_t limit = NO_LIMIT;
        if (span_is(number, "0") && controllers.len == 0) {
            limit = least_limit(root, "/sys/fs/cgroup", group, "memory.max");
        } else if (has_word(controllers, "memory")) {
            limit = least_limit(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
        }
        least = limit < least ? limit : least;
    }
    buf_done(&path);
    buf_done(&text);
    return least == NO_LIMIT ? 0 : least;
}

size_t memory_budget(uint64_t said, uint64_t group_limit)
{
    uint64_t limit = said ? said : group_limit;
    uint64_t most = said ? SIZE_MAX / 2 : USUAL_BUDGET;
    uint64_t budget = USUAL_BUDGET;

    if (limit) {
        /* half: a byte of the ledger is at times two of memory, when a block grows */
        budget = limit > RESERVE ? (limit - RESERVE) / 2 : 0;
    }
    budget = budget < most ? budget : most;
    return (size_t)(budget > LEAST_BUDGET ? budget : LEAST_BUDGET);
}
