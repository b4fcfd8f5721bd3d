"""Networks that are a descriptor: frames go both ways through a stream, datagrams and an interface of the host."""

import hashlib
import os
import random
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
from lib import emulator, qtest, tap as results, virtio  # noqa: E402

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


def namespace(case):
    """Commands that run programs in a network namespace of their own."""
    name = f"lyre{os.getpid()}-{time.monotonic_ns()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        case.skipTest("no network namespaces")
    case.addCleanup(subprocess.run, ["ip", "netns", "del", name])
    return ["ip", "netns", "exec", name]


TAPS = os.geteuid() == 0 and shutil.which("ip") and os.path.exists("/dev/net/tun")


@unittest.skipUnless(TAPS and test_boot.distribution_kernel(), "no tap without root, or no linux-image-arm64")
class Taps(test_boot.Drivers):
    test_reads_and_writes = test_the_network = test_cards_after_a_reset = None  # not again

    def connected(self, netdev, card, *more):
        """A guest that speaks to the other end of its tap."""
        self.inside = namespace(self)
        self.command = [*self.inside, *emulator.command_named(qtest.PEER)]
        g = self.guest("-netdev", f"{netdev},id=n", "-device", f"virtio-net-pci,netdev=n,romfile={card}", *more)
        for command in ("ip link set eth0 up", "ip addr add 10.1.0.2/24 dev eth0"):
            self.assertEqual(g.run(command), [])
        return g

    def set_up(self):
        for command in ("ip addr add 10.1.0.1/24 dev tap0", "ip link set tap0 up"):
            subprocess.run([*self.inside, *command.split()], check=True)

    def serve(self, path):
        server = subprocess.Popen([*self.inside, sys.executable, "-m", "http.server", "-d", path, "-b", "10.1.0.1", "8000"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)

    def fetch(self, g, pipe=""):
        for _ in range(20):
            got = g.run(f"wget -q -O - http://10.1.0.1:8000/file {pipe} || sleep 1")
            if got and "  -" in got[0]:
                return got[0].split()[0]
        raise TimeoutError(f"no answer: {got}")

    def counts(self):
        """Of the host's end: bytes and packets from the guest, and to it."""
        names = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
        run = subprocess.run([*self.inside, "cat", *(f"/sys/class/net/tap0/statistics/{n}" for n in names)], check=True,
                             capture_output=True, text=True)
        return [int(x) for x in run.stdout.split()]

    def streams(self, netdev, card, *more):
        """Data both ways, unharmed; the mean size of a packet from the guest and to it."""
        data = random.Random(3).randbytes(4 << 20)
        (self.scratch / "file").write_bytes(data)
        want = hashlib.sha256(data).hexdigest()
        with self.connected(netdev, card, *more) as g:
            self.set_up()
            self.serve(self.scratch)
            before = self.counts()
            self.assertEqual(self.fetch(g, "| sha256sum"), want)
            g.run("wget -q -O /tmp/file http://10.1.0.1:8000/file")
            g.run("busybox httpd -h /tmp")
            program = "import urllib.request, hashlib; print(hashlib.sha256(urllib.request.urlopen('http://10.1.0.2/file').read()).hexdigest())"
            run = subprocess.run([*self.inside, sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
            self.assertEqual(run.stdout.split(), [want])
            after = self.counts()
            queues = g.run("for x in /sys/class/net/eth0/queues/rx-*; do echo $x; done")
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)
        moved = [y - x for x, y in zip(before, after)]
        return moved[0] / moved[1], moved[2] / moved[3], len(queues)

    def test_segments_that_are_not_cut(self):
        out, into, queues = self.streams("tap,ifname=tap0,script=no,downscript=no", "")
        self.assertTrue(out > 2500 and into > 2500 and queues == 1, (out, into, queues))

    def test_nothing_left_to_others(self):
        off = ",".join(f"{x}=off" for x in ("csum", "gso", "host_tso4", "host_tso6", "guest_csum", "guest_tso4", "guest_tso6", "mrg_rxbuf"))
        for netdev, card in (("tap,ifname=tap0,script=no,downscript=no", f",{off}"),
                             ("tap,ifname=tap0,script=no,downscript=no,vnet_hdr=off", ",disable-legacy=on")):
            out, into, _ = self.streams(netdev, card)
            self.assertTrue(out <= 1514 and into <= 1514, (out, into))

    def test_checksums_alone(self):
        """The host leaves them to a guest that does not want them: the card completes them."""
        out, into, _ = self.streams("tap,ifname=tap0,script=no,downscript=no", ",guest_tso4=off,guest_tso6=off,guest_csum=off")
        self.assertTrue(out > 2500 and into <= 1514, (out, into))

    def test_several_queues(self):
        out, into, queues = self.streams("tap,ifname=tap0,script=no,downscript=no,queues=4", ",mq=on", "-smp", "2")
        self.assertEqual(queues, 2)  # one for each CPU
        self.assertTrue(out > 2500 and into > 2500, (out, into))

    def test_scripts(self):
        up, down = self.scratch / "up", self.scratch / "down"
        up.write_text("#!/bin/sh\nip addr add 10.1.0.1/24 dev $1 && ip link set $1 up\n")
        down.write_text(f"#!/bin/sh\necho $1 > {self.scratch}/gone\n")
        for path in (up, down):
            path.chmod(0o755)
        (self.scratch / "file").write_text("by tap\n")
        with self.connected(f"tap,ifname=tap0,script={up},downscript={down}", "") as g:
            self.serve(self.scratch)
            self.assertEqual(self.fetch(g, "| sha256sum"), hashlib.sha256(b"by tap\n").hexdigest())
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)
        self.assertEqual((self.scratch / "gone").read_text(), "tap0\n")


# Answers each question about a name with 192.0.2.7.
RESOLVER = """import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 53))
print(flush=True)
while True:
    q, who = s.recvfrom(512)
    end = q.index(0, 12) + 5
    known = q[end - 4:end - 2] == b'\\0\\1'
    answer = b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4' + bytes((192, 0, 2, 7)) if known else b''
    s.sendto(q[:2] + b'\\x81\\x80\\0\\1' + bytes((0, known)) + bytes(4) + q[12:end] + answer, who)
"""


@unittest.skipUnless(TAPS and test_boot.distribution_kernel(), "no network namespace without root, or no linux-image-arm64")
class Services(test_boot.Drivers):
    """What the router in user mode does for its guest."""
    test_reads_and_writes = test_the_network = test_cards_after_a_reset = None  # not again

    def test_names_and_files(self):
        inside = namespace(self)
        settings = Path("/etc/netns") / inside[-1]
        settings.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, settings)
        (settings / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        resolver = subprocess.Popen([*inside, sys.executable, "-c", RESOLVER], stdout=subprocess.PIPE)
        self.addCleanup(resolver.wait)
        self.addCleanup(resolver.kill)
        self.addCleanup(resolver.stdout.close)
        resolver.stdout.readline()
        files = self.scratch / "files"
        files.mkdir()
        data = random.Random(4).randbytes(300000)
        (files / "kernel").write_bytes(data)
        self.command = [*inside, *emulator.command_named(qtest.PEER)]
        with self.guest("-netdev", f"user,id=n,tftp={files},bootfile=/kernel", "-device", "virtio-net-pci,netdev=n,romfile=") as g:
            for command in ("ip link set eth0 up", "ip addr add 10.0.2.15/24 dev eth0"):
                self.assertEqual(g.run(command), [])
            self.assertIn("192.0.2.7", " ".join(g.run("busybox nslookup some.example.org 10.0.2.3")))
            self.assertEqual(g.run("busybox tftp -g -r kernel -l /tmp/x 10.0.2.2"), [])
            self.assertEqual(g.run("sha256sum /tmp/x"), [hashlib.sha256(data).hexdigest() + "  /tmp/x"])
            self.assertNotEqual(g.run("busybox tftp -g -r ../secret -l /tmp/y 10.0.2.2"), [])
            told = " ".join(g.run("udhcpc -n -q -f -i eth0 -O bootfile -s /bin/busybox 2>&1; true"))
            self.assertIn("10.0.2.15", told)
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)


@unittest.skipUnless(TAPS, "no tap without root")
class Offers(unittest.TestCase):
    """What a card offers to its driver, by what its network and its properties say."""
    TAP = "tap,script=no,downscript=no"
    QUEUE_RESET = 1 << 40  # which is not there

    def setUp(self):
        self.inside = namespace(self)

    def offers(self, netdev, card, legacy, peer):
        with qtest.Machine("-global", f"virtio-mmio.force-legacy={'on' if legacy else 'off'}", "-netdev", f"{netdev},id=n",
                           "-device", f"virtio-net-device,netdev=n{card}", peer=peer, wrap=self.inside) as m:
            device = virtio.Device(m, legacy)
            config = [m.read("b", virtio.SLOT + 0x100 + i) for i in range(12)]
        present = 12 if device.offered & 1 << 3 else 10 if device.offered & 1 << 22 else 8
        return hex(device.offered & ~self.QUEUE_RESET), config[:present]

    @unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
    def test_as_the_peers(self):
        for netdev, card in (("user", ""), ("user", ",mq=on"), (self.TAP, ""), (f"{self.TAP},queues=3", ",mq=on"),
                             (f"{self.TAP},vnet_hdr=off", ""), (self.TAP, ",csum=off,guest_csum=off"), (self.TAP, ",gso=off,ctrl_vq=off"),
                             (self.TAP, ",mrg_rxbuf=off,host_mtu=1400,status=off,guest_tso4=off,host_tso6=off,host_ufo=off,guest_ecn=off")):
            for legacy in (True, False):
                self.assertEqual(*(self.offers(netdev, card, legacy, peer) for peer in (False, True)), (netdev, card, legacy))


class Refusals(unittest.TestCase):
    def test_each(self):
        for netdev, text in (("smoke,id=n", "'smoke' is not supported"), ("tap,id=n,script=/no/such", "script '/no/such'"), ("tap,id=n,vhost=on", "vhost=on is not supported"),
                             ("tap,id=n,queues=99", "'queues'"), ("tap,id=n,fd=3,ifname=x", "invalid with fd="), ("tap,id=n,fds=3:x", "no descriptor"),
                             ("bridge,id=n,br=br0,helper=/no/such", "helper '/no/such'"), ("bridge,id=n,helper=/bin/false", "failed for bridge 'br0'"), ("stream,id=n", "one address"),
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
