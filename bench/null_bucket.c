/* A bucket that costs next to nothing: objects in memory, no signature is looked at, every request
 * is answered at once. For benches, so that the figures are the connector's and not those of a
 * bucket.
 *
 * usage: null_bucket READY_FILE   (writes http://127.0.0.1:PORT there when it listens; SIGTERM ends
 * it)
 */

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    char *at;
    size_t len, room;
};

/* An object, or the parts of one that is not complete: then the name is "key?uploadId". */
struct object {
    char name[1200];
    struct bytes body;
    char etag[40];
    struct object *next;
};

enum { SHELVES = 1024, DELETE_KEY_BYTES = 1100 };

static struct {
    pthread_mutex_t lock;
    struct object *shelves[SHELVES];
    unsigned uploads;
} bucket = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* One request. Its body is the future object's. */
struct request {
    struct bytes body;
};

static void add(struct bytes *to, const void *at, size_t len)
{
    if (to->room - to->len < len + 1) {
        to->room = (to->room + len) * 2 + 4096;
        to->at = realloc(to->at, to->room);
        if (to->at == NULL) {
            abort();
        }
    }
    memcpy(to->at + to->len, at, len);
    to->len += len;
    to->at[to->len] = '\0';
}

static void add_text(struct bytes *to, const char *text)
{
    add(to, text, strlen(text));
}

/* ---- objects; all with the lock held */

static struct object **find(const char *name)
{
    uint32_t sum = 2166136261U;
    for (const char *at = name; *at != '\0'; at++) {
        sum = (sum ^ (unsigned char)*at) * 16777619U;
    }
    struct object **link = &bucket.shelves[sum % SHELVES];
    while (*link != NULL && strcmp((*link)->name, name) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static void drop(const char *name)
{
    struct object **link = find(name);
    struct object *object = *link;
    if (object != NULL) {
        *link = object->next;
        free(object->body.at);
        free(object);
    }
}

/* Takes the body. */
static struct object *put(const char *name, struct bytes *body, const char *etag)
{
    drop(name);
    struct object *object = calloc(1, sizeof(*object));
    if (object == NULL) {
        abort();
    }
    struct object **link = find(name);
    (void)snprintf(object->name, sizeof(object->name), "%s", name);
    (void)snprintf(object->etag, sizeof(object->etag), "%s", etag);
    object->body = *body;
    *body = (struct bytes){0};
    *link = object;
    return object;
}

static void tag(const struct bytes *body, char ret[40])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    (void)EVP_Digest(body->len > 0 ? body->at : "", body->len, sum, &len, EVP_md5(), NULL);
    for (unsigned i = 0; i < len; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", sum[i]);
    }
}

/* ---- answers */

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, struct bytes *body, const char *etag)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, body->at, MHD_RESPMEM_MUST_FREE);
    char quoted[64];
    (void)snprintf(quoted, sizeof(quoted), "\"%s\"", etag != NULL ? etag : "");
    if (etag != NULL) {
        (void)MHD_add_response_header(response, "ETag", quoted);
    }
    *body = (struct bytes){0};
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static bool has(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                         NULL, NULL) == MHD_YES;
}

static const char *value(struct MHD_Connection *connection, const char *name)
{
    const char *found = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    return found != NULL ? found : "";
}

/* Contents of the bucket whose keys begin with prefix; url is "/bucket". */
static void list(const char *url, const char *prefix, struct bytes *out)
{
    char begin[1200];
    const size_t root = strlen(url) + (url[strlen(url) - 1] != '/');
    (void)snprintf(begin, sizeof(begin), "%.*s/%s", (int)(root - 1), url, prefix);
    add_text(out, "<ListBucketResult><IsTruncated>false</IsTruncated>");
    for (size_t i = 0; i < SHELVES; i++) {
        for (const struct object *object = bucket.shelves[i]; object; object = object->next) {
            if (strncmp(object->name, begin, strlen(begin)) == 0 && !strchr(object->name, '?')) {
                char row[1400];
                (void)snprintf(row, sizeof(row),
                               "<Contents><Key>%s</Key><Size>%zu</Size></Contents>",
                               object->name + root, object->body.len);
                add_text(out, row);
            }
        }
    }
    add_text(out, "</ListBucketResult>");
}

static void delete_listed(const char *url, const struct bytes *body)
{
    const char *at = body->len > 0 ? body->at : "";
    while ((at = strstr(at, "<Key>")) != NULL) {
        const char *end = strstr(at += strlen("<Key>"), "</Key>");
        char name[1200];
        if (end == NULL || end - at > DELETE_KEY_BYTES) {
            return;
        }
        const char *slash = url[strlen(url) - 1] == '/' ? "" : "/";
        (void)snprintf(name, sizeof(name), "%.64s%s%.*s", url, slash, (int)(end - at), at);
        drop(name);
    }
}

static void complete(const char *url, const char *upload, struct bytes *ret_body)
{
    for (unsigned part = 1;; part++) {
        char name[1200];
        (void)snprintf(name, sizeof(name), "%.1000s?%.60s#%u", url, upload, part);
        struct object *object = *find(name);
        if (object == NULL) {
            return;
        }
        if (ret_body != NULL) {
            add(ret_body, object->body.at, object->body.len);
        }
        drop(name);
    }
}

static enum MHD_Result
take_put(struct MHD_Connection *connection, const char *url, struct request *request)
{
    struct bytes none = {0};
    char etag[40] = "";
    char name[1200];

    tag(&request->body, etag);
    if (has(connection, "partNumber")) {
        (void)snprintf(name, sizeof(name), "%.1000s?%.60s#%.8s", url, value(connection, "uploadId"),
                       value(connection, "partNumber"));
    } else {
        (void)snprintf(name, sizeof(name), "%.1100s", url);
    }
    (void)put(name, &request->body, etag);
    return answer(connection, 200, &none, etag);
}

static enum MHD_Result
take_post(struct MHD_Connection *connection, const char *url, struct request *request)
{
    struct bytes out = {0};
    char row[1400];

    if (has(connection, "delete")) {
        delete_listed(url, &request->body);
        add_text(&out, "<DeleteResult/>");
    } else if (has(connection, "uploads")) {
        (void)snprintf(row, sizeof(row),
                       "<InitiateMultipartUploadResult><UploadId>u%u</UploadId>"
                       "</InitiateMultipartUploadResult>",
                       ++bucket.uploads);
        add_text(&out, row);
    } else {
        struct bytes body = {0};
        complete(url, value(connection, "uploadId"), &body);
        (void)put(url, &body, "whole-1");
        add_text(&out, "<CompleteMultipartUploadResult><ETag>\"whole-1\"</ETag>"
                       "</CompleteMultipartUploadResult>");
    }
    return answer(connection, 200, &out, NULL);
}

static enum MHD_Result take_get(struct MHD_Connection *connection, const char *url)
{
    struct bytes out = {0};

    if (has(connection, "uploads")) {
        add_text(&out, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
                       "</ListMultipartUploadsResult>");
        return answer(connection, 200, &out, NULL);
    }
    if (strchr(url + 1, '/') == NULL || url[strlen(url) - 1] == '/') {
        list(url, value(connection, "prefix"), &out);
        return answer(connection, 200, &out, NULL);
    }
    const struct object *object = *find(url);
    if (object == NULL) {
        add_text(&out, "<Error><Code>NoSuchKey</Code></Error>");
        return answer(connection, 404, &out, NULL);
    }
    add(&out, object->body.len > 0 ? object->body.at : "", object->body.len);
    return answer(connection, 200, &out, object->etag);
}

static enum MHD_Result take_delete(struct MHD_Connection *connection, const char *url)
{
    struct bytes none = {0};
    if (has(connection, "uploadId")) {
        complete(url, value(connection, "uploadId"), NULL);
    } else {
        drop(url);
    }
    return answer(connection, 204, &none, NULL);
}

static enum MHD_Result take(void *ctx,
                            struct MHD_Connection *connection,
                            const char *url,
                            const char *method,
                            const char *version,
                            const char *upload,
                            size_t *upload_bytes,
                            void **of_request)
{
    struct request *request = *of_request;
    enum MHD_Result result;

    (void)ctx;
    (void)version;
    if (request == NULL) {
        *of_request = calloc(1, sizeof(*request));
        return *of_request != NULL ? MHD_YES : MHD_NO;
    }
    if (*upload_bytes > 0) {
        add(&request->body, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    (void)pthread_mutex_lock(&bucket.lock);
    if (strcmp(method, "PUT") == 0) {
        result = take_put(connection, url, request);
    } else if (strcmp(method, "POST") == 0) {
        result = take_post(connection, url, request);
    } else if (strcmp(method, "DELETE") == 0) {
        result = take_delete(connection, url);
    } else {
        result = take_get(connection, url);
    }
    (void)pthread_mutex_unlock(&bucket.lock);
    return result;
}

static void forget(void *ctx,
                   struct MHD_Connection *connection,
                   void **of_request,
                   enum MHD_RequestTerminationCode code)
{
    struct request *request = *of_request;

    (void)ctx;
    (void)connection;
    (void)code;
    if (request != NULL) {
        free(request->body.at);
        free(request);
        *of_request = NULL;
    }
}

int main(int argc, char **argv)
{
    const struct sockaddr_in loopback = {.sin_family = AF_INET,
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sigset_t ends;
    int got;

    if (argc != 2) {
        (void)fputs("usage: null_bucket READY_FILE\n", stderr);
        return 1;
    }
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, take, NULL,
        MHD_OPTION_SOCK_ADDR, &loopback, MHD_OPTION_NOTIFY_COMPLETED, forget, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)256 * 1024, MHD_OPTION_END);
    if (daemon == NULL) {
        (void)fputs("null_bucket: cannot listen\n", stderr);
        return 1;
    }
    const unsigned port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    FILE *ready = fopen(argv[1], "w");
    if (ready == NULL || fprintf(ready, "http://127.0.0.1:%u\n", port) < 0 || fclose(ready) != 0) {
        (void)fprintf(stderr, "null_bucket: %s: cannot write\n", argv[1]);
        return 1;
    }
    (void)sigwait(&ends, &got);
    MHD_stop_daemon(daemon);
    for (size_t i = 0; i < SHELVES; i++) {
        while (bucket.shelves[i] != NULL) {
            drop(bucket.shelves[i]->name);
        }
    }
    return 0;
}
