// attach_vfio_user.h: a port behind a UNIX socket, where a virtual machine monitor finds it.
//
// The monitor (QEMU's device vfio-user-pci) is the client, we are the server, and vfio-user is what they talk: the
// calls of VFIO as messages. One client at a time; the next one waits until it has gone. With each client the device
// begins as after power-on.
//
// Nothing here waits or locks. The caller has an event loop, and calls from one thread.
#pragma once

#include <poll.h>
#include <stdbool.h>

struct sim_device;
struct vfio_user;

// A device for `port`, listening at `path`. A socket that a dead server has left there is replaced. 0, or a negative
// errno after saying what is wrong.
int vfio_user_open(unsigned port, const char *path, struct vfio_user **server);
void vfio_user_close(struct vfio_user *server);  // drops the client and removes the socket
struct sim_device *vfio_user_device(const struct vfio_user *server);

// What to wait for. `serve` then does what there is to do, within reason, and says whether that was anything.
struct pollfd vfio_user_poll(const struct vfio_user *server);
bool vfio_user_serve(struct vfio_user *server);
