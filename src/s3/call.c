/*
 * Room s3: one request to the bucket, as an operation. The maker's description comes in; what goes
 * out through http is signed anew at each attempt; the answer is judged by verdict.c or, when it is
 * a good one, by the maker. Knows nothing of parts and pages.
 *
 *      HASHING --> KEYING --> SENDING --answer--> done
 *                     ^         |   '--another page--> HASHING
 *           time over |         v failure
 *                     '------ WAITING
 */

#include "call.h"

#include "base/log.h"
#include "base/text.h"
#include "runtime/work.h"
#include "verdict.h"

#define CALM_MS 5000 /* how long a "slow down" is remembered */

/* A request is signed with keys that outlive it: a part of an upload may take minutes on a bad
 * line. More would be of no use, as the metadata service has new keys only five minutes before the
 * old ones end. */
#define KEYS_LIFE_SECONDS 300

#define S3_CALL_STATES(X)                                                                          \
    X(HASHING) /* for the payload's hash, where it is signed */                                    \
    X(KEYING)  /* for keys that live long enough */                                                \
    X(SENDING) /* for the answer */                                                                \
    X(WAITING) /* for the next attempt */

#define CALL_STATE_ENUM(name) S3_CALL_##name,
enum s3_call_state { S3_CALL_STATES(CALL_STATE_ENUM) S3_CALL_STATE_COUNT };

static op_step_fn call_step;
static const char *const state_names[] = {S3_CALL_STATES(OP_STATE_NAME)};
static const uint32_t moves[S3_CALL_STATE_COUNT] = {
    [S3_CALL_HASHING] = OP_MOVE(S3_CALL_KEYING),
    [S3_CALL_KEYING] = OP_MOVE(S3_CALL_SENDING),
    [S3_CALL_SENDING] = OP_MOVE(S3_CALL_WAITING) | OP_MOVE(S3_CALL_HASHING),
    [S3_CALL_WAITING] = OP_MOVE(S3_CALL_KEYING),
};
static const struct op_kind call_kind = {"s3 call", state_names, S3_CALL_STATE_COUNT, moves,
                                         call_step};

/* ---------------------------------------------------------------- life */

static void call_done(void *ctx, struct error *err)
{
    struct s3_call *call = ctx;

    call->s3->call_count--;
    list_remove(&call->node);
    call->done(call->ctx, err);
}

struct s3_call *s3_call_new(struct s3 *s3, size_t arena_bytes, op_done_fn *done, void *ctx)
{
    struct s3_call *call = mem_alloc(sizeof(*call));

    call->s3 = s3;
    call->arena = arena_new(arena_bytes + (size_t)64 * 1024);
    call->reply_arena = arena_new(8 * S3_MAX_REPLY);
    call->done = done;
    call->ctx = ctx;
    call->request.max_response_bytes = S3_MAX_REPLY;
    op_init(&call->op, s3->loop, &call_kind, call_done, call);
    call->timer = timer_new(&call->op);
    call->limit = timer_new(&call->op);
    s3->call_count++;
    list_push(&s3->calls, &call->node);
    return call;
}

/* The refusals that need no server: what cannot be written into a request at all. */
static struct error *check_request(const struct s3_call *call)
{
    if (call->request.key.len > S3_MAX_KEY || call->has_long_key) {
        return error_new(ERROR_INPUT, ERROR_CONFIG, "the object's name is longer than %d bytes",
                         S3_MAX_KEY);
    }
    for (unsigned i = 0; i < call->request.query_count; i++) {
        if (call->request.query[i].value.len > S3_MAX_TOKEN) {
            return error_new(ERROR_HTTP, ERROR_FATAL, "a value of more than %zu bytes for \"%.*s\"",
                             S3_MAX_TOKEN, SPAN_FMT(call->request.query[i].name));
        }
    }
    return NULL;
}

void s3_call_start(struct s3_call *call)
{
    op_mark(&call->op);
}

void s3_call_cancel(struct s3_call *call)
{
    op_cancel(&call->op);
}

void s3_call_set_last_try(struct s3_call *call)
{
    call->last_try = true;
    op_mark(&call->op);
}

void s3_call_free(struct s3_call *call)
{
    if (!call) {
        return;
    }
    http_exchange_free(call->exchange);
    error_free(call->cause);
    error_free(call->first_failure);
    mem_free(call->owned_body);
    arena_free(call->page_arena);
    arena_free(call->reply_arena);
    arena_free(call->arena);
    mem_free(call);
}

void s3_call_add_query(struct s3_call *call, const char *name, struct span value)
{
    struct s3_request *request = &call->request;
    struct arena *arena = call->page_arena ? call->page_arena : call->arena;

    CHECK(request->query_count < S3_SIGN_MAX_QUERY);
    value.len = value.len > S3_MAX_TOKEN ? S3_MAX_TOKEN + 1 : value.len; /* refused when sent */
    request->query[request->query_count++] =
        (struct s3_sign_pair){span_of(name), arena_span(arena, value)};
}

void s3_call_turn_page(struct s3_call *call, unsigned kept)
{
    if (!call->page_arena) {
        call->page_arena = arena_new((size_t)64 * 1024);
    }
    arena_reset(call->page_arena);
    call->request.query_count = kept;
}

/* ---------------------------------------------------------------- the payload's hash */

static void hash_chain(void *ctx)
{
    struct s3_hash_job *job = ctx;
    struct digest *digest = digest_new();
    struct chain_cursor cursor = chain_begin(job->chain);
    unsigned char bytes[DIGEST_SHA256_BYTES];
    struct span run;

    while ((run = chain_next(&cursor, SIZE_MAX)).len > 0) {
        digest_add(digest, run);
    }
    digest_end(digest, bytes);
    job->hex[text_hex(job->hex, bytes, sizeof(bytes))] = '\0';
}

static void hash_ended(void *ctx)
{
    struct s3_call *call = CONTAINER_OF(ctx, struct s3_call, hash);

    call->hash_ended = true;
    op_mark(&call->op);
}

static void begin_hash(struct s3_call *call)
{
    unsigned char bytes[DIGEST_SHA256_BYTES];

    call->hash_started = true;
    if (!call->s3->endpoint.is_plain) { /* TLS guards the bytes */
        memcpy(call->hash.hex, S3_SIGN_UNSIGNED, sizeof(S3_SIGN_UNSIGNED));
        call->hash_ended = true;
        return;
    }
    if (call->request.chain) {
        call->hash.chain = call->request.chain;
        work_start(call->op.loop, hash_chain, hash_ended, &call->hash);
        return;
    }
    digest_sha256(call->request.body, bytes);
    call->hash.hex[text_hex(call->hash.hex, bytes, sizeof(bytes))] = '\0';
    call->hash_ended = true;
}

/* ---------------------------------------------------------------- sign and send */

/* All that one attempt writes down; released once http has its copy. */
struct draft {
    struct buf path, url, authorization, md5;
    char time[S3_SIGN_TIME_LEN + 1];
    struct s3_sign_pair headers[S3_SIGN_MAX_HEADERS];
    unsigned header_count;
};

static void add_header(struct draft *draft, const char *name, struct span value)
{
    CHECK(draft->header_count < S3_SIGN_MAX_HEADERS);
    draft->headers[draft->header_count++] = (struct s3_sign_pair){span_of(name), value};
}

static void write_url(const struct s3_call *call, struct draft *draft)
{
    const struct s3_endpoint *endpoint = &call->s3->endpoint;

    buf_printf(&draft->path, "%s/", endpoint->base_path);
    buf_add_span(&draft->path, call->request.key);
    buf_printf(&draft->url, "%s://%s", endpoint->scheme, endpoint->host_header);
    s3_sign_add_path(&draft->url, buf_view(&draft->path));
    if (call->request.query_count > 0) {
        buf_add_byte(&draft->url, '?');
        s3_sign_add_query(&draft->url, call->request.query, call->request.query_count);
    }
}

/* Encryption is said where an object begins, and nowhere else: S3 refuses these headers with a part
 * and with a completion (Amazon S3 User Guide, "Specifying server-side encryption with AWS KMS").
 */
static void write_encryption(const struct s3_call *call, struct draft *draft)
{
    if (call->request.creates_object && call->s3->kms_key_id) {
        add_header(draft, "x-amz-server-side-encryption", SPAN_LIT("aws:kms"));
        add_header(draft, "x-amz-server-side-encryption-aws-kms-key-id",
                   span_of(call->s3->kms_key_id));
    }
}

static void
write_headers(const struct s3_call *call, struct draft *draft, const struct s3_keys *keys)
{
    unsigned char md5[DIGEST_MD5_BYTES];

    add_header(draft, "host", span_of(call->s3->endpoint.host_header));
    add_header(draft, "x-amz-content-sha256", span_of(call->hash.hex));
    add_header(draft, "x-amz-date", span_of(draft->time));
    if (keys->session_token) {
        add_header(draft, "x-amz-security-token", secret_view(keys->session_token));
    }
    write_encryption(call, draft);
    if (call->request.must_have_md5) {
        digest_md5(call->request.body, md5);
        text_add_base64(&draft->md5, (struct span){(const char *)md5, sizeof(md5)});
        add_header(draft, "content-md5", buf_view(&draft->md5));
    }
}

static void sign(struct s3_call *call, struct draft *draft, const struct s3_keys *keys)
{
    struct s3 *s3 = call->s3;
    const struct s3_sign_request request = {
        .method = call->request.method,
        .path = buf_view(&draft->path),
        .query = call->request.query,
        .query_count = call->request.query_count,
        .headers = draft->headers,
        .header_count = draft->header_count,
        .payload_hash = span_of(call->hash.hex),
    };

    if (s3->key_number != call->keys_number) {
        secret_wipe(&s3->key, sizeof(s3->key)); /* made of other keys, or none yet */
        s3->key_number = call->keys_number;
    }
    s3_sign_key_update(&s3->key, secret_view(keys->secret_access_key), s3->endpoint.region,
                       draft->time);
    s3_sign_add_authorization(&draft->authorization, &request, &s3->key, keys->access_key_id,
                              s3->endpoint.region, draft->time);
}

static void start_exchange(struct s3_call *call, const struct draft *draft)
{
    struct http_header headers[S3_SIGN_MAX_HEADERS + 1];
    unsigned count = 0;

    for (unsigned i = 1; i < draft->header_count; i++) { /* 0 is host, which curl sends itself */
        headers[count++] = (struct http_header){draft->headers[i].name, draft->headers[i].value};
    }
    headers[count++] =
        (struct http_header){SPAN_LIT("authorization"), buf_view(&draft->authorization)};
    const struct http_request request = {
        .method = call->request.method,
        .url = draft->url.data,
        .headers = headers,
        .header_count = count,
        .body_chain = call->request.chain,
        .body = call->request.body,
        .connect_timeout_ms = call->s3->connect_timeout_ms,
        .stall_timeout_ms = call->s3->stall_timeout_ms,
        .max_response_bytes = call->request.max_response_bytes,
    };
    op_reply_expect(&call->reply, &call->op);
    call->exchange = http_start(call->s3->http, &request, op_reply_done, &call->reply);
}

static void send_request(struct s3_call *call)
{
    struct draft draft = {.header_count = 0};
    const struct s3_keys keys = s3_keys(call->s3, &call->keys_number);

    buf_init(&draft.path, 2 * S3_MAX_KEY);
    buf_init(&draft.url, (size_t)64 * 1024);
    buf_init(&draft.authorization, (size_t)8 * 1024);
    buf_init(&draft.md5, 64);
    s3_sign_time(draft.time, loop_unix_seconds(call->op.loop) + call->s3->clock_offset);
    write_url(call, &draft);
    write_headers(call, &draft, &keys);
    sign(call, &draft, &keys);
    CHECK(!buf_is_full(&draft.path) && !buf_is_full(&draft.url) &&
          !buf_is_full(&draft.authorization) && !buf_is_full(&draft.md5));
    call->attempt++;
    if (call->s3->figures) {
        call->s3->figures->s3_requests++;
        call->s3->figures->s3_retries += call->attempt > 1;
    }
    start_exchange(call, &draft);
    buf_done(&draft.path);
    buf_done(&draft.url);
    buf_done(&draft.authorization);
    buf_done(&draft.md5);
}

/* ---------------------------------------------------------------- judge the answer */

/* The server's clock is in each answer; the offset is learnt only when it refused ours. */
static void correct_clock(struct s3_call *call, struct error *err)
{
    int64_t server;

    if (!call->skew_corrected && s3_verdict_is(err, "RequestTimeTooSkewed") &&
        s3_reply_read_date(http_response_header(call->exchange, "Date"), &server)) {
        call->skew_corrected = true;
        call->s3->clock_offset = server - loop_unix_seconds(call->op.loop);
        error_set_class(err, ERROR_RETRY);
    }
}

static bool is_about_keys(struct s3_call *call, const struct error *err)
{
    if (s3_verdict_is(err, "ExpiredToken") || s3_verdict_is(err, "TokenRefreshRequired") ||
        s3_verdict_is(err, "InvalidToken")) {
        return true;
    }
    /* An answer to HEAD has no document to say so; an expired token is then a bare 400. */
    if (!call->keys_doubted && strcmp(call->request.method, "HEAD") == 0 &&
        http_response_status(call->exchange) == 400) {
        call->keys_doubted = true;
        return true;
    }
    return false;
}

/* The server may see the end of keys before we do, or an administrator ended them. */
static void renew_keys(struct s3_call *call, struct error *err)
{
    if (is_about_keys(call, err) && s3_keys_reject(call->s3, call->keys_number)) {
        error_set_class(err, ERROR_RETRY);
    }
}

static struct error *judge_failure(struct s3_call *call)
{
    struct s3_verdict_facts facts = {
        .status = http_response_status(call->exchange),
        .request_id = http_response_header(call->exchange, "x-amz-request-id"),
        .bucket_region = http_response_header(call->exchange, "x-amz-bucket-region"),
        .region_signed_with = call->s3->endpoint.region,
    };
    struct span body = http_response_body(call->exchange);
    struct error *err;

    if (body.len > 0) {
        error_drop(s3_reply_read_error(call->reply_arena, body, &facts.reply),
                   "the status alone says enough when a gateway's page came instead of XML");
    }
    err = s3_verdict(&facts);
    correct_clock(call, err);
    renew_keys(call, err);
    return err;
}

static struct error *judge_answer(struct s3_call *call)
{
    unsigned status = http_response_status(call->exchange);
    struct error *err = NULL;

    arena_reset(call->reply_arena);
    if (status < 200 || status > 299) {
        err = judge_failure(call);
    } else if (call->request.judge) {
        err = call->request.judge(call);
    }
    if (err && call->request.fine_code && s3_verdict_is(err, call->request.fine_code)) {
        error_drop(err, "what was to be removed is gone already");
        err = NULL;
    }
    if (err && s3_verdict_is_throttle(err)) {
        call->s3->calm_until_ms = loop_now_ms(call->op.loop) + CALM_MS;
    }
    return err;
}

/* ---------------------------------------------------------------- the step */

static struct backoff_policy policy_of(const struct s3_call *call)
{
    struct backoff_policy policy = call->s3->policy;

    if (call->request.max_attempts > 0) {
        policy.max_attempts = call->request.max_attempts;
    }
    return policy;
}

bool s3_call_may_repeat(const struct s3_call *call)
{
    struct backoff_policy policy = policy_of(call);

    return !call->last_try && !call->op.cancel_asked && backoff_may_retry(&policy, call->attempt);
}

static void forget_exchange(struct s3_call *call)
{
    http_exchange_free(call->exchange);
    call->exchange = NULL;
}

static void end_with(struct s3_call *call, struct error *err)
{
    const struct s3_request *request = &call->request;

    if (call->op.cancel_asked) {
        error_drop(err, "the call was cancelled, whatever else happened to it");
    } else {
        if (call->attempt > 1) {
            err = error_wrap(err, "after %u attempts", call->attempt);
        }
        err = error_wrap(err, "%s s3://%s/%.*s", request->purpose, call->s3->endpoint.bucket,
                         (int)(request->key.len < S3_MAX_KEY ? request->key.len : S3_MAX_KEY),
                         request->key.len > 0 ? request->key.ptr : "");
        op_fail(&call->op, err);
    }
    op_finish(&call->op);
}

static void settle(struct s3_call *call, struct error *err)
{
    if (!err && call->goes_on) {
        call->goes_on = call->hash_started = call->hash_ended = false;
        call->attempt = 0;
        forget_exchange(call);
        op_set_state(&call->op, S3_CALL_HASHING);
    } else if (!err) {
        op_finish_won(&call->op);
    } else if (error_class_of(err) == ERROR_RETRY && s3_call_may_repeat(call)) {
        struct backoff_policy policy = policy_of(call);

        log_debug("%s s3://%s, attempt %u: %s", call->request.purpose, call->s3->endpoint.bucket,
                  call->attempt, error_text(err));
        figures_add_retry(call->s3->figures, FIGURE_RETRY_s3, err);
        forget_exchange(call);
        call->cause = err;
        timer_start(call->timer, backoff_next(&policy, call->attempt, &call->s3->random));
        op_set_state(&call->op, S3_CALL_WAITING);
    } else {
        end_with(call, err);
    }
}

static void begin_keying(struct s3_call *call)
{
    op_set_state(&call->op, S3_CALL_KEYING);
    s3_keys_expect(call->s3, &call->keys_wait, &call->op, KEYS_LIFE_SECONDS);
}

static void step_keying(struct s3_call *call)
{
    struct error *err;

    if (call->op.cancel_asked) {
        s3_keys_cancel(&call->keys_wait);
    }
    if (!s3_keys_take(&call->keys_wait, &err)) {
        return;
    }
    if (err || op_must_stop(&call->op)) {
        end_with(call, err);
        return;
    }
    op_set_state(&call->op, S3_CALL_SENDING);
    send_request(call);
}

static void step_hashing(struct s3_call *call)
{
    struct error *err;

    if (!call->hash_started) {
        err = op_must_stop(&call->op) ? NULL : check_request(call);
        if (err) {
            end_with(call, err);
            return;
        }
        if (op_must_stop(&call->op) || (call->keys && call->batch_count == 0)) {
            op_finish(&call->op); /* nothing to delete is no request */
            return;
        }
        begin_hash(call);
    }
    if (!call->hash_ended) {
        return; /* a worker has the chain, cancelled or not */
    }
    if (op_must_stop(&call->op)) {
        op_finish(&call->op);
        return;
    }
    begin_keying(call);
}

static void step_sending(struct s3_call *call)
{
    struct error *err;

    if (call->op.cancel_asked) {
        http_cancel(call->exchange);
    }
    if (op_reply_take(&call->reply, &err)) {
        call->was_repeated = call->attempt > 1 || http_was_resent(call->exchange);
        settle(call, err ? err : judge_answer(call));
    }
}

static void step_waiting(struct s3_call *call)
{
    struct error *cause = call->cause;

    if (op_must_stop(&call->op) || call->last_try) {
        call->cause = NULL;
        end_with(call, cause);
    } else if (timer_has_expired(call->timer)) {
        timer_stop(call->timer);
        call->cause = NULL;
        error_drop(cause, "the request is sent again");
        begin_keying(call);
    }
}

static void look_at_limit(struct s3_call *call)
{
    uint64_t now_ms = loop_now_ms(call->op.loop), end_ms = call->s3->give_up_at_ms;

    if (end_ms == 0 || call->op.cancel_asked) {
        return;
    }
    if (now_ms >= end_ms) {
        op_cancel(&call->op);
    } else if (!timer_is_running(call->limit)) {
        timer_start(call->limit, end_ms - now_ms);
    }
}

static void call_step(struct op *op)
{
    struct s3_call *call = CONTAINER_OF(op, struct s3_call, op);

    look_at_limit(call);
    switch ((enum s3_call_state)op->state) {
    case S3_CALL_HASHING:
        step_hashing(call);
        break;
    case S3_CALL_KEYING:
        step_keying(call);
        break;
    case S3_CALL_SENDING:
        step_sending(call);
        break;
    case S3_CALL_WAITING:
        step_waiting(call);
        break;
    case S3_CALL_STATE_COUNT:
        CHECK(false);
    }
}
