"""A small S3 client: enough to make a bucket and to look into it.

Signature version 4 as Amazon's manual "Signature Version 4 signing process" describes it: a
canonical request, its digest in a string to sign, a key derived from date, region and service.
From the command line:  eval "$(deploy/local/env)"; python3 deploy/local/s3.py GET /bucket?list-type=2
"""

import datetime
import hashlib
import hmac
import http.client
import os
import sys
import urllib.parse


class Client:
    def __init__(self, endpoint, region, key, secret):
        self.host = urllib.parse.urlsplit(endpoint).netloc
        self.region, self.key, self.secret = region, key, secret

    def headers(self, method, path, query, digest):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        day = now[:8]
        signed = {"host": self.host, "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(sorted(signed))
        lines = "".join("%s:%s\n" % (name, signed[name]) for name in sorted(signed))
        request = "\n".join([method, path, query, lines, names, digest])
        scope = "/".join([day, self.region, "s3", "aws4_request"])
        text = "\n".join(
            ["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()]
        )
        key = ("AWS4" + self.secret).encode()
        for word in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = (
            "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s"
            % (self.key, scope, names, signature)
        )
        return signed

    def call(self, method, path, query=(), body=b"", extra=()):
        """One request on its own connection; gives (status, headers, body)."""
        path = urllib.parse.quote(path, safe="/-_.~")
        pairs = sorted((urllib.parse.quote(k, safe="-_.~"), urllib.parse.quote(v, safe="-_.~"))
                       for k, v in query)
        query = "&".join("%s=%s" % pair for pair in pairs)
        headers = self.headers(method, path, query, hashlib.sha256(body).hexdigest())
        headers.update(extra)
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path + ("?" + query if query else ""), body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def main():
    if len(sys.argv) != 3:
        sys.exit("use: s3.py METHOD /bucket[/object][?query]   (a body comes from stdin for PUT and POST)")
    method = sys.argv[1].upper()
    target = urllib.parse.urlsplit(sys.argv[2])
    body = sys.stdin.buffer.read() if method in ("PUT", "POST") else b""
    extra = {}
    if target.query == "delete":
        import base64
        extra["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    client = Client(os.environ["AWS_ENDPOINT_URL_S3"], os.environ["LOCAL_S3_REGION"],
                    os.environ["LOCAL_S3_KEY"], os.environ["LOCAL_S3_SECRET"])
    status, headers, answer = client.call(
        method, urllib.parse.unquote(target.path),
        urllib.parse.parse_qsl(target.query, keep_blank_values=True), body, extra)
    print("status %d" % status, file=sys.stderr)
    if method == "HEAD":
        for name in sorted(headers):
            print("%s: %s" % (name, headers[name]))
    sys.stdout.buffer.write(answer)
    sys.exit(0 if status < 300 else 1)


if __name__ == "__main__":
    main()
