/* virtio-balloon: memory that the guest lends back to the host (section 5.5 of the specification). Pages that it names are
 * empty from then on, and are the host's until the guest touches them again. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dev/list.h"
#include "dev/virtio/virtio.h"

#define F_STATS_VQ       (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_POISON    (1ull << 4)

enum { INFLATE, DEFLATE, STATS, QUEUES };
enum { PAGE = 4096, ACTUAL_AT = 4, POISON_AT = 12, AT_ONCE = 256, STATS_MAX = 64 /* places that are looked at */ };

/* What the guest tells of itself (5.5.6.4), by tag, as monitors call it. */
static const char *const stat_names[] = {
    "stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory", "stat-total-memory",
    "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

struct balloon_stat {
    u16 tag;
    u64 value;
} __attribute__((packed));

struct virtio_balloon {
    struct dev dev;
    struct virtio virtio;
    bool deflate_on_oom;
    u32 target, actual, poison; /* pages that are to be in it, and are; what free pages are filled with */
    struct loop_task changed;   /* `actual` has: monitors are told, on the loop */
    _Atomic bool told;          /* it is posted */
    u64 stats[ARRAY_LEN(stat_names)], stats_at; /* ~0: not told; when they came, in seconds since 1970, 0: never */
    u32 interval;               /* seconds from one request for them to the next; 0: there is none */
    struct loop_timer ask;
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

/* It comes on a vCPU's thread. */
static void balloon_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value)
{
    struct virtio_balloon *b = of(v);
    if (offset == ACTUAL_AT && size == 4 && b->actual != value) {
        b->actual = value;
        if (!atomic_exchange(&b->told, true))
            loop_post(v->transport->env->loop, &b->changed);
    }
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

/* The guest's buffer stays in its queue, as giving it back asks for new ones. */
static void look_at_stats(struct virtio_balloon *b)
{
    struct balloon_stat s;
    struct virtio_chain *c = virtio_take(&b->virtio, STATS);
    if (!c)
        return;
    memset(b->stats, 0xff, sizeof(b->stats));
    for (u64 at = 0; at < STATS_MAX * sizeof(s) && virtio_chain_read(c, at, &s, sizeof(s)); at += sizeof(s)) {
        if (s.tag < ARRAY_LEN(stat_names))
            b->stats[s.tag] = s.value;
    }
    b->stats_at = (u64)time(NULL);
    virtio_untake(c);
}

static void ask_again(struct virtio_balloon *b)
{
    struct loop *l = b->dev.env->loop;
    if (b->interval)
        loop_timer_set(l, &b->ask, loop_now() + b->interval * 1000000000ull);
    else
        loop_timer_cancel(l, &b->ask);
}

static void ask_for_stats(struct loop_timer *t)
{
    struct virtio_balloon *b = container_of(t, struct virtio_balloon, ask);
    struct virtio_chain *c = virtio_take(&b->virtio, STATS);
    if (c)
        virtio_put(c, 0);
    look_at_stats(b); /* which may be there already; else the guest is told that it is waited for */
    ask_again(b);
}

static void balloon_kick(struct virtio *v, unsigned queue)
{
    struct virtio_chain *c;
    if (queue == STATS)
        look_at_stats(of(v));
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

/* The bytes that the guest is to keep: the rest of its pages go into the balloon. */
static void balloon_order(struct dev *d, u64 bytes)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    struct dev *transport = b->virtio.transport;
    u64 ram = d->env->ram;
    dev_lock(transport);
    b->target = (u32)((ram - MIN(bytes, ram)) / PAGE);
    dev_unlock(transport);
    virtio_config_changed(&b->virtio);
}

/* What the guest has left, as it says. */
static struct json *balloon_show(struct dev *d)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    struct json *j = json_object();
    dev_lock(b->virtio.transport);
    u64 taken = (u64)b->actual * PAGE;
    dev_unlock(b->virtio.transport);
    json_set_int(j, "actual", (s64)(d->env->ram - MIN(taken, d->env->ram)));
    return j;
}

static void tell_change(struct loop_task *t)
{
    struct virtio_balloon *b = container_of(t, struct virtio_balloon, changed);
    atomic_store(&b->told, false);
    b->dev.env->tell(b->dev.env->opaque, "BALLOON_CHANGE", balloon_show(&b->dev));
}

static struct json *get_stats(struct dev *d)
{
    const struct virtio_balloon *b = (struct virtio_balloon *)d;
    struct json *j = json_object(), *stats = json_set(j, "stats", json_object());
    for (unsigned i = 0; i < ARRAY_LEN(stat_names); i++)
        json_set_u64(stats, stat_names[i], b->stats[i]);
    json_set_int(j, "last-update", (s64)b->stats_at);
    return j;
}

static struct json *get_interval(struct dev *d)
{
    return json_int(((struct virtio_balloon *)d)->interval);
}

static bool set_interval(struct dev *d, const struct json *to, struct err *e)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    if (to->kind != JSON_INT)
        return err_set(e, EINVAL, "Invalid parameter type for 'guest-stats-polling-interval', expected: integer");
    if (to->integer < 0)
        return err_set(e, EINVAL, "timer value must be greater than zero");
    if (to->integer > UINT32_MAX)
        return err_set(e, EINVAL, "timer value is too big");
    b->interval = (u32)to->integer;
    ask_again(b);
    return true;
}

static const struct dev_live balloon_live[] = {
    {"guest-stats", "guest statistics", get_stats, NULL},
    {"guest-stats-polling-interval", "int", get_interval, set_interval},
    {NULL},
};

/* ---- life ---- */

static bool balloon_start(struct dev *d, struct err *e)
{
    struct virtio_balloon *b = (struct virtio_balloon *)d;
    b->virtio.kind = &balloon_kind;
    b->virtio.queues = QUEUES;
    b->virtio.queue_size = 128;
    b->changed.run = tell_change;
    b->ask.fire = ask_for_stats;
    memset(b->stats, 0xff, sizeof(b->stats));
    return true;
}

static void balloon_stop(struct dev *d)
{
    loop_timer_cancel(d->env->loop, &((struct virtio_balloon *)d)->ask);
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
    .props = balloon_props, .live = balloon_live, .state = balloon_state, .start = balloon_start, .stop = balloon_stop, .category = "Misc", .bus = "virtio-bus",
    .bus_side = balloon_bus_side, .subject = "balloon", .show = balloon_show, .order = balloon_order,
};
