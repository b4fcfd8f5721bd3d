/* A guest's address space over the host's own: a guest address is the host's address. Everything
 * the guest maps is placed here, below space->top; what lies above, and lyre's own image, belongs to
 * lyre and is out of the guest's reach (ENOMEM for mappings, EFAULT for pointers).
 *
 * The host never executes guest memory, so PROT_EXEC stays in our books and is not given to the
 * host; `space_fetch` honours it. */
#ifndef LYRE_USER_SPACE_H
#define LYRE_USER_SPACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "user/maptab.h"

struct engine;

#define SPACE_PAGE 4096ull

/* Two bits per page say whether it may be executed, and whether it is guarded. Two levels; the lower
 * ones cover 1 GiB each and are made on demand, so that readers need no lock. */
#define EXEC_CHUNK_BITS 30
#define EXEC_CHUNKS     (1u << (47 - EXEC_CHUNK_BITS))
#define EXEC_WORDS      (1u << (EXEC_CHUNK_BITS - 12 - 5))

struct space {
    pthread_mutex_t lock; /* table, brk and every host call that changes guest mappings */
    struct maptab tab;
    u64 min;              /* lowest address that may be mapped */
    u64 top;              /* first address beyond the guest's */
    u64 own_start, own_end; /* lyre's image and brk heap, if below top */
    u64 mmap_top;         /* new mappings are placed below */
    u64 brk_start, brk;   /* current break; pages up to ALIGN_UP(brk) are mapped */
    u64 stack_start, stack_end;
    struct engine *engine; /* told about code that goes away; NULL in unit tests */
    _Atomic(_Atomic u64 *) *exec; /* EXEC_CHUNKS of them */
    _Atomic bool guards;  /* some page is or was guarded */
};

/* Look at the host's own mappings and decide what is the guest's. */
bool space_init(struct space *sp, struct err *e);

/* Nothing at or above `top` is the guest's: for guests of 32 bits. Before anything is mapped. */
void space_limit(struct space *sp, u64 top);

/* Forget the table; the host's mappings stay (the process ends anyway). */
void space_free(struct space *sp);

/* The mmap family with Linux's meaning: an address or 0, or -errno. Prot and flags are the host's
 * PROT_* and MAP_*; prot may have MAP_GUARDED. `what` adds to enum map_flags. */
s64 space_mmap(struct space *sp, u64 addr, u64 len, u32 prot, u32 flags, int fd, u64 offset,
               u32 what);
s64 space_munmap(struct space *sp, u64 addr, u64 len);
s64 space_mprotect(struct space *sp, u64 addr, u64 len, u32 prot);
s64 space_mremap(struct space *sp, u64 addr, u64 old_len, u64 new_len, u32 flags, u64 new_addr);
u64 space_brk(struct space *sp, u64 brk);
s64 space_shmat(struct space *sp, int id, u64 addr, u32 flags);
s64 space_shmdt(struct space *sp, u64 addr);

/* May the guest's [addr, addr + len) be handed to the host? False: it touches what is lyre's.
 * Whether anything is mapped there is the host's to find out. */
static inline bool space_ok(const struct space *sp, u64 addr, u64 len)
{
    if (addr >= sp->top || len > sp->top - addr)
        return false;
    return addr >= sp->own_end || addr + len <= sp->own_start;
}

/* Copies between lyre and the guest; false (EFAULT) unless all of it could be done. */
bool space_read(struct space *sp, void *to, u64 addr, size_t len);
bool space_write(struct space *sp, u64 addr, const void *from, size_t len);

/* A string of at most size - 1 bytes; its length, or -EFAULT or -ENAMETOOLONG. */
s64 space_string(struct space *sp, char *to, size_t size, u64 addr);

/* Instruction fetch for engine_opts.fetch (opaque: the struct space): up to `len` bytes, as far as
 * pages are executable and readable. Takes no lock. */
size_t space_fetch(void *opaque, u64 addr, void *to, size_t len);

/* For engine_opts.guarded: may an indirect branch to addr only meet a landing pad? */
bool space_guarded(void *opaque, u64 addr);

/* For engine_opts.shared. Takes the lock. */
bool space_shared(void *opaque, u64 addr);

/* The line of code at `addr` changed: drop translations of it, also under the other addresses at
 * which the same shared memory is mapped. */
void space_code_changed(struct space *sp, u64 addr, u64 len);

/* The contents of a range were replaced by other means than stores (madvise). */
void space_contents_changed(struct space *sp, u64 addr, u64 len);

#endif
