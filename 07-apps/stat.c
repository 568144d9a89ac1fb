// stat: what comes to a port, in numbers; `top` and `ethtool -S` in one.
//
// Takes every packet in, on several RX queues, and gives it back unseen: only the counters matter, and most of these
// are the card's own. Once a second they are read, and what has been added is shown: on a terminal in a table that is
// written over the last one.

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app.h"
#include "clock.h"
#include "log.h"
#include "software_nic.h"

enum {
    BATCH = 64,
    MOST_QUEUES = 16,
    MOST_COUNTERS = 128,
    RING_SIZE = 1024,  // large, since nobody waits for the packets and this thread may be late
    LINE_MS = 1000,
    EMPTY_ROUNDS_BEFORE_NAP = 64,  // some microseconds: so there are no naps at high rates, when rings fill quickly
    NAP_US = 50,
};

struct options {
    uint64_t seconds, queues;  // 0 seconds: until stopped
    bool address_named;
    char address[PCI_ADDRESS_SIZE];
};

// All counters at one moment.
struct reading {
    uint64_t time_ns;
    struct nic_stats stats;
    struct nic_counter counters[MOST_COUNTERS];
    uint32_t count;
};

struct watch {
    struct options options;
    struct nic *nic;
    struct reading now, before;
    uint64_t start_ns;
    bool terminal;
    uint32_t rows;  // of the table that stands on the terminal
};

// ---- Reading ------------------------------------------------------------------------------------------------------

static void read_counters(struct watch *watch) {
    struct reading *now = &watch->now;
    watch->before = *now;
    now->time_ns = clock_ns();
    nic_read_stats(watch->nic, &now->stats);
    now->count = nic_read_counters(watch->nic, now->counters, MOST_COUNTERS);
    if (now->count > MOST_COUNTERS) now->count = MOST_COUNTERS;
}

static uint64_t a_second(const struct watch *watch, uint32_t counter) {
    uint64_t added = watch->now.counters[counter].value - watch->before.counters[counter].value;
    return (uint64_t)((double)added * 1e9 / (double)(watch->now.time_ns - watch->before.time_ns) + 0.5);
}

// ---- What is printed ----------------------------------------------------------------------------------------------

static void print_rates(const struct watch *watch) {
    const struct nic_stats *now = &watch->now.stats, *before = &watch->before.stats;
    printf("%5.1f s", (double)(watch->now.time_ns - watch->start_ns) / 1e9);
    app_print_rate("rx", now->rx_packets - before->rx_packets, now->rx_bytes - before->rx_bytes,
                   watch->now.time_ns - watch->before.time_ns);
    printf("   missed %" PRIu64 "   damaged %" PRIu64, now->rx_missed - before->rx_missed,
           now->rx_errors - before->rx_errors);
    uint32_t mbit = nic_link_mbit(watch->nic);
    if (mbit)
        printf("   link %u Mbit/s", mbit);
    else
        printf("   no link");
}

// Each second a line; in it, what each queue got.
static void print_line(const struct watch *watch) {
    print_rates(watch);
    printf("   queues");
    for (uint32_t i = 0; i < watch->now.count; i++)
        if (!strncmp(watch->now.counters[i].name, "rx_queue_", 9))
            printf(" %" PRIu64, watch->now.counters[i].value - watch->before.counters[i].value);
    printf("\n");
}

// The codes are ECMA-48's: n lines up, and erase what is right of here or below.
static void begin_table(struct watch *watch) {
    if (watch->rows) printf("\r\033[%uA\033[J", watch->rows);
    watch->rows = 0;
}

static uint32_t terminal_rows(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : UINT32_MAX;
}

// Without what has never counted anything, and what the terminal has no room for: that is in the list at the end.
static void print_table(struct watch *watch) {
    uint32_t room = terminal_rows();
    begin_table(watch);
    print_rates(watch);
    printf("\n%-32s %16s %14s\n", watch->nic->device.address, "total", "a second");
    watch->rows = 2;
    for (uint32_t i = 0; i < watch->now.count; i++) {
        const struct nic_counter *counter = &watch->now.counters[i];
        if (!counter->value || watch->rows + 1 >= room) continue;
        printf("%-32s %16" PRIu64 " %14" PRIu64 "\n", counter->name, counter->value, a_second(watch, i));
        watch->rows++;
    }
}

// As ethtool prints them.
static void print_totals(struct watch *watch) {
    if (watch->terminal) begin_table(watch);
    printf("NIC statistics of %s after %.1f s:\n", watch->nic->device.address,
           (double)(watch->now.time_ns - watch->start_ns) / 1e9);
    for (uint32_t i = 0; i < watch->now.count; i++)
        printf("     %s: %" PRIu64 "\n", watch->now.counters[i].name, watch->now.counters[i].value);
}

// ---- The loop -----------------------------------------------------------------------------------------------------

static bool receive_and_release(struct nic *nic) {
    struct packet_buffer *buffers[BATCH];
    uint32_t received = 0;
    for (uint32_t queue = 0; queue < nic->rx_queues; queue++) {
        uint32_t count = nic_receive(nic, queue, buffers, BATCH);
        mempool_free_batch(buffers, count);
        received += count;
    }
    return received;
}

static int run(struct watch *watch) {
    read_counters(watch);
    uint64_t now = watch->start_ns = watch->now.time_ns;
    uint64_t end = watch->options.seconds ? now + watch->options.seconds * 1000000000 : UINT64_MAX;
    uint32_t empty_rounds = 0;
    int error = 0;
    for (; !cli_stop() && now < end && !error; now = clock_ns()) {
        empty_rounds = receive_and_release(watch->nic) ? 0 : empty_rounds + 1;
        if (empty_rounds >= EMPTY_ROUNDS_BEFORE_NAP) sleep_us(NAP_US);
        if (now - watch->now.time_ns < LINE_MS * 1000000ull) continue;
        error = nic_check(watch->nic);
        read_counters(watch);
        if (watch->terminal)
            print_table(watch);
        else
            print_line(watch);
        fflush(stdout);
    }
    read_counters(watch);
    print_totals(watch);
    return error;
}

static int watch_port(struct watch *watch) {
    struct nic_host host;
    // A watcher holds nobody up: what it is too slow for is dropped, and counted.
    const struct nic_config config = {.rx_queues = (uint32_t)watch->options.queues,
                                      .rx_ring_size = RING_SIZE,
                                      .max_frame = NIC_LARGEST_FRAME,
                                      .drop_when_full = true};
    int error = nic_host_open(&host);
    if (error) return error;
    error = nic_open(&host, watch->options.address, &config, &watch->nic);
    if (!error) {
        nic_set_promiscuous(watch->nic, true);
        log_info("watching %s on %" PRIu64 " queues%s", watch->options.address, watch->options.queues,
                 watch->options.seconds ? "" : "; Ctrl-C ends it");
        error = run(watch);
    }
    nic_close(watch->nic);
    nic_host_close(&host);
    return error;
}

// ---- The command line ---------------------------------------------------------------------------------------------

static const char usage[] =
    "usage: stat [OPTION]... [ADDRESS]\n"
    "Receives every packet that comes to a port, and shows once a second what the card has counted.\n"
    "\n"
    "  --seconds S  stop after S seconds (default: when told to, by Ctrl-C)\n"
    "  --queues N   RX queues to spread the packets over, 1 to 16 (default 4)\n"
    "  --help       this text\n"
    "\n"
    "ADDRESS is a PCI address, 0000:05:00.0 or 05:00.0; without it, " DEFAULT_ADDRESS_2
    ", where loopsend's packets arrive.\n"
    "Exits with 0 if all went well, 1 if something failed, 2 if the command line makes no sense.\n";

static int parse(int argc, char **argv, struct options *options) {
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'},
        {"queues", required_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *options = (struct options){.queues = 4, .address = DEFAULT_ADDRESS_2};
    int error = 0;
    for (int option; !error && (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case 's': error = cli_number("--seconds", optarg, 1, 1000000, &options->seconds); break;
        case 'q': error = cli_number("--queues", optarg, 1, MOST_QUEUES, &options->queues); break;
        case 'h': fputs(usage, stdout); exit(0);
        default: error = -EINVAL;  // getopt_long has said which option
        }
    }
    if (error) return error;
    if (argc - optind > 1) return log_error(-EINVAL, "'%s' is one argument too many", argv[optind + 1]);
    options->address_named = argc > optind;
    return options->address_named ? cli_pci_address(argv[optind], options->address) : 0;
}

int main(int argc, char **argv) {
    static struct watch watch;
    cli_guard_output();
    if (parse(argc, argv, &watch.options)) {
        log_info("stat --help tells what it understands");
        return 2;
    }
    if (!watch.options.address_named) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS_2, NULL, "cable");
    watch.terminal = isatty(STDOUT_FILENO);
    cli_stop_on_signals();
    return watch_port(&watch) ? 1 : 0;
}
