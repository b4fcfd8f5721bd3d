#include "user/space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/engine.h"
#include "base/guard.h"
#include "base/mem.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* The guest's space ends here at the latest; the host kernel places lyre's libraries, heap and
 * stacks above (its randomisation spans less than the 8 TiB in between, by default). */
#ifdef __SANITIZE_THREAD__ /* most of the address space is its shadow */
#define GUEST_TOP 0x7e9000000000ull
#define HOST_LOW  GUEST_TOP
#define HOST_ROOM 0x001000000000ull
#else
#define GUEST_TOP 0x780000000000ull
#define HOST_LOW  (GUEST_TOP / 8 * 7) /* the host's mappings are above */
#define HOST_ROOM 0x010000000000ull   /* left below its lowest one, for its growth */
#endif
#define HEAP_ROOM  0x000040000000ull /* what lyre's brk heap may grow to */
#define STACK_ROOM 0x000040000000ull /* between the top and where mmap starts to place */

/* ---- which pages are code ---- */

static _Atomic u64 *exec_chunk(struct space *sp, u64 addr, bool create)
{
    _Atomic(_Atomic u64 *) *slot = &sp->exec[addr >> EXEC_CHUNK_BITS];
    _Atomic u64 *chunk = atomic_load_explicit(slot, memory_order_acquire);
    if (!chunk && create) {
        chunk = xcalloc(EXEC_WORDS, sizeof(u64));
        atomic_store_explicit(slot, chunk, memory_order_release);
    }
    return chunk;
}

enum { PAGE_EXEC = 1, PAGE_GUARDED = 2, PAGE_BITS = 2 };

/* Only one thread sets, with the lock held. */
static void pages_set(struct space *sp, u64 start, u64 end, u64 bits)
{
    for (u64 at = start; at < end;) {
        u64 stop = MIN(end, (at | ((1ull << EXEC_CHUNK_BITS) - 1)) + 1);
        _Atomic u64 *chunk = exec_chunk(sp, at, bits != 0);
        for (; chunk && at < stop; at += SPACE_PAGE) {
            u64 bit = (at >> 12) * PAGE_BITS & (EXEC_WORDS * 64ull - 1);
            _Atomic u64 *word = &chunk[bit >> 6];
            u64 others = atomic_load_explicit(word, memory_order_relaxed) & ~(3ull << (bit & 63));
            atomic_store_explicit(word, others | bits << (bit & 63), memory_order_relaxed);
        }
        at = stop;
    }
}

static u64 page_get(struct space *sp, u64 addr)
{
    if (addr >= sp->top)
        return 0;
    _Atomic u64 *chunk = exec_chunk(sp, addr, false);
    u64 bit = (addr >> 12) * PAGE_BITS & (EXEC_WORDS * 64ull - 1);
    return chunk ? atomic_load_explicit(&chunk[bit >> 6], memory_order_relaxed) >> (bit & 63) & 3 : 0;
}

bool space_guarded(void *opaque, u64 addr)
{
    return page_get(opaque, addr) & PAGE_GUARDED;
}

bool space_shared(void *opaque, u64 addr)
{
    struct space *sp = opaque;
    pthread_mutex_lock(&sp->lock);
    const struct map *m = maptab_find(&sp->tab, addr);
    bool shared = m && m->flags & (MAP_IS_SHARED | MAP_IS_SHM);
    pthread_mutex_unlock(&sp->lock);
    return shared;
}

size_t space_fetch(void *opaque, u64 addr, void *to, size_t len)
{
    struct space *sp = opaque;
    size_t done = 0;
    while (done < len && page_get(sp, addr + done) & PAGE_EXEC) {
        size_t part = MIN(len - done, SPACE_PAGE - ((addr + done) & (SPACE_PAGE - 1)));
        size_t left = guard_copy((u8 *)to + done, (const void *)(uintptr_t)(addr + done), part);
        done += part - left;
        if (left)
            break;
    }
    return done;
}

/* ---- start ---- */

/* Find the lowest of the host's mappings in the upper part of the address space, and lyre's image
 * with its heap if it lies in the guest's part. */
static bool look_at_host(struct space *sp, struct err *e)
{
    FILE *f = fopen("/proc/self/maps", "re");
    if (!f)
        return err_set(e, errno, "cannot read /proc/self/maps: %s", strerror(errno));
    char line[4400];
    u64 here = (u64)(uintptr_t)look_at_host, lowest = UINT64_MAX;
    u64 image_start = 0, image_end = 0;
    while (fgets(line, sizeof(line), f)) {
        unsigned long long a, b;
        if (sscanf(line, "%llx-%llx", &a, &b) != 2 || a >> 47)
            continue;
        if (a >= HOST_LOW && a < lowest)
            lowest = a;
        /* Mappings near this code are the image and the heap behind it. */
        if (a <= here + HEAP_ROOM && b + HEAP_ROOM > here) {
            if (!image_start)
                image_start = a;
            image_end = b;
        }
    }
    fclose(f);
    sp->top = GUEST_TOP;
    if (lowest - HOST_ROOM < sp->top)
        sp->top = ALIGN_DOWN(lowest - HOST_ROOM, HOST_ROOM);
    u64 heap = (u64)(uintptr_t)sbrk(0);
    if (heap > image_end && heap < image_end + HEAP_ROOM)
        image_end = heap;
    if (image_start < sp->top) {
        sp->own_start = image_start;
        sp->own_end = image_end + HEAP_ROOM;
    }
    return true;
}

bool space_init(struct space *sp, struct err *e)
{
    *sp = (struct space){.min = 65536};
    pthread_mutex_init(&sp->lock, NULL);
    if (sysconf(_SC_PAGESIZE) != (long)SPACE_PAGE)
        return err_set(e, ENOTSUP, "this host's pages have %ld bytes; only %llu are supported yet",
                       sysconf(_SC_PAGESIZE), SPACE_PAGE);
    if (!look_at_host(sp, e))
        return false;
    FILE *f = fopen("/proc/sys/vm/mmap_min_addr", "re");
    unsigned long long min;
    if (f && fscanf(f, "%llu", &min) == 1)
        sp->min = ALIGN_UP(MAX(min, SPACE_PAGE), SPACE_PAGE);
    if (f)
        fclose(f);
    sp->mmap_top = sp->top - STACK_ROOM;
    size_t size = EXEC_CHUNKS * sizeof(*sp->exec);
    sp->exec = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    if (sp->exec == MAP_FAILED) {
        sp->exec = NULL;
        return err_set(e, errno, "no room for the page table: %s", strerror(errno));
    }
    return true;
}

void space_limit(struct space *sp, u64 top)
{
    sp->top = MIN(sp->top, top);
    sp->mmap_top = MIN(sp->mmap_top, top);
}

void space_free(struct space *sp)
{
    for (u32 i = 0; sp->exec && i < EXEC_CHUNKS; i++)
        free((void *)sp->exec[i]);
    if (sp->exec)
        munmap(sp->exec, EXEC_CHUNKS * sizeof(*sp->exec));
    maptab_free(&sp->tab);
    pthread_mutex_destroy(&sp->lock);
}

/* ---- the host's side ---- */

static void *ptr(u64 addr)
{
    return (void *)(uintptr_t)addr;
}

static int host_prot(u32 prot)
{
    int p = (int)(prot & (PROT_READ | PROT_WRITE));
    /* The translator must be able to read code. */
    return prot & PROT_EXEC ? p | PROT_READ : p;
}

/* May the guest map [addr, addr + len) at all? */
static bool mappable(const struct space *sp, u64 addr, u64 len)
{
    return addr < sp->top && len <= sp->top - addr &&
           (addr >= sp->own_end || addr + len <= sp->own_start);
}

/* Raw: ThreadSanitizer's mmap() refuses places where a program's own memory never is. */
static s64 host_map(u64 addr, u64 len, u32 prot, u32 flags, int fd, u64 offset)
{
    void *p = (void *)syscall(SYS_mmap, addr, len, host_prot(prot), flags, fd, offset);
    if (p == MAP_FAILED)
        return -errno;
    if (p != ptr(addr)) {
        munmap(p, len); /* an old kernel took the address for a hint */
        return -EEXIST;
    }
    return (s64)addr;
}

/* Make sure that nothing of the host's lies in the parts of [start, end) that the guest has not
 * mapped, by mapping them. On failure nothing is left behind. */
static s64 claim_holes(struct space *sp, u64 start, u64 end)
{
    size_t i = maptab_lower(&sp->tab, start);
    u64 at = start;
    while (at < end) {
        u64 hole_end = i < sp->tab.count ? MIN(end, sp->tab.map[i].start) : end;
        if (hole_end > at) {
            s64 r = host_map(at, hole_end - at, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
                             0);
            if (r < 0) {
                for (u64 undo = start; undo < at;) {
                    size_t k = maptab_lower(&sp->tab, undo);
                    u64 stop = k < sp->tab.count ? MIN(at, sp->tab.map[k].start) : at;
                    if (stop > undo)
                        munmap(ptr(undo), stop - undo);
                    undo = k < sp->tab.count ? sp->tab.map[k].end : at;
                }
                return r == -EEXIST ? -ENOMEM : r;
            }
        }
        if (i == sp->tab.count)
            break;
        at = sp->tab.map[i++].end;
    }
    return 0;
}

/* Give back what claim_holes() mapped. */
static void release_holes(struct space *sp, u64 start, u64 end)
{
    size_t i = maptab_lower(&sp->tab, start);
    for (u64 at = start; at < end; i++) {
        u64 stop = i < sp->tab.count ? MIN(end, sp->tab.map[i].start) : end;
        if (stop > at)
            munmap(ptr(at), stop - at);
        if (i == sp->tab.count)
            break;
        at = sp->tab.map[i].end;
    }
}

/* What is mapped at [start, end) is now what prot says. */
static void code_update(struct space *sp, u64 start, u64 end, bool was_exec, u32 prot)
{
    u64 bits = !(prot & MAP_EXEC) ? 0 : prot & MAP_GUARDED ? PAGE_EXEC | PAGE_GUARDED : PAGE_EXEC;
    if (was_exec || bits)
        pages_set(sp, start, end, bits);
    if (was_exec && sp->engine)
        engine_invalidate(sp->engine, start, end - start);
    if (bits & PAGE_GUARDED && !sp->guards) {
        sp->guards = true;
        if (sp->engine)
            engine_check_landings(sp->engine);
    }
}

static void record(struct space *sp, u64 addr, u64 len, u32 prot, u32 flags, int fd, u64 offset,
                   u32 what)
{
    struct map m = {.start = addr, .end = addr + len, .prot = prot & MAP_PROT, .flags = what};
    if ((flags & MAP_TYPE) != MAP_PRIVATE)
        m.flags |= MAP_IS_SHARED;
    if (!(flags & MAP_ANONYMOUS)) {
        struct stat st;
        m.flags |= MAP_IS_FILE;
        m.offset = offset;
        if (fstat(fd, &st) == 0) {
            m.dev = st.st_dev;
            m.ino = st.st_ino;
        }
    }
    if (what & MAP_IS_SHM)
        m.offset = addr; /* keeps neighbours apart: each is detached on its own */
    bool was = maptab_executable(&sp->tab, m.start, m.end);
    maptab_insert(&sp->tab, &m);
    code_update(sp, m.start, m.end, was, prot);
}

/* ---- mmap ---- */

static s64 map_fixed(struct space *sp, u64 addr, u64 len, u32 prot, u32 flags, int fd, u64 offset)
{
    bool replace = !(flags & MAP_FIXED_NOREPLACE);
    u32 host_flags = flags & ~(u32)(MAP_FIXED | MAP_FIXED_NOREPLACE);
    if (addr & (SPACE_PAGE - 1))
        return -EINVAL;
    if (!mappable(sp, addr, len))
        return -ENOMEM;
    if (!maptab_overlaps(&sp->tab, addr, addr + len)) {
        s64 r = host_map(addr, len, prot, host_flags | MAP_FIXED_NOREPLACE, fd, offset);
        return r == -EEXIST && replace ? -ENOMEM : r;
    }
    if (!replace)
        return -EEXIST;
    s64 r = claim_holes(sp, addr, addr + len);
    if (r)
        return r;
    r = host_map(addr, len, prot, host_flags | MAP_FIXED, fd, offset);
    if (r < 0)
        release_holes(sp, addr, addr + len);
    return r;
}

/* Place `len` bytes below mmap_top. */
static s64 map_anywhere(struct space *sp, u64 len, u64 align, u32 prot, u32 flags, int fd,
                        u64 offset)
{
    u64 high = sp->mmap_top;
    for (int tries = 0; tries < 1000; tries++) {
        u64 at = maptab_gap(&sp->tab, len, align, sp->min, high);
        if (!at)
            break;
        if (sp->own_start < at + len && at < sp->own_end) {
            high = sp->own_start;
            continue;
        }
        s64 r = host_map(at, len, prot, flags | MAP_FIXED_NOREPLACE, fd, offset);
        if (r != -EEXIST)
            return r;
        high = at; /* the host has something there; look below */
    }
    return -ENOMEM;
}

static u64 huge_page_size(u32 flags)
{
#ifdef MAP_HUGE_SHIFT
    unsigned log2 = flags >> MAP_HUGE_SHIFT & 63;
    if (log2 >= 12 && log2 < 40)
        return 1ull << log2;
#endif
    return 2ull << 20;
}

/* Flags that we pass to the host as they are. Growing down is ours to refuse: the table would not
 * see it. */
#define PASSED_FLAGS                                                                               \
    (MAP_TYPE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK |          \
     MAP_HUGETLB | MAP_LOCKED | MAP_SYNC | 0xfc000000u)

s64 space_mmap(struct space *sp, u64 addr, u64 len, u32 prot, u32 flags, int fd, u64 offset,
               u32 what)
{
    u64 align = flags & MAP_HUGETLB ? huge_page_size(flags) : SPACE_PAGE;
    if (!len)
        return -EINVAL;
    if (len > sp->top)
        return -ENOMEM;
    len = ALIGN_UP(len, align);
    u32 host_flags = flags & PASSED_FLAGS;
    pthread_mutex_lock(&sp->lock);
    s64 r = -EEXIST;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        r = map_fixed(sp, addr, len, prot,
                      host_flags | (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)), fd, offset);
    } else {
        addr = ALIGN_DOWN(addr, align);
        if (addr >= sp->min && mappable(sp, addr, len) &&
            !maptab_overlaps(&sp->tab, addr, addr + len))
            r = host_map(addr, len, prot, host_flags | MAP_FIXED_NOREPLACE, fd, offset);
        if (r == -EEXIST)
            r = map_anywhere(sp, len, align, prot, host_flags, fd, offset);
    }
    if (r >= 0)
        record(sp, (u64)r, len, prot, flags, fd, offset, what);
    pthread_mutex_unlock(&sp->lock);
    return r;
}

/* ---- munmap, mprotect ---- */

static void unmap_locked(struct space *sp, u64 start, u64 end)
{
    bool was = maptab_executable(&sp->tab, start, end);
    if (was)
        pages_set(sp, start, end, 0);
    for (size_t i = maptab_lower(&sp->tab, start);
         i < sp->tab.count && sp->tab.map[i].start < end;) {
        /* Neighbours go with one call. */
        u64 from = MAX(start, sp->tab.map[i].start), to = sp->tab.map[i].end;
        for (i++; i < sp->tab.count && sp->tab.map[i].start == to && to < end; i++)
            to = sp->tab.map[i].end;
        munmap(ptr(from), MIN(to, end) - from);
    }
    maptab_remove(&sp->tab, start, end);
    if (was && sp->engine)
        engine_invalidate(sp->engine, start, end - start);
}

s64 space_munmap(struct space *sp, u64 addr, u64 len)
{
    if (addr & (SPACE_PAGE - 1) || !len || addr > sp->top || len > sp->top - addr)
        return -EINVAL;
    pthread_mutex_lock(&sp->lock);
    unmap_locked(sp, addr, addr + ALIGN_UP(len, SPACE_PAGE));
    pthread_mutex_unlock(&sp->lock);
    return 0;
}

s64 space_mprotect(struct space *sp, u64 addr, u64 len, u32 prot)
{
    if (addr & (SPACE_PAGE - 1))
        return -EINVAL;
    if (prot & ~(u32)(MAP_PROT | PROT_GROWSDOWN | PROT_GROWSUP) ||
        (prot & PROT_GROWSDOWN && prot & PROT_GROWSUP))
        return -EINVAL;
    if (!len)
        return 0;
    if (addr >= sp->top || len > sp->top - addr)
        return -ENOMEM;
    u64 end = addr + ALIGN_UP(len, SPACE_PAGE);
    s64 r = 0;
    pthread_mutex_lock(&sp->lock);
    const struct map *m = maptab_find(&sp->tab, addr);
    if (prot & (PROT_GROWSDOWN | PROT_GROWSUP)) {
        /* The stack is the only mapping that "grows"; it is there in full. */
        if (!m || prot & PROT_GROWSUP || !(m->flags & MAP_IS_STACK))
            r = -EINVAL;
        else
            addr = m->start;
    }
    if (!r && !maptab_covers(&sp->tab, addr, end))
        r = -ENOMEM;
    if (!r && mprotect(ptr(addr), end - addr, host_prot(prot)) < 0)
        r = -errno;
    if (!r) {
        bool was = maptab_executable(&sp->tab, addr, end);
        maptab_protect(&sp->tab, addr, end, prot & MAP_PROT);
        code_update(sp, addr, end, was, prot);
    }
    pthread_mutex_unlock(&sp->lock);
    return r;
}

/* ---- mremap ---- */

/* Books after the host moved [from, from + old_len) to [to, to + new_len). */
static void record_move(struct space *sp, u64 from, u64 old_len, u64 to, u64 new_len, u32 flags)
{
    struct map m = *maptab_find(&sp->tab, from);
    if (m.flags & MAP_IS_FILE)
        m.offset += from - m.start;
    m.start = to;
    m.end = to + new_len;
    bool was = maptab_executable(&sp->tab, to, to + new_len);
    bool exec = (m.prot & MAP_EXEC) != 0;
    if (old_len && from != to && !(flags & MREMAP_DONTUNMAP)) {
        maptab_remove(&sp->tab, from, from + old_len);
        code_update(sp, from, from + old_len, exec, 0);
    }
    maptab_insert(&sp->tab, &m);
    code_update(sp, to, to + new_len, was || exec, m.prot);
}

static s64 grow_in_place(struct space *sp, u64 addr, u64 old_len, u64 new_len)
{
    u64 end = addr + new_len;
    if (!mappable(sp, addr, new_len) || maptab_overlaps(&sp->tab, addr + old_len, end))
        return -ENOMEM;
    void *p = mremap(ptr(addr), old_len, new_len, 0);
    return p == MAP_FAILED ? -errno : (s64)addr;
}

static s64 move_to(struct space *sp, u64 addr, u64 old_len, u64 new_len, u32 flags, u64 to)
{
    s64 r = claim_holes(sp, to, to + new_len);
    if (r)
        return r;
    void *p = mremap(ptr(addr), old_len, new_len,
                     (int)(flags & MREMAP_DONTUNMAP) | MREMAP_MAYMOVE | MREMAP_FIXED, ptr(to));
    if (p == MAP_FAILED) {
        r = -errno;
        release_holes(sp, to, to + new_len);
        return r;
    }
    return (s64)to;
}

static s64 move_anywhere(struct space *sp, u64 addr, u64 old_len, u64 new_len, u32 flags)
{
    u64 high = sp->mmap_top;
    for (int tries = 0; tries < 1000; tries++) {
        u64 at = maptab_gap(&sp->tab, new_len, SPACE_PAGE, sp->min, high);
        if (!at)
            break;
        if (sp->own_start < at + new_len && at < sp->own_end) {
            high = sp->own_start;
            continue;
        }
        s64 r = claim_holes(sp, at, at + new_len);
        if (!r) {
            release_holes(sp, at, at + new_len);
            return move_to(sp, addr, old_len, new_len, flags, at);
        }
        high = at;
    }
    return -ENOMEM;
}

static s64 remap_locked(struct space *sp, u64 addr, u64 old_len, u64 new_len, u32 flags, u64 to)
{
    if (!maptab_covers(&sp->tab, addr, addr + MAX(old_len, SPACE_PAGE)))
        return -EFAULT;
    s64 r;
    if (flags & MREMAP_FIXED) {
        if (to & (SPACE_PAGE - 1) || (to < addr + old_len && addr < to + new_len))
            return -EINVAL;
        if (!mappable(sp, to, new_len))
            return -ENOMEM;
        r = move_to(sp, addr, old_len, new_len, flags, to);
    } else if (new_len <= old_len && !(flags & MREMAP_DONTUNMAP)) {
        if (new_len < old_len)
            unmap_locked(sp, addr + new_len, addr + old_len);
        return (s64)addr;
    } else {
        r = old_len && !(flags & MREMAP_DONTUNMAP) ? grow_in_place(sp, addr, old_len, new_len)
                                                   : -ENOMEM;
        if (r < 0 && flags & MREMAP_MAYMOVE)
            r = move_anywhere(sp, addr, old_len, new_len, flags);
    }
    if (r >= 0)
        record_move(sp, addr, old_len, (u64)r, new_len, flags);
    return r;
}

s64 space_mremap(struct space *sp, u64 addr, u64 old_len, u64 new_len, u32 flags, u64 new_addr)
{
    if (flags & ~(u32)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) ||
        (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE)) ||
        addr & (SPACE_PAGE - 1) || !new_len || (flags & MREMAP_DONTUNMAP && old_len != new_len))
        return -EINVAL;
    if (old_len > sp->top || new_len > sp->top)
        return -ENOMEM;
    if (addr >= sp->top || old_len > sp->top - addr)
        return -EFAULT;
    pthread_mutex_lock(&sp->lock);
    s64 r = remap_locked(sp, addr, ALIGN_UP(old_len, SPACE_PAGE), ALIGN_UP(new_len, SPACE_PAGE),
                         flags, new_addr);
    pthread_mutex_unlock(&sp->lock);
    return r;
}

/* ---- brk, System V shared memory ---- */

u64 space_brk(struct space *sp, u64 brk)
{
    pthread_mutex_lock(&sp->lock);
    u64 old_end = ALIGN_UP(sp->brk, SPACE_PAGE), new_end = ALIGN_UP(brk, SPACE_PAGE);
    bool ok = brk >= sp->brk_start && brk < sp->top;
    if (ok && new_end > old_end) {
        ok = mappable(sp, old_end, new_end - old_end) &&
             !maptab_overlaps(&sp->tab, old_end, new_end) &&
             host_map(old_end, new_end - old_end, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) >= 0;
        if (ok)
            record(sp, old_end, new_end - old_end, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, MAP_IS_HEAP);
    } else if (ok && new_end < old_end) {
        unmap_locked(sp, new_end, old_end);
    }
    if (ok)
        sp->brk = brk;
    u64 r = sp->brk;
    pthread_mutex_unlock(&sp->lock);
    return r;
}

s64 space_shmat(struct space *sp, int id, u64 addr, u32 flags)
{
    struct shmid_ds ds;
    if (shmctl(id, IPC_STAT, &ds) < 0)
        return -errno;
    u64 len = ALIGN_UP((u64)ds.shm_segsz, SPACE_PAGE);
    if (addr & (SPACE_PAGE - 1)) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        addr = ALIGN_DOWN(addr, SPACE_PAGE);
    }
    pthread_mutex_lock(&sp->lock);
    s64 r = 0;
    if (!addr) {
        addr = maptab_gap(&sp->tab, len, SPACE_PAGE, sp->min, sp->mmap_top);
        if (addr < sp->own_end && addr + len > sp->own_start)
            addr = 0;
    } else if (maptab_overlaps(&sp->tab, addr, addr + len) && !(flags & SHM_REMAP)) {
        r = -EINVAL;
    }
    if (!r)
        r = addr && mappable(sp, addr, len) ? claim_holes(sp, addr, addr + len) : -ENOMEM;
    if (!r) {
        void *p = shmat(id, ptr(addr), (int)((flags & ~(u32)SHM_EXEC) | SHM_REMAP));
        if (p == (void *)-1) {
            r = -errno;
            release_holes(sp, addr, addr + len);
        } else {
            u32 prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) |
                       (flags & SHM_EXEC ? PROT_EXEC : 0);
            record(sp, addr, len, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0, MAP_IS_SHM);
            r = (s64)addr;
        }
    }
    pthread_mutex_unlock(&sp->lock);
    return r;
}

s64 space_shmdt(struct space *sp, u64 addr)
{
    s64 r = -EINVAL;
    pthread_mutex_lock(&sp->lock);
    const struct map *m = maptab_find(&sp->tab, addr);
    if (m && m->start == addr && m->flags & MAP_IS_SHM) {
        u64 end = m->end;
        r = shmdt(ptr(addr)) < 0 ? -errno : 0;
        if (!r) {
            bool was = maptab_executable(&sp->tab, addr, end);
            maptab_remove(&sp->tab, addr, end);
            code_update(sp, addr, end, was, 0);
        }
    }
    pthread_mutex_unlock(&sp->lock);
    return r;
}

/* ---- access ---- */

bool space_read(struct space *sp, void *to, u64 addr, size_t len)
{
    return space_ok(sp, addr, len) && !guard_copy(to, ptr(addr), len);
}

bool space_write(struct space *sp, u64 addr, const void *from, size_t len)
{
    return space_ok(sp, addr, len) && !guard_copy(ptr(addr), from, len);
}

s64 space_string(struct space *sp, char *to, size_t size, u64 addr)
{
    if (!space_ok(sp, addr, 1))
        return -EFAULT;
    ptrdiff_t n = guard_string(to, MIN(size, sp->top - addr), ptr(addr));
    return n >= 0 ? n : n == -1 ? -EFAULT : -ENAMETOOLONG;
}

/* The other places at which the file behind [start, end) of `m` is mapped, where it is shared. */
static void aliases_changed(struct space *sp, const struct map *m, u64 start, u64 end)
{
    const u64 offset = m->offset + (start - m->start), last = offset + (end - start);
    for (size_t i = 0; i < sp->tab.count; i++) {
        const struct map *o = &sp->tab.map[i];
        u64 from = MAX(offset, o->offset), to = MIN(last, o->offset + (o->end - o->start));
        if (o->ino == m->ino && o->dev == m->dev && o->prot & MAP_EXEC && o->flags & MAP_IS_FILE && from < to)
            engine_invalidate(sp->engine, o->start + (from - o->offset), to - from);
    }
}

void space_code_changed(struct space *sp, u64 addr, u64 len)
{
    const u32 shared = MAP_IS_FILE | MAP_IS_SHARED;
    if (!sp->engine)
        return;
    engine_invalidate(sp->engine, addr, len);
    if (len >= sp->top) /* that was everything */
        return;
    pthread_mutex_lock(&sp->lock);
    for (size_t i = maptab_lower(&sp->tab, addr); i < sp->tab.count && sp->tab.map[i].start < addr + len; i++) {
        const struct map *m = &sp->tab.map[i];
        if ((m->flags & shared) == shared)
            aliases_changed(sp, m, MAX(addr, m->start), MIN(addr + len, m->end));
    }
    pthread_mutex_unlock(&sp->lock);
}

void space_contents_changed(struct space *sp, u64 addr, u64 len)
{
    pthread_mutex_lock(&sp->lock);
    if (sp->engine && maptab_executable(&sp->tab, addr, addr + len))
        engine_invalidate(sp->engine, addr, len);
    pthread_mutex_unlock(&sp->lock);
}
