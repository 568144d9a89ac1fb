// pcap: what is on the wire, for Wireshark.
//
// Receives everything that comes to a port, stamps it with the time, and hands it to the file (capture_file.c). That
// is all; so here one can see how little a program needs of the driver: open, promiscuous, receive, give back, close.

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture_file.h"
#include "cli.h"
#include "clock.h"
#include "interrupts.h"
#include "log.h"
#include "nic.h"
#include "offload.h"
#include "software_nic.h"

enum {
    BATCH = 64,
    LARGEST_SNAPLEN = 65535,
    FLUSH_MS = 20,    // the longest that a packet waits in our buffer when nothing else comes
    CHECK_MS = 1000,  // how often to ask whether the card is in order
    INTERRUPT_INTERVAL_US = 50,
    LINK_TIMEOUT_MS = 2000,
};

struct options {
    uint64_t seconds, count, snaplen;  // 0 seconds: until stopped; 0 count: without end
    bool interrupts, address_named;
    const char *path;
    char address[PCI_ADDRESS_SIZE];
};

struct counts {
    uint64_t captured, bytes;
};

static uint64_t wall_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void add_packets(struct capture_file *file, struct packet_buffer **buffers, uint32_t count,
                        const struct options *options, struct counts *counts) {
    uint64_t now = wall_clock_ns();  // one reading for a batch: its packets came within microseconds
    for (uint32_t i = 0; i < count; i++) {
        if (options->count && counts->captured == options->count) break;
        capture_add(file, now, buffers[i]);
        counts->captured++;
        counts->bytes += packet_length(buffers[i]);
    }
}

static int capture(struct nic *nic, struct interrupts *interrupts, struct capture_file *file,
                   const struct options *options, struct counts *counts, struct nic_stats *stats) {
    uint64_t now = clock_ns(), flushed = now, checked = now;
    uint64_t end = options->seconds ? now + options->seconds * 1000000000 : UINT64_MAX;
    while (!cli_stop() && !file->error && now < end && !(options->count && counts->captured == options->count)) {
        struct packet_buffer *buffers[BATCH];
        uint32_t count = interrupts ? interrupts_receive(interrupts, 0, buffers, BATCH, FLUSH_MS)
                                    : nic_receive(nic, 0, buffers, BATCH);
        if (count) add_packets(file, buffers, count, options, counts);
        mempool_free_batch(buffers, count);
        now = clock_ns();
        if (now - flushed >= FLUSH_MS * 1000000ull) {
            capture_flush(file);
            flushed = now;
        }
        if (now - checked >= CHECK_MS * 1000000ull) {
            int error = nic_check(nic);
            if (error) return error;
            nic_read_stats(nic, stats);  // before its counters are full
            checked = now;
        }
    }
    return file->error;
}

static int capture_with_interrupts(struct nic *nic, struct capture_file *file, const struct options *options,
                                   struct counts *counts, struct nic_stats *stats) {
    struct interrupts interrupts;
    if (!options->interrupts) return capture(nic, NULL, file, options, counts, stats);
    int error = interrupts_open(&interrupts, nic, INTERRUPT_INTERVAL_US);
    if (error) return error;
    error = capture(nic, &interrupts, file, options, counts, stats);
    interrupts_close(&interrupts);
    return error;
}

static int run(struct nic_host *host, struct capture_file *file, const struct options *options, struct counts *counts,
               struct nic_stats *stats) {
    struct nic *nic = NULL;
    int error = nic_open(host, options->address, &(struct nic_config){.max_frame = NIC_LARGEST_FRAME}, &nic);
    if (error) return error;
    nic_set_promiscuous(nic, true);
    nic_wait_for_link(nic, LINK_TIMEOUT_MS, cli_stop);  // and without one: who captures may be there before the cable
    error = capture_begin(file);
    if (!error) {
        log_info("capturing on %s to %s%s", options->address, options->path,
                 options->seconds || options->count ? "" : "; Ctrl-C ends it");
        error = capture_with_interrupts(nic, file, options, counts, stats);
    }
    nic_read_stats(nic, stats);
    nic_close(nic);
    return error;
}

static int pcap(const struct options *options) {
    struct capture_file file;
    struct nic_host host;
    struct counts counts = {0};
    struct nic_stats stats = {0};
    uint64_t in_file;
    int error = capture_open(&file, options->path, (uint32_t)options->snaplen, cli_stop);
    if (error) return error;
    error = nic_host_open(&host);
    if (!error) {
        error = run(&host, &file, options, &counts, &stats);
        nic_host_close(&host);
    }
    int write_error = capture_close(&file, &in_file);
    log_info("%" PRIu64 " packets, %" PRIu64 " bytes captured; %" PRIu64
             " could not be written; the card missed %" PRIu64 " and counted %" PRIu64 " damaged ones",
             counts.captured, counts.bytes, counts.captured - in_file, stats.rx_missed, stats.rx_errors);
    // Whoever reads our standard output may stop when it has seen enough.
    bool enough = write_error == -EPIPE && !strcmp(options->path, "-");
    if (enough && (!error || error == write_error)) return 0;
    return write_error ? write_error : error;
}

static const char usage[] =
    "usage: pcap [OPTION]... FILE [ADDRESS]\n"
    "Captures every packet that comes to a port into a pcap file with nanosecond times.\n"
    "\n"
    "  --seconds S      stop after S seconds (default: when told to, by Ctrl-C)\n"
    "  --count N        stop after N packets (default: no end)\n"
    "  --snaplen BYTES  keep only the first BYTES of each packet: 1 to 65535 (default 65535)\n"
    "  --interrupts     sleep when nothing comes, instead of asking again and again\n"
    "  --help           this text\n"
    "\n"
    "FILE is overwritten; - is standard output, whose reader is waited for: 07-apps/pcap - | tshark -r -\n"
    "ADDRESS is a PCI address, 0000:05:00.0 or 05:00.0; without it, " DEFAULT_ADDRESS_2
    ", where loopsend's packets arrive.\n"
    "Exits with 0 if all went well, 1 if something failed, 2 if the command line makes no sense.\n";

static int parse(int argc, char **argv, struct options *options) {
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'c'},
        {"snaplen", required_argument, NULL, 'l'}, {"interrupts", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    *options = (struct options){.snaplen = LARGEST_SNAPLEN, .address = DEFAULT_ADDRESS_2};
    int error = 0;
    for (int option; !error && (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case 's': error = cli_number("--seconds", optarg, 1, 1000000, &options->seconds); break;
        case 'c': error = cli_number("--count", optarg, 1, UINT64_MAX, &options->count); break;
        case 'l': error = cli_number("--snaplen", optarg, 1, LARGEST_SNAPLEN, &options->snaplen); break;
        case 'i': options->interrupts = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: error = -EINVAL;  // getopt_long has said which option
        }
    }
    if (error) return error;
    if (optind == argc) return log_error(-EINVAL, "no FILE to capture to");
    if (argc - optind > 2) return log_error(-EINVAL, "'%s' is one argument too many", argv[optind + 2]);
    options->path = argv[optind];
    options->address_named = argc - optind == 2;
    return options->address_named ? cli_pci_address(argv[optind + 1], options->address) : 0;
}

int main(int argc, char **argv) {
    struct options options;
    cli_guard_output();
    if (parse(argc, argv, &options)) {
        log_info("pcap --help tells what it understands");
        return 2;
    }
    if (!options.address_named) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS_2, NULL, "cable");
    cli_stop_on_signals();
    return pcap(&options) ? 1 : 0;
}
