/* What an instruction set gives to whole machines, beyond what programs need: one const struct isa_system,
 * found in struct isa. Its functions are called on the vCPU's own thread, with its state precise and out of
 * translated code, unless they say otherwise. */
#ifndef LYRE_CPU_SYSTEM_H
#define LYRE_CPU_SYSTEM_H

#include "base/types.h"
#include "jit/ir/env.h"

struct vcpu;
struct vcpu_exit;
struct cpu_port;

/* Why an address has no translation, or an access none to answer it. Levels count the tables of a walk. */
enum isa_fault_kind {
    ISA_FAULT_NONE,
    ISA_FAULT_TRANSLATION, /* nothing is mapped there */
    ISA_FAULT_PERMISSION,
    ISA_FAULT_ACCESSED,    /* the entry was never used, and software is to be told */
    ISA_FAULT_SIZE,        /* an address has more bits than the CPU */
    ISA_FAULT_WALK,        /* a table could not be read */
    ISA_FAULT_BUS,         /* nothing answers, or something refuses */
    ISA_FAULT_UNALIGNED,   /* in memory that takes no such access */
    ISA_FAULT_UNSUPPORTED, /* an exclusive or atomic access to such memory */
    ISA_FAULT_WATCHED,     /* the guest wants to know of the access: struct isa_system.caught */
    ISA_FAULT_PC,          /* of fetches: struct isa_system.exit puts the pc right, and it goes on */
};

struct isa_fault {
    u64 addr; /* the first byte of the access that could not be reached */
    u8 kind;  /* enum isa_fault_kind */
    u8 level; /* of the walk, where that matters */
};

/* Where a piece of virtual addresses leads. It starts at a multiple of its size, a power of two. */
struct isa_page {
    u64 virt;     /* with the ignored top bits of the address that was asked for */
    u64 phys;
    u64 bytes;
    u8 rights;    /* a bit 1 << enum ir_access for what this mode may do without asking again */
    bool global;  /* of all address-space identifiers */
    bool device;  /* accesses are neither split nor made twice, and must be aligned */
    bool guarded; /* indirect branches land on landing pads only */
};

/* A mode is a translation regime and a privilege. Mode 0 is the least privileged: what IR_MEM_UNPRIV accesses use. */
#define ISA_MODES 4

/* What the loop of a vCPU does when an exit was dealt with. */
enum isa_next {
    ISA_NEXT_RUN,
    ISA_NEXT_WAIT,  /* until wakes() */
    ISA_NEXT_PAUSE, /* a moment, or until somebody sends an event: the guest spins */
};

struct isa_system {
    unsigned modes;

    /* The mode of the data accesses and of the fetches of code with this region key (struct isa.key). */
    unsigned (*mode)(u32 key);

    /* Power-on: the state of a CPU at reset in the most privileged level that there is, stopped. `index` is the
     * CPU's number in its machine. The first call makes what the port serves. */
    void (*reset)(struct vcpu *cpu, unsigned index);
    void (*free)(struct vcpu *cpu);

    /* A CPU after reset() goes to `pc` with one argument, as boot protocols and power interfaces say. */
    void (*start)(struct vcpu *cpu, u64 pc, u64 arg);

    /* Where does `addr` lead for an access of this kind in this mode? One walk of the guest's tables, which marks
     * entries as used and written where the architecture has hardware do that. False: *fault says why not.
     * A page may have fewer rights than its entry would give once it is written: then it is asked for again. */
    bool (*translate)(struct vcpu *cpu, u64 addr, enum ir_access access, unsigned mode, struct isa_page *page,
                      struct isa_fault *fault);

    /* Does the guest watch something in [addr, addr + bytes), a power of two and a multiple of it? Engines ask when
     * they look a page up, and again after a flush of it. */
    bool (*watches)(const struct vcpu *cpu, u64 addr, u64 bytes);

    /* Of a page where it does: is this access, which would not fault, one to be caught before it is made? Then *fault
     * says where. accesses: a bit 1 << enum ir_access for each thing that it does. */
    bool (*caught)(struct vcpu *cpu, u64 addr, unsigned bytes, unsigned accesses, unsigned mode, struct isa_fault *fault);

    /* The identifier that entries which are not global belong to from now on. */
    unsigned (*context)(const struct vcpu *cpu);

    /* Do what an exit of vcpu_run() asks for: take the exception that it means, or carry out an instruction
     * that was left to C (ISA_RAISE_INSN). */
    enum isa_next (*exit)(struct vcpu *cpu, const struct vcpu_exit *exit);

    /* Take an interrupt that is pending and not masked; false: there is none. Cheap. */
    bool (*interrupt)(struct vcpu *cpu);

    /* Would the CPU, waiting, go on now? Any thread may ask, under no lock. */
    bool (*wakes)(const struct vcpu *cpu);
};

#endif
