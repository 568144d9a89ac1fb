// dmamap: one piece of memory, two addresses.
//
// Prints what the IOMMU can translate, allocates DMA memory and shows both its addresses, and then asks for three
// mappings that cannot be, to see who says no. Nothing here is special to a NIC: any device with a group will do.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dma_main.h"
#include "log.h"

static void print_space(const struct dma_space *space) {
    printf("The IOMMU translates these IOVA ranges:\n");
    for (size_t i = 0; i < space->range_count; i++)
        printf("    0x%012" PRIx64 " to 0x%012" PRIx64 "\n", space->ranges[i].first, space->ranges[i].last);
    printf("in pages of");
    for (int bit = 12; bit <= 30; bit += 9)
        if (space->page_sizes >> bit & 1) printf(" %s", bit == 12 ? "4 KiB" : bit == 21 ? "2 MiB" : "1 GiB");
    printf(" (mask 0x%" PRIx64 ").\n", space->page_sizes);
}

static void print_memory(const char *what, const struct dma_memory *memory) {
    printf("    %-14s %5zu KiB in pages of %4zu KiB   the program's pointer %p   the device's IOVA 0x%08" PRIx64 "\n",
           what, memory->size / 1024, memory->page_size / 1024, memory->virt, memory->iova.value);
}

// Each of these must be refused. Returns 0 if it was.
static int must_fail(const struct dma_space *space, const char *what, void *virt, iova_t iova, size_t size) {
    int error = dma_map(space, virt, iova, size);
    printf("    %-34s IOVA 0x%012" PRIx64 ", %6zu bytes: %s\n", what, iova.value, size,
           error ? strerror(-error) : "accepted!");
    if (error) return 0;
    dma_unmap(space, iova, size);
    return -1;
}

static int show_refusals(const struct dma_space *space, const struct dma_memory *memory) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *other = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (other == MAP_FAILED) return log_error(-errno, "no page to ask for a mapping of");

    // The first page that no range holds: in the hole between the first two ranges, or above the last.
    iova_t outside = {space->ranges[0].last + 1};
    printf("Three mappings that cannot be:\n");
    int failures =
        must_fail(space, "over a mapping that is there", other, memory->iova, page) +
        must_fail(space, "half a page off", other, iova_plus(memory->iova, memory->size + page / 2), page) +
        must_fail(space, "outside the valid ranges", other, outside, page);
    munmap(other, page);
    return failures ? log_error(-EIO, "the IOMMU has accepted what it should have refused") : 0;
}

static int run(struct dma_space *space) {
    struct dma_memory ring, packets = {0};
    print_space(space);
    int error = dma_alloc(space, 8 * 1024, &ring);
    if (!error) error = dma_alloc(space, 4 * 1024 * 1024, &packets);
    if (!error) {
        printf("The same memory, as each side names it:\n");
        print_memory("a small piece", &ring);
        print_memory("a large piece", &packets);
        error = show_refusals(space, &ring);
    }
    dma_free(space, &packets);
    dma_free(space, &ring);
    if (!error) printf("Unmapped: from here on the device finds nothing at these IOVAs.\n");
    return error;
}

int main(int argc, char **argv) {
    return dma_main(argc, argv, "Shows what the IOMMU translates, and one piece of memory under its two addresses.",
                    run);
}
