#include "jit/cache/cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "jit/cache/where.h"

#define PAGE_BITS 12
#define PAGE      (1ull << PAGE_BITS)

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
static bool make_tables(struct jit_cache *c, struct err *e)
{
    size_t regions = c->segment_size / JIT_MIN_CODE, granules = c->segment_size / JIT_GRANULE;
    jit_ref *region = xcalloc(JIT_SEGMENTS * regions, sizeof(*region));
    u32 *first = xcalloc(JIT_SEGMENTS * granules, sizeof(*first));
    for (unsigned k = 0; k < JIT_SEGMENTS; k++) {
        c->segment[k].region = region + k * regions;
        c->segment[k].first = first + k * granules;
    }
    c->records_size = 2 * c->segment_size + JIT_MAX_RECORD;
    c->records = mmap(NULL, JIT_SEGMENTS * c->records_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return c->records != MAP_FAILED || err_set(e, errno, "cannot map what is known of code: %s", strerror(errno));
}

static void *at_ref(const struct jit_cache *c, jit_ref ref)
{
    return ref ? c->records + (size_t)ref * JIT_REF_BYTES : NULL;
}

static jit_ref ref_to(const struct jit_cache *c, const void *p)
{
    return (jit_ref)((size_t)((const u8 *)p - c->records) / JIT_REF_BYTES);
}

bool cache_init(struct jit_cache *c, const struct host *host, struct host_cpu *cpu, size_t size,
                struct err *e)
{
    memset(c, 0, sizeof(*c));
    c->host = host;
    c->cpu = cpu;
    c->thunk_size = 16384;
    c->segment_size = ALIGN_UP(MAX(size / JIT_SEGMENTS, (size_t)2 * JIT_MAX_CODE), PAGE);
    c->size = c->thunk_size + JIT_SEGMENTS * c->segment_size;
    c->epoch = 1;
    c->hash = xcalloc((size_t)1 << JIT_HASH_BITS, sizeof(*c->hash));
    c->pages = xcalloc((size_t)1 << JIT_PAGE_BITS, sizeof(*c->pages));
    c->rw = make_memory(c->size, e);
    if (!c->rw || !map_again(c, e))
        return false;
    if (!make_tables(c, e))
        return false;
    struct host_buf buf = {.rw = c->rw, .rx = c->rx, .size = c->thunk_size};
    if (!host->make_thunks(cpu, &buf))
        return err_set(e, 0, "the shared code does not fit its %zu bytes", c->thunk_size);
    return true;
}

static size_t segment_offset(const struct jit_cache *c, unsigned k)
{
    return c->thunk_size + k * c->segment_size;
}

/* The copy is made before the fork, by the parent: afterwards it goes on to change its own. */
bool cache_fork_prepare(struct jit_cache *c, struct err *e)
{
    c->fork_copy = make_memory(c->size, e);
    if (!c->fork_copy)
        return false;
    memcpy(c->fork_copy, c->rw, c->thunk_size);
    for (unsigned k = 0; k < JIT_SEGMENTS; k++) {
        size_t off = segment_offset(c, k);
        memcpy((u8 *)c->fork_copy + off, c->rw + off, c->segment[k].used);
    }
    return true;
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

/* ---- what is known of a region ---- */

_Static_assert(sizeof(struct jit_region) % JIT_REF_BYTES == 0 && sizeof(struct jit_piece) % JIT_REF_BYTES == 0 &&
               sizeof(struct jit_link) % JIT_REF_BYTES == 0, "references lead to them");

/* Its lists lie behind the region in this order. */
static struct jit_piece *pieces_of(const struct jit_region *r)
{
    return (struct jit_piece *)(uintptr_t)(r + 1);
}

static struct jit_link *links_of(const struct jit_region *r)
{
    return (void *)(pieces_of(r) + r->npieces);
}

static struct jit_fp_site *fp_sites_of(const struct jit_region *r)
{
    return (void *)(links_of(r) + r->nlinks);
}

static u8 *packed_of(const struct jit_region *r)
{
    return (void *)(fp_sites_of(r) + r->nfp_sites);
}

const struct jit_piece *region_pieces(const struct jit_region *r)
{
    return pieces_of(r);
}

static u16 how_far_behind(const struct jit_region *r, const void *p)
{
    return (u16)((size_t)((const u8 *)p - (const u8 *)r) / JIT_REF_BYTES);
}

static struct jit_region *region_before(void *p, u16 back)
{
    return (void *)((u8 *)p - back * JIT_REF_BYTES);
}

/* ---- regions by guest address ---- */

static jit_ref *bucket(const struct jit_cache *c, u64 pc, u32 key)
{
    /* neighbours stay neighbours, so that a small program touches little of the table */
    u64 h = pc >> 2 ^ pc >> (JIT_HASH_BITS + 2) ^ key * 0x9e3779b1u;
    return &c->hash[h & ((1u << JIT_HASH_BITS) - 1)];
}

static struct jit_region *find(const struct jit_cache *c, const struct jit_region *than, u64 pc, u32 key, u64 phys)
{
    struct jit_region *r = at_ref(c, *bucket(c, pc, key));
    while (r && (r == than || r->pc != pc || r->key != key || r->phys != phys))
        r = at_ref(c, r->hash_next);
    return r;
}

struct jit_region *cache_find(const struct jit_cache *c, u64 pc, u32 key, u64 phys)
{
    return find(c, NULL, pc, key, phys);
}

struct jit_region *cache_find_other(const struct jit_cache *c, const struct jit_region *than)
{
    return find(c, than, than->pc, than->key, than->phys);
}

static void enter_hash(struct jit_cache *c, struct jit_region *r)
{
    jit_ref *head = bucket(c, r->pc, r->key);
    r->hash_next = *head;
    *head = ref_to(c, r);
}

/* It may have left before. */
static void leave_hash(struct jit_cache *c, const struct jit_region *r)
{
    jit_ref *at = bucket(c, r->pc, r->key), self = ref_to(c, r);
    while (*at && *at != self)
        at = &((struct jit_region *)at_ref(c, *at))->hash_next;
    if (*at)
        *at = r->hash_next;
}

/* ---- links ---- */

static void unlink_link(struct jit_cache *c, struct jit_link *l)
{
    struct jit_region *from = region_before(l, l->back), *to = at_ref(c, l->to);
    struct jit_link *next = at_ref(c, l->next), *prev = at_ref(c, l->prev);
    *(prev ? &prev->next : &to->incoming) = l->next;
    if (next)
        next->prev = l->prev;
    l->to = 0;
    c->host->patch(c->cpu, c->rw + from->off, c->rx + from->off, l->at, l->stub, NULL);
}

void cache_link(struct jit_cache *c, struct jit_link *l, struct jit_region *to)
{
    struct jit_region *from = region_before(l, l->back);
    struct jit_link *next = at_ref(c, to->incoming);
    if (l->to || from->dead || to->dead)
        return;
    l->to = ref_to(c, to);
    l->next = to->incoming;
    l->prev = 0;
    to->incoming = ref_to(c, l);
    if (next)
        next->prev = to->incoming;
    c->host->patch(c->cpu, c->rw + from->off, c->rx + from->off, l->at, l->stub,
                   c->rx + to->off + (l->polls ? to->entry : to->body));
}

/* ---- pieces of guest code by page ---- */

static jit_ref *page_list(const struct jit_cache *c, u64 page)
{
    return &c->pages[page & ((1 << JIT_PAGE_BITS) - 1)];
}

static u32 first_piece(u64 start, u32 len)
{
    return MIN(len, (u32)(PAGE - (start & (PAGE - 1))));
}

static u16 count_pieces(const struct jit_range *range, u32 n)
{
    u64 pieces = 0;
    for (u32 i = 0; i < n; i++)
        pieces += ((range[i].start & (PAGE - 1)) + MAX(range[i].len, 1u) + PAGE - 1) >> PAGE_BITS;
    return (u16)pieces;
}

static void add_piece(struct jit_cache *c, struct jit_region *r, struct jit_piece *p, u64 start, u32 len)
{
    jit_ref *head = page_list(c, start >> PAGE_BITS);
    struct jit_piece *next = at_ref(c, *head);
    *p = (struct jit_piece){.start = start, .len = (u16)len, .next = *head, .back = how_far_behind(r, p)};
    *head = ref_to(c, p);
    if (next)
        next->prev = *head;
}

static void add_pieces(struct jit_cache *c, struct jit_region *r, const struct jit_range *range, u32 n)
{
    struct jit_piece *p = pieces_of(r);
    for (u32 i = 0; i < n; i++) {
        u32 left = MAX(range[i].len, 1u), len;
        for (u64 at = range[i].start; left; at += len, left -= len) {
            len = first_piece(at, left);
            add_piece(c, r, p++, at, len);
        }
    }
}

static void remove_piece(struct jit_cache *c, const struct jit_piece *p)
{
    struct jit_piece *next = at_ref(c, p->next), *prev = at_ref(c, p->prev);
    *(prev ? &prev->next : page_list(c, p->start >> PAGE_BITS)) = p->next;
    if (next)
        next->prev = p->prev;
}

/* ---- regions ---- */

/* Take a region out of every index; its memory stays as it is. */
static void remove_region(struct jit_cache *c, struct jit_region *r)
{
    if (r->dead)
        return;
    r->dead = true;
    leave_hash(c, r);
    for (u32 i = 0; i < r->npieces; i++)
        remove_piece(c, &pieces_of(r)[i]);
    while (r->incoming)
        unlink_link(c, at_ref(c, r->incoming));
    for (u32 i = 0; i < r->nlinks; i++) {
        if (links_of(r)[i].to)
            unlink_link(c, &links_of(r)[i]);
    }
}

void cache_supersede(struct jit_cache *c, struct jit_region *old, struct jit_region *by)
{
    leave_hash(c, old);
    while (old->incoming) {
        struct jit_link *l = at_ref(c, old->incoming);
        unlink_link(c, l);
        cache_link(c, l, by);
    }
}

static void empty_segment(struct jit_cache *c, unsigned k)
{
    struct jit_segment *seg = &c->segment[k];
    if (!seg->count || seg->emptied)
        return;
    for (u32 i = 0; i < seg->count; i++) {
        struct jit_region *r = at_ref(c, seg->region[i]);
        c->stat_evicted += !r->dead;
        remove_region(c, r);
    }
    seg->emptied = true;
    seg->epoch = ++c->epoch;
}

static void free_segment(const struct jit_cache *c, struct jit_segment *seg)
{
    seg->count = 0;
    seg->emptied = false;
    seg->used = seg->records_used = 0;
    memset(seg->first, 0, c->segment_size / JIT_GRANULE * sizeof(*seg->first));
}

/* Give memory of segments back that were emptied long enough ago. */
static void release_segments(struct jit_cache *c)
{
    for (unsigned k = 0; k < JIT_SEGMENTS; k++) {
        struct jit_segment *seg = &c->segment[k];
        if (!seg->emptied || !c->passed(c->opaque, seg->epoch, false))
            continue;
        madvise(c->rw + segment_offset(c, k), ALIGN_UP(seg->used, PAGE), MADV_REMOVE);
        madvise(c->records + k * c->records_size, ALIGN_UP(seg->records_used, PAGE), MADV_DONTNEED);
        free_segment(c, seg);
    }
}

void cache_free(struct jit_cache *c)
{
    free(c->lists.data);
    free(c->faults.data);
    free(c->segment[0].region);
    free(c->segment[0].first);
    free(c->hash);
    free(c->pages);
    munmap(c->records, JIT_SEGMENTS * c->records_size);
    munmap(c->rw, c->size);
    munmap((void *)(uintptr_t)c->rx, c->size);
}

/* The segment after the one that is started is emptied ahead of its turn, and threads are asked to pass a safepoint, so
 * that by then nobody waits. */
static void next_segment(struct jit_cache *c)
{
    unsigned next = (c->current + 1) % JIT_SEGMENTS;
    struct jit_segment *seg = &c->segment[next];
    release_segments(c);
    empty_segment(c, next); /* nothing is left to do after the first round */
    if (seg->emptied) {
        c->passed(c->opaque, seg->epoch, true);
        free_segment(c, seg);
    }
    c->current = next;
    seg = &c->segment[(next + 1) % JIT_SEGMENTS];
    empty_segment(c, (next + 1) % JIT_SEGMENTS);
    if (seg->emptied)
        c->passed(c->opaque, seg->epoch, false);
}

static bool is_full(const struct jit_cache *c, const struct jit_segment *seg)
{
    return seg->emptied || seg->used + JIT_MAX_CODE > c->segment_size || seg->records_used + JIT_MAX_RECORD > c->records_size;
}

void cache_room(struct jit_cache *c, struct host_buf *buf)
{
    if (is_full(c, &c->segment[c->current]))
        next_segment(c);
    size_t off = segment_offset(c, c->current) + c->segment[c->current].used;
    buf->rw = c->rw + off;
    buf->rx = c->rx + off;
    buf->size = JIT_MAX_CODE;
}

/* Room for what will be known of a region, zeroed, or NULL. */
static struct jit_region *make_region(struct jit_cache *c, const struct host_buf *buf, u16 npieces)
{
    struct jit_segment *seg = &c->segment[c->current];
    size_t size = sizeof(struct jit_region) + npieces * sizeof(struct jit_piece) + buf->nlinks * sizeof(struct jit_link) +
                  buf->nfp_sites * sizeof(struct jit_fp_site) + c->lists.count + c->faults.count;
    size = ALIGN_UP(size, (size_t)JIT_REF_BYTES);
    if (size > JIT_MAX_RECORD)
        return NULL;
    seg->records_used = MAX(seg->records_used, (size_t)JIT_REF_BYTES); /* nothing has the reference 0 */
    u8 *at = c->records + c->current * c->records_size + seg->records_used;
    seg->records_used += size;
    return memset(at, 0, size);
}

/* To the current segment. A granule names the region that its first byte belongs to. */
static void append(struct jit_cache *c, const struct jit_region *r)
{
    struct jit_segment *seg = &c->segment[c->current];
    u32 at = (u32)(r->off - segment_offset(c, c->current));
    seg->region[seg->count] = ref_to(c, r);
    for (u32 g = ALIGN_UP(at, JIT_GRANULE) / JIT_GRANULE; g * JIT_GRANULE < at + r->size; g++)
        seg->first[g] = seg->count;
    seg->used = ALIGN_UP(seg->used + MAX((size_t)r->size, (size_t)JIT_MIN_CODE), 16);
    atomic_fetch_add(&seg->count, 1);
}

static void fill_lists(struct jit_cache *c, struct jit_region *r, const struct host_buf *buf)
{
    for (u32 i = 0; i < buf->nlinks; i++) {
        const struct host_link *from = &buf->link[i];
        struct jit_link *l = &links_of(r)[i];
        *l = (struct jit_link){.pc = (s32)(from->pc - r->pc), .at = (u16)from->at, .stub = (u16)from->stub,
                               .back = how_far_behind(r, l), .polls = from->polls};
    }
    for (u32 i = 0; i < buf->nfp_sites; i++)
        fp_sites_of(r)[i] = (struct jit_fp_site){buf->fp_site[i].end, (s32)(buf->fp_site[i].pc - r->pc)};
    memcpy(packed_of(r), c->lists.data, c->lists.count);
    memcpy(packed_of(r) + c->lists.count, c->faults.data, c->faults.count);
}

struct jit_region *cache_add(struct jit_cache *c, const struct ra *ra, const struct host_buf *buf,
                             const struct jit_range *range, u32 nranges, u64 phys)
{
    const struct ir_region *ir = ra->r;
    const u16 npieces = count_pieces(range, nranges);
    where_encode(&c->lists, &c->faults, ra, buf);
    struct jit_region *r = make_region(c, buf, npieces);
    if (!r)
        return NULL;
    *r = (struct jit_region){
        .pc = ir->pc,
        .phys = phys,
        .key = ir->key | (ir->neighbours == IR_APART ? JIT_KEY_APART : 0),
        .off = (u32)(buf->rx - c->rx),
        .size = (u32)buf->used,
        .entry = (u16)buf->entry,
        .body = (u16)buf->body,
        .npieces = npieces,
        .nlinks = (u16)buf->nlinks,
        .nfp_sites = (u16)buf->nfp_sites,
        .nfaults = (u16)buf->nfaults,
        .faults = c->lists.count,
    };
    fill_lists(c, r, buf);
    enter_hash(c, r);
    add_pieces(c, r, range, nranges);
    append(c, r);
    c->stat_regions++;
    c->stat_bytes += buf->used;
    return r;
}

static bool overlaps(const struct jit_region *r, u64 start, u64 last)
{
    const struct jit_piece *p = pieces_of(r);
    for (u32 i = 0; i < r->npieces; i++) {
        if (p[i].start <= last && p[i].start + p[i].len - 1 >= start)
            return true;
    }
    return false;
}

unsigned cache_regions_over(const struct jit_cache *c, u64 addr, unsigned tier, struct jit_region **out, unsigned max)
{
    unsigned n = 0;
    struct jit_piece *p = at_ref(c, *page_list(c, addr >> PAGE_BITS));
    for (; p && n < max; p = at_ref(c, p->next)) {
        struct jit_region *r = region_before(p, p->back);
        bool listed = n && out[n - 1] == r; /* pieces of one region stand together */
        if (r->tier == tier && overlaps(r, addr, addr) && !listed)
            out[n++] = r;
    }
    return n;
}

static unsigned invalidate_list(struct jit_cache *c, jit_ref list, u64 start, u64 last)
{
    unsigned n = 0;
    for (struct jit_piece *p = at_ref(c, list), *next; p; p = next) {
        struct jit_region *r = region_before(p, p->back);
        next = at_ref(c, p->next);
        if (!overlaps(r, start, last))
            continue;
        /* other pieces of the region may stand in this list, and go with it */
        while (next && region_before(next, next->back) == r)
            next = at_ref(c, next->next);
        remove_region(c, r);
        n++;
    }
    return n;
}

unsigned cache_invalidate(struct jit_cache *c, u64 start, u64 len)
{
    unsigned n = 0;
    c->changes++;
    u64 last = start + (len ? len - 1 : 0), first_page = start >> PAGE_BITS, pages = (last >> PAGE_BITS) - first_page;
    u64 lists = MIN(pages + 1, (u64)1 << JIT_PAGE_BITS);
    for (u64 i = 0; i < lists; i++)
        n += invalidate_list(c, *page_list(c, first_page + i), start, last);
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
    size_t at = off - c->thunk_size;
    const struct jit_segment *seg = &c->segment[at / c->segment_size];
    u32 count = seg->count, i = seg->first[at % c->segment_size / JIT_GRANULE];
    for (; i < count; i++) {
        struct jit_region *r = at_ref(c, seg->region[i]);
        if (off < r->off + r->size)
            return off >= r->off ? r : NULL;
    }
    return NULL;
}

struct jit_link *region_link_at(const struct jit_cache *c, struct jit_region *r, const u8 *stub)
{
    u32 off = (u32)(stub - c->rx) - r->off;
    struct jit_link *l = links_of(r);
    for (u32 i = 0; i < r->nlinks; i++) {
        if (l[i].stub == off)
            return &l[i];
    }
    return NULL;
}

u64 cache_left(const struct jit_cache *c, u32 exit, const u8 *left)
{
    struct jit_region *r = cache_at(c, left);
    return r->pc + (u64)(exit == HOST_EXIT_LINK ? (s64)region_link_at(c, r, left)->pc : 0);
}

u64 region_fp_pc(const struct jit_cache *c, const struct jit_region *r, const u8 *pc)
{
    u32 at = (u32)(pc - c->rx) - r->off, i = 0;
    const struct jit_fp_site *site = fp_sites_of(r);
    while (i + 1 < r->nfp_sites && site[i].end <= at)
        i++;
    return r->pc + (u64)(s64)(r->nfp_sites ? site[i].pc : 0);
}

bool region_fault_at(const struct jit_cache *c, const struct jit_region *r, const u8 *pc, struct jit_fault *out)
{
    return where_find(packed_of(r), packed_of(r) + r->faults, r->nfaults, (u32)(pc - c->rx) - r->off, out);
}
