// fwd: in at one port, out at the other, in both directions.
//
// It changes nothing in a packet, so what is measured is the driver: what it costs to take a packet in and to send it
// on. A packet is never copied, and its data are not even looked at. The buffer that the first card wrote is the one
// that the second card reads.
//
// There is a thread for each pair of queues. Thread i takes from RX queue i of both ports and gives to TX queue i of
// both. Each RX queue has its own pool, and its buffers leave by a TX queue of the same thread, which takes them back
// when they are sent. So no thread ever waits for another, and there is not one lock.

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app.h"
#include "clock.h"
#include "log.h"
#include "software_nic.h"

enum {
    MOST_QUEUES = 16,
    LARGEST_BATCH = 256,
    RX_RING_SIZE = 512,
    // A thread that was kept waiting finds a full RX ring, and empties it faster than any card can send. All of that
    // has to fit into the TX ring, beside what is there already.
    TX_RING_SIZE = 2 * RX_RING_SIZE,
    // In the port's RX ring, in the other port's TX ring, and in the thread's hands: a queue can never use more.
    BUFFERS = RX_RING_SIZE + TX_RING_SIZE + LARGEST_BATCH,
    LOOK_MS = 10,       // how often the main thread looks at clock, counts and Ctrl-C
    CACHE_LINES = 128,  // two: processors fetch them in pairs
};

struct options {
    uint64_t seconds, count, batch, queues;  // 0 seconds: until stopped; 0 count: without end
    char addresses[2][PCI_ADDRESS_SIZE];
    int named;
};

// One direction of one thread.
struct way {
    struct nic *from, *to;
    uint64_t forwarded;  // read by the main thread while it changes
    uint64_t dropped;    // taken in when the TX ring was full
    uint64_t busy_cycles;
};

struct lane {
    _Alignas(CACHE_LINES) pthread_t thread;
    uint32_t queue, batch;
    const bool *stop;
    struct way ways[2];
};

struct forwarder {
    struct options options;
    struct nic_host host;
    struct nic *ports[2];
    struct nic_stats stats[2];
    struct lane lanes[MOST_QUEUES];
    uint32_t running;  // lanes that have a thread
    uint64_t start_ns, end_ns;
    _Alignas(CACHE_LINES) bool stop;
};

// ---- What the threads do ------------------------------------------------------------------------------------------

// False if nothing had come in. Only turns that moved packets count as busy.
static bool forward_batch(struct way *way, uint32_t queue, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint64_t start = clock_cycles();
    uint32_t count = nic_receive(way->from, queue, buffers, batch);
    uint32_t taken = nic_transmit(way->to, queue, buffers, count);  // of none: takes back what has been sent
    if (!count) return false;
    // Waiting until there is room would only move the loss to the RX ring, and hold up the other direction.
    mempool_free_batch(buffers + taken, count - taken);
    __atomic_store_n(&way->forwarded, way->forwarded + taken, __ATOMIC_RELAXED);
    way->dropped += count - taken;
    way->busy_cycles += clock_cycles() - start;
    return true;
}

static void *run_lane(void *argument) {
    struct lane *lane = argument;
    while (!__atomic_load_n(lane->stop, __ATOMIC_RELAXED)) {
        bool moved = forward_batch(&lane->ways[0], lane->queue, lane->batch);
        moved |= forward_batch(&lane->ways[1], lane->queue, lane->batch);
        if (!moved) sched_yield();  // let somebody else have this core, if somebody is waiting for it
    }
    return NULL;
}

static int start_lanes(struct forwarder *forwarder) {
    struct nic **ports = forwarder->ports;
    for (uint32_t i = 0; i < forwarder->options.queues; i++) {
        struct lane *lane = &forwarder->lanes[i];
        *lane = (struct lane){.queue = i,
                              .batch = (uint32_t)forwarder->options.batch,
                              .stop = &forwarder->stop,
                              .ways = {{.from = ports[0], .to = ports[1]}, {.from = ports[1], .to = ports[0]}}};
        int error = pthread_create(&lane->thread, NULL, run_lane, lane);
        if (error) return log_error(-error, "thread %u could not be started", i);
        forwarder->running++;
    }
    return 0;
}

static void stop_lanes(struct forwarder *forwarder) {
    __atomic_store_n(&forwarder->stop, true, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < forwarder->running; i++) pthread_join(forwarder->lanes[i].thread, NULL);
}

// ---- What is printed ----------------------------------------------------------------------------------------------

// The sum of one direction over all lanes.
static struct way sum(const struct forwarder *forwarder, int direction) {
    struct way total = forwarder->lanes[0].ways[direction];
    for (uint32_t i = 1; i < forwarder->options.queues; i++) {
        const struct way *way = &forwarder->lanes[i].ways[direction];
        total.forwarded += way->forwarded;
        total.dropped += way->dropped;
        total.busy_cycles += way->busy_cycles;
    }
    return total;
}

static void print_line(struct forwarder *forwarder, uint64_t now, uint64_t ns) {
    static const char *const arrows[] = {"-->", "<--"};
    bool terminal = isatty(STDOUT_FILENO);
    printf("%s%5.1f s", terminal ? "\r" : "", (double)(now - forwarder->start_ns) / 1e9);
    for (int direction = 0; direction < 2; direction++) {
        int to = !direction;
        struct nic_stats before = forwarder->stats[to], *after = &forwarder->stats[to];
        nic_read_stats(forwarder->ports[to], after);
        app_print_rate(arrows[direction], after->tx_packets - before.tx_packets, after->tx_bytes - before.tx_bytes,
                       ns);
    }
    printf("%s", terminal ? "  " : "\n");
    fflush(stdout);
}

static void print_summary(const struct forwarder *forwarder) {
    uint64_t forwarded = 0, cycles = 0;
    for (int direction = 0; direction < 2; direction++) {
        struct way way = sum(forwarder, direction);
        printf("%s --> %s: %" PRIu64 " packets forwarded, %" PRIu64 " dropped because the TX ring was full\n",
               way.from->device.address, way.to->device.address, way.forwarded, way.dropped);
        forwarded += way.forwarded;
        cycles += way.busy_cycles;
    }
    for (int i = 0; i < 2; i++) {
        const struct nic_stats *stats = &forwarder->stats[i];
        printf("%s counted %" PRIu64 " packets in, %" PRIu64 " out, %" PRIu64 " missed, %" PRIu64 " damaged\n",
               forwarder->ports[i]->device.address, stats->rx_packets, stats->tx_packets, stats->rx_missed,
               stats->rx_errors);
    }
    printf("%" PRIu64 " packets in %.2f s, %.1f busy cycles each\n", forwarded,
           (double)(forwarder->end_ns - forwarder->start_ns) / 1e9,
           forwarded ? (double)cycles / (double)forwarded : 0.0);
}

// ---- What the main thread does ------------------------------------------------------------------------------------

static bool enough(const struct forwarder *forwarder) {
    uint64_t forwarded = 0;
    for (uint32_t i = 0; i < forwarder->running; i++)
        for (int direction = 0; direction < 2; direction++)
            forwarded += __atomic_load_n(&forwarder->lanes[i].ways[direction].forwarded, __ATOMIC_RELAXED);
    return forwarder->options.count && forwarded >= forwarder->options.count;
}

static int check_cards(struct nic *const ports[2]) {
    int error = nic_check(ports[0]);
    return error ? error : nic_check(ports[1]);
}

static int watch(struct forwarder *forwarder) {
    uint64_t now = forwarder->start_ns, line = now, seconds = forwarder->options.seconds;
    uint64_t end = seconds ? now + seconds * 1000000000 : UINT64_MAX;
    int error = 0;
    while (!cli_stop() && now < end && !enough(forwarder) && !error) {
        sleep_us(LOOK_MS * 1000);
        now = clock_ns();
        if (now - line < 1000000000) continue;
        print_line(forwarder, now, now - line);
        line = now;
        error = check_cards(forwarder->ports);
    }
    return error;
}

// All that is in a TX ring when the threads have ended is still to be sent.
static int send_the_rest(struct forwarder *forwarder, uint32_t timeout_ms) {
    int error = 0;
    for (int direction = 0; direction < 2; direction++) {
        int to = !direction, unsent = app_wait_until_sent(forwarder->ports[to], sum(forwarder, direction).forwarded,
                                                          timeout_ms, &forwarder->stats[to]);
        if (unsent) error = unsent;
    }
    return error;
}

static int run(struct forwarder *forwarder) {
    const struct options *options = &forwarder->options;
    printf("%s <-> %s: forwarding in batches of %" PRIu64 ", %" PRIu64 " thread%s\n", options->addresses[0],
           options->addresses[1], options->batch, options->queues, options->queues == 1 ? "" : "s");
    fflush(stdout);
    forwarder->start_ns = clock_ns();
    int error = start_lanes(forwarder);
    if (error) {
        stop_lanes(forwarder);
        return error;
    }
    error = watch(forwarder);
    stop_lanes(forwarder);
    forwarder->end_ns = clock_ns();
    if (isatty(STDOUT_FILENO)) printf("\n");  // what follows is not to stand behind the rates
    int unsent = send_the_rest(forwarder, error ? 0 : LAST_PACKETS_MS);
    if (!error) error = check_cards(forwarder->ports);
    print_summary(forwarder);
    if (!(forwarder->stats[0].rx_packets + forwarder->stats[1].rx_packets))
        log_info("nothing came in at either port; is anybody sending?");
    return error ? error : unsent;
}

// Both cards are still, and their rings are empty. A buffer that is not in its pool now is lost.
static int count_buffers(struct nic *ports[2], uint64_t queues) {
    uint32_t all = 0, free = 0;
    for (int i = 0; i < 2; i++)
        for (uint32_t queue = 0; queue < queues; queue++) {
            all += mempool_count(nic_rx_pool(ports[i], queue));
            free += mempool_free_count(nic_rx_pool(ports[i], queue));
        }
    printf("%u buffers were in the pools at the start, %u at the end\n", all, free);
    return free == all ? 0 : log_error(-EIO, "%u buffers are lost", all - free);
}

static int open_ports(struct forwarder *forwarder) {
    uint32_t queues = (uint32_t)forwarder->options.queues;
    const struct nic_config config = {.rx_queues = queues,
                                      .tx_queues = queues,
                                      .rx_ring_size = RX_RING_SIZE,
                                      .tx_ring_size = TX_RING_SIZE,
                                      .rx_buffers = BUFFERS,
                                      .max_frame = NIC_LARGEST_FRAME};
    int error = 0;
    for (int i = 0; i < 2 && !error; i++) {
        error = nic_open(&forwarder->host, forwarder->options.addresses[i], &config, &forwarder->ports[i]);
        if (!error) nic_set_promiscuous(forwarder->ports[i], true);
    }
    for (int i = 0; i < 2 && !error; i++) error = app_wait_for_link(forwarder->ports[i]);
    return error;
}

// Each card may still hold buffers of the other one, so both stop before either closes.
static int close_ports(struct nic *ports[2], uint64_t queues) {
    int error = 0;
    for (int i = 0; i < 2; i++)
        if (ports[i]) nic_stop(ports[i]);
    if (ports[0] && ports[1]) error = count_buffers(ports, queues);
    for (int i = 0; i < 2; i++) nic_close(ports[i]);
    return error;
}

static int fwd(struct forwarder *forwarder) {
    int error = nic_host_open(&forwarder->host);
    if (error) return error;
    error = open_ports(forwarder);
    if (!error) error = run(forwarder);
    int lost = close_ports(forwarder->ports, forwarder->options.queues);
    nic_host_close(&forwarder->host);
    return error ? error : lost;
}

// ---- The command line ---------------------------------------------------------------------------------------------

static const char usage[] =
    "usage: fwd [OPTION]... [A B]\n"
    "Forwards every packet that comes in at one port to the other, in both directions, and changes nothing in it.\n"
    "\n"
    "  --seconds S    stop after S seconds (default: when told to, by Ctrl-C)\n"
    "  --count N      stop when N packets have been forwarded, both directions together (default: no end)\n"
    "  --batch N      packets in one call of the driver, 1 to 256 (default 32)\n"
    "  --queues N     queues of each port, each with a thread of its own, 1 to 16 (default 1)\n"
    "  --help         this text\n"
    "\n"
    "A and B are PCI addresses, 0000:04:00.0 or 04:00.0; without any, " DEFAULT_ADDRESS " and " DEFAULT_ADDRESS_2
    ". On the\n"
    "software NIC a packet generator sends to each of these; see scripts/sim --wire. Exits with 0 if every packet "
    "that\n"
    "was taken in was sent or counted as dropped, and every buffer is back, 1 if not or something failed, 2 if the\n"
    "command line makes no sense.\n";

static int parse(int argc, char **argv, struct options *options) {
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'c'},
        {"batch", required_argument, NULL, 'b'},   {"queues", required_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    *options = (struct options){.batch = 32, .queues = 1, .addresses = {DEFAULT_ADDRESS, DEFAULT_ADDRESS_2}};
    int error = 0;
    for (int option; !error && (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case 's': error = cli_number("--seconds", optarg, 1, 1000000, &options->seconds); break;
        case 'c': error = cli_number("--count", optarg, 1, UINT64_MAX / 2, &options->count); break;
        case 'b': error = cli_number("--batch", optarg, 1, LARGEST_BATCH, &options->batch); break;
        case 'q': error = cli_number("--queues", optarg, 1, MOST_QUEUES, &options->queues); break;
        case 'h': fputs(usage, stdout); exit(0);
        default: error = -EINVAL;  // getopt_long has said which option
        }
    }
    if (error) return error;
    options->named = app_addresses(argc - optind, argv + optind, options->addresses);
    if (options->named == 1) return log_error(-EINVAL, "%s alone: which is the other port?", options->addresses[0]);
    return options->named < 0 ? options->named : 0;
}

int main(int argc, char **argv) {
    static struct forwarder forwarder;
    cli_guard_output();
    if (parse(argc, argv, &forwarder.options)) {
        log_info("fwd --help tells what it understands");
        return 2;
    }
    if (!forwarder.options.named)
        use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, DEFAULT_ADDRESS_2, "generator:flows=64");
    cli_stop_on_signals();
    return fwd(&forwarder) ? 1 : 0;
}
