/*
 * txn/entry: what a transaction leaves behind for a later process, as JSON. In: state documents, v2
 * patches and tokens, from Flow and from the metadata table. Out: the same as plain structs, and
 * merge patches. Knows no S3 and no SQL.
 */

#include "txn/entry.h"

#include "base/text.h"
#include "json/scan.h"
#include "json/write.h"

#include <stdio.h>
#include <stdlib.h>

void range_text(char out[RANGE_TEXT_LEN + 1], uint32_t key_begin, uint32_t key_end)
{
    snprintf(out, RANGE_TEXT_LEN + 1, "%08x-%08x", key_begin, key_end);
}

/* Digits of one length and case are in the order of their numbers. */
bool range_overlaps(struct span a, struct span b)
{
    const size_t digits = (RANGE_TEXT_LEN - 1) / 2, end = digits + 1;

    CHECK(a.len == RANGE_TEXT_LEN && b.len == RANGE_TEXT_LEN);
    return memcmp(a.ptr, b.ptr + end, digits) <= 0 && memcmp(b.ptr, a.ptr + end, digits) <= 0;
}

const char *entry_role_name(enum entry_role role)
{
    static const char *const names[] = {
        [ENTRY_DELETE] = "delete", [ENTRY_MERGE] = "merge", [ENTRY_STORE] = "store"};
    return names[role];
}

bool entry_instant(char out[ENTRY_INSTANT_LEN + 1], int64_t seconds, int32_t nanos)
{
    const int64_t year_10000 = 253402300800;
    char text[32];

    if (seconds < 0 || seconds >= year_10000 || nanos < 0 || nanos >= 1000000000) {
        return false;
    }
    text_time(text, seconds);
    snprintf(out, ENTRY_INSTANT_LEN + 1, "%.19s.%06dZ", text, (int)(nanos / 1000));
    return true;
}

/* ---------------------------------------------------------------- lists */

static void *grow(struct arena *arena, void *items, unsigned count, unsigned *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    *cap = *cap ? *cap * 2 : 8;
    void *larger = arena_array(arena, *cap, size);
    if (count) {
        memcpy(larger, items, count * size);
    }
    return larger;
}

/* ---------------------------------------------------------------- slots */

static uint64_t add_to_hash(uint64_t hash, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ (unsigned char)text.ptr[i]) * 0x100000001b3; /* FNV-1a */
    }
    return hash;
}

static unsigned first_place(const struct slots *slots, struct span state_key, struct span range)
{
    uint64_t hash = add_to_hash(add_to_hash(0xcbf29ce484222325, state_key), range);
    return (unsigned)(hash ^ hash >> 32) & (slots->cap - 1);
}

static void slots_add(struct slots *slots, struct span state_key, struct span range, unsigned item)
{
    unsigned place = first_place(slots, state_key, range);

    while (slots->at[place]) {
        place = (place + 1) & (slots->cap - 1);
    }
    slots->at[place] = item + 1;
}

/* Room for all items that the list has room for; true when they have to be added anew. */
static bool slots_fit(struct slots *slots, struct arena *arena, unsigned list_cap)
{
    if (slots->cap >= 2 * list_cap) {
        return false;
    }
    slots->cap = 2 * list_cap; /* lists double from eight */
    slots->at = ARENA_ARRAY(arena, slots->cap, uint32_t);
    return true;
}

static void index_entry(struct entries *list, struct arena *arena)
{
    unsigned from = slots_fit(&list->slots, arena, list->cap) ? 0 : list->count - 1;

    for (unsigned i = from; i < list->count; i++) {
        slots_add(&list->slots, list->items[i].state_key, list->items[i].range, i);
    }
}

static void index_token(struct tokens *list, struct arena *arena)
{
    unsigned from = slots_fit(&list->slots, arena, list->cap) ? 0 : list->count - 1;

    for (unsigned i = from; i < list->count; i++) {
        slots_add(&list->slots, list->items[i].state_key, list->items[i].range, i);
    }
}

static struct names copy_names(struct arena *arena, const struct names *names)
{
    struct names copy = {ARENA_ARRAY(arena, names->count, struct span), names->count};
    for (unsigned i = 0; i < names->count; i++) {
        copy.items[i] = arena_span(arena, names->items[i]);
    }
    return copy;
}

void entries_add(struct entries *list, struct arena *arena, const struct entry *entry)
{
    list->items = grow(arena, list->items, list->count, &list->cap, sizeof *list->items);
    struct entry *copy = &list->items[list->count++];
    *copy = (struct entry){
        .state_key = arena_span(arena, entry->state_key),
        .range = arena_span(arena, entry->range),
        .id = arena_span(arena, entry->id),
        .is_uncounted = entry->is_uncounted,
        .widen = copy_names(arena, &entry->widen),
        .delete_before = arena_span(arena, entry->delete_before),
    };
    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        copy->staged[role].files = copy_names(arena, &entry->staged[role].files);
        copy->staged[role].rows = entry->staged[role].rows;
    }
    index_entry(list, arena);
}

const struct entry *
entries_find(const struct entries *list, struct span state_key, struct span range)
{
    const struct slots *slots = &list->slots;
    unsigned place = slots->cap ? first_place(slots, state_key, range) : 0;

    for (; slots->cap && slots->at[place]; place = (place + 1) & (slots->cap - 1)) {
        const struct entry *entry = &list->items[slots->at[place] - 1];
        if (span_equal(entry->state_key, state_key) && span_equal(entry->range, range)) {
            return entry;
        }
    }
    return NULL;
}

static bool names_are_same(const struct names *a, const struct names *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        if (!span_equal(a->items[i], b->items[i])) {
            return false;
        }
    }
    return true;
}

bool entry_is_same(const struct entry *a, const struct entry *b)
{
    bool is_same = span_equal(a->id, b->id) && a->is_uncounted == b->is_uncounted &&
                   names_are_same(&a->widen, &b->widen) &&
                   span_equal(a->delete_before, b->delete_before);

    for (unsigned role = 0; role < ENTRY_ROLES; role++) {
        is_same = is_same && a->staged[role].rows == b->staged[role].rows &&
                  names_are_same(&a->staged[role].files, &b->staged[role].files);
    }
    return is_same;
}

/* ---------------------------------------------------------------- reading entries */

static struct error *unknown_form(const char *what, struct span name)
{
    return error_new(ERROR_STATE, ERROR_FATAL, "%s \"%.*s\" is not understood", what,
                     SPAN_FMT(name));
}

/* A string member in the arena. */
static struct error *read_text(struct arena *arena, const struct json_item *item, struct span *ret)
{
    if (item->kind != JSON_STRING) {
        return error_new(ERROR_STATE, ERROR_FATAL, "expected a string, found a %s",
                         json_kind_name(item->kind));
    }
    struct buf scratch;
    buf_init(&scratch, item->raw.len + 1);
    struct span text;
    struct error *err = json_string(item, &scratch, &text);
    if (!err) {
        *ret = arena_span(arena, text);
    }
    buf_done(&scratch);
    return err;
}

static struct error *
read_names(struct arena *arena, const struct json_item *item, struct names *ret)
{
    if (item->kind == JSON_NULL) {
        return NULL;
    }
    struct json_reader reader;
    struct json_item element;
    bool have;
    unsigned count = 0;

    json_reader_init(&reader, item->raw);
    RETURN_IF_ERROR(json_enter(&reader, JSON_ARRAY));
    for (;;) {
        RETURN_IF_ERROR(json_element(&reader, &element, &have));
        if (!have) {
            break;
        }
        count++;
    }
    struct names names = {ARENA_ARRAY(arena, count, struct span), 0};
    json_reader_init(&reader, item->raw);
    RETURN_IF_ERROR(json_enter(&reader, JSON_ARRAY));
    while (names.count < count) {
        RETURN_IF_ERROR(json_element(&reader, &element, &have));
        RETURN_IF_ERROR(read_text(arena, &element, &names.items[names.count]));
        names.count++;
    }
    *ret = names;
    return NULL;
}

static struct error *read_count(struct arena *arena, const struct json_item *item, uint64_t *ret)
{
    struct span text;
    RETURN_IF_ERROR(read_text(arena, item, &text));
    if (!text_to_uint64(text, ret)) {
        return error_new(ERROR_STATE, ERROR_FATAL, "\"%.*s\" is not a row count", SPAN_FMT(text));
    }
    return NULL;
}

/* Members by role; their order is that of the texts. */
static const struct {
    const char *files, *rows;
    enum entry_role role;
} role_members[] = {
    {"storeFiles", "storeRows", ENTRY_STORE},
    {"deleteFiles", "deleteRows", ENTRY_DELETE},
    {"mergeFiles", "mergeRows", ENTRY_MERGE},
};

/* What of an entry was there, until it is known whose form it has. */
struct seen {
    unsigned rows; /* bits by role */
    bool has_must_merge;
    bool must_merge;
};

static struct error *
read_instant(struct arena *arena, const struct json_item *item, struct span *ret)
{
    int64_t seconds;
    int32_t nanos;
    char again[ENTRY_INSTANT_LEN + 1];

    if (item->kind == JSON_NULL) {
        return NULL;
    }
    RETURN_IF_ERROR(read_text(arena, item, ret));
    if (!text_from_rfc3339(*ret, &seconds, &nanos) || !entry_instant(again, seconds, nanos) ||
        !span_is(*ret, again)) {
        return error_new(ERROR_STATE, ERROR_FATAL, "\"%.*s\" is not an instant", SPAN_FMT(*ret));
    }
    return NULL;
}

static struct error *read_must_merge(const struct json_item *item, struct seen *seen)
{
    if (item->kind != JSON_TRUE && item->kind != JSON_FALSE) {
        return error_new(ERROR_STATE, ERROR_FATAL, "\"mustMerge\" is not a boolean");
    }
    seen->has_must_merge = true;
    seen->must_merge = item->kind == JSON_TRUE;
    return NULL;
}

static struct error *read_member(struct arena *arena,
                                 struct span name,
                                 const struct json_item *item,
                                 struct entry *entry,
                                 struct seen *seen)
{
    for (unsigned i = 0; i < ARRAY_LEN(role_members); i++) {
        struct staged *staged = &entry->staged[role_members[i].role];
        if (json_name_is(name, role_members[i].files)) {
            return read_names(arena, item, &staged->files);
        } else if (json_name_is(name, role_members[i].rows)) {
            seen->rows |= 1U << role_members[i].role;
            return read_count(arena, item, &staged->rows);
        }
    }
    if (json_name_is(name, "id")) {
        return read_text(arena, item, &entry->id);
    } else if (json_name_is(name, "widen")) {
        return read_names(arena, item, &entry->widen);
    } else if (json_name_is(name, "deleteBefore")) {
        return read_instant(arena, item, &entry->delete_before);
    } else if (json_name_is(name, "mustMerge")) {
        return read_must_merge(item, seen);
    }
    return unknown_form("member", name);
}

/* A list that was null in the patch is absent in the merged state: RFC 7396. The rest must be
 * there, all of it: an entry of the original has no counts, ours had two, now it has three. */
static struct error *check_whole(struct entry *entry, const struct seen *seen)
{
    const unsigned two = 1U << ENTRY_STORE | 1U << ENTRY_DELETE, three = two | 1U << ENTRY_MERGE;
    const struct staged none = {0};
    struct staged *store = &entry->staged[ENTRY_STORE], *merge = &entry->staged[ENTRY_MERGE];

    entry->is_uncounted = seen->rows == 0;
    if (entry->id.len == 0 || !seen->has_must_merge ||
        (seen->rows != 0 && seen->rows != two && seen->rows != three) ||
        (seen->rows != three && merge->files.count) || (seen->rows == three && seen->must_merge)) {
        return error_new(ERROR_STATE, ERROR_FATAL, "the entry is not whole");
    }
    if (seen->must_merge) {
        *merge = *store;
        *store = none;
    }
    return NULL;
}

/* entry has its slot already. */
static struct error *
read_entry(struct entries *list, struct arena *arena, struct entry *entry, struct span json)
{
    struct json_reader reader;
    struct json_item item;
    struct span name;
    struct seen seen = {0};
    bool have;

    json_reader_init(&reader, json);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
        if (!have) {
            break;
        }
        RETURN_IF_ERROR(
            error_wrap(read_member(arena, name, &item, entry, &seen), "\"%.*s\"", SPAN_FMT(name)));
    }
    RETURN_IF_ERROR(check_whole(entry, &seen));
    entries_add(list, arena, entry);
    return NULL;
}

/* Calls for each member of a two-level object that is not null. */
struct slot_visitor {
    struct error *(*visit)(void *ctx,
                           struct arena *arena,
                           struct span state_key,
                           struct span range,
                           const struct json_item *item);
    void *ctx;
};

static struct error *member_text(struct arena *arena, struct span raw_name, struct span *ret)
{
    struct buf scratch;
    buf_init(&scratch, raw_name.len + 1);
    struct span text;
    struct error *err = json_unescape(raw_name, &scratch, &text);
    if (!err) {
        *ret = arena_span(arena, text);
    }
    buf_done(&scratch);
    return err;
}

static struct error *visit_ranges(const struct slot_visitor *visitor,
                                  struct arena *arena,
                                  struct span state_key,
                                  struct span json)
{
    struct json_reader reader;
    struct json_item item;
    struct span name, range;
    bool have;

    json_reader_init(&reader, json);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
        if (!have) {
            return NULL;
        }
        if (item.kind == JSON_NULL) {
            continue;
        }
        RETURN_IF_ERROR(member_text(arena, name, &range));
        if (range.len != RANGE_TEXT_LEN || range.ptr[8] != '-') {
            return unknown_form("range", range);
        }
        RETURN_IF_ERROR(error_wrap(visitor->visit(visitor->ctx, arena, state_key, range, &item),
                                   "range %.*s", SPAN_FMT(range)));
    }
}

static struct error *
visit_slots(const struct slot_visitor *visitor, struct arena *arena, struct span json)
{
    struct json_reader reader;
    struct json_item item;
    struct span name, state_key;
    bool have;

    json_reader_init(&reader, json);
    RETURN_IF_ERROR(json_enter(&reader, JSON_OBJECT));
    for (;;) {
        RETURN_IF_ERROR(json_member(&reader, &name, &item, &have));
        if (!have) {
            return json_end(&reader);
        }
        if (item.kind == JSON_NULL) {
            continue;
        }
        RETURN_IF_ERROR(member_text(arena, name, &state_key));
        RETURN_IF_ERROR(error_wrap(visit_ranges(visitor, arena, state_key, item.raw),
                                   "state key \"%.*s\"", SPAN_FMT(state_key)));
    }
}

static struct error *visit_entry(void *ctx,
                                 struct arena *arena,
                                 struct span state_key,
                                 struct span range,
                                 const struct json_item *item)
{
    struct entry entry = {.state_key = state_key, .range = range};
    return read_entry(ctx, arena, &entry, item->raw);
}

struct error *entries_read(struct entries *list, struct arena *arena, struct span json)
{
    if (json.len == 0 || span_is(json, "null")) {
        return NULL;
    }
    return visit_slots(&(struct slot_visitor){visit_entry, list}, arena, json);
}

struct error *entries_read_patches(struct entries *list, struct arena *arena, struct span json)
{
    struct json_reader reader;
    struct json_item item;
    bool have;

    if (json.len == 0) {
        return NULL;
    }
    json_reader_init(&reader, json);
    RETURN_IF_ERROR(json_enter(&reader, JSON_ARRAY));
    for (unsigned i = 0;; i++) {
        RETURN_IF_ERROR(json_element(&reader, &item, &have));
        if (!have) {
            return json_end(&reader);
        }
        if (item.kind == JSON_NULL) {
            return error_new(ERROR_STATE, ERROR_FATAL,
                             "patch %u is null: a shard replaced the whole connector state, and "
                             "the staged work of its peers with it",
                             i);
        }
        RETURN_IF_ERROR(error_wrap(entries_read(list, arena, item.raw), "patch %u", i));
    }
}

/* ---------------------------------------------------------------- writing entries */

static void write_names(struct json_writer *w, const char *member, const struct names *names)
{
    json_name(w, member);
    if (names->count == 0) {
        json_null(w);
        return;
    }
    json_array_begin(w);
    for (unsigned i = 0; i < names->count; i++) {
        json_str(w, names->items[i]);
    }
    json_array_end(w);
}

static void write_count(struct json_writer *w, const char *member, uint64_t count)
{
    char digits[TEXT_INT_MAX];
    json_name(w, member);
    json_str(w, (struct span){digits, text_uint64(digits, count)});
}

static void write_entry(struct json_writer *w, const struct entry *entry)
{
    json_object_begin(w);
    json_name(w, "id");
    json_str(w, entry->id);
    for (unsigned i = 0; i < ARRAY_LEN(role_members); i++) {
        write_names(w, role_members[i].files, &entry->staged[role_members[i].role].files);
    }
    json_name(w, "mustMerge");
    json_bool(w, false);
    write_names(w, "widen", &entry->widen);
    json_name(w, "deleteBefore");
    if (entry->delete_before.len) {
        json_str(w, entry->delete_before);
    } else {
        json_null(w);
    }
    for (unsigned i = 0; i < ARRAY_LEN(role_members); i++) {
        write_count(w, role_members[i].rows, entry->staged[role_members[i].role].rows);
    }
    json_object_end(w);
}

/* Items in the order of their state keys, those of one key in the order of the list. */
struct place {
    struct span state_key;
    unsigned item;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    int order = span_compare(left->state_key, right->state_key);
    return order ? order : (left->item > right->item) - (left->item < right->item);
}

/* Calls write_one within an object for each state key. */
static void write_by_key(struct json_writer *w,
                         struct place *places,
                         unsigned count,
                         void (*write_one)(const void *ctx, struct json_writer *w, unsigned item),
                         const void *ctx)
{
    if (count) {
        qsort(places, count, sizeof *places, compare_places);
    }
    json_object_begin(w);
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 || !span_equal(places[i - 1].state_key, places[i].state_key)) {
            json_name_span(w, places[i].state_key);
            json_object_begin(w);
        }
        write_one(ctx, w, places[i].item);
        if (i + 1 == count || !span_equal(places[i].state_key, places[i + 1].state_key)) {
            json_object_end(w);
        }
    }
    json_object_end(w);
}

struct patch {
    const struct entries *list;
    bool clearing;
};

static void write_slot(const void *ctx, struct json_writer *w, unsigned item)
{
    const struct patch *patch = ctx;

    json_name_span(w, patch->list->items[item].range);
    if (patch->clearing) {
        json_null(w);
    } else {
        write_entry(w, &patch->list->items[item]);
    }
}

static void write_patch(struct buf *out, const struct entries *list, bool clearing)
{
    struct patch patch = {list, clearing};
    struct json_writer w;

    if (list->count == 0) {
        return;
    }
    struct place *places = mem_alloc(list->count * sizeof *places);
    for (unsigned i = 0; i < list->count; i++) {
        places[i] = (struct place){list->items[i].state_key, i};
    }
    json_writer_init(&w, out);
    write_by_key(&w, places, list->count, write_slot, &patch);
    mem_free(places);
}

void entries_add_patch(struct buf *out, const struct entries *list)
{
    write_patch(out, list, false);
}

void entries_add_clearing(struct buf *out, const struct entries *list)
{
    write_patch(out, list, true);
}

/* ---------------------------------------------------------------- tokens */

void tokens_set(struct tokens *list,
                struct arena *arena,
                struct span state_key,
                struct span range,
                struct span id)
{
    const struct slots *slots = &list->slots;
    unsigned place = slots->cap ? first_place(slots, state_key, range) : 0;

    for (; slots->cap && slots->at[place]; place = (place + 1) & (slots->cap - 1)) {
        struct token *token = &list->items[slots->at[place] - 1];
        if (span_equal(token->state_key, state_key) && span_equal(token->range, range)) {
            token->id = arena_span(arena, id);
            return;
        }
    }
    tokens_add(list, arena, &(struct token){state_key, range, id});
}

void tokens_add(struct tokens *list, struct arena *arena, const struct token *token)
{
    list->items = grow(arena, list->items, list->count, &list->cap, sizeof *list->items);
    list->items[list->count++] = (struct token){
        arena_span(arena, token->state_key),
        arena_span(arena, token->range),
        arena_span(arena, token->id),
    };
    index_token(list, arena);
}

bool tokens_have(const struct tokens *list,
                 struct span state_key,
                 struct span range,
                 struct span id)
{
    const struct slots *slots = &list->slots;
    unsigned place = slots->cap ? first_place(slots, state_key, range) : 0;

    for (; slots->cap && slots->at[place]; place = (place + 1) & (slots->cap - 1)) {
        const struct token *token = &list->items[slots->at[place] - 1];
        if (span_equal(token->state_key, state_key) && span_equal(token->range, range) &&
            span_equal(token->id, id)) {
            return true;
        }
    }
    return false;
}

static struct error *visit_token(void *ctx,
                                 struct arena *arena,
                                 struct span state_key,
                                 struct span range,
                                 const struct json_item *item)
{
    struct tokens *list = ctx;
    struct span id;

    RETURN_IF_ERROR(read_text(arena, item, &id));
    /* Rows of several ranges are read into one list: each keeps its own id. */
    tokens_add(list, arena, &(struct token){state_key, range, id});
    return NULL;
}

struct error *tokens_read(struct tokens *list, struct arena *arena, struct span json)
{
    return visit_slots(&(struct slot_visitor){visit_token, list}, arena, json);
}

static void write_token(const void *ctx, struct json_writer *w, unsigned item)
{
    const struct tokens *list = ctx;

    json_name_span(w, list->items[item].range);
    json_str(w, list->items[item].id);
}

void tokens_add_json(struct buf *out, const struct tokens *list)
{
    struct json_writer w;
    struct place *places = mem_alloc((list->count + 1) * sizeof *places);

    for (unsigned i = 0; i < list->count; i++) {
        places[i] = (struct place){list->items[i].state_key, i};
    }
    json_writer_init(&w, out);
    write_by_key(&w, places, list->count, write_token, list);
    mem_free(places);
}
