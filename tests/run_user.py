#!/usr/bin/env python3
"""Run the programs of tests/user/programs under lyre and compare what they print.

    run_user.py --lyre build/lyre [--guest riscv64] [--work DIR] [-j N] [--lyre-args="..."] [--quick] [--bless] [NAME...]
    run_user.py --peer [NAME...]      the same programs under Debian's qemu

Each program's first comment says how it is built and run:

    link: static dynamic      which ways of linking are tested (default: static); also static-pie
                              and no-pie (dynamic, at a fixed address)
    flags: -pthread           for the compiler
    args: one "two"           its arguments
    env: NAME=value           its environment, added
    library: -O1 -O2          libraries that it opens as argv[0].1.so and so on: the same source with
                              LIBRARY=1 and this flag
    peer: REASON              the peer's output differs, and why
    lockstep: REASON          not for that engine, and why
    guest: aarch64            the guests that it is about (default: all)
    cpu: max                  the CPU model that it wants; "peer cpu" is the peer's
    riscv64 flags: -march=... what is added to one of these for one guest

NAME.out is the expected output with the exit status as its last line, NAME.GUEST.out that of one guest where it
is another. Output is TAP.
"""

import argparse
import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.path.join(HERE, "user", "programs")
HEADERS = [os.path.join(PROGRAMS, f) for f in os.listdir(PROGRAMS) if f.endswith(".h")]
TIMEOUT = 120


@dataclass
class Guest:
    """Who compiles for a guest, where its C library is, and who else runs its programs."""
    name: str

    compiler: str = ""

    @property
    def triplet(self):
        return self.compiler or f"{self.name}-linux-gnu"

    @property
    def sysroot(self):
        return f"/usr/{self.triplet}"

    @property
    def peer(self):
        return f"qemu-{self.name}"


GUESTS = {g.name: g for g in (Guest("aarch64"), Guest("riscv64"), Guest("riscv32", "riscv64-linux-gnu"))}
KEYS = "link|flags|args|env|library|peer|lockstep|guest|cpu"


class Program:
    def __init__(self, path, guest):
        self.path, self.guest, self.peer_cpu = path, guest, None
        self.name = os.path.splitext(os.path.basename(path))[0]
        self.common = os.path.join(PROGRAMS, self.name + ".out")
        self.own = os.path.join(PROGRAMS, f"{self.name}.{guest.name}.out")
        self.expected = self.own if os.path.exists(self.own) else self.common
        head = open(path, encoding="utf-8").read(2000)
        head = head.split("#include", 1)[0]
        found = {}
        for only, key, value in re.findall(rf"^[ /*]*(?:(\w+) )?({KEYS}): *(.*?)(?: *\*/)?$", head, re.M):
            if f"{only} {key}" == "peer cpu":
                self.peer_cpu = value
            elif only in ("", guest.name):
                found[key] = f"{found.get(key, '')} {value}".strip()
        self.cpu = found.get("cpu")
        self.guests = found.get("guest", "aarch64 riscv64").split()
        self.links = found.get("link", "static").split()
        self.flags = found.get("flags", "").split()
        self.args = shlex.split(found.get("args", ""))
        self.env = dict(e.split("=", 1) for e in shlex.split(found.get("env", "")))
        self.libraries = found.get("library", "").split()
        self.peer = found.get("peer")
        self.lockstep = found.get("lockstep")

    def compiler(self):
        return f"{self.guest.triplet}-{'g++' if self.path.endswith('.cc') else 'gcc'}"

    def build(self, link, work):
        """The binary's path, or raise with the compiler's words."""
        out = os.path.join(work, self.guest.name, link, self.name)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        if os.path.exists(out) and all(
                os.path.getmtime(out) > os.path.getmtime(p)
                for p in (self.path, *HEADERS)):
            return out
        for number, flag in enumerate(self.libraries, 1):
            self.compile(f"{out}.{number}.so", ["-shared", "-fPIC", f"-DLIBRARY={number}", flag])
        self.compile(out, {"static": ["-static"], "static-pie": ["-static-pie"],
                           "no-pie": ["-no-pie"], "dynamic": []}[link])
        return out

    def bless(self, text):
        """What came out is right from now on; a guest has a file of its own if it is not like the others."""
        if self.expected == self.common and os.path.exists(self.common) and self.guests != [self.guest.name]:
            if open(self.common, encoding="utf-8").read() == text:
                return
            if self.guest.name != "aarch64":
                self.expected = self.own
        with open(self.expected, "w", encoding="utf-8") as f:
            f.write(text)

    def compile(self, out, flags):
        temporary = f"{out}.{os.getpid()}"
        command = [self.compiler(), "-O2", "-g", "-w", "-o", temporary, self.path]
        done = subprocess.run(command + self.flags + flags, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        os.replace(temporary, out)


def run(command, program, binary, link, cpu):
    """Output and status as text."""
    prefix = list(command) + (["-cpu", cpu] if cpu else [])
    if link in ("dynamic", "no-pie"):
        prefix += ["-L", program.guest.sysroot]
    env = dict(os.environ, **program.env)
    for name in list(env):
        if name.startswith(("QEMU_", "LYRE_")):
            del env[name]
    with tempfile.TemporaryDirectory(prefix="lyre-test-") as cwd:
        try:
            done = subprocess.run(prefix + [binary, *program.args], env=env, cwd=cwd,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as e:
            return (e.stdout or b"").decode(errors="replace") + "timeout\n", ""
    text = done.stdout.decode(errors="replace")
    return text + f"status {done.returncode}\n", done.stderr.decode(errors="replace")


def compare(want, got):
    """Lines that differ, for people."""
    import difflib
    diff = difflib.unified_diff(want.splitlines(), got.splitlines(), "expected", "got", lineterm="")
    return "\n".join("# " + line for line in list(diff)[:40])


def one(command, program, link, options):
    label = f"{program.name} ({link})"
    if not shutil.which(program.compiler()):
        return label, "skip", f"no {program.compiler()}; apt install it"
    if link in ("dynamic", "no-pie") and not os.path.isdir(program.guest.sysroot):
        return label, "skip", f"no {program.guest.sysroot}"
    if options.peer and program.peer:
        return label, "skip", program.peer
    if "-engine lockstep" in options.lyre_args and program.lockstep:
        return label, "skip", program.lockstep
    try:
        binary = program.build(link, options.work)
    except RuntimeError as e:
        return label, "fail", "\n".join("# " + line for line in str(e).splitlines())
    got, errors = run(command, program, binary, link, program.peer_cpu if options.peer else program.cpu)
    if options.bless and link == program.links[0]:
        program.bless(got)
        return label, "ok", None
    try:
        want = open(program.expected, encoding="utf-8").read()
    except FileNotFoundError:
        return label, "fail", f"# no {program.expected}; check the output and use --bless"
    if got == want:
        return label, "ok", None
    notes = "\n".join("# stderr: " + line for line in errors.splitlines()[:10])
    return label, "fail", compare(want, got) + ("\n" + notes if notes else "")


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lyre", help="the lyre to test")
    p.add_argument("--lyre-args", default="", help="options for lyre run")
    p.add_argument("--quick", action="store_true", help="for slow engines: QUICK=1 in the environment")
    p.add_argument("--peer", action="store_true", help="run Debian's qemu instead")
    p.add_argument("--guest", choices=list(GUESTS), default="aarch64")
    p.add_argument("--work", help="where binaries are kept")
    p.add_argument("--bless", action="store_true", help="write the expectations")
    p.add_argument("-j", type=int, default=os.cpu_count() or 1)
    p.add_argument("names", nargs="*")
    options = p.parse_args()
    guest = GUESTS[options.guest]
    if options.peer:
        command = [guest.peer]
        if not shutil.which(command[0]):
            print(f"1..0 # skip no {guest.peer}; apt install qemu-user")
            return 0
    elif options.lyre:
        command = [os.path.abspath(options.lyre), "run", *shlex.split(options.lyre_args)]
    else:
        p.error("--lyre or --peer is needed")
    owned = None
    if not options.work:
        owned = tempfile.TemporaryDirectory(prefix="lyre-programs-")
        options.work = owned.name
    options.work = os.path.abspath(options.work)
    if options.quick:
        os.environ["QUICK"] = "1"
    programs = [Program(os.path.join(PROGRAMS, f), guest) for f in sorted(os.listdir(PROGRAMS))
                if f.endswith((".c", ".cc"))]
    programs = [q for q in programs if guest.name in q.guests]
    if options.names:
        programs = [q for q in programs if q.name in options.names]
    jobs = [(q, link) for q in programs for link in q.links]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        results = pool.map(lambda j: one(command, j[0], j[1], options), jobs)
        for number, (label, state, text) in enumerate(results, 1):
            if state == "skip":
                print(f"ok {number} {label} # skip {text}")
            elif state == "ok":
                print(f"ok {number} {label}")
            else:
                failed += 1
                print(f"not ok {number} {label}")
                print(text)
            sys.stdout.flush()
    print(f"1..{len(jobs)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
