"""Devices that come and go while a guest runs: cards in the slots of PCI Express ports, by QMP."""

import hashlib
import os
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import test_boot  # noqa: E402
import test_qmp  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))


class Guests(test_boot.Drivers):
    """Each removal takes six seconds: the guest's driver waits when the button is pressed, and after it has cut the power."""
    command = [qtest.peer()] if PEER else None

    # What the other class tests.
    test_reads_and_writes = test_cards_after_a_reset = test_the_network = None

    def start(self, *options):
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(str(self.scratch / "qmp"))
        self.listener.listen(1)
        self.listener.settimeout(60)
        disk = self.scratch / "disk"
        disk.write_bytes(b"\7" * (1 << 20))
        g = self.guest("-nic", "none", "-qmp", f"unix:{self.scratch}/qmp", "-device", "pcie-root-port,id=rp,chassis=1,slot=3",
                       "-device", "pcie-root-port,id=rq,chassis=2,slot=4", *options)
        self.qmp = test_qmp.Client(self.listener)
        self.addCleanup(self.qmp.close)
        self.ask("qmp_capabilities")
        return g

    def ask(self, command, **arguments):
        answer = self.qmp.ask(command, arguments=arguments) if arguments else self.qmp.ask(command)
        self.assertIn("return", answer, (command, arguments))
        return answer["return"]

    def fails(self, command, **arguments):
        return self.qmp.ask(command, arguments=arguments)["error"]["desc"]

    def wait_for(self, g, command, want):
        for _ in range(300):
            got = g.run(command)
            if got == want:
                return
            time.sleep(0.1)
        self.fail(f"{command}: {got}")

    def add_disk(self):
        self.ask("blockdev-add", **{"driver": "raw", "node-name": "image",
                                    "file": {"driver": "file", "filename": str(self.scratch / "disk")}})
        self.ask("device_add", driver="virtio-blk-pci", id="late", bus="rp", drive="image", serial="late-comer")

    def take_out(self, name):
        self.qmp.events.clear()
        self.ask("device_del", id=name)
        while True:
            self.qmp.until("DEVICE_DELETED")
            if self.qmp.data["DEVICE_DELETED"].get("device") == name:
                return
            self.qmp.events.clear()

    def test_a_disk_comes_and_goes_twice(self):
        with self.start() as g:
            digest = hashlib.sha256(b"\7" * (1 << 20)).hexdigest() + "  /dev/vda"
            self.assertEqual(g.run("cat /sys/block/vda/size")[-1:], ["cat: can't open '/sys/block/vda/size': No such file or directory"])
            for _ in range(2):
                self.add_disk()
                self.wait_for(g, "echo $(cat /sys/block/vda/serial)", ["late-comer"])
                self.assertEqual(g.run("sha256sum /dev/vda"), [digest])
                self.assertIn("Duplicate", self.fails("device_add", driver="virtio-rng-pci", id="late", bus="rq"))
                self.assertIn("in use", self.fails("blockdev-del", **{"node-name": "image"}))
                self.assertIn("in use", self.fails("device_add", driver="virtio-blk-pci", id="too", bus="rq", drive="image"))
                self.assertEqual([(d["qdev"], d["inserted"]["node-name"]) for d in self.ask("query-block")],
                                 [("/machine/peripheral/late/virtio-backend", "image")])
                self.assertGreaterEqual(self.ask("query-blockstats")[0]["stats"]["rd_bytes"], 1 << 20)
                self.assertIn("Failed to get \"write\" lock", self.write_to_it())
                self.take_out("late")
                self.wait_for(g, "cat /sys/block/vda/size", ["cat: can't open '/sys/block/vda/size': No such file or directory"])
                self.assertIn("not found", self.fails("device_del", id="late"))
                self.assertEqual(self.write_to_it(), "")
                self.assertEqual(self.ask("query-block"), [])
                self.ask("blockdev-del", **{"node-name": "image"})
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)

    def write_to_it(self):
        """What another program is told that writes to the disk's file."""
        run = subprocess.run([*emulator.command_named("qemu-img"), "resize", "-q", "-f", "raw", self.scratch / "disk", "1M"],
                             capture_output=True, text=True, timeout=60)
        return run.stderr

    def test_a_disk_that_is_read_while_it_goes(self):
        with self.start() as g:
            self.add_disk()
            self.wait_for(g, "echo $(cat /sys/block/vda/serial)", ["late-comer"])
            g.run("(while dd if=/dev/vda of=/dev/null bs=4k iflag=direct; do true; done) > /dev/null 2>&1 &")
            self.take_out("late")
            self.ask("blockdev-del", **{"node-name": "image"})
            self.assertEqual(g.run("echo still here"), ["still here"])
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)

    def test_cards_that_were_there_from_the_start(self):
        with self.start("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,bus=rq,id=card,mac=52:54:00:00:00:11,romfile=") as g:
            self.assertEqual(g.run("cat /sys/class/net/eth0/address"), ["52:54:00:00:00:11"])
            bridge = next(c for c in self.ask("query-pci")[0]["devices"] if c["qdev_id"] == "rq")["pci_bridge"]
            self.assertEqual([c["qdev_id"] for c in bridge["devices"]], ["card"])
            self.assertEqual(bridge["devices"][0]["bus"], bridge["bus"]["secondary"])
            self.take_out("card")
            self.wait_for(g, "cat /sys/class/net/eth0/address 2> /tmp/no; echo $?", ["1"])
            self.ask("device_add", driver="virtio-net-pci", id="again", bus="rp", netdev="net", mac="52:54:00:00:00:12")
            self.wait_for(g, "cat /sys/class/net/eth?/address", ["52:54:00:00:00:12"])
            g.run("ip link set eth0 up || ip link set eth1 up")
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)

    def test_a_guest_that_starts_again(self):
        """What it was asked to give up is gone then; what has come is there."""
        with self.start() as g:
            self.add_disk()
            self.wait_for(g, "echo $(cat /sys/block/vda/serial)", ["late-comer"])
            g.send("reboot -f")
            self.prepare(g)
            self.assertEqual(g.run("echo $(cat /sys/block/vda/serial)"), ["late-comer"])
            self.ask("device_del", id="late")
            g.send("reboot -f")
            self.prepare(g)
            self.assertEqual(g.run("cat /sys/block/vda/size 2> /tmp/no; echo $?"), ["1"])
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)


del test_boot.Drivers  # or it would be run here, too

if __name__ == "__main__":
    tap.run_unittests()
