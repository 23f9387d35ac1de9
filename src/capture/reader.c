/*
 * capture/reader: files back into records. In: the path of a session's first file. Out: its records
 * in order, over the files that the size limit made, up to where the last one was cut off.
 */

#include "capture/reader.h"

#include "base/buf.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#define READ_BYTES MIB

struct capture_reader {
    char *path;       /* of the first file */
    char *file;       /* that is read */
    unsigned number;  /* of that file */
    int fd;           /* -1: all are read */
    struct buf bytes; /* read and not yet forgotten */
    size_t at;        /* in bytes: the next record */
    uint64_t offset;  /* of bytes.data[0] in the file */
    bool is_fresh;    /* no record of this file was read */
    bool file_ended;
    uint64_t torn_bytes;
};

static struct error *open_file(struct capture_reader *reader)
{
    reader->fd = open(reader->file, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        return error_from_errno(errno, ERROR_CONFIG, "opening \"%s\"", reader->file);
    }
    buf_clear(&reader->bytes);
    reader->at = 0;
    reader->offset = 0;
    reader->is_fresh = true;
    reader->file_ended = false;
    return NULL;
}

static struct error *read_more(struct capture_reader *reader)
{
    if (reader->at > 0) {
        memmove(reader->bytes.data, reader->bytes.data + reader->at,
                reader->bytes.len - reader->at);
        reader->bytes.len -= reader->at;
        reader->offset += reader->at;
        reader->at = 0;
    }
    char *to = buf_reserve(&reader->bytes, READ_BYTES);
    CHECK(to); /* a record that would not fit is damage */
    ssize_t got = read(reader->fd, to, READ_BYTES);
    if (got < 0 && errno != EINTR) {
        return error_from_errno(errno, ERROR_FATAL, "reading \"%s\"", reader->file);
    }
    if (got >= 0) {
        buf_commit(&reader->bytes, (size_t)got);
        reader->file_ended = got == 0;
    }
    return NULL;
}

/* The file's records are all read; *ret_have false when no file follows. */
static struct error *next_file(struct capture_reader *reader, bool *ret_have)
{
    struct buf name;
    size_t len;

    reader->torn_bytes += reader->bytes.len - reader->at;
    (void)close(reader->fd);
    reader->fd = -1;
    buf_init(&name, strlen(reader->path) + 32);
    buf_printf(&name, "%s.%u", reader->path, ++reader->number);
    mem_free(reader->file);
    reader->file = buf_take(&name, &len);
    *ret_have = access(reader->file, F_OK) == 0;
    return *ret_have ? open_file(reader) : NULL;
}

static struct error *
damaged(const struct capture_reader *reader, const struct capture_record *record, bool is_record)
{
    const uint64_t at = reader->offset + reader->at;

    if (is_record && record->kind == CAPTURE_HEADER) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "\"%s\" is a capture of format %" PRIu64 ", this program reads format %d",
                         reader->file, record->header.format, CAPTURE_FORMAT);
    }
    if (reader->is_fresh) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "\"%s\" is no capture", reader->file);
    }
    return error_new(ERROR_INPUT, ERROR_CONFIG, "\"%s\" is damaged at byte %" PRIu64, reader->file,
                     at);
}

struct error *capture_reader_open(const char *path, struct capture_reader **ret)
{
    struct capture_reader *reader = mem_alloc(sizeof *reader);

    reader->path = mem_strdup(path);
    reader->file = mem_strdup(path);
    reader->fd = -1;
    buf_init(&reader->bytes, CAPTURE_MAX_RECORD + 2 * READ_BYTES);
    struct error *err = open_file(reader);
    if (err) {
        capture_reader_free(reader);
        return err;
    }
    *ret = reader;
    return NULL;
}

struct error *
capture_reader_next(struct capture_reader *reader, struct capture_record *ret, bool *ret_have)
{
    *ret_have = false;
    while (reader->fd >= 0) {
        struct span rest = {reader->bytes.data + reader->at, reader->bytes.len - reader->at};
        struct capture_record record = {0};
        size_t used = 0;
        bool have_file;
        switch (capture_parse(rest, &record, &used)) {
        case CAPTURE_WHOLE:
            if (reader->is_fresh
                    ? record.kind != CAPTURE_HEADER || record.header.format != CAPTURE_FORMAT
                    : record.kind == CAPTURE_HEADER) {
                return damaged(reader, &record, reader->is_fresh);
            }
            reader->is_fresh = false;
            reader->at += used;
            *ret = record;
            *ret_have = true;
            return NULL;
        case CAPTURE_DAMAGED:
            return damaged(reader, &record, false);
        case CAPTURE_TORN:
            if (!reader->file_ended) {
                RETURN_IF_ERROR(read_more(reader));
            } else {
                RETURN_IF_ERROR(next_file(reader, &have_file));
            }
            break;
        }
    }
    return NULL;
}

uint64_t capture_reader_torn_bytes(const struct capture_reader *reader)
{
    return reader->torn_bytes;
}

void capture_reader_free(struct capture_reader *reader)
{
    if (!reader) {
        return;
    }
    if (reader->fd >= 0) {
        (void)close(reader->fd);
    }
    mem_free(reader->path);
    mem_free(reader->file);
    buf_done(&reader->bytes);
    mem_free(reader);
}
