/* ELF files in a machine's memory, at the physical addresses of their segments. */
#ifndef LYRE_FW_ELF_H
#define LYRE_FW_ELF_H

#include "base/err.h"
#include "mem/mem.h"

struct fw_elf {
    u16 machine;         /* EM_* */
    u64 start, end;      /* physical: [start, end) is what it needs */
    u64 entry;           /* physical */
};

/* Where a file, which `data` is, will lie. `path` is for messages. */
bool fw_elf_place(struct fw_elf *f, const char *path, const u8 *data, size_t len, struct err *e);
/* Put it there. What its segments have beyond the file is left as it is. */
bool fw_elf_load(const char *path, const u8 *data, size_t len, struct mem_space *m, struct err *e);

#endif
