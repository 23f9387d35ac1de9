"""Rules for image recipes, each a function that yields sentences about what it does not like.

A recipe is a list of (number of its line, instruction, text); comments are gone and continued lines
are joined. The stages are the stretches that begin with FROM.
"""

import re


def read(text):
    """The instructions of a Dockerfile."""
    found, start, joined = [], None, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not joined):
            continue
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        word, _, rest = (joined + line).strip().partition(" ")
        found.append((start, word.upper(), " ".join(rest.split())))
        start, joined = None, ""
    return found


def stages(recipe):
    found = []
    for row in recipe:
        if row[1] == "FROM":
            found.append([])
        if found:
            found[-1].append(row)
    return found


def base_is_pinned(recipe):
    names = set()
    for number, word, rest in recipe:
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            if image not in names and not re.search(r":(?!latest$)[\w.-]+$|@sha256:", image):
                yield "%d: the base image \"%s\" has no tag, or the tag \"latest\"" % (number, image)
            if "--platform" in rest:
                yield "%d: the stage is for one platform" % number
            names.add(name)


def nothing_is_fetched_past_apt(recipe):
    for number, word, rest in recipe:
        if word == "ADD":
            yield "%d: ADD fetches and unpacks; COPY copies" % number
        if word == "RUN" and re.search(r"\b(curl|wget)\b", rest):
            yield "%d: a download that nobody checks" % number


def apt_is_lean(recipe):
    for number, word, rest in recipe:
        if word == "RUN" and "apt-get install" in rest:
            if "--no-install-recommends" not in rest:
                yield "%d: apt-get install without --no-install-recommends" % number
            if "apt-get update" not in rest:
                yield "%d: apt-get install without apt-get update in the same layer" % number
            if not re.search(r"apt-get install[^&]* -y\b", rest):
                yield "%d: apt-get install would ask" % number
        if word == "RUN" and re.search(r"apt-get install|deploy/install", rest) \
                and "rm -rf /var/lib/apt/lists/*" not in rest:
            yield "%d: the lists of apt stay in the layer" % number


def user_is_not_root(recipe):
    users = [rest for _, word, rest in stages(recipe)[-1] if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
        yield "1: the last stage runs as root, or as a name that Kubernetes cannot judge"


def flow_can_read_it(recipe):
    labels, variables, entries = {}, {}, []
    for _, word, rest in stages(recipe)[-1]:
        pairs = dict(re.findall(r'([\w.-]+)="?([^"\s]*)"?', rest))
        if word == "LABEL":
            labels.update(pairs)
        elif word == "ENV":
            variables.update(pairs)
        elif word == "ENTRYPOINT":
            entries.append(rest)
    if labels.get("FLOW_RUNTIME_PROTOCOL") != "materialize":
        yield "1: no label FLOW_RUNTIME_PROTOCOL=materialize"
    if labels.get("FLOW_RUNTIME_CODEC") not in ("proto", "json"):
        yield "1: no label FLOW_RUNTIME_CODEC"
    if labels.get("FLOW_RUNTIME_CODEC") != variables.get("FLOW_RUNTIME_CODEC"):
        yield "1: the label and the environment name different codecs"
    if len(entries) != 1 or not re.fullmatch(r'\["/[^", ]+"\]', entries[0]):
        yield "1: the entrypoint is not one absolute path without arguments"


def processor_does_not_matter(recipe):
    for number, word, rest in recipe:
        if re.search(r"x86_64|amd64|arm64|aarch64|-march=", rest):
            yield "%d: only for one processor" % number


def has_what_is_needed_at_run_time(recipe):
    text = " ".join(rest for _, word, rest in stages(recipe)[-1] if word == "RUN")
    for package in ("ca-certificates", "tzdata"):
        if not re.search(r"(?<!\S)%s(?!\S)" % package, text):
            yield "1: the last stage has no %s" % package


EVERYWHERE = (base_is_pinned, nothing_is_fetched_past_apt, apt_is_lean)
OF_THE_PRODUCT = EVERYWHERE + (user_is_not_root, flow_can_read_it, processor_does_not_matter,
                               has_what_is_needed_at_run_time)


def complaints(text, rules):
    recipe = read(text)
    return [sentence for rule in rules for sentence in rule(recipe)]
