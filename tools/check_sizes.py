#!/usr/bin/env python3
"""Check the size of files and functions: no file over 1,500 lines, no function over 200, and 99 of
100 functions at most 110. Tables and generated code are excepted: generated code because it is not
in the tree, tables by tools/sizes-allowed.txt (a path, a colon, a reason).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

FILE_MAX, FUNCTION_MAX, FUNCTION_P99 = 1500, 200, 110
SOURCES = (".c", ".h", ".S", ".py")
FEW = 100  # functions: below that, a 99th percentile says nothing


def functions(paths, ctags="ctags"):
    """[(lines, path, line, name)] of the C functions in the files."""
    if not paths:
        return []
    run = subprocess.run([ctags, "--options=NONE", "--languages=C,C++", "--langmap=C:.c.h",
                          "--kinds-C=f", "--output-format=json", "--fields=+ne", "-f", "-", "-L", "-"],
                         input="\n".join(str(p) for p in paths), text=True, capture_output=True,
                         check=True)
    found = []
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if tag.get("_type") == "tag" and "end" in tag:
            found.append((tag["end"] - tag["line"] + 1, tag["path"], tag["line"], tag["name"]))
    return found


def percentile_99(lengths):
    ordered = sorted(lengths)
    return ordered[min(len(ordered) - 1, (99 * len(ordered)) // 100)]


def check(files, found, allowed):
    """`files` is [(path, lines)], `found` as functions() gives it."""
    problems = [f"{path}: {lines} lines; {FILE_MAX} is the most: split it by subject"
                for path, lines in files if lines > FILE_MAX and path not in allowed]
    found = [f for f in found if f[1] not in allowed]
    problems += [f"{path}:{line}: {name} has {lines} lines; {FUNCTION_MAX} is the most"
                 for lines, path, line, name in sorted(found, reverse=True) if lines > FUNCTION_MAX]
    if len(found) >= FEW:
        p99 = percentile_99([f[0] for f in found])
        if p99 > FUNCTION_P99:
            problems.append(f"the longest of 100 functions has {p99} lines; at most {FUNCTION_P99}. "
                            "The longest are:")
            problems += [f"  {lines} {path}:{line} {name}"
                         for lines, path, line, name in sorted(found, reverse=True)[:10]]
    return problems


def read_allowed(text):
    allowed = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            path, _, reason = line.partition(":")
            allowed[path.strip()] = reason.strip()
    return allowed


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=root)
    parser.add_argument("--ctags", default="ctags")
    parser.add_argument("dirs", nargs="*", default=["src", "include", "tests", "tools", "bench",
                                                    "scripts"])
    args = parser.parse_args()
    paths = [p for d in args.dirs for p in sorted((args.root / d).rglob("*"))
             if p.is_file() and (p.suffix in SOURCES or d == "scripts")]
    names = [p.relative_to(args.root).as_posix() for p in paths]
    files = [(n, len(p.read_text(errors="replace").splitlines())) for n, p in zip(names, paths)]
    allowed_file = args.root / "tools/sizes-allowed.txt"
    allowed = read_allowed(allowed_file.read_text()) if allowed_file.exists() else {}
    problems = [f"tools/sizes-allowed.txt: {path} is there without a reason"
                for path, reason in allowed.items() if not reason]
    problems += [f"tools/sizes-allowed.txt: {path} does not exist"
                 for path in allowed if not (args.root / path).exists()]
    version = subprocess.run([args.ctags, "--version"], text=True, capture_output=True)
    if "Universal Ctags" not in version.stdout:
        print("check_sizes: universal-ctags is needed", file=sys.stderr)
        return 1
    in_src = [p for p in paths if p.suffix in (".c", ".h") and p.is_relative_to(args.root / "src")]
    found = [(n, Path(p).relative_to(args.root).as_posix(), l, f) for n, p, l, f in functions(in_src, args.ctags)]
    problems += check(files, found, allowed)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
