/* Copies that survive a bad address. Memory of the guest may vanish at any moment (another thread
 * unmaps it, a file under a mapping shrinks), so looking first does not help: the copy runs, and the
 * handler of SIGSEGV and SIGBUS recognises the copy's code and makes it return early. */
#ifndef LYRE_BASE_GUARD_H
#define LYRE_BASE_GUARD_H

#include "base/types.h"

/* Copy `len` bytes; returns how many at the end were not copied (0: all done). 1, 2, 4, 8 and 16 bytes are copied by one
 * access each to `from` and `to`, which others see whole as far as the host promises that for such a one. Needs a handler
 * of SIGSEGV and SIGBUS that calls guard_fixup(). */
size_t guard_copy(void *to, const void *from, size_t len);

/* Set `len` bytes to zero, in the same way. */
size_t guard_zero(void *to, size_t len);

/* Compare and exchange: if *at is *expected, make it `value`. *expected becomes what was found.
 * False: `at` cannot be read or written. */
bool guard_cas32(u32 *at, u32 *expected, u32 value);

/* Copy the string at `from`, with its terminator, to `to`; returns its length without it. -1: a
 * byte could not be read; -2: it does not fit in `size` bytes. */
ptrdiff_t guard_string(char *to, size_t size, const char *from);

/* For the handler: if the signal came from one of the copies above, change the context so that the
 * copy returns early, and return true. Safe in signal handlers. */
bool guard_fixup(void *ucontext);

/* Install handlers for SIGSEGV and SIGBUS that do nothing but this, for programs that have no
 * handlers of their own (unit tests, tools). */
void guard_install(void);

#endif
