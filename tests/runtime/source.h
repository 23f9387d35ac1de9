/* Where documents come from: a fixture file (one JSON value per line, ["collection", {document}],
   {"commit": true}, or {"backfillComplete": "collection", "before": position}) or a generator.
   Positions count documents; the clock of a document follows from its position, so that a replay
   gives the same document again. */
#ifndef FLOW_RUNTIME_SOURCE_H
#define FLOW_RUNTIME_SOURCE_H

#include "generate.h"

struct fr_line; /* one document of the fixture */

/* A source's backfill ended: what was published before the document at `before` is superseded. It
   is told in the transaction that has the last document before it in the fixture. */
struct fr_signal {
    uint64_t position; /* documents that stand before it, at least one */
    uint64_t before;
    uint32_t binding; /* the first binding of its collection */
};

struct fr_source {
    struct fr_signal *signals; /* by position */
    size_t signal_count;
    struct fr_buf text;    /* the fixture */
    struct fr_line *lines; /* by position */
    uint64_t *marks;       /* positions after which a transaction ends, ascending, may repeat */
    uint64_t document_count;
    uint64_t mark_count;
    bool *feeds; /* [first binding of a collection][binding]: same collection */
    size_t binding_count;

    bool generates;
    struct fr_generator generator;
    struct fr_arena arena;
};

/* Reads a fixture; lines of unknown collections are refused. False with a sentence. */
bool fr_source_open(struct fr_source *source,
                    const struct fr_task *task,
                    const char *path,
                    struct fr_buf *error);
/* Documents for the first binding's collection, which needs an integer key and a string location to
   fill. A part is a transaction, or as many as transaction (documents, 0: any number) makes of it.
 */
bool fr_source_generate(struct fr_source *source,
                        const struct fr_task *task,
                        const struct fr_part *parts,
                        size_t part_count,
                        uint64_t transaction,
                        enum fr_text text,
                        struct fr_buf *error);
void fr_source_done(struct fr_source *source);
/* The _meta/uuid of the document at a position: its clock follows from it. */
void fr_source_uuid(uint64_t position, char ret[static 40]);

/* The document at a position. Lives in the arena, or (generator) until the next call. */
struct fr_json *
fr_source_document(struct fr_source *source, struct fr_arena *arena, uint64_t position);
/* Does the document at a position go to this binding? */
bool fr_source_feeds(const struct fr_source *source, uint64_t position, size_t binding);

#endif
