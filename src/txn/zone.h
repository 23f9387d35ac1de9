#ifndef TXN_ZONE_H
#define TXN_ZONE_H

/*
 * A time zone: at which offset from UTC do its clocks stand at an instant, and when do they show a
 * given time. From "UTC", from an offset like "+05:30", or from a compiled file of the IANA
 * database (TZif, RFC 8536: versions 1 to 4; the 64-bit block and the rule in the footer when there
 * are any). The process's own zone plays no part. Seconds since 1970, as everywhere.
 */

#include "base/arena.h"
#include "base/error.h"

struct zone;

/* name: as a person wrote it. folder: where the compiled files lie. Reads one small file, at once.
 * ERROR_CONFIG when there is no such zone. */
struct error *
zone_load(struct arena *arena, const char *folder, const char *name, struct zone **ret) MUST_CHECK;
/* The same from a file's bytes, which may go afterwards. ERROR_INPUT, ERROR_CONFIG: not such a
 * file, or damaged. */
struct error *zone_parse(struct arena *arena, struct span tzif, struct zone **ret) MUST_CHECK;

/* Seconds to add to UTC for the local clock at this instant. */
int32_t zone_offset(const struct zone *zone, int64_t unix_seconds);

/* The first instant after `after` at which the local clock shows local_seconds (a local date and
 * time, counted as if it were UTC). A time that clocks skip is taken at the instant of the jump; of
 * a time that comes twice either may be the answer. INT64_MAX when every such instant is over. */
int64_t zone_find(const struct zone *zone, int64_t local_seconds, int64_t after);

#endif
