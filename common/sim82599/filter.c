// filter.c: which frames the MAC takes (7.1.1).
//
// Three questions in a row: is the frame well-formed, is its destination ours, is its VLAN ours. Each frame that
// fails one is counted where a driver would look for it, or nowhere: frames for somebody else are no error.
//
// The answers are in a dozen registers, which change rarely. So they are gathered in one place (struct intake) and
// gathered again after software has written any register.
#include "core.h"

enum { SHORTEST = 60, LONGEST = 1514 };  // without CRC

// 8.2.3.22.13: the limit counts the CRC, and leaves out a VLAN tag.
static uint32_t longest(const struct sim_device *device) {
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
    intake->limit = longest(device);
    intake->destinations = reg(device, IXGBE_FCTRL);
    intake->vlan = reg(device, IXGBE_VLNCTRL);
    intake->hash_wanted = reg(device, IXGBE_RXCSUM) & IXGBE_RXCSUM_PCSD;
    intake->fifo_bytes = buffer < FIFO_BYTES ? buffer : FIFO_BYTES;
    intake->high_water = pauses ? high & IXGBE_FCRTH_RTH : UINT32_MAX;
    intake->low_water = pauses ? reg(device, IXGBE_FCRTL) & IXGBE_FCRTL_RTL : UINT32_MAX;
    intake->address_count = 0;
    collect_addresses(device, intake);
    choose_hashes(device, intake);
    device->intake_stale = false;
}

static bool tagged(const struct intake *intake, const uint8_t *frame) {
    return (uint32_t)(frame[12] << 8 | frame[13]) == (intake->vlan & IXGBE_VLNCTRL_VET);
}

static bool wrong_size(struct sim_device *device, const uint8_t *frame, uint32_t length) {
    if (length < 14 || length > SIM_MAX_FRAME) return true;
    bool short_one = length < SHORTEST;
    if (!short_one && length <= device->intake.limit + 4 && tagged(&device->intake, frame)) return false;
    device->malformed_frames++;
    device->malformed_bytes += length;
    count(device, short_one ? IXGBE_RUC : IXGBE_ROC, 1);
    if (sim_observed) {
        observe_dropped(device,
                        short_one ? "shorter than 64 bytes with CRC"
                                  : "longer than MAXFRS allows, or HLREG0.JUMBOEN is off",
                        length);
    }
    return true;
}

static bool address_is_ours(const struct intake *intake, uint64_t address) {
    for (unsigned i = 0; i < intake->address_count; i++) {
        if (intake->addresses[i] == address) return true;
    }
    return false;
}

// 7.1.1.2: twelve of the address's upper bits, which twelve says MCSTCTRL.MO, name a bit in a table of 4096.
static bool multicast_hash_matches(const struct sim_device *device, uint64_t address) {
    uint32_t control = reg(device, IXGBE_MCSTCTRL);
    if (!(control & IXGBE_MCSTCTRL_MFE)) return false;
    static const uint8_t shifts[4] = {36, 35, 34, 32};
    uint32_t bit = address >> shifts[control & IXGBE_MCSTCTRL_MO] & 0xfff;
    return reg(device, IXGBE_REG(MTA, bit / 32)) >> bit % 32 & 1;
}

static bool destination_is_ours(const struct sim_device *device, uint64_t address) {
    const struct intake *intake = &device->intake;
    if (!(address & 1)) return intake->destinations & IXGBE_FCTRL_UPE || address_is_ours(intake, address);
    if (address == UINT64_C(0xffffffffffff)) return intake->destinations & IXGBE_FCTRL_BAM;
    return intake->destinations & IXGBE_FCTRL_MPE || address_is_ours(intake, address) ||
           multicast_hash_matches(device, address);
}

static bool vlan_is_ours(const struct sim_device *device, const uint8_t *frame) {
    uint32_t control = device->intake.vlan, tag = (uint32_t)(frame[14] << 8 | frame[15]);
    bool format = tag & 0x1000, expected = control & IXGBE_VLNCTRL_CFI;
    if (control & IXGBE_VLNCTRL_CFIEN && format != expected) return false;
    return reg(device, IXGBE_REG(VFTA, (tag & 0xfff) / 32)) >> (tag & 31) & 1;
}

bool filter_takes(struct sim_device *device, const uint8_t *frame, uint32_t length) {
    const struct intake *intake = &device->intake;
    if ((length < SHORTEST || length > intake->limit) && wrong_size(device, frame, length)) return false;
    const char *why = NULL;
    if (!destination_is_ours(device, get32(frame) | (uint64_t)get16(frame + 4) << 32)) {
        why = "not for one of this port's addresses";
    } else if (intake->vlan & IXGBE_VLNCTRL_VFE && tagged(intake, frame) && !vlan_is_ours(device, frame)) {
        why = "not in one of this port's VLANs";
    }
    if (!why) return true;
    device->strange_frames++;
    device->strange_bytes += length;
    if (sim_observed) observe_dropped(device, why, length);
    return false;
}
