"""virtio's serial ports, driven without guest code; LYRE_TEST_PEER=1 runs it against Debian's QEMU."""

import os
import socket
import struct
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import pci, qtest, tap, virtio  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))
DEVICE_READY, PORT_ADD, PORT_READY, CONSOLE_PORT, PORT_OPEN, PORT_NAME = 0, 1, 3, 4, 6, 7
CONTROL_RX, CONTROL_TX, CHANNEL_RX, CHANNEL_TX = 2, 3, 4, 5
SIZE = 16


class Queue:
    """One queue of a device, with a page for each of its buffers."""

    def __init__(self, device, number):
        self.d, self.number, self.next, self.seen = device, number, 0, 0
        self.base = virtio.RAM + 0x100000 * (number + 1)
        device.m.ask(f"memset {self.base:#x} 0x3000 0")
        device.set("queue", number)
        device.set("queue_num", SIZE)
        for i, name in enumerate(("desc", "avail", "used")):
            device.set(name, self.base + 0x1000 * i)
            device.set(name, 0, high=4)
        device.set("ready", 1)

    def add(self, out=b"", size=0):
        """A buffer with what is to be read, or room for so many bytes."""
        i = self.next % SIZE
        at = self.base + 0x4000 + 0x1000 * i
        if out:
            self.d.write(at, out)
        self.d.put_desc(self.base, i, at, len(out) or size, 0 if out else virtio.WRITE, 0)
        self.d.m.write("w", self.base + 0x1000 + 4 + 2 * i, i)
        self.next += 1
        self.d.m.write("w", self.base + 0x1000 + 2, self.next)
        self.d.m.write("w", self.d.base + 0x3000 + 4 * self.number, self.number)

    def take(self, tries=2000):
        """What the device has written to the next buffer; None: it has not."""
        for _ in range(tries):
            if self.d.m.read("w", self.base + 0x2000 + 2) != self.seen & 0xffff:
                number, length = struct.unpack("<II", self.d.read(self.base + 0x2000 + 4 + 8 * (self.seen % SIZE), 8))
                self.seen += 1
                return self.d.read(self.base + 0x4000 + 0x1000 * number, length) if length else b""
        return None


class Ports(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = Path(scratch.name) / "channel"
        self.host = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.host.close)
        self.host.bind(str(self.path))
        self.host.listen(1)
        self.host.settimeout(30)

    def machine(self):
        return qtest.Machine("-device", "virtio-serial-pci", "-device", "virtconsole", "-chardev",
                             f"socket,id=c,path={self.path}", "-device", "virtserialport,chardev=c,name=org.lyrebird.0", peer=PEER)

    def start(self, m):
        """The driver's side of the control queues, which is ready."""
        self.end, _ = self.host.accept()
        self.addCleanup(self.end.close)
        self.end.settimeout(30)
        d = pci.Device(m, legacy=False, features=1 << virtio.VERSION_1 | 1 << 1)
        self.heard, self.say = Queue(d, CONTROL_RX), Queue(d, CONTROL_TX)
        for _ in range(SIZE):
            self.heard.add(size=64)
        self.control(0, DEVICE_READY, 1)
        return d

    def control(self, port, event, value):
        self.say.add(struct.pack("<IHH", port, event, value))
        self.assertIsNotNone(self.say.take())

    def messages(self, count):
        got = [self.heard.take() for _ in range(count)]
        self.assertNotIn(None, got)
        return sorted((*struct.unpack("<IHH", x[:8]), x[8:].rstrip(b"\0")) for x in got)

    def test_what_ports_say(self):
        with self.machine() as m:
            d = self.start(m)
            self.assertEqual(d.config("l", 4), 31)
            self.assertEqual(m.read("w", d.base + 0x12), 64)
            self.assertEqual(self.messages(2), [(0, PORT_ADD, 1, b""), (1, PORT_ADD, 1, b"")])
            self.control(1, PORT_READY, 1)
            self.assertEqual(self.messages(2), [(1, PORT_OPEN, 1, b""), (1, PORT_NAME, 1, b"org.lyrebird.0")])
            self.control(0, PORT_READY, 1)
            self.assertEqual(self.messages(1)[0][:2], (0, CONSOLE_PORT))

    def test_to_the_host(self):
        with self.machine() as m:
            d = self.start(m)
            self.control(1, PORT_READY, 1)
            send = Queue(d, CHANNEL_TX)
            send.add(b"to the host")
            self.assertEqual(self.end.recv(100), b"to the host")
            self.assertIsNotNone(send.take())

    @unittest.skipIf(PEER, "it takes nothing while its CPU stands still")
    def test_to_the_guest(self):
        with self.machine() as m:
            d = self.start(m)
            self.control(1, PORT_READY, 1)
            receive = Queue(d, CHANNEL_RX)
            self.end.sendall(b"to the guest")
            receive.add(size=5)
            self.assertIsNone(receive.take(tries=50))  # the port is closed
            self.control(1, PORT_OPEN, 1)
            receive.add(size=100)
            self.assertEqual((receive.take(), receive.take()), (b"to th", b"e guest"))

    @unittest.skipIf(PEER, "it looks at nothing while its CPU stands still")
    def test_the_host_goes_away(self):
        with self.machine() as m:
            self.start(m)
            self.messages(2)
            self.control(1, PORT_READY, 1)
            self.messages(2)
            self.control(1, PORT_OPEN, 1)
            self.end.close()
            self.assertEqual(self.messages(1), [(1, PORT_OPEN, 0, b"")])


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
