/*
 * Stories of whole COPY statements: a private PostgreSQL that has been taught what the sandbox
 * teaches it, and a bucket that is a small HTTP server in this process. Where PostgreSQL's
 * programs are missing the stories are skipped.
 */
#include "sandbox/backend.h"
#include "sandbox/copy.h"
#include "sandbox/copy_bytes.h"
#include "sandbox/ident.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#define PG_BIN "/usr/lib/postgresql/15/bin"
#define KEYS " ACCESS_KEY_ID 'AKIDTEST' SECRET_ACCESS_KEY 'hushhush' SESSION_TOKEN 'hushtoken' "

/* ------------------------------------------------------------------ the bucket */

struct file {
    const char *key; /* in bucket "b" */
    const char *content;
    bool gzip;
};

static const struct file files[] = {
    {"a/1.json", "{\"id\":1,\"v\":\"one\"}\n{\"id\":2,\"v\":\"two\",\"extra\":0}\n", false},
    {"a/2.json", "{\"id\":3}{\"id\":4,\"v\":null}", false},
    {"z/1.gz", "{\"ID\":5,\"V\":\"five\"}\n{\"Id\":6}\n", true},
    {"bad/long.json",
     "{\"id\":1,\"v\":\"ok\"}\n{\"id\":2,\n\"v\":\"much too long\"\n}\n{\"id\":3}\n", false},
    {"bad/mixed.json", "{\"id\":1}\n{\"id\":\"x\"}\n,{\"id\":2}\n", false},
    {"bad/no.gz", "{\"id\":1}", false},
    {"names.json",
     "{\"Upper\":1,\"upper\":2,"
     "\"a_name_that_is_longer_than_sixty_three_bytes_and_still_a_name_here\":3}",
     false},
    {"times.json", "{\"t\":\"17 Dec 07:37:16 1997 PST\"}{\"t\":\"2019-02-11T05:09:12.195Z\"}",
     false},
    {"m/good",
     "{\"entries\":[{\"url\":\"s3://b/z/1.gz\",\"mandatory\":true},"
     "{\"url\":\"s3://b/z/1.gz\"},{\"url\":\"s3://b/missing\"}]}",
     false},
    {"m/mandatory",
     "{\"entries\":[{\"url\":\"s3://b/z/1.gz\"},{\"url\":\"s3://b/gone\",\"mandatory\":true}]}",
     false},
    {"m/nothing", "{\"entries\":[{\"url\":\"s3://b/missing\"}]}", false},
};

static struct {
    int listener;
    pthread_t thread;
} bucket;

static void send_all(int peer, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t got = send(peer, at, len, MSG_NOSIGNAL);
        if (got <= 0) {
            return;
        }
        at += got;
        len -= (size_t)got;
    }
}

static void answer(int peer, const char *status, const struct bytes *body)
{
    struct bytes head = {0};
    bytes_printf(&head, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", status,
                 body->len);
    send_all(peer, head.at, head.len);
    send_all(peer, body->at, body->len);
    bytes_done(&head);
}

static void put_gzip(struct bytes *to, const char *text)
{
    Bytef in[500];
    z_stream z = {.next_in = in, .avail_in = (uInt)strlen(text)};
    memcpy(in, text, strlen(text));
    if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK) {
        z.next_out = (Bytef *)bytes_reserve(to, 1000);
        z.avail_out = 1000;
        (void)deflate(&z, Z_FINISH);
        to->len += 1000 - z.avail_out;
        deflateEnd(&z);
    }
}

/* GET /b/key or GET /b?list-type=2&prefix=... (slashes as %2F) */
static void serve(int peer, const char *request)
{
    struct bytes body = {0};
    char path[300] = "";
    (void)sscanf(request, "GET /b%299[^ ]", path);
    if (strncmp(path, "?list-type=2&prefix=", 20) == 0) {
        char prefix[300] = "";
        for (const char *at = path + 20; *at != '\0';) {
            bool slash = strncmp(at, "%2F", 3) == 0;
            size_t len = strlen(prefix);
            prefix[len] = slash ? '/' : *at;
            prefix[len + 1] = '\0';
            at += slash ? 3 : 1;
        }
        bytes_put_text(&body, "<ListBucketResult>");
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            if (strncmp(files[i].key, prefix, strlen(prefix)) == 0) {
                bytes_printf(&body, "<Contents><Key>%s</Key><Size>1</Size></Contents>",
                             files[i].key);
            }
        }
        bytes_put_text(&body, "</ListBucketResult>");
        answer(peer, "200 OK", &body);
        bytes_done(&body);
        return;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (path[0] == '/' && strcmp(files[i].key, path + 1) == 0) {
            if (files[i].gzip) {
                put_gzip(&body, files[i].content);
            } else {
                bytes_put_text(&body, files[i].content);
            }
            answer(peer, "200 OK", &body);
            bytes_done(&body);
            return;
        }
    }
    bytes_put_text(&body, "<Error><Code>NoSuchKey</Code>"
                          "<Message>The specified key does not exist.</Message></Error>");
    answer(peer, "404 Not Found", &body);
    bytes_done(&body);
}

static void *run_bucket(void *ctx)
{
    (void)ctx;
    for (;;) {
        int peer = accept(bucket.listener, NULL, NULL);
        if (peer < 0) {
            return NULL;
        }
        char request[4096];
        size_t len = 0;
        ssize_t got;
        request[0] = '\0';
        while (strstr(request, "\r\n\r\n") == NULL && len + 1 < sizeof request &&
               (got = read(peer, request + len, sizeof request - 1 - len)) > 0) {
            len += (size_t)got;
            request[len] = '\0';
        }
        serve(peer, request);
        close(peer);
    }
}

static int listen_somewhere(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return listener;
}

static void start_bucket(void)
{
    int port;
    bucket.listener = listen_somewhere(&port);
    char endpoint[64];
    text_format(endpoint, sizeof endpoint, "http://127.0.0.1:%d", port);
    assert_int_equal(setenv("AWS_ENDPOINT_URL_S3", endpoint, 1), 0);
    assert_int_equal(pthread_create(&bucket.thread, NULL, run_bucket, NULL), 0);
}

/* ------------------------------------------------------------------ PostgreSQL */

static struct {
    char folder[64];
    pid_t pid;
    struct backend *session, *side;
} pg;

/* PostgreSQL does not run as root. */
static void become_postgres(void)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
        _exit(126);
    }
    int null = open("/dev/null", O_RDWR);
    (void)dup2(null, 0);
    (void)dup2(null, 1);
    (void)dup2(null, 2);
}

static pid_t spawn(const char *const *argv)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        become_postgres();
        /* execv takes its arguments without const for reasons of its age; it changes none. */
        char *args[16];
        size_t count = 0;
        for (; argv[count] != NULL; count++) {
            args[count] = strdup(argv[count]);
        }
        args[count] = NULL;
        execv(args[0], args);
        _exit(127);
    }
    return pid;
}

static bool run(struct backend *backend, const char *sql, struct backend_result *ret)
{
    *ret = (struct backend_result){0};
    (void)backend_query(backend, sql, ret);
    return ret->ok;
}

static void must(struct backend *backend, const char *sql)
{
    struct backend_result result;
    if (!run(backend, sql, &result)) {
        fail_msg("%.200s: %s", sql, result.message);
    }
    backend_result_done(&result);
}

/* Waits for a fact, not for a time: the server answers, or the deadline has passed. */
static struct backend *open_backend(const char *user, const char *database)
{
    struct backend_options options = {
        .host = pg.folder, .port = 5432, .user = user, .database = database};
    struct backend_result result = {0};
    struct backend *backend = NULL;
    time_t deadline = time(NULL) + 60;
    while (backend == NULL && time(NULL) < deadline) {
        result = (struct backend_result){0};
        backend = backend_open(&options, &result);
        if (backend == NULL) {
            backend_result_done(&result);
            struct timespec turn = {.tv_nsec = 20 * 1000 * 1000};
            (void)nanosleep(&turn, NULL);
        }
    }
    if (backend == NULL) {
        fail_msg("no PostgreSQL: %s", result.message);
    }
    return backend;
}

static void run_setup_file(void)
{
    FILE *file = fopen(TEST_DATA "/../sandbox/setup.sql", "r");
    assert_non_null(file);
    struct bytes sql = {0};
    bytes_put_text(&sql, "SET redshift.setup_role = 'loader';\n");
    size_t got;
    do {
        got = fread(bytes_reserve(&sql, 65536), 1, 65536, file);
        sql.len += got;
    } while (got > 0);
    (void)fclose(file);
    must(pg.side, bytes_text(&sql));
    bytes_done(&sql);
}

static void start_postgres(void)
{
    text_format(pg.folder, sizeof pg.folder, "/tmp/copy-test-XXXXXX");
    assert_non_null(mkdtemp(pg.folder));
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL) {
        assert_int_equal(chown(pg.folder, user->pw_uid, user->pw_gid), 0);
    }
    char data[96];
    text_format(data, sizeof data, "%s/data", pg.folder);
    const char *const initdb[] = {
        PG_BIN "/initdb",   "-D",        data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
        "--locale=C.UTF-8", "--no-sync", NULL};
    int status = -1;
    assert_true(waitpid(spawn(initdb), &status, 0) > 0);
    assert_int_equal(status, 0);
    const char *const postgres[] = {PG_BIN "/postgres",  "-D", data,        "-k", pg.folder, "-c",
                                    "listen_addresses=", "-c", "fsync=off", NULL};
    pg.pid = spawn(postgres);
    pg.side = open_backend("postgres", "postgres");
    must(pg.side, "CREATE ROLE loader LOGIN");
    must(pg.side, "CREATE ROLE guest LOGIN");
    must(pg.side, "CREATE DATABASE dev OWNER loader");
    backend_close(pg.side);
    pg.side = open_backend("postgres", "dev");
    run_setup_file();
    must(pg.side, "CREATE DOMAIN redshift_sys.varchar_5 AS bpchar"
                  " CHECK (octet_length(VALUE) <= 5)");
    pg.session = open_backend("loader", "dev");
}

static int set_up_all(void **state)
{
    (void)state;
    if (access(PG_BIN "/postgres", X_OK) == 0) {
        start_bucket();
        start_postgres();
    }
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    if (pg.pid == 0) {
        return 0;
    }
    backend_close(pg.session);
    backend_close(pg.side);
    shutdown(bucket.listener, SHUT_RDWR);
    close(bucket.listener);
    pthread_join(bucket.thread, NULL);
    int status;
    (void)kill(pg.pid, SIGQUIT);
    (void)waitpid(pg.pid, &status, 0);
    const char *const remove[] = {"/bin/rm", "-rf", pg.folder, NULL};
    (void)waitpid(spawn(remove), &status, 0);
    (void)rmdir(pg.folder);
    return 0;
}

/* Each story begins with empty tables t(id, v) and d(id, v with a default). */
static int set_up(void **state)
{
    (void)state;
    if (pg.pid == 0) {
        return 0;
    }
    must(pg.session,
         "DROP TABLE IF EXISTS public.t, public.d; CREATE TABLE public.t (id bigint NOT NULL, "
         "v redshift_sys.varchar_5); CREATE TABLE public.d (id bigint, v text DEFAULT 'x')");
    return 0;
}

/* ------------------------------------------------------------------ the stories */

static struct copy_outcome copy_as(struct backend *session, bool case_sensitive, const char *sql)
{
    static struct copy_outcome outcome;
    static char first[] = "default";
    static char second[] = "arn:aws:iam::1:role/a,arn:aws:iam::2:role/b";
    static char id[] = "AKIDTEST";
    static char key[] = "hushhush";
    const struct copy_role roles[] = {{first, id, key}, {second, id, key}};
    struct copy_context ctx = {.session = session,
                               .side = pg.side,
                               .case_sensitive = case_sensitive,
                               .roles = roles,
                               .role_count = 2};
    copy_execute(&ctx, sql, &outcome);
    assert_null(strstr(outcome.message, "hush"));
    assert_null(strstr(outcome.detail, "hush"));
    assert_null(strstr(outcome.notice, "hush"));
    return outcome;
}

static struct copy_outcome copy(const char *sql)
{
    return copy_as(pg.session, false, sql);
}

static void assert_loaded(struct copy_outcome outcome, int64_t rows)
{
    if (!outcome.ok || outcome.row_count != rows) {
        fail_msg("%s %s (%d rows)", outcome.sqlstate, outcome.message, (int)outcome.row_count);
    }
}

static void assert_failed(struct copy_outcome outcome, const char *sqlstate, const char *words)
{
    if (outcome.ok || strcmp(outcome.sqlstate, sqlstate) != 0 ||
        strstr(outcome.message, words) == NULL) {
        fail_msg("%s %s", outcome.sqlstate, outcome.message);
    }
}

/* The first row of the answer, fields separated by |. */
static void assert_row(const char *sql, const char *wanted)
{
    struct backend_result result;
    struct bytes row = {0};
    if (!run(pg.session, sql, &result) || result.row_count == 0) {
        fail_msg("%s: %s", sql, result.ok ? "no row" : result.message);
    }
    for (int i = 0; i < result.column_count; i++) {
        bytes_printf(&row, "%s%s", i == 0 ? "" : "|",
                     result.values[i] == NULL ? "NULL" : result.values[i]);
    }
    if (strcmp(bytes_text(&row), wanted) != 0) {
        fail_msg("%s: %s", sql, row.at);
    }
    bytes_done(&row);
    backend_result_done(&result);
}

#define SKIP_WITHOUT_POSTGRES()                                                                    \
    do {                                                                                           \
        (void)state;                                                                               \
        if (pg.pid == 0) {                                                                         \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static void rows_may_be_counted_and_discarded(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    static struct copy_outcome outcome;
    struct copy_context ctx = {.session = pg.session, .side = pg.side, .discards_rows = true};
    copy_execute(&ctx, "COPY t FROM 's3://b/a/1' " KEYS "JSON 'auto'", &outcome);
    assert_loaded(outcome, 2);
    assert_row("SELECT count(*) FROM public.t", "0");
}

static void a_prefix_loads_all_that_begins_with_it(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    struct copy_outcome first = copy("COPY t FROM 's3://b/a/' " KEYS "JSON 'auto'");
    assert_loaded(first, 4);
    assert_string_equal(first.notice,
                        "Load into table 't' completed, 4 record(s) loaded successfully.");
    assert_row("SELECT count(*), sum(id), string_agg(v, ',' ORDER BY id) FROM t", "4|10|one,two");
    struct copy_outcome second = copy("COPY t FROM 's3://b/a/1' " KEYS "JSON 'auto'");
    assert_loaded(second, 2);
    assert_true(second.copy_id > first.copy_id);
    struct copy_outcome none = copy("COPY t FROM 's3://b/none' " KEYS "JSON 'auto'");
    assert_failed(none, "XX000", "The specified S3 prefix 'none' does not exist");
    assert_non_null(strstr(none.detail, "code:      8001"));
    assert_int_equal(none.copy_id, -1);
}

static void a_manifest_loads_a_file_as_often_as_it_is_listed(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_loaded(copy("COPY t FROM 's3://b/m/good' MANIFEST " KEYS "JSON 'auto ignorecase' GZIP"),
                  4);
    assert_row("SELECT count(*), sum(id), count(v) FROM t", "4|22|2");
}

static void a_missing_mandatory_file_fails_the_load(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    struct copy_outcome got =
        copy("COPY t FROM 's3://b/m/mandatory' MANIFEST " KEYS "JSON 'auto ignorecase' GZIP");
    assert_failed(
        got, "XX000",
        "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey");
    assert_non_null(strstr(got.detail, "s3://b/gone"));
    assert_row("SELECT count(*) FROM t", "0");
    assert_failed(copy("COPY t FROM 's3://b/m/nothing' MANIFEST " KEYS "JSON 'auto'"), "XX000",
                  "No such file or directory");
    assert_failed(copy("COPY t FROM 's3://b/a/1.json' MANIFEST " KEYS "JSON 'auto'"), "XX000",
                  "Problem reading manifest file - Invalid manifest");
}

static void without_the_word_a_manifest_is_data(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_loaded(copy("COPY d FROM 's3://b/m/good' " KEYS "JSON 'auto'"), 1);
    assert_row("SELECT id, v FROM d", "NULL|NULL");
}

static void a_column_outside_the_list_gets_its_default(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_loaded(copy("COPY public.d (ID) FROM 's3://b/a/2' " KEYS "JSON 'auto'"), 2);
    assert_row("SELECT count(*) FROM d WHERE v = 'x'", "2");
    assert_loaded(copy("COPY d FROM 's3://b/a/2' " KEYS "JSON 'auto'"), 2);
    assert_row("SELECT count(*) FROM d WHERE v IS NULL", "2");
}

static void a_bad_record_is_explained_after_the_rollback(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    must(pg.session, "BEGIN; INSERT INTO t VALUES (99)");
    struct copy_outcome got = copy("COPY t FROM 's3://b/bad/long' " KEYS "JSON 'auto'");
    assert_failed(got, "XX000",
                  "Load into table 't' failed.  Check 'sys_load_error_detail' system table for "
                  "details.");
    assert_int_equal(backend_status(pg.session), 'E');
    must(pg.session, "ROLLBACK");
    assert_row("SELECT count(*) FROM t", "0");
    char sql[600];
    text_format(sql, sizeof sql,
                "SELECT trim(file_name), line_number, trim(column_name), trim(column_type),"
                " trim(column_length), position, error_code, trim(error_message)"
                " FROM pg_catalog.sys_load_error_detail WHERE query_id = %d"
                " AND session_id = pg_backend_pid()",
                (int)got.copy_id);
    assert_row(sql, "s3://b/bad/long.json|4|v|varchar|5|5|1204|String length exceeds DDL length");
    text_format(sql, sizeof sql,
                "SELECT trim(colname), err_code, trim(err_reason) FROM pg_catalog.stl_load_errors"
                " WHERE query = %d",
                (int)got.copy_id);
    assert_row(sql, "v|1204|String length exceeds DDL length");
}

static void a_failure_outside_a_transaction_leaves_no_transaction(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_failed(copy("COPY t FROM 's3://b/bad/long' " KEYS "JSON 'auto'"), "XX000", "failed");
    assert_int_equal(backend_status(pg.session), 'I');
    assert_row("SELECT count(*) FROM t", "0");
    assert_failed(copy("COPY t FROM 's3://b/a' " KEYS "JSON 'auto' NONSENSE"), "42601", "NONSENSE");
    assert_int_equal(backend_status(pg.session), 'I');
    must(pg.session, "BEGIN");
    assert_failed(copy("COPY t FROM 's3://b/a' " KEYS "JSON 'auto' NONSENSE"), "42601", "NONSENSE");
    assert_int_equal(backend_status(pg.session), 'E');
    must(pg.session, "ROLLBACK");
}

static void maxerror_counts_bad_records_and_bytes_between_them(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    struct copy_outcome got = copy("COPY t FROM 's3://b/bad/mixed' " KEYS "JSON 'auto' MAXERROR 3");
    assert_loaded(got, 2);
    assert_string_equal(got.notice,
                        "Load into table 't' completed, 2 record(s) loaded successfully.\n"
                        "Load into table 't' completed, 2 record(s) could not be loaded.  Check "
                        "'sys_load_error_detail' system table for details.");
    assert_failed(copy("COPY t FROM 's3://b/bad/mixed' " KEYS "JSON 'auto' MAXERROR 2"), "XX000",
                  "failed");
    assert_row("SELECT count(*) FROM t", "2");
    assert_row("SELECT error_code, line_number FROM pg_catalog.sys_load_error_detail"
               " ORDER BY query_id DESC, line_number DESC LIMIT 1",
               "1216|3");
}

static void a_file_that_is_not_compressed_is_explained(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_failed(copy("COPY t FROM 's3://b/bad/no' " KEYS "JSON 'auto' GZIP MAXERROR 100"),
                  "XX000", "sys_load_error_detail");
    assert_row("SELECT trim(file_name), error_code FROM pg_catalog.sys_load_error_detail"
               " ORDER BY query_id DESC LIMIT 1",
               "s3://b/bad/no.gz|1216");
}

static void noload_checks_and_loads_nothing(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_loaded(copy("COPY t FROM 's3://b/a/' " KEYS "JSON 'auto' NOLOAD"), 0);
    assert_row("SELECT count(*) FROM t", "0");
    assert_failed(copy("COPY t FROM 's3://b/bad/long' " KEYS "JSON 'auto' NOLOAD"), "XX000",
                  "failed");
}

static void names_fold_and_may_be_long(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    static const char name[] = "a_name_that_is_longer_than_sixty_three_bytes_and_still_a_name_here";
    char backend_name[IDENT_BACKEND_MAX + 1], sql[600];
    ident_backend(name, backend_name);
    text_format(sql, sizeof sql,
                "DELETE FROM redshift_sys.long_names; INSERT INTO redshift_sys.long_names VALUES"
                " ('%s', '%s')",
                backend_name, name);
    must(pg.side, sql);
    text_format(sql, sizeof sql, "CREATE TEMP TABLE n (\"Upper\" int, upper int, \"%s\" int)",
                backend_name);
    must(pg.session, sql);
    text_format(sql, sizeof sql,
                "COPY N (\"UPPER\", \"%s\") FROM 's3://b/names' " KEYS "JSON 'auto'", name);
    assert_loaded(copy(sql), 1);
    text_format(sql, sizeof sql, "SELECT \"Upper\", upper, \"%s\" FROM n", backend_name);
    assert_row(sql, "NULL|2|3");
    must(pg.session, "DELETE FROM n");
    assert_loaded(
        copy_as(pg.session, true, "COPY n (\"Upper\") FROM 's3://b/names' " KEYS "JSON 'auto'"), 1);
    assert_row("SELECT \"Upper\", upper FROM n", "1|NULL");
    must(pg.session, "DROP TABLE n");
}

static void auto_leaves_other_forms_of_time_to_the_server(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    must(pg.session, "CREATE TEMP TABLE tt (t timestamptz); SET TimeZone = 'Asia/Tokyo'");
    assert_loaded(copy("COPY tt FROM 's3://b/times' " KEYS "JSON 'auto' TIMEFORMAT 'auto'"), 2);
    must(pg.session, "SET TimeZone = 'UTC'");
    assert_row("SELECT min(t), max(t) FROM tt",
               "1997-12-17 15:37:16+00|2019-02-11 05:09:12.195+00");
    must(pg.session, "DROP TABLE tt");
}

static void rights_are_those_of_the_session(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    struct backend *guest = open_backend("guest", "dev");
    assert_failed(copy_as(guest, false, "COPY t FROM 's3://b/a' " KEYS "JSON 'auto'"), "42501",
                  "permission denied");
    must(pg.session, "GRANT INSERT ON t TO guest");
    assert_loaded(copy_as(guest, false, "COPY t FROM 's3://b/a' " KEYS "JSON 'auto'"), 4);
    assert_failed(
        copy_as(guest, false, "COPY t FROM 's3://b/a' " KEYS "JSON 'auto' STATUPDATE OFF"), "42501",
        "must be owner of relation t");
    backend_close(guest);
}

static void what_cannot_be_a_target_is_refused(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_failed(copy("COPY nowhere FROM 's3://b/a' " KEYS "JSON 'auto'"), "42P01", "nowhere");
    assert_failed(copy("COPY public.\"no such\" FROM 's3://b/a' " KEYS "JSON 'auto'"), "42P01",
                  "no such");
    assert_failed(copy("COPY t (id, nope) FROM 's3://b/a' " KEYS "JSON 'auto'"), "42703", "nope");
    assert_failed(copy("COPY t (id, \"ID\") FROM 's3://b/a' " KEYS "JSON 'auto'"), "42701",
                  "more than once");
    assert_failed(copy("COPY t FROM 's3://b/a' " KEYS "JSON 'noshred'"), "XX000", "SUPER");
    assert_failed(copy("COPY t FROM 's3://b/a' IAM_ROLE 'arn:aws:iam::1:role/r' JSON 'auto'"),
                  "XX000", "not authorized to assume IAM Role arn:aws:iam::1:role/r");
}

static void a_role_that_is_attached_reads_the_bucket(void **state)
{
    SKIP_WITHOUT_POSTGRES();
    assert_loaded(copy("COPY t FROM 's3://b/a/' IAM_ROLE default JSON 'auto'"), 4);
    assert_loaded(copy("COPY t FROM 's3://b/a/' IAM_ROLE "
                       "'arn:aws:iam::1:role/a,arn:aws:iam::2:role/b' JSON 'auto'"),
                  4);
    /* a part of a chain is no chain */
    assert_failed(copy("COPY t FROM 's3://b/a/' IAM_ROLE 'arn:aws:iam::1:role/a' JSON 'auto'"),
                  "XX000", "not authorized to assume IAM Role arn:aws:iam::1:role/a");
}

#define STORY(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_role_that_is_attached_reads_the_bucket),
        STORY(rows_may_be_counted_and_discarded),
        STORY(a_prefix_loads_all_that_begins_with_it),
        STORY(a_manifest_loads_a_file_as_often_as_it_is_listed),
        STORY(a_missing_mandatory_file_fails_the_load),
        STORY(without_the_word_a_manifest_is_data),
        STORY(a_column_outside_the_list_gets_its_default),
        STORY(a_bad_record_is_explained_after_the_rollback),
        STORY(a_failure_outside_a_transaction_leaves_no_transaction),
        STORY(maxerror_counts_bad_records_and_bytes_between_them),
        STORY(a_file_that_is_not_compressed_is_explained),
        STORY(noload_checks_and_loads_nothing),
        STORY(names_fold_and_may_be_long),
        STORY(auto_leaves_other_forms_of_time_to_the_server),
        STORY(rights_are_those_of_the_session),
        STORY(what_cannot_be_a_target_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
