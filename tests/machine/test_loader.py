"""What is put into memory before a machine starts: -device loader, kernels in the forms that there are."""

import gzip
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from test_cli import run  # noqa: E402
from test_qmp import PEER, Case  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

# movz x1, #0x4500, lsl #16; movz w0, #42; str w0, [x1]; b .
PROGRAM = struct.pack("<4I", 0xd2a8a001, 0x52800540, 0xb9000020, 0x14000000)


def elf(code, virtual, physical):
    """An executable of one segment, entered at its second instruction from the start of a nop."""
    code = struct.pack("<I", 0xd503201f) + code
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 183, 1, virtual, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, virtual, physical, len(code), len(code) + 64, 8)
    return header + segment + code


def zboot(payload, method=b"gzip"):
    """Linux's drivers/firmware/efi/libstub/zboot-header.S, as far as loaders look at it."""
    head = struct.pack("<2sH4sII8s32s8s", b"MZ", 0, b"zimg", 4096, len(payload), b"", method, b"\xcd\x23\x82\x81")
    return head.ljust(4096, b"\0") + payload


class Loader(Case):
    def setUp(self):
        super().setUp()
        self.dir = Path(self.path).parent

    def machine(self, *options):
        command = [qtest.peer()] if PEER else emulator.command_named(qtest.PEER)
        self.process = subprocess.Popen([*command, "-M", "virt", "-cpu", "cortex-a57", "-display", "none", "-net", "none",
                                         "-qmp", f"unix:{self.path}", *options], stdin=subprocess.DEVNULL)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        q = self.client()
        q.ask("qmp_capabilities")
        return q

    def words(self, q, address, count):
        text = q.ask("human-monitor-command", arguments={"command-line": f"xp /{count}xw {address:#x}"})["return"]
        return [int(x, 16) for line in text.splitlines() for x in line.partition(":")[2].split()]

    def test_numbers_and_files(self):
        (self.dir / "raw").write_bytes(b"abcdefgh")
        (self.dir / "elf").write_bytes(elf(PROGRAM, 0x1000, 0x46000000))
        q = self.machine("-S", "-device", "loader,addr=0x44000000,data=0x1122334455667788,data-len=8",
                         "-device", "loader,addr=0x44000010,data=0x11223344,data-len=4,data-be=on",
                         "-device", "loader,addr=0x44000018,data=0x1122334455667788,data-len=8,data-be=on",
                         "-device", "loader,addr=0x44000020,data=0x1234,data-len=2",
                         "-device", f"loader,file={self.dir}/raw,addr=0x44000030",
                         "-device", f"loader,file={self.dir}/elf",
                         "-device", f"loader,file={self.dir}/elf,addr=0x44000040,force-raw=on")
        self.assertEqual(self.words(q, 0x44000000, 2), [0x55667788, 0x11223344])
        if not PEER:  # whose big-endian numbers are of 8 bytes, of which the first are taken
            self.assertEqual(self.words(q, 0x44000010, 1), [0x44332211])
        self.assertEqual(self.words(q, 0x44000018, 2), [0x44332211, 0x88776655])
        self.assertEqual(self.words(q, 0x44000020, 1), [0x1234])
        self.assertEqual(self.words(q, 0x44000030, 2), [0x64636261, 0x68676665])
        self.assertEqual(self.words(q, 0x46000004, 2), [0xd2a8a001, 0x52800540])
        self.assertEqual(self.words(q, 0x44000040, 1), [0x464c457f])

    def runs(self, *options):
        q = self.machine(*options)
        deadline = time.monotonic() + 60
        while self.words(q, 0x45000000, 1) != [42]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_a_program_that_is_entered(self):
        (self.dir / "elf").write_bytes(elf(PROGRAM, 0x1000, 0x46000000))
        self.runs("-device", f"loader,file={self.dir}/elf,cpu-num=0")

    def test_a_raw_program_that_is_entered(self):
        (self.dir / "raw").write_bytes(PROGRAM)
        self.runs("-device", f"loader,file={self.dir}/raw,addr=0x44000000", "-device", "loader,addr=0x44000000,cpu-num=0")

    def test_a_kernel_that_is_an_elf_file(self):
        (self.dir / "elf").write_bytes(elf(PROGRAM, 0xffff000000001000, 0x46000000))
        self.runs("-kernel", str(self.dir / "elf"))

    @unittest.skipIf(PEER, "it is about the product's messages")
    def test_refusals(self):
        for words, text in (("file=/no/such,addr=0", "could not load '/no/such'"), ("addr=0x44000000", "it wants file="),
                            ("data=1,data-len=9,addr=0", "1 to 8 bytes"), ("colour=red", "'loader.colour' not found"),
                            ("addr=x", "expects a number"), ("cpu-num=1,addr=0", "cpu-num=1 is not supported"),
                            ("addr=0x1000,data=1,data-len=4", "there is no memory at 0x1000"), ("data-len=4", "'addr' is missing")):
            r = run("-M", "virt", "-display", "none", "-net", "none", "-device", f"loader,{words}")
            self.assertEqual(r.returncode, 1)
            self.assertIn(text, r.stderr)


@unittest.skipIf(PEER, "version 7.2 has no zboot")
@unittest.skipUnless(test_boot.KERNEL and test_boot.KERNEL.exists(), "no debian-installer-12-netboot-arm64")
class Zboot(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = Path(scratch.name) / "vmlinuz"

    def test_it_boots(self):
        self.path.write_bytes(zboot(gzip.compress(test_boot.KERNEL.read_bytes(), 1)))
        with test_boot.Guest("-cpu", "cortex-a57", "-m", "256", initrd=test_boot.small_system(), kernel=self.path) as g:
            g.shell()
            self.assertEqual(g.run("uname -m"), ["aarch64"])

    def refused(self, image, text):
        self.path.write_bytes(image)
        r = run("-M", "virt", "-display", "none", "-net", "none", "-kernel", str(self.path))
        self.assertEqual(r.returncode, 1)
        self.assertIn(text, r.stderr)

    def test_refusals(self):
        self.refused(zboot(b"(\xb5/\xfd" + bytes(64), b"zstd"), "compressed by zstd; only gzip")
        self.refused(zboot(gzip.compress(bytes(100000)))[:4100], "ends before its kernel does")
        self.refused(zboot(gzip.compress(bytes(100000))[:-20]), "damaged")
        self.refused(zboot(gzip.compress(b"MZ" + bytes(100000))), "no kernel for arm64")


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
