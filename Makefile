# Short commands over Meson; `make help` lists them. Everything that is built or written lies below
# $(BUILD).
BUILD ?= build
PREFIX ?= /usr/local
TIME ?= 60
WHAT ?= run

MESON_OPTIONS ?=
export PYTHONDONTWRITEBYTECODE = 1
NINJA = ninja -C $(BUILD)

# The programs and their modules alone where they exist, so that editing src/ does not wait for tests to compile.
all: $(BUILD)/build.ninja
	@targets=$$($(NINJA) -t targets all | sed -n 's/^\(lyre\|lyre-static\|lyre-[a-z]*\.so\):.*/\1/p'); \
	$(NINJA) --quiet $${targets:-all}

$(BUILD)/build.ninja:
	@command -v meson >/dev/null && command -v ninja >/dev/null || \
	    { echo "make: meson and ninja are needed: scripts/setup build" >&2; exit 1; }
	meson setup -Dprefix='$(PREFIX)' $(MESON_OPTIONS) $(BUILD)

check:
	@scripts/setup build check fetch || echo "check: going on without; tests that need more will skip" >&2
	@scripts/run-tests --build $(BUILD)

check-full:
	@scripts/setup build check fetch fuzz qtests || echo "check: going on without; tests that need more will skip" >&2
	@scripts/run-tests --build $(BUILD) --full

asan ubsan tsan:
	@scripts/run-tests --build $(BUILD) --only $@

bench: all
	@scripts/setup bench
	@bench/$(WHAT) --build $(BUILD) $(BENCH)

demo:
	@scripts/demo --build $(BUILD)

fuzz:
	@scripts/setup build fuzz
	@scripts/fuzz --build $(BUILD) --time $(TIME) $(TARGET) $(FORMAT)

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD)

help:
	@printf '%s\n' \
	'make            build/lyre and build/lyre-static: release, with symbols' \
	'make check      unit, IR, differential and user-mode tests, with gcc and clang' \
	'make check-full the same, the long tests, and the sanitizer builds' \
	'make bench      side by side with qemu-aarch64 and native; BENCH="--only calls --runs 3"' \
	'                WHAT=machines: whole machines; WHAT=images: disk images' \
	'make demo       fetch arm64 programs from Debian and run them' \
	'make fuzz       every fuzz target for TIME=60 seconds; TARGET=name (or FORMAT=qcow2) for one' \
	'make asan       build/asan: unit tests and user programs under AddressSanitizer; also ubsan, tsan' \
	'make install    below PREFIX=/usr/local (DESTDIR= is honoured)' \
	'make clean      remove build/' \
	'' \
	'BUILD=dir       build somewhere else      MESON_OPTIONS=... for the first meson setup'

.PHONY: all check check-full asan ubsan tsan bench demo fuzz install clean help
