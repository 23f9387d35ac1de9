/* Signature Version 4 against the examples that AWS publishes (Amazon S3 API Reference, "Signature
 * Calculations for the Authorization Header: Transferring Payload in a Single Chunk"). */

#include "s3/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEY_ID "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define HOST "examplebucket.s3.amazonaws.com"
#define TIME "20130524T000000Z"
#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WELCOME_HASH "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

struct row {
    const char *sentence;
    const char *method, *path;
    const char *query[2][2];
    const char *headers[3][2]; /* besides host, x-amz-content-sha256 and x-amz-date */
    const char *hash;
    const char *signed_names, *signature;
};

static const struct row published[] = {
    {"GET of a range",
     "GET",
     "/test.txt",
     {{NULL}},
     {{"range", "bytes=0-9"}},
     EMPTY_HASH,
     "host;range;x-amz-content-sha256;x-amz-date",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT of an object whose name must be encoded",
     "PUT",
     "/test$file.text",
     {{NULL}},
     {{"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"date", "Fri, 24 May 2013 00:00:00 GMT"}},
     WELCOME_HASH,
     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET of a sub-resource without a value",
     "GET",
     "/",
     {{"lifecycle", ""}},
     {{NULL}},
     EMPTY_HASH,
     "host;x-amz-content-sha256;x-amz-date",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"a list, parameters given in the wrong order",
     "GET",
     "/",
     {{"prefix", "J"}, {"max-keys", "2"}},
     {{NULL}},
     EMPTY_HASH,
     "host;x-amz-content-sha256;x-amz-date",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static unsigned take_pairs(const char *const (*from)[2], unsigned max, struct s3_sign_pair *to)
{
    unsigned count = 0;

    while (count < max && from[count][0]) {
        to[count] = (struct s3_sign_pair){span_of(from[count][0]), span_of(from[count][1])};
        count++;
    }
    return count;
}

static void published_examples_are_reproduced(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(published); i++) {
        const struct row *row = &published[i];
        struct s3_sign_pair query[2], headers[6];
        unsigned header_count = take_pairs(row->headers, 3, headers);
        struct s3_sign_key key = {.day = ""};
        struct s3_sign_request request = {.method = row->method,
                                          .path = span_of(row->path),
                                          .query = query,
                                          .query_count = take_pairs(row->query, 2, query),
                                          .headers = headers,
                                          .payload_hash = span_of(row->hash)};
        char want[512];
        struct buf out;

        headers[header_count++] = (struct s3_sign_pair){SPAN_LIT("x-amz-date"), SPAN_LIT(TIME)};
        headers[header_count++] = (struct s3_sign_pair){SPAN_LIT("host"), SPAN_LIT(HOST)};
        headers[header_count++] =
            (struct s3_sign_pair){SPAN_LIT("x-amz-content-sha256"), span_of(row->hash)};
        request.header_count = header_count;
        s3_sign_key_update(&key, SPAN_LIT(SECRET), "us-east-1", TIME);
        buf_init(&out, 4096);
        s3_sign_add_authorization(&out, &request, &key, KEY_ID, "us-east-1", TIME);
        snprintf(want, sizeof(want),
                 "AWS4-HMAC-SHA256 Credential=" KEY_ID "/20130524/us-east-1/s3/aws4_request,"
                 "SignedHeaders=%s,Signature=%s",
                 row->signed_names, row->signature);
        if (strcmp(out.data, want) != 0) {
            fail_msg("%s: %s", row->sentence, out.data);
        }
        buf_done(&out);
    }
}

static void paths_are_encoded_once_and_not_normalised(void **state)
{
    static const struct {
        const char *sentence, *path, *want;
    } rows[] = {
        {"unreserved characters stay", "/aZ9-._~", "/aZ9-._~"},
        {"slashes stay, doubled ones too", "/a//b/", "/a//b/"},
        {"dots are not resolved", "/a/../b/./c", "/a/../b/./c"},
        {"a blank is %20 and a plus is %2B", "/a b+c", "/a%20b%2Bc"},
        {"a percent sign is encoded once", "/a%20", "/a%2520"},
        {"UTF-8 is encoded by bytes in upper case", "/\xc3\xa9", "/%C3%A9"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;

        buf_init(&out, 256);
        s3_sign_add_path(&out, span_of(rows[i].path));
        if (strcmp(out.data, rows[i].want) != 0) {
            fail_msg("%s: %s", rows[i].sentence, out.data);
        }
        buf_done(&out);
    }
}

static void query_values_are_encoded_with_their_slashes(void **state)
{
    const struct s3_sign_pair pairs[] = {
        {SPAN_LIT("uploadId"), SPAN_LIT("a/b+c=")},
        {SPAN_LIT("partNumber"), SPAN_LIT("10")},
        {SPAN_LIT("delete"), SPAN_NONE},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 256);
    s3_sign_add_query(&out, pairs, 3);
    assert_string_equal(out.data, "delete=&partNumber=10&uploadId=a%2Fb%2Bc%3D");
    buf_done(&out);
}

static void header_values_are_trimmed_and_their_blanks_folded(void **state)
{
    const struct s3_sign_pair headers[] = {{SPAN_LIT("x-b"), SPAN_LIT("  a   b\t ")},
                                           {SPAN_LIT("host"), SPAN_LIT("h")}};
    const struct s3_sign_request request = {.method = "GET",
                                            .path = SPAN_LIT("/"),
                                            .headers = headers,
                                            .header_count = 2,
                                            .payload_hash = SPAN_LIT(S3_SIGN_UNSIGNED)};
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    s3_sign_add_canonical(&out, &request);
    assert_string_equal(out.data, "GET\n/\n\nhost:h\nx-b:a b\n\nhost;x-b\nUNSIGNED-PAYLOAD");
    buf_done(&out);
}

static void the_key_changes_with_the_day_and_only_then(void **state)
{
    struct s3_sign_key key = {.day = ""};
    struct s3_sign_key first;

    (void)state;
    s3_sign_key_update(&key, SPAN_LIT(SECRET), "us-east-1", TIME);
    assert_string_equal(key.day, "20130524");
    first = key;
    /* Another secret would give another key, so this shows that nothing was derived again. */
    s3_sign_key_update(&key, SPAN_LIT("other"), "us-east-1", "20130524T235959Z");
    assert_memory_equal(key.bytes, first.bytes, sizeof(key.bytes));
    s3_sign_key_update(&key, SPAN_LIT(SECRET), "us-east-1", "20130525T000000Z");
    assert_string_equal(key.day, "20130525");
    assert_memory_not_equal(key.bytes, first.bytes, sizeof(key.bytes));
}

static void times_have_the_basic_form(void **state)
{
    char out[S3_SIGN_TIME_LEN + 1];

    (void)state;
    s3_sign_time(out, 1369353600);
    assert_string_equal(out, TIME);
    s3_sign_time(out, 1772323199);
    assert_string_equal(out, "20260228T235959Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples_are_reproduced),
        cmocka_unit_test(paths_are_encoded_once_and_not_normalised),
        cmocka_unit_test(query_values_are_encoded_with_their_slashes),
        cmocka_unit_test(header_values_are_trimmed_and_their_blanks_folded),
        cmocka_unit_test(the_key_changes_with_the_day_and_only_then),
        cmocka_unit_test(times_have_the_basic_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
