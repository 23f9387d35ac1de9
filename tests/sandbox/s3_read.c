/*
 * Reading a bucket for COPY: GET of an object as a stream, ListObjectsV2 with its pages. Bytes go
 * to callbacks; what they mean is the affair of copy.c. Blocking, one connection kept alive.
 *
 * Transport failures and 5xx answers are tried again a few times, as COPY itself does; an answer
 * of the 4xx family is final.
 */
#include "sandbox/s3_read.h"

#include "sandbox/copy_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

enum {
    ATTEMPTS = 4,
    FIRST_PAUSE_MS = 100,
    CONNECT_SECONDS = 10,
    SILENCE_SECONDS = 60,
    ERROR_BODY_MAX = 64 * 1024,
    LIST_BODY_MAX = 16 * 1024 * 1024,
};

/* The payload hash S3 wants as a header. libcurl 7.88 signs it when it is given, and does not add
 * it by itself to a GET. */
#define EMPTY_BODY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct s3_reader {
    CURL *curl;
    char *access_key_id, *secret_access_key, *session_token, *region, *endpoint;
    char curl_error[CURL_ERROR_SIZE];
};

/* One exchange and what came of it. */
struct exchange {
    struct s3_reader *reader;
    bool (*data)(void *ctx, const char *at, size_t len);
    void *ctx;
    long status; /* of the answer, 0 before its body */
    int64_t delivered;
    bool stopped;
    struct bytes error_body;
    char etag[128];
    char request_id[64], host_id[128];
};

static char *copy_text(const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        abort();
    }
    return copy;
}

struct s3_reader *s3_reader_new(const struct s3_access *access)
{
    struct s3_reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        abort();
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    r->curl = curl_easy_init();
    if (r->curl == NULL) {
        abort();
    }
    r->access_key_id = copy_text(access->access_key_id);
    r->secret_access_key = copy_text(access->secret_access_key);
    r->session_token = copy_text(access->session_token);
    r->region = copy_text(access->region);
    r->endpoint = copy_text(access->endpoint);
    return r;
}

static void wipe(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

void s3_reader_free(struct s3_reader *r)
{
    if (r != NULL) {
        curl_easy_cleanup(r->curl);
        wipe(r->access_key_id);
        wipe(r->secret_access_key);
        wipe(r->session_token);
        free(r->region);
        free(r->endpoint);
        free(r);
    }
}

/* ------------------------------------------------------------------ addresses */

/* Percent-encodes all but the unreserved characters; a path keeps its slashes. S3 signs what is
 * sent, encoded once. */
static void put_encoded(struct bytes *to, const char *text, bool keep_slashes)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c) != NULL || (keep_slashes && c == '/');
        if (plain) {
            bytes_put_char(to, (char)c);
        } else {
            bytes_printf(to, "%%%02X", c);
        }
    }
}

static void
put_address(const struct s3_reader *r, const char *bucket, const char *key, struct bytes *to)
{
    if (r->endpoint != NULL) {
        size_t len = strlen(r->endpoint);
        while (len > 0 && r->endpoint[len - 1] == '/') {
            len--;
        }
        bytes_put(to, r->endpoint, len);
    } else {
        const char *suffix = strncmp(r->region, "cn-", 3) == 0 ? ".cn" : "";
        bytes_printf(to, "https://s3.%s.amazonaws.com%s", r->region, suffix);
    }
    bytes_put_char(to, '/');
    put_encoded(to, bucket, false);
    if (key != NULL) {
        bytes_put_char(to, '/');
        put_encoded(to, key, true);
    }
}

/* ------------------------------------------------------------------ XML, as far as it is needed */

/* The text between <name> and </name> at or after `*at`, entities resolved; `*at` moves behind it.
 * NULL (and `*at` stays) when there is none before `end`. The caller frees it. */
static char *take_element(const char **at, const char *end, const char *name)
{
    char open[48], close[48];
    text_format(open, sizeof open, "<%s>", name);
    text_format(close, sizeof close, "</%s>", name);
    const char *start = strstr(*at, open);
    if (start == NULL || start >= end) {
        return NULL;
    }
    start += strlen(open);
    const char *stop = strstr(start, close);
    if (stop == NULL || stop > end) {
        return NULL;
    }
    *at = stop + strlen(close);
    struct bytes text = {0};
    while (start < stop) {
        static const struct {
            const char *entity;
            char c;
        } entities[] = {
            {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
        bool replaced = false;
        for (size_t i = 0; i < sizeof entities / sizeof *entities && !replaced; i++) {
            size_t len = strlen(entities[i].entity);
            if (strncmp(start, entities[i].entity, len) == 0) {
                bytes_put_char(&text, entities[i].c);
                start += len;
                replaced = true;
            }
        }
        if (!replaced && start[0] == '&' && start[1] == '#') {
            char *after;
            unsigned long code =
                start[2] == 'x' ? strtoul(start + 3, &after, 16) : strtoul(start + 2, &after, 10);
            if (*after == ';' && code < 0x80) { /* controls and quotes; text itself is UTF-8 */
                bytes_put_char(&text, (char)code);
                start = after + 1;
                replaced = true;
            }
        }
        if (!replaced) {
            bytes_put_char(&text, *start++);
        }
    }
    (void)bytes_text(&text);
    return text.at;
}

static void read_element(struct bytes *xml, const char *name, char *to, size_t size)
{
    const char *at = bytes_text(xml);
    char *text = take_element(&at, at + xml->len, name);
    text_format(to, size, "%s", text == NULL ? "" : text);
    free(text);
}

/* ------------------------------------------------------------------ one exchange */

static size_t on_body(char *at, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * count;
    if (x->status == 0) {
        curl_easy_getinfo(x->reader->curl, CURLINFO_RESPONSE_CODE, &x->status);
    }
    if (x->status != 200 && x->status != 206) {
        size_t room = ERROR_BODY_MAX - x->error_body.len;
        bytes_put(&x->error_body, at, len < room ? len : room);
        return len;
    }
    if (!x->data(x->ctx, at, len)) {
        x->stopped = true;
        return 0;
    }
    x->delivered += (int64_t)len;
    return len;
}

static void take_header(const char *at, size_t len, const char *name, char *to, size_t size)
{
    size_t name_len = strlen(name);
    if (len > name_len && strncasecmp(at, name, name_len) == 0) {
        at += name_len;
        len -= name_len;
        while (len > 0 && *at == ' ') {
            at++;
            len--;
        }
        while (len > 0 && (at[len - 1] == '\r' || at[len - 1] == '\n')) {
            len--;
        }
        text_format(to, size, "%.*s", (int)len, at);
    }
}

static size_t on_header(char *at, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * count;
    take_header(at, len, "x-amz-request-id:", x->request_id, sizeof x->request_id);
    take_header(at, len, "x-amz-id-2:", x->host_id, sizeof x->host_id);
    if (x->delivered == 0) {
        take_header(at, len, "etag:", x->etag, sizeof x->etag);
    }
    return len;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    struct bytes line = {0};
    bytes_printf(&line, "%s: %s", name, value);
    list = curl_slist_append(list, bytes_text(&line));
    explicit_bzero(line.at, line.len);
    bytes_done(&line);
    if (list == NULL) {
        abort();
    }
    return list;
}

static void prepare(struct exchange *x, const char *address, struct curl_slist *headers)
{
    struct s3_reader *r = x->reader;
    CURL *curl = r->curl;
    char scope[96];
    text_format(scope, sizeof scope, "aws:amz:%s:s3", r->region);
    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_URL, address);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* a key may have // and .. in it */
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, scope);
    curl_easy_setopt(curl, CURLOPT_USERNAME, r->access_key_id);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, r->secret_access_key);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_SECONDS);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->curl_error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    if (x->delivered > 0) {
        curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)x->delivered);
    }
}

static void pause_before(int attempt)
{
    long ms = (long)FIRST_PAUSE_MS << attempt;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

static void explain(struct exchange *x, CURLcode got, struct s3_failure *ret)
{
    *ret = (struct s3_failure){.status = x->status};
    text_format(ret->request_id, sizeof ret->request_id, "%s", x->request_id);
    text_format(ret->host_id, sizeof ret->host_id, "%s", x->host_id);
    if (got != CURLE_OK) {
        ret->status = 0;
        text_format(ret->message, sizeof ret->message, "%s",
                    x->reader->curl_error[0] != '\0' ? x->reader->curl_error
                                                     : curl_easy_strerror(got));
        return;
    }
    read_element(&x->error_body, "Code", ret->code, sizeof ret->code);
    read_element(&x->error_body, "Message", ret->message, sizeof ret->message);
    if (ret->message[0] == '\0') {
        text_format(ret->message, sizeof ret->message, "HTTP status %ld", x->status);
    }
}

/* Sends the request until it is answered for good. */
static enum s3_result exchange(struct exchange *x, const char *address, struct s3_failure *ret)
{
    for (int attempt = 0;; attempt++) {
        struct curl_slist *headers = add_header(NULL, "x-amz-content-sha256", EMPTY_BODY_SHA256);
        if (x->reader->session_token != NULL) {
            headers = add_header(headers, "x-amz-security-token", x->reader->session_token);
        }
        if (x->delivered > 0 && x->etag[0] != '\0') {
            headers = add_header(headers, "if-match", x->etag);
        }
        x->status = 0;
        x->error_body.len = 0;
        x->reader->curl_error[0] = '\0';
        int64_t before = x->delivered;
        prepare(x, address, headers);
        CURLcode got = curl_easy_perform(x->reader->curl);
        curl_slist_free_all(headers);
        if (x->stopped) {
            return S3_STOPPED;
        }
        curl_easy_getinfo(x->reader->curl, CURLINFO_RESPONSE_CODE, &x->status);
        if (got == CURLE_OK && x->status == (before > 0 ? 206 : 200)) {
            return S3_DONE;
        }
        bool hopeless = got == CURLE_OK
                            ? x->status < 500
                            : got == CURLE_UNSUPPORTED_PROTOCOL || got == CURLE_URL_MALFORMAT ||
                                  got == CURLE_RANGE_ERROR;
        if (hopeless || attempt + 1 == ATTEMPTS) {
            explain(x, got, ret);
            return S3_FAILED;
        }
        pause_before(attempt);
    }
}

/* ------------------------------------------------------------------ doors */

enum s3_result s3_get(struct s3_reader *reader,
                      const char *bucket,
                      const char *key,
                      bool (*data)(void *ctx, const char *at, size_t len),
                      void *ctx,
                      struct s3_failure *ret)
{
    struct exchange x = {.reader = reader, .data = data, .ctx = ctx};
    struct bytes address = {0};
    put_address(reader, bucket, key, &address);
    enum s3_result result = exchange(&x, bytes_text(&address), ret);
    bytes_done(&address);
    bytes_done(&x.error_body);
    return result;
}

static bool gather(void *ctx, const char *at, size_t len)
{
    struct bytes *body = ctx;
    if (body->len + len > LIST_BODY_MAX) {
        return false;
    }
    bytes_put(body, at, len);
    return true;
}

/* Hands on the keys of one page. False when the callback stops. */
static bool read_page(struct bytes *xml, bool (*found)(void *, const char *, int64_t), void *ctx)
{
    const char *at = bytes_text(xml);
    const char *end = at + xml->len;
    bool go_on = true;
    while (go_on) {
        const char *contents = strstr(at, "<Contents>");
        const char *stop = contents == NULL ? NULL : strstr(contents, "</Contents>");
        if (stop == NULL || stop > end) {
            break;
        }
        const char *inside = contents;
        char *key = take_element(&inside, stop, "Key");
        inside = contents;
        char *size = take_element(&inside, stop, "Size");
        if (key != NULL) {
            go_on = found(ctx, key, size == NULL ? 0 : strtoll(size, NULL, 10));
        }
        free(key);
        free(size);
        at = stop;
    }
    return go_on;
}

enum s3_result s3_list(struct s3_reader *reader,
                       const char *bucket,
                       const char *prefix,
                       bool (*found)(void *ctx, const char *key, int64_t size),
                       void *ctx,
                       struct s3_failure *ret)
{
    char *token = NULL;
    enum s3_result result = S3_DONE;
    bool more = true;
    while (more && result == S3_DONE) {
        struct bytes body = {0}, address = {0};
        struct exchange x = {.reader = reader, .data = gather, .ctx = &body};
        /* The query is signed as it stands: names in order, values encoded. */
        put_address(reader, bucket, NULL, &address);
        bytes_put_char(&address, '?');
        if (token != NULL) {
            bytes_put_text(&address, "continuation-token=");
            put_encoded(&address, token, false);
            bytes_put_char(&address, '&');
        }
        bytes_put_text(&address, "list-type=2&prefix=");
        put_encoded(&address, prefix, false);
        result = exchange(&x, bytes_text(&address), ret);
        if (result == S3_STOPPED) {
            *ret = (struct s3_failure){.status = x.status, .message = "the listing is too long"};
            result = S3_FAILED;
        }
        more = false;
        if (result == S3_DONE && strstr(bytes_text(&body), "</ListBucketResult>") == NULL) {
            *ret = (struct s3_failure){.status = x.status, .message = "the listing is cut off"};
            result = S3_FAILED;
        }
        if (result == S3_DONE) {
            char truncated[8];
            read_element(&body, "IsTruncated", truncated, sizeof truncated);
            const char *at = bytes_text(&body);
            free(token);
            token = take_element(&at, at + body.len, "NextContinuationToken");
            more = strcmp(truncated, "true") == 0 && token != NULL;
            if (!read_page(&body, found, ctx)) {
                result = S3_STOPPED;
            }
        }
        bytes_done(&body);
        bytes_done(&address);
        bytes_done(&x.error_body);
    }
    free(token);
    return result;
}
