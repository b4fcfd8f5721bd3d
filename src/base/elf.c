#include "base/elf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define MAX_SEGMENTS 1024 /* the kernel's own limit is one page of them */
#define MAX_INTERP   4096

bool elf_magic(const void *head, size_t len)
{
    return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

static u64 get(const struct elf *f, const u8 *p, unsigned bytes)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)p[f->big_endian ? bytes - 1 - i : i] << (8 * i);
    return v;
}

/* Fields at [offset in class 32, offset in class 64], of 4 bytes in class 32 and 8 in class 64. */
static u64 get_word(const struct elf *f, const u8 *p, unsigned at32, unsigned at64)
{
    return f->class == ELFCLASS64 ? get(f, p + at64, 8) : get(f, p + at32, 4);
}

static bool inside(const struct elf_source *src, u64 offset, u64 len)
{
    return offset <= src->size && len <= src->size - offset;
}

static bool read_at(const struct elf_source *src, u64 offset, void *to, size_t len)
{
    return inside(src, offset, len) && src->read(src->opaque, offset, to, len) == len;
}

static bool read_header(struct elf *f, const struct elf_source *src, struct err *e)
{
    u8 h[64];
    if (!read_at(src, 0, h, EI_NIDENT) || !elf_magic(h, EI_NIDENT))
        return err_set(e, ENOEXEC, "not an ELF file");
    f->class = h[EI_CLASS];
    if (f->class != ELFCLASS32 && f->class != ELFCLASS64)
        return err_set(e, ENOEXEC, "ELF file of unknown class %u", f->class);
    if (h[EI_DATA] != ELFDATA2LSB && h[EI_DATA] != ELFDATA2MSB)
        return err_set(e, ENOEXEC, "ELF file of unknown byte order %u", h[EI_DATA]);
    f->big_endian = h[EI_DATA] == ELFDATA2MSB;
    f->osabi = h[EI_OSABI];
    bool wide = f->class == ELFCLASS64;
    if (!read_at(src, 0, h, wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
        return err_set(e, ENOEXEC, "truncated ELF file: its header is cut off");
    f->type = (u16)get(f, h + 16, 2);
    f->machine = (u16)get(f, h + 18, 2);
    f->entry = get_word(f, h, 24, 24);
    f->phoff = get_word(f, h, 28, 32);
    f->shoff = get_word(f, h, 32, 40);
    const u8 *rest = h + (wide ? 48 : 36);
    f->flags = (u32)get(f, rest, 4);
    f->phentsize = (u16)get(f, rest + 6, 2);
    f->segments = (unsigned)get(f, rest + 8, 2);
    f->shentsize = (u16)get(f, rest + 10, 2);
    f->sections = (unsigned)get(f, rest + 12, 2);
    f->shstrndx = (unsigned)get(f, rest + 14, 2);
    return true;
}

static void decode_segment(const struct elf *f, const u8 *p, struct elf_segment *s)
{
    s->type = (u32)get(f, p, 4);
    s->flags = (u32)get(f, p + (f->class == ELFCLASS64 ? 4 : 24), 4);
    s->offset = get_word(f, p, 4, 8);
    s->vaddr = get_word(f, p, 8, 16);
    s->paddr = get_word(f, p, 12, 24);
    s->filesz = get_word(f, p, 16, 32);
    s->memsz = get_word(f, p, 20, 40);
    s->align = get_word(f, p, 28, 48);
}

static bool check_load(struct elf *f, const struct elf_source *src, const struct elf_segment *s,
                       unsigned i, struct err *e)
{
    if (s->filesz > s->memsz)
        return err_set(e, ENOEXEC, "bad ELF file: segment %u is larger in the file than in memory",
                       i);
    if (!inside(src, s->offset, s->filesz))
        return err_set(e, ENOEXEC,
                       "truncated ELF file: segment %u ends after the end of the file", i);
    u64 limit = f->class == ELFCLASS64 ? UINT64_MAX : UINT32_MAX;
    if (s->vaddr > limit || s->memsz > limit - s->vaddr)
        return err_set(e, ENOEXEC, "bad ELF file: segment %u wraps around the address space", i);
    if (s->align & (s->align - 1))
        return err_set(e, ENOEXEC, "bad ELF file: segment %u has an alignment of %#llx", i,
                       (unsigned long long)s->align);
    if (s->memsz) {
        if (f->load_start == f->load_end || s->vaddr < f->load_start)
            f->load_start = s->vaddr;
        if (s->vaddr + s->memsz > f->load_end)
            f->load_end = s->vaddr + s->memsz;
    }
    return true;
}

static bool read_interp(struct elf *f, const struct elf_source *src, const struct elf_segment *s,
                        struct err *e)
{
    if (f->interp)
        return err_set(e, ENOEXEC, "bad ELF file: it names two interpreters");
    if (s->filesz < 2 || s->filesz > MAX_INTERP)
        return err_set(e, ENOEXEC, "bad ELF file: its interpreter's name has %llu bytes",
                       (unsigned long long)s->filesz);
    f->interp = xmalloc(s->filesz);
    if (!read_at(src, s->offset, f->interp, s->filesz))
        return err_set(e, ENOEXEC, "truncated ELF file: its interpreter's name is cut off");
    if (f->interp[s->filesz - 1] || !f->interp[0])
        return err_set(e, ENOEXEC, "bad ELF file: its interpreter's name is no string");
    return true;
}

static bool read_segments(struct elf *f, const struct elf_source *src, struct err *e)
{
    size_t unit = f->class == ELFCLASS64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (!f->segments)
        return true;
    if (f->phentsize != unit)
        return err_set(e, ENOEXEC, "bad ELF file: program headers of %u bytes", f->phentsize);
    if (f->segments > MAX_SEGMENTS)
        return err_set(e, ENOEXEC, "bad ELF file: %u program headers", f->segments);
    size_t len = unit * f->segments;
    if (!inside(src, f->phoff, len))
        return err_set(e, ENOEXEC, "truncated ELF file: its program headers are cut off");
    u8 *raw = xmalloc(len);
    f->segment = xcalloc(f->segments, sizeof(*f->segment));
    bool ok = read_at(src, f->phoff, raw, len) ||
              err_set(e, EIO, "ELF file: its program headers cannot be read");
    for (unsigned i = 0; ok && i < f->segments; i++) {
        struct elf_segment *s = &f->segment[i];
        decode_segment(f, raw + i * unit, s);
        if (s->type == PT_LOAD)
            ok = check_load(f, src, s, i, e);
        else if (s->type == PT_INTERP)
            ok = read_interp(f, src, s, e);
    }
    free(raw);
    return ok;
}

bool elf_read(struct elf *f, const struct elf_source *src, struct err *e)
{
    memset(f, 0, sizeof(*f));
    if (read_header(f, src, e) && read_segments(f, src, e))
        return true;
    elf_free(f);
    return false;
}

void elf_free(struct elf *f)
{
    free(f->segment);
    free(f->interp);
    f->segment = NULL;
    f->interp = NULL;
    f->segments = 0;
}

bool elf_section_get(const struct elf *f, const struct elf_source *src, unsigned i,
                     struct elf_section *s)
{
    bool wide = f->class == ELFCLASS64;
    size_t unit = wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
    u8 p[sizeof(Elf64_Shdr)];
    u64 at = f->shoff + (u64)i * unit;
    if (i >= f->sections || f->shentsize != unit || at < f->shoff || !read_at(src, at, p, unit))
        return false;
    s->name = (u32)get(f, p, 4);
    s->type = (u32)get(f, p + 4, 4);
    s->flags = get_word(f, p, 8, 8);
    s->addr = get_word(f, p, 12, 16);
    s->offset = get_word(f, p, 16, 24);
    s->size = get_word(f, p, 20, 32);
    s->link = (u32)get(f, p + (wide ? 40 : 24), 4);
    s->info = (u32)get(f, p + (wide ? 44 : 28), 4);
    s->align = get_word(f, p, 32, 48);
    s->entsize = get_word(f, p, 36, 56);
    return s->type == SHT_NOBITS || inside(src, s->offset, s->size);
}

static size_t memory_read(void *opaque, u64 offset, void *to, size_t len)
{
    const struct elf_memory *m = opaque;
    if (offset > m->size)
        return 0;
    size_t n = MIN(len, m->size - (size_t)offset);
    if (n)
        memcpy(to, (const u8 *)m->data + offset, n);
    return n;
}

struct elf_source elf_source_memory(struct elf_memory *state)
{
    return (struct elf_source){memory_read, state, state->size};
}

static size_t fd_read(void *opaque, u64 offset, void *to, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(*(const int *)opaque, (u8 *)to + done, len - done,
                          (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

struct elf_source elf_source_fd(const int *fd)
{
    struct stat st;
    u64 size = fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) ? (u64)st.st_size : 0;
    return (struct elf_source){fd_read, (void *)(uintptr_t)fd, size};
}

const char *elf_machine_name(u16 machine, char *buf, size_t size)
{
    static const struct {
        u16 machine;
        const char *name;
    } names[] = {
        {EM_386, "i386"},       {EM_X86_64, "x86-64"},    {EM_ARM, "32-bit Arm"},
        {EM_AARCH64, "AArch64"}, {EM_RISCV, "RISC-V"},    {EM_PPC, "PowerPC"},
        {EM_PPC64, "64-bit PowerPC"}, {EM_S390, "S/390"}, {EM_MIPS, "MIPS"},
        {EM_SPARC, "SPARC"},    {EM_SPARCV9, "SPARC V9"}, {EM_68K, "Motorola 68000"},
        {EM_LOONGARCH, "LoongArch"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].machine == machine)
            return names[i].name;
    }
    snprintf(buf, size, "unknown (%u)", machine);
    return buf;
}
