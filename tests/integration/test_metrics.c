/*
 * What an operator sees: the pages of a process that works, read while it works, and the lines of
 * its log. Prometheus' own checker reads the page, and the numbers are compared with what the
 * played runtime counted on its side.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connector/connector.h"
#include "support/story.h"
#include "support/story_ledger.h"

#define SERVED "\"msg\":\"metrics are served\",\"address\":\"127.0.0.1:"
#define PAGE_MAX (1 << 20)

/* ---------------------------------------------------------------- a small client */

/* The port in the last such line of the log, 0 when there is none. */
static unsigned served_port(const char *log)
{
    unsigned port = 0;

    for (const char *at = log; (at = strstr(at, SERVED)); at++) {
        port = (unsigned)strtoul(at + strlen(SERVED), NULL, 10);
    }
    return port;
}

/* The whole answer; "" when nobody listens there any more. Lives as long as the story. */
static const char *get(struct story *story, unsigned port, const char *path)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *request =
        story_text(story, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    char *answer = malloc(PAGE_MAX);
    size_t len = 0;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
        ssize_t count;
        while (len + 1 < PAGE_MAX && (count = recv(fd, answer + len, PAGE_MAX - 1 - len, 0)) > 0) {
            len += (size_t)count;
        }
    }
    (void)close(fd);
    answer[len] = '\0';
    const char *kept = story_text(story, "%s", answer);
    free(answer);
    return kept;
}

static bool is_status(const char *answer, const char *status)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 && strncmp(answer + 9, status, 3) == 0;
}

static const char *body_of(const char *answer)
{
    const char *gap = strstr(answer, "\r\n\r\n");
    return gap ? gap + 4 : "";
}

/* The value of a series, by its whole name with labels; -1 when it is not there. */
static double value_of(const char *page, const char *series)
{
    size_t len = strlen(series);

    for (const char *line = page; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, len) == 0 && line[len] == ' ') {
            return strtod(line + len, NULL);
        }
    }
    return -1;
}

/* ---------------------------------------------------------------- a process without a session */

struct waiting {
    struct story *story;
    const char *path;
    unsigned port;
};

static bool is_served(void *ctx)
{
    struct waiting *waiting = ctx;

    waiting->port = served_port(story_read(waiting->story, waiting->path, NULL));
    return waiting->port != 0;
}

static void a_process_is_alive_before_it_is_ready(void **state)
{
    struct story *story = story_begin("metrics_alive");
    const char *fifo = story_path(story, "stdin");
    const char *argv[] = {"materialize-redshift", NULL};
    const char *environment[] = {"METRICS_ADDRESS=127.0.0.1:0", "FLOW_RUNTIME_CODEC=json", NULL};

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd =
        open(fifo, O_RDWR | O_CLOEXEC); /* a reader's open waits for a writer, and the reverse */
    assert_true(fd >= 0);
    struct story_process *process = story_start(story, "connector", argv, environment, fifo);
    struct waiting waiting = {story, process->err, 0};
    if (story_wait_for(story, "the address in the log", is_served, &waiting, 30)) {
        if (!is_status(get(story, waiting.port, "/healthz"), "200")) {
            story_complain(story, "/healthz is not 200");
        }
        if (!is_status(get(story, waiting.port, "/readyz"), "503")) {
            story_complain(story, "/readyz is not 503 without a session");
        }
        if (value_of(body_of(get(story, waiting.port, "/metrics")),
                     "materialize_redshift_session_open") != 0) {
            story_complain(story, "a session is said to be open");
        }
    }
    (void)close(fd);
    (void)kill(process->pid, SIGTERM);
    (void)story_wait(story, process, 30);
    story_end(story);
}

/* ---------------------------------------------------------------- a session under load */

struct seen {
    bool ready;
    unsigned pages;
    const char *last; /* the body of the last whole page of an open session */
};

static void look_once(struct story *story, const char *log, struct seen *seen)
{
    unsigned port = served_port(story_read(story, log, NULL));

    if (!port) {
        return;
    }
    if (is_status(get(story, port, "/readyz"), "200")) {
        seen->ready = true;
        const char *answer = get(story, port, "/metrics");
        if (is_status(answer, "200")) {
            seen->pages++;
            seen->last = body_of(answer);
        }
    }
}

struct looking {
    struct story *story;
    struct story_process *process;
    const char *log;
    struct seen *seen;
};

/* Looks each time it is asked. */
static bool is_over(void *ctx)
{
    struct looking *looking = ctx;
    siginfo_t info = {.si_pid = 0};

    look_once(looking->story, looking->log, looking->seen);
    return waitid(P_PID, (id_t)looking->process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid != 0;
}

static bool has_rows(const char *page, const struct metric *metric)
{
    char heading[256];

    (void)snprintf(heading, sizeof heading, "# TYPE %s ", metric->name);
    return strstr(page, heading) != NULL;
}

/* There is no schedule, and no value was altered. */
static bool may_have_no_rows(const char *name)
{
    static const char *const names[] = {
        "materialize_redshift_next_acknowledgement_timestamp_seconds",
        "materialize_redshift_truncated_column_values_total",
        "materialize_redshift_replaced_column_values_total",
        "materialize_redshift_ssh_host_key_info",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Every metric of the table is there, once, and nothing else. */
static bool check_names(struct story *story, const char *page)
{
    unsigned count, headings = 0;
    const struct metric *metrics = connector_metrics(&count);

    for (const char *at = page; (at = strstr(at, "# TYPE ")); at++) {
        headings++;
    }
    for (unsigned i = 0; i < count; i++) {
        bool may_be_absent = may_have_no_rows(metrics[i].name);
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(metrics[i].name, metrics[k].name) == 0) {
                return story_complain(story, "%s is there twice", metrics[i].name);
            }
        }
        if (has_rows(page, &metrics[i])) {
            headings--;
        } else if (!may_be_absent) {
            return story_complain(story, "%s is missing", metrics[i].name);
        }
    }
    return headings == 0 || story_complain(story, "%u metrics are in no table", headings);
}

static bool check_with_promtool(struct story *story, const char *page)
{
    const char *argv[] = {"/usr/bin/promtool", "check", "metrics", NULL};
    const char *input = story_write(story, "page", page);
    struct story_process *process = story_start(story, "promtool", argv, NULL, input);

    if (!story_wait(story, process, 60)) {
        return false;
    }
    return story_exit_code(process) == 0 ||
           story_complain(story, "promtool: %s%s", story_read(story, process->out, NULL),
                          story_read(story, process->err, NULL));
}

static bool check_secrets(struct story *story, const char *page)
{
    if (strstr(page, story_environment("LOCAL_REDSHIFT_PASSWORD")) ||
        strstr(page, story_environment("LOCAL_S3_SECRET"))) {
        return story_complain(story, "a secret is among the metrics");
    }
    return true;
}

/* ---------------------------------------------------------------- the log */

/* The sum of a field over all summary lines. */
static int64_t summed(const char *log, const char *field)
{
    char name[64];
    int64_t sum = 0;

    (void)snprintf(name, sizeof name, "\"%s\":", field);
    for (const char *at = log; (at = strstr(at, "\"msg\":\"transaction summary\"")); at++) {
        const char *end = strchr(at, '\n'), *found = strstr(at, name);
        if (end && found && found < end) {
            sum += strtoll(found + strlen(name), NULL, 10);
        }
    }
    return sum;
}

static bool check_log(struct story *story, const char *log, const char *report)
{
    static const char *const lines[] = {
        "requesting materialization Open",
        "finished waiting for materialization Open",
        "\"msg\":\"Running\",\"eventType\":\"connectorStatus\"",
        "\"msg\":\"started materialization recovery commit\",\"round\":0",
        "\"msg\":\"finished materialization recovery commit\",\"round\":0,\"took\":",
        "\"msg\":\"started reading store requests\",\"round\":0",
        "\"msg\":\"finished reading store requests\",\"round\":0,\"took\":",
        "\"msg\":\"started materialization commit\",\"round\":0",
        "\"msg\":\"finished committing documents for resource\",\"round\":0,\"resourcePath\":[",
        "\"msg\":\"finished materialization commit\",\"round\":0,\"took\":",
        "\"msg\":\"started reading load requests\",\"round\":",
        "\"msg\":\"finished reading load requests\",\"round\":",
        "\"msg\":\"started evaluating loads\",\"round\":",
        "\"msg\":\"finished evaluating loads\",\"round\":",
        "\"msg\":\"started processing loaded documents\",\"round\":",
        "\"msg\":\"finished processing loaded documents\",\"round\":",
    };
    static const char *const sums[][2] = {
        {"loads", "loads"}, {"loaded", "loaded"}, {"stores", "stores"}};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!strstr(log, lines[i])) {
            return story_complain(story, "the log has no line with %s", lines[i]);
        }
    }
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        int64_t said = summed(log, sums[i][0]), counted = story_number(report, sums[i][1]);
        if (said != counted) {
            return story_complain(story, "%s: the summaries say %lld, the runtime counted %lld",
                                  sums[i][0], (long long)said, (long long)counted);
        }
    }
    if (summed(log, "stored_rows") + summed(log, "deleted_rows") <= 0 ||
        summed(log, "checked_rows") < summed(log, "stored_rows") + summed(log, "deleted_rows")) {
        return story_complain(story, "not every staged row was checked");
    }
    return true;
}

static void figures_and_log_tell_what_the_runtime_counted(void **state)
{
    struct story *story = story_begin("metrics_load");
    const struct ledger_plan plan = {.transactions = 12, .events = 60, .hard_delete = true};
    struct ledger ledger;
    struct seen seen = {.ready = false};

    (void)state;
    ledger_make(story, &plan, &ledger);
    /* One connection is cut, so that there is something to try again. */
    const char *cut = story_path(story, "cut");
    const char *address =
        story_gateway(story, "gateway", story_text(story, "put.merge#1 before cut %s\n", cut));
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(
            story, "config.json",
            &(struct story_config){.address = address,
                                   .hard_delete = true,
                                   .extra = ",\"advanced\":{\"metrics_address\":\"localhost:0\"}"}),
        .codec = "proto",
        .mode = "v2",
    };
    struct story_process *process = story_drive_start(story, &drive);
    struct looking looking = {story, process, story_path(story, "runtime.log"), &seen};
    (void)story_wait_for(story, "the end of the run", is_over, &looking, 120);
    (void)story_wait(story, process, 60);
    const char *report = story_report(story, "runtime");
    const char *log = story_read(story, story_path(story, "runtime.log"), NULL);
    if (story_exit_code(process) != 0) {
        story_complain(story, "flow-runtime ended with %d: %s", story_exit_code(process), report);
    } else if (!seen.ready || seen.pages == 0) {
        story_complain(story, "the session was never seen to be open");
    } else if (check_names(story, seen.last) && check_with_promtool(story, seen.last) &&
               check_secrets(story, seen.last) && check_log(story, log, report)) {
        /* The last look was before the end. */
        double retries = value_of(
            seen.last, "materialize_redshift_retries_total{what=\"apply\",cause=\"connection\"}");
        double stores = value_of(seen.last, "materialize_redshift_stores_total");
        double transactions = value_of(seen.last, "materialize_redshift_transactions_total");
        if (access(cut, F_OK) != 0 || retries != 1 || summed(log, "sql_retries") != 1) {
            story_complain(story, "one cut connection, but %g retries", retries);
        } else if (stores < 1 || stores > (double)story_number(report, "stores")) {
            story_complain(story, "%g stores at the last look: %s", stores, report);
        } else if (transactions < 1 ||
                   transactions > (double)story_number(report, "transactions") + 1) {
            story_complain(story, "%g transactions at the last look: %s", transactions, report);
        }
    }
    story_end(story);
}

/* ---------------------------------------------------------------- what a scrape costs */

#define SCRAPES 200
#define SLACK_BYTES 1048576.0 /* of memory that allocators may keep */

/* The page without what changes by itself: processor time and memory. */
static const char *lasting_part(struct story *story, const char *page)
{
    char *out = story_text(story, "%s", page), *to = out;

    for (const char *line = page; *line;) {
        size_t len = strcspn(line, "\n");
        len += line[len] == '\n';
        bool changes = strncmp(line, "process_", 8) == 0 ||
                       strncmp(line, "materialize_redshift_process_", 29) == 0;
        if (!changes) {
            memmove(to, line, len);
            to += len;
        }
        line += len;
    }
    *to = '\0';
    return out;
}

struct scraping {
    struct story *story;
    unsigned port, in_a_row;
    const char *page;    /* the last, without what changes by itself */
    double first_memory; /* at the tenth in a row: the first few may still take some */
    double last_memory;
};

/* What a silent warehouse does not hold up is done some time; from then on each page is the last.
 */
static bool has_stayed(void *ctx)
{
    struct scraping *scraping = ctx;
    const char *page = body_of(get(scraping->story, scraping->port, "/metrics"));
    const char *lasting = lasting_part(scraping->story, page);
    bool is_same = scraping->page && strcmp(scraping->page, lasting) == 0 &&
                   value_of(page, "materialize_redshift_session_open") == 1;

    scraping->in_a_row = is_same ? scraping->in_a_row + 1 : 0;
    scraping->page = lasting;
    scraping->last_memory = value_of(page, "process_resident_memory_bytes");
    if (scraping->in_a_row == 10) {
        scraping->first_memory = scraping->last_memory;
    }
    return scraping->in_a_row == SCRAPES;
}

/* In the middle of a transaction whose COMMIT is not answered: hundreds of scrapes send no
 * statement, make no request to the bucket, take nothing from the budget of documents and leave
 * nothing behind, or the page would tell. Their time is a figure of bench/README.md. */
static void a_scrape_asks_nobody_and_keeps_nothing(void **state)
{
    struct story *story = story_begin("metrics_cost");
    const struct ledger_plan plan = {.transactions = 6, .events = 60};
    const char *marker = story_path(story, "silent");
    struct ledger ledger;

    (void)state;
    ledger_make(story, &plan, &ledger);
    const char *address =
        story_gateway(story, "gateway", story_text(story, "commit#4 before stall %s\n", marker));
    const struct story_config config = {
        .address = address, .extra = ",\"advanced\":{\"metrics_address\":\"localhost:0\"}"};
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(story, "config.json", &config),
        .codec = "proto",
        .mode = "v1",
    };
    (void)story_drive_start(story, &drive);
    struct scraping scraping = {.story = story};
    if (story_wait_file(story, marker, 60)) {
        scraping.port = served_port(story_read(story, story_path(story, "runtime.log"), NULL));
        (void)story_wait_for(story, "page after page the same", has_stayed, &scraping, 120);
    }
    if (!STORY_SANITIZED && scraping.last_memory - scraping.first_memory > SLACK_BYTES) {
        story_complain(story, "%d scrapes left %g bytes", SCRAPES,
                       scraping.last_memory - scraping.first_memory);
    }
    story_end(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_alive_before_it_is_ready),
        cmocka_unit_test(figures_and_log_tell_what_the_runtime_counted),
        cmocka_unit_test(a_scrape_asks_nobody_and_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
