#!/usr/bin/env python3
"""Test suites that other projects ship, run by a guest's programs under the emulator.

  tests/run_suites.py                    all of them
  tests/run_suites.py test_re --sem      some: modules of Python's suite, stressors of stress-ng

Python's modules must fail in nothing that passes under Debian's qemu; that one runs only when something fails.
stress-ng verifies what its stressors compute. The packages are fetched into the build directory; without a network
the test skips.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

import emulator
from tap import Tap, skip_all

PACKAGES = ["python3.11", "libpython3.11-testsuite", "stress-ng", "bash", "coreutils", "dash"]
MODULES = ["math", "struct", "float", "cmath", "decimal", "json", "re", "hashlib", "zlib", "threading", "signal",
           "subprocess", "mmap"]
# Not the mutex class: it calls it a failure when its first thread has done all before it has made a second.
STRESSORS = [
    "--cpu 1 --cpu-ops 200", "--vm 1 --vm-bytes 16M --vm-ops 4000", "--vecmath 1 --vecmath-ops 500",
    "--matrix 1 --matrix-ops 500", "--fp-error 1 --fp-error-ops 500", "--crypt 1 --crypt-ops 50", "--hash 1 --hash-ops 500",
    "--str 1 --str-ops 3000", "--zlib 1 --zlib-ops 50", "--qsort 1 --qsort-ops 2", "--bsearch 1 --bsearch-ops 5",
    "--longjmp 1 --longjmp-ops 5000", "--stack 1 --stack-ops 2", "--malloc 1 --malloc-ops 50000",
    "--mmap 1 --mmap-ops 50 --mmap-bytes 4M", "--mremap 1 --mremap-ops 50 --mremap-bytes 4M",
    "--bigheap 1 --bigheap-ops 200 --bigheap-growth 1M", "--atomic 1 --atomic-ops 500", "--lockbus 1 --lockbus-ops 500",
    "--sigsegv 1 --sigsegv-ops 5000", "--sigfd 1 --sigfd-ops 5000", "--sigq 1 --sigq-ops 5000",
    "--sigpending 1 --sigpending-ops 2000", "--sigsuspend 1 --sigsuspend-ops 2000", "--signest 1 --signest-ops 500",
    "--sigrt 1 --sigrt-ops 5000", "--sigtrap 1 --sigtrap-ops 2000", "--sigabrt 1 --sigabrt-ops 100",
    "--kill 1 --kill-ops 5000", "--pthread 1 --pthread-ops 1000", "--futex 1 --futex-ops 10000",
    "--sem 1 --sem-ops 1000", "--fork 1 --fork-ops 200", "--clone 1 --clone-ops 100",
]


class Runner:
    def __init__(self, argv, root):
        self.argv, self.root = argv, root
        self.work = emulator.build_dir() / "programs" / "suites"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)

    def run(self, argv, words, seconds):
        """(output, whether it ended by itself with status 0); status None: it took too long"""
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self.work), "TMPDIR": str(self.work)}
        command = [*argv, "-L", str(self.root), str(self.root / "usr/bin" / words[0]), *words[1:]]
        try:
            run = subprocess.run(command, cwd=self.work, env=environment, stdin=subprocess.DEVNULL, text=True,
                                 errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 timeout=seconds * emulator.time_factor())
            return run.stdout, run.returncode
        except subprocess.TimeoutExpired as e:
            return (e.stdout or b"").decode(errors="replace"), None

    def python(self, argv, module):
        """(tests that failed, tests that ran or None if the module did not come to its end, output)"""
        output, _ = self.run(argv, ["python3.11", "-m", "unittest", f"test.test_{module}"], 150)
        ran = re.search(r"^Ran (\d+) tests?", output, re.M)
        return set(re.findall(r"^(?:FAIL|ERROR): (.*)$", output, re.M)), ran and int(ran[1]), output


def check_module(tap, runner, module):
    name = f"python test_{module}"
    failed, ran, output = runner.python(runner.argv, module)
    peer = shutil.which("qemu-aarch64")
    if ran and not failed:
        tap.ok(name)
    elif not peer:
        tap.skip(name, "no qemu-aarch64 to compare with, and not everything passes")
    else:
        allowed, ran_there, _ = runner.python([peer], module)
        worse = sorted(failed - allowed)
        if ran is None or worse or (ran_there and ran < ran_there):
            tap.fail(name, "\n".join([f"worse: {x}" for x in worse] + [f"ran {ran}, not {ran_there}", output[-3000:]]))
        else:
            tap.ok(name)


def check_stressor(tap, runner, options):
    output, status = runner.run(runner.argv, ["stress-ng", *options.split(), "--verify", "-t", "60"], 80)
    if status == 0 and "successful run completed" in output and "fail:" not in output:
        tap.ok(f"stress-ng {options}")
    else:
        tap.fail(f"stress-ng {options}", f"status {status}\n{output[-3000:]}")


def main():
    wanted = sys.argv[1:]
    argv, why = emulator.command("aarch64")
    if why:
        skip_all(why)
    root = emulator.build_dir() / "programs" / "suites-arm64"
    fetch = subprocess.run([emulator.ROOT / "scripts/fetch-debian", "--quiet", "arm64", root, *PACKAGES],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if fetch.returncode:
        skip_all("packages cannot be fetched: " + (fetch.stdout.strip().splitlines() or ["no reason given"])[-1])
    tap, runner = Tap(), Runner(argv, root)
    for module in MODULES:
        if not wanted or f"test_{module}" in wanted:
            check_module(tap, runner, module)
    for options in STRESSORS:
        if not wanted or options.split()[0] in wanted:
            check_stressor(tap, runner, options)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
