// answer.c: a question is nearly its own answer.
//
// Who asked and who is asked change places; a code says "reply" where it said "request"; all else stays where it is.
// So nothing is copied and nothing allocated: the buffer that the card has just filled goes back to the card.
//
// Checksums make it better still. The Internet checksum (RFC 1071) is a sum, and a sum does not change when two of
// its terms change places. What does change is one 16-bit word, and its checksum is corrected by the difference (RFC
// 1624), whether 8 bytes follow or 1480.
//
// Received bytes are not to be trusted. Each length is compared with what is really there before anything behind it
// is read, and nothing is written before everything has been checked.

#include "answer.h"

#include <stddef.h>
#include <string.h>

#include "network_order.h"

// The headers, as they lie in the frame. All members are bytes: so a struct has no gaps, may begin anywhere, and
// means the same on every machine. Numbers are read and written by get16 and put16.
struct ethernet {
    uint8_t to[6], from[6], type[2];
};

struct arp {
    uint8_t hardware[2], protocol[2], hardware_size, protocol_size, operation[2];
    uint8_t from_mac[6], from[4], to_mac[6], to[4];
};

struct ipv4 {
    uint8_t version_and_size, service, length[2], id[2], fragment[2], hops, protocol, checksum[2], from[4], to[4];
};

struct ipv6 {
    uint8_t version_and_flow[4], length[2], protocol, hops, from[16], to[16];
};

// ICMP and ICMPv6 look alike; an echo request ends in what its sender likes.
struct echo {
    uint8_t type, code, checksum[2], id[2], sequence[2];
};

// Neighbour solicitation and advertisement (RFC 4861, 4.3 and 4.4); options follow.
struct neighbour {
    uint8_t type, code, checksum[2], flags[4], target[16];
};

struct link_address_option {
    uint8_t type, size, mac[6];  // the size in units of 8 bytes
};

enum { ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_IPV6 = 0x86dd };
enum { ARP_ETHERNET = 1, ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { ICMP = 1, ICMP_ECHO = 8, ICMP_ECHO_REPLY = 0 };
enum { ICMPV6 = 58, IPV6_FRAGMENT = 44, ICMPV6_ECHO = 128, ICMPV6_ECHO_REPLY = 129 };
enum { SOLICITATION = 135, ADVERTISEMENT = 136, SOURCE_LINK_ADDRESS = 1, TARGET_LINK_ADDRESS = 2 };
enum { SOLICITED = 0x40, OVERRIDE = 0x20 };  // in the first byte of an advertisement's flags
enum {
    FRAGMENT_MASK = 0x3fff,  // "more fragments" and the offset; the two bits above do not make a fragment
    HOPS = 64,               // how many routers an answer may pass
    HOPS_NEIGHBOUR = 255,    // none: a router would have made it 254, so a stranger cannot claim to be a neighbour
    RIGHT_SUM = 0xffff,      // of what has its right checksum in it
};

static const uint8_t zeros[16];

static void swap(uint8_t *a, uint8_t *b, size_t size) {
    uint8_t spare[16];
    memcpy(spare, a, size);
    memcpy(a, b, size);
    memcpy(b, spare, size);
}

// ---- Checksums ----------------------------------------------------------------------------------------------------

static uint32_t fold(uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

// RFC 1071: the ones' complement sum of 16-bit words, continuing from `sum`. 64 KiB of them cannot overflow it.
static uint32_t add(uint32_t sum, const void *data, uint32_t length) {
    const uint8_t *bytes = data;
    for (uint32_t i = 0; i + 1 < length; i += 2) sum += get16(bytes + i);
    if (length % 2) sum += (uint32_t)bytes[length - 1] << 8;
    return fold(sum);
}

// ICMPv6's checksum covers these of the IPv6 header's fields, too (RFC 8200, 8.1).
static uint32_t pseudo_header(const struct ipv6 *ip, uint32_t length) {
    return add(length + ICMPV6, ip->from, sizeof ip->from + sizeof ip->to);
}

// RFC 1624, equation 3: HC' = ~(~HC + ~m + m'), for one word that was `before` and will be `after`.
static void adjust(uint8_t checksum[2], uint32_t before, uint32_t after) {
    put16(checksum, ~fold((~get16(checksum) & 0xffff) + (~before & 0xffff) + after));
}

// ---- Addresses ----------------------------------------------------------------------------------------------------

static bool is_group(const uint8_t mac[6]) { return mac[0] & 1; }

bool ipv4_is_host(const uint8_t address[4]) {
    return address[0] != 0 && address[0] != 127 && address[0] < 224;  // 224 to 255: multicast, broadcast, reserved
}

// Neither multicast, nor :: (nobody), nor ::1 (the asker itself).
bool ipv6_is_host(const uint8_t address[16]) { return address[0] != 0xff && memcmp(address, zeros, 15) != 0; }

static bool has_ipv4(const struct host *host, const uint8_t address[4]) {
    for (uint32_t i = 0; i < host->ipv4_count; i++)
        if (!memcmp(host->ipv4[i], address, 4)) return true;
    return false;
}

static bool has_ipv6(const struct host *host, const uint8_t address[16]) {
    for (uint32_t i = 0; i < host->ipv6_count; i++)
        if (!memcmp(host->ipv6[i], address, 16)) return true;
    return false;
}

// Who looks for an address asks the few hosts whose addresses end in the same 24 bits (RFC 4291, 2.7.1).
static bool is_solicited_group(const uint8_t group[16], const uint8_t address[16]) {
    static const uint8_t prefix[13] = {0xff, 0x02, [11] = 0x01, [12] = 0xff};
    return !memcmp(group, prefix, 13) && !memcmp(group + 13, address + 13, 3);
}

void link_local_of(const uint8_t mac[6], uint8_t address[16]) {
    memcpy(address, (const uint8_t[16]){0xfe, 0x80, [11] = 0xff, [12] = 0xfe}, 16);
    memcpy(address + 8, mac, 3);
    memcpy(address + 13, mac + 3, 3);
    address[8] ^= 0x02;
}

// ---- IPv4: ARP and ICMP -------------------------------------------------------------------------------------------

// In these functions *size is what is there behind the Ethernet header, padding included; and then the answer's.

// The sender's address may be 0.0.0.0: so one asks whether an address is free before taking it (RFC 5227, 2.1.1).
static enum outcome answer_arp(const struct host *host, uint8_t *packet, uint32_t *size) {
    struct arp *arp = (struct arp *)packet;
    if (*size < sizeof *arp) return IGNORED_MALFORMED;
    if (get16(arp->hardware) != ARP_ETHERNET || get16(arp->protocol) != ETHERTYPE_IPV4) return IGNORED_OTHER;
    if (arp->hardware_size != 6 || arp->protocol_size != 4) return IGNORED_MALFORMED;
    if (get16(arp->operation) != ARP_REQUEST) return IGNORED_OTHER;
    if (!has_ipv4(host, arp->to)) return IGNORED_FOREIGN;
    if (is_group(arp->from_mac)) return IGNORED_MALFORMED;
    if (!ipv4_is_host(arp->from) && memcmp(arp->from, zeros, 4)) return IGNORED_MALFORMED;

    put16(arp->operation, ARP_REPLY);
    swap(arp->from, arp->to, 4);
    memcpy(arp->to_mac, arp->from_mac, 6);
    memcpy(arp->from_mac, host->mac, 6);
    *size = sizeof *arp;
    return ANSWERED_ARP;
}

// A packet with IP options is left alone: some of them would have to be turned round as well (RFC 1122, 3.2.2.6).
static enum outcome answer_ping(const struct host *host, const struct ethernet *ethernet, uint8_t *packet,
                                uint32_t *size) {
    struct ipv4 *ip = (struct ipv4 *)packet;
    struct echo *echo = (struct echo *)(packet + sizeof *ip);
    if (*size < sizeof *ip || ip->version_and_size >> 4 != 4) return IGNORED_MALFORMED;
    uint32_t header = 4u * (ip->version_and_size & 0xf), length = get16(ip->length);
    if (header < sizeof *ip || length < header || length > *size) return IGNORED_MALFORMED;
    if (add(0, ip, header) != RIGHT_SUM) return IGNORED_CHECKSUM;
    if (is_group(ethernet->to) || !has_ipv4(host, ip->to)) return IGNORED_FOREIGN;
    if (get16(ip->fragment) & FRAGMENT_MASK) return IGNORED_FRAGMENT;
    if (ip->protocol != ICMP || header > sizeof *ip) return IGNORED_OTHER;

    if (length - header < sizeof *echo) return IGNORED_MALFORMED;
    if (add(0, echo, length - header) != RIGHT_SUM) return IGNORED_CHECKSUM;
    if (echo->type != ICMP_ECHO) return IGNORED_OTHER;
    if (echo->code || !ipv4_is_host(ip->from)) return IGNORED_MALFORMED;

    swap(ip->from, ip->to, 4);
    adjust(ip->checksum, (uint32_t)ip->hops << 8 | ICMP, HOPS << 8 | ICMP);
    ip->hops = HOPS;
    adjust(echo->checksum, ICMP_ECHO << 8, ICMP_ECHO_REPLY << 8);
    echo->type = ICMP_ECHO_REPLY;
    *size = length;
    return ANSWERED_PING;
}

// ---- IPv6: neighbour discovery and ICMPv6 -------------------------------------------------------------------------

// Options follow each other to the end, each with its size, which is not 0. Does one of this type stand there?
static bool read_options(const uint8_t *options, uint32_t length, uint8_t type, bool *found) {
    *found = false;
    for (uint32_t at = 0, size; at < length; at += size) {
        if (length - at < 2) return false;
        size = 8u * options[at + 1];
        if (!size || size > length - at) return false;
        if (options[at] == type) *found = true;
    }
    return true;
}

// RFC 4861, 7.1.1: what makes a solicitation valid. It comes from no address, ::, when somebody wants to know whether
// the target address is still free.
static bool is_valid_solicitation(const struct ipv6 *ip, const struct neighbour *question, uint32_t length) {
    bool from_nobody = !memcmp(ip->from, zeros, 16), has_link_address;
    return length >= sizeof *question && ip->hops == HOPS_NEIGHBOUR && !question->code &&
           read_options((const uint8_t *)(question + 1), length - sizeof *question, SOURCE_LINK_ADDRESS,
                        &has_link_address) &&
           (from_nobody ? !has_link_address && is_solicited_group(ip->to, question->target) : ipv6_is_host(ip->from));
}

// RFC 4861, 7.2.4. Nearly every byte of the message changes, so its checksum is made anew; and where the question had
// no option the answer is 8 bytes longer.
static enum outcome answer_solicitation(const struct host *host, struct ethernet *ethernet, struct ipv6 *ip,
                                        uint32_t *length) {
    static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 0x01}, all_nodes_mac[6] = {0x33, 0x33, [5] = 0x01};
    struct neighbour *message = (struct neighbour *)(ip + 1);
    struct link_address_option *option = (struct link_address_option *)(message + 1);
    if (!is_valid_solicitation(ip, message, *length)) return IGNORED_MALFORMED;
    if (!has_ipv6(host, message->target)) return IGNORED_FOREIGN;
    if (memcmp(ip->to, message->target, 16) && !is_solicited_group(ip->to, message->target)) return IGNORED_FOREIGN;

    bool to_everybody = !memcmp(ip->from, zeros, 16);
    if (to_everybody) memcpy(ethernet->from, all_nodes_mac, 6);  // as if they had asked
    memcpy(ip->to, to_everybody ? all_nodes : ip->from, 16);
    memcpy(ip->from, message->target, 16);
    message->type = ADVERTISEMENT;
    memcpy(message->flags, zeros, 4);
    message->flags[0] = to_everybody ? OVERRIDE : SOLICITED | OVERRIDE;
    *option = (struct link_address_option){.type = TARGET_LINK_ADDRESS, .size = 1};
    memcpy(option->mac, host->mac, 6);

    *length = sizeof *message + sizeof *option;
    put16(ip->length, *length);
    put16(message->checksum, 0);
    put16(message->checksum, ~add(pseudo_header(ip, *length), message, *length));
    return ANSWERED_SOLICITATION;
}

static enum outcome answer_ping6(const struct host *host, const struct ethernet *ethernet, struct ipv6 *ip) {
    struct echo *echo = (struct echo *)(ip + 1);
    if (is_group(ethernet->to) || !has_ipv6(host, ip->to)) return IGNORED_FOREIGN;
    if (echo->code || !ipv6_is_host(ip->from)) return IGNORED_MALFORMED;

    swap(ip->from, ip->to, 16);
    ip->hops = HOPS;
    adjust(echo->checksum, ICMPV6_ECHO << 8, ICMPV6_ECHO_REPLY << 8);
    echo->type = ICMPV6_ECHO_REPLY;
    return ANSWERED_PING6;
}

// A message that has the next header's number right behind the IPv6 header; with extension headers it is left alone.
static enum outcome answer_icmpv6(const struct host *host, struct ethernet *ethernet, uint8_t *packet,
                                  uint32_t *size) {
    struct ipv6 *ip = (struct ipv6 *)packet;
    struct echo *message = (struct echo *)(packet + sizeof *ip);
    if (*size < sizeof *ip || ip->version_and_flow[0] >> 4 != 6) return IGNORED_MALFORMED;
    uint32_t length = get16(ip->length);
    if (length > *size - sizeof *ip) return IGNORED_MALFORMED;
    if (ip->protocol == IPV6_FRAGMENT) return IGNORED_FRAGMENT;
    if (ip->protocol != ICMPV6) return IGNORED_OTHER;
    if (length < sizeof *message) return IGNORED_MALFORMED;
    if (add(pseudo_header(ip, length), message, length) != RIGHT_SUM) return IGNORED_CHECKSUM;

    enum outcome outcome = IGNORED_OTHER;
    if (message->type == SOLICITATION) outcome = answer_solicitation(host, ethernet, ip, &length);
    if (message->type == ICMPV6_ECHO) outcome = answer_ping6(host, ethernet, ip);
    if (outcome < ANSWERS) *size = (uint32_t)sizeof *ip + length;
    return outcome;
}

// ---- All of them --------------------------------------------------------------------------------------------------

// A question may be sent to a group, since who asks does not yet know our MAC address. But not a ping: if all
// answered one that was sent to all, who asked would drown.
enum outcome answer(const struct host *host, uint8_t *frame, uint32_t *length) {
    struct ethernet *ethernet = (struct ethernet *)frame;
    uint8_t *packet = frame + sizeof *ethernet;
    if (*length < sizeof *ethernet || is_group(ethernet->from)) return IGNORED_MALFORMED;
    if (!is_group(ethernet->to) && memcmp(ethernet->to, host->mac, 6)) return IGNORED_FOREIGN;

    uint32_t size = *length - (uint32_t)sizeof *ethernet;
    enum outcome outcome = IGNORED_OTHER;
    switch (get16(ethernet->type)) {
    case ETHERTYPE_ARP: outcome = answer_arp(host, packet, &size); break;
    case ETHERTYPE_IPV4: outcome = answer_ping(host, ethernet, packet, &size); break;
    case ETHERTYPE_IPV6: outcome = answer_icmpv6(host, ethernet, packet, &size); break;
    }
    if (outcome >= ANSWERS) return outcome;
    memcpy(ethernet->to, ethernet->from, 6);
    memcpy(ethernet->from, host->mac, 6);
    *length = (uint32_t)sizeof *ethernet + size;
    return outcome;
}

const uint8_t *answer_peer(enum outcome outcome, const uint8_t *frame) {
    static const size_t at[ANSWERS] = {offsetof(struct arp, to), offsetof(struct ipv4, to), offsetof(struct ipv6, to),
                                       offsetof(struct ipv6, to)};
    return frame + sizeof(struct ethernet) + at[outcome];
}

const uint8_t *answer_own(enum outcome outcome, const uint8_t *frame) {
    static const size_t at[ANSWERS] = {offsetof(struct arp, from), offsetof(struct ipv4, from),
                                       offsetof(struct ipv6, from), offsetof(struct ipv6, from)};
    return frame + sizeof(struct ethernet) + at[outcome];
}
