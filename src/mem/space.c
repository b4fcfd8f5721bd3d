/* Spaces: the published view, and accesses through it. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "mem/view.h"

struct mem_space *mem_space_new(struct mem_range *root)
{
    struct mem_space *s = xcalloc(1, sizeof(*s));
    s->root = root;
    s->view = mem_view_new(root);
    return s;
}

void mem_space_free(struct mem_space *s)
{
    if (!s)
        return;
    mem_view_free(s->view);
    free(s);
}

void mem_space_listen(struct mem_space *s, struct mem_listener *l)
{
    l->next = s->listeners;
    s->listeners = l;
}

void mem_space_ignore(struct mem_space *s, struct mem_listener *l)
{
    struct mem_listener **at = &s->listeners;
    while (*at && *at != l)
        at = &(*at)->next;
    if (*at)
        *at = l->next;
}

void mem_space_update(struct mem_space *s)
{
    struct mem_view *v = mem_view_new(s->root);
    v->older = s->view;
    __atomic_store_n(&s->view, v, __ATOMIC_RELEASE);
    for (struct mem_listener *l = s->listeners; l; l = l->next) {
        if (l->changed)
            l->changed(l);
    }
}

void mem_space_reclaim(struct mem_space *s)
{
    mem_view_free(s->view->older);
    s->view->older = NULL;
}

bool mem_space_piece(struct mem_space *s, unsigned i, struct mem_piece *p)
{
    const struct mem_view *v = mem_view_now(s);
    if (i >= v->count)
        return false;
    const struct mem_flat *f = &v->flat[i];
    *p = (struct mem_piece){.start = f->start, .last = f->last, .name = f->range->name, .range = f->range, .offset = f->offset,
                            .ram = f->range->host != NULL, .writable = f->range->kind == MEM_RAM};
    return true;
}

static u8 *host_at(const struct mem_flat *f, u64 addr)
{
    return f->range->host + f->offset + (addr - f->start);
}

/* What is known of a logged page holds up to its end: *len becomes shorter. */
static bool to_be_noted(const struct mem_flat *f, u64 addr, u64 *len)
{
    u64 offset = f->offset + (addr - f->start);
    *len = MIN(*len, MEM_LOG_PAGE - offset % MEM_LOG_PAGE);
    return mem_log_is_clean(f->range, offset);
}

/* In the logs that are on. */
static void note_write(struct mem_space *s, u64 addr, u64 len)
{
    if (likely(!atomic_load(&s->logs)))
        return;
    for (u64 n; len; addr += n, len -= n) {
        const struct mem_flat *f = mem_view_find(mem_view_now(s), addr);
        if (!f)
            return;
        n = MIN(len - 1, f->last - addr) + 1;
        if (atomic_load(&f->range->logged))
            mem_log_note(f->range, f->offset + (addr - f->start), n);
    }
}

void *mem_host(struct mem_space *s, u64 addr, u64 *len, bool *writable)
{
    const struct mem_flat *f = mem_view_find(mem_view_now(s), addr);
    if (!f || !f->range->host)
        return NULL;
    *len = f->last - addr + 1;
    *writable = f->range->kind == MEM_RAM && !(atomic_load(&f->range->logged) && to_be_noted(f, addr, len));
    return host_at(f, addr);
}

void *mem_host_write(struct mem_space *s, u64 addr, u64 *len, bool *writable)
{
    void *host = mem_host(s, addr, len, writable);
    if (!host || *writable)
        return host;
    note_write(s, addr, 1);
    return mem_host(s, addr, len, writable);
}

static void tell_written(struct mem_space *s, u64 addr, u64 len)
{
    note_write(s, addr, len);
    for (struct mem_listener *l = s->listeners; l; l = l->next) {
        if (l->written)
            l->written(l, addr, len);
    }
}

/* ---- memory: single copies where the address is aligned, as other CPUs are looking on ---- */

static u64 memory_read(const u8 *p, unsigned size)
{
    u64 v = 0;
    if ((uintptr_t)p & (size - 1))
        memcpy(&v, p, size);
    else if (size == 1)
        v = *p;
    else if (size == 2)
        v = __atomic_load_n((const u16 *)p, __ATOMIC_RELAXED);
    else if (size == 4)
        v = __atomic_load_n((const u32 *)p, __ATOMIC_RELAXED);
    else
        v = __atomic_load_n((const u64 *)p, __ATOMIC_RELAXED);
    return v;
}

static void memory_write(u8 *p, unsigned size, u64 v)
{
    if ((uintptr_t)p & (size - 1))
        memcpy(p, &v, size);
    else if (size == 1)
        *p = (u8)v;
    else if (size == 2)
        __atomic_store_n((u16 *)p, (u16)v, __ATOMIC_RELAXED);
    else if (size == 4)
        __atomic_store_n((u32 *)p, (u32)v, __ATOMIC_RELAXED);
    else
        __atomic_store_n((u64 *)p, v, __ATOMIC_RELAXED);
}

/* ---- windows of devices ---- */

static u64 low_bytes(u64 v, unsigned size)
{
    return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

static u64 swap_bytes(u64 v, unsigned size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}

/* How a device gets one access: in `step` bytes at a time, from `first` on. A device that takes more
 * bytes than the access has is asked for all of them, and gets zeros for those that are not there. */
struct steps {
    u64 first;
    unsigned step;
};

static bool plan(const struct mem_io *io, u64 offset, unsigned size, struct steps *p)
{
    unsigned min = io->min ? io->min : 1, max = io->max ? io->max : 8;
    unsigned call_min = io->call_min ? io->call_min : min, call_max = io->call_max ? io->call_max : max;
    if (size < min || size > max || (!io->unaligned && offset & (size - 1)))
        return false;
    p->step = MAX(MIN(size, call_max), call_min);
    p->first = size < p->step ? ALIGN_DOWN(offset, p->step) : offset;
    return true;
}

static enum mem_result io_read(const struct mem_range *r, u64 offset, unsigned size, u64 *value)
{
    const struct mem_io *io = r->io;
    struct steps p;
    if (!io->read || !plan(io, offset, size, &p))
        return MEM_ERROR;
    u64 all = 0, v = 0;
    for (unsigned done = 0; done < size; done += p.step) {
        enum mem_result res = io->read(r->opaque, p.first + done, p.step, &v);
        if (res != MEM_OK)
            return res;
        v = low_bytes(v, p.step);
        if (io->big_endian)
            v = swap_bytes(v, p.step);
        if (p.step > size)
            v >>= 8 * (offset - p.first);
        all |= v << 8 * done;
    }
    *value = low_bytes(all, size);
    return MEM_OK;
}

static enum mem_result io_write(const struct mem_range *r, u64 offset, unsigned size, u64 value)
{
    const struct mem_io *io = r->io;
    struct steps p;
    if (!io->write || !plan(io, offset, size, &p))
        return MEM_ERROR;
    if (p.step > size)
        value = low_bytes(value, size) << 8 * (offset - p.first);
    for (unsigned done = 0; done < size; done += p.step) {
        u64 v = low_bytes(value >> 8 * done, p.step);
        if (io->big_endian)
            v = swap_bytes(v, p.step);
        enum mem_result res = io->write(r->opaque, p.first + done, p.step, v);
        if (res != MEM_OK)
            return res;
    }
    return MEM_OK;
}

/* ---- one access ---- */

/* An access over the border of two ranges is one for each byte. */
static enum mem_result read_bytes(struct mem_space *s, u64 addr, unsigned size, u64 *value)
{
    u64 all = 0, v;
    for (unsigned i = 0; i < size; i++) {
        enum mem_result res = mem_read(s, addr + i, 1, &v);
        if (res != MEM_OK)
            return res;
        all |= v << 8 * i;
    }
    *value = all;
    return MEM_OK;
}

static enum mem_result write_bytes(struct mem_space *s, u64 addr, unsigned size, u64 value)
{
    enum mem_result res = MEM_OK;
    for (unsigned i = 0; i < size && res == MEM_OK; i++)
        res = mem_write(s, addr + i, 1, value >> 8 * i & 0xff);
    return res;
}

static enum mem_result traced_read(const struct mem_flat *f, u64 addr, unsigned size, u64 *value)
{
    enum mem_result r = io_read(f->range, f->offset + (addr - f->start), size, value);
    if (unlikely(trace_on(TRACE_MEMORY_READ)))
        trace(TRACE_MEMORY_READ, "addr %#llx value %#llx size %u name '%s'", (unsigned long long)addr,
              (unsigned long long)(r == MEM_OK ? *value : 0), size, f->range->name);
    return r;
}

static enum mem_result traced_write(const struct mem_flat *f, u64 addr, unsigned size, u64 value)
{
    if (unlikely(trace_on(TRACE_MEMORY_WRITE)))
        trace(TRACE_MEMORY_WRITE, "addr %#llx value %#llx size %u name '%s'", (unsigned long long)addr, (unsigned long long)value,
              size, f->range->name);
    return io_write(f->range, f->offset + (addr - f->start), size, value);
}

enum mem_result mem_read(struct mem_space *s, u64 addr, unsigned size, u64 *value)
{
    const struct mem_flat *f = mem_view_find(mem_view_now(s), addr);
    if (!f)
        return MEM_NONE;
    if (f->last - addr < size - 1)
        return read_bytes(s, addr, size, value);
    if (!f->range->host)
        return traced_read(f, addr, size, value);
    *value = memory_read(host_at(f, addr), size);
    return MEM_OK;
}

enum mem_result mem_write(struct mem_space *s, u64 addr, unsigned size, u64 value)
{
    const struct mem_flat *f = mem_view_find(mem_view_now(s), addr);
    if (!f)
        return MEM_NONE;
    if (f->last - addr < size - 1)
        return write_bytes(s, addr, size, value);
    if (!f->range->host)
        return traced_write(f, addr, size, value);
    if (f->range->kind == MEM_ROM)
        return f->range->drops ? MEM_OK : MEM_ERROR;
    memory_write(host_at(f, addr), size, value);
    tell_written(s, addr, size);
    return MEM_OK;
}

/* ---- copies ---- */

/* The host memory of the next bytes at `addr`, at most `len`; *got: how many. NULL with the reason in *why. */
static u8 *span(struct mem_space *s, u64 addr, u64 len, bool write, u64 *got, enum mem_result *why)
{
    const struct mem_flat *f = mem_view_find(mem_view_now(s), addr);
    *why = f ? MEM_ERROR : MEM_NONE;
    if (!f || !f->range->host || (write && f->range->kind == MEM_ROM)) {
        log_print(LOG_GUEST_ERROR, "DMA %s %#llx, where there is %s\n", write ? "to" : "from",
                  (unsigned long long)addr, f ? f->range->name : "nothing");
        return NULL;
    }
    *got = MIN(len - 1, f->last - addr) + 1;
    return host_at(f, addr);
}

void *mem_dma_map(struct mem_space *s, u64 addr, u64 len, bool write, u64 *got)
{
    enum mem_result why;
    return len ? span(s, addr, len, write, got, &why) : NULL;
}

void mem_dma_written(struct mem_space *s, u64 addr, u64 len)
{
    tell_written(s, addr, len);
}

void mem_dma_copy(void *to, const void *from, u64 len)
{
#ifdef __SANITIZE_THREAD__ /* what would be a race in a host's program is none in a machine */
    for (u64 i = 0; i < len; i++)
        __atomic_store_n((u8 *)to + i, __atomic_load_n((const u8 *)from + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
#else
    memcpy(to, from, len);
#endif
}

enum mem_result mem_dma_read(struct mem_space *s, u64 addr, void *to, u64 len)
{
    u64 n;
    enum mem_result why;
    for (u8 *p = to; len; p += n, addr += n, len -= n) {
        const u8 *host = span(s, addr, len, false, &n, &why);
        if (!host)
            return why;
        mem_dma_copy(p, host, n);
    }
    return MEM_OK;
}

static enum mem_result copy_in(struct mem_space *s, u64 addr, const void *from, u64 len, bool protected)
{
    u64 n;
    enum mem_result why;
    for (const u8 *p = from; len; p += n, addr += n, len -= n) {
        u8 *host = span(s, addr, len, protected, &n, &why);
        if (!host)
            return why;
        mem_dma_copy(host, p, n);
        tell_written(s, addr, n);
    }
    return MEM_OK;
}

enum mem_result mem_dma_write(struct mem_space *s, u64 addr, const void *from, u64 len)
{
    return copy_in(s, addr, from, len, true);
}

enum mem_result mem_load(struct mem_space *s, u64 addr, const void *from, u64 len)
{
    return copy_in(s, addr, from, len, false);
}
