/* Reading ELF files of any class and byte order. The file is hostile input: whatever its headers
 * say is checked against the file's size and against overflow before it is handed out. */
#ifndef LYRE_BASE_ELF_H
#define LYRE_BASE_ELF_H

#include <elf.h>

#include "base/err.h"
#include "base/types.h"

/* Where bytes come from. Returns how many of `len` bytes at `offset` could be read, less than `len`
 * only at the end of the file or on an error. */
struct elf_source {
    size_t (*read)(void *opaque, u64 offset, void *to, size_t len);
    void *opaque;
    u64 size; /* bytes in the file */
};

/* One program header, widened to 64 bits. */
struct elf_segment {
    u32 type, flags; /* PT_*, PF_* */
    u64 offset, vaddr, paddr, filesz, memsz, align;
};

struct elf_section {
    u32 name, type; /* name: offset in the names' section */
    u64 flags, addr, offset, size, align, entsize;
    u32 link, info;
};

struct elf {
    u8 class; /* ELFCLASS32 or ELFCLASS64 */
    bool big_endian;
    u8 osabi;
    u16 type, machine; /* ET_*, EM_* */
    u32 flags;
    u64 entry;
    u64 phoff;
    u16 phentsize;
    struct elf_segment *segment; /* owned; elf_free() */
    unsigned segments;
    u64 shoff;
    u16 shentsize;
    unsigned sections, shstrndx;
    char *interp; /* owned; NULL: none */

    /* Of the PT_LOAD segments: lowest and one past the highest address; 0, 0 without any. */
    u64 load_start, load_end;
};

/* Is this an ELF file's start? `len` bytes at `head`. */
bool elf_magic(const void *head, size_t len);

/* Read and check headers and program headers. False with one line of text in `e` when the file is
 * no ELF file, truncated or inconsistent; nothing is to be freed then. */
bool elf_read(struct elf *f, const struct elf_source *src, struct err *e);
void elf_free(struct elf *f);

/* Section header number `i`; false when it is not there or not inside the file. */
bool elf_section_get(const struct elf *f, const struct elf_source *src, unsigned i,
                     struct elf_section *s);

/* A source over memory; `state` must live as long as the source. */
struct elf_memory {
    const void *data;
    size_t size;
};
struct elf_source elf_source_memory(struct elf_memory *state);

/* A source over a file descriptor that is open for reading; its size is looked up now. `*fd` must
 * live as long as the source. */
struct elf_source elf_source_fd(const int *fd);

/* "AArch64", "x86-64" ... or "unknown (N)" for e_machine values, for messages. */
const char *elf_machine_name(u16 machine, char *buf, size_t size);

#endif
