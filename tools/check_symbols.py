#!/usr/bin/env python3
"""Check that no object has writable file-scope data, apart from what tools/symbols-allowed.txt names.

State belongs to a machine, a process or a block graph, so that several can live in one host process.
src/cmd is exempt. Constants that hold addresses lie in .data.rel.ro: read-only once relocated.

  check_symbols.py --objects build/src            check
  check_symbols.py --objects build/src --update   rewrite the list; write a reason beside each new line
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

WRITABLE = re.compile(r"^(\.bss|\.data|\.tbss|\.tdata|\.ldata|\.lbss|\*COM\*|COMMON)(\.|$)")
READ_ONLY = re.compile(r"^\.data\.rel\.ro(\.|$)")
# Instrumented builds add data of their own.
TOOL_SYMBOL = re.compile(r"^(__(asan|ubsan|tsan|gcov|sancov|odr_asan|llvm)|\.L)")
EXEMPT = ("src/cmd/",)


def writable(nm_text):
    """Names of writable data in the text of `nm --format=sysv` for one object."""
    names = []
    for line in nm_text.splitlines():
        parts = [x.strip() for x in line.split("|")]
        if len(parts) != 7 or parts[0] == "Name":
            continue
        name, kind, section = parts[0], parts[3], parts[6]
        if kind in ("FILE", "SECTION", "FUNC") or TOOL_SYMBOL.match(name):
            continue
        if WRITABLE.match(section) and not READ_ONLY.match(section):
            # A static variable of a function is name.N, and N changes with the compiler's mood.
            names.append(re.sub(r"\.\d+$", "", name))
    return names


def source_of(obj, top):
    """src/base/log.c for build/src/base/libbase.a.p/log.c.o."""
    path = obj.relative_to(top)
    folder = path.parent
    while folder.name.endswith(".p"):
        folder = folder.parent
    return (Path("src") / folder / path.name.removesuffix(".o")).as_posix()


def scan(objects, nm="nm"):
    """{(source, symbol)} of all objects below a directory, in one run of nm."""
    paths = [o for o in sorted(objects.rglob("*.o")) if not source_of(o, objects).startswith(EXEMPT)]
    if not paths:
        return set()
    run = subprocess.run([nm, "--format=sysv", *paths], text=True, capture_output=True, check=True)
    found = set()
    for part in re.split(r"^Symbols from ", run.stdout, flags=re.M)[1:]:
        name, _, text = part.partition(":\n")
        found.update((source_of(Path(name), objects), symbol) for symbol in writable(text))
    return found


def read_allowed(text):
    """{(source, symbol): reason} from lines "source symbol: reason"."""
    allowed = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            where, _, reason = line.partition(":")
            source, symbol = where.split()
            allowed[source, symbol] = reason.strip()
    return allowed


def compare(found, allowed):
    problems = [f"{s}: '{n}' is writable file-scope data; make it const or a member of what it is about"
                for s, n in sorted(found - allowed.keys())]
    problems += [f"{s}: '{n}' is allowed but no longer there; run with --update"
                 for s, n in sorted(allowed.keys() - found)]
    problems += [f"{s}: '{n}' is allowed without a reason"
                 for (s, n), reason in sorted(allowed.items()) if not reason]
    return problems


HEAD = """# Writable file-scope data that is allowed, and why. Made by tools/check_symbols.py --update, which
# keeps the reasons; a line without one fails the check.
"""


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, default=root / "build/src")
    parser.add_argument("--allowed", type=Path, default=root / "tools/symbols-allowed.txt")
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    if not any(args.objects.rglob("*.o")):
        print(f"check_symbols: no objects below {args.objects}; build first", file=sys.stderr)
        return 1
    found = scan(args.objects, args.nm)
    allowed = read_allowed(args.allowed.read_text()) if args.allowed.exists() else {}
    if args.update:
        lines = [f"{s} {n}: {allowed.get((s, n), '')}".rstrip() for s, n in sorted(found)]
        args.allowed.write_text(HEAD + "".join(x + "\n" for x in lines))
        return 0
    problems = compare(found, allowed)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
