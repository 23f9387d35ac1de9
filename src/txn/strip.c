/*
 * txn/strip: nulls out of a rebuilt document. In: an object as the warehouse gave it, the columns
 * it was made of. Out: the object as Flow's schema allows it. The text is looked at once, without a
 * tree; what is nested is copied as it is.
 */

#include "txn/strip.h"

#include "json/scan.h"

/* A name that holds a backslash is rare; its text is compared. */
static bool is_stripped(const struct rs_table *table, struct span raw_name, struct buf *scratch)
{
    struct span name = raw_name;

    buf_clear(scratch);
    struct error *err = json_unescape(raw_name, scratch, &name);
    if (err) {
        error_drop(err, "a name that cannot be read is none of ours");
        return false;
    }
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct rs_column *column = &table->columns[i];
        if (column->must_strip_null && column->property.ptr && span_equal(column->property, name)) {
            return true;
        }
    }
    return false;
}

static struct error *
copy_members(struct buf *out, struct span json, const struct rs_table *table, struct buf *scratch)
{
    struct json_reader reader;
    struct json_item item;
    struct span name;
    bool have, is_first = true;

    json_reader_init(&reader, json);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    buf_add_byte(out, '{');
    for (;;) {
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
        if (!have) {
            break;
        }
        if (item.kind == JSON_NULL && is_stripped(table, name, scratch)) {
            continue;
        }
        buf_add_str(out, is_first ? "\"" : ",\"");
        buf_add_span(out, name);
        buf_add_str(out, "\":");
        buf_add_span(out, item.raw);
        is_first = false;
    }
    buf_add_byte(out, '}');
    return json_end(&reader);
}

struct error *strip_nulls(struct buf *out, struct span json, const struct rs_table *table)
{
    struct buf scratch;

    buf_init(&scratch, json.len + 1);
    struct error *err = copy_members(out, json, table, &scratch);
    buf_done(&scratch);
    return err;
}
