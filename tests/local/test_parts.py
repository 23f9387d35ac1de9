"""How the local parts know their processes: by id and start time, never by the id alone."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.abspath(sys.argv.pop(1))
sys.path.insert(0, os.path.join(ROOT, "deploy", "local"))
import parts  # noqa: E402


class Parts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in ("log", "secret"):
            os.mkdir(os.path.join(self.folder, name))
        self.part = parts.Part(self.folder, "example")
        self.addCleanup(self.part.stop)

    def shell(self, script):
        """A process whose command names the folder, as those of the real parts do."""
        self.part.start(["/bin/sh", "-c", script, self.folder + "/example"])

    def test_stop_ends_what_start_started_and_is_idempotent(self):
        self.shell("exec sleep 1000")
        pid = self.part.pid()
        self.assertIsNotNone(pid)
        self.assertTrue(self.part.stop())
        self.assertIsNone(parts.start_time(pid))
        self.assertFalse(self.part.stop())

    def test_a_stranger_with_our_process_id_is_left_alone(self):
        stranger = subprocess.Popen(["sleep", "1000"])
        try:
            with open(self.part.pid_file, "w") as file:
                file.write("%d\n%s\n" % (stranger.pid, "1"))
            self.assertIsNone(self.part.pid())
            self.assertFalse(self.part.stop())
            self.assertIsNone(stranger.poll())
        finally:
            stranger.kill()
            stranger.wait()

    def test_workers_whose_leader_was_killed_are_ended(self):
        self.shell("sh -c 'sleep 1000; :' %s/worker & wait" % self.folder)
        self.part.wait(lambda: len(self.part.orphans()) >= 2)
        os.kill(self.part.pid(), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while self.part.pid() is not None and time.monotonic() < deadline:
            time.sleep(parts.POLL_SECONDS)
        self.assertEqual(len(self.part.orphans()), 1)
        self.part.stop()
        self.assertEqual(self.part.orphans(), [])

    def test_a_part_that_ends_while_starting_shows_its_log(self):
        self.shell("echo no such luck; exit 3")
        with self.assertRaises(parts.Trouble) as caught:
            self.part.wait(lambda: False)
        self.assertIn("no such luck", str(caught.exception))

    def test_ports_stay_while_they_are_free(self):
        first = parts.free_ports(self.folder, ("a", "b"))
        self.assertEqual(parts.free_ports(self.folder, ("a", "b")), first)
        self.assertEqual(len(set(first.values())), 2)

    def test_secrets_are_made_once_and_only_the_owner_reads_them(self):
        made = parts.secret(self.folder, "x")
        self.assertEqual(parts.secret(self.folder, "x"), made)
        self.assertNotEqual(parts.secret(self.folder, "y"), made)
        mode = os.stat(os.path.join(self.folder, "secret", "x")).st_mode
        self.assertEqual(mode & 0o777, 0o600)


if __name__ == "__main__":
    # Without the warning about processes that outlive their Popen object: parts do, on purpose.
    unittest.main(warnings="ignore")
