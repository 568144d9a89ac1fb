// steer.c: filters that lead a frame to a queue (7.1.2).
//
// A frame's queue is what the first of these says: a filter for its Ethernet type (7.1.2.3); of the filters for
// protocol, addresses and ports that match it, the one with the highest priority (7.1.2.5); RSS, which has already
// chosen when we come here; queue 0. A filter for an Ethernet type also says in the write-back that it has matched
// (7.1.6.2), and may do nothing else.
//
// There are 8 filters of the first kind and 128 of the second, and mostly none is on. So those that are on are
// gathered, in the order in which they count, when software has written one of their registers.
#include "core.h"

// The bits of FTQF.MASK (8.2.3.7.19); one that is set says what is not compared.
enum { ANY_SOURCE = 1, ANY_DESTINATION = 2, ANY_SOURCE_PORT = 4, ANY_DESTINATION_PORT = 8, ANY_PROTOCOL = 16 };

static bool queue_exists(struct sim_device *device, uint32_t queue) {
    if (queue >= RSS_QUEUES) observe_event(device, "a filter leads to a queue above 15, which is not implemented");
    return queue < RSS_QUEUES;
}

static void gather_types(struct sim_device *device, struct steering *steering) {
    for (uint32_t n = 0; n < IXGBE_ETQF_COUNT; n++) {
        uint32_t filter = reg(device, IXGBE_REG(ETQF, n)), action = reg(device, IXGBE_REG(ETQS, n));
        if (!(filter & IXGBE_ETQF_FILTER_EN)) continue;
        uint32_t queue = field(action, IXGBE_ETQS_RX_QUEUE);
        bool leads = action & IXGBE_ETQS_QUEUE_EN && queue_exists(device, queue);
        steering->types[steering->type_count++] = (struct type_filter){
            .type = filter & IXGBE_ETQF_ETYPE, .number = (uint8_t)n, .queue = (uint8_t)queue, .leads = leads};
    }
}

// Addresses and ports are in the registers as they are in a frame.
static struct tuple_filter read_tuple(const struct sim_device *device, uint32_t n) {
    uint32_t control = reg(device, IXGBE_REG(FTQF, n)), ports = reg(device, IXGBE_REG(SDPQF, n));
    return (struct tuple_filter){
        .source = reg(device, IXGBE_REG(SAQF, n)),
        .destination = reg(device, IXGBE_REG(DAQF, n)),
        .source_port = ports & IXGBE_SDPQF_SOURCE_PORT,
        .destination_port = (uint16_t)field(ports, IXGBE_SDPQF_DESTINATION_PORT),
        .protocol = control & IXGBE_FTQF_PROTOCOL,
        .any = (uint8_t)field(control, IXGBE_FTQF_MASK),
        .priority = (uint8_t)field(control, IXGBE_FTQF_PRIORITY),
        .queue = (uint8_t)field(reg(device, IXGBE_REG(L34TIMIR, n)), IXGBE_L34TIMIR_RX_QUEUE),
    };
}

// By priority, and of equal ones the lower number first.
static void gather_tuples(struct sim_device *device, struct steering *steering) {
    for (uint32_t n = 0; n < IXGBE_FTQF_COUNT; n++) {
        if (!(reg(device, IXGBE_REG(FTQF, n)) & IXGBE_FTQF_QUEUE_ENABLE)) continue;
        struct tuple_filter filter = read_tuple(device, n);
        if (!queue_exists(device, filter.queue)) continue;
        unsigned at = steering->tuple_count++;
        for (; at > 0 && steering->tuples[at - 1].priority < filter.priority; at--) {
            steering->tuples[at] = steering->tuples[at - 1];
        }
        steering->tuples[at] = filter;
    }
}

bool steering_refresh(struct sim_device *device) {
    struct steering *steering = &device->steering;
    if (steering->stale) {
        *steering = (struct steering){0};
        gather_types(device, steering);
        gather_tuples(device, steering);
    }
    return steering->type_count || steering->tuple_count;
}

void steering_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    (void)offset, (void)value;
    device->steering.stale = true;
}

static bool matches(const struct tuple_filter *filter, const struct tuple_filter *packet) {
    uint8_t any = filter->any;
    return (any & ANY_SOURCE || filter->source == packet->source) &&
           (any & ANY_DESTINATION || filter->destination == packet->destination) &&
           (any & ANY_SOURCE_PORT || filter->source_port == packet->source_port) &&
           (any & ANY_DESTINATION_PORT || filter->destination_port == packet->destination_port) &&
           (any & ANY_PROTOCOL || filter->protocol == packet->protocol);
}

static uint8_t protocol_of(const struct frame *frame) {
    if (frame->info & IXGBE_RXD_INFO_TCP) return IXGBE_FTQF_TCP;
    if (frame->info & IXGBE_RXD_INFO_UDP) return IXGBE_FTQF_UDP;
    return frame->info & IXGBE_RXD_INFO_SCTP ? IXGBE_FTQF_SCTP : IXGBE_FTQF_OTHER;
}

// A fragment, or a packet of some other protocol, has no ports, and so matches no filter that compares them. Nor has
// one whose sender has made its header longer since it was classified: its ports may be beyond the frame.
static void steer_by_tuple(const struct steering *steering, const uint8_t *ip, uint32_t length, struct frame *frame) {
    struct tuple_filter packet = {.protocol = protocol_of(frame)};
    uint32_t header = (ip[0] & 15) * 4u;
    bool has_ports = packet.protocol != IXGBE_FTQF_OTHER && header + 4 <= length;
    const uint8_t *ports = ip + header;
    memcpy(&packet.source, ip + 12, 4);
    memcpy(&packet.destination, ip + 16, 4);
    if (has_ports) memcpy(&packet.source_port, ports, 2);
    if (has_ports) memcpy(&packet.destination_port, ports + 2, 2);
    for (unsigned i = 0; i < steering->tuple_count; i++) {
        const struct tuple_filter *filter = &steering->tuples[i];
        bool wants_ports = ~filter->any & (ANY_SOURCE_PORT | ANY_DESTINATION_PORT);
        if ((wants_ports && !has_ports) || !matches(filter, &packet)) continue;
        frame->queue = filter->queue;
        return;
    }
}

void steer(const struct sim_device *device, const uint8_t *bytes, struct frame *frame) {
    const struct steering *steering = &device->steering;
    uint32_t offset = frame->status & IXGBE_RXD_STATUS_VP ? 18 : 14;
    uint32_t type = (uint32_t)(bytes[offset - 2] << 8 | bytes[offset - 1]);
    for (unsigned i = 0; i < steering->type_count; i++) {
        const struct type_filter *filter = &steering->types[i];
        if (filter->type != type) continue;
        frame->info = IXGBE_RXD_INFO_ETQF | (uint32_t)filter->number << IXGBE_RXD_INFO_ETQF_SHIFT;
        if (filter->leads) frame->queue = filter->queue;
        return;
    }
    if (frame->info & IXGBE_RXD_INFO_IPV4) steer_by_tuple(steering, bytes + offset, frame->length - offset, frame);
}
