/* What RISC-V programs ask Linux about their CPU, and the two calls that only they have. */
#ifndef LYRE_USER_LINUX_RISCV_H
#define LYRE_USER_LINUX_RISCV_H

#include <stdio.h>

#include "base/types.h"

struct vcpu;

/* Does an ISA string ("rv64imafdc_zicsr_zba") have this extension, by itself or as part of another one that
 * it names? One letter or a name that begins with 'z'. */
bool riscv_isa_has(const char *isa, const char *extension);

/* Bits of RISCV_HWPROBE_KEY_IMA_EXT_0 (Linux's Documentation/arch/riscv/hwprobe.rst) for an ISA string. */
u64 riscv_ima_ext_0(const char *isa);

/* The CPU's paragraph of /proc/cpuinfo, as number n. */
void riscv_cpuinfo(FILE *out, unsigned n, struct vcpu *cpu);

#endif
