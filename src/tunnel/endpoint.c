/*
 * tunnel/endpoint: the address of the SSH server and the fingerprint of its key, as people write
 * them. In: texts of a configuration. Out: values, or a sentence for the person. Pure.
 */

#include "endpoint.h"

#include "base/text.h"

#define SCHEME "ssh://"
#define DEFAULT_PORT "22"
#define FINGERPRINT_PREFIX "SHA256:"
#define FINGERPRINT_DIGITS 43 /* base64 of 32 bytes, without the one '=' */

/* ---------------------------------------------------------------- the address */

static struct error *refuse(const char *why) MUST_CHECK;
static struct error *refuse(const char *why)
{
    struct error *err = error_new(ERROR_INPUT, ERROR_CONFIG, "the SSH endpoint %s", why);

    error_set_hint(err, "Give it as ssh://user@hostname or ssh://user@hostname:port.");
    return err;
}

bool endpoint_is_port(const char *text)
{
    uint64_t number;

    return text_to_uint64(span_of(text), &number) && number >= 1 && number <= 65535 &&
           text[0] != '0';
}

static bool is_visible(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f) {
            return false;
        }
    }
    return text.len > 0;
}

static const char *find_last(struct span text, char c)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.ptr[i - 1] == c) {
            return text.ptr + i - 1;
        }
    }
    return NULL;
}

static struct span between(const char *begin, const char *end)
{
    return (struct span){begin, (size_t)(end - begin)};
}

static struct error *keep(char *out, size_t room, struct span text, const char *what)
{
    if (!is_visible(text)) {
        return error_wrap(refuse("has spaces in it, or nothing"), "%s", what);
    }
    if (text.len >= room) {
        return error_wrap(refuse("is too long"), "%s", what);
    }
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return NULL;
}

/* "host", "host:port", "[v6]", "[v6]:port" */
static struct error *read_host(struct span place, struct endpoint *ret)
{
    const char *end = place.ptr + place.len;
    const char *colon = find_last(place, ':');
    struct span host = place, port = SPAN_LIT(DEFAULT_PORT);

    if (place.len > 0 && place.ptr[0] == '[') {
        const char *bracket = find_last(place, ']');
        if (!bracket) {
            return refuse("has a \"[\" without \"]\"");
        }
        host = between(place.ptr + 1, bracket);
        if (bracket + 1 != end && bracket[1] != ':') {
            return refuse("has something other than a port behind \"]\"");
        }
        colon = bracket + 1 != end ? bracket + 1 : NULL;
    } else if (colon) {
        host = between(place.ptr, colon);
        if (memchr(host.ptr, ':', host.len)) {
            return refuse("has an IPv6 address without brackets");
        }
    }
    if (colon) {
        port = between(colon + 1, end);
    }
    if (memchr(host.ptr, '[', host.len) || memchr(host.ptr, ']', host.len)) {
        return refuse("has brackets in its host name");
    }
    RETURN_IF_ERROR(keep(ret->host, sizeof(ret->host), host, "host name"));
    if (port.len >= sizeof(ret->port)) {
        return refuse("has a port that is no number from 1 to 65535");
    }
    memcpy(ret->port, port.ptr, port.len);
    ret->port[port.len] = '\0';
    if (!endpoint_is_port(ret->port)) {
        return refuse("has a port that is no number from 1 to 65535");
    }
    return NULL;
}

struct error *endpoint_read(const char *url, struct endpoint *ret)
{
    struct span text = span_of(url);

    if (!span_starts_with(text, SPAN_LIT(SCHEME))) {
        return refuse("does not begin with ssh://");
    }
    text = between(text.ptr + strlen(SCHEME), text.ptr + text.len);
    if (text.len > 0 && text.ptr[text.len - 1] == '/') {
        text.len--;
    }
    /* A login may contain '@' (user@domain), a host may not. */
    const char *at = find_last(text, '@');
    if (!at || at == text.ptr) {
        return refuse("has no user name");
    }
    struct span user = between(text.ptr, at);
    struct span place = between(at + 1, text.ptr + text.len);
    if (memchr(user.ptr, ':', user.len)) {
        return refuse("has a password in it, which is not used: the login is by private key");
    }
    if (place.len > 0 && (memchr(place.ptr, '/', place.len) || memchr(place.ptr, '?', place.len) ||
                          memchr(place.ptr, '#', place.len))) {
        return refuse("has a path behind the host name");
    }
    RETURN_IF_ERROR(keep(ret->user, sizeof(ret->user), user, "user name"));
    return read_host(place, ret);
}

/* ---------------------------------------------------------------- fingerprints */

void fingerprint_write(char out[FINGERPRINT_BYTES], const unsigned char hash[DIGEST_SHA256_BYTES])
{
    struct buf text;

    buf_init(&text, 2 * FINGERPRINT_BYTES);
    buf_add_str(&text, FINGERPRINT_PREFIX);
    text_add_base64(&text, (struct span){(const char *)hash, DIGEST_SHA256_BYTES});
    CHECK(text.len == FINGERPRINT_BYTES); /* the padding is where the NUL goes */
    memcpy(out, text.data, FINGERPRINT_BYTES - 1);
    out[FINGERPRINT_BYTES - 1] = '\0';
    buf_done(&text);
}

static struct span without_padding(const char *text)
{
    struct span span = span_of(text);

    if (span.len > 0 && span.ptr[span.len - 1] == '=') {
        span.len--;
    }
    return span;
}

static bool is_base64(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!is_letter && !(c >= '0' && c <= '9') && c != '+' && c != '/') {
            return false;
        }
    }
    return true;
}

struct error *fingerprint_check(const char *text)
{
    struct span span = without_padding(text);

    if (span.len == strlen(FINGERPRINT_PREFIX) + FINGERPRINT_DIGITS &&
        span_starts_with(span, SPAN_LIT(FINGERPRINT_PREFIX)) &&
        is_base64(between(span.ptr + strlen(FINGERPRINT_PREFIX), span.ptr + span.len))) {
        return NULL;
    }
    struct error *err = error_new(ERROR_INPUT, ERROR_CONFIG,
                                  "the fingerprint of the SSH server's key is not of the form "
                                  "SHA256:<43 characters of base64>");
    error_set_hint(err, "\"ssh-keyscan HOST | ssh-keygen -lf -\" prints it in this form.");
    return err;
}

bool fingerprint_is_same(const char *given, const char *seen)
{
    return span_equal(without_padding(given), without_padding(seen));
}
