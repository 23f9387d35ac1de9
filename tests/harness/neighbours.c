/* harness/neighbours: see neighbours.h. */

#include "harness/neighbours.h"

#include "harness/bucket.h"

#include <libpq-fe.h>

#include <stdio.h>
#include <string.h>

#define TEXT "not yours"

/* Of another task with the same path: its prefix is the hash of its name, and stands behind the
 * ledger's in a list. The process that made it started before every other one. */
static const char *const objects[] = {
    "notes.txt",
    "fedcba9876543210/00000000-ffffffff/000000000001-0b5f2ac4-71d3-4a30-9c14-6c7a6f5f8a11/"
    "r000000-b0000-store-0000.json.gz"};

#define OBJECTS (sizeof objects / sizeof *objects)

static void name_object(const struct trial *trial, unsigned index, char key[512])
{
    snprintf(key, 512, "%s/%s", trial->story->prefix, objects[index]);
}

void neighbours_plant(struct trial *trial, void *conn)
{
    const char *s = trial->story->schema;
    char sql[1024], key[512];

    if (trial->has_neighbours) {
        return;
    }
    trial->has_neighbours = true;
    snprintf(sql, sizeof sql,
             "INSERT INTO %s.flow_checkpoints_v1 (materialization, key_begin, key_end, fence) "
             "VALUES ('acme/ledger2', 0, 4294967295, 7);"
             "CREATE TABLE %s.neighbours (id BIGINT, name TEXT);"
             "INSERT INTO %s.neighbours VALUES (1, '" TEXT "')",
             s, s, s);
    PGresult *result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        trial_troubles(trial, "the neighbours: %s", PQerrorMessage(conn));
    }
    PQclear(result);
    for (unsigned i = 0; i < OBJECTS; i++) {
        name_object(trial, i, key);
        if (bucket_put(key, TEXT, strlen(TEXT)) != 200) {
            trial_troubles(trial, "the neighbours: %s could not be put into the bucket", key);
        }
    }
}

struct content {
    char text[64];
    size_t len; /* may be more than there is room for */
};

static size_t take_bytes(char *bytes, size_t size, size_t count, void *ctx)
{
    struct content *content = ctx;
    size_t len = size * count;

    if (content->len + len < sizeof content->text) {
        memcpy(content->text + content->len, bytes, len);
    }
    content->len += len;
    return len;
}

static bool is_as_it_was(const char *key)
{
    struct content content = {.len = 0};

    return bucket_get(key, take_bytes, &content) == 200 && content.len == strlen(TEXT) &&
           memcmp(content.text, TEXT, content.len) == 0;
}

void neighbours_check(struct trial *trial)
{
    struct story *story = trial->story;
    const char *s = story->schema;
    char key[512];

    if (!trial->has_neighbours) {
        return;
    }
    const char *row = story_query(
        story, story_text(story,
                          "SELECT materialization, key_begin, key_end, fence, checkpoint, "
                          "checkpoint_tokens FROM %s.flow_checkpoints_v1 WHERE materialization "
                          "NOT IN ('acme/ledger', 'acme/twin')",
                          s));
    if (strcmp(row, "acme/ledger2|0|4294967295|7|~|~\n") != 0) {
        trial_finds(trial, 23, "another task's row in the metadata table is %.200s", row);
    }
    row = story_query(story, story_text(story, "SELECT * FROM %s.neighbours", s));
    if (strcmp(row, "1|" TEXT "\n") != 0) {
        trial_finds(trial, 23, "somebody else's table holds %.200s", row);
    }
    for (unsigned i = 0; i < OBJECTS; i++) {
        name_object(trial, i, key);
        if (!is_as_it_was(key)) {
            trial_finds(trial, 23, "%s is not in the bucket as it was", key);
        }
        bucket_delete(key);
    }
    if (!story_is_well(story)) {
        trial_troubles(trial, "%s", story->complaint);
        story->complaint[0] = '\0';
    }
}
