/* JSON trees of the played runtime. A number keeps its text, so that nothing is ever rounded; the
   members of an object are sorted by the bytes of their names, as Flow writes documents. */
#ifndef FLOW_RUNTIME_JSON_H
#define FLOW_RUNTIME_JSON_H

#include "mem.h"

enum fr_type { FR_NULL, FR_FALSE, FR_TRUE, FR_NUMBER, FR_STRING, FR_ARRAY, FR_OBJECT };

struct fr_member;

struct fr_json {
    enum fr_type type;
    uint32_t count; /* bytes of text, items, or members */
    uint32_t room;  /* allocated items or members */
    union {
        const char *text; /* FR_NUMBER as written, FR_STRING decoded; NUL-terminated */
        struct fr_json **items;
        struct fr_member *members;
    };
};

struct fr_member {
    const char *name; /* NUL-terminated, may hold NULs of its own */
    uint32_t name_len;
    struct fr_json *value;
};

/* ---- reading. Trees live in the arena; texts are copied into it. */

/* Reads one value from the start of text. Returns the bytes used (0 with *ret_error set to a
   sentence when the text is no JSON value), whitespace before it included. A value that ends with
   the text counts as complete. */
size_t fr_json_read(struct fr_arena *arena,
                    const char *text,
                    size_t len,
                    struct fr_json **ret_value,
                    const char **ret_error);
/* As above, but nothing except whitespace may follow. NULL with *ret_error otherwise. */
struct fr_json *
fr_json_parse(struct fr_arena *arena, const char *text, size_t len, const char **ret_error);

/* ---- building */

struct fr_json *fr_json_new(struct fr_arena *arena, enum fr_type type);
struct fr_json *fr_json_string(struct fr_arena *arena, const char *text);
struct fr_json *fr_json_string_n(struct fr_arena *arena, const char *text, size_t len);
struct fr_json *fr_json_bool(struct fr_arena *arena, bool value);
struct fr_json *fr_json_int(struct fr_arena *arena, int64_t value);
struct fr_json *fr_json_int_text(struct fr_arena *arena, int64_t value); /* a decimal string */
void fr_json_push(struct fr_arena *arena, struct fr_json *array, struct fr_json *item);
/* Sets or replaces a member, keeping the order. */
void fr_json_set(struct fr_arena *arena,
                 struct fr_json *object,
                 const char *name,
                 struct fr_json *value);
void fr_json_set_n(struct fr_arena *arena,
                   struct fr_json *object,
                   const char *name,
                   size_t name_len,
                   struct fr_json *value);
void fr_json_remove(struct fr_json *object, const char *name, size_t name_len);
/* A copy of the top level only: members or items are shared. */
struct fr_json *fr_json_shallow(struct fr_arena *arena, const struct fr_json *value);
struct fr_json *fr_json_deep(struct fr_arena *arena, const struct fr_json *value);

/* ---- asking. NULL in, NULL or false out. */

struct fr_json *fr_json_get(const struct fr_json *object, const char *name);
struct fr_json *fr_json_get_n(const struct fr_json *object, const char *name, size_t name_len);
struct fr_json *fr_json_at(const struct fr_json *value, const char *pointer);
bool fr_json_is(const struct fr_json *value, enum fr_type type);
bool fr_json_true(const struct fr_json *value);
bool fr_json_is_text(const struct fr_json *value, const char *text);
const char *fr_json_text(const struct fr_json *value); /* of a string, else NULL */
bool fr_json_to_int(const struct fr_json *value, int64_t *ret_value);
/* An integer literal without fraction and exponent, and not "-0" (which JSON readers make a
   floating-point zero). */
bool fr_json_is_integer_text(const struct fr_json *value);
/* A number whose value is integral, however written. */
bool fr_json_is_integral(const struct fr_json *value);

/* Order and equality by value: 1, 1.0 and 1e0 are equal. */
int fr_json_compare(const struct fr_json *left, const struct fr_json *right);
bool fr_json_equal(const struct fr_json *left, const struct fr_json *right);
/* Equality as a destination can promise it: numbers written with fraction or exponent may also be
   equal as doubles, integers beyond 64 bits have fifteen digits, U+0000 may be U+FFFD, and strings
   may end behind 65,535 bytes. left is what was
   stored. */
bool fr_json_equal_stored(const struct fr_json *left, const struct fr_json *right);

/* Decimal sum of two number texts, exact. NULL when the result would need more than 200 digits. */
struct fr_json *
fr_json_sum(struct fr_arena *arena, const struct fr_json *left, const struct fr_json *right);

/* RFC 7396. The target may be NULL (nothing there). The result shares nodes with both. */
struct fr_json *
fr_json_merge_patch(struct fr_arena *arena, struct fr_json *target, struct fr_json *patch);

/* ---- writing */

void fr_json_put_string(struct fr_buf *buf, const char *text, size_t len);
void fr_json_put(struct fr_buf *buf, const struct fr_json *value); /* compact */
void fr_json_put_pretty(struct fr_buf *buf, const struct fr_json *value, unsigned depth);

/* How long strings and nested containers may be; zero means any length (flow.SerPolicy). */
struct fr_policy {
    uint32_t string_bytes;
    uint32_t object_members;
    uint32_t array_items;
};

/* Writes with a policy; the root itself is never shortened when it is a container of depth 0.
   True when something was shortened. */
bool fr_json_put_policy(struct fr_buf *buf,
                        const struct fr_json *value,
                        const struct fr_policy *policy,
                        unsigned depth);
/* How many bytes of a string the policy keeps: cut at a character boundary. */
size_t fr_policy_cut(const struct fr_policy *policy, const char *text, size_t len);

#endif
