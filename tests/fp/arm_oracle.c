/* Runs on an AArch64: reads records from standard input, executes each one's instruction with its
 * operands and control register, writes the record back with results and status. */
#include <unistd.h>

#include "arm_ops.h"

#define X(name, insn, ...)                                                                         \
    static void op_##name(struct arm_record *r)                                                    \
    {                                                                                              \
        register uint64_t x0 __asm__("x0") = r->a;                                                 \
        uint64_t v, fpsr, nzcv;                                                                    \
        __asm__ volatile(                                                                          \
            "fmov d0, %[a]\n fmov d1, %[b]\n fmov d2, %[c]\n"                                      \
            "msr fpcr, %[fpcr]\n msr fpsr, xzr\n" insn "\n"                                        \
            "mrs %[fpsr], fpsr\n mrs %[nzcv], nzcv\n msr fpcr, xzr\n"                              \
            "fmov %[v], d0\n"                                                                      \
            : "+r"(x0), [v] "=&r"(v), [fpsr] "=&r"(fpsr), [nzcv] "=&r"(nzcv)                       \
            : [a] "r"(r->a), [b] "r"(r->b), [c] "r"(r->c), [fpcr] "r"((uint64_t)r->fpcr)           \
            : "v0", "v1", "v2", "cc", "memory");                                                   \
        r->v = v, r->x = x0, r->fpsr = (uint32_t)fpsr, r->nzcv = (uint32_t)nzcv >> 28;             \
    }
ARM_OPS(X)
#undef X

static void (*const run[])(struct arm_record *) = {
#define X(name, ...) op_##name,
    ARM_OPS(X)
#undef X
};

static int move_all(int fd, ssize_t (*move)(int, void *, size_t), void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = move(fd, (char *)data + done, size - done);
        if (n <= 0)
            return 0;
        done += (size_t)n;
    }
    return 1;
}

static ssize_t write_some(int fd, void *data, size_t size)
{
    return write(fd, data, size);
}

int main(void)
{
    struct arm_record batch[ARM_BATCH];
    while (move_all(0, read, batch, sizeof(batch))) {
        for (int i = 0; i < ARM_BATCH; i++)
            run[batch[i].op](&batch[i]);
        if (!move_all(1, write_some, batch, sizeof(batch)))
            return 1;
    }
    return 0;
}
