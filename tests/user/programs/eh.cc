// Exceptions: through many frames, in threads, out of a signal handler's frame, with destructors.
// link: static dynamic
// flags: -pthread -fnon-call-exceptions
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static int destroyed;

struct Guard {
    ~Guard()
    {
        destroyed++;
    }
};

static int descend(int n)
{
    Guard g;
    if (n == 0)
        throw std::runtime_error("bottom");
    return descend(n - 1) + 1;
}

static void on_fault(int)
{
    throw std::string("from a handler");
}

static int __attribute__((noinline)) touch(volatile int *p)
{
    return *p;
}

int main()
{
    for (int i = 0; i < 3; i++) {
        try {
            descend(1000 * (i + 1));
        } catch (const std::exception &e) {
            std::printf("caught %s after %d\n", e.what(), destroyed);
        }
    }
    std::vector<std::thread> threads;
    int caught[4] = {};
    for (int i = 0; i < 4; i++)
        threads.emplace_back([i, &caught] {
            for (int k = 0; k < 50; k++) {
                try {
                    throw i;
                } catch (int v) {
                    caught[i] += v == i;
                }
            }
        });
    for (auto &t : threads)
        t.join();
    std::printf("threads %d %d %d %d\n", caught[0], caught[1], caught[2], caught[3]);
    struct sigaction sa = {};
    sa.sa_handler = on_fault;
    sa.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &sa, nullptr);
    for (int i = 0; i < 2; i++) {
        try {
            touch((volatile int *)16);
            std::printf("no fault?\n");
        } catch (const std::string &s) {
            std::printf("caught %s\n", s.c_str());
        }
    }
    try {
        std::vector<int>().at(3);
    } catch (const std::out_of_range &) {
        std::printf("out of range\n");
    }
    return 0;
}
