/* The x86-64 assembler against GNU objdump: every row of the table of encodings in every form that it
 * has, and the forms that are written by hand. Each instruction goes into one file together with the
 * text that the table promises; objdump reads the file back. */
#include <stdarg.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "jit/host/x86_64/asm.h"

#define IMM 0x2a /* no instruction has a name of its own for this immediate */

/* Registers whose numbers matter to the encodings: SIB, RBP without displacement, REX bits. */
static const u8 regs[] = {0, 1, 4, 5, 7, 8, 12, 13, 15};
#define NREGS ((unsigned)ARRAY_LEN(regs))

struct expected {
    u32 at, len;
    u32 text; /* offset in `texts` */
};

static struct {
    struct x64_asm a;
    u8 *code;
    struct expected *list;
    u32 count, cap;
    char *texts;
    u32 size, text_cap;
    u32 start; /* of the instruction that is being made */
} t;

static void begin(void)
{
    t.code = t.code ? t.code : xmalloc(8 << 20);
    t.a = (struct x64_asm){.p = t.code, .start = t.code, .end = t.code + (8 << 20)};
    t.count = t.size = t.start = 0;
}

static void expect(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* What was emitted since the last call should read so. A copy that the two-operand form needs is
 * a line of its own before it. */
static void expect(const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    u32 end = (u32)(t.a.p - t.a.start);
    VEC_PUSH(t.list, t.count, t.cap) = (struct expected){t.start, end - t.start, t.size};
    for (const char *p = text;; p++) {
        VEC_PUSH(t.texts, t.size, t.text_cap) = *p;
        if (!*p)
            break;
    }
    t.start = end;
}

/* ---- objdump ---- */

/* Spaces, comments, sizes of memory operands where the expectation names none. */
static void normalise(char *s, bool keep_size)
{
    static const char *const sizes[] = {"BYTE PTR ", "XMMWORD PTR ", "OWORD PTR ", "QWORD PTR ", "DWORD PTR ",
                                        "WORD PTR "};
    char *out = s;
    for (char *p = s; *p && *p != '#' && *p != '\n';) {
        bool found = false;
        for (unsigned i = 0; i < ARRAY_LEN(sizes) && !keep_size && !found; i++) {
            if (!strncmp(p, sizes[i], strlen(sizes[i]))) {
                p += strlen(sizes[i]);
                found = true;
            }
        }
        if (found)
            continue;
        if (*p == ' ' || *p == '\t') {
            if (out > s && out[-1] != ' ')
                *out++ = ' ';
            p++;
        } else {
            *out++ = *p++;
        }
    }
    while (out > s && out[-1] == ' ')
        out--;
    *out = 0;
}

static FILE *disassemble(char *name)
{
    int fd = mkstemp(name);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    char command[256];
    if (!f)
        return NULL;
    fwrite(t.code, 1, (size_t)(t.a.p - t.code), f);
    fclose(f);
    snprintf(command, sizeof(command),
             "objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn %s", name);
    return popen(command, "r");
}

/* One instruction of objdump against what is expected at its address. */
static void compare(struct expected *e, u32 at, u32 *next, char *line)
{
    const char *want = t.texts + e->text;
    bool keep = strstr(want, " PTR ") != NULL;
    if (at == e->at && strchr(want, '|')) { /* a copy comes first */
        char copy[128];
        snprintf(copy, sizeof(copy), "%.*s", (int)(strchr(want, '|') - want), want);
        normalise(line, keep);
        CHECK_STR(line, copy);
        return;
    }
    want = strchr(want, '|') ? strchr(want, '|') + 1 : want;
    normalise(line, keep);
    if (strcmp(line, want)) {
        char bytes[64] = "";
        for (u32 i = 0; i < e->len && i < 16; i++)
            sprintf(bytes + strlen(bytes), " %02x", t.code[e->at + i]);
        printf("#%s\n", bytes);
    }
    CHECK_STR(line, want);
    (*next)++;
}

static void check_all(void)
{
    char name[] = "/tmp/lyre-test-asm-XXXXXX", line[512];
    CHECK(!t.a.overflow);
    FILE *f = disassemble(name);
    u32 next = 0, seen = 0;
    int failures = test_failures;
    while (f && fgets(line, sizeof(line), f)) {
        char *end;
        unsigned long at = strtoul(line, &end, 16);
        if (line[0] != ' ' || *end != ':')
            continue;
        seen++;
        if (next == t.count || test_failures - failures > 20)
            continue;
        if (at < t.list[next].at)
            continue;
        if (at >= t.list[next].at + t.list[next].len) {
            printf("# objdump lost step at %#lx, before '%s'\n", at, t.texts + t.list[next].text);
            CHECK(!"the same instructions");
            break;
        }
        memmove(line, end + 1, strlen(end + 1) + 1);
        compare(&t.list[next], (u32)at, &next, line);
    }
    CHECK(seen >= t.count);
    CHECK(test_failures - failures > 20 || next == t.count);
    if (f)
        pclose(f);
    unlink(name);
}

/* ---- operands ---- */

static const char *gpr(unsigned reg, unsigned bytes)
{
    static const char *const names[4][16] = {
        {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b",
         "r13b", "r14b", "r15b"},
        {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w",
         "r13w", "r14w", "r15w"},
        {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d",
         "r12d", "r13d", "r14d", "r15d"},
        {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
         "r13", "r14", "r15"},
    };
    return names[bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3][reg];
}

struct mem_case {
    struct x64_mem m;
    char text[64];
};

static struct mem_case mem_cases[160];
static unsigned nmem;

static void add_mem(unsigned base, unsigned index, unsigned scale, s32 disp)
{
    struct mem_case *c = &mem_cases[nmem++];
    char num[24] = "";
    c->m = (struct x64_mem){(u8)base, (u8)index, (u8)scale, disp};
    if (base == X64_RIP) {
        snprintf(c->text, sizeof(c->text), "[rip+0x%x]", (unsigned)disp);
        return;
    }
    if (disp || (base & 7) == RBP)
        snprintf(num, sizeof(num), "%c0x%x", disp < 0 ? '-' : '+',
                 disp < 0 ? 0 - (unsigned)disp : (unsigned)disp);
    if (base == X64_NONE)
        snprintf(num, sizeof(num), "+0x%x", (unsigned)disp);
    if (index == X64_NONE)
        snprintf(c->text, sizeof(c->text), "[%s%s]", gpr(base, 8), num);
    else if (base == X64_NONE)
        snprintf(c->text, sizeof(c->text), "[%s*%u%s]", gpr(index, 8), 1u << scale, num);
    else
        snprintf(c->text, sizeof(c->text), "[%s+%s*%u%s]", gpr(base, 8), gpr(index, 8), 1u << scale,
                 num);
}

static void make_mem_cases(void)
{
    static const s32 disps[] = {0, 1, 127, -128, 128, -129, 0x12345678};
    static const u8 indexes[] = {RAX, RBP, R8, R12, R13, R15};
    if (nmem)
        return;
    for (unsigned r = 0; r < NREGS; r++) {
        for (unsigned d = 0; d < ARRAY_LEN(disps); d++)
            add_mem(regs[r], X64_NONE, 0, disps[d]);
    }
    add_mem(R14, X64_NONE, 0, 0);
    add_mem(R14, X64_NONE, 0, 16);
    for (unsigned r = 0; r < NREGS; r++) {
        for (unsigned i = 0; i < ARRAY_LEN(indexes); i++)
            add_mem(regs[r], indexes[i], (r + i) % 4, disps[(r * 5 + i) % ARRAY_LEN(disps)]);
    }
    add_mem(X64_NONE, RBX, 3, 0x40);
    add_mem(X64_NONE, R9, 1, 0x1000);
    add_mem(X64_RIP, X64_NONE, 0, 0x1234);
}

/* ---- general instructions of the table ---- */

static bool is(enum x64_insn x, const char *text)
{
    return !strcmp(x64_insns[x].text, text);
}

/* Bytes of the register operand of the r/m field, and of the reg field. */
static void widths(enum x64_insn x, bool wide, unsigned *reg, unsigned *rm)
{
    unsigned w = wide ? 8 : 4;
    *reg = *rm = w;
    if (x == X_MOV8_MR || x == X_XCHG8 || x == X_XADD8 || x == X_CMPXCHG8)
        *reg = *rm = 1;
    else if (x64_insns[x].prefix == 0x66)
        *reg = *rm = 2;
    else if (x == X_MOVZX8 || x == X_MOVSX8 || x == X_CRC32_8)
        *rm = 1;
    else if (x == X_MOVZX16 || x == X_MOVSX16 || x == X_CRC32_16)
        *rm = 2;
    else if (x == X_MOVSXD)
        *rm = 4;
}

static void general_rr(enum x64_insn x, bool wide)
{
    const struct x64_insn_info *info = &x64_insns[x];
    unsigned wr, wm;
    widths(x, wide, &wr, &wm);
    for (unsigned i = 0; i < NREGS && x != X_LEA; i++) {
        for (unsigned j = 0; j < NREGS; j++) {
            const char *r = gpr(regs[i], wr), *m = gpr(regs[j], wm);
            char imm[16] = "";
            if (x == X_CRC32_16)
                x64_byte(&t.a, 0x66);
            if (info->flags & XF_IMM8) {
                snprintf(imm, sizeof(imm), ",0x%x", IMM);
                x64_rri(&t.a, x, wide, regs[i], regs[j], IMM);
            } else {
                x64_rr(&t.a, x, wide, regs[i], regs[j]);
            }
            if (info->flags & XF_RMREG)
                expect("%s %s,%s%s", info->text, m, r, imm);
            else
                expect("%s %s,%s%s", info->text, r, m, imm);
        }
    }
}

static const char *size_name(unsigned bytes)
{
    return bytes == 1 ? "BYTE" : bytes == 2 ? "WORD" : bytes == 4 ? "DWORD" : "QWORD";
}

static void general_rm(enum x64_insn x, bool wide)
{
    const struct x64_insn_info *info = &x64_insns[x];
    unsigned wr, wm;
    widths(x, wide, &wr, &wm);
    if ((info->flags & XF_IMM8) || x == X_CRC32_16)
        return;
    for (unsigned i = 0; i < nmem; i++) {
        unsigned reg = regs[i % NREGS];
        char mem[96];
        snprintf(mem, sizeof(mem), "%s%s%s", x == X_LEA ? "" : size_name(wm),
                 x == X_LEA ? "" : " PTR ", mem_cases[i].text);
        x64_rm(&t.a, x, wide, reg, mem_cases[i].m);
        if (info->flags & XF_RMREG)
            expect("%s %s,%s", info->text, mem, gpr(reg, wr));
        else
            expect("%s %s,%s", info->text, gpr(reg, wr), mem);
    }
}

static void general_vex(enum x64_insn x, bool wide)
{
    const struct x64_insn_info *info = &x64_insns[x];
    unsigned w = wide ? 8 : 4;
    for (unsigned i = 0; i < NREGS; i++) {
        for (unsigned j = 0; j < NREGS; j++) {
            unsigned d = regs[i], s1 = regs[j], s2 = regs[(i + 2 * j) % NREGS];
            if (info->flags & XF_TWO) {
                x64_rri(&t.a, x, wide, d, s1, IMM);
                expect("%s %s,%s,0x%x", info->text, gpr(d, w), gpr(s1, w), IMM);
            } else if (is(x, "shlx") || is(x, "shrx") || is(x, "sarx")) {
                x64_bmi_shift(&t.a, x, wide, d, s1, s2);
                expect("%s %s,%s,%s", info->text, gpr(d, w), gpr(s1, w), gpr(s2, w));
            } else {
                x64_vex3(&t.a, x, wide, d, s1, s2);
                expect("%s %s,%s,%s", info->text, gpr(d, w), gpr(s1, w), gpr(s2, w));
            }
        }
    }
}

TEST(general_instructions_of_the_table)
{
    begin();
    make_mem_cases();
    for (enum x64_insn x = 0; x < X64_NINSNS; x++) {
        u16 f = x64_insns[x].flags;
        for (unsigned wide = 0; wide < 2; wide++) {
            if ((f & XF_VEC) || (wide && !(f & XF_W)))
                continue;
            if (f & XF_VEX) {
                general_vex(x, wide);
            } else if (x != X_MOVSXD || wide) {
                general_rr(x, wide);
                general_rm(x, wide);
            }
        }
    }
    check_all();
}

/* ---- vector instructions of the table ---- */

/* The mnemonic at this level; the forms that move 64 bits have other names. */
static const char *vec_name(enum x64_insn x, bool wide, char *buf, size_t size)
{
    const struct x64_insn_info *info = &x64_insns[x];
    const char *text = info->text;
    if (wide && is(x, "movd"))
        text = "movq";
    if (wide && is(x, "pinsrd"))
        text = "pinsrq";
    if (wide && is(x, "pextrd"))
        text = "pextrq";
    bool prefix = t.a.level >= X64_AVX2 && !(info->flags & (XF_SSE | XF_VEX | XF_EVEX));
    snprintf(buf, size, "%s%s", prefix ? "v" : "", text);
    return buf;
}

/* Shifts by a constant: the operation is in the reg field. */
static bool shift_group(enum x64_insn x)
{
    return x == X_PSHIFTW || x == X_PSHIFTD || x == X_PSHIFTQ || x == X_VPSHIFTROTD || x == X_VPSHIFTROTQ;
}

static void vec_shifts(enum x64_insn x)
{
    static const char *const names[X64_NINSNS][8] = {
        [X_PSHIFTW] = {NULL, NULL, "psrlw", NULL, "psraw", NULL, "psllw", NULL},
        [X_PSHIFTD] = {NULL, NULL, "psrld", NULL, "psrad", NULL, "pslld", NULL},
        [X_PSHIFTQ] = {NULL, NULL, "psrlq", "psrldq", NULL, NULL, "psllq", "pslldq"},
        [X_VPSHIFTROTD] = {"prord", "prold", NULL, NULL, NULL, NULL, NULL, NULL},
        [X_VPSHIFTROTQ] = {"prorq", "prolq", NULL, NULL, "psraq", NULL, NULL, NULL},
    };
    bool vex = t.a.level >= X64_AVX2;
    for (unsigned digit = 0; digit < 8; digit++) {
        const char *name = names[x][digit];
        for (unsigned i = 0; i < NREGS && name; i++) {
            for (unsigned j = 0; j < NREGS; j++) {
                unsigned d = regs[i], s = regs[j];
                x64_vshift(&t.a, x, digit, d, s, 7);
                if (vex)
                    expect("v%s xmm%u,xmm%u,0x7", name, d, s);
                else if (d != s)
                    expect("movaps xmm%u,xmm%u|%s xmm%u,0x7", d, s, name, d);
                else
                    expect("%s xmm%u,0x7", name, d);
            }
        }
    }
}

/* Two vector operands, or one and a general register. */
static void vec_two(enum x64_insn x, bool wide)
{
    const struct x64_insn_info *info = &x64_insns[x];
    char name[32], imm[16] = "";
    vec_name(x, wide, name, sizeof(name));
    if (info->flags & XF_IMM8)
        snprintf(imm, sizeof(imm), ",0x%x", IMM);
    for (unsigned i = 0; i < NREGS; i++) {
        for (unsigned j = 0; j < NREGS; j++) {
            unsigned reg = regs[i], rm = regs[j];
            char r[16], m[16];
            if (info->flags & XF_KREG)
                reg &= 7;
            if (info->flags & XF_KRM)
                rm &= 7;
            snprintf(r, sizeof(r), "%s%u", info->flags & XF_KREG ? "k" : "xmm", reg);
            snprintf(m, sizeof(m), "%s%u", info->flags & XF_KRM ? "k" : "xmm", rm);
            if (info->flags & XF_GPR) { /* the general register is rm, but for moves out of vectors */
                bool to_gpr = x == X_MOVMSKPS || x == X_PMOVMSKB || strstr(name, "2si") || strstr(name, "2usi");
                snprintf(to_gpr ? r : m, sizeof(r), "%s", gpr(to_gpr ? reg : rm, wide ? 8 : 4));
            }
            x64_vg(&t.a, x, wide, reg, rm);
            if (info->flags & XF_IMM8)
                x64_byte(&t.a, IMM);
            if (info->flags & XF_RMREG)
                expect("%s %s,%s%s", name, m, r, imm);
            else
                expect("%s %s,%s%s", name, r, m, imm);
        }
    }
}

static bool vex_form(const struct x64_insn_info *info)
{
    return info->flags & (XF_VEX | XF_EVEX) || (t.a.level >= X64_AVX2 && !(info->flags & XF_SSE));
}

/* The copy before an instruction that has two operands. */
static const char *copy_name(void)
{
    return t.a.level >= X64_AVX2 ? "vmovaps" : "movaps";
}

static void vec_three(enum x64_insn x, bool wide)
{
    const struct x64_insn_info *info = &x64_insns[x];
    bool vex = vex_form(info);
    char name[32], imm[16] = "";
    vec_name(x, wide, name, sizeof(name));
    if (info->flags & XF_IMM8)
        snprintf(imm, sizeof(imm), ",0x%x", IMM);
    if (x == X_SHA256RNDS2) /* an operand that has no place in the encoding */
        snprintf(imm, sizeof(imm), ",xmm0");
    for (unsigned i = 0; i < NREGS; i++) {
        for (unsigned j = 0; j < NREGS; j++) {
            unsigned d = regs[i], s1 = regs[j], s2 = regs[(i + 2 * j) % NREGS];
            char m[16];
            if (info->flags & XF_KREG)
                d &= 7;
            snprintf(m, sizeof(m), "xmm%u", s2);
            if (info->flags & XF_GPR)
                snprintf(m, sizeof(m), "%s", gpr(s2, wide ? 8 : 4));
            if (info->flags & XF_GPR)
                x64_v3g(&t.a, x, wide, d, s1, s2);
            else
                x64_v3(&t.a, x, d, s1, s2);
            if (info->flags & XF_IMM8)
                x64_byte(&t.a, IMM);
            if (vex)
                expect("%s %s%u,xmm%u,%s%s", name, info->flags & XF_KREG ? "k" : "xmm", d, s1, m, imm);
            else if (d != s1)
                expect("%s xmm%u,xmm%u|%s xmm%u,%s%s", copy_name(), d, s1, name, d, m, imm);
            else
                expect("%s xmm%u,%s%s", name, d, m, imm);
        }
    }
}

static void vec_mem(enum x64_insn x)
{
    const struct x64_insn_info *info = &x64_insns[x];
    bool vex = vex_form(info);
    bool two = (info->flags & XF_TWO) || x == X_MOVSS;
    char name[32], imm[16] = "";
    if ((info->flags & (XF_GPR | XF_KREG | XF_KRM)) || x == X_MOVLHPS)
        return;
    vec_name(x, false, name, sizeof(name));
    if (info->flags & XF_IMM8)
        snprintf(imm, sizeof(imm), ",0x%x", IMM);
    if (x == X_SHA256RNDS2) /* an operand that has no place in the encoding */
        snprintf(imm, sizeof(imm), ",xmm0");
    for (unsigned i = 0; i < nmem; i += 3) {
        unsigned reg = regs[i % NREGS], s1 = regs[i / 3 % NREGS];
        const char *m = mem_cases[i].text;
        if (two)
            x64_v2m(&t.a, x, reg, mem_cases[i].m);
        else
            x64_v3m(&t.a, x, reg, s1, mem_cases[i].m);
        if (info->flags & XF_IMM8)
            x64_byte(&t.a, IMM);
        if (info->flags & XF_RMREG)
            expect("%s %s,xmm%u%s", name, m, reg, imm);
        else if (two)
            expect("%s xmm%u,%s%s", name, reg, m, imm);
        else if (vex)
            expect("%s xmm%u,xmm%u,%s%s", name, reg, s1, m, imm);
        else if (reg != s1)
            expect("%s xmm%u,xmm%u|%s xmm%u,%s%s", copy_name(), reg, s1, name, reg, m, imm);
        else
            expect("%s xmm%u,%s%s", name, reg, m, imm);
    }
}

static void vectors(enum x64_level level)
{
    begin();
    make_mem_cases();
    t.a.level = level;
    for (enum x64_insn x = 0; x < X64_NINSNS; x++) {
        u16 f = x64_insns[x].flags;
        if ((level == X64_AVX512) != ((f & XF_EVEX) != 0))
            continue;
        for (unsigned wide = 0; wide < 2 && (f & XF_VEC); wide++) {
            if (wide && !(f & XF_W))
                continue;
            if (shift_group(x))
                vec_shifts(x);
            else if (x == X_MOVSS_ST)
                continue; /* with registers it would merge; only stores are made of it */
            else if (f & XF_TWO)
                vec_two(x, wide);
            else
                vec_three(x, wide);
        }
        if ((f & XF_VEC) && !shift_group(x))
            vec_mem(x);
    }
    check_all();
}

TEST(vector_instructions_sse)
{
    vectors(X64_SSE42);
}

TEST(vector_instructions_vex)
{
    vectors(X64_AVX2);
}

TEST(vector_instructions_evex)
{
    vectors(X64_AVX512);
}

/* ---- forms that are written by hand ---- */

static const char *const alu_names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
static const char *const cc_names[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                       "s", "ns", "p", "np", "l", "ge", "le", "g"};

/* An immediate as objdump prints it in an operation of `bytes` bytes. */
static const char *imm_text(s32 imm, bool wide, char *buf, size_t size)
{
    if (wide)
        snprintf(buf, size, "0x%llx", (unsigned long long)(s64)imm);
    else
        snprintf(buf, size, "0x%x", (unsigned)imm);
    return buf;
}

TEST(arithmetic)
{
    static const s32 imms[] = {0, 1, 127, -128, 128, -129, 0x12345678, -0x12345678};
    char text[32];
    begin();
    make_mem_cases();
    for (unsigned k = 0; k < 16; k++) {
        enum x64_alu op = (enum x64_alu)(k / 2);
        bool wide = k & 1;
        unsigned w = wide ? 8 : 4;
        for (unsigned i = 0; i < NREGS; i++) {
            for (unsigned j = 0; j < NREGS; j++) {
                x64_alu_rr(&t.a, op, wide, regs[i], regs[j]);
                expect("%s %s,%s", alu_names[op], gpr(regs[i], w), gpr(regs[j], w));
            }
            for (unsigned j = 0; j < ARRAY_LEN(imms); j++) {
                x64_alu_ri(&t.a, op, wide, regs[i], imms[j]);
                expect("%s %s,%s", alu_names[op], gpr(regs[i], w),
                       imm_text(imms[j], wide, text, sizeof(text)));
            }
        }
        for (unsigned i = 0; i < nmem; i++) {
            struct mem_case *c = &mem_cases[i];
            unsigned reg = regs[i % NREGS];
            x64_alu_rm(&t.a, op, wide, reg, c->m);
            expect("%s %s,%s PTR %s", alu_names[op], gpr(reg, w), size_name(w), c->text);
            x64_alu_mi(&t.a, op, wide, c->m, imms[i % ARRAY_LEN(imms)]);
            expect("%s %s PTR %s,%s", alu_names[op], size_name(w), c->text,
                   imm_text(imms[i % ARRAY_LEN(imms)], wide, text, sizeof(text)));
        }
    }
    check_all();
}

TEST(shifts_and_unary)
{
    static const char *const shifts[] = {"rol", "ror", NULL, NULL, "shl", "shr", NULL, "sar"};
    static const char *const unary[] = {NULL, NULL, "not", "neg", "mul", "imul", "div", "idiv"};
    begin();
    for (unsigned k = 0; k < 16; k++) {
        unsigned op = k / 2, w = k & 1 ? 8 : 4;
        for (unsigned i = 0; i < NREGS; i++) {
            const char *r = gpr(regs[i], w);
            if (shifts[op]) {
                x64_shift_ri(&t.a, (enum x64_shift)op, k & 1, regs[i], 5);
                expect("%s %s,0x5", shifts[op], r);
                x64_shift_cl(&t.a, (enum x64_shift)op, k & 1, regs[i]);
                expect("%s %s,cl", shifts[op], r);
            }
            if (unary[op]) {
                x64_unary(&t.a, (enum x64_unary)op, k & 1, regs[i]);
                expect("%s %s", unary[op], r);
            }
        }
    }
    check_all();
}

static void moves_of(unsigned reg, bool wide)
{
    static const s32 imms[] = {0, 1, -1, 0x12345678};
    unsigned w = wide ? 8 : 4;
    const char *r = gpr(reg, w);
    char text[32];
    for (unsigned i = 0; i < ARRAY_LEN(imms); i++) {
        x64_test_ri(&t.a, wide, reg, imms[i]);
        expect("test %s,%s", r, imm_text(imms[i], wide, text, sizeof(text)));
    }
    for (unsigned j = 0; j < NREGS; j++) {
        x64_test_rr(&t.a, wide, reg, regs[j]);
        expect("test %s,%s", r, gpr(regs[j], w));
        for (unsigned cc = 0; cc < 16; cc++) {
            x64_cmov(&t.a, (enum x64_cc)cc, wide, reg, regs[j]);
            expect("cmov%s %s,%s", cc_names[cc], r, gpr(regs[j], w));
        }
    }
    x64_bt_ri(&t.a, wide, reg, 21);
    expect("bt %s,0x15", r);
    for (unsigned i = reg % 3; i < nmem; i += 3) {
        struct mem_case *c = &mem_cases[i];
        x64_load(&t.a, wide, reg, c->m);
        expect("mov %s,%s PTR %s", r, size_name(w), c->text);
        x64_store(&t.a, wide, c->m, reg);
        expect("mov %s PTR %s,%s", size_name(w), c->text, r);
        x64_lea(&t.a, wide, reg, c->m);
        expect("lea %s,%s", r, c->text);
        x64_mov_mi(&t.a, wide, c->m, imms[i % 4]);
        expect("mov %s PTR %s,%s", size_name(w), c->text,
               imm_text(imms[i % 4], wide, text, sizeof(text)));
    }
}

TEST(moves)
{
    static const u64 values[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull,
                                 0xffffffff80000000, 0xffffffff7fffffff, 0x123456789abcdef0};
    begin();
    make_mem_cases();
    for (unsigned i = 0; i < NREGS; i++) {
        moves_of(regs[i], false);
        moves_of(regs[i], true);
        for (unsigned j = 0; j < NREGS; j++) {
            x64_mov32(&t.a, regs[i], regs[j]);
            expect("mov %s,%s", gpr(regs[i], 4), gpr(regs[j], 4));
            if (i == j)
                continue; /* nothing to do */
            x64_mov(&t.a, regs[i], regs[j]);
            expect("mov %s,%s", gpr(regs[i], 8), gpr(regs[j], 8));
        }
        for (unsigned k = 0; k < ARRAY_LEN(values); k++) {
            u64 v = values[k];
            bool low = v == (u32)v, sign = (s64)v == (s32)v;
            x64_mov_ri(&t.a, regs[i], v);
            expect("%s %s,0x%llx", low || sign ? "mov" : "movabs", gpr(regs[i], low ? 4 : 8),
                   (unsigned long long)v);
        }
        for (unsigned cc = 0; cc < 16; cc++) {
            x64_setcc(&t.a, (enum x64_cc)cc, regs[i]);
            expect("set%s %s", cc_names[cc], gpr(regs[i], 1));
        }
    }
    check_all();
}

TEST(accesses_outside_the_table)
{
    static const struct x64_insn_info ldmxcsr = {"ldmxcsr", 0, 1, 0xae, 0},
                                      cmpxchg16b = {"cmpxchg16b", 0, 1, 0xc7, 0};
    begin();
    make_mem_cases();
    for (unsigned i = 0; i < nmem; i++) {
        x64_insn_mem(&t.a, &ldmxcsr, 2, mem_cases[i].m);
        expect("ldmxcsr DWORD PTR %s", mem_cases[i].text);
        x64_insn_mem_wide(&t.a, &cmpxchg16b, 1, mem_cases[i].m);
        expect("cmpxchg16b %s", mem_cases[i].text);
        x64_jmp_mem(&t.a, mem_cases[i].m);
        expect("jmp QWORD PTR %s", mem_cases[i].text);
        x64_call_mem(&t.a, mem_cases[i].m);
        expect("call QWORD PTR %s", mem_cases[i].text);
    }
    check_all();
}

TEST(jumps)
{
    begin();
    for (unsigned cc = 0; cc < 16; cc++) {
        u8 *at = x64_jcc(&t.a, (enum x64_cc)cc, false);
        x64_patch(at, t.code + cc);
        expect("j%s 0x%x", cc_names[cc], cc);
    }
    x64_patch(x64_jmp(&t.a, false), t.code + 0x1234);
    expect("jmp 0x1234");
    x64_patch(x64_call(&t.a, false), t.code);
    expect("call 0x0");
    x64_jmp_to(&t.a, t.code + 0x40, 0);
    expect("jmp 0x40");
    for (unsigned i = 0; i < NREGS; i++) {
        x64_jmp_reg(&t.a, regs[i]);
        expect("jmp %s", gpr(regs[i], 8));
    }
    x64_ret(&t.a);
    expect("ret");
    x64_ud2(&t.a);
    expect("ud2");
    check_all();
}

/* A displacement that others may patch while the code runs lies in one cache line. */
TEST(patchable_displacements_stay_in_a_line)
{
    begin();
    for (unsigned i = 0; i < 200; i++) {
        u8 *at = i % 3 == 0   ? x64_jcc(&t.a, XCC_E, true)
                 : i % 3 == 1 ? x64_jmp(&t.a, true)
                              : x64_call(&t.a, true);
        CHECK((uintptr_t)at / 64 == ((uintptr_t)at + 3) / 64);
        x64_nops(&t.a, 1 + i % 9);
    }
}

/* Each length is one instruction, and they add up. */
TEST(nops)
{
    begin();
    for (unsigned n = 1; n < 30; n++) {
        u8 *start = t.a.p;
        x64_nops(&t.a, n);
        CHECK_EQ(t.a.p - start, n);
    }
    char name[] = "/tmp/lyre-test-asm-XXXXXX", line[512];
    FILE *f = disassemble(name);
    unsigned count = 0, want = 0;
    for (unsigned n = 1; n < 30; n++)
        want += (n + 8) / 9;
    while (f && fgets(line, sizeof(line), f)) {
        if (line[0] != ' ')
            continue;
        CHECK(strstr(line, "nop") || strstr(line, "xchg   ax,ax"));
        count++;
    }
    CHECK_EQ(count, want);
    if (f)
        pclose(f);
    unlink(name);
}

TEST(a_full_buffer_is_reported)
{
    u8 small[4];
    struct x64_asm a = {.p = small, .start = small, .end = small + sizeof(small)};
    x64_mov_ri(&a, R8, 1);
    CHECK(a.overflow);
    CHECK(a.p == a.end);
}

struct test *test_list, **test_tail = &test_list;
int test_failures;

int main(void)
{
    int n = 0, bad = 0;
    if (system("objdump --version >/dev/null 2>&1")) {
        printf("1..0 # SKIP objdump is not installed\n");
        return 0;
    }
    for (struct test *x = test_list; x; x = x->next) {
        int before = test_failures;
        x->run();
        bad += test_failures != before;
        printf("%sok %d %s\n", test_failures != before ? "not " : "", ++n, x->name);
    }
    printf("1..%d\n", n);
    free(t.code);
    free(t.list);
    free(t.texts);
    return bad ? 1 : 0;
}
