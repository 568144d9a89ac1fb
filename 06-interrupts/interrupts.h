// interrupts.h: sleeping until there is something to do.
//
// An interrupt is a message: the card writes a few bytes to an address that the interrupt controller owns. With MSI-X
// it has many such messages, *vectors*. VFIO turns each vector into an eventfd, a file descriptor that becomes
// readable, and epoll waits for any of them. Here RX queue n has vector n, and the vector after the last queue is for
// everything else, which means the link. Where there is only MSI, all of them share vector 0.
//
// Interrupts are for idle times. While packets flow, polling costs less; so a queue's interrupt is armed only when
// the queue is empty and the program is about to sleep, and one interrupt disarms itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "nic.h"

enum { INTERRUPT_MOST_VECTORS = 17 };  // 16 queues and the rest

// What a driver does on the card's side.
struct interrupt_ops {
    const char *driver;  // the nic_ops.name it belongs to
    // Connects causes and vectors in the card: RX queue n raises vector n % vectors, everything else the last vector,
    // each at most once in `interval_us`. All causes are disarmed except link changes.
    void (*connect)(struct nic *nic, uint32_t vectors, uint32_t interval_us, bool msix);
    void (*arm)(struct nic *nic, uint32_t queue);
    void (*disarm)(struct nic *nic, uint32_t queue);
    // Takes the cause "link has changed" back, and arms it again; was it there?
    bool (*link_changed)(struct nic *nic);
    void (*disconnect)(struct nic *nic);
};

struct interrupts {
    struct nic *nic;
    const struct interrupt_ops *ops;
    bool msix;  // otherwise MSI
    uint32_t vectors;
    int event_fds[INTERRUPT_MOST_VECTORS];
    int epoll_fd;
    uint32_t empty_polls[INTERRUPT_MOST_VECTORS];  // by queue, since the last packet
    uint64_t wakeups;                              // times that a vector ended a wait
    uint64_t link_changes;
};

// Interrupts of one card. `interval_us`: the shortest time between two of one vector, 0 to 1022 (8.2.3.5.12): the
// longest that a packet waits for its interrupt, and 1/interval the most interrupts a second. 0 or a negative errno
// after saying why. Open them after the card, close them before it.
int interrupts_open(struct interrupts *interrupts, struct nic *nic, uint32_t interval_us);
void interrupts_close(struct interrupts *interrupts);

// nic_receive that can sleep. Packets that are there are returned at once. After a number of calls in a row that
// found none, it arms the queue's interrupt and sleeps until a packet, a change of the link, a signal, or the
// timeout; then it returns what there is, which may be nothing. No packet of this queue is slept over.
//
// For one thread, and for one queue at a time: packets of other queues wait until this sleep is over.
uint32_t interrupts_receive(struct interrupts *interrupts, uint32_t queue, struct packet_buffer **buffers,
                            uint32_t count, int timeout_ms);
