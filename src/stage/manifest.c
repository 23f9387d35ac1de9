/* stage/manifest: object keys as the list that COPY reads. Pure; see the header. */

#include "stage/manifest.h"

#include "json/write.h"

void manifest_add(struct buf *out, struct span bucket, const struct span *keys, unsigned count)
{
    buf_add_str(out, "{\"entries\":[");
    for (unsigned i = 0; i < count; i++) {
        buf_add_str(out, i ? ",{\"url\":\"s3://" : "{\"url\":\"s3://");
        json_add_escaped(out, bucket);
        buf_add_byte(out, '/');
        json_add_escaped(out, keys[i]);
        buf_add_str(out, "\",\"mandatory\":true}");
    }
    buf_add_str(out, "]}");
}
