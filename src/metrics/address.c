/* metrics/address: where to listen. In: what a person wrote. Out: a socket address, or what is
 * wrong with it. */

#include "address.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <stdio.h>

static struct error *refuse(const char *text)
{
    struct error *err = error_new(ERROR_INPUT, ERROR_CONFIG,
                                  "the address for metrics is \"%.80s\", which is none", text);
    error_set_hint(err,
                   "Write a port, 9477, or an address and a port, 127.0.0.1:9477 or [::1]:9477. "
                   "Names are not looked up.");
    return err;
}

/* The host without its brackets, terminated; false when it is too long to be one. */
static bool copy_host(char host[INET6_ADDRSTRLEN], const char *text, size_t len)
{
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len >= INET6_ADDRSTRLEN) {
        return false;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    return true;
}

struct error *metrics_address_read(const char *text, union metrics_address *ret)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN];
    uint64_t port;

    if (!text_to_uint64(span_of(colon ? colon + 1 : text), &port) || port > UINT16_MAX ||
        !copy_host(host, text, colon ? (size_t)(colon - text) : 0)) {
        return refuse(text);
    }
    memset(ret, 0, sizeof(*ret));
    if (strchr(host, ':')) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1 ? NULL : refuse(text);
    }
    bool is_loopback = host[0] == '\0' || strcmp(host, "localhost") == 0;
    ret->v4.sin_family = AF_INET;
    ret->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, is_loopback ? "127.0.0.1" : host, &ret->v4.sin_addr) == 1
               ? NULL
               : refuse(text);
}

void metrics_address_print(const union metrics_address *address, char out[METRICS_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address->any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof(host));
        (void)snprintf(out, METRICS_ADDRESS_TEXT, "[%s]:%u", host, ntohs(address->v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof(host));
        (void)snprintf(out, METRICS_ADDRESS_TEXT, "%s:%u", host, ntohs(address->v4.sin_port));
    }
}
