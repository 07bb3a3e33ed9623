// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "translator/x64/layout.h"

namespace untrap::x64 {

// A few host instructions of fixed form that every block has many of, as bytes: AsmJit's encoder takes some 200
// instructions for one, and that was a quarter of what a guest's boot costs.
class FixedCode {
  public:
    // at: where it will stand.
    explicit FixedCode(const std::uint8_t* at) : at_(at) {}

    // mov dword [rbp + offset], value. offset: of isa::CpuState, beyond what a byte holds.
    void store(std::size_t offset, std::uint32_t value) {
        bytes(0xC7, 0x85);
        word(static_cast<std::uint32_t>(offset));
        word(value);
    }
    // mov eax / ecx / edx, value
    void set(const host::Gp& gpr, std::uint32_t value) {
        byte(static_cast<std::uint8_t>(0xB8 + gpr.id()));
        word(value);
    }
    void jump(std::uint64_t target) {
        byte(0xE9);
        distance(target);
    }
    void call(std::uint64_t target) {
        byte(0xE8);
        distance(target);
    }
    void jump_if_zero(std::uint64_t target) {
        bytes(0x0F, 0x84);
        distance(target);
    }

    // shr ecx, bits
    void shift_ecx(std::uint8_t bits) {
        bytes(0xC1, 0xE9);
        byte(bits);
    }
    // mov rdx, [rbp (state_reg) + offset]
    void load_rdx(std::size_t offset) {
        byte(0x48);
        bytes(0x8B, 0x95);
        word(static_cast<std::uint32_t>(offset));
    }
    // mov rcx, [rdx + 8 * rcx + offset]
    void load_rcx_from_table(std::size_t offset) {
        byte(0x48);
        bytes(0x8B, offset != 0 ? 0x8C : 0x0C);
        byte(0xCA);
        if (offset != 0) word(static_cast<std::uint32_t>(offset));
    }
    // test rcx, rcx
    void test_rcx() {
        byte(0x48);
        bytes(0x85, 0xC9);
    }
    // sub dword [address], 1
    void count_down(std::uint64_t address) {
        bytes(0x83, 0x2D);
        distance(address, 1);
        byte(1);
    }
    // lea rdx, [address]
    void take_address(std::uint64_t address) {
        byte(0x48);
        bytes(0x8D, 0x15);
        distance(address);
    }
    // sub and add r15 (budget_reg), value
    void subtract_budget(std::uint32_t value) { change_budget(0xEF, value); }
    void add_budget(std::uint32_t value) { change_budget(0xC7, value); }

    const std::uint8_t* data() const { return code_.data(); }
    std::size_t size() const { return size_; }

  private:
    void byte(std::uint8_t value) { code_[size_++] = value; }
    void bytes(std::uint8_t first, std::uint8_t second) {
        byte(first);
        byte(second);
    }
    void word(std::uint32_t value) {
        static_assert(std::endian::native == std::endian::little);
        std::memcpy(&code_[size_], &value, sizeof(value));
        size_ += sizeof(value);
    }
    // more: bytes of the instruction behind the distance.
    void distance(std::uint64_t target, unsigned more = 0) {
        const std::uint64_t next = reinterpret_cast<std::uintptr_t>(at_) + size_ + 4 + more;
        word(static_cast<std::uint32_t>(target - next));
    }

    void change_budget(std::uint8_t form, std::uint32_t value) {
        byte(0x49);
        bytes(value < 0x80 ? 0x83 : 0x81, form);
        if (value < 0x80)
            byte(static_cast<std::uint8_t>(value));
        else
            word(value);
    }

    const std::uint8_t* const at_;
    std::array<std::uint8_t, 48> code_{};
    std::size_t size_ = 0;
};

} // namespace untrap::x64
