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
        self.data = {}
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
            self.note(answer)

    def note(self, event):
        self.events.append(event["event"])
        self.data[event["event"]] = event.get("data")

    def ask(self, command, **more):
        return self.raw(json.dumps({"execute": command, **more}))

    def until(self, event):
        while event not in self.events:
            answer = self.receive()
            if answer is None:
                raise EOFError(f"no event {event}; there were {self.events}")
            self.note(answer)

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

    def test_what_is_no_value(self):
        """Bytes that can be in no value, brackets that close too much, and what is no object: each is one error."""
        q = self.qmp
        q.ask("qmp_capabilities")
        for text in ("{]\n", "{\x01\n", "{'bad \x02\n", "%p\n", "null\n", "[1]", "{'execute': [}}\n"):
            self.assertEqual(q.raw(text)["error"]["class"], "GenericError", text)
            self.assertEqual(q.ask("query-name", id=text)["id"], text)
        self.assertIn("return", q.raw("{'execute': 'query-name'}"))

    def test_what_is_no_request(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        for text, desc in (('{}', "QMP input lacks member 'execute'"),
                           ('{"execute": 5}', "QMP input member 'execute' must be a string"),
                           ('{"execute": "query-status", "foo": 1}', "QMP input member 'foo' is unexpected"),
                           ('{"execute": "query-status", "arguments": []}', "QMP input member 'arguments' must be an object"),
                           ('{"exec-oob": "query-status"}', "QMP input member 'exec-oob' is unexpected")):
            self.assertEqual(q.raw(text)["error"], {"class": "GenericError", "desc": desc}, text)
        self.assertEqual(q.ask("qmp_capabilities")["error"], {
            "class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"})

    def test_out_of_band(self):
        q = self.qmp
        self.assertIn("oob", q.greeting["QMP"]["capabilities"])
        self.assertIn("does not accept value 'wings'", q.ask("qmp_capabilities", arguments={"enable": ["wings"]})["error"]["desc"])
        self.assertEqual(q.ask("qmp_capabilities", arguments={"enable": ["oob"]}), {"return": {}})
        self.assertEqual(q.raw('{"exec-oob": "query-status", "id": 1}')["error"]["desc"],
                         "The command query-status does not support OOB")

    def test_arguments_are_checked(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        for command, arguments, desc in (
                ("human-monitor-command", {}, "Parameter 'command-line' is missing"),
                ("human-monitor-command", {"command-line": 5}, "Invalid parameter type for 'command-line', expected: string"),
                ("human-monitor-command", {"command-line": "", "cpu-index": "a"},
                 "Invalid parameter type for 'cpu-index', expected: integer"),
                ("human-monitor-command", {"command-line": "", "cpu-index": 9}, "Parameter 'cpu-index' expects a CPU number"),
                ("qom-set", {"path": "/machine", "property": "x"}, "Parameter 'value' is missing"),
                ("qom-set", {"path": "/machine", "property": "x", "value": 1}, "Property 'virt-7.2-machine.x' not found"),
                ("qom-get", {"path": "/machine", "property": "x"}, "Property 'virt-7.2-machine.x' not found"),
                ("qom-list-types", {"abstract": 1}, "Invalid parameter type for 'abstract', expected: boolean"),
                ("query-command-line-options", {"option": "nope"}, "invalid option name: nope")):
            self.assertEqual(q.ask(command, arguments=arguments).get("error"), {"class": "GenericError", "desc": desc})
        for command, arguments in (("qom-list", {"path": "/nope"}), ("device-list-properties", {"typename": "nope"})):
            self.assertEqual(q.ask(command, arguments=arguments)["error"]["class"], "DeviceNotFound")

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
        self.assertEqual(q.data["RESET"], {"guest": False, "reason": "host-qmp-system-reset"})
        if not PEER:
            self.assertEqual(self.machine.readl(0x9030414), 8)

    def test_quit(self):
        q = self.qmp
        q.ask("qmp_capabilities")
        self.assertEqual(q.ask("quit"), {"return": {}})
        q.until("SHUTDOWN")
        self.assertEqual(self.machine.process.wait(timeout=30), 0)


class Traces(Case):
    def test_events_are_followed(self):
        with tempfile.TemporaryDirectory() as scratch:
            events = Path(scratch) / "events"
            events.write_text("# these\nmemory_region_ops_*\n-memory_region_ops_read\n")
            with qtest.Machine("-qmp", f"unix:{self.path}", "-trace", f"events={events},file={scratch}/log", peer=PEER) as m:
                q = self.client()
                q.ask("qmp_capabilities")
                m.writel(0x9000030, 0x301)
                m.readl(0x9000030)
                states = {x["name"]: x["state"] for x in q.ask("trace-event-get-state", arguments={"name": "memory_region_ops_*"})["return"]}
                self.assertEqual((states["memory_region_ops_write"], states["memory_region_ops_read"]), ("enabled", "disabled"))
                q.ask("trace-event-set-state", arguments={"name": "memory_region_ops_write", "enable": False})
                self.assertEqual(q.ask("human-monitor-command", arguments={"command-line": "trace-event memory_region_ops_read on"}), {"return": ""})
                self.assertIn("memory_region_ops_read : state 1", q.ask("human-monitor-command", arguments={
                    "command-line": "info trace-events memory_region*"})["return"])
                m.writel(0x9000030, 0x302)
                m.readl(0x9000030)
                for command, arguments in (("trace-event-get-state", {"name": "nope"}),
                                           ("trace-event-set-state", {"name": "nope", "enable": True})):
                    self.assertEqual(q.ask(command, arguments=arguments)["error"]["desc"], 'unknown event "nope"')
                log = Path(f"{scratch}/log").read_text()
        self.assertIn("addr 0x9000030 value 0x301 size 4 name 'pl011'", log)
        self.assertIn("addr 0x9000030 value 0x302 size 4 name 'pl011'", log)
        self.assertEqual(log.count("memory_region_ops_write "), 1)


class Devices(Case):
    """What the monitor shows of devices, and tells them."""

    def setUp(self):
        super().setUp()
        self.disk = tempfile.NamedTemporaryFile()
        self.addCleanup(self.disk.close)
        self.disk.truncate(1 << 20)
        machine = qtest.Machine(
            "-qmp", f"unix:{self.path}", "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-drive", f"if=none,id=d,format=raw,file={self.disk.name}", "-device", "virtio-blk-pci,drive=d,id=disk,addr=3.0",
            "-device", "virtio-balloon-device,id=balloon", peer=PEER)
        self.addCleanup(machine.__exit__)
        self.qmp = self.client()
        self.qmp.ask("qmp_capabilities")

    def test_cards(self):
        bus, = self.qmp.ask("query-pci")["return"]
        cards = {c["slot"]: c for c in bus["devices"]}
        self.assertEqual(sorted(cards), [0, 1, 3])
        self.assertEqual({x: cards[3][x] for x in ("bus", "function", "qdev_id", "irq", "irq_pin", "class_info", "id")}, {
            "bus": 0, "function": 0, "qdev_id": "disk", "irq": 0, "irq_pin": 1,
            "class_info": {"class": 0x100, "desc": "SCSI controller"},
            "id": {"vendor": 0x1af4, "device": 0x1001, "subsystem-vendor": 0x1af4, "subsystem": 2}})
        self.assertEqual(cards[3]["regions"], [
            {"bar": 0, "type": "io", "size": 128, "address": -1},
            {"bar": 1, "type": "memory", "size": 4096, "address": -1, "prefetch": False, "mem_type_64": False},
            {"bar": 4, "type": "memory", "size": 16384, "address": -1, "prefetch": True, "mem_type_64": True}])
        self.assertEqual((cards[1]["qdev_id"], cards[0]["regions"], "irq" in cards[0]), ("", [], False))

    def test_what_the_guest_tells(self):
        """Live properties; without a driver nothing has been told."""
        def order(command, **arguments):
            answer = self.qmp.ask(command, arguments={"path": "/machine/peripheral/balloon", **arguments})
            return answer["return"] if "return" in answer else answer["error"]["desc"]
        told = order("qom-get", property="guest-stats")
        self.assertEqual((told["last-update"], set(told["stats"].values()), len(told["stats"])), (0, {2**64 - 1}, 10))
        interval = {"property": "guest-stats-polling-interval"}
        self.assertIn((interval["property"], "int"), [(p["name"], p["type"]) for p in order("qom-list")])
        for value, want in ((2, {}), (-1, "timer value must be greater than zero"), (1 << 40, "timer value is too big"),
                            ("x", "Invalid parameter type for 'guest-stats-polling-interval', expected: integer")):
            self.assertEqual(order("qom-set", value=value, **interval), want)
        self.assertEqual(order("qom-get", **interval), 2)
        self.assertEqual(order("qom-set", property="guest-stats", value=1),
                         "Property 'virtio-balloon-device.guest-stats' is not writable")

    def test_the_balloon(self):
        q = self.qmp
        self.assertEqual(q.ask("query-balloon")["return"], {"actual": 128 << 20})
        self.assertEqual(q.ask("balloon", arguments={"value": 64 << 20}), {"return": {}})
        self.assertEqual(q.ask("balloon", arguments={"value": 0})["error"]["desc"], "Parameter 'target' expects a size")
        self.assertEqual(q.ask("query-balloon")["return"], {"actual": 128 << 20})  # no driver has done anything yet

    def test_disks(self):
        q = self.qmp
        disk = next(x for x in q.ask("query-blockstats")["return"] if x["device"] == "d")
        self.assertEqual(disk["qdev"], "/machine/peripheral/disk/virtio-backend")
        self.assertEqual((disk["stats"]["rd_operations"], disk["stats"]["wr_highest_offset"], disk["stats"]["timed_stats"]), (0, 0, []))
        self.assertEqual(next(x for x in q.ask("query-block")["return"] if x["device"] == "d")["qdev"], disk["qdev"])
        self.assertEqual(q.ask("block_resize", arguments={"device": "d", "size": 3 << 20}), {"return": {}})
        self.assertEqual(Path(self.disk.name).stat().st_size, 3 << 20)
        for arguments, desc in (({"device": "x", "size": 5}, "Cannot find device='x' nor node-name=''"),
                                ({"device": "d", "size": -5}, "Parameter 'size' expects a >0 size")):
            self.assertEqual(q.ask("block_resize", arguments=arguments)["error"]["desc"], desc)

    def test_links(self):
        q = self.qmp
        for up in (False, True):
            self.assertEqual(q.ask("set_link", arguments={"name": "net", "up": up}), {"return": {}})
        self.assertEqual(q.ask("set_link", arguments={"name": "x", "up": True})["error"]["class"], "DeviceNotFound")

    def test_no_bus_takes_devices(self):
        for command, arguments, desc in (
                ("device_add", {"driver": "nope"}, "'nope' is not a valid device model name"),
                ("device_add", {"driver": "pl011"}, "Parameter 'driver' expects a pluggable device type"),
                ("device_add", {"driver": "virtio-rng-pci"}, "Bus 'pcie.0' does not support hotplugging"),
                ("device_del", {"id": "disk"}, "Bus 'pcie.0' does not support hotplugging"),
                ("device_del", {"id": "x"}, "Device 'x' not found")):
            self.assertEqual(self.qmp.ask(command, arguments=arguments)["error"]["desc"], desc)


class Schema:
    """What query-qmp-schema shows, and values held against it."""

    def __init__(self, entries):
        self.of = {x["name"]: x for x in entries}

    def fits(self, value, name, where):
        """Fail where `value` is not of the type."""
        t = self.of[name]
        kind = t["meta-type"]
        python = {"string": str, "int": int, "number": (int, float), "boolean": bool, "null": type(None), "value": object}
        if kind == "builtin":
            assert isinstance(value, python[t["json-type"]]), f"{where}: {value!r} is no {name}"
        elif kind == "enum":
            assert value in t["values"], f"{where}: {value!r}"
        elif kind == "array":
            for i, x in enumerate(value):
                self.fits(x, t["element-type"], f"{where}[{i}]")
        elif kind == "alternate":
            return
        else:
            self.fits_object(value, t, where)

    def members(self, t, value):
        found = {m["name"]: m for m in t["members"]}
        for v in t.get("variants", ()):
            if v["case"] == value.get(t["tag"]):
                found.update(self.members(self.of[v["type"]], value))
        return found

    def fits_object(self, value, t, where):
        members = self.members(t, value)
        for name, m in members.items():
            assert name in value or "default" in m, f"{where}: {name} is missing"
        for name, x in value.items():
            assert name in members, f"{where}: {name} is not in the schema"
            self.fits(x, members[name]["type"], f"{where}.{name}")

    def within(self, name, other, other_name, seen):
        """Fail where our type has what the peer's has not."""
        mine, theirs = self.of[name], other.of[other_name]
        if (name, other_name) in seen:
            return
        seen.add((name, other_name))
        assert mine["meta-type"] == theirs["meta-type"], (mine, theirs)
        if mine["meta-type"] == "builtin":
            assert name == other_name, (name, other_name)
        elif mine["meta-type"] == "enum":
            assert set(mine["values"]) <= set(theirs["values"]), (mine["values"], theirs["values"])
        elif mine["meta-type"] == "array":
            self.within(mine["element-type"], other, theirs["element-type"], seen)
        else:
            known = {m["name"]: m for m in theirs["members"]}
            for m in mine["members"]:
                assert m["name"] in known, (m, sorted(known))
                self.within(m["type"], other, known[m["name"]]["type"], seen)
            for m in theirs["members"]:
                assert "default" in m or m["name"] in {x["name"] for x in mine["members"]}, f"{m['name']} is missing"


ARGUMENTS = {"qom-list": {"path": "/machine/unattached"}, "qom-get": {"path": "/machine", "property": "type"},
             "device-list-properties": {"typename": "virtio-rng-device"},
             "qom-list-properties": {"typename": "virt-7.2-machine"}, "human-monitor-command": {"command-line": "info status"}}


@unittest.skipIf(PEER, "it is about the product's schema")
class Introspection(Case):
    def ask_all(self, peer):
        """The answers of every query, and the schema."""
        # Our machine is one that has not begun, as the peer's is.
        with qtest.Machine("-qmp", f"unix:{self.path}", "-device", "virtio-balloon-device", *([] if peer else ["-S"]),
                           peer=peer) as m:
            q = self.client()
            q.ask("qmp_capabilities")
            schema = q.ask("query-qmp-schema")["return"]
            names = [c["name"] for c in q.ask("query-commands")["return"]]
            queries = [n for n in names if n.startswith(("query-", "qom-list")) or n in ARGUMENTS]
            answers = {} if peer else {n: q.ask(n, arguments=ARGUMENTS.get(n, {})) for n in queries}
            self.assertEqual(sorted(names), sorted(x["name"] for x in schema if x["meta-type"] == "command"))
            del m
        return schema, answers

    def test_answers_fit_the_schema_and_the_peers(self):
        entries, answers = self.ask_all(False)
        schemas = [Schema(entries)]
        if qtest.peer():
            schemas.append(Schema(self.ask_all(True)[0]))
        self.assertGreater(len(answers), 25)
        for name, answer in answers.items():
            self.assertIn("return", answer, name)
            for s in schemas:
                s.fits(answer["return"], s.of[name]["ret-type"], name)

    @unittest.skipUnless(qtest.peer(), "no qemu-system-aarch64; scripts/setup check installs it")
    def test_the_schema_is_a_part_of_the_peers(self):
        mine, theirs = Schema(self.ask_all(False)[0]), Schema(self.ask_all(True)[0])
        for x in mine.of.values():
            if x["meta-type"] not in ("command", "event"):
                continue
            self.assertIn(x["name"], theirs.of)
            other = theirs.of[x["name"]]
            self.assertEqual(x["meta-type"], other["meta-type"])
            self.assertEqual(x.get("allow-oob"), other.get("allow-oob"), x["name"])
            for key in ("arg-type", "ret-type"):
                if key in x:
                    mine.within(x[key], theirs, other[key], set())


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
            self.assertEqual(q.data["SHUTDOWN"], {"guest": True, "reason": "guest-shutdown"})
            self.assertEqual(g.end(), 0)

    def test_no_shutdown(self):
        with test_boot.Guest("-cpu", "cortex-a57", "-m", "256", "-no-shutdown", "-qmp", f"unix:{self.path}",
                             initrd=test_boot.small_system()) as g:
            q = self.client()
            q.ask("qmp_capabilities")
            g.shell()
            g.send("poweroff -f")
            q.until("STOP")
            self.assertIn("SHUTDOWN", q.events)
            self.assertEqual(q.ask("query-status")["return"]["status"], "shutdown")
            self.assertEqual(q.ask("cont")["error"]["desc"], "Resetting the Virtual Machine is required")
            q.ask("system_reset")
            q.until("RESET")
            self.assertEqual(q.ask("cont"), {"return": {}})
            g.shell()
            q.ask("quit")
            q.until("SHUTDOWN")
            self.assertEqual(g.end(), 0)


@unittest.skipIf(PEER, "its kernels are for the product")
class Drivers(Case):
    """What the guest makes of it."""

    def soon(self, get):
        for _ in range(600):
            answer = get()
            if answer:
                return answer
            time.sleep(0.05)
        raise TimeoutError("nothing has come")

    def guest_stats(self, q, at, after):
        """What the guest has told, if that was later than `after`."""
        told = q.ask("qom-get", arguments={**at, "property": "guest-stats"})["return"]
        return told if told["last-update"] > after else None

    def test_devices_under_way(self):
        boot = test_boot.Drivers()
        boot.more = ["virtio_balloon"]
        if not test_boot.distribution_kernel():
            self.skipTest("no linux-image-arm64; scripts/fetch-debian gets it")
        boot.setUp()
        self.addCleanup(boot.doCleanups)
        disk = boot.scratch / "disk"
        disk.write_bytes(bytes(4 << 20))
        with boot.guest("-qmp", f"unix:{self.path}", "-drive", f"if=virtio,format=raw,file={disk}", "-nic", "user,id=net",
                        "-device", "virtio-balloon-pci,id=balloon") as g:
            q = self.client()
            q.ask("qmp_capabilities")
            g.run("dd if=/dev/vda of=/dev/null bs=64k count=16")
            g.run("dd if=/dev/vda of=/dev/vda bs=4k count=1 seek=100 conv=notrunc,fsync")
            stats = q.ask("query-blockstats")["return"][0]["stats"]
            self.assertGreaterEqual(stats["rd_bytes"], 1 << 20)
            self.assertEqual((stats["wr_bytes"], stats["wr_operations"], stats["wr_highest_offset"]), (4096, 1, 101 * 4096))
            self.assertTrue(stats["flush_operations"] and stats["rd_total_time_ns"] and "idle_time_ns" in stats, stats)
            q.ask("block_resize", arguments={"device": "virtio0", "size": 6 << 20})
            self.assertEqual(g.run("sync; cat /sys/block/vda/size"), [str((6 << 20) // 512)])
            g.run("ip link set eth0 up")
            for up in (False, True):
                q.ask("set_link", arguments={"name": "net", "up": up})
                self.assertEqual(g.run("sync; cat /sys/class/net/eth0/carrier"), [str(int(up))])
            q.ask("balloon", arguments={"value": 200 << 20})
            while q.data.get("BALLOON_CHANGE") != {"actual": 200 << 20}:
                q.note(q.receive())
            self.assertEqual(q.ask("query-balloon")["return"], {"actual": 200 << 20})
            at = {"path": "/machine/peripheral/balloon"}
            self.assertEqual(q.ask("qom-set", arguments={**at, "property": "guest-stats-polling-interval", "value": 1}), {"return": {}})
            total = int(g.run("sync; awk '/MemTotal/ {print $2}' /proc/meminfo")[0]) << 10
            before = 0
            for _ in range(3):  # they come again and again
                told = self.soon(lambda: self.guest_stats(q, at, before))  # noqa: B023
                self.assertEqual(told["stats"]["stat-total-memory"], total)
                self.assertTrue(0 < told["stats"]["stat-free-memory"] < total, told)
                before = told["last-update"]
            regions = [r for c in q.ask("query-pci")["return"][0]["devices"] for r in c["regions"] if r["type"] == "memory"]
            self.assertTrue(regions and all(0x10000000 <= r["address"] for r in regions), regions)
            g.send("poweroff -f")
            self.assertEqual(g.end(), 0)


if __name__ == "__main__":
    if PEER and not qtest.peer():
        tap.skip_all("no qemu-system-aarch64; scripts/setup check installs it")
    tap.run_unittests()
