/*
 * redshift/load_error: a failed COPY in words that help. Comes in: the server's own error, which
 * says no more than "look into the system table", and the row found there; goes out: one error with
 * place, reason and advice. It never knows how the row was read.
 *
 * Codes: Database Developer Guide, r_Load_Error_Reference. The server's text names at most a
 * character of the value, never the document.
 */

#include "redshift/load_error.h"

#include "base/buf.h"
#include "base/check.h"

#define SENTENCE_MAX_BYTES ((size_t)16 * 1024)

static const struct advice {
    int code;
    const char *text;
} advices[] = {
    {1204, "A value is longer than the column, or beyond the range of its type. Widen the column, "
           "or change the field's type in the field configuration or the collection's schema."},
    {1205, "A value is no date that Redshift can read. Set castToString in the field's "
           "configuration to store it as text."},
    {1206, "A value is no timestamp that Redshift can read. Set castToString in the field's "
           "configuration to store it as text."},
    {1213, "The column does not allow NULL, and the document has no value for it. Tables made by "
           "this connector have no such columns: remove the constraint from the table, or exclude "
           "the table's own column."},
    {1216, "Redshift reads no JSON object above 4 MB, which is nearly always the cause of this "
           "code. Make the documents of this collection smaller, or leave large fields and the "
           "root document out of the selection."},
    {1220, "The text holds a character that Redshift does not store."},
    {1222, "A number is beyond the range of the column. Set castToString in the field's "
           "configuration, or widen the type in the collection's schema."},
    {1224, "The value does not fit into a SUPER column: an object or array is too large, has too "
           "many members, or holds a string above 65,535 bytes. Leave the field out of the "
           "selection, or set castToString in its configuration."},
};

static struct span trim(struct span text);
static const char *find_advice(int code);

struct error *rs_explain_load_error(struct error *err,
                                    struct span table_identifier,
                                    const struct rs_load_error *row)
{
    struct span column = trim(row->column), type = trim(row->column_type);
    struct span length = trim(row->column_length), file = trim(row->file);
    struct span message = trim(row->message);
    const char *advice = find_advice(row->code);
    struct buf text;

    if (!err) {
        return NULL;
    }
    buf_init(&text, SENTENCE_MAX_BYTES);
    buf_add_str(&text, "loading into ");
    buf_add_span(&text, table_identifier);
    if (column.len > 0) {
        buf_add_str(&text, ", column \"");
        buf_add_span(&text, column);
        buf_add_byte(&text, '"');
        if (type.len > 0) {
            buf_add_str(&text, " (");
            buf_add_span(&text, type);
            if (length.len > 0 && !span_is(length, "0")) {
                buf_add_str(&text, ", length ");
                buf_add_span(&text, length);
            }
            buf_add_byte(&text, ')');
        }
    }
    if (file.len > 0) {
        buf_add_str(&text, ", file \"");
        buf_add_span(&text, file);
        buf_add_byte(&text, '"');
        if (row->line > 0) { /* -1: of a file that was split */
            buf_add_str(&text, " line ");
            buf_add_int(&text, row->line);
        }
    }
    buf_add_str(&text, ": ");
    buf_add_span(&text, message.len > 0 ? message : SPAN_LIT("no reason given"));
    buf_add_str(&text, " (load error ");
    buf_add_int(&text, row->code);
    if (row->row_count > 1) {
        buf_add_str(&text, ", one of ");
        buf_add_uint(&text, row->row_count);
    }
    buf_add_byte(&text, ')');

    err = error_wrap(err, "%.*s", SPAN_FMT(buf_view(&text)));
    buf_done(&text);
    if (advice) {
        error_set_hint(err, "%s", advice);
    }
    return err;
}

static const char *find_advice(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(advices); i++) {
        if (advices[i].code == code) {
            return advices[i].text;
        }
    }
    return NULL;
}

static struct span trim(struct span text)
{
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\n')) {
        text.len--;
    }
    while (text.len > 0 && text.ptr[0] == ' ') {
        text.ptr++;
        text.len--;
    }
    return text;
}
