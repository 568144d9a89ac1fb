// test_answer.c: each question has the answer that the protocols ask for, byte for byte; and what is not exactly a
// question has none, whatever it is.

#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "test.h"

enum { LARGEST = 1514, ROOM = LARGEST + 64, ETHERNET = 14, IPV4 = 20, IPV6 = 40, ECHO = 8 };

static struct host host = {
    .mac = {0x90, 0xe2, 0xba, 0x82, 0x59, 0x00},
    .ipv4_count = 2,
    .ipv4 = {{10, 0, 0, 1}, {192, 0, 2, 100}},
    .ipv6_count = 2,
    .ipv6 = {{0xfe, 0x80, [8] = 0x92, 0xe2, 0xba, 0xff, 0xfe, 0x82, 0x59, 0x00},
             {0x20, 0x01, 0x0d, 0xb8, [15] = 0x64}},
};

// ---- Frames, written in hexadecimal ------------------------------------------------------------------------------

#define WE        "90e2ba825900 "
#define ASKER     "020000000001 "
#define WE_4      "c0000264 "
#define ASKER_4   "c0000201 "
#define WE_6      "20010db8000000000000000000000064 "
#define ASKER_6   "20010db8000000000000000000000001 "
#define NOBODY_6  "00000000000000000000000000000000 "
#define GROUP_6   "ff0200000000000000000001ff000064 "
#define GROUP     "3333ff000064 "
#define EVERYBODY "ffffffffffff "
#define DATA      "5c 5d 5e 5f 60 61 62 "  // an odd number of bytes

static const char arp_question[] = EVERYBODY ASKER "0806 0001 0800 06 04 0001" ASKER ASKER_4 "000000000000" WE_4;
static const char arp_answer[] = ASKER WE "0806 0001 0800 06 04 0002" WE WE_4 ASKER ASKER_4;

static const char ping_question[] =
    WE ASKER "0800 45 00 0023 1234 4000 33 01 b140" ASKER_4 WE_4 "08 00 7a58 0082 0007" DATA;
static const char ping_answer[] =
    ASKER WE "0800 45 00 0023 1234 4000 40 01 a440" WE_4 ASKER_4 "00 00 8258 0082 0007" DATA;

static const char solicitation[] =
    GROUP ASKER "86dd 6000 0000 0020 3a ff" ASKER_6 GROUP_6 "87 00 1b63 00000000" WE_6 "01 01" ASKER;
static const char advertisement[] =
    ASKER WE "86dd 6000 0000 0020 3a ff" WE_6 ASKER_6 "88 00 e749 60000000" WE_6 "02 01" WE;

// A neighbour that knows us asks us alone whether we are still there, and need not say where it is.
static const char solicitation_to_us[] = WE ASKER "86dd 6000 0000 0018 3a ff" ASKER_6 WE_6 "87 00 eeb8 00000000" WE_6;

// Somebody is about to take our address.
static const char is_it_free[] = GROUP ASKER "86dd 6000 0000 0018 3a ff" NOBODY_6 GROUP_6 "87 00 4c27 00000000" WE_6;
static const char it_is_not[] = "333300000001 " WE "86dd 6000 0000 0020 3a ff" WE_6 "ff020000000000000000000000000001"
                                "88 00 5600 20000000" WE_6 "02 01" WE;

static const char ping6_question[] = WE ASKER "86dd 6001 2345 000f 3a 07" ASKER_6 WE_6 "80 00 a637 0082 0007" DATA;
static const char ping6_answer[] = ASKER WE "86dd 6001 2345 000f 3a 40" WE_6 ASKER_6 "81 00 a537 0082 0007" DATA;

static const struct exchange {
    const char *question, *answer;
    enum outcome outcome;
} exchanges[] = {
    {arp_question, arp_answer, ANSWERED_ARP},
    {ping_question, ping_answer, ANSWERED_PING},
    {solicitation, advertisement, ANSWERED_SOLICITATION},
    {solicitation_to_us, advertisement, ANSWERED_SOLICITATION},
    {is_it_free, it_is_not, ANSWERED_SOLICITATION},
    {ping6_question, ping6_answer, ANSWERED_PING6},
};
enum { EXCHANGES = sizeof exchanges / sizeof *exchanges };

static uint32_t nibble(char digit) { return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

static uint32_t read_hex(const char *text, uint8_t *bytes) {
    uint32_t length = 0;
    for (; *text; text++) {
        if (*text == ' ') continue;
        bytes[length++] = (uint8_t)(nibble(text[0]) << 4 | nibble(text[1]));
        text++;
    }
    return length;
}

// ---- Checksums, once more and in another way
// -----------------------------------------------------------------------

static uint32_t plus(uint32_t a, uint32_t b) { return a + b > 0xffff ? a + b - 0xffff : a + b; }

static uint32_t sum_of(const uint8_t *bytes, uint32_t length) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < length; i++) sum = plus(sum, i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8);
    return sum;
}

static uint32_t word(const uint8_t *frame, uint32_t at) { return (uint32_t)frame[at] << 8 | frame[at + 1]; }

static uint32_t ipv6_sum(const uint8_t *frame) {
    uint32_t length = word(frame, ETHERNET + 4);
    uint32_t sum = plus(sum_of(frame + ETHERNET + 8, 32), plus(length, frame[ETHERNET + 6]));
    return plus(sum, sum_of(frame + ETHERNET + IPV6, length));
}

static void set_sum(uint8_t *frame, uint32_t at, uint32_t sum) {
    frame[at] = (uint8_t)(~sum >> 8);
    frame[at + 1] = (uint8_t)~sum;
}

// Makes the checksums of an IPv4 or IPv6 frame right, so far as its lengths allow it.
static void mend(uint8_t *frame, uint32_t length) {
    uint32_t type = word(frame, 12), header = 4u * (frame[ETHERNET] & 0xf);
    if (type == 0x0800 && length >= ETHERNET + header && header >= IPV4) {
        frame[ETHERNET + 10] = frame[ETHERNET + 11] = 0;
        set_sum(frame, ETHERNET + 10, sum_of(frame + ETHERNET, header));
        uint32_t packet = word(frame, ETHERNET + 2);
        if (packet < header + 4 || packet > length - ETHERNET) return;
        frame[ETHERNET + header + 2] = frame[ETHERNET + header + 3] = 0;
        set_sum(frame, ETHERNET + header + 2, sum_of(frame + ETHERNET + header, packet - header));
    }
    if (type == 0x86dd && length >= ETHERNET + IPV6 + 4) {
        uint32_t packet = word(frame, ETHERNET + 4);
        if (packet < 4 || packet > length - ETHERNET - IPV6) return;
        frame[ETHERNET + IPV6 + 2] = frame[ETHERNET + IPV6 + 3] = 0;
        set_sum(frame, ETHERNET + IPV6 + 2, ipv6_sum(frame));
    }
}

static bool sums_are_right(const uint8_t *frame) {
    if (word(frame, 12) == 0x0800)
        return sum_of(frame + ETHERNET, IPV4) == 0xffff &&
               sum_of(frame + ETHERNET + IPV4, word(frame, ETHERNET + 2) - IPV4) == 0xffff;
    return word(frame, 12) != 0x86dd || ipv6_sum(frame) == 0xffff;
}

// ---- Questions and answers
// -----------------------------------------------------------------------------------------

static void answers_are_as_the_protocols_say(void) {
    for (uint32_t i = 0; i < EXCHANGES; i++) {
        uint8_t frame[ROOM] = {0}, wanted[ROOM];
        uint32_t length = read_hex(exchanges[i].question, frame);
        uint32_t wanted_length = read_hex(exchanges[i].answer, wanted);
        CHECK_EQ(answer(&host, frame, &length), exchanges[i].outcome);
        CHECK_EQ(length, wanted_length);
        CHECK(!memcmp(frame, wanted, wanted_length));
    }
}

// The checksums above come from elsewhere, so that this test's arithmetic is not only compared with our own.
static void the_test_can_add(void) {
    for (uint32_t i = 0; i < EXCHANGES; i++) {
        const char *texts[] = {exchanges[i].question, exchanges[i].answer};
        for (int j = 0; j < 2; j++) {
            uint8_t frame[ROOM], mended[ROOM];
            uint32_t length = read_hex(texts[j], frame);
            memcpy(mended, frame, length);
            mend(mended, length);
            CHECK(!memcmp(frame, mended, length));
        }
    }
}

static void both_parties_are_named(void) {
    static const char *const peers[EXCHANGES] = {
        ASKER_4, ASKER_4, ASKER_6, ASKER_6, "ff020000000000000000000000000001", ASKER_6};
    for (uint32_t i = 0; i < EXCHANGES; i++) {
        uint8_t frame[ROOM] = {0}, peer[16], own[16];
        uint32_t length = read_hex(exchanges[i].question, frame);
        enum outcome outcome = answer(&host, frame, &length);
        CHECK(!memcmp(answer_peer(outcome, frame), peer, read_hex(peers[i], peer)));
        CHECK(!memcmp(answer_own(outcome, frame), own, read_hex(i < 2 ? WE_4 : WE_6, own)));
    }
}

// Frames are padded to 60 bytes, and nothing says that padding is zero. It is no part of the answer.
static void padding_is_left_out(void) {
    for (uint32_t i = 0; i < EXCHANGES; i++) {
        uint8_t frame[ROOM], wanted[ROOM];
        uint32_t wanted_length = read_hex(exchanges[i].answer, wanted);
        memset(frame, 0xaa, sizeof frame);
        read_hex(exchanges[i].question, frame);
        uint32_t length = LARGEST;
        CHECK_EQ(answer(&host, frame, &length), exchanges[i].outcome);
        CHECK_EQ(length, wanted_length);
        CHECK(!memcmp(frame, wanted, wanted_length));
    }
}

// A ping of each size: ping -s 0 to -s 1472, and the same for IPv6.
static void pings_of_every_size(void) {
    for (uint32_t size = 0; size <= 1472; size++) {
        for (int version = 4; version <= 6; version += 2) {
            uint32_t headers = ETHERNET + (version == 4 ? IPV4 : IPV6) + ECHO;
            if (headers + size > LARGEST) continue;
            uint8_t frame[ROOM], question[ROOM];
            read_hex(version == 4 ? ping_question : ping6_question, frame);
            for (uint32_t i = 0; i < size; i++) frame[headers + i] = (uint8_t)(i * 7 + size);
            uint32_t length = headers + size, field = version == 4 ? IPV4 + ECHO + size : ECHO + size;
            frame[version == 4 ? 16 : 18] = (uint8_t)(field >> 8);
            frame[version == 4 ? 17 : 19] = (uint8_t)field;
            mend(frame, length);
            memcpy(question, frame, length);
            CHECK_EQ(answer(&host, frame, &length), version == 4 ? ANSWERED_PING : ANSWERED_PING6);
            CHECK_EQ(length, headers + size);
            CHECK(sums_are_right(frame));
            CHECK(!memcmp(frame + headers, question + headers, size));
        }
    }
}

// Every value that a checksum can have before and after, 0 and 0xffff among them.
static void every_checksum_is_corrected(void) {
    uint8_t question[2][ROOM];
    uint32_t lengths[2] = {read_hex(ping_question, question[0]), read_hex(ping6_question, question[1])};
    uint32_t right = 0;
    for (uint32_t value = 0; value < 0x10000; value++) {
        for (int i = 0; i < 2; i++) {
            uint8_t frame[ROOM];
            uint32_t length = lengths[i], sequence = ETHERNET + (i ? IPV6 : IPV4) + 6;
            memcpy(frame, question[i], length);
            frame[sequence] = (uint8_t)(value >> 8);
            frame[sequence + 1] = (uint8_t)value;
            if (!i) memcpy(frame + ETHERNET + 4, frame + sequence, 2);  // IPv4's identification
            frame[ETHERNET + (i ? 7 : 8)] = (uint8_t)(value * 31);      // how far it has come
            mend(frame, length);
            right += answer(&host, frame, &length) < ANSWERS && sums_are_right(frame);
        }
    }
    CHECK_EQ(right, 2 * 0x10000);
}

// ---- What is left alone
// --------------------------------------------------------------------------------------------

enum { BROKEN, MENDED };

static const struct variation {
    const char *what, *question;
    uint32_t at;
    const char *bytes;
    int mended;
    enum outcome outcome;
} variations[] = {
    {"another MAC address", arp_question, 0, "90e2ba825901", BROKEN, IGNORED_FOREIGN},
    {"from a group's MAC address", arp_question, 6, "01", BROKEN, IGNORED_MALFORMED},
    {"an unknown protocol", arp_question, 12, "88b5", BROKEN, IGNORED_OTHER},
    {"a VLAN tag", ping_question, 12, "8100 0007 0800", BROKEN, IGNORED_OTHER},

    {"ARP: not Ethernet", arp_question, 14, "0006", BROKEN, IGNORED_OTHER},
    {"ARP: not IPv4", arp_question, 16, "86dd", BROKEN, IGNORED_OTHER},
    {"ARP: size of a MAC address", arp_question, 18, "08", BROKEN, IGNORED_MALFORMED},
    {"ARP: size of an IP address", arp_question, 19, "10", BROKEN, IGNORED_MALFORMED},
    {"ARP: a reply", arp_question, 20, "0002", BROKEN, IGNORED_OTHER},
    {"ARP: from a group", arp_question, 22, "ff", BROKEN, IGNORED_MALFORMED},
    {"ARP: from a multicast address", arp_question, 28, "e0", BROKEN, IGNORED_MALFORMED},
    {"ARP: who has another address", arp_question, 41, "65", BROKEN, IGNORED_FOREIGN},

    {"IPv4: sent to all", ping_question, 0, EVERYBODY, BROKEN, IGNORED_FOREIGN},
    {"IPv4: version 5", ping_question, 14, "55", MENDED, IGNORED_MALFORMED},
    {"IPv4: a header of 16 bytes", ping_question, 14, "44", BROKEN, IGNORED_MALFORMED},
    {"IPv4: a header longer than the packet", ping_question, 14, "4f", MENDED, IGNORED_MALFORMED},
    {"IPv4: options", ping_question, 14, "46", MENDED, IGNORED_OTHER},
    {"IPv4: shorter than its header", ping_question, 16, "0013", MENDED, IGNORED_MALFORMED},
    {"IPv4: longer than the frame", ping_question, 16, "0024", MENDED, IGNORED_MALFORMED},
    {"IPv4: no room for ICMP", ping_question, 16, "001b", MENDED, IGNORED_MALFORMED},
    {"IPv4: the first fragment", ping_question, 20, "2000", MENDED, IGNORED_FRAGMENT},
    {"IPv4: the last fragment", ping_question, 20, "0001", MENDED, IGNORED_FRAGMENT},
    {"IPv4: UDP", ping_question, 23, "11", MENDED, IGNORED_OTHER},
    {"IPv4: the header's checksum", ping_question, 24, "b141", BROKEN, IGNORED_CHECKSUM},
    {"IPv4: from 0.0.0.0", ping_question, 26, "00000000", MENDED, IGNORED_MALFORMED},
    {"IPv4: from the loopback", ping_question, 26, "7f000001", MENDED, IGNORED_MALFORMED},
    {"IPv4: from a multicast address", ping_question, 26, "e0000001", MENDED, IGNORED_MALFORMED},
    {"IPv4: from everybody", ping_question, 26, "ffffffff", MENDED, IGNORED_MALFORMED},
    {"IPv4: to another address", ping_question, 30, "c0000265", MENDED, IGNORED_FOREIGN},
    {"IPv4: to everybody", ping_question, 30, "ffffffff", MENDED, IGNORED_FOREIGN},
    {"ICMP: a reply", ping_question, 34, "00", MENDED, IGNORED_OTHER},
    {"ICMP: a code", ping_question, 35, "01", MENDED, IGNORED_MALFORMED},
    {"ICMP: the checksum", ping_question, 36, "7a57", BROKEN, IGNORED_CHECKSUM},
    {"ICMP: the last byte", ping_question, 48, "63", BROKEN, IGNORED_CHECKSUM},

    {"IPv6: version 4", ping6_question, 14, "40", MENDED, IGNORED_MALFORMED},
    {"IPv6: longer than the frame", ping6_question, 18, "0010", MENDED, IGNORED_MALFORMED},
    {"IPv6: no room for ICMPv6", ping6_question, 18, "0007", MENDED, IGNORED_MALFORMED},
    {"IPv6: nothing in it", ping6_question, 18, "0000", BROKEN, IGNORED_MALFORMED},
    {"IPv6: a fragment", ping6_question, 20, "2c", MENDED, IGNORED_FRAGMENT},
    {"IPv6: an extension header", ping6_question, 20, "00", MENDED, IGNORED_OTHER},
    {"IPv6: UDP", ping6_question, 20, "11", MENDED, IGNORED_OTHER},
    {"ICMPv6: the checksum", ping6_question, 57, "00", BROKEN, IGNORED_CHECKSUM},
    {"ICMPv6: the last byte", ping6_question, 68, "63", BROKEN, IGNORED_CHECKSUM},
    {"ping6: sent to all", ping6_question, 0, "333300000001", BROKEN, IGNORED_FOREIGN},
    {"ping6: from a multicast address", ping6_question, 22, "ff", MENDED, IGNORED_MALFORMED},
    {"ping6: from nobody", ping6_question, 22, NOBODY_6, MENDED, IGNORED_MALFORMED},
    {"ping6: to another address", ping6_question, 53, "65", MENDED, IGNORED_FOREIGN},
    {"ping6: to all nodes", ping6_question, 38, "ff020000000000000000000000000001", MENDED, IGNORED_FOREIGN},
    {"ping6: a reply", ping6_question, 54, "81", MENDED, IGNORED_OTHER},
    {"ping6: a code", ping6_question, 55, "01", MENDED, IGNORED_MALFORMED},

    {"solicitation: has passed a router", solicitation, 21, "fe", MENDED, IGNORED_MALFORMED},
    {"solicitation: from a multicast address", solicitation, 22, "ff", MENDED, IGNORED_MALFORMED},
    {"solicitation: to another group", solicitation, 53, "65", MENDED, IGNORED_FOREIGN},
    {"solicitation: an advertisement", solicitation, 54, "88", MENDED, IGNORED_OTHER},
    {"solicitation: a code", solicitation, 55, "01", MENDED, IGNORED_MALFORMED},
    {"solicitation: of another address", solicitation, 77, "65", MENDED, IGNORED_FOREIGN},
    {"solicitation: of a multicast address", solicitation, 62, "ff", MENDED, IGNORED_FOREIGN},
    {"solicitation: too short for a target", solicitation, 18, "0017", MENDED, IGNORED_MALFORMED},
    {"solicitation: half an option", solicitation, 18, "001f", MENDED, IGNORED_MALFORMED},
    {"solicitation: one byte of an option", solicitation, 18, "0019", MENDED, IGNORED_MALFORMED},
    {"solicitation: an option of no size", solicitation, 79, "00", MENDED, IGNORED_MALFORMED},
    {"solicitation: an option beyond the end", solicitation, 79, "02", MENDED, IGNORED_MALFORMED},
    {"solicitation: from nobody, to us", is_it_free, 38, WE_6, MENDED, IGNORED_MALFORMED},
    {"solicitation: from nobody, who says where", solicitation, 22, NOBODY_6, MENDED, IGNORED_MALFORMED},

    {"an option that we do not know", solicitation, 78, "0e", MENDED, ANSWERED_SOLICITATION},
    {"ARP: is this address free?", arp_question, 28, "00000000", BROKEN, ANSWERED_ARP},
    {"ARP: sent to us alone", arp_question, 0, WE, BROKEN, ANSWERED_ARP},
    {"ARP: our other address", arp_question, 38, "0a000001", BROKEN, ANSWERED_ARP},
    {"IPv4: not to be fragmented, and the reserved bit", ping_question, 20, "c000", MENDED, ANSWERED_PING},
};

static void each_variation_counts_as_what_it_is(void) {
    for (uint32_t i = 0; i < sizeof variations / sizeof *variations; i++) {
        const struct variation *variation = &variations[i];
        uint8_t frame[ROOM] = {0}, before[ROOM];
        uint32_t length = read_hex(variation->question, frame), length_before = length;
        read_hex(variation->bytes, frame + variation->at);
        if (variation->mended) mend(frame, length);
        memcpy(before, frame, sizeof frame);
        enum outcome outcome = answer(&host, frame, &length);
        if (!CHECK_EQ(outcome, variation->outcome)) printf("    %s\n", variation->what);
        if (variation->outcome < ANSWERS) continue;
        if (!CHECK(length == length_before && !memcmp(frame, before, sizeof frame)))
            printf("    %s\n", variation->what);
    }
}

// Cut anywhere, a question is none. What lies behind the cut must not be read.
static void nothing_that_is_cut_short_is_answered(void) {
    for (uint32_t i = 0; i < EXCHANGES; i++) {
        uint8_t question[ROOM] = {0};
        uint32_t whole = read_hex(exchanges[i].question, question);
        for (uint32_t cut = 0; cut < whole; cut++) {
            uint8_t frame[ROOM];
            uint32_t length = cut;
            memcpy(frame, question, sizeof frame);
            CHECK(answer(&host, frame, &length) >= ANSWERS);
            CHECK(length == cut && !memcmp(frame, question, sizeof frame));
        }
    }
}

static void addresses(void) {
    uint8_t address[16], wanted[16];
    link_local_of(host.mac, address);
    CHECK(!memcmp(address, host.ipv6[0], 16));
    static const struct {
        const char *text;
        bool is_host;
    } cases[] = {{WE_4, true},
                 {"00000000", false},
                 {"7f000001", false},
                 {"e0000001", false},
                 {"ffffffff", false},
                 {WE_6, true},
                 {NOBODY_6, false},
                 {GROUP_6, false},
                 {"fe80000000000000 92e2bafffe825900", true},
                 {"0000000000000000 0000000000000001", false}};
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool is_ipv4 = read_hex(cases[i].text, wanted) == 4;
        CHECK_EQ(is_ipv4 ? ipv4_is_host(wanted) : ipv6_is_host(wanted), cases[i].is_host);
    }
}

// ---- Chance
// --------------------------------------------------------------------------------------------------------

static uint64_t state = 0x82599;

// xorshift64*: the same numbers in every run.
static uint32_t chance(uint32_t below) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * 0x2545f4914f6cdd1d >> 33) % below;
}

static uint32_t make_mutant(uint8_t *frame) {
    uint32_t length = read_hex(exchanges[chance(EXCHANGES)].question, frame);
    for (uint32_t i = chance(4); i > 0; i--) frame[chance(length)] ^= (uint8_t)(1 << chance(8));
    if (!chance(4)) frame[chance(length)] = (uint8_t)chance(256);
    if (!chance(3)) length = chance(2) ? chance(length + 1) : length + chance(ROOM - length);
    if (chance(2)) mend(frame, length);
    return length;
}

static bool is_proper_answer(const uint8_t *question, const uint8_t *frame, uint32_t length, uint32_t before) {
    uint32_t end = before > ANSWER_ROOM ? before : ANSWER_ROOM;
    bool to_asker = !memcmp(frame, question + 6, 6), to_all = !memcmp(frame, "\x33\x33\0\0\0\1", 6);
    return length >= 42 && length <= end && (to_asker || to_all) && !memcmp(frame + 6, host.mac, 6) &&
           !memcmp(frame + 12, question + 12, 2) && sums_are_right(frame);
}

// Two copies of a mutant, with different bytes behind them, each in a buffer that is not a byte larger than promised:
// so whoever reads or writes beyond the end is found, by the difference or by a sanitizer.
static enum outcome try_mutant(const uint8_t *mutant, uint32_t length, uint32_t *failed) {
    enum outcome outcomes[2];
    uint32_t lengths[2] = {length, length}, room = length > ANSWER_ROOM ? length : ANSWER_ROOM;
    uint8_t *frames[2];
    for (int i = 0; i < 2; i++) {
        frames[i] = malloc(room);
        memset(frames[i], i ? 0xff : 0, room);
        memcpy(frames[i], mutant, length);
        outcomes[i] = answer(&host, frames[i], &lengths[i]);
    }
    bool is_answer = outcomes[0] < ANSWERS;
    if (outcomes[0] != outcomes[1] || lengths[0] != lengths[1] || memcmp(frames[0], frames[1], lengths[0])) ++*failed;
    if (is_answer && !is_proper_answer(mutant, frames[0], lengths[0], length)) ++*failed;
    if (!is_answer && (lengths[0] != length || memcmp(frames[0], mutant, length))) ++*failed;
    free(frames[0]);
    free(frames[1]);
    return outcomes[0];
}

// `budget`: bytes of frames to try.
static void mutants_do_no_harm(uint32_t budget) {
    uint32_t outcomes[OUTCOMES] = {0}, failed = 0;
    for (uint32_t length; budget > ROOM; budget -= length + 1) {
        uint8_t mutant[ROOM] = {0};
        length = make_mutant(mutant);
        outcomes[try_mutant(mutant, length, &failed)]++;
    }
    CHECK_EQ(failed, 0);
    for (int i = 0; i < OUTCOMES; i++) CHECK(outcomes[i] > 0);
}

int main(void) {
    the_test_can_add();
    answers_are_as_the_protocols_say();
    both_parties_are_named();
    padding_is_left_out();
    pings_of_every_size();
    every_checksum_is_corrected();
    each_variation_counts_as_what_it_is();
    nothing_that_is_cut_short_is_answered();
    addresses();
    mutants_do_no_harm(32 << 20);
    return test_summary();
}
