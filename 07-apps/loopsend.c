// loopsend: how many packets a second?
//
// Sends numbered UDP packets as fast as the card takes them, receives them on a second port, and accounts for every
// single one: lost, reordered, corrupt. The rates it prints are counted by the cards, not by this program, and at the
// end the two are compared.

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "clock.h"
#include "interrupts.h"
#include "log.h"
#include "numbered_packet.h"
#include "software_nic.h"

enum {
    LARGEST_BATCH = 256,
    POOL_BUFFERS = 2048,
    STALLED_MS = 5000,  // a card that takes no packet for so long has stopped
    LAST_LOOKS = 2000,  // for a packet that is still to come, once all is sent; a millisecond apart
    INTERRUPT_INTERVAL_US = 20,
    IDLE_MS = 1,  // the longest sleep while there is something to send
};

struct options {
    uint64_t seconds, count, size, batch;  // 0 seconds: until stopped; 0 count: without end
    bool interrupts;
    char addresses[2][PCI_ADDRESS_SIZE];
    int named;  // addresses on the command line
};

struct counts {
    uint64_t sent, received, lost, reordered, corrupt, foreign;
};

struct loop {
    struct options options;
    struct nic_host host;
    struct nic *tx, *rx;  // rx: NULL when nobody receives
    struct mempool *pool;
    struct interrupts interrupts;
    struct packet_buffer *pending[LARGEST_BATCH];  // prepared and numbered, not yet taken by the card
    uint32_t pending_count;
    uint64_t next_number, expected;
    uint8_t reference[LARGEST_FRAME];
    struct counts counts;
    struct nic_stats tx_stats, rx_stats;
    uint64_t start_ns, end_ns;  // of sending
};

// ---- Sending and receiving ----------------------------------------------------------------------------------------

static uint64_t left_to_number(const struct loop *loop) {
    return loop->options.count ? loop->options.count - loop->next_number : UINT64_MAX;
}

static void send_batch(struct loop *loop) {
    if (!loop->pending_count) {
        uint32_t wanted = (uint32_t)loop->options.batch;
        if (left_to_number(loop) < wanted) wanted = (uint32_t)left_to_number(loop);
        loop->pending_count = mempool_alloc_batch(loop->pool, loop->pending, wanted);
        for (uint32_t i = 0; i < loop->pending_count; i++)
            numbered_packet_set(loop->pending[i]->data, loop->next_number++);
    }
    uint32_t taken = nic_transmit(loop->tx, 0, loop->pending, loop->pending_count);
    loop->counts.sent += taken;
    loop->pending_count -= taken;
    memmove(loop->pending, loop->pending + taken, loop->pending_count * sizeof *loop->pending);
}

// A gap counts as lost until the missing number turns up late; then it was reordered.
static void account(struct loop *loop, uint64_t number) {
    loop->counts.received++;
    if (number >= loop->expected) {
        loop->counts.lost += number - loop->expected;
        loop->expected = number + 1;
    } else {
        loop->counts.reordered++;
        if (loop->counts.lost) loop->counts.lost--;
    }
}

static uint32_t receive_batch(struct loop *loop, int idle_ms) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t batch = (uint32_t)loop->options.batch, length = (uint32_t)loop->options.size - FRAME_CRC;
    uint32_t count = loop->options.interrupts ? interrupts_receive(&loop->interrupts, 0, buffers, batch, idle_ms)
                                              : nic_receive(loop->rx, 0, buffers, batch);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number;
        switch (numbered_packet_check(buffers[i]->data, buffers[i]->length, loop->reference, length, &number)) {
        case PACKET_GOOD: account(loop, number); break;
        case PACKET_CORRUPT: loop->counts.corrupt++; break;
        case PACKET_FOREIGN: loop->counts.foreign++; break;
        }
    }
    mempool_free_batch(buffers, count);
    return count;
}

// Everything that has arrived is taken out before more is sent: what is under way stays less than the rings hold. If
// somebody else sends faster than we can look, this must end all the same.
static void receive_all(struct loop *loop, int idle_ms) {
    for (uint64_t taken = 0; loop->rx && taken < POOL_BUFFERS; taken += loop->options.batch)
        if (receive_batch(loop, idle_ms) < loop->options.batch) break;
}

// ---- What is printed ----------------------------------------------------------------------------------------------

static void print_line(struct loop *loop, uint64_t now, uint64_t ns) {
    struct nic_stats tx = loop->tx_stats, rx = loop->rx_stats;
    bool terminal = isatty(STDOUT_FILENO);
    nic_read_stats(loop->tx, &loop->tx_stats);
    if (loop->rx) nic_read_stats(loop->rx, &loop->rx_stats);
    printf("%s%5.1f s", terminal ? "\r" : "", (double)(now - loop->start_ns) / 1e9);
    app_print_rate("tx", loop->tx_stats.tx_packets - tx.tx_packets, loop->tx_stats.tx_bytes - tx.tx_bytes, ns);
    if (loop->rx) {
        app_print_rate("rx", loop->rx_stats.rx_packets - rx.rx_packets, loop->rx_stats.rx_bytes - rx.rx_bytes, ns);
        printf("   lost %" PRIu64, loop->counts.lost);
    }
    printf("%s", terminal ? "  " : "\n");
    fflush(stdout);
}

// 0 if every packet that was sent has arrived, whole.
static int print_summary(struct loop *loop) {
    struct counts *counts = &loop->counts;
    double seconds = (double)(loop->end_ns - loop->start_ns) / 1e9;
    printf("%" PRIu64 " packets of %" PRIu64 " bytes sent in %.2f s; the card counted %" PRIu64 "\n", counts->sent,
           loop->options.size, seconds, loop->tx_stats.tx_packets);
    if (!loop->rx) return 0;

    // What never came has left no gap to be seen; it is missing at the end.
    nic_read_stats(loop->rx, &loop->rx_stats);
    counts->lost += counts->sent - loop->expected;
    printf("%" PRIu64 " received, %" PRIu64 " lost, %" PRIu64 " reordered, %" PRIu64
           " corrupt; the card counted %" PRIu64 " received, %" PRIu64 " missed, %" PRIu64 " damaged\n",
           counts->received, counts->lost, counts->reordered, counts->corrupt, loop->rx_stats.rx_packets,
           loop->rx_stats.rx_missed, loop->rx_stats.rx_errors);
    if (counts->foreign)
        printf("%" PRIu64 " packets of somebody else were received and left alone\n", counts->foreign);
    if (loop->options.interrupts) printf("woken %" PRIu64 " times by an interrupt\n", loop->interrupts.wakeups);
    return counts->lost || counts->corrupt ? -EIO : 0;
}

// ---- The loop -----------------------------------------------------------------------------------------------------

static int check_cards(const struct loop *loop) {
    int error = nic_check(loop->tx);
    return error || !loop->rx ? error : nic_check(loop->rx);
}

static bool everything_sent(const struct loop *loop) { return !left_to_number(loop) && !loop->pending_count; }

static int send_and_receive(struct loop *loop) {
    uint64_t now = loop->start_ns = clock_ns(), line = now, moved = now;
    uint64_t end = loop->options.seconds ? now + loop->options.seconds * 1000000000 : UINT64_MAX;
    while (!cli_stop() && now < end && !everything_sent(loop)) {
        uint64_t before = loop->counts.sent;
        // Looking at the clock takes as long as sending a packet.
        for (int turn = 0; turn < 16 && !everything_sent(loop); turn++) {
            send_batch(loop);
            receive_all(loop, IDLE_MS);
        }
        now = clock_ns();
        if (loop->counts.sent != before)
            moved = now;
        else
            sched_yield();  // nothing to do: let somebody else have this core, if somebody is waiting for it
        if (now - moved > STALLED_MS * 1000000ull)
            return log_error(-ETIMEDOUT, "%s has taken no packet for %d ms; is the link up? (%u Mbit/s)",
                             loop->tx->device.address, STALLED_MS, nic_link_mbit(loop->tx));
        if (now - line >= 1000000000) {
            print_line(loop, now, now - line);
            line = now;
            int error = check_cards(loop);
            if (error) return error;
        }
    }
    return 0;
}

// What is in the rings and on the wire is still to come: so wait as long as some of it does. It is looks that are
// counted, and not time, because on a busy machine time can pass and nothing else.
static void receive_the_rest(struct loop *loop, uint32_t most_looks) {
    // Numbered but never taken by the card: these were not sent.
    mempool_free_batch(loop->pending, loop->pending_count);
    loop->pending_count = 0;
    for (uint32_t looks = 0; loop->rx && looks < most_looks && loop->expected != loop->counts.sent; looks++) {
        uint64_t received = loop->counts.received;
        sleep_us(1000);
        receive_all(loop, 0);
        if (loop->counts.received > received) looks = 0;
    }
}

static int prepare_packets(struct loop *loop) {
    uint8_t from[6], to[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t length = (uint32_t)loop->options.size - FRAME_CRC;
    int error = mempool_create(&loop->host.space, POOL_BUFFERS, MEMPOOL_DEFAULT_SIZE, &loop->pool);
    if (error) return error;
    nic_get_mac(loop->tx, from);
    if (loop->rx) nic_get_mac(loop->rx, to);
    numbered_packet_prepare(loop->reference, length, to, from);
    for (uint32_t i = 0; i < POOL_BUFFERS; i++) {
        struct packet_buffer *buffer = mempool_buffer(loop->pool, i);
        memcpy(buffer->data, loop->reference, length);
        buffer->length = length;
    }
    return 0;
}

static int run(struct loop *loop) {
    int error = prepare_packets(loop);
    if (!error) error = app_wait_for_link(loop->tx);
    if (!error && loop->rx) error = app_wait_for_link(loop->rx);
    if (error) return error;
    printf("%s sends", loop->tx->device.address);
    if (loop->rx) printf(", %s receives", loop->rx->device.address);
    printf(": %" PRIu64 "-byte packets in batches of %" PRIu64 "\n", loop->options.size, loop->options.batch);
    fflush(stdout);
    error = send_and_receive(loop);
    loop->end_ns = clock_ns();
    if (isatty(STDOUT_FILENO)) printf("\n");  // what follows is not to stand behind the rates
    receive_the_rest(loop, error ? 1 : LAST_LOOKS);
    int unsent = app_wait_until_sent(loop->tx, loop->counts.sent, error ? 0 : LAST_PACKETS_MS, &loop->tx_stats);
    if (!error) error = check_cards(loop);
    int unaccounted = print_summary(loop);
    return error ? error : unsent ? unsent : unaccounted;
}

// The second port receives if there is one. It may be missing or taken when nobody asked for it by name.
static int open_ports(struct loop *loop) {
    const struct options *options = &loop->options;
    int error = nic_open(&loop->host, options->addresses[0], NULL, &loop->tx);
    if (error || options->named == 1) return error;
    error = nic_open(&loop->host, options->addresses[1], NULL, &loop->rx);
    if (error && options->named < 2) {
        log_info("so %s only sends, and nobody here checks what arrives", options->addresses[0]);
        return 0;
    }
    return error;
}

static int loopsend(struct loop *loop) {
    int error = nic_host_open(&loop->host);
    if (error) return error;
    error = open_ports(loop);
    bool interrupts = !error && loop->options.interrupts && loop->rx;
    if (interrupts) error = interrupts_open(&loop->interrupts, loop->rx, INTERRUPT_INTERVAL_US);
    if (!error) {
        error = run(loop);
        if (interrupts) interrupts_close(&loop->interrupts);
    }
    nic_close(loop->tx);
    nic_close(loop->rx);
    mempool_destroy(loop->pool);
    nic_host_close(&loop->host);
    return error;
}

// ---- The command line ---------------------------------------------------------------------------------------------

static const char usage[] =
    "usage: loopsend [OPTION]... [TX_ADDRESS [RX_ADDRESS]]\n"
    "Sends numbered UDP packets out of one port, receives them on another, and accounts for every one.\n"
    "\n"
    "  --seconds S    stop after S seconds (default: when told to, by Ctrl-C)\n"
    "  --count N      stop after N packets (default: no end)\n"
    "  --size BYTES   length of a packet on the wire, with its CRC: 64 to 1518 (default 64)\n"
    "  --batch N      packets in one call of the driver, 1 to 256 (default 32)\n"
    "  --interrupts   sleep when nothing comes, instead of asking again and again\n"
    "  --help         this text\n"
    "\n"
    "Addresses are PCI addresses, 0000:04:00.0 or 04:00.0. Without any, " DEFAULT_ADDRESS
    " sends and " DEFAULT_ADDRESS_2 "\n"
    "receives; with one, that port only sends. Exits with 0 if nothing was lost or corrupted, 1 if something was or\n"
    "something failed, 2 if the command line makes no sense.\n";

static int parse(int argc, char **argv, struct options *options) {
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 'z'},
        {"batch", required_argument, NULL, 'b'},
        {"interrupts", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *options =
        (struct options){.size = SMALLEST_FRAME, .batch = 32, .addresses = {DEFAULT_ADDRESS, DEFAULT_ADDRESS_2}};
    int error = 0;
    for (int option; !error && (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case 's': error = cli_number("--seconds", optarg, 1, 1000000, &options->seconds); break;
        case 'c': error = cli_number("--count", optarg, 1, UINT64_MAX / 2, &options->count); break;
        case 'z': error = cli_number("--size", optarg, SMALLEST_FRAME, LARGEST_FRAME, &options->size); break;
        case 'b': error = cli_number("--batch", optarg, 1, LARGEST_BATCH, &options->batch); break;
        case 'i': options->interrupts = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: error = -EINVAL;  // getopt_long has said which option
        }
    }
    if (error) return error;
    options->named = app_addresses(argc - optind, argv + optind, options->addresses);
    return options->named < 0 ? options->named : 0;
}

int main(int argc, char **argv) {
    static struct loop loop;
    cli_guard_output();
    if (parse(argc, argv, &loop.options)) {
        log_info("loopsend --help tells what it understands");
        return 2;
    }
    if (!loop.options.named) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, DEFAULT_ADDRESS_2, "cable");
    cli_stop_on_signals();
    return loopsend(&loop) ? 1 : 0;
}
