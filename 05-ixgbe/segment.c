// segment: one packet goes in, three come out.
//
// Writes 4000 bytes of TCP data behind one set of headers, more than fits into a frame, and asks the card to cut it
// into segments of 1400 bytes (TSO) and to put a VLAN tag into each. What arrives at the other port shows what the
// card has done: the headers are there three times, with lengths, sequence numbers and checksums that nobody computed
// here.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "log.h"
#include "network_order.h"
#include "offload.h"
#include "two_ports.h"

enum { DATA = 4000, SEGMENT = 1400, SEGMENTS = 3, TAG = 42, HEADERS = 14 + 20 + 20, TIMEOUT_MS = 5000 };

// Ethernet, IPv4 and TCP as in their RFCs. Lengths and checksums are left to offload_segments and the card.
static void write_headers(uint8_t *frame, const struct two_ports *ports) {
    static const uint8_t somebody_else[6] = {0x02, 0, 0, 0, 0, 0x02};
    static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2};
    static const uint8_t tcp[] = {0x10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0};
    memcpy(frame, somebody_else, sizeof somebody_else);
    if (ports->to) nic_get_mac(ports->to, frame);
    nic_get_mac(ports->from, frame + 6);
    frame[12] = 0x08, frame[13] = 0x00;
    memcpy(frame + 14, ip, sizeof ip);
    memcpy(frame + 34, tcp, sizeof tcp);
}

// Headers in one buffer, data in as many others as it takes: the card gathers them.
static struct packet_buffer *make_packet(struct two_ports *ports) {
    struct packet_buffer *packet = mempool_alloc(ports->pool);
    if (!packet) return NULL;
    write_headers(packet->data, ports);
    packet->length = HEADERS;
    for (uint32_t left = DATA; left;) {
        struct packet_buffer *part = mempool_alloc(ports->pool);
        if (!part) {
            mempool_free(packet);
            return NULL;
        }
        part->length = (uint16_t)(left < MEMPOOL_DEFAULT_SIZE ? left : MEMPOOL_DEFAULT_SIZE);
        memset(part->data, 'x', part->length);
        left -= part->length;
        packet_append(packet, part);
    }
    return packet;
}

static int send_packet(struct two_ports *ports) {
    struct packet_buffer *packet = make_packet(ports);
    if (!packet) return log_error(-ENOBUFS, "a packet of %d bytes", HEADERS + DATA);
    int error = offload_segments(packet, SEGMENT);
    offload_vlan(packet, TAG);
    printf("sent      %4u bytes in one packet, asking for segments of %d and VLAN %d\n", packet_length(packet),
           SEGMENT, TAG);
    if (!error && nic_transmit(ports->from, 0, &packet, 1)) return 0;
    mempool_free(packet);
    return log_error(error ? error : -ENOBUFS, "%s does not take the packet", ports->from->device.address);
}

static const char *verdict(uint32_t flags, uint32_t checked, uint32_t bad) {
    return !(flags & checked) ? "not checked" : flags & bad ? "WRONG" : "right";
}

// Somebody else may be on the wire, too.
static bool is_segment(const struct packet_buffer *packet) {
    const uint8_t *frame = packet->data;
    return packet->length > 4 + HEADERS && get16(frame + 12) == 0x8100 && (get16(frame + 14) & 0xfff) == TAG;
}

static void print_segment(const struct packet_buffer *packet) {
    const uint8_t *frame = packet->data, *ip = frame + 18, *tcp = ip + 20;
    printf("received  %4u bytes, VLAN %u, IP length %4u, identification %u, TCP sequence number %4u%s\n",
           packet->length, get16(frame + 14) & 0xfff, get16(ip + 2), get16(ip + 4), get32(tcp + 4),
           tcp[13] & 8 ? ", PSH" : "");
    printf("          checksums, says the card: IP %s, TCP %s\n",
           verdict(packet->flags, PACKET_IPV4_CHECKED, PACKET_IPV4_BAD),
           verdict(packet->flags, PACKET_L4_CHECKED, PACKET_L4_BAD));
}

static int receive_segments(struct two_ports *ports) {
    uint64_t deadline = clock_ns() + TIMEOUT_MS * 1000000ull;
    uint32_t received = 0;
    int error = 0;
    while (!error && received < SEGMENTS && clock_ns() < deadline && !cli_stop()) {
        struct packet_buffer *packet;
        if (!nic_receive(ports->to, 0, &packet, 1)) continue;
        if (is_segment(packet)) {
            print_segment(packet);
            if (packet->flags & (PACKET_IPV4_BAD | PACKET_L4_BAD)) error = -EIO;
            received++;
        }
        mempool_free(packet);
    }
    if (!error && cli_stop()) return -EINTR;
    if (!error && received < SEGMENTS) error = log_error(-EIO, "%u of %d segments arrived", received, SEGMENTS);
    return error;
}

static int count_segments(struct two_ports *ports) {
    uint64_t deadline = clock_ns() + TIMEOUT_MS * 1000000ull;
    struct nic_stats stats;
    do {
        sleep_us(1000);
        nic_read_stats(ports->from, &stats);
    } while (stats.tx_packets < SEGMENTS && clock_ns() < deadline && !cli_stop());
    printf("sent by the card: %" PRIu64 " packets, %" PRIu64 " bytes with their CRCs\n", stats.tx_packets,
           stats.tx_bytes);
    if (cli_stop() || stats.tx_packets >= SEGMENTS) return cli_stop() ? -EINTR : 0;
    return log_error(-EIO, "%s has not sent %d segments", ports->from->device.address, SEGMENTS);
}

static int run(struct two_ports *ports) {
    int error = send_packet(ports);
    if (error) return error;
    error = ports->to ? receive_segments(ports) : count_segments(ports);
    if (error) nic_check(ports->from);  // does the card know why?
    return error;
}

int main(int argc, char **argv) {
    return two_ports_main(argc, argv,
                          "Lets the card cut a long packet into segments, and shows what arrives at the other port. "
                          "With FROM\nalone it only sends, to 192.0.2.2 at 02:00:00:00:00:02 in VLAN 42.",
                          true, run);
}
