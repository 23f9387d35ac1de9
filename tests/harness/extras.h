#ifndef HARNESS_EXTRAS_H
#define HARNESS_EXTRAS_H

/*
 * What a scenario may have beside the ledger: further bindings, whose documents stand behind the
 * others of each group.
 *
 *      EXTRA_NODOC     accounts_nodoc   the accounts once more, without the document's column; the
 *                                       accounts have optional members
 *      EXTRA_SHAPES    shapes, names    values that are easily spoilt under a key of five types;
 *                                       keys that differ behind 256, 1,000 and 65,000 bytes
 *      EXTRA_FILLED    filled           its source's backfill ends twice: what was published before
 *                                       must go (second runtime)
 *
 * Which documents a group has follows from its number alone, so that what must be in the tables is
 * worked out anew by the checks (check_extras.c), from tables of their own.
 */

#include "harness/workload.h"

#include <stdio.h>

#define FILLED_DOCUMENTS 3 /* of a group */

/* In the catalog: text goes behind the collections, behind the bindings, into acme/merged. */
void extras_put_properties(FILE *out, unsigned extras);
void extras_put_collections(FILE *out, unsigned extras);
void extras_put_bindings(FILE *out, unsigned extras);

/* Members of an event of acme/merged, each with a comma in front. */
void extras_put_members(FILE *out, unsigned extras, unsigned account, unsigned seq);

/* The group's own documents; the position of the first one is where the others ended. Gives how
 * many there are. */
unsigned extras_put_group(FILE *out, struct workload *work, unsigned group, unsigned position);

/* ---- which documents there are */

#define SHAPES 12
#define NAMES 6

/* Has the group a document of it? */
bool extras_is_shape_in(unsigned shape, unsigned group);
bool extras_is_name_in(unsigned name, unsigned group);
/* The ids of the group's documents of acme/filled, in their order; the first is in no other. */
void extras_filled_ids(unsigned group, unsigned ret[FILLED_DOCUMENTS]);
/* Behind this group a backfill's end is told, of what was published before the first document of
 * that group; 0: none is. */
unsigned extras_filled_before(unsigned group);

#endif
