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

/* method: NULL for GET, or for POST's cousin with a body, by its name. */
static long request(const char *method,
                    const char *key,
                    const void *body,
                    size_t len,
                    bucket_take_fn *take,
                    void *ctx)
{
    char url[URL_LEN], user[256], region[128];
    CURL *curl = curl_easy_init();
    long status = 0;

    snprintf(url, sizeof url, "%s/%s/%s", story_environment("AWS_ENDPOINT_URL_S3"),
             story_environment("LOCAL_S3_BUCKET"), key);
    snprintf(user, sizeof user, "%s:%s", story_environment("LOCAL_S3_KEY"),
             story_environment("LOCAL_S3_SECRET"));
    snprintf(region, sizeof region, "aws:amz:%s:s3", story_environment("LOCAL_S3_REGION"));
    if (!curl) {
        abort();
    }
    struct curl_slist *headers = curl_slist_append(NULL, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_USERPWD, user);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, region);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, ctx);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    }
    if (method) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
    if (curl_easy_perform(curl) == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
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
