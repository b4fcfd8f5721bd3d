/* libFuzzer: the ELF reader over any bytes. clang -fsanitize=fuzzer,address,undefined. */
#include <stdlib.h>
#include <string.h>

#include "base/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_memory state = {data, size};
    struct elf_source src = elf_source_memory(&state);
    struct elf f;
    struct err e;
    struct elf_section s;
    if (!elf_read(&f, &src, &e)) {
        if (!e.text[0] || strlen(e.text) >= sizeof(e.text))
            abort();
        return 0;
    }
    /* What was handed out must lie inside the file. */
    for (unsigned i = 0; i < f.segments; i++) {
        const struct elf_segment *p = &f.segment[i];
        if (p->type == PT_LOAD && (p->offset > size || p->filesz > size - p->offset ||
                                   p->vaddr + p->memsz < p->vaddr))
            abort();
    }
    if (f.interp && strlen(f.interp) >= size)
        abort();
    for (unsigned i = 0; i < f.sections; i++) {
        if (elf_section_get(&f, &src, i, &s) && s.type != SHT_NOBITS &&
            (s.offset > size || s.size > size - s.offset))
            abort();
    }
    elf_free(&f);
    return 0;
}
