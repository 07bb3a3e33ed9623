// SPDX-License-Identifier: GPL-2.0-only
// Level 3: the instructions behind a site whose exit goes on through them. They are decoded once, and what Linux has in
// such places between the privileged ones is done right here: the interpreter wants CR and XER where the core has them,
// which costs more than an exit.
#include "runtime/native/sequences.h"

#include <bit>

#include "runtime/byte_order.h"
#include "runtime/native/native_engine.h"
#include "translator/interp/interpreter.h"

namespace untrap::runtime::native {

using isa::Instruction;
using isa::Op;
using mmu::Access;
using mmu::TlbEntry;
using Kind = Sequence::Kind;
namespace msr = isa::msr;

namespace {

constexpr std::uint32_t page_mask = 0xFFF;

std::uint32_t word_at(const std::uint8_t* code, unsigned number) {
    return static_cast<std::uint32_t>(load_big_endian(code + 4 * number, 4));
}

Kind kind_of(Instruction insn) {
    if (plan::ends_sequence(insn)) return insn.op == Op::rfi ? Kind::last : Kind::stop;
    if (insn.op == Op::tlbwe) return Kind::tlb_word;
    if (insn.privileged()) return Kind::privileged;
    // What would not be quick by itself, and stores, end it. USPRG0 is in the CPU.
    if (insn.has(isa::flag::store) || (insn.has(isa::flag::spr_access) && insn.spr() == isa::spr::usprg0))
        return Kind::stop;
    switch (insn.op) {
    case Op::msync:
    case Op::isync:
    case Op::mbar: return Kind::nothing;
    case Op::addi:
    case Op::addis: return Kind::add;
    case Op::cmpi:
    case Op::cmpli: return Kind::compare;
    case Op::cmp:
    case Op::cmpl: return Kind::compare_registers;
    case Op::rlwinm: return Kind::rotate;
    case Op::rlwimi: return Kind::insert;
    case Op::or_: return Kind::or_registers;
    case Op::and_: return Kind::and_registers;
    case Op::andi_rc:
    case Op::andis_rc: return Kind::and_immediate;
    case Op::ori:
    case Op::oris: return Kind::or_immediate;
    case Op::mfcr: return Kind::read_cr;
    case Op::mtcrf: return Kind::write_cr;
    case Op::mfspr:
        return insn.spr() >= isa::spr::sprg4_user && insn.spr() <= isa::spr::sprg7_user ? Kind::read_sprg : Kind::other;
    case Op::bc: return (insn.bo() & 4) != 0 ? Kind::branch : Kind::other;
    case Op::lwz: return Kind::plain;
    default: return Kind::other;
    }
}

Sequence::Step step_of(std::uint32_t word, unsigned number, bool loops) {
    const Instruction insn = isa::decode(word);
    Sequence::Step step;
    step.word = word;
    if (!plan::continues_sequence(insn) && !plan::ends_sequence(insn) && !(loops && plan::closes_loop(insn, number)))
        return step;
    step.kind = kind_of(insn);
    step.rt = static_cast<std::uint8_t>(insn.rt());
    step.ra = static_cast<std::uint8_t>(insn.ra());
    switch (insn.op) {
    case Op::addi: step.value = static_cast<std::uint32_t>(insn.si()); break;
    case Op::addis: step.value = static_cast<std::uint32_t>(insn.si()) << 16; break;
    case Op::cmpi: step.value = static_cast<std::uint32_t>(insn.si()); break;
    case Op::cmpli: step.value = insn.ui(); break;
    case Op::cmp:
    case Op::cmpl: step.value = insn.rb(); break;
    case Op::or_:
    case Op::and_: step.value = insn.rb(); break;
    case Op::mtcrf:
        for (unsigned field = 0; field < 8; ++field)
            if ((insn.fxm() >> (7 - field) & 1) != 0) step.value |= 0xF0000000 >> 4 * field;
        break;
    case Op::mfspr: step.value = insn.spr() - isa::spr::sprg4_user + 4; break;
    case Op::ori:
    case Op::andi_rc: step.value = insn.ui(); break;
    case Op::oris:
    case Op::andis_rc: step.value = insn.ui() << 16; break;
    case Op::rlwinm:
    case Op::rlwimi:
        step.value = isa::rotate_mask(insn.mb(), insn.me());
        step.shift = static_cast<std::uint8_t>(insn.sh());
        break;
    default: break;
    }
    step.records = insn.records();
    step.is_signed = insn.op == Op::cmp || insn.op == Op::cmpi;
    return step;
}

// The field of CR that a comparison leaves, but for SO; that field set in CR.
std::uint32_t compared(std::uint32_t a, std::uint32_t b, bool is_signed) {
    const std::uint32_t flip = is_signed ? 0x80000000 : 0;
    a ^= flip;
    b ^= flip;
    return a < b ? 8U : a > b ? 4U : 2U;
}
void set_field(World& world, unsigned field, std::uint32_t result) {
    const unsigned shift = 28 - 4 * field;
    world.cr = (world.cr & ~(0xFU << shift)) | (result | world.xer >> 31) << shift;
}

bool is_sweep(const Sequence& sequence) {
    const Sequence::Step &write = sequence.steps[0], &add = sequence.steps[1], &compare = sequence.steps[2];
    const Instruction tlbwe{.word = write.word}, comparison{.word = compare.word},
        branch{.word = sequence.steps[3].word};
    return write.kind == Kind::tlb_word && tlbwe.ws() == 0 && add.kind == Kind::add && add.rt == write.ra &&
           add.ra == add.rt && add.ra != 0 &&
           (compare.kind == Kind::compare || compare.kind == Kind::compare_registers) &&
           sequence.steps[3].kind == Kind::branch && (branch.bo() & 16) == 0 && branch.bi() >> 2 == comparison.bf() &&
           branch.bd() == -3 * 4;
}

} // namespace

// The sequence at pc, as it is in the guest's memory now; nullptr: it is not to be had, or not in one piece.
Sequence* NativeEngine::sequence_at(std::uint32_t site, const Settled& settled) {
    const isa::StatePage& page = vcpu_.state.page;
    Sequence& found = sequences_.at(site);
    if ((page.msr & (msr::is | msr::ds | msr::pr)) != 0) return nullptr;
    if (found.site == site && found.generation == code_generation_ && found.count == settled.span) [[likely]]
        return &found;
    if (found.site == site && found.count == settled.span && found.memory_version == vcpu_.memory.version() &&
        found.entry == vcpu_.tlb.entry(found.index)) [[likely]] {
        unsigned number = 0;
        while (number < found.count && word_at(found.code, number) == found.words[number]) ++number;
        if (number == found.count) {
            if (found.asked != code_generation_) trust_sequence(found);
            return &found;
        }
    }
    found.site = Sequence::none;
    const int index = vcpu_.tlb.search(site, 0, page.pid);
    if (index < 0) return nullptr;
    const TlbEntry& entry = vcpu_.tlb.entry(static_cast<unsigned>(index));
    if (entry.tid != 0 || entry.little_endian() || entry.page_shift() < Memslot::page_shift ||
        !mmu::GuestTlb::permits(entry, false, Access::fetch))
        return nullptr;
    const std::uint32_t bytes = 4U * settled.span;
    if ((site & page_mask) + bytes > page_mask + 1) return nullptr;
    const std::uint8_t* const code = vcpu_.memory.find(entry.translate(site), bytes, false);
    if (code == nullptr) return nullptr;
    found.count = static_cast<std::uint8_t>(settled.span);
    found.loops = settled.loops;
    found.index = static_cast<std::uint8_t>(index);
    found.entry = entry;
    found.memory_version = vcpu_.memory.version();
    found.code = code;
    for (unsigned number = 0; number < found.count; ++number) {
        found.words[number] = word_at(code, number);
        found.steps[number] = step_of(found.words[number], number, found.loops);
    }
    found.sweeps = found.loops && found.count > 3 && is_sweep(found);
    found.site = site;
    trust_sequence(found);
    return &found;
}

// In a page that is executed from a copy nothing changes unseen.
void NativeEngine::trust_sequence(Sequence& sequence) {
    sequence.asked = code_generation_;
    sequence.generation = Sequence::never;
    const std::uint64_t real = sequence.entry.translate(sequence.site);
    CodeCopies::Block* const block = patching_.copies.find(real);
    if (block == nullptr || block->use[block->page_of(real)] == CodeCopies::Use::own) return;
    contexts_.watch(sequence.index);
    sequence.generation = code_generation_;
}

// The sweeps of a sequence from behind its first step on: as that step by step, for entries that become void. The step
// to go on with; no rounds left: at the site.
unsigned NativeEngine::sweep(const Sequence& sequence, unsigned& rounds) {
    isa::CpuState& state = vcpu_.state;
    const Sequence::Step &write = sequence.steps[0], &add = sequence.steps[1], &compare = sequence.steps[2];
    const Instruction branch{.word = sequence.steps[3].word};
    const std::uint32_t tid = state.page.mmucr & 0xFF, overflow = world_.xer >> 31;
    const bool with_register = compare.kind == Kind::compare_registers, wanted = (branch.bo() & 8) != 0;
    const std::uint32_t tested = 8U >> (branch.bi() & 3);
    std::uint32_t found = 0;
    unsigned at = 0, dropped = 0, voided = 0;
    for (;;) {
        state.gpr[add.rt] += add.value;
        found = compared(state.gpr[compare.ra], with_register ? state.gpr[compare.value] : compare.value,
                         compare.is_signed);
        if ((((found | overflow) & tested) != 0) != wanted) {
            at = 4;
            break;
        }
        if (--rounds == 0) break;
        const std::uint32_t value = state.gpr[write.rt];
        const unsigned index = state.gpr[write.ra] & (mmu::GuestTlb::entry_count - 1);
        const unsigned link = world_.links[index];
        if (!mmu::GuestTlb::is_void(value) || link > ShadowContexts::no_link || index == sequence.index) break;
        if (link < ShadowContexts::no_link) {
            contexts_.drop_linked(index, link);
            ++dropped;
        }
        vcpu_.tlb.invalidate_uncounted(index, value, tid);
        ++voided;
    }
    contexts_.count(0, dropped);
    vcpu_.tlb.count_changes(voided);
    set_field(world_, Instruction{.word = compare.word}.bf(), found);
    return at;
}

// As RunLoop::continue_sequence: on behind an emulated instruction within the same exit.
void NativeEngine::go_on(std::uint32_t site, const Settled& settled) {
    const Sequence* const sequence = sequence_at(site, settled);
    if (sequence == nullptr) return;
    isa::CpuState& state = vcpu_.state;
    const ExitReason reason = reason_;
    const unsigned count = sequence->count;
    unsigned rounds = sequence->loops ? plan::sequence_rounds : 1;
    bool in_core = false; // CR and XER are where the interpreter has them
    const auto to_cpu = [&] {
        if (in_core) from_core();
        in_core = false;
    };
    const auto compare = [&](const Sequence::Step& step, std::uint32_t with) {
        to_cpu();
        set_field(world_, Instruction{.word = step.word}.bf(), compared(state.gpr[step.ra], with, step.is_signed));
    };
    const auto result = [&](const Sequence::Step& step, std::uint32_t value) {
        state.gpr[step.ra] = value;
        if (!step.records) return;
        to_cpu();
        set_field(world_, 0, compared(value, 0, true));
    };
    unsigned at = 1;
    while (at < count) {
        if (at == 1 && sequence->sweeps && traces_ == 0) {
            to_cpu();
            at = sweep(*sequence, rounds);
            if (rounds == 0) break;
            continue;
        }
        const Sequence::Step& step = sequence->steps[at];
        const Instruction insn{.word = step.word};
        switch (step.kind) {
        case Kind::tlb_word: {
            const unsigned written = state.gpr[step.ra] & (mmu::GuestTlb::entry_count - 1);
            if (!write_tlb_word(written, insn.ws(), state.gpr[step.rt])) break;
            ++at;
            if (written == sequence->index) break; // what maps the code itself
            continue;
        }
        case Kind::add:
            state.gpr[step.rt] = (step.ra != 0 ? state.gpr[step.ra] : 0) + step.value;
            ++at;
            continue;
        case Kind::or_immediate:
            state.gpr[step.ra] = state.gpr[step.rt] | step.value;
            ++at;
            continue;
        case Kind::and_immediate:
            result(step, state.gpr[step.rt] & step.value);
            ++at;
            continue;
        case Kind::and_registers:
            result(step, state.gpr[step.rt] & state.gpr[step.value]);
            ++at;
            continue;
        case Kind::or_registers:
            result(step, state.gpr[step.rt] | state.gpr[step.value]);
            ++at;
            continue;
        case Kind::rotate:
        case Kind::insert: {
            const std::uint32_t rotated = std::rotl(state.gpr[step.rt], step.shift) & step.value;
            result(step, step.kind == Kind::rotate ? rotated : rotated | (state.gpr[step.ra] & ~step.value));
            ++at;
            continue;
        }
        case Kind::read_cr:
            to_cpu();
            state.gpr[step.rt] = world_.cr;
            ++at;
            continue;
        case Kind::write_cr:
            to_cpu();
            world_.cr = (world_.cr & ~step.value) | (state.gpr[step.rt] & step.value);
            ++at;
            continue;
        case Kind::read_sprg:
            state.gpr[step.rt] = state.page.sprg[step.value];
            ++at;
            continue;
        case Kind::compare:
            compare(step, step.value);
            ++at;
            continue;
        case Kind::compare_registers:
            compare(step, state.gpr[step.value]);
            ++at;
            continue;
        case Kind::branch: {
            to_cpu();
            const bool taken = (insn.bo() & 16) != 0 || (world_.cr << insn.bi() >> 31) == (insn.bo() >> 3 & 1);
            if (!taken) {
                ++at;
                continue;
            }
            const unsigned from = at;
            at += static_cast<unsigned>(insn.bd() / 4); // the branch that closes a loop leads to 0
            if (at > from) continue;
            if (--rounds == 0) break; // at the site again
            continue;
        }
        case Kind::nothing: ++at; continue;
        case Kind::privileged:
        case Kind::last:
            to_cpu();
            state.pc = site + 4 * at;
            if (!emulate(step.word)) break;
            --world_.exits[static_cast<unsigned>(reason_)]; // it is the same exit
            reason_ = reason;
            if (step.kind == Kind::last) return;
            ++at;
            continue;
        case Kind::plain:
        case Kind::other: {
            if (!in_core && step.kind == Kind::other) {
                to_core();
                in_core = true;
            }
            state.pc = site + 4 * at;
            vcpu_.storage.begin_instruction();
            if (interp::execute(state, vcpu_.storage, isa::decode(step.word)).kind != isa::TrapKind::none) break;
            const unsigned from = at;
            at = (state.pc - site) / 4;
            if (at <= from && --rounds == 0) break;
            continue;
        }
        case Kind::stop: break;
        }
        break;
    }
    to_cpu();
    state.pc = site + 4 * at;
    reason_ = reason;
}

} // namespace untrap::runtime::native
