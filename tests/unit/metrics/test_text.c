/* metrics/text and metrics/address: the lines that Prometheus reads, and where it reads them. */

#include "metrics/address.h"
#include "metrics/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct metric requests = {"x_requests_total", METRIC_COUNTER, METRIC_AS_IS,
                                       "requests, all of them"};
static const struct metric used = {"x_used_bytes", METRIC_GAUGE, METRIC_AS_IS,
                                   "a back\\slash and\na line feed"};
static const struct metric cpu = {"x_cpu_seconds_total", METRIC_COUNTER, METRIC_MS, "time"};
static const struct metric took = {"x_took_seconds", METRIC_HISTOGRAM, METRIC_MS, "how long"};

static void rows_become_the_lines_of_the_text_format(void **state)
{
    struct histogram histogram = {.count = 0};
    struct metric_row rows[] = {
        {.metric = &requests,
         .labels = {{"cause", SPAN_LIT("a \"quoted\" one\\\n")}, {"peer", SPAN_LIT("s3")}},
         .value = 7},
        {.metric = &requests, .labels = {{"cause", SPAN_LIT("")}}, .value = INT64_MAX},
        {.metric = &used, .value = -5},
        {.metric = &cpu, .value = 61050},
        {.metric = &took, .labels = {{"phase", SPAN_LIT("apply")}}, .histogram = &histogram},
    };
    struct buf out;
    struct metrics_text text = {.out = &out};

    (void)state;
    histogram_add(&histogram, 5);
    histogram_add(&histogram, 2400);
    histogram_add(&histogram, 4000000);
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_text_add(&text, &rows[i]);
    }
    assert_string_equal(out.data,
                        "# HELP x_requests_total requests, all of them\n"
                        "# TYPE x_requests_total counter\n"
                        "x_requests_total{cause=\"a \\\"quoted\\\" one\\\\\\n\",peer=\"s3\"} 7\n"
                        "x_requests_total{cause=\"\"} 9223372036854775807\n"
                        "# HELP x_used_bytes a back\\\\slash and\\na line feed\n"
                        "# TYPE x_used_bytes gauge\n"
                        "x_used_bytes -5\n"
                        "# HELP x_cpu_seconds_total time\n"
                        "# TYPE x_cpu_seconds_total counter\n"
                        "x_cpu_seconds_total 61.05\n"
                        "# HELP x_took_seconds how long\n"
                        "# TYPE x_took_seconds histogram\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.005\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.01\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.025\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.05\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.1\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.25\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"0.5\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"1\"} 1\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"2.5\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"5\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"10\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"30\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"60\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"120\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"300\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"600\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"1800\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"3600\"} 2\n"
                        "x_took_seconds_bucket{phase=\"apply\",le=\"+Inf\"} 3\n"
                        "x_took_seconds_sum{phase=\"apply\"} 4002.405\n"
                        "x_took_seconds_count{phase=\"apply\"} 3\n");
    buf_done(&out);
}

/* ---------------------------------------------------------------- addresses */

static const struct {
    const char *text;
    const char *bound; /* NULL: refused */
} addresses[] = {
    {"9477", "127.0.0.1:9477"},
    {":9477", "127.0.0.1:9477"},
    {"localhost:0", "127.0.0.1:0"},
    {"127.0.0.1:65535", "127.0.0.1:65535"},
    {"0.0.0.0:80", "0.0.0.0:80"},
    {"[::1]:9477", "[::1]:9477"},
    {"::1:9477", "[::1]:9477"},
    {"[::]:9477", "[::]:9477"},
    {"", NULL},
    {":", NULL},
    {"65536", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:-1", NULL},
    {"127.0.0.1:9477x", NULL},
    {"256.0.0.1:9477", NULL},
    {"metrics.example.com:9477", NULL},
    {"[::1:9477", NULL},
    {"[127.0.0.1.0000000000000000000000000000000000000000000000000]:1", NULL},
};

static void an_address_is_a_port_or_an_address_and_a_port(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        union metrics_address address;
        char text[METRICS_ADDRESS_TEXT] = "refused";
        struct error *err = metrics_address_read(addresses[i].text, &address);
        if (!err) {
            metrics_address_print(&address, text);
        } else {
            assert_int_equal(error_class_of(err), ERROR_CONFIG);
        }
        if (strcmp(text, addresses[i].bound ? addresses[i].bound : "refused") != 0) {
            fail_msg("\"%s\": %s", addresses[i].text, text);
        }
        error_free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_the_lines_of_the_text_format),
        cmocka_unit_test(an_address_is_a_port_or_an_address_and_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
