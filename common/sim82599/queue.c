// queue.c: the life of a descriptor queue, the same in both directions.
//
// Software asks for a queue by setting ENABLE in its control register and then waits until the bit reads as set: only
// then is the queue on (4.6.7, 4.6.8). Turning it off is the same the other way round. So between asking and reading
// there are two more states, in which the register memory holds what was asked for and a read tells how things are:
//
//            asked for            seen, or 100 us
//     OFF ---------------> STARTING ------------> ON
//      ^                                           |
//      +---------------- STOPPING <----------------+
//        seen, or 100 us             asked to stop
//
// Where the control register is plain memory of the driver's (threaded mode) nobody sees reads, and both are
// immediate.
#include "core.h"

enum { CHANGE_NS = 100000 };

_Static_assert(IXGBE_RDBAH - IXGBE_RDBAL == 4 * Q_BASE_HIGH && IXGBE_TDBAH - IXGBE_TDBAL == 4 * Q_BASE_HIGH, "");
_Static_assert(IXGBE_RDLEN - IXGBE_RDBAL == 4 * Q_LENGTH && IXGBE_TDLEN - IXGBE_TDBAL == 4 * Q_LENGTH, "");
_Static_assert(IXGBE_RDH - IXGBE_RDBAL == 4 * Q_HEAD && IXGBE_TDH - IXGBE_TDBAL == 4 * Q_HEAD, "");
_Static_assert(IXGBE_RDT - IXGBE_RDBAL == 4 * Q_TAIL && IXGBE_TDT - IXGBE_TDBAL == 4 * Q_TAIL, "");
_Static_assert(IXGBE_RXDCTL - IXGBE_RDBAL == 4 * Q_CONTROL && IXGBE_TXDCTL - IXGBE_TDBAL == 4 * Q_CONTROL, "");
_Static_assert(IXGBE_SRRCTL - IXGBE_RDBAL == 4 * Q_SRRCTL, "");
_Static_assert(IXGBE_TDWBAL - IXGBE_TDBAL == 4 * Q_HEAD_WRITE_BACK_LOW, "");

void queues_reset(struct sim_device *device) {
    memset(device->queues, 0, sizeof device->queues);
    memset(device->active_count, 0, sizeof device->active_count);
    for (unsigned n = 0; n < SIM_QUEUES; n++) {
        device->queues[SIM_RING_RX][n].registers = reg_at(device, ixgbe_rx_queue_reg(IXGBE_RDBAL, n));
        device->queues[SIM_RING_TX][n].registers = reg_at(device, ixgbe_tx_queue_reg(IXGBE_TDBAL, n));
        device->queues[SIM_RING_RX][n].number = device->queues[SIM_RING_TX][n].number = (uint8_t)n;
    }
    device->scan = true;
}

static void enter(struct sim_device *device, enum sim_ring ring, struct queue *queue, enum queue_state state) {
    queue->state = (uint8_t)state;
    queue->observed = !device->front.every_access_seen;
    queue->deadline_ns = device->now_ns + CHANGE_NS;
    if (state == QUEUE_ON) {
        // The receive head is not software's to write (8.2.3.8.4): it starts at zero.
        queue_publish(queue, ring == SIM_RING_RX ? 0 : load(&queue->registers[Q_HEAD]));
        queue->halted = false;
        observe_queue_enabled(device, ring, queue->number);
    } else if (state == QUEUE_OFF) {
        if (ring == SIM_RING_TX) transmit_queue_stopped(device, queue->number);
        observe_queue_disabled(device, ring, queue->number);
    }
}

static bool enabled(const struct queue *queue) { return load(&queue->registers[Q_CONTROL]) & IXGBE_RXDCTL_ENABLE; }

static bool advance(struct sim_device *device, enum sim_ring ring, struct queue *queue) {
    bool wanted = enabled(queue), due = queue->observed || device->now_ns >= queue->deadline_ns;
    switch ((enum queue_state)queue->state) {
    case QUEUE_OFF:
        if (!wanted) return false;
        enter(device, ring, queue, QUEUE_STARTING);
        break;
    case QUEUE_STARTING:
        if (wanted && (!due || fault_now(device, FAULT_QUEUE_STUCK))) return false;
        if (wanted) {
            enter(device, ring, queue, QUEUE_ON);
        } else {
            queue->state = QUEUE_OFF;
        }
        break;
    case QUEUE_ON:
        if (wanted) return false;
        enter(device, ring, queue, QUEUE_STOPPING);
        break;
    case QUEUE_STOPPING:
        if (!wanted && !due) return false;
        if (wanted) {
            queue->state = QUEUE_ON;
        } else {
            enter(device, ring, queue, QUEUE_OFF);
        }
        break;
    }
    return true;
}

// Threaded drivers read the bit back from plain memory; all that can be done for a queue that is stuck is to clear
// it.
static void keep_stuck(struct sim_device *device, struct queue *queue) {
    if (queue->state != QUEUE_STARTING || device->front.every_access_seen) return;
    __atomic_and_fetch(&queue->registers[Q_CONTROL], ~(uint32_t)IXGBE_RXDCTL_ENABLE, __ATOMIC_RELEASE);
}

bool queues_scan(struct sim_device *device) {
    bool changed = false;
    for (int ring = 0; ring < 2; ring++) {
        unsigned count = 0;
        for (unsigned n = 0; n < SIM_QUEUES; n++) {
            struct queue *queue = &device->queues[ring][n];
            if (queue->state == QUEUE_OFF && !enabled(queue)) continue;
            while (advance(device, (enum sim_ring)ring, queue)) changed = true;
            keep_stuck(device, queue);
            if (queue->state == QUEUE_OFF) continue;
            device->active[ring][count++] = (uint8_t)n;
            bool pending = queue->state == QUEUE_STARTING || queue->state == QUEUE_STOPPING;
            if (pending && queue->deadline_ns > device->now_ns &&
                queue->deadline_ns < device->deadline_ns[TIMER_QUEUE]) {
                device->deadline_ns[TIMER_QUEUE] = queue->deadline_ns;
            }
        }
        device->active_count[ring] = count;
    }
    return changed;
}

static const struct queue *queue_of(const struct sim_device *device, uint32_t offset) {
    if (offset >= IXGBE_TDBAL && offset < IXGBE_TDBAL + SIM_QUEUES * IXGBE_TDBAL_STRIDE) {
        return &device->queues[SIM_RING_TX][(offset - IXGBE_TDBAL) / IXGBE_TDBAL_STRIDE];
    }
    if (offset >= IXGBE_RDBAL && offset < IXGBE_RDBAL + 64 * IXGBE_RDBAL_STRIDE) {
        return &device->queues[SIM_RING_RX][(offset - IXGBE_RDBAL) / IXGBE_RDBAL_STRIDE];
    }
    if (offset >= IXGBE_RDBAL_HIGH && offset < IXGBE_RDBAL_HIGH + 64 * IXGBE_RDBAL_STRIDE) {
        return &device->queues[SIM_RING_RX][64 + (offset - IXGBE_RDBAL_HIGH) / IXGBE_RDBAL_STRIDE];
    }
    return NULL;
}

uint32_t queue_control_peek(const struct sim_device *device, uint32_t offset, uint32_t value) {
    const struct queue *queue = queue_of(device, offset);
    if (!queue || reg_at(device, offset) != &queue->registers[Q_CONTROL]) return value;
    if (!device->front.every_access_seen) return value;  // memory: what was written is what the driver reads
    return queue->state >= QUEUE_ON ? value | IXGBE_RXDCTL_ENABLE : value & ~(uint32_t)IXGBE_RXDCTL_ENABLE;
}

uint32_t queue_control_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    struct queue *queue = (struct queue *)(uintptr_t)queue_of(device, offset);
    // A driver may give a queue 10 ms and not sleep meanwhile, so that the device's thread gets no processor.
    if (!device->front.every_access_seen) queues_scan(device);
    queue->observed = true;
    device->scan = true;
    return queue_control_peek(device, offset, value);
}

// 8.2.3.8.1, 8.2.3.8.3: bases and lengths are multiples of 128 bytes whatever was written.
struct ring queue_ring(struct queue *queue) {
    uint32_t head = load(&queue->registers[Q_HEAD]);
    if (head != queue->head) queue->head = (uint16_t)head;  // software has moved it
    struct ring ring = {
        .base = (uint64_t)load(&queue->registers[Q_BASE_HIGH]) << 32 | (load(&queue->registers[Q_BASE_LOW]) & ~127u),
        .size = (load(&queue->registers[Q_LENGTH]) & 0xfff80) / 16,
        .head = queue->head,
        .tail = load(&queue->registers[Q_TAIL]) & 0xffff,
    };
    if (ring.head >= ring.size || ring.tail >= ring.size) ring.tail = ring.head;
    return ring;
}

void queue_publish(struct queue *queue, uint32_t head) {
    queue->head = (uint16_t)head;
    store(&queue->registers[Q_HEAD], queue->head);
}

// 4.6.7.1: after an error on the bus a queue does nothing more until it has been turned off and on again.
void queue_halt(struct sim_device *device, struct queue *queue, const char *why) {
    queue->halted = true;
    observe_event(device, why);
    interrupt_other(device, IXGBE_EICR_PCI_EXCEPTION);
}
