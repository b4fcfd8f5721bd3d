/* What Linux on one architecture looks like to its programs: one const row each, the only place in
 * user mode that knows a guest by name. */
#ifndef LYRE_USER_LINUX_ABI_H
#define LYRE_USER_LINUX_ABI_H

#include "user/linux/syscall.h"
#include "user/process.h"

/* Pairs of bits, ended by {0, 0}. Bits that are not listed are the same on both sides. */
struct abi_bits {
    u32 guest, host;
};

/* A signal about to be delivered. */
struct abi_frame {
    int sig;
    const siginfo_t *info;
    struct sig_action action;
    u64 mask;           /* to be restored by sigreturn */
    u64 sp;             /* where the frame goes: below this */
    u64 alt_sp, alt_size;
    u32 alt_flags;      /* sigaltstack's, as uc_stack shows them */
    bool fault;         /* a memory fault: addr, access, mapped are valid */
    u64 addr;
    enum ir_access access;
    bool mapped;        /* the address is mapped: a permission fault */
};

/* What a frame held, after abi->frame_pop(). */
struct abi_return {
    u64 mask, alt_sp, alt_size;
    u32 alt_flags;
};

/* The vDSO: functions as words of the guest's code. Offsets are from the start of the code. */
struct abi_vdso_symbol {
    const char *name;
    u16 at, size;
};

struct abi_vdso {
    const char *soname, *version;
    const void *code;
    u32 size;
    u32 sigreturn; /* where signal handlers return to */
    const struct abi_vdso_symbol *symbol;
    u8 symbols;
};

struct abi {
    const char *isa;      /* name of the struct isa */
    const char *machine;  /* uname */
    const char *platform; /* AT_PLATFORM; NULL: none */
    const char *debian;   /* name of the architecture in Debian's packages */
    const u16 *numbers;   /* system call number -> sys_id + 1 */
    const unsigned *number_count;
    const char *reg_number, *reg_arg[6], *reg_result, *reg_sp, *reg_tls;
    u8 syscall_insn;      /* bytes of the instruction that makes a system call */
    bool clone_tls_first; /* clone's 4th argument is tls and the 5th ctid (else the other way) */
    u64 top;              /* end of its programs' addresses; 0: as far as the host's go */
    u64 pie_base;         /* where programs that can be anywhere are put */
    u32 min_sigstack;     /* AT_MINSIGSTKSZ; also the least that sigaltstack takes */
    struct abi_vdso vdso;
    /* Pages that indirect branches may enter at landing pads only, 0: none. The bit of mmap and mprotect, of
     * AT_HWCAP2, and by which property of an ELF file its segments are such. */
    u32 prot_guarded, hwcap2_guarded;
    struct {
        u32 type, bit;
    } property_guarded;
    const struct abi_bits *open_flags;
    const struct sys_layout *const *layout; /* by enum sys_struct; NULL: as the host's */

    /* One CPU's part of /proc/cpuinfo, number n, with a vCPU that is like it. */
    void (*cpuinfo)(FILE *out, unsigned n, struct vcpu *cpu);
    /* New random keys for pointer authentication: those of a set of PR_PAC_AP*KEY, or all for 0. NULL, or
     * false: the CPU has none. */
    bool (*new_keys)(struct thread *t, u64 set);
    /* Write a signal frame and set the registers for the handler. False: the stack cannot be
     * written. */
    bool (*frame_push)(struct thread *t, const struct abi_frame *f);
    /* Read the frame that sp points to and set the registers. False: it is damaged. */
    bool (*frame_pop)(struct thread *t, struct abi_return *r);
};

/* NULL: no such row. */
const struct abi *abi_for(const struct isa *isa);

#endif
