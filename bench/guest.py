"""The system that bench/machines boots: Debian's programs in an initial file system, and the workloads.

The kernel's command line says what is done: `bench=NAME,NAME...`. Each workload is between a line `begin NAME` and a line
`end NAME RESULT` on the console, with a rest on both sides so that who reads them can look at the machine. Then the guest
switches itself off. By hand:

  python3 bench/guest.py DIRECTORY      writes small, full, disk and start there
  qemu-system-aarch64 -M virt -cpu cortex-a57 -m 512 -nographic -kernel LINUX -initrd DIRECTORY/full \\
      -append "console=ttyAMA0 quiet rdinit=/init bench=python,sqlite"
"""

import random
import re
import struct
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "tests")]

import inputs  # noqa: E402
from common import Failure  # noqa: E402
from lib import cpio, emulator  # noqa: E402

INSTALLER = "usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64/linux"
MODULES = ["virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover", "net_failover", "virtio_net"]
APPLETS = ["sh", "mount", "insmod", "poweroff", "sed", "tr", "sleep", "seq", "cut", "head", "cat", "gzip", "gunzip", "sha256sum",
           "nc", "ip", "sync", "true"]
PROGRAMS = ["dd", "sort", "gawk", "sqlite3", "python3.11"]  # Debian's, not busybox's
PYTHON_LEAVES = {"test", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "distutils", "__pycache__"}
DISK_MIB = 256

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in %s; do [ ! -e /lib/$m.ko ] || insmod /lib/$m.ko; done
[ ! -e /sys/class/net/eth0 ] || { ip address add 10.0.2.15/24 dev eth0; ip link set eth0 up; }
echo ready
for name in $(sed -n 's/.*bench=\\([^ ]*\\).*/\\1/p' /proc/cmdline | tr , ' '); do
    sleep 0.2
    echo begin $name
    sleep 0.1
    echo end $name $(/bench/$name 2>&1 | tr '\\n' ' ')
done
poweroff -f
"""

WORKLOADS = {
    "rest": "sleep 1",
    "idle": "sleep 20",
    "loop": "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done; echo $i",
    "sha256": "head -c 24000000 /dev/zero | sha256sum",
    "awk": "for n in 1 2 3; do gawk -f /in/awk /in/text; done; LC_ALL=C sort /in/text | sha256sum",
    "python": "python3.11 -S /in/python",
    "sqlite": "sqlite3 :memory: < /in/sql | sha256sum",
    "gzip": "for n in 1 2; do gzip < /in/text > /packed; done; gunzip < /packed | sha256sum",
    "fork": "i=0; while [ $i -lt 300 ]; do /bin/busybox true; i=$((i + 1)); done; echo $i",
    "syscalls": "dd if=/dev/zero of=/dev/null bs=1 count=100000 2>&1 | cut -d' ' -f1",
    "blk-read": f"dd if=/dev/vda of=/dev/null bs=1M count={DISK_MIB} iflag=direct 2>&1 | cut -d' ' -f1",
    "blk-write": f"dd if=/dev/zero of=/dev/vda bs=1M count={DISK_MIB} oflag=direct conv=fsync 2>&1 | cut -d' ' -f1",
    "net-in": "nc 10.0.2.2 $(sed 's/.*in=\\([0-9]*\\).*/\\1/' /proc/cmdline) < /dev/null | sha256sum",
    "net-out": "dd if=/dev/zero bs=64k count=256 2> /dev/null | nc 10.0.2.2 $(sed 's/.*out=\\([0-9]*\\).*/\\1/' /proc/cmdline)",
    "parallel": "for n in 1 2 3 4 5 6 7 8; do (seq 60000 | sort -rn | head -n 30000 | sha256sum; i=0; "
                "while [ $i -lt 8000 ]; do i=$((i + 1)); done; echo $i) & done | sort; wait",
}

# An Image of arm64 (Documentation/arm64/booting.rst) that writes "!" to the first PL011 of the board and switches off.
START = [0x14000010, 0, 0, 0, 0x1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x644D5241, 0,
         0xD2A12000,  # movz x0, #0x0900, lsl #16
         0x52800421,  # movz w1, #'!'
         0x39000001,  # strb w1, [x0]
         0x52B08000,  # movz w0, #0x8400, lsl #16
         0x72800100,  # movk w0, #8: SYSTEM_OFF
         0xD4000002,  # hvc #0
         0x14000000]  # b .


def system_root():
    root, missing = emulator.debian_root("arm64")
    if missing:
        raise Failure(missing)
    return root


def kernel():
    path = system_root() / INSTALLER
    if not path.exists():
        raise Failure("no debian-installer-12-netboot-arm64; make check fetches it")
    return path


def needed(root, path, found):
    """Add to `found` the libraries that a program asks for, and what they ask for."""
    out = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", out):
        if name not in found:
            found[name] = next(p for d in ("", "aarch64-linux-gnu/") if (p := root / "usr/lib" / d / name).exists())
            needed(root, found[name], found)


def programs(root):
    """Debian's programs with their libraries, as cpio.archive() takes them."""
    libraries = {"ld-linux-aarch64.so.1": root / "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"}
    for name in PROGRAMS:
        needed(root, root / "usr/bin" / name, libraries)
    files = [(f"bin/{x}", (root / "usr/bin" / x).read_bytes()) for x in PROGRAMS]
    return files + [(f"lib/{name}", path.read_bytes()) for name, path in sorted(libraries.items())]


def python_library(root):
    top = root / "usr/lib/python3.11"
    files = [("usr", None), ("usr/lib", None), ("usr/lib/python3.11", None)]
    for path in sorted(top.rglob("*")):
        name = path.relative_to(root)
        if PYTHON_LEAVES.isdisjoint(name.parts) and not any(x.startswith("config-") for x in name.parts):
            if path.is_dir() and not path.is_symlink():
                files.append((str(name), None))
            elif path.is_file():
                files.append((str(name), path.read_bytes()))
    return files


def small_system(root):
    """busybox, init and the workloads: enough for a boot."""
    files = [(x, None) for x in ("bin", "dev", "lib", "proc", "sys", "bench", "in")]
    files += [("bin/busybox", (root / "bin/busybox").read_bytes()), ("init", (INIT % " ".join(MODULES)).encode())]
    files += [(f"bin/{x}", "busybox") for x in APPLETS]
    return files + [(f"bench/{name}", f"#!/bin/sh\n{text}\n".encode()) for name, text in WORKLOADS.items()]


def full_system(root, folder):
    tree = next((root / "lib/modules").iterdir())
    modules = [(f"lib/{x}.ko", next(tree.rglob(f"{x}.ko")).read_bytes()) for x in MODULES]
    made = inputs.write(folder / "input")
    files = [(f"in/{x}", Path(made[x]).read_bytes()) for x in ("text", "awk", "python", "sql")]
    return small_system(root) + modules + programs(root) + python_library(root) + files


def write(folder):
    """Make in `folder` what a run needs: both systems, the disk, the least of kernels."""
    root = system_root()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small").write_bytes(cpio.archive(small_system(root)))
    (folder / "full").write_bytes(cpio.archive(full_system(root, folder)))
    (folder / "start").write_bytes(struct.pack(f"<{len(START)}I", *START))
    with open(folder / "disk", "wb") as f:
        block = random.Random(1).randbytes(1 << 20)
        for _ in range(DISK_MIB):
            f.write(block)


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]))
    except IndexError:
        sys.exit("guest.py: where to?")
    except (Failure, OSError) as e:
        sys.exit(f"guest.py: {e}")
