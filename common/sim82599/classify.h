// classify.h: what a received frame is.
//
// The device looks into a frame's headers as far as it understands them and tells the driver three things in the
// write-back: which headers there are, whether their checksums are right, and a hash over addresses and ports. The
// hash also picks the queue, so that the frames of one flow stay in order (7.1.2.8, 7.1.11).
//
// The frame may lie in memory of the driver that sent it, who can change it meanwhile. So a length that is to
// be judged is fetched into a variable of its own first.
//
// This happens to each frame, so it is a header that rx.c takes into its loop.
#pragma once

#include "core.h"

enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TCP = 6, UDP = 17, SCTP = 132 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, OPTIONS = 60 };  // IPv6 extension headers

// The headers of one frame, as they are found.
struct headers {
    const uint8_t *addresses;  // source, then destination
    uint32_t address_bytes;    // of both
    const uint8_t *l4;         // NULL: there is no sense in it from here on
    uint32_t l4_length;
    uint8_t protocol;
    bool fragment;  // or else nothing whose checksum could be looked at
    uint16_t ip_id;
    uint32_t info, status;  // what the write-back will say of it
};

static const struct headers unknown = {0};

static uint32_t be16(const uint8_t *bytes) { return (uint32_t)(bytes[0] << 8 | bytes[1]); }

static inline struct headers find_ipv4(const uint8_t *bytes, uint32_t length) {
    if (length < 20) return unknown;
    uint32_t header = 20, total = be16(bytes + 2), info = IXGBE_RXD_INFO_IPV4;
    uint8_t first = bytes[0];
    if (first != 0x45) {  // version 4 and five words, as most headers say
        header = (first & 15) * 4u;
        if (first >> 4 != 4 || header < 20) return unknown;
    }
    if (header > total || total > length) return unknown;
    uint64_t sum = checksum_add(bytes, 20, 0);
    if (header > 20) {
        info |= IXGBE_RXD_INFO_IPV4_OPTIONS;
        sum = checksum_add(bytes + 20, header - 20, sum);
    }
    return (struct headers){
        .addresses = bytes + 12,
        .address_bytes = 8,
        .l4 = bytes + header,
        .l4_length = total - header,
        .protocol = bytes[9],
        .fragment = be16(bytes + 6) & 0x3fff,
        .ip_id = (uint16_t)be16(bytes + 4),
        .info = info,
        .status = checksum_right(sum) ? IXGBE_RXD_STATUS_IPCS : IXGBE_RXD_STATUS_IPCS | IXGBE_RXD_ERROR_IPE,
    };
}

static bool extension(uint8_t protocol) {
    return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == OPTIONS || protocol == FRAGMENT;
}

static __attribute__((noinline)) struct headers find_ipv6(const uint8_t *bytes, uint32_t length) {
    uint32_t payload = be16(bytes + 4);
    if (length < 40 || bytes[0] >> 4 != 6 || payload > length - 40) return unknown;
    struct headers headers = {
        .addresses = bytes + 8,
        .address_bytes = 32,
        .l4 = bytes + 40,
        .l4_length = payload,
        .protocol = bytes[6],
        .info = IXGBE_RXD_INFO_IPV6,
    };
    while (extension(headers.protocol)) {
        uint32_t size = headers.protocol == FRAGMENT || headers.l4_length < 8 ? 8 : (headers.l4[1] + 1u) * 8;
        if (size > headers.l4_length) return (struct headers){.info = headers.info};
        if (headers.protocol == FRAGMENT) headers.fragment = true;
        // The sum is over the last address of the way, which is in there.
        if (headers.protocol == ROUTING && size > 8) headers.fragment = true;
        headers.info |= IXGBE_RXD_INFO_IPV6_EXTENSION;
        headers.protocol = headers.l4[0];
        headers.l4 += size;
        headers.l4_length -= size;
    }
    return headers;
}

// Addresses, protocol and length count as well as the segment, which mostly follows the addresses at once.
static inline bool sum_right(const struct headers *headers, uint32_t length) {
    uint64_t sum = (uint64_t)headers->protocol << 8 | (length >> 8) << 16 | (length & 0xff) << 24;  // as in memory
    if (headers->l4 == headers->addresses + headers->address_bytes) {
        return checksum_right(checksum_add(headers->addresses, headers->address_bytes + length, sum));
    }
    sum = checksum_add(headers->addresses, headers->address_bytes, sum);
    return checksum_right(checksum_add(headers->l4, length, sum));
}

static bool sctp_sum_right(const uint8_t *l4, uint32_t length) { return get32(l4 + 8) == crc32c_sctp(l4, length); }

// A UDP checksum of zero means that there is none.
static inline void check_l4(struct headers *headers) {
    bool right;
    uint32_t length = headers->l4_length;
    if (headers->protocol == UDP && length >= 8) {
        headers->info |= IXGBE_RXD_INFO_UDP;
        length = be16(headers->l4 + 4);
        if (get16(headers->l4 + 6) == 0) return;
        headers->status |= IXGBE_RXD_STATUS_UDPCS;
        if (length < 8) length = UINT32_MAX;
    } else if (headers->protocol == TCP && length >= 20) {
        headers->info |= IXGBE_RXD_INFO_TCP;
    } else if (headers->protocol == SCTP && length >= 12) {
        headers->info |= IXGBE_RXD_INFO_SCTP;
    } else {
        return;
    }
    if (headers->protocol == SCTP) {
        right = sctp_sum_right(headers->l4, length);
    } else {
        right = length <= headers->l4_length && sum_right(headers, length);
    }
    headers->status |= right ? IXGBE_RXD_STATUS_L4I : IXGBE_RXD_STATUS_L4I | IXGBE_RXD_ERROR_L4E;
}

// 7.1.2.8.1: for each bit that is set in the input, the 32 bits of the key that start at its place. Tabulated by
// byte.
static __attribute__((noinline)) void tabulate_key(struct sim_device *device) {
    uint8_t key[40];
    for (uint32_t i = 0; i < 10; i++) memcpy(&key[4 * i], reg_at(device, IXGBE_REG(RSSRK, i)), 4);
    for (unsigned position = 0; position < 36; position++) {
        uint64_t window = 0;
        for (unsigned i = 0; i < 5; i++) window = window << 8 | key[position + i];
        for (unsigned byte = 0; byte < 256; byte++) {
            uint32_t hash = 0;
            for (unsigned bit = 0; bit < 8; bit++) {
                if (byte >> (7 - bit) & 1) hash ^= (uint32_t)(window >> (8 - bit));
            }
            device->rss[position][byte] = hash;
        }
    }
    device->rss_stale = false;
}

// Four bytes of the input; everything that is hashed comes in fours.
static inline uint32_t rss_word(const uint32_t (*table)[256], const uint8_t *bytes) {
    uint32_t word = get32(bytes);
    return table[0][word & 255] ^ table[1][word >> 8 & 255] ^ table[2][word >> 16 & 255] ^ table[3][word >> 24];
}

static inline uint32_t rss_hash(struct sim_device *device, const struct headers *headers, bool ports) {
    if (device->rss_stale) tabulate_key(device);
    const uint32_t(*table)[256] = device->rss;
    const uint8_t *addresses = headers->addresses;
    uint32_t hash = rss_word(table, addresses) ^ rss_word(table + 4, addresses + 4);
    for (uint32_t at = 8; at < headers->address_bytes; at += 4) hash ^= rss_word(table + at, addresses + at);
    return ports ? hash ^ rss_word(table + headers->address_bytes, headers->l4) : hash;
}

static inline void hash_and_choose_queue(struct sim_device *device, const struct headers *headers,
                                         struct frame *frame) {
    const struct intake *intake = &device->intake;
    uint32_t l4 = headers->info & (IXGBE_RXD_INFO_TCP | IXGBE_RXD_INFO_UDP);  // of a fragment neither
    const struct rss_kind *kind = &intake->rss_kinds[headers->address_bytes == 32][l4 / IXGBE_RXD_INFO_TCP];
    if (kind->type == IXGBE_RSS_TYPE_NONE) return;
    uint32_t hash = rss_hash(device, headers, kind->ports);
    frame->queue = intake->redirection[hash % sizeof intake->redirection];
    if (!intake->hash_wanted) return;
    frame->info |= kind->type;
    frame->hash = hash;
}

static inline void classify(struct sim_device *device, const uint8_t *bytes, uint32_t length, struct frame *frame) {
    uint32_t offset = 14, type = be16(bytes + 12);
    if (type == (device->intake.vlan & IXGBE_VLNCTRL_VET)) {
        frame->status = IXGBE_RXD_STATUS_VP;
        frame->vlan = (uint16_t)be16(bytes + 14);
        type = be16(bytes + 16);
        offset = 18;
    }
    struct headers headers = unknown;
    if (type == TYPE_IPV4) {
        headers = find_ipv4(bytes + offset, length - offset);
    } else if (type == TYPE_IPV6) {
        headers = find_ipv6(bytes + offset, length - offset);
    }
    if (headers.l4 && !headers.fragment) check_l4(&headers);
    frame->info = headers.info;
    frame->status |= headers.status;
    if (!headers.l4) return;
    if (!device->intake.hash_wanted) frame->hash = headers.ip_id;
    hash_and_choose_queue(device, &headers, frame);
}
