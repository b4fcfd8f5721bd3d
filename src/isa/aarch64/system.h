/* The system level of AArch64: EL1 and EL0 of a machine (Arm ARM, chapters D1 to D13). Inside this folder. All of it
 * runs on the vCPU's thread with precise state, the timers' outputs apart. */
#ifndef LYRE_ISA_AARCH64_SYSTEM_H
#define LYRE_ISA_AARCH64_SYSTEM_H

#include <pthread.h>

#include "cpu/port.h"
#include "cpu/system.h"
#include "cpu/vcpu.h"
#include "event/vclock.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/state.h"

extern const struct isa_system a64_system;

/* Modes of struct isa_system: who accesses memory. */
enum a64_mode { A64_MODE_EL0, A64_MODE_EL1, A64_MODE_EL1_PAN, A64_MODES };

enum a64_timer_id { A64_TIMER_PHYSICAL, A64_TIMER_VIRTUAL, A64_TIMERS };

/* struct vcpu.system */
struct a64_cpu {
    struct vcpu *cpu;
    pthread_mutex_t lock; /* of the registers of timers and monitors against their alarms */
    struct a64_timer {
        struct vtimer alarm;
        struct a64_cpu *of;
        enum a64_timer_id id;
    } timer[A64_TIMERS];
    struct a64_monitors { /* under the lock, too */
        struct vtimer alarm; /* when a counter overflows */
        struct a64_cpu *of;
        u32 running;    /* a bit for each counter that counts time */
        u64 since;      /* from when on */
        bool el1;       /* the level that they count at */
        _Atomic bool by_level; /* what runs depends on it; the vCPU may ask without the lock */
    } monitors;
    struct a64_watch {
        u64 first, bytes; /* a power of two, and a multiple of it; 0 bytes: off */
    } watch[A64_WATCHPOINTS];
    bool watches;        /* one of them is on */
    bool unsynchronised; /* other CPUs were asked to flush translations, and no DSB waited for them yet */
};

static inline struct a64_state *a64_of(const struct vcpu *cpu)
{
    return a64_state(cpu->env);
}

static inline bool a64_at_el1(const struct a64_state *s)
{
    return s->pstate & A64_PSTATE_EL;
}

/* Fields of registers. */
#define SCTLR_M     (1ull << 0)
#define SCTLR_A     (1ull << 1)
#define SCTLR_SA    (1ull << 3)
#define SCTLR_SA0   (1ull << 4)
#define SCTLR_UMA   (1ull << 9)
#define SCTLR_ENDB  (1ull << 13)
#define SCTLR_DZE   (1ull << 14)
#define SCTLR_UCT   (1ull << 15)
#define SCTLR_NTWI  (1ull << 16)
#define SCTLR_NTWE  (1ull << 18)
#define SCTLR_WXN   (1ull << 19)
#define SCTLR_SPAN  (1ull << 23)
#define SCTLR_BIG   (3ull << 24)
#define SCTLR_UCI   (1ull << 26)
#define SCTLR_ENDA  (1ull << 27)
#define SCTLR_ENIB  (1ull << 30)
#define SCTLR_ENIA  (1ull << 31)
#define SCTLR_BT0   (1ull << 35)
#define SCTLR_BT1   (1ull << 36)
#define SCTLR_DSSBS (1ull << 44)
#define SCTLR_EPAN  (1ull << 57)
#define MDSCR_SS    (1ull << 0)
#define MDSCR_TDCC  (1ull << 12)
#define MDSCR_KDE   (1ull << 13)
#define MDSCR_MDE   (1ull << 15)
#define TCR_A1      (1ull << 22)
#define TCR_AS      (1ull << 36)

/* ---- exceptions (exception.c) ---- */

/* Classes of ESR_EL1.EC; where a lower level has one of its own, that is the one here, and the next number the same
 * level's. */
enum a64_class {
    A64_EC_UNKNOWN = 0x00,
    A64_EC_WAIT = 0x01,
    A64_EC_FP = 0x07,
    A64_EC_LANDING = 0x0d,
    A64_EC_ILLEGAL = 0x0e,
    A64_EC_SVC = 0x15,
    A64_EC_HVC = 0x16,
    A64_EC_SMC = 0x17,
    A64_EC_REGISTER = 0x18,
    A64_EC_INSN_ABORT = 0x20,
    A64_EC_PC_ALIGN = 0x22,
    A64_EC_DATA_ABORT = 0x24,
    A64_EC_SP_ALIGN = 0x26,
    A64_EC_ERROR = 0x2f,
    A64_EC_BREAKPOINT = 0x30,
    A64_EC_STEP = 0x32,
    A64_EC_WATCHPOINT = 0x34,
    A64_EC_BRK = 0x3c,
};

/* The instruction-specific syndrome of an abort: ISS bits beside the fault status. */
#define A64_ISS_WRITE       (1u << 6)
#define A64_ISS_MAINTENANCE (1u << 8)

/* Take a synchronous exception to EL1 that returns to the pc. */
void a64_take(struct vcpu *cpu, enum a64_class class, u32 iss);
/* The same with FAR_EL1. */
void a64_take_at(struct vcpu *cpu, enum a64_class class, u32 iss, u64 far);
void a64_take_data_abort(struct vcpu *cpu, const struct isa_fault *f, u32 iss);
void a64_take_insn_abort(struct vcpu *cpu, const struct isa_fault *f);
/* The instruction is undefined. */
void a64_take_undefined(struct vcpu *cpu);
bool a64_take_interrupt(struct vcpu *cpu);
/* The instruction that was to be stepped has been. */
void a64_take_step(struct vcpu *cpu);
void a64_take_breakpoint(struct vcpu *cpu);
void a64_take_watchpoint(struct vcpu *cpu, u64 far, bool write);
/* To an address with the PSTATE that SPSR_EL1 has. */
void a64_return(struct vcpu *cpu, u64 to);
/* PSTATE.SP or the level changes. */
void a64_select_sp(struct a64_state *s, u64 pstate);
/* struct isa.show */
void a64_show(struct vcpu *cpu, FILE *to);
/* DFSC or IFSC of a fault. */
u32 a64_fault_status(const struct isa_fault *f);

/* ---- self-hosted debug (debug.c) ---- */

/* Are debug exceptions, but those of BRK, enabled where PSTATE is this? */
bool a64_debug_enabled(const struct a64_state *s, u64 pstate);
/* A register of it was written, or of what enables it. */
void a64_debug_changed(struct vcpu *cpu);
/* Has the instruction at pc, which is about to run, a breakpoint? */
bool a64_breaks(const struct a64_state *s, u64 pc);
/* May any have, wherever it is? */
bool a64_breaks_anywhere(const struct a64_state *s);
/* struct isa_system */
bool a64_watches(const struct vcpu *cpu, u64 addr, u64 bytes);
bool a64_caught(struct vcpu *cpu, u64 addr, unsigned bytes, unsigned accesses, unsigned mode, struct isa_fault *fault);

/* ---- landing pads (landing.c) ---- */

/* May the branch whose type is in the low bits of pc land there? */
bool a64_lands(struct vcpu *cpu, u64 pc);
/* The type from there to PSTATE.BTYPE, for an exception that is about to be taken. */
void a64_settle_pc(struct vcpu *cpu);
/* The branch that led to the pc may not land there. */
void a64_take_landing(struct vcpu *cpu);
/* The same if a return to the pc with this PSTATE.BTYPE may not. */
void a64_check_return(struct vcpu *cpu, unsigned type);
/* The branch at pc goes to an address that is not aligned. */
void a64_take_misaligned_branch(struct vcpu *cpu, u32 insn, u64 to);

/* ---- translation (walk.c) ---- */

bool a64_translate(struct vcpu *cpu, u64 addr, enum ir_access access, unsigned mode, struct isa_page *page,
                   struct isa_fault *fault);
/* The same for AT instructions: nothing is marked as written, and attr is the memory's as PAR_EL1 gives it:
 * ATTR in bits 63..56, SH in 8..7. */
bool a64_translate_for_at(struct vcpu *cpu, u64 addr, enum ir_access access, unsigned mode, struct isa_page *page,
                          u64 *attr, struct isa_fault *fault);
unsigned a64_context(const struct vcpu *cpu);
/* Instructions are fetched by addresses without a tag: a branch puts the sign in its place. */
u64 a64_plain_pc(const struct a64_state *s, u64 pc);
/* Bits of physical addresses by ID_AA64MMFR0_EL1.PARange or TCR_EL1.IPS. */
unsigned a64_physical_bits(unsigned range);

/* ---- system registers (register.c) ---- */

enum {
    A64_R0 = 1 << 0, A64_W0 = 1 << 1, A64_R1 = 1 << 2, A64_W1 = 1 << 3,
    A64_RW1 = A64_R1 | A64_W1, A64_R01 = A64_R0 | A64_R1, A64_RW01 = A64_R01 | A64_W0 | A64_W1,
};

/* What EL0 needs besides, or else the access traps to EL1. */
enum a64_gate {
    A64_GATE_NONE, A64_GATE_MASKS, A64_GATE_CTR, A64_GATE_COUNTER_P, A64_GATE_COUNTER_V, A64_GATE_FREQUENCY,
    A64_GATE_TIMER_P, A64_GATE_TIMER_V, A64_GATE_PMU, A64_GATE_PMU_CYCLES, A64_GATE_PMU_SW, A64_GATE_PMU_READ, A64_GATE_PMU_SELECT,
    A64_GATE_DEBUG, A64_GATES,
};

struct a64_register {
    u16 key;       /* enum a64_reg_key */
    u8 rights;     /* A64_R0 ... */
    u8 gate;       /* enum a64_gate */
    u8 feature;    /* without it there is no such register; 0: always */
    u8 slot;       /* where it is kept, or 0 */
    u16 at;        /* offset in struct a64_state where it is kept, or 0 */
    u64 fixed;     /* bits that writes leave alone */
    u64 (*read)(struct vcpu *cpu);           /* NULL: as kept */
    void (*write)(struct vcpu *cpu, u64 v);  /* NULL: keep it */
    void (*wrote)(struct vcpu *cpu);         /* NULL, or what follows from keeping it */
    bool constant; /* an ID register: a64_machine_id() */
};

/* Sorted by key. */
extern const struct a64_register a64_registers[];
extern const unsigned a64_registers_count;

/* NULL: there is no such register on this model. */
const struct a64_register *a64_register(const struct a64_model *m, u32 key);
/* May EL0 access it, as far as the gate goes? */
bool a64_gate_open(const struct a64_state *s, enum a64_gate gate, bool write);

/* The word at an address, or at the pc; 0 if it cannot be fetched. */
u32 a64_insn_at(struct vcpu *cpu, u64 pc);
u32 a64_insn_at_pc(struct vcpu *cpu);

/* MRS and MSR, and every other instruction that is left to C. */
enum isa_next a64_execute(struct vcpu *cpu, u32 insn);
void a64_execute_move(struct vcpu *cpu, u32 insn);

/* SYS: caches, TLB, address translation (maintain.c). */
void a64_execute_sys(struct vcpu *cpu, u32 insn);
/* Caches are coherent: is all of the SYS instruction that its address may fault? op: op1, CRn, CRm, op2. */
bool a64_only_reaches(const struct a64_model *m, u32 op);
u64 a64_general(const struct a64_state *s, unsigned reg);

/* Value of an ID register of EL1 in a machine: what the CPU has and lyre does. False: it is none (id.c). */
bool a64_machine_id(const struct a64_model *m, u32 key, u64 *value);
u64 a64_cache_size(const struct a64_model *m, u64 selected);
/* PMCR_EL0 at reset. */
u64 a64_pmcr(const struct a64_model *m);

/* ---- timers and counters (timer.c) ---- */

u64 a64_counter(const struct vcpu *cpu);
u64 a64_timer_ctl(struct vcpu *cpu, enum a64_timer_id id);
u64 a64_timer_tval(struct vcpu *cpu, enum a64_timer_id id);
void a64_timer_set_ctl(struct vcpu *cpu, enum a64_timer_id id, u64 v);
void a64_timer_set_cval(struct vcpu *cpu, enum a64_timer_id id, u64 v);
void a64_timer_set_tval(struct vcpu *cpu, enum a64_timer_id id, u64 v);
void a64_timers_init(struct a64_cpu *c);
void a64_timers_free(struct a64_cpu *c);
void a64_timers_reset(struct a64_cpu *c);

/* ---- performance monitors (monitors.c) ---- */

/* Counters are numbered as in registers: events from 0 on, cycles 31. Numbers that there are not read as 0. */
u64 a64_count(struct vcpu *cpu, unsigned number);
void a64_set_count(struct vcpu *cpu, unsigned number, u64 v);
u64 a64_count_type(const struct vcpu *cpu, unsigned number);
void a64_set_count_type(struct vcpu *cpu, unsigned number, u64 v);
void a64_set_pmcr(struct vcpu *cpu, u64 v);
/* The bits that a register, one of a pair to set and to clear, is to have from now on. */
void a64_set_counting(struct vcpu *cpu, u64 v);
void a64_set_count_interrupts(struct vcpu *cpu, u64 v);
void a64_set_overflows(struct vcpu *cpu, u64 v);
u64 a64_overflows(struct vcpu *cpu);
/* PMSWINC_EL0 */
void a64_count_software(struct vcpu *cpu, u64 v);
/* The level changed. */
void a64_monitors_level(struct vcpu *cpu);
void a64_monitors_init(struct a64_cpu *c);
void a64_monitors_free(struct a64_cpu *c);
void a64_monitors_reset(struct a64_cpu *c);

/* ---- power (psci.c) ---- */

/* A call by HVC or SMC. False: nobody answers it. */
bool a64_psci(struct vcpu *cpu, enum cpu_conduit by, enum isa_next *next);

/* The machine's part of struct isa.key. */
u32 a64_machine_key(const struct a64_state *s);

#endif
