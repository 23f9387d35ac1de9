#ifndef S3_CALL_H
#define S3_CALL_H

/*
 * One call as an operation: sign, send, judge, and again while that helps. What is particular to a
 * call (which request, what its answer means, whether another page follows) is told by its maker:
 * client.c for the calls of the door, upload.c for the steps of an upload.
 */

#include "keyring.h"
#include "reply.h"

#include "base/list.h"
#include "runtime/backoff.h"
#include "runtime/timer.h"
#include "s3/client.h"
#include "sign.h"

#define S3_MAX_KEY 1024             /* bytes; S3's bound */
#define S3_MAX_TOKEN ((size_t)2048) /* upload ids and list tokens; S3's own are far shorter */
#define S3_MAX_REPLY ((size_t)4 * 1024 * 1024) /* a page of 1,000 long keys has about 1.5 MB */

struct s3 {
    struct loop *loop;
    struct http_client *http;
    struct arena *arena; /* for the texts below */
    struct s3_endpoint endpoint;
    struct s3_keyring *keyring;
    const char *kms_key_id; /* NULL: the bucket encrypts as it likes */
    struct random random;
    struct backoff_policy policy;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    struct figures *figures;
    struct s3_sign_key key;
    unsigned key_number;    /* the keys that it was made of, as s3_keys counts them */
    int64_t clock_offset;   /* server's clock minus ours, once it complained */
    uint64_t calm_until_ms; /* the server asked to slow down: fewer parts at a time until then */
    unsigned call_count;    /* calls and uploads that are not done */
    struct list calls;      /* that are not done */
    uint64_t give_up_at_ms; /* of the loop's clock: no call lasts longer; 0: they take their time */
};

/* A good (2xx) answer came. NULL accepts it; an error of class RETRY has the request sent again.
 * May describe another request in call->request and set call->goes_on. */
typedef struct error *s3_judge_fn(struct s3_call *call);

struct s3_request {
    const char *purpose; /* "writing", for errors */
    const char *method;
    struct span key; /* empty: the bucket itself */
    struct s3_sign_pair query[S3_SIGN_MAX_QUERY];
    unsigned query_count;
    const struct chain *chain; /* lent until done; or NULL */
    struct span body;          /* in the call's arena */
    bool must_have_md5;
    bool creates_object; /* it may say how the object is to be encrypted */
    size_t max_response_bytes;
    unsigned max_attempts; /* 0: the usual number */
    const char *fine_code; /* an S3 code that means success here, or NULL */
    s3_judge_fn *judge;    /* or NULL */
};

/* SHA-256 of a chain on the thread pool: all that a worker sees. */
struct s3_hash_job {
    const struct chain *chain;
    char hex[2 * DIGEST_SHA256_BYTES + 1];
};

struct s3_call {
    struct op op;
    struct s3 *s3;
    struct list_node node;     /* in s3->calls */
    struct arena *arena;       /* copies of what the maker gave */
    struct arena *reply_arena; /* the last answer, parsed */
    struct arena *page_arena;  /* lists: where the next page begins; or NULL */
    struct s3_request request;
    op_done_fn *done;
    void *ctx;

    unsigned attempt;  /* 1: the first */
    bool was_repeated; /* the server may have seen the request before its last answer */
    bool last_try;     /* no retries any more: the owner winds down */
    bool skew_corrected;
    struct s3_keys_wait keys_wait;
    unsigned keys_number; /* that signed the last attempt */
    bool keys_doubted;    /* HEAD: a refusal without a reason was laid to the keys once */
    bool goes_on;         /* judge: another request follows */
    bool hash_started, hash_ended;
    struct s3_hash_job hash;
    struct http_exchange *exchange;
    struct op_reply reply;
    struct timer *timer;
    struct timer *limit; /* runs when s3->give_up_at_ms is set */
    struct error *cause; /* why it waits for another attempt */

    /* What particular calls find out or need. */
    uint64_t size;         /* HEAD */
    size_t max_bytes;      /* GET */
    struct span etag;      /* of a part, in the arena */
    struct span upload_id; /* of a new upload, in the arena */
    void *each_ctx;        /* lists */
    s3_object_fn *each_object;
    s3_open_upload_fn *each_upload;
    const struct span *keys; /* DeleteObjects: all of them, in the arena */
    size_t key_count, key_at, batch_count;
    char *owned_body; /* of the batch under way */
    bool has_long_key;
    size_t failed_count;
    struct error *first_failure;
};

/* Not started yet: the maker fills in request and calls s3_call_start. arena_bytes bounds what will
 * be copied into call->arena. */
struct s3_call *s3_call_new(struct s3 *s3, size_t arena_bytes, op_done_fn *done, void *ctx);
void s3_call_start(struct s3_call *call);
void s3_call_add_query(struct s3_call *call, const char *name, struct span value); /* copies */
/* Takes back all but the first `kept` parameters; what is added afterwards is for the next page. */
void s3_call_turn_page(struct s3_call *call, unsigned kept);
/* The attempt under way is the last one. */
void s3_call_set_last_try(struct s3_call *call);
/* May this attempt be followed by another? */
bool s3_call_may_repeat(const struct s3_call *call);

/* Calls that only an upload makes. key, upload_id and etags are copied. */
struct s3_call *
s3_call_head(struct s3 *s3, struct span key, unsigned max_attempts, op_done_fn *done, void *ctx);
struct s3_call *s3_call_put_chain(
    struct s3 *s3, struct span key, const struct chain *chain, op_done_fn *done, void *ctx);
struct s3_call *s3_call_create_upload(struct s3 *s3, struct span key, op_done_fn *done, void *ctx);
struct s3_call *s3_call_put_part(struct s3 *s3,
                                 struct span key,
                                 struct span upload_id,
                                 unsigned number,
                                 const struct chain *chain,
                                 op_done_fn *done,
                                 void *ctx);
/* body: the list of parts */
struct s3_call *s3_call_complete_upload(struct s3 *s3,
                                        struct span key,
                                        struct span upload_id,
                                        struct span body,
                                        op_done_fn *done,
                                        void *ctx);

#endif
