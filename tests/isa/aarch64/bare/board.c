#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/elf.h"
#include "base/mem.h"
#include "event/vclock.h"

#define RAM_BYTES (256ull << 20)
#define OUTPUT    (1u << 20)

struct board {
    struct mem_range *root;
    struct mem_space *memory;
    struct engine *engine;
    struct vclock *clock;
    struct cpus *cpus;
    pthread_mutex_t lock;
    pthread_cond_t off_now;
    bool off;
    char *output;
    size_t printed;
};

static enum mem_result console_read(void *opaque, u64 offset, unsigned size, u64 *value)
{
    *value = 0;
    return MEM_OK;
}

static enum mem_result console_write(void *opaque, u64 offset, unsigned size, u64 value)
{
    struct board *b = opaque;
    pthread_mutex_lock(&b->lock);
    if (!offset && b->printed < OUTPUT - 1)
        b->output[b->printed++] = (char)value;
    pthread_mutex_unlock(&b->lock);
    return MEM_OK;
}

static const struct mem_io console = {.read = console_read, .write = console_write, .max = 4};

static void turned_off(void *opaque)
{
    struct board *b = opaque;
    pthread_mutex_lock(&b->lock);
    b->off = true;
    pthread_cond_signal(&b->off_now);
    pthread_mutex_unlock(&b->lock);
}

static bool make_memory(struct board *b, struct err *e)
{
    struct mem_range *ram = mem_ram_new("ram", RAM_BYTES, e);
    b->root = mem_container_new("system", 0);
    if (!ram)
        return false;
    mem_range_add(b->root, BOARD_RAM, 0, ram);
    mem_range_add(b->root, BOARD_CONSOLE, 0, mem_io_new("console", 0x1000, &console, b));
    b->memory = mem_space_new(b->root);
    return true;
}

struct board *board_new(const char *model, unsigned cpus, const struct engine_opts *engine, struct err *e)
{
    struct board *b = xcalloc(1, sizeof(*b));
    struct engine_opts opts = *engine;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->off_now, NULL);
    b->output = xcalloc(1, OUTPUT);
    if (make_memory(b, e)) {
        opts.memory = b->memory;
        b->clock = vclock_new(VCLOCK_VIRTUAL, e);
        b->engine = b->clock ? engine_new(&isa_aarch64, &opts, e) : NULL;
    }
    struct cpus_opts of = {.count = cpus, .model = model, .clock = b->clock, .conduit = CPU_CONDUIT_HVC,
                           .system_off = turned_off, .system_reset = turned_off, .opaque = b};
    b->cpus = b->engine ? cpus_new(b->engine, &of, e) : NULL;
    if (!b->cpus) {
        board_free(b);
        return NULL;
    }
    for (unsigned i = 0; i < cpus; i++) {
        struct cpu_port *p = cpus_port(b->cpus, i);
        p->output[CPU_TIMER_VIRTUAL] = cpu_port_wire(p, CPU_LINE_IRQ);
        p->output[CPU_TIMER_PHYSICAL] = cpu_port_wire(p, CPU_LINE_FIQ);
    }
    return b;
}

void board_free(struct board *b)
{
    cpus_free(b->cpus);
    if (b->engine)
        engine_free(b->engine);
    vclock_free(b->clock);
    if (b->memory)
        mem_space_free(b->memory);
    mem_tree_free(b->root);
    free(b->output);
    free(b);
}

struct cpus *board_cpus(struct board *b)
{
    return b->cpus;
}

struct mem_space *board_memory(struct board *b)
{
    return b->memory;
}

static bool load_segments(struct board *b, const struct elf *f, const struct elf_source *src, struct err *e)
{
    for (unsigned i = 0; i < f->segments; i++) {
        const struct elf_segment *s = &f->segment[i];
        if (s->type != PT_LOAD)
            continue;
        u8 *data = xmalloc(s->filesz + 1);
        bool ok = src->read(src->opaque, s->offset, data, s->filesz) == s->filesz &&
                  mem_load(b->memory, s->paddr, data, s->filesz) == MEM_OK;
        free(data);
        if (!ok)
            return err_set(e, EIO, "a segment cannot be loaded");
    }
    return true;
}

bool board_load(struct board *b, const char *path, u64 *entry, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, errno, "%s: %s", path, strerror(errno));
    struct elf_source src = elf_source_fd(&fd);
    struct elf f;
    bool ok = elf_read(&f, &src, e);
    if (ok) {
        *entry = f.entry;
        ok = load_segments(b, &f, &src, e);
        elf_free(&f);
    }
    close(fd);
    return ok;
}

bool board_run(struct board *b, u64 entry, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    cpus_power_on(b->cpus, 0, entry, 0);
    cpus_resume(b->cpus);
    pthread_mutex_lock(&b->lock);
    while (!b->off) {
        if (pthread_cond_timedwait(&b->off_now, &b->lock, &until))
            break;
    }
    bool off = b->off;
    pthread_mutex_unlock(&b->lock);
    cpus_pause(b->cpus);
    return off;
}

const char *board_output(const struct board *b)
{
    return b->output;
}
