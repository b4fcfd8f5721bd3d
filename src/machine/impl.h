/* Inside src/machine. */
#ifndef LYRE_MACHINE_IMPL_H
#define LYRE_MACHINE_IMPL_H

#include "accel/cpus.h"
#include "machine/machine.h"

struct qtest;

struct machine {
    const struct machine_opts *opts;
    struct block_graph *graph;
    struct loop *loop; /* the graph's */
    struct node **drives; /* as opts->drives */
    struct machine_network {
        struct net_opts opts;
        bool added;          /* while it runs: the options are ours */
        struct netdev *netdev;
    } **networks;
    size_t network_count, network_cap;
    unsigned unnamed_cards; /* network cards without an address of the user's */
    struct machine_plugged {
        struct machine_device words;
        struct dev *dev;
        bool added;           /* while it runs: the words are ours */
        _Atomic bool gone;    /* the guest has given it up, */
        bool out;             /* and it is out of its slot */
    } **plugged;              /* what users have added */
    size_t plugged_count, plugged_cap;
    struct vclock *clock, *rtc; /* rtc: may be the same */
    struct mem_range *root, *ram, *rom; /* rom: firmware's; NULL: none */
    struct mem_space *memory;
    struct machine_chardev {
        const struct char_opts *opts;
        struct char_opts *own; /* the same, if it has come while the machine runs; else NULL */
        struct chardev *dev;
    } **chardevs;
    size_t chardev_count, chardev_cap;
    struct dev_env env;
    struct board_setup setup;
    struct cpu_port *ports[64];
    struct engine *engine; /* NULL: nothing runs */
    struct cpus *cpus;
    struct qtest *qtest;
    struct fw_load *loads; /* what was put into memory at the last start */
    size_t load_count, load_cap;

    _Atomic u32 requests;
    struct loop_task wake; /* posted when a request was made */
    _Atomic bool woken;
    bool over, stopped;
    enum machine_state state; /* while stopped */
    struct machine_listener *listeners;
    struct machine_work *work;
};

/* Images, and what users add. */
/* What machine_opts.loaders name; *entry becomes where the first CPU is to start, if one of them says. */
bool machine_load_more(struct machine *m, u64 *entry, struct err *e);
/* The firmware's memory, and the images of flash, before the board is made. */
bool machine_make_firmware(struct machine *m, struct err *e);
/* What firmware finds in fw_cfg. */
bool machine_fill_fw_cfg(struct machine *m, struct err *e);
bool machine_make_objects(struct machine *m, struct err *e);
/* The options of the i-th drive with what they name in the place of the names; used[]: which drives that were. */
struct json *machine_blockdev(const struct machine *m, size_t i, bool *used);
bool machine_make_drives(struct machine *m, struct err *e);
bool machine_free_drives(struct machine *m, struct err *e);
/* By its id; NULL: there is none. */
struct node *machine_find_drive(struct machine *m, const char *id, struct err *e);
struct netdev *machine_find_netdev(struct machine *m, const char *id, struct err *e);
bool machine_make_chardevs(struct machine *m, struct err *e);
void machine_start_chardevs(struct machine *m); /* they begin to receive */
void machine_free_chardevs(struct machine *m);
bool machine_make_netdevs(struct machine *m, struct err *e);
void machine_free_netdevs(struct machine *m);
bool machine_make_devices(struct machine *m, struct err *e);
/* Any thread, as dev_env.gone(); and on the loop's thread, between two turns: free what has gone. */
void machine_device_gone(struct machine *m, struct dev *d);
void machine_sweep(struct machine *m);
void machine_free_devices(struct machine *m);
/* Tell firmware which of them to start from first. */
bool machine_add_boot_order(struct machine *m, struct err *e);

/* False: tests, or an empty board. */
bool machine_has_cpus(const struct machine *m);
/* CPUs and their engine; a machine without them does nothing here. */
bool machine_make_cpus(struct machine *m, struct err *e);
void machine_free_cpus(struct machine *m);
void machine_resume_cpus(struct machine *m);
void machine_pause_cpus(struct machine *m);
/* While paused: the first goes to `entry` when they are resumed, the others are off. */
void machine_restart_cpus(struct machine *m, u64 entry, u64 arg);

/* Speak the tests' protocol. */
struct qtest *qtest_new(struct machine *m, struct chardev *c, struct err *e);
void qtest_free(struct qtest *q);

#endif
