"""Networks that are a descriptor: frames go both ways through a stream, datagrams and an interface of the host."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from test_cli import run  # noqa: E402
from lib import emulator, qtest, tap as results  # noqa: E402

MAC = bytes.fromhex("020000000001")
ARP, IPV4 = 0x0806, 0x0800


class Host(threading.Thread):
    """Answers ARP for any address, and notes whom the guest then speaks to."""

    def __init__(self, receive, send):
        super().__init__(daemon=True)
        self.receive, self.reply = receive, send
        self.spoken = threading.Event()
        self.start()

    def run(self):
        while frame := self.receive():
            kind = struct.unpack_from(">H", frame, 12)[0]
            if kind == ARP and frame[21] == 1:
                sender, its, wanted = frame[22:28], frame[28:32], frame[38:42]
                self.reply(sender + MAC + frame[12:20] + b"\0\2" + MAC + wanted + sender + its)
            elif kind == IPV4 and frame[:6] == MAC:
                self.spoken.set()


class Frames:
    """A stream of frames, each behind its length."""

    def __init__(self, connection):
        self.file = connection.makefile("rwb", buffering=0)

    def receive(self):
        head = self.exactly(4)
        return head and self.exactly(int.from_bytes(head, "big"))

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.file.read(size - len(data))
            if not more:
                return b""
            data += more
        return data

    def send(self, frame):
        self.file.write(len(frame).to_bytes(4, "big") + frame)


@unittest.skipUnless(test_boot.distribution_kernel(), "no linux-image-arm64; scripts/fetch-debian gets it")
class Networks(test_boot.Drivers):
    test_reads_and_writes = test_the_network = None  # not again

    def card(self, netdev):
        return ["-netdev", f"{netdev},id=n", "-device", "virtio-net-pci,netdev=n,romfile="]

    def speak(self, g, host):
        for command in ("ip link set eth0 up", "ip addr add 10.1.0.2/24 dev eth0"):
            self.assertEqual(g.run(command), [])
        g.send("wget -q -O - http://10.1.0.1/")
        self.assertTrue(host.spoken.wait(g.seconds), "nothing has come from the guest")

    def test_what_is_behind_ports(self):
        """guestfwd= to a program and to a socket, and a port of the host that comes later."""
        path = f"{self.scratch}/line"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            threading.Thread(target=lambda: self.shout(listener.accept()[0]), daemon=True).start()
            monitor = f"{self.scratch}/monitor"
            with self.guest("-netdev", f"user,id=n,guestfwd=tcp:10.0.2.100:80-cmd:head -n 1,guestfwd=tcp:10.0.2.100:81-unix:{path}",
                            "-device", "virtio-net-pci,netdev=n,romfile=", "-monitor", f"unix:{monitor},server=on,wait=off") as g:
                for command in ("ip link set eth0 up", "ip addr add 10.0.2.15/24 dev eth0"):
                    self.assertEqual(g.run(command), [])
                self.assertEqual(g.run("echo hello program | nc 10.0.2.100 80"), ["hello program"])
                self.assertIn("HELLO LINE", g.run("(echo hello line | nc 10.0.2.100 81) & sleep 3; busybox killall nc"))
                with socket.socket(socket.AF_UNIX) as person, socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    port = probe.getsockname()[1]
                    probe.close()
                    person.connect(monitor)
                    person.sendall(f"hostfwd_add tcp:127.0.0.1:{port}-:7000\n".encode())
                    g.send("echo from inside | nc -l -p 7000")
                    self.assertEqual(self.first_bytes(port), b"from inside\n")
                g.shell()
                g.send("poweroff -f")
                self.assertEqual(g.end(), 0)

    @staticmethod
    def shout(connection):
        while data := connection.recv(100):
            connection.sendall(data.upper())

    @staticmethod
    def first_bytes(port):
        """What a port says, once somebody answers there."""
        for _ in range(100):
            time.sleep(0.1)
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
                    if got := s.recv(100):
                        return got
            except ConnectionError:
                pass
        return b""

    def test_a_stream(self):
        path = f"{self.scratch}/s"
        with self.guest(*self.card(f"stream,server=on,addr.type=unix,addr.path={path}")) as g, \
                socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            frames = Frames(s)
            self.speak(g, Host(frames.receive, frames.send))

    def test_a_stream_that_is_connected_to(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(60)
            with self.guest(*self.card(f"socket,connect=127.0.0.1:{server.getsockname()[1]}")) as g:
                s, _ = server.accept()
                with s:
                    frames = Frames(s)
                    self.speak(g, Host(frames.receive, frames.send))

    def test_datagrams(self):
        local, remote = (f"{self.scratch}/{x}" for x in ("local", "remote"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(remote)
            with self.guest(*self.card(f"dgram,local.type=unix,local.path={local},remote.type=unix,remote.path={remote}")) as g:
                self.speak(g, Host(lambda: s.recv(65536), lambda frame: s.sendto(frame, local)))

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip") and os.path.exists("/dev/net/tun"), "no tap without root")
    def test_a_tap(self):
        name = f"lyre{os.getpid()}"
        if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
            self.skipTest("no network namespaces")
        self.addCleanup(subprocess.run, ["ip", "netns", "del", name])
        (self.scratch / "file").write_text("by tap\n")
        inside = ["ip", "netns", "exec", name]
        self.command = [*inside, *emulator.command_named(qtest.PEER)]
        with self.guest(*self.card("tap,ifname=tap0,script=no,downscript=no")) as g:
            for command in ("ip addr add 10.1.0.1/24 dev tap0", "ip link set tap0 up"):
                subprocess.run([*inside, *command.split()], check=True)
            server = subprocess.Popen([*inside, sys.executable, "-m", "http.server", "-d", self.scratch, "-b", "10.1.0.1", "8000"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(server.wait)
            self.addCleanup(server.kill)
            for command in ("ip link set eth0 up", "ip addr add 10.1.0.2/24 dev eth0"):
                self.assertEqual(g.run(command), [])
            for _ in range(20):
                got = g.run("wget -q -O - http://10.1.0.1:8000/file || sleep 1")
                if got == ["by tap"]:
                    break
            self.assertEqual(got, ["by tap"])


class Refusals(unittest.TestCase):
    def test_each(self):
        for netdev, text in (("smoke,id=n", "'smoke' is not supported"), ("tap,id=n,script=/etc/up", "script=/etc/up is not supported"), ("stream,id=n", "one address"),
                             ("stream,id=n,server=on,addr.type=unix", "not complete"), ("dgram,id=n", "'local' is missing"),
                             ("dgram,id=n,local.type=inet,local.host=x,local.port=1", "no address of datagrams"),
                             ("stream,id=n,colour=red", "Invalid parameter 'colour'"),
                             ("socket,id=n,mcast=230.0.0.1:1,localaddr=x", "no address of an interface"), ("hubport,id=n,hubid=x", "hubid"),
                             ("socket,id=n,connect=unix:/no/such", "/no/such"), ("user,id=n,ifname=x", "Invalid parameter 'ifname'")):
            r = run("-M", "virt", "-display", "none", "-kernel", "x", "-netdev", netdev)
            self.assertEqual(r.returncode, 1, netdev)
            self.assertIn(text, r.stderr)


if __name__ == "__main__":
    results.run_unittests()
