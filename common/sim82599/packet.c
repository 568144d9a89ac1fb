// Writing a frame, field by field.
#include "packet.h"

#include <string.h>

#include "wire_kinds.h"

void packet_bytes(struct packet *packet, const void *bytes, uint32_t length) {
    uint32_t room = sizeof packet->bytes - packet->length;
    if (length > room) length = room;
    memcpy(packet->bytes + packet->length, bytes, length);
    packet->length += length;
}

void packet_u8(struct packet *packet, uint8_t value) { packet_bytes(packet, &value, 1); }

void packet_u16(struct packet *packet, uint16_t value) {
    packet_u8(packet, (uint8_t)(value >> 8));
    packet_u8(packet, (uint8_t)value);
}

void packet_u32(struct packet *packet, uint32_t value) {
    packet_u16(packet, (uint16_t)(value >> 16));
    packet_u16(packet, (uint16_t)value);
}

void packet_u64(struct packet *packet, uint64_t value) {
    packet_u32(packet, (uint32_t)(value >> 32));
    packet_u32(packet, (uint32_t)value);
}

void packet_text(struct packet *packet, const char *text) { packet_bytes(packet, text, (uint32_t)strlen(text)); }

void packet_start(struct packet *packet, const uint8_t to[6], const uint8_t from[6], int vlan, uint16_t type) {
    memset(packet, 0, sizeof *packet);
    packet_bytes(packet, to, 6);
    packet_bytes(packet, from, 6);
    if (vlan != PACKET_UNTAGGED) {
        packet_u16(packet, ETHERTYPE_VLAN);
        packet_u16(packet, (uint16_t)vlan);
    }
    packet_u16(packet, type);
}

void packet_ipv4(struct packet *packet, uint32_t from, uint32_t to, uint8_t protocol, uint8_t ttl, uint16_t id) {
    packet->ip = packet->length;
    packet_u16(packet, 0x4500);  // version 4, header of 5 words
    packet_u16(packet, 0);       // total length, later
    packet_u16(packet, id);
    packet_u16(packet, 0x4000);  // don't fragment
    packet_u8(packet, ttl);
    packet_u8(packet, protocol);
    packet_u16(packet, 0);  // checksum, later
    packet_u32(packet, from);
    packet_u32(packet, to);
    packet->transport = packet->length;
    packet->protocol = protocol;
}

void packet_ipv6(struct packet *packet, const uint8_t from[16], const uint8_t to[16], uint8_t protocol,
                 uint8_t hops) {
    packet->ip = packet->length;
    packet_u32(packet, 0x60000000);  // version 6
    packet_u16(packet, 0);           // payload length, later
    packet_u8(packet, protocol);
    packet_u8(packet, hops);
    packet_bytes(packet, from, 16);
    packet_bytes(packet, to, 16);
    packet->transport = packet->length;
    packet->protocol = protocol;
}

void packet_udp(struct packet *packet, uint16_t from, uint16_t to) {
    packet_u16(packet, from);
    packet_u16(packet, to);
    packet_u32(packet, 0);  // length and checksum, later
}

// Internet checksum (RFC 1071), not yet folded.
static uint32_t sum(const struct packet *packet, uint32_t from, uint32_t to) {
    uint32_t total = 0;
    for (uint32_t at = from; at < to; at += 2) {
        total += at + 1 < to ? packet_get16(packet, at) : (uint32_t)packet->bytes[at] << 8;
    }
    return total;
}

static uint16_t checksum_of(uint32_t total) {
    while (total >> 16) total = (total >> 16) + (total & 0xffff);
    return (uint16_t)~total;
}

static void finish_transport(struct packet *packet, uint32_t addresses_at) {
    static const struct {
        uint8_t protocol, checksum_at, pseudo_header;
    } known[] = {
        {PROTOCOL_ICMP, 2, 0},
        {PROTOCOL_TCP, 16, 1},
        {PROTOCOL_UDP, 6, 1},
        {PROTOCOL_ICMPV6, 2, 1},
    };
    uint32_t length = packet->length - packet->transport;
    if (packet->protocol == PROTOCOL_UDP) packet_set16(packet, packet->transport + 4, (uint16_t)length);
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].protocol != packet->protocol) continue;
        uint32_t total = sum(packet, packet->transport, packet->length);
        if (known[i].pseudo_header) total += sum(packet, addresses_at, packet->transport) + packet->protocol + length;
        uint16_t checksum = checksum_of(total);
        if (packet->protocol == PROTOCOL_UDP && !checksum) checksum = 0xffff;
        packet_set16(packet, packet->transport + known[i].checksum_at, checksum);
    }
}

void packet_finish(struct packet *packet) {
    uint32_t ip = packet->ip;
    if (ip && packet->bytes[ip] >> 4 == 4) {
        packet_set16(packet, ip + 2, (uint16_t)(packet->length - ip));
        packet_set16(packet, ip + 10, checksum_of(sum(packet, ip, packet->transport)));
        finish_transport(packet, ip + 12);
    } else if (ip) {
        packet_set16(packet, ip + 4, (uint16_t)(packet->length - packet->transport));
        finish_transport(packet, ip + 8);
    }
    if (packet->length < SIM_MIN_FRAME) packet->length = SIM_MIN_FRAME;
}
