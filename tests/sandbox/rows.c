/*
 * Results on their way to the client: type OIDs, column names, and the text of SUPER and VARBYTE.
 * In come PostgreSQL's RowDescription and DataRow bodies, out go Redshift's. No I/O.
 */
#include "sandbox/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OID_NAME = 19,
    OID_TEXT = 25,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
};

uint32_t rows_type_oid(const struct session *s, uint32_t oid, int32_t modifier)
{
    if (oid == s->super_oid) {
        return OID_SUPER;
    }
    if (oid == s->varbyte_oid) {
        return OID_VARBYTE;
    }
    if (oid == OID_TEXT || (oid == OID_BPCHAR && modifier < 0)) {
        return OID_VARCHAR;
    }
    return oid;
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

void rows_describe(struct session *s,
                   const unsigned char *body,
                   size_t size,
                   struct bytes *out,
                   int *ret_count,
                   enum column_form **ret_columns,
                   int16_t **ret_formats)
{
    struct wire_reader r = {.at = body, .end = body + size};
    int count = wire_get_int16(&r);
    count = count < 0 ? 0 : count;
    enum column_form *columns = allocate((size_t)count, sizeof *columns);
    int16_t *formats = allocate((size_t)count, sizeof *formats);

    wire_put_int16(out, count);
    for (int i = 0; i < count; i++) {
        const char *name = wire_get_text(&r);
        int32_t table = wire_get_int32(&r);
        int attribute = wire_get_int16(&r);
        uint32_t oid = (uint32_t)wire_get_int32(&r);
        int type_size = wire_get_int16(&r);
        int32_t modifier = wire_get_int32(&r);
        formats[i] = (int16_t)wire_get_int16(&r);
        columns[i] = oid == s->super_oid     ? COLUMN_SUPER
                     : oid == s->varbyte_oid ? COLUMN_VARBYTE
                                             : COLUMN_AS_IS;
        wire_put_text(out, session_full_name(s, name));
        wire_put_int32(out, table);
        wire_put_int16(out, attribute);
        wire_put_int32(out, (int32_t)rows_type_oid(s, oid, modifier));
        wire_put_int16(out, type_size);
        wire_put_int32(out, modifier);
        wire_put_int16(out, formats[i]);
    }
    *ret_count = count;
    *ret_columns = columns;
    *ret_formats = formats;
}

/* ------------------------------------------------------------------------------- values */

static bool is_number_part(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* A cluster keeps integers of SUPER in 64 bits; wider ones come back as doubles. */
static void put_number(const char *at, size_t size, struct bytes *out)
{
    enum {
        DIGITS = 19, /* of 2^63 */
    };
    size_t digits = 0;
    bool is_integer = true;
    char text[64];

    for (size_t i = 0; i < size; i++) {
        digits += at[i] >= '0' && at[i] <= '9';
        is_integer &= at[i] != '.' && at[i] != 'e' && at[i] != 'E';
    }
    const char *first = at + (*at == '-');
    const char *most = first > at ? "9223372036854775808" : "9223372036854775807";
    bool is_wide = digits > DIGITS || (digits == DIGITS && memcmp(first, most, DIGITS) > 0);
    if (!is_integer || !is_wide || size >= sizeof text * 16) {
        bytes_put(out, at, size);
        return;
    }
    struct bytes source = {0};
    bytes_put(&source, at, size);
    (void)snprintf(text, sizeof text, "%.15g", strtod(bytes_text(&source), NULL));
    bytes_done(&source);
    bytes_put_text(out, text);
}

void rows_compact_json(const char *text, size_t size, struct bytes *out)
{
    size_t i = 0;

    bytes_reserve(out, size);
    while (i < size) {
        size_t start = i;
        if (text[i] == '"') {
            for (i++; i < size && text[i] != '"'; i++) {
                i += text[i] == '\\';
            }
            i = i < size ? i + 1 : size;
            bytes_put(out, text + start, i - start);
        } else if (is_number_part(text[i]) && text[i] != 'e' && text[i] != 'E') {
            while (i < size && is_number_part(text[i])) {
                i++;
            }
            put_number(text + start, i - start, out);
        } else {
            if (text[i] != ' ') {
                bytes_put_char(out, text[i]);
            }
            i++;
        }
    }
}

static void put_super(const char *at, size_t size, bool binary, struct bytes *out)
{
    size_t head = binary && size > 0 ? 1 : 0;
    size_t where = out->len;

    wire_put_int32(out, 0);
    rows_compact_json(at + head, size - head, out);
    struct bytes length = {0};
    wire_put_int32(&length, (int32_t)(out->len - where - 4));
    memcpy(out->at + where, length.at, 4);
    bytes_done(&length);
}

static int format_of(const int16_t *formats, int format_count, int column)
{
    if (format_count == 0) {
        return 0;
    }
    return formats[format_count == 1 ? 0 : column < format_count ? column : 0];
}

void rows_convert(const unsigned char *body,
                  size_t size,
                  const enum column_form *columns,
                  int column_count,
                  const int16_t *formats,
                  int format_count,
                  struct bytes *out)
{
    struct wire_reader r = {.at = body, .end = body + size};
    int count = wire_get_int16(&r);

    wire_put_int16(out, count);
    for (int i = 0; i < count; i++) {
        int32_t length = wire_get_int32(&r);
        if (length < 0) {
            wire_put_int32(out, -1);
            continue;
        }
        const char *at = (const char *)wire_get_bytes(&r, (size_t)length);
        bool binary = format_of(formats, format_count, i) == 1;
        enum column_form form = i < column_count ? columns[i] : COLUMN_AS_IS;
        if (form == COLUMN_SUPER) {
            put_super(at, (size_t)length, binary, out);
            continue;
        }
        if (form == COLUMN_VARBYTE && !binary && length >= 2 && at[0] == '\\') {
            at += 2;
            length -= 2;
        }
        wire_put_int32(out, length);
        bytes_put(out, at, (size_t)length);
    }
}
