/* Rows to objects in a bucket that a script plays: what arrives, in how many files, what is left
 * after each failure and each cancel. Each story ends with an empty ledger, no chunk in use, a
 * closed loop, and done said once. */

#include "stage/writer.h"

#include "runtime/timer.h"
#include "stage/compress.h"
#include "unit/s3/world.h"
#include "unpack.h"

#include <unistd.h>

#define MANY 300
#define MIB_BYTES ((size_t)1 << 20)
#define PUT_OK                                                                                     \
    {                                                                                              \
        .method = "PUT", .headers = "ETag: \"e\"\r\n"                                              \
    }
#define DELETE_OK                                                                                  \
    {                                                                                              \
        .method = "POST", .target = "?delete=", .body = "<DeleteResult/>"                          \
    }
#define CREATED                                                                                    \
    {                                                                                              \
        .method = "POST", .target = "?uploads=",                                                   \
        .body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId>"                           \
                "</InitiateMultipartUploadResult>"                                                 \
    }
#define COMPLETED                                                                                  \
    {                                                                                              \
        .method = "POST", .target = "?uploadId=u1", .body = "<CompleteMultipartUploadResult/>"     \
    }
#define ABORTED                                                                                    \
    {                                                                                              \
        .method = "DELETE", .target = "?uploadId=u1", .status = 204                                \
    }
#define XML(code) "<Error><Code>" code "</Code></Error>"

static const struct http_rule good_rules[] = {PUT_OK, DELETE_OK};
static const struct http_rule multipart_rules[] = {CREATED, COMPLETED, ABORTED, DELETE_OK, PUT_OK};

/* ---------------------------------------------------------------- rows */

/* Row number n of a writer: a text of so many random letters, or (0) one that compresses to nearly
 * nothing. */
static size_t make_row(char *to, size_t room, unsigned n, size_t bytes, unsigned letters)
{
    size_t len = (size_t)snprintf(to, room, "{\"n\":%u,\"t\":\"", n);
    uint32_t random = n * 2654435761u + 1;

    while (len < bytes - 3) {
        random = random * 1664525u + 1013904223u;
        to[len] = (char)(letters ? '#' + (random >> 24) % letters : 'a' + len % 7);
        len++;
    }
    memcpy(to + len, "\"}\n", 3);
    return len + 3;
}

/* ---------------------------------------------------------------- a story */

/* Feeds rows to its writers in turns while the ledger is open, a few each turn of the loop, then
 * ends them; or cancels them at a turn. */
struct story {
    struct world world;
    struct arena *arena; /* for the writers */
    struct stage *stage;
    struct op op;
    struct timer *timer;
    struct credit_waiter waiter;
    struct stage_writer *writers[MANY];
    struct outcome outcomes[MANY];
    unsigned writer_count;

    unsigned rows, rows_per_turn, fed; /* of all writers together; row n goes to n % writer_count */
    size_t row_bytes;
    unsigned letters;

    bool has_ended;
    bool must_cancel; /* once a fact holds: so many turns, so many requests at the peer */
    unsigned cancel_turn, cancel_requests;
    bool was_cancelled;
    unsigned turns;
    unsigned wait_row; /* this row waits until a writer has failed; 0: none */
    unsigned failures; /* how often a writer said that it failed */
    unsigned lost;     /* rows that found no block */
};

static void story_step(struct op *op);
static const char *const story_states[] = {"FEEDING"};
static const uint32_t story_moves[] = {0};
static const struct op_kind story_kind = {"story", story_states, 1, story_moves, story_step};

static void story_done(void *ctx, struct error *err)
{
    (void)ctx;
    assert_null(err);
}

static void ledger_is_open(void *ctx)
{
    struct story *story = ctx;

    op_mark(&story->op);
}

static void writer_failed(void *ctx)
{
    struct story *story = ctx;

    story->failures++;
}

static void feed(struct story *story)
{
    for (unsigned i = 0; i < story->rows_per_turn && story->fed < story->rows; i++) {
        struct stage_writer *writer = story->writers[story->fed % story->writer_count];
        const bool must_wait = story->wait_row && story->fed == story->wait_row && !story->failures;
        if (must_wait || !credit_is_open(story->world.credit)) {
            return;
        }
        struct buf *block = stage_writer_row_begin(writer);
        if (block) {
            char *to = buf_reserve(block, story->row_bytes + 64);
            assert_non_null(to);
            const size_t len =
                make_row(to, story->row_bytes + 64, story->fed, story->row_bytes, story->letters);
            buf_commit(block, len);
            stage_writer_row_end(writer, len);
        } else {
            assert_non_null(stage_writer_error(writer));
            story->lost++;
        }
        story->fed++;
    }
}

static bool is_time_to_cancel(struct story *story)
{
    return story->must_cancel && !story->was_cancelled && story->turns >= story->cancel_turn &&
           http_peer_count(story->world.peer, NULL, NULL) >= story->cancel_requests;
}

static bool all_done(const struct story *story)
{
    for (unsigned i = 0; i < story->writer_count; i++) {
        if (!story->outcomes[i].done_count) {
            return false;
        }
    }
    return true;
}

static void story_step(struct op *op)
{
    struct story *story = CONTAINER_OF(op, struct story, op);

    story->turns++;
    if (is_time_to_cancel(story)) {
        story->was_cancelled = true;
        for (unsigned i = 0; i < story->writer_count; i++) {
            stage_writer_cancel(story->writers[i], story->has_ended ? NULL : world_done,
                                story->has_ended ? NULL : &story->outcomes[i]);
            stage_writer_cancel(story->writers[i], NULL, NULL); /* a second time changes nothing */
        }
        story->has_ended = true;
    }
    if (!story->has_ended) {
        feed(story);
        if (story->fed == story->rows) {
            story->has_ended = true;
            for (unsigned i = 0; i < story->writer_count; i++) {
                stage_writer_end(story->writers[i], world_done, &story->outcomes[i]);
            }
        }
    }
    if (all_done(story)) {
        credit_remove_waiter(&story->waiter);
        op_finish(op);
        return;
    }
    timer_start(story->timer, story->has_ended ? 1 : 0);
}

static void begin_story(struct story *story,
                        const struct http_rule *rules,
                        unsigned rule_count,
                        size_t budget_bytes,
                        const struct stage_options *with)
{
    struct stage_options options = *with;

    world_set_up(&story->world, rules, rule_count, 0);
    credit_free(story->world.credit);
    story->world.credit = credit_new(budget_bytes);
    options.s3 = story->world.s3;
    options.credit = story->world.credit;
    options.figures = &story->world.figures;
    story->stage = stage_new(story->world.loop, &options);
    story->arena = arena_new(MIB_BYTES);
    op_init(&story->op, story->world.loop, &story_kind, story_done, NULL);
    story->timer = timer_new(&story->op);
    story->waiter = (struct credit_waiter){.fn = ledger_is_open, .ctx = story};
    credit_add_waiter(story->world.credit, &story->waiter);
    for (unsigned i = 0; i < story->writer_count; i++) {
        char prefix[64];
        world_begin(&story->world, &story->outcomes[i]);
        snprintf(prefix, sizeof(prefix), "dir/w%02u-", i);
        story->writers[i] = stage_writer_new(story->stage, story->arena, span_of(prefix));
        stage_writer_on_failure(story->writers[i], writer_failed, story);
    }
    if (!story->rows_per_turn) {
        story->rows_per_turn = 16;
    }
    op_mark(&story->op);
}

static void run_story(struct story *story)
{
    loop_run(story->world.loop);
    for (unsigned i = 0; i < story->writer_count; i++) {
        assert_int_equal(story->outcomes[i].done_count, 1);
    }
}

static void end_story(struct story *story)
{
    for (unsigned i = 0; i < story->writer_count; i++) {
        stage_writer_free(story->writers[i]);
        error_free(story->outcomes[i].err);
    }
    arena_free(story->arena);
    stage_free(story->stage); /* checks that no chunk is in use */
    world_tear_down(&story->world);
}

/* ---------------------------------------------------------------- what arrived */

/* The one request that stored the file; with_body when all of it was kept. */
static void find_put(struct story *story, struct span key, struct http_peer_request *ret)
{
    char target[128];

    snprintf(target, sizeof(target), "/docs/%.*s", SPAN_FMT(key));
    assert_int_equal(http_peer_count(story->world.peer, "PUT", target), 1);
    assert_true(http_peer_request(story->world.peer, "PUT", target, 0, ret));
    assert_string_equal(ret->target, target);
}

static uint64_t count_lines(struct span text)
{
    uint64_t count = 0;

    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '\n';
    }
    return count;
}

/* Each line is a row that this writer was given, and none comes twice. Returns how many. */
static unsigned check_lines(struct story *story, unsigned index, struct span text, bool *seen)
{
    char *row = test_malloc(story->row_bytes + 64);
    unsigned count = 0;
    size_t at = 0;

    while (at < text.len) {
        const unsigned n = (unsigned)strtoul(text.ptr + at + strlen("{\"n\":"), NULL, 10);
        assert_true(n < story->rows && n % story->writer_count == index);
        const size_t len =
            make_row(row, story->row_bytes + 64, n, story->row_bytes, story->letters);
        assert_true(text.len - at >= len);
        assert_memory_equal(text.ptr + at, row, len);
        assert_false(seen[n]);
        seen[n] = true;
        at += len;
        count++;
    }
    test_free(row);
    return count;
}

/* The files of a writer are the rows that it was given, whichever file each is in. */
static void expect_rows(struct story *story, unsigned index, enum stage_compression kind)
{
    struct stage_writer *writer = story->writers[index];
    struct http_peer_request *request = test_malloc(sizeof(*request));
    bool *seen = test_calloc(story->rows, sizeof(*seen));
    unsigned count, rows = 0;
    const struct stage_file *files = stage_writer_files(writer, &count);
    struct buf text;

    buf_init(&text, 64 * MIB_BYTES);
    for (unsigned i = 0; i < count; i++) {
        buf_clear(&text);
        find_put(story, files[i].key, request);
        assert_int_equal(request->body_bytes, files[i].bytes);
        assert_true(files[i].bytes < sizeof(request->body)); /* so that all of it was kept */
        assert_true(unpack(kind, (struct span){request->body, request->body_bytes}, &text));
        assert_int_equal(count_lines(buf_view(&text)), files[i].rows);
        assert_true(files[i].rows > 0);
        rows += check_lines(story, index, buf_view(&text), seen);
    }
    assert_int_equal(stage_writer_rows(writer), rows);
    assert_int_equal(rows, story->rows / story->writer_count +
                               (index < story->rows % story->writer_count));
    buf_done(&text);
    test_free(seen);
    test_free(request);
}

/* What was sent and what was deleted: after a failure or a cancel each key that may be in the
 * bucket was deleted. */
static bool was_deleted(struct story *story, const char *key)
{
    struct http_peer_request *request = test_malloc(sizeof(*request));
    bool found = false;

    for (unsigned i = 0;
         !found && http_peer_request(story->world.peer, "POST", "?delete=", i, request); i++) {
        found = strstr(request->body, key) != NULL;
    }
    test_free(request);
    return found;
}

/* Files are sent side by side: which one refusal meets is not known beforehand. NULL: none. */
static void
expect_nothing_left(struct story *story, const struct http_rule *refusal, const char *sentence)
{
    struct http_peer_request *request = test_malloc(sizeof(*request));

    for (unsigned i = 0; http_peer_request(story->world.peer, "PUT", "/docs/dir/", i, request);
         i++) {
        const char *key = request->target + strlen("/docs/");
        if (strstr(key, "partNumber=") || (refusal && request->rule == refusal)) {
            continue;
        }
        if (!was_deleted(story, key)) {
            fail_msg("%s: %s was sent and not deleted", sentence, key);
        }
    }
    test_free(request);
}

/* ---------------------------------------------------------------- rows arrive */

static void rows_arrive_in_one_file(void **state)
{
    static const enum stage_compression kinds[] = {STAGE_GZIP, STAGE_ZSTD};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct story story = {.writer_count = 1, .rows = 5000, .row_bytes = 150};
        unsigned count;
        begin_story(&story, good_rules, ARRAY_LEN(good_rules), 64 * MIB_BYTES,
                    &(struct stage_options){.compression = kinds[k]});
        assert_int_equal(stage_compression(story.stage), kinds[k]);
        run_story(&story);
        assert_null(story.outcomes[0].err);
        expect_rows(&story, 0, kinds[k]);
        const struct stage_file *files = stage_writer_files(story.writers[0], &count);
        assert_int_equal(count, 1);
        assert_string_equal(files[0].key.ptr,
                            k == 0 ? "dir/w00-0000.json.gz" : "dir/w00-0000.json.zst");
        assert_int_equal(story.world.figures.raw_bytes, 5000 * 150);
        assert_int_equal(story.world.figures.staged_bytes, files[0].bytes);
        assert_int_equal(story.world.figures.files, 1);
        assert_int_equal(http_peer_count(story.world.peer, NULL, NULL), 1);
        end_story(&story);
    }
}

static void no_rows_are_no_files(void **state)
{
    struct story story = {.writer_count = 3};
    unsigned count;

    (void)state;
    begin_story(&story, NULL, 0, MIB_BYTES, &(struct stage_options){0});
    run_story(&story);
    for (unsigned i = 0; i < story.writer_count; i++) {
        assert_null(story.outcomes[i].err);
        (void)stage_writer_files(story.writers[i], &count);
        assert_int_equal(count, 0);
    }
    assert_int_equal(http_peer_count(story.world.peer, NULL, NULL), 0);
    end_story(&story);
}

/* Files of the small stories: each block is one. */
#define SMALL_FILE_ROWS 360
#define SMALL_FILES                                                                                \
    ((struct stage_options){.block_bytes = (size_t)SMALL_FILE_ROWS * 500, .file_bytes = 1000})
#define THREE_FILES .rows = 900, .row_bytes = 500, .letters = 16

/* The end of the rows at many places within blocks, and at the ends of them. */
static void files_are_rolled_by_their_size(void **state)
{
    static const unsigned counts[] = {1, 359, 360, 361, 500, 719, 720, 721, 1000, 1080, 1081};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
        const unsigned rows = counts[k];
        struct story story = {.writer_count = 1,
                              .rows = rows,
                              .row_bytes = 500,
                              .letters = 16,
                              .rows_per_turn = 1 + rows % 50};
        unsigned count, full = 0;
        begin_story(&story, good_rules, ARRAY_LEN(good_rules), 64 * MIB_BYTES, &SMALL_FILES);
        run_story(&story);
        assert_null(story.outcomes[0].err);
        expect_rows(&story, 0, STAGE_GZIP);
        const struct stage_file *files = stage_writer_files(story.writers[0], &count);
        /* a block of a few rows may come back first, and then the next one joins it */
        if (count != rows / SMALL_FILE_ROWS && count != rows / SMALL_FILE_ROWS + 1) {
            fail_msg("%u rows are %u files", rows, count);
        }
        for (unsigned i = 0; i < count; i++) {
            full += files[i].rows >= SMALL_FILE_ROWS;
        }
        assert_int_equal(full, rows / SMALL_FILE_ROWS);
        assert_int_equal(story.world.figures.files, count);
        end_story(&story);
    }
}

/* The same rows compressed at one go: the sum over the parts of a file must be that of its bytes.
 * For a stream, whose blocks are in the order of the rows. */
static void expect_bytes(struct story *story, const struct stage_file *file, unsigned first_row)
{
    struct compress *compress = compress_new(STAGE_ZSTD);
    struct http_peer_request *request = test_malloc(sizeof(*request));
    struct compress_piece piece;
    struct buf block, out;
    char target[128];
    uint32_t sum = 0, seen_sum = 0;
    size_t seen_bytes = 0;

    buf_init(&block, MIB_BYTES);
    buf_init(&out, 64 * MIB_BYTES);
    for (unsigned i = 0; i < file->rows; i++) {
        char *to = buf_reserve(&block, 4096);
        buf_commit(&block, make_row(to, 4096, first_row + i, story->row_bytes, story->letters));
        if (block.len >= (size_t)256 * 1024 || i + 1 == file->rows) {
            compress_block(NULL, compress, buf_view(&block), NULL, &out, &piece);
            buf_clear(&block);
        }
    }
    compress_end(compress, &out);
    for (size_t i = 0; i < out.len; i++) {
        sum += (unsigned char)out.data[i];
    }
    snprintf(target, sizeof(target), "%.*s", SPAN_FMT(file->key));
    for (unsigned i = 0; http_peer_request(story->world.peer, "PUT", target, i, request); i++) {
        seen_sum += request->body_sum;
        seen_bytes += request->body_bytes;
    }
    assert_int_equal(seen_bytes, file->bytes);
    assert_int_equal(out.len, file->bytes);
    assert_int_equal(seen_sum, sum);
    compress_free(compress);
    buf_done(&block);
    buf_done(&out);
    test_free(request);
}

static void large_files_go_in_parts(void **state)
{
    static const enum stage_compression kinds[] = {STAGE_GZIP, STAGE_ZSTD};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct story story = {.writer_count = 1,
                              .rows = 9000,
                              .row_bytes = 2000,
                              .letters = 57,
                              .rows_per_turn = 100};
        unsigned count, first_row = 0;
        begin_story(&story, multipart_rules, ARRAY_LEN(multipart_rules), 64 * MIB_BYTES,
                    &(struct stage_options){.compression = kinds[k],
                                            .files = 1,
                                            .part_bytes = S3_MIN_PART_BYTES,
                                            .file_bytes = 6 * MIB_BYTES});
        run_story(&story);
        assert_null(story.outcomes[0].err);
        const struct stage_file *files = stage_writer_files(story.writers[0], &count);
        assert_int_equal(count, 3);
        assert_int_equal(http_peer_count(story.world.peer, "POST", "?uploadId=u1"), 2);
        assert_int_equal(http_peer_count(story.world.peer, "PUT", "partNumber=1&"), 2);
        assert_int_equal(http_peer_count(story.world.peer, "PUT", "partNumber=2&"), 2);
        for (unsigned i = 0; i < count; i++) {
            if (kinds[k] == STAGE_ZSTD) {
                expect_bytes(&story, &files[i], first_row);
            }
            first_row += (unsigned)files[i].rows;
        }
        assert_int_equal(first_row, story.rows);
        end_story(&story);
    }
}

/* ---------------------------------------------------------------- groups of files */

/* What a block of 256 KiB compresses to, with room to spare. */
#define BLOCK_PACKED ((size_t)256 * 1024)

/* Every reader gets as many files of each size as the others, but for the last group. */
static void many_rows_are_groups_of_equal_files(void **state)
{
    enum { FILES = 3, GROUPS = 4 };
    struct story story = {
        .writer_count = 1, .rows = 10000, .row_bytes = 2000, .letters = 57, .rows_per_turn = 100};
    uint64_t rows = 0;
    unsigned count;

    (void)state;
    begin_story(&story, good_rules, ARRAY_LEN(good_rules), 64 * MIB_BYTES,
                &(struct stage_options){.files = FILES});
    run_story(&story);
    assert_null(story.outcomes[0].err);
    const struct stage_file *files = stage_writer_files(story.writers[0], &count);
    assert_in_range(count, GROUPS * FILES, (GROUPS + 1) * FILES);
    for (unsigned i = 0; i < count; i++) {
        if (i < GROUPS * FILES) {
            assert_in_range(files[i].bytes, MIB_BYTES, MIB_BYTES + BLOCK_PACKED);
        }
        rows += files[i].rows;
    }
    assert_int_equal(rows, story.rows);
    /* single requests, and nothing else */
    assert_int_equal(http_peer_count(story.world.peer, NULL, NULL), count);
    end_story(&story);
}

/* Few rows stay one file, and who said nothing about files gets no more either. */
static void few_rows_are_one_file(void **state)
{
    (void)state;
    for (unsigned files = 0; files < 200; files += 64) {
        struct story story = {.writer_count = 1, .rows = 900, .row_bytes = 1000, .letters = 57};
        unsigned count;
        begin_story(&story, good_rules, ARRAY_LEN(good_rules), 64 * MIB_BYTES,
                    &(struct stage_options){0});
        stage_set_files(story.stage, files);
        run_story(&story);
        assert_null(story.outcomes[0].err);
        (void)stage_writer_files(story.writers[0], &count);
        assert_int_equal(count, 1);
        assert_int_equal(http_peer_count(story.world.peer, NULL, NULL), 1);
        end_story(&story);
    }
}

/* Sizes grow with what there is, and from a part on files grow together: whenever the rows end,
 * they differ by one part. */
static void large_files_of_a_group_grow_in_turns(void **state)
{
    enum { FILES = 2 };
    static const struct http_rule rules[] = {CREATED, COMPLETED, DELETE_OK, PUT_OK};
    struct story story = {
        .writer_count = 1, .rows = 16000, .row_bytes = 5000, .letters = 92, .rows_per_turn = 100};
    uint64_t rows = 0, most = 0, least = UINT64_MAX;
    unsigned count, in_parts = 0;

    (void)state;
    begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES,
                &(struct stage_options){.files = FILES, .part_bytes = S3_MIN_PART_BYTES});
    run_story(&story);
    assert_null(story.outcomes[0].err);
    const struct stage_file *files = stage_writer_files(story.writers[0], &count);
    for (unsigned i = 0; i < count; i++) {
        rows += files[i].rows;
        if (files[i].bytes > S3_MIN_PART_BYTES + BLOCK_PACKED) {
            in_parts++;
            most = files[i].bytes > most ? files[i].bytes : most;
            least = files[i].bytes < least ? files[i].bytes : least;
        } else if (i > 0) {
            /* each is as large as the one before, or larger by the next step */
            assert_true(files[i].bytes + BLOCK_PACKED > files[i - 1].bytes);
            assert_true(files[i].bytes < 2 * files[i - 1].bytes);
        }
    }
    print_message("%u files, %u in parts: %llu to %llu bytes\n", count, in_parts,
                  (unsigned long long)least, (unsigned long long)most);
    assert_int_equal(in_parts, FILES);
    assert_true(most - least < S3_MIN_PART_BYTES + BLOCK_PACKED);
    assert_int_equal(http_peer_count(story.world.peer, "POST", "?uploads="), FILES);
    assert_int_equal(rows, story.rows);
    end_story(&story);
}

/* ---------------------------------------------------------------- little credit */

/* No writer ever has enough for a block, and the ledger closes long before the rows are in. */
static void half_full_writers_let_go_when_the_ledger_closes(void **state)
{
    struct story story = {.writer_count = MANY, .rows = 9000, .row_bytes = 1000, .letters = 57};
    unsigned files = 0;

    (void)state;
    begin_story(&story, good_rules, ARRAY_LEN(good_rules), 2 * MIB_BYTES,
                &(struct stage_options){0});
    run_story(&story);
    for (unsigned i = 0; i < MANY; i++) {
        unsigned count;
        assert_null(story.outcomes[i].err);
        expect_rows(&story, i, STAGE_GZIP);
        (void)stage_writer_files(story.writers[i], &count);
        files += count;
    }
    print_message("%u files, at most %zu bytes of credit\n", files,
                  credit_peak(story.world.credit));
    assert_true(files > MANY);      /* some ended early */
    assert_true(files < 10 * MANY); /* and not all of them all the time */
    assert_true(credit_peak(story.world.credit) < 3 * MIB_BYTES);
    end_story(&story);
}

/* Parts that wait for more: compressed bytes alone fill the ledger. */
static void half_full_parts_let_go_when_the_ledger_closes(void **state)
{
    struct story story = {.writer_count = 20, .rows = 8000, .row_bytes = 1000, .letters = 57};

    (void)state;
    begin_story(&story, good_rules, ARRAY_LEN(good_rules), MIB_BYTES,
                &(struct stage_options){.block_bytes = 4096});
    run_story(&story);
    for (unsigned i = 0; i < story.writer_count; i++) {
        assert_null(story.outcomes[i].err);
        expect_rows(&story, i, STAGE_GZIP);
    }
    assert_true(story.world.figures.files > story.writer_count);
    end_story(&story);
}

/* Rows that compress well leave room enough once they are compressed: no file ends before its time.
 */
static void half_full_blocks_are_compressed_before_files_are_ended(void **state)
{
    struct story story = {.writer_count = 20, .rows = 8000, .row_bytes = 1000};

    (void)state;
    begin_story(&story, good_rules, ARRAY_LEN(good_rules), 2 * MIB_BYTES,
                &(struct stage_options){0});
    run_story(&story);
    for (unsigned i = 0; i < story.writer_count; i++) {
        assert_null(story.outcomes[i].err);
        expect_rows(&story, i, STAGE_GZIP);
    }
    assert_int_equal(story.world.figures.files, story.writer_count);
    end_story(&story);
}

/* The state of a stream counts as bytes do, and is the first to go. */
static void half_full_streams_let_go_when_the_ledger_closes(void **state)
{
    struct story story = {.writer_count = 20, .rows = 8000, .row_bytes = 1000, .letters = 57};

    (void)state;
    begin_story(&story, good_rules, ARRAY_LEN(good_rules), 4 * MIB_BYTES,
                &(struct stage_options){.compression = STAGE_ZSTD, .block_bytes = 20000});
    run_story(&story);
    for (unsigned i = 0; i < story.writer_count; i++) {
        assert_null(story.outcomes[i].err);
        expect_rows(&story, i, STAGE_ZSTD);
    }
    print_message("%llu files, at most %zu bytes of credit\n",
                  (unsigned long long)story.world.figures.files, credit_peak(story.world.credit));
    assert_true(story.world.figures.files > story.writer_count);
    assert_true(credit_peak(story.world.credit) < 6 * MIB_BYTES);
    end_story(&story);
}

/* ---------------------------------------------------------------- failures */

struct failure_way {
    const char *sentence;
    struct http_rule rule;
    bool is_cured;      /* a retry helps */
    bool may_be_stored; /* the bucket may have the object all the same */
};

static const struct failure_way failure_ways[] = {
    {"refused", {.status = 403, .body = XML("AccessDenied")}, false, false},
    {"an inner error, once", {.status = 500, .body = XML("InternalError")}, true, false},
    {"closed without an answer, once", {.way = HTTP_PEER_CUT}, true, true},
};

/* Three files: each of the requests fails in each way. */
static void any_file_may_fail(void **state)
{
    (void)state;
    for (size_t way = 0; way < ARRAY_LEN(failure_ways); way++) {
        for (unsigned k = 0; k < 3; k++) {
            const struct failure_way *failure = &failure_ways[way];
            struct http_rule rules[3] = {failure->rule, PUT_OK, DELETE_OK};
            struct story story = {.writer_count = 1, THREE_FILES};
            char sentence[128];
            rules[0].method = "PUT";
            rules[0].skip = k;
            rules[0].times = 1;
            snprintf(sentence, sizeof(sentence), "file %u %s", k, failure->sentence);
            begin_story(&story, rules, 3, 64 * MIB_BYTES, &SMALL_FILES);
            run_story(&story);
            if (http_peer_rule_uses(story.world.peer, 0) != 1) {
                fail_msg("%s: was not met", sentence);
            }
            if ((story.outcomes[0].err == NULL) != failure->is_cured) {
                fail_msg("%s: %s", sentence,
                         story.outcomes[0].err ? error_text(story.outcomes[0].err) : "fine");
            }
            if (!failure->is_cured) {
                unsigned count;
                assert_string_equal(error_origin(story.outcomes[0].err), "403 AccessDenied");
                (void)stage_writer_files(story.writers[0], &count);
                assert_int_equal(count, 0);
                expect_nothing_left(&story, &rules[0], sentence);
            }
            end_story(&story);
        }
    }
}

static void lost_answers_leave_nothing(void **state)
{
    static const struct http_rule rules[] = {{.method = "PUT", .way = HTTP_PEER_CUT}, DELETE_OK};
    struct story story = {.writer_count = 1, THREE_FILES};

    (void)state;
    begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES, &(struct stage_options){0});
    run_story(&story);
    assert_non_null(story.outcomes[0].err);
    expect_nothing_left(&story, NULL, "no answer, seven times");
    end_story(&story);
}

/* CREATE, two parts, COMPLETE, the second file: each is refused in turn. */
static void any_exchange_of_a_large_file_may_fail(void **state)
{
    enum { EXCHANGES = 5 };

    (void)state;
    for (unsigned k = 0; k <= EXCHANGES; k++) {
        struct http_rule rules[1 + ARRAY_LEN(multipart_rules)] = {
            {.skip = k, .times = 1, .status = 403, .body = XML("AccessDenied")}};
        struct story story = {.writer_count = 1,
                              .rows = 5000,
                              .row_bytes = 2000,
                              .letters = 57,
                              .rows_per_turn = 100};
        memcpy(rules + 1, multipart_rules, sizeof(multipart_rules));
        begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES,
                    &(struct stage_options){
                        .files = 1, .part_bytes = S3_MIN_PART_BYTES, .file_bytes = 6 * MIB_BYTES});
        run_story(&story);
        const unsigned created = http_peer_count(story.world.peer, "POST", "?uploads=") - (k == 0);
        const unsigned aborted = http_peer_count(story.world.peer, "DELETE", "?uploadId=u1");
        struct http_peer_request *request = test_malloc(sizeof(*request));
        if (k == EXCHANGES) {
            assert_null(story.outcomes[0].err);
            assert_int_equal(http_peer_rule_uses(story.world.peer, 0), 0);
            assert_int_equal(aborted, 0);
        } else {
            assert_non_null(story.outcomes[0].err);
            assert_int_equal(http_peer_rule_uses(story.world.peer, 0), 1);
            /* what was created is aborted, or was completed and is deleted */
            if (created > aborted && !was_deleted(&story, "dir/w00-0000.json.gz")) {
                fail_msg("exchange %u refused: the first file is left", k);
            }
        }
        test_free(request);
        end_story(&story);
    }
}

static void rows_after_a_failure_find_no_block(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .times = 1, .status = 403, .body = XML("AccessDenied")},
        PUT_OK,
        DELETE_OK};
    struct story story = {
        .writer_count = 1, .rows = 5000, .row_bytes = 100, .letters = 16, .wait_row = 4500};

    (void)state;
    begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES, &SMALL_FILES);
    run_story(&story);
    assert_int_equal(story.failures, 1); /* told once, while rows came */
    assert_true(story.lost >= 500); /* more when the answer came before the story waited for it */
    assert_non_null(story.outcomes[0].err);
    assert_string_equal(error_origin(story.outcomes[0].err), "403 AccessDenied");
    end_story(&story);
}

/* The owner gives up as soon as it is told. */
static void give_up(void *ctx)
{
    struct story *story = ctx;

    story->failures++;
    story->has_ended = true;
    stage_writer_cancel(story->writers[0], world_done, &story->outcomes[0]);
}

static void an_owner_may_give_up_when_it_is_told(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .skip = 1, .times = 1, .status = 403, .body = XML("AccessDenied")},
        PUT_OK,
        DELETE_OK};
    struct story story = {
        .writer_count = 1, .rows = 5000, .row_bytes = 100, .letters = 16, .wait_row = 4500};

    (void)state;
    begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES, &SMALL_FILES);
    stage_writer_on_failure(story.writers[0], give_up, &story);
    run_story(&story);
    assert_int_equal(story.failures, 1);
    assert_true(story.fed < story.rows);
    assert_string_equal(error_origin(story.outcomes[0].err), "403 AccessDenied");
    expect_nothing_left(&story, &rules[0], "given up when told");
    end_story(&story);
}

static void what_cannot_be_deleted_does_not_hide_the_failure(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .skip = 2, .times = 1, .status = 403, .body = XML("AccessDenied")},
        PUT_OK,
        {.method = "POST", .target = "?delete=", .status = 403, .body = XML("AllAccessDisabled")}};
    struct story story = {.writer_count = 1, THREE_FILES};

    (void)state;
    begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES, &SMALL_FILES);
    run_story(&story);
    assert_string_equal(error_origin(story.outcomes[0].err), "403 AccessDenied");
    assert_int_equal(http_peer_rule_uses(story.world.peer, 2), 1);
    end_story(&story);
}

/* ---------------------------------------------------------------- cancel */

static void a_cancel_before_any_request_sends_none(void **state)
{
    static const unsigned rows[] = {1, 100};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct story story = {.writer_count = 2,
                              .rows = rows[i] + 1, /* never all of them */
                              .rows_per_turn = rows[i],
                              .row_bytes = 100,
                              .must_cancel = true,
                              .cancel_turn = 2};
        begin_story(&story, NULL, 0, 64 * MIB_BYTES, &(struct stage_options){0});
        run_story(&story);
        for (unsigned j = 0; j < story.writer_count; j++) {
            assert_int_equal(error_code_of(story.outcomes[j].err), ERROR_CANCELLED);
        }
        assert_int_equal(http_peer_count(story.world.peer, NULL, NULL), 0);
        end_story(&story);
    }
}

static void a_cancel_while_files_are_sent_deletes_them(void **state)
{
    static const struct http_rule rules[] = {
        {.method = "PUT", .times = 1}, {.method = "PUT", .way = HTTP_PEER_SILENCE}, DELETE_OK};
    struct story story = {
        .writer_count = 1, THREE_FILES, .must_cancel = true, .cancel_requests = 3};

    (void)state;
    begin_story(&story, rules, ARRAY_LEN(rules), 64 * MIB_BYTES, &SMALL_FILES);
    run_story(&story);
    assert_int_equal(error_code_of(story.outcomes[0].err), ERROR_CANCELLED);
    assert_true(story.was_cancelled);
    expect_nothing_left(&story, NULL, "cancelled while storing");
    end_story(&story);
}

/* At each turn, before and after the end of the rows: either all of it is there, or nothing. */
static void a_cancel_at_any_turn_leaves_all_or_nothing(void **state)
{
    unsigned won = 0, lost = 0; /* how many of each depends on the machine */

    (void)state;
    for (unsigned turn = 1; turn < 60; turn++) {
        struct story story = {.writer_count = 3,
                              .rows = 2700,
                              .rows_per_turn = 135,
                              .row_bytes = 500,
                              .letters = 16,
                              .must_cancel = true,
                              .cancel_turn = turn};
        char sentence[64];
        snprintf(sentence, sizeof(sentence), "cancelled at turn %u", turn);
        begin_story(&story, good_rules, ARRAY_LEN(good_rules), 64 * MIB_BYTES, &SMALL_FILES);
        run_story(&story);
        unsigned fine = 0;
        for (unsigned i = 0; i < story.writer_count; i++) {
            if (!story.outcomes[i].err) {
                expect_rows(&story, i, STAGE_GZIP);
                fine++;
            } else {
                assert_int_equal(error_code_of(story.outcomes[i].err), ERROR_CANCELLED);
            }
        }
        if (fine == 0) {
            expect_nothing_left(&story, NULL, sentence);
            lost++;
        }
        won += fine == story.writer_count;
        end_story(&story);
    }
    print_message("%u cancels came too late, %u in time\n", won, lost);
    assert_true(lost > 0);
}

static void a_cancel_after_the_end_does_nothing(void **state)
{
    struct story story = {.writer_count = 1, .rows = 10, .row_bytes = 100};

    (void)state;
    begin_story(&story, good_rules, ARRAY_LEN(good_rules), MIB_BYTES, &(struct stage_options){0});
    run_story(&story);
    stage_writer_cancel(story.writers[0], NULL, NULL);
    assert_null(story.outcomes[0].err);
    expect_rows(&story, 0, STAGE_GZIP);
    assert_int_equal(http_peer_count(story.world.peer, "POST", NULL), 0);
    end_story(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_arrive_in_one_file),
        cmocka_unit_test(no_rows_are_no_files),
        cmocka_unit_test(files_are_rolled_by_their_size),
        cmocka_unit_test(large_files_go_in_parts),
        cmocka_unit_test(half_full_writers_let_go_when_the_ledger_closes),
        cmocka_unit_test(many_rows_are_groups_of_equal_files),
        cmocka_unit_test(few_rows_are_one_file),
        cmocka_unit_test(large_files_of_a_group_grow_in_turns),
        cmocka_unit_test(half_full_parts_let_go_when_the_ledger_closes),
        cmocka_unit_test(half_full_blocks_are_compressed_before_files_are_ended),
        cmocka_unit_test(half_full_streams_let_go_when_the_ledger_closes),
        cmocka_unit_test(any_file_may_fail),
        cmocka_unit_test(lost_answers_leave_nothing),
        cmocka_unit_test(any_exchange_of_a_large_file_may_fail),
        cmocka_unit_test(rows_after_a_failure_find_no_block),
        cmocka_unit_test(an_owner_may_give_up_when_it_is_told),
        cmocka_unit_test(what_cannot_be_deleted_does_not_hide_the_failure),
        cmocka_unit_test(a_cancel_before_any_request_sends_none),
        cmocka_unit_test(a_cancel_while_files_are_sent_deletes_them),
        cmocka_unit_test(a_cancel_at_any_turn_leaves_all_or_nothing),
        cmocka_unit_test(a_cancel_after_the_end_does_nothing),
    };

    alarm(300); /* a deadlock is a failure */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
