/* Options of -netdev tap, stream, dgram and socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "back/net_opts.h"
#include "base/mem.h"

static void replace(char **to, char *by)
{
    free(*to);
    *to = by;
}

/* "path" of an address. */
static bool place_word(struct net_place *p, const char *name, const char *value)
{
    const struct {
        const char *name;
        char **to;
    } members[] = {{"type", &p->type}, {"path", &p->path}, {"host", &p->host}, {"port", &p->port}, {"str", &p->str}};
    for (unsigned i = 0; i < ARRAY_LEN(members); i++) {
        if (!strcmp(name, members[i].name)) {
            replace(members[i].to, xstrdup(value));
            return true;
        }
    }
    return false;
}

static bool hub_word(struct net_opts *o, const char *name, const char *value, bool *known, struct err *e)
{
    char *end;
    if (!strcmp(name, "netdev")) {
        replace(&o->behind, xstrdup(value));
    } else if (!strcmp(name, "hubid")) {
        o->hub = (u32)strtoul(value, &end, 10);
        return (end != value && !*end) || err_set(e, EINVAL, "Parameter 'hubid' expects a number");
    } else {
        *known = false;
    }
    return true;
}

/* -netdev socket with datagrams: "mcast=" to all that listen there, "udp=" to one. */
static bool datagram_word(struct net_opts *o, const char *name, const char *value)
{
    bool many = !strcmp(name, "mcast"), one = !strcmp(name, "udp");
    if (many || one) {
        o->kind = NET_DGRAM;
        replace(&o->remote, xstrdup(value));
    } else if (!strcmp(name, "localaddr")) {
        replace(&o->local, xstrdup(value));
    }
    return many || one || !strcmp(name, "localaddr");
}

bool net_link_word(struct net_opts *o, struct net_places *p, const char *name, const char *value, bool *known, struct err *e)
{
    *known = true;
    if (o->kind == NET_TAP)
        return net_tap_word(o, name, value, known, e);
    if (o->kind == NET_HUB)
        return hub_word(o, name, value, known, e);
    if (p->socket && datagram_word(o, name, value))
        return true;
    if (o->kind == NET_STREAM && (!strcmp(name, "listen") || !strcmp(name, "connect"))) {
        replace(*name == 'l' ? &o->local : &o->remote, xstrdup(value));
        return true;
    }
    if (o->kind == NET_STREAM && !strcmp(name, "fd")) {
        replace(&o->remote, xprintf("fd:%s", value));
        return true;
    }
    if (o->kind == NET_STREAM && !strcmp(name, "server")) {
        p->server = !strcmp(value, "on");
        return p->server || !strcmp(value, "off") || err_set(e, EINVAL, "Parameter 'server' expects 'on' or 'off'");
    }
    *known = (o->kind == NET_STREAM && !strncmp(name, "addr.", 5) && place_word(&p->addr, name + 5, value)) ||
             (o->kind == NET_DGRAM && !strncmp(name, "local.", 6) && place_word(&p->local, name + 6, value)) ||
             (o->kind == NET_DGRAM && !strncmp(name, "remote.", 7) && place_word(&p->remote, name + 7, value));
    return true;
}

/* An address as one text; what is not there leaves *to alone. */
static bool join(const struct net_place *p, char **to, struct err *e)
{
    if (!p->type)
        return true;
    if (!strcmp(p->type, "unix") && p->path)
        replace(to, xprintf("unix:%s", p->path));
    else if (!strcmp(p->type, "inet") && p->port)
        replace(to, xprintf("%s:%s", p->host ? p->host : "", p->port));
    else if (!strcmp(p->type, "fd") && p->str)
        replace(to, xprintf("fd:%s", p->str));
    else
        return err_set(e, EINVAL, "an address of type '%s' is not complete, or not supported", p->type);
    return true;
}

static void place_free(struct net_place *p)
{
    char *texts[] = {p->type, p->path, p->host, p->port, p->str};
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
}

bool net_link_end(struct net_opts *o, struct net_places *p, struct err *e)
{
    bool good = join(&p->addr, p->server ? &o->local : &o->remote, e) && join(&p->local, &o->local, e) &&
                join(&p->remote, &o->remote, e);
    if (good && o->kind == NET_STREAM && !o->local == !o->remote)
        good = err_set(e, EINVAL, "it wants one address, to listen at or to connect to");
    good = good && (o->kind != NET_TAP || net_tap_end(o, e));
    if (good && o->kind == NET_DGRAM && !o->local && !o->remote)
        good = err_set(e, EINVAL, "Parameter 'local' is missing");
    place_free(&p->addr);
    place_free(&p->local);
    place_free(&p->remote);
    return good;
}
