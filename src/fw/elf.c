#include "fw/elf.h"

#include <errno.h>

#include "base/elf.h"

static bool read_headers(struct elf *f, const char *path, struct elf_memory *file, struct err *e)
{
    struct elf_source src = elf_source_memory(file);
    if (!elf_read(f, &src, e))
        return err_prefix(e, "%s", path);
    for (unsigned i = 0; i < f->segments; i++) {
        const struct elf_segment *s = &f->segment[i];
        if (s->type != PT_LOAD || (s->offset <= file->size && s->filesz <= file->size - s->offset))
            continue;
        elf_free(f);
        return err_set(e, EINVAL, "'%s' ends before its segments do", path);
    }
    return true;
}

bool fw_elf_place(struct fw_elf *out, const char *path, const u8 *data, size_t len, struct err *e)
{
    struct elf f;
    struct elf_memory file = {data, len};
    if (!read_headers(&f, path, &file, e))
        return false;
    *out = (struct fw_elf){.machine = f.machine, .start = ~0ull, .entry = f.entry};
    for (unsigned i = 0; i < f.segments; i++) {
        const struct elf_segment *s = &f.segment[i];
        if (s->type != PT_LOAD)
            continue;
        out->start = MIN(out->start, s->paddr);
        out->end = MAX(out->end, s->paddr + s->memsz);
        if (f.entry - s->vaddr < s->memsz)
            out->entry = f.entry - s->vaddr + s->paddr;
    }
    elf_free(&f);
    return out->end || err_set(e, EINVAL, "'%s' has nothing to load", path);
}

bool fw_elf_load(const char *path, const u8 *data, size_t len, struct mem_space *m, struct err *e)
{
    struct elf f;
    struct elf_memory file = {data, len};
    if (!read_headers(&f, path, &file, e))
        return false;
    bool good = true;
    for (unsigned i = 0; i < f.segments && good; i++) {
        const struct elf_segment *s = &f.segment[i];
        if (s->type == PT_LOAD && s->filesz && mem_load(m, s->paddr, data + s->offset, s->filesz) != MEM_OK)
            good = err_set(e, EFAULT, "%s: there is no memory at %#llx", path, (unsigned long long)s->paddr);
    }
    elf_free(&f);
    return good;
}
