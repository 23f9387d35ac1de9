/* capture/capture and capture/reader: a session into files on a real disk and back. */

#include "capture/capture.h"
#include "capture/reader.h"

#include "base/buf.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- the frame of each test */

struct world {
    char dir[64], path[80];
    struct loop *loop;
    struct capture *capture;
    char stopped[256]; /* why the capture ended itself */
    unsigned stopped_count, closed_count;
    bool ended_well;
};

static void stopped(void *ctx, struct error *err)
{
    struct world *world = ctx;

    world->stopped_count++;
    snprintf(world->stopped, sizeof world->stopped, "%s", error_text(err));
    error_free(err);
}

static void closed(void *ctx)
{
    ((struct world *)ctx)->closed_count++;
}

static void set_up(struct world *world)
{
    *world = (struct world){.loop = loop_new(), .ended_well = true};
    snprintf(world->dir, sizeof world->dir, "/tmp/test_capture.XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    snprintf(world->path, sizeof world->path, "%s/c", world->dir);
}

static void begin(struct world *world, uint64_t limit_bytes, size_t queue_bytes)
{
    const struct capture_options options = {.path = world->path,
                                            .limit_bytes = limit_bytes,
                                            .queue_bytes = queue_bytes,
                                            .version = "1.2.3",
                                            .codec = "proto",
                                            .unix_seconds = 1790000000};
    struct error *err = capture_new(world->loop, &options, stopped, world, &world->capture);

    if (err) {
        fail_msg("%s", error_text(err));
    }
}

/* Runs the loop until what was added is written. */
static void finish(struct world *world)
{
    capture_close(world->capture, world->ended_well, closed, world);
    assert_int_equal(world->closed_count, 0); /* never from inside of the call */
    loop_run(world->loop);
    assert_int_equal(world->closed_count, 1);
    world->closed_count = 0;
    capture_free(world->capture);
    world->capture = NULL;
}

static void tear_down(struct world *world)
{
    char command[160];

    loop_free(world->loop);
    snprintf(command, sizeof command, "rm -r '%s'", world->dir);
    assert_int_equal(system(command), 0);
}

/* Everything that a reader finds, as a text: H header, > request, < response, - withheld, . end. */
static struct buf read_back(const char *path, uint64_t *ret_torn)
{
    struct capture_reader *reader;
    struct capture_record record;
    struct buf text;
    uint64_t last_us = 0;
    bool have;

    buf_init(&text, 1 << 24);
    struct error *err = capture_reader_open(path, &reader);
    while (!err && !(err = capture_reader_next(reader, &record, &have)) && have) {
        assert_true(record.clock_us >= last_us || record.kind == CAPTURE_HEADER);
        last_us = record.kind == CAPTURE_HEADER ? last_us : record.clock_us;
        switch (record.kind) {
        case CAPTURE_HEADER:
            buf_printf(&text, "H%d ", (int)record.header.segment);
            assert_true(span_is(record.header.version, "1.2.3"));
            assert_true(record.header.unix_us == UINT64_C(1790000000000000));
            break;
        case CAPTURE_FRAME:
            buf_printf(&text, "%c%.*s ", record.direction == CAPTURE_REQUEST ? '>' : '<',
                       record.frame.len < 20 ? (int)record.frame.len : 20, record.frame.ptr);
            break;
        case CAPTURE_WITHHELD:
            buf_printf(&text, "-%d ", (int)record.withheld_bytes);
            break;
        case CAPTURE_END:
            buf_printf(&text, ".%.*s", SPAN_FMT(record.reason));
            break;
        }
    }
    if (err) {
        buf_printf(&text, "! %s", error_text(err));
    } else if (ret_torn) {
        *ret_torn = capture_reader_torn_bytes(reader);
    }
    error_free(err);
    capture_reader_free(reader);
    return text;
}

static void expect_back(const char *path, const char *want)
{
    struct buf text = read_back(path, NULL);

    assert_string_equal(text.data, want);
    buf_done(&text);
}

static off_t size_of(const char *path, const char *suffix)
{
    char name[128];
    struct stat facts;

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &facts) == 0 ? facts.st_size : -1;
}

/* ---------------------------------------------------------------- */

static void a_session_comes_back_in_its_order(void **state)
{
    struct world world;
    struct stat facts;

    (void)state;
    set_up(&world);
    begin(&world, 0, 0);
    assert_string_equal(capture_path(world.capture), world.path);
    capture_add(world.capture, CAPTURE_REQUEST, SPAN_LIT("open"));
    capture_add_withheld(world.capture, CAPTURE_REQUEST, 77);
    capture_add(world.capture, CAPTURE_RESPONSE, SPAN_LIT("opened"));
    finish(&world);
    expect_back(world.path, "H0 >open -77 <opened .");
    assert_int_equal(stat(world.path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    assert_int_equal(world.stopped_count, 0);
    tear_down(&world);
}

static void a_session_that_failed_is_told_from_one_that_ended(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    world.ended_well = false;
    begin(&world, 0, 0);
    finish(&world);
    expect_back(world.path, "H0 ." CAPTURE_FAILED);
    tear_down(&world);
}

static void a_file_that_is_there_is_never_touched(void **state)
{
    struct world world;
    char name[128];

    (void)state;
    set_up(&world);
    for (unsigned i = 0; i < CAPTURE_SESSIONS_MAX; i++) {
        begin(&world, 0, 0);
        capture_add(world.capture, CAPTURE_REQUEST, i == 0 ? SPAN_LIT("a") : SPAN_LIT("b"));
        finish(&world);
    }
    expect_back(world.path, "H0 >a .");
    snprintf(name, sizeof name, "%s-%d", world.path, CAPTURE_SESSIONS_MAX);
    expect_back(name, "H0 >b .");

    const struct capture_options options = {.path = world.path, .version = "1", .codec = "json"};
    struct capture *capture = NULL;
    struct error *err = capture_new(world.loop, &options, stopped, &world, &capture);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "there are 100 captures"));
    error_free(err);
    tear_down(&world);
}

static void a_folder_that_is_not_there_is_told(void **state)
{
    struct world world;
    const struct capture_options options = {
        .path = "/nowhere/at/all", .version = "1", .codec = "json"};

    (void)state;
    set_up(&world);
    struct error *err = capture_new(world.loop, &options, stopped, &world, &world.capture);
    assert_non_null(err);
    assert_string_equal(error_origin(err), "ENOENT");
    error_free(err);
    tear_down(&world);
}

/* What a process that is killed leaves behind: everything up to some byte. */
static void a_file_that_is_cut_anywhere_is_read_up_to_the_cut(void **state)
{
    struct world world;
    struct buf whole;
    uint64_t torn = 0;
    char cut_path[128];
    size_t last_len = 0;

    (void)state;
    set_up(&world);
    begin(&world, 0, 0);
    for (unsigned i = 0; i < 5; i++) {
        capture_add(world.capture, i % 2 ? CAPTURE_RESPONSE : CAPTURE_REQUEST, SPAN_LIT("frame"));
    }
    finish(&world);
    whole = read_back(world.path, &torn);
    assert_int_equal(torn, 0);
    snprintf(cut_path, sizeof cut_path, "%s-cut", world.path);
    const off_t size = size_of(world.path, "");
    char *bytes = mem_alloc((size_t)size);
    FILE *in = fopen(world.path, "rb");
    assert_non_null(in);
    assert_int_equal(fread(bytes, 1, (size_t)size, in), size);
    (void)fclose(in);
    for (off_t cut = 0; cut <= size; cut++) {
        FILE *out = fopen(cut_path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, (size_t)cut, out), cut);
        (void)fclose(out);
        struct buf text = read_back(cut_path, &torn);
        if (strncmp(whole.data, text.data, text.len) != 0 || text.len < last_len) {
            fail_msg("cut at %d: \"%s\"", (int)cut, text.data);
        }
        if (torn == 0 && text.len == last_len && cut > 0) {
            fail_msg("cut at %d: nothing is said to be torn", (int)cut);
        }
        last_len = text.len;
        buf_done(&text);
    }
    assert_int_equal(last_len, whole.len);
    mem_free(bytes);
    buf_done(&whole);
    tear_down(&world);
}

static void damage_is_told_with_its_place(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    begin(&world, 0, 0);
    capture_add(world.capture, CAPTURE_REQUEST, SPAN_LIT("good"));
    capture_add(world.capture, CAPTURE_REQUEST, SPAN_LIT("bad"));
    finish(&world);
    FILE *file = fopen(world.path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -25, SEEK_END), 0); /* within the last frame */
    assert_int_equal(fputc('x', file), 'x');
    (void)fclose(file);
    struct buf text = read_back(world.path, NULL);
    assert_non_null(strstr(text.data, "H0 >good ! \""));
    assert_non_null(strstr(text.data, "is damaged at byte "));
    buf_done(&text);
    file = fopen(world.path, "wb");
    assert_non_null(file);
    (void)fputs("{\"spec\":{}}", file);
    (void)fclose(file);
    text = read_back(world.path, NULL);
    assert_non_null(strstr(text.data, "is no capture"));
    buf_done(&text);
    tear_down(&world);
}

/* ---------------------------------------------------------------- bounds */

#define LIMIT 30000

/* The frames are numbered; so much that the newest files were made anew several times. */
static void the_beginning_and_the_newest_are_kept(void **state)
{
    struct world world;
    char frame[200];

    (void)state;
    set_up(&world);
    begin(&world, LIMIT, 0);
    memset(frame, 'x', sizeof frame);
    for (unsigned i = 0; i < 1000; i++) {
        frame[snprintf(frame, sizeof frame, "n%u", i)] = ' ';
        capture_add(world.capture, CAPTURE_REQUEST, (struct span){frame, sizeof frame});
    }
    finish(&world);
    const off_t sizes[] = {size_of(world.path, ""), size_of(world.path, ".1"),
                           size_of(world.path, ".2")};
    assert_true(sizes[0] > LIMIT / 6 && sizes[1] > LIMIT / 6 && sizes[2] > 0);
    assert_true(sizes[0] + sizes[1] + sizes[2] <= LIMIT);
    assert_int_equal(size_of(world.path, ".3"), -1);
    struct buf text = read_back(world.path, NULL);
    assert_non_null(strstr(text.data, "H0 >n0 "));
    assert_non_null(strstr(text.data, ">n999 "));
    assert_null(strstr(text.data, ">n500 "));
    assert_null(strstr(text.data, "!"));
    /* After the gap numbers go on without another one. */
    const char *gap = strstr(text.data + 1, "H");
    assert_non_null(gap);
    unsigned long segment = strtoul(gap + 1, NULL, 10);
    assert_true(segment > 1);
    unsigned long number = strtoul(strstr(gap, ">n") + 2, NULL, 10);
    for (const char *at = strstr(gap, ">n"); at; at = strstr(at + 1, ">n"), number++) {
        assert_int_equal(strtoul(at + 2, NULL, 10), number);
    }
    assert_int_equal(number, 1000);
    buf_done(&text);
    tear_down(&world);
}

/* Without a turn of the loop nothing is known to be written, as with a disk that stands still. */
static void a_disk_that_stands_still_ends_the_capture(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    begin(&world, 0, 1000);
    for (unsigned i = 0; i < 100; i++) {
        capture_add(world.capture, CAPTURE_REQUEST, SPAN_LIT("0123456789"));
    }
    assert_int_equal(world.stopped_count, 1);
    assert_non_null(strstr(world.stopped, "the disk is too slow"));
    finish(&world);
    struct buf text = read_back(world.path, NULL);
    assert_non_null(strstr(text.data, ">0123456789 .the disk was too slow"));
    assert_true(text.len > 200 && text.len < 800);
    buf_done(&text);
    tear_down(&world);
}

static void a_disk_that_is_full_ends_the_capture(void **state)
{
    struct world world;
    struct rlimit before, small;
    char frame[5000];

    (void)state;
    set_up(&world);
    memset(frame, 'f', sizeof frame);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 8192;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    begin(&world, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        capture_add(world.capture, CAPTURE_REQUEST, (struct span){frame, sizeof frame});
    }
    loop_run(world.loop);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(world.stopped_count, 1);
    assert_non_null(strstr(world.stopped, "writing the capture"));
    assert_non_null(strstr(world.stopped, "EFBIG"));
    capture_add(world.capture, CAPTURE_REQUEST, SPAN_LIT("nobody takes this"));
    finish(&world);
    expect_back(world.path, "H0 >ffffffffffffffffffff ");
    tear_down(&world);
}

static void a_frame_larger_than_all_bounds_is_kept_whole(void **state)
{
    struct world world;
    const size_t len = 3 * 1000 * 1000;
    char *frame = mem_alloc(len);

    (void)state;
    set_up(&world);
    begin(&world, 3000, 1000);
    memset(frame, 'y', len);
    capture_add(world.capture, CAPTURE_REQUEST, (struct span){frame, len});
    finish(&world);
    expect_back(world.path, "H0 >yyyyyyyyyyyyyyyyyyyy H1 .");
    mem_free(frame);
    tear_down(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_comes_back_in_its_order),
        cmocka_unit_test(a_session_that_failed_is_told_from_one_that_ended),
        cmocka_unit_test(a_file_that_is_there_is_never_touched),
        cmocka_unit_test(a_folder_that_is_not_there_is_told),
        cmocka_unit_test(a_file_that_is_cut_anywhere_is_read_up_to_the_cut),
        cmocka_unit_test(damage_is_told_with_its_place),
        cmocka_unit_test(the_beginning_and_the_newest_are_kept),
        cmocka_unit_test(a_disk_that_stands_still_ends_the_capture),
        cmocka_unit_test(a_disk_that_is_full_ends_the_capture),
        cmocka_unit_test(a_frame_larger_than_all_bounds_is_kept_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
