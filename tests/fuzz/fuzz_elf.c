/* The ELF reader takes any file: whatever it hands out lies inside the file. */
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "base/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_memory memory = {.data = data, .size = size};
    struct elf_source source = elf_source_memory(&memory);
    struct elf f;
    struct err e = {0};
    if (!elf_read(&f, &source, &e)) {
        if (!e.text[0])
            abort(); /* a refusal says why */
        return 0;
    }
    for (unsigned i = 0; i < f.segments; i++) {
        const struct elf_segment *s = &f.segment[i];
        if (s->type != PT_LOAD || !s->memsz)
            continue;
        if (s->filesz > s->memsz || s->vaddr + s->memsz < s->vaddr || s->offset > size ||
            s->filesz > size - s->offset || s->vaddr < f.load_start ||
            s->vaddr + s->memsz > f.load_end)
            abort();
    }
    for (unsigned i = 0; i < f.sections + 2; i++) {
        struct elf_section s;
        if (elf_section_get(&f, &source, i, &s) && i >= f.sections)
            abort();
    }
    char name[64];
    elf_machine_name(f.machine, name, sizeof(name));
    elf_free(&f);
    return 0;
}
