#!/usr/bin/env python3
"""qcow2 images go both ways: what we write the peer checks and reads, and the other way round."""

import itertools
import json
import subprocess
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, LYRE, USUAL_AIO, ImageTest

WRITES = ("write -P 1 0 1M", "write -P 2 1000 100", "write -P 3 5M 3M", "write -z 6M 300k", "discard 7M 512k",
          "write -P 4 9M 10k", "write -P 5 9445k 5", "writev -P 6 10M 1k 3k 512", "aio_write -P 7 11M 64k",
          "aio_write -P 8 11328k 1M", "aio_write -P 9 13M 100k", "aio_flush", "flush")
READS = ("read -P 1 0 1000", "read -P 2 1000 100", "read -P 1 1100 500k", "read -P 3 5M 1M", "read -P 0 6M 300k",
         "read -P 3 6444k 720k", "read -P 0 7M 512k", "read -P 3 7680k 512k", "read -P 0 8M 1M", "read -P 4 9M 10k",
         "read -P 5 9445k 5", "read -P 6 10M 4608", "read -P 7 11M 64k", "read -P 8 11328k 1M", "read -P 9 13M 100k",
         "read -P 0 14M 2M")


class Qcow2(ImageTest):
    def test_both_ways(self):
        """Cluster sizes, widths of counts, versions, subclusters: write with one, read with the other."""
        options = [f"cluster_size={c},refcount_bits={r}" for c, r in
                   (("512", 16), ("1k", 1), ("4k", 2), ("16k", 4), ("64k", 16), ("128k", 8), ("256k", 64), ("512k", 32))]
        options += ["compat=0.10", "compat=0.10,cluster_size=4k", "lazy_refcounts=on", "extended_l2=on",
                    "extended_l2=on,cluster_size=16k", "compression_type=zstd", "preallocation=metadata",
                    "preallocation=falloc", "preallocation=full", "data_file=data", "data_file=data,data_file_raw=on",
                    "extended_l2=on,preallocation=metadata", "extended_l2=on,data_file=data"]
        for n, option in enumerate(options):
            aio = AIO_MODES[n % len(AIO_MODES)]
            with self.subTest(option=option, aio=aio):
                self.ours("create", "-f", "qcow2", "-o", option, "a", "16M", aio=aio)
                self.our_io("a", *WRITES, aio=aio)
                self.peers("check", "a")
                self.same("check", "a")
                self.peer_io("a", *READS)
                self.our_io("a", *READS, aio=aio)
                self.peers("create", "-f", "qcow2", "-o", option, "b", "16M")
                self.peer_io("b", *WRITES)
                self.our_io("b", *READS, aio=aio)
                self.our_io("b", "write -P 0x11 100k 70k", "discard 5M 1M", "write -P 0x12 5M 9k", aio=aio)
                self.peer_io("b", "read -P 0x11 100k 70k", "read -P 0x12 5M 9k", "write -P 0x13 15M 1k")
                self.same("check", "b")
                if "data_file" not in option:
                    self.same("map", "--output=json", "b")
                self.same_json("info", "--output=json", "b")

    def test_texts(self):
        self.same("create", "-f", "qcow2", "a", "10M")
        self.same("create", "-f", "qcow2", "-b", "a", "-F", "qcow2", "b")
        self.same("create", "-f", "qcow2", "-o", "compat=1.1,cluster_size=4k,lazy_refcounts=on,refcount_bits=8", "c", "1G")
        self.peer_io("a", "write 64k 128k", "write -z 1M 64k", "discard 128k 64k")
        for args in (("info", "a"), ("info", "b"), ("info", "--backing-chain", "b"), ("info", "c"), ("map", "a"), ("map", "b"),
                     ("map", "--output=json", "b"), ("check", "a"), ("compare", "a", "b"), ("measure", "-O", "qcow2", "--size", "1G"),
                     ("measure", "-O", "qcow2", "a"), ("measure", "-O", "raw", "a"),
                     ("measure", "-O", "qcow2", "-o", "cluster_size=4k", "--output=json", "--size", "1T")):
            self.same(*args)
        for args in (("info", "--output=json", "a"), ("info", "--output=json", "--backing-chain", "b"),
                     ("check", "--output=json", "a")):
            self.same_json(*args)
        for args in (("create", "-f", "qcow2", "-o", "cluster_size=3", "x", "1M"), ("create", "-f", "qcow2", "-o", "bar=1", "x", "1M"),
                     ("create", "-f", "qcow2", "-b", "a", "x"), ("create", "-f", "qcow2", "x"), ("resize", "a", "1M"),
                     ("snapshot", "-d", "nope", "a"), ("snapshot", "-a", "nope", "a"), ("rebase", "a"), ("amend", "a")):
            self.same(*args, status=1)

    def test_backing(self):
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.our_io("a", "write -P 1 0 5M")
        self.ours("create", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "a", "-F", "qcow2", "b", "12M")
        self.our_io("b", "write -P 2 100 5000", "write -z 1M 100k", "discard 2M 64k", "write -P 3 11M 1k")
        checks = ("read -P 1 0 100", "read -P 2 100 5000", "read -P 1 5100 900k", "read -P 0 1M 100k", "read -P 0 2M 64k",
                  "read -P 1 3M 2M", "read -P 0 5M 6M", "read -P 3 11M 1k")
        self.our_io("b", *checks)
        self.peer_io("b", *checks)
        self.same("map", "--output=json", "b")
        self.ours("create", "-f", "qcow2", "c", "20M")
        self.our_io("c", "write -P 9 0 20M")
        self.ours("rebase", "-b", "c", "-F", "qcow2", "b")
        self.peer_io("b", *checks)
        self.peers("check", "b")
        self.ours("rebase", "-b", "", "b")
        self.peer_io("b", *checks)
        self.ours("rebase", "-u", "-b", "a", "-F", "qcow2", "b")
        self.same("info", "b")

    def test_commit(self):
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.our_io("a", "write -P 1 0 5M")
        self.ours("create", "-f", "qcow2", "-b", "a", "-F", "qcow2", "b", "12M")
        self.our_io("b", "write -P 2 100 5000", "write -P 3 11M 1k", "write -z 1M 1M")
        self.assertEqual(self.ours("commit", "b").out, "Image committed.\n")
        for image in "ab":
            self.peer_io(image, "read -P 2 100 5000", "read -P 1 5100 100k", "read -P 3 11M 1k", "read -P 0 1M 1M")
            self.peers("check", image)
        self.assertNotIn('"depth": 0, "present": true', self.peers("map", "--output=json", "b").out)

    def test_snapshots(self):
        for options in ("compat=1.1", "cluster_size=4k", "extended_l2=on", "refcount_bits=4", "compat=0.10"):
            with self.subTest(options=options):
                self.ours("create", "-f", "qcow2", "-o", options, "a", "32M")
                for i in range(1, 4):
                    self.our_io("a", f"write -P {i} {i}M 3M", f"write -P {i + 16} {i * 5000} 3000")
                    self.ours("snapshot", "-c", f"s{i}", "a")
                    self.peers("check", "a")
                self.same("snapshot", "-l", "a")
                self.our_io("a", "write -P 9 0 8M", "discard 2M 1M")
                self.peers("check", "a")
                self.same("check", "a")
                self.ours("convert", "-l", "s2", "-O", "raw", "a", "r2")
                self.peers("convert", "-l", "snapshot.name=s2", "-O", "raw", "a", "p2")
                self.assertEqual((self.dir / "r2").read_bytes(), (self.dir / "p2").read_bytes())
                self.ours("snapshot", "-d", "s1", "a")
                self.peers("check", "a")
                self.ours("snapshot", "-a", "s2", "a")
                self.peers("check", "a")
                self.peer_io("a", "read -P 1 1M 1M", "read -P 2 2M 3M", "read -P 0 5M 3M", "read -P 18 10000 3000")
                self.peers("snapshot", "-d", "s3", "a")
                self.our_io("a", "write -P 4 3M 1M")
                self.ours("snapshot", "-d", "s2", "a")
                self.same("check", "a")

    def test_machine_state(self):
        """Snapshots with the state of a machine: the peer sees its size, goes back to it, deletes it."""
        maker = Path(LYRE).parent / "tests/block/test_block_vmstate"
        run = subprocess.run([maker], env=dict(os.environ, LYRE_VMSTATE_IMAGE=str(self.dir / "a")), capture_output=True)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn("684 KiB", self.same("snapshot", "-l", "a").out)
        self.same("check", "a")
        self.same_json("info", "--output=json", "a")
        for one, other, io in ((self.ours, self.peers, self.peer_io), (self.peers, self.ours, self.our_io)):
            one("snapshot", "-a", "one", "a")
            other("check", "a")
            io("a", "write -q -b -P 9 64k 100k", "read -q -b -P 9 64k 100k", "read -q -b -P 0 10M 64k")
            (self.our_io if io == self.peer_io else self.peer_io)("a", "read -q -b -P 9 64k 100k")
            self.peer_io("a", "read -P 1 1000 10000")
            self.our_io("a", "write -P 7 0 3M")
            one("snapshot", "-a", "two", "a")
            self.our_io("a", "read -P 2 1000 10000")
            self.ours("convert", "-l", "one", "-O", "raw", "a", "b")
            self.peer_io("b", "read -P 1 1000 10000", options=("-f", "raw"))
            one("snapshot", "-c", "three", "a")
            other("snapshot", "-d", "three", "a")
            other("check", "a")
        self.peers("snapshot", "-d", "two", "a")
        self.ours("snapshot", "-d", "one", "a")
        self.same("check", "a")

    def test_raw_data_file(self):
        """data_file_raw: the data file alone is the disk, also where the image was not written."""
        for make in (self.ours, self.peers):
            make("create", "-f", "qcow2", "-o", "data_file=d,data_file_raw=on", "a", "4M")
            self.our_io("a", "write -P 3 0 1M", "write -z 64k 64k", "discard 512k 128k")
            self.same("map", "--output=json", "a")
            self.peers("compare", "-f", "qcow2", "-F", "raw", "a", "d")
            self.our_io("d", "write -P 9 2M 64k", options=("-f", "raw"))
            self.our_io("a", "read -P 9 2M 64k")
            self.peer_io("a", "read -P 9 2M 64k")

    def test_write_through(self):
        """Modes of caching: all of them write what they are told to."""
        self.ours("create", "-f", "qcow2", "a", "4M")
        for i, mode in enumerate(("writethrough", "directsync", "none", "unsafe", "writeback")):
            self.our_io("a", f"write -P {i + 1} {i}00k 100k", "reopen -c writethrough", f"read -P {i + 1} {i}00k 100k", options=("-t", mode))
            self.peer_io("a", f"read -P {i + 1} {i}00k 100k")
        self.our_io("a", "write -P 99 0 64k", options=("-s",))
        self.peer_io("a", "read -P 1 0 64k")

    def test_larger_than_the_backing_file(self):
        """What a longer backing file has behind the end must not show when the image grows."""
        for compat in ("1.1", "0.10"):
            self.ours("create", "-f", "qcow2", "base", "2M")
            self.our_io("base", "write -P 5 0 2M")
            for command in (("resize", "a", "3M"), ("amend", "-o", "size=3M", "a")):
                self.ours("create", "-q", "-f", "qcow2", "-o", f"compat={compat}", "-b", "base", "-F", "qcow2", "a", "1000000")
                self.ours(*command)
                self.peer_io("a", "read -P 5 0 1000000", "read -P 0 1000448 2000000")
                self.peers("check", "a")

    def test_compressed(self):
        self.ours("create", "-f", "raw", "a", "10M")
        self.our_io("a", "write -P 1 0 1M", "write -P 2 3M 100k", options=("-f", "raw"))
        with open(self.dir / "a", "r+b") as f:
            f.seek(5 << 20)
            f.write(bytes((i * i * 7 >> 5) & 255 for i in range(3 << 20)))
        for kind, size, aio in itertools.product(("zlib", "zstd"), ("4k", "64k", "2M"), AIO_MODES[1:]):
            with self.subTest(kind=kind, size=size, aio=aio):
                option = f"compression_type={kind},cluster_size={size}"
                self.ours("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", option, "a", "b", aio=aio)
                self.peers("compare", "-f", "raw", "a", "b")
                self.same("check", "b")
                self.peers("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", option, "a", "c")
                self.ours("compare", "-f", "raw", "a", "c", aio=aio)
                self.our_io("c", "write -P 7 100k 10k", "discard 5M 1M", "read -P 1 110k 100k", aio=aio)
                self.peer_io("c", "read -P 7 100k 10k", "read -P 1 110k 100k", *(("read -P 0 5M 1M",) if size != "2M" else ()))
                self.same("check", "c")

    def test_resize(self):
        for options in ("compat=1.1", "cluster_size=512", "compat=0.10", "extended_l2=on"):
            with self.subTest(options=options):
                self.ours("create", "-f", "qcow2", "-o", options, "a", "5M")
                self.our_io("a", "write -P 1 0 5M")
                self.ours("resize", "a", "20M")
                self.our_io("a", "read -P 1 0 5M", "read -P 0 5M 15M", "write -P 2 19M 1M")
                self.peers("check", "a")
                self.ours("resize", "--shrink", "a", "3000k")
                self.peers("check", "a")
                self.ours("resize", "a", "+10M")
                self.peer_io("a", "read -P 1 0 3000k", "read -P 0 3000k 10M")
                self.peers("check", "a")

    def test_preallocation_beside_free_room(self):
        """Clusters that were given up hold something: those of a preallocation are new."""
        for mode in ("metadata", "falloc", "full"):
            with self.subTest(mode=mode):
                self.ours("create", "-f", "qcow2", "a", "10M")
                self.our_io("a", "write -P 1 0 4M", "discard 0 3M")
                self.ours("resize", f"--preallocation={mode}", "a", "20M")
                self.our_io("a", "write -P 2 4M 1M")
                self.peers("check", "a")
                self.peer_io("a", "read -P 0 0 3M", "read -P 1 3M 1M", "read -P 2 4M 1M", "read -P 0 5M 15M")
                last = json.loads(self.ours("map", "--output=json", "a").out)[-1]
                self.assertEqual((last["start"], last["length"], last["present"]), (10 << 20, 10 << 20, True))
                self.same_json("map", "--output=json", "a")

    def test_compact(self):
        """What holds zeros or nothing takes no room afterwards, inside of the file and at its end."""
        def used():
            return os.stat(self.dir / "a").st_blocks * 512
        self.ours("create", "-f", "qcow2", "base", "16M")
        self.our_io("base", "write -P 7 0 16M")
        for options in (("-f", "raw"), ("-f", "qcow2"), ("-f", "qcow2", "-o", "cluster_size=2M"), ("-f", "qcow2", "-o", "extended_l2=on"),
                        ("-f", "qcow2", "-b", "base", "-F", "qcow2")):
            with self.subTest(options=options):
                self.ours("create", *options, "a", "16M")
                self.our_io("a", "write -P 1 0 10M", "write -P 0 2M 6M", "write -P 2 15M 64k", options=options[:2])
                if "qcow2" in options:
                    self.ours("snapshot", "-c", "gone", "a")
                    self.our_io("a", "write -P 3 9M 1M")
                    self.ours("snapshot", "-d", "gone", "a")
                self.ours("convert", *options[:2], "-O", "raw", "a", "was")
                before = used()
                run = self._run(LYRE, ("img", "compact", *options[:2], "a"), USUAL_AIO)
                self.assertEqual(run.status, 0, run.err)
                self.assertLess(used(), before - (5 << 20))
                self.assertLess(used(), (16 if "cluster_size=2M" in options else 9) << 20)
                self.peers("compare", *options[:2], "-F", "raw", "a", "was")
                if "qcow2" in options:
                    self.peers("check", "a")
                    self.our_io("a", "write -P 9 2M 6M")
                    self.peers("check", "a")
                    self.peer_io("a", "read -P 1 0 2M", "read -P 9 2M 6M", "read -P 2 15M 64k")
        with open(self.dir / "a", "r+b") as f: # the counts cannot be believed
            f.seek(0x20000)
            f.write(bytes(64))
        run = self._run(LYRE, ("img", "compact", "a"), USUAL_AIO)
        self.assertEqual(run.status, 1)
        self.assertIn("check -r all", run.err)

    def test_measure_of_a_snapshot(self):
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.our_io("a", "write -P 1 0 1M")
        self.ours("snapshot", "-c", "s", "a")
        self.our_io("a", "write -P 1 2M 3M")
        self.same("measure", "-l", "s", "-O", "qcow2", "a")
        self.same("measure", "-l", "nope", "-O", "qcow2", "a", status=1)

    def test_amend(self):
        self.ours("create", "-f", "qcow2", "-o", "compat=0.10", "a", "5M")
        self.our_io("a", "write -P 1 0 1M")
        self.ours("amend", "-o", "compat=1.1,lazy_refcounts=on,size=8M", "a")
        self.peer_io("a", "read -P 1 0 1M", "read -P 0 5M 3M")
        self.same("info", "a")
        self.peers("check", "a")

    def test_amend_widths_and_version(self):
        for options in ("cluster_size=4k", "cluster_size=512", "refcount_bits=64,cluster_size=64k"):
            for width in (1, 2, 8, 16, 32, 64):
                with self.subTest(options=options, width=width):
                    self.ours("create", "-f", "qcow2", "-o", options, "a", "8M")
                    self.our_io("a", "write -P 1 0 3M", "write -z 1M 64k", "discard 2M 64k")
                    if width > 1:
                        self.ours("snapshot", "-c", "s", "a")
                        self.our_io("a", "write -P 2 100k 100k")
                    self.ours("amend", "-o", f"refcount_bits={width}", "a")
                    self.peers("check", "a")
                    self.same("info", "a")
                    self.our_io("a", "write -P 3 5M 1M", "read -P 1 500k 500k", "read -P 0 1M 64k")
                    self.same("check", "a")
        self.ours("snapshot", "-c", "s2", "a")
        self.same("amend", "-o", "refcount_bits=3", "a", status=1)
        self.ours("amend", "-o", "refcount_bits=1", "a", status=1)
        self.peers("check", "a")
        self.ours("create", "-f", "qcow2", "base", "8M")
        self.our_io("base", "write -P 7 0 8M")
        for backing in ((), ("-b", "base", "-F", "qcow2")):
            self.ours("create", "-f", "qcow2", "-o", "refcount_bits=8,lazy_refcounts=on", *backing, "a", "8M")
            self.our_io("a", "write -P 1 0 3M", "write -z 1M 200k", "write -z 7M 1M")
            self.same("amend", "-o", "compat=0.10", "a", status=1)
            self.ours("amend", "-o", "compat=0.10,refcount_bits=16,lazy_refcounts=off", "a")
            self.peers("check", "a")
            self.same("info", "a")
            self.peer_io("a", "read -P 1 0 1M", "read -P 0 1M 200k", "read -P 1 2M 1M", f"read -P {7 if backing else 0} 4M 1M", "read -P 0 7M 1M")
        self.same("amend", "-o", "cluster_size=4k", "a", status=1)
        self.same("amend", "-o", "refcount_bits=8", "a", status=1)

    def test_amend_to_version_2_with_snapshots(self):
        """Zero clusters go from the tables of snapshots, too, and nothing that lies beside them."""
        self.ours("create", "-f", "qcow2", "base", "8M")
        self.our_io("base", "write -P 7 0 8M")
        for backing in ((), ("-b", "base", "-F", "qcow2")):
            for size in ("512", "64k"):
                with self.subTest(backing=backing, size=size):
                    self.ours("create", "-f", "qcow2", "-o", f"cluster_size={size}", *backing, "a", "8M")
                    states = (("write -P 1 64k 2M", "write -z 0 64k", "write -z 7M 1M"), ("write -z 1M 512k", "write -P 2 4M 64k"),
                              ("write -zu 64k 128k", "write -P 3 7M 64k", "write -z 3M 64k"))
                    for i, commands in enumerate(states):
                        self.our_io("a", *commands)
                        self.ours("snapshot", "-c", f"s{i}", "a")
                        self.ours("convert", "-O", "raw", "a", f"was{i}")
                    self.our_io("a", "write -z 5M 1M", "write -P 4 0 4k")
                    self.ours("convert", "-O", "raw", "a", "was")
                    self.ours("amend", "-o", "compat=0.10", "a")
                    for check in (self.ours, self.peers):
                        check("check", "a")
                        check("compare", "-f", "qcow2", "-F", "raw", "a", "was")
                        for i in range(3):
                            check("convert", "-l", f"s{i}", "-O", "raw", "a", "is")
                            check("compare", "-f", "raw", "-F", "raw", "is", f"was{i}")
                    self.our_io("a", "write -P 9 0 8M")
                    self.ours("snapshot", "-d", "s1", "a")
                    self.peers("check", "a")
        self.ours("amend", "-o", "compat=1.1", "a")
        self.ours("resize", "a", "9M")
        self.same("amend", "-o", "compat=0.10", "a", status=1)

    def test_damage_is_noted(self):
        """A table entry over the image's own tables: the write fails, the header says so, nothing else is lost."""
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.our_io("a", "write -P 1 0 256k")
        with open(self.dir / "a", "r+b") as f:
            f.seek(0x40008)
            f.write(bytes.fromhex("8000000000010000"))  # the second cluster is said to be the refcount table
        self.our_io("a", "write -P 2 64k 64k", "flush", "write -P 3 1M 64k", status=1)
        self.assertIn("corrupt: true", self.same("info", "a").out)
        self.our_io("a", "write 0 64k", status=1)
        self.our_io("a", "read -P 1 0 64k", options=("-r",))
        self.ours("check", "-r", "all", "a", status=None)
        self.peer_io("a", "read -P 1 0 64k", "read -P 1 128k 128k")

    def test_repair(self):
        """Counts that are wrong, flags that are wrong, leaks: found and repaired as the peer says."""
        for offset, value in ((0x20000 + 2 * 5, b"\0\0"), (0x20000 + 2 * 5, b"\0\7"), (0x30000, b"\0"), (0x40000 + 8, b"\0")):
            with self.subTest(offset=offset, value=value):
                self.peers("create", "-f", "qcow2", "a", "10M")
                self.peer_io("a", "write -P 1 0 256k")
                with open(self.dir / "a", "r+b") as f:
                    f.seek(offset)
                    f.write(value)
                (self.dir / "b").write_bytes((self.dir / "a").read_bytes())
                status = self.peers("check", "a", status=None).status
                self.assertIn(status, (2, 3))
                ours, peers = self.ours("check", "a", status=status), self.peers("check", "a", status=status)
                self.assertEqual((ours.out + ours.err).splitlines()[-3:], (peers.out + peers.err).splitlines()[-3:])
                self.ours("check", "-r", "all", "a")
                self.peers("check", "a")
                self.peer_io("a", "read -P 1 0 256k")

    def test_count_blocks_that_are_lost(self):
        """A damaged entry of the refcount table: what the block counted has no references, which a repair makes good."""
        for at, entry in ((0, 0x200), (0, 0x7fff0000), (0, 0x10000), (8, 0xffffffffffff0200), (8, 0x7fff0000), (8, 0xff << 56)):
            with self.subTest(at=at, entry=hex(entry)):
                self.ours("create", "-f", "qcow2", "a", "64M")
                self.our_io("a", "write -P 5 0 3M")
                with open(self.dir / "a", "r+b") as f:
                    f.seek(0x10000 + at)
                    f.write(entry.to_bytes(8, "big"))
                if entry not in (0x200, 0x10000):  # there the peer gives up, or has other words
                    self.same("check", "a", status=2)
                self.ours("check", "-r", "all", "a")
                self.peers("check", "a")
                self.peer_io("a", "read -P 5 0 3M")

    def test_uncounted(self):
        """A refcount table without entries: what needs counts says so, and changes nothing."""
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.our_io("a", "write -P 1 0 256k")
        with open(self.dir / "a", "r+b") as f:
            f.seek(0x10000)
            f.write(bytes(8))
        before = (self.dir / "a").read_bytes()
        self.assertIn("not counted", self.ours("snapshot", "-c", "s", "a", status=1).err)
        self.assertEqual((self.dir / "a").read_bytes(), before)
        self.ours("check", "-r", "all", "a", status=None)
        self.peers("check", "a")
        self.peer_io("a", "read -P 1 0 256k")

    def test_late_counts(self):
        """Lazy refcounts: flushed data are there, counts not yet; the image says so, and who opens it next for writing counts anew."""
        for number, (option, image) in enumerate((("lazy_refcounts=on", "a"), ("lazy_refcounts=off", "driver=qcow2,lazy-refcounts=on,file.filename=a"))):
            self.ours("create", "-f", "qcow2", "-o", option, "a", "64M")
            with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "--image-opts", image] if number else [self.dir / ".qemu-io" / "qemu-io", image],
                                  cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
                writer.stdin.write("write -q -P 1 0 1M\nflush\nwrite -q -P 2 40M 1M\nwrite -q -P 3 512k 3M\nflush\nlength\n")
                writer.stdin.flush()
                writer.stdout.readline()
                writer.kill()
            shown = json.loads(self.ours("info", "--output=json", "a").out)
            self.assertTrue(shown["dirty-flag"])
            self.assertEqual(self.ours("check", "a", status=None).status, 2)
            self.peers("convert", "-O", "raw", "a", "r")
            self.peer_io("r", "read -P 1 0 512k", "read -P 3 512k 3M", "read -P 2 40M 1M", options=("-f", "raw"))
            repair = (self.our_io, self.peer_io)[number]
            repair("a", "write -P 4 50M 64k")
            for check in (self.ours, self.peers):
                check("check", "a")
            self.our_io("a", "read -P 1 0 512k", "read -P 3 512k 3M", "read -P 2 40M 1M", "read -P 4 50M 64k")
            self.assertFalse(json.loads(self.ours("info", "--output=json", "a").out)["dirty-flag"])
        self.ours("create", "-f", "qcow2", "-o", "compat=0.10", "b", "1M")
        for run in (self.our_io, self.peer_io):
            self.assertIn("Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level",
                          run("driver=qcow2,lazy-refcounts=on,file.filename=b", "quit", options=("--image-opts",), status=1).err)

    def test_locks(self):
        self.ours("create", "-f", "qcow2", "a", "1M")
        for mine, name in ((True, "a"), (False, "a")):
            program = self.dir / ".qemu-io" / "qemu-io" if mine else "qemu-io"
            with subprocess.Popen([program, name], cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
                holder.stdin.write(b"length\n")
                holder.stdin.flush()
                holder.stdout.readline()
                run = self.ours("info", "a", status=1)
                self.assertIn('Failed to get shared "write" lock', run.err)
                self.assertIn(f"process {holder.pid}", run.err)
                self.ours("info", "-U", "a")
                if mine:
                    run = self.peers("info", "a", status=1)
                    self.assertIn('Failed to get shared "write" lock', run.err)
                holder.stdin.close()
                holder.wait()

    def test_encrypted(self):
        """LUKS of several ciphers, and the older kind: both ways, with the key, without it and with a wrong one."""
        secret = ("--object", "secret,id=s,data=pass phrase")
        kinds = ["encrypt.format=luks,cluster_size=16k,extended_l2=on", "encrypt.format=aes",
                 "encrypt.format=luks,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.hash-alg=sha512",
                 "encrypt.format=luks,encrypt.cipher-alg=serpent-256,encrypt.ivgen-alg=plain",
                 "encrypt.format=luks,encrypt.cipher-alg=twofish-128,encrypt.cipher-mode=ecb,encrypt.hash-alg=ripemd160"]
        for n, kind in enumerate(kinds):
            luks = "luks" in kind
            fast = ",encrypt.iter-time=10" if luks else ""
            aio = AIO_MODES[n % len(AIO_MODES)]
            sides = [(self.ours, self.our_io, self.peer_io)]
            if n < 2:  # making a LUKS header takes the peer seconds of measuring
                sides.append((self.peers, self.peer_io, self.our_io))
            for make, one, other in sides:
                with self.subTest(kind=kind, aio=aio, make=make.__name__):
                    run = make("create", *secret, "-f", "qcow2", "-o", f"{kind},encrypt.key-secret=s{fast}", "a", "16M", status=None)
                    if make == self.peers and "accurate CPU usage" in run.err:
                        continue  # on a busy machine the peer cannot measure, and gives up
                    self.assertEqual(run.status, 0, run.err)
                    spec = "driver=qcow2,encrypt.key-secret=s,file.filename=a"
                    how = (*secret, "--image-opts")
                    one(spec, *WRITES, options=how)
                    other(spec, *READS, options=how)
                    other(spec, "write -P 0x21 1000 3000", "write -P 0x22 9000k 100k", "write -z 20k 3k", options=how)
                    one(spec, "read -P 0x21 1000 3000", "read -P 0x22 9000k 100k", "read -P 0 20k 3k", options=how)
                    self.ours("check", "a")
                    self.peers("check", *how, spec)
                    self.same("info", "a")
                    self.same_json("info", "--output=json", "a")
                    self.same("map", "--output=json", *how, spec)
                    self.our_io("a", "read 0 512", status=1)
                    if luks:
                        run = self.our_io(spec, "read 0 512", options=("--object", "secret,id=s,data=wrong", "--image-opts"), status=1)
                        self.assertIn("Invalid password, cannot unlock any keyslot", run.err)
                    self.assertNotIn(bytes([1]) * 64, (self.dir / "a").read_bytes())
                    self.ours("convert", *how, "-O", "raw", spec, "plain")
                    self.ours("convert", *secret, "-f", "raw", "-O", "qcow2", "-o", f"{kind},encrypt.key-secret=s{fast}", "plain", "b", aio=aio)
                    self.peers("compare", *how, spec, spec.replace("=a", "=b"))
        run = self.ours("measure", *secret, "-O", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s", "--size", "1G")
        self.assertEqual(run.out, "required size: 2490368\nfully allocated size: 1076232192\n")
        for options in ("encrypt.format=luks", "encrypt.format=foo", "encrypt.format=luks,encrypt.key-secret=x",
                        "encrypt.format=luks,encrypt.cipher-alg=foo,encrypt.key-secret=s"):
            self.same("create", *secret, "-f", "qcow2", "-o", options, "x", "1M", status=1)

    def test_luks(self):
        """The bare container."""
        secret = ("--object", "secret,id=s,data=pass phrase")
        how = (*secret, "--image-opts")
        spec = "driver=luks,key-secret=s,file.filename=a"
        for make, one, other in ((self.ours, self.our_io, self.peer_io), (self.ours, self.peer_io, self.our_io)):
            make("create", *secret, "-f", "luks", "-o", "key-secret=s,iter-time=10", "a", "16M")
            one(spec, "write -P 1 0 1M", "write -P 2 1000 100", "write -P 3 5M 1M", "write -z 6M 300k", "write -P 5 8M 100", options=how)
            other(spec, "read -P 1 0 1000", "read -P 2 1000 100", "read -P 1 1100 500k", "read -P 3 5M 1M", "read -P 0 6M 300k",
                  "read -P 5 8M 100", options=how)
            self.same("info", "a")
            self.ours("resize", *how, spec, "20M")
            self.peer_io(spec, "read -P 1 1100 500k", "length", options=how)
        run = self.ours("measure", "-O", "luks", "--size", "1G")
        self.assertEqual(run.out, "required size: 1075810304\nfully allocated size: 1075810304\n")

    def test_keys(self):
        """Changes of LUKS keys, both ways; what would lose data is refused in the peer's words."""
        names = {"s0": "aaa", "s1": "bbb", "s2": "ccc"}
        secrets = [x for name, data in names.items() for x in ("--object", f"secret,id={name},data={data}")]
        for n, (format, prefix) in enumerate((("luks", ""), ("qcow2", "encrypt."))):
            kind = "" if format == "luks" else "encrypt.format=luks,"
            self.ours("create", *secrets, "-f", format, "-o", f"{kind}{prefix}key-secret=s0,{prefix}iter-time=10", "a", "8M")

            def spec(key):
                return f"driver={format},file.filename=a,{prefix}key-secret={key}"

            def amend(options, key, run=self.ours, status=0, force=()):
                options = ",".join(prefix + x for x in options.split(","))
                return run("amend", *secrets, *force, "-o", options, "--image-opts", spec(key), status=status)

            with self.subTest(format=format):
                how = (*secrets, "--image-opts")
                self.our_io(spec("s0"), "write -P 7 0 1M", options=how, aio=AIO_MODES[n])
                amend("state=active,new-secret=s1,iter-time=10", "s0")
                for key in ("s0", "s1"):
                    self.peer_io(spec(key), "read -P 7 0 1M", options=how)
                for options in ("state=active,new-secret=s2,keyslot=1", "state=active,new-secret=s2,keyslot=9", "state=active",
                                "state=inactive", "state=inactive,keyslot=6", "state=inactive,old-secret=s2", "state=foo",
                                "state=inactive,keyslot=0,old-secret=s1", "state=active,old-secret=s0,new-secret=s1",
                                "state=inactive,old-secret=s0,new-secret=s1", "state=inactive,old-secret=s0,iter-time=1",
                                "new-secret=s1", "state=active,new-secret=nope", "key-secret=s1", "size=1" if n == 0 else "foo=1"):
                    ours = amend(options, "s0", status=1)
                    self.assertEqual(ours.err, amend(options, "s0", self.peers, status=1).err)
                amend("state=inactive,old-secret=s0", "s1")
                self.peer_io(spec("s0"), "read 0 512", options=how, status=1)
                self.our_io(spec("s0"), "read 0 512", options=how, status=1)
                self.peer_io(spec("s1"), "read -P 7 0 1M", options=how)
                for options in ("state=inactive,old-secret=s1", "state=inactive,keyslot=1"):
                    self.assertEqual(amend(options, "s1", status=1).err, amend(options, "s1", self.peers, status=1).err)
                amend("state=active,new-secret=s2,keyslot=5,iter-time=10", "s1")
                amend("state=active,new-secret=s0,keyslot=5,iter-time=10", "s1", force=("--force",))
                self.our_io(spec("s0"), "read -P 7 0 1M", options=how)
                self.our_io(spec("s2"), "read 0 512", options=how, status=1)
                amend("state=inactive,keyslot=5", "s1", self.peers)
                self.same("info", "a")
                self.same_json("info", "--output=json", "a")
        self.same("amend", "-f", "luks", "-o", "help")
        self.same("amend", "-f", "qcow2", "-o", "help")

    def test_amend_data_file(self):
        for options in ("data_file=d", "data_file=d,data_file_raw=on"):
            self.ours("create", "-f", "qcow2", "-o", options, "a", "1M")
            self.our_io("a", "write -P 3 0 64k")
            os.rename(self.dir / "d", self.dir / "e")
            spec = "driver=qcow2,file.filename=a,data-file.driver=file,data-file.filename=e"
            self.ours("amend", "-o", "data_file=e", "--image-opts", spec)
            self.peer_io("a", "read -P 3 0 64k")
            self.ours("amend", "-o", "data_file_raw=off", "a")
            self.assertIn("data file raw: false", self.same("info", "a").out)
            self.same("amend", "-o", "data_file_raw=on", "a", status=1)
        self.ours("create", "-f", "qcow2", "a", "1M")
        self.same("amend", "-o", "data_file=d", "a", status=1)
        self.same("amend", "-o", "cluster_size=4k", "a", status=1)

    def dirty(self, image, name, program=None):
        """What a server of the image says of a bitmap: offset, length and whether it is dirty."""
        server = program or self.dir / ".qemu-nbd" / "qemu-nbd"
        with subprocess.Popen([server, "-r", "-t", "-k", self.dir / "s", "-f", "qcow2", "-B", name, image], cwd=self.dir) as p:
            while not (self.dir / "s").exists() and p.poll() is None:
                time.sleep(0.02)
            time.sleep(0.05)
            spec = f"driver=nbd,path={self.dir}/s,x-dirty-bitmap=qemu:dirty-bitmap:{name}"
            out = self.peers("map", "--output=json", "--image-opts", spec).out
            p.terminate()
        (self.dir / "s").unlink(missing_ok=True)
        return [(x["start"], x["length"]) for x in json.loads(out) if not x["data"]]

    def test_bitmaps(self):
        for options in ("compat=1.1", "cluster_size=4k", "extended_l2=on,cluster_size=16k"):
            with self.subTest(options=options):
                self.ours("create", "-f", "qcow2", "-o", options, "a", "40M")
                self.ours("bitmap", "--add", "a", "b0")
                self.peers("bitmap", "--add", "-g", "4k", "a", "b1")
                self.ours("bitmap", "--add", "--disable", "-g", "1M", "a", "b2")
                self.our_io("a", "write 1M 64k", "write -z 5M 100k", "discard 10M 128k")
                self.peer_io("a", "write 20M 5M")
                self.our_io("a", "read 0 30M")
                self.same("check", "a")
                self.same("info", "a")
                self.same_json("info", "--output=json", "a")
                self.same("measure", "-O", "qcow2", "a")
                wanted = [(1 << 20, 64 << 10), (5 << 20, 100 << 10), (10 << 20, 128 << 10), (20 << 20, 5 << 20)]
                for program in (None, "qemu-nbd"):
                    self.assertEqual(self.dirty("a", "b1", program), wanted)
                    self.assertEqual(self.dirty("a", "b2", program), [])
                self.ours("bitmap", "--merge", "b1", "a", "b2")
                self.assertEqual(self.dirty("a", "b2", "qemu-nbd"), [(1 << 20, 1 << 20), (5 << 20, 1 << 20), (10 << 20, 1 << 20),
                                                                    (20 << 20, 5 << 20)])
                self.ours("convert", "--bitmaps", "-O", "qcow2", "a", "c")
                self.peers("check", "c")
                self.assertEqual(self.dirty("c", "b1", "qemu-nbd"), wanted)
                self.ours("create", "-f", "qcow2", "d", "40M")
                self.ours("bitmap", "--add", "--merge", "b1", "-b", "a", "-F", "qcow2", "d", "x")
                self.assertEqual(self.dirty("d", "x", "qemu-nbd")[0], (1 << 20, 64 << 10))
                self.ours("resize", "a", "50M")
                self.assertEqual(self.dirty("a", "b1", "qemu-nbd")[-1], (40 << 20, 10 << 20))
                self.ours("resize", "--shrink", "a", "22M")
                self.assertEqual(self.dirty("a", "b1", "qemu-nbd")[-1], (20 << 20, 2 << 20))
                self.ours("bitmap", "--clear", "a", "b1")
                self.assertEqual(self.dirty("a", "b1", "qemu-nbd"), [])
                self.peers("bitmap", "--disable", "a", "b1")
                self.peers("bitmap", "--remove", "a", "b0")
                self.ours("bitmap", "--remove", "a", "b1")
                self.ours("bitmap", "--remove", "a", "b2")
                self.same("check", "a")
                self.same("info", "a")
        for args in (("--remove", "a", "zz"), ("--add", "a"), ("a", "b"), ("--merge", "zz", "a", "b"), ("--add", "-g", "3", "a", "x"),
                     ("--clear", "-g", "4k", "a", "x")):
            self.same("bitmap", *args, status=1)

    def test_bitmap_of_a_killed_writer(self):
        """It is not to be believed, which both sides see; nothing else is lost."""
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.ours("bitmap", "--add", "a", "b")
        with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "a"], cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            p.stdin.write(b"write -P 1 0 1M\nflush\nlength\n")
            p.stdin.flush()
            for _ in range(3):
                p.stdout.readline()
            p.kill()
        self.assertIn("in-use", self.same("info", "a").out)
        self.assertEqual(self.ours("check", "a", status=None).status % 3, 0)
        self.our_io("a", "read -P 1 0 1M")
        self.same("bitmap", "--merge", "b", "a", "b", status=1)
        self.same("resize", "a", "20M", status=1)
        self.ours("check", "-r", "all", "a")
        self.assertIn("in-use", self.same("info", "a").out)
        self.ours("convert", "--bitmaps", "-O", "qcow2", "a", "c", status=1)
        self.ours("bitmap", "--remove", "a", "b")
        self.same("check", "a")

    def test_large(self):
        """Disks of 64 TiB; nothing beyond 2^63."""
        for n, options in enumerate(("cluster_size=2M", "cluster_size=64k", "cluster_size=64k,extended_l2=on")):
            self.ours("create", "-f", "qcow2", "-o", options, "a", "64T")
            self.our_io("a", "write -P 1 60T 64k", "write -P 2 67108863M 1M", "write -z 10T 1G", "discard 60T 32k", "read -P 0 1T 1M",
                        aio=AIO_MODES[n])
            self.peer_io("a", "read -P 2 67108863M 1M", "read -P 0 10T 1M", "read -P 0 63T 1M")
            self.same("check", "a")
            self.same("map", "--output=json", "a")
            self.ours("resize", "a", "65T")
            self.peer_io("a", "read -P 2 67108863M 1M", "read -P 0 64T 1M")
            self.ours("snapshot", "-c", "s", "a")
            self.ours("resize", "--shrink", "a", "10T")
            self.ours("snapshot", "-a", "s", "a")
            self.peer_io("a", "read -P 2 67108863M 1M")
            self.assertLess((self.dir / "a").stat().st_blocks * 512, 100 << 20)
            start = time.monotonic()
            self.ours("info", "a")
            self.assertLess(time.monotonic() - start, 5)  # 3 ms, on a machine that has nothing else to do
        self.ours("create", "-f", "raw", "r", "1M")
        for size in ("9223372036854775808", "8E", "18446744073709551615", "16E"):
            self.ours("create", "-f", "qcow2", "b", size, status=1)
            self.ours("create", "-f", "raw", "b", size, status=1)
            self.ours("resize", "a", size, status=1)
            self.ours("resize", "a", "+" + size, status=1)
            self.ours("resize", "-f", "raw", "r", size, status=1)
            self.ours("amend", "-o", f"size={size}", "a", status=1)
            self.ours("measure", "-O", "qcow2", "--size", size, status=1)
            for image in ("a", "r"):
                self.our_io(image, f"truncate {size}", status=1)
                for command in ("read", "write", "write -z", "discard", "aio_write"):
                    self.assertNotIn("bytes at offset", self.our_io(image, f"{command} {size} 512", status=None).out)
            self.ours("info", "--image-opts", f"driver=raw,offset={size},file.filename=r", status=1)
        self.peers("check", "a")


if __name__ == "__main__":
    tap.run_unittests()
