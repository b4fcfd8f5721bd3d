"""Debian's packages by apt, without touching the system's own: what fetch-debian and build-debian share."""

import os
import re
import subprocess
import time
from pathlib import Path

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LISTS_KEEP = 7 * 24 * 3600  # seconds after which package lists are fetched again


class Failure(Exception):
    """Something a person can act on; the text says what."""


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "lyrebird"


def mirror():
    """The mirror of the system's own sources, if they are Debian's; else the default one."""
    if os.environ.get("LYRE_DEBIAN_MIRROR"):
        return os.environ["LYRE_DEBIAN_MIRROR"].rstrip("/")
    texts = []
    parts = Path("/etc/apt/sources.list.d")
    for path in [Path("/etc/apt/sources.list"), *sorted(parts.glob("*.list")),
                 *sorted(parts.glob("*.sources"))]:
        try:
            texts.append(path.read_text(errors="replace"))
        except OSError:
            continue
    text = "\n".join(texts)
    one_line = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(https?://\S+/debian/?)\s+{SUITE}\s", text, re.M)
    if one_line:
        return one_line[1].rstrip("/")
    for stanza in re.split(r"\n\s*\n", text):
        uri = re.search(r"^URIs:\s*(https?://\S+/debian/?)\s*$", stanza, re.M | re.I)
        suites = re.search(r"^Suites:(.*)$", stanza, re.M | re.I)
        if uri and suites and SUITE in suites[1].split():
            return uri[1].rstrip("/")
    return "http://deb.debian.org/debian"


class Apt:
    """apt-get for one architecture, with everything that it writes in one directory. `kind` is "deb",
    or "deb-src" for source packages."""

    def __init__(self, arch, say, kind="deb"):
        self.say = say
        self.top = cache_dir() / "apt" / f"{SUITE}-{'source' if kind == 'deb-src' else arch}"
        self.archives = self.top / "cache" / "archives"
        self.lists = self.top / "state" / "lists"
        for d in (self.archives / "partial", self.lists / "partial", self.top / "etc" / "parts"):
            d.mkdir(parents=True, exist_ok=True)
        (self.top / "state" / "status").touch()
        source = f"{kind} [signed-by={KEYRING}] {mirror()} {SUITE} main\n"
        source_file = self.top / "etc" / "sources.list"
        self.stale = not source_file.exists() or source_file.read_text() != source
        source_file.write_text(source)
        config = self.top / "etc" / "apt.conf"
        config.write_text("\n".join([
            f'APT::Architecture "{arch}";', f'APT::Architectures {{ "{arch}"; }};',
            'APT::Install-Recommends "false";', 'APT::Sandbox::User "root";',
            f'Dir::State "{self.top}/state";', f'Dir::State::status "{self.top}/state/status";',
            f'Dir::Cache "{self.top}/cache";', f'Dir::Etc::sourcelist "{source_file}";',
            'Dir::Etc::sourceparts "-";', 'Dir::Etc::main "-";', 'Dir::Etc::preferences "-";',
            'Dir::Etc::preferencesparts "-";', f'Dir::Etc::parts "{self.top}/etc/parts";',
            'Dir::Cache::pkgcache "";', 'Dir::Cache::srcpkgcache "";',
            'Acquire::Languages "none";', 'Acquire::Retries "2";', *self.system_network(), ""]))
        self.env = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C.UTF-8",
                    "DEBIAN_FRONTEND": "noninteractive"}

    @staticmethod
    def system_network():
        """How the system's apt reaches the network: proxies and what goes with them."""
        dump = subprocess.run(["apt-config", "dump", "Acquire"], text=True, capture_output=True,
                              check=False).stdout
        wanted = re.compile(r"Acquire::(https?::|Check-|ForceIP)")
        return [x for x in dump.splitlines() if wanted.match(x)]

    def get(self, *args, cwd=None):
        run = subprocess.run(["apt-get", "-q", "-y", *args], env=self.env, cwd=cwd, text=True,
                             errors="replace", stdin=subprocess.DEVNULL, capture_output=True)
        if run.returncode != 0:
            errors = [x[3:] for x in run.stderr.splitlines() if x.startswith("E: ")]
            raise Failure("; ".join(errors[:2]) or f"apt-get {args[0]} failed")
        return run.stdout

    def update(self, must=True):
        self.say("fetching package lists")
        try:
            self.get("-o", "APT::Update::Error-Mode=any", "update")
            (self.top / "updated").touch()
        except Failure as e:
            if must:
                raise Failure(f"no package lists: {e}") from e
            self.say(f"the old package lists will do: {e}")

    def fresh_lists(self):
        updated = self.top / "updated"
        if self.stale or not updated.exists():
            self.update()
        elif time.time() - updated.stat().st_mtime > LISTS_KEEP:
            self.update(must=False)
