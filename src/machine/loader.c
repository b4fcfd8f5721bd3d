/* -device loader: files and numbers put into memory when the machine starts. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/elf.h"
#include "base/mem.h"
#include "fw/elf.h"
#include "fw/file.h"
#include "machine/impl.h"

static void note(struct machine *m, const struct machine_loader *l, u64 at, u64 size)
{
    VEC_PUSH(m->loads, m->load_count, m->load_cap) = (struct fw_load){l->file, at, size};
}

static bool put(struct machine *m, u64 addr, const void *data, size_t len, struct err *e)
{
    return mem_load(m->memory, addr, data, len) == MEM_OK ||
           err_set(e, EFAULT, "there is no memory at %#llx", (unsigned long long)addr);
}

/* An ELF file where it says, anything else at the address. */
static bool load_file(struct machine *m, const struct machine_loader *l, u64 *entry, struct err *e)
{
    size_t len;
    struct fw_elf f;
    u8 *data = fw_file_read(l->file, &len, e);
    if (!data)
        return false;
    bool good;
    if (!l->raw && elf_magic(data, len)) {
        good = fw_elf_place(&f, l->file, data, len, e) && fw_elf_load(l->file, data, len, m->memory, e);
        *entry = good ? f.entry : 0;
        note(m, l, f.start, f.end - f.start);
    } else {
        *entry = l->addr;
        good = put(m, l->addr, data, len, e);
        note(m, l, l->addr, len);
    }
    free(data);
    return good;
}

static bool load_number(struct machine *m, const struct machine_loader *l, struct err *e)
{
    u64 v = l->big_endian ? htobe64(l->data << (64 - 8 * l->data_len)) : htole64(l->data);
    return put(m, l->addr, &v, l->data_len, e);
}

bool machine_load_more(struct machine *m, u64 *entry, struct err *e)
{
    for (size_t i = 0; i < m->opts->loader_count; i++) {
        const struct machine_loader *l = &m->opts->loaders[i];
        u64 start = l->addr;
        bool good = l->file ? load_file(m, l, &start, e) : !l->data_len || load_number(m, l, e);
        if (!good)
            return err_prefix(e, "-device loader");
        if (l->sets_pc)
            *entry = start;
    }
    return true;
}
