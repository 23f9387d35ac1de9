/*
 * runtime/resolve: name resolution as work for the thread pool. Comes in: a host name; goes out:
 * numeric addresses in the order the system prefers. It never knows who connects. The struct
 * belongs to the worker until it is done.
 */

#include "runtime/resolve.h"

#include "base/buf.h"
#include "runtime/work.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* They are tried one after another; more would outlast the time limit anyway. */
#define ADDRESSES_MAX 8U
#define ADDRESS_MAX_BYTES 64U

struct resolve {
    char *host;
    resolve_done_fn *done;
    void *ctx;
    int status; /* of getaddrinfo */
    unsigned count;
    char addresses[ADDRESSES_MAX * ADDRESS_MAX_BYTES];
};

static void look_up(void *ctx);
static void finish(void *ctx);

struct resolve *resolve_start(struct loop *loop, const char *host, resolve_done_fn *done, void *ctx)
{
    struct resolve *resolve = mem_alloc(sizeof(*resolve));

    resolve->host = mem_strdup(host);
    resolve->done = done;
    resolve->ctx = ctx;
    work_start(loop, look_up, finish, resolve);
    return resolve;
}

struct error *resolve_error(struct resolve *resolve)
{
    if (resolve->count > 0) {
        return NULL;
    }
    /* A name that does not exist needs a person; a name server that does not answer needs time. */
    enum error_class cls = resolve->status == EAI_NONAME ? ERROR_CONFIG : ERROR_RETRY;
    return error_new(ERROR_SYSTEM, cls, "resolving host \"%s\": %s", resolve->host,
                     resolve->status ? gai_strerror(resolve->status) : "it has no address");
}

unsigned resolve_count(const struct resolve *resolve)
{
    return resolve->count;
}

const char *resolve_addresses(const struct resolve *resolve)
{
    return resolve->addresses;
}

/* On a worker thread. */
static void look_up(void *ctx)
{
    struct resolve *resolve = ctx;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    size_t len = 0;

    resolve->status = getaddrinfo(resolve->host, NULL, &hints, &list);
    if (resolve->status != 0) {
        return;
    }
    for (struct addrinfo *one = list; one && resolve->count < ADDRESSES_MAX; one = one->ai_next) {
        char text[ADDRESS_MAX_BYTES];
        if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST) != 0) {
            continue;
        }
        len += (size_t)snprintf(resolve->addresses + len, sizeof(resolve->addresses) - len, "%s%s",
                                resolve->count > 0 ? "," : "", text);
        resolve->count++;
    }
    freeaddrinfo(list);
}

static void finish(void *ctx)
{
    struct resolve *resolve = ctx;

    resolve->done(resolve->ctx, resolve);
    mem_free(resolve->host);
    mem_free(resolve);
}
