/* virtio-balloon: memory that the guest lends back to the host (section 5.5 of the specification). Pages that it names are
 * empty from then on, and are the host's until the guest touches them again. */
#include "dev/virtio/balloon.h"

#include <string.h>
#include <sys/mman.h>

#include "dev/list.h"
#include "dev/virtio/virtio.h"

#define F_STATS_VQ       (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_POISON    (1ull << 4)

enum { INFLATE, DEFLATE, STATS, QUEUES };
enum { PAGE = 4096, ACTUAL_AT = 4, POISON_AT = 12, AT_ONCE = 256 };

struct virtio_balloon {
    struct dev dev;
    struct virtio virtio;
    bool deflate_on_oom;
    u32 target, actual, poison; /* pages that are to be in it, and are; what free pages are filled with */
};

static struct virtio_balloon *of(struct virtio *v)
{
    return container_of(v, struct virtio_balloon, virtio);
}

static u64 balloon_features(struct virtio *v)
{
    return F_STATS_VQ | F_PAGE_POISON | (of(v)->deflate_on_oom ? F_DEFLATE_ON_OOM : 0);
}

static unsigned balloon_config(struct virtio *v, u8 *to)
{
    const struct virtio_balloon *b = of(v);
    const u32 c[] = {b->target, b->actual, 0 /* no hints are asked for */, b->poison};
    memcpy(to, c, sizeof(c));
    return sizeof(c);
}

static void balloon_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value)
{
    if (offset == ACTUAL_AT && size == 4)
        of(v)->actual = value;
    if (offset == POISON_AT && size == 4)
        of(v)->poison = value;
}

/* The host's file behind the guest's memory gets a hole. */
static void give_up(struct virtio_balloon *b, u64 addr)
{
    struct mem_space *m = b->virtio.transport->env->memory;
    u64 got;
    void *host = mem_dma_map(m, addr, PAGE, true, &got);
    if (!host || got < PAGE || madvise(host, PAGE, MADV_REMOVE))
        return;
    mem_dma_written(m, addr, PAGE);
}

static void inflate(struct virtio_balloon *b, const struct virtio_chain *c)
{
    u32 pages[AT_ONCE];
    u64 n;
    for (u64 at = 0; at + 4 <= c->out_len; at += n) {
        n = MIN(c->out_len - at, sizeof(pages)) & ~3ull;
        virtio_chain_read(c, at, pages, n);
        for (unsigned i = 0; i < n / 4; i++)
            give_up(b, (u64)pages[i] * PAGE);
    }
}

/* Statistics are not asked for: their buffer stays where it is. */
static void balloon_kick(struct virtio *v, unsigned queue)
{
    struct virtio_chain *c;
    while (queue != STATS && (c = virtio_take(v, queue))) {
        if (queue == INFLATE)
            inflate(of(v), c);
        virtio_put(c, 0);
    }
}

static void balloon_reset(struct virtio *v)
{
    of(v)->actual = of(v)->poison = 0;
}

static const struct virtio_kind balloon_kind = {
    .id = 5, .features = balloon_features, .config = balloon_config, .config_write = balloon_config_write,
    .kick = balloon_kick, .reset = balloon_reset,
};

/* ---- for monitors ---- */

bool balloon_is(const struct dev *d)
{
    return d->class == &dev_virtio_balloon;
}

void balloon_set(struct dev *d, u64 ram, u64 bytes)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    struct dev *transport = b->virtio.transport;
    dev_lock(transport);
    b->target = (u32)((ram - MIN(bytes, ram)) / PAGE);
    b->virtio.config_generation++;
    dev_unlock(transport);
    b->virtio.interrupt(transport, VIRTIO_INT_CONFIG, 0);
}

u64 balloon_left(struct dev *d, u64 ram)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    dev_lock(b->virtio.transport);
    u64 taken = (u64)b->actual * PAGE;
    dev_unlock(b->virtio.transport);
    return ram - MIN(taken, ram);
}

/* ---- life ---- */

static bool balloon_start(struct dev *d, struct err *e)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    b->virtio.kind = &balloon_kind;
    b->virtio.queues = QUEUES;
    b->virtio.queue_size = 128;
    return true;
}

static void *balloon_bus_side(struct dev *d)
{
    return &((struct virtio_balloon *)d)->virtio;
}

static const struct dev_prop balloon_props[] = {
    VIRTIO_PROPS(struct virtio_balloon, virtio),
    DEV_PROP(struct virtio_balloon, "deflate-on-oom", DEV_PROP_BOOL, deflate_on_oom, .help = "the guest may take pages back"),
    {0},
};

static const struct state_field balloon_state[] = {
    VIRTIO_STATE(struct virtio_balloon, virtio), STATE(struct virtio_balloon, target), STATE(struct virtio_balloon, actual),
    STATE(struct virtio_balloon, poison), {0}};

const struct dev_class dev_virtio_balloon = {
    .name = "virtio-balloon-device", .help = "virtio memory balloon", .size = sizeof(struct virtio_balloon),
    .props = balloon_props, .state = balloon_state, .start = balloon_start, .category = "Misc", .bus = "virtio-bus",
    .bus_side = balloon_bus_side,
};
