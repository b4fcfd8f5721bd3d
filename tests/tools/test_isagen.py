#!/usr/bin/env python3
"""Tests of tools/isagen.py: every mistake in a table is an error that names file and line, and
what is right is accepted. TAP on standard output."""
import os
import subprocess
import sys
import tempfile

ISAGEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../tools/isagen.py')

HEAD = '''features FEAT_BASE
fields rd:5 rn:5 imm16:16
operand Rd r:rd
'''
# 32 bits: 6 constant, a 16-bit immediate, two registers.
CLASS = 'class c  0000 op:2 imm16 rn rd  by op  : <name> <Rd>, #<rn>\n'

PIECES = 'class b  {} rn rd op:3 {} 0000000 : b <imm>\n'
LONG = CLASS + 'add 00 rd=11111\n'
SHORT = 'class16 h  00000000 rd:3 00000 : <name> <Rd>\n'

# name, text after HEAD, expected message (None: accepted)
CASES = [
    ('a good table', CLASS + 'add 00\nsub 01\n', None),
    ('a constraint separates', CLASS + 'add 0x [rd != 3]\nsub 00 rd=00011\n', None),
    ('a conditional constraint', CLASS + 'add 0x [rd ? rn : rn != 4]\nsub 00 rd=00000 rn=00100\n', None),
    ('otherwise takes the rest', CLASS + 'add 00\nsub 0x otherwise\n', None),
    ('a feature splits', CLASS + 'add xx FEAT_BASE(rn=00001)\n', None),
    ('continued lines', CLASS + 'add \\\n  00\n', None),
    ('overlap', CLASS + 'add 00\nsub 0x\n',
     't.isa:6: error: "sub" overlaps "add" (t.isa:5), for example 0x00000000'),
    ('overlap under constraints', CLASS + 'add 00 [rd != 3]\nsub 00 [rn != 4]\n', 't.isa:6: error: "sub" overlaps "add"'),
    ('overlap of two defaults', CLASS + 'add 00 otherwise\nsub 00 otherwise\n', 't.isa:6: error: "sub" overlaps'),
    ('a function proves nothing', CLASS + 'add 00 [ok(rd)]\nsub 00 [bad(rd)]\n', 't.isa:6: error: "sub" overlaps'),
    ('impossible constraint', CLASS + 'add 00 rd=00001 [rd != 1]\n', 't.isa:5: error: nothing satisfies'),
    ('duplicate encoding', CLASS + 'add 00\nadd 01\n',
     't.isa:6: error: encoding "add" is already defined at t.isa:5'),
    ('duplicate class', CLASS + 'add 00\n' + CLASS, 't.isa:6: error: class "c" is already defined at t.isa:4'),
    ('duplicate field', 'fields rd:5\n', 't.isa:4: error: field "rd" is already defined at t.isa:2'),
    ('duplicate operand', 'operand Rd x:rd\n', 't.isa:4: error: operand "Rd" is already defined'),
    ('field twice in a pattern', 'class c  0000 00 imm16 rd rd\n', 't.isa:4: error: field "rd" appears twice'),
    ('unused class', CLASS, 't.isa:4: error: class "c" has no encodings'),
    ('unused field', 'fields rm:5\n' + CLASS + 'add 00\n', 't.isa:4: error: field "rm" is never used'),
    ('unused operand', 'operand Rn r:rn\n' + CLASS + 'add 00\n', 't.isa:4: error: operand "Rn" is never used'),
    ('unused feature', 'features FEAT_X\n' + CLASS + 'add 00\n', 't.isa:4: error: feature "FEAT_X" is never used'),
    ('short pattern', 'class c  0000 imm16 rn rd\n', 't.isa:4: error: the pattern of class "c" has 30 bits, not 32'),
    ('long pattern', 'class c  000000000 imm16 rn rd\n', 'has more than 32 bits'),
    ('unknown field in a pattern', 'class c  0000 zz imm16 rn rd\n', 't.isa:4: error: unknown field "zz" in the pattern'),
    ('malformed field', 'fields ab\n', 't.isa:4: error: bad field "ab"'),
    ('unknown selector', 'class c  0000 op:2 imm16 rn rd  by zz\n', 't.isa:4: error: "by" needs'),
    ('selector too short', CLASS + 'add 0\n', 't.isa:5: error: field "op" has 2 bits, but "0" has 1'),
    ('selector missing', CLASS + 'add\n', 't.isa:5: error: no value for field "op"'),
    ('selector not binary', CLASS + 'add 02\n', 't.isa:5: error: "02" for field "op" is not binary'),
    ('unknown field in an option', CLASS + 'add 00 zz=1\n', 't.isa:5: error: class "c" has no field "zz"'),
    ('unknown field in a constraint', CLASS + 'add 00 [zz != 1]\n', 't.isa:5: error: class "c" has no field "zz"'),
    ('unknown word', CLASS + 'add 00 reads-flags\n', 't.isa:5: error: unknown word "reads-flags"'),
    ('an effect that is not there', CLASS + 'add 00 -fp\n', 't.isa:5: error: unknown word "-fp"'),
    ('unknown feature', CLASS + 'add 00 FEAT_Y\n', 't.isa:5: error: unknown feature "FEAT_Y"'),
    ('unknown operand', CLASS + 'add 00 : add <Rq>\n', 't.isa:5: error: unknown operand <Rq>'),
    ('no template', 'class c  0000 op:2 imm16 rn rd  by op\nadd 00\n', 't.isa:5: error: class "c" has no template'),
    ('alternatives end in a condition', CLASS + 'add 00 : add when rd==1\n', 't.isa:5: error: the last alternative'),
    ('line without class', 'add 00\n', 't.isa:4: error: "add" is not in a class'),
    ('one lift function, two structs', CLASS + 'add 00 -> f\n' + CLASS.replace('class c', 'class d') + 'sub 01 -> f\n',
     't.isa:7: error: lift function "f" is used by class "c" and by class "d"'),
    ('unfinished line', CLASS + 'add 00 \\\n', 't.isa:5: error: the file ends inside a continued line'),
    ('system register twice', CLASS + 'add 00\nsysreg a 3 0 0 0 0\nsysreg b 3 0 0 0 0\n',
     't.isa:7: error: system register "b" has the encoding of "a"'),
    ('read-only and write-only', CLASS + 'add 00\nsysreg a 3 0 0 0 0 ro\nsysreg b 3 0 0 0 0 wo\n', None),
    ('instructions of 16 bits', LONG + SHORT + 'half\n', None),
    ('a short pattern of 16 bits', 'class16 h  000 rn rd\n', 't.isa:4: error: the pattern of class "h" has 13 bits, not 16'),
    ('a field in pieces', LONG + PIECES.format('imm:s[12|10:5]', 'imm[4:1|11]') + 'b [imm < 0 || imm == 2]\n',
     None),
    ('a constraint on pieces that nothing satisfies', LONG + PIECES.format('imm[12|10:5]', 'imm[4:1|11]') + 'b [imm == 3]\n',
     't.isa:7: error: nothing satisfies'),
    ('pieces with a gap', PIECES.format('imm[12|9:4]', 'imm[3:0|11]'),
     't.isa:4: error: the pieces of field "imm" do not fit below bit 11'),
    ('pieces that overlap', PIECES.format('imm[6:0]', 'imm[4:0]'), 'the pieces of field "imm" do not fit below bit 0'),
    ('pieces the wrong way round', PIECES.format('imm[0:6]', 'imm[11:7]'), 't.isa:4: error: bad bits "0:6" of field "imm"'),
    ('a field whole and in pieces', 'class c  0000 00 imm16 rn rn[4:0]\n', 't.isa:4: error: field "rn" appears twice'),
    ('an expansion', LONG + SHORT + 'half => add rn=rd+8 imm16=0\n', None),
    ('an expansion to nothing', LONG + SHORT + 'half => sub\n', 't.isa:7: error: unknown encoding "sub"'),
    ('an expansion that lacks a field', LONG + SHORT + 'half => add imm16=0\n',
     't.isa:7: error: nothing gives field "rn" of "add"'),
    ('an expansion with a field too many', LONG + SHORT + 'half => add rn=1 imm16=0 zz=1\n',
     't.isa:7: error: "add" has no field "zz"'),
    ('an expansion without values', LONG + SHORT + 'half => add rn\n',
     't.isa:7: error: expected field=EXPR in an expansion, not "rn"'),
    ('an expansion of an unknown field', LONG + SHORT + 'half => add rn=zz imm16=0\n',
     't.isa:7: error: class "h" has no field "zz"'),
    ('several features', 'features W X Y\n' + CLASS + 'add 00 W&X|Y\n', None),
    ('several choices', 'features W X Y\n' + CLASS + 'add 00 W|X&X|Y\n',
     't.isa:6: error: "W|X&X|Y" has more than one choice'),
    ('several features, one unknown', 'features W\n' + CLASS + 'add 00 W&Z\n', 't.isa:6: error: unknown feature "Z"'),
    ('exclusive features may overlap', 'features W X\nexclusive W X\n' + CLASS + 'add 00 W\nsub 00 X\n', None),
    ('other features may not', 'features W X\n' + CLASS + 'add 00 W\nsub 00 X\n', 't.isa:7: error: "sub" overlaps "add"'),
    ('exclusive, but unknown', 'exclusive W X\n', 't.isa:4: error: unknown feature "W"'),
    ('an oracle', 'oracles other\n' + CLASS + 'add 00 @other\n', None),
    ('an unknown oracle', CLASS + 'add 00 @other\n', 't.isa:5: error: unknown oracle "other"'),
    ('an oracle for nothing', 'oracles other\n' + CLASS + 'add 00\n', 't.isa:4: error: oracle "other" is never used'),
    ('dots in mnemonics', 'separator /\n' + CLASS + 'add.w 00\nadd.w/long 01\n', None),
    ('a separator of two letters', 'separator ab\n', 't.isa:4: error: expected: separator CHARACTER'),
    ('system register out of range', 'sysreg a 4 0 0 0 0\n', 't.isa:4: error: "4" is not a number of 2 bits'),
]


def run(text):
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, 't.isa'), 'w', encoding='utf-8') as f:
            f.write(HEAD + text)
        p = subprocess.run([sys.executable, ISAGEN, '--out', '.', 't.isa'], cwd=tmp,
                           capture_output=True, text=True, check=False)
        made = sorted(n for n in os.listdir(tmp) if n.startswith('a64_'))
        return p.returncode, p.stderr, made


def main():
    bad = 0
    print(f'1..{len(CASES)}')
    for n, (name, text, expected) in enumerate(CASES, 1):
        code, err, made = run(text)
        if expected is None:
            ok = code == 0 and not err and len(made) == (5 if "sysreg" in text else 4)
        else:
            ok = code == 1 and expected in err and 'Traceback' not in err and not made
        if not ok:
            bad += 1
            print(f'# expected: {expected}\n# exit {code}, files {made}: '
                  + err.replace('\n', '\n# '))
        print(f'{"" if ok else "not "}ok {n} {name}')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
