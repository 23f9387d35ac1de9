#ifndef TXN_ENTRY_H
#define TXN_ENTRY_H

/*
 * Entries and tokens: the two documents by which a transaction survives its process. Pure.
 *
 *   state (Flow's recovery log)   { "<state key>": { "<range>": entry } }
 *   tokens (metadata table)       { "<state key>": { "<range>": "<id applied last>" } }
 *   range                         "%08x-%08x" of the shard's key range, both ends inclusive
 *
 * An entry is always written with all of its members, so that a merge patch laid over an older
 * entry of the same slot gives exactly the new one (an empty list as null, which takes an older
 * list away):
 *
 *   {"id":"<uuid>","storeFiles":["key",...]|null,"deleteFiles":null,"mergeFiles":null,
 *    "mustMerge":false,"widen":null,"deleteBefore":"2026-01-02T03:04:05.000006Z"|null,
 *    "storeRows":"12","deleteRows":"0","mergeRows":"0"}
 *
 * Rows of storeFiles are new to the table and are copied straight into it, those of mergeFiles are
 * in it already and are merged. Earlier versions of ours had no mergeFiles and no mergeRows:
 * mustMerge said what was to be done with all of storeFiles. The original's entries are as those,
 * without row counts; "widen" there holds identifiers as they stand in SQL, and object keys have no
 * suffix. Both are read; nothing but the form above is written.
 *
 * Row counts are decimal strings: a reader on the way that thinks in doubles cannot round them. It
 * is read strictly: a member we do not know may mean work that we would do wrongly, so it is
 * refused.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

#define RANGE_TEXT_LEN 17
void range_text(char out[RANGE_TEXT_LEN + 1], uint32_t key_begin, uint32_t key_end);
/* Is any key in both? Both are of that form. */
bool range_overlaps(struct span a, struct span b);

struct names { /* a list of texts in an arena */
    struct span *items;
    unsigned count;
};

/* What is done with the rows of a staged file, in the order in which it is done. */
enum entry_role {
    ENTRY_DELETE, /* keys alone: the documents under them go */
    ENTRY_MERGE,  /* documents whose keys are in the table */
    ENTRY_STORE,  /* documents whose keys are not: all there is to do is COPY */
    ENTRY_ROLES
};
const char *entry_role_name(enum entry_role role); /* "delete", "merge", "store": in object keys */

struct staged {
    struct names files; /* object keys */
    uint64_t rows;
};

struct entry {
    struct span state_key, range, id;
    struct staged staged[ENTRY_ROLES];
    bool is_uncounted;  /* another version of this connector wrote it: without row counts */
    struct names widen; /* fields whose columns need VARCHAR(MAX) */
    /* ENTRY_INSTANT_LEN bytes, so that the later of two is the greater text; empty: none. */
    struct span delete_before;
};

/* "2026-01-02T03:04:05.000006Z" from a time since 1970. What is finer than Redshift's microseconds
 * is dropped, as it is from the times that rows hold: no row of the instant itself lies before it.
 * False for times outside of the years 1970 to 9999. */
#define ENTRY_INSTANT_LEN 27
bool entry_instant(char out[ENTRY_INSTANT_LEN + 1], int64_t seconds, int32_t nanos);

/* Where in a list the items of a slot (state key and range) are: open addressing, item + 1, 0 is
 * free. A thousand bindings of many shards are looked up by each other's. */
struct slots {
    uint32_t *at;
    unsigned cap; /* a power of two, at least twice the items; 0 before the first */
};

struct entries {
    struct entry *items;
    unsigned count, cap;
    struct slots slots; /* kept by entries_add */
};

/* All strings of what is added are copied into arena. */
void entries_add(struct entries *list, struct arena *arena, const struct entry *entry);
/* Of a list that entries_add made. */
const struct entry *
entries_find(const struct entries *list, struct span state_key, struct span range);
bool entry_is_same(const struct entry *a, const struct entry *b);

/* Appends the entries of a state document or of one patch; an empty text and null have none.
 * Members that are null are passed over. */
struct error *entries_read(struct entries *list, struct arena *arena, struct span json) MUST_CHECK;
/* Appends the entries of a v2 array of patches (each element one shard's patch). A null element
 * means that a shard replaced the whole state: peers' staged work is gone, which is refused. */
struct error *
entries_read_patches(struct entries *list, struct arena *arena, struct span json) MUST_CHECK;

/* {"<state key>":{"<range>":entry}} for all of them, by state key, as one merge patch; nothing for
 * none. */
void entries_add_patch(struct buf *out, const struct entries *list);
/* The same with null in place of each entry: they are settled. */
void entries_add_clearing(struct buf *out, const struct entries *list);

struct token {
    struct span state_key, range, id;
};

struct tokens {
    struct token *items;
    unsigned count, cap;
    struct slots slots; /* kept by tokens_add and tokens_set */
};

/* Replaces the id of the slot or adds it; copies into arena. */
void tokens_set(struct tokens *list,
                struct arena *arena,
                struct span state_key,
                struct span range,
                struct span id);
/* Adds one more id to the list, beside others of its slot; copies into arena. */
void tokens_add(struct tokens *list, struct arena *arena, const struct token *token);
bool tokens_have(const struct tokens *list,
                 struct span state_key,
                 struct span range,
                 struct span id);
struct error *tokens_read(struct tokens *list, struct arena *arena, struct span json) MUST_CHECK;
void tokens_add_json(struct buf *out, const struct tokens *list);

#endif
