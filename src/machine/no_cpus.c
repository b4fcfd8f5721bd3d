/* Until there are CPUs for machines, they are for looking at and for tests. */
#include <errno.h>

#include "machine/impl.h"

bool machine_make_cpus(struct machine *m, struct err *e)
{
    return err_set(e, ENOSYS, "there is no CPU for machines yet, only -accel qtest");
}

void machine_free_cpus(struct machine *m)
{
}

void machine_resume_cpus(struct machine *m)
{
}

void machine_pause_cpus(struct machine *m)
{
}

void machine_restart_cpus(struct machine *m, u64 entry, u64 arg)
{
}
