#!/usr/bin/env python3
"""The layouts and numbers of syscalls.tbl against the kernel's headers for RISC-V, as the cross compiler sees
them. It makes no program: it evaluates sizeof and offsetof, and macros, for LP64 and ILP32.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "lib"))

from tap import Tap, skip_all

spec = importlib.util.spec_from_file_location("gen_syscalls", ROOT / "tools/gen_syscalls.py")
gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gen)

CC = "riscv64-linux-gnu-gcc"
ABIS = {"riscv64": ["-mabi=lp64d", "-march=rv64gc"], "riscv32": ["-mabi=ilp32d", "-march=rv32gc"]}

PRELUDE = """
typedef long unsigned int size_t;
#include <linux/types.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/sembuf.h>
#include <linux/eventpoll.h>
#include <linux/time.h>
#include <linux/times.h>
#include <linux/uio.h>
#include <linux/resource.h>
#include <linux/sysinfo.h>
#include <linux/mqueue.h>
typedef unsigned long as_ulong;
struct msghdr { void *msg_name; int msg_namelen; struct iovec *msg_iov; unsigned long msg_iovlen;
                void *msg_control; unsigned long msg_controllen; unsigned msg_flags; };
"""

# The table's structure: the kernel's type, and its names where they are others. `msghdr` is in no header for
# programs (the kernel's struct user_msghdr).
TYPES = {
    "stat": ("struct stat", {"st_atim.tv_sec": "st_atime", "st_atim.tv_nsec": "st_atime_nsec",
                             "st_mtim.tv_sec": "st_mtime", "st_mtim.tv_nsec": "st_mtime_nsec",
                             "st_ctim.tv_sec": "st_ctime", "st_ctim.tv_nsec": "st_ctime_nsec"}),
    "epoll_event": ("struct epoll_event", {}),
    "semid": ("struct semid64_ds", {"sem_perm.__key": "sem_perm.key", "sem_perm.__seq": "sem_perm.seq",
                                    "sem_perm": "sem_perm"}),
    "sigaction": ("struct sigaction", {"handler": "sa_handler", "flags": "sa_flags", "mask": "sa_mask"}),
    "ulong": ("as_ulong", {}),
    "iovec": ("struct iovec", {}), "statfs": ("struct statfs64", {}),
    "timeval": ("struct __kernel_old_timeval", {}), "itimerval": ("struct __kernel_old_itimerval", {}),
    "tms": ("struct tms", {}), "siginfo": ("siginfo_t", {}),
    "sigevent": ("struct sigevent", {"value": "sigev_value", "signo": "sigev_signo", "notify": "sigev_notify",
                                     "tid": "_sigev_un._tid"}),
    "stack": ("stack_t", {"sp": "ss_sp", "flags": "ss_flags", "size": "ss_size"}),
    "rusage": ("struct rusage", {}), "sysinfo": ("struct sysinfo", {}), "mq_attr": ("struct mq_attr", {}),
    "msghdr": ("struct msghdr", {}),
}


def numbers(abi, expressions):
    """What the compiler says that each is worth; None where it does not compile."""
    lines = "".join(f"const unsigned long v{i} = {e};\n" for i, e in enumerate(expressions))
    run = subprocess.run([CC, *ABIS[abi], "-ffreestanding", "-S", "-O1", "-o", "-", "-x", "c", "-"], text=True,
                         input=PRELUDE + lines, capture_output=True)
    if run.returncode:
        raise RuntimeError(run.stderr)
    found = {}
    for name, kind, value in re.findall(r"^v(\d+):\s*\n\s*\.(dword|word|zero)\s+(\d+)", run.stdout, re.M):
        found[int(name)] = 0 if kind == "zero" else int(value)
    return [found.get(i) for i in range(len(expressions))]


def compare(tap, abi, struct, layout):
    size, fields = layout
    ctype, renamed = TYPES[struct]
    wanted, expressions = [size], [f"sizeof({ctype})"]
    for f in fields:
        if f.member != ".":
            member = renamed.get(f.member, f.member)
            wanted += [f.offset, f.size]
            expressions += [f"__builtin_offsetof({ctype}, {member})", f"sizeof((({ctype} *)0)->{member})"]
    try:
        got = numbers(abi, expressions)
    except RuntimeError as e:
        tap.fail(f"{abi} {struct}", str(e))
        return
    bad = [f"{e} is {g}, the table says {w}" for e, w, g in zip(expressions, wanted, got)
           if w != g and not (g == 4 and w == 8 and "sem_" in e)]  # a time's upper half is a member of its own
    if bad:
        tap.fail(f"{abi} {struct}", "\n".join(bad))
    else:
        tap.ok(f"{abi} {struct}")


# Newer than Debian 12's headers, or only a mark in them; and calls that are nothing but history.
NEWER, NONE = {"riscv_hwprobe"}, {"arch_specific_syscall", "syscalls", "nfsservctl"}


def header_numbers(abi):
    """{name: number} of <asm/unistd.h>"""
    head = "#include <asm/unistd.h>\n"
    command = [CC, *ABIS[abi], "-E", "-P", "-x", "c", "-"]
    macros = subprocess.run([*command, "-dM"], text=True, input=head, capture_output=True, check=True).stdout
    lines = "".join(f'"{n}" = __NR_{n}\n' for n in set(re.findall(r"#define __NR_(\w+)", macros)))
    values = subprocess.run(command, text=True, input=head + lines, capture_output=True, check=True).stdout
    return {name: sum(int(n) for n in value.strip("()").split("+"))
            for name, value in re.findall(r'^"(\w+)" = ([\d() +]+)$', values, re.M)}


def plain(name):
    """A call's name without what says that its times or offsets have 64 bits on a port of 32."""
    return re.sub(r"(_time64|_?64)+$", "", name)


def compare_numbers(tap, abi, table):
    theirs = {n: name for name, n in header_numbers(abi).items() if name not in NONE}
    ours = {c.numbers[abi]: c.name for c in table.calls if abi in c.numbers and c.name not in NEWER}
    bad = [f"{n} is {theirs.get(n)}, the table says {ours.get(n)}" for n in sorted(theirs.keys() | ours.keys())
           if plain(theirs.get(n) or "none") != plain(ours.get(n) or "-")]
    if bad or len(ours) < 250:
        tap.fail(f"{abi} numbers", "\n".join(bad))
    else:
        tap.ok(f"{abi} numbers")


def main():
    if not shutil.which(CC):
        skip_all(f"no {CC}; it is in gcc-riscv64-linux-gnu")
    table = gen.parse((ROOT / "src/user/linux/syscalls.tbl").read_text())
    tap = Tap()
    for abi in ABIS:
        compare_numbers(tap, abi, table)
        for struct, layout in table.layouts[abi].items():
            compare(tap, abi, struct, layout)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
