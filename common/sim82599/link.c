// link.c: is there a link?
//
// Light on the fibre, then a short training, then the link is up. Whatever software changes about the link's mode
// (AUTOC), and every reset, starts that again. Nobody tells us that the cable was pulled, so the light is looked at
// every now and then. FLU, "force link up", needs no partner at all: it is for loopback.
#include "core.h"

enum { TRAINING_NS = 5000000, WATCH_NS = 10000000, FLAP_NS = 20000000 };

static void enter(struct sim_device *device, enum link_state state) {
    bool was_up = device->link == LINK_UP, up = state == LINK_UP;
    device->link = state;
    if (state == LINK_TRAINING) {
        timer_start(device, TIMER_LINK, TRAINING_NS);
        device->trained_ns = device->deadline_ns[TIMER_LINK];
    }
    if (was_up == up) return;
    device->intake_stale = true;

    uint32_t mode = field(reg(device, IXGBE_AUTOC), IXGBE_AUTOC_LMS);
    uint32_t speed = mode == IXGBE_LMS_1G_NO_AN || mode == IXGBE_LMS_1G_AN ? IXGBE_SPEED_1G : IXGBE_SPEED_10G;
    reg_set(device, IXGBE_LINKS,
            up ? IXGBE_LINKS_LINK_UP | IXGBE_LINKS_KX_SIG_DET | speed << IXGBE_LINKS_LINK_SPEED_SHIFT : 0);
    reg_bits(device, IXGBE_STATUS, IXGBE_STATUS_LINK_UP, up);
    observe_event(device, up ? "link up" : "link down");
    interrupt_other(device, IXGBE_EICR_LSC);
}

static bool light(struct sim_device *device) {
    if (fault_now(device, FAULT_LINK_DOWN)) return false;
    if (fault_now(device, FAULT_LINK_FLAP) && device->now_ns / FLAP_NS % 2) return false;
    return device->wire && device->wire->ops->carrier(device->wire);
}

void link_poll(struct sim_device *device) {
    bool forced = reg(device, IXGBE_AUTOC) & IXGBE_AUTOC_FLU;
    if (forced) {
        enter(device, LINK_UP);
    } else if (!light(device)) {
        if (device->link != LINK_DOWN) enter(device, LINK_DOWN);
    } else if (device->link == LINK_DOWN) {
        enter(device, LINK_TRAINING);
    } else if (device->link == LINK_TRAINING && device->now_ns >= device->trained_ns) {
        enter(device, LINK_UP);
    }
    if (device->wire && device->deadline_ns[TIMER_LINK] == SIM_NEVER) timer_start(device, TIMER_LINK, WATCH_NS);
}

void link_restart(struct sim_device *device) {
    enter(device, LINK_DOWN);
    link_poll(device);
}

void autoc_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    reg_bits(device, offset, IXGBE_AUTOC_RESTART_AN, false);  // it clears itself (8.2.3.22.19)
    if (value & IXGBE_AUTOC_RESTART_AN) {
        // A driver resets the pipeline by asking for a backplane mode and waiting for negotiation to leave state 0.
        bool negotiates = field(value, IXGBE_AUTOC_LMS) >= IXGBE_LMS_BACKPLANE_AN;
        reg_set(device, IXGBE_ANLP1, negotiates ? 1 << IXGBE_ANLP1_ANAS_SHIFT : 0);
        link_restart(device);
    } else {
        link_poll(device);
    }
}

// LINK_STATUS remembers that the link was down until it has been read (8.2.3.22.20).
uint32_t links_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    if (device->link == LINK_UP) reg_bits(device, offset, IXGBE_LINKS_LINK_STATUS, true);
    return value;
}

// The SFP+ module's TX_DISABLE pin is wired to SDP3 (3.5.6).
bool sim_laser_on(const struct sim_device *device) { return !(reg(device, IXGBE_ESDP) & IXGBE_ESDP_SDP3_DATA); }

bool sim_receiver_open(const struct sim_device *device) {
    return device->link == LINK_UP && reg(device, IXGBE_RXCTRL) & IXGBE_RXCTRL_RXEN &&
           !(reg(device, IXGBE_SECRXCTRL) & IXGBE_SECRXCTRL_RX_DIS);
}
