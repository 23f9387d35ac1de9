#ifndef GATEWAY_S3_STEPS_H
#define GATEWAY_S3_STEPS_H

/*
 * What a request to the bucket is for, by its method and target ("/bucket/key?query"):
 *
 *      put.data, put.manifest, put     a staged file, a list of files for COPY, any other object
 *      create, part, complete, abort   a multipart upload; a part is also part:1, ... part:9
 *      delete, delete.one              many objects in one request, one object
 *      list, list.uploads, head
 *      get.data, get.manifest, get     mostly the warehouse's, which reads for COPY
 *      other
 */

#include <stddef.h>

extern const char *const s3_step_names[]; /* ended by NULL */

const char *s3_step_of(const char *method, const char *target);
/* "part:2" for the second part of any upload, up to 9; else NULL. */
const char *s3_part_step_of(const char *method, const char *target);

#endif
