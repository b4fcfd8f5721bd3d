"""Debian on a disk: systemd to the login, the network, a clean end; what is on the disk when the machine dies.

LYRE_TEST_LONG=1 runs it. The disk is made by tests/lib/debian_disk.py, once, which takes most of an hour on a slow host.
LYRE_TEST_STRESS is how many seconds stress-ng gets."""

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

from lib import console, debian_disk, emulator, qtest, tap  # noqa: E402

LONG = bool(os.environ.get("LYRE_TEST_LONG"))
STRESS = int(os.environ.get("LYRE_TEST_STRESS") or 60)
PROMPT = b"root@lyrebird:~# "
PCI = ("virtio-blk-pci", "virtio-net-pci")
MMIO = ("virtio-blk-device", "virtio-net-device")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*command, **more):
    return subprocess.run([str(x) for x in command], check=True, capture_output=True, text=True, timeout=300, **more).stdout


class Machine(console.Console):
    """Debian with a disk and a network, reached at its console and by ssh."""

    def __init__(self, disk, *options, format="raw", cards=PCI, machine="virt", cpus=2):
        self.files, self.port = debian_disk.get(), free_port()
        super().__init__(
            [*emulator.command_named(qtest.PEER), "-M", machine, "-cpu", "cortex-a57", "-smp", str(cpus), "-m", "1024",
             "-nographic", "-no-reboot", "-kernel", self.files / "vmlinuz", "-initrd", self.files / "initrd",
             "-append", "console=ttyAMA0 root=/dev/vda rw", "-drive", f"file={disk},format={format},if=none,id=disk",
             "-device", f"{cards[0]},drive=disk", "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22",
             "-device", f"{cards[1]},netdev=net", *options], seconds=120 + STRESS)

    def login(self):
        self.until(b"lyrebird login: ")
        self.send("root")
        self.until(b"Password: ")
        self.send(debian_disk.PASSWORD)
        self.until(PROMPT)
        self.run("bind 'set enable-bracketed-paste off'; dmesg -n 1")  # so that prompts and answers are all there is

    def run(self, command):
        """What a command prints."""
        self.send(command)
        return self.until(PROMPT).replace("\r", "").partition("\n")[2]

    def ssh(self, command, **more):
        """The same over the network."""
        return run("ssh", "-i", self.files / "key", "-p", self.port, "-o", "StrictHostKeyChecking=no", "-o",
                   "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "root@127.0.0.1",
                   command, **more)

    def power_off(self):
        self.send("poweroff")
        return self.end()


@unittest.skipUnless(LONG, "one of the long suite")
class Debian(unittest.TestCase):
    def setUp(self):
        try:
            self.files = debian_disk.get()
        except debian_disk.Failure as e:
            self.skipTest(str(e))
        scratch = tempfile.TemporaryDirectory(dir=os.environ.get("LYRE_TEST_SCRATCH"))
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def raw(self):
        run("cp", "--sparse=always", self.files / "disk", self.scratch / "raw")
        return self.scratch / "raw"

    def overlay(self):
        path = self.scratch / "cow"
        run(*emulator.command_named("qemu-img"), "create", "-q", "-f", "qcow2", "-b", self.files / "disk", "-F", "raw", path)
        return path

    def is_clean(self, image):
        """The file system in a raw image, read only."""
        out = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, timeout=300)
        self.assertEqual(out.returncode, 0, out.stdout)

    def is_clean_inside(self, cow):
        """The same of a qcow2 image, which is itself in order."""
        for command in (["check", "-q", cow], ["convert", "-O", "raw", cow, self.scratch / "flat"]):
            run(*emulator.command_named("qemu-img"), *command)
        self.is_clean(self.scratch / "flat")

    def serve(self, directory):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *what):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_port

    def use(self, m):
        """What a user does: log in, look, fetch something, come in from outside."""
        data = random.Random(3).randbytes(5 << 20)
        web = self.scratch / "web"
        web.mkdir()
        (web / "file").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        m.login()
        self.assertEqual(m.run("systemctl is-system-running --wait").strip(), "running")
        self.assertIn("10.0.2.15/24", m.run("ip -4 address"))
        port = self.serve(web)
        self.assertEqual(m.run(f"curl -s -o file http://10.0.2.2:{port}/file; sha256sum < file").split()[0], digest)
        self.assertEqual(m.ssh("sha256sum < file").split()[0], digest)
        self.assertEqual(m.ssh("cat > back; sha256sum < back", input="a" * 100000).split()[0],
                         hashlib.sha256(b"a" * 100000).hexdigest())
        self.assertEqual(m.run("dmesg --level=emerg,alert,crit | wc -l").strip(), "0")

    def test_raw_on_pci(self):
        disk = self.raw()
        with Machine(disk) as m:
            self.use(m)
            self.assertIn("virtio0", m.run("ls /sys/bus/pci/devices/0000:00:01.0"))
            self.assertEqual(m.power_off(), 0)
        self.is_clean(disk)

    def test_packed_rings(self):
        disk = self.raw()
        cards = [f"{x},packed=on" for x in PCI]
        with Machine(disk, cards=cards) as m:
            self.use(m)
            self.assertEqual(m.run("cut -c35 /sys/bus/virtio/devices/virtio[01]/features").split(), ["1", "1"])
            self.assertEqual(m.power_off(), 0)
        self.is_clean(disk)

    def test_serial_ports(self):
        """A console and a channel, each on a socket."""
        paths = [self.scratch / x for x in ("console", "channel")]
        options = ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=console",
                   "-device", "virtserialport,chardev=channel,name=org.lyrebird.0"]
        for path in paths:
            options += ["-chardev", f"socket,id={path.name},path={path},server=on,wait=off"]
        with Machine(self.raw(), *options) as m:
            m.login()
            ends = [socket.socket(socket.AF_UNIX) for _ in paths]
            for end, path in zip(ends, paths):
                self.addCleanup(end.close)
                end.settimeout(60)
                end.connect(str(path))
            for end, name in zip(ends, ("hvc0", "virtio-ports/org.lyrebird.0")):
                want = "".join(f"{x}\n" for x in range(1, 2001)).encode()
                m.send(f"(stty raw -echo 2> /dev/null; seq 2000 >&0; head -c {len(want)} | sha256sum) <> /dev/{name}")
                got = b""
                while len(got) < len(want):
                    got += end.recv(65536)
                self.assertEqual(got, want)
                end.sendall(want)
                self.assertIn(hashlib.sha256(want).hexdigest(), m.until(PROMPT))
            self.assertEqual(m.power_off(), 0)

    def test_an_overlay_in_memory(self):
        cow = self.overlay()
        before = (self.files / "disk").stat().st_mtime_ns
        with Machine(cow, format="qcow2", cards=MMIO, cpus=4) as m:
            self.use(m)
            self.assertEqual(m.power_off(), 0)
        self.is_clean_inside(cow)
        self.assertEqual((self.files / "disk").stat().st_mtime_ns, before)

    def test_gicv3_and_its(self):
        disk = self.raw()
        with Machine(disk, machine="virt,gic-version=3", cpus=4) as m:
            self.use(m)
            self.assertIn("ITS-MSI", m.run("cat /proc/interrupts"))
            self.assertEqual(m.run("ls /sys/block/vda/mq").split(), ["0", "1", "2", "3"])
            line = "grep virtio1-input.0 /proc/interrupts"
            number, *before = m.run(line).split()[:5]
            m.run(f"echo 4 > /proc/irq/{number[:-1]}/smp_affinity; cat /proc/irq/{number[:-1]}/effective_affinity")
            m.ssh("head -c 1000000 /dev/zero")  # which moves it to the third CPU, and has it interrupted
            after = m.run(line).split()[1:5]
            self.assertGreater(int(after[2]), int(before[2]))
            cpu = "/sys/devices/system/cpu/cpu3/online"
            self.assertEqual(m.run(f"echo 0 > {cpu}; nproc; echo 1 > {cpu}; nproc").split(), ["3", "4"])
            self.assertEqual(m.power_off(), 0)
        self.is_clean(disk)

    def test_it_dies_while_it_writes(self):
        cow = self.overlay()
        writes = ("i=0; while true; do i=$((i+1)); seq $i $((i+3000)) > /root/data/$((i % 50)).new; sync; "
                  "mv /root/data/$((i % 50)).new /root/data/$((i % 50)); echo $i > /root/last; done")
        with Machine(cow, format="qcow2") as m:
            m.login()
            m.run("mkdir data; sync")
            m.send(writes)
            time.sleep(10)
            m.process.kill()
        check = subprocess.run([*emulator.command_named("qemu-img"), "check", cow], capture_output=True, text=True, timeout=300)
        self.assertIn(check.returncode, (0, 3), check.stdout)  # 3: clusters that nothing uses
        with Machine(cow, format="qcow2") as m:
            m.login()
            self.assertIn("recovering journal", m.run("cat /run/initramfs/fsck.log"))
            self.assertGreater(int(m.run("ls data | wc -l")), 0)
            self.assertEqual(m.run("for f in data/??; do [ $(wc -l < $f) = 3001 ] || echo short $f; done").strip(), "")
            self.assertEqual(m.power_off(), 0)
        run(*emulator.command_named("qemu-img"), "check", "-q", "-r", "leaks", cow)
        self.is_clean_inside(cow)

    def test_under_stress(self):
        disk = self.raw()
        with Machine(disk, machine="virt,gic-version=3", cpus=4) as m:
            m.login()
            m.run("head -c 20000000 /dev/urandom > stone; sha256sum stone > sum")
            m.run("(while true; do cp stone copy; sync; echo 7 > /proc/sys/vm/drop_caches; cmp stone copy || echo differs >> bad; "
                  "done) > /dev/null 2>&1 &")
            m.send(f"stress-ng --verify --cpu 2 --vm 2 --vm-bytes 64M --hdd 1 --hdd-bytes 32M -t {STRESS}; echo status $?")
            until, digest = time.monotonic() + STRESS - 15, hashlib.sha256(bytes(5000000)).hexdigest()
            while True:  # a stream as long as that lasts
                self.assertEqual(m.ssh("cat | sha256sum", input="\0" * 5000000).split()[0], digest)
                if time.monotonic() > until:
                    break
            self.assertIn("status 0", m.until(PROMPT))
            self.assertEqual(m.run("cat bad; sha256sum -c sum").strip(), "cat: bad: No such file or directory\nstone: OK")
            self.assertEqual(m.run("dmesg | grep -i 'bug:\\|warning:\\|oops\\|stall\\|lockup\\|call trace\\|hung task'").strip(), "")
            self.assertEqual(m.power_off(), 0)
        self.is_clean(disk)


if __name__ == "__main__":
    tap.run_unittests()
