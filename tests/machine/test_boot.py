"""Unmodified kernels of Debian: from power-on to a shell, commands, and a clean end.

The kernel is the installer's; its initial file system is busybox alone, or the installer's in the long suite.
LYRE_TEST_LONG=1 runs those that take their time: each CPU model, the interpreter, disks."""

import functools
import hashlib
import http.server
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import console, cpio, emulator, qtest, tap  # noqa: E402

LONG = bool(os.environ.get("LYRE_TEST_LONG"))
INSTALLER = "usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64"
MODULES = ["virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover", "net_failover", "virtio_net"]
ROOT, MISSING = emulator.debian_root("arm64")
KERNEL = ROOT and ROOT / INSTALLER / "linux"
PROMPT = b"# \x1b[6n"


def small_system(*more):
    """An initial file system of busybox, and `more` as cpio.archive() takes it."""
    busybox = (ROOT / "bin/busybox").read_bytes()
    names = ["bin", "dev", "proc", "sys", "tmp"]
    links = [(f"bin/{x}", "busybox") for x in ("sh", "cat", "mount", "mknod", "dd", "sha256sum", "nproc", "uname", "echo",
                                               "insmod", "poweroff", "ip", "nc",
                                               "wget", "udhcpc", "reboot", "seq", "sort", "date", "sleep", "sync")]
    return cpio.archive([(x, None) for x in names] + [("bin/busybox", busybox)] + links + list(more))


class Guest(console.Console):
    """A machine whose first serial line is a shell."""

    def __init__(self, *options, initrd, kernel=None, append="", command=None):
        self.scratch = tempfile.TemporaryDirectory()
        path = Path(self.scratch.name) / "initrd"
        path.write_bytes(initrd)
        command = command or emulator.command_named(qtest.PEER)
        super().__init__([*command, "-M", "virt", "-nographic", "-kernel", kernel or KERNEL, "-initrd", path, "-append",
                          f"console=ttyAMA0 quiet rdinit=/bin/sh {append}", *options])

    def __exit__(self, *what):
        super().__exit__(*what)
        self.scratch.cleanup()

    def shell(self):
        """Wait for a prompt; what came before it."""
        return self.until(PROMPT)

    def run(self, command):
        """The lines that a command prints."""
        self.send(command)
        lines = self.shell().replace("\r", "").split("\n")
        return lines[1:-1]


def to_the_end(case, *options, cpu="cortex-a57"):
    with Guest("-cpu", cpu, "-m", "256", *options, initrd=small_system()) as g:
        g.shell()
        case.assertEqual(g.run("uname -m"), ["aarch64"])
        case.assertEqual(g.run("seq 3 | sort -r"), ["3", "2", "1"])
        g.send("poweroff -f")
        case.assertEqual(g.end(), 0)


@unittest.skipUnless(KERNEL and KERNEL.exists(), MISSING or "no debian-installer-12-netboot-arm64; scripts/fetch-debian gets it")
class Boot(unittest.TestCase):
    def test_to_a_shell_and_off(self):
        to_the_end(self)

    def test_several_cpus(self):
        for cpus in (2, 4):
            with Guest("-cpu", "cortex-a72", "-m", "256", "-smp", str(cpus), initrd=small_system()) as g:
                g.shell()
                self.assertEqual(g.run("nproc"), [str(cpus)])
                g.run("mknod /dev/null c 1 3")
                self.assertEqual(g.run("for i in 1 2 3 4 5 6; do (seq 3000 | sha256sum) & done; wait").count(
                    hashlib.sha256(b"".join(b"%d\n" % i for i in range(1, 3001))).hexdigest() + "  -"), 6)
                g.send("poweroff -f")
                self.assertEqual(g.end(), 0)

    def test_gicv3(self):
        for cpus in ("1", "4"):
            to_the_end(self, "-M", "gic-version=3", "-smp", cpus)

    def test_it_starts_again(self):
        with Guest("-cpu", "cortex-a57", "-m", "256", "-smp", "2", initrd=small_system()) as g:
            g.shell()
            g.run("echo once > /tmp/x")
            g.send("reboot -f")
            g.shell()
            self.assertIn("No such file", " ".join(g.run("cat /tmp/x")))
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)

    def test_no_reboot(self):
        with Guest("-cpu", "cortex-a57", "-m", "256", "-no-reboot", initrd=small_system()) as g:
            g.shell()
            g.send("reboot -f")
            self.assertEqual(g.end(), 0)

    def test_the_terminals_keys_end_it(self):
        with Guest("-cpu", "cortex-a57", "-m", "256", initrd=small_system()) as g:
            g.shell()
            g.process.stdin.write(b"\x01x")
            g.process.stdin.flush()
            self.assertEqual(g.end(), 0)

    def test_the_clock(self):
        with Guest("-cpu", "cortex-a57", "-m", "256", "-rtc", "base=2020-02-29T12:00:00", initrd=small_system()) as g:
            g.shell()
            self.assertTrue(g.run("date +%Y-%m-%d")[0].startswith("2020-02-29"))
            before = time.monotonic()
            g.run("sleep 1")
            self.assertGreater(time.monotonic() - before, 0.9)

    def test_its_own_device_tree(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "dtb"
            subprocess.run([*emulator.command_named(qtest.PEER), "-M", f"virt,dumpdtb={path}", "-cpu", "cortex-a57", "-m", "256"],
                           check=True, timeout=60)
            to_the_end(self, "-dtb", path)

    def test_a_kernel_that_is_none(self):
        for data, text in ((b"", "is empty"), (b"MZ" + b"x" * 100, "no kernel for arm64"), (b"\x1f\x8b rubbish", "damaged"),
                           (bytes(56) + b"ARM\x64" + bytes(4), None)):
            with tempfile.NamedTemporaryFile() as f:
                f.write(data)
                f.flush()
                if text is None:  # a header alone, which wants more memory than there is
                    f.seek(16)
                    f.write((1 << 40).to_bytes(8, "little"))
                    f.flush()
                    text = "does not fit"
                r = subprocess.run([*emulator.command_named(qtest.PEER), "-M", "virt", "-nographic", "-kernel", f.name],
                                   capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
                self.assertEqual(r.returncode, 1)
                self.assertIn(text, r.stderr)


@unittest.skipUnless(LONG, "one of the long suite")
@unittest.skipUnless(KERNEL and KERNEL.exists(), MISSING or "no debian-installer-12-netboot-arm64")
class Long(unittest.TestCase):
    def test_the_installers_file_system(self):
        for cpus, gic in (("1", "2"), ("2", "3"), ("4", "2"), ("4", "3"), ("12", "3")):
            with Guest("-M", f"gic-version={gic}", "-cpu", "cortex-a57", "-m", "512", "-smp", cpus, initrd=(KERNEL.parent / "initrd.gz").read_bytes()) as g:
                g.shell()
                g.run("mount -t proc proc /proc")
                self.assertIn("uart-pl011", " ".join(g.run("cat /proc/interrupts")))
                g.send("poweroff -f")
                self.assertEqual(g.end(), 0)

    def test_each_model(self):
        listed = subprocess.run([*emulator.command_named(qtest.PEER), "-M", "virt", "-cpu", "help"], capture_output=True,
                                text=True, check=True).stdout
        for model in listed.split()[2:]:
            with self.subTest(model):
                to_the_end(self, cpu=model)

    def test_interpreter(self):
        to_the_end(self, "-accel", "interp")


def distribution_kernel():
    """Debian's own kernel for arm64 and its modules, where they were fetched."""
    found = sorted((ROOT or Path("/nonexistent")).glob("boot/vmlinuz-*-arm64"))
    return found[-1] if found else None


@unittest.skipUnless(distribution_kernel(), "no linux-image-arm64; scripts/fetch-debian gets it")
class Drivers(unittest.TestCase):
    """With modules, so that there are disks and networks."""

    def setUp(self):
        self.kernel = distribution_kernel()
        tree = ROOT / "usr/lib/modules" / self.kernel.name.removeprefix("vmlinuz-")
        self.modules = [*MODULES, *self.more]
        found = [(f"lib/{name}.ko", next(tree.rglob(f"{name}.ko")).read_bytes()) for name in self.modules]
        self.system = small_system(("lib", None), *found)
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    command = None  # another than lyre's
    more = []       # modules

    def guest(self, *options):
        g = Guest("-cpu", "cortex-a57", "-m", "256", *options, kernel=self.kernel, initrd=self.system, command=self.command)
        self.prepare(g)
        return g

    def prepare(self, g):
        g.shell()
        for command in ("mknod /dev/null c 1 3", *(f"insmod /lib/{name}.ko" for name in self.modules), "mount -t proc proc /proc",
                        "mount -t sysfs sysfs /sys", "mount -t devtmpfs dev /dev"):
            self.assertEqual(g.run(command), [], command)

    def test_reads_and_writes(self):
        data = random.Random(1).randbytes(8 << 20)
        raw, cow = self.scratch / "raw", self.scratch / "cow"
        raw.write_bytes(data)
        run = [*emulator.command_named("qemu-img"), "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", cow]
        subprocess.run(run, check=True, timeout=60)
        with self.guest("-drive", f"file={cow},format=qcow2,if=virtio") as g:
            self.assertEqual(g.run("cat /sys/block/vda/size"), [str(len(data) // 512)])
            self.assertEqual(g.run("sha256sum /dev/vda"), [hashlib.sha256(data).hexdigest() + "  /dev/vda"])
            g.run("dd if=/dev/vda of=/dev/vda bs=64k count=16 skip=32 seek=3 conv=notrunc,fsync")
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)
        want = bytearray(data)
        want[3 << 16:19 << 16] = data[32 << 16:48 << 16]
        self.assertEqual(raw.read_bytes(), data)
        for command in (["check", "-q", cow], ["convert", "-O", "raw", cow, self.scratch / "out"]):
            subprocess.run([*emulator.command_named("qemu-img"), *command], check=True, timeout=60)
        self.assertEqual(hashlib.sha256((self.scratch / "out").read_bytes()).digest(), hashlib.sha256(want).digest())

    def test_cards_after_a_reset(self):
        disk = self.scratch / "disk"
        disk.write_bytes(b"\1" * (1 << 20))
        for gic in ("2", "3"):
            with self.guest("-M", f"gic-version={gic}", "-drive", f"file={disk},format=raw,if=virtio") as g:
                g.send("reboot -f")
                self.prepare(g)
                self.assertEqual(g.run("sha256sum /dev/vda"), [hashlib.sha256(b"\1" * (1 << 20)).hexdigest() + "  /dev/vda"])
                g.send("poweroff -f")
                self.assertEqual(g.end(), 0)

    def test_the_network(self):
        data = random.Random(2).randbytes(2 << 20)
        (self.scratch / "file").write_bytes(data)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *what):
                pass
        handler = functools.partial(Handler, directory=self.scratch)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, socket.socket() as probe:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.shutdown)
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            with self.guest("-nic", f"user,hostfwd=tcp:127.0.0.1:{port}-:7777,mac=52:54:00:aa:bb:cc") as g:
                self.assertEqual(g.run("cat /sys/class/net/eth0/address"), ["52:54:00:aa:bb:cc"])
                g.run("ip link set eth0 up")
                leased = g.run("udhcpc -n -q -i eth0 -s /bin/echo")
                self.assertIn("lease of 10.0.2.15 obtained", " ".join(leased))
                g.run("ip addr add 10.0.2.15/24 dev eth0")
                got = g.run(f"wget -q -O - http://10.0.2.2:{server.server_port}/file | sha256sum")
                self.assertEqual(got, [hashlib.sha256(data).hexdigest() + "  -"])
                g.send("echo hello from the guest | nc -l -p 7777")
                for _ in range(100):
                    time.sleep(0.1)
                    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
                        got = s.recv(100)
                    if got:
                        break
                self.assertEqual(got, b"hello from the guest\n")
                g.shell()
                g.send("poweroff -f")
                self.assertEqual(g.end(), 0)


if __name__ == "__main__":
    tap.run_unittests()
