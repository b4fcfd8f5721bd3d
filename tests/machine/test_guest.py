"""What Linux finds in the CPU: programs of tests/machine/guest as the first of Debian's installer's kernel.

LYRE_TEST_PEER=1 runs the same under QEMU."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lib import console, cpio, emulator, qtest, tap  # noqa: E402

INSTALLER = "usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64"
ROOT, MISSING = emulator.debian_root("arm64")
KERNEL = ROOT and ROOT / INSTALLER / "linux"
PEER = bool(os.environ.get("LYRE_TEST_PEER"))
COMPILER = "aarch64-linux-gnu-gcc"
FOUND = ["hbreak: 6 slots, 1000 stops", "watch: 4 slots, 250 stops", "perf mem: 250 writes",
         "perf mem: all calls in the kernel", "perf cycles: some", "perf samples: some"]


def build(name, scratch):
    """A static program, or skip."""
    out = Path(scratch) / name
    try:
        subprocess.run([COMPILER, "-O2", "-static", "-Wall", HERE / "guest" / f"{name}.c", "-o", out], check=True,
                       capture_output=True, timeout=120)
    except FileNotFoundError:
        raise unittest.SkipTest(f"no {COMPILER}") from None
    return out.read_bytes()


def run(name, *options):
    """The lines that it prints as the first program of a machine."""
    command = [qtest.PEER] if PEER else emulator.command_named(qtest.PEER)
    with tempfile.TemporaryDirectory() as scratch:
        initrd = Path(scratch) / "initrd"
        initrd.write_bytes(cpio.archive([("dev", None), ("proc", None), ("init", build(name, scratch))]))
        with console.Console([*command, "-M", "virt", "-m", "256", "-nographic", "-nic", "none", "-kernel", KERNEL, "-initrd", initrd,
                              "-append", "console=ttyAMA0 quiet", *options]) as c:
            lines = c.until(b"end\r\n").replace("\r", "").splitlines()
            return lines if c.end() == 0 else [*lines, "it ended badly"]


@unittest.skipUnless(KERNEL and KERNEL.exists(), MISSING or "no debian-installer-12-netboot-arm64; scripts/fetch-debian gets it")
class Guest(unittest.TestCase):
    def test_debug_and_perf(self):
        for options in (("-cpu", "cortex-a57"), ("-cpu", "cortex-a76", "-smp", "2")):
            self.assertEqual(run("debug", *options), FOUND)


if __name__ == "__main__":
    tap.run_unittests()
