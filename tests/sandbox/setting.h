#ifndef SANDBOX_SETTING_H
#define SANDBOX_SETTING_H

/* The configuration parameters that Redshift knows, and whose affair each is. All others are
 * unrecognised: an error of SET and SHOW, the end of the connection at startup. */

#include <stdbool.h>
#include <stddef.h>

enum setting_kind {
    SETTING_TEXT,
    SETTING_BOOLEAN,
    SETTING_INTEGER,
};

struct setting {
    const char *name; /* lower case */
    enum setting_kind kind;
    long min, max;        /* INTEGER */
    const char *standard; /* as SHOW prints it */
    /* What PostgreSQL calls it, NULL when only the gateway keeps it. */
    const char *backend;
    const char *status_name; /* of the ParameterStatus that reports a change, or NULL */
};

size_t setting_count(void);
const struct setting *setting_at(size_t index);
const struct setting *setting_find(const char *name); /* NULL: unrecognised */
size_t setting_index(const struct setting *setting);

/* Is the value one of the setting's kind and range? The message says why not. */
bool setting_check(const struct setting *setting, const char *value, char *message, size_t size);
/* As SHOW prints it: booleans become on or off. Cut to size. */
void setting_normalise(const struct setting *setting, const char *value, char *ret, size_t size);

#endif
