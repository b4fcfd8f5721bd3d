/* Guest-physical address spaces.
 *
 * A space is a tree of ranges: containers hold others at an offset and a priority; RAM, ROM and windows
 * of devices are leaves; an alias shows a part of another range. Where ranges overlap, the one with the
 * higher priority is seen, and of two equals the one that was added last. What a container leaves open
 * shows what lies below the container.
 *
 *      struct mem_range *root = mem_container_new("system", 0);
 *      mem_range_add(root, 0x40000000, 0, ram);
 *      struct mem_space *s = mem_space_new(root);
 *
 * The tree is changed by one thread; mem_space_update() then publishes it as a flat list, which all
 * threads read without a lock. */
#ifndef LYRE_MEM_MEM_H
#define LYRE_MEM_MEM_H

#include <stdio.h>

#include "base/err.h"
#include "base/types.h"

struct mem_range;
struct mem_space;

enum mem_result {
    MEM_OK,
    MEM_NONE,  /* nothing answers at this address */
    MEM_ERROR, /* something does, and refuses: the size, the alignment, a write to ROM */
};

/* ---- for CPUs and devices: accesses; any thread ---- */

/* Host memory of the RAM or ROM behind `addr`; *len: how many bytes follow, at least 1. NULL for a
 * device's window, for nothing, and for memory that no vCPU may access without a call. Valid until the
 * listeners hear of a change. *writable: it may be written, until they hear that pages are clean. */
void *mem_host(struct mem_space *s, u64 addr, u64 *len, bool *writable);
/* The same for who is about to write: a logged page becomes dirty, and is writable then. */
void *mem_host_write(struct mem_space *s, u64 addr, u64 *len, bool *writable);

/* One access of 1, 2, 4 or 8 bytes as a little-endian CPU makes it. A device sees it exactly once, in
 * pieces if it takes no such size. */
enum mem_result mem_read(struct mem_space *s, u64 addr, unsigned size, u64 *value);
enum mem_result mem_write(struct mem_space *s, u64 addr, unsigned size, u64 value);

/* A device's access to memory. What is not RAM or ROM is refused and logged, so that no device can reach
 * itself; then a part may have been copied. */
enum mem_result mem_dma_read(struct mem_space *s, u64 addr, void *to, u64 len);
enum mem_result mem_dma_write(struct mem_space *s, u64 addr, const void *from, u64 len);
/* The host memory of the next bytes at `addr` for such an access, at most `len`; *got: how many. NULL: refused. After
 * having written there a device says so. */
void *mem_dma_map(struct mem_space *s, u64 addr, u64 len, bool write, u64 *got);
void mem_dma_written(struct mem_space *s, u64 addr, u64 len);
/* A copy to or from such memory. CPUs may change it meanwhile: what is copied then is the guest's concern. */
void mem_dma_copy(void *to, const void *from, u64 len);
/* mem_dma_write() past the protection of ROM: for firmware and images. */
enum mem_result mem_load(struct mem_space *s, u64 addr, const void *from, u64 len);

/* Who keeps things derived from a space: translations, code, a display. In any order, on the thread that
 * made the change. Members may be NULL. */
struct mem_listener {
    void (*changed)(struct mem_listener *l); /* a new view holds */
    /* memory was written, but not by a vCPU through mem_host() */
    void (*written)(struct mem_listener *l, u64 addr, u64 len);
    /* pages that were dirty, or not logged, are clean: when this returns nobody writes without having asked mem_host_write() again */
    void (*clean)(struct mem_listener *l);
    struct mem_listener *next;
};

/* Before threads use the space, and when they do not any more. */
void mem_space_listen(struct mem_space *s, struct mem_listener *l);
void mem_space_ignore(struct mem_space *s, struct mem_listener *l);

/* ---- for displays and migration: which pages of RAM were written; one thread, which is no vCPU's ---- */

/* Each client has a log of its own, which begins clean. Writes of vCPUs and of devices are in it, but not what the client itself
 * writes through mem_range_host(). What is written while pages are taken is in that answer or in the next, and who reads a page
 * after it was taken sees all that had been written until then:
 *
 *      mem_log_start(s, vram, MEM_LOG_DISPLAY);
 *      copy all of it
 *      while (...)
 *          if (mem_log_take(s, vram, MEM_LOG_DISPLAY, 0, size, pages))
 *              copy the pages for which mem_log_has(pages, i)
 *      mem_log_stop(s, vram, MEM_LOG_DISPLAY);
 *
 * A logged range costs vCPUs a call at the first write to each page that is clean, and the taking of any page their TLBs. */
enum mem_log { MEM_LOG_DISPLAY, MEM_LOG_MIGRATION, MEM_LOGS };

#define MEM_LOG_PAGE 4096ull

static inline size_t mem_log_words(u64 len)
{
    return (len + 64 * MEM_LOG_PAGE - 1) / (64 * MEM_LOG_PAGE);
}

static inline bool mem_log_has(const u64 *pages, u64 page)
{
    return pages[page / 64] >> page % 64 & 1;
}

/* Of a RAM range; nothing where the log is on already, or is off. */
void mem_log_start(struct mem_space *s, struct mem_range *r, enum mem_log log);
void mem_log_stop(struct mem_space *s, struct mem_range *r, enum mem_log log);
/* How many pages of [offset, offset + len) were written since they were last taken: they are clean from now on. The i-th page behind
 * `offset`, which is a multiple of MEM_LOG_PAGE, is bit i of pages[], which has mem_log_words(len). */
u64 mem_log_take(struct mem_space *s, struct mem_range *r, enum mem_log log, u64 offset, u64 len, u64 *pages);

/* ---- for boards and buses: the tree; one thread ---- */

/* What a window of a device does. `offset` is from the window's start. */
struct mem_io {
    enum mem_result (*read)(void *opaque, u64 offset, unsigned size, u64 *value);
    enum mem_result (*write)(void *opaque, u64 offset, unsigned size, u64 value);
    u8 min, max;           /* bytes of an access that is allowed; 0: 1 and 8 */
    u8 call_min, call_max; /* bytes that the functions take: others are put together; 0: as above */
    bool unaligned;        /* accesses need not be aligned */
    bool big_endian;
};

/* A size of 0 stands for 2^64. Sizes of RAM and ROM are rounded up to the host's pages. */
struct mem_range *mem_container_new(const char *name, u64 size);
struct mem_range *mem_ram_new(const char *name, u64 size, struct err *e);
/* RAM that is a file, which is made or made longer; unless shared what is written stays here. */
struct mem_range *mem_ram_file_new(const char *name, const char *path, u64 size, bool shared, struct err *e);
struct mem_range *mem_rom_new(const char *name, u64 size, struct err *e);
/* Have the host give all of its memory now. */
bool mem_range_populate(struct mem_range *r, struct err *e);
/* CPUs' writes to a ROM are without effect, where they else are refused. */
void mem_rom_drop_writes(struct mem_range *r);
struct mem_range *mem_io_new(const char *name, u64 size, const struct mem_io *io, void *opaque);
/* `size` bytes of `of` from `offset` on. */
struct mem_range *mem_alias_new(const char *name, struct mem_range *of, u64 offset, u64 size);

/* A range has one place at most. Ranges are freed leaf first or not at all before mem_tree_free(). */
void mem_range_add(struct mem_range *in, u64 at, int priority, struct mem_range *r);
void mem_range_remove(struct mem_range *r);
void mem_range_enable(struct mem_range *r, bool on);
void mem_range_free(struct mem_range *r); /* NULL is allowed */
/* A range and all that lies in it; what aliases show is freed by who made it. NULL is allowed. */
void mem_tree_free(struct mem_range *r);

/* The memory of a RAM or ROM range: its host address and its descriptor, which other processes may map. */
u8 *mem_range_host(const struct mem_range *r);
int mem_range_fd(const struct mem_range *r);
u64 mem_range_size(const struct mem_range *r);
/* Where in its tree a range begins; false: it is switched off. */
bool mem_range_address(const struct mem_range *r, u64 *at);
/* A line for each range, for people. */
void mem_tree_show(const struct mem_range *root, FILE *to);

/* A view of the tree below `root`, which stays the caller's. */
struct mem_space *mem_space_new(struct mem_range *root);
void mem_space_free(struct mem_space *s);

/* Publish the tree as it is now. Views that other threads may still be reading are kept until
 * mem_space_reclaim(), which is called when none does (all vCPUs parked). */
void mem_space_update(struct mem_space *s);
void mem_space_reclaim(struct mem_space *s);

/* The view in order of addresses: the i-th piece; false behind the last. For monitors and tests. */
struct mem_piece {
    u64 start, last;
    const char *name;
    struct mem_range *range;
    u64 offset; /* of `start` in the range */
    bool ram, writable;
};
bool mem_space_piece(struct mem_space *s, unsigned i, struct mem_piece *p);

#endif
