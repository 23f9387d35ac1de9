/* When an acknowledgement may be sent: configurations, instants, decisions. Rows that begin with S
 * are those of the connector's public test table; the worked instants come from the original. */

#include "txn/schedule.h"

#include "base/digest.h"
#include "base/text.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND_NS ((int64_t)1000000000)
#define EXAMPLE "example-cluster.abc123.us-east-1.redshift.amazonaws.com:5439"

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

static int64_t ns_of(const char *time)
{
    int64_t seconds;
    int32_t nanos;

    if (!text_from_rfc3339(span_of(time), &seconds, &nanos)) {
        fail_msg("the test's own time \"%s\" is none", time);
    }
    return seconds * SECOND_NS + nanos;
}

static const char *text_of(int64_t ns)
{
    char whole[32];

    text_time(whole, ns / SECOND_NS);
    return arena_printf(arena, "%.19s.%09" PRId64 "Z", whole, ns % SECOND_NS);
}

static struct error *
make(const struct schedule_config *config, const char *seed, struct schedule **ret)
{
    return schedule_new(arena, config, span_of(seed), SCHEDULE_ZONE_FOLDER, ret);
}

/* ---------------------------------------------------------------- durations */

static void durations_are_read_as_go_writes_them(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"0", 0},
        {"0s", 0},
        {"-0s", 0},
        {"+5s", 5 * SECOND_NS},
        {"-5s", -5 * SECOND_NS},
        {"45s", 45 * SECOND_NS},
        {"2m30s", 150 * SECOND_NS},
        {"1h30m", 5400 * SECOND_NS},
        {"1h0m0.000000001s", 3600 * SECOND_NS + 1},
        {"1.5h", 5400 * SECOND_NS},
        {".5s", SECOND_NS / 2},
        {"5.s", 5 * SECOND_NS},
        {"1.9ns", 1},
        {"3000000ns", 3000000},
        {"2us2\xc2\xb5s2\xce\xbcs", 6000},
        {"7ms", 7000000},
        {"1m1h1m", 3720 * SECOND_NS},
        {"0.3333333333333333333h", 1199999999999},
        {"9223372036854775807ns", INT64_MAX},
        {"2562047h47m16.854775807s", INT64_MAX},
    };
    static const char *const wrong[] = {
        "",
        "soon",
        "5",
        "s",
        ".",
        ".s",
        "-",
        "+",
        "-.s",
        "1s ",
        " 1s",
        "1 s",
        "1d",
        "1S",
        "5m-3s",
        "1..5s",
        "9223372036854775808ns",
        "2562048h",
        "99999999999999999999s",
        "1e3s",
        "1h2",
    };
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!schedule_parse_duration(span_of(rows[i].text), &ns) || ns != rows[i].ns) {
            fail_msg("\"%s\": %" PRId64, rows[i].text, ns);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (schedule_parse_duration(span_of(wrong[i]), &ns)) {
            fail_msg("\"%s\" was taken for %" PRId64, wrong[i], ns);
        }
    }
}

/* ---------------------------------------------------------------- configurations */

enum outcome { NO_SCHEDULE, FIXED, ALTERNATING, REFUSED };

static void configurations_are_judged(void **state)
{
    static const char four[] = "needs all of 'syncFrequency', 'timezone', 'fastSyncStartTime' and "
                               "'fastSyncStopTime'";
    static const struct {
        const char *sentence;
        struct schedule_config config;
        enum outcome outcome;
        const char *part; /* of the error */
    } rows[] = {
        {"S1 nothing is set", {0}, FIXED, NULL},
        {"S2 no delay at all", {"0s", NULL, NULL, NULL, NULL}, NO_SCHEDULE, NULL},
        {"no delay, in other words", {"0", "", "", "", ""}, NO_SCHEDULE, NULL},
        {"S3 a frequency that the form does not offer", {.sync_frequency = "7m"}, FIXED, NULL},
        {"one of two units", {.sync_frequency = "1h30m"}, FIXED, NULL},
        {"S4 a word", {.sync_frequency = "soon"}, REFUSED, "syncFrequency \"soon\" is no duration"},
        {"time does not run backwards", {.sync_frequency = "-5m"}, REFUSED, "\"-5m\""},
        {"S5 a time zone alone", {.timezone = "UTC"}, REFUSED, four},
        {"S6 days alone", {.fast_sync_enabled_days = "M-F"}, REFUSED, four},
        {"a start alone", {.sync_frequency = "5m", .fast_sync_start_time = "09:00"}, REFUSED, four},
        {"no frequency", {NULL, "UTC", "09:00", "17:00", NULL}, REFUSED, four},
        {"S7 a window", {"5m", "UTC", "09:00", "17:00", NULL}, ALTERNATING, NULL},
        {"a window without a delay", {"0s", "UTC", "09:00", "17:00", NULL}, ALTERNATING, NULL},
        {"S8 a window of nothing",
         {"5m", "UTC", "09:00", "09:00", NULL},
         REFUSED,
         "both \"09:00\""},
        {"a window of nothing in two forms",
         {"5m", "UTC", "9:00", "09:00", NULL},
         ALTERNATING,
         NULL},
        {"S9 an offset", {"5m", "+05:30", "09:00", "17:00", NULL}, ALTERNATING, NULL},
        {"S10 an offset of one digit",
         {"5m", "+5:30", "09:00", "17:00", NULL},
         REFUSED,
         "timezone: \"+5:30\" is no offset"},
        {"S11 no place on earth",
         {"5m", "Mars/Base", "09:00", "17:00", NULL},
         REFUSED,
         "timezone: there is no time zone \"Mars/Base\""},
        {"a place on earth", {"5m", "America/New_York", "09:00", "17:00", NULL}, ALTERNATING, NULL},
        {"S12 an hour of one digit", {"5m", "UTC", "9:00", "17:00", NULL}, ALTERNATING, NULL},
        {"S13 an hour that no day has",
         {"5m", "UTC", "25:00", "17:00", NULL},
         REFUSED,
         "fastSyncStartTime \"25:00\" is no time of day"},
        {"a stop that is none",
         {"5m", "UTC", "09:00", "17:60", NULL},
         REFUSED,
         "fastSyncStopTime \"17:60\""},
        {"one digit of minutes", {"5m", "UTC", "09:0", "17:00", NULL}, REFUSED, "\"09:0\""},
        {"no hours", {"5m", "UTC", ":00", "17:00", NULL}, REFUSED, "\":00\""},
        {"no colon", {"5m", "UTC", "0900", "17:00", NULL}, REFUSED, "\"0900\""},
        {"a sign", {"5m", "UTC", "+9:00", "17:00", NULL}, REFUSED, "\"+9:00\""},
        {"S17 days backwards",
         {"5m", "UTC", "09:00", "17:00", "F-M"},
         REFUSED,
         "fastSyncEnabledDays \"F-M\""},
        {"S17 a day twice", {"5m", "UTC", "09:00", "17:00", "M,M"}, REFUSED, "\"M,M\""},
        {"S17 days that descend", {"5m", "UTC", "09:00", "17:00", "W,M"}, REFUSED, "\"W,M\""},
        {"S17 a longer name", {"5m", "UTC", "09:00", "17:00", "Mon"}, REFUSED, "\"Mon\""},
        {"S17 a range of three", {"5m", "UTC", "09:00", "17:00", "M-F-S"}, REFUSED, "\"M-F-S\""},
        {"S17 a space", {"5m", "UTC", "09:00", "17:00", "M, W"}, REFUSED, "\"M, W\""},
        {"a range of one day", {"5m", "UTC", "09:00", "17:00", "M-M"}, REFUSED, "\"M-M\""},
        {"a range into what was named",
         {"5m", "UTC", "09:00", "17:00", "Su-W,W-F"},
         REFUSED,
         "\"Su-W,W-F\""},
        {"a comma at the end", {"5m", "UTC", "09:00", "17:00", "M,"}, REFUSED, "\"M,\""},
        {"small letters", {"5m", "UTC", "09:00", "17:00", "m-f"}, REFUSED, "\"m-f\""},
        {"over the weekend", {"5m", "UTC", "09:00", "17:00", "S-Su"}, REFUSED, "\"S-Su\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schedule *schedule = NULL;
        struct error *err = make(&rows[i].config, EXAMPLE, &schedule);
        enum outcome outcome = err                                 ? REFUSED
                               : !schedule                         ? NO_SCHEDULE
                               : schedule_is_alternating(schedule) ? ALTERNATING
                                                                   : FIXED;
        if (outcome != rows[i].outcome || (err && (error_class_of(err) != ERROR_CONFIG ||
                                                   !strstr(error_text(err), rows[i].part)))) {
            fail_msg("%s: outcome %d, %s", rows[i].sentence, (int)outcome,
                     err ? error_text(err) : "accepted");
        }
        error_free(err);
    }
}

/* A window of all hours but a minute on the days named, seen at noon: the fast period of one minute
 * holds on just these. */
static void days_are_read_as_listed(void **state)
{
    static const struct {
        const char *sentence, *days, *wanted; /* Sunday first */
    } rows[] = {
        {"no list: every day", "", "1111111"},
        {"S14 working days", "M-F", "0111110"},
        {"S15 days and a range", "Su,T-Th", "1011100"},
        {"S16 two ranges", "Su-M,Th-S", "1100111"},
        {"single days", "M,W,F", "0101010"},
        {"the whole week", "Su-S", "1111111"},
        {"Saturday alone", "S", "0000001"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schedule_config config = {"1m", "UTC", "00:00", "23:59", rows[i].days};
        struct schedule *schedule;
        char got[8] = {0};
        assert_null(make(&config, NULL, &schedule));
        for (int day = 0; day < 7; day++) { /* 2024-02-18 was a Sunday */
            int64_t noon = ns_of("2024-02-18T12:30:00Z") + day * 86400 * SECOND_NS;
            got[day] = schedule_next(schedule, noon) == noon + 60 * SECOND_NS ? '1' : '0';
        }
        if (strcmp(got, rows[i].wanted) != 0) {
            fail_msg("%s: %s", rows[i].sentence, got);
        }
    }
}

/* ---------------------------------------------------------------- instants */

struct instant_row {
    const char *sentence;
    struct schedule_config config;
    const char *seed; /* NULL: no jitter */
    const char *after, *next;
};

static void check_instants(const struct instant_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct schedule *schedule = NULL;
        struct error *err = make(&rows[i].config, rows[i].seed, &schedule);
        if (err || !schedule) {
            fail_msg("%s: %s", rows[i].sentence, err ? error_text(err) : "no schedule");
            return;
        }
        int64_t next = schedule_next(schedule, ns_of(rows[i].after));
        if (next != ns_of(rows[i].next)) {
            fail_msg("%s: %s", rows[i].sentence, text_of(next));
        }
    }
}

static void the_jitter_comes_from_the_address(void **state)
{
    static const struct {
        const char *seed;
        uint64_t hash;
        int64_t jitter_ns;
    } rows[] = {
        {"jitterbytes", 0x7d9597de13fff77b, 57803172477885},
        {"", 0xef46db3751d8e999, 35427038688460},
        {EXAMPLE, 0x08ad83cc365c4901, 55218191475840},
        {"localhost:5439", 0x2ff67ecf02684d01, 44595808577152},
    };
    struct schedule_config daily = {.sync_frequency = "24h"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schedule *schedule;
        assert_int_equal(digest_xxh64(span_of(rows[i].seed), 0), rows[i].hash);
        assert_null(make(&daily, rows[i].seed, &schedule));
        assert_int_equal(schedule_next(schedule, 0), rows[i].jitter_ns);
    }
}

#define FIXED_AT(frequency)                                                                        \
    {                                                                                              \
        .sync_frequency = (frequency)                                                              \
    }

static void fixed_schedules_have_their_instants(void **state)
{
    static const struct instant_row rows[] = {
        {"S18 two hours", FIXED_AT("2h"), NULL, "2024-02-15T12:34:56Z", "2024-02-15T14:00:00Z"},
        {"a day", FIXED_AT("24h"), NULL, "2024-02-15T19:34:56Z", "2024-02-16T00:00:00Z"},
        {"half a minute", FIXED_AT("30s"), NULL, "2024-02-15T19:34:56Z", "2024-02-15T19:35:00Z"},
        {"a week, which began on a Thursday", FIXED_AT("168h"), NULL, "2024-02-15T00:00:00Z",
         "2024-02-22T00:00:00Z"},
        {"S19 an hour with jitter", FIXED_AT("1h"), "jitterbytes", "2024-02-15T01:59:00Z",
         "2024-02-15T02:03:23.172477885Z"},
        {"one nanosecond before the instant", FIXED_AT("1h"), "jitterbytes",
         "2024-02-15T02:03:23.172477884Z", "2024-02-15T02:03:23.172477885Z"},
        {"S20 at the instant: strictly later", FIXED_AT("1h"), "jitterbytes",
         "2024-02-15T02:03:23.172477885Z", "2024-02-15T03:03:23.172477885Z"},
        {"by default half an hour",
         {0},
         "",
         "2026-10-06T00:00:00Z",
         "2026-10-06T00:20:27.038688460Z"},
        {"its second half", {0}, "", "2026-10-06T00:21:00Z", "2026-10-06T00:50:27.038688460Z"},
        {"the example cluster", FIXED_AT("30m"), EXAMPLE, "2026-10-06T12:00:00Z",
         "2026-10-06T12:20:18.191475840Z"},
        {"the example cluster every five minutes", FIXED_AT("5m"), EXAMPLE, "2026-10-06T12:00:19Z",
         "2026-10-06T12:05:18.191475840Z"},
        {"a local warehouse", FIXED_AT("30m"), "localhost:5439", "2026-10-06T12:00:00Z",
         "2026-10-06T12:23:15.808577152Z"},
        {"a local warehouse every five minutes", FIXED_AT("5m"), "localhost:5439",
         "2026-10-06T12:00:00Z", "2026-10-06T12:03:15.808577152Z"},
        {"before the first instant of all", FIXED_AT("1h"), "jitterbytes", "1970-01-01T00:00:00Z",
         "1970-01-01T00:03:23.172477885Z"},
    };

    (void)state;
    check_instants(rows, ARRAY_LEN(rows));
}

static void a_period_beyond_all_time_has_no_instant(void **state)
{
    struct schedule_config config = {.sync_frequency = "2562047h"};
    struct schedule *schedule;

    (void)state;
    assert_null(make(&config, EXAMPLE, &schedule));
    assert_int_equal(schedule_next(schedule, ns_of("2262-04-11T00:00:00Z")), INT64_MAX);
}

#define DAY_WINDOW(fast)                                                                           \
    {                                                                                              \
        (fast), "UTC", "08:00", "17:00", NULL                                                      \
    }
#define NY "America/New_York"

static void alternating_schedules_have_their_instants(void **state)
{
    static const struct instant_row rows[] = {
        {"in the night", DAY_WINDOW("5m"), NULL, "2024-02-15T01:00:00Z", "2024-02-15T04:00:00Z"},
        {"S22 the window's start is not skipped", DAY_WINDOW("5m"), NULL, "2024-02-15T07:59:59Z",
         "2024-02-15T08:00:00Z"},
        {"S21 at its start", DAY_WINDOW("5m"), NULL, "2024-02-15T08:00:00Z",
         "2024-02-15T08:05:00Z"},
        {"its last instant", DAY_WINDOW("5m"), NULL, "2024-02-15T16:59:59Z",
         "2024-02-15T17:00:00Z"},
        {"S23 at its stop", DAY_WINDOW("5m"), NULL, "2024-02-15T17:00:00Z", "2024-02-15T20:00:00Z"},
        {"S24 no delay inside", DAY_WINDOW("0s"), NULL, "2024-02-15T16:59:59Z",
         "2024-02-15T16:59:59Z"},
        {"a delay outside", DAY_WINDOW("0s"), NULL, "2024-02-15T17:00:00Z", "2024-02-15T20:00:00Z"},
        {"until no delay begins", DAY_WINDOW("0s"), NULL, "2024-02-15T06:00:00Z",
         "2024-02-15T08:00:00Z"},
        {"S25 over midnight",
         {"5m", "UTC", "23:00", "02:00", NULL},
         NULL,
         "2024-02-15T23:57:00Z",
         "2024-02-16T00:00:00Z"},
        {"over midnight, before its start",
         {"5m", "UTC", "22:00", "02:00", "M-F"},
         NULL,
         "2024-02-16T20:30:00Z",
         "2024-02-16T22:00:00Z"},
        {"over midnight, into Monday, as Sunday is not enabled",
         {"5m", "UTC", "22:00", "02:00", "M-F"},
         NULL,
         "2024-02-18T21:00:00Z",
         "2024-02-19T00:00:00Z"},
        {"S26 on a day that is not enabled",
         {"5m", "UTC", "08:00", "17:00", "M-F"},
         NULL,
         "2024-02-17T00:00:00Z",
         "2024-02-17T04:00:00Z"},
        {"a fast period longer than the slow one: the stop is not skipped over",
         {"10h", "UTC", "08:00", "17:00", NULL},
         NULL,
         "2024-02-15T11:00:00Z",
         "2024-02-15T17:00:00Z"},
        {"and its start is",
         {"10h", "UTC", "09:00", "17:00", NULL},
         NULL,
         "2024-02-15T08:30:00Z",
         "2024-02-15T12:00:00Z"},
        {"a window from 9:00 to 09:00 never opens",
         {"5m", "UTC", "9:00", "09:00", NULL},
         NULL,
         "2024-02-15T08:59:00Z",
         "2024-02-15T12:00:00Z"},
        {"the window opens",
         {"5m", NY, "09:00", "17:00", "M-F"},
         EXAMPLE,
         "2026-10-06T12:58:00Z",
         "2026-10-06T13:00:00Z"},
        {"and keeps to its instants",
         {"5m", NY, "09:00", "17:00", "M-F"},
         EXAMPLE,
         "2026-10-06T13:00:00Z",
         "2026-10-06T13:00:18.191475840Z"},
        {"the fast period runs past the stop",
         {"5m", NY, "09:00", "17:00", "M-F"},
         EXAMPLE,
         "2026-10-06T20:58:30Z",
         "2026-10-06T21:00:18.191475840Z"},
        {"the slow one takes over",
         {"5m", NY, "09:00", "17:00", "M-F"},
         EXAMPLE,
         "2026-10-06T21:00:00Z",
         "2026-10-06T23:20:18.191475840Z"},
        {"on a Saturday",
         {"5m", NY, "09:00", "17:00", "M-F"},
         EXAMPLE,
         "2026-10-10T06:00:00Z",
         "2026-10-10T07:20:18.191475840Z"},
        {"an offset is a zone",
         {"5m", "+05:30", "09:00", "17:00", NULL},
         NULL,
         "2026-10-06T03:29:00Z",
         "2026-10-06T03:30:00Z"},
    };

    (void)state;
    check_instants(rows, ARRAY_LEN(rows));
}

/* The original counts days by UTC here and skips two hours of a window; ours does not. */
static void days_begin_at_midnight_of_the_zone(void **state)
{
    static const struct instant_row rows[] = {
        {"Sunday night: Monday's share of the window opens at local midnight",
         {"30m", NY, "22:00", "02:00", "M-F"},
         EXAMPLE,
         "2026-10-05T03:20:19Z",
         "2026-10-05T04:00:00Z"},
        {"Friday night: the window shuts at local midnight, so Saturday is slow",
         {"30m", NY, "22:00", "02:00", "M-F"},
         EXAMPLE,
         "2026-10-10T04:00:00Z",
         "2026-10-10T07:20:18.191475840Z"},
        {"a longer fast period ends with it",
         {"10h", NY, "22:00", "02:00", "M-F"},
         EXAMPLE,
         "2026-10-10T02:00:00Z",
         "2026-10-10T04:00:00Z"},
        {"east of Greenwich local midnight comes first",
         {"30m", "Asia/Tokyo", "22:00", "02:00", "M-F"},
         NULL,
         "2026-10-04T14:30:00Z",
         "2026-10-04T15:00:00Z"},
    };

    (void)state;
    check_instants(rows, ARRAY_LEN(rows));
}

/* New York, 2026: on March 8 the clock jumps from 02:00 to 03:00 at 07:00Z, on November 1 it goes
 * back from 02:00 to 01:00 at 06:00Z. */
static void windows_follow_daylight_saving(void **state)
{
    static const struct instant_row rows[] = {
        {"the day before the jump",
         {"5m", NY, "09:00", "17:00", NULL},
         NULL,
         "2026-03-07T13:59:00Z",
         "2026-03-07T14:00:00Z"},
        {"the day of the jump",
         {"5m", NY, "09:00", "17:00", NULL},
         NULL,
         "2026-03-08T12:59:00Z",
         "2026-03-08T13:00:00Z"},
        {"a start that does not exist is the jump",
         {"5m", NY, "02:30", "05:00", NULL},
         NULL,
         "2026-03-08T06:58:00Z",
         "2026-03-08T07:00:00Z"},
        {"from then on it is fast",
         {"5m", NY, "02:30", "05:00", NULL},
         NULL,
         "2026-03-08T07:00:00Z",
         "2026-03-08T07:05:00Z"},
        {"a stop that does not exist is the jump",
         {"10h", NY, "00:30", "02:30", NULL},
         NULL,
         "2026-03-08T06:00:00Z",
         "2026-03-08T07:00:00Z"},
        {"a window that does not exist is left out",
         {"5m", NY, "02:10", "02:50", NULL},
         NULL,
         "2026-03-08T05:00:00Z",
         "2026-03-08T08:00:00Z"},
        {"and comes the next day",
         {"5m", NY, "02:10", "02:50", NULL},
         NULL,
         "2026-03-09T05:00:00Z",
         "2026-03-09T06:10:00Z"},
        {"a start that comes twice is the first",
         {"5m", NY, "01:30", "05:00", NULL},
         NULL,
         "2026-11-01T05:29:00Z",
         "2026-11-01T05:30:00Z"},
        {"the clock goes back before the start: slow again",
         {"5m", NY, "01:30", "05:00", NULL},
         NULL,
         "2026-11-01T06:00:00Z",
         "2026-11-01T06:30:00Z"},
        {"a stop that comes twice is the first",
         {"10h", NY, "00:30", "01:30", NULL},
         NULL,
         "2026-11-01T05:00:00Z",
         "2026-11-01T05:30:00Z"},
        {"once more for the hour that comes again",
         {"10h", NY, "00:30", "01:30", NULL},
         NULL,
         "2026-11-01T06:10:00Z",
         "2026-11-01T06:30:00Z"},
        {"the day of the change back has its window at the usual time",
         {"5m", NY, "09:00", "17:00", NULL},
         NULL,
         "2026-11-01T13:59:00Z",
         "2026-11-01T14:00:00Z"},
        {"a midnight that does not exist",
         {"5m", "America/Havana", "00:00", "04:00", NULL},
         NULL,
         "2026-03-08T04:59:00Z",
         "2026-03-08T05:00:00Z"},
    };

    (void)state;
    check_instants(rows, ARRAY_LEN(rows));
}

/* Whatever the configuration, an instant is never in the past, and a slow period never skips over
 * the opening of the window. */
static void instants_only_go_forward(void **state)
{
    static const struct schedule_config configs[] = {
        {"5m", NY, "09:00", "17:00", "M-F"},      {"30m", NY, "22:00", "02:00", "M-F"},
        {"5m", NY, "02:30", "03:15", "Su"},       {"30s", "Asia/Tokyo", "23:30", "00:15", "Su,S"},
        {"10h", "+13:00", "22:00", "02:00", "W"}, {"1h", "Europe/Dublin", "01:00", "02:00", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        struct schedule *schedule;
        assert_null(make(&configs[i], EXAMPLE, &schedule));
        int64_t at = ns_of("2026-02-27T00:00:00Z"), end = ns_of("2026-03-12T00:00:00Z");
        while (at < end) {
            int64_t next = schedule_next(schedule, at);
            if (next <= at || next - at > 10 * 3600 * SECOND_NS) {
                fail_msg("configuration %zu: after %s comes %s", i, text_of(at), text_of(next));
            }
            /* from anywhere in between the same instant is next, or an earlier one */
            int64_t between = schedule_next(schedule, at + (next - at) / 2);
            if (between > next && between - next > 4 * 3600 * SECOND_NS) {
                fail_msg("configuration %zu: in the middle after %s comes %s", i, text_of(at),
                         text_of(between));
            }
            at = next;
        }
    }
}

/* ---------------------------------------------------------------- decisions */

static void decisions_follow_the_history(void **state)
{
    static const struct {
        const char *sentence;
        uint64_t stored[8]; /* up to the first UINT64_MAX */
        unsigned count;
        int64_t last, now; /* seconds; last -1: none */
        enum schedule_reason reason;
        int64_t delay;
    } rows[] = {
        {"a recovery is never delayed", {5, 5, 5, 5, 5}, 5, -1, 100, SCHEDULE_RECOVERY, 0},
        {"nothing was stored yet", {0}, 0, 100, 101, SCHEDULE_CATCHING_UP, 0},
        {"four transactions are too few", {5, 5, 5, 5}, 4, 100, 101, SCHEDULE_CATCHING_UP, 0},
        {"empty ones do not count", {5, 0, 5, 0, 5, 0, 5, 0}, 8, 100, 101, SCHEDULE_CATCHING_UP, 0},
        {"the fifth waits", {5, 5, 5, 5, 5}, 5, 100, 101, SCHEDULE_EARLY, 19},
        {"four small and one large", {5, 1000000, 5, 5, 5}, 5, 100, 101, SCHEDULE_CATCHING_UP, 0},
        {"one less than large", {5, 999999, 5, 5, 5}, 5, 100, 101, SCHEDULE_EARLY, 19},
        {"a large one long ago", {1000000, 5, 5, 5, 5, 5}, 6, 100, 101, SCHEDULE_EARLY, 19},
        {"the instant is now", {5, 5, 5, 5, 5}, 5, 100, 120, SCHEDULE_OVERDUE, 0},
        {"the instant is over", {5, 5, 5, 5, 5}, 5, 100, 500, SCHEDULE_OVERDUE, 0},
        {"the clock was set back by a day", {5, 5, 5, 5, 5}, 5, 86500, 101, SCHEDULE_EARLY, 19},
        {"the clock was set forward", {5, 5, 5, 5, 5}, 5, 100, 86500, SCHEDULE_OVERDUE, 0},
    };
    struct schedule_config config = {.sync_frequency = "1m"};
    struct schedule *schedule;

    (void)state;
    assert_null(make(&config, NULL, &schedule));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schedule_history history = {0};
        for (unsigned k = 0; k < rows[i].count; k++) {
            schedule_note_stored(&history, rows[i].stored[k]);
        }
        if (rows[i].last >= 0) {
            schedule_note_acknowledged(&history, rows[i].last * SECOND_NS);
        }
        struct schedule_decision got = schedule_decide(schedule, &history, rows[i].now * SECOND_NS);
        if (got.reason != rows[i].reason || got.delay_ns != rows[i].delay * SECOND_NS) {
            fail_msg("%s: reason %d, delay %" PRId64 " ns", rows[i].sentence, (int)got.reason,
                     got.delay_ns);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_as_go_writes_them),
        cmocka_unit_test(configurations_are_judged),
        cmocka_unit_test(days_are_read_as_listed),
        cmocka_unit_test(the_jitter_comes_from_the_address),
        cmocka_unit_test(fixed_schedules_have_their_instants),
        cmocka_unit_test(a_period_beyond_all_time_has_no_instant),
        cmocka_unit_test(alternating_schedules_have_their_instants),
        cmocka_unit_test(days_begin_at_midnight_of_the_zone),
        cmocka_unit_test(windows_follow_daylight_saving),
        cmocka_unit_test(instants_only_go_forward),
        cmocka_unit_test(decisions_follow_the_history),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
