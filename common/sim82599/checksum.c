// checksum.c: the sums that the device computes instead of the processor.
//
// The Internet checksum (RFC 1071) is a sum in ones' complement, which does not care in which byte order or in how
// wide words it is added up, as long as it is folded to 16 bits at the end. So it goes eight bytes at a time (core.h,
// because every frame has two), and here for what is left of them.
#include "core.h"

uint64_t checksum_rest(const uint8_t *bytes, uint32_t length, uint64_t sum) {
    uint32_t four = 0;
    uint16_t two = 0;
    if (length & 4) memcpy(&four, bytes, 4);
    if (length & 2) memcpy(&two, bytes + (length & 4), 2);
    uint64_t one = length & 1 ? bytes[length & 6] : 0;
    return sum_add(sum, (uint64_t)four + two + one);
}

// Bit by bit: nothing that is fast needs these two. The four bytes at `hole` count as zero.
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
