#ifndef METRICS_ADDRESS_H
#define METRICS_ADDRESS_H

/* "[host:]port" as a socket address, without any lookup. Pure. */

#include "base/error.h"

#include <netinet/in.h>

union metrics_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct error *metrics_address_read(const char *text, union metrics_address *ret) MUST_CHECK;

enum { METRICS_ADDRESS_TEXT = 64 };
void metrics_address_print(const union metrics_address *address, char out[METRICS_ADDRESS_TEXT]);

#endif
