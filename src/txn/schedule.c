/*
 * txn/schedule: when the next acknowledgement may be sent. In: the configuration, the warehouse's
 * address, an instant. Out: a later instant, or a decision. Pure: no clock, no timer, no runtime;
 * waiting is done by delay.c.
 */

#include "txn/schedule.h"

#include "base/digest.h"
#include "txn/zone.h"

#define SECOND_NS ((int64_t)1000000000)
#define DAY_SECONDS 86400
#define DAY_NS (DAY_SECONDS * SECOND_NS)

#define SLOW_PERIOD_NS (4 * 3600 * SECOND_NS)

struct window { /* when the fast period holds */
    struct zone *zone;
    int32_t start, stop; /* local seconds of the day; stop before start: over midnight */
    bool days[7];        /* Sunday first */
};

struct schedule {
    int64_t jitter_ns; /* below one day */
    int64_t fast_ns, slow_ns;
    bool has_window; /* without one fast_ns holds always */
    struct window window;
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* ---------------------------------------------------------------- durations */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct unit {
    const char *name;
    int64_t ns;
} units[] = {
    {"ns", 1},           {"us", 1000},     {"\xc2\xb5s", 1000}, /* the micro sign */
    {"\xce\xbcs", 1000},                                        /* the Greek letter */
    {"ms", 1000000},     {"s", SECOND_NS}, {"m", 60 * SECOND_NS}, {"h", 3600 * SECOND_NS},
};

static const struct unit *find_unit(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (span_is(name, units[i].name)) {
            return &units[i];
        }
    }
    return NULL;
}

static bool add_scaled(int64_t *total, int64_t count, int64_t scale)
{
    int64_t product;

    return !__builtin_mul_overflow(count, scale, &product) &&
           !__builtin_add_overflow(*total, product, total);
}

/* One number with its unit, from the front of the text: "1.5h". What a fraction has below a
 * nanosecond is cut off. */
static bool take_term(struct span *text, int64_t *total)
{
    const char *at = text->ptr, *end = at + text->len;
    const char *whole = at;
    int64_t count = 0;

    while (at < end && is_digit(*at)) {
        if (!add_scaled(&count, count, 9) || !add_scaled(&count, *at - '0', 1)) {
            return false;
        }
        at++;
    }
    bool has_digits = at > whole;
    const char *fraction = at, *fraction_end = at;
    if (at < end && *at == '.') {
        fraction = ++at;
        while (at < end && is_digit(*at)) {
            at++;
        }
        fraction_end = at;
        has_digits |= at > fraction;
    }
    const char *name = at;
    while (at < end && *at != '.' && !is_digit(*at)) {
        at++;
    }
    const struct unit *unit = find_unit((struct span){name, (size_t)(at - name)});
    if (!has_digits || !unit || !add_scaled(total, count, unit->ns)) {
        return false;
    }
    /* From the right: each division cuts off only what is below a nanosecond anyway. */
    int64_t below = 0;
    for (const char *digit = fraction_end; digit > fraction; digit--) {
        below = ((digit[-1] - '0') * unit->ns + below) / 10;
    }
    *text = (struct span){at, (size_t)(end - at)};
    return add_scaled(total, below, 1);
}

bool schedule_parse_duration(struct span text, int64_t *ret_ns)
{
    bool is_negative = text.len > 0 && text.ptr[0] == '-';
    int64_t total = 0;

    if (is_negative || (text.len > 0 && text.ptr[0] == '+')) {
        text.ptr++;
        text.len--;
    }
    if (text.len == 0) {
        return false;
    }
    if (span_is(text, "0")) { /* the one number that needs no unit */
        *ret_ns = 0;
        return true;
    }
    while (text.len > 0) {
        if (!take_term(&text, &total)) {
            return false;
        }
    }
    *ret_ns = is_negative ? -total : total;
    return true;
}

/* ---------------------------------------------------------------- days and times of day */

static const char *const day_names[] = {"Su", "M", "T", "W", "Th", "F", "S"};

static bool find_day(struct span name, int *ret)
{
    for (int i = 0; i < (int)ARRAY_LEN(day_names); i++) {
        if (span_is(name, day_names[i])) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* "M" or "M-F", later than *last, which becomes the item's last day. */
static bool take_days(struct span item, bool days[7], int *last)
{
    const char *dash = item.len ? memchr(item.ptr, '-', item.len) : NULL;
    struct span from = item, to = item;
    int first_day, last_day;

    if (dash) {
        from.len = (size_t)(dash - item.ptr);
        to = (struct span){dash + 1, item.len - from.len - 1};
    }
    if (!find_day(from, &first_day) || !find_day(to, &last_day) || first_day <= *last ||
        (dash && last_day <= first_day)) {
        return false;
    }
    for (int day = first_day; day <= last_day; day++) {
        days[day] = true;
    }
    *last = last_day;
    return true;
}

static bool read_days(const char *text, bool days[7])
{
    int last = -1;

    if (!text || !*text) {
        memset(days, true, 7);
        return true;
    }
    for (;;) {
        size_t len = strcspn(text, ",");
        if (!take_days((struct span){text, len}, days, &last)) {
            return false;
        }
        if (!text[len]) {
            return true;
        }
        text += len + 1;
    }
}

/* "9:00" and "09:00" */
static bool read_time_of_day(const char *text, int32_t *ret)
{
    size_t hour_digits = strcspn(text, ":");
    int hour = 0;

    if (hour_digits < 1 || hour_digits > 2 || strlen(text) != hour_digits + 3) {
        return false;
    }
    for (size_t i = 0; i < hour_digits; i++) {
        if (!is_digit(text[i])) {
            return false;
        }
        hour = hour * 10 + (text[i] - '0');
    }
    const char *minutes = text + hour_digits + 1;
    if (!is_digit(minutes[0]) || !is_digit(minutes[1])) {
        return false;
    }
    int minute = (minutes[0] - '0') * 10 + (minutes[1] - '0');
    *ret = hour * 3600 + minute * 60;
    return hour < 24 && minute < 60;
}

/* ---------------------------------------------------------------- life */

static bool is_set(const char *text)
{
    return text && *text;
}

static struct error *read_frequency(const char *text, int64_t *ret)
{
    if (!schedule_parse_duration(span_of(text), ret) || *ret < 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "syncFrequency \"%.64s\" is no duration such as \"30m\" or \"1h30m\"",
                         text);
    }
    return NULL;
}

static struct error *read_clock(const char *name, const char *text, int32_t *ret)
{
    return read_time_of_day(text, ret)
               ? NULL
               : error_new(ERROR_INPUT, ERROR_CONFIG,
                           "%s \"%.64s\" is no time of day such as \"17:00\"", name, text);
}

static struct error *read_window(struct arena *arena,
                                 const struct schedule_config *config,
                                 const char *zone_folder,
                                 struct window *window)
{
    if (strcmp(config->fast_sync_start_time, config->fast_sync_stop_time) == 0) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "fastSyncStartTime and fastSyncStopTime are both \"%.64s\"",
                         config->fast_sync_start_time);
    }
    RETURN_IF_ERROR(read_clock("fastSyncStartTime", config->fast_sync_start_time, &window->start));
    RETURN_IF_ERROR(read_clock("fastSyncStopTime", config->fast_sync_stop_time, &window->stop));
    if (!read_days(config->fast_sync_enabled_days, window->days)) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "fastSyncEnabledDays \"%.64s\" is no ascending list of the days Su, M, T, "
                         "W, Th, F, S and of ranges such as M-F",
                         config->fast_sync_enabled_days);
    }
    return error_wrap(zone_load(arena, zone_folder, config->timezone, &window->zone), "timezone");
}

struct error *schedule_new(struct arena *arena,
                           const struct schedule_config *config,
                           struct span seed,
                           const char *zone_folder,
                           struct schedule **ret)
{
    struct schedule *schedule = ARENA_NEW(arena, struct schedule);
    const char *frequency = config->sync_frequency;

    schedule->has_window = is_set(config->timezone) || is_set(config->fast_sync_start_time) ||
                           is_set(config->fast_sync_stop_time) ||
                           is_set(config->fast_sync_enabled_days);
    if (schedule->has_window &&
        !(is_set(frequency) && is_set(config->timezone) && is_set(config->fast_sync_start_time) &&
          is_set(config->fast_sync_stop_time))) {
        return error_new(ERROR_INPUT, ERROR_CONFIG,
                         "a fast sync window needs all of 'syncFrequency', 'timezone', "
                         "'fastSyncStartTime' and 'fastSyncStopTime'");
    }
    RETURN_IF_ERROR(read_frequency(is_set(frequency) ? frequency : SCHEDULE_DEFAULT_FREQUENCY,
                                   &schedule->fast_ns));
    if (schedule->has_window) {
        RETURN_IF_ERROR(read_window(arena, config, zone_folder, &schedule->window));
    }
    schedule->slow_ns = SLOW_PERIOD_NS;
    if (seed.ptr) {
        schedule->jitter_ns = (int64_t)(digest_xxh64(seed, 0) >> 1) % DAY_NS;
    }
    *ret = schedule->fast_ns == 0 && !schedule->has_window ? NULL : schedule;
    return NULL;
}

bool schedule_is_alternating(const struct schedule *schedule)
{
    return schedule->has_window;
}

/* ---------------------------------------------------------------- instants */

/* Instants are multiples of the period since 1970, shifted by the jitter. */
static int64_t next_multiple(int64_t period_ns, int64_t jitter_ns, int64_t after_ns)
{
    int64_t next;

    if (period_ns == 0) {
        return after_ns;
    }
    int64_t index = floor_div(after_ns - jitter_ns, period_ns) + 1;
    bool is_too_late = __builtin_mul_overflow(index, period_ns, &next) ||
                       __builtin_add_overflow(next, jitter_ns, &next);
    return is_too_late ? INT64_MAX : next;
}

/* Weekday, Sunday first, of a local day counted since 1970-01-01, which was a Thursday. */
static int weekday_of(int64_t local_day)
{
    return (int)(local_day + 4 - floor_div(local_day + 4, 7) * 7);
}

static bool is_active(const struct window *window, int64_t second)
{
    int64_t local = second + zone_offset(window->zone, second);
    int64_t day = floor_div(local, DAY_SECONDS);
    int64_t at = local - day * DAY_SECONDS;
    bool is_inside = window->start <= window->stop ? at >= window->start && at < window->stop
                                                   : at >= window->start || at < window->stop;

    return is_inside && window->days[weekday_of(day)];
}

/* The first instant after this one at which the window opens or shuts: active has the other value
 * there. That can be at its start, at its stop, or at a midnight between an enabled day and one
 * that is not. INT64_MAX for a window that never does (one from "9:00" to "09:00"). */
static int64_t next_change(const struct window *window, int64_t second)
{
    const int32_t times[] = {0, window->start, window->stop};
    int64_t today = floor_div(second + zone_offset(window->zone, second), DAY_SECONDS);
    bool was_active = is_active(window, second);

    /* A week has every kind of day; clocks that jump may need one more on each side. */
    for (int64_t day = today; day <= today + 9; day++) {
        int64_t first = INT64_MAX;
        for (unsigned i = 0; i < ARRAY_LEN(times); i++) {
            int64_t at = zone_find(window->zone, day * DAY_SECONDS + times[i], second);
            if (at < first && is_active(window, at) != was_active) {
                first = at;
            }
        }
        if (first != INT64_MAX) {
            return first;
        }
    }
    return INT64_MAX;
}

static int64_t to_ns(int64_t second)
{
    int64_t ns;

    return __builtin_mul_overflow(second, SECOND_NS, &ns) ? INT64_MAX : ns;
}

int64_t schedule_next(const struct schedule *schedule, int64_t after_ns)
{
    int64_t second = floor_div(after_ns, SECOND_NS);

    if (!schedule->has_window) {
        return next_multiple(schedule->fast_ns, schedule->jitter_ns, after_ns);
    }
    bool is_fast = is_active(&schedule->window, second);
    int64_t period = is_fast ? schedule->fast_ns : schedule->slow_ns;
    int64_t other = is_fast ? schedule->slow_ns : schedule->fast_ns;
    int64_t next = next_multiple(period, schedule->jitter_ns, after_ns);

    if (other < period) { /* a shorter period does not wait for the end of a longer one */
        int64_t change = to_ns(next_change(&schedule->window, second));
        next = change < next ? change : next;
    }
    return next;
}

/* ---------------------------------------------------------------- the decision */

void schedule_note_stored(struct schedule_history *history, uint64_t stores)
{
    if (stores == 0) {
        return; /* a runtime that skips what it need not read makes empty transactions */
    }
    if (history->count == SCHEDULE_HISTORY) {
        memmove(history->stored, history->stored + 1,
                (SCHEDULE_HISTORY - 1) * sizeof *history->stored);
        history->count--;
    }
    history->stored[history->count++] = stores;
}

void schedule_note_acknowledged(struct schedule_history *history, int64_t now_ns)
{
    history->has_acknowledged = true;
    history->acknowledged_ns = now_ns;
}

static bool has_caught_up(const struct schedule_history *history)
{
    for (unsigned i = 0; i < history->count; i++) {
        if (history->stored[i] >= SCHEDULE_BACKFILL_STORES) {
            return false;
        }
    }
    return history->count == SCHEDULE_HISTORY;
}

struct schedule_decision schedule_decide(const struct schedule *schedule,
                                         const struct schedule_history *history,
                                         int64_t now_ns)
{
    struct schedule_decision decision = {SCHEDULE_RECOVERY, 0, 0};

    if (!history->has_acknowledged) {
        return decision;
    }
    /* A clock that was set back meanwhile must not make the wait longer than a period. */
    int64_t last = history->acknowledged_ns < now_ns ? history->acknowledged_ns : now_ns;
    decision.next_ns = schedule_next(schedule, last);
    if (!has_caught_up(history)) {
        decision.reason = SCHEDULE_CATCHING_UP;
    } else if (decision.next_ns <= now_ns) {
        decision.reason = SCHEDULE_OVERDUE;
    } else {
        decision.reason = SCHEDULE_EARLY;
        decision.delay_ns = decision.next_ns - now_ns;
    }
    return decision;
}
