// What is heard on a cable at whose other end nobody drives a port: a small office network.
//
// A script, played over and over: hosts find each other, ping, look up a name, fetch a page, set their clocks. It
// says who sends what to whom after how long; one function per protocol writes the frame. Each round has its own
// ports and identifiers. Nothing is random, so two runs see the same traffic. On average a frame comes every
// millisecond.
//
// All addresses are from the ranges kept for documentation (RFC 5737, RFC 3849), all MAC addresses are locally
// administered. As behind a switch that floods, most frames are for others: only a promiscuous port sees them all.
// The gateway also asks whether we are there, and goes on in the same way if nobody answers.
#include <stdio.h>
#include <string.h>

#include "packet.h"
#include "wire_kinds.h"

enum { QUIET_NS = 200 * 1000 * 1000, MOST_BEHIND_NS = 100 * 1000 * 1000 };

enum host { GATEWAY = 1, LAPTOP = 21, PHONE = 22, SERVER = 53, WEB = 80, US = 100, EVERYBODY = 255 };

struct line_of_script {
    uint32_t after_us;
    void (*write)(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line);
    uint8_t from, to;
    uint16_t what;  // what the protocol's function makes of it
    bool tagged;
};

enum { VLAN_TAG = 3 << 13 | 42 };  // priority 3, VLAN 42

// Addresses.

static uint32_t ipv4_of(uint8_t host) { return PACKET_ADDRESS(192, 0, 2, host); }

static void ipv6_of(uint8_t host, uint8_t address[16]) {
    memcpy(address, (const uint8_t[16]){0x20, 0x01, 0x0d, 0xb8}, 16);
    address[15] = host;
}

// The group in which a host listens for those who look for its address (RFC 4291, 2.7.1).
static void solicited_group_of(uint8_t host, uint8_t address[16]) {
    memcpy(address, (const uint8_t[16]){0xff, 0x02, [11] = 0x01, [12] = 0xff}, 16);
    address[15] = host;
}

static void mac_of(const struct neighbour *neighbour, uint8_t host, uint8_t mac[6]) {
    if (host == US)
        memcpy(mac, neighbour->our_mac, 6);
    else if (host == EVERYBODY)
        memset(mac, 0xff, 6);
    else
        memcpy(mac, (const uint8_t[6]){0x02, 0x00, 0x00, 0x00, 0x02, host}, 6);
}

static void start(struct packet *packet, const struct neighbour *neighbour, const struct line_of_script *line,
                  const uint8_t *group, uint16_t type) {
    uint8_t from[6], to[6];
    mac_of(neighbour, line->from, from);
    mac_of(neighbour, line->to, to);
    packet_start(packet, group ? group : to, from, line->tagged ? VLAN_TAG : PACKET_UNTAGGED, type);
}

static void start_ipv4(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line,
                       uint8_t protocol) {
    start(packet, neighbour, line, NULL, ETHERTYPE_IPV4);
    uint16_t id = (uint16_t)(neighbour->round * 64 + neighbour->step);
    packet_ipv4(packet, ipv4_of(line->from), ipv4_of(line->to), protocol, 64, id);
}

// ARP (RFC 826).

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };

static void arp(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    uint8_t mac[6];
    start(packet, neighbour, line, NULL, ETHERTYPE_ARP);
    packet_u16(packet, 1);  // Ethernet
    packet_u16(packet, ETHERTYPE_IPV4);
    packet_u8(packet, 6);
    packet_u8(packet, 4);
    packet_u16(packet, line->what);
    mac_of(neighbour, line->from, mac);
    packet_bytes(packet, mac, 6);
    packet_u32(packet, ipv4_of(line->from));
    mac_of(neighbour, line->to, mac);
    packet_bytes(packet, line->what == ARP_REQUEST ? (const uint8_t[6]){0} : mac, 6);
    packet_u32(packet, ipv4_of(line->to == EVERYBODY ? GATEWAY : line->to));
}

// ICMP echo (RFC 792) and ICMPv6 echo (RFC 4443): the same message under two names.

enum { ECHO_REQUEST = 8, ECHO_REPLY = 0, ECHO_REQUEST_V6 = 128, ECHO_REPLY_V6 = 129 };

static void echo_message(struct packet *packet, const struct neighbour *neighbour, uint16_t type) {
    packet_u16(packet, (uint16_t)(type << 8));
    packet_u16(packet, 0);
    packet_u16(packet, 0x82);  // identifier
    packet_u16(packet, (uint16_t)(neighbour->round + 1));
    for (uint8_t byte = 0x10; byte < 0x40; byte++) packet_u8(packet, byte);
}

static void icmp(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    start_ipv4(packet, neighbour, line, PROTOCOL_ICMP);
    echo_message(packet, neighbour, line->what);
}

static void icmpv6(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    uint8_t from[16], to[16];
    ipv6_of(line->from, from);
    ipv6_of(line->to, to);
    start(packet, neighbour, line, NULL, ETHERTYPE_IPV6);
    packet_ipv6(packet, from, to, PROTOCOL_ICMPV6, 64);
    echo_message(packet, neighbour, line->what);
}

// IPv6 neighbour discovery (RFC 4861): who has this address, and I have it.

enum { SOLICITATION = 135, ADVERTISEMENT = 136 };

static void discovery(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    bool asks = line->what == SOLICITATION;
    uint8_t from[16], to[16], target[16], mac[6];
    ipv6_of(line->from, from);
    ipv6_of(asks ? line->to : line->from, target);
    if (asks)
        solicited_group_of(line->to, to);
    else
        ipv6_of(line->to, to);
    const uint8_t group[6] = {0x33, 0x33, 0xff, 0, 0, line->to};
    start(packet, neighbour, line, asks ? group : NULL, ETHERTYPE_IPV6);
    packet_ipv6(packet, from, to, PROTOCOL_ICMPV6, 255);
    packet_u16(packet, (uint16_t)(line->what << 8));
    packet_u16(packet, 0);
    packet_u32(packet, asks ? 0 : 0x60000000);  // solicited, override
    packet_bytes(packet, target, 16);
    packet_u16(packet, asks ? 0x0101 : 0x0201);  // option: source or target link-layer address, 8 bytes
    mac_of(neighbour, line->from, mac);
    packet_bytes(packet, mac, 6);
}

// DNS (RFC 1035) and mDNS (RFC 6762).

enum { QUERY, ANSWER };
enum { TYPE_A = 1, TYPE_PTR = 12, CLASS_INTERNET = 1, DNS_PORT = 53, MDNS_PORT = 5353, POINTER_TO_NAME = 0xc00c };

// "www.example.com" as labels, each after its length.
static void dns_name(struct packet *packet, const char *name) {
    for (size_t length; *name; name += length + (name[length] == '.')) {
        length = strcspn(name, ".");
        packet_u8(packet, (uint8_t)length);
        packet_bytes(packet, name, (uint32_t)length);
    }
    packet_u8(packet, 0);
}

static void dns_header(struct packet *packet, uint16_t id, uint16_t flags, uint16_t questions, uint16_t answers) {
    packet_u16(packet, id);
    packet_u16(packet, flags);
    packet_u16(packet, questions);
    packet_u16(packet, answers);
    packet_u32(packet, 0);  // nothing in the other two sections
}

static void dns_record(struct packet *packet, uint16_t type, uint32_t seconds_valid, uint16_t length) {
    packet_u16(packet, type);
    packet_u16(packet, CLASS_INTERNET);
    packet_u32(packet, seconds_valid);
    packet_u16(packet, length);
}

static uint16_t client_port(const struct neighbour *neighbour) {
    return (uint16_t)(49152 + neighbour->round % 16384);
}

static void dns(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    bool answers = line->what == ANSWER;
    uint16_t port = client_port(neighbour);
    start_ipv4(packet, neighbour, line, PROTOCOL_UDP);
    packet_udp(packet, answers ? DNS_PORT : port, answers ? port : DNS_PORT);
    dns_header(packet, (uint16_t)(neighbour->round * 7 + 1), answers ? 0x8180 : 0x0100, 1, answers);
    dns_name(packet, "www.example.com");
    packet_u16(packet, TYPE_A);
    packet_u16(packet, CLASS_INTERNET);
    if (!answers) return;
    packet_u16(packet, POINTER_TO_NAME);
    dns_record(packet, TYPE_A, 3600, 4);
    packet_u32(packet, ipv4_of(WEB));
}

static void mdns(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    static const uint8_t group[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb};
    bool answers = line->what == ANSWER;
    start(packet, neighbour, line, group, ETHERTYPE_IPV4);
    packet_ipv4(packet, ipv4_of(line->from), PACKET_ADDRESS(224, 0, 0, 251), PROTOCOL_UDP, 255,
                (uint16_t)neighbour->round);
    packet_udp(packet, MDNS_PORT, MDNS_PORT);
    dns_header(packet, 0, answers ? 0x8400 : 0, !answers, answers);
    dns_name(packet, "_http._tcp.local");
    if (!answers) {
        packet_u16(packet, TYPE_PTR);
        packet_u16(packet, CLASS_INTERNET);
        return;
    }
    dns_record(packet, TYPE_PTR, 4500, 10);
    packet_u8(packet, 7);
    packet_text(packet, "printer");
    packet_u16(packet, POINTER_TO_NAME);
}

// TCP (RFC 9293), with HTTP in it. The flags say what a segment is; a pushed one carries the request or the response.

enum { FIN = 1, SYN = 2, PUSH = 8, ACK = 16, HTTP_PORT = 80 };

static const char *http_text(bool from_server) {
    static char response[1200];
    static const char page[] = "Every frame that you see here was written by a function of a few lines.\n";
    enum { TIMES = 12 };
    if (!from_server) return "GET / HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    int used = snprintf(response, sizeof response,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                        "Connection: close\r\n\r\n",
                        TIMES * strlen(page));
    for (unsigned i = 0; i < TIMES; i++)
        used += snprintf(response + used, sizeof response - (size_t)used, "%s", page);
    return response;
}

static void tcp(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    static const uint8_t options[12] = {2, 4, 0x05, 0xb4, 4, 2, 1, 1, 1, 3, 3, 7};  // MSS 1460, SACK, scale 7
    bool from_server = line->from == WEB, opens = line->what & SYN;
    uint16_t port = client_port(neighbour);
    uint32_t *mine = &neighbour->tcp_next[from_server], *theirs = &neighbour->tcp_next[!from_server];
    if (opens) *mine = neighbour->round * 100000 + (from_server ? 5000 : 1000);

    start_ipv4(packet, neighbour, line, PROTOCOL_TCP);
    packet_u16(packet, from_server ? HTTP_PORT : port);
    packet_u16(packet, from_server ? port : HTTP_PORT);
    packet_u32(packet, *mine);
    packet_u32(packet, line->what & ACK ? *theirs : 0);
    packet_u16(packet, (uint16_t)((opens ? 8 : 5) << 12 | line->what));
    packet_u16(packet, opens ? 64240 : 502);
    packet_u32(packet, 0);  // checksum, urgent pointer
    if (opens) packet_bytes(packet, options, sizeof options);
    uint32_t payload_at = packet->length;
    if (line->what & PUSH) packet_text(packet, http_text(from_server));
    *mine += packet->length - payload_at + (line->what & (SYN | FIN) ? 1 : 0);
}

// NTP (RFC 5905).

enum { NTP_PORT = 123, NTP_CLIENT = 0x23, NTP_SERVER = 0x24 };  // version 4, mode 3 and 4

static void ntp(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    bool server = line->what == NTP_SERVER;
    uint64_t now = (0xe8fb8000ull + neighbour->round) << 32;  // seconds since 1900, and a fraction
    start_ipv4(packet, neighbour, line, PROTOCOL_UDP);
    packet_udp(packet, NTP_PORT, NTP_PORT);
    packet_u8(packet, (uint8_t)line->what);
    packet_u8(packet, server ? 2 : 0);  // stratum
    packet_u8(packet, 6);               // poll every 64 s
    packet_u8(packet, 0xec);            // precision 2^-20 s
    packet_u32(packet, server ? 0x00000100 : 0);
    packet_u32(packet, server ? 0x00000200 : 0);
    packet_u32(packet, server ? ipv4_of(GATEWAY) : 0);  // where the server has its time from
    packet_u64(packet, server ? now - (30ull << 32) : 0);
    packet_u64(packet, server ? now : 0);
    packet_u64(packet, server ? now + 0x00100000 : 0);
    packet_u64(packet, server ? now + 0x00180000 : now);
}

// Syslog (RFC 3164): this is for us.
static void syslog_message(struct packet *packet, struct neighbour *neighbour, const struct line_of_script *line) {
    char text[96];
    snprintf(text, sizeof text, "<30>Jan  1 00:00:00 gateway dhcpd: lease %u renewed for 192.0.2.%u",
             neighbour->round + 1, LAPTOP);
    start_ipv4(packet, neighbour, line, PROTOCOL_UDP);
    packet_udp(packet, 514, 514);
    packet_text(packet, text);
}

static const struct line_of_script script[] = {
    {5000, arp, LAPTOP, EVERYBODY, ARP_REQUEST, false},
    {300, arp, GATEWAY, LAPTOP, ARP_REPLY, false},
    {200, icmp, LAPTOP, GATEWAY, ECHO_REQUEST, false},
    {400, icmp, GATEWAY, LAPTOP, ECHO_REPLY, false},
    {2500, dns, LAPTOP, SERVER, QUERY, false},
    {600, dns, SERVER, LAPTOP, ANSWER, false},
    {200, tcp, LAPTOP, WEB, SYN, false},
    {700, tcp, WEB, LAPTOP, SYN | ACK, false},
    {100, tcp, LAPTOP, WEB, ACK, false},
    {100, tcp, LAPTOP, WEB, PUSH | ACK, false},
    {700, tcp, WEB, LAPTOP, ACK, false},
    {900, tcp, WEB, LAPTOP, PUSH | ACK, false},
    {200, tcp, LAPTOP, WEB, ACK, false},
    {100, tcp, WEB, LAPTOP, FIN | ACK, false},
    {400, tcp, LAPTOP, WEB, FIN | ACK, false},
    {700, tcp, WEB, LAPTOP, ACK, false},
    {3000, discovery, PHONE, GATEWAY, SOLICITATION, false},
    {300, discovery, GATEWAY, PHONE, ADVERTISEMENT, false},
    {200, icmpv6, PHONE, GATEWAY, ECHO_REQUEST_V6, false},
    {400, icmpv6, GATEWAY, PHONE, ECHO_REPLY_V6, false},
    {2600, mdns, PHONE, EVERYBODY, QUERY, false},
    {900, mdns, SERVER, EVERYBODY, ANSWER, false},
    {1500, icmp, PHONE, SERVER, ECHO_REQUEST, true},
    {500, icmp, SERVER, PHONE, ECHO_REPLY, true},
    {2000, ntp, PHONE, SERVER, NTP_CLIENT, false},
    {500, ntp, SERVER, PHONE, NTP_SERVER, false},
    {2000, arp, GATEWAY, US, ARP_REQUEST, false},
    {800, icmp, GATEWAY, US, ECHO_REQUEST, false},
    {1200, discovery, GATEWAY, US, SOLICITATION, false},
    {800, icmpv6, GATEWAY, US, ECHO_REQUEST_V6, false},
    {1000, syslog_message, GATEWAY, US, 0, false},
};

enum { SCRIPT_LINES = sizeof script / sizeof *script };

void neighbour_hush(struct neighbour *neighbour) { neighbour->next_ns = 0; }

static void next_line(struct neighbour *neighbour) {
    if (++neighbour->step == SCRIPT_LINES) {
        neighbour->step = 0;
        neighbour->round++;
    }
    neighbour->next_ns += script[neighbour->step].after_us * 1000ull;
}

unsigned neighbour_poll(struct neighbour *neighbour, struct line *line, unsigned budget) {
    struct sim_device *port = line->wire.port;
    if (!sim_receiver_open(port)) {
        neighbour_hush(neighbour);
        return 0;
    }
    uint64_t now = sim_now(port);
    if (!neighbour->next_ns) neighbour->next_ns = now + QUIET_NS;
    if (now > neighbour->next_ns + MOST_BEHIND_NS) neighbour->next_ns = now - MOST_BEHIND_NS;

    unsigned done = 0;
    for (; done < budget && neighbour->next_ns <= now && line_may_deliver(line); done++) {
        const struct line_of_script *what = &script[neighbour->step];
        struct packet packet;
        wire_port_mac(port, neighbour->our_mac);
        what->write(&packet, neighbour, what);
        packet_finish(&packet);
        line_deliver(line, packet.bytes, packet.length);
        next_line(neighbour);
    }
    return done;
}
