/* support/story_ledger: see story_ledger.h. In: how much. Out: catalog, fixture, expectation. */

#include "support/story_ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char catalog[] =
    "{\"collections\":{"
    "\"acme/accounts\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"string\"},"
    "\"seq\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"maximize\"}},"
    "\"balance\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"note\":{\"type\":\"string\"},"
    "\"_meta\":{\"type\":\"object\",\"properties\":{\"op\":{\"type\":\"string\"},"
    "\"uuid\":{\"type\":\"string\"}}}},"
    "\"if\":{\"properties\":{\"_meta\":{\"properties\":{\"op\":{\"const\":\"d\"}},"
    "\"required\":[\"op\"]}},\"required\":[\"_meta\"]},"
    "\"then\":{\"reduce\":{\"strategy\":\"merge\",\"delete\":true}}}},"
    "\"acme/events\":{\"key\":[\"/id\",\"/seq\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\",\"seq\"],\"properties\":{\"id\":{\"type\":\"string\"},"
    "\"seq\":{\"type\":\"integer\"},\"balance\":{\"type\":\"integer\"}}}}},"
    "\"materializations\":{\"acme/ledger\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":["
    "{\"source\":\"acme/accounts\",\"resource\":{\"table\":\"accounts\"},"
    "\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/accounts\",\"resource\":{\"table\":\"accounts_delta\","
    "\"delta_updates\":true},\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/events\",\"resource\":{\"table\":\"events\",\"delta_updates\":true},"
    "\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/events\",\"resource\":{\"table\":\"events_std\"},"
    "\"fields\":{\"recommended\":true}}]}}}\n";

struct account {
    int64_t balance, n; /* of what is open */
    unsigned seq;
    bool was_there;
};

struct maker {
    struct account accounts[LEDGER_ACCOUNTS];
    int64_t changes[LEDGER_ACCOUNTS][4096]; /* by account and seq - 1 */
    FILE *fixture;
    uint32_t random;
    unsigned documents;
};

static unsigned pick(struct maker *maker, unsigned below)
{
    maker->random = maker->random * 1664525U + 1013904223U;
    return (maker->random >> 8) % below;
}

static void
put_event(struct maker *maker, unsigned index, int64_t change, bool closes, const char *note)
{
    struct account *account = &maker->accounts[index];
    int64_t n = closes ? -account->n : 1;

    if (closes) {
        change = -account->balance;
    }
    account->seq++;
    account->balance += change;
    account->n += n;
    account->was_there = true;
    maker->changes[index][account->seq - 1] = change;
    fprintf(maker->fixture,
            "[\"acme/accounts\",{\"id\":\"acct-%02u\",\"seq\":%u,\"balance\":%" PRId64
            ",\"n\":%" PRId64 ",\"note\":\"%s\",\"_meta\":{\"op\":\"%s\"}}]\n",
            index, account->seq, change, n, note,
            closes             ? "d"
            : account->seq > 1 ? "u"
                               : "c");
    fprintf(maker->fixture,
            "[\"acme/events\",{\"id\":\"acct-%02u\",\"seq\":%u,\"balance\":%" PRId64 "}]\n", index,
            account->seq, change);
    maker->documents += 2;
}

/* Accounts come into being by and by, so that each transaction has rows to insert and to change. */
static void
put_transaction(struct maker *maker, const struct ledger_plan *plan, unsigned transaction)
{
    unsigned known = 6 + (LEDGER_ACCOUNTS - 6) * (transaction + 1) / plan->transactions;
    char note[400];

    /* One transaction's notes are longer than a TEXT column is at first. */
    memset(note, 'n', sizeof note);
    note[transaction == 2 ? 300 : 20] = '\0';
    for (unsigned i = 0; i < plan->events; i++) {
        unsigned index = i % 5 == 0 ? known - 1 - i / 5 % 3 : pick(maker, known);
        bool closes = transaction > 0 && i % 7 == 3 && maker->accounts[index].n > 0;
        put_event(maker, index, (int64_t)pick(maker, 2000) - 1000, closes, note);
    }
    fputs("{\"commit\": true}\n", maker->fixture);
}

static void put_sums(FILE *out, const struct maker *maker, const char *table, bool open_ones)
{
    for (unsigned i = 0; i < LEDGER_ACCOUNTS; i++) {
        const struct account *account = &maker->accounts[i];
        if (account->was_there && (!open_ones || account->n > 0)) {
            fprintf(out, "%s|acct-%02u|%u|%" PRId64 "|%" PRId64 "\n", table, i,
                    strcmp(table, "accounts") == 0 ? account->seq : 0, account->balance,
                    account->n);
        }
    }
}

static void put_changes(FILE *out, const struct maker *maker, const char *table)
{
    for (unsigned i = 0; i < LEDGER_ACCOUNTS; i++) {
        for (unsigned seq = 1; seq <= maker->accounts[i].seq; seq++) {
            fprintf(out, "%s|acct-%02u|%u|%" PRId64 "|1\n", table, i, seq,
                    maker->changes[i][seq - 1]);
        }
    }
}

static const char *count_up(struct story *story, const struct maker *maker, bool hard_delete)
{
    size_t size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (!out) {
        abort();
    }
    put_sums(out, maker, "accounts", hard_delete);
    if (!hard_delete) {
        put_sums(out, maker, "accounts_delta", false);
    }
    put_changes(out, maker, "events");
    put_changes(out, maker, "events_std");
    fclose(out);
    const char *copy = story_text(story, "%s", text);
    free(text);
    return copy;
}

void ledger_make(struct story *story, const struct ledger_plan *plan, struct ledger *ret)
{
    struct maker *maker = calloc(1, sizeof *maker);

    if (!maker || plan->events * plan->transactions > 4096) {
        abort();
    }
    ret->fixture = story_path(story, "fixture.jsonl");
    ret->catalog = story_write(story, "catalog.json", catalog);
    maker->fixture = fopen(ret->fixture, "w");
    maker->random = 7;
    if (!maker->fixture) {
        abort();
    }
    for (unsigned i = 0; i < plan->transactions; i++) {
        put_transaction(maker, plan, i);
    }
    fclose(maker->fixture);
    ret->documents = maker->documents;
    ret->hard_delete = plan->hard_delete;
    ret->wanted = count_up(story, maker, plan->hard_delete);
    free(maker);
}

char *ledger_read(struct story *story, const struct ledger *ledger)
{
    const char *s = story->schema;
    const char *delta =
        ledger->hard_delete
            ? ""
            : story_text(story,
                         " UNION ALL SELECT 'accounts_delta', id, 0, SUM(balance), SUM(n) FROM "
                         "%s.accounts_delta GROUP BY id",
                         s);

    return story_query(
        story, story_text(story,
                          "SELECT 'accounts', id, seq, balance, n FROM %s.accounts UNION ALL "
                          "SELECT 'events', id, seq, balance, 1 FROM %s.events UNION ALL "
                          "SELECT 'events_std', id, seq, balance, 1 FROM %s.events_std%s "
                          "ORDER BY 1, 2, 3, 4, 5",
                          s, s, s, delta));
}
