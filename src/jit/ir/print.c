#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jit/ir/text.h"

const char *const ir_icond_names[12] = {"eq",  "ne",  "ult", "uge", "ule", "ugt",
                                        "slt", "sge", "sle", "sgt", "tz",  "tnz"};
const char *const ir_cc_names[14] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs",
                                     "vc", "hi", "ls", "ge", "lt", "gt", "le"};
const struct ir_mem_flag ir_mem_flags[IR_MEM_FLAGS] = {
    {"s", IR_MEM_SIGNED}, {"acq", IR_MEM_ACQ},     {"rel", IR_MEM_REL},
    {"sc", IR_MEM_SC},    {"sx32", IR_MEM_SEXT32}, {"zx32", IR_MEM_ZEXT32},
    {"unpriv", IR_MEM_UNPRIV},
};

enum ir_text_form ir_text_form(unsigned op)
{
    switch (op) {
    case IR_CONST:
        return IR_FORM_CONST;
    case IR_PARAM:
        return IR_FORM_PARAM;
    case IR_LD:
    case IR_ST:
        return IR_FORM_ACCESS;
    case IR_F2I:
    case IR_I2F:
    case IR_F2IV:
    case IR_I2FV:
        return IR_FORM_CVT;
    case IR_JMP:
        return IR_FORM_JMP;
    case IR_BR:
        return IR_FORM_BR;
    case IR_EXIT_LINK:
        return IR_FORM_PC;
    case IR_EXIT_BR:
        return IR_FORM_BR_PC;
    case IR_EXIT_IF:
        return IR_FORM_IF_PC;
    case IR_CALL:
        return IR_FORM_CALL;
    case IR_CALL_IND:
        return IR_FORM_CALL_IND;
    case IR_RAISE:
        return IR_FORM_RAISE;
    case IR_HELPER:
        return IR_FORM_HELPER;
    default:
        return IR_FORM_OPERANDS;
    }
}

static void print_value(FILE *f, const struct ir_region *r, irv v)
{
    if (!v)
        fputs("-", f);
    else if (ir_is_entry(v))
        fputs(r->slots->slot[v - 1].name, f);
    else
        fprintf(f, "v%u", v);
}

static void print_aux(FILE *f, const struct ir_node *n, const char *kind)
{
    unsigned aux = n->aux & ~(unsigned)(ir_type_is_vec(n->type) ? IR_AUX_UPZ : 0);
    if (!*kind) {
        if (aux)
            fprintf(f, " #%u", aux);
    } else if (kind[0] == 'i') {
        fprintf(f, " %s%u", ir_icond_names[(aux & 15) % 12], (aux >> 4) * 32);
    } else if (kind[0] == 'c' && kind[1] == 'c') {
        fprintf(f, " %s", ir_cc_names[(aux & 15) % 14]);
    } else if (kind[0] == 'm') {
        fprintf(f, " %u", 1u << (aux & IR_MEM_SIZE));
        for (unsigned i = 0; i < IR_MEM_FLAGS; i++) {
            if (aux & ir_mem_flags[i].bit)
                fprintf(f, ".%s", ir_mem_flags[i].name);
        }
        if (aux & IR_MEM_SCALE)
            fprintf(f, ".x%u", 1u << ((aux & IR_MEM_SCALE) >> IR_MEM_SCALE_SHIFT));
    } else {
        fprintf(f, " #%u", aux);
    }
}

static void print_edge(FILE *f, const struct ir_region *r, u32 edge)
{
    const struct ir_edge *e = &r->edge[edge];
    fprintf(f, "b%u", e->block);
    for (u32 i = 0; i < e->count; i++) {
        fputs(i ? ", " : "(", f);
        print_value(f, r, r->args[e->first + i]);
    }
    if (e->count)
        fputs(")", f);
}

static int by_slot(const void *a, const void *b)
{
    return (int)((const struct ir_put *)a)->slot - (int)((const struct ir_put *)b)->slot;
}

static void print_map(FILE *f, const struct ir_region *r, u32 map)
{
    struct ir_put put[IR_MAX_SLOTS];
    unsigned n = ir_map_resolve(r, map, put);
    qsort(put, n, sizeof(*put), by_slot);
    fprintf(f, " {pc=%#" PRIx64, r->map[map].pc);
    for (unsigned i = 0; i < n; i++) {
        fprintf(f, ", %s=", r->slots->slot[put[i].slot].name);
        print_value(f, r, put[i].value);
    }
    fputs("}", f);
}

static void print_operands(FILE *f, const struct ir_region *r, const struct ir_node *n,
                           unsigned nargs)
{
    const irv arg[3] = {n->a, n->b, n->c};
    for (unsigned i = 0; i < nargs; i++) {
        fputs(i ? ", " : " ", f);
        print_value(f, r, arg[i]);
    }
}

static void print_rest(FILE *f, const struct ir_region *r, const struct ir_node *n,
                       const struct ir_opinfo *info)
{
    switch (ir_text_form(n->op)) {
    case IR_FORM_CONST:
    case IR_FORM_PC:
        fprintf(f, " %#" PRIx64, n->imm);
        break;
    case IR_FORM_PARAM:
        if (n->imm)
            fprintf(f, " %s", r->slots->slot[n->imm - 1].name);
        break;
    case IR_FORM_ACCESS:
        print_operands(f, r, n, info->nargs);
        fprintf(f, ", %d", ir_node_disp(n));
        break;
    case IR_FORM_CVT:
        print_operands(f, r, n, info->nargs);
        fprintf(f, ", %u", (unsigned)n->imm);
        break;
    case IR_FORM_JMP:
        fputs(" ", f);
        print_edge(f, r, n->b);
        break;
    case IR_FORM_BR:
        print_operands(f, r, n, 1);
        fputs(", ", f);
        print_edge(f, r, n->b);
        fputs(", ", f);
        print_edge(f, r, n->c);
        break;
    case IR_FORM_BR_PC:
        print_operands(f, r, n, 1);
        fprintf(f, ", %#" PRIx64 ", ", n->imm);
        print_value(f, r, n->b);
        break;
    case IR_FORM_IF_PC:
        print_operands(f, r, n, 2);
        fprintf(f, ", %#" PRIx64, n->imm);
        break;
    case IR_FORM_CALL:
        fprintf(f, " %#" PRIx64 ", ", n->imm);
        print_value(f, r, n->b);
        break;
    case IR_FORM_CALL_IND:
        print_operands(f, r, n, 2);
        break;
    case IR_FORM_RAISE:
        fprintf(f, " %u, ", (unsigned)n->imm);
        print_value(f, r, n->a);
        break;
    case IR_FORM_HELPER:
        fprintf(f, " %u,", (u32)n->imm);
        print_operands(f, r, n, 3);
        break;
    default:
        print_operands(f, r, n, info->nargs);
        break;
    }
}

static void print_node(FILE *f, const struct ir_region *r, irv v)
{
    const struct ir_node *n = &r->node[v];
    struct ir_opinfo info = ir_info(n->op);
    fputs("  ", f);
    if (n->type != IR_VOID)
        fprintf(f, "v%u = %s.%s", v, info.text, ir_type_name(n->type));
    else
        fputs(info.text, f);
    print_aux(f, n, info.aux);
    print_rest(f, r, n, &info);
    if (ir_has_map(n->op))
        print_map(f, r, ir_node_map(n));
    fputs("\n", f);
}

char *ir_print(const struct ir_region *r)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, "region %#" PRIx64 "%s\n", r->pc, r->by_state ? " by_state" : "");
    for (u32 i = 0; i < r->nblocks; i++) {
        if (r->by_state)
            fprintf(f, "b%u %#" PRIx64 "%s%.0u:\n", i, r->block[i].pc, r->block[i].copy ? " #" : "", r->block[i].copy);
        else
            fprintf(f, "b%u:\n", i);
        for (irv v = r->block[i].first; v < r->block[i].end; v++)
            print_node(f, r, v);
    }
    fclose(f);
    return text;
}
