// packet.h: frames for the wires that talk by themselves.
//
// A frame is written from front to back, header by header; packet_finish then goes back and fills in the lengths and
// checksums. All fields are big-endian, as on the wire.
#pragma once

#include <stdint.h>

enum {
    PACKET_UNTAGGED = -1,
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86dd,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ICMPV6 = 58,
};

#define PACKET_ADDRESS(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct packet {
    uint32_t length;
    uint32_t ip, transport;  // where these headers begin; 0: there is none
    uint8_t protocol;
    uint8_t bytes[1514 + 4];
};

void packet_u8(struct packet *packet, uint8_t value);
void packet_u16(struct packet *packet, uint16_t value);
void packet_u32(struct packet *packet, uint32_t value);
void packet_u64(struct packet *packet, uint64_t value);
void packet_bytes(struct packet *packet, const void *bytes, uint32_t length);
void packet_text(struct packet *packet, const char *text);

void packet_start(struct packet *packet, const uint8_t to[6], const uint8_t from[6], int vlan, uint16_t type);
void packet_ipv4(struct packet *packet, uint32_t from, uint32_t to, uint8_t protocol, uint8_t ttl, uint16_t id);
void packet_ipv6(struct packet *packet, const uint8_t from[16], const uint8_t to[16], uint8_t protocol, uint8_t hops);
void packet_udp(struct packet *packet, uint16_t from, uint16_t to);
// Lengths, checksums, and padding to the smallest frame.
void packet_finish(struct packet *packet);

static inline uint16_t packet_get16(const struct packet *packet, uint32_t at) {
    return (uint16_t)(packet->bytes[at] << 8 | packet->bytes[at + 1]);
}

static inline void packet_set16(struct packet *packet, uint32_t at, uint16_t value) {
    packet->bytes[at] = (uint8_t)(value >> 8);
    packet->bytes[at + 1] = (uint8_t)value;
}

static inline void packet_set64(struct packet *packet, uint32_t at, uint64_t value) {
    for (unsigned i = 0; i < 8; i++) packet->bytes[at + i] = (uint8_t)(value >> (56 - 8 * i));
}
