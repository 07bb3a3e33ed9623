// SPDX-License-Identifier: GPL-2.0-only
// Where storage accesses find their bytes: effective addresses, looks into the software TLB, and what spares them.
#include "translator/isa/spr.h"
#include "translator/x64/block_writer.h"

namespace untrap::x64 {

using namespace asmjit;
using isa::Form;
using isa::Instruction;
namespace flag = isa::flag;

namespace {

constexpr std::uint32_t page_bytes = 1U << soft_tlb_page_shift;
constexpr std::int32_t page_mask = ~static_cast<std::int32_t>(page_bytes - 1);

} // namespace

void BlockWriter::effective_address(Instruction insn, const Gp& into, std::int32_t more) {
    if (has_displacement(insn)) {
        const auto displacement =
            static_cast<std::int32_t>(static_cast<std::uint32_t>(insn.si()) + static_cast<std::uint32_t>(more));
        if (insn.ra() == 0)
            a_.mov(into, displacement);
        else if (displacement == 0)
            load(into, insn.ra());
        else
            a_.lea(into, host::ptr(read(insn.ra(), into).r64(), displacement));
        return;
    }
    if (insn.ra() == 0) {
        load(into, insn.rb());
    } else if (pinned(insn.ra()) && pinned(insn.rb())) {
        a_.lea(into, host::ptr(pin(insn.ra()).r64(), pin(insn.rb()).r64(), 0, more));
        return;
    } else {
        const bool first = pinned(insn.ra());
        load(into, first ? insn.rb() : insn.ra());
        emit2(host::Inst::kIdAdd, into, source_operand(first ? insn.ra() : insn.rb()));
    }
    if (more != 0) a_.add(into, more);
}

host::Gp BlockWriter::address_of(Instruction insn) {
    if (has_displacement(insn) && insn.ra() != 0 && insn.si() == 0 && pinned(insn.ra())) return pin(insn.ra());
    effective_address(insn, host::eax);
    return host::eax;
}

// Once the access is done; what it loaded went elsewhere.
void BlockWriter::update_base(Instruction insn) {
    const unsigned ra = insn.ra();
    if (address_.isValid())
        commit(ra, address_);
    else if (insn.si() != 0)
        emit2(host::Inst::kIdAdd, source_operand(ra), Imm(insn.si()));
}

void BlockWriter::find_entry(const Gp& ea) {
    if (flat()) {
        if (ea.id() != host::ecx.id()) a_.mov(host::ecx, ea);
        FixedCode code = fixed_code();
        code.shift_ecx(soft_tlb_page_shift);
        put(code);
        return;
    }
    if (has_bmi2_) {
        a_.rorx(host::ecx, ea, soft_tlb_page_shift - soft_tlb_entry_shift);
    } else {
        if (ea.id() != host::ecx.id()) a_.mov(host::ecx, ea);
        a_.shr(host::ecx, soft_tlb_page_shift - soft_tlb_entry_shift);
    }
    a_.and_(host::ecx, (soft_tlb_entries - 1) << soft_tlb_entry_shift);
    a_.add(host::rcx, host::qword_ptr(state_reg, slot_offset(slot_soft_tlb)));
}

namespace {

constexpr std::uint32_t flat_table(bool store) {
    return static_cast<std::uint32_t>(store ? offsetof(FlatPages, store) : offsetof(FlatPages, load));
}

} // namespace

void BlockWriter::take_addend(bool store, const Label& fail) {
    static_assert(flat_entry_shift == 3);
    FixedCode code = fixed_code();
    code.load_rdx(static_cast<std::size_t>(slot_offset(slot_soft_tlb)));
    code.load_rcx_from_table(flat_table(store));
    code.test_rcx();
    put(code);
    a_.jz(fail);
}

void BlockWriter::stay_in_page(const Gp& ea, unsigned bytes, const Label& fail) {
    if (bytes == 1) return;
    if (bytes <= 8) {
        // Most are aligned. Others take the slow way in a plain translation, which does not run often.
        if (source_.runs_left != nullptr) {
            a_.test(ea.r8(), bytes - 1);
            a_.jnz(fail);
            return;
        }
        const Label unaligned = a_.newLabel(), aligned = a_.newLabel();
        a_.test(ea.r8(), bytes - 1);
        a_.jnz(unaligned);
        a_.bind(aligned);
        push_detour(unaligned, [this, ea, bytes, fail, aligned] {
            a_.lea(host::edx, host::ptr(ea.r64(), static_cast<std::int32_t>(bytes - 1)));
            a_.xor_(host::edx, ea);
            a_.test(host::edx, page_mask);
            a_.jz(aligned);
            a_.jmp(fail);
        });
        return;
    }
    a_.mov(host::edx, ea);
    a_.and_(host::edx, page_bytes - 1);
    a_.cmp(host::edx, page_bytes - bytes);
    a_.ja(fail);
}

void BlockWriter::translate(const Gp& ea, unsigned bytes, bool store, const Label& slow) {
    find_entry(ea);
    if (flat()) {
        take_addend(store, slow);
        stay_in_page(ea, bytes, slow);
        return;
    }
    // The tag is compared with the page of the last byte: an access across a page end does not match.
    if (bytes == 1)
        a_.mov(host::edx, ea);
    else
        a_.lea(host::edx, host::ptr(ea.r64(), static_cast<std::int32_t>(bytes - 1)));
    a_.and_(host::edx, page_mask);
    const auto tag =
        static_cast<std::int32_t>(store ? offsetof(SoftTlbEntry, write_tag) : offsetof(SoftTlbEntry, read_tag));
    a_.cmp(host::edx, host::dword_ptr(host::rcx, tag));
    a_.jne(slow);
    a_.mov(host::rcx, host::qword_ptr(host::rcx, offsetof(SoftTlbEntry, addend)));
}

// The page that all bytes of a check lie in, if they do. eax: the effective address -> rcx: its addend. Clobbers edx.
void BlockWriter::look_up(const PageCheck& check, const Label& fail) {
    if (!flat()) {
        look_up_tagged(check, fail);
        a_.mov(host::rcx, host::qword_ptr(host::rcx, offsetof(SoftTlbEntry, addend)));
        return;
    }
    Gp first = host::eax;
    if (check.low != 0) {
        first = host::ecx;
        a_.lea(first, host::ptr(host::rax, check.low));
    }
    stay_in_page(first, static_cast<unsigned>(check.high - check.low) + 1, fail);
    find_entry(first);
    take_addend(check.stores, fail);
}

// As look_up, but rcx: SoftTlbEntry, edx: the page.
void BlockWriter::look_up_tagged(const PageCheck& check, const Label& fail) {
    if (check.low == 0) {
        find_entry(host::eax);
    } else {
        a_.lea(host::ecx, host::ptr(host::rax, check.low));
        find_entry(host::ecx);
    }
    if (check.high == 0)
        a_.mov(host::edx, host::eax);
    else
        a_.lea(host::edx, host::ptr(host::rax, check.high));
    a_.and_(host::edx, page_mask);
    // Different pages have different slots if they are neighbours: one comparison tells both.
    if (check.loads) {
        a_.cmp(host::edx, host::dword_ptr(host::rcx, static_cast<int>(offsetof(SoftTlbEntry, read_tag))));
        a_.jne(fail);
    }
    if (check.stores) {
        a_.cmp(host::edx, host::dword_ptr(host::rcx, static_cast<int>(offsetof(SoftTlbEntry, write_tag))));
        a_.jne(fail);
    }
}

void BlockWriter::look_up_known(const PageCheck& check, const Label& fail) {
    const std::uint32_t page = check.ea & static_cast<std::uint32_t>(page_mask);
    if (flat()) {
        const auto entry = static_cast<std::int32_t>(check.ea >> soft_tlb_page_shift << flat_entry_shift);
        a_.mov(host::rcx, host::qword_ptr(state_reg, slot_offset(slot_soft_tlb)));
        a_.mov(host::rcx, host::qword_ptr(host::rcx, entry + static_cast<std::int32_t>(flat_table(check.stores))));
        a_.test(host::rcx, host::rcx);
        a_.jz(fail);
        return;
    }
    const auto entry = static_cast<std::int32_t>(soft_tlb_index(check.ea) << soft_tlb_entry_shift);
    const auto tag = [entry](std::size_t offset) {
        return host::dword_ptr(host::rcx, entry + static_cast<std::int32_t>(offset));
    };
    a_.mov(host::rcx, host::qword_ptr(state_reg, slot_offset(slot_soft_tlb)));
    if (check.loads) {
        a_.cmp(tag(offsetof(SoftTlbEntry, read_tag)), page);
        a_.jne(fail);
    }
    if (check.stores) {
        a_.cmp(tag(offsetof(SoftTlbEntry, write_tag)), page);
        a_.jne(fail);
    }
    a_.mov(host::rcx, host::qword_ptr(host::rcx, entry + static_cast<std::int32_t>(offsetof(SoftTlbEntry, addend))));
}

// rcx: the host's address of the first byte of all, or it goes to fail.
void BlockWriter::check_page(Instruction insn, const PageCheck& check, const Label& fail) {
    if (check.known) {
        look_up_known(check, fail);
        const std::uint32_t first = check.ea + static_cast<std::uint32_t>(check.low);
        if (first < 0x80000000U) {
            a_.add(host::rcx, static_cast<std::int32_t>(first));
        } else {
            a_.mov(host::eax, first);
            a_.add(host::rcx, host::rax);
        }
        return;
    }
    if (check.window == no_page_window) {
        effective_address(insn, host::eax);
        look_up(check, fail);
        if (check.low == 0)
            a_.add(host::rcx, host::rax);
        else
            a_.lea(host::rcx, host::ptr(host::rcx, host::rax, 0, check.low));
        return;
    }
    const Label miss = a_.newLabel(), found = a_.newLabel();
    const Mem page = state64(static_cast<std::size_t>(window_page_offset(check.window)));
    const Mem host_page = state64(static_cast<std::size_t>(window_host_offset(check.window)));
    effective_address(insn, host::ecx, check.low);
    a_.sub(host::rcx, page);
    a_.cmp(host::rcx, static_cast<std::int32_t>(page_bytes) - 1 - (check.high - check.low));
    a_.ja(miss);
    a_.add(host::rcx, host_page);
    a_.bind(found);
    push_detour(miss, [this, insn, check, fail, found] { fill_window(insn, check, fail, found); });
}

// The page of the access at hand is another one than its window knows.
void BlockWriter::fill_window(Instruction insn, const PageCheck& check, const Label& fail, const Label& found) {
    const Mem page = state64(static_cast<std::size_t>(window_page_offset(check.window)));
    const Mem host_page = state64(static_cast<std::size_t>(window_host_offset(check.window)));
    const bool more = window_loads(check.window) != check.loads || window_stores(check.window) != check.stores;
    effective_address(insn, host::eax);
    const auto keep = [&] {
        a_.mov(page, host::rdx);
        a_.add(host::rdx, host::rcx);
        a_.mov(host_page, host::rdx);
    };
    const auto done = [&] {
        a_.lea(host::rcx, host::ptr(host::rcx, host::rax, 0, check.low));
        a_.jmp(found);
    };
    const Label without = a_.newLabel();
    if (flat()) {
        const bool only_loads = window_stores(check.window) && !check.stores;
        PageCheck all = check;
        all.stores = window_stores(check.window);
        look_up(all, only_loads ? without : fail);
        a_.mov(host::edx, host::eax);
        a_.and_(host::edx, page_mask);
        keep();
        done();
        if (only_loads) {
            a_.bind(without);
            look_up(check, fail);
            done();
        }
        return;
    }
    look_up_tagged(check, fail);
    if (more) {
        const auto tag = check.loads ? offsetof(SoftTlbEntry, write_tag) : offsetof(SoftTlbEntry, read_tag);
        a_.cmp(host::edx, host::dword_ptr(host::rcx, static_cast<std::int32_t>(tag)));
    }
    a_.mov(host::rcx, host::qword_ptr(host::rcx, offsetof(SoftTlbEntry, addend)));
    if (more) a_.jne(without);
    keep();
    a_.bind(without);
    done();
}

// Cold code: the page of the access at hand is not in the software TLB, or not with the rights of all. Brings it there,
// or goes on in a block where each access looks for itself.
Label BlockWriter::push_reach(Instruction insn, const PageCheck& check, const Label& found) {
    const Label reach = a_.newLabel();
    push_cold(reach, [this, insn, check, found] {
        const Label apart = a_.newLabel();
        push_cold(apart, [this] {
            a_.add(budget_reg, left());
            go_to_apart();
        });
        // Two pages, and nothing will help.
        effective_address(insn, host::eax);
        a_.lea(host::ecx, host::ptr(host::rax, check.low));
        a_.lea(host::edx, host::ptr(host::rax, check.high));
        a_.xor_(host::ecx, host::edx);
        a_.test(host::ecx, page_mask);
        a_.jnz(apart);
        put_helper_arguments(insn);
        call_helper(thunks_.reach, true);
        // What it made of a single-precision value was in a scratch register.
        if (insn.has(flag::fp) && insn.has(flag::store) && fp_access_bytes(insn.op) == 4) fp_store_single(insn);
        effective_address(insn, host::eax);
        look_up(check, apart);
        a_.lea(host::rcx, host::ptr(host::rcx, host::rax, 0, check.low));
        a_.jmp(found);
    });
    return reach;
}

host::Mem BlockWriter::lead_page_check(Instruction insn, const PageCheck& check) {
    const Label found = a_.newLabel();
    check_page(insn, check, push_reach(insn, check, found));
    a_.bind(found);
    a_.mov(state64(static_cast<std::size_t>(page_check_offset(check.slot))), host::rcx);
    return host::ptr(host::rcx, -check.low);
}

host::Mem BlockWriter::follow_page_check(const PageCheck& check) {
    if (slot_in_rcx_ != check.slot) a_.mov(host::rcx, state64(static_cast<std::size_t>(page_check_offset(check.slot))));
    return host::ptr(host::rcx, check.distance);
}

// Whether rcx is after the instruction at hand what it was before, or what its page check left there. Cold code that
// comes back leaves nothing in it.
bool BlockWriter::keeps_rcx(Instruction insn) const {
    using isa::Op;
    if ((source_.mode & mode::so) != 0) return false;
    const bool checked = page_checks_[index_].role != PageCheck::Role::alone;
    if (access_bytes(insn.op) != 0) return checked || source_.mapped;
    if (insn.op == Op::lmw || insn.op == Op::stmw) return checked;
    switch (insn.op) {
    case Op::lfd:
    case Op::lfdu:
    case Op::stfd:
    case Op::stfdu:
    case Op::stfs:
    case Op::stfsu: return checked && !source_.mapped;
    case Op::addi:
    case Op::addis:
    case Op::add:
    case Op::subf:
    case Op::neg:
    case Op::mulli:
    case Op::mullw: return !insn.records_overflow();
    case Op::ori:
    case Op::oris:
    case Op::xori:
    case Op::xoris:
    case Op::andi_rc:
    case Op::andis_rc:
    case Op::and_:
    case Op::or_:
    case Op::xor_:
    case Op::extsb:
    case Op::extsh:
    case Op::rlwinm:
    case Op::rlwimi:
    case Op::cmp:
    case Op::cmpi:
    case Op::cmpl:
    case Op::cmpli: return true;
    case Op::mfspr:
    case Op::mtspr: return insn.spr() == isa::spr::lr || insn.spr() == isa::spr::ctr;
    case Op::b: return !insn.lk();
    case Op::bc: return !insn.lk() && source_.next[index_] == Next::sequential && (insn.bo() & 0x10) == 0;
    default: return false;
    }
}

// The host faults where it would be wrong.
host::Mem BlockWriter::locate_mapped(Instruction insn) {
    const PageCheck& check = page_checks_[index_];
    mapped_slow_.push_back(slow_access(insn));
    if (slot_in_rcx_ != flat_pages_slot) load_flat_pages();
    Mem at = host::ptr(host::rcx, mapped_base);
    if (check.known && check.ea < 0x40000000U) {
        at.addOffset(check.ea);
    } else if (has_displacement(insn) && insn.ra() != 0) {
        at = host::ptr(host::rcx, read(insn.ra(), host::eax).r64(), 0, mapped_base + insn.si());
    } else {
        const Gp ea = insn.ra() == 0 && !has_displacement(insn) ? read(insn.rb(), host::eax) : Gp(host::eax);
        if (ea.id() == host::eax.id()) effective_address(insn, host::eax);
        at = host::ptr(host::rcx, ea.r64(), 0, mapped_base);
        if (!has_displacement(insn)) address_ = ea;
    }
    out_.mapped.push_back({.first = static_cast<std::uint32_t>(a_.offset())});
    return at;
}

void BlockWriter::load_flat_pages() { a_.mov(host::rcx, host::qword_ptr(state_reg, slot_offset(slot_soft_tlb))); }

host::Mem BlockWriter::locate(Instruction insn, unsigned bytes, bool store) {
    const PageCheck& check = page_checks_[index_];
    address_ = {};
    // Of several words, none may be there without the others.
    if (source_.mapped && insn.op != isa::Op::lmw && insn.op != isa::Op::stmw) return locate_mapped(insn);
    if (check.role == PageCheck::Role::leads) return lead_page_check(insn, check);
    if (check.role == PageCheck::Role::follows) return follow_page_check(check);
    if (check.window != no_page_window) {
        check_page(insn, check, slow_access(insn));
        if (insn.has(flag::update) && !has_displacement(insn)) {
            // The offset may be what is loaded.
            effective_address(insn, host::eax);
            address_ = host::eax;
        }
        return host::ptr(host::rcx);
    }
    const Label slow = slow_access(insn);
    if (check.known) {
        look_up_known(check, slow);
        if (check.ea < 0x80000000U) return host::ptr(host::rcx, static_cast<std::int32_t>(check.ea));
        a_.mov(host::eax, check.ea);
        return host::ptr(host::rax, host::rcx);
    }
    address_ = address_of(insn);
    translate(address_, bytes, store, slow);
    return host::ptr(address_.r64(), host::rcx);
}

} // namespace untrap::x64
