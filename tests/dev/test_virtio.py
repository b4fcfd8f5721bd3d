"""virtio-mmio and virtio-blk, driven without guest code; LYRE_TEST_PEER=1 runs it against Debian's QEMU."""

import os
import struct
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import qtest, tap, virtio  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))
IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
SIZE = 1 << 20


class Blk(unittest.TestCase):
    """With the legacy registers; Modern runs the same with those of version 1."""
    legacy = True

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.image = Path(scratch.name) / "disk"
        self.content = bytearray(i * 7 & 0xff for i in range(SIZE))
        self.image.write_bytes(self.content)

    def machine(self, drive="", device=""):
        options = [] if self.legacy else ["-global", "virtio-mmio.force-legacy=off"]
        m = qtest.Machine(*options, "-drive", f"if=none,id=d,format=raw,file={self.image}{drive}",
                          "-device", f"virtio-blk-device,drive=d,serial=abcdef{device}", peer=PEER)
        return m

    def device(self, m, **named):
        return virtio.Device(m, legacy=self.legacy, **named)

    def request(self, d, kind, sector=0, data=b"", size=0, **named):
        """(status, bytes read)"""
        got, _ = d.submit(struct.pack("<IIQ", kind, 0, sector) + data, size + 1, **named)
        return got[-1], got[:-1]

    def test_what_it_says(self):
        with self.machine() as m:
            d = self.device(m)
            self.assertEqual(d.get("id"), 2)
            self.assertEqual(d.config("q", 0), SIZE // 512)
            self.assertEqual(d.config("l", 12), 254)
            self.assertEqual(d.config("l", 20), 512)
            wanted = {1: 0, 2: 1, 4: 1, 5: 0, 6: 1, 9: 1, 10: 1, 11: 1, 13: 1, 14: 1, 28: 1, 29: 1}
            self.assertEqual({bit: d.offered >> bit & 1 for bit in wanted}, wanted)

    def test_read_and_write(self):
        with self.machine() as m:
            d = self.device(m)
            self.assertEqual(self.request(d, IN, 3, size=1024), (0, self.content[1536:2560]))
            data = bytes(range(256)) * 4
            self.assertEqual(self.request(d, OUT, 5, data), (0, b""))
            self.assertEqual(self.request(d, IN, 5, size=1024), (0, data))
            self.assertEqual(self.request(d, FLUSH)[0], 0)
            self.assertEqual(self.image.read_bytes()[2560:3584], data)

    def test_many_in_turn(self):
        with self.machine() as m:
            d = self.device(m)
            for i in range(40):  # more than twice around the ring
                self.assertEqual(self.request(d, IN, i, size=512), (0, self.content[512 * i:512 * i + 512]))

    def test_pieces_and_indirect_tables(self):
        with self.machine() as m:
            d = self.device(m)
            for named in ({"split": 700}, {"split": 512, "indirect": True}, {"indirect": True}):
                self.assertEqual(self.request(d, IN, 8, size=4096, **named), (0, self.content[4096:8192]))

    def test_identity(self):
        with self.machine() as m:
            self.assertEqual(self.request(self.device(m), GET_ID, size=20), (0, b"abcdef".ljust(20, b"\0")))

    def test_discard_and_zeroes(self):
        with self.machine(drive=",discard=unmap") as m:
            d = self.device(m)
            self.assertEqual(self.request(d, WRITE_ZEROES, data=struct.pack("<QII", 8, 8, 0))[0], 0)
            self.assertEqual(self.request(d, IN, 8, size=4096), (0, bytes(4096)))
            self.assertEqual(self.request(d, DISCARD, data=struct.pack("<QII", 16, 8, 0))[0], 0)
            self.assertEqual(self.request(d, DISCARD, data=struct.pack("<QII", 16, 8, 1))[0], 2)

    def test_beyond_the_end(self):
        with self.machine() as m:
            d = self.device(m)
            self.assertEqual(self.request(d, IN, SIZE // 512 - 1, size=1024)[0], 1)
            self.assertEqual(self.request(d, IN, 1 << 55, size=512)[0], 1)
            self.assertEqual(self.request(d, OUT, SIZE // 512, bytes(512))[0], 1)
            self.assertEqual(self.request(d, IN, 0, size=512), (0, self.content[:512]))

    def test_unknown_request(self):
        with self.machine() as m:
            self.assertEqual(self.request(self.device(m), 99)[0], 2)

    def test_read_only(self):
        with self.machine(drive=",readonly=on") as m:
            d = self.device(m)
            self.assertEqual(d.offered >> 5 & 1, 1)
            self.assertEqual(self.request(d, OUT, 0, bytes(512))[0], 1)
        self.assertEqual(self.image.read_bytes(), self.content)

    def test_interrupts(self):
        with self.machine() as m:
            d = self.device(m, features=0 if self.legacy else 1 << virtio.VERSION_1)
            self.request(d, IN, 0, size=512)
            self.assertTrue(d.interrupted())
            spi = 16 + 31
            self.assertEqual(m.readl(0x8000204) >> spi % 32 & 1 if spi < 32 else m.readl(0x8000208) >> spi - 32 & 1, 1)
            d.set("ack", 1)
            self.assertEqual(d.get("isr"), 0)
            m.write("w", d.avail, 1)  # no interrupts, please
            self.request(d, IN, 0, size=512)
            self.assertEqual(d.get("isr"), 0)

    def test_an_empty_queue_interrupts_always(self):
        if not self.legacy:
            self.skipTest("a feature of the legacy interface")
        with self.machine() as m:
            d = self.device(m, features=1 << 24)
            m.write("w", d.avail, 1)
            self.request(d, IN, 0, size=512)
            self.assertTrue(d.interrupted())

    def test_event_index(self):
        with self.machine() as m:
            d = self.device(m, features=1 << virtio.EVENT_IDX | (0 if self.legacy else 1 << virtio.VERSION_1))
            event = d.avail + 4 + 2 * d.size
            self.request(d, IN, 0, size=512)
            d.interrupted()
            d.set("ack", 1)
            m.write("w", event, 2)  # at the third one
            self.request(d, IN, 0, size=512)
            self.assertEqual(d.get("isr"), 0)
            self.request(d, IN, 0, size=512)
            self.assertTrue(d.interrupted())
            self.assertEqual(m.read("w", d.used + 4 + 8 * d.size), 3)  # where it wants to be told

    def test_a_reset_starts_again(self):
        with self.machine() as m:
            self.request(self.device(m), IN, 0, size=512)
            d = self.device(m)
            self.assertEqual(d.get("isr"), 0)
            self.assertEqual(self.request(d, IN, 1, size=512), (0, self.content[512:1024]))

    def broken(self, prepare):
        """The device serves nothing more until it is reset, and is well then."""
        with self.machine() as m:
            d = self.device(m)
            prepare(d)
            d.set("notify", 0)
            for _ in range(50):
                m.ask("endianness")
            self.assertEqual(d.used_index(), 0)
            if not self.legacy:
                self.assertEqual(d.get("status") & 64, 64)
            d = self.device(m)
            self.assertEqual(self.request(d, IN, 1, size=512), (0, self.content[512:1024]))

    def test_a_head_outside_of_the_table(self):
        self.broken(lambda d: d.offer(1000))

    def test_a_chain_without_end(self):
        def prepare(d):
            d.put_desc(d.desc, 0, virtio.RAM + 0x4000, 16, virtio.NEXT, 1)
            d.put_desc(d.desc, 1, virtio.RAM + 0x4000, 16, virtio.NEXT, 0)
            d.offer(0)
        self.broken(prepare)

    def test_a_buffer_in_a_device(self):
        def prepare(d):
            d.put_desc(d.desc, 0, 0x30000000, 16, 0, 0)
            d.offer(0)
        self.broken(prepare)

    def test_more_chains_than_places(self):
        self.broken(lambda d: d.m.write("w", d.avail + 2, 1000))


class Modern(Blk):
    legacy = False


@unittest.skipIf(PEER, "it gives none while its CPU stands still")
class Rng(unittest.TestCase):
    def test_numbers(self):
        with qtest.Machine("-device", "virtio-rng-device", peer=PEER) as m:
            d = virtio.Device(m, size=8)
            self.assertEqual(d.get("id"), 4)
            first, length = d.submit(b"", 1000)
            self.assertEqual(length, 1000)
            second, _ = d.submit(b"", 1000)
            self.assertNotEqual(first, second)
            self.assertGreater(len(set(first)), 200)

    def test_those_of_a_file(self):
        """What is there, and what comes later; a chain that cannot be filled waits."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "fifo"
            os.mkfifo(path)
            end = os.open(path, os.O_RDWR)
            self.addCleanup(os.close, end)
            os.write(end, b"first of all")
            with qtest.Machine("-object", f"rng-random,id=r,filename={path}", "-device", "virtio-rng-device,rng=r", peer=PEER) as m:
                d = virtio.Device(m, size=8)
                self.assertEqual(d.submit(b"", 12), (b"first of all", 12))
                timer = threading.Timer(0.2, os.write, (end, b"later"))
                timer.start()
                self.assertEqual(d.submit(b"", 5), (b"later", 5))
                timer.join()

    def test_so_many_and_no_more(self):
        with qtest.Machine("-device", "virtio-rng-device,max-bytes=64,period=100000", peer=PEER) as m:
            d = virtio.Device(m, size=8)
            self.assertEqual(d.submit(b"", 100)[1], 64)
            with self.assertRaises(RuntimeError):
                d.submit(b"", 100)


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
