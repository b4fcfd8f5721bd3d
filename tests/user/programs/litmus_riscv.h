/* What RVWMO forbids (the unprivileged specification's memory model), for litmus.c. */

#define SCRATCH "t0", "t1"

#define ST(place, value)    "li t0, " #value "\n sw t0, 0(%[" #place "])\n"
#define SWAP(place, value, order) "li t0, " #value "\n amoswap.w" order " t1, t0, (%[" #place "])\n"
#define STRL(place, value)  SWAP(place, value, ".rl")
#define SCRL(place, value)                                                                         \
    "li t0, " #value "\n 7: lr.w t1, (%[" #place "])\n sc.w.rl t1, t0, (%[" #place "])\n bnez t1, 7b\n"
#define LD(reg, place)      "lw %[" #reg "], 0(%[" #place "])\n"
#define LDAQ(reg, place)    "lr.w.aq %[" #reg "], (%[" #place "])\n"
#define ORAQ(reg, place)    "amoor.w.aq %[" #reg "], zero, (%[" #place "])\n"
/* The address, or the value to store, comes from what was read, though it does not depend on it. */
#define LD_ADDR(reg, place, from)                                                                  \
    "xor t1, %[" #from "], %[" #from "]\n add t1, t1, %[" #place "]\n lw %[" #reg "], 0(t1)\n"
#define ST_DATA(place, value, from)                                                                \
    "xor t0, %[" #from "], %[" #from "]\n addi t0, t0, " #value "\n sw t0, 0(%[" #place "])\n"
#define CTRL(from)          "beqz %[" #from "], 8f\n 8:\n"
#define FENCE               "fence rw, rw\n"
#define FENCE_W             "fence w, w\n"
#define FENCE_R             "fence r, r\n"
#define FENCE_ACQ           "fence r, rw\n"
#define FENCE_REL           "fence rw, w\n"
#define FENCE_TSO           "fence.tso\n"
/* Parts of the quadword and the whole of it, read as 0, or as 1 for what must not be. */
#define STQ             "li t0, -1\n sd t0, 0(%[q])\n"
#define STB(at)         "li t0, -1\n sb t0, " #at "(%[q])\n"
#define LDQ(reg)        "ld %[" #reg "], 0(%[q])\n"
#define LDW(reg, at)    "lw %[" #reg "], " #at "(%[q])\n"
#define LDH(reg)        "lhu %[" #reg "], 0(%[q])\n"
#define TORN(reg)       "addi t0, %[" #reg "], 1\n sltiu t0, t0, 2\n xori %[" #reg "], t0, 1\n"
#define IS_SET(reg)     "snez %[" #reg "], %[" #reg "]\n"
#define UPPER_ONLY(reg) "li t0, 0xff00\n xor t0, t0, %[" #reg "]\n seqz %[" #reg "], t0\n"

THREAD(x1_fence_y1, ST(x, 1) FENCE ST(y, 1))
THREAD(x1_w_y1, ST(x, 1) FENCE_W ST(y, 1))
THREAD(x1_rel_y1, ST(x, 1) FENCE_REL ST(y, 1))
THREAD(x1_tso_y1, ST(x, 1) FENCE_TSO ST(y, 1))
THREAD(x1_rl_y1, ST(x, 1) STRL(y, 1))
THREAD(x1_scrl_y1, ST(x, 1) SCRL(y, 1))
THREAD(x2_w_y1, ST(x, 2) FENCE_W ST(y, 1))
THREAD(x2_rl_y1, ST(x, 2) STRL(y, 1))
THREAD(y2_w_x1, ST(y, 2) FENCE_W ST(x, 1))
THREAD(y2_rl_x1, ST(y, 2) STRL(x, 1))
THREAD(ry_fence_rx, LD(a, y) FENCE LD(b, x))
THREAD(ry_r_rx, LD(a, y) FENCE_R LD(b, x))
THREAD(ry_acq_rx, LD(a, y) FENCE_ACQ LD(b, x))
THREAD(ry_tso_rx, LD(a, y) FENCE_TSO LD(b, x))
THREAD(ry_lraq_rx, LDAQ(a, y) LD(b, x))
THREAD(ry_oraq_rx, ORAQ(a, y) LD(b, x))
THREAD(rx_r_ry, LD(a, x) FENCE_R LD(b, y))
THREAD(rx_fence_ry, LD(a, x) FENCE LD(b, y))
THREAD(rx_lraq_ry, LDAQ(a, x) LDAQ(b, y))
THREAD(ry_lraq_lraq_rx, LDAQ(a, y) LDAQ(b, x))
THREAD(x1_fence_ry, ST(x, 1) FENCE LD(a, y))
THREAD(y1_fence_rx, ST(y, 1) FENCE LD(a, x))
THREAD(x1_rl_aq_ry, STRL(x, 1) LDAQ(a, y))
THREAD(y1_rl_aq_rx, STRL(y, 1) LDAQ(a, x))
THREAD(x1_scrl_aq_ry, SCRL(x, 1) LDAQ(a, y))
THREAD(y1_scrl_aq_rx, SCRL(y, 1) LDAQ(a, x))
THREAD(x1_aqrl_ry, SWAP(x, 1, ".aqrl") LD(a, y))
THREAD(y1_aqrl_rx, SWAP(y, 1, ".aqrl") LD(a, x))
THREAD(y2_fence_rx, ST(y, 2) FENCE LD(a, x))
THREAD(y2_rl_aq_rx, STRL(y, 2) LDAQ(a, x))
THREAD(rx_aq_y1, LDAQ(a, x) ST(y, 1))
THREAD(ry_aq_x1, LDAQ(a, y) ST(x, 1))
THREAD(rx_acq_y1, LD(a, x) FENCE_ACQ ST(y, 1))
THREAD(ry_rel_x1, LD(a, y) FENCE_REL ST(x, 1))
THREAD(rx_rl_y1, LD(a, x) STRL(y, 1))
THREAD(rx_aq_rx, LDAQ(a, x) LD(b, x))
THREAD(q_bytes, STB(0) FENCE_W STB(1))
THREAD(rq_low_high, LDW(a, 0) FENCE_R LDW(b, 4) IS_SET(a) IS_SET(b))

#define GUEST_TESTS                                                                                 \
    {"SB+fence+fence", {x1_fence_ry, y1_fence_rx}, SB},                                            \
    {"SB+rl-aq+rl-aq", {x1_rl_aq_ry, y1_rl_aq_rx}, SB},                                            \
    {"SB+scrl-aq+scrl-aq", {x1_scrl_aq_ry, y1_scrl_aq_rx}, SB},                                    \
    {"SB+aqrl+aqrl", {x1_aqrl_ry, y1_aqrl_rx}, SB},                                                \
    {"SB+fence+rl-aq", {x1_fence_ry, y1_rl_aq_rx}, SB},                                            \
    {"MP+fence+fence", {x1_fence_y1, ry_fence_rx}, MP},                                            \
    {"MP+fence.w+fence.r", {x1_w_y1, ry_r_rx}, MP},                                                \
    {"MP+fence.rel+fence.acq", {x1_rel_y1, ry_acq_rx}, MP},                                        \
    {"MP+fence.tso+fence.tso", {x1_tso_y1, ry_tso_rx}, MP},                                        \
    {"MP+fence.w+addr", {x1_w_y1, ry_addr_rx}, MP},                                                \
    {"MP+rl+lraq", {x1_rl_y1, ry_lraq_rx}, MP},                                                    \
    {"MP+scrl+oraq", {x1_scrl_y1, ry_oraq_rx}, MP},                                                \
    {"LB+aq+aq", {rx_aq_y1, ry_aq_x1}, LB},                                                        \
    {"LB+fence.acq+fence.rel", {rx_acq_y1, ry_rel_x1}, LB},                                        \
    {"LB+rl+data", {rx_rl_y1, ry_data_x1}, LB},                                                    \
    {"S+fence.w+data", {x2_w_y1, ry_data_x1}, S},                                                  \
    {"S+rl+aq", {x2_rl_y1, ry_aq_x1}, S},                                                          \
    {"R+fence+fence", {x1_fence_y1, y2_fence_rx}, R},                                              \
    {"R+rl+rl-aq", {x1_rl_y1, y2_rl_aq_rx}, R},                                                    \
    {"2+2W+fence.w+fence.w", {x2_w_y1, y2_w_x1}, W22},                                             \
    {"2+2W+rl+rl", {x2_rl_y1, y2_rl_x1}, W22},                                                     \
    {"IRIW+fence+fence", {x1, y1, rx_fence_ry, ry_fence_rx}, IRIW},                                \
    {"IRIW+fence.r+addr", {x1, y1, rx_r_ry, ry_addr_rx}, IRIW},                                    \
    {"IRIW+aq+aq", {x1, y1, rx_lraq_ry, ry_lraq_lraq_rx}, IRIW},                                   \
    {"WRC+rl+aq", {x1, rx_rl_y1, ry_lraq_rx}, WRC},                                                \
    {"CoRR+aq", {x1, rx_aq_rx}, {[A1] = IS(1), [B1] = IS(0)}},
