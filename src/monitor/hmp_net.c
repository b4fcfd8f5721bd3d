/* The human monitor on user-mode networks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_impl.h"

/* The network of this id, or, if that is NULL, the first that is in user mode; NULL with a message: there is none. */
static struct netdev *find_network(struct hmp_call *h, const char *id)
{
    const struct net_opts *o;
    for (size_t i = 0; (o = machine_network(h->m->machine, i)); i++) {
        if (id ? !strcmp(o->id, id) : o->kind == NET_USER)
            return machine_netdev(h->m->machine, i);
    }
    if (id)
        fprintf(h->out, "unrecognized netdev id '%s'\n", id);
    else
        fprintf(h->out, "user mode network stack not in use\n");
    return NULL;
}

typedef bool forward_fn(struct netdev *n, const struct net_forward *f, struct err *e);

static bool change(struct hmp_call *h, forward_fn *how, bool add, struct err *e)
{
    char *words[2], *copy;
    unsigned count = hmp_words(h->args, words, 2, &copy);
    const char *rule = count ? words[count - 1] : "";
    struct netdev *n = find_network(h, count == 2 ? words[0] : NULL);
    struct net_forward f;
    if (n && !net_forward_parse(&f, rule, add, e))
        fprintf(h->out, "%s\n", e->text);
    else if (n && !how(n, &f, e))
        fprintf(h->out, add ? "%s\n" : "host forwarding rule for %s not found\n", add ? e->text : rule);
    else if (n && !add)
        fprintf(h->out, "host forwarding rule for %s removed\n", rule);
    free(copy);
    return true;
}

bool hmp_hostfwd_add(struct hmp_call *h, struct err *e)
{
    return change(h, net_forward_add, true, e);
}

bool hmp_hostfwd_remove(struct hmp_call *h, struct err *e)
{
    return change(h, net_forward_remove, false, e);
}

bool hmp_info_usernet(struct hmp_call *h, struct err *e)
{
    const struct net_opts *o;
    for (size_t i = 0; (o = machine_network(h->m->machine, i)); i++) {
        char *text = o->kind == NET_USER ? net_connections(machine_netdev(h->m->machine, i), e) : NULL;
        if (text)
            fprintf(h->out, "Hub -1 (%s):\n%s", o->id, text);
        free(text);
    }
    return true;
}
