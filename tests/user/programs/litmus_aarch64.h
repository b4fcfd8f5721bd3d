/* What Arm forbids, for litmus.c. */

#define SCRATCH "x9", "x10", "cc"

#define ST(place, value)  "mov w9, #" #value "\n str w9, [%[" #place "]]\n"
#define STL(place, value) "mov w9, #" #value "\n stlr w9, [%[" #place "]]\n"
#define SWPL(place, value) "mov w9, #" #value "\n swpl w9, w10, [%[" #place "]]\n"
#define STLX(place, value)                                                                         \
    "mov w9, #" #value "\n 7: ldxr w10, [%[" #place "]]\n stlxr w10, w9, [%[" #place "]]\n"         \
    "cbnz w10, 7b\n"
#define LD(reg, place)    "ldr %w[" #reg "], [%[" #place "]]\n"
#define LDA(reg, place)   "ldar %w[" #reg "], [%[" #place "]]\n"
#define LDAX(reg, place)  "ldaxr %w[" #reg "], [%[" #place "]]\n clrex\n"
/* The address, or the value to store, comes from what was read, though it does not depend on it. */
#define LD_ADDR(reg, place, from)                                                                  \
    "eor x10, %[" #from "], %[" #from "]\n ldr %w[" #reg "], [%[" #place "], x10]\n"
#define ST_DATA(place, value, from)                                                                \
    "eor w9, %w[" #from "], %w[" #from "]\n add w9, w9, #" #value "\n str w9, [%[" #place "]]\n"
#define CTRL(from)     "cbz %w[" #from "], 8f\n 8:\n"
#define CTRL_ISB(from) "cbz %w[" #from "], 8f\n 8: isb\n"
#define DMB    "dmb ish\n"
#define DMB_ST "dmb ishst\n"
#define DMB_LD "dmb ishld\n"
/* Parts of the quadword and the whole of it. */
#define STQ            "mov x9, #-1\n str x9, [%[q]]\n"
#define STB(at)        "mov w9, #-1\n strb w9, [%[q], #" #at "]\n"
#define LDQ(reg)       "ldr %[" #reg "], [%[q]]\n"
#define LDW(reg, at)   "ldr %w[" #reg "], [%[q], #" #at "]\n"
#define LDH(reg)       "ldrh %w[" #reg "], [%[q]]\n"
/* What a register reads as 1 for 0 or "all ones", so that halves of a store are 0 or 1, too. */
#define TORN(reg)      "cmp %[" #reg "], #0\n ccmn %[" #reg "], #1, #4, ne\n cset %w[" #reg "], ne\n"
#define IS_SET(reg)    "cmp %w[" #reg "], #0\n cset %w[" #reg "], ne\n"
#define UPPER_ONLY(reg) "mov w9, #0xff00\n cmp %w[" #reg "], w9\n cset %w[" #reg "], eq\n"

THREAD(x1_y1, ST(x, 1) ST(y, 1))
THREAD(x1_dmb_y1, ST(x, 1) DMB ST(y, 1))
THREAD(x1_dmbst_y1, ST(x, 1) DMB_ST ST(y, 1))
THREAD(x1_rel_y1, ST(x, 1) STL(y, 1))
THREAD(x1_swpl_y1, ST(x, 1) SWPL(y, 1))
THREAD(x1_stlxr_y1, ST(x, 1) STLX(y, 1))
THREAD(x2_dmbst_y1, ST(x, 2) DMB_ST ST(y, 1))
THREAD(x2_rel_y1, ST(x, 2) STL(y, 1))
THREAD(y2_dmbst_x1, ST(y, 2) DMB_ST ST(x, 1))
THREAD(y2_rel_x1, ST(y, 2) STL(x, 1))
THREAD(ry_dmb_rx, LD(a, y) DMB LD(b, x))
THREAD(ry_dmbld_rx, LD(a, y) DMB_LD LD(b, x))
THREAD(ry_acq_rx, LDA(a, y) LD(b, x))
THREAD(ry_ldaxr_rx, LDAX(a, y) LD(b, x))
THREAD(ry_ctrlisb_rx, LD(a, y) CTRL_ISB(a) LD(b, x))
THREAD(rx_dmbld_ry, LD(a, x) DMB_LD LD(b, y))
THREAD(rx_dmb_ry, LD(a, x) DMB LD(b, y))
THREAD(rx_acq_ry, LDA(a, x) LDA(b, y))
THREAD(ry_acq_acq_rx, LDA(a, y) LDA(b, x))
THREAD(x1_dmb_ry, ST(x, 1) DMB LD(a, y))
THREAD(y1_dmb_rx, ST(y, 1) DMB LD(a, x))
THREAD(x1_rel_acq_ry, STL(x, 1) LDA(a, y))
THREAD(y1_rel_acq_rx, STL(y, 1) LDA(a, x))
THREAD(x1_stlxr_acq_ry, STLX(x, 1) LDA(a, y))
THREAD(y1_stlxr_acq_rx, STLX(y, 1) LDA(a, x))
THREAD(x1_swpl_acq_ry, SWPL(x, 1) LDA(a, y))
THREAD(y1_swpl_acq_rx, SWPL(y, 1) LDA(a, x))
THREAD(y2_dmb_rx, ST(y, 2) DMB LD(a, x))
THREAD(y2_rel_acq_rx, STL(y, 2) LDA(a, x))
THREAD(rx_acq_y1, LDA(a, x) ST(y, 1))
THREAD(ry_acq_x1, LDA(a, y) ST(x, 1))
THREAD(rx_dmb_y1, LD(a, x) DMB ST(y, 1))
THREAD(ry_dmb_x1, LD(a, y) DMB ST(x, 1))
THREAD(rx_rel_y1, LD(a, x) STL(y, 1))
THREAD(rx_acq_rx, LDA(a, x) LD(b, x))
THREAD(q_bytes, STB(0) DMB_ST STB(1))
THREAD(rq_low_high, LDW(a, 0) DMB_LD LDW(b, 4) IS_SET(a) IS_SET(b))

#define GUEST_TESTS                                                                                 \
    {"SB+dmb+dmb", {x1_dmb_ry, y1_dmb_rx}, SB},                                                    \
    {"SB+rel-acq+rel-acq", {x1_rel_acq_ry, y1_rel_acq_rx}, SB},                                    \
    {"SB+stlxr-acq+stlxr-acq", {x1_stlxr_acq_ry, y1_stlxr_acq_rx}, SB},                            \
    {"SB+swpl-acq+swpl-acq", {x1_swpl_acq_ry, y1_swpl_acq_rx}, SB},                                \
    {"SB+dmb+rel-acq", {x1_dmb_ry, y1_rel_acq_rx}, SB},                                            \
    {"MP+dmb+dmb", {x1_dmb_y1, ry_dmb_rx}, MP},                                                    \
    {"MP+dmb.st+dmb.ld", {x1_dmbst_y1, ry_dmbld_rx}, MP},                                          \
    {"MP+dmb.st+addr", {x1_dmbst_y1, ry_addr_rx}, MP},                                             \
    {"MP+rel+acq", {x1_rel_y1, ry_acq_rx}, MP},                                                    \
    {"MP+rel+ctrl-isb", {x1_rel_y1, ry_ctrlisb_rx}, MP},                                           \
    {"MP+swpl+ldaxr", {x1_swpl_y1, ry_ldaxr_rx}, MP},                                              \
    {"MP+stlxr+acq", {x1_stlxr_y1, ry_acq_rx}, MP},                                                \
    {"LB+acq+acq", {rx_acq_y1, ry_acq_x1}, LB},                                                    \
    {"LB+dmb+rel", {ry_dmb_x1, rx_rel_y1}, LB},                                                    \
    {"LB+dmb+data", {rx_dmb_y1, ry_data_x1}, LB},                                                  \
    {"S+dmb.st+data", {x2_dmbst_y1, ry_data_x1}, S},                                               \
    {"S+rel+acq", {x2_rel_y1, ry_acq_x1}, S},                                                      \
    {"R+dmb+dmb", {x1_dmb_y1, y2_dmb_rx}, R},                                                      \
    {"R+rel+rel-acq", {x1_rel_y1, y2_rel_acq_rx}, R},                                              \
    {"2+2W+dmb.st+dmb.st", {x2_dmbst_y1, y2_dmbst_x1}, W22},                                       \
    {"2+2W+rel+rel", {x2_rel_y1, y2_rel_x1}, W22},                                                 \
    {"IRIW+dmb+dmb", {x1, y1, rx_dmb_ry, ry_dmb_rx}, IRIW},                                        \
    {"IRIW+dmb.ld+addr", {x1, y1, rx_dmbld_ry, ry_addr_rx}, IRIW},                                 \
    {"IRIW+acq+acq", {x1, y1, rx_acq_ry, ry_acq_acq_rx}, IRIW},                                    \
    {"WRC+rel+acq", {x1, rx_rel_y1, ry_acq_rx}, WRC},                                              \
    {"CoRR+acq", {x1, rx_acq_rx}, {[A1] = IS(1), [B1] = IS(0)}},
