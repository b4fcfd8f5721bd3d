// Virtual calls through several classes, containers, strings, and now and then an exception.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual long area(long k) const = 0;
};

struct Square : Shape {
    long side;
    explicit Square(long s) : side(s) {}
    long area(long k) const override { return side * side + k; }
};

struct Box : Shape {
    long w, h;
    Box(long a, long b) : w(a), h(b) {}
    long area(long k) const override { return w * h - k; }
};

struct Broken : Shape {
    long area(long k) const override
    {
        if (k % 64 == 5)
            throw std::runtime_error("no area");
        return 1;
    }
};

int main(int argc, char **argv)
{
    unsigned turns = argc > 1 ? (unsigned)std::atoi(argv[1]) : 1;
    std::vector<std::unique_ptr<Shape>> shapes;
    for (long i = 0; i < 1000; i++) {
        if (i % 101 == 100)
            shapes.emplace_back(new Broken);
        else if (i % 3)
            shapes.emplace_back(new Square(i));
        else
            shapes.emplace_back(new Box(i, i + 1));
    }
    std::map<std::string, long> seen;
    unsigned long sum = 0;
    for (unsigned t = 0; t < turns; t++) {
        for (auto &s : shapes) {
            try {
                sum += (unsigned long)s->area(t);
            } catch (const std::runtime_error &e) {
                sum ^= std::string(e.what()).size();
            }
        }
        seen["turn " + std::to_string(t % 257)] += (long)(sum & 0xff);
    }
    for (auto &p : seen)
        sum = sum * 31 + p.first.size() + (unsigned long)p.second;
    std::printf("objects %u %016lx\n", turns, sum);
    return 0;
}
