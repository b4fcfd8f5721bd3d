/* Bit manipulation and scalar cryptography by known answers: FIPS 180-4 and 197, GB/T 32905 and 32907, and the
 * specification's own definitions of carry-less products and permutations.
 * guest: riscv64
 * link: static
 * cpu: max
 * peer cpu: rv64,zbkb=true,zbkc=true,zbkx=true,zknd=true,zkne=true,zknh=true,zksed=true,zksh=true,zbc=true
 * flags: -march=rv64gc_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx_zknd_zkne_zknh_zksed_zksh */
#include "riscv_check.h"

static uint32_t rotate_left(uint32_t v, int n)
{
    return v << n | v >> (-n & 31);
}

static void bits(void)
{
    CHECK_OP("sh1add", 3, 10, 16);
    CHECK_OP("sh3add", ALL, 0, -8);
    CHECK_OP("sh2add.uw", 0xf00000001, 1, 5);
    CHECK_OP("add.uw", 0xffffffff80000000, 1, 0x80000001);
    CHECK_OPI("slli.uw", 0xffffffff80000001, 32, 0x8000000100000000);
    check("clz 0", OP1("clz", 0), 64);
    check("clzw 0", OP1("clzw", 0x100000000), 32);
    check("ctz 0", OP1("ctz", 0), 64);
    check("ctzw", OP1("ctzw", 0x100000000), 32);
    check("cpop", OP1("cpop", ALL), 64);
    check("cpopw", OP1("cpopw", 0x100000003), 2);
    CHECK_OP("andn", 0xff, 0x0f, 0xf0);
    CHECK_OP("orn", 0, 0xf, ~0xful);
    CHECK_OP("xnor", 0xff, 0x0f, ~0xf0ul);
    CHECK_OP("max", -1, 1, 1);
    CHECK_OP("maxu", -1, 1, ALL);
    CHECK_OP("min", -1, 1, ALL);
    CHECK_OP("minu", -1, 1, 1);
    CHECK_OP("rol", 0x8000000000000001, 65, 3);
    CHECK_OP("rolw", 0x80000000, 33, 1);
    CHECK_OP("ror", 1, 1, MIN64);
    CHECK_OP("rorw", 1, 1, 0xffffffff80000000);
    CHECK_OPI("rori", 1, 63, 2);
    CHECK_OPI("roriw", 0x1, 1, 0xffffffff80000000);
    check("orc.b", OP1("orc.b", 0x0100800000200001), 0xff00ff0000ff00ff);
    check("rev8", OP1("rev8", 0x0102030405060708), 0x0807060504030201);
    check("brev8", OP1("brev8", 0x0180), 0x8001);
    check("sext.b", OP1("sext.b", 0x80), -128);
    check("zext.h", OP1("zext.h", ALL), 0xffff);
    CHECK_OP("bset", 0, 127, MIN64);
    CHECK_OP("bclr", ALL, 64, ALL - 1);
    CHECK_OP("binv", 1, 0, 0);
    CHECK_OP("bext", MIN64, 63, 1);
    CHECK_OPI("bexti", 4, 2, 1);
    CHECK_OP("pack", 0x1111111122222222, 0x3333333344444444, 0x4444444422222222);
    CHECK_OP("packh", 0x12, 0x34, 0x3412);
    CHECK_OP("packw", 0x1111, 0x8222, 0xffffffff82221111);
    CHECK_OP("xperm4", 0xfedcba9876543210, 0x0123456789abcdef, 0x0123456789abcdef);
    CHECK_OP("xperm8", 0x0706050403020100, 0x0007ff0105060203, 0x0007000105060203);
    CHECK_OP("xperm4", 0x1111111111111112, 0x0f, 0x2222222222222221);
}

/* The specification's loops. */
static void carry_less(void)
{
    uint64_t a = 0x9e3779b97f4a7c15, b = 0xd1b54a32d192ed03;
    for (int round = 0; round < 50; round++, a = a * 3 + b, b = b * 5 + a) {
        uint64_t low = 0, high = 0, reversed = 0;
        for (int i = 0; i < 64; i++) {
            low ^= b >> i & 1 ? a << i : 0;
            high ^= i && b >> i & 1 ? a >> (64 - i) : 0;
            reversed ^= b >> i & 1 ? a >> (63 - i) : 0;
        }
        CHECK_OP("clmul", a, b, low);
        CHECK_OP("clmulh", a, b, high);
        CHECK_OP("clmulr", a, b, reversed);
    }
}

/* One block of SHA-256: "abc", padded. */
static void sha256(void)
{
    static const uint32_t primes[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint32_t w[64] = {0x61626380, [15] = 24}, k[64], h[8];
    /* The round constants are the fractions of cube roots of primes: found as integers. */
    for (int n = 0, p = 2; n < 64; p++) {
        int prime = 1;
        for (int d = 2; d * d <= p; d++)
            prime &= p % d != 0;
        if (!prime)
            continue;
        unsigned __int128 root = 0;
        for (int bit = 35; bit >= 0; bit--) {
            unsigned __int128 t = root | (unsigned __int128)1 << bit;
            if (t * t * t <= (unsigned __int128)p << 96)
                root = t;
        }
        k[n++] = (uint32_t)root;
    }
    for (int i = 16; i < 64; i++)
        w[i] = (uint32_t)(OP1("sha256sig1", w[i - 2]) + w[i - 7] + OP1("sha256sig0", w[i - 15]) + w[i - 16]);
    memcpy(h, primes, sizeof(h));
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h[7] + (uint32_t)OP1("sha256sum1", h[4]) + ((h[4] & h[5]) ^ (~h[4] & h[6])) + k[i] + w[i];
        uint32_t t2 = (uint32_t)OP1("sha256sum0", h[0]) + ((h[0] & h[1]) ^ (h[0] & h[2]) ^ (h[1] & h[2]));
        memmove(h + 1, h, 7 * 4);
        h[4] += t1;
        h[0] = t1 + t2;
    }
    check("SHA-256 begins", (uint64_t)(h[0] + primes[0]) << 32 | (uint32_t)(h[1] + primes[1]), 0xba7816bf8f01cfea);
    check("SHA-256 ends", (uint64_t)(h[6] + primes[6]) << 32 | (uint32_t)(h[7] + primes[7]), 0xb410ff61f20015ad);
}

static uint64_t rotate_right64(uint64_t v, int n)
{
    return v >> n | v << (64 - n);
}

static void sha512_and_sm3(void)
{
    const uint64_t v = 0x0123456789abcdef;
    check("sha512sig0", OP1("sha512sig0", v), rotate_right64(v, 1) ^ rotate_right64(v, 8) ^ v >> 7);
    check("sha512sig1", OP1("sha512sig1", v), rotate_right64(v, 19) ^ rotate_right64(v, 61) ^ v >> 6);
    check("sha512sum0", OP1("sha512sum0", v), rotate_right64(v, 28) ^ rotate_right64(v, 34) ^ rotate_right64(v, 39));
    check("sha512sum1", OP1("sha512sum1", v), rotate_right64(v, 14) ^ rotate_right64(v, 18) ^ rotate_right64(v, 41));
    const uint32_t x = 0x89abcdef;
    check("sm3p0", OP1("sm3p0", x), (uint64_t)(int32_t)(x ^ rotate_left(x, 9) ^ rotate_left(x, 17)));
    check("sm3p1", OP1("sm3p1", x), (uint64_t)(int32_t)(x ^ rotate_left(x, 15) ^ rotate_left(x, 23)));
}

/* The key schedule for 128 bits; `rcon` is the round number, a constant of the instruction. */
#define AES_KEY(n)                                                                                 \
    do {                                                                                           \
        uint64_t t_ = OPI("aes64ks1i", key[2 * (n) + 1], n);                                       \
        key[2 * (n) + 2] = OP("aes64ks2", t_, key[2 * (n)]);                                       \
        key[2 * (n) + 3] = OP("aes64ks2", key[2 * (n) + 2], key[2 * (n) + 1]);                     \
    } while (0)

/* FIPS 197, appendix C.1, there and back. */
static void aes(void)
{
    uint64_t key[22] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint64_t a = 0x7766554433221100, b = 0xffeeddccbbaa9988, t;
    AES_KEY(0);
    AES_KEY(1);
    AES_KEY(2);
    AES_KEY(3);
    AES_KEY(4);
    AES_KEY(5);
    AES_KEY(6);
    AES_KEY(7);
    AES_KEY(8);
    AES_KEY(9);
    a ^= key[0];
    b ^= key[1];
    for (int round = 1; round < 10; round++) {
        t = OP("aes64esm", a, b) ^ key[2 * round];
        b = OP("aes64esm", b, a) ^ key[2 * round + 1];
        a = t;
    }
    t = OP("aes64es", a, b) ^ key[20];
    b = OP("aes64es", b, a) ^ key[21];
    a = t;
    uint8_t out[16];
    static const uint8_t want[16] = {0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a};
    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
    check("AES-128", memcmp(out, want, 16), 0);
    a ^= key[20];
    b ^= key[21];
    for (int round = 9; round > 0; round--) {
        uint64_t ka = OP1("aes64im", key[2 * round]), kb = OP1("aes64im", key[2 * round + 1]);
        t = OP("aes64dsm", a, b) ^ ka;
        b = OP("aes64dsm", b, a) ^ kb;
        a = t;
    }
    t = OP("aes64ds", a, b) ^ key[0];
    b = OP("aes64ds", b, a) ^ key[1];
    check("AES-128 back, low", t, 0x7766554433221100);
    check("AES-128 back, high", b, 0xffeeddccbbaa9988);
}

#define SM4(insn, acc, v)                                                                          \
    do {                                                                                           \
        uint32_t v_ = (v);                                                                         \
        for (int i_ = 0; i_ < 4; i_++) {                                                           \
            uint64_t d_;                                                                           \
            __asm__ volatile(                                                                      \
                "beqz %3, 0f\n li t0, 1\n beq %3, t0, 1f\n li t0, 2\n beq %3, t0, 2f\n " insn      \
                " %0, %1, %2, 3\n j 4f\n 0: " insn " %0, %1, %2, 0\n j 4f\n 1: " insn              \
                " %0, %1, %2, 1\n j 4f\n 2: " insn " %0, %1, %2, 2\n 4:"                           \
                : "=r"(d_)                                                                         \
                : "r"((uint64_t)(acc)), "r"((uint64_t)v_), "r"(i_)                                 \
                : "t0");                                                                           \
            (acc) = (uint32_t)d_;                                                                  \
        }                                                                                          \
    } while (0)

/* GB/T 32907, appendix A.1. */
static void sm4(void)
{
    static const uint32_t fk[4] = {0xa3b1bac6, 0x56aa3350, 0x677d9197, 0xb27022dc};
    static const uint8_t key[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    uint32_t k[36], x[36];
    for (int i = 0; i < 4; i++) {
        memcpy(&x[i], key + 4 * i, 4); /* the instructions work on words as they lie in memory */
        k[i] = x[i] ^ __builtin_bswap32(fk[i]);
    }
    for (int i = 0; i < 32; i++) {
        uint32_t ck = 0;
        for (int j = 0; j < 4; j++)
            ck |= ((uint32_t)(4 * i + j) * 7 & 0xff) << (8 * j);
        k[i + 4] = k[i];
        SM4("sm4ks", k[i + 4], k[i + 1] ^ k[i + 2] ^ k[i + 3] ^ ck);
    }
    for (int i = 0; i < 32; i++) {
        x[i + 4] = x[i];
        SM4("sm4ed", x[i + 4], x[i + 1] ^ x[i + 2] ^ x[i + 3] ^ k[i + 4]);
    }
    check("SM4, begins", (uint64_t)__builtin_bswap32(x[35]) << 32 | __builtin_bswap32(x[34]), 0x681edf34d206965e);
    check("SM4, ends", (uint64_t)__builtin_bswap32(x[33]) << 32 | __builtin_bswap32(x[32]), 0x86b3e94f536e4246);
}

int main(void)
{
    bits();
    carry_less();
    sha256();
    sha512_and_sm3();
    aes();
    sm4();
    return report();
}
