/* The interrupt translation service of GICv3 (IHI 0069H, chapter 5): what a device with a number writes to a register
 * becomes an LPI at a CPU, by tables in the guest's memory that only this code reads and writes.
 *
 * Commands are served on the machine's loop, messages come from any thread. */
#include <errno.h>
#include <stdatomic.h>

#include "dev/irq/gicv3.h"
#include "dev/list.h"

enum {
    GITS_CTLR = 0x0000, GITS_IIDR = 0x0004, GITS_TYPER = 0x0008, GITS_CBASER = 0x0080, GITS_CWRITER = 0x0088,
    GITS_CREADR = 0x0090, GITS_BASER = 0x0100, GITS_BASER_END = 0x0140, IDS = 0xffd0, GITS_TRANSLATER = 0x0040,
};

enum { CTLR_ENABLED = 1, CTLR_STALLED_BIT = 31, BITS = 16, ITE_SIZE = 12, TABLE_ENTRY = 8, COMMAND = 32 };
enum { DEVICES, COLLECTIONS, TABLES = 8 };

#define VALID (1ull << 63)
#define TYPER (1ull | (ITE_SIZE - 1) << 4 | (BITS - 1) << 8 | (BITS - 1) << 13 | (BITS - 1ull) << 32 | 1ull << 36)
/* Of GITS_BASER: a table in the memory, its kind and the size of its entries, which are fixed; two levels. */
#define TABLE_FIXED (7ull << 56 | 0x1full << 48)
#define TABLE_INDIRECT (1ull << 62)
#define ADDRESS_52 0xffffffffff000ull

enum its_command {
    MOVI = 0x01, INT = 0x03, CLEAR = 0x04, SYNC = 0x05, MAPD = 0x08, MAPC = 0x09, MAPTI = 0x0a, MAPI = 0x0b, INV = 0x0c,
    INVALL = 0x0d, MOVALL = 0x0e, DISCARD = 0x0f,
};

struct its {
    struct dev dev;
    struct dev *gic;
    u32 ctlr;
    u64 cbase, cwrite, cread, base[TABLES];

    struct loop_task task;
    _Atomic bool posted;
};

/* Where an event of a device leads: 12 bytes in the device's table. */
struct entry {
    u32 valid, irq, collection;
};
_Static_assert(sizeof(struct entry) == ITE_SIZE, "as GITS_TYPER says");

/* ---- tables ---- */

static struct mem_space *memory(const struct its *s)
{
    return s->dev.env->memory;
}

static u64 locked(struct its *s, const u64 *reg)
{
    dev_lock(&s->dev);
    u64 v = *reg;
    dev_unlock(&s->dev);
    return v;
}

/* Bytes of a page of a table, and where tables are: with pages of 64 KiB the upper bits are elsewhere. */
static u64 page_size(u64 base)
{
    unsigned code = base >> 8 & 3;
    return code == 0 ? 4096 : code == 1 ? 16384 : 65536;
}

static u64 table_address(u64 base)
{
    u64 low = base & 0xfffffffff000ull;
    return page_size(base) == 65536 ? (low & ~0xffffull) | (base >> 12 & 15) << 48 : low;
}

/* The address of the i-th entry of a table; 0: there is none. */
static u64 entry_address(struct its *s, unsigned table, u64 i)
{
    u64 base = locked(s, &s->base[table]), page = page_size(base), per_page = page / TABLE_ENTRY, first = 0;
    u64 size = ((base & 0xff) + 1) * page;
    if (!(base & VALID) || i >> BITS)
        return 0;
    if (!(base & TABLE_INDIRECT))
        return (i + 1) * TABLE_ENTRY <= size ? table_address(base) + i * TABLE_ENTRY : 0;
    if ((i / per_page + 1) * 8 > size ||
        mem_dma_read(memory(s), table_address(base) + i / per_page * 8, &first, 8) != MEM_OK || !(first & VALID))
        return 0;
    return (first & ADDRESS_52) + i % per_page * TABLE_ENTRY;
}

static u64 read_entry(struct its *s, unsigned table, u64 i)
{
    u64 v = 0, at = entry_address(s, table, i);
    return at && mem_dma_read(memory(s), at, &v, 8) == MEM_OK ? v : 0;
}

static bool write_entry(struct its *s, unsigned table, u64 i, u64 v)
{
    u64 at = entry_address(s, table, i);
    return at && mem_dma_write(memory(s), at, &v, 8) == MEM_OK;
}

/* Where a device's entry for an event is; 0: it has none. An entry for a device: valid, the address, bits - 1 of events. */
static u64 event_address(struct its *s, u32 device, u32 event)
{
    u64 d = read_entry(s, DEVICES, device);
    if (!(d & VALID) || event >> ((d & 0x1f) + 1))
        return 0;
    return (d & ~VALID & ~0xffull) + (u64)event * ITE_SIZE;
}

static bool read_event(struct its *s, u32 device, u32 event, struct entry *t)
{
    u64 at = event_address(s, device, event);
    return at && mem_dma_read(memory(s), at, t, sizeof(*t)) == MEM_OK && t->valid;
}

static bool write_event(struct its *s, u32 device, u32 event, const struct entry *t)
{
    u64 at = event_address(s, device, event);
    return at && mem_dma_write(memory(s), at, t, sizeof(*t)) == MEM_OK;
}

/* The CPU that a collection is of. */
static bool read_collection(struct its *s, u32 collection, unsigned *cpu)
{
    u64 c = read_entry(s, COLLECTIONS, collection);
    *cpu = c & 0xffff;
    return c & VALID;
}

/* ---- messages ---- */

static bool set_event(struct its *s, u32 device, u32 event, bool pending)
{
    struct entry t;
    unsigned cpu;
    if (!read_event(s, device, event, &t) || !read_collection(s, t.collection, &cpu))
        return false;
    gicv3_lpi(s->gic, cpu, t.irq, pending);
    return true;
}

static void its_message(struct dev *d, u32 source, u64 offset, u32 data)
{
    struct its *s = (struct its *)d;
    dev_lock(d);
    bool on = s->ctlr & CTLR_ENABLED;
    dev_unlock(d);
    if (on && offset == GITS_TRANSLATER && !set_event(s, source, data, true))
        dev_guest_error(d, "device %#x has no event %u", source, data);
}

/* ---- commands ---- */

static bool map_device(struct its *s, const u64 c[4])
{
    u64 entry = c[2] & VALID ? VALID | (c[2] & 0xfffffffffff00ull) | (c[1] & 0x1f) : 0;
    return (c[1] & 0x1f) < BITS && write_entry(s, DEVICES, c[0] >> 32, entry);
}

static bool map_collection(struct its *s, const u64 c[4])
{
    u64 entry = c[2] & VALID ? VALID | (c[2] >> 16 & 0xffff) : 0;
    return write_entry(s, COLLECTIONS, c[2] & 0xffff, entry);
}

static bool map_event(struct its *s, const u64 c[4], u32 irq)
{
    const struct entry t = {1, irq, c[2] & 0xffff};
    return irq >= GICV3_LPI_FIRST && irq < 1u << GICV3_ID_BITS && write_event(s, c[0] >> 32, (u32)c[1], &t);
}

static bool discard(struct its *s, const u64 c[4])
{
    const struct entry none = {0};
    return set_event(s, c[0] >> 32, (u32)c[1], false) && write_event(s, c[0] >> 32, (u32)c[1], &none);
}

static bool move_event(struct its *s, const u64 c[4])
{
    struct entry t;
    unsigned from, to;
    if (!read_event(s, c[0] >> 32, (u32)c[1], &t) || !read_collection(s, t.collection, &from) ||
        !read_collection(s, c[2] & 0xffff, &to))
        return false;
    t.collection = c[2] & 0xffff;
    gicv3_lpi_move(s->gic, from, to, t.irq);
    return write_event(s, c[0] >> 32, (u32)c[1], &t);
}

static bool invalidate(struct its *s, const u64 c[4])
{
    struct entry t;
    if (!read_event(s, c[0] >> 32, (u32)c[1], &t))
        return false;
    gicv3_lpi_reload(s->gic, t.irq);
    return true;
}

/* Section 5.3; false: it cannot be done, and is left out. */
static bool execute(struct its *s, const u64 c[4])
{
    switch ((enum its_command)(c[0] & 0xff)) {
    case MAPD: return map_device(s, c);
    case MAPC: return map_collection(s, c);
    case MAPTI: return map_event(s, c, c[1] >> 32);
    case MAPI: return map_event(s, c, (u32)c[1]);
    case MOVI: return move_event(s, c);
    case DISCARD: return discard(s, c);
    case INT: return set_event(s, c[0] >> 32, (u32)c[1], true);
    case CLEAR: return set_event(s, c[0] >> 32, (u32)c[1], false);
    case INV: return invalidate(s, c);
    case INVALL: gicv3_lpi_reload_all(s->gic); return true;
    case MOVALL: gicv3_lpi_move_all(s->gic, c[2] >> 16 & 0xffff, c[3] >> 16 & 0xffff); return true;
    case SYNC: return true; /* all is in order anyway */
    }
    return false;
}

/* The next command and where it is; false: there is none. */
static bool next_command(struct its *s, u64 c[4], u64 *next)
{
    dev_lock(&s->dev);
    u64 size = ((s->cbase & 0xff) + 1) * 4096, at = s->cread, base = s->cbase;
    bool on = s->ctlr & CTLR_ENABLED && base & VALID && at != s->cwrite && s->cwrite < size && at < size;
    dev_unlock(&s->dev);
    *next = (at + COMMAND) % size;
    return on && mem_dma_read(memory(s), (base & ADDRESS_52) + at, c, COMMAND) == MEM_OK;
}

static void serve(struct loop_task *task)
{
    struct its *s = container_of(task, struct its, task);
    u64 c[4], next;
    atomic_store(&s->posted, false);
    while (next_command(s, c, &next)) {
        if (!execute(s, c))
            dev_guest_error(&s->dev, "command %#x cannot be done", (unsigned)c[0] & 0xff);
        dev_lock(&s->dev);
        s->cread = next;
        dev_unlock(&s->dev);
    }
}

/* ---- registers ---- */

static const u64 *wide(const struct its *s, u64 offset)
{
    switch (offset & ~7ull) {
    case GITS_CBASER: return &s->cbase;
    case GITS_CWRITER: return &s->cwrite;
    case GITS_CREADR: return &s->cread;
    case GITS_BASER ... GITS_BASER_END - 1: return &s->base[(offset - GITS_BASER) / 8];
    }
    return NULL;
}

static u64 its_read(struct dev *d, u64 offset, unsigned size)
{
    const struct its *s = (struct its *)d;
    const u64 *reg = wide(s, offset);
    switch (offset) {
    case GITS_CTLR: return s->ctlr | 1u << CTLR_STALLED_BIT;
    case GITS_IIDR: return 0x43b;
    case GITS_TYPER:
    case GITS_TYPER + 4: return (u32)(TYPER >> 8 * (offset & 4));
    case IDS ... 0xffff: return gicv3_identification(offset, 0x94);
    }
    return reg ? (u32)(*reg >> 8 * (offset & 4)) : 0;
}

static void put_half(u64 *to, u64 offset, u64 value, u64 writable)
{
    unsigned shift = 8 * (offset & 4);
    u64 m = writable & 0xffffffffull << shift;
    *to = (*to & ~m) | (value << shift & m);
}

/* Tables and the queue can be moved while the service is off. */
static void its_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct its *s = (struct its *)d;
    bool off = !(s->ctlr & CTLR_ENABLED);
    switch (offset) {
    case GITS_CTLR: s->ctlr = value & CTLR_ENABLED; break;
    case GITS_CBASER:
    case GITS_CBASER + 4:
        if (off) {
            put_half(&s->cbase, offset, value, ~0ull);
            s->cread = 0;
        }
        break;
    case GITS_CWRITER: s->cwrite = value & 0xfffe0; break;
    case GITS_CWRITER + 4: return;
    case GITS_BASER ... GITS_BASER + 15:
        if (off)
            put_half(&s->base[(offset - GITS_BASER) / 8], offset, value, ~TABLE_FIXED);
        return;
    case GITS_BASER + 16 ... GITS_BASER_END - 1: return; /* tables that are not there */
    default: dev_guest_error(d, "write of register %#x", (unsigned)offset); return;
    }
    if (!atomic_exchange(&s->posted, true))
        loop_post(d->env->loop, &s->task);
}

/* CPUs are no devices, and have no number. */
static u64 translate_read(struct dev *d, u64 offset, unsigned size)
{
    return 0;
}

static void translate_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    dev_guest_error(d, "a message that is from no device");
}

/* ---- life ---- */

static bool its_start(struct dev *d, struct err *e)
{
    struct its *s = (struct its *)d;
    s->task.run = serve;
    return s->gic || err_set(e, EINVAL, "parent-gicv3 property not set");
}

static void its_reset(struct dev *d)
{
    struct its *s = (struct its *)d;
    s->ctlr = 0;
    s->cbase = s->cwrite = s->cread = 0;
    for (unsigned i = 0; i < TABLES; i++)
        s->base[i] = 0;
    s->base[DEVICES] = 1ull << 56 | (TABLE_ENTRY - 1ull) << 48 | 2 << 8;
    s->base[COLLECTIONS] = 4ull << 56 | (TABLE_ENTRY - 1ull) << 48 | 2 << 8;
}

static void its_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "its", p->address[0]);
    fw_phandle(n);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x20000}, 1);
    fw_cell(n, "#msi-cells", 1);
    fw_empty(n, "msi-controller");
    fw_string(n, "compatible", "arm,gic-v3-its");
}

static const struct dev_window its_windows[] = {
    {"gicv3_its_control", 0x10000, its_read, its_write, .max = 8},
    {"gicv3_its_translation", 0x10000, translate_read, translate_write},
    {0},
};

static const struct dev_prop its_props[] = {
    DEV_PROP(struct its, "parent-gicv3", DEV_PROP_DEV, gic, .help = "the interrupt controller"), {0}};

static const struct state_field its_state[] = {
    STATE(struct its, ctlr), STATE(struct its, cbase), STATE(struct its, cwrite), STATE(struct its, cread),
    STATE_ARRAY(struct its, base, u64), {0},
};

const struct dev_class dev_gicv3_its = {
    .name = "arm-gicv3-its", .help = "Arm GICv3 interrupt translation service", .size = sizeof(struct its),
    .windows = its_windows, .props = its_props, .state = its_state, .start = its_start, .reset = its_reset,
    .node = its_node, .message = its_message,
};
