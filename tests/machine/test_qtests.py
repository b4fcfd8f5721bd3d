"""QEMU's own tests of devices against us, as scripts/build-qtests makes them of Debian's source package.

LYRE_TEST_LONG=1 runs them; the first run builds them. What we do not have is left out by name."""

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import emulator, qtest, tap  # noqa: E402

BUILD = emulator.ROOT / "scripts/build-qtests"
# Tests of a program that are left out, and why.
WITHOUT = {"qmp-test": ["/aarch64/qmp/oob",         # a command that waits for a file: ours are executed in turn
                        "/aarch64/qmp/preconfig"],  # there is no such state
           "qmp-cmd-test": ["/aarch64/qmp/object-add-failure-modes"]}  # there is no object-add


@unittest.skipUnless(os.environ.get("LYRE_TEST_LONG"), "one of the long suite")
class Qtests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([BUILD], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3000)
        if done.returncode:
            raise unittest.SkipTest(done.stdout.strip())
        cls.where = Path(subprocess.run([BUILD, "--where"], text=True, capture_output=True, check=True).stdout.strip())

    def passes(self, program, least):
        """At least so many of its tests are run, and none fails."""
        env = {**os.environ, "QTEST_QEMU_BINARY": emulator.command_named(qtest.PEER)[0],
               "QTEST_QEMU_IMG": emulator.command_named("qemu-img")[0]}
        left_out = [x for test in WITHOUT.get(program, []) for x in ("-s", test)]
        done = subprocess.run([self.where / program, "--tap", "-k", *left_out], text=True, errors="replace", env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
        passed = re.findall(r"^ok \d+ (?!.*# SKIP)", done.stdout, re.M)
        self.assertEqual((done.returncode, re.findall(r"^not ok.*", done.stdout, re.M)), (0, []), done.stdout[-3000:])
        self.assertGreaterEqual(len(passed), least, done.stdout[-3000:])

    def test_devices(self):
        self.passes("qos-test", 21)

    def test_qmp(self):
        self.passes("qmp-test", 2)

    def test_queries(self):
        self.passes("qmp-cmd-test", 24)

    def test_a_kernel_speaks(self):
        self.passes("boot-serial-test", 1)

    def test_no_machine(self):
        self.passes("machine-none-test", 1)

    def test_devices_are_described(self):
        self.passes("device-introspect-test", 6)

    def test_objects(self):
        self.passes("qom-test", 2)

    def test_human_monitor(self):
        self.passes("test-hmp", 3)


if __name__ == "__main__":
    tap.run_unittests()
