#!/usr/bin/env python3
"""Check that every header compiles alone, and included twice."""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FLAGS = ["-fsyntax-only", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-unused-function", "-x", "c"]


def check(compiler, headers, include_dirs):
    """Returns (header, what the compiler said) for each that fails. Headers are paths relative to
    one of the directories."""
    flags = FLAGS + [x for d in include_dirs for x in ("-I", str(d))]

    def one(header):
        text = f'#include "{header}"\n#include "{header}"\n'
        run = subprocess.run([*compiler, *flags, "-"], input=text, text=True, errors="replace",
                             capture_output=True)
        return (header, run.stderr) if run.returncode else None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [x for x in pool.map(one, headers) if x]


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cc", default="gcc", help="compiler, with its own options")
    parser.add_argument("--generated", type=Path, help="src/ of the build directory")
    parser.add_argument("dirs", nargs="*", type=Path,
                        default=[root / "src", root / "include", root / "tests"])
    args = parser.parse_args()
    dirs = [d for d in args.dirs if d.is_dir()]
    # Guest programs and what they include are compiled for the guest.
    headers = sorted(str(h.relative_to(d)) for d in dirs for h in d.rglob("*.h")
                     if "programs" not in h.relative_to(d).parts)
    include_dirs = list(dirs)
    if args.generated and args.generated.is_dir():
        include_dirs.append(args.generated)
        # Some are included by their name alone, from the folder that they are generated into.
        include_dirs += sorted({h.parent for h in args.generated.rglob("*.h")})
    bad = check(args.cc.split(), headers, include_dirs)
    for header, text in bad:
        print(f"{header} does not compile alone:\n{text}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
