#!/usr/bin/env python3
"""Raw images: our tools and the peer's see the same bytes, holes and texts."""

import fcntl
import os
import random
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, LYRE, USUAL_AIO, ImageTest


class Raw(ImageTest):
    def test_write_and_read(self):
        for aio in AIO_MODES:
            with self.subTest(aio=aio):
                self.ours("create", "-f", "raw", "a", "10M")
                self.our_io("a", "write -P 5 64k 128k", "write -P 6 3 5", "write -z 128k 4k", "writev -P 7 1M 512 1k 3",
                            "aio_write -P 8 2M 64k", "aio_write -P 9 3M 1M", "aio_flush", "discard 5M 1M", "flush",
                            aio=aio, options=("-f", "raw"))
                for check in (self.our_io, self.peer_io):
                    check("a", "read -P 5 64k 64k", "read -P 6 3 5", "read -P 0 128k 4k", "read -P 7 1M 1539",
                          "read -P 8 2M 64k", "read -P 9 3M 1M", "read -P 0 8 1000", options=("-f", "raw"))

    def test_a_guest_makes_no_format(self):
        """Where raw was guessed the first sector cannot become the head of another format, in one piece or in several."""
        self.ours("create", "-f", "qcow2", "q", "1M")
        (self.dir / "head").write_bytes((self.dir / "q").read_bytes()[:512])
        (self.dir / "luks").write_bytes(b"LUKS\xba\xbe\0\1".ljust(512, b"\0"))
        (self.dir / "magic").write_bytes(b"QFI\xfb")
        cases = [("write -s head 0 512",), ("write -s head 0 64k",), ("write -s luks 0 1k",),
                 ("write -P 7 0 512", "write -z 0 4k", "write -s head 4k 512"),
                 ("write -P 3 7 1", "write -P 0 4 3", "write -s magic 0 4"), ("write -s magic 0 4", "write -P 3 7 1")]
        for commands in cases:
            with self.subTest(commands=commands):
                seen = []
                for run in (self.our_io, self.peer_io):
                    (self.dir / "a").write_bytes(bytes(1 << 20))
                    done = run("a", *commands, status=None)
                    seen.append((done.status, [x for x in done.out.splitlines() if "ops;" not in x], done.err))
                    self.assertIn("file format: raw\n", self.ours("info", "a").out)
                self.assertEqual(seen[0], seen[1])
        self.our_io("a", "write -s head 0 512", options=("-f", "raw"))
        self.assertIn("file format: qcow2\n", self.ours("info", "a").out)

    def test_locks(self):
        """What others say by QEMU's lock bytes is respected, and said: 100 + n, permission n is in use; 200 + n, nobody else may use it."""
        (self.dir / "a").write_bytes(bytes(1 << 20))
        (self.dir / "b").write_bytes(bytes(1 << 20))
        self.peers("create", "-f", "qcow2", "-o", "data_file=a", "q", "1M")
        cases = {
            101: [(("convert", "-f", "raw", "-O", "raw", "a", "c"), 'Failed to get shared "write" lock'), (("convert", "-U", "-f", "raw", "-O", "raw", "a", "c"), None),
                  (("map", "-f", "raw", "a"), None), (("dd", "-U", "-f", "raw", "if=a", "of=c"), None)],
            201: [(("resize", "-f", "raw", "a", "2M"), 'Failed to get "write" lock'), (("convert", "-n", "-f", "raw", "-O", "raw", "b", "a"), 'Failed to get "write" lock')],
            103: [(("resize", "-f", "qcow2", "q", "2M"), 'Failed to get shared "resize" lock'), (("map", "-f", "qcow2", "q"), 'Failed to get shared "resize" lock')],
            203: [(("resize", "-f", "raw", "a", "2M"), 'Failed to get "resize" lock'), (("resize", "-f", "qcow2", "q", "2M"), 'Failed to get "resize" lock')],
        }
        for byte, commands in cases.items():
            with open(self.dir / "a", "rb") as f:
                fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
                for command, text in commands:
                    with self.subTest(byte=byte, command=command):
                        for run in (self.ours, self.peers):
                            done = run(*command, status=None)
                            self.assertEqual((done.status, (text or "") in done.err), (1 if text else 0, True), done.err)
        self.assertEqual((self.dir / "a").stat().st_size, 1 << 20)

    def test_help(self):
        """Each command has a page, and takes the options that it names; what is wrong is said once, with a way on."""
        commands = re.findall(r"^  (\w+) ", self._run(LYRE, ("img", "--help"), USUAL_AIO).out, re.M)
        self.assertGreater(len(commands), 15)
        for command in commands:
            page = self._run(LYRE, ("img", command, "--help"), USUAL_AIO)
            options = re.findall(r"(?<![\w.=-])(--[a-z][\w-]+|-[A-Za-z])(?![\w-])", page.out)
            self.assertTrue(page.status == 0 and options, page.out)
            for option in options:
                self.assertNotIn("unrecognized option", self._run(LYRE, ("img", command, option, "x"), USUAL_AIO).err, (command, option))
        for words, text in ((("info", "nothere"), "lyre img: Could not open 'nothere': No such file or directory\n"),
                            (("create", "--frob"), "lyre img: unrecognized option '--frob'\nTry 'lyre img create --help' for more information\n"),
                            (("create", "-o", "clustersize=4k", "x", "1G"),
                             "lyre img: x: Invalid parameter 'clustersize'\nOptions of the format: -f qcow2 -o help\n")):
            self.assertEqual(self._run(LYRE, ("img", *words), USUAL_AIO).err, text)

    def test_data_file_is_the_image(self):
        """It is not written to twice."""
        self.ours("create", "-f", "qcow2", "-o", "data_file=a.raw", "q", "1M")
        head = (self.dir / "q").read_bytes().replace(b"a.raw", b"q.raw")
        (self.dir / "q.raw").write_bytes(head)
        for run in (self.our_io, self.peer_io):
            self.assertIn('Failed to get ', run("q.raw", "write 0 64k", status=1).err)
        self.assertEqual((self.dir / "q.raw").read_bytes(), head)

    def test_beyond_the_end(self):
        """A disk is whole sectors; the file need not be."""
        (self.dir / "a").write_bytes(b"\1" * 1000)
        for check in (self.our_io, self.peer_io):
            check("a", "read -P 1 0 1000", "read -P 0 1000 24", options=("-f", "raw"))
            run = check("a", "read 1014 20", options=("-f", "raw"), status=1)
            self.assertIn("read failed: Input/output error", run.out + run.err)
        self.same("info", "-f", "raw", "a")
        self.same_json("map", "--output=json", "-f", "raw", "a")
        self.ours("convert", "-f", "raw", "-O", "raw", "a", "b")
        self.assertEqual((self.dir / "b").read_bytes(), b"\1" * 1000 + bytes(24))

    def test_preallocation(self):
        for mode in ("off", "falloc", "full"):
            self.same("create", "-f", "raw", "-o", f"preallocation={mode}", "a", "3M")
            self.assertEqual(os.stat(self.dir / "a").st_blocks * 512 >= 3 << 20, mode != "off")
        self.same("create", "-f", "raw", "-o", "preallocation=metadata", "a", "3M", status=1)
        self.same("create", "-f", "raw", "-o", "preallocation=foo", "a", "3M", status=1)

    def test_rates(self):
        """-r holds a conversion back."""
        (self.dir / "a").write_bytes(os.urandom(4 << 20))
        start = time.monotonic()
        self.ours("convert", "-r", "4M", "-f", "raw", "-O", "raw", "a", "b")
        self.assertGreater(time.monotonic() - start, 0.4)
        self.assertEqual((self.dir / "a").read_bytes(), (self.dir / "b").read_bytes())

    def test_copies_by_the_kernel(self):
        """-C: holes stay, what is zero in between is copied as it is; where files cannot be copied it is read."""
        data = os.urandom(1 << 20) + bytes(1 << 20) + b"tail" * 1000
        with open(self.dir / "a", "wb") as f:
            f.write(data)
            f.truncate(9 << 20)
        plain = ["convert", "-C", "-f", "raw", "-O"]
        for aio in AIO_MODES:
            with self.subTest(aio=aio):
                self.ours(*plain, "raw", "a", "b", aio=aio)
                self.assertTrue((self.dir / "b").read_bytes() == (self.dir / "a").read_bytes())
                self.assertEqual(os.stat(self.dir / "a").st_blocks, os.stat(self.dir / "b").st_blocks)
                for options in ("cluster_size=512", "extended_l2=on", "cluster_size=2M", "data_file=d,data_file_raw=on",
                                "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"):
                    secret = ["--object", "secret,id=s,data=x"] if "encrypt" in options else []
                    self.ours(*plain, "qcow2", *secret, "-o", options, "a", "q", aio=aio)
                    self.peers("check", *secret, *(["--image-opts", "driver=qcow2,file.filename=q,encrypt.key-secret=s"] if secret else ["q"]))
                    if not secret:
                        self.peers("compare", "-f", "raw", "-F", "qcow2", "a", "q")
                        self.ours("convert", "-C", "-f", "qcow2", "-O", "raw", "q", "b", aio=aio)
                        self.assertTrue((self.dir / "b").read_bytes() == (self.dir / "a").read_bytes())
                self.ours("convert", "-C", "--image-opts", "-O", "raw", "driver=blkdebug,image.filename=a", "b", aio=aio)
                self.assertTrue((self.dir / "b").read_bytes() == (self.dir / "a").read_bytes())
        for words in (("-c",), ("-S", "4k")):
            self.same("convert", "-C", *words, "-f", "raw", "-O", "qcow2", "a", "q", status=1)

    def test_options_of_files(self):
        """What the file below is made with: named with a file name, taken by every format."""
        for form in ("raw", "qcow2", "luks"):
            self.same("create", "-f", form, "-o", "help")
            self.same("create", "-f", form, "-o", "help", "x")
        self.same("convert", "-O", "qcow2", "-o", "help", "a", "x")
        for options in ("nocow=on", "extent_size_hint=1M", "nocow=off,extent_size_hint=0"):
            for form in ("raw", "qcow2"):
                self.same("create", "-f", form, "-o", options, "x", "1M")
        self.ours("create", "-f", "raw", "-o", "extent_size_hint=x", "x", "1M", status=1)
        self.same("create", "-f", "qcow2", "-u", "-b", "nope", "-F", "qcow2", "x", status=1)

    def test_source_that_shrinks(self):
        """A conversion whose source becomes shorter meanwhile ends with zeros there, and not by a signal."""
        data = os.urandom(6 << 20)
        (self.dir / "a").write_bytes(data)
        forms = ("raw", "qcow2")
        program = self.dir / ".qemu-img" / "qemu-img"
        runs = [subprocess.Popen([program, "convert", "-m", "1", "-r", "2M", "-f", "raw", "-O", form, "a", form],
                                 cwd=self.dir, stderr=subprocess.PIPE, text=True) for form in forms]
        time.sleep(0.2)
        os.truncate(self.dir / "a", 5 << 20)
        for form, run in zip(forms, runs):
            with self.subTest(form=form):
                self.assertEqual(run.communicate(timeout=60), (None, ""))
                self.assertEqual(run.returncode, 0)
                self.peers("convert", "-f", form, "-O", "raw", form, "b")
                self.assertEqual((self.dir / "b").read_bytes(), data[:5 << 20] + bytes(1 << 20))

    def test_errors(self):
        """What is refused is refused in the same words."""
        self.ours("create", "-f", "qcow2", "q", "4M")
        self.ours("create", "-f", "qcow2", "r", "1M")
        for line in ("create -f qcow2 x 9E", "create -f raw x 16E", "create -f qcow2 x 1Q", "create -f qcow2 -b nope -F qcow2 x 1M",
                     "create -f raw -b q -F qcow2 x 1M", "create -f qcow2 -o compat=0.11 x 1M", "create -f qcow2 -o size=1M x 2M",
                     "create -f qcow2 -o preallocation=foo x 1M", "create -f qcow2 -o compression_type=lzma x 1M",
                     "info --image-opts driver=qcow2,file.filename=q,foo=bar", "check -r foo q", "check -T foo q",
                     "convert -O raw -S 100 q x", "convert --target-is-zero -O qcow2 q x", "convert -O qcow2 -B r q x",
                     "convert -C -S 4k -O raw q x", "convert --target-image-opts q driver=qcow2,file.filename=r",
                     "convert -n -O qcow2 q r", "rebase -u -b q r", "rebase -b q -F foo r", "resize q -1M", "resize q 9E",
                     "resize --shrink q -100M", "measure --size 9E", "measure --size 1M q", "dd if=q of=x bs=foo", "dd if=q of=x bs=0",
                     "bench -c 10 --flush-interval=5 q", "bench -i foo -c 1 q", "bench -o 100G -c 1 q", "amend -o compat=foo q",
                     "amend -o backing_file=r q", "amend -o help", "amend -f foo -o help q"):
            with self.subTest(line=line):
                self.assertEqual(self.ours(*line.split(), status=1).err.splitlines()[0], self.peers(*line.split(), status=1).err.splitlines()[0])
        for line in ("resize --shrink q -1M", "info --image-opts driver=qcow2,file.filename=q",
                     'info json:{"driver":"qcow2","file":{"driver":"file","filename":"q"}}', "snapshot q"):
            with self.subTest(line=line):
                self.assertEqual(self.ours(*line.split()).out, self.peers(*line.replace("--shrink q -1M", "r 2M").split()).out)

    def test_texts(self):
        self.ours("create", "-f", "raw", "a", "10M")
        self.our_io("a", "write 64k 64k", options=("-f", "raw"))
        for args in (("info", "a"), ("map", "-f", "raw", "a"), ("map", "--output=json", "a"),
                     ("measure", "-O", "raw", "a"), ("measure", "--size", "1000000")):
            self.same(*args)
        self.same_json("info", "--output=json", "a")
        for args in (("info", "missing"), ("info",), ("info", "-x", "a"), ("info", "-f", "foo", "a"), ("nonsense",), (),
                     ("create", "-f", "raw", "b"), ("create", "-f", "raw", "b", "x"), ("create", "-f", "foo", "b", "1"),
                     ("create", "-f", "raw", "-o", "bar=1", "b", "1M"), ("convert", "a"), ("resize", "-f", "raw", "a", "1M"),
                     ("map", "--output=foo", "a"), ("dd", "if=a"), ("dd", "foo=1"), ("snapshot", "-c", "x", "-f", "raw", "a")):
            if args[:1] != ("snapshot",):
                self.same(*args, status=1)
        self.same("check", "-f", "raw", "a", status=63)

    def test_options_refused(self):
        """Words of qemu-img that are wrong, refused as the peer refuses them."""
        self.ours("create", "-f", "qcow2", "a", "1M")
        secret = "secret,id=s,data=abc"
        self.ours("create", "-f", "qcow2", "--object", secret, "-o", "encrypt.format=aes,encrypt.key-secret=s", "b", "1M")
        ours, peers = (run("info", "--output=json", "b").out for run in (self.ours, self.peers))
        self.assertEqual(ours, peers)  # the members in their order, too
        for args in (("info", 'json:{"driver":"qcow2"}'), ("info", 'json:{"driver":"file"}'), ("info", "--object", "foo", "a"),
                     ("info", "--image-opts", "driver=qcow2,file.filename=a,file.aio=native"),
                     ("create", "--object", "secret,id=x", "x", "1M"), ("create", "-f", "qcow2", "-o", "lazy_refcounts=maybe", "x", "1M"),
                     ("create", "-f", "qcow2", "-b", "x", "-F", "qcow2", "x"), ("measure", "-O", "qcow2", "-l", "x"),
                     ("bitmap",), ("bitmap", "a"), ("convert", "-l", "snapshot.foo=1", "a", "x"),
                     ("convert", "-O", "qcow2", "-o", "nosuch=1", "a", "x"), ("convert", "-O", "qcow2", "-o", "backing_file=a", "a", "x"),
                     ("convert", "-B", "a", "-F", "qcow2", "-O", "raw", "a", "x"), ("convert", "-m", "foo", "a", "x"),
                     ("dd", "-O", "nosuch", "if=a", "of=x"), ("bench", "-c", "foo", "a"), ("bench", "-d", "foo", "a"),
                     ("bench", "-S", "foo", "a"), ("bench", "-w", "--pattern", "300", "a"), ("bench", "-t", "foo", "a"), ("--foo",)):
            with self.subTest(args=args):
                self.same(*args, status=1)

    def test_commands_refused(self):
        """Words of qemu-io and qemu-nbd that are wrong."""
        self.ours("create", "-f", "raw", "a", "1M")
        lines = ("read -Z 0 512", "read -l 4k 0 512", "read 9E 512", "aio_write -z 0 1k 2k", "truncate -m foo 2M", "truncate", "map 1",
                 "reopen -c foo", "reopen -r -w", "reopen -Z", "sleep foo", "sigraise foo", "help nosuch", "alloc 0 foo", "info")
        runs = [("qemu-io", "-f", "raw", "-c", line, "a") for line in lines]
        runs += [("qemu-io", "-f", "raw", *option, "-c", "length", "a") for option in (("-k",), ("-i", "native"), ("-i", "foo"), ("-d", "foo"))]
        runs += [("qemu-io", "-c", "open -Z a")]
        runs += [("qemu-nbd", *words) for words in (("--aio=foo", "a"), ("--image-opts", "-f", "raw", "a"), ("-n", "--cache=none", "a"))]
        for program, *words in runs:
            with self.subTest(program=program, words=words):
                ours, peers = (run(*words, program=program, status=None) for run in (self.ours, self.peers))
                self.assertEqual((ours.status, ours.out), (peers.status, peers.out))
                self.assertEqual(ours.err.splitlines()[:1], peers.err.splitlines()[:1])

    def test_many_commands(self):
        """As many -c as there are."""
        self.ours("create", "-f", "raw", "a", "1M")
        self.our_io("a", *["write -q 0 512"] * 400, "write -P 9 0 512", options=("-f", "raw"))
        self.peer_io("a", "read -P 9 0 512", options=("-f", "raw"))
        self.our_io("a", "close", "open -s a", "write -P 8 0 512", options=("-f", "raw"))
        self.peer_io("a", "read -P 9 0 512", options=("-f", "raw"))

    def test_convert_dd_compare(self):
        self.ours("create", "-f", "raw", "a", "10M")
        self.our_io("a", "write -P 1 64k 1M", "write -P 2 5M 8k", options=("-f", "raw"))
        for aio in AIO_MODES:
            with self.subTest(aio=aio):
                self.ours("convert", "-f", "raw", "-O", "raw", "a", "b", aio=aio)
                self.peers("compare", "-f", "raw", "-F", "raw", "a", "b")
                self.assertLess((self.dir / "b").stat().st_blocks * 512, 2 << 20)
                self.ours("convert", "-S", "0", "-f", "raw", "-O", "raw", "a", "b", aio=aio)
                self.assertGreaterEqual((self.dir / "b").stat().st_blocks * 512, 10 << 20)
                self.ours("dd", "-f", "raw", "if=a", "of=c", "bs=1M", "skip=5", "count=2", aio=aio)
                self.peers("dd", "-f", "raw", "if=a", "of=d", "bs=1M", "skip=5", "count=2")
                self.assertEqual((self.dir / "c").read_bytes(), (self.dir / "d").read_bytes())
                self.our_io("b", "write -P 3 9M 1", options=("-f", "raw"), aio=aio)
                self.same("compare", "-f", "raw", "-F", "raw", "a", "b", status=1)

    def test_two_threads(self):
        """What two threads copy or compare is in order: the first difference is named, and short zeros stay where they are."""
        block = os.urandom(4096)
        rng = random.Random(7)
        (self.dir / "a").write_bytes(b"".join(block if rng.random() < 0.5 else bytes(4096) for _ in range(6000)) + b"\1" * 700)
        for sparse in (512, 4096, "64k", "16M", 0):
            for form in ("raw", "qcow2"):
                self.ours("convert", "-S", sparse, "-f", "raw", "-O", form, "a", "b")
                self.peers("compare", "-f", "raw", "-F", form, "a", "b")
                self.same("compare", "-f", "raw", "-F", form, "a", "b")
        for place in (20 << 20, (9 << 20) + 4095, 5 << 20):
            self.our_io("b", f"write -P 77 {place} 1")
            for _ in range(5):
                self.same("compare", "-f", "raw", "-F", "qcow2", "a", "b", status=1)

    def test_packed_among_plain(self):
        """Two threads begin, and leave the rest to requests where something comes that is packed."""
        (self.dir / "a").write_bytes(os.urandom(4 << 20) + b"abcd" * (1 << 20) + os.urandom(4 << 20))
        self.peers("create", "-f", "qcow2", "b", "12M")
        self.ours("convert", "-c", "-n", "-f", "raw", "-O", "qcow2", "a", "b")
        self.our_io("b", "write -P 3 0 3M", "write -z 9M 1M", "write -P 4 11M 1M")
        self.ours("convert", "-f", "qcow2", "-O", "raw", "b", "c")
        self.peers("compare", "-f", "qcow2", "-F", "raw", "b", "c")
        self.same("compare", "-f", "qcow2", "-F", "raw", "b", "c")

    def test_room_that_was_never_written(self):
        """A large image whose room is all there as holes of the file is not read to find out that it is zeros."""
        self.ours("create", "-f", "qcow2", "-o", "preallocation=metadata", "a", "256G")
        self.our_io("a", "write -P 1 100G 1M")
        self.same("compare", "a", "a")
        self.ours("convert", "-O", "qcow2", "a", "b")
        self.assertLess((self.dir / "b").stat().st_blocks * 512, 3 << 20)
        self.same("compare", "a", "b")

    def test_direct(self):
        self.ours("create", "-f", "raw", "a", "1M")
        self.our_io("a", "write -P 4 0 64k", "write -P 5 100 1000", "read -P 5 100 1000", "read -P 4 1100 1000",
                    options=("-n", "-f", "raw"))
        self.peer_io("a", "read -P 5 100 1000", "read -P 4 0 100", options=("-f", "raw"))

    def test_direct_and_not_aligned(self):
        """Writes of parts of one block at the same time, and up to an end that is not aligned."""
        for aio in AIO_MODES:
            with self.subTest(aio=aio):
                (self.dir / "a").write_bytes(bytes(30000))
                parts = [f"aio_write -q -P {i + 1} {i * 300} 300" for i in range(100)]
                self.our_io("a", *parts, "aio_flush", "flush", aio=aio, options=("-n", "-f", "raw"))
                expected = b"".join(bytes([i + 1]) * 300 for i in range(100))
                self.assertEqual((self.dir / "a").read_bytes(), expected)
                (self.dir / "b").write_bytes(bytes(1000))
                self.our_io("b", "write -P 1 0 512", "write -P 2 900 100", aio=aio, options=("-n", "-f", "raw"))
                self.assertEqual((self.dir / "b").read_bytes(), b"\1" * 512 + bytes(388) + b"\2" * 100)

    def test_what_can_be_done(self):
        """`lyre img` names the file, the place and a remedy where qemu-img's texts do not."""
        self.ours("create", "-f", "raw", "a", "8M")
        self.our_io("a", "write 0 8M", options=("-f", "raw"))
        broken = "driver=raw,file.driver=blkdebug,file.image.filename=a,file.inject-error.0.event=none,file.inject-error.0.iotype=read,file.inject-error.0.errno=5,file.inject-error.0.sector=4096"
        run = self._run(LYRE, ("img", "convert", "--image-opts", "-O", "raw", broken, "b"), "auto")
        self.assertEqual(run.status, 1)
        self.assertRegex(run.err, r"cannot read '.*a.*' at byte 2097152: Input/output error")
        self.assertIn("--salvage", run.err)
        run = self._run(LYRE, ("img", "convert", "--salvage", "--image-opts", "-O", "raw", broken, "b"), "auto")
        self.assertEqual(run.status, 0, run.err)
        run = self._run("sh", ("-c", 'ulimit -f 4096; trap "" XFSZ; exec "$0" img convert -f raw -O qcow2 a c', LYRE), "auto")
        self.assertEqual(run.status, 1)
        self.assertRegex(run.err, r"cannot write 'c' at byte \d+: .*\n.*not complete")

    def test_progress(self):
        """`lyre img` shows a bar on a terminal for what takes longer than a second, and takes it away."""
        (self.dir / "a").write_bytes(os.urandom(3 << 20))
        master, slave = os.openpty()
        with subprocess.Popen([LYRE, "img", "convert", "-r", "1M", "-f", "raw", "-O", "raw", "a", "b"], cwd=self.dir, stdout=slave,
                              stderr=slave) as run:
            os.close(slave)
            text = b""
            try:
                while part := os.read(master, 4096):
                    text += part
            except OSError: # how the end of a terminal looks
                pass
        os.close(master)
        self.assertEqual(run.returncode, 0)
        self.assertRegex(text, rb"\r\[#+ *\] +\d+ %")
        self.assertTrue(text.endswith(b"\r\x1b[K"), text)
        run = self._run(LYRE, ("img", "convert", "-f", "raw", "-O", "raw", "a", "b"), "auto")
        self.assertEqual(run.out + run.err, "")

    def test_info_opens_nothing_else(self):
        """Names in an image lead nowhere unless asked for: who opened these pipes would wait for ever."""
        for name in ("base", "data"):
            self.ours("create", "-f", "raw", name, "1M")
        self.ours("create", "-f", "qcow2", "-b", "base", "-F", "raw", "a")
        self.ours("create", "-f", "qcow2", "-o", "data_file=data", "b", "1M")
        self.ours("create", "-f", "qcow2", "-u", "-b", 'json:{"driver":"raw","file":{"driver":"file","filename":"base"}}', "-F", "raw",
                  "c", "1M")
        for name in ("base", "data"):
            (self.dir / name).unlink()
            os.mkfifo(self.dir / name)
        for image in "abc":
            self.assertIn("file format: qcow2", self.ours("info", image).out)
        (self.dir / "base").unlink()
        self.assertIn("'base'", self.ours("info", "--backing-chain", "a", status=1).err)

    def test_window(self):
        self.ours("create", "-f", "raw", "a", "1M")
        self.our_io("driver=raw,offset=64k,size=64k,file.filename=a", "write -P 1 0 64k", options=("--image-opts",))
        self.our_io("a", "read -P 0 0 64k", "read -P 1 64k 64k", "read -P 0 128k 64k", options=("-f", "raw"))

    def test_static(self):
        """The static program has the same commands, without encryption and names of hosts."""
        static = Path(LYRE).with_name("lyre-static")
        if not static.exists():
            self.skipTest("no lyre-static in this build")
        run = lambda *args: self._run(static, args, "auto")
        self.assertEqual(run("img", "create", "a", "10M").status, 0)
        self.peer_io("a", "write -P 5 1M 64k")
        for kind in ("zlib", "zstd"):
            self.assertEqual(run("img", "convert", "-c", "-o", f"compression_type={kind}", "a", "b").status, 0)
            self.peers("compare", "a", "b")
        self.assertEqual(run("img", "check", "b").status, 0)
        self.assertIn("no encryption", run("img", "create", "--object", "secret,id=s,data=x", "-f", "luks", "-o", "key-secret=s", "c", "1M").err)
        self.assertIn("no address in numbers", run("img", "info", "nbd://nowhere.example/").err)

    def test_null(self):
        for name in ("null-co://", "null-aio://"):
            self.same("info", name)
        self.our_io("driver=null-co,size=1M,read-zeroes=on", "read -P 0 0 1M", "write 0 1M", "read -P 0 0 4k",
                    options=("--image-opts",))


if __name__ == "__main__":
    tap.run_unittests()
