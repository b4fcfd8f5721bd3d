/* The decoder, disassembler and lifters of each guest take any bytes: text that ends, and IR that verifies. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/lift.h"
#include "cpu/vcpu.h"

enum { PC = 0x400000 };

/* A short buffer must not change how long the instruction is. */
static void disassemble(const struct isa *isa, const u8 *code, size_t size)
{
    char text[128], small[8];
    unsigned bytes;
    for (size_t at = 0; (bytes = isa->disas(code + at, size - at, PC + at, text, sizeof(text))); at += bytes) {
        if (bytes > size - at || bytes > isa->max_insn || !*text ||
            bytes != isa->disas(code + at, size - at, PC + at, small, sizeof(small)) ||
            strncmp(text, small, sizeof(small) - 1))
            abort();
    }
}

static void lift(const struct isa *isa, const u8 *code, size_t size)
{
    struct err e = {0};
    struct ir_region r;
    struct ir_builder *b = malloc(sizeof(*b));
    size_t room = ALIGN_UP(sizeof(struct ir_env) + isa->slots.size, (size_t)64);
    struct vcpu cpu = {.isa = isa, .env = aligned_alloc(64, room)};
    memset(cpu.env, 0, room);
    ir_region_init(&r);
    ir_region_start(&r, &isa->slots, PC);
    ir_build_start(b, &r);
    if (!isa->init(&cpu, "max", &e))
        abort();
    struct lift l = {.b = b, .isa = isa, .model = cpu.model, .key = isa->key(&cpu), .start = PC,
                     .code = code, .code_len = size, .max_insns = 64, .pc = PC};
    isa->lift(&l);
    if (!l.ended || !ir_verify(&r, isa->helpers, &e)) {
        fprintf(stderr, "%s: invalid IR: %s\n", isa->name, e.text);
        abort();
    }
    ir_region_free(&r);
    free(cpu.env);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; isa_list[i]; i++) {
        disassemble(isa_list[i], data, size);
        lift(isa_list[i], data, size);
    }
    return 0;
}
