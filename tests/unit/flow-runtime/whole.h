/* Whole runs against the connector in tests/data/flow-runtime: each in a folder of its own. */
#ifndef TEST_FLOW_RUNTIME_WHOLE_H
#define TEST_FLOW_RUNTIME_WHOLE_H

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "harness.h"
#include "run.h"

#define CONNECTOR TEST_DATA "/flow-runtime/fake_connector.py"

struct whole {
    char dir[64];
    char state[96], dump[96], store[96], log[96];
    struct fr_options options;
    char verdict[1024];
    unsigned kills, restarts, sessions;
    uint64_t loads, loaded, transactions, documents;
};

static inline void whole_begin(struct whole *whole, const char *flaw)
{
    memset(whole, 0, sizeof(*whole));
    (void)snprintf(whole->dir, sizeof(whole->dir), "/tmp/flow-runtime-test-XXXXXX");
    assert_non_null(mkdtemp(whole->dir));
    (void)snprintf(whole->state, sizeof(whole->state), "%s/state", whole->dir);
    (void)snprintf(whole->dump, sizeof(whole->dump), "%s/dump", whole->dir);
    (void)snprintf(whole->store, sizeof(whole->store), "%s/store", whole->dir);
    (void)snprintf(whole->log, sizeof(whole->log), "%s/log", whole->dir);
    (void)setenv("FAKE_STORE", whole->store, 1);
    (void)setenv("FAKE_FLAW", flaw, 1);
    whole->options = (struct fr_options){.catalog = TEST_DATA "/flow-runtime/catalog.json",
                                         .fixture = TEST_DATA "/flow-runtime/fixture.jsonl",
                                         .state_dir = whole->state,
                                         .dump = whole->dump,
                                         .log = whole->log,
                                         .connector = CONNECTOR,
                                         .codec_given = true,
                                         .pretty = true,
                                         .until = FR_UNTIL_ALL,
                                         .early = FR_EARLY_SOME,
                                         .seed = 1,
                                         .merge_commits = 1,
                                         .timeout_s = 60,
                                         .log_level = "info"};
}

static inline void whole_kill_at(struct whole *whole, const char *point, unsigned count)
{
    struct fr_kill *rule = &whole->options.kills[whole->options.kill_count++];
    (void)snprintf(rule->point, sizeof(rule->point), "%s", point);
    rule->count = count;
}

static inline enum fr_end whole_run(struct whole *whole)
{
    struct fr_run *run = fr_realloc(NULL, sizeof(*run));
    struct fr_buf summary = {0};
    memset(run, 0, sizeof(*run));
    run->options = whole->options;
    enum fr_end end = fr_run(run, &summary);
    (void)snprintf(whole->verdict, sizeof(whole->verdict), "%s",
                   run->verdict.len > 0 ? run->verdict.data : "");
    whole->kills = run->kills;
    whole->restarts = run->restarts;
    whole->sessions = run->sessions;
    whole->loads = run->loads;
    whole->loaded = run->loaded;
    whole->transactions = run->transactions;
    whole->documents = run->documents;
    fr_run_done(run);
    fr_realloc(run, 0);
    fr_buf_done(&summary);
    return end;
}

/* Folders here are two levels deep. */
static inline void whole_remove(const char *dir)
{
    DIR *list = opendir(dir);
    for (struct dirent *entry = NULL; list != NULL && (entry = readdir(list)) != NULL;) {
        struct fr_buf path = {0};
        fr_buf_printf(&path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path.data) != 0) {
            whole_remove(path.data);
        }
        fr_buf_done(&path);
    }
    if (list != NULL) {
        closedir(list);
    }
    (void)rmdir(dir);
}

static inline void whole_end(struct whole *whole)
{
    whole_remove(whole->dir);
}

static inline int whole_compare(const void *left, const void *right)
{
    const struct fr_json *const *l = left;
    const struct fr_json *const *r = right;
    return fr_json_compare(*l, *r);
}

static inline void
expect_same_rows(const char *sentence, struct fr_json *expected, struct fr_json *got)
{
    if (expected->count > 0) {
        qsort(expected->items, expected->count, sizeof(struct fr_json *), whole_compare);
    }
    if (got->count > 0) {
        qsort(got->items, got->count, sizeof(struct fr_json *), whole_compare);
    }
    if (!fr_json_equal(expected, got)) {
        struct fr_buf text = {0};
        fr_json_put(&text, expected);
        fr_buf_puts(&text, "\ntable: ");
        fr_json_put(&text, got);
        fail_msg("%s: expected %s", sentence, text.data);
    }
}

/* The documents of one dumped table. */
static inline struct fr_json *
whole_dumped(struct whole *whole, struct fr_arena *arena, unsigned binding)
{
    char path[128];
    struct fr_buf text = {0};
    struct fr_json *list = fr_json_new(arena, FR_ARRAY);
    (void)snprintf(path, sizeof(path), "%s/%u.jsonl", whole->dump, binding);
    assert_true(fr_file_read(path, &text));
    for (size_t at = 0; at < text.len;) {
        struct fr_json *row = NULL;
        const char *error = NULL;
        size_t used = fr_json_read(arena, text.data + at, text.len - at, &row, &error);
        assert_true(used > 0);
        fr_json_push(arena, list, fr_json_get(row, "flow_document"));
        at += used + 1;
    }
    fr_buf_done(&text);
    return list;
}

/* The tables in the connector's file are what the oracle says. */
static inline void whole_expect_tables(struct whole *whole, const char *sentence)
{
    static const char *const tables[] = {"public/orders", NULL, "public/events"};
    struct fr_arena arena = {0};
    struct fr_buf text = {0};
    assert_true(fr_file_read(whole->store, &text));
    struct fr_json *store = parse(&arena, text.data);
    for (unsigned i = 0; i < 3; i++) {
        struct fr_json *got = fr_json_new(&arena, FR_ARRAY);
        if (tables[i] == NULL) {
            got = fr_json_get(fr_json_get(store, "rows"), "public/orders_delta");
        } else {
            const struct fr_json *table = fr_json_get(fr_json_get(store, "tables"), tables[i]);
            for (uint32_t k = 0; k < table->count; k++) {
                fr_json_push(&arena, got, table->members[k].value);
            }
        }
        expect_same_rows(sentence, whole_dumped(whole, &arena, i), got);
    }
    fr_buf_done(&text);
    fr_arena_done(&arena);
}

#endif
