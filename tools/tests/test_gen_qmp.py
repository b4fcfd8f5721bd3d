"""tools/gen_qmp.py: what it makes, and one example of each mistake."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "tests"))

import gen_qmp  # noqa: E402
from lib import tap  # noqa: E402

GOOD = """\
# A comment.
enum Colour
    red green
struct Round
    radius: int
union Shape by colour
    colour: Colour
    | red: Round
## Draws.
command draw -> [Shape] oob
    where?: str
    shapes: [Shape]
event DRAWN
    shape: Shape
"""


class Good(unittest.TestCase):
    def test_source(self):
        text = gen_qmp.emit_source(gen_qmp.parse(GOOD))
        for part in ('"draw", "Draws."', "qmp_do_draw", '{"where", 0, true}', '.tag = "colour"', '"red", "green", NULL',
                     '{"DRAWN", '):
            self.assertIn(part, text)

    def test_further_members(self):
        text = gen_qmp.emit_source(gen_qmp.parse(GOOD.replace("    where?: str\n", "    where?: str\n    ...\n")))
        self.assertEqual((text.count(".open = true"), gen_qmp.emit_source(gen_qmp.parse(GOOD)).count(".open = true")), (1, 0))

    def test_header(self):
        self.assertIn("struct json *qmp_do_draw(struct monitor *m,", gen_qmp.emit_header(gen_qmp.parse(GOOD)))

    def test_a_type_that_nobody_uses_is_not_shown(self):
        self.assertNotIn("Unused", gen_qmp.emit_source(gen_qmp.parse(GOOD + "struct Unused\n    a: int\n")))


    def test_numbers_of_types_that_lead_to_themselves(self):
        order = gen_qmp.numbered(gen_qmp.parse("struct Tree\n    of?: [Tree]\n## It.\ncommand grow -> [Tree]\n"))
        self.assertEqual(sorted(order.values()), list(range(len(order))))


class Mistakes(unittest.TestCase):
    def refused(self, text, what):
        with self.assertRaises(gen_qmp.SchemaError) as caught:
            gen_qmp.parse(text)
        self.assertIn(what, str(caught.exception))

    def test_each(self):
        self.refused("    a: int\n", "line 1: it belongs to nothing")
        self.refused("thing A\n", "line 1: 'thing A' is not understood")
        self.refused("struct A\nstruct A\n", "line 2: struct A is there twice")
        self.refused("enum int\n", "int is there twice")
        self.refused("struct A B\n", "not understood")
        self.refused("struct 9\n", "no name")
        self.refused("struct A\n    b\n", "line 2: 'b' is no member")
        self.refused("struct A\n    b: int\n    b: int\n", "member b is there twice")
        self.refused("struct A\n    b: Nothing\n", "there is no type 'Nothing'")
        self.refused("struct A\n    | b: int\n", "only a union has variants")
        self.refused(GOOD.replace("| red", "| blue"), "'blue' is no value of colour")
        self.refused("command a\n", "nothing says what it is for")
        self.refused("## It.\ncommand a => int\n", "not understood")
        self.refused("## It.\ncommand a -> Nothing\n", "there is no type 'Nothing'")


if __name__ == "__main__":
    tap.run_unittests()
