"""Tests of tests/run_programs.py: with an emulator that is none, and a guest that is the host."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/lib")]

import run_programs
import tap

# Takes the options that the runner gives and runs the program natively.
FAKE = """#!/bin/bash
while :; do
    case $1 in -L) shift 2;; -0) name=$2; shift 2;; *) break;; esac
done
program=$1; shift
exec -a "$name" "$program" "$@"
"""


class Runner(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="lyre-programs-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.fake = self.dir / "qemu-fake"
        self.fake.write_text(FAKE)
        self.fake.chmod(0o755)
        self.root = self.dir / "root"
        (self.root / "bin").mkdir(parents=True)
        (self.root / ".lyrebird-packages.json").write_text(json.dumps({}))
        for name in ("cat", "sort", "bash", "touch", "sleep"):
            (self.root / "bin" / name).symlink_to(shutil.which(name))

    def results(self, cases, options=(), **env):
        (self.dir / "t.toml").write_text(cases)
        run = subprocess.run([sys.executable, ROOT / "tests/run_programs.py", self.dir / "t.toml", "--jobs", "1",
                              *options],
                             text=True, capture_output=True,
                             env={**os.environ, "EMULATOR": str(self.fake), "LYRE_DEBIAN_ARM64": str(self.root),
                                  "LYRE_BUILD": str(self.dir / "build"), "LYRE_TIMEOUT_FACTOR": "1", **env})
        self.assertEqual(run.stderr, "")
        return run.stdout

    def test_same(self):
        out = self.results('[files]\n"f" = "b\\na\\n"\n[[case]]\nname = "n"\nrun = ["sort f", "sort nofile"]\n'
                           '[[case]]\nname = "s"\nscript = "echo $0; cat; pwd; exit 3"\nstdin = "x"\n')
        self.assertEqual(out, "ok 1 n\nok 2 s\n1..2\n")

    def broken(self, text):
        (self.root / "bin/sort").unlink()
        (self.root / "bin/sort").write_text("#!/bin/bash\n" + text)
        (self.root / "bin/sort").chmod(0o755)
        return self.results('[files]\n"f" = "b\\na\\n"\n[[case]]\nname = "n"\nrun = "sort f"\n')

    def test_status_differs(self):
        out = self.broken("printf 'a\\nb\\n'; exit 1")
        self.assertIn("# status is [1]\n#        not [0]\nnot ok 1 n", out)

    def test_signal_differs(self):
        self.assertIn("# status is [-11]", self.broken("kill -SEGV $$"))

    def test_stdout_differs(self):
        out = self.broken("printf 'a\\nc\\n'")
        self.assertIn("stdout of 4 bytes, not 4; from byte 2 it is\n#   b'c\\n'\n# not\n#   b'b\\n'", out)

    def test_stderr_differs(self):
        self.assertIn("# stderr of 5 bytes, not 0", self.broken("printf 'a\\nb\\n'; echo oops >&2"))

    def test_directory_differs(self):
        self.assertIn("# file new is", self.broken("printf 'a\\nb\\n'; touch new"))
        self.assertIn("# file f of 2 bytes, not 4", self.broken("printf 'a\\nb\\n'; echo x > f"))

    def test_expectation(self):
        out = self.results('[[case]]\nname = "n"\nrun = "cat"\nstdin = "x"\nexpect = "y"\n'
                           '[[case]]\nname = "m"\nrun = "cat nofile"\nstatus = 1\nexpect = ""\nignore = ["stderr"]\n')
        self.assertIn("not ok 1 n", out)
        self.assertIn("\nok 2 m", out)

    def test_skips(self):
        out = self.results('[[case]]\nname = "a"\nrun = "cat"\nskip = "later"\n[[case]]\nname = "b"\nrun = "nosuch"\n'
                           '[[case]]\nname = "c"\nrun = "cat"\nskip_qemu = "bug"\n')
        self.assertEqual(out, "ok 1 a # SKIP later\nok 2 b # SKIP no native nosuch, or none for the guest\n"
                              "ok 3 c # SKIP bug\n1..3\n")

    def test_more_options(self):
        self.fake.write_text(FAKE.replace("-L)", "-engine) export ENGINE=$2; shift 2;; -L)"))
        (self.dir / "t.toml").write_text('[[case]]\nname = "a"\nscript = "echo $ENGINE"\nexpect = "slow\\n"\n'
                                         '[[case]]\nname = "b"\nrun = "cat"\nheavy = true\n')
        out = self.results((self.dir / "t.toml").read_text(), options=["--args=-engine slow", "--quick"])
        self.assertEqual(out, "ok 1 a\nok 2 b # SKIP heavy, and this is a slow engine\n1..2\n")

    def test_other_version(self):
        out = self.results('native_version = ["cat --version", "999.9"]\n[[case]]\nname = "a"\nrun = "cat"\n')
        self.assertTrue(out.startswith("1..0 # SKIP native 'cat --version' does not say 999.9"), out)

    def test_nothing_to_run(self):
        out = self.results('[[case]]\nname = "a"\nrun = "cat"\n', EMULATOR="nosuchemulator")
        self.assertEqual(out, "1..0 # SKIP no nosuchemulator, which EMULATOR asks for\n")
        out = self.results('[[case]]\nname = "a"\nrun = "cat"\n', EMULATOR="", LYRE=str(self.dir / "none"))
        self.assertIn("is not built", out)

    def test_timeout(self):
        out = self.results('[[case]]\nname = "a"\nrun = "sleep 50"\ntimeout = 0.3\nexpect = ""\n')
        self.assertIn("status is ['timeout after 0 s']", out)

    def test_coverage(self):
        out = self.results('programs = ["cat", "sort"]\n[[case]]\nname = "a"\nrun = "cat"\n')
        self.assertIn("not ok 1 a case for sort", out)

    def test_dialog(self):
        out = self.results('[[case]]\nname = "a"\nrun = "cat"\ndialog = [["hello\\n", "hello\\r\\nhello"]]\n'
                           '[[case]]\nname = "b"\nrun = "cat"\ntimeout = 0.3\ndialog = [["x\\n", "never"]]\n')
        self.assertIn("ok 1 a\n", out)
        self.assertIn("not ok 2 b", out)

    def test_unknown_key(self):
        (self.dir / "t.toml").write_text('[[case]]\nname = "a"\nrnu = "cat"\n')
        args = run_programs.argparse.Namespace(k=None, args="", quick=False)
        with self.assertRaises(ValueError):
            run_programs.Suite(self.dir / "t.toml", args)


if __name__ == "__main__":
    tap.run_unittests()
