/* The vDSO: an ELF image of one page that lyre makes at start, from the code in the port's row. C
 * libraries find it through AT_SYSINFO_EHDR and look its functions up by name and version. */
#include "user/linux/vdso.h"

#include <elf.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>

#include "user/linux/abi.h"

#define SYMBOLS 7 /* room for so many */

enum { SONAME_VERSION = 1, ABI_VERSION };

/* As it lies in memory; addresses are offsets from its start. */
struct image {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[2];
    Elf64_Dyn dynamic[10];
    Elf64_Sym sym[1 + SYMBOLS];
    struct {
        Elf64_Verdef def;
        Elf64_Verdaux aux;
    } version[2];
    struct {
        u32 buckets, chains, bucket, chain[1 + SYMBOLS];
    } hash;
    Elf64_Versym versym[1 + SYMBOLS];
    char strings[256];
    alignas(16) u8 code[2048];
};

static u32 add_string(struct image *m, u32 *end, const char *s)
{
    u32 at = *end;
    *end += (u32)strlen(s) + 1;
    if (*end <= sizeof(m->strings))
        strcpy(m->strings + at, s);
    return at;
}

/* The hash function of ELF's symbol tables. */
static u32 elf_hash(const char *s)
{
    u32 h = 0;
    for (; *s; s++) {
        h = (h << 4) + (u8)*s;
        h ^= h >> 24 & 0xf0;
        h &= 0x0fffffff;
    }
    return h;
}

static void add_version(struct image *m, unsigned index, u32 name, const char *text)
{
    m->version[index - 1].def = (Elf64_Verdef){
        .vd_version = VER_DEF_CURRENT,
        .vd_flags = index == SONAME_VERSION ? VER_FLG_BASE : 0,
        .vd_ndx = (Elf64_Half)index,
        .vd_cnt = 1,
        .vd_hash = elf_hash(text),
        .vd_aux = sizeof(Elf64_Verdef),
        .vd_next = index == ABI_VERSION ? 0 : sizeof(m->version[0]),
    };
    m->version[index - 1].aux = (Elf64_Verdaux){.vda_name = name};
}

/* All symbols are in one bucket. */
static void add_symbols(struct image *m, const struct abi_vdso *v, u32 *strings)
{
    m->hash.buckets = 1;
    m->hash.bucket = 1;
    m->hash.chains = v->symbols + 1u;
    for (unsigned i = 1; i <= v->symbols; i++) {
        const struct abi_vdso_symbol *s = &v->symbol[i - 1];
        m->hash.chain[i] = i < v->symbols ? i + 1 : 0;
        m->versym[i] = ABI_VERSION;
        m->sym[i] = (Elf64_Sym){
            .st_name = add_string(m, strings, s->name),
            .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
            .st_shndx = 1, /* defined: nobody looks for the section */
            .st_value = offsetof(struct image, code) + s->at,
            .st_size = s->size,
        };
    }
}

static void add_dynamic(struct image *m, u32 soname, u32 strings)
{
    const Elf64_Dyn dynamic[] = {
        {DT_SONAME, {soname}},
        {DT_HASH, {offsetof(struct image, hash)}},
        {DT_STRTAB, {offsetof(struct image, strings)}},
        {DT_STRSZ, {strings}},
        {DT_SYMTAB, {offsetof(struct image, sym)}},
        {DT_SYMENT, {sizeof(Elf64_Sym)}},
        {DT_VERSYM, {offsetof(struct image, versym)}},
        {DT_VERDEF, {offsetof(struct image, version)}},
        {DT_VERDEFNUM, {2}},
        {DT_NULL, {0}},
    };
    _Static_assert(sizeof(dynamic) == sizeof(m->dynamic), "one entry each");
    memcpy(m->dynamic, dynamic, sizeof(dynamic));
}

static void add_headers(struct image *m, u16 machine)
{
    m->ehdr = (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = machine,
        .e_version = EV_CURRENT,
        .e_phoff = offsetof(struct image, phdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = ARRAY_LEN(m->phdr),
    };
    m->phdr[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = sizeof(*m),
                              .p_memsz = sizeof(*m), .p_align = SPACE_PAGE};
    m->phdr[1] = (Elf64_Phdr){.p_type = PT_DYNAMIC, .p_flags = PF_R,
                              .p_offset = offsetof(struct image, dynamic),
                              .p_vaddr = offsetof(struct image, dynamic),
                              .p_paddr = offsetof(struct image, dynamic),
                              .p_filesz = sizeof(m->dynamic), .p_memsz = sizeof(m->dynamic), .p_align = 8};
}

/* Little-endian and 64 bits wide. */
static bool build(struct image *m, const struct abi_vdso *v, u16 machine)
{
    u32 strings = 1;
    memset(m, 0, sizeof(*m));
    if (v->size > sizeof(m->code) || v->symbols > SYMBOLS)
        return false;
    u32 soname = add_string(m, &strings, v->soname), version = add_string(m, &strings, v->version);
    add_version(m, SONAME_VERSION, soname, v->soname);
    add_version(m, ABI_VERSION, version, v->version);
    add_symbols(m, v, &strings);
    add_dynamic(m, soname, strings);
    add_headers(m, machine);
    memcpy(m->code, v->code, v->size);
    return strings <= sizeof(m->strings);
}

bool vdso_make(struct process *p, struct err *e)
{
    const struct abi_vdso *v = &p->abi->vdso;
    struct space *sp = &p->space;
    struct image image;
    _Static_assert(sizeof(image) <= SPACE_PAGE, "one page");
    s64 r = space_mmap(sp, 0, SPACE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
                       MAP_IS_VDSO);
    if (r < 0)
        return err_set(e, (int)-r, "no room for its vDSO");
    u64 at = (u64)r;
    p->sigreturn = at + offsetof(struct image, code) + v->sigreturn;
    if (!build(&image, v, p->isa->elf_machine))
        return err_set(e, 0, "its vDSO is larger than a page");
    space_write(sp, at, &image, sizeof(image));
    space_mprotect(sp, at, SPACE_PAGE, PROT_READ | PROT_EXEC);
    if (p->word == 8) /* programs of 32 bits are not told of it: they use but the way back from handlers */
        p->vdso = at;
    return true;
}
