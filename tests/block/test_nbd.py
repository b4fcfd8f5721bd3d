#!/usr/bin/env python3
"""NBD: our server for the peer's clients and libnbd's, our client for the peer's server, and both together."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "lib")]
import tap
from images import AIO_MODES, LYRE, PEER, ImageTest

WRITES = ("write -P 1 0 1M", "write -P 2 1000 100", "write -z 200k 100k", "write -z -u 512k 128k", "discard 900k 64k", "aio_write -P 3 3M 1M",
          "aio_write -P 4 4M 70k", "aio_flush", "writev -P 5 6M 1k 3k 512", "flush", "write -f -P 6 7M 512")
READS = ("read -P 1 0 1000", "read -P 2 1000 100", "read -P 0 200k 100k", "read -P 0 512k 128k", "read -P 1 640k 260k",
         "read -P 3 3M 1M", "read -P 4 4M 70k", "read -P 5 6M 4608", "read -P 6 7M 512", "read -P 0 8M 2M")


class Nbd(ImageTest):
    def serve(self, program, *args, aio="auto"):
        """A server on a unix socket; returns the process and the socket's path."""
        path = str(self.dir / f"s{len(self.servers)}")
        env = dict(os.environ, LYRE_AIO=aio)
        server = subprocess.Popen([program, "-k", path, *map(str, args)], cwd=self.dir, env=env, stderr=subprocess.DEVNULL)
        self.servers.append(server)
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    if os.path.exists(path) and "-t" in args:
                        probe.connect(path)
                        break
                except OSError:
                    pass
            if os.path.exists(path) and "-t" not in args:
                time.sleep(0.05)
                break
            self.assertIsNone(server.poll(), "the server has ended")
            time.sleep(0.02)
        return server, path

    def setUp(self):
        super().setUp()
        self.servers = []
        self.mine = self.dir / ".qemu-nbd" / "qemu-nbd"

    def tearDown(self):
        for server in self.servers:
            if server.poll() is None:
                server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:  # the peer's has been seen to hang when it was to end while it began
                server.kill()
                server.wait()
        super().tearDown()

    def end(self, server):
        server.terminate()
        self.assertEqual(server.wait(), 0)

    def test_both_ways(self):
        """Write over NBD with one side's client to the other's server; all pairs, all ways of I/O."""
        pairs = [(self.mine, self.peer_io, ""), (PEER["qemu-nbd"], self.our_io, "")]
        pairs += [(self.mine, self.our_io, aio) for aio in AIO_MODES]
        for server_program, io, aio in pairs:
            for image_format in ("raw", "qcow2"):
                with self.subTest(server=server_program, aio=aio, format=image_format):
                    self.ours("create", "-f", image_format, "a", "10M")
                    server, path = self.serve(server_program, "-t", "-f", image_format, "-x", "disk", "a", aio=aio or "auto")
                    uri = f"nbd+unix:///disk?socket={path}"
                    io(uri, *WRITES, options=("-f", "raw"))
                    io(uri, *READS, options=("-f", "raw"))
                    io(f"nbd:unix:{path}:exportname=disk", "length", options=("-f", "raw"))
                    self.end(server)
                    self.peer_io("a", *READS, options=("-f", image_format))
                    if image_format == "qcow2":
                        self.peers("check", "a")

    def test_format_over_nbd(self):
        """A qcow2 image whose bytes come over NBD, made and checked there."""
        self.ours("create", "-f", "qcow2", "-o", "preallocation=full", "a", "10M")
        server, path = self.serve(PEER["qemu-nbd"], "-t", "-f", "raw", "a")
        uri = f"nbd+unix:///?socket={path}"
        self.our_io(uri, *WRITES, *READS, options=("-f", "qcow2"))
        self.same("check", "-f", "qcow2", uri)
        self.same("info", uri)
        self.same_json("info", "--output=json", uri)
        self.end(server)
        self.peers("check", "a")

    def test_texts(self):
        self.ours("create", "-f", "qcow2", "base", "10M")
        self.our_io("base", "write -P 1 0 64k", "write -P 1 1M 64k")
        self.ours("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a")
        self.our_io("a", "write -P 2 2M 64k", "write -z 1M 64k", "write -P 2 5M 64k")
        server, path = self.serve(self.mine, "-t", "-f", "qcow2", "-x", "disk", "-D", "a text", "-A", "a")
        uri = f"nbd+unix:///disk?socket={path}"
        self.same("map", "--output=json", uri)
        self.same("info", uri)
        spec = f"driver=nbd,export=disk,server.type=unix,server.path={path},x-dirty-bitmap=qemu:allocation-depth"
        ours, peers = (json.loads(f("map", "--output=json", "--image-opts", spec).out) for f in (self.ours, self.peers))
        self.assertEqual(*([[x["start"], x["data"], x["zero"]] for x in side] for side in (ours, peers)))
        info = subprocess.run(["nbdinfo", "--json", uri], capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(info.stdout)["exports"][0]["description"], "a text")
        shown = subprocess.run(["nbdinfo", "--map", uri], capture_output=True, text=True, check=True).stdout
        self.assertEqual(shown.split()[:8], ["0", "65536", "0", "data", "65536", "2031616", "3", "hole,zero"])
        self.same("info", f"nbd+unix:///wrong?socket={path}", status=1)
        self.same("info", "nbd+unix:///?socket=/nonexistent", status=1)
        ours = self.ours("--list", "-k", path, program="qemu-nbd").out
        self.assertEqual(ours, self.peers("--list", "-k", path, program="qemu-nbd").out)
        self.end(server)
        peer, path = self.serve(PEER["qemu-nbd"], "-t", "-f", "qcow2", "-x", "disk", "-A", "-r", "a")
        ours = self.ours("--list", "-k", path, program="qemu-nbd").out
        self.assertEqual(ours, self.peers("--list", "-k", path, program="qemu-nbd").out)
        self.end(peer)
        for args in (("-f", "foo", "a"), ("nofile",), ("a", "b"), ("-e", "x", "a"), ("-L", "a"), ("-k", "/nonexistent/s", "-f", "raw", "a"),
                     ("-l", "foo", "-f", "qcow2", "a"), ("-o", "x", "a"), ("-B", "foo", "-f", "qcow2", "-k", path, "a"),
                     ("--discard=x", "-f", "raw", "a"), ("--detect-zeroes=x", "-f", "raw", "a"), ("--detect-zeroes=unmap", "-f", "raw", "a"), ("--cache=x", "-f", "raw", "a"), ("-L", "-p", "1")):
            ours, peers = (f(*args, program="qemu-nbd", status=1).err.splitlines()[0] for f in (self.ours, self.peers))
            self.assertEqual(ours, peers)

    def test_no_kernel_device(self):
        for words in (("-c", "/dev/nbd0", "a"), ("-d", "/dev/nbd0")):
            run = self.ours(*words, program="qemu-nbd", status=1)
            self.assertIn("the kernel's NBD device (-c, -d) is not supported", run.err)

    def test_copies(self):
        """nbdcopy and convert, in and out, with many requests in flight."""
        with open(self.dir / "a", "wb") as f:
            f.write(os.urandom(5 << 20))
            f.truncate(40 << 20)
            f.seek(30 << 20)
            f.write(os.urandom(1 << 20))
        self.ours("create", "-f", "qcow2", "b", "40M")
        server, path = self.serve(self.mine, "-t", "-e", "8", "-f", "qcow2", "b")
        uri = f"nbd+unix:///?socket={path}"
        subprocess.run(["nbdcopy", "a", uri], cwd=self.dir, check=True)
        subprocess.run(["nbdcopy", uri, "c"], cwd=self.dir, check=True)
        self.peers("compare", "-f", "raw", "-F", "raw", "a", "c")
        self.ours("convert", "-n", "-f", "raw", "-O", "raw", "a", uri)
        self.ours("convert", "-f", "raw", "-O", "qcow2", uri, "d")
        self.peers("compare", "-f", "raw", "a", "d")
        self.end(server)
        self.peers("check", "b")
        self.peers("compare", "-f", "raw", "a", "b")

    def test_options(self):
        self.ours("create", "-f", "qcow2", "a", "10M")
        self.our_io("a", "write -P 1 0 1M")
        self.ours("snapshot", "-c", "s", "a")
        self.our_io("a", "write -P 2 0 1M")
        server, path = self.serve(self.mine, "-r", "-f", "qcow2", "a")
        self.peer_io(f"nbd:unix:{path}", "read -P 2 0 1M", options=("-r", "-f", "raw"))
        self.assertEqual(server.wait(10), 0)  # not persistent: ends with its client
        server, path = self.serve(self.mine, "-t", "-l", "s", "-f", "qcow2", "a")
        self.peer_io(f"nbd:unix:{path}", "read -P 1 0 1M", options=("-r", "-f", "raw"))
        self.our_io(f"nbd:unix:{path}", "write 0 512", options=("-f", "raw"), status=1)
        self.end(server)
        server, path = self.serve(self.mine, "-s", "-f", "qcow2", "-o", "512k", "a")
        self.peer_io(f"nbd:unix:{path}", "length", "read -P 2 0 512k", "write -P 3 0 1k", "read -P 3 0 1k", options=("-f", "raw"))
        self.assertEqual(server.wait(10), 0)
        self.peer_io("a", "read -P 2 0 1M")
        self.ours("--fork", "-t", "--pid-file", self.dir / "pid", "-k", self.dir / "sock", "-f", "qcow2", "a", program="qemu-nbd")
        self.peer_io(f"nbd:unix:{self.dir}/sock", "read -P 2 0 512k", options=("-f", "raw"))
        pid = int((self.dir / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            if not (self.dir / "pid").exists():
                break
            time.sleep(0.02)
        self.assertFalse((self.dir / "sock").exists())
        self.ours("--fork", "-k", self.dir / "sock", "-f", "qcow2", "nofile", program="qemu-nbd", status=1)

    def test_tcp(self):
        self.ours("create", "-f", "raw", "a", "1M")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        server = subprocess.Popen([self.mine, "-t", "-b", "127.0.0.1", "-p", str(port), "-f", "raw", "a"], cwd=self.dir)
        self.servers.append(server)
        for _ in range(100):
            if self.our_io(f"nbd://127.0.0.1:{port}", "write -P 1 0 64k", options=("-f", "raw"), status=None).status == 0:
                break
            time.sleep(0.05)
        self.peer_io(f"nbd://127.0.0.1:{port}/", "read -P 1 0 64k", options=("-f", "raw"))
        self.our_io("json:{'driver': 'raw', 'file': {'driver': 'nbd', 'host': '127.0.0.1', 'port': '%d'}}" % port,
                    "read -P 1 0 64k")
        self.end(server)

    def certificates(self):
        """An authority, a server's and a client's certificate, and one of a server that nobody knows."""
        d = self.dir / "pki"
        d.mkdir()

        def openssl(*args):
            subprocess.run(["openssl", *args], cwd=d, check=True, capture_output=True)

        for ca in ("ca", "other"):
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{ca}-key.pem",
                    "-out", f"{ca}-cert.pem", "-subj", f"/CN={ca}", "-days", "2", "-addext", "keyUsage=critical,keyCertSign")
        for name, ca in (("server", "ca"), ("client", "ca"), ("rogue", "other")):
            (d / "ext").write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
                                   f"extendedKeyUsage={'clientAuth' if name == 'client' else 'serverAuth'}\n")
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}-key.pem",
                    "-out", "req", "-subj", f"/CN={name}")
            openssl("x509", "-req", "-in", "req", "-CA", f"{ca}-cert.pem", "-CAkey", f"{ca}-key.pem", "-CAcreateserial",
                    "-out", f"{name}-cert.pem", "-days", "2", "-extfile", "ext")
        return d

    def test_tls(self):
        if not Path(LYRE).with_name("lyre-tls.so").exists():
            self.skipTest("built without GnuTLS")
        self.ours("create", "-f", "raw", "a", "10M")
        pki = self.certificates()
        (self.dir / "psk").mkdir()
        (self.dir / "psk" / "keys.psk").write_text("qemu:00112233445566778899aabbccddeeff\n")
        kinds = {"x509": (f"tls-creds-x509,id=t,dir={pki}", ""), "psk": (f"tls-creds-psk,id=t,dir={self.dir}/psk", "")}
        for kind, (creds, more) in kinds.items():
            for program, io in ((self.mine, self.peer_io), (PEER["qemu-nbd"], self.our_io), (self.mine, self.our_io)):
                with self.subTest(kind=kind, server=program):
                    server, path = self.serve(program, "-t", "-e", "5", "-f", "raw", "--object", f"{creds},endpoint=server", "--tls-creds", "t", "a")
                    spec = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.tls-creds=t"
                    how = ("--object", f"{creds},endpoint=client", "--image-opts")
                    if kind == "x509":
                        spec += ",file.tls-hostname=localhost"
                    io(spec, *WRITES, options=how)
                    io(spec, *READS, options=how)
                    run = self.our_io(f"nbd:unix:{path}", "read 0 512", options=("-f", "raw"), status=1)
                    self.assertIn("TLS negotiation required before option", run.err)
                    self.peer_io(f"nbd:unix:{path}", "read 0 512", options=("-f", "raw"), status=1)
                    if kind == "x509":
                        self.our_io(spec.replace("=localhost", "=elsewhere"), "read 0 512", options=how, status=1)
                    out = self.ours("--list", "-k", path, *how[:2], "--tls-creds", "t", "--tls-hostname", "localhost", program="qemu-nbd").out
                    self.assertIn("exports available: 1", out)
                    self.end(server)
        # Only a client of a certain name may connect.
        creds = kinds["x509"][0]
        for program, ios in ((self.mine, (self.our_io, self.peer_io)), (PEER["qemu-nbd"], (self.our_io,))):
            for name, status in (("CN=client", 0), ("CN=somebody", 1)):
                server, path = self.serve(program, "-t", "-e", "5", "-f", "raw", "--object", f"{creds},endpoint=server",
                                          "--object", f"authz-simple,id=a0,identity={name}", "--tls-creds", "t", "--tls-authz", "a0", "a")
                spec = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.tls-creds=t,file.tls-hostname=localhost"
                for io in ios:
                    io(spec, "read 0 512", options=("--object", f"{creds},endpoint=client", "--image-opts"), status=status)
                self.end(server)
        self.ours("--object", f"{creds},endpoint=server", "--tls-creds", "t", "--tls-authz", "nobody", "-k", self.dir / "none", "a",
                  program="qemu-nbd", status=1)
        # A server with somebody else's certificate, and a client with none.
        (pki / "server-cert.pem").rename(pki / "good-cert.pem")
        (pki / "server-key.pem").rename(pki / "good-key.pem")
        (pki / "rogue-cert.pem").rename(pki / "server-cert.pem")
        (pki / "rogue-key.pem").rename(pki / "server-key.pem")
        server, path = self.serve(self.mine, "-t", "-f", "raw", "--object", f"{kinds['x509'][0]},endpoint=server", "--tls-creds", "t", "a")
        spec = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.tls-creds=t,file.tls-hostname=localhost"
        how = ("--object", f"{kinds['x509'][0]},endpoint=client", "--image-opts")
        self.assertIn("NOT trusted", self.our_io(spec, "read 0 512", options=how, status=1).err)
        self.peer_io(spec, "read 0 512", options=how, status=1)
        self.end(server)
        (pki / "good-cert.pem").rename(pki / "server-cert.pem")
        (pki / "good-key.pem").rename(pki / "server-key.pem")
        (pki / "client-cert.pem").unlink()
        server, path = self.serve(self.mine, "-t", "-f", "raw", "--object", f"{kinds['x509'][0]},endpoint=server", "--tls-creds", "t", "a")
        spec = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.tls-creds=t,file.tls-hostname=localhost"
        self.our_io(spec, "read 0 512", options=how, status=1)
        self.end(server)

    def test_kill(self):
        """A server that is killed is an error for its clients; a client that is killed is none for others."""
        self.ours("create", "-f", "raw", "a", "10M")
        server, path = self.serve(self.mine, "-t", "-e", "4", "-f", "raw", "a")
        uri = f"nbd+unix:///?socket={path}"
        with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "-f", "raw", uri], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as client:
            client.stdin.write("write -P 1 0 64k\n")
            client.stdin.flush()
            client.stdout.readline()
            client.stdout.readline()
            self.our_io(uri, "read -P 1 0 64k", options=("-f", "raw"))
            server.kill()
            server.wait()
            client.stdin.write("read 0 64k\nquit\n")
            client.stdin.flush()
            self.assertIn("read failed: Input/output error", client.stdout.read())
        self.assertEqual(client.returncode, 1)
        os.unlink(path)
        server, path = self.serve(self.mine, "-t", "-f", "raw", "a")
        with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "-f", "raw", f"nbd:unix:{path}"], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL) as client:
            time.sleep(0.1)
            client.kill()
        self.our_io(f"nbd:unix:{path}", "read -P 1 0 64k", options=("-f", "raw"))
        self.end(server)

    def test_reconnect(self):
        """A server that goes and comes back: with `reconnect-delay` requests wait for it, in vain only so long."""
        self.ours("create", "-f", "raw", "a", "10M")
        self.our_io("a", "write -P 1 0 10M", options=("-f", "raw"))
        for n, program in enumerate((self.mine, PEER["qemu-nbd"])):
            if not program:
                continue
            for delay, status in ((20, 0), (1, 1)):
                with self.subTest(program=program, delay=delay):
                    server, path = self.serve(program, "-t", "-f", "raw", "a")
                    spec = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.reconnect-delay={delay}"
                    with subprocess.Popen([self.dir / ".qemu-io" / "qemu-io", "--image-opts", spec], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, text=True, env=dict(os.environ, LYRE_AIO=AIO_MODES[n])) as client:
                        client.stdin.write("read -P 1 0 64k\n")
                        client.stdin.flush()
                        client.stdout.readline()
                        client.stdout.readline()
                        server.kill()
                        server.wait()
                        os.unlink(path)
                        client.stdin.write("aio_write -P 2 0 5M\naio_read -P 1 6M 64k\naio_flush\n")
                        client.stdin.flush()
                        time.sleep(0.3 if status == 0 else 1.5)
                        again = subprocess.Popen([program, "-k", path, "-t", "-f", "raw", "a"], cwd=self.dir, stderr=subprocess.DEVNULL)
                        self.servers.append(again)
                        # What comes some time later finds the new server in any case.
                        client.stdin.write("sleep 1500\nread -P 1 7M 64k\nquit\n")
                        client.stdin.flush()
                        out = client.stdout.read()
                        self.assertIn("read 65536/65536 bytes at offset 7340032", out)
                        self.assertEqual("wrote 5242880/5242880 bytes at offset 0" in out, status == 0, out)
                        self.assertEqual("Input/output error" in out, status == 1, out)
                    self.assertEqual(client.returncode, 0)
                    again.terminate()
                    again.wait()
                    if status == 0:
                        self.our_io("a", "read -P 2 0 5M", "write -P 1 0 5M", options=("-f", "raw"))
        spec = "driver=raw,file.driver=nbd,file.server.type=fd,file.server.str=0,file.reconnect-delay=1"
        self.our_io(spec, options=("--image-opts",), status=1)

    def test_open_timeout(self):
        self.ours("create", "-f", "raw", "a", "1M")
        path = self.dir / "late"
        spec = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.open-timeout="
        start = time.monotonic()
        self.our_io(spec + "1", "read 0 512", options=("--image-opts",), status=1)
        self.assertGreater(time.monotonic() - start, 0.9)
        late = subprocess.Popen(["sh", "-c", 'sleep 0.7; exec "$0" -k "$1" -f raw a', self.mine, path], cwd=self.dir)
        self.servers.append(late)
        self.our_io(spec + "20", "read -P 0 0 512", options=("--image-opts",))

    def extended_client(self, path, *options):
        """A client with extended headers, as the specification has them: a socket, ready for commands."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(path)
        self.assertEqual(s.recv(18), b"NBDMAGICIHAVEOPT\0\3")
        s.sendall(struct.pack(">I", 3))
        for number, data in options:
            s.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data)
            kind = None
            while kind != 1:
                _, _, kind, length = struct.unpack(">QIII", s.recv(20, socket.MSG_WAITALL))
                self.assertLess(kind, 1 << 31)
                if length:
                    s.recv(length, socket.MSG_WAITALL)
        return s

    def test_extended_headers(self):
        """Lengths of 64 bits in one command; both of our ends use them, and other programs do as before."""
        self.ours("create", "-f", "qcow2", "a", "20G")
        self.our_io("a", "write -P 1 12G 64k")
        server, path = self.serve(self.mine, "-t", "-f", "qcow2", "a")
        context = b"base:allocation"
        name = struct.pack(">I", 0)
        queries = name + struct.pack(">II", 1, len(context)) + context
        begin = (11, b""), (10, queries), (7, name + struct.pack(">H", 0))

        def command(s, number, offset, length, data=b"", flags=0):
            """Returns the chunks of the reply: type and bytes of each."""
            s.sendall(struct.pack(">IHHQQQ", 0x21e41c71, flags | (32 if data else 0), number, 5, offset, length) + data)
            chunks, done = [], 0
            while not done:
                magic, done, kind, cookie, at, size = struct.unpack(">IHHQQQ", s.recv(32, socket.MSG_WAITALL))
                self.assertEqual((magic, cookie, at), (0x6e8a278c, 5, offset))
                chunks.append((kind, s.recv(size, socket.MSG_WAITALL) if size else b""))
            return chunks

        error = lambda number: [(0x8001, struct.pack(">IH", number, 0))]
        with self.extended_client(path, *begin) as s:
            self.assertEqual(command(s, 7, 0, 20 << 30), [(6, struct.pack(">IIQQQQQQ", 1, 3, 12 << 30, 3, 65536, 0, (8 << 30) - 65536, 3))])
            self.assertEqual(command(s, 1, 5 << 30, 4, b"data"), [(0, b"")])
            self.assertEqual(command(s, 0, 5 << 30, 6), [(1, struct.pack(">Q", 5 << 30) + b"data\0\0")])
            self.assertEqual(command(s, 3, 0, 0), [(0, b"")])
            self.assertEqual(command(s, 6, 1 << 30, 18 << 30), [(0, b"")])
            self.assertEqual(command(s, 0, 5 << 30, 6), [(1, struct.pack(">Q", 5 << 30) + bytes(6))])
            self.assertEqual(command(s, 4, 0, 20 << 30), [(0, b"")])
            self.assertEqual(command(s, 0, 0, 64 << 20), error(22))
            self.assertEqual(command(s, 6, 0, 21 << 30), error(28))
            self.assertEqual(command(s, 4, 0, 4, b"data"), error(22)) # bytes that nobody wants
            self.assertEqual(command(s, 1, 0, 4), error(22)) # a write without its bytes
            self.assertEqual(command(s, 7, 0, 20 << 30), [(6, struct.pack(">IIQQ", 1, 1, 20 << 30, 3))])
        with self.extended_client(path, *begin) as s: # a header of the other kind
            s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 3, 5, 0, 0) + bytes(4))
            self.assertEqual(s.recv(1), b"")
        sent = []
        front = str(self.dir / "front")
        with socket.socket(socket.AF_UNIX) as listener: # in between, to see what our client says
            listener.bind(front)
            listener.listen()

            def relay(source, target, keep):
                while data := source.recv(1 << 16):
                    if keep:
                        sent.append(data)
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

            def accept():
                client, _ = listener.accept()
                with client, socket.socket(socket.AF_UNIX) as back:
                    back.connect(path)
                    other = threading.Thread(target=relay, args=(back, client, False))
                    other.start()
                    relay(client, back, True)
                    other.join()

            thread = threading.Thread(target=accept)
            thread.start()
            self.our_io(f"nbd+unix:///?socket={front}", "write -P 7 6G 100k", "write -zun 0 5G", "discard 7G 12G", "flush", "read -P 7 6G 100k",
                        "read -P 0 4G 1M", options=("-f", "raw"))
            thread.join()
        words = b"".join(sent)
        self.assertEqual(words.count(struct.pack(">IHH", 0x21e41c71, 16, 6)), 1) # 5 GiB of zeros at once
        self.assertNotIn(struct.pack(">I", 0x25609513), words)
        self.end(server)
        self.our_io("a", "read -P 7 6G 100k", "read -P 0 0 1M")
        self.peers("check", "a")

    def test_odd_clients(self):
        """What no client of good manners sends: the server answers, or hangs up, and goes on."""
        self.ours("create", "-f", "raw", "a", "1M")
        server, path = self.serve(self.mine, "-t", "-f", "raw", "a")

        def talk(*messages):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(path)
                got = s.recv(18)
                self.assertEqual(got, b"NBDMAGICIHAVEOPT\0\3")
                try:
                    for m in messages:
                        s.sendall(m)
                    s.shutdown(socket.SHUT_WR)
                    got = b""
                    while piece := s.recv(65536):
                        got += piece
                except ConnectionError:
                    pass
                return got

        def option(number, data=b"", length=None):
            return b"IHAVEOPT" + struct.pack(">II", number, len(data) if length is None else length) + data

        def request(command, offset, length, flags=0):
            return struct.pack(">IHHQQI", 0x25609513, flags, command, 7, offset, length)

        hello = struct.pack(">I", 3)
        self.assertEqual(talk(struct.pack(">I", 0xff)), b"")
        self.assertEqual(talk(hello, b"x" * 16), b"")
        self.assertEqual(talk(hello, option(1, length=1 << 31)), b"")
        self.assertIn(struct.pack(">III", 99, 0x80000001, 18), talk(hello, option(99)))
        self.assertIn(struct.pack(">II", 7, 0x80000003), talk(hello, option(7, struct.pack(">I", 5000))))
        self.assertIn(struct.pack(">II", 10, 0x80000003), talk(hello, option(8), option(10, struct.pack(">III", 0, 5, 9))))
        begin = hello + option(1)
        simple = lambda error: struct.pack(">IIQ", 0x67446698, error, 7)
        self.assertEqual(talk(begin, request(0, 1 << 20, 1), request(2, 0, 0))[10:], simple(22))
        self.assertEqual(talk(begin, request(1, (1 << 64) - 1, 1), b"x", request(2, 0, 0))[10:], simple(28))
        self.assertEqual(talk(begin, request(77, 0, 0), request(2, 0, 0))[10:], simple(22))
        self.assertEqual(talk(begin, request(7, 0, 10), request(2, 0, 0))[10:], simple(22))
        self.assertEqual(talk(begin, request(0, 0, 1 << 31))[10:], b"")
        self.assertEqual(talk(begin, request(1, 0, 100), b"short")[10:], b"")
        self.our_io(f"nbd:unix:{path}", "read -P 0 0 1M", options=("-f", "raw"))
        self.end(server)


if __name__ == "__main__":
    tap.run_unittests()
