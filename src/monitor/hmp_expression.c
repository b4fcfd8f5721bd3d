/* Expressions: numbers as in C, 'c', $register, ( ), unary + - ~, then * / %, then + -, then & | ^, from left to right. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/hmp_impl.h"

struct parser {
    struct hmp_call *h;
    const char *at;
    struct err *e;
};

static void skip_space(struct parser *p)
{
    p->at += strspn(p->at, " \t");
}

static bool level(struct parser *p, unsigned n, u64 *value);

static bool fail(struct parser *p, const char *what)
{
    return err_set(p->e, EINVAL, "%s", what);
}

static bool read_register(struct parser *p, u64 *value)
{
    char name[32];
    size_t len = 0;
    while (isalnum((u8)p->at[len]) || p->at[len] == '_')
        len++;
    if (len >= sizeof(name))
        return fail(p, "unknown register");
    memcpy(name, p->at, len);
    name[len] = 0;
    p->at += len;
    machine_hold(p->h->m->machine);
    struct vcpu *v = machine_vcpu(p->h->m->machine, p->h->c->cpu);
    int reg = v ? isa_reg_find(v->isa, name) : -1;
    bool known = reg >= 0 && isa_reg_bytes(v->isa, reg) <= 8;
    if (known)
        *value = vcpu_get(v, reg);
    machine_release(p->h->m->machine);
    return known || fail(p, "unknown register");
}

static bool character(struct parser *p, u64 *value)
{
    if (!p->at[0])
        return fail(p, "character constant expected");
    *value = (u8)*p->at++;
    if (*p->at != '\'')
        return fail(p, "missing terminating \' character");
    p->at++;
    return true;
}

static bool number(struct parser *p, u64 *value)
{
    char *end;
    errno = 0;
    *value = strtoull(p->at, &end, 0);
    if (errno == ERANGE)
        return fail(p, "number too large");
    if (end == p->at)
        return err_set(p->e, EINVAL, "invalid char '%c' in expression", *p->at);
    p->at = end;
    return true;
}

static bool unary(struct parser *p, u64 *value)
{
    skip_space(p);
    switch (*p->at) {
    case 0:
        return fail(p, "unexpected end of expression");
    case '+':
        p->at++;
        return unary(p, value);
    case '-':
    case '~': {
        char op = *p->at++;
        if (!unary(p, value))
            return false;
        *value = op == '-' ? 0 - *value : ~*value;
        return true;
    }
    case '(':
        p->at++;
        if (!level(p, 0, value))
            return false;
        skip_space(p);
        return *p->at++ == ')' || fail(p, "')' expected");
    case '\'':
        p->at++;
        return character(p, value);
    case '$':
        p->at++;
        return read_register(p, value);
    default:
        return number(p, value);
    }
}

static bool apply(struct parser *p, char op, u64 *value, u64 right)
{
    if ((op == '/' || op == '%') && !right)
        return fail(p, "division by zero");
    switch (op) {
    case '*':
        *value *= right;
        break;
    case '/':
        *value /= right;
        break;
    case '%':
        *value %= right;
        break;
    case '+':
        *value += right;
        break;
    case '-':
        *value -= right;
        break;
    case '&':
        *value &= right;
        break;
    case '|':
        *value |= right;
        break;
    default:
        *value ^= right;
    }
    return true;
}

/* Operands joined by the operators of a level, from left to right; those of the next level bind tighter. */
static bool level(struct parser *p, unsigned n, u64 *value)
{
    static const char *const operators[] = {"&|^", "+-", "*/%"};
    if (n == ARRAY_LEN(operators))
        return unary(p, value);
    if (!level(p, n + 1, value))
        return false;
    for (;;) {
        u64 right;
        skip_space(p);
        char op = *p->at;
        if (!op || !strchr(operators[n], op))
            return true;
        p->at++;
        if (!level(p, n + 1, &right) || !apply(p, op, value, right))
            return false;
    }
}

bool hmp_expression(struct hmp_call *h, const char **at, u64 *value, struct err *e)
{
    struct parser p = {h, *at, e};
    if (!level(&p, 0, value))
        return false;
    skip_space(&p);
    *at = p.at;
    return true;
}
