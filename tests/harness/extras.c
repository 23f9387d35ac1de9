/* harness/extras: see extras.h. In: the number of a group. Out: lines of the fixture. */

#include "harness/extras.h"

#include <string.h>

/* ---------------------------------------------------------------- catalog */

void extras_put_properties(FILE *out, unsigned extras)
{
    if (extras & EXTRA_NODOC) {
        fputs("\"hint\":{\"type\":\"string\"},"
              "\"maybe\":{\"type\":[\"string\",\"null\"]},"
              "\"seen\":{\"type\":\"string\",\"format\":\"date-time\"},"
              "\"day\":{\"type\":\"string\",\"format\":\"date\"},"
              "\"digits\":{\"type\":\"string\",\"format\":\"integer\"},"
              "\"list\":{\"type\":\"array\"},",
              out);
    }
}

void extras_put_collections(FILE *out, unsigned extras)
{
    if (extras & EXTRA_SHAPES) {
        fputs(",\"acme/shapes\":{\"key\":[\"/number\",\"/flag\",\"/day\",\"/moment\",\"/bytes\"],"
              "\"schema\":{\"type\":\"object\",\"reduce\":{\"strategy\":\"merge\"},"
              "\"required\":[\"number\",\"flag\",\"day\",\"moment\",\"bytes\"],\"properties\":{"
              "\"number\":{\"type\":\"integer\"},\"flag\":{\"type\":\"boolean\"},"
              "\"day\":{\"type\":\"string\",\"format\":\"date\"},"
              "\"moment\":{\"type\":\"string\",\"format\":\"date-time\"},"
              "\"bytes\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},"
              "\"group\":{\"type\":\"integer\"},"
              "\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
              "\"text\":{\"type\":\"string\"},"
              "\"odd\":{\"type\":\"string\"},"
              "\"whole\":{\"type\":\"integer\"},"
              "\"huge\":{\"type\":\"integer\",\"minimum\":-1e30,\"maximum\":1e30},"
              "\"decimal\":{\"type\":\"string\",\"format\":\"number\"},"
              "\"seen\":{\"type\":\"string\",\"format\":\"date-time\"},"
              "\"blob\":{\"type\":\"string\",\"contentEncoding\":\"base64\"},"
              "\"thing\":{\"type\":[\"object\",\"array\"]},"
              "\"maybe\":{\"type\":[\"string\",\"null\"]}}}},"
              "\"acme/names\":{\"key\":[\"/name\"],\"schema\":{\"type\":\"object\","
              "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"name\"],\"properties\":{"
              "\"name\":{\"type\":\"string\"},\"group\":{\"type\":\"integer\"},"
              "\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}}}}}",
              out);
    }
    if (extras & EXTRA_FILLED) {
        fputs(",\"acme/filled\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
              "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
              "\"id\":{\"type\":\"integer\"},\"group\":{\"type\":\"integer\"},"
              "\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}}}}}",
              out);
    }
}

void extras_put_bindings(FILE *out, unsigned extras)
{
    if (extras & EXTRA_NODOC) {
        fputs(",{\"source\":\"acme/merged\",\"resource\":{\"table\":\"accounts_nodoc\"},"
              "\"fields\":{\"recommended\":true,\"exclude\":[\"flow_document\"]}}",
              out);
    }
    if (extras & EXTRA_SHAPES) {
        fputs(",{\"source\":\"acme/shapes\",\"resource\":{\"table\":\"shapes\"},"
              "\"fields\":{\"recommended\":true,\"require\":{\"thing\":{}}}},"
              "{\"source\":\"acme/names\",\"resource\":{\"table\":\"names\"},"
              "\"fields\":{\"recommended\":true}}",
              out);
    }
    if (extras & EXTRA_FILLED) {
        fputs(",{\"source\":\"acme/filled\",\"resource\":{\"table\":\"filled\"},"
              "\"fields\":{\"recommended\":true}}",
              out);
    }
}

/* ---------------------------------------------------------------- optional members */

/* The accounts with even numbers never have a hint. */
void extras_put_members(FILE *out, unsigned extras, unsigned account, unsigned seq)
{
    if (!(extras & EXTRA_NODOC)) {
        return;
    }
    fprintf(out, ",\"seen\":\"2024-02-29T12:30:%02u%s%.*sZ\"", seq % 60, seq % 10 ? "." : "",
            (int)(seq % 10), "123456789");
    if (account % 2 == 1 && seq % 3 == 1) {
        fprintf(out, ",\"hint\":\"h %u \\\"\\\\\\u00e9\"", seq);
    }
    if (seq % 4 == 0) {
        fputs(",\"maybe\":null", out);
    } else if (seq % 4 == 1) {
        fprintf(out, ",\"maybe\":\"m%u\"", seq);
    }
    if (seq % 5 == 2) {
        fprintf(out, ",\"day\":\"2024-02-%02u\"", seq % 28 + 1);
    }
    if (seq % 2 == 1) {
        fprintf(out, ",\"digits\":\"000%u\"", seq);
    }
    if (seq % 3 == 0) {
        fprintf(out, ",\"list\":[%u,null,{\"x\":\"%u\"}]", seq, seq);
    }
}

/* ---------------------------------------------------------------- shapes */

bool extras_is_shape_in(unsigned shape, unsigned group)
{
    return (shape + group) % 3 != 0;
}

bool extras_is_name_in(unsigned name, unsigned group)
{
    return (name + group) % 2 == 0;
}

static void put_times(FILE *out, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fputs(text, out);
    }
}

/* Longer by and by, beyond what a new column has room for and beyond what any has: the first in
 * characters of one byte, the next of two, three, four. */
static void put_text(FILE *out, unsigned shape, unsigned group)
{
    static const char *const characters[] = {"a", "\\u00e9", "\xe6\xbc\xa2", "\\ud83e\\udd89"};
    static const unsigned bytes[] = {1, 2, 3, 4};
    static const size_t lengths[] = {0, 255, 256, 257, 65534, 65535, 65536, 65537, 70000};
    size_t wanted = shape < 8 ? lengths[(group + shape) / 2 % 9] : shape;

    put_times(out, "x", wanted % bytes[shape % 4]);
    put_times(out, characters[shape % 4], wanted / bytes[shape % 4]);
}

static const char *const odds[SHAPES] = {"",
                                         "plain",
                                         "\\u0000 in front",
                                         "in the\\u0000middle",
                                         "at the end\\u0000",
                                         "\\\"quotes\\\" and 'these'",
                                         "back\\\\slash \\\\N \\\\",
                                         "line\\nfeed\\r\\n",
                                         "tab\\there \\u0001\\u001f",
                                         "bars | and , and ~",
                                         "\\u2028 \\ud83e\\udd89 \\u00e9",
                                         " blanks "};
static const char *const wholes[SHAPES] = {
    "0",  "9007199254740992",     "9007199254740993",     "-9007199254740993",
    "-1", "9223372036854775807",  "-9223372036854775808", "9223372036854775806",
    "42", "-9223372036854775807", "1000000000000000000",  "-9007199254740992"};
static const char *const huges[SHAPES] = {"9223372036854775808",
                                          "18446744073709551615",
                                          "100000000000000000000",
                                          "-20000000000000000000",
                                          "10000000000000000000000",
                                          "0",
                                          "1",
                                          "-1",
                                          "9007199254740993",
                                          "12345678901234567890",
                                          "5",
                                          "7"};
static const char *const decimals[SHAPES] = {
    "1.25", "-0.125", "1e3", "0.0", "123456789.0625", "-7", "NaN", "2.5", "10", "1e-3", "0.5", "3"};
static const char *const seens[SHAPES] = {
    "2024-02-29T00:00:00Z",           "2024-02-29T23:59:59.1Z",
    "2024-02-29T23:59:59.12z",        "2024-02-29T23:59:59.123+00:00",
    "2024-02-29T23:59:59.1234-01:00", "2024-02-29T23:59:59.12345+05:30",
    "2024-02-29T23:59:59.123456Z",    "2024-02-29T23:59:59.1234567Z",
    "2024-02-29T23:59:59.99999999Z",  "2024-02-29T23:59:59.123456789Z",
    "0001-01-01T00:00:00Z",           "9999-12-31T23:59:59.5Z"};
static const char *const things[SHAPES] = {"{}",
                                           "[]",
                                           "{\"a\":null}",
                                           "[1,\"2\",{\"three\":3.5}]",
                                           "{\"z\":1,\"a\":2}",
                                           "[[[[]]]]",
                                           "{\"\":0}",
                                           "[true,false]",
                                           "{\"b\":\"c\\u0000d\"}",
                                           "{\"e\":1e21}",
                                           "[\"\"]",
                                           "{\"long\":[9007199254740993]}"};

/* Base64 of that many bytes, all of them zero. */
static void put_blob(FILE *out, unsigned shape)
{
    static const size_t bytes[] = {0, 1, 2, 3, 48, 300, 3000, 48 * 1024};
    size_t count = bytes[shape % 8];

    put_times(out, "AAAA", count / 3);
    fputs(count % 3 == 1 ? "AA==" : count % 3 == 2 ? "AAA=" : "", out);
}

static void put_shape(FILE *out, unsigned shape, unsigned group)
{
    unsigned at = (shape + group) % SHAPES;

    fprintf(out,
            "[\"acme/shapes\",{\"number\":%s,\"flag\":%s,\"day\":\"2024-0%u-0%u\","
            "\"moment\":\"2024-01-0%uT00:00:00.%uZ\",\"bytes\":\"AAA%c\",\"group\":%u,\"n\":1,"
            "\"text\":\"",
            shape < 2   ? "9223372036854775807"
            : shape < 4 ? "-9223372036854775808"
                        : "7",
            shape % 2 ? "true" : "false", shape / 4 + 1, shape / 2 + 1, shape / 4 + 1, shape % 4,
            "AQgw"[shape % 4], group);
    put_text(out, shape, group);
    fprintf(out,
            "\",\"odd\":\"%s\",\"whole\":%s,\"huge\":%s,\"decimal\":\"%s\",\"seen\":\"%s\","
            "\"thing\":%s,\"blob\":\"",
            odds[at], wholes[at], huges[at], decimals[at], seens[at], things[at]);
    put_blob(out, at);
    fprintf(out, "\"%s}]\n",
            at % 3 == 0   ? ",\"maybe\":null"
            : at % 3 == 1 ? ",\"maybe\":\"yes\""
                          : "");
}

static void put_name(FILE *out, unsigned name, unsigned group)
{
    static const size_t prefixes[] = {256, 1000, 65000};

    fputs("[\"acme/names\",{\"name\":\"", out);
    put_times(out, "p", prefixes[name / 2]);
    fprintf(out, "%s\",\"group\":%u,\"n\":1}]\n", name % 2 ? "one" : "two", group);
}

/* ---------------------------------------------------------------- filled */

void extras_filled_ids(unsigned group, unsigned ret[FILLED_DOCUMENTS])
{
    ret[0] = 1000 + group;
    ret[1] = group % 5;
    ret[2] = 10 + group % 3;
}

unsigned extras_filled_before(unsigned group)
{
    return group == 5 ? 5 : group == 9 ? 8 : 0;
}

static void put_filled(FILE *out, unsigned group)
{
    unsigned ids[FILLED_DOCUMENTS];

    extras_filled_ids(group, ids);
    for (unsigned i = 0; i < FILLED_DOCUMENTS; i++) {
        fprintf(out, "[\"acme/filled\",{\"id\":%u,\"group\":%u,\"n\":1}]\n", ids[i], group);
    }
}

/* ---------------------------------------------------------------- a group */

unsigned extras_put_group(FILE *out, struct workload *work, unsigned group, unsigned position)
{
    unsigned count = 0;

    if (work->extras & EXTRA_FILLED) {
        work->filled_at[group] = position;
        put_filled(out, group);
        count += FILLED_DOCUMENTS;
        if (extras_filled_before(group)) {
            fprintf(out, "{\"backfillComplete\":\"acme/filled\",\"before\":%u}\n",
                    work->filled_at[extras_filled_before(group)]);
        }
    }
    for (unsigned i = 0; (work->extras & EXTRA_SHAPES) && i < SHAPES; i++) {
        if (extras_is_shape_in(i, group)) {
            put_shape(out, i, group);
            count++;
        }
    }
    for (unsigned i = 0; (work->extras & EXTRA_SHAPES) && i < NAMES; i++) {
        if (extras_is_name_in(i, group)) {
            put_name(out, i, group);
            count++;
        }
    }
    return count;
}
