// echo: a host on the network that can be found and pinged, and does nothing else.
//
// A packet is received, turned round where it lies (answer.c), and sent: the same buffer, out of the same port. The
// program has no packet buffers of its own. Between packets it sleeps, and an interrupt wakes it.

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "app.h"
#include "clock.h"
#include "interrupts.h"
#include "log.h"
#include "software_nic.h"

// From the ranges that are kept for documentation (RFC 5737, RFC 3849): so they are nobody else's.
#define DEFAULT_IPV4 "192.0.2.100"
#define DEFAULT_IPV6 "2001:db8::64"

enum {
    BATCH = 32,
    INTERRUPT_INTERVAL_US = 10,  // whoever pings measures it
    CHECK_MS = 1000,
    IDLE_MS = 100,  // the longest sleep, should Ctrl-C come just before it
    MOST_PEERS = 64,
    LINK_LOCAL = 0,  // in host.ipv6
};

struct options {
    uint64_t seconds, count;  // 0 seconds: until stopped; 0 count: without end
    bool verbose, address_named;
    char address[PCI_ADDRESS_SIZE];
};

struct peer {
    enum outcome asked;
    uint8_t address[16];
};

struct echo {
    struct options options;
    struct host host;
    struct nic *nic;
    struct interrupts interrupts;
    struct nic_stats stats;
    uint64_t counts[OUTCOMES], answered, not_sent;
    struct peer peers[MOST_PEERS];  // whose first question of that kind has been shown
    uint32_t peer_count;
};

// ---- What is printed ----------------------------------------------------------------------------------------------

static const struct {
    const char *name, *question;
    bool tells_mac;
    int family;
} answered[ANSWERS] = {
    [ANSWERED_ARP] = {"ARP", "asks who has", true, AF_INET},
    [ANSWERED_PING] = {"ping", "pings", false, AF_INET},
    [ANSWERED_SOLICITATION] = {"neighbour solicitation", "asks who has", true, AF_INET6},
    [ANSWERED_PING6] = {"IPv6 ping", "pings", false, AF_INET6},
};

static const char *const ignored[OUTCOMES] = {
    [IGNORED_FOREIGN] = "for others",       [IGNORED_OTHER] = "other protocols", [IGNORED_FRAGMENT] = "fragments",
    [IGNORED_CHECKSUM] = "wrong checksums", [IGNORED_MALFORMED] = "malformed",
};

static void print_mac(const uint8_t mac[6]) {
    for (int i = 0; i < 6; i++) printf("%02x%s", mac[i], i < 5 ? ":" : "");
}

static void print_address(int family, const uint8_t *address) {
    char text[INET6_ADDRSTRLEN];
    printf("%s", inet_ntop(family, address, text, sizeof text));
}

static void print_start(const struct echo *echo) {
    const struct host *host = &echo->host;
    printf("%s has the MAC address ", echo->options.address);
    print_mac(host->mac);
    printf(" and answers for ");
    for (uint32_t i = 0; i < host->ipv4_count; i++) {
        print_address(AF_INET, host->ipv4[i]);
        printf(", ");
    }
    for (uint32_t i = host->ipv6_count; i-- > 0;) {
        print_address(AF_INET6, host->ipv6[i]);
        printf(i ? ", " : "\n");
    }
    fflush(stdout);
}

// The first time that somebody asks this. With all places taken there are no more first times, so nobody can fill the
// screen by inventing addresses.
static bool is_news(struct echo *echo, enum outcome outcome, const uint8_t *address) {
    struct peer peer = {.asked = outcome};
    memcpy(peer.address, address, answered[outcome].family == AF_INET ? 4 : 16);
    for (uint32_t i = 0; i < echo->peer_count; i++)
        if (echo->peers[i].asked == outcome && !memcmp(echo->peers[i].address, peer.address, 16)) return false;
    if (echo->peer_count == MOST_PEERS) return false;
    echo->peers[echo->peer_count++] = peer;
    return true;
}

// Who asks whether an address is free has none yet.
static void print_peer(int family, const uint8_t *address) {
    if (family == AF_INET ? ipv4_is_host(address) : ipv6_is_host(address))
        print_address(family, address);
    else
        printf("somebody");
}

static void print_answer(const struct echo *echo, enum outcome outcome, const uint8_t *frame, uint32_t length) {
    print_peer(answered[outcome].family, answer_peer(outcome, frame));
    printf(" %s ", answered[outcome].question);
    print_address(answered[outcome].family, answer_own(outcome, frame));
    printf(answered[outcome].tells_mac ? ": it is at " : ": answered");
    if (answered[outcome].tells_mac) print_mac(echo->host.mac);
    if (echo->options.verbose) printf(", in a frame of %u bytes", length);
    printf("\n");
    fflush(stdout);
}

static void print_counts(const char *what, const uint64_t *counts, enum outcome first, enum outcome end) {
    uint64_t sum = 0;
    for (uint32_t i = first; i < end; i++) sum += counts[i];
    printf("%" PRIu64 " %s", sum, what);
    const char *separator = ": ";
    for (uint32_t i = first; i < end; i++) {
        if (!counts[i]) continue;
        printf("%s%s %" PRIu64, separator, i < ANSWERS ? answered[i].name : ignored[i], counts[i]);
        separator = ", ";
    }
    printf("\n");
}

static void print_summary(const struct echo *echo) {
    const struct nic_stats *stats = &echo->stats;
    print_counts("questions answered", echo->counts, 0, ANSWERS);
    print_counts("frames left alone", echo->counts, ANSWERS, OUTCOMES);
    if (echo->not_sent) printf("%" PRIu64 " answers were thrown away, for want of room to send\n", echo->not_sent);
    printf("the card counted %" PRIu64 " received, %" PRIu64 " missed, %" PRIu64 " damaged, and %" PRIu64
           " sent; woken %" PRIu64 " times by an interrupt\n",
           stats->rx_packets, stats->rx_missed, stats->rx_errors, stats->tx_packets, echo->interrupts.wakeups);
}

// ---- The loop -----------------------------------------------------------------------------------------------------

static bool enough(const struct echo *echo) { return echo->options.count && echo->answered == echo->options.count; }

// Whether the buffer now holds an answer.
static bool turn_round(struct echo *echo, struct packet_buffer *buffer) {
    if (enough(echo)) return false;
    uint32_t length = buffer->length;
    enum outcome outcome = answer(&echo->host, buffer->data, &length);
    buffer->length = (uint16_t)length;
    echo->counts[outcome]++;
    if (outcome >= ANSWERS) return false;
    echo->answered++;
    bool news = is_news(echo, outcome, answer_peer(outcome, buffer->data));
    if (news || echo->options.verbose) print_answer(echo, outcome, buffer->data, buffer->length);
    return true;
}

// What the ring has no room for is thrown away, as a router would: who asked will ask again.
static void receive_and_answer(struct echo *echo, int idle_ms) {
    struct packet_buffer *buffers[BATCH], *answers[BATCH], *rest[BATCH];
    uint32_t answer_count = 0, rest_count = 0;
    uint32_t count = interrupts_receive(&echo->interrupts, 0, buffers, BATCH, idle_ms);
    for (uint32_t i = 0; i < count; i++) {
        if (turn_round(echo, buffers[i]))
            answers[answer_count++] = buffers[i];
        else
            rest[rest_count++] = buffers[i];
    }
    uint32_t taken = nic_transmit(echo->nic, 0, answers, answer_count);
    echo->not_sent += answer_count - taken;
    mempool_free_batch(answers + taken, answer_count - taken);
    mempool_free_batch(rest, rest_count);
}

static int answer_all(struct echo *echo) {
    uint64_t now = clock_ns(), checked = now;
    uint64_t end = echo->options.seconds ? now + echo->options.seconds * 1000000000 : UINT64_MAX;
    for (; !cli_stop() && now < end && !enough(echo); now = clock_ns()) {
        if (now - checked >= CHECK_MS * 1000000ull) {
            int error = nic_check(echo->nic);
            if (error) return error;
            nic_read_stats(echo->nic, &echo->stats);  // before the card's counters are full
            checked = now;
        }
        uint64_t left_ms = (end - now) / 1000000 + 1;
        receive_and_answer(echo, left_ms < IDLE_MS ? (int)left_ms : IDLE_MS);
    }
    return 0;
}

// Who looks for an IPv6 address asks a multicast group (RFC 2464, 7), and a card receives none unless it is told to.
static int hear_solicitations(struct nic *nic, const struct host *host) {
    int error = 0;
    for (uint32_t i = 0; i < host->ipv6_count && !error; i++) {
        const uint8_t *ip = host->ipv6[i], group[6] = {0x33, 0x33, 0xff, ip[13], ip[14], ip[15]};
        error = nic_add_address(nic, group);
    }
    return error;
}

static int run(struct echo *echo) {
    nic_get_mac(echo->nic, echo->host.mac);
    link_local_of(echo->host.mac, echo->host.ipv6[LINK_LOCAL]);
    int error = hear_solicitations(echo->nic, &echo->host);
    if (!error) error = interrupts_open(&echo->interrupts, echo->nic, INTERRUPT_INTERVAL_US);
    if (error) return error;
    print_start(echo);
    error = answer_all(echo);
    int unsent =
        app_wait_until_sent(echo->nic, echo->answered - echo->not_sent, error ? 0 : LAST_PACKETS_MS, &echo->stats);
    print_summary(echo);
    interrupts_close(&echo->interrupts);
    return error ? error : unsent;
}

static int echo_on_port(struct echo *echo) {
    struct nic_host host;
    int error = nic_host_open(&host);
    if (error) return error;
    error = nic_open(&host, echo->options.address, NULL, &echo->nic);
    if (!error) error = run(echo);
    nic_close(echo->nic);
    nic_host_close(&host);
    return error;
}

// ---- The command line ---------------------------------------------------------------------------------------------

static const char usage[] =
    "usage: echo [OPTION]... [ADDRESS]\n"
    "Answers ARP, IPv6 neighbour solicitations and pings, so that a port can be pinged. Sleeps in between.\n"
    "\n"
    "  --ip IP      answer for this IPv4 or IPv6 address; can be given several times, up to 8 of each kind\n"
    "               (default: " DEFAULT_IPV4 " and " DEFAULT_IPV6 "); the IPv6 link-local address comes by itself\n"
    "  --seconds S  stop after S seconds (default: when told to, by Ctrl-C)\n"
    "  --count N    stop after N answers (default: no end)\n"
    "  --verbose    a line for every answer, and not just for the first of its kind to each host\n"
    "  --help       this text\n"
    "\n"
    "ADDRESS is a PCI address, 0000:04:00.0 or 04:00.0; without it, " DEFAULT_ADDRESS ".\n"
    "No network to be pinged from? `make ping` makes one and pings from there.\n"
    "Exits with 0 if all went well, 1 if something failed, 2 if the command line makes no sense.\n";

static int add_ip(const char *text, struct host *host) {
    uint8_t address[16];
    bool is_ipv4 = inet_pton(AF_INET, text, address) == 1;
    if (!is_ipv4 && inet_pton(AF_INET6, text, address) != 1)
        return log_error(-EINVAL, "--ip: '%s' is not an IP address; it should look like %s or %s", text, DEFAULT_IPV4,
                         DEFAULT_IPV6);
    if (is_ipv4 ? !ipv4_is_host(address) : !ipv6_is_host(address))
        return log_error(-EINVAL, "--ip: %s cannot be the address of one host", text);
    uint32_t *count = is_ipv4 ? &host->ipv4_count : &host->ipv6_count;
    if (*count == HOST_MOST_ADDRESSES)
        return log_error(-EINVAL, "--ip: %s is one too many; there is room for %d of a kind%s", text,
                         HOST_MOST_ADDRESSES, is_ipv4 ? "" : ", the link-local address included");
    if (is_ipv4)
        memcpy(host->ipv4[(*count)++], address, 4);
    else
        memcpy(host->ipv6[(*count)++], address, 16);
    return 0;
}

static int parse(int argc, char **argv, struct options *options, struct host *host) {
    static const struct option names[] = {
        {"ip", required_argument, NULL, 'a'},    {"seconds", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    *options = (struct options){.address = DEFAULT_ADDRESS};
    *host = (struct host){.ipv6_count = LINK_LOCAL + 1};
    int error = 0;
    bool ip_given = false;
    for (int option; !error && (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case 'a': error = add_ip(optarg, host), ip_given = true; break;
        case 's': error = cli_number("--seconds", optarg, 1, 1000000, &options->seconds); break;
        case 'c': error = cli_number("--count", optarg, 1, UINT64_MAX, &options->count); break;
        case 'v': options->verbose = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: error = -EINVAL;  // getopt_long has said which option
        }
    }
    if (!error && !ip_given) error = add_ip(DEFAULT_IPV4, host);
    if (!error && !ip_given) error = add_ip(DEFAULT_IPV6, host);
    if (error) return error;
    if (argc - optind > 1) return log_error(-EINVAL, "'%s' is one argument too many", argv[optind + 1]);
    options->address_named = argc > optind;
    return options->address_named ? cli_pci_address(argv[optind], options->address) : 0;
}

int main(int argc, char **argv) {
    static struct echo echo;
    cli_guard_output();
    if (parse(argc, argv, &echo.options, &echo.host)) {
        log_info("echo --help tells what it understands");
        return 2;
    }
    if (!echo.options.address_named) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, NULL, "cable");
    cli_stop_on_signals();
    return echo_on_port(&echo) ? 1 : 0;
}
