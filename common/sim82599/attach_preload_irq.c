// attach_preload_irq.c: how an interrupt becomes a number that a program can read.
//
// VFIO_DEVICE_SET_IRQS ties each vector to an eventfd. The rules about which kind may be enabled when, which range of
// vectors a call may name and what happens without data are the kernel's. The kernel holds on to the eventfd even if
// the program closes its descriptor, so we keep a descriptor of our own.

#include "attach_preload.h"
#include "attach_preload_real.h"
#include "observe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>
#include <unistd.h>

enum { NO_KIND = VFIO_PCI_NUM_IRQS };

struct trigger {
    int fd;          // our own descriptor, -1: none
    int program_fd;  // the number by which the program knows it
};

// What SET_IRQS has set up for one port.
static struct interrupts {
    unsigned kind;   // VFIO_PCI_INTX_IRQ_INDEX, MSI, MSIX, or NO_KIND
    unsigned count;  // vectors enabled
    struct trigger vectors[SIM_MSIX_VECTORS];
    bool masked;  // INTx only: the kernel masks it when it comes
    struct trigger error, request;
} all[PORTS] = {[0 ... PORTS - 1] = {.kind = NO_KIND, .error.fd = -1, .request.fd = -1}};

static void drop(struct trigger *trigger) {
    if (trigger->fd >= 0) real.close(trigger->fd);
    *trigger = (struct trigger){-1, -1};
}

// Only an eventfd will do; the kernel says EINVAL to any other file.
static bool is_eventfd(int fd) {
    char link[40], target[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = real.readlink(link, target, sizeof target - 1);
    if (length < 0) return errno == ENOENT && real.fcntl(fd, F_GETFD) >= 0;  // no /proc: take it on trust
    target[length] = '\0';
    return strstr(target, "[eventfd]") != NULL;
}

static int set(struct trigger *trigger, int fd) {
    drop(trigger);
    if (fd < 0) return 0;
    if (real.fcntl(fd, F_GETFD) < 0) return -EBADF;
    if (!is_eventfd(fd)) return -EINVAL;
    int copy = real.fcntl(fd, F_DUPFD_CLOEXEC, 600);
    if (copy < 0) copy = real.fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return -errno;
    *trigger = (struct trigger){copy, fd};
    return 0;
}

static void signal_trigger(const struct trigger *trigger) {
    uint64_t one = 1;
    if (trigger->fd >= 0) (void)!real.write(trigger->fd, &one, sizeof one);
}

bool irq_is_trigger(int fd) {
    for (unsigned port = 0; port < PORTS; port++)
        for (unsigned i = 0; i < all[port].count; i++)
            if (all[port].vectors[i].fd >= 0 && all[port].vectors[i].program_fd == fd) return true;
    return false;
}

static unsigned number_of(const void *port) { return (unsigned)((const struct port *)port - host_port(0)); }

static void raise_intx(struct interrupts *irq) {
    if (irq->masked || irq->vectors[0].fd < 0) return;
    irq->masked = true;  // the kernel masks INTx at the device until the program unmasks it
    signal_trigger(&irq->vectors[0]);
}

// A level that is still there interrupts again as soon as it may.
static void raise_if_high(unsigned port) {
    uint8_t status;
    sim_config_read(host_port(port)->device, PCI_STATUS, &status, 1);
    if (status & PCI_STATUS_INTERRUPT) raise_intx(&all[port]);
}

static void say_nobody_hears(struct port *port, unsigned vector) {
    char text[96];
    snprintf(text, sizeof text, "vector-without-eventfd: let vector %u interrupt, which has no eventfd", vector);
    observe_event(port->device, text);
}

void irq_raise(void *port, unsigned vector) {
    struct interrupts *irq = &all[number_of(port)];
    bool heard = vector < irq->count && irq->vectors[vector].fd >= 0;
    if (irq->kind == VFIO_PCI_MSIX_IRQ_INDEX && !heard) say_nobody_hears(port, vector);
    if (irq->kind == VFIO_PCI_INTX_IRQ_INDEX)
        raise_intx(irq);
    else if (heard)
        signal_trigger(&irq->vectors[vector]);
}

// ---- Enabling and disabling ----

static unsigned vectors_of(const struct port *port, unsigned index) {
    const uint8_t *config = port->config_at_boot;
    switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX: return config[PCI_INTERRUPT_PIN] ? 1 : 0;
    case VFIO_PCI_MSI_IRQ_INDEX:
        if (!port->msi_capability) return 0;
        return 1u << ((config[port->msi_capability + PCI_MSI_FLAGS] & PCI_MSI_FLAGS_QMASK) >> 1);
    case VFIO_PCI_MSIX_IRQ_INDEX: return port->msix_vectors;
    default: return 1;
    }
}

// The kernel also sets the enable bit of the capability, where the program may read it.
static void show_enabled(struct port *port, uint32_t capability, uint32_t flags, uint32_t bit, bool enabled) {
    uint8_t control[2];
    if (!capability) return;
    sim_config_read(port->device, capability + flags, control, 2);
    uint32_t value = control[0] | (uint32_t)control[1] << 8;
    value = enabled ? value | bit : value & ~bit;
    sim_config_write(port->device, capability + flags, (uint8_t[]){(uint8_t)value, (uint8_t)(value >> 8)}, 2);
}

static void prepare(struct interrupts *irq, unsigned kind, unsigned count) {
    for (unsigned i = 0; i < irq->count; i++) drop(&irq->vectors[i]);
    irq->kind = kind;
    irq->count = count;
    irq->masked = false;
    for (unsigned i = 0; i < count; i++) irq->vectors[i] = (struct trigger){-1, -1};
}

// A cause that is pending interrupts at once, so it must be known by now whom to tell.
static void tell_device(unsigned number) {
    static const enum sim_interrupt_mode modes[] = {
        [VFIO_PCI_INTX_IRQ_INDEX] = SIM_IRQ_INTX, [VFIO_PCI_MSI_IRQ_INDEX] = SIM_IRQ_MSI,
        [VFIO_PCI_MSIX_IRQ_INDEX] = SIM_IRQ_MSIX, [VFIO_PCI_ERR_IRQ_INDEX] = SIM_IRQ_NONE,
        [VFIO_PCI_REQ_IRQ_INDEX] = SIM_IRQ_NONE,  [NO_KIND] = SIM_IRQ_NONE};
    struct port *port = host_port(number);
    unsigned kind = all[number].kind;
    show_enabled(port, port->msix_capability, PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, kind == VFIO_PCI_MSIX_IRQ_INDEX);
    show_enabled(port, port->msi_capability, PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, kind == VFIO_PCI_MSI_IRQ_INDEX);
    sim_set_interrupt_mode(port->device, modes[kind]);
}

static void disable(unsigned number) {
    prepare(&all[number], NO_KIND, 0);
    tell_device(number);
}

void irq_disable_all(unsigned port) {
    disable(port);
    drop(&all[port].error);
    drop(&all[port].request);
}

// ---- VFIO_DEVICE_SET_IRQS ----

struct request {
    struct {
        uint32_t argsz, flags, index, start, count;
    } header;  // as in struct vfio_irq_set
    uint8_t data[SIM_MSIX_VECTORS * sizeof(int32_t)];
};

static int32_t fd_at(const struct request *request, unsigned i) {
    int32_t fd;
    memcpy(&fd, request->data + i * sizeof fd, sizeof fd);
    return fd;
}

static bool has(const struct request *request, uint32_t flag) { return request->header.flags & flag; }

// Without an eventfd the call plays the device: DATA_NONE means every vector, DATA_BOOL those that are not zero.
static bool selects(const struct request *request, unsigned i) {
    return has(request, VFIO_IRQ_SET_DATA_NONE) || (has(request, VFIO_IRQ_SET_DATA_BOOL) && request->data[i]);
}

static long set_vectors(unsigned port, const struct request *request) {
    struct interrupts *irq = &all[port];
    unsigned start = request->header.start, count = request->header.count;
    if (start >= irq->count || start + count > irq->count) return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        int error = set(&irq->vectors[start + i], fd_at(request, i));
        if (!error) continue;
        for (unsigned back = 0; back <= i; back++) drop(&irq->vectors[start + back]);
        return error;
    }
    return 0;
}

// The same for MSI and MSI-X, and for the one vector of INTx.
static long trigger_vectors(unsigned port, const struct request *request) {
    struct interrupts *irq = &all[port];
    unsigned index = request->header.index, start = request->header.start, count = request->header.count;
    if (irq->kind == index && count == 0 && has(request, VFIO_IRQ_SET_DATA_NONE)) {
        disable(port);
        return 0;
    }
    if (irq->kind != index && irq->kind != NO_KIND) return -EINVAL;
    if (index == VFIO_PCI_INTX_IRQ_INDEX && (start != 0 || count != 1)) return -EINVAL;
    if (has(request, VFIO_IRQ_SET_DATA_EVENTFD)) {
        bool was_enabled = irq->kind == index;
        if (!was_enabled) prepare(irq, index, start + count);
        long error = set_vectors(port, request);
        if (error && !was_enabled) prepare(irq, NO_KIND, 0);
        if (!error && !was_enabled) tell_device(port);
        if (!error && index == VFIO_PCI_INTX_IRQ_INDEX) raise_if_high(port);
        return error;
    }
    if (irq->kind != index || start + count > irq->count) return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        if (selects(request, i)) signal_trigger(&irq->vectors[start + i]);
    return 0;
}

static long mask_intx(unsigned port, const struct request *request, bool mask) {
    struct interrupts *irq = &all[port];
    if (irq->kind != VFIO_PCI_INTX_IRQ_INDEX || request->header.start != 0 || request->header.count != 1)
        return -EINVAL;
    if (has(request, VFIO_IRQ_SET_DATA_EVENTFD)) return -ENOTTY;  // the kernel can unmask by one, for KVM
    if (!selects(request, 0)) return 0;
    irq->masked = mask;
    raise_if_high(port);
    return 0;
}

static int replace(struct trigger *trigger, int fd) {
    struct trigger new = {-1, -1};
    int error = set(&new, fd);
    if (error) return error;
    drop(trigger);
    *trigger = new;
    return 0;
}

// What the kernel itself has to tell: an error on the link, or that it wants the device back. Neither happens here.
static long trigger_single(struct trigger *trigger, const struct request *request) {
    if (request->header.start != 0 || request->header.count > 1) return -EINVAL;
    if (has(request, VFIO_IRQ_SET_DATA_NONE)) {
        if (trigger->fd < 0) return -EINVAL;
        if (request->header.count)
            signal_trigger(trigger);
        else
            drop(trigger);
        return 0;
    }
    if (request->header.count == 0) return -EINVAL;
    if (has(request, VFIO_IRQ_SET_DATA_EVENTFD)) return replace(trigger, fd_at(request, 0));
    if (selects(request, 0)) signal_trigger(trigger);
    return 0;
}

static long validate(const struct port *port, struct request *request, void *argument) {
    size_t header = offsetof(struct vfio_irq_set, data);
    if (copy_in(&request->header, argument, header)) return -EFAULT;
    uint32_t argsz = request->header.argsz, flags = request->header.flags, index = request->header.index;
    uint32_t start = request->header.start, count = request->header.count;
    if (argsz < header || index >= VFIO_PCI_NUM_IRQS || count >= UINT32_MAX - start ||
        flags & ~(uint32_t)(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK))
        return -EINVAL;
    unsigned vectors = vectors_of(port, index);
    if (start >= vectors || start + count > vectors) return -EINVAL;
    size_t each;
    switch (flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
    case VFIO_IRQ_SET_DATA_NONE: return 0;
    case VFIO_IRQ_SET_DATA_BOOL: each = 1; break;
    case VFIO_IRQ_SET_DATA_EVENTFD: each = sizeof(int32_t); break;
    default: return -EINVAL;
    }
    if (argsz - header < count * each) return -EINVAL;
    return copy_in(request->data, (const char *)argument + header, count * each);
}

long irq_set(unsigned port, void *argument) {
    struct request request;
    long error = validate(host_port(port), &request, argument);
    if (error) return error;
    unsigned index = request.header.index;
    uint32_t action = request.header.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
    if (action == VFIO_IRQ_SET_ACTION_TRIGGER) {
        if (index == VFIO_PCI_ERR_IRQ_INDEX) return trigger_single(&all[port].error, &request);
        if (index == VFIO_PCI_REQ_IRQ_INDEX) return trigger_single(&all[port].request, &request);
        return trigger_vectors(port, &request);
    }
    if (index == VFIO_PCI_INTX_IRQ_INDEX && action == VFIO_IRQ_SET_ACTION_MASK)
        return mask_intx(port, &request, true);
    if (index == VFIO_PCI_INTX_IRQ_INDEX && action == VFIO_IRQ_SET_ACTION_UNMASK)
        return mask_intx(port, &request, false);
    return -ENOTTY;
}

long irq_info(unsigned port, void *argument) {
    struct vfio_irq_info info;
    if (copy_in(&info, argument, sizeof info)) return -EFAULT;
    if (info.argsz < sizeof info || info.index >= VFIO_PCI_NUM_IRQS) return -EINVAL;
    info.count = vectors_of(host_port(port), info.index);
    info.flags = VFIO_IRQ_INFO_EVENTFD;
    info.flags |= info.index == VFIO_PCI_INTX_IRQ_INDEX ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
                                                        : VFIO_IRQ_INFO_NORESIZE;
    return copy_out(argument, &info, sizeof info);
}
