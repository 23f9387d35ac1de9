/* The command line of the played runtime. Exit codes are those of enum fr_end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

static const char usage[] =
    "usage: flow-runtime --catalog F (--fixture F | --generate N,BYTES[,U[,D]]) --state DIR "
    "[options]\n"
    "  --connector PATH          program to drive (default: the catalog's local command)\n"
    "  --materialization NAME    which one of the catalog (default: the only one)\n"
    "  --config F                endpoint configuration, replaces the catalog's\n"
    "  --codec json|proto        default: as the catalog's \"protobuf\" says, else json\n"
    "  --mode v1|v2              which runtime is played (default v1)\n"
    "  --until spec|validate|apply|all\n"
    "  --early-loads none|some|all   Loads sent before Acknowledged (default some)\n"
    "  --force-loads             Load keys even when they are known to be new\n"
    "  --merge-commits N         fixture transactions joined into one\n"
    "  --max-transactions N      stop after N commits\n"
    "  --generate N,BYTES[,U[,D]]  repeatable, a transaction each; U and D percent of the N are\n"
    "                            updates and deletions of keys of earlier ones\n"
    "  --text letters|words|records    what they are made of: random letters, words of a "
    "language;\n"
    "                            records: words, and arrays are of objects (default letters)\n"
    "  --documents-per-transaction N   cuts what is generated\n"
    "  --finds-nothing           the destination answers no Load (with --generate)\n"
    "  --ending drained|not-drained    is the last transaction acknowledged? (default drained)\n"
    "  --same-boundaries         replay after a crash in the same transactions\n"
    "  --group POINTER           documents with equal values here are never separated\n"
    "  --hard-delete yes|no      what tombstones do (default: the configuration's hardDelete)\n"
    "  --compact                 embedded JSON without line breaks\n"
    "  --apply-again             Validate and Apply although the specification is applied\n"
    "  --shards N                processes that divide the keys (v2, default 1)\n"
    "  --topology N,N,...        shards of each session in turn, the last for all that follow\n"
    "  --session-commits N       a session ends after N commits and the next one begins\n"
    "  --session-ending drained|not-drained|alternate   how (default not-drained)\n"
    "  --kill-at POINT[#n][+ms][@shard]   SIGKILL the connector there, repeatable\n"
    "  --arm N                   count kill points only after N commits\n"
    "  --kill-file F             this file explains one death of the connector, repeatable\n"
    "  --observer SOCKET         tell an onlooker what was promised and acknowledged\n"
    "  --max-restarts N          unexplained deaths that are survived (default 20)\n"
    "  --timeout S               longest silence of the connector (default 120)\n"
    "  --seed N  --log F  --log-level L  --report F  --dump-expected DIR\n"
    "exit: 0 ok, 1 usage, 2 connector failed, 3 protocol violation, 4 model mismatch\n";

static bool parse_number(const char *text, uint64_t *ret)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool parse_small(const char *text, unsigned *ret)
{
    uint64_t value = 0;
    if (!parse_number(text, &value) || value > 1000000000) {
        return false;
    }
    *ret = (unsigned)value;
    return true;
}

/* The index of a word in a list that ends with NULL, or -1. */
static int find_word(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

static bool is_known_point(const char *point)
{
    static const char *const requests[] = {"spec",        "validate", "apply", "open",
                                           "load",        "flush",    "store", "startCommit",
                                           "acknowledge", NULL};
    static const char *const responses[] = {"spec",          "validated",    "applied",
                                            "opened",        "loaded",       "flushed",
                                            "startedCommit", "acknowledged", NULL};
    static const char *const logged[] = {"applied", "acknowledged", "flushed", "commit", NULL};
    char name[40];
    const char *dot = strchr(point, '.');
    if (dot == NULL || (size_t)(dot - point) >= sizeof(name)) {
        return false;
    }
    memcpy(name, point, (size_t)(dot - point));
    name[dot - point] = '\0';
    if (strcmp(dot, ".before") == 0 || strcmp(dot, ".sent") == 0) {
        return find_word(name, requests) >= 0;
    }
    return (strcmp(dot, ".received") == 0 && find_word(name, responses) >= 0) ||
           (strcmp(dot, ".logged") == 0 && find_word(name, logged) >= 0);
}

static bool parse_kill(struct fr_options *options, const char *text)
{
    if (options->kill_count == FR_MAX_KILLS) {
        return false;
    }
    struct fr_kill *rule = &options->kills[options->kill_count];
    size_t len = strcspn(text, "#+@");
    if (len >= sizeof(rule->point)) {
        return false;
    }
    memcpy(rule->point, text, len);
    rule->point[len] = '\0';
    rule->count = 1;
    text += len;
    char *end = NULL;
    if (*text == '#') {
        rule->count = (unsigned)strtoul(text + 1, &end, 10);
        text = end;
    }
    if (*text == '+') {
        rule->delay_ms = (unsigned)strtoul(text + 1, &end, 10);
        text = end;
    }
    if (*text == '@') {
        unsigned shard = 0;
        if (!parse_small(text + 1, &shard) || shard >= FR_MAX_SHARDS) {
            return false;
        }
        rule->shard = shard + 1;
        text = "";
    }
    options->kill_count++;
    return *text == '\0' && rule->count > 0 && is_known_point(rule->point);
}

static bool parse_topology(struct fr_options *options, const char *text)
{
    while (options->topology_count < FR_MAX_SESSIONS) {
        char *end = NULL;
        unsigned long count = strtoul(text, &end, 10);
        if (end == text || count == 0 || count > FR_MAX_SHARDS) {
            return false;
        }
        options->topology[options->topology_count++] = (unsigned)count;
        if (*end == '\0') {
            return true;
        }
        if (*end != ',') {
            return false;
        }
        text = end + 1;
    }
    return false;
}

static bool parse_generate(struct fr_options *options, const char *text)
{
    uint64_t numbers[4] = {0};
    size_t count = 0;
    char *end = NULL;
    for (const char *at = text; count < 4; at = end + 1) {
        numbers[count++] = strtoull(at, &end, 10);
        if (end == at || *end != ',') {
            break;
        }
    }
    if (count < 2 || *end != '\0' || numbers[0] == 0 || options->part_count == FR_MAX_PARTS) {
        return false;
    }
    options->parts[options->part_count++] =
        (struct fr_part){numbers[0], numbers[1], numbers[2], numbers[3]};
    /* The next part writes the same keys again, which no transaction may do. */
    options->same_boundaries = options->same_boundaries || options->part_count > 1;
    return true;
}

static bool parse_choice(struct fr_options *options, const char *name, const char *value)
{
    static const char *const codecs[] = {"json", "proto", NULL};
    static const char *const modes[] = {"v1", "v2", NULL};
    static const char *const untils[] = {"spec", "validate", "apply", "all", NULL};
    static const char *const earlies[] = {"none", "some", "all", NULL};
    static const char *const endings[] = {"drained", "not-drained", NULL};
    static const char *const turns[] = {"not-drained", "drained", "alternate", NULL};
    static const char *const texts[] = {"letters", "words", "records", NULL};
    static const char *const answers[] = {"no", "yes", NULL};
    int index = -1;

    if (strcmp(name, "--codec") == 0) {
        index = find_word(value, codecs);
        options->codec = index == 1 ? FR_CODEC_PROTO : FR_CODEC_JSON;
        options->codec_given = true;
    } else if (strcmp(name, "--mode") == 0) {
        index = find_word(value, modes);
        options->is_v2 = index == 1;
    } else if (strcmp(name, "--until") == 0) {
        index = find_word(value, untils);
        options->until = index < 0 ? FR_UNTIL_ALL : (enum fr_until)index;
    } else if (strcmp(name, "--early-loads") == 0) {
        index = find_word(value, earlies);
        options->early = index < 0 ? FR_EARLY_NONE : (enum fr_early)index;
    } else if (strcmp(name, "--ending") == 0) {
        index = find_word(value, endings);
        options->not_drained = index == 1;
    } else if (strcmp(name, "--session-ending") == 0) {
        index = find_word(value, turns);
        options->turn = index < 0 ? FR_TURN_NOT_DRAINED : (enum fr_turn)index;
    } else if (strcmp(name, "--text") == 0) {
        index = find_word(value, texts);
        options->text = index < 0 ? FR_LETTERS : (enum fr_text)index;
    } else if (strcmp(name, "--hard-delete") == 0) {
        index = find_word(value, answers);
        options->hard_delete = value;
    }
    return index >= 0;
}

static bool parse_option(struct fr_options *options, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **text;
        uint64_t *number;
        unsigned *small;
    } rows[] = {
        {"--catalog", &options->catalog, NULL, NULL},
        {"--fixture", &options->fixture, NULL, NULL},
        {"--state", &options->state_dir, NULL, NULL},
        {"--connector", &options->connector, NULL, NULL},
        {"--materialization", &options->materialization, NULL, NULL},
        {"--config", &options->config, NULL, NULL},
        {"--log", &options->log, NULL, NULL},
        {"--log-level", &options->log_level, NULL, NULL},
        {"--report", &options->report, NULL, NULL},
        {"--dump-expected", &options->dump, NULL, NULL},
        {"--group", &options->group, NULL, NULL},
        {"--observer", &options->observer, NULL, NULL},
        {"--seed", NULL, &options->seed, NULL},
        {"--max-transactions", NULL, &options->max_transactions, NULL},
        {"--merge-commits", NULL, &options->merge_commits, NULL},
        {"--documents-per-transaction", NULL, &options->per_transaction, NULL},
        {"--arm", NULL, NULL, &options->arm},
        {"--session-commits", NULL, NULL, &options->session_commits},
        {"--max-restarts", NULL, NULL, &options->max_restarts},
        {"--timeout", NULL, NULL, &options->timeout_s},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) != 0) {
            continue;
        }
        if (rows[i].text != NULL) {
            *rows[i].text = value;
            return true;
        }
        return rows[i].number != NULL ? parse_number(value, rows[i].number)
                                      : parse_small(value, rows[i].small);
    }
    if (strcmp(name, "--kill-at") == 0) {
        return parse_kill(options, value);
    }
    if (strcmp(name, "--kill-file") == 0) {
        if (options->kill_file_count == FR_MAX_KILLS) {
            return false;
        }
        options->kill_files[options->kill_file_count++] = value;
        return true;
    }
    if (strcmp(name, "--shards") == 0 || strcmp(name, "--topology") == 0) {
        return parse_topology(options, value);
    }
    if (strcmp(name, "--generate") == 0) {
        return parse_generate(options, value);
    }
    return parse_choice(options, name, value);
}

static bool parse_flag(struct fr_options *options, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
        bool value;
    } rows[] = {{"--force-loads", &options->force_loads, true},
                {"--same-boundaries", &options->same_boundaries, true},
                {"--apply-again", &options->apply_again, true},
                {"--finds-nothing", &options->finds_nothing, true},
                {"--compact", &options->pretty, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *rows[i].flag = rows[i].value;
            return true;
        }
    }
    return false;
}

static bool parse(struct fr_options *options, int argc, char **argv)
{
    *options = (struct fr_options){.pretty = true,
                                   .until = FR_UNTIL_ALL,
                                   .early = FR_EARLY_SOME,
                                   .seed = 1,
                                   .merge_commits = 1,
                                   .max_restarts = 20,
                                   .timeout_s = 120,
                                   .log_level = "info"};
    for (int i = 1; i < argc; i++) {
        if (parse_flag(options, argv[i])) {
            continue;
        }
        if (i + 1 == argc || !parse_option(options, argv[i], argv[i + 1])) {
            fprintf(stderr, "flow-runtime: %s: unknown, without a value or with a wrong one\n",
                    argv[i]);
            return false;
        }
        i++;
    }
    bool has_source =
        options->fixture != NULL || options->part_count > 0 || options->until != FR_UNTIL_ALL;
    return options->catalog != NULL && options->state_dir != NULL && has_source &&
           options->merge_commits > 0 && (options->part_count < 2 || options->merge_commits == 1);
}

int main(int argc, char **argv)
{
    static struct fr_run run;
    struct fr_buf summary = {0};

    if (!parse(&run.options, argc, argv)) {
        fputs(usage, stderr);
        return FR_USAGE;
    }
    enum fr_end end = fr_run(&run, &summary);
    if (end != FR_OK) {
        fprintf(stderr, "flow-runtime: %s\n", run.verdict.data);
    }
    fputs(summary.data, stdout);
    fr_buf_done(&summary);
    fr_run_done(&run);
    return (int)end;
}
