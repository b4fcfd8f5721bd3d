"""Jobs on images, ordered through QMP: what they leave on disk, their events, their errors; the same of Debian's QEMU."""

import hashlib
import json
import os
import random
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from test_qmp import Case  # noqa: E402
from lib import emulator, qtest, tap  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))
SIZE = 4 << 20


def img(*words):
    return subprocess.run([*emulator.command_named("qemu-img"), *map(str, words)], check=True, capture_output=True, text=True,
                          timeout=60).stdout


class Jobs(Case):
    """A disk of three layers, of which each has something."""

    def setUp(self):
        super().setUp()
        self.dir = Path(self.path).parent
        rng = random.Random(5)
        self.content = bytearray(rng.randbytes(SIZE))
        (self.dir / "raw").write_bytes(self.content)
        img("convert", "-f", "raw", "-O", "qcow2", self.dir / "raw", self.dir / "base")
        below = "base"
        for n, name in enumerate(("mid", "top")):
            img("create", "-q", "-f", "qcow2", "-b", self.dir / below, "-F", "qcow2", self.dir / name)
            patch = bytes([n + 1]) * 65536
            subprocess.run([*emulator.command_named("qemu-io"), "-c", f"write -P {n + 1} {(n + 1) << 20} 64k", str(self.dir / name)],
                           check=True, capture_output=True, timeout=60)
            self.content[(n + 1) << 20:((n + 1) << 20) + 65536] = patch
            below = name
        self.machine = qtest.Machine("-qmp", f"unix:{self.path}", "-drive", f"if=none,id=d,format=qcow2,file={self.dir}/top",
                                     "-device", "virtio-blk-device,drive=d", peer=PEER)
        self.addCleanup(self.machine.__exit__)
        self.qmp = self.client()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        return self.qmp.ask(command, arguments={k.replace("_", "-"): v for k, v in arguments.items()})

    def good(self, command, **arguments):
        answer = self.ask(command, **arguments)
        self.assertIn("return", answer)
        return answer["return"]

    def desc(self, command, **arguments):
        return self.ask(command, **arguments)["error"]["desc"]

    def end(self):
        """The machine's; images are whole then."""
        self.ask("quit")
        self.machine.process.wait(timeout=60)

    def holds(self, name):
        """An image shows the content, and is in order."""
        img("check", "-q", self.dir / name)
        img("convert", "-O", "raw", self.dir / name, self.dir / "out")
        self.assertEqual((self.dir / "out").read_bytes() == self.content, True, name)

    def medium(self):
        return next(x for x in self.good("query-block") if x["device"] == "d")["inserted"]

    def statuses(self):
        return [e["status"] for e in self.qmp.all if "status" in e]

    def until_status(self, status):
        while status not in self.statuses():
            self.qmp.note(self.qmp.receive())

    def client(self):
        q = super().client()
        q.all = []
        note = q.note

        def note_all(event):
            q.all.append(event.get("data") or {})
            note(event)
        q.note = note_all
        return q

    def test_stream(self):
        self.good("block-stream", device="d", job_id="s")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertEqual(self.qmp.data["BLOCK_JOB_COMPLETED"], {"device": "s", "type": "stream", "len": SIZE, "offset": SIZE, "speed": 0})
        self.until_status("null")
        self.assertEqual(self.good("query-block-jobs"), [])
        self.assertEqual(self.statuses(), ["created", "running", "waiting", "pending", "concluded", "null"])
        self.assertEqual(self.medium()["backing_file_depth"], 0)
        self.end()
        self.assertNotIn("backing", img("info", self.dir / "top"))
        self.holds("top")

    def test_stream_above_a_base(self):
        self.good("block-stream", device="d", base=f"{self.dir}/base")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertEqual(self.medium()["backing_file_depth"], 1)
        self.end()
        self.holds("top")

    def test_commit_below_the_top(self):
        self.good("block-commit", device="d", top=f"{self.dir}/mid")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertEqual(self.qmp.data["BLOCK_JOB_COMPLETED"]["type"], "commit")
        self.assertEqual(self.medium()["backing_file_depth"], 1)
        self.end()
        self.holds("top")

    def test_backup(self):
        target = str(self.dir / "copy")
        self.good("drive-backup", device="d", target=target, sync="full", format="qcow2")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertEqual(self.qmp.data["BLOCK_JOB_COMPLETED"]["type"], "backup")
        self.end()
        self.holds("copy")
        self.holds("top")

    def test_snapshot(self):
        self.good("blockdev-snapshot-sync", device="d", snapshot_file=f"{self.dir}/snap", format="qcow2")
        self.assertEqual((self.medium()["file"], self.medium()["backing_file_depth"]), (f"{self.dir}/snap", 3))
        self.end()
        self.holds("snap")

    def test_mirror_and_pivot(self):
        target = str(self.dir / "copy")
        self.good("drive-mirror", device="d", target=target, sync="full", format="qcow2", job_id="m")
        self.qmp.until("BLOCK_JOB_READY")
        job, = self.good("query-block-jobs")
        self.assertEqual((job["ready"], job["type"], job["device"], job["len"]), (True, "mirror", "m", job["offset"]))
        self.good("block-job-complete", device="m")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertEqual((self.medium()["file"], self.medium()["backing_file_depth"]), (target, 0))
        self.end()
        self.holds("copy")

    def test_a_mirror_that_ends_without_pivot(self):
        self.good("drive-mirror", device="d", target=str(self.dir / "copy"), sync="full", format="qcow2")
        self.qmp.until("BLOCK_JOB_READY")
        self.good("block-job-cancel", device="d")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertNotIn("error", self.qmp.data["BLOCK_JOB_COMPLETED"])
        self.assertEqual(self.medium()["file"], str(self.dir / "top"))
        self.end()
        self.holds("copy")

    def test_speed_pause_and_cancel(self):
        self.good("drive-backup", device="d", target=str(self.dir / "copy"), sync="full", format="qcow2", speed=65536)
        self.good("job-pause", id="d")
        self.assertEqual(self.good("query-block-jobs")[0]["speed"], 65536)
        self.good("block-job-set-speed", device="d", speed=131072)
        self.good("job-resume", id="d")
        self.assertEqual(self.good("query-block-jobs")[0]["speed"], 131072)
        self.assertIn("error", self.ask("drive-backup", device="d", target="x", sync="full"))
        self.good("block-job-cancel", device="d", force=True)
        self.until_status("null")
        self.assertEqual(self.qmp.data["BLOCK_JOB_CANCELLED"]["speed"], 131072)
        self.assertEqual(self.good("query-jobs"), [])
        self.end()
        self.holds("top")

    def test_orders_in_one_breath(self):
        """A job that is told to end twice before it does ends once."""
        for n in range(20):
            job = {"device": f"s{n}"}
            orders = [("block-stream", {"device": "d", "job-id": f"s{n}", "speed": 1, "auto-finalize": n % 2 == 0})]
            orders += [("block-job-cancel", job), ("block-job-cancel", job), ("job-finalize", {"id": f"s{n}"})] * 2
            self.qmp.lines.write("".join(json.dumps({"execute": c, "arguments": a}) for c, a in orders))
            self.qmp.lines.flush()
            answers = [self.qmp.receive() for _ in range(len(orders))]
            while sum("event" not in a for a in answers) < len(orders):
                answers.append(self.qmp.receive())
        while self.good("query-jobs"):
            pass
        self.end()
        self.holds("top")

    def test_finalize_and_dismiss(self):
        self.good("block-stream", device="d", job_id="s", auto_finalize=False, auto_dismiss=False)
        self.until_status("pending")
        self.assertEqual(self.good("query-jobs")[0]["status"], "pending")
        self.assertEqual(self.desc("job-dismiss", id="s"), "Job 's' in state 'pending' cannot accept command verb 'dismiss'")
        self.good("job-finalize", id="s")
        self.until_status("concluded")
        self.assertEqual(self.good("query-jobs")[0]["status"], "concluded")
        self.good("job-dismiss", id="s")
        self.assertEqual(self.good("query-jobs"), [])

    def open_copy(self, name, *options):
        img("create", "-q", "-f", "qcow2", *options, self.dir / name, str(SIZE))
        self.qmp.ask("blockdev-add", arguments={"driver": "qcow2", "node-name": name, "backing": None,
                                                "file": {"driver": "file", "filename": str(self.dir / name)}})

    def test_images_that_are_opened(self):
        """blockdev-add, a backup and a mirror to what it opened, blockdev-del."""
        for name in ("one", "two"):
            self.open_copy(name)
        names = {x.get("node-name") for x in self.good("query-named-block-nodes")}
        self.assertLessEqual({"one", "two"}, names)
        self.good("blockdev-backup", device="d", target="one", sync="full")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.until_status("null")
        self.good("blockdev-mirror", device="d", target="two", sync="full", job_id="m")
        self.qmp.until("BLOCK_JOB_READY")
        self.assertEqual(self.desc("blockdev-del", node_name="two"), "Node two is in use")
        self.good("block-job-complete", device="m")
        while self.medium()["file"] != str(self.dir / "two"):
            pass
        self.good("blockdev-del", node_name="one")
        self.end()
        self.holds("one")
        self.holds("two")

    def test_an_overlay_that_is_open(self):
        self.open_copy("new")
        self.good("blockdev-snapshot", node=self.medium()["node-name"] if PEER else "d", overlay="new")
        self.assertIn(str(self.dir / "new"), self.medium()["file"])
        self.assertEqual(self.medium()["backing_file_depth"], 3)

    def test_what_cannot_be_opened_or_closed(self):
        node = {"driver": "file", "node-name": "f", "filename": str(self.dir / "raw")}
        for command, arguments, desc in (
                ("blockdev-add", {**node, "node-name": "g", "filename": "/no/such"}, "Could not open '/no/such': No such file or directory"),
                ("blockdev-add", {"driver": "file", "filename": "x"}, "'node-name' must be specified for the root node"),
                ("blockdev-del", {"node-name": "x"}, "Failed to find node with node-name='x'"),
                ("blockdev-snapshot", {"node": "x", "overlay": "x"}, "Cannot find device='x' nor node-name='x'")):
            self.assertEqual(self.qmp.ask(command, arguments=arguments)["error"]["desc"], desc)
        self.assertEqual(self.qmp.ask("blockdev-add", arguments=node), {"return": {}})
        self.assertEqual(self.qmp.ask("blockdev-add", arguments=node)["error"]["desc"], "Duplicate nodes with node-name='f'")
        self.assertEqual(self.qmp.ask("blockdev-del", arguments={"node-name": "f"}), {"return": {}})
        self.assertIn("colour", self.qmp.ask("blockdev-add", arguments={**node, "colour": 1})["error"]["desc"])

    def test_limits(self):
        none = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
        limits = {**none, "bps_wr": 1000000, "iops": 50}
        for device, want in ({"device": "d"}, limits), ({"device": "d"}, none):
            self.assertEqual(self.qmp.ask("block_set_io_throttle", arguments={**device, **want}), {"return": {}})
            self.assertEqual({k: self.medium()[k] for k in none}, want)
            self.assertEqual(self.medium()["drv"], "qcow2")
            self.assertEqual("iops=50 " in self.good("human-monitor-command", command_line="info block"), want is limits)
        for arguments, desc in (({**none, "bps": 5, "bps_rd": 5},
                                 "bps/iops/max total values and read/write values cannot be used at the same time"),
                                ({**none, "iops_rd": -1}, "bps/iops/max values must be within [0, 1000000000000000]")):
            self.assertEqual(self.qmp.ask("block_set_io_throttle", arguments={"device": "d", **arguments})["error"]["desc"], desc)
        self.assertEqual(self.qmp.ask("block_set_io_throttle", arguments={"device": "x", **none})["error"]["class"], "DeviceNotFound")
        self.end()
        self.holds("top")

    def test_for_people(self):
        """The same commands in words."""
        def say(line):
            return self.good("human-monitor-command", command_line=line)
        self.assertEqual(say("info block-jobs"), "No active jobs\r\n")
        self.assertEqual(say("block_job_cancel d"), "Error: Block job 'd' not found\r\n")
        self.assertEqual(say("block_stream nope"), "Error: Cannot find device='nope' nor node-name='nope'\r\n")
        self.assertEqual(say("snapshot_blkdev d"), "Error: Parameter 'snapshot-file' is missing\r\n")
        self.assertEqual(say("block_stream d 64k"), "")
        self.assertIn("Streaming device d: Completed ", say("info block-jobs"))
        self.assertEqual(say("block_job_set_speed d 1"), "")
        self.assertIn("of 4194304 bytes, speed limit 1048576 bytes/s\r\n", say("info block-jobs"))
        self.assertEqual(say("block_job_cancel d"), "")
        self.until_status("null")
        self.assertEqual(say(f"drive_backup -f d {self.dir}/copy qcow2"), "")
        self.qmp.until("BLOCK_JOB_COMPLETED")
        self.assertEqual(say(f"snapshot_blkdev d {self.dir}/snap"), "")
        self.end()
        self.holds("copy")
        self.holds("snap")

    def test_the_end_of_the_machine_is_the_jobs(self):
        self.good("drive-backup", device="d", target=str(self.dir / "copy"), sync="full", format="qcow2", speed=65536)
        self.end()
        self.assertEqual(self.machine.process.returncode, 0)
        self.holds("top")

    def test_errors(self):
        for command, arguments, desc in (
                ("block-stream", {"device": "x"}, "Cannot find device='x' nor node-name='x'"),
                ("block-job-cancel", {"device": "x"}, "Block job 'x' not found"),
                ("job-cancel", {"id": "x"}, "Job not found"),
                ("blockdev-backup", {"device": "d", "target": "x", "sync": "full"}, "Cannot find device='x' nor node-name='x'"),
                ("drive-backup", {"device": "d", "target": "x", "sync": "bitmap"},
                 "must provide a valid bitmap name for 'bitmap' sync mode"),
                ("block-stream", {"device": "d", "base": "/nowhere"}, "Can't find '/nowhere' in the backing chain")):
            self.assertEqual(self.ask(command, **arguments)["error"]["desc"], desc)
        self.assertEqual(self.ask("block-job-cancel", device="x")["error"]["class"], "DeviceNotActive")
        self.assertEqual(self.good("query-jobs"), [])


@unittest.skipIf(PEER, "its kernels are for the product")
@unittest.skipUnless(test_boot.distribution_kernel(), "no linux-image-arm64; scripts/fetch-debian gets it")
class UnderWay(Case):
    def test_a_guest_that_writes_is_moved(self):
        """Snapshot, mirror and pivot while the guest writes: what it reads after them is what it wrote."""
        boot = test_boot.Drivers()
        boot.setUp()
        self.addCleanup(boot.doCleanups)
        disk, copy = boot.scratch / "disk", boot.scratch / "copy"
        img("create", "-q", "-f", "qcow2", disk, "8M")
        with boot.guest("-qmp", f"unix:{self.path}", "-drive", f"if=virtio,id=d,format=qcow2,file={disk}") as g:
            q = self.client()
            q.ask("qmp_capabilities")
            g.run("dd if=/dev/urandom of=/tmp/first bs=64k count=32; dd if=/tmp/first of=/dev/vda bs=64k conv=fsync")
            q.ask("blockdev-snapshot-sync", arguments={"device": "d", "snapshot-file": str(boot.scratch / "snap")})
            g.send("for i in 1 2 3 4 5 6; do dd if=/dev/urandom of=/tmp/p$i bs=4k count=100; "
                   "dd if=/tmp/p$i of=/dev/vda bs=4k seek=$((i * 150)) conv=notrunc,fsync; done 2> /dev/null")
            q.ask("drive-mirror", arguments={"device": "d", "target": str(copy), "sync": "full", "format": "qcow2"})
            q.until("BLOCK_JOB_READY")
            self.assertEqual(q.ask("block-job-complete", arguments={"device": "d"}), {"return": {}})
            q.until("BLOCK_JOB_COMPLETED")
            g.shell()
            for i in range(1, 7):
                g.run(f"dd if=/tmp/p{i} of=/tmp/first bs=4k seek={i * 150} conv=notrunc")
            g.run("echo 3 > /proc/sys/vm/drop_caches")
            want = g.run("sha256sum < /tmp/first")[-1].split()[0]
            size = int(g.run("dd if=/tmp/first of=/dev/null bs=4k 2>&1")[0].split("+")[0])
            self.assertEqual(g.run(f"dd if=/dev/vda bs=4k count={size} 2> /dev/null | sha256sum")[-1].split()[0], want)
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)
        img("check", "-q", copy)
        flat = boot.scratch / "flat"
        img("convert", "-O", "raw", copy, flat)
        self.assertEqual(hashlib.sha256(flat.read_bytes()[:4096 * size]).hexdigest(), want)


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
