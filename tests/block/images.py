"""What the tests of images share: running our tools and the peer's in a directory of their own."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

LYRE = os.environ.get("LYRE", str(Path(__file__).resolve().parents[2] / "build" / "lyre"))
AIO_MODES = ("auto", "threads", "io_uring")
USUAL_AIO = os.environ.get("LYRE_TEST_AIO", "auto")  # where a test does not choose
PEER = {name: shutil.which(name) for name in ("qemu-img", "qemu-io", "qemu-nbd")}
TIMEOUT = 60


class Run:
    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr


class ImageTest(unittest.TestCase):
    """A directory for each test; `ours` and `peers` run qemu-img, `our_io` and `peer_io` qemu-io."""

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="lyre-block-"))
        for name in PEER:
            (self.dir / f".{name}").mkdir()
            (self.dir / f".{name}" / name).symlink_to(LYRE)

    def tearDown(self):
        shutil.rmtree(self.dir)

    def _run(self, program, args, aio):
        env = dict(os.environ, LYRE_AIO=aio)
        return Run(subprocess.run([program, *map(str, args)], cwd=self.dir, env=env, text=True, timeout=TIMEOUT,
                                  errors="replace", stdin=subprocess.DEVNULL, capture_output=True))

    def ours(self, *args, aio=USUAL_AIO, status=0, program="qemu-img"):
        run = self._run(self.dir / f".{program}" / program, args, aio)
        if status is not None:
            self.assertEqual(run.status, status, f"{program} {args}: {run.out}{run.err}")
        return run

    def our_io(self, image, *commands, aio=USUAL_AIO, status=0, options=()):
        words = [x for c in commands for x in ("-c", c)]
        return self.ours(*options, *words, image, aio=aio, status=status, program="qemu-io")

    def peers(self, *args, status=0, program="qemu-img"):
        if not PEER[program]:
            self.skipTest(f"no {program}")
        run = self._run(PEER[program], args, "")
        if status is not None:
            self.assertEqual(run.status, status, f"peer's {program} {args}: {run.out}{run.err}")
        return run

    def peer_io(self, image, *commands, status=0, options=()):
        words = [x for c in commands for x in ("-c", c)]
        return self.peers(*options, *words, image, status=status, program="qemu-io")

    def same(self, *args, status=0, program="qemu-img"):
        """Both print the same and end in the same way."""
        ours, peers = (run(*args, status=status, program=program) for run in (self.ours, self.peers))
        self.assertEqual(ours.out, peers.out)
        self.assertEqual(ours.err.splitlines()[:1], peers.err.splitlines()[:1])
        return ours

    def same_json(self, *args):
        self.assertEqual(json.loads(self.ours(*args).out), json.loads(self.peers(*args).out))
