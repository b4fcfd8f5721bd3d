/* virtio-console: serial ports on one device (section 5.3 of the specification). The device is a bus, whose ports are devices
 * that users add: consoles, and channels with names. All is on the machine's loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "back/char.h"
#include "base/mem.h"
#include "dev/list.h"
#include "dev/virtio/virtio.h"

#define F_MULTIPORT   (1ull << 1)
#define F_EMERG_WRITE (1ull << 2)
#define PORT_BUS      "virtio-serial-bus"

enum { PORTS = VIRTIO_QUEUES / 2 - 1, CONTROL_RX = 2, CONTROL_TX = 3, QUEUE_SIZE = 128, HELD = 1024, EMERGENCY_AT = 8,
       NUMBER_AUTO = 0xffff, NAME_MAX_BYTES = 128 };

/* Messages about ports (5.3.6.2). */
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_REMOVE = 2, PORT_READY = 3, CONSOLE_PORT = 4, PORT_OPEN = 6, PORT_NAME = 7 };

struct control {
    u32 port;
    u16 event, value;
} __attribute__((packed));

struct virtio_serial {
    struct dev dev;
    struct virtio virtio;
    u32 max_ports;
    struct serial_port *port[PORTS];
    u64 epoch; /* of the queues, when this was looked at last */
    bool driven;     /* a driver has said that it knows of ports */
    u64 removed;     /* a bit for each port that is gone, of which the driver is to hear */
};

struct serial_port {
    struct dev dev;
    struct virtio_serial *bus;
    struct chardev *chardev;
    struct char_user user;
    char *name;
    u32 number;
    bool host_open;
    bool fresh; /* it has been plugged in, and nobody told */
    u32 guest_open;
    u32 to_say;       /* a bit for each event that the guest is to hear of */
    u8 held[HELD];    /* bytes that the guest has not taken yet */
    u32 held_bytes;
};

static struct virtio_serial *of(struct virtio *v)
{
    return container_of(v, struct virtio_serial, virtio);
}

static bool is_console(const struct serial_port *p)
{
    return p->dev.class == &dev_virtconsole;
}

static bool multiport(const struct virtio_serial *s)
{
    return s->virtio.features & F_MULTIPORT;
}

static unsigned receive_queue(const struct serial_port *p)
{
    return p->number ? 2 * p->number + 2 : 0;
}

static struct serial_port *port_of_queue(struct virtio_serial *s, unsigned queue)
{
    unsigned i = queue < CONTROL_RX ? 0 : queue / 2 - 1;
    return i < s->max_ports ? s->port[i] : NULL;
}

static u64 serial_features(struct virtio *v)
{
    return F_EMERG_WRITE | (of(v)->max_ports > 1 ? F_MULTIPORT : 0);
}

static unsigned serial_config(struct virtio *v, u8 *to)
{
    const struct {
        u16 columns, rows;
        u32 ports, emergency;
    } c = {.ports = of(v)->max_ports};
    memcpy(to, &c, sizeof(c));
    return sizeof(c);
}

/* A byte that a guest in distress writes goes to the first console. */
static void serial_config_write(struct virtio *v, unsigned offset, unsigned size, u32 value)
{
    const struct serial_port *p = of(v)->port[0];
    u8 c = (u8)value;
    if (offset == EMERGENCY_AT && p && p->chardev)
        char_write(p->chardev, &c, 1);
}

/* After a reset ports are closed, and nothing is left to say. */
static void notice_reset(struct virtio_serial *s)
{
    u64 epoch = virtio_epoch(&s->virtio);
    if (epoch == s->epoch)
        return;
    s->epoch = epoch;
    s->driven = false;
    s->removed = 0;
    for (unsigned i = 0; i < s->max_ports; i++) {
        if (s->port[i])
            s->port[i]->guest_open = s->port[i]->to_say = s->port[i]->held_bytes = 0;
    }
}

/* ---- to the guest ---- */

static void give(struct serial_port *p)
{
    struct virtio_chain *c;
    while (p->held_bytes && (c = virtio_take(&p->bus->virtio, receive_queue(p)))) {
        u32 n = (u32)MIN(c->in_len, (u64)p->held_bytes);
        virtio_chain_write(c, 0, p->held, n);
        virtio_put(c, n);
        p->held_bytes -= n;
        memmove(p->held, p->held + n, p->held_bytes);
    }
}

/* Old drivers have one port, which is always open. */
static bool is_open(const struct serial_port *p)
{
    return multiport(p->bus) ? p->guest_open : !p->number && p->bus->virtio.status & VIRTIO_DRIVER_OK;
}

static size_t port_room(void *opaque)
{
    struct serial_port *p = opaque;
    if (!p->bus)
        return 0;
    notice_reset(p->bus);
    return is_open(p) ? HELD - p->held_bytes : 0;
}

static void port_receive(void *opaque, const u8 *data, size_t len)
{
    struct serial_port *p = opaque;
    memcpy(p->held + p->held_bytes, data, len);
    p->held_bytes += (u32)len;
    give(p);
}

static u64 put_message(struct virtio_chain *c, const struct serial_port *p, unsigned event)
{
    struct control m = {p->number, (u16)event, event == PORT_OPEN ? p->host_open : 1};
    u64 name = event == PORT_NAME ? MIN(strlen(p->name), (size_t)NAME_MAX_BYTES) + 1 : 0;
    virtio_chain_write(c, 0, &m, sizeof(m));
    if (name)
        virtio_chain_write(c, sizeof(m), p->name, name);
    return sizeof(m) + name;
}

/* What ports have to say, as far as there is room for it; those that are gone first. */
static void say(struct virtio_serial *s)
{
    for (struct virtio_chain *c; s->removed && (c = virtio_take(&s->virtio, CONTROL_RX)); s->removed &= s->removed - 1) {
        struct control m = {(u32)__builtin_ctzll(s->removed), PORT_REMOVE, 1};
        virtio_chain_write(c, 0, &m, sizeof(m));
        virtio_put(c, sizeof(m));
    }
    for (unsigned i = 0; i < s->max_ports; i++) {
        struct serial_port *p = s->port[i];
        struct virtio_chain *c;
        while (p && p->to_say && (c = virtio_take(&s->virtio, CONTROL_RX))) {
            unsigned event = (unsigned)__builtin_ctz(p->to_say);
            p->to_say &= p->to_say - 1;
            virtio_put(c, put_message(c, p, event));
        }
    }
}

/* ---- from the guest ---- */

static void heed(struct virtio_serial *s, const struct control *m)
{
    struct serial_port *p = m->port < s->max_ports ? s->port[m->port] : NULL;
    if (m->event == DEVICE_READY) {
        s->driven = m->value;
        for (unsigned i = 0; m->value && i < s->max_ports; i++) {
            if (s->port[i])
                s->port[i]->to_say |= 1 << PORT_ADD;
        }
    } else if (m->event == PORT_READY && m->value && p) {
        p->to_say |= (is_console(p) ? 1 << CONSOLE_PORT : 0) | (p->name ? 1 << PORT_NAME : 0) |
                     (p->host_open ? 1 << PORT_OPEN : 0);
    } else if (m->event == PORT_OPEN && p) {
        p->guest_open = m->value != 0;
        if (p->guest_open && p->chardev)
            char_accept(p->chardev);
    }
}

static void take_control(struct virtio_serial *s)
{
    struct control m;
    for (struct virtio_chain *c; (c = virtio_take(&s->virtio, CONTROL_TX)); virtio_put(c, 0)) {
        if (virtio_chain_read(c, 0, &m, sizeof(m)))
            heed(s, &m);
    }
    say(s);
}

static void transmit(struct virtio_serial *s, struct serial_port *p, unsigned queue)
{
    struct virtio_chain *c;
    while (!(p && p->chardev && char_busy(p->chardev)) && (c = virtio_take(&s->virtio, queue))) {
        for (unsigned i = 0; p && p->chardev && i < c->outs; i++)
            char_write(p->chardev, c->out[i].iov_base, c->out[i].iov_len);
        virtio_put(c, 0);
    }
}

static void port_drained(void *opaque)
{
    struct serial_port *p = opaque;
    if (p->bus)
        transmit(p->bus, p, receive_queue(p) + 1);
}

static void serial_kick(struct virtio *v, unsigned queue)
{
    struct virtio_serial *s = of(v);
    struct serial_port *p = port_of_queue(s, queue);
    notice_reset(s);
    if (queue == CONTROL_RX)
        say(s);
    else if (queue == CONTROL_TX)
        take_control(s);
    else if (queue & 1)
        transmit(s, p, queue);
    else if (p) {
        give(p);
        if (p->chardev)
            char_accept(p->chardev);
    }
}

static const struct virtio_kind serial_kind = {
    .id = 3, .features = serial_features, .config = serial_config, .config_write = serial_config_write,
    .kick = serial_kick,
};

/* ---- the device ---- */

static bool serial_start(struct dev *d, struct err *e)
{
    struct virtio_serial *s = (struct virtio_serial *)d;
    if (!s->max_ports)
        return err_set(e, EINVAL, "max_ports must be from 1 to %d", PORTS);
    s->virtio.kind = &serial_kind;
    s->virtio.queues = s->max_ports > 1 ? 2 * (s->max_ports + 1) : 2;
    s->virtio.queue_size = QUEUE_SIZE;
    return true;
}

/* Port 0 is a console's, as drivers without ports use it. */
static bool serial_plug(struct dev *d, struct dev *what, struct err *e)
{
    struct virtio_serial *s = (struct virtio_serial *)d;
    struct serial_port *p = (struct serial_port *)what;
    u32 n = p->number;
    if (n == NUMBER_AUTO) {
        for (n = is_console(p) ? 0 : 1; n < s->max_ports && s->port[n]; n++)
            ;
    }
    if (n >= s->max_ports)
        return err_set(e, ENOSPC, "virtio-serial-bus: Out-of-range port id specified, max. allowed: %u", s->max_ports - 1);
    if (s->port[n])
        return err_set(e, EBUSY, "virtio-serial-bus: A port already exists at id %u", n);
    if (!n && !is_console(p))
        return err_set(e, EINVAL, "Port number 0 on virtio-serial devices reserved for virtconsole devices for backward "
                       "compatibility.");
    p->number = n;
    p->bus = s;
    p->fresh = true;
    s->port[n] = p;
    return true;
}

/* ---- ports come and go ---- */

static void serial_arrive(struct dev *d)
{
    struct virtio_serial *s = (struct virtio_serial *)d;
    notice_reset(s);
    for (unsigned i = 0; i < s->max_ports; i++) {
        if (s->port[i] && s->port[i]->fresh && s->driven)
            s->port[i]->to_say |= 1 << PORT_ADD;
        if (s->port[i])
            s->port[i]->fresh = false;
    }
    say(s);
}

/* A port is gone when that is asked for: its driver hears of it, and has no say. */
static bool serial_leave(struct dev *d, struct dev *what, struct err *e)
{
    d->env->gone(d->env->opaque, what);
    return true;
}

static void serial_unplug(struct dev *d, struct dev *what)
{
    struct virtio_serial *s = (struct virtio_serial *)d;
    u32 n = ((struct serial_port *)what)->number;
    notice_reset(s);
    s->port[n] = NULL;
    s->removed |= s->driven ? 1ull << n : 0;
    say(s);
}

static void *serial_bus_side(struct dev *d)
{
    return &((struct virtio_serial *)d)->virtio;
}

static const struct dev_prop serial_props[] = {
    VIRTIO_PROPS(struct virtio_serial, virtio),
    DEV_PROP(struct virtio_serial, "max_ports", DEV_PROP_U32, max_ports, PORTS, PORTS, "ports that there can be"), {0}};

static const struct state_field serial_state[] = {
    VIRTIO_STATE(struct virtio_serial, virtio), STATE(struct virtio_serial, epoch),
    STATE_MAX(struct virtio_serial, driven, 1), STATE_MAX(struct virtio_serial, removed, (1ull << PORTS) - 1), {0}};

const struct dev_class dev_virtio_serial = {
    .name = "virtio-serial-device", .help = "virtio serial ports", .size = sizeof(struct virtio_serial),
    .props = serial_props, .state = serial_state, .start = serial_start, .category = "Input", .bus = "virtio-bus",
    .bus_side = serial_bus_side, .slot_for = PORT_BUS, .plug = serial_plug,
    .arrive = serial_arrive, .leave = serial_leave, .unplug = serial_unplug,
};

/* ---- ports ---- */

static void port_event(void *opaque, enum char_event event)
{
    struct serial_port *p = opaque;
    if (is_console(p) || event == CHAR_BREAK)
        return;
    p->host_open = event == CHAR_OPENED;
    if (p->bus && multiport(p->bus)) {
        notice_reset(p->bus);
        p->to_say |= 1 << PORT_OPEN;
        say(p->bus);
    }
}

static bool port_start(struct dev *d, struct err *e)
{
    struct serial_port *p = (struct serial_port *)d;
    p->host_open = is_console(p);
    p->user = (struct char_user){.room = port_room, .receive = port_receive, .drained = port_drained, .event = port_event,
                                 .opaque = p};
    bool attached = p->chardev && char_attach(p->chardev, &p->user);
    p->host_open |= attached && char_is_used(p->chardev);
    return !p->chardev || attached ||
           err_set(e, EBUSY, "character device '%s' is in use", char_id(p->chardev));
}

static void port_stop(struct dev *d)
{
    struct serial_port *p = (struct serial_port *)d;
    if (p->chardev)
        char_detach(p->chardev, &p->user);
    free(p->name);
}

static const struct dev_prop port_props[] = {
    DEV_PROP(struct serial_port, "chardev", DEV_PROP_CHAR, chardev, .help = "where its bytes come from and go to"),
    DEV_PROP(struct serial_port, "name", DEV_PROP_STRING, name, .help = "by which programs in the guest find it"),
    DEV_PROP(struct serial_port, "nr", DEV_PROP_U32, number, NUMBER_AUTO, NUMBER_AUTO, "its number"), {0}};

static const struct state_field port_state[] = {
    STATE_MAX(struct serial_port, guest_open, 1), STATE_MAX(struct serial_port, to_say, (2 << PORT_NAME) - 1),
    STATE_ARRAY(struct serial_port, held, u8), STATE_MAX(struct serial_port, held_bytes, HELD), {0}};

#define PORT(symbol, title, text)                                                                   \
    const struct dev_class symbol = {                                                               \
        .name = title, .help = text, .size = sizeof(struct serial_port), .owner = DEV_OWNER_SELF, .props = port_props, \
        .state = port_state, .start = port_start, .stop = port_stop, .category = "Input", .bus = PORT_BUS}

PORT(dev_virtconsole, "virtconsole", "console on virtio serial ports");
PORT(dev_virtserialport, "virtserialport", "channel on virtio serial ports");
