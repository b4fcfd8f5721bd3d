/* The page of code that the kernel gives to each program. */
#ifndef LYRE_USER_LINUX_VDSO_H
#define LYRE_USER_LINUX_VDSO_H

#include "user/process.h"

/* Map it; p->vdso and p->sigreturn say where. */
bool vdso_make(struct process *p, struct err *e);

#endif
