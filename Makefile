# A thin front for Meson. `make help` lists the targets.
BUILD ?= build

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD)

# libFuzzer needs clang and its runtime (Debian: clang, libclang-rt-14-dev). FUZZ_SECONDS for each.
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_FLAGS = -g -O1 -std=gnu17 -D_GNU_SOURCE -Isrc -fsanitize=fuzzer,address,undefined

$(BUILD)/fuzz/fuzz_elf: tests/fuzz/fuzz_elf.c src/base/elf.c src/base/err.c src/base/mem.c src/base/log.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -o $@ $^

fuzz: $(BUILD)/fuzz/fuzz_elf
	@mkdir -p $(BUILD)/fuzz/corpus-elf
	@cp -n /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 /bin/true $(BUILD)/fuzz/corpus-elf/ 2>/dev/null || true
	$(BUILD)/fuzz/fuzz_elf -max_total_time=$(FUZZ_SECONDS) -max_len=300000 $(BUILD)/fuzz/corpus-elf

.PHONY: all fuzz
