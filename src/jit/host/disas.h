/* Host code as text, for `-d out_asm`: by Capstone, if its library is installed. Not part of static
 * programs, which load no libraries: there host_disas_open is NULL. */
#ifndef LYRE_JIT_HOST_DISAS_H
#define LYRE_JIT_HOST_DISAS_H

#include "jit/host/host.h"

struct host_disas;

/* NULL when there is no such library; `e` says which package has it. */
struct host_disas *host_disas_open(const struct host *host, struct err *e) WEAK;
void host_disas_close(struct host_disas *d) WEAK;

/* The instruction at `code`, which runs at `at`. Returns its length; 0: it is none. */
size_t host_disas_insn(struct host_disas *d, const u8 *code, size_t len, u64 at, char *text,
                       size_t size) WEAK;

#endif
