#!/usr/bin/env python3
"""Bare programs print the same on lyre's CPU as under qemu-system-aarch64.

    compare.py RUNNER PEER KNOWN ENGINE PROGRAM.elf...

RUNNER is a64_bare. PEER may be empty: then nothing can be compared, and each program is skipped. KNOWN lists what may
differ (see there). LYRE_TEST_MODELS names other CPU models than cortex-a57, cortex-a76 and max.
"""

import os
import re
import subprocess
import sys
from difflib import unified_diff
from pathlib import Path

MODELS = os.environ.get("LYRE_TEST_MODELS", "cortex-a57 cortex-a76 max").split()
SECONDS = 15 * int(os.environ.get("LYRE_TIMEOUT_FACTOR", "4"))


class Rule:
    def __init__(self, line):
        self.program, models, rule = line.split(None, 2)
        self.models = models.split(",")
        _, self.pattern, self.replacement, _ = rule.strip().split("/")
        self.text = line.strip()
        self.used = False

    def apply(self, program, model, text):
        if self.program != program or self.models[0] not in ("*", model) and model not in self.models:
            return text
        text, count = re.subn(self.pattern, self.replacement, text, flags=re.MULTILINE)
        self.used |= count > 0
        return text


def read_rules(path):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [Rule(line) for line in lines if line and not line.startswith("#")]


def output(argv):
    try:
        run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS + 5,
                             check=False)
    except subprocess.TimeoutExpired:
        return "", "no end"
    return run.stdout.replace("\r", ""), run.returncode


def ours(runner, engine, model, elf):
    text, status = output([runner, engine, model, "1", str(SECONDS), elf])
    return text if not status else text + f"the runner ended with {status}\n"


def peers(peer, model, elf):
    text, status = output([peer, "-M", "virt", "-m", "256", "-nic", "none", "-nographic", "-cpu", model, "-kernel", elf])
    return text if not status else text + f"the peer ended with {status}\n"


def compare(runner, peer, engine, rules, model, elf):
    program = Path(elf).stem
    texts = [peers(peer, model, elf), ours(runner, engine, model, elf)]
    for rule in rules:
        texts = [rule.apply(program, model, text) for text in texts]
    lines = [text.splitlines() for text in texts]
    differences = list(unified_diff(*lines, "peer", "lyre", n=0, lineterm=""))
    for line in differences[:20]:
        print("#", line)
    return not differences and len(lines[0]) > 50


def main():
    runner, peer, known, engine, *programs = sys.argv[1:]
    rules = read_rules(known)
    number = 0
    failed = False
    for elf in programs:
        for model in MODELS:
            number += 1
            name = f"{number} - {Path(elf).stem} {model}"
            if not peer:
                print(f"ok {name} # SKIP no qemu-system-aarch64 to compare with")
                continue
            good = compare(runner, peer, engine, rules, model, elf)
            failed |= not good
            print(f"{'ok' if good else 'not ok'} {name}", flush=True)
    unused = [rule.text for rule in rules if not rule.used and rule.program in [Path(p).stem for p in programs]]
    if peer and not os.environ.get("LYRE_TEST_MODELS"):
        number += 1
        print("\n".join(f"# nothing needs: {text}" for text in unused))
        print(f"{'not ok' if unused else 'ok'} {number} - every rule is needed")
    print(f"1..{number}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
