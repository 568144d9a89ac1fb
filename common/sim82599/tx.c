// tx.c: sending, from the driver's descriptors to the wire.
//
// For each queue that is on, the engine goes from head to tail. A context descriptor is remembered. Packets that are
// one buffer each and need nothing done to them go to the wire straight from the driver's memory, in bursts; that is
// the fast path, and most packets. All others are gathered into one piece first, and then leave as one frame or, with
// TSO, as many.
//
// When the wire cannot take a frame (the partner asked for a pause, or the line is busy) everything stays as it is
// and is tried again in the next step. A packet is done when its last frame is on the wire. Then its descriptors are
// written back, those that asked for it (RS), and the head moves on.
#include "core.h"

#include <errno.h>

struct engine {
    struct queue *queue;
    struct ring ring;
    uint32_t mac;  // HLREG0
    bool dark;     // the laser is off
    uint32_t frames;
    uint64_t bytes;
    bool reported;  // some descriptor asked for its status
};

void transmit_reset(struct sim_device *device) {
    device->gathered.queue = NULL;
    memset(device->contexts, 0, sizeof device->contexts);
}

void transmit_queue_stopped(struct sim_device *device, unsigned queue) {
    if (device->gathered.queue == &device->queues[SIM_RING_TX][queue]) device->gathered.queue = NULL;
}

// The MAC: loops back, or hands over to the wire. Returns how many frames have gone, from the first one on.
static unsigned to_wire(struct sim_device *device, struct engine *engine, const struct wire_frame *frames,
                        unsigned count) {
    if (engine->mac & IXGBE_HLREG0_LPBK) {
        receive_looped(device, frames, count);
    } else if (device->wire && !engine->dark) {
        count = device->wire->ops->send(device->wire, frames, count);
    }
    for (unsigned i = 0; i < count; i++) {
        if (sim_observed) observe_frame(device, true, frames[i].bytes, frames[i].length);
        tally_frame(&device->sent, frames[i].bytes, frames[i].length);
        engine->bytes += frames[i].length;
    }
    engine->frames += count;
    return count;
}

static inline union ixgbe_tx_desc *descriptor_at(struct sim_device *device, struct engine *engine, uint32_t index) {
    union ixgbe_tx_desc *descriptor = dma_descriptor(device, DMA_TX_RING, &engine->ring, index);
    if (!descriptor) dma_ring_fault(device, engine->ring.base + index * 16);
    return descriptor;
}

// A copy that cannot change any more while it is looked at. Each field is read once.
static inline union ixgbe_tx_desc fetched(const union ixgbe_tx_desc *descriptor) {
    return (union ixgbe_tx_desc){.read = {
                                     __atomic_load_n(&descriptor->read.iova, __ATOMIC_RELAXED),
                                     __atomic_load_n(&descriptor->read.command, __ATOMIC_RELAXED),
                                     __atomic_load_n(&descriptor->read.options, __ATOMIC_RELAXED),
                                 }};
}

// 7.2.3.5: what the driver asked to be told. Either DD in the descriptor, or only the head, somewhere in its memory.
static void write_back(struct sim_device *device, struct engine *engine, union ixgbe_tx_desc *descriptor,
                       uint32_t index) {
    engine->reported = true;
    const uint32_t *registers = engine->queue->registers;
    if (load(&registers[Q_HEAD_WRITE_BACK_LOW]) & IXGBE_TDWBAL_HEAD_WB_EN) return;
    bool legacy = !(descriptor->read.command & IXGBE_TXD_CMD_DEXT);
    uint32_t status = (legacy ? descriptor->wb.status : 0) | IXGBE_TXD_STATUS_DD;
    __atomic_store_n(&descriptor->wb.status, status, __ATOMIC_RELEASE);
    if (sim_observed) observe_write_back(device, SIM_RING_TX, engine->queue->number, index, descriptor);
}

static void write_back_head(struct sim_device *device, struct engine *engine) {
    const uint32_t *registers = engine->queue->registers;
    uint32_t low = load(&registers[Q_HEAD_WRITE_BACK_LOW]), head = engine->ring.head;
    if (!(low & IXGBE_TDWBAL_HEAD_WB_EN)) return;
    uint64_t iova = (uint64_t)load(&registers[Q_HEAD_WRITE_BACK_HIGH]) << 32 | (low & IXGBE_TDWBAL_HEADWB_LOW);
    dma_write(device, iova, &head, sizeof head);
}

// Done with `count` descriptors from the head on.
static void complete(struct sim_device *device, struct engine *engine, uint32_t descriptors) {
    while (descriptors-- > 0) {
        union ixgbe_tx_desc *descriptor = descriptor_at(device, engine, engine->ring.head);
        if (descriptor && descriptor->read.command & IXGBE_TXD_CMD_RS) {
            write_back(device, engine, descriptor, engine->ring.head);
        }
        engine->ring.head = ring_next(&engine->ring, engine->ring.head);
    }
}

static void remember_context(struct sim_device *device, struct engine *engine,
                             const union ixgbe_tx_desc *descriptor) {
    struct ixgbe_tx_context_desc context;
    memcpy(&context, descriptor, sizeof context);
    device->contexts[engine->queue->number][field(context.segmentation, IXGBE_TXC_IDX) & 1] = context;
}

static struct offload offload_of(const struct sim_device *device, const struct engine *engine,
                                 const union ixgbe_tx_desc *first) {
    uint32_t command = first->read.command, options = first->read.options;
    if (!(command & IXGBE_TXD_CMD_DEXT)) {
        struct ixgbe_tx_legacy_desc legacy;
        memcpy(&legacy, first, sizeof legacy);
        return (struct offload){
            .legacy_sum = command & IXGBE_TXD_CMD_IC,
            .sum_start = legacy.checksum_start,
            .sum_at = legacy.checksum_offset,
            .vlan = command & IXGBE_TXD_CMD_VLE,
            .tag = legacy.vlan,
            .crc_in_memory = !(command & IXGBE_TXD_CMD_IFCS),
        };
    }
    const struct ixgbe_tx_context_desc *context =
        &device->contexts[engine->queue->number][field(options, IXGBE_TXD_OPT_IDX) & 1];
    return (struct offload){
        .ip = options & IXGBE_TXD_OPT_IXSM,
        .l4 = options & IXGBE_TXD_OPT_TXSM,
        .segment = command & IXGBE_TXD_CMD_TSE,
        .vlan = command & IXGBE_TXD_CMD_VLE,
        .tag = (uint16_t)(context->header_lengths >> IXGBE_TXC_VLAN_SHIFT),
        .mac_length = field(context->header_lengths, IXGBE_TXC_MACLEN),
        .ip_length = field(context->header_lengths, IXGBE_TXC_IPLEN),
        .l4_length = field(context->segmentation, IXGBE_TXC_L4LEN),
        .mss = field(context->segmentation, IXGBE_TXC_MSS),
        .l4_type = context->command & IXGBE_TXC_L4T,
        .ipv4 = context->command & IXGBE_TXC_IPV4,
        .crc_in_memory = !(command & IXGBE_TXD_CMD_IFCS),
    };
}

static void put16(uint8_t *bytes, uint16_t value) { memcpy(bytes, &value, 2); }  // a sum: already in network order
static void put_be16(uint8_t *bytes, uint32_t value) {
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}
static uint32_t get_be32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

// 7.2.5.1: the driver has put the pseudo header's sum where the checksum goes, so all bytes from the L4 header on are
// simply added up. A UDP sum that comes out as zero is sent as its other form, all ones.
static void insert_l4_sum(const struct offload *offload, uint8_t *frame, uint32_t length) {
    uint32_t start = offload->mac_length + offload->ip_length;
    if (offload->l4_type == IXGBE_TXC_L4T_SCTP) {
        if (start + 12 > length) return;
        uint32_t crc = crc32c_sctp(frame + start, length - start);
        memcpy(frame + start + 8, &crc, 4);
        return;
    }
    bool tcp = offload->l4_type == IXGBE_TXC_L4T_TCP;
    uint32_t at = start + (tcp ? 16 : 6);
    if (at + 2 > length) return;
    uint16_t sum = (uint16_t)~checksum_fold(checksum_add(frame + start, length - start, 0));
    put16(frame + at, sum == 0 && !tcp ? 0xffff : sum);
}

// 7.2.4.4: the sum over the IP header takes in what stands in the checksum field, so a driver has cleared it, or left
// what makes up for bytes that are in IPLEN and not in the header: Linux's, for packets in tunnels.
static void insert_sums(const struct offload *offload, uint8_t *frame, uint32_t length) {
    if (offload->legacy_sum && offload->sum_start < length && offload->sum_at + 2 <= length) {
        uint64_t sum = checksum_add(frame + offload->sum_start, length - offload->sum_start, 0);
        put16(frame + offload->sum_at, (uint16_t)~checksum_fold(sum));
    }
    if (offload->l4) insert_l4_sum(offload, frame, length);
    if (offload->ip && offload->mac_length + offload->ip_length <= length && offload->ip_length >= 20) {
        uint8_t *ip = frame + offload->mac_length;
        put16(ip + 10, (uint16_t)~checksum_fold(checksum_add(ip, offload->ip_length, 0)));
    }
}

// 8.2.3.9.2: the Ethernet type of an inserted tag is DMATXCTL.VT. There are four free bytes before every frame.
static uint8_t *insert_tag(struct sim_device *device, const struct offload *offload, uint8_t *frame,
                           uint32_t *length) {
    if (!offload->vlan) return frame;
    memmove(frame - 4, frame, 12);
    put_be16(frame + 8, field(reg(device, IXGBE_DMATXCTL), IXGBE_DMATXCTL_VT));
    put_be16(frame + 10, offload->tag);
    *length += 4;
    return frame - 4;
}

// 8.2.3.9.3, 8.2.3.9.4: with the values after a reset, FIN and PSH stay in the last segment only, and CWR in all but
// the last. The four bits before the flags count as flags.
static void mask_flags(const struct sim_device *device, uint8_t *tcp, bool first, bool last) {
    uint32_t low = reg(device, IXGBE_DTXTCPFLGL);
    uint32_t kept = last    ? field(reg(device, IXGBE_DTXTCPFLGH), IXGBE_DTXTCPFLGH_TCP_FLG_LST_SEG)
                    : first ? field(low, IXGBE_DTXTCPFLGL_TCP_FLG_FIRST_SEG)
                            : field(low, IXGBE_DTXTCPFLGL_TCP_FLG_MID_SEG);
    tcp[12] &= (uint8_t)(0xf0 | kept >> 8);
    tcp[13] &= (uint8_t)kept;
}

// 7.2.4.4: each segment is the header again, with what differs put right.
static void adjust_headers(const struct sim_device *device, const struct offload *offload, uint8_t *frame,
                           uint32_t payload, bool last) {
    const struct gathered *packet = &device->gathered;
    uint8_t *ip = frame + offload->mac_length, *l4 = ip + offload->ip_length;
    bool tcp = offload->l4_type == IXGBE_TXC_L4T_TCP;
    uint32_t l4_bytes = offload->l4_length + payload;
    if (offload->ipv4) {
        put_be16(ip + 2, offload->ip_length + l4_bytes);
        put_be16(ip + 4, (uint32_t)(ip[4] << 8 | ip[5]) + packet->segments);
    } else {
        put_be16(ip + 4, offload->ip_length - 40 + l4_bytes);
    }
    // The driver's pseudo header has no length, because that is different in each segment.
    uint8_t *sum = l4 + (tcp ? 16 : 6);
    uint16_t seed;
    const uint8_t length[2] = {(uint8_t)(l4_bytes >> 8), (uint8_t)l4_bytes};
    memcpy(&seed, sum, 2);
    put16(sum, checksum_fold(checksum_add(length, 2, seed)));
    if (tcp) {
        uint32_t sequence = get_be32(l4 + 4) + packet->sent;
        put_be16(l4 + 4, sequence >> 16);
        put_be16(l4 + 6, sequence);
        mask_flags(device, l4, packet->segments == 0, last);
    } else {
        put_be16(l4 + 4, l4_bytes);
    }
}

static bool segmentation_makes_sense(const struct offload *offload, const struct gathered *packet) {
    uint32_t header = offload->mac_length + offload->ip_length + offload->l4_length;
    uint32_t least_l4 = offload->l4_type == IXGBE_TXC_L4T_TCP ? 20 : 8, least_ip = offload->ipv4 ? 20 : 40;
    return offload->mss && header <= packet->length && header + offload->mss <= SIM_MAX_FRAME &&
           offload->mac_length >= 14 && offload->ip_length >= least_ip && offload->l4_length >= least_l4 &&
           offload->l4_type != IXGBE_TXC_L4T_SCTP;
}

// Puts the next frame of the gathered packet together. Returns its length.
static uint32_t build(struct sim_device *device, const struct offload *offload, uint8_t *frame, uint32_t *payload) {
    struct gathered *packet = &device->gathered;
    if (!offload->segment) {
        *payload = packet->length;
        memcpy(frame, packet->bytes, packet->length);
        insert_sums(offload, frame, packet->length);
        return packet->length;
    }
    uint32_t header = offload->mac_length + offload->ip_length + offload->l4_length;
    uint32_t left = packet->length - header - packet->sent;
    *payload = left < offload->mss ? left : offload->mss;
    memcpy(frame, packet->bytes, header);
    memcpy(frame + header, packet->bytes + header + packet->sent, *payload);
    adjust_headers(device, offload, frame, *payload, *payload == left);
    insert_sums(offload, frame, header + *payload);
    return header + *payload;
}

// Sends what is left of the gathered packet. -EAGAIN: not all of it yet, because the wire is busy or this turn is
// over.
static int send_gathered(struct sim_device *device, struct engine *engine, const struct offload *offload) {
    struct gathered *packet = &device->gathered;
    uint32_t header = offload->segment ? offload->mac_length + offload->ip_length + offload->l4_length : 0;
    for (unsigned n = 0; n < SIM_BATCH; n++) {
        uint32_t payload;
        uint8_t *frame = device->segment + 64;
        uint32_t length = build(device, offload, frame, &payload);
        frame = insert_tag(device, offload, frame, &length);
        if (length < SIM_MIN_FRAME && engine->mac & IXGBE_HLREG0_TXPADEN) {
            memset(frame + length, 0, SIM_MIN_FRAME - length);
            length = SIM_MIN_FRAME;
        }
        if (!to_wire(device, engine, &(struct wire_frame){frame, length}, 1)) return -EAGAIN;
        packet->sent += payload;
        packet->segments++;
        if (header + packet->sent >= packet->length) return 0;
    }
    return -EAGAIN;
}

// How many descriptors from the head on make a packet; 0 if its end is not there yet.
static uint32_t packet_extent(struct sim_device *device, struct engine *engine) {
    uint32_t count = 0;
    for (uint32_t index = engine->ring.head; index != engine->ring.tail; index = ring_next(&engine->ring, index)) {
        union ixgbe_tx_desc *descriptor = descriptor_at(device, engine, index);
        count++;
        if (!descriptor || descriptor->read.command & IXGBE_TXD_CMD_EOP) return count;
    }
    return count + 1 == engine->ring.size ? count : 0;
}

static int dropped(struct sim_device *device, const char *why, uint32_t length) {
    observe_dropped(device, true, why, length);
    return -EINVAL;
}

// All buffers of the packet, one after the other.
static int gather(struct sim_device *device, struct engine *engine, uint32_t descriptors) {
    struct gathered *packet = &device->gathered;
    packet->length = packet->sent = packet->segments = 0;
    uint32_t index = engine->ring.head, command = 0;
    for (uint32_t i = 0; i < descriptors; i++, index = ring_next(&engine->ring, index)) {
        const union ixgbe_tx_desc *descriptor = descriptor_at(device, engine, index);
        if (!descriptor) return -EFAULT;
        const union ixgbe_tx_desc copy = fetched(descriptor);
        uint64_t iova = copy.read.iova;
        command = copy.read.command;
        uint32_t length = command & IXGBE_TXD_CMD_LENGTH;
        if (sim_observed && i > 0) observe_fetch(device, SIM_RING_TX, engine->queue->number, index, descriptor);
        if (packet->length + length > GATHERED_BYTES) return dropped(device, "packet is too long", length);
        if (!dma_read(device, iova, packet->bytes + packet->length, length)) return -EFAULT;
        packet->length += length;
    }
    if (!(command & IXGBE_TXD_CMD_EOP))
        return dropped(device, "packet without an end fills the ring", packet->length);
    return 0;
}

// Without IFCS the driver has to bring the CRC itself; a wrong one the partner would throw away.
static int take_crc_off(struct sim_device *device, struct gathered *packet) {
    uint32_t crc;
    if (packet->length < 18) return dropped(device, "packet is too short", packet->length);
    packet->length -= 4;
    memcpy(&crc, packet->bytes + packet->length, 4);
    if (crc == crc32_ethernet(packet->bytes, packet->length)) return 0;
    return dropped(device, "neither IFCS nor a right CRC at the end", packet->length);
}

static int prepare(struct sim_device *device, struct engine *engine, const union ixgbe_tx_desc *first,
                   uint32_t descriptors) {
    struct gathered *packet = &device->gathered;
    int error = gather(device, engine, descriptors);
    if (error) return error;
    packet->offload = offload_of(device, engine, first);
    packet->descriptors = descriptors;
    if (packet->offload.segment) {
        if (segmentation_makes_sense(&packet->offload, packet)) return 0;
        return dropped(device, "segmentation with impossible header lengths", packet->length);
    }
    if (packet->length < 14 || packet->length > SIM_MAX_FRAME)
        return dropped(device, "impossible length", packet->length);
    return packet->offload.crc_in_memory ? take_crc_off(device, packet) : 0;
}

// A packet that is not just one plain buffer. -EAGAIN: not yet, or not all of it. -EFAULT: the queue is to be halted.
static int send_packet(struct sim_device *device, struct engine *engine, const union ixgbe_tx_desc *first) {
    struct gathered *packet = &device->gathered;
    if (packet->queue != engine->queue) {
        uint32_t descriptors = packet_extent(device, engine);
        if (descriptors == 0) return -EAGAIN;
        int error = prepare(device, engine, first, descriptors);
        if (error == -EINVAL) complete(device, engine, descriptors);
        if (error) return error == -EINVAL ? 0 : error;
        packet->queue = engine->queue;
    }
    int error = send_gathered(device, engine, &packet->offload);
    if (error) return error;
    complete(device, engine, packet->descriptors);
    packet->queue = NULL;
    return 0;
}

// The descriptor at the head, and those that belong to it.
static int send_next(struct sim_device *device, struct engine *engine) {
    uint32_t head = engine->ring.head;
    union ixgbe_tx_desc *descriptor = descriptor_at(device, engine, head);
    if (!descriptor) return -EFAULT;
    const union ixgbe_tx_desc copy = fetched(descriptor);
    uint32_t command = copy.read.command;
    if (sim_observed && !engine->queue->retrying) {
        observe_fetch(device, SIM_RING_TX, engine->queue->number, head, &copy);
    }
    uint32_t type = command & IXGBE_TXD_CMD_DEXT ? command & IXGBE_TXD_CMD_DTYP : IXGBE_TXD_CMD_DTYP_DATA;
    if (type == IXGBE_TXD_CMD_DTYP_DATA) return send_packet(device, engine, &copy);
    if (type == IXGBE_TXD_CMD_DTYP_CONTEXT) {
        remember_context(device, engine, &copy);
    } else {
        observe_event(device, "transmit descriptor of unknown type ignored");
    }
    complete(device, engine, 1);
    return 0;
}

// One buffer that is a frame as it is.
static inline bool plain(const union ixgbe_tx_desc *descriptor) {
    const uint32_t whole = IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS, looked_at = whole | IXGBE_TXD_CMD_VLE;
    uint32_t command = descriptor->read.command, length = command & IXGBE_TXD_CMD_LENGTH;
    if (length < SIM_MIN_FRAME || length > SIM_MAX_FRAME) return false;
    if (!(command & IXGBE_TXD_CMD_DEXT)) return (command & (looked_at | IXGBE_TXD_CMD_IC)) == whole;
    return (command & (looked_at | IXGBE_TXD_CMD_DTYP | IXGBE_TXD_CMD_TSE)) == (whole | IXGBE_TXD_CMD_DTYP_DATA) &&
           !(descriptor->read.options & (IXGBE_TXD_OPT_IXSM | IXGBE_TXD_OPT_TXSM));
}

// The plain packets at the head, up to the first that is not. One at a time where somebody wants to see the order of
// things, and none in loopback, where the driver's memory could change while it is looked at. Each is asked for here,
// so that all of them are on their way from the driver's processor before the first is looked at.
static unsigned collect(struct sim_device *device, struct engine *engine, struct wire_frame *frames, unsigned most) {
    const struct ring *ring = &engine->ring;
    unsigned count = 0;
    if (sim_observed) most = 1;
    if (device->gathered.queue || engine->mac & IXGBE_HLREG0_LPBK) return 0;
    uint32_t pending = ring_pending(ring);
    dma_ask_for_descriptors(ring, ring->head, pending < most ? pending : most, false);
    for (uint32_t index = ring->head; count < most && index != ring->tail; index = ring_next(ring, index)) {
        union ixgbe_tx_desc *descriptor = dma_descriptor(device, DMA_TX_RING, ring, index);
        if (!descriptor) break;
        const union ixgbe_tx_desc copy = fetched(descriptor);
        if (!plain(&copy)) break;
        uint32_t length = copy.read.command & IXGBE_TXD_CMD_LENGTH;
        const uint8_t *bytes = dma_at(device, DMA_TX_DATA, copy.read.iova, length);
        if (!bytes) break;
        __builtin_prefetch(bytes);
        frames[count++] = (struct wire_frame){bytes, length};
        if (!sim_observed) continue;
        if (!engine->queue->retrying) observe_fetch(device, SIM_RING_TX, engine->queue->number, index, &copy);
        observe_dma(device, false, copy.read.iova, length);
    }
    return count;
}

static int send_plain(struct sim_device *device, struct engine *engine, const struct wire_frame *frames,
                      unsigned count) {
    unsigned gone = to_wire(device, engine, frames, count);
    complete(device, engine, gone);
    return gone == count ? 0 : -EAGAIN;
}

static bool serve(struct sim_device *device, struct queue *queue) {
    struct engine engine = {
        .queue = queue, .ring = queue_ring(queue), .mac = reg(device, IXGBE_HLREG0), .dark = !sim_laser_on(device)};
    uint32_t start = engine.ring.head;
    dma_find_ring(device, DMA_TX_RING, &engine.ring);
    // As much as receive_step: a driver that forwards must be able to send as fast as it receives.
    for (unsigned left = 2 * SIM_BATCH; left && engine.ring.head != engine.ring.tail;) {
        struct wire_frame frames[SIM_BATCH];
        unsigned count = collect(device, &engine, frames, left < SIM_BATCH ? left : SIM_BATCH);
        int error = count ? send_plain(device, &engine, frames, count) : send_next(device, &engine);
        left -= count ? count : 1;
        queue->retrying = error == -EAGAIN;
        if (error == -EFAULT) {
            queue_halt(device, queue, "DMA fault: transmit queue halted");
            transmit_queue_stopped(device, queue->number);
        }
        if (error) break;
    }
    if (engine.frames) count_queue_sent(device, queue->number, engine.frames, engine.bytes);
    if (engine.ring.head == start) return engine.frames > 0;
    queue_publish(queue, engine.ring.head);
    if (engine.reported) {
        write_back_head(device, &engine);
        interrupt_queue(device, SIM_RING_TX, queue->number);
    }
    return true;
}

static bool transmitter_open(const struct sim_device *device) {
    bool open = device->link == LINK_UP || reg(device, IXGBE_HLREG0) & IXGBE_HLREG0_LPBK;
    return open && reg(device, IXGBE_DMATXCTL) & IXGBE_DMATXCTL_TE &&
           !(reg(device, IXGBE_SECTXCTRL) & IXGBE_SECTXCTRL_TX_DIS);
}

// Without a link nothing is fetched: the packets stay where they are until there is one, or the driver resets.
bool transmit_step(struct sim_device *device) {
    unsigned count = device->active_count[SIM_RING_TX];
    if (!count || !transmitter_open(device) || !dma_allowed(device)) return false;
    bool moved = false;
    unsigned first = device->next_tx++;
    for (unsigned i = 0; i < count; i++) {
        struct queue *queue = &device->queues[SIM_RING_TX][device->active[SIM_RING_TX][(first + i) % count]];
        bool waits = device->gathered.queue && device->gathered.queue != queue;
        if (queue_runs(queue) && !waits) moved |= serve(device, queue);
    }
    return moved;
}
