#ifndef CONNECTOR_WAY_H
#define CONNECTOR_WAY_H

/*
 * The way to the warehouse where it leads through an SSH server: the tunnel of one configuration,
 * from the request that brought the configuration until that is answered, or for as long as the
 * session is open. Connections need not wait for it: they are made at once, to the tunnel's port,
 * and wait there; where it cannot be opened they fail, and are given its reason.
 */

#include "connector/config.h"
#include "pg/conn.h"

struct way;

/* Copies what it needs of config. ERROR_CONFIG, prefixed "starting network tunnel: ", for what can
 * be seen without connecting. */
struct error *way_new(struct loop *loop, const struct config *config, struct way **ret) MUST_CHECK;
/* Makes connections go this way. The way must outlive them. */
void way_direct(struct way *way, struct pgc_options *pg);
/* The fingerprint of the server's key as last seen, "SHA256:..."; NULL before. Lent until the next
 * turn of the loop. */
const char *way_host_key(const struct way *way);
/* All its connections are closed. closed(ctx) follows; the way is freed by then. */
typedef void way_closed_fn(void *ctx);
void way_close(struct way *way, way_closed_fn *closed, void *ctx);

#endif
