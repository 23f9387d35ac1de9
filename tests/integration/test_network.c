/*
 * The warehouse behind an SSH server, and its certificate: whole runs through a real sshd, which is
 * killed or restarted at statements of every phase (frozen, it is in test_tunnel.c); what people
 * are told when the tunnel cannot be; and the modes of TLS, outside and inside of a tunnel.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/sshd.h"
#include "support/story_ledger.h"

static struct sshd sshd;
static char *key, *locked_key, *unknown_key;

static int start_sshd(void **state)
{
    static const char *const plain[] = {"-t", "ed25519", NULL};
    static const char *const locked[] = {"-t", "ed25519", "-N", "open sesame", NULL};

    (void)state;
    sshd_make(&sshd, "LogLevel DEBUG1");
    key = sshd_key(&sshd, "good", true, plain);
    locked_key = sshd_key(&sshd, "locked", true, locked);
    unknown_key = sshd_key(&sshd, "unknown", false, plain);
    sshd_start(&sshd);
    return 0;
}

static int stop_sshd(void **state)
{
    (void)state;
    free(key);
    free(locked_key);
    free(unknown_key);
    sshd_remove(&sshd);
    return 0;
}

/* ---------------------------------------------------------------- configurations */

/* A text with line feeds as it stands in JSON. */
static const char *quote(struct story *story, const char *text)
{
    char *out = story_text(story, "%*s", (int)(2 * strlen(text) + 1), ""), *at = out;

    for (; *text; text++) {
        if (*text == '\n') {
            *at++ = '\\';
            *at++ = 'n';
        } else {
            *at++ = *text;
        }
    }
    *at = '\0';
    return out;
}

static const char *tunnel_with(struct story *story, const char *private_key, int port)
{
    return story_text(story,
                      ",\"networkTunnel\":{\"sshForwarding\":{\"sshEndpoint\":"
                      "\"ssh://%s@127.0.0.1:%d\",\"privateKey\":\"%s\"}}",
                      sshd.user, port, quote(story, private_key));
}

static const char *tunnel(struct story *story)
{
    return tunnel_with(story, key, sshd.port);
}

static bool has_secret(struct story *story, const char *text)
{
    /* A line from the middle of the key. */
    const char *line = strchr(key, '\n') + 1;

    return strstr(text, story_text(story, "%.*s", (int)strcspn(line, "\n"), line)) != NULL;
}

/* ---------------------------------------------------------------- whole runs */

static bool run_ledger(struct story *story,
                       const char *config,
                       const char *const *options,
                       struct ledger *ledger)
{
    const struct ledger_plan plan = {.transactions = 6, .events = 40, .hard_delete = true};

    ledger_make(story, &plan, ledger);
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger->catalog,
        .fixture = ledger->fixture,
        .config = config,
        .codec = "proto",
        .mode = "v2",
        .options = options,
    };
    return story_drive(story, &drive) &&
           story_same(story, "the tables", ledger->wanted, ledger_read(story, ledger)) &&
           story_bucket_is_empty(story);
}

static void a_task_runs_through_an_ssh_server(void **state)
{
    struct story *story = story_begin("network_tunnel");
    struct ledger ledger;
    const char *config = story_config(
        story, "config.json", &(struct story_config){.hard_delete = true, .extra = tunnel(story)});

    (void)state;
    if (run_ledger(story, config, NULL, &ledger)) {
        const char *log = story_read(story, story_path(story, "runtime.log"), NULL);
        const char *served = story_read(story, story_text(story, "%s/sshd.log", sshd.dir), NULL);
        char *fingerprints[] = {sshd_host_key(&sshd, "ed25519"), sshd_host_key(&sshd, "ecdsa")};
        const char *colon = strrchr(story_environment("LOCAL_REDSHIFT_ADDRESS"), ':');

        if (!strstr(log, "the network tunnel is open")) {
            story_complain(story, "the log does not tell of the tunnel");
        } else if (!strstr(log, fingerprints[0]) && !strstr(log, fingerprints[1])) {
            story_complain(story, "the log does not tell the host key's fingerprint");
        } else if (!strstr(served, story_text(story, "target 127.0.0.1 port %s", colon + 1))) {
            story_complain(story, "sshd forwarded nothing to the warehouse");
        } else if (has_secret(story, log)) {
            story_complain(story, "the private key is in the log");
        }
        free(fingerprints[0]);
        free(fingerprints[1]);
    }
    story_end(story);
}

/* The gateway stands behind sshd and kills whoever holds the other end of its connection: that is
 * the process of sshd that serves the session. */
static const struct fault_row {
    const char *name, *rule; /* %s: the marker file */
} fault_rows[] = {
    {"killed while the catalog is read", "catalog#3 before kill %s\n"},
    {"killed as a transaction begins", "begin#3 before kill %s\n"},
    {"killed after keys were looked up", "load.query#2 after kill %s\n"},
    {"killed before rows are merged", "put.merge#2 before kill %s\n"},
    {"killed after rows were merged", "put.merge#2 after kill %s\n"},
    {"killed before a commit", "commit#4 before kill %s\n"},
    {"killed after a commit that nobody hears of", "commit#4 after kill %s\n"},
};

static void run_fault(struct story *story, const struct fault_row *row)
{
    static const char *const options[] = {"--max-restarts", "5", NULL};
    const char *marker = story_path(story, "fault");
    int before = (int)(strstr(row->rule, "%s") - row->rule);
    const char *address =
        story_gateway(story, "gateway", story_text(story, "%.*s%s\n", before, row->rule, marker));
    struct ledger ledger;

    if (!address) {
        return;
    }
    const char *config = story_config(
        story, "config.json",
        &(struct story_config){.address = address, .hard_delete = true, .extra = tunnel(story)});
    if (run_ledger(story, config, options, &ledger) && access(marker, F_OK) != 0) {
        story_complain(story, "nothing was killed");
    }
}

static void nothing_is_lost_or_doubled_when_sshd_is_killed_in_any_phase(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fault_rows / sizeof fault_rows[0]; i++) {
        struct story *story = story_begin(fault_rows[i].name);

        run_fault(story, &fault_rows[i]);
        story_end(story);
    }
}

/* A statement of each phase is never answered; meanwhile sshd goes, listener and sessions, and
 * comes back at the same port. */
static const struct restart_row {
    const char *name, *step;
} restart_rows[] = {
    {"restarted during Validate", "catalog#1"},
    {"restarted during Apply", "create#1"},
    {"restarted during Open", "owner#1"},
    {"restarted while keys are looked up", "load.query#1"},
    {"restarted at LOCK", "lock#3"},
    {"restarted at MERGE", "put.merge#2"},
    {"restarted at COMMIT", "commit#5"},
};

static void restart_sshd(struct story *story, const struct restart_row *row)
{
    static const char *const options[] = {"--max-restarts", "50", NULL};
    const char *marker = story_path(story, "fault");
    const char *address = story_gateway(
        story, "gateway", story_text(story, "%s before stall %s\n", row->step, marker));
    const struct ledger_plan plan = {.transactions = 6, .events = 40, .hard_delete = true};
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    const struct story_config config = {
        .address = address,
        .hard_delete = true,
        .extra = story_text(story,
                            "%s,\"advanced\":{\"feature_flags\":"
                            "\"allow_existing_tables_for_new_bindings\"}",
                            tunnel(story)),
    };
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .fixture = ledger.fixture,
        .config = story_config(story, "config.json", &config),
        .codec = "proto",
        .mode = "v1",
        .options = options,
    };
    struct story_process *process = story_drive_start(story, &drive);
    if (address && story_wait_file(story, marker, 60)) {
        sshd_stop(&sshd);
        sshd_start(&sshd);
    }
    if (story_wait(story, process, 120) && story_exit_code(process) != 0) {
        story_complain(story, "flow-runtime exited with %d: %.2000s", story_exit_code(process),
                       story_read(story, process->err, NULL));
    }
    if (story_is_well(story)) {
        story_same(story, "the tables", ledger.wanted, ledger_read(story, &ledger));
        story_bucket_is_empty(story);
    }
}

static void nothing_is_lost_or_doubled_when_sshd_is_restarted_in_any_phase(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof restart_rows / sizeof restart_rows[0]; i++) {
        struct story *story = story_begin(restart_rows[i].name);

        restart_sshd(story, &restart_rows[i]);
        story_end(story);
    }
}

/* ---------------------------------------------------------------- Validate alone */

static struct story_process *validate(struct story *story, const struct story_config *config)
{
    static const char *const options[] = {"--until", "validate", NULL};
    const struct ledger_plan plan = {.transactions = 1, .events = 1};
    struct ledger ledger;

    ledger_make(story, &plan, &ledger);
    const struct story_drive drive = {
        .label = "runtime",
        .catalog = ledger.catalog,
        .config = story_config(story, "config.json", config),
        .codec = "json",
        .mode = "v2",
        .options = options,
    };
    struct story_process *process = story_drive_start(story, &drive);
    (void)story_wait(story, process, 60);
    return process;
}

/* words NULL: it validates. */
static void
check_validate(struct story *story, const struct story_config *config, const char *words)
{
    struct story_process *process = validate(story, config);
    const char *said = story_read(story, process->err, NULL);

    if (!words && story_exit_code(process) != 0) {
        story_complain(story, "is refused: %.2000s", said);
    } else if (words && story_exit_code(process) == 0) {
        story_complain(story, "is accepted");
    } else if (words && !strstr(said, words)) {
        story_complain(story, "is refused without \"%s\": %.2000s", words, said);
    } else if (has_secret(story, said)) {
        story_complain(story, "the private key is told");
    }
}

/* ---------------------------------------------------------------- what people are told */

enum told_key { GOOD, LOCKED, UNKNOWN };
static const struct told_row {
    const char *name;
    enum told_key key;
    const char *address;  /* NULL: the warehouse's */
    const char *password; /* NULL: the right one */
    bool nobody_listens;  /* at the endpoint */
    const char *extra;
    const char *words;
} told_rows[] = {
    {"a key with a passphrase", LOCKED, NULL, NULL, false, "",
     "starting network tunnel: the SSH private key is protected by a passphrase"},
    {"a key that the server does not know", UNKNOWN, NULL, NULL, false, "",
     "it refused the login with this key"},
    {"C21 an address without a port", GOOD, "127.0.0.1", NULL, false, "",
     "starting network tunnel: the address must be a host and a port"},
    {"no SSH server", GOOD, NULL, NULL, true, "", "starting network tunnel: SSH server 127.0.0.1"},
    {"another host key", GOOD, NULL, NULL, false,
     ",\"advanced\":{\"ssh_host_key\":\"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"}",
     "and not SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU as configured"},
    {"a fingerprint that is none", GOOD, NULL, NULL, false,
     ",\"advanced\":{\"ssh_host_key\":\"ab:cd\"}",
     "starting network tunnel: the fingerprint of the SSH server's key is not of the form"},
    {"a warehouse that the SSH server cannot reach", GOOD, "127.0.0.1:1", NULL, false, "",
     "network tunnel: 127.0.0.1 port 1 cannot be reached from the SSH server"},
    {"a wrong password is not the tunnel's fault", GOOD, NULL, "wrong", false, "",
     "incorrect username or password"},
};

static void why_there_is_no_tunnel_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof told_rows / sizeof told_rows[0]; i++) {
        const struct told_row *row = &told_rows[i];
        const char *const keys[] = {key, locked_key, unknown_key};
        struct story *story = story_begin(row->name);
        const struct story_config config = {
            .address = row->address,
            .password = row->password,
            .extra =
                story_text(story, "%s%s",
                           tunnel_with(story, keys[row->key], row->nobody_listens ? 1 : sshd.port),
                           row->extra),
        };

        check_validate(story, &config, row->words);
        story_end(story);
    }
}

/* ---------------------------------------------------------------- certificates */

/* The certificate that the warehouse shows, or another one that signs itself. */
static const char *certificate(struct story *story, bool of_warehouse)
{
    const char *const show[] = {"/usr/bin/openssl",
                                "s_client",
                                "-starttls",
                                "postgres",
                                "-connect",
                                story_environment("LOCAL_REDSHIFT_ADDRESS"),
                                NULL};
    const char *const make[] = {
        "/usr/bin/openssl", "req",       "-x509", "-newkey",       "rsa:2048", "-nodes",
        "-keyout",          "/dev/null", "-subj", "/CN=localhost", NULL};
    struct story_process *process =
        story_start(story, "openssl", of_warehouse ? show : make, NULL, NULL);

    (void)story_wait(story, process, 30);
    const char *text = story_read(story, process->out, NULL);
    const char *begin = strstr(text, "-----BEGIN CERTIFICATE-----");
    const char *end = begin ? strstr(begin, "-----END CERTIFICATE-----\n") : NULL;
    if (!end) {
        story_complain(story, "openssl shows no certificate: %.500s", text);
        return "";
    }
    end += strlen("-----END CERTIFICATE-----\n");
    return quote(story, story_text(story, "%.*s", (int)(end - begin), begin));
}

enum root { NOTHING, OWN, OTHER };
static const struct tls_row {
    const char *name, *mode;
    enum root root;
    bool by_another_name; /* 0.0.0.0 is this machine, too, and not in the certificate */
    const char *words;    /* NULL: it connects */
} tls_rows[] = {
    {"encryption alone", "require", NOTHING, true, NULL},
    {"the right root and name", "verify-full", OWN, false, NULL},
    {"the right root, another name", "verify-full", OWN, true, "0.0.0.0"},
    {"the right root, another name that does not matter", "verify-ca", OWN, true, NULL},
    {"another root", "verify-full", OTHER, false, "certificate verify failed"},
    {"another root for verify-ca", "verify-ca", OTHER, false, "certificate verify failed"},
    {"the system's roots", "verify-full", NOTHING, false, "certificate verify failed"},
};

static void check_tls(const struct tls_row *row, bool in_tunnel)
{
    struct story *story = story_begin(row->name);
    const char *root = row->root == NOTHING ? ""
                                            : story_text(story, ",\"tls_root_certificate\":\"%s\"",
                                                         certificate(story, row->root == OWN));
    const char *port = strrchr(story_environment("LOCAL_REDSHIFT_ADDRESS"), ':');
    const struct story_config config = {
        .address = row->by_another_name ? story_text(story, "0.0.0.0%s", port) : NULL,
        .extra = story_text(story, "%s,\"advanced\":{\"tls_mode\":\"%s\"%s}",
                            in_tunnel ? tunnel(story) : "", row->mode, root),
    };

    check_validate(story, &config, row->words);
    story_end(story);
}

static void the_certificate_is_checked_as_it_is_asked_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tls_rows / sizeof tls_rows[0]; i++) {
        check_tls(&tls_rows[i], false);
    }
}

static void in_a_tunnel_it_is_checked_against_the_warehouse_s_own_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tls_rows / sizeof tls_rows[0]; i++) {
        check_tls(&tls_rows[i], true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_runs_through_an_ssh_server),
        cmocka_unit_test(nothing_is_lost_or_doubled_when_sshd_is_killed_in_any_phase),
        cmocka_unit_test(nothing_is_lost_or_doubled_when_sshd_is_restarted_in_any_phase),
        cmocka_unit_test(why_there_is_no_tunnel_is_told),
        cmocka_unit_test(the_certificate_is_checked_as_it_is_asked_for),
        cmocka_unit_test(in_a_tunnel_it_is_checked_against_the_warehouse_s_own_name),
    };
    return cmocka_run_group_tests(tests, start_sshd, stop_sshd);
}
