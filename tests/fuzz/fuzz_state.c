/*
 * The connector state and the tokens, whatever a recovery log or a row of the metadata table may
 * hold. The first byte chooses the reader. Promises: what is read can be written and read again as
 * the same, and every slot is found; what is refused is an error of its own and nothing else.
 */

#include "fuzz.h"

#include "base/check.h"
#include "txn/entry.h"

#define MAX_TEXT ((size_t)16 << 20)

static bool is_fine(struct error *err)
{
    bool fine = err == NULL;

    error_free(err);
    return fine;
}

/* A later entry of a slot replaces the one before it: only the last ones are in the patch. */
static void write_entries(const struct entries *list, struct arena *arena)
{
    struct entries again = {0};
    struct buf text;

    buf_init(&text, MAX_TEXT);
    entries_add_patch(&text, list);
    CHECK(!buf_is_full(&text));
    CHECK(is_fine(entries_read(&again, arena, buf_view(&text))));
    CHECK(again.count <= list->count);
    for (unsigned i = 0; i < again.count; i++) {
        const struct entry *found =
            entries_find(&again, again.items[i].state_key, again.items[i].range);
        CHECK(found);
    }
    buf_clear(&text);
    entries_add_clearing(&text, list);
    again = (struct entries){0};
    CHECK(is_fine(entries_read(&again, arena, buf_view(&text))));
    CHECK(again.count == 0);
    buf_done(&text);
}

static void write_tokens(const struct tokens *list, struct arena *arena)
{
    struct tokens again = {0};
    struct buf text;

    buf_init(&text, MAX_TEXT);
    tokens_add_json(&text, list);
    CHECK(!buf_is_full(&text));
    CHECK(is_fine(tokens_read(&again, arena, buf_view(&text))));
    for (unsigned i = 0; i < again.count; i++) {
        const struct token *token = &again.items[i];
        CHECK(tokens_have(list, token->state_key, token->range, token->id));
    }
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new((size_t)256 << 20);
    const struct span text = {(const char *)data + (size > 0), size > 0 ? size - 1 : 0};
    struct entries entries = {0};
    struct tokens tokens = {0};

    switch (size > 0 ? data[0] % 3 : 0) {
    case 0:
        if (is_fine(entries_read(&entries, arena, text))) {
            write_entries(&entries, arena);
        }
        break;
    case 1:
        if (is_fine(entries_read_patches(&entries, arena, text))) {
            write_entries(&entries, arena);
        }
        break;
    default:
        if (is_fine(tokens_read(&tokens, arena, text))) {
            write_tokens(&tokens, arena);
        }
        break;
    }
    arena_free(arena);
    return 0;
}
