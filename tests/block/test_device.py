#!/usr/bin/env python3
"""Host block devices: loop devices on files, with our tools and the peer's."""

import os
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, ImageTest

MIB = 1 << 20
SIZE = 16 * MIB


class Device(ImageTest):
    def setUp(self):
        super().setUp()
        (self.dir / "disk").write_bytes(os.urandom(SIZE))
        try:
            run = subprocess.run(["losetup", "--find", "--show", self.dir / "disk"], text=True, capture_output=True)
        except FileNotFoundError:
            run = None
        if not run or run.returncode:
            self.skipTest(f"no loop device: {run.stderr.strip() if run else 'losetup is missing'}")
        self.device = run.stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "--detach", self.device], check=True)

    def test_requests(self):
        for aio in AIO_MODES:
            for options in ((), ("-n",)):
                self.our_io(self.device, "write -P 7 0 1M", "write -z 4k 64k", "write -P 9 512 1024", "write -P 3 100 7",
                            "discard 128k 256k", "write -zu 512k 64k", "write -z 700001 11", "flush",
                            "read -P 9 512 1024", "read -P 3 100 7", "read -P 7 107 405", "read -P 0 4k 64k",
                            "read -P 0 512k 64k", "read -P 0 700001 11", "read -P 7 700012 100",
                            aio=aio, options=("-f", "raw", *options))

    def test_size(self):
        self.same("info", "-f", "raw", self.device)
        self.same_json("map", "--output=json", "-f", "raw", self.device)
        self.same("resize", "-f", "raw", self.device, "32M", status=1)
        self.same("resize", "-f", "raw", "--shrink", self.device, "8M", status=1)
        self.same("create", "-f", "raw", self.device, "32M", status=1)
        self.same("create", "-f", "raw", self.device, "8M")
        self.same("info", "--image-opts", f"driver=raw,file.driver=file,file.filename={self.device}", status=1)
        self.same("info", "--image-opts", f"driver=raw,file.driver=host_device,file.filename={self.dir / 'disk'}", status=1)
        run = self.our_io(self.device, "write 15M 2M", options=("-f", "raw"), status=1)
        self.assertIn("write failed: Input/output error", run.out + run.err)

    def test_convert_leaves_nothing_of_before(self):
        source = self.dir / "source"
        with open(source, "wb") as f:
            f.write(b"data" * 1000)
            f.truncate(SIZE)
        for aio in AIO_MODES:
            (self.dir / "disk").write_bytes(os.urandom(SIZE))
            subprocess.run(["blockdev", "--flushbufs", self.device], check=True)
            self.ours("convert", "-f", "raw", "-O", "raw", source, self.device, aio=aio)
            self.peers("compare", "-f", "raw", "-F", "raw", source, self.device)

    def test_qcow2(self):
        """New clusters on a device hold what was there before, unlike those at the end of a file."""
        for aio in AIO_MODES:
            self.ours("create", "-f", "qcow2", self.device, "64M", aio=aio)
            self.our_io(self.device, "write -P 3 1M 512", "write -P 4 2000001 100", "read -P 0 1049088 3k",
                        "read -P 0 1999900 101", "read -P 4 2000001 100", aio=aio)
            self.peer_io(self.device, "read -P 0 0 1M", "read -P 3 1M 512", "read -P 0 1049088 3k", "read -P 0 1999900 101")
            self.peers("check", self.device)
            self.ours("resize", self.device, "128M", aio=aio)
            self.ours("resize", "--shrink", self.device, "32M", aio=aio)
            self.same("check", self.device)
        (self.dir / "full").write_bytes(os.urandom(SIZE))
        run = self.ours("convert", "-f", "raw", "-O", "qcow2", self.dir / "full", self.device, status=1)
        self.assertIn("No space left on device", run.err)
        self.same("check", "-q", self.device, status=0)


class SharedBlocks(ImageTest):
    def setUp(self):
        super().setUp()
        self.mount = self.dir / "mount"
        self.mount.mkdir()
        with open(self.dir / "fs", "wb") as f:
            f.truncate(400 * MIB)
        try:
            subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", self.dir / "fs"], check=True, capture_output=True)
            subprocess.run(["mount", "-o", "loop", self.dir / "fs", self.mount], check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as e:
            self.skipTest(f"no XFS to be mounted: {e}")

    def tearDown(self):
        subprocess.run(["umount", self.mount], check=True)
        super().tearDown()

    def used(self):
        os.sync()
        s = os.statvfs(self.mount)
        return (s.f_blocks - s.f_bfree) * s.f_frsize

    def test_copies_share_blocks(self):
        """convert -C leaves the copying to the file system, which has the data once."""
        source = self.mount / "a.raw"
        with open(source, "wb") as f:
            for at in range(0, 40, 8):
                f.seek(at * MIB)
                f.write(os.urandom(4 * MIB) + b"tail")
            f.truncate(40 * MIB)
        for aio in AIO_MODES:
            before, last, kind = self.used(), source, "raw"
            for name, form in (("a.qcow2", "qcow2"), ("b.qcow2", "qcow2"), ("b.raw", "raw")):
                self.ours("convert", "-C", "-f", kind, "-O", form, last, self.mount / name, aio=aio)
                self.peers("compare", "-f", "raw", "-F", form, source, self.mount / name)
                last, kind = self.mount / name, form
            self.assertLess(self.used() - before, 4 * MIB)
            for name in ("a.qcow2", "b.qcow2"):
                self.peers("check", self.mount / name)
                (self.mount / name).unlink()
            (self.mount / "b.raw").unlink()


if __name__ == "__main__":
    tap.run_unittests()
