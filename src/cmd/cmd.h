/* The commands of the one binary. Each returns the process's exit status. */
#ifndef LYRE_CMD_CMD_H
#define LYRE_CMD_CMD_H

#include "cpu/isa.h"

#define LYRE_VERSION "0.1"

/* `lyre run ...`: args[0] is "run". `self` is lyre's own argv[0]. */
int cmd_run(const char *self, int argc, char **argv);

/* `lyre bisect ...`: find what the translator does wrong with a program (bisect.c). */
int cmd_bisect(int argc, char **argv);

/* The same as cmd_run() under the name qemu-<isa>. */
int cmd_qemu_user(const struct isa *isa, int argc, char **argv);

/* `lyre boot ...`: args[0] is "boot", and isa NULL; or the same under the name qemu-system-<isa>. */
int cmd_boot(const char *isa, int argc, char **argv);

/* `lyre img ...` (args[0] is "img"), or the same under the name qemu-img. */
int cmd_img(bool qemu, int argc, char **argv);

/* `lyre nbd ...`, or the same under the name qemu-nbd. */
int cmd_nbd(bool qemu, int argc, char **argv);

/* The image exerciser, under the name qemu-io. */
int cmd_io(int argc, char **argv);

#endif
