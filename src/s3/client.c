/*
 * Room s3: the bucket as its callers see it. Each function describes a request and what its answer
 * means; call.c does the rest. Lists and deletions are many requests in one call: the judge of a
 * page describes the next one.
 */

#include "call.h"

#include "base/text.h"
#include "verdict.h"

#include <stdlib.h>

#define DELETE_BATCH 1000 /* S3's bound for DeleteObjects */

static const struct backoff_policy usual_policy = {
    .max_attempts = 7, .first_ms = 200, .cap_ms = 20000};

/* ---------------------------------------------------------------- life */

static void copy_endpoint(struct s3 *s3, const struct s3_endpoint *endpoint)
{
    s3->endpoint = (struct s3_endpoint){
        .scheme = arena_strdup(s3->arena, endpoint->scheme),
        .host_header = arena_strdup(s3->arena, endpoint->host_header),
        .base_url = arena_strdup(s3->arena, endpoint->base_url),
        .base_path = arena_strdup(s3->arena, endpoint->base_path),
        .bucket = arena_strdup(s3->arena, endpoint->bucket),
        .region = arena_strdup(s3->arena, endpoint->region),
        .is_plain = endpoint->is_plain,
    };
}

static struct s3_keyring *make_keyring(struct s3 *s3, const struct s3_options *options)
{
    const struct s3_credential_options given = {
        .source = S3_KEYS_CONFIG,
        .access_key_id = options->access_key_id,
        .secret_access_key = options->secret_access_key,
        .session_token = options->session_token,
        .region = options->endpoint.region,
    };
    struct s3_source *source = options->source;
    struct error *err = source ? NULL : s3_source_make(s3->arena, &given, &source);

    return s3_keyring_new(source, err, options->tell, options->tell_ctx);
}

struct s3 *s3_new(struct loop *loop, struct http_client *http, const struct s3_options *options)
{
    struct s3 *s3 = mem_alloc(sizeof(*s3));

    s3->loop = loop;
    s3->http = http;
    list_init(&s3->calls);
    s3->arena = arena_new((size_t)64 * 1024);
    copy_endpoint(s3, &options->endpoint);
    s3->keyring = make_keyring(s3, options);
    if (options->kms_key_id && *options->kms_key_id) {
        s3->kms_key_id = arena_strdup(s3->arena, options->kms_key_id);
    }
    s3->random.state = options->seed;
    s3->policy = usual_policy;
    if (options->retry_first_ms > 0) {
        s3->policy.first_ms = options->retry_first_ms;
    }
    s3->connect_timeout_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : 10000;
    s3->stall_timeout_ms = options->stall_timeout_ms > 0 ? options->stall_timeout_ms : 60000;
    s3->figures = options->figures;
    return s3;
}

void s3_free(struct s3 *s3)
{
    if (!s3) {
        return;
    }
    CHECK(s3->call_count == 0);
    secret_wipe(&s3->key, sizeof(s3->key));
    s3_keyring_free(s3->keyring);
    arena_free(s3->arena);
    mem_free(s3);
}

void s3_give_up_within(struct s3 *s3, uint64_t limit_ms)
{
    s3->give_up_at_ms = loop_now_ms(s3->loop) + limit_ms;
    LIST_FOR_EACH(node, &s3->calls)
    {
        op_mark(&CONTAINER_OF(node, struct s3_call, node)->op);
    }
}

const char *s3_bucket(const struct s3 *s3)
{
    return s3->endpoint.bucket;
}

const char *s3_region(const struct s3 *s3)
{
    return s3->endpoint.region;
}

/* ---------------------------------------------------------------- single objects */

static struct s3_call *new_call(struct s3 *s3,
                                const char *purpose,
                                const char *method,
                                struct span key,
                                size_t body_bytes,
                                op_done_fn *done,
                                void *ctx)
{
    struct s3_call *call = s3_call_new(s3, key.len + body_bytes, done, ctx);

    call->request.purpose = purpose;
    call->request.method = method;
    call->request.key = arena_span(call->arena, key);
    return call;
}

struct s3_call *
s3_put(struct s3 *s3, struct span key, struct span body, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "writing", "PUT", key, body.len, done, ctx);

    call->request.body = arena_span(call->arena, body);
    call->request.creates_object = true;
    s3_call_start(call);
    return call;
}

/* Bounded here and not in http: an error's document may be longer than the object. */
static struct error *judge_get(struct s3_call *call)
{
    size_t len = http_response_body(call->exchange).len;

    return len <= call->max_bytes
               ? NULL
               : error_new(ERROR_HTTP, ERROR_FATAL, "the object has more than %zu bytes",
                           call->max_bytes);
}

struct s3_call *
s3_get(struct s3 *s3, struct span key, size_t max_bytes, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "reading", "GET", key, 0, done, ctx);

    call->max_bytes = max_bytes;
    if (call->request.max_response_bytes < max_bytes) {
        call->request.max_response_bytes = max_bytes;
    }
    call->request.judge = judge_get;
    s3_call_start(call);
    return call;
}

static struct error *judge_head(struct s3_call *call)
{
    struct span length = http_response_header(call->exchange, "Content-Length");

    if (!text_to_uint64(length, &call->size)) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer does not tell the object's size");
    }
    return NULL;
}

struct s3_call *
s3_call_head(struct s3 *s3, struct span key, unsigned max_attempts, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "looking for", "HEAD", key, 0, done, ctx);

    call->request.max_attempts = max_attempts;
    call->request.judge = judge_head;
    s3_call_start(call);
    return call;
}

struct s3_call *s3_head(struct s3 *s3, struct span key, op_done_fn *done, void *ctx)
{
    return s3_call_head(s3, key, 0, done, ctx);
}

struct s3_call *s3_delete_one(struct s3 *s3, struct span key, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "deleting", "DELETE", key, 0, done, ctx);

    call->request.fine_code = "NoSuchKey";
    s3_call_start(call);
    return call;
}

struct span s3_call_body(const struct s3_call *call)
{
    return call->exchange ? http_response_body(call->exchange) : SPAN_NONE;
}

uint64_t s3_call_size(const struct s3_call *call)
{
    return call->size;
}

unsigned s3_error_status(const struct error *err)
{
    unsigned long status;

    if (!err || error_code_of(err) != ERROR_HTTP) {
        return 0;
    }
    status = strtoul(error_origin(err), NULL, 10); /* "404 NoSuchKey"; curl's names give 0 */
    return status >= 100 && status <= 599 ? (unsigned)status : 0;
}

/* ---------------------------------------------------------------- many objects deleted */

static void add_escaped(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        case '\r':
            buf_add_str(out, "&#13;");
            break;
        default:
            buf_add_byte(out, text.ptr[i]);
        }
    }
}

static void describe_batch(struct s3_call *call)
{
    size_t left = call->key_count - call->key_at;
    struct buf body;

    call->batch_count = left < DELETE_BATCH ? left : DELETE_BATCH;
    buf_init(&body, (size_t)DELETE_BATCH * (5 * S3_MAX_KEY + 64));
    buf_add_str(&body, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                       "<Quiet>true</Quiet>");
    for (size_t i = 0; i < call->batch_count; i++) {
        buf_add_str(&body, "<Object><Key>");
        add_escaped(&body, call->keys[call->key_at + i]);
        buf_add_str(&body, "</Key></Object>");
    }
    buf_add_str(&body, "</Delete>");
    CHECK(!buf_is_full(&body));
    mem_free(call->owned_body);
    call->request.body.ptr = call->owned_body = buf_take(&body, &call->request.body.len);
    buf_done(&body);
}

static struct error *explain_key(const struct s3_call *call, const struct s3_reply_key_error *key)
{
    const struct s3_verdict_facts facts = {
        .status = 200,
        .reply = {.code = key->code, .message = key->message},
        .request_id = http_response_header(call->exchange, "x-amz-request-id"),
        .region_signed_with = call->s3->endpoint.region,
    };

    return error_wrap(s3_verdict(&facts), "\"%.*s\"",
                      (int)(key->key.len < S3_MAX_KEY ? key->key.len : S3_MAX_KEY),
                      key->key.len > 0 ? key->key.ptr : "");
}

/* The first failure that another attempt may cure, or else the first one; counts all. */
static struct error *
judge_keys(const struct s3_call *call, const struct s3_reply_deleted *deleted, size_t *ret_count)
{
    struct error *first = NULL;

    *ret_count = 0;
    for (unsigned i = 0; i < deleted->count; i++) {
        struct error *err;

        if (span_is(deleted->errors[i].code, "NoSuchKey")) {
            continue;
        }
        (*ret_count)++;
        err = explain_key(call, &deleted->errors[i]);
        if (!first ||
            (error_class_of(err) == ERROR_RETRY && error_class_of(first) != ERROR_RETRY)) {
            error_free(first);
            first = err;
        } else {
            error_free(err);
        }
    }
    return first;
}

static struct error *end_deletion(struct s3_call *call)
{
    struct error *err = call->first_failure;

    if (!err) {
        return NULL;
    }
    call->first_failure = NULL;
    error_set_class(err, error_class_of(err) == ERROR_RETRY ? ERROR_ABORT : error_class_of(err));
    return error_wrap(err, "%zu of %zu objects were not deleted, one of them", call->failed_count,
                      call->key_count);
}

static struct error *judge_deleted(struct s3_call *call)
{
    struct s3_reply_deleted deleted;
    size_t failed;
    struct error *err;

    RETURN_IF_ERROR(
        s3_reply_read_deleted(call->reply_arena, http_response_body(call->exchange), &deleted));
    err = judge_keys(call, &deleted, &failed);
    if (err && error_class_of(err) == ERROR_RETRY && s3_call_may_repeat(call)) {
        return err; /* the whole batch again: those that are gone do no harm */
    }
    call->failed_count += failed;
    if (!call->first_failure) {
        call->first_failure = err;
    } else {
        error_free(err);
    }
    call->key_at += call->batch_count;
    if (call->key_at == call->key_count) {
        return end_deletion(call);
    }
    describe_batch(call);
    call->goes_on = true;
    return NULL;
}

struct s3_call *
s3_delete(struct s3 *s3, const struct span *keys, size_t count, op_done_fn *done, void *ctx)
{
    size_t bytes = 0;
    struct s3_call *call;
    struct span *copies;

    for (size_t i = 0; i < count; i++) {
        bytes += keys[i].len + sizeof(struct span) + 2 * sizeof(max_align_t);
    }
    call = new_call(s3, "deleting from", "POST", SPAN_NONE, bytes, done, ctx);
    copies = ARENA_ARRAY(call->arena, count + 1, struct span);
    for (size_t i = 0; i < count; i++) {
        copies[i] = arena_span(call->arena, keys[i]);
        call->has_long_key = call->has_long_key || keys[i].len > S3_MAX_KEY;
    }
    call->keys = copies;
    call->key_count = count;
    call->request.must_have_md5 = true;
    call->request.judge = judge_deleted;
    s3_call_add_query(call, "delete", SPAN_NONE);
    if (count > 0 && !call->has_long_key) {
        describe_batch(call);
    }
    s3_call_start(call);
    return call;
}

/* ---------------------------------------------------------------- lists */

static struct error *judge_list(struct s3_call *call)
{
    struct s3_reply_list list;

    RETURN_IF_ERROR(
        s3_reply_read_list(call->reply_arena, http_response_body(call->exchange), &list));
    for (unsigned i = 0; i < list.count && !call->op.cancel_asked; i++) {
        const struct s3_reply_object *object = &list.objects[i];

        call->each_object(call->each_ctx, object->key, object->size, object->modified_unix);
    }
    if (list.is_truncated) {
        s3_call_turn_page(call, 2); /* list-type and prefix stay */
        s3_call_add_query(call, "continuation-token", list.next_token);
        call->goes_on = true;
    }
    return NULL;
}

struct s3_call *
s3_list(struct s3 *s3, struct span prefix, s3_object_fn *each, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "listing", "GET", SPAN_NONE, prefix.len, done, ctx);

    call->each_object = each;
    call->each_ctx = ctx;
    call->request.judge = judge_list;
    s3_call_add_query(call, "list-type", SPAN_LIT("2"));
    s3_call_add_query(call, "prefix", prefix);
    s3_call_start(call);
    return call;
}

static struct error *judge_uploads(struct s3_call *call)
{
    struct s3_reply_uploads list;

    RETURN_IF_ERROR(
        s3_reply_read_uploads(call->reply_arena, http_response_body(call->exchange), &list));
    for (unsigned i = 0; i < list.count && !call->op.cancel_asked; i++) {
        const struct s3_reply_open_upload *upload = &list.uploads[i];

        call->each_upload(call->each_ctx, upload->key, upload->upload_id, upload->initiated_unix);
    }
    if (list.is_truncated) {
        s3_call_turn_page(call, 2); /* uploads and prefix stay */
        s3_call_add_query(call, "key-marker", list.next_key);
        s3_call_add_query(call, "upload-id-marker", list.next_upload_id);
        call->goes_on = true;
    }
    return NULL;
}

struct s3_call *s3_list_uploads(
    struct s3 *s3, struct span prefix, s3_open_upload_fn *each, op_done_fn *done, void *ctx)
{
    struct s3_call *call =
        new_call(s3, "listing uploads of", "GET", SPAN_NONE, prefix.len, done, ctx);

    call->each_upload = each;
    call->each_ctx = ctx;
    call->request.judge = judge_uploads;
    s3_call_add_query(call, "uploads", SPAN_NONE);
    s3_call_add_query(call, "prefix", prefix);
    s3_call_start(call);
    return call;
}

/* ---------------------------------------------------------------- the steps of an upload */

struct s3_call *
s3_abort_upload(struct s3 *s3, struct span key, struct span upload_id, op_done_fn *done, void *ctx)
{
    struct s3_call *call =
        new_call(s3, "aborting the upload of", "DELETE", key, upload_id.len, done, ctx);

    call->request.fine_code = "NoSuchUpload";
    call->request.max_attempts = 4; /* someone waits for the end; the next start sweeps */
    s3_call_add_query(call, "uploadId", upload_id);
    s3_call_start(call);
    return call;
}

struct s3_call *s3_call_put_chain(
    struct s3 *s3, struct span key, const struct chain *chain, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "writing", "PUT", key, 0, done, ctx);

    call->request.chain = chain;
    call->request.creates_object = true;
    s3_call_start(call);
    return call;
}

static struct error *judge_created(struct s3_call *call)
{
    struct span id;

    RETURN_IF_ERROR(
        s3_reply_read_upload_id(call->reply_arena, http_response_body(call->exchange), &id));
    if (id.len > S3_MAX_TOKEN) {
        return error_new(ERROR_HTTP, ERROR_FATAL, "the upload's id has %zu bytes", id.len);
    }
    call->upload_id = arena_span(call->arena, id);
    return NULL;
}

struct s3_call *s3_call_create_upload(struct s3 *s3, struct span key, op_done_fn *done, void *ctx)
{
    struct s3_call *call = new_call(s3, "beginning the upload of", "POST", key, 0, done, ctx);

    call->request.judge = judge_created;
    call->request.creates_object = true;
    s3_call_add_query(call, "uploads", SPAN_NONE);
    s3_call_start(call);
    return call;
}

/* A part without an ETag cannot be named when the upload is completed. */
static struct error *judge_part(struct s3_call *call)
{
    struct span etag = http_response_header(call->exchange, "ETag");

    if (etag.len == 0 || etag.len > 256) {
        return error_new(ERROR_HTTP, ERROR_RETRY, "the answer to a part has no ETag");
    }
    call->etag = arena_span(call->arena, etag);
    return NULL;
}

struct s3_call *s3_call_put_part(struct s3 *s3,
                                 struct span key,
                                 struct span upload_id,
                                 unsigned number,
                                 const struct chain *chain,
                                 op_done_fn *done,
                                 void *ctx)
{
    struct s3_call *call = new_call(s3, "writing a part of", "PUT", key, upload_id.len, done, ctx);
    char text[TEXT_INT_MAX];

    call->request.chain = chain;
    call->request.judge = judge_part;
    s3_call_add_query(call, "partNumber", (struct span){text, text_uint64(text, number)});
    s3_call_add_query(call, "uploadId", upload_id);
    s3_call_start(call);
    return call;
}

/* A 200 is only the promise of an answer; its body is the answer. */
static struct error *judge_completed(struct s3_call *call)
{
    struct s3_verdict_facts facts = {
        .status = 200,
        .request_id = http_response_header(call->exchange, "x-amz-request-id"),
        .region_signed_with = call->s3->endpoint.region,
    };
    bool completed;

    RETURN_IF_ERROR(s3_reply_read_completed(call->reply_arena, http_response_body(call->exchange),
                                            &completed, &facts.reply));
    return completed ? NULL : s3_verdict(&facts);
}

struct s3_call *s3_call_complete_upload(struct s3 *s3,
                                        struct span key,
                                        struct span upload_id,
                                        struct span body,
                                        op_done_fn *done,
                                        void *ctx)
{
    struct s3_call *call =
        new_call(s3, "completing the upload of", "POST", key, body.len + upload_id.len, done, ctx);

    call->request.body = arena_span(call->arena, body);
    call->request.judge = judge_completed;
    s3_call_add_query(call, "uploadId", upload_id);
    s3_call_start(call);
    return call;
}
