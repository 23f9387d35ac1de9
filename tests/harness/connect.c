/* harness/connect: see connect.h. */

#include "harness/connect.h"

#include "support/story.h"

#include <stdio.h>
#include <string.h>

static void drop_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

PGconn *connect_to(const char *address)
{
    char host[64];
    const char *colon = strrchr(address, ':');

    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - address) : 0, address);
    const char *const names[] = {"host", "port", "user", "password", "dbname", "sslmode", NULL};
    const char *const values[] = {host,
                                  colon ? colon + 1 : "",
                                  story_environment("LOCAL_REDSHIFT_USER"),
                                  story_environment("LOCAL_REDSHIFT_PASSWORD"),
                                  story_environment("LOCAL_REDSHIFT_DATABASE"),
                                  "require",
                                  NULL};
    PGconn *conn = PQconnectdbParams(names, values, 0);
    PQsetNoticeProcessor(conn, drop_notice, NULL);
    return conn;
}
