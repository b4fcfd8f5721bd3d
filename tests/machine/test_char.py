"""Character back ends: bytes go both ways through each, seen from the first UART."""

import os
import socket
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import qtest, tap  # noqa: E402

DR, FR = 0x9000000, 0x9000018


def soon(get, tries=200):
    """The first answer that is something."""
    for _ in range(tries):
        answer = get()
        if answer:
            return answer
        time.sleep(0.02)
    raise TimeoutError("nothing has come")


class Char(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = Path(scratch.name)

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
            with qtest.Machine("-serial", f"tcp:127.0.0.1:{server.getsockname()[1]}") as m:
                s, _ = server.accept()
                with s:
                    self.both_ways(m, s.fileno(), s.fileno())

    def test_much_output(self):
        data = bytes(range(256)) * 20
        with qtest.Machine(serial=True) as m:
            self.send(m, data)
            self.assertEqual(m.received(len(data)), data)


if __name__ == "__main__":
    tap.run_unittests()
