/*
 * Room s3, pure: judges answers. Status, headers and the <Error> document come in, an error with a
 * class and a hint goes out. Only the code is compared; messages are for people and change. A code
 * that is not in the table is judged by its status.
 */

#include "verdict.h"

#include "base/text.h"

#include <stdio.h>

#define MAX_MESSAGE 300

struct code_row {
    const char *code;
    enum error_class cls;
    const char *hint; /* or NULL */
};

static const char hint_rights[] =
    "The access key may not do this. Its user needs s3:PutObject, s3:GetObject, s3:DeleteObject "
    "and "
    "s3:AbortMultipartUpload on the bucket's objects, and s3:ListBucket and "
    "s3:ListBucketMultipartUploads on the bucket.";
static const char hint_expired[] = "The session token is no longer valid. Provide a new one.";

static const char hint_kms[] =
    "The KMS key of advanced.kms_key_id cannot be used. It must exist in the bucket's region, be "
    "enabled, and allow kms:GenerateDataKey and kms:Decrypt to the access key.";

static const struct code_row code_rows[] = {
    /* busy, or the line was bad */
    {"InternalError", ERROR_RETRY, NULL},
    {"ServiceUnavailable", ERROR_RETRY, NULL},
    {"SlowDown", ERROR_RETRY, NULL},
    {"RequestTimeout", ERROR_RETRY, NULL}, /* says 400: our bytes came too slowly */
    {"OperationAborted", ERROR_RETRY, NULL},
    {"ConditionalRequestConflict", ERROR_RETRY, NULL},
    {"BadDigest", ERROR_RETRY, NULL},
    {"IncompleteBody", ERROR_RETRY, NULL},
    {"XAmzContentSHA256Mismatch", ERROR_RETRY, NULL},
    /* a person must change something */
    {"AccessDenied", ERROR_CONFIG, hint_rights},
    {"AllAccessDisabled", ERROR_CONFIG, NULL},
    {"InvalidAccessKeyId", ERROR_CONFIG, "The access key ID does not exist. Check it."},
    {"SignatureDoesNotMatch", ERROR_CONFIG,
     "The secret access key does not belong to this access key ID. Check both."},
    {"ExpiredToken", ERROR_CONFIG, hint_expired},
    {"InvalidToken", ERROR_CONFIG, hint_expired},
    {"TokenRefreshRequired", ERROR_CONFIG, hint_expired},
    {"RequestTimeTooSkewed", ERROR_CONFIG,
     "This machine's clock and that of the server differ too much. Set the clock."},
    {"NoSuchBucket", ERROR_CONFIG, "The bucket does not exist. Check its name."},
    {"AuthorizationHeaderMalformed", ERROR_CONFIG, "Check the region and the access key ID."},
    {"PermanentRedirect", ERROR_CONFIG, "Check the bucket's region."},
    {"TemporaryRedirect", ERROR_CONFIG, "Check the bucket's region."},
    {"KMS.NotFoundException", ERROR_CONFIG, hint_kms},
    {"KMS.DisabledException", ERROR_CONFIG, hint_kms},
    {"KMS.KMSInvalidStateException", ERROR_CONFIG, hint_kms},
    {"KMS.InvalidKeyUsageException", ERROR_CONFIG, hint_kms},
    {"KeyTooLongError", ERROR_CONFIG, "Choose a shorter path in the bucket."},
    /* someone else ended or changed the upload: this transaction is lost, the next one is not */
    {"NoSuchUpload", ERROR_ABORT, NULL},
    {"InvalidPart", ERROR_ABORT, NULL},
    {"InvalidPartOrder", ERROR_ABORT, NULL},
};

static enum error_class class_of_status(unsigned status)
{
    switch (status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return ERROR_RETRY;
    case 301:
    case 302:
    case 307:
    case 308:
    case 401:
    case 403:
    case 404:
    case 407:
        return ERROR_CONFIG;
    default:
        return ERROR_FATAL;
    }
}

static const struct code_row *find_code(struct span code)
{
    for (size_t i = 0; i < ARRAY_LEN(code_rows); i++) {
        if (span_is(code, code_rows[i].code)) {
            return &code_rows[i];
        }
    }
    return NULL;
}

/* HEAD has no body, so no code: these say as much. */
static const char *code_of_status(unsigned status)
{
    switch (status) {
    case 403:
        return "AccessDenied";
    case 404:
        return "NoSuchKey";
    case 503:
        return "ServiceUnavailable";
    default:
        return "";
    }
}

static struct span cut(struct span text, size_t max)
{
    return (struct span){text.ptr, text_utf8_cut(text, max)};
}

/* Redirects and a malformed scope have one cause worth naming: the bucket lives elsewhere. */
static struct error *judge_region(const struct s3_verdict_facts *facts, const char *origin)
{
    struct span region = facts->reply.region.len > 0 ? facts->reply.region : facts->bucket_region;
    bool may_be_region = (facts->status >= 301 && facts->status <= 308) || facts->status == 400;
    struct error *err;

    region = cut(region, 63);
    if (!may_be_region || region.len == 0 || span_is(region, facts->region_signed_with)) {
        return NULL;
    }
    err = error_new_from(ERROR_HTTP, ERROR_CONFIG, origin,
                         "the bucket is in region \"%.*s\" and not in \"%s\"", SPAN_FMT(region),
                         facts->region_signed_with);
    error_set_hint(err, "Set the region to %.*s.", SPAN_FMT(region));
    return err;
}

struct error *s3_verdict(const struct s3_verdict_facts *facts)
{
    const struct s3_reply_error *reply = &facts->reply;
    struct span code =
        reply->code.len > 0 ? cut(reply->code, 80) : span_of(code_of_status(facts->status));
    struct span id = cut(reply->request_id.len > 0 ? reply->request_id : facts->request_id, 80);
    struct span message = cut(reply->message, MAX_MESSAGE);
    const struct code_row *row = find_code(code);
    char origin[100];
    struct error *err;

    snprintf(origin, sizeof(origin), "%u%s%.*s", facts->status, code.len > 0 ? " " : "",
             SPAN_FMT(code));
    err = judge_region(facts, origin);
    if (err) {
        return err;
    }
    if (message.len == 0) {
        message = SPAN_LIT("the server gave no reason");
    }
    err = error_new_from(ERROR_HTTP, row ? row->cls : class_of_status(facts->status), origin,
                         "%.*s%s%.*s", SPAN_FMT(message), id.len > 0 ? ", request id " : "",
                         SPAN_FMT(id));
    if (row && row->hint) {
        error_set_hint(err, "%s", row->hint);
    }
    return err;
}

bool s3_verdict_is(const struct error *err, const char *code)
{
    const char *origin = error_origin(err);
    const char *blank = strchr(origin, ' ');

    return error_code_of(err) == ERROR_HTTP && blank && strcmp(blank + 1, code) == 0;
}

bool s3_verdict_is_throttle(const struct error *err)
{
    return s3_verdict_is(err, "SlowDown") || s3_verdict_is(err, "ServiceUnavailable") ||
           strncmp(error_origin(err), "429", 3) == 0;
}
