/*
 * txn/manifests: the lists of files that COPY reads. In: object keys. Out: one small object per
 * COPY, all of them put side by side. Knows nothing of what is copied where.
 */

#include "txn/engine.h"

#include "stage/manifest.h"

#define MANIFEST_MAX_BYTES ((size_t)64 * 1024 * 1024)

void manifests_init(struct manifests *manifests, struct txn *txn, struct op *parent)
{
    *manifests = (struct manifests){.txn = txn, .parent = parent};
}

static void put_done(void *ctx, struct error *err)
{
    struct manifests *manifests = ctx;

    manifests->err = error_join(manifests->err, err);
    manifests->left--;
    op_mark(manifests->parent);
}

void manifests_put(struct manifests *manifests,
                   struct span key,
                   const struct names *files,
                   struct trash *trash)
{
    struct s3 *s3 = manifests->txn->options.s3;
    struct buf body;

    buf_init(&body, MANIFEST_MAX_BYTES);
    manifest_add(&body, span_of(s3_bucket(s3)), files->items, files->count);
    CHECK(!buf_is_full(&body));
    if (manifests->count == manifests->cap) {
        manifests->cap = manifests->cap ? manifests->cap * 2 : 8;
        manifests->calls = mem_realloc(manifests->calls, manifests->cap * sizeof *manifests->calls);
    }
    /* Noted before it is sent: whatever becomes of the request, the object is deleted. */
    trash_add(trash, key);
    manifests->left++;
    manifests->calls[manifests->count++] = s3_put(s3, key, buf_view(&body), put_done, manifests);
    buf_done(&body);
}

void manifests_cancel(struct manifests *manifests)
{
    for (unsigned i = 0; i < manifests->count; i++) {
        s3_call_cancel(manifests->calls[i]);
    }
}

bool manifests_take(struct manifests *manifests, struct error **ret_err)
{
    if (manifests->left) {
        return false;
    }
    *ret_err = manifests->err;
    manifests->err = NULL;
    return true;
}

void manifests_done(struct manifests *manifests)
{
    CHECK(manifests->left == 0);
    for (unsigned i = 0; i < manifests->count; i++) {
        s3_call_free(manifests->calls[i]);
    }
    mem_free(manifests->calls);
    error_drop(manifests->err, "nobody asked for these manifests any more");
    *manifests = (struct manifests){0};
}
