"""fw_cfg: the stream, the copies and the directory, on ours and on Debian's QEMU (LYRE_TEST_PEER=1)."""

import os
import struct
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import qtest, tap  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))
DATA, SELECTOR, DMA = 0x9020000, 0x9020008, 0x9020010
SIGNATURE, ID, NB_CPUS, DIRECTORY = 0, 1, 5, 0x19
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16
BUFFER, REQUEST = 0x44000000, 0x44100000


def swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


class FwCfg(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        path = Path(scratch.name) / "data"
        self.data = bytes(range(256)) * 40
        path.write_bytes(self.data)
        self.m = qtest.Machine("-fw_cfg", "name=opt/test/text,string=hello", "-fw_cfg", f"name=opt/test/data,file={path}",
                               peer=PEER)
        self.addCleanup(self.m.__exit__)

    def select(self, key):
        self.m.write("w", SELECTOR, swap(key, 2))

    def stream(self, key, size):
        self.select(key)
        return bytes(self.m.read("b", DATA) for _ in range(size))

    def directory(self):
        self.select(DIRECTORY)
        count = swap(self.m.readl(DATA), 4)
        files = {}
        for _ in range(count):
            raw = b"".join(self.m.read("q", DATA).to_bytes(8, "little") for _ in range(8))
            size, key, zero, name = struct.unpack(">IHH56s", raw)
            self.assertEqual(zero, 0)
            files[name.rstrip(b"\0").decode()] = (key, size)
        return files

    def dma(self, control, length, address=BUFFER, halves=False):
        """What the device leaves in the request's control word."""
        for i, b in enumerate(struct.pack(">IIQ", control, length, address)):
            self.m.write("b", REQUEST + i, b)
        if halves:
            self.m.writel(DMA, swap(REQUEST >> 32, 4))
            self.m.writel(DMA + 4, swap(REQUEST & 0xffffffff, 4))
        else:
            self.m.write("q", DMA, swap(REQUEST, 8))
        return swap(self.m.readl(REQUEST), 4)

    def memory(self, size):
        return bytes(self.m.read("b", BUFFER + i) for i in range(size))

    def test_who_it_is(self):
        self.assertEqual(self.stream(SIGNATURE, 6), b"QEMU\0\0")
        self.assertEqual(self.stream(ID, 4), bytes([3, 0, 0, 0]))
        self.assertEqual(self.m.read("q", DMA).to_bytes(8, "little"), b"QEMU CFG")
        self.assertEqual(self.m.readl(DMA).to_bytes(4, "little"), b"QEMU")
        self.assertEqual(self.m.readl(DMA + 4).to_bytes(4, "little"), b" CFG")
        self.assertEqual(self.stream(NB_CPUS, 2), b"\1\0")

    def test_what_to_start_from(self):
        with tempfile.NamedTemporaryFile() as one, tempfile.NamedTemporaryFile() as two:
            for f in one, two:
                f.truncate(1 << 20)
            self.m.__exit__()
            self.m = qtest.Machine(
                "-drive", f"if=none,id=d,format=raw,file={one.name}", "-device", "virtio-blk-pci,drive=d,bootindex=1,addr=3.0",
                "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,bootindex=0,romfile=,addr=5.1", "-netdev", "user,id=m",
                "-drive", f"if=none,id=e,format=raw,file={two.name}", "-device", "virtio-blk-device,drive=e,bootindex=2",
                "-device", "virtio-net-device,netdev=m,bootindex=-1", peer=PEER)
            self.assertEqual(self.stream(*self.directory()["bootorder"]),
                             b"/pci@ffffffffffffffff/ethernet@5,1/ethernet-phy@0\n/pci@ffffffffffffffff/scsi@3/disk@0,0\n"
                             b"/virtio-mmio@000000000a003e00/disk@0,0\0")

    def test_files(self):
        files = self.directory()
        key, size = files["opt/test/text"]
        self.assertGreaterEqual(key, 0x20)
        self.assertEqual((size, self.stream(key, 7)), (5, b"hello\0\0"))
        self.assertEqual(files["opt/test/data"][1], len(self.data))
        self.select(files["opt/test/data"][0])
        self.assertEqual([self.m.read("b", DATA), self.m.read("w", DATA), self.m.readl(DATA), self.m.read("q", DATA)],
                         [0, 0x0201, 0x06050403, 0x0e0d0c0b0a090807])

    def test_what_is_not_there(self):
        self.assertEqual(self.stream(0x3ff, 4), bytes(4))
        self.assertEqual(self.stream(0x7fff, 4), bytes(4))

    def test_copies(self):
        key, _ = self.directory()["opt/test/data"]
        self.assertEqual(self.dma(key << 16 | SELECT | READ, 100), 0)
        self.assertEqual(self.memory(100), self.data[:100])
        self.assertEqual(self.dma(SKIP, 1000), 0)
        self.assertEqual(self.dma(READ, 16, halves=True), 0)
        self.assertEqual(self.memory(16), self.data[1100:1116])
        self.assertEqual(self.m.read("b", DATA), self.data[1116])

    def test_behind_the_end(self):
        key, _ = self.directory()["opt/test/text"]
        for i in range(8):
            self.m.write("b", BUFFER + i, 0xaa)
        self.assertEqual(self.dma(key << 16 | SELECT | READ, 8), 0)
        self.assertEqual(self.memory(8), b"hello\0\0\0")
        self.assertEqual(self.m.read("b", DATA), 0)

    def test_what_fails(self):
        key, _ = self.directory()["opt/test/text"]
        self.assertEqual(self.dma(key << 16 | SELECT | WRITE, 4), ERROR)
        self.assertEqual(self.dma(key << 16 | SELECT | READ, 4, address=1 << 45), ERROR)
        self.assertEqual(self.dma(key << 16 | SELECT, 0), 0)
        self.assertEqual(self.m.read("b", DATA), ord("h"))


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
