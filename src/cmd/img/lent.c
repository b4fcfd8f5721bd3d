#include "cmd/img/lent.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

/* A page that cannot be read (the disk fails, or somebody has made the file shorter) is replaced by zeros, so that
 * the reader goes on and asks afterwards. Other bus errors are what they were before. */

static struct {
    struct sigaction before;
    volatile sig_atomic_t broken;
    uintptr_t start, end; /* all that was lent lies here */
    uintptr_t page;       /* bytes */
} lent;

static void bus_error(int sig, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr & ~(lent.page - 1);
    bool ours = info->si_code > 0 && at >= lent.start && at < lent.end;
    if (!ours || mmap((void *)at, lent.page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        sigaction(SIGBUS, &lent.before, NULL); /* it comes again */
    else
        lent.broken = 1;
}

bool lent_begin(void)
{
    lent.start = UINTPTR_MAX;
    lent.end = 0;
    lent.broken = 0;
    lent.page = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction act = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO};
    return !sigaction(SIGBUS, &act, &lent.before);
}

void lent_end(void)
{
    sigaction(SIGBUS, &lent.before, NULL);
}

const u8 *lent_memory(struct node *n, u64 offset, u64 len)
{
    const u8 *p = offset % lent.page ? NULL : node_memory(n, offset, len);
    if (p) {
        lent.start = MIN(lent.start, (uintptr_t)p);
        lent.end = MAX(lent.end, (uintptr_t)p + len);
    }
    return p;
}

bool lent_broken(void)
{
    return lent.broken;
}
