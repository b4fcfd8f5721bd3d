/* The IR text parser takes any text; what it takes and the verifier passes comes out of the printer
 * as text that gives the same region again. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/isa.h"
#include "jit/ir/ir.h"

static void fail(const char *what, const struct err *e, const char *text)
{
    fprintf(stderr, "%s: %s\n%s\n", what, e->text, text);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    struct err e = {0};
    struct ir_region r, again;
    ir_region_init(&r);
    ir_region_init(&again);
    if (ir_parse(&r, &isa_aarch64.slots, text, &e)) {
        if (ir_verify(&r, isa_aarch64.helpers, &e)) {
            char *first = ir_print(&r);
            if (!ir_parse(&again, &isa_aarch64.slots, first, &e))
                fail("printed text does not parse", &e, first);
            if (!ir_verify(&again, isa_aarch64.helpers, &e))
                fail("printed text does not verify", &e, first);
            char *second = ir_print(&again);
            if (strcmp(first, second))
                fail("printed text changes", &e, first);
            free(first);
            free(second);
        }
    }
    ir_region_free(&r);
    ir_region_free(&again);
    free(text);
    return 0;
}
