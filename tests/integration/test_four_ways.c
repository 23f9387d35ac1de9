/*
 * One catalog, one fixture, four ways to speak: JSON and protobuf, the first and the second
 * runtime. The tables are the same in all four, and they hold what the played runtime expects.
 * Every column type is in the catalog, with the values that are easy to lose: integers beyond 2^53
 * and 2^63, numbers in strings, dates, base64, characters outside the basic plane, texts that
 * outgrow their column.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <libpq-fe.h>

#include "support/story.h"

static const char catalog[] =
    "{\"collections\":{"
    "\"acme/things\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"integer\"},"
    "\"whole\":{\"type\":\"integer\"},"
    "\"huge\":{\"type\":\"integer\",\"minimum\":-1e30,\"maximum\":1e30},"
    "\"number\":{\"type\":\"number\"},"
    "\"flag\":{\"type\":[\"boolean\",\"null\"]},"
    "\"text\":{\"type\":\"string\",\"title\":\"A text\"},"
    "\"digits\":{\"type\":[\"string\",\"integer\"],\"format\":\"integer\"},"
    "\"decimal\":{\"type\":[\"string\",\"number\"],\"format\":\"number\"},"
    "\"day\":{\"type\":\"string\",\"format\":\"date\"},"
    "\"moment\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"clock\":{\"type\":\"string\",\"format\":\"time\"},"
    "\"bytes\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},"
    "\"object\":{\"type\":\"object\"},"
    "\"list\":{\"type\":\"array\"},"
    "\"mixed\":{\"type\":[\"string\",\"integer\",\"object\",\"boolean\"]},"
    "\"sum\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"_meta\":{\"type\":\"object\",\"properties\":{\"op\":{\"type\":\"string\"},"
    "\"uuid\":{\"type\":\"string\"}}}},"
    "\"if\":{\"properties\":{\"_meta\":{\"properties\":{\"op\":{\"const\":\"d\"}},"
    "\"required\":[\"op\"]}},\"required\":[\"_meta\"]},"
    "\"then\":{\"reduce\":{\"strategy\":\"merge\",\"delete\":true}}}},"
    "\"acme/pairs\":{\"key\":[\"/day\",\"/name\",\"/yes\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"day\",\"name\",\"yes\"],\"properties\":{"
    "\"day\":{\"type\":\"string\",\"format\":\"date\"},"
    "\"name\":{\"type\":\"string\"},\"yes\":{\"type\":\"boolean\"},"
    "\"value\":{\"type\":\"integer\"}}}}},"
    "\"materializations\":{\"acme/warehouse\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":["
    "{\"source\":\"acme/things\",\"resource\":{\"table\":\"things\"},"
    "\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/things\",\"resource\":{\"table\":\"things_delta\","
    "\"delta_updates\":true},\"fields\":{\"recommended\":true,"
    "\"require\":{\"flow_document\":{}}}},"
    "{\"source\":\"acme/pairs\",\"resource\":{\"table\":\"pairs\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

static const char *const tables[] = {"things", "things_delta", "pairs"};
static const char *const keys[] = {"id", "id", "day, name, yes"};

static void put_thing(FILE *file, unsigned id, unsigned round)
{
    static const char *const texts[] = {"plain",
                                        "\\u0001 control",
                                        "quote \\\" and \\\\ and /",
                                        "tab\\t nl\\n",
                                        "gr\303\274n \346\274\242\345\255\227 \360\237\246\211",
                                        "",
                                        "'; DROP TABLE x; --"};
    static const char *const wholes[] = {
        "0", "-1", "9007199254740993", "-9223372036854775807", "9223372036854775807", "42"};
    static const char *const huges[] = {"100000000000000000000", "-20000000000000000000", "7"};
    static const char *const numbers[] = {"0.125", "-0.00048828125", "1e21", "3", "123456789.0625"};
    static const char *const digits[] = {"\"12345678901234567890\"", "17", "\"-3\""};
    static const char *const decimals[] = {"\"1.25\"", "2.5", "\"-0.125\""};
    static const char *const mixed[] = {"\"a string\"", "9007199254740993", "{\"b\":[1,\"2\"]}",
                                        "true"};
    unsigned n = id * 7 + round;

    fprintf(file, "[\"acme/things\",{\"id\":%u,\"whole\":%s,\"huge\":%s,\"number\":%s,", id,
            wholes[n % 6], huges[n % 3], numbers[n % 5]);
    if (n % 3 != 0) {
        fprintf(file, "\"flag\":%s,", n % 4 == 0 ? "null" : n % 2 ? "true" : "false");
    }
    fprintf(file, "\"text\":\"%s", texts[n % 7]);
    for (unsigned i = 0; id == 5 && i < round * 300; i++) {
        fputs(i % 2 ? "\303\251" : "x", file);
    }
    fprintf(file,
            "\",\"digits\":%s,\"decimal\":%s,\"day\":\"20%02u-02-%02u\","
            "\"moment\":\"2024-0%u-1%uT12:34:56.%u+02:00\",\"clock\":\"10:11:%02uZ\","
            "\"bytes\":\"AAEC/%c==\",\"object\":{\"z\":%u,\"a\":{\"deep\":[null,1.5,\"%s\"]}},"
            "\"list\":[%u,\"two\",{\"three\":3}],\"mixed\":%s,\"sum\":%u,"
            "\"_meta\":{\"op\":\"%s\"}}]\n",
            digits[n % 3], decimals[n % 3], n % 60, n % 28 + 1, n % 9 + 1, n % 9, n * 37 % 1000000,
            n % 60, "AQgw"[n % 4], n, texts[n % 7], n, mixed[n % 4], n,
            round == 0    ? "c"
            : n % 11 == 0 ? "d"
                          : "u");
}

static const char *make_fixture(struct story *story)
{
    const char *path = story_path(story, "fixture.jsonl");
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned id = 0; id < 40 + round * 10; id++) {
            if (round == 0 || (id + round) % 3 != 0) {
                put_thing(file, id, round);
            }
            if (id % 2 == 0) {
                fprintf(file,
                        "[\"acme/pairs\",{\"day\":\"2024-01-%02u\",\"name\":\"n\303\266 %u\","
                        "\"yes\":%s,\"value\":%u}]\n",
                        id % 28 + 1, id % 3, id % 4 ? "true" : "false", id + round);
            }
        }
        fputs("{\"commit\": true}\n", file);
    }
    fclose(file);
    return path;
}

/* All rows of all tables. Delta-updates tables may hold several rows of a key, so whole rows give
 * the order. */
static const char *read_tables(struct story *story, const char *schema)
{
    char *all = story_text(story, "%s", "");

    for (unsigned t = 0; t < 3; t++) {
        all = story_text(story, "%s%s\n%s", all, tables[t],
                         story_query(story, story_text(story, "SELECT * FROM %s.%s ORDER BY %s%s",
                                                       schema, tables[t], keys[t],
                                                       t == 1 ? ", flow_published_at" : "")));
    }
    return all;
}

/* ---------------------------------------------------------------- what the runtime expects */

/* The documents of JSON lines, in the database's own normal form of JSON (exact numbers). */
static const char *documents_of_dump(struct story *story, const char *dump)
{
    char *sql = NULL, *literal;
    size_t size = 0;
    FILE *out = open_memstream(&sql, &size);
    PGconn *conn = PQconnectdb(story_text(
        story, "host=%s port=%s user=postgres dbname=%s", story_environment("LOCAL_PG_HOST"),
        story_environment("LOCAL_PG_PORT"), story_environment("LOCAL_REDSHIFT_DATABASE")));

    fputs("SELECT (line::jsonb)->'flow_document' FROM (VALUES ", out);
    for (const char *at = dump; *at; at += strcspn(at, "\n") + 1) {
        literal = PQescapeLiteral(conn, at, strcspn(at, "\n"));
        fprintf(out, "%s(%s)", at == dump ? "" : ",", literal ? literal : "NULL");
        PQfreemem(literal);
    }
    fputs(") AS lines (line) ORDER BY ((line::jsonb)->'flow_document')::text", out);
    fclose(out);
    PGresult *result = PQexec(conn, sql);
    char *text = story_text(story, "%s", "");
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        story_complain(story, "normalizing documents: %s", PQerrorMessage(conn));
    } else {
        text = story_rows(story, result);
    }
    PQclear(result);
    PQfinish(conn);
    free(sql);
    return text;
}

static void compare_with_dump(struct story *story, const char *schema, const char *dir)
{
    for (unsigned t = 0; t < 3 && story_is_well(story); t++) {
        const char *dump = story_read(story, story_text(story, "%s/%u.jsonl", dir, t), NULL);
        const char *stored = story_query(
            story, story_text(story,
                              "SELECT '{\"flow_document\":' || JSON_SERIALIZE(flow_document) "
                              "|| '}' FROM %s.%s",
                              schema, tables[t]));
        story_same(story,
                   story_text(story, "documents of %s as the runtime expects them", tables[t]),
                   documents_of_dump(story, dump), documents_of_dump(story, stored));
    }
}

static void four_ways_to_speak_leave_identical_tables(void **state)
{
    static const char *const ways[][2] = {
        {"json", "v1"}, {"proto", "v1"}, {"json", "v2"}, {"proto", "v2"}};
    struct story *story = story_begin("four ways to speak");
    const char *fixture = make_fixture(story);
    const char *catalog_path = story_write(story, "catalog.json", catalog);
    const char *schema = story->schema, *first = NULL;
    (void)state;

    for (unsigned i = 0; i < 4 && story_is_well(story); i++) {
        const char *label = story_text(story, "%s_%s", ways[i][0], ways[i][1]);
        const char *dump = story_path(story, story_text(story, "%s.expected", label));
        const char *const options[] = {"--dump-expected", dump, NULL};
        story->schema = story_text(story, "%s_%s", schema, label);
        story->prefix = story_text(story, "stories/%s", story->schema);
        const struct story_drive drive = {
            .label = label,
            .catalog = catalog_path,
            .fixture = fixture,
            .config = story_config(story, story_text(story, "%s.json", label),
                                   &(struct story_config){.address = NULL}),
            .codec = ways[i][0],
            .mode = ways[i][1],
            .options = options,
        };
        if (!story_drive(story, &drive)) {
            break;
        }
        const char *rows = read_tables(story, story->schema);
        if (strlen(rows) < 50000) {
            story_complain(story, "too little arrived to compare: %zu bytes", strlen(rows));
        }
        compare_with_dump(story, story->schema, dump);
        first = first ? first : rows;
        story_same(story, label, first, rows);
        story_bucket_is_empty(story);
        story_drop_schema(story);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_ways_to_speak_leave_identical_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
