#include "check.h"

#include <unistd.h>

#include "base/elf.h"
#include "base/guard.h"

#include <sys/mman.h>

struct image {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[3];
    char interp[16];
    char text[64];
};

static struct image good(void)
{
    struct image m = {
        .eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
               .e_type = ET_DYN,
               .e_machine = EM_AARCH64,
               .e_version = 1,
               .e_entry = 0x1000,
               .e_phoff = offsetof(struct image, ph),
               .e_ehsize = sizeof(Elf64_Ehdr),
               .e_phentsize = sizeof(Elf64_Phdr),
               .e_phnum = 3},
        .ph = {{.p_type = PT_INTERP, .p_offset = offsetof(struct image, interp), .p_filesz = 11,
                .p_memsz = 11},
               {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x1000, .p_filesz = 300,
                .p_memsz = 300, .p_align = 0x1000},
               {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = 0x3000, .p_filesz = 10,
                .p_memsz = 5000, .p_align = 0x1000}},
        .interp = "/lib/ld.so",
    };
    return m;
}

static bool parse(const void *data, size_t size, struct elf *f, struct err *e)
{
    struct elf_memory state = {data, size};
    struct elf_source src = elf_source_memory(&state);
    return elf_read(f, &src, e);
}

/* The image is refused, and the text says why. */
static void refused(const struct image *m, size_t size, const char *why)
{
    struct elf f;
    struct err e = {0};
    CHECK(!parse(m, size, &f, &e));
    if (!strstr(e.text, why)) {
        test_failures++;
        printf("# \"%s\" does not contain \"%s\"\n", e.text, why);
    }
}

TEST(good_file)
{
    struct image m = good();
    struct elf f;
    struct err e;
    CHECK(parse(&m, sizeof(m), &f, &e));
    CHECK_EQ(f.machine, EM_AARCH64);
    CHECK_EQ(f.segments, 3);
    CHECK_STR(f.interp, "/lib/ld.so");
    CHECK_EQ(f.load_start, 0x1000);
    CHECK_EQ(f.load_end, 0x3000 + 5000);
    CHECK_EQ(f.segment[2].memsz, 5000);
    elf_free(&f);
}

TEST(every_truncation_is_noticed)
{
    struct image m = good();
    for (size_t n = 0; n < offsetof(struct image, text); n++) {
        struct elf f;
        struct err e = {0};
        bool ok = parse(&m, n, &f, &e);
        CHECK(!ok);
        CHECK(e.text[0]);
        if (ok)
            elf_free(&f);
    }
}

TEST(hostile_headers)
{
    struct image m = good();
    m.eh.e_ident[0] = 0;
    refused(&m, sizeof(m), "not an ELF");
    m = good();
    m.eh.e_ident[EI_CLASS] = 9;
    refused(&m, sizeof(m), "class 9");
    m = good();
    m.eh.e_ident[EI_DATA] = 0;
    refused(&m, sizeof(m), "byte order");
    m = good();
    m.eh.e_phoff = ~0ull - 8;
    refused(&m, sizeof(m), "cut off");
    m = good();
    m.eh.e_phentsize = 8;
    refused(&m, sizeof(m), "program headers of 8");
    m = good();
    m.eh.e_phnum = 0xffff;
    refused(&m, sizeof(m), "65535 program headers");
    m = good();
    m.ph[1].p_offset = ~0ull - 4;
    refused(&m, sizeof(m), "after the end");
    m = good();
    m.ph[1].p_filesz = 1 << 20;
    refused(&m, sizeof(m), "larger in the file");
    m = good();
    m.ph[2].p_vaddr = ~0ull - 100;
    refused(&m, sizeof(m), "wraps");
    m = good();
    m.ph[1].p_align = 3;
    refused(&m, sizeof(m), "alignment");
    m = good();
    m.interp[10] = 'x';
    refused(&m, sizeof(m), "no string");
    m = good();
    m.ph[0].p_filesz = 0;
    refused(&m, sizeof(m), "0 bytes");
    m = good();
    m.ph[2].p_type = PT_INTERP;
    refused(&m, sizeof(m), "two interpreters");
}

TEST(other_classes)
{
    u8 raw[84] = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2MSB, 1};
    raw[17] = ET_EXEC;
    raw[19] = EM_PPC;
    raw[24] = 0x10;
    raw[31] = 52; /* e_phoff */
    raw[43] = sizeof(Elf32_Phdr);
    raw[45] = 1;
    raw[55] = PT_LOAD;
    raw[60] = 0x20; /* p_vaddr */
    raw[75] = 8;    /* p_memsz */
    struct elf f;
    struct err e;
    CHECK(parse(raw, sizeof(raw), &f, &e));
    CHECK(f.big_endian);
    CHECK_EQ(f.entry, 0x10000000);
    CHECK_EQ(f.load_start, 0x20000000);
    CHECK_EQ(f.load_end, 0x20000008);
    elf_free(&f);
    raw[60] = 0xff;
    raw[61] = raw[62] = raw[63] = 0xff;
    CHECK(!parse(raw, sizeof(raw), &f, &e));
}

TEST(sections)
{
    struct image m = good();
    Elf64_Shdr *sh = (void *)m.text;
    *sh = (Elf64_Shdr){.sh_type = SHT_PROGBITS, .sh_offset = 4, .sh_size = 8};
    m.eh.e_shoff = offsetof(struct image, text);
    m.eh.e_shentsize = sizeof(Elf64_Shdr);
    m.eh.e_shnum = 2;
    struct elf f;
    struct elf_memory state = {&m, sizeof(m)};
    struct elf_source src = elf_source_memory(&state);
    struct elf_section s;
    CHECK(elf_read(&f, &src, NULL));
    CHECK(elf_section_get(&f, &src, 0, &s));
    CHECK_EQ(s.size, 8);
    CHECK(!elf_section_get(&f, &src, 1, &s));
    CHECK(!elf_section_get(&f, &src, 2, &s));
    sh->sh_size = 1 << 20;
    CHECK(!elf_section_get(&f, &src, 0, &s));
    elf_free(&f);
}

TEST(guarded_copies)
{
    guard_install();
    char buf[100] = "some text", *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p + 4096, 4096);
    memset(p, 'x', 4096);
    CHECK_EQ(guard_copy(buf, p + 4090, 10), 4);
    CHECK(!memcmp(buf, "xxxxxxext", 9));
    CHECK_EQ(guard_copy(p + 4096, buf, 10), 10);
    CHECK_EQ(guard_zero(p + 4000, 100), 4);
    CHECK_EQ(p[4095], 0);
    CHECK_EQ(guard_copy(buf, NULL, 5), 5);
    for (size_t len = 1; len <= 32; len++) {
        memcpy(p + 4096 - len, "0123456789abcdefghijklmnopqrstuv", len);
        memset(buf, 0, sizeof(buf));
        CHECK_EQ(guard_copy(buf, p + 4096 - len, len), 0);
        CHECK(!memcmp(buf, "0123456789abcdefghijklmnopqrstuv", len) && !buf[len]);
        size_t left = guard_copy(buf, p + 4097 - len, len);
        CHECK(left == 1 || left == len);
        left = guard_copy(p + 4097 - len, buf, len);
        CHECK(left == 1 || left == len);
    }
    memset(p + 4000, 0, 96);
    CHECK_EQ(guard_string(buf, sizeof(buf), p + 4080), 0);
    memcpy(p + 4090, "abcdef", 6);
    CHECK_EQ(guard_string(buf, sizeof(buf), p + 4090), -1);
    p[4095] = 0;
    CHECK_EQ(guard_string(buf, sizeof(buf), p + 4090), 5);
    CHECK_STR(buf, "abcde");
    CHECK_EQ(guard_string(buf, 5, p + 4090), -2);
    u32 expected = 0;
    CHECK(guard_cas32((u32 *)(p + 4000), &expected, 7));
    CHECK_EQ(*(u32 *)(p + 4000), 7);
    CHECK(guard_cas32((u32 *)(p + 4000), &expected, 9));
    CHECK_EQ(expected, 7);
    CHECK(!guard_cas32((u32 *)(p + 4096), &expected, 9));
    mprotect(p, 4096, PROT_READ);
    CHECK(!guard_cas32((u32 *)(p + 4000), &expected, 9));
    munmap(p, 4096);
}

TEST_MAIN()
