/* Fixed-width names and the few macros that every folder uses. */
#ifndef LYRE_BASE_TYPES_H
#define LYRE_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* A 128-bit vector register image, lanes in little-endian order. */
typedef union v128 {
    u8 b[16];
    u16 h[8];
    u32 s[4];
    u64 d[2];
    s8 sb[16];
    s16 sh[8];
    s32 ss[4];
    s64 sd[2];
} v128 __attribute__((aligned(16)));

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define ALIGN_UP(x, a)   ALIGN_DOWN((x) + (__typeof__(x))(a) - 1, a)

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN               __attribute__((noreturn))
/* Runs in handlers of signals that come at any moment, also when ThreadSanitizer, which instruments
 * atomics with locks of its own, has one. */
#define IN_HANDLER             __attribute__((no_sanitize("thread")))
#define WEAK                   __attribute__((weak))
#define FALLTHROUGH            __attribute__((fallthrough))

#endif
