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

/* The second apply is rolled back and taken for committed (the first to lock is Open). */
#define LOST_COMMIT                                                                                \
    "apply.commit#3 rewrite COMMIT=>ROLLBACK\napply.commit#3 answer ROLLBACK=>COMMIT\n"

/* The connector's state does not come back to it when it is opened. */
#define FLOW_CLEAR_AT_OPEN "open before run strip state\n"

/* The apply happens before the runtime has committed the transaction. First runtime. */
#define FLOW_EARLY_APPLY "startedCommit before run apply-early\n"

/* The answer comes before the apply. */
#define FLOW_ACK_BEFORE_APPLY "acknowledge before run acknowledge-early\n"

/* A file is taken for uploaded, and the bucket never got it. */
#define S3_UPLOAD_UNCHECKED "put.data#9 before run swallow\n"

/* The same of the list of files that COPY reads. */
#define S3_MANIFEST_UNCHECKED "put.manifest#5 before run swallow\n"

/* A failure that passes ends the process. */
#define S3_GIVES_UP "put.data#9 before kill %9\n"

/* Nothing is ever deleted. */
#define S3_LEAK "delete before run swallow\n"

/* A deletion that fails ends the process. */
#define S3_DELETE_FATAL "delete#2 before kill %9\n"

#endif
