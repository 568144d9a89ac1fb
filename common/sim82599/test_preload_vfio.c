// test_preload_vfio.c: sysfs and VFIO answer as the kernel does, call for call and error for error.

#include "test_foreign.h"

#include <dirent.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define DEVICE_DIRECTORY "/sys/bus/pci/devices/0000:04:00.0"

// ---- sysfs ----

static void read_text(const char *path, char text[256]) {
    FILE *file = fopen(path, "r");
    text[0] = '\0';
    if (!CHECK(file != NULL)) return;
    CHECK(fgets(text, 256, file) != NULL);
    fclose(file);
}

static int no_dots(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void attributes_tell_an_82599(void) {
    char text[256];
    read_text(DEVICE_DIRECTORY "/vendor", text);
    CHECK_EQ(strtoul(text, NULL, 16), 0x8086);
    read_text(DEVICE_DIRECTORY "/device", text);
    CHECK_EQ(strtoul(text, NULL, 16), 0x10fb);
    read_text(DEVICE_DIRECTORY "/class", text);
    CHECK_EQ(strtoul(text, NULL, 16), 0x020000);
    read_text("//sys/bus/./pci//devices/0000:05:00.0/numa_node", text);
    CHECK_EQ(atoi(text), -1);
    unsigned long long start, end, flags;
    read_text(DEVICE_DIRECTORY "/resource", text);
    CHECK_EQ(sscanf(text, "%llx %llx %llx", &start, &end, &flags), 3);
    CHECK_EQ(end - start + 1, 0x20000);
    CHECK(fopen(DEVICE_DIRECTORY "/nonsense", "r") == NULL && errno == ENOENT);
    CHECK(fopen("/sys/bus/pci/devices/0000:06:00.0/vendor", "r") == NULL && errno == ENOENT);
}

static void config_file_holds_config_space(void) {
    uint16_t ids[2] = {0};
    int fd = open(DEVICE_DIRECTORY "/config", O_RDONLY);
    CHECK_EQ(pread(fd, ids, sizeof ids, 0), sizeof ids);
    CHECK_EQ(ids[0], 0x8086);
    CHECK_EQ(ids[1], 0x10fb);
    close(fd);
}

static void links_lead_where_they_should(void) {
    char target[PATH_MAX] = "", resolved[PATH_MAX] = "";
    CHECK(readlink(DEVICE_DIRECTORY "/driver", target, sizeof target - 1) > 0);
    CHECK(strcmp(strrchr(target, '/'), "/vfio-pci") == 0);
    CHECK(realpath(DEVICE_DIRECTORY "/driver", resolved) == resolved);
    CHECK(strcmp(resolved, "/sys/bus/pci/drivers/vfio-pci") == 0);
    char *own = realpath("/sys/bus/pci/devices/0000:05:00.0", NULL);
    CHECK(own && strncmp(own, "/sys/devices/pci0000:00/", 24) == 0);
    struct stat status;
    CHECK(own && stat(own, &status) == 0 && S_ISDIR(status.st_mode));
    free(own);
    snprintf(resolved, sizeof resolved, "/sys/kernel/iommu_groups/%d/devices/0000:04:00.0", nic_group_number(0));
    CHECK_EQ(access(resolved, F_OK), 0);
    CHECK(nic_group_number(0) != nic_group_number(1));
}

static void directories_can_be_walked(void) {
    struct stat status;
    CHECK_EQ(lstat(DEVICE_DIRECTORY "/iommu_group", &status), 0);
    CHECK(S_ISLNK(status.st_mode));
    CHECK_EQ(stat(DEVICE_DIRECTORY "/iommu_group", &status), 0);
    CHECK(S_ISDIR(status.st_mode));
    struct dirent **names = NULL;
    int found = scandir("/sys/bus/pci/devices", &names, no_dots, alphasort);
    CHECK_EQ(found, 2);
    while (found > 0) free(names[--found]);
    free(names);
    DIR *directory = opendir("/sys/bus/pci/devices");
    CHECK(directory != NULL);
    int entries = 0, fd = dirfd(directory);
    while (readdir(directory)) entries++;
    CHECK_EQ(entries, 4);
    int vendor = openat(fd, "0000:05:00.0/vendor", O_RDONLY);
    char text[8] = "";
    CHECK_EQ(read(vendor, text, 7), 7);
    CHECK(strcmp(text, "0x8086\n") == 0);
    CHECK_EQ(faccessat(fd, "0000:04:00.0/vendor", R_OK, 0), 0);
    close(vendor);
    closedir(directory);
}

static void device_nodes_are_device_nodes(void) {
    struct stat status;
    CHECK_EQ(stat("/dev/vfio/vfio", &status), 0);
    CHECK(S_ISCHR(status.st_mode));
    CHECK_FAILS(open("/dev/vfio/99", O_RDWR), ENOENT);
    CHECK_EQ(access("/dev/vfio/vfio", R_OK | W_OK), 0);
}

static void sysfs(void) {
    attributes_tell_an_82599();
    config_file_holds_config_space();
    links_lead_where_they_should();
    directories_can_be_walked();
    device_nodes_are_device_nodes();
}

// ---- Container, group, device: what needs what ----

static void order(void) {
    int container = open("/dev/vfio/vfio", O_RDWR);
    CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
    CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
    CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
    CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL), 1);
    CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU), 0);
    CHECK_FAILS(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), EINVAL);  // no group yet
    struct vfio_iommu_type1_info info = {.argsz = sizeof info};
    CHECK_FAILS(ioctl(container, VFIO_IOMMU_GET_INFO, &info), EINVAL);

    int group = nic_open_group(0);
    CHECK_FAILS(nic_open_group(0), EBUSY);
    struct vfio_group_status status = {.argsz = sizeof status};
    CHECK_EQ(ioctl(group, VFIO_GROUP_GET_STATUS, &status), 0);
    CHECK_EQ(status.flags, VFIO_GROUP_FLAGS_VIABLE);
    status.argsz = 4;
    CHECK_FAILS(ioctl(group, VFIO_GROUP_GET_STATUS, &status), EINVAL);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_GET_STATUS, NULL), EFAULT);
    CHECK_FAILS(ioctl(group, VFIO_DEVICE_GET_INFO, &info), ENOTTY);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:04:00.0"), EINVAL);  // no container
    CHECK_FAILS(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), EINVAL);
    int wrong = -1;
    CHECK_FAILS(ioctl(group, VFIO_GROUP_SET_CONTAINER, &wrong), EBADF);
    wrong = STDIN_FILENO;
    CHECK_FAILS(ioctl(group, VFIO_GROUP_SET_CONTAINER, &wrong), EBADFD);
    CHECK_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), EINVAL);
    status.argsz = sizeof status;
    CHECK_EQ(ioctl(group, VFIO_GROUP_GET_STATUS, &status), 0);
    CHECK_EQ(status.flags, VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:04:00.0"), EINVAL);  // no IOMMU
    CHECK_FAILS(ioctl(container, VFIO_SET_IOMMU, 77), ENODEV);
    CHECK_EQ(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
    CHECK_FAILS(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), EINVAL);
    CHECK_FAILS(ioctl(container, VFIO_DEVICE_RESET), ENOTTY);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:05:00.0"), ENODEV);  // that is in the other group

    int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:04:00.0");
    CHECK(device >= 0);
    CHECK(fcntl(device, F_GETFD) & FD_CLOEXEC);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
    CHECK_EQ(ioctl(device, VFIO_DEVICE_RESET), 0);
    CHECK_FAILS(ioctl(device, VFIO_GROUP_GET_STATUS, &status), ENOTTY);
    close(device);
    CHECK_EQ(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), 0);
    CHECK_FAILS(ioctl(container, VFIO_IOMMU_GET_INFO, &info), EINVAL);  // with the last group goes the IOMMU
    close(group);
    group = nic_open_group(0);
    CHECK(group >= 0);
    close(group);
    close(container);
}

// Each holds what it stands on, and a second descriptor counts.
static void lifetimes(void) {
    struct nic nic = nic_open(0, -1);
    int copy = dup(nic.device), high = fcntl(nic.device, F_DUPFD_CLOEXEC, 100), third = dup2(nic.device, 77);
    CHECK(copy >= 0 && high >= 100 && third == 77);
    close(nic.container);
    close(nic.group);
    close(nic.device);
    CHECK_FAILS(nic_open_group(0), EBUSY);  // the device's copies still hold it
    uint16_t vendor = 0;
    CHECK_EQ(pread(copy, &vendor, 2, region_offset(CONFIG)), 2);
    CHECK_EQ(vendor, 0x8086);
    CHECK_EQ(nic_read(&nic, 0x08) >> 2 & 3, 0);  // the mapping does not need the descriptor
    close(copy);
    close(high);
    int null = open("/dev/null", O_RDWR);
    CHECK_EQ(dup2(null, 77), 77);  // closes the last one
    CHECK_EQ(pread(77, &vendor, 2, region_offset(CONFIG)), 0);
    int group = nic_open_group(0);
    CHECK(group >= 0);
    close(group);
    CHECK_FAILS(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), EBADF);
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    group = nic_open_group(0);
    CHECK_EQ(dup2(group, 200), 200);
    close(group);
    closefrom(200);
    CHECK_EQ(fcntl(null, F_DUPFD, 200), 200);  // the number is another file's now
    CHECK_EQ(read(200, &vendor, 2), 0);
    group = nic_open_group(0);  // it is free again
    CHECK(group >= 0);
    close(group);
#endif
#endif
}

// ---- What a device says of itself ----

static struct vfio_region_info region(const struct nic *nic, uint32_t index) {
    struct vfio_region_info info = {.argsz = sizeof info, .index = index};
    CHECK_EQ(ioctl(nic->device, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
    return info;
}

static void information(void) {
    enum { READ_WRITE = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE };
    struct nic nic = nic_open(0, -1);
    struct vfio_device_info device = {.argsz = 16};
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_GET_INFO, &device), 0);
    CHECK_EQ(device.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
    CHECK_EQ(device.num_regions, 9);
    CHECK_EQ(device.num_irqs, 5);
    device.argsz = 15;
    CHECK_FAILS(ioctl(nic.device, VFIO_DEVICE_GET_INFO, &device), EINVAL);
    CHECK_FAILS(ioctl(nic.device, VFIO_DEVICE_GET_INFO, (void *)16), EFAULT);

    struct vfio_region_info info = region(&nic, BAR0);
    CHECK_EQ(info.size, 0x20000);
    CHECK_EQ(info.flags, READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP);
    CHECK_EQ(info.offset, 0);
    CHECK_EQ(region(&nic, 1).size, 0);
    CHECK_EQ(region(&nic, VFIO_PCI_ROM_REGION_INDEX).size, 0);
    info = region(&nic, CONFIG);
    CHECK_EQ(info.size, 4096);
    CHECK_EQ(info.flags, READ_WRITE);
    CHECK_EQ(info.offset, (uint64_t)7 << 40);
    info = (struct vfio_region_info){.argsz = sizeof info, .index = VFIO_PCI_VGA_REGION_INDEX};
    CHECK_FAILS(ioctl(nic.device, VFIO_DEVICE_GET_REGION_INFO, &info), EINVAL);

    struct {
        struct vfio_region_info info;
        struct vfio_info_cap_header capability;
    } msix = {.info = {.argsz = sizeof msix.info, .index = MSIX_BAR}};
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_GET_REGION_INFO, &msix), 0);
    CHECK_EQ(msix.info.flags, READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS);
    CHECK_EQ(msix.info.argsz, sizeof msix);  // so much would be needed
    CHECK_EQ(msix.info.cap_offset, 0);
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_GET_REGION_INFO, &msix), 0);
    CHECK_EQ(msix.info.cap_offset, sizeof msix.info);
    CHECK_EQ(msix.capability.id, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
    CHECK_EQ(msix.capability.next, 0);

    static const struct {
        uint32_t count, flags;
    } interrupts[] = {{1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED},
                      {1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE},
                      {64, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE},
                      {1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE},
                      {1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE}};
    for (uint32_t i = 0; i < 5; i++) {
        struct vfio_irq_info irq = {.argsz = sizeof irq, .index = i};
        CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_GET_IRQ_INFO, &irq), 0);
        CHECK_EQ(irq.count, interrupts[i].count);
        CHECK_EQ(irq.flags, interrupts[i].flags);
    }
    struct vfio_irq_info irq = {.argsz = sizeof irq, .index = 5};
    CHECK_FAILS(ioctl(nic.device, VFIO_DEVICE_GET_IRQ_INFO, &irq), EINVAL);
    CHECK_FAILS(ioctl(nic.device, VFIO_DEVICE_SET_IRQS, NULL), EFAULT);
}

static void config_space(void) {
    enum { COMMAND = 4, BUS_MASTER = 4, BAR = 0x10, MSIX_CAPABILITY = 0x11, PCIE_CONTROL = 0xa8, FCTRL = 0x5080 };
    struct nic nic = nic_open(0, -1);
    uint32_t ids = 0;
    CHECK_EQ(pread(nic.device, &ids, 4, region_offset(CONFIG)), 4);
    CHECK_EQ(ids, 0x10fb8086);
    uint16_t command = 0;
    CHECK_EQ(pread(nic.device, &command, 2, region_offset(CONFIG) + COMMAND), 2);
    CHECK_EQ(command & 6, 2);  // memory is on, bus mastering is the driver's
    command |= BUS_MASTER;
    CHECK_EQ(pwrite(nic.device, &command, 2, region_offset(CONFIG) + COMMAND), 2);
    uint8_t low = 0;
    CHECK_EQ(pread(nic.device, &low, 1, region_offset(CONFIG) + COMMAND), 1);
    CHECK(low & BUS_MASTER);
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_RESET), 0);  // which the kernel restores configuration space after
    CHECK_EQ(pread(nic.device, &low, 1, region_offset(CONFIG) + COMMAND), 1);
    CHECK(low & BUS_MASTER);

    uint32_t bar = UINT32_MAX;
    CHECK_EQ(pwrite(nic.device, &bar, 4, region_offset(CONFIG) + BAR), 4);
    CHECK_EQ(pread(nic.device, &bar, 4, region_offset(CONFIG) + BAR), 4);
    CHECK_EQ(bar & ~0xfu, 0xfffe0000);

    uint8_t at = 0, capability[4] = {0};
    for (CHECK_EQ(pread(nic.device, &at, 1, region_offset(CONFIG) + 0x34), 1); at; at = capability[1]) {
        CHECK_EQ(pread(nic.device, capability, 4, region_offset(CONFIG) + at), 4);
        if (capability[0] == MSIX_CAPABILITY) break;
    }
    CHECK(at != 0);
    uint8_t enable = 0x80;
    CHECK_EQ(pwrite(nic.device, &enable, 1, region_offset(CONFIG) + at + 3), 1);
    CHECK_EQ(pread(nic.device, capability, 4, region_offset(CONFIG) + at), 4);
    CHECK_EQ(capability[3] & 0x80, 0);  // that is the kernel's
    int event = eventfd(0, 0);
    CHECK_EQ(nic_set_trigger(&nic, VFIO_PCI_MSIX_IRQ_INDEX, 0, event), 0);
    CHECK_EQ(pread(nic.device, capability, 4, region_offset(CONFIG) + at), 4);
    CHECK_EQ(capability[3] & 0x80, 0x80);

    // A function-level reset the kernel does itself, and restores what it has set up.
    uint16_t control = 0x8000;
    nic_write(&nic, FCTRL, 0x200);
    CHECK_EQ(pwrite(nic.device, &control, 2, region_offset(CONFIG) + PCIE_CONTROL), 2);
    CHECK_EQ(nic_read(&nic, FCTRL), 0);
    CHECK_EQ(pread(nic.device, &control, 2, region_offset(CONFIG) + PCIE_CONTROL), 2);
    CHECK_EQ(control & 0x8000, 0);
    CHECK_EQ(pread(nic.device, &command, 2, region_offset(CONFIG) + COMMAND), 2);
    CHECK_EQ(command & 6, 6);
    CHECK_EQ(pread(nic.device, &bar, 4, region_offset(CONFIG) + BAR), 4);
    CHECK_EQ(bar & ~0xfu, 0xf7c00000);
    CHECK_EQ(pread(nic.device, capability, 4, region_offset(CONFIG) + at), 4);
    CHECK_EQ(capability[3] & 0x80, 0x80);

    CHECK_FAILS(pread(nic.device, &ids, 4, region_offset(CONFIG) + 4094), EFAULT);
    CHECK_FAILS(pread(nic.device, &ids, 4, region_offset(VFIO_PCI_ROM_REGION_INDEX)), EINVAL);
    CHECK_FAILS(pread(nic.device, &ids, 4, region_offset(1)), EINVAL);
    void *volatile nowhere = (void *)16;
    CHECK_FAILS(pread(nic.device, nowhere, 4, region_offset(CONFIG)), EFAULT);
    uint16_t halves[2] = {0};
    struct iovec parts[] = {{&halves[0], 2}, {&halves[1], 2}};
    CHECK_EQ(preadv(nic.device, parts, 2, region_offset(CONFIG)), 4);
    CHECK(halves[0] == 0x8086 && halves[1] == 0x10fb);
}

static uint16_t pci_status(const struct nic *nic) {
    uint16_t status = 0;
    CHECK_EQ(pread(nic->device, &status, 2, region_offset(CONFIG) + 6), 2);
    return status;
}

// Nothing is mapped, so the first descriptor cannot be fetched. The kernel passes no write to the status register on;
// only a reset of the function clears what it says.
static void a_refused_read_stays_in_the_status(void) {
    enum { LINKS = 0x42a4, DMATXCTL = 0x4a80, TDLEN = 0x6008, TDT = 0x6018, TXDCTL = 0x6028, MASTER_ABORT = 0x2000 };
    struct nic nic = nic_open(0, -1);
    uint16_t command = 6;
    CHECK_EQ(pwrite(nic.device, &command, 2, region_offset(CONFIG) + 4), 2);
    for (int i = 0; i < 30000 && !(nic_read(&nic, LINKS) & 1 << 30); i++) usleep(1000);
    nic_write(&nic, DMATXCTL, 1);
    nic_write(&nic, TDLEN, 1024);
    nic_write(&nic, TXDCTL, 1 << 25);
    for (int i = 0; i < 30000 && !(nic_read(&nic, TXDCTL) & 1 << 25); i++) usleep(1000);
    CHECK_EQ(pci_status(&nic) & MASTER_ABORT, 0);
    nic_write(&nic, TDT, 1);
    for (int i = 0; i < 30000 && !(pci_status(&nic) & MASTER_ABORT); i++) usleep(1000);
    CHECK(pci_status(&nic) & MASTER_ABORT);
    uint16_t ones = 0xffff;
    CHECK_EQ(pwrite(nic.device, &ones, 2, region_offset(CONFIG) + 6), 2);
    CHECK(pci_status(&nic) & MASTER_ABORT);
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_RESET), 0);
    CHECK_EQ(pci_status(&nic) & MASTER_ABORT, 0);
}

// ---- Interrupts ----

struct irq_request {
    uint32_t argsz, flags, index, start, count;
    union {
        int32_t fds[64];
        uint8_t bools[64];
    } data;
};

static int set_irqs(const struct nic *nic, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
                    const void *data, size_t size) {
    struct irq_request request = {.flags = flags, .index = index, .start = start, .count = count};
    request.argsz = 20 + (uint32_t)size;
    if (size) memcpy(&request.data, data, size);
    return ioctl(nic->device, VFIO_DEVICE_SET_IRQS, &request) < 0 ? -errno : 0;
}

static uint64_t count_of(int event) {
    uint64_t count = 0;
    return read(event, &count, sizeof count) == sizeof count ? count : 0;
}

static void interrupts(void) {
    enum {
        NONE = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
        BOOL = VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER,
        EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        MSIX = VFIO_PCI_MSIX_IRQ_INDEX,
        MSI = VFIO_PCI_MSI_IRQ_INDEX,
        INTX = VFIO_PCI_INTX_IRQ_INDEX,
    };
    struct nic nic = nic_open(0, -1);
    int32_t fds[3];
    for (int i = 0; i < 3; i++) fds[i] = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(set_irqs(&nic, NONE, MSIX, 0, 1, NULL, 0), -EINVAL);  // nothing enabled
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 0, 65, fds, sizeof fds), -EINVAL);
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 64, 1, fds, sizeof fds), -EINVAL);
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 0, 3, fds, 8), -EINVAL);  // data for two only
    CHECK_EQ(set_irqs(&nic, EVENTFD | VFIO_IRQ_SET_DATA_BOOL, MSIX, 0, 3, fds, 12), -EINVAL);
    CHECK_EQ(set_irqs(&nic, EVENTFD, 5, 0, 1, fds, 4), -EINVAL);
    CHECK_EQ(set_irqs(&nic, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, MSIX, 0, 1, NULL, 0), -ENOTTY);
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 0, 1, &(int32_t){STDERR_FILENO}, 4), -EINVAL);  // not an eventfd
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 0, 1, &(int32_t){999}, 4), -EBADF);

    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 0, 3, fds, sizeof fds), 0);
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSI, 0, 1, fds, 4), -EINVAL);   // one kind at a time
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 3, 1, fds, 4), -EINVAL);  // NORESIZE
    CHECK_EQ(set_irqs(&nic, NONE, MSIX, 0, 3, NULL, 0), 0);
    for (int i = 0; i < 3; i++) CHECK_EQ(count_of(fds[i]), 1);
    CHECK_EQ(set_irqs(&nic, BOOL, MSIX, 0, 3, (uint8_t[]){1, 0, 1}, 3), 0);
    CHECK(count_of(fds[0]) == 1 && count_of(fds[1]) == 0 && count_of(fds[2]) == 1);
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSIX, 1, 1, &(int32_t){-1}, 4), 0);
    CHECK_EQ(set_irqs(&nic, NONE, MSIX, 0, 3, NULL, 0), 0);
    CHECK(count_of(fds[0]) == 1 && count_of(fds[1]) == 0 && count_of(fds[2]) == 1);
    int copy = dup(fds[0]);
    close(fds[0]);
    CHECK_EQ(set_irqs(&nic, NONE, MSIX, 0, 1, NULL, 0), 0);
    CHECK_EQ(count_of(copy), 1);                             // the kernel holds on to the eventfd, not to its number
    CHECK_EQ(set_irqs(&nic, NONE, MSIX, 0, 0, NULL, 0), 0);  // off
    CHECK_EQ(set_irqs(&nic, NONE, MSIX, 0, 1, NULL, 0), -EINVAL);

    CHECK_EQ(set_irqs(&nic, EVENTFD, MSI, 0, 2, fds, 8), -EINVAL);
    CHECK_EQ(set_irqs(&nic, EVENTFD, MSI, 0, 1, &fds[1], 4), 0);
    CHECK_EQ(set_irqs(&nic, NONE, MSI, 0, 1, NULL, 0), 0);
    CHECK_EQ(count_of(fds[1]), 1);
    CHECK_EQ(set_irqs(&nic, NONE, MSI, 0, 0, NULL, 0), 0);

    CHECK_EQ(set_irqs(&nic, EVENTFD, INTX, 0, 1, &fds[1], 4), 0);
    CHECK_EQ(set_irqs(&nic, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, INTX, 0, 1, NULL, 0), 0);
    CHECK_EQ(set_irqs(&nic, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, INTX, 0, 1, NULL, 0), 0);
    CHECK_EQ(set_irqs(&nic, NONE, INTX, 0, 0, NULL, 0), 0);
    CHECK_EQ(set_irqs(&nic, EVENTFD, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, &fds[1], 4), 0);
    CHECK_EQ(set_irqs(&nic, NONE, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, NULL, 0), 0);
    CHECK_EQ(count_of(fds[1]), 1);
    CHECK_EQ(set_irqs(&nic, EVENTFD, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, &(int32_t){STDERR_FILENO}, 4), -EINVAL);
    CHECK_EQ(set_irqs(&nic, BOOL, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, (uint8_t[]){1}, 1), 0);
    CHECK_EQ(count_of(fds[1]), 1);  // what was refused has changed nothing
    CHECK_EQ(set_irqs(&nic, NONE, VFIO_PCI_REQ_IRQ_INDEX, 0, 0, NULL, 0), 0);
    CHECK_EQ(set_irqs(&nic, NONE, VFIO_PCI_REQ_IRQ_INDEX, 0, 0, NULL, 0), -EINVAL);  // it is off
    CHECK_EQ(set_irqs(&nic, NONE, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, NULL, 0), -EINVAL);
    CHECK_EQ(set_irqs(&nic, BOOL, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, (uint8_t[]){1}, 1), 0);
}

// What has come before anybody could hear of it is heard as soon as somebody can.
static void a_pending_cause_is_not_lost(void) {
    enum { EICR = 0x00800, EICS = 0x00808, EIMS = 0x00880, GPIE = 0x00898, IVAR0 = 0x00900 };
    static const uint32_t kinds[] = {VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX};
    struct nic nic = nic_open(0, -1);
    nic_write(&nic, IVAR0, 0x80);
    nic_write(&nic, EIMS, 1);
    nic_write(&nic, EICS, 1);
    for (unsigned i = 0; i < 3; i++) {
        int event = eventfd(0, EFD_NONBLOCK);
        nic_write(&nic, GPIE, kinds[i] == VFIO_PCI_MSIX_IRQ_INDEX ? 0x80000010 : 0);
        CHECK_EQ(nic_set_trigger(&nic, kinds[i], 0, event), 0);
        CHECK_EQ(count_of(event), 1);
        CHECK_EQ(set_irqs(&nic, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, kinds[i], 0, 0, NULL, 0), 0);
        close(event);
    }
}

// Nobody hears an INTx that has no eventfd, so it stays unmasked until it has one.
static void intx_waits_for_its_eventfd(void) {
    enum { EICS = 0x00808, EIMS = 0x00880 };
    struct nic nic = nic_open(0, -1);
    int event = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(nic_set_trigger(&nic, VFIO_PCI_INTX_IRQ_INDEX, 0, -1), 0);
    nic_write(&nic, EIMS, 1 << 24);
    nic_write(&nic, EICS, 1 << 24);
    CHECK_EQ(nic_set_trigger(&nic, VFIO_PCI_INTX_IRQ_INDEX, 0, event), 0);
    CHECK_EQ(count_of(event), 1);
}

// ---- DMA mappings ----

static void iommu_says_what_it_can(const struct nic *nic) {
    struct {
        struct vfio_iommu_type1_info info;
        uint8_t capabilities[256];
    } answer = {.info = {.argsz = sizeof answer.info}};
    CHECK_EQ(ioctl(nic->container, VFIO_IOMMU_GET_INFO, &answer), 0);
    CHECK(answer.info.argsz > sizeof answer.info);  // so much would be needed
    CHECK_EQ(answer.info.cap_offset, 0);
    CHECK_EQ(answer.info.flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
    CHECK_EQ(answer.info.iova_pgsizes & 4096, 4096);
    CHECK_EQ(ioctl(nic->container, VFIO_IOMMU_GET_INFO, &answer), 0);
    unsigned ranges = 0, available = 0;
    for (uint32_t at = answer.info.cap_offset; at;) {
        const struct vfio_info_cap_header *header = (const void *)((const char *)&answer + at);
        if (header->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            const struct vfio_iommu_type1_info_cap_iova_range *range = (const void *)header;
            ranges = range->nr_iovas;
            CHECK_EQ(range->iova_ranges[0].start, 0);
            CHECK_EQ(range->iova_ranges[0].end, 0xfedfffff);
            CHECK_EQ(range->iova_ranges[1].start, 0xfef00000);
        } else if (header->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
            available = ((const struct vfio_iommu_type1_info_dma_avail *)header)->avail;
        }
        at = header->next;
    }
    CHECK_EQ(ranges, 2);
    CHECK_EQ(available, 65535);
}

static void dma(void) {
    struct nic nic = nic_open(0, -1);
    iommu_says_what_it_can(&nic);
    char *memory = new_pages(0x10000), *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x10000, 0x4000), 0);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x10000, 0x4000), -EEXIST);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x13000, 0x4000), -EEXIST);
    CHECK_EQ(nic_map_dma(&nic, memory, 0xf000, 0x2000), -EEXIST);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x20800, 0x1000), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, memory + 8, 0x20000, 0x1000), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x20000, 0x800), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x20000, 0), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, memory, UINT64_MAX - 4095, 0x2000), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, memory, 0xfee00000, 0x1000), -EINVAL);  // where interrupt messages go
    CHECK_EQ(nic_map_dma(&nic, memory, 0xfedff000, 0x2000), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, memory, 0xfedff000, 0x1000), 0);
    CHECK_EQ(nic_map_dma(&nic, memory, UINT64_C(1) << 48, 0x1000), -EINVAL);
    CHECK_EQ(nic_map_dma(&nic, (void *)0x10000, 0x20000, 0x1000), -EFAULT);
    CHECK_EQ(nic_map_dma(&nic, read_only, 0x20000, 0x1000), -EFAULT);
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof map,
                                           .flags = VFIO_DMA_MAP_FLAG_READ,
                                           .vaddr = (uintptr_t)read_only,
                                           .iova = 0x20000,
                                           .size = 4096};
    CHECK_EQ(ioctl(nic.container, VFIO_IOMMU_MAP_DMA, &map), 0);
    map.iova = 0x30000;
    map.flags = 0;
    CHECK_FAILS(ioctl(nic.container, VFIO_IOMMU_MAP_DMA, &map), EINVAL);
    map.argsz = 8;
    CHECK_FAILS(ioctl(nic.container, VFIO_IOMMU_MAP_DMA, &map), EINVAL);

    CHECK_EQ(nic_unmap_dma(&nic, 0x10000, 0x1000, 0), -EINVAL);  // that would cut a mapping
    CHECK_EQ(nic_unmap_dma(&nic, 0x12000, 0x2000, 0), -EINVAL);
    CHECK_EQ(nic_unmap_dma(&nic, 0x10000, 0x800, 0), -EINVAL);
    CHECK_EQ(nic_unmap_dma(&nic, 0x10000, 0, 0), -EINVAL);
    CHECK_EQ(nic_unmap_dma(&nic, 0x50000, 0x1000, 0), 0);  // nothing there
    CHECK_EQ(nic_unmap_dma(&nic, 0, 0x18000, 0), 0x4000);  // a bigger range is fine
    CHECK_EQ(nic_map_dma(&nic, memory, 0x10000, 0x1000), 0);
    CHECK_EQ(nic_unmap_dma(&nic, 0, 4096, VFIO_DMA_UNMAP_FLAG_ALL), -EINVAL);
    CHECK_EQ(nic_unmap_dma(&nic, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL), 0x3000);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x10000, 0x1000), 0);
}

// The first version of the interface takes whole mappings away even if asked for a part.
static void dma_version_1(void) {
    struct nic nic = {.container = open("/dev/vfio/vfio", O_RDWR), .group = nic_open_group(1)};
    CHECK_EQ(ioctl(nic.group, VFIO_GROUP_SET_CONTAINER, &nic.container), 0);
    CHECK_EQ(ioctl(nic.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
    CHECK_EQ(nic_map_dma(&nic, new_pages(0x4000), 0x10000, 0x4000), 0);
    CHECK_EQ(nic_unmap_dma(&nic, 0x11000, 0x1000, 0), 0);
    CHECK_EQ(nic_unmap_dma(&nic, 0x10000, 0x1000, 0), 0x4000);
}

static void drop_capability_to_lock_memory(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    CHECK_EQ(syscall(SYS_capget, &header, data), 0);
    data[0].effective &= ~(1u << CAP_IPC_LOCK);
    data[0].permitted &= ~(1u << CAP_IPC_LOCK);
    CHECK_EQ(syscall(SYS_capset, &header, data), 0);
}

static void locked_memory_is_limited(void) {
    drop_capability_to_lock_memory();
    struct rlimit limit = {.rlim_cur = 64 * 1024, .rlim_max = 64 * 1024};
    CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    setenv("SIM82599_MEMLOCK", "1", 1);
    struct nic nic = nic_open(0, -1);
    char *memory = new_pages(0x20000);
    CHECK_EQ(nic_map_dma(&nic, memory, 0, 0x11000), -ENOMEM);
    CHECK_EQ(nic_map_dma(&nic, memory, 0, 0x8000), 0);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x10000, 0x8000), 0);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x20000, 0x1000), -ENOMEM);
    CHECK_EQ(nic_unmap_dma(&nic, 0, 0x8000, 0), 0x8000);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x20000, 0x1000), 0);
    // The program's own locks count too. (Sanitizers make mlock do nothing.)
    CHECK_EQ(syscall(SYS_mlock, memory + 0x10000, 0x7000), 0);
    CHECK_EQ(nic_map_dma(&nic, memory, 0x30000, 0x1000), -ENOMEM);
}

static void two_groups_share_a_container(void) {
    struct nic first = nic_open(0, -1), second = nic_open(1, first.container);
    CHECK_EQ(nic_map_dma(&second, new_pages(4096), 0x1000, 4096), 0);
    close(first.device);
    close(first.group);
    CHECK_EQ(nic_map_dma(&second, new_pages(4096), 0x1000, 4096), -EEXIST);  // the IOMMU is the container's
    CHECK(nic_read(&second, 0xa204) != 0);                                   // and this one goes on
}

// ---- Mapping regions ----

static void mapping_rules(void) {
    struct nic nic = nic_open(0, -1);
    static const struct {
        size_t size;
        off_t offset;
        int flags, error;
    } wrong[] = {
        {0x21000, 0, MAP_SHARED, EINVAL},  // longer than the region
        {0x2000, 0x1f000, MAP_SHARED, EINVAL},
        {0x1000, 0, MAP_PRIVATE, EINVAL},              // only shared
        {0x1000, (off_t)2 << 40, MAP_SHARED, EINVAL},  // I/O ports
        {0x1000, (off_t)CONFIG << 40, MAP_SHARED, EINVAL},
        {0x1000, (off_t)1 << 40, MAP_SHARED, EINVAL},  // no such region
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        CHECK(mmap(NULL, wrong[i].size, PROT_READ, wrong[i].flags, nic.device, wrong[i].offset) == MAP_FAILED);
        CHECK_EQ(errno, wrong[i].error);
    }
    volatile uint32_t *msix =
        mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, nic.device, region_offset(MSIX_BAR));
    if (!CHECK((void *)(uintptr_t)msix != MAP_FAILED)) return;
    msix[4] = 0xfee00000;  // the table reads back what was written
    CHECK_EQ(msix[4], 0xfee00000);
    uint32_t hidden = 0;  // but through the descriptor the kernel hides it
    CHECK_EQ(pread(nic.device, &hidden, 4, region_offset(MSIX_BAR) + 16), 4);
    CHECK_EQ(hidden, UINT32_MAX);
}

int main(int argc, char **argv) {
    static const struct test_case tests[] = {
        {"sysfs", sysfs, ALL_MODES, NULL, 0},
        {"order", order, ALL_MODES, NULL, 0},
        {"lifetimes", lifetimes, ALL_MODES, NULL, 0},
        {"information", information, THREADED, NULL, 0},
        {"config_space", config_space, THREADED | STEPPED, NULL, 0},
        {"status", a_refused_read_stays_in_the_status, THREADED | STEPPED, "dma-outside-mapping", 0},
        {"interrupts", interrupts, THREADED | STEPPED, NULL, 0},
        {"pending_cause", a_pending_cause_is_not_lost, ALL_MODES, NULL, 0},
        {"intx_without_eventfd", intx_waits_for_its_eventfd, ALL_MODES, NULL, 0},
        {"dma", dma, THREADED | STEPPED, NULL, 0},
        {"dma_version_1", dma_version_1, STEPPED, NULL, 0},
        {"locked_memory", locked_memory_is_limited, THREADED, NULL, 0},
        {"two_groups", two_groups_share_a_container, THREADED | STEPPED, NULL, 0},
        {"mapping_rules", mapping_rules, THREADED | STEPPED, NULL, 0},
    };
    return run_cases(argc, argv, tests, sizeof tests / sizeof *tests);
}
