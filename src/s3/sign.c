/*
 * Room s3, pure: a request's description and a derived key come in, the text of its Authorization
 * header goes out. Knows no clock, no connection and no configuration.
 *
 *      key    HMAC("AWS4" secret, day) -> HMAC(., region) -> HMAC(., "s3") -> HMAC(.,
 * "aws4_request") text   method, path, query, headers, names of headers, hash of the payload; one
 * per line hex HMAC(key, "AWS4-HMAC-SHA256", time, scope, hex SHA-256(text))
 */

#include "sign.h"

#include "base/check.h"
#include "base/secret.h"
#include "base/text.h"

#define MAX_TEXT ((size_t)64 * 1024)

/* ---------------------------------------------------------------- time and key */

void s3_sign_time(char out[S3_SIGN_TIME_LEN + 1], int64_t unix_seconds)
{
    char iso[32]; /* 2013-05-24T00:00:00Z */
    size_t len = 0;

    text_time(iso, unix_seconds);
    for (const char *c = iso; *c && len < S3_SIGN_TIME_LEN; c++) {
        if (*c != '-' && *c != ':') {
            out[len++] = *c;
        }
    }
    out[len] = '\0';
}

static const char *service_of(const struct s3_sign_key *key)
{
    return key->service ? key->service : "s3";
}

static void chain_hmac(unsigned char key[DIGEST_SHA256_BYTES], const char *text)
{
    unsigned char out[DIGEST_SHA256_BYTES];

    digest_hmac_sha256((struct span){(const char *)key, DIGEST_SHA256_BYTES}, span_of(text), out);
    memcpy(key, out, sizeof(out));
}

void s3_sign_key_update(struct s3_sign_key *key,
                        struct span secret,
                        const char *region,
                        const char time[S3_SIGN_TIME_LEN + 1])
{
    struct buf first;

    if (memcmp(key->day, time, 8) == 0) {
        return;
    }
    memcpy(key->day, time, 8);
    key->day[8] = '\0';
    buf_init(&first, 4 + 4096);
    CHECK(buf_reserve(&first, 4 + secret.len)); /* at once, so that growing leaves no copy behind */
    buf_add_str(&first, "AWS4");
    buf_add_span(&first, secret);
    digest_hmac_sha256(buf_view(&first), span_of(key->day), key->bytes);
    secret_wipe(first.data, first.len);
    buf_done(&first);
    chain_hmac(key->bytes, region);
    chain_hmac(key->bytes, service_of(key));
    chain_hmac(key->bytes, "aws4_request");
}

/* ---------------------------------------------------------------- canonical request */

void s3_sign_add_path(struct buf *out, struct span path)
{
    text_add_percent(out, path, true);
}

/* The order is that of the encoded names. Encoding with '%' could change it, but the names of S3's
 * parameters are plain; so plain names are demanded and compared as they are. */
static void sort_pairs(const struct s3_sign_pair *pairs, unsigned count, unsigned *order)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned at = i;

        while (at > 0 && span_compare(pairs[i].name, pairs[order[at - 1]].name) < 0) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

static bool is_plain_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-') {
            return false;
        }
    }
    return name.len > 0;
}

void s3_sign_add_query(struct buf *out, const struct s3_sign_pair *query, unsigned count)
{
    unsigned order[S3_SIGN_MAX_QUERY];

    CHECK(count <= S3_SIGN_MAX_QUERY);
    sort_pairs(query, count, order);
    for (unsigned i = 0; i < count; i++) {
        const struct s3_sign_pair *pair = &query[order[i]];

        CHECK(is_plain_name(pair->name));
        if (i > 0) {
            buf_add_byte(out, '&');
        }
        buf_add_span(out, pair->name);
        buf_add_byte(out, '=');
        text_add_percent(out, pair->value, false);
    }
}

static void add_signed_names(struct buf *out, const struct s3_sign_request *request)
{
    unsigned order[S3_SIGN_MAX_HEADERS];

    CHECK(request->header_count <= S3_SIGN_MAX_HEADERS);
    sort_pairs(request->headers, request->header_count, order);
    for (unsigned i = 0; i < request->header_count; i++) {
        if (i > 0) {
            buf_add_byte(out, ';');
        }
        buf_add_span(out, request->headers[order[i]].name);
    }
}

/* Blanks around a value do not count, and a run of them inside counts as one. */
static void add_header_value(struct buf *out, struct span value)
{
    bool pending = false;
    bool started = false;

    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == ' ' || value.ptr[i] == '\t') {
            pending = started;
            continue;
        }
        if (pending) {
            buf_add_byte(out, ' ');
            pending = false;
        }
        buf_add_byte(out, value.ptr[i]);
        started = true;
    }
}

void s3_sign_add_canonical(struct buf *out, const struct s3_sign_request *request)
{
    unsigned order[S3_SIGN_MAX_HEADERS];

    CHECK(request->header_count <= S3_SIGN_MAX_HEADERS);
    sort_pairs(request->headers, request->header_count, order);
    buf_add_str(out, request->method);
    buf_add_byte(out, '\n');
    s3_sign_add_path(out, request->path);
    buf_add_byte(out, '\n');
    s3_sign_add_query(out, request->query, request->query_count);
    buf_add_byte(out, '\n');
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct s3_sign_pair *header = &request->headers[order[i]];

        buf_add_span(out, header->name);
        buf_add_byte(out, ':');
        add_header_value(out, header->value);
        buf_add_byte(out, '\n');
    }
    buf_add_byte(out, '\n');
    add_signed_names(out, request);
    buf_add_byte(out, '\n');
    buf_add_span(out, request->payload_hash);
}

/* ---------------------------------------------------------------- signature */

static void add_hex_of_canonical(struct buf *out, const struct s3_sign_request *request)
{
    unsigned char hash[DIGEST_SHA256_BYTES];
    struct buf text;

    buf_init(&text, MAX_TEXT);
    s3_sign_add_canonical(&text, request);
    CHECK(!buf_is_full(&text));
    digest_sha256(buf_view(&text), hash);
    text_add_hex(out, (struct span){(const char *)hash, sizeof(hash)});
    buf_done(&text);
}

void s3_sign_add_authorization(struct buf *out,
                               const struct s3_sign_request *request,
                               const struct s3_sign_key *key,
                               const char *access_key_id,
                               const char *region,
                               const char time[S3_SIGN_TIME_LEN + 1])
{
    unsigned char signature[DIGEST_SHA256_BYTES];
    struct buf text;

    CHECK(memcmp(key->day, time, 8) == 0);
    buf_init(&text, 1024);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n", time, key->day, region,
               service_of(key));
    add_hex_of_canonical(&text, request);
    CHECK(!buf_is_full(&text));
    digest_hmac_sha256((struct span){(const char *)key->bytes, sizeof(key->bytes)}, buf_view(&text),
                       signature);
    buf_done(&text);

    buf_printf(out,
               "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request,SignedHeaders=", access_key_id,
               key->day, region, service_of(key));
    add_signed_names(out, request);
    buf_add_str(out, ",Signature=");
    text_add_hex(out, (struct span){(const char *)signature, sizeof(signature)});
}
