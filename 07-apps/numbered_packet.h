// numbered_packet.h: the packets that loopsend sends and checks: UDP, with a sequence number that cannot be mistaken.
//
//     Ethernet 14 | IPv4 20 | UDP 8 | number 8 | the same number inverted 8 | a pattern to the end
//
// The receiver needs to know nothing but the length: every bit of the frame is either constant or checked by another.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    FRAME_CRC = 4,        // added and removed by the card
    SMALLEST_FRAME = 64,  // on the wire, CRC included, as the line rates of the trade count them
    LARGEST_FRAME = 1518,
};

// Writes a whole frame of `length` bytes without CRC (60 to 1514), numbered 0. Do it once for each buffer.
void numbered_packet_prepare(uint8_t *frame, uint32_t length, const uint8_t to[6], const uint8_t from[6]);

// The part that changes from packet to packet.
void numbered_packet_set(uint8_t *frame, uint64_t number);

enum numbered_packet_state { PACKET_GOOD, PACKET_CORRUPT, PACKET_FOREIGN };

// Is this one of ours, prepared like `reference` (same length and addresses), and whole? Foreign: not a frame of this
// program at all.
enum numbered_packet_state numbered_packet_check(const uint8_t *frame, uint32_t length, const uint8_t *reference,
                                                 uint32_t reference_length, uint64_t *number);
