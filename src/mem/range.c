/* The tree of ranges. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "mem/view.h"

static struct mem_range *range_new(const char *name, enum mem_kind kind, u64 size)
{
    struct mem_range *r = xcalloc(1, sizeof(*r));
    r->name = xstrdup(name);
    r->kind = kind;
    r->last = size - 1;
    r->fd = -1;
    return r;
}

struct mem_range *mem_container_new(const char *name, u64 size)
{
    return range_new(name, MEM_CONTAINER, size);
}

/* Memory that is a file from its start on; takes the descriptor over. */
static struct mem_range *memory_new(const char *name, enum mem_kind kind, int fd, u64 size, int sharing, struct err *e)
{
    u64 page = (u64)sysconf(_SC_PAGESIZE);
    size = ALIGN_UP(size, page);
    struct mem_range *r = range_new(name, kind, size);
    struct stat st;
    r->fd = fd;
    if (fd < 0 || fstat(fd, &st) || ((u64)st.st_size < size && ftruncate(fd, (off_t)size)))
        goto fail;
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_NORESERVE, fd, 0);
    if (host == MAP_FAILED)
        goto fail;
    r->host = host;
    madvise(host, size, MADV_HUGEPAGE); /* where the host has none, it is as good without */
    return r;
fail:
    err_set(e, errno, "cannot get %llu MiB of memory for '%s': %s", (unsigned long long)(size >> 20), name,
            strerror(errno));
    mem_range_free(r);
    return NULL;
}

bool mem_range_populate(struct mem_range *r, struct err *e)
{
    return !madvise(r->host, r->last + 1, MADV_POPULATE_WRITE) ||
           err_set(e, errno, "the host does not have %llu MiB of memory for '%s': %s", (unsigned long long)(r->last + 1) >> 20, r->name,
                   strerror(errno));
}

/* From a memfd, so that another process can be given it. */
static struct mem_range *memfd_new(const char *name, enum mem_kind kind, u64 size, struct err *e)
{
    return memory_new(name, kind, memfd_create(name, MFD_CLOEXEC), size, MAP_SHARED, e);
}

struct mem_range *mem_ram_file_new(const char *name, const char *path, u64 size, bool shared, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return memory_new(name, MEM_RAM, fd, size, shared ? MAP_SHARED : MAP_PRIVATE, e);
}

struct mem_range *mem_ram_new(const char *name, u64 size, struct err *e)
{
    return memfd_new(name, MEM_RAM, size, e);
}

struct mem_range *mem_rom_new(const char *name, u64 size, struct err *e)
{
    return memfd_new(name, MEM_ROM, size, e);
}

void mem_rom_drop_writes(struct mem_range *r)
{
    r->drops = true;
}

struct mem_range *mem_io_new(const char *name, u64 size, const struct mem_io *io, void *opaque)
{
    struct mem_range *r = range_new(name, MEM_IO, size);
    r->io = io;
    r->opaque = opaque;
    return r;
}

struct mem_range *mem_alias_new(const char *name, struct mem_range *of, u64 offset, u64 size)
{
    struct mem_range *r = range_new(name, MEM_ALIAS, size);
    r->of = of;
    r->offset = offset;
    return r;
}

void mem_range_add(struct mem_range *in, u64 at, int priority, struct mem_range *r)
{
    struct mem_range **place = &in->first;
    while (*place && (*place)->priority > priority)
        place = &(*place)->next;
    r->in = in;
    r->at = at;
    r->priority = priority;
    r->next = *place;
    *place = r;
}

void mem_range_remove(struct mem_range *r)
{
    if (!r->in)
        return;
    struct mem_range **place = &r->in->first;
    while (*place != r)
        place = &(*place)->next;
    *place = r->next;
    r->in = NULL;
}

void mem_range_enable(struct mem_range *r, bool on)
{
    r->disabled = !on;
}

void mem_range_free(struct mem_range *r)
{
    if (!r)
        return;
    mem_range_remove(r);
    if (r->host)
        munmap(r->host, r->last + 1);
    if (r->fd >= 0)
        close(r->fd);
    for (unsigned i = 0; i < MEM_LOGS; i++)
        free(r->dirty[i]);
    free(r->name);
    free(r);
}

void mem_tree_free(struct mem_range *r)
{
    if (!r)
        return;
    while (r->first)
        mem_tree_free(r->first);
    mem_range_free(r);
}

u8 *mem_range_host(const struct mem_range *r)
{
    return r->host;
}

int mem_range_fd(const struct mem_range *r)
{
    return r->fd;
}

u64 mem_range_size(const struct mem_range *r)
{
    return r->last + 1;
}
