#ifndef HARNESS_PLAYS_H
#define HARNESS_PLAYS_H

/* Courses that several scenarios share, beside trial_play. */

#include "harness/trial.h"

/* The first run, "first", must fail with exit 2 and say the scenario's words; a second one,
 * "runtime", goes on from its log in a world where nothing is wrong, to the end. */
void play_stuck(struct trial *trial);

/* Between the two runs the point's text, SQL with %S for the schema and "=>" in the middle, is done
 * to the warehouse: "damage=>repair". The first run stops with work that nobody has applied; then
 * one with the damage must fail; then the rest. */
void play_damaged(struct trial *trial);

/* Behind the connector's back a staged file is spoiled between two runs. The point's text is "part
 * of its key|how|what must be said": how is "gone", or the only line of the file that takes its
 * place, in which %L stands for more than 4 MB and %l for 70,000 letters. The first run stops with
 * work that nobody has applied; two runs must fail alike and change nothing; then the file is put
 * back and the rest follows. A defect's rules hold in the two; in them %L is the number of lines
 * that the file had, and with a defect the file that takes its place is empty. */
void play_spoiled(struct trial *trial);

/* "older" is halted at the point's stop (marker 1); "runtime" takes over from a copy of its log and
 * runs to the end; then the older one goes on, must fail and must change nothing. A third run opens
 * once more and sweeps. */
void play_halted(struct trial *trial);

/* The same, but its runtime is gone when it goes on, as if its commit had been refused. */
void play_orphaned(struct trial *trial);

/* "older" is halted, or a request of its is held (marker 1). The newer one takes over and stops
 * with work that is staged and committed; then the older one goes on, its runtime halted, until it
 * has deleted something; then the newer one's work is applied. The defect SWEEP-ALL: with what the
 * older one deletes all goes that is in the bucket. */
void play_amid(struct trial *trial);

/* A first run stops with work that nobody has applied. The second is halted when its manifests are
 * written (marker 1), then a file of the table events is altered as the point's name says: "cut
 * short", "a line less", "a byte flipped", "swapped" (with one of accounts_delta), or a file is
 * "omitted" from the manifest. It must refuse with the point's text and commit nothing; with the
 * file as it was all goes on. The defect IGNORE-COUNT: each of its counts is what is expected. */
void play_altered(struct trial *trial);

/* The older one is halted with the lock; it is killed when the newer one waits for it. */
void play_holding(struct trial *trial);

/* The point's rule holds a COMMIT back (late, marker 1); it is let go when another attempt waits
 * for the lock. With the text "kill" the process that sent it is killed meanwhile. */
void play_late(struct trial *trial);

/* The connector is halted at the rule with marker 9; what it has staged is deleted then, and it is
 * killed. That is what deletes before COMMIT would do. */
void play_early_deletion(struct trial *trial);

/* The point's rule falls silent (marker 1) towards a connector whose network is hasty; the server
 * gives its end up when another attempt waits for the lock. The log must say the point's text. */
void play_silent(struct trial *trial);

/* The point's rule holds a step of each of two shards back (marker 1); both go on together. */
void play_together(struct trial *trial);

/* Another writer changes rows of a target all the time, until each transaction has lost to it
 * twice. The point's text is the isolation, "snapshot" or "serializable". Marker 1 is there after
 * the first conflict. */
void play_contended(struct trial *trial);

/* A first run leaves work that nobody has applied; two instances open with it at once, and only
 * recover; then the task goes on. */
void play_twins(struct trial *trial);

/* Waits until marker 1 says that a client of this run was halted, or the run is over. */
void play_wait_halt(struct trial *trial, const struct story_process *process);

#endif
