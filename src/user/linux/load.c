/* From a file to a process that can run. */
#include "user/linux/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/mem.h"
#include "user/linux/abi.h"
#include "user/linux/vdso.h"

#define MAX_SCRIPTS 5 /* as the kernel */
#define LINE_MAX_   256

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* ---- `#!` ---- */

/* Parse the first line of a script; `line` is changed. False: there is no interpreter in it. */
static bool parse_script(char *line, size_t len, char **interp, char **arg)
{
    line[len] = 0;
    line[strcspn(line, "\n")] = 0;
    char *s = line + 2, *end = s + strlen(s);
    while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    s += strspn(s, " \t");
    if (!*s)
        return false;
    *interp = s;
    s += strcspn(s, " \t");
    *arg = NULL;
    if (*s) {
        *s++ = 0;
        s += strspn(s, " \t");
        *arg = *s ? s : NULL;
    }
    return true;
}

static ssize_t read_head(int fd, char *line)
{
    ssize_t n;
    do
        n = pread(fd, line, LINE_MAX_ - 1, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Put [interp, arg, path] in the place of argv[0]. */
static void prepend(struct program *prog, const char *interp, const char *arg, const char *path)
{
    int extra = arg ? 2 : 1;
    char **argv = xcalloc((size_t)(prog->argc + extra) + 2, sizeof(*argv));
    int n = 0;
    argv[n++] = xstrdup(interp);
    if (arg)
        argv[n++] = xstrdup(arg);
    argv[n++] = xstrdup(path);
    for (int i = 1; i < prog->argc; i++)
        argv[n++] = prog->argv[i];
    if (prog->argc)
        free(prog->argv[0]);
    free(prog->argv);
    prog->argv = argv;
    prog->argc = n;
}

/* ---- finding the file ---- */

static bool check_file(const char *path, int fd, enum user_fail *fail, struct err *e)
{
    struct stat st;
    *fail = USER_FAIL_NOT_RUNNABLE;
    if (fstat(fd, &st) < 0)
        return err_set(e, errno, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(e, EISDIR, "%s: it is a directory", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, EACCES, "%s: it is not a regular file", path);
    if (!(st.st_mode & 0111))
        return err_set(e, EACCES, "%s: Permission denied (it is not executable; chmod +x it)",
                       path);
    return true;
}

static bool check_machine(struct process *p, const char *path, const struct elf *f, struct err *e)
{
    char name[32];
    if (isa_by_elf(f->machine, f->class, f->big_endian) == p->isa)
        return true;
    return err_set(e, ENOEXEC,
                   "%s: Invalid ELF image for this architecture: a program for %s%s%s, not for %s",
                   path, f->class == ELFCLASS32 && f->machine == EM_X86_64 ? "x32 " : "",
                   elf_machine_name(f->machine, name, sizeof(name)),
                   f->big_endian ? " (big-endian)" : "", p->isa->name);
}

static bool other_machine(const char *path, u16 machine, struct err *e)
{
    char name[32], guests[64] = "";
    for (unsigned i = 0; isa_list[i]; i++) {
        size_t n = strlen(guests);
        snprintf(guests + n, sizeof(guests) - n, "%s%s", i ? ", " : "", isa_list[i]->name);
    }
    return err_set(e, ENOEXEC, "%s: a program for %s; lyre runs those for %s", path,
                   elf_machine_name(machine, name, sizeof(name)), guests);
}

static bool check_type(const char *path, const struct elf *f, struct err *e)
{
    if (f->type == ET_REL)
        return err_set(e, ENOEXEC, "%s: an object file, not a program; link it first", path);
    if (f->type != ET_EXEC && f->type != ET_DYN)
        return err_set(e, ENOEXEC, "%s: an ELF file of type %u, not a program", path, f->type);
    if (f->load_start == f->load_end)
        return err_set(e, ENOEXEC, "%s: bad ELF file: nothing in it is to be loaded", path);
    return true;
}

/* One step: open `path`, and read its header or its `#!` line. `script`: a line was found and argv
 * changed; *path is the next file. */
static bool open_step(struct process *p, char **path, struct program *prog, bool *script,
                      enum user_fail *fail, struct err *e)
{
    char buf[PATH_BUF], line[LINE_MAX_ + 1], *interp, *arg;
    const char *host = path_map(p, *path, buf, true);
    prog->fd = open(host, O_RDONLY | O_CLOEXEC);
    if (prog->fd < 0) {
        *fail = errno == ENOENT || errno == ENOTDIR ? USER_FAIL_NOT_FOUND : USER_FAIL_NOT_RUNNABLE;
        return err_set(e, errno, "%s: %s", *path, strerror(errno));
    }
    if (!check_file(*path, prog->fd, fail, e))
        return false;
    ssize_t n = read_head(prog->fd, line);
    if (n >= 2 && line[0] == '#' && line[1] == '!') {
        if (!parse_script(line, (size_t)n, &interp, &arg))
            return err_set(e, ENOEXEC, "%s: its first line names no interpreter", *path);
        prepend(prog, interp, arg, *path);
        free(*path);
        *path = xstrdup(interp);
        close(prog->fd);
        prog->fd = -1;
        *script = true;
        return true;
    }
    if (n < 4 || !elf_magic(line, (size_t)n))
        return err_set(e, ENOEXEC, "%s: neither a program (ELF) nor a script with a #! line", *path);
    struct elf_source src = elf_source_fd(&prog->fd);
    *fail = USER_FAIL_IMAGE;
    if (!elf_read(&prog->elf, &src, e))
        return err_prefix(e, "%s", *path);
    /* The architecture is only known now if the caller left it to the file. */
    if (!p->isa)
        p->isa = isa_by_elf(prog->elf.machine, prog->elf.class, prog->elf.big_endian);
    if (!p->isa)
        return other_machine(*path, prog->elf.machine, e);
    return check_machine(p, *path, &prog->elf, e) && check_type(*path, &prog->elf, e);
}

bool program_open(struct process *p, const char *path, char *const *argv, struct program *prog,
                  enum user_fail *fail, struct err *e)
{
    memset(prog, 0, sizeof(*prog));
    prog->fd = -1;
    while (argv[prog->argc])
        prog->argc++;
    prog->argv = xcalloc((size_t)prog->argc + 1, sizeof(*prog->argv));
    for (int i = 0; i < prog->argc; i++)
        prog->argv[i] = xstrdup(argv[i]);
    prog->path = xstrdup(path);
    bool ok = true, script = false;
    for (int depth = 0;; depth++) {
        script = false;
        ok = open_step(p, &prog->path, prog, &script, fail, e);
        if (ok && script && depth == MAX_SCRIPTS)
            ok = err_set(e, ELOOP, "%s: scripts whose interpreters are scripts, too many deep", path);
        if (!ok || !script)
            break;
    }
    if (!ok && strcmp(prog->path, path)) {
        err_prefix(e, "%s: its interpreter cannot be run", path);
        if (!p->sysroot && e)
            snprintf(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
                     " (-L DIR says where the program's system is)");
    }
    if (!ok)
        program_close(prog);
    return ok;
}

void program_close(struct program *prog)
{
    if (prog->fd >= 0)
        close(prog->fd);
    prog->fd = -1;
    elf_free(&prog->elf);
    for (int i = 0; i < prog->argc; i++)
        free(prog->argv[i]);
    free(prog->argv);
    free(prog->path);
    prog->argv = NULL;
    prog->path = NULL;
    prog->argc = 0;
}

/* ---- images ---- */

struct image {
    u64 bias;  /* added to the file's addresses */
    u64 entry, phdr, end;
};

static u32 elf_prot(u32 flags, bool guarded)
{
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
           (flags & PF_X ? PROT_EXEC : 0) | (flags & PF_X && guarded ? MAP_GUARDED : 0);
}

#define PROPERTY_BYTES 1024 /* as much of the note as the kernel reads */

/* Does a note with properties, in the guest's words of 32 bits, have one of this type with this bit? */
static bool note_says(const u32 *w, size_t words, u32 type, u32 bit)
{
    if (words < 4 || w[0] != 4 || w[2] != NT_GNU_PROPERTY_TYPE_0 || w[3] != 0x00554e47 /* "GNU" */)
        return false;
    size_t end = MIN(words, 4 + (size_t)w[1] / 4), step;
    for (size_t i = 4; i + 3 <= end; i += step) { /* type, size, value; padded to 8 bytes */
        step = 2 + ALIGN_UP((size_t)w[i + 1], 8) / 4;
        if (w[i] == type)
            return w[i + 1] == 4 && w[i + 2] & bit;
    }
    return false;
}

/* Is the code of this file to be guarded? */
static bool wants_guards(struct process *p, const struct elf *f, int fd)
{
    const struct abi *abi = p->abi;
    u64 cap[2];
    u32 note[PROPERTY_BYTES / 4];
    p->isa->hwcap(p->main->cpu, cap);
    for (unsigned i = 0; i < f->segments && cap[1] & abi->hwcap2_guarded; i++) {
        const struct elf_segment *s = &f->segment[i];
        if (s->type != PT_GNU_PROPERTY || s->filesz > sizeof(note))
            continue;
        ssize_t n = pread(fd, note, s->filesz, (off_t)s->offset);
        return n > 0 && note_says(note, (size_t)n / 4, abi->property_guarded.type, abi->property_guarded.bit);
    }
    return false;
}

static u64 image_align(const struct elf *f)
{
    u64 align = SPACE_PAGE;
    for (unsigned i = 0; i < f->segments; i++) {
        if (f->segment[i].type == PT_LOAD && f->segment[i].align > align)
            align = f->segment[i].align;
    }
    return MIN(align, 1ull << 30);
}

#define BREAK_ROOM (32ull << 30)

/* Find room for the image: bias, or false. hint: where programs go; 0 for loaders. */
static bool image_place(struct space *sp, const char *path, const struct elf *f, u64 hint,
                        u64 *bias, struct err *e)
{
    u64 start = ALIGN_DOWN(f->load_start, SPACE_PAGE);
    u64 size = ALIGN_UP(f->load_end, SPACE_PAGE) - start, align = image_align(f);
    const u32 flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (size > sp->top)
        return err_set(e, ENOMEM, "%s: its image of %llu GiB does not fit", path,
                       (unsigned long long)(size >> 30));
    if (f->type == ET_EXEC) {
        s64 r = space_mmap(sp, start, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0, 0);
        if (r < 0 && start < sp->min)
            return err_set(e, ENOMEM,
                           "%s: it wants to be at %#llx, below vm.mmap_min_addr (%#llx); see "
                           "sysctl vm.mmap_min_addr",
                           path, (unsigned long long)start, (unsigned long long)sp->min);
        if (r < 0)
            return err_set(e, ENOMEM, "%s: its place at %#llx (%llu KiB) is not free", path,
                           (unsigned long long)start, (unsigned long long)(size >> 10));
        space_munmap(sp, start, size);
        *bias = 0;
        return true;
    }
    s64 at = -EEXIST;
    if (hint)
        at = space_mmap(sp, hint, size + align, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0, 0);
    if (at < 0) /* a program whose place is taken still needs room for its break */
        at = space_mmap(sp, hint ? sp->mmap_top - BREAK_ROOM : 0, size + align, PROT_NONE, flags, -1, 0, 0);
    if (at < 0)
        return err_set(e, ENOMEM, "%s: no room for its image of %llu KiB", path,
                       (unsigned long long)(size >> 10));
    space_munmap(sp, (u64)at, size + align);
    *bias = ALIGN_UP((u64)at, align) - ALIGN_DOWN(start, align);
    return true;
}

static bool map_segment(struct space *sp, const char *path, const struct elf_segment *s, int fd,
                        u64 bias, bool guarded, struct err *e)
{
    u64 at = bias + s->vaddr, start = ALIGN_DOWN(at, SPACE_PAGE), skew = at - start;
    u64 file_end = at + s->filesz, end = at + s->memsz;
    u64 bss = ALIGN_UP(file_end, SPACE_PAGE);
    u32 prot = elf_prot(s->flags, guarded);
    s64 r = 0;
    if (!s->memsz)
        return true;
    if ((s->offset - s->vaddr) & (SPACE_PAGE - 1) && s->filesz)
        return err_set(e, ENOEXEC, "%s: bad ELF file: a segment at %#llx is not aligned in the file",
                       path, (unsigned long long)s->vaddr);
    if (s->filesz)
        r = space_mmap(sp, start, s->filesz + skew, prot, MAP_PRIVATE | MAP_FIXED, fd,
                       s->offset - skew, 0);
    else
        bss = start;
    if (r >= 0 && end > bss)
        r = space_mmap(sp, bss, end - bss, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
                       0);
    if (r < 0)
        return err_set(e, (int)-r, "%s: cannot map its segment at %#llx: %s", path,
                       (unsigned long long)s->vaddr, strerror((int)-r));
    /* The rest of the last page is bss and what programs take from behind it: all zero. Where it is
     * read-only the kernel lets it be, too. */
    if (s->filesz && end > file_end && prot & PROT_WRITE)
        guard_zero((void *)(uintptr_t)file_end, bss - file_end);
    return true;
}

static bool image_map(struct process *p, const char *path, const struct elf *f, int fd, u64 hint,
                      struct image *img, struct err *e)
{
    struct space *sp = &p->space;
    bool guarded = !f->interp && wants_guards(p, f, fd); /* with one, the interpreter sees to it */
    if (!image_place(sp, path, f, hint, &img->bias, e))
        return false;
    img->entry = img->bias + f->entry;
    img->end = img->bias + f->load_end;
    img->phdr = 0;
    for (unsigned i = 0; i < f->segments; i++) {
        const struct elf_segment *s = &f->segment[i];
        if (s->type != PT_LOAD)
            continue;
        if (!map_segment(sp, path, s, fd, img->bias, guarded, e))
            return false;
        if (f->phoff >= s->offset && f->phoff - s->offset < s->filesz)
            img->phdr = img->bias + s->vaddr + (f->phoff - s->offset);
    }
    return true;
}

static bool open_interp(struct process *p, const char *path, const char *interp, int *fd,
                        struct elf *f, struct err *e)
{
    char buf[PATH_BUF];
    enum user_fail ignored;
    const char *host = path_map(p, interp, buf, true);
    *fd = open(host, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 && p->sysroot)
        return err_set(e, errno, "Could not open '%s': %s (the loader of %s; -L %s %s)", interp,
                       strerror(errno), path, p->sysroot,
                       access(p->sysroot, X_OK) ? "cannot be opened, either" : "does not have it");
    if (*fd < 0)
        return err_set(e, errno,
                       "Could not open '%s': %s (the loader of %s; -L DIR says where the "
                       "program's system is: -L /usr/%s-linux-gnu after \"apt install "
                       "libc6-%s-cross\", or an unpacked Debian %s)",
                       interp, strerror(errno), path, p->abi->machine, p->abi->debian,
                       p->abi->debian);
    struct elf_source src = elf_source_fd(fd);
    memset(f, 0, sizeof(*f));
    if (!check_file(interp, *fd, &ignored, e))
        return err_prefix(e, "%s", path);
    if (!elf_read(f, &src, e))
        return err_prefix(e, "%s: its loader %s", path, interp);
    return check_machine(p, interp, f, e) && check_type(interp, f, e);
}

static bool load_interp(struct process *p, const char *path, const struct elf *f,
                        struct image *img, struct err *e)
{
    struct elf interp;
    int fd;
    bool ok = open_interp(p, path, f->interp, &fd, &interp, e);
    if (ok)
        ok = image_map(p, f->interp, &interp, fd, 0, img, e);
    if (fd >= 0) {
        elf_free(&interp);
        close(fd);
    }
    return ok;
}

/* ---- the first stack ---- */

struct stack {
    struct space *space;
    u64 low, sp;
    bool overflow;
    unsigned word;  /* bytes of a guest's word */
    bool swap;
};

static u64 push_bytes(struct stack *s, const void *data, size_t len)
{
    if (s->sp - s->low < len || !space_write(s->space, s->sp - len, data, len)) {
        s->overflow = true;
        return 0;
    }
    return s->sp -= len;
}

static void push_word(struct stack *s, u64 v)
{
    u8 raw[8];
    for (unsigned i = 0; i < s->word; i++)
        raw[s->swap ? s->word - 1 - i : i] = (u8)(v >> (8 * i));
    push_bytes(s, raw, s->word);
}

static u64 stack_bytes(const struct process *p)
{
    u64 size = p->opts->stack_size;
    if (!size && p->limit_stack.rlim_cur != RLIM_INFINITY)
        size = p->limit_stack.rlim_cur;
    if (!size)
        size = 8ull << 20;
    return ALIGN_UP(MIN(MAX(size, 128ull << 10), 64ull << 30), SPACE_PAGE);
}

#define STACK_GUARD (1ull << 20)

static bool make_stack(struct process *p, bool exec, struct err *e)
{
    struct space *sp = &p->space;
    u64 size = stack_bytes(p), end = sp->top - SPACE_PAGE;
    s64 r = space_mmap(sp, end - size, size, PROT_READ | PROT_WRITE | (exec ? PROT_EXEC : 0),
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK |
                           MAP_FIXED_NOREPLACE,
                       -1, 0, MAP_IS_STACK);
    if (r < 0)
        return err_set(e, (int)-r, "no room for a stack of %llu KiB", (unsigned long long)size >> 10);
    sp->stack_start = end - size;
    sp->stack_end = end;
    sp->mmap_top = sp->stack_start - STACK_GUARD;
    return true;
}

static void push_auxv(struct process *p, struct stack *s, const struct elf *f,
                      const struct image *img, u64 base, const u64 text[3])
{
    u64 cap[2] = {0};
    p->isa->hwcap(p->main->cpu, cap);
    const u64 aux[] = {
        AT_PHDR, img->phdr,
        AT_PHENT, f->phentsize,
        AT_PHNUM, f->segments,
        AT_PAGESZ, SPACE_PAGE,
        p->vdso ? AT_SYSINFO_EHDR : AT_IGNORE, p->vdso,
        AT_BASE, base,
        AT_FLAGS, 0,
        AT_ENTRY, img->entry,
        AT_UID, getuid(),
        AT_EUID, geteuid(),
        AT_GID, getgid(),
        AT_EGID, getegid(),
        AT_HWCAP, cap[0],
        AT_HWCAP2, cap[1],
        AT_CLKTCK, (u64)sysconf(_SC_CLK_TCK),
        AT_RANDOM, text[0],
        p->abi->platform ? AT_PLATFORM : AT_IGNORE, text[1],
        AT_EXECFN, text[2],
        AT_SECURE, getauxval(AT_SECURE),
        AT_MINSIGSTKSZ, p->abi->min_sigstack,
        AT_NULL, 0,
    };
    p->auxv_words = ARRAY_LEN(aux);
    p->auxv = xmalloc(sizeof(aux));
    memcpy(p->auxv, aux, sizeof(aux));
    for (size_t i = ARRAY_LEN(aux); i-- > 0;)
        push_word(s, aux[i]);
}

static size_t count(char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

/* Copy strings so that the first lies lowest; their addresses go to `at`. */
static void push_strings(struct stack *s, char *const *list, size_t n, u64 *at)
{
    for (size_t i = n; i-- > 0;)
        at[i] = push_bytes(s, list[i], strlen(list[i]) + 1);
}

static void push_vector(struct stack *s, const u64 *at, size_t n)
{
    push_word(s, 0);
    for (size_t i = n; i-- > 0;)
        push_word(s, at[i]);
}

static bool fill_stack(struct process *p, const struct program *prog, char *const *envp,
                       const struct image *img, u64 base, struct err *e)
{
    struct stack s = {.space = &p->space, .low = p->space.stack_start, .sp = p->space.stack_end,
                      .word = p->word, .swap = prog->elf.big_endian};
    size_t argc = (size_t)prog->argc, envc = count(envp);
    u64 *argv_at = xcalloc(argc + 1, 8), *envp_at = xcalloc(envc + 1, 8), text[3];
    u8 random[16];
    process_random(p, random, sizeof(random));
    push_word(&s, 0);
    text[2] = push_bytes(&s, p->opts->path, strlen(p->opts->path) + 1);
    p->env_end = s.sp;
    push_strings(&s, envp, envc, envp_at);
    p->env_start = p->arg_end = s.sp;
    push_strings(&s, prog->argv, argc, argv_at);
    p->arg_start = s.sp;
    text[1] = p->abi->platform ? push_bytes(&s, p->abi->platform, strlen(p->abi->platform) + 1) : 0;
    s.sp = ALIGN_DOWN(s.sp, 16);
    text[0] = push_bytes(&s, random, sizeof(random));
    /* What follows must leave sp aligned to 16. */
    size_t words = 1 + argc + 1 + envc + 1;
    if (words * s.word & 15)
        s.sp -= 16 - (words * s.word & 15);
    push_auxv(p, &s, &prog->elf, img, base, text);
    push_vector(&s, envp_at, envc);
    push_vector(&s, argv_at, argc);
    push_word(&s, argc);
    p->stack_top = s.sp;
    free(argv_at);
    free(envp_at);
    if (s.overflow || s.sp - s.low < (s.low + stack_bytes(p) - s.low) / 4)
        return err_set(e, E2BIG, "arguments and environment do not fit on its stack; see -s");
    vcpu_set(p->main->cpu, p->regs.sp, s.sp);
    return true;
}

bool program_load(struct process *p, struct thread *t, struct program *prog, char *const *envp,
                  struct err *e)
{
    struct elf *f = &prog->elf;
    struct image img, interp = {0};
    bool exec_stack = false;
    for (unsigned i = 0; i < f->segments; i++) {
        if (f->segment[i].type == PT_GNU_STACK)
            exec_stack = f->segment[i].flags & PF_X;
    }
    if (!make_stack(p, exec_stack, e) ||
        !image_map(p, prog->path, f, prog->fd, p->abi->pie_base, &img, e))
        return false;
    p->space.brk_start = p->space.brk = ALIGN_UP(img.end, SPACE_PAGE);
    if (f->interp && !load_interp(p, prog->path, f, &interp, e))
        return false;
    if (!vdso_make(p, e) ||
        !fill_stack(p, prog, envp, &img, f->interp ? interp.bias : 0, e))
        return false;
    if (p->abi->new_keys)
        p->abi->new_keys(t, 0);
    vcpu_set_pc(t->cpu, f->interp ? interp.entry : img.entry);
    return true;
}

/* ---- execve's questions ---- */

/* Would lyre run it, started again with the same options? These may fix the guest. */
static bool is_ours(const struct process *p, const struct elf *f)
{
    const struct isa *isa = isa_by_elf(f->machine, f->class, f->big_endian);
    return isa && (isa == p->isa || !p->opts->isa);
}

s64 exec_classify(struct process *p, int fd, enum exec_kind *kind)
{
    char line[LINE_MAX_ + 1], buf[PATH_BUF], *interp, *arg;
    s64 r = 0;
    int owned = -1;
    *kind = EXEC_NATIVE;
    for (int depth = 0; depth <= MAX_SCRIPTS; depth++) {
        ssize_t n = read_head(fd, line);
        if (n >= 2 && line[0] == '#' && line[1] == '!' &&
            parse_script(line, (size_t)n, &interp, &arg)) {
            int next = open(path_map(p, interp, buf, true), O_RDONLY | O_CLOEXEC);
            if (next < 0)
                r = -errno;
            if (owned >= 0)
                close(owned);
            if (r)
                return r;
            fd = owned = next;
            continue;
        }
        struct elf f;
        struct elf_source src = elf_source_fd(&fd);
        if (n >= 4 && elf_magic(line, (size_t)n) && elf_read(&f, &src, NULL)) {
            if (is_ours(p, &f)) {
                *kind = EXEC_GUEST;
                if (f.interp && access(path_map(p, f.interp, buf, true), R_OK) < 0)
                    r = -errno;
            }
            elf_free(&f);
        }
        break;
    }
    if (owned >= 0)
        close(owned);
    return r;
}
