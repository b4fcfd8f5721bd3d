#!/usr/bin/env python3
"""Run real guest programs and compare with what the host's own do.

  tests/run_programs.py tests/programs/coreutils.toml          all cases of a file
  tests/run_programs.py tests/programs/bash.toml -k trap -v    some, with their output
  tests/run_programs.py --args="-engine lockstep" ...          with more options for the emulator
  tests/run_programs.py --guest riscv64 ...                    the programs that scripts/build-debian built
  EMULATOR=qemu-aarch64 tests/run_programs.py ...              test the cases with another emulator

A case runs in a fresh directory under the emulator and in another natively, with the same files and
environment. Exit status, output, errors and the directory afterwards must be the same. A file of
cases is TOML:

  guest = "aarch64"                      whose programs they are, without --guest
  native_version = ["sort --version", "9.1"]   skip the file if the native program is another version
  [files]  "name" = "text"               files that every case finds
  [[case]]
  name = "sort-numeric"
  run = "sort -n numbers.txt"            or a list of commands, one after the other; no shell
  script = "..."                         instead: a script for `shell` (default bash)
  stdin = "text"                         default: empty
  env = { LC_ALL = "C.UTF-8" }
  expect = "text"                        what to print, where native differs by its nature
  status = 1                             with expect: exit status (0), -N for signal N
  ignore = ["stdout", "tree"]            what not to compare
  dialog = [["send", "regular expression to wait for", 0.5], ...]   on a terminal, not compared with
                                         native; the number is how long to wait before sending
  skip = "reason"                        not run; says why
  skip_qemu = "reason"                   not run when the emulator is qemu
  heavy = true                           left out with --quick
  timeout = 60                           seconds for one command, before LYRE_TIMEOUT_FACTOR (20)
"""

import argparse
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

import emulator
from tap import Tap, skip_all

KEYS = {"name", "run", "script", "shell", "stdin", "env", "expect", "status", "ignore", "dialog", "skip",
        "skip_qemu", "timeout", "files", "heavy"}
TIMEOUT = 20  # seconds for one command, times LYRE_TIMEOUT_FACTOR


def random_bytes(count, seed=1):
    out = bytearray()
    while len(out) < count:
        seed = seed * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        out += (seed >> 16).to_bytes(6, "little")
    return bytes(out[:count])


@dataclass
class Result:
    status: list
    stdout: bytes
    stderr: bytes
    tree: dict


class Side:
    """One of the two that run a case: the emulator with the guest's programs, or the host."""

    def __init__(self, prefix=(), root=None, extra=None):
        self.prefix = list(prefix)
        self.root = root    # the guest's system
        self.extra = extra  # more native programs
        self.name = "lyre" if root else "host"  # of equal length: paths show up in output

    def find(self, program):
        roots = [self.root] if self.root else [Path("/"), *([self.extra] if self.extra else [])]
        for root in roots:
            for folder in ("usr/bin", "bin", "usr/sbin", "sbin"):
                path = root / folder / program
                if path.exists() or path.is_symlink() and self.root:
                    return path
        return None

    def command(self, words):
        """(argv, executable) for a command line; None if there is no such program."""
        path = self.find(words[0])
        if path is None:
            return None
        if self.root:
            return [*self.prefix, "-L", str(self.root), "-0", words[0], str(path), *words[1:]], None
        return words, str(path)


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_command(argv, executable, cwd, env, stdin, timeout):
    """(exit status or "timeout", stdout, stderr)"""
    with subprocess.Popen(argv, executable=executable, cwd=cwd, env=env, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as p:
        try:
            out, err = p.communicate(stdin, timeout=timeout)
            return p.returncode, out, err
        except subprocess.TimeoutExpired:
            kill_group(p)
            out, err = p.communicate()
            return f"timeout after {timeout:.0f} s", out, err


def read_tree(top):
    """What a directory holds: {path: (type and mode, content or target)}"""
    tree = {}
    for folder, names, files in os.walk(top):
        for name in names + files:
            path = Path(folder) / name
            mode = path.lstat().st_mode
            content = b""
            if stat.S_ISLNK(mode):
                content = os.readlink(path).encode()
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            tree[str(path.relative_to(top))] = (stat.filemode(mode), content.replace(str(top).encode(), b"@DIR@"))
    return tree


class Suite:
    def __init__(self, path, args):
        self.data = tomllib.loads(path.read_text())
        self.name = path.stem
        self.args = args
        self.cases = [c for c in self.data["case"] if not args.k or re.search(args.k, c["name"])]
        for c in self.cases:
            if set(c) - KEYS:
                raise ValueError(f"{path}: {c['name']}: unknown keys {set(c) - KEYS}")
        mode = re.sub(r"[^\w.]+", "", args.args.replace(" -", "_"))
        self.work = emulator.build_dir() / "programs" / "_".join(filter(None, [self.name, args.guest, mode]))
        self.tap = Tap()

    def start(self):
        """Find everything; skips the whole file if something is missing."""
        guest = self.args.guest or self.data.get("guest", "aarch64")
        argv, why = emulator.command(guest)
        if why:
            skip_all(why)
        argv += shlex.split(self.args.args)
        root, why = emulator.guest_root(guest)
        if why:
            skip_all(why)
        native, _ = emulator.debian_root("amd64")
        self.guest, self.host = Side(argv, root), Side(extra=native)
        self.peer = emulator.is_peer(argv)
        if "native_version" in self.data:
            line, version = self.data["native_version"]
            command = self.host.command(line.split())
            if command is None:
                skip_all(f"no native {line.split()[0]} to compare with")
            _, out, err = run_command(*command, cwd="/", env=dict(os.environ), stdin=b"", timeout=20)
            if version.encode() not in out + err:
                skip_all(f"native '{line}' does not say {version}, the version that the guest has")

    def directory(self, case, side):
        top = self.work / case["name"] / side.name
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        for name, text in {**self.data.get("files", {}), **case.get("files", {})}.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        (top / "random.bin").write_bytes(random_bytes(50000))
        return top

    def environment(self, case, top):
        # A directory of its own for temporary files, so that sides do not meet.
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC0", "HOME": str(top),
                "TERM": "dumb", "TMPDIR": str(top), **case.get("env", {})}

    def commands(self, case):
        if "script" in case:
            return [[*case.get("shell", "bash").split(), "script"]]
        runs = case["run"]
        return [shlex.split(x) for x in ([runs] if isinstance(runs, str) else runs)]

    def run_on(self, side, case):
        top = self.directory(case, side)
        if "script" in case:
            (top / "script").write_text(case["script"])
        timeout = case.get("timeout", TIMEOUT) * emulator.time_factor()
        result = Result([], b"", b"", {})
        for words in self.commands(case):
            command = side.command(words)
            if command is None:
                raise FileNotFoundError(words[0])
            status, out, err = run_command(*command, cwd=top, env=self.environment(case, top),
                                           stdin=case.get("stdin", "").encode(), timeout=timeout)
            result.status.append(status)
            result.stdout += out
            result.stderr += err
        here = str(top).encode()
        result.stdout, result.stderr = (x.replace(here, b"@DIR@") for x in (result.stdout, result.stderr))
        result.tree = read_tree(top)
        return result

    def differences(self, case, want, got):
        ignore = case.get("ignore", [])
        lines = []
        for what in ("status", "stdout", "stderr"):
            a, b = getattr(want, what), getattr(got, what)
            if what not in ignore and a != b:
                lines += contrast(what, a, b)
        if "tree" not in ignore:
            for path in sorted(want.tree.keys() | got.tree.keys()):
                a, b = want.tree.get(path), got.tree.get(path)
                if a and b and a[0] == b[0]:
                    a, b = a[1], b[1]
                if a != b:
                    lines += contrast(f"file {path}", a, b)
        return lines

    def talk(self, case):
        """A dialogue on a terminal; returns complaints."""
        top = self.directory(case, self.guest)
        argv, _ = self.guest.command(shlex.split(case["run"]))
        timeout = case.get("timeout", TIMEOUT) * emulator.time_factor()
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(top)
            os.execve(argv[0], argv, self.environment(case, top))
        seen, start = b"", 0
        try:
            for send, wanted, *pause in case["dialog"]:
                time.sleep(pause[0] if pause else 0)
                os.write(fd, send.encode())
                end = time.monotonic() + timeout
                while True:
                    match = re.search(wanted.encode(), seen[start:])
                    if match:
                        start += match.end()
                        break
                    if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                        return [f"waited {timeout:.0f} s for {wanted!r} after {send!r}; seen: {shorten(seen)}"]
                    try:
                        seen += os.read(fd, 65536)
                    except OSError:
                        return [f"ended before {wanted!r}; seen: {shorten(seen)}"]
            return []
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)

    def run_case(self, case):
        name = case["name"]
        start = time.monotonic()
        skip = (case.get("skip") or self.peer and case.get("skip_qemu") or
                self.args.quick and case.get("heavy") and "heavy, and this is a slow engine")
        if skip:
            self.tap.skip(name, skip)
            return
        try:
            if "dialog" in case:
                problems = self.talk(case)
            else:
                got = self.run_on(self.guest, case)
                if "expect" in case:
                    want = Result([case.get("status", 0)] * len(got.status), case["expect"].encode(), b"", got.tree)
                else:
                    want = self.run_on(self.host, case)
                problems = self.differences(case, want, got)
                if self.args.v:
                    self.tap.note(f"{name}: {got.status} {got.stdout!r} {got.stderr!r} "
                                  f"after {time.monotonic() - start:.2f} s")
        except FileNotFoundError as e:
            self.tap.skip(name, f"no native {e}, or none for the guest")
            return
        except OSError as e:
            problems = [str(e)]
        if problems:
            self.tap.fail(name, "\n".join([*self.describe(case), *problems]))
        else:
            self.tap.ok(name)
            shutil.rmtree(self.work / name, ignore_errors=True)

    def describe(self, case):
        """How to run a failed case by hand."""
        if "dialog" in case:
            return []
        lines = [shlex.join(self.guest.command(w)[0]) for w in self.commands(case)]
        return [f"cd {self.work / case['name'] / self.guest.name}", *lines[:3], *(["..."] if lines[3:] else [])]

    def coverage(self):
        """Every program that a file claims to cover has a case."""
        if self.args.k:
            return
        used = {w[0] for c in self.data["case"] if "run" in c for w in self.commands(c)}
        used |= {x for c in self.data["case"] if "script" in c for x in re.findall(r"[\w.\[]+", c["script"])}
        for program in self.data.get("programs", []):
            if program not in used:
                self.tap.fail(f"a case for {program}")

    def run(self):
        self.start()
        self.coverage()
        jobs = self.args.jobs or os.cpu_count() or 1
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(self.run_case, self.cases))
        return self.tap.done()


def shorten(value, most=1500):
    text = repr(value)
    return text if len(text) <= most else text[:most] + f"... ({len(text)} characters)"


def contrast(what, want, got):
    """Lines that show where two values differ."""
    if isinstance(want, bytes):
        at = next((i for i, (x, y) in enumerate(zip(want, got)) if x != y), min(len(want), len(got)))
        start = max(0, want.rfind(b"\n", 0, at) + 1, at - 200)
        return [f"{what} of {len(got)} bytes, not {len(want)}; from byte {start} it is",
                "  " + shorten(got[start:start + 400]), "not", "  " + shorten(want[start:start + 400])]
    return [f"{what} is {shorten(got)}", f"{' ' * len(what)} not {shorten(want)}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("-k", metavar="RE", help="only cases whose names match")
    parser.add_argument("-v", action="store_true", help="show what was printed")
    parser.add_argument("--guest", help="aarch64, riscv64: whose programs")
    parser.add_argument("--args", default="", help="more options for the emulator")
    parser.add_argument("--quick", action="store_true", help="leave out heavy cases, for slow engines")
    parser.add_argument("--jobs", type=int)
    return Suite(parser.parse_args().file, parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
