// pool: the picture of a packet pool, and what one of its buffers costs.
//
// Takes some buffers out, shows which are gone, asks for more than there are, and then measures an alloc/free pair,
// one buffer at a time and in batches.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "dma_main.h"
#include "log.h"
#include "mempool.h"

enum { ROUNDS = 101, PAIRS_PER_ROUND = 4096, LARGEST_BATCH = 256 };

static void print_buffer(const char *what, const struct packet_buffer *buffer) {
    printf("    %-12s index %4u   pointer %p   IOVA 0x%08" PRIx64 "\n", what, buffer->index, buffer->data,
           buffer->iova.value);
}

// Each of 64 characters stands for as many buffers: # are free, . are taken.
static void print_fill(const struct mempool *pool) {
    uint32_t mark = mempool_free_count(pool) * 64 / mempool_count(pool);
    printf("    free stack  [");
    for (uint32_t i = 0; i < 64; i++) putchar(i < mark ? '#' : '.');
    printf("] %u of %u\n", mempool_free_count(pool), mempool_count(pool));
}

static int show_picture(struct mempool *pool) {
    static struct packet_buffer *taken[MEMPOOL_DEFAULT_COUNT + 1];
    printf("A pool of %u buffers of %u bytes:\n", mempool_count(pool), mempool_buffer_size(pool));
    print_buffer("the first", mempool_buffer(pool, 0));
    print_buffer("the second", mempool_buffer(pool, 1));
    print_buffer("the last", mempool_buffer(pool, mempool_count(pool) - 1));
    print_fill(pool);

    uint32_t got = mempool_alloc_batch(pool, taken, 512);
    printf("Taking 512 gives %u, the first of them number %u:\n", got, taken[0]->index);
    print_fill(pool);
    mempool_free_batch(taken, got);

    got = mempool_alloc_batch(pool, taken, mempool_count(pool) + 1);
    printf("Asking for one more than there are gives %u, and then %s:\n", got,
           mempool_alloc(pool) ? "one more!" : "none");
    print_fill(pool);
    mempool_free_batch(taken, got);
    printf("All given back:\n");
    print_fill(pool);
    if (mempool_free_count(pool) == mempool_count(pool)) return 0;
    return log_error(-EIO, "%u of %u buffers have come back", mempool_free_count(pool), mempool_count(pool));
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct mempool *pool, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    double cycles[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_cycles();
        for (uint32_t pairs = 0; pairs < PAIRS_PER_ROUND; pairs += batch) {
            mempool_alloc_batch(pool, buffers, batch);
            mempool_free_batch(buffers, batch);
        }
        cycles[round] = (double)(clock_cycles() - start) / PAIRS_PER_ROUND;
    }
    qsort(cycles, ROUNDS, sizeof *cycles, compare_doubles);
    printf("    %3u at a time: %6.2f cycles a buffer (%.2f to %.2f)\n", batch, cycles[ROUNDS / 2], cycles[0],
           cycles[ROUNDS - 1]);
}

static int run(struct dma_space *space) {
    struct mempool *pool;
    int error = mempool_create(space, MEMPOOL_DEFAULT_COUNT, MEMPOOL_DEFAULT_SIZE, &pool);
    if (error) return error;
    error = show_picture(pool);
    printf("An alloc/free pair, median of %d rounds (fastest to slowest):\n", ROUNDS);
    for (uint32_t batch = 1; batch <= LARGEST_BATCH; batch *= 4) measure(pool, batch);
    mempool_destroy(pool);
    return error;
}

int main(int argc, char **argv) {
    return dma_main(argc, argv, "Shows a pool of packet buffers, and measures what taking and giving back one costs.",
                    run);
}
