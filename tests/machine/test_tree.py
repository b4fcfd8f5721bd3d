"""The device tree of each board, compared with the one that Debian's QEMU makes: what is there must be the same to the
last property, and what is not is listed here."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import emulator, fdt, qtest, tap  # noqa: E402

MISSING = {"/platform-bus@c000000"}
RANDOM = {"kaslr-seed", "rng-seed"}


def tree(command, machine, *options):
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "dtb"
        subprocess.run([*command, "-M", f"{machine},dumpdtb={path}", "-display", "none", "-net", "none", *options],
                       check=True, capture_output=True, timeout=60)
        return fdt.meaning(fdt.parse(path.read_bytes()))


@unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
class Virt(unittest.TestCase):
    def compare(self, *options, machine="virt"):
        ours = tree(emulator.command_named(qtest.PEER), machine, *options)
        theirs = tree([qtest.PEER], machine, *options)
        self.assertEqual(set(theirs) - set(ours), MISSING)
        self.assertEqual(set(ours) - set(theirs), set())
        for path, props in ours.items():
            for name in RANDOM & props.keys():
                self.assertEqual(len(props.pop(name)), len(theirs[path].pop(name)))
            self.assertEqual(props, theirs[path], path)

    def test_one_cpu(self):
        self.compare("-cpu", "cortex-a57")

    def test_several_cpus_and_much_memory(self):
        self.compare("-cpu", "cortex-a72", "-smp", "8", "-m", "5G")

    def test_max(self):
        self.compare("-cpu", "max", "-smp", "2")

    def test_gicv3(self):
        for version in ("3", "max"):
            self.compare("-cpu", "cortex-a57", "-smp", "12", machine=f"virt,gic-version={version}")
        self.compare("-cpu", "cortex-a57", machine="virt,gic-version=3,its=off")

    def test_no_addresses_above_4_gib(self):
        self.compare("-cpu", "cortex-a57", "-m", "3G", machine="virt,highmem=off")


class Seeds(unittest.TestCase):
    def test_they_differ_each_time(self):
        a, b = (tree(emulator.command_named(qtest.PEER), "virt")["/chosen"] for _ in range(2))
        self.assertNotEqual(a["rng-seed"], b["rng-seed"])


if __name__ == "__main__":
    tap.run_unittests()
