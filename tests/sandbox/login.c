/*
 * How a connection begins: TLS, the startup packet with Redshift's rules for parameters, the
 * password, the connection behind, and what the server says of itself. Cancel requests end here
 * too.
 */
#include "sandbox/rewrite.h"
#include "sandbox/session.h"
#include "sandbox/setting.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    PROTOCOL_3 = 196608,
    CANCEL_REQUEST = 80877102,
    TLS_REQUEST = 80877103,
    GSS_REQUEST = 80877104,
    AUTH_MD5 = 5,
    AUTH_DIGEST = 13,
    MD5_SALT = 4,
    DIGEST_SALT = 32,
    DIGEST_NONCE = 32,
    SHA256_SIZE = 32,
};

struct login {
    char *user;
    char *database;
    bool wants_protocol_version; /* the client named client_protocol_version */
};

static bool end_fatal(struct session *s, const char *sqlstate, const char *message)
{
    gateway_log("info", "connection refused", "sqlstate", sqlstate, "reason", message, NULL);
    session_send_error(s, "FATAL", sqlstate, message, NULL);
    (void)client_flush(&s->client);
    s->ended = true;
    return false;
}

/* ------------------------------------------------------------------------------- parameters */

/* Known to Redshift's drivers, of no effect here. */
static const char *const driver_parameters[] = {
    "driver_version",
    "os_version",
    "plugin_name",
    "idp_type",
    "provider_name",
    "token_type",
    "identity_namespace",
    "idc_client_display_name",
    "driver_discovery_version",
    "_pq_.compression",
};

static bool is_driver_parameter(const char *name)
{
    for (size_t i = 0; i < sizeof driver_parameters / sizeof driver_parameters[0]; i++) {
        if (strcmp(name, driver_parameters[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool refuse_parameter(struct session *s, const char *name)
{
    char message[256];

    if (strcasecmp(name, "lc_monetary") == 0) {
        return end_fatal(s, "42501", "permission denied to set parameter \"lc_monetary\"");
    }
    text_format(message, sizeof message, "unrecognized configuration parameter \"%.100s\"", name);
    return end_fatal(s, "42704", message);
}

static bool take_setting(struct session *s, const char *name, const char *value)
{
    const struct setting *setting = setting_find(name);
    char message[256];

    if (setting == NULL) {
        return refuse_parameter(s, name);
    }
    if (!setting_check(setting, value, message, sizeof message)) {
        return end_fatal(s, "22023", message);
    }
    setting_normalise(setting, value, s->settings.value[setting_index(setting)],
                      SETTING_VALUE_SIZE);
    return true;
}

/* options: "-c name=value" and "--name=value", blanks escaped by a backslash. */
static bool take_options(struct session *s, const char *options)
{
    struct bytes word = {0};
    bool ok = true;
    bool expects_value = false;

    while (ok) {
        options += strspn(options, " ");
        word.len = 0;
        while (*options != '\0' && *options != ' ') {
            options += *options == '\\' && options[1] != '\0';
            bytes_put_char(&word, *options++);
        }
        if (word.len == 0) {
            break;
        }
        bytes_text(&word);
        char *at = word.at;
        if (!expects_value && strcmp(at, "-c") == 0) {
            expects_value = true;
            continue;
        }
        at += !expects_value && (strncmp(at, "-c", 2) == 0 || strncmp(at, "--", 2) == 0) ? 2 : 0;
        expects_value = false;
        char *equals = strchr(at, '=');
        if (equals == NULL) {
            ok = end_fatal(s, "42601", "invalid command-line arguments for server process");
            break;
        }
        *equals = '\0';
        for (char *c = at; *c != '\0'; c++) {
            *c = *c == '-' ? '_' : *c;
        }
        ok = take_setting(s, at, equals + 1);
    }
    bytes_done(&word);
    return ok;
}

static bool
take_parameter(struct session *s, struct login *login, const char *name, const char *value)
{
    if (strcmp(name, "user") == 0 || strcmp(name, "database") == 0) {
        char **field = name[0] == 'u' ? &login->user : &login->database;
        free(*field);
        *field = strdup(value);
        return *field != NULL;
    }
    if (strcmp(name, "options") == 0) {
        return take_options(s, value);
    }
    if (strcmp(name, "client_protocol_version") == 0) {
        login->wants_protocol_version = true;
        return strcmp(value, "0") == 0 ||
               end_fatal(s, "0A000", "the sandbox knows client_protocol_version 0 only");
    }
    if (strcmp(name, "replication") == 0) {
        return refuse_parameter(s, name);
    }
    return is_driver_parameter(name) || take_setting(s, name, value);
}

static bool
take_startup(struct session *s, struct login *login, const struct client_message *message)
{
    struct wire_reader r = {.at = message->body + 4, .end = message->body + message->size};

    for (;;) {
        const char *name = wire_get_text(&r);
        if (name[0] == '\0') {
            break;
        }
        const char *value = wire_get_text(&r);
        if (r.broken) {
            return end_fatal(s, "08P01", "invalid startup packet");
        }
        if (!take_parameter(s, login, name, value)) {
            return false;
        }
    }
    if (login->user == NULL) {
        return end_fatal(s, "28000", "no user name specified in startup packet");
    }
    if (login->database == NULL) {
        login->database = strdup(login->user);
    }
    return login->database != NULL;
}

/* Packets before the startup packet proper. True with `message` at hand. */
static bool read_first_packets(struct session *s, struct client_message *message)
{
    for (;;) {
        if (client_read_startup(&s->client, message) != 0 || message->size < 4) {
            return false;
        }
        struct wire_reader r = {.at = message->body, .end = message->body + message->size};
        int32_t code = wire_get_int32(&r);
        switch (code) {
        case TLS_REQUEST:
            if (s->client.tls != NULL || client_accept_tls(&s->client, s->gateway->tls) != 0) {
                return false;
            }
            break;
        case GSS_REQUEST:
            if (client_send_byte(&s->client, 'N') != 0) {
                return false;
            }
            break;
        case CANCEL_REQUEST: {
            int32_t pid = wire_get_int32(&r);
            backend_cancel(&s->gateway->superuser, pid, wire_get_int32(&r));
            return false;
        }
        case PROTOCOL_3:
            return true;
        default:
            return end_fatal(s, "0A000", "unsupported frontend protocol");
        }
    }
}

/* ------------------------------------------------------------------------------- password */

static void put_hex(const unsigned char *at, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[at[i] >> 4];
        out[2 * i + 1] = digits[at[i] & 15];
    }
    out[2 * size] = '\0';
}

static void hash(const EVP_MD *kind,
                 const void *a,
                 size_t a_size,
                 const void *b,
                 size_t b_size,
                 const void *c,
                 size_t c_size,
                 unsigned char *ret)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (context == NULL || EVP_DigestInit_ex(context, kind, NULL) != 1 ||
        EVP_DigestUpdate(context, a, a_size) != 1 || EVP_DigestUpdate(context, b, b_size) != 1 ||
        EVP_DigestUpdate(context, c, c_size) != 1 || EVP_DigestFinal_ex(context, ret, NULL) != 1) {
        abort();
    }
    EVP_MD_CTX_free(context);
}

/* "md5" and hex of MD5(hex of MD5(password, user), salt). */
static bool check_md5(struct session *s, const struct login *login)
{
    enum {
        MD5_SIZE = 16,
    };
    unsigned char salt[MD5_SALT];
    unsigned char digest[MD5_SIZE];
    char inner[2 * MD5_SIZE + 1];
    char wanted[3 + 2 * MD5_SIZE + 1] = "md5";
    struct bytes body = {0};
    struct client_message message;
    const char *password = s->gateway->password;

    if (RAND_bytes(salt, sizeof salt) != 1) {
        return false;
    }
    wire_put_int32(&body, AUTH_MD5);
    bytes_put(&body, salt, sizeof salt);
    client_send(&s->client, 'R', body.at, body.len);
    bytes_done(&body);
    if (client_read(&s->client, &message) != 0 || message.type != 'p') {
        return false;
    }
    hash(EVP_md5(), password, strlen(password), login->user, strlen(login->user), "", 0, digest);
    put_hex(digest, sizeof digest, inner);
    hash(EVP_md5(), inner, 2 * MD5_SIZE, salt, sizeof salt, "", 0, digest);
    put_hex(digest, sizeof digest, wanted + 3);
    return message.size == sizeof wanted && CRYPTO_memcmp(message.body, wanted, sizeof wanted) == 0;
}

/* SHA256(SHA256(password || salt) || server nonce || client nonce), redshift.md 1.3. */
static bool check_digest(struct session *s, const struct login *login)
{
    unsigned char salt[DIGEST_SALT];
    unsigned char nonce[DIGEST_NONCE];
    unsigned char inner[SHA256_SIZE];
    unsigned char wanted[SHA256_SIZE];
    struct bytes body = {0};
    struct client_message message;
    const char *password = s->gateway->password;

    (void)login;
    if (RAND_bytes(salt, sizeof salt) != 1 || RAND_bytes(nonce, sizeof nonce) != 1) {
        return false;
    }
    wire_put_int32(&body, AUTH_DIGEST);
    wire_put_int32(&body, 0); /* SHA-256 */
    wire_put_int32(&body, sizeof salt);
    bytes_put(&body, salt, sizeof salt);
    wire_put_int32(&body, sizeof nonce);
    bytes_put(&body, nonce, sizeof nonce);
    client_send(&s->client, 'R', body.at, body.len);
    bytes_done(&body);
    if (client_read(&s->client, &message) != 0 || message.type != 'd') {
        return false;
    }
    struct wire_reader r = {.at = message.body, .end = message.body + message.size};
    int32_t digest_size = wire_get_int32(&r);
    const unsigned char *digest = wire_get_bytes(&r, digest_size < 0 ? 0 : (size_t)digest_size);
    int32_t client_size = wire_get_int32(&r);
    const unsigned char *client = wire_get_bytes(&r, client_size < 0 ? 0 : (size_t)client_size);
    if (r.broken || digest_size != SHA256_SIZE || client_size < 0) {
        return false;
    }
    hash(EVP_sha256(), password, strlen(password), salt, sizeof salt, "", 0, inner);
    hash(EVP_sha256(), inner, sizeof inner, nonce, sizeof nonce, client, (size_t)client_size,
         wanted);
    return CRYPTO_memcmp(digest, wanted, sizeof wanted) == 0;
}

static bool authenticate(struct session *s, const struct login *login)
{
    char message[256];
    bool ok = s->gateway->digest ? check_digest(s, login) : check_md5(s, login);

    if (s->client.lost) {
        return false;
    }
    if (!ok || strcmp(login->user, s->gateway->user) != 0) {
        text_format(message, sizeof message, "password authentication failed for user \"%.100s\"",
                    login->user);
        return end_fatal(s, "28000", message);
    }
    if (strcmp(login->database, s->gateway->database) != 0) {
        text_format(message, sizeof message, "database \"%.100s\" does not exist", login->database);
        return end_fatal(s, "3D000", message);
    }
    return true;
}

/* ------------------------------------------------------------------------------- behind */

static bool read_oids(struct session *s)
{
    struct backend_result result;
    (void)backend_query(s->backend,
                        "SELECT 'pg_catalog.super'::regtype::oid, "
                        "'pg_catalog.varbyte'::regtype::oid",
                        &result);
    bool ok = result.ok && result.row_count == 1;

    if (ok) {
        s->super_oid = (uint32_t)strtoul(result.values[0], NULL, 10);
        s->varbyte_oid = (uint32_t)strtoul(result.values[1], NULL, 10);
    }
    backend_result_done(&result);
    return ok;
}

/* The client's own connection: its role, Redshift's lexer rules, the isolation of the database. */
static bool open_backend(struct session *s)
{
    const char *parameters[] = {
        "client_encoding",
        "UTF8",
        "application_name",
        session_setting(s, "application_name"),
        "standard_conforming_strings",
        "off",
        "escape_string_warning",
        "off",
        "backslash_quote",
        "on",
        "bytea_output",
        "hex",
        "datestyle",
        session_setting(s, "datestyle"),
        "intervalstyle",
        "postgres",
        "timezone",
        session_setting(s, "timezone"),
        "extra_float_digits",
        session_setting(s, "extra_float_digits"),
        "statement_timeout",
        session_setting(s, "statement_timeout"),
        "default_transaction_isolation",
        s->gateway->serializable ? "serializable" : "repeatable read",
        /* Notices when this process was killed while a statement runs. */
        "client_connection_check_interval",
        "1000",
        "jit",
        "off",
        "search_path",
        "\"$user\", public",
        NULL,
    };
    struct backend_options options = s->gateway->superuser;
    struct backend_result result;

    options.user = s->gateway->user;
    options.parameters = parameters;
    s->backend = backend_open(&options, &result);
    if (s->backend == NULL) {
        return end_fatal(s, result.sqlstate, result.message);
    }
    return read_oids(s) || end_fatal(s, "XX000", "the database is not set up");
}

static void send_statuses(struct session *s, const struct login *login)
{
    session_send_parameter(s, "server_version", "8.0.2");
    session_send_parameter(s, "padb_version", GATEWAY_REDSHIFT_VERSION);
    session_send_parameter(s, "client_encoding", session_setting(s, "client_encoding"));
    session_send_parameter(s, "server_encoding", "UNICODE");
    session_send_parameter(s, "DateStyle", session_setting(s, "datestyle"));
    session_send_parameter(s, "TimeZone", session_setting(s, "timezone"));
    session_send_parameter(s, "integer_datetimes", "on");
    session_send_parameter(s, "is_superuser", "off");
    session_send_parameter(s, "session_authorization", login->user);
    session_send_parameter(s, "datashare_enabled", "off");
    session_send_parameter(s, "external_database", "off");
    session_send_parameter(s, "application_name", session_setting(s, "application_name"));
    if (login->wants_protocol_version) {
        session_send_parameter(s, "server_protocol_version", "0");
    }
}

static void send_welcome(struct session *s, const struct login *login)
{
    struct bytes body = {0};

    send_statuses(s, login);
    wire_put_int32(&body, backend_pid(s->backend));
    wire_put_int32(&body, backend_secret(s->backend));
    client_send(&s->client, 'K', body.at, body.len);
    bytes_done(&body);
    session_send_ready(s);
}

static void set_standards(struct session *s)
{
    for (size_t i = 0; i < setting_count(); i++) {
        text_format(s->settings.value[i], SETTING_VALUE_SIZE, "%s", setting_at(i)->standard);
    }
    if (s->gateway->case_sensitive) {
        size_t index = setting_index(setting_find("enable_case_sensitive_identifier"));
        text_format(s->settings.value[index], SETTING_VALUE_SIZE, "on");
    }
}

/* Settings that PostgreSQL did not take from the startup packet. */
static bool apply_rest(struct session *s)
{
    static const char *const names[] = {"search_path", "json_parse_truncate_strings",
                                        "json_parse_dedup_attributes"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct setting *setting = setting_find(names[i]);
        const char *value = session_setting(s, names[i]);
        if (strcmp(value, setting->standard) == 0) {
            continue;
        }
        struct statement st = {.kind = STATEMENT_SET};
        st.setting = strdup(names[i]);
        st.value = strdup(value);
        bool ok = st.setting != NULL && st.value != NULL && session_apply_setting(s, &st);
        statement_done(&st);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool check_encoding(struct session *s)
{
    const char *value = session_setting(s, "client_encoding");

    return strcasecmp(value, "unicode") == 0 || strcasecmp(value, "utf8") == 0 ||
           strcasecmp(value, "utf-8") == 0 ||
           end_fatal(s, "22023", "invalid value for parameter \"client_encoding\"");
}

static bool log_in(struct session *s, struct login *login)
{
    static const unsigned char ok[4] = {0};
    struct client_message message;

    if (!read_first_packets(s, &message)) {
        return false;
    }
    if (s->gateway->require_tls && s->client.tls == NULL) {
        return end_fatal(s, "28000", "no pg_hba.conf entry for this host, SSL off");
    }
    if (!take_startup(s, login, &message) || !authenticate(s, login) || !check_encoding(s) ||
        !open_backend(s) || !apply_rest(s)) {
        return false;
    }
    s->initial = s->settings;
    s->at_begin = s->settings;
    client_send(&s->client, 'R', ok, sizeof ok);
    send_welcome(s, login);
    return true;
}

bool session_login(struct session *s)
{
    struct login login = {0};

    set_standards(s);
    bool ok = log_in(s, &login);
    free(login.user);
    free(login.database);
    return ok;
}
