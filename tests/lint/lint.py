"""What compilers cannot check: lint.py CHECK ROOT, or lint.py --refuses CHECK.

The checks are the functions named check_*; each gets the root of the repository and yields
"path:line: sentence" for what it does not like. --refuses runs a check over small made-up trees
(SAMPLES) and demands that it accepts the good one and refuses each bad one: a check that cannot
fail says nothing. Exit status 77 means that the tool behind a check is not installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SKIP = 77
C_FLAGS = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra",
           "-Wpedantic", "-Werror", "-fsyntax-only"]


class ToolMissing(Exception):
    pass


# ---------------------------------------------------------------- reading


def files(root, folders, endings):
    """Paths relative to root, sorted; what is built or hidden is not ours."""
    for folder in folders:
        for place, names, leaves in os.walk(os.path.join(root, folder)):
            names[:] = sorted(name for name in names
                              if name not in (".git", ".local", "__pycache__")
                              and not name.startswith("build"))
            for leaf in sorted(leaves):
                if leaf.endswith(endings):
                    yield os.path.relpath(os.path.join(place, leaf), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def table(name):
    """The rows "left: right words" of a .txt file beside this one, as (left, [words])."""
    for line in read(HERE, name).splitlines():
        if line.strip() and not line.startswith("#"):
            left, _, right = line.partition(":")
            yield left.strip(), right.split()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """The text with comments and literals blanked, lines kept, include lines untouched."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return TOKEN.sub(blank, text)


def includes(text):
    """(line number, bracket, name) of each include that is not in a comment."""
    without = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    for number, line in enumerate(without.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1), match.group(2)


# ---------------------------------------------------------------- the checks


def check_arrows(root):
    rows = list(table("arrows.txt"))
    rooms = {left: right for left, right in rows if "/" not in left}
    single = {left: right for left, right in rows if "/" in left}

    for path in files(root, ("src", "include"), (".c", ".h")):
        parts = path.split(os.sep)
        room = parts[1]
        if room not in rooms:
            yield "%s:1: '%s' is no room of arrows.txt" % (path, room)
            continue
        stem = os.path.splitext("/".join(parts[1:]))[0]
        allowed = single.get(stem, rooms[room])
        for number, bracket, name in includes(read(root, path)):
            if bracket == "<":
                continue
            other = name.split("/")[0]
            if "/" not in name or other == room:
                beside = os.path.join(root, os.path.dirname(path), name)
                found = [os.path.join(root, base, name) for base in ("include", "src")]
                if not any(os.path.exists(place) for place in found + [beside]):
                    yield "%s:%d: there is no \"%s\"" % (path, number, name)
                elif parts[0] == "include" and not os.path.exists(found[0]):
                    yield "%s:%d: a door shows the private header \"%s\"" % (path, number, name)
            elif other not in allowed and name not in allowed:
                yield "%s:%d: %s may not include \"%s\" (arrows.txt)" % (path, number, stem, name)
            elif not os.path.exists(os.path.join(root, "include", name)):
                yield "%s:%d: \"%s\" is no door" % (path, number, name)

    # CMake's lines repeat the arrows between rooms.
    lists = os.path.join(root, "CMakeLists.txt")
    for name, rest in re.findall(r"^add_room\((\w+)([^)]*)\)", read(root, lists), re.M) \
            if os.path.exists(lists) else ():
        uses = re.search(r"USES((?: \w+)*?)(?: FOREIGN|$)", rest)
        uses = uses.group(1).split() if uses else []
        allowed = {word.split("/")[0] for word in rooms.get(name, ())}
        for word in uses:
            if word not in allowed:
                yield "CMakeLists.txt:1: add_room(%s) uses %s, arrows.txt does not" % (name, word)


def check_foreign(root):
    system, owners = set(), {}
    for left, right in table("foreign.txt"):
        if left == "system":
            system.update(right)
        else:
            owners[left] = right
    for path in files(root, ("src", "include"), (".c", ".h")):
        for number, bracket, name in includes(read(root, path)):
            folder = name.split("/")[0] + "/"
            key = name if name in owners else folder
            if key in owners:
                inside = path[len("src/"):] if path.startswith("src/") else None
                if inside is None:
                    yield "%s:%d: no door shows <%s>" % (path, number, name)
                elif not any(inside == owner or (owner.endswith("/") and inside.startswith(owner))
                             for owner in owners[key]):
                    yield "%s:%d: <%s> belongs to %s" % (path, number, name, " ".join(owners[key]))
            elif bracket == "<" and name not in system and folder not in system:
                yield "%s:%d: <%s> has no room in foreign.txt" % (path, number, name)


def check_banned(root):
    reasons = {}
    for left, right in table("banned.txt"):
        for name in left.split():
            reasons[name] = " ".join(right)
    # As a call, or handed over as a function; a member or a longer name is something else.
    call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(sorted(reasons)))
    for path in files(root, ("src", "include"), (".c", ".h")):
        for number, line in enumerate(code_only(read(root, path)).splitlines(), 1):
            for match in call.finditer(line):
                reason = reasons[match.group(1)]
                where = reason.split()
                if where[0] == "outside" and path.startswith("src/" + where[1]):
                    continue
                yield "%s:%d: %s is banned: %s" % (path, number, match.group(1), reason)


def check_headers(root):
    compiler = os.environ.get("CC") or "cc"
    if not shutil.which(compiler):
        raise ToolMissing(compiler)
    for path in files(root, ("include",), (".h",)):
        door = os.path.relpath(path, "include")
        # Twice: a header without a guard is found, too.
        source = '#include "%s"\n#include "%s"\nextern int not_empty;\n' % (door, door)
        done = subprocess.run([compiler] + C_FLAGS + ["-I", os.path.join(root, "include"),
                                                      "-x", "c", "-"],
                              input=source, text=True, capture_output=True)
        if done.returncode != 0:
            yield "%s:1: does not compile alone:\n%s" % (path, done.stderr)


def check_format(root):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        raise ToolMissing("clang-format")
    paths = [os.path.join(root, path)
             for path in files(root, ("src", "include", "tests", "bench"), (".c", ".h"))]
    if paths:
        done = subprocess.run([tool, "--dry-run", "-Werror", "--style=file"] + paths, cwd=root,
                              text=True, capture_output=True)
        if done.returncode != 0:
            # One line for each file: the tool itself mends the rest.
            bad = {}
            for line in done.stderr.splitlines():
                path, error, _ = line.partition(": error:")
                if error:
                    bad.setdefault(path.split(":")[0], []).append(path)
            for path in sorted(bad):
                yield ("%s: %d places are not as .clang-format has them; run %s -i on it"
                       % (os.path.relpath(bad[path][0], root), len(bad[path]), os.path.basename(tool)))
            if not bad:
                yield done.stderr


# Somebody's own folders: what is built from such a path is built on one machine only.
WORDS = [
    (re.compile("/" + r"(home|Users)/\w+/"), "a path of one machine"),
]
TEXT = (".c", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".yaml", ".yml", ".clang-format",
        "/run", "up", "down", "env", "install", "quickstart", "iso-fixture")


def check_words(root):
    for path in files(root, (".",), TEXT):
        path = os.path.normpath(path)
        if path.startswith(("tests/data/", "tests/fuzz/corpus/")):
            continue  # recorded bytes are what they are
        text = read(root, path)
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, what in WORDS:
                if pattern.search(line):
                    yield "%s:%d: %s" % (path, number, what)
            if line != line.rstrip():
                yield "%s:%d: blanks at the end of the line" % (path, number)
            if "\t" in line and path.endswith((".c", ".h", ".py")):
                yield "%s:%d: a tab" % (path, number)
        if text and not text.endswith("\n"):
            yield "%s:%d: no newline at the end" % (path, text.count("\n") + 1)


# ---------------------------------------------------------------- what each check must refuse

GOOD = {
    "include/base/error.h": "#ifndef E\n#define E\nstruct error;\n#endif\n",
    "include/runtime/loop.h": "#ifndef L\n#define L\nstruct loop;\n#endif\n",
    "include/redshift/type.h": "#ifndef T\n#define T\nstruct type;\n#endif\n",
    "include/redshift/sql.h": "#ifndef S\n#define S\nstruct sql;\n#endif\n",
    "src/base/arena.c": "#include <stdlib.h>\n\nvoid *arena(void);\n\nvoid *arena(void)\n{\n"
                        "    return malloc(1); /* sprintf( and malloc( in words are fine */\n}\n",
    "src/stage/row.c": '#include "base/error.h"\n#include "redshift/type.h"\n\nint system_row;\n',
    "src/runtime/loop.c": '#include "runtime/loop.h"\n\n#include <uv.h>\n',
}
BAD = {
    "arrows": [
        ("a lower room includes a higher one", "src/base/up.c", '#include "runtime/loop.h"\n'),
        ("a door outside the one allowed", "src/stage/row.c", '#include "redshift/sql.h"\n'),
        ("a pure file includes the loop", "src/s3/sign.c", '#include "runtime/loop.h"\n'),
        ("a door includes a higher room", "include/base/x.h", '#include "runtime/loop.h"\n'),
        ("a room that is not in the table", "src/util/x.c", "int x;\n"),
        ("a room that is not in the table is included", "src/pg/x.c", '#include "util/x.h"\n'),
        ("another room's private header", "src/pg/x.c", '#include "base/private.h"\n'),
        ("CMake lets a room use too much", "CMakeLists.txt", "add_room(json USES base pg)\n"),
    ],
    "foreign": [
        ("uv.h outside runtime", "src/pg/conn.c", "#include <uv.h>\n"),
        ("uv.h in a door", "include/runtime/loop.h", "#include <uv.h>\n"),
        ("a library with quotes", "src/txn/x.c", '#include "curl/curl.h"\n'),
        ("a library in the wrong file of its room", "src/json/scan.c", "#include <cjson/cJSON.h>\n"),
        ("an unknown library", "src/base/x.c", "#include <glib.h>\n"),
    ],
    "banned": [
        ("sprintf", "src/pg/x.c", "void f(char *s)\n{\n    sprintf(s, \"a\");\n}\n"),
        ("malloc outside base", "src/pg/x.c", "void *f(void)\n{\n    return malloc(1);\n}\n"),
        ("a blocking query", "src/pg/x.c", "void f(void *c)\n{\n    PQexec (c, 0);\n}\n"),
        ("a sleep in base, too", "src/base/x.c", "void f(void)\n{\n    usleep(1);\n}\n"),
        ("after a quote and a comment mark in a literal", "src/pg/x.c",
         "char a = '\"'; /* \" */ const char *b = \"/*\"; int f(void) { return atoi(b); }\n"),
    ],
    "headers": [
        ("a type from nowhere", "include/pg/x.h", "#ifndef X\n#define X\nsize_t f(void);\n#endif\n"),
        ("no guard", "include/pg/x.h", "struct x {\n    int a;\n};\n"),
    ],
    "format": [
        ("two statements of another style", "src/pg/x.c", "int f(void){return 1;}\n"),
        ("a test in another style", "tests/x.c", "int   x;\n"),
    ],
    "words": [
        ("a machine's path", "src/pg/x.c", "/* see /" + "home/ann/x */\n"),
        ("a machine's path in a script", "deploy/install", "cd /" + "Users/ann/build\n"),
        ("a trailing blank", "README.md", "text \n"),
        ("a tab in C", "src/pg/x.c", "int x;\t/* */\n"),
        ("no newline at the end", "src/pg/x.c", "int x;"),
    ],
}


def make_tree(folder, content):
    for path, text in content.items():
        place = os.path.join(folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w") as file:
            file.write(text)
    style = os.path.join(HERE, "..", "..", ".clang-format")
    if os.path.exists(style):
        shutil.copy(style, folder)


def refuses(name, check):
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        make_tree(folder, GOOD)
        wrong += ["a good tree was refused: " + line for line in check(folder)]
    for sentence, path, text in BAD[name]:
        with tempfile.TemporaryDirectory() as folder:
            make_tree(folder, dict(GOOD, **{path: text}))
            if not list(check(folder)):
                wrong.append("not refused: " + sentence)
    return wrong


def main():
    checks = {name[len("check_"):]: value for name, value in globals().items()
              if name.startswith("check_")}
    if len(sys.argv) != 3 or not {sys.argv[1], sys.argv[2]} & set(checks):
        sys.exit("use: lint.py CHECK ROOT, or lint.py --refuses CHECK; checks: "
                 + " ".join(sorted(checks)))
    try:
        if sys.argv[1] == "--refuses":
            complaints = refuses(sys.argv[2], checks[sys.argv[2]])
        else:
            complaints = list(checks[sys.argv[1]](os.path.abspath(sys.argv[2])))
    except ToolMissing as tool:
        print("%s is not installed: skipped" % tool)
        sys.exit(SKIP)
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
