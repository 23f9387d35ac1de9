/* connector/measure: the table of metrics follows Prometheus' rules, and people's list is the same.
 */

#include "connector/connector.h"

#include "base/buf.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIST TEST_DATA "/../../deploy/metrics.md"
#define LIST_BEGIN "| name | kind | meaning |\n|---|---|---|\n"

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void names_follow_the_rules(void **state)
{
    unsigned count;
    const struct metric *metrics = connector_metrics(&count);

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        const char *name = metrics[i].name;
        assert_non_null(name);
        for (const char *at = name; *at; at++) {
            if (!islower((unsigned char)*at) && !isdigit((unsigned char)*at) && *at != '_') {
                fail_msg("%s: %c", name, *at);
            }
        }
        if ((metrics[i].kind == METRIC_COUNTER) != ends_with(name, "_total")) {
            fail_msg("%s: _total is for counters, and for all of them", name);
        }
        if (metrics[i].scale == METRIC_MS && !ends_with(name, "_seconds") &&
            !ends_with(name, "_seconds_total")) {
            fail_msg("%s: a duration is in seconds, and says so", name);
        }
        if (!metrics[i].meaning[0] || strchr(metrics[i].meaning, '\n') ||
            strchr(metrics[i].meaning, '|')) {
            fail_msg("%s: \"%s\" is no meaning in one line", name, metrics[i].meaning);
        }
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(name, metrics[k].name) == 0) {
                fail_msg("%s is there twice", name);
            }
        }
    }
}

static void the_list_for_people_is_the_table(void **state)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    unsigned count;
    const struct metric *metrics = connector_metrics(&count);
    FILE *file = fopen(LIST, "r");
    char *text = calloc(1, 1 << 20);
    struct buf wanted;

    (void)state;
    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    (void)fclose(file);
    buf_init(&wanted, 1 << 20);
    buf_add_str(&wanted, LIST_BEGIN);
    for (unsigned i = 0; i < count; i++) {
        buf_printf(&wanted, "| `%s` | %s | %s |\n", metrics[i].name, kinds[metrics[i].kind],
                   metrics[i].meaning);
    }
    buf_add_byte(&wanted, '\n');
    if (!strstr(text, wanted.data)) {
        /* cmocka's own messages are cut. */
        (void)fprintf(stderr, "deploy/metrics.md has to have this list:\n%s", wanted.data);
        fail();
    }
    buf_done(&wanted);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_follow_the_rules),
        cmocka_unit_test(the_list_for_people_is_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
