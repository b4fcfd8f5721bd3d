/* For tests that run vCPUs as user mode does: the host's signals belong to the engine first. */
#ifndef LYRE_TESTS_HOST_SIGNALS_H
#define LYRE_TESTS_HOST_SIGNALS_H

#include <signal.h>

#include "accel/engine.h"
#include "base/guard.h"

static struct vcpu *running; /* signal handlers get no argument */

static void on_signal(int sig, siginfo_t *info, void *context)
{
    if (!guard_fixup(context) && !(running && engine_host_signal(running, sig, info, context)))
        signal(sig, SIG_DFL);
}

static void catch_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    static u8 stack[1 << 16];
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, NULL);
}

#endif
