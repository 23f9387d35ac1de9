/*
 * harness/promise: what StartedCommit named must be in the bucket, whole, with as many lines as it
 * says. In: the state patches. Out: findings of I15. Reads the bucket by itself, not through the
 * connector's gateway.
 */

#include "harness/promise.h"

#include "harness/bucket.h"

#include <zlib.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN 1024

struct object {
    z_stream stream;
    bool is_open, is_broken, has_ended;
    uint64_t lines;
};

static size_t take_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    struct object *object = ctx;
    unsigned char out[16 * 1024];

    object->stream.next_in = (unsigned char *)bytes;
    object->stream.avail_in = (uInt)(size * count);
    while (object->stream.avail_in > 0 && !object->is_broken) {
        object->stream.next_out = out;
        object->stream.avail_out = sizeof out;
        int status = inflate(&object->stream, Z_NO_FLUSH);
        for (unsigned char *at = out; at < object->stream.next_out; at++) {
            object->lines += *at == '\n';
        }
        object->has_ended = status == Z_STREAM_END;
        object->is_broken = status != Z_OK && status != Z_STREAM_END;
        if (object->has_ended && inflateReset(&object->stream) != Z_OK) {
            object->is_broken = true;
        }
    }
    return size * count;
}

/* The object's status, and its lines when it is there. */
static long read_object(const char *key, struct object *object)
{
    memset(object, 0, sizeof *object);
    if (inflateInit2(&object->stream, 31) != Z_OK) {
        abort();
    }
    long status = bucket_get(key, take_bytes, object);
    inflateEnd(&object->stream);
    return status;
}

/* The strings of the list behind "name": of an entry; their lines are added up. */
static bool read_list(struct trial *trial, const char *entry, const char *name, uint64_t *lines)
{
    const char *at = strstr(entry, name);

    at = at ? at + strlen(name) : "";
    if (*at != '[') {
        return true;
    }
    for (at++; *at == '"' || *at == ','; at++) {
        char key[KEY_LEN];
        struct object object;
        if (*at == ',') {
            continue;
        }
        size_t len = strcspn(at + 1, "\"");
        snprintf(key, sizeof key, "%.*s", (int)(len < KEY_LEN ? len : KEY_LEN - 1), at + 1);
        long status = read_object(key, &object);
        if (status != 200 || object.is_broken || !object.has_ended) {
            trial_finds(trial, 15, "%s is promised, and reading it gives %ld%s", key, status,
                        status == 200 ? " and a broken file" : "");
            return false;
        }
        *lines += object.lines;
        at += len + 1;
    }
    return true;
}

static uint64_t rows_of(const char *entry, const char *name)
{
    const char *at = strstr(entry, name);

    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

void check_promise(struct trial *trial, const char *patches)
{
    static const char *const lists[] = {"\"storeFiles\":", "\"mergeFiles\":", "\"deleteFiles\":"};
    static const char *const counts[] = {"\"storeRows\":\"", "\"mergeRows\":\"",
                                         "\"deleteRows\":\""};

    for (const char *at = patches; (at = strstr(at, lists[0])); at++) {
        char entry[64 * 1024];
        const char *start = at;
        uint64_t lines = 0, rows = 0;
        bool is_whole = true;
        while (start > patches && *start != '{') {
            start--;
        }
        snprintf(entry, sizeof entry, "%.*s", (int)strcspn(start, "}"), start);
        for (unsigned i = 0; i < 3 && is_whole; i++) {
            rows += rows_of(entry, counts[i]);
            is_whole = read_list(trial, entry, lists[i], &lines);
        }
        if (is_whole && lines != rows) {
            trial_finds(trial, 15, "%llu rows are promised, and the files have %llu lines",
                        (unsigned long long)rows, (unsigned long long)lines);
        }
    }
}
