#!/usr/bin/env python3
"""Random changes of an image with a backing file and snapshots, each made by our tools or by the peer's, against
plain arrays in memory. LYRE_TEST_SEED repeats a run; LYRE_TEST_ROUNDS (1) makes it longer."""

import os
import random
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, PEER, ImageTest

STEPS, SECTOR, MIB = 60, 512, 1 << 20
KINDS = ("cluster_size=64k", "cluster_size=4k,refcount_bits=64", "cluster_size=512", "cluster_size=16k,extended_l2=on",
         "cluster_size=64k,compat=0.10", "cluster_size=32k,compression_type=zstd,lazy_refcounts=on")


class World:
    """The image `top` above `base`, and what both hold."""

    def __init__(self, test, rng, kind):
        self.test, self.rng = test, rng
        self.v3 = "compat=0.10" not in kind
        self.may_be_v2 = "extended" not in kind and "zstd" not in kind
        self.base, self.top = bytearray(2 * MIB), bytearray(2 * MIB)
        self.snapshots = {}
        self.number = 0
        self.img("create", "-q", "-f", "qcow2", "-o", kind, "base", "2M")
        self.io("base", self.base, self.writes(self.base, 4))
        self.top[:] = self.base
        self.img("create", "-q", "-f", "qcow2", "-o", kind, "-b", "base", "-F", "qcow2", "top")

    def img(self, *words, peers=True):
        """One of the two tools, ours if the peer's is known to fail there."""
        if self.rng.random() < 0.6 or not peers:
            self.test.ours(*words, aio=self.rng.choice(AIO_MODES))
        else:
            self.test.peers(*words)

    def io(self, image, model, commands):
        for command, at, data in commands:
            model[at:at + len(data)] = data
        words = [c for c, _, _ in commands]
        if self.rng.random() < 0.6:
            self.test.our_io(image, *words, aio=self.rng.choice(AIO_MODES))
        else:
            self.test.peer_io(image, *words)

    def place(self, model, unit=SECTOR):
        at = self.rng.randrange(len(model) // unit) * unit
        return at, min(self.rng.choice((1, 3, 8, 64, 300)) * unit, len(model) - at)

    def writes(self, model, count):
        for_io = []
        for _ in range(count):
            at, n = self.place(model)
            value = self.rng.randrange(1, 256)
            kind = self.rng.randrange(4)
            if kind < 2:
                for_io.append((f"{'aio_write' if kind else 'write'} -q -P {value} {at} {n}", at, bytes([value]) * n))
                if kind:
                    for_io.append(("aio_flush", 0, b""))
            else:
                for_io.append((f"write -q -z {'-u ' if kind == 3 else ''}{at} {n}", at, bytes(n)))
        return for_io

    def step_write(self):
        self.io("top", self.top, self.writes(self.top, self.rng.randrange(1, 5)))

    def step_compressed(self):
        """A compressed copy holds the same."""
        self.img("convert", "-c", "-O", "qcow2", "top", "packed")
        self.test.assertEqual(self.test.peers("compare", "top", "packed").status, 0)

    def step_snapshot(self):
        name = f"s{self.number}"
        self.number += 1
        self.img("snapshot", "-c", name, "top")
        self.snapshots[name] = bytes(self.top)

    def step_apply(self):
        if self.snapshots:
            name = self.rng.choice(list(self.snapshots))
            if len(self.snapshots[name]) != len(self.top) and not self.v3:
                return
            self.img("snapshot", "-a", name, "top")
            self.top = bytearray(self.snapshots[name])

    def step_delete(self):
        if self.snapshots:
            name = self.rng.choice(list(self.snapshots))
            del self.snapshots[name]
            self.img("snapshot", "-d", name, "top")

    def step_resize(self):
        if self.snapshots and not self.v3:
            return
        size = self.rng.randrange(1, 4 * MIB // SECTOR) * SECTOR
        # In version 2 qemu 7.2 cannot hide the base behind the end of what was shorter.
        self.img("resize", "-q", "--shrink", "top", str(size), peers=self.v3 or size <= len(self.top))
        self.top = self.top[:size] + bytes(size - len(self.top[:size]))

    def step_commit(self):
        """The base then holds what the top holds; snapshots keep what is theirs alone only as long as the base stays."""
        if not self.snapshots and len(self.top) >= len(self.base):
            self.img("commit", "-q", "top")
            self.base = bytearray(self.top)

    def step_rebase(self):
        if self.snapshots:
            return
        self.img("rebase", "-b", "", "top")
        self.test.img_model("top", self.top)
        self.img("rebase", "-b", "base", "-F", "qcow2", "top")

    def step_amend(self):
        if self.v3:
            self.img("amend", "-o", f"lazy_refcounts={self.rng.choice(('on', 'off'))}", "top")
            if self.rng.random() < 0.5:
                self.img("amend", "-o", f"refcount_bits={self.rng.choice((8, 16, 32, 64))}", "top")

    def step_version(self):
        """Version 2 has neither zero clusters nor sizes of snapshots."""
        if not self.v3:
            self.img("amend", "-o", "compat=1.1", "top")
        elif self.may_be_v2 and all(len(x) == len(self.top) for x in self.snapshots.values()):
            # qemu 7.2 leaves COPIED flags where snapshots share clusters.
            self.img("amend", "-o", "compat=0.10,refcount_bits=16,lazy_refcounts=off", "top", peers=not self.snapshots)
        else:
            return
        self.v3 = not self.v3

    def step_check(self):
        self.test.peers("check", "-q", "top")
        self.test.ours("check", "-q", "top")


class Random(ImageTest):
    def img_model(self, image, model):
        for run in (self.ours, self.peers):
            run("convert", "-f", "qcow2", "-O", "raw", image, "plain")
            self.assertEqual((self.dir / "plain").read_bytes(), bytes(model), run.__name__)

    def test_against_the_model_and_the_peer(self):
        if not PEER["qemu-img"]:
            self.skipTest("no qemu-img")
        seed = int(os.environ.get("LYRE_TEST_SEED") or random.randrange(1 << 31))
        print(f"# seed: LYRE_TEST_SEED={seed}", flush=True)
        rng = random.Random(seed)
        steps = [getattr(World, x) for x in sorted(dir(World)) if x.startswith("step_")] + [World.step_write] * 6
        for round_ in range(int(os.environ.get("LYRE_TEST_ROUNDS", "1"))):
            kind = rng.choice(KINDS)
            with self.subTest(seed=seed, round=round_, kind=kind):
                world, done = World(self, rng, kind), []
                try:
                    for n in range(STEPS):
                        step = rng.choice(steps)
                        done.append(step.__name__)
                        step(world)
                        if n % 8 == 7:
                            self.img_model("top", world.top)
                    self.img_model("top", world.top)
                    self.img_model("base", world.base)
                    world.step_check()
                except AssertionError:
                    print(f"# {kind}: {' '.join(done)}", flush=True)
                    raise
                for name in ("top", "base", "packed"):
                    (self.dir / name).unlink(missing_ok=True)


if __name__ == "__main__":
    tap.run_unittests()
