// sim82599d.c: a machine with one or two 82599 ports for others to plug in: each port is a socket, see
// attach_vfio_user.h. QEMU connects and shows the port to its guest as a PCI device.
//
// One loop serves all sockets and gives the devices their turns. When nothing moves any more it sleeps until a
// message comes or a device's timer runs out. To stay awake a little longer, because a busy guest comes back soon,
// was tried: it takes the processor from an emulated guest, and then everything is slower.
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach_vfio_user.h"
#include "observe.h"
#include "sim.h"
#include "wire.h"

enum {
    PORTS = 2,
    STEPS_A_TURN = 16,       // then the sockets are looked at again: some wires never fall silent
    LISTEN_NS = 500 * 1000,  // how often a wire that leaves the process is looked at
};

struct options {
    const char *sockets[PORTS];
    const char *wires[PORTS];
    const char *faults[PORTS];
    const char *trace;
    unsigned ports;
};

struct port {
    struct vfio_user *server;
    struct wire *wire;
    bool claimed;
};

static struct port ports[PORTS];
static unsigned port_count;
static volatile sig_atomic_t stop_requested;

static const char usage[] =
    "usage: sim82599d [OPTION]... --socket PATH0 [--socket PATH1]\n"
    "\n"
    "A software 82599 with one or two ports, each a vfio-user server on a UNIX socket. In QEMU 10.1 or later, with\n"
    "guest memory that can be shared (-object memory-backend-memfd,share=on), a port is\n"
    "  -device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"PATH0\"}}'\n"
    "Prints \"ready\" on standard error when all sockets listen. SIGINT or SIGTERM ends it and removes them.\n"
    "\n"
    "  --socket PATH         port 0, and the second time port 1. A socket left by a dead server is replaced\n"
    "  --wire SPEC           what the ports' cables are plugged into\n"
    "  --wire0 SPEC, --wire1 SPEC\n"
    "                        the same for one port. SPEC is one of\n"
    "                          cable,alone=quiet           the other port, here or in another process (default)\n"
    "                          cable                       the same; if nobody is there, some traffic is heard\n"
    "                          replay:FILE[,loop][,fast]   the frames of a pcap file\n"
    "                          generator[:size=N][,rate=PPS][,flows=N]\n"
    "                          sink                        light, and nobody there\n"
    "                          tap:NAME                    a TAP interface of this host\n"
    "                          unplugged                   no light\n"
    "                        and \",paced\" after any: no faster than 10 Gbit/s\n"
    "  --fault LIST          break both ports deliberately; LIST is NAME or NAME@N (from the Nth register access\n"
    "                        on), with commas between: reset-stuck, eeprom-stuck, dma-stuck, queue-stuck, "
    "link-down,\n"
    "                        link-flap, lost-interrupts, no-rx-descriptors, unplugged, iommu\n"
    "  --fault0 LIST, --fault1 LIST\n"
    "                        the same for one port\n"
    "  --trace, --trace=FILE write down all that happens, on standard error (also called -) or in FILE\n"
    "  --machine NAME        which machine the ports stand in (default \"default\"); with only one port here the\n"
    "                        other end of the cable is another process in it, such as scripts/sim starts\n"
    "  --help                this text\n";

// ---- Command line ----

__attribute__((format(printf, 1, 2), noreturn)) static void refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("sim82599d: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("; see sim82599d --help\n", stderr);
    va_end(arguments);
    exit(2);
}

static void set_for_all(const char *values[PORTS], const char *value) {
    for (unsigned port = 0; port < PORTS; port++) values[port] = value;
}

static void add_socket(struct options *options, const char *path) {
    if (options->ports == PORTS) refuse("--socket %s: there are only %d ports, and they have theirs", path, PORTS);
    options->sockets[options->ports++] = path;
}

static const char *trace_file(const char *given) {
    if (!given || strcmp(given, "-") == 0) return "-";
    static char where[PATH_MAX + sizeof "text:"];
    snprintf(where, sizeof where, "text:%s", given);
    return where;
}

enum { SOCKET = 256, WIRE, WIRE0, WIRE1, FAULT, FAULT0, FAULT1, TRACE, MACHINE, HELP };

static const struct option long_options[] = {
    {"socket", required_argument, NULL, SOCKET},
    {"wire", required_argument, NULL, WIRE},
    {"wire0", required_argument, NULL, WIRE0},
    {"wire1", required_argument, NULL, WIRE1},
    {"fault", required_argument, NULL, FAULT},
    {"fault0", required_argument, NULL, FAULT0},
    {"fault1", required_argument, NULL, FAULT1},
    {"trace", optional_argument, NULL, TRACE},
    {"machine", required_argument, NULL, MACHINE},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static struct options parse(int count, char **words) {
    struct options options = {.trace = ""};
    set_for_all(options.wires, "cable,alone=quiet");
    opterr = 0;
    for (int option; (option = getopt_long(count, words, ":", long_options, NULL)) != -1;) {
        switch (option) {
        case SOCKET: add_socket(&options, optarg); break;
        case WIRE: set_for_all(options.wires, optarg); break;
        case WIRE0:
        case WIRE1: options.wires[option - WIRE0] = optarg; break;
        case FAULT: set_for_all(options.faults, optarg); break;
        case FAULT0:
        case FAULT1: options.faults[option - FAULT0] = optarg; break;
        case TRACE: options.trace = trace_file(optarg); break;
        case MACHINE: setenv("SIM82599_MACHINE", optarg, 1); break;
        case HELP: fputs(usage, stdout); exit(fflush(stdout) ? 1 : 0);
        case ':': refuse("%s needs a value", words[optind - 1]);
        default: refuse("unknown option %s", words[optind - 1]);
        }
    }
    if (optind < count) refuse("\"%s\" is not an option", words[optind]);
    if (options.ports == 0) refuse("no port to serve: name a --socket");
    if (!options.trace) refuse("out of memory");
    return options;
}

// ---- The ports ----

static int open_port(unsigned number, const struct options *options) {
    struct port *port = &ports[number];
    port_count = number + 1;
    int error = vfio_user_open(number, options->sockets[number], &port->server);
    if (error) return error;
    struct sim_device *device = vfio_user_device(port->server);
    if (options->faults[number] && sim_inject(device, options->faults[number]) != 0) return -EINVAL;
    error = wire_claim_port(number, device);
    if (error == -EBUSY) {
        fprintf(stderr, "sim82599d: port %u of this machine belongs to another process; name a --machine\n", number);
    }
    if (error) return error;
    port->claimed = true;
    error = wire_plug(options->wires[number], device, &port->wire);
    if (!error) sim_set_wire(device, port->wire);
    return error;
}

static int open_ports(const struct options *options) {
    int error = *options->trace ? trace_open(options->trace) : 0;
    for (unsigned number = 0; !error && number < options->ports; number++) error = open_port(number, options);
    return error;
}

static void close_ports(void) {
    for (unsigned number = 0; number < port_count; number++) {
        struct port *port = &ports[number];
        if (port->server) sim_set_wire(vfio_user_device(port->server), NULL);
        wire_unplug(port->wire);
        if (port->claimed) wire_release_port(number);
    }
    for (unsigned number = 0; number < port_count; number++) vfio_user_close(ports[number].server);
    trace_open(NULL);
}

// ---- The loop ----

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool take_a_turn(void) {
    bool moved = false;
    for (unsigned number = 0; number < port_count; number++) moved |= vfio_user_serve(ports[number].server);
    bool stepped = true;
    for (unsigned step = 0; stepped && step < STEPS_A_TURN; step++) {
        stepped = false;
        for (unsigned number = 0; number < port_count; number++) {
            stepped |= sim_step(vfio_user_device(ports[number].server));
        }
        moved |= stepped;
    }
    return moved;
}

// A cable between two ports that are both here brings nothing that was not sent here, and keeps nothing back unless
// it is paced. Everything else must be asked.
static uint64_t next_look_ns(uint64_t now, bool wires_stay_here) {
    uint64_t next = wires_stay_here ? UINT64_MAX : now + LISTEN_NS;
    for (unsigned number = 0; number < port_count; number++) {
        uint64_t timer = sim_next_timer_ns(vfio_user_device(ports[number].server));
        if (timer < next) next = timer;
    }
    return next;
}

static void wait_until(uint64_t now, uint64_t next, const sigset_t *signals) {
    struct pollfd sockets[PORTS];
    for (unsigned number = 0; number < port_count; number++) sockets[number] = vfio_user_poll(ports[number].server);
    uint64_t left = next > now ? next - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    ppoll(sockets, port_count, next == UINT64_MAX ? NULL : &timeout, signals);
}

static bool is_inner_cable(const struct options *options) {
    static const char cable[] = "cable,alone=quiet";
    if (options->ports < PORTS) return false;
    for (unsigned number = 0; number < PORTS; number++) {
        const char *wire = options->wires[number];
        if (strncmp(wire, cable, strlen(cable)) != 0 || strstr(wire, ",paced")) return false;
    }
    return true;
}

static void serve(const struct options *options, const sigset_t *signals) {
    bool wires_stay_here = is_inner_cable(options);
    while (!stop_requested) {
        bool moved = take_a_turn();
        uint64_t now = now_ns();
        wait_until(now, moved ? now : next_look_ns(now, wires_stay_here), signals);
    }
}

// ---- Beginning and end ----

static void request_stop(int number) {
    (void)number;
    stop_requested = 1;
}

// Signals come only while we wait, so none comes between looking for one and waiting. Returns the mask for that.
static sigset_t catch_signals(void) {
    sigset_t caught, before;
    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigprocmask(SIG_BLOCK, &caught, &before);
    sigdelset(&before, SIGINT);
    sigdelset(&before, SIGTERM);
    struct sigaction action = {.sa_handler = request_stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return before;
}

int main(int count, char **words) {
    struct options options = parse(count, words);
    sigset_t signals = catch_signals();
    int error = open_ports(&options);
    if (!error) {
        for (unsigned number = 0; number < port_count; number++) {
            fprintf(stderr, "listening on %s\n", options.sockets[number]);
        }
        fprintf(stderr, "ready\n");
        serve(&options, &signals);
    }
    close_ports();
    return error == -EINVAL ? 2 : error ? 1 : 0;
}
