// stats.c: the counters (8.2.3.23).
//
// All are cleared by reading and stay at their maximum instead of starting over. What the device counts per queue it
// counts in one of 16 sets of counters; which one says RQSMR and TQSM: after reset all queues share the first.
#include "core.h"

enum { ALL_SETS = 16 };  // of RXDSTATCTRL.QSEL

void count(struct sim_device *device, uint32_t offset, uint32_t n) {
    uint32_t value = reg(device, offset);
    reg_set(device, offset, value + n < value ? UINT32_MAX : value + n);
}

// Byte counters are 36 bits in two registers. Those of the MAC count CRCs too; those of the receive queues count what
// has gone to the host, with or without them.
static void count_bytes(struct sim_device *device, uint32_t low, uint32_t high, uint64_t bytes, uint32_t crcs) {
    uint64_t value = ((uint64_t)reg(device, high) << 32 | reg(device, low)) + bytes + 4 * (uint64_t)crcs;
    if (value >> 36) value = UINT64_C(0xfffffffff);
    reg_set(device, low, (uint32_t)value);
    reg_set(device, high, (uint32_t)(value >> 32));
}

static void count_kinds(struct sim_device *device, const struct tally *tally, uint32_t sizes, uint32_t multicasts,
                        uint32_t broadcasts) {
    for (uint32_t i = 0; i < 6; i++) count(device, sizes + 4 * i, tally->sizes[i]);
    count(device, multicasts, tally->multicasts);
    count(device, broadcasts, tally->broadcasts);
}

// With what has been tallied and not been counted yet.
struct sim_totals sim_totals(const struct sim_device *device) {
    struct sim_totals totals = device->totals;
    totals.in_packets += device->received.frames;
    totals.in_bytes += device->received.bytes + 4 * (uint64_t)device->received.frames;
    totals.out_packets += device->sent.frames;
    totals.out_bytes += device->sent.bytes + 4 * (uint64_t)device->sent.frames;
    return totals;
}

void count_tallies(struct sim_device *device) {
    uint32_t good = device->received.frames + device->strange_frames, arrived = good + device->malformed_frames;
    if (arrived) {
        uint64_t good_bytes = device->received.bytes + device->strange_bytes;
        count(device, IXGBE_TPR, arrived);
        count_bytes(device, IXGBE_TORL, IXGBE_TORH, good_bytes + device->malformed_bytes, arrived);
        count(device, IXGBE_RXNFGPC, good);
        count_bytes(device, IXGBE_RXNFGBCL, IXGBE_RXNFGBCH, good_bytes, good);
        count(device, IXGBE_GPRC, device->received.frames);
        count_bytes(device, IXGBE_GORCL, IXGBE_GORCH, device->received.bytes, device->received.frames);
        count(device, IXGBE_XEC, device->received.wrong_checksums);
        count_kinds(device, &device->received, IXGBE_PRC64, IXGBE_MPRC, IXGBE_BPRC);
    }
    if (device->sent.frames) {
        count(device, IXGBE_GPTC, device->sent.frames);
        count(device, IXGBE_TPT, device->sent.frames);
        count(device, IXGBE_TXDGPC, device->sent.frames);
        count_bytes(device, IXGBE_GOTCL, IXGBE_GOTCH, device->sent.bytes, device->sent.frames);
        count_bytes(device, IXGBE_TXDGBCL, IXGBE_TXDGBCH, device->sent.bytes, device->sent.frames);
        count_kinds(device, &device->sent, IXGBE_PTC64, IXGBE_MPTC, IXGBE_BPTC);
    }
    device->totals = sim_totals(device);
    device->strange_frames = device->malformed_frames = 0;
    device->strange_bytes = device->malformed_bytes = 0;
    device->received = device->sent = (struct tally){0};
}

// The MAC makes PAUSE frames by itself, of 64 bytes, and counts them with the others that it sends. Linux's driver
// and DPDK's take them off again.
void count_pause_sent(struct sim_device *device, bool xoff) {
    static const uint32_t counters[] = {IXGBE_GPTC, IXGBE_TPT, IXGBE_MPTC, IXGBE_PTC64};
    for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++) count(device, counters[i], 1);
    count(device, xoff ? IXGBE_LXOFFTXC : IXGBE_LXONTXC, 1);
    count_bytes(device, IXGBE_GOTCL, IXGBE_GOTCH, 60, 1);
    if (xoff) {
        device->pauses_sent.xoff++;
    } else {
        device->pauses_sent.xon++;
    }
}

struct sim_pauses sim_pauses_sent(const struct sim_device *device) {
    return device->pauses_sent;
}

// Those that arrive stay in the MAC: they count as packets, but not as good ones.
void sim_pauses_received(struct sim_device *device, struct sim_pauses pauses) {
    uint32_t frames = pauses.xon + pauses.xoff;
    if (!sim_receiver_open(device) || !sim_pause_honoured(device)) return;
    count(device, IXGBE_LXONRXCNT, pauses.xon);
    count(device, IXGBE_LXOFFRXCNT, pauses.xoff);
    count(device, IXGBE_TPR, frames);
    count_bytes(device, IXGBE_TORL, IXGBE_TORH, 60 * (uint64_t)frames, frames);
}

static uint32_t set_of(const struct sim_device *device, uint32_t map, unsigned queue) {
    return reg(device, map + queue / 4 * 4) >> (queue % 4 * 8) & 15;
}

void count_delivered(struct sim_device *device, unsigned queue, uint32_t frames, uint64_t bytes) {
    uint32_t set = set_of(device, IXGBE_RQSMR, queue),
             chosen = reg(device, IXGBE_RXDSTATCTRL) & IXGBE_RXDSTATCTRL_QSEL;
    count(device, IXGBE_REG(QPRC, set), frames);
    count_bytes(device, IXGBE_REG(QBRC_L, set), IXGBE_REG(QBRC_H, set), bytes, 0);
    if (chosen != set && chosen < ALL_SETS) return;
    count(device, IXGBE_RXDGPC, frames);
    count_bytes(device, IXGBE_RXDGBCL, IXGBE_RXDGBCH, bytes, 0);
}

void count_undelivered(struct sim_device *device, unsigned queue) {
    device->totals.dropped++;
    count(device, IXGBE_REG(QPRDC, set_of(device, IXGBE_RQSMR, queue)), 1);
}

void count_queue_sent(struct sim_device *device, unsigned queue, uint32_t frames, uint64_t bytes) {
    uint32_t set = set_of(device, IXGBE_TQSM, queue);
    count(device, IXGBE_REG(QPTC, set), frames);
    count_bytes(device, IXGBE_REG(QBTC_L, set), IXGBE_REG(QBTC_H, set), bytes, frames);
}
