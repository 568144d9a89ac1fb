// test_ixgbe.c: the driver from the outside: what goes in at one card comes out at the other, and nothing gets lost
// on the way but what should.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ixgbe.h"
#include "test_cards.h"

static void frames_of_all_lengths_arrive_whole(void) {
    uint8_t mac[6];
    struct nic_stats sent, received;
    uint64_t packets = 0, bytes = 0;
    open_cards(NULL);
    nic_get_mac(b, mac);
    for (uint32_t length = 17; length <= LONGEST; length += length < 130 ? 1 : 97, packets++) {
        send(frame(mac, length, length));
        expect(length, length);
        bytes += (length < SHORTEST ? SHORTEST : length) + 4;
    }
    nic_read_stats(a, &sent);
    nic_read_stats(b, &received);
    CHECK_EQ(sent.tx_packets, packets);
    CHECK_EQ(sent.tx_bytes, bytes);
    CHECK_EQ(sent.rx_packets, 0);
    CHECK_EQ(received.rx_packets, packets);
    CHECK_EQ(received.rx_bytes, bytes);
    CHECK_EQ(received.rx_missed + received.rx_errors, 0);
    close_cards();
}

// What has been asked of one card holds when the other card sends: the doorbell has rung once a read has come back.
static void send_at_once(struct packet_buffer *buffer) {
    send(buffer);
    nic_link_mbit(a);
}

static void only_frames_for_us_are_received(void) {
    static const uint8_t other[] = {0x02, 0, 0, 0, 0, 0x42}, broadcast[] = {255, 255, 255, 255, 255, 255},
                         group[] = {0x01, 0, 0x5e, 0, 0, 1}, none[6] = {0};
    uint8_t own[6], read_back[6];
    open_cards(NULL);
    nic_get_mac(b, own);
    send(frame(own, 100, 1));
    expect(100, 1);
    send(frame(broadcast, 100, 2));
    expect(100, 2);
    send(frame(other, 100, 3));
    send(frame(group, 100, 4));
    expect_nothing();

    nic_set_promiscuous(b, true);
    send_at_once(frame(other, 100, 5));
    expect(100, 5);
    send(frame(group, 100, 6));
    expect(100, 6);
    nic_set_promiscuous(b, false);
    send_at_once(frame(other, 100, 7));
    expect_nothing();

    CHECK_EQ(nic_set_mac(b, other), 0);
    send_at_once(frame(other, 100, 8));
    expect(100, 8);
    nic_get_mac(b, read_back);
    CHECK(!memcmp(read_back, other, 6));
    send(frame(own, 100, 9));
    expect_nothing();
    CHECK_EQ(nic_set_mac(b, group), -EINVAL);
    CHECK_EQ(nic_set_mac(b, none), -EINVAL);
    close_cards();

    // The card's own address comes back with the next reset.
    open_cards(NULL);
    nic_get_mac(b, read_back);
    CHECK(!memcmp(read_back, own, 6));
    close_cards();
}

// More than rings and pools hold, in batches, without a receiver in between: what does not fit is refused at the door
// or waits in the card; nothing is overwritten.
static void bursts_are_held_back_not_lost(void) {
    enum { BURST = 1500 };
    struct packet_buffer *buffers[BURST], *got[64];
    struct nic_stats stats;
    uint8_t mac[6];
    uint32_t sent = 0, received = 0;
    open_cards(NULL);
    nic_get_mac(b, mac);
    for (uint32_t i = 0; i < BURST; i++) buffers[i] = frame(mac, 200, i);
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (sent < BURST && clock_ns() < deadline) sent += nic_transmit(a, 0, buffers + sent, BURST - sent);
    CHECK_EQ(sent, BURST);
    while (received < BURST && clock_ns() < deadline) {
        uint32_t count = nic_receive(b, 0, got, 64);
        for (uint32_t i = 0; i < count; i++) CHECK(is_frame(got[i], 200, received + i));
        mempool_free_batch(got, count);
        received += count;
        nic_transmit(a, 0, NULL, 0);
    }
    CHECK_EQ(received, BURST);
    nic_read_stats(b, &stats);
    CHECK_EQ(stats.rx_missed, 0);
    close_cards();
}

// A card that asks for no pause loses what it has no room for, and says how much.
static void what_is_missed_is_not_received(void) {
    enum { FRAMES = 1500 };
    struct packet_buffer *got[64];
    struct nic_stats stats;
    uint8_t mac[6];
    uint32_t received = 0;
    open_cards(NULL);
    ixgbe_write((struct ixgbe *)b, IXGBE_REG(FCRTH, 0), 0);
    nic_get_mac(b, mac);
    for (uint32_t i = 0; i < FRAMES; i++) send_patiently(frame(mac, LONGEST, i));
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    do {
        uint32_t count = nic_receive(b, 0, got, 64);
        mempool_free_batch(got, count);
        received += count;
        nic_read_stats(b, &stats);
    } while (received + stats.rx_missed < FRAMES && clock_ns() < deadline);
    CHECK(stats.rx_missed > 0);
    CHECK_EQ(stats.rx_packets, received);
    CHECK_EQ(stats.rx_packets + stats.rx_missed, FRAMES);
    CHECK_EQ(counter(b, "rx_pkts_nic"), received);
    close_cards();
}

// More than the receiver's ring and packet buffer hold, and nobody takes it out: the card asks for a pause. The
// frames that it asks with are not ours.
static void pauses_are_not_counted_as_packets(void) {
    enum { FRAMES = 1200 };  // 512 for the ring, and 512 KiB
    struct nic_stats stats;
    uint8_t mac[6];
    open_cards(NULL);
    nic_get_mac(b, mac);
    for (uint32_t i = 0; i < FRAMES; i++) send_patiently(frame(mac, LONGEST, i));
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (!counter(b, "tx_flow_control_xoff") && clock_ns() < deadline) sleep_us(10);
    CHECK(counter(b, "tx_flow_control_xoff") > 0);
    for (uint32_t i = 0; i < FRAMES; i++) expect(LONGEST, i);
    deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (!counter(a, "rx_flow_control_xon") && clock_ns() < deadline) sleep_us(10);
    CHECK(counter(a, "rx_flow_control_xoff") > 0 && counter(a, "rx_flow_control_xon") > 0);
    nic_read_stats(b, &stats);
    CHECK_EQ(stats.rx_packets, FRAMES);
    CHECK_EQ(stats.rx_missed, 0);
    CHECK_EQ(stats.tx_packets, 0);
    CHECK_EQ(stats.tx_bytes, 0);
    close_cards();
}

// An application that gives no buffer back starves its card, and revives it when it does.
static void an_exhausted_pool_starves_and_recovers(void) {
    enum { BUFFERS = 80, RING = 64 };
    struct packet_buffer *held[BUFFERS];
    uint8_t mac[6];
    uint32_t count = 0, sent = 0;
    open_cards(&(struct nic_config){.rx_ring_size = RING, .rx_buffers = BUFFERS});
    nic_get_mac(b, mac);
    while (sent < 2 * BUFFERS) send(frame(mac, 60, sent++));
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (count < RING - 1 && clock_ns() < deadline) count += nic_receive(b, 0, held + count, BUFFERS - count);
    deadline = clock_ns() + PATIENCE_MS * 1000000ull;
    while (clock_ns() < deadline) count += nic_receive(b, 0, held + count, BUFFERS - count);
    CHECK(count <= BUFFERS && count >= RING - 1);
    mempool_free_batch(held, count);
    for (uint32_t number = count; number < sent; number++) expect(60, number);
    close_cards();
}

static struct packet_buffer *udp_frame(const uint8_t to[6], uint16_t port) {
    static const uint8_t headers[] = {0x08, 0x00, 0x45, 0,   0,  46, 0, 0,   0x40, 0, 64,
                                      17,   0,    0,    198, 18, 0,  1, 198, 18,   0, 2};
    struct packet_buffer *buffer = frame(to, 60, 0);
    uint8_t *data = buffer->data;
    memcpy(data + 12, headers, sizeof headers);
    data[34] = (uint8_t)(port >> 8), data[35] = (uint8_t)port;
    data[36] = 0, data[37] = 9, data[38] = 0, data[39] = 26;
    return buffer;
}

static void flows_are_spread_over_queues(void) {
    enum { QUEUES = 4, FLOWS = 64, PER_FLOW = 5 };
    uint8_t mac[6];
    uint32_t received = 0, by_queue[QUEUES] = {0};
    int queue_of[FLOWS];
    memset(queue_of, -1, sizeof queue_of);
    open_cards(&(struct nic_config){.rx_queues = QUEUES, .tx_queues = 2});
    nic_get_mac(b, mac);
    for (uint32_t i = 0; i < FLOWS * PER_FLOW; i++) {
        struct packet_buffer *buffer = udp_frame(mac, (uint16_t)(1000 + i % FLOWS));
        CHECK_EQ(nic_transmit(a, i % 2, &buffer, 1), 1);
    }
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (received < FLOWS * PER_FLOW && clock_ns() < deadline)
        for (uint32_t queue = 0; queue < QUEUES; queue++) {
            struct packet_buffer *buffer;
            if (!nic_receive(b, queue, &buffer, 1)) continue;
            const uint8_t *data = buffer->data;
            uint32_t flow = (uint32_t)(data[34] << 8 | data[35]) - 1000;
            if (CHECK(flow < FLOWS)) {
                CHECK(queue_of[flow] == -1 || queue_of[flow] == (int)queue);
                queue_of[flow] = (int)queue;
            }
            by_queue[queue]++;
            received++;
            mempool_free(buffer);
        }
    CHECK_EQ(received, FLOWS * PER_FLOW);
    for (uint32_t queue = 0; queue < QUEUES; queue++) CHECK(by_queue[queue] > 0);
    close_cards();
}

// A buffer received on one card is sent on the other as it is: they share a container.
static void a_received_buffer_is_sent_on(void) {
    struct packet_buffer *buffer = NULL;
    uint8_t mac[6];
    open_cards(NULL);
    nic_get_mac(b, mac);
    nic_set_promiscuous(a, true);
    send(frame(mac, 333, 7));
    buffer = receive(ARRIVAL_MS);
    if (CHECK(buffer != NULL)) {
        CHECK_EQ(nic_transmit(b, 0, &buffer, 1), 1);
        struct packet_buffer *back = NULL;
        uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
        while (!nic_receive(a, 0, &back, 1) && clock_ns() < deadline) {
        }
        if (CHECK(back != NULL)) {
            CHECK(is_frame(back, 333, 7));
            CHECK(back->iova.value != buffer->iova.value);
            mempool_free(back);
        }
    }
    close_cards();
}

// A full TX ring empties by itself: whoever keeps on sending need not call nic_transmit with nothing to send.
static void the_smallest_rings_keep_going(void) {
    enum { PACKETS = 1000 };
    uint8_t mac[6];
    open_cards(&(struct nic_config){.rx_ring_size = RING_SMALLEST, .tx_ring_size = RING_SMALLEST});
    nic_get_mac(b, mac);
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    uint32_t sent = 0, received = 0;
    while (received < PACKETS && clock_ns() < deadline) {
        struct packet_buffer *buffer = NULL;
        if (sent < PACKETS && !nic_transmit(a, 0, (buffer = frame(mac, SHORTEST, 0), &buffer), 1))
            mempool_free(buffer);
        else
            sent += buffer != NULL;
        if (sent < PACKETS && sent % 100) continue;  // several in the ring at a time
        while (nic_receive(b, 0, &buffer, 1)) {
            mempool_free(buffer);
            received++;
        }
    }
    CHECK_EQ(received, PACKETS);
    close_cards();
}

static bool full(struct nic *nic) {
    struct mempool *rx = nic_rx_pool(nic, 0);
    return mempool_free_count(rx) == mempool_count(rx);
}

// Each card has sent the other's buffers. Whichever closes first takes a pool away, so both stop before.
static void cards_with_each_others_buffers_stop(void) {
    struct packet_buffer *buffer;
    uint8_t mac[6];
    open_cards(NULL);
    nic_get_mac(b, mac);
    nic_set_promiscuous(a, true);
    send(frame(mac, 100, 1));
    if (CHECK((buffer = receive(ARRIVAL_MS)) != NULL)) CHECK_EQ(nic_transmit(b, 0, &buffer, 1), 1);
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    uint32_t back;
    while (!(back = nic_receive(a, 0, &buffer, 1)) && clock_ns() < deadline) {
    }
    if (CHECK_EQ(back, 1)) CHECK_EQ(nic_transmit(a, 0, &buffer, 1), 1);
    nic_stop(a);
    CHECK(!full(a) || !full(b));
    nic_stop(b);
    CHECK(full(a) && full(b));
    close_cards();
}

static void impossible_wishes_are_refused(void) {
    static const struct nic_config wishes[] = {{.rx_queues = 17},
                                               {.tx_queues = 100},
                                               {.rx_ring_size = 100},
                                               {.tx_ring_size = 8192},
                                               {.rx_buffers = 1u << 30}};
    struct nic *nic = NULL;
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        CHECK_EQ(nic_open(&host, DEFAULT_ADDRESS, &wishes[i], &nic), -EINVAL);
    CHECK_EQ(nic_open(&host, "0000:77:00.0", NULL, &nic), -ENODEV);
    CHECK(nic == NULL && host.space.reservations == NULL);
    nic_close(NULL);
}

int main(void) {
    if (!CHECK_EQ(nic_host_open(&host), 0)) return test_summary();
    frames_of_all_lengths_arrive_whole();
    only_frames_for_us_are_received();
    bursts_are_held_back_not_lost();
    pauses_are_not_counted_as_packets();
    what_is_missed_is_not_received();
    an_exhausted_pool_starves_and_recovers();
    flows_are_spread_over_queues();
    a_received_buffer_is_sent_on();
    the_smallest_rings_keep_going();
    cards_with_each_others_buffers_stop();
    impossible_wishes_are_refused();
    for (int i = 0; i < 5; i++) {
        open_cards(NULL);
        close_cards();
    }
    nic_host_close(&host);
    return test_summary();
}
