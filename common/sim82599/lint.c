// lint.c: says which rule of the datasheet the driver has just broken.
//
// A real 82599 answers a mistake with silence. This one sees every register access and every descriptor, and
// compares them with the rules of lint.def. What it says, once per rule and place:
//
//   sim82599: lint: tail-while-disabled (82599 datasheet 4.6.7, 4.6.8): port 0 wrote RDT[0]=511 while
//             RXDCTL[0].ENABLE reads 0
//             the rule: move the tail only while the queue's ENABLE reads 1
//             on hardware: the write is lost; the ring stays empty and nothing is ever sent or received
//
// A driver that is right must never see such a line, so every judgement waits until there is no innocent explanation.
// With the queues' registers in plain memory (sim_every_access_seen is false) the order of accesses is unknown;
// then only states are judged: what a queue looks like when it has become enabled, what is unmapped.
//
// To notice that a descriptor changes while the device owns it, the ring's content is copied when the tail moves (a
// shadow), and compared when the device fetches and when the tail moves again. The same copies tell whether a buffer
// is given twice. Everything is static memory, because all this happens inside a signal handler.
#include "lint.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "ixgbe_regs.h"
#include "sim.h"
#include "trace.h"

enum rule {
#define RULE(id, name, section, rule, hardware) RULE_##id,
#include "lint.def"
    RULES
};

static const struct {
    const char *name, *section, *rule, *hardware;
} rules[RULES] = {
#define RULE(id, name, section, rule, hardware) {name, section, rule, hardware},
#include "lint.def"
};

enum {
    PORTS = 4,
    SHADOWS = 16,        // queues watched at a time
    SHADOW_SIZE = 4096,  // descriptors; a longer ring is not watched
    MIN_PACKET = 17,     // 7.2.3.2.4: the shortest that PAYLEN may say; the device pads it
};

struct descriptor {
    uint64_t iova, rest;
};

// What the device owns of a ring: from `clean`, the first not yet written back, up to but without `tail`.
struct shadow {
    struct queue *owner;
    unsigned size, clean, tail;
    struct descriptor content[SHADOW_SIZE];
};

struct queue {
    bool asked;    // the driver's last write to RXDCTL or TXDCTL had ENABLE set
    bool seen;     // and since then a read has shown it set
    uint32_t low;  // base and length as written; the device's registers drop the bits that must be 0
    uint32_t length;
    struct shadow *shadow;
    // Transmit: the packet that is being fetched, and what has been said since the queue was enabled.
    bool in_packet, has_crc, segmented, legacy;
    uint32_t packet_length, options;
    uint8_t contexts;  // bit n: context n has been given
    struct {
        uint32_t headers;  // bytes
        bool ipv4;
    } context[8];
    uint32_t since_report;  // descriptors since the last RS
};

static struct port {
    struct sim_device *device;
    struct queue queues[2][SIM_QUEUES];  // by enum sim_ring
    uint32_t last_counter;               // offset of the statistics register read last
    uint64_t waiting_since;              // the receiver could work but for one bit, in ns; 0: not so
    bool fetched_any;
    enum sim_ring fetched_ring;
    unsigned fetched_queue, fetched_index;
} ports[PORTS];

static struct shadow shadows[SHADOWS];

static struct port *port_of(struct sim_device *device) {
    struct port *port = &ports[sim_port(device) % PORTS];
    if (port->device != device) lint_reset(device);
    return port;
}

// Saying it.

static unsigned breaches;

unsigned lint_breaches(void) { return breaches; }

static bool is_first(const struct port *port, enum rule rule, unsigned place) {
    static uint64_t said[1024];
    static unsigned count;
    uint64_t key = (uint64_t)(port - ports) << 56 | (uint64_t)rule << 32 | place;
    for (unsigned i = 0; i < count; i++)
        if (said[i] == key) return false;
    if (count == sizeof said / sizeof said[0]) return false;
    said[count++] = key;
    return true;
}

static void say(struct port *port, enum rule rule, unsigned place, const char *format, ...) {
    static struct text line;
    breaches++;
    if (!is_first(port, rule, place)) return;
    trace_flush();
    line.length = 0;
    text_format(&line, "sim82599: lint: %s (82599 datasheet %s): port %u ", rules[rule].name, rules[rule].section,
                sim_port(port->device));
    va_list arguments;
    va_start(arguments, format);
    text_append(&line, format, arguments);
    va_end(arguments);
    text_format(&line, "\n          the rule: %s\n          on hardware: %s", rules[rule].rule, rules[rule].hardware);
    text_write(&line, STDERR_FILENO);
}

// Queues and their registers.

enum {  // relative to the queue's block, the same for both directions
    BASE_LOW = IXGBE_RDBAL - IXGBE_RDBAL,
    BASE_HIGH = IXGBE_RDBAH - IXGBE_RDBAL,
    LENGTH = IXGBE_RDLEN - IXGBE_RDBAL,
    HEAD = IXGBE_RDH - IXGBE_RDBAL,
    TAIL = IXGBE_RDT - IXGBE_RDBAL,
    CONTROL = IXGBE_RXDCTL - IXGBE_RDBAL,
    SPLIT = IXGBE_SRRCTL - IXGBE_RDBAL,
    HEAD_WRITE_BACK = IXGBE_TDWBAL - IXGBE_TDBAL,
    BLOCK = IXGBE_RDBAL_STRIDE,
    ENABLE = IXGBE_RXDCTL_ENABLE,
};
_Static_assert(TAIL == IXGBE_TDT - IXGBE_TDBAL && HEAD == IXGBE_TDH - IXGBE_TDBAL &&
                   LENGTH == IXGBE_TDLEN - IXGBE_TDBAL && CONTROL == IXGBE_TXDCTL - IXGBE_TDBAL &&
                   (int)BLOCK == (int)IXGBE_TDBAL_STRIDE && (int)ENABLE == (int)IXGBE_TXDCTL_ENABLE,
               "transmit and receive queues have their common registers at the same places");

struct place {
    struct port *port;
    enum sim_ring ring;
    unsigned number;
    struct queue *queue;
};

static struct place place_of(struct port *port, enum sim_ring ring, unsigned number) {
    return (struct place){port, ring, number, &port->queues[ring][number % SIM_QUEUES]};
}

static uint32_t address(struct place at, uint32_t relative) {
    return relative + (at.ring == SIM_RING_RX ? ixgbe_rx_queue_reg(IXGBE_RDBAL, at.number)
                                              : ixgbe_tx_queue_reg(IXGBE_TDBAL, at.number));
}

static uint32_t look(struct place at, uint32_t relative) { return sim_peek(at.port->device, address(at, relative)); }

static unsigned key(struct place at) { return (unsigned)at.ring << 8 | at.number; }
static const char *direction(struct place at) { return at.ring == SIM_RING_RX ? "RX" : "TX"; }

// Is `offset` in a queue's block? Then *at and *relative say where.
static bool is_queue_register(struct port *port, uint32_t offset, struct place *at, uint32_t *relative) {
    static const struct {
        uint32_t start, queues;
        enum sim_ring ring;
        unsigned first;
    } blocks[] = {
        {IXGBE_RDBAL, IXGBE_RDBAL_COUNT, SIM_RING_RX, 0},
        {IXGBE_RDBAL_HIGH, IXGBE_RDBAL_HIGH_COUNT, SIM_RING_RX, IXGBE_RDBAL_COUNT},
        {IXGBE_TDBAL, IXGBE_TDBAL_COUNT, SIM_RING_TX, 0},
    };
    for (unsigned i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        uint32_t inside = offset - blocks[i].start;
        if (inside >= blocks[i].queues * BLOCK) continue;
        *at = place_of(port, blocks[i].ring, blocks[i].first + inside / BLOCK);
        *relative = inside % BLOCK;
        return true;
    }
    return false;
}

static uint64_t ring_base(struct place at) { return (uint64_t)look(at, BASE_HIGH) << 32 | look(at, BASE_LOW); }
static unsigned ring_size(struct place at) { return look(at, LENGTH) / sizeof(struct descriptor); }
static unsigned distance(unsigned from, unsigned to, unsigned size) { return (to + size - from) % size; }

// Shadows.

static void drop_shadow(struct queue *queue) {
    if (queue->shadow) queue->shadow->owner = NULL;
    queue->shadow = NULL;
}

static void take_shadow(struct place at) {
    unsigned size = ring_size(at);
    drop_shadow(at.queue);
    if (!sim_observed || !sim_every_access_seen(at.port->device) || size == 0 || size > SHADOW_SIZE) return;
    for (unsigned i = 0; i < SHADOWS; i++) {
        if (shadows[i].owner) continue;
        at.queue->shadow = &shadows[i];
        shadows[i].owner = at.queue;
        shadows[i].size = size;
        shadows[i].clean = shadows[i].tail = look(at, TAIL) % size;
        return;
    }
}

static bool owned(const struct shadow *shadow, unsigned index) {
    return index < shadow->size &&
           distance(shadow->clean, index, shadow->size) < distance(shadow->clean, shadow->tail, shadow->size);
}

static void judge_unchanged(struct place at, unsigned index, const struct descriptor *now) {
    const struct descriptor *before = &at.queue->shadow->content[index];
    if (now->iova == before->iova && now->rest == before->rest) return;
    say(at.port, RULE_DESCRIPTOR_CHANGED, key(at),
        "%s ring %u, descriptor %u changed after the tail had passed it: it was %q %q and is %q %q", direction(at),
        at.number, index, before->iova, before->rest, now->iova, now->rest);
}

static void judge_buffer(struct place at, unsigned index) {
    const struct shadow *shadow = at.queue->shadow;
    uint64_t iova = shadow->content[index].iova;
    for (unsigned other = shadow->clean; other != index; other = (other + 1) % shadow->size)
        if (shadow->content[other].iova == iova)
            say(at.port, RULE_BUFFER_TWICE, key(at), "gave the buffer at iova %q to RX ring %u twice, in %u and %u",
                iova, at.number, other, index);
    uint32_t size = (look(at, SPLIT) & IXGBE_SRRCTL_BSIZEPACKET) * 1024, longest = sim_longest_frame(at.port->device);
    if (size > longest) size = longest;
    uint8_t byte;
    if (size > 0 &&
        (!sim_dma_peek(at.port->device, iova, &byte, 1) || !sim_dma_peek(at.port->device, iova + size - 1, &byte, 1)))
        say(at.port, RULE_BUFFER_OUTSIDE_MAPPING, key(at),
            "gave RX ring %u in descriptor %u a buffer at iova %q, of which not all %u bytes are mapped", at.number,
            index, iova, size);
}

// The tail is about to move from shadow->tail to `tail`.
static void judge_ring_content(struct place at, unsigned tail) {
    static struct descriptor now[SHADOW_SIZE];
    struct shadow *shadow = at.queue->shadow;
    if (!sim_observed) drop_shadow(at.queue);
    if (!at.queue->shadow || shadow->size != ring_size(at) ||
        !sim_dma_peek(at.port->device, ring_base(at), now, shadow->size * (uint32_t)sizeof now[0]))
        return;
    for (unsigned i = shadow->clean; i != shadow->tail; i = (i + 1) % shadow->size) judge_unchanged(at, i, &now[i]);
    for (unsigned i = shadow->tail; i != tail; i = (i + 1) % shadow->size) {
        shadow->content[i] = now[i];
        if (at.ring == SIM_RING_RX) judge_buffer(at, i);
    }
    if (at.ring == SIM_RING_TX && tail != shadow->tail) {
        unsigned last = (tail + shadow->size - 1) % shadow->size;
        uint32_t command = (uint32_t)now[last].rest;
        bool context = command & IXGBE_TXD_CMD_DEXT && (command & IXGBE_TXD_CMD_DTYP) == IXGBE_TXD_CMD_DTYP_CONTEXT;
        if (!context && !(command & IXGBE_TXD_CMD_EOP))
            say(at.port, RULE_TX_PACKET_OPEN, key(at), "wrote %r=%u, and descriptor %u, the last one, has no EOP",
                address(at, TAIL), tail, last);
    }
    shadow->tail = tail;
}

// Writes to a queue's registers.

static void judge_tail(struct place at, uint32_t value) {
    struct port *port = at.port;
    uint32_t tail_register = address(at, TAIL);
    if (!(look(at, CONTROL) & ENABLE)) {
        if (value != 0)  // setting it to 0 before enabling is good practice
            say(port, RULE_TAIL_WHILE_DISABLED, key(at), "wrote %r=%u while %r.ENABLE reads 0", tail_register, value,
                address(at, CONTROL));
        return;
    }
    unsigned size = ring_size(at), tail = look(at, TAIL), head = look(at, HEAD);
    if (value >= size) {
        say(port, RULE_TAIL_BEYOND_RING, key(at), "wrote %r=%u, but the ring has %u descriptors", tail_register,
            value, size);
        return;
    }
    if (value == tail || tail >= size || head >= size) return;
    if (at.queue->asked && !at.queue->seen)
        say(port, RULE_ENABLE_NOT_AWAITED, key(at), "wrote %r=%u without having read %r.ENABLE as 1", tail_register,
            value, address(at, CONTROL));
    if (at.ring == SIM_RING_TX && !(sim_peek(port->device, IXGBE_DMATXCTL) & IXGBE_DMATXCTL_TE))
        say(port, RULE_TX_ENGINE_OFF, key(at), "wrote %r=%u while DMATXCTL.TE is 0", tail_register, value);
    if (at.ring == SIM_RING_RX && !(sim_peek(port->device, IXGBE_RXCTRL) & IXGBE_RXCTRL_RXEN) &&
        port->waiting_since == 0)
        port->waiting_since = sim_now(port->device) + 1;
    if (distance(head, tail, size) + distance(tail, value, size) >= size) {
        say(port, RULE_RING_OVERRUN, key(at), "moved %r from %u to %u over the head, which is at %u", tail_register,
            tail, value, head);
        drop_shadow(at.queue);
    } else {
        judge_ring_content(at, value);
    }
}

static void judge_base(struct place at, uint32_t relative, uint32_t value) {
    if (at.queue->asked && look(at, CONTROL) & ENABLE && look(at, relative) != value)
        say(at.port, RULE_CONFIG_WHILE_ENABLED, address(at, relative), "wrote %r=%x while %r.ENABLE reads 1",
            address(at, relative), value, address(at, CONTROL));
}

static void judge_enable(struct place at) {
    struct port *port = at.port;
    struct sim_device *device = port->device;
    const char *ring = direction(at);
    if ((at.queue->low | look(at, BASE_LOW)) % 128)
        say(port, RULE_RING_MISALIGNED, key(at), "enabled %s queue %u with its ring at %r=%x", ring, at.number,
            address(at, BASE_LOW), at.queue->low | look(at, BASE_LOW));
    uint32_t length = look(at, LENGTH) | at.queue->length;
    if (length == 0 || length % 128)
        say(port, RULE_RING_LENGTH, key(at), "enabled %s queue %u with a ring of %r=%u bytes", ring, at.number,
            address(at, LENGTH), length);
    if (!sim_bus_mastering(device))
        say(port, RULE_BUS_MASTERING_OFF, 0, "enabled %s queue %u with bus mastering off", ring, at.number);
    if (!(sim_peek(device, IXGBE_EEC) & IXGBE_EEC_AUTO_RD))
        say(port, RULE_DEVICE_NOT_READY, 0, "enabled %s queue %u while EEC.AUTO_RD reads 0", ring, at.number);
    else if (!(sim_peek(device, IXGBE_RDRXCTL) & IXGBE_RDRXCTL_DMAIDONE))
        say(port, RULE_DEVICE_NOT_READY, 0, "enabled %s queue %u while RDRXCTL.DMAIDONE reads 0", ring, at.number);
    if (at.ring == SIM_RING_TX) {
        if (!(sim_peek(device, IXGBE_DMATXCTL) & IXGBE_DMATXCTL_TE))
            say(port, RULE_TX_ENGINE_OFF, key(at), "enabled TX queue %u while DMATXCTL.TE is 0", at.number);
        return;
    }
    uint32_t split = look(at, SPLIT), size = split & IXGBE_SRRCTL_BSIZEPACKET;
    uint32_t type = (split & IXGBE_SRRCTL_DESCTYPE) >> IXGBE_SRRCTL_DESCTYPE_SHIFT;
    if (size < 1 || size > 16)
        say(port, RULE_BUFFER_SIZE, key(at), "enabled RX queue %u with %r.BSIZEPACKET=%u", at.number,
            address(at, SPLIT), size);
    if (type != IXGBE_DESCTYPE_LEGACY && type != IXGBE_DESCTYPE_ADVANCED)
        say(port, RULE_DESCRIPTOR_TYPE, key(at), "enabled RX queue %u with %r.DESCTYPE=%u", at.number,
            address(at, SPLIT), type);
}

static void judge_control(struct place at, uint32_t value) {
    bool asked = value & ENABLE;
    if (asked && !at.queue->asked) judge_enable(at);
    if (asked != at.queue->asked) at.queue->seen = false;
    at.queue->asked = asked;
}

static void judge_queue_write(struct place at, uint32_t relative, uint32_t value) {
    switch (relative) {
    case BASE_LOW:
        judge_base(at, relative, value);
        at.queue->low = value;
        break;
    case LENGTH:
        judge_base(at, relative, value);
        at.queue->length = value;
        break;
    case BASE_HIGH: judge_base(at, relative, value); break;
    case TAIL: judge_tail(at, value); break;
    case CONTROL: judge_control(at, value); break;
    }
}

// Writes to registers of the whole device.

static void judge_masks(struct port *port) {
    static const uint32_t masks[] = {IXGBE_EIMS, IXGBE_REG(EIMS_EX, 0), IXGBE_REG(EIMS_EX, 1)};
    for (unsigned i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        uint32_t unmasked = sim_peek(port->device, masks[i]);
        if (!unmasked) continue;
        say(port, RULE_RESET_WHILE_UNMASKED, 0, "started a reset with %r=%x", masks[i], unmasked);
        return;
    }
}

static bool judge_running_queues(struct port *port) {
    bool running = false;
    if (!sim_every_access_seen(port->device)) return false;  // a queue may have been disabled in plain memory
    for (unsigned ring = SIM_RING_TX; ring <= SIM_RING_RX; ring++)
        for (unsigned i = 0; i < SIM_QUEUES; i++) {
            if (!port->queues[ring][i].asked) continue;
            say(port, RULE_RESET_WHILE_RUNNING, 0, "started a reset with %s queue %u enabled",
                ring == SIM_RING_RX ? "RX" : "TX", i);
            running = true;
        }
    return running;
}

static void judge_ctrl(struct port *port, uint32_t offset, uint32_t value) {
    (void)offset;
    if (!(value & (IXGBE_CTRL_RST | IXGBE_CTRL_LRST))) return;
    judge_masks(port);
    bool running = judge_running_queues(port);
    bool master = sim_peek(port->device, IXGBE_STATUS) & IXGBE_STATUS_PCIE_MASTER_ENABLE_STATUS;
    if (!running && master && sim_bus_mastering(port->device))
        say(port, RULE_RESET_WHILE_RUNNING, 0,
            "started a reset while STATUS.PCIE_MASTER_ENABLE_STATUS reads 1, without CTRL.MASTER_DISABLE");
}

static void judge_security(struct port *port, uint32_t offset, uint32_t value) {
    (void)offset;
    if (!(sim_peek(port->device, IXGBE_RXCTRL) & IXGBE_RXCTRL_RXEN)) return;
    port->waiting_since = value & IXGBE_SECRXCTRL_RX_DIS ? sim_now(port->device) + 1 : 0;
}

static void judge_rxctrl(struct port *port, uint32_t offset, uint32_t value) {
    (void)offset;
    bool closed = sim_peek(port->device, IXGBE_SECRXCTRL) & IXGBE_SECRXCTRL_RX_DIS;
    port->waiting_since = value & IXGBE_RXCTRL_RXEN && closed ? sim_now(port->device) + 1 : 0;
    if (!(value & IXGBE_RXCTRL_RXEN)) return;
    bool mac = sim_peek(port->device, IXGBE_HLREG0) & IXGBE_HLREG0_RXCRCSTRP;
    bool dma = sim_peek(port->device, IXGBE_RDRXCTL) & IXGBE_RDRXCTL_CRC_STRIP;
    if (mac != dma)
        say(port, RULE_CRC_STRIP_MISMATCH, 0, "set RXCTRL.RXEN with HLREG0.RXCRCSTRP=%u and RDRXCTL.CRC_STRIP=%u",
            (unsigned)mac, (unsigned)dma);
}

// Is the vector in `entry` (a byte of IVAR) valid and among those of `vectors`?
static bool reaches(uint32_t entry, uint64_t vectors) { return entry & 0x80 && vectors >> (entry & 63) & 1; }

static void judge_unmask(struct port *port, uint32_t offset, uint32_t value) {
    struct sim_device *device = port->device;
    bool several = sim_peek(device, IXGBE_GPIE) & IXGBE_GPIE_MULTIPLE_MSIX;
    uint32_t other = sim_peek(device, IXGBE_IVAR_MISC);
    uint64_t asked = offset == IXGBE_EIMS ? value & IXGBE_EICR_RTXQ
                                          : (uint64_t)value << (offset == IXGBE_REG(EIMS_EX, 1) ? 32 : 0);
    uint64_t vectors = asked | sim_peek(device, IXGBE_REG(EIMS_EX, 0)) |
                       (uint64_t)sim_peek(device, IXGBE_REG(EIMS_EX, 1)) << 32 |
                       (sim_peek(device, IXGBE_EIMS) & IXGBE_EICR_RTXQ);
    bool found = asked == 0 || reaches(other, vectors) || reaches(other >> 8, vectors);
    for (unsigned i = 0; i < IXGBE_IVAR_COUNT && !found; i++) {
        uint32_t entries = sim_peek(device, IXGBE_REG(IVAR, i));
        for (unsigned byte = 0; byte < 4; byte++) found = found || reaches(entries >> 8 * byte, vectors);
    }
    if (!found)
        say(port, RULE_INTERRUPT_WITHOUT_VECTOR, 0, "wrote %r=%x, but no valid entry of IVAR leads there", offset,
            value);
    if (offset == IXGBE_EIMS && several && value & ~(uint32_t)IXGBE_EICR_RTXQ &&
        !(other & IXGBE_IVAR_MISC_INT_ALLOC_VAL1))
        say(port, RULE_INTERRUPT_WITHOUT_VECTOR, 1, "wrote EIMS=%x, but IVAR_MISC.INT_ALLOC_VAL1 is 0", value);
}

static const struct {
    uint32_t offset;
    void (*judge)(struct port *port, uint32_t offset, uint32_t value);
} judged_writes[] = {
    {IXGBE_CTRL, judge_ctrl},
    {IXGBE_CTRL_ALIAS, judge_ctrl},
    {IXGBE_RXCTRL, judge_rxctrl},
    {IXGBE_SECRXCTRL, judge_security},
    {IXGBE_EIMS, judge_unmask},
    {IXGBE_REG(EIMS_EX, 0), judge_unmask},
    {IXGBE_REG(EIMS_EX, 1), judge_unmask},
};

// Any access.

static void judge_reserved(struct port *port, uint32_t offset, uint32_t value) {
    static const struct {
        uint32_t first, count, stride, reserved;
    } table[] = {
        {IXGBE_SRRCTL, IXGBE_SRRCTL_COUNT, IXGBE_SRRCTL_STRIDE, 0xe03fc0e0},
        {IXGBE_SRRCTL_HIGH, IXGBE_SRRCTL_HIGH_COUNT, IXGBE_SRRCTL_HIGH_STRIDE, 0xe03fc0e0},
        {IXGBE_TXDCTL, IXGBE_TXDCTL_COUNT, IXGBE_TXDCTL_STRIDE, 0xf1808080},
        {IXGBE_GPIE, 1, 4, 0x3fff0000},
        {IXGBE_IVAR, IXGBE_IVAR_COUNT, IXGBE_IVAR_STRIDE, 0x40404040},
        {IXGBE_RDLEN, IXGBE_RDLEN_COUNT, IXGBE_RDLEN_STRIDE, 0xfff00000},
        {IXGBE_TDLEN, IXGBE_TDLEN_COUNT, IXGBE_TDLEN_STRIDE, 0xfff00000},
    };
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint32_t inside = offset - table[i].first;
        if (inside >= table[i].count * table[i].stride || inside % table[i].stride) continue;
        uint32_t wrong = value & table[i].reserved & ~sim_peek(port->device, offset);
        if (wrong)
            say(port, RULE_RESERVED_BITS, offset, "wrote %r=%x, which sets the reserved bits %x", offset, value,
                wrong);
    }
}

// Registers that a real 82599 has and the software one has not, by feature; all of a block that has any.
static bool exists_on_hardware(uint32_t offset) {
    static const struct {
        uint32_t first, last;
    } blocks[] = {
        {0x001c0, 0x001c0},  // resets of virtual functions
        {0x00600, 0x0071c},  // mailboxes and resets of virtual functions
        {0x01000, 0x01ffc},  // what virtual functions call their counters
        {0x02140, 0x0243c},  // traffic classes, FCoE
        {0x02f00, 0x02ffc},  // drops per queue, malicious driver detection
        {0x03020, 0x03020},  // traffic classes
        {0x03200, 0x0341c},  // flow control, virtual functions
        {0x03c00, 0x03ffc},  // packet buffers, flow control counters
        {0x04000, 0x043fc},  // MAC and its counters
        {0x04900, 0x04bfc},  // traffic classes, mailboxes
        {0x05000, 0x05dfc},  // filters, wake-up
        {0x06000, 0x07ffc},  // what virtual functions call their counters
        {0x08000, 0x08ffc},  // virtual switch, LinkSec, IPsec, time stamps
        {0x09000, 0x09ffc},  // flexible wake-up filters
        {0x0c800, 0x0cffc},  // traffic classes
        {0x0d000, 0x0dffc},  // like 0x1000
        {0x0e000, 0x0fffc},  // filters, virtual machines
        {0x10000, 0x11ffc},  // EEPROM, flash, PCIe
        {0x13000, 0x17ffc},  // mailbox memory, firmware
    };
    for (unsigned i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (offset >= blocks[i].first && offset <= blocks[i].last) return true;
    return false;
}

// Is there a register, so that more can be said about the access?
static bool judge_address(struct port *port, uint32_t offset, const char *access) {
    if (register_at(offset)) return true;
    if (!exists_on_hardware(offset))
        say(port, RULE_NO_SUCH_REGISTER, offset, "%s the address %x of BAR 0", access, offset);
    return false;
}

static bool is_receive_head(uint32_t offset) {
    const struct register_row *row = register_at(offset);
    return row && (row->offset == IXGBE_RDH || row->offset == IXGBE_RDH_HIGH);
}

static void judge_receiver(struct port *port) {
    static const uint64_t long_enough = 1000000000;  // DPDK fills up to 128 queues before it sets RXEN
    if (port->waiting_since == 0 || sim_now(port->device) < port->waiting_since + long_enough) return;
    port->waiting_since = 0;
    bool on = sim_peek(port->device, IXGBE_RXCTRL) & IXGBE_RXCTRL_RXEN;
    say(port, RULE_RX_ENGINE_OFF, 0,
        on ? "turned the receiver on, and SECRXCTRL.RX_DIS has been set for a second"
           : "gave the receive queues buffers a second ago and has not set RXCTRL.RXEN");
}

void lint_register_write(struct sim_device *device, uint32_t offset, uint32_t value) {
    struct port *port = port_of(device);
    judge_receiver(port);
    if (!judge_address(port, offset, "wrote to")) return;
    bool ctrl = offset == IXGBE_CTRL || offset == IXGBE_CTRL_ALIAS;
    if (!ctrl && sim_peek(device, IXGBE_CTRL) & (IXGBE_CTRL_RST | IXGBE_CTRL_LRST))
        say(port, RULE_RESET_NOT_AWAITED, 0, "wrote %r=%x while the reset is not finished", offset, value);
    // RDH is in the datasheet as read-only, and yet every driver sets it to 0 beside RDT.
    if (register_at(offset)->access == REGISTER_RO && !is_receive_head(offset) && sim_peek(device, offset) != value)
        say(port, RULE_READ_ONLY_WRITE, offset, "wrote %r=%x", offset, value);
    judge_reserved(port, offset, value);
    struct place at;
    uint32_t relative;
    if (is_queue_register(port, offset, &at, &relative)) judge_queue_write(at, relative, value);
    for (unsigned i = 0; i < sizeof judged_writes / sizeof judged_writes[0]; i++)
        if (judged_writes[i].offset == offset) judged_writes[i].judge(port, offset, value);
}

static void judge_counter(struct port *port, uint32_t offset) {
#define HALVES(low, high)                                                                                            \
    { IXGBE_##low, IXGBE_##high, IXGBE_##high##_COUNT, IXGBE_##high##_STRIDE }
    static const struct {
        uint32_t low, high, count, stride;
    } pairs[] = {
        HALVES(GORCL, GORCH),     HALVES(GOTCL, GOTCH),     HALVES(TORL, TORH),     HALVES(RXNFGBCL, RXNFGBCH),
        HALVES(RXDGBCL, RXDGBCH), HALVES(TXDGBCL, TXDGBCH), HALVES(QBRC_L, QBRC_H), HALVES(QBTC_L, QBTC_H),
    };
    for (unsigned i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        for (uint32_t n = 0; n < pairs[i].count; n++) {
            uint32_t low = pairs[i].low + n * pairs[i].stride, high = pairs[i].high + n * pairs[i].stride;
            if (offset == high && port->last_counter != low)
                say(port, RULE_COUNTER_HALVES, offset, "read %r without reading %r just before", offset, low);
        }
    if (register_at(offset)->access == REGISTER_RC) port->last_counter = offset;
}

void lint_register_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    struct port *port = port_of(device);
    judge_receiver(port);
    if (!judge_address(port, offset, "read")) return;
    judge_counter(port, offset);
    struct place at;
    uint32_t relative;
    if (is_queue_register(port, offset, &at, &relative) && relative == CONTROL && value & ENABLE)
        at.queue->seen = true;
}

// What the device reports.

void lint_reset(struct sim_device *device) {
    struct port *port = &ports[sim_port(device) % PORTS];
    for (unsigned ring = SIM_RING_TX; ring <= SIM_RING_RX; ring++)
        for (unsigned i = 0; i < SIM_QUEUES; i++) drop_shadow(&port->queues[ring][i]);
    *port = (struct port){.device = device};
}

void lint_queue_enabled(struct sim_device *device, enum sim_ring ring, unsigned number) {
    struct place at = place_of(port_of(device), ring, number);
    // What the queue is told in plain memory is judged here; what came through lint_register_write has been.
    if (!sim_every_access_seen(device)) judge_enable(at);
    at.queue->in_packet = false;
    at.queue->contexts = 0;
    at.queue->since_report = 0;
    take_shadow(at);
}

void lint_queue_disabled(struct sim_device *device, enum sim_ring ring, unsigned number) {
    struct port *port = port_of(device);
    drop_shadow(&port->queues[ring][number % SIM_QUEUES]);
    if (ring == SIM_RING_RX) port->waiting_since = 0;
}

static unsigned context_of(uint32_t options) { return (options & IXGBE_TXD_OPT_IDX) >> IXGBE_TXD_OPT_IDX_SHIFT; }

static void judge_segmentation(struct place at, unsigned index) {
    const struct queue *queue = at.queue;
    unsigned context = context_of(queue->options);
    uint32_t headers = queue->context[context].headers, payload = queue->options >> IXGBE_TXD_OPT_PAYLEN_SHIFT;
    bool ipv4 = queue->context[context].ipv4;
    uint32_t wanted = IXGBE_TXD_OPT_TXSM | (ipv4 ? IXGBE_TXD_OPT_IXSM : 0);
    if (!(queue->contexts >> context & 1)) return;  // which has its own rule
    if (payload + headers != queue->packet_length)
        say(at.port, RULE_TX_SEGMENTATION, key(at),
            "gave %u bytes, %u of them headers, with TSE and PAYLEN %u, in TX ring %u, descriptor %u",
            queue->packet_length, headers, payload, at.number, index);
    if (~queue->options & wanted)
        say(at.port, RULE_TX_SEGMENTATION, key(at), "set TSE without %s in TX ring %u, descriptor %u",
            queue->options & IXGBE_TXD_OPT_TXSM ? "IXSM" : "TXSM", at.number, index);
}

static void judge_packet(struct place at, unsigned index) {
    struct queue *queue = at.queue;
    uint32_t payload_length = queue->options >> IXGBE_TXD_OPT_PAYLEN_SHIFT;
    queue->in_packet = false;
    if (!queue->has_crc)
        say(at.port, RULE_TX_NO_CRC, key(at), "sent a packet without IFCS from TX ring %u, descriptor %u", at.number,
            index);
    if (queue->packet_length < MIN_PACKET)
        say(at.port, RULE_TX_LENGTH, key(at), "sent a packet of %u bytes from TX ring %u, descriptor %u",
            queue->packet_length, at.number, index);
    if (!queue->legacy && !queue->segmented && payload_length != queue->packet_length)
        say(at.port, RULE_TX_LENGTH, key(at), "sent %u bytes with PAYLEN %u from TX ring %u, descriptor %u",
            queue->packet_length, payload_length, at.number, index);
    if (!queue->legacy && queue->segmented) judge_segmentation(at, index);
}

// Of a packet in several descriptors the first says what is to be done.
static void judge_data(struct place at, unsigned index, uint32_t command, uint32_t options) {
    struct queue *queue = at.queue;
    bool first = !queue->in_packet;
    if (first) {
        queue->in_packet = true;
        queue->has_crc = command & IXGBE_TXD_CMD_IFCS;
        queue->segmented = command & IXGBE_TXD_CMD_TSE;
        queue->legacy = !(command & IXGBE_TXD_CMD_DEXT);
        queue->packet_length = 0;
        queue->options = options;
    }
    uint32_t length = command & IXGBE_TXD_CMD_LENGTH;
    if (length == 0)
        say(at.port, RULE_TX_LENGTH, key(at), "gave TX ring %u a descriptor of length 0, number %u", at.number,
            index);
    queue->packet_length += length;
    bool offload = command & (IXGBE_TXD_CMD_TSE | IXGBE_TXD_CMD_VLE) ||
                   options & (IXGBE_TXD_OPT_IXSM | IXGBE_TXD_OPT_TXSM | IXGBE_TXD_OPT_CC);
    unsigned context = context_of(options);
    if (first && !queue->legacy && offload && !(queue->contexts >> context & 1))
        say(at.port, RULE_OFFLOAD_WITHOUT_CONTEXT, key(at),
            "asked for an offload with context %u in TX ring %u, descriptor %u, and has never given that context",
            context, at.number, index);
    if (command & IXGBE_TXD_CMD_EOP) judge_packet(at, index);
}

static void remember_context(struct queue *queue, const void *bytes) {
    struct ixgbe_tx_context_desc context;
    memcpy(&context, bytes, sizeof context);
    unsigned index = (context.segmentation & IXGBE_TXC_IDX) >> IXGBE_TXC_IDX_SHIFT;
    queue->contexts |= (uint8_t)(1u << index);
    queue->context[index].ipv4 = context.command & IXGBE_TXC_IPV4;
    queue->context[index].headers = (context.header_lengths & IXGBE_TXC_IPLEN) +
                                    ((context.header_lengths & IXGBE_TXC_MACLEN) >> IXGBE_TXC_MACLEN_SHIFT) +
                                    ((context.segmentation & IXGBE_TXC_L4LEN) >> IXGBE_TXC_L4LEN_SHIFT);
}

static void judge_transmit(struct place at, unsigned index, const void *bytes) {
    struct queue *queue = at.queue;
    union ixgbe_tx_desc descriptor;
    memcpy(&descriptor, bytes, sizeof descriptor);
    uint32_t command = descriptor.read.command, type = command & IXGBE_TXD_CMD_DTYP;
    queue->since_report = command & IXGBE_TXD_CMD_RS ? 0 : queue->since_report + 1;
    unsigned size = ring_size(at);
    if (size && queue->since_report >= size - 1 && !(look(at, HEAD_WRITE_BACK) & IXGBE_TDWBAL_HEAD_WB_EN))
        say(at.port, RULE_NO_REPORT_STATUS, key(at), "filled TX ring %u, which holds %u, without an RS", at.number,
            size - 1);
    if (!(command & IXGBE_TXD_CMD_DEXT) || type == IXGBE_TXD_CMD_DTYP_DATA) {
        judge_data(at, index, command, descriptor.read.options);
    } else if (type == IXGBE_TXD_CMD_DTYP_CONTEXT) {
        remember_context(queue, bytes);
    } else {
        say(at.port, RULE_TX_TYPE, key(at), "gave TX ring %u a descriptor with DTYP %u, number %u", at.number,
            type >> 20, index);
    }
}

void lint_fetch(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                const void *descriptor) {
    struct place at = place_of(port_of(device), ring, queue);
    at.port->fetched_any = true;
    at.port->fetched_ring = ring;
    at.port->fetched_queue = queue;
    at.port->fetched_index = index;
    struct shadow *shadow = at.queue->shadow;
    if (shadow && owned(shadow, index)) {
        struct descriptor now;
        memcpy(&now, descriptor, sizeof now);
        judge_unchanged(at, index, &now);
        // Linux and DPDK write a sent descriptor again as soon as DD shows, which is after this.
        if (ring == SIM_RING_TX) shadow->clean = (index + 1) % shadow->size;
    }
    if (ring == SIM_RING_TX) judge_transmit(at, index, descriptor);
}

void lint_write_back(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index) {
    struct shadow *shadow = place_of(port_of(device), ring, queue).queue->shadow;
    if (ring == SIM_RING_RX && shadow && owned(shadow, index)) shadow->clean = (index + 1) % shadow->size;
}

void lint_dma_fault(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length) {
    struct port *port = port_of(device);
    uint8_t byte;
    // Mapped after all: an injected fault, or bus mastering is off, which has its own rule.
    if (sim_dma_peek(device, iova, &byte, 1) && sim_dma_peek(device, iova + length - 1, &byte, 1)) return;
    unsigned place = device_writes;
    if (sim_observed && port->fetched_any) {
        place |= (port->fetched_ring << 8 | port->fetched_queue) << 1;
        say(port, RULE_DMA_OUTSIDE_MAPPING, place,
            "made the device %s %u bytes at iova %q, which is not mapped (after %s ring %u, descriptor %u)",
            device_writes ? "write" : "read", length, iova, port->fetched_ring == SIM_RING_RX ? "RX" : "TX",
            port->fetched_queue, port->fetched_index);
    } else {
        say(port, RULE_DMA_OUTSIDE_MAPPING, place, "made the device %s %u bytes at iova %q, which is not mapped",
            device_writes ? "write" : "read", length, iova);
    }
}

void lint_dropped(struct sim_device *device) { judge_receiver(port_of(device)); }

// An interval may reach up to the very top, where its end would be 0.
static uint64_t last_of(uint64_t first, uint64_t size) {
    return first + size - 1 < first ? UINT64_MAX : first + size - 1;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
    return a_size && b_size && a <= last_of(b, b_size) && b <= last_of(a, a_size);
}

static bool shadow_uses(const struct shadow *shadow, uint64_t iova, uint64_t size, unsigned *index) {
    for (unsigned i = shadow->clean; i != shadow->tail; i = (i + 1) % shadow->size) {
        *index = i;
        if (shadow->content[i].iova - iova < size) return true;
    }
    return false;
}

static void judge_unmap(struct place at, uint64_t iova, uint64_t size) {
    if (!(look(at, CONTROL) & ENABLE)) return;
    unsigned index;
    if (overlaps(ring_base(at), look(at, LENGTH), iova, size))
        say(at.port, RULE_UNMAP_IN_USE, key(at), "unmapped iova %q, size %q, and %s ring %u, still enabled, is in it",
            iova, size, direction(at), at.number);
    else if (at.ring == SIM_RING_RX && at.queue->shadow && shadow_uses(at.queue->shadow, iova, size, &index))
        say(at.port, RULE_UNMAP_IN_USE, key(at),
            "unmapped iova %q, size %q, and descriptor %u of RX ring %u points there", iova, size, index, at.number);
}

void lint_unmap(struct sim_device *device, uint64_t iova, uint64_t size) {
    if (sim_peek(device, IXGBE_STATUS) == UINT32_MAX) return;  // pulled out: it can reach nothing any more
    struct port *port = port_of(device);
    for (unsigned ring = SIM_RING_TX; ring <= SIM_RING_RX; ring++)
        for (unsigned i = 0; i < SIM_QUEUES; i++) judge_unmap(place_of(port, ring, i), iova, size);
}

void lint_memory_lost(struct sim_device *device, const void *memory, uint64_t size) {
    say(port_of(device), RULE_MEMORY_LOST, 0, "gave back the memory at %q, %q bytes, which is still mapped for DMA",
        (uint64_t)(uintptr_t)memory, size);
}

void lint_event(struct sim_device *device, const char *what) {
    for (unsigned rule = 0; rule < RULES; rule++) {
        size_t length = strlen(rules[rule].name);
        if (strncmp(what, rules[rule].name, length) != 0 || strncmp(what + length, ": ", 2) != 0) continue;
        unsigned place = 2166136261u;  // the text is the place: FNV-1a
        for (const char *c = what; *c; c++) place = (place ^ (unsigned char)*c) * 16777619u;
        say(port_of(device), rule, place, "%s", what + length + 2);
        return;
    }
}
