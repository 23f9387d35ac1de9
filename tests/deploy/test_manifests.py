"""Manifests parse, have only keys that exist, and keep the rules that deploy/README.md promises.

The tools that would read them need a container engine or a cluster; what is checked here instead is a
schema of the keys that are used. A key that is not in it is either a slip of the pen or wants a row.
"""

import configparser
import json
import os
import subprocess
import sys
import unittest

import yaml

ROOT = os.path.abspath(sys.argv.pop(1))
sys.argv[1:2] = []
DEPLOY = os.path.join(ROOT, "deploy")

ANY = object()  # what lies below is free: names of volumes, of variables


def read(*path):
    with open(os.path.join(DEPLOY, *path)) as file:
        return file.read()


def files(folder, ending):
    place = os.path.join(DEPLOY, folder)
    return sorted(os.path.join(folder, name) for name in os.listdir(place) if name.endswith(ending))


def complaints(value, schema, where=""):
    """Sentences about what in value the schema does not know. A schema is a type, a tuple of them, ANY,
    [schema] for lists, or a dict of key -> schema in which "*" stands for any key."""
    if schema is ANY:
        return
    if isinstance(schema, (type, tuple)):
        if not isinstance(value, schema):
            yield "%s is %r" % (where, value)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            yield "%s is no list" % where
            return
        for number, item in enumerate(value):
            yield from complaints(item, schema[0], "%s[%d]" % (where, number))
    elif not isinstance(value, dict):
        yield "%s is no mapping" % where
    else:
        for key, item in value.items():
            if key in schema or "*" in schema:
                yield from complaints(item, schema.get(key, schema.get("*")), "%s.%s" % (where, key))
            else:
                yield "%s has an unknown key %s" % (where, key)


# compose-spec, the keys that are used
COMPOSE = {
    "name": str,
    "services": {"*": {
        "image": str, "build": {"context": str, "dockerfile": str}, "command": [str], "init": bool,
        "environment": {"*": str}, "volumes": [str], "ports": [str], "read_only": bool,
        "security_opt": [str], "depends_on": [str], "restart": str, "stop_grace_period": str}},
    "volumes": {"*": type(None)},
}

LABELS = {"*": str}
SECURITY = {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int,
            "seccompProfile": {"type": str}, "allowPrivilegeEscalation": bool,
            "readOnlyRootFilesystem": bool, "capabilities": {"drop": [str]}}
PROBE = {"httpGet": {"path": str, "port": str}, "periodSeconds": int, "timeoutSeconds": int,
         "failureThreshold": int}
AMOUNTS = {"cpu": str, "memory": str}
PORTS = [{"port": int, "protocol": str}]
KUBERNETES = {
    "StatefulSet": {"serviceName": str, "replicas": int, "selector": {"matchLabels": LABELS}, "template": {
        "metadata": {"labels": LABELS}, "spec": {
            "serviceAccountName": str,
            "automountServiceAccountToken": bool, "terminationGracePeriodSeconds": int,
            "securityContext": SECURITY,
            "containers": [{
                "name": str, "image": str, "command": [str], "env": [{"name": str, "value": str}],
                "ports": [{"name": str, "containerPort": int}], "startupProbe": PROBE,
                "livenessProbe": PROBE, "readinessProbe": PROBE,
                "resources": {"requests": AMOUNTS, "limits": AMOUNTS}, "securityContext": SECURITY,
                "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}]}],
            "volumes": [{"name": str, "secret": {"secretName": str, "defaultMode": int},
                         "emptyDir": {"sizeLimit": str}}]}},
        "volumeClaimTemplates": [{"metadata": {"name": str}, "spec": {
            "accessModes": [str], "resources": {"requests": {"storage": str}}}}]},
    "Service": {"clusterIP": str, "publishNotReadyAddresses": bool, "selector": LABELS,
                "ports": [{"name": str, "port": int, "targetPort": str}]},
    "ServiceAccount": None,
    "NetworkPolicy": {"podSelector": {"matchLabels": LABELS}, "policyTypes": [str],
                      "ingress": [{"from": ANY, "ports": PORTS}], "egress": [{"ports": PORTS}]},
}


class Compose(unittest.TestCase):
    COMPOSE = yaml.safe_load(read("compose.yaml"))

    def test_keys_exist(self):
        self.assertEqual(list(complaints(self.COMPOSE, COMPOSE)), [])

    def test_a_slip_of_the_pen_is_found(self):
        for wrong in ({"service": {}}, {"services": {"a": {"imgae": "x"}}},
                      {"services": {"a": {"ports": "80:80"}}},
                      {"services": {"a": {"environment": {"A": True}}}}):
            with self.subTest(wrong):
                self.assertTrue(list(complaints(wrong, COMPOSE)))

    def test_images_are_pinned_and_ports_are_on_loopback(self):
        for name, service in self.COMPOSE["services"].items():
            with self.subTest(name):
                self.assertEqual(("image" in service) + ("build" in service), 1)
                if "image" in service:
                    self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+$")
                for port in service.get("ports", ()):
                    self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_folders_services_and_volumes_that_are_named_are_there(self):
        for service in self.COMPOSE["services"].values():
            if "build" in service:
                context = os.path.join(DEPLOY, service["build"]["context"])
                self.assertTrue(os.path.exists(os.path.join(context, service["build"]["dockerfile"])))
            for other in service.get("depends_on", ()):
                self.assertIn(other, self.COMPOSE["services"])
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue(os.path.exists(os.path.join(DEPLOY, source)), source)
                else:
                    self.assertIn(source, self.COMPOSE["volumes"])

    def test_prometheus_scrapes_where_the_task_serves(self):
        config = yaml.safe_load(read("prometheus", "prometheus.yaml"))
        (job,) = config["scrape_configs"]
        (host, _, port), = [target.partition(":") for target in job["static_configs"][0]["targets"]]
        service = self.COMPOSE["services"][host]
        self.assertEqual(service["environment"]["METRICS_ADDRESS"], "0.0.0.0:" + port)
        self.assertEqual(job["job_name"], "materialize-redshift")

    def test_the_playground_s_script_is_one(self):
        path = os.path.join(DEPLOY, "compose", "play")
        self.assertTrue(os.access(path, os.X_OK))
        self.assertEqual(subprocess.run(["bash", "-n", path]).returncode, 0)


class Kubernetes(unittest.TestCase):
    MANIFESTS = {manifest["kind"]: manifest for path in files("kubernetes", ".yaml")
                 for manifest in yaml.safe_load_all(read(path))}

    def setUp(self):
        self.pod = self.MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]
        (self.container,) = self.pod["containers"]

    def test_keys_exist(self):
        self.assertEqual(set(self.MANIFESTS), set(KUBERNETES))
        for kind, manifest in self.MANIFESTS.items():
            body = {"spec": KUBERNETES[kind]} if KUBERNETES[kind] else {"automountServiceAccountToken": bool}
            schema = {"apiVersion": str, "kind": str, **body,
                      "metadata": {"name": str, "labels": LABELS, "annotations": LABELS}}
            self.assertEqual(list(complaints(manifest, schema, kind)), [])

    def test_the_account_gives_a_role_and_no_token_for_kubernetes(self):
        account = self.MANIFESTS["ServiceAccount"]
        self.assertEqual(account["metadata"]["name"], self.pod["serviceAccountName"])
        self.assertRegex(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], r"^arn:aws:iam::\d+:role/")
        self.assertIs(account["automountServiceAccountToken"], False)

    def test_one_instance_without_root_and_without_a_root_file_system_to_write_to(self):
        self.assertEqual(self.MANIFESTS["StatefulSet"]["spec"]["replicas"], 1)
        self.assertIs(self.pod["automountServiceAccountToken"], False)
        self.assertIs(self.pod["securityContext"]["runAsNonRoot"], True)
        self.assertIn("USER %d:%d\n" % (self.pod["securityContext"]["runAsUser"],
                                        self.pod["securityContext"]["runAsGroup"]), read("Dockerfile"))
        security = self.container["securityContext"]
        self.assertIs(security["readOnlyRootFilesystem"], True)
        self.assertIs(security["allowPrivilegeEscalation"], False)
        self.assertEqual(security["capabilities"], {"drop": ["ALL"]})

    def test_probes_ask_pages_that_exist_at_the_port_that_is_served(self):
        pages = read("metrics.md")
        names = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        address = {row["name"]: row["value"] for row in self.container["env"]}["METRICS_ADDRESS"]
        for probe, page in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"),
                            ("readinessProbe", "/readyz")):
            asked = self.container[probe]["httpGet"]
            self.assertEqual(asked["path"], page)
            self.assertIn("`%s`" % page, pages)
            self.assertEqual(address, "0.0.0.0:%d" % names[asked["port"]])

    def test_limits_and_volumes(self):
        self.assertEqual(set(self.container["resources"]["limits"]), {"cpu", "memory"})
        claims = {claim["metadata"]["name"] for claim in
                  self.MANIFESTS["StatefulSet"]["spec"]["volumeClaimTemplates"]}
        self.assertEqual({mount["name"] for mount in self.container["volumeMounts"]},
                         {volume["name"] for volume in self.pod["volumes"]} | claims)

    def test_selectors_find_the_pod(self):
        labels = self.MANIFESTS["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
        for selector in (self.MANIFESTS["StatefulSet"]["spec"]["selector"]["matchLabels"],
                         self.MANIFESTS["Service"]["spec"]["selector"],
                         self.MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]):
            self.assertEqual(selector, labels)


class Systemd(unittest.TestCase):
    def test_the_unit_is_hardened(self):
        unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
        unit.optionxform = str
        unit.read_string(read("systemd", "materialize-redshift@.service"))
        self.assertEqual(set(unit.sections()), {"Unit", "Service", "Install"})
        service = unit["Service"]
        for key, value in (("DynamicUser", "yes"), ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"),
                           ("ProtectHome", "yes"), ("PrivateTmp", "yes"), ("PrivateDevices", "yes"),
                           ("CapabilityBoundingSet", ""), ("MemoryDenyWriteExecute", "yes"),
                           ("RestrictSUIDSGID", "yes"), ("KillSignal", "SIGTERM"),
                           ("Restart", "on-failure")):
            with self.subTest(key):
                self.assertEqual(service.get(key), value)
        self.assertIn("MemoryMax", service)


class Others(unittest.TestCase):
    def test_every_yaml_and_json_file_parses(self):
        count = 0
        for place, _, leaves in os.walk(DEPLOY):
            for leaf in leaves:
                if leaf.endswith((".yaml", ".json")) and "/local" not in place:
                    with open(os.path.join(place, leaf)) as file:
                        self.assertIsNotNone((json.load if leaf.endswith(".json") else yaml.safe_load)(file)
                                             if "kubernetes" not in place else list(yaml.safe_load_all(file)))
                    count += 1
        self.assertGreaterEqual(count, 10)

    def test_panels_of_the_dashboard_do_not_overlap(self):
        taken, ids = {}, set()
        for panel in json.loads(read("grafana", "dashboard.json"))["panels"]:
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"])
                         for y in range(at["y"], at["y"] + at["h"])):
                self.assertNotIn(cell, taken, panel["title"])
                taken[cell] = panel["title"]


if __name__ == "__main__":
    unittest.main()
