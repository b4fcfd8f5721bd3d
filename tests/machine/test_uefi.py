"""Debian's UEFI firmware (qemu-efi-aarch64): from flash to its shell, with variables that stay; from -bios to a kernel
that fw_cfg holds."""

import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from lib import console, emulator, qtest, tap  # noqa: E402

CODE, VARS = Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd")
PLAIN = Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")
ESCAPES = re.compile(r"\x1b\[[0-9;=]*[A-Za-z]")


class Firmware(test_boot.Guest):
    """A machine that firmware starts."""

    def __init__(self, *options):
        self.scratch = tempfile.TemporaryDirectory()
        console.Console.__init__(self, [*emulator.command_named(qtest.PEER), "-M", "virt", "-cpu", "cortex-a57", "-m", "512",
                                        "-nographic", "-net", "none", "-no-reboot", *options], seconds=120)

    def shell_command(self, line):
        """What UEFI's shell prints."""
        for byte in line.encode() + b"\r":  # it takes them one by one
            self.send_keys(bytes([byte]))
            self.until(bytes([byte]) if byte != 13 else b"\n")
        return ESCAPES.sub("", self.until(b"Shell> "))


@unittest.skipUnless(CODE.exists() and PLAIN.exists(), "no qemu-efi-aarch64; scripts/setup check installs it")
class Uefi(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = Path(scratch.name)

    def shell(self):
        return Firmware("-drive", f"if=pflash,format=raw,readonly=on,file={CODE}",
                        "-drive", f"if=pflash,format=raw,file={self.dir}/vars")

    def test_variables_stay(self):
        shutil.copy(VARS, self.dir / "vars")
        for command, want in (("setvar Mark -guid 12345678-1234-1234-1234-123456789abc -nv -bs =L\"here\"", ""),
                              ("setvar Mark -guid 12345678-1234-1234-1234-123456789abc", "68 00 65 00 72 00 65 00")):
            with self.shell() as g:
                g.until(b"to skip")
                g.send_keys(b"\x1b")
                g.until(b"Shell> ")
                self.assertIn(want, g.shell_command(command))
                g.send_keys(b"reset -s\r")
                self.assertEqual(g.end(), 0)

    @unittest.skipUnless(test_boot.KERNEL and test_boot.KERNEL.exists(), "no debian-installer-12-netboot-arm64")
    def test_a_kernel(self):
        (self.dir / "initrd").write_bytes(test_boot.small_system())
        with Firmware("-bios", PLAIN, "-kernel", test_boot.KERNEL, "-initrd", self.dir / "initrd",
                      "-append", "console=ttyAMA0 quiet rdinit=/bin/sh") as g:
            g.shell()
            g.run("mount -t sysfs sys /sys")
            self.assertEqual(g.run("cat /sys/firmware/efi/fw_platform_size"), ["64"])
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)


if __name__ == "__main__":
    tap.run_unittests()
