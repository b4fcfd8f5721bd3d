"""What the programs of bench/sets.json work on: made here, the same on each machine."""

import random

SQL = """
create table t(id integer primary key, name text, n integer);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 60000)
insert into t select i, 'name ' || (i * 7919 % 60013), i * i % 9973 from c;
create index by_name on t(name);
select count(*), sum(n), max(name) from t where n % 7 = 3;
select a.n % 10, count(*) from t a join t b on a.name = 'name ' || b.id group by 1 order by 1;
update t set n = n + 1 where id % 3 = 0;
select sum(n * id % 1009) from t;
"""

LUA = """
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local t, words = {}, {}
for i = 1, 200000 do t[i] = i * 7919 % 200003 end
table.sort(t)
for w in (("one two three four five "):rep(4000)):gmatch("%a+") do words[w] = (words[w] or 0) + 1 end
local s = 0
for i = 1, #t do s = (s * 31 + t[i]) % 1000003 end
print(fib(27), s, words.three)
"""

PYTHON = """
import json, re
class Node:
    def __init__(self, key): self.key, self.left, self.right = key, None, None
    def insert(self, key):
        side = "left" if key < self.key else "right"
        child = getattr(self, side)
        child.insert(key) if child else setattr(self, side, Node(key))
    def sum(self): return self.key + sum(c.sum() for c in (self.left, self.right) if c)
tree = Node(50000)
for i in range(20000): tree.insert(i * 7919 % 100003)
data = {str(i): [i, i * i, "x" * (i % 9)] for i in range(20000)}
again = json.loads(json.dumps(data))
print(tree.sum(), again == data, len(re.findall(r"(\\d+)x\\b", " ".join(f"{i}x{i}" for i in range(30000)))))
"""

PERL = """
my (%h, $s);
for my $i (1 .. 150000) { $h{$i * 7919 % 997} .= chr(65 + $i % 26); }
for my $k (sort { $a <=> $b } keys %h) { $s += () = $h{$k} =~ /[A-C][^X-Z]/g; $h{$k} =~ tr/A-M/a-m/; }
print "$s ", length(join ",", map { uc } values %h), "\\n";
"""

AWK = """
{ for (i = 1; i <= NF; i++) count[$i] += length($i) }
END { for (w in count) sum = (sum * 31 + count[w]) % 1000003; n = 0; for (w in count) n++; print n }
"""

IMPORTS = "import argparse, asyncio, ctypes, decimal, email, http.client, json, logging, sqlite3, unittest, xml.dom\n"


def text(size=3000000):
    """Words whose frequencies fall as a language's do."""
    draw = random.Random(1)
    words = ["".join(draw.choice("etaoinshrdlucmfw") for _ in range(draw.randint(2, 9))) for _ in range(3000)]
    out, length = [], 0
    while length < size:
        out.append(words[min(int(draw.paretovariate(0.7)), len(words)) - 1] + ("\n" if draw.random() < 0.1 else ""))
        length += len(out[-1]) + 1
    return " ".join(out)[:size]


def c_source(functions=60):
    """A large file for a compiler, as the preprocessor leaves it."""
    draw = random.Random(2)
    lines = ["struct s { int a, b; struct s *next; long v[8]; };", "extern int f(struct s *, int);"]
    for n in range(functions):
        lines.append(f"int f{n}(struct s *p, int x)\n{{\n    long t[{draw.randint(4, 32)}] = {{0}};\n    int i, r = x;")
        for k in range(draw.randint(3, 12)):
            lines.append(draw.choice([
                f"    for (i = 0; i < x; i++) r += p->v[i & 7] * {draw.randint(2, 99)};",
                f"    if (p && p->a > {draw.randint(1, 999)}) {{ r ^= p->b << {draw.randint(1, 7)}; p = p->next; }}",
                f"    switch (r & 7) {{ case 1: r += {k}; break; case 3: r = f(p, r); break; case 5: t[{k % 4}] = r; }}",
                f"    while (r > {draw.randint(1000, 9999)}) r = r / {draw.randint(2, 9)} - (int)t[{k % 4}];",
                f"    t[{k % 4}] += r % {draw.randint(3, 77)} + f{max(n - 1, 0)}(p, r - 1);" if n else "    t[0] = r;"]))
        lines.append("    return r + (int)t[1];\n}")
    return "\n".join(lines) + "\n"


def write(folder):
    """Make the files in `folder`, if they are not there. Returns their paths by name."""
    made = {"text": text, "many": lambda: text() * 16, "c": c_source, "sql": lambda: SQL, "lua": lambda: LUA, "python": lambda: PYTHON,
            "perl": lambda: PERL, "awk": lambda: AWK, "imports": lambda: IMPORTS}
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in made.items():
        if not (folder / name).exists():
            (folder / name).write_text(make())
    return {name: str(folder / name) for name in made}
