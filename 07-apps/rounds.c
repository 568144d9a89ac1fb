// rounds.c: the same work again and again, and what each time took.

#include "rounds.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

enum {
    PACKETS_PER_ROUND = 20480,
    PACKETS_BETWEEN_YIELDS = 256,  // over all queues, half of what their rings hold: no turn finds one empty, or full
    TIMEOUT_MS = 5000,
};

// Cycles per packet of one round, or a negative number if packets stopped flowing or somebody wants it to end.
static double run_round(turn_t turn, uint32_t queues, uint32_t batch) {
    uint64_t cycles = 0, packets = 0, deadline = clock_ns() + TIMEOUT_MS * 1000000ull;
    uint32_t queue = 0;
    while (packets < PACKETS_PER_ROUND) {
        sched_yield();
        for (uint32_t moved = 0, idle = 0, count; moved < PACKETS_BETWEEN_YIELDS && idle < queues; moved += count) {
            uint64_t start = clock_cycles();
            count = turn(queue, batch);
            uint64_t end = clock_cycles();
            queue = queue + 1 == queues ? 0 : queue + 1;
            idle = count ? 0 : idle + 1;
            if (count) cycles += end - start;
            packets += count;
        }
        if (clock_ns() > deadline || cli_stop()) return -1;
    }
    return (double)cycles / (double)packets;
}

static int run_rounds(const struct rounds_options *options, const struct operation *operation, uint32_t batch) {
    for (uint64_t round = 0; round <= options->rounds; round++) {
        double cycles = run_round(operation->turn, (uint32_t)options->queues, batch);
        if (cycles < 0 && cli_stop()) return log_error(-EINTR, "%s in batches of %u", operation->name, batch);
        if (cycles < 0)
            return log_error(-ETIMEDOUT,
                             "%s in batches of %u: too few packets within %d ms; does anything come in at %s?",
                             operation->name, batch, TIMEOUT_MS, options->addresses[0]);
        if (!round) continue;  // it has warmed the caches
        printf("%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%d\t%.2f\n", operation->name, batch, options->size,
               options->queues, options->ring, PACKETS_PER_ROUND, cycles);
    }
    return 0;
}

int rounds_run(const struct rounds_options *options, const struct operation operations[3]) {
    static const uint32_t batches[] = {1, 8, 32, 64, 256};
    int error = 0;
    printf("operation\tbatch\tsize\tqueues\tring\tpackets\tcycles\n");
    for (int i = 0; i < 3; i++) {
        if (options->operation && strcmp(options->operation, operations[i].name) != 0) continue;
        if (options->batch) error = run_rounds(options, &operations[i], (uint32_t)options->batch);
        for (size_t b = 0; !options->batch && !error && b < sizeof batches / sizeof *batches; b++)
            if (batches[b] >= options->least_batch) error = run_rounds(options, &operations[i], batches[b]);
        if (error) return error;
    }
    return 0;
}

static const char usage[] =
    "usage: bench [OPTION]... [IN OUT]\n"
    "Times the calls of a driver that receives at one port, transmits at another, and forwards between them. Frames "
    "must\n"
    "be coming in at IN; see scripts/bench.\n"
    "\n"
    "  --operation O  only receive, transmit or forward (default: each in turn)\n"
    "  --batch N      packets in one call of the driver, 1 to 256 (default: 1, 8, 32, 64 and 256)\n"
    "  --size BYTES   length of the frames that are sent, with their CRC: 64 to 1518 (default 64)\n"
    "  --queues N     queues of each port, visited in turn, 1 to 16 (default 1)\n"
    "  --ring N       descriptors of a ring, 64, 128 ... 4096; 512 or more in all queues together (default 512)\n"
    "  --rounds N     how often each is measured, 1 to 1000 (default 21)\n"
    "  --help         this text\n"
    "\n"
    "IN and OUT are PCI addresses, " DEFAULT_ADDRESS " and " DEFAULT_ADDRESS_2
    " if none are given; on the software NIC\n"
    "a packet generator then sends to each of these.\n";

static int set_operation(const char *name, const char **operation) {
    *operation = name;
    if (!strcmp(name, "receive") || !strcmp(name, "transmit") || !strcmp(name, "forward")) return 0;
    return log_error(-EINVAL, "--operation: '%s' is not receive, transmit or forward", name);
}

int rounds_parse(int argc, char **argv, struct rounds_options *options) {
    static const struct option names[] = {
        {"operation", required_argument, NULL, 'o'},
        {"batch", required_argument, NULL, 'b'},
        {"size", required_argument, NULL, 'z'},
        {"queues", required_argument, NULL, 'q'},
        {"ring", required_argument, NULL, 'g'},
        {"rounds", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *options = (struct rounds_options){
        .size = 64, .queues = 1, .ring = 512, .rounds = 21, .addresses = {DEFAULT_ADDRESS, DEFAULT_ADDRESS_2}};
    int error = 0;
    for (int option; !error && (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case 'o': error = set_operation(optarg, &options->operation); break;
        case 'b': error = cli_number("--batch", optarg, 1, LARGEST_BATCH, &options->batch); break;
        case 'z': error = cli_number("--size", optarg, 64, 1518, &options->size); break;
        case 'q': error = cli_number("--queues", optarg, 1, MOST_QUEUES, &options->queues); break;
        case 'g': error = cli_number("--ring", optarg, 64, 4096, &options->ring); break;
        case 'r': error = cli_number("--rounds", optarg, 1, 1000, &options->rounds); break;
        case 'h': fputs(usage, stdout); exit(0);
        default: error = -EINVAL;  // getopt_long has said which option
        }
    }
    if (!error && options->ring & (options->ring - 1))
        error = log_error(-EINVAL, "--ring: %" PRIu64 " is not a power of two", options->ring);
    if (!error && options->queues * options->ring < 2 * PACKETS_BETWEEN_YIELDS)
        error =
            log_error(-EINVAL, "--ring: %" PRIu64 " descriptors in each of %" PRIu64 " queues; together at least %d",
                      options->ring, options->queues, 2 * PACKETS_BETWEEN_YIELDS);
    if (!error && argc != optind && argc - optind != 2) error = log_error(-EINVAL, "two addresses, or none");
    options->addresses_named = argc != optind;
    for (int i = 0; !error && i < argc - optind; i++)
        error = cli_pci_address(argv[optind + i], options->addresses[i]);
    if (!error && !strcmp(options->addresses[0], options->addresses[1]))
        error = log_error(-EINVAL, "%s cannot be both ends; these are the same port", options->addresses[0]);
    if (error) log_info("bench --help tells what it understands");
    return error;
}
