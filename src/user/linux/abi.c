#include "user/linux/abi.h"

#include <string.h>

extern const struct abi abi_aarch64, abi_riscv64, abi_riscv32;

const struct abi *abi_for(const struct isa *isa)
{
    static const struct abi *const all[] = {&abi_aarch64, &abi_riscv64, &abi_riscv32};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!strcmp(all[i]->isa, isa->name))
            return all[i];
    }
    return NULL;
}
