/* A whole machine: a board with memory, devices, CPUs and what the user has connected to it. Several may live in
 * one host process. One thread makes a machine, runs its loop, and frees it. */
#ifndef LYRE_MACHINE_MACHINE_H
#define LYRE_MACHINE_MACHINE_H

#include "accel/engine.h"
#include "back/char.h"
#include "back/net.h"
#include "block/block.h"
#include "board/board.h"

struct machine;

enum { MACHINE_SERIALS = 4 };

/* An image that devices refer to. */
struct machine_drive {
    char *id, *file, *format; /* file: NULL if the options name one; format: NULL: found out */
    struct json *options;     /* as node_open() takes them; NULL: none */
    struct json *more;        /* members of these beside `file` and `format`; NULL: none */
    u32 flags;                /* enum open_flags */
};

/* A device that the user adds: its class, then "name=value" ... */
struct machine_device {
    char **words;
    size_t count;
};

/* What is put into memory when the machine starts, behind its kernel. */
struct machine_loader {
    char *file;         /* an ELF file, or anything for `addr`; NULL: a number, or nothing */
    u64 addr, data;
    unsigned data_len;  /* bytes of `data`; 0: none */
    bool has_addr, big_endian, raw, sets_pc; /* raw: an ELF file, too, goes to `addr`; sets_pc: the first CPU starts there */
};

/* A kind of object that -object makes, and its properties. */
struct machine_object_prop {
    const char *name, *type; /* NULL ends a list */
    const char *only;        /* the one value that it can have; NULL: any */
};
struct machine_object_kind {
    const char *name, *parent;
    const struct machine_object_prop *props;
    bool (*add)(struct machine *m, const struct json *o, struct err *e); /* the machine's */
};
const struct machine_object_kind *machine_object_kind(unsigned i); /* NULL behind the last */

struct machine_opts {
    const struct board *board;
    const char *name, *uuid;   /* for monitors; NULL: none */
    char **board_options;      /* "name=value" ... */
    size_t board_option_count;
    const char *cpu;           /* NULL: the board's default */
    unsigned cpus;
    u64 ram;                   /* bytes */
    struct json **fw_files;    /* of fw_cfg: "name", and "string" or the "file" that has the contents */
    size_t fw_file_count;
    const char *bios;          /* a file of firmware; NULL: none */
    const char *flash[BOARD_FLASHES]; /* ids of drives; the first holds firmware. NULL: none */
    struct machine_loader *loaders;
    size_t loader_count;
    const char *kernel, *initrd, *append, *dtb; /* NULL: none */
    struct char_opts *chardevs; /* with ids */
    size_t chardev_count;
    const char *serial[MACHINE_SERIALS]; /* ids of chardevs; NULL: nothing is connected */
    struct machine_drive *drives;
    size_t drive_count;
    struct net_opts *netdevs;  /* with ids */
    size_t netdev_count;
    struct json **objects;     /* -object, with "qom-type" and "id": what other options refer to */
    size_t object_count;
    bool prealloc;             /* all of the memory is the host's from the start */
    const char *ram_object;    /* the id of a memory-backend that is the memory; NULL: none */
    struct machine_device *devices;
    size_t device_count;
    const char **globals;      /* "class.property=value": of all devices of a class */
    size_t global_count;
    struct engine_opts engine; /* memory is filled in */
    bool without_cpus;         /* none runs: for tests, or to look at the machine */
    const char *qtest;         /* id of a chardev: the tests' protocol is spoken there, and, if no CPU runs, steps the clock */
    const char *qtest_log;     /* a file that gets what is spoken; NULL: none */
    bool no_reboot;            /* a reset is the end */
    bool no_shutdown;          /* when the guest has switched itself off it stands still, and is there to be looked at */
    bool stopped;              /* it waits for machine_cont() before it begins */
    enum vclock_kind rtc_clock; /* what the RTC follows */
    bool rtc_dated;            /* it shows rtc_epoch first, in seconds since 1970; else the host's time ... */
    s64 rtc_epoch, rtc_zone;   /* ... so many seconds ahead of UTC */
};

/* NULL on failure. `o` and what it refers to stay the caller's, and stay. */
struct machine *machine_new(const struct machine_opts *o, struct err *e);
/* False: an image could not be closed without a loss. NULL is allowed. */
bool machine_free(struct machine *m, struct err *e);

/* What may be asked of a running machine, from any thread. */
enum machine_request {
    MACHINE_OFF = 1 << 0,       /* the guest has switched itself off */
    MACHINE_GUEST_RESET = 1 << 1, /* it starts itself again */
    MACHINE_RESET = 1 << 2,     /* the reset button */
    MACHINE_POWER_KEY = 1 << 3, /* ask the guest to switch itself off */
    MACHINE_QUIT = 1 << 4,      /* a monitor ends it */
    MACHINE_KILLED = 1 << 5,    /* a signal does */
    MACHINE_UNPLUG = 1 << 6,    /* the guest has given a device up */
};
void machine_request(struct machine *m, enum machine_request r);

/* Run until the end. False: it failed to start again after a reset. */
bool machine_run(struct machine *m, struct err *e);

/* Who wants to know what happens: events and their data (NULL: none) as QMP has them. On the loop's thread. */
struct machine_listener {
    void (*event)(struct machine_listener *l, const char *name, const struct json *data);
    struct machine_listener *next;
};
void machine_listen(struct machine *m, struct machine_listener *l);
/* Work for machine_run() between two turns of its loop, outside of the loop's callbacks. On the loop's thread. */
struct machine_work {
    void (*run)(struct machine_work *w);
    struct machine_work *next;
};
void machine_do(struct machine *m, struct machine_work *w);

/* Something has happened; takes `data` over. */
void machine_tell(struct machine *m, const char *event, struct json *data);

/* On the loop's thread: vCPUs and clock stand still, and go on. */
void machine_stop(struct machine *m);
/* False: it has switched itself off and needs a reset first. */
bool machine_cont(struct machine *m, struct err *e);

enum machine_state { MACHINE_PRELAUNCH, MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_SHUTDOWN };
enum machine_state machine_state(const struct machine *m);

/* For monitors, on the loop's thread: vCPUs stand still in between, and nobody is told. */
void machine_hold(struct machine *m);
void machine_release(struct machine *m);
/* Between these two: a CPU to look at; NULL: none runs in this machine. */
struct vcpu *machine_vcpu(struct machine *m, unsigned index);
/* The host's number of its thread; 0: it has none. */
s64 machine_cpu_thread(struct machine *m, unsigned index);

const struct machine_opts *machine_options(const struct machine *m);
struct chardev *machine_chardev(struct machine *m, const char *id, struct err *e);
/* The character devices that there are, from the options and those that have come since: the i-th, NULL behind the last. */
const struct char_opts *machine_chardev_opts(const struct machine *m, size_t i);
/* One more, or another end for one: they take what `o` holds over if it can be made, else NULL. One less, which nobody may use. */
struct chardev *machine_add_chardev(struct machine *m, const struct char_opts *o, struct err *e);
struct chardev *machine_change_chardev(struct machine *m, const struct char_opts *o, struct err *e);
bool machine_remove_chardev(struct machine *m, const char *id, struct err *e);
struct loop *machine_loop(struct machine *m);
/* The networks that there are, from the options and those that have come since: the i-th, NULL behind the last. */
const struct net_opts *machine_network(struct machine *m, size_t i);
struct netdev *machine_netdev(struct machine *m, size_t i);
/* One more, which takes what `o` holds over if it can be made; one less, which no card may use. */
bool machine_add_network(struct machine *m, const struct net_opts *o, struct err *e);
bool machine_remove_network(struct machine *m, const char *id, struct err *e);
struct dev *machine_dev(struct machine *m, const char *name);
struct dev *machine_devs(struct machine *m); /* the first of all: the board's, and what users added */
/* What users have added, as options or while it runs: the i-th as they said it, NULL behind the last; and the device. */
const struct machine_device *machine_device_words(struct machine *m, size_t i);
struct dev *machine_device(struct machine *m, size_t i);
/* What they said of one of these: the value behind "name="; NULL: nothing. */
const char *machine_device_word(const struct machine_device *d, const char *name);
/* Add a device while the machine runs, and ask the guest to give one up: when it has, DEVICE_DELETED tells so. `words` are
 * copied. */
bool machine_add_device(struct machine *m, const struct machine_device *words, struct err *e);
bool machine_ask_for_device(struct machine *m, struct dev *d, struct err *e);
/* The device that shows this image to the guest; NULL: none. */
struct dev *machine_node_user(struct machine *m, const struct node *n);
/* The device on a card; of what is no card, the device itself. */
struct dev *machine_on_card(struct dev *d);
struct node *machine_drive(struct machine *m, size_t i); /* a root of machine_opts.drives; NULL: one above has it */
/* What was put into memory when it started last: the i-th, NULL behind the last. */
const struct fw_load *machine_loaded(const struct machine *m, size_t i);
struct block_graph *machine_graph(struct machine *m);
struct mem_space *machine_memory(struct machine *m);
struct mem_range *machine_memory_tree(struct machine *m);
/* Counters of the engine, in a form for people. */
void machine_show_engine(struct machine *m, FILE *to);

/* The device tree as the guest finds it, flattened; the caller frees it. */
u8 *machine_fdt(struct machine *m, size_t *len, struct err *e);

#endif
