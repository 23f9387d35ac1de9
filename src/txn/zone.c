/*
 * txn/zone: local clocks. In: the bytes of a TZif file (RFC 8536, tzfile(5)) or an offset as text.
 * Out: offsets, and the instants at which a clock shows a time. It knows no schedule and no clock
 * of its own.
 *
 *      header v1 | block with 32-bit times | header v2 | block with 64-bit times | \n rule \n
 *                                                                                    |
 *      a block: times, their types, the types (offset, is daylight saving, name),    |
 *               names, leap seconds, two lists of indicators                         |
 *                                                                                    v
 *      the rule, as in POSIX' variable TZ, holds after the last time: EST5EDT,M3.2.0,M11.1.0
 */

#include "txn/zone.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY_SECONDS 86400
#define HEADER_BYTES 44
#define FILE_MAX_BYTES (256 * 1024) /* real ones have less than 4 KiB */
/* Local clocks stand at most this far from UTC (RFC 8536, 3.2 asks for less than 26 hours). */
#define OFFSET_MAX (26 * 3600)

/* When a rule's change comes in each year. */
enum rule_kind {
    RULE_JULIAN,   /* day 1 to 365, February 29 never counts */
    RULE_ZERO_DAY, /* day 0 to 365, February 29 counts */
    RULE_WEEKDAY   /* the week-th such weekday of a month; 5 is the last one */
};

struct rule_day {
    enum rule_kind kind;
    int day, week, month; /* day: of the year, or of the week with Sunday 0 */
    int32_t at;           /* local seconds after that midnight; may lie in other days */
};

struct rule {
    int32_t standard, daylight; /* offsets */
    bool has_daylight;
    struct rule_day start, end; /* of daylight saving */
};

struct zone {
    const int64_t *times;   /* ascending: instants of changes */
    const int32_t *offsets; /* from then on */
    unsigned count;
    int32_t first_offset; /* before the first change */
    bool has_rule;        /* for all that comes after the last change */
    struct rule rule;
};

/* ---------------------------------------------------------------- the calendar */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of a day of the Gregorian calendar. Years are counted from March, so that
 * the leap day is the last of its year and the months before it follow one formula. */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t from_march = year - (month <= 2);
    int64_t era = floor_div(from_march, 400);
    int64_t year_of_era = from_march - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static int64_t year_of(int64_t days)
{
    int64_t year = 1970 + floor_div(days, 366); /* never too late, and soon there */

    while (days_of(year + 1, 1, 1) <= days) {
        year++;
    }
    while (days_of(year, 1, 1) > days) {
        year--;
    }
    return year;
}

static bool is_leap(int64_t year)
{
    return days_of(year + 1, 1, 1) - days_of(year, 1, 1) == 366;
}

static int weekday_of(int64_t days)
{
    return (int)(days - floor_div(days + 4, 7) * 7 + 4); /* 1970-01-01 was a Thursday */
}

/* ---------------------------------------------------------------- the rule: reading */

/* A cursor over the footer. Every reader returns false where the text is none of its kind. */
struct cursor {
    const char *at, *end;
};

static bool take_char(struct cursor *cursor, char wanted)
{
    if (cursor->at < cursor->end && *cursor->at == wanted) {
        cursor->at++;
        return true;
    }
    return false;
}

static bool take_number(struct cursor *cursor, int max, int *ret)
{
    const char *start = cursor->at;
    int value = 0;

    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        value = value * 10 + (*cursor->at++ - '0');
        if (value > max) {
            return false;
        }
    }
    *ret = value;
    return cursor->at > start;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "EST" or "<+0330>" */
static bool take_name(struct cursor *cursor)
{
    const char *start = cursor->at;

    if (take_char(cursor, '<')) {
        while (cursor->at < cursor->end && *cursor->at != '>') {
            cursor->at++;
        }
        return take_char(cursor, '>');
    }
    while (cursor->at < cursor->end && is_letter(*cursor->at)) {
        cursor->at++;
    }
    return cursor->at - start >= 3;
}

/* "5", "-3:30", "+167:59:59" in seconds */
static bool take_clock(struct cursor *cursor, int max_hours, int32_t *ret)
{
    bool is_negative = take_char(cursor, '-');
    int hours, minutes = 0, seconds = 0;

    if (!is_negative) {
        (void)take_char(cursor, '+');
    }
    if (!take_number(cursor, max_hours, &hours)) {
        return false;
    }
    if (take_char(cursor, ':')) {
        if (!take_number(cursor, 59, &minutes)) {
            return false;
        }
        if (take_char(cursor, ':') && !take_number(cursor, 59, &seconds)) {
            return false;
        }
    }
    *ret = (hours * 3600 + minutes * 60 + seconds) * (is_negative ? -1 : 1);
    return true;
}

static bool take_rule_day(struct cursor *cursor, struct rule_day *ret)
{
    if (take_char(cursor, 'M')) {
        ret->kind = RULE_WEEKDAY;
        if (!take_number(cursor, 12, &ret->month) || !take_char(cursor, '.') ||
            !take_number(cursor, 5, &ret->week) || !take_char(cursor, '.') ||
            !take_number(cursor, 6, &ret->day) || ret->month == 0 || ret->week == 0) {
            return false;
        }
    } else if (take_char(cursor, 'J')) {
        ret->kind = RULE_JULIAN;
        if (!take_number(cursor, 365, &ret->day) || ret->day == 0) {
            return false;
        }
    } else {
        ret->kind = RULE_ZERO_DAY;
        if (!take_number(cursor, 365, &ret->day)) {
            return false;
        }
    }
    ret->at = 2 * 3600;
    return !take_char(cursor, '/') || take_clock(cursor, 167, &ret->at);
}

/* POSIX writes offsets with the sign of "west of Greenwich", we keep "east". */
static bool read_rule(struct span text, struct rule *ret)
{
    struct cursor cursor = {text.ptr, text.ptr + text.len};
    struct rule rule = {0};
    int32_t west;

    if (!take_name(&cursor) || !take_clock(&cursor, 24, &west)) {
        return false;
    }
    rule.standard = -west;
    if (cursor.at < cursor.end) {
        rule.has_daylight = true;
        rule.daylight = rule.standard + 3600;
        if (!take_name(&cursor)) {
            return false;
        }
        if (cursor.at < cursor.end && *cursor.at != ',') {
            if (!take_clock(&cursor, 24, &west)) {
                return false;
            }
            rule.daylight = -west;
        }
        if (!take_char(&cursor, ',') || !take_rule_day(&cursor, &rule.start) ||
            !take_char(&cursor, ',') || !take_rule_day(&cursor, &rule.end)) {
            return false;
        }
    }
    *ret = rule;
    return cursor.at == cursor.end;
}

/* ---------------------------------------------------------------- the rule: using */

/* The local second, counted as if it were UTC, at which the change of this year comes. */
static int64_t change_of(const struct rule_day *rule, int64_t year)
{
    int64_t days = days_of(year, 1, 1);

    switch (rule->kind) {
    case RULE_JULIAN:
        days += rule->day - 1 + (rule->day > 59 && is_leap(year));
        break;
    case RULE_ZERO_DAY:
        days += rule->day;
        break;
    case RULE_WEEKDAY: {
        int64_t first = days_of(year, rule->month, 1);
        int64_t next_month =
            rule->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, rule->month + 1, 1);
        days = first + (rule->day - weekday_of(first) + 7) % 7 + 7 * (rule->week - 1);
        days -= days >= next_month ? 7 : 0;
        break;
    }
    }
    return days * DAY_SECONDS + rule->at;
}

static int32_t rule_offset(const struct rule *rule, int64_t instant)
{
    if (!rule->has_daylight) {
        return rule->standard;
    }
    int64_t year = year_of(floor_div(instant + rule->standard, DAY_SECONDS));
    int64_t start = change_of(&rule->start, year) - rule->standard;
    int64_t end = change_of(&rule->end, year) - rule->daylight;
    /* South of the equator, and where winter time is the exception, it lasts over the new year. */
    bool is_daylight =
        start < end ? instant >= start && instant < end : instant >= start || instant < end;

    return is_daylight ? rule->daylight : rule->standard;
}

/* ---------------------------------------------------------------- the file */

struct block { /* one header and where its lists lie */
    char version;
    uint32_t times, types, names, leaps, standards, universals;
    size_t time_bytes; /* 4 or 8 */
    const unsigned char *data;
    size_t bytes;
};

static struct error *damaged(const char *what)
{
    return error_new(ERROR_INPUT, ERROR_CONFIG, "the time zone's file is damaged: %s", what);
}

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int32_t read_i32(const unsigned char *at)
{
    uint32_t bits = read_u32(at);
    int32_t value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t read_time(const struct block *block, uint32_t index)
{
    const unsigned char *at = block->data + index * block->time_bytes;

    if (block->time_bytes == 4) {
        return read_i32(at);
    }
    uint64_t bits = (uint64_t)read_u32(at) << 32 | read_u32(at + 4);
    int64_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Reads a header and steps over its block; *at is moved behind it. Counts cannot overflow: none is
 * above the file's bound. */
static struct error *
read_block(const unsigned char **at, const unsigned char *end, size_t time_bytes, struct block *ret)
{
    uint32_t counts[6];

    if (end - *at < HEADER_BYTES || memcmp(*at, "TZif", 4) != 0) {
        return damaged("a header is missing");
    }
    for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
        counts[i] = read_u32(*at + 20 + 4 * i);
        if (counts[i] > FILE_MAX_BYTES) {
            return damaged("it announces more than it has");
        }
    }
    *ret = (struct block){
        .version = (char)(*at)[4],
        .universals = counts[0],
        .standards = counts[1],
        .leaps = counts[2],
        .times = counts[3],
        .types = counts[4],
        .names = counts[5],
        .time_bytes = time_bytes,
        .data = *at + HEADER_BYTES,
    };
    ret->bytes = ret->times * (time_bytes + 1) + ret->types * (size_t)6 + ret->names +
                 ret->leaps * (time_bytes + 4) + ret->standards + ret->universals;
    if ((size_t)(end - ret->data) < ret->bytes) {
        return damaged("it announces more than it has");
    }
    *at = ret->data + ret->bytes;
    return NULL;
}

static struct error *
read_offset(const struct block *block, const unsigned char *types, unsigned type, int32_t *ret)
{
    if (type >= block->types) {
        return damaged("a change is of a kind that it does not have");
    }
    *ret = read_i32(types + type * (size_t)6);
    if (*ret <= -OFFSET_MAX || *ret >= OFFSET_MAX) {
        return damaged("an offset is of more than a day");
    }
    return NULL;
}

static struct error *read_changes(struct arena *arena, const struct block *block, struct zone *zone)
{
    const unsigned char *kinds = block->data + block->times * block->time_bytes;
    const unsigned char *types = kinds + block->times;
    int64_t *times = ARENA_ARRAY(arena, block->times, int64_t);
    int32_t *offsets = ARENA_ARRAY(arena, block->times, int32_t);

    if (block->leaps > 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "the time zone counts leap seconds, which no clock of ours does");
    }
    RETURN_IF_ERROR(read_offset(block, types, 0, &zone->first_offset));
    for (uint32_t i = 0; i < block->times; i++) {
        times[i] = read_time(block, i);
        RETURN_IF_ERROR(read_offset(block, types, kinds[i], &offsets[i]));
        if (i > 0 && times[i] <= times[i - 1]) {
            return damaged("its changes are not in order");
        }
    }
    zone->times = times;
    zone->offsets = offsets;
    zone->count = block->times;
    return NULL;
}

/* "\n" rule "\n"; the rule may be empty: then the last change holds for ever. */
static struct error *
read_footer(const unsigned char *at, const unsigned char *end, struct zone *zone)
{
    struct span text = {(const char *)at + 1, 0};

    if (at >= end || *at != '\n') {
        return damaged("its rule is missing");
    }
    while (text.ptr + text.len < (const char *)end && text.ptr[text.len] != '\n') {
        text.len++;
    }
    if (text.ptr + text.len == (const char *)end) {
        return damaged("its rule has no end");
    }
    zone->has_rule = text.len > 0;
    if (zone->has_rule && !read_rule(text, &zone->rule)) {
        return damaged("its rule cannot be read");
    }
    return NULL;
}

struct error *zone_parse(struct arena *arena, struct span tzif, struct zone **ret)
{
    const unsigned char *at = (const unsigned char *)tzif.ptr, *end = at + tzif.len;
    struct zone *zone = ARENA_NEW(arena, struct zone);
    struct block block;

    if (tzif.len == 0 || tzif.len > FILE_MAX_BYTES) {
        return damaged(tzif.len ? "it is too large" : "it is empty");
    }
    RETURN_IF_ERROR(read_block(&at, end, 4, &block));
    if (block.version < '2') {
        RETURN_IF_ERROR(read_changes(arena, &block, zone));
    } else {
        RETURN_IF_ERROR(read_block(&at, end, 8, &block));
        RETURN_IF_ERROR(read_changes(arena, &block, zone));
        RETURN_IF_ERROR(read_footer(at, end, zone));
    }
    *ret = zone;
    return NULL;
}

/* ---------------------------------------------------------------- by name */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool looks_like_offset(const char *name)
{
    return name[0] == '+' || name[0] == '-';
}

/* "+05:30": always two digits of each. */
static struct error *fixed_zone(const char *name, struct zone *zone)
{
    const char *t = name + 1;
    bool is_form = strlen(name) == 6 && is_digit(t[0]) && is_digit(t[1]) && t[2] == ':' &&
                   is_digit(t[3]) && is_digit(t[4]);
    int hours = is_form ? (t[0] - '0') * 10 + (t[1] - '0') : 0;
    int minutes = is_form ? (t[3] - '0') * 10 + (t[4] - '0') : 0;

    if (!is_form || hours > 23 || minutes > 59) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "\"%.64s\" is no offset from UTC, which is written as in \"+05:30\"",
                         name);
    }
    zone->first_offset = (hours * 3600 + minutes * 60) * (name[0] == '-' ? -1 : 1);
    return NULL;
}

/* Names are paths below the folder and must stay there. */
static bool is_safe_name(const char *name)
{
    return name[0] && name[0] != '/' && !strchr(name, '\\') && !strstr(name, "..");
}

static struct error *unknown_zone(const char *name)
{
    struct error *err =
        error_new(ERROR_INPUT, ERROR_CONFIG, "there is no time zone \"%.64s\"", name);

    error_set_hint(err,
                   "Use a name of the IANA database such as \"America/New_York\", or an offset "
                   "such as \"+05:30\".");
    return err;
}

static struct error *
read_file(struct arena *arena, const char *path, const char *name, struct span *ret)
{
    FILE *file = fopen(path, "re");

    if (!file) {
        return errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG
                   ? unknown_zone(name)
                   : error_from_errno(errno, ERROR_CONFIG, "opening time zone \"%.64s\"", name);
    }
    char *bytes = arena_alloc(arena, FILE_MAX_BYTES + 1);
    size_t len = fread(bytes, 1, FILE_MAX_BYTES + 1, file);
    bool has_failed = ferror(file) != 0;

    (void)fclose(file);
    if (has_failed) { /* a folder, as "America" is one */
        return unknown_zone(name);
    }
    *ret = (struct span){bytes, len};
    return NULL;
}

struct error *
zone_load(struct arena *arena, const char *folder, const char *name, struct zone **ret)
{
    struct span tzif;

    if (looks_like_offset(name) || strcmp(name, "UTC") == 0) {
        struct zone *zone = ARENA_NEW(arena, struct zone);
        if (name[0] != 'U') {
            RETURN_IF_ERROR(fixed_zone(name, zone));
        }
        *ret = zone;
        return NULL;
    }
    if (!is_safe_name(name)) {
        return unknown_zone(name);
    }
    /* The file's bytes are wanted no longer than this call. */
    struct arena *scratch = arena_new((size_t)4 * FILE_MAX_BYTES);
    struct error *err =
        read_file(scratch, arena_printf(scratch, "%s/%s", folder, name), name, &tzif);
    if (!err) {
        err = error_wrap(zone_parse(arena, tzif, ret), "reading time zone \"%.64s\"", name);
    }
    arena_free(scratch);
    return err;
}

/* ---------------------------------------------------------------- questions */

int32_t zone_offset(const struct zone *zone, int64_t unix_seconds)
{
    unsigned low = 0, high = zone->count; /* changes below low are past, from high on to come */

    if (zone->has_rule && (high == 0 || unix_seconds >= zone->times[high - 1])) {
        return rule_offset(&zone->rule, unix_seconds);
    }
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (zone->times[middle] <= unix_seconds) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? zone->first_offset : zone->offsets[low - 1];
}

/* The instant, between the two, from which on the offset is no more what it is at low. */
static int64_t find_jump(const struct zone *zone, int64_t low, int64_t high)
{
    int32_t before = zone_offset(zone, low);

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (zone_offset(zone, middle) == before) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

int64_t zone_find(const struct zone *zone, int64_t local_seconds, int64_t after)
{
    /* No two changes of one zone come within these two days. */
    int64_t low = local_seconds - OFFSET_MAX, high = local_seconds + OFFSET_MAX;
    int64_t candidates[] = {local_seconds - zone_offset(zone, low),
                            local_seconds - zone_offset(zone, high)};
    int64_t found = INT64_MAX;
    bool is_shown = false;

    for (unsigned i = 0; i < ARRAY_LEN(candidates); i++) {
        int64_t at = candidates[i];
        if (at + zone_offset(zone, at) == local_seconds) {
            is_shown = true;
            found = at > after && at < found ? at : found;
        }
    }
    if (!is_shown) {
        int64_t jump = find_jump(zone, low, high);
        found = jump > after ? jump : INT64_MAX;
    }
    return found;
}
