"""libvirt drives a machine: it probes what there is, starts a domain, stops it and sees it end. Its driver runs inside
virsh (qemu:///embed), so nothing of the host is touched."""

import os
import shutil
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


class Virsh:
    """One virsh, as libvirt's driver and its domains live as long as that."""

    def __init__(self, root):
        self.process = subprocess.Popen(["stdbuf", "-o0", "virsh", "-c", f"qemu:///embed?root={root}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ask(self, command):
        """What a command prints. It is printed back, too, with its quotes, behind what is left of the last prompt."""
        self.process.stdin.write(f"{command}\necho ---'done'---\n".encode())
        self.process.stdin.flush()
        out = b""
        while b"---done---" not in out:
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise EOFError(out)
            out += more
        return "\n".join(x for x in out.decode().splitlines() if x and not x.endswith(command) and "virsh #" not in x and "---" not in x)

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

    def power_off(self, console):
        """In the guest's shell."""
        fd = os.open(console, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(fd, b"\n")
            seen = b""
            while test_boot.PROMPT not in seen:
                seen += os.read(fd, 4096)
            os.write(fd, b"poweroff -f\n")
        finally:
            os.close(fd)


if __name__ == "__main__":
    tap.run_unittests()
