/* Character back ends as QMP names them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "back/char_opts.h"
#include "base/mem.h"

static char *copy_string(const struct json *data, const char *key)
{
    const char *s = json_get_string(data, key);
    return s ? xstrdup(s) : NULL;
}

static bool is_on(const struct json *data, const char *key, bool otherwise)
{
    const struct json *v = json_get(data, key);
    return v ? v->boolean : otherwise;
}

/* A SocketAddressLegacy as socket_connect() takes it; the caller frees it. NULL on failure. */
static char *address(const struct json *addr, struct err *e)
{
    const char *type = json_get_string(addr, "type");
    const struct json *data = json_get(addr, "data");
    if (!strcmp(type, "unix"))
        return xprintf("unix:%s", json_get_string(data, "path"));
    if (!strcmp(type, "fd"))
        return char_opts_fd(json_get_string(data, "str"), e);
    const char *host = json_get_string(data, "host");
    return xprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, json_get_string(data, "port"));
}

static bool socket_data(struct char_opts *o, const struct json *data, struct err *e)
{
    const struct json *reconnect = json_get(data, "reconnect");
    o->server = is_on(data, "server", true);
    o->wait = o->server && is_on(data, "wait", false);
    o->telnet = is_on(data, "telnet", false);
    o->nodelay = is_on(data, "nodelay", false);
    if (reconnect && (reconnect->integer < 0 || reconnect->integer > CHAR_RECONNECT_MAX))
        return err_set(e, EINVAL, "Parameter 'reconnect' expects a number of seconds");
    o->reconnect = reconnect ? (u32)reconnect->integer : 0;
    o->path = address(json_get(data, "addr"), e);
    return o->path != NULL;
}

bool char_opts_json(struct char_opts *o, const char *id, const struct json *backend, struct err *e)
{
    const char *type = json_get_string(backend, "type");
    const struct json *data = json_get(backend, "data");
    *o = (struct char_opts){.id = xstrdup(id), .signal = is_on(data, "signal", true), .log = copy_string(data, "logfile"),
                            .log_append = is_on(data, "logappend", false), .append = is_on(data, "append", false)};
    if (!char_kind_find(type, &o->kind))
        return err_set(e, EINVAL, "'%s' is not a valid char driver name", type);
    if (o->kind == CHAR_SOCKET && !socket_data(o, data, e))
        return false;
    if (o->kind == CHAR_FILE || o->kind == CHAR_PIPE)
        o->path = copy_string(data, o->kind == CHAR_FILE ? "out" : "device");
    return char_opts_check(o, e);
}
