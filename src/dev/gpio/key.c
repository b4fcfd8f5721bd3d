/* A key that the machine presses, such as the one for power: each press of its input is a pulse of its output
 * that is long enough for a driver to see it. */
#include "dev/list.h"

#define PRESS (100 * 1000000ull) /* nanoseconds */

struct gpio_key {
    struct dev dev;
    struct vtimer release;
};

static void released(struct vtimer *t)
{
    dev_out(&container_of(t, struct gpio_key, release)->dev, 0, false);
}

static void gpio_key_line(struct dev *d, unsigned line, bool level)
{
    struct gpio_key *k = (struct gpio_key *)d;
    if (!level)
        return;
    dev_out(d, 0, true);
    vtimer_set(d->env->clock, &k->release, vclock_now(d->env->clock) + PRESS);
}

static bool gpio_key_start(struct dev *d, struct err *e)
{
    ((struct gpio_key *)d)->release.fire = released;
    return true;
}

static void gpio_key_stop(struct dev *d)
{
    vtimer_cancel(d->env->clock, &((struct gpio_key *)d)->release);
}

const struct dev_class dev_gpio_key = {
    .name = "gpio-key", .help = "a key on a GPIO pin", .size = sizeof(struct gpio_key), .outs = 1, .ins = 1,
    .start = gpio_key_start, .line = gpio_key_line, .stop = gpio_key_stop,
};
