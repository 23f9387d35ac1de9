"""Every metric and label that the dashboard and the alerts name exists, and Prometheus can read it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

ROOT = os.path.abspath(sys.argv.pop(1))
sys.argv[1:2] = []
DEPLOY = os.path.join(ROOT, "deploy")
ALERTS = os.path.join(DEPLOY, "prometheus", "alerts.yaml")
# Of Prometheus itself, about each target; labels that each series gets from the scrape.
PROMETHEUS = {"up"}
SCRAPED = {"job", "instance", "le", "task"}


def read(*path):
    with open(os.path.join(DEPLOY, *path)) as file:
        return file.read()


def exported():
    """name -> kind, from metrics.md, which a unit test compares with the program's own table."""
    kinds = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", read("metrics.md"), re.M))
    return {name: kind for name, kind in kinds.items() if kind in ("gauge", "counter", "histogram")}


def labels():
    found = set()
    for line in read("metrics.md").split("Labels come from", 1)[1].splitlines():
        found.update(re.findall(r"^\| `(\w+)` \|", line))
    return found | SCRAPED


def names(expression):
    """The metrics in an expression: what begins as ours do, and `up`."""
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:materialize_redshift|process)_\w+|\bup\b", bare))


def series(kinds):
    found = set(PROMETHEUS)
    for name, kind in kinds.items():
        found.update([name + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name])
    return found


def dashboard_expressions():
    for panel in json.loads(read("grafana", "dashboard.json"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def alerts():
    for group in yaml.safe_load(read("prometheus", "alerts.yaml"))["groups"]:
        yield from group["rules"]


def label_names(expression):
    found = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        found.update(word.strip() for word in group.split(","))
    return found


class Names(unittest.TestCase):
    def setUp(self):
        self.exported = exported()
        self.assertGreater(len(self.exported), 30)

    def check(self, where, expression):
        with self.subTest(where):
            self.assertTrue(names(expression), "no metric in it")
            self.assertEqual(names(expression) - series(self.exported), set())
            self.assertEqual(label_names(expression) - labels(), set())

    def test_alerts_name_only_what_exists(self):
        for rule in alerts():
            self.check(rule["alert"], rule["expr"])

    def test_the_dashboard_names_only_what_exists(self):
        for title, expression in dashboard_expressions():
            self.check(title, expression)

    def test_the_dashboard_shows_everything_that_is_exported(self):
        shown = set().union(*(names(expression) for _, expression in dashboard_expressions()))
        missing = [name for name, kind in self.exported.items()
                   if not shown & series({name: kind}) - PROMETHEUS]
        self.assertEqual(missing, [])

    def test_a_name_that_does_not_exist_is_found(self):
        known = series(self.exported)
        for wrong in ("materialize_redshift_stores", "rate(process_cpu_seconds[5m])",
                      "materialize_redshift_phase_seconds{phase=\"apply\"}"):
            with self.subTest(wrong):
                self.assertTrue(names(wrong) - known)
        self.assertTrue(label_names('x{shard="0"}') - labels())

    def test_values_of_labels_exist(self):
        text = read("metrics.md")
        for rule in alerts():
            for label, value in re.findall(r'\b(phase|what|cause)="(\w+)"', rule["expr"]):
                row = re.search(r"^\| `%s` \|.*$" % label, text, re.M).group(0)
                self.assertIn("`%s`" % value, row)

    def test_each_alert_is_made_to_fire_and_to_keep_silent(self):
        tests = yaml.safe_load(read("prometheus", "alerts_test.yaml"))["tests"]
        fires, silent = set(), set()
        for test in tests:
            for row in test["alert_rule_test"]:
                (fires if row.get("exp_alerts") else silent).add(row["alertname"])
        every = {rule["alert"] for rule in alerts()}
        self.assertEqual(fires, every)
        self.assertEqual(silent, every)

    def test_alerts_have_a_severity_and_a_summary(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                self.assertTrue(rule["annotations"]["summary"])


@unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
class Prometheus(unittest.TestCase):
    def promtool(self, *words):
        done = subprocess.run(["promtool"] + list(words), text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rules_are_rules(self):
        self.promtool("check", "rules", ALERTS)

    def test_the_sample_configuration_is_one(self):
        self.promtool("check", "config", os.path.join(DEPLOY, "prometheus", "prometheus.yaml"))

    def test_alerts_fire_when_they_should(self):
        self.promtool("test", "rules", os.path.join(DEPLOY, "prometheus", "alerts_test.yaml"))

    def test_the_dashboard_s_expressions_are_expressions(self):
        # Grafana's own variables have values by the time Prometheus sees them.
        rules = [{"record": "panel:%d" % number,
                  "expr": expression.replace("$__rate_interval", "5m").replace("$instance", ".*")}
                 for number, (_, expression) in enumerate(dashboard_expressions())]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            self.promtool("check", "rules", file.name)


if __name__ == "__main__":
    unittest.main()
