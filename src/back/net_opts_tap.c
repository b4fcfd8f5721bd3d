/* Options of -netdev tap and bridge. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "back/net_opts.h"
#include "base/mem.h"

#define HELPER "/usr/lib/qemu/qemu-bridge-helper" /* Debian's, which may do what a user may not */

static void replace(char **to, const char *by)
{
    free(*to);
    *to = xstrdup(by);
}

static bool parse_fd(const char *text, size_t len, int *to, struct err *e)
{
    char *end;
    long fd = strtol(text, &end, 10);
    *to = (int)fd + 1;
    return (end == text + len && len && fd >= 0 && fd < INT32_MAX) || err_set(e, EINVAL, "'%.*s' is no descriptor", (int)len, text);
}

/* "7:8:9": a queue each. */
static bool parse_fds(struct net_opts *o, const char *text, struct err *e)
{
    for (o->queues = 0; ; text++) {
        size_t len = strcspn(text, ":");
        if (o->queues == NET_QUEUES)
            return err_set(e, EINVAL, "a network has at most %d queues", NET_QUEUES);
        if (!parse_fd(text, len, &o->fd[o->queues++], e))
            return false;
        text += len;
        if (!*text)
            return true;
    }
}

static bool parse_switch(const char *name, const char *value, bool *on, struct err *e)
{
    *on = !strcmp(value, "on");
    return *on || !strcmp(value, "off") || err_set(e, EINVAL, "Parameter '%s' expects 'on' or 'off'", name);
}

static bool parse_queues(struct net_opts *o, const char *value, struct err *e)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    o->queues = (unsigned)n;
    return (end != value && !*end && n >= 1 && n <= NET_QUEUES) ||
           err_set(e, EINVAL, "Parameter 'queues' expects a number from 1 to %d", NET_QUEUES);
}

/* The kernel's own virtio-net, which needs KVM's ways to speak to a guest. */
static bool refuse_vhost(const char *name, const char *value, struct err *e)
{
    bool on;
    if (!strcmp(name, "vhostfd") || !strcmp(name, "vhostfds"))
        return err_set(e, ENOTSUP, "%s is not supported: vhost-net is there for KVM alone", name);
    return parse_switch(name, value, &on, e) && (!on || err_set(e, ENOTSUP, "%s=on is not supported: vhost-net is there for KVM alone", name));
}

bool net_tap_word(struct net_opts *o, const char *name, const char *value, bool *known, struct err *e)
{
    bool bridge = o->bridge, on = false;
    *known = true;
    if (!strcmp(name, "br") || !strcmp(name, "helper")) {
        replace(*name == 'b' ? &o->bridge : &o->helper, value);
        return true;
    }
    if (!strncmp(name, "vhost", 5))
        return refuse_vhost(name, value, e);
    if (bridge && !o->helper) {
        *known = false;
    } else if (!strcmp(name, "ifname")) {
        replace(&o->local, value);
    } else if (!strcmp(name, "script")) {
        replace(&o->script, value);
    } else if (!strcmp(name, "downscript")) {
        replace(&o->downscript, value);
    } else if (!strcmp(name, "fd")) {
        o->queues = 1;
        return parse_fd(value, strlen(value), &o->fd[0], e);
    } else if (!strcmp(name, "fds")) {
        return parse_fds(o, value, e);
    } else if (!strcmp(name, "queues")) {
        return parse_queues(o, value, e);
    } else if (!strcmp(name, "vnet_hdr")) {
        bool good = parse_switch(name, value, &on, e);
        o->no_headers = !on;
        return good;
    } else {
        *known = !strcmp(name, "sndbuf"); /* how much may wait in the host's kernel: as it comes */
    }
    return true;
}

static void forget_no(char **program)
{
    if (*program && !strcmp(*program, "no")) {
        free(*program);
        *program = NULL;
    }
}

bool net_tap_end(struct net_opts *o, struct err *e)
{
    bool given = o->fd[0], helped = o->bridge || o->helper;
    if (given && (o->local || o->script || o->downscript || helped))
        return err_set(e, EINVAL, "ifname=, script=, downscript=, helper= and br= are invalid with fd= and fds=");
    if (helped && (o->local || o->script || o->downscript || o->queues > 1))
        return err_set(e, EINVAL, "ifname=, script=, downscript= and queues= are invalid with helper=");
    if (helped && !o->bridge)
        replace(&o->bridge, NET_BRIDGE);
    if (helped && !o->helper)
        replace(&o->helper, HELPER);
    forget_no(&o->script);
    forget_no(&o->downscript);
    return true;
}
