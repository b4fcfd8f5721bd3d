"""A driver for virtio devices in memory (Virtual I/O Device specification 1.1, 4.2), over tests' protocol."""

import struct

SLOT = 0xa003e00  # the first device goes into the last slot
RAM = 0x40000000
NEXT, WRITE, INDIRECT = 1, 2, 4
EVENT_IDX, VERSION_1 = 29, 32
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8


class Device:
    """One device with queue 0, whose parts lie at the start of memory; buffers come behind."""

    def __init__(self, machine, legacy=True, size=16, features=None, base=SLOT):
        self.m, self.base, self.legacy, self.size = machine, base, legacy, size
        self.desc = RAM
        self.avail = self.desc + 16 * size
        self.used = RAM + 0x1000
        self.next = 0   # of the available ring
        self.seen = 0   # of the used ring
        self.set("status", 0)
        self.set("status", ACKNOWLEDGE | DRIVER)
        self.offered = self.half("device", 0) | (0 if legacy else self.half("device", 1) << 32)
        self.features = self.offered if features is None else features
        for i in range(1 if legacy else 2):
            self.set("driver_sel", i)
            self.set("driver", self.features >> 32 * i & 0xffffffff)
        if not legacy:
            self.set("status", ACKNOWLEDGE | DRIVER | FEATURES_OK)
        self.m.ask(f"memset {RAM:#x} 0x3000 0")
        self.setup_queue()
        self.set("status", ACKNOWLEDGE | DRIVER | DRIVER_OK | (0 if legacy else FEATURES_OK))

    REGISTERS = {"id": 8, "device": 0x10, "device_sel": 0x14, "driver": 0x20, "driver_sel": 0x24, "page_size": 0x28,
                 "queue": 0x30, "queue_max": 0x34, "queue_num": 0x38, "align": 0x3c, "pfn": 0x40, "ready": 0x44,
                 "notify": 0x50, "isr": 0x60, "ack": 0x64, "status": 0x70, "desc": 0x80, "avail": 0x90, "used": 0xa0}

    def get(self, name):
        return self.m.readl(self.base + self.REGISTERS[name])

    def set(self, name, value, high=0):
        self.m.writel(self.base + self.REGISTERS[name] + high, value)

    def half(self, name, i):
        self.set(f"{name}_sel", i)
        return self.get(name)

    def setup_queue(self):
        self.set("queue", 0)
        self.set("queue_num", self.size)
        if self.legacy:
            self.set("page_size", 4096)
            self.set("align", 4096)
            self.set("pfn", RAM >> 12)
            return
        for name in ("desc", "avail", "used"):
            self.set(name, getattr(self, name) & 0xffffffff)
            self.set(name, getattr(self, name) >> 32, high=4)
        self.set("ready", 1)

    def config(self, letter, offset):
        return self.m.read(letter, self.base + 0x100 + offset)

    def write(self, address, data):
        self.m.ask(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def read(self, address, size):
        return bytes.fromhex(self.m.ask(f"read {address:#x} {size:#x}")[0][2:])

    def put_desc(self, table, i, address, length, flags, follower):
        self.write(table + 16 * i, struct.pack("<QIHH", address, length, flags, follower))

    def offer(self, head):
        self.m.write("w", self.avail + 4 + 2 * (self.next % self.size), head)
        self.next += 1
        self.m.write("w", self.avail + 2, self.next & 0xffff)

    def submit(self, out, size, indirect=False, split=1 << 30):
        """A chain: `out` to be read, then `size` bytes to be written, in pieces of at most `split`; waits for its end.
        Returns what was written, and the length that the device says."""
        buffers, at = [], RAM + 0x4000
        if out:
            self.write(at, out)
        for total, flag in ((len(out), 0), (size, WRITE)):
            for start in range(0, total, split):
                buffers.append((at + start, min(split, total - start), flag))
            at += 0x10000
        table = RAM + 0x3000 if indirect else self.desc
        for i, (address, length, flag) in enumerate(buffers):
            more = i + 1 < len(buffers)
            self.put_desc(table, i, address, length, flag | (NEXT if more else 0), i + 1 if more else 0)
        if indirect:
            self.put_desc(self.desc, 0, table, 16 * len(buffers), INDIRECT, 0)
        self.offer(0)
        self.set("notify", 0)
        length = self.wait()
        return (self.read(RAM + 0x14000, size) if size else b""), length

    def used_index(self):
        return self.m.read("w", self.used + 2)

    def wait(self):
        for _ in range(20000):
            if self.used_index() != self.seen & 0xffff:
                entry = self.used + 4 + 8 * (self.seen % self.size)
                self.seen += 1
                return self.m.readl(entry + 4)
        raise RuntimeError("the device does not answer")

    def interrupted(self):
        """Is there an interrupt, or will there soon be one?"""
        return any(self.get("isr") for _ in range(1000))
