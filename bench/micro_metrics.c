/*
 * What being watched costs: one page of metrics, measured and printed, by a connector with all the
 * tables that a page may have. The share of one core is what counts: scrapes come at intervals, and
 * the loop does nothing else meanwhile.
 */

#include "base/buf.h"
#include "base/size.h"
#include "connector/session.h"
#include "metrics/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAGES 2000

static void ended(void *ctx, struct error *err)
{
    (void)ctx;
    error_free(err);
}

static double now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void fill_tables(struct figures *figures)
{
    char name[64];

    for (int i = 0; i < FIGURE_TABLES + 1; i++) {
        (void)snprintf(name, sizeof(name), "\"a_schema\".\"a table with a name %d\"", i);
        figures_table(figures, span_of(name))->copied_rows = 123456789;
    }
}

int main(void)
{
    struct loop *loop = loop_new();
    struct credit *credit = credit_new(MIB);
    struct connector *connector;
    int in[2], out[2];
    struct buf page;

    CHECK(pipe(in) == 0 && pipe(out) == 0);
    struct connector_options options = {.in_fd = in[0], .out_fd = out[1], .credit = credit};
    struct error *err = connector_new(loop, &options, ended, NULL, &connector);
    CHECK(!err);
    fill_tables(&connector->figures);
    buf_init(&page, MIB);
    double began_us = now_us();
    for (int i = 0; i < PAGES; i++) {
        struct metrics_text text = {.out = &page};
        buf_clear(&page);
        connector_measure(connector, metrics_text_add, &text);
    }
    double us = (now_us() - began_us) / PAGES;
    printf("one page of %zu bytes: %.0f us\n", page.len, us);
    printf("a scrape every 15 s takes %.6f of one core, one a second %.6f\n", us / 15e6, us / 1e6);

    buf_done(&page);
    connector_stop(connector);
    loop_run(loop);
    connector_free(connector);
    credit_free(credit);
    loop_free(loop);
    return EXIT_SUCCESS;
}
