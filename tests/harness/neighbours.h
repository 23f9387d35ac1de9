#ifndef HARNESS_NEIGHBOURS_H
#define HARNESS_NEIGHBOURS_H

/* What is not the task's, in the same places: a row of another task in the metadata table, a table
 * of somebody else's, and objects under the same path of the bucket, one of which looks like a
 * staged file of another task. Nothing of it may change. */

#include "harness/trial.h"

/* Puts them there, with a connection (PGconn) of the caller's; once per trial, when the connector's
 * own tables are there and nothing of it is under way. */
void neighbours_plant(struct trial *trial, void *conn);

/* I23: everything is as it was. Takes the objects away. */
void neighbours_check(struct trial *trial);

#endif
