"""A machine without a running CPU, driven over the protocol of QEMU's device tests: lyre, or, with PEER, Debian's
qemu-system-<guest>, so that a test can be held against it. Debian builds that without its accelerator for tests: the
CPU stands still before its first instruction instead, there can be but one, and the clock cannot be stepped."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from lib import emulator

PEER = "qemu-system-aarch64"
# Where each has the wires into its first CPU.
CPU_LINES = {False: "irq_intercept_out gic", True: "irq_intercept_in /machine/unattached/device[0]"}
STILL = {False: ["-accel", "qtest", "-rtc", "clock=vm"], True: ["-accel", "tcg", "-S"]}


def peer():
    """The path of Debian's emulator, or None."""
    return shutil.which(PEER)


class Machine:
    """`with Machine(peer=False) as m: m.readl(0x9000018)`"""

    def __init__(self, *options, peer=False, machine="virt", cpu="cortex-a57", serial=False, cpus=1, wrap=()):
        self.peer = peer
        self.dir = tempfile.TemporaryDirectory()
        self.path = Path(self.dir.name)
        listener = self._listen("qtest")
        line = self._listen("serial") if serial else None
        command = [shutil.which(PEER)] if peer else emulator.command_named(PEER)
        command = [*wrap, *command]
        command += ["-M", machine, "-cpu", cpu, "-display", "none", "-net", "none", "-smp", str(cpus),
                    *STILL[peer], "-qtest", f"unix:{self.path}/qtest", *options]
        if line:
            command += ["-chardev", f"socket,id=line,path={self.path}/serial", "-serial", "chardev:line"]
        log = open(self.path / "log", "w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.lines = self._accept(listener).makefile("rw", newline="\n")
        self.serial = self._accept(line) if line else None
        self.fiq_line = cpus
        self.irqs = {}  # line: level, of those that are watched

    def _listen(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.bind(str(self.path / name))
        s.listen(1)
        s.settimeout(30)
        return s

    def _accept(self, listener):
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            self.process.kill()
            raise RuntimeError(f"no connection; {(self.path / 'log').read_text()}") from None
        listener.close()
        connection.settimeout(30)
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.lines.close()
        if self.serial:
            self.serial.close()
        if self.peer:
            self.process.kill()
        self.process.wait(timeout=30)
        self.dir.cleanup()

    def ask(self, command):
        """The words of the answer behind OK."""
        self.lines.write(command + "\n")
        self.lines.flush()
        while True:
            words = self.lines.readline().split()
            if not words:
                raise RuntimeError(f"{command}: no answer; {(self.path / 'log').read_text()}")
            if words[0] == "IRQ":
                self.irqs[int(words[2])] = words[1] == "raise"
            elif words[0] == "OK":
                return words[1:]
            else:
                raise RuntimeError(f"{command}: {' '.join(words)}")

    def read(self, letter, address):
        return int(self.ask(f"read{letter} {address:#x}")[0], 0)

    def write(self, letter, address, value):
        self.ask(f"write{letter} {address:#x} {value:#x}")

    def readl(self, address):
        return self.read("l", address)

    def writel(self, address, value):
        self.write("l", address, value)

    def received(self, size):
        """The next bytes from the serial line."""
        data = b""
        while len(data) < size:
            more = self.serial.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def clock_step(self, ns=None):
        return int(self.ask("clock_step" if ns is None else f"clock_step {ns}")[0])

    def watch_cpu(self):
        """From now on `irq` and `fiq` are the levels at the first CPU."""
        self.ask(CPU_LINES[self.peer])

    @property
    def irq(self):
        self.ask("endianness")  # what came before it has arrived
        return self.irqs.get(0, False)

    @property
    def fiq(self):
        self.ask("endianness")
        return self.irqs.get(self.fiq_line, False)
