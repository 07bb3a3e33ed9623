// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/register_dump.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <fmt/format.h>
#include <iterator>
#include <optional>

namespace untrap::vmm {
namespace {

std::string instruction_at(KvmVm& vm, const GuestMemory& memory, std::uint32_t pc) {
    const std::optional<std::uint64_t> physical = vm.translate(pc);
    if (!physical) return "not mapped";
    const std::optional<std::uint32_t> word = memory.read_be32(*physical);
    return word ? fmt::format("{:08x} (at physical 0x{:09x})", *word, *physical)
                : fmt::format("none, physical 0x{:09x} is no memory", *physical);
}

} // namespace

std::string internal_error_reason(const abi::kvm_run& run) {
    constexpr std::size_t first_word = 2;
    if (run.exit_reason != abi::exit_internal_error || run.internal.ndata <= first_word) return {};
    const std::size_t words = std::min<std::size_t>(run.internal.ndata, std::size(run.internal.data)) - first_word;
    std::string reason(words * sizeof run.internal.data[0], '\0');
    std::memcpy(reason.data(), &run.internal.data[first_word], reason.size());
    reason.resize(std::min(reason.find('\0'), reason.size()));
    const bool printable = std::all_of(reason.begin(), reason.end(), [](char c) { return c >= ' ' && c <= '~'; });
    return printable ? reason : std::string{};
}

std::string register_dump(KvmVm& vm, const GuestMemory& memory) {
    std::string text;
    const auto line = std::back_inserter(text);
    if (const std::optional<abi::kvm_regs> regs = vm.registers()) {
        const auto pc = static_cast<std::uint32_t>(regs->pc);
        fmt::format_to(line, "  PC   {:08x}  instruction {}\n", pc, instruction_at(vm, memory, pc));
        fmt::format_to(line, "  MSR  {:08x}  CR   {:08x}  LR   {:08x}  CTR  {:08x}  XER  {:08x}  PID {:02x}\n",
                       regs->msr, regs->cr, regs->lr, regs->ctr, regs->xer, regs->pid);
        fmt::format_to(line, "  SRR0 {:08x}  SRR1 {:08x}\n", regs->srr0, regs->srr1);
        for (std::size_t i = 0; i < std::size(regs->gpr); i += 4) {
            fmt::format_to(line, "  r{:<2}  {:08x}  {:08x}  {:08x}  {:08x}\n", i, regs->gpr[i], regs->gpr[i + 1],
                           regs->gpr[i + 2], regs->gpr[i + 3]);
        }
        fmt::format_to(line, "  SPRG0-7 {:08x}\n", fmt::join(std::begin(regs->sprg), std::end(regs->sprg), " "));
    } else {
        text += "  the host does not give the registers\n";
    }
    if (const std::optional<abi::kvm_sregs> sregs = vm.special_registers()) {
        const abi::kvm_sregs_booke& e = sregs->u.e;
        fmt::format_to(line, "  PVR  {:08x}  CSRR0 {:08x}  CSRR1 {:08x}  ESR {:08x}  DEAR {:08x}  MCSR {:08x}\n",
                       sregs->pvr, e.csrr0, e.csrr1, e.esr, e.dear, e.mcsr);
        fmt::format_to(line, "  TSR  {:08x}  TCR {:08x}  DEC {:08x}  TB {:016x}  IVPR {:08x}\n", e.tsr, e.tcr, e.dec,
                       e.tb, e.ivpr);
    }
    const abi::kvm_run& run = vm.run_page();
    if (run.exit_reason == abi::exit_internal_error) {
        fmt::format_to(line, "  internal error {}", run.internal.suberror);
        const std::size_t count = std::min<std::size_t>(run.internal.ndata, std::size(run.internal.data));
        for (std::size_t i = 0; i < count; ++i) fmt::format_to(line, " {:x}", run.internal.data[i]);
        text += '\n';
    }
    return text;
}

} // namespace untrap::vmm
