/* What every device model is: a class, which is a constant record, and objects of it.
 *
 * A device is one file: a struct whose first member is a struct dev, the functions that its registers
 * call, and the class. Its interrupts are output wires, what others tell it comes through input wires.
 *
 * Locks. With DEV_OWNER_LOCK the functions read, write, line and reset are called under the device's own
 * lock; a timer or a back end that calls into the device takes it with dev_lock(). The order is: device,
 * bus, interrupt controller, vCPU; setting a wire goes down that order only. Memory is not copied
 * (mem_dma_*) and no I/O is waited for under a lock. */
#ifndef LYRE_DEV_DEV_H
#define LYRE_DEV_DEV_H

#include <pthread.h>

#include "base/err.h"
#include "base/wire.h"
#include "event/loop.h"
#include "event/vclock.h"
#include "fw/node.h"
#include "mem/mem.h"
#include "state/state.h"

struct dev;

/* Registers in memory: the functions get aligned accesses of call_min to call_max bytes (0: 4). */
struct dev_window {
    const char *name; /* NULL ends the list */
    u64 size;
    u64 (*read)(struct dev *d, u64 offset, unsigned size);
    void (*write)(struct dev *d, u64 offset, unsigned size, u64 value);
    u8 call_min, call_max;
    u8 max; /* bytes of the largest access that does not fail; 0: 4 */
};

/* What users and boards may set before a device starts. */
enum dev_prop_kind {
    DEV_PROP_BOOL,
    DEV_PROP_U32,
    DEV_PROP_U64,
    DEV_PROP_SWITCH, /* a u32, of enum dev_switch */
    DEV_PROP_STRING, /* the device frees it */
    DEV_PROP_CHAR,   /* struct chardev *: by dev_set_link() alone, as what follows */
    DEV_PROP_BLOCK, /* struct node * of block/block.h */
    DEV_PROP_NET,   /* struct netdev * of back/net.h */
    DEV_PROP_DEV,   /* struct dev *: another part of the board */
    DEV_PROP_OBJECT, /* const struct json *: what users have made by -object, with its "qom-type", "id" and properties */
};

enum dev_switch { DEV_OFF, DEV_ON, DEV_AUTO };

struct dev_prop {
    const char *name; /* NULL ends the list */
    enum dev_prop_kind kind;
    u32 offset;
    u64 initial, max; /* of numbers; max 0: no limit */
    const char *help;
};

#define DEV_PROP(type, id, kind, member, ...) {id, kind, offsetof(type, member), __VA_ARGS__}

/* What a network card is told: its cable is out, or in; that it shall have the network learn where it is. */
enum dev_link_order { DEV_LINK_DOWN, DEV_LINK_UP, DEV_LINK_ANNOUNCE };

enum dev_owner {
    DEV_OWNER_LOCK,
    DEV_OWNER_SELF, /* it sees to its threads itself */
};

/* Where a board has put a device, for its node of the device tree. */
struct dev_place {
    struct fw_node *parent;
    u64 address[4];
    u32 irq[3];        /* its interrupt as the controller describes it ... */
    unsigned irq_cells; /* ... in so many cells; 0: it has none */
    u32 clock;         /* phandle of what clocks it */
};

/* What monitors may look at, and perhaps change, while it is there: qom-get and qom-set. On the loop's thread. */
struct dev_live {
    const char *name; /* NULL ends the list */
    const char *type; /* as QMP calls it */
    struct json *(*get)(struct dev *d); /* the caller frees it */
    bool (*set)(struct dev *d, const struct json *to, struct err *e); /* NULL: it is only looked at */
};

struct dev_class {
    const char *name; /* as users know it: "pl011" */
    const char *help;
    size_t size;
    enum dev_owner owner;
    const struct dev_window *windows;
    unsigned outs, ins; /* the most wires there can be */
    const struct dev_prop *props;
    const struct dev_live *live;
    const struct state_field *state;

    bool (*start)(struct dev *d, struct err *e); /* properties are set, wires are not */
    void (*reset)(struct dev *d);
    void (*line)(struct dev *d, unsigned line, bool level);
    void (*loaded)(struct dev *d); /* a saved state is back */
    void (*stop)(struct dev *d);   /* the end, whether or not it has started; no thread calls it any more */
    void (*node)(struct dev *d, const struct dev_place *p);
    /* A message-signalled interrupt: `data`, written by the device that the bus numbers `source` to an offset in the last
     * window. From any thread, under no lock of this device. */
    void (*message)(struct dev *d, u32 source, u64 offset, u32 data);

    /* For monitors, on the loop's thread: which of their subjects it is one of, what they show of it in QMP's form (the caller
     * frees it), and what they tell it: a balloon the bytes that the guest is to keep, a network card one of enum dev_link_order, a disk
     * its new size. */
    const char *subject; /* "pci", "blockstats", "balloon", "link"; NULL: none */
    struct json *(*show)(struct dev *d);
    void (*order)(struct dev *d, u64 value);

    /* Of devices that users add: which group they are listed in. */
    const char *category;

    /* Firmware can start from it: its part of the path in fw_cfg's "bootorder", as "disk@0,0"; NULL: it cannot. */
    const char *boot_unit;

    /* Buses: a device that users add names the bus that it goes into, and gives what is there to be spoken to; a slot
     * names the bus that it is a place of, and takes one device: false when it has one.
     */
    const char *bus;
    void *(*bus_side)(struct dev *d);
    const char *slot_for;
    const char *slot_name; /* what users call these slots, before their numbers; NULL: by the device's name */
    bool (*plug)(struct dev *slot, struct dev *what, struct err *e);
    /* Slots whose devices come and go while the machine runs; NULL: this one is none. On the loop's thread: a device that has
     * just been plugged in shows itself; the guest is asked to give one up, and env->gone() is called when it has; it is taken
     * out, while vCPUs stand still. */
    void (*arrive)(struct dev *slot);
    bool (*leave)(struct dev *slot, struct dev *what, struct err *e);
    void (*unplug)(struct dev *slot, struct dev *what);
    /* It is a card with a device of this class on it, which is made with it, goes into it as into a slot, and takes the
     * properties that the card itself does not have. */
    const struct dev_class *inner;
};

/* What a device may ask of its machine. */
enum dev_request { DEV_REQUEST_OFF, DEV_REQUEST_RESET };

/* The machine as devices see it. */
struct dev_env {
    struct mem_space *memory;
    struct vclock *clock;
    struct loop *loop;
    unsigned cpus;
    u64 ram; /* bytes */
    void (*request)(void *opaque, enum dev_request r); /* any thread */
    /* The guest has given this device up, which was asked for or not: it will be taken out and freed. Any thread. */
    void (*gone)(void *opaque, struct dev *d);
    /* An event of QMP, for monitors; takes `data` over. On the loop's thread. */
    void (*tell)(void *opaque, const char *event, struct json *data);
    /* What real-time clocks follow, which may be `clock`; from its seconds to what they show first, in seconds since 1970; and what
     * of that is the time zone that they show. */
    struct vclock *rtc;
    s64 rtc_offset, rtc_zone;
    /* "class.property=value": what users want of all devices of a class. */
    const char *const *globals;
    size_t global_count;
    void *opaque;
};

/* Who looks at a device's wires: called for each level that is set, on the thread that sets it. */
struct dev_watch {
    void (*out)(void *opaque, unsigned line, bool level); /* NULL: not these */
    void (*in)(void *opaque, unsigned line, bool level);
    void *opaque;
};

struct dev_view;

struct dev {
    const struct dev_class *class;
    const struct dev_env *env;
    char *name; /* of this object: "uart0" */
    pthread_mutex_t lock;
    struct wire *out;
    struct dev_view *views; /* one for each window */
    const struct dev_watch *watch; /* NULL: nobody */
    struct dev *slot;       /* what it is plugged into; NULL: it is a part of the board, or on a card */
    struct dev *next;       /* in its machine's list */
};

/* ---- for boards and machines ---- */

const struct dev_class *dev_class_find(const char *name, struct err *e);
/* The i-th class, NULL behind the last. */
const struct dev_class *dev_class_at(unsigned i);

struct dev *dev_new(const struct dev_class *c, const char *name, const struct dev_env *env);
void dev_free(struct dev *d);

bool dev_set(struct dev *d, const char *prop, const char *value, struct err *e);
bool dev_set_number(struct dev *d, const char *prop, u64 value, struct err *e);
bool dev_set_link(struct dev *d, const char *prop, enum dev_prop_kind kind, void *to, struct err *e);

/* The value of a property that is none of the links; the caller frees it. NULL: there is no such property. */
struct json *dev_get(struct dev *d, const char *prop);

/* Apply what env->globals has for its class, and start it. */
bool dev_start(struct dev *d, struct err *e);
void dev_reset(struct dev *d);

/* The range of the i-th window, which belongs to whoever puts it into a tree; NULL behind the last. */
struct mem_range *dev_window(struct dev *d, unsigned i);
/* An input as the end of a wire. */
struct wire dev_input(struct dev *d, unsigned line);
void dev_connect(struct dev *d, unsigned out, struct wire to);

struct json *dev_save(struct dev *d);
bool dev_load(struct dev *d, const struct json *from, struct err *e);

/* ---- for devices ---- */

void dev_out(struct dev *d, unsigned out, bool level);

void dev_lock(struct dev *d);
void dev_unlock(struct dev *d);

/* Log what guest software does that the hardware's manual forbids, and what it asks for that is not there. */
void dev_guest_error(const struct dev *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* An Arm PrimeCell's identification registers, which end its 4 KiB: PeriphID0-3 from 0xfe0, then CellID0-3. */
u32 dev_primecell_id(u64 offset, u32 part, u32 revision);

#endif
