"""NOR flash with the Intel command set: the second bank of `virt`, on ours and on Debian's QEMU (LYRE_TEST_PEER=1)."""

import os
import random
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import qtest, tap  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))
BANK, SIZE, BLOCK = 0x4000000, 64 << 20, 256 << 10
READY = 0x00800080


def both(command):
    """A command for both chips."""
    return command << 16 | command


class Flash(unittest.TestCase):
    def machine(self, *options):
        self.m = qtest.Machine(*options, peer=PEER)
        self.addCleanup(self.m.__exit__)

    def read(self, at):
        return self.m.readl(BANK + at)

    def write(self, at, value):
        self.m.writel(BANK + at, value)

    def command(self, at, *commands):
        for c in commands:
            self.write(at, both(c))

    def erase(self, at):
        self.command(at, 0x20, 0xd0)
        self.assertEqual(self.read(at), READY)
        self.command(at, 0xff)

    def program(self, at, words):
        self.command(at, 0xe8)
        self.assertEqual(self.read(at), READY)
        self.command(at, len(words) - 1)
        for i, w in enumerate(words):
            self.write(at + 4 * i, w)
        self.command(at, 0xd0)
        self.assertEqual(self.read(at), READY)
        self.command(at, 0xff)

    def test_query(self):
        self.machine()
        self.write(0x154, both(0x98))
        table = [self.read(4 * i) for i in range(0x40)]
        self.assertEqual([w & 0xffff for w in table], [w >> 16 for w in table])
        table = bytes(w & 0xff for w in table)
        self.assertEqual(table[0x10:0x17], b"QRY\1\0\x31\0")
        self.assertEqual(1 << table[0x27], SIZE // 2)
        self.assertEqual((table[0x2c], int.from_bytes(table[0x2d:0x2f], "little") + 1,
                          int.from_bytes(table[0x2f:0x31], "little") * 256), (1, SIZE // BLOCK, BLOCK // 2))
        self.assertEqual(table[0x31:0x36], b"PRI10")
        self.command(0, 0xff)
        self.assertEqual(self.read(0x40), 0)

    def test_erase_and_program(self):
        self.machine()
        self.erase(BLOCK + 8)
        self.assertEqual([self.read(a) for a in (BLOCK - 4, BLOCK, 2 * BLOCK - 4, 2 * BLOCK)], [0, 0xffffffff, 0xffffffff, 0])
        self.command(BLOCK, 0x40)
        self.write(BLOCK, 0x12345678)
        self.assertEqual(self.read(BLOCK), READY)
        self.command(0, 0x50, 0xff)
        self.assertEqual(self.read(BLOCK), 0x12345678)
        if not PEER:  # which puts what is written in the place of what is there
            self.command(BLOCK, 0x10)
            self.write(BLOCK, 0xffff0000)
            self.command(0, 0xff)
            self.assertEqual(self.read(BLOCK), 0x12340000)

    def test_buffer(self):
        self.machine()
        self.erase(0)
        words = [random.getrandbits(32) for _ in range(512)]
        self.program(0x1000, words)
        self.assertEqual([self.read(0x1000 + 4 * i) for i in range(512)], words)
        self.assertEqual(self.read(0x1000 + 4 * 512), 0xffffffff)
        self.program(0x2004, words[:3])
        self.assertEqual([self.read(0x2000 + 4 * i) for i in range(5)], [0xffffffff, *words[:3], 0xffffffff])

    def test_bytes_and_halves(self):
        self.machine()
        self.erase(0)
        self.m.write("w", BANK + 0x100, 0x40)
        self.m.write("w", BANK + 0x100, 0x5aa5)
        self.command(0, 0xff)
        self.assertEqual(self.read(0x100), 0xffff5aa5)
        self.assertEqual(self.m.read("b", BANK + 0x101), 0x5a)
        self.assertEqual(self.m.read("q", BANK + 0x100), 0xffffffffffff5aa5)

    @unittest.skipIf(PEER, "which forgets the mistake")
    def test_mistakes(self):
        self.machine()
        self.command(0, 0x20, 0x12)  # not confirmed
        self.assertEqual(self.read(0), both(0xb0))
        self.command(0, 0x50, 0x70)
        self.assertEqual(self.read(0), READY)
        self.command(0, 0x50, 0xe8, 0)
        self.write(0x10000, 1)  # behind the buffer
        self.command(0, 0xd0)
        self.assertEqual(self.read(0), both(0x90))
        self.command(0, 0x50, 0x13)
        self.assertEqual(self.read(0), 0)

    def test_an_image(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "vars"
            with path.open("wb") as f:
                f.write(b"begin")
                f.truncate(SIZE)
            self.machine("-drive", f"if=pflash,unit=1,format=raw,file={path}")
            self.assertEqual(self.read(0), 0x69676562)
            self.erase(BLOCK)
            self.program(BLOCK + 0x1000, [0x11223344])
            deadline = time.monotonic() + 30
            want = b"\xff" * 4 + bytes.fromhex("44332211") + b"\xff" * 4
            while True:
                with path.open("rb") as f:
                    f.seek(BLOCK + 0x1000 - 4)
                    got = f.read(12)
                if got == want:
                    break
                self.assertLess(time.monotonic(), deadline, got)
                time.sleep(0.02)


@unittest.skipIf(PEER, "it is about the product's messages")
class Refusals(unittest.TestCase):
    def refused(self, text, *options):
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "machine"))
        from test_cli import run
        r = run("-M", "virt", "-display", "none", "-net", "none", *options)
        self.assertEqual(r.returncode, 1)
        self.assertIn(text, r.stderr)

    def test_each(self):
        with tempfile.TemporaryDirectory() as scratch:
            for name, size in (("small", 512), ("large", SIZE + 512)):
                with open(f"{scratch}/{name}", "wb") as f:
                    f.truncate(size)
            flash = f"if=pflash,format=raw,file={scratch}/small"
            self.refused("device requires 67108864 bytes", "-drive", flash)
            self.refused("device requires 67108864 bytes", "-bios", f"{scratch}/small", "-drive", flash + ",unit=1")
            self.refused("one image each", "-drive", flash + ",unit=0", "-drive", flash + ",unit=0")
            self.refused("the same place", "-bios", f"{scratch}/small", "-drive", flash)
            self.refused("is larger than the 64 MiB", "-bios", f"{scratch}/large")
            self.refused("could not load", "-bios", f"{scratch}/none")
            self.refused("there is no drive", "-M", "virt,pflash0=nowhere")


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
