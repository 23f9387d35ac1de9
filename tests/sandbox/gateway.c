/* What happens once, before the first client: database, role and certificate. Also the log. */
#include "sandbox/gateway.h"

#include "sandbox/copy_bytes.h"
#include "sandbox/setup_sql.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------- log */

static void put_json(struct bytes *out, const char *text)
{
    bytes_put_char(out, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            bytes_put_char(out, '\\');
            bytes_put_char(out, (char)c);
        } else if (c < 0x20) {
            bytes_printf(out, "\\u%04x", c);
        } else {
            bytes_put_char(out, (char)c);
        }
    }
    bytes_put_char(out, '"');
}

void gateway_log(const char *level, const char *message, ...)
{
    struct bytes line = {0};
    va_list args;
    const char *name;

    bytes_put_text(&line, "{\"level\":");
    put_json(&line, level);
    bytes_put_text(&line, ",\"message\":");
    put_json(&line, message);
    va_start(args, message);
    while ((name = va_arg(args, const char *)) != NULL) {
        bytes_put_char(&line, ',');
        put_json(&line, name);
        bytes_put_char(&line, ':');
        put_json(&line, va_arg(args, const char *));
    }
    va_end(args);
    bytes_put_text(&line, "}\n");
    /* One write, so that lines of several processes do not mix. */
    if (write(STDERR_FILENO, line.at, line.len) < 0) {
        /* Nobody is left to be told. */
    }
    bytes_done(&line);
}

/* ------------------------------------------------------------------------------- database */

static bool run(struct backend *backend, const char *sql, const char *what)
{
    struct backend_result result;
    (void)backend_query(backend, sql, &result);
    bool ok = result.ok;

    if (!ok) {
        gateway_log("error", "setting up the database failed", "step", what, "sqlstate",
                    result.sqlstate, "reason", result.message, NULL);
    }
    backend_result_done(&result);
    return ok;
}

static bool has_row(struct backend *backend, const char *sql)
{
    struct backend_result result;
    (void)backend_query(backend, sql, &result);
    bool has = result.ok && result.row_count > 0;

    backend_result_done(&result);
    return has;
}

static void put_name(struct bytes *out, const char *name)
{
    bytes_put_char(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            bytes_put_char(out, '"');
        }
        bytes_put_char(out, *name);
    }
    bytes_put_char(out, '"');
}

static bool make_role(struct backend *backend, const char *user)
{
    struct bytes sql = {0};

    bytes_put_text(&sql, "SELECT FROM pg_roles WHERE rolname = ");
    bytes_put_literal(&sql, user);
    bool ok = has_row(backend, bytes_text(&sql));
    if (!ok) {
        sql.len = 0;
        bytes_put_text(&sql, "CREATE ROLE ");
        put_name(&sql, user);
        bytes_put_text(&sql, " LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE");
        ok = run(backend, bytes_text(&sql), "role");
    }
    bytes_done(&sql);
    return ok;
}

static bool make_database(struct backend *backend, const char *database)
{
    struct bytes sql = {0};

    bytes_put_text(&sql, "SELECT FROM pg_database WHERE datname = ");
    bytes_put_literal(&sql, database);
    bool ok = has_row(backend, bytes_text(&sql));
    if (!ok) {
        sql.len = 0;
        bytes_put_text(&sql, "CREATE DATABASE ");
        put_name(&sql, database);
        bytes_put_text(&sql, " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
        ok = run(backend, bytes_text(&sql), "database");
    }
    bytes_done(&sql);
    return ok;
}

static bool grant_database(const struct gateway *gateway, struct backend *backend)
{
    struct bytes sql = {0};

    bytes_put_text(&sql, "GRANT CREATE, CONNECT, TEMPORARY ON DATABASE ");
    put_name(&sql, gateway->database);
    bytes_put_text(&sql, " TO ");
    put_name(&sql, gateway->user);
    bool ok = run(backend, bytes_text(&sql), "grants");
    bytes_done(&sql);
    return ok;
}

static struct backend *open_logged(const struct backend_options *options)
{
    struct backend_result result;
    struct backend *backend = backend_open(options, &result);

    if (backend == NULL) {
        gateway_log("error", "PostgreSQL cannot be used", "sqlstate", result.sqlstate, "reason",
                    result.message, NULL);
    }
    return backend;
}

bool gateway_setup(const struct gateway *gateway)
{
    struct backend_options options = gateway->superuser;
    struct bytes script = {0};

    options.database = "postgres";
    struct backend *backend = open_logged(&options);
    if (backend == NULL) {
        return false;
    }
    bool ok = make_role(backend, gateway->user) && make_database(backend, gateway->database);
    backend_close(backend);
    if (!ok) {
        return false;
    }
    backend = open_logged(&gateway->superuser);
    if (backend == NULL) {
        return false;
    }
    struct bytes slices = {0};
    bytes_printf(&slices,
                 "CREATE OR REPLACE VIEW pg_catalog.stv_slices AS SELECT 0 AS node, slice, "
                 "slice AS localslice, 'D'::char(1) AS type FROM generate_series(0, %d) AS s "
                 "(slice); GRANT SELECT ON pg_catalog.stv_slices TO PUBLIC; "
                 "RESET allow_system_table_mods",
                 gateway->slices - 1);
    bytes_put(&script, setup_sql, sizeof setup_sql);
    /* The lock keeps two gateways that start on one database apart. */
    ok = run(backend, "BEGIN; SELECT pg_advisory_xact_lock(8002)", "lock") &&
         run(backend, bytes_text(&script), "types, functions and views") &&
         run(backend, bytes_text(&slices), "slices") && run(backend, "COMMIT", "commit") &&
         grant_database(gateway, backend);
    bytes_done(&slices);
    bytes_done(&script);
    backend_close(backend);
    return ok;
}

/* ------------------------------------------------------------------------------- certificate */

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;

    X509_EXTENSION_free(extension);
    return ok;
}

static X509 *make_certificate(EVP_PKEY *key)
{
    enum {
        DAYS = 30,
        SECONDS_PER_DAY = 24 * 3600,
    };
    X509 *certificate = X509_new();
    X509_NAME *name = certificate != NULL ? X509_get_subject_name(certificate) : NULL;
    bool ok =
        name != NULL && X509_set_version(certificate, 2) == 1 &&
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), (long)getpid()) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -SECONDS_PER_DAY) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), (long)DAYS * SECONDS_PER_DAY) != NULL &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1,
                                   -1, 0) == 1 &&
        X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
        add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
        add_extension(certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1") &&
        X509_sign(certificate, key, EVP_sha256()) > 0;

    if (!ok) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

static bool write_certificate(X509 *certificate, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    bool ok = PEM_write_X509(file, certificate) == 1;
    return fclose(file) == 0 && ok;
}

SSL_CTX *gateway_make_tls(const char *certificate_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key != NULL ? make_certificate(key) : NULL;
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    bool ok = certificate != NULL && tls != NULL &&
              SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 &&
              SSL_CTX_use_certificate(tls, certificate) == 1 &&
              SSL_CTX_use_PrivateKey(tls, key) == 1 &&
              (certificate_path == NULL || write_certificate(certificate, certificate_path));

    X509_free(certificate);
    EVP_PKEY_free(key);
    if (!ok) {
        SSL_CTX_free(tls);
        return NULL;
    }
    return tls;
}
