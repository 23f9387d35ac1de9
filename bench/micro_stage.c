/*
 * What staging costs. First one row at a time: values to a line, and packed tuples to values to a
 * line, for documents of about 128 bytes and 1 KB. Then whole files: lines through the writer
 * (blocks, gzip on the pool, parts, uploads to a bucket in a process of its own) against ISA-L
 * alone on the same bytes; both as CPU time of this process, so that their ratio means something
 * on a busy machine.
 */

#include "base/arena.h"
#include "base/figures.h"
#include "base/secret.h"
#include "http/client.h"
#include "proto/tuple.h"
#include "runtime/op.h"
#include "s3/client.h"
#include "stage/row.h"
#include "stage/writer.h"
#include "support/http_peer.h"

#include <isa-l/igzip_lib.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 100
#define MAX_ROWS 8000
#define FILE_ROUNDS 5
#define BLOCK_BYTES ((size_t)256 * 1024)
#define MIB_BYTES ((size_t)1 << 20)
#define FILE_BYTES (64 * MIB_BYTES)

static double now_ns(clockid_t clock)
{
    struct timespec now;
    CHECK(clock_gettime(clock, &now) == 0);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void no_error(struct error *err)
{
    if (err) {
        fprintf(stderr, "%s\n", error_text(err));
        exit(1);
    }
}

/* ---------------------------------------------------------------- rows */

struct shape {
    const char *name;
    size_t document_bytes;
    bool has_time; /* also flow_published_at */
    unsigned
        rows; /* few enough that they stay in the cache, as what was just read from stdin does */
};

static const struct shape shapes[] = {
    {"128 bytes", 128, false, MAX_ROWS},
    {"128 bytes and a time", 128, true, MAX_ROWS},
    {"1 KB", 1024, false, 1000},
};

static const struct row_column columns[] = {
    {.field = {"id", 2}, .converter = RS_AS_IS},
    {.field = {"payload", 7}, .converter = RS_TEXT, .is_text = true, .text_width = 65535},
    {.field = {"flow_published_at", 17}, .converter = RS_TIMESTAMP},
    {.field = {"flow_document", 13}, .converter = RS_JSON},
};
/* The same without the time. */
static const struct row_column brief_columns[] = {
    {.field = {"id", 2}, .converter = RS_AS_IS},
    {.field = {"payload", 7}, .converter = RS_TEXT, .is_text = true, .text_width = 65535},
    {.field = {"flow_document", 13}, .converter = RS_JSON},
};

/* All rows of a shape, as they lie in the requests of a runtime. */
struct input {
    struct buf bytes;
    struct row {
        size_t key, values, document, end; /* offsets: each begins where the last one ends */
    } rows[MAX_ROWS];
};

/* Words and numbers, as payloads have them, from a generator that is the same in each run. */
static void add_words(struct buf *out, size_t bytes, uint32_t *random)
{
    static const char *const words[] = {"order", "Karlsruhe", "of", "the",   "quick", "4711",
                                        "blue",  "customer",  "in", "parts", "a",     "reply"};
    const size_t end = out->len + bytes;

    while (out->len < end) {
        *random = *random * 1664525u + 1013904223u;
        buf_printf(out, "%s %u ", words[(*random >> 16) % 12], *random >> 20);
    }
    out->len = end;
}

static void make_input(struct input *input, const struct shape *shape)
{
    uint32_t random = 1;

    buf_init(&input->bytes, 256 * MIB_BYTES);
    for (unsigned i = 0; i < shape->rows; i++) {
        struct buf payload;
        struct row *row = &input->rows[i];
        buf_init(&payload, MIB_BYTES);
        add_words(&payload, shape->document_bytes - 26, &random);
        row->key = input->bytes.len;
        const unsigned id = 65536 + i;
        buf_add(&input->bytes,
                (const char[]){0x17, (char)(id >> 16), (char)(id >> 8), (char)(unsigned char)id},
                4);
        row->values = input->bytes.len;
        buf_add_byte(&input->bytes, 2);
        buf_add_span(&input->bytes, buf_view(&payload));
        buf_add_byte(&input->bytes, 0);
        if (shape->has_time) {
            buf_add_byte(&input->bytes, 2);
            buf_printf(&input->bytes, "2026-03-04T05:06:07.%06uZ", i);
            buf_add_byte(&input->bytes, 0);
        }
        row->document = input->bytes.len;
        buf_printf(&input->bytes, "{\"id\":%u,\"payload\":\"%s\"}", id, payload.data);
        row->end = input->bytes.len;
        buf_done(&payload);
    }
    CHECK(!buf_is_full(&input->bytes));
}

static struct span part(const struct input *input, size_t from, size_t to)
{
    return (struct span){input->bytes.data + from, to - from};
}

struct values {
    struct value key[1], values[2];
};

static void read_row(const struct input *input,
                     unsigned i,
                     unsigned value_count,
                     struct buf scratch[2],
                     struct values *ret)
{
    const struct row *row = &input->rows[i];

    no_error(tuple_read_packed(part(input, row->key, row->values), ret->key, 1, &scratch[0]));
    no_error(tuple_read_packed(part(input, row->values, row->document), ret->values, value_count,
                               &scratch[1]));
}

enum what { ENCODE, READ_AND_ENCODE };

/* Nanoseconds per row of the best of all rounds: the others were disturbed. lines is emptied
 * whenever it has block_bytes. */
static double measure_rows(const struct input *input,
                           const struct shape *shape,
                           enum what what,
                           size_t block_bytes,
                           struct buf *lines)
{
    struct arena *arena = arena_new(MIB_BYTES);
    const unsigned value_count = shape->has_time ? 2 : 1;
    struct row_format *format = row_format_new(arena, shape->has_time ? columns : brief_columns, 1,
                                               value_count, true, ROW_FULL);
    struct values *ready = mem_alloc(shape->rows * sizeof(*ready));
    struct row_facts facts = {0};
    struct buf scratch[2];
    double best = 0;

    buf_init(&scratch[0], MIB_BYTES);
    buf_init(&scratch[1], MIB_BYTES);
    for (unsigned i = 0; i < shape->rows; i++) {
        read_row(input, i, value_count, scratch, &ready[i]);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        buf_clear(lines);
        facts.rows = 0;
        const double start = now_ns(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < shape->rows; i++) {
            const struct row *row = &input->rows[i];
            struct values fresh, *values = &ready[i];
            if (what == READ_AND_ENCODE) {
                read_row(input, i, value_count, scratch, &fresh);
                values = &fresh;
            }
            no_error(row_encode(format, values->key, values->values,
                                part(input, row->document, row->end), lines, &facts));
            if (lines->len >= block_bytes) {
                buf_clear(lines); /* as a writer's blocks: what is written stays in the cache */
            }
        }
        const double took = (now_ns(CLOCK_MONOTONIC) - start) / shape->rows;
        best = round == 0 || took < best ? took : best;
    }
    CHECK(facts.rows == shape->rows);
    buf_done(&scratch[0]);
    buf_done(&scratch[1]);
    mem_free(ready);
    arena_free(arena);
    return best;
}

/* What a copy of the line alone costs: the floor. lines: all of them, afterwards. */
static double measure_copy(const struct input *input, const struct shape *shape, struct buf *lines)
{
    char *to = mem_alloc(BLOCK_BYTES);
    double best = 0;

    (void)measure_rows(input, shape, ENCODE, SIZE_MAX, lines);
    const size_t len = lines->len / shape->rows;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t at = 0;
        const double start = now_ns(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < shape->rows; i++) {
            memcpy(to + at, lines->data + i * len, len);
            __asm__ volatile("" : : "r"(to) : "memory");
            at = at + 2 * len > BLOCK_BYTES ? 0 : at + len;
        }
        const double took = (now_ns(CLOCK_MONOTONIC) - start) / shape->rows;
        best = round == 0 || took < best ? took : best;
    }
    mem_free(to);
    return best;
}

static void report_rows(void)
{
    static struct input input;

    printf("%-22s %11s %10s %16s %9s\n", "documents of", "bytes/line", "encode ns",
           "tuples+encode ns", "copy ns");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        struct buf lines;
        buf_init(&lines, 256 * MIB_BYTES);
        make_input(&input, &shapes[i]);
        const double encode = measure_rows(&input, &shapes[i], ENCODE, BLOCK_BYTES, &lines);
        const double both = measure_rows(&input, &shapes[i], READ_AND_ENCODE, BLOCK_BYTES, &lines);
        const double copy = measure_copy(&input, &shapes[i], &lines);
        printf("%-22s %11.1f %10.1f %16.1f %9.1f\n", shapes[i].name,
               (double)lines.len / shapes[i].rows, encode, both, copy);
        buf_done(&lines);
        buf_done(&input.bytes);
    }
}

/* ---------------------------------------------------------------- files */

/* A bucket in a process of its own, until the pipe to it ends. Over TLS, as the product's is: over
 * plain HTTP a request signs a hash of its body, which is more than encrypting it. */
struct bucket {
    unsigned port;
    char certificate[256]; /* a file */
};

static int start_bucket(struct bucket *bucket)
{
    static const struct http_rule rules[] = {
        {.method = "POST",
         .target = "?uploads=",
         .body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId>"
                 "</InitiateMultipartUploadResult>"},
        {.method = "POST", .target = "?uploadId=", .body = "<CompleteMultipartUploadResult/>"},
        {.method = "PUT", .headers = "ETag: \"e\"\r\n"}};
    int up[2], down[2];

    CHECK(pipe(up) == 0 && pipe(down) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char end;
        close(up[0]);
        close(down[1]);
        struct http_peer *peer = http_peer_start_tls(rules, sizeof(rules) / sizeof(*rules));
        bucket->port = http_peer_port(peer);
        snprintf(bucket->certificate, sizeof(bucket->certificate), "%s",
                 http_peer_certificate(peer));
        CHECK(write(up[1], bucket, sizeof(*bucket)) == sizeof(*bucket));
        (void)!read(down[0], &end, 1);
        (void)unlink(bucket->certificate);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    CHECK(read(up[0], bucket, sizeof(*bucket)) == sizeof(*bucket));
    close(up[0]);
    return down[1];
}

/* In a transaction the encoder knows them. */
struct lengths {
    unsigned count;
    size_t bytes[MAX_ROWS];
};

static void find_lengths(struct span lines, struct lengths *ret)
{
    ret->count = 0;
    while (lines.len) {
        const char *end = memchr(lines.ptr, '\n', lines.len);
        const size_t bytes = (size_t)(end - lines.ptr) + 1;
        ret->bytes[ret->count++] = bytes;
        lines.ptr += bytes;
        lines.len -= bytes;
    }
}

/* Feeds lines while the ledger is open, as the product does. */
struct story {
    struct op op;
    struct loop *loop;
    struct http_client *http;
    struct s3 *s3;
    struct credit *credit;
    struct credit_waiter waiter;
    struct stage_writer *writer;
    const struct lengths *lengths;
    struct span lines; /* few enough that they stay in the cache, as what an encoder writes does */
    size_t at;         /* within them */
    unsigned line;
    unsigned rounds; /* so often they are still to be fed */
    bool has_ended, is_stored;
};

static void closed(void *ctx)
{
    (void)ctx;
}

static void stored(void *ctx, struct error *err)
{
    struct story *story = ctx;

    no_error(err);
    story->is_stored = true;
    op_mark(&story->op);
}

static void fed(void *ctx, struct error *err)
{
    struct story *story = ctx;

    no_error(err);
    http_client_close(story->http, closed, NULL);
}

static void ledger_is_open(void *ctx)
{
    struct story *story = ctx;

    op_mark(&story->op);
}

static void story_step(struct op *op)
{
    struct story *story = CONTAINER_OF(op, struct story, op);

    while (story->rounds > 0 && credit_is_open(story->credit)) {
        const size_t len = story->lengths->bytes[story->line++];
        struct buf *block = stage_writer_row_begin(story->writer);
        buf_add(block, story->lines.ptr + story->at, len);
        stage_writer_row_end(story->writer, len);
        story->at += len;
        if (story->line == story->lengths->count) {
            story->line = 0;
            story->at = 0;
            story->rounds--;
        }
    }
    if (story->rounds == 0 && !story->has_ended) {
        story->has_ended = true;
        stage_writer_end(story->writer, stored, story);
    }
    if (story->is_stored) {
        op_finish(op);
    }
}

static const char *const story_states[] = {"FEEDING"};
static const uint32_t story_moves[] = {0};
static const struct op_kind story_kind = {"story", story_states, 1, story_moves, story_step};

/* CPU nanoseconds of all lines, so many times, through a writer; *ret_bytes: compressed. */
static double write_lines(struct span lines,
                          const struct lengths *lengths,
                          unsigned rounds,
                          const struct bucket *bucket,
                          uint64_t *ret_bytes)
{
    struct story story = {.loop = loop_new(), .lines = lines, .lengths = lengths, .rounds = rounds};
    struct arena *arena = arena_new(16 * MIB_BYTES);
    struct secret *secret = secret_new(SPAN_LIT("secret"));
    struct figures figures = {0};
    struct http_client_options http = {.max_host_connections = 8, .ca_file = bucket->certificate};
    struct s3_options options = {
        .access_key_id = "AKIA", .secret_access_key = secret, .figures = &figures};
    char address[64];

    snprintf(address, sizeof(address), "https://127.0.0.1:%u", bucket->port);
    no_error(s3_endpoint_make(
        arena,
        &(struct s3_endpoint_options){.bucket = "docs", .region = "us-east-1", .endpoint = address},
        &options.endpoint));
    story.credit = credit_new(32 * MIB_BYTES);
    story.http = http_client_new(story.loop, &http);
    story.s3 = s3_new(story.loop, story.http, &options);
    struct stage *stage = stage_new(
        story.loop,
        &(struct stage_options){.s3 = story.s3, .credit = story.credit, .figures = &figures});
    story.writer = stage_writer_new(stage, arena, SPAN_LIT("bench/"));
    op_init(&story.op, story.loop, &story_kind, fed, &story);
    story.waiter = (struct credit_waiter){.fn = ledger_is_open, .ctx = &story};
    credit_add_waiter(story.credit, &story.waiter);
    op_mark(&story.op);
    const double start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    loop_run(story.loop);
    const double took = now_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
    *ret_bytes = figures.staged_bytes;
    credit_remove_waiter(&story.waiter);
    stage_writer_free(story.writer);
    stage_free(stage);
    s3_free(story.s3);
    loop_free(story.loop);
    credit_free(story.credit);
    secret_free(secret);
    arena_free(arena);
    return took;
}

/* CPU nanoseconds of ISA-L over the same bytes, at the level and with the tables of the product, in
 * one call into memory that was touched before. */
static double compress_lines(struct span lines, uint8_t *to, size_t room, uint64_t *ret_bytes)
{
    struct isal_zstream stream;
    uint8_t *tables = mem_alloc(ISAL_DEF_LVL1_DEFAULT);

    isal_deflate_init(&stream);
    stream.level = 1;
    stream.level_buf = tables;
    stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    stream.gzip_flag = IGZIP_GZIP;
    stream.end_of_stream = 1;
    stream.next_in = (uint8_t *)(uintptr_t)lines.ptr;
    stream.avail_in = (uint32_t)lines.len;
    stream.next_out = to;
    stream.avail_out = (uint32_t)room;
    const double start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    CHECK(isal_deflate(&stream) == COMP_OK && stream.internal_state.state == ZSTATE_END);
    const double took = now_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
    *ret_bytes = stream.total_out;
    mem_free(tables);
    return took;
}

static void report_files(const struct bucket *bucket)
{
    static struct input input;
    static struct lengths lengths;
    const size_t room = FILE_BYTES + MIB_BYTES;
    uint8_t *to = mem_alloc(room);

    memset(to, 1, room);
    printf("\n%-22s %9s %12s %12s %7s %7s %7s\n", "lines of documents of", "raw MB", "writer MB/s",
           "ISA-L MB/s", "ratio", "gzip", "ISA-L");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        struct buf lines, all;
        double writer = 0, alone = 0;
        uint64_t staged = 0, bare = 0;
        buf_init(&lines, 256 * MIB_BYTES);
        buf_init(&all, 256 * MIB_BYTES);
        make_input(&input, &shapes[i]);
        (void)measure_rows(&input, &shapes[i], ENCODE, SIZE_MAX, &lines);
        find_lengths(buf_view(&lines), &lengths);
        unsigned rounds = 0;
        for (; all.len + lines.len <= FILE_BYTES; rounds++) {
            buf_add_span(&all, buf_view(&lines));
        }
        for (unsigned round = 0; round < FILE_ROUNDS; round++) {
            const double one = write_lines(buf_view(&lines), &lengths, rounds, bucket, &staged);
            const double two = compress_lines(buf_view(&all), to, room, &bare);
            writer = round == 0 || one < writer ? one : writer;
            alone = round == 0 || two < alone ? two : alone;
        }
        const double mb = (double)all.len / 1e6;
        printf("%-22s %9.1f %12.0f %12.0f %7.2f %6.1f%% %6.1f%%\n", shapes[i].name, mb,
               mb / writer * 1e9, mb / alone * 1e9, writer / alone,
               (double)staged * 100 / (double)all.len, (double)bare * 100 / (double)all.len);
        buf_done(&lines);
        buf_done(&all);
        buf_done(&input.bytes);
    }
    mem_free(to);
}

/* "rows" or "files": only these. */
int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";

    if (strcmp(only, "files") != 0) {
        report_rows();
    }
    if (strcmp(only, "rows") != 0) {
        struct bucket bucket;
        const int end = start_bucket(&bucket);
        report_files(&bucket);
        close(end);
    }
    return 0;
}
