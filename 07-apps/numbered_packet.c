// numbered_packet.c: header fields are written byte by byte, in the order in which they go over the wire.

#include "numbered_packet.h"

#include <string.h>

#include "network_order.h"

enum { IP = 14, UDP = IP + 20, NUMBER = UDP + 8, INVERSE = NUMBER + 8, PATTERN = INVERSE + 8 };

// RFC 1071: the ones' complement sum over the header's 16-bit words.
static uint32_t ip_checksum(const uint8_t *header) {
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) sum += get16(header + i);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

void numbered_packet_prepare(uint8_t *frame, uint32_t length, const uint8_t to[6], const uint8_t from[6]) {
    // 198.18.0.0/15 is set aside for measuring networks (RFC 2544). Port 9 is "discard". A UDP checksum of 0 means
    // that there is none; the number has its own check.
    static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2};
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    put16(frame + 12, 0x0800);
    memcpy(frame + IP, ip, sizeof ip);
    put16(frame + IP + 2, length - IP);
    put16(frame + IP + 10, ip_checksum(frame + IP));
    put16(frame + UDP, 9);
    put16(frame + UDP + 2, 9);
    put16(frame + UDP + 4, length - UDP);
    put16(frame + UDP + 6, 0);
    for (uint32_t i = PATTERN; i < length; i++) frame[i] = (uint8_t)i;
    numbered_packet_set(frame, 0);
}

void numbered_packet_set(uint8_t *frame, uint64_t number) {
    uint64_t inverse = ~number;
    memcpy(frame + NUMBER, &number, sizeof number);
    memcpy(frame + INVERSE, &inverse, sizeof inverse);
}

enum numbered_packet_state numbered_packet_check(const uint8_t *frame, uint32_t length, const uint8_t *reference,
                                                 uint32_t reference_length, uint64_t *number) {
    uint64_t inverse;
    if (length < PATTERN || memcmp(frame + 12, reference + 12, 2) || memcmp(frame + IP + 12, reference + IP + 12, 8))
        return PACKET_FOREIGN;
    memcpy(number, frame + NUMBER, sizeof *number);
    memcpy(&inverse, frame + INVERSE, sizeof inverse);
    bool whole = length == reference_length && *number == ~inverse && !memcmp(frame, reference, NUMBER) &&
                 !memcmp(frame + PATTERN, reference + PATTERN, length - PATTERN);
    return whole ? PACKET_GOOD : PACKET_CORRUPT;
}
