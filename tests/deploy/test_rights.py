"""Rights are the smallest: the policy has the actions of the requests that are made, the grants are
what the sandbox's login has, and the sandbox takes the statements."""

import json
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.abspath(sys.argv.pop(1))
sys.argv[1:2] = []

# What a request needs, by the words with which src/s3/client.c describes it. Amazon S3 API Reference
# and "Actions, resources, and condition keys for Amazon S3".
ACTIONS = {
    ("writing", "PUT"): "s3:PutObject",
    ("reading", "GET"): "s3:GetObject",
    ("looking for", "HEAD"): "s3:GetObject",
    ("deleting", "DELETE"): "s3:DeleteObject",
    ("deleting from", "POST"): "s3:DeleteObject",
    ("listing", "GET"): "s3:ListBucket",
    ("listing uploads of", "GET"): "s3:ListBucketMultipartUploads",
    ("aborting the upload of", "DELETE"): "s3:AbortMultipartUpload",
    ("beginning the upload of", "POST"): "s3:PutObject",
    ("writing a part of", "PUT"): "s3:PutObject",
    ("completing the upload of", "POST"): "s3:PutObject",
}
OF_BUCKETS = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
# COPY reads with the same keys: objects, and the list of a bucket.
OF_COPY = {"s3:GetObject", "s3:ListBucket"}


def read(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


class Bucket(unittest.TestCase):
    def test_the_policy_allows_what_is_requested_and_no_more(self):
        requests = re.findall(r'new_call\(s3, "([^"]+)", "([A-Z]+)"', read("src", "s3", "client.c"))
        self.assertGreaterEqual(len(requests), 8)
        self.assertEqual([request for request in requests if request not in ACTIONS], [])
        needed = {ACTIONS[request] for request in requests} | OF_COPY
        allowed = set()
        for statement in json.loads(read("deploy", "s3-policy.json"))["Statement"]:
            self.assertEqual(statement["Effect"], "Allow")
            actions = set(statement["Action"])
            of_bucket = statement["Resource"] == "arn:aws:s3:::BUCKET"
            self.assertEqual(statement["Resource"], "arn:aws:s3:::BUCKET" + ("" if of_bucket else "/BUCKET_PATH/*"))
            self.assertEqual(actions & OF_BUCKETS, actions if of_bucket else set())
            allowed |= actions
        self.assertEqual(allowed, needed)

    def test_a_kms_key_is_used_to_make_objects_and_parts_and_to_read(self):
        # Amazon S3 User Guide, "Required AWS KMS permissions": an upload in parts decrypts, too.
        self.assertIn("x-amz-server-side-encryption-aws-kms-key-id", read("src", "s3", "call.c"))
        policy = json.loads(read("deploy", "s3-policy-kms.json"))
        self.assertEqual([(statement["Effect"], set(statement["Action"])) for statement in policy["Statement"]],
                         [("Allow", {"kms:GenerateDataKey", "kms:Decrypt"})])
        self.assertTrue(policy["Statement"][0]["Resource"].startswith("arn:aws:kms:"))

    def test_the_lifecycle_waits_longer_than_a_task_may_stand_still(self):
        rules = json.loads(read("deploy", "s3-lifecycle.json"))["Rules"]
        self.assertTrue(all(rule["Filter"]["Prefix"] == "BUCKET_PATH/" and rule["Status"] == "Enabled"
                            for rule in rules))
        uploads = [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
                   for rule in rules if "AbortIncompleteMultipartUpload" in rule]
        files = [rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule]
        self.assertEqual((len(uploads), len(files)), (1, 1))
        self.assertGreaterEqual(files[0], 14)


def statements(text):
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [" ".join(statement.split()) for statement in bare.split(";") if statement.strip()]


def granted(rows):
    """(privilege, kind of object) of each GRANT."""
    found = set()
    for row in rows:
        match = re.match(r"GRANT ([A-Z, ]+) ON (DATABASE|SCHEMA) ", row)
        if match:
            for privilege in match.group(1).split(","):
                found.add((privilege.strip().replace("TEMPORARY", "TEMP"), match.group(2)))
    return found


class Warehouse(unittest.TestCase):
    GRANTS = statements(read("deploy", "grants.sql"))

    def test_all_are_grants_on_databases_and_schemas(self):
        self.assertEqual(len(self.GRANTS), 3)
        for row in self.GRANTS:
            self.assertRegex(row, r'^GRANT [A-Z, ]+ ON (DATABASE :"database"|SCHEMA :"schema") TO :"user"$')

    def test_the_sandbox_s_login_has_no_more_rights_than_that(self):
        gateway = re.findall(r'"(GRANT [A-Z, ]+ ON (?:DATABASE|SCHEMA) )', read("tests", "sandbox", "gateway.c"))
        setup = re.findall(r"^GRANT [A-Z, ]+ ON SCHEMA public ", read("tests", "sandbox", "setup.sql"), re.M)
        self.assertTrue(gateway and setup)
        # CONNECT is PostgreSQL's; in Redshift everybody may connect.
        self.assertEqual(granted(gateway + setup) - {("CONNECT", "DATABASE")}, granted(self.GRANTS))

    @unittest.skipUnless("LOCAL_REDSHIFT_ADDRESS" in os.environ, "the local parts do not run")
    def test_the_sandbox_takes_the_statements(self):
        host, _, port = os.environ["LOCAL_REDSHIFT_ADDRESS"].partition(":")
        schema = "grants_test_%d" % os.getpid()
        names = {"user": os.environ["LOCAL_REDSHIFT_USER"], "schema": schema,
                 "database": os.environ["LOCAL_REDSHIFT_DATABASE"]}
        script = 'CREATE SCHEMA :"schema";\n%s\nDROP SCHEMA :"schema";\n' % read("deploy", "grants.sql")
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", port,
                   "-U", names["user"], "-d", names["database"]]
        for name, value in names.items():
            command += ["-v", "%s=%s" % (name, value)]
        done = subprocess.run(command, input=script, text=True, capture_output=True,
                              env=dict(os.environ, PGPASSWORD=os.environ["LOCAL_REDSHIFT_PASSWORD"],
                                       PGSSLMODE="require", PGCLIENTENCODING="UTF8"))
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
