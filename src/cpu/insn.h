/* Instructions as data: what the tables of every guest (*.isa) say about an encoding, and the text that
 * disassemblers write. All functions are pure and may be called from any thread. */
#ifndef LYRE_CPU_INSN_H
#define LYRE_CPU_INSN_H

#include "base/types.h"

/* What an instruction may do beyond reading and writing registers. One that writes the flags in part or
 * only in some cases (Arm's MSR, RMIF, SETF8) counts as reading them too, so whoever looks for the
 * instruction that kills the flags asks first whether they are read. */
enum insn_effects {
    INSN_READS_FLAGS = 1 << 0,
    INSN_WRITES_FLAGS = 1 << 1,
    INSN_LOADS = 1 << 2,      /* reads memory: may fault */
    INSN_STORES = 1 << 3,     /* writes memory: may fault */
    INSN_ENDS_BLOCK = 1 << 4, /* may branch, trap or change the translation context */
    INSN_USES_FPSR = 1 << 5,  /* depends on the rounding mode and may set sticky flags */
    INSN_TODO = 1 << 6,       /* known, but there is no lift function yet */
    INSN_NODIFF = 1 << 7,     /* not for the random differential test */
    INSN_LIGHT = 1 << 8,      /* computes general registers alone, in less time than a branch may take */
};

/* One encoding: a line of the tables. */
struct insn {
    const char *name; /* unique; the mnemonic plus the form, such as "add_imm" */
    u32 mask, value;  /* (word & mask) == value for all its words */
    u16 id;           /* its index in the guest's array of these */
    u16 effects;      /* enum insn_effects, or-ed */
    u16 feature;      /* of the guest; undefined on a CPU without it */
    u8 bytes;
    u8 oracle;        /* of the guest: what its meaning is checked against; 0: the tests' default */
};

/* What an encoding needs when one feature does not say it: all of some, and one of others. */
struct insn_needs {
    u64 all, any; /* a bit for each feature; any is 0 when there is no choice */
};

static inline bool insn_needs_met(const struct insn_needs *n, u64 features)
{
    return (features & n->all) == n->all && (!n->any || features & n->any);
}

/* A random word with the fixed bits of an encoding. `rng` is any non-zero state and is advanced. */
u32 insn_random_word(const struct insn *e, u64 *rng);

/* Text under construction. `used` goes on counting when `buf` is full; what is there is terminated. */
struct insn_text {
    char *buf;
    size_t size, used;
    u64 pc;       /* of the instruction */
    unsigned how; /* free for the guest */
};

/* The printers that templates in the *.isa tables of any guest may name: <dec:EXPR> calls put_dec(). */
void put_text(struct insn_text *t, const char *s);
void put_format(struct insn_text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void put_dec(struct insn_text *t, int v);
void put_hex(struct insn_text *t, u32 v);

#endif
