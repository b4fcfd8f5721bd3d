/* The parts of the cipher SM4 (GB/T 32907) that instruction sets offer, on words in big-endian order. */
#ifndef LYRE_CPU_SM4_H
#define LYRE_CPU_SM4_H

#include "base/types.h"

/* The S-box on each byte. */
u32 sm4_substitute(u32 x);

/* The linear maps of rounds, L, and of the key schedule, L'. */
u32 sm4_mix_data(u32 x);
u32 sm4_mix_key(u32 x);

#endif
