// two_ports.h: the frame that the milestones of chapters 5 and 6 stand in: two cards with a cable between them.
#pragma once

#include "nic.h"

struct two_ports {
    struct nic_host host;
    struct nic *from, *to;  // to: NULL if the other end of the cable is somebody else's
    struct mempool *pool;   // for the packets that `from` sends
};

// Reads the command line (two optional addresses, or --help, which prints `what_it_does`), opens both cards and the
// pool, waits for the links, calls `run`, and closes everything again. A single address is taken if `one_will_do`.
// SIGINT and SIGTERM set cli_stop. Returns the exit code: 0, 1 if something failed, 2 for a wrong command line.
int two_ports_main(int argc, char **argv, const char *what_it_does, bool one_will_do,
                   int (*run)(struct two_ports *ports));
