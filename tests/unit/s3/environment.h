#ifndef TESTS_S3_ENVIRONMENT_H
#define TESTS_S3_ENVIRONMENT_H

/* Variables as a test sets them. */

#include "s3/credential.h"

#include <string.h>

struct variable {
    const char *name, *value;
};

#define VARIABLES_MAX 6

struct variables {
    struct variable rows[VARIABLES_MAX]; /* name NULL: no more */
};

static inline const char *variables_get(void *ctx, const char *name)
{
    const struct variables *variables = ctx;

    for (unsigned i = 0; i < VARIABLES_MAX && variables->rows[i].name; i++) {
        if (strcmp(variables->rows[i].name, name) == 0) {
            return variables->rows[i].value;
        }
    }
    return NULL;
}

#endif
