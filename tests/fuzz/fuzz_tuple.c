/*
 * proto/tuple over any bytes, in both forms. The first byte says how many elements are expected.
 * Promises: texts lie in the tuple or in scratch, and scratch did not move once it held one.
 */

#include "fuzz.h"

#include "proto/tuple.h"

#include <math.h>

#define COUNT_MAX 16

static bool lies_in(struct span text, const char *ptr, size_t len)
{
    return text.len == 0 || (text.ptr >= ptr && text.ptr + text.len <= ptr + len);
}

static void check_values(const struct value *values,
                         unsigned count,
                         struct span tuple,
                         const struct buf *scratch)
{
    for (unsigned i = 0; i < count; i++) {
        switch (values[i].kind) {
        case VALUE_DOUBLE:
            CHECK(isfinite(values[i].number.d));
            break;
        case VALUE_UINT:
            CHECK(values[i].number.u > INT64_MAX);
            break;
        case VALUE_NUMBER:
        case VALUE_STRING:
        case VALUE_JSON:
            CHECK(lies_in(values[i].text, tuple.ptr, tuple.len) ||
                  lies_in(values[i].text, scratch->data, scratch->len));
            break;
        case VALUE_NULL:
        case VALUE_FALSE:
        case VALUE_TRUE:
        case VALUE_INT:
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct value values[COUNT_MAX];
    struct buf scratch;

    if (size == 0) {
        return 0;
    }
    const unsigned count = data[0] % (COUNT_MAX + 1);
    const struct span tuple = {(const char *)data + 1, size - 1};
    buf_init(&scratch, 3 * size);
    struct error *err = tuple_read_packed(tuple, values, count, &scratch);
    if (!err) {
        check_values(values, count, tuple, &scratch);
    }
    error_free(err);
    err = tuple_read_json(tuple, values, count, &scratch);
    if (!err) {
        check_values(values, count, tuple, &scratch);
    }
    error_free(err);
    buf_done(&scratch);
    return 0;
}
