#include "cmd/profile.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define SHOWN 30 /* functions */

/* A file of which something is mapped executable, and the symbols of its functions. */
struct image {
    char *path;
    u64 start, end, offset; /* in memory, and where that starts in the file */
    u8 *data;
    size_t size;
};

struct function {
    char name[96];
    u64 samples;
};

struct profile {
    struct image *image;
    size_t nimages, image_cap;
    struct function *function;
    size_t nfunctions, function_cap;
};

static void open_image(struct image *m)
{
    struct stat st;
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (!fstat(fd, &st) && st.st_size > (off_t)sizeof(Elf64_Ehdr)) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        m->data = p == MAP_FAILED ? NULL : p;
        m->size = m->data ? (size_t)st.st_size : 0;
    }
    close(fd);
}

/* Guest addresses are the host's, so its list of mappings has the guest's files. */
static void find_images(struct profile *p)
{
    char line[4400];
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned long long start, end, offset;
        int at = 0;
        if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &at) < 3 || !at ||
            line[at] != '/')
            continue;
        line[strcspn(line, "\n")] = 0;
        VEC_PUSH(p->image, p->nimages, p->image_cap) =
            (struct image){.path = xstrdup(line + at), .start = start, .end = end, .offset = offset};
    }
    if (f)
        fclose(f);
}

static struct image *image_at(struct profile *p, u64 pc)
{
    for (size_t i = 0; i < p->nimages; i++) {
        struct image *m = &p->image[i];
        if (pc < m->start || pc >= m->end)
            continue;
        if (!m->data)
            open_image(m);
        return m;
    }
    return NULL;
}

/* `count` things of `size` bytes at offset `at` of the file; NULL when they do not lie in it. */
static const void *part(const struct image *m, u64 at, u64 count, u64 size)
{
    u64 bytes;
    return __builtin_mul_overflow(count, size, &bytes) || at > m->size || bytes > m->size - at ? NULL
                                                                                              : m->data + at;
}

/* The address that the file gives to what lies at the offset. */
static bool link_address(const struct image *m, u64 offset, u64 *out)
{
    const Elf64_Ehdr *h = part(m, 0, 1, sizeof(*h));
    const Elf64_Phdr *ph = h ? part(m, h->e_phoff, h->e_phnum, sizeof(*ph)) : NULL;
    for (unsigned i = 0; ph && i < h->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && offset - ph[i].p_offset < ph[i].p_filesz) {
            *out = offset - ph[i].p_offset + ph[i].p_vaddr;
            return true;
        }
    }
    return false;
}

/* The name of the last function of one symbol table that starts at or before the address. */
static void look_in_table(const struct image *m, const Elf64_Shdr *sh, const Elf64_Shdr *strings,
                          u64 addr, const char **name, u64 *best)
{
    u64 n = sh->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *sym = part(m, sh->sh_offset, n, sizeof(*sym));
    const char *text = part(m, strings->sh_offset, strings->sh_size, 1);
    if (!sym || !text || !strings->sh_size || text[strings->sh_size - 1])
        return;
    for (u64 i = 0; i < n; i++) {
        unsigned type = ELF64_ST_TYPE(sym[i].st_info);
        bool code = type == STT_FUNC || type == STT_GNU_IFUNC;
        if (code && sym[i].st_shndx && sym[i].st_value <= addr && sym[i].st_name < strings->sh_size &&
            (!*name || sym[i].st_value > *best) &&
            (!sym[i].st_size || addr - sym[i].st_value < sym[i].st_size)) {
            *best = sym[i].st_value;
            *name = text + sym[i].st_name;
        }
    }
}

static const char *function_name(const struct image *m, u64 addr)
{
    const Elf64_Ehdr *h = part(m, 0, 1, sizeof(*h));
    const Elf64_Shdr *sh = NULL;
    const char *name = NULL;
    u64 best = 0;
    if (h && !memcmp(h->e_ident, ELFMAG, SELFMAG) && h->e_ident[EI_CLASS] == ELFCLASS64 &&
        h->e_ident[EI_DATA] == ELFDATA2LSB)
        sh = part(m, h->e_shoff, h->e_shnum, sizeof(*sh));
    for (unsigned i = 0; sh && i < h->e_shnum; i++) {
        if ((sh[i].sh_type == SHT_SYMTAB || sh[i].sh_type == SHT_DYNSYM) && sh[i].sh_link < h->e_shnum)
            look_in_table(m, &sh[i], &sh[sh[i].sh_link], addr, &name, &best);
    }
    return name;
}

static void describe(struct profile *p, u64 pc, char *to, size_t size)
{
    struct image *m = image_at(p, pc);
    u64 addr;
    const char *file = m ? strrchr(m->path, '/') + 1 : NULL, *name = NULL;
    if (m && m->data && link_address(m, pc - m->start + m->offset, &addr))
        name = function_name(m, addr);
    if (name)
        snprintf(to, size, "%-24.24s %s", file, name);
    else
        snprintf(to, size, "%-24.24s %#" PRIx64, file ? file : "-", pc);
}

static void add(struct profile *p, const char *name, u64 samples)
{
    for (size_t i = 0; i < p->nfunctions; i++) {
        if (!strcmp(p->function[i].name, name)) {
            p->function[i].samples += samples;
            return;
        }
    }
    struct function f = {.samples = samples};
    snprintf(f.name, sizeof(f.name), "%s", name);
    VEC_PUSH(p->function, p->nfunctions, p->function_cap) = f;
}

static int by_samples(const void *a, const void *b)
{
    const struct function *x = a, *y = b;
    return x->samples < y->samples ? 1 : x->samples > y->samples ? -1 : strcmp(x->name, y->name);
}

static void free_profile(struct profile *p)
{
    for (size_t i = 0; i < p->nimages; i++) {
        free(p->image[i].path);
        if (p->image[i].data)
            munmap(p->image[i].data, p->image[i].size);
    }
    free(p->image);
    free(p->function);
}

void profile_print(struct engine *en, FILE *to)
{
    struct profile p = {0};
    size_t count;
    u64 all = 0;
    struct engine_place *place = engine_profile(en, &count);
    find_images(&p);
    for (size_t i = 0; i < count; i++) {
        char name[sizeof(p.function->name)];
        describe(&p, place[i].pc, name, sizeof(name));
        add(&p, name, place[i].samples);
        all += place[i].samples;
    }
    if (p.nfunctions)
        qsort(p.function, p.nfunctions, sizeof(*p.function), by_samples);
    fprintf(to, "%" PRIu64 " samples, taken at calls and at the heads of loops\n", all);
    for (size_t i = 0; i < p.nfunctions && i < SHOWN; i++)
        fprintf(to, "%5.1f %%  %s\n", 100.0 * (double)p.function[i].samples / (double)all,
                p.function[i].name);
    free(place);
    free_profile(&p);
}
