/* The messages of the materialize protocol as tables: field numbers, kinds and JSON names. A
   message is held as its JSON form (a tree); the tables turn it into protobuf and back and check
   what a connector wrote. Load and Store, which come by the million, are written by hand in
   traffic.c. */
#ifndef FLOW_RUNTIME_WIRE_H
#define FLOW_RUNTIME_WIRE_H

#include "json.h"

enum fr_codec { FR_CODEC_JSON, FR_CODEC_PROTO };

struct fr_message;

extern const struct fr_message fr_request;  /* materialize.Request */
extern const struct fr_message fr_response; /* materialize.Response */
extern const struct fr_message fr_checkpoint;

/* Appends the protobuf form. The tree is our own and must fit the table. */
void fr_wire_encode(struct fr_buf *buf,
                    const struct fr_message *message,
                    const struct fr_json *tree);
/* Appends the JSON form. pretty: embedded JSON keeps line breaks and indentation, as a runtime may
   send it. */
void fr_wire_put_json(struct fr_buf *buf,
                      const struct fr_message *message,
                      const struct fr_json *tree,
                      bool pretty);
/* Reads protobuf into a tree; unknown fields, wrong wire types and embedded JSON that is none are
   refused. NULL with a sentence in error. */
struct fr_json *fr_wire_decode(struct fr_arena *arena,
                               const struct fr_message *message,
                               const char *bytes,
                               size_t len,
                               struct fr_buf *error);
/* Checks a JSON form: unknown names, wrong types, null for a message. False with a sentence. */
bool fr_wire_check(const struct fr_message *message,
                   const struct fr_json *tree,
                   struct fr_buf *error);

void fr_wire_put_varint(struct fr_buf *buf, uint64_t value);
void fr_wire_put_tag(struct fr_buf *buf, unsigned number, unsigned wire_type);
void fr_wire_put_bytes(struct fr_buf *buf, unsigned number, const void *bytes, size_t len);

#endif
