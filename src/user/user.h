/* User mode: one program of another architecture as a process of the host. A struct process owns
 * its host process: it sets signal handlers, and there can be only one. */
#ifndef LYRE_USER_USER_H
#define LYRE_USER_USER_H

#include "accel/engine.h"
#include "base/err.h"
#include "base/types.h"

struct process;

/* How a program ended, or one of its threads. */
struct user_end {
    enum {
        USER_END_EXIT,   /* exit_group(code) */
        USER_END_THREAD, /* exit(code) of the main thread while others go on */
        USER_END_SIGNAL, /* killed by signal `code`, which is to be raised again on the host */
    } kind;
    int code;
};

struct user_opts {
    const struct isa *isa; /* NULL: as the program's header says */
    const char *path;      /* of the program, as given */
    char **argv, **envp;   /* the guest's, ended by NULL; argv[0] may differ from `path` */
    const char *sysroot;   /* -L: NULL or where absolute paths are looked up first */
    u64 stack_size;        /* bytes; 0: as RLIMIT_STACK says */
    const char *cpu;       /* model; NULL: the default */
    const char *release;   /* uname release; NULL: the host's */
    bool compatible;       /* the caller prints texts of qemu-<isa>; kept for its `end` */
    bool strace;
    bool seeded;           /* AT_RANDOM's bytes and what else is random come from `seed` */
    u64 seed;
    struct engine_opts engine; /* fetch and opaque are filled in */

    /* argv of a lyre that runs another program with the same options, up to the program's path;
     * ended by NULL. The caller keeps it alive. */
    char *const *reexec;

    /* End the host process; does not return. Called on any thread. `vfork_child`: the process
     * shares its memory with its parent, so nothing but _exit and the like is allowed. */
    void (*end)(struct process *p, struct user_end how, bool vfork_child);
};

/* Why a program could not be started, apart from the text: */
enum user_fail {
    USER_FAIL_NOT_FOUND = 1, /* there is no such file */
    USER_FAIL_NOT_RUNNABLE,  /* it is none that could be run */
    USER_FAIL_IMAGE,         /* it is an ELF file, but not for us, damaged, or without its loader */
    USER_FAIL_SETUP,         /* the options ask for what is not there (a CPU model) */
};

/* Load the program; nothing of it has run yet. NULL: `e` says why and e->code is an errno value;
 * *fail tells a missing program from one that cannot be run. `opts` must outlive the process. */
struct process *process_new(const struct user_opts *opts, enum user_fail *fail, struct err *e);

/* Run the main thread until it ends. */
struct user_end process_run(struct process *p);

/* The engine, for its counters, and what the process was started with. */
struct engine *process_engine(struct process *p);
const struct user_opts *process_opts(const struct process *p);

/* For `end`: does signal `sig` dump core when nothing handles it; and die by it. */
bool user_signal_dumps_core(int sig);
NORETURN void user_die_by_signal(int sig);

/* Give all memory back, for tests and leak checkers; the program must have ended. */
void process_free(struct process *p);

#endif
