#!/usr/bin/env python3
"""Make the tables of QMP from src/monitor/qmp.schema.

    gen_qmp.py SCHEMA OUT.c OUT.h

The schema's format is described at its top. Any mistake in it is an error that names the line;
tools/tests/test_gen_qmp.py holds one example of each.
"""

import re
import sys

BUILTIN = ("str", "int", "number", "bool", "null", "any")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*$")


class SchemaError(Exception):
    pass


class Type:
    """A struct, a union, an enum, or the unnamed struct of a command's arguments or an event's data."""

    def __init__(self, kind, name, tag=None):
        self.kind, self.name, self.tag = kind, name, tag
        self.values, self.members, self.variants = [], [], []  # members: (name, type, optional)
        self.open = False  # there may be further members


class Command:
    def __init__(self, name, result, oob, args, doc):
        self.name, self.result, self.oob, self.args, self.doc = name, result, oob, args, doc


class Schema:
    def __init__(self):
        self.types, self.commands, self.events = {}, {}, {}


def check_name(name, what):
    if not NAME.match(name):
        raise SchemaError(f"'{name}' is no name of {what}")
    return name


def add(to, name, what, value):
    if name in to or name in BUILTIN:
        raise SchemaError(f"{what} {name} is there twice")
    to[name] = value
    return value


def parse_head(schema, words, doc):
    """The Type that the indented lines behind a head belong to."""
    kind, name = words[0], check_name(words[1] if len(words) > 1 else "", words[0])
    rest = words[2:]
    if kind in ("enum", "struct") and not rest:
        return add(schema.types, name, kind, Type(kind, name))
    if kind == "union" and len(rest) == 2 and rest[0] == "by":
        return add(schema.types, name, kind, Type("struct", name, rest[1]))
    if kind == "event" and not rest:
        return add(schema.events, name, kind, Type("struct", f"event {name}"))
    if kind == "command":
        oob = rest[-1:] == ["oob"]
        rest = rest[:-1] if oob else rest
        if rest and (len(rest) != 2 or rest[0] != "->"):
            raise SchemaError(f"command {name}: '{' '.join(rest)}' is not understood")
        if not doc:
            raise SchemaError(f"command {name}: nothing says what it is for")
        args = Type("struct", f"command {name}")
        add(schema.commands, name, kind, Command(name, rest[1] if rest else None, oob, args, doc))
        return args
    raise SchemaError(f"'{' '.join(words)}' is not understood")


def parse_member(of, text):
    if of.kind == "enum":
        of.values += [check_name(word, "a value") for word in text.split()]
        return
    if text == "...":
        of.open = True
        return
    into = of.variants if text.startswith("|") else of.members
    if into is of.variants and not of.tag:
        raise SchemaError("only a union has variants")
    name, colon, kind = (x.strip() for x in text.lstrip("| ").partition(":"))
    if not colon or not kind:
        raise SchemaError(f"'{text}' is no member")
    optional = name.endswith("?")
    name = check_name(name.rstrip("?"), "a member")
    if name in (m[0] for m in into):
        raise SchemaError(f"member {name} is there twice")
    into.append((name, kind, optional))


def parse(text):
    schema, current, doc = Schema(), None, None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith("##"):
                doc = line[2:].strip()
            elif not line.strip() or line.startswith("#"):
                continue
            elif line[0].isspace():
                if current is None:
                    raise SchemaError("it belongs to nothing")
                parse_member(current, line.strip())
            else:
                current = parse_head(schema, line.split(), doc)
                doc = None
        except SchemaError as e:
            raise SchemaError(f"line {number}: {e}") from None
    check(schema)
    return schema


def element(kind):
    return kind[1:-1] if kind.startswith("[") and kind.endswith("]") else None


def check_type(schema, kind, where):
    inner = element(kind)
    if inner is not None:
        check_type(schema, inner, where)
    elif kind not in BUILTIN and kind not in schema.types:
        raise SchemaError(f"{where}: there is no type '{kind}'")


def all_structs(schema):
    return ([t for t in schema.types.values() if t.kind == "struct"] + [c.args for c in schema.commands.values()] +
            list(schema.events.values()))


def check(schema):
    for t in all_structs(schema):
        for name, kind, _ in t.members + t.variants:
            check_type(schema, kind, f"{t.name}: {name}")
        if t.tag is not None:
            tags = {m[0]: m[1] for m in t.members}
            values = schema.types.get(tags.get(t.tag), Type("enum", ""))
            for name, _, _ in t.variants:
                if name not in values.values:
                    raise SchemaError(f"{t.name}: '{name}' is no value of {t.tag}")
    for c in schema.commands.values():
        if c.result:
            check_type(schema, c.result, f"command {c.name}")


# ---- the tables ----

def numbered(schema):
    """Every type that is used, lists too, in the order of its number."""
    order = {}

    def visit(kind):
        if kind in order:
            return
        inner = element(kind)
        if inner:
            visit(inner)
        if kind in order:  # a type whose members are lists of it has come here before
            return
        order[kind] = len(order)
        t = schema.types.get(kind)
        for _, k, _ in (t.members + t.variants) if t else []:
            visit(k)
    for kind in BUILTIN:
        visit(kind)
    order["{}"] = len(order)  # no arguments, no data, no result
    for c in schema.commands.values():
        visit(c.result or "{}")
    for t in [c.args for c in schema.commands.values()] + list(schema.events.values()):
        for _, k, _ in t.members:
            visit(k)
        if t.members:
            order[t.name] = len(order)
    return order


def emit_members(out, name, members, order):
    out.append(f"static const struct qmp_member {name}[] = {{")
    out += [f'    {{"{n}", {order[k]}, {str(optional).lower()}}},' for n, k, optional in members]
    out.append("    {NULL},\n};")


def emit_type(out, kind, structs, order):
    """The initialiser of a type; what it points to goes before."""
    number = order[kind]
    if kind in BUILTIN:
        return f'{{"{kind}", QMP_{kind.upper()}}}'
    if element(kind):
        return f'{{"{kind}", QMP_LIST, .of = {order[element(kind)]}}}'
    t = structs.get(kind, Type("struct", kind))
    if t.kind == "enum":
        out.append(f"static const char *const values{number}[] = {{" +
                   ", ".join(f'"{v}"' for v in t.values) + ", NULL};")
        return f'{{"{kind}", QMP_ENUM, .values = values{number}}}'
    emit_members(out, f"members{number}", t.members, order)
    if not t.variants:
        return f'{{"{kind}", QMP_OBJECT, .members = members{number}, .open = {str(t.open).lower()}}}'
    emit_members(out, f"variants{number}", t.variants, order)
    return (f'{{"{kind}", QMP_OBJECT, .members = members{number}, .tag = "{t.tag}", '
            f'.variants = variants{number}}}')


def c_name(command):
    return "qmp_do_" + re.sub(r"[^a-z0-9]", "_", command.lower())


def emit_source(schema):
    order = numbered(schema)
    structs = {**schema.types, **{t.name: t for t in all_structs(schema)}}
    out = ["/* Made by tools/gen_qmp.py from qmp.schema. */", '#include "monitor/schema.h"', '#include "qmp_commands.h"', ""]
    types = [emit_type(out, kind, structs, order) for kind in order]
    out += ["", "const struct qmp_type qmp_types[] = {"] + [f"    {t}," for t in types] + ["    {NULL},\n};", ""]
    out.append("const struct qmp_command qmp_commands[] = {")
    for c in schema.commands.values():
        args = order.get(c.args.name, order["{}"])
        out.append(f'    {{"{c.name}", "{c.doc}", {args}, {order[c.result or "{}"]}, {str(c.oob).lower()}, '
                   f"{c_name(c.name)}}},")
    out += ["    {NULL},\n};", "", "const struct qmp_event qmp_events[] = {"]
    out += [f'    {{"{name}", {order.get(t.name, order["{}"])}}},' for name, t in schema.events.items()]
    out += ["    {NULL},\n};"]
    return "\n".join(out) + "\n"


def emit_header(schema):
    out = ["/* Made by tools/gen_qmp.py from qmp.schema. A command gets arguments that have been checked, and gives",
           " * what it returns, which its caller frees, or NULL with an error. */",
           "#ifndef LYRE_MONITOR_QMP_COMMANDS_H", "#define LYRE_MONITOR_QMP_COMMANDS_H", "",
           '#include "base/err.h"', '#include "data/json.h"', "", "struct monitor;", ""]
    out += [f"struct json *{c_name(c)}(struct monitor *m, const struct json *args, struct err *e);"
            for c in schema.commands]
    return "\n".join(out + ["", "#endif"]) + "\n"


def main(argv):
    source, c_file, header = argv
    try:
        with open(source, encoding="utf-8") as f:
            schema = parse(f.read())
    except SchemaError as e:
        print(f"{source}: {e}", file=sys.stderr)
        return 1
    for path, text in ((c_file, emit_source(schema)), (header, emit_header(schema))):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
