#!/usr/bin/env python3
"""Mixed guest programs for a long time, two at once, in the hardest way to run them: hot code is optimised, all code
is freed again and again, and samples of it are compared with the interpreter.

  tests/run_mix.py --minutes 30 [--seed N] bash lua bash:riscv64 ...

The programs are the cases of files in tests/programs/, of aarch64 or the guest named, and the stressors of
run_suites.py, in random order. Each file of cases is one line of the result.
"""

import argparse
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

import emulator
from tap import Tap, skip_all

HERE = Path(__file__).resolve().parent
WORKERS = 2
WAYS = [("2", "20"), ("5", "50"), ("10", "10")]  # LYRE_LOCKSTEP, LYRE_STRESS: every so many milliseconds
SUITES = "suites"


class Mix:
    def __init__(self, seed, seconds, names):
        self.random = random.Random(seed)
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.idle = [*names, SUITES]  # those that nobody runs at the moment
        self.runs, self.failures = {}, {}

    def take(self):
        with self.lock:
            job = self.random.choice(self.idle)
            self.idle.remove(job)
            return job, self.random.choice(WAYS), self.random.random()

    def command(self, job, seed):
        if job != SUITES:
            name, _, guest = job.partition(":")
            cases = HERE / "programs" / f"{name}.toml"
            return [sys.executable, HERE / "run_programs.py", cases, *(["--guest", guest] if guest else [])]
        from run_suites import STRESSORS
        return [sys.executable, HERE / "run_suites.py", random.Random(seed).choice(STRESSORS).split()[0]]

    def run(self, job, way, seed):
        env = dict(os.environ, LYRE_LOCKSTEP=way[0], LYRE_STRESS=way[1])
        done = subprocess.run(self.command(job, seed), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace")
        with self.lock:
            self.idle.append(job)
            self.runs[job] = self.runs.get(job, 0) + 1
            if done.returncode:
                lines = [x for x in done.stdout.splitlines() if not x.startswith("ok ")]
                self.failures.setdefault(job, []).append(f"lockstep {way[0]} stress {way[1]}:\n" +
                                                          "\n".join(lines[:60]))

    def work(self):
        while time.monotonic() < self.end:
            self.run(*self.take())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("names", nargs="+")
    args = parser.parse_args()
    _, why = emulator.command("aarch64")
    if why:
        skip_all(why)
    print(f"# seed {args.seed}", flush=True)
    mix, tap = Mix(args.seed, args.minutes * 60, args.names), Tap()
    workers = [threading.Thread(target=mix.work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for name, runs in sorted(mix.runs.items()):
        title = f"{name}, {runs} times"
        if name in mix.failures:
            tap.fail(title, "\n".join(mix.failures[name]))
        else:
            tap.ok(title)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
