"""GICv3 and its translation service, held against Debian's QEMU: registers by random accesses, the CPU's interface by a
bare program (tests/isa/aarch64/bare/gicv3.c), messages by what commands do to tables in memory."""

import os
import random
import struct
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import emulator, qtest, tap  # noqa: E402

SEED = int(os.environ.get("LYRE_TEST_SEED") or random.randrange(2**32))
STEPS = 1500
MACHINE = "virt,gic-version=3"
GICD, ITS, GICR = 0x8000000, 0x8080000, 0x80a0000
SGIS = GICR + 0x10000
RAM = 0x40000000
DEVICES, COLLECTIONS, EVENTS, QUEUE, CONFIG, PENDING = (RAM + i * 0x10000 for i in range(1, 7))
VALID = 1 << 63
BOTH = [False] + [True] * bool(qtest.peer())


def both():
    return qtest.Machine(machine=MACHINE), qtest.Machine(machine=MACHINE, peer=True)


@unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
class Registers(unittest.TestCase):
    def test_what_they_are_after_reset(self):
        ours, theirs = both()
        with ours, theirs:
            for base, offsets in ((GICD, [*range(0, 0x20, 4), 0x84, 0xc08, 0x6100, *range(0xffd0, 0x10000, 4)]),
                                  (GICR, [*range(0, 0x20, 4), 0x70, 0x78, *range(0xffd0, 0x10000, 4)]),
                                  (SGIS, [0x80, 0x100, 0x200, 0x300, 0x400, 0xc00, 0xc04, 0xd00]),
                                  (ITS, [*range(0, 0x10, 4), *range(0x80, 0x140, 4), *range(0xffd0, 0x10000, 4)])):
                for offset in offsets:
                    self.assertEqual(hex(ours.readl(base + offset)), hex(theirs.readl(base + offset)), hex(base + offset))

    def test_random_accesses(self):
        rng = random.Random(SEED)
        bits = [x + 4 * i for x in (0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380) for i in (1, 2, 7, 8)]
        shared = [GICD + x for x in (0, *bits, 0x420, 0x45c, 0xc08, 0xc10, 0x6100, 0x6104, 0x6200, 0x800, 0xe00)]
        own = [SGIS + x for x in (0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x41c, 0xc00, 0xc04)]
        own += [GICR + x for x in (0x14, 0x70, 0x74, 0x78, 0x7c)]
        bytewise = [GICD + 0x400 + x for x in (32, 45, 287)] + [SGIS + 0x400 + x for x in (0, 31)]
        ours, theirs = both()
        with ours, theirs:
            for n in range(STEPS):
                at, size = (rng.choice(bytewise), "b") if rng.random() < 0.2 else (rng.choice(shared + own), "l")
                v = rng.choice([rng.getrandbits(32), 1 << rng.randrange(32), 0, 0xffffffff])
                command = f"read{size} {at:#x}" if rng.random() < 0.5 else f"write{size} {at:#x} {v:#x}"
                self.assertEqual(ours.ask(command), theirs.ask(command), f"LYRE_TEST_SEED={SEED}, step {n}: {command}")

    def test_the_cpus_interface(self):
        elf = os.environ.get("LYRE_BARE_GICV3")
        if not elf:
            self.skipTest("no compiler for the guest")
        texts = [subprocess.run([*command, "-M", MACHINE, "-cpu", "cortex-a57", "-nic", "none", "-nographic", "-kernel", elf],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True).stdout
                 for command in (emulator.command_named(qtest.PEER), [qtest.PEER])]
        lines = [x.splitlines() for x in texts]
        self.assertGreater(len(lines[0]), 4000)
        for ours, theirs in zip(*lines):
            self.assertEqual(ours, theirs)


class Its(unittest.TestCase):
    """Each on lyre and, if it is there, on the peer."""

    def on(self, m, *commands):
        """Tables, LPIs 8192 to 8447 enabled, and the commands."""
        for table in (DEVICES, COLLECTIONS, EVENTS, QUEUE, CONFIG, PENDING):
            m.ask(f"memset {table:#x} 0x1000 0")
        m.ask(f"memset {CONFIG:#x} 0x100 0xa1")
        m.writel(GICD, 3)
        m.writel(GICR + 0x14, 0)
        for at, value in ((GICR + 0x70, CONFIG | 15), (GICR + 0x78, PENDING), (ITS + 0x100, VALID | DEVICES),
                          (ITS + 0x108, VALID | COLLECTIONS), (ITS + 0x80, VALID | QUEUE)):
            m.write("q", at, value)
        m.writel(GICR, 1)
        m.writel(ITS, 1)
        self.at = 0
        self.run_commands(m, [8, 0, 0x20 << 32, 4, EVENTS | VALID], *commands)

    def run_commands(self, m, *commands):
        """Each is its number, then what is added to each of its four words."""
        for number, *words in commands:
            words = [*words, 0, 0, 0, 0][1:5]
            words[0] |= number
            for i, w in enumerate(words):
                m.write("q", QUEUE + self.at + 8 * i, w)
            self.at += 32
        m.writel(ITS + 0x88, self.at)
        for _ in range(1000):
            if m.readl(ITS + 0x90) == self.at:
                return
            time.sleep(0.001)
        self.fail("the commands are not done")

    def pending(self, m):
        """The LPIs that are pending at the CPU, after which it takes no more."""
        m.writel(GICR, 0)
        for _ in range(20):  # lyre writes the table in its own time
            found = [8 * i + k for i in range(1024, 1056) for k in range(8) if m.read("b", PENDING + i) >> k & 1]
            if found:
                break
            time.sleep(0.005)
        return found

    def test_a_message_is_pending(self):
        for peer in BOTH:
            with self.subTest(peer=peer), qtest.Machine(machine=MACHINE, peer=peer) as m:
                self.on(m, [9, 0, 0, 0, VALID | 3], [10, 0, 0x20 << 32, 8200 << 32 | 7, 3], [3, 0, 0x20 << 32, 7])
                self.assertEqual(self.pending(m), [8200])

    def test_what_is_taken_back(self):
        for peer in BOTH:
            with self.subTest(peer=peer), qtest.Machine(machine=MACHINE, peer=peer) as m:
                event = [0x20 << 32, 8200 << 32 | 7, 3]
                other = [0x20 << 32, 8300 << 32 | 8, 3]
                self.on(m, [9, 0, 0, 0, VALID | 3], [10, 0, *event], [10, 0, *other], [3, 0, 0x20 << 32, 7], [3, 0, 0x20 << 32, 8],
                        [4, 0, 0x20 << 32, 7], [15, 0, 0x20 << 32, 9], [5])
                self.assertEqual(self.pending(m), [8300])

    def test_what_is_not_mapped(self):
        for peer in BOTH:
            with self.subTest(peer=peer), qtest.Machine(machine=MACHINE, peer=peer) as m:
                self.on(m, [10, 0, 0x20 << 32, 8200 << 32 | 7, 3], [3, 0, 0x20 << 32, 7],  # a collection without a CPU
                        [9, 0, 0, 0, VALID | 3], [10, 0, 0x21 << 32, 8201 << 32 | 7, 3], [3, 0, 0x21 << 32, 7],  # no device
                        [10, 0, 0x20 << 32, 8202 << 32 | 32, 3], [3, 0, 0x20 << 32, 32],  # more events than it has
                        [10, 0, 0x20 << 32, 8203 << 32 | 31, 3], [3, 0, 0x20 << 32, 31])
                self.assertEqual(self.pending(m), [8203])

    def test_the_queue_wraps(self):
        for peer in BOTH:
            with self.subTest(peer=peer), qtest.Machine(machine=MACHINE, peer=peer) as m:
                self.on(m, [9, 0, 0, 0, VALID | 3], *[[5]] * 125)
                for i, w in enumerate(struct.unpack("<4Q", struct.pack("<4Q", 0x20 << 32 | 10, 8205 << 32 | 1, 3, 0))):
                    m.write("q", QUEUE + self.at + 8 * i, w)
                self.at = 0
                m.write("q", QUEUE, 0x20 << 32 | 3)
                m.write("q", QUEUE + 8, 1)
                self.run_commands(m, [3, 0, 0x20 << 32, 1])
                self.assertEqual(self.pending(m), [8205])


if __name__ == "__main__":
    print(f"# LYRE_TEST_SEED={SEED}")
    tap.run_unittests()
