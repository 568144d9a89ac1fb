// test.h: the test harness. A test program is plain functions full of CHECKs; main returns test_summary().
//
// A failing CHECK says where and what and goes on, so one run shows every failure.
#pragma once

#include <stdio.h>
#include <string.h>

static _Atomic unsigned test_passed_, test_failed_, test_skipped_;  // threads may CHECK, too

static inline int test_check_(int ok, const char *file, int line, const char *what) {
    if (ok) {
        test_passed_++;
    } else {
        test_failed_++;
        printf("FAIL %s:%d: %s\n", file, line, what);
    }
    return ok;
}

#define CHECK(condition) test_check_(!!(condition), __FILE__, __LINE__, #condition)

#define CHECK_EQ(actual, expected)                                                                                   \
    __extension__({                                                                                                  \
        unsigned long long actual_ = (unsigned long long)(actual), expected_ = (unsigned long long)(expected);       \
        char text_[256];                                                                                             \
        snprintf(text_, sizeof text_, "%s is %llu (0x%llx), expected %llu (0x%llx)", #actual, actual_, actual_,      \
                 expected_, expected_);                                                                              \
        test_check_(actual_ == expected_, __FILE__, __LINE__, text_);                                                \
    })

static inline void test_skip_(const char *file, int line, const char *reason) {
    test_skipped_++;
    printf("skip %s:%d: %s\n", file, line, reason);
}

// For what cannot be tried here, with the reason; it shows in the summary.
#define SKIP(reason) test_skip_(__FILE__, __LINE__, reason)

static inline int test_summary(void) {
    printf("%u passed, %u failed", test_passed_, test_failed_);
    if (test_skipped_) printf(", %u skipped", test_skipped_);
    printf("\n");
    return test_failed_ != 0;
}
