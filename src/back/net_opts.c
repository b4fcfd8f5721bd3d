/* Network back ends as command lines name them. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "back/net_opts.h"
#include "base/mem.h"

static bool parse_address(const char *text, struct in_addr *to)
{
    to->s_addr = 0;
    return !*text || inet_pton(AF_INET, text, to) == 1;
}

/* "[ADDRESS]:PORT" */
static bool parse_end(char *text, struct in_addr *address, u16 *port)
{
    char *colon = strrchr(text, ':'), *end;
    if (!colon)
        return false;
    *colon = 0;
    unsigned long v = strtoul(colon + 1, &end, 10);
    *port = (u16)v;
    return v <= 65535 && end != colon + 1 && !*end && parse_address(text, address);
}

bool net_forward_parse(struct net_forward *f, const char *text, bool whole, struct err *e)
{
    char copy[128];
    snprintf(copy, sizeof(copy), "%s", text);
    char *minus = strchr(copy, '-');
    bool tcp = !strncmp(copy, "tcp:", 4), udp = !strncmp(copy, "udp:", 4);
    char *host = tcp || udp ? copy + 4 : strchr(copy, ':') == copy || isdigit((u8)*copy) ? copy : NULL; /* tcp if it does not say */
    *f = (struct net_forward){.udp = udp};
    if (minus)
        *minus = 0;
    bool good = host && !minus == !whole && parse_end(host, &f->host, &f->host_port) &&
                (!whole || (parse_end(minus + 1, &f->guest, &f->guest_port) && f->guest_port));
    return good || err_set(e, EINVAL, "Invalid host forwarding rule '%s'", text);
}

static bool add_forward(struct net_opts *o, const char *text, struct err *e)
{
    if (o->forwards == NET_FORWARDS)
        return err_set(e, ENOSPC, "there are at most %d of hostfwd", NET_FORWARDS);
    return net_forward_parse(&o->forward[o->forwards], text, true, e) && ++o->forwards;
}

/* "tcp:ADDRESS:PORT-cmd:PROGRAM", or a character device behind the minus. */
static bool add_service(struct net_opts *o, const char *text, struct err *e)
{
    const char *minus = strchr(text, '-'), *head = !strncmp(text, "tcp:", 4) ? text + 4 : *text == ':' ? text + 1 : NULL;
    char place[64];
    if (o->services == NET_SERVICES)
        return err_set(e, ENOSPC, "there are at most %d of guestfwd", NET_SERVICES);
    struct net_service *s = &o->service[o->services];
    snprintf(place, sizeof(place), "%.*s", head && minus > head ? (int)(minus - head) : 0, head ? head : "");
    if (!minus || !minus[1] || !parse_end(place, &s->address, &s->port) || !s->port)
        return err_set(e, EINVAL, "Invalid guest forwarding rule '%s'", text);
    bool program = !strncmp(minus + 1, "cmd:", 4);
    *(program ? &s->command : &s->line) = xstrdup(minus + (program ? 5 : 1));
    o->services++;
    return true;
}

/* One option of user-mode networking. */
static bool user_word(struct net_opts *o, const char *name, const char *value, bool *known, struct err *e)
{
    *known = true;
    const struct {
        const char *name;
        char **to;
    } strings[] = {{"hostname", &o->hostname}, {"domainname", &o->domainname}, {"tftp", &o->tftp},
                   {"bootfile", &o->bootfile}, {"net", &o->net}, {"host", &o->host}, {"dhcpstart", &o->dhcpstart},
                   {"dns", &o->dns}};
    for (unsigned i = 0; i < ARRAY_LEN(strings); i++) {
        if (!strcmp(name, strings[i].name)) {
            free(*strings[i].to);
            *strings[i].to = xstrdup(value);
            return true;
        }
    }
    if (!strcmp(name, "hostfwd"))
        return add_forward(o, value, e);
    if (!strcmp(name, "guestfwd"))
        return add_service(o, value, e);
    if (!strcmp(name, "restrict")) {
        o->restricted = !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "y");
        return o->restricted || !strcmp(value, "off") || !strcmp(value, "no") ||
               err_set(e, EINVAL, "Parameter 'restrict' expects 'on' or 'off'");
    }
    *known = false;
    return true;
}

static bool add_word(struct net_opts *o, struct net_places *p, const char *name, const char *value, char **rest,
                     struct err *e)
{
    bool known;
    if (!strcmp(name, "id")) {
        free(o->id);
        o->id = xstrdup(value);
        return true;
    }
    if (!(o->kind == NET_USER ? user_word(o, name, value, &known, e) : net_link_word(o, p, name, value, &known, e)))
        return false;
    if (known)
        return true;
    if (!rest)
        return err_set(e, EINVAL, "Invalid parameter '%s'", name);
    char *more = xprintf("%s%s%s=%s", *rest ? *rest : "", *rest ? "," : "", name, value);
    free(*rest);
    *rest = more;
    return true;
}

static bool find_kind(const char *name, enum net_kind *kind)
{
    static const struct {
        const char *name;
        enum net_kind kind;
    } kinds[] = {{"user", NET_USER}, {"tap", NET_TAP}, {"stream", NET_STREAM}, {"dgram", NET_DGRAM}, {"socket", NET_STREAM},
                 {"hubport", NET_HUB}, {"bridge", NET_TAP}};
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(name, kinds[i].name)) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

bool net_opts_parse(struct net_opts *o, const char *text, char **rest, struct err *e)
{
    *o = (struct net_opts){0};
    char *copy = xstrdup(text), *save = NULL, *kind = strtok_r(copy, ",", &save);
    struct net_places places = {0};
    bool good = kind && find_kind(kind, &o->kind);
    places.socket = kind && !strcmp(kind, "socket");
    if (kind && !strcmp(kind, "bridge"))
        o->bridge = xstrdup(NET_BRIDGE);
    if (!good)
        err_set(e, EINVAL, "'%s' is not supported; there are: user, tap, bridge, stream, dgram, socket, hubport", kind ? kind : "");
    for (char *w; good && (w = strtok_r(NULL, ",", &save));) {
        char *value = strchr(w, '=');
        if (value)
            *value++ = 0;
        good = add_word(o, &places, w, value ? value : "on", rest, e);
    }
    free(copy);
    return net_link_end(o, &places, good ? e : NULL) && good;
}

static void append(char **text, const char *name, const char *value)
{
    char *more = xprintf("%s,%s=%s", *text, name, value ? value : "");
    free(*text);
    *text = more;
}

/* Members as -netdev has them: "name=value", those of objects with dots, those of lists one by one. */
static void append_members(char **text, const char *prefix, const struct json *object)
{
    for (const struct json *v = object->first; v; v = v->next) {
        char *name = xprintf("%s%s%s", prefix, *prefix ? "." : "", v->key);
        if (v->kind == JSON_OBJECT) {
            append_members(text, name, v);
        } else if (v->kind == JSON_LIST) {
            for (const struct json *x = v->first; x; x = x->next)
                append(text, name, x->kind == JSON_OBJECT ? json_get_string(x, "str") : "");
        } else if (strcmp(name, "type") && strcmp(name, "id")) {
            char *value = v->kind == JSON_STRING ? xstrdup(v->string) : v->kind == JSON_BOOL ? xstrdup(v->boolean ? "on" : "off")
                                                                                           : xprintf("%lld", (long long)v->integer);
            append(text, name, value);
            free(value);
        }
        free(name);
    }
}

bool net_opts_json(struct net_opts *o, const struct json *from, struct err *e)
{
    const char *type = json_get_string(from, "type"), *id = json_get_string(from, "id");
    *o = (struct net_opts){0};
    if (!type || !id)
        return err_set(e, EINVAL, "Parameter '%s' is missing", type ? "id" : "type");
    char *text = xprintf("%s,id=%s", type, id);
    append_members(&text, "", from);
    bool good = net_opts_parse(o, text, NULL, e);
    free(text);
    return good;
}

void net_opts_free(struct net_opts *o)
{
    char *strings[] = {o->id, o->local, o->remote, o->behind, o->hostname, o->domainname, o->tftp, o->bootfile, o->net, o->host, o->dhcpstart, o->dns,
                       o->script, o->downscript, o->bridge, o->helper};
    for (unsigned i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    for (unsigned i = 0; i < o->services; i++) {
        free(o->service[i].command);
        free(o->service[i].line);
    }
}
