/* Which files a COPY loads: those of its manifest, or all whose keys begin with its prefix. In
 * comes the statement from copy.c, out goes a list of files or Redshift's words for what S3 said.
 */
#include "sandbox/copy_load.h"

#include <inttypes.h>
#include <string.h>

enum {
    MANIFEST_BYTES_MAX = 64 * 1024 * 1024,
};

/* The block that Redshift puts into DETAIL for failures outside the data. */
void copy_put_detail(struct load *l, const char *context)
{
    text_format(l->ret->detail, sizeof l->ret->detail,
                "\n  -----------------------------------------------\n"
                "  error:  %.1000s\n"
                "  code:      8001\n"
                "  context:   %.600s\n"
                "  query:     %" PRId64 "\n"
                "  location:  s3_utility.cpp\n"
                "  process:   padbmaster [pid=%s]\n"
                "  -----------------------------------------------\n",
                l->ret->message, context, l->ret->copy_id,
                l->table.session_id == NULL ? "0" : l->table.session_id);
}

bool copy_fail_s3(struct load *l, const struct s3_failure *f, const char *context)
{
    if (f->status == 0) {
        copy_fail(l->ret, "XX000", "S3CurlException: %s", f->message);
    } else {
        copy_fail(l->ret, "XX000",
                  "S3ServiceException:%s,Status %ld,Error %s,Rid %s,ExtRid %s,"
                  "CanRetry 1",
                  f->message, f->status, f->code, f->request_id, f->host_id);
    }
    copy_put_detail(l, context);
    return false;
}

struct gathered {
    struct load *load;
    const char *bucket;
    struct bytes text; /* of the manifest */
    bool too_long;
};

static bool on_manifest_bytes(void *ctx, const char *at, size_t len)
{
    struct gathered *g = ctx;
    if (g->text.len + len > MANIFEST_BYTES_MAX) {
        g->too_long = true;
        return false;
    }
    bytes_put(&g->text, at, len);
    return true;
}

static bool read_manifest(struct load *l, const char *bucket, const char *key)
{
    struct gathered g = {.load = l, .bucket = bucket};
    struct s3_failure failure;
    char why[256];
    bool ok = false;
    switch (s3_get(l->reader, bucket, key, on_manifest_bytes, &g, &failure)) {
    case S3_DONE:
        ok = manifest_parse((struct piece){g.text.at, g.text.len}, &l->files, why, sizeof why);
        if (!ok) {
            copy_fail(l->ret, "XX000", "Problem reading manifest file - %s", why);
            copy_put_detail(l, l->st.source);
        }
        break;
    case S3_STOPPED:
        copy_fail(l->ret, "XX000", "Problem reading manifest file - it is too long");
        break;
    case S3_FAILED:
        (void)copy_fail_s3(l, &failure, l->st.source);
        if (failure.status != 0) {
            struct copy_outcome plain = *l->ret;
            copy_fail(l->ret, "XX000", "Problem reading manifest file - %.1900s", plain.message);
            copy_put_detail(l, l->st.source);
        }
        break;
    }
    bytes_done(&g.text);
    return ok;
}

static bool on_key(void *ctx, const char *key, int64_t size)
{
    struct gathered *g = ctx;
    struct manifest_entry entry = {.mandatory = true};
    (void)size;
    struct bytes bucket = {0}, copy = {0};
    bytes_put_text(&bucket, g->bucket);
    bytes_put_text(&copy, key);
    (void)bytes_text(&bucket);
    (void)bytes_text(&copy);
    entry.bucket = bucket.at;
    entry.key = copy.at;
    bytes_put(&g->text, &entry, sizeof entry);
    g->load->files.count++;
    return true;
}

static bool list_prefix(struct load *l, const char *bucket, const char *prefix)
{
    struct gathered g = {.load = l, .bucket = bucket};
    struct s3_failure failure;
    enum s3_result result = s3_list(l->reader, bucket, prefix, on_key, &g, &failure);
    l->files.entries = (void *)g.text.at;
    if (result != S3_DONE) {
        char context[1400];
        text_format(context, sizeof context, "Listing bucket=%s prefix=%s", bucket, prefix);
        return copy_fail_s3(l, &failure, context);
    }
    if (l->files.count == 0) {
        copy_fail(l->ret, "XX000", "The specified S3 prefix '%s' does not exist", prefix);
        copy_put_detail(l, "");
        return false;
    }
    return true;
}

bool copy_find_files(struct load *l)
{
    const char *bucket_at = l->st.source + strlen("s3://");
    size_t bucket_len = strcspn(bucket_at, "/");
    const char *key = bucket_at + bucket_len;
    key += *key == '/';
    char bucket[256];
    text_format(bucket, sizeof bucket, "%.*s", (int)(bucket_len < 255 ? bucket_len : 255),
                bucket_at);
    return l->st.manifest ? read_manifest(l, bucket, key) : list_prefix(l, bucket, key);
}
