"""Tests of the checks in tools/: each is given what it must refuse and what it must let pass."""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/lib")]

import check_headers
import check_includes
import check_sizes
import check_symbols
import tap


class Tree(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="lyre-checks-"))
        self.addCleanup(shutil.rmtree, self.dir)

    def put(self, path, text=""):
        path = self.dir / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Includes(Tree):
    MATRIX = """
base:
ir:      base
host:    base ir
host/*:  base ir host/*.h   # a comment
mid:     base back/*.h
         fw/node.h
back:    base
fw:      base
cmd:     *
private: base/secret.h
"""

    def complaints(self, generated=None):
        return check_includes.check(self.dir, check_includes.Matrix(self.MATRIX), generated)

    def test_allowed(self):
        for h in ("base/types.h", "ir/ir.h", "host/host.h", "host/x86/x.h", "back/net.h", "fw/node.h"):
            self.put(h)
        self.put("ir/ir.c", '#include <stdio.h>\n#include "base/types.h"\n#include "ir/ir.h"\n')
        self.put("host/x86/x.c", '#include "host/host.h"\n#include "host/x86/x.h"\n#include "ir/ir.h"\n')
        self.put("mid/m.c", ' #  include "back/net.h"\n#include "fw/node.h"\n')
        self.put("cmd/main.c", '#include "host/x86/x.h"\n')
        self.assertEqual(self.complaints(), [])

    def test_forbidden(self):
        for h in ("base/types.h", "ir/ir.h", "host/arm/arm.h", "back/sub/x.h", "fw/other.h"):
            self.put(h)
        self.put("base/b.c", '#include "ir/ir.h"\n')
        self.put("host/x86/x.c", '\n#include "host/arm/arm.h"\n')
        self.put("mid/m.c", '#include "back/sub/x.h"\n#include "fw/other.h"\n')
        self.assertEqual([x.split(" (")[0] for x in self.complaints()], [
            'src/base/b.c:1: base must not include "ir/ir.h"',
            'src/host/x86/x.c:2: host/x86 must not include "host/arm/arm.h"',
            'src/mid/m.c:1: mid must not include "back/sub/x.h"',
            'src/mid/m.c:2: mid must not include "fw/other.h"'])

    def test_private(self):
        self.put("base/secret.h")
        self.put("base/b.c", '#include "base/secret.h"\n')
        self.assertEqual(self.complaints(), [])
        self.put("cmd/main.c", '#include "base/secret.h"\n')
        self.assertIn("private", self.complaints()[0])

    def test_unknown_folder(self):
        self.put("odd/o.c", '#include "base/types.h"\n')
        self.put("base/types.h")
        self.assertIn("not in the matrix", self.complaints()[0])

    def test_path(self):
        self.put("base/types.h")
        self.put("base/b.c", '#include "types.h"\n')
        self.assertIn("is not a path from src/", self.complaints()[0])

    def test_generated(self):
        self.put("ir/ir.c", '#include "ir/made.h"\n#include "beside.h"\n')
        made = Path(tempfile.mkdtemp(prefix="lyre-checks-"))
        self.addCleanup(shutil.rmtree, made)
        self.assertEqual(len(self.complaints(made)), 2)
        (made / "ir").mkdir()
        (made / "ir/made.h").touch()
        (made / "ir/beside.h").touch()
        self.assertEqual(self.complaints(made), [])

    def test_cycle(self):
        matrix = check_includes.Matrix("a: b\nb: c\nc: a\n")
        for f, g in (("a", "b"), ("b", "c"), ("c", "a")):
            self.put(f"{f}/{f}.h", f'#include "{g}/{g}.h"\n')
        self.assertIn("a -> b -> c -> a", check_includes.check(self.dir, matrix)[0])

    def test_matrix_errors(self):
        for text in ("base\n", "a:\na:\n", "  base\n"):
            with self.assertRaises(ValueError):
                check_includes.Matrix(text)

    def test_every_folder_of_the_tree(self):
        matrix = check_includes.Matrix((ROOT / "tools/include-matrix.txt").read_text())
        for allowed in matrix.allowed.values():
            for entry in allowed:
                known = any(p == entry or p.startswith(entry + "/") for p in matrix.allowed)
                self.assertTrue(known or entry == "*" or entry.endswith(".h"), entry)


class Headers(Tree):
    def test_alone(self):
        self.put("good.h", "#ifndef G\n#define G\n#include <stdint.h>\nstruct g { uint8_t x; };\n#endif\n")
        self.put("needs.h", "#ifndef N\n#define N\nstruct n { uint8_t x; };\n#endif\n")
        self.put("twice.h", "struct t { int x; };\n")
        bad = check_headers.check(["gcc"], ["good.h", "needs.h", "twice.h"], [self.dir])
        self.assertEqual([b[0] for b in bad], ["needs.h", "twice.h"])
        self.assertIn("uint8_t", bad[0][1])


class Symbols(Tree):
    SOURCE = """
static const int table[2] = {1, 2};
static const char *const names[] = {"a", "b"};
int counter;
static int hidden = 3;
static _Thread_local int mine;
int *f(int x) { static int calls; calls += x + table[x & 1] + names[x & 1][0]; mine++; hidden++;
                return x ? &calls : x + 1 ? &mine : &hidden; }
"""

    def test_scan(self):
        self.put("x.c", self.SOURCE)
        obj = self.dir / "base/libbase.a.p/x.c.o"
        obj.parent.mkdir(parents=True)
        check_symbols.subprocess.run(["gcc", "-c", "-fPIE", "-O1", self.dir / "x.c", "-o", obj], check=True)
        other = self.dir / "cmd/lyre.p/x.c.o"
        other.parent.mkdir(parents=True)
        shutil.copy(obj, other)
        found = check_symbols.scan(self.dir)
        self.assertEqual(found, {("src/base/x.c", n) for n in ("counter", "hidden", "mine", "calls")})

    def test_compare(self):
        found = {("src/a.c", "x"), ("src/a.c", "y")}
        self.assertEqual(check_symbols.compare(found, {("src/a.c", "x"): "why", ("src/a.c", "y"): "so"}), [])
        problems = check_symbols.compare(found, {("src/a.c", "x"): "", ("src/b.c", "z"): "gone"})
        self.assertEqual([p.split(";")[0].split(": ")[1] for p in problems], [
            "'y' is writable file-scope data", "'z' is allowed but no longer there",
            "'x' is allowed without a reason"])

    def test_read_allowed(self):
        self.assertEqual(check_symbols.read_allowed("# head\nsrc/a.c x: why: so\nsrc/b.c y:\n"),
                         {("src/a.c", "x"): "why: so", ("src/b.c", "y"): ""})


class Sizes(Tree):
    @unittest.skipUnless(shutil.which("ctags"), "no universal-ctags")
    def test_functions(self):
        body = "    x++;\n" * 205
        self.put("a.c", f"int small(int x)\n{{\n    return x;\n}}\n\nint big(int x)\n{{\n{body}    return x;\n}}\n")
        found = sorted(check_sizes.functions([self.dir / "a.c"]))
        self.assertEqual([(f[0], f[2], f[3]) for f in found], [(4, 1, "small"), (209, 6, "big")])
        problems = check_sizes.check([], [(n, "a.c", l, f) for n, _, l, f in found], {})
        self.assertEqual(problems, ["a.c:6: big has 209 lines; 200 is the most"])

    def test_percentile(self):
        usual = [(20, "a.c", 1, "f")] * 300
        self.assertEqual(check_sizes.check([], usual + [(150, "a.c", 1, "g")] * 2, {}), [])
        self.assertIn("has 150 lines", check_sizes.check([], usual + [(150, "a.c", 1, "g")] * 10, {})[0])

    def test_files(self):
        files = [("a.c", 1500), ("b.c", 1501), ("table.c", 9000)]
        self.assertEqual(len(check_sizes.check(files, [], {"table.c": "a table"})), 1)


if __name__ == "__main__":
    tap.run_unittests()
