// rounds.h: times a driver's calls, and nothing else.
//
// What is timed is a turn: one call or two that move a batch of packets. The card gets its turns in between, while
// the clock stands: a real one works by itself, and the software one, in its manual mode, inside sched_yield(). It is
// given time for a few hundred packets at once, so that every turn finds a whole batch; only turns that moved packets
// count.
//
// bench.c measures our driver so, and scripts/peers/bench_dpdk.c DPDK's, with the same rounds.
#pragma once

#include <stdint.h>

#include "cli.h"

enum { LARGEST_BATCH = 256, MOST_QUEUES = 16, FRAME_CRC = 4 };

struct rounds_options {
    const char *operation;  // NULL: all three
    uint64_t batch;         // 0: 1, 8, 32, 64 and 256
    uint64_t least_batch;   // of these, leave out the smaller ones; 0 unless the caller knows better
    uint64_t size;          // of a frame that is sent, with CRC
    uint64_t queues;        // of each port, visited in turn
    uint64_t ring;          // descriptors of a ring
    uint64_t rounds;        // that are measured; another one comes before and warms the caches
    bool addresses_named;   // or the defaults
    char addresses[2][PCI_ADDRESS_SIZE];
};

// Moves up to `batch` packets through a queue; how many it has moved.
typedef uint32_t (*turn_t)(uint32_t queue, uint32_t batch);

struct operation {
    const char *name;
    turn_t turn;
};

// 0, or -EINVAL after saying what makes no sense. --help is answered, and ends the program.
int rounds_parse(int argc, char **argv, struct rounds_options *options);

// Prints a line a round, tab-separated after a header: operation, batch, size, queues, ring, packets, cycles per
// packet. 0 or a negative errno.
int rounds_run(const struct rounds_options *options, const struct operation operations[3]);
