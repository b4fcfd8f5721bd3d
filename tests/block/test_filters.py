#!/usr/bin/env python3
"""Filters: what they do to requests, and that the peer's options of the same name mean the same."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, ImageTest

OPTS = ("--image-opts",)


class Filters(ImageTest):
    def test_blkdebug(self):
        """Errors by event, once, by state, by sector, by kind; the image is whole afterwards."""
        rules = {
            "event=write_aio,errno=28": ("write 0 64k", "write failed: No space left on device"),
            "event=write_aio,errno=5,once=on": ("write 0 64k", "write failed: Input/output error"),
            "event=read_aio,errno=5": ("read 1M 4k", "read failed: Input/output error"),
            "event=none,iotype=write,errno=28": ("write 0 64k", "write failed: No space left on device"),
            "event=cow_read,errno=5": ("write 3145828 100", "write failed: Input/output error"),
            "event=read_compressed,errno=5": ("read 2M 4k", "read failed: Input/output error"),
            "event=write_compressed,errno=28": ("write -c 3M 64k", "write failed: No space left on device"),
            "event=cluster_alloc_bytes,errno=28": ("write -c 3M 64k", "write failed: No space left on device"),
            "event=cluster_alloc,errno=28": ("write 3M 64k", "write failed: No space left on device"),
            "event=vmstate_save,errno=28,iotype=write": ("write -b 0 64k", "write failed: No space left on device"),
        }
        self.ours("create", "-f", "qcow2", "base", "4M")
        self.our_io("base", "write -P 2 3M 64k")
        for rule, (command, text) in rules.items():
            with self.subTest(rule=rule):
                self.ours("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a")
                self.our_io("a", "write -P 1 1M 64k", "write -c -P 3 2M 64k")
                members = ",".join(f"file.inject-error.0.{m}" for m in rule.split(","))
                spec = f"driver=qcow2,file.driver=blkdebug,file.image.filename=a,{members}"
                for program in (self.ours, self.peers):
                    run = program("-c", command, *OPTS, spec, program="qemu-io", status=1)
                    self.assertEqual(run.out.splitlines()[0], text)
                self.our_io("a", "read -P 1 1M 64k", "read -P 2 3M 64k")
                self.assertIn(self.ours("check", "a", status=None).status, (0, 3))
        (self.dir / "cfg").write_text('[inject-error]\nevent = "read_aio"\nerrno = "5"\nstate = "2"\nonce = "off"\n\n'
                                      '[set-state]\nevent = "write_aio"\nstate = "1"\nnew_state = "2"\n')
        for run in (self.our_io, self.peer_io):
            out = run("blkdebug:cfg:a", "read 1M 4k", "write 1M 4k", "read 1M 4k", status=1).out
            self.assertEqual([x for x in out.splitlines() if "failed" in x], ["read failed: Input/output error"])
        self.ours("info", "blkdebug::a")
        self.our_io("driver=qcow2,file.driver=blkdebug,file.image.filename=a,file.inject-error.0.event=foo", "quit", options=OPTS, status=1)

    def test_breakpoints(self):
        """Requests are held, and go on, where the peer's do; what is written meanwhile and then is there."""
        self.ours("create", "-f", "qcow2", "base", "4M")
        self.our_io("base", "write -P 2 0 1M")
        cases = [
            ("break write_aio A", "aio_write -q 0 64k", "wait_break A", "resume A", "aio_flush", "read -P 0xcd 0 64k"),
            ("break write_aio A", "break write_aio B", "aio_write -q 0 64k", "wait_break A", "resume A", "wait_break B", "resume B", "aio_flush"),
            ("break cow_read A", "aio_write -q -P 3 1k 1k", "wait_break A", "aio_write -q -P 4 64k 64k", "resume A", "aio_flush", "read -P 2 0 1k"),
            ("break cow_write A", "aio_write -q -P 3 200k 1k", "wait_break A", "write -q -P 4 2M 1k", "resume A", "aio_flush", "read -P 3 200k 1k"),
            ("break write_aio A", "aio_write -q -P 5 0 64k", "wait_break A", "aio_write -q -P 6 32k 64k", "resume A", "aio_flush", "read -P 5 0 32k"),
            ("break write_aio A", "aio_write -q 0 64k", "wait_break A", "break write_aio A", "remove_break A", "aio_flush", "remove_break A"),
            ("break write_aio A", "aio_write -q 0 64k", "wait_break A", "remove_break A", "aio_flush"),
            ("break pwritev A", "break pwritev_zero B", "remove_break A", "remove_break B", "remove_break A", "resume A"),
            ("break nothing A", "break", "wait_break", "resume a b", "remove_break"),
        ]
        for commands in cases:
            with self.subTest(commands=commands):
                seen = []
                for run in (self.our_io, self.peer_io):
                    self.ours("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a")
                    out = run("blkdebug::a", *commands, status=None)
                    seen.append((out.status, [x for x in out.out.splitlines() if "ops;" not in x], out.err))
                    self.peers("check", "a")
                self.assertEqual(seen[0], seen[1])
        for command in ("break write_aio A", "remove_break A", "resume A"):
            self.same("-c", command, "a", program="qemu-io", status=1)

    def test_breakpoint_and_the_end(self):
        """Where the peer would wait for ever: a request that is still held goes on when the image is closed, and nobody waits for none."""
        for aio in AIO_MODES:
            self.ours("create", "-f", "qcow2", "a", "4M")
            self.our_io("blkdebug::a", "break write_aio A", "break flush_to_disk B", "aio_write -P 7 0 64k", "wait_break A", aio=aio)
            self.our_io("a", "read -P 7 0 64k", aio=aio)
            out = self.our_io("blkdebug::a", "break write_aio A", "wait_break A", aio=aio, status=1).out
            self.assertEqual(out, "No request is under way that could reach breakpoint A\n")

    def test_sector(self):
        self.ours("create", "-f", "raw", "a", "1M")
        spec = "driver=blkdebug,image.filename=a,inject-error.0.event=none,inject-error.0.sector=10,inject-error.0.errno=5"
        for run in (self.our_io, self.peer_io):
            out = run(spec, "read 0 5k", "read 5k 1k", "read 6k 4k", status=1, options=OPTS).out
            self.assertEqual(len([x for x in out.splitlines() if "failed" in x]), 1)

    def test_copy_on_read(self):
        for aio in AIO_MODES:
            for options in ("cluster_size=64k", "cluster_size=4k", "extended_l2=on"):
                with self.subTest(aio=aio, options=options):
                    self.ours("create", "-f", "qcow2", "base", "10M")
                    self.our_io("base", "write -P 1 0 3M", "write -P 2 5M 1M")
                    self.ours("create", "-f", "qcow2", "-o", options, "-b", "base", "-F", "qcow2", "a")
                    self.our_io("driver=copy-on-read,file.driver=qcow2,file.file.filename=a", "aio_read 100k 1M", "aio_write -P 3 200k 1k",
                                "aio_flush", "read -P 1 100k 100k", "read -P 3 200k 1k", "read -P 2 5M 1k", options=OPTS, aio=aio)
                    self.peers("check", "a")
                    self.ours("rebase", "-u", "-b", "", "a")
                    self.peer_io("a", "read -P 1 100k 100k", "read -P 3 200k 1k", "read -P 1 201k 900k", "read -P 2 5M 1k", "read -P 0 2M 1M",
                                 "read -P 0 9M 1M")

    def test_copy_on_read_by_option(self):
        """qemu-io -C: what was read is the overlay's."""
        self.ours("create", "-f", "qcow2", "base", "4M")
        self.our_io("base", "write -P 1 0 1M")
        self.ours("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a")
        self.our_io("a", "read -P 1 0 64k", options=("-C",))
        self.our_io("a", "read -P 1 512k 64k")
        self.ours("rebase", "-u", "-b", "", "a")
        self.peer_io("a", "read -P 1 0 64k", "read -P 0 512k 64k")

    def test_discard_and_common_options(self):
        self.ours("create", "-f", "qcow2", "a", "4M")
        for options, left in ((("-d", "ignore"), 1), (("-d", "unmap"), 0), ((), 0)):
            for run in (self.our_io, self.peer_io):
                self.our_io("a", "write -P 1 0 64k")
                run("a", "discard 0 64k", options=options)
                self.peer_io("a", f"read -P {left} 0 64k")
        for mode, left in (("ignore", 1), ("off", 1), ("unmap", 0)):
            self.our_io("a", "write -P 1 0 64k")
            self.our_io(f"driver=qcow2,discard={mode},file.filename=a", "discard 0 64k", options=OPTS)
            self.peer_io("a", f"read -P {left} 0 64k")
        self.same("info", *OPTS, "driver=qcow2,discard=maybe,file.filename=a", status=1)
        for options in ("detect-zeroes=maybe", "detect-zeroes=unmap,discard=ignore"):
            self.same_refusal(f"driver=qcow2,{options},file.filename=a")
        for options in ("force-share=on", "detect-zeroes=off,read-only=on"):
            self.same("info", *OPTS, f"driver=qcow2,{options},file.filename=a")
        self.our_io(f"driver=qcow2,force-share=on,file.filename=a", "read 0 1k", options=OPTS, status=1)

    def same_refusal(self, options):
        texts = [run(options, "quit", options=OPTS, status=1).err.splitlines()[0] for run in (self.our_io, self.peer_io)]
        self.assertEqual(*texts)

    def test_names(self):
        """Of nodes: what may be one, and that one stands for one node."""
        self.ours("create", "-f", "qcow2", "a", "4M")
        for options in ("node-name=0x", "node-name=x,file.node-name=x", "backing=foo", "node-name=abcdefghijklmnopqrstuvwxyzabcdef"):
            self.same_refusal(f"driver=qcow2,file.filename=a,{options}")
        self.same_refusal("driver=qcow2,file=foo")
        self.our_io("driver=qcow2,file.filename=a,node-name=A.b_c-1", "quit", options=OPTS)

    def room(self, name):
        return (self.dir / name).stat().st_blocks * 512

    def test_detect_zeroes(self):
        """Zeros that are written: as they are, as zeros with their room, or as holes of the image and its file."""
        full, empty, most = "write -P 1 0 4M", "write -P 0 0 4M", 3 << 20
        cases = (("detect-zeroes=off", False, True), ("detect-zeroes=on", True, True),
                 ("detect-zeroes=on,discard=unmap", True, True), ("detect-zeroes=unmap,discard=unmap", True, False))
        for n, (options, zero, keeps) in enumerate(cases):
            aio = AIO_MODES[n % len(AIO_MODES)]
            with self.subTest(aio=aio, options=options):
                self.ours("create", "-f", "qcow2", "a", "16M")
                self.our_io("a", full)
                self.our_io(f"driver=qcow2,{options},file.filename=a", empty, "write -P 2 1M 1", options=OPTS, aio=aio)
                shown = json.loads(self.peers("map", "--output=json", "a").out)
                self.assertEqual(shown[0]["zero"], zero)
                self.assertEqual(self.room("a") > most, keeps)
                self.peers("check", "a")
                self.peer_io("a", "read -P 0 0 1M", "read -P 2 1M 1", "read -P 0 1048577 3145727")
        for kind in ("compat=0.10", "extended_l2=on", "data_file=d"):
            self.ours("create", "-f", "qcow2", "-o", kind, "a", "16M")
            self.our_io("a", full)
            self.our_io("driver=qcow2,detect-zeroes=unmap,file.filename=a", empty, options=OPTS)
            self.peers("check", "a")
            self.peer_io("a", "read -P 0 0 4M")
        self.ours("create", "-f", "raw", "r", "4M")
        self.our_io("r", full, options=("-f", "raw"))
        self.our_io("driver=raw,detect-zeroes=on,file.filename=r", empty, options=OPTS)
        self.assertGreater(self.room("r"), most)
        self.our_io("driver=raw,detect-zeroes=unmap,file.filename=r", empty, options=OPTS)
        self.assertEqual(self.room("r"), 0)

    def test_room_goes_back(self):
        """What discards, zeros and deleted snapshots free is given up by the file at once, here as there, unless told otherwise."""
        def left(io, img, *commands, options=""):
            self.ours("create", "-f", "qcow2", "a", "16M")
            self.our_io("a", "write -P 1 0 4M", "write -c -P 1 8M 64k")
            for command in commands:
                if command.startswith("snapshot"):
                    img(*command.split(), "a")
                else:
                    io(f"driver=qcow2,file.filename=a{options}", command, options=OPTS)
            self.peers("check", "a")
            return self.room("a") >> 20
        cases = [(("discard 1M 2M",), ""), (("discard 0 16M",), ""), (("write -zu 0 3M",), ""), (("write -z 0 3M",), ""),
                 (("snapshot -c s", "write -P 2 0 4M", "snapshot -d s"), ""), (("snapshot -c s", "write -P 2 0 4M", "snapshot -a s"), ""),
                 (("snapshot -c s", "discard 0 4M"), ""), (("discard 0 16M",), ",discard=ignore"), (("write -zu 0 3M",), ",discard=ignore"),
                 (("discard 0 16M",), ",file.discard=ignore"), (("discard 0 16M",), ",pass-discard-request=off")]
        for commands, options in cases:
            with self.subTest(commands=commands, options=options):
                ours = left(self.our_io, self.ours, *commands, options=options)
                self.assertEqual(ours, left(self.peer_io, self.peers, *commands, options=options))
                self.our_io("a", "read 0 16M")
        self.ours("create", "-f", "qcow2", "-o", "data_file=d", "a", "16M")
        self.our_io("a", "write -P 1 0 4M", "discard 0 4M", "read -P 0 0 4M")
        self.assertEqual(self.room("d"), 0)
        for aio in AIO_MODES: # room that is being given up is not used before that is done
            self.ours("create", "-f", "qcow2", "a", "16M")
            self.our_io("a", *(x for i in range(20) for x in (f"aio_write -P {i + 1} 0 2M", f"aio_write -P {i + 1} 4M 2M", "aio_flush", "discard 0 1M", "flush",
                                                              f"aio_write -P {i + 1} 0 1M", "aio_flush", f"read -P {i + 1} 0 2M")), aio=aio)
            self.our_io("a", "read -P 20 0 2M", "read -P 20 4M 2M")
            self.peers("check", "a")

    def test_throttle(self):
        self.ours("create", "-f", "raw", "a", "8M")
        for limit, commands in (("x-iops-total=20", ["write 0 4k"] * 12), ("x-bps-total=2M", ["write 0 1M"] * 2),
                                ("limits.iops-read=20", ["read 0 4k"] * 12)):
            with self.subTest(limit=limit):
                start = time.monotonic()
                self.our_io("driver=throttle,throttle-group=g,file.driver=raw,file.file.filename=a", *commands,
                            options=("--object", f"throttle-group,id=g,{limit}", *OPTS))
                self.assertGreater(time.monotonic() - start, 0.35)
        self.same("info", *OPTS, "driver=throttle,file.filename=a", status=1)
        self.same("info", *OPTS, "driver=throttle,throttle-group=x,file.filename=a", status=1)

    def test_quorum(self):
        def spec(threshold, more=""):
            children = ",".join(f"children.{i}.driver=raw,children.{i}.file.filename=q{i}" for i in range(3))
            return f"driver=quorum,vote-threshold={threshold},{children}{more}"
        for i in range(3):
            self.ours("create", "-f", "raw", f"q{i}", "1M")
        self.our_io(spec(2), "write -P 5 0 64k", options=OPTS)
        for i in range(3):
            self.peer_io(f"q{i}", "read -P 5 0 64k", options=("-f", "raw"))
        self.our_io("q1", "write -P 9 0 64k", options=("-f", "raw"))
        for run in (self.our_io, self.peer_io):
            run(spec(2), "read -P 5 0 64k", options=OPTS)
            self.assertIn("read failed: Input/output error", run(spec(3), "read 0 64k", options=OPTS, status=1).out)
            run(spec(2, ",read-pattern=fifo"), "read -P 5 0 64k", options=OPTS)
        self.our_io(spec(2, ",rewrite-corrupted=on"), "read -P 5 0 64k", options=OPTS)
        self.peer_io("q1", "read -P 5 0 64k", options=("-f", "raw"))
        self.same("info", *OPTS, spec(4), status=1)

    def test_blkverify(self):
        self.ours("create", "-f", "raw", "r", "1M")
        self.ours("create", "-f", "qcow2", "t", "1M")
        self.our_io("blkverify:r:t", "write -P 5 0 64k", "read -P 5 0 64k", options=("-f", "raw"))
        self.peer_io("t", "read -P 5 0 64k")
        self.our_io("r", "write -P 6 0 1k", options=("-f", "raw"))
        self.our_io("blkverify:r:t", "read 0 64k", options=("-f", "raw"), status=1)

    def test_preallocate(self):
        """The file has room ahead while it is open, and is cut to its size when it is closed; the peer's does the same."""
        for aio in AIO_MODES:
            for options in ("", ",file.prealloc-size=4M,file.prealloc-align=2M"):
                self.ours("create", "-f", "qcow2", "a", "64M")
                spec = f"driver=qcow2,file.driver=preallocate,file.file.driver=file,file.file.filename=a{options}"
                with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "--image-opts", spec], cwd=self.dir, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, env=dict(os.environ, LYRE_AIO=aio)) as writer:
                    writer.stdin.write("write -P 5 0 3M\nflush\n")
                    writer.stdin.flush()
                    writer.stdout.readline()
                    writer.stdout.readline()
                    room = (self.dir / "a").stat().st_blocks * 512
                    self.assertGreater(room, (4 if options else 128) << 20)
                    writer.stdin.write("aio_write -P 6 8M 5M\naio_write -P 7 20M 64k\naio_flush\nquit\n")
                    writer.stdin.flush()
                    writer.stdout.read()
                self.assertEqual(writer.returncode, 0)
                self.assertLess((self.dir / "a").stat().st_size, 10 << 20)
                self.peers("check", "a")
                self.peer_io("a", "read -P 5 0 3M", "read -P 6 8M 5M", "read -P 7 20M 64k", "read -P 0 3M 5M")
                self.peer_io(spec, "write -P 8 30M 1M", options=("--image-opts",))
                self.our_io(spec, "read -P 8 30M 1M", "read -P 6 8M 5M", options=("--image-opts",))
        self.our_io("driver=preallocate,prealloc-align=1000,file.driver=file,file.filename=a", options=("--image-opts",), status=1)

    def test_compress(self):
        self.ours("create", "-f", "qcow2", "a", "1M")
        self.our_io("driver=compress,file.driver=qcow2,file.file.filename=a", "write -P 5 0 64k", "write -P 6 100k 5k", options=OPTS)
        self.assertIn("compressed clusters", self.ours("check", "a").out)
        self.assertNotIn(" 0.00% compressed", self.ours("check", "a").out)
        self.peer_io("a", "read -P 5 0 64k", "read -P 6 100k 5k")


if __name__ == "__main__":
    tap.run_unittests()
