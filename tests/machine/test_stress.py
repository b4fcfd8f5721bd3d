"""Four CPUs while all translated code is freed every few milliseconds: the guest must not notice. Nor while translations
are compared with the interpreter, which ends the machine where they differ.

Builds with a sanitizer run this, too, which is why it is short. LYRE_TEST_STRESS_MS is another time between two of them:
slow builds get nowhere with the usual one."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_boot import KERNEL, Guest, small_system  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

JOBS = 6
STRESS_MS = os.environ.get("LYRE_TEST_STRESS_MS") or "50"


@unittest.skipUnless(KERNEL and KERNEL.exists(), "no debian-installer-12-netboot-arm64; scripts/fetch-debian gets it")
class Stress(unittest.TestCase):
    def test_four_cpus(self):
        digest = hashlib.sha256(b"".join(b"%d\n" % i for i in range(1, 3001))).hexdigest()
        with Guest("-cpu", "cortex-a57", "-m", "256", "-smp", "4", "-stress", STRESS_MS, initrd=small_system()) as g:
            g.shell()
            g.run("mknod /dev/null c 1 3")
            lines = g.run("for i in $(seq %d); do (seq 3000 | sha256sum; nproc) & done; wait" % JOBS)
            self.assertEqual((lines.count(f"{digest}  -"), lines.count("4")), (JOBS, JOBS), lines)
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)


@unittest.skipUnless(KERNEL and KERNEL.exists(), "no debian-installer-12-netboot-arm64; scripts/fetch-debian gets it")
class Lockstep(unittest.TestCase):
    def test_boots(self):
        for cpus in ("1", "2"):
            with tempfile.NamedTemporaryFile("r") as log:
                with Guest("-cpu", "max", "-m", "256", "-smp", cpus, "-lockstep", "2", "-d", "stats", "-D", log.name,
                           initrd=small_system()) as g:
                    g.shell()
                    self.assertEqual(g.run("seq 30000 | sort -r | sha256sum | sha256sum | (read a b; echo $b)"), ["-"])
                    g.send("poweroff -f")
                    self.assertEqual(g.end(), 0)
                compared = re.search(r"regions compared +(\d+), and (\d+) hot ones", log.read())
                self.assertTrue(compared and min(map(int, compared.groups())) > 50, compared)


class Option(unittest.TestCase):
    def test_what_it_takes(self):
        for option in ("-stress", "-lockstep"):
            for text in ("", "-1", "ten", "60001", "5x"):
                run = subprocess.run([*emulator.command_named(qtest.PEER), "-M", "virt", option, text], text=True,
                                     capture_output=True, timeout=60)
                self.assertEqual((run.returncode, f"{option} {text}: it wants milliseconds" in run.stderr), (1, True), text)


if __name__ == "__main__":
    tap.run_unittests()
