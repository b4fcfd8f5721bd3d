#include "jit/ir/passes.h"

#include <string.h>

const struct ir_pass_info ir_pass_info[IR_PASSES] = {
    [IR_PASS_COLD] = {"cold", "interpret code the first few times, and then translate it"},
    [IR_PASS_FOLD] = {"fold", "compute with constants while translating"},
    [IR_PASS_SHARE] = {"share", "compute once what a block computes several times"},
    [IR_PASS_FLAGS] = {"flags", "look ahead and keep no flags that nobody reads"},
    [IR_PASS_SIDES] = {"sides", "go on behind conditional branches"},
    [IR_PASS_LINK] = {"link", "jump from translation to translation"},
    [IR_PASS_HOT] = {"hot", "translate hot code again, as larger regions"},
    [IR_PASS_INLINE] = {"inline", "functions in the places of calls to them, in hot code"},
    [IR_PASS_HOMES] = {"homes", "registers by what loops use, in hot code"},
};

unsigned ir_pass_find(const char *name, size_t len)
{
    unsigned p = 0;
    while (p < IR_PASSES && (strlen(ir_pass_info[p].name) != len || memcmp(ir_pass_info[p].name, name, len)))
        p++;
    return p;
}
