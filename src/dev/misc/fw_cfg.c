/* fw_cfg in memory: a selector, a stream of the selected item's bytes, and copies into memory that the guest describes
 * by a structure. Items do not change while a guest runs, so copies need no lock; the device's lock holds the selection. */
#include "dev/misc/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dev/list.h"

enum {
    FILES_MAX = 32,
    KEYS = FW_CFG_FILE_FIRST + FILES_MAX,
    ID_STREAM = 1 << 0, /* in FW_CFG_ID: the data register is there ... */
    ID_DMA = 1 << 1,    /* ... and so are copies */
};

enum { DMA_ERROR = 1 << 0, DMA_READ = 1 << 1, DMA_SKIP = 1 << 2, DMA_SELECT = 1 << 3, DMA_WRITE = 1 << 4 };

#define DMA_SIGNATURE 0x51454d5520434647ull /* "QEMU CFG" */

/* An entry of the directory, big-endian, behind their number. */
struct fw_cfg_file {
    u32 size;
    u16 key, reserved;
    char name[FW_CFG_NAME_MAX + 1];
};

struct fw_cfg {
    struct dev dev;
    struct fw_cfg_item {
        u8 *data;
        u32 len;
    } item[KEYS];
    struct fw_cfg_file files[FILES_MAX];
    u32 file_count;

    u16 key;      /* what is selected: an item that there is not is empty */
    u32 offset;   /* in it */
    u32 dma_high; /* the upper half of the next structure's address */
};

/* ---- items ---- */

void fw_cfg_set(struct dev *d, u16 key, const void *data, u32 len)
{
    struct fw_cfg_item *i = &((struct fw_cfg *)d)->item[key];
    u8 *copy = xmalloc(len + 1);
    memcpy(copy, data, len);
    free(i->data);
    *i = (struct fw_cfg_item){copy, len};
}

void fw_cfg_set_number(struct dev *d, u16 key, u32 value, unsigned bytes)
{
    u32 v = htole32(value);
    fw_cfg_set(d, key, &v, bytes);
}

static void set_directory(struct fw_cfg *f)
{
    u32 count = htobe32(f->file_count);
    u8 dir[4 + sizeof(f->files)];
    memcpy(dir, &count, 4);
    memcpy(dir + 4, f->files, sizeof(f->files));
    fw_cfg_set(&f->dev, FW_CFG_FILE_DIR, dir, (u32)(4 + f->file_count * sizeof(f->files[0])));
}

bool fw_cfg_add_file(struct dev *d, const char *name, const void *data, u32 len, struct err *e)
{
    struct fw_cfg *f = (struct fw_cfg *)d;
    if (strlen(name) > FW_CFG_NAME_MAX)
        return err_set(e, EINVAL, "name too long (max. %d char)", FW_CFG_NAME_MAX);
    for (u32 i = 0; i < f->file_count; i++) {
        if (!strcmp(f->files[i].name, name))
            return err_set(e, EEXIST, "duplicate fw_cfg file name: %s", name);
    }
    if (f->file_count == FILES_MAX)
        return err_set(e, ENOSPC, "there are at most %d files", FILES_MAX);
    u16 key = (u16)(FW_CFG_FILE_FIRST + f->file_count);
    struct fw_cfg_file *file = &f->files[f->file_count++];
    *file = (struct fw_cfg_file){.size = htobe32(len), .key = htobe16(key)};
    memcpy(file->name, name, strlen(name));
    fw_cfg_set(d, key, data, len);
    set_directory(f);
    return true;
}

static const struct fw_cfg_item *selected(const struct fw_cfg *f)
{
    static const struct fw_cfg_item none = {NULL, 0};
    return f->key < KEYS ? &f->item[f->key] : &none;
}

static void choose(struct fw_cfg *f, u16 key)
{
    f->key = key;
    f->offset = 0;
}

/* ---- registers ---- */

/* Bytes in the order in which they lie in the item; zeros behind its end. */
static u64 data_read(struct dev *d, u64 offset, unsigned size)
{
    struct fw_cfg *f = (struct fw_cfg *)d;
    u64 v = 0;
    dev_lock(d);
    const struct fw_cfg_item *i = selected(f);
    for (unsigned n = 0; n < size && f->offset < i->len; n++)
        v |= (u64)i->data[f->offset++] << 8 * n;
    dev_unlock(d);
    return v;
}

static void data_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    dev_guest_error(d, "write of the data register");
}

static u64 selector_read(struct dev *d, u64 offset, unsigned size)
{
    return 0;
}

static void selector_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    dev_lock(d);
    choose((struct fw_cfg *)d, be16toh((u16)value));
    dev_unlock(d);
}

/* ---- copies ---- */

struct fw_cfg_dma {
    u32 control, len; /* big-endian */
    u64 address;
};

/* Zeros go where the item has no more bytes. */
static bool copy(struct fw_cfg *f, const struct fw_cfg_item *i, u32 at, u64 to, u32 len)
{
    static const u8 zeros[4096];
    struct mem_space *m = f->dev.env->memory;
    u32 have = at < i->len ? MIN(i->len - at, len) : 0;
    if (have && mem_dma_write(m, to, i->data + at, have) != MEM_OK)
        return false;
    for (u32 done = have, n; done < len; done += n) {
        n = MIN(len - done, (u32)sizeof(zeros));
        if (mem_dma_write(m, to + done, zeros, n) != MEM_OK)
            return false;
    }
    return true;
}

static bool transfer(struct fw_cfg *f, u32 control, u32 len, u64 to)
{
    dev_lock(&f->dev);
    if (control & DMA_SELECT)
        choose(f, (u16)(control >> 16));
    const struct fw_cfg_item *i = selected(f);
    u32 at = f->offset;
    if (control & (DMA_READ | DMA_SKIP | DMA_WRITE))
        f->offset = len > ~at ? ~0u : at + len;
    dev_unlock(&f->dev);
    if (control & DMA_READ)
        return copy(f, i, at, to, len);
    return control & DMA_SKIP || !(control & DMA_WRITE); /* nothing here can be written */
}

static void run_dma(struct fw_cfg *f, u64 at)
{
    struct fw_cfg_dma dma;
    struct mem_space *m = f->dev.env->memory;
    bool good = mem_dma_read(m, at, &dma, sizeof(dma)) == MEM_OK &&
                transfer(f, be32toh(dma.control), be32toh(dma.len), be64toh(dma.address));
    u32 control = good ? 0 : htobe32(DMA_ERROR);
    mem_dma_write(m, at, &control, sizeof(control));
}

static u64 dma_read(struct dev *d, u64 offset, unsigned size)
{
    u64 v = htobe64(DMA_SIGNATURE) >> 8 * offset;
    return size == 8 ? v : (u32)v;
}

/* The address, big-endian, at once or in two halves; the lower one begins. */
static void dma_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct fw_cfg *f = (struct fw_cfg *)d;
    u64 at = be64toh(value);
    if (size < 8) {
        u32 half = be32toh((u32)value);
        dev_lock(d);
        at = (u64)f->dma_high << 32 | half;
        f->dma_high = offset ? 0 : half;
        dev_unlock(d);
        if (!offset)
            return;
    }
    run_dma(f, at);
}

/* ---- the class ---- */

static bool fw_cfg_start(struct dev *d, struct err *e)
{
    fw_cfg_set(d, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_set_number(d, FW_CFG_ID, ID_STREAM | ID_DMA, 4);
    set_directory((struct fw_cfg *)d);
    return true;
}

static void fw_cfg_reset(struct dev *d)
{
    struct fw_cfg *f = (struct fw_cfg *)d;
    dev_lock(d);
    choose(f, FW_CFG_SIGNATURE);
    f->dma_high = 0;
    dev_unlock(d);
}

static void fw_cfg_stop(struct dev *d)
{
    for (unsigned i = 0; i < KEYS; i++)
        free(((struct fw_cfg *)d)->item[i].data);
}

static void fw_cfg_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "fw-cfg", p->address[0]);
    fw_empty(n, "dma-coherent");
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x18}, 1);
    fw_string(n, "compatible", "qemu,fw-cfg-mmio");
}

static const struct dev_window fw_cfg_windows[] = {
    {"fwcfg.data", 8, data_read, data_write, .call_min = 1, .call_max = 8, .max = 8},
    {"fwcfg.ctl", 2, selector_read, selector_write, .call_min = 2, .call_max = 2, .max = 2},
    {"fwcfg.dma", 8, dma_read, dma_write, .call_min = 4, .call_max = 8, .max = 8},
    {0},
};

static const struct state_field fw_cfg_state[] = {
    STATE(struct fw_cfg, key), STATE(struct fw_cfg, offset), STATE(struct fw_cfg, dma_high), {0},
};

const struct dev_class dev_fw_cfg = {
    .name = "fw_cfg_mem", .help = "firmware configuration", .size = sizeof(struct fw_cfg), .owner = DEV_OWNER_SELF,
    .windows = fw_cfg_windows, .state = fw_cfg_state, .start = fw_cfg_start, .reset = fw_cfg_reset, .stop = fw_cfg_stop,
    .node = fw_cfg_node,
};
