// dma_main.c: container, device, IOVA space, in and out, for programs that need DMA memory but no NIC driver yet.

#include "dma_main.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "software_nic.h"

static int with_space(const struct vfio_container *container, int (*run)(struct dma_space *space)) {
    struct dma_space space;
    int error = dma_space_open(&space, container);
    if (error) return error;
    error = run(&space);
    dma_space_close(&space);
    return error;
}

static int with_device(const char *address, int (*run)(struct dma_space *space)) {
    struct vfio_container container;
    struct vfio_device device;
    int error = vfio_container_open(&container);
    if (error) return error;
    error = vfio_device_open(&container, address, &device);
    if (!error) {
        error = with_space(&container, run);
        vfio_device_close(&device);
    }
    vfio_container_close(&container);
    return error;
}

int dma_main(int argc, char **argv, const char *what_it_does, int (*run)(struct dma_space *space)) {
    char address[PCI_ADDRESS_SIZE] = DEFAULT_ADDRESS;
    cli_guard_output();
    bool help = argc == 2 && !strcmp(argv[1], "--help");
    if (help || argc > 2) {
        fprintf(help ? stdout : stderr, "usage: %s [ADDRESS]\n%s\nADDRESS is a PCI address, %s if none is given.\n",
                argv[0], what_it_does, DEFAULT_ADDRESS);
        return help ? 0 : 2;
    }
    if (argc == 2 && cli_pci_address(argv[1], address)) return 2;
    if (argc == 1) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, NULL, "cable");
    return with_device(address, run) ? 1 : 0;
}
