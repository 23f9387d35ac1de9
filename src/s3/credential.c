/*
 * Room s3: the keys at hand, and others in time. In: a source (source.c) and operations that need
 * keys. Out: keys that live long enough, as long as the source gives any. What the services are
 * told and what their answers mean is source.c's; here they are asked, again while that helps, and
 * one after the other:
 *
 *      web identity   token's file -> STS -----------------.
 *      container      (token's file ->) endpoint -----------+-> (STS, for a role) -> keys
 *      instance       token -> name of the role -> its keys-'
 *
 *      READING (a file, on a worker) -> ASKING -> done
 *                                  ^     |  ^
 *                            again |     v  | another question, or again
 *                                  '-- WAITING
 *
 * A try that fails begins anew at the first question: tokens and base keys may be what was stale.
 *
 * Nobody asks in the background. A refresh is begun by an operation that wants keys, belongs to
 * those that wait, and is called off when none is left; so nothing of it outlives them.
 */

#include "keyring.h"

#include "call.h"

#include "base/log.h"
#include "base/text.h"
#include "runtime/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* After a refresh that brought nothing better: others may want keys every millisecond. */
#define QUIET_SECONDS 60

#define MAX_ANSWER ((size_t)64 * 1024)
#define MAX_TRIES 4
#define MAX_WAIT_MS 5000

/* The services on this machine answer at once or are not there. */
#define NEAR_CONNECT_MS 2000
#define STALL_MS 10000

/* EC2 User Guide, "Use IMDSv2": at most six hours; each refresh asks for a token of its own. */
#define METADATA_TOKEN_SECONDS "300"
#define METADATA_PATH "/latest/meta-data/iam/security-credentials/"

#define REFRESH_STATES(X)                                                                          \
    X(READING) /* for the file with a token */                                                     \
    X(ASKING)  /* for an answer */                                                                 \
    X(WAITING) /* for the next try */

#define REFRESH_STATE_ENUM(name) REFRESH_##name,
enum refresh_state { REFRESH_STATES(REFRESH_STATE_ENUM) REFRESH_STATE_COUNT };

static op_step_fn refresh_step;
static const char *const state_names[] = {REFRESH_STATES(OP_STATE_NAME)};
static const uint32_t moves[REFRESH_STATE_COUNT] = {
    [REFRESH_READING] = OP_MOVE(REFRESH_ASKING) | OP_MOVE(REFRESH_WAITING),
    [REFRESH_ASKING] = OP_MOVE(REFRESH_WAITING),
    [REFRESH_WAITING] = OP_MOVE(REFRESH_READING),
};
static const struct op_kind refresh_kind = {"keys", state_names, REFRESH_STATE_COUNT, moves,
                                            refresh_step};

enum question {
    ASK_NOTHING,
    ASK_METADATA_TOKEN,
    ASK_METADATA_ROLE,
    ASK_METADATA_KEYS,
    ASK_CONTAINER,
    ASK_WEB_IDENTITY,
    ASK_ROLE
};

struct s3_keyring {
    struct s3_source *source;
    struct error *no_source; /* or why there is none */
    s3_keys_tell_fn *tell;
    void *tell_ctx;
    struct s3_found_keys keys;
    unsigned number;     /* of keys there have been; 0: none yet */
    bool is_rejected;    /* a server refused these */
    int64_t quiet_until; /* unix seconds: before that, living keys are not refreshed again */
    struct list waits;
    struct refresh *refresh; /* under way, or NULL */
};

/* All that a worker sees. */
struct token_file {
    const char *path;
    struct secret *token; /* NULL: there was none */
    int error_number;
};

struct refresh {
    struct op op;
    struct s3 *s3;
    const struct s3_source *source;
    struct arena *arena; /* texts of one try */
    unsigned attempt;
    enum question question; /* under way */
    bool file_started, file_ended;
    struct token_file file;
    struct secret *metadata_token;
    char role[128]; /* as the metadata service names it */
    struct s3_found_keys base, found;
    struct http_exchange *exchange;
    struct buf body; /* lent to the exchange; may hold a token */
    struct op_reply reply;
    struct timer *timer;
    struct error *cause; /* why it waits for another try */
};

static void start_refresh(struct s3 *s3);

/* ---------------------------------------------------------------- the keyring */

static bool is_temporary(const struct s3_source *source)
{
    return *source->role_arn ||
           (source->kind != S3_KEYS_CONFIG && source->kind != S3_KEYS_ENVIRONMENT);
}

static void copy_static(const struct s3_source *source, struct s3_found_keys *ret)
{
    *ret = (struct s3_found_keys){
        .secret_access_key = secret_copy(source->secret_access_key),
        .session_token = source->session_token ? secret_copy(source->session_token) : NULL,
        .expires_unix = S3_KEYS_NEVER_EXPIRE,
    };
    (void)snprintf(ret->access_key_id, sizeof(ret->access_key_id), "%s", source->access_key_id);
}

struct s3_keyring *s3_keyring_new(struct s3_source *source,
                                  struct error *no_source,
                                  s3_keys_tell_fn *tell,
                                  void *tell_ctx)
{
    struct s3_keyring *keyring = mem_alloc(sizeof(*keyring));

    CHECK((source != NULL) != (no_source != NULL));
    keyring->source = source;
    keyring->no_source = no_source;
    keyring->tell = tell;
    keyring->tell_ctx = tell_ctx;
    list_init(&keyring->waits);
    if (source && !is_temporary(source)) {
        copy_static(source, &keyring->keys);
        keyring->number = 1;
    }
    return keyring;
}

void s3_keyring_free(struct s3_keyring *keyring)
{
    if (keyring) {
        CHECK(list_is_empty(&keyring->waits) && !keyring->refresh);
        s3_found_done(&keyring->keys);
        s3_source_done(keyring->source);
        error_free(keyring->no_source);
        mem_free(keyring);
    }
}

struct s3_keys s3_keys(const struct s3 *s3, unsigned *ret_number)
{
    const struct s3_found_keys *keys = &s3->keyring->keys;

    CHECK(s3->keyring->number > 0);
    if (ret_number) {
        *ret_number = s3->keyring->number;
    }
    return (struct s3_keys){keys->access_key_id, keys->secret_access_key, keys->session_token};
}

bool s3_keys_reject(struct s3 *s3, unsigned number)
{
    struct s3_keyring *keyring = s3->keyring;

    if (!keyring->source || !is_temporary(keyring->source)) {
        return false;
    }
    if (number == keyring->number) {
        keyring->is_rejected = true;
    }
    return true; /* of another number: there are others already */
}

/* ---------------------------------------------------------------- who waits */

/* Servers judge by their clock. */
static int64_t now_unix(const struct s3 *s3)
{
    return loop_unix_seconds(s3->loop) + s3->clock_offset;
}

static bool are_alive(const struct s3 *s3)
{
    const struct s3_keyring *keyring = s3->keyring;

    return keyring->number > 0 && !keyring->is_rejected &&
           keyring->keys.expires_unix > now_unix(s3);
}

static bool are_good_for(const struct s3 *s3, int64_t life_s)
{
    const struct s3_keyring *keyring = s3->keyring;
    int64_t now = now_unix(s3);

    if (!are_alive(s3)) {
        return false;
    }
    return keyring->keys.expires_unix == S3_KEYS_NEVER_EXPIRE ||
           keyring->keys.expires_unix - now > life_s || now < keyring->quiet_until;
}

static void answer(struct s3_keys_wait *wait, struct error *err)
{
    if (wait->is_waiting) {
        wait->is_waiting = false;
        list_remove(&wait->node);
    }
    wait->came = true;
    wait->err = err;
    op_mark(wait->parent);
}

/* Each that waits owns an error of its own. */
static struct error *copy_error(const struct error *err)
{
    struct error *copy = NULL;

    if (err) {
        copy = error_new(error_code_of(err), error_class_of(err), "%s", error_text(err));
        if (*error_hint(err)) {
            error_set_hint(copy, "%s", error_hint(err));
        }
    }
    return copy;
}

void s3_keys_expect(struct s3 *s3, struct s3_keys_wait *wait, struct op *parent, int64_t min_life_s)
{
    struct s3_keyring *keyring = s3->keyring;

    CHECK(!wait->is_waiting && !wait->came);
    wait->parent = parent;
    wait->s3 = s3;
    wait->gives_up = false;
    if (keyring->no_source) {
        answer(wait, copy_error(keyring->no_source));
        return;
    }
    if (are_good_for(s3, min_life_s)) {
        answer(wait, NULL);
        return;
    }
    wait->is_waiting = true;
    list_node_init(&wait->node);
    list_push(&keyring->waits, &wait->node);
    if (!keyring->refresh) {
        start_refresh(s3);
    }
}

bool s3_keys_take(struct s3_keys_wait *wait, struct error **ret_err)
{
    if (!wait->came) {
        return false;
    }
    wait->came = false;
    *ret_err = wait->err;
    wait->err = NULL;
    return true;
}

static bool is_alone(const struct s3_keyring *keyring)
{
    return keyring->waits.head.next->next == &keyring->waits.head;
}

void s3_keys_cancel(struct s3_keys_wait *wait)
{
    struct s3_keyring *keyring;

    if (!wait->is_waiting) {
        return;
    }
    keyring = wait->s3->keyring;
    wait->gives_up = true;
    if (is_alone(keyring)) {
        op_cancel(&keyring->refresh->op); /* its end is the answer */
    } else {
        answer(wait, error_new(ERROR_CANCELLED, ERROR_ABORT, "nobody waits for keys any more"));
    }
}

static void answer_all(struct s3_keyring *keyring, const struct error *err)
{
    struct list_node *node;

    while ((node = list_first(&keyring->waits))) {
        answer(CONTAINER_OF(node, struct s3_keys_wait, node), copy_error(err));
    }
}

/* Others may have come while what was asked for the last one was called off. */
static void answer_those_who_gave_up(struct s3 *s3, const struct error *err)
{
    LIST_FOR_EACH(node, &s3->keyring->waits)
    {
        struct s3_keys_wait *wait = CONTAINER_OF(node, struct s3_keys_wait, node);

        if (wait->gives_up) {
            answer(wait, copy_error(err));
        }
    }
    if (!list_is_empty(&s3->keyring->waits)) {
        start_refresh(s3);
    }
}

/* ---------------------------------------------------------------- the end of a refresh */

static void take_keys(struct s3 *s3, struct s3_found_keys *found)
{
    struct s3_keyring *keyring = s3->keyring;

    s3_found_done(&keyring->keys);
    keyring->keys = *found;
    *found = (struct s3_found_keys){.access_key_id = ""};
    keyring->number++;
    keyring->is_rejected = false;
    /* A source may give the same keys again until shortly before their end (the metadata service
     * has new ones five minutes before it). */
    keyring->quiet_until = now_unix(s3) + QUIET_SECONDS;
    if (keyring->tell) {
        keyring->tell(keyring->tell_ctx, keyring->source->name, keyring->keys.expires_unix, NULL);
    }
}

static void keep_keys(struct s3 *s3, const struct error *err)
{
    struct s3_keyring *keyring = s3->keyring;

    keyring->quiet_until = now_unix(s3) + QUIET_SECONDS;
    if (keyring->tell) {
        keyring->tell(keyring->tell_ctx, keyring->source->name, keyring->keys.expires_unix, err);
    }
}

static void free_refresh(struct refresh *refresh)
{
    http_exchange_free(refresh->exchange);
    secret_wipe(refresh->body.data, refresh->body.len);
    buf_done(&refresh->body);
    secret_free(refresh->file.token);
    secret_free(refresh->metadata_token);
    s3_found_done(&refresh->base);
    s3_found_done(&refresh->found);
    error_free(refresh->cause);
    arena_free(refresh->arena);
    mem_free(refresh);
}

static void refresh_done(void *ctx, struct error *err)
{
    struct refresh *refresh = ctx;
    struct s3 *s3 = refresh->s3;
    struct s3_keyring *keyring = s3->keyring;
    bool was_cancelled = err && error_code_of(err) == ERROR_CANCELLED;

    keyring->refresh = NULL;
    if (!err) {
        take_keys(s3, &refresh->found);
    }
    free_refresh(refresh);
    if (err && !was_cancelled) {
        err = error_wrap(err, "asking for keys for S3 from %s", keyring->source->name);
        if (are_alive(s3)) {
            keep_keys(s3, err);
            error_free(err);
            err = NULL;
        }
    }
    if (was_cancelled) {
        answer_those_who_gave_up(s3, err);
    } else {
        answer_all(keyring, err);
    }
    error_free(err);
}

/* ---------------------------------------------------------------- one question */

/* A question as it is sent; what it points to lives until it was started. */
struct draft {
    const char *method, *url;
    struct s3_sign_pair headers[8];
    unsigned header_count;
    bool is_near;
};

static void add_header(struct draft *draft, const char *name, struct span value)
{
    CHECK(draft->header_count < ARRAY_LEN(draft->headers));
    draft->headers[draft->header_count++] = (struct s3_sign_pair){span_of(name), value};
}

static void draft_metadata(struct refresh *refresh, struct draft *draft)
{
    const char *base = refresh->source->url;

    draft->method = refresh->question == ASK_METADATA_TOKEN ? "PUT" : "GET";
    draft->is_near = true;
    switch (refresh->question) {
    case ASK_METADATA_TOKEN:
        draft->url = arena_printf(refresh->arena, "%s/latest/api/token", base);
        add_header(draft, "x-aws-ec2-metadata-token-ttl-seconds", SPAN_LIT(METADATA_TOKEN_SECONDS));
        return;
    case ASK_METADATA_ROLE:
        draft->url = arena_printf(refresh->arena, "%s" METADATA_PATH, base);
        break;
    default:
        draft->url = arena_printf(refresh->arena, "%s" METADATA_PATH "%s", base, refresh->role);
        break;
    }
    add_header(draft, "x-aws-ec2-metadata-token", secret_view(refresh->metadata_token));
}

static void draft_container(struct refresh *refresh, struct draft *draft)
{
    const struct secret *token =
        refresh->file.token ? refresh->file.token : refresh->source->authorization;

    draft->method = "GET";
    draft->url = refresh->source->url;
    draft->is_near = strncmp(draft->url, "http://", 7) == 0;
    if (token) {
        add_header(draft, "authorization", secret_view(token));
    }
}

static void draft_sts(struct refresh *refresh, struct draft *draft)
{
    draft->method = "POST";
    draft->url = refresh->source->sts_url;
    buf_clear(&refresh->body);
    add_header(draft, "host", span_of(refresh->source->sts_host));
    add_header(draft, "content-type", SPAN_LIT("application/x-www-form-urlencoded"));
    if (refresh->question == ASK_ROLE) {
        s3_add_assume_role(&refresh->body, refresh->source);
    } else {
        /* The token is in it: no copies of it by growing. */
        (void)buf_reserve(&refresh->body, 3 * S3_MAX_IDENTITY_TOKEN + 4096);
        s3_add_web_identity(&refresh->body, refresh->source, secret_view(refresh->file.token));
    }
    CHECK(!buf_is_full(&refresh->body));
}

/* Only AssumeRole is signed: a web identity is all that the other call needs. */
static void sign_sts(struct refresh *refresh, struct draft *draft, char *time, struct buf *out)
{
    unsigned char hash[DIGEST_SHA256_BYTES];
    char hex[2 * DIGEST_SHA256_BYTES + 1];
    struct s3_sign_key key = {.service = "sts"};
    const char *region = refresh->source->region;

    s3_sign_time(time, now_unix(refresh->s3));
    add_header(draft, "x-amz-date", span_of(time));
    if (refresh->base.session_token) {
        add_header(draft, "x-amz-security-token", secret_view(refresh->base.session_token));
    }
    digest_sha256(buf_view(&refresh->body), hash);
    hex[text_hex(hex, hash, sizeof(hash))] = '\0';
    const struct s3_sign_request request = {
        .method = draft->method,
        .path = SPAN_LIT("/"),
        .headers = draft->headers,
        .header_count = draft->header_count,
        .payload_hash = span_of(hex),
    };
    s3_sign_key_update(&key, secret_view(refresh->base.secret_access_key), region, time);
    s3_sign_add_authorization(out, &request, &key, refresh->base.access_key_id, region, time);
    secret_wipe(&key, sizeof(key));
    add_header(draft, "authorization", buf_view(out));
}

static void start_exchange(struct refresh *refresh, const struct draft *draft)
{
    struct s3 *s3 = refresh->s3;
    struct http_header headers[ARRAY_LEN(draft->headers)];
    unsigned count = 0;

    for (unsigned i = 0; i < draft->header_count; i++) {
        if (!span_is(draft->headers[i].name, "host")) { /* curl sends it itself */
            headers[count++] =
                (struct http_header){draft->headers[i].name, draft->headers[i].value};
        }
    }
    const struct http_request request = {
        .method = draft->method,
        .url = draft->url,
        .headers = headers,
        .header_count = count,
        .body = buf_view(&refresh->body),
        .connect_timeout_ms = draft->is_near && s3->connect_timeout_ms > NEAR_CONNECT_MS
                                  ? NEAR_CONNECT_MS
                                  : s3->connect_timeout_ms,
        .stall_timeout_ms = s3->stall_timeout_ms < STALL_MS ? s3->stall_timeout_ms : STALL_MS,
        .max_response_bytes = MAX_ANSWER,
    };
    op_reply_expect(&refresh->reply, &refresh->op);
    refresh->exchange = http_start(s3->http, &request, op_reply_done, &refresh->reply);
}

static void ask(struct refresh *refresh, enum question question)
{
    struct draft draft = {.header_count = 0};
    char time[S3_SIGN_TIME_LEN + 1];
    struct buf authorization;

    refresh->question = question;
    buf_init(&authorization, (size_t)8 * 1024);
    switch (question) {
    case ASK_METADATA_TOKEN:
    case ASK_METADATA_ROLE:
    case ASK_METADATA_KEYS:
        draft_metadata(refresh, &draft);
        break;
    case ASK_CONTAINER:
        draft_container(refresh, &draft);
        break;
    case ASK_ROLE:
        draft_sts(refresh, &draft);
        sign_sts(refresh, &draft, time, &authorization);
        break;
    case ASK_WEB_IDENTITY:
        draft_sts(refresh, &draft);
        break;
    case ASK_NOTHING:
        CHECK(false);
    }
    start_exchange(refresh, &draft);
    buf_done(&authorization);
}

/* ---------------------------------------------------------------- one answer */

static const char *question_text(enum question question)
{
    static const char *const texts[] = {
        [ASK_NOTHING] = "",
        [ASK_METADATA_TOKEN] = "the request for a session token (IMDSv2)",
        [ASK_METADATA_ROLE] = "the question which role the instance has",
        [ASK_METADATA_KEYS] = "the request for the role's keys",
        [ASK_CONTAINER] = "the request for keys",
        [ASK_WEB_IDENTITY] = "AssumeRoleWithWebIdentity",
        [ASK_ROLE] = "AssumeRole",
    };

    return texts[question];
}

static struct error *judge_status(const struct refresh *refresh)
{
    unsigned status = http_response_status(refresh->exchange);
    struct error *err;

    if (status == 200) {
        return NULL;
    }
    if (refresh->question == ASK_ROLE || refresh->question == ASK_WEB_IDENTITY) {
        return s3_judge_sts(status, http_response_body(refresh->exchange),
                            secret_view(refresh->file.token));
    }
    err = s3_judge_key_status(status, question_text(refresh->question));
    if (refresh->question == ASK_METADATA_ROLE && status == 404) {
        error_set_hint(err, "No IAM role is attached to this instance.");
    } else if (refresh->question == ASK_METADATA_TOKEN) {
        error_set_hint(err, "The instance's metadata service must be enabled with version 2 of its "
                            "protocol (IMDSv2).");
    } else if (status == 401) { /* the token of the metadata service lives for minutes */
        error_set_class(err, ERROR_RETRY);
    }
    return err;
}

static struct error *take_answer(struct refresh *refresh, struct s3_found_keys *keys)
{
    struct span body = http_response_body(refresh->exchange);

    switch (refresh->question) {
    case ASK_METADATA_TOKEN:
        secret_free(refresh->metadata_token);
        refresh->metadata_token = s3_read_token(body, 4096);
        return refresh->metadata_token
                   ? NULL
                   : error_new(ERROR_HTTP, ERROR_RETRY, "the answer is not a token");
    case ASK_METADATA_ROLE:
        return s3_read_role_name(body, refresh->role, sizeof(refresh->role));
    case ASK_METADATA_KEYS:
    case ASK_CONTAINER:
        return s3_found_read_json(body, keys);
    case ASK_WEB_IDENTITY:
        return s3_found_read_xml(body, "AssumeRoleWithWebIdentityResponse", keys);
    case ASK_ROLE:
        return s3_found_read_xml(body, "AssumeRoleResponse", keys);
    case ASK_NOTHING:
        break;
    }
    CHECK(false);
    return NULL;
}

static struct error *check_life(const struct refresh *refresh, const struct s3_found_keys *keys)
{
    char text[32];
    struct error *err;

    if (keys->expires_unix > now_unix(refresh->s3)) {
        return NULL;
    }
    text_time(text, keys->expires_unix);
    err = error_new(ERROR_HTTP, ERROR_RETRY, "the answer's keys expired at %s already", text);
    error_set_hint(err, "If they did not, this machine's clock is wrong.");
    return err;
}

/* ---------------------------------------------------------------- the step */

static void read_file(void *ctx)
{
    struct token_file *file = ctx;
    char *text = mem_alloc(S3_MAX_IDENTITY_TOKEN + 2);
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for ever */
    size_t len = 0;
    ssize_t got = -1;

    while (fd >= 0 && len <= S3_MAX_IDENTITY_TOKEN &&
           (got = read(fd, text + len, S3_MAX_IDENTITY_TOKEN + 1 - len)) > 0) {
        len += (size_t)got;
    }
    if (fd < 0 || got < 0) {
        file->error_number = errno;
    } else {
        file->token = s3_read_token((struct span){text, len}, S3_MAX_IDENTITY_TOKEN);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    secret_wipe(text, len);
    mem_free(text);
}

static void file_ended(void *ctx)
{
    struct refresh *refresh = CONTAINER_OF(ctx, struct refresh, file);

    refresh->file_ended = true;
    op_mark(&refresh->op);
}

static struct error *judge_file(const struct refresh *refresh)
{
    if (refresh->file.error_number) {
        return error_from_errno(refresh->file.error_number, ERROR_CONFIG,
                                "reading the token in \"%s\"", refresh->file.path);
    }
    return refresh->file.token
               ? NULL
               : error_new(ERROR_INPUT, ERROR_CONFIG,
                           "the file \"%s\" is not one line with a token", refresh->file.path);
}

static void start_file(struct refresh *refresh)
{
    secret_free(refresh->file.token);
    refresh->file = (struct token_file){.path = refresh->source->token_file};
    refresh->file_started = true;
    refresh->file_ended = false;
    work_start(refresh->op.loop, read_file, file_ended, &refresh->file);
}

static void forget_exchange(struct refresh *refresh)
{
    http_exchange_free(refresh->exchange);
    refresh->exchange = NULL;
    secret_wipe(refresh->body.data, refresh->body.len);
    buf_clear(&refresh->body);
}

static void end_with(struct refresh *refresh, struct error *err)
{
    op_fail(&refresh->op, err);
    op_finish(&refresh->op);
}

static void try_again(struct refresh *refresh, struct error *err)
{
    const struct backoff_policy policy = {
        .max_attempts = MAX_TRIES,
        .first_ms = refresh->s3->policy.first_ms,
        .cap_ms = MAX_WAIT_MS,
    };

    forget_exchange(refresh);
    if (error_class_of(err) != ERROR_RETRY || refresh->op.cancel_asked ||
        !backoff_may_retry(&policy, refresh->attempt)) {
        end_with(refresh, err);
        return;
    }
    log_debug("asking for keys, try %u: %s", refresh->attempt, error_text(err));
    refresh->cause = err;
    timer_start(refresh->timer, backoff_next(&policy, refresh->attempt, &refresh->s3->random));
    op_set_state(&refresh->op, REFRESH_WAITING);
}

static enum question first_question(const struct s3_source *source)
{
    switch (source->kind) {
    case S3_KEYS_WEB_IDENTITY:
        return ASK_WEB_IDENTITY;
    case S3_KEYS_CONTAINER:
        return ASK_CONTAINER;
    case S3_KEYS_INSTANCE:
        return ASK_METADATA_TOKEN;
    case S3_KEYS_CONFIG:
    case S3_KEYS_ENVIRONMENT:
    case S3_KEYS_ANY:
        break;
    }
    return ASK_ROLE;
}

static enum question next_question(const struct refresh *refresh)
{
    switch (refresh->question) {
    case ASK_METADATA_TOKEN:
        return ASK_METADATA_ROLE;
    case ASK_METADATA_ROLE:
        return ASK_METADATA_KEYS;
    case ASK_ROLE:
        return ASK_NOTHING;
    default:
        return *refresh->source->role_arn ? ASK_ROLE : ASK_NOTHING;
    }
}

static void step_reading(struct refresh *refresh)
{
    struct error *err;

    if (op_must_stop(&refresh->op) && (!refresh->file_started || refresh->file_ended)) {
        op_finish(&refresh->op);
        return;
    }
    if (!refresh->file_started) {
        refresh->attempt++;
        arena_reset(refresh->arena);
        refresh->file_ended = true;
        if (*refresh->source->token_file) {
            start_file(refresh);
        }
    }
    if (!refresh->file_ended) {
        return;
    }
    err = *refresh->source->token_file ? judge_file(refresh) : NULL;
    if (err) {
        end_with(refresh, err);
        return;
    }
    if (first_question(refresh->source) == ASK_ROLE) {
        s3_found_done(&refresh->base);
        copy_static(refresh->source, &refresh->base);
    }
    op_set_state(&refresh->op, REFRESH_ASKING);
    ask(refresh, first_question(refresh->source));
}

static void step_asking(struct refresh *refresh)
{
    struct s3_found_keys keys = {.expires_unix = S3_KEYS_NEVER_EXPIRE};
    enum question next;
    struct error *err;

    if (refresh->op.cancel_asked) {
        http_cancel(refresh->exchange);
    }
    if (!op_reply_take(&refresh->reply, &err)) {
        return;
    }
    if (op_must_stop(&refresh->op)) {
        error_drop(err, "nobody waits for it any more");
        op_finish(&refresh->op);
        return;
    }
    err = err ? err : judge_status(refresh);
    err = err ? err : take_answer(refresh, &keys);
    err = err ? err : check_life(refresh, &keys);
    if (err) {
        s3_found_done(&keys);
        try_again(refresh, err);
        return;
    }
    next = next_question(refresh);
    forget_exchange(refresh);
    if (next == ASK_NOTHING) {
        refresh->found = keys;
        op_finish_won(&refresh->op);
        return;
    }
    if (next == ASK_ROLE) {
        s3_found_done(&refresh->base);
        refresh->base = keys;
    }
    ask(refresh, next);
}

static void step_waiting(struct refresh *refresh)
{
    if (op_must_stop(&refresh->op)) {
        op_finish(&refresh->op);
    } else if (timer_has_expired(refresh->timer)) {
        timer_stop(refresh->timer);
        error_drop(refresh->cause, "it is asked for again");
        refresh->cause = NULL;
        refresh->file_started = false;
        op_set_state(&refresh->op, REFRESH_READING);
    }
}

static void refresh_step(struct op *op)
{
    struct refresh *refresh = CONTAINER_OF(op, struct refresh, op);

    switch ((enum refresh_state)op->state) {
    case REFRESH_READING:
        step_reading(refresh);
        break;
    case REFRESH_ASKING:
        step_asking(refresh);
        break;
    case REFRESH_WAITING:
        step_waiting(refresh);
        break;
    case REFRESH_STATE_COUNT:
        CHECK(false);
    }
}

static void start_refresh(struct s3 *s3)
{
    struct refresh *refresh = mem_alloc(sizeof(*refresh));

    refresh->s3 = s3;
    refresh->source = s3->keyring->source;
    refresh->arena = arena_new((size_t)64 * 1024);
    buf_init(&refresh->body, 4 * S3_MAX_IDENTITY_TOKEN);
    op_init(&refresh->op, s3->loop, &refresh_kind, refresh_done, refresh);
    refresh->timer = timer_new(&refresh->op);
    s3->keyring->refresh = refresh;
    op_mark(&refresh->op);
}
