// sim.h: one 82599 port in software, as its two fronts see it.
//
// The device core knows nothing about VFIO, LD_PRELOAD or QEMU. A front gives it register memory, a clock and a way
// to raise an interrupt vector; it offers register and configuration-space access, a step function that does the
// DMA work, and reset. Between the port and the rest of the world lie two more parts: the IOMMU (iommu.h), through
// which every DMA goes, and the wire (wire.h), which is what the port's cable is plugged into.
//
// Nothing here locks. A front calls the core from one thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_BAR0_SIZE = 0x20000,  // registers
    SIM_BAR2_SIZE = 0x20,     // I/O ports: a second way to the registers, which nobody needs
    SIM_BAR4_SIZE = 0x4000,   // MSI-X table, and from half of it on the pending bits
    SIM_MSIX_VECTORS = 64,
    SIM_QUEUES = 128,
    SIM_MIN_FRAME = 60,     // of Ethernet, without its CRC
    SIM_MAX_FRAME = 15872,  // 8.2.3.22.13: the largest frame that the MAC takes, without its CRC
};

struct sim_device;
struct iommu;
struct wire;
struct wire_frame;

// Which of the three PCI interrupt mechanisms the driver has enabled; vectors mean something only in the last.
enum sim_interrupt_mode { SIM_IRQ_NONE, SIM_IRQ_INTX, SIM_IRQ_MSI, SIM_IRQ_MSIX };

// What a front provides. All pointers must outlive the device.
struct sim_front {
    void *context;
    uint64_t (*now_ns)(void *context);
    void (*interrupt)(void *context, unsigned vector);  // MSI-X vector, or 0 for MSI and a rising INTx
    // Register memory, SIM_BAR0_SIZE bytes. The pages that hold head, tail and control registers of the queues
    // (0x1000, 0x6000, 0x7000, 0xd000) may be shared with the driver, which then writes them behind the core's back.
    uint32_t *registers;
    // True where every register access comes through sim_register_read/write. False where the queue pages are plain
    // memory: then what the driver does there is seen at the next step, and lint judges only what can still be seen.
    bool every_access_seen;
};

struct sim_device *sim_create(unsigned port, const struct sim_front *front);  // NULL: out of memory
void sim_destroy(struct sim_device *device);
unsigned sim_port(const struct sim_device *device);

// The address space DMA goes through from now on; NULL: nothing is mapped, every DMA is a fault.
void sim_set_iommu(struct sim_device *device, struct iommu *iommu);
void sim_set_wire(struct sim_device *device, struct wire *wire);
void sim_set_interrupt_mode(struct sim_device *device, enum sim_interrupt_mode mode);

// BAR0. `offset` is 4-byte aligned and inside the BAR; wider or narrower accesses are the front's to split.
uint32_t sim_register_read(struct sim_device *device, uint32_t offset);
void sim_register_write(struct sim_device *device, uint32_t offset, uint32_t value);

// Configuration space, 4096 bytes, little-endian; any offset and length inside it. Writes obey the writable bits.
// True: it was a function-level reset, and what the front keeps of the function, the MSI-X table, is to be reset too.
void sim_config_read(struct sim_device *device, uint32_t offset, void *data, uint32_t length);
bool sim_config_write(struct sim_device *device, uint32_t offset, const void *data, uint32_t length);
bool sim_bus_mastering(const struct sim_device *device);

// One bounded turn: notice enabled and disabled queues, fetch and send, hand received frames to descriptors, run
// the timers (link, interrupt throttling). Returns true if anything moved, so "step until false" is quiescence.
bool sim_step(struct sim_device *device);
// When must sim_step run again even if nobody touches the device (a timer is pending)? UINT64_MAX: never.
uint64_t sim_next_timer_ns(const struct sim_device *device);

// A PCI function-level reset, as VFIO_DEVICE_RESET does. All registers and configuration space back to power-on.
void sim_function_reset(struct sim_device *device);

// From the wire: a frame without CRC has arrived. The port filters it, puts it into its receive FIFO, or counts why
// not. sim_pause_wanted: the FIFO is above its high-water mark, this port sends PAUSE (FCCFG.TFCE, 3.7.7.3.2), and
// the time that it has asked for is not over, so a polite link partner holds its next frame back.
void sim_receive(struct sim_device *device, const void *frame, uint32_t length);
// The same for many that have come together. A polite partner stops when it is asked to pause; returns how many
// frames it has sent until then.
unsigned sim_receive_burst(struct sim_device *device, const struct wire_frame *frames, unsigned count, bool polite);
bool sim_pause_wanted(const struct sim_device *device);
bool sim_pause_honoured(const struct sim_device *device);  // MFLCN.RFCE: this port obeys a PAUSE
// PAUSE frames are not carried by the wire, only counted: those that the port has sent since sim_create, and what has
// arrived at the other end of the wire. XOFF asks to pause, XON to go on.
struct sim_pauses {
    uint32_t xon, xoff;
};
struct sim_pauses sim_pauses_sent(const struct sim_device *device);
void sim_pauses_received(struct sim_device *device, struct sim_pauses pauses);
// RXCTRL.RXEN set, SECRXCTRL.RX_DIS not, and link up: a frame would be looked at.
bool sim_receiver_open(const struct sim_device *device);
bool sim_laser_on(const struct sim_device *device);  // ESDP SDP3 as SFP+ TX_DISABLE; off: the partner sees no carrier

// What has gone through the port since sim_create, whatever a driver has read or reset meanwhile. Bytes as the MAC
// counts them, with CRCs.
struct sim_totals {
    uint64_t in_packets, in_bytes;
    uint64_t out_packets, out_bytes;
    uint64_t missed;   // the receive packet buffer was full
    uint64_t dropped;  // there was no descriptor for it
    uint64_t faults;   // accesses to memory that is not mapped
};
struct sim_totals sim_totals(const struct sim_device *device);

// Deliberate failures, a comma-separated list of NAME or NAME@N (from the Nth register access on):
// reset-stuck, eeprom-stuck, dma-stuck, queue-stuck, link-down, link-flap, lost-interrupts, no-rx-descriptors,
// unplugged, iommu. Returns 0 or -EINVAL after saying which name it does not know.
int sim_inject(struct sim_device *device, const char *faults);
