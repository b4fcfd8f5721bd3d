/* Names of the text form that printer and parser share. */
#ifndef LYRE_JIT_IR_TEXT_H
#define LYRE_JIT_IR_TEXT_H

#include "jit/ir/ir.h"

extern const char *const ir_icond_names[12];
extern const char *const ir_cc_names[14];

struct ir_mem_flag {
    const char *name;
    u16 bit;
};

#define IR_MEM_FLAGS 7
extern const struct ir_mem_flag ir_mem_flags[IR_MEM_FLAGS];

/* How a terminator's fields stand in the text. */
enum ir_text_form {
    IR_FORM_OPERANDS,  /* a, b, c */
    IR_FORM_CONST,     /* imm */
    IR_FORM_PARAM,     /* slot or nothing */
    IR_FORM_ACCESS,    /* operands, displacement */
    IR_FORM_CVT,       /* operands, imm */
    IR_FORM_JMP,       /* edge b */
    IR_FORM_BR,        /* a, edge b, edge c */
    IR_FORM_PC,        /* imm */
    IR_FORM_BR_PC,     /* a, imm, b */
    IR_FORM_IF_PC,     /* a, imm */
    IR_FORM_CALL,      /* imm, b */
    IR_FORM_CALL_IND,  /* a, b */
    IR_FORM_RAISE,     /* imm, a */
    IR_FORM_HELPER,    /* imm, operands */
};

enum ir_text_form ir_text_form(unsigned op);

#endif
