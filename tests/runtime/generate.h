/* The generator: documents made from their position alone, in parts. A part begins with documents
   of keys that earlier parts made (updates and deletions, spread evenly over them) and goes on with
   new keys; within a part keys ascend, so it can be sent as it is made. It holds four bytes per
   key: at which position the document was stored that the destination has now. */
#ifndef FLOW_RUNTIME_GENERATE_H
#define FLOW_RUNTIME_GENERATE_H

#include "task.h"

enum { FR_MAX_PARTS = 64, FR_MAX_DOCUMENT_BYTES = 4 << 20 };

/* --text: what the texts are made of. */
enum fr_text {
    FR_LETTERS, /* at random: nothing but their number of kinds helps a compressor */
    FR_WORDS,   /* of a language, the common ones often, with numbers between them */
    FR_RECORDS  /* words; and an array is one of objects, not of strings */
};

/* --generate COUNT,BYTES[,UPDATES[,DELETES]]: the last two in percent of COUNT. */
struct fr_part {
    uint64_t count, bytes, updates, deletes;
};

struct fr_generator {
    struct fr_part parts[FR_MAX_PARTS];
    uint64_t first[FR_MAX_PARTS + 1]; /* position of a part's first document */
    uint64_t older[FR_MAX_PARTS];     /* keys that earlier parts made */
    size_t part_count;
    uint32_t *stored; /* by key: position + 1 of its document, 0: none is there */
    uint64_t key_count;

    /* One template whose texts are exchanged for each document. */
    const char *number_name;
    struct fr_json *shape, *number, *uuid, *op, *payload;
    struct fr_json *pages; /* or NULL */
    enum fr_text text;
    size_t shape_bytes; /* of the template without number and payload */
    char number_text[24];
    char uuid_text[40];
    struct fr_buf noise;     /* payloads are windows into it */
    struct fr_json *records; /* an array of them, each of RECORD_BYTES as text; or NULL */
    struct fr_arena arena;
};

/* False with a sentence when the first binding's collection lacks an integer key or a string to
 * fill. If it has an array, too, that is filled with strings of a thousand characters, or with
 * records, as far as they fit: one string of the size of a large document is more than a column may
 * hold. */
bool fr_generator_begin(struct fr_generator *generator,
                        const struct fr_binding *binding,
                        const struct fr_part *parts,
                        size_t part_count,
                        enum fr_text text,
                        struct fr_buf *error);
void fr_generator_done(struct fr_generator *generator);
/* The document at a position, until the next call. is_delete, exists: may be NULL; exists is about
   what was committed. */
struct fr_json *fr_generator_document(struct fr_generator *generator,
                                      uint64_t position,
                                      bool *is_delete,
                                      bool *exists);
/* Documents of [from, to) are stored; hard: deletions leave nothing. */
void fr_generator_commit(struct fr_generator *generator, uint64_t from, uint64_t to, bool hard);
/* The document that is stored under a key, or under that of doc, until the next call; NULL: none.
   Keys are 1 to key_count. */
struct fr_json *fr_generator_of_key(struct fr_generator *generator, uint64_t key);
struct fr_json *fr_generator_stored(struct fr_generator *generator, const struct fr_json *doc);

#endif
