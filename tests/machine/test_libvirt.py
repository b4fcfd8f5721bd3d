"""libvirt drives a machine: it probes what there is, starts a domain, stops it and sees it end. Its driver runs inside
virsh (qemu:///embed), so nothing of the host is touched."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

CONFIG = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
remember_owner = 0
namespaces = [ ]
stdio_handler = "file"
"""

DOMAIN = """<domain type='qemu'>
  <name>test</name>
  <memory unit='MiB'>256</memory>
  <vcpu>2</vcpu>
  <os><type arch='aarch64' machine='virt'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{scratch}/initrd</initrd>
    <cmdline>console=ttyAMA0 quiet rdinit=/bin/sh</cmdline></os>
  <cpu mode='custom' match='exact'><model>cortex-a57</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{scratch}/disk'/>
      <target dev='vda' bus='virtio'/><address type='virtio-mmio'/></disk>
    <controller type='usb' model='none'/>
    <console type='pty'/>
    <memballoon model='none'/>
    <video><model type='none'/></video>
  </devices>
</domain>
"""

# As virt-install makes it: everything on PCI, behind root ports.
USUAL_DOMAIN = """<domain type='qemu'>
  <name>usual</name>
  <metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
    <libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>
  <memory>393216</memory>
  <currentMemory>393216</currentMemory>
  <vcpu>2</vcpu>
  <os><type arch='aarch64' machine='virt'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{scratch}/initrd</initrd>
    <cmdline>console=ttyAMA0 quiet rdinit=/bin/sh</cmdline></os>
  <features><gic version='3'/></features>
  <cpu mode='custom' match='exact'><model>cortex-a57</model></cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{scratch}/disk'/>
      <target dev='vda' bus='virtio'/></disk>
    <controller type='usb' model='none'/>
    <controller type='pci' model='pcie-root'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <interface type='user'><mac address='52:54:00:00:00:21'/><model type='virtio'/></interface>
    <console type='pty'/>
    <channel type='unix'><source mode='bind' path='{scratch}/agent'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <video><model type='none'/></video>
  </devices>
</domain>
"""


class Console:
    """A shell behind a pty."""

    def __init__(self, path):
        self.fd = os.open(path.strip(), os.O_RDWR | os.O_NOCTTY)
        self.send("")

    def __enter__(self):
        return self

    def __exit__(self, *what):
        os.close(self.fd)

    def send(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def shell(self):
        seen = b""
        while test_boot.PROMPT not in seen:
            seen += os.read(self.fd, 4096)
        return seen.decode(errors="replace")

    def run(self, command):
        self.send(command)
        lines = self.shell().replace("\r", "").split("\n")
        return lines[1:-1]


class Virsh:
    """One virsh, as libvirt's driver and its domains live as long as that."""

    def __init__(self, root):
        self.process = subprocess.Popen(["stdbuf", "-o0", "virsh", "-c", f"qemu:///embed?root={root}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(self, command):
        """What a command prints. It is printed back, too, with its quotes, behind what is left of the last prompt; part of the
        next one may follow."""
        self.process.stdin.write(f"{command}\necho ---'done'---\n".encode())
        self.process.stdin.flush()
        out = b""
        while b"---done---" not in out:
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise EOFError(out)
            out += more
        text = out.decode().partition("---done---")[0]
        return "\n".join(x for x in text.splitlines() if x and not x.endswith(command) and "virsh #" not in x and "---" not in x)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@unittest.skipUnless(shutil.which("virsh"), "no virsh; scripts/setup check installs it")
@unittest.skipUnless(os.geteuid() == 0, "libvirt's driver in virsh is for root here")
class Libvirt(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        os.chmod(self.scratch, 0o755)
        (self.scratch / "root/etc").mkdir(parents=True)
        (self.scratch / "root/etc/qemu.conf").write_text(CONFIG)
        self.emulator = emulator.command_named(qtest.PEER)[0]
        self.virsh = Virsh(self.scratch / "root")
        self.addCleanup(self.virsh.close)

    def test_capabilities(self):
        text = self.virsh.ask(f"domcapabilities --emulatorbin {self.emulator} --arch aarch64 --machine virt --virttype qemu")
        for part in ("<machine>virt-7.2</machine>", "<vcpu max='16'/>", "cortex-a57</model>", "<arch>aarch64</arch>"):
            self.assertIn(part, text)

    @unittest.skipUnless(test_boot.KERNEL and test_boot.KERNEL.exists(), "no debian-installer-12-netboot-arm64")
    def test_a_domain(self):
        (self.scratch / "initrd").write_bytes(test_boot.small_system())
        (self.scratch / "disk").write_bytes(bytes(1 << 20))
        (self.scratch / "domain.xml").write_text(DOMAIN.format(kernel=test_boot.KERNEL.resolve(), scratch=self.scratch,
                                                               emulator=self.emulator))
        ask = self.virsh.ask
        self.addCleanup(ask, "destroy test")
        self.assertIn("created", ask(f"create {self.scratch}/domain.xml"))
        self.assertEqual(ask("domstate test"), "running")
        self.assertIn("2", ask("vcpucount test --live"))
        self.assertIn("VM status: running", ask("qemu-monitor-command test --hmp info status"))
        self.assertIn(f"{self.scratch}/disk", ask("domblklist test"))
        ask("suspend test")
        self.assertEqual(ask("domstate test"), "paused")
        ask("resume test")
        self.assertEqual(ask("domstate test"), "running")
        self.power_off(ask("ttyconsole test"))
        deadline = time.monotonic() + 60 * emulator.time_factor()
        while "failed" not in ask("domstate test") and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertIn("failed to get domain", ask("domstate test"))

    @unittest.skipUnless(test_boot.distribution_kernel(), "no linux-image-arm64; scripts/fetch-debian gets it")
    def test_the_usual_domain(self):
        drivers = test_boot.Drivers()
        drivers.more = ["virtio_balloon", "virtio_console", "virtio-rng"]
        drivers.setUp()
        self.addCleanup(drivers.doCleanups)
        (self.scratch / "initrd").write_bytes(drivers.system)
        subprocess.run([*emulator.command_named("qemu-img"), "create", "-q", "-f", "qcow2", self.scratch / "disk", "8M"], check=True)
        (self.scratch / "domain.xml").write_text(USUAL_DOMAIN.format(kernel=drivers.kernel.resolve(), scratch=self.scratch,
                                                                     emulator=self.emulator))
        ask = self.virsh.ask
        self.addCleanup(ask, "destroy usual")
        self.assertIn("created", ask(f"create {self.scratch}/domain.xml"))
        self.assertGreater(ask("dumpxml usual").count("model='pcie-root-port'"), 6)
        self.assertIn(f"{self.scratch}/disk", ask("domblklist usual"))
        with Console(ask("ttyconsole usual")) as guest:
            drivers.prepare(guest)
            self.assertEqual(guest.run("cat /sys/block/vda/size"), [str((8 << 20) // 512)])
            self.assertEqual(guest.run("cat /sys/class/net/eth0/address"), ["52:54:00:00:00:21"])
            self.assertEqual(guest.run("dd if=/dev/hwrng of=/dev/null bs=16 count=1 2>&1 | grep -c '1+0 records in'"), ["1"])
            self.assertEqual(guest.run("cat /sys/class/virtio-ports/vport*p1/name"), ["org.qemu.guest_agent.0"])
            with socket.socket(socket.AF_UNIX) as agent:
                agent.connect(f"{self.scratch}/agent")
                guest.send("p=/dev/$(basename /sys/class/virtio-ports/vport*p1); cat $p & echo to the agent > $p; wait")
                self.assertEqual(agent.recv(100), b"to the agent\n")
            self.wait_for(lambda: "available" in ask("dommemstat usual"))
            self.assertIn("actual 393216", ask("dommemstat usual"))
            ask("setmem usual 300M --live")
            self.wait_for(lambda: "actual 307200" in ask("dommemstat usual"))
            self.assertIn("rd_req", ask("domblkstat usual vda"))
            (self.scratch / "more").write_bytes(bytes(2 << 20))
            self.assertIn("attached", ask(f"attach-disk usual {self.scratch}/more vdb --targetbus virtio --live --subdriver raw"))
            self.wait_for(lambda: guest.run("echo $(cat /sys/block/vdb/size)") == ["4096"])
            self.assertIn("vdb", ask("domblklist usual"))
            self.assertIn("detached", ask("detach-disk usual vdb --live"))
            self.wait_for(lambda: "vdb" not in ask("domblklist usual"))
            guest.send("poweroff -f")
        self.wait_for(lambda: "failed" in ask("domstate usual"))

    def wait_for(self, holds):
        deadline = time.monotonic() + 60 * emulator.time_factor()
        while not holds():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)

    def power_off(self, console):
        with Console(console) as guest:
            guest.shell()
            guest.send("poweroff -f")


if __name__ == "__main__":
    tap.run_unittests()
