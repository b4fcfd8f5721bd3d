#include <string.h>

#include "cpu/isa.h"

const struct isa *const isa_list[] = {&isa_aarch64, &isa_riscv64, &isa_riscv32, NULL};

const struct isa *isa_by_name(const char *name)
{
    for (unsigned i = 0; isa_list[i]; i++) {
        if (!strcmp(isa_list[i]->name, name))
            return isa_list[i];
    }
    return NULL;
}

const struct isa *isa_by_elf(u16 machine, u8 elf_class, bool big_endian)
{
    for (unsigned i = 0; isa_list[i]; i++) {
        const struct isa *isa = isa_list[i];
        if (isa->elf_machine == machine && isa->big_endian == big_endian &&
            (!isa->elf_class || isa->elf_class == elf_class))
            return isa;
    }
    return NULL;
}
