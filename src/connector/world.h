#ifndef CONNECTOR_WORLD_H
#define CONNECTOR_WORLD_H

/*
 * The outside as one configuration describes it: how to reach the warehouse and the bucket. And
 * what exists in the warehouse, read by one operation.
 */

#include "connector/config.h"
#include "connector/way.h"
#include "http/client.h"
#include "pg/conn.h"
#include "redshift/catalog.h"
#include "s3/client.h"

struct world {
    struct loop *loop;
    const struct config *config; /* lent */
    struct pgc_options pg;       /* strings lent by config */
    struct way *way;             /* NULL: the warehouse is reached directly */
    struct s3 *s3;
    struct figures *figures;
    uint64_t proof_limit_ms; /* of the COPY that Validate tries; 0: a minute */
};

/* ERROR_CONFIG when the bucket's endpoint is none, or the tunnel's, or the source
 * of keys. s3_endpoint as in
 * connector_options. */
struct error *world_init(struct world *world,
                         struct loop *loop,
                         struct http_client *http,
                         struct arena *arena,
                         const struct config *config,
                         const char *s3_endpoint,
                         const struct s3_environment *environment,
                         uint64_t seed,
                         struct figures *figures) MUST_CHECK;
/* All calls are done, all connections closed. The way is left to be closed by the owner. */
void world_done(struct world *world);

/* Reads what exists under the schemas of these paths and of the metadata table: schemas, tables,
 * columns. Uses the connection that it is given, else connects by itself, and leaves it open for
 * the owner (Apply runs its statements on it). After a cancel it is closed. */
struct catalog_reading {
    bool wants_slices;          /* asked together with the rest */
    unsigned slices;            /* how many files COPY reads side by side; 0: not to be known */
    struct rs_catalog *catalog; /* in the arena, once done */
    struct pgc_conn *conn;      /* NULL or connected at the start; the owner's again from done on,
                                   also after a failure, when it may be NULL */
};
struct catalog_path {
    const struct span *path;
    unsigned count;
};
/* The returned operation may be cancelled until done. */
struct op *catalog_read(struct world *world,
                        struct arena *arena,
                        const struct catalog_path *paths, /* copied */
                        unsigned path_count,
                        struct catalog_reading *ret, /* stays where it is until done */
                        op_done_fn *done,
                        void *ctx);

/* The path of the metadata table in this configuration. */
void world_metadata_path(const struct world *world, struct span ret_path[2], unsigned *ret_count);

#endif
