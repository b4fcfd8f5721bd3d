#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"
#include "fw/fdt.h"
#include "machine/impl.h"

/* ---- requests ---- */

/* Have the loop turn once more. */
static void wake(struct machine *m)
{
    if (!atomic_exchange(&m->woken, true))
        loop_post(m->loop, &m->wake);
}

void machine_request(struct machine *m, enum machine_request r)
{
    atomic_fetch_or(&m->requests, r);
    wake(m);
}

static void woken(struct loop_task *t)
{
    atomic_store(&container_of(t, struct machine, wake)->woken, false);
}

static void dev_request(void *opaque, enum dev_request r)
{
    machine_request(opaque, r == DEV_REQUEST_OFF ? MACHINE_OFF : MACHINE_GUEST_RESET);
}

static void dev_gone(void *opaque, struct dev *d)
{
    machine_device_gone(opaque, d);
}

static void dev_tell(void *opaque, const char *event, struct json *data)
{
    machine_tell(opaque, event, data);
}

/* ---- building ---- */

static bool make_memory(struct machine *m, struct err *e)
{
    const struct board *b = m->opts->board;
    u64 ram = m->opts->ram;
    m->root = mem_container_new("system", 0);
    m->memory = mem_space_new(m->root);
    if (!b->max_ram)
        return true; /* an empty board */
    if (!ram || ram > b->max_ram)
        return err_set(e, EINVAL, "machine '%s' takes up to %llu MiB of memory", b->name,
                       (unsigned long long)(b->max_ram >> 20));
    m->ram = m->ram ? m->ram : mem_ram_new(b->ram_id, ram, e);
    if (!m->ram || (m->opts->prealloc && !mem_range_populate(m->ram, e)))
        return false;
    mem_range_add(m->root, b->ram_at, 0, m->ram);
    return true;
}

static bool set_board_option(struct machine *m, const char *text, struct err *e)
{
    const struct board *b = m->opts->board;
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : strlen(text);
    for (const struct board_option *o = b->options; o && o->name; o++) {
        if (strlen(o->name) == len && !strncmp(o->name, text, len))
            return o->set(&m->setup, equals ? equals + 1 : "on", e) || err_prefix(e, "%s.%s", b->name, o->name);
    }
    return err_set(e, EINVAL, "Property '%s-machine.%.*s' not found", b->name, (int)len, text);
}

static bool make_board(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    struct chardev *serial[MACHINE_SERIALS] = {NULL};
    for (size_t i = 0; i < o->board_option_count; i++) {
        if (!set_board_option(m, o->board_options[i], e))
            return false;
    }
    for (unsigned i = 0; i < MACHINE_SERIALS; i++) {
        if (o->serial[i] && !(serial[i] = machine_chardev(m, o->serial[i], e)))
            return false;
    }
    return board_make(&m->setup, &m->env, m->root, serial, MACHINE_SERIALS, e);
}

/* From the seconds of what the RTC follows to what it shows. */
static s64 rtc_offset(const struct machine *m)
{
    const struct machine_opts *o = m->opts;
    if (!o->rtc_dated && o->rtc_clock == VCLOCK_HOST)
        return o->rtc_zone;
    s64 first = o->rtc_dated ? o->rtc_epoch : time(NULL) + o->rtc_zone;
    return first - (s64)(vclock_now(m->rtc) / 1000000000);
}

static void fill_env(struct machine *m)
{
    m->env = (struct dev_env){.memory = m->memory, .clock = m->clock, .loop = m->loop,
                              .cpus = m->opts->cpus, .ram = m->opts->ram, .request = dev_request, .gone = dev_gone, .tell = dev_tell,
                              .rtc = m->rtc, .rtc_offset = rtc_offset(m), .rtc_zone = m->opts->rtc_zone, .globals = m->opts->globals,
                              .global_count = m->opts->global_count, .opaque = m};
}

static bool check_cpus(const struct machine_opts *o, struct err *e)
{
    return !o->board->max_cpus || (o->cpus && o->cpus <= o->board->max_cpus) ||
           err_set(e, EINVAL, "Invalid SMP CPUs %u. The max CPUs supported by machine '%s' is %u", o->cpus,
                   o->board->name, o->board->max_cpus);
}

static bool make_clocks(struct machine *m, struct err *e)
{
    enum vclock_kind rtc = m->opts->rtc_clock;
    m->clock = vclock_new(m->opts->qtest && m->opts->without_cpus ? VCLOCK_BY_HAND : VCLOCK_VIRTUAL, e);
    m->rtc = m->clock && rtc != VCLOCK_VIRTUAL ? vclock_new(rtc, e) : m->clock;
    return m->rtc;
}

static bool make_all(struct machine *m, struct err *e)
{
    m->graph = block_graph_new(BLOCK_AIO_URING, e);
    if (!m->graph)
        m->graph = block_graph_new(BLOCK_AIO_THREADS, e);
    m->loop = m->graph ? block_graph_loop(m->graph) : NULL;
    if (!m->loop || !make_clocks(m, e) || !check_cpus(m->opts, e) || !machine_make_objects(m, e) || !make_memory(m, e) ||
        !machine_make_chardevs(m, e) || !machine_make_drives(m, e) || !machine_make_netdevs(m, e))
        return false;
    fill_env(m);
    if (!machine_make_firmware(m, e) || !make_board(m, e) || !machine_fill_fw_cfg(m, e) || !machine_make_devices(m, e) ||
        !machine_add_boot_order(m, e))
        return false;
    mem_space_update(m->memory);
    if (m->opts->qtest) {
        struct chardev *c = machine_chardev(m, m->opts->qtest, e);
        m->qtest = c ? qtest_new(m, c, e) : NULL;
        if (!m->qtest)
            return false;
    }
    if (machine_has_cpus(m) && !machine_make_cpus(m, e))
        return false;
    board_wire(&m->setup);
    return true;
}

bool machine_has_cpus(const struct machine *m)
{
    return m->opts->board->max_cpus && !m->opts->without_cpus;
}

struct machine *machine_new(const struct machine_opts *o, struct err *e)
{
    struct machine *m = xcalloc(1, sizeof(*m));
    m->opts = o;
    m->wake.run = woken;
    m->setup.board = o->board;
    m->setup.variants = o->board->variants;
    m->setup.cpus = o->cpus;
    m->setup.ram = o->ram;
    m->stopped = o->stopped;
    m->state = MACHINE_PRELAUNCH;
    m->setup.cpu_model = o->cpu ? o->cpu : o->board->default_cpu;
    if (make_all(m, e))
        return m;
    machine_free(m, NULL);
    return NULL;
}

bool machine_free(struct machine *m, struct err *e)
{
    if (!m)
        return true;
    machine_free_cpus(m);
    qtest_free(m->qtest);
    bool good = machine_free_drives(m, e);
    for (struct dev *d = m->setup.devs, *next; d; d = next) {
        next = d->next;
        dev_free(d);
    }
    machine_free_devices(m);
    machine_free_netdevs(m);
    machine_free_chardevs(m);
    if (m->loop)
        loop_turn(m->loop, false); /* what has been freed is let go of */
    mem_space_free(m->memory);
    mem_tree_free(m->root);
    fw_tree_free(m->setup.tree);
    if (m->rtc != m->clock)
        vclock_free(m->rtc);
    vclock_free(m->clock);
    block_graph_free(m->graph);
    free(m->loads);
    free(m);
    return good;
}

/* ---- the device tree ---- */

static bool make_tree(struct machine *m, struct err *e)
{
    fw_tree_free(m->setup.tree);
    m->setup.tree = fw_tree_new();
    if (getrandom(m->setup.random, sizeof(m->setup.random), 0) != sizeof(m->setup.random))
        return err_set(e, errno, "the host gives no random numbers: %s", strerror(errno));
    board_describe(&m->setup);
    return true;
}

u8 *machine_fdt(struct machine *m, size_t *len, struct err *e)
{
    return make_tree(m, e) ? fdt_flatten(m->setup.tree, 0, len, e) : NULL;
}

/* ---- running ---- */

/* Memory as a kernel finds it, and the first CPU at its entry. */
static bool load(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    bool direct = o->kernel && !m->rom; /* firmware starts kernels itself */
    bool looked_at = o->stopped || o->qtest; /* who does that may put something there */
    if (!o->kernel && !o->loader_count && !m->rom && !looked_at)
        return err_set(e, EINVAL, "which kernel? say -kernel FILE, or -bios FILE for firmware");
    struct fw_boot b = {.kernel = o->kernel, .initrd = o->initrd, .dtb = o->dtb, .append = o->append,
                        .ram = o->board->ram_at, .ram_size = o->ram};
    m->load_count = 0;
    if (!make_tree(m, e))
        return false;
    b.tree = m->setup.tree;
    if (!(direct ? o->board->boot : fw_boot_none)(&b, m->memory, e))
        return false;
    for (unsigned i = 0; i < b.loads; i++)
        VEC_PUSH(m->loads, m->load_count, m->load_cap) = b.load[i];
    if (!machine_load_more(m, &b.entry, e))
        return false;
    machine_restart_cpus(m, b.entry, b.arg);
    return true;
}

/* From the beginning: power-on, or a reset. */
static bool start(struct machine *m, struct err *e)
{
    machine_pause_cpus(m);
    mem_space_reclaim(m->memory);
    for (struct dev *d = m->setup.devs; d; d = d->next)
        dev_reset(d);
    if (machine_has_cpus(m) && !load(m, e))
        return false;
    if (!m->stopped)
        machine_resume_cpus(m);
    return true;
}

void machine_listen(struct machine *m, struct machine_listener *l)
{
    l->next = m->listeners;
    m->listeners = l;
}

void machine_do(struct machine *m, struct machine_work *w)
{
    w->next = m->work;
    m->work = w;
    wake(m);
}

static void do_work(struct machine *m)
{
    for (struct machine_work *w; (w = m->work);) {
        m->work = w->next;
        w->run(w);
    }
}

void machine_tell(struct machine *m, const char *event, struct json *data)
{
    for (struct machine_listener *l = m->listeners; l; l = l->next)
        l->event(l, event, data);
    json_free(data);
}

/* A reset or the end. */
static void tell_cause(struct machine *m, const char *event, const char *cause)
{
    struct json *data = json_object();
    json_set_bool(data, "guest", !strncmp(cause, "guest-", 6));
    json_set_string(data, "reason", cause);
    machine_tell(m, event, data);
}

static void stop_as(struct machine *m, enum machine_state as)
{
    m->stopped = true;
    m->state = as;
    machine_pause_cpus(m);
    machine_tell(m, "STOP", NULL);
}

void machine_stop(struct machine *m)
{
    if (!m->stopped)
        stop_as(m, MACHINE_PAUSED);
}

bool machine_cont(struct machine *m, struct err *e)
{
    if (!m->stopped)
        return true;
    if (m->state == MACHINE_SHUTDOWN)
        return err_set(e, EPERM, "Resetting the Virtual Machine is required");
    m->stopped = false;
    machine_resume_cpus(m);
    machine_tell(m, "RESUME", NULL);
    return true;
}

enum machine_state machine_state(const struct machine *m)
{
    return m->stopped ? m->state : MACHINE_RUNNING;
}

void machine_hold(struct machine *m)
{
    if (!m->stopped)
        machine_pause_cpus(m);
}

void machine_release(struct machine *m)
{
    if (!m->stopped)
        machine_resume_cpus(m);
}

static void press_power_key(struct machine *m)
{
    struct dev *key = m->opts->board->power_key ? machine_dev(m, m->opts->board->power_key) : NULL;
    if (key) {
        struct wire w = dev_input(key, 0);
        wire_set(&w, true);
    }
}

/* Why these requests are the end; NULL: they are not. */
static const char *end_cause(const struct machine *m, u32 requests)
{
    static const struct {
        u32 request;
        const char *cause;
    } causes[] = {
        {MACHINE_KILLED, "host-signal"}, {MACHINE_QUIT, "host-qmp-quit"}, {MACHINE_OFF, "guest-shutdown"},
        {MACHINE_GUEST_RESET, "guest-reset"}, {MACHINE_RESET, "host-qmp-system-reset"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(causes); i++) {
        if (requests & causes[i].request)
            return causes[i].request & (MACHINE_GUEST_RESET | MACHINE_RESET) && !m->opts->no_reboot ? NULL
                                                                                                : causes[i].cause;
    }
    return NULL;
}

/* Do what was asked for. */
static bool serve(struct machine *m, struct err *e)
{
    u32 r = atomic_exchange(&m->requests, 0);
    const char *end = end_cause(m, r);
    if (end) {
        tell_cause(m, "SHUTDOWN", end);
        m->over = !m->opts->no_shutdown || r & (MACHINE_QUIT | MACHINE_KILLED);
        if (!m->over)
            stop_as(m, MACHINE_SHUTDOWN);
        return true;
    }
    if (r & MACHINE_UNPLUG)
        machine_sweep(m);
    if (r & MACHINE_POWER_KEY) {
        press_power_key(m);
        machine_tell(m, "POWERDOWN", NULL);
    }
    if (!(r & (MACHINE_RESET | MACHINE_GUEST_RESET)))
        return true;
    bool good = start(m, e);
    if (m->state == MACHINE_SHUTDOWN)
        m->state = MACHINE_PAUSED;
    tell_cause(m, "RESET", r & MACHINE_GUEST_RESET ? "guest-reset" : "host-qmp-system-reset");
    return good;
}

bool machine_run(struct machine *m, struct err *e)
{
    bool good = start(m, e);
    if (good)
        machine_start_chardevs(m);
    while (!m->over && good) {
        loop_turn(m->loop, true);
        do_work(m);
        good = serve(m, e);
    }
    machine_pause_cpus(m);
    return good;
}

const struct machine_opts *machine_options(const struct machine *m)
{
    return m->opts;
}

struct loop *machine_loop(struct machine *m)
{
    return m->loop;
}

struct dev *machine_dev(struct machine *m, const char *name)
{
    return board_dev(&m->setup, name);
}

struct dev *machine_devs(struct machine *m)
{
    return m->setup.devs;
}

struct node *machine_drive(struct machine *m, size_t i)
{
    return m->drives[i];
}

const struct fw_load *machine_loaded(const struct machine *m, size_t i)
{
    return i < m->load_count ? &m->loads[i] : NULL;
}

struct block_graph *machine_graph(struct machine *m)
{
    return m->graph;
}

struct mem_range *machine_memory_tree(struct machine *m)
{
    return m->root;
}

void machine_show_engine(struct machine *m, FILE *to)
{
    if (m->engine)
        engine_stats(m->engine, to);
}

struct mem_space *machine_memory(struct machine *m)
{
    return m->memory;
}
