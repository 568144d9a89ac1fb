// bench: how many cycles does this driver spend on a packet?
//
// Only calls that moved packets are timed: that is what is meant by busy cycles. The card gets its turns in between,
// while the clock stands: a real one works by itself, and the software one, in its manual mode, inside sched_yield().
// Frames come in at the first port and are sent at the second. `make bench` runs this with a generator on the first
// wire and nobody on the second. Prints one line a round, tab-separated; scripts/bench makes medians of them.

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "clock.h"
#include "log.h"
#include "nic.h"

enum {
    ROUNDS = 21,
    PACKETS_PER_ROUND = 20000,
    LARGEST_BATCH = 256,
    FRAME = 60,
    POOL_BUFFERS = 2048,
    TIMEOUT_MS = 5000,
};

struct bench {
    struct nic_host host;
    struct nic *in, *out;
    struct mempool *pool;
};

// One timed turn: moves up to `batch` packets, returns how many.
typedef uint32_t (*turn_t)(struct bench *bench, uint32_t batch);

static uint32_t receive_turn(struct bench *bench, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t count = nic_receive(bench->in, 0, buffers, batch);
    mempool_free_batch(buffers, count);
    return count;
}

static uint32_t transmit_turn(struct bench *bench, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t count = mempool_alloc_batch(bench->pool, buffers, batch);
    for (uint32_t i = 0; i < count; i++) buffers[i]->length = FRAME;
    uint32_t taken = nic_transmit(bench->out, 0, buffers, count);
    mempool_free_batch(buffers + taken, count - taken);
    return taken;
}

// As ixy's forwarder does, one byte of each packet is changed, so that its first cache line is really needed.
static uint32_t forward_turn(struct bench *bench, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t count = nic_receive(bench->in, 0, buffers, batch);
    for (uint32_t i = 0; i < count; i++) ++*(uint8_t *)buffers[i]->data;
    uint32_t taken = count ? nic_transmit(bench->out, 0, buffers, count) : 0;
    mempool_free_batch(buffers + taken, count - taken);
    return taken;
}

static const struct {
    const char *name;
    turn_t turn;
} operations[] = {{"receive", receive_turn}, {"transmit", transmit_turn}, {"forward", forward_turn}};

// Cycles a packet over one round, or a negative number if packets stopped flowing.
static double run_round(struct bench *bench, turn_t turn, uint32_t batch) {
    uint64_t cycles = 0, packets = 0, deadline = clock_ns() + TIMEOUT_MS * 1000000ull;
    while (packets < PACKETS_PER_ROUND) {
        sched_yield();
        // Several turns to one of the card's, as many as it has prepared packets or room for.
        for (uint32_t moved = 1; moved && packets < PACKETS_PER_ROUND;) {
            uint64_t start = clock_cycles();
            moved = turn(bench, batch);
            if (!moved) break;
            cycles += clock_cycles() - start;
            packets += moved;
        }
        if (clock_ns() > deadline || cli_stop()) return -1;
    }
    return (double)cycles / (double)packets;
}

static int run(struct bench *bench) {
    static const uint32_t batches[] = {1, 8, 32, 64, 256};
    printf("operation\tbatch\tsize\tcycles\n");
    for (size_t op = 0; op < sizeof operations / sizeof *operations; op++)
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            for (int round = 0; round <= ROUNDS; round++) {
                double cycles = run_round(bench, operations[op].turn, batches[b]);
                if (cycles < 0)
                    return log_error(-ETIMEDOUT, "%s: too few packets within %d ms; does anything come in at %s?",
                                     operations[op].name, TIMEOUT_MS, bench->in->device.address);
                // The first round warms the caches.
                if (round) printf("%s\t%u\t%d\t%.2f\n", operations[op].name, batches[b], FRAME + 4, cycles);
            }
    return 0;
}

static int open_ports(struct bench *bench, char addresses[2][PCI_ADDRESS_SIZE]) {
    int error = nic_open(&bench->host, addresses[0], NULL, &bench->in);
    if (!error) error = nic_open(&bench->host, addresses[1], NULL, &bench->out);
    if (!error) error = mempool_create(&bench->host.space, POOL_BUFFERS, MEMPOOL_DEFAULT_SIZE, &bench->pool);
    if (error) return error;
    nic_set_promiscuous(bench->in, true);
    uint64_t deadline = clock_ns() + TIMEOUT_MS * 1000000ull;
    while (!nic_link_mbit(bench->in) || !nic_link_mbit(bench->out)) {
        sched_yield();
        if (clock_ns() > deadline)
            return log_error(-ENOLINK, "%s and %s do not both have a link", addresses[0], addresses[1]);
    }
    return 0;
}

int main(int argc, char **argv) {
    char addresses[2][PCI_ADDRESS_SIZE] = {DEFAULT_ADDRESS, DEFAULT_ADDRESS_2};
    if (argc != 1 && argc != 3) {
        fprintf(stderr,
                "usage: bench [IN_ADDRESS OUT_ADDRESS]\nFrames must be coming in at IN_ADDRESS; see make bench.\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        if (cli_pci_address(argv[i], addresses[i - 1])) return 2;
    cli_stop_on_signals();

    static struct bench bench;
    int error = nic_host_open(&bench.host);
    if (error) return 1;
    error = open_ports(&bench, addresses);
    if (!error) error = run(&bench);
    nic_close(bench.out);  // first: it may hold packets that belong to the other one's pool
    nic_close(bench.in);
    mempool_destroy(bench.pool);
    nic_host_close(&bench.host);
    return error ? 1 : 0;
}
