/* The registers as `info registers` shows them: the layout that scripts know. */
#include <stdio.h>

#include "isa/aarch64/state.h"
#include "isa/aarch64/system.h"

enum { CPACR_FPEN = 20 };
enum { FLAG_N = 1u << 31, FLAG_Z = 1u << 30, FLAG_C = 1u << 29, FLAG_V = 1u << 28 };

static void show_vectors(struct vcpu *cpu, FILE *to)
{
    v128 q;
    fprintf(to, "     FPCR=%08x FPSR=%08x\n", (u32)vcpu_get(cpu, isa_reg_find(cpu->isa, "fpcr")),
            (u32)vcpu_get(cpu, isa_reg_find(cpu->isa, "fpsr")));
    for (unsigned i = 0; i < 32; i++) {
        char name[8];
        snprintf(name, sizeof(name), "v%u", i);
        vcpu_reg_get(cpu, isa_reg_find(cpu->isa, name), &q);
        fprintf(to, "Q%02u=%016llx:%016llx%c", i, (unsigned long long)q.d[1], (unsigned long long)q.d[0], i & 1 ? '\n' : ' ');
    }
}

void a64_show(struct vcpu *cpu, FILE *to)
{
    fprintf(to, " PC=%016llx ", (unsigned long long)vcpu_pc(cpu));
    for (unsigned i = 0; i <= 31; i++) {
        char name[8];
        snprintf(name, sizeof(name), i == 31 ? "sp" : "x%u", i);
        u64 v = vcpu_get(cpu, isa_reg_find(cpu->isa, name));
        char end = i == 31 || i % 3 == 1 ? '\n' : ' ';
        if (i == 31)
            fprintf(to, " SP=%016llx%c", (unsigned long long)v, end);
        else
            fprintf(to, "X%02u=%016llx%c", i, (unsigned long long)v, end);
    }
    u32 p = (u32)vcpu_get(cpu, isa_reg_find(cpu->isa, "pstate"));
    fprintf(to, "PSTATE=%08x %c%c%c%c EL%u%c", p, p & FLAG_N ? 'N' : '-', p & FLAG_Z ? 'Z' : '-', p & FLAG_C ? 'C' : '-',
            p & FLAG_V ? 'V' : '-', p >> 2 & 3, p & 1 ? 'h' : 't');
    bool enabled = a64_state(cpu->env)->cpacr_el1 >> CPACR_FPEN & 1;
    if (enabled)
        show_vectors(cpu, to);
    else
        fprintf(to, "    FPU disabled\n");
}
