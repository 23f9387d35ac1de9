/* The generator. */
#include "generate.h"

#include <string.h>

#include "source.h"

enum {
    NOISE_BYTES = 1 << 16,
    WORDS_BYTES = 1 << 20, /* so that no window of a compressor has the same again */
    VOCABULARY = 2048,
    WORD_ROOM = 16,
    PAGE_BYTES = 1000,
    PAGE_ROOM = PAGE_BYTES + 3 /* "", */,
    RECORD_BYTES = PAGE_ROOM - 1, /* a runtime sends at most a thousand items of an array */
    RECORD_LINES = 8,
    RECORDS = 1 << 12
};

/* The first top-level property that holds strings without a format and is no key. */
static const char *payload_field(const struct fr_binding *binding)
{
    for (size_t i = 0; i < binding->projections.count; i++) {
        const struct fr_projection *projection = &binding->projections.list[i];
        const struct fr_json *types = fr_json_get(projection->inference, "types");
        if (!projection->is_key && projection->ptr[0] == '/' &&
            strchr(projection->ptr + 1, '/') == NULL && !fr_json_is(types, FR_NULL) &&
            types->count == 1 && fr_json_is_text(types->items[0], "string") &&
            fr_json_at(projection->inference, "/string/format") == NULL) {
            return projection->ptr + 1;
        }
    }
    return NULL;
}

/* The first top-level property that holds arrays. */
static const char *pages_field(const struct fr_binding *binding)
{
    for (size_t i = 0; i < binding->projections.count; i++) {
        const struct fr_projection *projection = &binding->projections.list[i];
        if (projection->ptr[0] == '/' && strchr(projection->ptr + 1, '/') == NULL &&
            fr_json_is_text(fr_json_at(projection->inference, "/types/0"), "array")) {
            return projection->ptr + 1;
        }
    }
    return NULL;
}

static const char *number_field(const struct fr_binding *binding)
{
    const char *field = fr_json_text(binding->group_by->items[0]);
    const struct fr_projection *key = fr_projections_find(&binding->projections, field);
    if (binding->group_by->count != 1 || key == NULL || strchr(key->ptr + 1, '/') != NULL ||
        !fr_json_is_text(fr_json_at(key->inference, "/types/0"), "integer")) {
        return NULL;
    }
    return key->ptr + 1;
}

static bool lay_out(struct fr_generator *generator, const struct fr_part *parts, size_t count)
{
    uint64_t keys = 0;
    uint64_t position = 0;
    for (size_t i = 0; i < count; i++) {
        struct fr_part *part = &generator->parts[i];
        *part = parts[i];
        part->updates = part->count * part->updates / 100;
        part->deletes = part->count * part->deletes / 100;
        if (part->bytes > FR_MAX_DOCUMENT_BYTES || part->updates + part->deletes > part->count ||
            part->updates + part->deletes > keys) {
            return false;
        }
        generator->first[i] = position;
        generator->older[i] = keys;
        position += part->count;
        keys += part->count - part->updates - part->deletes;
    }
    generator->first[count] = position;
    generator->part_count = count;
    generator->key_count = keys;
    return position < UINT32_MAX;
}

static void
build_shape(struct fr_generator *generator, const char *payload, const char *pages, bool has_op)
{
    struct fr_arena *arena = &generator->arena;
    struct fr_json *meta = fr_json_new(arena, FR_OBJECT);
    struct fr_buf text = {0};

    generator->shape = fr_json_new(arena, FR_OBJECT);
    generator->uuid = fr_json_string(arena, "00000000-0000-1000-8000-000000000000");
    generator->number = fr_json_new(arena, FR_NUMBER);
    generator->number->text = "";
    generator->payload = fr_json_string(arena, "");
    fr_json_set(arena, meta, "uuid", generator->uuid);
    if (has_op) {
        generator->op = fr_json_string(arena, "c");
        fr_json_set(arena, meta, "op", generator->op);
    }
    fr_json_set(arena, generator->shape, "_meta", meta);
    fr_json_set(arena, generator->shape, generator->number_name, generator->number);
    fr_json_set(arena, generator->shape, payload, generator->payload);
    if (pages != NULL) {
        generator->pages = fr_json_new(arena, FR_ARRAY);
        fr_json_set(arena, generator->shape, pages, generator->pages);
    }
    fr_json_put(&text, generator->shape);
    generator->shape_bytes = text.len;
    fr_buf_done(&text);
}

static void make_letters(struct fr_buf *out, uint64_t size)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
    struct fr_random random = {1};

    fr_buf_reserve(out, size);
    for (uint64_t i = 0; i < size; i++) {
        fr_buf_putc(out, letters[fr_random_below(&random, sizeof(letters) - 1)]);
    }
}

struct vocabulary {
    struct fr_random random;
    char words[VOCABULARY][WORD_ROOM];
};

/* Two to ten letters each, the frequent ones of English more often. */
static void make_vocabulary(struct vocabulary *vocabulary)
{
    static const char letters[] = "etaoinshrdlucmfwypvbgk";

    vocabulary->random = (struct fr_random){1};
    for (size_t i = 0; i < VOCABULARY; i++) {
        size_t len = 2 + fr_random_below(&vocabulary->random, 9);
        for (size_t j = 0; j < len; j++) {
            size_t at = fr_random_below(&vocabulary->random, sizeof(letters) - 1);
            vocabulary->words[i][j] =
                letters[fr_random_below(&vocabulary->random, (unsigned)at + 1)];
        }
        vocabulary->words[i][len] = '\0';
    }
}

/* As in a language: words of a rank up to n are about as frequent as those from n to 2n. */
static const char *pick_word(struct vocabulary *vocabulary)
{
    uint64_t limit = 2;

    while (limit < VOCABULARY && fr_random_below(&vocabulary->random, 11) > 0) {
        limit *= 2;
    }
    return vocabulary->words[fr_random_below(&vocabulary->random, limit)];
}

static void make_words(struct fr_buf *out, uint64_t size, struct vocabulary *vocabulary)
{
    while (out->len < size) {
        if (fr_random_below(&vocabulary->random, 12) == 0) {
            fr_buf_printf(out, "%u ", (unsigned)fr_random_below(&vocabulary->random, 10000));
        } else {
            fr_buf_printf(out, "%s%s ", pick_word(vocabulary),
                          fr_random_below(&vocabulary->random, 10) == 0 ? "," : "");
        }
    }
}

static void put_line(struct fr_buf *out, struct vocabulary *vocabulary)
{
    struct fr_random *random = &vocabulary->random;

    fr_buf_printf(out, "{\"amount\":%u.%02u,\"article\":\"%s %s\",",
                  (unsigned)fr_random_below(random, 1000), (unsigned)fr_random_below(random, 100),
                  pick_word(vocabulary), pick_word(vocabulary));
    fr_buf_printf(out, "\"number\":%u,\"open\":%s}", (unsigned)fr_random_below(random, 100000),
                  fr_random_below(random, 3) == 0 ? "true" : "false");
}

/* All of one size, so that what fits can be counted: the remark is what remains. */
static void put_record(struct fr_buf *out, struct vocabulary *vocabulary, unsigned number)
{
    struct fr_random *random = &vocabulary->random;

    fr_buf_printf(out, "{\"at\":\"2026-%02u-%02uT%02u:%02u:%02uZ\",\"id\":%u,\"lines\":[",
                  (unsigned)fr_random_below(random, 12) + 1,
                  (unsigned)fr_random_below(random, 28) + 1, (unsigned)fr_random_below(random, 24),
                  (unsigned)fr_random_below(random, 60), (unsigned)fr_random_below(random, 60),
                  100000 + number);
    for (unsigned i = 0; i < RECORD_LINES; i++) {
        fr_buf_puts(out, i == 0 ? "" : ",");
        put_line(out, vocabulary);
    }
    fr_buf_puts(out, "],\"remark\":\"");
    while (out->len < RECORD_BYTES) {
        fr_buf_printf(out, "%s ", pick_word(vocabulary));
    }
    out->len = RECORD_BYTES - strlen("\"}");
    fr_buf_puts(out, "\"}");
}

static void make_records(struct fr_generator *generator, struct vocabulary *vocabulary)
{
    generator->records = fr_json_new(&generator->arena, FR_ARRAY);
    for (unsigned i = 0; i < RECORDS; i++) {
        struct fr_buf text = {0};
        const char *error = NULL;
        put_record(&text, vocabulary, i);
        fr_json_push(&generator->arena, generator->records,
                     fr_json_parse(&generator->arena, text.data, text.len, &error));
        fr_buf_done(&text);
    }
}

static void make_texts(struct fr_generator *generator, uint64_t largest)
{
    struct vocabulary vocabulary;
    uint64_t size = generator->text == FR_LETTERS ? NOISE_BYTES : WORDS_BYTES;

    size = largest * 2 > size ? largest * 2 : size;
    if (generator->text == FR_LETTERS) {
        make_letters(&generator->noise, size);
        return;
    }
    make_vocabulary(&vocabulary);
    make_words(&generator->noise, size, &vocabulary);
    if (generator->text == FR_RECORDS) {
        make_records(generator, &vocabulary);
    }
}

bool fr_generator_begin(struct fr_generator *generator,
                        const struct fr_binding *binding,
                        const struct fr_part *parts,
                        size_t part_count,
                        enum fr_text text,
                        struct fr_buf *error)
{
    const char *payload = payload_field(binding);
    uint64_t largest = 0;
    uint64_t deletes = 0;

    generator->text = text;
    generator->number_name = number_field(binding);
    if (generator->number_name == NULL || payload == NULL) {
        fr_buf_puts(error, "--generate needs a top-level integer key and a top-level string");
        return false;
    }
    if (!lay_out(generator, parts, part_count)) {
        fr_buf_puts(error,
                    "--generate: documents of at most 4 MiB; updates and deletions are a part "
                    "of the documents, and no more than there are keys before");
        return false;
    }
    for (size_t i = 0; i < part_count; i++) {
        largest = generator->parts[i].bytes > largest ? generator->parts[i].bytes : largest;
        deletes += generator->parts[i].deletes;
    }
    build_shape(generator, payload, pages_field(binding), deletes > 0);
    for (uint64_t i = 0; generator->pages != NULL && i < largest / PAGE_ROOM; i++) {
        fr_json_push(&generator->arena, generator->pages, fr_json_string(&generator->arena, ""));
    }
    make_texts(generator, largest);
    generator->stored = fr_realloc(NULL, (generator->key_count + 1) * sizeof(*generator->stored));
    memset(generator->stored, 0, (generator->key_count + 1) * sizeof(*generator->stored));
    return true;
}

void fr_generator_done(struct fr_generator *generator)
{
    fr_buf_done(&generator->noise);
    fr_realloc(generator->stored, 0);
    fr_arena_done(&generator->arena);
}

static size_t part_of(const struct fr_generator *generator, uint64_t position)
{
    size_t part = 0;
    while (part + 1 < generator->part_count && position >= generator->first[part + 1]) {
        part++;
    }
    return part;
}

/* Some number that depends on nothing but another one. */
static uint64_t mix(uint64_t value)
{
    struct fr_random random = {value};
    return fr_random_next(&random);
}

/* Keys begin at 1. The k-th of the picks lies somewhere in the k-th equal piece of the older keys.
 */
static uint64_t key_at(const struct fr_generator *generator, uint64_t position, bool *ret_delete)
{
    size_t at = part_of(generator, position);
    const struct fr_part *part = &generator->parts[at];
    uint64_t index = position - generator->first[at];
    uint64_t picks = part->updates + part->deletes;

    *ret_delete = false;
    if (index >= picks) {
        return generator->older[at] + index - picks + 1;
    }
    uint64_t begin = index * generator->older[at] / picks;
    uint64_t end = (index + 1) * generator->older[at] / picks;
    *ret_delete = (index + 1) * part->deletes / picks > index * part->deletes / picks;
    return begin + mix(position) % (end - begin) + 1;
}

static void set_page(const struct fr_generator *generator, uint64_t position, size_t i)
{
    struct fr_json **page = &generator->pages->items[i];

    if (generator->records != NULL) {
        *page = generator->records->items[(position * 7919 + i) % RECORDS];
    } else {
        (*page)->text = generator->noise.data +
                        (position * 7919 + i * 99991) % (generator->noise.len - PAGE_BYTES);
        (*page)->count = PAGE_BYTES;
    }
}

static struct fr_json *
make(struct fr_generator *generator, uint64_t position, uint64_t key, bool is_delete)
{
    const uint64_t bytes = generator->parts[part_of(generator, position)].bytes;
    char *at = generator->number_text + sizeof(generator->number_text) - 1;
    *at = '\0';
    for (uint64_t value = key; value > 0; value /= 10) {
        *--at = (char)('0' + value % 10);
    }
    generator->number->text = at;
    generator->number->count = (uint32_t)strlen(at);
    fr_source_uuid(position, generator->uuid_text);
    generator->uuid->text = generator->uuid_text;
    if (generator->op != NULL) {
        generator->op->text = is_delete ? "d" : "c";
    }
    size_t fixed = generator->shape_bytes + generator->number->count;
    size_t len = bytes > fixed ? bytes - fixed : 1;
    if (generator->pages != NULL) {
        size_t pages = len / PAGE_ROOM;
        generator->pages->count = (uint32_t)pages;
        for (size_t i = 0; i < pages; i++) {
            set_page(generator, position, i);
        }
        len -= pages > 0 ? pages * PAGE_ROOM - 1 : 0; /* the last has no comma */
    }
    generator->payload->text =
        generator->noise.data + position * 7919 % (generator->noise.len - len);
    generator->payload->count = (uint32_t)len;
    return generator->shape;
}

struct fr_json *fr_generator_document(struct fr_generator *generator,
                                      uint64_t position,
                                      bool *is_delete,
                                      bool *exists)
{
    bool deletes = false;
    uint64_t key = key_at(generator, position, &deletes);
    if (is_delete != NULL) {
        *is_delete = deletes;
    }
    if (exists != NULL) {
        *exists = generator->stored[key] != 0;
    }
    return make(generator, position, key, deletes);
}

void fr_generator_commit(struct fr_generator *generator, uint64_t from, uint64_t to, bool hard)
{
    for (uint64_t at = from; at < to; at++) {
        bool deletes = false;
        uint64_t key = key_at(generator, at, &deletes);
        generator->stored[key] = deletes && hard ? 0 : (uint32_t)at + 1;
    }
}

struct fr_json *fr_generator_of_key(struct fr_generator *generator, uint64_t key)
{
    bool deletes = false;
    if (key < 1 || key > generator->key_count || generator->stored[key] == 0) {
        return NULL;
    }
    uint64_t position = generator->stored[key] - 1;
    (void)key_at(generator, position, &deletes);
    return make(generator, position, key, deletes);
}

struct fr_json *fr_generator_stored(struct fr_generator *generator, const struct fr_json *doc)
{
    int64_t key = 0;
    return fr_json_to_int(fr_json_get(doc, generator->number_name), &key) && key > 0
               ? fr_generator_of_key(generator, (uint64_t)key)
               : NULL;
}
