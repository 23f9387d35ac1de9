/* harness/bucket: see bucket.h. Requests are signed by libcurl. */

#include "harness/bucket.h"

#include "support/story.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>

#define URL_LEN 1536

static size_t drop(char *bytes, size_t size, size_t count, void *ctx)
{
    (void)bytes;
    (void)ctx;
    return size * count;
}

/* Ready but for what is done; ends with end_request. method: NULL for GET, or for POST's cousin
 * with a body, by its name. */
static CURL *begin_request(const char *method,
                           const char *key,
                           const void *body,
                           size_t len,
                           struct curl_slist **ret_headers)
{
    char url[URL_LEN], user[256], region[128];
    CURL *curl = curl_easy_init();

    snprintf(url, sizeof url, "%s/%s/%s", story_environment("AWS_ENDPOINT_URL_S3"),
             story_environment("LOCAL_S3_BUCKET"), key);
    snprintf(user, sizeof user, "%s:%s", story_environment("LOCAL_S3_KEY"),
             story_environment("LOCAL_S3_SECRET"));
    snprintf(region, sizeof region, "aws:amz:%s:s3", story_environment("LOCAL_S3_REGION"));
    *ret_headers = curl_slist_append(NULL, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
    if (!curl || !*ret_headers) {
        abort();
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_USERPWD, user);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, region);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *ret_headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    }
    if (method) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
    return curl;
}

static long end_request(CURL *curl, struct curl_slist *headers)
{
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}

static long request(const char *method,
                    const char *key,
                    const void *body,
                    size_t len,
                    bucket_take_fn *take,
                    void *ctx)
{
    struct curl_slist *headers;
    CURL *curl = begin_request(method, key, body, len, &headers);

    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, ctx);
    bool is_answered = curl_easy_perform(curl) == CURLE_OK;
    long status = end_request(curl, headers);
    return is_answered ? status : 0;
}

long bucket_get(const char *key, bucket_take_fn *take, void *ctx)
{
    return request(NULL, key, NULL, 0, take, ctx);
}

long bucket_put(const char *key, const void *bytes, size_t len)
{
    return request("PUT", key, bytes, len, drop, NULL);
}

long bucket_delete(const char *key)
{
    return request("DELETE", key, NULL, 0, drop, NULL);
}

bool bucket_put_many(const char *name, unsigned count)
{
    CURLM *multi = curl_multi_init();
    CURL **requests = calloc(count, sizeof *requests);
    struct curl_slist **headers = calloc(count, sizeof *headers);
    unsigned done = 0;
    int left = 1;

    if (!multi || !requests || !headers) {
        abort();
    }
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 6L);
    for (unsigned i = 0; i < count; i++) {
        char key[1024];
        snprintf(key, sizeof key, "%s%04u", name, i);
        requests[i] = begin_request("PUT", key, "x", 1, &headers[i]);
        curl_multi_add_handle(multi, requests[i]);
    }
    while (left > 0 && curl_multi_perform(multi, &left) == CURLM_OK && left > 0) {
        curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        curl_multi_remove_handle(multi, requests[i]);
        done += end_request(requests[i], headers[i]) == 200;
    }
    curl_multi_cleanup(multi);
    free(requests);
    free(headers);
    return done == count;
}
