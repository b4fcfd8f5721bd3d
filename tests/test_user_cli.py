#!/usr/bin/env python3
"""The command line of `lyre run` and of the same binary as qemu-aarch64 or qemu-riscv64: options, errors, exit
codes.

    test_user_cli.py --lyre build/lyre

Whatever is wrong with a program, the answer is one line and an exit code, never a crash. TAP.
"""

import argparse
import ctypes.util
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

CC = "aarch64-linux-gnu-gcc"
RISCV_CC = "riscv64-linux-gnu-gcc"
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "crash"))
        *(volatile int *)8 = 1;
    if (argc > 1 && !strcmp(argv[1], "stack")) {
        volatile char big[4 << 20];
        big[0] = big[sizeof(big) - 1] = 1;
    }
    struct utsname u;
    uname(&u);
    printf("argv0=%s args=%d A=%s B=%s release=%s\n", argv[0], argc - 1, getenv("A"), getenv("B"),
           u.release);
    return 7;
}
"""


class Tests:
    def __init__(self, lyre, work):
        self.lyre, self.work = os.path.abspath(lyre), work
        self.count = self.failed = 0
        self.qemu, self.qemu_riscv = (os.path.join(work, f"qemu-{guest}") for guest in ("aarch64", "riscv64"))
        for link in (self.qemu, self.qemu_riscv):
            os.symlink(self.lyre, link)

    def path(self, name, data=None, mode=0o755):
        p = os.path.join(self.work, name)
        if data is not None:
            with open(p, "wb") as f:
                f.write(data)
            os.chmod(p, mode)
        return p

    def run(self, command, env=None):
        full = {k: v for k, v in os.environ.items() if not k.startswith(("QEMU_", "LYRE_"))}
        full.update(env or {})
        return subprocess.run(command, env=full, cwd=self.work, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60)

    def report(self, name, problem):
        self.count += 1
        self.failed += bool(problem)
        print(f"{'not ok' if problem else 'ok'} {self.count} {name}")
        if problem:
            print("\n".join("# " + line for line in problem.splitlines()))

    def check(self, name, command, status, out=None, err=None, env=None, lines=None):
        done = self.run(command, env)
        stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        problem = ""
        if done.returncode != status:
            problem += f"status {done.returncode}, expected {status}\n"
        if out is not None and out not in stdout:
            problem += f"stdout has no '{out}': {stdout[:500]}\n"
        if err is not None and err not in stderr:
            problem += f"stderr has no '{err}': {stderr[:500]}\n"
        if lines is not None and len(stderr.splitlines()) != lines:
            problem += f"stderr has not {lines} lines: {stderr[:500]}\n"
        self.report(name, problem)

    def both(self, name, args, run_status, qemu_status, err, lines=1):
        self.check(f"lyre run: {name}", [self.lyre, "run", *args], run_status, err=err, lines=lines)
        self.check(f"qemu: {name}", [self.qemu, *args], qemu_status, err=err, lines=lines)


def test_errors(t, static, dynamic):
    t.both("no such file", ["/nonexistent/x"], 127, 1, "No such file or directory")
    t.both("a directory", [t.work], 126, 1, "directory")
    t.both("a text file", [t.path("text", b"hello\n")], 126, 1, "neither a program")
    t.both("an empty file", [t.path("empty", b"")], 126, 1, "neither a program")
    t.both("not executable", [t.path("plain", open(static, "rb").read(), 0o644)], 126, 1,
           "Permission denied")
    t.both("another architecture", [shutil.which("true")], 126, 255, "x86-64")
    t.check("guests are named", [t.lyre, "run", shutil.which("true")], 126, err="lyre runs those for aarch64", lines=1)
    t.both("no loader", [dynamic], 126, 255, "Could not open '/lib/ld-linux-aarch64.so.1'")
    t.both("a loader that -L does not have", ["-L", t.work, dynamic], 126, 255, f"-L {t.work} does not have it")
    t.both("-L that is not there", ["-L", "/nonexistent", dynamic], 126, 255, "-L /nonexistent cannot be opened")
    t.both("an object file", [t.path("object.o")], 126, 255, "object file")
    t.both("a script of nothing", [t.path("s0", b"#!\n")], 126, 1, "no interpreter")
    t.both("a script of another system", [t.path("s1", b"#!/bin/sh\n")], 126, 255, "interpreter")
    t.both("a script of a missing one", [t.path("s2", b"#!/none\n")], 127, 1, "interpreter")
    loop = t.path("s3")
    t.both("a script of itself", [t.path("s3", b"#!" + loop.encode() + b"\n")], 126, 1, "too many")
    t.check("unknown option", [t.lyre, "run", "-foo"], 2, err="unknown option 'foo'", lines=1)
    t.check("qemu: unknown option", [t.qemu, "-foo"], 1, err="qemu: unknown option 'foo'", lines=1)
    t.check("missing argument", [t.qemu, "-L"], 1, err="qemu: missing argument for option 'L'")
    t.check("no program", [t.qemu], 1, err="qemu: no user program specified")
    t.check("no program", [t.lyre, "run"], 2, err="which program")
    t.check("no command", [t.lyre], 2, err="usage")
    t.check("bad command", [t.lyre, "nonsense"], 2, err="'nonsense' is no command")
    t.both("bad log class", ["-d", "nonsense", static], 2, 1, "nonsense")
    t.both("bad stack size", ["-s", "nonsense", static], 2, 1, "no stack size")
    t.both("reserved addresses", ["-R", "4G", static], 2, 1, "-R 4G is not supported")
    t.both("plugin", ["-plugin", "x", static], 2, 1, "-plugin is not supported")
    t.both("unknown CPU", ["-cpu", "z80", static], 2, 1, "z80")


def test_options(t, static, dynamic, sysroot):
    run, qemu = [t.lyre, "run"], [t.qemu]
    for name, cmd in (("lyre run", run), ("qemu", qemu)):
        t.check(f"{name}: exit status", [*cmd, static], 7, out=f"argv0={static} args=0 A=(null)")
        t.check(f"{name}: -0", [*cmd, "-0", "other", static, "x", "y"], 7, out="argv0=other args=2")
        t.check(f"{name}: -E", [*cmd, "-E", "A=1,B=2", "-U", "B", static], 7, out="A=1 B=(null)")
        t.check(f"{name}: -r", [*cmd, "-r", "9.9.9", static], 7, out="release=9.9.9")
        t.check(f"{name}: -strace", [*cmd, "-strace", static], 7, err="exit_group(7)")
        t.check(f"{name}: killed", [*cmd, static, "crash"], -11,
                err="qemu: uncaught target signal 11 (Segmentation fault) - core dumped"
                if cmd is qemu else None, lines=int(cmd is qemu))
        t.check(f"{name}: -s", [*cmd, "-s", "65536", static, "stack"], -11)
        t.check(f"{name}: -s", [*cmd, "-s", "16M", static, "stack"], 7)
        t.check(f"{name}: -h", [*cmd, "-h"], 0, out="-strace")
        t.check(f"{name}: -L", [*cmd, "-L", sysroot, dynamic], 7, out="args=0")
    t.check("-cpu help", [t.qemu, "-cpu", "help"], 1, out="Available CPUs:\n  max\n")
    t.check("-version", [t.qemu, "-version"], 0, out="qemu-aarch64 version ")
    t.check("--version", [t.lyre, "--version"], 0, out="lyre ")
    t.check("QEMU_LD_PREFIX", [t.qemu, dynamic], 7, env={"QEMU_LD_PREFIX": sysroot})
    t.check("QEMU_STRACE", [t.qemu, static], 7, err="exit_group(7)", env={"QEMU_STRACE": "1"})
    t.check("QEMU_SET_ENV", [t.qemu, static], 7, out="A=x", env={"QEMU_SET_ENV": "A=x"})
    t.check("QEMU_CPU", [t.qemu, static], 1, err="z80", env={"QEMU_CPU": "z80"})
    log = t.path("log")
    t.check("-D", [t.qemu, "-D", log, "-strace", static], 7, lines=0)
    t.report("-D has it", "" if b"exit_group(7)" in open(log, "rb").read() else "no trace in the log")
    t.check("out_asm", [t.qemu, "-d", "out_asm", static], 7, err="  -- out of line\n")
    if ctypes.util.find_library("capstone"):
        t.check("out_asm is disassembled", [t.qemu, "-d", "out_asm", static], 7,
                err=":  cmp     dword ptr [r14 ")
    else:
        t.check("out_asm says what it lacks", [t.qemu, "-d", "out_asm", static], 7, err="libcapstone")
    script = t.path("script", f"#!{static}   an argument\n".encode())
    t.check("script", [t.lyre, "run", script, "x"], 7, out=f"argv0={static} args=3")


RISCV_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    long v = 3;
    if (argc > 1 && !strcmp(argv[1], "cpu")) {
        char line[200];
        FILE *f = fopen("/proc/cpuinfo", "r");
        while (fgets(line, sizeof(line), f) && line[0] != '\n')
            fputs(line, stdout);
    }
    if (argc > 1 && !strcmp(argv[1], "zba"))
        __asm__ volatile(".insn r 0x33, 2, 0x10, %0, %0, %0" : "+r"(v)); /* sh1add */
    if (argc > 2 && !strcmp(argv[1], "exec"))
        execv(argv[2], argv + 2);
    printf("%ld\n", v);
    return 7;
}
"""


def test_riscv(t, other):
    """The second guest, by the ELF file and by name."""
    if not shutil.which(RISCV_CC):
        print(f"# skip no {RISCV_CC}; apt install gcc-riscv64-linux-gnu")
        return
    program = t.path("riscv")
    subprocess.run([RISCV_CC, "-O1", "-static", "-o", program, t.path("riscv.c", RISCV_SOURCE.encode())], check=True)
    t.check("riscv64: by its file", [t.lyre, "run", program], 7, out="3\n")
    t.check("riscv64: by name", [t.qemu_riscv, program], 7, out="3\n")
    t.check("riscv64: for another guest", [t.qemu, program], 255, err="a program for RISC-V, not for aarch64", lines=1)
    t.check("another guest's program", [t.qemu_riscv, other], 255, err="a program for AArch64, not for riscv64", lines=1)
    t.check("riscv64: -cpu help", [t.qemu_riscv, "-cpu", "help"], 1, out="Available CPUs:\n  rv64\n  rva22\n  max\n")
    t.check("-cpu help of all", [t.lyre, "run", "-cpu", "help"], 0, out="Available CPUs for riscv64:\n  rv64\n")
    t.check("riscv64: the default has no Zba", [t.lyre, "run", program, "zba"], -4)
    t.check("riscv64: a model", [t.lyre, "run", "-cpu", "rva22", program, "zba"], 7, out="9\n")
    t.check("riscv64: an extension", [t.lyre, "run", "-cpu", "rv64,zba=on", program, "zba"], 7, out="9\n")
    t.check("riscv64: without one", [t.lyre, "run", "-cpu", "max,zba=off", program, "zba"], -4)
    t.check("riscv64: no such extension", [t.lyre, "run", "-cpu", "max,zqq=off", program], 2, err="zqq", lines=1)
    t.check("riscv64: no such model", [t.lyre, "run", "-cpu", "cortex-a57", program], 2, err="rva22", lines=1)
    t.check("riscv64: cpuinfo", [t.lyre, "run", "-cpu", "rv64,zba=on", program, "cpu"], 7,
            out="isa\t\t: rv64imafdc_zicntr_zicsr_zifencei_zba\nmmu\t\t: sv48\n")
    t.check("riscv64: starts another guest's program", [t.lyre, "run", program, "exec", other, "x"], 7, out=f"argv0={other} args=1")
    t.check("riscv64: starts its own", [t.lyre, "run", program, "exec", program], 7, out="3\n")
    t.check("riscv64: not by a name that fixes the guest", [t.qemu_riscv, program, "exec", other], 7, out="3\n")
    t.check("riscv64: -help", [t.qemu_riscv, "-help"], 0, out="compiled for riscv64 emulation")


def test_fp_traps(t):
    """An instruction that raises `invalid` again and again does not go through the kernel each time."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "user/programs/invalid.c")
    program, log = t.path("invalid"), t.path("stats")
    subprocess.run([CC, "-O1", "-static", "-o", program, source], check=True)
    t.run([t.lyre, "run", "-d", "stats", "-D", log, program])
    traps = [int(line.split()[2]) for line in open(log) if line.startswith("FP traps")]
    t.report("repeated FP traps", "" if traps and 0 < traps[0] < 1000 else f"FP traps: {traps}")


def test_cold_code(t):
    """What runs once is interpreted; a program that asks to see translations has all translated."""
    program, log = t.path("cold"), t.path("stats")
    source = t.path("cold.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write("int main(void) { return 7; }")
    subprocess.run([CC, "-O1", "-static", "-o", program, source], check=True)

    def figures(*options):
        t.run([t.lyre, "run", "-d", "stats", "-D", log, *options, program])
        text = open(log, encoding="utf-8").read()
        interpreted = re.search(r"in the interpreter +([\d.]+) %", text)
        return float(interpreted[1]), int(re.search(r"guest instructions +(\d+)", text)[1]), text

    share, translated, text = figures()
    t.report("cold code is interpreted", "" if share > 5 else text)
    share, all_of_it, text = figures("-opt", "-cold")
    t.report("no cold code", "" if share == 0 and translated * 2 < all_of_it else text)
    share, all_of_it, text = figures("-d", "stats,in_asm")
    t.report("all code is shown", "" if share == 0 and translated * 2 < all_of_it else text[-1000:])


def test_hot_code(t):
    """A loop becomes a region of its own, and the time in it is seen: `-d stats`, `-profile`."""
    source = t.path("loop.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write("""
            unsigned seed = 1;
            __attribute__((noinline)) unsigned turn(unsigned n)
            {
                unsigned x = seed;
                for (unsigned i = 0; i < n; i++)
                    x = x * 1664525 + 1013904223 + (x >> 7) % 13;
                return seed = x;
            }
            int main(void)
            {
                unsigned x = 0;
                for (int i = 0; i < 400; i++)
                    x += turn(1000000);
                return x == 1;
            }""")
    program, log = t.path("loop"), t.path("profile")
    subprocess.run([CC, "-O1", "-static", "-o", program, source], check=True)
    t.run([t.lyre, "run", "-profile", "-d", "stats", "-D", log, program])
    text = open(log, encoding="utf-8").read()
    share = re.search(r"time in hot regions\s+(\d+) %", text)
    first = re.search(r"^ *([\d.]+) %  loop +turn$", text, re.M)
    t.report("hot code", "" if share and int(share[1]) > 80 else text)
    loops = re.search(r"in hot regions that loop or call +([\d.]+) %", text)
    t.report("share of instructions", "" if loops and float(loops[1]) > 80 else text)
    run = int(re.search(r"instructions run +(\d+)", text)[1])
    t.report("profile", "" if first and float(first[1]) > 80 else text)
    t.run([t.lyre, "run", "-opt", "off", "-d", "stats", "-D", log, program])
    text = open(log, encoding="utf-8").read()
    same = int(re.search(r"instructions run +(\d+)", text)[1])
    t.report("instructions run", "" if abs(run - same) * 10000 < same else f"{run} and {same}")
    t.report("no hot code", "" if "hot regions         0," in text and "time in hot" not in text else text)
    t.check("when code is hot", [t.lyre, "run", "-opt", "sometimes", program], 2,
            err="is not on, off, a number of entries, -PASS or regions=NUMBER")
    t.run([t.lyre, "run", "-opt", "1,regions=2", "-d", "hot", "-D", log, program])
    text = open(log, encoding="utf-8").read()
    t.report("no more hot regions", "" if len(re.findall(r"^hot region \d+ at 0x", text, re.M)) == 2 else text)


def test_passes(t, static):
    """What can be left out is listed, and a program does the same without it."""
    listed = t.run([t.lyre, "run", "-opt", "help"])
    passes = re.findall(r"^  (\w+) ", listed.stdout.decode(), re.M)
    t.report("passes are listed", "" if "homes" in passes and len(passes) > 6 else str(listed))
    whole = t.run([t.lyre, "run", "-opt", "1", static, "5"])
    for name in passes:
        run = t.run([t.lyre, "run", "-opt", f"1,-{name}", "-d", "verify", static, "5"])
        same = (run.returncode, run.stdout) == (whole.returncode, whole.stdout)
        t.report(f"without {name}", "" if same else f"{run}, not {whole}")
    t.check("no such pass", [t.lyre, "run", "-opt", "-frobnicate", static], 2, err="nothing that could be left out")


def test_bisect(t, static):
    """The translator cannot be made to fail; a program that looks at how it is run can pretend that it did."""
    source = t.path("pretend.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write("""
            #include <stdlib.h>
            #include <string.h>
            int main(int argc, char **argv)
            {
                const char *opt = getenv("LYRE_OPT"), *n = strstr(opt, "regions=");
                int out = strstr(opt, "-homes") || strstr(opt, "-hot") || strstr(opt, "off");
                return strcmp(getenv("LYRE_ENGINE"), "interp") && !out && (!n || atoi(n + 8) >= 7);
            }""")
    program = t.path("pretend")
    subprocess.run([CC, "-O1", "-static", "-o", program, source], check=True)
    found = t.run([t.lyre, "bisect", program])
    good = re.search(r"the cause is in pass 'homes'.*\nit goes wrong with hot region 7, at 0x(?!0:)", found.stdout.decode())
    t.report("bisect finds the pass and the place", "" if good and found.returncode == 1 else str(found))
    t.check("bisect finds nothing", [t.lyre, "bisect", static, "3"], 0, out="translated code does what the interpreter does")
    t.check("bisect without a program", [t.lyre, "bisect"], 2, err="usage: lyre bisect", lines=None)
    t.check("bisect chooses the engine", [t.lyre, "bisect", "-L", "/", "-engine", "interp", static], 2, err="chooses -engine")
    endless = t.path("endless")
    with open(source, "w", encoding="utf-8") as f:
        f.write("int main(void) { for (volatile int i = 0;; i++); }")
    subprocess.run([CC, "-O1", "-static", "-o", endless, source], check=True)
    t.check("bisect of what does not end", [t.lyre, "bisect", "--seconds", "1", endless], 2, err="not done after 1 seconds")
    t.check("bisect without its input", [t.lyre, "bisect", "--input", "/nowhere", static], 2, err="/nowhere")


def test_for_perf(t, static):
    """What perf and `perf inject --jit` read: names of generated code, and the code itself."""
    with subprocess.Popen([t.lyre, "run", "-perf-map", "-jitdump", static], cwd=t.work, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL) as run:
        run.wait(60)
    names = f"/tmp/perf-{run.pid}.map"
    lines = open(names, encoding="utf-8").read().splitlines() if os.path.exists(names) else []
    bad = [line for line in lines if not re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ (guest|hot)_[0-9a-f]+", line)]
    t.report("perf map", "no names" if not lines else "\n".join(bad[:5]))
    if lines:
        os.unlink(names)
    dump = open(t.path(f"jit-{run.pid}.dump"), "rb").read()
    magic, version, size = struct.unpack_from("<III", dump) if len(dump) > 12 else (0, 0, 0)
    records, at = 0, size
    while at + 8 <= len(dump):
        kind, length = struct.unpack_from("<II", dump, at)
        records += kind == 0  # code load
        at += max(length, 8)
    good = magic == 0x4A695444 and version == 1 and at == len(dump) and records == len(lines)
    t.report("jitdump", "" if good else f"magic {magic:#x}, version {version}, {records} of {len(lines)} regions")


def test_hostile(t, static):
    data = open(static, "rb").read()
    bad = ""
    for n in list(range(0, 800, 7)) + [len(data) // 2]:
        done = t.run([t.lyre, "run", t.path("cut", data[:n])])
        if done.returncode != 126 or len(done.stderr.splitlines()) != 1:
            bad += f"{n} bytes: status {done.returncode}, {done.stderr[:200]}\n"
    t.report("truncated programs", bad)
    bad = ""
    rng = random.Random(4711)
    phoff, = struct.unpack_from("<Q", data, 32)
    for i in range(150):
        m = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            at = rng.choice([rng.randrange(16, 64), phoff + rng.randrange(56 * 6)])
            m[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)])
        try:
            done = t.run(["timeout", "10", t.lyre, "run", t.path("mutant", bytes(m))])
        except subprocess.TimeoutExpired:
            bad += f"mutant {i} hangs\n"
            continue
        if b"internal error" in done.stderr:
            bad += f"mutant {i}: {done.stderr[:300]}\n"
    t.report("damaged programs", bad)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lyre", required=True)
    p.add_argument("--sysroot", default="/usr/aarch64-linux-gnu")
    options = p.parse_args()
    if not shutil.which(CC):
        print(f"1..0 # skip no {CC}; apt install gcc-aarch64-linux-gnu")
        return 0
    with tempfile.TemporaryDirectory(prefix="lyre-cli-") as work:
        t = Tests(options.lyre, work)
        source = t.path("program.c", SOURCE.encode())
        static, dynamic = t.path("static"), t.path("dynamic")
        subprocess.run([CC, "-O1", "-static", "-o", static, source], check=True)
        subprocess.run([CC, "-O1", "-o", dynamic, source], check=True)
        subprocess.run([CC, "-c", "-o", t.path("object.o"), source], check=True)
        os.chmod(t.path("object.o"), 0o755)
        test_errors(t, static, dynamic)
        test_options(t, static, dynamic, options.sysroot)
        test_riscv(t, static)
        test_fp_traps(t)
        test_cold_code(t)
        test_hot_code(t)
        test_passes(t, static)
        test_bisect(t, static)
        test_for_perf(t, static)
        test_hostile(t, static)
        print(f"1..{t.count}")
        return 1 if t.failed else 0


if __name__ == "__main__":
    sys.exit(main())
