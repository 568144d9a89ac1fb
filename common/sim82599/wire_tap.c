// A far end that is the host itself: a TAP interface.
//
// What the port sends, the host's network stack receives on the interface, and the other way round. With an address
// on the interface, `ping` reaches whatever answers in the driver.
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire_kinds.h"

enum { LARGEST_READ = 65536 + 14 };  // an interface's MTU may be larger than what the port takes

struct tap {
    struct line line;
    int fd;
    uint8_t frame[LARGEST_READ];
};

static int complain(const char *name, int error, const char *what) {
    const char *hint = "";
    if (error == EPERM || error == EACCES) {
        hint = "; an interface of your own needs root or `unshare -Urn`, or that root has made one for you: "
               "ip tuntap add NAME mode tap user YOU && ip link set NAME up";
    } else if (error == EBUSY) {
        hint = "; another program uses the interface";
    } else if (error == ENOENT || error == ENODEV || error == ENXIO) {
        hint = "; the kernel needs its tun module: modprobe tun";
    }
    wire_complain("tap:%s: %s: %s%s", name, what, strerror(error), hint);
    return -error;
}

static int make_interface(struct tap *tap, const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    if (strlen(name) >= sizeof request.ifr_name) return complain(name, ENAMETOOLONG, "an interface's name");
    strcpy(request.ifr_name, name);
    tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (tap->fd < 0) return complain(name, errno, "cannot open /dev/net/tun");
    if (ioctl(tap->fd, TUNSETIFF, &request) != 0) return complain(name, errno, "cannot make or take the interface");
    return 0;
}

static int bring_up(const char *name) {
    struct ifreq request = {0};
    strcpy(request.ifr_name, name);
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int error = control < 0 || ioctl(control, SIOCGIFFLAGS, &request) != 0 ? errno : 0;
    if (!error && !(request.ifr_flags & IFF_UP)) {
        request.ifr_flags |= IFF_UP;
        if (ioctl(control, SIOCSIFFLAGS, &request) != 0) error = errno;
    }
    if (control >= 0) close(control);
    return error ? complain(name, error, "cannot bring the interface up") : 0;
}

// A host that does not take the frame has lost it.
static unsigned tap_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    struct tap *tap = (struct tap *)wire;
    unsigned taken = 0;
    for (; taken < count && pacer_ready(&tap->line.out, wire->port); taken++) {
        pacer_count(&tap->line.out, frames[taken].length);
        while (write(tap->fd, frames[taken].bytes, frames[taken].length) < 0 && errno == EINTR) {
        }
    }
    return taken;
}

static unsigned tap_poll(struct wire *wire, unsigned budget) {
    struct tap *tap = (struct tap *)wire;
    unsigned done = 0;
    while (done < budget && line_may_deliver(&tap->line)) {
        ssize_t length = read(tap->fd, tap->frame, sizeof tap->frame);
        if (length <= 0) break;
        if (length < SIM_MIN_FRAME) memset(tap->frame + length, 0, (size_t)(SIM_MIN_FRAME - length));
        line_deliver(&tap->line, tap->frame, length < SIM_MIN_FRAME ? SIM_MIN_FRAME : (uint32_t)length);
        done++;
    }
    return done;
}

static void tap_close(struct wire *wire) {
    struct tap *tap = (struct tap *)wire;
    if (tap->fd >= 0) close(tap->fd);
    free(tap);
}

static const struct wire_ops tap_ops = {"tap", tap_send, tap_poll, line_has_light, tap_close};

int wire_tap(const struct wire_options *options, struct sim_device *port, struct line **line) {
    (void)port;
    struct tap *tap = calloc(1, sizeof *tap);
    if (!tap) return -ENOMEM;
    tap->line.wire.ops = &tap_ops;
    tap->fd = -1;
    int error = make_interface(tap, options->argument);
    if (!error) error = bring_up(options->argument);
    if (error) {
        tap_close(&tap->line.wire);
        return error;
    }
    *line = &tap->line;
    return 0;
}
