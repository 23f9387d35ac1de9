"""iso-fixture writes the same bytes twice, and they are what its expected.json says."""

import filecmp
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.abspath(sys.argv.pop(1))
NAMES = ("catalog.json", "fixture.jsonl", "expected.json")


class IsoFixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        for name in ("one", "two"):
            subprocess.run([os.path.join(ROOT, "deploy", "local", "iso-fixture"),
                            os.path.join(cls.folder.name, name)], check=True)
        cls.lines = []
        with open(os.path.join(cls.folder.name, "one", "fixture.jsonl"), encoding="utf-8") as file:
            cls.lines = [json.loads(line) for line in file]
        cls.catalog = cls.load("catalog.json")
        cls.expected = cls.load("expected.json")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def load(cls, name):
        with open(os.path.join(cls.folder.name, "one", name), encoding="utf-8") as file:
            return json.load(file)

    def test_the_same_input_gives_the_same_bytes(self):
        for name in NAMES:
            one, two = (os.path.join(self.folder.name, run, name) for run in ("one", "two"))
            self.assertTrue(filecmp.cmp(one, two, shallow=False), name)

    def test_every_document_has_its_key_and_only_fields_of_its_schema(self):
        for line in self.lines:
            if isinstance(line, list):
                name, document = line
                collection = self.catalog["collections"][name]
                for pointer in collection["key"]:
                    self.assertIsInstance(document[pointer[1:]], str)
                self.assertLessEqual(set(document), set(collection["schema"]["properties"]), line)

    def test_the_rows_expected_follow_from_the_documents(self):
        bindings = next(iter(self.catalog["materializations"].values()))["bindings"]
        tables = {binding["source"]: binding["resource"] for binding in bindings}
        rows = {resource["table"]: set() for resource in tables.values()}
        transaction = documents = 0
        for line in self.lines:
            if isinstance(line, dict):
                self.assertEqual(line, {"commit": True})
                transaction += 1
                continue
            documents += 1
            name, document = line
            key = document[self.catalog["collections"][name]["key"][0][1:]]
            resource = tables[name]
            rows[resource["table"]].add((transaction if resource.get("delta_updates") else 0, key))
        self.assertEqual(self.lines[-1], {"commit": True})
        self.assertEqual({table: len(found) for table, found in rows.items()}, self.expected["rows"])
        self.assertEqual((documents, transaction),
                         (self.expected["documents"], self.expected["transactions"]))

    def test_documents_of_earlier_transactions_are_updated_in_later_ones(self):
        first, updated, transaction = {}, set(), 0
        for line in self.lines:
            if isinstance(line, dict):
                transaction += 1
                continue
            name, document = line
            key = (name, document[self.catalog["collections"][name]["key"][0][1:]])
            if first.setdefault(key, transaction) < transaction:
                updated.add(name)
        self.assertEqual(updated, set(self.catalog["collections"]))


if __name__ == "__main__":
    unittest.main()
