// SPDX-License-Identifier: GPL-2.0-only
#include "random_kernel.h"

#include <algorithm>

#include "machine.h"

namespace untrap::tests {

using isa::Interrupt;
using isa::Op;
using mmu::TlbEntry;
namespace msr = isa::msr;
namespace spr = isa::spr;

namespace {

constexpr unsigned handler_words = 64, code_words = 0x8000;
constexpr std::uint32_t always = field_rt(20), counting = field_rt(16);

} // namespace

std::uint32_t RandomKernel::random_pointer(Random& random) {
    const std::uint32_t offset = random.below(0x1000) & ~(random.chance(70) ? 3U : 0U);
    switch (random.below(8)) {
    case 0: return window_base + random.below(8) * 0x1000 + offset;
    case 1:
    case 2: return refill_base + random.below(24) * 0x1000 + offset;
    case 3: return random.chance(20) ? device_base + offset : random.word();
    default: return data_base + random.below(16) * 0x1000 + offset;
    }
}

std::vector<TlbEntry> RandomKernel::fixed_entries() {
    constexpr std::uint32_t size_64k = 0x30, size_4k = 0x10;
    const auto entry = [](std::uint32_t ea, bool space, std::uint64_t real, std::uint32_t attributes) {
        return TlbEntry{.word0 = ea | TlbEntry::valid_bit | (space ? TlbEntry::ts_bit : 0) | size_64k,
                        .word1 = static_cast<std::uint32_t>(real),
                        .word2 = attributes};
    };
    constexpr std::uint32_t executable = TlbEntry::sx | TlbEntry::sr | TlbEntry::ux | TlbEntry::ur;
    constexpr std::uint32_t writable = TlbEntry::sw | TlbEntry::sr | TlbEntry::uw | TlbEntry::ur;
    const auto process_page = [](std::uint8_t pid) {
        return TlbEntry{.word0 = process_base | TlbEntry::valid_bit | size_4k,
                        .word1 = static_cast<std::uint32_t>(Layout::code) + 0xF000 + 0x1000U * pid,
                        .word2 = executable,
                        .tid = pid};
    };
    return {
        entry(code_base, false, Layout::code, executable), process_page(1),
        entry(code_base, true, Layout::code, executable),  process_page(2),
        entry(data_base, false, Layout::data, writable),   entry(data_base, true, Layout::data + 0x10000, writable),
        entry(device_base, false, Layout::hole, writable), entry(writable_code_base, false, Layout::code, writable),
    };
}

RandomKernel::RandomKernel(Random& random)
    : random_(random), use_(RegisterUse::random(random, 0)), generator_(random, use_), code_(code_words) {
    for (const Op op :
         {Op::rfi, Op::rfci, Op::rfmci, Op::mtmsr, Op::tlbwe, Op::mtspr, Op::b, Op::bc, Op::bclr, Op::bcctr})
        generator_.exclude(op);
    generator_.set_uniform_percent(35);
    // The main part first: a handler may have to know where it ends.
    next_ = (main_base - code_base) / 4;
    main_part();
    process_pages();
    for (unsigned which = 0; which < isa::interrupt_count; ++which) {
        next_ = which * handler_words;
        handler(static_cast<Interrupt>(which));
    }
}

void RandomKernel::load_constant(unsigned gpr, std::uint32_t value) {
    emit(immediate(Op::addis, gpr, 0, value >> 16));
    emit(immediate(Op::ori, gpr, gpr, value));
}
void RandomKernel::to_spr(unsigned number, unsigned gpr) { emit(match(Op::mtspr) | field_rt(gpr) | field_spr(number)); }
void RandomKernel::from_spr(unsigned gpr, unsigned number) {
    emit(match(Op::mfspr) | field_rt(gpr) | field_spr(number));
}
void RandomKernel::to_dcr(unsigned number, unsigned gpr) { emit(match(Op::mtdcr) | field_rt(gpr) | field_spr(number)); }
void RandomKernel::change_msr(std::uint32_t value) {
    load_constant(t0, value);
    emit(match(Op::mtmsr) | field_rt(t0));
}

// -- the main part ---------------------------------------------------------------------------------------------------

std::uint32_t RandomKernel::random_mode() {
    std::uint32_t value = random_.word() & (msr::ee | msr::ce | msr::me | msr::fp);
    if (random_.chance(60)) value |= msr::fp | msr::me;
    if (random_.chance(10)) value |= msr::fe0;
    if (random_.chance(10)) value |= msr::fe1;
    if (random_.chance(12)) value |= msr::is;
    if (random_.chance(12)) value |= msr::ds;
    if (random_.chance(15)) value |= msr::pr;
    return value;
}

void RandomKernel::interrupt_enables() {
    const auto wrteei = [&](bool on) { emit(match(Op::wrteei) | (on ? 0x8000U : 0)); };
    switch (random_.below(6)) {
    case 0: wrteei(true); break;
    case 1: wrteei(false); break;
    case 2: // a critical section
        emit(match(Op::mfmsr) | field_rt(t0));
        wrteei(false);
        for (unsigned i = random_.below(4); i != 0; --i) emit(generator_.instruction(0, 1));
        emit(match(Op::wrtee) | field_rt(t0));
        break;
    case 3:
        load_constant(t0, random_.word());
        emit(match(Op::wrtee) | field_rt(t0));
        break;
    case 4: // read, modify, write
        emit(match(Op::mfmsr) | field_rt(t0));
        emit(immediate(random_.pick({Op::ori, Op::xori}), t0, t0,
                       random_.pick({msr::ee, msr::me, msr::fp, msr::fe0, msr::ee | msr::me})));
        emit(match(Op::mtmsr) | field_rt(t0));
        break;
    default: change_msr(random_mode()); break;
    }
}

void RandomKernel::registers_moves() {
    constexpr unsigned writable[] = {spr::sprg0,  spr::sprg1,  spr::sprg2,  spr::sprg3, spr::sprg4,
                                     spr::sprg5,  spr::sprg6,  spr::sprg7,  spr::srr0,  spr::srr1,
                                     spr::csrr0,  spr::csrr1,  spr::dear,   spr::esr,   spr::mmucr,
                                     spr::usprg0, spr::mcsrr0, spr::mcsrr1, spr::iac1,  spr::xer};
    constexpr unsigned readable[] = {spr::sprg0, spr::sprg3, spr::sprg4, spr::sprg7,      spr::srr0,
                                     spr::srr1,  spr::csrr0, spr::csrr1, spr::dear,       spr::esr,
                                     spr::mmucr, spr::pid,   spr::dec,   spr::tsr,        spr::tcr,
                                     spr::pvr,   spr::ivpr,  spr::dbsr,  spr::sprg4_user, spr::decar};
    for (unsigned i = random_.between(1, 4); i != 0; --i) {
        if (random_.chance(50))
            to_spr(random_.any(writable), random_.below(32));
        else
            from_spr(t0 + random_.below(3), random_.any(readable));
    }
    if (random_.chance(40)) {
        emit(immediate(Op::addi, t0, 0, random_.below(4)));
        to_spr(spr::pid, t0);
    }
}

// Maps, remaps or drops a page of the window area. Pages of several processes share addresses, but no two entries
// match at once.
void RandomKernel::tlb_write() {
    const unsigned number = random_.below(windows);
    const unsigned page = number / 3;
    const std::uint32_t tid = page < 4 ? number % 3 + 1 : 0; // the upper pages: one entry each, for all
    const unsigned index = page < 4 ? number : page * 3;
    const bool other_space = page >= 4 && page % 2 != 0;
    const std::uint32_t words[] = {
        window_base + page * 0x1000 + (random_.chance(92) ? TlbEntry::valid_bit : 0) +
            (other_space ? TlbEntry::ts_bit : 0) + (random_.chance(85) ? 0x10U : 0),
        static_cast<std::uint32_t>(random_.chance(10) ? Layout::hole : Layout::data) + random_.below(64) * 0x1000,
        (random_.chance(70) ? 0x3FU : random_.word() & 0x3F) | (random_.chance(10) ? TlbEntry::attr_e : 0)};
    load_constant(t2, tid | (random_.chance(20) ? isa::mmucr::sts : 0));
    to_spr(spr::mmucr, t2);
    load_constant(t1, first_window + index);
    const bool together = random_.chance(50); // all values ready: three tlbwe in a row
    const unsigned targets[] = {t0, t2, 27};
    if (together)
        for (unsigned ws = 0; ws < 3; ++ws) load_constant(targets[ws], words[ws]);
    for (unsigned ws = 0; ws < 3; ++ws) {
        const unsigned value = together ? targets[ws] : t0;
        if (!together) load_constant(value, words[ws]);
        emit(match(Op::tlbwe) | field_rt(value) | field_ra(t1) | field_rb(ws));
    }
    if (random_.chance(30)) emit(match(Op::tlbsync));
    if (random_.chance(30)) emit(match(Op::isync));
    if (random_.chance(30)) emit(match(Op::tlbre) | field_rt(t0) | field_ra(t1) | field_rb(random_.below(3)));
    if (random_.chance(30)) {
        load_constant(t0, window_base + page * 0x1000 + random_.below(0x1000));
        emit(match(Op::tlbsx) | field_rt(t2) | field_rb(t0) | random_.below(2));
    }
    // Whether it is there now is seen by using it.
    load_constant(t0, window_base + page * 0x1000 + random_.below(0x1000));
    emit(immediate(random_.chance(50) ? Op::lwz : Op::stw, t1, t0, 0));
}

void RandomKernel::return_from_interrupt() {
    const bool critical = random_.chance(25);
    if (critical)
        change_msr(msr::me);
    else
        emit(match(Op::wrteei));
    const unsigned length = random_.chance(50) ? 7 : 8;
    load_constant(t0, here() + length * 4);
    to_spr(critical ? spr::csrr0 : spr::srr0, t0);
    load_constant(t1, random_mode());
    to_spr(critical ? spr::csrr1 : spr::srr1, t1);
    emit(match(critical ? Op::rfci : Op::rfi));
    // The next instruction, or the one behind it.
    if (length == 8) emit(generator_.encode(Op::addi, 0, 1));
}

void RandomKernel::timers() {
    switch (random_.below(6)) {
    case 0:
    case 1:
        emit(immediate(Op::addi, t0, 0, random_.between(1, 300)));
        to_spr(spr::dec, t0);
        break;
    case 2:
        load_constant(t0, random_.word() & (isa::tcr::die | isa::tcr::fie | isa::tcr::are | isa::tcr::wie));
        to_spr(spr::tcr, t0);
        break;
    case 3:
        emit(immediate(Op::addi, t0, 0, random_.between(100, 400)));
        to_spr(spr::decar, t0);
        break;
    case 4:
        load_constant(t0, random_.word() & 0xCC000000);
        to_spr(spr::tsr, t0);
        break;
    default: // idle until the decrementer
        emit(immediate(Op::addi, t0, 0, random_.between(1, 500)));
        to_spr(spr::dec, t0);
        load_constant(t0, isa::tcr::die);
        to_spr(spr::tcr, t0);
        change_msr(msr::we | msr::ee | msr::ce | msr::me);
        break;
    }
}

void RandomKernel::devices() {
    switch (random_.below(5)) {
    case 0: to_dcr(random_.pick<unsigned>({dcr_raise_external, dcr_pulse_external}), t0); break;
    case 1: to_dcr(dcr_raise_critical, t0); break;
    case 2: emit(match(Op::mfdcr) | field_rt(t0) | field_spr(dcr_other + random_.below(4))); break;
    default:
        load_constant(t0, device_base + random_.below(0x1000));
        emit(immediate(random_.pick({Op::lwz, Op::stw, Op::lbz, Op::sth, Op::lha}), t1, t0, random_.below(64)));
        break;
    }
}

// A privileged instruction becomes another, back and forth each time this is executed.
void RandomKernel::modify_code() {
    const auto privileged = [&]() -> std::uint32_t {
        switch (random_.below(5)) {
        case 0: return match(Op::wrteei) | (random_.chance(50) ? 0x8000U : 0);
        case 1: return match(Op::mfmsr) | field_rt(t2);
        case 2: return match(Op::mtspr) | field_rt(random_.below(32)) | field_spr(spr::sprg2);
        case 3: return match(Op::tlbsync);
        default:
            return match(Op::mfspr) | field_rt(t2) |
                   field_spr(random_.pick<unsigned>({spr::sprg2, spr::pid, spr::dec}));
        }
    };
    const std::uint32_t first = privileged(),
                        second = random_.chance(20) ? generator_.encode(Op::addi, 0, 1) : privileged();
    const unsigned site = next_ + 9;
    load_constant(t0, writable_code_base + 4 * site);
    load_constant(t2, first ^ second);
    emit(immediate(Op::lwz, t1, t0, 0));
    emit(match(Op::xor_) | field_rt(t1) | field_ra(t1) | field_rb(t2));
    emit(immediate(Op::stw, t1, t0, 0));
    emit(random_.chance(50) ? match(Op::icbi) | field_rb(t0) : match(Op::msync));
    emit(match(Op::isync));
    emit(first);
    leave_code_alone();
}

// A store through the pointer left in t0 could change code that is being executed, without isync: then the
// architecture leaves open which of the two runs, and engines may differ.
void RandomKernel::leave_code_alone() { load_constant(t0, data_base + random_.below(0x4000) * 4); }

// Both pages hold the same instructions but for a constant, so that it shows in which process one ran.
void RandomKernel::process_pages() {
    for (unsigned position = 0; position < 256; ++position) {
        const std::uint32_t word = position % 8 == 7   ? match(Op::bclr) | always
                                   : position % 8 == 2 ? match(Op::mtspr) | field_rt(t2) | field_spr(spr::pid)
                                                       : 0;
        for (const unsigned pid : {1U, 2U}) {
            next_ = (0xF000 + 0x1000 * pid) / 4 + position;
            emit(word != 0 ? word : immediate(Op::addi, t1, t1, pid << position % 8));
        }
    }
}

void RandomKernel::call_process_page() {
    emit(immediate(Op::addi, t1, 0, 0));
    const std::uint32_t routine = random_.below(4) * 32;
    for (unsigned calls = 3; calls != 0; --calls) {
        emit(immediate(Op::addi, t0, 0, random_.between(1, 2)));
        to_spr(spr::pid, t0);
        emit(immediate(Op::addi, t2, 0, random_.between(1, 2)));
        emit(match(Op::b) | (process_base + routine - here()) | 1);
    }
    // What they left in t1 is kept until somebody compares.
    load_constant(t0, data_base + random_.below(0x4000) * 4);
    emit(immediate(Op::stw, t1, t0, 0));
}

void RandomKernel::forward_branch() {
    branches_.push_back({next_, random_.between(2, 5)});
    emit(random_.chance(15) ? match(Op::bc) | always
                            : match(Op::bc) | field_rt(random_.chance(50) ? 12 : 4) | field_ra(random_.below(32)));
}

void RandomKernel::sequence() {
    starts_.push_back(next_);
    const unsigned kind = random_.below(100);
    if (kind < 22)
        interrupt_enables();
    else if (kind < 42)
        registers_moves();
    else if (kind < 50)
        tlb_write();
    else if (kind < 56)
        return_from_interrupt();
    else if (kind < 62)
        timers();
    else if (kind < 67)
        devices();
    else if (kind < 75)
        forward_branch();
    else if (kind < 77)
        modify_code();
    else if (kind < 79)
        call_process_page();
    else if (kind < 82)
        for (unsigned gpr = 0; gpr < 32; ++gpr) {
            if ((use_.pointers >> gpr & 1) != 0 && random_.chance(50)) load_constant(gpr, random_pointer(random_));
        }
    else
        for (unsigned i = random_.between(1, 5); i != 0; --i) emit(generator_.instruction(0, 1));
}

// Sequences several times over, so that what traps there becomes hot.
void RandomKernel::loop() {
    starts_.push_back(next_);
    emit(immediate(Op::addi, t0, 0, random_.between(2, 6)));
    to_spr(spr::ctr, t0);
    const unsigned first = next_;
    for (unsigned i = random_.between(3, 10); i != 0; --i) sequence();
    starts_.push_back(next_);
    // Branches stay inside: CTR counts for this loop alone.
    for (const Branch& branch : branches_) {
        auto to = std::upper_bound(starts_.begin(), starts_.end(), branch.at);
        for (unsigned i = 1; i < branch.sequences && to + 1 != starts_.end(); ++i) ++to;
        code_[branch.at] |= (*to - branch.at) * 4;
    }
    branches_.clear();
    emit(match(Op::bc) | counting | ((first - next_) * 4 & 0xFFFC));
}

void RandomKernel::main_part() {
    const unsigned first = next_;
    for (unsigned i = random_.between(6, 14); i != 0; --i) loop();
    // The end: into supervisor state, tell of the lap, start over.
    starts_.push_back(next_);
    emit(match(Op::sc));
    to_dcr(dcr_lap, 3);
    emit(match(Op::b) | ((first - next_) * 4 & 0x03FFFFFC));
}

} // namespace untrap::tests
