/* base/log: what arrives at the other end of stderr. */

#include "base/log.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* stderr as a pipe whose reading end we hold; cmocka's own words go to stdout. */
struct fixture {
    int saved_stderr;
    int read_fd;
    struct buf line;
};

static int redirect(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    int ends[2];

    if (pipe(ends) != 0) {
        return -1;
    }
    fixture->saved_stderr = dup(STDERR_FILENO);
    fixture->read_fd = ends[0];
    (void)dup2(ends[1], STDERR_FILENO);
    (void)close(ends[1]);
    buf_init(&fixture->line, 1 << 20);
    *state = fixture;
    return 0;
}

static int restore(void **state)
{
    struct fixture *fixture = *state;

    (void)dup2(fixture->saved_stderr, STDERR_FILENO);
    (void)close(fixture->saved_stderr);
    (void)close(fixture->read_fd);
    buf_done(&fixture->line);
    mem_free(fixture);
    error_free(log_init(NULL, NULL));
    return 0;
}

/* All that is in the pipe. */
static const char *read_all(struct fixture *fixture)
{
    struct pollfd poll_fd = {.fd = fixture->read_fd, .events = POLLIN};

    buf_clear(&fixture->line);
    while (poll(&poll_fd, 1, 0) == 1) {
        char *to = buf_reserve(&fixture->line, 4096);
        assert_non_null(to);
        ssize_t count = read(fixture->read_fd, to, 4096);
        assert_true(count > 0);
        buf_commit(&fixture->line, (size_t)count);
    }
    return fixture->line.data;
}

/* Cuts the line before its time, after a look at the time. */
static const char *read_without_time(struct fixture *fixture)
{
    int64_t seconds = 0;
    int32_t nanos;

    (void)read_all(fixture);
    char *line = fixture->line.data;
    char *time = strstr(line, ",\"time\":\"");
    assert_non_null(time);
    struct span stamp = {time + 9, strlen(time + 9) - 3};
    assert_string_equal(stamp.ptr + stamp.len, "\"}\n");
    assert_true(text_from_rfc3339(stamp, &seconds, &nanos));
    assert_true(seconds > 1700000000);
    *time = '\0';
    return line;
}

static void a_line_is_one_json_object(void **state)
{
    struct fixture *fixture = *state;

    log_event(
        LOG_INFO, "stored documents", LOG_INT("count", -1200), LOG_STR("text", "a\"b\\c\n\x01"),
        LOG_SPAN("broken", ((struct span){"x\xff\xc3\xa9", 4})), LOG_STR("none", NULL),
        LOG_BOOL("ok", true), LOG_MS("took", 1250), LOG_JSON("list", SPAN_LIT("[1,\n2]")), LOG_END);
    assert_string_equal(read_without_time(fixture),
                        "{\"level\":\"info\",\"msg\":\"stored documents\",\"count\":-1200,"
                        "\"text\":\"a\\\"b\\\\c\\n\\u0001\",\"broken\":\"x\xef\xbf\xbd\xc3\xa9\","
                        "\"none\":null,\"ok\":true,\"took\":\"1.25s\",\"list\":[1, 2]");
}

static void fields_do_not_take_the_readers_own_names(void **state)
{
    struct fixture *fixture = *state;

    log_event(LOG_WARN, "m", LOG_INT("level", 1), LOG_INT("timestamp", 2), LOG_INT("spans", 3),
              LOG_INT("levels", 4), LOG_END);
    assert_string_equal(read_without_time(fixture),
                        "{\"level\":\"warn\",\"msg\":\"m\",\"level_\":1,\"timestamp_\":2,"
                        "\"spans_\":3,\"levels\":4");
}

static void durations_are_text(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {7, "7ms"},
        {999, "999ms"},
        {1000, "1s"},
        {1250, "1.25s"},
        {1001, "1.001s"},
        {10000, "10s"},
        {62500, "1m2.5s"},
        {60000, "1m0s"},
        {3600000, "1h0m0s"},
        {3723004, "1h2m3.004s"},
        {-1500, "-1.5s"},
        {360000000, "100h0m0s"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char expected[100];
        log_event(LOG_INFO, "m", LOG_MS("took", rows[i].ms), LOG_END);
        (void)snprintf(expected, sizeof(expected),
                       "{\"level\":\"info\",\"msg\":\"m\",\"took\":\"%s\"", rows[i].text);
        assert_string_equal(read_without_time(fixture), expected);
    }
}

static void the_level_decides_what_is_said(void **state)
{
    static const struct {
        const char *level;
        bool valid;
        enum log_level lowest;
    } rows[] = {
        {NULL, true, LOG_INFO},      {"", true, LOG_INFO},       {"trace", true, LOG_TRACE},
        {"DEBUG", true, LOG_DEBUG},  {"Info", true, LOG_INFO},   {"warn", true, LOG_WARN},
        {"warning", true, LOG_WARN}, {"error", true, LOG_ERROR}, {"fatal", true, LOG_FATAL},
        {"panic", true, LOG_FATAL},  {"loud", false, LOG_INFO},  {"info ", false, LOG_INFO},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error *err = log_init(rows[i].level, NULL);
        if ((err == NULL) != rows[i].valid) {
            fail_msg("'%s'", rows[i].level);
        }
        if (err) {
            assert_int_equal(error_class_of(err), ERROR_CONFIG);
            assert_non_null(strstr(error_text(err), rows[i].level));
            error_free(err);
            continue;
        }
        for (enum log_level level = LOG_TRACE; level <= LOG_FATAL; level++) {
            assert_int_equal(log_is_on(level), level >= rows[i].lowest);
            log_write(level, "said", NULL);
            bool said = strstr(read_all(fixture), "said") != NULL;
            if (said != (level >= rows[i].lowest)) {
                fail_msg("'%s' and level %d", rows[i].level, (int)level);
            }
        }
    }
    struct error *err = log_init("info", "xml");
    assert_non_null(err);
    error_free(err);
}

static void text_form_is_for_people(void **state)
{
    struct fixture *fixture = *state;

    assert_null(log_init("debug", "TEXT"));
    log_debug("part %d", 3);
    assert_non_null(strstr(read_all(fixture), "Z debug part 3\n"));
    log_event(LOG_ERROR, "lost", LOG_INT("count", 3), LOG_STR("why", "x y"), LOG_END);
    assert_non_null(strstr(read_all(fixture), "Z error lost count=3 why=\"x y\"\n"));
}

static void an_error_has_its_hint_and_origin_in_the_last_line(void **state)
{
    struct fixture *fixture = *state;
    struct error *err = error_new_from(ERROR_SQL, ERROR_CONFIG, "SQLSTATE 28000", "no entry");

    error_set_hint(err, "Check the password.");
    assert_null(log_init("fatal", NULL));
    log_fatal(err);
    assert_string_equal(read_without_time(fixture),
                        "{\"level\":\"fatal\",\"msg\":\"no entry (SQLSTATE 28000)\","
                        "\"hint\":\"Check the password.\",\"origin\":\"SQLSTATE 28000\"");
    error_free(err);
}

static void a_dropped_error_is_a_debug_line(void **state)
{
    struct fixture *fixture = *state;

    assert_null(log_init("debug", NULL));
    error_drop(error_new(ERROR_INTERNAL, ERROR_RETRY, "gone"), "nobody needs it");
    assert_string_equal(read_without_time(fixture), "{\"level\":\"debug\",\"msg\":\"error dropped, "
                                                    "nobody needs it: gone\"");
}

static void a_pipe_that_nobody_reads_costs_lines_and_no_time(void **state)
{
    struct fixture *fixture = *state;
    uint64_t before = log_dropped();
    unsigned written = 0;

    /* Would this block, the test's time limit would end it. */
    while (log_dropped() < before + 3) {
        log_event(LOG_INFO, "a line of some length to fill the pipe", LOG_END);
        written++;
        assert_true(written < 100000);
    }
    const char *lines = read_all(fixture);
    unsigned count = 0;
    for (const char *at = lines; (at = strchr(at, '\n')); at++) {
        count++;
    }
    assert_int_equal(count, written - 3);
    assert_null(strstr(lines, "droppedLines"));
    log_event(LOG_INFO, "heard again", LOG_END);
    assert_non_null(strstr(read_all(fixture), "\"msg\":\"heard again\",\"droppedLines\":3"));
    log_event(LOG_INFO, "and again", LOG_END);
    assert_null(strstr(read_all(fixture), "droppedLines"));
}

static void a_long_line_is_written_only_into_an_empty_pipe(void **state)
{
    struct fixture *fixture = *state;
    uint64_t before = log_dropped();
    char *text = mem_alloc(20001);

    memset(text, 'x', 20000);
    log_event(LOG_INFO, "long", LOG_STR("text", text), LOG_END);
    assert_int_equal(log_dropped(), before);
    log_event(LOG_INFO, "long", LOG_STR("text", text), LOG_END); /* the first was not read yet */
    assert_int_equal(log_dropped(), before + 1);
    assert_non_null(strstr(read_all(fixture), text));
    mem_free(text);
    log_event(LOG_INFO, "m", LOG_END); /* says what was dropped, for the tests that follow */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_one_json_object, redirect, restore),
        cmocka_unit_test_setup_teardown(fields_do_not_take_the_readers_own_names, redirect,
                                        restore),
        cmocka_unit_test_setup_teardown(durations_are_text, redirect, restore),
        cmocka_unit_test_setup_teardown(the_level_decides_what_is_said, redirect, restore),
        cmocka_unit_test_setup_teardown(text_form_is_for_people, redirect, restore),
        cmocka_unit_test_setup_teardown(an_error_has_its_hint_and_origin_in_the_last_line, redirect,
                                        restore),
        cmocka_unit_test_setup_teardown(a_dropped_error_is_a_debug_line, redirect, restore),
        cmocka_unit_test_setup_teardown(a_pipe_that_nobody_reads_costs_lines_and_no_time, redirect,
                                        restore),
        cmocka_unit_test_setup_teardown(a_long_line_is_written_only_into_an_empty_pipe, redirect,
                                        restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
