"""Cards on the PCI bus of `virt`, and a driver for virtio devices on them (Virtual I/O Device specification 1.1, 4.1)."""

from lib import virtio

ECAM, IO_WINDOW, MEMORY = 0x4010000000, 0x3eff0000, 0x10000000
COMMAND, BAR0, CAPABILITIES, PIN = 0x04, 0x10, 0x34, 0x3d
IO, MEM, MASTER, NO_INTX = 1, 2, 4, 1 << 10


class Card:
    """The card in a slot. Its BARs have places of their own, which do not depend on the others."""

    def __init__(self, machine, slot, function=0):
        self.m, self.slot = machine, slot
        self.base = ECAM + (slot << 15) + (function << 12)

    def read(self, letter, offset):
        return self.m.read(letter, self.base + offset)

    def write(self, letter, offset, value):
        self.m.write(letter, self.base + offset, value)

    def capability(self, kind, which=lambda at: True):
        """Where a capability of this kind is, or None."""
        at = self.read("b", CAPABILITIES)
        while at:
            if self.read("b", at) == kind and which(at):
                return at
            at = self.read("b", at + 1)
        return None

    def place(self, io=0x1000, msix=MEMORY + 0x100000, modern=MEMORY + 0x200000):
        """Give addresses to BARs 0, 1 and 4, as virtio's cards have them, and switch the card on."""
        self.msix, self.modern, self.io = msix, modern, IO_WINDOW + io
        for i, at in ((0, io), (1, msix), (4, modern), (5, 0)):
            self.write("l", BAR0 + 4 * i, at)
        self.write("w", COMMAND, IO | MEM | MASTER)


class Device(virtio.Device):
    """The same driver as for devices in memory, with other registers."""
    MODERN = {"device_sel": (0, "l"), "device": (4, "l"), "driver_sel": (8, "l"), "driver": (12, "l"), "status": (0x14, "b"),
              "queue": (0x16, "w"), "queue_num": (0x18, "w"), "vector": (0x1a, "w"), "ready": (0x1c, "w"), "desc": (0x20, "l"),
              "avail": (0x28, "l"), "used": (0x30, "l"), "isr": (0x1000, "b"), "notify": (0x3000, "w")}
    OLD = {"device": (0, "l"), "driver": (4, "l"), "pfn": (8, "l"), "queue": (14, "w"), "notify": (16, "w"),
           "status": (18, "b"), "isr": (19, "b")}
    NOTHING = {"ack", "page_size", "align"}  # reading acknowledges
    OLD_NOTHING = {"queue_num", "device_sel", "driver_sel"}

    def __init__(self, machine, slot=1, legacy=True, size=16, **named):
        self.card = Card(machine, slot)
        self.card.place()
        # Older drivers take the size that the device has.
        super().__init__(machine, legacy, 256 if legacy else size, base=self.card.io if legacy else self.card.modern, **named)

    def setup_queue(self):
        if self.legacy:
            self.used = virtio.RAM + 0x2000
        super().setup_queue()

    def get(self, name):
        if name == "id":
            return self.card.read("w", 0x2e)
        offset, letter = (self.OLD if self.legacy else self.MODERN)[name]
        return self.m.read(letter, self.base + offset)

    def set(self, name, value, high=0):
        if name in self.NOTHING or self.legacy and name in self.OLD_NOTHING:
            return
        offset, letter = (self.OLD if self.legacy else self.MODERN)[name]
        self.m.write(letter, self.base + offset + high, value)

    def config(self, letter, offset):
        return self.m.read(letter, self.base + (20 if self.legacy else 0x2000) + offset)
