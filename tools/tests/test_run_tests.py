"""Tests of scripts/run-tests: what counts as passed, failed and skipped."""

import importlib.machinery
import importlib.util
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/lib"))

import tap

loader = importlib.machinery.SourceFileLoader("run_tests", str(ROOT / "scripts/run-tests"))
spec = importlib.util.spec_from_loader("run_tests", loader)
run_tests = importlib.util.module_from_spec(spec)
sys.modules["run_tests"] = run_tests
loader.exec_module(run_tests)


def entry(stdout="", result="OK", returncode=0, stderr=""):
    return run_tests.read_meson_entry({"name": "t", "stdout": stdout, "stderr": stderr, "result": result,
                                       "returncode": returncode, "duration": 1.0})


class Counting(unittest.TestCase):
    def counts(self, outcome):
        return outcome.passed, len(outcome.failures), len(outcome.skips)

    def test_tap(self):
        self.assertEqual(self.counts(entry("ok 1 a\nok 2 - b\n# note\nok\n1..3\n")), (3, 0, 0))

    def test_failure_shows_notes(self):
        o = entry("ok 1 a\n# x.c:3: boom\nnot ok 2 b\n1..2\n", "FAIL", 1, "on stderr\n")
        self.assertEqual((o.passed, o.failures), (1, ["b"]))
        self.assertEqual(o.log, "# x.c:3: boom\nnot ok 2 b\n1..2\non stderr")

    def test_skips_name_reasons(self):
        o = entry("ok 1 a # SKIP no tool\nok 2 b # skipped: none\n1..2\n")
        self.assertEqual((o.passed, o.skips), (0, [("t: a", "no tool"), ("t: b", "none")]))
        self.assertEqual(entry("1..0 # SKIP no sysroot\n", "SKIP").skips, [("t", "no sysroot")])

    def test_known_failure(self):
        o = entry("not ok 1 a # TODO issue\nok 2 b\n1..2\n", "OK")
        self.assertEqual(self.counts(o), (1, 0, 1))
        self.assertEqual(o.skips, [("t: a", "known to fail: issue")])

    def test_hash_in_name(self):
        self.assertEqual(self.counts(entry("ok 1 colour \\#ff\n1..1\n")), (1, 0, 0))

    def test_plan_not_kept(self):
        self.assertEqual(entry("1..3\nok 1\n", "ERROR").failures, ["planned 3 tests, ran 1"])

    def test_crash_after_good_lines(self):
        self.assertEqual(entry("ok 1 a\n", "FAIL", -11).failures, ["fail, exit status -11"])

    def test_bail_out(self):
        self.assertEqual(entry("ok 1 a\nBail out! no disk\n", "ERROR").failures, ["Bail out! no disk"])

    def test_exit_status_only(self):
        self.assertEqual(self.counts(entry("hello\n")), (1, 0, 0))
        self.assertEqual(self.counts(entry("bad\n", "FAIL", 1)), (0, 1, 0))
        self.assertEqual(entry("no ctags here\n", "SKIP", 77).skips, [("t", "no ctags here")])
        self.assertEqual(self.counts(entry("", "TIMEOUT", -15)), (0, 1, 0))


if __name__ == "__main__":
    tap.run_unittests()
