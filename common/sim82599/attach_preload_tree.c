// attach_preload_tree.c: the machine's /sys and /dev/vfio, as real files.
//
// A program that looks for its device reads sysfs in every way there is: fopen, opendir, readlink, openat relative to
// a directory. Most of these reach the kernel by paths inside the C library that nobody can stand in front of. So
// there is a real directory tree, made when a program first asks for such a path, and all that is left to do is to
// put its name in front of the path. What the links in it say is relative, and thus true in both places.
//
// The tree belongs to one process and goes when that ends. What a killed one left behind is swept away by the next;
// a lock on a file in it shows that somebody lives there, even in another container with other process numbers.

#include "attach_preload.h"
#include "attach_preload_real.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { FIRST_GROUP = 14 };

static char root[PATH_MAX - 256];  // empty: there is no tree
static pid_t creator;

unsigned tree_group(unsigned port) { return FIRST_GROUP + port; }

// Where the devices really are in a sysfs: behind a port of the root complex each.
static const char *const device_directories[PORTS] = {"/sys/devices/pci0000:00/0000:00:1c.0/0000:04:00.0",
                                                      "/sys/devices/pci0000:00/0000:00:1d.0/0000:05:00.0"};

// ---- Which paths are the machine's ----

static const char *const prefixes[] = {
    "/dev/vfio",
    "/sys/bus/pci",
    "/sys/class/iommu",
    "/sys/class/vfio",
    "/sys/devices/pci0000:00/0000:00:1c.0",
    "/sys/devices/pci0000:00/0000:00:1d.0",
    "/sys/kernel/iommu_groups",
    "/sys/module/vfio",
    "/sys/module/vfio_iommu_type1",
    "/sys/module/vfio_pci",
};

static bool is_ours(const char *path) {
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(path, prefixes[i], length) == 0 && (path[length] == '/' || path[length] == '\0')) return true;
    }
    return false;
}

// "//" and "/./" mean nothing in a path; programs that glue paths together leave them behind.
static bool simplify(const char *path, char *out, size_t space) {
    size_t length = 0;
    while (*path) {
        if (path[0] == '/' && (path[1] == '/' || (path[1] == '.' && (path[2] == '/' || path[2] == '\0')))) {
            path += path[1] == '/' ? 1 : 2;
            continue;
        }
        if (length + 1 >= space) return false;
        out[length++] = *path++;
    }
    out[length] = '\0';
    return true;
}

static bool may_be_ours(const char *path) {
    return path && path[0] == '/' && (path[1] == 's' || path[1] == 'd' || path[1] == '/' || path[1] == '.');
}

bool tree_is_device_node(const char *path) {
    static const char directory[] = "/dev/vfio/";
    char simple[PATH_MAX];
    return may_be_ours(path) && simplify(path, simple, sizeof simple) &&
           strncmp(simple, directory, sizeof directory - 1) == 0;
}

const char *tree_strip(const char *real_path) {
    size_t length = strlen(root);
    bool inside = length && strncmp(real_path, root, length) == 0 && real_path[length] == '/';
    return inside ? real_path + length : real_path;
}

// ---- Making it ----

static int make_directories(const char *path) {
    char full[PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    for (int i = (int)strlen(root) + 1; i <= length; i++) {
        if (full[i] != '/' && full[i] != '\0') continue;
        char saved = full[i];
        full[i] = '\0';
        if (mkdir(full, 0755) < 0 && errno != EEXIST) return -errno;
        full[i] = saved;
    }
    return 0;
}

static int make_file(const char *directory, const char *name, const void *data, size_t size) {
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s/%s", root, directory, name);
    int fd = real.openat(AT_FDCWD, full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return -errno;
    ssize_t written = real.write(fd, data, size);
    int error = written < 0 ? -errno : written < (ssize_t)size ? -ENOSPC : 0;
    real.close(fd);
    return error;
}

static int make_text(const char *directory, const char *name, const char *text) {
    return make_file(directory, name, text, strlen(text));
}

static int make_link(const char *directory, const char *name, const char *target) {
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s/%s", root, directory, name);
    return symlink(target, full) < 0 && errno != EEXIST ? -errno : 0;
}

static uint32_t little_endian(const uint8_t *bytes, unsigned width) {
    uint32_t value = 0;
    for (unsigned i = 0; i < width; i++) value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

// What sysfs prints of configuration space.
static const struct attribute {
    const char *name, *format;
    unsigned offset, width;
} attributes[] = {
    {"vendor", "0x%04x\n", PCI_VENDOR_ID, 2},
    {"device", "0x%04x\n", PCI_DEVICE_ID, 2},
    {"class", "0x%06x\n", PCI_CLASS_REVISION + 1, 3},
    {"revision", "0x%02x\n", PCI_CLASS_REVISION, 1},
    {"subsystem_vendor", "0x%04x\n", PCI_SUBSYSTEM_VENDOR_ID, 2},
    {"subsystem_device", "0x%04x\n", PCI_SUBSYSTEM_ID, 2},
};

static const struct {
    const char *name, *text;
} constants[] = {
    {"current_link_speed", "5.0 GT/s PCIe\n"},
    {"current_link_width", "8\n"},
    {"driver_override", "vfio-pci\n"},
    {"enable", "1\n"},
    {"irq", "0\n"},
    {"local_cpulist", "0\n"},
    {"max_link_speed", "5.0 GT/s PCIe\n"},
    {"max_link_width", "8\n"},
    {"max_vfs", "0\n"},
    {"msi_bus", "1\n"},
    {"numa_node", "-1\n"},
    {"reset", ""},
    {"sriov_numvfs", "0\n"},
    {"sriov_totalvfs", "0\n"},
};

// Start, end and the kernel's resource flags of BARs 0 to 5 and the ROM, and of a bridge's windows.
static int make_resource(const struct port *port, const char *directory) {
    char text[1024];
    size_t length = 0;
    for (unsigned i = 0; i < 13; i++) {
        const struct bar *bar = i < BARS && port->bars[i].size ? &port->bars[i] : NULL;
        unsigned flags = !bar ? 0 : bar->io ? 0x40101 : bar->is_64bit ? 0x140204 : 0x40200;
        length += (size_t)snprintf(text + length, sizeof text - length, "0x%016llx 0x%016llx 0x%016x\n",
                                   bar ? (unsigned long long)bar->address : 0,
                                   bar ? (unsigned long long)(bar->address + bar->size - 1) : 0, flags);
    }
    return make_file(directory, "resource", text, length);
}

static int make_attributes(const char *directory, const uint8_t *config) {
    char text[32];
    int error = make_file(directory, "config", config, CONFIG_SIZE);
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && !error; i++) {
        const struct attribute *a = &attributes[i];
        snprintf(text, sizeof text, a->format, little_endian(config + a->offset, a->width));
        error = make_text(directory, a->name, text);
    }
    for (size_t i = 0; i < sizeof constants / sizeof *constants && !error; i++)
        error = make_text(directory, constants[i].name, constants[i].text);
    return error;
}

static int make_uevent(const char *directory, const uint8_t *config, const char *address) {
    char text[256];
    snprintf(text, sizeof text,
             "DRIVER=vfio-pci\nPCI_CLASS=%X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\nPCI_SLOT_NAME=%s\n",
             little_endian(config + PCI_CLASS_REVISION + 1, 3), little_endian(config + PCI_VENDOR_ID, 2),
             little_endian(config + PCI_DEVICE_ID, 2), little_endian(config + PCI_SUBSYSTEM_VENDOR_ID, 2),
             little_endian(config + PCI_SUBSYSTEM_ID, 2), address);
    return make_text(directory, "uevent", text);
}

static int make_links(unsigned number, const char *directory) {
    const char *address = host_address(number);
    char to_device[128], group[96], name[16], text[16];
    snprintf(to_device, sizeof to_device, "../../../../%s", directory + strlen("/sys/"));
    snprintf(group, sizeof group, "../../../../kernel/iommu_groups/%u", tree_group(number));
    int error = make_link(directory, "iommu_group", group);
    if (!error) error = make_link(directory, "driver", "../../../../bus/pci/drivers/vfio-pci");
    if (!error) error = make_link(directory, "subsystem", "../../../../bus/pci");
    if (!error) error = make_link("/sys/bus/pci/devices", address, to_device + 3);
    if (!error) error = make_link("/sys/bus/pci/drivers/vfio-pci", address, to_device);
    snprintf(group, sizeof group, "/sys/kernel/iommu_groups/%u/devices", tree_group(number));
    if (!error) error = make_directories(group);
    if (!error) error = make_link(group, address, to_device);
    *strrchr(group, '/') = '\0';
    if (!error) error = make_text(group, "type", "DMA-FQ\n");
    if (!error) error = make_text(group, "reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
    snprintf(name, sizeof name, "%u", number + 1);
    snprintf(group, sizeof group, "/sys/bus/pci/slots/%s", name);
    snprintf(text, sizeof text, "%.10s\n", address);
    if (!error) error = make_directories(group);
    if (!error) error = make_text(group, "address", text);
    snprintf(name, sizeof name, "%u", tree_group(number));
    return error ? error : make_text("/dev/vfio", name, "");
}

static int make_device(unsigned number) {
    const uint8_t *config = host_port(number)->config_at_boot;
    const char *directory = device_directories[number];
    int error = make_directories(directory);
    if (!error) error = make_attributes(directory, config);
    if (!error) error = make_uevent(directory, config, host_address(number));
    if (!error) error = make_resource(host_port(number), directory);
    return error ? error : make_links(number, directory);
}

static int make_content(void) {
    static const char *const directories[] = {
        "/sys/bus/pci/devices",
        "/sys/bus/pci/drivers/vfio-pci",
        "/sys/bus/pci/slots",
        "/sys/kernel/iommu_groups",
        "/sys/class/iommu/dmar0",
        "/sys/class/vfio",
        "/sys/module/vfio/parameters",
        "/sys/module/vfio_pci",
        "/sys/module/vfio_iommu_type1/parameters",
        "/dev/vfio",
    };
    int error = 0;
    for (size_t i = 0; i < sizeof directories / sizeof *directories && !error; i++)
        error = make_directories(directories[i]);
    if (!error) error = make_text("/dev/vfio", "vfio", "");
    if (!error) error = make_text("/sys/module/vfio/parameters", "enable_unsafe_noiommu_mode", "N\n");
    if (!error) error = make_text("/sys/module/vfio_iommu_type1/parameters", "dma_entry_limit", "65535\n");
    if (!error) error = make_text("/sys/bus/pci/drivers/vfio-pci", "bind", "");
    if (!error) error = make_text("/sys/bus/pci/drivers/vfio-pci", "unbind", "");
    if (!error) error = make_text("/sys/bus/pci/drivers/vfio-pci", "new_id", "");
    for (unsigned i = 0; i < PORTS && !error; i++) error = make_device(i);
    return error;
}

// ---- Removing it, and what others have left ----

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static void remove_tree(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

void tree_remove(void) {
    if (*root && creator == getpid()) remove_tree(root);
}

static const char *parent(void) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    return runtime && runtime[0] == '/' && real.access(runtime, W_OK) == 0 ? runtime : "/tmp";
}

static bool is_inhabited(const char *path) {
    char lock[PATH_MAX];
    if (snprintf(lock, sizeof lock, "%s/lock", path) >= (int)sizeof lock) return true;
    int fd = real.openat(AT_FDCWD, lock, O_RDWR | O_CLOEXEC);
    bool inhabited = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
    if (fd >= 0) real.close(fd);
    return inhabited;
}

static void sweep(void) {
    char prefix[40];
    int length = snprintf(prefix, sizeof prefix, "sim82599-%u-", (unsigned)getuid());
    DIR *directory = real.opendir(parent());
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[PATH_MAX];
        if (strncmp(entry->d_name, prefix, (size_t)length) != 0) continue;
        pid_t pid = (pid_t)strtol(entry->d_name + length, NULL, 10);
        if (pid <= 0 || (pid != getpid() && (kill(pid, 0) == 0 || errno != ESRCH))) continue;
        if (snprintf(path, sizeof path, "%s/%s", parent(), entry->d_name) >= (int)sizeof path) continue;
        if (!is_inhabited(path)) remove_tree(path);
    }
    closedir(directory);
}

static int inhabit(void) {
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s/lock", root);
    int fd = real.openat(AT_FDCWD, full, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int high = fd < 0 ? -1 : real.fcntl(fd, F_DUPFD_CLOEXEC, 600);
    if (high >= 0) real.close(fd);
    return fd < 0 || flock(high >= 0 ? high : fd, LOCK_SH | LOCK_NB) < 0 ? -errno : 0;
}

static int build(void) {
    sweep();
    snprintf(root, sizeof root, "%s/sim82599-%u-%d-XXXXXX", parent(), (unsigned)getuid(), (int)getpid());
    if (!mkdtemp(root)) {
        int error = -errno;
        fprintf(stderr, "sim82599: cannot make a directory in %s, where the machine's /sys would be: %s\n", parent(),
                strerror(-error));
        root[0] = '\0';
        return error;
    }
    creator = getpid();
    int error = inhabit();
    if (!error) error = make_content();
    if (error) fprintf(stderr, "sim82599: cannot fill %s: %s\n", root, strerror(-error));
    return error;
}

// A fork needs a tree of its own: this one goes with the process that made it.
static bool ready(void) {
    static pid_t tried_by;
    static bool there;
    if (host_power_on() != 0) return false;
    host_lock();
    if (tried_by != getpid()) {
        tried_by = getpid();
        there = build() == 0;
    }
    host_unlock();
    return there;
}

const char *tree_path(const char *path, char *buffer) {
    char simple[PATH_MAX];
    if (!may_be_ours(path) || host_is_mine() || !simplify(path, simple, sizeof simple) || !is_ours(simple))
        return path;
    // Never the real path: whoever asks for the software machine must not get at the real one because a fault's name
    // was misspelt, say.
    if (!ready()) exit(1);
    if (snprintf(buffer, PATH_MAX, "%s%s", root, simple) >= PATH_MAX) buffer[0] = '\0';  // nothing has such a name
    return buffer;
}
