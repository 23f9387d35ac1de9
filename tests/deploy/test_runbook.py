"""The runbook knows every exit status, every warning and every alert; what it quotes is really said."""

import json
import os
import re
import signal
import subprocess
import sys
import unittest

import yaml

ROOT = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.abspath(sys.argv.pop(1))


def read(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def sources():
    for place, _, leaves in os.walk(os.path.join(ROOT, "src")):
        for leaf in sorted(leaves):
            if leaf.endswith(".c"):
                yield os.path.relpath(os.path.join(place, leaf), ROOT)


LITERALS = r'((?:"(?:\\.|[^"\\\n])*"\s*)+)'


def joined(literals):
    """Neighbouring literals of C as one text."""
    return "".join(re.findall(r'"((?:\\.|[^"\\\n])*)"', literals)).replace('\\"', '"')


RUNBOOK = read("deploy", "README.md")


def section(title):
    return re.search(r"^## %s$(.*?)(?=^## |\Z)" % re.escape(title), RUNBOOK, re.M | re.S).group(1)


def first_cells(title):
    rows = re.findall(r"^\| (.*?) \|", section(title), re.M)
    return [row for row in rows if row and not row.startswith("`msg`") and not row.startswith("in `msg`")]


class Lines(unittest.TestCase):
    def test_every_warning_is_in_the_table_and_nothing_else(self):
        said = set()
        for path in sources():
            text = read(path)
            said.update(joined(found) for found in
                        re.findall(r"log_event\(\s*LOG_(?:WARN|ERROR),\s*" + LITERALS, text))
            said.update(joined(found) for found in re.findall(r"\.retry_message = " + LITERALS, text))
        self.assertGreater(len(said), 10)
        listed = {row.strip("`") for row in first_cells("Warnings and errors on the way")}
        self.assertEqual(said, listed)

    def test_last_lines_that_are_quoted_can_be_said(self):
        everything = " ".join(joined(found) for path in sources()
                              for found in re.findall(LITERALS, read(path)))
        # The warehouse's own words; SQLSTATEs that are passed on as they come.
        of_others = {"Disk Full", "not authorized to assume IAM Role"}
        for row in first_cells("The last line"):
            for quoted in re.findall(r"`([^`]+)`", row):
                with self.subTest(quoted):
                    self.assertTrue(quoted in of_others or quoted in everything, quoted)


class Statuses(unittest.TestCase):
    def test_the_program_ends_in_no_other_way(self):
        ends = {(path, end) for path in sources()
                for end in re.findall(r"(?<![\w.])((?:_|quick_)?exit|_Exit|abort)\(\w*\);", read(path))}
        # main's own, with the same status: what hangs on the thread pool is not waited for.
        self.assertEqual(ends, {("src/base/check.c", "abort"), ("src/main.c", "_exit")})
        main = read("src", "main.c")
        self.assertIn("EXIT_FAILURE : EXIT_SUCCESS", main)
        self.assertEqual(set(first_cells("How a run ended")) - {"status"}, {"0", "1", "134", "137"})
        self.assertEqual(128 + signal.SIGABRT, 134)
        self.assertEqual(128 + signal.SIGKILL, 137)

    def run_it(self, text, **variables):
        environment = dict(os.environ, FLOW_RUNTIME_CODEC="json", LOG_FORMAT="json")
        environment.update(variables)
        return subprocess.run([PROGRAM], input=text, text=True, capture_output=True, timeout=60,
                              env=environment)

    @unittest.skipUnless(os.access(PROGRAM, os.X_OK), "the program is not built")
    def test_status_0_is_an_answer(self):
        done = self.run_it('{"spec":{}}\n')
        self.assertEqual(done.returncode, 0)
        self.assertIn("configSchema", done.stdout)
        self.assertEqual(self.run_it("").returncode, 0)

    @unittest.skipUnless(os.access(PROGRAM, os.X_OK), "the program is not built")
    def test_status_1_has_a_last_line_of_level_fatal(self):
        for text, variables in (("", {"LOG_LEVEL": "loud"}), ("", {"FLOW_RUNTIME_CODEC": "xml"}),
                                ('{"open":', {}), ('{"flush":{}}\n', {})):
            with self.subTest(text=text, **variables):
                done = self.run_it(text, **variables)
                self.assertEqual(done.returncode, 1)
                last = json.loads(done.stderr.splitlines()[-1])
                self.assertEqual(last["level"], "fatal")
                self.assertTrue(last["msg"])


class Alerts(unittest.TestCase):
    def test_every_alert_has_its_row_and_every_row_its_alert(self):
        alerts = {rule["alert"] for group in yaml.safe_load(read("deploy", "prometheus", "alerts.yaml"))["groups"]
                  for rule in group["rules"]}
        rows = set(first_cells("Alerts")) - {"alert", "---"}
        self.assertEqual(alerts, rows)


class Papers(unittest.TestCase):
    def test_files_that_are_named_are_there(self):
        for text, place in ((RUNBOOK, "deploy"), (read("deploy", "CHANGELOG.md"), "deploy")):
            for name in re.findall(r"\]\(([\w./-]+)\)", text):
                self.assertTrue(os.path.exists(os.path.join(ROOT, place, name)), name)
        for row in re.findall(r"^\| (`.*?) \|", RUNBOOK.split("## Setting up")[0], re.M):
            for name in re.findall(r"`([^`]+)`", row):
                self.assertTrue(os.path.exists(os.path.join(ROOT, "deploy", name)), name)

    def test_the_changelog_begins_with_this_version_and_with_delivery(self):
        version = re.search(r"VERSION (\d+\.\d+\.\d+)", read("CMakeLists.txt")).group(1)
        headings = re.findall(r"^##+ (.*)$", read("deploy", "CHANGELOG.md"), re.M)
        self.assertEqual(headings[:2], [version, "Delivery"])


if __name__ == "__main__":
    unittest.main()
