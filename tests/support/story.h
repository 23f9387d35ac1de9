#ifndef SUPPORT_STORY_H
#define SUPPORT_STORY_H

/*
 * A story is an integration test: real programs, a real bucket, a real database. It has a folder of
 * its own for everything that is written, a schema and a prefix in the bucket of its own, so
 * stories run side by side. Nothing here ends a test: what goes wrong is noted as the story's
 * complaint (the first one counts), and story_end turns it into a failure. A story without a
 * complaint leaves nothing behind, unless TEST_EVIDENCE names a folder for it (on the same file
 * system as TMPDIR); one with a complaint keeps its folder and names it.
 *
 * What holds secrets because they are given to programs lies in the subfolder "given", where
 * story_config writes: all other files are searched for them in the end (tests/evidence). A story
 * whose programs learn secrets from elsewhere writes them, a line each, to "given/NAME.secrets".
 *
 * The local parts come from the environment, see deploy/local/env. Functions may be called from
 * several threads as long as each has a story of its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Under the address sanitizer a process's memory is mostly the sanitizer's, and no measure of the
 * product. */
#if defined(__SANITIZE_ADDRESS__)
#define STORY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STORY_SANITIZED 1
#endif
#endif
#ifndef STORY_SANITIZED
#define STORY_SANITIZED 0
#endif

struct story_process {
    pid_t pid; /* 0: none, or it has ended and was waited for */
    int status;
    const char *out, *err; /* files of its stdout and stderr */
    struct story_process *next;
};

struct story {
    const char *name;
    const char *dir;    /* evidence; absolute */
    const char *schema; /* of its tables; made by the connector */
    const char *prefix; /* bucketPath; those of one process begin alike, up to the last "_" */
    char complaint[4096];
    struct story_text *texts;
    struct story_process *processes;
};

struct story *story_begin(const char *name);
/* Ends what still runs, drops schema and folder unless there is a complaint. True: no complaint. */
bool story_close(struct story *story);
/* story_close, then cmocka's failure with the complaint. */
void story_end(struct story *story);

/* Notes what is wrong; false, so that a check can return it. */
bool story_complain(struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Is all well so far? */
bool story_is_well(const struct story *story);

/* ---- texts and files; texts live as long as the story */

char *story_text(struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *story_path(struct story *story, const char *name);
/* The same in the folder "given", which is made: for what holds secrets on purpose. */
const char *story_given(struct story *story, const char *name);
const char *story_write(struct story *story, const char *name, const char *text); /* its path */
/* The path of a catalog with one collection to generate: an integer key, a string; table "many". */
const char *story_catalog_of_many(struct story *story);
/* The whole file; "" when there is none. *ret_len may be NULL. */
char *story_read(struct story *story, const char *path, size_t *ret_len);
/* The number behind the first "name": in a JSON text, or -1. */
int64_t story_number(const char *json, const char *name);
const char *story_programs(void); /* the folder of this build's programs */
/* A variable that deploy/local/env gives; ends the program when it is not set. */
const char *story_environment(const char *name);
/* Both texts are kept as files; the complaint has the first line that differs. */
bool story_same(struct story *story, const char *what, const char *wanted, const char *got);

/* ---- processes */

/* argv ends with NULL; argv[0] without a slash is a program of this build. environment: extra
 * "NAME=VALUE", ended by NULL, or NULL. input: a file for stdin, NULL for none. label names the
 * files of its output. Dies with the thread that started it. */
struct story_process *story_start(struct story *story,
                                  const char *label,
                                  const char *const *argv,
                                  const char *const *environment,
                                  const char *input);
/* Waits for its end. After the time it is killed, and that is a complaint. */
bool story_wait(struct story *story, struct story_process *process, unsigned seconds);
/* Its exit code, or -1 when it did not exit by itself. */
int story_exit_code(const struct story_process *process);
/* A process that it has started, such as the connector of a flow-runtime; 0: none. */
pid_t story_child(const struct story_process *process);
/* Waits for fact(ctx); a complaint after the time. */
bool story_wait_for(
    struct story *story, const char *what, bool (*fact)(void *ctx), void *ctx, unsigned seconds);
bool story_wait_file(struct story *story, const char *path, unsigned seconds);

/* ---- the parts */

struct story_config {
    const char *address;  /* NULL: the sandbox */
    const char *password; /* NULL, and so on: the right one */
    const char *database, *bucket, *key, *secret;
    bool hard_delete;
    const char *sync_schedule; /* a JSON object; NULL: acknowledge at once */
    const char *extra;         /* further members, with a leading comma, or NULL */
};

/* Writes an endpoint configuration to the folder "given"; gives its path. */
const char *story_config(struct story *story, const char *name, const struct story_config *config);

/* Starts an SQL gateway in front of the sandbox; rules as in gateway/rules.h, or NULL. Its trace is
 * the file "label.trace" of the folder. Gives its address, NULL with a complaint. */
const char *story_gateway(struct story *story, const char *label, const char *rules);
/* The same in front of another warehouse. */
const char *
story_gateway_to(struct story *story, const char *address, const char *label, const char *rules);
/* The same in front of the bucket (rules as in gateway/s3_gateway.c); gives an endpoint's URL. */
const char *story_s3_gateway(struct story *story, const char *label, const char *rules);

struct story_drive {
    const char *label;   /* names its state folder and its files */
    const char *catalog; /* paths */
    const char *fixture; /* NULL when an option makes documents */
    const char *config;
    const char *codec, *mode;
    const char *const *options; /* further ones, ended by NULL, or NULL */
};

/* Starts flow-runtime over the product. Its files: LABEL.report, LABEL.log, folder LABEL.state. */
struct story_process *story_drive_start(struct story *story, const struct story_drive *drive);
/* To its end; a complaint unless it exits 0. */
bool story_drive(struct story *story, const struct story_drive *drive);
bool story_drive_within(struct story *story, const struct story_drive *drive, unsigned seconds);
const char *story_report(struct story *story, const char *label);

/* Rows as lines, columns divided by "|", NULL as "~". A failure is a complaint and "". */
char *story_query(struct story *story, const char *sql);
/* The result itself (PGresult, to be cleared); NULL with a complaint. */
void *story_result(struct story *story, const char *sql);
/* The rows of a result of libpq (PGresult) as lines. */
char *story_rows(struct story *story, const void *result);
void story_drop_schema(struct story *story);
/* Keys and unfinished uploads that begin so, a line each. */
char *story_bucket(struct story *story, const char *prefix);
/* Takes one object away, as a life cycle rule would; a complaint when that fails. */
bool story_bucket_remove(struct story *story, const char *key);
/* A complaint when anything is left under the story's prefix. */
bool story_bucket_is_empty(struct story *story);

/* ---- many at once */

/* Calls task(ctx, index) for each index below count, some of them at the same time. */
void story_side_by_side(unsigned count, void (*task)(void *ctx, unsigned index), void *ctx);

#endif
