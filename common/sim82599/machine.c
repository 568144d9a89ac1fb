// The machine's shared file, and the locks that give each port one owner.
//
// A port is claimed by a record lock on one byte of the file. The kernel drops such a lock when its process ends, in
// whatever way, so nothing has to be cleaned up after a kill -9 but the flags, see machine_forget_dead. A record lock
// belongs to the process and not to the file descriptor: a fork'd child does not inherit it, keeps no port busy that
// its parent has let go, and may claim a port of its own. The price is that closing *any* descriptor of the file
// drops the locks, so exactly one is open here, and all claims of the process share it.
//
// Whoever releases the last claim removes the file. Another process may have opened it just before, so a claimer
// looks after locking whether the file still has a name, and starts again if not.
#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire.h"
#include "wire_kinds.h"

struct machine {
    struct machine_port ports[MACHINE_PORTS];
};

struct sim_device *machine_claims[MACHINE_PORTS];

static char path[128];
static int file = -1;
static struct machine *machine;

static bool any_claim_here(void) {
    for (unsigned port = 0; port < MACHINE_PORTS; port++)
        if (machine_claims[port]) return true;
    return false;
}

static void leave_machine(void) {
    if (machine) munmap(machine, sizeof *machine);
    if (file >= 0) close(file);
    machine = NULL;
    file = -1;
}

// The child of a fork owns nothing, and must not read from rings whose reader is its parent.
static void leave_machine_after_fork(void) {
    memset(machine_claims, 0, sizeof machine_claims);
    leave_machine();
}

static int name_machine(void) {
    const char *name = getenv("SIM82599_MACHINE");
    if (!name || !*name) name = "default";
    if (strlen(name) > 64 || strchr(name, '/')) {
        wire_complain("SIM82599_MACHINE is \"%s\"; a machine's name has at most 64 characters and no slash", name);
        return -EINVAL;
    }
    snprintf(path, sizeof path, "/dev/shm/sim82599-%u-%s", (unsigned)geteuid(), name);
    return 0;
}

// /dev/shm is everybody's: take only a plain file of our own, of the size that this version makes.
static int check_file(void) {
    struct stat status;
    if (fstat(file, &status) != 0) return -errno;
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid()) {
        wire_complain("%s is not a file of this user; use another name in SIM82599_MACHINE", path);
        return -EPERM;
    }
    if (status.st_size != 0 && status.st_size != (off_t)sizeof *machine) {
        wire_complain("%s was made by another version; remove it when no program uses it", path);
        return -EPROTO;
    }
    return 0;
}

// All of the file is allocated at once: a full /dev/shm is an error here, and not a SIGBUS at some frame later.
static int map_file(void) {
    int error = posix_fallocate(file, 0, sizeof *machine);
    if (error) {
        wire_complain("%s: no room for %zu KiB: %s", path, sizeof *machine / 1024, strerror(error));
        return -error;
    }
    void *memory = mmap(NULL, sizeof *machine, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        error = errno;
        wire_complain("%s: cannot map it: %s", path, strerror(error));
        return -error;
    }
    machine = memory;
    return 0;
}

static int enter_machine(void) {
    static bool fork_handler_set;
    if (!fork_handler_set) {
        int error = pthread_atfork(NULL, NULL, leave_machine_after_fork);
        if (error) return -error;
        fork_handler_set = true;
    }
    int error = name_machine();
    if (error) return error;
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        error = -errno;
        wire_complain("cannot open %s: %s; /dev/shm should be a tmpfs that all may write to", path, strerror(-error));
        return error == -EACCES ? -EIO : error;  // it has nothing to do with the rights to a device
    }
    error = check_file();
    if (!error) error = map_file();
    if (error) leave_machine();
    return error;
}

static struct flock record(short type, unsigned port, unsigned count) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = port, .l_len = count};
}

static int lock_port(unsigned port) {
    struct flock lock = record(F_WRLCK, port, 1);
    if (fcntl(file, F_SETLK, &lock) == 0) return 0;
    return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
}

static bool file_has_a_name(void) {
    struct stat status;
    return fstat(file, &status) == 0 && status.st_nlink > 0;
}

static void begin_ownership(unsigned port) {
    uint64_t claims = (atomic_load(&machine->ports[port].state) >> 32) + 1;
    atomic_store(&machine->ports[port].state, claims << 32);
}

int wire_claim_port(unsigned port, struct sim_device *device) {
    if (port >= MACHINE_PORTS) return -ENODEV;
    if (machine_claims[port]) return -EBUSY;
    for (;;) {
        bool first = !any_claim_here();
        int error = first ? enter_machine() : 0;
        if (error) return error;
        error = lock_port(port);
        if (error && first) leave_machine();
        if (error) return error;
        if (!first || file_has_a_name()) break;
        leave_machine();
    }
    begin_ownership(port);
    machine_claims[port] = device;
    return 0;
}

// Nobody can hold a claim while all of the file is locked by us.
static void remove_unused_file(void) {
    struct flock lock = record(F_WRLCK, 0, MACHINE_PORTS);
    if (fcntl(file, F_SETLK, &lock) == 0 && file_has_a_name()) unlink(path);
}

// A program that exits with a port still open. Its device may be running, so the memory stays where it is.
__attribute__((destructor)) static void remove_file_at_exit(void) {
    if (machine) remove_unused_file();
}

void wire_release_port(unsigned port) {
    if (port >= MACHINE_PORTS || !machine_claims[port]) return;
    machine_publish(port, 0);
    machine_claims[port] = NULL;
    if (any_claim_here()) {
        struct flock unlock = record(F_UNLCK, port, 1);
        fcntl(file, F_SETLK, &unlock);
    } else {
        remove_unused_file();
        leave_machine();
    }
}

struct machine_port *machine_port(unsigned port) {
    return machine ? &machine->ports[port] : NULL;
}

void machine_publish(unsigned port, uint32_t flags) {
    if (!machine_claims[port]) return;
    uint64_t before = atomic_load_explicit(&machine->ports[port].state, memory_order_relaxed);
    if ((uint32_t)before == flags) return;
    atomic_store(&machine->ports[port].state, (before & ~(uint64_t)UINT32_MAX) | flags);
}

uint32_t machine_flags(unsigned port) { return machine ? (uint32_t)atomic_load(&machine->ports[port].state) : 0; }

void machine_forget_dead(unsigned port) {
    if (!machine || machine_claims[port]) return;
    uint64_t seen = atomic_load(&machine->ports[port].state);
    struct flock lock = record(F_WRLCK, port, 1);
    if ((uint32_t)seen == 0 || fcntl(file, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK) return;
    // If somebody has claimed the port since, the state is no longer the dead owner's, and stays.
    atomic_compare_exchange_strong(&machine->ports[port].state, &seen, seen & ~(uint64_t)UINT32_MAX);
}
