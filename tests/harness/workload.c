/* harness/workload: see workload.h. In: a seed. Out: catalog, fixture, the list of events. */

#include "harness/extras.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN 40        /* accounts that live long */
#define GHOSTS 4        /* accounts that only ever see a tombstone */
#define FLASHES 3       /* accounts that open and close within one group */
#define MARKER PLAIN    /* and one for the marker */
#define GROUP_EVENTS 14 /* transfers and closes in one group, in pairs */

static const char merged_begins[] =
    "{\"collections\":{"
    "\"acme/merged\":{\"key\":[\"/id\"],\"schema\":{\"type\":\"object\","
    "\"reduce\":{\"strategy\":\"merge\"},\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"string\"},"
    "\"seq\":{\"type\":\"integer\"},"
    "\"balance_delta\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"n\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"fp\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"sum\"}},"
    "\"oracle_balance\":{\"type\":\"integer\"},"
    "\"oracle_n\":{\"type\":\"integer\"},"
    "\"oracle_fp\":{\"type\":\"integer\"},"
    "\"group\":{\"type\":\"integer\",\"reduce\":{\"strategy\":\"maximize\"}},"
    "\"note\":{\"type\":\"string\"},";
static const char collections_end[] =
    "\"_meta\":{\"type\":\"object\",\"properties\":{\"op\":{\"type\":\"string\"},"
    "\"uuid\":{\"type\":\"string\"}}}},"
    "\"if\":{\"properties\":{\"_meta\":{\"properties\":{\"op\":{\"const\":\"d\"}},"
    "\"required\":[\"op\"]}},\"required\":[\"_meta\"]},"
    "\"then\":{\"reduce\":{\"strategy\":\"merge\",\"delete\":true}}}},"
    "\"acme/log\":{\"key\":[\"/id\",\"/seq\"],\"schema\":{\"type\":\"object\","
    "\"required\":[\"id\",\"seq\"],\"properties\":{\"id\":{\"type\":\"string\"},"
    "\"seq\":{\"type\":\"integer\"},\"balance_delta\":{\"type\":\"integer\"},"
    "\"group\":{\"type\":\"integer\"}}}}";
static const char materialization[] =
    "},"
    "\"materializations\":{\"acme/ledger\":{"
    "\"endpoint\":{\"local\":{\"command\":[\"materialize-redshift\"],\"config\":{}}},"
    "\"bindings\":["
    "{\"source\":\"acme/merged\",\"resource\":{\"table\":\"accounts\"},"
    "\"fields\":{\"recommended\":true,\"require\":{\"flow_document\":{}}}},"
    "{\"source\":\"acme/merged\",\"resource\":{\"table\":\"accounts_delta\","
    "\"delta_updates\":true},\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/log\",\"resource\":{\"table\":\"events\",\"delta_updates\":true},"
    "\"fields\":{\"recommended\":true}},"
    "{\"source\":\"acme/log\",\"resource\":{\"table\":\"events_std\"},"
    "\"fields\":{\"recommended\":true}}";
static const char catalog_ends[] = "]}}}\n";

static const char *write_catalog(struct story *story, unsigned extras)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out) {
        abort();
    }
    fputs(merged_begins, out);
    extras_put_properties(out, extras);
    fputs(collections_end, out);
    extras_put_collections(out, extras);
    fputs(materialization, out);
    extras_put_bindings(out, extras);
    fputs(catalog_ends, out);
    fclose(out);
    const char *path = story_write(story, "catalog.json", text);
    free(text);
    return path;
}

struct maker {
    struct workload *work;
    struct account accounts[WORKLOAD_ACCOUNTS];
    FILE *log; /* the group's documents of the log collection, behind those of the other */
    FILE *fixture;
    uint64_t random;
    unsigned group, documents, cap, note_len;
};

static unsigned pick(struct maker *maker, unsigned below)
{
    maker->random = maker->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(maker->random >> 33) % below;
}

/* 30 bits that depend on the whole event. */
static int64_t fingerprint(const char *id, unsigned seq, int64_t change)
{
    uint64_t hash = 1469598103934665603ULL ^ seq;

    for (; *id; id++) {
        hash = (hash ^ (unsigned char)*id) * 1099511628211ULL;
    }
    hash = (hash ^ (uint64_t)change) * 1099511628211ULL;
    return (int64_t)(hash >> 34);
}

static void note_event(struct maker *maker, const struct event *event)
{
    struct workload *work = maker->work;

    if (work->event_count == maker->cap) {
        maker->cap = maker->cap ? maker->cap * 2 : 256;
        work->events = realloc(work->events, maker->cap * sizeof *event);
        if (!work->events) {
            abort();
        }
    }
    work->events[work->event_count++] = *event;
}

static void put_event(struct maker *maker, unsigned index, int64_t change, bool closes)
{
    struct account *account = &maker->accounts[index];
    const char *id = maker->work->ids[index];
    char note[512];
    struct event event = {.account = index,
                          .seq = ++account->seq,
                          .group = maker->group,
                          .change = change,
                          .closes = closes,
                          .note_len = maker->note_len};

    event.n = closes ? -account->n : 1;
    event.fp = closes ? -account->fp : fingerprint(id, account->seq, change);
    account->balance += change;
    account->n += event.n;
    account->fp += event.fp;
    account->is_closed = closes;
    memset(note, 'n', sizeof note);
    note[maker->note_len] = '\0';
    fprintf(maker->fixture,
            "[\"acme/merged\",{\"id\":\"%s\",\"seq\":%u,\"balance_delta\":%" PRId64
            ",\"n\":%" PRId64 ",\"fp\":%" PRId64 ",\"oracle_balance\":%" PRId64
            ",\"oracle_n\":%" PRId64 ",\"oracle_fp\":%" PRId64
            ",\"group\":%u,\"note\":\"%s\",\"_meta\":{\"op\":\"%s\"}",
            id, event.seq, change, event.n, event.fp, account->balance, account->n, account->fp,
            maker->group, note,
            closes            ? "d"
            : account->n == 1 ? "c"
                              : "u");
    extras_put_members(maker->fixture, maker->work->extras, index, event.seq);
    fputs("}]\n", maker->fixture);
    fprintf(maker->log,
            "[\"acme/log\",{\"id\":\"%s\",\"seq\":%u,\"balance_delta\":%" PRId64
            ",\"group\":%u}]\n",
            id, event.seq, change, maker->group);
    note_event(maker, &event);
}

static void put_transfer(struct maker *maker, unsigned from, unsigned to, int64_t amount)
{
    put_event(maker, from, -amount, false);
    put_event(maker, to, amount, false);
}

/* Emptied towards another account, then closed. */
static void put_close(struct maker *maker, unsigned index, unsigned to)
{
    put_transfer(maker, index, to, maker->accounts[index].balance);
    put_event(maker, index, 0, true);
}

/* Accounts come into being by and by, so that each transaction has rows to insert and to change.
 * The first three are in every group. */
static void put_group(struct maker *maker)
{
    unsigned known = 8 + (PLAIN - 8) * maker->group / maker->work->groups;
    char *text = NULL;
    size_t size = 0;

    maker->log = open_memstream(&text, &size);
    if (!maker->log) {
        abort();
    }
    unsigned first = maker->work->event_count;
    put_event(maker, MARKER, 0, false);
    for (unsigned i = 0; i < GROUP_EVENTS / 2; i++) {
        unsigned from = i < 3 ? i : pick(maker, known);
        unsigned to = i == 3 ? known - 1 : pick(maker, known);
        if (from != to) {
            put_transfer(maker, from, to, (int64_t)pick(maker, 2000));
        }
    }
    /* What is closed in one group is opened again in the next. */
    unsigned closing = 3 + maker->group % 4, opening = 3 + (maker->group + 3) % 4;
    if (maker->accounts[opening].is_closed) {
        put_transfer(maker, 0, opening, (int64_t)pick(maker, 500));
    }
    if (maker->accounts[closing].seq > 0 && !maker->accounts[closing].is_closed) {
        put_close(maker, closing, 1);
    }
    if (maker->group % 3 == 1) {
        put_event(maker, MARKER + 1 + maker->group / 3 % GHOSTS, 0, true);
    }
    if (maker->group % 3 == 2) {
        unsigned flash = MARKER + 1 + GHOSTS + maker->group / 3 % FLASHES;
        put_transfer(maker, 2, flash, (int64_t)pick(maker, 90));
        put_close(maker, flash, 2);
    }
    fclose(maker->log);
    fputs(text, maker->fixture);
    free(text);
    maker->documents += 2 * (maker->work->event_count - first);
    maker->documents +=
        extras_put_group(maker->fixture, maker->work, maker->group, maker->documents);
    maker->work->documents_after[maker->group] = maker->documents;
}

static void name_accounts(struct workload *work)
{
    for (unsigned i = 0; i < WORKLOAD_ACCOUNTS; i++) {
        if (i < PLAIN) {
            snprintf(work->ids[i], sizeof work->ids[i], "acct-%04u", i);
        } else if (i == MARKER) {
            snprintf(work->ids[i], sizeof work->ids[i], "marker");
        } else if (i <= MARKER + GHOSTS) {
            snprintf(work->ids[i], sizeof work->ids[i], "ghost-%02u", i);
        } else {
            snprintf(work->ids[i], sizeof work->ids[i], "flash-%02u", i);
        }
    }
}

void workload_make(struct story *story, const struct workload_plan *plan, struct workload *ret)
{
    struct maker *maker = calloc(1, sizeof *maker);

    *ret = (struct workload){.catalog = write_catalog(story, plan->extras),
                             .fixture = story_path(story, "fixture.jsonl"),
                             .groups = plan->transactions * 2,
                             .hard_delete = plan->hard_delete,
                             .extras = plan->extras};
    ret->documents_after = calloc(ret->groups + 1, sizeof *ret->documents_after);
    ret->filled_at = calloc(ret->groups + 1, sizeof *ret->filled_at);
    if (!maker || !ret->documents_after || !ret->filled_at) {
        abort();
    }
    name_accounts(ret);
    maker->work = ret;
    maker->random = plan->seed * 2654435761ULL + 7;
    maker->fixture = fopen(ret->fixture, "w");
    if (!maker->fixture) {
        abort();
    }
    /* Two groups are a transaction as long as nothing happens. */
    for (maker->group = 1; maker->group <= ret->groups; maker->group++) {
        /* Longer than a TEXT column is at first, from the middle on. */
        maker->note_len = maker->group > ret->groups / 2 ? 300 : 20;
        put_group(maker);
        if (maker->group % 2 == 0) {
            fputs("{\"commit\": true}\n", maker->fixture);
        }
    }
    fclose(maker->fixture);
    free(maker);
}

void workload_done(struct workload *work)
{
    free(work->events);
    free(work->documents_after);
    free(work->filled_at);
}

unsigned workload_group(const struct workload *work, uint64_t documents)
{
    unsigned group = 0;

    while (group < work->groups && work->documents_after[group + 1] <= documents) {
        group++;
    }
    return group;
}

int workload_find(const struct workload *work, const char *id)
{
    for (int i = 0; i < WORKLOAD_ACCOUNTS; i++) {
        if (strcmp(work->ids[i], id) == 0) {
            return i;
        }
    }
    return -1;
}

void workload_accounts(const struct workload *work,
                       uint64_t documents,
                       struct account ret[WORKLOAD_ACCOUNTS])
{
    unsigned last = workload_group(work, documents);

    memset(ret, 0, WORKLOAD_ACCOUNTS * sizeof *ret);
    for (unsigned i = 0; i < work->event_count && work->events[i].group <= last; i++) {
        const struct event *event = &work->events[i];
        struct account *account = &ret[event->account];
        snprintf(account->id, sizeof account->id, "%s", work->ids[event->account]);
        account->balance += event->change;
        account->n += event->n;
        account->fp += event->fp;
        account->seq = event->seq;
        account->group = event->group;
        account->is_closed = event->closes;
        account->note_len = event->note_len;
        account->is_ghost = strncmp(account->id, "ghost", 5) == 0;
    }
}
