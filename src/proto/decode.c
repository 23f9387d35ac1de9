/*
 * Room proto: what both codecs do with a request before they read its members: there is exactly one
 * of them, and a cold one gets its struct.
 */

#include "proto/decode.h"

#include "proto/shape.h"

struct error *decode_set_kind(unsigned *kind, unsigned seen)
{
    if (*kind != 0 && *kind != seen) {
        return error_new(ERROR_PROTOCOL, ERROR_FATAL, "the message holds both %s and %s",
                         proto_request_name((enum proto_request_kind) * kind),
                         proto_request_name((enum proto_request_kind)seen));
    }
    *kind = seen;
    return NULL;
}

struct error *decode_begin_cold(struct cold *cold,
                                enum proto_request_kind kind,
                                struct proto_request *ret,
                                void **ret_message,
                                const struct shape **ret_shape)
{
    void *message = NULL;
    const struct shape *shape = NULL;

    switch (kind) {
    case PROTO_VALIDATE:
        shape = &shape_validate;
        RETURN_IF_ERROR(cold_alloc(cold, 1, shape->size, &message));
        ret->u.validate = message;
        break;
    case PROTO_APPLY:
        shape = &shape_apply;
        RETURN_IF_ERROR(cold_alloc(cold, 1, shape->size, &message));
        ret->u.apply = message;
        break;
    case PROTO_OPEN:
        shape = &shape_open;
        RETURN_IF_ERROR(cold_alloc(cold, 1, shape->size, &message));
        ret->u.open = message;
        break;
    case PROTO_FLUSH:
        shape = &shape_flush;
        message = &ret->u.flush;
        break;
    case PROTO_START_COMMIT:
        shape = &shape_start_commit;
        message = &ret->u.start_commit;
        break;
    case PROTO_ACKNOWLEDGE:
        shape = &shape_acknowledge;
        message = &ret->u.acknowledge;
        break;
    case PROTO_SPEC:
    case PROTO_LOAD:
    case PROTO_STORE:
        break;
    }
    if (shape) {
        memset(message, 0, shape->size);
    }
    *ret_message = message;
    *ret_shape = shape;
    return NULL;
}
