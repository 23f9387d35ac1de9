/*
 * A client's session after login: simple queries, transactions, what the gateway does itself, and
 * errors in Redshift's words. In come messages of the client, out go messages to both sides.
 */
#include "sandbox/session.h"

#include "sandbox/copy.h"
#include "sandbox/rewrite.h"
#include "sandbox/setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STATEMENT_MAX = 16 * 1024 * 1024,
};

/* ------------------------------------------------------------------------------- sending */

static void put_field(struct bytes *out, char field, const char *value)
{
    bytes_put_char(out, field);
    wire_put_text(out, value);
}

static void send_report(struct session *s,
                        char type,
                        const char *severity,
                        const char *sqlstate,
                        const char *message,
                        const char *detail)
{
    struct bytes body = {0};

    put_field(&body, 'S', severity);
    put_field(&body, 'C', sqlstate);
    put_field(&body, 'M', message);
    if (detail != NULL && detail[0] != '\0') {
        put_field(&body, 'D', detail);
    }
    bytes_put_char(&body, '\0');
    client_send(&s->client, type, body.at, body.len);
    bytes_done(&body);
}

void session_send_error(struct session *s,
                        const char *severity,
                        const char *sqlstate,
                        const char *message,
                        const char *detail)
{
    send_report(s, 'E', severity, sqlstate, message, detail);
}

void session_send_notice(struct session *s,
                         const char *severity,
                         const char *sqlstate,
                         const char *message)
{
    send_report(s, 'N', severity, sqlstate, message, NULL);
}

void session_send_complete(struct session *s, const char *tag)
{
    client_send(&s->client, 'C', tag, strlen(tag) + 1);
}

void session_send_parameter(struct session *s, const char *name, const char *value)
{
    struct bytes body = {0};

    wire_put_text(&body, name);
    wire_put_text(&body, value);
    client_send(&s->client, 'S', body.at, body.len);
    bytes_done(&body);
}

void session_send_ready(struct session *s)
{
    char status = 'I';

    if (s->transaction == TRANSACTION_EXPLICIT) {
        status = backend_status(s->backend) == 'E' ? 'E' : 'T';
    }
    client_send(&s->client, 'Z', &status, 1);
}

/* ------------------------------------------------------------------------------- failing */

/* An error that PostgreSQL has not seen must abort the transaction all the same. */
static void abort_transaction(struct session *s)
{
    struct backend_result result;

    if (s->transaction != TRANSACTION_NONE && backend_status(s->backend) == 'T') {
        (void)backend_query(s->backend, "refused by the gateway", &result);
        backend_result_done(&result);
    }
}

void session_fail(
    struct session *s, const char *sqlstate, const char *message, const char *detail, bool refused)
{
    if (refused) {
        gateway_log("info", "statement refused", "sqlstate", sqlstate, "reason", message, NULL);
    }
    abort_transaction(s);
    session_send_error(s, "ERROR", sqlstate, message, detail);
}

static void fail_result(struct session *s, const struct backend_result *result)
{
    session_fail(s, result->sqlstate, result->message, result->detail, false);
}

/* PostgreSQL's serialization failures in the form of redshift.md 2.4; it does not tell table and
 * transactions, so the numbers are those of this session. */
static void send_serialization_failure(struct session *s)
{
    char detail[256];

    text_format(detail, sizeof detail,
                "Serializable isolation violation on table - %d, transactions forming the cycle "
                "are: %d, %d (pid:%d)",
                100000 + (int)backend_pid(s->backend) % 1000, (int)backend_pid(s->backend),
                (int)backend_pid(s->backend) + 1, (int)backend_pid(s->backend));
    session_send_error(s, "ERROR", "XX000", "1023", detail);
}

/* Shortened names in a text give way to the full ones. */
static void put_full_names(const struct session *s, const char *text, struct bytes *out)
{
    while (*text != '\0') {
        size_t taken = 0;
        for (size_t i = 0; i < s->known_name_count && taken == 0; i++) {
            size_t size = strlen(s->known_names[i][0]);
            if (strncmp(text, s->known_names[i][0], size) == 0) {
                bytes_put_text(out, s->known_names[i][1]);
                taken = size;
            }
        }
        if (taken == 0) {
            bytes_put_char(out, *text);
            taken = 1;
        }
        text += taken;
    }
    bytes_text(out);
}

static bool is_length_domain(const char *name)
{
    return name != NULL && (strncmp(name, "varchar_", 8) == 0 || strncmp(name, "char_", 5) == 0);
}

static bool is_too_long(const char *sqlstate, const char *domain)
{
    return (strcmp(sqlstate, "23514") == 0 && is_length_domain(domain)) ||
           strcmp(sqlstate, "22001") == 0;
}

void session_relay_error(struct session *s, const struct backend_message *message)
{
    const char *sqlstate = backend_error_field(message, 'C');
    const char *text = backend_error_field(message, 'M');
    const char *detail = backend_error_field(message, 'D');
    const char *domain = backend_error_field(message, 'd');
    const char *severity = backend_error_field(message, 'S');
    struct bytes full = {0};
    struct bytes full_detail = {0};
    char canceled[80];

    sqlstate = sqlstate != NULL ? sqlstate : "XX000";
    text = text != NULL ? text : "";
    if (strcmp(sqlstate, "40001") == 0) {
        send_serialization_failure(s);
        return;
    }
    if (strcmp(sqlstate, "21000") == 0 && strstr(text, "affect row a second time") != NULL) {
        sqlstate = "XX000";
        text = "Found multiple matches to update the same tuple.";
        detail = NULL;
    } else if (strstr(text, "concurrently updated") != NULL ||
               strstr(text, "concurrently deleted") != NULL) {
        text = "could not complete because of conflict with concurrent transaction";
        detail = NULL;
    } else if (is_too_long(sqlstate, domain)) {
        sqlstate = "22001";
        text = "Value too long for character type";
        detail = NULL;
    } else if (strcmp(sqlstate, "57014") == 0) {
        text_format(canceled, sizeof canceled, "Query (%d) canceled on user's request",
                    (int)backend_pid(s->backend));
        text = canceled;
    } else if (strcmp(sqlstate, "22003") == 0 && strstr(text, "numeric") != NULL) {
        text = "Numeric data overflow (result precision)";
        detail = NULL;
    }
    put_full_names(s, text, &full);
    put_full_names(s, detail != NULL ? detail : "", &full_detail);
    session_send_error(s, severity != NULL ? severity : "ERROR", sqlstate, full.at, full_detail.at);
    bytes_done(&full);
    bytes_done(&full_detail);
}

void session_relay_notice(struct session *s, const struct backend_message *message)
{
    const char *sqlstate = backend_error_field(message, 'C');
    const char *text = backend_error_field(message, 'M');
    const char *severity = backend_error_field(message, 'S');
    struct bytes full = {0};

    put_full_names(s, text != NULL ? text : "", &full);
    session_send_notice(s, severity != NULL && strcmp(severity, "NOTICE") == 0 ? "INFO" : severity,
                        sqlstate != NULL ? sqlstate : "00000", full.at);
    bytes_done(&full);
}

/* ------------------------------------------------------------------------------- side work */

struct backend *session_side(struct session *s)
{
    if (s->side == NULL) {
        struct backend_result result;
        s->side = backend_open(&s->gateway->superuser, &result);
        if (s->side == NULL) {
            session_fail(s, result.sqlstate, result.message, NULL, false);
        }
    }
    return s->side;
}

static bool run_side(struct session *s, const char *sql)
{
    struct backend_result result;
    struct backend *side = session_side(s);

    if (side == NULL) {
        return false;
    }
    (void)backend_query(side, sql, &result);
    bool ok = result.ok;
    if (!ok) {
        fail_result(s, &result);
    }
    backend_result_done(&result);
    return ok;
}

/* Runs a statement of the gateway's own in the client's transaction. */
static bool run_own(struct session *s, const char *sql)
{
    struct backend_result result;
    bool lost = backend_query(s->backend, sql, &result) != 0;
    bool ok = result.ok;

    if (!ok && strcmp(result.sqlstate, "40001") == 0) {
        send_serialization_failure(s);
    } else if (!ok) {
        struct bytes text = {0};
        put_full_names(s, result.message, &text);
        session_fail(s, result.sqlstate, text.at, result.detail, false);
        bytes_done(&text);
    }
    s->ended |= lost;
    backend_result_done(&result);
    return ok;
}

static bool make_type(struct session *s, const struct type *type)
{
    for (size_t i = 0; i < s->known_type_count; i++) {
        if (strcmp(s->known_types[i], type->sql) == 0) {
            return true;
        }
    }
    struct bytes sql = {0};
    type_creation_sql(type, &sql);
    bool ok = run_side(s, bytes_text(&sql));
    bytes_done(&sql);
    if (ok) {
        void *grown = realloc(s->known_types, (s->known_type_count + 1) * sizeof *s->known_types);
        if (grown == NULL) {
            abort();
        }
        s->known_types = grown;
        memcpy(s->known_types[s->known_type_count++], type->sql, sizeof type->sql);
    }
    return ok;
}

static void add_known_name(struct session *s, const char *backend, const char *full)
{
    void *grown = realloc(s->known_names, (s->known_name_count + 1) * sizeof *s->known_names);

    if (grown == NULL) {
        abort();
    }
    s->known_names = grown;
    text_format(s->known_names[s->known_name_count][0], IDENT_FULL_MAX + 1, "%s", backend);
    text_format(s->known_names[s->known_name_count][1], IDENT_FULL_MAX + 1, "%s", full);
    s->known_name_count++;
}

static bool remember_name(struct session *s, const char *full)
{
    char backend[IDENT_BACKEND_MAX + 1];

    ident_backend(full, backend);
    for (size_t i = 0; i < s->known_name_count; i++) {
        if (strcmp(s->known_names[i][0], backend) == 0) {
            return true;
        }
    }
    struct bytes sql = {0};
    bytes_put_text(&sql, "INSERT INTO redshift_sys.long_names VALUES (");
    bytes_put_literal(&sql, backend);
    bytes_put_text(&sql, ", ");
    bytes_put_literal(&sql, full);
    bytes_put_text(&sql, ") ON CONFLICT DO NOTHING");
    bool ok = run_side(s, bytes_text(&sql));
    bytes_done(&sql);
    if (ok) {
        add_known_name(s, backend, full);
    }
    return ok;
}

/* A shortened name that this session has not met: a table made by another one. */
const char *session_full_name(struct session *s, const char *backend)
{
    enum {
        TAIL = 17, /* '~' and 16 digits, see ident.h */
    };
    struct bytes sql = {0};
    struct backend_result result = {0};
    size_t size = strlen(backend);

    for (size_t i = 0; i < s->known_name_count; i++) {
        if (strcmp(s->known_names[i][0], backend) == 0) {
            return s->known_names[i][1];
        }
    }
    if (size <= TAIL || backend[size - TAIL] != '~' || session_side(s) == NULL) {
        return backend;
    }
    bytes_put_text(&sql, "SELECT full_name FROM redshift_sys.long_names WHERE backend_name = ");
    bytes_put_literal(&sql, backend);
    (void)backend_query(s->side, bytes_text(&sql), &result);
    bytes_done(&sql);
    if (result.row_count == 1) {
        add_known_name(s, backend, result.values[0]);
        backend = s->known_names[s->known_name_count - 1][1];
    }
    backend_result_done(&result);
    return backend;
}

/* ------------------------------------------------------------------------------- transactions */

static bool open_transaction(struct session *s, enum transaction kind, const char *sql)
{
    if (!run_own(s, sql)) {
        return false;
    }
    s->transaction = kind;
    s->statements_in_transaction = 0;
    s->at_begin = s->settings;
    return true;
}

/* The figures of the last COPY are session state, but live in a setting of the backend, which a
 * rollback would take back. */
static void restore_copy_figures(struct session *s)
{
    char sql[160];
    struct backend_result result;

    text_format(sql, sizeof sql,
                "SET redshift.last_copy_count = '%lld'; SET redshift.last_copy_id = '%lld'",
                (long long)s->copy_count, (long long)s->copy_id);
    (void)backend_query(s->backend, sql, &result);
    backend_result_done(&result);
}

static void transaction_over(struct session *s, bool rolled_back)
{
    s->transaction = TRANSACTION_NONE;
    s->statements_in_transaction = 0;
    extended_drop_portals(s);
    if (rolled_back) {
        s->settings = s->at_begin;
        if (s->copy_id >= 0) {
            restore_copy_figures(s);
        }
    }
}

/* COMMIT on the backend. A failed transaction ends as a rollback; *ret_rolled_back tells. */
static bool commit(struct session *s, bool *ret_rolled_back)
{
    bool failed = backend_status(s->backend) == 'E';
    bool ok = run_own(s, "COMMIT");

    *ret_rolled_back = failed || !ok;
    transaction_over(s, *ret_rolled_back);
    return ok;
}

bool session_finish_implicit(struct session *s)
{
    bool rolled_back;

    if (s->transaction != TRANSACTION_IMPLICIT) {
        return true;
    }
    return commit(s, &rolled_back);
}

static bool run_begin(struct session *s, const struct statement *st)
{
    if (s->transaction == TRANSACTION_EXPLICIT) {
        session_send_notice(s, "WARNING", "25001", "there is already a transaction in progress");
        return true;
    }
    if (s->transaction == TRANSACTION_IMPLICIT) {
        s->transaction = TRANSACTION_EXPLICIT;
        return true;
    }
    return open_transaction(s, TRANSACTION_EXPLICIT, st->sql.at);
}

static bool run_commit(struct session *s, bool *ret_rolled_back)
{
    *ret_rolled_back = false;
    if (s->transaction == TRANSACTION_NONE) {
        session_send_notice(s, "WARNING", "25P01", "there is no transaction in progress");
        return true;
    }
    bool ok = commit(s, ret_rolled_back);
    if (*ret_rolled_back) {
        extended_drop_named(s);
    }
    return ok;
}

static bool run_rollback(struct session *s)
{
    if (s->transaction == TRANSACTION_NONE) {
        session_send_notice(s, "WARNING", "25P01", "there is no transaction in progress");
        return true;
    }
    bool ok = run_own(s, "ROLLBACK");
    transaction_over(s, true);
    extended_drop_named(s);
    return ok;
}

/* ------------------------------------------------------------------------------- before, after */

static bool check_drop(struct session *s, const struct statement *st);

static bool check_alone(struct session *s, const struct statement *st)
{
    if (!st->alone || s->transaction == TRANSACTION_NONE ||
        (s->transaction == TRANSACTION_IMPLICIT && s->statements_in_transaction == 0)) {
        return true;
    }
    char message[128];
    text_format(message, sizeof message, "%s cannot run inside a transaction block",
                st->kind == STATEMENT_ALTER_TYPE ? "ALTER TABLE ALTER COLUMN" : st->tag);
    session_fail(s, "25001", message, NULL, true);
    return false;
}

static bool lock_target(struct session *s, const struct statement *st)
{
    struct bytes sql = {0};

    if (st->kind != STATEMENT_CHANGE || st->target.len == 0) {
        return true;
    }
    /* One writer a table until the transaction ends; readers go on (redshift.md 2.3). Taken before
     * the statement's snapshot. */
    bytes_put_text(&sql, "LOCK TABLE");
    bytes_put(&sql, st->target.at, st->target.len);
    bytes_put_text(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    bool ok = run_own(s, bytes_text(&sql));
    bytes_done(&sql);
    return ok;
}

bool session_prepare(struct session *s, const struct statement *st)
{
    if (s->transaction != TRANSACTION_NONE && backend_status(s->backend) == 'E' &&
        st->kind != STATEMENT_COMMIT && st->kind != STATEMENT_ROLLBACK) {
        session_fail(s, "25P02",
                     "current transaction is aborted, commands ignored until end of transaction "
                     "block",
                     NULL, false);
        return false;
    }
    if (!check_alone(s, st)) {
        return false;
    }
    for (size_t i = 0; i < st->type_count; i++) {
        if (!make_type(s, &st->types[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < st->long_name_count; i++) {
        if (!remember_name(s, st->long_names[i])) {
            return false;
        }
    }
    bool needs_backend = st->kind != STATEMENT_BEGIN && st->kind != STATEMENT_COMMIT &&
                         st->kind != STATEMENT_ROLLBACK && st->kind != STATEMENT_SET &&
                         st->kind != STATEMENT_SHOW && st->kind != STATEMENT_EMPTY &&
                         st->kind != STATEMENT_DEALLOCATE;
    if (needs_backend && s->transaction == TRANSACTION_NONE &&
        !open_transaction(s, TRANSACTION_IMPLICIT, "BEGIN")) {
        return false;
    }
    if (st->kind == STATEMENT_DEFINE && st->column[0] != '\0' && !check_drop(s, st)) {
        return false;
    }
    return lock_target(s, st);
}

bool session_after(struct session *s, const struct statement *st)
{
    bool rolled_back;

    s->statements_in_transaction++;
    if (st->after.len > 0 && !run_own(s, st->after.at)) {
        return false;
    }
    if (st->kind == STATEMENT_TRUNCATE && !commit(s, &rolled_back)) {
        return false;
    }
    if (st->kind == STATEMENT_DEFINE || st->kind == STATEMENT_ALTER_TYPE) {
        extended_drop_named(s);
    }
    return true;
}

/* "INSERT 0 3", "DELETE 3", "UPDATE 3" stay; the other tags lose their count. */
void session_translate_tag(const struct statement *st, const char *tag, char *ret, size_t size)
{
    if (st->tag[0] != '\0') {
        text_format(ret, size, "%s", st->tag);
        return;
    }
    text_format(ret, size, "%s", tag);
    if (strncmp(tag, "SELECT", 6) == 0) {
        text_format(ret, size, "SELECT");
    }
}

/* ------------------------------------------------------------------------------- settings */

const char *session_setting(const struct session *s, const char *name)
{
    return s->settings.value[setting_index(setting_find(name))];
}

/* 'a, b' becomes "a", "b", each item folded and mapped. */
static void put_search_path(const char *value, struct bytes *out)
{
    char full[IDENT_FULL_MAX + 1];
    char quoted[IDENT_QUOTED_SIZE];

    while (*value != '\0') {
        size_t size = strcspn(value, ",");
        size_t start = strspn(value, " \"'");
        size_t end = size;
        while (end > start && strchr(" \"'", value[end - 1]) != NULL) {
            end--;
        }
        ident_fold(value + start, end > start ? end - start : 0, true, full);
        ident_quote_backend(full, quoted);
        bytes_put_text(out, quoted);
        value += size;
        if (*value == ',') {
            bytes_put_text(out, ", ");
            value++;
        }
    }
}

static bool set_backend(struct session *s, const struct setting *setting, const char *value)
{
    struct bytes sql = {0};

    if (strcmp(setting->name, "client_encoding") == 0) {
        /* The backend always speaks UTF-8, whatever its name here. */
        if (strcmp(value, "UNICODE") != 0 && strcasecmp(value, "utf8") != 0 &&
            strcasecmp(value, "utf-8") != 0 && strcasecmp(value, "unicode") != 0) {
            session_fail(s, "22023", "invalid value for parameter \"client_encoding\"", NULL, true);
            return false;
        }
        return true;
    }
    bytes_printf(&sql, "SET %s TO ", setting->backend);
    if (strcmp(setting->name, "search_path") == 0) {
        put_search_path(value, &sql);
    } else {
        bytes_put_literal(&sql, value);
    }
    bool ok = run_own(s, bytes_text(&sql));
    bytes_done(&sql);
    return ok;
}

bool session_apply_setting(struct session *s, const struct statement *st)
{
    const struct setting *setting = setting_find(st->setting);
    size_t index = setting_index(setting);
    char value[SETTING_VALUE_SIZE];

    setting_normalise(setting, st->value != NULL ? st->value : s->initial.value[index], value,
                      sizeof value);
    if (setting->backend != NULL && !set_backend(s, setting, value)) {
        return false;
    }
    text_format(s->settings.value[index], SETTING_VALUE_SIZE, "%s", value);
    if (setting->status_name != NULL) {
        session_send_parameter(s, setting->status_name, value);
    }
    return true;
}

void session_show_description(const struct statement *st, struct bytes *out)
{
    enum {
        OID_VARCHAR = 1043,
    };
    wire_put_int16(out, 1);
    wire_put_text(out, st->setting);
    wire_put_int32(out, 0);
    wire_put_int16(out, 0);
    wire_put_int32(out, OID_VARCHAR);
    wire_put_int16(out, -1);
    wire_put_int32(out, -1);
    wire_put_int16(out, 0);
}

static void run_show(struct session *s, const struct statement *st, bool with_description)
{
    const char *value = session_setting(s, st->setting);
    struct bytes body = {0};

    if (with_description) {
        session_show_description(st, &body);
        client_send(&s->client, 'T', body.at, body.len);
        body.len = 0;
    }
    wire_put_int16(&body, 1);
    wire_put_int32(&body, (int32_t)strlen(value));
    bytes_put_text(&body, value);
    client_send(&s->client, 'D', body.at, body.len);
    bytes_done(&body);
}

/* ------------------------------------------------------------------------------- COPY, ALTER */

static void send_infos(struct session *s, char *lines)
{
    char *rest = lines;

    while (*rest != '\0') {
        size_t size = strcspn(rest, "\n");
        bool more = rest[size] == '\n';
        rest[size] = '\0';
        if (size > 0) {
            session_send_notice(s, "INFO", "00000", rest);
        }
        rest += size + (more ? 1 : 0);
    }
}

static bool run_copy(struct session *s, const char *text)
{
    static struct copy_outcome outcome;
    struct backend *side = session_side(s);
    struct copy_context context = {
        .session = s->backend,
        .side = side,
        .case_sensitive = strcmp(session_setting(s, "enable_case_sensitive_identifier"), "on") == 0,
        .json_parse_truncate_strings =
            strcmp(session_setting(s, "json_parse_truncate_strings"), "on") == 0,
        .discards_rows = s->gateway->discards_rows,
        .search_path = session_setting(s, "search_path"),
        .roles = s->gateway->roles,
        .role_count = s->gateway->role_count,
    };

    if (side == NULL) {
        return false;
    }
    memset(&outcome, 0, sizeof outcome);
    copy_execute(&context, text, &outcome);
    if (!outcome.ok) {
        if (outcome.copy_id >= 0) {
            s->copy_count = 0;
        }
        if (strcmp(outcome.sqlstate, "40001") == 0) {
            abort_transaction(s);
            send_serialization_failure(s);
        } else {
            session_fail(s, outcome.sqlstate, outcome.message, outcome.detail, true);
        }
        return false;
    }
    s->copy_count = outcome.row_count;
    s->copy_id = outcome.copy_id;
    restore_copy_figures(s);
    send_infos(s, outcome.notice);
    return true;
}

/* What the catalog says of the column whose size is to change. */
static bool
read_column(struct session *s, const struct statement *st, struct backend_result *result)
{
    struct bytes sql = {0};
    char backend[IDENT_BACKEND_MAX + 1];
    const char *target = st->target.at + (st->target.at[0] == ' ');

    ident_backend(st->column, backend);
    bytes_put_text(&sql, "SELECT t.typname, a.atthasdef, EXISTS (SELECT FROM "
                         "redshift_sys.column_marks AS m WHERE m.relation = a.attrelid AND "
                         "m.attribute = a.attnum AND m.mark = 'key'), c.relname "
                         "FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid "
                         "JOIN pg_class AS c ON c.oid = a.attrelid "
                         "WHERE NOT a.attisdropped AND a.attrelid = ");
    bytes_put_literal(&sql, target);
    bytes_put_text(&sql, "::regclass AND a.attname = ");
    bytes_put_literal(&sql, backend);
    (void)backend_query(s->backend, bytes_text(&sql), result);
    bytes_done(&sql);
    if (!result->ok) {
        fail_result(s, result);
        return false;
    }
    if (result->row_count == 0) {
        char message[256];
        text_format(message, sizeof message, "column \"%s\" of relation \"%s\" does not exist",
                    st->column, target);
        session_fail(s, "42703", message, NULL, false);
        return false;
    }
    return true;
}

/* Only the size of a VARCHAR without default, key or constraint, and only another size. */
static bool check_resize(struct session *s, const struct statement *st)
{
    struct backend_result result;
    char message[512];
    const char *why = NULL;
    bool ok = read_column(s, st, &result);

    if (ok) {
        const char *type = result.values[0];
        int length = strncmp(type, "varchar_", 8) == 0 ? (int)strtol(type + 8, NULL, 10) : 0;
        struct bytes table = {0};
        put_full_names(s, result.values[3], &table);
        if (length == 0) {
            why = "can only change the size of VARCHAR columns";
        } else if (result.values[1][0] == 't') {
            why = "column has a default value";
        } else if (result.values[2][0] == 't') {
            why = "column is part of a key";
        } else if (length == st->length) {
            why = "target column size should be different";
        }
        if (why != NULL) {
            text_format(message, sizeof message,
                        "cannot alter column \"%s\" of relation \"%s\", %s", st->column, table.at,
                        why);
            session_fail(s, "0A000", message, NULL, true);
            ok = false;
        }
        bytes_done(&table);
    }
    backend_result_done(&result);
    return ok;
}

/* What DROP COLUMN spares: distribution and sort keys, and the last column. */
static bool check_drop(struct session *s, const struct statement *st)
{
    struct bytes sql = {0};
    struct backend_result result;
    char backend[IDENT_BACKEND_MAX + 1];
    char message[256];
    const char *why = NULL;

    ident_backend(st->column, backend);
    bytes_put_text(&sql, "SELECT count(*) > 1, bool_or(a.attname = ");
    bytes_put_literal(&sql, backend);
    bytes_put_text(&sql, " AND EXISTS (SELECT FROM redshift_sys.column_marks AS m WHERE "
                         "m.relation = a.attrelid AND m.attribute = a.attnum AND "
                         "m.mark IN ('distkey', 'sortkey'))) FROM pg_attribute AS a "
                         "WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ");
    bytes_put_literal(&sql, st->target.at + (st->target.at[0] == ' '));
    bytes_put_text(&sql, "::regclass");
    (void)backend_query(s->backend, bytes_text(&sql), &result);
    bytes_done(&sql);
    bool ok = result.ok;
    if (!ok) {
        fail_result(s, &result);
    } else if (result.values[0] != NULL && result.values[0][0] == 'f') {
        why = "it is the last column";
    } else if (result.values[1] != NULL && result.values[1][0] == 't') {
        why = "it is a distribution or sort key";
    }
    if (why != NULL) {
        text_format(message, sizeof message, "cannot drop column \"%s\", %s", st->column, why);
        session_fail(s, "0A000", message, NULL, true);
        ok = false;
    }
    backend_result_done(&result);
    return ok;
}

static bool run_alter_type(struct session *s, const struct statement *st)
{
    return check_resize(s, st) && run_own(s, st->sql.at) && session_after(s, st);
}

/* ------------------------------------------------------------------------------- local */

bool session_is_local(const struct statement *st)
{
    switch (st->kind) {
    case STATEMENT_QUERY:
    case STATEMENT_CHANGE:
    case STATEMENT_DEFINE:
    case STATEMENT_OTHER:
    case STATEMENT_TRUNCATE:
    case STATEMENT_LOCK:
        return false;
    case STATEMENT_EMPTY:
    case STATEMENT_ALTER_TYPE:
    case STATEMENT_BEGIN:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_COPY:
    case STATEMENT_SET:
    case STATEMENT_SHOW:
    case STATEMENT_DEALLOCATE:
    case STATEMENT_NOTHING:
        return true;
    }
    return true;
}

static bool run_local(struct session *s,
                      const struct statement *st,
                      const char *text,
                      bool with_description,
                      const char **tag)
{
    bool rolled_back = false;

    switch (st->kind) {
    case STATEMENT_BEGIN:
        return run_begin(s, st);
    case STATEMENT_COMMIT:
        if (!run_commit(s, &rolled_back)) {
            return false;
        }
        *tag = rolled_back ? "ROLLBACK" : st->tag;
        return true;
    case STATEMENT_ROLLBACK:
        return run_rollback(s);
    case STATEMENT_COPY:
        s->statements_in_transaction++;
        return run_copy(s, text);
    case STATEMENT_SET:
        return session_apply_setting(s, st);
    case STATEMENT_SHOW:
        run_show(s, st, with_description);
        return true;
    case STATEMENT_ALTER_TYPE:
        return run_alter_type(s, st);
    case STATEMENT_DEALLOCATE:
        extended_deallocate(s, st);
        return true;
    case STATEMENT_EMPTY:
    case STATEMENT_QUERY:
    case STATEMENT_CHANGE:
    case STATEMENT_DEFINE:
    case STATEMENT_OTHER:
    case STATEMENT_TRUNCATE:
    case STATEMENT_LOCK:
    case STATEMENT_NOTHING:
        s->statements_in_transaction++;
        return true;
    }
    return true;
}

bool session_run_local(struct session *s,
                       const struct statement *st,
                       const char *text,
                       bool with_description)
{
    const char *tag = st->tag;

    if (st->kind == STATEMENT_EMPTY) {
        client_send(&s->client, 'I', NULL, 0);
        return true;
    }
    if (!run_local(s, st, text, with_description, &tag)) {
        return false;
    }
    session_send_complete(s, tag);
    return true;
}

/* ------------------------------------------------------------------------------- simple query */

static void forget_columns(struct session *s)
{
    free(s->columns);
    free(s->formats);
    s->columns = NULL;
    s->formats = NULL;
    s->column_count = 0;
}

/* Passes the answer to one simple query on; the tag is kept until the commit is through. */
static bool relay_answer(struct session *s, const struct statement *st, char *tag, size_t tag_size)
{
    struct backend_message message;
    struct bytes body = {0};
    bool ok = true;

    for (;;) {
        if (backend_read(s->backend, &message) != 0) {
            session_send_error(s, "FATAL", "57P01", "the connection behind the sandbox is lost",
                               NULL);
            s->ended = true;
            ok = false;
            break;
        }
        body.len = 0;
        if (message.type == 'T') {
            forget_columns(s);
            rows_describe(s, message.body, message.size, &body, &s->column_count, &s->columns,
                          &s->formats);
            client_send(&s->client, 'T', body.at, body.len);
        } else if (message.type == 'D') {
            rows_convert(message.body, message.size, s->columns, s->column_count, s->formats, 0,
                         &body);
            client_send(&s->client, 'D', body.at, body.len);
        } else if (message.type == 'C') {
            session_translate_tag(st, (const char *)message.body, tag, tag_size);
        } else if (message.type == 'E') {
            session_relay_error(s, &message);
            ok = false;
        } else if (message.type == 'N') {
            session_relay_notice(s, &message);
        } else if (message.type == 'Z') {
            break;
        }
    }
    forget_columns(s);
    bytes_done(&body);
    return ok;
}

static bool
run_simple(struct session *s, const struct statement *st, const char *text, bool is_last)
{
    char tag[64] = "";

    if (!session_prepare(s, st)) {
        return false;
    }
    if (session_is_local(st)) {
        const char *local_tag = st->tag;
        if (st->kind == STATEMENT_EMPTY) {
            return true;
        }
        if (!run_local(s, st, text, true, &local_tag)) {
            return false;
        }
        text_format(tag, sizeof tag, "%s", local_tag);
    } else if (backend_send(s->backend, 'Q', st->sql.at, st->sql.len + 1) != 0 ||
               !relay_answer(s, st, tag, sizeof tag) || !session_after(s, st)) {
        return false;
    }
    if (is_last && !session_finish_implicit(s)) {
        return false;
    }
    session_send_complete(s, tag);
    return true;
}

/* The statements of a query string: [start, end) of each in the token list. */
static size_t find_end(const struct token_list *tokens, size_t start)
{
    size_t end = start;

    while (end < tokens->count && !token_is_mark(&tokens->at[end], ';')) {
        end++;
    }
    return end;
}

static char *statement_text(const struct token_list *tokens, size_t start, size_t end)
{
    if (start == end) {
        return strdup("");
    }
    const struct token *last = &tokens->at[end - 1];
    return strndup(tokens->at[start].at, (size_t)(last->at + last->size - tokens->at[start].at));
}

/* Plans the statement that begins at token *at and runs it unless it is only to be looked at. */
static bool step_query(struct session *s, const struct token_list *tokens, size_t *at, bool run)
{
    struct statement_options options = {
        .case_sensitive = strcmp(session_setting(s, "enable_case_sensitive_identifier"), "on") == 0,
    };
    struct statement st;
    size_t end = find_end(tokens, *at);
    size_t next = end;
    while (next < tokens->count && token_is_mark(&tokens->at[next], ';')) {
        next++;
    }
    bool ok = statement_read(&st, tokens->at + *at, end - *at, &options);
    if (!ok) {
        session_fail(s, st.sqlstate, st.message, NULL, true);
    } else if (run) {
        char *text = statement_text(tokens, *at, end);
        ok = run_simple(s, &st, text, next == tokens->count);
        free(text);
    }
    statement_done(&st);
    *at = next;
    return ok;
}

static bool run_query(struct session *s, const struct token_list *tokens)
{
    size_t first = 0;

    while (first < tokens->count && token_is_mark(&tokens->at[first], ';')) {
        first++;
    }
    if (first == tokens->count) {
        client_send(&s->client, 'I', NULL, 0);
        return true;
    }
    bool is_single = find_end(tokens, first) + 1 >= tokens->count;
    /* A mistake anywhere in the string keeps all of it from running, as a parser would. */
    for (size_t at = first; at < tokens->count;) {
        if (!step_query(s, tokens, &at, false)) {
            return false;
        }
    }
    /* Several statements are one transaction from the start. */
    if (!is_single && s->transaction == TRANSACTION_NONE) {
        if (!open_transaction(s, TRANSACTION_IMPLICIT, "BEGIN")) {
            return false;
        }
        s->statements_in_transaction = 1;
    }
    for (size_t at = first; at < tokens->count;) {
        if (!step_query(s, tokens, &at, true)) {
            return false;
        }
    }
    return true;
}

static bool check_size(struct session *s, size_t size)
{
    char message[160];

    if (size <= STATEMENT_MAX) {
        return true;
    }
    text_format(message, sizeof message,
                "Statement is too large. Statement Size: %zu bytes. Maximum Allowed: %d bytes",
                size, STATEMENT_MAX);
    session_fail(s, "54000", message, NULL, true);
    return false;
}

static void handle_query(struct session *s, const struct client_message *message)
{
    struct token_list tokens;
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    const char *sql = wire_get_text(&r);
    size_t size = strlen(sql);

    if (s->extended_open) {
        s->skipping = true;
        session_fail(s, "08P01", "simple query between extended messages and Sync", NULL, true);
        return;
    }
    if (check_size(s, size)) {
        if (!token_list_read(&tokens, sql, size)) {
            session_fail(s, tokens.sqlstate, tokens.message, NULL, true);
        } else {
            (void)run_query(s, &tokens);
        }
        token_list_done(&tokens);
    }
    if (s->transaction == TRANSACTION_IMPLICIT) {
        /* Only a failed one is left here. */
        struct backend_result result;
        (void)backend_query(s->backend, "ROLLBACK", &result);
        backend_result_done(&result);
        transaction_over(s, true);
    }
    session_send_ready(s);
}

/* ------------------------------------------------------------------------------- the session */

static void handle(struct session *s, const struct client_message *message)
{
    switch (message->type) {
    case 'Q':
        handle_query(s, message);
        break;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
    case 'S':
    case 'H':
        if (message->type == 'P' && !s->skipping && message->size > STATEMENT_MAX) {
            s->skipping = true;
            (void)check_size(s, message->size);
            break;
        }
        extended_handle(s, message);
        break;
    case 'X':
        s->ended = true;
        break;
    case 'd':
    case 'c':
    case 'f':
        break; /* leftovers of a COPY that never was */
    default:
        session_send_error(s, "FATAL", "08P01", "invalid frontend message type", NULL);
        s->ended = true;
        break;
    }
}

void session_run(const struct gateway *gateway, int fd)
{
    struct session s = {.gateway = gateway, .copy_id = -1};
    struct client_message message;

    client_init(&s.client, fd);
    if (session_login(&s)) {
        while (!s.ended && !s.client.lost && client_read(&s.client, &message) == 0) {
            handle(&s, &message);
        }
    }
    (void)client_flush(&s.client);
    extended_done(&s);
    backend_close(s.backend);
    backend_close(s.side);
    free(s.known_types);
    free(s.known_names);
    free(s.application_name);
    client_done(&s.client);
}
