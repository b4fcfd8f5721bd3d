"""Tests of scripts/build-debian: recipes, groups, and when a program is built again."""

import importlib.machinery
import importlib.util
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "scripts")]

import tap

loader = importlib.machinery.SourceFileLoader("build_debian", str(ROOT / "scripts/build-debian"))
build_debian = importlib.util.module_from_spec(importlib.util.spec_from_loader("build_debian", loader))
sys.modules["build_debian"] = build_debian  # dataclasses look their module up
loader.exec_module(build_debian)


def names(recipes, packages=(), group="check"):
    return [r.package for r in build_debian.chosen(recipes, SimpleNamespace(packages=packages, group=group))]


class Recipes(unittest.TestCase):
    def setUp(self):
        self.recipes = build_debian.read_recipes()

    def test_all_are_complete(self):
        for r in self.recipes.values():
            self.assertIn(r.group, build_debian.GROUPS, r.package)
            self.assertTrue(r.version and "$BIN" in r.build, r.package)
            self.assertEqual(bool(r.npm), len(r.sha256) == 64, r.package)

    def test_groups(self):
        check, full = names(self.recipes), names(self.recipes, group="full")
        self.assertIn("lua5.4", check)
        self.assertNotIn("openssl", check)
        self.assertEqual(full, list(self.recipes))

    def test_packages_by_name(self):
        self.assertEqual(names(self.recipes, ["openssl", "bash"]), ["openssl", "bash"])
        with self.assertRaisesRegex(build_debian.Failure, "no recipe for nothing; there are .*lua5.4"):
            names(self.recipes, ["nothing"])

    def test_identity(self):
        r = build_debian.Recipe("p", "1", "make")
        same = r.identity("gcc 12")
        self.assertEqual(build_debian.Recipe("p", "1", "make", group="check").identity("gcc 12"), same)
        self.assertNotEqual(r.identity("gcc 13"), same)
        self.assertNotEqual(build_debian.Recipe("p", "1", "make install").identity("gcc 12"), same)
        self.assertNotEqual(build_debian.Recipe("p", "2", "make").identity("gcc 12"), same)


if __name__ == "__main__":
    tap.run_unittests()
