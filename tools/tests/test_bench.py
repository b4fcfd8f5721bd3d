"""Tests of bench/run, and of the promise that the programs stay as they are."""

import hashlib
import importlib.machinery
import importlib.util
import json
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/lib"))

import tap

loader = importlib.machinery.SourceFileLoader("bench_run", str(ROOT / "bench/run"))
bench_run = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
sys.modules["bench_run"] = bench_run
loader.exec_module(bench_run)


class Frozen(unittest.TestCase):
    def test_sources(self):
        data = json.loads((ROOT / "bench/cases.json").read_text())
        for case in [*data["cases"], data["start"]]:
            source = (ROOT / "bench/kernels" / (case["name"] + ".c")).read_bytes()
            self.assertEqual(hashlib.sha256(source).hexdigest(), case["sha256"],
                             f"bench/kernels/{case['name']}.c is frozen; give a changed program a new name")


class Table(unittest.TestCase):
    def setUp(self):
        self.bench = bench_run.Bench.__new__(bench_run.Bench)
        self.bench.cases = [{"name": "a", "peer_share": {"aarch64": 50.0}}, {"name": "b", "peer_share": {}}]
        self.bench.args = SimpleNamespace(runs=3, engine_args="")
        self.columns = [bench_run.Column("native", "", []), bench_run.Column("qemu-aarch64", "aarch64", []),
                        bench_run.Column("lyre-aarch64", "aarch64", [])]
        self.bench.cells = {}
        for case, times in (("a", (1.0, 2.0, 1.6)), ("b", (1.0, 4.0, 8.0))):
            for column, time in zip(self.columns, times):
                samples = [bench_run.Sample(time * f, 9, 9, True) for f in (0.9, 1, 7)]
                self.bench.cells[case, column.name] = bench_run.Cell(samples)

    def test_shares(self):
        rows = self.bench.table(self.columns)
        self.assertEqual([x.split() for x in rows[1]],
                         [["a"], ["1.000"], ["2.000", "50.0", "%"], ["1.600", "62.5", "%"], ["1.25"]])
        self.assertEqual(rows[3][2], "35.4 %")

    def test_slower_is_told(self):
        lines, failed, slower = self.bench.remarks(self.columns)
        self.assertEqual((lines, failed, slower), (["slower than the peer: b (aarch64)"], False, True))

    def test_peer_elsewhere_is_told(self):
        self.bench.cases[0]["peer_share"]["aarch64"] = 30.0
        self.assertIn("a 50.0 % of native, recorded 30.0 %", self.bench.remarks(self.columns)[0][0])

    def test_failure_is_not_a_time(self):
        self.bench.cells["a", "lyre-aarch64"].samples[2] = bench_run.Sample(1, 1, 1, False, "printed ''")
        self.assertEqual(self.bench.table(self.columns)[1][3:], ["FAILED", "-"])
        lines, failed, _ = self.bench.remarks(self.columns)
        self.assertTrue(failed)
        self.assertEqual(lines[0], "FAILED: a with lyre-aarch64: printed ''")


if __name__ == "__main__":
    tap.run_unittests()
