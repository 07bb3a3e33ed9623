// SPDX-License-Identifier: GPL-2.0-only
// A small kernel that does with its machine what a Linux guest does: serial port, interrupt controller, decrementer,
// external interrupts, idling, floating point, and a reset at the end.
#include "guest/guest.h"

#define DEVICE 0xE0000000u // where the devices are mapped

static volatile uint32_t decrements, externals;
static volatile uint32_t last_status;
static volatile bool failed;

static volatile uint8_t* byte_device(uint32_t offset) { return (volatile uint8_t*)(uintptr_t)(DEVICE + offset); }
static volatile uint32_t* word_device(uint32_t offset) { return (volatile uint32_t*)(uintptr_t)(DEVICE + offset); }

static void print(const char* text) {
    for (; *text != '\0'; ++text) {
        while ((*byte_device(DEVICE_UART + 5) & 0x20) == 0) {
        }
        *byte_device(DEVICE_UART) = (uint8_t)*text;
    }
}

static void print_number(uint32_t value) {
    char text[9];
    unsigned i;

    for (i = 0; i != 8; ++i) text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    text[8] = '\0';
    print(text);
}

static void check(bool condition, const char* what) {
    if (condition) return;
    failed = true;
    print("failed: ");
    print(what);
    print("\n");
}

void interrupt(struct frame* frame) {
    switch (frame->vector) {
    case VECTOR_DECREMENTER:
        ++decrements;
        mtspr(SPR_TSR, 0x08000000);
        frame->msr &= ~MSR_WE;
        return;
    case VECTOR_EXTERNAL:
        ++externals;
        last_status = *word_device(DEVICE_STATUS);
        *word_device(DEVICE_STATUS) = last_status; // its end
        frame->msr &= ~MSR_WE;
        return;
    default:
        print("interrupt ");
        print_number(frame->vector);
        print(" at ");
        print_number(frame->pc);
        print("\n");
        mtdcr(DCR_DONE, 0xDEAD0000 | frame->vector);
    }
}

// Waits in MSR[WE] until a counter has reached that.
static void idle_until(const volatile uint32_t* counter, uint32_t value) {
    while (*counter < value) mtmsr(mfmsr() | MSR_WE | MSR_EE);
    mtmsr(mfmsr() & ~(MSR_WE | MSR_EE));
}

static void timers(void) {
    const uint32_t period = 400000; // 1 ms
    const uint32_t start = time_low();
    uint32_t took;

    mtspr(SPR_DECAR, period);
    mtspr(SPR_DEC, period);
    mtspr(SPR_TCR, 0x04400000); // DIE, ARE
    idle_until(&decrements, 5);
    took = time_low() - start;
    check(took >= 5 * period, "five decrementer periods were too short");
    check(took < 40 * period, "five decrementer periods were much too long");
    mtspr(SPR_TCR, 0);
    mtspr(SPR_DEC, 0);
    mtspr(SPR_TSR, 0xFFFFFFFF);
    print("timers\n");
}

static void external_interrupts(void) {
    uint32_t i;

    mtdcr(DCR_SIGNAL, SIGNAL_INTERRUPT_SOON);
    idle_until(&externals, 1);
    check(last_status == 1, "status of the first interrupt");
    // While it computes.
    mtdcr(DCR_SIGNAL, SIGNAL_INTERRUPT_SOON);
    mtmsr(mfmsr() | MSR_EE);
    while (externals < 2) {
    }
    check(last_status == 2, "status of the second interrupt");
    for (i = 0; i != 10000; ++i) __asm__ volatile("");
    mtmsr(mfmsr() & ~MSR_EE);
    check(externals == 2, "an interrupt after its end");
    // Not before it is let through.
    mtdcr(DCR_SIGNAL, SIGNAL_INTERRUPT_SOON);
    for (i = time_low(); time_low() - i < 12000000;) {
    }
    check(externals == 2, "an interrupt with MSR[EE] off");
    idle_until(&externals, 3);
    print("external interrupts\n");
}

static void floating_point(void) {
    static const double two = 2.0, three = 3.0;
    static union {
        double value;
        uint32_t words[2];
    } product;

    mtmsr(mfmsr() | MSR_FP);
    __asm__ volatile("lfd 1,0(%0); lfd 2,0(%1); fmul 3,1,2; fadd 3,3,2; stfd 3,0(%2)"
                     :
                     : "b"(&two), "b"(&three), "b"(&product.value)
                     : "memory");
    mtmsr(mfmsr() & ~MSR_FP);
    check(product.words[0] == 0x40220000 && product.words[1] == 0, "2 * 3 + 3");
    print("floating point\n");
}

uint32_t guest_main(uint32_t round, uint32_t unused) {
    (void)unused;
    write_tlb(1, DEVICE | TLB_VALID | TLB_4K, DEVICE_REAL, 0x500 | 3, 0);
    print("round ");
    print_number(round);
    print("\n");
    mtdcr(0xC2, 0x12345678);
    check(mfdcr(0xC2) == 0x12345678, "a register of the interrupt controller");
    timers();
    external_interrupts();
    floating_point();
    print(failed ? "bad\n" : "good\n");
    mtspr(SPR_DBCR0, 0x30000000);
    for (;;) {
    }
}
