#include "jit/cache/cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "jit/cache/where.h"

/* Shared memory without a file: no descriptor that the guest could see or close, no limit on file
 * sizes that it could set. */
static void *make_memory(size_t size, struct err *e)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p != MAP_FAILED)
        return p;
    err_set(e, errno, "cannot make %zu MiB of code memory: %s", size >> 20, strerror(errno));
    return NULL;
}

/* Map what is at c->rw a second time, executable: at c->rx if that is set. */
static bool map_again(struct jit_cache *c, struct err *e)
{
    int flags = MREMAP_MAYMOVE | (c->rx ? MREMAP_FIXED : 0);
    void *rx = mremap(c->rw, 0, c->size, flags, (void *)(uintptr_t)c->rx);
    if (rx == MAP_FAILED || mprotect(rx, c->size, PROT_READ | PROT_EXEC) < 0)
        return err_set(e, errno, "cannot map code memory: %s", strerror(errno));
    c->rx = rx;
    return true;
}

/* The tables of all segments at once: large enough for memory that is not there until it is used. */
static void make_tables(struct jit_cache *c)
{
    size_t regions = c->segment_size / JIT_MIN_CODE, granules = c->segment_size / JIT_GRANULE;
    struct jit_region **region = xcalloc(JIT_SEGMENTS * regions, sizeof(*region));
    u32 *first = xcalloc(JIT_SEGMENTS * granules, sizeof(*first));
    for (unsigned k = 0; k < JIT_SEGMENTS; k++) {
        c->segment[k].region = region + k * regions;
        c->segment[k].first = first + k * granules;
    }
}

bool cache_init(struct jit_cache *c, const struct host *host, struct host_cpu *cpu, size_t size,
                struct err *e)
{
    memset(c, 0, sizeof(*c));
    c->host = host;
    c->cpu = cpu;
    c->thunk_size = 16384;
    c->segment_size = ALIGN_UP(MAX(size / JIT_SEGMENTS, (size_t)2 * JIT_MAX_CODE), 4096);
    c->size = c->thunk_size + JIT_SEGMENTS * c->segment_size;
    c->epoch = 1;
    c->hash = xcalloc((size_t)1 << JIT_HASH_BITS, sizeof(*c->hash));
    c->rw = make_memory(c->size, e);
    if (!c->rw || !map_again(c, e))
        return false;
    make_tables(c);
    struct host_buf buf = {.rw = c->rw, .rx = c->rx, .size = c->thunk_size};
    if (!host->make_thunks(cpu, &buf))
        return err_set(e, 0, "the shared code does not fit its %zu bytes", c->thunk_size);
    return true;
}

/* The copy is made before the fork, by the parent: afterwards it goes on to change its own. */
bool cache_fork_prepare(struct jit_cache *c, struct err *e)
{
    size_t used = c->thunk_size + c->current * c->segment_size + c->used;
    size_t all = c->stat_evicted ? c->size : used; /* after the first round all segments count */
    c->fork_copy = make_memory(c->size, e);
    if (c->fork_copy)
        memcpy(c->fork_copy, c->rw, all);
    return c->fork_copy != NULL;
}

void cache_fork_parent(struct jit_cache *c)
{
    if (c->fork_copy)
        munmap(c->fork_copy, c->size);
    c->fork_copy = NULL;
}

bool cache_fork_child(struct jit_cache *c, struct err *e)
{
    void *copy = c->fork_copy;
    c->fork_copy = NULL;
    if (!copy)
        return err_set(e, ENOMEM, "there is no copy of the code memory");
    if (mremap(copy, c->size, c->size, MREMAP_MAYMOVE | MREMAP_FIXED, c->rw) == MAP_FAILED)
        return err_set(e, errno, "cannot map code memory: %s", strerror(errno));
    return map_again(c, e);
}

static struct jit_region **bucket(const struct jit_cache *c, u64 pc, u32 key)
{
    /* neighbours stay neighbours, so that a small program touches little of the table */
    u64 h = pc >> 2 ^ pc >> (JIT_HASH_BITS + 2) ^ key * 0x9e3779b1u;
    return &c->hash[h & ((1u << JIT_HASH_BITS) - 1)];
}

struct jit_region *cache_find(const struct jit_cache *c, u64 pc, u32 key, u64 phys)
{
    struct jit_region *r = *bucket(c, pc, key);
    while (r && (r->pc != pc || r->key != key || r->phys != phys))
        r = r->hash_next;
    return r;
}

struct jit_region *cache_find_other(const struct jit_cache *c, const struct jit_region *than)
{
    struct jit_region *r = *bucket(c, than->pc, than->key);
    while (r && (r == than || r->pc != than->pc || r->key != than->key || r->phys != than->phys))
        r = r->hash_next;
    return r;
}

static void unlink_link(struct jit_cache *c, struct jit_link *l)
{
    struct jit_region *from = l->from;
    *l->prev = l->next;
    if (l->next)
        l->next->prev = l->prev;
    l->to = NULL;
    c->host->patch(c->cpu, c->rw + from->off, c->rx + from->off, l->at, l->stub, NULL);
}

void cache_link(struct jit_cache *c, struct jit_link *l, struct jit_region *to)
{
    struct jit_region *from = l->from;
    if (l->to || from->dead || to->dead)
        return;
    l->to = to;
    l->next = to->incoming;
    l->prev = &to->incoming;
    if (l->next)
        l->next->prev = &l->next;
    to->incoming = l;
    c->host->patch(c->cpu, c->rw + from->off, c->rx + from->off, l->at, l->stub,
                   c->rx + to->off + (l->polls ? to->entry : to->body));
}

static bool knows_page(const struct jit_region *r, u64 page)
{
    for (u32 i = 0; i < r->npages; i++) {
        if (r->page[i].number == page)
            return true;
    }
    return false;
}

static void add_page(struct jit_cache *c, struct jit_region *r, u64 page)
{
    struct jit_page_ref **head = &c->pages[page & ((1 << JIT_PAGE_BITS) - 1)];
    struct jit_page_ref *ref = &r->page[r->npages++];
    *ref = (struct jit_page_ref){r, page, *head, head};
    if (*head)
        (*head)->prev = &ref->next;
    *head = ref;
}

/* The pages that n ranges touch, at most: neighbours often touch the same. */
static u32 count_pages(const struct jit_range *range, u32 n)
{
    u64 last = ~0ull;
    u32 pages = 0;
    for (u32 i = 0; i < n; i++) {
        u64 first = range[i].start >> 12;
        u64 end = (range[i].start + MAX(range[i].len, 1u) - 1) >> 12;
        pages += (u32)(end - first) + (first != last);
        last = end;
    }
    return pages;
}

static void add_ranges(struct jit_cache *c, struct jit_region *r, const struct jit_range *range, u32 n)
{
    r->nranges = n;
    for (u32 i = 0; i < n; i++) {
        r->range[i] = (struct jit_range){range[i].start, MAX(range[i].len, 1u)};
        u64 last = (r->range[i].start + r->range[i].len - 1) >> 12;
        for (u64 page = r->range[i].start >> 12; page <= last; page++) {
            if (!knows_page(r, page))
                add_page(c, r, page);
        }
    }
}

static void leave_hash(struct jit_region *r)
{
    if (!r->hash_prev)
        return;
    *r->hash_prev = r->hash_next;
    if (r->hash_next)
        r->hash_next->hash_prev = r->hash_prev;
    r->hash_prev = NULL;
}

/* Take a region out of every index; its memory stays as it is. */
static void remove_region(struct jit_cache *c, struct jit_region *r)
{
    if (r->dead)
        return;
    r->dead = true;
    leave_hash(r);
    for (u32 i = 0; i < r->npages; i++) {
        *r->page[i].prev = r->page[i].next;
        if (r->page[i].next)
            r->page[i].next->prev = r->page[i].prev;
    }
    while (r->incoming)
        unlink_link(c, r->incoming);
    for (u32 i = 0; i < r->nlinks; i++) {
        if (r->link[i].to)
            unlink_link(c, &r->link[i]);
    }
}

void cache_supersede(struct jit_cache *c, struct jit_region *old, struct jit_region *by)
{
    leave_hash(old);
    while (old->incoming) {
        struct jit_link *l = old->incoming;
        unlink_link(c, l);
        cache_link(c, l, by);
    }
}

/* A region with room for its lists, in one piece: those with larger alignment come first. */
static struct jit_region *make_region(struct arena *to, const struct host_buf *buf, u32 nranges, u32 npages)
{
    size_t links = sizeof(struct jit_region);
    size_t ranges = links + buf->nlinks * sizeof(struct jit_link);
    size_t pages = ranges + nranges * sizeof(struct jit_range);
    size_t faults = pages + npages * sizeof(struct jit_page_ref);
    size_t sites = faults + buf->nfaults * sizeof(struct jit_fault);
    u8 *at = arena_alloc(to, sites + buf->nfp_sites * sizeof(struct jit_fp_site));
    struct jit_region *r = (void *)at;
    r->link = (void *)(at + links);
    r->range = (void *)(at + ranges);
    r->page = (void *)(at + pages);
    r->fault = (void *)(at + faults);
    r->fp_site = (void *)(at + sites);
    return r;
}

static void empty_segment(struct jit_cache *c, unsigned k)
{
    struct jit_segment *seg = &c->segment[k];
    for (u32 i = 0; i < seg->count; i++) {
        c->stat_evicted += !seg->region[i]->dead;
        remove_region(c, seg->region[i]);
    }
    if (seg->count)
        c->epoch++;
    seg->epoch = c->epoch;
}

static void free_segment(const struct jit_cache *c, struct jit_segment *seg)
{
    arena_reset(&seg->records);
    seg->count = 0;
    memset(seg->first, 0, c->segment_size / JIT_GRANULE * sizeof(*seg->first));
}

void cache_free(struct jit_cache *c)
{
    for (unsigned k = 0; k < JIT_SEGMENTS; k++)
        arena_free(&c->segment[k].records);
    free(c->bytes.data);
    free(c->segment[0].region);
    free(c->segment[0].first);
    free(c->hash);
    munmap(c->rw, c->size);
    munmap((void *)(uintptr_t)c->rx, c->size);
}

static size_t segment_offset(const struct jit_cache *c, unsigned k)
{
    return c->thunk_size + k * c->segment_size;
}

/* The segment after the one that is started is emptied ahead of its turn, so that by then every
 * thread has most likely passed a safepoint and nobody waits. */
void cache_room(struct jit_cache *c, struct host_buf *buf)
{
    if (c->used + JIT_MAX_CODE > c->segment_size) {
        unsigned next = (c->current + 1) % JIT_SEGMENTS;
        if (c->segment[next].count) {
            empty_segment(c, next); /* nothing is left to do after the first round */
            c->wait(c->opaque, c->segment[next].epoch);
            free_segment(c, &c->segment[next]);
        }
        c->current = next;
        c->used = 0;
        empty_segment(c, (next + 1) % JIT_SEGMENTS);
    }
    size_t off = segment_offset(c, c->current) + c->used;
    buf->rw = c->rw + off;
    buf->rx = c->rx + off;
    buf->size = JIT_MAX_CODE;
}

/* To the current segment. A granule names the region that its first byte belongs to. */
static void append(struct jit_cache *c, struct jit_region *r)
{
    struct jit_segment *seg = &c->segment[c->current];
    u32 at = (u32)(r->off - segment_offset(c, c->current));
    seg->region[seg->count] = r;
    for (u32 g = ALIGN_UP(at, JIT_GRANULE) / JIT_GRANULE; g * JIT_GRANULE < at + r->size; g++)
        seg->first[g] = seg->count;
    atomic_fetch_add(&seg->count, 1);
}

struct jit_region *cache_add(struct jit_cache *c, const struct ra *ra, const struct host_buf *buf,
                             const struct jit_range *range, u32 nranges, u64 phys)
{
    const struct ir_region *ir = ra->r;
    struct jit_region *r = make_region(&c->segment[c->current].records, buf, nranges, count_pages(range, nranges));
    r->pc = ir->pc;
    r->key = ir->key | (ir->neighbours == IR_APART ? JIT_KEY_APART : 0);
    r->phys = phys;
    r->insns = ir->insns;
    r->off = (u32)(buf->rx - c->rx);
    r->size = (u32)buf->used;
    r->entry = buf->entry;
    r->body = buf->body;
    r->nlinks = buf->nlinks;
    r->nfaults = buf->nfaults;
    r->nfp_sites = buf->nfp_sites;
    for (u32 i = 0; i < buf->nlinks; i++) {
        const struct host_link *l = &buf->link[i];
        r->link[i] = (struct jit_link){.pc = l->pc, .at = l->at, .stub = l->stub,
                                       .polls = l->polls, .from = r};
    }
    for (u32 i = 0; i < buf->nfp_sites; i++)
        r->fp_site[i] = (struct jit_fp_site){buf->fp_site[i].end,
                                             (s32)(buf->fp_site[i].pc - ir->pc)};
    where_encode(c, ra, buf, r);
    struct jit_region **head = bucket(c, r->pc, r->key);
    r->hash_next = *head;
    r->hash_prev = head;
    if (*head)
        (*head)->hash_prev = &r->hash_next;
    *head = r;
    add_ranges(c, r, range, nranges);
    append(c, r);
    c->used = ALIGN_UP(c->used + MAX(buf->used, (size_t)JIT_MIN_CODE), 16);
    c->stat_regions++;
    c->stat_bytes += buf->used;
    return r;
}

static bool overlaps(const struct jit_region *r, u64 start, u64 last)
{
    for (u32 i = 0; i < r->nranges; i++) {
        if (r->range[i].start <= last && r->range[i].start + r->range[i].len - 1 >= start)
            return true;
    }
    return false;
}

unsigned cache_regions_over(const struct jit_cache *c, u64 addr, unsigned tier, struct jit_region **out, unsigned max)
{
    unsigned n = 0;
    struct jit_page_ref *ref = c->pages[addr >> 12 & ((1 << JIT_PAGE_BITS) - 1)];
    for (; ref && n < max; ref = ref->next) {
        struct jit_region *r = ref->region;
        bool listed = n && out[n - 1] == r; /* references of one region stand together */
        if (r->tier == tier && overlaps(r, addr, addr) && !listed)
            out[n++] = r;
    }
    return n;
}

static unsigned invalidate_chain(struct jit_cache *c, struct jit_page_ref *ref, u64 start, u64 last)
{
    unsigned n = 0;
    while (ref) {
        struct jit_page_ref *next = ref->next;
        if (overlaps(ref->region, start, last)) {
            /* other references of the region may stand in this chain, and go with it */
            while (next && next->region == ref->region)
                next = next->next;
            remove_region(c, ref->region);
            n++;
        }
        ref = next;
    }
    return n;
}

unsigned cache_invalidate(struct jit_cache *c, u64 start, u64 len)
{
    unsigned n = 0;
    c->changes++;
    u64 last = start + (len ? len - 1 : 0), first_page = start >> 12, pages = (last >> 12) - first_page;
    u64 chains = MIN(pages + 1, (u64)1 << JIT_PAGE_BITS);
    for (u64 i = 0; i < chains; i++)
        n += invalidate_chain(c, c->pages[(first_page + i) & ((1 << JIT_PAGE_BITS) - 1)], start,
                              last);
    c->stat_invalidated += n;
    c->epoch += n != 0;
    return n;
}

void cache_flush(struct jit_cache *c)
{
    for (unsigned k = 0; k < JIT_SEGMENTS; k++)
        empty_segment(c, k);
    c->epoch++;
    c->changes++;
}

struct jit_region *cache_at(const struct jit_cache *c, const u8 *rx)
{
    size_t off = (size_t)(rx - c->rx);
    if (off < c->thunk_size || off >= c->size)
        return NULL;
    off -= c->thunk_size;
    const struct jit_segment *seg = &c->segment[off / c->segment_size];
    u32 count = seg->count, i = seg->first[off % c->segment_size / JIT_GRANULE];
    off += c->thunk_size;
    while (i < count && off >= seg->region[i]->off + seg->region[i]->size)
        i++;
    return i < count && off >= seg->region[i]->off ? seg->region[i] : NULL;
}

struct jit_link *region_link_at(const struct jit_cache *c, struct jit_region *r, const u8 *stub)
{
    u32 off = (u32)(stub - c->rx) - r->off;
    for (u32 i = 0; i < r->nlinks; i++) {
        if (r->link[i].stub == off)
            return &r->link[i];
    }
    return NULL;
}

u64 cache_left(const struct jit_cache *c, u32 exit, const u8 *left)
{
    struct jit_region *r = cache_at(c, left);
    return exit == HOST_EXIT_LINK ? region_link_at(c, r, left)->pc : r->pc;
}

u64 region_fp_pc(const struct jit_cache *c, const struct jit_region *r, const u8 *pc)
{
    u32 at = (u32)(pc - c->rx) - r->off, i = 0;
    while (i + 1 < r->nfp_sites && r->fp_site[i].end <= at)
        i++;
    return r->pc + (u64)(s64)(r->nfp_sites ? r->fp_site[i].pc : 0);
}

const struct jit_fault *region_fault_at(const struct jit_cache *c, const struct jit_region *r,
                                        const u8 *pc)
{
    u32 off = (u32)(pc - c->rx) - r->off;
    for (u32 i = 0; i < r->nfaults; i++) {
        if (off - r->fault[i].start < r->fault[i].len)
            return &r->fault[i];
    }
    return NULL;
}
