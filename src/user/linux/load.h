/* Loading programs: what kind of file it is, its image, its interpreter, its first stack. */
#ifndef LYRE_USER_LINUX_LOAD_H
#define LYRE_USER_LINUX_LOAD_H

#include "base/elf.h"
#include "user/process.h"

/* A file that is to be run, after `#!` lines have been followed. */
struct program {
    int fd;          /* open for reading; -1: none */
    struct elf elf;
    char *path;      /* of the file that `fd` is, as the guest knows it */
    char **argv;     /* with interpreters in front; ended by NULL */
    int argc;
};

/* Find the program at `path`, following `#!`. False: *fail and `e` are set and nothing needs to be
 * freed. */
bool program_open(struct process *p, const char *path, char *const *argv, struct program *prog,
                  enum user_fail *fail, struct err *e);
void program_close(struct program *prog);

/* Map the program and its interpreter, make the stack, set pc and sp of the main thread. */
bool program_load(struct process *p, struct thread *t, struct program *prog, char *const *envp,
                  struct err *e);

/* What execve needs to know about a file. */
enum exec_kind {
    EXEC_GUEST,  /* an ELF file for this guest, or a script whose interpreter is one */
    EXEC_NATIVE, /* the host's kernel shall deal with it */
};

/* Look at the open file `fd`. 0 and *kind, or -errno. */
s64 exec_classify(struct process *p, int fd, enum exec_kind *kind);

#endif
