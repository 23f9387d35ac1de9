"""A running Prometheus scrapes connectors that work. Each question of the dashboard is asked through its
HTTP API and has an answer; each alert is evaluated without an error; and the series that alerts_test.yaml
makes up are ones that a connector really exports, label by label.

Two connectors: one under load, through a gateway that cuts some of its connections, so that there is
something to try again; and one with a schedule, which has caught up and waits.
"""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import unittest

import yaml

ROOT = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.abspath(sys.argv.pop(1))
BUILD = os.path.dirname(PROGRAM)
DEPLOY = os.path.join(ROOT, "deploy")
ALERTS = os.path.join(DEPLOY, "prometheus", "alerts.yaml")
sys.path.insert(0, os.path.join(DEPLOY, "local"))
import watched  # noqa: E402

SECONDS = 120  # the longest wait for an answer
WINDOW = "5m"  # more than the whole run, so that nothing which happened drops out again
FREE = {"job", "instance", "version", "task"}  # labels whose values are the operator's or the build's


def read(*path):
    with open(os.path.join(DEPLOY, *path)) as file:
        return file.read()


def panels():
    """(title, expression) as Grafana sends it."""
    for panel in json.loads(read("grafana", "dashboard.json"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", WINDOW).replace(
                "$instance", ".*")


def selectors(expression):
    """The instant selectors in an expression: name and matchers, without ranges."""
    return re.findall(r"\b(?:materialize_redshift|process)_\w+(?:\{[^}]*\})?|\bup(?:\{[^}]*\})?(?=\W)",
                      expression)


def made_up():
    """(name, labels) of each series in the tests of the alerts."""
    for test in yaml.safe_load(read("prometheus", "alerts_test.yaml"))["tests"]:
        for series in test["input_series"]:
            name, _, rest = series["series"].partition("{")
            yield name, dict(re.findall(r'(\w+)="([^"]*)"', rest))


@contextlib.contextmanager
def evidence():
    """A folder that is gone afterwards, or kept for tests/run's search for secrets."""
    folder = tempfile.mkdtemp(prefix="watched-")
    try:
        yield folder
    finally:
        keep = os.environ.get("TEST_EVIDENCE")
        if keep:
            shutil.rmtree(os.path.join(folder, "tsdb"), ignore_errors=True)
            shutil.move(folder, keep)
        else:
            shutil.rmtree(folder)


class Watched(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        enter = cls.enterClassContext
        folder = enter(evidence())
        busy, calm = watched.free_port(), watched.free_port()
        gateway = cls.start_gateway(folder)
        long, short = (os.path.join(folder, name) for name in ("long.jsonl", "short.jsonl"))
        watched.write_fixture(long, 3000, 150)
        cls.add_awkward_values(long)
        watched.write_fixture(short, 30, 10)  # the first five are not delayed
        names = ["watched_%d_%s" % (os.getpid(), which) for which in ("busy", "calm")]
        for name in names:
            enter(watched.schema(name))
        cls.prometheus = enter(watched.prometheus(
            folder, {"127.0.0.1:%d" % busy: {"task": "busy"}, "127.0.0.1:%d" % calm: {"task": "calm"}},
            [ALERTS]))
        cls.tasks = [
            enter(watched.task(folder, BUILD, watched.endpoint(names[0], gateway), long, busy, "busy")),
            enter(watched.task(folder, BUILD, watched.endpoint(names[1], None, "4h"), short, calm, "calm"))]

    @staticmethod
    def add_awkward_values(path):
        """A string that no column holds, and a character that no SUPER does, so that both are counted."""
        with open(path) as file:
            rest = file.read()
        with open(path, "w") as file:
            for number, text in enumerate(("long" * 20000, "a\\u0000b")):
                file.write('["shop/orders",{"id":-%d,"text":"%s","seen":1}]\n' % (number + 1, text))
            file.write(rest)

    @classmethod
    def start_gateway(cls, folder):
        ready, rules = (os.path.join(folder, name) for name in ("ready", "rules"))
        with open(rules, "w") as file:
            for number in (2, 5, 10, 20, 40, 80, 160):
                file.write("put.merge#%d before cut %s/cut-%d\n" % (number, folder, number))
        cls.enterClassContext(watched.process(
            [os.path.join(BUILD, "sql-gateway"), "--target", os.environ["LOCAL_REDSHIFT_ADDRESS"],
             "--rules", rules, "--ready-file", ready], os.path.join(folder, "gateway.log")))
        watched.wait_for("a gateway", lambda: os.path.exists(ready) and os.path.getsize(ready), 30)
        with open(ready) as file:
            return file.read().strip()

    def wait_for_rows(self, what, expression):
        def ask():
            self.assertIsNone(self.tasks[0].poll(), "the busy task has ended")
            self.assertIsNone(self.tasks[1].poll(), "the calm task has ended")
            return self.prometheus.ask(expression)
        return watched.wait_for("%s: a row for %s" % (what, expression), ask, SECONDS)

    def test_each_question_of_the_dashboard_has_an_answer(self):
        questions = list(panels())
        self.assertGreater(len(questions), 30)
        for title, expression in questions:
            with self.subTest(title):
                self.wait_for_rows(title, expression)

    def test_no_answer_to_a_question_about_nothing(self):
        self.assertEqual(self.prometheus.ask("materialize_redshift_no_such_metric"), [])
        with self.assertRaises(ValueError):
            self.prometheus.ask("rate(materialize_redshift_stores_total)")

    def test_each_alert_is_evaluated_without_an_error(self):
        def evaluated():
            groups = self.prometheus.get("/api/v1/rules")["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return rules and all(rule["health"] != "unknown" for rule in rules) and rules
        rules = watched.wait_for("the first evaluation", evaluated, SECONDS)
        wanted = [rule["alert"] for group in yaml.safe_load(read("prometheus", "alerts.yaml"))["groups"]
                  for rule in group["rules"]]
        self.assertEqual([rule["name"] for rule in rules], wanted)
        for rule in rules:
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])

    def test_what_alerts_look_at_is_there(self):
        for group in yaml.safe_load(read("prometheus", "alerts.yaml"))["groups"]:
            for rule in group["rules"]:
                with self.subTest(rule["alert"]):
                    self.assertTrue(selectors(rule["expr"] + " "))
                    for selector in selectors(rule["expr"] + " "):
                        self.wait_for_rows(rule["alert"], selector)

    def test_series_that_the_alerts_are_tested_with_are_exported(self):
        series = sorted({(name, tuple(sorted(labels.items()))) for name, labels in made_up()})
        self.assertGreater(len(series), 15)
        for name, pairs in series:
            with self.subTest(name, labels=pairs):
                labels = dict(pairs)
                fixed = ",".join('%s="%s"' % pair for pair in pairs if pair[0] not in FREE)
                rows = self.wait_for_rows("alerts_test.yaml", "%s{%s}" % (name, fixed))
                for row in rows:
                    real = set(row["metric"]) - {"__name__", "task"}
                    self.assertEqual(set(labels), real)

    def test_the_task_with_a_schedule_waits_and_alarms_nobody(self):
        next_time = "materialize_redshift_next_acknowledgement_timestamp_seconds"
        self.wait_for_rows("schedule", "%s > time()" % next_time)
        self.assertEqual(self.prometheus.ask('ALERTS{task="calm",alertstate="firing"}'), [])


if __name__ == "__main__":
    unittest.main()
