/* Code memory and the regions in it.
 *
 * The memory is shared anonymous memory mapped twice: writable at `rw`, executable at `rx`; no page is both. It is a
 * ring of segments. Regions are appended to the current segment; when it is full the next one is
 * emptied, so the oldest code goes first and the cost of making room is bounded by a segment. A
 * region that is invalidated stays where it is until its segment's turn comes, so code that another
 * thread is still running stays whole; before a segment is written again, `wait` makes sure that
 * every thread has passed a safepoint since it was emptied.
 *
 * Nothing here locks: the engine calls all of it under its translation lock. */
#ifndef LYRE_JIT_CACHE_CACHE_H
#define LYRE_JIT_CACHE_CACHE_H

#include "base/arena.h"
#include "base/err.h"
#include "jit/host/host.h"

struct jit_region;

struct jit_link {
    u64 pc;                  /* guest address that it leads to */
    u32 at, stub;            /* offsets from the region's code */
    bool polls;
    struct jit_region *from, *to;
    struct jit_link *next, **prev; /* among the links that lead to `to` */
};

struct jit_fault {
    u32 start;
    u16 len;
    u8 what; /* enum host_leave */
    bool write;
    u8 base, index, scale;
    s32 disp;
    s32 pc;     /* guest address, relative to the region's */
    u32 where;  /* offset of its list of stale slots in region->where */
};

/* Code up to `end` may raise an FP exception for the guest instruction at pc, relative to the region's. */
struct jit_fp_site {
    u32 end;
    s32 pc;
};

/* Guest code that a region depends on: what it was made from, and what was looked at. */
struct jit_range {
    u64 start;
    u32 len;
};

/* A place in a region's index of guest pages. */
struct jit_page_ref {
    struct jit_region *region;
    u64 number; /* of the page */
    struct jit_page_ref *next, **prev;
};

/* In the key of regions whose accesses are IR_APART; no guest has it in its keys. */
#define JIT_KEY_APART (1u << 31)

struct jit_region {
    u64 pc;
    u32 key;
    u64 phys;                /* machines: the physical address of pc; else 0 */
    struct jit_range *range;
    u32 nranges, npages;
    u32 insns;
    u32 sum;                 /* of the guest's bytes, for lockstep */
    u8 tier;                 /* 0: as met; 1: made for hot code */
    _Atomic u8 left_apart;   /* how often it was left with IR_EXIT_APART; this and `tier` without a lock */
    u32 off, size;           /* in code memory */
    u32 entry, body;         /* offsets from there: where control enters that polls, and that does not */
    u32 nlinks, nfaults, nfp_sites;
    struct jit_link *link;
    struct jit_fault *fault;
    struct jit_fp_site *fp_site;
    u8 *where;
    struct jit_link *incoming;
    struct jit_region *hash_next, **hash_prev;
    struct jit_page_ref *page;
    bool dead;
};

#define JIT_SEGMENTS   32
#define JIT_HASH_BITS  17
#define JIT_PAGE_BITS  12
#define JIT_MAX_CODE   65536 /* host bytes of one region, at most */
#define JIT_GRANULE    1024
#define JIT_MIN_CODE   32    /* and at least: an entry that polls, an exit */

/* Handlers of host signals look regions up without a lock: the array never moves, and an entry is there before
 * it counts. */
struct jit_segment {
    struct jit_region **region; /* in address order; this array and the next are parts of one for all segments */
    u32 *first; /* by granule: the region that its first byte is in, or the next */
    _Atomic u32 count;
    u64 epoch; /* when it was emptied */
    struct arena records; /* the regions */
};

/* Lists of places in the making. */
struct jit_bytes {
    u8 *data;
    u32 count, cap;
};

struct jit_cache {
    const struct host *host;
    const struct host_cpu *cpu;
    void *fork_copy; /* between cache_fork_prepare() and its end: the child's memory */
    u8 *rw;
    const u8 *rx;
    size_t size, segment_size, thunk_size;
    unsigned current;
    size_t used; /* in the current segment */
    struct jit_segment segment[JIT_SEGMENTS];
    struct jit_region **hash; /* 1 << JIT_HASH_BITS lists */
    struct jit_page_ref *pages[1 << JIT_PAGE_BITS];
    struct jit_bytes bytes;
    u64 epoch;   /* counts removals of code */
    u64 changes; /* counts what was said about changed guest code, and flushes */
    u64 stat_regions, stat_bytes, stat_evicted, stat_invalidated;

    /* Wait until every thread has passed a safepoint after `epoch`. */
    void (*wait)(void *opaque, u64 epoch);
    void *opaque;
};

/* size: bytes of code memory. */
bool cache_init(struct jit_cache *c, const struct host *host, struct host_cpu *cpu, size_t size,
                struct err *e);
void cache_free(struct jit_cache *c);

/* Around a fork: the child gets a copy of the code in memory of its own, at the same addresses. When
 * prepare fails, so does the child's part. */
bool cache_fork_prepare(struct jit_cache *c, struct err *e);
void cache_fork_parent(struct jit_cache *c);
bool cache_fork_child(struct jit_cache *c, struct err *e);

/* The region for pc, or NULL; another one for the same code than that, or NULL. phys: struct jit_region's. */
struct jit_region *cache_find(const struct jit_cache *c, u64 pc, u32 key, u64 phys);
struct jit_region *cache_find_other(const struct jit_cache *c, const struct jit_region *than);

/* The guest address where control goes on that left by one of the HOST_EXIT_ kinds. left: what enter() returned. For who
 * is in generated code, as to the cache. */
u64 cache_left(const struct jit_cache *c, u32 exit, const u8 *left);

/* The regions of that tier that depend on the guest's byte at addr, at most max of them: how many. */
unsigned cache_regions_over(const struct jit_cache *c, u64 addr, unsigned tier, struct jit_region **out, unsigned max);

/* Set buf up for at least JIT_MAX_CODE bytes. May evict regions: code is removed when c->epoch has
 * changed. */
void cache_room(struct jit_cache *c, struct host_buf *buf);

/* Keep what was emitted into buf; it depends on the guest code in `range`. */
struct jit_region *cache_add(struct jit_cache *c, const struct ra *ra, const struct host_buf *buf,
                             const struct jit_range *range, u32 nranges, u64 phys);

/* What led to `old` leads to `by`, which was made from the same guest code. The old region stays whole: control
 * may be in it or return to it, and it still goes when its code is invalidated. */
void cache_supersede(struct jit_cache *c, struct jit_region *old, struct jit_region *by);

/* Make a link lead straight to a region. */
void cache_link(struct jit_cache *c, struct jit_link *link, struct jit_region *to);

/* Remove the regions made from guest code in [start, start + len). Returns how many. */
unsigned cache_invalidate(struct jit_cache *c, u64 start, u64 len);
void cache_flush(struct jit_cache *c);

/* The region that the host address lies in, dead ones included while their memory is whole. */
struct jit_region *cache_at(const struct jit_cache *c, const u8 *rx);
struct jit_link *region_link_at(const struct jit_cache *c, struct jit_region *r, const u8 *stub);
const struct jit_fault *region_fault_at(const struct jit_cache *c, const struct jit_region *r,
                                        const u8 *pc);

/* The guest instruction whose floating point trapped at host address pc. */
u64 region_fp_pc(const struct jit_cache *c, const struct jit_region *r, const u8 *pc);

static inline bool cache_contains(const struct jit_cache *c, const u8 *p)
{
    return p >= c->rx && p < c->rx + c->size;
}

static inline const u8 *region_entry(const struct jit_cache *c, const struct jit_region *r)
{
    return c->rx + r->off + r->entry;
}

static inline const u8 *region_body(const struct jit_cache *c, const struct jit_region *r)
{
    return c->rx + r->off + r->body;
}

/* Where a slot that is not at home is, decoded from region->where one after the other. */
struct jit_where {
    u8 slot;
    u8 place;   /* enum ra_place */
    u32 kind, nargs; /* RA_IN_FL: of struct ir_recipe */
    u16 index;
    u64 imm;
    struct {
        u8 place;
        u16 index;
        u64 imm;
    } arg[IR_RECIPE_ARGS];
};

/* Returns the position behind; NULL at the end of the list. */
const u8 *where_next(const u8 *p, struct jit_where *out);

#endif
