"""QMP: the greeting, commands, errors and events, on a machine without CPUs and on one that runs."""

import json
import os
import socket
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_boot  # noqa: E402
from lib import qtest, tap  # noqa: E402

PEER = bool(os.environ.get("LYRE_TEST_PEER"))


class Client:
    def __init__(self, listener):
        self.socket, _ = listener.accept()
        self.socket.settimeout(60)
        self.lines = self.socket.makefile("rw", newline="\n")
        self.events = []
        self.greeting = self.receive()

    def receive(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def raw(self, text):
        self.lines.write(text)
        self.lines.flush()
        while True:
            answer = self.receive()
            if answer is None or "event" not in answer:
                return answer
            self.events.append(answer["event"])

    def ask(self, command, **more):
        return self.raw(json.dumps({"execute": command, **more}))

    def until(self, event):
        while event not in self.events:
            answer = self.receive()
            if answer is None:
                raise EOFError(f"no event {event}; there were {self.events}")
            self.events.append(answer["event"])

    def close(self):
        self.lines.close()
        self.socket.close()


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = f"{scratch.name}/qmp"
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.listener.settimeout(60)

    def client(self):
        c = Client(self.listener)
        self.addCleanup(c.close)
        return c


class Protocol(Case):
    def setUp(self):
        super().setUp()
        self.machine = qtest.Machine("-qmp", f"unix:{self.path}", peer=PEER)
        self.addCleanup(self.machine.__exit__)
        self.qmp = self.client()

    def test_greeting_and_negotiation(self):
        q = self.qmp
        self.assertEqual(q.greeting["QMP"]["version"]["qemu"]["major"], 7)
        self.assertEqual(q.ask("query-status")["error"]["class"], "CommandNotFound")
        self.assertEqual(q.ask("qmp_capabilities"), {"return": {}})
        self.assertEqual(q.ask("query-version", id="x")["id"], "x")
        self.assertEqual(q.ask("query-version", id={"a": [1]})["id"], {"a": [1]})

    def test_errors(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        self.assertEqual(q.ask("make-coffee", id=7), {"id": 7, "error": {
            "class": "CommandNotFound", "desc": "The command make-coffee has not been found"}})
        self.assertEqual(q.raw('{"no": "command"}')["error"]["class"], "GenericError")
        self.assertEqual(q.ask("query-status", arguments={"colour": 1})["error"]["desc"], "Parameter 'colour' is unexpected")
        self.assertEqual(q.ask("query-version")["return"]["qemu"]["minor"], 2)

    def test_objects_in_pieces(self):
        q = self.qmp
        for piece in ('{"exe', 'cute": "qmp_', 'capab'):
            q.lines.write(piece)
            q.lines.flush()
            time.sleep(0.01)
        self.assertEqual(q.raw('ilities", "id": "}{\\""}'), {"return": {}, "id": '}{"'})

    def test_queries(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        names = {c["name"] for c in q.ask("query-commands")["return"]}
        self.assertLessEqual({"query-status", "stop", "cont", "quit", "system_powerdown", "system_reset"}, names)
        self.assertEqual([c["cpu-index"] for c in q.ask("query-cpus-fast")["return"]], [0])
        self.assertIn("compat_monitor0", [c["label"] for c in q.ask("query-chardev")["return"]])

    def test_reset_and_the_power_key(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        self.machine.writel(0x8000000, 1)
        q.ask("system_reset")
        q.until("RESET")
        self.assertEqual(self.machine.readl(0x8000000), 0)
        self.machine.writel(0x903040c, 8)
        q.ask("system_powerdown")
        q.until("POWERDOWN")
        if not PEER:
            self.assertEqual(self.machine.readl(0x9030414), 8)

    def test_quit(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        self.assertEqual(q.ask("quit"), {"return": {}})
        q.until("SHUTDOWN")
        self.assertEqual(self.machine.process.wait(timeout=30), 0)


@unittest.skipIf(PEER, "its kernels are for the product")
@unittest.skipUnless(test_boot.KERNEL and test_boot.KERNEL.exists(), "no debian-installer-12-netboot-arm64")
class Running(Case):
    def test_stop_and_go_on(self):
        with test_boot.Guest("-cpu", "cortex-a57", "-m", "256", "-S", "-qmp", f"unix:{self.path}",
                             initrd=test_boot.small_system()) as g:
            q = self.client()
            q.ask("qmp_capabilities")
            self.assertEqual(q.ask("query-status")["return"]["running"], False)
            q.ask("cont")
            g.shell()
            q.ask("stop")
            self.assertEqual(q.ask("query-status")["return"]["status"], "paused")
            g.send("echo $((6 * 7))")
            time.sleep(0.5)
            self.assertEqual(g.output, b"")
            q.ask("cont")
            self.assertIn("42", g.shell())
            g.send("poweroff -f")
            q.until("SHUTDOWN")
            self.assertEqual(g.end(), 0)


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
