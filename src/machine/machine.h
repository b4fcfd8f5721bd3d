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
    u32 flags;                /* enum open_flags */
};

/* A device that the user adds: its class, then "name=value" ... */
struct machine_device {
    char **words;
    size_t count;
};

struct machine_opts {
    const struct board *board;
    char **board_options;      /* "name=value" ... */
    size_t board_option_count;
    const char *cpu;           /* NULL: the board's default */
    unsigned cpus;
    u64 ram;                   /* bytes */
    const char *kernel, *initrd, *append, *dtb; /* NULL: none */
    struct char_opts *chardevs; /* with ids */
    size_t chardev_count;
    const char *serial[MACHINE_SERIALS]; /* ids of chardevs; NULL: nothing is connected */
    struct machine_drive *drives;
    size_t drive_count;
    struct net_opts *netdevs;  /* with ids */
    size_t netdev_count;
    struct machine_device *devices;
    size_t device_count;
    const char **globals;      /* "class.property=value": of all devices of a class */
    size_t global_count;
    struct engine_opts engine; /* memory is filled in */
    bool without_cpus;         /* none runs: for tests, or to look at the machine */
    const char *qtest;         /* id of a chardev: the tests' protocol is spoken there, and steps the clock */
    bool no_reboot;            /* a reset is the end */
    bool stopped;              /* it waits for machine_cont() before it begins */
    s64 epoch;                 /* what the RTC shows first: seconds since 1970 */
};

/* NULL on failure. `o` and what it refers to stay the caller's, and stay. */
struct machine *machine_new(const struct machine_opts *o, struct err *e);
/* False: an image could not be closed without a loss. NULL is allowed. */
bool machine_free(struct machine *m, struct err *e);

/* What may be asked of a running machine, from any thread. */
enum machine_request {
    MACHINE_OFF = 1 << 0,       /* the guest has switched itself off */
    MACHINE_RESET = 1 << 1,
    MACHINE_POWER_KEY = 1 << 2, /* ask the guest to switch itself off */
    MACHINE_QUIT = 1 << 3,
};
void machine_request(struct machine *m, enum machine_request r);

/* Run until the end. False: it failed to start again after a reset. */
bool machine_run(struct machine *m, struct err *e);

/* Who wants to know what happens: "STOP", "RESUME", "RESET", "POWERDOWN", "SHUTDOWN", as QMP names it. On the loop's
 * thread. */
struct machine_listener {
    void (*event)(struct machine_listener *l, const char *name);
    struct machine_listener *next;
};
void machine_listen(struct machine *m, struct machine_listener *l);

/* On the loop's thread: vCPUs and clock stand still, and go on. */
void machine_stop(struct machine *m);
void machine_cont(struct machine *m);
bool machine_is_running(const struct machine *m);

const struct machine_opts *machine_options(const struct machine *m);
struct chardev *machine_chardev(struct machine *m, const char *id, struct err *e);
struct loop *machine_loop(struct machine *m);
struct dev *machine_dev(struct machine *m, const char *name);
struct mem_space *machine_memory(struct machine *m);

/* The device tree as the guest finds it, flattened; the caller frees it. */
u8 *machine_fdt(struct machine *m, size_t *len, struct err *e);

#endif
