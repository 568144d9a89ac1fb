// stats.c: the counters (8.2.3.23).
//
// All are cleared by reading and stay at their maximum instead of starting over. What the device counts per queue it
// counts in one of 16 sets of counters, which one says RQSMR and TQSM: after reset all queues share the first.
#include "core.h"

void count(struct sim_device *device, uint32_t offset, uint32_t n) {
    uint32_t value = reg(device, offset);
    reg_set(device, offset, value + n < value ? UINT32_MAX : value + n);
}

// Byte counters are 36 bits in two registers.
void count64(struct sim_device *device, uint32_t low, uint32_t high, uint64_t n) {
    uint64_t value = ((uint64_t)reg(device, high) << 32 | reg(device, low)) + n;
    if (value >> 36) value = UINT64_C(0xfffffffff);
    reg_set(device, low, (uint32_t)value);
    reg_set(device, high, (uint32_t)(value >> 32));
}

// 64, 65 to 127, 128 to 255, ... 1024 and more bytes, CRC included: six registers in a row.
static uint32_t size_class(uint32_t length) {
    uint32_t with_crc = length + 4;
    if (with_crc <= 64) return 0;
    uint32_t power = 31 - (uint32_t)__builtin_clz(with_crc);
    return power > 10 ? 5 : power - 5;
}

void count_received(struct sim_device *device, const uint8_t *bytes, uint32_t length) {
    count(device, IXGBE_GPRC, 1);
    count64(device, IXGBE_GORCL, IXGBE_GORCH, length + 4);
    count(device, IXGBE_PRC64 + 4 * size_class(length), 1);
    if (bytes[0] & 1) {
        bool broadcast = bytes[0] == 0xff && bytes[1] == 0xff && bytes[2] == 0xff;
        count(device, broadcast ? IXGBE_BPRC : IXGBE_MPRC, 1);
    }
}

void count_sent(struct sim_device *device, const uint8_t *bytes, uint32_t length) {
    count(device, IXGBE_PTC64 + 4 * size_class(length), 1);
    if (bytes[0] & 1) {
        bool broadcast = bytes[0] == 0xff && bytes[1] == 0xff && bytes[2] == 0xff;
        count(device, broadcast ? IXGBE_BPTC : IXGBE_MPTC, 1);
    }
}

static uint32_t set_of(const struct sim_device *device, uint32_t map, unsigned queue) {
    return reg(device, map + queue / 4 * 4) >> (queue % 4 * 8) & 15;
}

void count_delivered(struct sim_device *device, unsigned queue, uint32_t frames, uint64_t bytes) {
    uint32_t set = set_of(device, IXGBE_RQSMR, queue);
    count(device, IXGBE_REG(QPRC, set), frames);
    count64(device, IXGBE_REG(QBRC_L, set), IXGBE_REG(QBRC_H, set), bytes + 4 * frames);
    count(device, IXGBE_RXDGPC, frames);
    count64(device, IXGBE_RXDGBCL, IXGBE_RXDGBCH, bytes + 4 * frames);
}

void count_undelivered(struct sim_device *device, unsigned queue) {
    count(device, IXGBE_REG(QPRDC, set_of(device, IXGBE_RQSMR, queue)), 1);
}

void count_queue_sent(struct sim_device *device, unsigned queue, uint32_t frames, uint64_t bytes) {
    uint32_t set = set_of(device, IXGBE_TQSM, queue);
    count(device, IXGBE_GPTC, frames);
    count(device, IXGBE_TPT, frames);
    count64(device, IXGBE_GOTCL, IXGBE_GOTCH, bytes + 4 * frames);
    count(device, IXGBE_REG(QPTC, set), frames);
    count64(device, IXGBE_REG(QBTC_L, set), IXGBE_REG(QBTC_H, set), bytes + 4 * frames);
    count(device, IXGBE_TXDGPC, frames);
}
