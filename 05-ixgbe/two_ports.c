// two_ports.c: in and out again, in an order that matters: a card may hold buffers of the pool until it is closed,
// and its memory may go only when no card can reach it.

#include "two_ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "log.h"
#include "software_nic.h"

enum { POOL_BUFFERS = 512, LINK_TIMEOUT_MS = 10000 };

static int print_card(const char *what, const struct nic *nic) {
    uint8_t mac[6];
    nic_get_mac(nic, mac);
    uint32_t mbit = nic_wait_for_link(nic, LINK_TIMEOUT_MS, cli_stop);
    if (!mbit && cli_stop()) return -EINTR;
    if (!mbit) return log_error(-ENOLINK, "%s has no link; is the cable plugged in?", nic->device.address);
    printf("%-4s %s, MAC %02x:%02x:%02x:%02x:%02x:%02x, link up at %u Mbit/s\n", what, nic->device.address, mac[0],
           mac[1], mac[2], mac[3], mac[4], mac[5], mbit);
    return 0;
}

static int run_on_ports(struct two_ports *ports, char addresses[2][PCI_ADDRESS_SIZE], bool both,
                        int (*run)(struct two_ports *ports)) {
    int error = nic_open(&ports->host, addresses[0], NULL, &ports->from);
    if (!error && both) error = nic_open(&ports->host, addresses[1], NULL, &ports->to);
    if (!error) error = mempool_create(&ports->host.space, POOL_BUFFERS, MEMPOOL_DEFAULT_SIZE, &ports->pool);
    if (!error) error = print_card("from", ports->from);
    if (!error && both) error = print_card("to", ports->to);
    if (!error) error = run(ports);
    nic_close(ports->from);
    nic_close(ports->to);
    mempool_destroy(ports->pool);
    return error;
}

int two_ports_main(int argc, char **argv, const char *what_it_does, bool one_will_do,
                   int (*run)(struct two_ports *ports)) {
    char addresses[2][PCI_ADDRESS_SIZE] = {DEFAULT_ADDRESS, DEFAULT_ADDRESS_2};
    cli_guard_output();
    bool help = argc == 2 && !strcmp(argv[1], "--help");
    if (help || argc > 3 || (argc == 2 && !one_will_do)) {
        fprintf(help ? stdout : stderr,
                "usage: %s %s\n%s\nFROM and TO are PCI addresses, %s and %s if none are given.\n", argv[0],
                one_will_do ? "[FROM [TO]]" : "[FROM TO]", what_it_does, DEFAULT_ADDRESS, DEFAULT_ADDRESS_2);
        return help ? 0 : 2;
    }
    for (int i = 1; i < argc; i++)
        if (cli_pci_address(argv[i], addresses[i - 1])) return 2;
    if (argc == 3 && !strcmp(addresses[0], addresses[1])) {
        log_error(-EINVAL, "%s cannot be both ends", addresses[0]);
        return 2;
    }
    if (argc == 1) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, DEFAULT_ADDRESS_2, "cable");
    cli_stop_on_signals();

    struct two_ports ports = {0};
    int error = nic_host_open(&ports.host);
    if (error) return 1;
    error = run_on_ports(&ports, addresses, argc != 2, run);
    nic_host_close(&ports.host);
    return error ? 1 : 0;
}
