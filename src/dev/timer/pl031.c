/* PL031: Arm's real-time clock (PrimeCell Real Time Clock technical reference manual, DDI 0224): seconds, and
 * an alarm at one of them. */
#include <stdatomic.h>
#include <time.h>

#include "dev/list.h"

enum {
    RTC_DR = 0x00, RTC_MR = 0x04, RTC_LR = 0x08, RTC_CR = 0x0c, RTC_IMSC = 0x10, RTC_RIS = 0x14, RTC_MIS = 0x18,
    RTC_ICR = 0x1c, RTC_ID = 0xfe0,
};

#define SECOND 1000000000ull

struct pl031 {
    struct dev dev;
    struct vtimer alarm;
    u32 offset; /* from the clock's seconds to the counter's */
    struct loop_task changed; /* the guest has set it: monitors are told, on the loop */
    _Atomic bool told;        /* it is posted */
    u32 lr, mr, mask, raw;
};

static void update(struct pl031 *r)
{
    dev_out(&r->dev, 0, r->raw & r->mask);
}

static u32 counter(const struct pl031 *r)
{
    return (u32)(vclock_now(r->dev.env->rtc) / SECOND) + r->offset;
}

/* The alarm goes off when the counter comes to the match register, perhaps after having wrapped. */
static void set_alarm(struct pl031 *r)
{
    u64 seconds = vclock_now(r->dev.env->rtc) / SECOND;
    u32 ahead = r->mr - counter(r);
    vtimer_set(r->dev.env->rtc, &r->alarm, (seconds + ahead) * SECOND);
}

static void alarm_fires(struct vtimer *t)
{
    struct pl031 *r = container_of(t, struct pl031, alarm);
    dev_lock(&r->dev);
    if (vclock_now(r->dev.env->rtc) >= t->when) { /* not put off meanwhile */
        r->raw = 1;
        update(r);
    }
    dev_unlock(&r->dev);
}

/* How far it is from the host's clock, as the user has based it. */
static void changed(struct loop_task *t)
{
    struct pl031 *r = container_of(t, struct pl031, changed);
    struct json *data = json_object();
    atomic_store(&r->told, false);
    dev_lock(&r->dev);
    u32 now = counter(r);
    dev_unlock(&r->dev);
    json_set_int(data, "offset", (s64)now - (s64)time(NULL) - r->dev.env->rtc_zone);
    json_set_string(data, "qom-path", r->dev.name);
    r->dev.env->tell(r->dev.env->opaque, "RTC_CHANGE", data);
}

static void tell_change(struct pl031 *r)
{
    if (!atomic_exchange(&r->told, true))
        loop_post(r->dev.env->loop, &r->changed);
}

static u64 pl031_read(struct dev *d, u64 offset, unsigned size)
{
    struct pl031 *r = (struct pl031 *)d;
    switch (offset) {
    case RTC_DR: return counter(r);
    case RTC_MR: return r->mr;
    case RTC_LR: return r->lr;
    case RTC_CR: return 1; /* it always runs */
    case RTC_IMSC: return r->mask;
    case RTC_RIS: return r->raw;
    case RTC_MIS: return r->raw & r->mask;
    }
    if (offset >= RTC_ID)
        return dev_primecell_id(offset, 0x031, 0);
    dev_guest_error(d, "read of register %#x", (unsigned)offset);
    return 0;
}

static void pl031_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct pl031 *r = (struct pl031 *)d;
    u32 v = (u32)value;
    switch (offset) {
    case RTC_MR:
        r->mr = v;
        set_alarm(r);
        return;
    case RTC_LR:
        r->offset += v - counter(r);
        r->lr = v;
        set_alarm(r);
        tell_change(r);
        return;
    case RTC_CR: return; /* once on, it cannot be stopped */
    case RTC_IMSC: r->mask = v & 1; update(r); return;
    case RTC_ICR: r->raw &= ~v; update(r); return;
    }
    dev_guest_error(d, "write of register %#x", (unsigned)offset);
}

static bool pl031_start(struct dev *d, struct err *e)
{
    struct pl031 *r = (struct pl031 *)d;
    r->alarm.fire = alarm_fires;
    r->changed.run = changed;
    r->offset = (u32)d->env->rtc_offset;
    return true;
}

static void pl031_reset(struct dev *d)
{
    struct pl031 *r = (struct pl031 *)d;
    r->lr = r->mr = r->mask = r->raw = 0; /* time goes on */
    update(r);
}

static void pl031_loaded(struct dev *d)
{
    struct pl031 *r = (struct pl031 *)d;
    update(r);
    set_alarm(r);
}

static void pl031_stop(struct dev *d)
{
    vtimer_cancel(d->env->rtc, &((struct pl031 *)d)->alarm);
}

static void pl031_node(struct dev *d, const struct dev_place *p)
{
    struct fw_node *n = fw_child_at(p->parent, "pl031", p->address[0]);
    fw_string(n, "clock-names", "apb_pclk");
    fw_cell(n, "clocks", p->clock);
    fw_cells(n, "interrupts", p->irq, p->irq_cells);
    fw_reg(n, "reg", (const u64[]){p->address[0], 0x1000}, 1);
    fw_strings(n, "compatible", "arm,pl031\0arm,primecell");
}

static const struct dev_window pl031_windows[] = {{"pl031", 0x1000, pl031_read, pl031_write, .max = 8}, {0}};

static const struct state_field pl031_state[] = {
    STATE(struct pl031, offset), STATE(struct pl031, lr), STATE(struct pl031, mr),
    STATE_MAX(struct pl031, mask, 1), STATE_MAX(struct pl031, raw, 1), {0},
};

const struct dev_class dev_pl031 = {
    .name = "pl031", .help = "Arm PL031 real-time clock", .size = sizeof(struct pl031), .windows = pl031_windows,
    .outs = 1, .state = pl031_state, .start = pl031_start, .reset = pl031_reset, .loaded = pl031_loaded,
    .stop = pl031_stop, .node = pl031_node,
};
