/* Code memory and the regions in it.
 *
 * The memory is shared anonymous memory mapped twice: writable at `rw`, executable at `rx`; no page is both. It is a
 * ring of segments. Regions are appended to the current segment; when it is full the next one is
 * emptied, so the oldest code goes first and the cost of making room is bounded by a segment. A
 * region that is invalidated stays where it is until its segment's turn comes, so code that another
 * thread is still running stays whole; before a segment is written again, or its memory given back, `passed` makes sure that
 * every thread has passed a safepoint since it was emptied.
 *
 * Nothing here locks: the engine calls all of it under its translation lock. */
#ifndef LYRE_JIT_CACHE_CACHE_H
#define LYRE_JIT_CACHE_CACHE_H

#include "base/err.h"
#include "jit/host/host.h"

/* What is known of regions is small, and there are many of them. It lies in one range of memory, and a reference is how far
 * from its start, in units of 8 bytes. 0: none. */
typedef u32 jit_ref;
#define JIT_REF_BYTES 8

struct jit_link {
    s32 pc;         /* guest address that it leads to, relative to the region's */
    u16 at, stub;   /* offsets from the region's code */
    u16 back;       /* how far behind its region, as a reference */
    bool polls;
    jit_ref to;     /* the region that it leads to; 0: its stub */
    jit_ref next, prev; /* among the links that lead to `to` */
};

/* Where code may leave in its middle; unpacked. */
struct jit_fault {
    u8 what; /* enum host_leave */
    bool write;
    u8 base, index, scale;
    s32 disp;
    s32 pc;          /* guest address, relative to the region's */
    const u8 *where; /* the list of stale slots: where_next() */
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

/* A piece of it in one page, in the list of that page. */
struct jit_piece {
    u64 start;
    jit_ref next, prev;
    u16 len;
    u16 back;  /* how far behind its region, as a reference */
};

/* In the key of regions whose accesses are IR_APART; no guest has it in its keys. */
#define JIT_KEY_APART (1u << 31)

/* Its lists lie behind it: links, pieces, FP sites, and packed (where.c) stale slots and faults. */
struct jit_region {
    u64 pc;
    u64 phys;                /* machines: the physical address of pc; else 0 */
    u32 key;
    u32 sum;                 /* of the guest's bytes, for lockstep */
    u32 off, size;           /* in code memory */
    jit_ref hash_next;
    jit_ref incoming;        /* links that lead here */
    u32 faults;              /* offset in the packed lists, of which the first are those of stale slots */
    u16 nlinks, npieces, nfp_sites, nfaults;
    u16 entry, body;         /* offsets in the code: where control enters that polls, and that does not */
    u8 tier;                 /* 0: as met; 1: made for hot code */
    _Atomic u8 left_apart;   /* how often it was left with IR_EXIT_APART; this and `tier` without a lock */
    bool dead;
};

#define JIT_SEGMENTS    32
#define JIT_HASH_BITS   17
#define JIT_PAGE_BITS   12
#define JIT_MAX_CODE    65536 /* host bytes of one region, at most */
#define JIT_GRANULE     1024
#define JIT_MIN_CODE    32    /* and at least: an entry that polls, an exit */
#define JIT_MAX_RECORD  (256 << 10) /* bytes of what is known of one region, at most */

/* Handlers of host signals look regions up without a lock: the array never moves, and an entry is there before
 * it counts. */
struct jit_segment {
    jit_ref *region; /* in address order; this array and the next are parts of one for all segments */
    u32 *first; /* by granule: the region that its first byte is in, or the next */
    _Atomic u32 count;
    size_t used, records_used; /* bytes of code and of what is known of regions */
    bool emptied; /* all its regions are dead; since `epoch` */
    u64 epoch;
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
    struct jit_segment segment[JIT_SEGMENTS];
    u8 *records;   /* what is known of regions, a part for each segment */
    size_t records_size; /* of a segment's part */
    jit_ref *hash; /* 1 << JIT_HASH_BITS lists */
    jit_ref *pages; /* 1 << JIT_PAGE_BITS lists of pieces */
    struct jit_bytes lists, faults;
    u64 epoch;   /* counts removals of code */
    u64 changes; /* counts what was said about changed guest code, and flushes */
    u64 stat_regions, stat_bytes, stat_evicted, stat_invalidated;

    /* Ask threads to pass a safepoint: have all passed one after `epoch`, and forgotten what led to code that was gone
     * then? wait: until they have. */
    bool (*passed)(void *opaque, u64 epoch, bool wait);
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

/* Keep what was emitted into buf; it depends on the guest code in `range`. NULL when more is to be known of it than there is
 * room for. */
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

/* How control leaves at that host address; false: it does not. */
bool region_fault_at(const struct jit_cache *c, const struct jit_region *r, const u8 *pc, struct jit_fault *out);

/* The guest code that it depends on, r->npieces of them, in the order in which cache_add() was told. */
const struct jit_piece *region_pieces(const struct jit_region *r);

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

/* Where a slot that is not at home is, unpacked from a list one after the other. */
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
