// test_vfio_user.h: a vfio-user client, as small as tests need it, written from the specification and not from the
// server's source. It lives in the server's own process: whoever waits for a reply lets the server take its turns. A
// server that is NULL is a process of its own and takes them anyway.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach_vfio_user.h"
#include "sim.h"
#include "wire.h"

enum command {
    VERSION = 1,
    DMA_MAP = 2,
    DMA_UNMAP = 3,
    GET_INFO = 4,
    GET_REGION_INFO = 5,
    GET_REGION_IO_FDS = 6,
    GET_IRQ_INFO = 7,
    SET_IRQS = 8,
    REGION_READ = 9,
    REGION_WRITE = 10,
    DMA_READ = 11,
    DMA_WRITE = 12,
    RESET = 13,
    DIRTY_PAGES = 14,
    REGION_WRITE_MULTI = 15,
    DEVICE_FEATURE = 16,
};
enum { TYPE = 0x0f, REPLY = 0x01, NO_REPLY = 0x10, ERROR = 0x20, CLOSED = -1, SILENCE = -2 };
enum { BAR0 = 0, BAR2 = 2, BAR4 = 4, CONFIG = 7 };

struct header {
    uint16_t id, command;
    uint32_t size, flags, error;
};

struct client {
    struct vfio_user *server;
    int socket;
    uint16_t id;
};

// The last reply's payload.
static struct header reply_header;
static uint8_t reply[1 << 18];
static uint32_t reply_length;

static inline void let_server_work(struct vfio_user *server) {
    if (!server) {
        usleep(100);
        return;
    }
    for (bool worked = true; worked;) {
        worked = vfio_user_serve(server);
        for (unsigned step = 0; step < 64 && sim_step(vfio_user_device(server)); step++) worked = true;
    }
}

static inline bool client_connect(struct client *client, struct vfio_user *server, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path, strlen(path));
    *client =
        (struct client){.server = server, .socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (connect(client->socket, (struct sockaddr *)&address, sizeof address) != 0) return false;
    let_server_work(server);
    return true;
}

static inline void client_close(struct client *client) {
    close(client->socket);
    let_server_work(client->server);
}

// Bytes with descriptors beside them. False: the server has gone.
static inline bool client_send(struct client *client, const void *bytes, size_t length, const int *fds,
                               unsigned count) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(256 * sizeof(int))] = {0};
    struct iovec data = {(void *)(uintptr_t)bytes, length};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (count) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(part), fds, count * sizeof(int));
    }
    return sendmsg(client->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

// Reads `length` bytes, as long as the server has some to send. 0, CLOSED or SILENCE.
static inline int client_read(struct client *client, void *bytes, size_t length) {
    size_t done = 0;
    const unsigned patience = client->server ? 2 : 50000;
    for (unsigned misses = 0; done < length;) {
        ssize_t got = recv(client->socket, (char *)bytes + done, length - done, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return CLOSED;
        if (got < 0 && misses++ > patience) return SILENCE;
        if (got < 0) let_server_work(client->server);
        if (got > 0) done += (size_t)got;
    }
    return 0;
}

// A reply into `reply`. Its error number, 0, CLOSED or SILENCE.
static inline int client_receive(struct client *client) {
    int missing = client_read(client, &reply_header, sizeof reply_header);
    if (missing) return missing;
    reply_length = reply_header.size - (uint32_t)sizeof reply_header;
    if (reply_header.size < sizeof reply_header || reply_length > sizeof reply) return CLOSED;
    missing = client_read(client, reply, reply_length);
    if (missing) return missing;
    return reply_header.flags & ERROR ? (int)reply_header.error : 0;
}

static inline int request_with_fds(struct client *client, enum command command, const void *payload, uint32_t length,
                                   const int *fds, unsigned count) {
    uint8_t message[sizeof(struct header) + 4096];
    struct header header = {++client->id, (uint16_t)command, (uint32_t)sizeof header + length, 0, 0};
    memcpy(message, &header, sizeof header);
    if (length) memcpy(message + sizeof header, payload, length);
    client_send(client, message, sizeof header + length, fds, count);
    int error = client_receive(client);
    if (error >= 0 && (reply_header.id != header.id || reply_header.command != header.command)) return CLOSED;
    return error;
}

static inline int request(struct client *client, enum command command, const void *payload, uint32_t length) {
    return request_with_fds(client, command, payload, length, NULL, 0);
}

static const char proposal[] = "\0\0\0\0{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
                               "\"migration\":{\"pgsize\":4096},\"write_multiple\":true}}";

// A client that has agreed with the server on a version.
static inline bool client_begin(struct client *client, struct vfio_user *server, const char *path) {
    return client_connect(client, server, path) && request(client, VERSION, proposal, sizeof proposal) == 0;
}

struct transfer {
    uint64_t offset;
    uint32_t region, count;
    uint8_t data[64];
};
enum { TRANSFER_HEAD = 16 };

static inline uint64_t read_region(struct client *client, uint32_t region, uint64_t offset, uint32_t width) {
    struct transfer transfer = {offset, region, width, {0}};
    uint64_t value = 0;
    if (request(client, REGION_READ, &transfer, TRANSFER_HEAD) == 0) memcpy(&value, reply + TRANSFER_HEAD, width);
    return value;
}

static inline int write_region(struct client *client, uint32_t region, uint64_t offset, uint32_t width,
                               uint64_t value) {
    struct transfer transfer = {offset, region, width, {0}};
    memcpy(transfer.data, &value, width);
    return request(client, REGION_WRITE, &transfer, TRANSFER_HEAD + width);
}

static inline uint32_t reg_read(struct client *client, uint32_t offset) {
    return (uint32_t)read_region(client, BAR0, offset, 4);
}
static inline void reg_write(struct client *client, uint32_t offset, uint32_t value) {
    write_region(client, BAR0, offset, 4, value);
}

struct dma_map {
    uint32_t argsz, flags;
    uint64_t offset, iova, size;
};

static inline int map(struct client *client, int fd, uint64_t offset, uint64_t iova, uint64_t size, uint32_t flags) {
    struct dma_map message = {sizeof message, flags, offset, iova, size};
    return request_with_fds(client, DMA_MAP, &message, sizeof message, &fd, fd >= 0);
}

static inline int unmap(struct client *client, uint64_t iova, uint64_t size, uint32_t flags) {
    struct {
        uint32_t argsz, flags;
        uint64_t iova, size;
    } message = {sizeof message, flags, iova, size};
    return request(client, DMA_UNMAP, &message, sizeof message);
}

struct irq_set {
    uint32_t argsz, flags, index, start, count;
    uint8_t data[64];
};
enum { IRQ_SET_HEAD = 20, DATA_NONE = 1, DATA_BOOL = 2, DATA_EVENTFD = 4, MASK = 8, UNMASK = 16, TRIGGER = 32 };
enum { INTX = 0, MSI = 1, MSIX = 2, ERR = 3, REQ = 4 };

static inline int set_irqs(struct client *client, uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
                           const int *fds, unsigned fd_count) {
    struct irq_set message = {IRQ_SET_HEAD, flags, index, start, count, {0}};
    return request_with_fds(client, SET_IRQS, &message, IRQ_SET_HEAD, fds, fd_count);
}

static inline unsigned open_files(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count;
}

// Is some of a file of this name mapped more often than the test itself has mapped it?
static inline unsigned mappings_of(const char *name) {
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) count += strstr(line, name) != NULL;
    if (maps) fclose(maps);
    return count;
}
