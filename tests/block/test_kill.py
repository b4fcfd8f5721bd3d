#!/usr/bin/env python3
"""Writers that are killed: what was flushed is there, and a check finds at most leaks.

A writer writes numbered blocks, flushes, and says so; it is killed at a random moment. Its seed is printed;
LYRE_TEST_SEED repeats it as far as a process can be repeated."""

import fcntl
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, ImageTest

ROUNDS = int(os.environ.get("LYRE_KILL_ROUNDS", "18"))
BLOCK = 8 << 10
BLOCKS = 512
KINDS = ("cluster_size=4k", "cluster_size=64k", "extended_l2=on", "lazy_refcounts=on,cluster_size=512", "compat=0.10,cluster_size=4k",
         "backing")


class Kill(ImageTest):
    def one(self, rng, options, aio):
        if options == "backing":
            self.ours("create", "-f", "qcow2", "base", "4M")
            self.ours("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a")
        else:
            self.ours("create", "-f", "qcow2", "-o", options, "a", "4M")
        held = [0] * BLOCKS     # as of the last flush that was answered
        maybe = [set() for _ in held]
        with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "a"], cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=dict(os.environ, LYRE_AIO=aio), text=True, bufsize=1) as p:
            deadline = time.monotonic() + rng.uniform(0.01, 0.25)
            sent = []
            while time.monotonic() < deadline:
                for _ in range(rng.randrange(1, 6)):
                    block, value = rng.randrange(BLOCKS), rng.randrange(1, 256)
                    zero = rng.random() < 0.2
                    what = f"write -q -z {block * BLOCK} {BLOCK}" if zero else f"write -q -P {value} {block * BLOCK} {BLOCK}"
                    maybe[block].add(0 if zero else value)
                    sent.append((block, 0 if zero else value))
                    p.stdin.write(what + "\n")
                if rng.random() < 0.5:
                    p.stdin.write("flush\nlength\n")
                    p.stdin.flush()
                    while (line := p.stdout.readline()) and "MiB" not in line:
                        pass
                    for block, value in sent:
                        held[block] = value
                        maybe[block] = set()
                    sent = []
            p.stdin.flush()
            p.kill()
            p.stdout.close()
            try:
                p.stdin.close()
            except BrokenPipeError:
                pass
        if "lazy" in options: # who opens it next for writing counts anew
            rng.choice((self.our_io, self.peer_io))("a", "read 0 1")
        for check in (self.ours, self.peers):
            self.assertIn(check("check", "a", status=None).status, (0, 3), f"{options} {aio}")
        self.ours("convert", "-O", "raw", "a", "r")
        data = (self.dir / "r").read_bytes()
        for i in range(BLOCKS):
            got = set(data[i * BLOCK:(i + 1) * BLOCK])
            self.assertTrue(got <= maybe[i] | {held[i]}, f"{options} {aio}: block {i} has {got}, may have {held[i]} or {maybe[i]}")
        self.ours("check", "-r", "leaks", "a", status=None)
        self.peers("check", "a")

    def test_kill(self):
        seed = int(os.environ.get("LYRE_TEST_SEED", "0"), 0) or time.time_ns() & 0xffffffff
        print(f"# seed: LYRE_TEST_SEED={seed}")
        rng = random.Random(seed)
        for i in range(ROUNDS):
            self.one(rng, KINDS[i % len(KINDS)], AIO_MODES[i // len(KINDS) % len(AIO_MODES)])


class Locks(ImageTest):
    """Locks of files that the kernel has still open for a process that is gone. Here an open file is on its way through a socket."""
    F_OFD_SETLK, WRITE_REFUSED = 37, 201

    def leave_lock(self, path):
        """The socket that keeps the file open."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        with open(path, "rb") as file:
            fcntl.fcntl(file, self.F_OFD_SETLK, struct.pack("hhxxxxqqixxxx", fcntl.F_RDLCK, 0, self.WRITE_REFUSED, 1, 0))
            socket.send_fds(near, [b"x"], [file.fileno()])
        return far

    def grow(self, status):
        return self.ours("resize", "-q", "-f", "raw", "a", "2M", status=status)

    def test_what_ends_soon_is_waited_for(self):
        self.ours("create", "-q", "-f", "raw", "a", "1M")
        keeper = self.leave_lock(self.dir / "a")
        timer = threading.Timer(0.3, keeper.close)
        timer.start()
        self.addCleanup(timer.join)
        self.grow(0)

    def test_but_not_for_ever(self):
        self.ours("create", "-q", "-f", "raw", "a", "1M")
        self.leave_lock(self.dir / "a")
        text = self.grow(1).err
        self.assertIn('Failed to get "write" lock', text)
        self.assertNotIn("in use by process", text)


if __name__ == "__main__":
    tap.run_unittests()
