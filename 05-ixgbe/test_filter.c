// test_filter.c: which frames a card takes, into which queue, and how it counts them.

#include <errno.h>

#include "test_cards.h"

enum { QUEUES = 4 };

static const uint8_t unicast[] = {0x02, 0, 0, 0, 0, 0x42}, group[] = {0x33, 0x33, 0xff, 0x12, 0x34, 0x56},
                     same_hash[] = {0x01, 0, 0x5e, 0, 0x34, 0x56},
                     other_group[] = {0x33, 0x33, 0xff, 0x12, 0x34, 0x66};

static void sends_and_arrives(const uint8_t to[6], bool arrives) {
    static uint32_t number;
    send(frame(to, 100, ++number));
    if (arrives)
        expect(100, number);
    else
        expect_nothing();
}

static void addresses_are_added(void) {
    open_cards(NULL);
    sends_and_arrives(unicast, false);
    CHECK_EQ(nic_add_address(b, unicast), 0);
    sends_and_arrives(unicast, true);
    sends_and_arrives(group, false);
    CHECK_EQ(nic_add_address(b, group), 0);
    sends_and_arrives(group, true);
    sends_and_arrives(same_hash, true);  // only hashed
    sends_and_arrives(other_group, false);
    nic_set_allmulticast(b, true);
    sends_and_arrives(other_group, true);
    nic_set_allmulticast(b, false);
    sends_and_arrives(other_group, false);
    nic_set_promiscuous(b, true);
    sends_and_arrives(other_group, true);
    nic_set_allmulticast(b, true);
    nic_set_promiscuous(b, false);
    sends_and_arrives(other_group, true);  // each of the two is for itself
    nic_set_promiscuous(b, true);
    nic_set_allmulticast(b, false);
    sends_and_arrives(other_group, true);
    nic_set_promiscuous(b, false);
    sends_and_arrives(other_group, false);
    CHECK_EQ(counter(b, "multicast"), 6);
    uint8_t many[6] = {0x02, 1};
    for (many[5] = 0; many[5] < 126; many[5]++) CHECK_EQ(nic_add_address(b, many), 0);
    CHECK_EQ(nic_add_address(b, many), -ENOSPC);
    many[5] = 125;
    sends_and_arrives(many, true);
    close_cards();
    open_cards(NULL);  // all forgotten
    sends_and_arrives(unicast, false);
    sends_and_arrives(group, false);
    close_cards();
}

static struct packet_buffer *tagged(uint32_t vlan, uint32_t number) {
    uint8_t mac[6];
    nic_get_mac(b, mac);
    struct packet_buffer *packet = frame(mac, 100, number);
    uint8_t *data = packet->data;
    memcpy(data + 12, "\x81\x00", 2);
    data[14] = (uint8_t)(0xe0 | vlan >> 8), data[15] = (uint8_t)vlan;  // with a priority, which does not matter
    return packet;
}

static void vlan_arrives(uint32_t vlan, bool arrives) {
    send(tagged(vlan, vlan));
    if (!arrives) {
        expect_nothing();
        return;
    }
    struct packet_buffer *packet = receive(ARRIVAL_MS);
    if (CHECK(packet != NULL)) mempool_free(packet);
}

static void vlans_are_filtered(void) {
    uint8_t mac[6];
    open_cards(NULL);
    nic_get_mac(b, mac);
    vlan_arrives(5, true);  // before anybody filters
    CHECK_EQ(nic_set_vlan(b, 5, true), 0);
    CHECK_EQ(nic_set_vlan(b, 4095, true), 0);
    vlan_arrives(5, true);
    vlan_arrives(4095, true);
    vlan_arrives(37, false);
    sends_and_arrives(mac, true);  // no tag at all
    CHECK_EQ(nic_set_vlan(b, 5, false), 0);
    vlan_arrives(5, false);
    nic_set_promiscuous(b, true);
    vlan_arrives(5, true);
    nic_set_promiscuous(b, false);
    vlan_arrives(5, false);
    CHECK_EQ(nic_set_vlan(b, 4096, true), -EINVAL);
    close_cards();
}

// ---- Queues -------------------------------------------------------------------------------------------------------

// A packet of IPv4 or, with 16 bytes an address, IPv6, to port b.
static struct packet_buffer *packet_of(bool ipv6, uint8_t protocol, const uint8_t *source, const uint8_t *destination,
                                       uint16_t from, uint16_t to) {
    struct packet_buffer *packet = mempool_alloc(pool);
    uint8_t *data = memset(packet->data, 0, 100), *l3 = data + 14, *l4 = l3 + (ipv6 ? 40 : 20);
    nic_get_mac(b, data);
    memcpy(data + 12, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
    if (ipv6) {
        l3[0] = 0x60, l3[5] = 46, l3[6] = protocol;
        memcpy(l3 + 8, source, 16);
        memcpy(l3 + 24, destination, 16);
    } else {
        l3[0] = 0x45, l3[3] = 86, l3[9] = protocol;
        memcpy(l3 + 12, source, 4);
        memcpy(l3 + 16, destination, 4);
    }
    l4[0] = (uint8_t)(from >> 8), l4[1] = (uint8_t)from, l4[2] = (uint8_t)(to >> 8), l4[3] = (uint8_t)to;
    l4[12] = 0x50;
    packet->length = 100;
    return packet;
}

// Sends it, and says which queue it arrived in, or -1; *hash is its RSS hash.
static int queue_of(struct packet_buffer *packet, uint32_t *hash) {
    send(packet);
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (clock_ns() < deadline)
        for (uint32_t queue = 0; queue < QUEUES; queue++)
            if (nic_receive(b, queue, &packet, 1)) {
                if (hash) *hash = packet->rss_hash;
                mempool_free(packet);
                return (int)queue;
            }
    return -1;
}

// Microsoft's verification suite for RSS, which the datasheet repeats (7.1.2.8.3).
static const uint8_t suite_key[NIC_RSS_KEY_SIZE] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                    0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                    0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
    bool ipv6;
    uint8_t source[16], destination[16];
    uint16_t from, to;
    uint32_t addresses_only, with_ports;
} suite[] = {
    {false, {66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, 0x323e8fc2, 0x51ccc178},
    {false, {199, 92, 111, 2}, {65, 69, 140, 83}, 14230, 4739, 0xd718262a, 0xc626b0ea},
    {false, {24, 19, 198, 95}, {12, 22, 207, 184}, 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
    {false, {38, 27, 205, 30}, {209, 142, 163, 6}, 48228, 2217, 0x82989176, 0xafc7327f},
    {false, {153, 39, 163, 191}, {202, 188, 127, 2}, 44251, 1303, 0x5d1809c5, 0x10e828a2},
    {true,
     {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, [15] = 0x07},
     {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, [15] = 0x01},
     2794,
     1766,
     0x2cc18cd5,
     0x40207d3d},
};

static void rss_follows_key_and_table(void) {
    uint8_t table[NIC_RSS_TABLE_SIZE];
    uint32_t hash;
    open_cards(&(struct nic_config){.rx_queues = QUEUES});
    for (uint32_t i = 0; i < NIC_RSS_TABLE_SIZE; i++) table[i] = (uint8_t)(i / 3 % QUEUES);
    CHECK_EQ(nic_set_rss(b, suite_key, table), 0);
    for (size_t i = 0; i < sizeof suite / sizeof *suite; i++)
        for (int ports = 0; ports < 2; ports++) {
            uint32_t expected = ports ? suite[i].with_ports : suite[i].addresses_only;
            int queue = queue_of(packet_of(suite[i].ipv6, ports ? 6 : 47, suite[i].source, suite[i].destination,
                                           suite[i].from, suite[i].to),
                                 &hash);
            CHECK_EQ(hash, expected);
            CHECK_EQ(queue, table[expected % NIC_RSS_TABLE_SIZE]);
        }
    memset(table, 2, sizeof table);
    CHECK_EQ(nic_set_rss(b, NULL, table), 0);
    CHECK_EQ(queue_of(packet_of(false, 6, suite[0].source, suite[0].destination, 1, 2), NULL), 2);
    table[77] = QUEUES;
    CHECK_EQ(nic_set_rss(b, NULL, table), -EINVAL);
    CHECK_EQ(nic_set_rss(a, NULL, NULL), 0);
    close_cards();
    open_cards(NULL);
    CHECK_EQ(nic_set_rss(b, suite_key, NULL), -EINVAL);
    close_cards();
}

static void flows_are_steered(void) {
    static const uint8_t one[] = {10, 0, 0, 1}, two[] = {10, 0, 0, 2};
    uint8_t table[NIC_RSS_TABLE_SIZE] = {0}, mac[6];
    open_cards(&(struct nic_config){.rx_queues = QUEUES});
    nic_get_mac(b, mac);
    CHECK_EQ(nic_set_rss(b, NULL, table), 0);  // without a filter, everything goes to queue 0
    CHECK_EQ(queue_of(frame(mac, 100, 0), NULL), 0);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = 0x88b5}, 3), 0);
    CHECK_EQ(queue_of(frame(mac, 100, 0), NULL), 3);
    CHECK_EQ(queue_of(packet_of(false, 17, one, two, 7, 8), NULL), 0);

    // From the narrow to the wide: what is named first comes first.
    CHECK_EQ(nic_steer(b,
                       &(struct nic_flow){.protocol = 17,
                                          .source = 0x0a000001,
                                          .destination = 0x0a000002,
                                          .source_port = 7,
                                          .destination_port = 8},
                       1),
             0);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.destination_port = 8}, 2), 0);
    CHECK_EQ(queue_of(packet_of(false, 17, one, two, 7, 8), NULL), 1);
    CHECK_EQ(queue_of(packet_of(false, 17, two, one, 7, 8), NULL), 2);
    CHECK_EQ(queue_of(packet_of(false, 17, one, two, 9, 8), NULL), 2);
    CHECK_EQ(queue_of(packet_of(false, 17, one, two, 7, 9), NULL), 0);
    CHECK_EQ(queue_of(packet_of(false, 6, one, two, 7, 8), NULL), 2);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.protocol = 6, .source = 0x0a000002}, 3), 0);
    CHECK_EQ(queue_of(packet_of(false, 6, two, one, 1, 1), NULL), 3);
    CHECK_EQ(queue_of(packet_of(false, 17, two, one, 1, 1), NULL), 0);

    CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = 0x0800}, 1), -EINVAL);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = 100}, 1), -EINVAL);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.protocol = 1}, 1), -EINVAL);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = 0x88b6}, QUEUES), -EINVAL);
    for (uint16_t type = 0x9000; type < 0x9007; type++)
        CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = type}, 1), 0);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = 0x9007}, 1), -ENOSPC);
    for (uint32_t i = 3; i < 128; i++) CHECK_EQ(nic_steer(b, &(struct nic_flow){.source = i}, 1), 0);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.source = 1000}, 1), -ENOSPC);
    close_cards();
    open_cards(&(struct nic_config){.rx_queues = QUEUES});  // all forgotten
    CHECK_EQ(nic_set_rss(b, NULL, table), 0);
    CHECK_EQ(queue_of(frame(mac, 100, 0), NULL), 0);
    CHECK_EQ(queue_of(packet_of(false, 17, one, two, 7, 8), NULL), 0);
    close_cards();
}

// ---- Counters -----------------------------------------------------------------------------------------------------

static void counters_have_names(void) {
    uint8_t mac[6], broadcast[] = {255, 255, 255, 255, 255, 255};
    struct nic_counter few[2];
    struct nic_stats stats;
    open_cards(&(struct nic_config){.rx_queues = QUEUES, .tx_queues = 2, .drop_when_full = true});
    nic_get_mac(b, mac);
    nic_set_promiscuous(b, true);
    for (uint32_t i = 0; i < 10; i++) {
        struct packet_buffer *packet = i ? frame(mac, 100, i) : frame(broadcast, 100, i);
        CHECK_EQ(nic_transmit(a, i % 2, &packet, 1), 1);
        expect(100, i);
    }
    nic_read_stats(a, &stats);  // the card's counters are 0 now, the totals are not
    CHECK_EQ(stats.tx_packets, 10);
    CHECK_EQ(counter(a, "tx_pkts_nic"), 10);
    CHECK_EQ(counter(a, "tx_bytes_nic"), 1040);
    CHECK_EQ(counter(a, "tx_queue_0_packets"), 5);
    CHECK_EQ(counter(a, "tx_queue_1_packets"), 5);
    CHECK_EQ(counter(b, "rx_pkts_nic"), 10);
    CHECK_EQ(counter(b, "rx_bytes_nic"), 1040);
    CHECK_EQ(counter(b, "broadcast"), 1);
    CHECK_EQ(counter(b, "rx_queue_0_packets"), 10);
    CHECK_EQ(counter(b, "rx_queue_3_packets"), 0);
    uint32_t all = nic_read_counters(b, NULL, 0);
    CHECK_EQ(nic_read_counters(b, few, 2), all);
    CHECK(!strcmp(few[1].name, "tx_flow_control_xoff") && few[1].value == 0);

    // Nobody takes packets out of one queue; when it is full, each that comes is dropped and counted.
    for (uint32_t i = 0; i < 700; i++) send_patiently(frame(mac, 100, i));
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    do nic_read_stats(b, &stats);
    while (stats.rx_packets < 710 && clock_ns() < deadline);
    // 511 descriptors, less 10 that were too few to be worth refilling.
    CHECK_EQ(counter(b, "rx_no_dma_resources"), 700 - 501);
    CHECK_EQ(stats.rx_missed, 700 - 501);
    close_cards();
}

// Queue 1 is full, and a frame for queue 2 waits behind those that it has no room for. Nothing is dropped.
static void a_full_queue_holds_up_the_others(void) {
    enum { FRAMES = 540 };  // and the ring has 511 descriptors
    uint8_t mac[6];
    struct packet_buffer *packet;
    struct nic_stats stats;
    open_cards(&(struct nic_config){.rx_queues = QUEUES});
    nic_get_mac(b, mac);
    CHECK_EQ(nic_steer(b, &(struct nic_flow){.ether_type = 0x88b5}, 1), 0);
    for (uint32_t i = 0; i < FRAMES; i++) {
        packet = frame(mac, 100, i);
        while (!nic_transmit(a, 0, &packet, 1)) {
        }
    }
    packet = frame(mac, 100, 0);
    ((uint8_t *)packet->data)[12] = 0x90;  // of another type, and so for queue 0
    send(packet);
    expect_nothing();
    uint32_t received = 0;
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (received < FRAMES && clock_ns() < deadline)
        if (nic_receive(b, 1, &packet, 1)) {
            mempool_free(packet);
            received++;
        }
    CHECK_EQ(received, FRAMES);
    if (CHECK((packet = receive(ARRIVAL_MS)) != NULL)) mempool_free(packet);
    nic_read_stats(b, &stats);
    CHECK_EQ(stats.rx_missed, 0);
    CHECK_EQ(stats.rx_packets, FRAMES + 1);
    close_cards();
}

static void pause_can_be_read(void) {
    bool sends = false, obeys = false;
    open_cards(NULL);
    nic_get_pause(a, &sends, &obeys);
    CHECK(sends && obeys);
    close_cards();
}

int main(void) {
    if (!CHECK_EQ(nic_host_open(&host), 0)) return test_summary();
    addresses_are_added();
    vlans_are_filtered();
    rss_follows_key_and_table();
    flows_are_steered();
    counters_have_names();
    a_full_queue_holds_up_the_others();
    pause_can_be_read();
    nic_host_close(&host);
    return test_summary();
}
