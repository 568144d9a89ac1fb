// app.c: addresses, light, rates, and whether all has been sent.

#include "app.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "log.h"

enum {
    LINK_TIMEOUT_MS = 10000,
    FRAME_OVERHEAD = 20,  // preamble, start delimiter and gap: what a frame costs on the wire beyond itself
};

int app_addresses(int count, char *const texts[], char (*addresses)[PCI_ADDRESS_SIZE]) {
    if (count > 2) return log_error(-EINVAL, "'%s' is one address too many", texts[2]);
    for (int i = 0; i < count; i++) {
        int error = cli_pci_address(texts[i], addresses[i]);
        if (error) return error;
    }
    if (!strcmp(addresses[0], addresses[1]) && count == 2)
        return log_error(-EINVAL, "%s cannot be both ends; these are the same port", addresses[0]);
    return count;
}

int app_wait_for_link(const struct nic *nic) {
    if (nic_wait_for_link(nic, LINK_TIMEOUT_MS, cli_stop)) return 0;
    if (cli_stop()) return -EINTR;
    return log_error(-ENOLINK, "%s has no link; is the cable plugged in?", nic->device.address);
}

void app_print_rate(const char *direction, uint64_t packets, uint64_t bytes, uint64_t ns) {
    double seconds = (double)ns / 1e9, bits = 8.0 * (double)(bytes + packets * FRAME_OVERHEAD);
    printf("   %s %6.2f Mpps %6.2f Gbit/s", direction, (double)packets / seconds / 1e6, bits / seconds / 1e9);
}

int app_wait_until_sent(struct nic *nic, uint64_t packets, uint32_t timeout_ms, struct nic_stats *stats) {
    uint64_t deadline = clock_ns() + timeout_ms * 1000000ull;
    for (;;) {
        uint32_t mbit = nic_link_mbit(nic);
        bool late = !mbit || clock_ns() >= deadline;
        nic_read_stats(nic, stats);  // after these two, so that one look always follows
        if (stats->tx_packets >= packets) return 0;
        if (late)
            return log_error(-EIO, "%s has sent %" PRIu64 " of %" PRIu64 " packets; is the link up? (%u Mbit/s)",
                             nic->device.address, stats->tx_packets, packets, mbit);
        sleep_us(1000);
    }
}
