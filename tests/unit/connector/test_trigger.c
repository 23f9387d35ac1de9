/* The dbt job against a scripted server: what is asked in each mode, how each failure ends, and
 * that nothing is ever left in the loop (loop_free checks it). */

#include "connector/trigger.h"

#include "runtime/timer.h"
#include "support/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OK_BODY "{\"status\":{\"code\":200,\"is_success\":true,\"user_message\":\"Success!\"},"
#define NO_RUNS OK_BODY "\"data\":[]}"
#define STARTED OK_BODY "\"data\":{\"id\":99}}"
#define KEY "dbt-key-0123456789"
#define RUNS "/api/v2/accounts/7/runs?job_definition_id=42&status="
#define RUN "/api/v2/accounts/7/jobs/42/run"
#define HOUR_MS 3600000

/* ---------------------------------------------------------------- the frame of each test */

struct world {
    struct loop *loop;
    struct http_client *client;
    struct http_peer *peer;
    struct secret *key;
    struct trigger *trigger;
    bool is_closed;
    char url[64];
    FILE *log;
    int old_stderr;
    char text[65536]; /* what was logged */
};

static void trigger_closed(void *ctx, struct error *err)
{
    struct world *world = ctx;

    assert_null(err);
    assert_false(world->is_closed);
    world->is_closed = true;
}

static void client_closed(void *ctx)
{
    struct world *world = ctx;

    world->client = NULL;
}

static void capture_log(struct world *world)
{
    world->log = tmpfile();
    assert_non_null(world->log);
    world->old_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(world->log), STDERR_FILENO) >= 0);
}

static void restore_log(struct world *world)
{
    assert_true(dup2(world->old_stderr, STDERR_FILENO) >= 0);
    close(world->old_stderr);
    rewind(world->log);
    world->text[fread(world->text, 1, sizeof world->text - 1, world->log)] = '\0';
    fclose(world->log);
}

static void begin(struct world *world,
                  const struct http_rule *rules,
                  unsigned count,
                  struct trigger_config config)
{
    const struct http_client_options options = {.max_host_connections = 2};

    *world = (struct world){.loop = loop_new()};
    world->client = http_client_new(world->loop, &options);
    world->peer = http_peer_start(rules, count);
    world->key = secret_new(SPAN_LIT(KEY));
    (void)snprintf(world->url, sizeof world->url, "http://127.0.0.1:%u",
                   http_peer_port(world->peer));
    config.base_url = config.base_url ? config.base_url : world->url;
    config.account_id = config.account_id ? config.account_id : "7";
    config.job_id = config.job_id ? config.job_id : "42";
    config.cause = config.cause ? config.cause : "Estuary Flow";
    config.api_key = config.api_key ? config.api_key : world->key;
    config.interval_ms = config.interval_ms ? config.interval_ms : HOUR_MS;
    config.total_timeout_ms = config.total_timeout_ms ? config.total_timeout_ms : 20000;
    capture_log(world);
    world->trigger = trigger_new(world->loop, world->client, &config, trigger_closed, world);
}

/* The loop has nothing to do when an attempt is over and no other one waits for its interval. */
static void signal_and_run(struct world *world)
{
    trigger_signal(world->trigger);
    loop_run(world->loop);
}

static void end(struct world *world)
{
    if (!world->is_closed) {
        trigger_close(world->trigger);
        loop_run(world->loop);
    }
    assert_true(world->is_closed);
    http_client_close(world->client, client_closed, world);
    loop_run(world->loop);
    assert_null(world->client);
    loop_free(world->loop);
    http_peer_stop(world->peer);
    secret_free(world->key);
    restore_log(world);
    assert_null(strstr(world->text, KEY));
}

static void must_have_logged(const struct world *world, const char *sentence, const char *part)
{
    if (!strstr(world->text, part)) {
        fail_msg("%s: \"%s\" is not in the log:\n%s", sentence, part, world->text);
    }
}

/* ---- something that looks at a fact from the loop until it holds, with a deadline */

struct lookout {
    struct op op;
    struct timer *timer;
    struct world *world;
    bool (*fact)(struct world *world);
    bool was_closed;
    unsigned left;
};

static void lookout_step(struct op *op)
{
    struct lookout *self = CONTAINER_OF(op, struct lookout, op);

    if (self->fact(self->world) || --self->left == 0) {
        trigger_close(self->world->trigger);
        op_finish(op);
    } else if (!timer_is_running(self->timer)) {
        timer_start(self->timer, 2);
    }
}

static void lookout_done(void *ctx, struct error *err)
{
    struct lookout *self = ctx;

    assert_null(err);
    self->was_closed = true;
}

/* Runs the loop; closes the trigger as soon as the fact holds. */
static void run_and_close_when(struct world *world, bool (*fact)(struct world *world))
{
    static const char *const names[] = {"LOOKING"};
    static const uint32_t moves[] = {0};
    static const struct op_kind kind = {"lookout", names, 1, moves, lookout_step};
    struct lookout lookout = {.world = world, .fact = fact, .left = 5000};

    op_init(&lookout.op, world->loop, &kind, lookout_done, &lookout);
    lookout.timer = timer_new(&lookout.op);
    op_mark(&lookout.op);
    loop_run(world->loop);
    assert_true(lookout.was_closed);
    assert_true(lookout.left > 0); /* else the fact never came */
}

/* ---------------------------------------------------------------- what is asked */

static void a_job_is_started_by_one_request(void **state)
{
    static const struct http_rule rules[] = {{.method = "POST", .target = RUN, .body = STARTED}};
    struct http_peer_request seen;
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.mode = TRIGGER_IGNORE});
    signal_and_run(&world);
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), 1);
    assert_true(http_peer_request(world.peer, "POST", RUN, 0, &seen));
    assert_string_equal(seen.target, RUN);
    assert_string_equal(seen.body, "{\"cause\":\"Estuary Flow\"}");
    assert_non_null(strstr(seen.headers, "Authorization: Bearer " KEY "\r\n"));
    assert_non_null(strstr(seen.headers, "Content-Type: application/json;charset=UTF-8\r\n"));
    assert_non_null(strstr(seen.headers, "Accept: application/json;charset=UTF-8\r\n"));
    assert_non_null(strstr(seen.headers, "User-Agent: materialize-redshift/"));
    end(&world);
    must_have_logged(&world, "success", "\"msg\":\"started dbt job\",\"jobId\":\"42\"");
}

static void what_a_person_wrote_is_escaped(void **state)
{
    static const struct http_rule rules[] = {{.body = NO_RUNS}};
    struct http_peer_request seen;
    struct world world;

    (void)state;
    begin(&world, rules, 1,
          (struct trigger_config){.cause = "a \"quoted\"\nline \\ \xc3\xa9",
                                  .account_id = "7/../8",
                                  .job_id = "4 2&status=9"});
    signal_and_run(&world);
    assert_true(http_peer_request(world.peer, "GET", NULL, 0, &seen));
    assert_string_equal(seen.target, "/api/v2/accounts/7%2F..%2F8/"
                                     "runs?job_definition_id=4%202%26status%3D9&status=1");
    assert_true(http_peer_request(world.peer, "POST", NULL, 0, &seen));
    assert_string_equal(seen.target, "/api/v2/accounts/7%2F..%2F8/jobs/4%202%26status%3D9/run");
    assert_string_equal(seen.body, "{\"cause\":\"a \\\"quoted\\\"\\nline \\\\ \xc3\xa9\"}");
    end(&world);
}

static void without_a_running_job_one_is_started(void **state)
{
    static const struct http_rule rules[] = {{.method = "GET", .target = RUNS, .body = NO_RUNS},
                                             {.method = "POST", .target = RUN, .body = STARTED}};
    static const enum trigger_mode modes[] = {TRIGGER_SKIP, TRIGGER_REPLACE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct world world;
        begin(&world, rules, 2, (struct trigger_config){.mode = modes[i]});
        signal_and_run(&world);
        assert_int_equal(http_peer_count(world.peer, "GET", RUNS "1"), 1); /* queued */
        assert_int_equal(http_peer_count(world.peer, "GET", RUNS "2"), 1); /* starting */
        assert_int_equal(http_peer_count(world.peer, "GET", RUNS "3"), 1); /* running */
        assert_int_equal(http_peer_count(world.peer, "POST", NULL), 1);
        end(&world);
        must_have_logged(&world, "success", "started dbt job");
    }
}

static void a_job_that_is_busy_is_left_alone(void **state)
{
    static const char *const statuses[] = {RUNS "1", RUNS "2", RUNS "3"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        const struct http_rule rules[] = {
            {.target = statuses[i], .body = OK_BODY "\"data\":[{\"x\":{\"id\":1},\"id\":5}]}"},
            {.method = "GET", .body = NO_RUNS},
            {.method = "POST", .body = STARTED}};
        struct world world;
        begin(&world, rules, 3, (struct trigger_config){.mode = TRIGGER_SKIP});
        signal_and_run(&world);
        assert_int_equal(http_peer_count(world.peer, "POST", NULL), 0);
        end(&world);
        must_have_logged(&world, statuses[i], "running already");
    }
}

static void runs_are_cancelled_before_a_new_one(void **state)
{
    static const struct http_rule rules[] = {
        {.target = RUNS "1", .body = OK_BODY "\"data\":[{\"id\":9007199254740993},{\"id\":6}]}"},
        {.target = RUNS "2", .body = NO_RUNS},
        {.target = RUNS "3", .body = OK_BODY "\"data\":[{\"id\":6},{\"id\":8}]}"}, /* 6 moved on */
        {.target = "/cancel", .body = STARTED},
        {.target = RUN, .body = STARTED}};
    static const char *const targets[] = {"/api/v2/accounts/7/runs/9007199254740993/cancel",
                                          "/api/v2/accounts/7/runs/6/cancel",
                                          "/api/v2/accounts/7/runs/8/cancel", RUN};
    struct http_peer_request seen;
    struct world world;

    (void)state;
    begin(&world, rules, 5, (struct trigger_config){.mode = TRIGGER_REPLACE});
    signal_and_run(&world);
    assert_int_equal(http_peer_count(world.peer, "POST", NULL), 4);
    for (unsigned i = 0; i < ARRAY_LEN(targets); i++) {
        assert_true(http_peer_request(world.peer, "POST", NULL, i, &seen));
        assert_string_equal(seen.target, targets[i]);
    }
    end(&world);
    must_have_logged(&world, "success", "\"cancelledRuns\":3");
}

/* ---------------------------------------------------------------- what goes wrong */

static void failures_are_warnings(void **state)
{
    static const char failed[] = "{\"status\":{\"is_success\":false,\"user_message\":\"no "
                                 "\\\"such\\\" job\"},\"data\":null}";
    static const struct {
        const char *sentence;
        struct http_rule rule; /* before the rules of a good server */
        const char *part;
    } rows[] = {
        {"dbt says no",
         {.target = RUNS, .body = failed},
         "listing the runs of the job: HTTP status 200: no \\\"such\\\" job"},
        {"dbt says no with a status",
         {.target = RUN, .status = 404, .body = failed},
         "starting the job: HTTP status 404: no \\\"such\\\" job"},
        {"a good body with a bad status",
         {.target = RUN, .status = 500, .body = STARTED},
         "starting the job: HTTP status 500"},
        {"no status in the body", {.target = RUN, .body = "{}"}, "HTTP status 200, without"},
        {"a gateway's page",
         {.target = RUNS, .status = 502, .body = "<html>"},
         "listing the runs of the job: the answer of HTTP status 502 is not one of dbt"},
        {"an empty body", {.target = RUN, .body = ""}, "is not one of dbt"},
        {"half a body",
         {.target = RUNS, .body = OK_BODY "\"data\":[{\"id\":1}"},
         "is not one of dbt"},
        {"a run without a number",
         {.target = RUNS, .body = OK_BODY "\"data\":[{\"id\":\"x\"}]}"},
         "a run has no number"},
        {"a run that is none", {.target = RUNS, .body = OK_BODY "\"data\":[1]}"}, "has no number"},
        {"a redirect",
         {.target = RUN, .status = 302, .headers = "Location: /elsewhere\r\n", .body = STARTED},
         "HTTP status 302"},
        {"a reset", {.target = RUN, .way = HTTP_PEER_RESET}, "starting the job: "},
        {"an answer that is cut",
         {.target = RUN, .way = HTTP_PEER_CUT, .after_bytes = 20, .body = STARTED},
         "starting the job: "},
        {"a run that cannot be cancelled",
         {.target = "/cancel", .body = failed},
         "cancelling a run of the job: HTTP status 200: no"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct http_rule rules[] = {
            rows[i].rule,
            {.target = RUNS "3", .body = OK_BODY "\"data\":[{\"id\":5}]}"},
            {.body = NO_RUNS}};
        struct world world;
        begin(&world, rules, 3, (struct trigger_config){.mode = TRIGGER_REPLACE});
        signal_and_run(&world);
        end(&world);
        must_have_logged(&world, rows[i].sentence, "\"level\":\"warn\"");
        must_have_logged(&world, rows[i].sentence, "\"msg\":\"dbt job trigger failed\"");
        must_have_logged(&world, rows[i].sentence, rows[i].part);
        assert_null(strstr(world.text, "started dbt job"));
    }
}

static void a_server_that_is_not_there_is_a_warning(void **state)
{
    static const struct http_rule rules[] = {{.body = NO_RUNS}};
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.base_url = "http://127.0.0.1:1"});
    signal_and_run(&world);
    end(&world);
    must_have_logged(&world, "no server", "dbt job trigger failed");
}

static void a_key_that_would_break_the_request_is_not_sent(void **state)
{
    static const struct http_rule rules[] = {{.body = NO_RUNS}};
    struct secret *key = secret_new(SPAN_LIT("abc\r\nX-More: 1"));
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.api_key = key});
    signal_and_run(&world);
    assert_int_equal(http_peer_count(world.peer, NULL, NULL), 0);
    end(&world);
    must_have_logged(&world, "a key with a line break", "the API key has characters");
    assert_null(strstr(world.text, "X-More"));
    secret_free(key);
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
    static const struct http_rule rules[] = {{.way = HTTP_PEER_SILENCE}};
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.total_timeout_ms = 50});
    signal_and_run(&world);
    end(&world);
    must_have_logged(&world, "silence", "dbt job trigger failed");
}

/* ---------------------------------------------------------------- the interval */

static void a_second_signal_waits_for_its_interval(void **state)
{
    static const struct http_rule rules[] = {{.body = STARTED}};
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.mode = TRIGGER_IGNORE, .interval_ms = 20});
    signal_and_run(&world);
    assert_int_equal(http_peer_count(world.peer, "POST", RUN), 1);
    trigger_signal(world.trigger);
    trigger_signal(world.trigger);
    signal_and_run(&world); /* the waiting timer keeps the loop alive: it ends after the run */
    assert_int_equal(http_peer_count(world.peer, "POST", RUN), 2);
    end(&world);
}

static bool was_asked(struct world *world)
{
    return http_peer_count(world->peer, NULL, NULL) > 0;
}

static void closing_does_not_wait_for_the_interval(void **state)
{
    static const struct http_rule rules[] = {{.body = STARTED}};
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.mode = TRIGGER_IGNORE});
    signal_and_run(&world);
    trigger_signal(world.trigger);
    run_and_close_when(&world, was_asked); /* an hour would exceed any deadline */
    assert_true(world.is_closed);
    assert_int_equal(http_peer_count(world.peer, "POST", RUN), 1);
    end(&world);
}

static void closing_gives_a_call_up(void **state)
{
    static const struct http_rule rules[] = {{.way = HTTP_PEER_SILENCE}};
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.mode = TRIGGER_IGNORE});
    trigger_signal(world.trigger);
    run_and_close_when(&world, was_asked);
    assert_true(world.is_closed);
    end(&world);
    assert_null(strstr(world.text, "dbt job trigger failed")); /* our own doing is no failure */
}

static void closing_without_a_signal_is_quiet(void **state)
{
    static const struct http_rule rules[] = {{.body = STARTED}};
    struct world world;

    (void)state;
    begin(&world, rules, 1, (struct trigger_config){.mode = TRIGGER_SKIP});
    end(&world);
    assert_string_equal(world.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_started_by_one_request),
        cmocka_unit_test(what_a_person_wrote_is_escaped),
        cmocka_unit_test(without_a_running_job_one_is_started),
        cmocka_unit_test(a_job_that_is_busy_is_left_alone),
        cmocka_unit_test(runs_are_cancelled_before_a_new_one),
        cmocka_unit_test(failures_are_warnings),
        cmocka_unit_test(a_server_that_is_not_there_is_a_warning),
        cmocka_unit_test(a_key_that_would_break_the_request_is_not_sent),
        cmocka_unit_test(a_server_that_says_nothing_is_given_up),
        cmocka_unit_test(a_second_signal_waits_for_its_interval),
        cmocka_unit_test(closing_does_not_wait_for_the_interval),
        cmocka_unit_test(closing_gives_a_call_up),
        cmocka_unit_test(closing_without_a_signal_is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
