/* Local clocks, by the compiled files of the IANA database and by files made here. */

#include "txn/zone.h"

#include "base/buf.h"
#include "base/text.h"
#include "txn/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new((size_t)64 * 1024 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int64_t seconds_of(const char *time)
{
    int64_t seconds;
    int32_t nanos;

    if (!text_from_rfc3339(span_of(time), &seconds, &nanos)) {
        fail_msg("the test's own time \"%s\" is none", time);
    }
    return seconds;
}

static struct zone *load(const char *name)
{
    struct zone *zone = NULL;
    struct error *err = zone_load(arena, SCHEDULE_ZONE_FOLDER, name, &zone);

    if (err) {
        fail_msg("%s: %s", name, error_text(err));
    }
    return zone;
}

/* ---------------------------------------------------------------- offsets */

static void clocks_stand_at_their_offset(void **state)
{
    static const struct {
        const char *sentence, *zone, *instant;
        int minutes;
    } rows[] = {
        {"UTC needs no file", "UTC", "2026-07-01T00:00:00Z", 0},
        {"an offset to the east", "+05:30", "2026-07-01T00:00:00Z", 330},
        {"an offset to the west", "-11:00", "2026-07-01T00:00:00Z", -660},
        {"a file without any change", "Etc/UTC", "2026-07-01T00:00:00Z", 0},
        {"New York in winter", "America/New_York", "2026-01-15T12:00:00Z", -300},
        {"New York in summer", "America/New_York", "2026-07-15T12:00:00Z", -240},
        {"New York, last second of winter", "America/New_York", "2026-03-08T06:59:59Z", -300},
        {"New York, first second of summer", "America/New_York", "2026-03-08T07:00:00Z", -240},
        {"New York, last second of summer", "America/New_York", "2026-11-01T05:59:59Z", -240},
        {"New York, first second of winter", "America/New_York", "2026-11-01T06:00:00Z", -300},
        {"the rule holds long after the list ends", "America/New_York", "2199-07-15T12:00:00Z",
         -240},
        {"and in its winters", "America/New_York", "2199-12-15T12:00:00Z", -300},
        {"the list knows the past: war time", "America/New_York", "1943-01-15T12:00:00Z", -240},
        {"summer over the new year", "Australia/Sydney", "2060-01-01T00:00:00Z", 660},
        {"winter in July", "Australia/Sydney", "2060-07-01T00:00:00Z", 600},
        {"half an hour of daylight saving", "Australia/Lord_Howe", "2060-01-01T00:00:00Z", 660},
        {"its winter", "Australia/Lord_Howe", "2060-07-01T00:00:00Z", 630},
        {"winter time as the exception", "Europe/Dublin", "2060-01-01T00:00:00Z", 0},
        {"its standard time", "Europe/Dublin", "2060-07-01T00:00:00Z", 60},
        {"a change before midnight, as -1 o'clock", "America/Nuuk", "2060-07-01T00:00:00Z", -60},
        {"its winter", "America/Nuuk", "2060-01-01T00:00:00Z", -120},
        {"a zone that gave daylight saving up", "America/Sao_Paulo", "2060-01-01T00:00:00Z", -180},
        {"three quarters of an hour", "Asia/Kathmandu", "2026-01-01T00:00:00Z", 345},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int32_t offset = zone_offset(load(rows[i].zone), seconds_of(rows[i].instant));
        if (offset != rows[i].minutes * 60) {
            fail_msg("%s: %d seconds", rows[i].sentence, offset);
        }
    }
}

/* Each zone's clock of these instants is compared with that of the C library, which reads the same
 * files by its own code. */
static void the_library_reads_the_same(void **state)
{
    static const char *const names[] = {
        "America/New_York", "Europe/Berlin",       "Asia/Tehran",    "Africa/Casablanca",
        "Asia/Gaza",        "Australia/Lord_Howe", "Europe/Dublin",  "America/Nuuk",
        "Pacific/Apia",     "Antarctica/Troll",    "America/Havana", "Pacific/Chatham",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct zone *zone = load(names[i]);
        assert_int_equal(setenv("TZ", names[i], 1), 0);
        tzset();
        for (int64_t at = -2000000000; at < 6000000000; at += 5 * 86400 + 4321) {
            struct tm local;
            time_t instant = (time_t)at;
            assert_non_null(localtime_r(&instant, &local));
            if (zone_offset(zone, at) != local.tm_gmtoff) {
                fail_msg("%s at %lld: %d, the library says %ld", names[i], (long long)at,
                         zone_offset(zone, at), local.tm_gmtoff);
            }
        }
    }
}

static void names_that_are_no_zone_are_refused(void **state)
{
    static const char *const names[] = {
        "Mars/Base", "+5:30",     "+05:60",      "+24:00",         "+0530",     "-5",        "",
        "America",   "../passwd", "/etc/passwd", "Europe\\Berlin", "tzdata.zi", "right/UTC",
    };
    struct zone *zone;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct error *err = zone_load(arena, SCHEDULE_ZONE_FOLDER, names[i], &zone);
        if (!err || error_class_of(err) != ERROR_CONFIG) {
            fail_msg("\"%s\": %s", names[i], err ? error_text(err) : "accepted");
        }
        error_free(err);
    }
    struct error *err = zone_load(arena, "/nowhere", "Europe/Berlin", &zone);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "there is no time zone \"Europe/Berlin\""));
    error_free(err);
}

/* ---------------------------------------------------------------- when a clock shows a time */

static void a_local_time_has_its_instants(void **state)
{
    static const struct {
        const char *sentence, *zone, *local, *after, *instant; /* NULL: none is left */
    } rows[] = {
        {"an ordinary time", "America/New_York", "2026-06-01T09:00:00Z", "2026-01-01T00:00:00Z",
         "2026-06-01T13:00:00Z"},
        {"one that is over", "America/New_York", "2026-06-01T09:00:00Z", "2026-06-01T13:00:00Z",
         NULL},
        {"one that clocks skip comes with the jump", "America/New_York", "2026-03-08T02:30:00Z",
         "2026-01-01T00:00:00Z", "2026-03-08T07:00:00Z"},
        {"the same, over", "America/New_York", "2026-03-08T02:30:00Z", "2026-03-08T07:00:00Z",
         NULL},
        {"one that comes twice, first", "America/New_York", "2026-11-01T01:30:00Z",
         "2026-01-01T00:00:00Z", "2026-11-01T05:30:00Z"},
        {"one that comes twice, after the first", "America/New_York", "2026-11-01T01:30:00Z",
         "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"},
        {"one that comes twice, over", "America/New_York", "2026-11-01T01:30:00Z",
         "2026-11-01T06:30:00Z", NULL},
        {"just before the jump", "America/New_York", "2026-03-08T01:59:59Z", "2026-01-01T00:00:00Z",
         "2026-03-08T06:59:59Z"},
        {"just after the jump", "America/New_York", "2026-03-08T03:00:00Z", "2026-01-01T00:00:00Z",
         "2026-03-08T07:00:00Z"},
        {"a midnight that is skipped", "America/Havana", "2026-03-08T00:00:00Z",
         "2026-01-01T00:00:00Z", "2026-03-08T05:00:00Z"},
        {"a whole day that was skipped", "Pacific/Apia", "2011-12-30T12:00:00Z",
         "2011-01-01T00:00:00Z", "2011-12-30T10:00:00Z"},
        {"an offset", "+05:30", "2026-06-01T09:00:00Z", "2026-01-01T00:00:00Z",
         "2026-06-01T03:30:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t wanted = rows[i].instant ? seconds_of(rows[i].instant) : INT64_MAX;
        int64_t found =
            zone_find(load(rows[i].zone), seconds_of(rows[i].local), seconds_of(rows[i].after));
        if (found != wanted) {
            fail_msg("%s: %lld instead of %lld", rows[i].sentence, (long long)found,
                     (long long)wanted);
        }
    }
}

/* ---------------------------------------------------------------- files made here */

static void add_u32(struct buf *out, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        buf_add_byte(out, (char)(value >> shift));
    }
}

static void add_header(struct buf *out, char version, uint32_t times, uint32_t leaps)
{
    buf_add_str(out, "TZif");
    buf_add_byte(out, version);
    buf_add(out, (char[15]){0}, 15);
    add_u32(out, 0);
    add_u32(out, 0);
    add_u32(out, leaps);
    add_u32(out, times);
    add_u32(out, 2);
    add_u32(out, 4);
}

/* Two types: 0 is UTC, 1 is two hours east. Changes to type 1 at 1000, back at 2000. */
static void add_block(struct buf *out, unsigned time_bytes, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        if (time_bytes == 8) {
            add_u32(out, 0);
        }
        add_u32(out, (i + 1) * 1000);
    }
    for (uint32_t i = 0; i < times; i++) {
        buf_add_byte(out, i % 2 == 0);
    }
    buf_add(out, "\0\0\0\0\0\0\0\0\x1c\x20\1\0", 12);
    buf_add(out, "XXX", 4);
}

static void build(struct buf *out, const char *rule)
{
    buf_init(out, 4096);
    add_header(out, '2', 1, 0);
    add_block(out, 4, 1);
    add_header(out, '2', 2, 0);
    add_block(out, 8, 2);
    buf_printf(out, "\n%s\n", rule);
}

static void a_file_of_the_first_version_has_no_rule(void **state)
{
    struct buf file;
    struct zone *zone;

    (void)state;
    buf_init(&file, 4096);
    add_header(&file, 0, 2, 0);
    add_block(&file, 4, 2);
    assert_null(zone_parse(arena, buf_view(&file), &zone));
    assert_int_equal(zone_offset(zone, 999), 0);
    assert_int_equal(zone_offset(zone, 1000), 7200);
    assert_int_equal(zone_offset(zone, 4000000000), 0);
    buf_done(&file);
}

static void rules_of_every_form_are_read(void **state)
{
    static const struct {
        const char *sentence, *rule, *instant;
        int32_t offset;
    } rows[] = {
        {"no rule: the last change holds", "", "2100-07-01T00:00:00Z", 0},
        {"an offset alone", "EST5", "2100-07-01T00:00:00Z", -18000},
        {"a quoted name with minutes", "<+0330>-3:30", "2100-07-01T00:00:00Z", 12600},
        {"seconds", "ABC-1:02:03", "2100-07-01T00:00:00Z", 3723},
        {"one hour more by default", "AAA-1BBB,M3.2.0,M11.1.0", "2100-07-01T00:00:00Z", 7200},
        {"another difference", "AAA-1BBB-1:30,M3.2.0,M11.1.0", "2100-07-01T00:00:00Z", 5400},
        {"a day that ignores leap days: before it", "AAA0BBB,J60,J300", "2104-02-29T23:00:00Z", 0},
        {"and on it, March 1", "AAA0BBB,J60,J300", "2104-03-01T03:00:00Z", 3600},
        {"a day that counts leap days: day 59 is February 29", "AAA0BBB,59,300",
         "2104-02-29T03:00:00Z", 3600},
        {"in another year it is March 1", "AAA0BBB,59,300", "2103-02-28T23:00:00Z", 0},
        {"the last Sunday of a month with five", "AAA0BBB,M8.5.0/0,M11.1.0", "2026-08-29T23:59:59Z",
         0},
        {"its first second", "AAA0BBB,M8.5.0/0,M11.1.0", "2026-08-30T00:00:00Z", 3600},
        {"the last Sunday of a month with four", "AAA0BBB,M4.5.0/0,M11.1.0", "2026-04-26T00:00:00Z",
         3600},
        {"in December", "AAA0BBB,M12.5.0/0,M1.1.0", "2026-12-27T00:00:00Z", 3600},
        {"a time of day beyond the day", "AAA0BBB,M3.4.4/50,M11.1.0", "2026-03-28T01:59:59Z", 0},
        {"its first second", "AAA0BBB,M3.4.4/50,M11.1.0", "2026-03-28T02:00:00Z", 3600},
        {"a time of day before the day", "AAA0BBB,M3.4.4/-2,M11.1.0", "2026-03-25T22:00:00Z", 3600},
        {"daylight saving all year, in its last hour", "AAA5BBB,0/0,J365/25",
         "2027-01-01T04:59:59Z", -14400},
        {"daylight saving all year, on New Year", "AAA5BBB,0/0,J365/25", "2027-01-01T05:00:00Z",
         -14400},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf file;
        struct zone *zone;
        build(&file, rows[i].rule);
        struct error *err = zone_parse(arena, buf_view(&file), &zone);
        if (err) {
            fail_msg("%s: %s", rows[i].sentence, error_text(err));
        }
        int32_t offset = zone_offset(zone, seconds_of(rows[i].instant));
        if (offset != rows[i].offset) {
            fail_msg("%s: %d", rows[i].sentence, offset);
        }
        buf_done(&file);
    }
}

static void rules_that_are_none_are_refused(void **state)
{
    static const char *const rules[] = {
        "X",
        "AB5",
        "EST",
        "EST25",
        "EST5EDT",
        "EST5EDT,M3.2.0",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M3.0.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,J0,J1",
        "EST5EDT,366,1",
        "EST5EDT,M3.2.0/168,M11.1.0",
        "EST5EDT,M3.2.0,M11.1.0,",
        "<EST5",
        "EST5:60",
        "EST999999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct buf file;
        struct zone *zone;
        build(&file, rules[i]);
        struct error *err = zone_parse(arena, buf_view(&file), &zone);
        if (!err || !strstr(error_text(err), "its rule cannot be read")) {
            fail_msg("\"%s\": %s", rules[i], err ? error_text(err) : "accepted");
        }
        error_free(err);
        buf_done(&file);
    }
}

static void a_file_that_is_cut_anywhere_is_refused(void **state)
{
    struct buf file;
    struct zone *zone;

    (void)state;
    build(&file, "EST5EDT,M3.2.0,M11.1.0");
    for (size_t len = 0; len < file.len; len++) {
        char *copy = malloc(len + 1); /* exact, so that a sanitizer sees what reads beyond */
        memcpy(copy, file.data, len);
        struct error *err = zone_parse(arena, (struct span){copy, len}, &zone);
        if (!err) {
            fail_msg("%zu of %zu bytes are accepted", len, file.len);
        }
        error_free(err);
        free(copy);
    }
    assert_null(zone_parse(arena, buf_view(&file), &zone));
    buf_done(&file);
}

static void damaged_files_are_refused(void **state)
{
    static const struct {
        const char *sentence;
        size_t at; /* in the second block of build() */
        char byte;
        const char *part;
    } rows[] = {
        {"a count of billions", 32, '\x7f', "it announces more than it has"},
        {"a change of an unknown kind", 44 + 16, 7, "of a kind that it does not have"},
        {"changes that go backwards", 44 + 8, '\x80', "not in order"},
        {"an offset of years", 44 + 18, '\x20', "more than a day"},
        {"leap seconds", 31, 1, NULL},
    };
    size_t second = 44 + 4 + 1 + 12 + 4;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf file;
        struct zone *zone;
        build(&file, "EST5EDT,M3.2.0,M11.1.0");
        buf_add(&file, (char[64]){0}, 64);
        file.data[second + rows[i].at] = rows[i].byte;
        struct error *err = zone_parse(arena, buf_view(&file), &zone);
        if (!err || (rows[i].part && !strstr(error_text(err), rows[i].part))) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "accepted");
        }
        error_free(err);
        buf_done(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_stand_at_their_offset),
        cmocka_unit_test(the_library_reads_the_same),
        cmocka_unit_test(names_that_are_no_zone_are_refused),
        cmocka_unit_test(a_local_time_has_its_instants),
        cmocka_unit_test(a_file_of_the_first_version_has_no_rule),
        cmocka_unit_test(rules_of_every_form_are_read),
        cmocka_unit_test(rules_that_are_none_are_refused),
        cmocka_unit_test(a_file_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
