// SPDX-License-Identifier: GPL-2.0-only
#include <cstring>

#include "translator/isa/cr.h"
#include "translator/x64/block.h"
#include "translator/x64/layout.h"

namespace untrap::x64 {

namespace {

using namespace asmjit;

void save_guest_registers(x86::Assembler& a) {
    for (const PinnedGpr& pin : pinned_gprs)
        a.mov(x86::dword_ptr(state_reg, gpr_offset(pin.guest)), x86::gpd(static_cast<std::uint32_t>(pin.id)));
}

void load_guest_registers(x86::Assembler& a) {
    for (const PinnedGpr& pin : pinned_gprs)
        a.mov(x86::gpd(static_cast<std::uint32_t>(pin.id)), x86::dword_ptr(state_reg, gpr_offset(pin.guest)));
}

// What a function called by generated code may change.
bool is_volatile(const PinnedGpr& pin) {
    switch (pin.id) {
    case x86::Gp::kIdSi:
    case x86::Gp::kIdDi:
    case x86::Gp::kIdR8:
    case x86::Gp::kIdR9:
    case x86::Gp::kIdR10:
    case x86::Gp::kIdR11: return true;
    default: return false;
    }
}

constexpr std::uint32_t saved_registers[] = {x86::Gp::kIdBx,  x86::Gp::kIdBp,  x86::Gp::kIdR12,
                                             x86::Gp::kIdR13, x86::Gp::kIdR14, x86::Gp::kIdR15};
// Six registers and the return address leave the stack 8 bytes off its alignment.
constexpr int frame_padding = 8;

// What makes CR of four bits of each field: for fields i to i + 3, a bit of each in a number (field i the most
// significant), where it stands in their 16 bits of CR.
struct CrBits {
    alignas(16) std::array<std::uint32_t, 4> zero{};
    // Not GT: what is cheaper to find.
    std::array<std::array<std::uint32_t, 16>, 4> lt_le_eq_so = [] {
        std::array<std::array<std::uint32_t, 16>, 4> tables{};
        for (unsigned row = 0; row < 4; ++row) {
            for (unsigned bits = 0; bits < 16; ++bits) {
                const unsigned set = row == 1 ? ~bits : bits;
                for (unsigned field = 0; field < 4; ++field)
                    tables[row][bits] |= (set >> field & 1) << (4 * field + 3 - row);
            }
        }
        return tables;
    }();
};

// -> eax: CR. Clobbers rcx, rdx and the scratch vector registers. Fields are as cr.h has them.
void emit_gather_cr(x86::Assembler& a, std::uint64_t tables_address) {
    const auto fields = [](unsigned field) {
        return x86::xmmword_ptr(state_reg,
                                static_cast<std::int32_t>(offsetof(isa::CpuState, crf) + field * sizeof(isa::CrField)));
    };
    const auto table = [](unsigned row) {
        return x86::dword_ptr(
            x86::rcx, x86::rdx, 2,
            static_cast<std::int32_t>(offsetof(CrBits, lt_le_eq_so) + row * 16 * sizeof(std::uint32_t)));
    };
    x86::Mem tables = x86::qword_ptr(tables_address);
    tables.setRel();
    a.lea(x86::rcx, tables);
    for (unsigned half = 0; half < 2; ++half) {
        // Four fields, the last in the lowest lane: xmm2 has their high words, xmm1 the low ones.
        a.movups(x86::xmm0, fields(half * 4));
        a.movups(x86::xmm1, fields(half * 4 + 2));
        a.movaps(x86::xmm2, x86::xmm1);
        a.shufps(x86::xmm2, x86::xmm0, 0x77);
        a.shufps(x86::xmm1, x86::xmm0, 0x22);
        a.movaps(x86::xmm0, x86::xmm2);
        a.pslld(x86::xmm0, 1);
        a.movmskps(x86::edx, x86::xmm0);
        if (half == 0) {
            a.mov(x86::eax, table(0));
        } else {
            a.shl(x86::eax, 16);
            a.or_(x86::eax, table(0));
        }
        a.pslld(x86::xmm0, 1);
        a.pxor(x86::xmm0, x86::xmm2);
        a.movmskps(x86::edx, x86::xmm0);
        a.or_(x86::eax, table(3));
        a.movaps(x86::xmm0, x86::xmm2);
        a.por(x86::xmm0, x86::xmm1);
        a.pcmpeqd(x86::xmm0, x86::xmmword_ptr(x86::rcx));
        a.por(x86::xmm0, x86::xmm2);
        a.movmskps(x86::edx, x86::xmm0);
        a.or_(x86::eax, table(1));
        a.pcmpeqd(x86::xmm1, x86::xmmword_ptr(x86::rcx));
        a.movmskps(x86::edx, x86::xmm1);
        a.or_(x86::eax, table(2));
    }
    a.ret();
}

} // namespace

void empty_return_stack(x86::Assembler& a) {
    a.mov(x86::rsp, x86::qword_ptr(state_reg, slot_offset(slot_stack)));
    a.sub(x86::rsp, return_stack_entry);
    a.mov(x86::qword_ptr(x86::rsp, return_stack_ea), x86::rsp); // matches no return
}

std::size_t emit_thunks(const Helpers& helpers, const FpHost& fp_host, std::uint8_t* base, std::size_t room,
                        EnterFunction& enter, Thunks& thunks) {
    CodeHolder code;
    if (code.init(Environment::host(), reinterpret_cast<std::uint64_t>(base)) != kErrorOk) return 0;
    x86::Assembler a(&code);
    auto here = [&] { return reinterpret_cast<std::uint64_t>(base) + a.offset(); };

    // uint32_t enter(state, budget, code)
    for (std::uint32_t id : saved_registers) a.push(x86::gpq(id));
    a.sub(x86::rsp, frame_padding);
    a.mov(state_reg, x86::rdi);
    a.mov(budget_reg, x86::rsi);
    a.mov(x86::qword_ptr(state_reg, slot_offset(slot_stack)), x86::rsp);
    a.lea(x86::rax, x86::ptr(x86::rsp, -return_stack_bytes));
    a.mov(x86::qword_ptr(state_reg, slot_offset(slot_stack_limit)), x86::rax);
    empty_return_stack(a);
    a.mov(x86::rax, x86::rdx);
    load_guest_registers(a);
    a.jmp(x86::rax);

    emit_fp_thunks(a, base, fp_host, thunks.fp);
    a.align(AlignMode::kData, 16);
    thunks.cr_encodings = here();
    a.embed(isa::cr::encodings.data(), sizeof(isa::cr::encodings));
    a.align(AlignMode::kData, 16);
    thunks.cr_pairs = here();
    static constexpr std::array<std::array<isa::CrField, 2>, 256> pairs = [] {
        std::array<std::array<isa::CrField, 2>, 256> table{};
        for (unsigned byte = 0; byte < 256; ++byte)
            table[byte] = {isa::cr::encode(byte >> 4), isa::cr::encode(byte & 15)};
        return table;
    }();
    a.embed(pairs.data(), sizeof(pairs));
    const std::uint64_t cr_bits = here();
    constexpr CrBits bits;
    a.embed(&bits, sizeof(bits));

    a.align(AlignMode::kCode, 16);
    thunks.exit = here();
    emit_fp_save(a, thunks.fp);
    save_guest_registers(a);
    a.mov(x86::qword_ptr(state_reg, slot_offset(slot_budget)), budget_reg);
    a.mov(x86::qword_ptr(state_reg, slot_offset(slot_exit_info)), x86::rdx);
    Label leave = a.newLabel(), go_on = a.newLabel();
    if (helpers.go_on != nullptr) {
        a.cmp(x86::eax, static_cast<std::uint32_t>(ExitKind::privileged));
        a.jae(go_on);
    }
    a.bind(leave);
    a.mov(x86::rsp, x86::qword_ptr(state_reg, slot_offset(slot_stack)));
    a.add(x86::rsp, frame_padding);
    for (std::size_t i = std::size(saved_registers); i-- > 0;) a.pop(x86::gpq(saved_registers[i]));
    a.ret();

    if (helpers.go_on != nullptr) {
        a.align(AlignMode::kCode, 16);
        a.bind(go_on);
        a.mov(x86::rsp, x86::qword_ptr(state_reg, slot_offset(slot_stack)));
        a.mov(x86::esi, x86::eax);
        a.mov(x86::rdi, x86::qword_ptr(state_reg, slot_offset(slot_engine)));
        a.mov(x86::rax, reinterpret_cast<std::uint64_t>(helpers.go_on));
        a.call(x86::rax);
        a.mov(x86::rcx, x86::rax);
        a.mov(x86::eax, x86::edx);
        a.test(x86::rcx, x86::rcx);
        a.jz(leave);
        a.mov(budget_reg, x86::qword_ptr(state_reg, slot_offset(slot_budget)));
        load_guest_registers(a);
        empty_return_stack(a);
        a.jmp(x86::rcx);
    }

    // Helper calls, as every way to C++ code: all guest state goes home, so that the helper sees and may change it.
    auto emit_helper = [&](bool (*function)(void*, std::uint32_t, std::uint32_t, std::uint32_t)) {
        a.align(AlignMode::kCode, 16);
        const std::uint64_t entry = here();
        emit_fp_save(a, thunks.fp);
        save_guest_registers(a);
        a.mov(x86::qword_ptr(state_reg, slot_offset(slot_budget)), budget_reg);
        a.mov(x86::esi, x86::ecx); // word; edx holds left already
        a.mov(x86::ecx, x86::eax);
        a.mov(x86::rdi, x86::qword_ptr(state_reg, slot_offset(slot_engine)));
        a.sub(x86::rsp, 8);
        a.mov(x86::rax, reinterpret_cast<std::uint64_t>(function));
        a.call(x86::rax);
        a.add(x86::rsp, 8);
        Label trapped = a.newLabel();
        a.test(x86::al, x86::al);
        a.jz(trapped);
        load_guest_registers(a); // ZF stays
        a.bind(trapped);
        a.ret(); // in any case: the host predicts where returns go
        return entry;
    };
    a.align(AlignMode::kCode, 16);
    thunks.trapped = here();
    a.mov(x86::eax, static_cast<std::uint32_t>(ExitKind::helper_trap));
    a.jmp(helpers.go_on != nullptr ? go_on : leave);
    thunks.interpret = emit_helper(helpers.interpret);
    thunks.access = emit_helper(helpers.access);
    thunks.reach = emit_helper(helpers.reach);

    // These helpers neither read nor write guest registers: those that they would spoil are put aside.
    const auto home = [](const PinnedGpr& pin) { return x86::dword_ptr(state_reg, gpr_offset(pin.guest)); };
    const auto put_aside = [&] {
        for (const PinnedGpr& pin : pinned_gprs)
            if (is_volatile(pin)) a.mov(home(pin), x86::gpd(pin.id));
    };
    const auto take_back = [&] {
        for (const PinnedGpr& pin : pinned_gprs)
            if (is_volatile(pin)) a.mov(x86::gpd(pin.id), home(pin));
    };
    a.align(AlignMode::kCode, 16);
    thunks.write_tlb = here();
    emit_fp_save(a, thunks.fp);
    put_aside();
    a.mov(x86::qword_ptr(state_reg, slot_offset(slot_budget)), budget_reg);
    a.mov(x86::esi, x86::eax);
    a.mov(x86::rdi, x86::qword_ptr(state_reg, slot_offset(slot_engine)));
    a.sub(x86::rsp, 8);
    a.mov(x86::rax, reinterpret_cast<std::uint64_t>(helpers.write_tlb));
    a.call(x86::rax);
    a.add(x86::rsp, 8);
    take_back();
    // Addresses that the guest would return to may mean something else now.
    a.pop(x86::rcx);
    empty_return_stack(a);
    a.test(x86::al, x86::al);
    a.jmp(x86::rcx);

    a.align(AlignMode::kCode, 16);
    thunks.switch_context = here();
    emit_fp_save(a, thunks.fp);
    put_aside();
    a.mov(x86::rdi, x86::qword_ptr(state_reg, slot_offset(slot_engine)));
    a.sub(x86::rsp, 8);
    a.mov(x86::rax, reinterpret_cast<std::uint64_t>(helpers.switch_context));
    a.call(x86::rax);
    a.add(x86::rsp, 8);
    take_back();
    // As behind write_tlb.
    a.pop(x86::rcx);
    empty_return_stack(a);
    a.jmp(x86::rcx);

    a.align(AlignMode::kCode, 16);
    thunks.gather_cr = here();
    emit_gather_cr(a, cr_bits);

    // rax: CrField -> eax: LT 8, GT 4, EQ 2, SO 1 (cr.h)
    a.align(AlignMode::kCode, 16);
    thunks.decode_cr = here();
    a.mov(x86::rdx, x86::rax);
    a.shr(x86::rdx, 59);
    a.and_(x86::edx, 8); // bit 62
    a.xor_(x86::ecx, x86::ecx);
    a.test(x86::rax, x86::rax);
    a.setg(x86::cl);
    a.lea(x86::edx, x86::ptr(x86::rdx, x86::rcx, 2));
    a.xor_(x86::ecx, x86::ecx);
    a.test(x86::eax, x86::eax);
    a.sete(x86::cl);
    a.lea(x86::edx, x86::ptr(x86::rdx, x86::rcx, 1));
    a.mov(x86::rcx, x86::rax);
    a.shr(x86::rcx, 61);
    a.shr(x86::rax, 63);
    a.xor_(x86::eax, x86::ecx);
    a.and_(x86::eax, 1);
    a.or_(x86::eax, x86::edx);
    a.ret();

    if (code.flatten() != kErrorOk || code.codeSize() > room) return 0;
    std::memcpy(base, code.textSection()->data(), code.codeSize());
    enter = reinterpret_cast<EnterFunction>(base);
    return code.codeSize();
}

void set_target(std::uint8_t* site, const std::uint8_t* target) {
    const auto displacement = static_cast<std::int32_t>(target - (site + 5));
    std::memcpy(site + 1, &displacement, sizeof(displacement));
}

void set_jump(std::uint8_t* site, const std::uint8_t* target) {
    site[0] = 0xE9;
    set_target(site, target);
}

} // namespace untrap::x64
