/* Generated for every device model: what is saved and loaded is saved again the same, and a state that cannot be is
 * refused and changes nothing. */
#include "check.h"

#include "back/net.h"
#include "dev/dev.h"
#include "event/vclock.h"

static u64 seed = 1;

static u64 pick(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed ^ seed >> 29;
}

static u64 value_of(const struct state_field *f)
{
    u64 most = f->size == 8 ? f->max : MIN(f->max, (1ull << 8 * f->size) - 1);
    return most == ~0ull ? pick() : pick() % (most + 1);
}

/* A state in which each member has some value that it may have. */
static struct json *some_state(const struct state_field *fields)
{
    struct json *j = json_object();
    for (const struct state_field *f = fields; f && f->name; f++) {
        if (f->count == 1) {
            json_set_int(j, f->name, (s64)value_of(f));
            continue;
        }
        struct json *list = json_set(j, f->name, json_list());
        for (u32 i = 0; i < f->count; i++)
            json_push(list, json_int((s64)value_of(f)));
    }
    return j;
}

static void check_saved(struct dev *d, const struct json *want)
{
    struct json *saved = dev_save(d);
    char *a = json_text(saved, false), *b = json_text(want, false);
    CHECK_STR(a, b);
    free(a);
    free(b);
    json_free(saved);
}

/* Each field in turn is missing, too long or too large. */
static void check_refusals(struct dev *d, const struct json *good)
{
    struct err e;
    for (const struct state_field *f = d->class->state; f && f->name; f++) {
        struct json *bad = json_copy(good);
        json_free(json_take(bad, f->name));
        CHECK(!dev_load(d, bad, &e));
        CHECK(strstr(e.text, f->name) != NULL);
        json_set(bad, f->name, json_list());
        CHECK(!dev_load(d, bad, &e));
        if (f->count == 1 && f->size < 8) {
            json_set_int(bad, f->name, (s64)MIN(f->max, (1ull << 8 * f->size) - 1) + 1);
            CHECK(!dev_load(d, bad, &e));
        }
        json_free(bad);
        check_saved(d, good);
    }
    struct json *bad = json_copy(good);
    json_set_int(bad, "no such field", 1);
    CHECK(!dev_load(d, bad, &e));
    json_free(bad);
}

/* A network that nobody is connected to yet; it is not used beyond that. */
static struct netdev *net_fresh(void)
{
    static u64 space[256];
    memset(space, 0, sizeof(space));
    return (struct netdev *)space;
}

/* A disk of no size. */
static struct node *disk_fresh(void)
{
    static u64 space[256];
    return (struct node *)space;
}

/* What a model cannot start without. */
static void supply(struct dev *d)
{
    if (!strcmp(d->class->name, "arm-gicv2m"))
        dev_set(d, "base-spi", "80", NULL);
    if (!strcmp(d->class->name, "arm_gic") || !strcmp(d->class->name, "arm-gicv3"))
        dev_set(d, "num-irq", "288", NULL);
    if (!strcmp(d->class->name, "arm-gicv3-its"))
        dev_set_link(d, "parent-gicv3", DEV_PROP_DEV, d, NULL); /* it is not looked at */
    if (!strcmp(d->class->name, "virtio-blk-device"))
        dev_set_link(d, "drive", DEV_PROP_BLOCK, disk_fresh(), NULL);
    if (!strcmp(d->class->name, "virtio-net-device"))
        dev_set_link(d, "netdev", DEV_PROP_NET, net_fresh(), NULL);
}

/* One of a model, started, with what is on it in its list. */
static struct dev *started(const struct dev_class *class, const struct dev_env *env)
{
    struct err e = {0};
    struct dev *d = dev_new(class, "it", env);
    supply(d);
    if (class->inner) {
        d->next = started(class->inner, env);
        CHECK(class->plug(d, d->next, &e));
    }
    CHECK(dev_start(d, &e));
    CHECK_STR(e.text, "");
    dev_reset(d);
    return d;
}

static void ended(struct dev *d)
{
    for (struct dev *next; d; d = next) {
        next = d->next;
        dev_free(d);
    }
}

TEST(save_load_save)
{
    struct err e = {0};
    struct vclock *clock = vclock_new(VCLOCK_BY_HAND, &e);
    struct dev_env env = {.clock = clock, .rtc = clock};
    for (unsigned i = 0; dev_class_at(i); i++) {
        struct dev *d = started(dev_class_at(i), &env);
        for (unsigned round = 0; round < 10; round++) {
            struct json *state = some_state(d->class->state);
            CHECK(dev_load(d, state, &e));
            check_saved(d, state);
            if (!round)
                check_refusals(d, state);
            json_free(state);
        }
        ended(d);
    }
    vclock_free(clock);
}

TEST(a_reset_forgets)
{
    struct err e = {0};
    struct vclock *clock = vclock_new(VCLOCK_BY_HAND, &e);
    struct dev_env env = {.clock = clock, .rtc = clock};
    for (unsigned i = 0; dev_class_at(i); i++) {
        struct dev *d = started(dev_class_at(i), &env);
        struct json *fresh = dev_save(d);
        dev_reset(d);
        check_saved(d, fresh);
        json_free(fresh);
        ended(d);
    }
    vclock_free(clock);
}

TEST(properties)
{
    struct err e = {0};
    struct dev_env env = {0};
    struct dev *d = dev_new(dev_class_find("arm_gic", &e), "gic", &env);
    CHECK(dev_set(d, "num-cpu", "4", &e));
    CHECK(!dev_set(d, "num-cpu", "9", &e));
    CHECK(!dev_set(d, "num-cpu", "four", &e));
    CHECK(!dev_set(d, "num-cpu", "-1", &e));
    CHECK(!dev_set(d, "colour", "1", &e));
    CHECK(strstr(e.text, "num-irq") != NULL);
    CHECK(!dev_set_link(d, "num-cpu", DEV_PROP_CHAR, NULL, &e));
    dev_free(d);
    CHECK(!dev_class_find("pl012", &e));
    CHECK(strstr(e.text, "pl012") != NULL);
}

TEST_MAIN()
