/* Machines as tables: parts, where they are, how they are wired. What is odd about a board is a hook. */
#ifndef LYRE_BOARD_BOARD_H
#define LYRE_BOARD_BOARD_H

#include "cpu/port.h"
#include "dev/dev.h"
#include "fw/boot.h"

struct chardev;
struct node;

enum { BOARD_WINDOWS = 4, BOARD_NO_SERIAL = 0, BOARD_FLASHES = 2 };

/* A device, or `count` of them in a row (0: one); their names then are "NAME0", "NAME1" ... */
struct board_part {
    const char *name, *class;
    u64 at[BOARD_WINDOWS];    /* of its windows; the last is followed by 0 */
    bool placed_by_map;       /* the hook `map` puts its windows somewhere */
    unsigned serial;          /* its line is the so manieth that the user gave; BOARD_NO_SERIAL: none */
    bool wired;               /* its output 0 is an interrupt: */
    u32 irq[3];               /* cells that say so in the device tree ... */
    unsigned input;           /* ... and the input of the interrupt controller */
    const char *inside;       /* its node is within this one of the root's */
    unsigned count;
    u64 step;                 /* from one to the next; interrupts follow each other */
    const char *props;        /* "name=value,..." */
    u32 variants;             /* in which of the board's variants it is there: bits that are all set; 0: in each */
};

/* An output of a part, and those behind it, to inputs of another. Without `from` in this variant there is none. */
struct board_wire {
    const char *from;
    unsigned out;
    const char *to;
    unsigned in, count;
};

/* A machine being built. */
struct board_setup {
    const struct board *board;
    unsigned cpus;
    u64 ram;                  /* bytes */
    const char *cpu_model;    /* as the user says it: "cortex-a57,pauth=off" */
    struct cpu_port **cpu;    /* NULL: there are none (tests) */
    struct node *flash[BOARD_FLASHES]; /* images of banks of flash that hold no firmware; NULL: blank */
    struct dev *devs;
    struct fw_node *tree;
    u64 random[5];            /* fresh bits for the guest */
    u32 variants;             /* bits whose meaning is the board's; options change them */
};

/* What a user may set with -M BOARD,NAME=VALUE. */
struct board_option {
    const char *name, *help;
    bool (*set)(struct board_setup *s, const char *value, struct err *e);
};

struct board {
    const char *name;   /* "virt"; the full name has the guest before it */
    const char *version; /* a name of its own for clients that keep to one: "virt-7.2"; NULL: none */
    u32 variants;       /* if options say nothing */
    const char *isa, *help, *default_cpu;
    const char *cpu_type; /* what a CPU's type is called behind its model: "cortex-a57-arm-cpu" */
    const char *ram_id;   /* the memory's */
    unsigned max_cpus;
    u64 ram_at, default_ram, max_ram;
    enum cpu_conduit conduit;
    const char *controller; /* the part that interrupts go to */
    u64 firmware_at, firmware_size; /* where firmware is, in what else would be flash; 0: there can be none */
    const char *fw_cfg;     /* the part that firmware asks for data; NULL: none */
    const char *power_key;  /* the part whose input 0 asks the guest to power off; NULL: none */
    const char *console;    /* the node that firmware and kernels print to */
    const struct board_part *parts; /* ended by a NULL name */
    const struct board_wire *wires;
    const struct board_option *options;

    /* Hooks; may be NULL. */
    bool (*part)(const struct board_setup *s, struct dev *d, struct err *e);  /* a part was made: more properties */
    void (*map)(const struct board_setup *s, struct mem_range *root); /* what is in memory beside the parts' windows */
    void (*connect)(const struct board_setup *s); /* all parts are there: CPUs and the interrupt controller */
    void (*describe)(const struct board_setup *s); /* what is in the tree before the parts are */
    bool (*boot)(struct fw_boot *b, struct mem_space *memory, struct err *e);
};

/* The board called "aarch64/virt", or "virt" where `isa` is given; NULL lists those that there are in the message. */
const struct board *board_find(const char *name, const char *isa, struct err *e);
const struct board *board_at(unsigned i);

/* Its name or that of its version. */
bool board_is_called(const struct board *b, const char *name);

struct dev *board_dev(const struct board_setup *s, const char *name);

/* For who builds the machine, in this order: all parts, made and put into `root`; their wires; the tree. */
bool board_make(struct board_setup *s, const struct dev_env *env, struct mem_range *root,
                struct chardev *const *serial, unsigned serials, struct err *e);
void board_wire(const struct board_setup *s);
void board_describe(const struct board_setup *s);

#endif
