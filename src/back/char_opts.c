/* Character back ends as command lines name them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "back/char_opts.h"
#include "base/mem.h"

static const struct {
    const char *name;
    enum char_kind kind;
    bool path; /* needs one */
} kinds[] = {
    {"null", CHAR_NULL, false},
    {"stdio", CHAR_STDIO, false},
    {"file", CHAR_FILE, true},
    {"pipe", CHAR_PIPE, true},
    {"pty", CHAR_PTY, false},
    {"socket", CHAR_SOCKET, false},
};

const char *char_kind_name(unsigned kind)
{
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].kind == kind)
            return kinds[i].name;
    }
    return NULL;
}

bool char_kind_find(const char *name, enum char_kind *kind)
{
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(name, kinds[i].name)) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

static bool parse_switch(const char *name, const char *value, bool *to, struct err *e)
{
    if (!strcmp(value, "on") || !strcmp(value, "yes"))
        *to = true;
    else if (!strcmp(value, "off") || !strcmp(value, "no"))
        *to = false;
    else
        return err_set(e, EINVAL, "Parameter '%s' expects 'on' or 'off'", name);
    return true;
}

static void replace(char **to, char *by)
{
    free(*to);
    *to = by;
}

char *char_opts_fd(const char *text, struct err *e)
{
    char *end;
    long fd = strtol(text, &end, 10);
    if (end != text && !*end && fd >= 0 && fcntl((int)fd, F_GETFD) >= 0)
        return xprintf("fd:%ld", fd);
    err_set(e, EBADF, "File descriptor named '%s' has not been found", text);
    return NULL;
}

static bool parse_fd(struct char_opts *o, const char *value, struct err *e)
{
    char *path = char_opts_fd(value, e);
    if (path)
        replace(&o->path, path);
    return path;
}

static bool parse_seconds(const char *value, u32 *to, struct err *e)
{
    char *end;
    unsigned long v = strtoul(value, &end, 10);
    *to = (u32)v;
    return (end != value && !*end && *value != '-' && v <= CHAR_RECONNECT_MAX) ||
           err_set(e, EINVAL, "Parameter 'reconnect' expects a number of seconds");
}

/* One of "server=on", "server", "nowait", "id=con" ...; host and port are joined to an address. */
static bool parse_one(struct char_opts *o, char *word, char **host, char **port, struct err *e)
{
    char *value = strchr(word, '=');
    if (value)
        *value++ = 0;
    const struct {
        const char *name;
        bool *to;
    } switches[] = {{"server", &o->server}, {"wait", &o->wait}, {"mux", &o->mux}, {"signal", &o->signal},
                    {"append", &o->append}, {"nodelay", &o->nodelay}, {"telnet", &o->telnet}, {"logappend", &o->log_append}};
    const char *name = !strncmp(word, "no", 2) && !value && strcmp(word, "nodelay") ? word + 2 : word;
    for (unsigned i = 0; i < ARRAY_LEN(switches); i++) {
        if (!strcmp(name, switches[i].name))
            return parse_switch(name, value ? value : name == word ? "on" : "off", switches[i].to, e);
    }
    if (value && !strcmp(word, "id"))
        replace(&o->id, xstrdup(value));
    else if (value && !strcmp(word, "path"))
        replace(&o->path, o->kind == CHAR_SOCKET ? xprintf("unix:%s", value) : xstrdup(value));
    else if (value && !strcmp(word, "fd") && o->kind == CHAR_SOCKET)
        return parse_fd(o, value, e);
    else if (value && !strcmp(word, "logfile"))
        replace(&o->log, xstrdup(value));
    else if (value && !strcmp(word, "reconnect") && o->kind == CHAR_SOCKET)
        return parse_seconds(value, &o->reconnect, e);
    else if (value && !strcmp(word, "host"))
        *host = value;
    else if (value && !strcmp(word, "port"))
        *port = value;
    else
        return err_set(e, EINVAL, "Invalid parameter '%s'", word);
    return true;
}

static bool parse_rest(struct char_opts *o, char *rest, struct err *e)
{
    char *host = NULL, *port = NULL, *save = NULL;
    for (char *w = rest ? strtok_r(rest, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
        if (!parse_one(o, w, &host, &port, e))
            return false;
    }
    if (port)
        replace(&o->path, xprintf("%s:%s", host ? host : "", port));
    return true;
}

bool char_opts_check(const struct char_opts *o, struct err *e)
{
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].kind == o->kind && kinds[i].path && !o->path)
            return err_set(e, EINVAL, "chardev: %s: no filename given", kinds[i].name);
    }
    if (o->kind == CHAR_SOCKET && !o->path)
        return err_set(e, EINVAL, "chardev: socket: path or port is missing");
    return !o->server || !o->reconnect || err_set(e, EINVAL, "'reconnect' option is incompatible with socket in server listen mode");
}

bool char_opts_chardev(struct char_opts *o, const char *text, struct err *e)
{
    *o = (struct char_opts){.wait = true, .signal = true};
    char *copy = xstrdup(text), *rest = strchr(copy, ',');
    if (rest)
        *rest++ = 0;
    const char *kind = !strncmp(copy, "backend=", 8) ? copy + 8 : copy;
    bool good = char_kind_find(kind, &o->kind);
    if (!good)
        err_set(e, EINVAL, "'%s' is not a valid char driver name", kind);
    else
        good = parse_rest(o, rest, e) && char_opts_check(o, e);
    if (good && !o->id)
        good = err_set(e, EINVAL, "chardev: no id specified");
    free(copy);
    return good;
}

static bool starts(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

bool char_opts_serial(struct char_opts *o, const char *text, struct err *e)
{
    *o = (struct char_opts){.wait = true, .signal = true};
    if (starts(text, "mon:")) {
        o->mux = true;
        o->signal = false;
        text += 4;
    }
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t len = strlen(kinds[i].name);
        bool plain = !strcmp(text, kinds[i].name) && !kinds[i].path && kinds[i].kind != CHAR_SOCKET;
        if (plain || (kinds[i].path && starts(text, kinds[i].name) && text[len] == ':')) {
            o->kind = kinds[i].kind;
            o->path = plain ? NULL : xstrdup(text + len + 1);
            return true;
        }
    }
    bool local = starts(text, "unix:");
    o->telnet = starts(text, "telnet:");
    if (!local && !o->telnet && !starts(text, "tcp:"))
        return err_set(e, EINVAL, "'%s' is not a valid character device; there are: null, stdio, mon:stdio, file:PATH, "
                                  "pipe:PATH, pty, unix:PATH, tcp:HOST:PORT, telnet:HOST:PORT", text);
    o->kind = CHAR_SOCKET;
    char *copy = xstrdup(local ? text : strchr(text, ':') + 1), *rest = strchr(copy, ',');
    if (rest)
        *rest++ = 0;
    o->path = xstrdup(copy);
    bool good = parse_rest(o, rest, e) && char_opts_check(o, e);
    free(copy);
    return good;
}

void char_opts_free(struct char_opts *o)
{
    free(o->id);
    free(o->path);
    free(o->log);
}
