/* Whatever a server may answer to a request of room s3: every reader gets every input. A reader
 * either fills its struct with spans that can be read, or returns an error and nothing else. */

#include "s3/reply.h"
#include "s3/source.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned char sink;

static void touch(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        sink ^= (unsigned char)text.ptr[i];
    }
}

static bool is_fine(struct error *err)
{
    bool fine = err == NULL;

    error_free(err);
    return fine;
}

static void read_lists(struct arena *arena, struct span body)
{
    struct s3_reply_list list;
    struct s3_reply_uploads uploads;
    struct s3_reply_deleted deleted;

    if (is_fine(s3_reply_read_list(arena, body, &list))) {
        touch(list.next_token);
        for (unsigned i = 0; i < list.count; i++) {
            touch(list.objects[i].key);
        }
    }
    if (is_fine(s3_reply_read_uploads(arena, body, &uploads))) {
        touch(uploads.next_key);
        touch(uploads.next_upload_id);
        for (unsigned i = 0; i < uploads.count; i++) {
            touch(uploads.uploads[i].key);
            touch(uploads.uploads[i].upload_id);
        }
    }
    if (is_fine(s3_reply_read_deleted(arena, body, &deleted))) {
        for (unsigned i = 0; i < deleted.count; i++) {
            touch(deleted.errors[i].key);
            touch(deleted.errors[i].code);
            touch(deleted.errors[i].message);
        }
    }
}

/* What services say that give out keys. */
static void read_keys(struct span body)
{
    struct s3_found_keys found;
    char role[128];
    struct secret *token = s3_read_token(body, 4096);

    touch(secret_view(token));
    secret_free(token);
    if (is_fine(s3_found_read_json(body, &found))) {
        touch(secret_view(found.secret_access_key));
        s3_found_done(&found);
    }
    if (is_fine(s3_found_read_xml(body, "AssumeRoleResponse", &found))) {
        touch(secret_view(found.session_token));
        s3_found_done(&found);
    }
    if (is_fine(s3_read_role_name(body, role, sizeof(role)))) {
        touch(span_of(role));
    }
    error_free(s3_judge_sts(400, body, SPAN_LIT("token")));
}

static void touch_error(const struct s3_reply_error *error)
{
    touch(error->code);
    touch(error->message);
    touch(error->request_id);
    touch(error->region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new((size_t)64 << 20);
    struct span body = {(const char *)data, size};
    struct s3_reply_error error;
    struct span id;
    bool completed;
    int64_t unix_seconds;

    if (is_fine(s3_reply_read_error(arena, body, &error))) {
        touch_error(&error);
    }
    if (is_fine(s3_reply_read_upload_id(arena, body, &id))) {
        touch(id);
    }
    if (is_fine(s3_reply_read_completed(arena, body, &completed, &error)) && !completed) {
        touch_error(&error);
    }
    read_lists(arena, body);
    read_keys(body);
    (void)s3_reply_read_date(body, &unix_seconds);
    arena_free(arena);
    return 0;
}
