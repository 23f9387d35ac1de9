#ifndef HARNESS_CONNECT_H
#define HARNESS_CONNECT_H

#include <libpq-fe.h>

/* To the warehouse at HOST:PORT, as the local parts' user. PQfinish ends it. */
PGconn *connect_to(const char *address);

#endif
