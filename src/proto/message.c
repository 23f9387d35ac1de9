/*
 * Room proto: names of kinds and constraints, as Flow spells them. For people in errors and logs,
 * and for the JSON codec.
 */

#include "proto/message.h"

const char *proto_request_name(enum proto_request_kind kind)
{
    switch (kind) {
    case PROTO_SPEC:
        return "Spec";
    case PROTO_VALIDATE:
        return "Validate";
    case PROTO_APPLY:
        return "Apply";
    case PROTO_OPEN:
        return "Open";
    case PROTO_LOAD:
        return "Load";
    case PROTO_FLUSH:
        return "Flush";
    case PROTO_STORE:
        return "Store";
    case PROTO_START_COMMIT:
        return "StartCommit";
    case PROTO_ACKNOWLEDGE:
        return "Acknowledge";
    }
    return "unknown";
}

const char *proto_constraint_name(enum proto_constraint_type type)
{
    switch (type) {
    case PROTO_FIELD_REQUIRED:
        return "FIELD_REQUIRED";
    case PROTO_LOCATION_REQUIRED:
        return "LOCATION_REQUIRED";
    case PROTO_LOCATION_RECOMMENDED:
        return "LOCATION_RECOMMENDED";
    case PROTO_FIELD_OPTIONAL:
        return "FIELD_OPTIONAL";
    case PROTO_FIELD_FORBIDDEN:
        return "FIELD_FORBIDDEN";
    case PROTO_INCOMPATIBLE:
        return "INCOMPATIBLE";
    }
    return "INVALID";
}
