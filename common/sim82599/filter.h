// filter.h: which frames the MAC takes (7.1.1).
//
// Three questions in a row: is the frame well-formed, is its destination ours, is its VLAN ours. Each frame that
// fails one is counted where a driver would look for it, or nowhere: frames for somebody else are no error.
//
// This happens to each frame, so it is a header that rx.c takes into its loop.
#pragma once

#include "core.h"

static inline bool tagged(const struct intake *intake, const uint8_t *frame) {
    return (uint32_t)(frame[12] << 8 | frame[13]) == (intake->vlan & IXGBE_VLNCTRL_VET);
}

static bool wrong_size(struct sim_device *device, const uint8_t *frame, uint32_t length) {
    if (length < 14 || length > SIM_MAX_FRAME) return true;
    bool short_one = length < SIM_MIN_FRAME;
    if (!short_one && length <= device->intake.limit + 4 && tagged(&device->intake, frame)) return false;
    device->malformed_frames++;
    device->malformed_bytes += length;
    count(device, short_one ? IXGBE_RUC : IXGBE_ROC, 1);
    if (sim_observed) {
        observe_dropped(device, false,
                        short_one ? "shorter than 64 bytes with CRC"
                                  : "longer than MAXFRS allows, or HLREG0.JUMBOEN is off",
                        length);
    }
    return true;
}

static inline bool address_is_ours(const struct intake *intake, uint64_t address) {
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

static inline bool destination_is_ours(const struct sim_device *device, uint64_t address) {
    const struct intake *intake = &device->intake;
    if (!(address & 1)) return intake->destinations & IXGBE_FCTRL_UPE || address_is_ours(intake, address);
    if (address == UINT64_C(0xffffffffffff)) return intake->destinations & IXGBE_FCTRL_BAM;
    return intake->destinations & IXGBE_FCTRL_MPE || address_is_ours(intake, address) ||
           multicast_hash_matches(device, address);
}

static inline uint64_t destination_of(const uint8_t *frame) {
    return get32(frame) | (uint64_t)get16(frame + 4) << 32;
}

// A frame that was taken: was it for no better reason than its hash, which others share? Then PIF tells software to
// look again.
static inline bool may_be_for_others(const struct intake *intake, const uint8_t *frame) {
    if (!(frame[0] & 1) || intake->destinations & IXGBE_FCTRL_MPE) return false;
    uint64_t address = destination_of(frame);
    return address != UINT64_C(0xffffffffffff) && !address_is_ours(intake, address);
}

static inline bool vlan_is_ours(const struct sim_device *device, const uint8_t *frame) {
    uint32_t control = device->intake.vlan, tag = (uint32_t)(frame[14] << 8 | frame[15]);
    bool format = tag & 0x1000, expected = control & IXGBE_VLNCTRL_CFI;
    if (control & IXGBE_VLNCTRL_CFIEN && format != expected) return false;
    return reg(device, IXGBE_REG(VFTA, (tag & 0xfff) / 32)) >> (tag & 31) & 1;
}

static inline bool filter_takes(struct sim_device *device, const uint8_t *frame, uint32_t length) {
    const struct intake *intake = &device->intake;
    if ((length < SIM_MIN_FRAME || length > intake->limit) && wrong_size(device, frame, length)) return false;
    const char *why = NULL;
    if (!destination_is_ours(device, destination_of(frame))) {
        why = "not for one of this port's addresses";
    } else if (intake->vlan & IXGBE_VLNCTRL_VFE && tagged(intake, frame) && !vlan_is_ours(device, frame)) {
        why = "not in one of this port's VLANs";
    }
    if (!why) return true;
    device->strange_frames++;
    device->strange_bytes += length;
    if (sim_observed) observe_dropped(device, false, why, length);
    return false;
}
