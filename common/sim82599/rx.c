// rx.c: receiving, from the wire to the driver's buffers.
//
// A frame that the MAC takes goes into the packet buffer, a FIFO of 512 KiB. The DMA engine takes the oldest, looks
// for free descriptors in its queue, writes the bytes into their buffers and then the descriptors back, DD last. If
// there are none it waits, and everybody behind it waits too: a slow queue fills the FIFO, and then frames are lost
// at its entry (counted in MPC). With SRRCTL.DROP_EN a queue gives up its frames instead (counted in QPRDC), see 7.1.
//
// The FIFO starts over at its first byte whenever it is empty, so with a driver that keeps up it stays in the cache.
// When a burst of frames arrives and nobody waits in the FIFO, it is passed by: the DMA engine takes each frame at
// once.
#include "classify.h"
#include "core.h"
#include "filter.h"

void receive_reset(struct sim_device *device) {
    device->fifo.read = device->fifo.write = device->fifo.used = 0;
    device->fifo_full = device->congested = false;
    device->paused_until_ns = 0;
}

static struct frame *fifo_first(const struct fifo *fifo) {
    return (struct frame *)(void *)(fifo->memory + fifo->read);
}

static struct frame *fifo_new(struct fifo *fifo) {
    if (fifo->used == 0) fifo->read = fifo->write = 0;
    return (struct frame *)(void *)(fifo->memory + fifo->write);
}

static uint32_t room_for(uint32_t length) { return (uint32_t)(sizeof(struct frame) + length + 15) & ~15u; }

static void fifo_push(struct fifo *fifo, struct frame *frame) {
    frame->room = room_for(frame->length);
    fifo->used += frame->room;
    fifo->write += frame->room;
    if (fifo->write >= FIFO_BYTES) fifo->write = 0;
}

static void fifo_pop(struct fifo *fifo) {
    uint32_t room = fifo_first(fifo)->room;
    fifo->used -= room;
    fifo->read += room;
    if (fifo->read >= FIFO_BYTES) fifo->read = 0;
}

// 3.7.7.3.2: above the high-water mark this port asks its partner to pause for a time (XOFF), and asks again before
// the time is over if FCRTV says when. Below the low one it lets the partner go on (XON), if software wants that.
static uint64_t quanta_ns(uint32_t quanta) { return quanta * UINT64_C(512) / 10; }  // of 512 bits, at 10 Gbit/s

static void send_pause(struct sim_device *device, bool xoff) {
    uint32_t quanta = field(reg(device, IXGBE_FCTTV), IXGBE_FCTTV_TTV0), again = reg(device, IXGBE_FCRTV) & 0xffff;
    device->paused_until_ns = xoff ? device->now_ns + quanta_ns(quanta) : 0;
    if (xoff && again) timer_start(device, TIMER_PAUSE, quanta_ns(again));
    count_pause_sent(device, xoff);
}

void pause_again(struct sim_device *device) {
    if (device->congested) send_pause(device, true);
}

static void set_congested(struct sim_device *device, bool congested) {
    device->congested = congested;
    if (!congested && !(reg(device, IXGBE_FCRTL) & IXGBE_FCRTL_XONE)) return;
    send_pause(device, congested);
    observe_event(device, congested ? "XOFF sent" : "XON sent");  // but not each time that it is said again
}

static inline void watch_watermarks(struct sim_device *device) {
    if (device->congested) {
        if (device->fifo.used <= device->intake.low_water) set_congested(device, false);
    } else if (device->fifo.used > device->intake.high_water) {
        set_congested(device, true);
    }
}

bool sim_pause_wanted(const struct sim_device *device) { return device->now_ns < device->paused_until_ns; }
bool sim_pause_honoured(const struct sim_device *device) { return reg(device, IXGBE_MFLCN) & IXGBE_MFLCN_RFCE; }

static void lost_at_entry(struct sim_device *device, uint32_t length) {
    device->totals.missed++;
    count(device, IXGBE_RXMPC, 1);
    interrupt_other(device, IXGBE_EICR_RX_MISS);
    if (sim_observed) observe_dropped(device, false, "receive packet buffer is full", length);
    if (!device->fifo_full) observe_event(device, "receive packet buffer is full");
    device->fifo_full = true;
}

// Into the driver's memory.

// What happens to each frame is inlined into both loops that frames come from, the FIFO's and the wire's.
#define INLINE inline __attribute__((always_inline))

// A queue that frames go to in this turn, with its registers at hand.
struct engine {
    struct queue *queue;
    struct ring ring;
    uint32_t available;  // descriptors
    uint32_t buffer;     // bytes in one
    bool runs, legacy, gives_up;
    uint32_t frames;
    uint64_t bytes;
};

static void rest(struct engine engines[RSS_QUEUES]) {
    for (unsigned n = 0; n < RSS_QUEUES; n++) engines[n].queue = NULL;
}

// What the driver and the counters learn at the end of a turn.
static void finish(struct sim_device *device, struct engine engines[RSS_QUEUES]) {
    for (struct engine *engine = engines; engine < engines + RSS_QUEUES; engine++) {
        if (!engine->queue || !engine->frames) continue;
        queue_publish(engine->queue, engine->ring.head);
        interrupt_queue(device, SIM_RING_RX, engine->queue->number);
        count_delivered(device, engine->queue->number, engine->frames, engine->bytes);
    }
    rest(engines);
}

static void begin(struct sim_device *device, struct engine *engine, struct queue *queue) {
    // Where its registers are plain memory a queue may have been switched on since our own last turn.
    if (queue->state == QUEUE_OFF && !device->front.every_access_seen) queues_scan(device);
    uint32_t control = load(&queue->registers[Q_SRRCTL]);
    uint32_t type = field(control, IXGBE_SRRCTL_DESCTYPE);
    *engine = (struct engine){
        .queue = queue,
        .ring = queue_ring(queue),
        .buffer = field(control, IXGBE_SRRCTL_BSIZEPACKET) * 1024,
        .runs = queue_runs(queue),
        .legacy = type == IXGBE_DESCTYPE_LEGACY,
        .gives_up = control & IXGBE_SRRCTL_DROP_EN,
    };
    dma_find_ring(device, DMA_RX_RING, &engine->ring);
    if (fault_now(device, FAULT_NO_RX_DESCRIPTORS)) engine->ring.tail = engine->ring.head;
    engine->available = ring_pending(&engine->ring);
    dma_ask_ahead(device, &engine->ring, &queue->asked);
    if (type > IXGBE_DESCTYPE_ADVANCED && !device->header_split_reported) {
        device->header_split_reported = true;
        observe_event(device, "header split is not implemented: whole packets go into the packet buffers");
    }
}

// DD must be seen after everything else, so the half that holds it is written last. What is known about the frame
// goes into the descriptor of its last piece; the others have a length and DD (7.1.6.2).
static INLINE void write_back(struct engine *engine, uint64_t *descriptor, const struct frame *frame, uint32_t length,
                              bool last) {
    uint64_t low = 0, high = IXGBE_RXD_STATUS_DD;
    if (last) {
        low = (uint64_t)frame->hash << 32 | frame->info;
        high = (uint64_t)frame->vlan << 48 | (frame->status | IXGBE_RXD_STATUS_DD | IXGBE_RXD_STATUS_EOP);
    }
    if (engine->legacy) {
        uint64_t errors = high >> 24 & (IXGBE_RXD_LEGACY_ERROR_IPE | IXGBE_RXD_LEGACY_ERROR_L4E);
        low = descriptor[0];
        high = (high >> 48) << 48 | errors << 40 | (high & 0xff) << 32 | length;
    } else {
        high |= (uint64_t)length << 32;
    }
    descriptor[0] = low;
    __atomic_store_n(&descriptor[1], high, __ATOMIC_RELEASE);
}

// The frames that come in millions are short. Two halves that overlap cost less than finding out how to copy them.
static inline void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t length) {
    enum { HALF = 32 };
    if (length < HALF || length > 2 * HALF) {
        memcpy(to, from, length);
        return;
    }
    memcpy(to, from, HALF);
    memcpy(to + length - HALF, from + length - HALF, HALF);
}

static INLINE void fill_buffer(struct sim_device *device, uint64_t iova, const uint8_t *bytes, uint32_t length) {
    void *memory = sim_observed ? NULL : dma_at(device, DMA_RX_DATA, iova, length);
    if (!memory)
        dma_write(device, iova, bytes, length);
    else
        copy_bytes(memory, bytes, length);
}

static void drop(struct sim_device *device, const struct frame *frame, const char *why) {
    count_undelivered(device, frame->queue);
    if (sim_observed) observe_dropped(device, false, why, frame->length);
}

// `length` bytes of the frame into the next buffer. False: its descriptor cannot be fetched.
static INLINE bool place_piece(struct sim_device *device, struct engine *engine, const struct frame *frame,
                               const uint8_t *bytes, uint32_t length, bool last) {
    uint32_t index = engine->ring.head;
    uint64_t *descriptor = dma_descriptor(device, DMA_RX_RING, &engine->ring, index);
    if (!descriptor) {
        dma_ring_fault(device, engine->ring.base + index * 16);
        return false;
    }
    if (sim_observed) observe_fetch(device, SIM_RING_RX, frame->queue, index, descriptor);
    fill_buffer(device, __atomic_load_n(&descriptor[0], __ATOMIC_RELAXED), bytes, length);
    write_back(engine, descriptor, frame, length, last);
    if (sim_observed) observe_write_back(device, SIM_RING_RX, frame->queue, index, descriptor);
    engine->ring.head = ring_next(&engine->ring, index);
    engine->available--;
    return true;
}

static __attribute__((noinline)) bool place_pieces(struct sim_device *device, struct engine *engine,
                                                   const struct frame *frame, const uint8_t *bytes) {
    uint32_t left = frame->length;
    for (; left > engine->buffer; bytes += engine->buffer, left -= engine->buffer) {
        if (!place_piece(device, engine, frame, bytes, engine->buffer, false)) return false;
    }
    return place_piece(device, engine, frame, bytes, left, true);
}

static uint32_t buffers_for(const struct engine *engine, uint32_t length) {
    return engine->buffer ? (length + engine->buffer - 1) / engine->buffer : UINT32_MAX;
}

static INLINE struct engine *engine_for(struct sim_device *device, struct engine engines[RSS_QUEUES],
                                        const struct frame *frame) {
    struct engine *engine = &engines[frame->queue];
    if (!engine->queue) begin(device, engine, &device->queues[SIM_RING_RX][frame->queue]);
    return engine;
}

// A frame to its queue. True: it is done with, one way or the other. False: it waits.
static INLINE bool deliver(struct sim_device *device, struct engine *engine, const struct frame *frame,
                           const uint8_t *bytes) {
    if (!engine->runs) {
        drop(device, frame, engine->queue->halted ? "receive queue is halted" : "receive queue is not enabled");
        return true;
    }
    bool one = frame->length <= engine->buffer;
    uint32_t needed = one ? 1 : buffers_for(engine, frame->length);
    if (needed > engine->available) {
        bool never = needed >= engine->ring.size && engine->ring.size > 0;
        if (!never && !engine->gives_up) return false;
        drop(device, frame, never ? "frame needs more buffers than the ring has" : "no receive descriptors");
        return true;
    }
    bool placed = one ? place_piece(device, engine, frame, bytes, frame->length, true)
                      : place_pieces(device, engine, frame, bytes);
    if (!placed) {
        queue_halt(device, engine->queue, "DMA fault: receive queue halted");
        engine->runs = false;
        drop(device, frame, "DMA fault");
        return true;
    }
    engine->frames++;
    engine->bytes += frame->length;
    return true;
}

bool receive_step(struct sim_device *device) {
    if (device->fifo.used == 0 || !dma_allowed(device)) return false;
    struct engine engines[RSS_QUEUES];
    rest(engines);
    unsigned done = 0;
    while (device->fifo.used && done < 2 * SIM_BATCH) {
        struct frame *frame = fifo_first(&device->fifo);
        if (!deliver(device, engine_for(device, engines, frame), frame, frame->bytes)) break;
        fifo_pop(&device->fifo);
        done++;
    }
    finish(device, engines);
    if (done) {
        device->fifo_full = false;
        watch_watermarks(device);
    }
    return done > 0;
}

// From the wire.

// What the host will see of the frame: perhaps without its VLAN tag, perhaps with its CRC.
static void copy_edited(struct sim_device *device, struct frame *frame, const uint8_t *bytes, uint32_t length) {
    uint32_t control = load(&device->queues[SIM_RING_RX][frame->queue].registers[Q_CONTROL]), cut = 0;
    if (frame->status & IXGBE_RXD_STATUS_VP && control & IXGBE_RXDCTL_VME) cut = 4;
    memcpy(frame->bytes, bytes, 12);
    memcpy(frame->bytes + 12, bytes + 12 + cut, length - 12 - cut);
    frame->length = (uint16_t)(length - cut);
    if (device->intake.strips_crc) return;
    uint32_t crc = crc32_ethernet(bytes, length);
    memcpy(frame->bytes + frame->length, &crc, 4);
    frame->length = (uint16_t)(frame->length + 4);
}

static inline bool edited(const struct sim_device *device, const struct frame *frame) {
    return frame->status & IXGBE_RXD_STATUS_VP || !device->intake.strips_crc;
}

static inline bool fits(const struct sim_device *device, uint32_t length) {
    return device->fifo.used + room_for(length + 4) <= device->intake.fifo_bytes;
}

// A sender in this process puts many frames on the wire in one turn, and our turn comes only after it. In hardware
// the DMA engine has been at work meanwhile, so it gets a turn before anything is lost.
static bool make_room(struct sim_device *device, uint32_t length) {
    while (!fits(device, length) && receive_step(device)) {
    }
    dma_forget(device);
    return fits(device, length);
}

static void wait_in_fifo(struct sim_device *device, struct frame *frame, const uint8_t *bytes, uint32_t length) {
    if (!fits(device, length) && !make_room(device, length)) {
        lost_at_entry(device, length);
        return;
    }
    struct frame *place = fifo_new(&device->fifo);
    *place = *frame;
    if (edited(device, frame)) {
        copy_edited(device, place, bytes, length);
    } else {
        memcpy(place->bytes, bytes, length);
    }
    fifo_push(&device->fifo, place);
    watch_watermarks(device);
}

// `straight`: frames may pass the packet buffer by while none waits there. The first that has to wait, or to be
// edited, makes all behind it wait too. So does one for a queue that does not run: the driver may have turned it on
// since this port's last turn, and the next will tell.
static unsigned take_in(struct sim_device *device, const struct wire_frame *frames, unsigned count, bool polite,
                        bool straight) {
    if (device->intake_stale) intake_refresh(device);
    if (!device->intake.open) {
        for (unsigned i = 0; sim_observed && i < count; i++) {
            observe_dropped(device, false, "receiver is off (RXCTRL.RXEN, SECRXCTRL.RX_DIS) or there is no link",
                            frames[i].length);
        }
        return count;
    }
    struct engine engines[RSS_QUEUES];
    if (device->fifo.used) straight = false;
    if (straight) rest(engines);
    unsigned taken = 0;
    for (; taken < count && !(polite && sim_pause_wanted(device)); taken++) {
        const uint8_t *bytes = frames[taken].bytes;
        uint32_t length = frames[taken].length;
        if (!filter_takes(device, bytes, length)) continue;
        tally_frame(&device->received, bytes, length);
        if (sim_observed) observe_frame(device, false, bytes, length);
        struct frame frame = {.length = (uint16_t)length};
        classify(device, bytes, length, &frame);
        if (device->intake.steers) steer(device, bytes, &frame);
        if (may_be_for_others(&device->intake, bytes)) frame.status |= IXGBE_RXD_STATUS_PIF;
        if (__builtin_expect(frame.status & (IXGBE_RXD_ERROR_IPE | IXGBE_RXD_ERROR_L4E), 0))
            device->received.wrong_checksums++;
        if (straight) {
            struct engine *engine = engine_for(device, engines, &frame);
            straight = !edited(device, &frame) && engine->runs && deliver(device, engine, &frame, bytes);
            if (straight) continue;
            finish(device, engines);
        }
        wait_in_fifo(device, &frame, bytes, length);
    }
    if (straight) finish(device, engines);
    return taken;
}

void receive_looped(struct sim_device *device, const struct wire_frame *frames, unsigned count) {
    take_in(device, frames, count, false, false);
}

void sim_receive(struct sim_device *device, const void *frame, uint32_t length) {
    if (reg(device, IXGBE_HLREG0) & IXGBE_HLREG0_LPBK) return;
    take_in(device, &(struct wire_frame){frame, length}, 1, false, false);
}

unsigned sim_receive_burst(struct sim_device *device, const struct wire_frame *frames, unsigned count, bool polite) {
    if (reg(device, IXGBE_HLREG0) & IXGBE_HLREG0_LPBK) return count;
    unsigned taken = take_in(device, frames, count, polite, !sim_observed && dma_allowed(device));
    dma_forget(device);  // this may be another port's turn
    return taken;
}
