#!/usr/bin/env python3
"""Check that every #include in src/ is one that tools/include-matrix.txt allows.

Also: project headers are named by their path from src/ (or from the build directory's src/ when they
are generated), and no two folders depend on each other, not even through others.
"""

import argparse
import fnmatch
import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"')
SOURCES = (".c", ".h", ".S", ".def", ".inc")


class Matrix:
    def __init__(self, text):
        self.allowed = {}  # pattern of folders -> list of what they may include
        self.private = set()
        key = None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.split("#", 1)[0].rstrip()
            if not line:
                continue
            if not line[0].isspace():
                key, colon, line = line.partition(":")
                if not colon:
                    raise ValueError(f"line {number}: no ':' after the folder")
                if key in self.allowed:
                    raise ValueError(f"line {number}: {key} is there twice")
                if key != "private":
                    self.allowed[key] = []
            elif key is None:
                raise ValueError(f"line {number}: nothing to go on with")
            if key == "private":
                self.private.update(line.split())
            else:
                self.allowed[key] += line.split()

    def rule(self, folder):
        """The pattern that holds for a folder and the folder that counts as its own."""
        best = None
        parts = folder.split("/")
        for pattern in self.allowed:
            p = pattern.split("/")
            fits = len(p) <= len(parts) and all(a in (b, "*") for a, b in zip(p, parts))
            if fits and (best is None or (len(p), p[-1] != "*") > (len(best), best[-1] != "*")):
                best = p
        if best is None:
            return None, None
        return "/".join(best), "/".join(parts[:len(best)])

    def may(self, folder, header):
        """None if a file in `folder` may include `header`, else why not."""
        pattern, own = self.rule(folder)
        if pattern is None:
            return f"folder '{folder}' is not in the matrix"
        target = header.rsplit("/", 1)[0] if "/" in header else ""
        _, target_own = self.rule(target)
        if target_own == own:
            return None
        if header in self.private:
            return f"{header} is private to its folder"
        for allowed in self.allowed[pattern]:
            if allowed == "*":
                return None
            if allowed.endswith(".h"):
                if fnmatch.fnmatch(header, allowed) and header.count("/") == allowed.count("/"):
                    return None
            elif target == allowed or target.startswith(allowed + "/"):
                return None
        return f"{pattern} may include: {' '.join(self.allowed[pattern]) or 'nothing of ours'}"


def find_cycle(graph):
    """A list of nodes that lead back to the first, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for target in sorted(graph.get(node, ())):
            cycle = visit(target)
            if cycle:
                return cycle
        path.pop()
        done.add(node)
        return None

    for node in sorted(graph):
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def check(src, matrix, generated=None):
    """Returns a list of complaints, each naming a place."""
    problems = []
    graph = {}
    for path in sorted(p for p in src.rglob("*") if p.suffix in SOURCES):
        name = path.relative_to(src)
        folder = name.parent.as_posix()
        _, own = matrix.rule(folder)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match[1]
            where = f"src/{name}:{number}"
            if not (src / header).exists():
                made = generated is not None and (generated / header).exists()
                beside = generated is not None and "/" not in header and any(
                    generated.rglob(header))
                if beside:
                    continue  # generated into the folder of its users: theirs alone
                if not made:
                    problems.append(f'{where}: "{header}" is not a path from src/')
                    continue
            why = matrix.may(folder, header)
            if why:
                problems.append(f'{where}: {folder} must not include "{header}" ({why})')
            target_folder = header.rsplit("/", 1)[0] if "/" in header else "."
            _, target = matrix.rule(target_folder)
            if own and target and own != target:
                graph.setdefault(own, {}).setdefault(target, f'{where} includes "{header}"')
    cycle = find_cycle(graph)
    if cycle:
        problems.append("folders depend on each other: " + " -> ".join(cycle))
        problems += ["  " + graph[a][b] for a, b in zip(cycle, cycle[1:])]
    return problems


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--src", type=Path, default=root / "src")
    parser.add_argument("--matrix", type=Path, default=root / "tools/include-matrix.txt")
    parser.add_argument("--generated", type=Path, help="src/ of the build directory")
    args = parser.parse_args()
    try:
        matrix = Matrix(args.matrix.read_text())
    except (OSError, ValueError) as e:
        print(f"check_includes: {args.matrix}: {e}", file=sys.stderr)
        return 1
    problems = check(args.src, matrix, args.generated)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
