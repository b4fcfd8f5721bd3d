"""A machine on the other end of pipes: its first serial line as a terminal."""

import os
import select
import subprocess
import time

from lib import emulator


class Console:
    """`with Console(argv) as c: c.until(b"login: ")`; the process ends with it."""

    def __init__(self, command, seconds=60):
        self.seconds = seconds * emulator.time_factor()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = b""
        self.deadline = time.monotonic() + self.seconds

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def read(self):
        """More output; b"" at the end."""
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
            raise TimeoutError(f"after {self.seconds} s:\n{self.output[-3000:].decode(errors='replace')}")
        data = os.read(self.process.stdout.fileno(), 65536)
        self.output += data
        return data

    def until(self, text):
        """Wait for a text; what came before it."""
        while text not in self.output:
            if not self.read():
                raise EOFError(f"it ended:\n{self.output[-3000:].decode(errors='replace')}")
        before, _, self.output = self.output.partition(text)
        return before.decode(errors="replace")

    def send_keys(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, line):
        self.send_keys(line.encode() + b"\n")

    def end(self):
        """Its exit status."""
        while self.read():
            pass
        return self.process.wait(timeout=30)
