/* Host signals of translated code, for processes that leave them to the engine. */
#include <signal.h>

#include "accel/cpus.h"
#include "base/current.h"
#include "base/guard.h"
#include "base/log.h"

/* It happens again where it came from, and ends the process. */
static void crash(int sig, const siginfo_t *info)
{
    log_warn("internal error: signal %d, address %p; please report this\n", sig, info->si_addr);
    signal(sig, SIG_DFL);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    const struct cpu_port *port = current_get();
    if (!guard_fixup(context) && !(port && engine_host_signal(port->cpu, sig, info, context)))
        crash(sig, info);
}

void cpus_take_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, NULL);
}
