// interrupts.c: eventfds, epoll, and the order of four steps that decides whether a wake-up can get lost:
//
//     clear the cause - arm the interrupt - look at the ring once more - sleep
//
// A packet may come at any moment between these. If it comes before the second look, the look finds it. If it comes
// after, the armed interrupt ends the sleep. Looking first and arming second would leave a gap.

#include "interrupts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ixgbe_interrupts.h"
#include "log.h"

enum { EMPTY_POLLS_BEFORE_SLEEP = 64 };

static const struct interrupt_ops *const drivers[] = {&ixgbe_interrupt_ops};

static const struct interrupt_ops *find_driver(const struct nic *nic) {
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (!strcmp(drivers[i]->driver, nic->ops->name)) return drivers[i];
    return NULL;
}

// MSI-X with a vector for each queue and one for the rest if the card has that many, MSI otherwise.
static int choose_vectors(struct interrupts *interrupts) {
    const struct vfio_device *device = &interrupts->nic->device;
    struct vfio_irq_info msix, msi;
    int error = vfio_interrupt_info(device, VFIO_PCI_MSIX_IRQ_INDEX, &msix);
    if (!error) error = vfio_interrupt_info(device, VFIO_PCI_MSI_IRQ_INDEX, &msi);
    if (error) return error;
    uint32_t wanted = interrupts->nic->rx_queues + 1;
    interrupts->msix = msix.count >= wanted;
    interrupts->vectors = interrupts->msix ? wanted : 1;
    if (interrupts->msix || msi.count) return 0;
    return log_error(-ENOTSUP, "%s has neither MSI-X nor MSI; use it without interrupts", device->address);
}

// Tells VFIO which eventfd each vector signals; no eventfds at all switches the mechanism off.
static int set_vectors(const struct interrupts *interrupts, uint32_t count) {
    _Alignas(struct vfio_irq_set) char memory[sizeof(struct vfio_irq_set) + sizeof interrupts->event_fds];
    struct vfio_irq_set *set = (struct vfio_irq_set *)memory;
    *set = (struct vfio_irq_set){
        .argsz = (uint32_t)(sizeof *set + count * sizeof(int)),
        .flags = VFIO_IRQ_SET_ACTION_TRIGGER | (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
        .index = interrupts->msix ? VFIO_PCI_MSIX_IRQ_INDEX : VFIO_PCI_MSI_IRQ_INDEX,
        .count = count,
    };
    memcpy(set->data, interrupts->event_fds, count * sizeof(int));
    if (ioctl(interrupts->nic->device.fd, VFIO_DEVICE_SET_IRQS, set) == 0) return 0;
    return log_error(-errno, "%s: cannot set %u interrupt vectors", interrupts->nic->device.address, count);
}

static int open_event_fds(struct interrupts *interrupts) {
    for (uint32_t vector = 0; vector < interrupts->vectors; vector++) {
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = vector};
        interrupts->event_fds[vector] = fd;
        if (fd < 0 || epoll_ctl(interrupts->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            return log_error(-errno, "an eventfd for interrupt vector %u", vector);
    }
    return 0;
}

static void close_fds(struct interrupts *interrupts) {
    for (uint32_t vector = 0; vector < interrupts->vectors; vector++)
        if (interrupts->event_fds[vector] >= 0) close(interrupts->event_fds[vector]);
    if (interrupts->epoll_fd >= 0) close(interrupts->epoll_fd);
}

int interrupts_open(struct interrupts *interrupts, struct nic *nic, uint32_t interval_us) {
    *interrupts = (struct interrupts){.nic = nic, .ops = find_driver(nic), .epoll_fd = -1};
    memset(interrupts->event_fds, -1, sizeof interrupts->event_fds);
    if (!interrupts->ops)
        return log_error(-ENOTSUP, "%s: driver %s has no interrupts", nic->device.address, nic->ops->name);

    int error = choose_vectors(interrupts);
    if (error) return error;
    interrupts->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (interrupts->epoll_fd < 0) error = log_error(-errno, "epoll");
    if (!error) error = open_event_fds(interrupts);
    if (!error) error = set_vectors(interrupts, interrupts->vectors);
    if (error)
        close_fds(interrupts);
    else
        interrupts->ops->connect(nic, interrupts->vectors, interval_us, interrupts->msix);
    return error;
}

void interrupts_close(struct interrupts *interrupts) {
    interrupts->ops->disconnect(interrupts->nic);
    set_vectors(interrupts, 0);
    close_fds(interrupts);
}

static void sleep_until_interrupt(struct interrupts *interrupts, int timeout_ms) {
    struct epoll_event events[INTERRUPT_MOST_VECTORS];
    int count = epoll_wait(interrupts->epoll_fd, events, INTERRUPT_MOST_VECTORS, timeout_ms);
    for (int i = 0; i < count; i++) {
        uint64_t times;  // an eventfd counts; reading it sets it back to 0
        if (read(interrupts->event_fds[events[i].data.u32], &times, sizeof times) == sizeof times)
            interrupts->wakeups++;
        bool may_be_link = !interrupts->msix || events[i].data.u32 == interrupts->vectors - 1;
        if (may_be_link && interrupts->ops->link_changed(interrupts->nic)) interrupts->link_changes++;
    }
}

uint32_t interrupts_receive(struct interrupts *interrupts, uint32_t queue, struct packet_buffer **buffers,
                            uint32_t count, int timeout_ms) {
    uint32_t *empty_polls = &interrupts->empty_polls[queue];
    uint32_t received = nic_receive(interrupts->nic, queue, buffers, count);
    if (received) *empty_polls = 0;
    if (received || ++*empty_polls < EMPTY_POLLS_BEFORE_SLEEP) return received;

    interrupts->ops->arm(interrupts->nic, queue);  // clears the cause first
    received = nic_receive(interrupts->nic, queue, buffers, count);
    if (!received) {
        sleep_until_interrupt(interrupts, timeout_ms);
        received = nic_receive(interrupts->nic, queue, buffers, count);
    }
    interrupts->ops->disarm(interrupts->nic, queue);
    if (received) *empty_polls = 0;
    return received;
}
