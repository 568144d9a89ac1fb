// Interrupts: which vector, how often, and that none is ever lost.
#include "test_front.h"

static uint8_t frame[60];

static struct bench *with_msix(void) {
    struct bench *bench = bench_running();
    sim_set_interrupt_mode(bench->device, SIM_IRQ_MSIX);
    wr(bench, IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX | IXGBE_GPIE_PBA_SUPPORT);
    rd(bench, IXGBE_EICR);
    make_udp(frame, 60, 1, 2);
    return bench;
}

static void receive(struct bench *bench) {
    sim_receive(bench->device, frame, 60);
    settle(bench);
}

static void send_one(struct bench *bench, unsigned index) {
    put_data(bench, index, 60, WHOLE, 0);
    wr(bench, IXGBE_TDT, index + 1);
}

static void test_ivar_leads_queues_to_vectors(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR, 0x8583);  // RX 0 to vector 3, TX 0 to vector 5
    wr(bench, IXGBE_EIMS, 1 << 3 | 1 << 5);
    receive(bench);
    CHECK_EQ(bench->interrupts[3], 1);
    CHECK_EQ(bench->interrupts[5], 0);
    send_one(bench, 0);
    CHECK_EQ(bench->interrupts[5], 1);
    wr(bench, IXGBE_IVAR, 0);  // not valid: no interrupt
    rd(bench, IXGBE_EICR);
    receive(bench);
    CHECK_EQ(bench->interrupts[3], 1);
    CHECK_EQ(bench->interrupts[0], 0);
    bench_destroy(bench);
}

static void test_a_masked_vector_waits(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR, 0x82);
    receive(bench);
    CHECK_EQ(bench->interrupts[2], 0);
    CHECK_EQ(rd(bench, IXGBE_EICS) & 0xffff, 1 << 2);  // EICS shows the causes and clears nothing
    wr(bench, IXGBE_EIMS, 1 << 2);
    CHECK_EQ(bench->interrupts[2], 1);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 1 << 2);
    receive(bench);
    CHECK_EQ(bench->interrupts[2], 1);  // the cause has not been cleared: no news
    CHECK_EQ(rd(bench, IXGBE_EICR), 1 << 2);
    CHECK_EQ(rd(bench, IXGBE_EICR), 0);
    receive(bench);
    CHECK_EQ(bench->interrupts[2], 2);
    wr(bench, IXGBE_EIMC, 1 << 2);
    wr(bench, IXGBE_EICR, 1 << 2);
    receive(bench);
    CHECK_EQ(bench->interrupts[2], 2);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 0);
    bench_destroy(bench);
}

static void test_auto_clear_and_auto_mask(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR, 0x81);
    wr(bench, IXGBE_EIAC, 1 << 1);
    wr(bench, IXGBE_EIMS, 1 << 1);
    receive(bench);
    receive(bench);
    CHECK_EQ(bench->interrupts[1], 2);
    CHECK_EQ(rd(bench, IXGBE_EICR), 0);
    set_bits(bench, IXGBE_GPIE, IXGBE_GPIE_EIAME);
    wr(bench, IXGBE_EIAM_EX, 1 << 1);
    receive(bench);
    CHECK_EQ(bench->interrupts[1], 3);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 0);
    receive(bench);
    receive(bench);
    CHECK_EQ(bench->interrupts[1], 3);
    wr(bench, IXGBE_EIMS, 1 << 1);  // what came in between asserts it now
    CHECK_EQ(bench->interrupts[1], 4);
    bench_destroy(bench);
}

// A message that clears its cause is over at once, however soon the next frame comes.
static void test_each_cause_has_a_message(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR, 0x81);
    wr(bench, IXGBE_EIAC, 1 << 1);
    wr(bench, IXGBE_EIMS, 1 << 1);
    for (unsigned i = 0; i < 3; i++) {
        sim_receive(bench->device, frame, 60);
        sim_step(bench->device);
        CHECK_EQ(bench->interrupts[1], i + 1);
    }
    bench_destroy(bench);
}

static void test_vectors_above_15(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR, 0x80 | 40);
    wr(bench, IXGBE_EIMS_EX + 4, 1 << (40 - 32));
    CHECK_EQ(rd(bench, IXGBE_EIMS_EX + 4), 1 << 8);
    receive(bench);
    receive(bench);  // always cleared by the device, for EICR cannot show them
    CHECK_EQ(bench->interrupts[40], 2);
    CHECK_EQ(rd(bench, IXGBE_EICR), 0);
    wr(bench, IXGBE_EIMC_EX + 4, 1 << 8);
    wr(bench, IXGBE_EICS_EX + 4, 1 << 8);
    CHECK_EQ(bench->interrupts[40], 2);
    wr(bench, IXGBE_EIMS_EX + 4, 1 << 8);
    CHECK_EQ(bench->interrupts[40], 3);
    bench_destroy(bench);
}

static void test_other_causes_share_a_vector(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR_MISC, 0x8700);
    wr(bench, IXGBE_EIMS, IXGBE_EICR_LSC);
    bench->light = false;
    pass_us(bench, 20000);
    CHECK_EQ(bench->interrupts[7], 1);
    CHECK(rd(bench, IXGBE_EICR) & IXGBE_EICR_LSC);
    wr(bench, IXGBE_EICS, IXGBE_EICR_MNG);  // not unmasked
    CHECK_EQ(bench->interrupts[7], 1);
    bench_destroy(bench);
}

static void test_reading_eicr_with_ocd_leaves_queues(void) {
    struct bench *bench = with_msix();
    set_bits(bench, IXGBE_GPIE, IXGBE_GPIE_OCD);
    wr(bench, IXGBE_EICS, 1 << 4 | IXGBE_EICR_LSC);
    CHECK_EQ(rd(bench, IXGBE_EICR), 1 << 4 | IXGBE_EICR_LSC);
    CHECK_EQ(rd(bench, IXGBE_EICR), 1 << 4);
    wr(bench, IXGBE_EICR, 1 << 4);
    CHECK_EQ(rd(bench, IXGBE_EICR), 0);
    bench_destroy(bench);
}

static void test_throttling(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_IVAR, 0x80);
    wr(bench, IXGBE_EIAC, 1);
    wr(bench, IXGBE_EITR, 50 << IXGBE_EITR_ITR_INTERVAL_SHIFT);  // 100 us
    wr(bench, IXGBE_EIMS, 1);
    for (int i = 0; i < 19; i++) {
        receive(bench);
        pass_us(bench, 10);
    }
    CHECK_EQ(bench->interrupts[0], 2);
    CHECK(sim_next_timer_ns(bench->device) <= bench->now_ns + 100000);
    pass_us(bench, 200);  // the last frames are not forgotten
    CHECK_EQ(bench->interrupts[0], 3);
    pass_us(bench, 1000);
    CHECK_EQ(bench->interrupts[0], 3);
    receive(bench);
    CHECK_EQ(bench->interrupts[0], 4);
    receive(bench);
    CHECK_EQ(bench->interrupts[0], 4);
    wr(bench, IXGBE_EITR, 50 << IXGBE_EITR_ITR_INTERVAL_SHIFT);  // writing the counter as zero lets it go
    CHECK_EQ(bench->interrupts[0], 5);
    receive(bench);
    wr(bench, IXGBE_EITR, 50 << IXGBE_EITR_ITR_INTERVAL_SHIFT | IXGBE_EITR_CNT_WDIS);
    CHECK_EQ(bench->interrupts[0], 5);
    bench_destroy(bench);
}

static void test_msi_is_one_vector(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_GPIE, 0);
    sim_set_interrupt_mode(bench->device, SIM_IRQ_MSI);
    wr(bench, IXGBE_IVAR, 0x8180);
    wr(bench, IXGBE_EIMS, 3 | IXGBE_EICR_LSC);
    receive(bench);
    CHECK_EQ(bench->interrupts[0], 1);
    send_one(bench, 0);
    CHECK_EQ(bench->interrupts[0], 1);  // still asserted
    CHECK_EQ(rd(bench, IXGBE_EICR), 3);
    send_one(bench, 1);
    CHECK_EQ(bench->interrupts[0], 2);
    rd(bench, IXGBE_EICR);
    wr(bench, IXGBE_EIAM, 0xffff);
    receive(bench);
    CHECK_EQ(bench->interrupts[0], 3);
    CHECK_EQ(rd(bench, IXGBE_EICR), 1);
    CHECK_EQ(rd(bench, IXGBE_EIMS), IXGBE_EICR_LSC);  // the read has masked
    bench_destroy(bench);
}

// Without messages that mask themselves (GPIE.EIAME), EIAM goes with EICR and EICS: what is cleared there is masked,
// and what is set is unmasked.
static void test_accesses_that_mask(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_GPIE, 0);
    sim_set_interrupt_mode(bench->device, SIM_IRQ_MSI);
    wr(bench, IXGBE_IVAR, 0x8180);
    wr(bench, IXGBE_EIAM, 3);
    wr(bench, IXGBE_EICS, 7);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 3);
    CHECK_EQ(bench->interrupts[0], 1);
    wr(bench, IXGBE_EICR, 1);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 2);
    CHECK_EQ(rd(bench, IXGBE_EICR), 6);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 0);

    sim_set_interrupt_mode(bench->device, SIM_IRQ_MSIX);
    wr(bench, IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX);
    wr(bench, IXGBE_EICS, 1);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 1);
    rd(bench, IXGBE_EICR);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 0);
    set_bits(bench, IXGBE_GPIE, IXGBE_GPIE_EIAME);
    wr(bench, IXGBE_EICS, 1);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 0);
    bench_destroy(bench);
}

static bool intx_is_high(struct bench *bench) {
    uint8_t status;
    sim_config_read(bench->device, 6, &status, 1);
    return status & 8;
}

static void test_intx_has_a_level(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_GPIE, 0);
    sim_set_interrupt_mode(bench->device, SIM_IRQ_INTX);
    wr(bench, IXGBE_REG(IVAR, 1), 0x89);
    wr(bench, IXGBE_EIMS, 1 << 9);
    CHECK(!intx_is_high(bench));
    wr(bench, IXGBE_EICS, 1 << 9);
    CHECK_EQ(bench->interrupts[0], 1);
    CHECK(intx_is_high(bench));
    rd(bench, IXGBE_EICR);
    CHECK(!intx_is_high(bench));
    bench_destroy(bench);
}

// The level is that of the message: it rises when EITR lets the message go, and falls with the cause.
static void test_intx_is_throttled_too(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_GPIE, 0);
    sim_set_interrupt_mode(bench->device, SIM_IRQ_INTX);
    wr(bench, IXGBE_IVAR, 0x80);
    wr(bench, IXGBE_EITR, 50 << IXGBE_EITR_ITR_INTERVAL_SHIFT);  // 100 us
    wr(bench, IXGBE_EIMS, 1);
    receive(bench);
    CHECK_EQ(bench->interrupts[0], 1);
    CHECK(intx_is_high(bench));
    rd(bench, IXGBE_EICR);
    CHECK(!intx_is_high(bench));
    receive(bench);
    CHECK_EQ(bench->interrupts[0], 1);
    CHECK(!intx_is_high(bench));
    CHECK_EQ(rd(bench, IXGBE_EICR), 1);  // seen before the message went: there is none any more
    pass_us(bench, 200);
    CHECK_EQ(bench->interrupts[0], 1);
    CHECK(!intx_is_high(bench));
    receive(bench);
    rd(bench, IXGBE_EICR);
    receive(bench);
    pass_us(bench, 200);
    CHECK_EQ(bench->interrupts[0], 3);
    CHECK(intx_is_high(bench));
    sim_set_interrupt_mode(bench->device, SIM_IRQ_NONE);
    CHECK(!intx_is_high(bench));
    bench_destroy(bench);
}

// The ten rounds of a driver's interrupt self-test.
static void test_software_interrupts(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_GPIE, 0);
    sim_set_interrupt_mode(bench->device, SIM_IRQ_MSI);
    wr(bench, IXGBE_EIMC, UINT32_MAX);
    for (unsigned i = 0; i < 10; i++) {
        uint32_t mask = 1u << i;
        unsigned before = bench->interrupts[0];
        wr(bench, IXGBE_EIMC, ~mask & 0x7fff);
        wr(bench, IXGBE_EICS, ~mask & 0x7fff);
        CHECK_EQ(bench->interrupts[0], before);
        wr(bench, IXGBE_EIMS, mask);
        wr(bench, IXGBE_EICS, mask);
        CHECK_EQ(bench->interrupts[0], before + 1);
        CHECK(rd(bench, IXGBE_EICR) & mask);
        wr(bench, IXGBE_EIMC, ~mask & 0x7fff);
        wr(bench, IXGBE_EICS, ~mask & 0x7fff);
        CHECK_EQ(bench->interrupts[0], before + 1);
        rd(bench, IXGBE_EICR);
        wr(bench, IXGBE_EIMC, UINT32_MAX);
    }
    bench_destroy(bench);
}

static void test_no_mode_loses_nothing(void) {
    struct bench *bench = with_msix();
    sim_set_interrupt_mode(bench->device, SIM_IRQ_NONE);
    wr(bench, IXGBE_IVAR, 0x82);
    wr(bench, IXGBE_EIMS, 1 << 2);
    receive(bench);
    CHECK_EQ(bench->interrupts[2], 0);
    sim_set_interrupt_mode(bench->device, SIM_IRQ_MSIX);
    CHECK_EQ(bench->interrupts[2], 1);
    bench_destroy(bench);
}

static void test_reset_forgets(void) {
    struct bench *bench = with_msix();
    wr(bench, IXGBE_EIMS, 1);
    wr(bench, IXGBE_EICS_EX, 2);
    hush(true);
    wr(bench, IXGBE_CTRL, IXGBE_CTRL_RST);
    hush(false);
    pass_us(bench, 1000);
    CHECK_EQ(rd(bench, IXGBE_EIMS), 0);
    CHECK_EQ(rd(bench, IXGBE_EICR) & 0xffff, 0);
    bench_destroy(bench);
}

static void test_lost_interrupts_by_fault(void) {
    struct bench *bench = with_msix();
    sim_inject(bench->device, "lost-interrupts");
    wr(bench, IXGBE_EIMS, 1);
    wr(bench, IXGBE_EICS, 1);
    CHECK_EQ(bench->interrupts[0], 0);
    CHECK_EQ(rd(bench, IXGBE_EICR), 1);
    bench_destroy(bench);
}

int main(void) {
    test_ivar_leads_queues_to_vectors();
    test_a_masked_vector_waits();
    test_auto_clear_and_auto_mask();
    test_each_cause_has_a_message();
    test_vectors_above_15();
    test_other_causes_share_a_vector();
    test_reading_eicr_with_ocd_leaves_queues();
    test_throttling();
    test_msi_is_one_vector();
    hush(true);  // vectors that nobody has allotted are unmasked
    test_accesses_that_mask();
    hush(false);
    test_intx_has_a_level();
    test_intx_is_throttled_too();
    hush(true);  // no queue leads to these bits
    test_software_interrupts();
    hush(false);
    test_no_mode_loses_nothing();
    test_reset_forgets();
    test_lost_interrupts_by_fault();
    return test_summary();
}
