/* One exchange with a connector process: requests out, responses in, both held against the rules
   that hold everywhere, and the named moments at which the process can be killed. Every function
   that returns an end has set the verdict when it is not FR_OK. A message is valid until the next
   take.
 */
#ifndef FLOW_RUNTIME_EXCHANGE_H
#define FLOW_RUNTIME_EXCHANGE_H

#include "run.h"

/* The verdict of a broken rule. */
enum fr_end fr_exchange_broken(struct fr_run *run, const struct fr_buf *rule);

/* Loads, Stores and Loadeds are counted anew in each transaction. */
void fr_exchange_reset_points(struct fr_run *run);

/* A named moment of one shard. "before" a request nothing of it may be written, after ".sent" all
   of it is. */
enum fr_end fr_exchange_point(struct fr_shard *shard, const char *point);

/* A named moment of the session: something is in the recovery log. */
enum fr_end fr_exchange_logged(struct fr_run *run, const char *point);

/* Lets bytes of all shards move once. A shard other than awaited (NULL: none) that is gone ends the
   session. */
enum fr_end fr_exchange_turn(struct fr_run *run, const struct fr_shard *awaited, int64_t deadline);

/* What can be moved at once is moved. */
void fr_exchange_settle(struct fr_run *run);

/* A process has closed its stdout: is that a crash or a broken rule? */
enum fr_end fr_exchange_judge_end(struct fr_shard *shard, const char *where);

/* From now, in milliseconds of the monotonic clock: the longest silence that is accepted. */
int64_t fr_exchange_deadline(const struct fr_run *run);

/* Writes everything out. What comes in meanwhile is kept for later. */
enum fr_end fr_exchange_flush(struct fr_shard *shard);

/* Appends a request to what is to be written; body is in its JSON form. */
void fr_exchange_put(struct fr_shard *shard, const char *kind, struct fr_json *body);

/* Flush, StartCommit and Acknowledge carry the peers' patches byte for byte. more: further members
   of the JSON form, or further fields; or NULL. */
void fr_exchange_put_patched(struct fr_shard *shard,
                             const char *kind,
                             unsigned kind_number,
                             unsigned patches_number,
                             const struct fr_json *checkpoint,
                             const struct fr_buf *patches,
                             const struct fr_buf *more);

/* The one member of a response: its JSON name and its content. */
const char *fr_exchange_kind(const struct fr_json *message);
struct fr_json *fr_exchange_body(const struct fr_json *message);

/* Responses as people know them. */
const char *fr_exchange_title(const char *kind);

/* The next message if one is there. FR_OK with *ret_message NULL: not yet. */
enum fr_end fr_exchange_take(struct fr_shard *shard, struct fr_json **ret_message);

/* Waits for any message. */
enum fr_end
fr_exchange_receive(struct fr_shard *shard, const char *awaited, struct fr_json **ret_message);

/* Waits for a message of this kind; any other breaks a rule. */
enum fr_end fr_exchange_expect(struct fr_shard *shard, const char *kind, struct fr_json **ret_body);

/* Closes the input of one shard, or of all of the session: nothing may come but the end, with exit
   code 0 (or 1, if it may fail). */
enum fr_end fr_exchange_expect_end(struct fr_shard *shard, bool may_fail);
enum fr_end fr_exchange_expect_all_ends(struct fr_run *run, bool may_fail);

/* Checks a ConnectorState; *ret_state NULL when the body has none. */
enum fr_end fr_exchange_state(struct fr_shard *shard,
                              const char *title,
                              const struct fr_json *body,
                              struct fr_json **ret_state);

/* The framing of v2: each patch is followed by a tab; a replacement is null and the new state. */
void fr_exchange_add_patch(struct fr_buf *patches, const struct fr_json *state);

/* Makes state updates, and a commit if there is one, durable in the recovery log: one record.
   updates: an array in commit order, or NULL. */
enum fr_end fr_exchange_log(struct fr_run *run,
                            const char *why,
                            const struct fr_commit *commit,
                            const struct fr_json *updates,
                            const struct fr_json *max_keys);

/* Starts a process and exchanges the Spec that comes first on every stream. */
enum fr_end fr_exchange_begin(struct fr_shard *shard);

/* Sends with its two kill points. */
#define SENDING(shard, name, put)                                                                  \
    do {                                                                                           \
        enum fr_end sending_end = fr_exchange_point(shard, name ".before");                        \
        if (sending_end != FR_OK) {                                                                \
            return sending_end;                                                                    \
        }                                                                                          \
        put;                                                                                       \
        sending_end = fr_exchange_point(shard, name ".sent");                                      \
        if (sending_end != FR_OK) {                                                                \
            return sending_end;                                                                    \
        }                                                                                          \
    } while (0)

#endif
