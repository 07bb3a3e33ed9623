// SPDX-License-Identifier: GPL-2.0-only
// Module load: the guest's vectors and world switch are laid into pinned memory, the host's TLB is looked at.
#include "kmod/core_load.h"

#include <new>

#include "kmod/core_api.h"
#include "runtime/kvm/errno_values.h"
#include "runtime/native/hardware.h"
#include "translator/isa/msr.h"

extern "C" {
extern const std::uint32_t untrap_world_vector[], untrap_world_vector_end[];
extern const std::uint32_t untrap_world_code[], untrap_world_code_end[];
extern const std::uint32_t untrap_world_left[], untrap_world_program[], untrap_world_program_known[];
extern const std::uint32_t untrap_world_system_call[];
extern const std::uint32_t untrap_world_data_storage[], untrap_world_data_tlb_error[],
    untrap_world_data_tlb_error_handled[], untrap_world_instruction_tlb_error[],
    untrap_world_instruction_tlb_error_handled[];
extern const std::uint32_t untrap_world_handler_leave[], untrap_world_handler_finish[];
extern const std::uint32_t untrap_world_data_commit[], untrap_world_instruction_commit[], untrap_world_handler_end[];
extern const std::uint32_t untrap_world_data_record[], untrap_world_recall[];
extern const std::uint32_t untrap_handler_return_begin[], untrap_handler_return_end[];
std::uint32_t untrap_core_trace;
}

namespace untrap::runtime::native {

namespace {

LoadedWorld world_facts;
ShadowTlb* the_shadow_tlb;

// IVORn of the host; the number of an SPR is part of the instruction.
std::uint32_t host_ivor(unsigned which) {
    std::uint32_t value = 0;
    switch (which) {
#define UNTRAP_IVOR(n)                                                                                                 \
    case n: asm volatile("mfspr %0," #n "+400" : "=r"(value)); break
        UNTRAP_IVOR(0);
        UNTRAP_IVOR(1);
        UNTRAP_IVOR(2);
        UNTRAP_IVOR(3);
        UNTRAP_IVOR(4);
        UNTRAP_IVOR(5);
        UNTRAP_IVOR(6);
        UNTRAP_IVOR(7);
        UNTRAP_IVOR(8);
        UNTRAP_IVOR(9);
        UNTRAP_IVOR(10);
        UNTRAP_IVOR(11);
        UNTRAP_IVOR(12);
        UNTRAP_IVOR(13);
        UNTRAP_IVOR(14);
        UNTRAP_IVOR(15);
#undef UNTRAP_IVOR
    default: break;
    }
    return value & 0xFFF0;
}

std::uint32_t host_ivpr() {
    std::uint32_t value;
    asm volatile("mfspr %0,63" : "=r"(value));
    return value & 0xFFFF0000;
}

std::uint32_t processor_version() {
    std::uint32_t value;
    asm volatile("mfspr %0,287" : "=r"(value));
    return value;
}

void copy_words(std::uint32_t* to, const std::uint32_t* from, const std::uint32_t* end) {
    while (from != end) *to++ = *from++;
}

// I-form branch from one place to another.
std::uint32_t branch(const void* from, const void* to) {
    const auto distance =
        static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from));
    return 0x48000000U | (distance & 0x03FFFFFC);
}

// Written as data, to be fetched as instructions.
void publish_code(const std::uint8_t* first, std::uint32_t bytes) {
    constexpr std::uint32_t line = 32;
    for (std::uint32_t offset = 0; offset < bytes; offset += line) asm volatile("dcbst 0,%0" : : "r"(first + offset));
    asm volatile("sync" : : : "memory");
    for (std::uint32_t offset = 0; offset < bytes; offset += line) asm volatile("icbi 0,%0" : : "r"(first + offset));
    asm volatile("sync; isync" : : : "memory");
}

// The host's pinned entries are its linear mapping: 256 MB each, at the end of the TLB. Returns the first of them, or
// the size of the TLB if there is none; the vectors must lie in one.
unsigned first_pinned_entry(std::uint32_t vectors) {
    unsigned first = ShadowTlb::slot_count;
    bool covered = false;
    for (unsigned index = 0; index < ShadowTlb::slot_count; ++index) {
        const mmu::TlbEntry entry = hardware::read_tlb(index);
        if (!entry.valid() || entry.ts() != 0 || entry.page_shift() != 28) continue;
        if (first == ShadowTlb::slot_count) first = index;
        if (entry.epn() <= vectors && vectors - entry.epn() <= 0x0FFFFFFF - (VECTORS_BYTES - 1)) covered = true;
    }
    return covered ? first : ShadowTlb::slot_count;
}

// The pinned entries that follow each other from the lowest on.
void note_linear_mapping(LoadedWorld& facts) {
    const std::uint32_t saved = hardware::irq_save();
    facts.linear = 0xFFFFFFFF;
    for (unsigned pass = 0; pass < 2 * ShadowTlb::slot_count; ++pass) {
        const mmu::TlbEntry entry = hardware::read_tlb(pass % ShadowTlb::slot_count);
        if (!entry.valid() || entry.ts() != 0 || entry.tid != 0 || entry.page_shift() != 28) continue;
        if (pass < ShadowTlb::slot_count) {
            if (entry.epn() < facts.linear) facts.linear = entry.epn();
        } else if (entry.epn() == facts.linear + facts.linear_bytes) {
            facts.linear_bytes += 1U << 28;
        }
    }
    hardware::irq_restore(saved);
}

} // namespace

const LoadedWorld& loaded_world() { return world_facts; }
ShadowTlb& shadow_tlb() { return *the_shadow_tlb; }

} // namespace untrap::runtime::native

using namespace untrap::runtime::native;
namespace errno_values = untrap::runtime::errno_values;

size_t untrap_core_vectors_bytes(void) { return VECTORS_BYTES; }

int untrap_core_load(void* vectors, const untrap_core_text* text) {
    constexpr unsigned interrupts = untrap::isa::interrupt_count;
    const auto base = reinterpret_cast<std::uintptr_t>(vectors);
    auto* const bytes = static_cast<std::uint8_t*>(vectors);
    if ((base & (VECTORS_BYTES - 1)) != 0) return -errno_values::einval;
    // 476 cores have another TLB.
    if (const std::uint32_t version = processor_version() >> 16; version == 0x11A5 || version == 0x7FF5)
        return -errno_values::enodev;
    const std::uint32_t saved = hardware::irq_save();
    const unsigned pinned = first_pinned_entry(static_cast<std::uint32_t>(base));
    hardware::irq_restore(saved);
    // With fewer entries a guest instruction and its operands might not fit at once.
    if (pinned == ShadowTlb::slot_count || pinned < 16) return -errno_values::enodev;

    auto* const code = reinterpret_cast<std::uint32_t*>(bytes + VECTORS_CODE);
    if (VECTORS_CODE + 4 * (untrap_world_code_end - untrap_world_code) > VECTORS_WORLD) return -errno_values::enodev;
    copy_words(code, untrap_world_code, untrap_world_code_end);
    auto* const handler_return = reinterpret_cast<std::uint32_t*>(bytes + VECTORS_RETURN);
    const auto return_bytes = static_cast<std::uint32_t>(4 * (untrap_handler_return_end - untrap_handler_return_begin));
    if (VECTORS_RETURN + return_bytes > VECTORS_STACK - 0x1000) return -errno_values::enodev;
    copy_words(handler_return, untrap_handler_return_begin, untrap_handler_return_end);
    const auto landing = [&](unsigned which) {
        const std::uint32_t* linked = untrap_world_left;
        switch (static_cast<untrap::isa::Interrupt>(which)) {
        case untrap::isa::Interrupt::program: linked = untrap_world_program; break;
        case untrap::isa::Interrupt::system_call: linked = untrap_world_system_call; break;
        case untrap::isa::Interrupt::data_storage: linked = untrap_world_data_storage; break;
        case untrap::isa::Interrupt::data_tlb_error: linked = untrap_world_data_tlb_error; break;
        case untrap::isa::Interrupt::instruction_tlb_error: linked = untrap_world_instruction_tlb_error; break;
        default: break;
        }
        return code + (linked - untrap_world_code);
    };

    const auto vector_bytes = static_cast<std::uint32_t>(4 * (untrap_world_vector_end - untrap_world_vector));
    for (unsigned which = 0; which < interrupts; ++which) {
        const std::uint32_t offset = host_ivor(which);
        if (offset + VECTOR_BYTES > VECTORS_SHADOW_TLB) return -errno_values::enodev;
        for (unsigned other = 0; other < which; ++other) {
            const std::uint32_t taken = host_ivor(other);
            if (offset < taken + vector_bytes && taken < offset + vector_bytes) return -errno_values::enodev;
        }
        auto* const at = reinterpret_cast<std::uint32_t*>(bytes + offset);
        copy_words(at, untrap_world_vector, untrap_world_vector_end);
        at[1] |= static_cast<std::uint32_t>((base + VECTORS_BYTES) >> 16);
        // Paths that begin in assembly know which it is.
        const std::uint32_t* const path = landing(which);
        const bool known = path != code + (untrap_world_left - untrap_world_code);
        at[4] = known ? branch(&at[4], path) : at[4] | which;
        if (!known) at[5] = branch(&at[5], path);
        const auto other_path = [&](LoadedWorld::Vector& vector, const std::uint32_t* linked) {
            vector = {&at[4], branch(&at[4], code + (linked - untrap_world_code)), at[4]};
        };
        switch (static_cast<untrap::isa::Interrupt>(which)) {
        case untrap::isa::Interrupt::data_tlb_error:
            other_path(world_facts.handler_vectors[0], untrap_world_data_tlb_error_handled);
            break;
        case untrap::isa::Interrupt::instruction_tlb_error:
            other_path(world_facts.handler_vectors[1], untrap_world_instruction_tlb_error_handled);
            break;
        case untrap::isa::Interrupt::program:
            other_path(world_facts.handler_vectors[2], untrap_world_program_known);
            break;
        default: break;
        }
    }
    publish_code(bytes, VECTORS_BYTES);
    if (text->copy != nullptr) {
        __builtin_memcpy(text->copy, text->begin, text->bytes);
        publish_code(static_cast<const std::uint8_t*>(text->copy), static_cast<std::uint32_t>(text->bytes));
        world_facts.to_copy = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(text->copy) -
                                                         reinterpret_cast<std::uintptr_t>(text->begin));
    }

    world_facts.host_ivpr = host_ivpr();
    world_facts.guest_ivpr = static_cast<std::uint32_t>(base);
    world_facts.enter = reinterpret_cast<void (*)(World*)>(code);
    const auto address = [&](const std::uint32_t* linked) {
        return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(code + (linked - untrap_world_code)));
    };
    world_facts.handler_leave = address(untrap_world_handler_leave);
    world_facts.handler_finish = address(untrap_world_handler_finish);
    world_facts.handler_commit[0] = address(untrap_world_data_commit);
    world_facts.handler_commit[1] = address(untrap_world_instruction_commit);
    world_facts.handler_end = address(untrap_world_handler_end);
    world_facts.handler_record = address(untrap_world_data_record);
    world_facts.handler_recall = address(untrap_world_recall);
    world_facts.handler_return = static_cast<std::uint32_t>(base + VECTORS_RETURN);
    note_linear_mapping(world_facts);
    static_assert(VECTORS_SHADOW_TLB + sizeof(ShadowTlb) <= VECTORS_HANDLER);
    the_shadow_tlb = new (bytes + VECTORS_SHADOW_TLB) ShadowTlb;
    shadow_tlb().start(pinned);
    return 0;
}

void untrap_core_unload(void) {
    const std::uint32_t saved = hardware::irq_save();
    for (unsigned index = 0; index < shadow_tlb().slots(); ++index) hardware::invalidate_guest_tlb(index);
    hardware::invalidate_instruction_cache();
    hardware::irq_restore(saved);
}
