#!/usr/bin/env python3
"""Each mistake that tools/gen_syscalls.py must find, and what it makes of a good table."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.join(HERE, "..", "..", "tools", "gen_syscalls.py")
spec = importlib.util.spec_from_file_location("gen_syscalls", TOOL)
gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gen)

GOOD = """
struct stat 'struct stat'
struct byte 'char'
flags at A B M:C,D
values clock X Y
read  63 3 3 0 pass long fd:fd out(byte*count):buf size:count # comment
fstat 80 - - 5 body int fd:fd out(stat):buf
gone  81 - - - nosys int
never 82 - - - deny(EPERM) int path:p flags(at):f
time 113/403 - - - pass int
old  200/- - - - pass int
own  258@riscv - - - pass int
layout riscv64,riscv32 stat st_dev:u16 st_size:s64 -:b3 st_uid:w64
"""

BAD = [
    ("read 63 3 3", "a call has a name"),
    ("x 9999 - - - pass int", "'9999' is no number for generic"),
    ("x a - - - pass int", "'a' is no number for generic"),
    ("x 63 - - - pass int", "generic number 63 is that of 'read'"),
    ("read 900 - - - pass int", "call 'read' is there twice"),
    ("x 900 - - - maybe int", "'maybe' is not one of"),
    ("x 900 - - - deny int", "'deny' is not one of"),
    ("x 900 - - - pass(EPERM) int", "is not one of"),
    ("x 900 - - - pass float", "'float' is no kind of result"),
    ("x 900 - - - pass int fd", "'fd' is no argument"),
    ("x 900 - - - pass int thing:fd", "'thing' is no kind of argument"),
    ("x 900 - - - pass int fd(3):fd", "'fd' takes no detail"),
    ("x 900 - - - pass int fd:a fd:a", "two arguments are called 'a'"),
    ("x 900 - - - pass int in(nothing):a", "no structure is called 'nothing'"),
    ("x 900 - - - pass int in:a", "no structure is called ''"),
    ("x 900 - - - pass int in(byte*n):a", "has 'n' elements, which is no argument"),
    ("x 900 - - - pass int flags(none):a", "no set of flags is called 'none'"),
    ("x 900 - - - pass int int:a int:b int:c int:d int:e int:f int:g", "more than six"),
    ("x 900 - - - pass int iovec:v", "needs a count after it"),
    ("x 900 - - - pass int atpath:p int:f", "needs a flags(at) argument"),
    ("struct stat 'struct stat'", "structure 'stat' is there twice"),
    ("struct stat struct stat", "a structure is: struct NAME"),
    ("x 9/- 9 - - pass int/", "is no kind of result"),
    ("x 5/6/7 - - - pass int", "'5/6/7' is no number for generic"),
    ("x 700/403 - - - pass int", "riscv32 number 403 is that of 'time'"),
    ("layout riscv64 byte", "a layout has ports, a structure and at least one member"),
    ("layout vax byte .:u8", "'vax' is no port"),
    ("layout riscv64 stat .:u8", "riscv64 has two layouts of 'stat'"),
    ("layout riscv64 none .:u8", "no structure is called 'none'"),
    ("layout riscv64 byte .:u9", "'.:u9' is no member"),
    ("layout riscv64 byte u8", "'u8' is no member"),
    ("flags at A", "set 'at' is there twice"),
    ("flags x", "a set has a name and at least one member"),
]

count = failed = 0


def check(name, ok, note=""):
    global count, failed
    count += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {count} {name}")
    if not ok and note:
        print(f"# {note}")


table = gen.parse(GOOD)
source, header = gen.emit_c(table), gen.emit_h(table)
check("calls", [c.name for c in table.calls] == ["read", "fstat", "gone", "never", "time", "old", "own"])
check("body is declared", "s64 sys_fstat(struct thread *t, const u64 *a);" in header)
check("pass is not", "sys_read(" not in header)
check("numbers", "[63] = SYS_ID_read + 1," in source and "[0] = SYS_ID_read + 1," in source)
check("count argument", ".count_arg = 2" in source)
check("denied", '"never", NULL, HOST_never, EPERM' in source)
check("no call", '"gone", NULL, HOST_gone, ENOSYS' in source)
check("choices", '{"C", (u64)(M), (u64)(C)}' in source)
numbers = {c.name: c.numbers for c in table.calls}
check("a number for each width", numbers["time"] == {"generic": 113, "riscv64": 113, "riscv32": 403}, numbers)
check("a number for one width", numbers["old"] == {"generic": 200, "riscv64": 200}, numbers)
check("a number of one architecture", numbers["own"] == {"riscv64": 258, "riscv32": 258}, numbers)
size, fields = table.layouts["riscv32"]["stat"]
check("a layout", [(f.member, f.offset, f.size, f.signed) for f in fields] ==
      [("st_dev", 0, 2, False), ("st_size", 8, 8, True), ("st_uid", 20, 8, False)] and size == 32)
check("its fields", "offsetof(struct stat, st_size), 8, sizeof(((struct stat *)0)->st_size), 8, true" in source)
for line, message in BAD:
    try:
        gen.parse(GOOD + line + "\n", "t")
        check(line, False, "was accepted")
    except gen.TableError as e:
        check(line, message in str(e) and str(e).startswith("t:14:"), str(e))
print(f"1..{count}")
sys.exit(failed != 0)
