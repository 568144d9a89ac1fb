// ixgbe_regs.h: the 82599 in constants and structures. Registers come from registers.def, descriptors are here.
//
// No register constant is spelled out in this file. Row RDT of registers.def makes IXGBE_RDT, so to learn what
// IXGBE_TXDCTL_ENABLE is, look for TXDCTL in registers.def. A row
//
//     REG(TXDCTL, 0x06028, 128, 0x40, ...)            gives IXGBE_TXDCTL        = 0x06028, the first one's offset
//                                                           IXGBE_TXDCTL_STRIDE = 0x40
//                                                           IXGBE_TXDCTL_COUNT  = 128
//     FIELD(TXDCTL, WTHRESH, 16, 7)                   gives IXGBE_TXDCTL_WTHRESH       = 0x007f0000, a mask
//                                                           IXGBE_TXDCTL_WTHRESH_SHIFT = 16
//
// Descriptors are what the driver and the device pass to each other in memory: 16 bytes each, written by the
// driver in one format and, when the device is done, overwritten by the device in another.
#pragma once

#include <stdint.h>

// The device is little endian, and so is every machine this runs on; the structures below rely on it.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "descriptors need a little-endian machine");

enum {
    IXGBE_VENDOR_ID = 0x8086,      // Intel
    IXGBE_DEVICE_ID = 0x10fb,      // 82599ES with SFP+
    IXGBE_CLASS_CODE = 0x020000,   // network controller, Ethernet
    IXGBE_SUBSYSTEM_ID = 0x0003,   // X520-2
    IXGBE_BAR0_SIZE = 128 * 1024,  // registers (8.1)
    IXGBE_MAX_VECTORS = 64,        // MSI-X
};

enum {
#define REG(name, offset, count, stride, access, reset, section, description)                                        \
    IXGBE_##name = (offset), IXGBE_##name##_STRIDE = (stride), IXGBE_##name##_COUNT = (count),
#define FIELD(register, name, shift, width)                                                                          \
    IXGBE_##register##_##name = ((0xffffffffu >> (32 - (width))) << (shift)),                                        \
    IXGBE_##register##_##name##_SHIFT = (shift),
#include "registers.def"
};

// Register n of a row: IXGBE_REG(MTA, 5) is the sixth register of row MTA.
#define IXGBE_REG(name, n) (IXGBE_##name + (uint32_t)(n)*IXGBE_##name##_STRIDE)

// Receive queues sit in two blocks, 0 to 63 and 64 to 127 (8.2.3.8). `reg` is the row of queue 0: IXGBE_RDT.
static inline uint32_t ixgbe_rx_queue_reg(uint32_t reg, unsigned queue) {
    if (queue < 64) return reg + queue * IXGBE_RDT_STRIDE;
    return reg + (IXGBE_RDT_HIGH - IXGBE_RDT) + (queue - 64) * IXGBE_RDT_STRIDE;
}

// Transmit queues sit in one block (8.2.3.9). `reg` is the row of queue 0: IXGBE_TDT.
static inline uint32_t ixgbe_tx_queue_reg(uint32_t reg, unsigned queue) { return reg + queue * IXGBE_TDT_STRIDE; }

// The throttle of an MSI-X vector: 0 to 23 and the rest are apart (8.2.3.5.12).
static inline uint32_t ixgbe_eitr_reg(unsigned vector) {
    return vector < IXGBE_EITR_COUNT ? IXGBE_REG(EITR, vector) : IXGBE_REG(EITR_HIGH, vector - IXGBE_EITR_COUNT);
}

// Values of fields that are more than a switch.

enum {  // AUTOC.LMS, link mode (8.2.3.22.19)
    IXGBE_LMS_1G_NO_AN = 0,
    IXGBE_LMS_1G_AN = 2,
    IXGBE_LMS_10G_SERIAL_NO_AN = 3,  // what SFP+ uses
    IXGBE_LMS_BACKPLANE_AN = 4,
};

enum {  // LINKS.LINK_SPEED (8.2.3.22.20)
    IXGBE_SPEED_100M = 1,
    IXGBE_SPEED_1G = 2,
    IXGBE_SPEED_10G = 3,
};

enum {  // SRRCTL.DESCTYPE (8.2.3.8.7)
    IXGBE_DESCTYPE_LEGACY = 0,
    IXGBE_DESCTYPE_ADVANCED = 1,  // one buffer
};

enum {  // FTQF.PROTOCOL (8.2.3.7.19)
    IXGBE_FTQF_TCP = 0,
    IXGBE_FTQF_UDP = 1,
    IXGBE_FTQF_SCTP = 2,
    IXGBE_FTQF_OTHER = 3,
};

enum {  // MRQC.MRQE (8.2.3.7.12)
    IXGBE_MRQE_RSS = 1,
};

enum {                            // FCCFG.TFCE (8.2.3.3.7)
    IXGBE_FCCFG_TFCE_802_3X = 1,  // pause the link
};

// Receive descriptors, advanced format (7.1.6)

union ixgbe_rx_desc {
    struct {  // driver to device: an empty buffer (7.1.6.1)
        uint64_t packet_iova;
        uint64_t header_iova;  // only with header split; bit 0 must be 0, it is where DD will be
    } read;
    struct {            // device to driver: a packet, or a part of one (7.1.6.2)
        uint32_t info;  // IXGBE_RXD_INFO_*
        union {
            uint32_t rss_hash;
            uint32_t flow_director_id;
            struct {
                uint16_t ip_id;
                uint16_t checksum;  // of an IP fragment
            };
        };
        uint32_t status_error;  // IXGBE_RXD_STATUS_*, IXGBE_RXD_ERROR_*
        uint16_t length;        // of this buffer's part
        uint16_t vlan;
    } wb;
};
_Static_assert(sizeof(union ixgbe_rx_desc) == 16, "a descriptor is 16 bytes");

enum {  // ixgbe_rx_desc.wb.info
    IXGBE_RXD_INFO_RSS_TYPE = 0x0000000f,
    IXGBE_RXD_INFO_IPV4 = 0x00000010,
    IXGBE_RXD_INFO_IPV4_OPTIONS = 0x00000020,
    IXGBE_RXD_INFO_IPV6 = 0x00000040,
    IXGBE_RXD_INFO_IPV6_EXTENSION = 0x00000080,
    IXGBE_RXD_INFO_TCP = 0x00000100,
    IXGBE_RXD_INFO_UDP = 0x00000200,
    IXGBE_RXD_INFO_SCTP = 0x00000400,
    IXGBE_RXD_INFO_ETQF = 0x00008000,  // an Ethernet type filter has matched; its number stands here, no headers
    IXGBE_RXD_INFO_ETQF_SHIFT = 4,
};

enum {  // what the RSS hash was computed over (7.1.2.8)
    IXGBE_RSS_TYPE_NONE = 0x0,
    IXGBE_RSS_TYPE_IPV4_TCP = 0x1,
    IXGBE_RSS_TYPE_IPV4 = 0x2,
    IXGBE_RSS_TYPE_IPV6_TCP = 0x3,
    IXGBE_RSS_TYPE_IPV6 = 0x5,
    IXGBE_RSS_TYPE_IPV4_UDP = 0x7,
    IXGBE_RSS_TYPE_IPV6_UDP = 0x8,
    IXGBE_RSS_TYPE_FLOW_DIRECTOR = 0xf,
};

enum {                                    // ixgbe_rx_desc.wb.status_error
    IXGBE_RXD_STATUS_DD = 0x00000001,     // the device has written this descriptor
    IXGBE_RXD_STATUS_EOP = 0x00000002,    // last buffer of the packet
    IXGBE_RXD_STATUS_FLM = 0x00000004,    // matched a flow director filter
    IXGBE_RXD_STATUS_VP = 0x00000008,     // had a VLAN tag
    IXGBE_RXD_STATUS_UDPCS = 0x00000010,  // UDP checksum checked
    IXGBE_RXD_STATUS_L4I = 0x00000020,    // TCP, UDP or SCTP checksum checked
    IXGBE_RXD_STATUS_IPCS = 0x00000040,   // IPv4 header checksum checked
    IXGBE_RXD_STATUS_PIF = 0x00000080,    // passed an inexact filter only: software has to look again
    IXGBE_RXD_ERROR_RXE = 0x20000000,     // CRC, length or symbol error; only seen with FCTRL.SBP
    IXGBE_RXD_ERROR_L4E = 0x40000000,
    IXGBE_RXD_ERROR_IPE = 0x80000000,
};

// Receive descriptor, legacy format (7.1.5)

union ixgbe_rx_legacy_desc {
    struct {
        uint64_t iova;
        uint64_t zero;
    } read;
    struct {
        uint64_t iova;
        uint16_t length;
        uint16_t checksum;
        uint8_t status;  // IXGBE_RXD_STATUS_DD to _PIF
        uint8_t errors;  // IXGBE_RXD_LEGACY_ERROR_*
        uint16_t vlan;
    } wb;
};
_Static_assert(sizeof(union ixgbe_rx_legacy_desc) == 16, "a descriptor is 16 bytes");

enum {
    IXGBE_RXD_LEGACY_ERROR_RXE = 0x01,
    IXGBE_RXD_LEGACY_ERROR_L4E = 0x40,
    IXGBE_RXD_LEGACY_ERROR_IPE = 0x80,
};

// Transmit descriptors (7.2.3.2). Which of the formats it is, DEXT and DTYP say; both are in the same place.

union ixgbe_tx_desc {
    struct {  // driver to device: a buffer to send (7.2.3.2.4)
        uint64_t iova;
        uint32_t command;  // length in bits 15:0, IXGBE_TXD_CMD_*
        uint32_t options;  // IXGBE_TXD_OPT_*
    } read;
    struct {  // device to driver: done (7.2.3.2.5)
        uint64_t reserved;
        uint32_t reserved2;
        uint32_t status;  // IXGBE_TXD_STATUS_DD
    } wb;
};
_Static_assert(sizeof(union ixgbe_tx_desc) == 16, "a descriptor is 16 bytes");

enum {  // ixgbe_tx_desc.read.command; the upper bits mean the same in all three formats
    IXGBE_TXD_CMD_LENGTH = 0x0000ffff,
    IXGBE_TXD_CMD_DTYP = 0x00f00000,
    IXGBE_TXD_CMD_DTYP_CONTEXT = 0x00200000,
    IXGBE_TXD_CMD_DTYP_DATA = 0x00300000,
    IXGBE_TXD_CMD_EOP = 0x01000000,   // last buffer of the packet
    IXGBE_TXD_CMD_IFCS = 0x02000000,  // append the CRC
    IXGBE_TXD_CMD_IC = 0x04000000,    // insert a checksum (legacy only)
    IXGBE_TXD_CMD_RS = 0x08000000,    // report status: write DD when done
    IXGBE_TXD_CMD_DEXT = 0x20000000,  // not a legacy descriptor
    IXGBE_TXD_CMD_VLE = 0x40000000,   // insert the VLAN tag
    IXGBE_TXD_CMD_TSE = 0x80000000,   // segment
};

enum {  // ixgbe_tx_desc.read.options and .wb.status
    IXGBE_TXD_STATUS_DD = 0x00000001,
    IXGBE_TXD_OPT_IDX_SHIFT = 4,  // which of the queue's two contexts
    IXGBE_TXD_OPT_IDX = 0x00000070,
    IXGBE_TXD_OPT_CC = 0x00000080,    // the context counts even if no offload below is asked for
    IXGBE_TXD_OPT_IXSM = 0x00000100,  // insert the IPv4 header checksum
    IXGBE_TXD_OPT_TXSM = 0x00000200,  // insert the TCP, UDP or SCTP checksum
    IXGBE_TXD_OPT_PAYLEN_SHIFT = 14,  // length of the whole packet; with TSE, of all payload
};

struct ixgbe_tx_context_desc {  // driver to device: what the packets that follow need (7.2.3.2.3)
    uint32_t header_lengths;    // IXGBE_TXC_IPLEN, _MACLEN, _VLAN
    uint32_t security;          // IPsec association, FCoE fields
    uint32_t command;           // IXGBE_TXC_*, IXGBE_TXD_CMD_DTYP_CONTEXT, IXGBE_TXD_CMD_DEXT
    uint32_t segmentation;      // IXGBE_TXC_IDX, _L4LEN, _MSS
};
_Static_assert(sizeof(struct ixgbe_tx_context_desc) == 16, "a descriptor is 16 bytes");

enum {
    IXGBE_TXC_IPLEN = 0x000001ff,  // header_lengths
    IXGBE_TXC_MACLEN_SHIFT = 9,
    IXGBE_TXC_MACLEN = 0x0000fe00,
    IXGBE_TXC_VLAN_SHIFT = 16,
    IXGBE_TXC_VLAN = 0xffff0000u,
    IXGBE_TXC_IPV4 = 0x00000400,  // otherwise IPv6
    IXGBE_TXC_L4T = 0x00001800,
    IXGBE_TXC_L4T_UDP = 0x00000000,
    IXGBE_TXC_L4T_TCP = 0x00000800,
    IXGBE_TXC_L4T_SCTP = 0x00001000,
    IXGBE_TXC_IDX_SHIFT = 4,  // segmentation
    IXGBE_TXC_IDX = 0x00000070,
    IXGBE_TXC_L4LEN_SHIFT = 8,
    IXGBE_TXC_L4LEN = 0x0000ff00,
    IXGBE_TXC_MSS_SHIFT = 16,
    IXGBE_TXC_MSS = 0xffff0000u,
};

// Transmit descriptor, legacy format (7.2.3.2.2)

struct ixgbe_tx_legacy_desc {
    uint64_t iova;
    uint16_t length;
    uint8_t checksum_offset;
    uint8_t command;  // bits 31:24 of IXGBE_TXD_CMD_*
    uint8_t status;   // IXGBE_TXD_STATUS_DD when the device is done
    uint8_t checksum_start;
    uint16_t vlan;
};
_Static_assert(sizeof(struct ixgbe_tx_legacy_desc) == 16, "a descriptor is 16 bytes");
