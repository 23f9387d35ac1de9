#!/usr/bin/python3 -IS
"""A materialization connector that keeps its tables in one file: the other end of flow-runtime's
own tests. It stages transactions in files named by its connector state, a slot for each key range.
The process whose range begins at zero applies them all at Acknowledge, once, by tokens kept with
the data.

FAKE_STORE   path of the table file
FAKE_FLAW    one way to break the protocol or to lose data, see the code
"""
import base64
import json
import os
import struct
import sys

STORE = os.environ["FAKE_STORE"]
FLAW = os.environ.get("FAKE_FLAW", "")
PROTO = os.environ.get("FLOW_RUNTIME_CODEC", "proto") != "json"
KINDS = ["spec", "validate", "apply", "open", "load", "flush", "store", "startCommit",
         "acknowledge"]
ANSWERS = ["spec", "validated", "applied", "opened", "loaded", "flushed", "startedCommit",
           "acknowledged"]


# ------------------------------------------------------------------ protobuf

def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_bytes(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def put_int(number, value):
    return varint(number << 3) + varint(value) if value else b""


def fields(data):
    """All fields of a message as {number: [value, ...]}."""
    found, at = {}, 0

    def read_varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = read_varint()
        if tag & 7 == 0:
            value = read_varint()
        elif tag & 7 == 2:
            size = read_varint()
            value = data[at:at + size]
            if len(value) != size:
                raise ValueError("cut off")
            at += size
        elif tag & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            value, at = data[at:at + 4], at + 4
        found.setdefault(tag >> 3, []).append(value)
    return found


def text_of(message, number):
    return message.get(number, [b""])[0].decode()


def json_of(message, number):
    raw = message.get(number, [b""])[0]
    return json.loads(raw) if raw else None


def projection_of(data):
    message = fields(data)
    inference = fields(message.get(6, [b""])[0])
    return {"ptr": text_of(message, 1), "field": text_of(message, 2),
            "isPrimaryKey": bool(message.get(5, [0])[0]),
            "inference": {"types": [t.decode() for t in inference.get(1, [])]}}


def binding_of(data):
    message = fields(data)
    selection = fields(message.get(4, [b""])[0])
    return {"resourcePath": [p.decode() for p in message.get(2, [])],
            "deltaUpdates": bool(message.get(5, [0])[0]),
            "fieldSelection": {"keys": [k.decode() for k in selection.get(1, [])],
                               "values": [v.decode() for v in selection.get(2, [])],
                               "document": text_of(selection, 3)}}


def range_of(data):
    message = fields(data)

    def fixed(number):
        return struct.unpack("<I", message.get(number, [bytes(4)])[0])[0]
    return {"keyBegin": fixed(2), "keyEnd": fixed(3)}


def decode(data):
    """A protobuf request in the JSON shape, as far as this connector looks."""
    (number, (body,)), = fields(data).items()
    kind, message = KINDS[number - 1], fields(body)
    if kind == "validate":
        bindings = []
        for entry in message.get(4, []):
            binding = fields(entry)
            collection = fields(binding[2][0])
            bindings.append({"resourceConfig": json_of(binding, 1), "collection": {
                "projections": [projection_of(p) for p in collection.get(6, [])]}})
        return kind, {"config": json_of(message, 3), "bindings": bindings}
    if kind == "open":
        spec = fields(message[1][0])
        return kind, {"materialization": {"config": json_of(spec, 3),
                                          "bindings": [binding_of(b) for b in spec.get(4, [])]},
                      "range": range_of(message.get(3, [b""])[0]),
                      "state": json_of(message, 4)}
    if kind == "apply":
        return kind, {"state": json_of(message, 6)}
    if kind in ("load", "store"):
        request = {"binding": message.get(1, [0])[0], "keyPacked": message[3][0].hex()}
        if kind == "store":
            request.update(doc=json_of(message, 6), exists=bool(message.get(7, [0])[0]),
                           delete=bool(message.get(8, [0])[0]))
        return kind, request
    if kind in ("flush", "acknowledge"):
        return kind, {"statePatches": json_of(message, 1)}
    if kind == "startCommit":
        return kind, {"statePatches": json_of(message, 2)}
    return kind, {}


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def encode_state(body):
    if "state" not in body:
        return b""
    state = body["state"]
    raw = state.get("raw") or compact(state["updated"])
    return put_bytes(1, raw.encode()) + put_int(2, int(state.get("mergePatch", False)))


def encode(kind, body):
    inner = b""
    if kind == "spec":
        inner = (put_int(1, body["protocol"]) + put_bytes(2, compact(body["configSchema"]).encode())
                 + put_bytes(3, compact(body["resourceConfigSchema"]).encode())
                 + put_bytes(4, body["documentationUrl"].encode()))
    elif kind == "validated":
        for binding in body["bindings"]:
            data = b"".join(put_bytes(2, p.encode()) for p in binding["resourcePath"])
            data += put_int(3, int(binding.get("deltaUpdates", False)))
            for item in binding["projectionConstraints"]:
                names = ["INVALID", "FIELD_REQUIRED", "LOCATION_REQUIRED",
                         "LOCATION_RECOMMENDED", "FIELD_OPTIONAL", "FIELD_FORBIDDEN"]
                constraint = put_int(2, names.index(item["constraint"]["type"]))
                constraint += put_bytes(3, item["constraint"]["reason"].encode())
                data += put_bytes(6, put_bytes(1, item["field"].encode())
                                  + put_bytes(2, constraint))
            inner += put_bytes(1, data)
    elif kind == "applied" and "state" in body:
        inner = put_bytes(2, encode_state(body))
    elif kind == "opened" and "runtimeCheckpoint" in body:
        inner = put_bytes(1, b"")
    elif kind == "loaded":
        inner = put_int(1, body.get("binding", 0)) + put_bytes(2, compact(body["doc"]).encode())
    elif kind in ("flushed", "startedCommit", "acknowledged") and "state" in body:
        inner = put_bytes(1, encode_state(body))
    if "surprise" in body:
        inner += put_int(99, 1)
    return put_bytes(ANSWERS.index(kind) + 1, inner)


# ------------------------------------------------------------------ the two codecs

def requests():
    source = sys.stdin.buffer
    if PROTO:
        while True:
            head = source.read(4)
            if not head:
                return
            size = struct.unpack("<I", head)[0]
            yield decode(source.read(size))
    decoder, text, at = json.JSONDecoder(), "", 0
    while True:
        line = source.readline().decode()
        if not line:
            if text[at:].strip():
                raise ValueError("end of input inside a value")
            return
        text, at = text[at:] + line, 0
        while text[at:].strip():
            start = at + len(text[at:]) - len(text[at:].lstrip())
            try:
                value, at = decoder.raw_decode(text, start)
            except json.JSONDecodeError:
                break
            (kind, body), = value.items()
            yield kind, body


def answer(kind, body):
    if PROTO:
        data = encode(kind, body)
        sys.stdout.buffer.write(struct.pack("<I", len(data)) + data)
    else:
        line = compact({kind: {k: v for k, v in body.items()}})
        raw = body.get("state", {}).get("raw")
        if raw:
            line = line.replace(compact(raw), raw).replace('"raw":', '"updated":')
        sys.stdout.buffer.write(line.encode() + b"\n")
    sys.stdout.buffer.flush()


# ------------------------------------------------------------------ tables

def load_store():
    try:
        with open(STORE) as file:
            return json.load(file)
    except FileNotFoundError:
        return {"tokens": {}, "tables": {}, "rows": {}}


def save(path, value):
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.rename(path + ".new", path)


class Session:
    def __init__(self, request):
        spec = request["materialization"]
        self.bindings = spec["bindings"]
        self.hard = spec["config"].get("hardDelete", False)
        begin = request["range"].get("keyBegin", 0)
        self.range = "%08x-%08x" % (begin, request["range"]["keyEnd"])
        self.is_primary = begin == 0
        self.pending = dict((request.get("state") or {}).get("staged") or {})
        if not self.is_primary and FLAW != "peer-applies":
            self.pending = {}
        if FLAW == "forget-ranges":
            self.pending = {r: i for r, i in self.pending.items() if r == self.range}
        self.store = load_store()
        self.keys, self.stores = [], []

    def merge(self, patches):
        """The peers' staged work; our own is known."""
        for patch in patches or []:
            if patch is None:
                sys.stderr.write('{"level":"fatal","msg":"a peer replaced the state"}\n')
                sys.exit(1)
            for key_range, identity in (patch.get("staged") or {}).items():
                if self.is_primary and FLAW != "drop-peer":
                    self.pending[key_range] = identity

    def apply(self):
        """Applies what is staged unless the token says that it is applied."""
        if self.is_primary or FLAW == "peer-applies":
            self.store = load_store()
        settled = {}
        for key_range, identity in sorted(self.pending.items()):
            staged = STORE + ".staged." + identity
            if self.store["tokens"].get(key_range) != identity or FLAW == "apply-twice":
                with open(staged) as file:
                    stores = json.load(file)
                for binding, key, doc, delete in stores:
                    name = "/".join(self.bindings[binding]["resourcePath"])
                    if self.bindings[binding].get("deltaUpdates"):
                        self.store["rows"].setdefault(name, []).append(doc)
                    elif delete and self.hard:
                        self.store["tables"].setdefault(name, {}).pop(key, None)
                    elif FLAW != "drop-store" or not key.endswith("2a"):
                        self.store["tables"].setdefault(name, {})[key] = doc
                self.store["tokens"][key_range] = identity
                save(STORE, self.store)
            if os.path.exists(staged) and FLAW != "apply-twice":
                os.unlink(staged)
            settled[key_range] = None
        self.pending = {}
        if not settled:
            return {}
        return {"state": {"updated": {"staged": settled}, "mergePatch": True}}

    def flush(self):
        if not self.is_primary and FLAW != "read-early":
            self.store = load_store()
        for binding, key in self.keys:
            name = "/".join(self.bindings[binding]["resourcePath"])
            doc = self.store["tables"].get(name, {}).get(key)
            if doc is not None:
                body = {"doc": doc}
                if binding:
                    body["binding"] = binding
                if FLAW == "wrong-document":
                    doc["n"] = 1234567
                if FLAW == "loaded-binding":
                    body["binding"] = 77
                answer("loaded", body)
                if FLAW == "loaded-twice":
                    answer("loaded", body)
        self.keys = []

    def commit(self):
        identity = os.urandom(16).hex()
        save(STORE + ".staged." + identity, self.stores)
        self.stores = []
        if self.is_primary:
            self.pending[self.range] = identity
        state = {"updated": {"staged": {self.range: identity}, "count": 9007199254740993},
                 "mergePatch": FLAW != "replace-state" or self.is_primary}
        if FLAW == "pretty-state":
            state = {"raw": '{\t"staged":{}}', "mergePatch": True}
        if FLAW == "empty-state":
            return {"state": {"mergePatch": True}} if not PROTO else {"state": {
                "updated": [], "mergePatch": True}}
        return {"state": state}


def key_of(request):
    packed = request.get("keyPacked")
    if packed is None:
        return json.dumps(request["key"])
    return packed if PROTO else base64.b64decode(packed).hex()


def validated(request):
    bindings = []
    for binding in request["bindings"]:
        constraints = []
        for projection in binding["collection"]["projections"]:
            kind, reason = "FIELD_OPTIONAL", "may be materialized"
            if projection.get("isPrimaryKey") or not projection.get("ptr"):
                kind, reason = "LOCATION_REQUIRED", "needed"
            elif projection["inference"].get("types") == ["null"]:
                kind, reason = "FIELD_FORBIDDEN", "only null"
            if FLAW == "no-reason" and kind != "FIELD_OPTIONAL":
                reason = ""
            constraints.append({"field": projection["field"],
                                "constraint": {"type": kind, "reason": reason}})
        resource = binding["resourceConfig"]
        path = ["public", "same" if FLAW == "same-path" else resource["table"]]
        entry = {"resourcePath": [] if FLAW == "no-path" else path,
                 "projectionConstraints": constraints}
        if resource.get("delta_updates"):
            entry["deltaUpdates"] = True
        bindings.append(entry)
    if FLAW == "missing-binding":
        bindings.pop()
    return {"bindings": bindings}


def main():
    session = None
    for kind, request in requests():
        if FLAW == "crash-on-" + kind:
            sys.stderr.write('{"level":"fatal","msg":"crashed on purpose"}\n')
            sys.exit(1)
        if FLAW == "silent-exit-on-" + kind:
            sys.exit(0)
        if kind == "spec":
            body = {"protocol": 2 if FLAW == "protocol" else 3032023,
                    "configSchema": {"type": "object", "properties": {}},
                    "resourceConfigSchema": {"type": "object", "properties": {
                        "table": {"type": "string", "x-collection-name": True},
                        "delta_updates": {"type": "boolean", "x-delta-updates": True}}},
                    "documentationUrl": "https://example.org/fake"}
            if FLAW == "unknown-key":
                body["surprise"] = 1
            answer("spec", body)
        elif kind == "validate":
            answer("validated", validated(request))
        elif kind == "apply":
            drained = (request.get("state") or {}).get("drained", 0)
            if FLAW == "apply-state" and drained < 2:
                answer("applied", {"state": {"updated": {"drained": drained + 1},
                                             "mergePatch": True}})
            elif FLAW == "apply-forever":
                answer("applied", {"state": {"updated": {"drained": drained + 1},
                                             "mergePatch": True}})
            else:
                answer("applied", {})
            if FLAW == "two-applied":
                answer("applied", {})
        elif kind == "open":
            session = Session(request)
            answer("opened", {"runtimeCheckpoint": {}} if FLAW == "peer-checkpoint"
                   and not session.is_primary else {})
            if FLAW == "loaded-early":
                answer("loaded", {"doc": {}})
        elif kind == "acknowledge":
            session.merge(request.get("statePatches"))
            body = session.apply()
            answer("acknowledged", body)
            if FLAW == "acknowledged-twice":
                answer("acknowledged", {})
            if FLAW == "flushed-early":
                answer("flushed", {})
        elif kind == "load":
            session.keys.append((request.get("binding", 0), key_of(request)))
            if FLAW == "crash-on-third-load" and len(session.keys) == 3:
                sys.exit(1)
        elif kind == "flush":
            session.flush()
            if FLAW == "flushed-with-text":
                sys.stdout.write("debug: flushed\n")
            answer("flushed", {})
        elif kind == "store":
            session.stores.append((request.get("binding", 0), key_of(request), request["doc"],
                                   request.get("delete", False)))
            if FLAW == "loaded-in-store":
                answer("loaded", {"doc": request["doc"]})
        elif kind == "startCommit":
            answer("startedCommit", session.commit())
    if FLAW == "late-output":
        answer("acknowledged", {})
    if FLAW == "exit-code":
        sys.exit(3)


main()
