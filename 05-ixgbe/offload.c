// offload.c: finds the headers of a packet, and prepares them for a card that does the rest.
//
// A checksum over TCP or UDP also covers the IP addresses, the protocol and the length, the "pseudo header". The card
// cannot be expected to find those. So the program puts the sum over them into the checksum field, and the card adds
// everything from the TCP or UDP header on (7.2.5).

#include "offload.h"

#include <errno.h>
#include <stdbool.h>

#include "network_order.h"

enum { ETHERNET = 14, VLAN_TAG = 4, IPV4 = 20, IPV6 = 40, IPV4_FRAGMENT = 0x3fff };
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100 };

// What is asked for a protocol, how long its header is at least, and where in it the checksum stands.
static const struct protocol {
    uint8_t number, shortest, checksum_at;
    bool pseudo_header;
    uint16_t what;
} protocols[] = {
    {6, 20, 16, true, PACKET_TCP_CHECKSUM},
    {17, 8, 6, true, PACKET_UDP_CHECKSUM},
    {132, 12, 8, false, PACKET_SCTP_CHECKSUM},  // a CRC-32c over the SCTP packet alone
};

struct headers {
    uint8_t *l3, *l4;
    bool ipv6, fragment;
    uint32_t l2_length, l3_length, l4_length;
    const struct protocol *protocol;  // NULL: none that the card knows
};

static const struct protocol *find_protocol(uint8_t number) {
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (protocols[i].number == number) return &protocols[i];
    return NULL;
}

static int find_l3(const struct packet_buffer *packet, struct headers *headers) {
    uint8_t *data = packet->data;
    if (packet->length < ETHERNET + VLAN_TAG) return -EINVAL;
    uint32_t type = get16(data + 12);
    headers->l2_length = ETHERNET;
    if (type == TYPE_VLAN) {
        headers->l2_length += VLAN_TAG;
        type = get16(data + 16);
    }
    if (type != TYPE_IPV4 && type != TYPE_IPV6) return -EPROTONOSUPPORT;
    headers->ipv6 = type == TYPE_IPV6;
    headers->l3 = data + headers->l2_length;
    return packet->length < headers->l2_length + (headers->ipv6 ? IPV6 : IPV4) ? -EINVAL : 0;
}

static int find_headers(const struct packet_buffer *packet, struct headers *headers) {
    *headers = (struct headers){0};
    int error = find_l3(packet, headers);
    if (error) return error;
    const uint8_t *l3 = headers->l3;
    headers->l3_length = headers->ipv6 ? IPV6 : (l3[0] & 15) * 4;
    headers->fragment = !headers->ipv6 && get16(l3 + 6) & IPV4_FRAGMENT;
    headers->l4 = headers->l3 + headers->l3_length;
    uint32_t left = packet->length - headers->l2_length;
    if (headers->l3_length < IPV4 || headers->l3_length > left) return -EINVAL;
    headers->protocol = headers->fragment ? NULL : find_protocol(l3[headers->ipv6 ? 6 : 9]);
    if (!headers->protocol) return headers->ipv6 ? -EPROTONOSUPPORT : 0;
    left -= headers->l3_length;
    if (left < headers->protocol->shortest) return -EINVAL;
    headers->l4_length =
        headers->protocol->what == PACKET_TCP_CHECKSUM ? (headers->l4[12] >> 4) * 4 : headers->protocol->shortest;
    return headers->l4_length < headers->protocol->shortest || headers->l4_length > left ? -EINVAL : 0;
}

// The sum over addresses, protocol and `length`, folded to 16 bits; not inverted, since it is only a beginning.
static uint32_t pseudo_header_sum(const struct headers *headers, uint32_t length) {
    const uint8_t *addresses = headers->l3 + (headers->ipv6 ? 8 : 12);
    uint32_t sum = headers->protocol->number + length;
    for (uint32_t i = 0; i < (headers->ipv6 ? 32u : 8u); i += 2) sum += get16(addresses + i);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void request(struct packet_buffer *packet, const struct headers *headers, uint16_t what) {
    struct packet_request *wish = &packet->request;
    wish->what |= what;
    if (!headers->ipv6) {
        wish->what |= PACKET_IPV4_CHECKSUM;
        put16(headers->l3 + 10, 0);
    }
    wish->l2_length = (uint8_t)headers->l2_length;
    wish->l3_length = (uint16_t)headers->l3_length;
    wish->l4_length = (uint8_t)headers->l4_length;
}

int offload_checksums(struct packet_buffer *packet) {
    struct headers headers;
    int error = find_headers(packet, &headers);
    if (error) return error;
    const struct protocol *protocol = headers.protocol;
    // What IP says, and not the frame's end: short frames are padded.
    uint32_t l4_bytes = headers.ipv6 ? get16(headers.l3 + 4) : get16(headers.l3 + 2) - headers.l3_length;
    if (l4_bytes > packet_length(packet) - headers.l2_length - headers.l3_length) return -EINVAL;
    if (protocol)
        put16(headers.l4 + protocol->checksum_at,
              protocol->pseudo_header ? pseudo_header_sum(&headers, l4_bytes) : 0);
    if (protocol && !protocol->pseudo_header) put16(headers.l4 + protocol->checksum_at + 2, 0);
    request(packet, &headers, protocol ? protocol->what : 0);
    return 0;
}

int offload_segments(struct packet_buffer *packet, uint16_t segment_size) {
    enum { LARGEST_SEGMENT = 9216 };
    struct headers headers;
    int error = find_headers(packet, &headers);
    if (error) return error;
    if (!headers.protocol || headers.protocol->what != PACKET_TCP_CHECKSUM) return -EPROTONOSUPPORT;
    if (!segment_size || segment_size > LARGEST_SEGMENT) return -EINVAL;
    uint32_t length = packet_length(packet) - headers.l2_length;
    if (length > OFFLOAD_LARGEST_SEND) return -EMSGSIZE;
    if (length == headers.l3_length + headers.l4_length) return -EINVAL;
    // Each segment has a length of its own, which the card puts in and adds to the sum.
    put16(headers.l3 + (headers.ipv6 ? 4 : 2), 0);
    put16(headers.l4 + headers.protocol->checksum_at, pseudo_header_sum(&headers, 0));
    request(packet, &headers, PACKET_TCP_CHECKSUM | PACKET_SEGMENT);
    packet->request.segment_size = segment_size;
    return 0;
}

void offload_vlan(struct packet_buffer *packet, uint16_t tag) {
    packet->request.what |= PACKET_INSERT_VLAN;
    packet->request.vlan = tag;
}

static struct packet_buffer *last_part(struct packet_buffer *packet) {
    if (packet->request.what & PACKET_CHAINED)
        while (packet->next) packet = packet->next;
    return packet;
}

void packet_append(struct packet_buffer *packet, struct packet_buffer *rest) {
    if (!(rest->request.what & PACKET_CHAINED)) rest->next = NULL;
    rest->request = (struct packet_request){0};
    last_part(packet)->next = rest;
    packet->request.what |= PACKET_CHAINED;
}

uint32_t packet_length(const struct packet_buffer *packet) {
    uint32_t length = packet->length;
    if (packet->request.what & PACKET_CHAINED)
        for (const struct packet_buffer *part = packet->next; part; part = part->next) length += part->length;
    return length;
}
