// The IOMMU's table against a slow, obvious one, and at its edges.
#include "iommu.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char *at(uintptr_t address) { return (char *)address; }
static char *translate(struct iommu *iommu, uint64_t iova, int right, uint64_t *contiguous) {
    *contiguous = 0;
    return iommu_translate(iommu, iova, right, contiguous);
}

static void test_mappings(void) {
    struct iommu *iommu = iommu_create();
    uint64_t contiguous;
    CHECK_EQ(iommu_map(iommu, 0x1000, 0x1000, at(0x50000), IOMMU_READ), 0);
    CHECK(translate(iommu, 0x1800, IOMMU_READ, &contiguous) == at(0x50800));
    CHECK_EQ(contiguous, 0x800);
    CHECK(translate(iommu, 0x1800, IOMMU_WRITE, &contiguous) == NULL);
    CHECK(translate(iommu, 0xfff, IOMMU_READ, &contiguous) == NULL);
    CHECK(translate(iommu, 0x2000, IOMMU_READ, &contiguous) == NULL);
    CHECK_EQ(iommu_map(iommu, 0x1fff, 0x1000, at(0x90000), IOMMU_READ), -EEXIST);
    CHECK_EQ(iommu_map(iommu, 0x0, 0x1001, at(0x90000), IOMMU_READ), -EEXIST);
    CHECK_EQ(iommu_map(iommu, 0x0, 0x10000, at(0x90000), IOMMU_READ), -EEXIST);
    CHECK_EQ(iommu_map(iommu, 0x9000, 0, at(0x90000), IOMMU_READ), -EINVAL);
    CHECK_EQ(iommu_map(iommu, UINT64_MAX - 0xfff, 0x2000, at(0x90000), IOMMU_READ), -EINVAL);
    CHECK_EQ(iommu_map(iommu, UINT64_MAX - 0xfff, 0x1000, at(0x90000), IOMMU_READ), 0);
    CHECK(translate(iommu, UINT64_MAX, IOMMU_READ, &contiguous) == at(0x90fff));
    CHECK_EQ(contiguous, 1);
    CHECK(iommu_translate(NULL, 0, IOMMU_READ, &contiguous) == NULL);
    iommu_destroy(iommu);
    iommu_destroy(NULL);
}

static void test_neighbours_become_one(void) {
    struct iommu *iommu = iommu_create();
    uint64_t contiguous;
    for (unsigned i = 0; i < 1000; i++) {
        unsigned page = i % 2 ? 999 - i / 2 : i / 2;  // from both ends
        CHECK_EQ(iommu_map(iommu, page * 4096ull, 4096, at(0x100000 + page * 4096), IOMMU_READ | IOMMU_WRITE), 0);
    }
    CHECK_EQ(iommu_mappings(iommu), 1);
    CHECK(translate(iommu, 5, IOMMU_WRITE, &contiguous) == at(0x100005));
    CHECK_EQ(contiguous, 1000 * 4096 - 5);
    CHECK_EQ(iommu_map(iommu, 1000 * 4096, 4096, at(0x100000 + 1000 * 4096), IOMMU_READ), 0);
    CHECK_EQ(iommu_mappings(iommu), 2);  // other rights
    CHECK_EQ(iommu_map(iommu, 1001 * 4096, 4096, at(0x10), IOMMU_READ), 0);
    CHECK_EQ(iommu_mappings(iommu), 3);  // other memory
    iommu_destroy(iommu);
}

static void test_unmapping(void) {
    struct iommu *iommu = iommu_create();
    uint64_t contiguous;
    CHECK_EQ(iommu_unmap(iommu, 0, UINT64_MAX), 0);
    iommu_map(iommu, 0x10000, 0x10000, at(0x500000), IOMMU_READ);
    CHECK_EQ(iommu_unmap(iommu, 0x14000, 0x1000), 0x1000);
    CHECK_EQ(iommu_mappings(iommu), 2);
    CHECK(translate(iommu, 0x13fff, IOMMU_READ, &contiguous) == at(0x503fff));
    CHECK_EQ(contiguous, 1);
    CHECK(translate(iommu, 0x14000, IOMMU_READ, &contiguous) == NULL);
    CHECK(translate(iommu, 0x15000, IOMMU_READ, &contiguous) == at(0x505000));
    CHECK_EQ(iommu_unmap(iommu, 0, 0x11000), 0x1000);
    CHECK_EQ(iommu_unmap(iommu, 0x1f000, 0x100000), 0x1000);
    CHECK_EQ(iommu_unmap(iommu, 1, UINT64_MAX), 0xd000);
    CHECK_EQ(iommu_mappings(iommu), 0);
    iommu_destroy(iommu);
}

static void test_process_memory(void) {
    struct iommu *iommu = iommu_create();
    iommu_map(iommu, 0x10000, 0x4000, at(0x500000), IOMMU_READ);
    iommu_map(iommu, 0x80000, 0x4000, at(0x502000), IOMMU_READ);
    iommu_map(iommu, 0x90000, 0x1000, at(0x700000), IOMMU_READ);
    CHECK(iommu_maps_memory(iommu, at(0x503fff), 1));
    CHECK(!iommu_maps_memory(iommu, at(0x4ff000), 0x1000));
    CHECK(!iommu_maps_memory(iommu, at(0x506000), 0x1000));
    iommu_forget_memory(iommu, at(0x501000), 0x2000);
    CHECK(!iommu_maps_memory(iommu, at(0x501000), 0x2000));
    CHECK(iommu_maps_memory(iommu, at(0x500fff), 1));
    CHECK(iommu_maps_memory(iommu, at(0x503000), 1));
    CHECK_EQ(iommu_mappings(iommu), 4);
    iommu_forget_memory(iommu, at(0), SIZE_MAX);
    CHECK_EQ(iommu_mappings(iommu), 0);
    iommu_destroy(iommu);
}

// A model of 256 pages, each with its own entry, beside the real table.
static void test_against_a_model(void) {
    struct iommu *iommu = iommu_create();
    uintptr_t model[256] = {0};
    uint32_t seed = 7, wrong = 0;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned first = seed >> 24, count = (seed >> 16 & 15) + 1;
        if (first + count > 256) count = 256 - first;
        if (seed >> 12 & 1) {
            uintptr_t memory = 0x1000000 + (first + (seed >> 8 & 1) * 1000) * 4096ul;
            bool free_there = true;
            for (unsigned p = first; p < first + count; p++) free_there = free_there && !model[p];
            int result = iommu_map(iommu, first * 4096ull, count * 4096ull, at(memory), IOMMU_READ);
            wrong += result != (free_there ? 0 : -EEXIST);
            for (unsigned p = first; free_there && p < first + count; p++) model[p] = memory + (p - first) * 4096ul;
        } else {
            uint64_t bytes = 0;
            for (unsigned p = first; p < first + count; p++) bytes += model[p] ? 4096 : 0, model[p] = 0;
            wrong += iommu_unmap(iommu, first * 4096ull, count * 4096ull) != (int64_t)bytes;
        }
        for (unsigned p = 0; p < 256; p++) {
            uint64_t contiguous;
            char *memory = translate(iommu, p * 4096ull + 17, IOMMU_READ, &contiguous);
            wrong += memory != (model[p] ? at(model[p] + 17) : NULL);
        }
    }
    CHECK_EQ(wrong, 0);
    iommu_destroy(iommu);
}

static void test_replacing(void) {
    struct iommu *iommu = iommu_create();
    uint64_t contiguous;
    CHECK_EQ(iommu_replace(iommu, 0x10000, 0x3000, at(0), IOMMU_READ), 0);
    CHECK_EQ(iommu_replace(iommu, 0x11000, 0x1000, at(0x8000), IOMMU_READ | IOMMU_WRITE), 0);
    CHECK_EQ(iommu_mappings(iommu), 3);
    CHECK(translate(iommu, 0x10fff, IOMMU_READ, &contiguous) == at(0xfff));
    CHECK(translate(iommu, 0x11000, IOMMU_WRITE, &contiguous) == at(0x8000));
    CHECK(translate(iommu, 0x12000, IOMMU_READ, &contiguous) == at(0x2000));
    CHECK_EQ(iommu_replace(iommu, 0x11000, 0x1000, at(0x1000), IOMMU_READ), 0);
    CHECK_EQ(iommu_mappings(iommu), 1);  // as before
    CHECK_EQ(iommu_replace(iommu, 0x11000, 0, at(0x1000), IOMMU_READ), -EINVAL);
    CHECK_EQ(iommu_replace(iommu, UINT64_MAX, 2, at(0x1000), IOMMU_READ), -EINVAL);
    iommu_destroy(iommu);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
enum { SANITIZED = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) };
#else
enum { SANITIZED = 0 };
#endif

// The table is full when there is no more memory. In a child, which can do without.
static void test_no_memory_to_split(void) {
    struct iommu *iommu = iommu_create();
    unsigned count = 1 << 18;
    for (unsigned i = 0; i < count; i++) iommu_map(iommu, i * UINT64_C(0x10000), 0x3000, at(0), IOMMU_READ);
    CHECK_EQ(iommu_mappings(iommu), count);
    pid_t child = SANITIZED ? -1 : fork();
    if (child == 0) {
        setrlimit(RLIMIT_AS, &(struct rlimit){0, 0});
        void *volatile more = malloc(1 << 24);  // volatile: or the compiler knows better
        if (more) _exit(2);
        int64_t result = iommu_unmap(iommu, 0x11000, 0x1000);
        int replaced = iommu_replace(iommu, 0x11000, 0x1000, at(0x8000), IOMMU_READ);
        uint64_t contiguous;
        bool as_it_was =
            iommu_mappings(iommu) == count && translate(iommu, 0x11000, IOMMU_READ, &contiguous) == at(0x1000);
        _exit(result == -ENOMEM && replaced == -ENOMEM && as_it_was && iommu_unmap(iommu, 0x10000, 0x1000) == 0x1000
                  ? 0
                  : 1);
    }
    int status = 2 << 8;
    if (child > 0) waitpid(child, &status, 0);
    if (WEXITSTATUS(status) == 2) {
        SKIP("memory cannot be taken away from this program");
    } else {
        CHECK_EQ(status, 0);
    }
    iommu_destroy(iommu);
}

int main(void) {
    test_mappings();
    test_neighbours_become_one();
    test_unmapping();
    test_replacing();
    test_process_memory();
    test_against_a_model();
    test_no_memory_to_split();
    return test_summary();
}
