// poll: the first packets.
//
// Brings up two ports, sends a few packets out of the first one and looks at what the second one receives, byte by
// byte, until all are there or three seconds have passed. Nothing interrupts and nothing sleeps: asking again and again
// is the simplest way to drive a NIC, and at high load the fastest.

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "log.h"
#include "nic.h"
#include "software_nic.h"

enum { PACKETS = 5, LINK_TIMEOUT_MS = 10000, RECEIVE_TIMEOUT_MS = 3000 };

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

static void print_card(const char *what, const struct nic *nic) {
    uint8_t mac[6];
    nic_get_mac(nic, mac);
    uint32_t mbit = nic_wait_for_link(nic, LINK_TIMEOUT_MS);
    printf("%s %s: %02x:%02x:%02x:%02x:%02x:%02x, link ", what, nic->device.address, mac[0], mac[1], mac[2], mac[3],
           mac[4], mac[5]);
    if (mbit)
        printf("up at %u Mbit/s\n", mbit);
    else
        printf("down; is the cable plugged in?\n");
}

// First half of the data path: take buffers, write frames, give them to the card.
static int send_packets(struct nic *from, const struct nic *to, struct mempool *pool) {
    struct packet_buffer *buffers[PACKETS];
    uint8_t source[6], destination[6];
    nic_get_mac(from, source);
    nic_get_mac(to, destination);
    if (mempool_alloc_batch(pool, buffers, PACKETS) < PACKETS) return -1;
    for (uint32_t i = 0; i < PACKETS; i++) buffers[i]->length = write_frame(buffers[i]->data, destination, source, i);
    return nic_transmit(from, 0, buffers, PACKETS) == PACKETS ? 0 : -1;
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
    return received == PACKETS ? 0 : -1;
}

static void print_stats(const char *what, struct nic *nic) {
    struct nic_stats stats;
    nic_read_stats(nic, &stats);
    printf("%s counted by the card: %" PRIu64 " packets, %" PRIu64 " bytes sent; %" PRIu64 " packets, %" PRIu64
           " bytes received, %" PRIu64 " missed, %" PRIu64 " damaged\n",
           what, stats.tx_packets, stats.tx_bytes, stats.rx_packets, stats.rx_bytes, stats.rx_missed, stats.rx_errors);
}

static int run(struct nic_host *host, struct nic *first, struct nic *second) {
    struct mempool *pool;
    int error = mempool_create(&host->space, 64, MEMPOOL_DEFAULT_SIZE, &pool);
    if (error) return error;
    print_card("from", first);
    print_card("to  ", second);
    error = send_packets(first, second, pool);
    if (!error) error = receive_packets(second);
    print_stats("from", first);
    print_stats("to  ", second);
    // The card may hold some of the pool's buffers until its rings are gone, so it must be closed first.
    nic_close(first);
    mempool_destroy(pool);
    return error;
}

static int open_both(struct nic_host *host, char addresses[2][PCI_ADDRESS_SIZE]) {
    struct nic *first = NULL, *second = NULL;
    int error = nic_open(host, addresses[0], NULL, &first);
    if (error) return error;
    error = nic_open(host, addresses[1], NULL, &second);
    if (error)
        nic_close(first);
    else
        error = run(host, first, second);
    nic_close(second);
    return error;
}

int main(int argc, char **argv) {
    char addresses[2][PCI_ADDRESS_SIZE] = {DEFAULT_ADDRESS, DEFAULT_ADDRESS_2};
    bool help = argc == 2 && !strcmp(argv[1], "--help");
    if (help || argc == 2 || argc > 3) {
        fprintf(help ? stdout : stderr,
                "usage: poll [FROM TO]\nSends %d packets from one port to the other (%s, %s).\n", PACKETS,
                DEFAULT_ADDRESS, DEFAULT_ADDRESS_2);
        return help ? 0 : 2;
    }
    for (int i = 1; i < argc; i++)
        if (cli_pci_address(argv[i], addresses[i - 1])) return 2;
    if (argc == 1) use_software_nic_if_no_hardware(argv);
    cli_stop_on_signals();

    struct nic_host host;
    if (nic_host_open(&host)) return 1;
    int error = open_both(&host, addresses);
    nic_host_close(&host);
    return error ? 1 : 0;
}
