/* Where the SSH server is, and the fingerprint of its key: every way to write them. */

#include "tunnel/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- addresses */

static const struct good_row {
    const char *sentence, *url, *user, *host, *port;
} good_rows[] = {
    {"without a port it is 22", "ssh://flow@bastion.example.com", "flow", "bastion.example.com",
     "22"},
    {"with a port", "ssh://flow@bastion.example.com:2222", "flow", "bastion.example.com", "2222"},
    {"the highest port", "ssh://flow@h:65535", "flow", "h", "65535"},
    {"an IPv4 address", "ssh://flow@10.0.0.7:22", "flow", "10.0.0.7", "22"},
    {"an IPv6 address in brackets", "ssh://flow@[2001:db8::1]", "flow", "2001:db8::1", "22"},
    {"an IPv6 address and a port", "ssh://flow@[2001:db8::1]:2200", "flow", "2001:db8::1", "2200"},
    {"a slash at the end is nothing", "ssh://flow@host:22/", "flow", "host", "22"},
    {"a login with a domain: the last @ counts", "ssh://me@corp.example@host", "me@corp.example",
     "host", "22"},
};

static void endpoints_are_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_rows); i++) {
        const struct good_row *row = &good_rows[i];
        struct endpoint got;
        struct error *err = endpoint_read(row->url, &got);

        if (err) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        if (strcmp(got.user, row->user) != 0 || strcmp(got.host, row->host) != 0 ||
            strcmp(got.port, row->port) != 0) {
            fail_msg("%s: user \"%s\", host \"%s\", port \"%s\"", row->sentence, got.user, got.host,
                     got.port);
        }
    }
}

static const struct bad_row {
    const char *sentence, *url, *words;
} bad_rows[] = {
    {"nothing", "", "does not begin with ssh://"},
    {"no scheme", "flow@host", "does not begin with ssh://"},
    {"another scheme", "http://flow@host", "does not begin with ssh://"},
    {"no user", "ssh://host", "has no user name"},
    {"an empty user", "ssh://@host", "has no user name"},
    {"no host", "ssh://flow@", "host name"},
    {"no host before the port", "ssh://flow@:22", "host name"},
    {"a password", "ssh://flow:hunter2@host", "has a password in it"},
    {"an empty port", "ssh://flow@host:", "has a port that is no number"},
    {"port 0", "ssh://flow@host:0", "has a port that is no number"},
    {"a port with a zero in front", "ssh://flow@host:022", "has a port that is no number"},
    {"a port beyond the last", "ssh://flow@host:65536", "has a port that is no number"},
    {"a very long port", "ssh://flow@host:000000000022", "has a port that is no number"},
    {"letters as port", "ssh://flow@host:ssh", "has a port that is no number"},
    {"a path", "ssh://flow@host/home", "has a path"},
    {"a query", "ssh://flow@host?x=1", "has a path"},
    {"a space in the host", "ssh://flow@my host", "host name"},
    {"a line feed at the end", "ssh://flow@host\n", "host name"},
    {"a space in the user", "ssh://flow x@host", "user name"},
    {"IPv6 without brackets", "ssh://flow@2001:db8::1", "IPv6 address without brackets"},
    {"a bracket that is not closed", "ssh://flow@[2001:db8::1", "\"[\" without \"]\""},
    {"text behind the bracket", "ssh://flow@[2001:db8::1]x", "other than a port"},
    {"a bracket inside", "ssh://flow@ho]st", "brackets"},
};

static void what_is_wrong_with_an_endpoint_is_said_without_the_password(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        const struct bad_row *row = &bad_rows[i];
        struct endpoint got;
        struct error *err = endpoint_read(row->url, &got);

        if (!err) {
            fail_msg("%s: was taken", row->sentence);
        }
        if (!strstr(error_text(err), row->words) || strstr(error_text(err), "hunter2") ||
            !strstr(error_hint(err), "ssh://user@hostname") ||
            error_class_of(err) != ERROR_CONFIG) {
            fail_msg("%s: %s", row->sentence, error_text(err));
        }
        error_free(err);
    }
}

static void names_that_are_too_long_are_refused(void **state)
{
    char url[2 * ENDPOINT_TEXT_BYTES + 32] = "ssh://flow@";
    struct endpoint got;

    (void)state;
    memset(url + strlen(url), 'h', ENDPOINT_TEXT_BYTES);
    struct error *err = endpoint_read(url, &got);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "too long"));
    error_free(err);
    url[strlen(url) - 1] = '\0';
    assert_null(endpoint_read(url, &got));
}

/* ---------------------------------------------------------------- fingerprints */

#define DIGITS "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU" /* of nothing: SHA-256 of "" */

static void a_fingerprint_is_written_as_ssh_keygen_does(void **state)
{
    unsigned char hash[DIGEST_SHA256_BYTES];
    char text[FINGERPRINT_BYTES];

    (void)state;
    digest_sha256(SPAN_LIT(""), hash);
    fingerprint_write(text, hash);
    assert_string_equal(text, "SHA256:" DIGITS);
}

static const struct pin_row {
    const char *sentence, *text;
    bool is_good, is_same;
} pin_rows[] = {
    {"as it is printed", "SHA256:" DIGITS, true, true},
    {"with padding", "SHA256:" DIGITS "=", true, true},
    {"another one", "SHA256:57DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", true, false},
    {"case counts", "SHA256:47dEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", true, false},
    {"nothing", "", false, false},
    {"without the name of the hash", DIGITS, false, false},
    {"another hash", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", false, false},
    {"one digit short", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF", false, false},
    {"one digit long", "SHA256:" DIGITS "x", false, false},
    {"not base64", "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSu U", false, false},
};

static void fingerprints_are_checked_and_compared(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pin_rows); i++) {
        const struct pin_row *row = &pin_rows[i];
        struct error *err = fingerprint_check(row->text);

        if ((err == NULL) != row->is_good ||
            fingerprint_is_same(row->text, "SHA256:" DIGITS) != row->is_same) {
            fail_msg("%s: %s", row->sentence, err ? error_text(err) : "was taken");
        }
        error_free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_split),
        cmocka_unit_test(what_is_wrong_with_an_endpoint_is_said_without_the_password),
        cmocka_unit_test(names_that_are_too_long_are_refused),
        cmocka_unit_test(a_fingerprint_is_written_as_ssh_keygen_does),
        cmocka_unit_test(fingerprints_are_checked_and_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
