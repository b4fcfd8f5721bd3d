#!/usr/bin/env python3
"""Make the system call tables from src/user/linux/syscalls.tbl.

    gen_syscalls.py TABLE OUT.c OUT.h

The table's format is described at its top. Any mistake in it is an error that names the line;
tests/user/test_gen_syscalls.py holds one example of each.
"""

import re
import sys

ABIS = ("generic", "arm", "i386", "x86_64")
NUMBERS = {"int", "uint", "long", "ulong", "size", "off", "hex", "omode", "pid", "sig", "fd",
           "dirfd"}
PLAIN = NUMBERS | {"ptr", "path", "lpath", "npath", "atpath", "str", "strv", "iovec", "sigset"}
STRUCTS = {"in", "out", "inout"}
RESULTS = {"int", "long", "hex", "none"}
MAX_NUMBER = 4095


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


def parse_call(table, words):
    if len(words) < 3 + len(ABIS):
        raise TableError(f"a call has a name, {len(ABIS)} numbers, how, and a result")
    name, numbers = words[0], {}
    for abi, word in zip(ABIS, words[1:]):
        if word == "-":
            continue
        if not word.isdigit() or int(word) > MAX_NUMBER:
            raise TableError(f"'{word}' is no number for {abi}")
        numbers[abi] = int(word)
    how, result = words[1 + len(ABIS)], words[2 + len(ABIS)]
    m = re.fullmatch(r"(pass|body|nosys|deny)(?:\((E\w+)\))?", how)
    if not m or (m.group(1) == "deny") != bool(m.group(2)):
        raise TableError(f"'{how}' is not one of pass, body, nosys, deny(ERRNO)")
    if result not in RESULTS:
        raise TableError(f"'{result}' is no kind of result")
    args = []
    for word in words[3 + len(ABIS):]:
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
    used = {abi: {} for abi in ABIS}
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


def emit_c(table):
    out = ["/* Made from syscalls.tbl by tools/gen_syscalls.py. */",
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
    for abi in ABIS:
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
