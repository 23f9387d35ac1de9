/* gateway/s3_steps: see s3_steps.h. Pure. */

#include "gateway/s3_steps.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *const s3_step_names[] = {
    "put.data", "put.manifest", "put",    "create",     "part",   "part:1",       "part:2",
    "part:3",   "part:4",       "part:5", "part:6",     "part:7", "part:8",       "part:9",
    "complete", "abort",        "delete", "delete.one", "list",   "list.uploads", "head",
    "get.data", "get.manifest", "get",    "other",      NULL};

static const char *const part_names[] = {"part:1", "part:2", "part:3", "part:4", "part:5",
                                         "part:6", "part:7", "part:8", "part:9"};

/* The value of a parameter of the query, "" when it has none; NULL when it is not there. */
static const char *parameter(const char *target, const char *name)
{
    const size_t len = strlen(name);
    const char *at = strchr(target, '?');

    while (at) {
        at++;
        if (strncmp(at, name, len) == 0 && strchr("=&", at[len]) != NULL) {
            return at[len] == '=' ? at + len + 1 : "";
        }
        at = strchr(at, '&');
    }
    return NULL;
}

/* Is there anything behind "/bucket/"? */
static bool has_key(const char *target)
{
    const char *slash = target[0] == '/' ? strchr(target + 1, '/') : NULL;

    return slash && slash[1] != '\0' && slash[1] != '?' &&
           (size_t)(slash - target) < strcspn(target, "?");
}

static bool ends_with(const char *target, const char *ending)
{
    const size_t len = strcspn(target, "?"), wanted = strlen(ending);

    return len >= wanted && strncmp(target + len - wanted, ending, wanted) == 0;
}

/* Staged files are named ".json" or ".json.gz" or the like. */
static bool is_data(const char *target)
{
    const char *found = strstr(target, ".json");

    return found && (size_t)(found - target) < strcspn(target, "?");
}

static const char *step_of_object(const char *target, const char *const names[3])
{
    return ends_with(target, ".manifest") ? names[1] : is_data(target) ? names[0] : names[2];
}

static const char *step_of_key(const char *method, const char *target)
{
    static const char *const put[] = {"put.data", "put.manifest", "put"};
    static const char *const get[] = {"get.data", "get.manifest", "get"};
    const bool has_id = parameter(target, "uploadId") != NULL;

    if (strcmp(method, "PUT") == 0) {
        return has_id ? "part" : step_of_object(target, put);
    }
    if (strcmp(method, "POST") == 0) {
        return has_id ? "complete" : parameter(target, "uploads") ? "create" : "other";
    }
    if (strcmp(method, "DELETE") == 0) {
        return has_id ? "abort" : "delete.one";
    }
    if (strcmp(method, "HEAD") == 0) {
        return "head";
    }
    return strcmp(method, "GET") == 0 ? step_of_object(target, get) : "other";
}

const char *s3_step_of(const char *method, const char *target)
{
    if (has_key(target)) {
        return step_of_key(method, target);
    }
    if (strcmp(method, "POST") == 0 && parameter(target, "delete")) {
        return "delete";
    }
    if (strcmp(method, "GET") != 0) {
        return "other";
    }
    return parameter(target, "uploads") ? "list.uploads" : "list";
}

const char *s3_part_step_of(const char *method, const char *target)
{
    const char *number = parameter(target, "partNumber");
    unsigned long value = number ? strtoul(number, NULL, 10) : 0;

    return strcmp(s3_step_of(method, target), "part") == 0 && value >= 1 && value <= 9
               ? part_names[value - 1]
               : NULL;
}
