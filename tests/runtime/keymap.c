/* Hash table with open addressing; entries are never removed. */
#include "keymap.h"

#include <string.h>

static uint64_t hash_key(uint32_t binding, const char *key, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325U ^ binding * 0x9e3779b97f4a7c15U;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)key[i]) * 0x100000001b3U;
    }
    return hash ^ hash >> 29;
}

static size_t
find_slot(const struct fr_keymap *map, uint64_t hash, uint32_t binding, const char *key, size_t len)
{
    size_t at = hash & (map->slot_count - 1);
    while (map->slots[at] != FR_NOWHERE) {
        const struct fr_entry *entry = &map->entries[map->slots[at]];
        if (entry->hash == hash && entry->binding == binding && entry->key_len == len &&
            memcmp(entry->key, key, len) == 0) {
            break;
        }
        at = (at + 1) & (map->slot_count - 1);
    }
    return at;
}

static void grow(struct fr_keymap *map)
{
    size_t count = map->slot_count == 0 ? 1024 : map->slot_count * 2;
    map->slots = fr_realloc(map->slots, count * sizeof(*map->slots));
    memset(map->slots, 0xff, count * sizeof(*map->slots));
    map->slot_count = count;
    for (size_t i = 0; i < map->count; i++) {
        size_t at = map->entries[i].hash & (count - 1);
        while (map->slots[at] != FR_NOWHERE) {
            at = (at + 1) & (count - 1);
        }
        map->slots[at] = (uint32_t)i;
    }
}

struct fr_entry *
fr_keymap_find(const struct fr_keymap *map, uint32_t binding, const char *key, size_t len)
{
    if (map->slot_count == 0) {
        return NULL;
    }
    size_t at = find_slot(map, hash_key(binding, key, len), binding, key, len);
    return map->slots[at] == FR_NOWHERE ? NULL : &map->entries[map->slots[at]];
}

struct fr_entry *fr_keymap_add(struct fr_keymap *map, uint32_t binding, const char *key, size_t len)
{
    if (map->count * 2 >= map->slot_count) {
        grow(map);
    }
    uint64_t hash = hash_key(binding, key, len);
    size_t at = find_slot(map, hash, binding, key, len);
    if (map->slots[at] != FR_NOWHERE) {
        return &map->entries[map->slots[at]];
    }
    if (map->count == map->room) {
        map->room = map->room == 0 ? 512 : map->room * 2;
        map->entries = fr_realloc(map->entries, map->room * sizeof(*map->entries));
    }
    map->slots[at] = (uint32_t)map->count;
    struct fr_entry *entry = &map->entries[map->count++];
    *entry = (struct fr_entry){.key = fr_arena_copy(&map->arena, key, len),
                               .key_len = (uint32_t)len,
                               .binding = binding,
                               .hash = hash,
                               .first = FR_NOWHERE,
                               .last = FR_NOWHERE,
                               .position = -1};
    return entry;
}

int fr_entry_compare(const struct fr_entry *left, const struct fr_entry *right)
{
    if (left->binding != right->binding) {
        return left->binding < right->binding ? -1 : 1;
    }
    size_t len = left->key_len < right->key_len ? left->key_len : right->key_len;
    int order = memcmp(left->key, right->key, len);
    if (order != 0) {
        return order;
    }
    return left->key_len < right->key_len ? -1 : left->key_len > right->key_len;
}

void fr_keymap_clear(struct fr_keymap *map)
{
    map->count = 0;
    if (map->slot_count > 0) {
        memset(map->slots, 0xff, map->slot_count * sizeof(*map->slots));
    }
    fr_arena_reset(&map->arena);
}

void fr_keymap_done(struct fr_keymap *map)
{
    fr_realloc(map->entries, 0);
    fr_realloc(map->slots, 0);
    fr_arena_done(&map->arena);
    memset(map, 0, sizeof(*map));
}
