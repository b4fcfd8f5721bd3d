#!/usr/bin/env python3
"""Host block devices: loop devices on files, with our tools and the peer's."""

import os
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, LYRE, USUAL_AIO, ImageTest

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


class FullDisk(ImageTest):
    """A disk without room: what was said to be written is there, whatever becomes of the rest."""

    def setUp(self):
        super().setUp()
        self.mount = self.dir / "mount"
        self.mount.mkdir()
        run = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", self.mount], text=True, capture_output=True)
        if run.returncode:
            self.skipTest(f"no file system can be mounted: {run.stderr.strip()}")

    def tearDown(self):
        subprocess.run(["umount", self.mount], check=True)
        super().tearDown()

    def make(self, *options):
        image = self.mount / "a"
        image.unlink(missing_ok=True)
        self.ours("create", "-f", "qcow2", *options, image, "8G")
        return image

    def check(self, image, what):
        """`what`: pairs of pattern and offset, 4 KiB each."""
        self.peer_io(image, *(f"read -P {pattern} {at} 4k" for pattern, at in what))
        self.assertIn(self.peers("check", image, status=None).status, (0, 3))

    def test_tables_have_room(self):
        for aio in AIO_MODES:
            for options in ((), ("-o", "cluster_size=4k"), ("-o", "lazy_refcounts=on"), ("-o", "extended_l2=on")):
                with self.subTest(aio=aio, options=options):
                    image = self.make(*options)
                    writes = [(i % 200 + 1, i * 7 * MIB) for i in range(1100)]
                    run = self.our_io(image, *(f"write -P {pattern} {at} 4k" for pattern, at in writes), aio=aio, status=1)
                    said = [x for x in run.out.splitlines() if "ops;" not in x]
                    self.assertEqual((len(said), run.err), (len(writes), ""))
                    self.assertEqual(set(x for x in said if not x.startswith("wrote 4096/4096 ")), {"write failed: No space left on device"})
                    done = [w for w, x in zip(writes, said) if x.startswith("wrote")]
                    self.assertGreater(len(done), 20)
                    self.check(image, done)

    def test_a_large_write_gives_its_room_back(self):
        for aio in AIO_MODES:
            image = self.make()
            out = self.our_io(image, "write -P 1 0 1M", "write -P 2 1M 20M", "write -P 3 2G 1M", "flush", aio=aio, status=1).out
            self.assertEqual([x for x in out.splitlines() if "ops;" not in x],
                             ["wrote 1048576/1048576 bytes at offset 0", "write failed: No space left on device",
                              "wrote 1048576/1048576 bytes at offset 2147483648"])
            self.check(image, [(1, 0), (3, 2 << 30)])

    def test_other_changes(self):
        """A command that fails leaves the image as it was."""
        for command in (("snapshot", "-c", "s"), ("resize",), ("bitmap", "--add"), ("amend", "-o", "refcount_bits=64"), ("snapshot", "-a", "one"),
                        ("snapshot", "-d", "one"), ("compact",), ("rebase", "-b", ""), ("commit",)):
            with self.subTest(command=command):
                base = self.mount / "base"
                self.ours("create", "-f", "qcow2", base, "8G")
                self.our_io(base, "write -P 5 1G 512k")
                image = self.make("-b", base, "-F", "qcow2")
                self.our_io(image, "write -P 1 0 4k", "write -P 2 1M 4k")
                self.ours("snapshot", "-c", "one", image)
                self.our_io(image, "write -P 3 2M 4k")
                with open(self.mount / "fill", "wb", buffering=0) as f:
                    try:
                        while True:
                            f.write(bytes(4096))
                    except OSError:
                        pass
                args = {"resize": (image, "64T"), "bitmap": (image, "b")}.get(command[0], (image,))
                self._run(LYRE, ("img", *command, *args), USUAL_AIO)
                (self.mount / "fill").unlink()
                pairs = [(1, 0), (2, MIB), (5, 1 << 30)]
                self.check(image, pairs if command[:2] == ("snapshot", "-a") else pairs + [(3, 2 * MIB)])
                self.assertEqual(self.peers("check", base).status, 0)
                base.unlink()


if __name__ == "__main__":
    tap.run_unittests()
