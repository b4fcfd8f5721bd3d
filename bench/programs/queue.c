/* A producer and a consumer with a short queue between them. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOM 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned item[ROOM], first, count;
static unsigned turns;

static void *produce(void *opaque)
{
    for (unsigned i = 0; i < turns; i++) {
        unsigned x = i;
        for (int k = 0; k < 50; k++)
            x = x * 1664525 + 1013904223;
        pthread_mutex_lock(&lock);
        while (count == ROOM)
            pthread_cond_wait(&changed, &lock);
        item[(first + count++) % ROOM] = x;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return opaque;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    unsigned sum = 0;
    turns = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    pthread_create(&thread, NULL, produce, NULL);
    for (unsigned i = 0; i < turns; i++) {
        pthread_mutex_lock(&lock);
        while (!count)
            pthread_cond_wait(&changed, &lock);
        unsigned x = item[first];
        first = (first + 1) % ROOM;
        count--;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
        for (int k = 0; k < 50; k++)
            sum = sum * 31 + (x >> k % 32);
    }
    pthread_join(thread, NULL);
    printf("queue %u %08x\n", turns, sum);
    return 0;
}
