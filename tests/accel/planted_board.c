#include "planted_board.h"

#include <stdio.h>

#include "isa/aarch64/bare/board.h"

#define ENTRY   (PLANTED_CODE - 0x1000)
#define VECTORS (ENTRY + 0x800)
#define TABLE   0x40600000
#define TIMES   9 /* index of the instruction that says how often */

/* Translation with one level and 4 KiB granules: a gigabyte of memory at its own address, nothing else. */
static const u64 table[512] = {[1] = 0x40000701};

static const u32 before[] = {
    0x10004009, /* adr x9, VECTORS */
    0xd518c009, /* msr vbar_el1, x9 */
    0xd2801fe9, /* mov x9, #0xff */
    0xd518a209, /* msr mair_el1, x9 */
    0xd286a329, /* mov x9, #0x3519 */
    0xf2a01009, /* movk x9, #0x80, lsl #16 */
    0xd5182049, /* msr tcr_el1, x9 */
    0xd2a80c09, /* mov x9, #TABLE */
    0xd5182009, /* msr ttbr0_el1, x9 */
    0xd280001b, /* mov x27, #0: so many times */
    0xd538100a, /* mrs x10, sctlr_el1 */
    0xd28200ab, /* mov x11, #0x1005 */
    0xaa0b014a, /* orr x10, x10, x11 */
    0xd518100a, /* msr sctlr_el1, x10 */
    0xd5033fdf, /* isb */
    0xd2a80a00, /* again: mov x0, #PLANTED_DATA */
    0xd2800061, /* mov x1, #0x3 */
    0xd2b00002, /* mov x2, #0x80000000 */
    0x140003ee, /* b PLANTED_CODE */
};

/* Of synchronous exceptions from the level itself. */
static const u32 handler[] = {
    0xd538521c, /* mrs x28, esr_el1 */
    0xd35aff9c, /* lsr x28, x28, #26 */
    0xf100579f, /* cmp x28, #0x15: SVC */
    0x540000a0, /* b.eq 1f */
    0xd538403c, /* mrs x28, elr_el1 */
    0x9100139c, /* add x28, x28, #0x4 */
    0xd518403c, /* msr elr_el1, x28 */
    0xd69f03e0, /* eret */
    0xf100077b, /* 1: subs x27, x27, #0x1 */
    0x54ffb0c1, /* b.ne again */
    0xd2b08000, /* mov x0, #0x84000000 */
    0xf2800100, /* movk x0, #0x8: SYSTEM_OFF */
    0xd4000002, /* hvc #0 */
};

bool planted_board_run(const struct engine_opts *opts, const u32 *program, size_t words, const u64 *data, size_t doublewords,
                       unsigned times, unsigned seconds)
{
    struct err e;
    struct board *b = board_new("max", 1, opts, &e);
    if (!b) {
        fprintf(stderr, "%s\n", e.text);
        return false;
    }
    const u32 count = before[TIMES] | times << 5;
    struct mem_space *m = board_memory(b);
    mem_load(m, TABLE, table, sizeof(table));
    mem_load(m, PLANTED_DATA, data, doublewords * sizeof(*data));
    mem_load(m, ENTRY, before, sizeof(before));
    mem_load(m, ENTRY + TIMES * sizeof(u32), &count, sizeof(count));
    mem_load(m, VECTORS + 0x200, handler, sizeof(handler));
    mem_load(m, PLANTED_CODE, program, words * sizeof(*program));
    bool off = board_run(b, ENTRY, seconds);
    board_free(b);
    return off;
}
