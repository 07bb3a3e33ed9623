// SPDX-License-Identifier: GPL-2.0-only
// The host CPU is a 440: runtime/native/hardware.h in instructions.
#include "runtime/native/hardware.h"

#include "kmod/core_load.h"
#include "runtime/native/world.h"

namespace untrap::runtime::native::hardware {

namespace {

constexpr unsigned sprn_mmucr = 0x3B2;

void set_search_pid(unsigned pid) { asm volatile("mtspr %0,%1" : : "i"(sprn_mmucr), "r"(pid) : "memory"); }

constexpr std::uint32_t msr_fp = 0x2000, msr_ee = 0x8000;

std::uint32_t read_msr() {
    std::uint32_t value;
    asm volatile("mfmsr %0" : "=r"(value));
    return value;
}
void write_msr(std::uint32_t value) { asm volatile("mtmsr %0; isync" : : "r"(value) : "memory"); }

// What is at VECTORS_HANDLER for the vector to go to; nullptr: nothing, and the vectors go elsewhere.
const std::uint32_t* data_handler;

} // namespace

void write_tlb(unsigned index, std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, unsigned pid) {
    set_search_pid(pid);
    asm volatile("tlbwe %0,%3,0\n\ttlbwe %1,%3,1\n\ttlbwe %2,%3,2\n\tisync"
                 :
                 : "r"(word0), "r"(word1), "r"(word2), "r"(index)
                 : "memory");
}

mmu::TlbEntry read_tlb(unsigned index) {
    std::uint32_t word0, word1, control;
    asm volatile("tlbre %0,%3,0\n\tmfspr %1,%4\n\ttlbre %2,%3,1"
                 : "=&r"(word0), "=&r"(control), "=r"(word1)
                 : "r"(index), "i"(sprn_mmucr)
                 : "memory");
    return {word0 & mmu::TlbEntry::word0_mask, word1 & mmu::TlbEntry::word1_mask, 0,
            static_cast<std::uint8_t>(control)};
}

bool invalidate_guest_tlb(unsigned index) {
    constexpr std::uint32_t guests = mmu::TlbEntry::valid_bit | mmu::TlbEntry::ts_bit;
    std::uint32_t word0;
    asm volatile("tlbre %0,%1,0" : "=r"(word0) : "r"(index) : "memory");
    if ((word0 & guests) != guests) return false;
    // MMUCR's TID is of no account in an entry that is not valid.
    asm volatile("tlbwe %0,%1,0" : : "r"(0), "r"(index) : "memory");
    return true;
}

void invalidate_instruction_cache() { asm volatile("sync; iccci 0,0; isync" : : : "memory"); }

// The instruction cache is tagged with the guest's addresses: icbi would need them and the PID.
void publish_code(const void* first, std::uint32_t bytes) {
    constexpr std::uintptr_t line = 32;
    const auto begin = reinterpret_cast<std::uintptr_t>(first) & ~(line - 1);
    const auto end = reinterpret_cast<std::uintptr_t>(first) + bytes;
    for (std::uintptr_t at = begin; at < end; at += line) asm volatile("dcbst 0,%0" : : "r"(at) : "memory");
    invalidate_instruction_cache();
}

std::uint32_t data_handler_place(const std::uint32_t*) { return loaded_world().guest_ivpr + VECTORS_HANDLER; }

void use_data_handler(const std::uint32_t* words, unsigned length) {
    if (words == data_handler) return;
    data_handler = words;
    const LoadedWorld& world = loaded_world();
    auto* const place = reinterpret_cast<std::uint32_t*>(std::uintptr_t{world.guest_ivpr} + VECTORS_HANDLER);
    static_assert(VECTORS_HANDLER + 4 * ppc::handler_max_words <= VECTORS_RETURN);
    for (unsigned word = 0; words != nullptr && word < length; ++word) place[word] = words[word];
    for (const LoadedWorld::Vector& vector : world.handler_vectors) {
        *vector.branch = words != nullptr ? vector.with : vector.without;
        publish_code(vector.branch, 4);
    }
    if (words != nullptr) publish_code(place, 4 * length);
}

std::uint64_t timebase() {
    std::uint32_t high, low, again;
    do {
        asm volatile("mftbu %0\n\tmftb %1\n\tmftbu %2" : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return std::uint64_t{high} << 32 | low;
}

std::uint32_t ticks() {
    std::uint32_t low;
    asm volatile("mftb %0" : "=r"(low));
    return low;
}

std::uint32_t irq_save() {
    const std::uint32_t saved = read_msr();
    asm volatile("wrteei 0" : : : "memory");
    return saved & msr_ee;
}

void irq_restore(std::uint32_t saved) { asm volatile("wrtee %0" : : "r"(saved) : "memory"); }

void load_user_registers(std::uint32_t usprg0) { asm volatile("mtspr 256,%0" : : "r"(usprg0)); }

std::uint32_t read_usprg0() {
    std::uint32_t value;
    asm volatile("mfspr %0,256" : "=r"(value));
    return value;
}

// The module is built without the FPU; these functions alone use it.
#define UNTRAP_EACH_FPR(access)                                                                                        \
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t" access          \
    " \\n,8*\\n(%0)\n\t.endr\n\t"

void load_fpu(const std::uint64_t* fpr, std::uint32_t fpscr) {
    const std::uint32_t msr = read_msr();
    write_msr(msr | msr_fp);
    const std::uint64_t status = fpscr;
    asm volatile(
        ".machine push; .machine \"any\"\n\tlfd 0,0(%1)\n\tmtfsf 255,0\n\t" UNTRAP_EACH_FPR("lfd") ".machine pop"
        :
        : "b"(fpr), "b"(&status)
        : "memory");
    write_msr(msr & ~msr_fp);
}

void store_fpu(std::uint64_t* fpr, std::uint32_t& fpscr) {
    const std::uint32_t msr = read_msr();
    write_msr(msr | msr_fp);
    std::uint64_t status;
    asm volatile(".machine push; .machine \"any\"\n\t" UNTRAP_EACH_FPR("stfd") "mffs 0\n\tstfd 0,0(%1)\n\t.machine pop"
                 :
                 : "b"(fpr), "b"(&status)
                 : "memory");
    fpscr = static_cast<std::uint32_t>(status);
    write_msr(msr & ~msr_fp);
}

// DBCR0 is off meanwhile: a debugger's breakpoints in the VMM mean nothing in the guest's address space, though with
// MSR[DE] clear they would be noted, and strike in the VMM later.
void enter_guest(void* world) {
    std::uint32_t control;
    asm volatile("mfspr %0,308" : "=r"(control));
    if (control != 0) asm volatile("mtspr 308,%0; isync" : : "r"(0));
    // The last guest may have been another one.
    const World& entered = *static_cast<const World*>(world);
    use_data_handler(reinterpret_cast<const std::uint32_t*>(std::uintptr_t{entered.data_handler}),
                     entered.data_handler_length);
    world_entry()(static_cast<World*>(world));
    if (control != 0) asm volatile("mtspr 308,%0; isync" : : "r"(control));
}

} // namespace untrap::runtime::native::hardware
