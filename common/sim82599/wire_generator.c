// A far end that sends numbered UDP frames, so that a receiver can tell what it lost.
//
// Every frame is the same but for a 64-bit big-endian sequence number at the start of the payload and the source
// port, which goes round through `flows` ports from 32768 on. So one frame is built once; for each that is sent these
// fields are written, and the UDP checksum is the template's plus the words that differ.
//
// size: bytes of the frame without CRC, 60 to 1514, default 60. rate: frames a second; without it frames arrive as
// fast as the port takes them, but no more than one poll's budget at a time.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packet.h"
#include "wire_kinds.h"

enum {
    SEQUENCE_AT = 14 + 20 + 8,
    UDP_AT = 14 + 20,
    FIRST_SOURCE_PORT = 32768,
    DISCARD_PORT = 9,
    MOST_BEHIND_NS = 100 * 1000 * 1000,  // what a port that was not stepped for long gets at once
};

struct generator {
    struct line line;
    uint32_t size, flows;
    uint64_t rate;
    uint64_t sequence;
    uint32_t flow;
    uint64_t due_ns, due_fraction;  // of the next frame; the fraction counts 1/rate ns. 0: the receiver was closed
    uint32_t sum;                   // of the template, with source port, sequence number and checksum 0
    uint8_t mac[6];                 // that the template is addressed to
    struct packet packet;
};

static void build_template(struct generator *generator) {
    static const uint8_t sender[6] = {0x02, 0, 0, 0, 0, 0xfe};
    struct packet *packet = &generator->packet;
    packet_start(packet, generator->mac, sender, PACKET_UNTAGGED, ETHERTYPE_IPV4);
    packet_ipv4(packet, PACKET_ADDRESS(198, 18, 0, 1), PACKET_ADDRESS(198, 18, 0, 2), PROTOCOL_UDP, 64, 0);
    packet_udp(packet, 0, DISCARD_PORT);
    packet_u64(packet, 0);
    while (packet->length < generator->size) packet_u8(packet, (uint8_t)packet->length);
    packet_finish(packet);
    generator->sum = (uint16_t)~packet_get16(packet, UDP_AT + 6);
}

static const void *next_frame(struct generator *generator) {
    struct packet *packet = &generator->packet;
    uint64_t sequence = generator->sequence++;
    uint32_t source = FIRST_SOURCE_PORT + generator->flow;
    if (++generator->flow == generator->flows) generator->flow = 0;

    uint32_t sum = generator->sum + source + (uint16_t)(sequence >> 48) + (uint16_t)(sequence >> 32) +
                   (uint16_t)(sequence >> 16) + (uint16_t)sequence;
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    uint16_t checksum = (uint16_t)~sum;
    packet_set16(packet, UDP_AT, (uint16_t)source);
    packet_set16(packet, UDP_AT + 6, checksum ? checksum : 0xffff);  // 0 would mean that there is none
    packet_set64(packet, SEQUENCE_AT, sequence);
    return packet->bytes;
}

static bool is_due(const struct generator *generator, uint64_t now) {
    return !generator->rate || generator->due_ns <= now;
}

static void one_period_later(struct generator *generator) {
    if (!generator->rate) return;
    generator->due_ns += 1000000000 / generator->rate;
    generator->due_fraction += 1000000000 % generator->rate;
    if (generator->due_fraction >= generator->rate) {
        generator->due_fraction -= generator->rate;
        generator->due_ns++;
    }
}

static unsigned generator_poll(struct wire *wire, unsigned budget) {
    struct generator *generator = (struct generator *)wire;
    if (!sim_receiver_open(wire->port)) {
        generator->due_ns = 0;
        return 0;
    }
    uint8_t mac[6];
    wire_port_mac(wire->port, mac);
    if (memcmp(mac, generator->mac, sizeof mac) != 0) {
        memcpy(generator->mac, mac, sizeof mac);
        build_template(generator);
    }
    uint64_t now = generator->rate ? sim_now(wire->port) : 0;
    if (!generator->due_ns) generator->due_ns = now;
    if (now > generator->due_ns + MOST_BEHIND_NS) generator->due_ns = now - MOST_BEHIND_NS;

    unsigned done = 0;
    while (done < budget && is_due(generator, now) && line_may_deliver(&generator->line)) {
        line_deliver(&generator->line, next_frame(generator), generator->size);
        one_period_later(generator);
        done++;
    }
    return done;
}

static const struct wire_ops generator_ops = {"generator", line_swallow, generator_poll, line_has_light, line_free};

int wire_generator(const struct wire_options *options, struct sim_device *port, struct line **line) {
    (void)port;
    struct generator *generator = calloc(1, sizeof *generator);
    if (!generator) return -ENOMEM;
    generator->line.wire.ops = &generator_ops;
    generator->size = options->size ? (uint32_t)options->size : SIM_MIN_FRAME;
    generator->flows = options->flows ? (uint32_t)options->flows : 1;
    generator->rate = options->rate;
    build_template(generator);
    *line = &generator->line;
    return 0;
}
