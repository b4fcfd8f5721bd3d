"""The PCI bus and virtio's cards, driven without guest code; LYRE_TEST_PEER=1 runs it against Debian's QEMU."""

import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import test_virtio  # noqa: E402
from lib import emulator, pci, qtest, tap, virtio  # noqa: E402

PEER = test_virtio.PEER
GICD, V2M = 0x8000000, 0x8020000
VENDOR_CAP, MSIX_CAP = 9, 0x11
NO_VECTOR = 0xffff
SPI_INTX, SPI_MSI = 3, 48


def spi_pending(m, spi):
    return m.readl(GICD + 0x204 + spi // 32 * 4) >> spi % 32 & 1


class Cards(unittest.TestCase):
    def disk(self, name):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        path = Path(scratch.name) / name
        path.write_bytes(bytes(1 << 20))
        return path

    def cards(self, disk):
        return ["-drive", f"if=none,id=d,file={disk},format=raw", "-netdev", "user,id=n", "-device", "virtio-blk-pci,drive=d",
                "-device", "virtio-rng-pci", "-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci,vectors=0",
                "-device", "virtio-rng-pci,disable-legacy=on", "-device", "virtio-rng-pci,disable-modern=on,addr=9.0",
                "-device", "virtio-balloon-pci", "-device", "virtio-serial-pci",
                "-device", "virtio-rng-pci,addr=a,multifunction=on", "-device", "virtio-rng-pci,addr=a.3",
                "-device", "virtio-rng-pci-transitional", "-device", "virtio-serial-pci-non-transitional"]

    @unittest.skipIf(PEER or not qtest.peer(), "it compares both")
    def test_configuration_space(self):
        with qtest.Machine(*self.cards(self.disk("ours"))) as ours, \
             qtest.Machine(*self.cards(self.disk("theirs")), peer=True) as theirs:
            for function in [8 * slot for slot in range(14)] + [0x53, 0x100]:
                for offset in [*range(0, 0x100, 4), 0x100, 0xffc]:
                    at = pci.ECAM + (function << 12) + offset
                    seen = []
                    for m in (ours, theirs):
                        first = m.readl(at)
                        m.writel(at, 0xffffffff)
                        ones = m.readl(at)
                        m.writel(at, 0)
                        seen.append([hex(first), hex(ones), hex(m.readl(at))])
                        m.writel(at, first)
                    self.assertEqual(*seen, f"function {function:#x}, {offset:#x}")

    @unittest.skipIf(PEER, "its texts are its own")
    def test_what_cannot_be(self):
        for options, text in ((["-device", "virtio-rng-pci,addr=0"], "not available"),
                              (["-device", "virtio-rng-pci,addr=3", "-device", "virtio-rng-pci,addr=3.1"], "single function"),
                              (["-device", "virtio-rng-pci,addr=99"], "addr"),
                              (["-device", "virtio-rng-pci,bus=pci.7"], "Bus 'pci.7' not found"),
                              (["-device", "virtio-rng-pci,disable-legacy=on,disable-modern=on"], "neither"),
                              (["-device", "virtio-rng-pci,colour=red"], "colour"),
                              (["-device", "virtio-rng-pci,romfile=x"], "romfile"),
                              (["-nic", "user,model=tulip"], "tulip"),
                              (["-device", "virtio-rng-pci"] * 32, "no slot")):
            r = subprocess.run([*emulator.command_named(qtest.PEER), "-M", "virt", "-nographic", "-nic", "none", *options],
                               capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
            self.assertEqual(r.returncode, 1)
            self.assertIn(text, r.stderr)

    @unittest.skipIf(PEER, "it needs a file for its ROM")
    def test_boards_own_cards(self):
        with qtest.Machine("-device", "virtio-rng-pci", "-nic", "user,model=virtio,mac=52:54:00:00:00:07", "-drive",
                           f"if=virtio,format=raw,file={self.disk('d')}") as m:
            self.assertEqual([pci.Card(m, i).read("w", 0x2e) for i in (1, 2, 3)], [1, 4, 2])

    def test_addresses_of_network_cards(self):
        cards = ["", ",mac=52:54:00:00:00:99", ""]
        options = [x for i, card in enumerate(cards)
                   for x in ("-netdev", f"user,id=n{i}", "-device", f"virtio-net-pci,netdev=n{i},romfile={card}")]
        with qtest.Machine(*options, peer=PEER) as m:
            last = []
            for slot in (1, 2, 3):
                c = pci.Card(m, slot)
                c.place()
                last.append(m.read("b", c.modern + 0x2005))
                c.write("w", pci.COMMAND, 0)
            self.assertEqual(last, [0x56, 0x99, 0x57])

    def test_where_nothing_is(self):
        with qtest.Machine(peer=PEER) as m:
            self.assertEqual(m.readl(pci.ECAM + (5 << 15)), 0xffffffff)
            self.assertEqual(m.readl(pci.ECAM + (1 << 20)), 0xffffffff)
            self.assertEqual(m.readl(pci.MEMORY + 0x5000), 0xffffffff)
            m.writel(pci.MEMORY + 0x5000, 1)

    PORT = ["-device", "pcie-root-port,id=rp,chassis=3,slot=5,port=8", "-device", "virtio-rng-pci,bus=rp"]

    def behind(self, m):
        """A port whose bus is number 1, and the card there."""
        port = pci.Card(m, 1)
        port.write("l", 0x18, 0x00010100)
        return port, pci.Card(m, 32)

    @unittest.skipIf(PEER or not qtest.peer(), "it compares both")
    def test_configuration_of_ports(self):
        """Not compared: speeds and widths of links, the status of the slot and what is not in the first 256 bytes. We have
        no interlock, no removal without warning, and no reset of a function alone."""
        skipped = {0: {0x18, 0x60, 0x64, 0x68, 0x6c, 0x78, 0x7c, 0x80, 0x84}, 32: {0x44, 0x64, 0x68}}
        with qtest.Machine(*self.PORT) as ours, qtest.Machine(*self.PORT, peer=True) as theirs:
            both = [self.behind(m) for m in (ours, theirs)]
            for which, slot in ((1, 32), (0, 0)):
                for offset in range(0, 0x100, 4):
                    seen = []
                    for pair in both:
                        c = pair[which]
                        first = c.read("l", offset)
                        c.write("l", offset, 0xffffffff if offset not in skipped[slot] else first)
                        ones = c.read("l", offset)
                        c.write("l", offset, first)
                        seen.append((hex(first), hex(ones)))
                    if offset not in skipped[slot]:
                        self.assertEqual(*seen, f"{slot}, {offset:#x}")

    def test_what_a_port_lets_through(self):
        with qtest.Machine(*self.PORT, peer=PEER) as m:
            port, card = self.behind(m)
            card.place()
            self.assertEqual(m.read("w", card.modern + 0x12), 0xffff)
            port.write("l", 0x20, 0x10201020)  # one MiB from 0x10200000 on
            port.write("l", 0x24, 0x00010011)  # and nothing that is prefetched
            port.write("w", pci.COMMAND, pci.MEM | pci.MASTER)
            self.assertEqual(m.read("w", card.modern + 0x12), 1)
            port.write("l", 0x20, 0x10301030)
            self.assertEqual(m.read("w", card.modern + 0x12), 0xffff)
            port.write("l", 0x24, 0x10211021)  # prefetched memory will do as well
            port.write("l", 0x28, 0)
            port.write("l", 0x2c, 0)
            self.assertEqual(m.read("w", card.modern + 0x12), 1)
            port.write("w", 0x6c, 0x7c0)  # the slot's power is cut
            self.assertEqual(card.read("l", 0), 0xffffffff)
            self.assertEqual(pci.Card(m, 33).read("l", 0), 0xffffffff)

    @unittest.skipIf(PEER, "its card does not answer when it is set up like this")
    def test_interrupts_behind_a_port(self):
        with qtest.Machine("-device", "virtio-rng-pci", *[x.replace("virtio-rng-pci", "virtio-rng-pci,vectors=0") for x in self.PORT],
                           peer=PEER) as m:
            port = pci.Card(m, 2)
            port.write("l", 0x18, 0x00010100)
            port.write("l", 0x20, 0x10301010)
            port.write("w", pci.COMMAND, pci.MEM | pci.MASTER)
            d = pci.Device(m, slot=32, legacy=False)
            m.writel(GICD, 1)
            self.assertFalse(spi_pending(m, SPI_INTX + 2))
            d.submit(b"", 16)
            self.assertTrue(spi_pending(m, SPI_INTX + 2))

    def test_bars_move(self):
        with qtest.Machine("-device", "virtio-rng-pci", peer=PEER) as m:
            c = pci.Card(m, 1)
            c.place()
            self.assertEqual(m.read("w", c.modern + 0x12), 1)  # queues
            c.place(modern=pci.MEMORY + 0x300000)
            self.assertEqual(m.read("w", c.modern + 0x12), 1)
            self.assertEqual(m.read("w", pci.MEMORY + 0x200012), 0xffff)
            c.write("l", pci.BAR0 + 20, 0x80)  # above 4 GiB
            self.assertEqual(m.read("w", 0x8000000000 + c.modern + 0x12), 1)
            c.write("w", pci.COMMAND, 0)
            self.assertEqual(m.read("w", 0x8000000000 + c.modern + 0x12), 0xffff)

    def test_registers_through_the_configuration_space(self):
        with qtest.Machine("-device", "virtio-rng-pci", peer=PEER) as m:
            c = pci.Card(m, 1)
            at = c.capability(VENDOR_CAP, lambda at: c.read("b", at + 3) == 5)
            c.place()
            c.write("b", at + 4, 4)
            c.write("l", at + 8, 0x12)
            c.write("l", at + 12, 2)
            self.assertEqual(c.read("w", at + 16), 1)
            c.write("l", at + 8, 0x14)
            c.write("l", at + 12, 1)
            c.write("b", at + 16, 3)
            self.assertEqual(m.read("b", c.modern + 0x14), 3)


class OldBlk(test_virtio.Blk):
    """All that a disk does, with the registers of older drivers."""

    def machine(self, drive="", device=""):
        return qtest.Machine("-drive", f"if=none,id=d,format=raw,file={self.image}{drive}",
                             "-device", f"virtio-blk-pci,drive=d,serial=abcdef{device}", peer=PEER)

    def device(self, m, **named):
        return pci.Device(m, legacy=self.legacy, **named)

    def test_interrupts(self):
        with self.machine() as m:
            d = self.device(m, features=0 if self.legacy else 1 << virtio.VERSION_1)
            line = SPI_INTX + 1  # pin A of slot 1
            self.request(d, test_virtio.IN, 0, size=512)
            for _ in range(1000):
                if spi_pending(m, line):
                    break
            self.assertEqual(spi_pending(m, line), 1)
            self.assertEqual(d.card.read("w", 6) & 8, 8)
            d.card.write("w", pci.COMMAND, pci.IO | pci.MEM | pci.MASTER | pci.NO_INTX)
            self.assertEqual(spi_pending(m, line), 0)
            d.card.write("w", pci.COMMAND, pci.IO | pci.MEM | pci.MASTER)
            self.assertEqual(spi_pending(m, line), 1)
            self.assertEqual(d.get("isr"), 1)
            self.assertEqual(spi_pending(m, line), 0)
            self.assertEqual(d.get("isr"), 0)


class ModernBlk(OldBlk):
    legacy = False

    def messages(self, m, d):
        """MSI-X with its vectors 0 and 1 at interrupts of the message frame; the queue has vector 1."""
        for i in range(2):
            for k, word in enumerate((V2M + 0x40, 0, 80 + i, 0)):
                m.writel(d.card.msix + 16 * i + 4 * k, word)
        m.writel(GICD + 0xc00 + 4 * (80 // 16), 0xaaaaaaaa)
        d.card.write("w", d.card.capability(MSIX_CAP) + 2, 0x8000)
        d.set("queue", 0)
        d.set("vector", 1)
        self.assertEqual(d.get("vector"), 1)

    def wait(self, m, spi):
        return any(spi_pending(m, spi) for _ in range(1000))

    def test_messages(self):
        with self.machine() as m:
            d = self.device(m, features=1 << virtio.VERSION_1)
            self.messages(m, d)
            self.request(d, test_virtio.IN, 0, size=512)
            self.assertTrue(self.wait(m, SPI_MSI + 1))
            self.assertEqual((spi_pending(m, SPI_MSI), spi_pending(m, SPI_INTX + 1)), (0, 0))

    def test_a_masked_message_is_pending(self):
        with self.machine() as m:
            d = self.device(m, features=1 << virtio.VERSION_1)
            self.messages(m, d)
            m.writel(d.card.msix + 16 + 12, 1)
            self.request(d, test_virtio.IN, 0, size=512)
            pending = any(m.readl(d.card.msix + 0x800) == 2 for _ in range(1000))
            self.assertTrue(pending)
            self.assertEqual(spi_pending(m, SPI_MSI + 1), 0)
            m.writel(d.card.msix + 16 + 12, 0)
            self.assertTrue(self.wait(m, SPI_MSI + 1))
            self.assertEqual(m.readl(d.card.msix + 0x800), 0)

    def test_queues(self):
        for option, queues, vectors in (("", 1, 2), (",num-queues=3", 3, 4), (",num-queues=3,vectors=2", 3, 2)):
            with self.machine(device=option) as m:
                d = self.device(m)
                self.assertEqual(m.read("w", d.base + 0x12), queues)
                self.assertEqual(d.card.read("w", d.card.capability(MSIX_CAP) + 2), vectors - 1)
                self.assertEqual(d.config("w", 34), queues)

    def test_vectors_that_are_not_there(self):
        with self.machine() as m:
            d = self.device(m)
            d.set("queue", 0)
            d.set("vector", 7)
            self.assertEqual(d.get("vector"), NO_VECTOR)


class Balloon(unittest.TestCase):
    def test_pages_are_given_back(self):
        with qtest.Machine("-device", "virtio-balloon-pci", peer=PEER) as m:
            d = pci.Device(m, features=1 << virtio.VERSION_1, legacy=False)
            pages = [virtio.RAM // 4096 + n for n in (0x100, 0x101, 0x300)]
            for page in (*pages, pages[1] + 1):
                m.ask(f"memset {page << 12:#x} 0x1000 0x55")
            d.submit(struct.pack("<3I", *pages), 0)
            for page in pages:
                self.assertEqual(m.readl(page << 12), 0)
            self.assertEqual(m.readl(pages[1] + 1 << 12), 0x55555555)
            d.submit(struct.pack("<I", 0xffffff), 0)  # where no memory is
            m.writel(d.base + 0x2004, 3)
            self.assertEqual(m.readl(d.base + 0x2004), 3)


class PackedBlk(unittest.TestCase):
    """A disk with a packed ring."""
    setUp, request = test_virtio.Blk.setUp, test_virtio.Blk.request

    def machine(self):
        return qtest.Machine("-drive", f"if=none,id=d,format=raw,file={self.image}", "-device",
                             "virtio-blk-pci,drive=d,packed=on", peer=PEER)

    def test_read_and_write(self):
        with self.machine() as m:
            d = pci.PackedDevice(m)
            data = bytes(range(256)) * 4
            self.assertEqual(self.request(d, test_virtio.OUT, 5, data), (0, b""))
            self.assertEqual(self.request(d, test_virtio.IN, 5, size=1024), (0, data))

    def test_around_the_ring(self):
        with self.machine() as m:
            d = pci.PackedDevice(m)
            for i in range(40):  # chains of two and three places in a ring of 16
                self.assertEqual(self.request(d, test_virtio.IN, i, size=512, split=300 + 300 * (i % 2)),
                                 (0, self.content[512 * i:512 * i + 512]))

    def test_indirect_tables(self):
        with self.machine() as m:
            d = pci.PackedDevice(m, features=1 << virtio.VERSION_1 | 1 << 34 | 1 << 28)
            for split in (512, 700, 1 << 30):
                self.assertEqual(self.request(d, test_virtio.IN, 8, size=4096, split=split, indirect=True),
                                 (0, self.content[4096:8192]))

    def test_interrupts(self):
        with self.machine() as m:
            d = pci.PackedDevice(m)
            self.request(d, test_virtio.IN, 0, size=512)
            self.assertTrue(d.interrupted())
            m.write("w", d.avail + 2, 1)  # none, please
            self.request(d, test_virtio.IN, 0, size=512)
            self.assertEqual(d.get("isr"), 0)

    def test_event_index(self):
        with self.machine() as m:
            d = pci.PackedDevice(m, features=1 << virtio.VERSION_1 | 1 << 34 | 1 << virtio.EVENT_IDX)
            self.request(d, test_virtio.IN, 0, size=512)  # the peer always interrupts after the first
            d.get("isr")
            m.write("w", d.avail, 6 | 1 << 15)  # behind the third chain of two places, on the first turn
            m.write("w", d.avail + 2, 2)
            self.request(d, test_virtio.IN, 0, size=512)
            self.request(d, test_virtio.IN, 0, size=512)
            self.assertEqual(d.get("isr"), 0)
            self.request(d, test_virtio.IN, 0, size=512)
            self.assertTrue(d.interrupted())
            self.assertEqual(m.read("w", d.used), 8 | 1 << 15)  # where it wants to be told
            m.write("w", d.avail, 1)  # on the second turn
            for _ in range(4):
                self.request(d, test_virtio.IN, 0, size=512)
            if not PEER:  # which interrupts at each turn
                self.assertEqual(d.get("isr"), 0)
            self.request(d, test_virtio.IN, 0, size=512)
            self.assertTrue(d.interrupted())

    @unittest.skipIf(PEER, "it does not come to an end itself")
    def test_a_chain_without_end(self):
        with self.machine() as m:
            d = pci.PackedDevice(m)
            for i in range(16):
                d.put_place(i, virtio.RAM + 0x4000, 16, virtio.NEXT, 0)
            d.set("notify", 0)
            self.assertTrue(any(d.get("status") & 64 for _ in range(1000)))
            d = pci.PackedDevice(m)
            self.assertEqual(self.request(d, test_virtio.IN, 1, size=512), (0, self.content[512:1024]))


del test_virtio.Blk, test_virtio.Modern, test_virtio.Rng  # which are run elsewhere

if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
