// The filters that lead frames to queues: what each one compares, and which one wins.
#include "test_front.h"

static uint8_t frame[SIM_MAX_FRAME];

// make_udp's addresses, as they are in a frame.
static const uint8_t source[4] = {10, 0, 0, 1}, destination[4] = {10, 0, 0, 2};

enum { TCP = 0, UDP = 1, SCTP = 2, OTHER = 3 };
enum { ANY_SOURCE = 1, ANY_DESTINATION = 2, ANY_SOURCE_PORT = 4, ANY_DESTINATION_PORT = 8, ANY_PROTOCOL = 16 };

static struct bench *running(void) {
    struct bench *bench = bench_running();
    for (unsigned queue = 1; queue < 8; queue++) start_rx_queue(bench, queue);
    return bench;
}

// The queue that the frame came to, for there is one more in it than the last time; -1: none.
static int queue_of(struct bench *bench, uint32_t length) {
    uint32_t before[8];
    for (unsigned queue = 0; queue < 8; queue++) before[queue] = rd(bench, ixgbe_rx_queue_reg(IXGBE_RDH, queue));
    sim_receive(bench->device, frame, length);
    settle(bench);
    for (int queue = 0; queue < 8; queue++) {
        if (rd(bench, ixgbe_rx_queue_reg(IXGBE_RDH, (unsigned)queue)) != before[queue]) return queue;
    }
    return -1;
}

static int queue_of_udp(struct bench *bench, uint16_t from, uint16_t to) {
    make_udp(frame, 60, from, to);
    fill_sums_v4(frame, 6);
    return queue_of(bench, 60);
}

static int queue_of_type(struct bench *bench, uint16_t type) {
    make_udp(frame, 60, 1, 2);
    frame[12] = (uint8_t)(type >> 8), frame[13] = (uint8_t)type;
    return queue_of(bench, 60);
}

static void filter_type(struct bench *bench, unsigned n, uint32_t type, uint32_t queue) {
    wr(bench, IXGBE_REG(ETQS, n), IXGBE_ETQS_QUEUE_EN | queue << IXGBE_ETQS_RX_QUEUE_SHIFT);
    wr(bench, IXGBE_REG(ETQF, n), IXGBE_ETQF_FILTER_EN | type);
}

static uint32_t word(const uint8_t bytes[4]) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

// From `source` with `from` to `destination` with `to`, of which `any` names what does not matter.
static void filter_tuple(struct bench *bench, unsigned n, uint32_t protocol, uint16_t from, uint16_t to, uint32_t any,
                         uint32_t priority, uint32_t queue) {
    const uint8_t ports[4] = {(uint8_t)(from >> 8), (uint8_t)from, (uint8_t)(to >> 8), (uint8_t)to};
    wr(bench, IXGBE_REG(SAQF, n), word(source));
    wr(bench, IXGBE_REG(DAQF, n), word(destination));
    wr(bench, IXGBE_REG(SDPQF, n), word(ports));
    wr(bench, IXGBE_REG(L34TIMIR, n), IXGBE_L34TIMIR_SIZE_BP | queue << IXGBE_L34TIMIR_RX_QUEUE_SHIFT);
    wr(bench, IXGBE_REG(FTQF, n),
       IXGBE_FTQF_QUEUE_ENABLE | IXGBE_FTQF_POOL_MASK | any << IXGBE_FTQF_MASK_SHIFT |
           priority << IXGBE_FTQF_PRIORITY_SHIFT | protocol);
}

static void test_ethernet_types(void) {
    struct bench *bench = running();
    CHECK_EQ(queue_of_type(bench, 0x88f7), 0);
    filter_type(bench, 3, 0x88f7, 2);
    filter_type(bench, 5, 0x88cc, 4);
    CHECK_EQ(queue_of_type(bench, 0x88f7), 2);
    CHECK_EQ(queue_of_type(bench, 0x88cc), 4);
    CHECK_EQ(rx_descriptor(bench, 2, 0)->wb.info, IXGBE_RXD_INFO_ETQF | 3 << IXGBE_RXD_INFO_ETQF_SHIFT);
    CHECK_EQ(rx_descriptor(bench, 4, 0)->wb.info, IXGBE_RXD_INFO_ETQF | 5 << IXGBE_RXD_INFO_ETQF_SHIFT);
    CHECK_EQ(queue_of_type(bench, 0x88b5), 0);
    make_udp(frame, 64, 1, 2);  // behind a VLAN tag
    memcpy(frame + 12, "\x81\x00\x00\x07\x88\xcc", 6);
    CHECK_EQ(queue_of(bench, 64), 4);
    wr(bench, IXGBE_REG(ETQS, 5), 4 << IXGBE_ETQS_RX_QUEUE_SHIFT);  // without QUEUE_EN it is for something else
    CHECK_EQ(queue_of_type(bench, 0x88cc), 0);
    CHECK_EQ(rx_descriptor(bench, 0, 2)->wb.info, IXGBE_RXD_INFO_ETQF | 5 << IXGBE_RXD_INFO_ETQF_SHIFT);
    wr(bench, IXGBE_REG(ETQF, 3), 0x88f7);
    CHECK_EQ(queue_of_type(bench, 0x88f7), 0);
    bench_destroy(bench);
}

static void test_what_a_tuple_filter_compares(void) {
    struct bench *bench = running();
    filter_tuple(bench, 100, UDP, 1000, 2000, 0, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 3);
    CHECK_EQ(queue_of_udp(bench, 1001, 2000), 0);
    CHECK_EQ(queue_of_udp(bench, 1000, 2001), 0);
    filter_tuple(bench, 100, UDP, 1000, 2000, ANY_SOURCE_PORT, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 1001, 2000), 3);
    CHECK_EQ(queue_of_udp(bench, 1001, 2001), 0);
    filter_tuple(bench, 100, UDP, 1000, 2000, ANY_DESTINATION_PORT, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 1000, 2001), 3);
    CHECK_EQ(queue_of_udp(bench, 1001, 2001), 0);
    filter_tuple(bench, 100, TCP, 1000, 2000, 0, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 0);
    filter_tuple(bench, 100, TCP, 1000, 2000, ANY_PROTOCOL, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 3);

    filter_tuple(bench, 100, UDP, 0, 0, ANY_SOURCE_PORT | ANY_DESTINATION_PORT, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 5, 6), 3);
    wr(bench, IXGBE_REG(SAQF, 100), 1);
    CHECK_EQ(queue_of_udp(bench, 5, 6), 0);
    wr(bench, IXGBE_REG(SAQF, 100), word(source));
    wr(bench, IXGBE_REG(DAQF, 100), 1);
    CHECK_EQ(queue_of_udp(bench, 5, 6), 0);
    filter_tuple(bench, 100, UDP, 0, 0, ANY_SOURCE_PORT | ANY_DESTINATION_PORT | ANY_SOURCE | ANY_DESTINATION, 1, 3);
    wr(bench, IXGBE_REG(SAQF, 100), 1);
    wr(bench, IXGBE_REG(DAQF, 100), 1);
    CHECK_EQ(queue_of_udp(bench, 5, 6), 3);
    wr(bench, IXGBE_REG(FTQF, 100), 0);
    CHECK_EQ(queue_of_udp(bench, 5, 6), 0);
    bench_destroy(bench);
}

static void test_frames_without_ports(void) {
    struct bench *bench = running();
    filter_tuple(bench, 0, OTHER, 0, 0, ANY_SOURCE_PORT | ANY_DESTINATION_PORT, 1, 3);
    filter_tuple(bench, 1, OTHER, 0, 0, 0, 1, 4);
    make_udp(frame, 60, 0, 0);
    frame[23] = 1;  // ICMP; the bytes where ports would be are zero
    fill_sums_v4(frame, 6);
    CHECK_EQ(queue_of(bench, 60), 3);
    wr(bench, IXGBE_REG(FTQF, 0), 0);
    CHECK_EQ(queue_of(bench, 60), 0);

    filter_tuple(bench, 0, UDP, 1000, 2000, 0, 1, 5);
    make_udp(frame, 60, 1000, 2000);
    frame[20] = 0x20;  // the first of several fragments
    CHECK_EQ(queue_of(bench, 60), 0);
    make_udp(frame, 80, 1000, 2000);  // the same bytes as IPv6
    frame[12] = 0x86, frame[13] = 0xdd;
    memmove(frame + 54, frame + 34, 20);
    memcpy(frame + 14, "\x60\x00\x00\x00\x00\x1a\x11\x40", 8);
    CHECK_EQ(queue_of(bench, 80), 0);
    bench_destroy(bench);
}

// The sender is in the same process and can write into a frame that has just been classified. Where its header seems
// to end beyond it, there are no ports, whatever lies there.
static void test_a_header_that_grows_meanwhile(void) {
    struct bench *bench = running();
    filter_tuple(bench, 0, UDP, 1000, 2000, 0, 1, 3);
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 3);
    struct frame judged = {.length = 60, .info = IXGBE_RXD_INFO_IPV4 | IXGBE_RXD_INFO_UDP};
    memcpy(frame + 14 + 60, frame + 34, 4);
    frame[14] = 0x4f;
    steer(bench->device, frame, &judged);
    CHECK_EQ(judged.queue, 0);
    bench_destroy(bench);
}

static void test_which_filter_wins(void) {
    struct bench *bench = running();
    const uint32_t any_ports = ANY_SOURCE_PORT | ANY_DESTINATION_PORT;
    wr(bench, IXGBE_MRQC, IXGBE_MRQE_RSS | IXGBE_MRQC_RSS_UDPIPV4);
    for (uint32_t n = 0; n < IXGBE_RETA_COUNT; n++) wr(bench, IXGBE_REG(RETA, n), 0x01010101);
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 1);
    filter_tuple(bench, 9, UDP, 0, 0, any_ports, 2, 2);  // before RSS
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 2);
    filter_tuple(bench, 4, UDP, 0, 0, any_ports, 2, 3);  // the lower number
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 3);
    filter_tuple(bench, 127, UDP, 1000, 2000, 0, 7, 4);  // the higher priority
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 4);
    CHECK_EQ(queue_of_udp(bench, 1001, 2000), 3);
    filter_tuple(bench, 0, UDP, 0, 0, any_ports, 1, 5);
    CHECK_EQ(queue_of_udp(bench, 1001, 2000), 3);
    filter_type(bench, 7, 0x0800, 6);  // before all of them
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 6);
    hush(true);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_RST);
    hush(false);
    pass_us(bench, 1000);
    CHECK_EQ(rd(bench, IXGBE_REG(ETQF, 7)), 0);
    hush(true);
    bring_up(bench);
    start_rx_queue(bench, 0);
    hush(false);
    CHECK_EQ(queue_of_udp(bench, 1000, 2000), 0);
    bench_destroy(bench);
}

int main(void) {
    test_ethernet_types();
    test_what_a_tuple_filter_compares();
    test_frames_without_ports();
    test_a_header_that_grows_meanwhile();
    test_which_filter_wins();
    return test_summary();
}
