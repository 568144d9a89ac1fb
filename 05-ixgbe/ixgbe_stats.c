// ixgbe_stats.c: what the 82599 counts.
//
// Its counters are 32 bits wide, or 36 in two registers, and clear when they are read (8.2.3.23). So each reading is
// added to a total of 64 bits. Which register has which name is a table; the names are those that `ethtool -S` prints
// for this card. Packets by queue are the exception: the driver counts those itself, as Linux's does, because it has
// them in its hands anyway.

#include <stdarg.h>
#include <stdio.h>

#include "ixgbe.h"

static const struct {
    const char *name;
    uint32_t low, high;  // registers; no high one: 0
} rows[IXGBE_COUNTERS] = {
    [IXGBE_TX_XON] = {"tx_flow_control_xon", IXGBE_LXONTXC, 0},
    [IXGBE_TX_XOFF] = {"tx_flow_control_xoff", IXGBE_LXOFFTXC, 0},
    [IXGBE_RX_MISSED] = {"rx_missed_errors", IXGBE_REG(RXMPC, 0), 0},
    [IXGBE_RX_PACKETS] = {"rx_pkts_nic", IXGBE_GPRC, 0},
    [IXGBE_TX_PACKETS] = {"tx_pkts_nic", IXGBE_GPTC, 0},
    [IXGBE_RX_BYTES] = {"rx_bytes_nic", IXGBE_GORCL, IXGBE_GORCH},
    [IXGBE_TX_BYTES] = {"tx_bytes_nic", IXGBE_GOTCL, IXGBE_GOTCH},
    [IXGBE_RX_MULTICAST] = {"multicast", IXGBE_MPRC, 0},
    [IXGBE_RX_BROADCAST] = {"broadcast", IXGBE_BPRC, 0},
    // Packets that their queue had no descriptor for; see drop_when_full.
    [IXGBE_RX_NO_DESCRIPTOR] = {"rx_no_dma_resources", 0, 0},
    [IXGBE_RX_CRC_ERRORS] = {"rx_crc_errors", IXGBE_CRCERRS, 0},
    [IXGBE_RX_LENGTH_ERRORS] = {"rx_length_errors", IXGBE_RLEC, 0},
    [IXGBE_RX_TOO_LONG] = {"rx_long_length_errors", IXGBE_ROC, 0},
    [IXGBE_RX_TOO_SHORT] = {"rx_short_length_errors", IXGBE_RUC, 0},
    [IXGBE_RX_CHECKSUM_ERRORS] = {"rx_csum_offload_errors", IXGBE_XEC, 0},
    [IXGBE_RX_XON] = {"rx_flow_control_xon", IXGBE_LXONRXCNT, 0},
    [IXGBE_RX_XOFF] = {"rx_flow_control_xoff", IXGBE_LXOFFRXCNT, 0},
};

// Reading the high half clears both, so the low one goes first. It has 4 bits.
static uint64_t read_counter(const struct ixgbe *ixgbe, uint32_t low, uint32_t high) {
    uint64_t value = ixgbe_read(ixgbe, low);
    return high ? value | (uint64_t)(ixgbe_read(ixgbe, high) & 0xf) << 32 : value;
}

void ixgbe_accumulate_counters(struct ixgbe *ixgbe) {
    if (ixgbe_read(ixgbe, IXGBE_STATUS) == IXGBE_GONE) return;
    uint64_t *totals = ixgbe->totals, missed_before = totals[IXGBE_RX_MISSED];
    for (uint32_t i = 0; i < IXGBE_COUNTERS; i++)
        if (rows[i].low) totals[i] += read_counter(ixgbe, rows[i].low, rows[i].high);
    // An erratum, which Linux and DPDK know of as well: what the card receives and then loses is in GPRC, too.
    totals[IXGBE_RX_PACKETS] -= totals[IXGBE_RX_MISSED] - missed_before;
    // Otherwise frames wait in the card until there are descriptors, and what it then loses is in "missed".
    // After a reset all queues share the first set of counters (RQSMR, 8.2.3.23.71).
    if (ixgbe->drop_when_full) totals[IXGBE_RX_NO_DESCRIPTOR] += ixgbe_read(ixgbe, IXGBE_REG(QPRDC, 0));
}

void ixgbe_read_stats(struct nic *nic, struct nic_stats *stats) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    enum { PAUSE_BYTES = 64 };
    const uint64_t *totals = ixgbe->totals;
    ixgbe_accumulate_counters(ixgbe);
    uint64_t pauses = totals[IXGBE_TX_XON] + totals[IXGBE_TX_XOFF];
    *stats = (struct nic_stats){
        .rx_packets = totals[IXGBE_RX_PACKETS],
        .rx_bytes = totals[IXGBE_RX_BYTES],
        .tx_packets = totals[IXGBE_TX_PACKETS] - pauses,
        .tx_bytes = totals[IXGBE_TX_BYTES] - pauses * PAUSE_BYTES,
        .rx_missed = totals[IXGBE_RX_MISSED] + totals[IXGBE_RX_NO_DESCRIPTOR],
        .rx_errors = totals[IXGBE_RX_CRC_ERRORS] + totals[IXGBE_RX_LENGTH_ERRORS],
    };
    for (uint32_t queue = 0; queue < nic->rx_queues; queue++)
        stats->rx_errors += __atomic_load_n(&ixgbe->rx[queue].broken, __ATOMIC_RELAXED);
}

struct counter_list {
    struct nic_counter *counters;
    uint32_t most, count;
};

__attribute__((format(printf, 3, 4))) static void add(struct counter_list *list, uint64_t value, const char *name,
                                                      ...) {
    if (list->count < list->most) {
        struct nic_counter *counter = &list->counters[list->count];
        va_list arguments;
        va_start(arguments, name);
        vsnprintf(counter->name, sizeof counter->name, name, arguments);
        va_end(arguments);
        counter->value = value;
    }
    list->count++;
}

uint32_t ixgbe_read_counters(struct nic *nic, struct nic_counter *counters, uint32_t most) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    struct counter_list list = {counters, most, 0};
    ixgbe_accumulate_counters(ixgbe);
    for (uint32_t i = 0; i < IXGBE_COUNTERS; i++) add(&list, ixgbe->totals[i], "%s", rows[i].name);
    for (uint32_t queue = 0; queue < nic->rx_queues; queue++)
        add(&list, __atomic_load_n(&ixgbe->rx[queue].packets, __ATOMIC_RELAXED), "rx_queue_%u_packets", queue);
    for (uint32_t queue = 0; queue < nic->tx_queues; queue++)
        add(&list, __atomic_load_n(&ixgbe->tx[queue].packets, __ATOMIC_RELAXED), "tx_queue_%u_packets", queue);
    return list.count;
}
