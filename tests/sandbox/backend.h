#ifndef SANDBOX_BACKEND_H
#define SANDBOX_BACKEND_H

/*
 * One connection to the PostgreSQL behind the sandbox, spoken raw (frontend/backend protocol 3.0,
 * chapter 55 of the PostgreSQL manual) and blocking. Two ways to use it: whole statements
 * (backend_query, backend_copy_*), and single messages for the gateway, which passes them on.
 *
 * The server must let us in without a password (`trust`): the sandbox is a client like any other,
 * but it may run as root, so `peer` is no way in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backend;

struct backend_options {
    const char *host; /* an IPv4 address or name, or a folder (begins with '/') with a socket */
    int port;
    const char *user;
    const char *database;
    /* Further startup parameters as name, value, name, value, ..., NULL; may be NULL itself. */
    const char *const *parameters;
};

struct backend_result {
    bool ok;
    char sqlstate[6]; /* empty when ok */
    char message[1024];
    char detail[1024];
    int column_count, row_count;
    char **values; /* row-major, NULL = SQL NULL; of the last statement that returned rows */
    char tag[64];  /* of the last statement, as PostgreSQL words it: "INSERT 0 3" */
};

/* NULL when no connection could be made; *ret (may be NULL) then holds SQLSTATE and message
 * (08006 when the server was not reached at all). */
struct backend *backend_open(const struct backend_options *options, struct backend_result *ret);
void backend_close(struct backend *backend); /* takes NULL */

/* Simple query, also of several statements. 0: *ret says how it went. -1: the connection is lost;
 * *ret is then filled too (ok false, 08006). Either way the caller ends it with _done. */
int backend_query(struct backend *backend, const char *sql, struct backend_result *ret);
void backend_result_done(struct backend_result *ret);

/* COPY t(...) FROM STDIN: begin, any number of data calls (buffered, cut anywhere), then end or
 * fail. When begin does not answer ok there is no copy to end. A mistake in the data is reported
 * by the server at any time and learned at backend_copy_end. */
int backend_copy_begin(struct backend *backend, const char *sql, struct backend_result *ret);
int backend_copy_data(struct backend *backend, const void *data, size_t size);
int backend_copy_end(struct backend *backend, struct backend_result *ret);
int backend_copy_fail(struct backend *backend, const char *why, struct backend_result *ret);

/* 'I' idle, 'T' in a transaction, 'E' in a failed one: as of the last ReadyForQuery. */
char backend_status(const struct backend *backend);
/* What a CancelRequest for this connection has to name. */
int32_t backend_pid(const struct backend *backend);
int32_t backend_secret(const struct backend *backend);
/* Sends a CancelRequest on a connection of its own and waits until the server has taken it. */
void backend_cancel(const struct backend_options *options, int32_t pid, int32_t secret);

/* ---- single messages */

/* A message in a buffer that is valid until the next call on this connection. */
struct backend_message {
    char type;
    const unsigned char *body;
    size_t size;
};

/* Queues a message; nothing is sent before backend_flush or backend_read. 0 or -1. */
int backend_send(struct backend *backend, char type, const void *body, size_t size);
int backend_flush(struct backend *backend);
/* The next message. ReadyForQuery is noted (backend_status) and also returned. 0 or -1. */
int backend_read(struct backend *backend, struct backend_message *ret);

/* One field of an ErrorResponse or NoticeResponse ('C', 'M', 'D', ...), NULL when absent. */
const char *backend_error_field(const struct backend_message *message, char field);

#endif
