// checksum.c: the sums that the device computes instead of the processor.
//
// The Internet checksum (RFC 1071) is a sum in ones' complement, which does not care in which byte order or in how
// wide words it is added up, as long as the result is folded to 16 bits at the end. So it goes eight bytes at a time.
#include "core.h"

#include <string.h>

uint64_t checksum_add(const void *data, uint32_t length, uint64_t sum) {
    const uint8_t *bytes = data;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        sum += word;
        sum += sum < word;
    }
    if (length) {
        uint64_t word = 0;
        memcpy(&word, bytes, length);
        sum += word;
        sum += sum < word;
    }
    return sum;
}

uint16_t checksum_fold(uint64_t sum) {
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + sum);
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
