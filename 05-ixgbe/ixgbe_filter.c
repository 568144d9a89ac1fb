// ixgbe_filter.c: which frames the 82599 takes, and into which queue.
//
//     a frame arrives
//       -> is its address one of ours, or hashed like one, or is everything welcome?     7.1.1
//       -> is its VLAN one of ours, if the VLAN filter is on?                             7.1.1.3
//       -> does a filter name a queue for it? By Ethernet type first, then by addresses
//          and ports.                                                                     7.1.2.3, 7.1.2.5
//       -> otherwise RSS: a hash over addresses and ports picks the queue.                7.1.2.8
//
// The tables behind these steps are memory in the card. A reset leaves them as they were, so ixgbe_reset_filters
// clears those in use here when the receive unit is set up. What the functions of nic.h change holds for every frame
// that arrives after they return; a write may still be on its way then, so each ends with ixgbe_flush.

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "ixgbe.h"
#include "log.h"

// ---- Addresses ----------------------------------------------------------------------------------------------------

// 8.2.3.7.1, 8.2.3.7.2: which filters are in force, and which let all pass. The datasheet wants the receiver off
// meanwhile. Linux and DPDK do without, as each of the two registers changes in one piece.
static void switch_filters(struct ixgbe *ixgbe) {
    uint32_t taken = IXGBE_FCTRL_BAM;  // broadcasts, always
    if (ixgbe->promiscuous) taken |= IXGBE_FCTRL_UPE;
    if (ixgbe->promiscuous || ixgbe->allmulticast) taken |= IXGBE_FCTRL_MPE;
    ixgbe_write(ixgbe, IXGBE_FCTRL, taken);
    if (ixgbe->filters_vlans && !ixgbe->promiscuous)
        ixgbe_set(ixgbe, IXGBE_VLNCTRL, IXGBE_VLNCTRL_VFE);
    else
        ixgbe_clear(ixgbe, IXGBE_VLNCTRL, IXGBE_VLNCTRL_VFE);
    ixgbe_flush(ixgbe);
}

void ixgbe_reset_filters(struct ixgbe *ixgbe) {
    // Address 0 is the card's own, from the EEPROM.
    for (uint32_t i = 1; i < IXGBE_RAH_COUNT; i++) ixgbe_write(ixgbe, IXGBE_REG(RAH, i), 0);
    for (uint32_t i = 0; i < IXGBE_MTA_COUNT; i++) ixgbe_write(ixgbe, IXGBE_REG(MTA, i), 0);
    for (uint32_t i = 0; i < IXGBE_PFUTA_COUNT; i++) ixgbe_write(ixgbe, IXGBE_REG(PFUTA, i), 0);
    for (uint32_t i = 0; i < IXGBE_VFTA_COUNT; i++) ixgbe_write(ixgbe, IXGBE_REG(VFTA, i), 0);
    for (uint32_t i = 0; i < IXGBE_ETQF_COUNT; i++) ixgbe_write(ixgbe, IXGBE_REG(ETQF, i), 0);
    for (uint32_t i = 0; i < IXGBE_FTQF_COUNT; i++) ixgbe_write(ixgbe, IXGBE_REG(FTQF, i), 0);
    ixgbe->addresses = 1;
    switch_filters(ixgbe);
}

// 8.2.3.7.8: the first byte on the wire is the lowest one.
void ixgbe_get_mac(const struct nic *nic, uint8_t mac[6]) {
    const struct ixgbe *ixgbe = (const struct ixgbe *)nic;
    uint64_t address = ixgbe_read(ixgbe, IXGBE_REG(RAL, 0)) | (uint64_t)ixgbe_read(ixgbe, IXGBE_REG(RAH, 0)) << 32;
    for (int i = 0; i < 6; i++) mac[i] = (uint8_t)(address >> 8 * i);
}

static void write_address(struct ixgbe *ixgbe, uint32_t place, const uint8_t mac[6]) {
    ixgbe_write(ixgbe, IXGBE_REG(RAL, place),
                mac[0] | (uint32_t)mac[1] << 8 | (uint32_t)mac[2] << 16 | (uint32_t)mac[3] << 24);
    ixgbe_write(ixgbe, IXGBE_REG(RAH, place), mac[4] | (uint32_t)mac[5] << 8 | IXGBE_RAH_AV);
}

int ixgbe_set_mac(struct nic *nic, const uint8_t mac[6]) {
    static const uint8_t none[6];
    if (mac[0] & 1 || !memcmp(mac, none, sizeof none))
        return log_error(-EINVAL, "%s: %02x:%02x:%02x:%02x:%02x:%02x cannot be a card's own address",
                         nic->device.address, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    write_address((struct ixgbe *)nic, 0, mac);
    ixgbe_flush((struct ixgbe *)nic);
    return 0;
}

// 7.1.1.2: the last twelve bits of a multicast address name one of 4096 bits. An address that shares its bit with one
// of ours passes too.
static void add_multicast(struct ixgbe *ixgbe, const uint8_t address[6]) {
    uint32_t bit = (uint32_t)address[4] >> 4 | (uint32_t)address[5] << 4;
    ixgbe_set(ixgbe, IXGBE_REG(MTA, bit / 32), 1u << bit % 32);
    ixgbe_write(ixgbe, IXGBE_MCSTCTRL, IXGBE_MCSTCTRL_MFE);
}

int ixgbe_add_address(struct nic *nic, const uint8_t address[6]) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    bool multicast = address[0] & 1;
    if (!multicast && ixgbe->addresses == IXGBE_RAH_COUNT)
        return log_error(-ENOSPC, "%s: the card has places for %d addresses; in promiscuous mode it takes all",
                         nic->device.address, IXGBE_RAH_COUNT);
    if (multicast)
        add_multicast(ixgbe, address);
    else
        write_address(ixgbe, ixgbe->addresses++, address);
    ixgbe_flush(ixgbe);
    return 0;
}

void ixgbe_set_promiscuous(struct nic *nic, bool on) {
    ((struct ixgbe *)nic)->promiscuous = on;
    switch_filters((struct ixgbe *)nic);
}

void ixgbe_set_allmulticast(struct nic *nic, bool on) {
    ((struct ixgbe *)nic)->allmulticast = on;
    switch_filters((struct ixgbe *)nic);
}

// 7.1.1.3: a bit for each VLAN.
int ixgbe_set_vlan(struct nic *nic, uint32_t id, bool on) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    if (id > 4095) return log_error(-EINVAL, "%s: VLAN %u; there are 0 to 4095", nic->device.address, id);
    uint32_t reg = IXGBE_REG(VFTA, id / 32), bit = 1u << id % 32;
    if (on)
        ixgbe_set(ixgbe, reg, bit);
    else
        ixgbe_clear(ixgbe, reg, bit);
    ixgbe->filters_vlans = true;
    switch_filters(ixgbe);
    return 0;
}

// ---- Queues -------------------------------------------------------------------------------------------------------

static int check_queue(const struct nic *nic, uint32_t queue) {
    if (queue < nic->rx_queues) return 0;
    return log_error(-EINVAL, "%s: RX queue %u; it has %u of them, counted from 0", nic->device.address, queue,
                     nic->rx_queues);
}

static void write_rss_key(struct ixgbe *ixgbe, const uint8_t *key) {
    for (uint32_t i = 0; i < IXGBE_RSSRK_COUNT; i++, key += 4)
        ixgbe_write(ixgbe, IXGBE_REG(RSSRK, i),
                    key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 24);
}

static void write_rss_table(struct ixgbe *ixgbe, const uint8_t *table) {
    for (uint32_t i = 0; i < IXGBE_RETA_COUNT; i++, table += 4)
        ixgbe_write(ixgbe, IXGBE_REG(RETA, i),
                    table[0] | (uint32_t)table[1] << 8 | (uint32_t)table[2] << 16 | (uint32_t)table[3] << 24);
}

// The key may be any bits that look random; these spread well. The table deals the queues out in turn. RXCSUM.PCSD
// puts the hash where the checksum of IP fragments would be in the descriptor (8.2.3.7.5).
void ixgbe_start_rss(struct ixgbe *ixgbe) {
    static const uint8_t key[NIC_RSS_KEY_SIZE] = {0x35, 0x6a, 0x1d, 0x8f, 0x7b, 0xe0, 0x94, 0x2c, 0xf6, 0xb8,
                                                  0x53, 0xd1, 0x7d, 0x12, 0xae, 0x49, 0x98, 0xfd, 0xc0, 0x73,
                                                  0x2f, 0x64, 0xe8, 0x1b, 0xc3, 0x9e, 0x07, 0xa6, 0x40, 0xb1,
                                                  0x3f, 0x5d, 0xda, 0x5c, 0x78, 0xe2, 0x1e, 0xf7, 0x96, 0x04};
    uint8_t table[NIC_RSS_TABLE_SIZE];
    for (uint32_t i = 0; i < NIC_RSS_TABLE_SIZE; i++) table[i] = (uint8_t)(i % ixgbe->nic.rx_queues);
    write_rss_key(ixgbe, key);
    write_rss_table(ixgbe, table);
    ixgbe_set(ixgbe, IXGBE_RXCSUM, IXGBE_RXCSUM_PCSD);
    ixgbe_write(ixgbe, IXGBE_MRQC,
                IXGBE_MRQE_RSS << IXGBE_MRQC_MRQE_SHIFT | IXGBE_MRQC_RSS_IPV4 | IXGBE_MRQC_RSS_TCPIPV4 |
                    IXGBE_MRQC_RSS_UDPIPV4 | IXGBE_MRQC_RSS_IPV6 | IXGBE_MRQC_RSS_TCPIPV6 | IXGBE_MRQC_RSS_UDPIPV6);
}

int ixgbe_set_rss(struct nic *nic, const uint8_t *key, const uint8_t *table) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    if (nic->rx_queues == 1) return log_error(-EINVAL, "%s: one RX queue, nothing to spread", nic->device.address);
    for (uint32_t i = 0; table && i < NIC_RSS_TABLE_SIZE; i++) {
        int error = check_queue(nic, table[i]);
        if (error) return error;
    }
    if (key) write_rss_key(ixgbe, key);
    if (table) write_rss_table(ixgbe, table);
    ixgbe_flush(ixgbe);
    return 0;
}

// 7.1.2.3. ETQF has the type, ETQS of the same number the queue.
static int steer_ether_type(struct ixgbe *ixgbe, uint16_t type, uint32_t queue) {
    if (type < 0x600 || type == 0x0800 || type == 0x86dd)
        return log_error(-EINVAL, "%s: Ethernet type 0x%04x cannot be steered; it is from 0x0600 on, and not IP",
                         ixgbe->nic.device.address, type);
    if (ixgbe->ether_filters == IXGBE_ETQF_COUNT)
        return log_error(-ENOSPC, "%s: the card has %d filters for Ethernet types", ixgbe->nic.device.address,
                         IXGBE_ETQF_COUNT);
    uint32_t filter = ixgbe->ether_filters++;
    ixgbe_write(ixgbe, IXGBE_REG(ETQS, filter), IXGBE_ETQS_QUEUE_EN | queue << IXGBE_ETQS_RX_QUEUE_SHIFT);
    ixgbe_write(ixgbe, IXGBE_REG(ETQF, filter), IXGBE_ETQF_FILTER_EN | type);
    return 0;
}

// 8.2.3.7.16 to 8.2.3.7.18: addresses and ports stand in their registers as they stand in the packet.
static uint32_t wire_order_32(uint32_t value) { return htonl(value); }
static uint16_t wire_order_16(uint16_t value) { return htons(value); }

// 8.2.3.7.19. A bit in the mask says: this one does not matter.
static uint32_t flow_mask(const struct nic_flow *flow) {
    const bool matters[] = {flow->source, flow->destination, flow->source_port, flow->destination_port,
                            flow->protocol};
    uint32_t mask = 0;
    for (uint32_t i = 0; i < sizeof matters / sizeof *matters; i++) mask |= (uint32_t)!matters[i] << i;
    return mask;
}

static const struct {
    uint8_t number, code;
} flow_protocols[] = {{0, IXGBE_FTQF_TCP},  // any: masked, so the code does not matter
                      {6, IXGBE_FTQF_TCP},
                      {17, IXGBE_FTQF_UDP},
                      {132, IXGBE_FTQF_SCTP}};

static int flow_protocol(const struct ixgbe *ixgbe, uint8_t number) {
    for (size_t i = 0; i < sizeof flow_protocols / sizeof *flow_protocols; i++)
        if (flow_protocols[i].number == number) return flow_protocols[i].code;
    return log_error(-EINVAL, "%s: IP protocol %u; the card knows TCP (6), UDP (17) and SCTP (132)",
                     ixgbe->nic.device.address, number);
}

// 7.1.2.5, 5-tuple filters. The later ones have a lower priority, as far as there are priorities.
static int steer_flow(struct ixgbe *ixgbe, const struct nic_flow *flow, uint32_t queue) {
    enum { HIGHEST_PRIORITY = 7 };
    uint32_t filter = ixgbe->flow_filters;
    int protocol = flow_protocol(ixgbe, flow->protocol);
    if (protocol < 0) return protocol;
    if (filter == IXGBE_FTQF_COUNT)
        return log_error(-ENOSPC, "%s: the card has %d filters for flows", ixgbe->nic.device.address,
                         IXGBE_FTQF_COUNT);
    ixgbe->flow_filters++;
    uint32_t priority = filter < HIGHEST_PRIORITY ? HIGHEST_PRIORITY - filter : 1;
    ixgbe_write(ixgbe, IXGBE_REG(SAQF, filter), wire_order_32(flow->source));
    ixgbe_write(ixgbe, IXGBE_REG(DAQF, filter), wire_order_32(flow->destination));
    ixgbe_write(ixgbe, IXGBE_REG(SDPQF, filter),
                wire_order_16(flow->source_port) | (uint32_t)wire_order_16(flow->destination_port) << 16);
    // 8.2.3.5.13: the length of the packet does not matter (SIZE_BP); one reserved bit wants to be 1.
    ixgbe_write(ixgbe, IXGBE_REG(L34TIMIR, filter),
                queue << IXGBE_L34TIMIR_RX_QUEUE_SHIFT | IXGBE_L34TIMIR_SIZE_BP | 1u << 19);
    ixgbe_write(ixgbe, IXGBE_REG(FTQF, filter),
                IXGBE_FTQF_QUEUE_ENABLE | IXGBE_FTQF_POOL_MASK | flow_mask(flow) << IXGBE_FTQF_MASK_SHIFT |
                    priority << IXGBE_FTQF_PRIORITY_SHIFT | (uint32_t)protocol);
    return 0;
}

int ixgbe_steer(struct nic *nic, const struct nic_flow *flow, uint32_t queue) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    int error = check_queue(nic, queue);
    if (error) return error;
    error = flow->ether_type ? steer_ether_type(ixgbe, flow->ether_type, queue) : steer_flow(ixgbe, flow, queue);
    ixgbe_flush(ixgbe);
    return error;
}
