"""Command lines of machines: what is refused, and what is said about it."""

import fcntl
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import emulator, pci, qtest, tap  # noqa: E402


def run(*options, name=qtest.PEER):
    return subprocess.run([*emulator.command_named(name), *options], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)


class Refusals(unittest.TestCase):
    def refused(self, text, *options):
        r = run(*options)
        self.assertEqual(r.returncode, 1, r)
        self.assertIn(text, r.stderr)

    def test_options(self):
        self.refused("-frobnicate: invalid option", "-frobnicate")
        self.refused("-m: requires an argument", "-M", "virt", "-m")
        self.refused("No machine specified", "-nographic")
        self.refused("unsupported machine type", "-M", "toaster", "-nographic")
        self.refused("Property 'virt-machine.colour' not found", "-M", "virt,colour=red", "-nographic")
        self.refused("gic-version", "-M", "virt,gic-version=7", "-nographic")
        self.refused("invalid accelerator", "-M", "virt", "-accel", "steam")
        self.refused("no display yet", "-M", "virt")
        self.refused("-display gtk", "-M", "virt", "-display", "gtk")
        self.refused("what is this?", "-M", "virt", "disk.img")

    def test_what_is_known_and_not_there(self):
        """Options of the compatible names say why they are refused."""
        for option, *arg in (["-s"], ["-gdb", "tcp::1"], ["-incoming", "x"], ["-loadvm", "x"], ["-snapshot"], ["-vnc", ":1"], ["-spice", "x"],
                             ["-smbios", "type=1"], ["-numa", "node"], ["-icount", "1"], ["-semihosting"], ["-runas", "x"], ["-chroot", "/"],
                             ["-virtfs", "x"], ["-tpmdev", "x"], ["-usb"], ["-k", "de"], ["-plugin", "x"], ["-preconfig"]):
            self.refused(f"{option} is not supported: ", "-M", "virt", option, *arg)
        for options, text in ((["-sandbox", "on"], "only off"), (["-boot", "once=d"], "bootindex="), (["-action", "reboot=fly"], "there is no reboot=fly"),
                              (["-cpu", "host"], "requires KVM"), (["-accel", "kvm"], "KVM runs"), (["-enable-kvm"], "KVM runs"),
                              (["-M", "virt,accel=kvm"], "KVM runs"), (["-M", "virt,acpi=on"], "tables of ACPI"), (["-M", "virt,iommu=smmuv3"], "only be none"),
                              (["-net", "user"], "say -net nic"), (["-net", "nic"], "what it is connected to"),
                              (["-set", "device.x.y=1"], "no device \"x\""), (["-set", "drive.x.y=1"], "only properties of devices"),
                              (["-accel", "tcg,tb-size=x"], "tb-size=MIB"), (["-watchdog-action", "bark"], "bark is not supported"),
                              (["-readconfig", "/no/such"], "Cannot read config file")):
            self.refused(text, "-M", "virt", "-display", "none", *options)

    def test_what_is_taken(self):
        """Options that command lines of others have; the machine is made, and ends for want of a kernel."""
        for options in (["-boot", "menu=on,order=c,splash-time=1"], ["-boot", "d"], ["-sandbox", "off"], ["-watchdog-action", "pause"],
                        ["-action", "reboot=shutdown,shutdown=pause,panic=none"], ["-M", "virt,acpi=off,iommu=none,mem-merge=off"],
                        ["-accel", "tcg,thread=multi,tb-size=64"], ["-mem-prealloc"], ["-msg", "guest-name=on"], ["-name", "vm,process=machine"],
                        ["-global", "driver=virtio-blk-pci,property=queue-size,value=128"], ["-net", "nic,model=virtio", "-net", "user"]):
            self.refused("which kernel?", "-M", "virt", "-display", "none", *options)

    def test_options_in_a_file(self):
        """And properties of devices that are set later; disks in a word."""
        with tempfile.TemporaryDirectory() as scratch:
            config, disk = Path(scratch) / "config", Path(scratch) / "disk"
            disk.write_bytes(bytes(1 << 20))
            config.write_text('# a comment\n[device "r0"]\n  driver = "virtio-rng-pci"\n  addr = "5"\n\n[netdev "n"]\n  type = "user"\n'
                              '[device]\n  driver = "virtio-net-pci"\n  netdev = "n"\n  addr = "6"\n')
            with qtest.Machine("-readconfig", config, "-device", "virtio-rng-pci,id=late", "-set", "device.late.addr=9", "-cdrom", disk) as m:
                for slot, device in ((5, 0x1005), (6, 0x1000), (9, 0x1005), (1, 0x1001)):
                    self.assertEqual(pci.Card(m, slot).read("w", 2), device)
            for text, why in (("driver = \"x\"\n", "config:1: it is neither"), ("[device]\ndriver = x\n", "config:2"),
                              ("[device]\ndriver = \"x\n", "config:2"), (f"[device]\ndriver = \"{'x' * 1100}\"\n", "config:2"),
                              ("[device]\ndriver = \"\"", "driver"), ("[toaster]\na = \"b\"\n", "no option group 'toaster'")):
                config.write_text(text)
                self.refused(why, "-M", "virt", "-display", "none", "-readconfig", str(config))

    def test_devices_are_listed(self):
        r = run("-M", "virt", "-device", "help")
        self.assertIn('name "virtio-blk-pci", bus PCI', r.stdout)
        self.assertNotIn("pl011", r.stdout)  # which is a board's
        r = run("-M", "virt", "-device", "virtio-blk-pci,help")
        self.assertIn("addr=<str>", r.stdout)   # the card's
        self.assertIn("drive=<drive>", r.stdout)  # the disk's

    def test_numbers(self):
        self.refused("-m 12X", "-m", "12X")
        self.refused("-m 0", "-m", "0")
        self.refused("-m 1G,maxmem", "-m", "1G,maxmem=x")
        self.refused("missing 'maxmem'", "-m", "1G,slots=2")
        self.refused("at least the initial memory", "-m", "1G,slots=2,maxmem=512M")
        self.refused("/no/such", "-M", "virt", "-nographic", "-m", "size=256M,slots=2,maxmem=1G", "-kernel", "/no/such")
        self.refused("-smp 0", "-smp", "0")
        self.refused("groups of 4 are not 3", "-smp", "3,cores=2,threads=2")
        self.refused("Invalid SMP CPUs 17", "-M", "virt", "-nographic", "-smp", "17", "-kernel", "x")
        self.refused("takes up to", "-M", "virt", "-nographic", "-m", "300G", "-kernel", "x")

    def test_a_disk_that_somebody_has(self):
        """Another machine's: it lets nobody write (byte 201 of QEMU's locks), or writes (101)."""
        with tempfile.NamedTemporaryFile() as f, open(f.name, "rb") as other:
            f.truncate(1 << 20)
            for byte, text in ((201, 'Failed to get "write" lock'), (101, 'Failed to get shared "write" lock')):
                fcntl.fcntl(other, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
                self.refused(text, "-M", "virt", "-nographic", "-drive", f"format=raw,file={f.name}", "-kernel", f.name)
                fcntl.fcntl(other, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))

    def test_what_to_start_from(self):
        with tempfile.NamedTemporaryFile() as f:
            f.truncate(1 << 20)
            disk = ["-drive", f"if=none,id=d,format=raw,file={f.name}", "-device"]
            for options, text in (([*disk, "virtio-blk-device,drive=d,bootindex=x"], "Parameter 'bootindex' expects integer"),
                                  (["-device", "virtio-rng-pci,bootindex=1"], "Property 'virtio-rng-pci.bootindex' not found"),
                                  ([*disk, "virtio-blk-device,drive=d,bootindex=1", "-netdev", "user,id=n", "-device",
                                    "virtio-net-pci,netdev=n,bootindex=1"], "The bootindex 1 has already been used")):
                r = run("-M", "virt", "-display", "none", "-kernel", f.name, *options)
                self.assertEqual((r.returncode, text in r.stderr), (1, True), r.stderr)

    def test_character_devices(self):
        self.refused("not a valid character device", "-M", "virt", "-serial", "smoke")
        self.refused("not a valid char driver", "-M", "virt", "-chardev", "smoke,id=a")
        self.refused("no id specified", "-M", "virt", "-chardev", "null")
        self.refused("no filename given", "-M", "virt", "-chardev", "file,id=a")
        self.refused("Invalid parameter 'colour=red'".split("=")[0], "-M", "virt", "-chardev", "null,id=a,colour=red")
        self.refused('chardev "b" not found', "-M", "virt", "-nographic", "-serial", "chardev:b", "-kernel", "x")
        with tempfile.TemporaryDirectory() as scratch:
            self.refused("cannot open", "-M", "virt", "-nographic", "-serial", f"file:{scratch}/no/such", "-kernel", "x")

    def test_one_line_for_two_devices(self):
        self.refused("is in use", "-M", "virt", "-display", "none", "-chardev", "null,id=a", "-serial", "chardev:a",
                     "-accel", "qtest", "-qtest", "chardev:a")


class Starts(unittest.TestCase):
    def test_the_first_accelerator_that_there_is(self):
        r = run("-M", "virt", "-accel", "kvm", "-accel", "tcg", "-display", "none", "-kernel", "/no/such")
        self.assertIn("/no/such", r.stderr)
        self.assertIn("invalid accelerator kvm", run("-M", "virt", "-accel", "kvm", "-display", "none").stderr)

    def test_log_of_device_tests(self):
        with tempfile.NamedTemporaryFile("r") as log:
            with qtest.Machine("-qtest-log", log.name) as m:
                m.readl(0x9000018)
            lines = log.read()
        self.assertIn("] readl 0x9000018\n", lines)
        self.assertRegex(lines, r"\[S \+[0-9]+\.[0-9]{6}\] OK 0x0*90\n")


class Lists(unittest.TestCase):
    def test_help(self):
        for options, text in ((("-M", "help"), "virt"), (("-cpu", "help"), "cortex-a57"), (("-accel", "help"), "tcg"),
                              (("-d", "help"), "guest_errors"), (("-help",), "-kernel"),
                              (("-version",), "QEMU emulator version 7.2")):
            r = run(*options)
            self.assertEqual((r.returncode, r.stderr), (0, ""), options)
            self.assertIn(text, r.stdout)

    def test_lyre_boot(self):
        r = run("boot", "--help", name="lyre")
        self.assertEqual(r.returncode, 0)
        self.assertIn("usage: lyre", r.stdout)
        r = run("boot", "-M", "help", name="lyre")
        self.assertIn("aarch64/virt", r.stdout)


if __name__ == "__main__":
    tap.run_unittests()
