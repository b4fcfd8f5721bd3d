"""The human monitor: what commands say, held against Debian's QEMU; and a person who types."""

import re
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from test_qmp import Case  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

# Commands whose output is the same in both, on a machine that has not begun. Memory holds "words".
SAME = ["info status", "info name", "info uuid", "info kvm", "info memory_size_summary", "info history",
        "stop foo", "foo", "info foo", "help foo", "help stop", "help xp", "help quit", "cpu 5", "info registers 7",
        "p 1+2*3", "p /x 0x10+1", "p /o 15", "p /c 65", "p /u -1", "p /d -1", "p -1", "p ~1", "p (1+2)*3", "p 7%4", "p 1|6&3",
        "p 5^1", "p 'a'", "p 1/0", "p 1 +", "p $nothing", "p (1", "print 4", "gpa2hva 0x9000000", "gva2gpa 0x44000000",
        "xp", "xp /q 0", "xp /4xw 0x44000000", "xp /3xg 0x44000000", "xp /4dh 0x44000000", "xp /3uw 0x44000000",
        "xp /3ug 0x44000000", "xp /2ob 0x44000000", "xp /4c 0x44000000", "xp /9ub 0x44000000", "xp 0x44000000",
        "xp /4xh 0x44000000", "xp /4xw 0x9000fe0", "xp /4xw 0x20000000000", "x /4xb 0x44000000", "log", "quit now",
        "system_wakeup", "info registers", "info pci", "info balloon", "balloon", "balloon x", "balloon 64", "set_link foo off",
        "set_link foo", "set_link foo maybe", "block_resize foo 1M", "block_resize foo x", "info irq", "info pic", "help info irq", "help info pic", "help info roms", "device_del foo",
        "device_add foo", "device_add pl011", "device_add virtio-rng-pci,id=x", "help balloon", "help set_link",
        "help block_resize", "help device_add", "help info pci"]
WORDS = [0xd503201f, 0x910003fd, 0x0a0d0927, 0x805c4100, 0xffffffff, 0, 0x12345678, 0x9abcdef0]


class Texts(Case):
    def outputs(self, commands, peer, *options):
        with qtest.Machine("-name", "guest=thing", "-qmp", f"unix:{self.path}", *options, *([] if peer else ["-S"]),
                           peer=peer) as m:
            q = self.client()
            q.ask("qmp_capabilities")
            for i, word in enumerate(WORDS):
                m.writel(0x44000000 + 4 * i, word)
            return {c: q.ask("human-monitor-command", arguments={"command-line": c})["return"] for c in commands}

    @unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
    def test_the_same_as_the_peers(self):
        commands = [c for c in SAME if not c.startswith(("info registers", "cpu", "x ", "gva"))]  # those need a CPU
        mine, theirs = (self.outputs(commands, peer) for peer in (False, True))
        for c in commands:
            self.assertEqual(mine[c], theirs[c], c)

    @unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
    def test_memory_trees(self):
        """Each range that ours shows is one of the peer's."""
        shown = re.compile(r"([0-9a-f]{16}-[0-9a-f]{16}) .*: (.*?)\r")
        for command in ("info mtree", "info mtree -f"):
            mine, theirs = ([(at, name.rstrip("01")) for at, name in shown.findall(self.outputs([command], peer)[command])]
                            for peer in (False, True))  # which numbers the banks of flash
            self.assertGreater(len(mine), 35)
            # The peer has the configuration space of PCI behind an alias.
            self.assertEqual([x for x in mine if x not in theirs and x[1] != "pcie-mmcfg-mmio"], [], command)

    @unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
    def test_back_ends(self):
        with tempfile.TemporaryDirectory() as scratch:
            image = f"{scratch}/disk"
            for name in (image, image + "2"):
                Path(name).write_bytes(bytes(1 << 20))
            options = ["-drive", f"if=none,id=d,file={image},format=raw,cache=none", "-device", "virtio-blk-device,drive=d,id=disk",
                       "-drive", f"if=none,id=e,file={image}2,format=raw,readonly=on", "-device", "virtio-blk-device,drive=e",
                       "-chardev", "null,id=n", "-chardev", f"file,id=f,path={scratch}/f",
                       "-chardev", f"socket,id=s,path={scratch}/s,server=on,wait=off", "-m", "256"]
            commands = ["info block", "info chardev", "info memory_size_summary"]
            mine, theirs = (self.outputs(commands, peer, *options) for peer in (False, True))
        self.assertEqual(mine["info memory_size_summary"], theirs["info memory_size_summary"])
        blocks = [re.sub(r" \(#block\d+\)", "", t["info block"]).split("\r\n\r\n") for t in (mine, theirs)]
        for disk in blocks[0]:
            self.assertIn(disk.strip(), [x.strip() for x in blocks[1]])
        self.assertEqual(len(blocks[0]), 2)
        for line in mine["info chardev"].splitlines():
            if not line.startswith(("qtest", "compat")):
                self.assertIn(line, theirs["info chardev"].splitlines())

    @unittest.skipUnless(test_boot.KERNEL and test_boot.KERNEL.exists() and qtest.peer(), "no kernel, or no peer")
    def test_what_was_put_into_memory(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x" * 1000)
            file.flush()
            options = ["-m", "512", "-kernel", test_boot.KERNEL.resolve(), "-initrd", file.name, "-device", f"loader,file={file.name},addr=0x58000000"]
            shown = re.compile(r'addr=(\w+) .* name="(.*)"\r')
            ours, theirs = ({name: int(at, 16) for at, name in shown.findall(self.roms(peer, *options))} for peer in (False, True))
        self.assertEqual(len(ours), 3)  # the initial file system and what follows it have one name
        self.assertEqual({x: ours[x] for x in ours if x != "dtb"}, {x: theirs[x] for x in ours if x != "dtb"})

    def roms(self, peer, *options):
        command = [qtest.PEER] if peer else emulator.command_named(qtest.PEER)
        run = subprocess.Popen([*command, "-M", "virt", "-cpu", "cortex-a57", "-display", "none", "-nic", "none", "-S", "-qmp",
                                f"unix:{self.path}", *options])
        try:
            q = self.client()
            q.ask("qmp_capabilities")
            return q.ask("human-monitor-command", arguments={"command-line": "info roms"})["return"]
        finally:
            run.kill()
            run.wait()

    def test_disassembly(self):
        text = self.outputs(["xp /2i 0x44000000"], False)["xp /2i 0x44000000"].split("\r\n")
        self.assertEqual([x.rstrip() for x in text[:2]], ["0x44000000:  d503201f  nop", "0x44000004:  910003fd  mov      x29, sp"])

    def test_what_there_is(self):
        out = self.outputs(["help", "info", "info qtree", "info qom-tree", "info qom-tree /nope", "info version", "log foo"], False)
        self.assertIn("stop|s  -- stop emulation", out["help"])
        self.assertIn("info registers [-a|vcpu] -- ", out["info"])
        self.assertIn("dev: pl011, id \"\"", out["info qtree"])
        self.assertIn("    mmio 0000000009000000/0000000000001000", out["info qtree"])
        self.assertIn("  /unattached (container)", out["info qom-tree"])
        self.assertEqual(out["info qom-tree /nope"], "Path '/nope' could not be resolved.\r\n")
        self.assertIn("Lyrebird", out["info version"])
        self.assertIn("guest_errors", out["log foo"])

    def test_memory_into_files(self):
        with tempfile.TemporaryDirectory() as scratch:
            self.outputs([f"pmemsave 0x44000000 16 \"{scratch}/m\""], False)
            words = Path(f"{scratch}/m").read_bytes()
            self.assertEqual([int.from_bytes(words[i:i + 4], "little") for i in range(0, 16, 4)], WORDS[:4])


class Person(unittest.TestCase):
    """A monitor on a socket, with an editor."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        path = f"{scratch.name}/monitor"
        self.machine = qtest.Machine("-monitor", f"unix:{path},server=on,wait=off")
        self.addCleanup(self.machine.__exit__)
        self.machine.ask("endianness")
        self.socket = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.until(b"(qemu) ")
        self.type(b"p /d 0")  # numbers are shown so from now on

    def until(self, end):
        got = b""
        while not got.endswith(end):
            more = self.socket.recv(4096)
            if not more:
                raise EOFError(got)
            got += more
        return got

    def type(self, keys):
        """What a line's command says, without the line."""
        self.socket.sendall(keys + b"\r")
        return self.until(b"\r\n(qemu) ").decode().split("\r\n", 1)[1]

    def test_editing(self):
        self.assertEqual(self.type(b"p 1+2"), "3\r\n(qemu) ")
        for keys in (b"p 1+2\x01\x05", b"p 12\x1b[D+\x05", b"p 1+3\x7f2", b"p 5 junk\x17\x171+2", b"rubbish\x15p 1+2",
                     b"1+2\x01p ", b"p 1+29\x1b[D\x04", b"p 1+2 9\x1b[D\x1b[D\x0b", b"x 1+2\x1b[H\x1b[3~p"):
            self.assertEqual(self.type(keys), "3\r\n(qemu) ", keys)

    def test_history(self):
        self.type(b"p 11")
        self.type(b"p 22")
        self.assertEqual(self.type(b"p 22"), "22\r\n(qemu) ")
        self.assertEqual(self.type(b"\x1b[A"), "22\r\n(qemu) ")
        self.assertEqual(self.type(b"\x1b[A\x1b[A"), "11\r\n(qemu) ")
        self.assertEqual(self.type(b"\x10\x10\x0e"), "11\r\n(qemu) ")
        self.assertEqual(self.type(b"info history"), "0: 'p /d 0'\r\n1: 'p 11'\r\n2: 'p 22'\r\n3: 'p 11'\r\n4: 'info history'\r\n(qemu) ")

    def test_completion(self):
        self.assertIn("VM status", self.type(b"inf\tst\t"))
        self.socket.sendall(b"info q\t")
        self.until(b"qom-tree\r\nqtree\r\n(qemu) info q\x1b[K")

    def test_quit(self):
        self.socket.sendall(b"quit\r")
        self.assertEqual(self.machine.process.wait(timeout=30), 0)


@unittest.skipUnless(test_boot.KERNEL and test_boot.KERNEL.exists(), "no debian-installer-12-netboot-arm64")
class Running(unittest.TestCase):
    def test_behind_the_console(self):
        with test_boot.Guest("-cpu", "cortex-a57", "-m", "256", initrd=test_boot.small_system()) as g:
            g.shell()
            g.send_keys(b"\x01c")
            g.until(b"(qemu) ")
            g.send_keys(b"info registers\r")
            text = g.until(b"(qemu) ")
            self.assertRegex(text, r"PC=[0-9a-f]{16} X00=[0-9a-f]{16}")
            g.send_keys(b"x /1i $pc\r")
            self.assertRegex(g.until(b"(qemu) "), r"0x[0-9a-f]+:  [0-9a-f]{8}  \w+")
            g.send_keys(b"stop\r")
            g.until(b"(qemu) ")
            g.send_keys(b"info status\r")
            self.assertIn("VM status: paused", g.until(b"(qemu) "))
            g.send_keys(b"c\r")
            g.until(b"(qemu) ")
            g.send_keys(b"\x01c")
            g.send("echo $((6 * 7))")
            self.assertIn("42", g.shell())


if __name__ == "__main__":
    tap.run_unittests()
