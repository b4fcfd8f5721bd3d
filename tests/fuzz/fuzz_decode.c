/* The A64 decoder, disassembler and lifters take any bytes: text that ends, and IR that verifies. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/lift.h"
#include "isa/aarch64/decode.h"
#include "isa/aarch64/state.h"

enum { PC = 0x400000 };

static void disassemble(uint32_t insn)
{
    char text[128], small[8];
    int n = a64_disas(insn, PC, text, sizeof(text));
    if (n <= 0 || (size_t)n != strlen(text) || n != a64_disas(insn, PC, small, sizeof(small)))
        abort();
    unsigned id = a64_decode_id(insn);
    if (id && (insn & a64_insns[id].mask) != a64_insns[id].value)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t insn;
        memcpy(&insn, data + i, 4);
        disassemble(insn);
    }
    struct err e = {0};
    struct a64_model model;
    struct ir_region r;
    struct ir_builder *b = malloc(sizeof(*b));
    ir_region_init(&r);
    ir_region_start(&r, &isa_aarch64.slots, PC);
    ir_build_start(b, &r);
    if (!a64_model_find("max", &model, &e))
        abort();
    struct lift l = {.b = b, .isa = &isa_aarch64, .model = &model, .start = PC,
                     .code = data, .code_len = size, .max_insns = 64, .pc = PC};
    isa_aarch64.lift(&l);
    if (!l.ended || !ir_verify(&r, isa_aarch64.helpers, &e)) {
        fprintf(stderr, "invalid IR: %s\n", e.text);
        abort();
    }
    ir_region_free(&r);
    free(b);
    return 0;
}
