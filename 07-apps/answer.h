// answer.h: what a host must answer so that others can find it and ping it.
//
// Four questions are answered, each in the buffer that it came in: ARP ("who has 192.0.2.100?", RFC 826) and ping
// (ICMP echo, RFC 792) for IPv4; neighbour solicitation (RFC 4861) and ping (ICMPv6 echo, RFC 4443) for IPv6. All
// else is left alone, and so is a question that is not exactly as it should be: anybody can send anything.
//
// Nothing here knows of a network card: a frame goes in, and a frame or nothing comes out.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    HOST_MOST_ADDRESSES = 8,
    ANSWER_ROOM = 86,  // bytes that a frame's buffer must have, however short the frame: an answer may be longer
};

// Who we are. An address of one kind is in use if it is below its count.
struct host {
    uint8_t mac[6];
    uint32_t ipv4_count, ipv6_count;
    uint8_t ipv4[HOST_MOST_ADDRESSES][4];
    uint8_t ipv6[HOST_MOST_ADDRESSES][16];
};

enum outcome {
    ANSWERED_ARP,
    ANSWERED_PING,
    ANSWERED_SOLICITATION,
    ANSWERED_PING6,
    ANSWERS,  // the outcomes before this one are answers; those from here on left the frame as it was

    IGNORED_FOREIGN = ANSWERS,  // for another address
    IGNORED_OTHER,              // for us, and none of the four questions
    IGNORED_FRAGMENT,           // a part of an IP packet
    IGNORED_CHECKSUM,           // damaged on its way
    IGNORED_MALFORMED,          // cut short, or contradicts itself or its protocol
    OUTCOMES,
};

// Looks at a frame of *length bytes, without CRC; if it is one of the questions and for `host`, turns it into the
// answer and sets *length to that one's.
enum outcome answer(const struct host *host, uint8_t *frame, uint32_t *length);

// In an answer: who gets it, and which of our addresses it is about. 4 bytes for ANSWERED_ARP and ANSWERED_PING, 16
// for the other two.
const uint8_t *answer_peer(enum outcome outcome, const uint8_t *frame);
const uint8_t *answer_own(enum outcome outcome, const uint8_t *frame);

// The address that every IPv6 interface has of itself, on its own link only: fe80::, and the MAC address widened to
// 64 bits with its universal/local bit inverted (RFC 4291, appendix A).
void link_local_of(const uint8_t mac[6], uint8_t address[16]);

// May this be one host's address? Not if it means nobody or many.
bool ipv4_is_host(const uint8_t address[4]);
bool ipv6_is_host(const uint8_t address[16]);
