/* The least machine that bare programs run on: memory at 0x40000000, a console at 0x09000000 (what is stored there is
 * a character, as with a PL011), PSCI by HVC. The outputs of the timers are the CPUs' interrupt lines: the virtual
 * one's IRQ, the physical one's FIQ. */
#ifndef LYRE_TESTS_ISA_AARCH64_BOARD_H
#define LYRE_TESTS_ISA_AARCH64_BOARD_H

#include "accel/cpus.h"
#include "mem/mem.h"

enum { BOARD_RAM = 0x40000000, BOARD_CONSOLE = 0x09000000 };

struct board;

/* engine: of which kind, beside what a machine needs. NULL with a message. */
struct board *board_new(const char *model, unsigned cpus, const struct engine_opts *engine, struct err *e);
void board_free(struct board *b);

struct cpus *board_cpus(struct board *b);
struct mem_space *board_memory(struct board *b);

/* Load an ELF file to where its segments say; returns its entry. */
bool board_load(struct board *b, const char *path, u64 *entry, struct err *e);

/* Run CPU 0 from `entry` until the program turns the machine off, or for so many seconds. False: it did not. */
bool board_run(struct board *b, u64 entry, unsigned seconds);

/* What the program has printed; ended by a zero. */
const char *board_output(const struct board *b);

#endif
