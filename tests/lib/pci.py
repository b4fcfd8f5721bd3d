"""Cards on the PCI bus of `virt`, and a driver for virtio devices on them (Virtual I/O Device specification 1.1, 4.1)."""

import struct

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


class PackedDevice(Device):
    """A driver with a packed ring (2.7): `avail` and `used` are the event structures of driver and device."""
    AVAIL, USED = 1 << 7, 1 << 15

    def __init__(self, machine, features=1 << virtio.VERSION_1 | 1 << 34, **named):
        super().__init__(machine, legacy=False, features=features, **named)
        assert self.offered >> 34 & 1

    def flags(self, count):
        return self.AVAIL if count // self.size % 2 == 0 else self.USED

    def put_place(self, count, address, length, flags, number):
        """The flags come last."""
        at = self.desc + 16 * (count % self.size)
        self.write(at, struct.pack("<QIH", address, length, number))
        self.m.write("w", at + 14, flags | self.flags(count))

    def submit(self, out, size, indirect=False, split=1 << 30, number=5):
        buffers, at = [], virtio.RAM + 0x4000
        if out:
            self.write(at, out)
        for total, flag in ((len(out), 0), (size, virtio.WRITE)):
            for start in range(0, total, split):
                buffers.append((at + start, min(split, total - start), flag))
            at += 0x10000
        if indirect:
            table = virtio.RAM + 0x3000
            for i, (address, length, flag) in enumerate(buffers):
                self.write(table + 16 * i, struct.pack("<QIHH", address, length, 0, flag))
            buffers = [(table, 16 * len(buffers), virtio.INDIRECT)]
        for i in reversed(range(len(buffers))):
            address, length, flag = buffers[i]
            self.put_place(self.next + i, address, length, flag | (virtio.NEXT if i + 1 < len(buffers) else 0), number)
        self.next += len(buffers)
        self.set("notify", 0)
        length = self.wait_used(len(buffers), number)
        return (self.read(virtio.RAM + 0x14000, size) if size else b""), length

    def is_used(self, count):
        flags = self.m.read("w", self.desc + 16 * (count % self.size) + 14)
        both = self.AVAIL | self.USED if count // self.size % 2 == 0 else 0
        return flags & (self.AVAIL | self.USED) == both

    def wait_used(self, places, number):
        at = self.desc + 16 * (self.seen % self.size)
        for _ in range(20000):
            if self.is_used(self.seen):
                self.seen += places
                assert self.m.read("w", at + 12) == number
                return self.m.readl(at + 8)
        raise RuntimeError("the device does not answer")
