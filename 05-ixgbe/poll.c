// poll: the first packets.
//
// Brings up two ports, sends a few packets out of the first one and looks at what the second one receives, byte by
// byte, until all are there or five seconds have passed. Nothing interrupts and nothing sleeps: asking again and
// again is the simplest way to drive a NIC, and at high load the fastest.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "log.h"
#include "two_ports.h"

enum { PACKETS = 5, RECEIVE_TIMEOUT_MS = 5000 };

static const char text[] = "Hello from port to port, number 0";

// An Ethernet frame: to, from, type, and then whatever we like. 0x88b5 is the type that IEEE 802 sets aside for
// experiments.
static uint32_t write_frame(uint8_t *frame, const uint8_t to[6], const uint8_t from[6], uint32_t number) {
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    frame[12] = 0x88;
    frame[13] = 0xb5;
    memcpy(frame + 14, text, sizeof text);
    frame[14 + sizeof text - 2] += (uint8_t)number;
    return 14 + sizeof text;
}

// First half of the data path: take buffers, write frames, give them to the card.
static int send_packets(struct nic *from, const struct nic *to, struct mempool *pool) {
    struct packet_buffer *buffers[PACKETS];
    uint8_t source[6], destination[6];
    nic_get_mac(from, source);
    nic_get_mac(to, destination);
    uint32_t count = mempool_alloc_batch(pool, buffers, PACKETS);
    for (uint32_t i = 0; i < count; i++) buffers[i]->length = write_frame(buffers[i]->data, destination, source, i);
    uint32_t taken = nic_transmit(from, 0, buffers, count);
    mempool_free_batch(buffers + taken, count - taken);
    if (taken == PACKETS) return 0;
    return log_error(-ENOBUFS, "%s has taken %u of %d packets", from->device.address, taken, PACKETS);
}

static void print_packet(const struct packet_buffer *buffer) {
    const uint8_t *data = buffer->data;
    printf("    %3u bytes at IOVA 0x%08" PRIx64 ": ", buffer->length, buffer->iova.value);
    for (int i = 0; i < 14; i++) printf("%02x%s", data[i], i == 5 || i == 11 ? " " : "");
    printf(" \"%.*s\"\n", (int)sizeof text, (const char *)data + 14);
}

// Second half: ask until they are all there, then give the buffers back.
static int receive_packets(struct nic *nic) {
    uint64_t deadline = clock_ns() + RECEIVE_TIMEOUT_MS * 1000000ull;
    uint32_t received = 0, asked = 0;
    while (received < PACKETS && clock_ns() < deadline && !cli_stop()) {
        struct packet_buffer *buffers[PACKETS];
        uint32_t count = nic_receive(nic, 0, buffers, PACKETS);
        asked++;
        for (uint32_t i = 0; i < count; i++) print_packet(buffers[i]);
        mempool_free_batch(buffers, count);
        received += count;
    }
    printf("received %u of %d, after asking %u times\n", received, PACKETS, asked);
    if (cli_stop()) return -EINTR;
    return received == PACKETS ? 0 : log_error(-EIO, "%s: packets are missing", nic->device.address);
}

static void print_stats(const char *what, struct nic *nic) {
    struct nic_stats stats;
    nic_read_stats(nic, &stats);
    printf("%s counted by the card: %" PRIu64 " packets, %" PRIu64 " bytes sent; %" PRIu64 " packets, %" PRIu64
           " bytes received, %" PRIu64 " missed, %" PRIu64 " damaged\n",
           what, stats.tx_packets, stats.tx_bytes, stats.rx_packets, stats.rx_bytes, stats.rx_missed,
           stats.rx_errors);
}

static int run(struct two_ports *ports) {
    int error = send_packets(ports->from, ports->to, ports->pool);
    if (!error) error = receive_packets(ports->to);
    if (error) {  // do the cards know why?
        nic_check(ports->from);
        nic_check(ports->to);
    }
    print_stats("from", ports->from);
    print_stats("to  ", ports->to);
    return error;
}

int main(int argc, char **argv) {
    return two_ports_main(argc, argv, "Sends a few packets from one port to the other and prints what arrives.",
                          false, run);
}
