/* What the process may take: control groups as files, and what the ledger gets of it. */

#include "runtime/memory.h"

#include "base/check.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB_BYTES ((uint64_t)1 << 20)
#define CGROUP "/proc/self/cgroup"
#define V2 "/sys/fs/cgroup"
#define V1 "/sys/fs/cgroup/memory"

struct file {
    const char *path, *text;
};

static void write_file(const char *root, const struct file *file)
{
    char path[512];

    snprintf(path, sizeof(path), "%s%s", root, file->path);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        (void)mkdir(path, 0700); /* may be there */
        *at = '/';
    }
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(file->text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void remove_file(const char *root, const struct file *file)
{
    char path[512];

    snprintf(path, sizeof(path), "%s%s", root, file->path);
    assert_int_equal(unlink(path), 0);
    for (char *at; (at = strrchr(path, '/')) && strlen(path) > strlen(root);) {
        *at = '\0';
        if (strlen(path) > strlen(root) && rmdir(path) != 0) {
            break; /* others are in it */
        }
    }
}

static void limits_are_those_of_the_control_groups(void **state)
{
    static const struct {
        const char *sentence;
        struct file files[5];
        uint64_t limit;
    } rows[] = {
        {"nothing can be read", {{NULL, NULL}}, 0},
        {"version 2, a container with its own view",
         {{CGROUP, "0::/\n"}, {V2 "/memory.max", "134217728\n"}},
         128 * MIB_BYTES},
        {"version 2, no limit", {{CGROUP, "0::/a\n"}, {V2 "/a/memory.max", "max\n"}}, 0},
        {"version 2, the group above has less",
         {{CGROUP, "0::/a.slice/b.service\n"},
          {V2 "/a.slice/memory.max", "67108864\n"},
          {V2 "/a.slice/b.service/memory.max", "134217728\n"}},
         64 * MIB_BYTES},
        {"version 2, the group itself has less",
         {{CGROUP, "0::/a/b/\n"},
          {V2 "/memory.max", "max\n"},
          {V2 "/a/memory.max", "134217728\n"},
          {V2 "/a/b/memory.max", "67108864"}},
         64 * MIB_BYTES},
        {"version 2, the path is the host's",
         {{CGROUP, "0::/kubepods/pod1\n"}, {V2 "/memory.max", "67108864\n"}},
         64 * MIB_BYTES},
        {"version 1",
         {{CGROUP, "5:cpu,cpuacct:/x\n4:hugetlb,memory:/docker/1\n"},
          {V1 "/docker/1/memory.limit_in_bytes", "67108864\n"},
          {V1 "/x/memory.limit_in_bytes", "1\n"}},
         64 * MIB_BYTES},
        {"version 1, no limit",
         {{CGROUP, "4:memory:/\n"}, {V1 "/memory.limit_in_bytes", "9223372036854771712\n"}},
         0},
        {"both, the memory under version 1",
         {{CGROUP, "4:memory:/a\n1:name=systemd:/a\n0::/a\n"},
          {V1 "/a/memory.limit_in_bytes", "67108864\n"}},
         64 * MIB_BYTES},
        {"no line that is one",
         {{CGROUP, "memory\n:::\n\n0\n0::\n"}, {V2 "/memory.max", "12 apples\n"}},
         0},
        {"an empty file", {{CGROUP, ""}, {V2 "/memory.max", "67108864\n"}}, 0},
    };
    char root[256];
    const char *folder = getenv("TMPDIR");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(root, sizeof(root), "%s/memory-XXXXXX", folder ? folder : "/tmp");
        assert_non_null(mkdtemp(root));
        for (size_t k = 0; k < ARRAY_LEN(rows[i].files) && rows[i].files[k].path; k++) {
            write_file(root, &rows[i].files[k]);
        }
        const uint64_t limit = memory_group_limit(root);
        if (limit != rows[i].limit) {
            fail_msg("%s: %llu", rows[i].sentence, (unsigned long long)limit);
        }
        for (size_t k = 0; k < ARRAY_LEN(rows[i].files) && rows[i].files[k].path; k++) {
            remove_file(root, &rows[i].files[k]);
        }
        assert_int_equal(rmdir(root), 0);
    }
    (void)memory_group_limit(""); /* whatever this machine has */
}

static void the_ledger_gets_what_is_left_by_the_rest(void **state)
{
    static const struct {
        uint64_t said_mib, limit_mib, budget_mib;
    } rows[] = {
        {0, 0, 48},    /* nobody said */
        {0, 4096, 48}, /* room for more is not taken */
        {0, 128, 48},    {0, 96, 32},    {0, 64, 16},
        {0, 48, 8},      {0, 16, 8}, /* less than it needs: it tries with the least */
        {1024, 0, 496},              /* who says more gets more */
        {1024, 64, 496}, {64, 1024, 16}, {1, 0, 8},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const size_t budget =
            memory_budget(rows[i].said_mib * MIB_BYTES, rows[i].limit_mib * MIB_BYTES);
        if (budget != rows[i].budget_mib * MIB_BYTES) {
            fail_msg("row %zu: %zu", i, budget);
        }
    }
    assert_true(memory_budget(UINT64_MAX, 0) <= SIZE_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_those_of_the_control_groups),
        cmocka_unit_test(the_ledger_gets_what_is_left_by_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
