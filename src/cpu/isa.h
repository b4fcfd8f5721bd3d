/* What a guest instruction set gives to the rest of the system: one const struct isa. Nothing
 * outside src/isa/<g>/ knows more about a guest than what stands here. */
#ifndef LYRE_CPU_ISA_H
#define LYRE_CPU_ISA_H

#include <stdio.h>

#include "base/err.h"
#include "base/types.h"
#include "jit/ir/env.h"
#include "jit/ir/slots.h"

struct lift;
struct vcpu;
struct ir_helper;
struct isa_system;

/* A register that is not one slot but is computed from several: a flags word, a status register. */
struct isa_reg {
    const char *name;
    u8 bytes;
    void (*get)(struct vcpu *cpu, v128 *value);
    void (*set)(struct vcpu *cpu, const v128 *value);
};

/* What guest code asks for with a `raise` (struct vcpu_exit.code). Guests share these codes so that
 * user mode and machines treat them alike. */
enum isa_raise {
    ISA_RAISE_SYSCALL,    /* arg: immediate of the instruction */
    ISA_RAISE_BREAK,      /* breakpoint instruction; arg: its immediate; pc is the instruction's */
    ISA_RAISE_UNDEFINED,  /* pc is the instruction's; arg: its encoding */
    ISA_RAISE_UNALIGNED = IR_RAISE_UNALIGNED, /* data access; arg: address */
    ISA_RAISE_PC_ALIGN,   /* branch to a misaligned pc */
    ISA_RAISE_FP_TRAP,    /* arg: FP_* flags */
    ISA_RAISE_CACHE,      /* instruction cache maintenance of the line at arg */
    ISA_RAISE_CACHE_ALL,  /* the same for all addresses */
    ISA_RAISE_RESYNC,     /* a mode bit changed: compute the region key again and go on */
    ISA_RAISE_INSN,       /* machines: struct isa_system.exit carries out the instruction at pc; arg: its encoding */
};

/* How a guest with condition flags has them treated where blocks end. */
struct isa_flags {
    u16 slot;
    /* Before an exit of a block that goes on at one of two addresses: store no flags that nobody will see. */
    void (*end)(struct lift *l, u64 yes, u64 no);
    /* May the block end at l->pc, because another starts there? Not with flags that are about to be read. */
    bool (*may_join)(struct lift *l);
    /* May it end there at all? Not with flags from before it that rest on registers as they were then. */
    bool (*may_stop)(struct lift *l);
};

struct isa {
    const char *name; /* "aarch64" */
    u16 elf_machine;
    u8 elf_class; /* 1: 32 bit, 2: 64 bit; 0: both */
    bool big_endian;
    u8 insn_align; /* log2 of the alignment of instructions */
    u8 max_insn;   /* bytes */
    u8 tag_bits;   /* top bits of a data address that are ignored for programs */

    struct ir_slots slots;
    u16 link;      /* the slot that calls leave the return address in */
    const struct isa_reg *regs; /* derived registers, ended by a NULL name */
    const struct ir_helper *helpers;

    /* Power-on values. `cpu_name` NULL is the default model; an unknown one fails and lists the
     * names. */
    bool (*init)(struct vcpu *cpu, const char *cpu_name, struct err *e);
    void (*reset)(struct vcpu *cpu);

    /* The mode bits that code depends on, apart from its address (struct ir_env.key). */
    u32 (*key)(const struct vcpu *cpu);

    /* Append the instructions of one basic block at l->pc to the region under construction. */
    void (*lift)(struct lift *l);
    const struct isa_flags *flags; /* NULL: there are none */
    /* Is the function at pc so short and simple that a hot call becomes a copy of it? */
    bool (*is_small_leaf)(struct lift *l, u64 pc);
    /* Where the direct call goes that returns to `back`; 0: there is none. */
    u64 (*call_before)(struct lift *l, u64 back);

    /* Bytes of the instruction at `code` and its text; 0 bytes when `len` is too short. */
    unsigned (*disas)(const u8 *code, size_t len, u64 pc, char *text, size_t size);

    /* Name of the i-th CPU model; NULL behind the last. The first is the default. */
    const char *(*model_name)(unsigned i);

    /* The model's instruction set as the architecture's documents write it ("rv64imac_zicsr"), cut to `size`;
     * NULL: they have no such form. */
    void (*describe)(const struct vcpu *cpu, char *text, size_t size);

    /* The registers as monitors show them; NULL: by their table. */
    void (*show)(struct vcpu *cpu, FILE *to);

    /* Linux HWCAP words of the model, for AT_HWCAP and AT_HWCAP2. */
    void (*hwcap)(const struct vcpu *cpu, u64 cap[2]);

    const struct isa_system *system; /* what machines need (cpu/system.h); NULL: programs only */
};

extern const struct isa isa_aarch64, isa_riscv32, isa_riscv64;

/* All guests that are built in, ended by NULL. */
extern const struct isa *const isa_list[];
const struct isa *isa_by_name(const char *name);
const struct isa *isa_by_elf(u16 machine, u8 elf_class, bool big_endian);

#endif
