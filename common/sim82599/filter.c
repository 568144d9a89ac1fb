// filter.c: which frames the MAC takes (7.1.1).
//
// Three questions in a row: is the frame well-formed, is its destination ours, is its VLAN ours. Each frame that fails
// one is counted where a driver would look for it, or nowhere: frames for somebody else are no error.
#include "core.h"

enum { SHORTEST = 60, LONGEST = 1514 };  // without CRC

static bool tagged(const struct sim_device *device, const uint8_t *frame) {
    return (uint32_t)(frame[12] << 8 | frame[13]) == (reg(device, IXGBE_VLNCTRL) & IXGBE_VLNCTRL_VET);
}

// 8.2.3.22.13: the limit counts the CRC and leaves out a VLAN tag.
static bool size_fits(struct sim_device *device, const uint8_t *frame, uint32_t length) {
    if (length < SHORTEST) {
        count(device, IXGBE_RUC, 1);
        if (sim_observed) observe_dropped(device, "shorter than 64 bytes with CRC", length);
        return false;
    }
    uint32_t limit = LONGEST;
    if (length > limit && reg(device, IXGBE_HLREG0) & IXGBE_HLREG0_JUMBOEN) {
        limit = field(reg(device, IXGBE_MAXFRS), IXGBE_MAXFRS_MFS) - 4;
        if (limit > SIM_MAX_FRAME - 4) limit = SIM_MAX_FRAME - 4;
    }
    if (length <= limit || (length <= limit + 4 && tagged(device, frame))) return true;
    count(device, IXGBE_ROC, 1);
    if (sim_observed) observe_dropped(device, "longer than MAXFRS allows, or HLREG0.JUMBOEN is off", length);
    return false;
}

static uint64_t address_of(const uint8_t *bytes) {
    uint64_t address = 0;
    memcpy(&address, bytes, 6);
    return address;
}

// Only the valid ones of the 128 station addresses are compared; there is seldom more than one.
static void collect_addresses(struct sim_device *device) {
    device->addresses_stale = false;
    device->address_count = 0;
    for (uint32_t n = 0; n < IXGBE_RAL_COUNT; n++) {
        uint32_t high = reg(device, IXGBE_REG(RAH, n));
        if (!(high & IXGBE_RAH_AV)) continue;
        device->addresses[device->address_count++] = (uint64_t)(high & 0xffff) << 32 | reg(device, IXGBE_REG(RAL, n));
    }
}

static bool address_is_ours(struct sim_device *device, uint64_t address) {
    if (device->addresses_stale) collect_addresses(device);
    for (unsigned i = 0; i < device->address_count; i++) {
        if (device->addresses[i] == address) return true;
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

static bool destination_is_ours(struct sim_device *device, const uint8_t *frame) {
    uint32_t control = reg(device, IXGBE_FCTRL);
    uint64_t address = address_of(frame);
    if (!(address & 1)) return control & IXGBE_FCTRL_UPE || address_is_ours(device, address);
    if (address == UINT64_C(0xffffffffffff)) return control & IXGBE_FCTRL_BAM;
    return control & IXGBE_FCTRL_MPE || address_is_ours(device, address) || multicast_hash_matches(device, address);
}

static bool vlan_is_ours(struct sim_device *device, const uint8_t *frame) {
    uint32_t control = reg(device, IXGBE_VLNCTRL);
    if (!(control & IXGBE_VLNCTRL_VFE) || !tagged(device, frame)) return true;
    uint32_t tag = (uint32_t)(frame[14] << 8 | frame[15]);
    bool format = tag & 0x1000, expected = control & IXGBE_VLNCTRL_CFI;
    if (control & IXGBE_VLNCTRL_CFIEN && format != expected) return false;
    return reg(device, IXGBE_REG(VFTA, (tag & 0xfff) / 32)) >> (tag & 31) & 1;
}

bool filter_takes(struct sim_device *device, const uint8_t *frame, uint32_t length) {
    if (!size_fits(device, frame, length)) return false;
    const char *why = NULL;
    if (!destination_is_ours(device, frame)) {
        why = "not for one of this port's addresses";
    } else if (!vlan_is_ours(device, frame)) {
        why = "not in one of this port's VLANs";
    }
    if (why && sim_observed) observe_dropped(device, why, length);
    return !why;
}
