"""-rtc: what the real-time clock shows, and what it follows; LYRE_TEST_PEER=1 runs it against Debian's QEMU."""

import calendar
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_qmp import Case, PEER  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

RTC, LOAD, MATCH, RAW = 0x9010000, 0x9010008, 0x9010004, 0x9010014
YEAR = calendar.timegm((2020, 1, 2, 0, 0, 0))
ZONE = -10 * 3600  # Honolulu's, all the year


class Clock(Case):
    def machine(self, *options):
        environment = os.environ.get("TZ")
        os.environ["TZ"] = "Pacific/Honolulu"
        try:
            m = qtest.Machine("-qmp", f"unix:{self.path}", *options, peer=PEER)
        finally:
            os.environ.pop("TZ")
            if environment:
                os.environ["TZ"] = environment
        self.addCleanup(m.__exit__)
        self.qmp = self.client()
        self.qmp.ask("qmp_capabilities")
        return m

    def test_what_it_shows_first(self):
        for base, want in (("utc", 0), ("localtime", ZONE), ("2020-01-02", YEAR), ("2020-01-02T03:04:05", YEAR + 11045)):
            for clock in ("", ",clock=host", ",clock=rt", ",clock=vm", ",driftfix=slew", ",driftfix=none"):
                with self.subTest(base + clock):
                    m = self.machine("-rtc", f"base={base}{clock}")
                    shown = m.readl(RTC)
                    self.assertLess(abs(shown - want - (time.time() if want <= 0 else 0)), 2.5)
                    m.__exit__()
                    self.doCleanups()
                    self.setUp()

    def test_hosts_clocks_go_on(self):
        """Those of the host while no CPU runs, the machine's does not; and an alarm."""
        for clock, goes_on in (("host", True), ("rt", True), ("vm", False)):
            m = self.machine("-rtc", f"clock={clock}")
            first = m.readl(RTC)
            m.writel(MATCH, first + 1)
            time.sleep(1.2)
            self.assertEqual((m.readl(RTC) > first, m.readl(RAW)), (goes_on, int(goes_on)), clock)
            m.__exit__()
            self.doCleanups()
            self.setUp()

    def test_the_guest_sets_it(self):
        m = self.machine("-rtc", "base=utc")
        m.writel(LOAD, int(time.time()) + 1000)
        self.assertIn(m.readl(RTC) - m.readl(LOAD), (0, 1))
        self.qmp.until("RTC_CHANGE")
        told = self.qmp.data["RTC_CHANGE"]
        self.assertLess(abs(told["offset"] - 1000), 2.5)
        self.assertTrue(told["qom-path"].startswith("/machine/unattached/device["), told)

    def test_what_cannot_be(self):
        command = [qtest.PEER] if PEER else emulator.command_named(qtest.PEER)
        for option, text in (("base=soon", "invalid datetime format"), ("clock=x", "invalid option value 'x'"),
                             ("driftfix=x", "invalid option value 'x'"), ("colour=red", "Invalid parameter 'colour'")):
            r = subprocess.run([*command, "-M", "virt", "-display", "none", "-rtc", option], capture_output=True, text=True, timeout=60)
            self.assertEqual((r.returncode, text in r.stderr), (1, True), r.stderr)


if __name__ == "__main__":
    tap.run_unittests()
