#ifndef SUPPORT_PG_PEER_H
#define SUPPORT_PG_PEER_H

/*
 * A server on a loopback port that plays PostgreSQL's wire protocol 3.0 by a script, on a thread of
 * its own. What it was told is kept as lines for the test to look at. One connection at a time, in
 * the order of the script.
 *
 * Steps, one text each; words are divided by blanks, "..." is the rest of the step:
 *
 *      startup         reads the startup message (answers N to a request for TLS)
 *      oldtls          answers S to a request for TLS, and speaks nothing newer than TLS 1.1; what
 *                      comes of the handshake is kept as a line
 *      ok              AuthenticationOk, a few settings, the cancel key, ReadyForQuery
 *      auth CODE       an authentication request with that code (md5 gets a salt)
 *      password        reads the answer to it
 *      expect TYPE     reads messages up to and with one of that type: S (Sync), Q, P ...
 *      done TAG...     of a pipelined statement without rows: parsed, bound, no data, complete
 *      rows N TEXT     of a pipelined statement: parsed, bound, one column, N rows; no end yet
 *      row TEXT        one row more
 *      cells A|B;C|D   of a pipelined statement: parsed, bound, rows of several columns, complete;
 *                      a cell without text is null
 *      desc            the description of one column (simple queries)
 *      tag TAG...      CommandComplete
 *      error CODE ...  ErrorResponse with SQLSTATE and message
 *      fatal CODE ...  the same with severity FATAL
 *      notice ...      NoticeResponse
 *      ready STATUS    ReadyForQuery: I, T or E
 *      garbage         bytes that are no message
 *      wait            until pg_peer_go was called
 *      slow            from here on each byte is sent by itself
 *      cancel          accepts another connection and reads a cancel request from it
 *      silence         reads until the client hangs up
 *      close, reset    ends the connection, in order or not
 *      again           accepts the next connection
 *      beside          the same, but the one before stays open until the end
 */

#include <stdbool.h>
#include <stddef.h>

struct pg_peer;

/* script: steps, NULL at the end; lent until free. At its end the peer reads until the client hangs
 * up. step_count: how many of them to play, the others are left out (SIZE_MAX: all). When some are
 * left out, the connection is reset instead. */
struct pg_peer *pg_peer_new(const char *const *script, size_t step_count);
/* Ends the thread wherever it is. */
void pg_peer_free(struct pg_peer *peer);

const char *pg_peer_port(const struct pg_peer *peer);
void pg_peer_go(struct pg_peer *peer);

/* Waits until the script was played to its end, or the client hung up. */
void pg_peer_wait_end(struct pg_peer *peer);
/* Waits until at least that many bytes were sent. */
void pg_peer_wait_sent(struct pg_peer *peer, size_t bytes);
/* After pg_peer_wait_end: "startup user=u database=d ...", "P select 1", "S", "Q select 2", ... */
const char *pg_peer_heard(const struct pg_peer *peer);

#endif
