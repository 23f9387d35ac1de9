/* Packed tuples: FoundationDB's tuple layer, as far as Flow emits it (its public specification,
   "tuple layer"). Packed keys sort by memcmp as their elements do. */
#ifndef FLOW_RUNTIME_TUPLE_H
#define FLOW_RUNTIME_TUPLE_H

#include "json.h"

/* Appends one element. NULL packs as null. Strings are cut by the policy (NULL: not at all), which
   also holds inside objects and arrays. True when something was shortened. */
bool fr_tuple_pack(struct fr_buf *buf, const struct fr_json *value, const struct fr_policy *policy);
/* Appends all elements of a packed tuple as a JSON array. False when the bytes are no tuple. */
bool fr_tuple_put_json(struct fr_buf *buf, const char *packed, size_t len);

#endif
