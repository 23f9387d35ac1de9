/*
 * The extended protocol: Parse, Bind, Describe, Execute, Close, Sync. Statements and portals have
 * two names, the client's and PostgreSQL's; the unnamed ones have names of the gateway's on the
 * backend, because its own simple queries would end the backend's unnamed ones. After an error
 * everything up to the next Sync is skipped.
 */
#include "sandbox/session.h"

#include <stdlib.h>
#include <string.h>

enum {
    PARAMETERS_MAX = 32767,
    OID_TEXT = 25,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    FIRST_USER_OID = 16384,
};

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void fail(struct session *s, const char *sqlstate, const char *message, bool refused)
{
    s->skipping = true;
    session_fail(s, sqlstate, message, NULL, refused);
}

/* ------------------------------------------------------------------------------- the two lists */

static void release_prepared(struct prepared *p)
{
    if (--p->references > 0) {
        return;
    }
    statement_done(&p->st);
    bytes_done(&p->row_description);
    free(p->name);
    free(p->text);
    free(p->parameters);
    free(p->forms);
    free(p->columns);
    free(p);
}

static void close_backend(struct session *s, char kind, const char *name)
{
    struct bytes body = {0};
    struct backend_message message;

    if (name[0] == '\0' || s->backend == NULL) {
        return;
    }
    bytes_put_char(&body, kind);
    wire_put_text(&body, name);
    if (backend_send(s->backend, 'C', body.at, body.len) == 0 &&
        backend_send(s->backend, 'S', NULL, 0) == 0) {
        while (backend_read(s->backend, &message) == 0 && message.type != 'Z') {
        }
    }
    bytes_done(&body);
}

static struct prepared *find_prepared(struct session *s, const char *name)
{
    struct prepared *p = s->prepared;

    while (p != NULL && strcmp(p->name, name) != 0) {
        p = p->next;
    }
    return p;
}

static struct portal *find_portal(struct session *s, const char *name)
{
    struct portal *p = s->portals;

    while (p != NULL && strcmp(p->name, name) != 0) {
        p = p->next;
    }
    return p;
}

static void drop_prepared(struct session *s, struct prepared *gone)
{
    struct prepared **link = &s->prepared;

    while (*link != gone) {
        link = &(*link)->next;
    }
    *link = gone->next;
    close_backend(s, 'S', gone->backend);
    release_prepared(gone);
}

static void drop_portal(struct session *s, struct portal *gone, bool close)
{
    struct portal **link = &s->portals;

    while (*link != gone) {
        link = &(*link)->next;
    }
    *link = gone->next;
    if (close) {
        close_backend(s, 'P', gone->backend);
    }
    release_prepared(gone->prepared);
    free(gone->formats);
    free(gone->name);
    free(gone);
}

/* The transaction that held them is over, and PostgreSQL has dropped its own. */
void extended_drop_portals(struct session *s)
{
    while (s->portals != NULL) {
        drop_portal(s, s->portals, false);
    }
}

void extended_drop_named(struct session *s)
{
    struct prepared *next;

    for (struct prepared *p = s->prepared; p != NULL; p = next) {
        next = p->next;
        if (p->name[0] != '\0') {
            drop_prepared(s, p);
        }
    }
}

void extended_deallocate(struct session *s, const struct statement *st)
{
    struct prepared *p = find_prepared(s, st->setting);

    if (p != NULL) {
        drop_prepared(s, p);
    }
}

void extended_done(struct session *s)
{
    extended_drop_portals(s);
    while (s->prepared != NULL) {
        struct prepared *next = s->prepared->next;
        release_prepared(s->prepared);
        s->prepared = next;
    }
}

/* ------------------------------------------------------------------------------- exchange */

/* Reads up to ReadyForQuery. False: an error came and was passed on. */
static bool finish_exchange(struct session *s)
{
    struct backend_message message;
    bool ok = true;

    for (;;) {
        if (backend_read(s->backend, &message) != 0) {
            session_send_error(s, "FATAL", "57P01", "the connection behind the sandbox is lost",
                               NULL);
            s->ended = true;
            return false;
        }
        if (message.type == 'Z') {
            return ok;
        }
        if (message.type == 'E') {
            session_relay_error(s, &message);
            s->skipping = true;
            ok = false;
        } else if (message.type == 'N') {
            session_relay_notice(s, &message);
        }
    }
}

/* ------------------------------------------------------------------------------- Parse */

static enum parameter_form parameter_form(const struct session *s, uint32_t oid)
{
    return oid == s->varbyte_oid ? PARAMETER_BYTES
           : oid == s->super_oid ? PARAMETER_STRING
                                 : PARAMETER_AS_IS;
}

static void
take_parameters(struct session *s, struct prepared *p, const struct backend_message *message)
{
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    int count = wire_get_int16(&r);

    p->parameter_count = count < 0 ? 0 : count;
    p->parameters = allocate((size_t)p->parameter_count, sizeof *p->parameters);
    p->forms = allocate((size_t)p->parameter_count, sizeof *p->forms);
    for (int i = 0; i < p->parameter_count; i++) {
        p->parameters[i] = (uint32_t)wire_get_int32(&r);
        p->forms[i] = parameter_form(s, p->parameters[i]);
    }
}

/* Parameters of a domain's type are described as the type below it. */
static bool resolve_domains(struct session *s, struct prepared *p)
{
    struct bytes sql = {0};
    struct backend_result result = {0};

    for (int i = 0; i < p->parameter_count; i++) {
        if (p->parameters[i] < FIRST_USER_OID || p->parameters[i] == s->super_oid ||
            p->parameters[i] == s->varbyte_oid) {
            continue;
        }
        bytes_text(&sql);
        bool is_first = sql.len == 0;
        bytes_printf(&sql, "%s%u",
                     is_first ? "SELECT oid, typbasetype FROM pg_type WHERE "
                                "typbasetype <> 0 AND oid IN ("
                              : ", ",
                     p->parameters[i]);
    }
    if (sql.len == 0) {
        return true;
    }
    bytes_put_char(&sql, ')');
    struct backend *side = session_side(s);
    bool ok = side != NULL && backend_query(side, bytes_text(&sql), &result) == 0 && result.ok;
    for (int row = 0; ok && row < result.row_count; row++) {
        uint32_t oid = (uint32_t)strtoul(result.values[2 * row], NULL, 10);
        uint32_t base = (uint32_t)strtoul(result.values[2 * row + 1], NULL, 10);
        for (int i = 0; i < p->parameter_count; i++) {
            if (p->parameters[i] == oid) {
                p->parameters[i] = base;
                p->forms[i] = parameter_form(s, base);
            }
        }
    }
    backend_result_done(&result);
    bytes_done(&sql);
    return ok;
}

/* The types a client names, in PostgreSQL's numbers. */
static uint32_t backend_type(const struct session *s, uint32_t oid)
{
    switch (oid) {
    case OID_SUPER:
        return s->super_oid;
    case OID_VARBYTE:
        return s->varbyte_oid;
    case OID_TEXT:
    case OID_VARCHAR:
        return OID_BPCHAR;
    default:
        return oid;
    }
}

static bool parse_on_backend(struct session *s, struct prepared *p, struct wire_reader *types)
{
    struct bytes body = {0};
    struct bytes describe = {0};
    struct backend_message message;
    int16_t *formats = NULL;
    int count = wire_get_int16(types);
    bool ok = true;

    text_format(p->backend, sizeof p->backend, "s%u", ++s->next_id);
    wire_put_text(&body, p->backend);
    wire_put_text(&body, p->st.sql.at);
    wire_put_int16(&body, count);
    for (int i = 0; i < count; i++) {
        wire_put_int32(&body, (int32_t)backend_type(s, (uint32_t)wire_get_int32(types)));
    }
    bytes_put_char(&describe, 'S');
    wire_put_text(&describe, p->backend);
    ok = backend_send(s->backend, 'P', body.at, body.len) == 0 &&
         backend_send(s->backend, 'D', describe.at, describe.len) == 0 &&
         backend_send(s->backend, 'S', NULL, 0) == 0;
    while (ok && backend_read(s->backend, &message) == 0 && message.type != 'Z') {
        if (message.type == 't') {
            take_parameters(s, p, &message);
        } else if (message.type == 'T') {
            rows_describe(s, message.body, message.size, &p->row_description, &p->column_count,
                          &p->columns, &formats);
        } else if (message.type == 'E') {
            session_relay_error(s, &message);
            s->skipping = true;
        } else if (message.type == 'N') {
            session_relay_notice(s, &message);
        }
    }
    free(formats);
    bytes_done(&body);
    bytes_done(&describe);
    return ok && !s->skipping && resolve_domains(s, p);
}

/* One statement, a semicolon behind it at most. */
static bool plan(struct session *s, struct prepared *p)
{
    struct statement_options options = {
        .case_sensitive = strcmp(session_setting(s, "enable_case_sensitive_identifier"), "on") == 0,
    };
    struct token_list tokens;
    bool ok = token_list_read(&tokens, p->text, strlen(p->text));

    if (!ok) {
        fail(s, tokens.sqlstate, tokens.message, true);
    }
    size_t count = tokens.count;
    while (ok && count > 0 && token_is_mark(&tokens.at[count - 1], ';')) {
        count--;
    }
    for (size_t i = 0; ok && i < count; i++) {
        if (token_is_mark(&tokens.at[i], ';')) {
            fail(s, "42601", "cannot insert multiple commands into a prepared statement", true);
            ok = false;
        }
    }
    if (ok && !statement_read(&p->st, tokens.at, count, &options)) {
        fail(s, p->st.sqlstate, p->st.message, true);
        ok = false;
    }
    token_list_done(&tokens);
    return ok;
}

/* A Parse is analysed at once, so the transaction and the write lock come first; statements of the
 * gateway's own wait for Execute. */
static bool prepare(struct session *s, struct prepared *p, struct wire_reader *types)
{
    if (!plan(s, p)) {
        return false;
    }
    if (session_is_local(&p->st)) {
        return true;
    }
    if (!session_prepare(s, &p->st)) {
        s->skipping = true;
        return false;
    }
    return parse_on_backend(s, p, types);
}

static void handle_parse(struct session *s, const struct client_message *message)
{
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    const char *name = wire_get_text(&r);
    const char *sql = wire_get_text(&r);
    struct wire_reader types = r;
    struct prepared *old = find_prepared(s, name);

    if (r.broken) {
        fail(s, "08P01", "invalid Parse message", true);
        return;
    }
    if (old != NULL && name[0] != '\0') {
        fail(s, "42P05", "prepared statement already exists", false);
        return;
    }
    if (old != NULL) {
        drop_prepared(s, old);
    }
    struct prepared *p = allocate(1, sizeof *p);
    p->references = 1;
    p->name = strdup(name);
    p->text = strdup(sql);
    if (p->name == NULL || p->text == NULL) {
        abort();
    }
    if (wire_get_int16(&r) < 0) {
        fail(s, "54000", "too many parameters", true);
        release_prepared(p);
        return;
    }
    if (!prepare(s, p, &types)) {
        s->skipping = true;
        release_prepared(p);
        return;
    }
    p->next = s->prepared;
    s->prepared = p;
    client_send(&s->client, '1', NULL, 0);
}

/* ------------------------------------------------------------------------------- Bind */

static void put_hex(const unsigned char *at, size_t size, struct bytes *out)
{
    static const char digits[] = "0123456789abcdef";

    bytes_put_text(out, "\\x");
    for (size_t i = 0; i < size; i++) {
        bytes_put_char(out, digits[at[i] >> 4]);
        bytes_put_char(out, digits[at[i] & 15]);
    }
}

static void put_json_string(const unsigned char *at, size_t size, struct bytes *out)
{
    bytes_put_char(out, '"');
    for (size_t i = 0; i < size; i++) {
        if (at[i] < 0x20) {
            bytes_printf(out, "\\u%04x", at[i]);
            continue;
        }
        if (at[i] == '"' || at[i] == '\\') {
            bytes_put_char(out, '\\');
        }
        bytes_put_char(out, (char)at[i]);
    }
    bytes_put_char(out, '"');
}

/* Copies the parameters, changing text by the form of its parameter. */
static void put_values(const struct prepared *p,
                       struct wire_reader *r,
                       const int16_t *formats,
                       int format_count,
                       struct bytes *out)
{
    int count = wire_get_int16(r);
    struct bytes value = {0};

    wire_put_int16(out, count);
    for (int i = 0; i < count; i++) {
        int32_t size = wire_get_int32(r);
        if (size < 0) {
            wire_put_int32(out, -1);
            continue;
        }
        const unsigned char *at = wire_get_bytes(r, (size_t)size);
        int format =
            format_count == 0 ? 0 : formats[format_count == 1 || i >= format_count ? 0 : i];
        if (r->broken) {
            break;
        }
        enum parameter_form form =
            i < p->parameter_count && format == 0 ? p->forms[i] : PARAMETER_AS_IS;
        value.len = 0;
        if (form == PARAMETER_BYTES) {
            put_hex(at, (size_t)size, &value);
        } else if (form == PARAMETER_STRING) {
            put_json_string(at, (size_t)size, &value);
        } else {
            bytes_put(&value, at, (size_t)size);
        }
        wire_put_int32(out, (int32_t)value.len);
        bytes_put(out, value.at, value.len);
    }
    bytes_done(&value);
}

static int16_t *get_formats(struct wire_reader *r, int *ret_count)
{
    int count = wire_get_int16(r);

    count = count < 0 ? 0 : count;
    int16_t *formats = allocate((size_t)count, sizeof *formats);
    for (int i = 0; i < count && !r->broken; i++) {
        formats[i] = (int16_t)wire_get_int16(r);
    }
    *ret_count = count;
    return formats;
}

static void put_formats(const int16_t *formats, int count, struct bytes *out)
{
    wire_put_int16(out, count);
    for (int i = 0; i < count; i++) {
        wire_put_int16(out, formats[i]);
    }
}

static bool bind_on_backend(struct session *s, struct portal *portal, struct wire_reader *r)
{
    struct bytes body = {0};
    struct prepared *p = portal->prepared;
    int format_count;
    int16_t *formats = get_formats(r, &format_count);

    text_format(portal->backend, sizeof portal->backend, "p%u", ++s->next_id);
    wire_put_text(&body, portal->backend);
    wire_put_text(&body, p->backend);
    put_formats(formats, format_count, &body);
    put_values(p, r, formats, format_count, &body);
    portal->formats = get_formats(r, &portal->format_count);
    put_formats(portal->formats, portal->format_count, &body);
    free(formats);
    bool ok = !r->broken;
    if (!ok) {
        fail(s, "08P01", "invalid Bind message", true);
    } else {
        ok = backend_send(s->backend, 'B', body.at, body.len) == 0 &&
             backend_send(s->backend, 'S', NULL, 0) == 0 && finish_exchange(s);
    }
    bytes_done(&body);
    return ok;
}

static bool is_too_many(const struct wire_reader *start)
{
    struct wire_reader r = *start;
    int formats = wire_get_int16(&r);

    for (int i = 0; i < formats && !r.broken; i++) {
        (void)wire_get_int16(&r);
    }
    return wire_get_int16(&r) < 0 || formats < 0;
}

static void handle_bind(struct session *s, const struct client_message *message)
{
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    const char *portal_name = wire_get_text(&r);
    const char *name = wire_get_text(&r);
    struct prepared *p = find_prepared(s, name);
    struct portal *old = find_portal(s, portal_name);
    char text[200];

    if (p == NULL) {
        text_format(text, sizeof text, "prepared statement \"%.100s\" does not exist", name);
        fail(s, "26000", text, false);
        return;
    }
    if (is_too_many(&r)) {
        text_format(text, sizeof text, "at most %d parameters are supported", PARAMETERS_MAX);
        fail(s, "54000", text, true);
        return;
    }
    if (old != NULL && portal_name[0] != '\0') {
        fail(s, "42P03", "portal already exists", false);
        return;
    }
    if (old != NULL) {
        drop_portal(s, old, true);
    }
    if (!session_is_local(&p->st) && !session_prepare(s, &p->st)) {
        s->skipping = true;
        return;
    }
    struct portal *portal = allocate(1, sizeof *portal);
    portal->name = strdup(portal_name);
    portal->prepared = p;
    p->references++;
    portal->next = s->portals;
    s->portals = portal;
    if (portal->name == NULL) {
        abort();
    }
    if (!session_is_local(&p->st) && !bind_on_backend(s, portal, &r)) {
        s->skipping = true;
        portal->backend[0] = '\0';
        drop_portal(s, portal, false);
        return;
    }
    client_send(&s->client, '2', NULL, 0);
}

/* ------------------------------------------------------------------------------- Describe */

static void
send_description(struct session *s, const struct prepared *p, const struct portal *portal)
{
    struct bytes body = {0};

    if (p->st.kind == STATEMENT_SHOW) {
        session_show_description(&p->st, &body);
    } else if (p->row_description.len == 0) {
        client_send(&s->client, 'n', NULL, 0);
        return;
    } else {
        bytes_put(&body, p->row_description.at, p->row_description.len);
    }
    /* The statement was described with text results; a portal may have asked for binary ones. The
     * format is the last field of each column. */
    if (portal != NULL && portal->format_count > 0) {
        struct wire_reader r = {.at = (unsigned char *)body.at,
                                .end = (unsigned char *)body.at + body.len};
        int count = wire_get_int16(&r);
        for (int i = 0; i < count; i++) {
            enum {
                FIXED = 18,
            };
            (void)wire_get_text(&r);
            const unsigned char *fixed = wire_get_bytes(&r, FIXED);
            int format = portal->formats[portal->format_count == 1 ? 0 : i];
            body.at[fixed - (unsigned char *)body.at + FIXED - 1] = (char)format;
        }
    }
    client_send(&s->client, 'T', body.at, body.len);
    bytes_done(&body);
}

static void describe_statement(struct session *s, const char *name)
{
    struct prepared *p = find_prepared(s, name);
    struct bytes body = {0};

    if (p == NULL) {
        fail(s, "26000", "prepared statement does not exist", false);
        return;
    }
    wire_put_int16(&body, p->parameter_count);
    for (int i = 0; i < p->parameter_count; i++) {
        wire_put_int32(&body, (int32_t)rows_type_oid(s, p->parameters[i], -1));
    }
    client_send(&s->client, 't', body.at, body.len);
    bytes_done(&body);
    send_description(s, p, NULL);
}

static void handle_describe(struct session *s, const struct client_message *message)
{
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    char kind = (char)*wire_get_bytes(&r, 1);
    const char *name = wire_get_text(&r);

    if (kind == 'S') {
        describe_statement(s, name);
        return;
    }
    struct portal *portal = find_portal(s, name);
    if (portal == NULL) {
        fail(s, "34000", "portal does not exist", false);
        return;
    }
    send_description(s, portal->prepared, portal);
}

/* ------------------------------------------------------------------------------- Execute */

static bool execute_on_backend(struct session *s, struct portal *portal, int32_t row_limit)
{
    struct prepared *p = portal->prepared;
    struct bytes body = {0};
    struct backend_message message;
    char tag[64] = "";
    bool ok = true;
    bool suspended = false;

    wire_put_text(&body, portal->backend);
    wire_put_int32(&body, row_limit);
    if (backend_send(s->backend, 'E', body.at, body.len) != 0 ||
        backend_send(s->backend, 'S', NULL, 0) != 0) {
        s->ended = true;
        bytes_done(&body);
        return false;
    }
    while (backend_read(s->backend, &message) == 0 && message.type != 'Z') {
        body.len = 0;
        if (message.type == 'D') {
            rows_convert(message.body, message.size, p->columns, p->column_count, portal->formats,
                         portal->format_count, &body);
            client_send(&s->client, 'D', body.at, body.len);
        } else if (message.type == 'C') {
            session_translate_tag(&p->st, (const char *)message.body, tag, sizeof tag);
        } else if (message.type == 's') {
            suspended = true;
        } else if (message.type == 'E') {
            session_relay_error(s, &message);
            ok = false;
        } else if (message.type == 'N') {
            session_relay_notice(s, &message);
        }
    }
    bytes_done(&body);
    if (!ok) {
        return false;
    }
    if (suspended) {
        client_send(&s->client, 's', NULL, 0);
        return true;
    }
    p->references++; /* session_after may drop it together with its portal */
    ok = session_after(s, &p->st);
    release_prepared(p);
    if (ok) {
        session_send_complete(s, tag);
    }
    return ok;
}

static void handle_execute(struct session *s, const struct client_message *message)
{
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    const char *name = wire_get_text(&r);
    int32_t row_limit = wire_get_int32(&r);
    struct portal *portal = find_portal(s, name);

    if (portal == NULL) {
        fail(s, "34000", "portal does not exist", false);
        return;
    }
    struct prepared *p = portal->prepared;
    if (!session_is_local(&p->st)) {
        s->skipping = !execute_on_backend(s, portal, row_limit);
        return;
    }
    p->references++;
    s->skipping = !session_prepare(s, &p->st) || !session_run_local(s, &p->st, p->text, false);
    release_prepared(p);
}

/* ------------------------------------------------------------------------------- the rest */

static void handle_close(struct session *s, const struct client_message *message)
{
    struct wire_reader r = {.at = message->body, .end = message->body + message->size};
    char kind = (char)*wire_get_bytes(&r, 1);
    const char *name = wire_get_text(&r);

    if (kind == 'S') {
        struct prepared *p = find_prepared(s, name);
        if (p != NULL) {
            drop_prepared(s, p);
        }
    } else {
        struct portal *portal = find_portal(s, name);
        if (portal != NULL) {
            drop_portal(s, portal, true);
        }
    }
    client_send(&s->client, '3', NULL, 0);
}

static void handle_sync(struct session *s)
{
    s->skipping = false;
    s->extended_open = false;
    (void)session_finish_implicit(s);
    session_send_ready(s);
}

void extended_handle(struct session *s, const struct client_message *message)
{
    if (message->type == 'S') {
        handle_sync(s);
        return;
    }
    if (message->type == 'H') {
        (void)client_flush(&s->client);
        return;
    }
    s->extended_open = true;
    if (s->skipping) {
        return;
    }
    switch (message->type) {
    case 'P':
        handle_parse(s, message);
        break;
    case 'B':
        handle_bind(s, message);
        break;
    case 'D':
        handle_describe(s, message);
        break;
    case 'E':
        handle_execute(s, message);
        break;
    default:
        handle_close(s, message);
        break;
    }
}
