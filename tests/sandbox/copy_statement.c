/*
 * The grammar of COPY from S3. In comes the statement's text from the gateway, out goes a
 * struct copy_statement or the refusal a client would see. Knows no database and no network.
 *
 * Source of the rules: Redshift Database Developer Guide, COPY and its parameter pages. Options
 * come in any order, keywords in any case, AS is noise almost everywhere, the words inside quotes
 * ('auto') are case-sensitive. What Redshift has and the sandbox does not emulate is refused with
 * 0A000 and those words, so that no test passes by an option being ignored.
 */
#include "sandbox/copy_statement.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------ words of the statement */

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,   /* unquoted */
    TOKEN_QUOTED, /* "quoted name", quotes removed */
    TOKEN_STRING, /* 'literal', decoded */
    TOKEN_NUMBER,
    TOKEN_SYMBOL, /* one byte */
    TOKEN_BROKEN, /* a quote that never closes */
};

struct reader {
    const char *at;
    enum token_kind kind;
    struct bytes text; /* of the current token, zero-terminated */
    struct copy_statement *st;
    struct copy_outcome *ret;
    uint64_t seen; /* bit per row of the option table */
    bool format_json;
};

static bool read_option(struct reader *r);

static void skip_blanks(struct reader *r)
{
    for (;;) {
        if (isspace((unsigned char)*r->at)) {
            r->at++;
        } else if (r->at[0] == '-' && r->at[1] == '-') {
            r->at += strcspn(r->at, "\n");
        } else if (r->at[0] == '/' && r->at[1] == '*') {
            const char *end = strstr(r->at + 2, "*/");
            r->at = end == NULL ? r->at + strlen(r->at) : end + 2;
        } else {
            return;
        }
    }
}

/* The backslash escapes of a literal under standard_conforming_strings = off. */
static void read_escape(struct reader *r)
{
    char c = *r->at;
    if (c >= '0' && c <= '7') {
        unsigned value = 0;
        for (int i = 0; i < 3 && *r->at >= '0' && *r->at <= '7'; i++, r->at++) {
            value = value * 8 + (unsigned)(*r->at - '0');
        }
        bytes_put_char(&r->text, (char)(unsigned char)value);
        return;
    }
    r->at++;
    switch (c) {
    case 'n':
        c = '\n';
        break;
    case 't':
        c = '\t';
        break;
    case 'r':
        c = '\r';
        break;
    case 'b':
        c = '\b';
        break;
    case 'f':
        c = '\f';
        break;
    default:
        break;
    }
    bytes_put_char(&r->text, c);
}

static void read_delimited(struct reader *r, char quote, enum token_kind kind)
{
    r->at++;
    for (;;) {
        if (*r->at == '\0') {
            r->kind = TOKEN_BROKEN;
            break;
        }
        if (*r->at == quote) {
            r->at++;
            if (*r->at != quote) {
                r->kind = kind;
                break;
            }
            bytes_put_char(&r->text, quote);
            r->at++;
        } else if (*r->at == '\\' && quote == '\'' && r->at[1] != '\0') {
            r->at++;
            read_escape(r);
        } else {
            bytes_put_char(&r->text, *r->at++);
        }
    }
}

static void next(struct reader *r)
{
    r->text.len = 0;
    skip_blanks(r);
    unsigned char c = (unsigned char)*r->at;
    if (c == '\0') {
        r->kind = TOKEN_END;
    } else if (c == '\'') {
        read_delimited(r, '\'', TOKEN_STRING);
    } else if (c == '"') {
        read_delimited(r, '"', TOKEN_QUOTED);
    } else if (isalpha(c) || c == '_' || c == '#' || c >= 0x80) {
        r->kind = TOKEN_WORD; /* #name is a temporary table */
        while (c == '#' || isalnum(c) || c == '_' || c == '$' || c >= 0x80) {
            bytes_put_char(&r->text, (char)c);
            c = (unsigned char)*++r->at;
        }
    } else if (isdigit(c)) {
        r->kind = TOKEN_NUMBER;
        while (isdigit((unsigned char)*r->at)) {
            bytes_put_char(&r->text, *r->at++);
        }
    } else {
        r->kind = TOKEN_SYMBOL;
        bytes_put_char(&r->text, *r->at++);
    }
    (void)bytes_text(&r->text);
}

static bool is_word(const struct reader *r, const char *word)
{
    return r->kind == TOKEN_WORD && strcasecmp(r->text.at, word) == 0;
}

static bool is_symbol(const struct reader *r, char c)
{
    return r->kind == TOKEN_SYMBOL && r->text.at[0] == c;
}

static bool take_word(struct reader *r, const char *word)
{
    if (!is_word(r, word)) {
        return false;
    }
    next(r);
    return true;
}

/* ------------------------------------------------------------------ refusals */

void copy_fail(struct copy_outcome *ret, const char *sqlstate, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ret->ok = false;
    memcpy(ret->sqlstate, sqlstate, 5);
    ret->sqlstate[5] = '\0';
    vsnprintf(ret->message, sizeof ret->message, format, args);
    va_end(args);
    ret->detail[0] = '\0';
}

/* A string token may hold a credential, so it is never quoted back. */
static bool fail_syntax(struct reader *r)
{
    switch (r->kind) {
    case TOKEN_END:
        copy_fail(r->ret, "42601", "syntax error at end of input");
        break;
    case TOKEN_BROKEN:
        copy_fail(r->ret, "42601", "unterminated quoted string");
        break;
    case TOKEN_STRING:
        copy_fail(r->ret, "42601", "syntax error at or near a quoted string");
        break;
    default:
        copy_fail(r->ret, "42601", "syntax error at or near \"%s\"", r->text.at);
        break;
    }
    return false;
}

static bool fail_not_emulated(struct reader *r, const char *what)
{
    copy_fail(r->ret, "0A000", "COPY option %s is not emulated by redshift-sandbox", what);
    return false;
}

static char *copy_text(const char *text)
{
    struct bytes b = {0};
    bytes_put_text(&b, text);
    (void)bytes_text(&b);
    return b.at;
}

/* ------------------------------------------------------------------ pieces of the grammar */

static bool take_string(struct reader *r, char **ret_text)
{
    (void)take_word(r, "AS");
    if (r->kind != TOKEN_STRING) {
        return fail_syntax(r);
    }
    free(*ret_text);
    *ret_text = copy_text(r->text.at);
    next(r);
    return true;
}

static bool take_name(struct reader *r, struct copy_name *ret_name)
{
    if (r->kind != TOKEN_WORD && r->kind != TOKEN_QUOTED) {
        return fail_syntax(r);
    }
    if (r->text.len == 0) {
        copy_fail(r->ret, "42601", "zero-length delimited identifier at or near \"\"\"\"");
        return false;
    }
    ret_name->text = copy_text(r->text.at);
    ret_name->quoted = r->kind == TOKEN_QUOTED;
    next(r);
    return true;
}

static bool take_table(struct reader *r)
{
    if (!take_name(r, &r->st->table)) {
        return false;
    }
    if (is_symbol(r, '.')) {
        next(r);
        r->st->schema = r->st->table;
        r->st->table = (struct copy_name){0};
        return take_name(r, &r->st->table);
    }
    return true;
}

static bool take_columns(struct reader *r)
{
    struct bytes list = {0};
    do {
        next(r);
        struct copy_name name = {0};
        if (!take_name(r, &name)) {
            r->st->columns = (void *)list.at;
            return false;
        }
        bytes_put(&list, &name, sizeof name);
        r->st->column_count++;
    } while (is_symbol(r, ','));
    r->st->columns = (void *)list.at;
    if (!is_symbol(r, ')')) {
        return fail_syntax(r);
    }
    next(r);
    return true;
}

/* ------------------------------------------------------------------ authorisation */

static bool fail_credentials(struct reader *r)
{
    copy_fail(r->ret, "XX000",
              "Invalid credentials. Must be of the format: credentials 'aws_iam_role=...' or "
              "'aws_access_key_id=...;aws_secret_access_key=...[;token=...]'");
    return false;
}

/* 'name=value;name=value': no spaces, no line breaks, each name once. */
static bool read_credentials(struct reader *r, const char *text)
{
    if (text[strcspn(text, " \t\r\n")] != '\0') {
        return fail_credentials(r);
    }
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, ";");
        const char *equals = memchr(at, '=', len);
        if (equals == NULL || equals == at + len - 1) {
            return fail_credentials(r);
        }
        struct piece name = {at, (size_t)(equals - at)};
        char **to = NULL;
        if (piece_is(name, "aws_access_key_id")) {
            to = &r->st->access_key_id;
        } else if (piece_is(name, "aws_secret_access_key")) {
            to = &r->st->secret_access_key;
        } else if (piece_is(name, "token")) {
            to = &r->st->session_token;
        } else if (piece_is(name, "aws_iam_role")) {
            to = &r->st->iam_role;
        }
        if (to == NULL || *to != NULL) {
            return fail_credentials(r);
        }
        struct bytes value = {0};
        bytes_put(&value, equals + 1, len - name.len - 1);
        (void)bytes_text(&value);
        *to = value.at;
        at += len;
        at += *at == ';';
    }
    const struct copy_statement *st = r->st;
    bool keys = st->access_key_id != NULL && st->secret_access_key != NULL;
    bool any_key =
        st->access_key_id != NULL || st->secret_access_key != NULL || st->session_token != NULL;
    if (st->iam_role != NULL ? any_key : !keys) {
        return fail_credentials(r);
    }
    return true;
}

/* ------------------------------------------------------------------ option by option */

static bool take_flag(struct reader *r, bool *ret_flag)
{
    (void)r;
    *ret_flag = true;
    return true;
}

static bool take_number(struct reader *r, int64_t most, const char *option, int64_t *ret_number)
{
    (void)take_word(r, "AS");
    if (r->kind != TOKEN_NUMBER) {
        return fail_syntax(r);
    }
    long long value = r->text.len > 18 ? most + 1 : strtoll(r->text.at, NULL, 10);
    if (value > most) {
        copy_fail(r->ret, "XX000", "%s must be between 0 and %lld", option, (long long)most);
        return false;
    }
    *ret_number = value;
    next(r);
    return true;
}

/* [PRESET] [ON | OFF | TRUE | FALSE]; the sandbox has no encodings and no statistics of its own,
 * so only the words are checked. */
static bool take_switch(struct reader *r, bool preset)
{
    (void)take_word(r, "AS");
    static const char *const words[] = {"ON", "OFF", "TRUE", "FALSE"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (take_word(r, words[i])) {
            return true;
        }
    }
    if (preset) {
        (void)take_word(r, "PRESET");
    }
    return true;
}

static bool option_json(struct reader *r)
{
    if (r->format_json) {
        copy_fail(r->ret, "42601", "conflicting or redundant options");
        return false;
    }
    r->format_json = true;
    bool as = take_word(r, "AS");
    if (r->kind != TOKEN_STRING) {
        return as ? fail_syntax(r) : true;
    }
    if (strcmp(r->text.at, "auto") == 0) {
        r->st->json = COPY_JSON_AUTO;
    } else if (strcmp(r->text.at, "auto ignorecase") == 0) {
        r->st->json = COPY_JSON_AUTO_IGNORECASE;
    } else if (strcmp(r->text.at, "noshred") == 0) {
        r->st->json = COPY_JSON_NOSHRED;
    } else if (strncmp(r->text.at, "s3://", 5) == 0) {
        return fail_not_emulated(r, "JSON with a jsonpaths file");
    } else {
        copy_fail(r->ret, "XX000",
                  "Invalid JSON option: must be 'auto', 'auto ignorecase', "
                  "'noshred' or the path of a jsonpaths file");
        return false;
    }
    next(r);
    return true;
}

static bool option_format(struct reader *r)
{
    (void)take_word(r, "AS");
    if (take_word(r, "JSON")) {
        return option_json(r);
    }
    if (r->kind != TOKEN_WORD) {
        return fail_syntax(r);
    }
    return read_option(r);
}

static bool set_compression(struct reader *r, enum copy_compression compression)
{
    if (r->st->compression != COPY_PLAIN) {
        copy_fail(r->ret, "42601", "conflicting or redundant options");
        return false;
    }
    r->st->compression = compression;
    return true;
}

static bool option_gzip(struct reader *r)
{
    return set_compression(r, COPY_GZIP);
}

static bool option_zstd(struct reader *r)
{
    return set_compression(r, COPY_ZSTD);
}

static bool option_manifest(struct reader *r)
{
    return take_flag(r, &r->st->manifest);
}

static bool option_region(struct reader *r)
{
    if (!take_string(r, &r->st->region)) {
        return false;
    }
    size_t len = strlen(r->st->region);
    if (len == 0 || len > 40 ||
        strspn(r->st->region, "abcdefghijklmnopqrstuvwxyz0123456789-") < len) {
        copy_fail(r->ret, "XX000", "Invalid value for REGION");
        return false;
    }
    return true;
}

static bool option_iam_role(struct reader *r)
{
    (void)take_word(r, "AS");
    if (take_word(r, "DEFAULT")) {
        r->st->iam_role = copy_text("default");
        return true;
    }
    return take_string(r, &r->st->iam_role);
}

static bool option_with(struct reader *r)
{
    if (!is_word(r, "CREDENTIALS")) {
        return fail_syntax(r);
    }
    return read_option(r);
}

static bool option_credentials(struct reader *r)
{
    char *text = NULL;
    if (!take_string(r, &text)) {
        return false;
    }
    bool free_of_keys = r->st->access_key_id == NULL && r->st->secret_access_key == NULL &&
                        r->st->session_token == NULL && r->st->iam_role == NULL;
    bool ok = false;
    if (!free_of_keys) {
        copy_fail(r->ret, "42601", "conflicting or redundant options");
    } else {
        ok = read_credentials(r, text);
    }
    explicit_bzero(text, strlen(text));
    free(text);
    return ok;
}

static bool option_access_key_id(struct reader *r)
{
    return take_string(r, &r->st->access_key_id);
}

static bool option_secret_access_key(struct reader *r)
{
    return take_string(r, &r->st->secret_access_key);
}

static bool option_session_token(struct reader *r)
{
    return take_string(r, &r->st->session_token);
}

static bool take_time_format(struct reader *r,
                             const char *option,
                             const char *plain,
                             bool epochs,
                             enum copy_time_format *ret_format)
{
    (void)take_word(r, "AS");
    if (r->kind != TOKEN_STRING) {
        return fail_syntax(r);
    }
    if (strcmp(r->text.at, "auto") == 0) {
        *ret_format = COPY_TIME_AUTO;
    } else if (epochs && strcmp(r->text.at, "epochsecs") == 0) {
        *ret_format = COPY_TIME_EPOCH_SECONDS;
    } else if (epochs && strcmp(r->text.at, "epochmillisecs") == 0) {
        *ret_format = COPY_TIME_EPOCH_MILLISECONDS;
    } else if (strcmp(r->text.at, plain) == 0) {
        *ret_format = COPY_TIME_DEFAULT;
    } else {
        copy_fail(r->ret, "0A000",
                  "%s with a format of its own is not emulated by redshift-sandbox", option);
        return false;
    }
    next(r);
    return true;
}

static bool option_date_format(struct reader *r)
{
    return take_time_format(r, "DATEFORMAT", "YYYY-MM-DD", false, &r->st->date_format);
}

static bool option_time_format(struct reader *r)
{
    return take_time_format(r, "TIMEFORMAT", "YYYY-MM-DD HH:MI:SS", true, &r->st->time_format);
}

static bool option_truncate_columns(struct reader *r)
{
    return take_flag(r, &r->st->truncate_columns);
}

static bool option_accept_invalid_chars(struct reader *r)
{
    bool as = take_word(r, "AS");
    r->st->accept_invalid_char = '?';
    if (r->kind != TOKEN_STRING) {
        return as ? fail_syntax(r) : true;
    }
    if (r->text.len != 1 || (unsigned char)r->text.at[0] >= 0x80 || r->text.at[0] == '\0') {
        copy_fail(r->ret, "XX000", "ACCEPTINVCHARS replacement must be one ASCII character");
        return false;
    }
    r->st->accept_invalid_char = r->text.at[0];
    next(r);
    return true;
}

static bool option_accept_any_date(struct reader *r)
{
    return take_flag(r, &r->st->accept_any_date);
}

static bool option_empty_as_null(struct reader *r)
{
    return take_flag(r, &r->st->empty_as_null);
}

static bool option_blanks_as_null(struct reader *r)
{
    return take_flag(r, &r->st->blanks_as_null);
}

static bool option_trim_blanks(struct reader *r)
{
    return take_flag(r, &r->st->trim_blanks);
}

static bool option_roundec(struct reader *r)
{
    return take_flag(r, &r->st->round_decimals);
}

static bool option_max_error(struct reader *r)
{
    return take_number(r, 100000, "MAXERROR", &r->st->max_error);
}

static bool option_ignore_all_errors(struct reader *r)
{
    r->st->max_error = INT64_MAX;
    return true;
}

static bool option_no_load(struct reader *r)
{
    return take_flag(r, &r->st->no_load);
}

static bool option_comp_update(struct reader *r)
{
    return take_switch(r, true);
}

static bool option_stat_update(struct reader *r)
{
    r->st->stat_update_named = true;
    return take_switch(r, false);
}

static bool option_comp_rows(struct reader *r)
{
    int64_t ignored = 0;
    return take_number(r, INT64_C(1000000000), "COMPROWS", &ignored);
}

static bool option_encoding(struct reader *r)
{
    (void)take_word(r, "AS");
    if (r->kind != TOKEN_WORD && r->kind != TOKEN_STRING) {
        return fail_syntax(r);
    }
    if (strcasecmp(r->text.at, "UTF8") != 0 && strcasecmp(r->text.at, "AUTO") != 0) {
        return fail_not_emulated(r, "ENCODING other than UTF8");
    }
    next(r);
    return true;
}

/* Redshift knows these but not together with JSON; the reader stops at the first of them because
 * their arguments do not matter any more. */
static bool refuse_with_json(struct reader *r, const char *option)
{
    copy_fail(r->ret, "0A000", "%s is not supported with FORMAT JSON", option);
    return false;
}

struct option {
    const char *name;
    bool (*take)(struct reader *r);
    enum { EMULATED, NOT_EMULATED, NOT_WITH_JSON } kind;
};

static const struct option options[] = {
    {"JSON", option_json, EMULATED},
    {"FORMAT", option_format, EMULATED},
    {"GZIP", option_gzip, EMULATED},
    {"ZSTD", option_zstd, EMULATED},
    {"MANIFEST", option_manifest, EMULATED},
    {"REGION", option_region, EMULATED},
    {"WITH", option_with, EMULATED},
    {"CREDENTIALS", option_credentials, EMULATED},
    {"ACCESS_KEY_ID", option_access_key_id, EMULATED},
    {"SECRET_ACCESS_KEY", option_secret_access_key, EMULATED},
    {"SESSION_TOKEN", option_session_token, EMULATED},
    {"IAM_ROLE", option_iam_role, EMULATED},
    {"DATEFORMAT", option_date_format, EMULATED},
    {"TIMEFORMAT", option_time_format, EMULATED},
    {"TRUNCATECOLUMNS", option_truncate_columns, EMULATED},
    {"ACCEPTINVCHARS", option_accept_invalid_chars, EMULATED},
    {"ACCEPTANYDATE", option_accept_any_date, EMULATED},
    {"EMPTYASNULL", option_empty_as_null, EMULATED},
    {"BLANKSASNULL", option_blanks_as_null, EMULATED},
    {"TRIMBLANKS", option_trim_blanks, EMULATED},
    {"ROUNDEC", option_roundec, EMULATED},
    {"MAXERROR", option_max_error, EMULATED},
    {"IGNOREALLERRORS", option_ignore_all_errors, EMULATED},
    {"NOLOAD", option_no_load, EMULATED},
    {"COMPUPDATE", option_comp_update, EMULATED},
    {"STATUPDATE", option_stat_update, EMULATED},
    {"COMPROWS", option_comp_rows, EMULATED},
    {"ENCODING", option_encoding, EMULATED},
    {"LZOP", NULL, NOT_EMULATED},
    {"BZIP2", NULL, NOT_EMULATED},
    {"ENCRYPTED", NULL, NOT_EMULATED},
    {"MASTER_SYMMETRIC_KEY", NULL, NOT_EMULATED},
    {"EXPLICIT_IDS", NULL, NOT_EMULATED},
    {"IGNOREHEADER", NULL, NOT_EMULATED},
    {"SSH", NULL, NOT_EMULATED},
    {"AVRO", NULL, NOT_EMULATED},
    {"PARQUET", NULL, NOT_EMULATED},
    {"ORC", NULL, NOT_EMULATED},
    {"SHAPEFILE", NULL, NOT_EMULATED},
    {"CSV", NULL, NOT_WITH_JSON},
    {"QUOTE", NULL, NOT_WITH_JSON},
    {"DELIMITER", NULL, NOT_WITH_JSON},
    {"ESCAPE", NULL, NOT_WITH_JSON},
    {"FILLRECORD", NULL, NOT_WITH_JSON},
    {"FIXEDWIDTH", NULL, NOT_WITH_JSON},
    {"IGNOREBLANKLINES", NULL, NOT_WITH_JSON},
    {"NULL", NULL, NOT_WITH_JSON},
    {"READRATIO", NULL, NOT_WITH_JSON},
    {"REMOVEQUOTES", NULL, NOT_WITH_JSON},
};
_Static_assert(sizeof options / sizeof *options <= 64, "one bit each in reader.seen");

static bool read_option(struct reader *r)
{
    if (r->kind != TOKEN_WORD) {
        return fail_syntax(r);
    }
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const struct option *option = &options[i];
        if (!is_word(r, option->name)) {
            continue;
        }
        if (r->seen & (UINT64_C(1) << i)) {
            copy_fail(r->ret, "42601", "conflicting or redundant options");
            return false;
        }
        r->seen |= UINT64_C(1) << i;
        if (option->kind == NOT_EMULATED) {
            return fail_not_emulated(r, option->name);
        }
        if (option->kind == NOT_WITH_JSON) {
            return refuse_with_json(r, option->name);
        }
        next(r);
        return option->take(r);
    }
    return fail_syntax(r);
}

/* ------------------------------------------------------------------ the whole statement */

static bool was_named(const struct reader *r, const char *name)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return (r->seen & (UINT64_C(1) << i)) != 0;
        }
    }
    return false;
}

static bool check_authorisation(struct reader *r)
{
    const struct copy_statement *st = r->st;
    bool key_options = was_named(r, "ACCESS_KEY_ID") || was_named(r, "SECRET_ACCESS_KEY") ||
                       was_named(r, "SESSION_TOKEN");
    int families = (key_options ? 1 : 0) + was_named(r, "CREDENTIALS") + was_named(r, "IAM_ROLE");
    if (families == 0) {
        copy_fail(r->ret, "XX000", "CREDENTIALS argument is required but not supplied");
        return false;
    }
    if (families > 1) {
        copy_fail(r->ret, "42601", "conflicting or redundant options");
        return false;
    }
    if (st->iam_role == NULL && (st->access_key_id == NULL || st->secret_access_key == NULL ||
                                 *st->access_key_id == '\0' || *st->secret_access_key == '\0')) {
        return fail_credentials(r);
    }
    return true;
}

static bool check_whole(struct reader *r)
{
    if (!r->format_json) {
        copy_fail(r->ret, "0A000",
                  "COPY of delimited text is not emulated by redshift-sandbox: name FORMAT JSON");
        return false;
    }
    if (was_named(r, "MAXERROR") && was_named(r, "IGNOREALLERRORS")) {
        copy_fail(r->ret, "42601", "conflicting or redundant options");
        return false;
    }
    if (r->st->max_error == 0) {
        r->st->max_error = 1;
    }
    return check_authorisation(r);
}

static bool read_statement(struct reader *r)
{
    next(r);
    if (!take_word(r, "COPY") || !take_table(r)) {
        return r->ret->message[0] != '\0' ? false : fail_syntax(r);
    }
    if (is_symbol(r, '(') && !take_columns(r)) {
        return false;
    }
    if (!take_word(r, "FROM") || r->kind != TOKEN_STRING) {
        return fail_syntax(r);
    }
    if (!take_string(r, &r->st->source)) {
        return false;
    }
    if (strncmp(r->st->source, "s3://", 5) != 0 || strcspn(r->st->source + 5, "/") == 0) {
        copy_fail(r->ret, "0A000",
                  "COPY is emulated by redshift-sandbox from s3://bucket/key only");
        return false;
    }
    while (r->kind != TOKEN_END && !is_symbol(r, ';')) {
        if (!read_option(r)) {
            return false;
        }
    }
    if (is_symbol(r, ';')) {
        next(r);
        if (r->kind != TOKEN_END) {
            return fail_syntax(r);
        }
    }
    return check_whole(r);
}

bool copy_statement_parse(const char *sql, struct copy_statement *st, struct copy_outcome *ret)
{
    *st = (struct copy_statement){0};
    struct reader r = {.at = sql, .st = st, .ret = ret};
    ret->message[0] = '\0';
    bool ok = read_statement(&r);
    /* The token buffer has held the secrets too. */
    if (r.text.at != NULL) {
        explicit_bzero(r.text.at, r.text.cap);
    }
    bytes_done(&r.text);
    return ok;
}

static void wipe(char **text)
{
    if (*text != NULL) {
        explicit_bzero(*text, strlen(*text));
    }
    free(*text);
    *text = NULL;
}

void copy_statement_done(struct copy_statement *st)
{
    for (int i = 0; i < st->column_count; i++) {
        free(st->columns[i].text);
    }
    free(st->columns);
    free(st->schema.text);
    free(st->table.text);
    free(st->source);
    free(st->region);
    free(st->iam_role);
    wipe(&st->access_key_id);
    wipe(&st->secret_access_key);
    wipe(&st->session_token);
    *st = (struct copy_statement){0};
}
