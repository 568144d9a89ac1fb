// test_offload.c: what the card is asked to do, checked by somebody who does it by hand.
//
// Packets with headers that are right but for their checksums are sent with a request, and arrive with every checksum
// right; long stretches of TCP data arrive as segments that can be put together again. The checksums here are
// computed in the plainest way there is, so that they have nothing in common with the card's or the driver's.

#include <errno.h>

#include "network_order.h"
#include "offload.h"
#include "test_cards.h"

enum { TCP = 6, UDP = 17, SCTP = 132, MOST_HEADERS = 14 + 4 + 60 + 60 };

static const uint8_t mac_b[6] = {0x90, 0xe2, 0xba, 0x82, 0x59, 0x01};

// ---- Packets ------------------------------------------------------------------------------------------------------

struct shape {
    bool ipv6, vlan;
    uint8_t protocol;
    uint32_t options;  // bytes of IPv4 and TCP options
};

struct layout {
    uint32_t l3, l4, data;  // where they begin
};

static uint32_t l4_size(const struct shape *shape) {
    return shape->protocol == TCP ? 20 + shape->options : shape->protocol == UDP ? 8 : 12;
}

static struct layout layout_of(const struct shape *shape) {
    struct layout layout = {.l3 = shape->vlan ? 18 : 14};
    layout.l4 = layout.l3 + (shape->ipv6 ? 40 : 20 + shape->options);
    layout.data = layout.l4 + l4_size(shape);
    return layout;
}

// All headers, with nonsense in the checksum fields. `length`: bytes of data that will follow.
static struct layout write_headers(uint8_t *frame, const struct shape *shape, uint32_t length) {
    struct layout layout = layout_of(shape);
    uint8_t *l3 = frame + layout.l3, *l4 = frame + layout.l4;
    memset(frame, 0, layout.data);
    memcpy(frame, mac_b, 6);
    memcpy(frame + 6, "\x02\x00\x00\x00\x00\x99", 6);
    if (shape->vlan) put16(frame + 12, 0x8100), put16(frame + 14, 0x6042);
    put16(l3 - 2, shape->ipv6 ? 0x86dd : 0x0800);
    if (shape->ipv6) {
        l3[0] = 0x60;
        put16(l3 + 4, l4_size(shape) + length);
        l3[6] = shape->protocol, l3[7] = 64;
        for (int i = 0; i < 32; i++) l3[8 + i] = (uint8_t)(0xfd + i);
    } else {
        l3[0] = (uint8_t)(0x45 + shape->options / 4);
        put16(l3 + 2, layout.data - layout.l3 + length);
        put16(l3 + 4, 0x1234);
        l3[8] = 64, l3[9] = shape->protocol;
        put16(l3 + 10, 0xbad0);
        memcpy(l3 + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
        memset(l3 + 20, 1, shape->options);  // option "no operation"
    }
    put16(l4, 1000), put16(l4 + 2, 2000);
    if (shape->protocol == TCP) {
        put16(l4 + 4, 0x1000), put16(l4 + 6, 0);
        l4[12] = (uint8_t)((5 + shape->options / 4) << 4), l4[13] = 0x19;  // FIN, PSH, ACK
        put16(l4 + 14, 500), put16(l4 + 16, 0xbad1);
        memset(l4 + 20, 1, shape->options);
    } else if (shape->protocol == UDP) {
        put16(l4 + 4, 8 + length), put16(l4 + 6, 0xbad2);
    } else {
        memset(l4 + 8, 0xba, 4);
    }
    return layout;
}

static struct packet_buffer *packet_of(const struct shape *shape, uint32_t length) {
    struct packet_buffer *packet = mempool_alloc(pool);
    struct layout layout = write_headers(packet->data, shape, length);
    for (uint32_t i = 0; i < length; i++) ((uint8_t *)packet->data)[layout.data + i] = (uint8_t)(i * 7 + length);
    packet->length = (uint16_t)(layout.data + length);
    return packet;
}

// ---- Checksums by hand --------------------------------------------------------------------------------------------

static uint32_t sum16(const uint8_t *data, uint32_t length, uint32_t sum) {
    for (uint32_t i = 0; i < length; i++) sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

// CRC-32c, bit by bit (RFC 9260, appendix A), with zeros in the place of the checksum.
static uint32_t crc32c(const uint8_t *data, uint32_t length, uint32_t checksum_at) {
    uint32_t crc = 0xffffffff;
    for (uint32_t i = 0; i < length; i++) {
        crc ^= i >= checksum_at && i < checksum_at + 4 ? 0 : data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static bool l3_is_right(const uint8_t *frame, const struct layout *layout, const struct shape *shape) {
    return shape->ipv6 || sum16(frame + layout->l3, layout->l4 - layout->l3, 0) == 0xffff;
}

static bool l4_is_right(const uint8_t *frame, const struct layout *layout, const struct shape *shape,
                        uint32_t length) {
    const uint8_t *l3 = frame + layout->l3, *l4 = frame + layout->l4;
    uint32_t size = layout->data - layout->l4 + length;
    if (shape->protocol == SCTP) {
        uint32_t crc = crc32c(l4, size, 8);
        return l4[8] == (uint8_t)crc && l4[9] == (uint8_t)(crc >> 8) && l4[10] == (uint8_t)(crc >> 16) &&
               l4[11] == (uint8_t)(crc >> 24);
    }
    uint32_t pseudo = sum16(l3 + (shape->ipv6 ? 8 : 12), shape->ipv6 ? 32 : 8, size + shape->protocol);
    return sum16(l4, size, pseudo) == 0xffff;
}

// ---- Tests --------------------------------------------------------------------------------------------------------

// Calls `test` with each kind of packet that there is.
static void with_every_shape(void (*test)(const struct shape *shape)) {
    static const uint8_t protocols[] = {TCP, UDP, SCTP};
    for (int ipv6 = 0; ipv6 < 2; ipv6++)
        for (int vlan = 0; vlan < 2; vlan++)
            for (int protocol = 0; protocol < 3; protocol++)
                for (uint32_t options = 0; options <= 12; options += 12)
                    test(&(struct shape){ipv6, vlan, protocols[protocol], options});
}

static void checksums_are_filled_in(const struct shape *shape) {
    struct layout layout = layout_of(shape);
    static const uint32_t lengths[] = {0, 1, 2, 17, 18, 100, 999, 1400};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t length = lengths[i];
        struct packet_buffer *packet = packet_of(shape, length);
        CHECK_EQ(offload_checksums(packet), 0);
        send(packet);
        if (!CHECK((packet = receive(ARRIVAL_MS)) != NULL)) continue;
        uint32_t checked = PACKET_L4_CHECKED | (shape->ipv6 ? 0 : PACKET_IPV4_CHECKED);
        CHECK(l3_is_right(packet->data, &layout, shape));
        CHECK(l4_is_right(packet->data, &layout, shape, length));
        CHECK_EQ(packet->flags & (checked | PACKET_L4_BAD | PACKET_IPV4_BAD), checked);
        CHECK_EQ(packet->request.what, 0);
        mempool_free(packet);
    }
}

// The other way round: packets with wrong checksums are sent as they are, and the receiving card notices.
static void wrong_checksums_are_flagged(const struct shape *shape) {
    struct packet_buffer *packet = packet_of(shape, 64);
    send(packet);
    if (!CHECK((packet = receive(ARRIVAL_MS)) != NULL)) return;
    CHECK(packet->flags & PACKET_L4_CHECKED);
    CHECK(packet->flags & PACKET_L4_BAD);
    CHECK_EQ(!(packet->flags & PACKET_IPV4_BAD), shape->ipv6);
    mempool_free(packet);
}

static void all_checksums(void) {
    open_cards(NULL);
    with_every_shape(checksums_are_filled_in);
    CHECK_EQ(counter(b, "rx_csum_offload_errors"), 0);
    with_every_shape(wrong_checksums_are_flagged);
    CHECK_EQ(counter(b, "rx_csum_offload_errors"), 24);
    close_cards();
}

// The data of a long send: byte n is made of n alone, so that segments can be checked wherever they begin.
static uint8_t byte_at(uint32_t n) { return (uint8_t)(n * 31 + (n >> 8)); }

// Headers and data in as many buffers as it takes, the first one with `first` bytes of data.
static struct packet_buffer *long_packet(const struct shape *shape, uint32_t length, uint32_t first) {
    struct packet_buffer *packet = mempool_alloc(pool);
    struct layout layout = write_headers(packet->data, shape, length);
    uint8_t *at = (uint8_t *)packet->data + layout.data;
    packet->length = (uint16_t)layout.data;
    struct packet_buffer *part = packet;
    for (uint32_t n = 0, room = first; n < length; n++, room--) {
        if (!room) {
            part = mempool_alloc(pool);
            part->length = 0;
            packet_append(packet, part);
            at = part->data;
            room = MEMPOOL_DEFAULT_SIZE;
        }
        *at++ = byte_at(n);
        part->length++;
    }
    CHECK_EQ(packet_length(packet), layout.data + length);
    return packet;
}

static void check_segment(const struct packet_buffer *packet, const struct shape *shape, uint32_t number,
                          uint32_t start, uint32_t length, bool last) {
    struct layout layout = layout_of(shape);
    const uint8_t *frame = packet->data, *l3 = frame + layout.l3, *l4 = frame + layout.l4;
    CHECK_EQ(packet->length, layout.data + length < 60 ? 60 : layout.data + length);
    CHECK_EQ(get32(l4 + 4), 0x10000000 + start);
    CHECK_EQ(l4[13], last ? 0x19 : 0x10);  // FIN and PSH in the last one only
    CHECK_EQ(get16(l3 + (shape->ipv6 ? 4 : 2)), (shape->ipv6 ? 0 : layout.l4 - layout.l3) + l4_size(shape) + length);
    if (!shape->ipv6) CHECK_EQ(get16(l3 + 4), 0x1234 + number);
    CHECK(l3_is_right(frame, &layout, shape));
    CHECK(l4_is_right(frame, &layout, shape, length));
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < length; i++) wrong += frame[layout.data + i] != byte_at(start + i);
    CHECK_EQ(wrong, 0);
}

static void a_long_send_arrives_in_segments(const struct shape *shape, uint32_t length, uint32_t first,
                                            uint16_t segment) {
    struct packet_buffer *packet = long_packet(shape, length, first);
    CHECK_EQ(offload_segments(packet, segment), 0);
    send(packet);
    for (uint32_t start = 0, number = 0; start < length; start += segment, number++) {
        uint32_t size = length - start < segment ? length - start : segment;
        if (!CHECK((packet = receive(ARRIVAL_MS)) != NULL)) break;
        check_segment(packet, shape, number, start, size, start + size == length);
        mempool_free(packet);
    }
    nic_transmit(a, 0, NULL, 0);
}

static void long_sends(void) {
    static const struct {
        uint32_t length, first;
        uint16_t segment;
    } sends[] = {{1, 1, 1400},     {1400, 1400, 1400},  {1401, 0, 1400}, {5000, 100, 1000}, {20000, 1, 536},
                 {64000, 0, 1400}, {65400, 1500, 1400}, {3000, 1900, 1}, {9000, 0, 1380}};
    open_cards(NULL);
    for (size_t i = 0; i < sizeof sends / sizeof *sends; i++)
        for (int kind = 0; kind < 8; kind++) {
            struct shape shape = {kind & 1, kind & 2, TCP, kind & 4 ? 12 : 0};
            a_long_send_arrives_in_segments(&shape, sends[i].length, sends[i].first, sends[i].segment);
        }
    CHECK_EQ(counter(b, "rx_csum_offload_errors"), 0);
    close_cards();
}

// Cut anywhere, a frame arrives in one piece; it takes a new context only if it asks for something new.
static void frames_in_pieces(void) {
    open_cards(NULL);
    for (uint32_t length = 60; length <= LONGEST; length += 101)
        for (uint32_t pieces = 2; pieces <= 7; pieces++) {
            struct packet_buffer *whole = frame(mac_b, length, pieces), *first = NULL;
            for (uint32_t i = 0; i < pieces; i++) {
                uint32_t from = length * i / pieces, to = length * (i + 1) / pieces;
                struct packet_buffer *part = mempool_alloc(pool);
                memcpy(part->data, (uint8_t *)whole->data + from, to - from);
                part->length = (uint16_t)(to - from);
                if (first)
                    packet_append(first, part);
                else
                    first = part;
            }
            mempool_free(whole);
            send(first);
            expect(length, pieces);
        }
    close_cards();
}

static void jumbo_frames(void) {
    static const uint32_t lengths[] = {1515, 2047, 2048, 2049, 4096, 4097, 9000, 9710, NIC_LARGEST_FRAME};
    open_cards(&(struct nic_config){.max_frame = NIC_LARGEST_FRAME});
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct packet_buffer *packet = NULL;
        for (uint32_t n = 0; n < lengths[i]; n += 1000) {
            struct packet_buffer *part = mempool_alloc(pool);
            part->length = (uint16_t)(lengths[i] - n < 1000 ? lengths[i] - n : 1000);
            for (uint32_t j = 0; j < part->length; j++) ((uint8_t *)part->data)[j] = byte_at(n + j);
            if (packet)
                packet_append(packet, part);
            else
                memcpy((packet = part)->data, mac_b, 6);
        }
        send(packet);
        if (!CHECK((packet = receive(ARRIVAL_MS)) != NULL)) continue;
        CHECK_EQ(packet_length(packet), lengths[i]);
        uint32_t n = 0, wrong = 0;
        for (const struct packet_buffer *part = packet; part;
             part = packet->request.what & PACKET_CHAINED ? part->next : NULL)
            for (uint32_t j = 0; j < part->length; j++, n++)
                if (n >= 6) wrong += ((const uint8_t *)part->data)[j] != byte_at(n);
        CHECK_EQ(n, lengths[i]);
        CHECK_EQ(wrong, 0);
        mempool_free(packet);
    }
    close_cards();

    // An ordinary card takes no such frame.
    open_cards(NULL);
    struct packet_buffer *packet = frame(mac_b, 2000, 1);
    send(packet);
    expect_nothing();
    close_cards();
}

static void vlan_tags_are_put_in_and_taken_out(void) {
    static const uint16_t tags[] = {0x0001, 0x6042, 0xefff};
    for (int remove = 0; remove < 2; remove++) {
        open_cards(&(struct nic_config){.remove_vlan = remove});
        for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
            struct packet_buffer *packet = frame(mac_b, 200, (uint32_t)i);
            offload_vlan(packet, tags[i]);
            send(packet);
            if (!CHECK((packet = receive(ARRIVAL_MS)) != NULL)) continue;
            const uint8_t *data = packet->data;
            CHECK_EQ(packet->length, remove ? 200 : 204);
            CHECK(packet->flags & PACKET_VLAN_REMOVED || !remove);
            if (remove) {
                CHECK_EQ(packet->vlan, tags[i]);
                CHECK(is_frame(packet, 200, (uint32_t)i));
            } else {
                CHECK_EQ(get16(data + 12), 0x8100);
                CHECK_EQ(get16(data + 14), tags[i]);
            }
            mempool_free(packet);
        }
        // Together with a checksum, in one context.
        struct shape shape = {.protocol = TCP};
        struct layout layout = layout_of(&shape);
        struct packet_buffer *packet = packet_of(&shape, 100);
        CHECK_EQ(offload_checksums(packet), 0);
        offload_vlan(packet, 7);
        send(packet);
        if (CHECK((packet = receive(ARRIVAL_MS)) != NULL)) {
            CHECK(!(packet->flags & PACKET_L4_BAD) && packet->flags & PACKET_L4_CHECKED);
            if (remove) CHECK(l4_is_right(packet->data, &layout, &shape, 100));
            mempool_free(packet);
        }
        close_cards();
    }
}

// What the card cannot do is said, and nothing is asked for.
static void what_cannot_be_offloaded_is_refused(void) {
    const struct shape ipv4 = {.protocol = TCP}, ipv6 = {.ipv6 = true, .protocol = UDP};
    open_cards(NULL);
    struct packet_buffer *packet = packet_of(&ipv4, 100);
    uint8_t *data = packet->data;
    CHECK_EQ(offload_segments(packet, 0), -EINVAL);
    CHECK_EQ(offload_segments(packet, 9217), -EINVAL);
    for (uint16_t length = 0; length < 54; length++) {
        packet->length = length;
        CHECK_EQ(offload_checksums(packet), -EINVAL);
        CHECK_EQ(offload_segments(packet, 1000), -EINVAL);
    }
    packet->length = 54;  // no data
    CHECK_EQ(offload_segments(packet, 1000), -EINVAL);
    packet->length = 153;  // less than IP says
    CHECK_EQ(offload_checksums(packet), -EINVAL);
    packet->length = 154;
    uint8_t total = data[17];
    data[17] = 0;
    CHECK_EQ(offload_checksums(packet), -EINVAL);
    data[17] = total;
    data[14] = 0x44;  // a header of 16 bytes
    CHECK_EQ(offload_checksums(packet), -EINVAL);
    data[14] = 0x45, data[46] = 0x40;
    CHECK_EQ(offload_checksums(packet), -EINVAL);
    data[46] = 0xf0, packet->length = 90;  // a TCP header of 60 bytes
    CHECK_EQ(offload_checksums(packet), -EINVAL);
    data[12] = 0x88, data[13] = 0xb5;
    CHECK_EQ(offload_checksums(packet), -EPROTONOSUPPORT);
    CHECK_EQ(packet->request.what, 0);
    mempool_free(packet);

    packet = packet_of(&ipv4, 100);
    ((uint8_t *)packet->data)[23] = 47;  // GRE: only the checksum of IP
    CHECK_EQ(offload_segments(packet, 1000), -EPROTONOSUPPORT);
    CHECK_EQ(offload_checksums(packet), 0);
    CHECK_EQ(packet->request.what, PACKET_IPV4_CHECKSUM);
    mempool_free(packet);

    packet = packet_of(&ipv4, 100);
    ((uint8_t *)packet->data)[21] = 1;  // a fragment
    CHECK_EQ(offload_checksums(packet), 0);
    CHECK_EQ(packet->request.what, PACKET_IPV4_CHECKSUM);
    mempool_free(packet);

    packet = packet_of(&ipv6, 100);
    ((uint8_t *)packet->data)[20] = 0;  // hop-by-hop options
    CHECK_EQ(offload_checksums(packet), -EPROTONOSUPPORT);
    mempool_free(packet);

    packet = long_packet(&ipv4, 65500, 0);
    CHECK_EQ(offload_segments(packet, 1400), -EMSGSIZE);
    CHECK_EQ(packet->request.what, PACKET_CHAINED);
    mempool_free(packet);
    close_cards();
}

// One part can be named, for those who want to look at what is on the wire meanwhile (scripts/peers/offload.sh).
int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*test)(void);
    } parts[] = {{"checksums", all_checksums},
                 {"segments", long_sends},
                 {"pieces", frames_in_pieces},
                 {"jumbo", jumbo_frames},
                 {"vlan", vlan_tags_are_put_in_and_taken_out},
                 {"refused", what_cannot_be_offloaded_is_refused}};
    if (!CHECK_EQ(nic_host_open(&host), 0)) return test_summary();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (argc < 2 || !strcmp(argv[1], parts[i].name)) parts[i].test();
    nic_host_close(&host);
    return test_summary();
}
