// The TAP wire, with this machine's own kernel as the far end: it answers ARP and ping on an interface that the wire
// has made. In a network namespace of our own, so it takes no privilege and touches nothing.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"
#include "test_port.h"

// The next frame whose bytes at `at` are these; the kernel has other things to say as well. NULL after half a minute.
static const uint8_t *wait_for(struct port *port, unsigned at, const void *bytes, unsigned length) {
    for (unsigned tries = 0; tries < 30000; tries++) {
        const uint8_t *frame;
        settle(port);
        while (take(port, &frame)) {
            if (memcmp(frame + at, bytes, length) == 0) return frame;
        }
        poll(NULL, 0, 1);
    }
    return NULL;
}

static bool write_file(const char *name, const char *format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int file = open(name, O_WRONLY);
    bool written = file >= 0 && write(file, text, (size_t)length) == length;
    if (file >= 0) close(file);
    return written;
}

static bool enter_namespace(void) {
    unsigned uid = getuid(), gid = getgid();
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", "0 %u 1", uid) && write_file("/proc/self/gid_map", "0 %u 1", gid) &&
           access("/dev/net/tun", R_OK | W_OK) == 0;
}

static struct ifreq interface(const char *name) {
    struct ifreq request = {0};
    strcpy(request.ifr_name, name);
    return request;
}

static void give_address(int control, const char *name, uint32_t address, uint32_t mask) {
    struct ifreq request = interface(name);
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&request.ifr_addr;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(address)}};
    CHECK_EQ(ioctl(control, SIOCSIFADDR, &request), 0);
    in->sin_addr.s_addr = htonl(mask);
    CHECK_EQ(ioctl(control, SIOCSIFNETMASK, &request), 0);
}

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 7};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
#define HOST PACKET_ADDRESS(192, 0, 2, 1)
#define WE   PACKET_ADDRESS(192, 0, 2, 7)

static void test_arp_and_ping(struct port *port, const uint8_t host_mac[6]) {
    struct packet packet;
    packet_start(&packet, everybody, our_mac, PACKET_UNTAGGED, ETHERTYPE_ARP);
    packet_bytes(&packet, "\0\1\x08\0\6\4\0\1", 8);
    packet_bytes(&packet, our_mac, 6);
    packet_u32(&packet, WE);
    packet_bytes(&packet, "\0\0\0\0\0\0", 6);
    packet_u32(&packet, HOST);
    packet_finish(&packet);
    CHECK_EQ(send_frame(port, packet.bytes, packet.length), 0);
    const uint8_t *reply = wait_for(port, 12, "\x08\x06\0\1\x08\0\6\4\0\2", 10);
    if (!CHECK(reply)) return;
    CHECK(memcmp(reply, our_mac, 6) == 0);
    CHECK(memcmp(reply + 22, host_mac, 6) == 0);
    CHECK(memcmp(reply + 42, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18) == 0);  // the padding of a short frame

    packet_start(&packet, host_mac, our_mac, PACKET_UNTAGGED, ETHERTYPE_IPV4);
    packet_ipv4(&packet, WE, HOST, PROTOCOL_ICMP, 64, 1);
    packet_u32(&packet, 8 << 24);  // echo request
    packet_u32(&packet, 0x12345678);
    for (unsigned i = 0; i < 1472; i++) packet_u8(&packet, (uint8_t)i);
    packet_finish(&packet);
    CHECK_EQ(packet.length, 1514);
    CHECK_EQ(send_frame(port, packet.bytes, packet.length), 0);
    reply = wait_for(port, 38, "\x12\x34\x56\x78", 4);
    if (!CHECK(reply)) return;
    CHECK_EQ(reply[34], 0);
    CHECK(memcmp(reply + 42, packet.bytes + 42, 1472) == 0);
}

static void test_interface(void) {
    struct port *port = port_up(0, "tap:simtest0");
    struct wire *second;
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = interface("simtest0");
    CHECK_EQ(ioctl(control, SIOCGIFFLAGS, &request), 0);
    CHECK(request.ifr_flags & IFF_UP);
    CHECK_EQ(wire_plug("tap:simtest0", port->device, &second), -EBUSY);
    CHECK(second == NULL);

    give_address(control, "simtest0", HOST, PACKET_ADDRESS(255, 255, 255, 0));
    request = interface("simtest0");
    CHECK_EQ(ioctl(control, SIOCGIFHWADDR, &request), 0);
    test_arp_and_ping(port, (const uint8_t *)request.ifr_hwaddr.sa_data);

    // An interface that is down takes nothing, and that is no error of the wire's.
    request = interface("simtest0");
    CHECK_EQ(ioctl(control, SIOCSIFFLAGS, &request), 0);
    CHECK_EQ(send_frame(port, (const uint8_t[60]){0}, 60), 0);

    port_off(port);
    request = interface("simtest0");
    CHECK(ioctl(control, SIOCGIFFLAGS, &request) != 0 && errno == ENODEV);
    close(control);
}

int main(void) {
    char machine[32];
    snprintf(machine, sizeof machine, "test-tap-%d", (int)getpid());
    setenv("SIM82599_MACHINE", machine, 1);
    if (enter_namespace())
        test_interface();
    else
        SKIP("no network namespace or no /dev/net/tun for this user, so no TAP interface either");
    return test_summary();
}
