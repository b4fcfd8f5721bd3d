"""A disk with Debian arm64 on it, made once and kept in the cache: ${XDG_CACHE_HOME:-~/.cache}/lyrebird/machines.

  python3 tests/lib/debian_disk.py           make it, if it is not there, and print where it is
  python3 tests/lib/debian_disk.py --fresh   make it again

debootstrap fetches and unpacks; the packages are then configured where they belong, by the machine itself: it boots
Debian's kernel with the first stage's tree as its disk. What comes out is DIRECTORY/{disk,vmlinuz,initrd,key}: a raw image
with an ext4 file system, its kernel and initial file system, and the key for ssh as root, whose password is PASSWORD."""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent.parent.parent / "scripts")]

from debian import SUITE, cache_dir, mirror  # noqa: E402
from lib import cpio, emulator  # noqa: E402

LAYOUT = "1"  # of what is made; one of another layout is made anew
PASSWORD = "lyrebird"
DISK_SIZE = "3G"
SECONDS = 3600  # that configuring may take on a slow host
TOOLS = ["debootstrap", "mke2fs", "debugfs", "e2fsck", "ssh-keygen"]
PACKAGES = ["systemd-sysv", "udev", "dbus", "login", "kmod", "initramfs-tools", "linux-image-arm64", "zstd", "e2fsprogs",
            "iproute2", "procps", "openssh-server", "curl", "stress-ng"]
# What stands between the kernel and the disk: on mmio as on PCI, in the order in which they are loaded.
MODULES = ["virtio_mmio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "crc16",
           "crc32c_generic", "libcrc32c", "mbcache", "jbd2", "ext4"]

INIT = """#!/bin/sh
for m in %s; do [ ! -e /lib/$m.ko ] || insmod /lib/$m.ko; done
mount -t devtmpfs dev /dev
mount -t ext4 /dev/vda /root && exec switch_root /root /second-stage
poweroff -f
"""

SECOND_STAGE = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive INITRD=No
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
/debootstrap/debootstrap --second-stage &&
update-initramfs -c -k all && # once, and not for each package that asks for it
echo "root:%s" | chpasswd &&
systemctl enable systemd-networkd &&
systemctl mask systemd-networkd-wait-online &&
rm -f /second-stage /var/cache/apt/archives/*.deb &&
touch /configured
cd /
umount /tmp
sync
mount -o remount,ro /
mount -t proc proc /proc # debootstrap may have taken it away
echo o > /proc/sysrq-trigger
sleep 60
"""

FILES = {
    "etc/initramfs-tools/conf.d/fast": "COMPRESSLEVEL=1\n",
    "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
    "etc/hostname": "lyrebird\n",
    "etc/hosts": "127.0.0.1 localhost lyrebird\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/systemd/network/wired.network": "[Match]\nName=e*\n\n[Network]\nDHCP=yes\n",
}


class Failure(Exception):
    pass


def run(*command, good=(0,)):
    r = subprocess.run([str(x) for x in command], text=True, capture_output=True, errors="replace")
    if r.returncode not in good:
        raise Failure(f"{command[0]} failed: {(r.stdout + r.stderr)[-2000:]}")
    return r.stdout


def where():
    return cache_dir() / "machines" / f"{SUITE}-arm64"


def find():
    """The directory with a disk that is complete, or None."""
    stamp = where() / "layout"
    return where() if stamp.exists() and stamp.read_text() == LAYOUT else None


def fill(root, key):
    """The files of the first stage that are no package's."""
    for name in ("proc", "sys"):  # in containers debootstrap makes links to the host's
        if (root / name).is_symlink():
            (root / name).unlink()
            (root / name).mkdir()
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    script = root / "second-stage"
    script.write_text(SECOND_STAGE % PASSWORD)
    script.chmod(0o755)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, parents=True)
    shutil.copy(f"{key}.pub", ssh / "authorized_keys")


def unpack_kernel(root, to):
    """The kernel's package, which the first stage only fetches; its file in /boot."""
    package = next((root / "var/cache/apt/archives").glob("linux-image-[0-9]*.deb"))
    run("dpkg-deb", "-x", package, to)
    return next((to / "boot").glob("vmlinuz-*"))


def installing_system(kernel, busybox):
    """An initial file system that mounts the disk and hands over to the second stage."""
    tree = kernel.parent.parent / "lib/modules"
    found = {x: next(tree.rglob(f"{x}.ko"), None) for x in MODULES}
    files = [(x, None) for x in ("bin", "dev", "lib", "root")]
    files += [("bin/busybox", busybox.read_bytes()), ("init", (INIT % " ".join(MODULES)).encode())]
    files += [(f"bin/{x}", "busybox") for x in ("sh", "mount", "insmod", "switch_root", "poweroff")]
    return cpio.archive(files + [(f"lib/{x}.ko", path.read_bytes()) for x, path in found.items() if path])


def configure(top, kernel, busybox):
    """Have the machine configure what is on its disk."""
    (top / "installing").write_bytes(installing_system(kernel, busybox))
    command = [*emulator.command_named("qemu-system-aarch64"), "-M", "virt", "-cpu", "cortex-a57", "-smp", "2", "-m", "1024",
               "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", top / "installing", "-append",
               "console=ttyAMA0 quiet panic=1", "-drive", f"file={top}/disk,format=raw,if=virtio"]
    with open(top / "log", "wb") as log:
        subprocess.run([str(x) for x in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SECONDS, check=False)
    if "configured" not in run("debugfs", "-R", "ls -p /", top / "disk"):
        raise Failure(f"the second stage has failed: {(top / 'log').read_text(errors='replace')[-2000:]}")
    run("e2fsck", "-fp", top / "disk", good=(0, 1))  # 1: programs that had been replaced while they ran are gone


def make(top, say):
    missing = [x for x in TOOLS if not shutil.which(x)]
    if missing:
        raise Failure(f"not here: {', '.join(missing)}; scripts/setup check installs them")
    if os.geteuid():
        raise Failure("debootstrap needs root")
    programs, problem = emulator.debian_root("arm64")
    if problem:
        raise Failure(problem)
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    root, archives = top / "root", cache_dir() / "debootstrap"
    archives.mkdir(exist_ok=True)
    say("fetching and unpacking the packages")
    run("debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", f"--cache-dir={archives}",
        f"--include={','.join(PACKAGES)}", SUITE, root, mirror())
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", top / "key")
    fill(root, top / "key")
    kernel = unpack_kernel(root, top / "kernel")
    shutil.copy(kernel, top / "vmlinuz")
    run("mke2fs", "-q", "-t", "ext4", "-d", root, top / "disk", DISK_SIZE)
    say("configuring them in the machine itself, which takes some minutes")
    configure(top, kernel, programs / "bin/busybox")
    run("debugfs", "-R", f"dump /boot/{kernel.name.replace('vmlinuz', 'initrd.img')} {top}/initrd", top / "disk")
    for scratch in (root, top / "kernel"):
        shutil.rmtree(scratch)
    (top / "layout").write_text(LAYOUT)


def get(fresh=False, say=lambda text: None):
    """The directory, made if need be."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with open(cache_dir() / "lock-machines", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fresh or not find():
            make(where(), say)
    return where()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true")
    try:
        print(get(parser.parse_args().fresh, lambda text: print(f"debian_disk: {text}", file=sys.stderr)))
    except (Failure, OSError, subprocess.TimeoutExpired) as e:
        print(f"debian_disk: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
