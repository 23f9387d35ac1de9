"""Is each case of the contract a test? cases.py ROOT, or cases.py --refuses.

tests/data/cases.txt holds the ids, one a line: a letter for the subject and a number. A test names
its case in the sentence of its row ("C5 an unknown property") or in a comment (/* C28 */). What is
not named by a test in tests/unit is printed. --refuses feeds small made-up trees: a check that
cannot fail says nothing.
"""

import os
import re
import sys
import tempfile

LIST = "tests/data/cases.txt"
# A sentence or a comment begins with one id or several: "P2, P3 a wrong user", /* Q1 */.
IDS = r"((?:[A-Z][0-9]+, )*[A-Z][0-9]+)"
NAMED = re.compile(r'"%s [^"]|/\* %s(?: \*/|: )' % (IDS, IDS))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def named_by_tests(root):
    found = set()
    for place, _, leaves in os.walk(os.path.join(root, "tests", "unit")):
        for leaf in leaves:
            if leaf.startswith("test_") and leaf.endswith(".c"):
                for match in NAMED.finditer(read(place, leaf)):
                    found.update((match.group(1) or match.group(2)).split(", "))
    return found


def check(root):
    found = named_by_tests(root)
    seen = set()
    for number, line in enumerate(read(root, LIST).split("\n"), 1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if not re.fullmatch(r"[A-Z][0-9]+", word):
            yield "%s:%d: %s is no id" % (LIST, number, word)
        elif word in seen:
            yield "%s:%d: %s stands here twice" % (LIST, number, word)
        elif word not in found:
            yield "%s:%d: no test in tests/unit is named %s" % (LIST, number, word)
        seen.add(word)
    if not seen:
        yield "%s:1: no case at all" % LIST


GOOD = {
    LIST: "# ids\nC1\nC2\nC3\n",
    "tests/unit/a/test_a.c": '{"C1 a sentence", 1},\n/* C2, C3 */\n',
}
BAD = [
    ("an id without a test", LIST, GOOD[LIST] + "A2\n"),
    ("an id that is only in the middle of a sentence", "tests/unit/a/test_a.c",
     '{"a sentence about C1", 1},\n/* C2, C3 */\n'),
    ("an id without a sentence", "tests/unit/a/test_a.c", '{"C1", 1},\n/* C2, C3 */\n'),
    ("a longer id", "tests/unit/a/test_a.c", '{"C11 a sentence", 1},\n/* C2, C3 */\n'),
    ("an id twice", LIST, GOOD[LIST] + "C1\n"),
    ("what is no id", LIST, GOOD[LIST] + "one\n"),
    ("no list", LIST, ""),
]


def complaints_about(content):
    with tempfile.TemporaryDirectory() as root:
        for path, text in content.items():
            place = os.path.join(root, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "w", encoding="utf-8") as file:
                file.write(text)
        return list(check(root))


def refuses():
    for line in complaints_about(GOOD):
        yield "a good tree was refused: " + line
    for sentence, path, text in BAD:
        if not complaints_about(dict(GOOD, **{path: text})):
            yield "not refused: " + sentence


def main():
    if len(sys.argv) != 2:
        sys.exit("use: cases.py ROOT, or cases.py --refuses")
    complaints = list(refuses() if sys.argv[1] == "--refuses" else check(sys.argv[1]))
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
