"""Networks without a guest: cards announce themselves, and the frames are looked for behind hubs, groups, and networks that
come and go."""

import socket
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import test_qmp  # noqa: E402
from lib import qtest, tap  # noqa: E402

MAC = bytes.fromhex("525400000042")
RARP = b"\xff" * 6 + MAC + b"\x80\x35\0\1\x08\0\6\4\0\3" + MAC + bytes(4) + MAC + bytes(4)
CARD = "virtio-net-pci,romfile=,mac=52:54:00:00:00:42,id=card"
ONCE = {"initial": 50, "max": 50, "rounds": 1, "step": 0}


class Networks(test_qmp.Case):
    def machine(self, *options):
        machine = qtest.Machine("-qmp", f"unix:{self.path}", *options)
        self.addCleanup(machine.__exit__)
        self.qmp = self.client()
        self.qmp.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        answer = self.qmp.ask(command, arguments=arguments)
        self.assertIn("return", answer, (command, answer))
        return answer["return"]

    def ear(self, address=("127.0.0.1", 0)):
        """A socket for datagrams, and its port."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.settimeout(20)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(address)
        return s, s.getsockname()[1]

    def hears(self, ear):
        """The announcement, which ends with what makes it as long as a frame must be."""
        self.ask("announce-self", **ONCE)
        self.assertEqual(ear.recv(2000), RARP + bytes(60 - len(RARP)))

    def dgram(self, port):
        probe, local = self.ear()
        probe.close()
        return {"type": "dgram", "local": {"type": "inet", "host": "127.0.0.1", "port": str(local)},
                "remote": {"type": "inet", "host": "127.0.0.1", "port": str(port)}}

    def test_one_hub(self):
        (first, port), (second, other) = self.ear(), self.ear()
        ends = []
        for i, p in enumerate((port, other)):
            d = self.dgram(p)
            ends += ["-netdev", f"dgram,id=d{i},local.type=inet,local.host=127.0.0.1,local.port={d['local']['port']},"
                     f"remote.type=inet,remote.host=127.0.0.1,remote.port={p}", "-netdev", f"hubport,id=p{i},hubid=3,netdev=d{i}"]
        self.machine(*ends, "-netdev", "hubport,id=n,hubid=3", "-device", f"{CARD},netdev=n")
        self.hears(first)
        self.assertEqual(second.recv(2000)[:6], b"\xff" * 6)

    def test_a_group(self):
        ear, port = self.ear(("", 0))
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                       struct.pack("4s4s", socket.inet_aton("239.7.8.9"), socket.inet_aton("127.0.0.1")))
        self.machine("-netdev", f"socket,id=n,mcast=239.7.8.9:{port},localaddr=127.0.0.1", "-device", f"{CARD},netdev=n")
        self.hears(ear)

    def test_networks_come_and_go(self):
        ear, port = self.ear()
        self.machine("-device", "pcie-root-port,id=rp,chassis=1")
        self.ask("netdev_add", id="n", **self.dgram(port))
        self.assertIn("Duplicate", self.qmp.ask("netdev_add", arguments={"id": "n", "type": "user"})["error"]["desc"])
        self.ask("device_add", driver="virtio-net-pci", bus="rp", netdev="n", mac="52:54:00:00:00:42", id="card")
        self.hears(ear)
        self.assertIn("error", self.qmp.ask("netdev_del", arguments={"id": "other"}))
        self.assertIn("error", self.qmp.ask("netdev_add", arguments={"id": "m", "type": "smoke"}))
        self.ask("netdev_add", id="u", type="user", hostfwd=[{"str": "tcp:127.0.0.1:0-:22"}])
        self.ask("netdev_del", id="u")

    def test_a_network_in_use_stays(self):
        self.machine("-netdev", "user,id=n", "-device", f"{CARD},netdev=n")
        self.assertIn("in use", self.qmp.ask("netdev_del", arguments={"id": "n"})["error"]["desc"])

    def test_announcements_end(self):
        ear, port = self.ear()
        d = self.dgram(port)
        self.machine("-netdev", f"dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port={d['local']['port']},"
                     f"remote.type=inet,remote.host=127.0.0.1,remote.port={port}", "-device", f"{CARD},netdev=n")
        self.ask("announce-self", initial=1, max=1, rounds=3, step=0, id="x")
        self.assertEqual({ear.recv(2000)[:12] for _ in range(3)}, {RARP[:12]})
        self.assertIn("error", self.qmp.ask("announce-self", arguments={**ONCE, "rounds": 5000}))


if __name__ == "__main__":
    tap.run_unittests()
