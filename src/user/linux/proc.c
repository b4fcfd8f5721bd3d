/* /proc/self: the files in which the host's kernel would describe lyre and not the guest. Each is
 * made as text when it is opened and handed out as an anonymous file. */
#include "user/linux/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "user/linux/abi.h"
#include "user/linux/path.h"

/* The host's line for a range, cut to what the guest has there. */
static void maps_piece(FILE *out, const struct map *m, u64 start, u64 end, u64 host_start,
                       u64 host_offset, const char *dev_ino_path)
{
    const char *name = "";
    int column = 0;
    char dev[32] = "00:00";
    unsigned long long ino = 0;
    int path_at = 0;
    sscanf(dev_ino_path, "%31s %llu %n", dev, &ino, &path_at);
    if (path_at)
        name = dev_ino_path + path_at;
    if (m->flags & MAP_IS_STACK)
        name = "[stack]";
    else if (m->flags & MAP_IS_HEAP)
        name = "[heap]";
    else if (m->flags & MAP_IS_VDSO)
        name = "[vdso]";
    u64 offset = ino ? host_offset + (start - host_start) : 0;
    fprintf(out, "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64 " %s %llu%n", start, end,
            m->prot & MAP_READ ? 'r' : '-', m->prot & MAP_WRITE ? 'w' : '-',
            m->prot & MAP_EXEC ? 'x' : '-', m->flags & MAP_IS_SHARED ? 's' : 'p', offset, dev, ino,
            &column);
    if (*name)
        fprintf(out, "%*s%s", MAX(1, 73 - column), "", name);
    fputc('\n', out);
}

static void write_maps(struct process *p, FILE *out)
{
    FILE *in = fopen("/proc/self/maps", "re");
    char line[8192];
    if (!in)
        return;
    pthread_mutex_lock(&p->space.lock);
    while (fgets(line, sizeof(line), in)) {
        unsigned long long start, end, offset;
        int rest = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%llx-%llx %*s %llx %n", &start, &end, &offset, &rest) != 3 || !rest)
            continue;
        const struct maptab *tab = &p->space.tab;
        for (size_t i = maptab_lower(tab, start); i < tab->count && tab->map[i].start < end; i++) {
            const struct map *m = &tab->map[i];
            maps_piece(out, m, MAX(m->start, start), MIN(m->end, end), start, offset, line + rest);
        }
    }
    pthread_mutex_unlock(&p->space.lock);
    fclose(in);
}

static void write_range(FILE *out, u64 start, u64 end)
{
    u8 buf[4096];
    while (start < end) {
        size_t n = MIN(sizeof(buf), end - start);
        if (guard_copy(buf, (const void *)(uintptr_t)start, n))
            return;
        fwrite(buf, 1, n, out);
        start += n;
    }
}

/* Most of it is true of lyre too; the stack's place is not. */
static void write_stat(struct process *p, FILE *out)
{
    char line[2048];
    FILE *in = fopen("/proc/thread-self/stat", "re");
    if (!in)
        return;
    if (fgets(line, sizeof(line), in)) {
        char *s = strrchr(line, ')');
        fwrite(line, 1, s ? (size_t)(s + 1 - line) : 0, out);
        int field = 3;
        for (char *w = s ? strtok(s + 1, " \n") : NULL; w; w = strtok(NULL, " \n"), field++) {
            if (field == 28)
                fprintf(out, " %" PRIu64, p->stack_top);
            else
                fprintf(out, " %s", w);
        }
        fputc('\n', out);
    }
    fclose(in);
}

static void write_cpuinfo(struct process *p, FILE *out)
{
    for (long i = 0, n = sysconf(_SC_NPROCESSORS_ONLN); i < n; i++)
        p->abi->cpuinfo(out, (unsigned)i, p->main->cpu);
}

static void write_auxv(struct process *p, FILE *out)
{
    for (size_t i = 0; i < p->auxv_words; i++)
        fwrite(&p->auxv[i], p->word, 1, out);
}

static void write_cmdline(struct process *p, FILE *out)
{
    write_range(out, p->arg_start, p->arg_end);
}

static void write_environ(struct process *p, FILE *out)
{
    write_range(out, p->env_start, p->env_end);
}

static const struct proc_file {
    const char *name; /* under /proc/self, or absolute */
    void (*write)(struct process *p, FILE *out);
} files[] = {
    {"maps", write_maps}, {"auxv", write_auxv}, {"cmdline", write_cmdline},
    {"environ", write_environ}, {"stat", write_stat}, {"/proc/cpuinfo", write_cpuinfo},
};

/* An anonymous file with what f->write says. */
static s64 make_file(struct process *p, const struct proc_file *f, int flags)
{
    int fd = memfd_create(f->name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
    if (!out) {
        close(fd);
        return -EMFILE;
    }
    f->write(p, out);
    fclose(out);
    lseek(fd, 0, SEEK_SET);
    if (!(flags & O_CLOEXEC))
        fcntl(fd, F_SETFD, 0);
    return fd;
}

s64 proc_open(struct thread *t, const char *path, int flags)
{
    const char *file = proc_self_file(path);
    if (!file)
        file = path;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (strcmp(files[i].name, file))
            continue;
        return (flags & O_ACCMODE) == O_RDONLY ? make_file(t->process, &files[i], flags) : -EACCES;
    }
    return 1;
}
