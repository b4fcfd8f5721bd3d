"""Random accesses to the registers of devices, to lyre and to Debian's QEMU at once: what they read must be equal, and
so must the levels of the wires. LYRE_TEST_SEED repeats a run."""

import os
import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import qtest, tap  # noqa: E402

SEED = int(os.environ.get("LYRE_TEST_SEED") or random.randrange(2**32))
STEPS = 1500
GICD, GICC, UART, GPIO = 0x8000000, 0x8010000, 0x9000000, 0x9030000


def value(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.getrandbits(32)
    if kind == 1:
        return 1 << rng.randrange(32)
    return rng.randrange(256) if kind == 2 else rng.choice([0, 0xffffffff])


class Random(unittest.TestCase):
    """One run for each device: `step` makes one command from random numbers."""

    def run_steps(self, step, first=(), answered=lambda command, words: None):
        rng = random.Random(SEED)
        history = []
        with qtest.Machine() as ours, qtest.Machine(peer=True) as theirs:
            for m in (ours, theirs):
                m.watch_cpu()
                for command in first:
                    m.ask(command)
            for _ in range(STEPS):
                command = step(rng)
                history.append(command)
                words = ours.ask(command)
                self.compare(history, words, theirs.ask(command))
                answered(command, words)
                self.compare(history, (ours.irq, ours.fiq), (theirs.irq, theirs.fiq))

    def compare(self, history, ours, theirs):
        if ours != theirs:
            tail = "\n".join(history[-int(os.environ.get('LYRE_TEST_TAIL') or 25):])
            self.fail(f"LYRE_TEST_SEED={SEED}, command {len(history)}: {ours}, and the peer {theirs}\n{tail}")

    @staticmethod
    def access(rng, base, readable, writable, sizes="l", values=value):
        size = rng.choice(sizes)
        if rng.random() < 0.5:
            return f"read{size} {base + rng.choice(readable):#x}"
        return f"write{size} {base + rng.choice(writable):#x} {values(rng):#x}"

    def test_pl011(self):
        # Neither has anything connected; data goes nowhere.
        read = [0x00, 0x04, 0x18, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x38, 0x3c, 0x40, 0x48]
        write = [0x00, 0x04, 0x18, 0x20, 0x24, 0x28, 0x34, 0x44]
        gic = ["writel 0x8000000 1", "writel 0x8010000 1", "writel 0x8010004 0xff", "writel 0x8000104 0x2",
               "writel 0x8000820 0x01010101", "readl 0x801000c", "writel 0x8010010 33", "readl 0x8000204"]

        def step(rng):
            kind = rng.random()
            if kind < 0.05:
                return f"writel {UART + 0x38:#x} {rng.getrandbits(11):#x}"  # the peer keeps bits that are reserved
            return rng.choice(gic) if kind < 0.2 else self.access(rng, UART, read, write)
        self.run_steps(step)

    def test_pl061(self):
        # A pin that has become an input keeps what it was in the peer, so that stays.
        data = [4 * i for i in range(256)]
        registers = [0x404, 0x408, 0x40c, 0x410, 0x420]

        def step(rng):
            return self.access(rng, GPIO, data + [0x400, 0x414, 0x418] * 20 + registers * 20,
                               data + [0x41c] * 20 + registers * 20)
        self.run_steps(step, first=["writel 0x9030400 0x5a"])

    def test_gic(self):
        # A handful of interrupts, so that they meet. Both groups are on or off: the peer lets one that is off hide
        # what is less urgent. It makes each SGI pending whose byte of GICD_SPENDSGIR is written, whatever is written.
        # What the architecture leaves open is left out: ends of what was not taken, groups of what is active. It takes
        # no notice of a new binary point before something else happens.
        irqs = [3, 4, 5, 27, 30, 40, 41, 63, 64, 71]
        setup = random.Random(SEED)
        first = [f"writel {GICD + 0x80 + 4 * i:#x} {setup.getrandbits(32) & setup.getrandbits(32):#x}" for i in range(3)]
        first += [f"writel {GICC + 8:#x} {setup.randrange(8)}"]
        taken = []

        def answered(command, words):
            if command == f"readl {GICC + 0xc:#x}" and int(words[0], 0) < 1020:
                taken.append(int(words[0], 0))

        def bits(rng):
            base = rng.choice([0x100, 0x180, 0x200, 0x280])
            irq = rng.choice(irqs)
            if rng.random() < 0.4:
                return f"readl {GICD + base + irq // 32 * 4:#x}"
            return f"writel {GICD + base + irq // 32 * 4:#x} {1 << irq % 32:#x}"

        def per_byte(rng):
            at = GICD + 0x400 + rng.choice(irqs)
            return f"readb {at:#x}" if rng.random() < 0.3 else f"writeb {at:#x} {rng.getrandbits(8):#x}"

        def interface(rng):
            kind = rng.randrange(8)
            if kind < 3:
                return f"readl {GICC + rng.choice([0xc, 0xc, 0x18, 0x14, 0x0, 0x4, 0x8, 0x1c]):#x}"
            if kind == 3:
                return f"writel {GICC + 4:#x} {rng.choice([0xff, 0xff, 0x80, rng.getrandbits(8)]):#x}"
            if kind == 5:
                return f"writel {GICC:#x} {rng.choice([3, 3, 7, 0xb, 0xf, 0x1f, 0]):#x}"
            if taken:
                return f"writel {GICC + 0x10:#x} {taken.pop():#x}"
            return f"readl {GICD + rng.choice([0x300, 0x304, 0x308]):#x}"

        def config(rng):
            kind = rng.randrange(4)
            if kind == 0:
                return f"writel {GICD:#x} {rng.choice([3, 3, 0]):#x}"
            if kind == 1:
                at = GICD + 0xc00 + rng.choice(irqs) // 16 * 4
                return f"readl {at:#x}" if rng.random() < 0.5 else f"writel {at:#x} {rng.getrandbits(32) & 0xaaaaaaaa:#x}"
            if kind == 2:
                return f"writel {GICD + 0xf00:#x} {rng.choice([0x02000000, 0x00010000]) | rng.choice([3, 4, 5]):#x}"
            if rng.random() < 0.5:
                return f"readl {GICD + 0xf10 + rng.choice([0, 16]):#x}"
            return f"writel {GICD + 0xf10:#x} {rng.choice([1 << 24, 0x01010101, 0]):#x}"

        def step(rng):
            return rng.choice([bits, bits, per_byte, interface, interface, config])(rng)
        self.run_steps(step, first, answered)


if __name__ == "__main__":
    if not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    print(f"# LYRE_TEST_SEED={SEED}")
    tap.run_unittests()
