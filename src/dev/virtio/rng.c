/* virtio-rng: random numbers of the host (section 5.4 of the specification). */
#include <sys/random.h>

#include "dev/list.h"
#include "dev/virtio/virtio.h"

enum { AT_ONCE = 256, MOST = 65536 }; /* bytes that the host gives without an interruption, and for one chain */

struct virtio_rng {
    struct dev dev;
    struct virtio virtio;
};

static u64 rng_features(struct virtio *v)
{
    return 0;
}

static unsigned rng_config(struct virtio *v, u8 *to)
{
    return 0;
}

/* A chain need not be filled. */
static u64 fill(struct virtio_chain *c)
{
    u8 bytes[AT_ONCE];
    u64 done = 0, want = MIN(c->in_len, (u64)MOST);
    while (done < want) {
        ssize_t n = getrandom(bytes, MIN(want - done, sizeof(bytes)), 0);
        if (n <= 0)
            break;
        virtio_chain_write(c, done, bytes, (u64)n);
        done += (u64)n;
    }
    return done;
}

static void rng_kick(struct virtio *v, unsigned queue)
{
    struct virtio_chain *c;
    while ((c = virtio_take(v, queue)))
        virtio_put(c, fill(c));
}

static const struct virtio_kind rng_kind = {
    .id = 4, .features = rng_features, .config = rng_config, .kick = rng_kick,
};

static bool rng_start(struct dev *d, struct err *e)
{
    struct virtio_rng *r = (struct virtio_rng *)d;
    r->virtio.kind = &rng_kind;
    r->virtio.queues = 1;
    r->virtio.queue_size = 8;
    return true;
}

static void *rng_bus_side(struct dev *d)
{
    return &((struct virtio_rng *)d)->virtio;
}

static const struct dev_prop rng_props[] = {VIRTIO_PROPS(struct virtio_rng, virtio), {0}};

static const struct state_field rng_state[] = {VIRTIO_STATE(struct virtio_rng, virtio), {0}};

const struct dev_class dev_virtio_rng = {
    .name = "virtio-rng-device", .help = "virtio random numbers", .size = sizeof(struct virtio_rng),
    .props = rng_props, .state = rng_state, .start = rng_start, .category = "Misc", .bus = "virtio-bus", .bus_side = rng_bus_side,
};
