// core.h: the device from the inside, shared by the files of the core and by nobody else.
//
// Almost all of the 82599's state is its register file, and here too: `registers` is the memory that the front gave
// us, and what a register holds is what a driver reads. The struct below adds only what the hardware keeps where
// software cannot look: how far a queue has come, what waits in the packet buffer, which timers run.
//
//   registers.c  the register map, from registers.def
//   device.c     what single registers do; reset; the step
//   eeprom.c     the EEPROM's contents and the three ways to read them; semaphores
//   sfp.c        the SFP+ module behind the two-wire bus
//   link.c       is there a link, and since when
//   config.c     PCI configuration space
//   queue.c      a queue's life: off, starting, on, stopping
//   dma.c        from an IOVA to bytes
//   rx.c, tx.c   the two DMA engines
//   intake.c     what is to be done with frames that arrive
//   filter.h     which of them the MAC takes
//   classify.h   what a received frame is: headers, checksums, RSS hash, queue
//   steer.c      filters that choose another queue
//   checksum.c   Internet checksum and the CRCs
//   interrupt.c  causes, masks, vectors, throttling
//   stats.c      the counters
//   faults.c     deliberate failures
#pragma once

#include "ixgbe_regs.h"
#include "observe.h"
#include "sim.h"
#include "wire.h"

#include <string.h>

enum { SIM_BATCH = 64 };  // descriptors and frames that one step moves per queue
#define SIM_NEVER UINT64_MAX

// Some registers of a queue: their place in the queue's 64 bytes, which is the same in both directions.
enum queue_register {
    Q_BASE_LOW = 0,
    Q_BASE_HIGH = 1,
    Q_LENGTH = 2,
    Q_HEAD = 4,
    Q_SRRCTL = 5,  // receive only
    Q_TAIL = 6,
    Q_CONTROL = 10,
    Q_HEAD_WRITE_BACK_LOW = 14,  // transmit only
    Q_HEAD_WRITE_BACK_HIGH = 15,
};

enum queue_state { QUEUE_OFF, QUEUE_STARTING, QUEUE_ON, QUEUE_STOPPING };

struct queue {
    uint32_t *registers;  // its block of the register file
    uint8_t number;
    uint8_t state;
    bool observed;         // the driver has read the control register since this state began
    bool halted;           // a DMA fault; like hardware, it waits for the driver to turn it off
    bool retrying;         // the wire would not take the packet at the head
    uint16_t head;         // next descriptor; published in the head register after each batch
    uint16_t asked;        // receive: descriptors up to here have had their buffers asked for (dma_ask_ahead)
    uint64_t deadline_ns;  // when STARTING or STOPPING ends, even if nobody looks
};

// A ring as it is right now. Nothing of it is kept: in threaded mode its registers are memory of the driver's.
struct ring {
    uint64_t base;
    uint32_t size;  // in descriptors; 0: there is none
    uint32_t head, tail;
    char *memory;  // NULL: not in one piece
};

static inline uint32_t ring_next(const struct ring *ring, uint32_t index) {
    return index + 1 == ring->size ? 0 : index + 1;
}
static inline uint32_t ring_distance(const struct ring *ring, uint32_t from, uint32_t to) {
    return to >= from ? to - from : to + ring->size - from;
}
static inline uint32_t ring_pending(const struct ring *ring) { return ring_distance(ring, ring->head, ring->tail); }

// The memory that the last DMA of a kind hit. Valid during one step only, so unmapping needs to wait no longer.
struct dma_window {
    uint64_t iova, size;
    char *memory;
};
enum dma_kind { DMA_TX_RING, DMA_TX_DATA, DMA_RX_RING, DMA_RX_DATA, DMA_KINDS };

enum { RSS_QUEUES = 16 };  // as many as frames can be led to, by RSS or by a filter

// What RSS hashes of a packet, and how that is called in the write-back (7.1.2.8.1, 7.1.6.2).
struct rss_kind {
    uint8_t type;  // IXGBE_RSS_TYPE_*
    bool ports;    // and not only the addresses
};

// What many registers together say about receiving, looked up again when any register has been written.
struct intake {
    bool open;  // the receiver is on, and there is a link
    bool strips_crc;
    bool hash_wanted;
    bool steers;                      // there are filters in struct steering
    uint32_t limit;                   // bytes of the longest frame
    uint32_t destinations;            // FCTRL
    uint32_t vlan;                    // VLNCTRL
    struct rss_kind rss_kinds[2][3];  // IPv4 or IPv6; and nothing known in it, TCP, or UDP
    uint8_t redirection[4 * IXGBE_RETA_COUNT];
    uint32_t fifo_bytes;
    uint32_t high_water, low_water;  // UINT32_MAX: no PAUSE is sent
    unsigned address_count;
    uint64_t addresses[IXGBE_RAL_COUNT];  // the valid ones of RAL and RAH
};

// The filters that lead frames to queues, as far as they are on, the one that counts first first.
struct type_filter {
    uint16_t type;
    uint8_t number, queue;
    bool leads;  // to the queue; otherwise it only marks its frames
};
struct tuple_filter {
    uint32_t source, destination;
    uint16_t source_port, destination_port;
    uint8_t protocol, any, priority, queue;  // any: what is not compared
};
struct steering {
    bool stale;
    unsigned type_count, tuple_count;
    struct type_filter types[IXGBE_ETQF_COUNT];
    struct tuple_filter tuples[IXGBE_FTQF_COUNT];
};

// A frame in the receive packet buffer, and what is known about it; its bytes follow.
struct frame {
    uint32_t room;    // bytes to the next one
    uint16_t length;  // as the host will see it
    uint16_t vlan;
    uint32_t info;  // as in the write-back (7.1.6.2)
    uint32_t hash;
    uint32_t status;
    uint8_t queue;
    uint8_t unused[11];
    uint8_t bytes[];
};

enum { FIFO_BYTES = 512 * 1024, FRAME_ROOM = SIM_MAX_FRAME + 64 + (int)sizeof(struct frame) };

struct fifo {
    uint32_t read, write, used;
    uint8_t *memory;  // FIFO_BYTES, and room for a frame that starts just below the end
};

// What happens to a packet on its way out (7.2.3.2.4, 7.2.4, 7.2.5).
struct offload {
    bool segment, ip, l4, vlan;  // what is to be done
    bool legacy_sum;             // one sum from sum_start to the end, put at sum_at
    bool crc_in_memory;          // the driver brings the CRC itself
    bool ipv4;
    uint16_t tag;
    uint32_t mac_length, ip_length, l4_length, l4_type, mss;
    uint32_t sum_start, sum_at;
};

// A packet that is more than one plain buffer, put together before it is sent.
struct gathered {
    struct offload offload;
    struct queue *queue;   // whose it is; NULL: none
    uint32_t descriptors;  // to be done with when it has gone
    uint32_t length;       // bytes gathered
    uint32_t sent;         // payload bytes that have gone
    uint32_t segments;
    uint8_t *bytes;
};

enum { GATHERED_BYTES = 256 * 1024 + 1024, SEGMENT_BYTES = 64 * 1024 + 1024 };

// Frames of one direction that are not in the registers yet. They are added when somebody reads a counter, and often
// enough that none overflows.
struct tally {
    uint64_t bytes;  // CRCs not counted
    uint32_t frames, sizes[6], multicasts, broadcasts, wrong_checksums;
};

enum timer {
    TIMER_RESET,
    TIMER_EEPROM,
    TIMER_DMA_READY,
    TIMER_LINK,
    TIMER_QUEUE,
    TIMER_INTERRUPT,
    TIMER_PAUSE,
    TIMERS
};
enum link_state { LINK_DOWN, LINK_TRAINING, LINK_UP };

enum fault {
    FAULT_RESET_STUCK,
    FAULT_EEPROM_STUCK,
    FAULT_DMA_STUCK,
    FAULT_QUEUE_STUCK,
    FAULT_LINK_DOWN,
    FAULT_LINK_FLAP,
    FAULT_LOST_INTERRUPTS,
    FAULT_NO_RX_DESCRIPTORS,
    FAULT_UNPLUGGED,
    FAULT_IOMMU,
    FAULTS,
};

struct sim_device {
    struct sim_front front;
    uint32_t *registers;
    unsigned port;
    struct iommu *iommu;
    struct wire *wire;
    uint64_t now_ns;  // as of the current step or access
    uint64_t deadline_ns[TIMERS];
    uint64_t next_scan_ns;
    bool scan;  // look at all queues' control registers in the next step

    struct queue queues[2][SIM_QUEUES];  // by enum sim_ring
    uint8_t active[2][SIM_QUEUES];       // the numbers of those that are not off
    unsigned active_count[2];
    struct dma_window window[DMA_KINDS];

    struct intake intake;
    bool intake_stale;
    struct steering steering;
    struct tally received, sent;
    uint32_t strange_frames, malformed_frames;  // well-formed, but for somebody else; of an impossible length
    uint64_t strange_bytes, malformed_bytes;
    struct sim_totals totals;
    struct fifo fifo;
    bool fifo_full;            // reported
    bool congested;            // the FIFO was above its high-water mark, and has not been below the low one since
    uint64_t paused_until_ns;  // as far as the partner knows
    struct sim_pauses pauses_sent;
    bool rss_stale;
    uint32_t rss[36][256];  // Toeplitz: what byte b at position p adds to the hash
    bool header_split_reported;

    struct ixgbe_tx_context_desc contexts[SIM_QUEUES][2];
    struct gathered gathered;
    unsigned next_tx;  // whose turn it is
    uint8_t *segment;  // the frame that goes out next, where it is not in driver memory as it should be

    enum sim_interrupt_mode interrupt_mode;
    uint64_t queue_causes, queue_mask;  // a bit per vector; EICR and EIMS hold the low 16
    uint32_t other_causes, other_mask;  // EICR and EIMS, bits 16 to 30
    uint64_t asserted;                  // vectors whose message has gone and whose cause is still there
    uint64_t next_interrupt_ns[SIM_MSIX_VECTORS];

    enum link_state link;
    uint64_t trained_ns;
    uint16_t eeprom[8192];
    struct {
        unsigned bits;
        uint32_t shift;
        uint16_t address;
        uint8_t command;
        bool write_enabled, clock, out;
    } spi;
    struct {
        unsigned bits;
        uint8_t shift, offset, device, mode;
        bool answering, pull, clock, data;
    } i2c;

    uint8_t config[4096];
    uint64_t accesses;
    struct {
        bool armed;
        uint64_t from;
    } faults[FAULTS];
};

// Register file. All accesses are atomic: in threaded mode the driver is at the same memory.

static inline uint32_t load(const uint32_t *reg) { return __atomic_load_n(reg, __ATOMIC_ACQUIRE); }
static inline void store(uint32_t *reg, uint32_t value) { __atomic_store_n(reg, value, __ATOMIC_RELEASE); }
static inline uint32_t *reg_at(const struct sim_device *device, uint32_t offset) {
    return &device->registers[offset / 4];
}
static inline uint32_t reg(const struct sim_device *device, uint32_t offset) { return load(reg_at(device, offset)); }
static inline void reg_set(struct sim_device *device, uint32_t offset, uint32_t value) {
    store(reg_at(device, offset), value);
}
static inline void reg_bits(struct sim_device *device, uint32_t offset, uint32_t bits, bool on) {
    uint32_t value = reg(device, offset);
    reg_set(device, offset, on ? value | bits : value & ~bits);
}
static inline uint32_t field(uint32_t value, uint32_t mask) { return (value & mask) / (mask & -mask); }

// registers.c
enum access { ACCESS_RW, ACCESS_RO, ACCESS_WO, ACCESS_RC, ACCESS_W1C, ACCESS_W1S, ACCESS_SC, ACCESS_SEM };
struct map_entry {
    uint16_t row;  // 0: there is no register here
    uint8_t access;
    uint8_t effect;   // for device.c
    uint32_t offset;  // where its content is
    uint32_t writable;
};
struct map_entry *map_at(uint32_t offset);
void registers_reset(struct sim_device *device);

// device.c
void device_reset(struct sim_device *device);  // what CTRL.RST resets (4.2.1.6.1)
bool dma_allowed(const struct sim_device *device);
static inline void timer_start(struct sim_device *device, enum timer timer, uint64_t delay_ns) {
    device->deadline_ns[timer] = device->now_ns + delay_ns;
}

// faults.c
bool fault_now(const struct sim_device *device, enum fault fault);

// eeprom.c, sfp.c
void eeprom_fill(struct sim_device *device);
void eeprom_loaded(struct sim_device *device);  // what the device copies into its registers
void eerd_written(struct sim_device *device, uint32_t offset, uint32_t value);
void eec_written(struct sim_device *device, uint32_t offset, uint32_t value);
void i2cctl_written(struct sim_device *device, uint32_t offset, uint32_t value);

// link.c
void link_restart(struct sim_device *device);
void link_poll(struct sim_device *device);
void autoc_written(struct sim_device *device, uint32_t offset, uint32_t value);
uint32_t links_read(struct sim_device *device, uint32_t offset, uint32_t value);

// config.c
void config_reset(struct sim_device *device);
void config_interrupt_status(struct sim_device *device, bool asserted);
void config_master_abort(struct sim_device *device);

// queue.c
void queues_reset(struct sim_device *device);
bool queues_scan(struct sim_device *device);
uint32_t queue_control_read(struct sim_device *device, uint32_t offset, uint32_t value);
uint32_t queue_control_peek(const struct sim_device *device, uint32_t offset, uint32_t value);
struct ring queue_ring(struct queue *queue);
void queue_publish(struct queue *queue, uint32_t head);
void queue_halt(struct sim_device *device, struct queue *queue, const char *why);
static inline bool queue_runs(const struct queue *queue) {
    return queue->state >= QUEUE_ON && !queue->halted &&
           (load(&queue->registers[Q_CONTROL]) & IXGBE_RXDCTL_ENABLE || queue->state == QUEUE_STOPPING);
}
_Static_assert((int)IXGBE_RXDCTL_ENABLE == (int)IXGBE_TXDCTL_ENABLE, "both directions are turned on alike");

// dma.c
void dma_forget(struct sim_device *device);
void dma_find_ring(struct sim_device *device, enum dma_kind kind, struct ring *ring);
void dma_ask_for_descriptors(const struct ring *ring, uint32_t from, uint32_t count, bool to_write);
void dma_ask_ahead(struct sim_device *device, const struct ring *ring, uint16_t *asked);
void *dma_map(struct sim_device *device, enum dma_kind kind, uint64_t iova, uint32_t length);
void dma_ring_fault(struct sim_device *device, uint64_t iova);
bool dma_read(struct sim_device *device, uint64_t iova, void *data, uint32_t length);
void dma_write(struct sim_device *device, uint64_t iova, const void *data, uint32_t length);
// The whole of [iova, iova + length) as one piece of memory, or NULL: then it is in pieces, or not there.
static inline void *dma_at(struct sim_device *device, enum dma_kind kind, uint64_t iova, uint32_t length) {
    const struct dma_window *window = &device->window[kind];
    uint64_t into = iova - window->iova;
    if (into < window->size && window->size - into >= length) return window->memory + into;
    return dma_map(device, kind, iova, length);
}

static inline void *dma_descriptor(struct sim_device *device, enum dma_kind kind, const struct ring *ring,
                                   uint32_t index) {
    return ring->memory ? ring->memory + index * 16 : dma_at(device, kind, ring->base + index * 16, 16);
}

// rx.c, tx.c
void receive_looped(struct sim_device *device, const struct wire_frame *frames, unsigned count);
void receive_reset(struct sim_device *device);
bool receive_step(struct sim_device *device);
void pause_again(struct sim_device *device);
void transmit_reset(struct sim_device *device);
void transmit_queue_stopped(struct sim_device *device, unsigned queue);
bool transmit_step(struct sim_device *device);

// intake.c
void intake_refresh(struct sim_device *device);

// steer.c
bool steering_refresh(struct sim_device *device);  // are there any filters?
void steering_written(struct sim_device *device, uint32_t offset, uint32_t value);
void steer(const struct sim_device *device, const uint8_t *bytes, struct frame *frame);

// checksum.c
static inline uint16_t get16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}
static inline uint32_t get32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}
static inline uint64_t get64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}
static inline uint64_t checksum_word(uint64_t sum, uint64_t word) {
    sum += word;
    return sum + (sum < word);  // the carry comes in again at the bottom
}
static inline uint64_t checksum_add(const uint8_t *bytes, uint32_t length, uint64_t sum) {
    for (; length >= 32; bytes += 32, length -= 32) {
        sum = checksum_word(checksum_word(sum, get64(bytes)), get64(bytes + 8));
        sum = checksum_word(checksum_word(sum, get64(bytes + 16)), get64(bytes + 24));
    }
    for (; length >= 8; bytes += 8, length -= 8) sum = checksum_word(sum, get64(bytes));
    uint64_t rest = 0;
    if (length & 4) rest += get32(bytes);
    if (length & 2) rest += get16(bytes + (length & 4));
    if (length & 1) rest += bytes[length & 6];
    return checksum_word(sum, rest);
}
static inline uint16_t checksum_fold(uint64_t sum) {  // not inverted
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16 & 0xffff) + (sum >> 32) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + sum);
}
// Would it fold to 0xffff, the sum of something whose checksum is right?
static inline bool checksum_right(uint64_t sum) { return sum % 0xffff == 0; }
uint32_t crc32_ethernet(const void *data, uint32_t length);
uint32_t crc32c_sctp(const void *data, uint32_t length);  // the checksum field, bytes 8 to 11, counted as zero

// interrupt.c
void interrupt_reset(struct sim_device *device);
void interrupt_queue(struct sim_device *device, enum sim_ring ring, unsigned queue);
void interrupt_other(struct sim_device *device, uint32_t cause);
void interrupts_send(struct sim_device *device);
void interrupt_register_written(struct sim_device *device, uint32_t offset, uint32_t value);
uint32_t interrupt_register_read(struct sim_device *device, uint32_t offset, uint32_t value);

// stats.c
static inline void tally_frame(struct tally *tally, const uint8_t *bytes, uint32_t length) {
    // 64, 65 to 127, 128 to 255, ... 1024 and more bytes, CRC included
    uint32_t power = 31 - (uint32_t)__builtin_clz(length + 4);
    tally->sizes[length <= 60 ? 0 : power < 10 ? power - 5 : 5]++;
    tally->frames++;
    tally->bytes += length;
    if (!(bytes[0] & 1)) return;
    if (bytes[0] == 0xff && bytes[1] == 0xff && bytes[2] == 0xff) {
        tally->broadcasts++;
    } else {
        tally->multicasts++;
    }
}
void count(struct sim_device *device, uint32_t offset, uint32_t n);
void count_tallies(struct sim_device *device);
void count_pause_sent(struct sim_device *device, bool xoff);
void count_delivered(struct sim_device *device, unsigned queue, uint32_t frames, uint64_t bytes);
void count_undelivered(struct sim_device *device, unsigned queue);
void count_queue_sent(struct sim_device *device, unsigned queue, uint32_t frames, uint64_t bytes);
