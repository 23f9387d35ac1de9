/* A table from (binding, packed key) to what is known of it: once for the running transaction, once
   for everything that is committed. */
#ifndef FLOW_RUNTIME_KEYMAP_H
#define FLOW_RUNTIME_KEYMAP_H

#include "mem.h"

#define FR_NOWHERE UINT32_MAX /* no link, no slot */

struct fr_entry {
    const char *key; /* in the map's arena */
    uint32_t key_len;
    uint32_t binding;
    uint64_t hash;
    /* Transaction: its documents as a chain of links, and what became of its Load. */
    uint32_t first, last;
    bool load_sent, loaded;
    /* Transaction: the Loaded document. Model: the stored document; NULL with position >= 0 when it
       is just the document at that position of the source; NULL with -1 when there is none. */
    char *text;
    size_t text_len;
    int64_t position;
    bool removed; /* transaction: a hard delete leaves nothing */
};

struct fr_keymap {
    struct fr_entry *entries; /* in order of arrival */
    size_t count, room;
    uint32_t *slots; /* index into entries, FR_NOWHERE when free; a power of two of them */
    size_t slot_count;
    struct fr_arena arena;
};

struct fr_entry *
fr_keymap_find(const struct fr_keymap *map, uint32_t binding, const char *key, size_t len);
/* Finds or adds; an added one has no documents and no text. The pointer is valid until the next
   add. */
struct fr_entry *
fr_keymap_add(struct fr_keymap *map, uint32_t binding, const char *key, size_t len);
/* Order of the protocol: ascending binding, then key. */
int fr_entry_compare(const struct fr_entry *left, const struct fr_entry *right);
void fr_keymap_clear(struct fr_keymap *map);
void fr_keymap_done(struct fr_keymap *map);

#endif
