// Receiving: what reaches the driver's buffers, what the write-back says about it, and what is dropped where.
#include "test_front.h"

static uint8_t frame[SIM_MAX_FRAME];

static void receive(struct bench *bench, const uint8_t *bytes, uint32_t length) {
    sim_receive(bench->device, bytes, length);
    settle(bench);
}

static void receive_udp(struct bench *bench, uint32_t length) {
    make_udp(frame, length, 1000, 2000);
    fill_sums_v4(frame, 6);
    receive(bench, frame, length);
}

static bool done(struct bench *bench, unsigned queue, unsigned index) {
    return rx_descriptor(bench, queue, index)->wb.status_error & IXGBE_RXD_STATUS_DD;
}

// Makes every descriptor an empty buffer again and gives the first `count` to the device.
static void refill(struct bench *bench, unsigned count) {
    for (unsigned i = 0; i < RING_SIZE; i++) {
        *rx_descriptor(bench, 0, i) = (union ixgbe_rx_desc){.read = {IOVA_BASE + RX_BUFFERS + i * BUFFER_BYTES, 0}};
    }
    wr(bench, IXGBE_RDT, count);
}

static void test_a_frame_arrives(void) {
    struct bench *bench = bench_running();
    receive_udp(bench, 100);
    union ixgbe_rx_desc *descriptor = rx_descriptor(bench, 0, 0);
    CHECK_EQ(descriptor->wb.length, 100);
    CHECK_EQ(descriptor->wb.status_error, IXGBE_RXD_STATUS_DD | IXGBE_RXD_STATUS_EOP | IXGBE_RXD_STATUS_IPCS |
                                              IXGBE_RXD_STATUS_L4I | IXGBE_RXD_STATUS_UDPCS);
    CHECK_EQ(descriptor->wb.info, IXGBE_RXD_INFO_IPV4 | IXGBE_RXD_INFO_UDP);
    CHECK(memcmp(rx_buffer(bench, 0, 0), frame, 100) == 0);
    CHECK_EQ(rx_buffer(bench, 0, 0)[100], 0);
    CHECK_EQ(rd(bench, IXGBE_RDH), 1);
    CHECK(!done(bench, 0, 1));
    bench_destroy(bench);
}

static void test_the_ring_goes_round(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < 3 * RING_SIZE; i++) {
        receive_udp(bench, 60 + i % 100);
        unsigned at = i % RING_SIZE;
        CHECK_EQ(rx_descriptor(bench, 0, at)->wb.length, 60 + i % 100);
        rx_descriptor(bench, 0, at)->read.packet_iova = IOVA_BASE + RX_BUFFERS + at * BUFFER_BYTES;
        rx_descriptor(bench, 0, at)->read.header_iova = 0;
        wr(bench, IXGBE_RDT, at);
    }
    CHECK_EQ(rd(bench, IXGBE_GPRC), 3 * RING_SIZE);
    bench_destroy(bench);
}

static void test_counters(void) {
    struct bench *bench = bench_running();
    static const uint32_t sizes[] = {60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514};
    uint64_t bytes = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        receive_udp(bench, sizes[i]);
        bytes += sizes[i] + 4;
    }
    make_udp(frame, 60, 1, 2);
    memset(frame, 0xff, 6);
    receive(bench, frame, 60);
    memcpy(frame, "\x01\x00\x5e\x00\x00\x01", 6);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_PRC64), 3);
    CHECK_EQ(rd(bench, IXGBE_PRC127), 2);
    CHECK_EQ(rd(bench, IXGBE_PRC255), 2);
    CHECK_EQ(rd(bench, IXGBE_PRC511), 2);
    CHECK_EQ(rd(bench, IXGBE_PRC1023), 2);
    CHECK_EQ(rd(bench, IXGBE_PRC1522), 2);
    CHECK_EQ(rd(bench, IXGBE_BPRC), 1);
    CHECK_EQ(rd(bench, IXGBE_MPRC), 1);
    CHECK_EQ(rd(bench, IXGBE_GPRC), 13);
    CHECK_EQ(rd(bench, IXGBE_GPRC), 0);
    CHECK_EQ(rd(bench, IXGBE_GORCL), bytes + 128);
    CHECK_EQ(rd(bench, IXGBE_GORCH), 0);
    CHECK_EQ(rd(bench, IXGBE_TPR), 13);
    CHECK_EQ(rd(bench, IXGBE_QPRC), 13);
    CHECK_EQ(rd(bench, IXGBE_QBRC_L), bytes + 128 - 13 * 4);  // without the CRCs, which are stripped
    CHECK_EQ(rd(bench, IXGBE_RXDGPC), 13);
    bench_destroy(bench);
}

// The counters behind the receive DMA are for the queues of one counter set, or for all.
static void test_dma_counters_follow_their_queues(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_REG(RQSMR, 0), 3);  // queue 0 counts in set 3
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_RXDGPC), 0);
    wr(bench, IXGBE_RXDSTATCTRL, 3);
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_RXDGPC), 1);
    wr(bench, IXGBE_RXDSTATCTRL, 0x10);
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_RXDGPC), 1);
    CHECK_EQ(rd(bench, IXGBE_REG(QPRC, 3)), 3);
    CHECK_EQ(rd(bench, IXGBE_RXDGBCL), 120);
    bench_destroy(bench);
}

// A program that ends without another turn of the device's has received all of it.
static void test_totals_are_never_behind(void) {
    struct bench *bench = bench_running();
    make_udp(frame, 60, 1, 2);
    sim_receive(bench->device, frame, 60);
    CHECK_EQ(sim_totals(bench->device).in_packets, 1);
    CHECK_EQ(sim_totals(bench->device).in_bytes, 64);
    settle(bench);
    CHECK_EQ(sim_totals(bench->device).in_packets, 1);
    bench_destroy(bench);
}

static void test_byte_counters_carry_into_the_high_half(void) {
    struct bench *bench = bench_running();
    bench->registers[IXGBE_GORCL / 4] = UINT32_MAX - 10;
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_GORCL), 53);
    CHECK_EQ(rd(bench, IXGBE_GORCH), 1);
    bench->registers[IXGBE_GPRC / 4] = UINT32_MAX;
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_GPRC), UINT32_MAX);
    bench_destroy(bench);
}

static void test_wrong_sizes_are_dropped_and_counted(void) {
    struct bench *bench = bench_running();
    receive_udp(bench, 59);
    CHECK_EQ(rd(bench, IXGBE_RUC), 1);
    receive_udp(bench, 1515);
    CHECK_EQ(rd(bench, IXGBE_ROC), 1);
    CHECK(!done(bench, 0, 0));
    make_udp(frame, 1518, 1, 2);
    frame[12] = 0x81, frame[13] = 0;  // a VLAN tag comes on top of the limit
    receive(bench, frame, 1518);
    CHECK_EQ(rd(bench, IXGBE_ROC), 0);
    CHECK(done(bench, 0, 0));
    sim_receive(bench->device, frame, 10);
    sim_receive(bench->device, frame, UINT32_MAX);
    settle(bench);
    CHECK(!done(bench, 0, 1));
    bench_destroy(bench);
}

static void test_jumbo_frames_fill_several_buffers(void) {
    struct bench *bench = bench_running();
    set_bits(bench, IXGBE_HLREG0, IXGBE_HLREG0_JUMBOEN);
    wr(bench, IXGBE_MAXFRS, 9018 << IXGBE_MAXFRS_MFS_SHIFT);
    receive_udp(bench, 9014);
    for (unsigned i = 0; i < 5; i++) {
        uint32_t length = i < 4 ? 2048 : 9014 - 4 * 2048;
        CHECK_EQ(rx_descriptor(bench, 0, i)->wb.length, length);
        CHECK_EQ(!!(rx_descriptor(bench, 0, i)->wb.status_error & IXGBE_RXD_STATUS_EOP), i == 4);
        CHECK(memcmp(rx_buffer(bench, 0, i), frame + i * 2048, length) == 0);
    }
    for (unsigned i = 0; i < 4; i++) {  // all else is said with the last piece
        CHECK_EQ(rx_descriptor(bench, 0, i)->wb.info, 0);
        CHECK_EQ(rx_descriptor(bench, 0, i)->wb.rss_hash, 0);
        CHECK_EQ(rx_descriptor(bench, 0, i)->wb.status_error, IXGBE_RXD_STATUS_DD);
    }
    CHECK_EQ(rx_descriptor(bench, 0, 4)->wb.info, IXGBE_RXD_INFO_IPV4 | IXGBE_RXD_INFO_UDP);
    CHECK_EQ(rx_descriptor(bench, 0, 4)->wb.rss_hash, 0x1234);  // the IP packet's identification
    receive_udp(bench, 9015);
    CHECK_EQ(rd(bench, IXGBE_ROC), 1);
    CHECK_EQ(rd(bench, IXGBE_RDH), 5);
    bench_destroy(bench);
}

static void test_addresses(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_FCTRL, 0);
    make_udp(frame, 60, 1, 2);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 1);
    frame[5] = 9;
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 1);
    wr(bench, IXGBE_REG(RAL, 100), 0x82bae290);
    wr(bench, IXGBE_REG(RAH, 100), 0x80000959);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 2);
    wr(bench, IXGBE_REG(RAH, 100), 0x00000959);  // not valid any more
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 2);
    wr(bench, IXGBE_FCTRL, IXGBE_FCTRL_UPE);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 3);

    memset(frame, 0xff, 6);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 3);
    wr(bench, IXGBE_FCTRL, IXGBE_FCTRL_BAM);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 4);

    memcpy(frame, "\x01\x00\x5e\x01\x02\x03", 6);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 4);
    uint32_t bit = 0x030 | 0x02 >> 4;  // bits 47:36 of the address: 03, and the upper half of 02
    wr(bench, IXGBE_REG(MTA, bit / 32), 1u << bit % 32);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 4);
    wr(bench, IXGBE_MCSTCTRL, IXGBE_MCSTCTRL_MFE);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 5);
    CHECK(rx_descriptor(bench, 0, 4)->wb.status_error & IXGBE_RXD_STATUS_PIF);  // software has to look again
    frame[5] = 0x13;
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 5);
    wr(bench, IXGBE_FCTRL, IXGBE_FCTRL_MPE);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 6);
    wr(bench, IXGBE_FCTRL, 0);
    wr(bench, IXGBE_REG(RAL, 100), 0x015e0001);
    wr(bench, IXGBE_REG(RAH, 100), 0x80001302);
    receive(bench, frame, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), 7);
    for (unsigned i = 0; i < 7; i++) {
        bool inexact = rx_descriptor(bench, 0, i)->wb.status_error & IXGBE_RXD_STATUS_PIF;
        CHECK_EQ(inexact, i == 4);
    }
    CHECK_EQ(rd(bench, IXGBE_TPR), 13);
    CHECK_EQ(rd(bench, IXGBE_GPRC), 7);
    bench_destroy(bench);
}

static void make_tagged(uint16_t tag) {
    uint8_t plain[100];
    make_udp(plain, 100, 1, 2);
    fill_sums_v4(plain, 6);
    memcpy(frame, plain, 12);
    frame[12] = 0x81, frame[13] = 0, frame[14] = (uint8_t)(tag >> 8), frame[15] = (uint8_t)tag;
    memcpy(frame + 16, plain + 12, 88);
}

static void test_vlan_tags(void) {
    struct bench *bench = bench_running();
    make_tagged(0x6123);
    receive(bench, frame, 104);
    union ixgbe_rx_desc *descriptor = rx_descriptor(bench, 0, 0);
    CHECK_EQ(descriptor->wb.length, 104);
    CHECK_EQ(descriptor->wb.vlan, 0x6123);
    CHECK(descriptor->wb.status_error & IXGBE_RXD_STATUS_VP);
    CHECK(descriptor->wb.status_error & IXGBE_RXD_STATUS_L4I);

    set_bits(bench, IXGBE_RXDCTL, IXGBE_RXDCTL_VME);
    receive(bench, frame, 104);
    CHECK_EQ(rx_descriptor(bench, 0, 1)->wb.length, 100);
    CHECK_EQ(rx_descriptor(bench, 0, 1)->wb.vlan, 0x6123);
    CHECK(memcmp(rx_buffer(bench, 0, 1) + 12, frame + 16, 88) == 0);

    set_bits(bench, IXGBE_VLNCTRL, IXGBE_VLNCTRL_VFE);
    receive(bench, frame, 104);
    CHECK_EQ(rd(bench, IXGBE_RDH), 2);
    wr(bench, IXGBE_REG(VFTA, 0x123 / 32), 1u << 0x123 % 32);
    receive(bench, frame, 104);
    CHECK_EQ(rd(bench, IXGBE_RDH), 3);
    receive_udp(bench, 60);  // untagged frames pass the filter
    CHECK_EQ(rd(bench, IXGBE_RDH), 4);
    bench_destroy(bench);
}

static void test_crc_is_kept_if_so_wished(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_RDRXCTL, rd(bench, IXGBE_RDRXCTL) & ~(uint32_t)IXGBE_RDRXCTL_CRC_STRIP);
    wr(bench, IXGBE_HLREG0, rd(bench, IXGBE_HLREG0) & ~(uint32_t)IXGBE_HLREG0_RXCRCSTRP);
    memset(frame, 0, 60);
    receive(bench, frame, 60);
    CHECK_EQ(rx_descriptor(bench, 0, 0)->wb.length, 64);
    CHECK(memcmp(rx_buffer(bench, 0, 0) + 60, "\x08\x89\x12\x04", 4) == 0);  // CRC-32 of 60 zero bytes
    CHECK_EQ(rd(bench, IXGBE_QBRC_L), 64);
    bench_destroy(bench);
}

static void test_legacy_descriptors(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_SRRCTL, 2);
    receive_udp(bench, 80);
    union ixgbe_rx_legacy_desc *descriptor = (void *)rx_descriptor(bench, 0, 0);
    CHECK_EQ(descriptor->wb.length, 80);
    CHECK_EQ(descriptor->wb.status & 3, 3);
    CHECK_EQ(descriptor->wb.errors, 0);
    CHECK_EQ(descriptor->wb.iova, IOVA_BASE + RX_BUFFERS);
    frame[50] ^= 1;
    receive(bench, frame, 80);
    CHECK_EQ(((union ixgbe_rx_legacy_desc *)rx_descriptor(bench, 0, 1))->wb.errors, IXGBE_RXD_LEGACY_ERROR_L4E);
    bench_destroy(bench);
}

static void test_without_descriptors_frames_wait(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < RING_SIZE + 5; i++) receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_RDH), RING_SIZE - 1);
    CHECK_EQ(rd(bench, IXGBE_RXMPC), 0);
    refill(bench, 10);
    CHECK_EQ(rd(bench, IXGBE_RDH), 5);
    bench_destroy(bench);
}

static void test_a_full_packet_buffer_drops_at_its_entry(void) {
    struct bench *bench = bench_running();
    unsigned sent = 0;
    for (; sent < 5000; sent++) receive_udp(bench, 1514);
    uint32_t lost = rd(bench, IXGBE_RXMPC);
    CHECK(lost > 4000 && lost < 5000);
    CHECK(rd(bench, IXGBE_EICR) & IXGBE_EICR_RX_MISS);
    CHECK_EQ(rd(bench, IXGBE_QPRDC), 0);
    unsigned held = sent - lost - (RING_SIZE - 1), taken = 0;
    CHECK(held * 1514 < 512 * 1024 && held * 1514 > 450 * 1024);
    for (; taken < held; taken++) {  // what was let in is not lost
        unsigned at = (RING_SIZE - 1 + taken) % RING_SIZE;
        *rx_descriptor(bench, 0, at) = (union ixgbe_rx_desc){.read = {IOVA_BASE + RX_BUFFERS, 0}};
        wr(bench, IXGBE_RDT, (at + 1) % RING_SIZE);
        CHECK(done(bench, 0, at));
    }
    CHECK_EQ(rd(bench, IXGBE_RXDGPC), sent - lost);
    bench_destroy(bench);
}

static void test_a_smaller_packet_buffer(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_RXPBSIZE, 16 << IXGBE_RXPBSIZE_SIZE_SHIFT);
    for (unsigned i = 0; i < RING_SIZE + 100; i++) receive_udp(bench, 1514);
    CHECK(rd(bench, IXGBE_RXMPC) > 80);
    bench_destroy(bench);
}

// A sender may send more in one go than the packet buffer holds; DMA empties it meanwhile, if there are descriptors.
static void test_a_burst_is_delivered_as_it_comes(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_RXPBSIZE, 16 << IXGBE_RXPBSIZE_SIZE_SHIFT);
    make_udp(frame, 1514, 1, 2);
    for (unsigned i = 0; i < RING_SIZE - 1; i++) sim_receive(bench->device, frame, 1514);
    sim_step(bench->device);
    CHECK_EQ(rd(bench, IXGBE_RXMPC), 0);
    CHECK_EQ(rd(bench, IXGBE_RDH), RING_SIZE - 1);
    bench_destroy(bench);
}

// Frames go straight to their buffers until one has to wait, here because its tag is taken off; then all behind it
// wait.
static void test_a_burst_keeps_its_order(void) {
    enum { COUNT = RING_SIZE + 5, TAGGED = 20, NUMBER = 50 };
    static uint8_t bytes[COUNT][60];
    struct wire_frame frames[COUNT];
    struct bench *bench = bench_running();
    set_bits(bench, IXGBE_RXDCTL, IXGBE_RXDCTL_VME);
    for (unsigned i = 0; i < COUNT; i++) {
        make_udp(bytes[i], 60, 1, 2);
        if (i == TAGGED) memcpy(bytes[i] + 12, "\x81\0\0\7", 4);
        bytes[i][NUMBER] = (uint8_t)i;
        frames[i] = (struct wire_frame){bytes[i], 60};
    }
    CHECK_EQ(sim_receive_burst(bench->device, frames, COUNT, false), COUNT);
    for (unsigned i = 0; i < COUNT; i++) CHECK_EQ(i < RING_SIZE && done(bench, 0, i), i < TAGGED);
    settle(bench);
    for (unsigned i = 0; i < RING_SIZE - 1; i++) {
        CHECK_EQ(rx_descriptor(bench, 0, i)->wb.length, i == TAGGED ? 56 : 60);
        CHECK_EQ(rx_buffer(bench, 0, i)[i == TAGGED ? NUMBER - 4 : NUMBER], i);
    }
    CHECK_EQ(rd(bench, IXGBE_RDH), RING_SIZE - 1);
    refill(bench, 10);
    for (unsigned i = RING_SIZE - 1; i < COUNT; i++) CHECK_EQ(rx_buffer(bench, 0, i % RING_SIZE)[NUMBER], i);
    CHECK_EQ(rd(bench, IXGBE_RDH), COUNT % RING_SIZE);
    CHECK_EQ(rd(bench, IXGBE_GPRC), COUNT);
    CHECK_EQ(rd(bench, IXGBE_RXDGPC), COUNT);
    bench_destroy(bench);
}

// Where nobody sees the driver's accesses, it reads at once that its queue is on. So it is on, also when the
// partner's frames come before our next turn.
static void test_a_queue_is_on_as_soon_as_it_reads_so(void) {
    struct bench *bench = bench_create_seen(false);
    bring_up(bench);
    settle(bench);
    write_rx_queue(bench, 0, write_memory);
    write_memory(bench, IXGBE_RDT, RING_SIZE - 1);
    make_udp(frame, 60, 1, 2);
    CHECK_EQ(sim_receive_burst(bench->device, &(struct wire_frame){frame, 60}, 1, false), 1);
    settle(bench);
    CHECK(done(bench, 0, 0));
    CHECK_EQ(rd(bench, IXGBE_GPRC), 1);
    CHECK_EQ(rd(bench, IXGBE_QPRDC), 0);
    bench_destroy(bench);
}

// What the driver did last is found out in the port's next turn, and the burst may come before it.
static void test_a_burst_waits_for_a_queue_that_is_just_turned_on(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_RXDCTL, 0);
    while (rd(bench, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE) continue;
    wr(bench, IXGBE_RXDCTL, IXGBE_RXDCTL_ENABLE);
    sim_register_read(bench->device, IXGBE_RXDCTL);
    make_udp(frame, 60, 1, 2);
    struct wire_frame frames[2] = {{frame, 60}, {frame, 60}};
    CHECK_EQ(sim_receive_burst(bench->device, frames, 2, false), 2);
    CHECK(!done(bench, 0, 0));
    settle(bench);
    CHECK(done(bench, 0, 0) && done(bench, 0, 1));
    CHECK_EQ(rd(bench, IXGBE_QPRDC), 0);
    bench_destroy(bench);
}

static void test_drop_enable_gives_frames_up(void) {
    struct bench *bench = bench_running();
    set_bits(bench, IXGBE_SRRCTL, IXGBE_SRRCTL_DROP_EN);
    for (unsigned i = 0; i < RING_SIZE + 9; i++) receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_QPRDC), 10);
    CHECK_EQ(rd(bench, IXGBE_RXMPC), 0);
    CHECK_EQ(rd(bench, IXGBE_QPRC), RING_SIZE - 1);
    bench_destroy(bench);
}

static void test_frames_for_a_queue_that_is_off(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_RXDCTL, 0);
    while (rd(bench, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE) continue;
    wr(bench, IXGBE_REG(RQSMR, 0), 3);  // queue 0 counts in set 3
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_REG(QPRDC, 3)), 1);
    CHECK(!done(bench, 0, 0));
    bench_destroy(bench);
}

static void test_a_closed_receiver_counts_nothing(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_RXCTRL, 0);
    CHECK(!sim_receiver_open(bench->device));
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_TPR), 0);
    wr(bench, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    CHECK(sim_receiver_open(bench->device));
    receive_udp(bench, 60);
    CHECK_EQ(rd(bench, IXGBE_TPR), 1);
    set_bits(bench, IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_RX_DIS);  // and the way through the security block
    receive_udp(bench, 60);
    CHECK(!done(bench, 0, 1));
    wr(bench, IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_SECRX_DIS);
    receive_udp(bench, 60);
    CHECK(done(bench, 0, 1));
    bench_destroy(bench);
}

static void test_checksums_that_are_wrong(void) {
    struct bench *bench = bench_running();
    make_udp(frame, 61, 1, 2);
    fill_sums_v4(frame, 6);
    frame[20] ^= 0x40;
    receive(bench, frame, 61);
    frame[20] ^= 0x40;
    frame[60] ^= 1;  // the odd byte at the end
    receive(bench, frame, 61);
    frame[40] = frame[41] = 0;  // no UDP checksum at all
    receive(bench, frame, 61);
    uint32_t status[3];
    for (unsigned i = 0; i < 3; i++) status[i] = rx_descriptor(bench, 0, i)->wb.status_error;
    CHECK_EQ(rd(bench, IXGBE_XEC), 2);
    CHECK_EQ(status[0] & (IXGBE_RXD_ERROR_IPE | IXGBE_RXD_ERROR_L4E), IXGBE_RXD_ERROR_IPE);
    CHECK_EQ(status[1] & (IXGBE_RXD_ERROR_IPE | IXGBE_RXD_ERROR_L4E), IXGBE_RXD_ERROR_L4E);
    CHECK_EQ(status[2] & (IXGBE_RXD_ERROR_L4E | IXGBE_RXD_STATUS_L4I | IXGBE_RXD_STATUS_UDPCS), 0);
    bench_destroy(bench);
}

static void test_checksums_over_ipv6_and_options(void) {
    struct bench *bench = bench_running();
    memset(frame, 0, 200);
    memcpy(frame, "\x90\xe2\xba\x82\x59\x00\x02\x00\x00\x00\x00\x09\x86\xdd\x60", 15);
    uint8_t *ip = frame + 14, *tcp = ip + 48;
    ip[5] = 8 + 20 + 11, ip[6] = 60, ip[7] = 64, ip[8] = 0xfe, ip[24] = 0xfd;
    ip[40] = 6;  // destination options, eight bytes
    tcp[12] = 0x50, tcp[20] = 0x77;
    uint32_t sum = slow_sum(ip + 8, 32, 6 + 31);
    put_sum(tcp + 16, slow_sum(tcp, 31, sum));
    receive(bench, frame, 14 + 40 + 8 + 31);
    union ixgbe_rx_desc *descriptor = rx_descriptor(bench, 0, 0);
    CHECK_EQ(descriptor->wb.info, IXGBE_RXD_INFO_IPV6 | IXGBE_RXD_INFO_IPV6_EXTENSION | IXGBE_RXD_INFO_TCP);
    CHECK_EQ(descriptor->wb.status_error, IXGBE_RXD_STATUS_DD | IXGBE_RXD_STATUS_EOP | IXGBE_RXD_STATUS_L4I);
    tcp[20] ^= 1;
    receive(bench, frame, 14 + 40 + 8 + 31);
    CHECK(rx_descriptor(bench, 0, 1)->wb.status_error & IXGBE_RXD_ERROR_L4E);

    // Behind a routing header the packet goes on, and the sum is over an address that is elsewhere.
    ip[6] = 43;
    receive(bench, frame, 14 + 40 + 8 + 31);
    CHECK(rx_descriptor(bench, 0, 2)->wb.status_error & IXGBE_RXD_STATUS_L4I);  // one without addresses
    ip[41] = 2, ip[5] = 24 + 20 + 11;
    memmove(tcp + 16, tcp, 31);
    receive(bench, frame, 14 + 40 + 24 + 31);
    CHECK(!(rx_descriptor(bench, 0, 3)->wb.status_error & (IXGBE_RXD_STATUS_L4I | IXGBE_RXD_ERROR_L4E)));
    bench_destroy(bench);
}

static void test_headers_that_lie(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < 20; i++) {
        make_udp(frame, 60, 1, 2);
        fill_sums_v4(frame, 6);
        frame[14 + i] = 0xff;
        receive(bench, frame, 60);
        CHECK(done(bench, 0, i));
    }
    memset(frame + 12, 0, 48);
    frame[12] = 0x86, frame[13] = 0xdd, frame[14] = 0x60, frame[19] = 6;  // extension headers cut off
    receive(bench, frame, 60);
    CHECK(done(bench, 0, 20));
    frame[12] = 0x81, frame[13] = 0, frame[16] = 8;
    receive(bench, frame, 60);
    CHECK(done(bench, 0, 21));
    bench_destroy(bench);
}

static void test_sctp_checksum(void) {
    struct bench *bench = bench_running();
    make_udp(frame, 14 + 20 + 32, 0, 0);
    frame[23] = 132;
    uint8_t *ip = frame + 14, *sctp = frame + 34;
    ip[10] = ip[11] = 0;
    put_sum(ip + 10, slow_sum(ip, 20, 0));
    memset(sctp, 0, 32);
    memcpy(sctp + 8, "\xaa\x36\x91\x8a", 4);  // CRC-32C of 32 zero bytes, RFC 3720 B.4
    receive(bench, frame, 66);
    CHECK_EQ(rx_descriptor(bench, 0, 0)->wb.info, IXGBE_RXD_INFO_IPV4 | IXGBE_RXD_INFO_SCTP);
    CHECK(!(rx_descriptor(bench, 0, 0)->wb.status_error & IXGBE_RXD_ERROR_L4E));
    CHECK(rx_descriptor(bench, 0, 0)->wb.status_error & IXGBE_RXD_STATUS_L4I);
    sctp[20] = 1;
    receive(bench, frame, 66);
    CHECK(rx_descriptor(bench, 0, 1)->wb.status_error & IXGBE_RXD_ERROR_L4E);
    bench_destroy(bench);
}

// The verification suite that was published with RSS: key, flows, hashes with and without ports.
static const uint8_t rss_key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                    0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                    0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct {
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port;
    bool v6;
    uint32_t ip_hash, tcp_hash;
} flows[] = {
    {{66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, false, 0x323e8fc2, 0x51ccc178},
    {{199, 92, 111, 2}, {65, 69, 140, 83}, 14230, 4739, false, 0xd718262a, 0xc626b0ea},
    {{24, 19, 198, 95}, {12, 22, 207, 184}, 12898, 38024, false, 0xd2d0a5de, 0x5c2b394a},
    {{38, 27, 205, 30}, {209, 142, 163, 6}, 48228, 2217, false, 0x82989176, 0xafc7327f},
    {{153, 39, 163, 191}, {202, 188, 127, 2}, 44251, 1303, false, 0x5d1809c5, 0x10e828a2},
    {{0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, [15] = 7},
     {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, [15] = 1},
     2794,
     1766,
     true,
     0x2cc18cd5,
     0x40207d3d},
    {{0x3f, 0xfe, 0x05, 0x01, 0, 8, 0, 0, 2, 0x60, 0x97, 0xff, 0xfe, 0x40, 0xef, 0xab},
     {0xff, 0x02, [15] = 1},
     14230,
     4739,
     true,
     0x0f0c461c,
     0xdde51bbf},
    {{0x3f, 0xfe, 0x19, 0, 0x45, 0x45, 0, 3, 2, 0, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf},
     {0xfe, 0x80, [8] = 2, 0, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf},
     44251,
     38024,
     true,
     0x4b61e985,
     0x02d1feef},
};

static uint32_t make_flow(unsigned n) {
    memset(frame, 0, 100);
    memcpy(frame, "\x90\xe2\xba\x82\x59", 5);
    uint32_t address = flows[n].v6 ? 16 : 4, ip_header = flows[n].v6 ? 40 : 20;
    uint8_t *ip = frame + 14, *tcp = ip + ip_header;
    if (flows[n].v6) {
        memcpy(frame + 12, "\x86\xdd\x60\0\0\0\0\x14\x06", 9);
        memcpy(ip + 8, flows[n].source, address);
        memcpy(ip + 24, flows[n].destination, address);
    } else {
        memcpy(frame + 12, "\x08\x00\x45\0\0\x28\0\0\0\0\x40\x06", 12);
        memcpy(ip + 12, flows[n].source, address);
        memcpy(ip + 16, flows[n].destination, address);
    }
    tcp[0] = (uint8_t)(flows[n].source_port >> 8), tcp[1] = (uint8_t)flows[n].source_port;
    tcp[2] = (uint8_t)(flows[n].destination_port >> 8), tcp[3] = (uint8_t)flows[n].destination_port;
    return flows[n].v6 ? 74 : 60;
}

static void program_rss(struct bench *bench, uint32_t fields) {
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t word;
        memcpy(&word, rss_key + 4 * i, 4);
        wr(bench, IXGBE_REG(RSSRK, i), word);
    }
    wr(bench, IXGBE_RXCSUM, IXGBE_RXCSUM_PCSD);
    wr(bench, IXGBE_MRQC, IXGBE_MRQE_RSS | fields);
}

static void test_rss_hashes_are_the_published_ones(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < sizeof flows / sizeof *flows; i++) {
        union ixgbe_rx_desc *descriptor = rx_descriptor(bench, 0, 2 * i);
        program_rss(bench, IXGBE_MRQC_RSS_IPV4 | IXGBE_MRQC_RSS_IPV6);
        receive(bench, frame, make_flow(i));
        CHECK_EQ(descriptor->wb.rss_hash, flows[i].ip_hash);
        CHECK_EQ(descriptor->wb.info & 15, flows[i].v6 ? IXGBE_RSS_TYPE_IPV6 : IXGBE_RSS_TYPE_IPV4);
        program_rss(bench,
                    IXGBE_MRQC_RSS_IPV4 | IXGBE_MRQC_RSS_IPV6 | IXGBE_MRQC_RSS_TCPIPV4 | IXGBE_MRQC_RSS_TCPIPV6);
        receive(bench, frame, make_flow(i));
        CHECK_EQ(descriptor[1].wb.rss_hash, flows[i].tcp_hash);
        CHECK_EQ(descriptor[1].wb.info & 15, flows[i].v6 ? IXGBE_RSS_TYPE_IPV6_TCP : IXGBE_RSS_TYPE_IPV4_TCP);
    }
    bench_destroy(bench);
}

static void test_rss_picks_queues_from_the_table(void) {
    struct bench *bench = bench_running();
    for (unsigned queue = 1; queue < 4; queue++) start_rx_queue(bench, queue);
    program_rss(bench, IXGBE_MRQC_RSS_TCPIPV4 | IXGBE_MRQC_RSS_UDPIPV4);
    for (uint32_t i = 0; i < 32; i++) wr(bench, IXGBE_REG(RETA, i), 0x03020100);
    receive(bench, frame, make_flow(0));
    CHECK(done(bench, flows[0].tcp_hash % 4, 0));
    unsigned spread[4] = {0};
    for (unsigned port = 0; port < 200; port++) {
        make_udp(frame, 60, (uint16_t)(1000 + port), 53);
        receive(bench, frame, 60);
    }
    for (unsigned queue = 0; queue < 4; queue++) {
        while (spread[queue] < RING_SIZE && done(bench, queue, spread[queue])) spread[queue]++;
        CHECK(spread[queue] > 30);
    }
    CHECK_EQ(spread[0] + spread[1] + spread[2] + spread[3], 201);
    memset(frame + 12, 0, 40);  // no IP: no hash, queue 0
    receive(bench, frame, 60);
    CHECK_EQ(rx_descriptor(bench, 0, spread[0])->wb.info, 0);
    bench_destroy(bench);
}

static void test_high_queues_sit_in_the_second_block(void) {
    struct bench *bench = bench_running();
    start_rx_queue(bench, 127);
    CHECK(rd(bench, ixgbe_rx_queue_reg(IXGBE_RXDCTL, 127)) & IXGBE_RXDCTL_ENABLE);
    CHECK(rd(bench, IXGBE_REG(RXDCTL_HIGH, 63)) & IXGBE_RXDCTL_ENABLE);
    CHECK(!(rd(bench, IXGBE_REG(RXDCTL, 63)) & IXGBE_RXDCTL_ENABLE));
    bench_destroy(bench);
}

static bool master_abort(struct bench *bench) {
    uint16_t status;
    sim_config_read(bench->device, 6, &status, 2);
    return status & 0x2000;
}

// Writes are posted, nobody answers them: the device takes the packet for delivered.
static void test_a_refused_write_goes_unnoticed(void) {
    struct bench *bench = bench_running();
    hush(true);
    rx_descriptor(bench, 0, 0)->read.packet_iova = 0x1000;
    receive_udp(bench, 60);
    hush(false);
    CHECK(done(bench, 0, 0));
    CHECK_EQ(rx_buffer(bench, 0, 0)[0], 0);
    CHECK(!(rd(bench, IXGBE_EICR) & IXGBE_EICR_PCI_EXCEPTION));
    CHECK(!master_abort(bench));
    receive_udp(bench, 60);
    CHECK(done(bench, 0, 1));
    bench_destroy(bench);
}

// A read is answered, if only with a refusal.
static void test_a_refused_read_halts_the_queue(void) {
    struct bench *bench = bench_running();
    start_rx_queue(bench, 1);
    CHECK_EQ(iommu_unmap(bench->iommu, IOVA_BASE + RX_RING, 0x1000), 0x1000);
    hush(true);
    receive_udp(bench, 60);
    hush(false);
    CHECK(!done(bench, 0, 0));
    CHECK_EQ(rd(bench, IXGBE_QPRDC), 1);
    CHECK(rd(bench, IXGBE_EICR) & IXGBE_EICR_PCI_EXCEPTION);
    CHECK(master_abort(bench));
    iommu_map(bench->iommu, IOVA_BASE + RX_RING, 0x1000, bench->memory + RX_RING, IOMMU_READ | IOMMU_WRITE);
    receive_udp(bench, 60);
    CHECK(!done(bench, 0, 0));  // the queue is halted,
    wr(bench, IXGBE_REG(RETA, 0), 0x01010101);
    for (uint32_t i = 0; i < 32; i++) wr(bench, IXGBE_REG(RETA, i), 0x01010101);
    program_rss(bench, IXGBE_MRQC_RSS_UDPIPV4);
    receive_udp(bench, 60);
    CHECK(done(bench, 1, 0));  // the others are not,
    wr(bench, IXGBE_MRQC, 0);
    wr(bench, IXGBE_RXDCTL, 0);
    while (rd(bench, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE) continue;
    start_rx_queue(bench, 0);
    receive_udp(bench, 60);
    CHECK(done(bench, 0, 0));  // and off and on again cures it
    bench_destroy(bench);
}

static void test_a_buffer_across_two_mappings(void) {
    struct bench *bench = bench_running();
    uint64_t middle = IOVA_BASE + RX_BUFFERS + 100;
    iommu_unmap(bench->iommu, middle, 4096);
    hush(true);
    receive_udp(bench, 300);
    hush(false);
    CHECK_EQ(rx_buffer(bench, 0, 0)[0], 0);  // not even the part that is mapped
    iommu_map(bench->iommu, middle, 4096, bench->memory + 0x80000, IOMMU_READ | IOMMU_WRITE);
    wr(bench, IXGBE_RXDCTL, 0);
    while (rd(bench, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE) continue;
    start_rx_queue(bench, 0);
    receive_udp(bench, 300);
    CHECK(memcmp(rx_buffer(bench, 0, 0), frame, 100) == 0);
    CHECK(memcmp(bench->memory + 0x80000, frame + 100, 200) == 0);
    bench_destroy(bench);
}

static void agree_to_send_pause(struct bench *bench, uint32_t quanta) {
    wr(bench, IXGBE_FCCFG, 1 << IXGBE_FCCFG_TFCE_SHIFT);
    wr(bench, IXGBE_FCRTH, IXGBE_FCRTH_FCEN | 0x8000);
    wr(bench, IXGBE_FCRTL, IXGBE_FCRTL_XONE | 0x4000);
    wr(bench, IXGBE_FCTTV, quanta);
}

static void test_pause_between_the_watermarks(void) {
    struct bench *bench = bench_running();
    agree_to_send_pause(bench, 0xffff);
    for (unsigned i = 0; i < RING_SIZE - 1; i++) receive_udp(bench, 1514);
    CHECK(!sim_pause_wanted(bench->device));
    unsigned held = 0;
    while (held < 100 && !sim_pause_wanted(bench->device)) receive_udp(bench, 1514), held++;
    CHECK(held * 1514 < 0x8800 && held * 1514 > 0x7800);
    CHECK_EQ(rd(bench, IXGBE_LXOFFTXC), 1);
    CHECK_EQ(rd(bench, IXGBE_GPTC), 1);  // it is a packet like others
    CHECK_EQ(rd(bench, IXGBE_TPT), 1);
    CHECK_EQ(rd(bench, IXGBE_MPTC), 1);
    CHECK_EQ(rd(bench, IXGBE_PTC64), 1);
    CHECK_EQ(rd(bench, IXGBE_GOTCL), 64);
    CHECK_EQ(rd(bench, IXGBE_TXDGPC), 0);  // but not one that came from the host
    refill(bench, held / 4);
    CHECK(sim_pause_wanted(bench->device));
    refill(bench, held);
    CHECK(!sim_pause_wanted(bench->device));
    CHECK_EQ(rd(bench, IXGBE_LXONTXC), 1);
    CHECK(!sim_pause_honoured(bench->device));
    wr(bench, IXGBE_MFLCN, IXGBE_MFLCN_RFCE);
    CHECK(sim_pause_honoured(bench->device));
    bench_destroy(bench);
}

// The partner waits for as long as it was asked to, 512 bits a quantum, and is asked again in time if software wants
// that. Linux's driver tells a partner that pauses from a transmitter that hangs by these frames.
static void test_pause_ends_and_is_renewed(void) {
    struct bench *bench = bench_running();
    agree_to_send_pause(bench, 1000);  // 51.2 us
    for (unsigned i = 0; i < RING_SIZE + 60; i++) receive_udp(bench, 1514);
    CHECK(sim_pause_wanted(bench->device));
    pass_us(bench, 40);
    CHECK(sim_pause_wanted(bench->device));
    pass_us(bench, 20);
    CHECK(!sim_pause_wanted(bench->device));
    CHECK_EQ(rd(bench, IXGBE_LXOFFTXC), 1);
    refill(bench, RING_SIZE - 4);
    CHECK_EQ(rd(bench, IXGBE_LXONTXC), 1);

    wr(bench, IXGBE_FCRTV, 500);
    wr(bench, IXGBE_FCRTL, 0x4000);
    for (unsigned i = 0; i < 60; i++) receive_udp(bench, 1514);
    for (unsigned i = 0; i < 100; i++) {
        CHECK(sim_pause_wanted(bench->device));
        pass_us(bench, 10);
    }
    uint32_t renewed = rd(bench, IXGBE_LXOFFTXC);
    CHECK(renewed >= 38 && renewed <= 41);
    refill(bench, RING_SIZE - 6);
    CHECK(sim_pause_wanted(bench->device));  // no XON was asked for
    pass_us(bench, 60);
    CHECK(!sim_pause_wanted(bench->device));
    CHECK_EQ(rd(bench, IXGBE_LXONTXC), 0);

    agree_to_send_pause(bench, 0);  // a time of zero asks for nothing
    for (unsigned i = 0; i < 60; i++) receive_udp(bench, 1514);
    CHECK(!sim_pause_wanted(bench->device));
    bench_destroy(bench);
}

static void test_pause_frames_are_counted(void) {
    struct bench *bench = bench_running();
    const struct sim_pauses heard = {.xon = 2, .xoff = 3};
    sim_pauses_received(bench->device, heard);
    CHECK_EQ(rd(bench, IXGBE_TPR), 0);  // for one that does not obey them they are nothing special
    wr(bench, IXGBE_MFLCN, IXGBE_MFLCN_RFCE | IXGBE_MFLCN_DPF);
    sim_pauses_received(bench->device, heard);
    CHECK_EQ(rd(bench, IXGBE_LXONRXCNT), 2);
    CHECK_EQ(rd(bench, IXGBE_LXOFFRXCNT), 3);
    CHECK_EQ(rd(bench, IXGBE_TPR), 5);
    CHECK_EQ(rd(bench, IXGBE_TORL), 5 * 64);
    CHECK_EQ(rd(bench, IXGBE_GPRC), 0);
    CHECK_EQ(rd(bench, IXGBE_MPRC), 0);
    CHECK_EQ(rd(bench, IXGBE_PRC64), 0);
    bench_destroy(bench);
}

static void test_a_polite_partner_pauses_within_a_burst(void) {
    enum { COUNT = 200 };
    struct wire_frame frames[COUNT];
    struct bench *bench = bench_running();
    agree_to_send_pause(bench, 0xffff);
    make_udp(frame, 1514, 1, 2);
    for (unsigned i = 0; i < COUNT; i++) frames[i] = (struct wire_frame){frame, 1514};
    unsigned taken = sim_receive_burst(bench->device, frames, COUNT, true);
    CHECK(taken > RING_SIZE && taken < COUNT && sim_pause_wanted(bench->device));
    CHECK_EQ(sim_receive_burst(bench->device, frames, COUNT, true), 0);
    CHECK_EQ(rd(bench, IXGBE_GPRC), taken);
    CHECK_EQ(sim_receive_burst(bench->device, frames, COUNT, false), COUNT);
    CHECK_EQ(rd(bench, IXGBE_GPRC), COUNT);
    bench_destroy(bench);
}

static void test_no_descriptors_by_fault(void) {
    struct bench *bench = bench_running();
    sim_inject(bench->device, "no-rx-descriptors");
    receive_udp(bench, 60);
    CHECK(!done(bench, 0, 0));
    bench_destroy(bench);
}

int main(void) {
    test_a_frame_arrives();
    test_the_ring_goes_round();
    test_counters();
    test_dma_counters_follow_their_queues();
    test_totals_are_never_behind();
    test_byte_counters_carry_into_the_high_half();
    test_wrong_sizes_are_dropped_and_counted();
    test_jumbo_frames_fill_several_buffers();
    test_addresses();
    test_vlan_tags();
    hush(true);
    test_crc_is_kept_if_so_wished();
    hush(false);
    test_legacy_descriptors();
    test_without_descriptors_frames_wait();
    test_a_full_packet_buffer_drops_at_its_entry();
    test_a_smaller_packet_buffer();
    test_a_burst_is_delivered_as_it_comes();
    test_a_burst_keeps_its_order();
    test_a_queue_is_on_as_soon_as_it_reads_so();
    test_a_burst_waits_for_a_queue_that_is_just_turned_on();
    test_drop_enable_gives_frames_up();
    test_frames_for_a_queue_that_is_off();
    test_a_closed_receiver_counts_nothing();
    test_checksums_that_are_wrong();
    test_checksums_over_ipv6_and_options();
    test_headers_that_lie();
    test_sctp_checksum();
    test_rss_hashes_are_the_published_ones();
    test_rss_picks_queues_from_the_table();
    test_high_queues_sit_in_the_second_block();
    test_a_refused_write_goes_unnoticed();
    test_a_refused_read_halts_the_queue();
    test_a_buffer_across_two_mappings();
    test_pause_between_the_watermarks();
    test_pause_ends_and_is_renewed();
    test_pause_frames_are_counted();
    test_a_polite_partner_pauses_within_a_burst();
    test_no_descriptors_by_fault();
    return test_summary();
}
