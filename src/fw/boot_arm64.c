#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/elf.h"
#include "base/mem.h"
#include "fw/boot.h"
#include "fw/elf.h"
#include "fw/fdt.h"
#include "fw/file.h"

#define MIB (1ull << 20)

enum {
    IMAGE_HEADER = 64, /* bytes */
    OLD_OFFSET = 0x80000, /* from the start of memory, of what does not say where it is to be */
    DTB_ROOM = 4096,   /* for what is added to a tree from a file, but for the command line */
};

static u64 le64_at(const u8 *p)
{
    u64 v;
    memcpy(&v, p, 8);
    return v;
}

/* Where in memory a kernel lies: [start, end), with what it needs behind its file. */
struct place {
    u64 start, end;
};

static bool fits(const struct fw_boot *b, const char *what, u64 start, u64 size, struct err *e)
{
    u64 end = b->ram + b->ram_size;
    return (start >= b->ram && start <= end && size <= end - start) ||
           err_set(e, ENOMEM, "%s does not fit into %llu MiB of memory; give the machine more with -m", what,
                   (unsigned long long)(b->ram_size / MIB));
}

static bool put(struct mem_space *m, u64 addr, const void *data, size_t len, struct err *e)
{
    return mem_load(m, addr, data, len) == MEM_OK ||
           err_set(e, EFAULT, "there is no memory at %#llx", (unsigned long long)addr);
}

static void note(struct fw_boot *b, const char *name, u64 at, u64 size)
{
    b->load[b->loads++] = (struct fw_load){name, at, size};
}

/* An Image says how far from a multiple of 2 MiB it wants to be, and how much memory it needs. Kernels before
 * 3.17 have no size and are 512 KiB from it. */
static bool load_image(struct fw_boot *b, struct mem_space *m, const u8 *image, size_t len, struct place *p,
                       struct err *e)
{
    u64 offset = le64_at(image + 8), size = le64_at(image + 16), need = MAX(size, len);
    if (!size)
        offset = OLD_OFFSET;
    else if (offset < 4096)
        offset += 2 * MIB; /* where memory starts is left to who looks for something there */
    p->start = b->ram + MIN(offset, b->ram_size);
    if (!fits(b, "the kernel", p->start, need, e) || !put(m, p->start, image, len, e))
        return false;
    p->end = p->start + need;
    b->entry = p->start;
    return true;
}

/* A program that says nothing of itself lies where kernels did before they could say. */
static bool load_raw(struct fw_boot *b, struct mem_space *m, const u8 *data, size_t len, struct place *p, struct err *e)
{
    if (!len)
        return err_set(e, EINVAL, "'%s' is empty", b->kernel);
    if (len >= 2 && !memcmp(data, "MZ", 2))
        return err_set(e, EINVAL, "'%s' is no kernel for arm64: neither Image nor ELF", b->kernel);
    b->entry = p->start = b->ram + OLD_OFFSET;
    p->end = p->start + len;
    return fits(b, "the kernel", p->start, len, e) && put(m, p->start, data, len, e);
}

/* Memory that the file says nothing of is zero: it is fresh. */
static bool load_elf(struct fw_boot *b, struct mem_space *m, const u8 *data, size_t len, struct place *p, struct err *e)
{
    struct fw_elf f;
    if (!fw_elf_place(&f, b->kernel, data, len, e))
        return false;
    if (f.machine != EM_AARCH64)
        return err_set(e, EINVAL, "'%s' is for another CPU", b->kernel);
    *p = (struct place){f.start, f.end};
    b->entry = f.entry;
    return fits(b, "the kernel", f.start, f.end - f.start, e) && fw_elf_load(b->kernel, data, len, m, e);
}

static bool load_kernel(struct fw_boot *b, struct mem_space *m, struct place *p, struct err *e)
{
    struct fw_file f;
    if (!fw_file_open_expanded(&f, b->kernel, b->ram_size, e))
        return false;
    bool good;
    if (elf_magic(f.data, f.len))
        good = load_elf(b, m, f.data, f.len, p, e);
    else if (f.len >= IMAGE_HEADER && !memcmp(f.data + 56, "ARM\x64", 4))
        good = load_image(b, m, f.data, f.len, p, e);
    else
        good = load_raw(b, m, f.data, f.len, p, e);
    note(b, b->kernel, p->start, p->end - p->start);
    fw_file_close(&f);
    return good;
}

/* As high as 128 MiB or half of the memory, behind the kernel: that leaves room to both sides. */
static bool load_initrd(struct fw_boot *b, struct mem_space *m, struct place kernel, struct place *p, struct err *e)
{
    struct fw_file f;
    if (!fw_file_open(&f, b->initrd, e))
        return false;
    p->start = MAX(b->ram + MIN(b->ram_size / 2, 128 * MIB), ALIGN_UP(kernel.end, 4096));
    p->end = p->start + f.len;
    bool good = fits(b, "the initial file system", p->start, f.len, e) && put(m, p->start, f.data, f.len, e);
    note(b, b->initrd, p->start, f.len);
    fw_file_close(&f);
    return good;
}

static void describe_initrd(struct fw_node *chosen, struct place initrd)
{
    FW_CELLS(chosen, "linux,initrd-start", (u32)(initrd.start >> 32), (u32)initrd.start);
    FW_CELLS(chosen, "linux,initrd-end", (u32)(initrd.end >> 32), (u32)initrd.end);
}

static u8 *flatten(const struct fw_boot *b, const struct fw_node *tree, size_t *len, struct err *e)
{
    if (!b->dtb)
        return fdt_flatten(tree, 0, len, e);
    u8 *fdt = fdt_read(b->dtb, DTB_ROOM + (b->append ? strlen(b->append) : 0), len, e);
    if (fdt && fdt_merge(fdt, tree, e))
        return fdt;
    free(fdt);
    return NULL;
}

/* The tree is where memory starts, if a program that is no Image left that free and may look for it there; else
 * behind all the others. It lies within 2 MiB, which the kernel maps before it knows more. */
static bool load_tree(struct fw_boot *b, struct mem_space *m, const struct fw_node *tree, struct place used,
                      struct err *e)
{
    size_t len = 0;
    u8 *fdt = flatten(b, tree, &len, e);
    if (!fdt)
        return false;
    b->arg = used.start - b->ram >= len ? b->ram : ALIGN_UP(used.end, 2 * MIB);
    bool good = len <= 2 * MIB || err_set(e, EFBIG, "the device tree is larger than 2 MiB");
    good = good && fits(b, "the device tree", b->arg, len, e) && put(m, b->arg, fdt, len, e);
    note(b, "dtb", b->arg, len);
    free(fdt);
    return good;
}

static bool load_all(struct fw_boot *b, struct mem_space *m, struct fw_node *tree, struct err *e)
{
    struct place kernel = {0}, initrd;
    struct fw_node *chosen = fw_child(tree, "chosen");
    if (b->append)
        fw_string(chosen, "bootargs", b->append);
    if (!load_kernel(b, m, &kernel, e))
        return false;
    if (b->initrd) {
        if (!load_initrd(b, m, kernel, &initrd, e))
            return false;
        describe_initrd(chosen, initrd);
        kernel.end = initrd.end;
    }
    return load_tree(b, m, tree, kernel, e);
}

bool fw_boot_arm64(struct fw_boot *b, struct mem_space *memory, struct err *e)
{
    struct fw_node *extra = b->dtb ? fw_tree_new() : NULL;
    bool good = load_all(b, memory, extra ? extra : b->tree, e);
    fw_tree_free(extra);
    return good;
}

bool fw_boot_none(struct fw_boot *b, struct mem_space *memory, struct err *e)
{
    size_t len = 0;
    u8 *fdt = fdt_flatten(b->tree, 0, &len, e);
    bool good = fdt && fits(b, "the device tree", b->ram, len, e) && put(memory, b->ram, fdt, len, e);
    note(b, "dtb", b->ram, len);
    free(fdt);
    return good;
}
