"""The bucket refuses what S3 refuses and does what S3 does; the other tests rely on it. Needs the
environment of deploy/local/env. All it makes lies in a bucket of its own."""

import base64
import hashlib
import os
import re
import sys
import unittest
import uuid

ROOT = os.path.abspath(sys.argv.pop(1))
sys.path.insert(0, os.path.join(ROOT, "deploy", "local"))
import s3  # noqa: E402

MIB = 1 << 20


def client(secret=None, key=None, region=None):
    env = os.environ
    return s3.Client(env["AWS_ENDPOINT_URL_S3"], region or env["LOCAL_S3_REGION"],
                     key or env["LOCAL_S3_KEY"], secret or env["LOCAL_S3_SECRET"])


def code(body):
    match = re.search(rb"<Code>(\w+)</Code>", body)
    return match.group(1).decode() if match else ""


class Bucket(unittest.TestCase):
    def setUp(self):
        self.s3 = client()
        self.bucket = "/test-" + uuid.uuid4().hex
        self.assertEqual(self.s3.call("PUT", self.bucket)[0], 200)
        self.addCleanup(self.remove)

    def remove(self):
        for name in self.names():
            self.s3.call("DELETE", self.bucket + "/" + name)
        self.assertEqual(self.s3.call("DELETE", self.bucket)[0], 204)

    def names(self, prefix=""):
        status, _, body = self.s3.call("GET", self.bucket, [("list-type", "2"), ("prefix", prefix)])
        self.assertEqual(status, 200, body)
        return re.findall("<Key>(.*?)</Key>", body.decode())

    def uploads(self):
        status, _, body = self.s3.call("GET", self.bucket, [("uploads", "")])
        self.assertEqual(status, 200, body)
        return re.findall("<UploadId>(.*?)</UploadId>", body.decode())

    def start(self, name):
        status, _, body = self.s3.call("POST", self.bucket + name, [("uploads", "")])
        self.assertEqual(status, 200, body)
        return re.search("<UploadId>(.*?)</UploadId>", body.decode()).group(1)

    def part(self, name, upload, number, data):
        status, headers, body = self.s3.call(
            "PUT", self.bucket + name, [("partNumber", str(number)), ("uploadId", upload)], data)
        self.assertEqual(status, 200, body)
        return {key.lower(): value for key, value in headers.items()}["etag"]

    def complete(self, name, upload, tags):
        parts = "".join("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (at, tag)
                        for at, tag in enumerate(tags, 1))
        body = "<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % parts
        return self.s3.call("POST", self.bucket + name, [("uploadId", upload)], body.encode())

    def test_a_wrong_secret_is_refused(self):
        status, _, body = client(secret="wrong").call("GET", self.bucket)
        self.assertEqual((status, code(body)), (403, "SignatureDoesNotMatch"))

    def test_an_unknown_key_is_refused(self):
        status, _, _ = client(key="AKIANOBODY").call("GET", self.bucket)
        self.assertEqual(status, 403)

    def test_a_wrong_region_is_refused(self):
        status, _, body = client(region="eu-west-1").call("GET", self.bucket)
        self.assertEqual((status, code(body)), (400, "AuthorizationHeaderMalformed"))

    def test_a_missing_bucket_is_named_so(self):
        status, _, body = self.s3.call("PUT", self.bucket + "-none/x", body=b"x")
        self.assertEqual((status, code(body)), (404, "NoSuchBucket"))

    def test_a_part_that_is_changed_on_its_way_is_refused(self):
        _, _, body = self.s3.call("PUT", self.bucket + "/x", body=b"x",
                                  extra={"content-md5": base64.b64encode(bytes(16)).decode()})
        self.assertEqual(code(body), "BadDigest")
        self.assertEqual(self.names(), [])

    def test_an_upload_in_parts_arrives_whole(self):
        parts = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"the last one may be small"]
        upload = self.start("/a b/whole")
        tags = [self.part("/a b/whole", upload, at, data) for at, data in enumerate(parts, 1)]
        self.assertEqual(self.uploads(), [upload])
        status, _, body = self.complete("/a b/whole", upload, tags)
        self.assertEqual((status, code(body)), (200, ""))
        self.assertEqual(self.s3.call("GET", self.bucket + "/a b/whole")[2], b"".join(parts))
        self.assertEqual((self.names("a b/"), self.uploads()), (["a b/whole"], []))

    def test_a_small_part_before_the_last_is_refused(self):
        upload = self.start("/small")
        tags = [self.part("/small", upload, at, b"x" * 1000) for at in (1, 2)]
        _, _, body = self.complete("/small", upload, tags)
        self.assertEqual(code(body), "EntityTooSmall")
        self.assertEqual(self.s3.call("DELETE", self.bucket + "/small", [("uploadId", upload)])[0], 204)

    def test_an_aborted_upload_leaves_nothing(self):
        upload = self.start("/gone")
        self.part("/gone", upload, 1, b"x")
        self.assertEqual(self.s3.call("DELETE", self.bucket + "/gone", [("uploadId", upload)])[0], 204)
        self.assertEqual((self.names(), self.uploads()), ([], []))
        status, _, body = self.complete("/gone", upload, ["x"])
        self.assertEqual((status, code(body)), (404, "NoSuchUpload"))

    def test_many_objects_are_deleted_by_one_request(self):
        names = ["d/%02d" % number for number in range(20)]
        for name in names:
            self.assertEqual(self.s3.call("PUT", self.bucket + "/" + name, body=b"x")[0], 200)
        self.assertEqual(self.names("d/"), names)
        body = "".join("<Object><Key>%s</Key></Object>" % name for name in names + ["d/none"])
        body = ("<Delete>%s</Delete>" % body).encode()
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        status, _, answer = self.s3.call("POST", self.bucket, [("delete", "")], body,
                                         {"content-md5": digest})
        # S3 calls a name that does not exist deleted, too.
        self.assertEqual((status, answer.count(b"<Deleted>")), (200, 21), answer)
        self.assertEqual(self.names("d/"), [])


if __name__ == "__main__":
    if "AWS_ENDPOINT_URL_S3" not in os.environ:
        sys.exit("no bucket to talk to: use tests/run, or first: eval \"$(deploy/local/env)\"")
    unittest.main()
