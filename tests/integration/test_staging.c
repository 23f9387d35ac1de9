/*
 * Files staged as the configuration asks for: zstd, a number of files, a server of its own and not
 * the environment's; as many side by side as the cluster has slices. And documents that no column
 * holds as they are: they come to be in the table all the same.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/story.h"

static const char catalog[] =
    "{\"collections\":{\"acme/one\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
    "\"note\":{\"type\":\"string\"}}}}},"
    "\"materializations\":{\"acme/warehouse\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":[{\"source\":\"acme/one\",\"resource\":{\"table\":\"one\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

static const char documents[] = "[\"acme/one\",{\"id\":1,\"note\":\"plain\"}]\n"
                                "[\"acme/one\",{\"id\":2,\"note\":\"a\\u0000b\"}]\n"
                                "[\"acme/one\",{\"id\":3,\"note\":\"\\u0000c\"}]\n"
                                "{\"commit\": true}\n"
                                "[\"acme/one\",{\"id\":1,\"note\":\"changed\"}]\n"
                                "[\"acme/one\",{\"id\":4,\"note\":\"new\"}]\n"
                                "{\"commit\": true}\n";

/* Nobody listens where the environment points. */
static const char *misled_connector(struct story *story)
{
    const char *script = story_write(
        story, "misled.sh",
        story_text(story,
                   "#!/bin/sh\nAWS_ENDPOINT_URL_S3=http://127.0.0.1:1\nexport AWS_ENDPOINT_URL_S3\n"
                   "exec %s/materialize-redshift\n",
                   story_programs()));
    const char *const chmod[] = {"/bin/chmod", "+x", script, NULL};

    story_wait(story, story_start(story, "chmod", chmod, NULL, NULL), 10);
    return script;
}

static void files_are_staged_as_the_configuration_asks(void **state)
{
    struct story *story = story_begin("staging as configured");
    const char *const options[] = {"--connector", misled_connector(story), NULL};
    const struct story_config config = {
        .extra = story_text(story,
                            ",\"advanced\":{\"staging_compression\":\"zstd\",\"parallel_files\":3,"
                            "\"s3_endpoint\":\"%s\",\"s3_path_style\":true}",
                            story_environment("AWS_ENDPOINT_URL_S3"))};
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = story_write(story, "catalog.json", catalog),
        .fixture = story_write(story, "fixture.jsonl", documents),
        .config = story_config(story, "config.json", &config),
        .codec = "json",
        .mode = "v1",
        .options = options,
    };
    (void)state;

    if (story_drive(story, &drive)) {
        const char *rows =
            story_query(story, story_text(story,
                                          "SELECT id, note, JSON_SERIALIZE(flow_document) LIKE "
                                          "'%%\xef\xbf\xbd%%' FROM %s.one "
                                          "ORDER BY id",
                                          story->schema));
        story_same(story, "the table", "1|changed|f\n2|a|t\n3|\\|t\n4|new|f\n", rows);
        story_bucket_is_empty(story);
        const char *log = story_read(story, story_path(story, "runtime.err"), NULL);
        const char *more = story_read(story, story_path(story, "runtime.log"), NULL);
        if (!strstr(log, "characters that no column can hold were replaced") &&
            !strstr(more, "characters that no column can hold were replaced")) {
            story_complain(story, "nothing tells of the characters that were replaced");
        }
    }
    story_end(story);
}

/* ---------------------------------------------------------------- how many files */

/* Staged files, which are numbered, that a gateway in front of the bucket saw. */
static unsigned count_files(struct story *story, const char *trace)
{
    unsigned count = 0;

    for (const char *at = story_read(story, trace, NULL); (at = strstr(at, "-b0000-store-"));
         at++) {
        unsigned number = 0;
        if (sscanf(at, "-b0000-store-%4u.json.gz", &number) == 1 && number >= count) {
            count = number + 1;
        }
    }
    return count;
}

/* The files of a run into a cluster with so many slices; 0: it failed. */
static unsigned files_for(struct story *story, const char *slices)
{
    static const char *const options[] = {"--generate", "80000,250", NULL};
    const char *bucket = story_text(story, "bucket-%s", slices);
    const char *address =
        story_gateway(story, story_text(story, "gateway-%s", slices),
                      story_text(story, "slices rewrite COUNT(*) FROM stv_slices=>%s\n", slices));
    const char *endpoint = story_s3_gateway(story, bucket, NULL);
    const struct story_config config = {
        .address = address,
        .extra = story_text(story, ",\"advanced\":{\"s3_endpoint\":\"%s\"}", endpoint),
    };
    const struct story_drive drive = {
        .label = story_text(story, "runtime-%s", slices),
        .catalog = story_catalog_of_many(story),
        .config = story_config(story, "config.json", &config),
        .codec = "proto",
        .mode = "v1",
        .options = options,
    };

    if (!address || !endpoint || !story_drive(story, &drive)) {
        return 0;
    }
    story_same(
        story, "the table", "80000\n",
        story_query(story, story_text(story, "SELECT COUNT(*) FROM %s.many", story->schema)));
    story_drop_schema(story);
    return count_files(story, story_path(story, story_text(story, "%s.trace", bucket)));
}

/* One reader gets one file, many get files side by side. */
static void more_slices_get_more_files(void **state)
{
    struct story *story = story_begin("files by slices");
    unsigned one = files_for(story, "1"), many = files_for(story, "16");
    (void)state;

    if (one != 1 || many < 4) {
        story_complain(story, "one slice got %u files, and 16 got %u", one, many);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_slices_get_more_files),
        cmocka_unit_test(files_are_staged_as_the_configuration_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
