/* What the test programs share: short checks that print a line each, so that the output is the
 * expectation. Nothing that varies between runs may be printed. */
#ifndef PROG_H
#define PROG_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* "name: yes" or "name: NO". */
static inline void say(const char *name, int ok)
{
    printf("%s: %s\n", name, ok ? "yes" : "NO");
    fflush(stdout);
}

/* "name: <errno name>" of a call that failed, or its result. */
static inline void result(const char *name, long r)
{
    if (r < 0)
        printf("%s: %s\n", name, strerrorname_np(errno));
    else
        printf("%s: %ld\n", name, r);
    fflush(stdout);
}

static inline void die(const char *what)
{
    printf("%s failed: %s\n", what, strerror(errno));
    exit(99);
}

static inline void msleep(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

#endif
