"""Where the emulator under test, the guest's programs and scratch space are."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

# Guests whose programs Debian has, with its names for them.
DEBIAN = {"aarch64": "arm64"}
ROOT = Path(__file__).resolve().parent.parent.parent


def build_dir():
    return Path(os.environ.get("LYRE_BUILD") or ROOT / "build").resolve()


def command(guest):
    """The command that runs programs of `guest`, with qemu-user's options: (argv, None), or
    (None, why there is none). EMULATOR names it; else it is lyre, called by its compatible name."""
    if os.environ.get("EMULATOR"):
        argv = shlex.split(os.environ["EMULATOR"])
        found = shutil.which(argv[0])
        return ([found, *argv[1:]], None) if found else (None, f"no {argv[0]}, which EMULATOR asks for")
    argv = command_named(f"qemu-{guest}")
    return (argv, None) if argv else (None, f"lyre is not built; EMULATOR=qemu-{guest} tests the tests")


def command_named(name):
    """lyre under the name of another program, as an argv; None when it is not built."""
    lyre = Path(os.environ.get("LYRE") or build_dir() / "lyre").absolute()
    if not lyre.exists():
        return None
    if lyre.name == name:
        return [str(lyre)]
    link = build_dir() / "programs" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or os.readlink(link) != str(lyre):
        fresh = link.with_name(f"{name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(lyre)
        fresh.replace(link)
    return [str(link)]


def is_peer(argv):
    """Whether the emulator is qemu itself, which has bugs of its own."""
    return Path(argv[0]).resolve().name.startswith("qemu-")


def debian_root(arch):
    """Where scripts/fetch-debian puts programs of Debian: (directory, None) or (None, what to do)."""
    named = os.environ.get(f"LYRE_DEBIAN_{arch.upper()}")
    if named:
        where = Path(named)
    else:
        run = subprocess.run([ROOT / "scripts/fetch-debian", "--where", arch], text=True,
                             capture_output=True, check=True)
        where = Path(run.stdout.strip())
    if not (where / ".lyrebird-packages.json").exists() and not named:
        return None, f"no {arch} programs from Debian; scripts/fetch-debian {arch} default PACKAGE... gets them"
    return where, None


def guest_root(guest):
    """The system with a guest's programs: (directory, None) or (None, what to do)."""
    if guest in DEBIAN:
        return debian_root(DEBIAN[guest])
    run = subprocess.run([ROOT / "scripts/build-debian", "--where", guest], text=True, capture_output=True,
                         check=True)
    where = Path(run.stdout.strip())
    if not (where / ".lyrebird-packages.json").exists():
        return None, f"no {guest} programs; scripts/build-debian {guest} builds them"
    return where, None


def time_factor():
    return float(os.environ.get("LYRE_TIMEOUT_FACTOR", 4))
