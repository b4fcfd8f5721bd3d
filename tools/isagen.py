#!/usr/bin/env python3
"""Turn instruction tables (*.isa) into a decoder, a disassembler and lift dispatch.

    isagen.py [--prefix a64] [--folder isa/aarch64] --out DIR FILE.isa...

The language, line by line (`#` starts a comment, a trailing backslash continues a line):

  features FEAT_A FEAT_B ...
  exclusive FEAT_A FEAT_B             no CPU has both, so that their encodings may overlap
  behaviour FEAT_C ...                features that no encoding needs: they change what some do
  fields rd:5 imm19:s19 ...           widths; `s` marks a field that is sign-extended
  operand Xd r:1,rd                   <Xd> in a template calls the printer put_r(1, rd)
  class NAME PATTERN [by FIELD...] [OPTIONS] [: TEMPLATE]
  class16 NAME PATTERN ...            the same for instructions of 16 bits
  MNEMONIC[.VARIANT] BITS... [OPTIONS] [=> EXPANSION] [: TEMPLATE [when COND] ; TEMPLATE...]
  separator /                         what stands before VARIANT, if not a dot
  sysreg NAME op0 op1 CRn CRm op2 [ro|wo]
  sysop INSN NAME op1 CRn CRm op2 [xt]

A class is a bit pattern (most significant bit first: digits and field names), the decoded struct
with those fields and the encoding's id, and by default the lift function of the same name. A field
that lies in pieces says which of its bits are where, as in `imm:s[12|10:5] ... imm[4:1|11]` (`:s`:
signed; bits below the lowest one are zero). Every line below a class is one encoding: one value
(binary; `x` or `-` leaves bits open) for each field after `by`, then options:

  field=BITS            fixes a field that is not in the `by` list
  [EXPR]                a constraint; C expression over fields. f(...) calls prefix_f in C and
                        counts as "may be true" when overlaps are searched
  otherwise             matches only what no other line matches
  FEAT_X                the feature that it needs
  FEAT_X&FEAT_Y|FEAT_Z  the features that it needs: X, and one of Y and Z
  FEAT_X(field=BITS)    this part of the encoding needs FEAT_X: split off as an encoding of its own
  flags.r flags.w load store ends fp light   effects, see EFFECTS; -fp drops that of the class
  -> NAME               the lift function, if not that of the class
  todo                  decoded and disassembled, but not lifted yet
  nodiff                left out by the random differential test; a comment says why
  @NAME                 what its meaning is checked against; declared by `oracles NAME...`
  as *SUFFIX            (class only) how the names of the encodings are built from the mnemonics
  {imm=immhi:immlo}     (class only) joins fields into one of the struct

An encoding with an expansion, `=> NAME [field=EXPR...]`, is another way to write the encoding NAME: it
has the same lift function and, unless it brings its own, text. Fields of NAME's struct that NAME does not
fix and that are not given are the fields of the same name.

In a template <name> is the mnemonic, <field> its value in decimal, <Operand> a declared operand
and <printer:EXPR,...> a call. A line without template takes that of its class; `*` among the
alternatives stands for it. Alternatives are tried in order; the last one has no condition.
"""
import argparse
import os
import re
import sys
from itertools import product

EFFECTS = {'flags.r': 'READS_FLAGS', 'flags.w': 'WRITES_FLAGS', 'load': 'LOADS',
           'store': 'STORES', 'ends': 'ENDS_BLOCK', 'fp': 'USES_FPSR', 'todo': 'TODO',
           'nodiff': 'NODIFF', 'light': 'LIGHT'}
WIDTH = 32                   # of the word that is decoded; shorter instructions are its low bits
MAX_CONSTRAINT_BITS = 18     # overlap proofs enumerate at most 2^this


class IsaError(Exception):
    pass


class Pos:
    """Where something was written, for messages."""

    def __init__(self, file, line):
        self.file, self.line = file, line

    def error(self, text):
        return IsaError(f'{self.file}:{self.line}: error: {text}')


class Field:
    def __init__(self, name, lsb, width, signed):
        self.name, self.lsb, self.width, self.signed = name, lsb, width, signed

    def c(self, plain=False):
        if self.signed and not plain:
            return f'((s32)(i << {WIDTH - self.lsb - self.width}) >> {WIDTH - self.width})'
        shifted = f'i >> {self.lsb}' if self.lsb else 'i'
        return f'({shifted} & {(1 << self.width) - 1:#x})'

    def mask(self):
        return ((1 << self.width) - 1) << self.lsb


class Joined:
    """A field of the struct made from several fields of the pattern, high part first, with `zeros` zero
    bits below them."""

    def __init__(self, name, parts, zeros=0):
        self.name, self.parts, self.zeros = name, parts, zeros
        self.width = sum(p.width for p in parts) + zeros
        self.signed = parts[0].signed

    def c(self):
        low, terms = self.zeros, []
        for p in reversed(self.parts):
            value = p.c(plain=p is not self.parts[0])
            terms.append(f'((u32){value} << {low})' if low else value)
            low += p.width
        value = ' | '.join(reversed(terms))
        return f'(s32)({value})' if self.signed else f'({value})'

    def mask(self):
        m = 0
        for p in self.parts:
            m |= p.mask()
        return m


class Options:
    """What a class or a line adds to the bits: merged from the class into each of its lines."""

    def __init__(self, parent=None):
        self.effects = set(parent.effects) if parent else set()
        self.feature = parent.feature if parent else None
        self.oracle = parent.oracle if parent else None
        self.lift = parent.lift if parent else None
        self.where = list(parent.where) if parent else []
        self.template = parent.template if parent else None
        self.suffix = parent.suffix if parent else ''
        self.otherwise = False
        self.split = list(parent.split) if parent else []
        self.fixed = []


class Class:
    def __init__(self, pos, name, width):
        self.pos, self.name, self.width = pos, name, width
        self.fields, self.joined, self.by = {}, {}, []
        self.pieces = {}    # name: [(high bit, low bit, Field)] of fields that lie in pieces
        self.mask = self.value = 0
        self.options = None
        self.lines = 0

    def lookup(self, name):
        return self.fields.get(name) or self.joined.get(name)

    def struct_fields(self):
        hidden = {p.name for j in self.joined.values() for p in j.parts}
        return [f for f in list(self.fields.values()) + list(self.joined.values())
                if f.name not in hidden]


class Insn:
    def __init__(self, pos, cls, name, mnemonic):
        self.pos, self.cls, self.name, self.mnemonic = pos, cls, name, mnemonic
        self.mask, self.value = cls.mask, cls.value
        self.where, self.texts = [], []
        self.options = None
        self.expansion = None   # (name, {field: expression})

    def fixed(self, field):
        """The value of a field whose bits are all given, else None."""
        mask = field.mask()
        return extract(field, self.value) if self.mask & mask == mask else None

    def fix(self, field, bits):
        """Require `bits` (0, 1, x) in a field."""
        for n, b in enumerate(reversed(bits)):
            if b != 'x':
                self.mask |= 1 << (field.lsb + n)
                self.value = self.value & ~(1 << (field.lsb + n)) | int(b) << (field.lsb + n)


CALL = re.compile(r'[A-Za-z_]\w*\s*\(')
IDENT = re.compile(r'\b[A-Za-z_]\w*\b(\s*\()?')


class Tables:
    """Everything read from the files."""

    def __init__(self, prefix, folder):
        self.prefix, self.folder = prefix, folder
        self.features, self.fields, self.operands = {}, {}, {}
        self.exclusive, self.oracles = [], {}
        self.separator = '.'
        self.needs = {}         # expressions of several features: number
        self.classes, self.insns, self.names = {}, [], {}
        self.sysregs, self.sysops = [], []
        self.used = set()
        self.current = None

    # --- reading -------------------------------------------------------------------------

    def read(self, path):
        label = os.path.relpath(path)
        self.current = None
        with open(path, encoding='utf-8') as f:
            pending, start = '', 0
            for n, raw in enumerate(f, 1):
                text = re.sub(r'(^|\s)#( .*|$)', '', raw.rstrip('\n')).rstrip()
                start = start if pending else n
                if text.endswith('\\'):
                    pending += text[:-1] + ' '
                    continue
                text, pending = (pending + text).strip(), ''
                if text:
                    self.statement(Pos(label, start), text)
            if pending:
                raise Pos(label, start).error('the file ends inside a continued line')

    def statement(self, pos, text):
        word, _, rest = text.partition(' ')
        handler = {'features': self.read_features, 'behaviour': self.read_behaviour,
                   'exclusive': self.read_exclusive, 'oracles': self.read_oracles,
                   'separator': self.read_separator,
                   'fields': self.read_fields, 'operand': self.read_operand,
                   'class': self.read_class, 'class16': self.read_class16,
                   'sysreg': self.read_sysreg, 'sysop': self.read_sysop}.get(word)
        if handler:
            handler(pos, rest.strip())
        else:
            self.read_insn(pos, text)

    def define(self, pos, table, name, value, what):
        if name in table:
            first = table[name][0]
            raise pos.error(f'{what} "{name}" is already defined at {first.file}:{first.line}')
        table[name] = (pos, value)

    def read_features(self, pos, rest):
        for name in rest.split():
            self.define(pos, self.features, name, len(self.features), 'feature')

    def read_behaviour(self, pos, rest):
        self.read_features(pos, rest)
        self.used.update(('feature', name) for name in rest.split())

    def read_exclusive(self, pos, rest):
        self.exclusive.append({self.feature(pos, name) for name in rest.split()})

    def read_separator(self, pos, rest):
        if len(rest) != 1:
            raise pos.error('expected: separator CHARACTER')
        self.separator = rest

    def read_oracles(self, pos, rest):
        for name in rest.split():
            self.define(pos, self.oracles, name, len(self.oracles), 'oracle')

    def read_fields(self, pos, rest):
        for item in rest.split():
            m = re.fullmatch(r'([A-Za-z_]\w*):(s?)(\d+)', item)
            if not m:
                raise pos.error(f'bad field "{item}": expected name:width or name:sWIDTH')
            self.define(pos, self.fields, m[1], (int(m[3]), bool(m[2])), 'field')

    def read_operand(self, pos, rest):
        m = re.fullmatch(r'([\w|]+)\s+([a-z]\w*):(.*)', rest)
        if not m:
            raise pos.error('expected: operand NAME printer:expression,...')
        self.define(pos, self.operands, m[1], (m[2], m[3]), 'operand')

    def read_sysreg(self, pos, rest):
        w = rest.split()
        if len(w) not in (6, 7) or (len(w) == 7 and w[6] not in ('ro', 'wo')):
            raise pos.error('expected: sysreg NAME op0 op1 CRn CRm op2 [ro|wo]')
        self.sysregs.append((self.pack(pos, w[1:6], (2, 3, 4, 4, 3)), w[0], w[6:], pos))

    def read_sysop(self, pos, rest):
        w = rest.split()
        if len(w) not in (6, 7) or (len(w) == 7 and w[6] != 'xt'):
            raise pos.error('expected: sysop INSN NAME op1 CRn CRm op2 [xt]')
        self.sysops.append((self.pack(pos, w[2:6], (3, 4, 4, 3)), w[0] + ' ' + w[1], w[6:], pos))

    def pack(self, pos, words, widths):
        key = 0
        for word, width in zip(words, widths):
            if not word.isdigit() or int(word) >> width:
                raise pos.error(f'"{word}" is not a number of {width} bits')
            key = key << width | int(word)
        return key

    # --- classes and lines ---------------------------------------------------------------

    def read_class16(self, pos, rest):
        self.read_class(pos, rest, 16)

    def read_class(self, pos, rest, width=WIDTH):
        rest, options = self.split_template(rest), Options()
        rest, options.template = rest
        name, _, rest = rest.partition(' ')
        cls = Class(pos, name, width)
        tokens = self.take_brackets(pos, rest, options, cls)
        bit = width
        while bit > 0:
            if not tokens:
                raise pos.error(f'the pattern of class "{name}" has {width - bit} bits, '
                                f'not {width}')
            bit = self.pattern_item(pos, cls, tokens.pop(0), bit)
        if bit < 0:
            raise pos.error(f'the pattern of class "{name}" has more than {width} bits')
        self.join_pieces(pos, cls)
        self.read_joined(pos, cls)
        if tokens and tokens[0] == 'by':
            tokens.pop(0)
            while tokens and tokens[0] in cls.fields:
                cls.by.append(cls.fields[tokens.pop(0)])
            if not cls.by:
                raise pos.error('"by" needs at least one field of the pattern')
        self.read_options(pos, cls, tokens, options)
        if options.otherwise or options.fixed:
            raise pos.error('this option belongs to a line, not to a class')
        cls.options = options
        if name in self.classes:
            first = self.classes[name].pos
            raise pos.error(f'class "{name}" is already defined at {first.file}:{first.line}')
        self.classes[name] = self.current = cls

    def pattern_item(self, pos, cls, item, bit):
        if re.fullmatch('[01]+', item):
            for b in item:
                bit -= 1
                if bit >= 0:
                    cls.mask |= 1 << bit
                    cls.value |= int(b) << bit
            return bit
        m = re.fullmatch(r'([A-Za-z_]\w*)(:s)?\[([\d:|]+)\]', item)
        if m:
            return self.pattern_pieces(pos, cls, m, bit)
        m = re.fullmatch(r'([A-Za-z_]\w*)(?::(s?)(\d+))?', item)
        if not m:
            raise pos.error(f'bad item "{item}" in the pattern')
        if m[3]:
            width, signed = int(m[3]), bool(m[2])
        elif m[1] in self.fields:
            width, signed = self.fields[m[1]][1]
            self.used.add(('field', m[1]))
        else:
            raise pos.error(f'unknown field "{m[1]}" in the pattern: declare it or write '
                            'name:width')
        if m[1] == 'id':
            raise pos.error('"id" is in every struct already: name the field otherwise')
        if m[1] in cls.fields:
            raise pos.error(f'field "{m[1]}" appears twice in the pattern')
        cls.fields[m[1]] = Field(m[1], bit - width, width, signed)
        return bit - width

    def pattern_pieces(self, pos, cls, item, bit):
        """`name[12|10:5]`: bits of a field that has more of them elsewhere."""
        name, signed, pieces = item[1], bool(item[2]), item[3]
        for piece in pieces.split('|'):
            high, _, low = piece.partition(':')
            low = low or high
            if not high or int(high) < int(low):
                raise pos.error(f'bad bits "{piece}" of field "{name}"')
            width = int(high) - int(low) + 1
            bit -= width
            field = Field(f'{name}[{piece}]', bit, width, signed)
            cls.fields[field.name] = field
            cls.pieces.setdefault(name, []).append((int(high), int(low), field))
        return bit

    def join_pieces(self, pos, cls):
        for name, pieces in cls.pieces.items():
            if name in cls.fields:
                raise pos.error(f'field "{name}" appears twice in the pattern')
            pieces.sort(key=lambda piece: -piece[0])
            for (_, low, _), (high, _, _) in zip(pieces, pieces[1:]):
                if high != low - 1:
                    raise pos.error(f'the pieces of field "{name}" do not fit below bit {low}')
            parts = [field for _, _, field in pieces]
            parts[0].signed = any(p.signed for p in parts)
            cls.joined[name] = Joined(name, parts, pieces[-1][1])

    def read_joined(self, pos, cls):
        for name, parts in cls.pending_joined:
            for p in parts:
                if p not in cls.fields:
                    raise pos.error(f'unknown field "{p}" in {{{name}=...}}')
            cls.joined[name] = Joined(name, [cls.fields[p] for p in parts])

    def split_template(self, text):
        """At the first ` : ` that is not part of a constraint."""
        depth = 0
        for k, ch in enumerate(text):
            depth += (ch == '[') - (ch == ']')
            if not depth and text.startswith(' : ', k):
                return text[:k].strip(), text[k + 3:].strip()
        return text.strip(), None

    def take_brackets(self, pos, text, options, cls=None):
        """Remove [constraint] and {name=a:b}; return the other words."""
        options.where += [m.strip() for m in re.findall(r'(?<!\S)\[([^\]]*)\]', text)]
        text = re.sub(r'(?<!\S)\[[^\]]*\]', ' ', text)
        if cls:
            cls.pending_joined = []
            for m in re.findall(r'\{([^}]*)\}', text):
                name, sep, parts = m.partition('=')
                if not sep:
                    raise pos.error(f'expected {{name=high:low}}, not {{{m}}}')
                cls.pending_joined.append((name.strip(), parts.strip().split(':')))
            text = re.sub(r'\{[^}]*\}', ' ', text)
        return text.split()

    def read_options(self, pos, cls, tokens, options):
        while tokens:
            word = tokens.pop(0)
            m = re.fullmatch(r'(\w+)\((\w+)=([01x]+)\)', word)
            if word in EFFECTS:
                options.effects.add(word)
            elif word.startswith('-') and word[1:] in options.effects:
                options.effects.remove(word[1:])
            elif word == 'otherwise':
                options.otherwise = True
            elif word in ('->', 'as'):
                if not tokens:
                    raise pos.error(f'"{word}" needs a name')
                value = tokens.pop(0)
                if word == '->':
                    options.lift = value
                else:
                    options.suffix = value.lstrip('*')
            elif word.startswith('@'):
                if word[1:] not in self.oracles:
                    raise pos.error(f'unknown oracle "{word[1:]}"')
                self.used.add(('oracle', word[1:]))
                options.oracle = word[1:]
            elif not m and (word.startswith('FEAT_') or re.split('[&|]', word)[0] in self.features):
                options.feature = self.feature_expression(pos, word)
            elif m:
                options.split.append((self.feature(pos, m[1]), self.bits(pos, cls, m[2], m[3])))
            elif '=' in word:
                field, _, bits = word.partition('=')
                options.fixed.append(self.bits(pos, cls, field, bits))
            else:
                raise pos.error(f'unknown word "{word}"')

    def feature_expression(self, pos, word):
        """One feature, or `A&B|C`: A and one of B and C."""
        groups = [{self.feature(pos, name) for name in part.split('|')} for part in word.split('&')]
        if sum(len(g) > 1 for g in groups) > 1:
            raise pos.error(f'"{word}" has more than one choice')
        if word not in self.features and word not in self.needs:
            self.needs[word] = len(self.features) + len(self.needs)
        return word

    def features_of(self, insn):
        """(features that it needs, features of which it needs one)"""
        groups = [g.split('|') for g in (insn.options.feature or '').split('&') if g]
        return ({g[0] for g in groups if len(g) == 1},
                next((set(g) for g in groups if len(g) > 1), set()))

    def feature(self, pos, name):
        if name not in self.features:
            raise pos.error(f'unknown feature "{name}"')
        self.used.add(('feature', name))
        return name

    def bits(self, pos, cls, name, text):
        field = cls.fields.get(name)
        if not field:
            raise pos.error(f'class "{cls.name}" has no field "{name}"')
        if text == '-':
            text = 'x' * field.width
        if not re.fullmatch('[01x]+', text):
            raise pos.error(f'"{text}" for field "{name}" is not binary (0, 1, x)')
        if len(text) != field.width:
            raise pos.error(f'field "{name}" has {field.width} bits, but "{text}" has {len(text)}')
        return field, text

    def read_insn(self, pos, text):
        cls = self.current
        if not cls:
            raise pos.error(f'"{text.split()[0]}" is not in a class')
        cls.lines += 1
        options = Options(cls.options)
        text, template = self.split_template(text)
        text, sep, expansion = text.partition(' => ')
        tokens = self.take_brackets(pos, text, options)
        mnemonic, _, variant = tokens.pop(0).partition(self.separator)
        name = mnemonic.replace('.', '_') + ('_' + variant if variant else '') + options.suffix
        insn = Insn(pos, cls, name, mnemonic)
        insn.expansion = self.read_expansion(pos, expansion) if sep else None
        for field in cls.by:
            if not tokens:
                raise pos.error(f'no value for field "{field.name}"')
            insn.fix(*self.bits(pos, cls, field.name, tokens.pop(0)))
        self.read_options(pos, cls, tokens, options)
        insn.options, insn.where = options, options.where
        for field, bits in options.fixed:
            insn.fix(field, bits)
        insn.template = template, cls.options.template
        if not insn.expansion or template:
            insn.texts = self.read_texts(pos, insn)
        self.split_features(insn)

    @staticmethod
    def read_expansion(pos, text):
        name, *fields = text.split()
        given = {}
        for item in fields:
            field, sep, value = item.partition('=')
            if not sep or not value:
                raise pos.error(f'expected field=EXPR in an expansion, not "{item}"')
            given[field] = value
        return name, given

    def expand(self, insn):
        """[(field of the struct, C expression)] of the encoding that another stands for."""
        name, given = insn.expansion
        target = self.names.get(name)
        if not target:
            raise insn.pos.error(f'unknown encoding "{name}"')
        out, unused = [], set(given)
        for f in target.cls.struct_fields():
            fixed = target.fixed(f)
            unused.discard(f.name)
            if f.name in given:
                value = self.expr(insn.pos, insn.cls, given[f.name])
            elif fixed is not None:
                value = str(fixed)
            elif insn.cls.lookup(f.name):
                value = insn.cls.lookup(f.name).c()
            else:
                raise insn.pos.error(f'nothing gives field "{f.name}" of "{name}"')
            out.append((f, value))
        if unused:
            raise insn.pos.error(f'"{name}" has no field "{unused.pop()}"')
        return target, out

    def split_features(self, insn):
        """FEAT_X(field=bits) makes an encoding of its own, so that `feature` is a constant."""
        for n, (feature, (field, bits)) in enumerate(insn.options.split):
            if 'x' in bits:
                raise insn.pos.error('the bits of a feature must all be given')
            part = Insn(insn.pos, insn.cls, f'{insn.name}_{feature[5:].lower()}', insn.mnemonic)
            if n:
                part.name += f'_{n + 1}'
            part.mask, part.value, part.where = insn.mask, insn.value, insn.where
            part.template, part.texts, part.options = insn.template, insn.texts, Options(insn.options)
            part.options.feature = feature
            part.fix(field, bits)
            self.add_insn(part)
            insn.where = insn.where + [f'{field.name} != {int(bits, 2)}']
        self.add_insn(insn)

    def add_insn(self, insn):
        if insn.name in self.names:
            first = self.names[insn.name].pos
            raise insn.pos.error(f'encoding "{insn.name}" is already defined at '
                                 f'{first.file}:{first.line}')
        self.names[insn.name] = insn
        for expr in insn.where:
            self.expr(insn.pos, insn.cls, expr)
        self.insns.append(insn)

    # --- templates and expressions -------------------------------------------------------

    def texts(self, insn):
        """What an encoding is written as: if by way of its expansion, in terms of its own fields."""
        if insn.texts:
            return insn.texts
        target, fields = self.expand(insn)
        return self.read_texts(insn.pos, target, {f.name: f'({c})' for f, c in fields})

    def read_texts(self, pos, insn, values=None):
        """[(condition or None, [pieces])]; a piece is literal text or (printer, [C arguments]).
        values: C expressions for fields."""
        template, default = insn.template
        if template is None:
            template = '*'
        texts = []
        parts = [p.strip() for p in template.split(' ; ')]
        if parts[-1] == '*':
            if default is None:
                raise pos.error(f'class "{insn.cls.name}" has no template')
            parts[-1:] = [p.strip() for p in default.split(' ; ')]
        for part in parts:
            body, sep, cond = part.partition(' when ')
            body = body.strip()
            body = body.replace('<name>', insn.mnemonic)
            texts.append((self.expr(pos, insn.cls, cond, values) if sep else None,
                          self.pieces(pos, insn, body, values)))
        if texts[-1][0] is not None:
            raise pos.error('the last alternative must have no condition')
        if any(c is None for c, _ in texts[:-1]):
            raise pos.error('only the last alternative may be without condition')
        return texts

    def pieces(self, pos, insn, body, values):
        head, sep, tail = body.partition(' ')
        text = head + ('\t' + tail.strip() if sep else '')
        out = []
        for n, piece in enumerate(re.split(r'<((?:<<|>>|[^<>])*)>', text)):
            if n % 2 == 0:
                if piece:
                    out.append(piece)
                continue
            if piece in self.operands:
                self.used.add(('operand', piece))
                printer, args = self.operands[piece][1]
            elif insn.cls.lookup(piece):
                printer, args = 'dec', piece
            elif ':' in piece:
                printer, _, args = piece.partition(':')
            else:
                raise pos.error(f'unknown operand <{piece}>')
            out.append((printer, [self.expr(pos, insn.cls, a, values) for a in self.split_args(args)]))
        return out

    @staticmethod
    def split_args(text):
        args, depth = [''], 0
        for ch in text:
            depth += (ch == '(') - (ch == ')')
            if ch == ',' and not depth:
                args.append('')
            else:
                args[-1] += ch
        return [a.strip() for a in args if a.strip()]

    def expr(self, pos, cls, text, values=None):
        """A C expression over the word `i`."""
        def one(m):
            name = m[0]
            if m[1]:
                return f'{self.prefix}_{name}'
            field = cls.lookup(name)
            if not field:
                raise pos.error(f'class "{cls.name}" has no field "{name}"')
            if values:
                return f'(int){values[name]}'
            return field.c() if field.signed else f'(int){field.c()}'
        text = re.sub(r'0x[0-9a-fA-F]+', lambda m: str(int(m[0], 16)), text.strip())
        return IDENT.sub(one, text)

    # --- checks --------------------------------------------------------------------------

    def check(self):
        for name, cls in self.classes.items():
            if not cls.lines:
                raise cls.pos.error(f'class "{name}" has no encodings')
        for kind, table in (('field', self.fields), ('operand', self.operands),
                            ('feature', self.features), ('oracle', self.oracles)):
            for name, (pos, number) in table.items():
                base = kind == 'feature' and number == 0    # what has no feature needs this one
                if (kind, name) not in self.used and not base:
                    raise pos.error(f'{kind} "{name}" is never used')
        for what, table in (('system register', self.sysregs), ('system operation', self.sysops)):
            seen = {}
            for key, name, flags, pos in table:
                for way in flags or ('ro', 'wo'):
                    if (key, way) in seen and what == 'system register':
                        raise pos.error(f'{what} "{name}" has the encoding of "{seen[key, way]}"')
                    seen[key, way] = name
        self.check_lifts()
        self.check_overlap()

    def check_lifts(self):
        structs = {}
        for insn in self.insns:
            if insn.expansion:
                self.expand(insn)
                continue
            lift = insn.options.lift or insn.cls.name
            other = structs.setdefault(lift, insn.cls)
            if other is not insn.cls:
                raise insn.pos.error(f'lift function "{lift}" is used by class "{other.name}" and '
                                     f'by class "{insn.cls.name}"')

    def check_overlap(self):
        plain = [(n.mask, n.value, n) for n in self.insns if not n.options.otherwise]
        last = [(n.mask, n.value, n) for n in self.insns if n.options.otherwise]
        for group in (plain, last):
            for k, (mask, value, insn) in enumerate(group):
                for m, v, other in group[k + 1:]:
                    if (value ^ v) & mask & m == 0 and not self.excluded(insn, other):
                        self.check_pair(insn, other)

    def excluded(self, a, b):
        """Is there no CPU that has both? Two of different length are told apart by their masks."""
        both = self.features_of(a)[0] | self.features_of(b)[0]
        return any(len(group & both) > 1 for group in self.exclusive)

    def check_pair(self, a, b):
        """Both match some word as far as masks go: the constraints must exclude each other."""
        fixed, word = a.mask | b.mask, a.value | b.value
        groups = []     # [free bits, [(code, fields)]]: constraints that share bits
        for insn in (a, b):
            for expr in insn.where:
                if CALL.search(expr):
                    continue
                fields = [insn.cls.lookup(m[0]) for m in IDENT.finditer(expr)]
                group = [0, [(python_expr(expr), fields)]]
                for f in fields:
                    group[0] |= f.mask() & ~fixed
                for other in [g for g in groups if g[0] & group[0]]:
                    group = [group[0] | other[0], group[1] + other[1]]
                    groups.remove(other)
                groups.append(group)
        for free, tests in groups:
            bits = [n for n in range(WIDTH) if free >> n & 1]
            if len(bits) > MAX_CONSTRAINT_BITS:
                continue
            found = solve(tests, bits, word)
            if found is None:
                return
            word = found
        raise b.pos.error(f'"{b.name}" overlaps "{a.name}" ({a.pos.file}:{a.pos.line}), '
                          f'for example {word:#010x}')


def runs(bits):
    """[(lsb, width)] of consecutive numbers."""
    out = []
    for b in sorted(bits):
        if out and sum(out[-1]) == b:
            out[-1] = (out[-1][0], out[-1][1] + 1)
        else:
            out.append((b, 1))
    return out


def passes(test, word):
    code, fields = test
    return bool(eval(code, {}, {f.name: extract(f, word) for f in fields}))


def essential(insn, expr):
    """(the bits that a constraint really depends on, (code, fields)); None if it has many."""
    fields = [insn.cls.lookup(m[0]) for m in IDENT.finditer(expr)]
    test, free = (python_expr(expr), fields), 0
    for f in fields:
        free |= f.mask() & ~insn.mask
    bits = [b for b in range(WIDTH) if free >> b & 1]
    if len(bits) > 13:
        return None
    table = []
    for index in range(1 << len(bits)):
        word = insn.value
        for k, b in enumerate(bits):
            word |= (index >> k & 1) << b
        table.append(passes(test, word))
    return {b for k, b in enumerate(bits)
            if any(table[x] != table[x ^ 1 << k] for x in range(len(table)))}, test


def solve(tests, bits, base):
    """A word with some values in `bits` that passes all tests, None if there is none."""
    for values in product((0, 1), repeat=len(bits)):
        word = base
        for n, v in zip(bits, values):
            word |= v << n
        if all(passes(test, word) for test in tests):
            return word
    return None


def python_expr(text):
    text = conditional(text).replace('&&', ' and ').replace('||', ' or ').replace('/', '//')
    return compile(re.sub(r'!(?!=)', ' not ', text).strip(), '<constraint>', 'eval')


def conditional(text):
    """Rewrite `a ? b : c` as Python's `b if a else c`, also inside parentheses."""
    out, start, depth, mark, colon = '', 0, 0, None, None
    for k, ch in enumerate(text):
        if ch == '(':
            start = k + 1 if not depth else start
            depth += 1
        elif ch == ')':
            depth -= 1
            if not depth:
                ch = conditional(text[start:k]) + ')'
        if depth and not (ch == '(' and depth == 1):
            continue
        if ch == '?' and mark is None:
            mark = len(out)
        elif ch == ':' and mark is not None and colon is None:
            colon = len(out)
        out += ch
    if mark is None:
        return out
    return f'(({out[mark + 1:colon]}) if ({out[:mark]}) else ({out[colon + 1:]}))'


def extract(field, word):
    if isinstance(field, Joined):
        value = 0
        for p in field.parts:
            value = value << p.width | (word >> p.lsb & ((1 << p.width) - 1))
        value <<= field.zeros
    else:
        value = word >> field.lsb & ((1 << field.width) - 1)
    if field.signed and value >> (field.width - 1):
        value -= 1 << field.width
    return value


# --- the decision tree -------------------------------------------------------------------

LEAF, LIST = 0x8000, 0x4000


class Tree:
    """A trie as one array of u16. A node is a header (shift | width << 5) and 2^width children; a
    child is a node's index, or LEAF | id, or LEAF | LIST | index of a 0-terminated list of ids
    whose masks are compatible. A leaf still compares mask and value: the tree only separates."""

    def __init__(self, insns):
        self.words, self.lists, self.list_index = [], [0], {}
        self.order = {id(n): k for k, n in enumerate(insns, 1)}
        self.memo = {}
        if self.node(insns, 0):     # nothing to tell apart: the root must be a node all the same
            self.words = [1 << 5] + [self.leaf(insns)] * 2

    def leaf(self, items):
        if not items:
            return LEAF
        ids = tuple(self.order[id(n)] for n in
                    sorted(items, key=lambda n: n.options.otherwise))
        if len(ids) == 1:
            return LEAF | ids[0]
        if ids not in self.list_index:
            self.list_index[ids] = len(self.lists)
            self.lists += list(ids) + [0]
        return LEAF | LIST | self.list_index[ids]

    @staticmethod
    def choose(items, known):
        """The bit group that leaves the least work: sum of squares of the bucket sizes, averaged,
        plus a little for the room that it takes."""
        fixed = [sum((n.mask & ~known) >> b & 1 for n in items) for b in range(WIDTH)]
        best = None
        for width in range(1, 12 if not known else 9):
            for shift in range(WIDTH - width + 1):
                if not fixed[shift] or not fixed[shift + width - 1]:
                    continue
                counts = [0] * (1 << width)
                for n in items:
                    m = n.mask >> shift & ((1 << width) - 1)
                    v = n.value >> shift & m
                    if m == (1 << width) - 1:
                        counts[v] += 1
                    else:
                        for k in matching(m, v, width):
                            counts[k] += 1
                if max(counts) == len(items) and min(counts) == len(items):
                    continue
                room = 1.35 if known else 1     # the root may be large: most words end there
                cost = (sum(c * c for c in counts) / len(counts) + 1) * room ** width
                if best is None or cost < best[0]:
                    best = (cost, shift, width)
        return best

    def node(self, items, known):
        """`known` has the bits that were tested on the way; all items agree with them."""
        if not any((a.value ^ b.value) & a.mask & b.mask
                   for k, a in enumerate(items) for b in items[k + 1:]):
            return self.leaf(items)
        key = (known, *(self.order[id(n)] for n in items))
        if key in self.memo:
            return self.memo[key]
        _, shift, width = self.choose(items, known)
        at = len(self.words)
        self.memo[key] = at
        self.words += [shift | width << 5] + [0] * (1 << width)
        full = (1 << width) - 1
        for k in range(1 << width):
            sub = [n for n in items
                   if (n.value >> shift ^ k) & (n.mask >> shift) & full == 0]
            self.words[at + 1 + k] = self.node(sub, known | full << shift)
        return at


def matching(mask, value, width):
    free = ~mask & ((1 << width) - 1)
    sub = free
    while True:
        yield value | sub
        if not sub:
            return
        sub = (sub - 1) & free


# --- output ------------------------------------------------------------------------------

GUARD = """
/* The constraints of an encoding: bits are gathered into an index of a truth table. */
struct guard {
    u64 truth;
    u8 shift[3], mask[3];
    u16 check; /* what the table does not cover, see check() */
};
"""

DECODER = """
static bool matches(unsigned id, u32 i{features})
{{
    const struct insn *e = &{p}_insns[id];
    const struct guard *g = &guards[id];
    unsigned index = (i >> g->shift[0] & g->mask[0]) | (i >> g->shift[1] & g->mask[1]) |
                     (i >> g->shift[2] & g->mask[2]);
    bool ok = ((i & e->mask) == e->value) & (g->truth >> index & 1){needs};
    return unlikely(g->check) ? ok && check(g->check, i) : ok;
}}

unsigned {p}_decode_id(u32 i{features})
{{
    unsigned n = tree[1 + (i >> {shift} & {mask:#x})]; /* the root's header is known */
    while (!(n & {leaf:#x})) {{
        unsigned h = tree[n];
        n = tree[n + 1 + (i >> (h & 31) & ((1u << (h >> 5)) - 1))];
    }}
    if (likely(!(n & {list:#x}))) {{
        n &= {id:#x};
        return matches(n, i{has}) ? n : 0;
    }}
    for (const u16 *c = lists + (n & {at:#x}); *c; c++)
        if (matches(*c, i{has}))
            return *c;
    return 0;
}}
"""


class Writer:
    def __init__(self, tables):
        self.t, self.p, self.P = tables, tables.prefix, tables.prefix.upper()
        self.checks = {}

    def enum(self, insn):
        return f'{self.P}_{insn.name.upper()}'

    def feature(self, name):
        if name in self.t.needs:
            return self.t.needs[name]
        return f'{self.P}_{name or list(self.t.features)[0]}'

    @staticmethod
    def ctype(field):
        size = 8 if field.width <= 8 else 16 if field.width <= 16 else 32
        return f'{"s" if field.signed else "u"}{size}'

    def header(self):
        p, P = self.p, self.P
        guard = f'LYRE_GEN_{P}_TABLES_H'
        out = ['/* Generated by tools/isagen.py. */', f'#ifndef {guard}', f'#define {guard}', '',
               '#include "base/types.h"', '', 'struct lift;', '', f'enum {p}_feature {{']
        out += [f'    {P}_{f},' for f in self.t.features]
        out += [f'    {P}_FEATURES', '};', '']
        if self.t.oracles:
            out += [f'enum {p}_oracle {{', f'    {P}_BY_NONE,']
            out += [f'    {P}_BY_{o.upper()},' for o in self.t.oracles] + ['};', '']
        out += [f'enum {p}_id {{', f'    {P}_UNDEFINED,']
        out += [f'    {self.enum(n)},' for n in self.t.insns]
        out += [f'    {P}_INSNS', '};', '']
        for kind, rows in (('reg', self.t.sysregs), ('op', self.t.sysops)):
            names = {n.upper().replace(' ', '_'): key for key, n, _, _ in rows}
            if names:
                out += [f'enum {p}_{kind}_key {{']
                out += [f'    {P}_{kind.upper()}_{n} = {key:#06x},' for n, key in names.items()]
                out += ['};', '']
        for cls in self.t.classes.values():
            by_type = {}
            for f in cls.struct_fields():
                by_type.setdefault(self.ctype(f), []).append(f.name)
            out += [f'struct {p}_{cls.name} {{', f'    u16 id; /* enum {p}_id */']
            out += [f'    {ty} {", ".join(names)};' for ty, names in sorted(
                by_type.items(), key=lambda kv: -int(kv[0][1:]))]
            out += ['};', '']
        out += ['/* Return false for an encoding that is undefined. */']
        out += [f'bool {p}_lift_{lift}(struct lift *l, const struct {p}_{cls} *f);'
                for lift, cls in self.lifts()]
        return out + ['', '#endif']

    def lifts(self):
        seen = {}
        for n in self.t.insns:
            if 'todo' not in n.options.effects and not n.expansion:
                seen[n.options.lift or n.cls.name] = n.cls.name
        return list(seen.items())

    def guard(self, insn):
        """The constraints as a truth table over the few bits that decide, which needs no branch;
        what calls functions or depends on many bits becomes a numbered check."""
        bits, tests, rest = set(), [], []
        for e in insn.where:
            test = None if CALL.search(e) else essential(insn, e)
            if test and len(bits | test[0]) <= 6 and len(runs(bits | test[0])) <= 3:
                bits |= test[0]
                tests.append(test)
            else:
                rest.append(e)
        pieces, at = [], 0
        for lsb, width in runs(bits):
            pieces.append((lsb - at, ((1 << width) - 1) << at))
            at += width
        truth = 0
        for index in range(64):
            word = insn.value
            for k, b in enumerate(sorted(bits)):
                word |= (index >> k & 1) << b
            truth |= all(passes(test, word) for _, test in tests) << index
        if not any(truth >> k & 1 for k in range(1 << len(bits))):
            raise insn.pos.error(f'nothing satisfies the constraints of "{insn.name}"')
        pieces += [(0, 0)] * (3 - len(pieces))
        code = ' && '.join(f'({self.t.expr(insn.pos, insn.cls, e)})' for e in rest)
        number = self.checks.setdefault(code, len(self.checks) + 1) if rest else 0
        return (f'    {{{truth:#x}, {{{", ".join(str(s) for s, _ in pieces)}}}, '
                f'{{{", ".join(str(m) for _, m in pieces)}}}, {number}}},')

    def decode(self):
        p, P = self.p, self.P
        tree = Tree(self.t.insns)
        if max(len(tree.words), 0) >= LEAF or len(tree.lists) >= LIST or len(self.t.insns) >= LIST:
            raise IsaError('isagen: the tree has outgrown 16 bits')
        rows = []
        for n in self.t.insns:
            effects = ' | '.join(f'INSN_{EFFECTS[e]}' for e in EFFECTS if e in n.options.effects)
            oracle = f'{P}_BY_{n.options.oracle.upper()}' if n.options.oracle else 0
            rows.append(f'    {{"{n.name}", {n.mask:#010x}, {n.value:#010x}, {self.enum(n)}, '
                        f'{effects or 0}, {self.feature(n.options.feature)}, {n.cls.width // 8}, {oracle}}},')
        out = ['/* Generated by tools/isagen.py. */', f'#include "{self.t.folder}/decode.h"', *GUARD.splitlines(), '',
               f'const struct insn {p}_insns[{P}_INSNS] = {{',
               '    {"undefined", 0, 0, 0, 0, 0, 0, 0},'] + rows + ['};', '']
        out += [f'const char *const {p}_feature_names[{P}_FEATURES] = {{']
        out += [f'    "{f}",' for f in self.t.features] + ['};', '']
        if self.t.needs:
            out += [f'const struct insn_needs {p}_needs[] = {{']
            out += [f'    {{1ull << {P}_{f}, 0}},' for f in self.t.features]
            out += [self.needs(word) for word in self.t.needs] + ['};', '']
        out += ['static const struct guard guards[] = {', '    {0},']
        out += [self.guard(n) for n in self.t.insns] + ['};', '']
        out += array('tree', tree.words) + array('lists', tree.lists)
        out += ['static bool check(unsigned n, u32 i)', '{', '    switch (n) {']
        out += [f'    case {k}:\n        return {code};' for code, k in self.checks.items()]
        out += ['    }', '    return true;', '}', '']
        root = tree.words[0]
        return out + DECODER.format(
            p=p, features=', u64 features' if self.t.needs else '', has=', features' if self.t.needs else '',
            needs=f' &\n              insn_needs_met(&{p}_needs[e->feature], features)' if self.t.needs else '',
            shift=root & 31, mask=(1 << (root >> 5)) - 1,
            leaf=LEAF, list=LIST, id=LEAF - 1, at=LIST - 1).splitlines()

    def needs(self, word):
        def bits(names):
            return ' | '.join(f'1ull << {self.P}_{name}' for name in names) or '0'
        groups = [g.split('|') for g in word.split('&')]
        one_of = next((g for g in groups if len(g) > 1), [])
        return f'    {{{bits([g[0] for g in groups if len(g) == 1])}, {bits(one_of)}}},'

    def expansion(self, insn):
        target, fields = self.t.expand(insn)
        lift = target.options.lift or target.cls.name
        ctype = f'struct {self.p}_{target.cls.name}'
        return [f'    case {self.enum(insn)}: {{', f'        const {ctype} f = {{',
                f'            .id = {self.enum(target)},',
                *(f'            .{f.name} = ({self.ctype(f)})({c}),' for f, c in fields),
                '        };', f'        return {self.p}_lift_{lift}(l, &f);', '    }']

    def lift(self):
        p, P = self.p, self.P
        out = ['/* Generated by tools/isagen.py. */', f'#include "{self.t.folder}/decode.h"', '',
               f'bool {p}_lift_id(struct lift *l, u32 i, unsigned id)', '{', '    switch (id) {']
        for lift, cls in self.lifts():
            for n in self.t.insns:
                if (n.options.lift or n.cls.name) == lift and 'todo' not in n.options.effects \
                        and not n.expansion:
                    out.append(f'    case {self.enum(n)}:')
            out[-1] += ' {'
            out.append(f'        const struct {p}_{cls} f = {{')
            out += ['            .id = (u16)id,']
            out += [f'            .{f.name} = {f.c()},'
                    for f in self.t.classes[cls].struct_fields()]
            out += ['        };', f'        return {p}_lift_{lift}(l, &f);', '    }']
        for n in self.t.insns:
            if n.expansion and 'todo' not in self.t.expand(n)[0].options.effects:
                out += self.expansion(n)
        return out + ['    }', '    return false;', '}']

    def text(self):
        p, P = self.p, self.P
        out = ['/* Generated by tools/isagen.py. */', f'#include "{self.t.folder}/text.h"', '']
        bodies = {}
        for n in self.t.insns:
            body = []
            for cond, pieces in self.t.texts(n):
                call = [f'put_text(t, "{x}");'.replace('\t', '\\t') if isinstance(x, str) else
                        f'put_{x[0]}({", ".join(["t"] + x[1])});' for x in pieces]
                if cond:
                    body += [f'    if ({cond}) {{'] + ['        ' + c for c in call]
                    body += ['        return;', '    }']
                else:
                    body += ['    ' + c for c in call]
            bodies.setdefault('\n'.join(body), []).append(n)
        for body, users in bodies.items():
            out += [f'static void text_{users[0].name}(struct insn_text *t, u32 i)',
                    '{', body, '}', '']
        names = {id(n): users[0].name for users in bodies.values() for n in users}
        out += [f'void (*const {p}_texts[{P}_INSNS])(struct insn_text *t, u32 i) = {{']
        out += [f'    [{self.enum(n)}] = text_{names[id(n)]},' for n in self.t.insns]
        return out + ['};']

    def sysreg(self):
        p = self.p
        out = ['/* Generated by tools/isagen.py. */', f'#include "{self.t.folder}/sysreg.h"', '']
        flag = {'ro': f'{self.P}_SYSREG_RO', 'wo': f'{self.P}_SYSREG_WO', 'xt': '1'}
        for name, table in (('sysregs', self.t.sysregs), ('sysops', self.t.sysops)):
            out += [f'const struct {p}_sysreg {p}_{name}[] = {{']
            out += [f'    {{"{n}", {key:#06x}, {flag[f[0]] if f else 0}}},'
                    for key, n, f, _ in sorted(table, key=lambda row: (row[0], row[2]))]
            out += ['};', f'const unsigned {p}_{name}_count = {len(table)};', '']
        return out


def array(name, words):
    out = [f'static const u16 {name}[] = {{']
    for k in range(0, len(words), 12):
        out.append('    ' + ' '.join(f'{w},' for w in words[k:k + 12]))
    return out + ['};', '']


def main():
    ap = argparse.ArgumentParser(description='generate decoder, disassembler and lift dispatch')
    ap.add_argument('--prefix', default='a64')
    ap.add_argument('--folder', default='isa/aarch64', help='where the hand-written headers are')
    ap.add_argument('--out', required=True, help='directory for the generated files')
    ap.add_argument('files', nargs='+')
    args = ap.parse_args()
    tables = Tables(args.prefix, args.folder)
    try:
        for path in args.files:
            tables.read(path)
        tables.check()
        w = Writer(tables)
        files = {'tables.h': w.header(), 'decode.c': w.decode(), 'text.c': w.text(),
                 'lift.c': w.lift()}
        if tables.sysregs:
            files['sysreg.c'] = w.sysreg()
    except IsaError as e:
        sys.exit(str(e))
    for name, lines in files.items():
        with open(os.path.join(args.out, f'{args.prefix}_{name}'), 'w', encoding='utf-8') as f:
            f.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
