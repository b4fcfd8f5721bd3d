"""Character back ends: bytes go both ways through each, seen from the first UART."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_qmp  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

DR, FR = 0x9000000, 0x9000018


def soon(get, tries=200):
    """The first answer that is something."""
    for _ in range(tries):
        answer = get()
        if answer:
            return answer
        time.sleep(0.02)
    raise TimeoutError("nothing has come")


class Lines:
    """Bytes through the first UART."""

    def send(self, m, data):
        for c in data:
            m.writel(DR, c)

    def received(self, m):
        soon(lambda: not m.readl(FR) & 0x10)
        return chr(m.readl(DR) & 0xff)

    def both_ways(self, m, fd_in, fd_out):
        os.set_blocking(fd_in, False)

        def read():
            try:
                return os.read(fd_in, 100)
            except BlockingIOError:
                return b""
        self.send(m, b"A")
        self.assertEqual(soon(read), b"A")
        os.write(fd_out, b"Q")
        self.assertEqual(self.received(m), "Q")


class Char(unittest.TestCase, Lines):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = Path(scratch.name)

    def test_pty(self):
        with qtest.Machine("-serial", "pty") as m:
            line = soon(lambda: [x for x in (m.path / "log").read_text().splitlines() if "redirected to" in x])[0]
            fd = os.open(line.split("redirected to ")[1].split()[0], os.O_RDWR | os.O_NOCTTY)
            self.addCleanup(os.close, fd)
            self.both_ways(m, fd, fd)

    def test_pipe(self):
        for name in ("p.in", "p.out"):
            os.mkfifo(self.path / name)
        with qtest.Machine("-serial", f"pipe:{self.path}/p") as m:
            m.ask("endianness")
            out, into = (os.open(self.path / name, os.O_RDWR) for name in ("p.out", "p.in"))
            self.addCleanup(os.close, out)
            self.addCleanup(os.close, into)
            self.both_ways(m, out, into)

    def test_file(self):
        for append, want in (("off", b"xy"), ("on", b"xyxy")):
            with qtest.Machine("-chardev", f"file,id=f,path={self.path}/f,append={append}", "-serial", "chardev:f") as m:
                self.send(m, b"xy")
            self.assertEqual((self.path / "f").read_bytes(), want)

    def test_a_socket_serves_one_after_the_other(self):
        with qtest.Machine("-serial", f"unix:{self.path}/s,server=on,wait=off") as m:
            m.ask("endianness")  # it is made
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(f"{self.path}/s")
                    s.send(b"x")  # when it has arrived the line is connected
                    self.assertEqual(self.received(m), "x")
                    self.both_ways(m, s.fileno(), s.fileno())
        self.assertFalse((self.path / "s").exists())

    def test_a_socket_over_tcp(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            with qtest.Machine("-serial", f"tcp:127.0.0.1:{server.getsockname()[1]},nodelay") as m:
                s, _ = server.accept()
                with s:
                    self.both_ways(m, s.fileno(), s.fileno())

    def test_a_log(self):
        for append, want in (("off", b"xy"), ("on", b"xyxy")):
            with qtest.Machine("-chardev", f"socket,id=s,path={self.path}/s,server=on,wait=off,logfile={self.path}/log,logappend={append}",
                               "-serial", "chardev:s") as m:
                self.send(m, b"xy")  # nobody is connected
            self.assertEqual((self.path / "log").read_bytes(), want)

    def test_a_connection_that_comes_back(self):
        with qtest.Machine("-chardev", f"socket,id=s,path={self.path}/s,reconnect=1", "-serial", "chardev:s") as m:
            m.ask("endianness")  # it is there without anybody to speak to
            for _ in range(2):
                with socket.socket(socket.AF_UNIX) as server:
                    server.bind(f"{self.path}/s")
                    server.listen(1)
                    server.settimeout(30)
                    s, _ = server.accept()
                    with s:
                        s.send(b"x")  # when it has arrived the line is connected
                        self.assertEqual(self.received(m), "x")
                        self.both_ways(m, s.fileno(), s.fileno())
                (self.path / "s").unlink()

    def test_who_does_not_answer_keeps_nobody(self):
        """A listener whose queue is full, so that connect() waits: the machine goes on, and ends."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{self.path}/s")
            server.listen(0)
            first = socket.socket(socket.AF_UNIX)
            self.addCleanup(first.close)
            first.connect(f"{self.path}/s")
            with qtest.Machine("-chardev", f"socket,id=s,path={self.path}/s,reconnect=1", "-serial", "chardev:s") as m:
                for _ in range(3):
                    m.ask("endianness")
                server.accept()[0].close()  # now there is a place in the queue
                s, _ = server.accept()
                with s:
                    s.send(b"x")
                    self.assertEqual(self.received(m), "x")

    def test_telnet(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with qtest.Machine("-serial", f"telnet:127.0.0.1:{port},server=on,wait=off") as m:
            m.ask("endianness")
            with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
                exactly = s.makefile("rb").read
                greeting = exactly(12)
                self.assertEqual(greeting, b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00")
                # Options, one of them in two pieces, and a subnegotiation say nothing to the line; a doubled byte is one.
                for piece in (b"\xff\xfd\x01\xff", b"\xfb\x03a\xff\xfa\x18\x00\xff\xffx\xff\xf0b", b"\xff\xffc"):
                    s.sendall(piece)
                    time.sleep(0.05)
                self.assertEqual([self.received(m) for _ in range(4)], ["a", "b", "\xff", "c"])
                self.send(m, b"1\xff2")
                self.assertEqual(exactly(4), b"1\xff\xff2")

    def test_refusals(self):
        for chardev, text in ((f"socket,id=s,path={self.path}/s,server=on,wait=off,reconnect=1", "'reconnect' option is incompatible"),
                              (f"socket,id=s,path={self.path}/s,reconnect=soon", "Parameter 'reconnect' expects"),
                              (f"null,id=s,logfile={self.path}/no/such", "Unable to open logfile")):
            run = subprocess.run([*emulator.command_named(qtest.PEER), "-M", "virt", "-display", "none", "-chardev", chardev],
                                 capture_output=True, text=True, timeout=60)
            self.assertEqual((run.returncode, text in run.stderr), (1, True), run.stderr)

    def test_much_output(self):
        data = bytes(range(256)) * 20
        with qtest.Machine(serial=True) as m:
            self.send(m, data)
            self.assertEqual(m.received(len(data)), data)


class Changing(test_qmp.Case, Lines):
    """Character devices that come, go and change while the machine runs."""

    def machine(self, *options):
        m = qtest.Machine("-qmp", f"unix:{self.path}", *options)
        self.addCleanup(m.__exit__)
        self.qmp = self.client()
        self.qmp.ask("qmp_capabilities")
        return m

    def order(self, command, **arguments):
        answer = self.qmp.ask(command, arguments=arguments)
        return answer["return"] if "return" in answer else answer["error"]["desc"]

    def labels(self):
        return {c["label"]: c["filename"] for c in self.qmp.ask("query-chardev")["return"]}

    def listener_at(self, path):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.bind(path)
        s.listen(1)
        s.settimeout(30)
        return s

    def unix(self, path, **more):
        return {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": path}}, **more}}

    def test_they_come_and_go(self):
        self.machine()
        for kind, data in (("null", {}), ("file", {"out": f"{self.path}.f"}), ("pty", {}),
                           ("socket", self.unix(f"{self.path}.s", wait=False)["data"]),
                           ("socket", {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}})):
            made = self.order("chardev-add", id="c", backend={"type": kind, "data": data})
            self.assertEqual(self.labels()["c"].startswith("pty:" + made["pty"] if kind == "pty" else ""), True)
            self.assertIn("already exists", self.order("chardev-add", id="c", backend={"type": "null", "data": {}}))
            self.assertEqual(self.order("chardev-remove", id="c"), {})
            self.assertNotIn("c", self.labels())
        self.assertIn("not found", self.order("chardev-remove", id="c"))
        self.assertFalse(Path(f"{self.path}.s").exists())
        for backend, text in ((self.unix(f"{self.path}.none", server=False), "Failed to connect"),
                              ({"type": "file", "data": {"out": "/no/such/file"}}, "Failed to add chardev 'c'"),
                              (self.unix(f"{self.path}.s", reconnect=1), "'reconnect' option is incompatible"),
                              ({"type": "mux", "data": {"chardev": "x"}}, "does not accept value 'mux'")):
            self.assertIn(text, self.order("chardev-add", id="c", backend=backend))
        self.assertNotIn("c", self.labels())

    def test_another_end(self):
        m = self.machine("-serial", f"unix:{self.path}.1,server=on,wait=off")
        first = socket.socket(socket.AF_UNIX)
        self.addCleanup(first.close)
        first.connect(f"{self.path}.1")
        first.send(b"x")
        self.assertEqual(self.received(m), "x")
        second = self.listener_at(f"{self.path}.2")
        self.assertEqual(self.order("chardev-remove", id="serial0"), "Chardev 'serial0' is busy")
        self.assertIn("cannot open", self.order("chardev-change", id="serial0", backend={"type": "file", "data": {"out": "/no/x"}}))
        self.both_ways(m, first.fileno(), first.fileno())  # nothing has changed
        self.assertEqual(self.order("chardev-change", id="serial0", backend=self.unix(f"{self.path}.2", server=False)), {})
        s, _ = second.accept()
        self.addCleanup(s.close)
        first.settimeout(30)
        self.assertEqual(first.recv(1), b"")
        self.both_ways(m, s.fileno(), s.fileno())
        self.assertEqual(self.labels()["serial0"], "unix:")

    def test_a_port_of_a_device_that_came_later(self):
        """It was there without a user, and what has waited arrives when it has one."""
        self.machine("-device", "virtio-serial-pci")
        self.order("chardev-add", id="c", backend=self.unix(f"{self.path}.s", wait=False))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.path}.s")
            self.assertEqual(self.order("device_add", driver="virtserialport", chardev="c", id="p"), {})
            soon(lambda: [c for c in self.qmp.ask("query-chardev")["return"] if c["label"] == "c" and c["frontend-open"]])
            self.assertEqual(self.order("chardev-remove", id="c"), "Chardev 'c' is busy")

    def test_by_people(self):
        self.machine()
        monitor = lambda line: self.order("human-monitor-command", **{"command-line": line})  # noqa: E731
        self.assertEqual(monitor(f"chardev-add file,id=c,path={self.path}.f"), "")
        self.assertEqual(monitor("chardev-change c null"), "")
        self.assertEqual(self.labels()["c"], "null")
        self.assertEqual(monitor("chardev-send-break c"), "")
        self.assertEqual(monitor("chardev-remove c"), "")
        self.assertIn("Error: Chardev 'c' not found", monitor("chardev-remove c"))


if __name__ == "__main__":
    tap.run_unittests()
