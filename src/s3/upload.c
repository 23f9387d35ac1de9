/*
 * Room s3: one object, written while its bytes arrive. Parts come in from the writer of a file, the
 * object is there when done comes without an error. Knows nothing of rows and files.
 *
 *                 '--one part is all--> PUTTING -------------------------------------> done
 *      OPENING --'
 *                 '--a second part--> CREATING --> SENDING --> COMPLETING -----------> done
 *                                        |            |          |  '--> CHECKING ---> done
 *                                        v            v          v          |
 *                                       done       ABORTING <---------------+
 *                                                      '----------------------------> done
 *
 * A failed or cancelled upload that has an id is aborted on the server, else its parts would be
 * billed for ever. A part that was cut off on its way can still be stored after an abort (Amazon S3
 * User Guide, "Aborting a multipart upload"), so the abort is then said twice.
 *
 * An answer to the completion can be lost. The next attempt then finds no such upload, whether it
 * was completed or not; the object itself tells: it is there and has our size, or it is not.
 */

#include "s3/upload.h"

#include "call.h"
#include "verdict.h"

#include "base/text.h"

#define S3_UPLOAD_STATES(X)                                                                        \
    X(OPENING)    /* to know whether one part is all */                                            \
    X(PUTTING)    /* for the answer to the only part */                                            \
    X(CREATING)   /* for the upload's id */                                                        \
    X(SENDING)    /* for parts, and for answers to them */                                         \
    X(COMPLETING) /* for the parts to become an object */                                          \
    X(CHECKING)   /* to know whether they did, when the answer was lost */                         \
    X(ABORTING)   /* for the server to forget it */

#define UPLOAD_STATE_ENUM(name) S3_UPLOAD_##name,
enum s3_upload_state { S3_UPLOAD_STATES(UPLOAD_STATE_ENUM) S3_UPLOAD_STATE_COUNT };

static op_step_fn upload_step;
static const char *const state_names[] = {S3_UPLOAD_STATES(OP_STATE_NAME)};
static const uint32_t moves[S3_UPLOAD_STATE_COUNT] = {
    [S3_UPLOAD_OPENING] = OP_MOVE(S3_UPLOAD_PUTTING) | OP_MOVE(S3_UPLOAD_CREATING),
    [S3_UPLOAD_CREATING] = OP_MOVE(S3_UPLOAD_SENDING) | OP_MOVE(S3_UPLOAD_ABORTING),
    [S3_UPLOAD_SENDING] = OP_MOVE(S3_UPLOAD_COMPLETING) | OP_MOVE(S3_UPLOAD_ABORTING),
    [S3_UPLOAD_COMPLETING] = OP_MOVE(S3_UPLOAD_CHECKING) | OP_MOVE(S3_UPLOAD_ABORTING),
    [S3_UPLOAD_CHECKING] = OP_MOVE(S3_UPLOAD_ABORTING),
};
static const struct op_kind upload_kind = {"upload", state_names, S3_UPLOAD_STATE_COUNT, moves,
                                           upload_step};

/* Handed over, then under way, then stored; its bytes are held until it is stored or dropped. */
struct part {
    struct list_node node; /* in one of the upload's three lists */
    unsigned number;       /* from 1 */
    struct chain chain;
    struct s3_call *call; /* under way */
    struct op_reply reply;
    char *etag; /* stored; quoted as the server wrote it */
};

struct s3_upload {
    struct op op;
    struct s3 *s3;
    struct credit *credit;
    op_done_fn *done;
    void *ctx;
    char *key;
    unsigned max_parallel;

    struct list
        waiting; /* parts in the order of their numbers, all three lists by their progress */
    struct list in_flight;
    struct list stored; /* sorted by number */
    unsigned part_count, in_flight_count;
    size_t last_part_bytes;
    size_t waiting_bytes; /* handed over and not stored */
    uint64_t total_bytes; /* of the object, as far as it is known */
    bool ended;           /* fact: the writer has no more parts */
    bool was_cut;         /* a part was cancelled under way: the server may still store it */
    bool abort_repeated;

    struct s3_call *call; /* the one request of every state but SENDING */
    struct op_reply reply;
    char *upload_id;
};

/* ---------------------------------------------------------------- parts */

static void forget_call(struct s3_call **call)
{
    s3_call_free(*call);
    *call = NULL;
}

/* The bytes go, and their credit with them: exactly once, since the chain is empty afterwards. */
static void release_bytes(struct s3_upload *upload, struct part *part)
{
    size_t bytes = part->chain.bytes;

    chain_release(&part->chain);
    upload->waiting_bytes -= bytes;
    credit_give(upload->credit, bytes);
}

static void free_part(struct s3_upload *upload, struct part *part)
{
    list_remove(&part->node);
    release_bytes(upload, part);
    mem_free(part->etag);
    mem_free(part);
}

static void drop_waiting(struct s3_upload *upload)
{
    struct list_node *node;

    while ((node = list_first(&upload->waiting))) {
        free_part(upload, CONTAINER_OF(node, struct part, node));
    }
}

static struct part *first_part(struct list *list)
{
    struct list_node *node = list_first(list);

    return node ? CONTAINER_OF(node, struct part, node) : NULL;
}

/* Answers come in any order; the list to complete by is in the order of numbers. */
static void store_part(struct s3_upload *upload, struct part *part)
{
    struct list_node *after = upload->stored.head.prev;

    while (after != &upload->stored.head &&
           CONTAINER_OF(after, struct part, node)->number > part->number) {
        after = after->prev;
    }
    list_remove(&part->node);
    list_insert_before(after->next, &part->node);
    part->etag = mem_alloc(part->call->etag.len + 1);
    memcpy(part->etag, part->call->etag.ptr, part->call->etag.len);
    release_bytes(upload, part);
    if (upload->s3->figures) {
        upload->s3->figures->parts++;
    }
}

/* ---------------------------------------------------------------- life */

static void upload_done(void *ctx, struct error *err)
{
    struct s3_upload *upload = ctx;

    CHECK(upload->waiting_bytes == 0);
    upload->s3->call_count--;
    upload->done(upload->ctx, err);
}

struct s3_upload *s3_upload_new(struct s3 *s3,
                                struct span key,
                                struct credit *credit,
                                unsigned max_parallel,
                                op_done_fn *done,
                                void *ctx)
{
    struct s3_upload *upload = mem_alloc(sizeof(*upload));

    CHECK(max_parallel > 0);
    upload->s3 = s3;
    upload->credit = credit;
    upload->max_parallel = max_parallel;
    upload->done = done;
    upload->ctx = ctx;
    upload->key = mem_alloc(key.len + 1);
    memcpy(upload->key, key.ptr, key.len);
    list_init(&upload->waiting);
    list_init(&upload->in_flight);
    list_init(&upload->stored);
    op_init(&upload->op, s3->loop, &upload_kind, upload_done, upload);
    s3->call_count++;
    return upload;
}

void s3_upload_add_part(struct s3_upload *upload, struct chain *chain)
{
    struct part *part = mem_alloc(sizeof(*part));

    CHECK(!upload->ended);
    CHECK(upload->part_count < S3_MAX_PARTS);
    CHECK(upload->part_count == 0 || upload->last_part_bytes >= S3_MIN_PART_BYTES);
    part->number = ++upload->part_count;
    chain_init(&part->chain, chain->pool);
    chain_move(&part->chain, chain);
    upload->last_part_bytes = part->chain.bytes;
    upload->total_bytes += part->chain.bytes;
    upload->waiting_bytes += part->chain.bytes;
    list_node_init(&part->node);
    list_push(&upload->waiting, &part->node);
    if (upload->op.finished) {
        drop_waiting(upload); /* its end is on the way to the owner */
    }
    op_mark(&upload->op);
}

void s3_upload_end(struct s3_upload *upload)
{
    upload->ended = true;
    op_mark(&upload->op);
}

void s3_upload_cancel(struct s3_upload *upload)
{
    op_cancel(&upload->op);
}

void s3_upload_free(struct s3_upload *upload)
{
    struct part *part;

    if (!upload) {
        return;
    }
    while ((part = first_part(&upload->stored))) {
        free_part(upload, part);
    }
    mem_free(upload->upload_id);
    mem_free(upload->key);
    mem_free(upload);
}

size_t s3_upload_waiting_bytes(const struct s3_upload *upload)
{
    return upload->waiting_bytes;
}

unsigned s3_upload_part_count(const struct s3_upload *upload)
{
    return upload->part_count;
}

/* What fails after a cancel fails because of it, or does not matter any more. */
static void note_failure(struct s3_upload *upload, struct error *err)
{
    if (upload->op.cancel_asked) {
        error_drop(err, "the upload was cancelled");
    } else {
        op_fail(&upload->op, err);
    }
}

/* ---------------------------------------------------------------- the only part */

static void begin_put(struct s3_upload *upload)
{
    struct part *part = first_part(&upload->waiting);

    op_set_state(&upload->op, S3_UPLOAD_PUTTING);
    op_reply_expect(&upload->reply, &upload->op);
    upload->call = s3_call_put_chain(upload->s3, span_of(upload->key), part ? &part->chain : NULL,
                                     op_reply_done, &upload->reply);
}

static void step_putting(struct s3_upload *upload)
{
    struct error *err;

    if (upload->op.cancel_asked) {
        s3_call_cancel(upload->call);
    }
    if (!op_reply_take(&upload->reply, &err)) {
        return;
    }
    forget_call(&upload->call);
    if (!err && upload->part_count > 0 && upload->s3->figures) {
        upload->s3->figures->parts++;
    }
    drop_waiting(upload);
    if (err) {
        note_failure(upload, err);
        op_finish(&upload->op);
    } else {
        op_finish_won(&upload->op);
    }
}

/* ---------------------------------------------------------------- many parts */

static void begin_create(struct s3_upload *upload)
{
    op_set_state(&upload->op, S3_UPLOAD_CREATING);
    op_reply_expect(&upload->reply, &upload->op);
    upload->call =
        s3_call_create_upload(upload->s3, span_of(upload->key), op_reply_done, &upload->reply);
}

static void step_opening(struct s3_upload *upload)
{
    if (op_must_stop(&upload->op)) {
        drop_waiting(upload);
        op_finish(&upload->op);
    } else if (upload->part_count > 1) {
        begin_create(upload);
    } else if (upload->ended) {
        begin_put(upload);
    }
}

static void begin_abort(struct s3_upload *upload)
{
    op_reply_expect(&upload->reply, &upload->op);
    upload->call = s3_abort_upload(upload->s3, span_of(upload->key), span_of(upload->upload_id),
                                   op_reply_done, &upload->reply);
}

static void turn_to_abort(struct s3_upload *upload)
{
    drop_waiting(upload);
    op_set_state(&upload->op, S3_UPLOAD_ABORTING);
    begin_abort(upload);
}

/* A cancel does not cut the request off: an upload whose id is lost cannot be aborted. */
static void step_creating(struct s3_upload *upload)
{
    struct error *err;

    if (op_must_stop(&upload->op)) {
        s3_call_set_last_try(upload->call);
    }
    if (!op_reply_take(&upload->reply, &err)) {
        return;
    }
    if (!err) {
        upload->upload_id = mem_strdup(upload->call->upload_id.ptr);
    }
    forget_call(&upload->call);
    if (err) {
        drop_waiting(upload);
        note_failure(upload, err);
        op_finish(&upload->op);
    } else if (op_must_stop(&upload->op)) {
        turn_to_abort(upload);
    } else {
        op_set_state(&upload->op, S3_UPLOAD_SENDING);
    }
}

/* While the server asks to slow down, parts go singly. */
static unsigned allowed_parts(const struct s3_upload *upload)
{
    return loop_now_ms(upload->op.loop) < upload->s3->calm_until_ms ? 1 : upload->max_parallel;
}

static void send_waiting(struct s3_upload *upload)
{
    struct part *part;

    while (upload->in_flight_count < allowed_parts(upload) &&
           (part = first_part(&upload->waiting))) {
        list_remove(&part->node);
        list_push(&upload->in_flight, &part->node);
        upload->in_flight_count++;
        op_reply_expect(&part->reply, &upload->op);
        part->call = s3_call_put_part(upload->s3, span_of(upload->key), span_of(upload->upload_id),
                                      part->number, &part->chain, op_reply_done, &part->reply);
    }
}

static void settle_part(struct s3_upload *upload, struct part *part, struct error *err)
{
    upload->in_flight_count--;
    if (!err) {
        store_part(upload, part);
        forget_call(&part->call);
        return;
    }
    if (error_code_of(err) == ERROR_CANCELLED) {
        error_drop(err, "the whole upload ends, and says why itself");
    } else {
        note_failure(upload, err);
    }
    forget_call(&part->call);
    free_part(upload, part);
}

static void settle_parts(struct s3_upload *upload)
{
    LIST_FOR_EACH(node, &upload->in_flight)
    {
        struct part *part = CONTAINER_OF(node, struct part, node);
        struct error *err;

        if (op_reply_take(&part->reply, &err)) {
            settle_part(upload, part, err);
        }
    }
}

static void cut_parts(struct s3_upload *upload)
{
    LIST_FOR_EACH(node, &upload->in_flight)
    {
        s3_call_cancel(CONTAINER_OF(node, struct part, node)->call);
        upload->was_cut = true;
    }
}

static void write_part_list(struct s3_upload *upload, struct buf *out)
{
    buf_add_str(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    LIST_FOR_EACH(node, &upload->stored)
    {
        const struct part *part = CONTAINER_OF(node, struct part, node);

        buf_printf(out, "<Part><PartNumber>%u</PartNumber><ETag>", part->number);
        for (const char *c = part->etag; *c; c++) {
            switch (*c) {
            case '&':
                buf_add_str(out, "&amp;");
                break;
            case '<':
                buf_add_str(out, "&lt;");
                break;
            default:
                buf_add_byte(out, *c);
            }
        }
        buf_add_str(out, "</ETag></Part>");
    }
    buf_add_str(out, "</CompleteMultipartUpload>");
}

static void begin_complete(struct s3_upload *upload)
{
    struct buf body;

    buf_init(&body, (size_t)S3_MAX_PARTS * 2048);
    write_part_list(upload, &body);
    CHECK(!buf_is_full(&body));
    op_set_state(&upload->op, S3_UPLOAD_COMPLETING);
    op_reply_expect(&upload->reply, &upload->op);
    upload->call =
        s3_call_complete_upload(upload->s3, span_of(upload->key), span_of(upload->upload_id),
                                buf_view(&body), op_reply_done, &upload->reply);
    buf_done(&body);
}

static void step_sending(struct s3_upload *upload)
{
    settle_parts(upload);
    if (op_must_stop(&upload->op)) {
        drop_waiting(upload);
        cut_parts(upload);
    } else {
        send_waiting(upload);
    }
    if (upload->in_flight_count > 0) {
        return; /* an answer marks us again */
    }
    if (op_must_stop(&upload->op)) {
        turn_to_abort(upload);
    } else if (upload->ended) {
        begin_complete(upload);
    }
}

/* ---------------------------------------------------------------- the end */

static void fail_and_abort(struct s3_upload *upload, struct error *err)
{
    note_failure(upload, err);
    turn_to_abort(upload);
}

/* A cancel that comes now waits for this one answer: the object is there or it is not. */
static void step_completing(struct s3_upload *upload)
{
    struct error *err;
    bool was_repeated;

    if (upload->op.cancel_asked) {
        s3_call_set_last_try(upload->call);
    }
    if (!op_reply_take(&upload->reply, &err)) {
        return;
    }
    was_repeated = upload->call->was_repeated;
    forget_call(&upload->call);
    if (!err) {
        op_finish_won(&upload->op);
    } else if (was_repeated && s3_verdict_is(err, "NoSuchUpload")) {
        error_drop(err, "an earlier attempt may have completed it; the object tells");
        op_set_state(&upload->op, S3_UPLOAD_CHECKING);
        op_reply_expect(&upload->reply, &upload->op);
        upload->call =
            s3_call_head(upload->s3, span_of(upload->key), 0, op_reply_done, &upload->reply);
    } else {
        fail_and_abort(upload, err);
    }
}

static void step_checking(struct s3_upload *upload)
{
    struct error *err;
    uint64_t size;

    if (!op_reply_take(&upload->reply, &err)) {
        return;
    }
    size = s3_call_size(upload->call);
    forget_call(&upload->call);
    if (!err && size == upload->total_bytes) {
        op_finish_won(&upload->op);
        return;
    }
    if (!err) {
        err = error_new(ERROR_HTTP, ERROR_ABORT, "the object has %llu bytes and not %llu",
                        (unsigned long long)size, (unsigned long long)upload->total_bytes);
    }
    error_set_class(err, error_class_of(err) == ERROR_CONFIG ? ERROR_ABORT : error_class_of(err));
    fail_and_abort(upload, error_wrap(err, "the upload of s3://%s/%s was lost on completion",
                                      s3_bucket(upload->s3), upload->key));
}

static void step_aborting(struct s3_upload *upload)
{
    struct error *err;

    if (!op_reply_take(&upload->reply, &err)) {
        return;
    }
    forget_call(&upload->call);
    drop_waiting(upload); /* the writer may not have noticed yet */
    if (!err && upload->was_cut && !upload->abort_repeated) {
        upload->abort_repeated = true;
        begin_abort(upload);
        return;
    }
    if (err && !upload->op.err) {
        upload->op.err = error_new(ERROR_CANCELLED, ERROR_ABORT, "upload was cancelled");
    }
    op_fail(&upload->op, err); /* a note: parts are left behind until the next sweep */
    op_finish(&upload->op);
}

static void upload_step(struct op *op)
{
    struct s3_upload *upload = CONTAINER_OF(op, struct s3_upload, op);

    switch ((enum s3_upload_state)op->state) {
    case S3_UPLOAD_OPENING:
        step_opening(upload);
        break;
    case S3_UPLOAD_PUTTING:
        step_putting(upload);
        break;
    case S3_UPLOAD_CREATING:
        step_creating(upload);
        break;
    case S3_UPLOAD_SENDING:
        step_sending(upload);
        break;
    case S3_UPLOAD_COMPLETING:
        step_completing(upload);
        break;
    case S3_UPLOAD_CHECKING:
        step_checking(upload);
        break;
    case S3_UPLOAD_ABORTING:
        step_aborting(upload);
        break;
    case S3_UPLOAD_STATE_COUNT:
        CHECK(false);
    }
}
