/* The documents that S3 answers with: as they are, damaged in every way, and hostile. */

#include "s3/reply.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NAMESPACE " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static const char error_document[] =
    DECLARATION "<Error><Code>SignatureDoesNotMatch</Code><Message>a &lt;b&gt; &amp; &quot;c&quot; "
                "&#x41;&#66;</Message><Region>eu-west-1</Region><RequestId>R1</RequestId>"
                "<HostId/><Detail><Code>not this</Code></Detail></Error>";
static const char list_document[] = DECLARATION
    "<ListBucketResult" NAMESPACE "><Name>b</Name><Prefix>a/</Prefix><MaxKeys>2</MaxKeys>\n"
    "<IsTruncated>true</IsTruncated><NextContinuationToken>t/1=</NextContinuationToken>\n"
    "<Contents><Key>a/1&amp;2</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>5</Size><Owner><ID>x</ID></Owner></Contents>\n"
    "<!-- a comment --><Contents><Key>a/\xc3\xa9</Key>"
    "<LastModified>1970-01-01T00:00:01.000Z</LastModified><Size>18446744073709551615</Size>"
    "</Contents></ListBucketResult>\n";
static const char uploads_document[] =
    "<ListMultipartUploadsResult" NAMESPACE "><Bucket>b</Bucket><IsTruncated>true</IsTruncated>"
    "<NextKeyMarker>k2</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker>"
    "<Upload><Key>k1</Key><UploadId>u1</UploadId><Initiated>1970-01-01T00:01:00.000Z</Initiated>"
    "</Upload><Upload><Key>k2</Key><UploadId>u2</UploadId></Upload></ListMultipartUploadsResult>";
static const char deleted_document[] =
    DECLARATION "<DeleteResult" NAMESPACE "><Error><Key>a</Key><Code>InternalError</Code>"
                "<Message>m</Message></Error></DeleteResult>";

static struct arena *arena;

static int new_arena(void **state)
{
    (void)state;
    arena = arena_new((size_t)64 << 20);
    return 0;
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void an_error_has_code_message_region_and_request(void **state)
{
    struct s3_reply_error got;

    (void)state;
    assert_null(s3_reply_read_error(arena, span_of(error_document), &got));
    assert_true(span_is(got.code, "SignatureDoesNotMatch"));
    assert_true(span_is(got.message, "a <b> & \"c\" AB"));
    assert_true(span_is(got.region, "eu-west-1"));
    assert_true(span_is(got.request_id, "R1"));
}

static void a_list_has_objects_and_says_where_it_goes_on(void **state)
{
    struct s3_reply_list got;

    (void)state;
    assert_null(s3_reply_read_list(arena, span_of(list_document), &got));
    assert_int_equal(got.count, 2);
    assert_true(span_is(got.objects[0].key, "a/1&2"));
    assert_int_equal(got.objects[0].size, 5);
    assert_int_equal(got.objects[0].modified_unix, 1767323045);
    assert_true(span_is(got.objects[1].key, "a/\xc3\xa9"));
    assert_true(got.objects[1].size == UINT64_MAX);
    assert_int_equal(got.objects[1].modified_unix, 1);
    assert_true(got.is_truncated);
    assert_true(span_is(got.next_token, "t/1="));
}

static void a_list_of_uploads_has_keys_and_ids(void **state)
{
    struct s3_reply_uploads got;

    (void)state;
    assert_null(s3_reply_read_uploads(arena, span_of(uploads_document), &got));
    assert_int_equal(got.count, 2);
    assert_true(span_is(got.uploads[0].key, "k1"));
    assert_true(span_is(got.uploads[0].upload_id, "u1"));
    assert_int_equal(got.uploads[0].initiated_unix, 60);
    assert_true(span_is(got.next_key, "k2"));
    assert_true(span_is(got.next_upload_id, "u2"));
}

static void a_deletion_names_what_was_not_deleted(void **state)
{
    struct s3_reply_deleted got;

    (void)state;
    assert_null(s3_reply_read_deleted(arena, span_of(deleted_document), &got));
    assert_int_equal(got.count, 1);
    assert_true(span_is(got.errors[0].key, "a"));
    assert_true(span_is(got.errors[0].code, "InternalError"));
    assert_null(s3_reply_read_deleted(arena, SPAN_LIT("<DeleteResult/>"), &got));
    assert_int_equal(got.count, 0);
}

static void a_completion_may_be_an_error_in_disguise(void **state)
{
    static const struct {
        const char *sentence, *body;
        bool ok, completed;
        const char *code;
    } rows[] = {
        {"a result",
         "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>", true,
         true, ""},
        {"an error", "<Error><Code>InternalError</Code></Error>", true, false, "InternalError"},
        {"an error behind white space that kept the line open",
         "   \n\n  " DECLARATION "\r\n   <Error><Code>SlowDown</Code></Error>\n", true, false,
         "SlowDown"},
        {"white space between the declaration and the result",
         DECLARATION "     <CompleteMultipartUploadResult/>", true, true, ""},
        {"only white space", "      ", false, false, ""},
        {"nothing", "", false, false, ""},
        {"another document", "<ListBucketResult/>", false, false, ""},
        {"a cut result", "<CompleteMultipartUploadResult><ETag>x</ETag>", false, false, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct s3_reply_error got = {0};
        bool completed = false;
        struct error *err = s3_reply_read_completed(arena, span_of(rows[i].body), &completed, &got);

        if ((err == NULL) != rows[i].ok || completed != rows[i].completed ||
            !span_is(got.code, rows[i].code)) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "no error");
        }
        error_free(err);
    }
}

static void an_upload_has_an_id(void **state)
{
    struct span id;
    struct error *err;

    (void)state;
    assert_null(s3_reply_read_upload_id(arena,
                                        SPAN_LIT("<InitiateMultipartUploadResult" NAMESPACE
                                                 "><Key>k</Key><UploadId>a&#43;b</UploadId>"
                                                 "</InitiateMultipartUploadResult>"),
                                        &id));
    assert_true(span_is(id, "a+b"));
    err = s3_reply_read_upload_id(
        arena, SPAN_LIT("<InitiateMultipartUploadResult></InitiateMultipartUploadResult>"), &id);
    assert_non_null(err);
    error_free(err);
}

static void damaged_documents_are_refused(void **state)
{
    static const struct {
        const char *sentence, *body;
    } rows[] = {
        {"nothing", ""},
        {"no XML", "Bad Gateway"},
        {"a gateway's page", "<!DOCTYPE html><html></html>"},
        {"entities of its own",
         "<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult>&b;</ListBucketResult>"},
        {"another root", "<Error><Code>x</Code></Error>"},
        {"two roots", "<ListBucketResult/><ListBucketResult/>"},
        {"text behind the root", "<ListBucketResult/>x"},
        {"text before the root", "x<ListBucketResult/>"},
        {"tags that cross", "<ListBucketResult><a><b></a></b></ListBucketResult>"},
        {"a close without an open", "</ListBucketResult>"},
        {"an unknown entity", "<ListBucketResult><Name>&nbsp;</Name></ListBucketResult>"},
        {"an entity without its end", "<ListBucketResult><Name>&amp</Name></ListBucketResult>"},
        {"character zero", "<ListBucketResult><Name>&#0;</Name></ListBucketResult>"},
        {"half of a surrogate pair", "<ListBucketResult><Name>&#xD800;</Name></ListBucketResult>"},
        {"a character beyond Unicode",
         "<ListBucketResult><Name>&#x110000;</Name></ListBucketResult>"},
        {"a number too long for any",
         "<ListBucketResult><Name>&#99999999999;</Name></ListBucketResult>"},
        {"bytes that are not UTF-8", "<ListBucketResult><Name>\xff</Name></ListBucketResult>"},
        {"an attribute without quotes", "<ListBucketResult a=b></ListBucketResult>"},
        {"an attribute without a value", "<ListBucketResult a></ListBucketResult>"},
        {"a comment without an end", "<ListBucketResult><!-- </ListBucketResult>"},
        {"a text in pieces", "<ListBucketResult><Name>a<!-- -->b</Name></ListBucketResult>"},
        {"a size that is none",
         "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>"},
        {"a size beyond 64 bits", "<ListBucketResult><Contents><Size>18446744073709551616</Size>"
                                  "</Contents></ListBucketResult>"},
        {"a time that is none", "<ListBucketResult><Contents><LastModified>now</LastModified>"
                                "</Contents></ListBucketResult>"},
        {"neither true nor false",
         "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>"},
        {"more to come, but from nowhere",
         "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"},
        {"elements without an end",
         "<ListBucketResult><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct s3_reply_list got;
        struct error *err = s3_reply_read_list(arena, span_of(rows[i].body), &got);

        if (!err) {
            fail_msg("%s: accepted", rows[i].sentence);
        }
        if (error_class_of(err) != ERROR_RETRY || error_code_of(err) != ERROR_HTTP) {
            fail_msg("%s: %s", rows[i].sentence, error_text(err));
        }
        error_free(err);
    }
}

/* Every proper prefix up to the end of the root is an error, never half of a list. */
static void a_cut_document_is_refused_wherever_it_is_cut(void **state)
{
    size_t whole = strlen(list_document) - 1; /* without the line's end */

    (void)state;
    for (size_t len = 0; len < whole; len++) {
        struct s3_reply_list got;
        struct error *err = s3_reply_read_list(arena, (struct span){list_document, len}, &got);

        if (!err) {
            fail_msg("accepted when cut after %zu bytes", len);
        }
        error_free(err);
    }
}

static void a_page_has_at_most_a_thousand_entries(void **state)
{
    static const char entry[] = "<Contents><Key>k</Key></Contents>";

    (void)state;
    for (unsigned count = 1000; count <= 1001; count++) {
        struct s3_reply_list got;
        struct error *err;
        struct buf body;

        buf_init(&body, 100000);
        buf_add_str(&body, "<ListBucketResult>");
        for (unsigned i = 0; i < count; i++) {
            buf_add_str(&body, entry);
        }
        buf_add_str(&body, "</ListBucketResult>");
        err = s3_reply_read_list(arena, buf_view(&body), &got);
        assert_int_equal(err == NULL, count == 1000);
        error_free(err);
        buf_done(&body);
    }
}

static void dates_of_headers_are_read(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", true, 0},
        {"Sun, 06 Nov 1994 08:49:37 CET", false, 0},
        {"Sun, 06 Foo 1994 08:49:37 GMT", false, 0},
        {"Sun, 36 Nov 1994 08:49:37 GMT", false, 0},
        {"Sunday, 06-Nov-94 08:49:37 GMT", false, 0},
        {"", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t got = 0;

        if (s3_reply_read_date(span_of(rows[i].text), &got) != rows[i].ok || got != rows[i].want) {
            fail_msg("%s: %lld", rows[i].text, (long long)got);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_arena, free_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_has_code_message_region_and_request),
        TEST(a_list_has_objects_and_says_where_it_goes_on),
        TEST(a_list_of_uploads_has_keys_and_ids),
        TEST(a_deletion_names_what_was_not_deleted),
        TEST(a_completion_may_be_an_error_in_disguise),
        TEST(an_upload_has_an_id),
        TEST(damaged_documents_are_refused),
        TEST(a_cut_document_is_refused_wherever_it_is_cut),
        TEST(a_page_has_at_most_a_thousand_entries),
        TEST(dates_of_headers_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
