"""Devices, driven without guest code. LYRE_TEST_PEER=1 runs the same against Debian's QEMU: the expectations hold
for both, so that a test that is wrong about the hardware's usual model fails there."""

import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import qtest, tap  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))
GICD, GICC, V2M = 0x8000000, 0x8010000, 0x8020000
UART, RTC, GPIO, VIRTIO = 0x9000000, 0x9010000, 0x9030000, 0xa000000
SECOND = 10**9


def machine(*options, **named):
    return qtest.Machine(*options, peer=PEER, **named)


def spi_pending(m, spi):
    return m.readl(GICD + 0x204 + spi // 32 * 4) >> spi % 32 & 1


class Pl011(unittest.TestCase):
    def test_identification(self):
        with machine() as m:
            got = [m.readl(UART + 0xfe0 + 4 * i) for i in range(8)]
        self.assertEqual(got, [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1])

    def test_after_reset(self):
        with machine() as m:
            self.assertEqual(m.readl(UART + 0x18), 0x90)
            self.assertEqual(m.readl(UART + 0x30), 0x300)
            self.assertEqual(m.readl(UART + 0x34), 0x12)
            self.assertEqual(spi_pending(m, 1), 0)

    def test_output(self):
        with machine(serial=True) as m:
            for c in b"hello":
                m.writel(UART, c)
            self.assertEqual(m.received(5), b"hello")
            self.assertEqual(m.readl(UART + 0x3c), 0x20)

    def receive(self, m, data):
        m.serial.sendall(data)
        for _ in range(1000):
            if not m.readl(UART + 0x18) & 0x10:
                return
        self.fail("nothing was received")

    def test_input_interrupts(self):
        with machine(serial=True) as m:
            m.writel(UART + 0x38, 0x10)
            self.receive(m, b"A")
            self.assertEqual(m.readl(UART + 0x40), 0x10)
            self.assertEqual(spi_pending(m, 1), 1)
            self.assertEqual(m.readl(UART), ord("A"))
            self.assertEqual(m.readl(UART + 0x40), 0)
            self.assertEqual(spi_pending(m, 1), 0)

    def test_more_than_the_fifo_holds(self):
        with machine(serial=True) as m:
            m.writel(UART + 0x2c, 0x70)
            data = bytes(range(65, 65 + 40))
            m.serial.sendall(data)
            got = b""
            for _ in range(10000):
                if not m.readl(UART + 0x18) & 0x10:
                    got += bytes([m.readl(UART) & 0xff])
                if len(got) == len(data):
                    break
            self.assertEqual(got, data)

    def test_interrupts_can_be_cleared_and_masked(self):
        with machine() as m:
            m.writel(UART, 0x20)
            self.assertEqual(m.readl(UART + 0x3c), 0x20)
            self.assertEqual(spi_pending(m, 1), 0)
            m.writel(UART + 0x38, 0x20)
            self.assertEqual(spi_pending(m, 1), 1)
            m.writel(UART + 0x44, 0x20)
            self.assertEqual(spi_pending(m, 1), 0)

    @unittest.skipIf(PEER, "version 7.2 has no loopback")
    def test_loopback(self):
        with machine() as m:
            m.writel(UART + 0x30, 0x381)
            m.writel(UART, 0x55)
            self.assertEqual(m.readl(UART), 0x55)

    def test_bytes_of_a_register(self):
        with machine() as m:
            self.assertEqual(m.read("w", UART + 0x30), 0x300)
            if not PEER:  # which shows the low byte at each
                self.assertEqual(m.read("b", UART + 0x31), 3)


@unittest.skipIf(PEER, "its clock cannot be stepped")
class Pl031(unittest.TestCase):
    def test_it_counts_the_machines_seconds(self):
        with machine("-rtc", "base=2020-01-01T00:00:00,clock=vm") as m:
            start = m.readl(RTC)
            self.assertEqual(start, 1577836800)
            m.clock_step(5 * SECOND)
            self.assertEqual(m.readl(RTC), start + 5)
            m.writel(RTC + 8, 1000)
            self.assertEqual(m.readl(RTC), 1000)
            self.assertEqual(m.readl(RTC + 8), 1000)
            m.clock_step(SECOND)
            self.assertEqual(m.readl(RTC), 1001)
            self.assertEqual(m.readl(RTC + 12), 1)

    def test_alarm(self):
        with machine("-rtc", "base=2020-01-01T00:00:00,clock=vm") as m:
            m.writel(RTC + 4, m.readl(RTC) + 3)
            m.writel(RTC + 0x10, 1)
            m.clock_step(2 * SECOND)
            self.assertEqual((m.readl(RTC + 0x14), spi_pending(m, 2)), (0, 0))
            m.clock_step(SECOND)
            self.assertEqual((m.readl(RTC + 0x14), m.readl(RTC + 0x18), spi_pending(m, 2)), (1, 1, 1))
            m.writel(RTC + 0x1c, 1)
            self.assertEqual((m.readl(RTC + 0x14), spi_pending(m, 2)), (0, 0))

    def test_an_alarm_that_is_put_off(self):
        with machine("-rtc", "base=2020-01-01T00:00:00,clock=vm") as m:
            now = m.readl(RTC)
            m.writel(RTC + 4, now + 3)
            m.writel(RTC + 4, now + 10)
            m.clock_step(5 * SECOND)
            self.assertEqual(m.readl(RTC + 0x14), 0)
            m.clock_step(5 * SECOND)
            self.assertEqual(m.readl(RTC + 0x14), 1)

    def test_identification(self):
        with machine() as m:
            got = [m.readl(RTC + 0xfe0 + 4 * i) for i in range(8)]
        self.assertEqual(got, [0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1])


class Pl061(unittest.TestCase):
    def test_identification(self):
        with machine() as m:
            got = [m.readl(GPIO + 0xfe0 + 4 * i) for i in range(8)]
        self.assertEqual(got, [0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1])

    def test_the_address_masks_the_data(self):
        with machine() as m:
            m.writel(GPIO + 0x400, 0xff)
            m.writel(GPIO + 0x3fc, 0xa5)
            self.assertEqual(m.readl(GPIO + 0x3fc), 0xa5)
            m.writel(GPIO + (0x0f << 2), 0xff)
            self.assertEqual(m.readl(GPIO + 0x3fc), 0xaf)
            self.assertEqual(m.readl(GPIO + (0xf0 << 2)), 0xa0)

    def test_inputs_are_not_written(self):
        with machine() as m:
            m.writel(GPIO + 0x400, 0x0f)
            m.writel(GPIO + 0x3fc, 0xff)
            self.assertEqual(m.readl(GPIO + 0x3fc), 0x0f)

    @unittest.skipIf(PEER, "its names of devices are others")
    def test_edges_and_levels_of_inputs(self):
        with machine() as m:
            m.writel(GPIO + 0x410, 0xff)
            m.writel(GPIO + 0x40c, 0x08)
            m.ask("set_irq_in gpio in 3 1")
            self.assertEqual((m.readl(GPIO + 0x418), spi_pending(m, 7)), (8, 1))
            m.writel(GPIO + 0x41c, 8)
            self.assertEqual(spi_pending(m, 7), 0)
            m.ask("set_irq_in gpio in 3 0")
            self.assertEqual(spi_pending(m, 7), 0)
            m.writel(GPIO + 0x404, 0x08)
            m.ask("set_irq_in gpio in 3 1")
            m.writel(GPIO + 0x41c, 8)
            self.assertEqual(m.readl(GPIO + 0x414), 8)
            m.ask("set_irq_in gpio in 3 0")
            self.assertEqual(m.readl(GPIO + 0x414), 8)
            m.writel(GPIO + 0x41c, 8)
            self.assertEqual(m.readl(GPIO + 0x414), 0)

    @unittest.skipIf(PEER, "its names of devices are others")
    def test_the_power_key_is_a_pulse(self):
        with machine() as m:
            m.writel(GPIO + 0x40c, 0x08)
            m.ask("set_irq_in power in 0 1")
            self.assertEqual(m.readl(GPIO + 0x3fc), 8)
            self.assertEqual(m.readl(GPIO + 0x414), 8)
            m.clock_step(SECOND)
            self.assertEqual(m.readl(GPIO + 0x3fc), 0)


class Gic(unittest.TestCase):
    def setUp(self):
        self.m = machine(cpus=1 if PEER else 2).__enter__()
        self.addCleanup(self.m.__exit__)

    def enable(self, spi):
        m = self.m
        m.writel(GICD, 1)
        m.writel(GICC, 1)
        m.writel(GICC + 4, 0xff)
        m.writel(GICD + 0x104 + spi // 32 * 4, 1 << spi % 32)
        m.write("b", GICD + 0x820 + spi, 1)

    def test_what_it_says_of_itself(self):
        m = self.m
        self.assertEqual(m.readl(GICD + 4), 0x08 if PEER else 0x28)
        self.assertEqual(m.readl(GICD + 8), 0x43b)
        self.assertEqual(m.readl(GICC + 0xfc), 0x2043b)
        got = [m.readl(GICD + 0xfd0 + 4 * i) for i in range(12)]
        self.assertEqual(got, [0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 0x05, 0xb1])

    def test_a_level_is_taken_and_ended(self):
        m = self.m
        self.enable(1)
        m.watch_cpu()
        m.writel(UART + 0x38, 0x20)
        self.assertFalse(m.irq)
        m.writel(UART, 0x20)
        self.assertTrue(m.irq)
        self.assertEqual(m.readl(GICC + 0x18), 33)
        self.assertEqual(m.readl(GICC + 0xc), 33)
        self.assertFalse(m.irq)
        self.assertEqual(m.readl(GICD + 0x304), 2)
        self.assertEqual(m.readl(GICC + 0xc), 1023)
        m.writel(GICC + 0x10, 33)
        self.assertTrue(m.irq)  # the level is still there
        self.assertEqual(m.readl(GICC + 0xc), 33)
        m.writel(UART + 0x44, 0x20)
        m.writel(GICC + 0x10, 33)
        self.assertFalse(m.irq)
        self.assertEqual(m.readl(GICD + 0x304), 0)

    def test_priorities_preempt(self):
        m = self.m
        self.enable(40)
        self.enable(41)
        m.watch_cpu()
        m.write("b", GICD + 0x400 + 32 + 40, 0x80)
        m.write("b", GICD + 0x400 + 32 + 41, 0x40)
        m.writel(GICD + 0x208, 1 << 8)
        self.assertEqual(m.readl(GICC + 0xc), 72)
        self.assertEqual(m.readl(GICC + 0x14), 0x80)
        m.writel(GICD + 0x208, 1 << 9)
        self.assertTrue(m.irq)
        self.assertEqual(m.readl(GICC + 0xc), 73)
        self.assertEqual(m.readl(GICC + 0x14), 0x40)
        m.writel(GICC + 0x10, 73)
        self.assertEqual(m.readl(GICC + 0x14), 0x80)
        m.writel(GICC + 0x10, 72)
        self.assertEqual(m.readl(GICC + 0x14), 0xff)

    def test_the_mask_and_groups_of_priorities(self):
        m = self.m
        self.enable(40)
        self.enable(41)
        m.watch_cpu()
        m.write("b", GICD + 0x400 + 32 + 40, 0x83)
        m.write("b", GICD + 0x400 + 32 + 41, 0x80)
        m.writel(GICC + 4, 0x83)
        m.writel(GICD + 0x208, 1 << 8)
        self.assertFalse(m.irq)
        m.writel(GICC + 4, 0x84)
        self.assertTrue(m.irq)
        m.writel(GICC + 8, 3)
        m.readl(GICC + 0xc)
        m.writel(GICD + 0x208, 1 << 9)
        self.assertFalse(m.irq)  # more urgent, but of the same group

    def test_a_cpu_interrupts_itself(self):
        m = self.m
        self.enable(0)
        m.watch_cpu()
        m.writel(GICD + 0xf00, 0x02000005)
        self.assertTrue(m.irq)
        self.assertEqual(m.readl(GICD + 0xf20 + 4), 0x100)
        self.assertEqual(m.readl(GICC + 0xc), 5)
        m.writel(GICC + 0x10, 5)
        self.assertFalse(m.irq)

    @unittest.skipIf(PEER, "it has but one CPU here")
    def test_targets(self):
        m = self.m
        self.enable(40)
        m.watch_cpu()
        m.write("b", GICD + 0x820 + 40, 2)
        m.writel(GICD + 0x208, 1 << 8)
        self.assertFalse(m.irq)
        m.write("b", GICD + 0x820 + 40, 3)
        self.assertTrue(m.irq)
        self.assertEqual(m.readl(GICD + 0x800), 0x01010101)

    def test_messages(self):
        m = self.m
        self.assertEqual(m.readl(V2M + 8), 80 << 16 | 64)
        self.assertEqual(m.readl(V2M + 0xfcc), 0x51 << 20)
        m.writel(GICD + 0xc00 + 80 // 16 * 4, 2)
        m.writel(V2M + 0x40, 80)
        self.assertEqual(spi_pending(m, 48), 1)
        m.writel(V2M + 0x40, 79)
        m.writel(V2M + 0x40, 80 + 64)
        self.assertEqual(m.readl(GICD + 0x208), 1 << 16)
        self.assertEqual(m.readl(GICD + 0x20c), 0)

    def test_group_1_and_fiq(self):
        m = self.m
        self.enable(40)
        m.watch_cpu()
        m.writel(GICC, 9)
        m.writel(GICD + 0x208, 1 << 8)
        self.assertEqual((m.irq, m.fiq), (False, True))
        m.writel(GICD + 0x88, 1 << 8)
        self.assertEqual((m.irq, m.fiq), (False, False))
        m.writel(GICD, 3)
        m.writel(GICC, 0xb)
        self.assertEqual((m.irq, m.fiq), (True, False))
        self.assertEqual(m.readl(GICC + 0xc), 1022)
        if PEER:  # which lacks the registers for group 1 alone
            m.writel(GICC, 0xf)
        self.assertEqual(m.readl(GICC + (0xc if PEER else 0x20)), 72)
        m.writel(GICC + (0x10 if PEER else 0x24), 72)
        self.assertEqual((m.irq, m.fiq), (False, False))


class VirtioMmio(unittest.TestCase):
    def test_an_empty_slot(self):
        with machine() as m:
            for slot in (0, 31):
                base = VIRTIO + 0x200 * slot
                self.assertEqual([m.readl(base + 4 * i) for i in range(4)], [0x74726976, 1, 0, 0x554d4551])


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
