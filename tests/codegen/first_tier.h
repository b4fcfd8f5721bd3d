/* The first tier without an engine around it: code is lifted, allocated and emitted, and not run. */
#ifndef LYRE_TESTS_CODEGEN_FIRST_TIER_H
#define LYRE_TESTS_CODEGEN_FIRST_TIER_H

#include "base/err.h"
#include "cpu/lift.h"
#include "cpu/vcpu.h"
#include "jit/cache/cache.h"

struct first_tier {
    struct ir_region ir;
    struct ir_builder b;
    struct ra ra;
    struct host_cpu cpu;
    struct jit_cache cache;
    struct host_buf buf;
    struct vcpu vcpu;
};

/* level: of the host's instructions; cache_size: bytes of code memory, enough for all that will be kept. */
bool first_tier_start(struct first_tier *t, const struct isa *isa, const char *level, size_t cache_size, struct err *e);
void first_tier_stop(struct first_tier *t);

/* Lift a block at pc from `code`, `len` bytes, into t->ir. peek: as in struct lift. Returns where it ended. */
u64 first_tier_lift(struct first_tier *t, u64 pc, const u8 *code, size_t len, unsigned max_insns,
                    size_t (*peek)(struct lift *l, u64 pc, void *to, size_t len));

#endif
