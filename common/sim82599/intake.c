// intake.c: what the device is to do with frames that arrive.
//
// That is in two dozen registers, which change rarely. So it is gathered in one place (struct intake), and gathered
// again after software has written any register.
#include "core.h"

enum { LONGEST = 1514 };  // without CRC

// 8.2.3.22.13: the limit counts the CRC, and leaves out a VLAN tag.
uint32_t sim_longest_frame(const struct sim_device *device) {
    if (!(reg(device, IXGBE_HLREG0) & IXGBE_HLREG0_JUMBOEN)) return LONGEST;
    uint32_t limit = field(reg(device, IXGBE_MAXFRS), IXGBE_MAXFRS_MFS);
    if (limit > SIM_MAX_FRAME - 8) return SIM_MAX_FRAME - 8;
    return limit < LONGEST + 4 ? LONGEST : limit - 4;
}

// Only the valid ones of the 128 station addresses are compared; there is seldom more than one.
static void collect_addresses(const struct sim_device *device, struct intake *intake) {
    for (uint32_t n = 0; n < IXGBE_RAL_COUNT; n++) {
        uint64_t high = reg(device, IXGBE_REG(RAH, n));
        if (!(high & IXGBE_RAH_AV)) continue;
        intake->addresses[intake->address_count++] = (high & IXGBE_RAH_RAH) << 32 | reg(device, IXGBE_REG(RAL, n));
    }
}

// RSS alone, or within the first of four or eight traffic classes, which is where all frames are while DCB is not
// used.
static bool rss_enabled(uint32_t control) {
    uint32_t mode = control & IXGBE_MRQC_MRQE;
    return mode == IXGBE_MRQE_RSS || mode == 4 || mode == 5;
}

// The most specific hash that MRQC enables and a packet has the headers for: what it is for each kind of packet.
static void choose_hashes(const struct sim_device *device, struct intake *intake) {
    static const struct {
        uint32_t enable;
        uint8_t version, first, last;  // indices of rss_kinds
        struct rss_kind kind;
    } known[] = {
        {IXGBE_MRQC_RSS_IPV4, 0, 0, 2, {IXGBE_RSS_TYPE_IPV4, false}},
        {IXGBE_MRQC_RSS_TCPIPV4, 0, 1, 1, {IXGBE_RSS_TYPE_IPV4_TCP, true}},
        {IXGBE_MRQC_RSS_UDPIPV4, 0, 2, 2, {IXGBE_RSS_TYPE_IPV4_UDP, true}},
        {IXGBE_MRQC_RSS_IPV6, 1, 0, 2, {IXGBE_RSS_TYPE_IPV6, false}},
        {IXGBE_MRQC_RSS_TCPIPV6, 1, 1, 1, {IXGBE_RSS_TYPE_IPV6_TCP, true}},
        {IXGBE_MRQC_RSS_UDPIPV6, 1, 2, 2, {IXGBE_RSS_TYPE_IPV6_UDP, true}},
    };
    uint32_t control = reg(device, IXGBE_MRQC);
    memset(intake->rss_kinds, 0, sizeof intake->rss_kinds);
    for (unsigned i = 0; rss_enabled(control) && i < sizeof known / sizeof *known; i++) {
        if (!(control & known[i].enable)) continue;
        for (unsigned l4 = known[i].first; l4 <= known[i].last; l4++) {
            intake->rss_kinds[known[i].version][l4] = known[i].kind;
        }
    }
    for (uint32_t n = 0; n < sizeof intake->redirection; n++) {
        intake->redirection[n] = reg(device, IXGBE_REG(RETA, n / 4)) >> (n % 4 * 8) & 15;
    }
}

void intake_refresh(struct sim_device *device) {
    struct intake *intake = &device->intake;
    uint32_t high = reg(device, IXGBE_FCRTH), buffer = reg(device, IXGBE_RXPBSIZE) & IXGBE_RXPBSIZE_SIZE;
    bool pauses = field(reg(device, IXGBE_FCCFG), IXGBE_FCCFG_TFCE) == 1 && high & IXGBE_FCRTH_FCEN;
    intake->open = sim_receiver_open(device);
    intake->strips_crc = reg(device, IXGBE_HLREG0) & IXGBE_HLREG0_RXCRCSTRP;
    intake->limit = sim_longest_frame(device);
    intake->destinations = reg(device, IXGBE_FCTRL);
    intake->vlan = reg(device, IXGBE_VLNCTRL);
    intake->hash_wanted = reg(device, IXGBE_RXCSUM) & IXGBE_RXCSUM_PCSD;
    intake->fifo_bytes = buffer < FIFO_BYTES ? buffer : FIFO_BYTES;
    intake->high_water = pauses ? high & IXGBE_FCRTH_RTH : UINT32_MAX;
    intake->low_water = pauses ? reg(device, IXGBE_FCRTL) & IXGBE_FCRTL_RTL : UINT32_MAX;
    intake->steers = steering_refresh(device);
    intake->address_count = 0;
    collect_addresses(device, intake);
    choose_hashes(device, intake);
    device->intake_stale = false;
}
