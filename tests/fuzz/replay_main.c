/*
 * Runs a fuzz target over a corpus, as an ordinary test: each file of each folder given, and a
 * corpus that is empty is a failure.
 */

#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns false when the file cannot be read. Memory of exactly its size, as libFuzzer gives. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    int good = 0;

    if (!file) {
        return 0;
    }
    if (fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
    }
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        data = malloc(size > 0 ? (size_t)size : 1);
        good = data && fread(data, 1, (size_t)size, file) == (size_t)size;
    }
    if (good) {
        good = LLVMFuzzerTestOneInput(data, (size_t)size) == 0;
    }
    free(data);
    if (fclose(file) != 0) {
        good = 0;
    }
    return good;
}

static int replay_folder(const char *folder, unsigned *count)
{
    DIR *dir = opendir(folder);
    int good = dir != NULL;

    while (good) {
        char path[4096];
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            break;
        }
        if (entry->d_name[0] == '.') {
            continue;
        }
        const int len = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        good = len > 0 && (size_t)len < sizeof(path) && replay_file(path);
        if (!good) {
            fprintf(stderr, "%s failed\n", path);
        }
        ++*count;
    }
    if (dir) {
        closedir(dir);
    }
    return good;
}

int main(int argc, char **argv)
{
    unsigned count = 0;

    for (int i = 1; i < argc; i++) {
        if (!replay_folder(argv[i], &count)) {
            fprintf(stderr, "replaying %s failed\n", argv[i]);
            return 1;
        }
    }
    printf("%u inputs\n", count);
    return count > 0 ? 0 : 1;
}
