/* virtio-rng: random numbers of the host (section 5.4 of the specification), its own or those of a file, and perhaps so many in a
 * given time and no more. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "dev/list.h"
#include "dev/virtio/virtio.h"

enum { AT_ONCE = 256, MOST = 65536 }; /* bytes that the host gives without an interruption, and for one chain */

struct virtio_rng {
    struct dev dev;
    struct virtio virtio;
    const struct json *source; /* an object; NULL: the host's own numbers */
    struct loop_fd file;       /* of a source that is one; -1: none */
    bool watched;              /* it has nothing just now */
    u64 quota, left;           /* bytes in each period, and in this one; quota 0: any number */
    u32 period_ms;
    struct loop_timer period;
};

static struct virtio_rng *of(struct virtio *v)
{
    return container_of(v, struct virtio_rng, virtio);
}

static u64 rng_features(struct virtio *v)
{
    return 0;
}

static unsigned rng_config(struct virtio *v, u8 *to)
{
    return 0;
}

static ssize_t get_bytes(struct virtio_rng *r, u8 *bytes, size_t len)
{
    return r->file.fd >= 0 ? read(r->file.fd, bytes, len) : getrandom(bytes, len, 0);
}

/* A chain need not be filled. */
static u64 fill(struct virtio_rng *r, struct virtio_chain *c)
{
    u8 bytes[AT_ONCE];
    u64 done = 0, want = MIN(c->in_len, (u64)MOST);
    if (r->quota)
        want = MIN(want, r->left);
    while (done < want) {
        ssize_t n = get_bytes(r, bytes, MIN(want - done, sizeof(bytes)));
        if (n <= 0)
            break;
        virtio_chain_write(c, done, bytes, (u64)n);
        done += (u64)n;
    }
    r->left -= r->quota ? done : 0;
    return done;
}

/* Wait for the file, if it is of the kind that waiting helps with. */
static void watch(struct virtio_rng *r, bool on)
{
    if (on && !r->watched)
        r->watched = loop_fd_add(r->dev.env->loop, &r->file, EPOLLIN, NULL);
    if (!on && r->watched)
        loop_fd_remove(r->dev.env->loop, &r->file);
    r->watched &= on;
}

/* What cannot be served now stays in the queue. */
static void rng_kick(struct virtio *v, unsigned queue)
{
    struct virtio_rng *r = of(v);
    struct virtio_chain *c;
    while (!r->watched && !(r->quota && !r->left) && (c = virtio_take(v, queue))) {
        u64 done = fill(r, c);
        if (!done && c->in_len) {
            virtio_untake(c);
            watch(r, r->file.fd >= 0);
            break;
        }
        virtio_put(c, done);
    }
}

static void file_ready(struct loop_fd *f, u32 events)
{
    struct virtio_rng *r = container_of(f, struct virtio_rng, file);
    watch(r, false);
    rng_kick(&r->virtio, 0);
}

static void next_period(struct loop_timer *t)
{
    struct virtio_rng *r = container_of(t, struct virtio_rng, period);
    r->left = r->quota;
    loop_timer_set(r->dev.env->loop, t, loop_now() + r->period_ms * 1000000ull);
    rng_kick(&r->virtio, 0);
}

static const struct virtio_kind rng_kind = {
    .id = 4, .features = rng_features, .config = rng_config, .kick = rng_kick,
};

static bool open_source(struct virtio_rng *r, struct err *e)
{
    const char *kind = json_get_string(r->source, "qom-type"), *path = json_get_string(r->source, "filename");
    if (!strcmp(kind, "rng-builtin"))
        return true;
    if (strcmp(kind, "rng-random"))
        return err_set(e, EINVAL, "Invalid parameter type for 'rng', expected: rng-backend");
    path = path ? path : "/dev/urandom";
    r->file.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return r->file.fd >= 0 || err_set(e, errno, "Could not open '%s': %s", path, strerror(errno));
}

static bool rng_start(struct dev *d, struct err *e)
{
    struct virtio_rng *r = (struct virtio_rng *)d;
    r->virtio.kind = &rng_kind;
    r->virtio.queues = 1;
    r->virtio.queue_size = 8;
    r->file = (struct loop_fd){-1, file_ready};
    r->period.fire = next_period;
    if (r->quota && !r->period_ms)
        return err_set(e, EINVAL, "'period' parameter expects a positive integer");
    if (r->source && !open_source(r, e))
        return false;
    r->left = r->quota;
    if (r->quota)
        loop_timer_set(d->env->loop, &r->period, loop_now() + r->period_ms * 1000000ull);
    return true;
}

static void rng_stop(struct dev *d)
{
    struct virtio_rng *r = (struct virtio_rng *)d;
    if (!r->period.fire)
        return; /* it has not started */
    watch(r, false);
    if (r->quota)
        loop_timer_cancel(d->env->loop, &r->period);
    if (r->file.fd >= 0)
        close(r->file.fd);
}

static void *rng_bus_side(struct dev *d)
{
    return &((struct virtio_rng *)d)->virtio;
}

static const struct dev_prop rng_props[] = {
    VIRTIO_PROPS(struct virtio_rng, virtio),
    DEV_PROP(struct virtio_rng, "rng", DEV_PROP_OBJECT, source, .help = "where they are from: the id of an -object rng-random or rng-builtin"),
    DEV_PROP(struct virtio_rng, "max-bytes", DEV_PROP_U64, quota, .help = "bytes in each period; 0: any number"),
    DEV_PROP(struct virtio_rng, "period", DEV_PROP_U32, period_ms, 65536, .help = "milliseconds"),
    {0},
};

static const struct state_field rng_state[] = {VIRTIO_STATE(struct virtio_rng, virtio), {0}};

const struct dev_class dev_virtio_rng = {
    .name = "virtio-rng-device", .help = "virtio random numbers", .size = sizeof(struct virtio_rng),
    .props = rng_props, .state = rng_state, .start = rng_start, .stop = rng_stop, .category = "Misc", .bus = "virtio-bus",
    .bus_side = rng_bus_side,
};
