// test_dma.c: the IOVA space and the memory in it.

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "dma.h"
#include "test.h"

static struct vfio_container container;
static struct vfio_device device;
static struct dma_space space;

static bool inside_a_range(const struct dma_memory *memory) {
    for (size_t i = 0; i < space.range_count; i++)
        if (memory->iova.value >= space.ranges[i].first &&
            memory->iova.value + memory->size - 1 <= space.ranges[i].last)
            return true;
    return false;
}

static void ranges_leave_the_msi_window_out(void) {
    CHECK(space.range_count >= 2);
    for (size_t i = 0; i < space.range_count; i++) {
        CHECK(space.ranges[i].first <= space.ranges[i].last);
        CHECK(space.ranges[i].last < 0xfee00000 || space.ranges[i].first > 0xfee00000);
        if (i) CHECK(space.ranges[i].first > space.ranges[i - 1].last);
    }
    CHECK(space.page_sizes & 4096);
}

static void memory_is_zeroed_mapped_and_apart(void) {
    enum { PIECES = 40 };
    static const size_t sizes[] = {1, 4096, 4097, 8192, 100000, 3000000};
    struct dma_memory pieces[PIECES];
    for (int i = 0; i < PIECES; i++) {
        size_t size = sizes[i % 6];
        CHECK_EQ(dma_alloc(&space, size, &pieces[i]), 0);
        CHECK(pieces[i].size >= size);
        CHECK_EQ(pieces[i].size % pieces[i].page_size, 0);
        CHECK_EQ(pieces[i].iova.value % pieces[i].page_size, 0);
        CHECK(pieces[i].iova.value != 0);
        CHECK(inside_a_range(&pieces[i]));
        CHECK_EQ(*((char *)pieces[i].virt + size - 1), 0);
        for (int j = 0; j < i; j++)
            CHECK(pieces[j].iova.value + pieces[j].size <= pieces[i].iova.value ||
                  pieces[i].iova.value + pieces[i].size <= pieces[j].iova.value);
        // It is mapped: another mapping over it is refused.
        CHECK_EQ(dma_map(&space, pieces[i].virt, pieces[i].iova, 4096), -EEXIST);
    }
    for (int i = 0; i < PIECES; i += 2) dma_free(&space, &pieces[i]);
    for (int i = 1; i < PIECES; i += 2) dma_free(&space, &pieces[i]);
    CHECK(space.reservations == NULL);
}

static void freed_iovas_are_used_again(void) {
    struct dma_memory first, second, third;
    CHECK_EQ(dma_alloc(&space, 65536, &first), 0);
    CHECK_EQ(dma_alloc(&space, 4096, &second), 0);
    uint64_t hole = first.iova.value;
    dma_free(&space, &first);
    CHECK(first.virt == NULL);
    CHECK_EQ(dma_alloc(&space, 32768, &third), 0);
    CHECK_EQ(third.iova.value, hole);
    dma_free(&space, &third);
    dma_free(&space, &second);
    dma_free(&space, &second);  // nothing there any more
}

// With the lowest range all but full, memory comes from beyond the reserved window.
static void a_full_range_is_stepped_over(void) {
    struct iova_range *ranges = space.ranges, narrow[] = {{0, 0x2fff}, {0xfef00000, 0xfef0ffff}};
    size_t count = space.range_count;
    struct dma_memory low, high, none;
    space.ranges = narrow;
    space.range_count = 2;
    CHECK_EQ(dma_alloc(&space, 8192, &low), 0);
    CHECK_EQ(low.iova.value, 0x1000);
    CHECK_EQ(dma_alloc(&space, 65536, &high), 0);
    CHECK_EQ(high.iova.value, 0xfef00000);
    CHECK_EQ(dma_alloc(&space, 4096, &none), -ENOSPC);
    CHECK(none.virt == NULL);
    dma_free(&space, &low);
    CHECK_EQ(dma_alloc(&space, 4096, &none), 0);
    CHECK_EQ(none.iova.value, 0x1000);
    dma_free(&space, &none);
    dma_free(&space, &high);
    space.ranges = ranges;
    space.range_count = count;
}

static void what_cannot_be_mapped_is_refused(void) {
    struct dma_memory memory;
    CHECK_EQ(dma_alloc(&space, 0, &memory), -EINVAL);
    void *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(dma_map(&space, pages, (iova_t){0x10000800}, 4096), -EINVAL);
    CHECK_EQ(dma_map(&space, (char *)pages + 1, (iova_t){0x10000000}, 4096), -EINVAL);
    CHECK_EQ(dma_map(&space, pages, (iova_t){0x10000000}, 100), -EINVAL);
    CHECK_EQ(dma_map(&space, pages, (iova_t){0xfee00000}, 4096), -EINVAL);
    CHECK_EQ(dma_map(&space, pages, (iova_t){0x10000000}, 8192), 0);
    CHECK_EQ(dma_unmap(&space, (iova_t){0x10000000}, 4096), -EINVAL);  // half a mapping
    CHECK_EQ(dma_unmap(&space, (iova_t){0x10000000}, 8192), 0);
    munmap(pages, 8192);
}

// The IOVA that would be chosen is mapped already: dma_alloc fails, and keeps nothing.
static void a_failed_allocation_leaves_nothing(void) {
    struct dma_memory probe, memory;
    CHECK_EQ(dma_alloc(&space, 4096, &probe), 0);
    iova_t iova = probe.iova;
    dma_free(&space, &probe);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(dma_map(&space, page, iova, 4096), 0);
    CHECK_EQ(dma_alloc(&space, 4096, &memory), -EEXIST);
    CHECK(!memory.virt && !memory.size);
    CHECK(space.reservations == NULL);
    CHECK_EQ(dma_unmap(&space, iova, 4096), 0);
    CHECK_EQ(dma_unmap(&space, iova, 4096), 0);  // nothing there any more
    munmap(page, 4096);
}

static void a_forked_child_shares_the_memory(void) {
    struct dma_memory memory;
    CHECK_EQ(dma_alloc(&space, 4096, &memory), 0);
    pid_t child = fork();
    if (!child) {
        *(char *)memory.virt = 'c';
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK_EQ(*(char *)memory.virt, 'c');
    dma_free(&space, &memory);
}

int main(void) {
    if (!CHECK_EQ(vfio_container_open(&container), 0)) return test_summary();
    CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &device), 0);
    CHECK_EQ(dma_space_open(&space, &container), 0);
    ranges_leave_the_msi_window_out();
    memory_is_zeroed_mapped_and_apart();
    freed_iovas_are_used_again();
    a_full_range_is_stepped_over();
    what_cannot_be_mapped_is_refused();
    a_failed_allocation_leaves_nothing();
    a_forked_child_shares_the_memory();

    struct dma_memory last;
    CHECK_EQ(dma_alloc(&space, 4096, &last), 0);
    vfio_device_close(&device);
    dma_free(&space, &last);  // its mapping went with the last device
    CHECK(last.virt == NULL && space.reservations == NULL);
    dma_space_close(&space);
    vfio_container_close(&container);
    return test_summary();
}
