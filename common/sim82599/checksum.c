// checksum.c: the sums that the device computes instead of the processor.
//
// The Internet checksum (RFC 1071) is a sum in ones' complement, which does not care in which byte order or in how
// wide words it is added up, as long as it is folded to 16 bits at the end. Every frame has two, so that one goes
// eight bytes at a time and is in core.h. Here are the CRCs, which are rarely needed, bit by bit.
#include "core.h"

// The four bytes at `hole` count as zero.
static uint32_t crc(const uint8_t *bytes, uint32_t length, uint32_t polynomial, uint32_t hole) {
    uint32_t remainder = UINT32_MAX;
    for (uint32_t i = 0; i < length; i++) {
        remainder ^= i - hole < 4 ? 0 : bytes[i];
        for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ (remainder & 1 ? polynomial : 0);
    }
    return ~remainder;
}

uint32_t crc32_ethernet(const void *data, uint32_t length) { return crc(data, length, 0xedb88320, UINT32_MAX - 4); }
uint32_t crc32c_sctp(const void *data, uint32_t length) { return crc(data, length, 0x82f63b78, 8); }
