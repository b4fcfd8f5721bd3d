/* PCI (PCI Local Bus specification 3.0): cards with their configuration space, and the bus that they are plugged into.
 *
 * A card is a device whose struct holds a struct pci_card. When it starts it says what it is:
 *
 *      pci_card_init(&n->card, d, &(struct pci_identity){.vendor = 0x8086, .device = 0x100e, .class = PCI_CLASS_ETHERNET});
 *      pci_set_bar(&n->card, 0, PCI_BAR_MEMORY, dev_window(d, 0));
 *      pci_add_msix(&n->card, 4, 1);
 *
 * and then raises pci_set_interrupt() or sends pci_msix_send(). Its class has .bus = PCI_BUS, .bus_side, which gives the
 * struct pci_card, and PCI_CARD_STATE and PCI_CARD_PROPS among its fields and properties.
 *
 * Configuration space, MSI-X and INTx of a card are under the card's lock; what cards share is under the host bridge's. */
#ifndef LYRE_DEV_PCI_PCI_H
#define LYRE_DEV_PCI_PCI_H

#include "dev/dev.h"

#define PCI_BUS "PCI"

enum { PCI_CONFIG_SIZE = 256, PCI_BARS = 6, PCI_SLOTS = 32, PCI_VECTORS = 64, PCI_FUNCTIONS = 256, PCI_NO_VECTOR = 0xffff };

/* Registers of a header of type 0 (6.1), and their bits. */
enum {
    PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08, PCI_CLASS = 0x0a,
    PCI_CACHE_LINE = 0x0c, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10, PCI_SUBVENDOR = 0x2c, PCI_SUBDEVICE = 0x2e,
    PCI_CAPABILITIES = 0x34, PCI_LINE = 0x3c, PCI_PIN = 0x3d, PCI_HEADER_END = 0x40,
    PCI_COMMAND_IO = 1 << 0, PCI_COMMAND_MEMORY = 1 << 1, PCI_COMMAND_MASTER = 1 << 2, PCI_COMMAND_SERR = 1 << 8,
    PCI_COMMAND_NO_INTX = 1 << 10, PCI_STATUS_INTX = 1 << 3, PCI_STATUS_CAPABILITIES = 1 << 4, PCI_MULTIFUNCTION = 1 << 7,
};

/* Class and subclass. */
enum { PCI_CLASS_SCSI = 0x0100, PCI_CLASS_ETHERNET = 0x0200, PCI_CLASS_HOST = 0x0600, PCI_CLASS_COMMUNICATION = 0x0780,
       PCI_CLASS_BRIDGE = 0x0604, PCI_CLASS_OTHER = 0x00ff };

enum { PCI_CAP_POWER = 0x01, PCI_CAP_VENDOR = 0x09, PCI_CAP_SUBSYSTEM = 0x0d, PCI_CAP_EXPRESS = 0x10, PCI_CAP_MSIX = 0x11 };

/* Of a bridge's header (PCI-to-PCI Bridge Architecture specification, 3.2). */
enum { PCI_HEADER_BRIDGE = 1, PCI_PRIMARY = 0x18, PCI_SECONDARY = 0x19, PCI_SUBORDINATE = 0x1a, PCI_IO_BASE = 0x1c,
       PCI_MEMORY_BASE = 0x20, PCI_PREFETCH_BASE = 0x24, PCI_PREFETCH_BASE_HIGH = 0x28, PCI_PREFETCH_LIMIT_HIGH = 0x2c,
       PCI_BRIDGE_CONTROL = 0x3e };

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEMORY, PCI_BAR_MEMORY64 /* prefetchable, and two BARs */ };

struct pci_bar {
    enum pci_bar_kind kind;
    struct mem_range *range; /* the card's */
    u64 at;                  /* where it is now, if it is anywhere */
    bool mapped;
};

struct pci_identity {
    u16 vendor, device, class, subvendor, subdevice;
    u8 revision;
};

struct pci_card;

/* What cards are plugged into: the host bridge's, or that behind a port. */
struct pci_bus {
    struct pci_card *bridge; /* the card that leads to it; NULL: it is the host bridge's */
    _Atomic bool cut;        /* nothing that is on it answers */
    bool express;            /* a link of PCI Express, which has one device */
    struct pci_card *card[PCI_FUNCTIONS];
};

struct pci_card {
    struct dev *dev;
    struct dev *host;     /* NULL: not plugged in */
    struct pci_bus *bus;  /* ... into this one */
    struct pci_bus *below; /* it is a bridge, to there; NULL: it is none */
    unsigned devfn;       /* slot * 8 + function */
    char *addr;           /* properties: "SLOT[.FUNCTION]", hexadecimal; NULL: the next that is free */
    bool multifunction;
    char *rom;            /* cards have none: it can only be empty */

    u8 config[PCI_CONFIG_SIZE];
    u8 writable[PCI_CONFIG_SIZE]; /* bits that the guest can change ... */
    u8 clears[PCI_CONFIG_SIZE];   /* ... and that it clears by writing ones */
    void (*seated)(struct pci_card *c); /* it has just been plugged in: what depends on the bus; NULL: nothing does */
    /* Before a read and after a write by the guest, for registers that do something; NULL: none does. */
    void (*access)(struct pci_card *c, unsigned at, unsigned size, bool write);
    unsigned cap_end;             /* where the next capability goes */
    struct pci_bar bar[PCI_BARS];
    bool intx;                    /* what the card says of its interrupt ... */
    bool intx_seen;               /* ... and what the bus has heard */

    u32 vectors;                  /* of MSI-X; 0: it has none */
    unsigned msix_cap;
    u32 msix_table[PCI_VECTORS][4];
    u32 msix_pending[PCI_VECTORS / 32];
    struct mem_io msix_io;
    struct mem_range *msix_range;
};

/* ---- for cards ---- */

void pci_card_init(struct pci_card *c, struct dev *d, const struct pci_identity *id);
void pci_card_free(struct pci_card *c);
/* What follows from what its configuration says and from the bridges above it has changed. Under its lock. */
void pci_card_configured(struct pci_card *c);
/* From the card's reset and loaded functions. */
void pci_card_reset(struct pci_card *c);

/* Addresses that the guest chooses for a range of the card, whose size is a power of two. */
void pci_set_bar(struct pci_card *c, unsigned i, enum pci_bar_kind kind, struct mem_range *range);
/* A capability of `len` bytes, which are zero but for its head: where it is. `at` 0: behind the others. */
unsigned pci_add_capability(struct pci_card *c, u8 id, unsigned at, unsigned len);
/* MSI-X (6.8.2) with its table in a BAR of its own; `at` 0: the capability is where there is room. */
void pci_add_msix(struct pci_card *c, u32 vectors, unsigned bar, unsigned at);
/* Being one of PCI Express (PCI Express Base specification, 7.8), version 2: `type` is its kind of device or port. */
enum { PCI_EXPRESS_ENDPOINT = 0, PCI_EXPRESS_ROOT_PORT = 4 };
unsigned pci_add_express(struct pci_card *c, unsigned type, unsigned at);

/* The rest under the card's lock. */
u32 pci_config_get(const struct pci_card *c, unsigned at, unsigned size);
void pci_config_set(struct pci_card *c, unsigned at, unsigned size, u32 value);
void pci_set_writable(struct pci_card *c, unsigned at, unsigned size, u32 mask);
bool pci_msix_on(const struct pci_card *c);
/* A message of a vector, or a note that it is pending. */
void pci_msix_send(struct pci_card *c, unsigned vector);
/* INTA#, a level. */
void pci_set_interrupt(struct pci_card *c, bool level);

#define PCI_CARD_PROPS(type, member)                                                                \
    DEV_PROP(type, "addr", DEV_PROP_STRING, member.addr, .help = "slot and function: 3.0"),         \
        DEV_PROP(type, "romfile", DEV_PROP_STRING, member.rom, .help = "can only be empty"),        \
        DEV_PROP(type, "multifunction", DEV_PROP_BOOL, member.multifunction, .help = "other functions of its slot may be used")

#define PCI_CARD_STATE(type, member)                                                                \
    STATE_ARRAY(type, member.config, u8), STATE_ARRAY(type, member.msix_table, u32),                \
        STATE_ARRAY(type, member.msix_pending, u32), STATE_MAX(type, member.intx, 1)

/* ---- between a card and its host bridge ---- */

/* What the guest reads and writes, under the card's lock. */
u32 pci_config_read(struct pci_card *c, unsigned at, unsigned size);
void pci_config_write(struct pci_card *c, unsigned at, unsigned size, u32 value);

/* Plug a card into a bus of a host bridge; false: its place is taken, or there is no such place. And take it out. */
bool pci_bus_plug(struct pci_bus *b, struct dev *host, struct pci_card *c, struct err *e);
void pci_bus_unplug(struct pci_card *c);
/* The number that the guest has given a bus; the bus of a number, this one or one behind bridges on it, NULL: there is none. The
 * locks of bridges are taken, that of a card on the bus may be held. */
unsigned pci_bus_number(const struct pci_bus *b);
struct pci_bus *pci_bus_find(struct pci_bus *b, unsigned number);
/* Whether what leads to a bus lets accesses to such addresses through. */
bool pci_bus_forwards(const struct pci_bus *b, enum pci_bar_kind kind, u64 at, u64 size);

/* The cards of a bus as QMP shows them, a list of PciDeviceInfo; the caller frees it. */
struct json *pci_bus_show(const struct pci_bus *b);

/* The host's: a level of a card's interrupt has changed, a message, a BAR that comes or goes. */
void pci_host_interrupt(struct dev *host, struct pci_card *c, bool level);
void pci_host_message(struct dev *host, const struct pci_card *c, u64 addr, u32 data);
void pci_host_map(struct dev *host, struct pci_bar *b, bool on, u64 at);

/* ---- for boards ---- */

/* Where a board has its bus: the configuration space of so many buses, I/O ports, memory below 4 GiB and, if it has a size, above. */
struct pci_map {
    u64 ecam, buses, ports, mmio, mmio_size, high, high_size;
};

/* Have CPUs see the bus there. */
void pci_host_show(struct dev *host, struct mem_range *root, const struct pci_map *m);
/* The bus in the device tree; how its interrupts and messages go is the board's to add. */
struct fw_node *pci_host_describe(struct fw_node *parent, const struct pci_map *m);
/* Messages to [at, at + size) go to `to`. */
void pci_host_messages(struct dev *host, struct dev *to, u64 at, u64 size);

#endif
