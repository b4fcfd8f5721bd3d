#!/usr/bin/env python3
"""Make the system call tables from src/user/linux/syscalls.tbl.

    gen_syscalls.py TABLE OUT.c OUT.h

The table's format is described at its top. Any mistake in it is an error that names the line;
tests/user/test_gen_syscalls.py holds one example of each.
"""

import re
import sys

COLUMNS = ("generic", "arm", "i386", "x86_64")
# The tables that come from them: name, column, width where the column has two, architecture.
TABLES = (("generic", "generic", 64, "arm64"), ("riscv64", "generic", 64, "riscv"),
          ("riscv32", "generic", 32, "riscv"), ("arm", "arm", 32, None), ("i386", "i386", 32, None),
          ("x86_64", "x86_64", 64, None))
NUMBERS = {"int", "uint", "long", "ulong", "size", "off", "offhi", "hex", "omode", "pid", "sig", "fd",
           "dirfd"}
PLAIN = NUMBERS | {"ptr", "path", "lpath", "npath", "atpath", "str", "strv", "iovec", "sigset"}
STRUCTS = {"in", "out", "inout"}
RESULTS = {"int", "long", "hex", "none"}
MAX_NUMBER = 4095
# What members of guest structures are: (signed, size, alignment). "bN" are N bytes that are only copied.
FIELDS = {f"{sign}{8 * size}": (sign == "s", size, size) for sign in "us" for size in (1, 2, 4, 8)}
FIELDS["w64"] = (False, 8, 4)  # two words of 32 bits that make one of 64


class TableError(Exception):
    pass


class Call:
    def __init__(self, name, numbers, how, detail, result, args):
        self.name, self.numbers, self.how, self.detail = name, numbers, how, detail
        self.result, self.args = result, args


class Arg:
    def __init__(self, kind, name, detail=None, count=None):
        self.kind, self.name, self.detail, self.count = kind, name, detail, count


class Table:
    def __init__(self):
        self.structs, self.sets, self.calls = {}, {}, []
        self.layouts = {}  # port -> structure -> (size, fields)


class Field:
    def __init__(self, member, offset, signed, size):
        self.member, self.offset, self.signed, self.size = member, offset, signed, size


def parse_set(words):
    """[(mask, value, name)] as C expressions."""
    out = []
    for word in words:
        if ":" in word:
            mask, names = word.split(":", 1)
            # The mask has to cover all choices, so that one is not printed as part of another.
            out += [(mask, n, n) for n in reversed(names.split(","))]
        else:
            out.append((word, word, word))
    return out


def parse_arg(table, word, names):
    m = re.fullmatch(r"(\w+)(?:\(([\w*]+)\))?:(\w+)", word)
    if not m:
        raise TableError(f"'{word}' is no argument (KIND:NAME or KIND(DETAIL):NAME)")
    kind, detail, name = m.groups()
    if name in names:
        raise TableError(f"two arguments are called '{name}'")
    if kind in PLAIN:
        if detail:
            raise TableError(f"'{kind}' takes no detail")
        return Arg(kind, name)
    if kind == "flags":
        if detail not in table.sets:
            raise TableError(f"no set of flags is called '{detail}'")
        return Arg(kind, name, detail)
    if kind in STRUCTS:
        base, _, count = (detail or "").partition("*")
        if base not in table.structs:
            raise TableError(f"no structure is called '{base}'")
        return Arg(kind, name, base, count or None)
    raise TableError(f"'{kind}' is no kind of argument")


def parse_layout(table, words):
    """layout PORT,... STRUCT MEMBER:TYPE...: what a structure is for guests whose own is another."""
    if len(words) < 4:
        raise TableError("a layout has ports, a structure and at least one member")
    struct = words[2]
    if struct not in table.structs:
        raise TableError(f"no structure is called '{struct}'")
    fields, end, most = [], 0, 1
    for word in words[3:]:
        member, _, kind = word.rpartition(":")
        raw = re.fullmatch(r"b(\d+)", kind)
        if not member or not raw and kind not in FIELDS:
            raise TableError(f"'{word}' is no member (MEMBER:TYPE)")
        signed, size, align = (False, int(raw[1]), 1) if raw else FIELDS[kind]
        end, most = -(-end // align) * align, max(most, align)
        if member != "-":
            fields.append(Field(member, end, signed, size))
        end += size
    for port in words[1].split(","):
        if port not in (name for name, *_ in TABLES):
            raise TableError(f"'{port}' is no port")
        layouts = table.layouts.setdefault(port, {})
        if struct in layouts:
            raise TableError(f"{port} has two layouts of '{struct}'")
        layouts[struct] = (-(-end // most) * most, fields)


def parse_number(word, column):
    """{(width, architecture): number} of N, N@ARCH, or N64/N32, where one may be "-"."""
    m = re.fullmatch(r"(\d+|-)(?:/(\d+|-)|@([a-z]\w*))?", word)
    if not m:
        raise TableError(f"'{word}' is no number for {column}")
    wide, narrow, arch = m.group(1), m.group(2) or m.group(1), m.group(3)
    numbers = {(width, arch): int(n) for width, n in ((64, wide), (32, narrow)) if n != "-"}
    if any(n > MAX_NUMBER for n in numbers.values()):
        raise TableError(f"'{word}' is no number for {column}")
    return numbers


def parse_numbers(words):
    """The call's number in each of TABLES that has it."""
    parsed = {column: parse_number(word, column) for column, word in zip(COLUMNS, words)}
    numbers = {}
    for name, column, width, arch in TABLES:
        for key in ((width, None), (width, arch)):
            if key in parsed[column]:
                numbers[name] = parsed[column][key]
    return numbers


def parse_call(table, words):
    if len(words) < 3 + len(COLUMNS):
        raise TableError(f"a call has a name, {len(COLUMNS)} numbers, how, and a result")
    name, numbers = words[0], parse_numbers(words[1:])
    how, result = words[1 + len(COLUMNS)], words[2 + len(COLUMNS)]
    m = re.fullmatch(r"(pass|body|nosys|deny)(?:\((E\w+)\))?", how)
    if not m or (m.group(1) == "deny") != bool(m.group(2)):
        raise TableError(f"'{how}' is not one of pass, body, nosys, deny(ERRNO)")
    if result not in RESULTS:
        raise TableError(f"'{result}' is no kind of result")
    args = []
    for word in words[3 + len(COLUMNS):]:
        args.append(parse_arg(table, word, {a.name for a in args}))
    if len(args) > 6:
        raise TableError("more than six arguments")
    index = {a.name: i for i, a in enumerate(args)}
    for i, a in enumerate(args):
        if a.count and not a.count.isdigit() and a.count not in index:
            raise TableError(f"'{a.name}' has '{a.count}' elements, which is no argument")
        if a.kind == "iovec" and i + 1 == len(args):
            raise TableError(f"'{a.name}' needs a count after it")
        if a.kind == "atpath" and not any(b.detail == "at" for b in args[i:]):
            raise TableError(f"'{a.name}' needs a flags(at) argument after it")
    return Call(name, numbers, m.group(1), m.group(2), result, args)


def parse(text, path="syscalls.tbl"):
    table = Table()
    used = {name: {} for name, *_ in TABLES}
    names = set()
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        try:
            words = line.split()
            if words[0] == "struct":
                m = re.fullmatch(r"struct (\w+) '([^']+)'", line)
                if not m:
                    raise TableError("a structure is: struct NAME 'C type'")
                if m.group(1) in table.structs:
                    raise TableError(f"structure '{m.group(1)}' is there twice")
                table.structs[m.group(1)] = m.group(2)
            elif words[0] in ("flags", "values"):
                if len(words) < 3:
                    raise TableError("a set has a name and at least one member")
                if words[1] in table.sets:
                    raise TableError(f"set '{words[1]}' is there twice")
                table.sets[words[1]] = (words[0] == "values", parse_set(words[2:]))
            elif words[0] == "layout":
                parse_layout(table, words)
            else:
                call = parse_call(table, words)
                if call.name in names:
                    raise TableError(f"call '{call.name}' is there twice")
                names.add(call.name)
                for abi, n in call.numbers.items():
                    if n in used[abi]:
                        raise TableError(f"{abi} number {n} is that of '{used[abi][n]}'")
                    used[abi][n] = call.name
                table.calls.append(call)
        except TableError as e:
            raise TableError(f"{path}:{number}: {e}") from None
    return table


def emit_h(table):
    out = ["/* Made from syscalls.tbl by tools/gen_syscalls.py. */",
           "#ifndef LYRE_USER_LINUX_SYSCALLS_GEN_H", "#define LYRE_USER_LINUX_SYSCALLS_GEN_H", "",
           "enum sys_struct {"]
    out += [f"    SYS_STRUCT_{n}," for n in table.structs]
    out += ["    SYS_NSTRUCTS,", "};", "", "enum sys_set_id {"]
    out += [f"    SYS_SET_{n}," for n in table.sets]
    out += ["    SYS_NSETS,", "};", "", "enum sys_id {"]
    out += [f"    SYS_ID_{c.name}," for c in table.calls]
    out += ["    SYS_NCALLS,", "};", ""]
    out += [f"s64 sys_{c.name}(struct thread *t, const u64 *a);" for c in table.calls
            if c.how == "body"]
    out += [f"extern const u16 sys_numbers_{name}[];\nextern const unsigned sys_numbers_{name}_count;"
            for name, *_ in TABLES]
    out += [f"extern const struct sys_layout *const sys_layouts_{port}[SYS_NSTRUCTS];" for port in table.layouts]
    out += ["", "#endif", ""]
    return "\n".join(out)


def emit_arg(call, arg):
    fields = [f".kind = ARG_{arg.kind.upper()}"]
    if arg.kind == "flags":
        fields.append(f".set = SYS_SET_{arg.detail}")
    if arg.kind in STRUCTS:
        fields.append(f".type = SYS_STRUCT_{arg.detail}")
        if arg.count is None:
            fields.append(".count = 1, .count_arg = -1")
        elif arg.count.isdigit():
            fields.append(f".count = {arg.count}, .count_arg = -1")
        else:
            index = [a.name for a in call.args].index(arg.count)
            fields.append(f".count_arg = {index}")
    return "{" + ", ".join(fields) + "}"


def emit_layout(table, port, struct):
    """A member called "." is the whole."""
    size, fields = table.layouts[port][struct]
    ctype, name = table.structs[struct], f"layout_{port}_{struct}"
    out = [f"static const struct sys_field {name}_fields[] = {{"]
    for f in fields:
        host = f"0, {f.offset}, sizeof({ctype})" if f.member == "." else \
            f"offsetof({ctype}, {f.member}), {f.offset}, sizeof((({ctype} *)0)->{f.member})"
        out.append(f"    {{{host}, {f.size}, {'true' if f.signed else 'false'}}},")
    return out + ["};", f"static const struct sys_layout {name} = {{{size}, {len(fields)}, {name}_fields}};", ""]


def emit_layouts(table):
    out = []
    for port, layouts in table.layouts.items():
        for struct in layouts:
            out += emit_layout(table, port, struct)
        out.append(f"const struct sys_layout *const sys_layouts_{port}[SYS_NSTRUCTS] = {{")
        out += [f"    [SYS_STRUCT_{s}] = &layout_{port}_{s}," for s in layouts] + ["};", ""]
    return out


def emit_c(table):
    out = ["/* Made from syscalls.tbl by tools/gen_syscalls.py. */",
           "#include <stddef.h>", "",
           '#include "user/linux/headers.h"', '#include "user/linux/syscall.h"', ""]
    out.append("const u16 sys_struct_size[SYS_NSTRUCTS] = {")
    out += [f"    [SYS_STRUCT_{n}] = sizeof({t})," for n, t in table.structs.items()]
    out += ["};", ""]
    for name, (_, members) in table.sets.items():
        out.append(f"static const struct sys_set_member set_{name}[] = {{")
        for mask, value, text in members:
            out += [f"#ifdef {text}", f'    {{"{text}", (u64)({mask}), (u64)({value})}},', "#endif"]
        out += ["    {0}", "};", ""]
    out.append("const struct sys_set sys_sets[SYS_NSETS] = {")
    for name, (values, _) in table.sets.items():
        out.append(f"    [SYS_SET_{name}] = {{set_{name}, {'true' if values else 'false'}}},")
    out += ["};", ""]
    for c in table.calls:
        out += [f"#ifdef __NR_{c.name}", f"#define HOST_{c.name} __NR_{c.name}", "#else",
                f"#define HOST_{c.name} -1", "#endif"]
    out += ["", "const struct sys_call sys_calls[SYS_NCALLS] = {"]
    for c in table.calls:
        run = f"sys_{c.name}" if c.how == "body" else "NULL"
        deny = {"nosys": "ENOSYS", "deny": c.detail}.get(c.how, "0")
        args = ", ".join(emit_arg(c, a) for a in c.args)
        out.append(f'    [SYS_ID_{c.name}] = {{"{c.name}", {run}, HOST_{c.name}, {deny}, '
                   f"RESULT_{c.result.upper()}, {len(c.args)}, {{{args}}}}},")
    out += ["};", ""]
    out += emit_layouts(table)
    for abi, *_ in TABLES:
        rows = sorted((c.numbers[abi], c.name) for c in table.calls if abi in c.numbers)
        out.append(f"const u16 sys_numbers_{abi}[] = {{")
        out += [f"    [{n}] = SYS_ID_{name} + 1," for n, name in rows] or ["    0,"]
        out += ["};", f"const unsigned sys_numbers_{abi}_count = {rows[-1][0] + 1 if rows else 0};",
                ""]
    return "\n".join(out)


def main(argv):
    if len(argv) != 4:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        with open(argv[1], encoding="utf-8") as f:
            table = parse(f.read(), argv[1])
    except TableError as e:
        print(e, file=sys.stderr)
        return 1
    with open(argv[2], "w", encoding="utf-8") as f:
        f.write(emit_c(table))
    with open(argv[3], "w", encoding="utf-8") as f:
        f.write(emit_h(table))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
