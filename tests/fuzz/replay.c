/* main() in place of libFuzzer's: runs the inputs that once failed, one test for each file of the
 * directory given. Files named *.hex hold bytes as hexadecimal digits. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"

static size_t unhex(uint8_t *data, size_t size)
{
    size_t out = 0, digits = 0;
    for (size_t i = 0; i < size; i++) {
        int c = tolower(data[i]);
        if (!isxdigit(c))
            continue;
        unsigned v = (unsigned)(isdigit(c) ? c - '0' : c - 'a' + 10);
        data[out] = (uint8_t)(digits % 2 ? data[out] | v : v << 4);
        out += digits++ % 2;
    }
    return out;
}

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    size_t cap = 1 << 20;
    uint8_t *data = malloc(cap);
    size_t size = fread(data, 1, cap, f);
    fclose(f);
    const char *dot = strrchr(path, '.');
    if (dot && !strcmp(dot, ".hex"))
        size = unhex(data, size);
    uint8_t *exact = malloc(size ? size : 1); /* so that reading behind it is noticed */
    memcpy(exact, data, size);
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

int main(int argc, char **argv)
{
    int n = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    printf("ok %d empty input\n", ++n);
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        fflush(stdout);
        printf("%s %d %s\n", replay(path) ? "ok" : "not ok", ++n, entry->d_name);
    }
    if (dir)
        closedir(dir);
    printf("1..%d\n", n);
    return 0;
}
