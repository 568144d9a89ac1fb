// app.h: what the programs that push packets through ports have in common.
#pragma once

#include "cli.h"
#include "nic.h"

// What is left of the command line after the options: up to two different addresses, over the defaults in
// `addresses`. How many there were, or -EINVAL after saying what makes no sense.
int app_addresses(int count, char *const texts[], char (*addresses)[PCI_ADDRESS_SIZE]);

// Until the port has a link. -ENOLINK after ten seconds and saying so, -EINTR on Ctrl-C.
int app_wait_for_link(const struct nic *nic);

// "   tx   2.24 Mpps  27.51 Gbit/s", without an end of line. Bytes are frames with their CRC, as cards count them;
// the bits are those on the wire, with preamble and gap.
void app_print_rate(const char *direction, uint64_t packets, uint64_t bytes, uint64_t ns);

enum { LAST_PACKETS_MS = 10000 };  // how long a packet may take, at the end, that has not yet left a TX ring

// Waits until the card has counted as many packets sent as it was given. More are no mistake: a PAUSE frame may just
// have been counted, see ixgbe.h. -EIO after saying so if time is up, or at once if it has no link, for then it sends
// nothing. In any case *stats is what the card counted last.
int app_wait_until_sent(struct nic *nic, uint64_t packets, uint32_t timeout_ms, struct nic_stats *stats);
