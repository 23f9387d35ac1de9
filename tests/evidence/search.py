"""Searches what tests wrote for the secrets they used: search.py [--prove] PROGRAM FOLDER...

Evidence is every file below the folders: logs, reports, states, captures, metrics, traces of gateways, what
servers and ctest wrote. What was given to programs is not evidence but the place where secrets come from;
it lies in folders called "given":

    *.json, *.config   endpoint configurations; PROGRAM's own schema says which properties are secret
    *.secrets          further ones, a line each: keys that stand-ins of services gave out, passwords of proxies

Two more come from the environment (deploy/local/env). Each is looked for in the forms in which it could
slip out. --prove plants each form of one secret in a copy of real evidence and wants the search to find
every one, so that silence means something.
"""

import argparse
import base64
import html
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

FROM_ENVIRONMENT = ("LOCAL_REDSHIFT_PASSWORD", "LOCAL_S3_SECRET")
SHORTEST = 10  # what is shorter is a word ("wrong"), and words are found everywhere
SHORTEST_LINE = 32  # of a key in PEM; its first and last lines say only that it is one
SHOWN = 20


# ---------------------------------------------------------------- secrets


def parts_of(value):
    """A secret of many lines is one per line: logs have lines."""
    if "\n" not in value.strip():
        return [value.strip()] if len(value.strip()) >= SHORTEST else []
    return [line for line in value.splitlines() if len(line) >= SHORTEST_LINE and "-----" not in line]


def secret_places(schema, place=()):
    """The paths of the properties that the schema calls secret."""
    found = []
    if isinstance(schema, dict):
        if schema.get("secret") is True:
            found.append(place)
        for name, inner in schema.get("properties", {}).items():
            found += secret_places(inner, place + (name,))
        for word in ("oneOf", "anyOf", "allOf"):
            for inner in schema.get(word, ()):
                found += secret_places(inner, place)
    return found


def schema_of(program):
    done = subprocess.run([program], input=b'{"spec":{}}\n', stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True,
                          env=dict(os.environ, FLOW_RUNTIME_CODEC="json"))
    return json.loads(done.stdout)["spec"]["configSchema"]


def of_configuration(text, places):
    try:
        configuration = json.loads(text)
    except ValueError:
        return []  # some are broken on purpose; their values stand in others, too
    found = []
    for place in places:
        value = configuration
        for name in place:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str):
            found += parts_of(value)
    return found


def gather(folders, places):
    """The secrets: text -> where it is from."""
    secrets = {}
    for name in FROM_ENVIRONMENT:
        for part in parts_of(os.environ.get(name, "")):
            secrets.setdefault(part, name)
    for path in walk(folders, given=True):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if path.endswith(".secrets"):
            parts = [part for line in text.splitlines() for part in parts_of(line)]
        else:
            parts = of_configuration(text, places)
        for part in parts:
            secrets.setdefault(part, path)
    return secrets


# ---------------------------------------------------------------- forms


def base64_forms(raw):
    """At each of the three offsets that it can have within a longer text; what also depends on the
    neighbours is left out."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset, skip in ((0, 0), (1, 2), (2, 3)):
            text = encode(b"\0" * offset + raw).rstrip(b"=")
            yield text[skip:len(text) if (offset + len(raw)) % 3 == 0 else -1]


def forms_of(secret):
    raw = secret.encode()
    escaped = json.dumps(secret)[1:-1]
    percent = urllib.parse.quote(secret, safe="")
    texts = [
        secret, escaped, escaped.replace("/", "\\/"),
        "".join("\\u%04x" % ord(c) if not c.isalnum() else c for c in secret),
        "".join("\\u%04X" % ord(c) if not c.isalnum() else c for c in secret),
        percent, urllib.parse.quote(secret, safe="/"), urllib.parse.quote_plus(secret),
        "".join("%%%02x" % ord(c) if not c.isalnum() and ord(c) < 128 else c for c in secret),
        secret.replace("'", "''"), secret.replace("\\", "\\\\"),
        secret.replace("\\", "\\\\").replace("'", "''"), html.escape(secret),
        raw.hex(), raw.hex().upper(),
    ]
    return sorted({text.encode() for text in texts} | set(base64_forms(raw)))


# ---------------------------------------------------------------- the search


def walk(folders, given):
    for folder in folders:
        if os.path.isfile(folder):
            if not given:
                yield folder
            continue
        for place, names, leaves in os.walk(folder):
            names.sort()
            is_given = "given" in os.path.relpath(place, folder).split(os.sep)
            for leaf in sorted(leaves):
                path = os.path.join(place, leaf)
                if is_given == given and os.path.isfile(path) and not os.path.islink(path):
                    yield path


def suspects(paths, patterns):
    """The files that have any of the patterns; grep is made for that."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(patterns) + b"\n")
        file.flush()
        done = subprocess.run(["xargs", "-0", "-r", "grep", "-F", "-a", "-l", "-Z", "-f", file.name, "--"],
                              input=b"".join(os.fsencode(path) + b"\0" for path in paths),
                              stdout=subprocess.PIPE, env=dict(os.environ, LC_ALL="C"))
    if done.returncode not in (0, 123):  # xargs(1): 123 is a grep that found nothing
        sys.exit("search.py: grep failed")
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


def search(paths, secrets):
    """(file, where the secret is from) of each that was found."""
    forms = {secret: forms_of(secret) for secret in secrets}
    found = []
    for path in suspects(paths, sorted({form for some in forms.values() for form in some})):
        with open(path, "rb") as file:
            content = file.read()
        found += [(path, secrets[secret]) for secret, some in forms.items()
                  if any(form in content for form in some)]
    return found


def prove(paths, secrets):
    """Each form of a secret, in the middle of a copy of real evidence, is found."""
    source = max((path for path in paths if os.path.getsize(path) < 1 << 22), key=os.path.getsize)
    secret = min(secrets, key=lambda text: (text.isalnum(), text))  # one with characters to escape
    with open(source, "rb") as file:
        content = file.read()
    folder = tempfile.mkdtemp()
    try:
        planted = []
        for number, form in enumerate(forms_of(secret)):
            planted.append(os.path.join(folder, "planted-%d" % number))
            with open(planted[-1], "wb") as file:
                file.write(content[:len(content) // 2] + form + content[len(content) // 2:])
        shutil.copy(source, os.path.join(folder, "clean"))
        found = sorted({path for path, _ in search(walk([folder], given=False), {secret: "planted"})})
    finally:
        shutil.rmtree(folder)
    if found != sorted(planted):
        sys.exit("search.py: the search is blind: %d of %d planted secrets found" % (len(found), len(planted)))
    return len(planted)


def main():
    parser = argparse.ArgumentParser(prog="search.py")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("program")
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    secrets = gather(arguments.folders, secret_places(schema_of(arguments.program)))
    paths = list(walk(arguments.folders, given=False))
    if not secrets or not paths:
        sys.exit("search.py: %d secrets, %d files: there is nothing to search" % (len(secrets), len(paths)))
    found = search(paths, secrets)
    for path, whose in found[:SHOWN]:
        print("%s has a secret of %s" % (path, whose))
    if found:
        sys.exit("search.py: %d secrets were written" % len(found))
    print("no secret in %d files (%d MB); %d secrets were looked for, each in up to %d forms"
          % (len(paths), sum(os.path.getsize(path) for path in paths) >> 20, len(secrets),
             max(len(forms_of(secret)) for secret in secrets)))
    if arguments.prove:
        print("of one of them %d forms were planted in a copy, and all were found" % prove(paths, secrets))


if __name__ == "__main__":
    main()
