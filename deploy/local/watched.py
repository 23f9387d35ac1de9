"""A connector under load and a Prometheus that watches it: for pictures and for tests of what operators
are given. In: the variables of deploy/local/env. Everything is written below the folder that is given,
listens on 127.0.0.1, and ends with the `with` block that made it.
"""

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

PROMETHEUS = "/usr/bin/prometheus"
JOB = "materialize-redshift"  # what alerts and dashboard select


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(what, fact, seconds):
    """Asks for the fact until it is one."""
    end = time.monotonic() + seconds
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError("%s did not happen within %d s" % (what, seconds))
        time.sleep(0.1)


def die_with_parent():
    """In the child: SIGTERM when whoever started it is gone, even by SIGKILL (prctl(2), 1)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@contextlib.contextmanager
def process(argv, log, environment=None, folder=None):
    with open(log, "wb") as out:
        started = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=dict(os.environ, **(environment or {})),
                                   preexec_fn=die_with_parent)
        try:
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGTERM)
                try:
                    started.wait(30)
                except subprocess.TimeoutExpired:
                    started.kill()
                    started.wait()


# ---------------------------------------------------------------- Prometheus


class Prometheus:
    """The HTTP API of a running one."""

    def __init__(self, port):
        self.port = port

    def get(self, path, **parameters):
        url = "http://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(parameters))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def is_ready(self):
        try:
            return self.get("/api/v1/query", query="1")["status"] == "success"
        except (OSError, ValueError):  # nobody listens, or a text that it is not ready
            return False

    def ask(self, expression):
        """The answer's rows; an expression that is none raises."""
        answer = self.get("/api/v1/query", query=expression)
        if answer["status"] != "success":
            raise ValueError("%s: %s" % (expression, answer["error"]))
        return answer["data"]["result"]


@contextlib.contextmanager
def prometheus(folder, targets, rules=()):
    """targets: {"127.0.0.1:9477": {"task": "acme"}, ...}. Scrapes and evaluates every second."""
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [os.path.basename(rule) for rule in rules],
        "scrape_configs": [{
            "job_name": JOB,
            "static_configs": [{"targets": [target], "labels": labels}
                               for target, labels in targets.items()]}],
    }
    for rule in rules:
        shutil.copy(rule, folder)
    with open(os.path.join(folder, "prometheus.yaml"), "w") as file:
        json.dump(configuration, file)  # JSON is YAML, too
    port = free_port()
    # Started in the folder, so that its pages show no other names of files than these.
    argv = [PROMETHEUS, "--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb",
            "--web.listen-address=127.0.0.1:%d" % port]
    with process(argv, os.path.join(folder, "prometheus.log"), folder=folder) as started:
        api = Prometheus(port)
        wait_for("a ready Prometheus", lambda: started.poll() is not None or api.is_ready(), 60)
        if started.poll() is not None:
            raise OSError("prometheus ended: see %s/prometheus.log" % folder)
        yield api


# ---------------------------------------------------------------- a task

CATALOG = {
    "collections": {
        name: {"key": ["/id"], "schema": {
            "type": "object", "reduce": {"strategy": "merge"}, "required": ["id"],
            "properties": {"id": {"type": "integer"},
                           "text": {"type": "string", "reduce": {"strategy": "lastWriteWins"}},
                           "seen": {"type": "integer", "reduce": {"strategy": "sum"}}}}}
        for name in ("shop/orders", "shop/customers", "shop/clicks")},
    "materializations": {"shop/warehouse": {
        "endpoint": {"local": {"command": ["materialize-redshift"], "config": {}}},
        "bindings": [
            {"source": "shop/orders", "resource": {"table": "orders"}, "fields": {"recommended": True}},
            {"source": "shop/customers", "resource": {"table": "customers"},
             "fields": {"recommended": True}},
            {"source": "shop/clicks", "resource": {"table": "clicks", "delta_updates": True},
             "fields": {"recommended": True}}]}},
}


def endpoint(schema, address=None, sync_frequency="0s"):
    value = os.environ
    return {
        "address": address or value["LOCAL_REDSHIFT_ADDRESS"],
        "user": value["LOCAL_REDSHIFT_USER"], "password": value["LOCAL_REDSHIFT_PASSWORD"],
        "database": value["LOCAL_REDSHIFT_DATABASE"], "schema": schema,
        "bucket": value["LOCAL_S3_BUCKET"], "awsAccessKeyId": value["LOCAL_S3_KEY"],
        "awsSecretAccessKey": value["LOCAL_S3_SECRET"], "region": value["LOCAL_S3_REGION"],
        "bucketPath": schema, "syncSchedule": {"syncFrequency": sync_frequency},
    }


def write_fixture(path, transactions, documents):
    """Transactions of changing sizes; half of the orders and customers are known already."""
    chance = random.Random(1)
    newest = {"shop/orders": 0, "shop/customers": 0, "shop/clicks": 0}
    with open(path, "w") as out:
        for number in range(transactions):
            # Up and down, as a day has it.
            size = int(documents * (1 + 0.9 * ((number % 40) - 20) / 20)) + 10
            for _ in range(size):
                name = chance.choices(list(newest), (5, 1, 4))[0]
                known = newest[name]
                if name == "shop/clicks" or known == 0 or chance.random() < 0.5:
                    newest[name] = key = known + 1
                else:
                    key = chance.randint(1, known)
                out.write('["%s",{"id":%d,"text":"%032x","seen":1}]\n' % (name, key, chance.getrandbits(128)))
            out.write('{"commit":true}\n')


@contextlib.contextmanager
def task(folder, build, configuration, fixture, port, name="task"):
    """A connector with metrics on that port, driven by the played runtime."""
    paths = {part: os.path.join(folder, "%s.%s" % (name, part))
             for part in ("catalog", "state", "log", "report")}
    given = os.path.join(folder, "given")  # the one folder that has secrets
    os.makedirs(given, mode=0o700, exist_ok=True)
    paths["config"] = os.path.join(given, name + ".json")
    with open(paths["catalog"], "w") as file:
        json.dump(CATALOG, file)
    descriptor = os.open(paths["config"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump(configuration, file)
    argv = [os.path.join(build, "flow-runtime"), "--catalog", paths["catalog"], "--fixture", fixture,
            "--config", paths["config"], "--connector", os.path.join(build, "materialize-redshift"),
            "--codec", "proto", "--mode", "v1", "--state", paths["state"], "--log", paths["log"],
            "--report", paths["report"], "--force-loads", "--timeout", "3600"]
    with process(argv, os.path.join(folder, name + ".out"),
                 {"METRICS_ADDRESS": "127.0.0.1:%d" % port}) as started:
        yield started


@contextlib.contextmanager
def schema(name):
    """A schema that is gone afterwards."""
    host, _, port = os.environ["LOCAL_REDSHIFT_ADDRESS"].partition(":")
    drop = ["psql", "-X", "-q", "-h", host, "-p", port, "-U", os.environ["LOCAL_REDSHIFT_USER"],
            "-d", os.environ["LOCAL_REDSHIFT_DATABASE"], "-v", "ON_ERROR_STOP=1",
            "-c", 'DROP SCHEMA IF EXISTS "%s" CASCADE' % name]
    environment = dict(os.environ, PGPASSWORD=os.environ["LOCAL_REDSHIFT_PASSWORD"],
                       PGSSLMODE="require", PGCLIENTENCODING="UTF8")
    subprocess.run(drop, env=environment, check=True, stderr=subprocess.DEVNULL)
    try:
        yield name
    finally:
        subprocess.run(drop, env=environment, check=True, stderr=subprocess.DEVNULL)
