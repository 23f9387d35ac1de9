/*
 * Room http: one request and its answer as an operation. A request comes in from a caller; status,
 * headers and body go out as facts, or an error of the network. Never interprets the answer, and
 * never writes a query string or a header into an error: they may hold signatures.
 *
 *      QUEUED --place free--> RUNNING --ended, stalled or cancelled--> done
 */

#include "exchange.h"

#include "base/secret.h"

#include <arpa/inet.h>
#include <strings.h>

/* How long the address behind a name is believed; libcurl's own is a minute. Services like S3 move
 * between addresses within seconds, and a retry is of no use at one that does not answer any more.
 * Connections that are made at the same time share a question. */
#define NAME_LIFE_SECONDS 1L
#define MAX_HEADER_BYTES ((size_t)64 * 1024)
#define UPLOAD_BUFFER_BYTES                                                                        \
    (512L * 1024) /* curl's default of 64 KiB means many small TLS records */

static op_step_fn exchange_step;
static const char *const state_names[] = {HTTP_EXCHANGE_STATES(OP_STATE_NAME)};
static const uint32_t moves[HTTP_EXCHANGE_STATE_COUNT] = {
    [HTTP_EXCHANGE_QUEUED] = OP_MOVE(HTTP_EXCHANGE_RUNNING),
};
static const struct op_kind exchange_kind = {"exchange", state_names, HTTP_EXCHANGE_STATE_COUNT,
                                             moves, exchange_step};

/* ---------------------------------------------------------------- the request, copied */

/* Loopback, and the addresses of this link at which clouds give a machine its own keys:
 * 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291) and fd00:ec2::/32 (Amazon's, for the same
 * services). Asked through a proxy they would give the keys of the proxy's machine. */
static bool is_near(const char *host)
{
    struct in_addr v4;

    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
        strncasecmp(host, "[fe80:", 6) == 0 || strncasecmp(host, "[fd00:ec2:", 10) == 0) {
        return true;
    }
    return inet_pton(AF_INET, host, &v4) == 1 &&
           (ntohl(v4.s_addr) >> 24 == 127 || ntohl(v4.s_addr) >> 16 == 0xa9fe);
}

/* Fills in peer and is_near; leaves peer NULL when the URL is none. */
static void read_url(struct http_exchange *exchange)
{
    CURLU *url = curl_url();
    char *host = NULL;
    char *port = NULL;

    CHECK(url);
    if (curl_url_set(url, CURLUPART_URL, exchange->url, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        struct buf peer;

        buf_init(&peer, 1024);
        buf_printf(&peer, "%s:%s", host, port);
        if (!buf_is_full(&peer)) {
            exchange->peer = buf_take(&peer, &(size_t){0});
            exchange->is_near = is_near(host);
        }
        buf_done(&peer);
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

static void add_header_line(struct http_exchange *exchange, const char *line)
{
    struct curl_slist *headers = curl_slist_append(exchange->headers, line);

    CHECK(headers);
    exchange->headers = headers;
}

static void copy_headers(struct http_exchange *exchange, const struct http_request *request)
{
    struct buf line;

    buf_init(&line, MAX_HEADER_BYTES);
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];

        buf_clear(&line);
        buf_add_span(&line, header->name);
        /* curl's way to send a header without a value is a semicolon */
        buf_add_str(&line, header->value.len > 0 ? ": " : ";");
        buf_add_span(&line, header->value);
        CHECK(!buf_is_full(&line) && !memchr(line.data, '\n', line.len));
        add_header_line(exchange, line.data);
        secret_wipe(line.data, line.len);
    }
    buf_done(&line);
    /* A header without a value takes back what curl would add by itself. Expect would cost a round
     * trip for each part of an upload. */
    add_header_line(exchange, "Expect:");
    add_header_line(exchange, "Accept:");
}

struct http_exchange *http_start(struct http_client *client,
                                 const struct http_request *request,
                                 op_done_fn *done,
                                 void *ctx)
{
    struct http_exchange *exchange = mem_alloc(sizeof(*exchange));

    exchange->client = client;
    exchange->method = mem_strdup(request->method);
    exchange->url = mem_strdup(request->url);
    exchange->body_chain = request->body_chain;
    exchange->body = request->body;
    exchange->body_bytes = request->body_chain ? request->body_chain->bytes : request->body.len;
    exchange->connect_timeout_ms = request->connect_timeout_ms;
    exchange->stall_timeout_ms = request->stall_timeout_ms;
    exchange->max_response_bytes = request->max_response_bytes;
    exchange->on_body = request->on_body;
    exchange->on_body_ctx = request->on_body_ctx;
    buf_init(&exchange->response_headers, MAX_HEADER_BYTES);
    buf_init(&exchange->response_body, request->max_response_bytes);
    read_url(exchange);
    copy_headers(exchange, request);
    op_init(&exchange->op, http_client_loop(client), &exchange_kind, done, ctx);
    exchange->stall_timer = timer_new(&exchange->op);
    http_client_queue(client, exchange);
    op_mark(&exchange->op);
    return exchange;
}

void http_cancel(struct http_exchange *exchange)
{
    op_cancel(&exchange->op);
}

/* Some of them are keys: a bearer's, a session token. */
static void wipe_headers(struct http_exchange *exchange)
{
    for (struct curl_slist *line = exchange->headers; line; line = line->next) {
        secret_wipe(line->data, strlen(line->data));
    }
}

void http_exchange_free(struct http_exchange *exchange)
{
    if (!exchange) {
        return;
    }
    wipe_headers(exchange);
    secret_wipe(exchange->response_body.data, exchange->response_body.len); /* may be keys, too */
    curl_slist_free_all(exchange->headers);
    buf_done(&exchange->response_headers);
    buf_done(&exchange->response_body);
    mem_free(exchange->peer);
    mem_free(exchange->url);
    mem_free(exchange->method);
    mem_free(exchange);
}

/* ---------------------------------------------------------------- callbacks: facts only */

static void note_progress(struct http_exchange *exchange)
{
    exchange->last_progress_ms = loop_now_ms(exchange->op.loop);
}

static int connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct http_exchange *exchange = ctx;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    exchange->connected = true;
    note_progress(exchange);
    op_mark(&exchange->op);
    return CURL_PREREQFUNC_OK;
}

static int
count_moved(void *ctx, curl_off_t dl_all, curl_off_t dl_now, curl_off_t ul_all, curl_off_t ul_now)
{
    struct http_exchange *exchange = ctx;
    uint64_t moved = (uint64_t)dl_now + (uint64_t)ul_now;

    (void)dl_all;
    (void)ul_all;
    if (moved != exchange->moved_bytes) {
        exchange->moved_bytes = moved;
        note_progress(exchange);
    }
    return 0;
}

static size_t read_body(char *out, size_t size, size_t count, void *ctx)
{
    struct http_exchange *exchange = ctx;
    size_t room = size * count;
    size_t filled = 0;

    if (!exchange->body_chain) {
        filled = exchange->body.len - exchange->body_offset;
        filled = filled < room ? filled : room;
        if (filled > 0) {
            memcpy(out, exchange->body.ptr + exchange->body_offset, filled);
            exchange->body_offset += filled;
        }
        return filled;
    }
    while (filled < room) {
        struct span run = chain_next(&exchange->cursor, room - filled);

        if (run.len == 0) {
            break;
        }
        memcpy(out + filled, run.ptr, run.len);
        filled += run.len;
    }
    return filled;
}

/* libcurl rewinds when a kept connection turns out to be closed (and only then, to 0 in practice);
 * the position is counted from the start (CURLOPT_SEEKFUNCTION(3)). */
static int seek_body(void *ctx, curl_off_t offset, int origin)
{
    struct http_exchange *exchange = ctx;
    size_t target = (size_t)offset;

    if (origin != SEEK_SET || offset < 0 || target > exchange->body_bytes) {
        return CURL_SEEKFUNC_FAIL;
    }
    exchange->was_resent = true;
    exchange->body_offset = target;
    if (exchange->body_chain) {
        exchange->cursor = chain_begin(exchange->body_chain);
        while (target > 0) {
            target -= chain_next(&exchange->cursor, target).len;
        }
    }
    return CURL_SEEKFUNC_OK;
}

/* Lines come one by one. A status line begins a new block: what a 100 brought is forgotten. */
static size_t take_header(char *line, size_t size, size_t count, void *ctx)
{
    struct http_exchange *exchange = ctx;
    struct span text = {line, size * count};

    if (span_starts_with(text, SPAN_LIT("HTTP/"))) {
        buf_clear(&exchange->response_headers);
    }
    buf_add_span(&exchange->response_headers, text);
    note_progress(exchange);
    if (buf_is_full(&exchange->response_headers)) {
        exchange->headers_too_large = true;
        return 0; /* ends the transfer */
    }
    return text.len;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct http_exchange *exchange = ctx;
    struct span text = {bytes, size * count};

    note_progress(exchange);
    if (text.len > exchange->max_response_bytes - exchange->response_bytes) {
        exchange->is_too_large = true;
        return 0; /* ends the transfer */
    }
    exchange->response_bytes += text.len;
    if (exchange->on_body) {
        exchange->on_body(exchange->on_body_ctx, text);
    } else {
        buf_add_span(&exchange->response_body, text);
    }
    return text.len;
}

/* ---------------------------------------------------------------- the easy handle */

static void prepare_method(struct http_exchange *exchange, CURL *easy)
{
    const char *method = exchange->method;

    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (exchange->body_bytes > 0 || strcmp(method, "PUT") == 0 ||
               strcmp(method, "POST") == 0) {
        /* curl's word for "has a body of known length"; the length is sent even when it is 0 */
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)exchange->body_bytes);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_body);
        curl_easy_setopt(easy, CURLOPT_READDATA, exchange);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
        if (exchange->body_bytes > (size_t)CURL_MAX_WRITE_SIZE) {
            curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
        }
    } else {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    }
}

static void prepare_trust(struct http_exchange *exchange, CURL *easy, const char *ca_file)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (exchange->is_near) {
        /* Else libcurl goes by https_proxy, http_proxy, all_proxy and no_proxy
         * (libcurl-env(3)). */
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    }
}

void http_exchange_prepare(struct http_exchange *exchange, CURL *easy, const char *ca_file)
{
    if (exchange->body_chain) {
        exchange->cursor = chain_begin(exchange->body_chain);
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    curl_easy_setopt(easy, CURLOPT_URL, exchange->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* the path was signed as it is */
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a cancel does not wait for the resolver */
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, NAME_LIFE_SECONDS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)exchange->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error_text);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, connected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, count_moved);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, exchange);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    prepare_method(exchange, easy);
    prepare_trust(exchange, easy, ca_file);
}

void http_exchange_end(struct http_exchange *exchange, CURLcode result)
{
    long status = 0;

    if (curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK) {
        exchange->status = (unsigned)status;
    }
    if (curl_easy_getinfo(exchange->easy, CURLINFO_HTTP_CONNECTCODE, &status) == CURLE_OK) {
        exchange->proxy_status = (unsigned)status;
    }
    exchange->ended = true;
    exchange->result = result;
    op_mark(&exchange->op);
}

/* ---------------------------------------------------------------- what went wrong */

/* libcurl's results that happen: their name, what is to be done, and whether libcurl's own sentence
 * says more than the constant one without showing more than host and port. */
struct result_row {
    CURLcode result;
    const char *name;
    enum error_class cls;
    bool is_text_safe;
};

#define RESULT(name, cls, is_text_safe)                                                            \
    {                                                                                              \
        name, #name, cls, is_text_safe                                                             \
    }

static const struct result_row result_rows[] = {
    RESULT(CURLE_COULDNT_RESOLVE_HOST, ERROR_RETRY, true),
    RESULT(CURLE_COULDNT_RESOLVE_PROXY, ERROR_RETRY, true),
    RESULT(CURLE_COULDNT_CONNECT, ERROR_RETRY, true),
    RESULT(CURLE_OPERATION_TIMEDOUT, ERROR_RETRY, false),
    RESULT(CURLE_SEND_ERROR, ERROR_RETRY, true),
    RESULT(CURLE_RECV_ERROR, ERROR_RETRY, true),
    RESULT(CURLE_GOT_NOTHING, ERROR_RETRY, false),
    RESULT(CURLE_PARTIAL_FILE, ERROR_RETRY, true),
    RESULT(CURLE_WEIRD_SERVER_REPLY, ERROR_RETRY, false),
    RESULT(CURLE_SSL_CONNECT_ERROR, ERROR_RETRY, true),
    RESULT(CURLE_PEER_FAILED_VERIFICATION, ERROR_CONFIG, true),
    RESULT(CURLE_SSL_CACERT_BADFILE, ERROR_CONFIG, false),
    RESULT(CURLE_URL_MALFORMAT, ERROR_CONFIG, false),
    RESULT(CURLE_UNSUPPORTED_PROTOCOL, ERROR_CONFIG, false),
};

static const struct result_row *find_result(CURLcode result)
{
    static const struct result_row other = {CURLE_OK, "libcurl", ERROR_RETRY, false};

    for (size_t i = 0; i < ARRAY_LEN(result_rows); i++) {
        if (result_rows[i].result == result) {
            return &result_rows[i];
        }
    }
    return &other;
}

/* What libcurl says of a proxy's URL that it cannot use has the whole URL in it, password included.
 */
static bool is_about_a_url(const char *text)
{
    return strchr(text, '@') || strstr(text, "://") || strstr(text, "proxy syntax");
}

static const char *words_of(const struct http_exchange *exchange, const struct result_row *row)
{
    const char *text = exchange->error_text;

    return row->is_text_safe && text[0] != '\0' && !is_about_a_url(text)
               ? text
               : curl_easy_strerror(exchange->result);
}

/* 4xx: it will not, and says so; 5xx: it could not reach the other side, which may change. */
static struct error *explain_proxy(const struct http_exchange *exchange)
{
    bool is_refusal = exchange->proxy_status / 100 == 4;
    char origin[16];

    (void)snprintf(origin, sizeof(origin), "%u", exchange->proxy_status);
    struct error *err =
        error_new_from(ERROR_HTTP, is_refusal ? ERROR_CONFIG : ERROR_RETRY, origin,
                       "the proxy in front of %s opened no connection", exchange->peer);
    if (exchange->proxy_status == 407) {
        error_set_hint(err, "The proxy wants a user and a password: https_proxy in the environment "
                            "is http://USER:PASSWORD@HOST:PORT.");
    } else if (is_refusal) {
        error_set_hint(err,
                       "The proxy of https_proxy does not allow this host. Let it, or name the "
                       "host in no_proxy.");
    }
    return err;
}

/* OpenSSL's words for a server that has nothing as new as we ask for. */
static bool speaks_old_tls(const struct http_exchange *exchange)
{
    return exchange->result == CURLE_SSL_CONNECT_ERROR &&
           (strstr(exchange->error_text, "unsupported protocol") ||
            strstr(exchange->error_text, "protocol version"));
}

static struct error *explain_result(const struct http_exchange *exchange)
{
    const struct result_row *row = find_result(exchange->result);
    struct error *err;

    if (exchange->proxy_status >= 300) {
        return explain_proxy(exchange);
    }
    if (exchange->is_too_large) {
        return error_new(ERROR_HTTP, ERROR_FATAL, "%s answered with more than %zu bytes",
                         exchange->peer, exchange->max_response_bytes);
    }
    if (exchange->headers_too_large) {
        return error_new(ERROR_HTTP, ERROR_FATAL, "%s answered with more than %zu bytes of headers",
                         exchange->peer, MAX_HEADER_BYTES);
    }
    if (exchange->result == CURLE_OPERATION_TIMEDOUT) {
        return error_new(ERROR_TIMEOUT, ERROR_RETRY, "no connection to %s within %llu ms",
                         exchange->peer, (unsigned long long)exchange->connect_timeout_ms);
    }
    err = error_new_from(ERROR_HTTP, row->cls, row->name, "exchange with %s: %s", exchange->peer,
                         words_of(exchange, row));
    if (speaks_old_tls(exchange)) {
        error_set_class(err, ERROR_CONFIG);
        error_set_hint(err, "The server must speak TLS 1.2 or later.");
    }
    if (exchange->result == CURLE_PEER_FAILED_VERIFICATION) {
        error_set_hint(err, "The server's certificate was not accepted. Check the host's name, and "
                            "that its issuer is among the trusted authorities.");
    }
    return err;
}

static struct error *explain_stall(const struct http_exchange *exchange)
{
    return error_new(ERROR_TIMEOUT, ERROR_RETRY, "no byte from or to %s for %llu ms",
                     exchange->peer, (unsigned long long)exchange->stall_timeout_ms);
}

/* ---------------------------------------------------------------- the step */

/* The timer is not restarted at each byte: when it fires, the time of the last byte decides. */
static bool is_stalled(struct http_exchange *exchange)
{
    uint64_t quiet_ms;

    if (!exchange->connected || exchange->stall_timeout_ms == 0) {
        return false; /* until then the connect timeout counts */
    }
    quiet_ms = loop_now_ms(exchange->op.loop) - exchange->last_progress_ms;
    if (quiet_ms >= exchange->stall_timeout_ms) {
        return true;
    }
    if (!timer_is_running(exchange->stall_timer)) {
        timer_start(exchange->stall_timer, exchange->stall_timeout_ms - quiet_ms);
    }
    return false;
}

static void step_queued(struct http_exchange *exchange)
{
    if (!exchange->peer) {
        op_fail(&exchange->op,
                error_new(ERROR_HTTP, ERROR_CONFIG, "the address of a request is not a URL"));
    }
    if (op_must_stop(&exchange->op)) {
        http_client_drop(exchange->client, exchange);
        op_finish(&exchange->op);
    }
}

static void step_running(struct http_exchange *exchange)
{
    if (exchange->ended && exchange->result == CURLE_OK) {
        op_finish_won(&exchange->op);
        return;
    }
    if (exchange->ended) {
        op_fail(&exchange->op, explain_result(exchange));
    } else if (is_stalled(exchange)) {
        op_fail(&exchange->op, explain_stall(exchange));
    }
    if (op_must_stop(&exchange->op)) {
        http_client_drop(exchange->client, exchange);
        op_finish(&exchange->op);
    }
}

static void exchange_step(struct op *op)
{
    struct http_exchange *exchange = CONTAINER_OF(op, struct http_exchange, op);

    switch ((enum http_exchange_state)op->state) {
    case HTTP_EXCHANGE_QUEUED:
        step_queued(exchange);
        break;
    case HTTP_EXCHANGE_RUNNING:
        step_running(exchange);
        break;
    case HTTP_EXCHANGE_STATE_COUNT:
        CHECK(false);
    }
}

/* ---------------------------------------------------------------- the answer */

unsigned http_response_status(const struct http_exchange *exchange)
{
    return exchange->status;
}

struct span http_response_body(const struct http_exchange *exchange)
{
    return buf_view(&exchange->response_body);
}

bool http_was_resent(const struct http_exchange *exchange)
{
    return exchange->was_resent;
}

static struct span trim(struct span text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct span http_response_header(const struct http_exchange *exchange, const char *name)
{
    struct span rest = buf_view(&exchange->response_headers);
    size_t name_len = strlen(name);

    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t line_len = end ? (size_t)(end - rest.ptr) : rest.len;

        if (line_len > name_len && rest.ptr[name_len] == ':' &&
            strncasecmp(rest.ptr, name, name_len) == 0) {
            return trim((struct span){rest.ptr + name_len + 1, line_len - name_len - 1});
        }
        rest.ptr += end ? line_len + 1 : line_len;
        rest.len -= end ? line_len + 1 : line_len;
    }
    return SPAN_NONE;
}
