// SPDX-License-Identifier: GPL-2.0-only
#include "tests/interp/user_diff/test_case.h"

#include "translator/fp/fp.h"

namespace untrap::user_diff {
namespace {

using isa::Form;
using isa::Instruction;
using isa::Op;
using isa::TrapKind;

// XER bits of the 440. QEMU keeps the others as written; the 440 does not have them.
constexpr std::uint32_t xer_bits = 0xE000007F;

constexpr std::uint64_t fp_sign_bit = 0x8000'0000'0000'0000;
constexpr std::uint64_t fp_fraction_bits = 0x000F'FFFF'FFFF'FFFF;

bool in_scratch(std::uint32_t ea, unsigned size) {
    const std::uint32_t offset = ea - scratch_address;
    return offset < SCRATCH_SIZE && size <= SCRATCH_SIZE - offset;
}

// The signal that Linux makes of a trap; 0 for what is no signal or must not happen here.
std::uint32_t signal_of(TrapKind kind) {
    switch (kind) {
    case TrapKind::illegal:
    case TrapKind::privileged: return 4;
    case TrapKind::trap_condition: return 5;
    case TrapKind::fp_exception: return 8;
    default: return 0;
    }
}

// Where both sides may differ without either being wrong.
bool rejected(Instruction insn, const isa::CpuState& cpu) {
    switch (insn.op) {
    // The system call would be executed, the time is not the same.
    case Op::sc:
    case Op::mftb: return true;
    // RA or RB among the registers loaded: an invalid form that QEMU refuses and the 440 and we execute.
    case Op::lswi:
    case Op::lswx: {
        const unsigned bytes = insn.op == Op::lswx ? cpu.xer_count : insn.nb() == 0 ? 32U : insn.nb();
        const unsigned count = (bytes + 3) / 4;
        const auto loaded = [&](unsigned number) { return (number - insn.rt()) % 32 < count; };
        return loaded(insn.ra()) || (insn.op == Op::lswx && loaded(insn.rb()));
    }
    // An invalid form, illegal on both sides, but QEMU has written LR by then.
    case Op::bcctr: return (insn.bo() & 4) == 0 && insn.lk();
    case Op::mtspr: return insn.spr() == isa::spr::xer && (cpu.gpr[insn.rs()] & ~xer_bits) != 0;
    case Op::stwcx_rc: return false;
    default:
        // For want of a reservation in memory, QEMU's stwcx. also compares the word with what lwarx saw.
        return cpu.reserve_valid != 0 && insn.has(isa::flag::store);
    }
}

// Multiply-accumulate as QEMU 10.0 has it: without OE and saturation the result is not written at all, and the signed
// forms take for an overflow that the signs of RT and product differ while the sign of RT stays. tests/interp's
// directed cases cover what this leaves out.
bool mac_rejected(Instruction insn, const isa::CpuState& before) {
    if (insn.word >> 26 != 4 || !insn.has(isa::flag::oe)) return false;
    const unsigned extended = insn.word >> 1 & 0x1FF;
    const bool saturating = (extended & 0x40) != 0, is_signed = (extended & 0x20) != 0, subtracts = (extended & 2) != 0;
    if (!saturating && !insn.oe()) return true;
    if (!is_signed) return false;
    const auto half = [](std::uint32_t value, bool high) {
        return std::int64_t{static_cast<std::int16_t>(high ? value >> 16 : value & 0xFFFF)};
    };
    const bool high_a = (extended & 0x180) == 0, high_b = (extended & 0x100) == 0;
    const std::int64_t product = half(before.gpr[insn.ra()], high_a) * half(before.gpr[insn.rb()], high_b);
    const std::int64_t accumulator = static_cast<std::int32_t>(before.gpr[insn.rt()]);
    const std::int64_t exact = subtracts ? accumulator - product : accumulator + product;
    const auto truncated = static_cast<std::int32_t>(exact);
    const bool overflow = exact != truncated;
    const bool qemu_overflow = (accumulator ^ product) < 0 && (accumulator ^ truncated) >= 0;
    return overflow != qemu_overflow;
}

// FP instructions on which QEMU departs from the architecture; tests/fp compares arithmetic with it in detail, here
// it is operands, records and interrupts that count.
bool fp_rejected(Instruction insn, const isa::CpuState& before, const isa::CpuState& after) {
    constexpr std::uint32_t uncommon = fp::fpscr_exceptions & ~fp::fpscr_xx;
    if (!insn.has(isa::flag::fp) || insn.has(isa::flag::load | isa::flag::store)) return false;
    switch (insn.op) {
    case Op::fmr:
    case Op::fneg:
    case Op::fabs:
    case Op::fnabs:
    case Op::fsel: return false;
    // QEMU does not maintain FR, so it must neither be read nor written.
    case Op::mffs: return (before.fpscr & fp::fpscr_fr) != 0;
    case Op::mcrfs: return insn.bfa() == 3;
    case Op::mtfsb1: // forgets FX and NI
        return (fp::fpscr_exceptions >> (31 - insn.bt()) & 1) != 0 || insn.bt() == 29 || insn.bt() == 13;
    case Op::mtfsb0: return insn.bt() == 13;
    case Op::mtfsfi: return insn.bf() == 3;
    case Op::mtfsf: return (insn.flm() & 0x10) != 0;
    case Op::fcmpu:
    case Op::fcmpo: // QEMU clears FI; NaNs in other ways
        return (before.fpscr & fp::fpscr_fi) != 0 || (after.fpscr & fp::fpscr_fpcc) == fp::fpscr_fu;
    default: {
        isa::CpuState afresh = before;
        std::array<std::uint8_t, SCRATCH_SIZE> bytes{};
        ScratchStorage storage(bytes);
        afresh.fpscr = before.fpscr & (fp::fpscr_rn | fp::fpscr_ni);
        interp::execute(afresh, storage, insn);
        if ((afresh.fpscr & uncommon) != 0) return true;
        const std::uint64_t magnitude = fp::fabs(afresh.fpr[insn.rt()]);
        const bool tiny = magnitude < 0x3810'0000'0000'0000; // FPRF of single denormals
        const bool nan = magnitude > 0x7FF0'0000'0000'0000;  // their payload
        const bool converts = insn.op == Op::fctiw || insn.op == Op::fctiwz;
        if (!converts && ((tiny && magnitude != 0) || nan)) return true;
        const bool inexact = (afresh.fpscr & fp::fpscr_xx) != 0;
        // FX is set again by XX that was set before; fnm* negate before they round.
        const bool negated =
            insn.op == Op::fnmadd || insn.op == Op::fnmadds || insn.op == Op::fnmsub || insn.op == Op::fnmsubs;
        return inexact &&
               ((before.fpscr & (fp::fpscr_xx | fp::fpscr_fx)) == fp::fpscr_xx || (negated && (before.fpscr & 2) != 0));
    }
    }
}

} // namespace

bool ScratchStorage::load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) {
    if (!in_scratch(ea, size)) {
        trap = {.kind = TrapKind::data_miss, .ea = ea};
        return false;
    }
    value = 0;
    for (unsigned byte = 0; byte < size; ++byte) value = value << 8 | bytes_[ea - scratch_address + byte];
    return true;
}

bool ScratchStorage::store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) {
    if (!in_scratch(ea, size)) {
        trap = {.kind = TrapKind::data_miss, .is_store = true, .ea = ea};
        return false;
    }
    for (unsigned byte = 0; byte < size; ++byte)
        bytes_[ea - scratch_address + byte] = static_cast<std::uint8_t>(value >> 8 * (size - 1 - byte));
    return true;
}

bool ScratchStorage::fetch(std::uint32_t, std::uint32_t&, isa::Trap& trap) {
    trap.kind = TrapKind::fetch_miss; // cases are executed instruction by instruction
    return false;
}

bool ScratchStorage::check(std::uint32_t ea, bool store, isa::Trap& trap) {
    if (in_scratch(ea, 1)) return true;
    trap = {.kind = TrapKind::data_miss, .is_store = store, .ea = ea};
    return false;
}

std::uint32_t Generator::general_value() {
    constexpr std::array<std::uint32_t, 12> corners = {
        0, 1, 2, 31, 32, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x80000001, 0x00008000, 0xFFFF8000, 0x7FFF8000};
    switch (below(8)) {
    case 0: return corners[below(corners.size())];
    case 1: return below(64);
    case 2: return word() & word() & word();
    case 3: return 0xFFFFFFFF << below(32);
    case 4:
    case 5: return scratch_address + below(SCRATCH_SIZE / 2);
    default: return word();
    }
}

std::uint64_t Generator::fp_value() {
    const std::uint64_t sign = random_() & fp_sign_bit;
    const std::uint64_t fraction = random_() & fp_fraction_bits;
    const auto with_exponent = [&](std::uint64_t exponent) { return sign | exponent << 52 | fraction; };
    constexpr std::array<std::uint64_t, 10> corners = {
        0,
        0x3FF0'0000'0000'0000, // 1
        0x7FF0'0000'0000'0000, // infinity
        0x7FF8'0000'0000'0000, // quiet NaN
        0x7FF0'0000'0000'0001, // signalling NaN
        0x0000'0000'0000'0001, // least denormal
        0x7FEF'FFFF'FFFF'FFFF, // greatest
        0x41DF'FFFF'FFC0'0000, // greatest word
        0x47EF'FFFF'E000'0000, // greatest single
        0x36A0'0000'0000'0000, // least single denormal
    };
    switch (below(8)) {
    case 0:
    case 1: return sign | corners[below(corners.size())];
    case 2: return sign | (0x3F0 + std::uint64_t{below(32)}) << 52 | (fraction & ~0x1FFF'FFFFULL); // single
    case 3: return with_exponent(0x3F0 + below(48));
    case 4: return with_exponent(0x360 + below(80)); // about the least singles
    case 5: return with_exponent(0x7F0 + below(16));
    case 6: return with_exponent(below(4));
    default: return random_();
    }
}

Frame Generator::initial_frame(const TestCase& test, unsigned count) {
    Frame frame;
    isa::CpuState& cpu = frame.cpu;
    cpu.reset();
    for (auto& value : cpu.gpr) value = general_value();
    for (auto& value : cpu.fpr) value = fp_value();
    for (auto& byte : frame.scratch) byte = static_cast<std::uint8_t>(word());
    cpu.set_cr(word());
    cpu.set_xer(word() & xer_bits & (chance(2) ? 0xFFFFFFFF : 0xE000001F));
    const auto code_address = [&] { return test.address + 4 * below(count + 1) + below(4); };
    cpu.lr = chance(2) ? code_address() : general_value();
    cpu.ctr = chance(2) ? code_address() : general_value();
    cpu.usprg0 = word();
    std::uint32_t fpscr = fp::with_summaries(word() & word() & ~fp::fpscr_fr & (chance(8) ? 0xFFFFFFFF : ~0xF8U));
    if ((fpscr & fp::fpscr_fex) != 0) fpscr = fp::with_summaries(fpscr & ~0xF8U); // else it could not be loaded
    cpu.fpscr = fpscr;
    cpu.pc = test.address;
    // As qemu-ppc runs user programs: every enabled FP exception is taken.
    cpu.page.msr = isa::msr::pr | isa::msr::fp | isa::msr::fe0 | isa::msr::fe1;
    return frame;
}

// Makes the effective address of a storage access fall into the scratch area; false if these registers cannot.
bool Generator::aim(std::uint32_t& instruction_word, const isa::CpuState& cpu) {
    const Instruction insn = isa::decode(instruction_word);
    const std::uint32_t base = insn.ra() == 0 ? 0 : cpu.gpr[insn.ra()];
    switch (insn.info().form) {
    case Form::d_mem:
    case Form::d_fmem: {
        const std::uint32_t displacement = scratch_address + below(SCRATCH_SIZE) - base;
        if (displacement + 0x8000 > 0xFFFF) return false;
        instruction_word = (instruction_word & 0xFFFF0000) | (displacement & 0xFFFF);
        return true;
    }
    case Form::x_mem:
    case Form::x_fmem:
    case Form::cache: return in_scratch(base + cpu.gpr[insn.rb()], 1);
    case Form::x_string_imm: return in_scratch(base, 1);
    default: return true;
    }
}

// stwcx. for the address reserved, if two registers add up to it; another instruction would hardly hit it by chance.
bool Generator::matching_store(std::uint32_t& instruction_word, const isa::CpuState& cpu) {
    const unsigned first = below(32);
    for (unsigned pair = 0; pair < 1024; ++pair) {
        const unsigned ra = (first + pair / 32) % 32, rb = pair % 32;
        if ((ra == 0 ? 0 : cpu.gpr[ra]) + cpu.gpr[rb] != cpu.reserve_address) continue;
        instruction_word = isa::instruction_table[static_cast<std::size_t>(Op::stwcx_rc)].match | below(32) << 21 |
                           ra << 16 | rb << 11;
        return true;
    }
    return false;
}

Instruction Generator::candidate(const isa::CpuState& cpu, unsigned slots_left) {
    std::uint32_t store_word = 0;
    if (cpu.reserve_valid != 0 && chance(2) && matching_store(store_word, cpu)) return isa::decode(store_word);
    for (;;) {
        const isa::InstructionInfo& info = isa::instruction_table[below(isa::op_count)];
        if ((info.flags & isa::flag::priv) != 0 && !chance(16)) continue;
        if ((info.flags & isa::flag::trap) != 0 && !chance(2)) continue;
        std::uint32_t instruction_word = info.match | (word() & isa::operand_mask(info.form));
        if ((info.flags & isa::flag::rc) != 0) instruction_word |= below(2);
        if ((info.flags & isa::flag::oe) != 0) instruction_word |= below(2) << 10;
        switch (info.form) {
        case Form::i:
        case Form::b: {
            // To one of the following slots, or to the end.
            const std::uint32_t distance = 4 * (1 + below(slots_left));
            const std::uint32_t target = (instruction_word & 2) != 0 ? cpu.pc + distance : distance;
            const std::uint32_t field = info.form == Form::i ? 0x03FFFFFC : 0xFFFC;
            instruction_word = (instruction_word & ~field) | (target & field);
            break;
        }
        case Form::xfx_spr: {
            constexpr std::array<unsigned, 6> numbers = {1, 8, 9, 256, 26, 512};
            const unsigned number = numbers[chance(8) ? below(numbers.size()) : below(4)];
            instruction_word &= ~(0x3FFU << 11);
            instruction_word |= (number & 31) << 16 | (number >> 5) << 11;
            break;
        }
        default:
            for (unsigned attempt = 0; attempt < 32 && !aim(instruction_word, cpu); ++attempt)
                instruction_word = (instruction_word & ~(0x3FFU << 11)) | (word() & 0x3FF << 11);
        }
        const Instruction insn = isa::decode(instruction_word);
        if (!rejected(insn, cpu) && !mac_rejected(insn, cpu)) return insn;
    }
}

TestCase Generator::make(unsigned number) {
    TestCase test;
    test.address = BATCH + CODE_OFFSET + (number * CASE_WORDS + CASE_PROLOGUE) * 4;
    const unsigned count = 1 + below(max_instructions);
    const std::uint32_t end = test.address + 4 * count;
    test.before = initial_frame(test, count);
    test.words.assign(count, nop);
    Frame frame = test.before;
    while (frame.cpu.pc != end) {
        Frame next = frame;
        ScratchStorage storage(next.scratch);
        const Instruction insn = candidate(frame.cpu, (end - frame.cpu.pc) / 4);
        const isa::Trap trap = interp::execute(next.cpu, storage, insn);
        if (fp_rejected(insn, frame.cpu, next.cpu)) continue;
        if (trap.kind == TrapKind::none) {
            // Forward only, and not beyond the end.
            if (next.cpu.pc - frame.cpu.pc - 4 > end - frame.cpu.pc - 4) continue;
        } else {
            next.signal = signal_of(trap.kind);
            next.nip = next.cpu.pc;
            if (next.signal == 0 || next.cpu.gpr[1] - SIGNAL_STACK < SIGNAL_STACK_SIZE) continue;
            // QEMU raises the interrupt before it records to CR1.
            if (trap.kind == TrapKind::fp_exception && insn.records()) continue;
        }
        test.words[(frame.cpu.pc - test.address) / 4] = insn.word;
        test.executed.push_back(insn.op);
        frame = next;
        if (frame.signal != 0) break;
    }
    test.after = frame;
    return test;
}

} // namespace untrap::user_diff
