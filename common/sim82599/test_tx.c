// Sending: what leaves on the wire, and what the descriptors say afterwards.
#include "test_front.h"

static struct sent_frame *sent(struct bench *bench, unsigned n) { return &bench->sent[n % WIRE_FRAMES]; }
static uint32_t tx_status(struct bench *bench, unsigned n) { return tx_descriptor(bench, 0, n)->wb.status; }

static void put_context(struct bench *bench, unsigned index, uint32_t lengths, uint32_t command,
                        uint32_t segmentation) {
    struct ixgbe_tx_context_desc context = {
        .header_lengths = lengths,
        .command = command | IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_CONTEXT,
        .segmentation = segmentation,
    };
    memcpy(tx_descriptor(bench, 0, index), &context, sizeof context);
}

enum { IPV4_LENGTHS = 14 << 9 | 20 };

static void test_a_frame_leaves(void) {
    struct bench *bench = bench_running();
    make_udp(tx_buffer(bench, 0), 100, 1, 2);
    put_data(bench, 0, 100, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 1);
    CHECK_EQ(sent(bench, 0)->length, 100);
    CHECK(memcmp(sent(bench, 0)->bytes, tx_buffer(bench, 0), 100) == 0);
    CHECK_EQ(tx_status(bench, 0), IXGBE_TXD_STATUS_DD);
    CHECK_EQ(rd(bench, IXGBE_TDH), 1);
    bench_destroy(bench);
}

static void test_only_who_asks_is_told(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < 8; i++) {
        make_udp(tx_buffer(bench, i), 60, 1, 2);
        put_data(bench, i, 60, IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS | (i == 7 ? IXGBE_TXD_CMD_RS : 0), 0);
    }
    wr(bench, IXGBE_TDT, 8);
    CHECK_EQ(bench->sent_count, 8);
    for (unsigned i = 0; i < 8; i++) CHECK_EQ(tx_status(bench, i) & IXGBE_TXD_STATUS_DD, i == 7);
    bench_destroy(bench);
}

static void test_legacy_descriptor(void) {
    struct bench *bench = bench_running();
    make_udp(tx_buffer(bench, 0), 80, 1, 2);
    struct ixgbe_tx_legacy_desc legacy = {
        .iova = IOVA_BASE + TX_BUFFERS,
        .length = 80,
        .command = (IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_RS | IXGBE_TXD_CMD_IC) >> 24,
        .checksum_start = 34,
        .checksum_offset = 40,
        .vlan = 0x1234,
    };
    memcpy(tx_descriptor(bench, 0, 0), &legacy, sizeof legacy);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(sent(bench, 0)->length, 80);
    CHECK_EQ(slow_sum(sent(bench, 0)->bytes + 34, 46, 0), 0xffff);
    memcpy(&legacy, tx_descriptor(bench, 0, 0), sizeof legacy);
    CHECK_EQ(legacy.status, IXGBE_TXD_STATUS_DD);
    CHECK_EQ(legacy.vlan, 0x1234);
    bench_destroy(bench);
}

static void test_a_packet_in_pieces(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < 200; i++) tx_buffer(bench, i / 70)[i % 70] = (uint8_t)i;
    put_data(bench, 0, 70, IXGBE_TXD_CMD_IFCS, 0);
    put_data(bench, 1, 70, IXGBE_TXD_CMD_IFCS, 0);
    put_data(bench, 2, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, 2);
    CHECK_EQ(bench->sent_count, 0);  // its end is not there yet
    wr(bench, IXGBE_TDT, 3);
    CHECK_EQ(bench->sent_count, 1);
    CHECK_EQ(sent(bench, 0)->length, 200);
    for (unsigned i = 0; i < 200; i++) CHECK_EQ(sent(bench, 0)->bytes[i], (uint8_t)i);
    CHECK_EQ(tx_status(bench, 2), IXGBE_TXD_STATUS_DD);
    CHECK_EQ(rd(bench, IXGBE_GPTC), 1);
    bench_destroy(bench);
}

static void test_a_packet_without_end(void) {
    struct bench *bench = bench_running();
    for (unsigned i = 0; i < RING_SIZE; i++) put_data(bench, i, 60, IXGBE_TXD_CMD_IFCS, 0);
    wr(bench, IXGBE_TDT, RING_SIZE - 1);
    CHECK_EQ(bench->sent_count, 0);
    CHECK_EQ(rd(bench, IXGBE_TDH), RING_SIZE - 1);  // given up
    bench_destroy(bench);
}

static void test_short_frames_are_padded(void) {
    struct bench *bench = bench_running();
    memset(tx_buffer(bench, 0), 0xaa, 100);
    put_data(bench, 0, 20, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(sent(bench, 0)->length, 60);
    CHECK_EQ(sent(bench, 0)->bytes[19], 0xaa);
    CHECK_EQ(sent(bench, 0)->bytes[20], 0);
    CHECK_EQ(rd(bench, IXGBE_PTC64), 1);
    wr(bench, IXGBE_HLREG0, rd(bench, IXGBE_HLREG0) & ~(uint32_t)IXGBE_HLREG0_TXPADEN);
    put_data(bench, 1, 20, WHOLE, 0);
    wr(bench, IXGBE_TDT, 2);
    CHECK_EQ(sent(bench, 1)->length, 20);
    bench_destroy(bench);
}

static void test_without_ifcs_the_crc_must_be_there(void) {
    struct bench *bench = bench_running();
    memset(tx_buffer(bench, 0), 0, 64);
    memcpy(tx_buffer(bench, 0) + 60, "\x08\x89\x12\x04", 4);  // CRC-32 of 60 zero bytes
    put_data(bench, 0, 64, IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_RS, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 1);
    CHECK_EQ(sent(bench, 0)->length, 60);
    memset(tx_buffer(bench, 1), 1, 64);
    put_data(bench, 1, 64, IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_RS, 0);
    wr(bench, IXGBE_TDT, 2);
    CHECK_EQ(bench->sent_count, 1);
    CHECK_EQ(tx_status(bench, 1), IXGBE_TXD_STATUS_DD);
    bench_destroy(bench);
}

static void test_checksums_are_inserted(void) {
    struct bench *bench = bench_running();
    uint8_t *frame = tx_buffer(bench, 1), expected[101];
    make_udp(frame, 101, 53, 1024);
    memcpy(expected, frame, 101);
    fill_sums_v4(expected, 6);
    uint32_t pseudo = slow_sum(NULL, 0, pseudo_v4(frame + 14, 17, 67));
    frame[40] = (uint8_t)(pseudo >> 8), frame[41] = (uint8_t)pseudo;
    put_context(bench, 0, IPV4_LENGTHS, IXGBE_TXC_IPV4 | IXGBE_TXC_L4T_UDP, 0);
    put_data(bench, 1, 101, WHOLE, IXGBE_TXD_OPT_IXSM | IXGBE_TXD_OPT_TXSM | IXGBE_TXD_OPT_CC);
    wr(bench, IXGBE_TDT, 2);
    CHECK_EQ(sent(bench, 0)->length, 101);
    CHECK(memcmp(sent(bench, 0)->bytes, expected, 101) == 0);
    CHECK_EQ(frame[24] << 8 | frame[25], 0);  // in the driver's memory nothing changes
    bench_destroy(bench);
}

// The device adds up the whole IP header as it finds it, so the driver has to clear the checksum.
static void test_what_stands_in_the_ip_checksum_counts(void) {
    struct bench *bench = bench_running();
    uint8_t *frame = tx_buffer(bench, 1);
    make_udp(frame, 60, 53, 1024);
    frame[24] = 0x55;
    put_context(bench, 0, IPV4_LENGTHS, IXGBE_TXC_IPV4, 0);
    put_data(bench, 1, 60, WHOLE, IXGBE_TXD_OPT_IXSM);
    wr(bench, IXGBE_TDT, 2);
    const uint8_t *sent_sum = sent(bench, 0)->bytes + 24;
    CHECK_EQ(sent_sum[0] << 8 | sent_sum[1], ~slow_sum(frame + 14, 20, 0) & 0xffff);
    bench_destroy(bench);
}

static void test_sctp_checksum_is_inserted(void) {
    struct bench *bench = bench_running();
    uint8_t *frame = tx_buffer(bench, 1);
    make_udp(frame, 66, 0, 0);
    memset(frame + 34, 0, 32);
    put_context(bench, 0, IPV4_LENGTHS, IXGBE_TXC_IPV4 | IXGBE_TXC_L4T_SCTP, 0);
    put_data(bench, 1, 66, WHOLE, IXGBE_TXD_OPT_TXSM);
    wr(bench, IXGBE_TDT, 2);
    CHECK(memcmp(sent(bench, 0)->bytes + 42, "\xaa\x36\x91\x8a", 4) == 0);  // RFC 3720 B.4
    bench_destroy(bench);
}

static void test_vlan_tag_is_inserted(void) {
    struct bench *bench = bench_running();
    make_udp(tx_buffer(bench, 1), 60, 1, 2);
    put_context(bench, 0, 0x6abcu << IXGBE_TXC_VLAN_SHIFT, 0, 1 << IXGBE_TXC_IDX_SHIFT);
    put_data(bench, 1, 60, WHOLE | IXGBE_TXD_CMD_VLE, 1 << IXGBE_TXD_OPT_IDX_SHIFT);
    wr(bench, IXGBE_TDT, 2);
    const uint8_t *bytes = sent(bench, 0)->bytes;
    CHECK_EQ(sent(bench, 0)->length, 64);
    CHECK(memcmp(bytes + 12, "\x81\x00\x6a\xbc", 4) == 0);
    CHECK(memcmp(bytes, tx_buffer(bench, 1), 12) == 0);
    CHECK(memcmp(bytes + 16, tx_buffer(bench, 1) + 12, 48) == 0);
    bench_destroy(bench);
}

// A TCP packet with more payload than goes into a frame, the way a driver prepares it: no length in the pseudo
// header.
static void make_tso(uint8_t *packet, bool v6, uint32_t payload) {
    uint32_t ip_header = v6 ? 40 : 20;
    uint8_t *ip = packet + 14, *tcp = ip + ip_header;
    memset(packet, 0, 14 + ip_header + 20);
    memcpy(packet, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12);
    if (v6) {
        memcpy(packet + 12, "\x86\xdd\x60\0\0\0\0\0\x06\x40", 10);
        ip[8] = 0xfd, ip[24] = 0xfe;
    } else {
        memcpy(packet + 12, "\x08\x00\x45\0\0\0\xff\xff\0\0\x40\x06\0\0\x0a\0\0\x01\x0a\0\0\x02", 22);
    }
    memcpy(tcp, "\x12\x34\x00\x50\xff\xff\xff\x00\0\0\0\x01\x50\x99", 14);  // CWR, ACK, PSH, FIN; the sequence wraps
    uint32_t pseudo = slow_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, 6);
    tcp[16] = (uint8_t)(pseudo >> 8), tcp[17] = (uint8_t)pseudo;
    for (uint32_t i = 0; i < payload; i++) tcp[20 + i] = (uint8_t)(i * 7);
}

static void check_segment(struct bench *bench, bool v6, unsigned n, uint32_t offset, uint32_t payload, bool last) {
    const uint8_t *bytes = sent(bench, n)->bytes, *ip = bytes + 14, *tcp = ip + (v6 ? 40 : 20);
    uint32_t l4 = 20 + payload;
    CHECK_EQ(sent(bench, n)->length, (uint32_t)(tcp - bytes) + l4);
    if (v6) {
        CHECK_EQ(ip[4] << 8 | ip[5], l4);
        CHECK_EQ(slow_sum(tcp, l4, slow_sum(ip + 8, 32, 6 + l4)), 0xffff);
    } else {
        CHECK_EQ(ip[2] << 8 | ip[3], 20 + l4);
        CHECK_EQ(ip[4] << 8 | ip[5], (0xffff + n) & 0xffff);
        CHECK_EQ(slow_sum(ip, 20, 0), 0xffff);
        CHECK_EQ(slow_sum(tcp, l4, pseudo_v4(ip, 6, l4)), 0xffff);
    }
    uint32_t sequence = (uint32_t)tcp[4] << 24 | (uint32_t)tcp[5] << 16 | (uint32_t)tcp[6] << 8 | tcp[7];
    CHECK_EQ(sequence, (uint32_t)(0xffffff00 + offset));
    CHECK_EQ(tcp[13], 0x10 | (last ? 0x09 : 0x80));
    bool right = true;
    for (uint32_t i = 0; i < payload; i++) right = right && tcp[20 + i] == (uint8_t)((offset + i) * 7);
    CHECK(right);
}

static void segment_with(struct bench *bench, bool v6, uint32_t payload, uint32_t mss, uint32_t options) {
    uint32_t header = 14 + (v6 ? 40 : 20) + 20;
    make_tso(tx_buffer(bench, 1), v6, payload);
    put_context(bench, 0, 14 << 9 | (v6 ? 40 : 20), (v6 ? 0 : IXGBE_TXC_IPV4) | IXGBE_TXC_L4T_TCP,
                mss << IXGBE_TXC_MSS_SHIFT | 20 << IXGBE_TXC_L4LEN_SHIFT);
    *tx_descriptor(bench, 0, 1) = (union ixgbe_tx_desc){
        .read = {
            IOVA_BASE + TX_BUFFERS + SIM_MAX_FRAME,
            (header + payload) | IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_TSE | WHOLE,
            payload << IXGBE_TXD_OPT_PAYLEN_SHIFT | options,
        }};
    wr(bench, IXGBE_TDT, 2);
}

static void segment(struct bench *bench, bool v6, uint32_t payload, uint32_t mss) {
    segment_with(bench, v6, payload, mss, IXGBE_TXD_OPT_TXSM | (v6 ? 0 : IXGBE_TXD_OPT_IXSM));
}

static void test_segmentation(void) {
    for (int v6 = 0; v6 < 2; v6++) {
        struct bench *bench = bench_running();
        segment(bench, v6, 5000, 1460);
        CHECK_EQ(bench->sent_count, 4);
        for (unsigned n = 0; n < 4; n++)
            check_segment(bench, v6, n, n * 1460, n < 3 ? 1460 : 5000 - 3 * 1460, n == 3);
        CHECK_EQ(tx_status(bench, 1), IXGBE_TXD_STATUS_DD);
        CHECK_EQ(rd(bench, IXGBE_GPTC), 4);
        bench_destroy(bench);
    }
}

static void test_segmentation_goes_on_when_the_wire_is_free(void) {
    struct bench *bench = bench_running();
    bench->accept = 2;
    segment(bench, false, 5000, 1460);
    CHECK_EQ(bench->sent_count, 2);
    CHECK_EQ(rd(bench, IXGBE_TDH), 1);
    CHECK(!(tx_status(bench, 1) == IXGBE_TXD_STATUS_DD));
    bench->accept = 100;
    settle(bench);
    CHECK_EQ(bench->sent_count, 4);
    for (unsigned n = 0; n < 4; n++) check_segment(bench, false, n, n * 1460, n < 3 ? 1460 : 5000 - 3 * 1460, n == 3);
    CHECK_EQ(rd(bench, IXGBE_TDH), 2);
    bench_destroy(bench);
}

// Which flags a segment keeps, and of the reserved bits before them, is software's to say.
static void test_segments_keep_the_flags_of_the_registers(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_DTXTCPFLGL, 0x0010 << IXGBE_DTXTCPFLGL_TCP_FLG_MID_SEG_SHIFT | 0x0ff);
    wr(bench, IXGBE_DTXTCPFLGH, 0x0089);
    segment(bench, false, 4000, 1460);
    CHECK_EQ(bench->sent_count, 3);
    CHECK_EQ(sent(bench, 0)->bytes[14 + 20 + 13], 0x99);
    CHECK_EQ(sent(bench, 1)->bytes[14 + 20 + 13], 0x10);
    CHECK_EQ(sent(bench, 2)->bytes[14 + 20 + 13], 0x89);
    bench_destroy(bench);
}

// TSE alone inserts no checksums.
static void test_segments_get_the_checksums_that_are_asked_for(void) {
    struct bench *bench = bench_running();
    hush(true);
    segment_with(bench, false, 4000, 1460, IXGBE_TXD_OPT_TXSM);
    hush(false);
    const uint8_t *ip = sent(bench, 0)->bytes + 14;
    CHECK_EQ(bench->sent_count, 3);
    CHECK_EQ(ip[10] << 8 | ip[11], 0);
    CHECK_EQ(slow_sum(ip + 20, 1480, pseudo_v4(ip, 6, 1480)), 0xffff);
    bench_destroy(bench);
}

// A packet that fits into one frame is the last, so its FIN is not lost.
static void test_one_segment_is_the_last(void) {
    struct bench *bench = bench_running();
    segment(bench, false, 1000, 1460);
    CHECK_EQ(bench->sent_count, 1);
    check_segment(bench, false, 0, 0, 1000, true);
    bench_destroy(bench);
}

static void test_many_small_segments(void) {
    struct bench *bench = bench_running();
    segment(bench, false, 9000, 30);
    settle(bench);
    CHECK_EQ(bench->sent_count, 300);
    CHECK_EQ(rd(bench, IXGBE_GPTC), 300);
    CHECK_EQ(tx_status(bench, 1), IXGBE_TXD_STATUS_DD);
    bench_destroy(bench);
}

static void test_segmentation_that_makes_no_sense(void) {
    struct bench *bench = bench_running();
    segment(bench, false, 5000, 0);
    CHECK_EQ(bench->sent_count, 0);
    CHECK_EQ(rd(bench, IXGBE_TDH), 2);
    bench_destroy(bench);
}

static void test_a_busy_wire_loses_nothing(void) {
    struct bench *bench = bench_running();
    bench->busy = true;
    for (unsigned i = 0; i < 5; i++) {
        make_udp(tx_buffer(bench, i), 60 + i, 1, 2);
        put_data(bench, i, 60 + i, WHOLE, 0);
    }
    wr(bench, IXGBE_TDT, 5);
    CHECK_EQ(bench->sent_count, 0);
    CHECK_EQ(rd(bench, IXGBE_TDH), 0);
    bench->busy = false;
    bench->accept = 3;
    settle(bench);
    CHECK_EQ(bench->sent_count, 3);
    CHECK_EQ(rd(bench, IXGBE_TDH), 3);
    for (unsigned i = 0; i < 5; i++) CHECK_EQ(tx_status(bench, i) & IXGBE_TXD_STATUS_DD, i < 3);
    bench->accept = 100;
    settle(bench);
    CHECK_EQ(bench->sent_count, 5);
    for (unsigned i = 0; i < 5; i++) CHECK_EQ(sent(bench, i)->length, 60 + i);
    bench_destroy(bench);
}

static void test_plain_packets_and_others_keep_their_order(void) {
    struct bench *bench = bench_running();
    static const uint32_t lengths[] = {60, 61, 20, 62, 70, 30, 63, 64};
    for (unsigned i = 0; i < 8; i++) {
        memset(tx_buffer(bench, i), (int)i, lengths[i]);
        put_data(bench, i, lengths[i], i == 4 ? IXGBE_TXD_CMD_IFCS : WHOLE, 0);  // 4 and 5 are one packet
    }
    wr(bench, IXGBE_TDT, 8);
    static const uint32_t sent_lengths[] = {60, 61, 60, 62, 100, 63, 64};
    CHECK_EQ(bench->sent_count, 7);
    for (unsigned n = 0; n < 7; n++) {
        CHECK_EQ(sent(bench, n)->length, sent_lengths[n]);
        CHECK_EQ(sent(bench, n)->bytes[0], n < 5 ? n : n + 1);
    }
    CHECK_EQ(rd(bench, IXGBE_TDH), 8);
    CHECK_EQ(rd(bench, IXGBE_GPTC), 7);
    bench_destroy(bench);
}

static void test_head_write_back(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_TDWBAH, (uint32_t)(IOVA_BASE >> 32));
    wr(bench, IXGBE_TDWBAL, 0x3f0000 | IXGBE_TDWBAL_HEAD_WB_EN);
    uint32_t *head = (uint32_t *)(void *)(bench->memory + 0x3f0000);
    for (unsigned i = 0; i < 3; i++) put_data(bench, i, 60, i == 1 ? WHOLE : WHOLE & ~(uint32_t)IXGBE_TXD_CMD_RS, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(*head, 0);
    wr(bench, IXGBE_TDT, 3);
    CHECK_EQ(*head, 3);
    CHECK(!(tx_status(bench, 1) == IXGBE_TXD_STATUS_DD));
    bench_destroy(bench);
}

static void test_nothing_leaves_while_something_is_off(void) {
    struct bench *bench = bench_running();
    put_data(bench, 0, 60, WHOLE, 0);
    wr(bench, IXGBE_DMATXCTL, rd(bench, IXGBE_DMATXCTL) & ~(uint32_t)IXGBE_DMATXCTL_TE);
    hush(true);
    wr(bench, IXGBE_TDT, 1);
    hush(false);
    CHECK_EQ(bench->sent_count, 0);
    bench->light = false;
    set_bits(bench, IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE);
    pass_us(bench, 20000);
    CHECK_EQ(rd(bench, IXGBE_TDH), 0);
    bench->light = true;
    pass_us(bench, 20000);
    CHECK_EQ(bench->sent_count, 1);

    set_bits(bench, IXGBE_SECTXCTRL, IXGBE_SECTXCTRL_TX_DIS);
    put_data(bench, 1, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, 2);
    CHECK_EQ(bench->sent_count, 1);
    wr(bench, IXGBE_SECTXCTRL, IXGBE_SECTXCTRL_SECTX_DIS);
    CHECK_EQ(bench->sent_count, 2);

    wr(bench, IXGBE_TXDCTL, 0);
    while (rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE) continue;
    put_data(bench, 2, 60, WHOLE, 0);
    hush(true);
    wr(bench, IXGBE_TDT, 3);
    hush(false);
    CHECK_EQ(bench->sent_count, 2);
    bench_destroy(bench);
}

static void test_the_laser_off_sends_into_the_dark(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_ESDP, IXGBE_ESDP_SDP3_DATA | 8 << IXGBE_ESDP_SDP_IODIR_SHIFT);
    put_data(bench, 0, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 0);
    CHECK_EQ(rd(bench, IXGBE_TDH), 1);
    bench_destroy(bench);
}

static void test_loopback_in_the_mac(void) {
    struct bench *bench = bench_running();
    bench->light = false;
    set_bits(bench, IXGBE_HLREG0, IXGBE_HLREG0_LPBK);
    wr(bench, IXGBE_AUTOC, rd(bench, IXGBE_AUTOC) | IXGBE_AUTOC_FLU);
    make_udp(tx_buffer(bench, 0), 1024, 1, 2);
    put_data(bench, 0, 1024, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 0);
    CHECK_EQ(rx_descriptor(bench, 0, 0)->wb.length, 1024);
    CHECK(memcmp(rx_buffer(bench, 0, 0), tx_buffer(bench, 0), 1024) == 0);
    CHECK_EQ(rd(bench, IXGBE_GPTC), 1);
    CHECK_EQ(rd(bench, IXGBE_GPRC), 1);
    bench_destroy(bench);
}

static void test_all_queues_send(void) {
    struct bench *bench = bench_create();
    bring_up(bench);
    for (unsigned queue = 0; queue < 128; queue += 9) {
        // Rings of 8, all in one page; each sends its number.
        uint64_t ring = IOVA_BASE + TX_RING + queue * 128;
        uint8_t *buffer = tx_buffer(bench, queue % 64);
        union ixgbe_tx_desc *descriptor = (void *)(bench->memory + TX_RING + queue * 128);
        make_udp(buffer, 60, (uint16_t)queue, 2);
        *descriptor = (union ixgbe_tx_desc){.read = {IOVA_BASE + (uint64_t)(buffer - bench->memory),
                                                     60 | IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | WHOLE,
                                                     60u << IXGBE_TXD_OPT_PAYLEN_SHIFT}};
        wr(bench, ixgbe_tx_queue_reg(IXGBE_TDBAL, queue), (uint32_t)ring);
        wr(bench, ixgbe_tx_queue_reg(IXGBE_TDBAH, queue), (uint32_t)(ring >> 32));
        wr(bench, ixgbe_tx_queue_reg(IXGBE_TDLEN, queue), 128);
        wr(bench, ixgbe_tx_queue_reg(IXGBE_TXDCTL, queue), IXGBE_TXDCTL_ENABLE);
        while (!(rd(bench, ixgbe_tx_queue_reg(IXGBE_TXDCTL, queue)) & IXGBE_TXDCTL_ENABLE)) continue;
        wr(bench, ixgbe_tx_queue_reg(IXGBE_TDT, queue), 1);
        CHECK_EQ(sent(bench, bench->sent_count - 1)->bytes[35], queue);
        CHECK_EQ(rd(bench, ixgbe_tx_queue_reg(IXGBE_TDH, queue)), 1);
    }
    CHECK_EQ(bench->sent_count, 15);
    bench_destroy(bench);
}

static void test_counters(void) {
    struct bench *bench = bench_running();
    wr(bench, IXGBE_REG(TQSM, 0), 5);
    static const uint32_t sizes[] = {60, 123, 124, 1000, 1514};
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 5; i++) {
        make_udp(tx_buffer(bench, i), sizes[i], 1, 2);
        tx_buffer(bench, i)[0] = i == 0 ? 0xff : i == 1 ? 0x01 : 0x02;
        if (i == 0) memset(tx_buffer(bench, i), 0xff, 6);
        put_data(bench, i, sizes[i], WHOLE, 0);
        bytes += sizes[i] + 4;
    }
    wr(bench, IXGBE_TDT, 5);
    CHECK_EQ(rd(bench, IXGBE_GPTC), 5);
    CHECK_EQ(rd(bench, IXGBE_TPT), 5);
    CHECK_EQ(rd(bench, IXGBE_GOTCL), bytes);
    CHECK_EQ(rd(bench, IXGBE_GOTCH), 0);
    CHECK_EQ(rd(bench, IXGBE_BPTC), 1);
    CHECK_EQ(rd(bench, IXGBE_MPTC), 1);
    CHECK_EQ(rd(bench, IXGBE_PTC64), 1);
    CHECK_EQ(rd(bench, IXGBE_PTC127), 1);
    CHECK_EQ(rd(bench, IXGBE_PTC255), 1);
    CHECK_EQ(rd(bench, IXGBE_PTC1023), 1);
    CHECK_EQ(rd(bench, IXGBE_PTC1522), 1);
    CHECK_EQ(rd(bench, IXGBE_REG(QPTC, 5)), 5);
    CHECK_EQ(rd(bench, IXGBE_REG(QBTC_L, 5)), bytes);
    CHECK_EQ(rd(bench, IXGBE_QPTC), 0);
    bench_destroy(bench);
}

static void test_dma_outside_any_mapping(void) {
    struct bench *bench = bench_running();
    put_data(bench, 0, 60, WHOLE, 0);
    tx_descriptor(bench, 0, 0)->read.iova = 0xdead0000;
    put_data(bench, 1, 60, WHOLE, 0);
    hush(true);
    wr(bench, IXGBE_TDT, 2);
    hush(false);
    CHECK_EQ(bench->sent_count, 0);
    CHECK(rd(bench, IXGBE_EICR) & IXGBE_EICR_PCI_EXCEPTION);
    wr(bench, IXGBE_TXDCTL, 0);
    while (rd(bench, IXGBE_TXDCTL) & IXGBE_TXDCTL_ENABLE) continue;
    wr(bench, IXGBE_TDH, 0);
    wr(bench, IXGBE_TDT, 0);
    start_tx_queue(bench, 0);
    put_data(bench, 0, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 1);
    bench_destroy(bench);
}

// The queue that has half a packet on the wire faults. The others send on.
static void test_a_fault_in_the_middle_of_a_packet(void) {
    struct bench *bench = bench_running();
    start_tx_queue(bench, 1);
    bench->accept = 1;
    segment(bench, false, 5000, 1460);
    CHECK_EQ(bench->sent_count, 1);
    iommu_unmap(bench->iommu, IOVA_BASE + TX_RING, 0x1000);
    bench->accept = 100;
    hush(true);
    settle(bench);
    hush(false);
    uint32_t sent = bench->sent_count;
    *tx_descriptor(bench, 1, 0) =
        (union ixgbe_tx_desc){.read = {.iova = IOVA_BASE + TX_BUFFERS,
                                       .command = 60 | IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | WHOLE,
                                       .options = 60u << IXGBE_TXD_OPT_PAYLEN_SHIFT}};
    wr(bench, ixgbe_tx_queue_reg(IXGBE_TDT, 1), 1);
    settle(bench);
    CHECK_EQ(bench->sent_count, sent + 1);
    bench_destroy(bench);
}

// Without an IOMMU mapping at all, and with bus mastering off, not one byte moves.
static void test_bus_mastering_off(void) {
    struct bench *bench = bench_running();
    const uint8_t command[2] = {2, 0};
    sim_config_write(bench->device, 4, command, 2);
    put_data(bench, 0, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, 1);
    CHECK_EQ(bench->sent_count, 0);
    CHECK_EQ(rd(bench, IXGBE_TDH), 0);
    bench_destroy(bench);
}

static void test_nonsense_in_descriptors(void) {
    struct bench *bench = bench_running();
    hush(true);
    uint64_t seed = 42;
    for (int round = 0; round < 3000; round++) {
        uint64_t words[2 * RING_SIZE];
        for (unsigned i = 0; i < 2 * RING_SIZE; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            words[i] = seed ^ seed >> 29;
            if (i % 2 == 0 && seed >> 57 > 0) words[i] = IOVA_BASE + words[i] % (MEMORY_BYTES - 70000) + 0x20000;
            if (i % 2 && seed >> 62)
                words[i] = (words[i] & ~UINT64_C(0xffffffff)) | (words[i] & 0x7d007fff) | IXGBE_TXD_CMD_IFCS;
            if (i % 2 && seed >> 63) words[i] |= IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_CONTEXT;
        }
        memcpy(bench->memory + TX_RING, words, sizeof words);
        wr(bench, IXGBE_TDT, (uint32_t)(seed >> 50) % RING_SIZE);
        bench->accept = (unsigned)(seed >> 33) % 50;
        settle(bench);
        if (round % 3) continue;
        wr(bench, IXGBE_TXDCTL, 0);
        pass_us(bench, 200);
        start_tx_queue(bench, 0);
    }
    hush(false);
    CHECK(bench->sent_count > 100);
    for (unsigned i = 0; i < WIRE_FRAMES; i++) CHECK(sent(bench, i)->length <= SIM_MAX_FRAME);
    bench_destroy(bench);
}

int main(void) {
    test_a_frame_leaves();
    test_only_who_asks_is_told();
    test_legacy_descriptor();
    test_a_packet_in_pieces();
    test_a_packet_without_end();
    test_short_frames_are_padded();
    test_without_ifcs_the_crc_must_be_there();
    test_checksums_are_inserted();
    test_what_stands_in_the_ip_checksum_counts();
    test_sctp_checksum_is_inserted();
    test_vlan_tag_is_inserted();
    test_segmentation();
    test_segmentation_goes_on_when_the_wire_is_free();
    test_segments_keep_the_flags_of_the_registers();
    test_segments_get_the_checksums_that_are_asked_for();
    test_one_segment_is_the_last();
    test_many_small_segments();
    test_segmentation_that_makes_no_sense();
    test_a_busy_wire_loses_nothing();
    test_plain_packets_and_others_keep_their_order();
    test_head_write_back();
    test_nothing_leaves_while_something_is_off();
    test_the_laser_off_sends_into_the_dark();
    test_loopback_in_the_mac();
    test_all_queues_send();
    test_counters();
    test_dma_outside_any_mapping();
    test_a_fault_in_the_middle_of_a_packet();
    test_bus_mastering_off();
    test_nonsense_in_descriptors();
    return test_summary();
}
