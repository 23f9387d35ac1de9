/* The table of settings. Pure. */
#include "sandbox/setting.h"

#include "sandbox/copy_bytes.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BOOLEAN(name, standard, backend)                                                           \
    {                                                                                              \
        name, SETTING_BOOLEAN, 0, 0, standard, backend, NULL                                       \
    }
#define INTEGER(name, min, max, standard, backend)                                                 \
    {                                                                                              \
        name, SETTING_INTEGER, min, max, standard, backend, NULL                                   \
    }
#define TEXT(name, standard, backend, status)                                                      \
    {                                                                                              \
        name, SETTING_TEXT, 0, 0, standard, backend, status                                        \
    }

static const struct setting settings[] = {
    TEXT("application_name", "", "application_name", "application_name"),
    INTEGER("analyze_threshold_percent", 0, 100, "10", NULL),
    BOOLEAN("cast_super_null_on_error", "on", NULL),
    TEXT("client_encoding", "UNICODE", "client_encoding", "client_encoding"),
    TEXT("datestyle", "ISO, MDY", "datestyle", "DateStyle"),
    BOOLEAN("describe_field_name_in_uppercase", "off", NULL),
    BOOLEAN("downcase_delimited_identifier", "on", NULL),
    BOOLEAN("enable_case_sensitive_identifier", "off", NULL),
    BOOLEAN("enable_case_sensitive_super_attribute", "off", NULL),
    BOOLEAN("enable_numeric_rounding", "on", NULL),
    BOOLEAN("enable_result_cache_for_session", "on", NULL),
    BOOLEAN("enable_vacuum_boost", "off", NULL),
    BOOLEAN("error_on_nondeterministic_update", "off", NULL),
    INTEGER("extra_float_digits", -15, 2, "0", "extra_float_digits"),
    BOOLEAN("json_parse_dedup_attributes", "off", "redshift.json_parse_dedup_attributes"),
    BOOLEAN("json_parse_truncate_strings", "off", "redshift.json_parse_truncate_strings"),
    INTEGER("max_cursor_result_set_size", 0, INT_MAX, "0", NULL),
    BOOLEAN("navigate_super_null_on_error", "on", NULL),
    BOOLEAN("parse_super_null_on_error", "off", NULL),
    TEXT("query_group", "default", NULL, NULL),
    TEXT("search_path", "$user, public", "search_path", NULL),
    INTEGER("statement_timeout", 0, INT_MAX, "0", "statement_timeout"),
    TEXT("timezone", "UTC", "timezone", "TimeZone"),
    INTEGER("wlm_query_slot_count", 1, 50, "1", NULL),
};

size_t setting_count(void)
{
    return sizeof settings / sizeof settings[0];
}

const struct setting *setting_at(size_t index)
{
    return &settings[index];
}

const struct setting *setting_find(const char *name)
{
    for (size_t i = 0; i < setting_count(); i++) {
        if (strcasecmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

size_t setting_index(const struct setting *setting)
{
    return (size_t)(setting - settings);
}

static int read_boolean(const char *value)
{
    static const char *const on[] = {"on", "true", "t", "yes", "1"};
    static const char *const off[] = {"off", "false", "f", "no", "0"};

    for (size_t i = 0; i < sizeof on / sizeof on[0]; i++) {
        if (strcasecmp(value, on[i]) == 0) {
            return 1;
        }
        if (strcasecmp(value, off[i]) == 0) {
            return 0;
        }
    }
    return -1;
}

bool setting_check(const struct setting *setting, const char *value, char *message, size_t size)
{
    char *end;

    switch (setting->kind) {
    case SETTING_TEXT:
        return true;
    case SETTING_BOOLEAN:
        text_format(message, size, "parameter \"%s\" requires a Boolean value", setting->name);
        return read_boolean(value) >= 0;
    case SETTING_INTEGER: {
        long number = strtol(value, &end, 10);
        if (end == value || *end != '\0') {
            text_format(message, size, "parameter \"%s\" requires an integer value", setting->name);
            return false;
        }
        text_format(message, size,
                    "%ld is outside the valid range for parameter \"%s\" (%ld .. %ld)", number,
                    setting->name, setting->min, setting->max);
        return number >= setting->min && number <= setting->max;
    }
    }
    return false;
}

void setting_normalise(const struct setting *setting, const char *value, char *ret, size_t size)
{
    if (setting->kind == SETTING_BOOLEAN) {
        text_format(ret, size, "%s", read_boolean(value) == 1 ? "on" : "off");
    } else {
        text_format(ret, size, "%s", value);
    }
}
