// test_numbered_packet.c: a single changed bit, anywhere, is noticed.

#include <string.h>

#include "numbered_packet.h"
#include "test.h"

static const uint8_t to[] = {2, 0, 0, 0, 0, 1}, from[] = {2, 0, 0, 0, 0, 2};

static void whole_packets_are_good(void) {
    uint8_t frame[1514], reference[1514];
    uint64_t number;
    for (uint32_t length = 60; length <= 1514; length++) {
        numbered_packet_prepare(reference, length, to, from);
        numbered_packet_prepare(frame, length, to, from);
        numbered_packet_set(frame, 0x0123456789abcdef + length);
        CHECK_EQ(numbered_packet_check(frame, length, reference, length, &number), PACKET_GOOD);
        CHECK_EQ(number, 0x0123456789abcdef + length);
    }
}

static void every_flipped_bit_is_seen(void) {
    enum { LENGTH = 100 };
    uint8_t frame[LENGTH], reference[LENGTH];
    uint64_t number;
    numbered_packet_prepare(reference, LENGTH, to, from);
    memcpy(frame, reference, LENGTH);
    numbered_packet_set(frame, 77);
    for (uint32_t bit = 0; bit < 8 * LENGTH; bit++) {
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(numbered_packet_check(frame, LENGTH, reference, LENGTH, &number) != PACKET_GOOD);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK_EQ(numbered_packet_check(frame, LENGTH, reference, LENGTH, &number), PACKET_GOOD);
}

static void what_is_not_ours_is_foreign_or_corrupt(void) {
    uint8_t frame[200] = {0}, reference[200];
    uint64_t number;
    numbered_packet_prepare(reference, 60, to, from);
    CHECK_EQ(numbered_packet_check(frame, 60, reference, 60, &number), PACKET_FOREIGN);
    CHECK_EQ(numbered_packet_check(reference, 10, reference, 60, &number), PACKET_FOREIGN);
    numbered_packet_prepare(frame, 100, to, from);
    CHECK_EQ(numbered_packet_check(frame, 100, reference, 60, &number), PACKET_CORRUPT);
}

int main(void) {
    whole_packets_are_good();
    every_flipped_bit_is_seen();
    what_is_not_ours_is_foreign_or_corrupt();
    return test_summary();
}
