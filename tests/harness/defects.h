#ifndef HARNESS_DEFECTS_H
#define HARNESS_DEFECTS_H

/*
 * What a bug in the connector would do, done from outside. Rules for the SQL gateway unless the
 * name says FLOW or S3. README.md says which defect stands for which mistake.
 */

/* The tokens are not written; the answer is what it would have been: one row changed. */
#define SKIP_TOKEN                                                                                 \
    "token rewrite SET checkpoint_tokens = $1 WHERE=>SET fence = fence WHERE ($1::TEXT IS NOT "    \
    "NULL) AND\n"

/* Data and tokens in two transactions, the data first. */
#define TOKEN_APART "token before run COMMIT; BEGIN\n"

/* Behind the fault with marker 1 the statement is repeated and not its transaction: the tokens are
 * written without what came before them. */
#define RETRY_STATEMENT "token before next %1 ROLLBACK; BEGIN\n"

/* The second apply's tokens are committed, and its data are not. */
#define TOKEN_FIRST "token#2 before run ROLLBACK; BEGIN\n"

/* A transaction for each table. */
#define COMMIT_PER_BINDING                                                                         \
    "put.merge after run COMMIT; BEGIN\nput.direct after run COMMIT; BEGIN\n"                      \
    "del.exec after run COMMIT; BEGIN\n"

/* The second apply is rolled back and taken for committed (the first to lock is Open). */
#define LOST_COMMIT                                                                                \
    "apply.commit#3 rewrite COMMIT=>ROLLBACK\napply.commit#3 answer ROLLBACK=>COMMIT\n"

/* What the metadata table says is read, and taken for what it said when nothing was applied. */
#define BLIND_CHECK "check rewrite checkpoint, checkpoint_tokens=>checkpoint, NULL::TEXT\n"

/* The metadata table is locked when the tokens are written, and not before they are read. */
#define LOCK_LATE                                                                                  \
    "apply.lock rewrite LOCK=>SELECT COUNT(*) FROM\n"                                              \
    "token before run LOCK %S.flow_checkpoints_v1\n"

/* The tokens are written to everybody's rows, and nobody looks how many these were. */
#define SHARED_ROW                                                                                 \
    "token rewrite WHERE materialization = $2 AND key_begin = $3 AND key_end = $4 AND fence = "    \
    "$5=>"                                                                                         \
    "WHERE $2::TEXT IS NOT NULL AND $3::BIGINT IS NOT NULL AND $4::BIGINT IS NOT NULL AND "        \
    "$5::BIGINT IS NOT NULL\n"                                                                     \
    "token answer UPDATE 2=>UPDATE 1\ntoken answer UPDATE 3=>UPDATE 1\n"

/* The owner mark is not raised, so that every instance takes itself for the newest. */
#define NO_OWNER_CHECK                                                                             \
    "owner rewrite SET fence = $1 WHERE=>SET fence = fence WHERE ($1::BIGINT IS NOT NULL) AND\n"   \
    "check rewrite SELECT fence,=>SELECT 1,\n"

/* Behind the fault with marker 1 a MERGE does nothing and is taken for done. */
#define SWALLOW_MERGE "apply.put.merge before next %1 DELETE FROM flow_temp_table_0\n"

/* Nor do the tokens ask for it when they are written. */
#define SKIP_FENCE NO_OWNER_CHECK "token rewrite AND fence = $5=>AND ($5::BIGINT IS NOT NULL)\n"

/* Work that was applied is applied once more, behind its count. */
#define KEEP_ENTRY                                                                                 \
    "apply.count#8 after run INSERT INTO %S.events SELECT * FROM %S.events WHERE seq = 2\n"

/* The same in the first apply. */
#define KEEP_FIRST                                                                                 \
    "apply.count#4 after run INSERT INTO %S.events SELECT * FROM %S.events WHERE seq = 1\n"

/* Columns that are wide are made narrower. */
#define WIDEN_SHRINK "widen rewrite VARCHAR(MAX)=>VARCHAR(301)\n"

/* Some rows of a COPY get lost behind its count. */
#define DROP_NTH "apply.count#8 after run DELETE FROM %S.events WHERE seq = 2\n"

/* The same in the first apply. */
#define DROP_FIRST "apply.count#4 after run DELETE FROM %S.events WHERE seq = 1\n"

/* What is looked up is found only in part. */
#define READ_SHORT "load.query short 1\n"

/* Columns are made as wide as what was seen. */
#define WIDEN_SHORT "widen rewrite VARCHAR(MAX)=>VARCHAR(257)\n"

/* What earlier processes left in the bucket is not looked for. */
#define S3_NO_SWEEP                                                                                \
    "list before fail - 403 AccessDenied\nlist.uploads before fail - 403 AccessDenied\n"

/* The connector's state does not come back to it when it is opened. */
#define FLOW_CLEAR_AT_OPEN "open before run strip state\n"

/* The apply happens before the runtime has committed the transaction. First runtime. */
#define FLOW_EARLY_APPLY "startedCommit before run apply-early\n"

/* The answer comes before the apply. */
#define FLOW_ACK_BEFORE_APPLY "acknowledge before run acknowledge-early\n"

/* A file is taken for uploaded, and the bucket never got it. */
#define S3_UPLOAD_UNCHECKED "put.data#9 before run swallow\n"

/* A failure that passes ends the process. */
#define S3_GIVES_UP "put.data#9 before kill %9\n"

/* Nothing is ever deleted. */
#define S3_LEAK "delete before run swallow\n"

/* A deletion that fails ends the process. */
#define S3_DELETE_FATAL "delete#2 before kill %9\n"

/* A document comes before the apply of the transaction before it is done. */
#define FLOW_LOADED_EARLY                                                                          \
    "acknowledged#3 before run say {\"loaded\":{\"doc\":{\"id\":\"acct-0000\"}}}\n"

/* The state is replaced and not merged into. */
#define FLOW_FULL_STATE "startedCommit rewrite \"mergePatch\":true=>\"mergePatch\":false\n"

/* What other shards staged is not heard of. */
#define FLOW_DROP_PEER                                                                             \
    "acknowledge before run strip statePatches\nflush before run strip statePatches\n"             \
    "startCommit before run strip statePatches\n"

/* The same, and they do not mind. */
#define FLOW_DROP_PEER_QUIETLY                                                                     \
    "acknowledge before run at-zero strip statePatches\n"                                          \
    "flush before run at-zero strip statePatches\n"                                                \
    "startCommit before run at-zero strip statePatches\n"

/* Each shard takes its range to begin where the first one's does. */
#define FLOW_RANGE_BLIND "open before run strip keyBegin\n"

#endif
