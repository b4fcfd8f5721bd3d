/* What -device help says. */
#include <stdio.h>
#include <string.h>

#include "cmd/system/parts.h"

static const char *category(const struct dev_class *c)
{
    return c->inner ? c->inner->category : c->category;
}

static void list_category(const char *name)
{
    const struct dev_class *c;
    bool any = false;
    for (unsigned i = 0; (c = dev_class_at(i)); i++) {
        if (!c->bus || strcmp(category(c), name))
            continue;
        if (!any)
            printf("%s devices:\n", name);
        any = true;
        printf("name \"%s\", bus %s, desc \"%s\"\n", c->name, c->bus, c->help);
    }
    if (any)
        printf("\n");
}

void devices_list(void)
{
    static const char *const categories[] = {"Controller/Bridge/Hub", "Storage", "Network", "Input", "Misc"};
    for (unsigned i = 0; i < ARRAY_LEN(categories); i++)
        list_category(categories[i]);
}

static void list_props(const struct dev_class *c)
{
    static const char *const kinds[] = {
        [DEV_PROP_BOOL] = "bool", [DEV_PROP_U32] = "uint32", [DEV_PROP_U64] = "uint64", [DEV_PROP_STRING] = "str",
        [DEV_PROP_SWITCH] = "OnOffAuto",
        [DEV_PROP_CHAR] = "chardev", [DEV_PROP_BLOCK] = "drive", [DEV_PROP_NET] = "netdev", [DEV_PROP_DEV] = "device", [DEV_PROP_OBJECT] = "object",
    };
    for (const struct dev_prop *p = c->props; p && p->name; p++) {
        char head[64];
        snprintf(head, sizeof(head), "%s=<%s>", p->name, kinds[p->kind]);
        printf("  %-22s - %s", head, p->help ? p->help : "");
        if (p->kind == DEV_PROP_BOOL)
            printf(" (default: %s)", p->initial ? "on" : "off");
        else if (p->kind == DEV_PROP_SWITCH)
            printf(" (default: \"%s\")", p->initial == DEV_AUTO ? "auto" : p->initial ? "on" : "off");
        else if (p->kind == DEV_PROP_U32 || p->kind == DEV_PROP_U64)
            printf(" (default: %llu)", (unsigned long long)p->initial);
        printf("\n");
    }
}

bool devices_describe(const char *name, struct err *e)
{
    const struct dev_class *c = dev_class_find(name, e);
    if (!c)
        return false;
    printf("%s options:\n", c->name);
    list_props(c);
    if (c->inner)
        list_props(c->inner);
    return true;
}
