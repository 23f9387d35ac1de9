/* What the tests of the played runtime share. */
#ifndef TEST_FLOW_RUNTIME_HARNESS_H
#define TEST_FLOW_RUNTIME_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"

static inline struct fr_json *parse(struct fr_arena *arena, const char *text)
{
    const char *error = NULL;
    struct fr_json *value = fr_json_parse(arena, text, strlen(text), &error);
    if (value == NULL) {
        fail_msg("%s: %s", text, error);
    }
    return value;
}

/* Fails with the sentence of the row. */
static inline void expect_json(const char *sentence, const struct fr_json *value, const char *text)
{
    struct fr_buf got = {0};
    fr_buf_puts(&got, "");
    if (value != NULL) {
        fr_json_put(&got, value);
    } else {
        fr_buf_puts(&got, "(nothing)");
    }
    if (strcmp(got.data, text) != 0) {
        fail_msg("%s: expected %s, got %s", sentence, text, got.data);
    }
    fr_buf_done(&got);
}

/* "0a 1b" to bytes. */
static inline void put_hex(struct fr_buf *buf, const char *hex)
{
    fr_buf_reserve(buf, 1);
    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') {
            char pair[3] = {hex[0], hex[1], '\0'};
            fr_buf_putc(buf, (char)(unsigned char)strtoul(pair, NULL, 16));
            hex++;
        }
    }
}

static inline void expect_bytes(const char *sentence, const struct fr_buf *got, const char *hex)
{
    struct fr_buf expected = {0};
    put_hex(&expected, hex);
    if (got->len != expected.len || memcmp(got->data, expected.data, got->len) != 0) {
        struct fr_buf text = {0};
        for (size_t i = 0; i < got->len; i++) {
            fr_buf_printf(&text, "%02x ", (unsigned char)got->data[i]);
        }
        fail_msg("%s: expected %s, got %s", sentence, hex, text.data);
    }
    fr_buf_done(&expected);
}

#endif
