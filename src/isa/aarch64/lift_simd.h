/* What the Advanced SIMD lifters share. */
#ifndef LYRE_ISA_AARCH64_LIFT_SIMD_H
#define LYRE_ISA_AARCH64_LIFT_SIMD_H

#include "base/bits.h"
#include "isa/aarch64/lift.h"

enum a64_vcmp { VCMP_EQ, VCMP_GT, VCMP_GE, VCMP_HI, VCMP_HS, VCMP_TST };

/* Lanes of ones where the comparison holds. */
irv a64_compare(struct lift *l, unsigned type, unsigned size, enum a64_vcmp how, irv x, irv y);

/* A constant of equal lanes. */
irv a64_splat(struct lift *l, unsigned size, u64 x);

/* Shift each lane right, perhaps rounding by the last bit that falls out. */
irv a64_shift_right(struct lift *l, unsigned type, unsigned size, unsigned by, bool is_unsigned, bool round,
                    irv x);

/* Amounts of shifts by register, the signed low byte of each lane, as wide as the lane; and a shift to the right
 * by amounts that are not negative where it matters. */
irv a64_shift_amounts(struct lift *l, unsigned size, irv by);
irv a64_shift_right_by(struct lift *l, unsigned size, bool is_unsigned, bool round, irv x, irv by);

/* The lane size of a shift by an immediate: the highest set bit of immh, the upper four bits of imm. */
unsigned a64_shift_size(unsigned imm);

/* A result: one lane of a scalar form, or the lower or whole register. */
void a64_put_lanes(struct lift *l, unsigned sc, unsigned size, unsigned q, unsigned rd, irv v);

/* The lowest lane of 1 << size bytes, zero above. */
irv a64_lane_zx(struct lift *l, unsigned size, irv v);

/* A narrow result goes to the lower half, or for q to the upper half beside what is there. */
void a64_put_narrow(struct lift *l, unsigned q, unsigned rd, irv v);

/* The lane h:l:m of v<m:rm> (of v<rm> for 16 bits) in every lane. */
irv a64_index_lane(struct lift *l, unsigned size, unsigned hlm, unsigned mrm);

#endif
