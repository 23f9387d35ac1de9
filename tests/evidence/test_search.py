"""The search for secrets finds what it is for, and nothing else."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

ROOT = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.abspath(sys.argv.pop(1))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import search  # noqa: E402

SECRET = "s3cret+/of'a\\kind&more"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n%s\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n" % ("b3Bl" * 16, "Zm9v" * 16)
CONFIGURATION = {"address": "warehouse.example.com:5439", "user": "loader-of-things", "password": SECRET,
                 "awsAccessKeyId": "AKIAEXAMPLEEXAMPLE", "awsSecretAccessKey": "abcdefghijklmnop0123",
                 "dbt_job_trigger": {"api_key": "key-of-the-job-0815", "account_id": "1"},
                 "networkTunnel": {"sshForwarding": {"privateKey": KEY}}}

# (what, the bytes that are written)
PLANTED = [
    ("as it is", SECRET.encode()),
    ("in JSON", json.dumps({"a": SECRET}).encode()),
    ("in JSON with slashes escaped", json.dumps(SECRET).replace("/", "\\/").encode()),
    ("in JSON as some write it", SECRET.encode().replace(b"+", b"\\u002b").replace(b"/", b"\\u002f")
     .replace(b"'", b"\\u0027").replace(b"\\k", b"\\u005ck").replace(b"&", b"\\u0026")),
    ("in a query string", urllib.parse.quote(SECRET, safe="").encode()),
    ("in a path", urllib.parse.quote(SECRET).encode()),
    ("in SQL", SECRET.replace("\\", "\\\\").replace("'", "''").encode()),
    ("in hexadecimal digits", SECRET.encode().hex().encode()),
    ("in base64", base64.b64encode(SECRET.encode())),
    ("in base64 behind one byte", base64.b64encode(b"u" + SECRET.encode() + b"!")),
    ("in base64 behind two bytes", base64.b64encode(b"u:" + SECRET.encode() + b"!?")),
    ("in base64 for URLs", base64.urlsafe_b64encode(b"user:" + SECRET.encode())),
    ("in the middle of bytes", b"\0\xff\x93" * 100 + SECRET.encode() + b"\0\n" * 100),
    ("a line of a key", b"Zm9v" * 16),
    ("a nested one", b"key-of-the-job-0815"),
    ("the other key", b"abcdefghijklmnop0123"),
    ("one that nothing was configured with", b"given-out-by-a-service"),
]
HARMLESS = [
    b"loader-of-things at warehouse.example.com:5439 with AKIAEXAMPLEEXAMPLE",
    b"-----BEGIN OPENSSH PRIVATE KEY-----", SECRET.encode()[:-1], SECRET.upper().encode(), b"AAAA", b"",
]


class Search(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(subprocess.run, ["rm", "-rf", self.folder])
        self.write("story-1/given/config.json", json.dumps(CONFIGURATION).encode())
        self.write("story-1/given/broken.json", b'{"password":')
        self.write("story-1/given/service.secrets", b"given-out-by-a-service\nshort\n")
        for name in search.FROM_ENVIRONMENT:
            os.environ.pop(name, None)

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_it(self, *options):
        return subprocess.run([sys.executable, "-B", os.path.join(ROOT, "tests/evidence/search.py"),
                               *options, PROGRAM, self.folder], text=True, capture_output=True)

    def test_each_form_is_found(self):
        for what, content in PLANTED:
            with self.subTest(what):
                path = self.write("story-1/runtime.log", b"before " + content + b" behind\n")
                done = self.run_it()
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(path, done.stdout)
                self.assertNotIn(SECRET, done.stdout + done.stderr)

    def test_what_is_no_secret_is_left_alone(self):
        for number, content in enumerate(HARMLESS):
            self.write("story-1/%d.log" % number, content)
        done = self.run_it()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("no secret in %d files" % len(HARMLESS), done.stdout)

    def test_what_the_environment_has_is_found(self):
        self.write("story-2/log", b"the-password-of-the-parts")
        self.assertEqual(self.run_it().returncode, 0)
        os.environ["LOCAL_REDSHIFT_PASSWORD"] = "the-password-of-the-parts"
        self.assertEqual(self.run_it().returncode, 1)

    def test_nothing_to_search_is_no_success(self):
        self.assertEqual(self.run_it().returncode, 1)

    def test_the_search_proves_that_it_sees(self):
        self.write("story-1/runtime.log", b"a line of a log\n" * 1000)
        done = self.run_it("--prove")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"[1-9]\d* forms were planted in a copy, and all were found")

    def test_what_the_configuration_calls_secret_is_known(self):
        places = search.secret_places(search.schema_of(PROGRAM))
        for place in (("password",), ("awsSecretAccessKey",), ("dbt_job_trigger", "api_key"),
                      ("networkTunnel", "sshForwarding", "privateKey")):
            self.assertIn(place, places)


if __name__ == "__main__":
    unittest.main()
