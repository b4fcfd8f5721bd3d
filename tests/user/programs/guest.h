/* What test programs need of the architecture that they are compiled for. */
#ifndef GUEST_H
#define GUEST_H

#ifndef _GNU_SOURCE
#error "prog.h, or _GNU_SOURCE, comes first: <ucontext.h> names no registers without it"
#endif

#include <stdint.h>
#include <ucontext.h>

#if defined(__aarch64__)

#define MACHINE          "aarch64"
#define PLATFORM         "aarch64" /* AT_PLATFORM */
#define HWCAP            3         /* FP, ASIMD: what every program may use */
#define CONTEXT_PC(uc)   ((uc)->uc_mcontext.pc)
#define CONTEXT_LINK(uc) ((uc)->uc_mcontext.regs[30])

#define UNDEFINED  ".inst 0x00000000"
#define BREAKPOINT "brk #7"
#define SYNC_FETCH "isb"

/* Code of a function that returns n, below 2048: its first instruction alone holds n. */
#define RETURN_WORDS 2
#define RETURN_FIRST(n) (0x52800000u | (uint32_t)(n) << 5) /* mov w0, #n */
#define RETURN_SECOND   0xd65f03c0u                        /* ret */

#elif defined(__riscv)

#define MACHINE          "riscv64"
#define PLATFORM         NULL
#define HWCAP            (1 << 8 | 1 << 12 | 1 << 0 | 1 << 5 | 1 << 3 | 1 << 2) /* I M A F D C */
#define CONTEXT_PC(uc)   ((uc)->uc_mcontext.__gregs[REG_PC])
#define CONTEXT_LINK(uc) ((uc)->uc_mcontext.__gregs[REG_RA])

#define UNDEFINED  ".word 0x00000000"
#define BREAKPOINT "ebreak"
#define SYNC_FETCH "fence.i"

#define RETURN_WORDS 2
#define RETURN_FIRST(n) (0x00000513u | (uint32_t)(n) << 20) /* li a0, n */
#define RETURN_SECOND   0x00008067u                         /* ret */

#endif

static inline void return_number(uint32_t *at, unsigned n)
{
    at[0] = RETURN_FIRST(n);
    at[1] = RETURN_SECOND;
}

#endif
