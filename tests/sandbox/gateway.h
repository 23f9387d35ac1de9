#ifndef SANDBOX_GATEWAY_H
#define SANDBOX_GATEWAY_H

/* What the whole program knows: the same for every connection, read-only after the start. */

#include "sandbox/backend.h"
#include "sandbox/copy.h"

#include <openssl/ssl.h>
#include <stdbool.h>

#define GATEWAY_ROLES_MAX 8
#define GATEWAY_REDSHIFT_VERSION "1.0.119211"

struct gateway {
    struct backend_options superuser; /* of the database behind */
    const char *database;             /* the one database clients may name */
    const char *user;                 /* the one login */
    char *password;
    bool serializable; /* isolation of the database; otherwise snapshot */
    bool require_tls;
    bool digest; /* demand authentication code 13, which stock libpq does not know */
    bool case_sensitive;
    bool discards_rows;                        /* COPY counts lines and keeps none */
    struct copy_role roles[GATEWAY_ROLES_MAX]; /* attached to the cluster */
    int role_count;
    int slices; /* rows of stv_slices */
    SSL_CTX *tls;
};

/* Creates role and database when they are missing and lays setup.sql into it. On failure prints
 * one log line and returns false. */
bool gateway_setup(const struct gateway *gateway);

/* A TLS context with a fresh key and a self-signed certificate for localhost and 127.0.0.1. When
 * `certificate_path` is not NULL the certificate is written there as PEM. NULL on failure. */
SSL_CTX *gateway_make_tls(const char *certificate_path);

/* Serves one connection until it ends; closes fd. */
void session_run(const struct gateway *gateway, int fd);

/* One JSON line on stderr: level, message, then name/value pairs ending in NULL. */
void gateway_log(const char *level, const char *message, ...);

#endif
