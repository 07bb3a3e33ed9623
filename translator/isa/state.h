// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "translator/isa/cr.h"
#include "translator/isa/msr.h"

namespace untrap::isa {

// Privileged state that patched guest code reads and writes without a trap. On a 440 host this is a page of its own,
// mapped at EA -4096 in guest-kernel contexts alone; on soft440 stubs address it through the state pointer.
// Whatever the host reads back from it is validated as if the guest had executed the privileged instruction.
struct StatePage {
    std::uint32_t msr = 0; // the guest's MSR, not the one it runs with
    // Not zero: an interrupt would be delivered if the guest enabled it; interrupt-enabling stubs then trap.
    // Bits: of MSR, those that hold it back (namespace pending).
    std::uint32_t pending = 0;
    std::uint32_t srr0 = 0, srr1 = 0;
    std::uint32_t csrr0 = 0, csrr1 = 0;
    std::uint32_t mcsrr0 = 0, mcsrr1 = 0;
    std::uint32_t dear = 0, esr = 0;
    std::uint32_t pid = 0, mmucr = 0;
    std::array<std::uint32_t, 8> sprg{};
    std::array<std::uint32_t, 8> scratch{}; // registers saved by a stub between its entry and its commit point
};
static_assert(sizeof(StatePage) <= 4096);

namespace pending {
inline constexpr std::uint32_t external = msr::ee;
inline constexpr std::uint32_t critical = msr::ce;
inline constexpr std::uint32_t debug = msr::de;
} // namespace pending

// FPSCR bits that generated code owes: what it has executed since fpscr was exact (translator/x64/fp_pending.h).
// Nothing is owed while no engine runs.
struct FpPending {
    std::uint32_t word = 0;    // the last arithmetic instruction, 0 for none: FPRF, FR and FI come from it
    std::uint32_t later = ~0U; // after it came, if zero: low byte, a compare; next one, a conversion to an integer
    std::uint64_t a = 0, b = 0, c = 0; // its operands frA, frB, frC
    CrField compare = 0;               // outcome of that compare
    std::uint64_t convert = 0;         // operand of that conversion
    std::uint32_t convert_word = 0;
    std::uint32_t flags = 0;      // sticky exception flags, as in MXCSR
    std::uint32_t loaded = 0;     // not 0: FPRs are in host registers, flags in MXCSR; the rest of CpuState is older
    std::uint32_t host_mxcsr = 0; // the host's own meanwhile
    std::uint32_t mxcsr = 0;      // on its way to or from the register
    std::uint32_t unused = 0;
    std::array<std::uint64_t, 2> saved{}; // operands kept in host registers while their FPRs have changed
};

// Architectural state of a guest CPU, shared by interpreter, JIT, emulation and the KVM front.
struct CpuState {
    std::array<std::uint32_t, 32> gpr{};
    std::uint32_t pc = 0; // always a multiple of 4
    std::uint32_t lr = 0, ctr = 0;
    std::uint8_t xer_so = 0, xer_ov = 0, xer_ca = 0; // 0 or 1
    std::uint8_t xer_count = 0;
    std::array<CrField, 8> crf{}; // see cr.h; set by reset()
    // lwarx reservation: stwcx. succeeds if it is valid and for the same effective address. Interrupt delivery and
    // rfi, rfci drop it, so no reservation is carried from one context into another.
    std::uint32_t reserve_valid = 0, reserve_address = 0;
    // Guest instructions completed since reset; under --clock guest this is the time.
    std::uint64_t retired = 0;

    std::array<std::uint64_t, 32> fpr{}; // double format
    std::uint32_t fpscr = 0;

    std::uint32_t usprg0 = 0;
    std::uint32_t ivpr = 0;
    std::array<std::uint32_t, interrupt_count> ivor{};
    std::uint32_t dbsr = 0, dbcr0 = 0, dbcr1 = 0, dbcr2 = 0;
    std::array<std::uint32_t, 4> iac{};
    std::array<std::uint32_t, 2> dac{}, dvc{};
    std::uint32_t tsr = 0, tcr = 0, decar = 0;
    std::uint32_t pvr = 0, pir = 0, ccr0 = 0, ccr1 = 0, rstcfg = 0, mcsr = 0;
    std::uint32_t ivlim = 0, dvlim = 0;
    std::array<std::uint32_t, 4> inv{}, itv{}, dnv{}, dtv{}; // cache normal/transient victim registers

    // What engines keep here stands behind all that the world switch of native440 knows by its offset.
    // Pointers that generated code needs at hand; meaning is the engine's own (translator/x64/layout.h).
    std::array<std::uintptr_t, 32> engine_slots{};
    FpPending fp_pending;

    // Last, and alone in a page that begins with it: native440 maps the first kilobyte of that for the guest's kernel
    // as it is (and QEMU's 440, whose smallest page is 4 KB, all of it). So the guest may have written any of it when
    // the host comes back.
    static constexpr std::size_t page_bytes = 4096;
    static constexpr std::uint32_t no_pid = 0xFFFFFFFF;
    alignas(page_bytes) StatePage page;
    std::uint32_t live_pid = no_pid; // directly behind it, as what follows: see ppc::GuestPage
    static constexpr unsigned user_windows = 64;
    std::array<std::array<std::uint32_t, 2>, user_windows> user_window{};

    std::uint32_t cr() const {
        std::uint32_t value = 0;
        for (unsigned field = 0; field < 8; ++field) value = value << 4 | cr::decode(crf[field]);
        return value;
    }
    void set_cr(std::uint32_t value) {
        for (unsigned field = 0; field < 8; ++field) crf[field] = cr::encodings[value >> (28 - 4 * field) & 15];
    }
    // A CR bit by its manual number, 0-31.
    bool cr_bit(unsigned bit) const { return (cr::decode(crf[bit >> 2]) & (8U >> (bit & 3))) != 0; }
    void set_cr_bit(unsigned bit, bool value) {
        const unsigned mask = 8U >> (bit & 3);
        const unsigned nibble = cr::decode(crf[bit >> 2]);
        crf[bit >> 2] = cr::encodings[value ? nibble | mask : nibble & ~mask];
    }
    std::uint32_t xer() const {
        return (xer_so != 0 ? xer::so : 0) | (xer_ov != 0 ? xer::ov : 0) | (xer_ca != 0 ? xer::ca : 0) | xer_count;
    }
    void set_xer(std::uint32_t value) {
        xer_so = (value & xer::so) != 0;
        xer_ov = (value & xer::ov) != 0;
        xer_ca = (value & xer::ca) != 0;
        xer_count = static_cast<std::uint8_t>(value & xer::count_mask);
    }
    bool problem_state() const { return (page.msr & msr::pr) != 0; }

    // Core reset: everything zero, CR fields included; the processor version and reset MSR are the runtime's.
    void reset() {
        // Not by assignment: a temporary of this size is too much for a kernel's stack.
        __builtin_memset(static_cast<void*>(this), 0, sizeof *this);
        live_pid = no_pid;
        fp_pending = {};
        set_cr(0);
    }
};

static_assert(offsetof(CpuState, page) % CpuState::page_bytes == 0);
static_assert(sizeof(CpuState) == offsetof(CpuState, page) + CpuState::page_bytes);

} // namespace untrap::isa
