/* A program whose file asks for guarded pages: the kernel gives them, and a call to what is no landing pad
 * is its end.
 * guest: aarch64
 * link: static
 * flags: -O1 -nostdlib -mbranch-protection=bti -Wl,-z,force-bti
 * peer: it lets every branch pass */

static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

static void say(const char *text)
{
    long n = 0;
    while (text[n])
        n++;
    call(64, 1, (long)text, n);
}

__attribute__((noinline)) void with_pad(void)
{
    say("with a landing pad: yes\n");
}

void without(void);
__asm__(".globl without; without: ret");

void _start(void)
{
    void (*volatile f)(void) = with_pad;
    f();
    f = without;
    f();
    say("without: NO\n");
    call(93, 0, 0, 0);
}
