// SPDX-License-Identifier: GPL-2.0-only
// FP-heavy random programs on the interpreter and on the JIT: values near every boundary of both formats, all rounding
// modes, enabled exceptions, FPSCR read and written anywhere. After every piece of a run all FPRs and FPSCR are equal.
#include <catch2/catch_test_macros.hpp>

#include "optimisation_cases.h"
#include "run_random.h"
#include "translator/fp/fpscr.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using isa::Op;
using mmu::TlbEntry;

constexpr std::uint32_t code_base = 0x10000000, code_bytes = 0x10000;
constexpr std::uint32_t data_base = 0x20000000, data_bytes = 0x10000;

constexpr Op arithmetic[] = {Op::fadd,   Op::fadds,   Op::fsub,   Op::fsubs,  Op::fmul,   Op::fmuls,   Op::fdiv,
                             Op::fdivs,  Op::fmadd,   Op::fmadds, Op::fmsub,  Op::fmsubs, Op::fnmadd,  Op::fnmadds,
                             Op::fnmsub, Op::fnmsubs, Op::fsqrt,  Op::fsqrts, Op::fres,   Op::frsqrte, Op::frsp};
constexpr Op others[] = {Op::fctiw, Op::fctiwz, Op::fcmpu, Op::fcmpo, Op::fmr, Op::fneg, Op::fabs, Op::fnabs, Op::fsel};
constexpr Op storage[] = {Op::lfd,  Op::lfdu,  Op::lfdx,  Op::lfdux,  Op::lfs,   Op::lfsu,
                          Op::lfsx, Op::lfsux, Op::stfd,  Op::stfdu,  Op::stfdx, Op::stfdux,
                          Op::stfs, Op::stfsu, Op::stfsx, Op::stfsux, Op::stfiwx};
constexpr Op control[] = {Op::mffs, Op::mffs, Op::mcrfs, Op::mtfsb0, Op::mtfsb1, Op::mtfsf, Op::mtfsf, Op::mtfsfi};
constexpr Op integer[] = {Op::addi, Op::divw, Op::bc,   Op::bc, Op::mfcr, Op::cror,
                          Op::lwz,  Op::stw,  Op::bclr, Op::b,  Op::b};

// Values whose sums, products and quotients come out near what rounding, overflow and underflow decide.
std::uint64_t near(Random& random) {
    const std::uint64_t sign = std::uint64_t{random.below(2)} << 63;
    const auto little = [&] { return std::uint64_t{random.below(5)} - 2; };
    const auto exponent = [](std::uint64_t biased) { return biased << 52; };
    switch (random.below(10)) {
    case 0: return sign | (exponent(1 + random.below(3)) + little());                      // least normalised double
    case 1: return sign | (exponent(2046) + little());                                     // greatest
    case 2: return sign | (exponent(897 + random.below(3)) + (little() << 28) + little()); // least normalised single
    case 3: return sign | (exponent(1151) + (little() << 28) + little());                  // greatest
    case 4:
        return sign | (exponent(random.between(870, 900)) | (random.next() & 0x000F'FFFF'E000'0000)); // denormal single
    case 5:
        return sign | (exponent(random.between(1000, 1050)) | // halfway between singles, or nearly
                       ((random.next() & 0x000F'FFFF'E000'0000) + 0x1000'0000 + little()));
    case 6: return sign | (exponent(random.between(1020, 1028)) + (std::uint64_t{random.below(8)} << random.below(50)));
    case 7: return sign | random.next() >> random.between(12, 63); // denormal double
    case 8: return sign | exponent(random.pick<std::uint64_t>({511, 512, 1535, 1534, 970, 1076, 460, 1023})) | little();
    default: return sign | (exponent(random.between(1020, 1026)) | (random.next() & 0x000F'FFFF'E000'0000));
    }
}

std::uint64_t value(Random& random) { return random.chance(65) ? near(random) : random_fpr(random); }

class Programs {
  public:
    Programs(std::uint64_t salt, x64::Optimisations optimisations)
        : random_(seeded_random(salt)),
          pair_(std::make_unique<Pair>(runtime::soft::JitEngine::default_cache_bytes, optimisations)) {
        const auto mapping = [](std::uint32_t ea, std::uint64_t real) {
            TlbEntry entry;
            entry.word0 = ea | TlbEntry::valid_bit | 3U << 4; // 64 KB
            entry.word1 = static_cast<std::uint32_t>(real);
            entry.word2 = 0x3F;
            return entry;
        };
        pair_->both([&](Machine& machine) {
            machine.vcpu().set_tlb_entry(0, mapping(code_base, Layout::code));
            machine.vcpu().set_tlb_entry(1, mapping(data_base, Layout::data));
        });
        fill_data();
    }

    void run(std::uint64_t goal) {
        for (std::uint64_t number = 0; pair_->executed() < goal; ++number) {
            if (random_.chance(20)) fill_data();
            const unsigned length = random_.between(4, 40);
            // Few registers, so that operands are overwritten; any, so that some are not in host registers.
            for (auto& fpr : fprs_) fpr = random_.below(32);
            enables_ = random_.chance(15);
            const std::uint32_t start = code_base + random_.below(code_bytes / 4 - 64) * 4;
            for (unsigned i = 0; i < length; ++i) write(start + 4 * i, instruction(i, length));
            write(start + 4 * length, match(Op::b) | (-4 * length & 0x03FFFFFC)); // from the start again
            isa::CpuState state;
            state.reset();
            for (auto& gpr : state.gpr) gpr = random_gpr(random_);
            state.gpr[pointer] = data_base + random_.below(data_bytes);
            state.gpr[offset] = random_.below(64) * 4;
            for (auto& fpr : state.fpr) fpr = value(random_);
            state.fpscr = fpscr();
            state.ctr = random_.below(20);
            state.page.msr =
                isa::msr::fp | (random_.chance(50) ? isa::msr::fe0 : 0) | (random_.chance(50) ? isa::msr::pr : 0);
            state.pc = start;
            state.lr = start + 4 * random_.below(length);
            state.retired = pair_->reference.state().retired;
            pair_->both([&](Machine& machine) { machine.set_state(state); });
            const std::string context = "program " + std::to_string(number);
            run_in_pieces(*pair_, random_, random_.between(20, 200), context);
            pair_->compare_memory(context);
        }
    }

    // What FPSCR is owed across a call and its return: arithmetic before it, in it, or both, and nothing behind.
    void run_calls(unsigned count) {
        for (unsigned number = 0; number < count; ++number) {
            const auto arithmetic_or_not = [&] {
                return random_.chance(70)
                           ? match(random_.any(arithmetic)) | field_rt(random_.below(32)) |
                                 field_ra(random_.below(32)) | field_rb(random_.below(32)) | random_.below(32) << 6
                           : 0x60000000U;
            };
            constexpr std::uint32_t call = 0x48000000 | 8 | 1, system_call = 0x44000002, back = 0x4E800020;
            const std::uint32_t words[] = {arithmetic_or_not(), call, system_call, arithmetic_or_not(), back};
            const std::uint32_t start = code_base + number % 512 * 32;
            for (unsigned i = 0; i < std::size(words); ++i) write(start + 4 * i, words[i]);
            isa::CpuState state;
            state.reset();
            for (auto& fpr : state.fpr) fpr = value(random_);
            state.fpscr = fpscr();
            state.page.msr = isa::msr::fp;
            state.pc = start;
            state.retired = pair_->reference.state().retired;
            pair_->both([&](Machine& machine) { machine.set_state(state); });
            pair_->run(100, "call " + std::to_string(number));
        }
    }

  private:
    static constexpr unsigned pointer = 9, offset = 10;

    std::uint32_t fpscr() {
        std::uint32_t bits = random_.chance(50) ? 0 : random_.word() & fp::fpscr_exceptions;
        bits |= random_.word() & (fp::fpscr_fprf | fp::fpscr_fr | fp::fpscr_fi | fp::fpscr_ni | fp::fpscr_fx);
        if (random_.chance(60)) bits |= random_.word() & fp::fpscr_rn;
        if (enables_) bits |= random_.word() & 0xF8;
        return fp::with_summaries(bits);
    }

    void fill_data() {
        for (std::size_t i = 0; i < data_bytes; i += 8) {
            std::uint64_t image = value(random_);
            if (random_.chance(40)) image = std::uint64_t{single()} << 32 | single();
            for (unsigned byte = 0; byte < 8; ++byte)
                pair_->reference.data[i + byte] = static_cast<std::uint8_t>(image >> (56 - 8 * byte));
        }
        pair_->jit.data = pair_->reference.data;
    }

    std::uint32_t single() {
        const std::uint32_t sign = random_.below(2) << 31;
        switch (random_.below(4)) {
        case 0: return sign | random_.word() >> random_.between(9, 31);                    // denormal
        case 1: return sign | 0x7F800000 | (random_.chance(50) ? random_.word() >> 9 : 0); // infinity, NaN
        default: return sign | (random_.between(100, 150) << 23) | (random_.word() & 0x7FFFFF);
        }
    }

    std::uint32_t instruction(unsigned position, unsigned length) {
        const unsigned kind = random_.below(100);
        const Op op = kind < 50   ? random_.any(arithmetic)
                      : kind < 64 ? random_.any(others)
                      : kind < 82 ? random_.any(storage)
                      : kind < 88 ? random_.any(control)
                                  : random_.any(integer);
        std::uint32_t word = match(op) | field_rt(fpr()) | field_ra(fpr()) | field_rb(fpr()) | fpr() << 6;
        const isa::InstructionInfo& info = isa::instruction_table[static_cast<std::size_t>(op)];
        namespace flag = isa::flag;
        if ((info.flags & (flag::load | flag::store)) != 0) {
            const bool update = (info.flags & flag::update) != 0;
            word = match(op) | field_rt((info.flags & flag::fp) != 0 ? fpr() : 11) |
                   field_ra(update && random_.chance(2) ? 0 : pointer);
            word |= info.form == isa::Form::d_fmem || info.form == isa::Form::d_mem ? random_.below(64) * 4
                                                                                    : field_rb(offset);
        } else if (op == Op::addi) {
            word = immediate(op, random_.chance(50) ? offset : 12, 0, random_.below(64) * 4);
        } else if (op == Op::bc || op == Op::b) {
            const std::uint32_t to = (random_.between(position + 1, length) - position) * 4;
            word = match(op) | to;
            if (op == Op::bc)
                word |= field_rt(random_.pick<unsigned>({4, 12, 16, 18, 20})) | field_ra(random_.below(32));
            if (random_.chance(40)) word |= 1; // a call
        } else if (op == Op::bclr) {
            word = match(op) | field_rt(random_.pick<unsigned>({4, 12, 20})) | field_ra(random_.below(32));
        } else if (op == Op::mfcr) {
            word = match(op) | field_rt(12);
        } else if (op == Op::mtfsfi) {
            word = match(op) | random_.below(8) << 23 | random_.below(16) << 12;
            if (!enables_) word = match(op) | random_.pick<std::uint32_t>({0, 1, 2, 7}) << 23 | random_.below(4) << 12;
        } else if (op == Op::mtfsb0 || op == Op::mtfsb1) {
            word = match(op) | field_rt(random_.below(enables_ ? 32 : 24));
        } else if (op == Op::mtfsf) {
            word = match(op) | field_rb(fpr()) | (random_.chance(40) ? 255 : random_.below(enables_ ? 256 : 64)) << 19;
        }
        if ((info.flags & flag::rc) != 0 && random_.chance(4)) word |= 1;
        return word;
    }

    std::uint32_t fpr() { return random_.chance(95) ? random_.any(fprs_) : random_.below(32); }

    void write(std::uint32_t ea, std::uint32_t word) {
        pair_->both([&](Machine& machine) { machine.write_word(Layout::code + (ea - code_base), word); });
    }

    Random random_;
    std::unique_ptr<Pair> pair_;
    std::array<std::uint32_t, 6> fprs_{};
    bool enables_ = false;
};

} // namespace

TEST_CASE("floating point is the same on the JIT and the interpreter", "[fp]") {
    Programs(300, translating_at_once).run(instruction_goal(1'500'000));
}

TEST_CASE("floating point is the same without each of its optimisations", "[fp][optimisations]") {
    using x64::Optimisation;
    for (const auto which : {Optimisation::fp, Optimisation::fp_fused, Optimisation::fp_wide, Optimisation::movbe,
                             Optimisation::page_checks, Optimisation::fp_control, Optimisation::return_stack})
        Programs(301, x64::Optimisations(x64::Optimisations::bit(which) | translating_at_once.disabled()))
            .run(instruction_goal(400'000));
}

TEST_CASE("what FPSCR is owed survives calls and returns", "[fp]") {
    Programs(302, translating_at_once).run_calls(2000);
    Programs(303, x64::Optimisations(x64::Optimisations::bit(x64::Optimisation::return_stack) |
                                     translating_at_once.disabled()))
        .run_calls(500);
}
