/*
 * stage/row over any values. The input is taken apart into columns, values and a document.
 * Promises: a row that is taken is one line and, by the house's own scanner, a JSON object of legal
 * size; one that is refused leaves the block as it was.
 */

#include "fuzz.h"

#include "stage/row.h"
#include "json/scan.h"

#include <string.h>

#define MAX_COLUMNS 8

struct input {
    const uint8_t *at, *end;
};

static unsigned take_byte(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static struct span take_text(struct input *input)
{
    size_t want = take_byte(input), left = (size_t)(input->end - input->at);

    if (want >= 0xf0) {
        want = ((want & 0xf) + 1) << 12 | take_byte(input); /* up to the limits of columns */
        left = (size_t)(input->end - input->at);
    }
    const struct span text = {(const char *)input->at, want < left ? want : left};
    input->at += text.len;
    return text;
}

static bool is_json(struct span text, enum json_kind kind)
{
    struct json_reader reader;
    struct json_item item = {0};

    json_reader_init(&reader, text);
    struct error *err = json_next(&reader, &item);
    if (!err) {
        err = json_end(&reader);
    }
    const bool is = !err && item.kind == kind && (kind != JSON_NUMBER || item.raw.len == text.len);
    error_free(err);
    return is;
}

static struct value take_value(struct input *input)
{
    struct value value = {.kind = (enum value_kind)(take_byte(input) % (VALUE_JSON + 1))};
    struct span text;

    switch (value.kind) {
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_DOUBLE:
        text = take_text(input);
        if (text.len) {
            memcpy(&value.number, text.ptr, text.len < 8 ? text.len : 8);
        }
        break;
    case VALUE_NUMBER:
        value.text = take_text(input);
        if (!is_json(value.text, JSON_NUMBER)) {
            value.text = SPAN_LIT("-12.5e3"); /* what is of this kind is a number of JSON's */
        }
        break;
    case VALUE_STRING:
        value.text = take_text(input);
        break;
    case VALUE_JSON:
        value.text = take_text(input);
        if (!is_json(value.text, JSON_OBJECT) || memchr(value.text.ptr, '\n', value.text.len)) {
            value.text = SPAN_LIT("{\"a\":[1,\"\\n\"]}"); /* compact, says base/value.h */
        }
        break;
    case VALUE_NULL:
    case VALUE_FALSE:
    case VALUE_TRUE:
        break;
    }
    return value;
}

struct table {
    struct arena *arena;
    struct row_column columns[MAX_COLUMNS + 1];
    unsigned key_count, value_count;
    bool has_document;
};

/* First byte: the counts. Then for each column its converter, its domain, and whether it is a
 * VARCHAR. */
static void take_table(struct input *input, struct table *ret)
{
    static const char *const names[] = {"b", "A", "a", "z\"\n", "", "m", "\xc3\xa4", "k", "doc"};
    static const struct rs_domain domains[] = {
        {RS_HOLDS_ANYTHING, 0, 0},    {RS_HOLDS_INTEGER, 64, 0}, {RS_HOLDS_INTEGER, 16, 0},
        {RS_HOLDS_NUMERIC, 38, 0},    {RS_HOLDS_NUMERIC, 19, 2}, {RS_HOLDS_REAL, 0, 0},
        {RS_HOLDS_DOUBLE, 0, 0},      {RS_HOLDS_BOOLEAN, 0, 0},  {RS_HOLDS_CHAR, 3, 0},
        {RS_HOLDS_VARCHAR, 65535, 0}, {RS_HOLDS_DATE, 0, 0},     {RS_HOLDS_TIMESTAMP, 0, 0},
        {RS_HOLDS_SUPER, 0, 0},       {RS_HOLDS_VARBYTE, 20, 0}, {RS_HOLDS_SUPER, 0, 0},
    };
    const unsigned counts = take_byte(input);

    ret->key_count = counts % 3;
    ret->value_count = counts / 3 % (MAX_COLUMNS - 2);
    ret->has_document = counts & 0x80;
    const unsigned all = ret->key_count + ret->value_count + ret->has_document;
    for (unsigned i = 0; i < all; i++) {
        const unsigned how = take_byte(input);
        ret->columns[i] =
            (struct row_column){.field = span_of(names[i]),
                                .converter = (enum rs_converter)(how % (RS_TIMESTAMP + 1)),
                                .is_text = how & 0x80,
                                .domain = domains[how % (sizeof(domains) / sizeof(*domains))],
                                .text_width = how & 0x40 ? ROW_MAX_TEXT : 0};
    }
}

static void check_line(struct span line)
{
    CHECK(line.len >= 3 && line.ptr[line.len - 1] == '\n' && line.len - 1 <= ROW_MAX_OBJECT);
    CHECK(!memchr(line.ptr, '\n', line.len - 1));
    line.len--;
    CHECK(is_json(line, JSON_OBJECT));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct table table = {.arena = arena_new(65536)};
    struct value values[MAX_COLUMNS + 1];
    uint64_t widen[1] = {0};
    struct row_facts facts = {.widen = widen};
    struct buf out;

    take_table(&input, &table);
    const unsigned count = table.key_count + table.value_count;
    for (unsigned i = 0; i < count; i++) {
        values[i] = take_value(&input);
    }
    struct span doc = take_text(&input);
    if (!is_json(doc, JSON_OBJECT)) {
        doc = SPAN_LIT("{\"a\":\n[1]}"); /* the wire's decoder lets nothing else through */
    }
    struct row_format *format =
        row_format_new(table.arena, table.columns, table.key_count, table.value_count,
                       table.has_document, size % 4 ? ROW_FULL : ROW_KEYS);
    buf_init(&out, size % 3 ? (size_t)1 << 24 : 2 * size + 64); /* sometimes too little */
    buf_add_str(&out, "before\n");
    struct error *err = row_encode(format, values, values + table.key_count, doc, &out, &facts);
    CHECK(facts.rows == (err == NULL) && !buf_is_full(&out));
    CHECK(facts.longest_key_text <= ROW_MAX_TEXT);
    if (err) {
        CHECK(error_code_of(err) == ERROR_INPUT);
        CHECK(strcmp(out.data, "before\n") == 0 && out.len == strlen("before\n"));
    } else {
        check_line((struct span){out.data + strlen("before\n"), out.len - strlen("before\n")});
    }
    error_free(err);
    buf_done(&out);
    arena_free(table.arena);
    return 0;
}
