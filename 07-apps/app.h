// app.h: what the programs that push packets through two ports have in common.
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

// 0 if the card has counted as many packets sent as it was given; otherwise -EIO, after saying so. More are no
// mistake: a PAUSE frame may just have been counted, see ixgbe.h.
int app_check_sent(const struct nic *nic, const struct nic_stats *stats, uint64_t packets);
