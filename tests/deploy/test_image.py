"""The recipes of the images keep the rules, and each rule refuses what it is there for."""

import os
import re
import sys
import unittest

ROOT = os.path.abspath(sys.argv.pop(1))
sys.argv[1:2] = []
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import recipe  # noqa: E402


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


PRODUCT = read("deploy/Dockerfile")
# (what is wrong, what is replaced in the good recipe, by what)
BAD = [
    ("a base without a tag", "FROM debian:trixie-slim\n", "FROM debian\n"),
    ("the newest base", "debian:trixie-slim AS", "debian:latest AS"),
    ("a stage for one platform", "FROM debian:trixie-slim\n",
     "FROM --platform=linux/amd64 debian:trixie-slim\n"),
    ("ADD", "COPY --from=build", "ADD --from=build"),
    ("a script from the net", "RUN deploy/install", "RUN curl -s https://example.com | sh && deploy/install"),
    ("recommended packages", " --no-install-recommends", ""),
    ("a question of apt", "-q -y", "-q"),
    ("an old list of packages", "apt-get update -q \\\n    && ", ""),
    ("lists that stay, in the first stage", "build && rm -rf /var/lib/apt/lists/*", "build"),
    ("lists that stay, in the last stage", "    && rm -rf /var/lib/apt/lists/* \\\n", ""),
    ("root", "USER 10001:10001", ""),
    ("root by number", "USER 10001:10001", "USER 0:10001"),
    ("a user by name", "USER 10001:10001", "USER flow"),
    ("no protocol", "FLOW_RUNTIME_PROTOCOL=materialize", "PROTOCOL=materialize"),
    ("another protocol", "PROTOCOL=materialize", "PROTOCOL=capture"),
    ("two codecs", "ENV FLOW_RUNTIME_CODEC=proto", "ENV FLOW_RUNTIME_CODEC=json"),
    ("a codec in the label only", "ENV FLOW_RUNTIME_CODEC=proto", ""),
    ("an entrypoint of the shell", 'ENTRYPOINT ["/usr/local/bin/materialize-redshift"]',
     "ENTRYPOINT /usr/local/bin/materialize-redshift"),
    ("one processor", "-DWERROR=OFF", "-DWERROR=OFF -DCMAKE_C_FLAGS=-march=native"),
    ("no authorities", "        ca-certificates \\\n", ""),
    ("no time zones", "        tzdata \\\n", ""),
]


class Image(unittest.TestCase):
    def test_the_product_s_recipe_keeps_all_rules(self):
        self.assertEqual(recipe.complaints(PRODUCT, recipe.OF_THE_PRODUCT), [])

    def test_the_playground_s_recipe_keeps_those_that_are_for_all(self):
        self.assertEqual(recipe.complaints(read("deploy/compose/Dockerfile"), recipe.EVERYWHERE), [])

    def test_what_is_wrong_is_refused(self):
        for sentence, old, new in BAD:
            with self.subTest(sentence):
                self.assertIn(old, PRODUCT)
                self.assertTrue(recipe.complaints(PRODUCT.replace(old, new), recipe.OF_THE_PRODUCT))

    def test_what_is_copied_is_there(self):
        for path in ("deploy/Dockerfile", "deploy/compose/Dockerfile"):
            for number, word, rest in recipe.read(read(path)):
                if word == "COPY" and not rest.startswith("--from"):
                    for source in rest.split()[:-1]:
                        self.assertTrue(os.path.exists(os.path.join(ROOT, source)),
                                        "%s:%d: %s" % (path, number, source))

    def test_what_is_built_in_the_working_tree_stays_outside(self):
        for path in ("deploy/Dockerfile", "deploy/compose/Dockerfile"):
            ignored = read(path + ".dockerignore").split()
            for name in (".git", ".local", "build*"):
                self.assertIn(name, ignored)

    def test_every_foreign_library_has_a_package_in_the_last_stage(self):
        # The name that a package of Debian begins with, for each name in versions.cmake.
        packages = {"uv": "libuv1", "pq": "libpq5", "curl": "libcurl4", "cjson": "libcjson1",
                    "msgpack": "libmsgpack-c2", "isal": "libisal2", "zstd": "libzstd1",
                    "microhttpd": "libmicrohttpd12", "ssh2": "libssh2-1"}
        needed = re.findall(r"^need\((\w+)", read("third_party/versions.cmake"), re.M)
        self.assertTrue(needed)
        last = " ".join(rest for _, word, rest in recipe.stages(recipe.read(PRODUCT))[-1] if word == "RUN")
        for name in needed:
            with self.subTest(name):
                self.assertIn(name, packages)
                self.assertRegex(last, r"(?<!\S)%s(t64)?(?!\S)" % re.escape(packages[name]))
        self.assertIn(" libssl3t64 ", last)

    def test_the_first_stage_builds_as_the_tests_do(self):
        text = " ".join(rest for _, word, rest in recipe.stages(recipe.read(PRODUCT))[0] if word == "RUN")
        self.assertIn("deploy/install build", text)
        self.assertIn("cmake -S . -B build", text)
        self.assertIn("cmake --build build", text)


if __name__ == "__main__":
    unittest.main()
